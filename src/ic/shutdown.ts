/**
 * The shutdown component: asks the guest to power off or to restart, as its user would. Body: {u32 reason, u32 timeout in
 * seconds, u32 flags, 2048 bytes of text}; guests want all of it.
 */
import type { Timers } from '../vmbus/ports.ts';
import { viewOf } from '../vmbus/ring.ts';
import { type IcDescription, IntegrationComponent } from './component.ts';
import { IcStatus, IcType } from './frame.ts';

export const SHUTDOWN: IcDescription = {
  name: 'shutdown',
  type: '0e0b6031-5213-4934-818b-38d90ced39db',
  instance: 'b6650ff7-33bc-4840-8048-e0676786f393',
  messageType: IcType.SHUTDOWN,
  versions: [
    [3, 2],
    [3, 1],
    [3, 0],
    [1, 0],
  ],
  negotiationTimeout: 10_000,
};
const BODY = 12 + 2048;
/** Bit 0: without asking applications. */
const Flags = { POWER_OFF: 0, FORCE: 1, RESTART: 2 } as const;
const ANSWER_TIMEOUT = 10_000;

export interface ShutdownRequest {
  readonly restart?: boolean | undefined;
  /** Applications may not object. */
  readonly force?: boolean | undefined;
}

export class Shutdown {
  readonly component: IntegrationComponent;

  constructor(timers: Timers) {
    this.component = new IntegrationComponent(SHUTDOWN, timers);
  }

  /** True when the guest has agreed; it then goes down by itself. Rejects with an IcFailure when it does not answer. */
  async request({ restart, force }: ShutdownRequest = {}): Promise<boolean> {
    const body = new Uint8Array(BODY);
    viewOf(body).setUint32(8, (restart ? Flags.RESTART : Flags.POWER_OFF) | (force ? Flags.FORCE : 0), true);
    const { status } = await this.component.request(body, ANSWER_TIMEOUT);
    return status === IcStatus.OK;
  }
}
