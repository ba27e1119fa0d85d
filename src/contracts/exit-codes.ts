/**
 * The exit codes of every `hv` command: the one table behind `hv run --help` and docs/reference/exit-codes.md (a test
 * holds the page to it).
 */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  notFound: 3,
  wrongState: 4,
  denied: 5,
  timeout: 6,
  badFile: 7,
  tripleFault: 8,
  guestCrash: 9,
  restart: 10,
  divergence: 11,
  hangup: 129,
  interrupted: 130,
  terminated: 143,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Code, and what it means, in a user's words. */
export const EXIT_MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: 'done; for run: the guest powered itself off, or the partition was saved',
  failure: 'something failed that has no code of its own',
  usage: 'the command line is wrong, or asks for what no partition can have',
  notFound: 'a file or a thing that was named does not exist',
  wrongState: 'not possible in the present state',
  denied: 'the permission is missing',
  timeout: 'the time given with --timeout passed',
  badFile: 'a file is not what it should be (no kernel, truncated, a saved state of another version)',
  tripleFault: 'the guest shut down its processor with a triple fault',
  guestCrash: 'the guest reported a crash (a kernel panic)',
  restart: 'the guest asked for a restart, and --no-reboot was given',
  divergence: 'with --check: the two engines do not do the same',
  hangup: 'ended by SIGHUP',
  interrupted: 'ended by the user: Ctrl-] q, or SIGINT',
  terminated: 'ended by SIGTERM',
};

/** Of commands that run no guest themselves. */
const COMMANDS: readonly (keyof typeof EXIT)[] = [
  'ok',
  'failure',
  'usage',
  'notFound',
  'wrongState',
  'denied',
  'timeout',
  'badFile',
  'interrupted',
];

/** The table as text, one code a line. @param run of a command that runs a guest on this terminal. */
export function describeExitCodes(indent = '', run = true): string {
  const names = run ? (Object.keys(EXIT) as (keyof typeof EXIT)[]) : COMMANDS;
  const meaning = (name: keyof typeof EXIT): string => {
    const text = EXIT_MEANINGS[name];
    // What stands after ';' or ':' is about running one.
    return run || (name !== 'ok' && name !== 'interrupted') ? text : text.split(/[;:]/, 1)[0]!;
  };
  return names.map((name) => `${indent}${String(EXIT[name]).padStart(3)}  ${meaning(name)}`).join('\n');
}
