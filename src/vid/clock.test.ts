import { describe, expect, it } from 'vitest';
import { PartitionControl } from '../hypervisor/vp/control.ts';
import { VpState } from '../hypervisor/vp/state.ts';
import { PartitionClock } from './clock.ts';

const SECOND = 1_000_000_000n;

function clocks(count = 1) {
  let raw = 0n;
  const control = PartitionControl.view(new SharedArrayBuffer(PartitionControl.size), 0);
  const vp = VpState.view(new SharedArrayBuffer(VpState.size), 0);
  const host = { monotonic: () => raw, calendar: () => 0 };
  return {
    clocks: Array.from({ length: count }, () => new PartitionClock(false, control, vp, host)),
    pass: (nanoseconds: bigint) => {
      raw += nanoseconds;
    },
  };
}

describe('the clock of a partition', () => {
  it("is the host's, as long as somebody looks at it", () => {
    const {
      clocks: [clock],
      pass,
    } = clocks();
    for (let i = 0; i < 100; i++) {
      pass(SECOND);
      expect(clock!.now()).toBe(BigInt(i + 1) * SECOND);
    }
    expect(clock!.offset).toBe(0);
  });

  it('leaves out what nobody has seen, once for all threads, and never goes backwards', () => {
    const {
      clocks: [one, other],
      pass,
    } = clocks(2);
    pass(SECOND);
    one!.now();
    // Not worth a note.
    pass(SECOND / 100n);
    const before = other!.now();
    pass(80n * SECOND);
    const after = one!.now();
    expect(after).toBeGreaterThanOrEqual(before);
    expect(after - before).toBeLessThan(SECOND / 5n);
    expect(other!.now()).toBe(after);
    pass(SECOND);
    expect(other!.now()).toBe(after + SECOND);
    expect(one!.offset).toBeLessThan(-79e9);
  });

  it('goes on from where it is set', () => {
    const {
      clocks: [clock],
      pass,
    } = clocks();
    pass(60n * SECOND);
    clock!.set(5n * SECOND);
    pass(SECOND);
    expect(clock!.now()).toBe(6n * SECOND);
  });
});
