/** With `--clock instructions` a run is a function of its inputs, saved and restored in another process or not. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { debianGuest, Guest } from './guest.fixture.ts';

const END = 500_000_000;
const debian = await debianGuest('console=ttyS0');
const reason = typeof debian === 'string' ? `: skipped, ${debian}` : '';

describe.skipIf(typeof debian === 'string')(`--clock instructions${reason}`, () => {
  if (typeof debian === 'string') return;

  it('gives the same registers, memory and output at the same count, whole or in two processes', async () => {
    const state = join(debian.folder, 'state');
    const boot = [...debian.arguments, '--clock', 'instructions', '--instructions'];
    const count = 100_000_000 + Math.floor(Math.random() * 300_000_000);
    const [whole, half] = await Promise.all([
      new Guest(...boot, String(END), '--hash').exit,
      new Guest(...boot, String(count), '--save', state).exit,
    ]);
    expect(half, half.stderr).toMatchObject({ code: 0 });
    const rest = await new Guest('--restore', state, '--instructions', String(END), '--hash').exit;
    expect(whole.stderr).toMatch(
      /^hv: at 500000000 instructions\n {2}registers [0-9a-f]{64}\n {2}memory {4}[0-9a-f]{64}\n/,
    );
    expect(rest.stderr, `saved at ${count}`).toBe(whole.stderr);
    expect(half.stdout + rest.stdout).toBe(whole.stdout);
  });
});
