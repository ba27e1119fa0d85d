/**
 * ACPI fixed hardware: PM1a event and control blocks, the power management timer, GPE0 and the reset register (ACPI 6.5,
 * section 4.8). The system is always in ACPI mode: there is no SMI command port, and SCI_EN reads as one.
 */
import type { Clock } from '../../host/clock.ts';
import { struct, type View } from '../../support/struct.ts';
import type {
  Inspectable,
  InspectNode,
  InterruptLine,
  PortDevice,
  PortRange,
  PowerControl,
  TimedDevice,
} from '../../vid/ports.ts';
import {
  GPE0_COUNT,
  PM_BASE,
  PM_BLOCK_SIZE,
  PM_REGISTER,
  PM_TIMER_HZ,
  PM1,
  PM1_CONTROL,
  RESET_REGISTER,
  RESET_VALUE,
  SLEEP_TYPE_S5,
} from './protocol.ts';

export const pmState = struct('pm', 1, {
  /** How often the timer's most significant bit had toggled when that was last looked at. */
  timerToggles: 'u64',
  pm1Status: 'u16',
  pm1Enable: 'u16',
  pm1Control: 'u16',
  gpe0Status: 'u16',
  gpe0Enable: 'u16',
  lineLevel: 'u8',
  /** Guest asked for a sleep state that is not there; the last one and how often. */
  unknownSleepType: 'u8',
  unknownSleeps: 'u32',
});
export type PmState = View<(typeof pmState)['fields']>;

const NANOSECONDS = 1_000_000_000n;
const PM1_ENABLES = PM1.TMR | PM1.GBL | PM1.PWRBTN | PM1.SLPBTN | PM1.RTC;

export class PowerManagement implements PortDevice, TimedDevice, Inspectable {
  readonly ports: readonly PortRange[] = [
    { first: PM_BASE, count: PM_BLOCK_SIZE },
    { first: PM_BASE + RESET_REGISTER, count: 1 },
  ];
  readonly #state: PmState;
  readonly #clock: Clock;
  readonly #interrupt: InterruptLine;
  readonly #power: Pick<PowerControl, 'powerOff' | 'reset'>;

  constructor(state: PmState, clock: Clock, interrupt: InterruptLine, power: Pick<PowerControl, 'powerOff' | 'reset'>) {
    this.#state = state;
    this.#clock = clock;
    this.#interrupt = interrupt;
    this.#power = power;
  }

  reset(): void {
    const s = this.#state;
    s.pm1Status = s.pm1Enable = s.pm1Control = s.gpe0Status = s.gpe0Enable = 0;
    s.timerToggles = this.#ticks(this.#clock.now()) >> 31n;
    s.lineLevel = 0;
    this.#interrupt.set(false);
  }

  /** The fixed power button: the guest's operating system decides what it means. */
  pressPowerButton(): void {
    this.#state.pm1Status |= PM1.PWRBTN;
    this.#update();
  }

  /** Raises general-purpose event `gpe`, 0..15, until the guest clears its status. */
  raiseGeneralPurposeEvent(gpe: number): void {
    if (!(gpe >= 0 && gpe < GPE0_COUNT)) throw new RangeError(`GPE ${gpe}: this hardware has 0..${GPE0_COUNT - 1}`);
    this.#state.gpe0Status |= 1 << gpe;
    this.#update();
  }

  readPort(port: number, size: number): number {
    if (port === PM_BASE + RESET_REGISTER) return 0;
    const now = this.#clock.now();
    this.poll(now);
    const offset = port - PM_BASE;
    // Taken once, so that a 32-bit read is one moment.
    const timer = offset >= PM_REGISTER.PM_TIMER ? Number(this.#ticks(now) & 0xffffffffn) : 0;
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.#readByte(offset + i, timer) << (i * 8);
    return value >>> 0;
  }

  writePort(port: number, size: number, value: number): void {
    if (port === PM_BASE + RESET_REGISTER) {
      if ((value & 0xff) === RESET_VALUE) this.#power.reset();
      return;
    }
    this.poll(this.#clock.now());
    for (let i = 0; i < size; i++) this.#writeByte(port - PM_BASE + i, (value >>> (i * 8)) & 0xff);
    this.#update();
  }

  nextDeadline(): bigint | undefined {
    const s = this.#state;
    if (!(s.pm1Enable & PM1.TMR) || s.pm1Status & PM1.TMR) return undefined;
    return (((s.timerToggles + 1n) << 31n) * NANOSECONDS + PM_TIMER_HZ - 1n) / PM_TIMER_HZ;
  }

  poll(now: bigint): void {
    const s = this.#state;
    const toggles = this.#ticks(now) >> 31n;
    if (toggles <= s.timerToggles) return;
    s.timerToggles = toggles;
    s.pm1Status |= PM1.TMR;
    this.#update();
  }

  inspect(): InspectNode {
    const s = this.#state;
    return {
      PM1_STS: s.pm1Status,
      PM1_EN: s.pm1Enable,
      PM1_CNT: s.pm1Control | PM1_CONTROL.SCI_EN,
      PM_TMR: this.#ticks(this.#clock.now()) & 0xffffffffn,
      GPE0_STS: s.gpe0Status,
      GPE0_EN: s.gpe0Enable,
      SCI: s.lineLevel === 1,
      unknownSleeps: s.unknownSleeps,
      unknownSleepType: s.unknownSleepType,
    };
  }

  #ticks(now: bigint): bigint {
    return (now * PM_TIMER_HZ) / NANOSECONDS;
  }

  #readByte(offset: number, timer: number): number {
    const s = this.#state;
    const high = (offset & 1) * 8;
    switch (offset & ~1) {
      case PM_REGISTER.PM1_STATUS:
        return (s.pm1Status >> high) & 0xff;
      case PM_REGISTER.PM1_ENABLE:
        return (s.pm1Enable >> high) & 0xff;
      case PM_REGISTER.PM1_CONTROL:
        return ((s.pm1Control | PM1_CONTROL.SCI_EN) >> high) & 0xff;
      case PM_REGISTER.PM_TIMER:
      case PM_REGISTER.PM_TIMER + 2:
        return (timer >>> ((offset & 3) * 8)) & 0xff;
      case PM_REGISTER.GPE0_STATUS:
        return (s.gpe0Status >> high) & 0xff;
      case PM_REGISTER.GPE0_ENABLE:
        return (s.gpe0Enable >> high) & 0xff;
      default:
        return 0;
    }
  }

  #writeByte(offset: number, value: number): void {
    const s = this.#state;
    const high = (offset & 1) * 8;
    const bits = value << high;
    const replace = (register: number) => (register & (0xff00 >> high)) | bits;
    switch (offset & ~1) {
      case PM_REGISTER.PM1_STATUS:
        s.pm1Status &= ~bits;
        break;
      case PM_REGISTER.PM1_ENABLE:
        s.pm1Enable = replace(s.pm1Enable) & PM1_ENABLES;
        break;
      case PM_REGISTER.PM1_CONTROL:
        // SLP_EN is write-only, and SCI_EN is what it is.
        s.pm1Control = replace(s.pm1Control) & PM1_CONTROL.SLP_TYP_MASK;
        if (bits & PM1_CONTROL.SLP_EN) this.#sleep();
        break;
      case PM_REGISTER.GPE0_STATUS:
        s.gpe0Status &= ~bits;
        break;
      case PM_REGISTER.GPE0_ENABLE:
        s.gpe0Enable = replace(s.gpe0Enable);
        break;
      default: // The timer is read-only.
    }
  }

  #sleep(): void {
    const s = this.#state;
    const type = s.pm1Control >> PM1_CONTROL.SLP_TYP_SHIFT;
    if (type === SLEEP_TYPE_S5) {
      this.#power.powerOff();
      return;
    }
    s.unknownSleepType = type;
    s.unknownSleeps++;
  }

  #update(): void {
    const s = this.#state;
    const level = (s.pm1Status & s.pm1Enable) | (s.gpe0Status & s.gpe0Enable) ? 1 : 0;
    if (level === s.lineLevel) return;
    s.lineLevel = level;
    this.#interrupt.set(level === 1);
  }
}
