/**
 * UDP of guests over the host's sockets: RFC 768, with the behaviour that RFC 4787 asks of a NAT. A guest's port has one
 * socket of the host, whomever it sends to; what comes back is let through from addresses that the guest has sent to. A
 * port that has been silent for a while is forgotten.
 */
import type { Endpoint, HostDatagrams, HostListener, HostNetwork, NetworkTime } from '../../host/network.ts';
import { setU16 } from '../ethernet.ts';

export const UDP_HEADER = 8;

export interface UdpEndpoints {
  readonly guestAddress: number;
  readonly guestPort: number;
  readonly remoteAddress: number;
  readonly remotePort: number;
}

export interface UdpPorts {
  readonly host: HostNetwork;
  readonly time: NetworkTime;
  /** Sends a datagram (header and payload) to a guest. */
  deliver(guestAddress: number, mac: number, remoteAddress: number, datagram: Uint8Array): void;
  /** The address under which a guest sees a peer on the host's side. */
  visible(address: string): number;
}

/** RFC 4787, REQ-5: two minutes. */
const LIFETIME = 120_000;
const MOST_REMOTES = 64;
/** Datagrams that wait for a socket to open. */
const MOST_WAITING = 16;
/** Peers of forwarded ports, all together. */
const MOST_PEERS = 512;

interface UdpFlow {
  readonly mac: number;
  readonly guestAddress: number;
  readonly guestPort: number;
  socket: HostDatagrams | undefined;
  waiting: { bytes: Uint8Array; to: Endpoint }[];
  /** Addresses that the guest has sent to: how it sees them. */
  readonly remotes: Map<string, number>;
  used: number;
  closed: boolean;
}

interface Peer {
  readonly endpoint: Endpoint;
  readonly socket: () => HostDatagrams | undefined;
  used: number;
}

export class UdpTable {
  readonly #ports: UdpPorts;
  readonly #flows = new Map<number, UdpFlow>();
  readonly #perAdapter = new Map<number, number>();
  /** Who speaks to a guest's forwarded port, by the four numbers of its datagrams. */
  readonly #peers = new Map<string, Peer>();
  readonly #limit: number;
  readonly #adapterLimit: number;
  readonly counters = { received: 0, sent: 0, refused: 0, filtered: 0, failed: 0 };

  constructor(ports: UdpPorts, limit: number, adapterLimit: number) {
    this.#ports = ports;
    this.#limit = limit;
    this.#adapterLimit = adapterLimit;
  }

  get size(): number {
    return this.#flows.size;
  }

  get peers(): number {
    return this.#peers.size;
  }

  /** From a guest, to an endpoint of the host's side. The bytes do not change. */
  send(from: UdpEndpoints, mac: number, payload: Uint8Array, to: Endpoint): void {
    const flow = this.#flow(from, mac);
    if (flow === undefined) {
      this.counters.refused++;
      return;
    }
    flow.used = this.#ports.time.now();
    if (!flow.remotes.has(to.address) && flow.remotes.size >= MOST_REMOTES)
      flow.remotes.delete(flow.remotes.keys().next().value!);
    flow.remotes.set(to.address, from.remoteAddress);
    this.counters.sent++;
    if (flow.socket !== undefined) flow.socket.send(payload, to);
    else if (flow.waiting.length < MOST_WAITING) flow.waiting.push({ bytes: payload, to });
  }

  /** An answer to somebody who came through a port forward. @returns whether it is one. */
  answer(from: UdpEndpoints, payload: Uint8Array): boolean {
    const peer = this.#peers.get(keyOf(from));
    if (peer === undefined) return false;
    peer.used = this.#ports.time.now();
    this.counters.sent++;
    peer.socket()?.send(payload, peer.endpoint);
    return true;
  }

  #flow({ guestAddress, guestPort }: UdpEndpoints, mac: number): UdpFlow | undefined {
    const key = guestAddress * 0x1_0000 + guestPort;
    const known = this.#flows.get(key);
    if (known !== undefined && known.mac === mac) return known;
    if (known !== undefined) this.#close(key, known);
    const ofAdapter = this.#perAdapter.get(mac) ?? 0;
    if (this.#flows.size >= this.#limit || ofAdapter >= this.#adapterLimit) return undefined;
    const flow: UdpFlow = {
      mac,
      guestAddress,
      guestPort,
      socket: undefined,
      waiting: [],
      remotes: new Map(),
      used: this.#ports.time.now(),
      closed: false,
    };
    this.#flows.set(key, flow);
    this.#perAdapter.set(mac, ofAdapter + 1);
    this.#ports.host
      .datagrams(undefined, (bytes, sender) => this.#receive(flow, bytes, sender))
      .then(
        (socket) => {
          if (flow.closed) return socket.close();
          flow.socket = socket;
          for (const { bytes, to } of flow.waiting) socket.send(bytes, to);
          flow.waiting = [];
        },
        () => {
          this.counters.failed++;
          if (!flow.closed) this.#close(key, flow);
        },
      );
    return flow;
  }

  #receive(flow: UdpFlow, bytes: Uint8Array, sender: Endpoint): void {
    const remote = flow.remotes.get(sender.address);
    if (flow.closed) return;
    if (remote === undefined) {
      this.counters.filtered++;
      return;
    }
    flow.used = this.#ports.time.now();
    this.counters.received++;
    this.#ports.deliver(flow.guestAddress, flow.mac, remote, datagram(sender.port, flow.guestPort, bytes));
  }

  /**
   * Listens on the host for a guest's port.
   * @param guest where the guest is now; undefined: nowhere, what comes is dropped.
   */
  async forward(
    at: Endpoint,
    guestPort: number,
    guest: () => { readonly address: number; readonly mac: number } | undefined,
  ): Promise<HostListener> {
    let socket: HostDatagrams | undefined;
    const opened = await this.#ports.host.datagrams(at, (bytes, sender) => {
      const target = guest();
      if (target === undefined) return;
      const visible = this.#peerPort(target.address, guestPort, sender, () => socket);
      if (visible === undefined) {
        this.counters.refused++;
        return;
      }
      this.counters.received++;
      this.#ports.deliver(target.address, target.mac, visible.address, datagram(visible.port, guestPort, bytes));
    });
    socket = opened;
    return {
      port: opened.port,
      close: () => {
        for (const [key, peer] of this.#peers) if (peer.socket() === opened) this.#peers.delete(key);
        socket = undefined;
        opened.close();
      },
    };
  }

  /** How a guest sees a peer: its own address and port, or the gateway's with a port that nobody else has. */
  #peerPort(
    guestAddress: number,
    guestPort: number,
    endpoint: Endpoint,
    socket: () => HostDatagrams | undefined,
  ): { address: number; port: number } | undefined {
    const remoteAddress = this.#ports.visible(endpoint.address);
    let remotePort = endpoint.port;
    for (let tries = 0; tries < 64; tries++) {
      const key = keyOf({ guestAddress, guestPort, remoteAddress, remotePort });
      const known = this.#peers.get(key);
      if (known === undefined) {
        if (this.#peers.size >= MOST_PEERS) return undefined;
        this.#peers.set(key, { endpoint, socket, used: this.#ports.time.now() });
        return { address: remoteAddress, port: remotePort };
      }
      if (
        known.endpoint.address === endpoint.address &&
        known.endpoint.port === endpoint.port &&
        known.socket() === socket()
      ) {
        known.used = this.#ports.time.now();
        return { address: remoteAddress, port: remotePort };
      }
      remotePort = remotePort === 0xffff ? 1024 : remotePort + 1;
    }
    return undefined;
  }

  tick(now: number): void {
    for (const [key, flow] of this.#flows) if (now - flow.used > LIFETIME) this.#close(key, flow);
    for (const [key, peer] of this.#peers) if (now - peer.used > LIFETIME) this.#peers.delete(key);
  }

  /** The adapter is gone. */
  drop(mac: number): void {
    for (const [key, flow] of this.#flows) if (flow.mac === mac) this.#close(key, flow);
  }

  close(): void {
    for (const [key, flow] of this.#flows) this.#close(key, flow);
    this.#peers.clear();
  }

  #close(key: number, flow: UdpFlow): void {
    flow.closed = true;
    flow.socket?.close();
    flow.waiting = [];
    this.#flows.delete(key);
    const left = (this.#perAdapter.get(flow.mac) ?? 1) - 1;
    if (left > 0) this.#perAdapter.set(flow.mac, left);
    else this.#perAdapter.delete(flow.mac);
  }
}

function keyOf({ guestAddress, guestPort, remoteAddress, remotePort }: UdpEndpoints): string {
  return `${guestAddress}:${guestPort} ${remoteAddress}:${remotePort}`;
}

/** Header and payload; the checksum is put where the addresses are known. */
export function datagram(sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(UDP_HEADER + payload.length);
  setU16(bytes, 0, sourcePort);
  setU16(bytes, 2, destinationPort);
  setU16(bytes, 4, bytes.length);
  bytes.set(payload, UDP_HEADER);
  return bytes;
}
