// What hostile code once did, each in as few instructions as show it.

import { beforeEach, describe, expect, it } from 'vitest';
import { RunResult } from '../../src/hypervisor/interpreter/interpreter.ts';
import { PAGE, PAGE_MAP, PageFlag, ramBase } from '../../src/hypervisor/memory/layout.ts';
import { CR4, Machine, type Paging } from '../../src/hypervisor/mmu/machine.fixture.ts';
import { Vector } from '../../src/hypervisor/vp/state.ts';

const [RAX, RCX, RSI, RDI] = [0, 1, 6, 7] as const;
/** The last byte of a page. */
const CODE = 0x5fffn;
const MOV_EAX = 0xb8;

let machine: Machine;
beforeEach(() => {
  machine = new Machine();
});

function code(at: number, ...bytes: number[]): void {
  machine.bytes.set(bytes, at);
}
function entry(at: number, value: bigint): void {
  machine.ram.setBigUint64(at, value, true);
}
/** Tables at 1000h: the lowest GiB where it is, and the last 2 MiB of both halves at 0. */
function long(): void {
  entry(0x1000, 0x2007n);
  entry(0x2000, 0x87n);
  entry(0x1000 + 255 * 8, 0x3007n);
  entry(0x3000 + 511 * 8, 0x4007n);
  entry(0x4000 + 511 * 8, 0x87n);
  machine.configure('4-level', 0, { cr3: 0x1000n });
}
/** The code at 5FFFh goes on in a page at `gpa`. */
function split(gpa: bigint): void {
  entry(0x1000, 0x2007n);
  entry(0x2000, 0x3007n);
  entry(0x3000, 0x4007n);
  entry(0x4000 + 5 * 8, 0x5007n);
  entry(0x4000 + 6 * 8, gpa | 7n);
  machine.configure('4-level', 0, { cr3: 0x1000n });
}

describe('a run ends', () => {
  it('in a loop of faults, which retires nothing', () => {
    machine.configure('none', 0);
    code(0x5000, 0x0f, 0x0b);
    let faults = 0;
    Object.assign(machine.engine.platform, {
      deliverFault: () => {
        faults++;
        return faults < 1_000_000;
      },
    });
    machine.vp.rip = 0x5000n;
    const before = machine.vp.retired;
    expect(machine.engine.run(1000)).toBe(RunResult.ATTENTION);
    expect(faults).toBeLessThanOrEqual(1000);
    expect(machine.vp.retired - before).toBe(0n);
  });

  it.each<[string, Paging, number[]]>([
    ['LODSB', 'none', [0xf3, 0xac]],
    ['MOVSB', 'none', [0xf3, 0xa4]],
    ['SCASB', 'none', [0xf2, 0xae]],
    ['CMPSB', 'none', [0xf3, 0xa6]],
    ['STOSB going down', '4-level', [0xf3, 0xaa]],
    ['MOVSB from device memory', '4-level', [0xf3, 0xa4]],
  ])('in a REP %s without end', (_what, paging, bytes) => {
    if (paging === '4-level') long();
    else machine.configure('none', 0);
    code(0x5000, ...bytes, 0xeb, 0xfe);
    const { vp } = machine;
    if (paging === '4-level') vp.flags |= 0x400;
    vp.gpr[RAX] = 1n;
    vp.gpr[RCX] = 0xffff_ffffn;
    vp.gpr[RSI] = paging === '4-level' ? 0x3000_0000n : 0x1_0000n;
    vp.gpr[RDI] = 0x40_0000n;
    vp.rip = 0x5000n;
    expect(machine.engine.run(10)).toBe(RunResult.ATTENTION);
    // It has not come to its end, and goes on from there.
    expect(vp.rip).toBe(0x5000n);
    expect(vp.retired).toBe(0n);
    expect(vp.gpr[RCX]).toBeLessThan(0xffff_ffffn);
    expect(vp.gpr[RCX]).toBeGreaterThan(0xff00_0000n);
  });

  it('in a loop of repeated instructions, each of which is long', () => {
    machine.configure('none', 0);
    // mov ecx, 4000h; rep lodsb; jmp $-7
    code(0x5000, 0xb9, 0x00, 0x40, 0, 0, 0xf3, 0xac, 0xeb, 0xf7);
    machine.vp.rip = 0x5000n;
    expect(machine.engine.run(1_000_000)).toBe(RunResult.ATTENTION);
    expect(machine.vp.retired).toBeLessThan(100n);
  });
});

describe('the blocks of a page', () => {
  it('do not grow without end where two of them take each other’s place', () => {
    machine.configure('none', 0);
    // The first and third select one entry of the block table, and each one's successor takes its entry of the jump cache.
    const places = [0x5000, 0x6003, 0x10_5010, 0x7112];
    places.forEach((at, i) => {
      const target = places[(i + 1) % places.length]!;
      code(at, 0xe9, ...new Uint8Array(Int32Array.of(target - at - 5).buffer));
    });
    expect(machine.run(0x5000n, 40_000)).toBeUndefined();
    expect(machine.vp.blockLookups).toBeGreaterThan(10_000n);
    expect(machine.engine.blocks.decodedBlocks).toBeLessThan(100);
    expect(machine.engine.blocks.size).toBeLessThan(100);
  });
});

describe('an instruction in two pages', () => {
  it('reads ones where its second page is beyond 4 GiB, not the RAM below', () => {
    split(0x1_0000_7000n);
    code(0x7000, 0x11, 0x22, 0x33, 0x44);
    code(0x5fff, MOV_EAX);
    expect(machine.run(CODE, 1)).toBeUndefined();
    expect(machine.vp.gpr[RAX]).toBe(0xffff_ffffn);
  });

  it('is decoded afresh when its second page changes, also above 2 GiB', () => {
    const words = new Int32Array(machine.ram.buffer);
    words[(PAGE_MAP >> 2) + 0x8000_0000 / PAGE] = (ramBase(1) + 0x9000) | PageFlag.PRESENT | PageFlag.WRITABLE;
    split(0x8000_0000n);
    code(0x5fff, MOV_EAX);
    for (const first of [0x11, 0x77]) {
      code(0x9000, first, 0x22, 0x33, 0x44);
      machine.engine.blocks.written(0x8000_0000, 1);
      expect(machine.run(CODE, 1)).toBeUndefined();
      expect(machine.vp.gpr[RAX]).toBe(0x4433_2200n + BigInt(first));
    }
  });

  it('is held once, however often it runs', () => {
    machine.configure('none', 0);
    code(0x5fff, MOV_EAX, 1, 0, 0, 0, 0xeb, 0xf9);
    expect(machine.run(CODE, 20_000)).toBeUndefined();
    expect(machine.engine.blocks.decodedBlocks).toBeLessThan(10);
    // It stands in both its pages; then there is the jump back.
    expect(machine.engine.blocks.size).toBeLessThan(5);
    expect(machine.engine.vp.blocksFlushed).toBeLessThan(2n);
  });

  it('is the one that the next linear page makes it', () => {
    // The same first page at 5000h and 7000h, before the pages at 8000h and 9000h.
    split(0x8000n);
    entry(0x4000 + 7 * 8, 0x5007n);
    entry(0x4000 + 8 * 8, 0x9007n);
    machine.configure('4-level', 0, { cr3: 0x1000n });
    code(0x5fff, MOV_EAX);
    const seen = (at: bigint): bigint | undefined => {
      expect(machine.run(at, 1)).toBeUndefined();
      return machine.vp.gpr[RAX];
    };
    for (const [eight, nine] of [
      [1, 2],
      [3, 2],
      [3, 4],
    ] as const) {
      code(0x8000, eight, 0, 0, 0);
      machine.engine.blocks.written(0x8000, 4);
      code(0x9000, nine, 0, 0, 0);
      machine.engine.blocks.written(0x9000, 4);
      for (let n = 0; n < 3; n++) {
        expect(seen(0x5fffn)).toBe(BigInt(eight));
        expect(seen(0x7fffn)).toBe(BigInt(nine));
      }
    }
    // And when that becomes another page.
    entry(0x4000 + 6 * 8, 0x9007n);
    machine.engine.flushTlb('page', 0x6000n);
    expect(seen(0x5fffn)).toBe(4n);
    entry(0x4000 + 6 * 8, 0n);
    machine.engine.flushTlb('page', 0x6000n);
    expect(machine.run(0x5fffn, 1)).toMatchObject({ vector: Vector.PF, cr2: 0x6000n });
    expect(machine.engine.blocks.size).toBeLessThan(5);
  });

  it('may stand in one page twice', () => {
    split(0x5000n);
    code(0x5fff, MOV_EAX);
    for (const first of [0x11, 0x77]) {
      code(0x5000, first, 0x22, 0x33, 0x44);
      machine.engine.blocks.written(0x5000, 1);
      expect(machine.run(CODE, 1)).toBeUndefined();
      expect(machine.vp.gpr[RAX]).toBe(0x4433_2200n + BigInt(first));
    }
  });

  it('may change itself, in either page', () => {
    machine.configure('none', 0);
    // At 5FFAh: mov byte [6002h], 77h; then mov eax, 44332211h from 6001h on is not yet decoded; jmp $.
    code(0x5ffa, 0xc6, 0x05, 0x02, 0x60, 0x00, 0x00, 0x77, MOV_EAX, 0x11, 0x22, 0x33, 0x44, 0xeb, 0xfe);
    expect(machine.run(0x5ffan, 3)).toBeUndefined();
    expect(machine.vp.gpr[RAX]).toBe(0x4433_2277n);
  });

  it('raises #GP where the second is not canonical', () => {
    long();
    code(0x1f_ffff, MOV_EAX);
    expect(machine.run(0x7fff_ffff_ffffn, 1)).toMatchObject({ vector: Vector.GP, error: 0 });
  });

  it('faults at 0 after 4 GiB', () => {
    // 4 MiB pages: the last one, and none for the first.
    machine.ram.setUint32(0x1000 + 1023 * 4, 0x83, true);
    machine.configure('32-bit', 0, { cr3: 0x1000n, cr4: CR4.PSE });
    code(0x3f_ffff, MOV_EAX);
    expect(machine.run(0xffff_ffffn, 1)).toMatchObject({ vector: Vector.PF, cr2: 0n });
  });
});
