/** The integration components of one partition. None of them is needed for a guest to boot, and none can hold one up. */
import type { ChannelDevice, Timers } from '../vmbus/ports.ts';
import { FileCopy } from './file-copy/device.ts';
import { Heartbeat } from './heartbeat.ts';
import { KeyValueExchange } from './kvp/device.ts';
import { Shutdown } from './shutdown.ts';
import { Timesync, type TimesyncClock } from './timesync.ts';
import { ShadowCopy } from './vss/device.ts';

export class IntegrationComponents {
  readonly shutdown: Shutdown;
  readonly timesync: Timesync;
  readonly heartbeat: Heartbeat;
  readonly kvp: KeyValueExchange;
  readonly vss: ShadowCopy;
  readonly fileCopy: FileCopy;

  constructor(timers: Timers, clock: TimesyncClock) {
    this.shutdown = new Shutdown(timers);
    this.timesync = new Timesync(timers, clock);
    this.heartbeat = new Heartbeat(timers);
    this.kvp = new KeyValueExchange(timers);
    this.vss = new ShadowCopy(timers);
    this.fileCopy = new FileCopy(timers);
  }

  /** In the order in which they are offered. */
  devices(): readonly ChannelDevice[] {
    const { shutdown, timesync, heartbeat, kvp, vss, fileCopy } = this;
    return [shutdown, timesync, heartbeat, kvp, vss, fileCopy].map(({ component }) => component);
  }
}
