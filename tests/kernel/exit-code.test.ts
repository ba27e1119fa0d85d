/** A kernel of ours ends with the exit code it wrote. */

import { describe, expect, it } from 'vitest';
import { buildKernel, isInstalled } from './build.ts';
import { runHere, runUnderQemu } from './run.ts';

const haveNasm = isInstalled('nasm');
const haveQemu = isInstalled('qemu-system-x86_64');

describe.skipIf(!haveNasm)('the exit code kernel (skipped where nasm is missing)', () => {
  it.each([0, 6, 21, 100])('writes %i', async (value) => {
    const run = await runHere(buildKernel('exit-code/exit-code.asm'), { append: `code ${value}`, timeoutSeconds: 30 });
    expect(run.end).toBe(`exit ${(value << 1) | 1}`);
  });

  it.skipIf(!haveQemu)('writes the same under QEMU (skipped where it is missing)', async () => {
    const options = { append: 'code 21', timeoutSeconds: 30 };
    const run = await runUnderQemu(buildKernel('exit-code/exit-code.asm'), options);
    expect(run.end).toBe(`exit ${(21 << 1) | 1}`);
  });
});
