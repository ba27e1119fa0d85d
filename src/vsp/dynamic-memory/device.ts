/**
 * Dynamic memory: the guest gives pages back (a balloon), and gets them again, until it has what it is to have. Pages in
 * the balloon are zeroed; the guest may not use them until it has them back.
 */
import { asArray, asBoolean, asRecord, asWhole } from '../../support/plain.ts';
import type { InspectNode } from '../../vid/ports.ts';
import type { Channel, ChannelDevice, ChannelOffer } from '../../vmbus/ports.ts';
import { PacketFlag, PacketType } from '../../vmbus/protocol.ts';
import { type Packet, viewOf } from '../../vmbus/ring.ts';
import {
  ACCEPTED,
  BalloonResponse,
  DYNAMIC_MEMORY_INSTANCE,
  DYNAMIC_MEMORY_TYPE,
  HEADER,
  MemoryMessage,
  RANGE_SIZE,
  RANGES_PER_REQUEST,
  Request,
  StatusReport,
  VERSIONS,
} from './protocol.ts';

/** Pages asked for at a time, so that an answer comes soon: 256 MiB. */
const STEP = 65536;

export interface MemoryPorts {
  /** Pages of RAM, from page 0. */
  readonly pages: number;
  /** Zeroes pages that the guest has given back. */
  clear(page: number, count: number): void;
}

type Phase = 'closed' | 'negotiating' | 'idle' | 'inflating' | 'deflating';
const PHASES: readonly Phase[] = ['closed', 'negotiating', 'idle', 'inflating', 'deflating'];

export class DynamicMemory implements ChannelDevice {
  readonly name = 'dynamic-memory';
  readonly offer: ChannelOffer = { type: DYNAMIC_MEMORY_TYPE, instance: DYNAMIC_MEMORY_INSTANCE };
  readonly #ports: MemoryPorts;
  /** A bit for each page in the balloon. */
  readonly #balloon: Uint32Array;
  #channel: Channel | undefined;
  #phase: Phase = 'closed';
  #ballooned = 0;
  /** Pages that are to be in the balloon. */
  #wanted = 0;
  /** The guest has said that it has no more to give; it is asked again when its status or the wish changes. */
  #exhausted = false;
  #available = 0;
  #committed = 0;
  #id = 0;
  readonly #counters = { requests: 0, malformed: 0 };

  constructor(ports: MemoryPorts) {
    this.#ports = ports;
    this.#balloon = new Uint32Array(Math.ceil(ports.pages / 32));
  }

  get ready(): boolean {
    return this.#phase !== 'closed' && this.#phase !== 'negotiating';
  }

  /** Pages that the guest has, is short of (its committed memory), and could give. */
  get status(): { readonly assigned: number; readonly committed: number; readonly available: number } {
    return { assigned: this.#ports.pages - this.#ballooned, committed: this.#committed, available: this.#available };
  }

  /** The guest is to have so many pages; it gives what it can spare. */
  setTarget(pages: number): void {
    this.#wanted = Math.max(0, Math.min(this.#ports.pages, this.#ports.pages - Math.floor(pages)));
    this.#exhausted = false;
    this.#next();
  }

  #next(): void {
    if (this.#phase !== 'idle') return;
    const difference = this.#wanted - this.#ballooned;
    if (difference > 0 && !this.#exhausted) this.#inflate(Math.min(difference, STEP));
    else if (difference < 0) this.#deflate(Math.min(-difference, STEP));
  }

  #inflate(pages: number): void {
    const body = new Uint8Array(8);
    viewOf(body).setUint32(0, pages, true);
    if (!this.#send(MemoryMessage.BALLOON_REQUEST, body)) return;
    this.#phase = 'inflating';
    this.#counters.requests++;
  }

  /** One message at a time: the answer to it asks for the next. */
  #deflate(pages: number): void {
    const ranges = this.#ranges(pages, RANGES_PER_REQUEST);
    const view = viewOf(new Uint8Array(8 + ranges.length * RANGE_SIZE));
    view.setUint32(4, ranges.length, true);
    ranges.forEach(([page, count], i) => {
      view.setBigUint64(8 + i * RANGE_SIZE, BigInt(page) | (BigInt(count) << 40n), true);
    });
    if (!this.#send(MemoryMessage.UNBALLOON_REQUEST, new Uint8Array(view.buffer))) return;
    // From here on the guest may use them.
    for (const [page, count] of ranges) this.#mark(page, count, false);
    this.#phase = 'deflating';
    this.#counters.requests++;
  }

  /** The first ranges of the balloon, of so many pages together. */
  #ranges(pages: number, most: number): [page: number, count: number][] {
    const ranges: [number, number][] = [];
    let left = pages;
    for (let page = 0; page < this.#ports.pages && left > 0; page++) {
      if (this.#balloon[page >>> 5] === 0) {
        page |= 31;
        continue;
      }
      if (!this.#has(page)) continue;
      const last = ranges.at(-1);
      if (last && last[0] + last[1] === page) last[1]++;
      else if (ranges.length === most) break;
      else ranges.push([page, 1]);
      left--;
    }
    return ranges;
  }

  #has(page: number): boolean {
    return (((this.#balloon[page >>> 5] as number) >>> (page & 31)) & 1) === 1;
  }

  #mark(first: number, count: number, inside: boolean): void {
    for (let page = first; page < first + count; page++) {
      if (this.#has(page) === inside) continue;
      const bit = 1 << (page & 31);
      const word = this.#balloon[page >>> 5] as number;
      this.#balloon[page >>> 5] = inside ? word | bit : word & ~bit;
      this.#ballooned += inside ? 1 : -1;
    }
  }

  #send(type: number, body: Uint8Array): boolean {
    const payload = new Uint8Array(HEADER + body.length);
    const view = viewOf(payload);
    view.setUint16(0, type, true);
    view.setUint16(2, payload.length, true);
    this.#id = (this.#id + 1) >>> 0;
    view.setUint32(4, this.#id, true);
    payload.set(body, HEADER);
    return this.#channel?.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload }) ?? false;
  }

  // ---- the channel ----------------------------------------------------------------------------------------------------

  opened(channel: Channel): void {
    this.#channel = channel;
    this.#phase = 'negotiating';
  }

  received(packet: Packet, channel: Channel): void {
    if ((packet.flags & PacketFlag.COMPLETION_REQUESTED) !== 0)
      channel.complete(packet.transactionId, new Uint8Array());
    const view = viewOf(packet.payload);
    const whole = packet.type === PacketType.DATA_IN_BAND && view.byteLength >= HEADER;
    const handler = whole ? HANDLERS.get(view.getUint16(0, true)) : undefined;
    if (!handler || view.byteLength < handler.size || !handler.run(this, view)) this.#counters.malformed++;
  }

  versionRequest(view: DataView): boolean {
    const accepted = VERSIONS.includes(view.getUint32(Request.VALUE, true));
    const body = new Uint8Array(8);
    body[0] = accepted ? ACCEPTED : 0;
    this.#send(MemoryMessage.VERSION_RESPONSE, body);
    return this.#phase === 'negotiating';
  }

  capabilities(): boolean {
    const body = new Uint8Array(8);
    body[0] = ACCEPTED;
    this.#send(MemoryMessage.CAPABILITIES_RESPONSE, body);
    if (this.#phase !== 'negotiating') return false;
    this.#phase = 'idle';
    this.#next();
    return true;
  }

  statusReport(view: DataView): boolean {
    const pages = (at: number): number => Math.min(Number(view.getBigUint64(at, true)), Number.MAX_SAFE_INTEGER);
    const available = pages(StatusReport.AVAILABLE);
    if (available > this.#available) this.#exhausted = false;
    this.#available = available;
    this.#committed = pages(StatusReport.COMMITTED);
    this.#next();
    return true;
  }

  balloonResponse(view: DataView): boolean {
    if (this.#phase !== 'inflating') return false;
    const word = view.getUint32(BalloonResponse.COUNT, true);
    const count = Math.min(word >>> 1, Math.floor((view.byteLength - BalloonResponse.RANGES) / RANGE_SIZE));
    let room = Math.max(0, this.#wanted - this.#ballooned);
    const before = this.#ballooned;
    for (let i = 0; i < count && room > 0; i++) {
      const range = view.getBigUint64(BalloonResponse.RANGES + i * RANGE_SIZE, true);
      const first = Number(range & 0xff_ffff_ffffn);
      if (first >= this.#ports.pages) continue;
      // Not more than was asked for, and only what there is.
      const pages = Math.min(Number(range >> 40n), this.#ports.pages - first, room);
      this.#mark(first, pages, true);
      this.#ports.clear(first, pages);
      room = Math.max(0, this.#wanted - this.#ballooned);
    }
    if ((word & 1) !== 0) return true;
    this.#exhausted = this.#ballooned === before;
    this.#phase = 'idle';
    this.#next();
    return true;
  }

  unballoonResponse(): boolean {
    if (this.#phase !== 'deflating') return false;
    this.#phase = 'idle';
    this.#next();
    return true;
  }

  writable(): void {
    this.#next();
  }

  closed(): void {
    this.#channel = undefined;
    this.#phase = 'closed';
    // A guest that forgets its driver forgets its balloon; a reset one has all its memory.
    this.#balloon.fill(0);
    this.#ballooned = 0;
    this.#exhausted = false;
    this.#available = 0;
    this.#committed = 0;
  }

  // ---- state ----------------------------------------------------------------------------------------------------------

  inspect(): InspectNode {
    return { state: this.#phase, ...this.status, wanted: this.#wanted, ballooned: this.#ballooned, ...this.#counters };
  }

  save(): unknown {
    return {
      version: 1,
      phase: this.#phase,
      wanted: this.#wanted,
      exhausted: this.#exhausted,
      available: this.#available,
      committed: this.#committed,
      id: this.#id,
      balloon: this.#ranges(this.#ballooned, Number.POSITIVE_INFINITY),
    };
  }

  restore(saved: unknown, channels: readonly Channel[]): void {
    const what = 'dynamic memory';
    const { version, phase, wanted, exhausted, available, committed, id, balloon } = asRecord(saved, what);
    if (version !== 1 || !PHASES.includes(phase as Phase)) throw new RangeError(`${what} makes no sense`);
    this.#channel = channels[0];
    this.#phase = this.#channel ? (phase as Phase) : 'closed';
    this.#wanted = asWhole(wanted, what, this.#ports.pages);
    this.#exhausted = asBoolean(exhausted, what);
    this.#available = asWhole(available, what);
    this.#committed = asWhole(committed, what);
    this.#id = asWhole(id, what, 0xffff_ffff);
    for (const range of asArray(balloon, what)) {
      const [page, count] = asArray(range, what);
      const first = asWhole(page, what, this.#ports.pages);
      this.#mark(first, asWhole(count, what, this.#ports.pages - first), true);
    }
  }
}

interface Handler {
  readonly size: number;
  /** False when it makes no sense now. */
  readonly run: (memory: DynamicMemory, view: DataView) => boolean;
}

const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [MemoryMessage.VERSION_REQUEST, { size: Request.SIZE, run: (memory, view) => memory.versionRequest(view) }],
  [MemoryMessage.CAPABILITIES_REPORT, { size: HEADER + 8, run: (memory) => memory.capabilities() }],
  [MemoryMessage.STATUS_REPORT, { size: StatusReport.SIZE, run: (memory, view) => memory.statusReport(view) }],
  [MemoryMessage.BALLOON_RESPONSE, { size: BalloonResponse.SIZE, run: (memory, view) => memory.balloonResponse(view) }],
  [MemoryMessage.UNBALLOON_RESPONSE, { size: HEADER, run: (memory) => memory.unballoonResponse() }],
]);
