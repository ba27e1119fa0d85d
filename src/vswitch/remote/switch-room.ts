/**
 * All switches of a host with their ports, in the switch process: made and changed as VMMS says (contracts/switches.ts), and
 * connected with the sessions of workers that show a port's id.
 */
import { ViridianError } from '../../contracts/errors.ts';
import type { HostService, PortForward } from '../../contracts/network.ts';
import type {
  PortSpec,
  PortStatus,
  SwitchEvent,
  SwitchKindName,
  SwitchSpec,
  SwitchStatus,
} from '../../contracts/switches.ts';
import type { FrameDevice, HostNetwork, NetworkTime } from '../../host/network.ts';
import { parseMac } from '../ethernet.ts';
import type { Forward } from '../nat/forwards.ts';
import type { LeaseState } from '../nat/leases.ts';
import { type AdapterPort, type SwitchKind, VirtualSwitch } from '../switch.ts';
import type { PortSession, SessionOwner } from './port-session.ts';

const KINDS: Readonly<Record<SwitchKindName, SwitchKind>> = {
  Private: 'private',
  Internal: 'internal',
  NAT: 'nat',
  External: 'external',
};

export interface SwitchRoomPorts {
  readonly host: HostNetwork;
  readonly time: NetworkTime;
  /** @throws ViridianError */
  openTap(name: string): FrameDevice;
  /** Undefined: there is no such file, or it makes no sense. */
  readLeases(file: string): unknown;
  writeLeases(file: string, state: LeaseState): void;
  /** Milliseconds since 1970 UTC. */
  calendar(): number;
  tell(event: SwitchEvent): void;
}

interface Held {
  spec: SwitchSpec;
  readonly wire: VirtualSwitch;
  /** Looked at for each connection. */
  readonly hostAccess: HostService[];
  readonly device: AdapterPort | undefined;
}

interface HeldPort {
  spec: PortSpec;
  adapter: AdapterPort;
  session: PortSession | undefined;
  readonly forwards: Map<string, Forward>;
}

/** Leases change seldom; a guest that has them change all the time must not have a disk write each time. */
const LEASES_DELAY = 200;

export class SwitchRoom implements SessionOwner {
  readonly #ports: SwitchRoomPorts;
  readonly #switches = new Map<string, Held>();
  readonly #held = new Map<string, HeldPort>();
  readonly #unwritten = new Map<string, LeaseState>();
  #captures = 0;

  constructor(ports: SwitchRoomPorts) {
    this.#ports = ports;
  }

  /** Somebody needs it. */
  get used(): boolean {
    return this.#held.size > 0 || this.#captures > 0;
  }

  // ------------------------------------------------------------------------------------------------------------ switches

  /** @throws ViridianError */
  setSwitch(spec: SwitchSpec): void {
    const known = this.#switches.get(spec.name);
    if (known !== undefined) {
      const { kind, device, subnet, leases } = known.spec;
      if (kind !== spec.kind || device !== spec.device || subnet !== spec.subnet || leases !== spec.leases)
        throw new ViridianError('wrongState', `the switch ${spec.name} is there, and another one`);
      known.spec = spec;
      known.hostAccess.splice(0, Infinity, ...spec.hostAccess);
      return;
    }
    const hostAccess = [...spec.hostAccess];
    const wire = this.#make(spec, hostAccess);
    let device: AdapterPort | undefined;
    if (spec.device !== null) {
      try {
        device = wire.connectDevice(this.#ports.openTap(spec.device));
      } catch (error) {
        wire.close();
        throw error;
      }
    }
    this.#switches.set(spec.name, { spec, wire, hostAccess, device });
  }

  #make(spec: SwitchSpec, hostAccess: readonly HostService[]): VirtualSwitch {
    const { host, time, readLeases } = this.#ports;
    const { name, leases } = spec;
    const nat = {
      subnet: spec.subnet ?? undefined,
      hostAccess,
      onLeases: leases === null ? undefined : (state: LeaseState) => this.#leasesChanged(leases, state),
      onBound: (mac: number, address: string) => this.#bound(name, mac, address),
    };
    const options = { name, kind: KINDS[spec.kind] };
    try {
      const known = leases === null ? undefined : readLeases(leases);
      return new VirtualSwitch({ ...options, nat: { ...nat, leases: known } }, { host, time });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // A file that makes no sense: addresses are given out anew.
      return new VirtualSwitch({ ...options, nat }, { host, time });
    }
  }

  removeSwitch(name: string): void {
    const held = this.#switches.get(name);
    if (held === undefined) return;
    for (const [id, { spec }] of this.#held) if (spec.switch === name) this.removePort(id);
    held.device?.close();
    held.wire.close();
    this.#switches.delete(name);
    if (held.spec.leases !== null) this.#unwritten.delete(held.spec.leases);
  }

  #demand(name: string): Held {
    const held = this.#switches.get(name);
    if (held === undefined) throw new ViridianError('notFound', `there is no switch ${name}`);
    return held;
  }

  // --------------------------------------------------------------------------------------------------------------- ports

  /** @throws ViridianError; a port that was there stays as it was, where that can be. */
  async setPort(spec: PortSpec): Promise<void> {
    const known = this.#held.get(spec.id);
    if (known !== undefined && isSamePlug(known.spec, spec)) {
      await this.#setForwards(known, spec.forwards);
      known.spec = spec;
      return;
    }
    const { wire } = this.#demand(spec.switch);
    if (known === undefined) {
      const port: HeldPort = { spec, adapter: this.#connect(spec), session: undefined, forwards: new Map() };
      this.#held.set(spec.id, port);
      try {
        await this.#setForwards(port, spec.forwards);
      } catch (error) {
        this.removePort(spec.id);
        throw error;
      }
      return;
    }
    const before = known.spec;
    // An address belongs to a name: with another name it is taken along.
    if (before.switch === spec.switch && before.owner !== spec.owner) wire.nat?.renameOwner(before.owner, spec.owner);
    this.#unplug(known);
    try {
      known.adapter = this.#connect(spec);
      known.spec = spec;
    } catch (error) {
      known.adapter = this.#connect(before);
      known.session?.plug(known.adapter);
      throw error;
    }
    // In another network: the guest sees its cable pulled and plugged in, and asks for an address.
    if (before.switch !== spec.switch) known.session?.plug(undefined);
    known.session?.plug(known.adapter);
    await this.#setForwards(known, spec.forwards);
  }

  #connect(spec: PortSpec): AdapterPort {
    const { wire } = this.#demand(spec.switch);
    const { address } = spec;
    const adapter = wire.connect({
      vm: spec.vm,
      name: spec.owner,
      hostName: spec.hostName,
      mac: spec.mac,
      vlan: spec.vlan,
      macSpoofing: spec.macSpoofing,
      bandwidth: { send: spec.sendLimit ?? undefined, receive: spec.receiveLimit ?? undefined },
      egress: wire.nat === undefined ? undefined : (spec.egress ?? undefined),
      address: wire.nat === undefined || spec.vlan !== 0 ? (address ?? undefined) : undefined,
    });
    try {
      if (address !== null) wire.nat?.reserve(spec.owner, address);
      return adapter;
    } catch (error) {
      adapter.close();
      throw error;
    }
  }

  #unplug(port: HeldPort): void {
    for (const forward of port.forwards.values()) forward.close();
    port.forwards.clear();
    port.adapter.close();
  }

  async #setForwards(port: HeldPort, wanted: readonly PortForward[]): Promise<void> {
    const { nat } = this.#demand(port.spec.switch).wire;
    const keys = new Set(wanted.map(keyOf));
    for (const [key, forward] of port.forwards) {
      if (keys.has(key)) continue;
      forward.close();
      port.forwards.delete(key);
    }
    for (const each of nat === undefined ? [] : wanted) {
      const key = keyOf(each);
      if (port.forwards.has(key)) continue;
      const { protocol, hostAddress = '127.0.0.1', hostPort, guestPort } = each;
      const target = port.spec.owner;
      port.forwards.set(key, await nat!.forward({ protocol, address: hostAddress, hostPort, guestPort, target }));
    }
  }

  removePort(id: string): void {
    const port = this.#held.get(id);
    if (port === undefined) return;
    this.#held.delete(id);
    port.session?.close();
    this.#unplug(port);
  }

  keep(switches: readonly string[], ports: readonly string[]): void {
    for (const id of [...this.#held.keys()]) if (!ports.includes(id)) this.removePort(id);
    for (const name of [...this.#switches.keys()]) if (!switches.includes(name)) this.removeSwitch(name);
  }

  // ------------------------------------------------------------------------------------------------------------ sessions

  claim(id: string, session: PortSession): string | undefined {
    const port = this.#held.get(id);
    if (port === undefined) return 'there is no such port';
    // A worker that comes again has lost its first connection, whether that is known here or not.
    const before = port.session;
    port.session = session;
    before?.close();
    session.plug(port.adapter);
    return undefined;
  }

  released(session: PortSession): void {
    for (const port of this.#held.values()) if (port.session === session) port.session = undefined;
  }

  // -------------------------------------------------------------------------------------------------------------- leases

  #leasesChanged(file: string, state: LeaseState): void {
    const waits = this.#unwritten.has(file);
    this.#unwritten.set(file, state);
    if (!waits) this.#ports.time.after(LEASES_DELAY, () => this.#writeLeases(file));
  }

  #writeLeases(file: string): void {
    const state = this.#unwritten.get(file);
    if (state === undefined) return;
    this.#unwritten.delete(file);
    this.#ports.writeLeases(file, state);
  }

  #bound(name: string, mac: number, address: string): void {
    for (const { spec } of this.#held.values())
      if (spec.switch === name && parseMac(spec.mac) === mac)
        this.#ports.tell({ event: 'address', vm: spec.vm, nic: spec.nic, address });
  }

  /** Who had the address last can have another. False: there is no such reservation. */
  forgetLease(name: string, owner: string): boolean {
    const { wire } = this.#demand(name);
    if (wire.nat === undefined) throw new ViridianError('invalid', `the switch ${name} gives out no addresses`);
    return wire.nat.forgetLease(owner);
  }

  // ------------------------------------------------------------------------------------------------------------- looking

  status(name: string): SwitchStatus {
    const { wire } = this.#demand(name);
    const { nat } = wire;
    const ports = [...this.#held.values()].filter(({ spec }) => spec.switch === name);
    return {
      name,
      subnet: nat?.subnet ?? null,
      gateway: nat?.gateway ?? null,
      domain: nat?.config.domain ?? null,
      ports: ports.map((port) => statusOf(port, nat?.reservedOf(port.spec.owner))),
      leases: (nat?.leases().reservations ?? []).map(({ owner, address, fixed }) => ({
        owner,
        address,
        fixed: fixed ?? false,
      })),
      forwards: ports.flatMap(({ spec }) =>
        (nat === undefined ? [] : spec.forwards).map((each) => ({ ...each, vm: spec.vm, nic: spec.nic })),
      ),
      captures: wire.captures,
    };
  }

  /** Hands a pcap file to `write`. @returns what ends it. @throws ViridianError */
  capture(
    name: string,
    options: { readonly mac?: string | undefined; readonly snaplen?: number | undefined },
    write: (bytes: Uint8Array) => void,
  ): () => void {
    const { wire } = this.#demand(name);
    const end = wire.capture(write, { ...options, now: () => this.#ports.calendar() });
    this.#captures++;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#captures--;
      end();
    };
  }

  close(): void {
    for (const file of [...this.#unwritten.keys()]) this.#writeLeases(file);
    for (const id of [...this.#held.keys()]) this.removePort(id);
    for (const name of [...this.#switches.keys()]) this.removeSwitch(name);
  }
}

/** Whether one can become the other with the cable plugged in. */
function isSamePlug(a: PortSpec, b: PortSpec): boolean {
  const plug = ({ forwards: _forwards, ...rest }: PortSpec): string => JSON.stringify(rest);
  return plug(a) === plug(b);
}

function keyOf({ protocol, hostAddress = '127.0.0.1', hostPort, guestPort }: PortForward): string {
  return `${protocol} ${hostAddress} ${hostPort} ${guestPort}`;
}

/** @param reserved what DHCP has given it before this process was here, perhaps. */
function statusOf({ spec, adapter, session }: HeldPort, reserved: string | undefined): PortStatus {
  const { counters, drops } = adapter;
  const guess = counters.framesSent > 0 ? reserved : undefined;
  return {
    vm: spec.vm,
    nic: spec.nic,
    owner: spec.owner,
    mac: spec.mac,
    vlan: spec.vlan,
    link: session !== undefined,
    address: adapter.address ?? spec.address ?? guess ?? null,
    spoofingGuard: !spec.macSpoofing,
    sentFrames: counters.framesSent,
    sentBytes: counters.bytesSent,
    receivedFrames: counters.framesReceived,
    receivedBytes: counters.bytesReceived,
    dropped: { ...drops },
  };
}
