/**
 * Fragments of IPv4 packets put together again: RFC 791, section 3.2. A packet whose fragments overlap is dropped, as RFC
 * 5722 has it for IPv6: no honest sender makes them. What is kept is bounded, and forgotten after 30 seconds.
 */
import type { NetworkTime } from '../../host/network.ts';
import { IP_HEADER, MAX_PAYLOAD, type Packet } from './ipv4.ts';

const LIFETIME = 30_000;
/** Packets in pieces at a time, of all guests; one more drops the oldest. */
const MOST_PACKETS = 64;
const MOST_FRAGMENTS = 128;

interface Part {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

interface Partial {
  readonly since: number;
  readonly parts: Part[];
  /** Known when the last fragment has come. */
  length: number | undefined;
  received: number;
}

export class Reassembly {
  readonly #time: NetworkTime;
  readonly #packets = new Map<string, Partial>();
  dropped = 0;

  constructor(time: NetworkTime) {
    this.#time = time;
  }

  get size(): number {
    return this.#packets.size;
  }

  /** Adds a fragment of the sender at `mac`. @returns the packet when this completes it. */
  add(packet: Packet, mac: number): Packet | undefined {
    const now = this.#time.now();
    const key = `${mac} ${packet.source} ${packet.destination} ${packet.protocol} ${packet.identification}`;
    this.#expire(now);
    let partial = this.#packets.get(key);
    if (partial === undefined) {
      if (this.#packets.size >= MOST_PACKETS) this.#drop(this.#packets.keys().next().value!);
      partial = { since: now, parts: [], length: undefined, received: 0 };
      this.#packets.set(key, partial);
    }
    // The frame's memory is not held for a few bytes of it.
    const bytes = packet.bytes.slice(packet.payload, packet.end);
    if (!insert(partial, { offset: packet.fragmentOffset, bytes }, packet.moreFragments)) {
      this.#drop(key);
      return undefined;
    }
    if (partial.length === undefined || partial.received < partial.length) return undefined;
    this.#packets.delete(key);
    return whole(packet, partial);
  }

  #expire(now: number): void {
    for (const [key, { since }] of this.#packets) {
      if (now - since < LIFETIME) return;
      this.#drop(key);
    }
  }

  #drop(key: string): void {
    this.#packets.delete(key);
    this.dropped++;
  }
}

/** False when the fragment cannot belong to an honest packet. */
function insert(partial: Partial, part: Part, more: boolean): boolean {
  const { parts } = partial;
  const end = part.offset + part.bytes.length;
  if (part.bytes.length === 0 || end > MAX_PAYLOAD || (more && part.bytes.length % 8 !== 0)) return false;
  if (!more) {
    if (partial.length !== undefined && partial.length !== end) return false;
    partial.length = end;
  }
  let at = parts.length;
  while (at > 0 && parts[at - 1]!.offset > part.offset) at--;
  const before = parts[at - 1];
  const after = parts[at];
  // The same once more is a copy that the network made.
  if (before !== undefined && before.offset === part.offset && before.bytes.length === part.bytes.length) return true;
  if (before !== undefined && before.offset + before.bytes.length > part.offset) return false;
  if (after !== undefined && end > after.offset) return false;
  if (parts.length >= MOST_FRAGMENTS) return false;
  parts.splice(at, 0, part);
  partial.received += part.bytes.length;
  const last = parts.at(-1)!;
  return partial.length === undefined || last.offset + last.bytes.length <= partial.length;
}

function whole(packet: Packet, { parts, received }: Partial): Packet {
  const bytes = new Uint8Array(IP_HEADER + received);
  bytes.set(packet.bytes.subarray(packet.header, packet.header + IP_HEADER));
  for (const part of parts) bytes.set(part.bytes, IP_HEADER + part.offset);
  return {
    ...packet,
    fragmentOffset: 0,
    moreFragments: false,
    bytes,
    header: 0,
    payload: IP_HEADER,
    end: bytes.length,
  };
}
