import { describe, expect, it } from 'vitest';
import { Hypercall, Status } from './constants.ts';
import type { HypervVp } from './partition.ts';
import { RAM, testPartition } from './testing.ts';

const INPUT = 0x8000;
const FAST = 0x10000n;
const reps = (count: number, start = 0) => (BigInt(count) << 32n) | (BigInt(start) << 48n);
const variable = (quads: number) => BigInt(quads) << 17n;

function guest(processors = 1) {
  const p = testPartition(processors);
  const put = (...quads: bigint[]) => {
    quads.forEach((quad, i) => {
      p.memory.view.setBigUint64(INPUT + i * 8, quad, true);
    });
  };
  const call = (control: bigint | number, input: bigint | number = INPUT, output = 0n) =>
    p.vp.hypercall(BigInt(control), BigInt(input), output).result;
  return { ...p, put, call };
}

describe('argument checks', () => {
  it('know which calls there are', () => {
    const { call } = guest();
    for (const code of [0, 1, 0x5b, 0x46, 0x8001, 0xffff])
      expect(call(code)).toBe(BigInt(Status.INVALID_HYPERCALL_CODE));
  });

  it('refuse reserved bits, repetitions and variable headers where there are none', () => {
    const { call, flushes } = guest();
    const code = BigInt(Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE);
    for (const bit of [27, 31, 44, 47, 60, 63]) expect(call(code | (1n << BigInt(bit)))).toBe(3n);
    expect(call(code | reps(1))).toBe(3n);
    expect(call(code | reps(0, 1))).toBe(3n);
    expect(call(code | variable(1))).toBe(3n);
    const list = BigInt(Hypercall.FLUSH_VIRTUAL_ADDRESS_LIST);
    expect(call(list)).toBe(3n);
    expect(call(list | reps(2, 2))).toBe(3n);
    expect(flushes).toEqual([]);
  });

  it('refuse fast calls whose input does not fit two registers', () => {
    const { call } = guest();
    expect(call(BigInt(Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE) | FAST)).toBe(3n);
    expect(call(BigInt(Hypercall.POST_MESSAGE) | FAST)).toBe(3n);
  });

  it('want the input aligned, within one page, in memory', () => {
    const { call } = guest();
    const code = Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE;
    expect(call(code, INPUT + 4)).toBe(4n);
    expect(call(code, INPUT + 4096 - 16)).toBe(4n);
    expect(call(code, INPUT + 4096 - 24)).toBe(0n);
    expect(call(code, RAM)).toBe(4n);
    expect(call(code, 0xffff_ffff_ffff_f000n)).toBe(4n);
    expect(call(BigInt(Hypercall.FLUSH_VIRTUAL_ADDRESS_LIST) | reps(510))).toBe(4n);
  });
});

describe('PostMessage and SignalEvent', () => {
  it('reach the port that owns the connection, a message under the lock, a signal without it', () => {
    const { partition, call, memory, locked } = guest();
    const seen: unknown[] = [];
    partition.addConnections({ postMessage: () => undefined, signalEvent: () => undefined });
    partition.addConnections({
      postMessage: (connection, type, payload) => {
        if (connection !== 4) return undefined;
        seen.push([locked(), type, [...payload]]);
        return 0;
      },
      signalEvent: (connection, flag) => {
        if (connection !== 0x2001) return undefined;
        seen.push([locked(), flag]);
        return Status.INSUFFICIENT_BUFFERS;
      },
    });
    const message = (connection: number, type: number, size: number) => {
      for (const [i, v] of [connection, 0, type, size].entries()) memory.view.setUint32(INPUT + i * 4, v, true);
      memory.view.setUint32(INPUT + 16, 0x04030201, true);
    };
    message(4, 1, 4);
    expect(call(Hypercall.POST_MESSAGE)).toBe(0n);
    message(5, 1, 4);
    expect(call(Hypercall.POST_MESSAGE)).toBe(18n);
    message(4, 1, 241);
    expect(call(Hypercall.POST_MESSAGE)).toBe(5n);
    message(4, 0, 4);
    expect(call(Hypercall.POST_MESSAGE)).toBe(5n);
    message(4, 0x80000001, 4);
    expect(call(Hypercall.POST_MESSAGE)).toBe(5n);
    expect(call(0x1005dn, 0x7_0000_2001n)).toBe(19n);
    expect(call(0x1005dn, 0x2002n)).toBe(18n);
    expect(call(0x1005dn, 0x0100_2001n)).toBe(3n);
    expect(call(0x1005dn, 0x1_0000_0000_2001n)).toBe(3n);
    expect(seen).toEqual([
      [true, 1, [1, 2, 3, 4]],
      [false, 7],
    ]);
  });
});

describe('TLB flushes', () => {
  it('name processors by mask, address space and pages', () => {
    const { put, call, flushes } = guest(3);
    put(0x1000n, 0n, 0b101n, 0xffff_8000_0000_0003n, 0x2000n);
    expect(call(Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE)).toBe(0n);
    put(0x1000n, 2n, 0b1010n);
    expect(call(Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE)).toBe(0n);
    put(0x1000n, 1n | 4n, 0n);
    expect(call(BigInt(Hypercall.FLUSH_VIRTUAL_ADDRESS_LIST) | reps(2))).toBe(2n << 32n);
    // A restarted call reports the total.
    expect(call(BigInt(Hypercall.FLUSH_VIRTUAL_ADDRESS_LIST) | reps(2, 1))).toBe(2n << 32n);
    const all = { addressSpace: 0x1000n, processors: [0, 1, 2], nonGlobalOnly: true };
    expect(flushes).toEqual([
      { processors: [0, 2], addressSpace: 0x1000n, nonGlobalOnly: false, ranges: undefined },
      { processors: [1], addressSpace: undefined, nonGlobalOnly: false, ranges: undefined },
      { ...all, ranges: [0xffff_8000_0000_0003n, 0x2000n] },
      { ...all, ranges: [0x2000n] },
    ]);
    put(0n, 8n, 1n);
    expect(call(Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE)).toBe(5n);
  });

  it('with processor sets', () => {
    const { put, call, flushes } = guest(70);
    put(0x1000n, 0n, 0n, 0b11n, 1n << 5n, 1n << 4n, 0x5000n);
    expect(call(BigInt(Hypercall.FLUSH_VIRTUAL_ADDRESS_LIST_EX) | variable(2) | reps(1))).toBe(1n << 32n);
    expect(flushes[0]).toMatchObject({ processors: [5, 68], ranges: [0x5000n] });
    expect(call(BigInt(Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE_EX) | variable(1))).toBe(3n);
    put(0x1000n, 0n, 2n, 0n);
    expect(call(BigInt(Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE_EX))).toBe(5n);
    put(0x1000n, 0n, 1n, 0n);
    expect(call(BigInt(Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE_EX))).toBe(0n);
    expect(flushes[1]?.processors.length).toBe(70);
  });
});

describe('inter-processor interrupts', () => {
  it('go to the processors of the mask', () => {
    const { vps, take, call, put } = guest(3);
    expect(call(BigInt(Hypercall.SEND_SYNTHETIC_CLUSTER_IPI) | FAST, 0xfbn, 0b110n)).toBe(0n);
    expect(vps.map((vp: HypervVp) => take(vp))).toEqual([-1, 0xfb, 0xfb]);
    put(0xfcn, 0b001n);
    expect(call(Hypercall.SEND_SYNTHETIC_CLUSTER_IPI)).toBe(0n);
    put(0xfdn, 0n, 1n, 0b100n);
    expect(call(BigInt(Hypercall.SEND_SYNTHETIC_CLUSTER_IPI_EX) | variable(1))).toBe(0n);
    for (const vp of vps) vp.apic.eoi();
    expect(vps.map((vp: HypervVp) => take(vp))).toEqual([0xfc, -1, 0xfd]);
  });

  it('refuse vectors that are exceptions, and other trust levels', () => {
    const { call } = guest();
    for (const vector of [0xfn, 0x100n, 0x1_0000_0020n])
      expect(call(BigInt(Hypercall.SEND_SYNTHETIC_CLUSTER_IPI) | FAST, vector, 1n)).toBe(5n);
  });

  it('and long spin waits are taken note of', () => {
    const { call } = guest();
    expect(call(BigInt(Hypercall.NOTIFY_LONG_SPIN_WAIT) | FAST, 10n)).toBe(0n);
  });
});
