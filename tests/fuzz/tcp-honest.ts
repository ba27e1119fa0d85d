// An honest guest's TCP over a link that loses, delays, doubles and reorders: whatever the sizes of windows, segments and
// buffers, and however slowly either end reads, both directions end, in the time of the network, with the bytes that were
// sent. A guest as in RFC 9293: retransmission timer with back-off, fast retransmit, zero-window probes, reassembly with a
// window of its own, selective acknowledgments or none. Written from the RFCs, without the code that it tests.

import { ACK, FIN, ip, long, RST, type Seen, SYN, TestGuest, word } from '../../src/vswitch/guest.fixture.ts';
import { ManualTime, TestHost, type TestStream } from '../../src/vswitch/nat/host.fixture.ts';
import { createSwitch } from '../../src/vswitch/switch.ts';
import { Random } from '../oracle/generate.ts';
import { ensure, Violation } from './stateful.ts';

const REMOTE = '93.184.216.34';
const PORT = 80;
const SOURCE = 40_000;
/** Virtual milliseconds after which a transfer, or what is left of it, counts as hung; and a guest's timers. */
const HUNG = 3_600_000;
const LINGERING = 600_000;
const FIRST_TIMEOUT = 200;
const MOST_TIMEOUT = 20_000;
const DUPLICATES = 3;
/** Nothing is lost so many times in a row: a connection that an honest end gives up is none that hangs. */
const MOST_LOST = 2;
const NOW = Promise.resolve();

/** Byte `place` of what goes one way. */
function byteAt(place: number, way: number): number {
  return (place * 7 + (place >> 8) * 13 + way) & 255;
}

function stretch(from: number, length: number, way: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = byteAt(from + i, way);
  return bytes;
}

interface Shape {
  /** Of a hundred. */
  readonly loss: number;
  readonly doubled: number;
  readonly late: number;
  /** Milliseconds. */
  readonly delay: number;
  readonly jitter: number;
  readonly mss: number;
  readonly scale: number | undefined;
  readonly sack: boolean;
  /** Bytes that the guest has room for, that it has to send, that the host has to send. */
  readonly room: number;
  readonly up: number;
  readonly down: number;
  /** Segments that the guest has under way at most. */
  readonly flight: number;
  /** Bytes of each segment that the guest sends. */
  readonly size: number;
  /** It keeps what comes before its time. */
  readonly keeps: boolean;
  readonly delayedAcks: boolean;
  /** How a window of zero is probed: with the next byte, or with none. */
  readonly probeWithByte: boolean;
  /** How many of a hundred turns the guest's program reads, the host's program reads. */
  readonly guestReads: number;
  readonly hostReads: number;
  readonly flowBuffer: number;
}

function shapeOf(random: Random): Shape {
  const size = random.pick([1, 7, 100, 536, 1460]);
  const segments = random.pick([3, 40, 300, 700]);
  const room = random.pick([1, 400, 4000, 65_535, 200_000]);
  return {
    loss: random.pick([0, 2, 8, 15]),
    doubled: random.pick([0, 0, 5]),
    late: random.pick([0, 0, 10, 30]),
    delay: random.pick([0, 1, 20]),
    jitter: random.pick([1, 5, 100]),
    mss: random.pick([1460, 1460, 536, 88]),
    scale: random.oneIn(4) ? undefined : random.pick([0, 3, 7]),
    sack: random.oneIn(2),
    room,
    up: Math.min(40_000, size * segments) + random.below(100),
    down: Math.min(100 * room, random.pick([0, 50, 2000, 40_000]) + random.below(100)),
    flight: random.pick([1, 10, 1000, 1000]),
    size,
    keeps: !random.oneIn(4),
    delayedAcks: random.oneIn(2),
    probeWithByte: random.oneIn(2),
    guestReads: random.pick([5, 50, 100, 100]),
    hostReads: random.pick([5, 50, 100, 100]),
    flowBuffer: random.pick([4096, 32_768, 131_072]),
  };
}

/** What happens later, in the order of its time. */
class Agenda {
  readonly #time: ManualTime;
  readonly #entries: { readonly at: number; readonly run: () => void }[] = [];

  constructor(time: ManualTime) {
    this.#time = time;
  }

  add(milliseconds: number, run: () => void): void {
    const at = this.#time.now() + milliseconds;
    let place = this.#entries.length;
    while (place > 0 && this.#entries[place - 1]!.at > at) place--;
    this.#entries.splice(place, 0, { at, run });
  }

  /** Lets time go on to what is next, `most` milliseconds at the most. */
  async step(most: number): Promise<void> {
    const now = this.#time.now();
    const next = Math.min(this.#entries[0]?.at ?? Number.POSITIVE_INFINITY, now + most);
    if (next > now) this.#time.advance(next - now);
    while (this.#entries.length > 0 && this.#entries[0]!.at <= this.#time.now()) this.#entries.shift()!.run();
    // Acknowledgments that were put off.
    await NOW;
  }
}

/** One direction of the link. */
class Link {
  readonly #random: Random;
  readonly #shape: Shape;
  readonly #agenda: Agenda;
  #lost = 0;
  /** Nothing is lost, doubled or late any more. */
  clean = false;

  constructor(random: Random, shape: Shape, agenda: Agenda) {
    this.#random = random;
    this.#shape = shape;
    this.#agenda = agenda;
  }

  carry(deliver: () => void): void {
    const { loss, doubled, late, delay, jitter } = this.#shape;
    const chance = (percent: number): boolean => !this.clean && this.#random.below(100) < percent;
    if (this.#lost < MOST_LOST && chance(loss)) {
      this.#lost++;
      return;
    }
    this.#lost = 0;
    this.#agenda.add(delay + (chance(late) ? this.#random.below(jitter) : 0), deliver);
    if (chance(doubled)) this.#agenda.add(delay + this.#random.below(jitter), deliver);
  }
}

class HonestGuest {
  readonly #guest: TestGuest;
  readonly #shape: Shape;
  readonly #time: ManualTime;
  readonly #link: Link;
  readonly #first: number;
  /** Number of the host's first byte, once it is known; whether windows are scaled. */
  #theirs: number | undefined;
  #shift = 0;
  #scaled = false;
  #mss = 536;
  // Sending. The FIN counts as the byte behind the last.
  #acknowledged = 0;
  #next = 0;
  #limit = 0;
  #updated: readonly [sequence: number, acknowledgment: number] = [-1, -1];
  #finSent = false;
  #duplicates = 0;
  #deadline: number | undefined;
  #timeout = FIRST_TIMEOUT;
  #sacked: [from: number, to: number][] = [];
  // Receiving.
  #expected = 0;
  #read = 0;
  #promised = 0;
  readonly #early = new Map<number, number>();
  #finAt: number | undefined;
  #unanswered = 0;
  #ackAt: number | undefined;
  /** The other side has broken the connection off. */
  broken = false;

  constructor(guest: TestGuest, shape: Shape, time: ManualTime, link: Link, first: number) {
    this.#guest = guest;
    this.#shape = shape;
    this.#time = time;
    this.#link = link;
    this.#first = first;
  }

  get finished(): boolean {
    const { up } = this.#shape;
    return this.#acknowledged === up + 1 && this.#finAt !== undefined && this.#expected === this.#finAt + 1;
  }

  /** All but the acknowledgment of its own end. */
  get onlyEndMissing(): boolean {
    return this.#acknowledged === this.#shape.up && this.#finSent && this.#expected - 1 === this.#finAt;
  }

  get about(): string {
    return `sent ${this.#next} acknowledged ${this.#acknowledged} limit ${this.#limit}, got ${this.#expected}, read ${this.#read}`;
  }

  start(): void {
    this.#sendSyn();
  }

  #arm(): void {
    this.#deadline = this.#time.now() + this.#timeout;
  }

  #sendSyn(): void {
    const { mss, scale, sack } = this.#shape;
    const options = [2, 4, ...word(mss)];
    if (sack) options.push(1, 1, 4, 2);
    if (scale !== undefined) options.push(1, 3, 3, scale);
    const window = Math.min(0xffff, this.#shape.room);
    this.#promised = window;
    this.#transmit({ flags: SYN, sequence: (this.#first - 1) >>> 0, acknowledgment: 0, options, window });
    this.#arm();
  }

  #transmit(fields: {
    flags: number;
    sequence: number;
    acknowledgment: number;
    options?: readonly number[];
    data?: Uint8Array;
    window: number;
  }): void {
    this.#link.carry(() => {
      this.#guest.tcp(REMOTE, { sourcePort: SOURCE, port: PORT, ...fields });
    });
  }

  /** Any segment but a SYN: it carries what the guest has got, and the room it has. */
  #send(sequence: number, data?: Uint8Array, fin = false): void {
    const { room, scale = 0, sack } = this.#shape;
    const unit = this.#scaled ? 2 ** scale : 1;
    const free = Math.max(0, room - (this.#expected - this.#read));
    // Room that was promised is not taken back, and is not offered anew a byte at a time.
    const offered = this.#expected + (free < Math.min(this.#shape.mss, room / 2) ? 0 : free);
    const window = Math.min(0xffff, Math.ceil((Math.max(this.#promised, offered) - this.#expected) / unit));
    this.#promised = Math.max(this.#promised, this.#expected + window * unit);
    const early = [...this.#early].slice(0, 3);
    const options =
      sack && early.length > 0 && data === undefined
        ? [
            1,
            1,
            5,
            2 + 8 * early.length,
            ...early.flatMap(([from, to]) => [
              ...long((this.#theirs! + from) >>> 0),
              ...long((this.#theirs! + to) >>> 0),
            ]),
          ]
        : [];
    this.#unanswered = 0;
    this.#ackAt = undefined;
    this.#transmit({
      flags: ACK | (fin ? FIN : 0),
      sequence: (this.#first + sequence) >>> 0,
      acknowledgment: (this.#theirs! + this.#expected) >>> 0,
      window,
      options,
      ...(data === undefined ? {} : { data }),
    });
  }

  #answer(): void {
    this.#send(this.#next + (this.#finSent ? 1 : 0));
  }

  /** Sends from `from` on one segment. @returns where the next begins. */
  #sendPiece(from: number): number {
    const { up, size } = this.#shape;
    const length = Math.min(size, this.#mss, up - from, Math.max(1, this.#limit - from));
    if (length > 0) this.#send(from, stretch(from, length, 1), from + length === up && this.#finSent);
    else this.#send(from, undefined, true);
    this.#next = Math.max(this.#next, from + length);
    return from + length;
  }

  /** What there is room for. */
  pump(): void {
    if (this.#theirs === undefined) return;
    const { up, size, flight } = this.#shape;
    while (this.#next < up && this.#next < this.#limit && this.#next - this.#acknowledged < flight * size)
      this.#sendPiece(this.#next);
    if (this.#next === up && !this.#finSent) {
      this.#finSent = true;
      this.#sendPiece(up);
    }
    const open = this.#acknowledged < up + 1;
    if (!open) this.#deadline = undefined;
    else if (this.#deadline === undefined) this.#arm();
  }

  /** The guest's timers. */
  tick(): void {
    const now = this.#time.now();
    if (this.#ackAt !== undefined && now >= this.#ackAt) this.#answer();
    if (this.#deadline === undefined || now < this.#deadline) return;
    this.#timeout = Math.min(MOST_TIMEOUT, this.#timeout * 2);
    this.#arm();
    if (this.#theirs === undefined) return this.#sendSyn();
    this.#duplicates = 0;
    const { up, size, probeWithByte } = this.#shape;
    if (this.#next === this.#acknowledged && this.#next < up) {
      if (!probeWithByte) this.#send(this.#next - 1);
      else {
        // The byte that there is no room for; it may be taken.
        this.#send(this.#next, stretch(this.#next, 1, 1));
        this.#next++;
      }
      return;
    }
    // From what is missing on, ten segments at the most; what the other side has is left out.
    let from = this.#acknowledged;
    for (let n = 0; n < 10 && from < this.#next; n++) {
      const had = this.#sacked.find(([first, behind]) => from >= first && from < behind);
      from = had ? had[1] : this.#sendPiece(from);
    }
    // What it said it had it may have dropped.
    this.#sacked = [];
    if (from >= up && this.#finSent && size > 0) this.#send(up, undefined, true);
  }

  take({ ip: packet, tcp }: Seen): void {
    if (tcp === undefined || packet?.source !== REMOTE || tcp.port !== SOURCE) return;
    if ((tcp.flags & RST) !== 0) {
      this.broken = true;
      return;
    }
    if ((tcp.flags & SYN) !== 0) return this.#takeSyn(tcp);
    if (this.#theirs === undefined) return;
    this.#takeAcknowledgment(tcp);
    this.#takeData(tcp);
    this.pump();
  }

  #takeSyn(tcp: NonNullable<Seen['tcp']>): void {
    if (this.#theirs !== undefined) return this.#answer();
    ensure(tcp.acknowledgment === this.#first, 'the answer to the SYN acknowledges something else');
    this.#theirs = (tcp.sequence + 1) >>> 0;
    for (let at = 0; at < tcp.options.length; ) {
      const kind = tcp.options[at]!;
      if (kind === 2) this.#mss = tcp.options[at + 2]! * 256 + tcp.options[at + 3]!;
      if (kind === 3) [this.#scaled, this.#shift] = [true, tcp.options[at + 2]!];
      at += kind === 1 ? 1 : tcp.options[at + 1]!;
    }
    ensure(!this.#scaled || this.#shape.scale !== undefined, 'a window scale that nobody asked for');
    this.#limit = tcp.window;
    this.#timeout = FIRST_TIMEOUT;
    this.#deadline = undefined;
    this.#answer();
    this.pump();
  }

  #takeAcknowledgment(tcp: NonNullable<Seen['tcp']>): void {
    const at = this.#acknowledged + ((tcp.acknowledgment - this.#first - this.#acknowledged) | 0);
    ensure(at <= this.#next + (this.#finSent ? 1 : 0), 'an acknowledgment of what was never sent');
    const sequence = this.#expected + ((tcp.sequence - this.#theirs! - this.#expected) | 0);
    const limit = at + tcp.window * 2 ** this.#shift;
    const [updateSequence, updateAcknowledgment] = this.#updated;
    const before = this.#limit;
    if (sequence > updateSequence || (sequence === updateSequence && at >= updateAcknowledgment)) {
      this.#updated = [sequence, at];
      ensure(limit >= before || at + 128 >= before - limit, 'room that was promised is taken back');
      this.#limit = limit;
    }
    this.#takeSack(tcp.options);
    if (at > this.#acknowledged) {
      this.#acknowledged = at;
      this.#next = Math.max(this.#next, Math.min(at, this.#shape.up));
      this.#duplicates = 0;
      this.#timeout = FIRST_TIMEOUT;
      this.#deadline = undefined;
      this.#sacked = this.#sacked.filter(([, behind]) => behind > at);
    } else if (at === this.#acknowledged && tcp.data.length === 0 && limit === before && this.#next > at) {
      if (++this.#duplicates === DUPLICATES) this.#sendPiece(at);
    } else if (limit > before && this.#next === this.#acknowledged) {
      this.#timeout = FIRST_TIMEOUT;
      this.#deadline = undefined;
    }
  }

  #takeSack(options: Uint8Array): void {
    const view = new DataView(options.buffer, options.byteOffset, options.length);
    for (let at = 0; at < options.length; ) {
      const kind = options[at]!;
      const length = kind === 1 ? 1 : options[at + 1]!;
      if (kind === 5)
        for (let block = at + 2; block < at + length; block += 8) {
          const place = (offset: number): number =>
            this.#acknowledged + ((view.getUint32(offset) - this.#first - this.#acknowledged) | 0);
          const [from, to] = [place(block), place(block + 4)];
          ensure(from < to && to <= this.#next, 'a selective acknowledgment of what was never sent');
          if (from > this.#acknowledged) this.#sacked.push([from, to]);
        }
      at += length;
    }
  }

  #takeData(tcp: NonNullable<Seen['tcp']>): void {
    const from = this.#expected + ((tcp.sequence - this.#theirs! - this.#expected) | 0);
    const to = from + tcp.data.length;
    const fin = (tcp.flags & FIN) !== 0;
    if (tcp.data.length === 0 && !fin) {
      // A probe.
      if (from < this.#expected) this.#answer();
      return;
    }
    ensure(to <= this.#promised + 1 || to <= this.#expected, 'more than there is room for');
    ensure(Buffer.compare(stretch(from, tcp.data.length, 2), tcp.data) === 0, `bytes at ${from} are not what was sent`);
    if (fin) this.#finAt = to;
    const before = this.#expected;
    const end = Math.min(to, Math.max(this.#promised, this.#expected));
    if (from <= this.#expected) this.#expected = Math.max(this.#expected, end);
    else if (this.#shape.keeps) this.#early.set(from, Math.max(this.#early.get(from) ?? 0, end));
    for (let again = true; again; ) {
      again = false;
      for (const [first, behind] of this.#early) {
        if (first > this.#expected) continue;
        this.#early.delete(first);
        again ||= behind > this.#expected;
        this.#expected = Math.max(this.#expected, behind);
      }
    }
    if (this.#finAt === this.#expected) this.#expected++;
    // In order and no gap behind it: every second one, or a little later.
    if (this.#shape.delayedAcks && this.#expected > before && from === before && !fin && this.#early.size === 0) {
      if (++this.#unanswered < 2) {
        this.#ackAt ??= this.#time.now() + 40;
        return;
      }
    }
    this.#answer();
  }

  /** The program in the guest takes what there is. */
  readAll(): void {
    const { room, mss } = this.#shape;
    const had = this.#promised - this.#expected;
    this.#read = this.#expected;
    if (this.#theirs !== undefined && this.#promised > 0 && had < Math.min(mss, room / 2) && had < room) this.#answer();
  }

  get unread(): number {
    return this.#expected - this.#read;
  }
}

/** One connection from its SYN to its end. @throws when it hangs, breaks, or carries what was not sent. */
export async function honestTransfer(seed: number): Promise<void> {
  const random = new Random(seed);
  const shape = shapeOf(random);
  const time = new ManualTime();
  const host = new TestHost();
  const limits = { flowBuffer: shape.flowBuffer, buffers: 8 * shape.flowBuffer };
  const net = createSwitch({ name: 'net', kind: 'nat', nat: { limits } }, { time, host });
  const adapter = new TestGuest(net.connect({ vm: 'web' }));
  adapter.address = ip(adapter.configure()).join('.');
  const agenda = new Agenda(time);
  const [outward, inward] = [new Link(random, shape, agenda), new Link(random, shape, agenda)];
  const guest = new HonestGuest(
    adapter,
    shape,
    time,
    outward,
    random.pick([1, 0xffff_ff00, 0x7fff_fff0, random.u32()]),
  );
  let stream: TestStream | undefined;
  let [given, got, ended] = [0, 0, false];
  const begun = time.now();

  const hostTurn = (): void => {
    stream ??= host.streams[0]?.stream;
    const events = stream?.events.current;
    if (stream === undefined || events === undefined) return;
    if (!connected) {
      connected = true;
      events.connected();
    }
    for (const bytes of stream.written.splice(0)) {
      ensure(Buffer.compare(stretch(got, bytes.length, 1), bytes) === 0, `bytes at ${got} are not what was sent`);
      got += bytes.length;
    }
    stream.held = random.below(100) >= shape.hostReads;
    if (!stream.held && stream.pending > 0) stream.release();
    while (given < shape.down && !stream.paused && random.below(100) < 70) {
      const length = Math.min(shape.down - given, 1 + random.below(9000));
      stream.deliver(stretch(given, length, 2));
      given += length;
    }
    if (given === shape.down && !ended) {
      ended = true;
      events.end();
    }
  };
  let connected = false;

  guest.start();
  for (;;) {
    hostTurn();
    for (const seen of adapter.take()) inward.carry(() => guest.take(seen));
    if (guest.unread > 0 && random.below(100) < shape.guestReads) guest.readAll();
    guest.tick();
    guest.pump();
    const done = guest.finished && got === shape.up && stream!.ended;
    if (done) break;
    // Told that nobody remembers the connection, when only the last word on its end is missing: it has come to its end.
    if (guest.broken && guest.onlyEndMissing && got === shape.up && stream!.ended) break;
    const broken = guest.broken || stream?.wasReset === true;
    if (broken || time.now() - begun >= HUNG)
      throw new Violation(
        `the connection ${broken ? 'was broken off' : 'hangs'}: ${guest.about}; host got ${got}, gave ${given} of ${JSON.stringify(shape)}`,
      );
    await agenda.step(20);
  }
  guest.readAll();
  outward.clean = true;
  inward.clean = true;
  // Stragglers, and what waits for them.
  const counters = (): { connections: number; heldBytes: number } =>
    (net.inspect() as unknown as { nat: { tcp: { connections: number; heldBytes: number } } }).nat.tcp;
  for (const until = time.now() + LINGERING; counters().connections > 0; ) {
    ensure(time.now() < until, `a connection outlives its end: ${guest.about}`);
    for (const seen of adapter.take()) inward.carry(() => guest.take(seen));
    guest.tick();
    await agenda.step(1000);
  }
  ensure(counters().heldBytes === 0, 'bytes are held for nobody');
  adapter.port.close();
  net.close();
}
