/** Runs a multiboot kernel here and under QEMU's TCG, and reads what the test kernel prints. */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPartition } from '../../src/vmwp/index.ts';

export interface RunOptions {
  readonly append?: string;
  readonly processors?: number;
  readonly timeoutSeconds: number;
}

export interface KernelRun {
  /** What the kernel wrote to COM1. */
  readonly output: string;
  /** `exit N` when the kernel ended the run itself, otherwise what happened. */
  readonly end: string;
}

export async function runHere(kernel: Uint8Array, options: RunOptions): Promise<KernelRun> {
  await using partition = await createPartition({
    kernel,
    append: options.append,
    processors: options.processors ?? 1,
    memory: 64 * 1024 * 1024,
    testDevice: true,
    onReboot: 'stop',
  });
  const decoder = new TextDecoder('latin1');
  let output = '';
  partition.console.onData((bytes) => {
    output += decoder.decode(bytes);
  });
  const timer = setTimeout(() => partition.turnOff(), options.timeoutSeconds * 1000);
  try {
    partition.start();
    const reason = await partition.stopped;
    const end = { exit: 'exit', turnedOff: 'timeout', error: 'error' }[reason.kind as string] ?? reason.kind;
    if (reason.kind === 'exit') return { output, end: `exit ${reason.code}` };
    return { output, end: reason.kind === 'error' ? `error: ${reason.message}` : end };
  } finally {
    clearTimeout(timer);
  }
}

export async function runUnderQemu(kernel: Uint8Array, options: RunOptions): Promise<KernelRun> {
  const folder = mkdtempSync(join(tmpdir(), 'viridian-qemu-'));
  const image = join(folder, 'kernel');
  writeFileSync(image, kernel);
  try {
    // biome-ignore format: one option per line
    const qemu = spawn('qemu-system-x86_64', [
      '-accel', 'tcg', '-cpu', 'max', '-smp', `${options.processors ?? 1}`, '-m', '64',
      '-display', 'none', '-nodefaults', '-no-reboot', '-serial', 'stdio',
      '-device', 'isa-debug-exit,iobase=0xf4,iosize=4',
      '-kernel', image, ...(options.append === undefined ? [] : ['-append', options.append]),
    ], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let errors = '';
    qemu.stdout.setEncoding('latin1').on('data', (text: string) => {
      output += text;
    });
    qemu.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    const timer = setTimeout(() => qemu.kill('SIGKILL'), options.timeoutSeconds * 1000);
    const { promise, resolve, reject } = Promise.withResolvers<number | null>();
    qemu.on('error', reject).on('close', resolve);
    const code = await promise.finally(() => clearTimeout(timer));
    return { output, end: code === null ? `timeout ${errors}` : `exit ${code}` };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The lines `T name values...`: what was seen, by the test's name. */
export function seenIn(output: string): ReadonlyMap<string, string> {
  const seen = new Map<string, string>();
  for (const line of output.split('\n')) {
    const match = /^T (\S+) ?(.*)$/.exec(line.trimEnd());
    if (match !== null) seen.set(match[1] as string, match[2] as string);
  }
  return seen;
}
