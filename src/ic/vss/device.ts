/**
 * The volume shadow copy component: has the guest freeze its file systems, so that its disks can be copied as they are, and
 * thaw them. The guest's daemon (Debian: hyperv-daemons) has to run. A guest thaws by itself after a while.
 */
import type { Timers } from '../../vmbus/ports.ts';
import { IntegrationComponent } from '../component.ts';
import { IcStatus } from '../frame.ts';
import { VSS, VSS_BODY, VssOperation } from './protocol.ts';

const ANSWER_TIMEOUT = 30_000;
const FREEZE_TIMEOUT = 900_000;

export class ShadowCopy {
  readonly component: IntegrationComponent;
  #frozen = false;

  constructor(timers: Timers) {
    this.component = new IntegrationComponent(VSS, timers, {
      lost: () => {
        this.#frozen = false;
      },
      inspect: () => ({ frozen: this.#frozen }),
    });
  }

  /** Whether the guest can freeze at all. Rejects with an IcFailure, as the others do. */
  async possible(): Promise<boolean> {
    return await this.#ask(VssOperation.HOT_BACKUP, ANSWER_TIMEOUT);
  }

  /** True when every file system of the guest stands still. */
  async freeze(): Promise<boolean> {
    this.#frozen = await this.#ask(VssOperation.FREEZE, FREEZE_TIMEOUT);
    return this.#frozen;
  }

  async thaw(): Promise<boolean> {
    const thawed = await this.#ask(VssOperation.THAW, ANSWER_TIMEOUT);
    if (thawed) this.#frozen = false;
    return thawed;
  }

  async #ask(operation: number, timeout: number): Promise<boolean> {
    const body = new Uint8Array(VSS_BODY);
    body[0] = operation;
    return (await this.component.request(body, timeout)).status === IcStatus.OK;
  }
}
