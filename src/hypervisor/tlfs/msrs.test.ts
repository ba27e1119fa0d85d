import { describe, expect, it } from 'vitest';
import { HYPERCALL_PAGE_CODE, Msr, Privilege } from './constants.ts';
import { syntheticMsrName } from './msrs.ts';
import { HypervPartitionState, HypervVpState } from './state.ts';
import { RAM, TSC_FREQUENCY, testPartition } from './testing.ts';

describe('identity and the hypercall page', () => {
  it('is enabled only after the guest has said who it is', () => {
    const { vp, memory, partition } = testPartition();
    expect(vp.writeMsr(Msr.HYPERCALL, 0x5001n)).toBe(true);
    expect(vp.readMsr(Msr.HYPERCALL)).toBe(0x5000n);
    expect(partition.hypercallsEnabled).toBe(false);
    vp.writeMsr(Msr.GUEST_OS_ID, 0x8100n << 48n);
    expect(vp.writeMsr(Msr.HYPERCALL, 0x5001n)).toBe(true);
    expect(vp.readMsr(Msr.HYPERCALL)).toBe(0x5001n);
    expect([...memory.bytes.subarray(0x5000, 0x5004)]).toEqual(HYPERCALL_PAGE_CODE);
    expect(partition.hypercallsEnabled).toBe(true);
    vp.writeMsr(Msr.GUEST_OS_ID, 0n);
    expect(vp.readMsr(Msr.HYPERCALL)).toBe(0x5000n);
  });

  it('refuses a page outside memory, and stays as it is once locked', () => {
    const { vp } = testPartition();
    vp.writeMsr(Msr.GUEST_OS_ID, 1n);
    for (const page of [BigInt(RAM), 0xffff_ffff_ffff_f000n]) expect(vp.writeMsr(Msr.HYPERCALL, page | 1n)).toBe(false);
    expect(vp.readMsr(Msr.HYPERCALL)).toBe(0n);
    vp.writeMsr(Msr.HYPERCALL, 0x6003n);
    vp.writeMsr(Msr.HYPERCALL, 0x7001n);
    expect(vp.readMsr(Msr.HYPERCALL)).toBe(0x6003n);
  });
});

describe('access', () => {
  it('is #GP for unknown, read-only, write-only and withheld MSRs', () => {
    const { vp } = testPartition();
    for (const index of [0x40000004, 0x40000085, 0x400000a0, 0x400000b8, 0x40000106, 0x40000118, 0x400001ff]) {
      expect(vp.readMsr(index)).toBeUndefined();
      expect(vp.writeMsr(index, 0n)).toBe(false);
    }
    for (const index of [Msr.VP_INDEX, Msr.TIME_REF_COUNT, Msr.VP_RUNTIME, Msr.TSC_FREQUENCY, Msr.SVERSION])
      expect(vp.writeMsr(index, 0n)).toBe(false);
    expect(vp.readMsr(Msr.EOI)).toBeUndefined();
    expect(vp.readMsr(Msr.GUEST_IDLE)).toBeUndefined(); // one processor: no privilege
    const none = testPartition(1, { privileges: 0x0aff & ~Privilege.SYNIC }).vp;
    expect(none.readMsr(Msr.SCONTROL)).toBeUndefined();
    expect(none.readMsr(Msr.VP_INDEX)).toBe(0n);
    expect(syntheticMsrName(Msr.STIMER0_CONFIG + 3)).toBe('HV_X64_MSR_STIMER1_COUNT');
  });

  it('gives index, frequencies and the idle request', () => {
    const { vps } = testPartition(2);
    expect(vps.map((vp) => vp.readMsr(Msr.VP_INDEX))).toEqual([0n, 1n]);
    expect(vps[0]?.readMsr(Msr.TSC_FREQUENCY)).toBe(BigInt(TSC_FREQUENCY));
    expect(vps[0]?.readMsr(Msr.APIC_FREQUENCY)).toBe(200_000_000n);
    expect(vps[1]?.takeIdle()).toBe(false);
    expect(vps[1]?.readMsr(Msr.GUEST_IDLE)).toBe(0n);
    expect(vps[1]?.takeIdle()).toBe(true);
    expect(vps[1]?.takeIdle()).toBe(false);
  });

  it('reaches the reset port', () => {
    const { vp, resets } = testPartition();
    vp.writeMsr(Msr.RESET, 0n);
    expect(resets.count).toBe(0);
    vp.writeMsr(Msr.RESET, 1n);
    expect(resets.count).toBe(1);
  });
});

describe('reference time', () => {
  it('counts 100 ns from creation, and the page agrees with the MSR', () => {
    const { vp, memory, clock } = testPartition();
    expect(vp.readMsr(Msr.TIME_REF_COUNT)).toBe(0n);
    // Written by Linux before everything else, the guest identity included.
    expect(vp.writeMsr(Msr.REFERENCE_TSC, 0x3001n)).toBe(true);
    const scale = memory.view.getBigUint64(0x3008, true);
    const offset = memory.view.getBigInt64(0x3010, true);
    expect(memory.view.getUint32(0x3000, true)).toBe(1);
    expect(memory.view.getUint32(0x3004, true)).toBe(0);
    expect(scale).toBe((10_000_000n << 64n) / BigInt(TSC_FREQUENCY));
    for (const time of [0n, 123_456_789n, 86_400_000_000_000n]) {
      clock.time = time;
      const tsc = (time * 5n) / 2n + 1000n;
      const count = vp.readMsr(Msr.TIME_REF_COUNT) as bigint;
      expect(((tsc * scale) >> 64n) + offset).toBe(count);
      expect(count - time / 100n).toBeGreaterThanOrEqual(-1n);
      expect(count - time / 100n).toBeLessThanOrEqual(1n);
    }
  });

  it('goes on after a restore, under a new page sequence', () => {
    const { vp, memory, clock, partition } = testPartition();
    vp.writeMsr(Msr.REFERENCE_TSC, 0x3001n);
    clock.time = 1_000_000_000n;
    partition.resumeTime(77_000_000n);
    expect(vp.readMsr(Msr.TIME_REF_COUNT)).toBe(77_000_000n);
    expect(memory.view.getUint32(0x3000, true)).toBe(2);
  });

  it('needs a fast enough TSC', () => {
    expect(() => testPartition(1, { tsc: { tsc: () => 0n, tscFrequency: 10_000_000 } })).toThrow(/too low/);
  });
});

describe('APIC MSRs', () => {
  it('end interrupts, send them and set the priority', () => {
    const { vps, vp, take } = testPartition(2);
    const other = vps[1] as (typeof vps)[number];
    expect(vp.writeMsr(Msr.ICR, (1n << 56n) | 0xf7n)).toBe(true);
    expect(vp.readMsr(Msr.ICR)).toBe((1n << 56n) | 0xf7n);
    expect(take(other)).toBe(0xf7);
    expect(other.apic.ppr).toBe(0xf0);
    other.writeMsr(Msr.EOI, 0n);
    expect(other.apic.ppr).toBe(0);
    expect(other.writeMsr(Msr.TPR, 0x100n)).toBe(false);
    expect(other.writeMsr(Msr.TPR, 0x50n)).toBe(true);
    expect(other.apic.cr8).toBe(5);
    expect(other.readMsr(Msr.TPR)).toBe(0x50n);
  });

  it('clears the assist word of the VP assist page and nothing else', () => {
    const { vp, memory } = testPartition();
    memory.bytes.fill(0xaa, 0x4000, 0x5000);
    vp.writeMsr(Msr.VP_ASSIST_PAGE, 0x4001n);
    expect(memory.view.getUint32(0x4000, true)).toBe(0);
    expect(memory.bytes[0x4004]).toBe(0xaa);
  });
});

describe('crash MSRs', () => {
  it('deliver the parameters and the log text', () => {
    const { vp, memory, crashes } = testPartition();
    const text = 'Kernel panic - not syncing';
    memory.write(0x8000, new TextEncoder().encode(text));
    expect(vp.readMsr(Msr.CRASH_CTL)).toBe(0xc000_0000_0000_0000n);
    [1n, 2n, 3n, 0x8000n, BigInt(text.length)].forEach((value, n) => {
      vp.writeMsr(Msr.CRASH_P0 + n, value);
    });
    vp.writeMsr(Msr.CRASH_CTL, 0xc000_0000_0000_0000n);
    vp.writeMsr(Msr.CRASH_CTL, 1n << 63n);
    expect(crashes).toEqual([
      { parameters: [1n, 2n, 3n, 0x8000n, 26n], message: text },
      { parameters: [1n, 2n, 3n, 0x8000n, 26n], message: undefined },
    ]);
  });

  it('take no text from where there is none', () => {
    const { vp, crashes } = testPartition();
    vp.writeMsr(Msr.CRASH_P0 + 3, BigInt(RAM));
    vp.writeMsr(Msr.CRASH_P0 + 4, 100n);
    vp.writeMsr(Msr.CRASH_CTL, 3n << 62n);
    vp.writeMsr(Msr.CRASH_P0 + 3, 0n);
    vp.writeMsr(Msr.CRASH_P0 + 4, 4097n);
    vp.writeMsr(Msr.CRASH_CTL, 3n << 62n);
    expect(crashes.map((c) => c.message)).toEqual([undefined, undefined]);
  });
});

describe('state', () => {
  it('survives save and load, and reset clears it', () => {
    const a = testPartition();
    a.vp.writeMsr(Msr.GUEST_OS_ID, 7n);
    a.vp.writeMsr(Msr.SIMP, 0x9001n);
    const saved = JSON.parse(
      JSON.stringify([HypervPartitionState.save(a.partition.state), HypervVpState.save(a.vp.state)]),
    );
    const b = testPartition();
    HypervPartitionState.load(b.partition.state, saved[0]);
    HypervVpState.load(b.vp.state, saved[1]);
    expect(b.partition.inspect()).toEqual(a.partition.inspect());
    expect(b.vp.readMsr(Msr.SIMP)).toBe(0x9001n);
    b.partition.reset();
    expect(b.partition.inspect()).toEqual(testPartition().partition.inspect());
  });
});
