/** The network adapters of a worker process: each connected to a port of the switch process, or to nothing. */
import { ViridianError } from '../../contracts/errors.ts';
import type { NicOptions } from '../../contracts/network.ts';
import type { Partition } from '../../contracts/partition.ts';
import type { PortAddress } from '../../contracts/switches.ts';
import type { WorkerNic } from '../../contracts/worker.ts';
import { nodeNetworkTime } from '../../host/node/network.ts';
import { openWire } from '../../vswitch/node/wire.ts';
import { RemotePort } from '../../vswitch/remote/remote-port.ts';

interface Plugged {
  readonly mac: string;
  readonly port: RemotePort;
  readonly at: { address: PortAddress | null };
}

export class RemoteNics {
  readonly #plugged = new Map<string, Plugged>();

  constructor(nics: readonly WorkerNic[]) {
    for (const nic of nics) this.#plug(nic);
  }

  #plug({ id, mac, port: address }: WorkerNic): NicOptions {
    const at = { address };
    const port = new RemotePort({
      id: address?.id,
      open: (events) => openWire(at.address?.socket ?? '', events),
      time: nodeNetworkTime,
    });
    this.#plugged.set(id, { mac, port, at });
    return { name: id, mac, network: port };
  }

  /** For making the partition. */
  options(): NicOptions[] {
    return [...this.#plugged].map(([name, { mac, port }]) => ({ name, mac, network: port }));
  }

  list(): WorkerNic[] {
    return [...this.#plugged].map(([id, { mac, at }]) => ({ id, mac, port: at.address }));
  }

  async attach(partition: Partition, nic: WorkerNic): Promise<void> {
    if (this.#plugged.has(nic.id)) throw new ViridianError('wrongState', `the VM has an adapter ${nic.id} already`);
    const options = this.#plug(nic);
    try {
      await partition.attachNic(options);
    } catch (error) {
      this.#plugged.get(nic.id)?.port.close();
      this.#plugged.delete(nic.id);
      throw error;
    }
  }

  detach(partition: Partition, id: string): void {
    this.#demand(id);
    partition.detachNic(id);
    this.#plugged.delete(id);
  }

  connect(id: string, address: PortAddress | null): void {
    const { at, port } = this.#demand(id);
    at.address = address;
    port.retarget(address?.id);
  }

  #demand(id: string): Plugged {
    const plugged = this.#plugged.get(id);
    if (plugged === undefined) throw new ViridianError('notFound', `the VM has no adapter ${id}`);
    return plugged;
  }
}
