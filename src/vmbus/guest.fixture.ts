/**
 * For tests: a bus over plain memory with a clock turned by hand, and a guest's side of it (VSC), as Linux has it: its
 * messages, its buffers, its ends of the rings.
 */
import { VmBus, type VmBusOptions } from './bus.ts';
import { VmbusMailbox, vmbusMailbox } from './mailbox.ts';
import type { Timers, VmbusMemory, VmbusPorts } from './ports.ts';
import {
  EVENT_CONNECTION,
  MESSAGE_CONNECTION_MULTIPLEXED,
  MESSAGE_HEADER,
  MessageType,
  Offer,
  PACKET_HEADER,
  PACKET_TRAILER,
  PAGE_SIZE,
  RING_DATA,
  RingField,
  VERSIONS,
} from './protocol.ts';
import { encodePacket, type OutgoingPacket, type Packet, viewOf } from './ring.ts';

export class TestMemory implements VmbusMemory {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.words = new DataView(this.bytes.buffer);
  }
  isRam(gpa: number, length: number): boolean {
    return gpa >= 0 && gpa + length <= this.bytes.length;
  }
  view(gpa: number, length: number): Uint8Array | undefined {
    return this.isRam(gpa, length) ? this.bytes.subarray(gpa, gpa + length) : undefined;
  }
  written(): void {}
  #check(gpa: number, length: number): void {
    if (!this.isRam(gpa, length)) throw new RangeError(`no RAM at ${gpa}`);
  }
  read(gpa: number, length: number): Uint8Array {
    this.#check(gpa, length);
    return this.bytes.slice(gpa, gpa + length);
  }
  readInto(gpa: number, into: Uint8Array): void {
    into.set(this.read(gpa, into.length));
  }
  write(gpa: number, bytes: Uint8Array): void {
    this.#check(gpa, bytes.length);
    this.bytes.set(bytes, gpa);
  }
  load32(gpa: number): number {
    this.#check(gpa, 4);
    return this.words.getUint32(gpa, true);
  }
  store32(gpa: number, value: number): void {
    this.#check(gpa, 4);
    this.words.setUint32(gpa, value, true);
  }
}

/** Timers that go off when a test says that time has passed. */
export class ManualTimers implements Timers {
  now = 0;
  #waiting: { readonly at: number; readonly callback: () => void }[] = [];

  after(milliseconds: number, callback: () => void): () => void {
    const entry = { at: this.now + milliseconds, callback };
    this.#waiting.push(entry);
    return () => {
      this.#waiting = this.#waiting.filter((other) => other !== entry);
    };
  }
  get count(): number {
    return this.#waiting.length;
  }
  advance(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (;;) {
      const next = this.#waiting.filter((entry) => entry.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#waiting = this.#waiting.filter((other) => other !== next);
      this.now = next.at;
      next.callback();
    }
    this.now = end;
  }
}

export interface TestBusOptions extends VmBusOptions {
  readonly pages?: number;
  readonly processors?: number;
  /** Messages that the guest's slot and queue hold before a post is `full`. */
  readonly slots?: number;
}

export class TestBus {
  readonly memory: TestMemory;
  readonly timers = new ManualTimers();
  readonly mailbox: VmbusMailbox;
  readonly bus: VmBus;
  /** What the guest's processors have been told and not looked at. */
  readonly messages: { readonly vp: number; readonly sint: number; readonly payload: Uint8Array }[] = [];
  readonly flags = new Set<string>();
  readonly defects: unknown[] = [];
  readonly deferred: (() => void)[] = [];
  slots: number;
  synic = true;
  readonly #options: TestBusOptions;

  constructor(options: TestBusOptions = {}) {
    this.#options = options;
    this.memory = new TestMemory((options.pages ?? 1024) * PAGE_SIZE);
    this.slots = options.slots ?? 64;
    this.mailbox = new VmbusMailbox(vmbusMailbox.view(new SharedArrayBuffer(vmbusMailbox.size)));
    this.bus = new VmBus(this.ports(), this.mailbox, options);
  }

  ports(): VmbusPorts {
    return {
      memory: this.memory,
      timers: this.timers,
      processors: this.#options.processors ?? 2,
      ramSize: this.memory.bytes.length,
      postMessage: (vp, sint, type, payload) => {
        if (type !== 1 || payload.length > 240) throw new Error('not a channel message');
        if (!this.synic) return 'inactive';
        if (this.messages.length >= this.slots) return 'full';
        this.messages.push({ vp, sint, payload: payload.slice() });
        return 'accepted';
      },
      setEventFlag: (vp, sint, flag) => {
        this.flags.add(`${vp}.${sint}.${flag}`);
      },
      defer: (callback) => {
        this.deferred.push(callback);
      },
      defect: (error) => {
        this.defects.push(error);
      },
    };
  }

  /** Runs the parent until it has nothing to do. */
  run(): void {
    this.bus.service();
    for (let n = 0; this.deferred.length > 0 && n < 10_000; n++) this.deferred.shift()?.();
  }
}

export interface GuestOffer {
  readonly relid: number;
  readonly type: Uint8Array;
  readonly instance: Uint8Array;
  readonly subIndex: number;
  readonly connection: number;
}

/** 32-bit words behind a message's header. */
export function message(type: number, ...body: readonly number[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(MESSAGE_HEADER + body.length * 4));
  view.setUint32(0, type, true);
  body.forEach((word, i) => {
    view.setUint32(MESSAGE_HEADER + i * 4, word, true);
  });
  return new Uint8Array(view.buffer);
}

export class TestGuest {
  readonly host: TestBus;
  connection = MESSAGE_CONNECTION_MULTIPLEXED;
  #nextPage = 16;
  #nextGpadl = 1;

  constructor(host: TestBus) {
    this.host = host;
  }

  /** Posts a message; the hypercall's status. */
  post(bytes: Uint8Array): number | undefined {
    const status = this.host.mailbox.postMessage(this.connection, 1, bytes);
    this.host.run();
    return status;
  }

  /** The next message from the host. @throws when there is none, or it is of another type. */
  expect(type: number): DataView {
    const next = this.host.messages.shift();
    this.host.run();
    if (!next) throw new Error(`no message, where ${type} was expected`);
    const view = viewOf(next.payload);
    if (view.getUint32(0, true) !== type) throw new Error(`message ${view.getUint32(0, true)}, not ${type}`);
    return view;
  }

  /** True when the host agrees. */
  contact(version: number = VERSIONS['5.3'], vp = 0): boolean {
    this.connection = version >= VERSIONS['5.0'] ? MESSAGE_CONNECTION_MULTIPLEXED : 1;
    this.post(message(MessageType.INITIATE_CONTACT, version, vp, 2, 0, 0, 0, 0, 0));
    return this.expect(MessageType.VERSION_RESPONSE).getUint8(8) === 1;
  }

  offers(): GuestOffer[] {
    this.post(message(MessageType.REQUEST_OFFERS));
    const offers: GuestOffer[] = [];
    while (viewOf(this.host.messages[0]?.payload ?? new Uint8Array(4)).getUint32(0, true) === MessageType.OFFER_CHANNEL)
      offers.push(this.offer());
    this.expect(MessageType.ALL_OFFERS_DELIVERED);
    return offers;
  }

  offer(): GuestOffer {
    const view = this.expect(MessageType.OFFER_CHANNEL);
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    return {
      relid: view.getUint32(Offer.RELID, true),
      type: bytes.slice(Offer.TYPE, Offer.TYPE + 16),
      instance: bytes.slice(Offer.INSTANCE, Offer.INSTANCE + 16),
      subIndex: view.getUint16(Offer.SUB_CHANNEL, true),
      connection: view.getUint32(Offer.CONNECTION, true),
    };
  }

  /** Shares pages as one range; the messages Linux would send. */
  gpadlMessages(relid: number, gpadl: number, pages: readonly number[]): Uint8Array[] {
    const words = [pages.length * PAGE_SIZE, 0, ...pages.flatMap((page) => [page, 0])];
    const bytes = words.length * 4;
    const first = message(
      MessageType.GPADL_HEADER,
      relid,
      gpadl,
      (bytes & 0xffff) | (1 << 16),
      ...words.slice(0, 2 + 26 * 2),
    );
    const rest: Uint8Array[] = [];
    for (let at = 2 + 26 * 2; at < words.length; at += 28 * 2)
      rest.push(message(MessageType.GPADL_BODY, 0, gpadl, ...words.slice(at, at + 28 * 2)));
    return [first, ...rest];
  }

  /** Pages that were shared before are the next to be shared. */
  reuse(pages: readonly number[]): void {
    this.#nextPage = Math.min(...pages);
  }

  /** Shares new pages: the buffer's id, and the pages. */
  gpadl(relid: number, count: number): { readonly id: number; readonly pages: number[] } {
    // Not in the order of their addresses, as memory from vmalloc is not.
    const pages = Array.from({ length: count }, (_, i) => this.#nextPage + (count - 1 - i));
    this.#nextPage += count;
    const id = this.#nextGpadl++;
    for (const bytes of this.gpadlMessages(relid, id, pages)) this.post(bytes);
    const created = this.expect(MessageType.GPADL_CREATED);
    if (created.getUint32(16, true) !== 0) throw new Error(`GPADL status ${created.getUint32(16, true)}`);
    return { id, pages };
  }

  /** Opens a channel with rings of so many pages each. */
  open(offer: GuestOffer, ringPages = 4, vp = 0): GuestChannel {
    const { id, pages } = this.gpadl(offer.relid, ringPages * 2);
    for (const page of pages) this.host.memory.bytes.fill(0, page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    this.post(
      message(MessageType.OPEN_CHANNEL, offer.relid, offer.relid, id, vp, ringPages, ...new Array<number>(30).fill(0)),
    );
    const status = this.expect(MessageType.OPEN_CHANNEL_RESULT).getUint32(16, true);
    if (status !== 0) throw new Error(`open status ${status}`);
    return new GuestChannel(this, offer, id, pages);
  }
}

/** A channel that the guest has open. */
export class GuestChannel {
  readonly guest: TestGuest;
  readonly offer: GuestOffer;
  readonly gpadl: number;
  readonly pages: readonly number[];
  /** Data bytes of one ring. */
  readonly size: number;
  readonly #half: number;

  constructor(guest: TestGuest, offer: GuestOffer, gpadl: number, pages: readonly number[]) {
    this.guest = guest;
    this.offer = offer;
    this.gpadl = gpadl;
    this.pages = pages;
    this.#half = pages.length / 2;
    this.size = (this.#half - 1) * PAGE_SIZE;
  }

  /** Guest-physical address of a byte of a ring; data begin at RING_DATA. */
  address(ring: 'out' | 'in', offset: number): number {
    const page = Math.floor(offset / PAGE_SIZE) + (ring === 'in' ? this.#half : 0);
    return (this.pages[page] as number) * PAGE_SIZE + (offset % PAGE_SIZE);
  }
  field(ring: 'out' | 'in', field: number): number {
    return this.guest.host.memory.load32(this.address(ring, field));
  }
  setField(ring: 'out' | 'in', field: number, value: number): void {
    this.guest.host.memory.store32(this.address(ring, field), value);
  }
  /** The parts of a ring's data, page by page: guest-physical address, offset from `at`, length. */
  #parts(
    ring: 'out' | 'in',
    at: number,
    length: number,
    body: (gpa: number, done: number, count: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const offset = (at + done) % this.size;
      const count = Math.min(length - done, PAGE_SIZE - (offset % PAGE_SIZE));
      body(this.address(ring, RING_DATA + offset), done, count);
      done += count;
    }
  }
  #copyOut(at: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#parts('in', at, length, (gpa, done, count) => {
      bytes.set(this.guest.host.memory.bytes.subarray(gpa, gpa + count), done);
    });
    return bytes;
  }

  /** Puts bytes into the outgoing ring, with their trailer; false when there is no room. */
  put(bytes: Uint8Array): boolean {
    const { memory } = this.guest.host;
    const write = this.field('out', RingField.WRITE_INDEX);
    const used = (write - this.field('out', RingField.READ_INDEX) + this.size) % this.size;
    if (this.size - used <= bytes.length + PACKET_TRAILER) return false;
    const all = new Uint8Array(bytes.length + PACKET_TRAILER);
    all.set(bytes);
    viewOf(all).setUint32(bytes.length + 4, write, true);
    this.#parts('out', write, all.length, (gpa, done, count) => {
      memory.bytes.set(all.subarray(done, done + count), gpa);
    });
    this.setField('out', RingField.WRITE_INDEX, (write + all.length) % this.size);
    return true;
  }

  /** Sends a packet and signals, as Linux does: only when the ring was empty and the host has not masked it. */
  send(packet: OutgoingPacket): boolean {
    const empty = this.field('out', RingField.WRITE_INDEX) === this.field('out', RingField.READ_INDEX);
    if (!this.put(encodePacket(packet))) return false;
    if (empty && this.field('out', RingField.INTERRUPT_MASK) === 0) this.signal();
    return true;
  }

  signal(): number | undefined {
    const status = this.guest.host.mailbox.signalEvent(EVENT_CONNECTION | this.offer.relid, 0);
    this.guest.host.run();
    return status;
  }

  /** Takes a packet from the incoming ring; signals when the host waits for room. */
  receive(): Packet | undefined {
    const read = this.field('in', RingField.READ_INDEX);
    const available = (this.field('in', RingField.WRITE_INDEX) - read + this.size) % this.size;
    if (available === 0) return undefined;
    const header = viewOf(this.#copyOut(read, PACKET_HEADER));
    const offset = header.getUint16(2, true) * 8;
    const length = header.getUint16(4, true) * 8;
    const trailer = viewOf(this.#copyOut(read + length, PACKET_TRAILER));
    if (trailer.getUint32(4, true) !== read) throw new Error('the trailer does not say where its packet began');
    const body = this.#copyOut(read + PACKET_HEADER, length - PACKET_HEADER);
    const before = this.size - available;
    this.setField('in', RingField.READ_INDEX, (read + length + PACKET_TRAILER) % this.size);
    const pending = this.field('in', RingField.PENDING_SEND_SIZE);
    const after = before + length + PACKET_TRAILER;
    if (pending !== 0 && before <= pending && after > pending) this.signal();
    return {
      type: header.getUint16(0, true),
      flags: header.getUint16(6, true),
      transactionId: header.getBigUint64(8, true),
      descriptor: body.subarray(0, offset - PACKET_HEADER),
      payload: body.subarray(offset - PACKET_HEADER),
    };
  }

  close(): void {
    this.guest.post(message(MessageType.CLOSE_CHANNEL, this.offer.relid));
  }
  teardown(): void {
    this.guest.post(message(MessageType.GPADL_TEARDOWN, this.offer.relid, this.gpadl));
    this.guest.expect(MessageType.GPADL_TORNDOWN);
  }
}
