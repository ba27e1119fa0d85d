/**
 * ICMP: RFC 792. Echo requests to the gateway are answered here; those to the world go over the host where it lets its users
 * send them. Errors tell a guest why something of it cannot be delivered.
 */
import type { HostEcho, HostNetwork, NetworkTime } from '../../host/network.ts';
import { add, finish } from '../checksum.ts';
import { parseIp, setU16, u16 } from '../ethernet.ts';
import type { Packet } from './ipv4.ts';

export const IcmpType = { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO: 8 } as const;
/** RFC 1812, section 5.2.7.1. */
export const Unreachable = { HOST: 1, PROTOCOL: 2, PORT: 3, PROHIBITED: 13 } as const;
const ICMP_HEADER = 8;
/** RFC 1812, section 4.3.2.3: as much of the packet as an error may carry. */
const MOST_QUOTED = 548;

export interface IcmpPorts {
  readonly host: HostNetwork;
  readonly time: NetworkTime;
  /** Sends an ICMP message to a guest. */
  deliver(guestAddress: number, mac: number, source: number, message: Uint8Array): void;
}

interface Pending {
  readonly mac: number;
  readonly guestAddress: number;
  readonly target: number;
  readonly identifier: number;
  readonly sequence: number;
  readonly since: number;
}

const LIFETIME = 10_000;
const MOST_PENDING = 512;

export class IcmpRelay {
  readonly #ports: IcmpPorts;
  /** By the sequence number that the request has on the host's side. */
  readonly #pending = new Map<number, Pending>();
  #sequence = 0;
  #echo: Promise<HostEcho | undefined> | undefined;
  #closed = false;
  readonly counters = { answered: 0, relayed: 0, replies: 0, refused: 0 };

  constructor(ports: IcmpPorts) {
    this.#ports = ports;
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** To somewhere outside. @returns false at once or later (`refuse`) when it cannot be sent. */
  relay(packet: Packet, mac: number, to: string, refuse: () => void): void {
    const { bytes, payload, end } = packet;
    if (this.#pending.size >= MOST_PENDING) {
      this.counters.refused++;
      return;
    }
    this.#echo ??= this.#ports.host.echo((address, sequence, data) => this.#reply(address, sequence, data));
    const pending: Pending = {
      mac,
      guestAddress: packet.source,
      target: packet.destination,
      identifier: u16(bytes, payload + 4),
      sequence: u16(bytes, payload + 6),
      since: this.#ports.time.now(),
    };
    this.#sequence = (this.#sequence + 1) & 0xffff;
    const sequence = this.#sequence;
    this.#pending.set(sequence, pending);
    const data = bytes.slice(payload + ICMP_HEADER, end);
    void this.#echo.then((echo) => {
      if (this.#closed) return;
      if (echo === undefined) {
        this.#pending.delete(sequence);
        this.counters.refused++;
        refuse();
      } else {
        this.counters.relayed++;
        echo.send(to, sequence, data);
      }
    });
  }

  #reply(address: string, sequence: number, data: Uint8Array): void {
    const pending = this.#pending.get(sequence);
    if (pending === undefined || this.#closed || parseIp(address) === undefined) return;
    this.#pending.delete(sequence);
    this.counters.replies++;
    const message = new Uint8Array(ICMP_HEADER + data.length);
    message[0] = IcmpType.ECHO_REPLY;
    setU16(message, 4, pending.identifier);
    setU16(message, 6, pending.sequence);
    message.set(data, ICMP_HEADER);
    seal(message);
    this.#ports.deliver(pending.guestAddress, pending.mac, pending.target, message);
  }

  tick(now: number): void {
    for (const [sequence, { since }] of this.#pending) if (now - since > LIFETIME) this.#pending.delete(sequence);
  }

  close(): void {
    this.#closed = true;
    this.#pending.clear();
    void this.#echo?.then((echo) => echo?.close());
  }
}

function seal(message: Uint8Array): void {
  setU16(message, 2, 0);
  setU16(message, 2, finish(add(0, message, 0, message.length)));
}

/** Whether it is an echo request that is whole, with the right checksum. */
export function isEcho({ bytes, payload, end }: Packet): boolean {
  if (end - payload < ICMP_HEADER || bytes[payload] !== IcmpType.ECHO || bytes[payload + 1] !== 0) return false;
  return finish(add(0, bytes, payload, end)) === 0;
}

/** The reply to an echo request. */
export function echoReply({ bytes, payload, end }: Packet): Uint8Array {
  const message = bytes.slice(payload, end);
  message[0] = IcmpType.ECHO_REPLY;
  seal(message);
  return message;
}

/** An error about a packet. */
export function unreachable({ bytes, header, end }: Packet, code: number): Uint8Array {
  const quoted = bytes.subarray(header, Math.min(end, header + MOST_QUOTED));
  const message = new Uint8Array(ICMP_HEADER + quoted.length);
  message[0] = IcmpType.UNREACHABLE;
  message[1] = code;
  message.set(quoted, ICMP_HEADER);
  seal(message);
  return message;
}
