/** The two machines that are compared: a partition of ours in this process, and QEMU with its translator (TCG). */
import { spawn } from 'node:child_process';
import type { CreatePartition } from '../../src/contracts/partition.ts';
import { findCommand, runCommand } from '../../src/host/node/command.ts';
import { MarkerReader } from './markers.ts';
import { shippedLibrary } from './shipped.ts';

let library: Promise<CreatePartition> | undefined;

export interface Guest {
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
  /** A raw image: a disk at our SCSI controller, QEMU's virtio-blk. */
  readonly disk?: string | undefined;
}

/** One boot from start to power-off. */
export interface Outcome {
  readonly reader: MarkerReader;
  /** Start to end of the machine. */
  readonly seconds: number;
  readonly instructions: number | undefined;
}

export type Machine = (guest: Guest, timeoutSeconds: number) => Promise<Outcome>;

const MEMORY = 512;

/** The start counts from where the library is called: reading the files, the interpreter and its thread are in it. */
export const ours: Machine = async (guest, timeoutSeconds) => {
  library ??= shippedLibrary();
  const createPartition = await library;
  const reader = new MarkerReader();
  const decoder = new TextDecoder();
  const started = performance.now();
  const elapsed = (): number => (performance.now() - started) / 1000;
  await using partition = await createPartition({
    kernel: guest.kernel,
    initrd: guest.initrd,
    append: guest.append,
    memory: MEMORY * 2 ** 20,
    onReboot: 'stop',
    disks: guest.disk === undefined ? undefined : [{ file: guest.disk, format: 'raw' }],
  });
  partition.console.onData((bytes) => {
    const mark = { seconds: elapsed(), instructions: Number(partition.stats().instructions) };
    reader.feed(decoder.decode(bytes, { stream: true }), mark);
  });
  const timer = setTimeout(() => partition.turnOff(), timeoutSeconds * 1000);
  partition.start();
  const reason = await partition.stopped;
  clearTimeout(timer);
  const seconds = elapsed();
  if (reason.kind !== 'powerOff') throw stoppedEarly(`our machine stopped: ${reason.kind}`, reader);
  return { reader, seconds, instructions: Number(partition.stats().instructions) };
};

/**
 * A processor like ours: TCG's maximum without what x86-64-v2 does not have, so that programs which choose their code by
 * CPUID choose the same.
 */
const WITHOUT = 'avx avx2 fma f16c bmi1 bmi2 movbe aes pclmulqdq adx abm la57'.split(' ');
export const QEMU_CPU = `max,${WITHOUT.map((feature) => `${feature}=off`).join(',')}`;

export async function qemuVersion(): Promise<string | undefined> {
  if (findCommand('qemu-system-x86_64') === undefined) return undefined;
  const { stdout } = await runCommand('qemu-system-x86_64', ['--version']);
  return /version (\S+)/.exec(stdout)?.[1];
}

export const qemu: Machine = async (guest, timeoutSeconds) => {
  const reader = new MarkerReader();
  const started = performance.now();
  const elapsed = (): number => (performance.now() - started) / 1000;
  const files = ['-kernel', guest.kernel, '-initrd', guest.initrd, '-append', guest.append];
  const machine = ['-accel', 'tcg', '-cpu', QEMU_CPU, '-m', String(MEMORY), '-smp', '1', '-nodefaults', '-no-reboot'];
  const disk =
    guest.disk === undefined
      ? []
      : ['-drive', `file=${guest.disk},format=raw,if=none,id=disk`, '-device', 'virtio-blk-pci,drive=disk'];
  const child = spawn('qemu-system-x86_64', [...machine, '-display', 'none', '-serial', 'stdio', ...files, ...disk], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let complaint = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    reader.feed(text, { seconds: elapsed(), instructions: undefined });
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutSeconds * 1000);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  clearTimeout(timer);
  if (code !== 0) throw stoppedEarly(`QEMU ended with ${code ?? 'a signal (timeout?)'} ${complaint.trim()}`, reader);
  return { reader, seconds: elapsed(), instructions: undefined };
};

function stoppedEarly(what: string, reader: MarkerReader): Error {
  return new Error(`${what}\n  ${reader.lastLines.join('\n  ')}`);
}
