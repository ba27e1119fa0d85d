/**
 * The two rings of an open channel, seen from the host: control page, data pages that wrap bytewise, indices that a hostile
 * guest may change at any time. Our own index of each ring (read of the incoming one, write of the outgoing one) is kept
 * here and only told to the guest; the guest's is read once for each decision and checked.
 */
import { PACKET_HEADER, PACKET_TRAILER, PAGE_SIZE, type PacketType, RING_DATA, RingField } from './protocol.ts';

/** Guest memory as rings need it; every method throws RangeError where nothing backs the range. */
export interface RingMemory {
  read(gpa: number, length: number): Uint8Array;
  /** As `read`, of all that `into` has room for. */
  readInto(gpa: number, into: Uint8Array): void;
  write(gpa: number, bytes: Uint8Array): void;
  /** Atomic, sequentially consistent; 4-byte aligned. */
  load32(gpa: number): number;
  store32(gpa: number, value: number): void;
}

/** A packet, copied out of the ring. */
export interface Packet {
  readonly type: number;
  readonly flags: number;
  /** All 64 bits: guests use them. */
  readonly transactionId: bigint;
  /** Between the fixed header and the data: page ranges. */
  readonly descriptor: Uint8Array;
  readonly payload: Uint8Array;
}

export interface OutgoingPacket {
  readonly type: (typeof PacketType)[keyof typeof PacketType];
  readonly flags?: number;
  readonly transactionId: bigint;
  readonly descriptor?: Uint8Array;
  readonly payload: Uint8Array;
}

/** The guest broke the ring: an index outside it, a packet longer than what is there. Nothing in it can be trusted after. */
export const BROKEN = 'broken';

/** Pages of guest memory that lie behind each other in the ring. */
class RingPages {
  readonly #memory: RingMemory;
  readonly #pages: Uint32Array;
  /** Bytes of data. */
  readonly size: number;

  /** @param pages page numbers, the control page first; at least two. */
  constructor(memory: RingMemory, pages: Uint32Array) {
    this.#memory = memory;
    this.#pages = pages;
    this.size = (pages.length - 1) * PAGE_SIZE;
  }

  load(field: number): number {
    return this.#memory.load32((this.#pages[0] as number) * PAGE_SIZE + field);
  }

  store(field: number, value: number): void {
    this.#memory.store32((this.#pages[0] as number) * PAGE_SIZE + field, value);
  }

  /** Copies `length` bytes from data offset `at`; both below `size`. */
  read(at: number, length: number): Uint8Array {
    const first = this.#part(at, length);
    if (first === length) return this.#memory.read(this.#address(at), length);
    const result = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const count = this.#part(at + done, length - done);
      result.set(this.#memory.read(this.#address(at + done), count), done);
      done += count;
    }
    return result;
  }

  write(at: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const count = this.#part(at + done, bytes.length - done);
      this.#memory.write(this.#address(at + done), bytes.subarray(done, done + count));
      done += count;
    }
  }

  #part(at: number, length: number): number {
    return Math.min(length, PAGE_SIZE - (at % PAGE_SIZE));
  }

  #address(at: number): number {
    const offset = RING_DATA + (at % this.size);
    return (this.#pages[Math.floor(offset / PAGE_SIZE)] as number) * PAGE_SIZE + (offset % PAGE_SIZE);
  }
}

/** An index the guest gave, or undefined when there is no such place in the ring. */
function checked(index: number, size: number): number | undefined {
  return index < size && index % 8 === 0 ? index : undefined;
}

/** Where to begin: what makes no sense is as good as 0. */
function startOf(index: number, size: number): number {
  return checked(index, size) ?? 0;
}

/** Guest to host. */
export class IncomingRing {
  readonly #pages: RingPages;
  /** Where the next packet begins. */
  #index: number;
  #freed = 0;

  /** @param index undefined: where the guest says the reader is. */
  constructor(memory: RingMemory, pages: Uint32Array, index?: number) {
    this.#pages = new RingPages(memory, pages);
    this.#index = startOf(index ?? this.#pages.load(RingField.READ_INDEX), this.#pages.size);
  }

  get index(): number {
    return this.#index;
  }

  /** Bytes of packets that wait. */
  #available(): number | typeof BROKEN {
    const { size } = this.#pages;
    const write = checked(this.#pages.load(RingField.WRITE_INDEX), size);
    return write === undefined ? BROKEN : (write - this.#index + size) % size;
  }

  get empty(): boolean {
    return this.#available() === 0;
  }

  /** The guest does not signal while this is set. */
  set masked(masked: boolean) {
    this.#pages.store(RingField.INTERRUPT_MASK, masked ? 1 : 0);
  }

  next(): Packet | undefined | typeof BROKEN {
    const available = this.#available();
    if (available === 0) return undefined;
    if (available === BROKEN || available < PACKET_HEADER + PACKET_TRAILER) return BROKEN;
    const header = viewOf(this.#pages.read(this.#index, PACKET_HEADER));
    const offset = header.getUint16(2, true) * 8;
    const length = header.getUint16(4, true) * 8;
    if (offset < PACKET_HEADER || length < offset || length + PACKET_TRAILER > available) return BROKEN;
    // What was checked is in `header`; the guest may have changed the ring's bytes since.
    const body = this.#pages.read(this.#index + PACKET_HEADER, length - PACKET_HEADER);
    this.#index = (this.#index + length + PACKET_TRAILER) % this.#pages.size;
    this.#freed += length + PACKET_TRAILER;
    this.#pages.store(RingField.READ_INDEX, this.#index);
    return {
      type: header.getUint16(0, true),
      flags: header.getUint16(6, true),
      transactionId: header.getBigUint64(8, true),
      descriptor: body.subarray(0, offset - PACKET_HEADER),
      payload: body.subarray(offset - PACKET_HEADER),
    };
  }

  /** Whether the guest waits for room and the packets taken since the last call have made it. */
  takeRoomSignal(): boolean {
    const freed = this.#freed;
    this.#freed = 0;
    if (freed === 0) return false;
    const wanted = this.#pages.load(RingField.PENDING_SEND_SIZE);
    if (wanted === 0) return false;
    const available = this.#available();
    if (available === BROKEN) return false;
    const free = this.#pages.size - available;
    return free - freed <= wanted && free > wanted;
  }
}

/** Host to guest. */
export class OutgoingRing {
  readonly #pages: RingPages;
  #index: number;

  /** @param index undefined: where the guest says the writer is. */
  constructor(memory: RingMemory, pages: Uint32Array, index?: number) {
    this.#pages = new RingPages(memory, pages);
    this.#index = startOf(index ?? this.#pages.load(RingField.WRITE_INDEX), this.#pages.size);
  }

  get index(): number {
    return this.#index;
  }

  /** The longest packet that this ring can ever take, header included. */
  get longest(): number {
    return this.#pages.size - PACKET_TRAILER - 8;
  }

  /** True when written. `bytes` is a whole packet (see `encodePacket`). Asks the guest for a signal where there is no room. */
  write(bytes: Uint8Array): boolean | typeof BROKEN {
    const total = bytes.length + PACKET_TRAILER;
    let room = this.#hasRoom(total);
    if (room === false) {
      this.#pages.store(RingField.PENDING_SEND_SIZE, total);
      // The guest may have made room before it could see that.
      room = this.#hasRoom(total);
    }
    if (room !== true) return room;
    if (this.#pages.load(RingField.PENDING_SEND_SIZE) !== 0) this.#pages.store(RingField.PENDING_SEND_SIZE, 0);
    const trailer = new DataView(new ArrayBuffer(PACKET_TRAILER));
    trailer.setUint32(4, this.#index, true);
    this.#pages.write(this.#index, bytes);
    this.#pages.write(this.#index + bytes.length, new Uint8Array(trailer.buffer));
    this.#index = (this.#index + total) % this.#pages.size;
    this.#pages.store(RingField.WRITE_INDEX, this.#index);
    return true;
  }

  /** Never filled to the last byte: equal indices mean empty. */
  #hasRoom(total: number): boolean | typeof BROKEN {
    const { size } = this.#pages;
    const read = checked(this.#pages.load(RingField.READ_INDEX), size);
    if (read === undefined) return BROKEN;
    const used = (this.#index - read + size) % size;
    return size - used > total;
  }

  /** The guest wants to be told of what was written. */
  get unmasked(): boolean {
    return this.#pages.load(RingField.INTERRUPT_MASK) === 0;
  }
}

/** The bytes of a packet, without its trailer. */
export function encodePacket(packet: OutgoingPacket): Uint8Array<ArrayBuffer> {
  const descriptor = packet.descriptor?.length ?? 0;
  const offset = PACKET_HEADER + descriptor;
  const length = Math.ceil((offset + packet.payload.length) / 8) * 8;
  if (offset % 8 !== 0 || length > 0xffff * 8)
    throw new RangeError(`no packet has ${descriptor} + ${packet.payload.length} bytes`);
  const bytes = new Uint8Array(length);
  const view = viewOf(bytes);
  view.setUint16(0, packet.type, true);
  view.setUint16(2, offset / 8, true);
  view.setUint16(4, length / 8, true);
  view.setUint16(6, packet.flags ?? 0, true);
  view.setBigUint64(8, packet.transactionId, true);
  if (packet.descriptor) bytes.set(packet.descriptor, PACKET_HEADER);
  bytes.set(packet.payload, offset);
  return bytes;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
