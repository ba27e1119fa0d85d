import { describe, expect, it } from 'vitest';
import { fresh } from '../testing.ts';
import { IoApic, ioApicState } from './device.ts';
import { IOAPIC_BASE } from './protocol.ts';

function setUp() {
  const delivered: unknown[] = [];
  const hook: { run?: () => void } = {};
  const ioapic = new IoApic(fresh(ioApicState), {
    deliver: (...message) => {
      delivered.push(message);
      hook.run?.();
    },
  });
  ioapic.reset();
  const read = (index: number) => {
    ioapic.writeMmio(IOAPIC_BASE, 4, index);
    return ioapic.readMmio(IOAPIC_BASE + 0x10, 4);
  };
  const write = (index: number, value: number) => {
    ioapic.writeMmio(IOAPIC_BASE, 4, index);
    ioapic.writeMmio(IOAPIC_BASE + 0x10, 4, value);
  };
  const entry = (input: number, low: number, destination = 0) => {
    write(0x11 + input * 2, (destination << 24) >>> 0);
    write(0x10 + input * 2, low);
  };
  return { ioapic, delivered, hook, read, write, entry };
}

const LEVEL = 0x8000;
const MASKED = 0x10000;
const REMOTE_IRR = 0x4000;

describe('IO-APIC registers', () => {
  it('identifies itself as 24 inputs, version 0x20, all masked', () => {
    const { read, write } = setUp();
    expect(read(1)).toBe(0x00170020);
    write(0, 0xffffffff);
    expect(read(0)).toBe(0x0f000000);
    for (let input = 0; input < 24; input++) expect(read(0x10 + input * 2)).toBe(MASKED);
    expect(read(0x40)).toBe(0);
  });

  it('keeps what is writable of an entry', () => {
    const { read, write } = setUp();
    write(0x10, 0xffffffff);
    write(0x11, 0xffffffff);
    expect(read(0x10)).toBe(0x1afff);
    expect(read(0x11)).toBe(0xff000000);
  });
});

describe('IO-APIC delivery', () => {
  it('delivers edges once each and forgets those on a masked input', () => {
    const { ioapic, delivered, entry, read } = setUp();
    const line = ioapic.line(14);
    entry(14, 0x81 | MASKED, 3);
    line.set(true);
    entry(14, 0x81, 3);
    expect(delivered).toEqual([]);
    line.set(true);
    expect(delivered).toEqual([]);
    line.set(false);
    line.set(true);
    line.set(false);
    line.set(true);
    expect(delivered).toEqual([
      [3, false, 0, 0x81, false],
      [3, false, 0, 0x81, false],
    ]);
    expect(read(0x10 + 28)).toBe(0x81);
  });

  it('delivers a level until its EOI finds the line down', () => {
    const { ioapic, delivered, entry, read } = setUp();
    const line = ioapic.line(9);
    entry(9, 0x0931 | LEVEL, 0xff);
    line.set(true);
    line.set(false);
    line.set(true);
    expect(delivered).toEqual([[0xff, true, 1, 0x31, true]]);
    expect(read(0x10 + 18) & REMOTE_IRR).toBe(REMOTE_IRR);
    ioapic.endOfInterrupt(0x32);
    expect(delivered.length).toBe(1);
    ioapic.endOfInterrupt(0x31);
    expect(delivered.length).toBe(2);
    line.set(false);
    ioapic.writeMmio(IOAPIC_BASE + 0x40, 4, 0x31); // the EOI register
    expect(delivered.length).toBe(2);
    expect(read(0x10 + 18) & REMOTE_IRR).toBe(0);
  });

  it('delivers an asserted level when it is unmasked', () => {
    const { ioapic, delivered, entry } = setUp();
    entry(9, 0x31 | LEVEL | MASKED);
    ioapic.line(9).set(true);
    expect(delivered.length).toBe(0);
    entry(9, 0x31 | LEVEL);
    expect(delivered.length).toBe(1);
    entry(9, 0x31 | LEVEL | MASKED);
    ioapic.endOfInterrupt(0x31);
    expect(delivered.length).toBe(1);
    entry(9, 0x31 | LEVEL);
    expect(delivered.length).toBe(2);
  });

  it('loses Remote IRR when the entry becomes edge-triggered', () => {
    const { ioapic, entry, read } = setUp();
    entry(14, 0x84 | LEVEL);
    ioapic.line(14).set(true);
    ioapic.line(14).set(false);
    entry(14, 0x84);
    expect(read(0x10 + 28) & REMOTE_IRR).toBe(0);
  });

  it('may be ended from within the delivery', () => {
    const { ioapic, delivered, entry, read, hook } = setUp();
    entry(5, 0x55 | LEVEL);
    const line = ioapic.line(5);
    hook.run = () => {
      if (delivered.length === 3) line.set(false);
      ioapic.endOfInterrupt(0x55);
    };
    line.set(true);
    expect(delivered.length).toBe(3);
    expect(read(0x10 + 10) & REMOTE_IRR).toBe(0);
  });

  it('delivers NMI and ExtINT as edges even where the entry says level', () => {
    const { ioapic, delivered, entry, read } = setUp();
    entry(0, 0x0700 | LEVEL);
    ioapic.line(0).set(true);
    expect(delivered).toEqual([[0, false, 7, 0, false]]);
    expect(read(0x10) & REMOTE_IRR).toBe(0);
  });
});
