import { describe, expect, it } from 'vitest';
import { fresh, ManualClock, RecordingLine } from '../testing.ts';
import { fromBcd, toBcd } from './counter.ts';
import { PIT_HZ, Pit, pitState } from './device.ts';

function setUp() {
  const clock = new ManualClock();
  const line = new RecordingLine();
  const pit = new Pit(fresh(pitState), clock, line);
  pit.reset();
  const read = (port: number) => pit.readPort(port, 1);
  const write = (port: number, ...values: number[]) => {
    for (const value of values) pit.writePort(port, 1, value);
  };
  /** Sets the clock to the first nanosecond of an input clock. */
  const at = (clocks: number) => {
    clock.nanoseconds = (BigInt(clocks) * 1_000_000_000n + PIT_HZ - 1n) / PIT_HZ;
  };
  const poll = () => pit.poll(clock.now());
  const count = (counter: number) => {
    write(0x43, counter << 6);
    return read(0x40 + counter) | (read(0x40 + counter) << 8);
  };
  const out2 = () => (read(0x61) >> 5) & 1;
  const status = (counter: number) => {
    write(0x43, 0xe0 | (2 << counter));
    return read(0x40 + counter);
  };
  return { pit, clock, line, read, write, at, poll, count, out2, status };
}

describe('8254 counter 0', () => {
  it('says nothing before it is programmed', () => {
    const { pit, line, status } = setUp();
    expect(pit.nextDeadline()).toBeUndefined();
    expect(line.level).toBe(false);
    expect(status(0)).toBe(0x70);
  });

  it('interrupts once in mode 0, and again when reloaded', () => {
    const { pit, line, write, at, poll, count, status } = setUp();
    write(0x43, 0x30);
    write(0x40, 0xe8, 0x03);
    expect(status(0)).toBe(0x30);
    at(999);
    poll();
    expect([count(0), line.level]).toEqual([1, false]);
    const deadline = pit.nextDeadline() as bigint;
    at(1000);
    expect(deadline).toBe((1000n * 1_000_000_000n + PIT_HZ - 1n) / PIT_HZ);
    poll();
    expect([count(0), line.level, status(0)]).toEqual([0, true, 0xb0]);
    expect(pit.nextDeadline()).toBeUndefined();
    at(1010);
    expect(count(0)).toBe(0x10000 - 10);
    write(0x40, 0x01);
    expect(line.level).toBe(false);
    write(0x40, 0x00);
    at(1011);
    poll();
    expect(line.rises).toBe(2);
  });

  it('interrupts every period in modes 2 and 3, once for a late poll', () => {
    for (const mode of [2, 3]) {
      const { pit, line, write, at, poll } = setUp();
      write(0x43, 0x30 | (mode << 1));
      write(0x40, 0xa9, 0x04); // 1193
      expect(line.level).toBe(true);
      line.rises = 0;
      for (let period = 1; period <= 3; period++) {
        at(1193 * period - 1);
        poll();
        expect(line.rises).toBe(period - 1);
        expect(pit.nextDeadline()).toBe((BigInt(1193 * period) * 1_000_000_000n + PIT_HZ - 1n) / PIT_HZ);
        at(1193 * period);
        poll();
        expect(line.rises).toBe(period);
      }
      at(1193 * 100 + 5);
      poll();
      expect(line.rises).toBe(4);
      expect(pit.nextDeadline()).toBe((BigInt(1193 * 101) * 1_000_000_000n + PIT_HZ - 1n) / PIT_HZ);
    }
  });

  it('takes a new count at the end of the period', () => {
    const { line, write, at, poll, count, status } = setUp();
    write(0x43, 0x34);
    write(0x40, 100, 0);
    line.rises = 0;
    at(250);
    poll();
    write(0x40, 10, 0);
    expect(status(0) & 0x40).toBe(0x40);
    expect(count(0)).toBe(50);
    at(299);
    expect(count(0)).toBe(1);
    at(303);
    expect([count(0), status(0) & 0x40]).toEqual([7, 0]);
    expect(line.rises).toBe(2);
    at(310);
    poll();
    expect(line.rises).toBe(3);
  });

  it('counts 65536 for zero, and 10000 in BCD', () => {
    const { write, at, count } = setUp();
    write(0x43, 0x34);
    write(0x40, 0, 0);
    at(1);
    expect(count(0)).toBe(0xffff);
    write(0x43, 0x35);
    write(0x40, 0, 0);
    at(2);
    expect(count(0)).toBe(0x9999);
    for (let value = 0; value < 10000; value++) expect(fromBcd(toBcd(value))).toBe(value);
  });
});

describe('8254 reading', () => {
  it('holds a latched count until it was read', () => {
    const { read, write, at } = setUp();
    write(0x43, 0x34);
    write(0x40, 0x34, 0x12);
    at(4);
    write(0x43, 0);
    at(1000);
    write(0x43, 0);
    expect([read(0x40), read(0x40)]).toEqual([0x30, 0x12]);
    const live = 0x1234 - 1000;
    expect([read(0x40), read(0x40)]).toEqual([live & 0xff, live >> 8]);
  });

  it('reads single bytes as programmed', () => {
    const { read, write, at } = setUp();
    write(0x43, 0x14, 0x54 | 0x20); // counter 0 low byte, counter 1 both
    write(0x40, 200);
    at(50);
    expect([read(0x40), read(0x40)]).toEqual([150, 150]);
    write(0x43, 0x24);
    write(0x40, 0x10);
    expect(read(0x40)).toBe(0x10);
  });

  it('reads back status before count, of several counters', () => {
    const { read, write, at } = setUp();
    write(0x43, 0x34, 0xb6);
    write(0x40, 100, 0);
    write(0x42, 0x00, 0x10);
    write(0x61, 1);
    at(20);
    write(0x43, 0xc2 | 0x08);
    at(60);
    expect([read(0x40), read(0x40), read(0x40)]).toEqual([0xb4, 80, 0]);
    expect(read(0x42)).toBe(0xb6);
    expect(read(0x42) | (read(0x42) << 8)).toBe(0x1000 - 40);
    expect(read(0x43)).toBe(0xff);
  });
});

describe('8254 counter 2 and port 0x61', () => {
  it('counts in mode 0 while the gate is open', () => {
    const { write, at, count, out2, read } = setUp();
    write(0x43, 0xb0);
    write(0x42, 100, 0);
    at(50);
    expect([count(2), out2()]).toEqual([100, 0]);
    write(0x61, 0x01);
    at(80);
    expect(count(2)).toBe(70);
    write(0x61, 0x00);
    at(500);
    expect([count(2), out2()]).toEqual([70, 0]);
    write(0x61, 0x03);
    at(569);
    expect(out2()).toBe(0);
    at(570);
    expect([out2(), read(0x61) & 0x0f]).toEqual([1, 3]);
  });

  it('fires modes 1 and 5 at the gate, again at each retrigger', () => {
    const { write, at, out2 } = setUp();
    write(0x43, 0xb2);
    write(0x42, 10, 0);
    at(100);
    expect(out2()).toBe(1);
    write(0x61, 1);
    expect(out2()).toBe(0);
    at(109);
    write(0x61, 0);
    write(0x61, 1);
    at(110);
    expect(out2()).toBe(0);
    at(119);
    expect(out2()).toBe(1);
    write(0x61, 0);
    write(0x43, 0xba);
    write(0x42, 10, 0);
    write(0x61, 1);
    expect(out2()).toBe(1);
    at(129);
    expect(out2()).toBe(0);
    at(130);
    expect(out2()).toBe(1);
  });

  it('strobes for one clock in mode 4', () => {
    const { write, at, out2 } = setUp();
    write(0x61, 1);
    write(0x43, 0xb8);
    write(0x42, 5, 0);
    const levels = [0, 1, 4, 5, 6, 100].map((clocks) => {
      at(clocks);
      return out2();
    });
    expect(levels).toEqual([1, 1, 1, 0, 1, 1]);
  });

  it('makes square waves, the odd clock in the high half, and starts over at the gate', () => {
    const { write, at, out2, count } = setUp();
    write(0x61, 1);
    write(0x43, 0xb6);
    write(0x42, 5, 0);
    const wave = Array.from({ length: 10 }, (_, clocks) => {
      at(clocks);
      return out2();
    });
    expect(wave).toEqual([1, 1, 1, 0, 0, 1, 1, 1, 0, 0]);
    at(13);
    write(0x61, 0);
    expect(out2()).toBe(1);
    at(20);
    write(0x61, 1);
    at(23);
    expect([out2(), count(2)]).toEqual([0, 4]);
  });

  it('toggles the refresh bit', () => {
    const { at, read } = setUp();
    const seen = Array.from({ length: 4 }, (_, i) => {
      at(i * 18);
      return (read(0x61) >> 4) & 1;
    });
    expect(seen).toEqual([0, 1, 0, 1]);
  });
});
