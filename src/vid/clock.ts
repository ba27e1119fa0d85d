/**
 * The partition's time. `real` follows the host's monotonic clock; `instructions` is one nanosecond per retired
 * instruction of processor 0 plus the idle time that was skipped, so that it is a function of the run alone.
 *
 * A host may stop this process, or be stopped itself, for a minute: a guest that saw its time leap would take its processor for stuck
 * (Linux: "soft lockup"). Processors that run look at the clock every second, so a gap of several is one in which nothing ran; it is
 * no part of the guest's time. What the guest has missed of the calendar it is told (time synchronization).
 */
import type { Clock, HostTime } from '../host/clock.ts';
import type { PartitionControlView } from '../hypervisor/vp/control.ts';
import type { VpView } from '../hypervisor/vp/state.ts';

/** The TSC counts nanoseconds. */
export const TSC_FREQUENCY = 1_000_000_000;
/** What the calendar shows when time is a function of instructions: 2026-01-01 00:00 UTC. */
const FIXED_CALENDAR = Date.UTC(2026, 0, 1);
/** Nanoseconds between two notes of the time: it is asked for very often. */
const NOTED_EVERY = 100_000_000n;
/** Nanoseconds without a look at the clock in which nothing can have run: several times an idle processor's longest sleep. */
const STOOD_STILL = 4_000_000_000n;
/** Instead of a note, while one thread takes a gap out. */
const BUSY = 0xffff_ffff_ffff_ffffn;

export class PartitionClock implements Clock {
  readonly virtual: boolean;
  readonly #control: PartitionControlView;
  readonly #host: HostTime;
  readonly #vp0: VpView;

  constructor(virtual: boolean, control: PartitionControlView, vp0: VpView, host: HostTime) {
    this.virtual = virtual;
    this.#control = control;
    this.#vp0 = vp0;
    this.#host = host;
  }

  #raw(): bigint {
    if (!this.virtual) return this.#host.monotonic();
    return this.#vp0.retired + BigInt(this.#vp0.budgetStart - this.#vp0.budget);
  }

  now(): bigint {
    if (this.virtual) return this.#raw() + BigInt(this.offset);
    for (;;) {
      const { offset } = this;
      const raw = this.#raw();
      const seen = Atomics.load(this.#control.clockSeen, 0);
      if (seen === BUSY || raw - seen > NOTED_EVERY) this.#note(raw);
      // Between the two another thread may have taken a gap out: they belong to each other, or time goes backwards.
      if (offset === this.offset) return raw + BigInt(offset);
    }
  }

  /** Takes note of the time, and takes a gap out. Any thread, several at once. */
  #note(raw: bigint): void {
    const { clockSeen, clockOffset } = this.#control;
    for (;;) {
      const seen = Atomics.load(clockSeen, 0);
      // Another thread is at it, for a few instructions.
      if (seen === BUSY) continue;
      const gap = raw - seen;
      if (gap <= NOTED_EVERY) return;
      if (gap <= STOOD_STILL) {
        if (Atomics.compareExchange(clockSeen, 0, seen, raw) === seen) return;
      } else if (Atomics.compareExchange(clockSeen, 0, seen, BUSY) === seen) {
        // Somebody may have been given a time that was not noted: it never goes backwards.
        clockOffset[0] = (clockOffset[0] as number) - Number(gap - NOTED_EVERY);
        Atomics.store(clockSeen, 0, raw);
        return;
      }
    }
  }

  /** Nanoseconds between the host's clock and this one: another number when time was set, or taken out. */
  get offset(): number {
    return this.#control.clockOffset[0] as number;
  }

  calendar(): number {
    return this.virtual ? FIXED_CALENDAR + Number(this.now() / 1_000_000n) : this.#host.calendar();
  }

  /** From here on, now() starts from `value`. */
  set(value: bigint): void {
    const raw = this.#raw();
    this.#control.clockOffset[0] = Number(value - raw);
    if (!this.virtual) Atomics.store(this.#control.clockSeen, 0, raw);
  }
}
