/** The network adapters of a partition: made from what its creator asked for, plugged in and out while it runs. */
import { ViridianError } from '../contracts/errors.ts';
import type { NetworkPort, NicOptions } from '../contracts/network.ts';
import { LIMITS } from '../contracts/partition-options.ts';
import { hexOf } from '../support/plain.ts';
import type { VmBus } from '../vmbus/bus.ts';
import type { VmbusMemory } from '../vmbus/ports.ts';
import { Netvsp } from '../vsp/netvsp/device.ts';

/** Microsoft's addresses; the last bytes count adapters. */
const PREFIX = [0x00, 0x15, 0x5d, 0x00, 0x00] as const;
/** Linux opens no more by itself. */
const MOST_QUEUES = 8;

/** Connects adapters to what they name. */
export interface Networks {
  /** @throws ViridianError */
  connect(nic: NicOptions, name: string, mac: Uint8Array): Promise<NetworkPort>;
  /** Everything that was opened for this partition. */
  close(): Promise<void>;
}

export interface PluggedNic {
  readonly name: string;
  readonly mac: Uint8Array;
  readonly mtu: number | undefined;
  readonly port: NetworkPort;
}

export class PartitionNics {
  readonly #networks: Networks | undefined;
  readonly #plugged = new Map<string, PluggedNic>();
  readonly #devices = new Map<string, Netvsp>();
  #bus: VmBus | undefined;
  #memory: VmbusMemory | undefined;
  #processors = 1;

  constructor(networks?: Networks) {
    this.#networks = networks;
  }

  /** @throws ViridianError; nothing stays open then. */
  static async open(networks: Networks, nics: readonly NicOptions[]): Promise<PartitionNics> {
    const result = new PartitionNics(networks);
    try {
      for (const nic of nics) await result.#plug(nic);
      return result;
    } catch (error) {
      await result.close();
      throw error;
    }
  }

  async #plug(nic: NicOptions): Promise<PluggedNic> {
    const name = nic.name ?? this.#freeName();
    if (this.#plugged.has(name)) throw new ViridianError('invalid', `there are two network adapters called ${name}`);
    if (this.#plugged.size >= LIMITS.maximumNics)
      throw new ViridianError('wrongState', `a partition has at most ${LIMITS.maximumNics} network adapters`);
    const mac = nic.mac === undefined ? this.#freeMac() : macBytes(nic.mac);
    if (this.#hasMac(mac)) throw new ViridianError('invalid', `there are two network adapters with address ${nic.mac}`);
    const port = typeof nic.network === 'string' ? await this.#connect(nic, name, mac) : nic.network;
    const plugged = { name, mac, mtu: nic.mtu, port };
    this.#plugged.set(name, plugged);
    return plugged;
  }

  #connect(nic: NicOptions, name: string, mac: Uint8Array): Promise<NetworkPort> {
    if (!this.#networks) throw new ViridianError('failure', 'there are no networks here');
    return this.#networks.connect(nic, name, mac);
  }

  #freeName(): string {
    for (let n = 0; ; n++) if (!this.#plugged.has(`nic${n}`)) return `nic${n}`;
  }
  #hasMac(mac: Uint8Array): boolean {
    return [...this.#plugged.values()].some((nic) => hexOf(nic.mac) === hexOf(mac));
  }
  #freeMac(): Uint8Array {
    for (let n = 1; ; n++) {
      const mac = Uint8Array.of(...PREFIX, n);
      if (!this.#hasMac(mac)) return mac;
    }
  }

  /** Offers the adapters to the guest of this bus, those plugged in later too. */
  offerTo(bus: VmBus, memory: VmbusMemory, processors: number): void {
    this.#bus = bus;
    this.#memory = memory;
    this.#processors = processors;
    for (const nic of this.#plugged.values()) this.#offer(nic);
  }

  #offer({ name, mac, mtu, port }: PluggedNic): void {
    const { bus, memory } = this.#online();
    const queues = Math.min(this.#processors, MOST_QUEUES);
    const device = new Netvsp({ name, mac, mtu, queues, instance: instanceOf(mac) }, { memory, port });
    this.#devices.set(name, device);
    bus.offer(device);
  }

  #online(): { readonly bus: VmBus; readonly memory: VmbusMemory } {
    if (!this.#bus || !this.#memory)
      throw new ViridianError('wrongState', 'the partition has no VMBus, so no network adapters');
    return { bus: this.#bus, memory: this.#memory };
  }

  /** Plugs in another one; its name. */
  async attach(nic: NicOptions): Promise<string> {
    this.#online();
    const plugged = await this.#plug(nic);
    this.#offer(plugged);
    return plugged.name;
  }

  /** Takes an adapter away; the guest lets go of it. */
  detach(name: string): void {
    const device = this.#device(name);
    this.#online().bus.withdraw(device);
    device.dispose();
    this.#devices.delete(name);
    this.#plugged.delete(name);
  }

  setLink(name: string, up: boolean): void {
    this.#device(name).setLink(up);
  }

  #device(name: string): Netvsp {
    const device = this.#devices.get(name);
    if (!device) throw new ViridianError('notFound', `the partition has no network adapter called ${name}`);
    return device;
  }

  async close(): Promise<void> {
    for (const { port } of this.#plugged.values()) port.close();
    this.#plugged.clear();
    await this.#networks?.close();
  }
}

/** `00-15-5D-00-00-01`, `00:15:5d:00:00:01`, `00155D000001`; checked before. */
function macBytes(text: string): Uint8Array {
  const digits = text.replaceAll(/[-:]/g, '');
  return Uint8Array.from({ length: 6 }, (_, i) => Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16));
}

/** One adapter, one address: the GUID by which the guest knows it again. */
function instanceOf(mac: Uint8Array): string {
  return `f8615163-0000-1000-2000-${hexOf(mac)}`;
}
