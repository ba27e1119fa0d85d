import { describe, expect, it } from 'vitest';
import { fresh, ManualClock, RecordingLine } from '../testing.ts';
import { PowerManagement, pmState } from './device.ts';
import { PM_BASE, PM_REGISTER, PM1, RESET_REGISTER, SLEEP_TYPE_S5 } from './protocol.ts';

function setUp() {
  const clock = new ManualClock();
  const line = new RecordingLine();
  const events: string[] = [];
  const power = { powerOff: () => events.push('off'), reset: () => events.push('reset') };
  const pm = new PowerManagement(fresh(pmState), clock, line, power);
  pm.reset();
  const read = (offset: number, size: number) => pm.readPort(PM_BASE + offset, size);
  const write = (offset: number, size: number, value: number) => pm.writePort(PM_BASE + offset, size, value);
  return { pm, clock, line, events, read, write };
}

describe('ACPI power management', () => {
  it('counts the timer at 3.579545 MHz in 32 bits', () => {
    const { clock, read } = setUp();
    clock.nanoseconds = 1_000_000_000n;
    expect(read(PM_REGISTER.PM_TIMER, 4)).toBe(3_579_545);
    expect(read(PM_REGISTER.PM_TIMER + 2, 2)).toBe(3_579_545 >>> 16);
    clock.nanoseconds = 1200n * 1_000_000_000n;
    expect(read(PM_REGISTER.PM_TIMER, 4)).toBe((1200 * 3_579_545) % 2 ** 32);
  });

  it('sets TMR_STS when bit 31 toggles, once for a late poll', () => {
    const { pm, clock, line, read, write } = setUp();
    expect(pm.nextDeadline()).toBeUndefined();
    write(PM_REGISTER.PM1_ENABLE, 2, PM1.TMR);
    const at = pm.nextDeadline() as bigint;
    clock.nanoseconds = at - 1n;
    expect(read(PM_REGISTER.PM1_STATUS, 2)).toBe(0);
    clock.nanoseconds = at;
    pm.poll(at);
    expect(line.level).toBe(true);
    expect(pm.nextDeadline()).toBeUndefined();
    write(PM_REGISTER.PM1_STATUS, 2, PM1.TMR);
    expect(line.level).toBe(false);
    clock.nanoseconds = at * 5n;
    pm.poll(clock.now());
    expect(line.rises).toBe(2);
    write(PM_REGISTER.PM1_STATUS, 1, PM1.TMR);
    expect(pm.nextDeadline()).toBeGreaterThan(clock.now());
  });

  it('raises the SCI for the power button until its status is cleared', () => {
    const { pm, line, read, write } = setUp();
    pm.pressPowerButton();
    expect(line.level).toBe(false);
    write(PM_REGISTER.PM1_ENABLE, 2, PM1.PWRBTN);
    expect(line.level).toBe(true);
    expect(read(PM_REGISTER.PM1_STATUS, 4)).toBe(0x0100_0100);
    write(PM_REGISTER.PM1_STATUS, 2, 0xffff);
    expect(line.level).toBe(false);
    expect(read(PM_REGISTER.PM1_ENABLE, 2)).toBe(PM1.PWRBTN);
  });

  it('has sixteen general-purpose events', () => {
    const { pm, line, read, write } = setUp();
    write(PM_REGISTER.GPE0_ENABLE + 1, 1, 0x80);
    pm.raiseGeneralPurposeEvent(15);
    expect(line.level).toBe(true);
    expect(read(PM_REGISTER.GPE0_STATUS, 4)).toBe(0x8000_8000);
    write(PM_REGISTER.GPE0_STATUS + 1, 1, 0x80);
    expect(line.level).toBe(false);
    expect(() => pm.raiseGeneralPurposeEvent(16)).toThrow(RangeError);
  });

  it('powers off on S5 only, and reads SCI_EN and never SLP_EN', () => {
    const { events, read, write, pm } = setUp();
    expect(read(PM_REGISTER.PM1_CONTROL, 2)).toBe(1);
    write(PM_REGISTER.PM1_CONTROL, 2, SLEEP_TYPE_S5 << 10);
    expect(events).toEqual([]);
    write(PM_REGISTER.PM1_CONTROL, 2, 0x2000 | (3 << 10));
    expect(events).toEqual([]);
    expect(pm.inspect().unknownSleepType).toBe(3);
    write(PM_REGISTER.PM1_CONTROL, 2, 0x2000 | (SLEEP_TYPE_S5 << 10));
    expect(events).toEqual(['off']);
    expect(read(PM_REGISTER.PM1_CONTROL, 2)).toBe((SLEEP_TYPE_S5 << 10) | 1);
  });

  it('resets through the reset register', () => {
    const { events, write } = setUp();
    write(RESET_REGISTER, 1, 2);
    expect(events).toEqual([]);
    write(RESET_REGISTER, 1, 1);
    expect(events).toEqual(['reset']);
  });
});
