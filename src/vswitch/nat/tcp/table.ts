/**
 * All TCP connections of a NAT network: finds the one that a segment belongs to, opens new ones within the limits, writes
 * segments as frames, and puts acknowledgments off until a batch of frames has been taken.
 */
import type { HostStream, NetworkTime, StreamEvents, StreamFailure } from '../../../host/network.ts';
import { ETHERNET_HEADER, Protocol, setU16, setU32 } from '../../ethernet.ts';
import type { Frame } from '../../port.ts';
import { IP_HEADER, putHeaders } from '../ipv4.ts';
import { Flow } from './flow.ts';
import type { AckingFlow, FlowEnds, FlowKey, FlowPorts } from './ports.ts';
import { Flag, type Segment, TCP_HEADER } from './segment.ts';

const HEADERS = ETHERNET_HEADER + IP_HEADER + TCP_HEADER;

export interface TcpLimits {
  /** Connections of all guests, and of one adapter. */
  readonly flows: number;
  readonly adapterFlows: number;
  /** Bytes that all connections hold together, before each is held to little. */
  readonly buffers: number;
  /** Bytes that one connection holds in each direction. */
  readonly flowBuffer: number;
}

export interface TcpPorts {
  readonly time: NetworkTime;
  readonly mtu: number;
  readonly gatewayMac: number;
  random32(): number;
  send(frame: Frame, mac: number): void;
  ready(mac: number): boolean;
  stalled(mac: number): boolean;
  /** Something is to be done when time passes. */
  wake(): void;
  /** Opens the host's side of a connection that a guest asks for; undefined: refused, and the guest has been told. */
  open(key: FlowKey, mac: number, syn: Segment): ((events: StreamEvents) => HostStream) | undefined;
  /** An ICMP error for a connection that cannot be opened; `sequence` is that of its SYN. */
  unreachable(flow: FlowEnds, sequence: number): void;
}

/** Bytes in each direction that are allowed whatever the others do. */
const LEAST_BUFFER = 32 * 1024;

export class TcpTable implements FlowPorts {
  readonly #ports: TcpPorts;
  readonly #limits: TcpLimits;
  /** By the guest's address and port, then by the other end's. */
  readonly #flows = new Map<number, Map<number, Flow>>();
  readonly #all = new Set<Flow>();
  readonly #perAdapter = new Map<number, number>();
  #acks: AckingFlow[] = [];
  #held = 0;
  #identification = 0;
  readonly mss: number;
  readonly largest: number;
  readonly counters = {
    opened: 0,
    accepted: 0,
    refused: 0,
    failed: 0,
    overLimit: 0,
    stray: 0,
    malformed: 0,
    retransmitted: 0,
    bytesReceived: 0,
    bytesSent: 0,
  };
  readonly #flushAcks = (): void => {
    const flows = this.#acks;
    this.#acks = [];
    for (const flow of flows) flow.flushAck();
  };

  constructor(ports: TcpPorts, limits: TcpLimits) {
    this.#ports = ports;
    this.#limits = limits;
    this.mss = ports.mtu - IP_HEADER - TCP_HEADER;
    // A whole number of segments, so that a guest which has them cut gets no odd ones in the middle.
    this.largest = Math.floor((0xffff - IP_HEADER - TCP_HEADER) / this.mss) * this.mss;
  }

  get size(): number {
    return this.#all.size;
  }

  get held(): number {
    return this.#held;
  }

  flows(): IterableIterator<Flow> {
    return this.#all.values();
  }

  /** A segment of a guest. */
  receive(segment: Segment, guestAddress: number, remoteAddress: number, mac: number): void {
    const flow = this.#find(guestAddress, segment.sourcePort, remoteAddress, segment.destinationPort);
    const isNew = (segment.flags & (Flag.SYN | Flag.ACK | Flag.RST)) === Flag.SYN;
    if (flow !== undefined && flow.mac === mac && !(isNew && flow.yieldsTo(segment))) return flow.receive(segment);
    flow?.drop();
    const key = { guestAddress, guestPort: segment.sourcePort, remoteAddress, remotePort: segment.destinationPort };
    if (isNew) return this.#open(key, mac, segment);
    this.counters.stray++;
    if ((segment.flags & Flag.RST) === 0) this.#resetStray(key, mac, segment);
  }

  #find(guestAddress: number, guestPort: number, remoteAddress: number, remotePort: number): Flow | undefined {
    return this.#flows.get(guestAddress * 0x1_0000 + guestPort)?.get(remoteAddress * 0x1_0000 + remotePort);
  }

  #open(key: FlowKey, mac: number, syn: Segment): void {
    if (!this.#hasRoom(mac)) {
      // Not answered: the guest tries again, and there may be room then.
      this.counters.overLimit++;
      return;
    }
    const flow = new Flow(key, mac, this, this.#ports.random32());
    const open = this.#ports.open(key, mac, syn);
    if (open === undefined) {
      this.counters.refused++;
      return;
    }
    this.#add(flow);
    this.counters.opened++;
    flow.openFromGuest(syn, open);
    this.#ports.wake();
  }

  /** A stream has come from the host for a guest's port. @returns undefined when there is no room for it. */
  accept(key: FlowKey, mac: number, stream: HostStream): Flow | undefined {
    let { remotePort } = key;
    for (let tries = 0; this.#find(key.guestAddress, key.guestPort, key.remoteAddress, remotePort); tries++) {
      if (tries === 64) return undefined;
      remotePort = remotePort === 0xffff ? 1024 : remotePort + 1;
    }
    if (!this.#hasRoom(mac)) {
      this.counters.overLimit++;
      return undefined;
    }
    const flow = new Flow({ ...key, remotePort }, mac, this, this.#ports.random32());
    this.#add(flow);
    this.counters.accepted++;
    flow.openFromHost(stream);
    this.#ports.wake();
    return flow;
  }

  #hasRoom(mac: number): boolean {
    const { flows, adapterFlows } = this.#limits;
    if (this.#all.size < flows && (this.#perAdapter.get(mac) ?? 0) < adapterFlows) return true;
    // Connections that have ended and only wait for stragglers make room.
    for (const flow of this.#all) {
      if (flow.state !== 'timeWait' || (this.#all.size < flows && flow.mac !== mac)) continue;
      flow.drop();
      return true;
    }
    return false;
  }

  #add(flow: Flow): void {
    const { guestAddress, guestPort, remoteAddress, remotePort } = flow.key;
    const guest = guestAddress * 0x1_0000 + guestPort;
    let remotes = this.#flows.get(guest);
    if (remotes === undefined) {
      remotes = new Map();
      this.#flows.set(guest, remotes);
    }
    remotes.set(remoteAddress * 0x1_0000 + remotePort, flow);
    this.#all.add(flow);
    this.#perAdapter.set(flow.mac, (this.#perAdapter.get(flow.mac) ?? 0) + 1);
  }

  tick(now: number): void {
    for (const flow of this.#all) flow.tick(now);
  }

  /** Whether some connection waits for a time to come soon. */
  get hasDeadlines(): boolean {
    for (const flow of this.#all) if (flow.deadline !== undefined) return true;
    return false;
  }

  /** An adapter takes frames again. */
  room(mac: number): void {
    for (const flow of this.#all) if (flow.mac === mac) flow.pump();
  }

  /** The adapter is gone. */
  drop(mac: number): void {
    for (const flow of this.#all) if (flow.mac === mac) flow.drop();
  }

  close(): void {
    for (const flow of this.#all) flow.drop();
  }

  // ------------------------------------------------------------------------------------------ what connections are given

  now(): number {
    return this.#ports.time.now();
  }

  get sendLimit(): number {
    return this.#share();
  }

  get receiveLimit(): number {
    return this.#share();
  }

  /** All have much while all together hold less than half of what they may; little when they hold more. */
  #share(): number {
    const { buffers, flowBuffer } = this.#limits;
    const free = buffers - this.#held;
    if (free > buffers / 2) return flowBuffer;
    return Math.max(LEAST_BUFFER, Math.floor((flowBuffer * free * 2) / buffers));
  }

  charge(bytes: number): void {
    this.#held += bytes;
  }

  ready(flow: FlowEnds): boolean {
    return this.#ports.ready(flow.mac);
  }

  stalled(flow: FlowEnds): boolean {
    return this.#ports.stalled(flow.mac);
  }

  ackLater(flow: AckingFlow): void {
    if (this.#acks.push(flow) === 1) queueMicrotask(this.#flushAcks);
  }

  transmit(
    flow: FlowEnds,
    sequence: number,
    acknowledgment: number,
    flags: number,
    window: number,
    options?: Uint8Array,
    payload?: Uint8Array,
    inPlace = false,
    mss = 0,
  ): void {
    const headers = HEADERS + (options?.length ?? 0);
    const length = payload?.length ?? 0;
    let bytes: Uint8Array;
    if (inPlace && payload !== undefined)
      bytes = new Uint8Array(payload.buffer, payload.byteOffset - headers, headers + length);
    else {
      bytes = new Uint8Array(headers + length);
      if (payload !== undefined) bytes.set(payload, headers);
    }
    const { guestAddress: destination, remoteAddress: source, guestPort, remotePort } = flow.key;
    const at = ETHERNET_HEADER + IP_HEADER;
    setU16(bytes, at, remotePort);
    setU16(bytes, at + 2, guestPort);
    setU32(bytes, at + 4, sequence);
    setU32(bytes, at + 8, acknowledgment);
    bytes[at + 12] = ((headers - at) / 4) << 4;
    bytes[at + 13] = flags;
    setU16(bytes, at + 14, window);
    setU32(bytes, at + 16, 0);
    if (options !== undefined) bytes.set(options, at + TCP_HEADER);
    const addresses = { destinationMac: flow.mac, sourceMac: this.#ports.gatewayMac, source, destination };
    this.#identification = (this.#identification + 1) & 0xffff;
    putHeaders(bytes, addresses, Protocol.TCP, this.#identification);
    this.#ports.send({ bytes, segmentSize: length > mss ? mss : 0, checksum: 'partial' }, flow.mac);
    if (length > 0) this.#ports.wake();
  }

  refused(flow: FlowEnds, failure: StreamFailure, acknowledgment: number): void {
    this.counters.failed++;
    // A guest whose peer does not answer finds out by itself, as it would without us.
    if (failure === 'timeout') return;
    if (failure === 'unreachable' || failure === 'denied') this.#ports.unreachable(flow, (acknowledgment - 1) >>> 0);
    this.transmit(flow, 0, acknowledgment, Flag.RST | Flag.ACK, 0);
  }

  reset(flow: FlowEnds, sequence: number): void {
    this.transmit(flow, sequence, 0, Flag.RST, 0);
  }

  /** RFC 9293, section 3.10.7.1: a segment for a connection that is not there. */
  #resetStray(key: FlowKey, mac: number, { flags, sequence, acknowledgment, payload }: Segment): void {
    const length = payload.length + ((flags & Flag.SYN) !== 0 ? 1 : 0) + ((flags & Flag.FIN) !== 0 ? 1 : 0);
    if ((flags & Flag.ACK) !== 0) this.transmit({ key, mac }, acknowledgment, 0, Flag.RST, 0);
    else this.transmit({ key, mac }, 0, (sequence + length) >>> 0, Flag.RST | Flag.ACK, 0);
  }

  /** A SYN for what nobody listens to. */
  refuse(key: FlowKey, mac: number, sequence: number): void {
    this.transmit({ key, mac }, 0, (sequence + 1) >>> 0, Flag.RST | Flag.ACK, 0);
  }

  ended(flow: Flow): void {
    const { guestAddress, guestPort, remoteAddress, remotePort } = flow.key;
    const guest = guestAddress * 0x1_0000 + guestPort;
    const remotes = this.#flows.get(guest);
    const remote = remoteAddress * 0x1_0000 + remotePort;
    if (remotes?.get(remote) === flow) remotes.delete(remote);
    if (remotes?.size === 0) this.#flows.delete(guest);
    if (!this.#all.delete(flow)) return;
    const left = (this.#perAdapter.get(flow.mac) ?? 1) - 1;
    if (left > 0) this.#perAdapter.set(flow.mac, left);
    else this.#perAdapter.delete(flow.mac);
  }

  received(bytes: number): void {
    this.counters.bytesReceived += bytes;
  }

  sent(bytes: number): void {
    this.counters.bytesSent += bytes;
  }

  repeated(): void {
    this.counters.retransmitted++;
  }
}
