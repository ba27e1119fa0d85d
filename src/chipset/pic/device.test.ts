import { describe, expect, it } from 'vitest';
import { fresh, RecordingLine } from '../testing.ts';
import { Pic, picState } from './device.ts';

function setUp({ icw1 = 0x11, icw4 = 0x01 } = {}) {
  const intr = new RecordingLine();
  const pic = new Pic(fresh(picState), intr);
  pic.reset();
  const read = (port: number) => pic.readPort(port, 1);
  const write = (port: number, ...values: number[]) => {
    for (const value of values) pic.writePort(port, 1, value);
  };
  const pulse = (...irqs: number[]) => {
    for (const irq of irqs) {
      pic.line(irq).set(true);
      pic.line(irq).set(false);
    }
  };
  write(0x20, icw1);
  write(0x21, 0x20, 0x04, icw4);
  write(0xa0, icw1);
  write(0xa1, 0x28, 0x02, icw4);
  return { pic, intr, read, write, pulse };
}

const EOI = 0x20;

describe('8259A', () => {
  it('forwards nothing before it is initialized, and reads back its mask', () => {
    const intr = new RecordingLine();
    const pic = new Pic(fresh(picState), intr);
    pic.reset();
    pic.line(3).set(true);
    expect(pic.output()).toBe(false);
    pic.writePort(0x21, 1, 0xfb);
    expect(pic.readPort(0x21, 1)).toBe(0xfb);
    expect(() => pic.line(2)).toThrow(RangeError);
  });

  it('acknowledges in order of priority, the cascade in place of IRQ 2', () => {
    const { pic, intr, write, pulse } = setUp();
    pulse(7, 15, 3, 8, 1);
    expect(intr.level).toBe(true);
    const order: number[] = [];
    while (pic.output()) {
      const vector = pic.acknowledge();
      order.push(vector);
      if (vector >= 0x28) write(0xa0, EOI);
      write(0x20, EOI);
    }
    expect(order).toEqual([0x21, 0x28, 0x2f, 0x23, 0x27]);
    expect(intr.level).toBe(false);
  });

  it('lets only higher priorities interrupt what is in service', () => {
    const { pic, read, write, pulse } = setUp();
    pulse(4);
    expect(pic.acknowledge()).toBe(0x24);
    pulse(4, 5);
    expect(pic.output()).toBe(false);
    pulse(3);
    expect(pic.acknowledge()).toBe(0x23);
    write(0x20, 0x0b);
    expect(read(0x20)).toBe(0x18);
    write(0x20, 0x0a);
    expect(read(0x20)).toBe(0x30);
    write(0x20, EOI, EOI);
    expect(read(0x20)).toBe(0x30);
    expect(pic.acknowledge()).toBe(0x24);
    write(0x20, 0x60 | 4);
    expect(pic.acknowledge()).toBe(0x25);
  });

  it('answers with vector 7 when nothing is left to acknowledge', () => {
    const { pic, read, write } = setUp();
    write(0x4d0, 0xff);
    expect(read(0x4d0)).toBe(0xf8);
    pic.line(5).set(true);
    pic.line(5).set(false);
    expect(pic.acknowledge()).toBe(0x27);
    write(0x20, 0x0b);
    expect(read(0x20)).toBe(0);
    expect(pic.inspect().spurious).toBe(1);
  });

  it('asks again for a level that stays up', () => {
    const { pic, write } = setUp();
    write(0x4d1, 0x02);
    pic.line(9).set(true);
    for (let i = 0; i < 2; i++) {
      expect(pic.acknowledge()).toBe(0x29);
      expect(pic.output()).toBe(false);
      write(0xa0, EOI);
      write(0x20, EOI);
    }
    pic.line(9).set(false);
    expect(pic.output()).toBe(false);
  });

  it('keeps an edge masked and delivers it once', () => {
    const { pic, write, pulse } = setUp();
    write(0x21, 0x10);
    pulse(4, 4);
    expect(pic.output()).toBe(false);
    write(0x21, 0);
    expect(pic.acknowledge()).toBe(0x24);
    write(0x20, EOI);
    expect(pic.output()).toBe(false);
  });

  it('rotates priorities', () => {
    const { pic, write, pulse } = setUp();
    pulse(3);
    pic.acknowledge();
    write(0x20, 0xa0); // rotate on non-specific EOI: 3 is lowest now
    pulse(3, 4);
    expect(pic.acknowledge()).toBe(0x24);
    write(0x20, 0xe0 | 4); // rotate on specific EOI
    expect(pic.acknowledge()).toBe(0x23);
    write(0x20, EOI);
    write(0x20, 0xc0 | 0); // set priority: 0 lowest, 1 highest
    pulse(0, 1);
    expect(pic.acknowledge()).toBe(0x21);
  });

  it('ends interrupts by itself in AEOI mode, rotating when asked', () => {
    const { pic, write, pulse } = setUp({ icw4: 0x03 });
    write(0x20, 0x80);
    pulse(1);
    expect(pic.acknowledge()).toBe(0x21);
    pulse(1, 3);
    expect(pic.acknowledge()).toBe(0x23);
    expect(pic.acknowledge()).toBe(0x21);
  });

  it('lets all others in under special mask mode', () => {
    const { pic, write, pulse } = setUp();
    pulse(3);
    pic.acknowledge();
    pulse(3, 6);
    write(0x21, 0x08);
    expect(pic.output()).toBe(false);
    write(0x20, 0x68);
    expect(pic.acknowledge()).toBe(0x26);
  });

  it('leaves masked inputs in service alone in special mask mode', () => {
    const { pic, read, write, pulse } = setUp();
    pulse(3);
    pic.acknowledge();
    write(0x21, 0x08);
    write(0x20, 0x68, EOI, 0x0b);
    expect(read(0x20)).toBe(0x08);
    write(0x20, 0x60 | 3);
    expect(read(0x20)).toBe(0);
  });

  it('nests the second controller fully in special fully nested mode', () => {
    for (const [icw4, output] of [
      [0x01, false],
      [0x11, true],
    ] as const) {
      const { pic, pulse } = setUp({ icw4 });
      pulse(12);
      expect(pic.acknowledge()).toBe(0x2c);
      pulse(9);
      expect(pic.output()).toBe(output);
    }
  });

  it('answers polls', () => {
    const { read, write, pulse } = setUp();
    pulse(6, 5);
    write(0x20, 0x0c);
    expect(read(0x20)).toBe(0x85);
    write(0x20, 0x0b);
    expect(read(0x20)).toBe(0x20);
    write(0x20, 0x0c);
    expect(read(0x20)).toBe(0);
  });

  it('takes ICW4 only when ICW1 promises it', () => {
    const { read, write } = setUp({ icw1: 0x10 });
    expect(read(0x21)).toBe(0x01); // what was meant as ICW4 is a mask
    write(0x20, 0x13); // single: no ICW3
    write(0x21, 0x40, 0x01, 0xaa);
    expect(read(0x21)).toBe(0xaa);
  });
});
