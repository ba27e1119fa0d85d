/** For tests: a switch port made by hand, and a guest's driver for the adapter as Linux has it, as far as tests need it. */
import type { GuestChannel } from '../../vmbus/guest.fixture.ts';
import { TestBus, TestGuest } from '../../vmbus/guest.fixture.ts';
import { PAGE_SIZE, PacketType } from '../../vmbus/protocol.ts';
import { type Packet, viewOf } from '../../vmbus/ring.ts';
import type { Frame, SwitchPort } from '../../vswitch/port.ts';
import { Netvsp, type NetvspOptions } from './device.ts';
import { NO_SECTION, NVSP_SIZE, NvspMessage, RECEIVE_SECTION, SEND_SECTION } from './protocol.ts';
import {
  COMPLETE,
  Fragment,
  Oid,
  PACKET_INFO_HEADER,
  PacketField,
  PacketInfo,
  RNDIS_HEADER,
  RndisMessage,
} from './rndis.ts';

export const MAC = Uint8Array.of(0x00, 0x15, 0x5d, 1, 2, 3);

/** What an adapter sends is kept; what it is sent, a test says. */
export class TestPort implements SwitchPort {
  readonly sent: Frame[] = [];
  /** Times that the adapter said there is room again. */
  resumed = 0;
  closed = false;
  receive: (frame: Frame) => boolean = () => true;
  link: (up: boolean) => void = () => undefined;

  send(frame: Frame): void {
    this.sent.push(frame);
  }
  onFrame(receive: (frame: Frame) => boolean): void {
    this.receive = receive;
  }
  resume(): void {
    this.resumed++;
  }
  onLink(changed: (up: boolean) => void): void {
    this.link = changed;
    changed(true);
  }
  close(): void {
    this.closed = true;
  }
}

export interface Received {
  readonly bytes: Uint8Array;
  /** Per-packet information by type. */
  readonly info: ReadonlyMap<number, number>;
}

export function words(...values: readonly number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

/** An RNDIS packet message around a frame. */
export function packetMessage(
  frame: Uint8Array,
  info: readonly (readonly [type: number, value: number])[] = [],
): Uint8Array {
  const header = PacketField.SIZE + info.length * 16;
  const bytes = new Uint8Array(header + frame.length);
  const view = viewOf(bytes);
  view.setUint32(0, RndisMessage.PACKET, true);
  view.setUint32(4, bytes.length, true);
  view.setUint32(PacketField.DATA_OFFSET, header - RNDIS_HEADER, true);
  view.setUint32(PacketField.DATA_LENGTH, frame.length, true);
  view.setUint32(PacketField.INFO_OFFSET, PacketField.SIZE - RNDIS_HEADER, true);
  view.setUint32(PacketField.INFO_LENGTH, info.length * 16, true);
  info.forEach(([type, value], i) => {
    [16, type, PACKET_INFO_HEADER, value].forEach((word, n) => {
      view.setUint32(PacketField.SIZE + i * 16 + n * 4, word, true);
    });
  });
  bytes.set(frame, header);
  return bytes;
}

/** The driver. Buffers are smaller than Linux's: eight sections to receive, four to send. */
export class TestVsc {
  readonly host: TestBus;
  readonly guest: TestGuest;
  readonly port = new TestPort();
  readonly netvsp: Netvsp;
  channel!: GuestChannel;
  receivePages: number[] = [];
  sendPages: number[] = [];
  #id = 0n;
  #request = 0;
  /** Packets with frames that have not been completed. */
  readonly owed: bigint[] = [];
  /** Frames of the last packet that nobody has asked for. */
  readonly #frames: Received[] = [];

  constructor(options: Partial<NetvspOptions> = {}) {
    this.host = new TestBus({ pages: 2048 });
    const { memory } = this.host;
    this.netvsp = new Netvsp(
      { name: 'nic0', instance: 'f8615163-0000-1000-2000-00155d010203', mac: MAC, largeFrames: true, ...options },
      { memory, port: this.port },
    );
    this.host.bus.offer(this.netvsp);
    this.guest = new TestGuest(this.host);
    this.guest.contact();
    this.open();
  }

  open(): void {
    const offer = this.guest.offers()[0]!;
    this.channel = this.guest.open(offer, 9);
  }

  /** Sends a message that is answered. */
  ask(...body: readonly number[]): DataView {
    const payload = new Uint8Array(NVSP_SIZE);
    payload.set(words(...body));
    this.channel.send({ type: PacketType.DATA_IN_BAND, transactionId: ++this.#id, payload, flags: 1 });
    return viewOf(this.channel.receive()!.payload);
  }
  tell(...body: readonly number[]): void {
    const payload = new Uint8Array(NVSP_SIZE);
    payload.set(words(...body));
    this.channel.send({ type: PacketType.DATA_IN_BAND, transactionId: ++this.#id, payload });
  }

  /** Everything that Linux does up to an adapter that is up. */
  start(version = 0x60001, large = true): void {
    this.ask(NvspMessage.INIT, version, version);
    this.tell(NvspMessage.SEND_NDIS_CONFIG, 1514, 0, 0xa8);
    this.tell(NvspMessage.SEND_NDIS_VERSION, 6, 30);
    const receive = this.guest.gpadl(this.channel.offer.relid, (8 * RECEIVE_SECTION) / PAGE_SIZE);
    this.receivePages = receive.pages;
    this.ask(NvspMessage.SEND_RECEIVE_BUFFER, receive.id, 0xcafe);
    const send = this.guest.gpadl(this.channel.offer.relid, (4 * SEND_SECTION) / PAGE_SIZE);
    this.sendPages = send.pages;
    this.ask(NvspMessage.SEND_SEND_BUFFER, send.id, 0);
    this.control(RndisMessage.INITIALIZE, 1, 0, 0x4000);
    const parameters = new Uint8Array(28);
    parameters.set([0x80, 3, 28]);
    parameters.fill(large ? 2 : 1, 22, 24);
    this.set(Oid.TCP_OFFLOAD_PARAMETERS, parameters);
    this.set(Oid.GEN_CURRENT_PACKET_FILTER, words(0xd));
  }

  /** A control message of words, its id put in; the words of the answer. */
  control(type: number, ...body: readonly number[]): Uint32Array {
    return new Uint32Array(this.exchange(words(type, 12 + body.length * 4, ++this.#request, ...body)).slice().buffer);
  }
  query(oid: number, given: Uint8Array = new Uint8Array()): Uint8Array | undefined {
    const answer = this.exchange(this.#oidMessage(RndisMessage.QUERY, oid, given));
    const view = viewOf(answer);
    if (view.getUint32(12, true) !== 0) return undefined;
    const from = RNDIS_HEADER + view.getUint32(20, true);
    return answer.subarray(from, from + view.getUint32(16, true));
  }
  /** The status. */
  set(oid: number, value: Uint8Array): number {
    return viewOf(this.exchange(this.#oidMessage(RndisMessage.SET, oid, value))).getUint32(12, true);
  }
  #oidMessage(type: number, oid: number, value: Uint8Array): Uint8Array {
    const message = new Uint8Array(28 + value.length);
    message.set(words(type, message.length, ++this.#request, oid, value.length, 20, 0));
    message.set(value, 28);
    return message;
  }

  /** Sends a control message in a page; its answer. */
  exchange(message: Uint8Array): Uint8Array {
    expectStatus(this.sendDirect(1, message));
    const answer = this.message()!;
    const type = viewOf(answer).getUint32(0, true);
    if (type !== (viewOf(message).getUint32(0, true) | COMPLETE) >>> 0) throw new Error(`answer of type ${type}`);
    return answer;
  }

  /** A message in guest pages of its own, in order from page 1800 on; the status of its completion. */
  sendDirect(channelType: number, message: Uint8Array, section?: Uint8Array): number {
    const { memory } = this.host;
    memory.bytes.set(message, 1800 * PAGE_SIZE + 16);
    const pages = Math.ceil((16 + message.length) / PAGE_SIZE);
    const descriptor = words(
      0,
      1,
      message.length,
      16,
      ...Array.from({ length: pages }, (_, i) => [1800 + i, 0]).flat(),
    );
    if (section) this.#write(this.sendPages, 0, section);
    const payload = new Uint8Array(NVSP_SIZE);
    payload.set(words(NvspMessage.SEND_RNDIS_PACKET, channelType, section ? 0 : NO_SECTION, section?.length ?? 0));
    this.channel.send({ type: PacketType.DATA_GPA_DIRECT, transactionId: ++this.#id, payload, descriptor, flags: 1 });
    return this.completion();
  }
  /** A message in a section of the send buffer. */
  sendSection(section: number, message: Uint8Array): number {
    this.#write(this.sendPages, section * SEND_SECTION, message);
    const payload = new Uint8Array(NVSP_SIZE);
    payload.set(words(NvspMessage.SEND_RNDIS_PACKET, 0, section, message.length));
    this.channel.send({ type: PacketType.DATA_IN_BAND, transactionId: ++this.#id, payload, flags: 1 });
    return this.completion();
  }
  completion(): number {
    for (let packet = this.channel.receive(); packet; packet = this.channel.receive()) {
      if (packet.type !== PacketType.COMPLETION) {
        this.#queued.push(packet);
        continue;
      }
      if (packet.transactionId !== this.#id) throw new Error('another completion');
      return viewOf(packet.payload).getUint32(4, true);
    }
    throw new Error('no completion');
  }
  readonly #queued: Packet[] = [];

  /** The bytes of the next message from the host, its packet completed; undefined when there is none. */
  message(): Uint8Array | undefined {
    const packet = this.#queued.shift() ?? this.channel.receive();
    if (!packet) return undefined;
    const [message] = this.#ranges(packet);
    this.#complete(packet.transactionId);
    return message;
  }

  #ranges(packet: Packet): Uint8Array[] {
    if (packet.type !== PacketType.DATA_TRANSFER_PAGES) throw new Error(`a packet of type ${packet.type}`);
    const view = viewOf(packet.descriptor);
    if (view.getUint16(0, true) !== 0xcafe) throw new Error('another buffer');
    return Array.from({ length: view.getUint32(4, true) }, (_, i) => {
      const length = view.getUint32(8 + i * 8, true);
      const offset = view.getUint32(12 + i * 8, true);
      if (length > RECEIVE_SECTION || offset % RECEIVE_SECTION !== 0) throw new Error('a range over its section');
      return this.#read(this.receivePages, offset, length);
    });
  }
  #complete(transactionId: bigint): void {
    const payload = words(NvspMessage.SEND_RNDIS_PACKET_COMPLETE, 1);
    this.channel.send({ type: PacketType.COMPLETION, transactionId, payload });
  }

  /** The next frame from the host; `keep`: without completing its packet. */
  frame(keep = false): Received | undefined {
    const waiting = this.#frames.shift();
    if (waiting) return waiting;
    const packet = this.#queued.shift() ?? this.channel.receive();
    if (!packet) return undefined;
    let parts: number[] = [];
    for (const message of this.#ranges(packet)) {
      const view = viewOf(message);
      if (view.getUint32(0, true) !== RndisMessage.PACKET || view.getUint32(4, true) !== message.length)
        throw new Error('not a packet message');
      const from = RNDIS_HEADER + view.getUint32(PacketField.DATA_OFFSET, true);
      const length = view.getUint32(PacketField.DATA_LENGTH, true);
      if (from + length > message.length || length === 0) throw new Error('data outside of their message');
      const info = new Map<number, number>();
      const end = PacketField.SIZE + view.getUint32(PacketField.INFO_LENGTH, true);
      for (let at: number = PacketField.SIZE; at < end; at += view.getUint32(at, true))
        info.set(view.getUint32(at + 4, true), view.getUint32(at + view.getUint32(at + 8, true), true));
      parts.push(...message.subarray(from, from + length));
      // A part that is not the last one: more of the frame comes in the next range.
      const fragment = (info.get(PacketInfo.FRAGMENT) ?? 0) >> 8;
      if ((fragment & Fragment.PART) !== 0 && (fragment & Fragment.LAST) === 0) continue;
      this.#frames.push({ bytes: Uint8Array.from(parts), info });
      parts = [];
    }
    if (parts.length > 0) throw new Error('a frame without its last part');
    if (keep) this.owed.push(packet.transactionId);
    else this.#complete(packet.transactionId);
    return this.#frames.shift();
  }
  completeOwed(): void {
    for (const id of this.owed.splice(0)) this.#complete(id);
  }

  #pieces(
    pages: readonly number[],
    at: number,
    length: number,
    body: (gpa: number, done: number, n: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const offset = at + done;
      const count = Math.min(length - done, PAGE_SIZE - (offset % PAGE_SIZE));
      body(pages[Math.floor(offset / PAGE_SIZE)]! * PAGE_SIZE + (offset % PAGE_SIZE), done, count);
      done += count;
    }
  }
  #write(pages: readonly number[], at: number, bytes: Uint8Array): void {
    this.#pieces(pages, at, bytes.length, (gpa, done, count) => {
      this.host.memory.bytes.set(bytes.subarray(done, done + count), gpa);
    });
  }
  #read(pages: readonly number[], at: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#pieces(pages, at, length, (gpa, done, count) => {
      bytes.set(this.host.memory.bytes.subarray(gpa, gpa + count), done);
    });
    return bytes;
  }
}

function expectStatus(status: number): void {
  if (status !== 1) throw new Error(`status ${status}`);
}
