import { describe, expect, it } from 'vitest';
import { fresh, ManualClock, RecordingLine } from '../testing.ts';
import { Rtc, rtcState } from './device.ts';

function setUp() {
  const clock = new ManualClock();
  const line = new RecordingLine();
  const rtc = new Rtc(fresh(rtcState), clock, line);
  rtc.reset();
  const read = (index: number) => {
    rtc.writePort(0x70, 1, index);
    return rtc.readPort(0x71, 1);
  };
  const write = (index: number, value: number) => {
    rtc.writePort(0x70, 1, index);
    rtc.writePort(0x71, 1, value);
  };
  const time = () => [0x32, 9, 8, 7, 4, 2, 0].map((index) => read(index).toString(16)).join(' ');
  const milliseconds = (ms: number) => clock.advance(ms * 1_000_000);
  /** Does what the machine does: waits for the deadline, then polls. */
  const run = (until: number) => {
    for (;;) {
      const next = rtc.nextDeadline();
      if (next === undefined || next > BigInt(until * 1_000_000)) break;
      clock.nanoseconds = next;
      rtc.poll(next);
    }
    clock.nanoseconds = BigInt(until * 1_000_000);
    rtc.poll(clock.nanoseconds);
  };
  return { rtc, clock, line, read, write, time, milliseconds, run };
}

describe('RTC calendar', () => {
  it('shows the injected calendar in BCD, over a leap day', () => {
    const { time, milliseconds, read } = setUp();
    expect(time()).toBe('20 24 2 28 23 59 58');
    expect(read(6)).toBe(4); // a Wednesday
    milliseconds(2000);
    expect(time()).toBe('20 24 2 29 0 0 0');
    expect(read(0x0d)).toBe(0x80);
    expect(read(0x0a)).toBe(0x26);
  });

  it('shows binary and 12-hour time when asked', () => {
    const { read, write, milliseconds } = setUp();
    write(0x0b, 0x04);
    expect([read(4), read(2), read(0)]).toEqual([0x8b, 59, 58]);
    milliseconds(2000);
    expect(read(4)).toBe(12); // midnight is 12 AM
    write(0x0b, 0x00);
    milliseconds(12 * 3_600_000);
    expect(read(4)).toBe(0x92);
  });

  it('raises UIP before the update and never in the time after it', () => {
    const { read, milliseconds, time } = setUp();
    milliseconds(997);
    expect(read(0x0a) & 0x80).toBe(0);
    milliseconds(1);
    expect(read(0x0a) & 0x80).toBe(0x80);
    expect(time()).toBe('20 24 2 28 23 59 58');
    milliseconds(2);
    expect(read(0x0a) & 0x80).toBe(0);
    expect(time()).toBe('20 24 2 28 23 59 59');
  });

  it('is set as operating systems set it: SET, divider in reset, half a second to the next update', () => {
    const { read, write, time, milliseconds } = setUp();
    write(0x0b, 0x82);
    write(0x0a, 0x76);
    milliseconds(5000);
    const set: [number, number][] = [
      [0, 0x56],
      [2, 0x34],
      [4, 0x12],
      [7, 0x31],
      [8, 0x12],
      [9, 0x99],
      [0x32, 0x19],
    ];
    for (const [index, value] of set) write(index, value);
    milliseconds(5000);
    expect(time()).toBe('19 99 12 31 12 34 56');
    write(0x0b, 0x02);
    write(0x0a, 0x26);
    milliseconds(499);
    expect(read(0)).toBe(0x56);
    milliseconds(1);
    expect(read(0)).toBe(0x57);
    milliseconds(12 * 3_600_000);
    expect(time()).toBe('20 0 1 1 0 34 57');
  });

  it('keeps the phase when only SET was used, and stops meanwhile', () => {
    const { read, write, milliseconds } = setUp();
    milliseconds(300);
    write(0x0b, 0x82);
    milliseconds(3000);
    expect(read(0)).toBe(0x58);
    expect(read(0x0a) & 0x80).toBe(0);
    write(0, 0x10);
    write(0x0b, 0x02);
    milliseconds(699);
    expect(read(0)).toBe(0x10);
    milliseconds(1);
    expect(read(0)).toBe(0x11);
  });

  it('keeps time and RAM over a reset, but no interrupt enables', () => {
    const { rtc, read, write, time } = setUp();
    write(0x40, 0xa5);
    write(9, 0x30);
    write(0x0b, 0x72);
    rtc.reset();
    expect(time()).toBe('20 30 2 28 23 59 58');
    expect(read(0x40)).toBe(0xa5);
    expect(read(0x0b)).toBe(0x02);
  });
});

describe('RTC interrupts', () => {
  it('updates once a second while enabled, and needs no deadline while unacknowledged', () => {
    const { rtc, read, write, line, run } = setUp();
    expect(rtc.nextDeadline()).toBeUndefined();
    write(0x0b, 0x12);
    expect(rtc.nextDeadline()).toBe(1_000_000_000n);
    run(1000);
    expect(line.level).toBe(true);
    expect(rtc.nextDeadline()).toBeUndefined();
    expect(read(0x0c)).toBe(0xd0); // PF too: flags do not wait for their enables
    expect(line.level).toBe(false);
    expect(read(0x0c)).toBe(0);
    run(1999);
    expect(line.rises).toBe(1);
    run(2000);
    expect(line.rises).toBe(2);
  });

  it('rings the alarm, exactly or every hour, also when polled late', () => {
    const { rtc, read, write, run, line, milliseconds, clock } = setUp();
    const alarm: [number, number][] = [
      [1, 0x05],
      [3, 0x00],
      [5, 0x00],
    ];
    for (const [index, value] of alarm) write(index, value);
    write(0x0b, 0x22);
    expect(rtc.nextDeadline()).toBe(7_000_000_000n);
    run(6999);
    expect(line.level).toBe(false);
    run(7000);
    expect(line.level).toBe(true);
    expect(read(0x0c)).toBe(0xf0);
    expect(rtc.nextDeadline()).toBe((86400n + 7n) * 1_000_000_000n);
    write(5, 0xff);
    expect(rtc.nextDeadline()).toBe((3600n + 7n) * 1_000_000_000n);
    milliseconds(30 * 3_600_000);
    rtc.poll(clock.now());
    expect(line.rises).toBe(2);
    write(3, 0x77); // no minute is 77
    read(0x0c);
    expect(rtc.nextDeadline()).toBeUndefined();
  });

  it('ticks periodically, coalescing what was missed', () => {
    const { rtc, read, write, line, clock } = setUp();
    write(0x0b, 0x42); // 1024 Hz
    const first = rtc.nextDeadline() as bigint;
    expect(first).toBe(976_563n);
    clock.nanoseconds = first - 1n;
    rtc.poll(clock.now());
    expect(line.level).toBe(false);
    clock.nanoseconds = 100_000_000n;
    rtc.poll(clock.now());
    expect(line.rises).toBe(1);
    expect(read(0x0c)).toBe(0xc0);
    expect(read(0x0c)).toBe(0);
    expect(rtc.nextDeadline()).toBe((103n * 1_000_000_000n + 1023n) / 1024n);
    write(0x0a, 0x21); // rate 1 is 256 Hz
    expect(rtc.nextDeadline()).toBe((26n * 1_000_000_000n + 255n) / 256n);
  });

  it('does not run away when the calendar steps back', () => {
    const { clock, rtc, read, run, write } = setUp();
    run(5000);
    read(0x0c);
    clock.origin -= 3_600_000;
    rtc.poll(clock.now());
    expect(read(0x0c)).toBe(0);
    write(0x0b, 0x12);
    expect(rtc.nextDeadline()).toBe(6_000_000_000n);
  });
});
