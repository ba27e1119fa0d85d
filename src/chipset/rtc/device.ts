/**
 * An MC146818A real-time clock with 128 bytes of battery-backed RAM (Motorola data sheet; the century byte at 0x32 is the
 * PC's). The calendar is the host's, read through Clock.calendar(), plus an offset the guest makes by setting the time;
 * the periodic interrupt counts Clock.now(). Flags are brought up to date whenever somebody looks, so a late poll sets
 * each flag once.
 */
import type { Clock } from '../../host/clock.ts';
import { array, struct, type View } from '../../support/struct.ts';
import type { BytePortDevice } from '../../vid/bus.ts';
import type { Inspectable, InspectNode, InterruptLine, TimedDevice } from '../../vid/ports.ts';
import { decodeTime, encodeTime, nextAlarm, type RtcRegisters } from './calendar.ts';
import { A, B, C, CMOS_SIZE, D, FIRST_PORT, OSCILLATOR_HZ, REGISTER, UIP_FROM_MS } from './protocol.ts';

export const rtcState = struct('rtc', 1, {
  /** RTC time minus Clock.calendar(), milliseconds. */
  offset: 'f64',
  /** The last RTC second (since 1970) whose update cycle was seen. */
  lastSecond: 'f64',
  /** Oscillator ticks up to which periodic interrupts were seen. */
  lastTicks: 'u64',
  index: 'u8',
  /** The divider chain was held in reset since the time last stood still: it restarts half a second before an update. */
  dividerReset: 'u8',
  lineLevel: 'u8',
  /** Time registers are live here only while the clock stands still (SET, or the divider in reset). */
  cmos: array('u8', CMOS_SIZE),
});
export type RtcState = View<(typeof rtcState)['fields']>;

const NANOSECONDS = 1_000_000_000n;
const TIME_REGISTERS: readonly number[] = [
  REGISTER.SECONDS,
  REGISTER.MINUTES,
  REGISTER.HOURS,
  REGISTER.DAY_OF_WEEK,
  REGISTER.DATE_OF_MONTH,
  REGISTER.MONTH,
  REGISTER.YEAR,
  REGISTER.CENTURY,
];

export class Rtc implements BytePortDevice, TimedDevice, Inspectable {
  readonly bytesOnly = true;
  readonly ports = [{ first: FIRST_PORT, count: 2 }];
  readonly #state: RtcState;
  readonly #clock: Clock;
  readonly #interrupt: InterruptLine;

  constructor(state: RtcState, clock: Clock, interrupt: InterruptLine) {
    this.#state = state;
    this.#clock = clock;
    this.#interrupt = interrupt;
  }

  /** The battery keeps time and RAM over a reset; a chip without VRT has never had one and starts with the host's time. */
  reset(): void {
    const s = this.#state;
    if (!(this.#register(REGISTER.D) & D.VRT)) {
      s.cmos.fill(0);
      s.cmos[REGISTER.A] = A.DV_32768_HZ | A.RS_1024_HZ;
      s.cmos[REGISTER.B] = B.HOURS_24;
      s.cmos[REGISTER.D] = D.VRT;
      s.offset = 0;
    }
    s.cmos[REGISTER.B] = this.#register(REGISTER.B) & ~(B.PIE | B.AIE | B.UIE);
    s.cmos[REGISTER.C] = 0;
    s.index = 0;
    s.lastSecond = this.#second();
    s.lastTicks = this.#ticks(this.#clock.now());
    s.lineLevel = 0;
    this.#interrupt.set(false);
  }

  readPort(port: number, _size: number): number {
    // The index register is write-only.
    return port === FIRST_PORT ? 0xff : this.#read(this.#state.index);
  }

  writePort(port: number, _size: number, value: number): void {
    // Bit 7 of the index port masks NMI on a PC; no NMI source here listens to it.
    if (port === FIRST_PORT) this.#state.index = value & 0x7f;
    else this.#write(this.#state.index, value);
  }

  nextDeadline(): bigint | undefined {
    const b = this.#register(REGISTER.B);
    // A flag that is already up has nothing more to say until register C is read.
    const wanted = b & ~this.#register(REGISTER.C);
    const now = this.#clock.now();
    let deadline: bigint | undefined;
    if (wanted & B.PIE) {
      const shift = this.#periodicShift();
      if (shift !== undefined) {
        const next = ((this.#state.lastTicks >> shift) + 1n) << shift;
        deadline = (next * NANOSECONDS + OSCILLATOR_HZ - 1n) / OSCILLATOR_HZ;
      }
    }
    if (this.#running() && wanted & (B.UIE | B.AIE)) {
      const last = this.#state.lastSecond;
      const second = wanted & B.UIE ? last + 1 : nextAlarm(this.#registers(), last);
      if (second !== undefined) {
        const wait = Math.max(0, Math.ceil((second * 1000 - this.#time()) * 1e6));
        const update = now + BigInt(wait);
        if (deadline === undefined || update < deadline) deadline = update;
      }
    }
    return deadline;
  }

  poll(now: bigint): void {
    const s = this.#state;
    let flags = 0;
    const ticks = this.#ticks(now);
    const shift = this.#periodicShift();
    if (shift !== undefined && ticks >> shift > s.lastTicks >> shift) flags |= C.PF;
    s.lastTicks = ticks;
    if (this.#running()) {
      const second = this.#second();
      if (second > s.lastSecond) {
        flags |= C.UF;
        const alarm = nextAlarm(this.#registers(), s.lastSecond);
        if (alarm !== undefined && alarm <= second) flags |= C.AF;
      }
      s.lastSecond = second;
    }
    if (flags) s.cmos[REGISTER.C] = this.#register(REGISTER.C) | flags;
    this.#update();
  }

  inspect(): InspectNode {
    return {
      time: new Date(this.#running() ? this.#time() : decodeTime(this.#registers()) * 1000).toISOString(),
      running: this.#running(),
      index: this.#state.index,
      A: this.#register(REGISTER.A),
      B: this.#register(REGISTER.B),
      C: this.#register(REGISTER.C),
      interrupt: this.#state.lineLevel === 1,
    };
  }

  #register(index: number): number {
    return this.#state.cmos[index] as number;
  }

  #registers(): RtcRegisters {
    return this.#state.cmos;
  }

  /** RTC time in milliseconds since 1970. Bounded to what a Date holds, whatever a guest or a saved state made of the offset. */
  #time(): number {
    const time = this.#clock.calendar() + this.#state.offset;
    return Number.isFinite(time) ? Math.min(Math.max(time, -62_135_596_800_000), 253_402_300_799_000) : 0;
  }

  #second(): number {
    return Math.floor(this.#time() / 1000);
  }

  #ticks(now: bigint): bigint {
    return (now * OSCILLATOR_HZ) / NANOSECONDS;
  }

  #running(): boolean {
    return !(this.#register(REGISTER.B) & B.SET) && !this.#inDividerReset();
  }

  #inDividerReset(): boolean {
    return (this.#register(REGISTER.A) & A.DV_RESET) === A.DV_RESET;
  }

  /** The periodic rate as a power of two of oscillator ticks. Rates 1 and 2 repeat 8 and 9. */
  #periodicShift(): bigint | undefined {
    const rate = this.#register(REGISTER.A) & A.RS_MASK;
    if (rate === 0 || this.#inDividerReset()) return undefined;
    return BigInt(rate <= 2 ? rate + 6 : rate - 1);
  }

  #read(index: number): number {
    const s = this.#state;
    if (index === REGISTER.A) {
      const milliseconds = this.#time() - this.#second() * 1000;
      return (this.#register(index) & ~A.UIP) | (this.#running() && milliseconds >= UIP_FROM_MS ? A.UIP : 0);
    }
    if (index === REGISTER.C) {
      this.poll(this.#clock.now());
      const value = this.#register(index) | (s.lineLevel ? C.IRQF : 0);
      s.cmos[index] = 0;
      this.#update();
      return value;
    }
    if (this.#running() && TIME_REGISTERS.includes(index)) this.#latchTime();
    return this.#register(index);
  }

  #write(index: number, value: number): void {
    const s = this.#state;
    if (index === REGISTER.C || index === REGISTER.D) return;
    this.poll(this.#clock.now());
    if (index === REGISTER.A || index === REGISTER.B) {
      this.#writeControl(index, value);
      return;
    }
    const sets = TIME_REGISTERS.includes(index);
    if (sets && this.#running()) this.#latchTime();
    s.cmos[index] = value;
    // Setting a time register of a running clock is discouraged by the data sheet, and takes effect.
    if (sets && this.#running()) this.#adoptTime(this.#time() - this.#second() * 1000);
  }

  #writeControl(index: number, value: number): void {
    const s = this.#state;
    const wasRunning = this.#running();
    if (wasRunning) this.#latchTime();
    // The time of a clock that stands still keeps its phase within the second, which the divider chain goes on counting.
    const phase = this.#time() - this.#second() * 1000;
    if (index === REGISTER.A) s.cmos[index] = value & ~A.UIP;
    else s.cmos[index] = value & B.SET ? value & ~B.UIE : value;
    if (this.#inDividerReset()) s.dividerReset = 1;
    if (!wasRunning && this.#running()) {
      this.#adoptTime(s.dividerReset ? 500 : phase);
      s.dividerReset = 0;
    }
    this.#update();
  }

  #latchTime(): void {
    encodeTime(this.#registers(), this.#second());
  }

  /** Makes the time registers' contents the time, `milliseconds` into that second. */
  #adoptTime(milliseconds: number): void {
    const s = this.#state;
    const second = decodeTime(this.#registers());
    s.offset = second * 1000 + milliseconds - this.#clock.calendar();
    s.lastSecond = second;
  }

  #update(): void {
    const s = this.#state;
    const level = this.#register(REGISTER.B) & this.#register(REGISTER.C) & (C.PF | C.AF | C.UF) ? 1 : 0;
    if (level === s.lineLevel) return;
    s.lineLevel = level;
    this.#interrupt.set(level === 1);
  }
}
