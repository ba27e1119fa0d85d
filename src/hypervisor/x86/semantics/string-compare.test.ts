// REP CMPS and REP SCAS in bulk: what the comparison with the host's processor does not reach (interrupts, devices, long runs).

import { describe, expect, it } from 'vitest';
import { PAGE } from '../../memory/layout.ts';
import { Machine } from '../../mmu/machine.fixture.ts';
import { Flag, readFlags } from '../../vp/state.ts';

const CODE = 0x8000;
const PML4 = 0x1000;
const PDPT = 0x2000;
const DIRECTORY = 0x3000;
const MEGABYTE = 0x10_0000;
const LARGE_PAGE = 2 * MEGABYTE;
const [RAX, RCX, RSI, RDI] = [0, 1, 6, 7] as const;
const REPNE_SCASB = [0xf2, 0xae] as const;
const REPE_CMPSB = [0xf3, 0xa6] as const;
const REPE_CMPSD = [0xf3, 0xa7] as const;
const HLT = 0xf4;

/** A machine in 64-bit mode with its memory where it is, about to execute these bytes. */
function machine(code: readonly number[], registers: Readonly<Record<number, number>>): Machine {
  const m = new Machine();
  const present = 0x3n;
  m.ram.setBigUint64(PML4, BigInt(PDPT) | present, true);
  m.ram.setBigUint64(PDPT, BigInt(DIRECTORY) | present, true);
  for (let i = 0; i < 8; i++) m.ram.setBigUint64(DIRECTORY + i * 8, BigInt(i * LARGE_PAGE) | 0x80n | present, true);
  m.configure('4-level', 0, { cr3: BigInt(PML4), flags: 2 | Flag.OF });
  m.bytes.set([...code, HLT], CODE);
  for (const [register, value] of Object.entries(registers)) m.vp.gpr[Number(register)] = BigInt(value);
  return m;
}
function registers(m: Machine): Record<'rcx' | 'rsi' | 'rdi', number> {
  const value = (register: number): number => Number(m.vp.gpr[register]);
  return { rcx: value(RCX), rsi: value(RSI), rdi: value(RDI) };
}
function zeroFlag(m: Machine): boolean {
  return (readFlags(m.vp) & Flag.ZF) !== 0;
}

describe('repeated comparisons', () => {
  it('stop at the first difference, pages away', () => {
    const [a, b, length] = [MEGABYTE + 0xff3, 4 * MEGABYTE + 0x211, 3 * PAGE];
    for (const at of [0, 1, 15, 16, 17, PAGE - 0x211, PAGE, 2 * PAGE + 5, length - 1]) {
      const m = machine(REPE_CMPSB, { [RSI]: a, [RDI]: b, [RCX]: length });
      m.bytes[a + at] = 3;
      expect(m.run(BigInt(CODE), 1)).toBeUndefined();
      expect(registers(m)).toEqual({ rcx: length - at - 1, rsi: a + at + 1, rdi: b + at + 1 });
      expect(zeroFlag(m)).toBe(false);
      expect(m.vp.rip).toBe(BigInt(CODE + 2));
    }
  });

  it('count elements, not bytes', () => {
    const [a, b] = [MEGABYTE + 6, 4 * MEGABYTE];
    const m = machine(REPE_CMPSD, { [RSI]: a, [RDI]: b, [RCX]: 3000 });
    m.bytes[a + 5003] = 1;
    m.run(BigInt(CODE), 1);
    expect(registers(m)).toEqual({ rcx: 3000 - 1251, rsi: a + 5004, rdi: b + 5004 });
  });

  it('leave flags and registers alone when there is nothing to compare', () => {
    const m = machine(REPNE_SCASB, { [RDI]: MEGABYTE, [RCX]: 0 });
    m.run(BigInt(CODE), 1);
    expect(registers(m)).toEqual({ rcx: 0, rsi: 0, rdi: MEGABYTE });
    expect(readFlags(m.vp)).toBe(2 | Flag.OF);
  });

  it('can be interrupted, and go on where they were', () => {
    const [from, length] = [MEGABYTE, 14 * MEGABYTE];
    const m = machine(REPNE_SCASB, { [RAX]: 9, [RDI]: from, [RCX]: length });
    m.bytes[from + length - 2] = 9;
    m.run(BigInt(CODE), 1);
    const first = registers(m);
    expect(m.vp.rip).toBe(BigInt(CODE));
    expect(first.rcx).toBeGreaterThan(0);
    expect(first.rcx).toBeLessThan(length);
    expect(first.rdi).toBe(from + length - first.rcx);
    let runs = 1;
    while (m.vp.rip === BigInt(CODE) && runs < 10) {
      m.run(BigInt(CODE), 1);
      runs++;
    }
    expect(m.vp.rip).toBe(BigInt(CODE + 2));
    expect(registers(m)).toEqual({ rcx: 1, rsi: 0, rdi: from + length - 1 });
    expect(zeroFlag(m)).toBe(true);
  });

  it('read each byte of a device once', () => {
    const device = 4 * MEGABYTE;
    const m = machine(REPE_CMPSB, { [RSI]: MEGABYTE, [RDI]: device - 2, [RCX]: 6 });
    m.setPage(device, 0);
    // The device of this machine gives the low byte of an address, with the next one over it.
    for (let i = 0; i < 4; i++) m.bytes[MEGABYTE + 2 + i] = i;
    expect(m.run(BigInt(CODE), 1)).toBeUndefined();
    expect(m.mmio.map(({ gpa, size }) => [Number(gpa), size])).toEqual([0, 1, 2, 3].map((i) => [device + i, 1]));
    expect(registers(m)).toEqual({ rcx: 0, rsi: MEGABYTE + 6, rdi: device + 4 });
    expect(zeroFlag(m)).toBe(true);
  });

  it('fault at the element that cannot be read, with the flags of before', () => {
    const end = 8 * LARGE_PAGE;
    const m = machine(REPNE_SCASB, { [RAX]: 9, [RDI]: end - 100, [RCX]: 200 });
    expect(m.run(BigInt(CODE), 1)).toEqual({ vector: 14, error: 0, cr2: BigInt(end) });
    expect(registers(m)).toEqual({ rcx: 100, rsi: 0, rdi: end });
    expect(readFlags(m.vp)).toBe(2 | Flag.OF);
  });
});
