// Connections between host and guest that mean harm: requests for services that are there or not, packets that lie about their
// size, channels closed and reopened, a host that reads slowly or not at all. The host's buffers stay bounded, every
// connection ends, and its channel is taken back.

import { type GuestChannel, type GuestOffer, message, TestBus, TestGuest } from '../../src/vmbus/guest.fixture.ts';
import { MessageType, PacketType } from '../../src/vmbus/protocol.ts';
import { viewOf } from '../../src/vmbus/ring.ts';
import type { Connection } from '../../src/vsp/hvsocket/connection.ts';
import { HvSocket } from '../../src/vsp/hvsocket/device.ts';
import { Random } from '../oracle/generate.ts';
import { ensure, type StatefulFuzzer, statefulTarget } from './stateful.ts';
import type { FuzzTarget } from './target.ts';

const PAGES = 2048;
const RING_PAGES = 7;
const MOST_CHANNELS = 100;
const TAIL = [0x11e6_facb, 0x0064_58bd, 0xd386_796a];
/** What a connection may keep for a host that does not read: its buffer, and the packet that filled it. */
const MOST_UNREAD = 64 * 1024 + 16_384;
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

class HvSocketFuzzer implements StatefulFuzzer {
  readonly group = 40;
  readonly log: string[] = [];
  #host = new TestBus();
  #sockets = new HvSocket(this.#host.bus, this.#host.timers);
  #guest = new TestGuest(this.#host);
  #offers: GuestOffer[] = [];
  #channels = new Map<number, GuestChannel>();
  #connections: Connection[] = [];
  /** First pages of the places for rings that are free. */
  #places: number[] = [];

  reset(): void {
    this.log.length = 0;
    this.#host = new TestBus({ pages: PAGES, slots: 1000 });
    this.#sockets = new HvSocket(this.#host.bus, this.#host.timers);
    this.#host.bus.onConnectRequest = (endpoint, service) => {
      this.#sockets.requested(endpoint, service);
    };
    for (const port of [1, 2]) this.#sockets.listen(port, (connection) => this.#connections.push(connection));
    this.#guest = new TestGuest(this.#host);
    this.#guest.contact();
    this.#guest.offers();
    this.#offers = [];
    this.#channels.clear();
    this.#connections = [];
    this.#places = Array.from({ length: MOST_CHANNELS }, (_, i) => 16 + i * RING_PAGES * 2);
  }

  async run(seed: number): Promise<void> {
    const random = new Random(seed);
    for (let n = 1 + random.below(6); n > 0; n--) this.#step(random);
    await tick();
    this.#host.run();
    this.#takeMessages();
    if ((seed + 1) % this.group === 0) await this.#settle();
    const { defects } = this.#host;
    ensure(defects.length === 0, `sockets threw: ${String((defects[0] as Error | undefined)?.stack)}`);
    for (const connection of this.#connections) {
      const { unread } = connection.inspect();
      ensure((unread as number) <= MOST_UNREAD, `${unread as number} bytes wait for a reader`);
    }
  }

  #step(random: Random): void {
    const actions = [
      () => this.#request(random),
      () => this.#open(random),
      () => this.#send(random),
      () => this.#send(random),
      () => this.#send(random),
      () => this.#receive(random),
      () => this.#hostSide(random),
      () => this.#hostSide(random),
      () => this.#close(random),
      () => this.#odd(random),
    ];
    const which = random.below(actions.length);
    this.log.push(String(which));
    if (this.log.length > 30) this.log.shift();
    actions[which]!();
    this.#takeMessages();
  }

  #request(random: Random): void {
    if (random.oneIn(3)) {
      this.#sockets.connect(random.below(3), 50).then(
        (connection) => this.#connections.push(connection),
        () => undefined,
      );
      return;
    }
    const tail = random.oneIn(8) ? [random.u32(), random.u32(), random.u32()] : TAIL;
    this.#guest.post(message(MessageType.TL_CONNECT_REQUEST, random.below(8), ...TAIL, random.below(4), ...tail));
  }

  #takeMessages(): void {
    for (;;) {
      const next = this.#host.messages[0];
      if (!next) return;
      const view = viewOf(next.payload);
      const type = view.getUint32(0, true);
      if (type === MessageType.OFFER_CHANNEL) this.#offers.push(this.#guest.offer());
      else {
        this.#host.messages.shift();
        if (type !== MessageType.RESCIND_CHANNEL_OFFER) continue;
        const relid = view.getUint32(8, true);
        this.#offers = this.#offers.filter((offer) => offer.relid !== relid);
        this.#forget(relid);
        this.#guest.post(message(MessageType.RELID_RELEASED, relid));
      }
    }
  }

  #forget(relid: number): void {
    const channel = this.#channels.get(relid);
    if (!channel) return;
    this.#channels.delete(relid);
    this.#places.push(Math.min(...channel.pages));
  }

  #open(random: Random): void {
    const offer = random.oneIn(2) ? this.#offers[0] : this.#offers.at(-1);
    if (!offer || this.#channels.has(offer.relid)) return;
    const place = this.#places.pop();
    if (place === undefined) return;
    this.#guest.reuse([place]);
    const next = this.#guest.open(offer, RING_PAGES);
    this.#channels.set(offer.relid, next);
    this.#offers = this.#offers.filter((each) => each !== offer);
  }

  #channel(random: Random): GuestChannel | undefined {
    const all = [...this.#channels.values()];
    return all.length > 0 ? random.pick(all) : undefined;
  }

  #send(random: Random): void {
    const length = random.oneIn(4) ? 0 : random.below(random.oneIn(3) ? 17_000 : 600);
    const payload = new Uint8Array(random.oneIn(20) ? random.below(8) : 8 + length);
    if (payload.length >= 8) {
      viewOf(payload).setUint32(0, random.oneIn(25) ? random.u32() : 1, true);
      viewOf(payload).setUint32(4, random.oneIn(15) ? random.u32() >>> random.below(32) : length, true);
    }
    const type = random.oneIn(25) ? PacketType.COMPLETION : PacketType.DATA_IN_BAND;
    const flags = random.oneIn(6) ? 1 : 0;
    this.#channel(random)?.send({ type, transactionId: BigInt(random.u32()), payload, flags });
  }

  #receive(random: Random): void {
    const channel = this.#channel(random);
    for (let n = random.below(8); n > 0; n--) channel?.receive();
  }

  #hostSide(random: Random): void {
    if (this.#connections.length === 0) return;
    const connection = random.pick(this.#connections);
    const actions = [
      () => void connection.read(),
      () => void connection.read(),
      () => void connection.write(new Uint8Array(random.below(40_000))),
      () => void connection.write(new Uint8Array(random.below(400))),
      () => connection.end(),
      () => (random.oneIn(4) ? connection.destroy() : undefined),
    ];
    random.pick(actions)();
  }

  #close(random: Random): void {
    const channel = this.#channel(random);
    if (!channel || !random.oneIn(3)) return;
    channel.close();
    this.#takeMessages();
    if (random.oneIn(2)) this.#guest.post(message(MessageType.GPADL_TEARDOWN, channel.offer.relid, channel.gpadl));
  }

  #odd(random: Random): void {
    if (random.oneIn(4)) this.#host.timers.advance(random.below(100));
    else
      random.pick([
        () => (random.oneIn(4) ? this.#channel(random)?.setField('out', 0, random.u32()) : undefined),
        () => this.#host.bus.save(),
        () => this.#sockets.inspect(),
      ])();
    this.#host.run();
  }

  /** The host ends everything: nothing is left of it. */
  async #settle(): Promise<void> {
    if (this.#host.bus.inspect().connected === true) this.#sockets.reset();
    await tick();
    this.#host.timers.advance(60_000);
    this.#takeMessages();
    const { connections } = this.#sockets.inspect();
    ensure(connections === 0, `${connections as number} connections do not end`);
    for (const connection of this.#connections) {
      ensure(connection.ended !== undefined, 'a connection has not ended');
      while ((await connection.read()) !== undefined);
      ensure(!(await connection.write(new Uint8Array(1))), 'a connection that has ended is written to');
    }
    const devices = Object.keys(this.#host.bus.inspect().devices as object);
    ensure(devices.length === 0, `${devices.join()} are still offered`);
    this.reset();
  }
}

export const target: FuzzTarget = statefulTarget(
  'sockets between host and guest',
  ['src/vsp/hvsocket/'],
  new HvSocketFuzzer(),
);
