/**
 * The heartbeat component: asks the guest every two seconds whether its kernel still answers. Body: {u64 sequence, 32
 * bytes}; the answer carries the sequence plus one.
 */
import type { Timers } from '../vmbus/ports.ts';
import { viewOf } from '../vmbus/ring.ts';
import { type IcDescription, IntegrationComponent } from './component.ts';
import { IcType } from './frame.ts';

export const HEARTBEAT: IcDescription = {
  name: 'heartbeat',
  type: '57164f39-9115-4e78-ab55-382f3bd5422d',
  instance: 'fd149e91-82e0-4a7d-afa6-2a4166cbd7c0',
  messageType: IcType.HEARTBEAT,
  versions: [
    [3, 0],
    [1, 0],
  ],
  negotiationTimeout: 10_000,
};
const BODY = 40;
const PERIOD = 2000;
/** After so many beats without an answer contact is lost. */
const MISSED = 5;

/** As Hyper-V's manager says it. */
export type HeartbeatStatus = 'OK' | 'No Contact' | 'Lost Communication';

export class Heartbeat {
  readonly component: IntegrationComponent;
  readonly #timers: Timers;
  #sequence = 0n;
  #missed = 0;
  #stop: (() => void) | undefined;

  constructor(timers: Timers) {
    this.#timers = timers;
    this.component = new IntegrationComponent(HEARTBEAT, timers, {
      ready: () => {
        this.#missed = 0;
        this.#beat();
      },
      lost: () => {
        this.#stop?.();
      },
      inspect: () => ({ status: this.status }),
    });
  }

  get status(): HeartbeatStatus {
    if (!this.component.ready) return 'No Contact';
    return this.#missed >= MISSED ? 'Lost Communication' : 'OK';
  }

  #beat(): void {
    // A component may become ready again without having been lost: one beat goes on, not two.
    this.#stop?.();
    this.#stop = this.#timers.after(PERIOD, () => {
      this.#beat();
    });
    const body = new Uint8Array(BODY);
    this.#sequence = BigInt.asUintN(64, this.#sequence + 1n);
    const expected = BigInt.asUintN(64, this.#sequence + 1n);
    viewOf(body).setBigUint64(0, this.#sequence, true);
    this.component.request(body, PERIOD - 1).then(
      (answer) => {
        const right = answer.body.length >= 8 && viewOf(answer.body).getBigUint64(0, true) === expected;
        this.#missed = right ? 0 : this.#missed + 1;
      },
      () => {
        this.#missed++;
      },
    );
  }
}
