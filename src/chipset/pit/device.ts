/**
 * The PC's 8254 programmable interval timer at 0x40..0x43 (Intel 8254 data sheet) and the bits of port 0x61 around it.
 * Counter 0 drives IRQ 0; counter 1 made refresh requests and only counts; counter 2's GATE and OUT are at port 0x61.
 *
 * Nothing ticks: a counter is the clock at which it began, and everything else follows from Clock.now(). A poll that comes
 * late raises IRQ 0 once, however many periods have passed.
 */
import type { Clock } from '../../host/clock.ts';
import { array, struct, type View } from '../../support/struct.ts';
import type { BytePortDevice } from '../../vid/bus.ts';
import type { Inspectable, InspectNode, InterruptLine, TimedDevice } from '../../vid/ports.ts';
import {
  type CounterSetting,
  countAfter,
  fromBcd,
  isPeriodic,
  isTriggered,
  MODE,
  nextRise,
  outAfter,
  risesAfter,
  toBcd,
} from './counter.ts';

const COUNTERS = 3;

export const pitState = struct('pit', 1, {
  /** Input clock at which counting began; while it is held, how many clocks have been counted is in `held`. */
  began: array('f64', COUNTERS),
  held: array('f64', COUNTERS),
  /** Rises of counter 0's OUT, since it began, that IRQ 0 has seen. */
  rises: 'f64',
  reload: array('u32', COUNTERS),
  /** A count that takes effect at the end of the period or at the next trigger; 0 none. */
  nextReload: array('u32', COUNTERS),
  mode: array('u8', COUNTERS),
  /** The control word's RW field: 1 low byte, 2 high byte, 3 low then high. */
  access: array('u8', COUNTERS),
  bcd: array('u8', COUNTERS),
  gate: array('u8', COUNTERS),
  loaded: array('u8', COUNTERS),
  counting: array('u8', COUNTERS),
  writeHigh: array('u8', COUNTERS),
  writeLow: array('u8', COUNTERS),
  readHigh: array('u8', COUNTERS),
  countLatched: array('u8', COUNTERS),
  latchedCount: array('u16', COUNTERS),
  statusLatched: array('u8', COUNTERS),
  latchedStatus: array('u8', COUNTERS),
  port61: 'u8',
});
export type PitState = View<(typeof pitState)['fields']>;

export const PIT_HZ = 1_193_182n;
const NANOSECONDS = 1_000_000_000n;
const FIRST_PORT = 0x40;
const CONTROL_PORT = 0x43;
const SYSTEM_CONTROL_PORT = 0x61;
/** Port 0x61: bits 0..3 are written and read back, 4 and 5 read only. */
const PORT61 = { GATE2: 0x01, SPEAKER: 0x02, WRITABLE: 0x0f, REFRESH: 0x10, OUT2: 0x20 } as const;
/** Input clocks per refresh request, counter 1's customary count. */
const REFRESH_CLOCKS = 18;
const ACCESS = { LATCH: 0, LOW: 1, HIGH: 2, LOW_HIGH: 3 } as const;
const READ_BACK = 3;

export class Pit implements BytePortDevice, TimedDevice, Inspectable {
  readonly bytesOnly = true;
  readonly ports = [
    { first: FIRST_PORT, count: 4 },
    { first: SYSTEM_CONTROL_PORT, count: 1 },
  ];
  readonly #state: PitState;
  readonly #clock: Clock;
  readonly #interrupt: InterruptLine;

  /** @param interrupt counter 0's OUT, IRQ 0. */
  constructor(state: PitState, clock: Clock, interrupt: InterruptLine) {
    this.#state = state;
    this.#clock = clock;
    this.#interrupt = interrupt;
  }

  reset(): void {
    const s = this.#state;
    for (let i = 0; i < COUNTERS; i++) {
      this.#writeControl(i, ACCESS.LOW_HIGH, MODE.INTERRUPT_ON_TERMINAL_COUNT, 0);
      s.reload[i] = 0x10000;
      s.gate[i] = i === 2 ? 0 : 1;
      s.countLatched[i] = s.statusLatched[i] = 0;
    }
    s.port61 = 0;
    this.#interrupt.set(false);
  }

  readPort(port: number, _size: number): number {
    const now = this.#now();
    this.#catchUp(now);
    if (port === SYSTEM_CONTROL_PORT) {
      const refresh = Math.floor(now / REFRESH_CLOCKS) & 1 ? PORT61.REFRESH : 0;
      return this.#state.port61 | refresh | (this.#out(2, now) ? PORT61.OUT2 : 0);
    }
    // The control word register cannot be read.
    return port === CONTROL_PORT ? 0xff : this.#readCounter(port - FIRST_PORT, now);
  }

  writePort(port: number, _size: number, value: number): void {
    const s = this.#state;
    const now = this.#now();
    this.#catchUp(now);
    if (port === SYSTEM_CONTROL_PORT) {
      s.port61 = value & PORT61.WRITABLE;
      this.#setGate(2, (value & PORT61.GATE2) !== 0, now);
    } else if (port !== CONTROL_PORT) this.#writeCounter(port - FIRST_PORT, value, now);
    else if (value >> 6 === READ_BACK) this.#readBack(value, now);
    else {
      const i = value >> 6;
      const access = (value >> 4) & 3;
      const mode = (value >> 1) & 7;
      if (access === ACCESS.LATCH) this.#latchCount(i, now);
      else this.#writeControl(i, access, mode > MODE.HARDWARE_STROBE ? mode - 4 : mode, value & 1);
    }
    this.#interrupt.set(this.#out(0, now));
  }

  nextDeadline(): bigint | undefined {
    const s = this.#state;
    if (!s.counting[0]) return undefined;
    const clocks = nextRise(s.rises, this.#setting(0));
    if (clocks === undefined) return undefined;
    return (BigInt((s.began[0] as number) + clocks) * NANOSECONDS + PIT_HZ - 1n) / PIT_HZ;
  }

  poll(now: bigint): void {
    this.#catchUp(this.#clocks(now));
  }

  inspect(): InspectNode {
    const s = this.#state;
    const now = this.#now();
    const counters: Record<string, InspectNode> = {};
    for (let i = 0; i < COUNTERS; i++)
      counters[`counter ${i}`] = {
        mode: s.mode[i] as number,
        reload: s.reload[i] as number,
        count: this.#count(i, now),
        bcd: s.bcd[i] === 1,
        gate: s.gate[i] === 1,
        counting: s.counting[i] === 1,
        out: this.#out(i, now),
      };
    return { ...counters, port61: s.port61 };
  }

  #clocks(now: bigint): number {
    return Number((now * PIT_HZ) / NANOSECONDS);
  }

  #now(): number {
    return this.#clocks(this.#clock.now());
  }

  #setting(i: number): CounterSetting {
    const s = this.#state;
    return { mode: s.mode[i] as number, bcd: s.bcd[i] === 1, reload: s.reload[i] as number };
  }

  #elapsed(i: number, now: number): number {
    const s = this.#state;
    return s.counting[i] ? Math.max(0, now - (s.began[i] as number)) : (s.held[i] as number);
  }

  /** OUT of a counter that is not counting stays as the mode's control word left it, or where a low GATE stopped it. */
  #out(i: number, now: number): boolean {
    const s = this.#state;
    const mode = s.mode[i] as number;
    if (!s.loaded[i] || (!s.counting[i] && (isPeriodic(mode) || isTriggered(mode))))
      return mode !== MODE.INTERRUPT_ON_TERMINAL_COUNT;
    return outAfter(this.#elapsed(i, now), this.#setting(i));
  }

  /** The count as the guest reads it. */
  #count(i: number, now: number): number {
    const count = countAfter(this.#elapsed(i, now), this.#setting(i));
    return this.#state.bcd[i] ? toBcd(count) : count;
  }

  /** Lets periods end that have ended: a waiting count takes effect, IRQ 0 sees OUT rise (once, however often it rose). */
  #catchUp(now: number): void {
    const s = this.#state;
    let rose = false;
    for (let i = 0; i < COUNTERS; i++) {
      const next = s.nextReload[i] as number;
      const reload = s.reload[i] as number;
      if (next === 0 || !s.counting[i] || !isPeriodic(s.mode[i] as number) || this.#elapsed(i, now) < reload) continue;
      s.began[i] = (s.began[i] as number) + reload;
      s.reload[i] = next;
      s.nextReload[i] = 0;
      if (i === 0) {
        s.rises = 0;
        rose = true;
      }
    }
    if (s.counting[0]) {
      const rises = risesAfter(this.#elapsed(0, now), this.#setting(0));
      if (rises > s.rises) rose = true;
      s.rises = rises;
    }
    if (rose) {
      this.#interrupt.set(false);
      this.#interrupt.set(true);
    }
    this.#interrupt.set(this.#out(0, now));
  }

  #begin(i: number, now: number): void {
    const s = this.#state;
    if (s.nextReload[i]) s.reload[i] = s.nextReload[i];
    s.nextReload[i] = 0;
    s.began[i] = now - (s.held[i] as number);
    s.held[i] = 0;
    s.counting[i] = 1;
    if (i === 0) s.rises = 0;
  }

  #setGate(i: number, level: boolean, now: number): void {
    const s = this.#state;
    if ((s.gate[i] === 1) === level) return;
    s.gate[i] = level ? 1 : 0;
    if (!s.loaded[i]) return;
    const mode = s.mode[i] as number;
    if (level) {
      if (isTriggered(mode)) s.held[i] = 0;
      this.#begin(i, now);
    } else if (!isTriggered(mode)) {
      // Rate generator and square wave start over when GATE comes back; the others go on where they were.
      s.held[i] = isPeriodic(mode) ? 0 : this.#elapsed(i, now);
      s.counting[i] = 0;
    }
  }

  #writeControl(i: number, access: number, mode: number, bcd: number): void {
    const s = this.#state;
    s.access[i] = access;
    s.mode[i] = mode;
    s.bcd[i] = bcd;
    s.loaded[i] = s.counting[i] = s.writeHigh[i] = s.readHigh[i] = s.countLatched[i] = 0;
    s.nextReload[i] = 0;
    s.held[i] = 0;
    if (i === 0) s.rises = 0;
  }

  #writeCounter(i: number, value: number, now: number): void {
    const s = this.#state;
    if (s.access[i] === ACCESS.LOW) this.#load(i, value, now);
    else if (s.access[i] === ACCESS.HIGH) this.#load(i, value << 8, now);
    else if (s.writeHigh[i]) {
      s.writeHigh[i] = 0;
      this.#load(i, (s.writeLow[i] as number) | (value << 8), now);
    } else {
      s.writeHigh[i] = 1;
      s.writeLow[i] = value;
      if (s.mode[i] !== MODE.INTERRUPT_ON_TERMINAL_COUNT) return;
      // Terminal count: the first of two bytes stops counting and takes OUT low.
      s.loaded[i] = s.counting[i] = 0;
      s.held[i] = 0;
    }
  }

  #load(i: number, raw: number, now: number): void {
    const s = this.#state;
    const reload = s.bcd[i] ? fromBcd(raw) || 10000 : raw || 0x10000;
    const mode = s.mode[i] as number;
    const wasLoaded = s.loaded[i] === 1;
    s.loaded[i] = 1;
    if (wasLoaded && s.counting[i] && (isPeriodic(mode) || isTriggered(mode))) {
      s.nextReload[i] = reload;
      if (isTriggered(mode)) return;
      // The new count waits for the end of this period; count from where this period began.
      const setting = this.#setting(i);
      const began = Math.floor(this.#elapsed(i, now) / setting.reload) * setting.reload;
      s.began[i] = (s.began[i] as number) + began;
      if (i === 0) s.rises = 0;
      return;
    }
    s.reload[i] = reload;
    s.held[i] = 0;
    if (s.gate[i] && !isTriggered(mode)) this.#begin(i, now);
  }

  #latchCount(i: number, now: number): void {
    const s = this.#state;
    if (s.countLatched[i]) return;
    s.latchedCount[i] = this.#count(i, now);
    s.countLatched[i] = 1;
    // A latched count is read from its first byte on.
    s.readHigh[i] = 0;
  }

  #readBack(command: number, now: number): void {
    const s = this.#state;
    for (let i = 0; i < COUNTERS; i++) {
      if (!(command & (2 << i))) continue;
      if (!(command & 0x20)) this.#latchCount(i, now);
      if (command & 0x10 || s.statusLatched[i]) continue;
      const out = this.#out(i, now) ? 0x80 : 0;
      const nullCount = !s.loaded[i] || s.nextReload[i] ? 0x40 : 0;
      s.latchedStatus[i] =
        out | nullCount | ((s.access[i] as number) << 4) | ((s.mode[i] as number) << 1) | (s.bcd[i] as number);
      s.statusLatched[i] = 1;
    }
  }

  #readCounter(i: number, now: number): number {
    const s = this.#state;
    if (s.statusLatched[i]) {
      s.statusLatched[i] = 0;
      return s.latchedStatus[i] as number;
    }
    const count = s.countLatched[i] ? (s.latchedCount[i] as number) : this.#count(i, now);
    const twoBytes = s.access[i] === ACCESS.LOW_HIGH;
    const high = twoBytes ? s.readHigh[i] === 1 : s.access[i] === ACCESS.HIGH;
    if (twoBytes) s.readHigh[i] = high ? 0 : 1;
    if (!twoBytes || high) s.countLatched[i] = 0;
    return high ? count >> 8 : count & 0xff;
  }
}
