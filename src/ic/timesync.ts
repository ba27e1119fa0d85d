/**
 * The time synchronisation component: tells the guest the host's time, when it connects, after the partition stood still,
 * and now and then. Version 4: {u64 host time, u64 partition reference time at which that was so, u8 flags, u8 leap, u8
 * stratum}; before: {u64 parent time, u64 child time, u64 round trip, u8 flags}. Times are 100 ns, the host's since 1601.
 */
import type { Timers } from '../vmbus/ports.ts';
import { viewOf } from '../vmbus/ring.ts';
import { type IcDescription, IntegrationComponent } from './component.ts';
import { IcType } from './frame.ts';

export const TIMESYNC: IcDescription = {
  name: 'timesync',
  type: '9527e630-d0ae-497b-adce-e80ab0175caf',
  instance: '2dd1ce17-079e-403c-b352-a1921ee207ee',
  messageType: IcType.TIMESYNC,
  versions: [
    [4, 0],
    [3, 0],
    [1, 0],
  ],
  negotiationTimeout: 10_000,
};
/** A guest steps its clock at `SYNC`, and only takes note of `SAMPLE`. */
const Flags = { SYNC: 1, SAMPLE: 2 } as const;
const BODY_V4 = 24;
const BODY_V3 = 32;
const PERIOD = 5000;
const ANSWER_TIMEOUT = 4000;
/** Milliseconds from 1601 to 1970. */
const EPOCH = 11_644_473_600_000n;
const UNITS = 10_000n;

export interface TimesyncClock {
  /** Milliseconds since 1970 UTC. */
  calendar(): number;
  /** The partition's reference time, 100 ns. */
  referenceTime(): bigint;
}

export class Timesync {
  readonly component: IntegrationComponent;
  readonly #timers: Timers;
  readonly #clock: TimesyncClock;
  #stop: (() => void) | undefined;

  constructor(timers: Timers, clock: TimesyncClock) {
    this.#timers = timers;
    this.#clock = clock;
    this.component = new IntegrationComponent(TIMESYNC, timers, {
      ready: () => {
        this.synchronize();
        this.#sample();
      },
      lost: () => {
        this.#stop?.();
      },
    });
  }

  /** The guest is to set its clock now: the partition stood still, or was restored. Nothing happens without its driver. */
  synchronize(): void {
    this.#tell(Flags.SYNC);
  }

  #sample(): void {
    this.#stop?.();
    this.#stop = this.#timers.after(PERIOD, () => {
      this.#tell(Flags.SAMPLE);
      this.#sample();
    });
  }

  #tell(flags: number): void {
    if (!this.component.ready) return;
    const v4 = this.component.version[0] >= 4;
    const body = new Uint8Array(v4 ? BODY_V4 : BODY_V3);
    const view = viewOf(body);
    view.setBigUint64(0, (BigInt(Math.round(this.#clock.calendar())) + EPOCH) * UNITS, true);
    view.setBigUint64(8, this.#clock.referenceTime(), true);
    body[v4 ? 16 : 24] = flags;
    // Nothing depends on the answer; what went wrong is counted.
    this.component.request(body, ANSWER_TIMEOUT).catch(() => undefined);
  }
}
