/** Modelled on what kvm-unit-tests' hyperv_synic, hyperv_connections and hyperv_stimer ask of a hypervisor. */
import { describe, expect, it } from 'vitest';
import { MESSAGE_TYPE_TIMER_EXPIRED, Msr, Status } from './constants.ts';
import type { HypervVp } from './partition.ts';
import { MESSAGE_QUEUE } from './state.ts';
import { HypervTest, HypervTestState } from './test-port.ts';
import { type TestPartition, testPartition } from './testing.ts';

const SIMP = 0x10000;
const SIEFP = 0x20000;
const MASKED = 0x10000n;
const AUTO_EOI = 0x20000n;
const ENABLE = 1;
const PERIODIC = 2;
const AUTO_ENABLE = 8;

function enable(vp: HypervVp, sints: Readonly<Record<number, bigint>>): void {
  vp.writeMsr(Msr.SIMP, BigInt(SIMP + vp.index * 0x1000) | 1n);
  vp.writeMsr(Msr.SIEFP, BigInt(SIEFP + vp.index * 0x1000) | 1n);
  vp.writeMsr(Msr.SCONTROL, 1n);
  for (const [sint, value] of Object.entries(sints)) vp.writeMsr(Msr.SINT0 + Number(sint), value);
}

function slot({ memory }: TestPartition, vp: number, sint: number) {
  const at = SIMP + vp * 0x1000 + sint * 256;
  return {
    type: memory.view.getUint32(at, true),
    size: memory.view.getUint8(at + 4),
    pending: memory.view.getUint8(at + 5),
    payload: memory.bytes.slice(at + 16, at + 16 + memory.view.getUint8(at + 4)),
    free: () => memory.view.setUint32(at, 0, true),
  };
}

function post(p: TestPartition, vp: number, sint: number, byte: number): string {
  return p.partition.lock.with(() => p.partition.postMessage(vp, sint, 1, 0n, new Uint8Array(8).fill(byte)));
}

describe('SynIC MSRs', () => {
  it('have their reset values and rules', () => {
    const { vp } = testPartition();
    expect(vp.readMsr(Msr.SVERSION)).toBe(1n);
    expect(vp.readMsr(Msr.EOM)).toBe(0n);
    for (let n = 0; n < 16; n++) expect(vp.readMsr(Msr.SINT0 + n)).toBe(MASKED);
    expect(vp.writeMsr(Msr.SINT0, 15n)).toBe(false);
    expect(vp.writeMsr(Msr.SINT0, MASKED | 15n)).toBe(true);
    expect(vp.writeMsr(Msr.SINT0, 16n)).toBe(true);
    expect(vp.writeMsr(Msr.SIMP, 0x4000_0001n)).toBe(false);
    expect(vp.writeMsr(Msr.SIMP, 0x4000_0000n)).toBe(true);
  });

  it('do not touch the pages they enable', () => {
    const { vp, memory } = testPartition();
    memory.bytes.fill(0x55, SIMP, SIMP + 4096);
    vp.writeMsr(Msr.SIMP, BigInt(SIMP) | 1n);
    expect(memory.bytes.subarray(SIMP, SIMP + 4096).every((b) => b === 0x55)).toBe(true);
  });
});

describe('messages', () => {
  it('stand in the slot, payload before type, and interrupt', () => {
    const p = testPartition(2);
    enable(p.vps[1] as HypervVp, { 2: 0xf3n });
    expect(post(p, 0, 2, 1)).toBe('inactive');
    expect(post(p, 1, 2, 0x42)).toBe('accepted');
    expect(slot(p, 1, 2)).toMatchObject({ type: 1, size: 8, pending: 0, payload: new Uint8Array(8).fill(0x42) });
    expect(p.take(p.vps[1] as HypervVp)).toBe(0xf3);
  });

  it('wait for a full slot with the pending flag, in order, until EOM', () => {
    const p = testPartition();
    enable(p.vp, { 2: 0xf3n });
    for (const byte of [1, 2, 3]) post(p, 0, 2, byte);
    expect(p.take(p.vp)).toBe(0xf3);
    for (const byte of [1, 2, 3]) {
      const now = slot(p, 0, 2);
      expect([now.payload[0], now.pending]).toEqual([byte, byte < 3 ? 1 : 0]);
      now.free();
      expect(p.take(p.vp)).toBe(-1);
      p.vp.writeMsr(Msr.EOI, 0n);
      p.vp.writeMsr(Msr.EOM, 0n);
      expect(p.take(p.vp)).toBe(byte < 3 ? 0xf3 : -1);
    }
    expect(slot(p, 0, 2).type).toBe(0);
  });

  it('are not stranded by a guest that frees the slot before it can see the pending flag', () => {
    const p = testPartition();
    enable(p.vp, { 2: 0xf3n });
    post(p, 0, 2, 1);
    const setBit = p.memory.setBit.bind(p.memory);
    p.memory.setBit = (gpa, bit) => {
      slot(p, 0, 2).free();
      return setBit(gpa, bit);
    };
    post(p, 0, 2, 2);
    expect(slot(p, 0, 2)).toMatchObject({ type: 1, pending: 0, payload: new Uint8Array(8).fill(2) });
  });

  it('of one SINT do not hold up another', () => {
    const p = testPartition();
    enable(p.vp, { 2: 0xf3n, 3: 0xf4n });
    post(p, 0, 2, 1);
    post(p, 0, 2, 2);
    post(p, 0, 3, 3);
    expect(slot(p, 0, 3).payload[0]).toBe(3);
    for (const [sint, byte] of [
      [3, 4],
      [2, 5],
      [3, 6],
    ] as const)
      post(p, 0, sint, byte);
    const next = (sint: number) => {
      slot(p, 0, sint).free();
      p.vp.writeMsr(Msr.EOM, 0n);
      return slot(p, 0, sint).payload[0];
    };
    expect([next(2), next(3), next(2), next(3)]).toEqual([2, 4, 5, 6]);
  });

  it('are refused when the queue is full, not lost', () => {
    const p = testPartition();
    enable(p.vp, { 2: 0xf3n });
    let accepted = 0;
    while (post(p, 0, 2, accepted) === 'accepted') accepted++;
    expect(accepted).toBe(MESSAGE_QUEUE + 1);
    for (let n = 0; n < accepted; n++) {
      expect(slot(p, 0, 2).payload[0]).toBe(n);
      slot(p, 0, 2).free();
      p.vp.writeMsr(Msr.EOM, 0n);
    }
    expect(slot(p, 0, 2).type).toBe(0);
  });

  it('wait while the SINT is masked, and come without an interrupt when it is polled', () => {
    const p = testPartition();
    enable(p.vp, { 2: MASKED | 0xf3n });
    post(p, 0, 2, 9);
    expect(slot(p, 0, 2).type).toBe(0);
    p.vp.writeMsr(Msr.SINT0 + 2, 0x50000n);
    expect(slot(p, 0, 2).payload[0]).toBe(9);
    expect(p.take(p.vp)).toBe(-1);
  });
});

describe('event flags', () => {
  it('interrupt only when newly set', () => {
    const p = testPartition();
    const set = (flag: number) => p.partition.lock.with(() => p.partition.setEventFlag(0, 2, flag));
    expect(set(5)).toBe('inactive');
    enable(p.vp, { 2: 0xf3n });
    expect(set(37)).toBe('set');
    expect(p.memory.bytes[SIEFP + 512 + 4]).toBe(0x20);
    expect(p.take(p.vp)).toBe(0xf3);
    p.vp.writeMsr(Msr.EOI, 0n);
    expect(set(37)).toBe('already-set');
    expect(p.take(p.vp)).toBe(-1);
    expect(set(2047)).toBe('set');
    expect(() => set(2048)).toThrow(RangeError);
  });
});

describe('the test device', () => {
  function testDevice(processors: number) {
    const p = testPartition(processors);
    const device = new HypervTest(p.partition, new SharedArrayBuffer(HypervTestState.size), 0);
    device.reset();
    const out = (operation: number, vp: number, sint: number, connection = 0) =>
      p.partition.lock.with(() => device.command(((connection << 24) | (operation << 16) | (vp << 8) | sint) >>> 0));
    return { ...p, p, out };
  }

  it('raises routed SINTs on any processor, with and without auto-EOI', () => {
    const { vps, take, out } = testDevice(2);
    const other = vps[1] as HypervVp;
    enable(other, {});
    for (let n = 0; n < 16; n++) other.writeMsr(Msr.SINT0 + n, BigInt(0xb0 + n) | (n % 3 === 0 ? AUTO_EOI : 0n));
    out(3, 1, 4);
    expect(take(other)).toBe(-1); // no route yet
    for (let n = 0; n < 16; n++) out(1, 1, n);
    for (let n = 0; n < 16; n++) {
      out(3, 1, n);
      expect(take(other)).toBe(0xb0 + n);
      expect(other.apic.ppr).toBe(n % 3 === 0 ? 0 : 0xb0);
      other.apic.eoi();
    }
    out(2, 1, 4);
    out(3, 1, 4);
    expect(take(other)).toBe(-1);
  });

  it('loops messages and events back, as hyperv_connections expects', () => {
    const { p, vps, vp, memory, take, out } = testDevice(2);
    const other = vps[1] as HypervVp;
    for (const v of vps) enable(v, { 8: 0xb0n | AUTO_EOI, 9: 0xb1n | AUTO_EOI });
    const call = (code: bigint, input: bigint) => vp.hypercall(code, input, 0n).result;
    expect(call(0x1005dn, 0x1234n)).toBe(BigInt(Status.INVALID_CONNECTION_ID));
    out(4, 1, 8, 0x11);
    out(6, 1, 9, 0x21);
    const message = 0x30000;
    memory.view.setUint32(message, 0x11, true);
    memory.view.setUint32(message + 8, 0x12345678, true);
    memory.view.setUint32(message + 12, 8, true);
    memory.view.setUint32(message + 16, 0x10001, true);
    expect(call(0x5cn, BigInt(message))).toBe(0n);
    expect(slot(p, 1, 8)).toMatchObject({ type: 0x12345678, size: 8, pending: 0 });
    expect(take(other)).toBe(0xb0);
    // The slot is busy: accepted, pending, no interrupt.
    memory.view.setUint32(message + 16, 0x10002, true);
    expect(call(0x5cn, BigInt(message))).toBe(0n);
    expect(slot(p, 1, 8)).toMatchObject({ pending: 1, payload: new Uint8Array([1, 0, 1, 0, 0, 0, 0, 0]) });
    expect(take(other)).toBe(-1);
    slot(p, 1, 8).free();
    other.writeMsr(Msr.EOM, 0n);
    expect(slot(p, 1, 8)).toMatchObject({ pending: 0, payload: new Uint8Array([2, 0, 1, 0, 0, 0, 0, 0]) });
    expect(take(other)).toBe(0xb0);

    expect(call(0x1005dn, 0x21n)).toBe(0n);
    expect(memory.view.getBigUint64(SIEFP + 0x1000 + 9 * 256, true)).toBe(1n << 33n);
    expect(take(other)).toBe(0xb1);
    expect(call(0x1005dn, 0x21n)).toBe(0n);
    expect(take(other)).toBe(-1);
    out(5, 1, 8, 0x11);
    out(7, 1, 9, 0x21);
    expect(call(0x5cn, BigInt(message))).toBe(18n);
    expect(call(0x1005dn, 0x21n)).toBe(18n);
  });
});

describe('synthetic timers', () => {
  const CONFIG = Msr.STIMER0_CONFIG;
  const COUNT = Msr.STIMER0_CONFIG + 1;
  const message = (sint: number, bits: number) => BigInt((sint << 16) | bits);

  function timers() {
    const p = testPartition();
    enable(p.vp, { 2: 0xf1n, 3: 0xf2n | AUTO_EOI });
    const at = (ms: number) => {
      p.clock.time = BigInt(ms) * 1_000_000n;
      p.vp.poll();
    };
    return { ...p, p, at };
  }

  it('fire in direct mode as Linux programs them', () => {
    const { vp, clock, take, at } = timers();
    vp.writeMsr(CONFIG, 0x1ed9n);
    expect(vp.nextDeadline()).toBeUndefined();
    vp.writeMsr(COUNT, 50_000n); // 5 ms, absolute
    const deadline = vp.nextDeadline() as bigint;
    expect(deadline - 5_000_000n).toBeLessThanOrEqual(100n);
    at(4);
    expect(take(vp)).toBe(-1);
    clock.time = deadline;
    vp.poll();
    expect(take(vp)).toBe(0xed);
    expect(vp.readMsr(CONFIG)).toBe(0x1ed8n);
    expect(vp.nextDeadline()).toBeUndefined();
    vp.apic.eoi();
    vp.writeMsr(COUNT, 40_000n); // auto-enabled again, and already past
    expect(take(vp)).toBe(0xed);
    vp.apic.eoi();
    vp.writeMsr(COUNT, 90_000n);
    expect(vp.readMsr(CONFIG)).toBe(0x1ed9n);
    vp.writeMsr(COUNT, 0n);
    expect(vp.readMsr(CONFIG)).toBe(0x1ed8n);
    at(20);
    expect(take(vp)).toBe(-1);
  });

  it('that wake early by rounding ask to be woken again, later', () => {
    const { vp, clock } = timers();
    vp.writeMsr(CONFIG, 0x1ed9n);
    vp.writeMsr(COUNT, 12_345_679n);
    for (let guard = 0; vp.nextDeadline() !== undefined; guard++) {
      expect(guard).toBeLessThan(4);
      clock.time = vp.nextDeadline() as bigint;
      vp.poll();
    }
  });

  it('send a message to their SINT', () => {
    const { p, vp, take, at } = timers();
    vp.writeMsr(COUNT, 10_000n);
    vp.writeMsr(CONFIG, message(2, ENABLE));
    at(2);
    const { type, size, payload } = slot(p, 0, 2);
    expect([type, size]).toEqual([MESSAGE_TYPE_TIMER_EXPIRED, 24]);
    const view = new DataView(payload.buffer);
    expect([view.getUint32(0, true), view.getUint32(4, true)]).toEqual([0, 0]);
    expect(view.getBigUint64(8, true)).toBe(10_000n);
    expect(view.getBigUint64(16, true)).toBeGreaterThanOrEqual(19_999n);
    expect(take(vp)).toBe(0xf1);
  });

  it('repeat in phase', () => {
    const { p, vp, take, at } = timers();
    vp.writeMsr(CONFIG + 2, message(3, ENABLE | PERIODIC));
    vp.writeMsr(COUNT + 2, 10_000n);
    for (let ms = 1; ms < 5; ms++) {
      at(ms);
      p.clock.time += 1000n;
      vp.poll();
      expect(take(vp)).toBe(0xf2);
      expect(slot(p, 0, 3).payload[0]).toBe(1);
      slot(p, 0, 3).free();
    }
    expect(vp.readMsr(CONFIG + 2)).toBe(message(3, ENABLE | PERIODIC));
    // Periods that went by are one expiration, and the next is in phase.
    p.clock.time = 9_500_000n;
    vp.poll();
    expect(take(vp)).toBe(0xf2);
    slot(p, 0, 3).free();
    expect(p.vp.state.timerExpiration[1]).toBe(100_000n);
  });

  it('wait for a busy slot and come after EOM', () => {
    const { p, vp, memory, take, at } = timers();
    memory.view.setUint32(SIMP + 2 * 256, MESSAGE_TYPE_TIMER_EXPIRED, true);
    vp.writeMsr(COUNT, 10_000n);
    vp.writeMsr(CONFIG, message(2, ENABLE));
    at(3);
    expect(slot(p, 0, 2).pending).toBe(1);
    expect(take(vp)).toBe(-1);
    slot(p, 0, 2).free();
    vp.writeMsr(Msr.EOM, 0n);
    expect(take(vp)).toBe(0xf1);
    expect(slot(p, 0, 2)).toMatchObject({ type: MESSAGE_TYPE_TIMER_EXPIRED, pending: 0 });
  });

  it('lose their waiting message when reprogrammed', () => {
    const { p, vp, memory, at } = timers();
    memory.view.setUint32(SIMP + 2 * 256, 1, true);
    vp.writeMsr(COUNT, 10_000n);
    vp.writeMsr(CONFIG, message(2, ENABLE));
    at(3);
    vp.writeMsr(CONFIG, message(2, 0));
    slot(p, 0, 2).free();
    vp.writeMsr(Msr.EOM, 0n);
    expect(slot(p, 0, 2).type).toBe(0);
  });

  it('with SINT 0 and no direct mode are disabled at once', () => {
    const { vp } = timers();
    vp.writeMsr(COUNT, 10_000n);
    vp.writeMsr(CONFIG, BigInt(ENABLE));
    expect(vp.readMsr(CONFIG)).toBe(0n);
    vp.writeMsr(CONFIG, BigInt(AUTO_ENABLE));
    vp.writeMsr(COUNT, 20_000n);
    expect(vp.readMsr(CONFIG)).toBe(BigInt(AUTO_ENABLE));
    expect(vp.nextDeadline()).toBeUndefined();
  });
});
