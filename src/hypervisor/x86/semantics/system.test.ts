/** System instructions whose usual case is written in the emitter, executed by the interpreter. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { CR0, CR4, Machine } from '../../mmu/machine.fixture.ts';
import { Vector } from '../../vp/state.ts';
import { operations } from '../operations.ts';

const calls: string[] = [];
/** A traced processor leaves everything to TypeScript. */
let tracing = false;
const machine = new Machine({
  operations: Object.fromEntries(
    Object.entries(operations).map(([name, operation]) => [
      name,
      (context, a, b) => {
        calls.push(name);
        return operation(context, a, b);
      },
    ]),
  ),
  platform: {
    readCr8: () => 5n,
    cpuid: (leaf) => [leaf === 0x8000_0008 ? 40 : 0, 0, 0, 0],
    get tracing() {
      return tracing;
    },
    onTrace: () => {},
  },
});
const { vp, ram, bytes } = machine;
const TABLES = 0x1000;
const CODE = 0x20_0000n;
const [P, W, U, PS] = [1n, 2n, 4n, 0x80n];
const PT = TABLES + 0x3000;

function map(page: number, frame: number): void {
  ram.setBigUint64(PT + page * 8, BigInt(frame) | P | W | U, true);
}
function prepare(cpl: 0 | 3): void {
  machine.configure('4-level', cpl, { cr0: CR0.WP, cr3: BigInt(TABLES), cr4: CR4.PGE });
}
beforeEach(() => {
  bytes.fill(0, TABLES, TABLES + 4 * 0x1000);
  for (let n = 0; n < 3; n++)
    ram.setBigUint64(TABLES + n * 0x1000, BigInt(TABLES + (n + 1) * 0x1000) | P | W | U, true);
  ram.setBigUint64(TABLES + 0x2000 + 8, CODE | PS | P | U, true);
  calls.length = 0;
  tracing = false;
});
/** Each instruction at an address of its own, so that what was decoded stays true. */
const places = new Map<string, bigint>();
let next: bigint;
function execute(code: readonly number[]): ReturnType<Machine['run']> {
  const place = places.get(code.join()) ?? CODE + 16n * BigInt(places.size);
  places.set(code.join(), place);
  bytes.set(code, Number(place));
  next = place + BigInt(code.length);
  return machine.run(place, 1);
}

describe('MOV from a control register', () => {
  /** MOV RDX, CRn */
  const code = (n: number): number[] => [n < 8 ? 0x48 : 0x4c, 0x0f, 0x20, 0xc2 | ((n & 7) << 3)];

  it.each(Array.from({ length: 16 }, (_, n) => n))('CR%i', (n) => {
    prepare(0);
    vp.cr2 = 0x1234_5678_9abc_def0n;
    vp.cr8 = 99n;
    const values: Partial<Record<number, bigint>> = { 0: vp.cr0, 2: vp.cr2, 3: vp.cr3, 4: vp.cr4, 8: 5n };
    const fault = execute(code(n));
    const value = values[n];
    if (value === undefined) expect(fault).toMatchObject({ vector: Vector.UD, error: -1 });
    else {
      expect(fault).toBeUndefined();
      expect(vp.gpr[2]).toBe(value);
    }
    expect(calls).toEqual(value === undefined || n === 8 ? ['readCr'] : []);
    // Undefined registers first, then the privilege.
    prepare(3);
    expect(execute(code(n))).toMatchObject(
      value === undefined ? { vector: Vector.UD } : { vector: Vector.GP, error: 0 },
    );
  });
});

describe('MOV to CR3', () => {
  /** MOV CR3, RDX and MOV EAX, [RBX] */
  const write = [0x0f, 0x22, 0xda];
  const load = [0x8b, 0x03];
  const PCIDE = 1n << 17n;

  it('does in the emitter what TypeScript does', () => {
    const low = fc.bigInt(0n, 0xfffn);
    const high = fc.constantFrom(0n, 0n, 1n << 63n, 1n << 40n, 1n << 39n, 1n << 62n);
    const short = { taken: 0 };
    fc.assert(
      fc.property(fc.boolean(), fc.constantFrom(0, 0, 0, 3), low, high, (pcid, cpl, flags, bits) => {
        const results = [false, true].map((full) => {
          tracing = full;
          prepare(cpl);
          if (pcid) vp.cr4 |= PCIDE;
          vp.gpr[2] = BigInt(TABLES) | flags | bits;
          vp.unwind = 0;
          vp.retired = 0n;
          calls.length = 0;
          const fault = execute(write);
          if (!full && fault === undefined && calls.length === 0) short.taken++;
          if (full) expect(calls).toEqual(['writeCr']);
          const { cr3, rip, retired, unwind } = vp;
          return { fault, cr3, rip, retired, unwind };
        });
        expect(results[0]).toEqual(results[1]);
      }),
      // Of 300 some 90 go the short way.
      { numRuns: 300 },
    );
    expect(short.taken).toBeGreaterThan(20);
  });

  it('lets go of translations, but of global ones', () => {
    const [GLOBAL, OTHER] = [0x100n, 0x8000];
    prepare(0);
    map(0x10, 0x30_0000);
    ram.setBigUint64(PT + 0x11 * 8, 0x30_0000n | P | W | U | GLOBAL, true);
    ram.setUint32(0x30_0000, 1, true);
    ram.setUint32(0x31_0000, 2, true);
    const read = (address: bigint): bigint => {
      vp.gpr[3] = address;
      expect(execute(load)).toBeUndefined();
      return vp.gpr[0] as bigint;
    };
    expect([read(0x1_0000n), read(0x1_1000n)]).toEqual([1n, 1n]);
    // The same tables but for the last.
    bytes.copyWithin(OTHER, TABLES, TABLES + 4 * 0x1000);
    for (let n = 0; n < 3; n++)
      ram.setBigUint64(OTHER + n * 0x1000, BigInt(OTHER + (n + 1) * 0x1000) | P | W | U, true);
    for (const page of [0x10, 0x11]) ram.setBigUint64(OTHER + 0x3000 + page * 8, 0x31_0000n | P | W | U, true);
    vp.gpr[2] = BigInt(OTHER);
    expect(execute(write)).toBeUndefined();
    expect(vp.cr3).toBe(BigInt(OTHER));
    expect([read(0x1_0000n), read(0x1_1000n)]).toEqual([2n, 1n]);
    expect(calls).toEqual([]);
  });
});

describe('INVLPG', () => {
  /** MOV EAX, [RBX] and INVLPG [RBX] */
  const load = [0x8b, 0x03];
  const invalidate = [0x0f, 0x01, 0x3b];
  const read = (): bigint => {
    expect(execute(load)).toBeUndefined();
    return vp.gpr[0] as bigint;
  };

  it('lets go of one translation, and of no other', () => {
    prepare(0);
    for (const page of [0x10, 0x11]) map(page, 0x30_0000);
    ram.setUint32(0x30_0000, 1, true);
    ram.setUint32(0x31_0000, 2, true);
    for (const address of [0x1_1000n, 0x1_0000n]) {
      vp.gpr[3] = address;
      expect(read()).toBe(1n);
    }
    for (const page of [0x10, 0x11]) map(page, 0x31_0000);
    expect(read()).toBe(1n);
    vp.unwind = 0;
    expect(execute(invalidate)).toBeUndefined();
    expect(vp.rip).toBe(next);
    expect(vp.unwind).toBe(1);
    expect(read()).toBe(2n);
    vp.gpr[3] = 0x1_1000n;
    expect(read()).toBe(1n);
    expect(calls).toEqual([]);
  });

  it('takes an address that is not canonical, or not mapped', () => {
    prepare(0);
    for (const address of [0x8000_0000_0000n, 0x1_2000n]) {
      vp.gpr[3] = address;
      expect(execute(invalidate)).toBeUndefined();
      expect(vp.rip).toBe(next);
    }
  });

  it('is privileged', () => {
    prepare(3);
    vp.gpr[3] = 0x1_0000n;
    expect(execute(invalidate)).toMatchObject({ vector: Vector.GP, error: 0 });
  });
});
