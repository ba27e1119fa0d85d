// A network driver that means harm: NVSP and RNDIS messages in any order and of any content, packets whose lengths and offsets
// lie, buffers given twice and taken away, completions of nothing; and a switch that delivers frames meanwhile. Every packet is
// answered, no page is written but those of the receive buffer and the rings, and what the switch is handed is a frame.

import { type GuestChannel, type GuestOffer, message, TestBus, TestGuest } from '../../src/vmbus/guest.fixture.ts';
import { MessageType, PAGE_SIZE, PacketType } from '../../src/vmbus/protocol.ts';
import { viewOf } from '../../src/vmbus/ring.ts';
import { Netvsp } from '../../src/vsp/netvsp/device.ts';
import { MAC, packetMessage, TestPort, words } from '../../src/vsp/netvsp/guest.fixture.ts';
import {
  NO_SECTION,
  NVSP_SIZE,
  NVSP_VERSIONS,
  NvspMessage,
  RECEIVE_SECTION,
  SEND_SECTION,
} from '../../src/vsp/netvsp/protocol.ts';
import { Oid, PacketInfo, RndisMessage } from '../../src/vsp/netvsp/rndis.ts';
import { Random } from '../oracle/generate.ts';
import { ensure, type StatefulFuzzer, statefulTarget } from './stateful.ts';
import type { FuzzTarget } from './target.ts';

const PAGES = 512;
const RING = 8;
/** Behind the buffers: further channels of a driver that has come again. */
const FURTHER_RINGS = 140;
/** Messages are put here. */
const FIRST_DATA = 256;
/** Never named, so never written. */
const FORBIDDEN = 400;
const NOTHING = Buffer.alloc((PAGES - FORBIDDEN) * PAGE_SIZE);
const SECTIONS = 6;
const OIDS = Object.values(Oid);
const TYPES = Object.values(NvspMessage);
const MESSAGES = Object.values(RndisMessage);
const INFORMATION = Object.values(PacketInfo);

class NetvspFuzzer implements StatefulFuzzer {
  readonly group = 40;
  readonly log: string[] = [];
  #host = new TestBus();
  #port = new TestPort();
  #netvsp: Netvsp | undefined;
  #guest = new TestGuest(this.#host);
  #channels: GuestChannel[] = [];
  #gpadls: number[] = [];
  #sendPages: number[] = [];
  #expected = new Map<bigint, boolean>();
  #owed: { readonly channel: GuestChannel; readonly id: bigint }[] = [];
  #id = 1n;
  #refused: boolean = false;

  reset(seed: number): void {
    const group = seed / this.group;
    this.log.length = 0;
    this.#host = new TestBus({ pages: PAGES, slots: 4000 });
    this.#port = new TestPort();
    const { memory } = this.#host;
    this.#netvsp = new Netvsp(
      {
        name: 'nic0',
        instance: 'f8615163-0000-1000-2000-00155d010203',
        mac: MAC,
        queues: 1 + (group % 3),
        largeFrames: group % 5 !== 0,
      },
      { memory, port: this.#port },
    );
    this.#host.bus.offer(this.#netvsp);
    this.#guest = new TestGuest(this.#host);
    this.#guest.contact();
    const channel = this.#guest.open(this.#guest.offers()[0]!, RING);
    this.#channels = [channel];
    this.#expected.clear();
    this.#owed = [];
    const receive = this.#guest.gpadl(channel.offer.relid, (SECTIONS * RECEIVE_SECTION) / PAGE_SIZE);
    const send = this.#guest.gpadl(channel.offer.relid, (8 * SEND_SECTION) / PAGE_SIZE);
    this.#sendPages = send.pages;
    this.#gpadls = [receive.id, send.id, 998, 999];
    this.#refused = false;
    // Most groups begin with a driver that has come as far as a driver comes.
    if (group % 4 !== 0) this.#setUp(new Random(seed));
  }

  #setUp(random: Random): void {
    const version = random.oneIn(3) ? random.pick(Object.values(NVSP_VERSIONS)) : 0x60001;
    this.#nvsp(0, 1, NvspMessage.INIT, version, version);
    this.#nvsp(0, 1, NvspMessage.SEND_RECEIVE_BUFFER, this.#gpadls[0]!, 0xcafe);
    this.#nvsp(0, 1, NvspMessage.SEND_SEND_BUFFER, this.#gpadls[1]!, 0);
    this.#direct(1, words(RndisMessage.INITIALIZE, 24, 1, 1, 0, 0x4000), 0);
    const parameters = new Uint8Array(28).fill(random.below(3), 22, 24);
    this.#direct(1, oidMessage(RndisMessage.SET, Oid.TCP_OFFLOAD_PARAMETERS, parameters), 0);
    this.#direct(1, oidMessage(RndisMessage.SET, Oid.GEN_CURRENT_PACKET_FILTER, words(random.pick([0xd, 0x20]))), 0);
    if (random.oneIn(2)) this.#nvsp(0, 1, NvspMessage.SUBCHANNEL, 1, random.below(4));
    this.#take(random);
  }

  run(seed: number): void {
    const random = new Random(seed);
    for (let n = 1 + random.below(6); n > 0; n--) this.#step(random);
    this.#take(random);
    if ((seed + 1) % this.group === 0) this.#settle(random);
    const { memory, defects } = this.#host;
    ensure(defects.length === 0, `the adapter threw: ${String((defects[0] as Error | undefined)?.stack)}`);
    ensure(NOTHING.equals(memory.bytes.subarray(FORBIDDEN * PAGE_SIZE)), 'pages were written that nobody named');
    for (const { bytes, segmentSize } of this.#port.sent)
      ensure(bytes.length >= 14 && bytes.length < 0x1_1000 && segmentSize < 0x10_0000, 'the switch was sent no frame');
    this.#port.sent.length = 0;
  }

  #step(random: Random): void {
    const actions: [string, () => void][] = [
      ['nvsp', () => this.#anyNvsp(random)],
      ['data', () => this.#data(random)],
      ['data', () => this.#data(random)],
      ['control', () => this.#control(random)],
      ['control', () => this.#control(random)],
      ['frame', () => this.#frame(random)],
      ['frame', () => this.#frame(random)],
      ['complete', () => this.#complete(random)],
      ['odd', () => this.#odd(random)],
    ];
    const [name, action] = random.pick(actions);
    this.log.push(name);
    if (this.log.length > 20) this.log.shift();
    action();
  }

  #channel(random: Random): GuestChannel {
    return random.oneIn(3) ? random.pick(this.#channels) : this.#channels[0]!;
  }

  #put(
    channel: GuestChannel,
    type: number,
    payload: Uint8Array,
    flags: number,
    answered: boolean,
    descriptor?: Uint8Array,
  ): void {
    const transactionId = ++this.#id << 20n;
    const packet = { type: type as 6, transactionId, payload, flags, ...(descriptor ? { descriptor } : {}) };
    if (channel.send(packet)) this.#expected.set(transactionId, answered);
  }

  #nvsp(channel: number, flags: number, ...body: readonly number[]): void {
    const payload = new Uint8Array(NVSP_SIZE);
    payload.set(words(...body));
    this.#put(this.#channels[channel]!, PacketType.DATA_IN_BAND, payload, flags, flags === 1);
  }

  #anyNvsp(random: Random): void {
    const payload = new Uint8Array(random.oneIn(10) ? random.below(NVSP_SIZE) : NVSP_SIZE);
    const word = (): number => {
      if (random.oneIn(4)) return random.pick(this.#gpadls);
      return random.oneIn(8) ? random.u32() : random.below(6);
    };
    for (let at = 0; at + 4 <= payload.length; at += 4) viewOf(payload).setUint32(at, word(), true);
    if (payload.length >= 4) {
      const type = random.oneIn(15) ? random.u32() : random.pick(TYPES);
      viewOf(payload).setUint32(0, type, true);
      if (type === NvspMessage.INIT && payload.length >= 12) {
        const version = random.pick(Object.values(NVSP_VERSIONS));
        payload.set(words(version, random.oneIn(5) ? random.u32() : version), 4);
      }
    }
    // A guest that has frames put into its rings has no more of them.
    if (payload.length >= 8 && this.#channels.some(({ gpadl }) => viewOf(payload).getUint32(4, true) === gpadl))
      viewOf(payload).setUint32(4, 999, true);
    const flags = random.oneIn(3) ? 0 : 1;
    this.#put(this.#channel(random), PacketType.DATA_IN_BAND, payload, flags, flags === 1);
  }

  /** A message in pages, that may lie about where and how long it is. */
  #direct(channelType: number, bytes: Uint8Array, lies: number, random = new Random(1), section = 0): void {
    const { memory } = this.#host;
    const offset = random.below(4000);
    const pages = Math.ceil((offset + bytes.length) / PAGE_SIZE);
    memory.bytes.set(bytes.subarray(section), FIRST_DATA * PAGE_SIZE + offset);
    const lie = (value: number): number => (lies > 0 && random.oneIn(lies) ? random.u32() >>> random.below(32) : value);
    const list = [0, lie(1), lie(bytes.length - section), lie(offset)];
    for (let i = 0; i < pages; i++) list.push(lie(FIRST_DATA + i), lie(0));
    const payload = new Uint8Array(NVSP_SIZE);
    const place = section > 0 ? this.#inSection(random, bytes.subarray(0, section)) : NO_SECTION;
    payload.set(words(NvspMessage.SEND_RNDIS_PACKET, lie(channelType), lie(place), lie(section)));
    this.#put(this.#channels[0]!, PacketType.DATA_GPA_DIRECT, payload, 1, true, words(...list));
  }

  #inSection(random: Random, bytes: Uint8Array): number {
    const index = random.below(8);
    for (let done = 0; done < bytes.length; ) {
      const at = index * SEND_SECTION + done;
      const count = Math.min(bytes.length - done, PAGE_SIZE - (at % PAGE_SIZE));
      const gpa = this.#sendPages[Math.floor(at / PAGE_SIZE)]! * PAGE_SIZE + (at % PAGE_SIZE);
      this.#host.memory.bytes.set(bytes.subarray(done, done + count), gpa);
      done += count;
    }
    return index;
  }

  #anyFrame(random: Random): Uint8Array {
    const bytes = new Uint8Array(14 + random.below(random.oneIn(6) ? 40_000 : 1600));
    const v6 = random.oneIn(3);
    bytes.set(random.oneIn(6) ? [255, 255, 255, 255, 255, 255] : random.oneIn(8) ? [random.below(256)] : MAC);
    let at = 12;
    if (random.oneIn(6)) {
      if (bytes.length > 20) bytes.set([0x81, 0, random.below(256), random.below(256)], at);
      at += 4;
    }
    if (bytes.length < at + 62) return bytes;
    bytes.set(v6 ? [0x86, 0xdd, 0x60] : [8, 0, 0x45], at);
    const length = bytes.length - at - 2;
    const view = viewOf(bytes);
    if (v6) {
      view.setUint16(at + 6, random.oneIn(4) ? 0 : length - 40);
      bytes[at + 8] = random.pick([6, 17, 58]);
      bytes[at + 2 + 40 + 12] = 0x50;
    } else {
      view.setUint16(at + 4, random.oneIn(4) ? 0 : length);
      bytes[at + 11] = random.pick([6, 17, 1]);
      bytes[at + 2 + 20 + 12] = 0x50;
    }
    if (random.oneIn(6)) bytes[at + random.below(60)] = random.below(256);
    return bytes;
  }

  #data(random: Random): void {
    const parts: Uint8Array[] = [];
    for (let n = random.oneIn(4) ? 3 : 1; n > 0; n--) {
      const info = Array.from(
        { length: random.below(4) },
        () => [random.oneIn(8) ? random.u32() : random.pick(INFORMATION), random.u32() >>> random.below(32)] as const,
      );
      const bytes = packetMessage(this.#anyFrame(random), info);
      // Fields that lie: any word of the header and the information.
      if (random.oneIn(3))
        for (let k = random.below(3); k > 0; k--) {
          const at = random.below(Math.min(27, bytes.length >> 2)) * 4;
          viewOf(bytes).setUint32(at, random.oneIn(2) ? random.below(120) : random.u32() >>> random.below(32), true);
        }
      parts.push(bytes);
    }
    const all = new Uint8Array(Buffer.concat(parts));
    if (all.length <= SEND_SECTION && random.oneIn(2)) {
      const index = this.#inSection(random, all);
      const payload = new Uint8Array(NVSP_SIZE);
      const lie = random.oneIn(8);
      const place = lie ? random.u32() >>> random.below(32) : index;
      const size = random.oneIn(12) ? random.u32() >>> random.below(32) : all.length;
      payload.set(words(NvspMessage.SEND_RNDIS_PACKET, 0, place, size));
      this.#put(this.#channel(random), PacketType.DATA_IN_BAND, payload, 1, true);
    } else this.#direct(0, all, random.oneIn(3) ? 6 : 0, random, random.oneIn(4) ? Math.min(60, all.length) : 0);
  }

  #control(random: Random): void {
    const type = random.oneIn(2) ? random.pick([RndisMessage.QUERY, RndisMessage.SET]) : random.pick(MESSAGES);
    const oid = random.oneIn(10) ? random.u32() : random.pick(OIDS);
    let value = new Uint8Array(random.below(200)).map(() => random.below(random.oneIn(2) ? 256 : 4));
    if (oid === Oid.GEN_CURRENT_PACKET_FILTER && random.oneIn(2)) value = words(random.pick([0xd, 0xd, 0x20, 0]));
    if (oid === Oid.GEN_RNDIS_CONFIG_PARAMETER && random.oneIn(2)) value = parameter(random);
    if (oid === Oid.GEN_RECEIVE_SCALE_PARAMETERS && random.oneIn(2)) value = scaling(random);
    const bytes = oidMessage(type, oid, value);
    if (random.oneIn(5))
      viewOf(bytes).setUint32(random.below(bytes.length >> 2) * 4, random.u32() >>> random.below(32), true);
    this.#direct(1, bytes, random.oneIn(6) ? 8 : 0, random);
  }

  #frame(random: Random): void {
    const bytes = this.#anyFrame(random);
    const segmentSize = random.oneIn(2) ? 0 : 536 + random.below(2000);
    const taken = this.#port.receive({ bytes, segmentSize, checksum: random.oneIn(2) ? 'partial' : 'complete' });
    if (!taken) {
      this.#refused = true;
      this.#port.resumed = 0;
    }
  }

  #complete(random: Random): void {
    if (random.oneIn(8)) {
      const payload = words(NvspMessage.SEND_RNDIS_PACKET_COMPLETE, 1);
      this.#channel(random).send({ type: PacketType.COMPLETION, transactionId: BigInt(random.u32()), payload });
    }
    const count = random.oneIn(2) ? this.#owed.length : random.below(this.#owed.length + 1);
    for (const { channel, id } of this.#owed.splice(0, count)) {
      const payload = words(NvspMessage.SEND_RNDIS_PACKET_COMPLETE, 1);
      channel.send({ type: PacketType.COMPLETION, transactionId: id, payload });
    }
  }

  #odd(random: Random): void {
    const netvsp = this.#netvsp!;
    const actions = [
      () => netvsp.setLink(!random.oneIn(3)),
      () => this.#port.link(!random.oneIn(3)),
      () => this.#restore(random),
      () => (random.oneIn(4) ? this.#reopen(random) : undefined),
      () => netvsp.inspect(),
    ];
    random.pick(actions)();
    this.#host.run();
  }

  /** Goes on from its own state; one that was tampered with is refused, or is one that goes on. */
  #restore(random: Random): void {
    const netvsp = this.#netvsp!;
    const saved = JSON.parse(JSON.stringify(netvsp.save())) as Record<string, unknown>;
    if (random.oneIn(3)) {
      const odd = [null, {}, [], -1, 'x', 5, { gpadl: this.#gpadls[0], id: 1, outstanding: [[1, [99]]] }];
      saved[random.pick(Object.keys(saved))] = random.pick(odd);
    }
    try {
      netvsp.restore(saved, this.#host.bus.openChannels(netvsp));
    } catch (error) {
      ensure(error instanceof RangeError, `restoring threw ${String(error)}`);
    }
  }

  /** Another driver, over the same pages. */
  #reopen(random: Random): void {
    const primary = this.#channels[0]!;
    primary.close();
    this.#takeMessages();
    this.#guest.post(message(MessageType.GPADL_TEARDOWN, primary.offer.relid, primary.gpadl));
    this.#takeMessages();
    this.#expected.clear();
    this.#owed = [];
    this.#refused = false;
    this.#guest.reuse(primary.pages);
    this.#channels = [this.#guest.open(primary.offer, RING)];
    this.#guest.reuse([FURTHER_RINGS]);
    this.#setUp(random);
  }

  #takeMessages(): void {
    let offers: GuestOffer[] = [];
    for (let next = this.#host.messages[0]; next; next = this.#host.messages[0]) {
      const type = viewOf(next.payload).getUint32(0, true);
      if (type === MessageType.OFFER_CHANNEL) offers.push(this.#guest.offer());
      else {
        this.#host.messages.shift();
        if (type !== MessageType.RESCIND_CHANNEL_OFFER) continue;
        const relid = viewOf(next.payload).getUint32(8, true);
        this.#channels = this.#channels.filter(({ offer }) => offer.relid !== relid);
        // Offered and taken back before anybody looked.
        offers = offers.filter((offer) => offer.relid !== relid);
        this.#guest.post(message(MessageType.RELID_RELEASED, relid));
      }
    }
    for (const offer of offers)
      if (this.#channels.length < 6 && offer.subIndex > 0) this.#channels.push(this.#guest.open(offer, RING));
  }

  #take(random: Random): void {
    this.#takeMessages();
    for (const channel of this.#channels)
      for (let packet = channel.receive(); packet; packet = channel.receive()) {
        if (packet.type === PacketType.COMPLETION) {
          ensure(this.#expected.has(packet.transactionId), 'an answer to what nobody asked');
          this.#expected.delete(packet.transactionId);
          continue;
        }
        ensure(packet.type === PacketType.DATA_TRANSFER_PAGES, `a packet of type ${packet.type}`);
        const view = viewOf(packet.descriptor);
        for (let i = 0; i < view.getUint32(4, true); i++) {
          const [length, offset] = [view.getUint32(8 + i * 8, true), view.getUint32(12 + i * 8, true)];
          ensure(length <= RECEIVE_SECTION && offset % RECEIVE_SECTION === 0, 'a range over its section');
        }
        this.#owed.push({ channel, id: packet.transactionId });
      }
    if (this.#owed.length > 40 || random.oneIn(3)) this.#complete(random);
  }

  /** Everything has its answer, and a switch that was told to wait was told to go on. */
  #settle(random: Random): void {
    for (let n = 0; n < 60; n++) {
      this.#host.timers.advance(20);
      this.#host.run();
      for (const channel of this.#channels) channel.signal();
      this.#take(random);
      for (const { channel, id } of this.#owed.splice(0))
        channel.send({
          type: PacketType.COMPLETION,
          transactionId: id,
          payload: words(NvspMessage.SEND_RNDIS_PACKET_COMPLETE, 1),
        });
    }
    const open = [...this.#expected.values()].filter((answered) => answered).length;
    ensure(open === 0, `${open} packets have no answer`);
    ensure(!this.#refused || this.#port.resumed > 0, 'the switch waits for ever');
  }
}

function oidMessage(type: number, oid: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(28 + value.length);
  bytes.set(words(type, bytes.length, 7, oid, value.length, 20, 0));
  bytes.set(value, 28);
  return bytes;
}

function utf16(text: string): number[] {
  return Array.from(text, (letter) => [letter.charCodeAt(0), 0]).flat();
}
function parameter(random: Random): Uint8Array<ArrayBuffer> {
  const name = utf16(random.oneIn(6) ? 'Other' : 'NetworkAddress');
  const value = utf16(random.oneIn(6) ? 'nothing' : '00155d010209');
  return Uint8Array.from([
    ...words(20, name.length, 2, 20 + name.length, random.oneIn(8) ? 999 : value.length),
    ...name,
    ...value,
  ]);
}
function scaling(random: Random): Uint8Array<ArrayBuffer> {
  const entries = random.below(130);
  const bytes = new Uint8Array(28 + entries * 4).map((_, i) => (i < 28 ? 0 : random.below(5)));
  bytes.set([0x89, 2, 28, 0, random.oneIn(5) ? 0x10 : 0]);
  viewOf(bytes).setUint16(12, entries * 4 + (random.oneIn(8) ? 1 : 0), true);
  viewOf(bytes).setUint32(16, random.oneIn(8) ? random.u32() : 28, true);
  return bytes;
}

export const target: FuzzTarget = statefulTarget(
  'the network adapter',
  ['src/vsp/netvsp/', 'src/vmbus/gpadl-memory.ts'],
  new NetvspFuzzer(),
);
