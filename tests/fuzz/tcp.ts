// A guest's TCP that means harm, or is only unlucky: segments in any order, twice, cut differently, with numbers out of
// nowhere; a host that pauses, fails, ends. What arrives is compared with what was sent: each byte is a function of its place.

import { ACK, FIN, long, RST, SYN, type TcpFields, type TestGuest, word } from '../../src/vswitch/guest.fixture.ts';
import { TestStream } from '../../src/vswitch/nat/host.fixture.ts';
import type { Random } from '../oracle/generate.ts';
import { NetworkFuzzer, OUTSIDE } from './network.ts';
import { ensure, statefulTarget } from './stateful.ts';
import type { FuzzTarget } from './target.ts';
import { honestTransfer } from './tcp-honest.ts';

interface Connection {
  readonly guest: TestGuest;
  readonly remote: string;
  readonly sourcePort: number;
  readonly port: number;
  stream: TestStream;
  /** Sequence number of the guest's first byte; of ours, once it is known. */
  readonly first: number;
  ours: number | undefined;
  /** Bytes that the guest has sent, in order; of the host's that it has; and that the host has sent. */
  sent: number;
  got: number;
  delivered: number;
  /** What the other side has acknowledged, and has of our bytes. */
  checked: number;
  finished: boolean;
  scale: number;
}

function byteAt(place: number, way: number): number {
  return (place * 7 + (place >> 8) * 13 + way) & 255;
}

function stretch(from: number, length: number, way: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = byteAt(from + i, way);
  return bytes;
}

const MOST = 6;
/** Of so many cases one is honest. */
const HONEST = 100;

class TcpFuzzer extends NetworkFuzzer {
  #connections: Connection[] = [];
  #nextPort = 1000;

  override begun(): void {
    this.#connections = [];
    for (const guestPort of [80, 81])
      void this.net.nat!.forward({ protocol: 'tcp', address: '127.0.0.1', hostPort: 0, guestPort, target: 'web' });
  }

  act(random: Random): void {
    for (let n = 1 + random.below(4); n > 0; n--) {
      if (this.#connections.length < MOST && random.oneIn(4)) this.#open(random);
      else if (this.#connections.length > 0) this.#go(random, random.pick(this.#connections));
    }
    for (const guest of this.guests)
      if (random.oneIn(20)) {
        guest.taking = !guest.taking;
        if (guest.taking) guest.port.resume();
      }
    if (random.oneIn(60)) this.net.nat!.drop(0);
    if (random.oneIn(10)) this.#nonsense(random);
  }

  #open(random: Random): void {
    const first = random.pick([1, 0xffff_ff00, 0x7fff_fff0, random.u32()]);
    const connection: Omit<Connection, 'guest' | 'remote' | 'sourcePort' | 'port' | 'stream'> = {
      first: (first + 1) >>> 0,
      ours: undefined,
      sent: 0,
      got: 0,
      delivered: 0,
      checked: 0,
      finished: false,
      scale: random.pick([0, 2, 7, 14]),
    };
    if (random.oneIn(4) && this.host.listeners.length > 0) return this.#accept(random, connection);
    const options = random.oneIn(6)
      ? []
      : [
          2,
          4,
          ...word(random.pick([1460, 536, 1, 65_535])),
          4,
          2,
          1,
          3,
          3,
          connection.scale,
          1,
          1,
          ...(random.oneIn(5) ? [random.below(9), random.below(9), 1, 1] : [1, 1, 1, 1]),
        ].slice(0, 12);
    if (options.length === 0 || random.oneIn(20)) connection.scale = 0;
    const guest = random.pick(this.guests);
    const remote = random.pick(OUTSIDE);
    const sourcePort = this.#nextPort++ & 0x7fff;
    guest.tcp(remote, {
      sourcePort,
      port: 80,
      sequence: first,
      flags: SYN,
      options: connection.scale === 0 ? [] : options,
    });
    const stream = this.host.streams.at(-1)?.stream;
    if (stream === undefined || this.#connections.some((other) => other.stream === stream)) return;
    if (stream.events.current === undefined) return;
    this.#connections.push({ ...connection, guest, remote, sourcePort, port: 80, stream });
    this.note(`open ${sourcePort} first ${first}`);
  }

  #accept(random: Random, connection: Omit<Connection, 'guest' | 'remote' | 'sourcePort' | 'port' | 'stream'>): void {
    const at = random.below(2);
    const stream = new TestStream();
    const port = this.#nextPort++ & 0x7fff;
    const [guest] = this.guests;
    stream.events.current = this.host.listeners[at]!.accept(stream, { address: '203.0.113.7', port });
    if (stream.wasReset) return;
    this.#connections.push({
      ...connection,
      scale: 0,
      guest: guest!,
      remote: '203.0.113.7',
      sourcePort: 80 + at,
      port,
      stream,
    });
    this.note(`accept ${port}`);
  }

  #send(connection: Connection, fields: Partial<TcpFields>): void {
    const { guest, remote, sourcePort, port, first, sent } = connection;
    const acknowledgment = ((connection.ours ?? 0) + connection.got) >>> 0;
    guest.tcp(remote, {
      sourcePort,
      port,
      sequence: (first + sent) >>> 0,
      acknowledgment,
      flags: ACK,
      window: 4000,
      ...fields,
    });
  }

  #go(random: Random, connection: Connection): void {
    const { stream, first } = connection;
    const events = stream.events.current;
    const act = random.below(16);
    this.note(
      `${connection.sourcePort} ${connection.port}: ${act} sent ${connection.sent} got ${connection.got} ${events === undefined ? 'gone' : ''}`,
    );
    if (events === undefined || stream.wasReset) {
      this.#connections.splice(this.#connections.indexOf(connection), 1);
      return;
    }
    switch (act) {
      case 0:
        return connection.remote.startsWith('203')
          ? this.#send(connection, {
              sequence: (first - 1) >>> 0,
              flags: SYN | ACK,
              options: random.oneIn(2) ? [2, 4, ...word(1460), 4, 2, 1, 1] : [],
            })
          : events.connected();
      case 1:
      case 2:
      case 3: {
        if (connection.ours === undefined || connection.finished) return;
        const length = random.oneIn(8) ? random.below(1400) : random.below(60);
        this.#send(connection, {
          data: stretch(connection.sent, length, 1),
          window: random.pick([0, 10, 4000, 65_535]),
        });
        connection.sent += length;
        return;
      }
      case 4: {
        // Again, or ahead of its time: the same bytes at the same place.
        if (connection.ours === undefined || connection.finished) return;
        const from = Math.max(0, connection.sent - random.below(200) + random.below(400));
        return this.#send(connection, { sequence: (first + from) >>> 0, data: stretch(from, random.below(300), 1) });
      }
      case 5:
        if (connection.ours === undefined || connection.finished || !random.oneIn(3)) return;
        connection.finished = true;
        return this.#send(connection, { flags: FIN | ACK });
      case 6:
      case 7:
      case 8: {
        if (connection.delivered > 500_000 || stream.paused || stream.ended === undefined) return;
        const length = random.oneIn(10) ? random.below(60_000) : random.below(900);
        if (this.#endedStreams.has(stream)) return;
        stream.deliver(stretch(connection.delivered, length, 2));
        connection.delivered += length;
        return;
      }
      case 9:
        if (random.oneIn(3) && !this.#endedStreams.has(stream)) {
          this.#endedStreams.add(stream);
          events.end();
        }
        return;
      case 10:
        stream.held = !stream.held;
        if (!stream.held) stream.release();
        return;
      case 11:
        if (random.oneIn(4))
          events.closed(
            random.pick(['refused', 'unreachable', 'timeout', 'denied', 'reset', 'failed', undefined] as const),
          );
        return;
      case 12:
        return this.#send(connection, {
          flags: random.oneIn(3) ? RST : SYN,
          sequence: random.oneIn(2) ? (first + connection.sent) >>> 0 : random.u32(),
        });
      case 13:
        return this.#send(connection, {
          acknowledgment: random.oneIn(2)
            ? random.u32()
            : ((connection.ours ?? 0) + connection.got + random.below(3000)) >>> 0,
          flags: random.oneIn(5) ? random.below(64) & ~(FIN | SYN) : ACK,
        });
      case 14: {
        const from = (connection.ours ?? 0) + connection.got + random.below(4000);
        const options = [1, 1, 5, 10, ...long(from), ...long(from + random.below(5000))];
        return this.#send(connection, { options: random.oneIn(4) ? options.slice(0, 8) : options });
      }
      default:
        return this.#send(connection, { window: random.pick([0, 1, 65_535]) });
    }
  }

  readonly #endedStreams = new WeakSet<TestStream>();

  #nonsense(random: Random): void {
    const guest = random.pick(this.guests);
    guest.tcp(random.pick([...OUTSIDE, '172.30.0.1', '127.0.0.1']), {
      sourcePort: random.below(0x1_0000),
      port: random.below(100),
      sequence: random.u32(),
      acknowledgment: random.u32(),
      flags: random.below(256),
      options: new Array<number>(4 * random.below(11)).fill(0).map(() => random.below(10)),
      data: new Uint8Array(random.below(50)),
    });
  }

  /** What the guest takes: acknowledged at the next occasion, and compared. */
  override seen(guest: TestGuest): void {
    for (const { ip, tcp } of guest.frames) {
      if (tcp === undefined) continue;
      const connection = this.#connections.find(
        (each) =>
          each.guest === guest &&
          each.remote === ip!.source &&
          each.port === tcp.sourcePort &&
          each.sourcePort === tcp.port,
      );
      if (connection === undefined || (tcp.flags & RST) !== 0) continue;
      if ((tcp.flags & SYN) !== 0) {
        connection.ours = (tcp.sequence + 1) >>> 0;
        continue;
      }
      if (connection.ours === undefined) continue;
      const place = connection.got + ((tcp.sequence - connection.ours - connection.got) | 0);
      if (tcp.data.length > 0) {
        ensure(place >= 0 && place + tcp.data.length <= connection.delivered, 'bytes that nobody has sent');
        const wanted = stretch(place, tcp.data.length, 2);
        ensure(Buffer.compare(wanted, tcp.data) === 0, `bytes at ${place} are not what the host has sent`);
        if (place <= connection.got) connection.got = Math.max(connection.got, place + tcp.data.length);
      }
    }
    for (const connection of this.#connections) {
      const { stream } = connection;
      for (const bytes of stream.written.splice(0)) {
        const wanted = stretch(connection.checked, bytes.length, 1);
        ensure(Buffer.compare(wanted, bytes) === 0, `bytes at ${connection.checked} are not what the guest has sent`);
        connection.checked += bytes.length;
      }
    }
  }
}

const hostile = statefulTarget('TCP of the NAT network', ['src/vswitch/nat/tcp/'], new TcpFuzzer());

/** The last case of each group is an honest guest's whole connection over a bad link: it comes to its end. */
export const tcpTarget: FuzzTarget = {
  ...hostile,
  run: async (seed) => {
    const outcome = await hostile.run(seed);
    if (seed % HONEST !== HONEST - 1) return outcome;
    await honestTransfer(seed);
    return 'carried';
  },
};
