/** System instructions whose usual case is written in the emitter, executed by the interpreter. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CR0, CR4, Machine } from '../../mmu/machine.fixture.ts';
import { Vector } from '../../vp/state.ts';
import { operations } from '../operations.ts';

const calls: string[] = [];
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
  platform: { readCr8: () => 5n },
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
