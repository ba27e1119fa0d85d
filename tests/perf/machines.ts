/** The two machines that are compared: a partition of ours, and QEMU with its translator (TCG), each in a process of its own. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { findCommand, runCommand } from '../../src/host/node/command.ts';
import { cacheFolder } from '../../src/host/node/folders.ts';
import { MarkerReader } from './markers.ts';
import type { Line } from './our-process.ts';
import { buildShipped } from './shipped.ts';

const PROCESS = fileURLToPath(new URL('our-process.ts', import.meta.url));

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
/** Runs that leave their translations: V8 optimizes by and by what is executed often, and what it has optimized is kept too. */
export const WARM_UP = 3;

/** Ours, started like the other: the process, the library and its threads are in the time. */
async function run(guest: Guest, timeoutSeconds: number, environment: NodeJS.ProcessEnv): Promise<Outcome> {
  build();
  const reader = new MarkerReader();
  const started = performance.now();
  const elapsed = (): number => (performance.now() - started) / 1000;
  const given = JSON.stringify({ ...guest, memory: MEMORY });
  const child = spawn(process.execPath, ['--no-warnings', PROCESS, given], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: environment,
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutSeconds * 1000);
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  let end: { readonly seconds: number; readonly instructions: number } | undefined;
  let reason = '';
  try {
    for await (const text of createInterface({ input: child.stdout })) {
      const line = JSON.parse(text) as Line;
      const { instructions } = line;
      if ('text' in line) reader.feed(line.text, { seconds: elapsed(), instructions });
      else {
        reason = line.stopped;
        end = { seconds: elapsed(), instructions };
      }
    }
  } finally {
    clearTimeout(timer);
  }
  const code = await closed;
  if (end === undefined || reason !== 'powerOff')
    throw stoppedEarly(
      `our machine stopped: ${reason || `its process ended with ${code ?? 'a signal (timeout?)'}`}`,
      reader,
    );
  return { reader, ...end };
}

/** What earlier runs have translated is there: see docs/translator.md. */
export const ours: Machine = async (guest, timeoutSeconds) => await run(guest, timeoutSeconds, process.env);

/** As on a host that has never run this guest: only the kernel is unpacked. */
export const oursAnew: Machine = async (guest, timeoutSeconds) => {
  const folder = mkdtempSync(join(tmpdir(), 'viridian-bench-'));
  try {
    mkdirSync(join(folder, 'viridian'));
    symlinkSync(join(cacheFolder(), 'kernels'), join(folder, 'viridian/kernels'));
    return await run(guest, timeoutSeconds, { ...process.env, XDG_CACHE_HOME: folder });
  } finally {
    rmSync(folder, { recursive: true });
  }
};

let isBuilt = false;
function build(): void {
  if (!isBuilt) buildShipped();
  isBuilt = true;
}

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
