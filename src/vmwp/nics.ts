/** The network adapters of a partition: made from what its creator asked for, plugged in and out while it runs. */
import { ViridianError } from '../contracts/errors.ts';
import type { NetworkPort, NicOptions } from '../contracts/network.ts';
import { LIMITS } from '../contracts/partition-options.ts';
import { hexOf } from '../support/plain.ts';
import type { VmBus } from '../vmbus/bus.ts';
import type { VmbusMemory } from '../vmbus/ports.ts';
import { Netvsp } from '../vsp/netvsp/device.ts';
import { macText, parseMac, setMac } from '../vswitch/ethernet.ts';
import { dynamicMac } from '../vswitch/mac-pool.ts';

/** Linux opens no more by itself. */
const MOST_QUEUES = 8;

/** Connects adapters to what they name. */
export interface Networks {
  /** @throws ViridianError */
  connect(nic: NicOptions, mac: string): Promise<NetworkPort>;
  /** Everything that was opened for this partition. */
  close(): void;
}

export interface PluggedNic {
  readonly name: string;
  readonly mac: number;
  readonly mtu: number | undefined;
  readonly largeFrames: boolean | undefined;
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
      result.close();
      throw error;
    }
  }

  async #plug(nic: NicOptions): Promise<PluggedNic> {
    const name = nic.name ?? this.#freeName();
    if (this.#plugged.has(name)) throw new ViridianError('invalid', `there are two network adapters called ${name}`);
    if (this.#plugged.size >= LIMITS.maximumNics)
      throw new ViridianError('wrongState', `a partition has at most ${LIMITS.maximumNics} network adapters`);
    const mac = nic.mac === undefined ? dynamicMac(name, (taken) => this.#hasMac(taken)) : parseMac(nic.mac);
    if (mac === undefined) throw new ViridianError('invalid', `${nic.mac} is no address of an adapter`);
    if (this.#hasMac(mac))
      throw new ViridianError('invalid', `there are two network adapters with address ${macText(mac)}`);
    const port = typeof nic.network === 'string' ? await this.#connect(nic, macText(mac)) : nic.network;
    const plugged = { name, mac, mtu: nic.mtu, largeFrames: nic.largeFrames, port };
    this.#plugged.set(name, plugged);
    return plugged;
  }

  #connect(nic: NicOptions, mac: string): Promise<NetworkPort> {
    if (!this.#networks) throw new ViridianError('failure', 'there are no networks here');
    return this.#networks.connect(nic, mac);
  }

  #freeName(): string {
    for (let n = 0; ; n++) if (!this.#plugged.has(`nic${n}`)) return `nic${n}`;
  }
  #hasMac(mac: number): boolean {
    return [...this.#plugged.values()].some((nic) => nic.mac === mac);
  }

  /** Offers the adapters to the guest of this bus, those plugged in later too. */
  offerTo(bus: VmBus, memory: VmbusMemory, processors: number): void {
    this.#bus = bus;
    this.#memory = memory;
    this.#processors = processors;
    for (const nic of this.#plugged.values()) this.#offer(nic);
  }

  #offer({ name, mac: address, mtu, largeFrames, port }: PluggedNic): void {
    const mac = new Uint8Array(6);
    setMac(mac, 0, address);
    const { bus, memory } = this.#online();
    const queues = Math.min(this.#processors, MOST_QUEUES);
    const device = new Netvsp({ name, mac, mtu, largeFrames, queues, instance: instanceOf(mac) }, { memory, port });
    this.#devices.set(name, device);
    bus.offer(device);
  }

  /**
   * Of a restored partition that was given other addresses: the guest is told that its adapters are gone, and is offered
   * these. What it was told of the old ones is not true of them.
   */
  renew(): void {
    for (const [name, device] of this.#devices) {
      if (!device.takenFromAnother) continue;
      this.#online().bus.withdraw(device);
      this.#offer(this.#plugged.get(name)!);
    }
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

  close(): void {
    for (const { port } of this.#plugged.values()) port.close();
    this.#plugged.clear();
    this.#networks?.close();
  }
}

/** One adapter, one address: the GUID by which the guest knows it again. */
function instanceOf(mac: Uint8Array): string {
  return `f8615163-0000-1000-2000-${hexOf(mac)}`;
}
