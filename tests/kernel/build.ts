/** Assembles the kernels in guest/ with nasm, at test time: nothing built is checked in. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const GUEST = join(import.meta.dirname, '../../guest');

/** A flat multiboot image. @throws with nasm's words when the source has an error. */
export function buildKernel(source: 'kernel/kernel.asm' | 'exit-code/exit-code.asm'): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'viridian-kernel-'));
  try {
    const path = join(GUEST, source);
    const output = join(folder, 'kernel');
    execFileSync('nasm', ['-f', 'bin', '-I', `${dirname(path)}/`, '-o', output, path], { stdio: 'pipe' });
    return readFileSync(output);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function isInstalled(tool: 'nasm' | 'qemu-system-x86_64'): boolean {
  return spawnSync(tool, [tool === 'nasm' ? '-v' : '--version'], { stdio: 'ignore' }).status === 0;
}

/** Major and minor version, for example "7.2". */
export function qemuVersion(): string | undefined {
  const { stdout } = spawnSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' });
  return /version (\d+\.\d+)/.exec(stdout ?? '')?.[1];
}
