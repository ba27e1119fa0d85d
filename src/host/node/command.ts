/** Other programs of this machine: finding them and running them to their end. */
import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';

export interface CommandResult {
  /** The exit code; 128 + signal number is not used, a signal counts as 1. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The program's path, searched on PATH, or undefined. */
export function findCommand(name: string, path = process.env.PATH ?? ''): string | undefined {
  // The folders of system tools are not on every user's PATH.
  for (const folder of [...path.split(delimiter), '/usr/sbin', '/sbin']) {
    if (folder === '') continue;
    const file = join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      if (statSync(file).isFile()) return file;
    } catch {
      // Not there.
    }
  }
  return undefined;
}

/** Runs a program with its output collected, in the C locale. Rejects only when it cannot be started. */
export function runCommand(
  command: string,
  args: readonly string[],
  options: {
    readonly cwd?: string;
    readonly signal?: AbortSignal | undefined;
    readonly env?: Readonly<Record<string, string>>;
    /** Called with each line of its output, both streams', as it comes. */
    readonly onLine?: (line: string) => void;
  } = {},
): Promise<CommandResult> {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C', ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  let stdout = '';
  let stderr = '';
  const { onLine } = options;
  if (onLine !== undefined)
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', onLine);
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.on('error', reject);
  child.on('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
  return promise;
}
