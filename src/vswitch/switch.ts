/**
 * The virtual switch: Ethernet between adapters. Private: among guests only. Internal: with an end for the host. NAT: with a
 * gateway to the world (nat/). External: with a device of the host's that takes whole frames. It learns where addresses are,
 * keeps VLANs apart, and holds adapters to their own addresses.
 */
import { ViridianError } from '../contracts/errors.ts';
import type { InspectNode } from '../contracts/partition.ts';
import type { FrameDevice, HostNetwork, NetworkTime } from '../host/network.ts';
import { type Bandwidth, Port, type PortConfig, type PortOwner } from './adapter-port.ts';
import {
  BROADCAST,
  ETHERNET_HEADER,
  EtherType,
  isGroup,
  MAX_FRAME,
  macAt,
  macText,
  parseIp,
  parseMac,
  u16,
} from './ethernet.ts';
import { type GuardRules, objectionTo } from './guard.ts';
import { dynamicMac } from './mac-pool.ts';
import type { NatOptions } from './nat/config.ts';
import { Nat } from './nat/nat.ts';
import { Egress, parseEgressRule } from './nat/policy.ts';
import { completed } from './offload.ts';
import { DEFAULT_SNAPLEN, pcapHeader, pcapPacket } from './pcap.ts';
import type { Frame, SwitchPort } from './port.ts';

export type SwitchKind = 'private' | 'internal' | 'nat' | 'external';

export interface SwitchOptions {
  readonly name: string;
  readonly kind: SwitchKind;
  /** For `nat`. */
  readonly nat?: NatOptions | undefined;
}

export interface SwitchPorts {
  readonly time: NetworkTime;
  /** For `nat`. */
  readonly host?: HostNetwork | undefined;
}

export interface AdapterOptions {
  /** The VM's name; its address and its name in DNS go by it. */
  readonly vm: string;
  /** Which of the VM's adapters it is, from 0. */
  readonly index?: number | undefined;
  /** What its address is reserved under, and captures call it. Default: the VM's name, with `/index` from the second on. */
  readonly name?: string | undefined;
  /** Its label in DNS; null: none. Default: the VM's name, for its first adapter. */
  readonly hostName?: string | null | undefined;
  /**
   * Where the switch gives out no addresses: the only IPv4 address that the adapter may have, and no other one may. Default: any
   * that is not another's.
   */
  readonly address?: string | undefined;
  /** A static MAC address. Default: one from Hyper-V's range that stays the same for this VM and adapter. */
  readonly mac?: string | undefined;
  /** The guest may send from any MAC and IP address. Default: false. */
  readonly macSpoofing?: boolean | undefined;
  /** Access VLAN, 1 to 4094; 0, the default: none. */
  readonly vlan?: number | undefined;
  readonly bandwidth?: Bandwidth | undefined;
  /**
   * With NAT: where the adapter may go, as `parseEgressRule` takes it. Default: anywhere but to the host, and to what means
   * something only there. An empty list: nowhere.
   */
  readonly egress?: readonly string[] | undefined;
  /** False: the adapter wants frames that are cut and have their checksums. Default: true. */
  readonly offloads?: boolean | undefined;
}

/** A connected adapter. */
export interface AdapterPort extends SwitchPort {
  /** `00-15-5D-01-02-03`. */
  readonly mac: string;
  /** The address that DHCP has given it. */
  readonly address: string | undefined;
  /** Pulls the cable, and puts it back. */
  setLink(up: boolean): void;
  readonly counters: Readonly<Port['counters']>;
  /** Frames by why they were dropped. */
  readonly drops: Port['drops'];
  inspect(): InspectNode;
}

export interface CaptureOptions {
  /** Only frames from or to this adapter, by its VM's name (and `/index` from the second on). */
  readonly adapter?: string | undefined;
  /** Only frames from or to this address, whether there is an adapter that has it or not. */
  readonly mac?: string | undefined;
  /** Bytes of a frame that are kept. Default: all. */
  readonly snaplen?: number | undefined;
  /** Milliseconds since 1970 UTC. */
  now(): number;
}

/** MAC addresses that are learned, and from one port. */
const MOST_LEARNED = 4096;
const MOST_LEARNED_OF_PORT = 1024;
/** Milliseconds after which an address that was not seen is forgotten (IEEE 802.1Q, 8.8.3). */
const AGING = 300_000;
/** 48 bits of address and 12 of VLAN do not fit a number that counts exactly. */
type TableKey = `${number} ${number}`;

interface Learned {
  port: Port;
  seen: number;
}

interface Adapter {
  readonly owner: string;
  readonly hostName: string | undefined;
  readonly egress: Egress | undefined;
  readonly rules: GuardRules;
  /** That it is held to. */
  readonly address: number | undefined;
}

interface Capture {
  readonly mac: number | undefined;
  readonly snaplen: number;
  readonly now: () => number;
  readonly write: (bytes: Uint8Array) => void;
}

/** A DNS label out of a VM's name; undefined when nothing is left. */
export function hostNameOf(vm: string): string | undefined {
  const label = vm
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63)
    .replace(/-+$/, '');
  return label === '' ? undefined : label;
}

export class VirtualSwitch {
  readonly name: string;
  readonly kind: SwitchKind;
  readonly nat: Nat | undefined;
  readonly #time: NetworkTime;
  /** Ports by the MAC address of their adapter. */
  readonly #ports = new Map<number, Port>();
  readonly #adapters = new Map<Port, Adapter>();
  readonly #learned = new Map<TableKey, Learned>();
  readonly #learnedOf = new Map<Port, number>();
  readonly #captures = new Set<Capture>();
  readonly #owner: PortOwner;
  readonly #counters = { frames: 0, flooded: 0, unknown: 0 };
  #closed = false;

  constructor(options: SwitchOptions, ports: SwitchPorts) {
    this.name = options.name;
    this.kind = options.kind;
    this.#time = ports.time;
    this.#owner = {
      time: ports.time,
      received: (port, frame) => this.#received(port, frame),
      relieved: (port) => this.nat?.room(port.config.mac),
      closed: (port) => this.#unplugged(port),
    };
    if (options.kind !== 'nat') return;
    if (ports.host === undefined) throw new ViridianError('invalid', 'a NAT switch needs the host’s sockets');
    this.nat = new Nat(options.nat ?? {}, {
      host: ports.host,
      time: ports.time,
      link: {
        send: (frame, mac) => this.#fromNat(frame, mac),
        ready: (mac) => this.#portOf(0, mac)?.ready ?? true,
        stalled: (mac) => this.#portOf(0, mac)?.stalled ?? false,
        macOf: (name) => {
          for (const [port, { owner }] of this.#adapters) if (owner === name) return port.config.mac;
          return undefined;
        },
        client: (mac) => {
          const port = this.#ports.get(mac);
          return port === undefined ? undefined : this.#adapters.get(port);
        },
      },
    });
  }

  // ------------------------------------------------------------------------------------------------------------ adapters

  /** @throws ViridianError */
  connect(options: AdapterOptions): AdapterPort {
    const { vm, index = 0, vlan = 0, macSpoofing = false, bandwidth = {}, offloads = true } = options;
    if (this.#closed) throw new ViridianError('wrongState', `switch ${this.name} is closed`);
    const owner = options.name ?? (index === 0 ? vm : `${vm}/${index}`);
    const mac =
      options.mac === undefined ? dynamicMac(owner, (taken) => this.#ports.has(taken)) : parseMac(options.mac);
    if (mac === undefined)
      throw new ViridianError('invalid', `"${options.mac}" is no MAC address of an adapter, such as 00-15-5D-01-02-03`);
    if (this.#ports.has(mac) || mac === this.nat?.config.gatewayMac)
      throw new ViridianError(
        'wrongState',
        `switch ${this.name} has an adapter with the address ${macText(mac)} already`,
      );
    if (!Number.isInteger(vlan) || vlan < 0 || vlan > 4094)
      throw new ViridianError('invalid', `there is no VLAN ${vlan}: from 1 to 4094, or 0 for none`);
    for (const [way, limit] of Object.entries(bandwidth))
      if (limit !== undefined && !(limit >= 1000))
        throw new ViridianError(
          'invalid',
          `a bandwidth (${way}) of ${limit} is too small: at least 1000 bits per second`,
        );
    const egress = options.egress === undefined ? undefined : new Egress(options.egress.map(parseEgressRule));
    if (egress !== undefined && this.nat === undefined)
      throw new ViridianError('invalid', 'an egress policy is for adapters of a NAT switch');
    const named = options.hostName === undefined && index === 0 ? vm : options.hostName;
    const hostName = typeof named === 'string' ? hostNameOf(named) : undefined;
    const own = options.address === undefined ? undefined : parseIp(options.address);
    if (options.address !== undefined && own === undefined)
      throw new ViridianError('invalid', `"${options.address}" is no IPv4 address`);
    const other = own === undefined ? undefined : this.#holderOf(own, vlan);
    if (other !== undefined)
      throw new ViridianError('wrongState', `${options.address} is the address of ${other} on switch ${this.name}`);
    const config = { name: owner, mac, guarded: !macSpoofing, vlan, bandwidth, offloads };
    const { nat } = this;
    const rules = {
      mac,
      mayUse:
        nat !== undefined && vlan === 0
          ? (address: number) => nat.mayUse(mac, address)
          : (address: number) => (own === undefined ? this.#holderOf(address, vlan) === undefined : address === own),
      dhcpGuard: nat !== undefined,
    };
    return this.#plug(config, { owner, hostName, egress, rules, address: own });
  }

  /** Whose address it is, by what was said when adapters were connected. */
  #holderOf(address: number, vlan: number): string | undefined {
    for (const [port, adapter] of this.#adapters)
      if (adapter.address === address && port.config.vlan === vlan) return adapter.owner;
    return undefined;
  }

  /** The host's end of an internal switch: a port like an adapter's, that may send from any address. */
  connectHost(options: { readonly mac?: string; readonly offloads?: boolean } = {}): AdapterPort {
    if (this.kind === 'private' || this.kind === 'nat')
      throw new ViridianError('invalid', `switch ${this.name} is ${this.kind}: the host has no end there`);
    return this.connect({ vm: 'host', macSpoofing: true, ...options });
  }

  /** Joins an external or internal switch with a device of the host's. Closing the port closes the device. @throws ViridianError */
  connectDevice(device: FrameDevice): AdapterPort {
    if (this.kind !== 'external' && this.kind !== 'internal')
      throw new ViridianError(
        'invalid',
        `switch ${this.name} is ${this.kind}: a device of the host is for an external or internal one`,
      );
    const port = this.connect({ vm: device.name, macSpoofing: true });
    port.onFrame((frame) => {
      device.send(frame);
      return true;
    });
    device.onFrame((frame) => port.send(frame));
    const close = (): void => {
      device.close();
      port.close();
    };
    return Object.assign(Object.create(port) as AdapterPort, { close });
  }

  #plug(config: PortConfig, adapter: Adapter): AdapterPort {
    const port = new Port(config, this.#owner);
    this.#ports.set(config.mac, port);
    this.#adapters.set(port, adapter);
    const nat = () => this.nat;
    return {
      mac: macText(config.mac),
      get address() {
        return nat()?.addressOf(config.mac);
      },
      send: (frame) => port.send(frame),
      onFrame: (receive) => port.onFrame(receive),
      resume: () => port.resume(),
      onLink: (changed) => port.onLink(changed),
      setLink: (up) => port.setLink(up),
      counters: port.counters,
      drops: port.drops,
      inspect: () => port.inspect(),
      close: () => port.close(),
    };
  }

  #unplugged(port: Port): void {
    this.#ports.delete(port.config.mac);
    this.#adapters.delete(port);
    for (const [key, { port: of }] of this.#learned) if (of === port) this.#learned.delete(key);
    this.#learnedOf.delete(port);
    this.nat?.drop(port.config.mac);
  }

  // ------------------------------------------------------------------------------------------------------------- frames

  #received(port: Port, given: Frame): void {
    const { bytes } = given;
    if (bytes.length < ETHERNET_HEADER || bytes.length > MAX_FRAME) return port.drop('malformed');
    const source = macAt(bytes, 6);
    if (isGroup(source) || source === 0) return port.drop('malformed');
    // An access port's frames have no tag: the switch knows where they belong.
    if (u16(bytes, 12) === EtherType.VLAN) return port.drop('tagged');
    const { config } = port;
    if (config.guarded) {
      const objection = objectionTo(bytes, this.#adapters.get(port)!.rules);
      if (objection !== undefined) return port.drop(objection);
    } else if (source !== config.mac) {
      // Nobody takes over an address that is an adapter's or the gateway's own.
      if (this.#ports.has(source) || source === this.nat?.config.gatewayMac) return port.drop('mac');
      this.#learn(port, source);
    }
    this.#counters.frames++;
    const frame = completed(given);
    if (this.#captures.size > 0) this.#capture(frame);
    this.#forward(frame, config.vlan, port);
  }

  #fromNat(frame: Frame, mac: number): void {
    if (this.#captures.size > 0) this.#capture(frame);
    const destination = macAt(frame.bytes, 0);
    if (destination === BROADCAST && mac !== BROADCAST) this.#portOf(0, mac)?.deliver(frame);
    else this.#forward(frame, 0, undefined);
  }

  /** @param from undefined: the gateway. */
  #forward(frame: Frame, vlan: number, from: Port | undefined): void {
    const destination = macAt(frame.bytes, 0);
    const { nat } = this;
    const toNat = from !== undefined && nat !== undefined && vlan === 0;
    if (isGroup(destination)) {
      this.#counters.flooded++;
      for (const port of this.#ports.values()) if (port !== from && port.config.vlan === vlan) port.deliver(frame);
      if (toNat && destination === BROADCAST) nat.receive(frame);
      return;
    }
    if (toNat && destination === nat.config.gatewayMac) return nat.receive(frame);
    const port = this.#portOf(vlan, destination);
    if (port !== undefined) {
      if (port !== from) port.deliver(frame);
      return;
    }
    this.#counters.unknown++;
    // Behind a guarded port there is only its adapter.
    for (const other of this.#ports.values())
      if (other !== from && other.config.vlan === vlan && !other.config.guarded) other.deliver(frame);
  }

  #portOf(vlan: number, mac: number): Port | undefined {
    const port = this.#ports.get(mac);
    if (port !== undefined) return port.config.vlan === vlan ? port : undefined;
    if (this.#learned.size === 0) return undefined;
    const learned = this.#learned.get(`${vlan} ${mac}`);
    return learned !== undefined && this.#time.now() - learned.seen < AGING ? learned.port : undefined;
  }

  #learn(port: Port, mac: number): void {
    const key: TableKey = `${port.config.vlan} ${mac}`;
    const known = this.#learned.get(key);
    const now = this.#time.now();
    if (known?.port === port) {
      known.seen = now;
      return;
    }
    const count = this.#learnedOf.get(port) ?? 0;
    if (count >= MOST_LEARNED_OF_PORT || this.#learned.size >= MOST_LEARNED) this.#age(now);
    if ((this.#learnedOf.get(port) ?? 0) >= MOST_LEARNED_OF_PORT || this.#learned.size >= MOST_LEARNED) return;
    if (known !== undefined) this.#learnedOf.set(known.port, this.#learnedOf.get(known.port)! - 1);
    this.#learned.set(key, { port, seen: now });
    this.#learnedOf.set(port, (this.#learnedOf.get(port) ?? 0) + 1);
  }

  /** Forgets what was not seen for long. */
  #age(now: number): void {
    for (const [key, { port, seen }] of this.#learned) {
      if (now - seen < AGING) continue;
      this.#learned.delete(key);
      this.#learnedOf.set(port, this.#learnedOf.get(port)! - 1);
    }
  }

  // ------------------------------------------------------------------------------------------------------------ captures

  /**
   * Hands a capture file to `write`, piece by piece. Frames are taken as they enter the switch, after the guard.
   * @returns what ends it.
   * @throws ViridianError
   */
  capture(write: (bytes: Uint8Array) => void, options: CaptureOptions): () => void {
    const { adapter, snaplen = DEFAULT_SNAPLEN } = options;
    if (!Number.isInteger(snaplen) || snaplen < 64 || snaplen > DEFAULT_SNAPLEN)
      throw new ViridianError(
        'invalid',
        `a capture keeps from 64 to ${DEFAULT_SNAPLEN} bytes of a frame, not ${snaplen}`,
      );
    let mac = options.mac === undefined ? undefined : parseMac(options.mac);
    if (adapter !== undefined) {
      for (const [port, { owner }] of this.#adapters) if (owner === adapter) mac = port.config.mac;
      if (mac === undefined) throw new ViridianError('notFound', `switch ${this.name} has no adapter ${adapter}`);
    }
    const capture: Capture = { mac, snaplen, now: () => options.now(), write };
    write(pcapHeader(snaplen));
    this.#captures.add(capture);
    return () => this.#captures.delete(capture);
  }

  /** How many there are. */
  get captures(): number {
    return this.#captures.size;
  }

  #capture(frame: Frame): void {
    const [destination, source] = [macAt(frame.bytes, 0), macAt(frame.bytes, 6)];
    for (const { mac, snaplen, now, write } of this.#captures)
      if (mac === undefined || mac === source || mac === destination || isGroup(destination))
        write(pcapPacket(frame, now(), snaplen));
  }

  // ----------------------------------------------------------------------------------------------------------------- end

  close(): void {
    this.#closed = true;
    this.nat?.close();
    for (const port of this.#ports.values()) port.close();
    this.#captures.clear();
  }

  inspect(): InspectNode {
    const adapters: Record<string, InspectNode> = {};
    for (const [port, { owner, egress }] of this.#adapters) {
      const address = this.nat?.addressOf(port.config.mac);
      adapters[owner] = {
        ...port.inspect(),
        ...(address === undefined ? {} : { address }),
        ...(egress === undefined ? {} : { egress: egress.inspect() }),
      };
    }
    return {
      name: this.name,
      kind: this.kind,
      ...this.#counters,
      learned: this.#learned.size,
      captures: this.#captures.size,
      adapters,
      ...(this.nat === undefined ? {} : { nat: this.nat.inspect() }),
    };
  }
}

/** @throws ViridianError */
export function createSwitch(options: SwitchOptions, ports: SwitchPorts): VirtualSwitch {
  return new VirtualSwitch(options, ports);
}
