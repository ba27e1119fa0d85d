/**
 * The partition's time. `real` follows the host's monotonic clock; `instructions` is one nanosecond per retired
 * instruction of processor 0 plus the idle time that was skipped, so that it is a function of the run alone.
 */
import type { Clock, HostTime } from '../host/clock.ts';
import type { PartitionControlView } from '../hypervisor/vp/control.ts';
import type { VpView } from '../hypervisor/vp/state.ts';

/** The TSC counts nanoseconds. */
export const TSC_FREQUENCY = 1_000_000_000;
/** What the calendar shows when time is a function of instructions: 2026-01-01 00:00 UTC. */
const FIXED_CALENDAR = Date.UTC(2026, 0, 1);

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
    return this.#raw() + BigInt(this.#control.clockOffset[0] as number);
  }

  calendar(): number {
    return this.virtual ? FIXED_CALENDAR + Number(this.now() / 1_000_000n) : this.#host.calendar();
  }

  /** From here on, now() starts from `value`. */
  set(value: bigint): void {
    this.#control.clockOffset[0] = Number(value - this.#raw());
  }
}
