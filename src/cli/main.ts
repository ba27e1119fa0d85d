/**
 * The `hv` command: what it understands, and nothing it does. Each command's code is imported when it is used, so that
 * `hv --help` answers at once.
 */
import { Command, CommanderError } from 'commander';
import manifest from '../../package.json' with { type: 'json' };
import { ERROR_EXIT_CODES, isViridianError } from '../contracts/errors.ts';
import { EXIT } from '../contracts/exit-codes.ts';
import { say } from './say.ts';

const FIRST_STEPS = `
First steps:
  hv doctor                                             what this host has and lacks
  hv quickstart                                         a Linux on this terminal, with nothing to prepare
  hv image create debian web.vhdx --user me             a disk with Debian 12
  hv vm new web --memory 1G --disk web.vhdx --start     a VM on it, which outlives the terminal
  hv console web                                        its console; Ctrl-] q leaves it
  hv stop web                                           the guest shuts down
Every command explains itself with --help. Names of Hyper-V's PowerShell module work too: hv Get-VM.
`;

/** What does not need the management half is not kept waiting by its table. */
const ALONE = ['run', 'quickstart', 'vhd', 'image', 'doctor', '--version', '-V'];

/** Run a partition in this process. */
const RUNS = ['run', 'quickstart'];

function program(): Command {
  const hv = new Command('hv');
  hv.description(manifest.description)
    .version(manifest.version)
    .exitOverride()
    .addHelpText('after', FIRST_STEPS)
    .configureOutput({ outputError: (text, write) => write(complaint(text)) });
  return hv;
}

/** The parser's words as one line of ours, which says what to do. */
function complaint(text: string): string {
  const line = text
    .trim()
    .replace(/^error: /, 'hv: ')
    .replace(/\n\(Did you mean (.+)\?\)$/s, (_, words: string) => `: did you mean ${words.replace('one of ', '')}?`);
  const [, unknown] = /unknown command '([^']*)'$/.exec(line) ?? [];
  if (unknown === undefined) return `${line}\n`;
  const [noun] = process.argv.slice(2);
  return `${line}: '${noun === unknown ? 'hv' : `hv ${noun}`} --help' shows all\n`;
}

/** Defines what the first word asks for, all where it is none of ours. Resolves with the words, cmdlets as commands. */
async function define(hv: Command, args: readonly string[]): Promise<readonly string[]> {
  let words = args;
  const management = ALONE.includes(words[0] ?? '') ? undefined : await import('./nouns/register.ts');
  if (management !== undefined) {
    words = management.expandCmdlet(words);
    if (management.manages(words[0])) {
      management.managementCommands(hv, words[0]);
      return words;
    }
  }
  const { expandVhdCmdlet, ownCommands } = await import('./own-commands.ts');
  words = expandVhdCmdlet(words);
  ownCommands(hv, words[0]);
  management?.managementCommands(hv, words[0]);
  return words;
}

/** Of a partition on this terminal the processor's thread takes longest to start: it does while the words are read. */
async function startAhead(first: string | undefined): Promise<void> {
  if (!RUNS.includes(first ?? '')) return;
  const threads = await import('../vmwp/processor-threads.ts');
  threads.startAhead(1);
}

/** Runs the command line. Resolves with the exit code; one line on stderr says what is wrong. */
async function main(args: readonly string[]): Promise<number> {
  try {
    await startAhead(args[0]);
    const hv = program();
    await hv.parseAsync(await define(hv, args), { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT.ok;
  } catch (error) {
    // commander has said what it had to say. It counts asking for help as an error too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (isViridianError(error)) {
      say(`hv: ${error.message}`);
      return ERROR_EXIT_CODES[error.code];
    }
    say(`hv: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return EXIT.failure;
  }
}

// A reader that went away (`hv doctor | head -1`) is no error of ours; the run command notices by itself.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

/** What was written is on its way: a socket, as programs give us for stdout, takes it when its reader does. */
async function written(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableLength === 0 || stream.destroyed) return;
  await new Promise<void>((resolve) => {
    stream.once('close', resolve).once('error', resolve);
    stream.write('', () => resolve());
  });
}

// Without `await`: in the single executable this is a script, which V8's code cache works for.
void main(process.argv.slice(2)).then(async (code) => {
  await written(process.stdout);
  await written(process.stderr);
  process.exit(code);
});
