/**
 * A network behind one address, in user mode: guests have a subnet with a gateway that is not there, and what they send to the
 * world leaves through the host's sockets. Everything here is about one frame at a time; each protocol has its file.
 */
import { ViridianError } from '../../contracts/errors.ts';
import type { InspectNode } from '../../contracts/partition.ts';
import type { Endpoint, HostNetwork, HostStream, NetworkTime, StreamEvents } from '../../host/network.ts';
import { add, finish, pseudoHeader } from '../checksum.ts';
import {
  BROADCAST,
  ETHERNET_HEADER,
  EtherType,
  inNetwork,
  ipText,
  macAt,
  macText,
  maskOf,
  Protocol,
  parseIp,
  setU16,
  setU32,
  u16,
} from '../ethernet.ts';
import type { Frame } from '../port.ts';
import { ArpOperation, arpFrame, parseArp } from './arp.ts';
import { type NatConfig, type NatOptions, resolveNatOptions } from './config.ts';
import { DhcpServer } from './dhcp.ts';
import { DhcpPort } from './dhcp-message.ts';
import { DnsServer } from './dns.ts';
import { DNS_PORT } from './dns-message.ts';
import { type Forward, Forwards, type PortForward } from './forwards.ts';
import { echoReply, IcmpRelay, isEcho, Unreachable, unreachable } from './icmp.ts';
import { type Packet, packetFrames, parsePacket } from './ipv4.ts';
import { ANONYMOUS, type LeaseState, Leases } from './leases.ts';
import { type Egress, type EgressProtocol, HostAddresses, isLocalOnly } from './policy.ts';
import { Reassembly } from './reassembly.ts';
import type { FlowEnds, FlowKey } from './tcp/ports.ts';
import { parseSegment, type Segment } from './tcp/segment.ts';
import { TcpTable } from './tcp/table.ts';
import { datagram, UDP_HEADER, UdpTable } from './udp.ts';

/** An adapter, as the network needs to know it. */
export interface NatClient {
  /** What its address is reserved under; undefined: its MAC address. */
  readonly owner: string | undefined;
  /** A DNS label. */
  readonly hostName: string | undefined;
  readonly egress: Egress | undefined;
}

/** The switch, as the network sees it. */
export interface NatLink {
  send(frame: Frame, mac: number): void;
  /** Whether frames to the adapter find room now; `room` is called when they do again. */
  ready(mac: number): boolean;
  /** Whether the adapter takes nothing now. */
  stalled(mac: number): boolean;
  /** Undefined for a MAC address that is no adapter's own. */
  client(mac: number): NatClient | undefined;
  /** The adapter that has its address reserved under a name. */
  macOf(owner: string): number | undefined;
}

export interface NatPorts {
  readonly host: HostNetwork;
  readonly time: NetworkTime;
  readonly link: NatLink;
}

/** Where a guest's packet goes. */
type Route =
  | { readonly kind: 'connect'; readonly to: Endpoint }
  | { readonly kind: 'gateway' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'prohibited' };

/** Addresses seen on the wire that have no lease. */
const MOST_NEIGHBORS = 1024;
const FAST_TICK = 50;
const SLOW_TICK = 1000;
const LOOPBACK = '127.0.0.1';

export class Nat {
  readonly config: NatConfig;
  readonly #ports: NatPorts;
  readonly #leases: Leases;
  readonly #dhcp: DhcpServer;
  readonly #dns: DnsServer;
  readonly #icmp: IcmpRelay;
  readonly #udp: UdpTable;
  readonly #tcp: TcpTable;
  readonly #reassembly: Reassembly;
  readonly #forwards: Forwards;
  readonly #hostAddresses: HostAddresses;
  /** MAC addresses by IPv4 address, and leases that adapters have taken, by MAC address. */
  readonly #neighbors = new Map<number, number>();
  readonly #bound = new Map<number, number>();
  readonly #onBound: NatOptions['onBound'];
  #timer: { cancel: () => void; fast: boolean } | undefined;
  #identification = 0;
  #closed = false;
  readonly counters = { frames: 0, malformed: 0, foreign: 0, prohibited: 0, unsupported: 0 };

  constructor(options: NatOptions, ports: NatPorts) {
    const config = resolveNatOptions(options);
    const { host, time } = ports;
    const { gateway, limits } = config;
    this.config = config;
    this.#ports = ports;
    this.#onBound = options.onBound;
    this.#leases = new Leases(
      config.network,
      gateway,
      () => options.onLeases?.(this.#leases.save()),
      (owner) =>
        ports.link.macOf(owner) !== undefined || [...this.#bound.keys()].some((mac) => this.#ownerOf(mac) === owner),
    );
    if (options.leases !== undefined) this.#leases.load(options.leases);
    this.#dhcp = new DhcpServer(config, this.#leases);
    this.#dns = new DnsServer({ host, time, zone: this.#zone(), resolvers: config.resolvers });
    const deliver = (guest: number, mac: number, source: number, message: Uint8Array): void =>
      this.#send(mac, source, guest, Protocol.ICMP, message);
    this.#icmp = new IcmpRelay({ host, time, deliver });
    const visible = (address: string): number => this.#visible(address);
    this.#udp = new UdpTable(
      {
        host,
        time,
        visible,
        deliver: (guest, mac, source, bytes) => this.#sendDatagram(mac, source, guest, bytes),
      },
      limits.udpFlows,
      limits.adapterUdpFlows,
    );
    this.#reassembly = new Reassembly(time);
    this.#hostAddresses = new HostAddresses(
      () => host.addresses(),
      () => time.now(),
    );
    this.#tcp = new TcpTable(
      {
        time,
        mtu: config.mtu,
        gatewayMac: config.gatewayMac,
        random32: () => new DataView(host.random(4).slice().buffer).getUint32(0),
        send: (frame, mac) => ports.link.send(frame, mac),
        ready: (mac) => ports.link.ready(mac),
        stalled: (mac) => ports.link.stalled(mac),
        wake: () => this.#wake(true),
        open: (key, mac, syn) => this.#openStream(key, mac, syn),
        unreachable: (flow, sequence) => this.#unreachableFlow(flow, sequence, Unreachable.HOST),
      },
      limits,
    );
    this.#forwards = new Forwards({
      host,
      tcp: this.#tcp,
      udp: this.#udp,
      visible,
      locate: (target) => this.#locate(target),
    });
  }

  #zone(): ConstructorParameters<typeof DnsServer>[0]['zone'] {
    const { config } = this;
    return {
      domain: config.domain,
      lookup: (label) => {
        if (label === 'host' || label === 'gateway') return config.gateway;
        return this.#find((client) => client.hostName === label)?.address ?? this.#reservedFor(label);
      },
      reverse: (address) => {
        if (!inNetwork(address, config.network)) return null;
        if (address === config.gateway) return 'host';
        const mac = this.#neighbors.get(address);
        return mac === undefined ? undefined : this.#ports.link.client(mac)?.hostName;
      },
    };
  }

  // --------------------------------------------------------------------------------------------------------- the switch

  /** Whether an adapter may call the address its own: not the gateway's, and not one that another has. */
  mayUse(mac: number, address: number): boolean {
    const bound = this.#bound.get(mac);
    if (bound !== undefined) return address === bound;
    if (address === this.config.gateway) return false;
    const owner = this.#leases.ownerOf(address);
    return owner === undefined || owner === this.#ownerOf(mac);
  }

  /** An adapter has room again. */
  room(mac: number): void {
    this.#tcp.room(mac);
  }

  /** An adapter is gone. Its address stays reserved. */
  drop(mac: number): void {
    this.#tcp.drop(mac);
    this.#udp.drop(mac);
    this.#bound.delete(mac);
    for (const [address, of] of this.#neighbors) if (of === mac) this.#neighbors.delete(address);
  }

  /** A frame of an adapter that is for the gateway, or for all. */
  receive({ bytes, checksum }: Frame): void {
    if (this.#closed) return;
    this.counters.frames++;
    const mac = macAt(bytes, 6);
    const type = u16(bytes, 12);
    if (type === EtherType.ARP) return this.#arp(bytes, mac);
    if (type !== EtherType.IPV4) {
      this.counters.unsupported++;
      return;
    }
    const packet = parsePacket(bytes, ETHERNET_HEADER, checksum === 'complete');
    if (packet === undefined) {
      this.counters.malformed++;
      return;
    }
    if (packet.source === 0 || !this.#learn(packet.source, mac)) {
      // No address yet: only DHCP is for such a guest.
      if (packet.source === 0 && packet.protocol === Protocol.UDP) this.#receiveUdp(packet, mac);
      else this.counters.foreign++;
      return;
    }
    if (!packet.moreFragments && packet.fragmentOffset === 0) return this.#packet(packet, mac);
    const whole = this.#reassembly.add(packet, mac);
    if (whole !== undefined) this.#packet(whole, mac);
  }

  #arp(bytes: Uint8Array, mac: number): void {
    const arp = parseArp(bytes);
    if (arp === undefined || arp.senderMac !== mac) {
      this.counters.malformed++;
      return;
    }
    if (arp.senderIp !== 0) this.#learn(arp.senderIp, mac);
    const { gateway, gatewayMac } = this.config;
    if (arp.operation !== ArpOperation.REQUEST || arp.targetIp !== gateway) return;
    const reply = {
      operation: ArpOperation.REPLY,
      senderMac: gatewayMac,
      senderIp: gateway,
      targetMac: mac,
      targetIp: arp.senderIp,
    };
    this.#ports.link.send({ bytes: arpFrame(reply), segmentSize: 0, checksum: 'complete' }, mac);
  }

  /** Remembers who has an address of the network. @returns whether it may have it. */
  #learn(address: number, mac: number): boolean {
    const known = this.#neighbors.get(address);
    if (known === mac) return true;
    if (!inNetwork(address, this.config.network) || !this.mayUse(mac, address)) return false;
    if (known === undefined && this.#neighbors.size >= MOST_NEIGHBORS) return false;
    this.#neighbors.set(address, mac);
    return true;
  }

  #packet(packet: Packet, mac: number): void {
    switch (packet.protocol) {
      case Protocol.TCP:
        return this.#receiveTcp(packet, mac);
      case Protocol.UDP:
        return this.#receiveUdp(packet, mac);
      case Protocol.ICMP:
        return this.#receiveIcmp(packet, mac);
      default:
        this.counters.unsupported++;
        this.#refuse(packet, mac, Unreachable.PROTOCOL);
    }
  }

  /** Where a packet of a guest may go. */
  #route(protocol: EgressProtocol, address: number, port: number, mac: number): Route {
    const { config } = this;
    const egress = this.#ports.link.client(mac)?.egress;
    if (address === config.gateway) {
      if (protocol === 'icmp' || port === DNS_PORT) return { kind: 'gateway' };
      if (!config.hostAccess(protocol, port)) return { kind: 'closed' };
      if (egress?.allows(protocol, address, port) === false) return { kind: 'prohibited' };
      return { kind: 'connect', to: { address: LOOPBACK, port } };
    }
    const ours = inNetwork(address, config.network);
    if (ours || isLocalOnly(address) || this.#hostAddresses.has(address)) return { kind: 'prohibited' };
    if (egress?.allows(protocol, address, port) === false) return { kind: 'prohibited' };
    return { kind: 'connect', to: { address: ipText(address), port } };
  }

  // ---------------------------------------------------------------------------------------------------------------- TCP

  #receiveTcp(packet: Packet, mac: number): void {
    const segment = parseSegment(packet.bytes, packet.payload, packet.end);
    if (segment === undefined || packet.destination === 0xffff_ffff) {
      this.counters.malformed++;
      return;
    }
    this.#tcp.receive(segment, packet.source, packet.destination, mac);
  }

  #openStream(key: FlowKey, mac: number, syn: Segment): ((events: StreamEvents) => HostStream) | undefined {
    const route = this.#route('tcp', key.remoteAddress, key.remotePort, mac);
    const egress = this.#ports.link.client(mac)?.egress;
    if (route.kind === 'connect') return (events) => this.#ports.host.connect(route.to, events);
    if (route.kind === 'gateway') return (events) => this.#dns.stream(egress, events);
    if (route.kind === 'prohibited') {
      this.counters.prohibited++;
      this.#unreachableFlow({ key, mac }, syn.sequence, Unreachable.PROHIBITED);
    }
    this.#tcp.refuse(key, mac, syn.sequence);
    return undefined;
  }

  /** An ICMP error about the SYN of a connection, which is rebuilt as far as errors quote it. */
  #unreachableFlow({ key, mac }: FlowEnds, sequence: number, code: number): void {
    const ports = new Uint8Array(8);
    setU16(ports, 0, key.guestPort);
    setU16(ports, 2, key.remotePort);
    // Linux looks whether the number is of something that it has sent.
    setU32(ports, 4, sequence);
    const ends = { destinationMac: 0, sourceMac: 0, source: key.guestAddress, destination: key.remoteAddress };
    const [frame] = packetFrames(ends, Protocol.TCP, 0, ports, this.config.mtu);
    const packet = parsePacket(frame!, ETHERNET_HEADER, false);
    if (packet !== undefined) this.#refuse(packet, mac, code);
  }

  // ---------------------------------------------------------------------------------------------------------------- UDP

  #receiveUdp(packet: Packet, mac: number): void {
    const { bytes, payload, end } = packet;
    const length = end - payload < UDP_HEADER ? 0 : u16(bytes, payload + 4);
    if (length < UDP_HEADER || payload + length > end) {
      this.counters.malformed++;
      return;
    }
    const guestPort = u16(bytes, payload);
    const port = u16(bytes, payload + 2);
    const data = bytes.subarray(payload + UDP_HEADER, payload + length);
    const { source, destination } = packet;
    const { gateway } = this.config;
    if (port === DhcpPort.SERVER && (destination === 0xffff_ffff || destination === gateway))
      return this.#receiveDhcp(data, mac);
    if (source === 0 || this.#isBroadcast(destination)) return;
    const ends = { guestAddress: source, guestPort, remoteAddress: destination, remotePort: port };
    if (this.#udp.answer(ends, data)) return;
    const route = this.#route('udp', destination, port, mac);
    if (route.kind === 'connect') {
      this.#udp.send(ends, mac, data, route.to);
      this.#wake(false);
    } else if (route.kind === 'gateway') {
      const egress = this.#ports.link.client(mac)?.egress;
      this.#dns.query(data, egress, 'udp', (answer) =>
        this.#sendDatagram(mac, gateway, source, datagram(DNS_PORT, guestPort, answer)),
      );
    } else {
      if (route.kind === 'prohibited') this.counters.prohibited++;
      this.#refuse(packet, mac, route.kind === 'closed' ? Unreachable.PORT : Unreachable.PROHIBITED);
    }
  }

  #isBroadcast(address: number): boolean {
    const { network, prefix } = this.config.network;
    return address === 0xffff_ffff || address >>> 28 === 14 || address === (network | ~maskOf(prefix)) >>> 0;
  }

  #receiveDhcp(data: Uint8Array, mac: number): void {
    const { gateway } = this.config;
    const client = { owner: this.#ownerOf(mac), hostName: this.#ports.link.client(mac)?.hostName };
    const answer = this.#dhcp.receive(data, mac, client);
    if (answer === undefined) return;
    const { message, destination, broadcast, bound } = answer;
    if (bound !== undefined) this.#bind(mac, bound);
    const bytes = datagram(DhcpPort.SERVER, DhcpPort.CLIENT, message);
    this.#sendDatagram(mac, gateway, destination, bytes, broadcast ? BROADCAST : mac);
  }

  #bind(mac: number, address: number): void {
    const old = this.#bound.get(mac);
    if (old !== undefined && old !== address && this.#neighbors.get(old) === mac) this.#neighbors.delete(old);
    this.#bound.set(mac, address);
    this.#neighbors.set(address, mac);
    if (old !== address) this.#onBound?.(mac, ipText(address));
  }

  #ownerOf(mac: number): string {
    return this.#ports.link.client(mac)?.owner ?? `${ANONYMOUS}${macText(mac)}`;
  }

  // --------------------------------------------------------------------------------------------------------------- ICMP

  #receiveIcmp(packet: Packet, mac: number): void {
    if (!isEcho(packet) || this.#isBroadcast(packet.destination)) {
      this.counters.unsupported++;
      return;
    }
    const route = this.#route('icmp', packet.destination, 0, mac);
    if (route.kind === 'gateway') {
      this.#icmp.counters.answered++;
      this.#send(mac, packet.destination, packet.source, Protocol.ICMP, echoReply(packet));
    } else if (route.kind === 'connect') {
      this.#icmp.relay(packet, mac, route.to.address, () => this.#refuse(packet, mac, Unreachable.PROHIBITED));
      this.#wake(false);
    } else {
      this.counters.prohibited++;
      this.#refuse(packet, mac, Unreachable.PROHIBITED);
    }
  }

  #refuse(packet: Packet, mac: number, code: number): void {
    if (this.#isBroadcast(packet.destination)) return;
    this.#send(mac, this.config.gateway, packet.source, Protocol.ICMP, unreachable(packet, code));
  }

  // ------------------------------------------------------------------------------------------------------------- sending

  #sendDatagram(mac: number, source: number, destination: number, bytes: Uint8Array, destinationMac = mac): void {
    const sum = finish(add(pseudoHeader(source, destination, Protocol.UDP, bytes.length), bytes, 0, bytes.length));
    setU16(bytes, 6, sum === 0 ? 0xffff : sum);
    this.#send(mac, source, destination, Protocol.UDP, bytes, destinationMac);
  }

  #send(
    mac: number,
    source: number,
    destination: number,
    protocol: number,
    payload: Uint8Array,
    destinationMac = mac,
  ): void {
    if (this.#closed) return;
    const addresses = { destinationMac, sourceMac: this.config.gatewayMac, source, destination };
    this.#identification = (this.#identification + 1) & 0xffff;
    for (const bytes of packetFrames(addresses, protocol, this.#identification, payload, this.config.mtu))
      this.#ports.link.send({ bytes, segmentSize: 0, checksum: 'complete' }, mac);
  }

  // --------------------------------------------------------------------------------------------------------- from outside

  /** How a guest sees somebody on the host's side: by its address, or as the gateway where that means nothing to the guest. */
  #visible(address: string): number {
    const ip = parseIp(address.replace(/^::ffff:/i, ''));
    const { network, gateway } = this.config;
    if (ip === undefined || inNetwork(ip, network) || isLocalOnly(ip) || this.#hostAddresses.has(ip)) return gateway;
    return ip;
  }

  #locate(target: string): { address: number; mac: number } | undefined {
    const address = parseIp(target);
    if (address !== undefined) {
      const mac = this.#neighbors.get(address);
      if (mac === undefined) this.#ask(address);
      return mac === undefined ? undefined : { address, mac };
    }
    const found = this.#find(({ owner }) => target === '' || owner === target);
    if (found !== undefined) return found;
    // A guest that was restored has its address, but has not asked for it here.
    const mac = this.#ports.link.macOf(target);
    const reserved = this.#leases.addressOf(target);
    return mac === undefined || reserved === undefined ? undefined : { address: reserved, mac };
  }

  /** An adapter with an address of DHCP's, or else with one that it has given itself. */
  #find(matches: (client: NatClient) => boolean): { address: number; mac: number } | undefined {
    const { link } = this.#ports;
    const isIt = (mac: number): boolean => {
      const client = link.client(mac);
      return client !== undefined && matches(client);
    };
    for (const [mac, address] of this.#bound) if (isIt(mac)) return { address, mac };
    for (const [address, mac] of this.#neighbors) if (isIt(mac)) return { address, mac };
    return undefined;
  }

  /** The address of a connected adapter that had it before this network was here, and has not asked for it again. */
  #reservedFor(label: string): number | undefined {
    const { link } = this.#ports;
    for (const [owner, address] of this.#leases.entries()) {
      const mac = link.macOf(owner);
      if (mac !== undefined && link.client(mac)?.hostName === label) return address;
    }
    return undefined;
  }

  /** Asks who has an address; the answer is learned. */
  #ask(address: number): void {
    const { gateway, gatewayMac, network } = this.config;
    if (!inNetwork(address, network)) return;
    const request = {
      operation: ArpOperation.REQUEST,
      senderMac: gatewayMac,
      senderIp: gateway,
      targetMac: 0,
      targetIp: address,
    };
    this.#ports.link.send({ bytes: arpFrame(request), segmentSize: 0, checksum: 'complete' }, BROADCAST);
  }

  /** Listens on the host for a port of a guest. @throws ViridianError when the port cannot be had. */
  forward(forward: PortForward): Promise<Forward> {
    if (this.#closed) throw new ViridianError('wrongState', 'the network is closed');
    return this.#forwards.add(forward);
  }

  /** Gives a VM's adapter a certain address from now on. @throws ViridianError */
  reserve(owner: string, address: string): void {
    const ip = parseIp(address);
    if (ip === undefined) throw new ViridianError('invalid', `"${address}" is no IPv4 address`);
    this.#leases.reserve(owner, ip);
  }

  /** An adapter is known by another name from now on, and keeps its address. */
  renameOwner(owner: string, now: string): void {
    this.#leases.rename(owner, now);
  }

  /** Gives a reservation up. False: there is none. */
  forgetLease(owner: string): boolean {
    const there = this.#leases.addressOf(owner) !== undefined;
    this.#leases.forget(owner);
    return there;
  }

  get subnet(): string {
    const { network, prefix } = this.config.network;
    return `${ipText(network)}/${prefix}`;
  }

  get gateway(): string {
    return ipText(this.config.gateway);
  }

  reservedOf(owner: string): string | undefined {
    const address = this.#leases.addressOf(owner);
    return address === undefined ? undefined : ipText(address);
  }

  leases(): LeaseState {
    return this.#leases.save();
  }

  /** The address that an adapter has taken by DHCP. */
  addressOf(mac: number): string | undefined {
    const address = this.#bound.get(mac);
    return address === undefined ? undefined : ipText(address);
  }

  // ---------------------------------------------------------------------------------------------------------------- time

  #wake(fast: boolean): void {
    if (this.#closed || (this.#timer !== undefined && (this.#timer.fast || !fast))) return;
    this.#timer?.cancel();
    this.#timer = { cancel: this.#ports.time.after(fast ? FAST_TICK : SLOW_TICK, () => this.#tick()), fast };
  }

  #tick(): void {
    this.#timer = undefined;
    const now = this.#ports.time.now();
    this.#tcp.tick(now);
    this.#udp.tick(now);
    this.#icmp.tick(now);
    if (this.#tcp.hasDeadlines) this.#wake(true);
    else if (this.#tcp.size + this.#udp.size + this.#udp.peers + this.#icmp.pending > 0) this.#wake(false);
  }

  close(): void {
    this.#forwards.close();
    this.#tcp.close();
    this.#udp.close();
    this.#icmp.close();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#closed = true;
  }

  inspect(): InspectNode {
    const { config } = this;
    const leases: Record<string, string> = {};
    for (const [owner, address] of this.#leases.entries()) leases[owner] = ipText(address);
    const flows: Record<string, InspectNode> = {};
    for (const flow of this.#tcp.flows()) {
      const { guestAddress, guestPort, remoteAddress, remotePort } = flow.key;
      flows[`${ipText(guestAddress)}:${guestPort} ${ipText(remoteAddress)}:${remotePort}`] = flow.inspect();
      if (Object.keys(flows).length === 32) break;
    }
    return {
      subnet: this.subnet,
      gateway: this.gateway,
      domain: config.domain,
      ...this.counters,
      leases,
      forwards: this.#forwards.inspect(),
      fragments: { packets: this.#reassembly.size, dropped: this.#reassembly.dropped },
      dhcp: { ...this.#dhcp.counters },
      dns: { pending: this.#dns.pending, ...this.#dns.counters },
      icmp: { pending: this.#icmp.pending, ...this.#icmp.counters },
      udp: { ports: this.#udp.size, peers: this.#udp.peers, ...this.#udp.counters },
      tcp: { connections: this.#tcp.size, heldBytes: this.#tcp.held, ...this.#tcp.counters, flows },
    };
  }
}
