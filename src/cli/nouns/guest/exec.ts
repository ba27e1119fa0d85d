/** `hv exec`, `hv nc`, `hv ssh`: programs and ports of a guest, without a network. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { ViridianError } from '../../../contracts/errors.ts';
import { EXIT, type ExitCode } from '../../../contracts/exit-codes.ts';
import type { ExecControl, TerminalSize } from '../../../contracts/sockets.ts';
import { findCommand } from '../../../host/node/command.ts';
import { RawTerminal } from '../../../host/node/terminal.ts';
import type { Action, Flags } from '../command-row.ts';
import { vmOf } from '../session.ts';
import { whole } from '../values.ts';
import { connectPatiently, PATIENCE, runInside } from './inside.ts';

const SSH_PORT = 22;
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const satisfies readonly NodeJS.Signals[];

export const exec: Action = async ([name, ...words], flags) => {
  // What is passed on is passed on as typed, its first mark too.
  const argv = words[0] === '--' ? words.slice(1) : words;
  const { stdin, stdout, stderr } = process;
  const atTerminal = stdin.isTTY === true && stdout.isTTY === true;
  const wanted = flags.tty as boolean | undefined;
  if (wanted === true && !stdin.isTTY)
    throw new ViridianError('invalid', '--tty needs a terminal on stdin, for the keys');
  const vm = await vmOf(name);
  const terminal = wanted ?? atTerminal;
  let raw: RawTerminal | undefined;
  const undo: (() => void)[] = [];
  const put = (stream: NodeJS.WriteStream) => async (bytes: Uint8Array) => {
    if (!stream.write(bytes)) await once(stream, 'drain');
  };
  const begin = (control: ExecControl): void => {
    if (terminal) {
      raw = new RawTerminal(stdin);
      const resize = (): void => control.resize(sizeOf(stdout));
      stdout.on('resize', resize);
      undo.push(() => stdout.off('resize', resize));
    }
    for (const signal of FORWARDED) {
      let asked = 0;
      const forward = (): void => {
        // Asked again: the program does not want to end, and whoever asks has waited long enough.
        if (asked++ > 0) process.exit(128 + constants.signals[signal]);
        control.signal(constants.signals[signal]);
      };
      process.on(signal, forward);
      undo.push(() => process.off(signal, forward));
    }
  };
  try {
    const { code } = await runInside(vm, argv, {
      environment: { ...(terminal ? { TERM: process.env.TERM ?? 'xterm' } : {}), ...environmentOf(flags) },
      folder: flags.workdir as string | undefined,
      terminal: terminal ? sizeOf(stdout) : undefined,
      stdin: flags.stdin === false ? undefined : stdin,
      onStdout: put(stdout),
      onStderr: put(stderr),
      onStart: begin,
      seconds: secondsOf(flags),
    });
    return code as ExitCode;
  } finally {
    raw?.restore();
    for (const step of undo) step();
    stdin.pause();
  }
};

function sizeOf({ rows, columns }: NodeJS.WriteStream): TerminalSize {
  return { rows: rows > 0 ? rows : 24, columns: columns > 0 ? columns : 80 };
}

export function secondsOf(flags: Flags): number {
  return (flags.timeout as number | undefined) ?? PATIENCE;
}

function environmentOf(flags: Flags): Record<string, string> {
  const pairs = ((flags.env as readonly string[] | undefined) ?? []).map((text) => {
    const at = text.indexOf('=');
    if (at === 0) throw new ViridianError('invalid', `--env must be NAME=VALUE, not '${text}'`);
    // As with other commands of this kind: a name alone is passed on.
    return at < 0 ? [text, process.env[text] ?? ''] : [text.slice(0, at), text.slice(at + 1)];
  });
  return Object.fromEntries(pairs) as Record<string, string>;
}

export const nc: Action = async ([name, port], flags) => {
  const number = whole('the port')(port!);
  const stream = await connectPatiently(await vmOf(name), number, secondsOf(flags));
  const toGuest = async (): Promise<void> => {
    for await (const bytes of process.stdin) await stream.write(bytes as Uint8Array);
    stream.end();
  };
  // The end that counts is the guest's.
  toGuest().catch(() => stream.destroy());
  for await (const bytes of stream) if (!process.stdout.write(bytes)) await once(process.stdout, 'drain');
  return EXIT.ok;
};

export const ssh: Action = async ([target, ...words], flags) => {
  const command = words[0] === '--' ? words.slice(1) : words;
  if (findCommand('ssh') === undefined)
    throw new ViridianError('notFound', 'there is no ssh here: install openssh-client, or use hv exec');
  const at = target!.lastIndexOf('@');
  const vm = await vmOf(target!.slice(at + 1));
  const user = at < 0 ? (flags.login as string | undefined) : target!.slice(0, at);
  const hv = [process.execPath, ...process.execArgv, process.argv[1]!, 'nc'];
  const proxy = [...hv, '--timeout', String(secondsOf(flags)), vm.id, String(SSH_PORT)].map(quoted).join(' ');
  const options = [
    `ProxyCommand=${proxy}`,
    // Nobody stands between a host and its guest: there is nothing that a key of the guest's would prove.
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'LogLevel=ERROR',
    ...((flags.option as readonly string[] | undefined) ?? []),
  ].flatMap((option) => ['-o', option]);
  const args = [
    ...options,
    ...(user === undefined ? [] : ['-l', user]),
    ...(flags.identity === undefined ? [] : ['-i', flags.identity as string]),
    ...(flags.tty === true ? ['-t'] : []),
    '--',
    vm.name,
    ...command,
  ];
  const child = spawn('ssh', args, { stdio: 'inherit' });
  // ssh has the terminal, and hears its signals itself.
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of FORWARDED) process.on(signal, forward);
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return (code ?? 128 + constants.signals[signal!]) as ExitCode;
};

/** For ssh: a word of the shell's, with its own percent signs doubled. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''").replaceAll('%', '%%')}'`;
}
