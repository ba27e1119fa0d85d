// Assembles processor.asm with nasm. Run as a program it writes image.ts, which is checked in so that nothing but
// Node is needed to run the oracle; a test compares the two where nasm is installed.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const IMAGE = join(import.meta.dirname, 'image.ts');
const LINE_LENGTH = 112;

export function assemble(): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'viridian-nasm-'));
  try {
    const output = join(folder, 'processor');
    execFileSync('nasm', ['-f', 'bin', 'processor.asm', '-o', output], { cwd: import.meta.dirname });
    return readFileSync(output);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function isNasmInstalled(): boolean {
  try {
    execFileSync('nasm', ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function writeImage(): void {
  const base64 = Buffer.from(assemble()).toString('base64');
  const lines = base64.match(new RegExp(`.{1,${LINE_LENGTH}}`, 'g')) ?? [];
  writeFileSync(
    IMAGE,
    [
      '// processor.asm, assembled: written by assemble.ts, do not edit. An ELF64 executable in base64.',
      '',
      '// biome-ignore format: one line of text for each line of the image',
      'export const IMAGE_BASE64 = [',
      ...lines.map((line) => `  '${line}',`),
      "].join('');",
      '',
    ].join('\n'),
  );
}

if (import.meta.main) writeImage();
