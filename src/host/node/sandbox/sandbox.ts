/**
 * Starts a program with less than its user may do: no new privileges, Landlock's rules for files, a filter of system calls,
 * all set by the launcher before the program is executed. Each is a rung that may be missing on a host; which hold is reported.
 */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addLandlock, type Place, versionCall } from './landlock.ts';
import { LAUNCHER } from './launcher.ts';
import { type Call, Memory, resultOf, Script, textMemory } from './script.ts';
import { DENIED_COUNT, filterOf, filterProgram } from './seccomp.ts';

export type { Access, Place } from './landlock.ts';

/** What holds a process back, or why it does not. */
export interface Rung {
  readonly name: 'no-new-privileges' | 'landlock' | 'seccomp';
  readonly active: boolean;
  readonly detail: string;
}

const SYS = { close: 3, exit: 60, prctl: 157, seccomp: 317 } as const;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_SET_MODE_FILTER = 1;
const REPORT = 4;
const ERRORS: Readonly<Record<number, string>> = {
  1: 'not permitted',
  22: 'invalid argument',
  38: 'not in this kernel',
  95: 'switched off in this kernel',
};

function problem(result: number | undefined): string {
  if (result === undefined) return 'the launcher did not come to it';
  return ERRORS[-result] ?? `error ${-result}`;
}

export interface Sandboxed {
  readonly child: ChildProcess;
  /** Resolves when the launcher is through. */
  readonly rungs: Promise<readonly Rung[]>;
}

export interface SandboxOptions {
  /** A folder of ours for the launcher; programs may be executed in it. */
  readonly folder: string;
  readonly program: string;
  readonly arguments: readonly string[];
  /** What the program may reach, itself included. */
  readonly places: readonly Place[];
  readonly spawn: Pick<SpawnOptions, 'cwd' | 'env' | 'detached'> & {
    readonly input?: 'pipe' | 'ignore' | undefined;
    readonly output: number | 'ignore' | 'inherit';
  };
}

/** Why there is no launcher on this host; undefined where there is. */
export function launcherProblem(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return `only on x86-64 Linux, and this is ${process.arch} ${process.platform}`;
  return undefined;
}

function launcherFile(folder: string): string {
  const name = `launcher-${createHash('sha256').update(LAUNCHER).digest('hex').slice(0, 12)}`;
  const path = join(folder, name);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const partial = `${path}.${process.pid}`;
  writeFileSync(partial, LAUNCHER, { mode: 0o700 });
  renameSync(partial, path);
  return path;
}

/** A descriptor from which a script can be read once. */
function scriptFile(folder: string, script: Uint8Array): number {
  const path = join(folder, `script-${process.pid}-${serial++}`);
  writeFileSync(path, script, { mode: 0o600 });
  const fd = openSync(path, 'r');
  rmSync(path);
  return fd;
}
let serial = 0;

let known: { readonly version: number } | { readonly problem: string } | undefined;

/** Landlock's version here, asked once: the launcher asks, and ends. */
function landlock(folder: string, launcher: string): NonNullable<typeof known> {
  if (known !== undefined) return known;
  const script = new Script(textMemory('/'));
  const version = script.add(versionCall());
  script.report(REPORT);
  script.call(SYS.exit, 0);
  const input = scriptFile(folder, script.encode());
  try {
    const ran = spawnSync(launcher, ['/'], { stdio: ['ignore', 'ignore', 'ignore', input, 'pipe'] });
    if (ran.error) throw ran.error;
    const report = ran.output[REPORT];
    const result = report === undefined || report === null ? undefined : resultOf(version, Buffer.from(report));
    known = result !== undefined && result > 0 ? { version: result } : { problem: problem(result) };
  } finally {
    closeSync(input);
  }
  return known;
}

/** @throws Error when the launcher cannot be executed here. */
export function spawnSandboxed(options: SandboxOptions): Sandboxed {
  const { folder, program, places } = options;
  const launcher = launcherFile(folder);
  const found = landlock(folder, launcher);
  const script = new Script(textMemory(program));
  const privileges = script.call(SYS.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const rules = 'version' in found ? addLandlock(script, found.version, places) : undefined;
  const filter = new Memory(new Uint8Array(filterOf(0).length));
  const seccomp = script.call(SYS.seccomp, SECCOMP_SET_MODE_FILTER, 0, filterProgram(filter));
  script.report(REPORT);
  script.call(SYS.close, REPORT);
  const input = scriptFile(
    folder,
    script.encode((address) => filter.bytes.set(filterOf(address))),
  );
  try {
    const { input: stdin = 'ignore', output, ...rest } = options.spawn;
    const child = spawn(launcher, [program, ...options.arguments], {
      ...rest,
      stdio: [stdin, output, output, input, 'pipe'],
    });
    const rungs = readReport(child).then((report): Rung[] => {
      const simple = (name: Rung['name'], call: Call, detail: string): Rung => {
        const result = resultOf(call, report);
        return result === 0 ? { name, active: true, detail } : { name, active: false, detail: problem(result) };
      };
      const files = (): Rung => {
        if (rules === undefined)
          return { name: 'landlock', active: false, detail: 'problem' in found ? found.problem : '' };
        const count = rules.rules.filter(({ add }) => resultOf(add, report) === 0).length;
        const version = 'version' in found ? found.version : 0;
        const more = version >= 6 ? ', no signals to others, no abstract sockets' : '';
        return simple('landlock', rules.restrict, `version ${version}: ${count} files and folders${more}`);
      };
      return [
        simple('no-new-privileges', privileges, 'no set-user-id program gives it more'),
        files(),
        simple(
          'seccomp',
          seccomp,
          `${DENIED_COUNT} system calls and new namespaces are refused, no program is executed`,
        ),
      ];
    });
    return { child, rungs };
  } finally {
    closeSync(input);
  }
}

function readReport(child: ChildProcess): Promise<Uint8Array> {
  const stream = child.stdio[REPORT] as NodeJS.ReadableStream;
  const parts: Buffer[] = [];
  return new Promise((resolve) => {
    stream.on('data', (bytes: Buffer) => parts.push(bytes));
    stream.on('error', () => {});
    stream.on('close', () => resolve(Buffer.concat(parts)));
    child.on('error', () => resolve(Buffer.concat(parts)));
  });
}
