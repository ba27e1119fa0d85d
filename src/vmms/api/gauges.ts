/** Figures of running VMs for followers of events: one look at each VM, however many follow. */
import type { VmGauges } from '../../contracts/api/resources.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import type { Management } from '../management.ts';

const PERIOD = 2000;
/** Seconds for a worker to answer; one that does not is left out. */
const PATIENCE = 5;

export type GaugesFollower = (gauges: VmGauges) => void;

export class Gauges {
  readonly #management: Management;
  readonly #followers = new Set<GaugesFollower>();
  #timer: NodeJS.Timeout | undefined;

  constructor(management: Management) {
    this.#management = management;
  }

  /** Told of every running VM each two seconds. Returns how to stop it. */
  follow(follower: GaugesFollower): () => void {
    this.#followers.add(follower);
    if (this.#timer === undefined) this.#again(0);
    return () => {
      this.#followers.delete(follower);
      if (this.#followers.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  #again(delay: number): void {
    const timer = setTimeout(() => {
      void this.#look().then(() => {
        if (this.#followers.size > 0 && this.#timer === timer) this.#again(PERIOD);
      });
    }, delay);
    this.#timer = timer.unref();
  }

  async #look(): Promise<void> {
    const running = this.#management.machines.filter(({ state }) => isAttended(state));
    await Promise.allSettled(
      running.map(async (machine) => {
        const [metrics, integration] = await Promise.all([
          machine.ask('metrics', undefined, PATIENCE),
          machine.ask('integration', undefined, PATIENCE),
        ]);
        machine.meter.take(metrics);
        // Its switches' word comes first; the guest knows of others too.
        const given = this.#management.context.networks
          .adapters(machine.record)
          .flatMap(({ address }) => address ?? []);
        const addresses = [...new Set([...given, ...integration.addresses])];
        const told = { heartbeat: integration.heartbeat, addresses };
        for (const tell of this.#followers) tell({ vm: machine.id, ...told, metrics });
      }),
    );
  }
}
