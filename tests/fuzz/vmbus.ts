// A guest that means harm, against the bus and its devices: messages in and out of order, buffers that lie, channels opened
// and closed at any time, rings changed under way; while the host pauses, saves, resets, and adds and removes devices.

import { IntegrationComponents } from '../../src/ic/components.ts';
import { VmBus } from '../../src/vmbus/bus.ts';
import { message, TestBus } from '../../src/vmbus/guest.fixture.ts';
import type { Channel, ChannelDevice } from '../../src/vmbus/ports.ts';
import { MessageType, PAGE_SIZE, PacketType, RingField, VERSIONS } from '../../src/vmbus/protocol.ts';
import { encodePacket, type Packet, viewOf } from '../../src/vmbus/ring.ts';
import { DynamicMemory } from '../../src/vsp/dynamic-memory/device.ts';
import { Keyboard } from '../../src/vsp/keyboard/device.ts';
import { Mouse } from '../../src/vsp/mouse/device.ts';
import { SyntheticVideo } from '../../src/vsp/video/device.ts';
import { Random } from '../oracle/generate.ts';
import { ensure, type StatefulFuzzer, statefulTarget } from './stateful.ts';
import type { FuzzTarget } from './target.ts';

const PAGES = 128;
/** Where memory may be added. */
const ADDED = 0x8000;
const TYPES = Object.values(MessageType);
const VERSION_NUMBERS = Object.values(VERSIONS);
const STEPS = 12;
const VRAM = new Uint8Array(0x80_0000);

/** Answers, holds, sends by itself, offers further channels. */
class Busy implements ChannelDevice {
  readonly name: string;
  readonly offer: ChannelDevice['offer'];
  #channel: Channel | undefined;
  #received = 0;
  constructor(name: string, number: number) {
    const tail = number.toString(16).padStart(12, '0');
    this.name = name;
    this.offer = { type: `00000000-0000-0000-0000-${tail}`, instance: `00000000-0000-0001-0000-${tail}` };
  }
  opened(channel: Channel): void {
    if (channel.subIndex === 0) this.#channel = channel;
    if (channel.version > 0x50000) channel.offerSubChannels(1);
  }
  received(packet: Packet, channel: Channel): void {
    this.#received++;
    if ((packet.flags & 1) !== 0) channel.complete(packet.transactionId, packet.payload);
    if (this.#received % 7 === 0) channel.hold();
    if (this.#received % 5 === 0) this.poke();
  }
  poke(): void {
    this.#channel?.release();
    this.#channel?.gpadl(3);
    this.#channel?.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload: new Uint8Array(300) });
  }
  closed(channel: Channel): void {
    if (this.#channel === channel) this.#channel = undefined;
  }
  inspect(): Record<string, never> {
    return {};
  }
  save(): unknown {
    return { received: this.#received };
  }
  restore(saved: unknown, channels: readonly Channel[]): void {
    this.#received = (saved as { received: number }).received;
    this.#channel = channels[0];
  }
}

class VmbusFuzzer implements StatefulFuzzer {
  readonly group = 100;
  readonly log: string[] = [];
  #host = new TestBus();
  #bus = this.#host.bus;
  #busy: Busy[] = [];
  #keyboard = new Keyboard();
  #mouse = new Mouse();
  #memory: DynamicMemory | undefined;
  #backed = 0;
  #paused = false;

  reset(seed: number): void {
    this.log.length = 0;
    this.#host = new TestBus({ pages: PAGES, slots: 1 + (seed % 5), maximumVersion: seed % 700 === 0 ? '4.1' : '5.3' });
    this.#bus = this.#host.bus;
    this.#paused = false;
    this.#offerAll(this.#bus);
  }

  #offerAll(bus: VmBus): void {
    this.#busy = [new Busy('busy 1', 1), new Busy('busy 2', 2)];
    this.#keyboard = new Keyboard();
    this.#mouse = new Mouse();
    const components = new IntegrationComponents(this.#host.timers, {
      calendar: () => 1.8e12,
      referenceTime: () => 7n,
    });
    const there = (page: number, count: number): boolean =>
      count > 0 && (page + count <= PAGES || (page >= ADDED && page + count <= ADDED + this.#backed));
    this.#memory = new DynamicMemory({
      pages: PAGES,
      release: (page, count) => {
        ensure(there(page, count), 'pages that are not');
        return true;
      },
      more: {
        first: ADDED,
        pages: 2000,
        backed: () => this.#backed,
        back: (count) => {
          ensure(count <= 2000, 'more memory than there is');
          this.#backed = count;
        },
      },
      range: { minimum: 1, maximum: PAGES + 2000 },
    });
    const video = new SyntheticVideo({ bytes: VRAM, place: (gpa) => gpa % 2n === 0n });
    for (const device of [...this.#busy, this.#keyboard, this.#mouse, video, this.#memory, ...components.devices()])
      bus.offer(device);
  }

  #say(text: string): void {
    this.log.push(text);
    if (this.log.length > 40) this.log.shift();
  }

  run(seed: number): void {
    const random = new Random(seed);
    for (let n = 0; n < STEPS; n++) {
      random.pick(ACTIONS).call(this, random);
      if (random.oneIn(3)) this.#serve();
    }
    this.#check();
  }

  #serve(): void {
    const host = this.#host;
    this.#bus.service();
    for (let n = 0; host.deferred.length > 0 && n < 1000; n++) host.deferred.shift()?.();
  }

  #post(bytes: Uint8Array): void {
    this.#say(`message ${Buffer.from(bytes.subarray(0, 48)).toString('hex')}`);
    this.#host.mailbox.postMessage(4, 1, bytes);
  }

  /** A small number most of the time: something that exists. */
  static id(random: Random): number {
    return random.oneIn(12) ? random.u32() : random.below(16);
  }

  /** What an honest guest says. */
  contact(random: Random): void {
    // Contact made again ends everything, so not too often.
    if (this.#bus.save().connected && !random.oneIn(15)) return;
    const version = random.oneIn(8) ? random.u32() : random.pick(VERSION_NUMBERS);
    this.#post(
      message(MessageType.INITIATE_CONTACT, version, random.below(3), random.oneIn(8) ? 20 : 2, 0, 0, 0, 0, 0),
    );
    if (random.oneIn(2)) this.#post(message(MessageType.REQUEST_OFFERS));
  }

  buffer(random: Random): void {
    const [relid, gpadl] = [1 + random.below(10), 1 + random.below(14)];
    const count = random.oneIn(6) ? 1 + random.below(60) : 4 + random.below(8);
    const pages = Array.from({ length: count }, () => [random.below(random.oneIn(9) ? PAGES * 2 : PAGES), 0]).flat();
    const words = [
      random.oneIn(10) ? random.u32() : count * PAGE_SIZE,
      random.oneIn(10) ? random.below(9000) : 0,
      ...pages,
    ];
    const bytes = random.oneIn(10) ? random.below(0x10000) : words.length * 4;
    const ranges = random.oneIn(10) ? random.below(4) : 1;
    this.#post(
      message(MessageType.GPADL_HEADER, relid, gpadl, (bytes & 0xffff) | (ranges << 16), ...words.slice(0, 54)),
    );
    for (let at = 54; at < words.length; at += 56)
      this.#post(
        message(
          MessageType.GPADL_BODY,
          0,
          random.oneIn(12) ? VmbusFuzzer.id(random) : gpadl,
          ...words.slice(at, at + 56),
        ),
      );
  }

  open(random: Random): void {
    const relid = 1 + random.below(11);
    const gpadls = this.#bus.save().gpadls.filter((gpadl) => gpadl.relid === relid || random.oneIn(20));
    const gpadl = gpadls.length > 0 ? random.pick(gpadls) : undefined;
    const pages = gpadl?.ranges[0]?.pages ?? [];
    // Rings that make no sense are met often enough by themselves: begin with empty ones.
    if (!random.oneIn(4))
      for (const page of pages)
        if (page < PAGES) this.#host.memory.bytes.fill(0, page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    const downstream = random.oneIn(8) ? random.u32() : Math.max(1, pages.length >> 1);
    const user = new Array<number>(30).fill(0);
    this.#post(
      message(
        MessageType.OPEN_CHANNEL,
        relid,
        7,
        gpadl?.id ?? VmbusFuzzer.id(random),
        random.below(3),
        downstream,
        ...user,
      ),
    );
  }

  small(random: Random): void {
    const type = random.pick([
      MessageType.CLOSE_CHANNEL,
      MessageType.GPADL_TEARDOWN,
      MessageType.RELID_RELEASED,
      MessageType.MODIFY_CHANNEL,
      MessageType.REQUEST_OFFERS,
    ]);
    this.#post(message(type, VmbusFuzzer.id(random), VmbusFuzzer.id(random)));
  }

  nonsense(random: Random): void {
    const bytes = new Uint8Array(8 + random.below(233));
    for (let i = 0; i < bytes.length; i++) bytes[i] = random.oneIn(2) ? 0 : random.below(256);
    if (random.oneIn(2)) viewOf(bytes).setUint32(0, random.pick(TYPES), true);
    this.#post(bytes);
  }

  rare(random: Random): void {
    if (!random.oneIn(6)) return;
    if (random.oneIn(2)) this.#post(message(MessageType.UNLOAD));
    else this.#post(message(MessageType.TL_CONNECT_REQUEST, ...new Array<number>(8).fill(1)));
  }

  /** The rings of an open channel, as the guest has them. */
  ring(random: Random): void {
    const { channels, gpadls } = this.#bus.save();
    const open = channels.filter((channel) => channel.open);
    if (open.length === 0) return;
    const channel = random.pick(open);
    const pages = gpadls.find((gpadl) => gpadl.id === channel.open!.ringGpadl)!.ranges[0]!.pages;
    const { memory, mailbox } = this.#host;
    const down = channel.open!.downstreamPage;
    const size = (down - 1) * PAGE_SIZE;
    const address = (at: number): number =>
      pages[1 + Math.floor((at % size) / PAGE_SIZE)]! * PAGE_SIZE + (at % PAGE_SIZE);
    const out = pages[0]! * PAGE_SIZE;
    const into = pages[down]! * PAGE_SIZE;
    const write = memory.load32(out + RingField.WRITE_INDEX);
    for (let n = random.below(6); n > 0; n--) {
      switch (random.below(8)) {
        case 0:
          if (!random.oneIn(5)) break;
          memory.store32(
            random.pick([out, into]) + random.pick(Object.values(RingField)),
            random.oneIn(2) ? random.u32() : random.below(size / 8) * 8,
          );
          break;
        case 1:
          memory.store32(into + RingField.READ_INDEX, memory.load32(into + RingField.WRITE_INDEX));
          break;
        case 2:
          memory.store32(address(random.below(size) & -4), random.u32());
          break;
        default: {
          if (write >= size) break;
          const payload = new Uint8Array(4 * (1 + random.below(random.oneIn(3) ? 200 : 8)));
          for (let i = 0; i < payload.length; i += 4)
            viewOf(payload).setUint32(i, random.oneIn(2) ? random.below(5) : random.u32(), true);
          // Keyboard and mouse know their first messages.
          if (random.oneIn(3))
            payload.set(
              new Uint8Array(Uint32Array.from(random.oneIn(2) ? [1, 0x10000] : [1, 12, 0, 4, 0x20000]).buffer).subarray(
                0,
                payload.length,
              ),
            );
          const bytes = encodePacket({
            type: PacketType.DATA_IN_BAND,
            transactionId: BigInt(random.u32()),
            payload,
            flags: random.below(2),
          });
          bytes.forEach((byte, i) => {
            memory.bytes[address(write + i)] = byte;
          });
          memory.store32(out + RingField.WRITE_INDEX, (write + bytes.length + 8) % size);
        }
      }
    }
    this.#say(`signal ${channel.relid}`);
    mailbox.signalEvent(0x2000 | channel.relid, 0);
  }

  signal(random: Random): void {
    this.#host.mailbox.signalEvent(0x2000 + VmbusFuzzer.id(random), random.oneIn(9) ? 1 : 0);
  }

  /** The guest looks at its messages, or has none of it. */
  messages(random: Random): void {
    const { messages } = this.#host;
    for (const { payload } of messages) ensure(payload.length <= 240, 'a message is too long');
    messages.splice(0, random.below(messages.length + 1));
    if (random.oneIn(30)) this.#host.synic = !this.#host.synic;
  }

  time(random: Random): void {
    this.#host.timers.advance(random.oneIn(5) ? 10_000 : random.below(50));
  }

  host(random: Random): void {
    const device = random.pick(this.#busy);
    switch (random.below(8)) {
      case 0:
        this.#say(`withdraw ${device.name}`);
        this.#bus.withdraw(device);
        break;
      case 1:
        try {
          this.#bus.offer(device);
          this.#say(`offer ${device.name}`);
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
        }
        break;
      case 2:
        this.#keyboard.type('aB\n');
        this.#mouse.move({ x: 0.5, y: 0.5 });
        this.#memory?.setTarget(random.oneIn(4) ? undefined : random.below(random.oneIn(2) ? PAGES : 4000));
        break;
      case 3:
        device.poke();
        break;
      case 4:
        this.#paused = !this.#paused;
        this.#say(this.#paused ? 'pause' : 'resume');
        if (this.#paused) this.#bus.pause();
        else this.#bus.resume();
        break;
      case 5:
        if (random.oneIn(8)) {
          this.#say('reset');
          this.#bus.reset();
          this.#backed = 0;
        }
        break;
      default:
        if (random.oneIn(4)) this.#saveAndRestore();
    }
  }

  /** The partition goes on in another process: same memory, new bus, new devices. */
  #saveAndRestore(): void {
    this.#say('save and restore');
    const saved: unknown = JSON.parse(JSON.stringify(this.#bus.save()));
    const bus = new VmBus(this.#host.ports(), this.#host.mailbox);
    this.#offerAll(bus);
    bus.pause();
    bus.restore(saved);
    // A device that was taken away is new here.
    const again = bus.save();
    for (const channel of (saved as ReturnType<VmBus['save']>).channels)
      ensure(
        JSON.stringify(again.channels.find((c) => c.relid === channel.relid)) === JSON.stringify(channel),
        `channel ${channel.relid} is not what it was`,
      );
    // The old one is another process now.
    this.#bus.pause();
    this.#bus = bus;
    if (!this.#paused) bus.resume();
  }

  #check(): void {
    const { defects } = this.#host;
    ensure(defects.length === 0, `a device threw: ${String((defects[0] as Error | undefined)?.stack)}`);
    const tree = this.#bus.inspect();
    ensure((tree.waitingMessages as number) < 600, 'many messages wait');
    ensure((tree.gpadlPages as number) <= 65536, 'buffers name too many pages');
    ensure(Object.keys(tree.channels as object).length < 64, 'channels have become many');
    ensure(this.#host.timers.count < 64, 'timers have become many');
    ensure(this.#host.deferred.length < 2000, 'work has become much');
    for (const channel of this.#bus.save().channels)
      ensure((channel.open?.answers.length ?? 0) < 8, 'many answers wait');
  }
}

const f = VmbusFuzzer.prototype;
const ACTIONS = [
  f.contact,
  f.buffer,
  f.buffer,
  f.open,
  f.open,
  f.small,
  f.nonsense,
  f.rare,
  f.ring,
  f.ring,
  f.ring,
  f.signal,
  f.messages,
  f.messages,
  f.messages,
  f.time,
  f.host,
] as const;

export const target: FuzzTarget = statefulTarget(
  'VMBus: messages, channels, devices',
  ['src/vmbus/'],
  new VmbusFuzzer(),
);
