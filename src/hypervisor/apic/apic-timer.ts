/**
 * The local APIC timer: one-shot and periodic, counting the bus clock through a divider. Intel SDM vol. 3, "APIC Timer".
 * Nothing runs between events: the current count is computed from the clock, and poll() fires what is due. Own thread.
 */
import type { InspectTree, NanosecondClock } from './ports.ts';
import { APIC_TICK_NS, DIVISORS, LVT_MASKED, LVT_PERIODIC, Lvt } from './registers.ts';
import type { LocalApicView } from './state.ts';

export class ApicTimer {
  readonly #state: LocalApicView;
  readonly #clock: NanosecondClock;
  readonly #fire: () => void;

  /** @param fire delivers the timer's LVT entry (which may be masked). */
  constructor(state: LocalApicView, clock: NanosecondClock, fire: () => void) {
    this.#state = state;
    this.#clock = clock;
    this.#fire = fire;
  }

  get #tick(): bigint {
    const { divide } = this.#state;
    const divisor = DIVISORS[((divide >>> 1) & 4) | (divide & 3)] as number;
    return BigInt(divisor * APIC_TICK_NS);
  }

  get #periodic(): boolean {
    return ((this.#state.lvt[Lvt.TIMER] as number) & LVT_PERIODIC) !== 0;
  }

  /** Signed: a slower divider can move the start of the period to before the clock's zero. */
  get #start(): bigint {
    return BigInt.asIntN(64, this.#state.timerStart);
  }

  /** The clock time at which the running period ends. */
  get #deadline(): bigint {
    return this.#start + BigInt(this.#state.initialCount) * this.#tick;
  }

  /** A write of the initial count starts the timer; zero stops it. */
  start(count: number): void {
    this.settle();
    this.#state.initialCount = count >>> 0;
    this.#state.timerStart = this.#clock.now();
    this.#state.timerRunning = count === 0 ? 0 : 1;
  }

  /** A new divider applies from now on; the count goes on from where it is. */
  setDivide(value: number): void {
    this.settle();
    const now = this.#clock.now();
    const remaining = BigInt(this.currentCount());
    this.#state.divide = value;
    if (this.#state.timerRunning !== 0)
      this.#state.timerStart = BigInt.asUintN(64, now - (BigInt(this.#state.initialCount) - remaining) * this.#tick);
  }

  currentCount(): number {
    const { timerRunning, initialCount } = this.#state;
    if (timerRunning === 0) return 0;
    const elapsed = (this.#clock.now() - this.#start) / this.#tick;
    if (elapsed < BigInt(initialCount)) return initialCount - Number(elapsed);
    return this.#periodic ? initialCount - Number(elapsed % BigInt(initialCount)) : 0;
  }

  /** Undefined also while the LVT entry is masked: an expiry then has no effect until something reads the registers. */
  nextDeadline(): bigint | undefined {
    const masked = ((this.#state.lvt[Lvt.TIMER] as number) & LVT_MASKED) !== 0;
    return this.#state.timerRunning === 0 || masked ? undefined : this.#deadline;
  }

  /** Brings the timer up to now. Call before its LVT entry changes. */
  settle(): void {
    this.poll(this.#clock.now());
  }

  poll(now: bigint): void {
    const s = this.#state;
    if (s.timerRunning === 0 || now < this.#deadline) return;
    if (this.#periodic) {
      // Periods that went by unseen are one interrupt: IRR has one bit per vector.
      const period = BigInt(s.initialCount) * this.#tick;
      s.timerStart = BigInt.asUintN(64, this.#start + ((now - this.#start) / period) * period);
    } else {
      s.timerRunning = 0;
    }
    this.#fire();
  }

  inspect(): InspectTree {
    const deadline = this.nextDeadline();
    return {
      running: this.#state.timerRunning !== 0,
      periodic: this.#periodic,
      initialCount: this.#state.initialCount,
      currentCount: this.currentCount(),
      ...(deadline === undefined ? {} : { deadline }),
    };
  }
}
