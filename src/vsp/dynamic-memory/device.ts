/**
 * Dynamic memory: the guest gives pages back (a balloon), gets them again, and gets more, until it has what it is to have.
 * Pages in the balloon are the host's; they read as zeroes, and the guest may not use them until it has them back.
 */
import { asArray, asBoolean, asRecord, asWhole } from '../../support/plain.ts';
import type { InspectNode } from '../../vid/ports.ts';
import type { Channel, ChannelDevice, ChannelOffer } from '../../vmbus/ports.ts';
import { PacketFlag, PacketType } from '../../vmbus/protocol.ts';
import { type Packet, viewOf } from '../../vmbus/ring.ts';
import { type MemoryRange, Pressure } from './pressure.ts';
import {
  ACCEPTED,
  BalloonResponse,
  Capabilities,
  DYNAMIC_MEMORY_INSTANCE,
  DYNAMIC_MEMORY_TYPE,
  HEADER,
  HotAddResponse,
  MemoryMessage,
  RANGE_SIZE,
  RANGES_PER_REQUEST,
  Request,
  StatusReport,
  VERSIONS,
} from './protocol.ts';

/** Pages asked for at a time, so that an answer comes soon: 256 MiB. */
const STEP = 65536;
/** The least that is added at a time: 2 MiB. */
const LEAST_UNIT = 512;

/** Memory that the guest does not have at the start. */
export interface MoreMemory {
  /** Its first page, and how many there are. */
  readonly first: number;
  readonly pages: number;
  /** How many of them are there, from the first on; a reset takes them away. */
  backed(): number;
  /** So many of them are to be there. */
  back(pages: number): void;
}

export interface MemoryPorts {
  /** Pages of RAM at the start, from page 0. */
  readonly pages: number;
  /** Pages that the guest has given back read as zeroes from here on; false when the host could not take them. */
  release(page: number, count: number): boolean;
  readonly more: MoreMemory;
  /** The guest has what it needs within these bounds. Undefined: what it had at the start, or was told to have. */
  readonly range: MemoryRange | undefined;
}

export interface MemoryStatus {
  /** Pages, all of them. What the guest has, */
  readonly assigned: number;
  /** needs, */
  readonly demand: number;
  /** could give, */
  readonly available: number;
  /** is to have; */
  readonly target: number;
  readonly minimum: number;
  readonly maximum: number;
  /** what of its memory the host has. */
  readonly returned: number;
}

type Phase = 'closed' | 'negotiating' | 'idle' | 'inflating' | 'deflating' | 'adding';
const PHASES: readonly Phase[] = ['closed', 'negotiating', 'idle', 'inflating', 'deflating', 'adding'];
const PAGES_PER_MIB = 256;

export class DynamicMemory implements ChannelDevice {
  readonly name = 'dynamic-memory';
  readonly offer: ChannelOffer = { type: DYNAMIC_MEMORY_TYPE, instance: DYNAMIC_MEMORY_INSTANCE };
  readonly #ports: MemoryPorts;
  /** A bit for each page in the balloon. */
  readonly #balloon: Uint32Array;
  #channel: Channel | undefined;
  #phase: Phase = 'closed';
  #ballooned = 0;
  /** Pages that the guest is to have. */
  #target: number;
  /** By what it needs. */
  #automatic: boolean;
  readonly #pressure: Pressure | undefined;
  /** Pages that it was asked for and has not given yet: what it gives is taken, whatever it is to have by then. */
  #asked = 0;
  /** Pages of added memory that the guest has taken. */
  #taken = 0;
  /** What is added at a time, in pages; 0 when the guest takes none, or none any more. */
  #unit = 0;
  /** The host has what is in the balloon. */
  #given = true;
  /** The guest has said that it has no more to give; it is asked again when its status or the wish changes. */
  #exhausted = false;
  #available = 0;
  #committed = 0;
  #id = 0;
  readonly #counters = { requests: 0, malformed: 0 };

  constructor(ports: MemoryPorts) {
    this.#ports = ports;
    const { pages, more, range } = ports;
    this.#balloon = new Uint32Array(Math.ceil((more.pages > 0 ? more.first + more.pages : pages) / 32));
    this.#target = pages;
    this.#automatic = range !== undefined;
    this.#pressure = range && new Pressure(range);
  }

  get ready(): boolean {
    return this.#phase !== 'closed' && this.#phase !== 'negotiating';
  }

  get #bounds(): MemoryRange {
    return this.#ports.range ?? { minimum: 0, maximum: this.#ports.pages };
  }

  /** Pages of added memory that the guest has. */
  get #added(): number {
    return Math.min(this.#taken, this.#ports.more.backed());
  }

  get #assigned(): number {
    return this.#ports.pages + this.#added - this.#ballooned;
  }

  /** Guests count what they have given back among what they need. */
  get #demand(): number {
    return Math.max(0, this.#committed - this.#ballooned);
  }

  get status(): MemoryStatus {
    return {
      assigned: this.#assigned,
      demand: this.#demand,
      available: this.#available,
      target: this.#target,
      ...this.#bounds,
      returned: this.#given ? this.#ballooned : 0,
    };
  }

  /** The guest is to have so many pages, within bounds; it gives what it can spare. Undefined: what it needs. */
  setTarget(pages: number | undefined): void {
    const { minimum, maximum } = this.#bounds;
    this.#automatic = pages === undefined && this.#pressure !== undefined;
    this.#pressure?.reset();
    if (!this.#automatic) this.#target = Math.max(minimum, Math.min(maximum, Math.floor(pages ?? this.#ports.pages)));
    this.#exhausted = false;
    this.#next();
  }

  #next(): void {
    if (this.#phase !== 'idle') return;
    const excess = this.#assigned - this.#target;
    if (excess > 0 && !this.#exhausted) this.#inflate(Math.min(excess, STEP));
    else if (excess < 0 && this.#ballooned > 0) this.#deflate(Math.min(-excess, STEP));
    else if (excess < 0) this.#add(-excess);
  }

  /** In units that the guest can take, the last one as much as there is. What is too much of it goes into the balloon. */
  #add(pages: number): void {
    const { more } = this.#ports;
    const added = this.#added;
    const left = more.pages - added;
    if (this.#unit === 0 || left <= 0 || (more.first + added) % this.#unit !== 0) return;
    const count = Math.min(Math.ceil(Math.min(pages, STEP) / this.#unit) * this.#unit, left);
    const body = new Uint8Array(RANGE_SIZE);
    viewOf(body).setBigUint64(0, BigInt(more.first + added) | (BigInt(count) << 40n), true);
    // It is there before the guest hears of it.
    more.back(added + count);
    if (!this.#send(MemoryMessage.HOT_ADD_REQUEST, body)) return;
    this.#phase = 'adding';
    this.#counters.requests++;
  }

  #inflate(pages: number): void {
    const body = new Uint8Array(8);
    viewOf(body).setUint32(0, pages, true);
    if (!this.#send(MemoryMessage.BALLOON_REQUEST, body)) return;
    this.#phase = 'inflating';
    this.#asked = pages;
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
    for (let page = 0; page < this.#balloon.length * 32 && left > 0; page++) {
      if (this.#balloon[page >>> 5] === 0) {
        page |= 31;
        continue;
      }
      if (!this.#inside(page)) continue;
      const last = ranges.at(-1);
      if (last && last[0] + last[1] === page) last[1]++;
      else if (ranges.length === most) break;
      else ranges.push([page, 1]);
      left--;
    }
    return ranges;
  }

  #inside(page: number): boolean {
    return (((this.#balloon[page >>> 5] as number) >>> (page & 31)) & 1) === 1;
  }

  #mark(first: number, count: number, inside: boolean): void {
    for (let page = first; page < first + count; page++) {
      if (this.#inside(page) === inside) continue;
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
    this.#taken = this.#ports.more.backed();
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

  capabilities(view: DataView): boolean {
    const body = new Uint8Array(8);
    body[0] = ACCEPTED;
    this.#send(MemoryMessage.CAPABILITIES_RESPONSE, body);
    if (this.#phase !== 'negotiating') return false;
    const value = view.getUint32(Capabilities.VALUE, true);
    const shift = (value >>> Capabilities.ALIGNMENT_SHIFT) & Capabilities.ALIGNMENT_MASK;
    this.#unit = (value & Capabilities.HOT_ADD) === 0 ? 0 : Math.max(LEAST_UNIT, PAGES_PER_MIB << shift);
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
    if (this.#automatic && this.#pressure) this.#target = this.#pressure.next(this.#demand, this.#target);
    this.#next();
    return true;
  }

  balloonResponse(view: DataView): boolean {
    if (this.#phase !== 'inflating') return false;
    const word = view.getUint32(BalloonResponse.COUNT, true);
    const count = Math.min(word >>> 1, Math.floor((view.byteLength - BalloonResponse.RANGES) / RANGE_SIZE));
    const before = this.#ballooned;
    for (let i = 0; i < count && this.#asked > 0; i++) {
      const range = view.getBigUint64(BalloonResponse.RANGES + i * RANGE_SIZE, true);
      const first = Number(range & 0xff_ffff_ffffn);
      // Not more than was asked for, and only what there is.
      const pages = Math.min(Number(range >> 40n), this.#has(first), this.#asked);
      if (pages === 0) continue;
      if (this.#ballooned === 0) this.#given = true;
      const held = this.#ballooned;
      this.#mark(first, pages, true);
      this.#asked -= this.#ballooned - held;
      this.#given = this.#ports.release(first, pages) && this.#given;
    }
    if ((word & 1) !== 0) return true;
    this.#exhausted = this.#ballooned === before;
    this.#phase = 'idle';
    this.#next();
    return true;
  }

  /** How many pages the guest has from this one on, in the balloon or not. */
  #has(page: number): number {
    const { pages, more } = this.#ports;
    if (page < pages) return pages - page;
    return page >= more.first ? Math.max(0, more.first + this.#added - page) : 0;
  }

  hotAddResponse(view: DataView): boolean {
    if (this.#phase !== 'adding') return false;
    const { more } = this.#ports;
    const before = this.#added;
    this.#taken = Math.min(before + view.getUint32(HotAddResponse.PAGES, true), more.backed());
    // A guest that takes none, or only a part, has said that it can no more.
    if (this.#taken < more.backed()) this.#unit = 0;
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
    this.#unit = 0;
    this.#pressure?.reset();
    if (this.#automatic) this.#target = this.#ports.pages;
  }

  // ---- state ----------------------------------------------------------------------------------------------------------

  inspect(): InspectNode {
    return {
      state: this.#phase,
      automatic: this.#automatic,
      ...this.status,
      ballooned: this.#ballooned,
      added: this.#added,
      ...this.#counters,
    };
  }

  save(): unknown {
    return {
      version: 2,
      phase: this.#phase,
      target: this.#target,
      automatic: this.#automatic,
      taken: this.#added,
      asked: this.#asked,
      unit: this.#unit,
      exhausted: this.#exhausted,
      available: this.#available,
      committed: this.#committed,
      id: this.#id,
      balloon: this.#ranges(this.#ballooned, Number.POSITIVE_INFINITY),
    };
  }

  restore(saved: unknown, channels: readonly Channel[]): void {
    const what = 'dynamic memory';
    const state = asRecord(saved, what);
    const { version, phase, exhausted, available, committed, id, balloon } = state;
    if ((version !== 1 && version !== 2) || !PHASES.includes(phase as Phase))
      throw new RangeError(`${what} makes no sense`);
    this.#channel = channels[0];
    this.#phase = this.#channel ? (phase as Phase) : 'closed';
    const { pages, more } = this.#ports;
    if (version === 1) {
      const wanted = asWhole(state.wanted, what, pages);
      this.#target = pages - wanted;
      this.#asked = Math.min(wanted, STEP);
    } else {
      this.#target = asWhole(state.target, what, pages + more.pages);
      this.#automatic = asBoolean(state.automatic, what) && this.#pressure !== undefined;
      this.#taken = asWhole(state.taken, what, more.backed());
      this.#asked = asWhole(state.asked, what, STEP);
      this.#unit = asWhole(state.unit, what, PAGES_PER_MIB << Capabilities.ALIGNMENT_MASK);
    }
    this.#exhausted = asBoolean(exhausted, what);
    this.#available = asWhole(available, what);
    this.#committed = asWhole(committed, what);
    this.#id = asWhole(id, what, 0xffff_ffff);
    for (const range of asArray(balloon, what)) {
      const [page, count] = asArray(range, what);
      const first = asWhole(page, what);
      this.#mark(first, asWhole(count, what, this.#has(first)), true);
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
  [MemoryMessage.CAPABILITIES_REPORT, { size: HEADER + 8, run: (memory, view) => memory.capabilities(view) }],
  [MemoryMessage.STATUS_REPORT, { size: StatusReport.SIZE, run: (memory, view) => memory.statusReport(view) }],
  [MemoryMessage.BALLOON_RESPONSE, { size: BalloonResponse.SIZE, run: (memory, view) => memory.balloonResponse(view) }],
  [MemoryMessage.HOT_ADD_RESPONSE, { size: HotAddResponse.SIZE, run: (memory, view) => memory.hotAddResponse(view) }],
  [MemoryMessage.UNBALLOON_RESPONSE, { size: HEADER, run: (memory) => memory.unballoonResponse() }],
]);
