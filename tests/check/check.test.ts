/** `--check`: both engines in lockstep over the beginning of Debian's boot, and over the test kernel. */
import { describe, expect, it } from 'vitest';
import { createPartition } from '../../src/vmwp/index.ts';
import { debianGuest, Guest } from '../boot/guest.fixture.ts';
import { buildKernel, isInstalled } from '../kernel/build.ts';

const MIB = 2 ** 20;
/** EXIT_END in guest/kernel/layout.inc, as the exit port makes it. */
const END = (0x21 << 1) | 1;

const debian = await debianGuest('console=ttyS0');
const reason = typeof debian === 'string' ? `: skipped, ${debian}` : '';

describe.skipIf(typeof debian === 'string')(`--check on Debian's kernel${reason}`, () => {
  if (typeof debian === 'string') return;

  it('finds no difference in the first 30 million instructions', async () => {
    const { code, stdout, stderr } = await new Guest(
      ...['--kernel', debian.kernel, '--append', 'console=ttyS0 earlyprintk=ttyS0'],
      ...['--check', '--check-every', '500_000', '--instructions', '30_000_000', '--stats'],
    ).exit;
    expect(stderr).toContain(
      'hv: check: both engines agree, 30000000 instructions: 60 comparisons of registers, 1 of memory and devices\n',
    );
    expect(code).toBe(0);
    // Shown once.
    expect(stdout.match(/Linux version/g)).toHaveLength(1);
    expect(Number(/regionInstructions (\d+)/.exec(stderr)?.[1])).toBeGreaterThan(25_000_000);
  });

  it('cannot be combined with what has no meaning then', async () => {
    for (const more of [
      ['--processors', '2'],
      ['--clock', 'real'],
      ['--save', 'x'],
      ['--engine', 'interpreter'],
    ]) {
      const { code, stderr } = await new Guest('--kernel', debian.kernel, '--check', ...more).exit;
      expect(code, stderr).toBe(2);
    }
  });
});

describe.skipIf(!isInstalled('nasm'))('--check on the test kernel (skipped where nasm is missing)', () => {
  it('finds no difference', async () => {
    const said: string[] = [];
    await using partition = await createPartition({
      kernel: buildKernel('kernel/kernel.asm'),
      memory: 64 * MIB,
      testDevice: true,
      onReboot: 'stop',
      check: { every: 100_000n, say: (text) => said.push(text) },
    });
    partition.start();
    const reason = await partition.stopped;
    expect(reason.kind === 'divergence' ? reason.report : reason).toEqual({ kind: 'exit', code: END });
    expect(said).toEqual([expect.stringMatching(/^check: both engines agree, \d+ instructions/)]);
  });
});
