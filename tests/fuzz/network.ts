// Guests that mean harm to the NAT network: messages of each protocol, nearly right or not at all, hosts that answer what they
// like, time that passes. Whatever comes, nothing is thrown, what guests are sent is well formed, limits hold, and nothing is
// left when the guests are gone. What TCP carries is compared byte for byte. `npm run fuzz -- --target nat-tcp`.

import {
  GATEWAY,
  internetChecksum,
  ip,
  ipPacket,
  long,
  TestGuest,
  udpDatagram,
  word,
} from '../../src/vswitch/guest.fixture.ts';
import { ManualTime, TestHost } from '../../src/vswitch/nat/host.fixture.ts';
import { createSwitch, type VirtualSwitch } from '../../src/vswitch/switch.ts';
import { Random } from '../oracle/generate.ts';
import { ensure, type StatefulFuzzer, statefulTarget } from './stateful.ts';
import type { FuzzTarget } from './target.ts';

export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
export const ADDRESSES = [
  GATEWAY,
  '172.30.0.10',
  '172.30.0.11',
  '172.30.0.255',
  '255.255.255.255',
  '0.0.0.0',
  '127.0.0.1',
  '169.254.169.254',
  '198.51.100.7',
  '224.0.0.251',
  '93.184.216.34',
  '93.184.216.35',
];
export const OUTSIDE = ['93.184.216.34', '93.184.216.35'] as const;

/** Changes some bytes, or the length. */
export function spoil(random: Random, bytes: number[], from = 0): number[] {
  const result = bytes.slice();
  for (let n = 1 + random.below(4); n > 0 && result.length > from; n--)
    result[from + random.below(result.length - from)] = random.pick([0, 1, 255, 128, random.below(256)]);
  if (random.oneIn(6)) result.length = from + random.below(Math.max(1, result.length - from));
  if (random.oneIn(8)) for (let n = random.below(40); n > 0; n--) result.push(random.below(256));
  return result;
}

export interface Counters {
  readonly tcp: { readonly connections: number; readonly heldBytes: number };
  readonly udp: { readonly ports: number; readonly peers: number };
  readonly fragments: { readonly packets: number };
}

/** One network with two guests; `act` is a case. */
export abstract class NetworkFuzzer implements StatefulFuzzer {
  readonly group = 100;
  readonly log: string[] = [];
  time = new ManualTime();
  host = new TestHost();
  net: VirtualSwitch = createSwitch({ name: 'fuzz', kind: 'private' }, { time: this.time });
  guests: TestGuest[] = [];

  reset(seed: number): void {
    this.log.length = 0;
    this.time = new ManualTime();
    this.host = new TestHost();
    this.host.echoAllowed = seed % 200 !== 0;
    const limits = {
      flows: 24,
      adapterFlows: 16,
      buffers: 2 ** 20,
      flowBuffer: 2 ** 17,
      udpFlows: 12,
      adapterUdpFlows: 8,
    };
    this.net = createSwitch(
      { name: 'fuzz', kind: 'nat', nat: { limits, hostAccess: seed % 300 === 0 ? 'all' : [] } },
      { time: this.time, host: this.host },
    );
    const egress = seed % 400 === 0 ? { egress: ['*.example.com', '93.184.0.0/16', 'udp:*:1-1000'] } : {};
    this.guests = ['web', 'db'].map((vm) => new TestGuest(this.net.connect({ vm, ...egress })));
    for (const guest of this.guests) guest.configure();
    this.begun(seed);
  }

  begun(_seed: number): void {}

  abstract act(random: Random): void | Promise<void>;

  seen(_guest: TestGuest): void {}

  note(text: string): void {
    this.log.push(text);
    if (this.log.length > 30) this.log.shift();
  }

  async run(seed: number): Promise<void> {
    const random = new Random(seed);
    await this.act(random);
    if (random.oneIn(4)) this.time.advance(random.pick([1, 60, 300, 2000, 40_000, 700_000]));
    if (random.oneIn(2)) await settle();
    for (const guest of this.guests) {
      this.seen(guest);
      for (const { frame, destination } of guest.take()) {
        ensure(frame.bytes.length <= 65_549, 'a frame is too long');
        ensure(
          destination === 'ff-ff-ff-ff-ff-ff' || destination === guest.port.mac.toLowerCase(),
          'a frame for another',
        );
        ensure(frame.segmentSize > 0 || frame.bytes.length <= 1514, 'a frame beyond the MTU');
      }
    }
    // Making the tree takes longer than most cases.
    if (seed % 5 === 0) this.check();
    if ((seed + 1) % this.group === 0) await this.finish();
  }

  counters(): Counters {
    return (this.net.inspect() as unknown as { nat: Counters }).nat;
  }

  check(): void {
    const { tcp, udp, fragments } = this.counters();
    ensure(
      tcp.connections <= 24 && udp.ports <= 12 && udp.peers <= 512 && fragments.packets <= 64,
      'a limit is exceeded',
    );
    ensure(tcp.heldBytes >= 0 && tcp.heldBytes < 24 * 3 * 2 ** 17, 'too much is held');
  }

  /** Nothing is left when the guests are gone. */
  async finish(): Promise<void> {
    for (const guest of this.guests) guest.port.close();
    await settle();
    const { tcp, udp } = this.counters();
    ensure(tcp.connections === 0 && tcp.heldBytes === 0 && udp.ports === 0, 'connections outlive their guests');
    this.time.advance(400_000);
    await settle();
    ensure(this.time.pending === 0, `${this.time.pending} timers are left`);
    ensure(
      this.host.sockets.every((socket) => !socket.open || socket.at !== undefined),
      'sockets are left open',
    );
    this.net.close();
    await settle();
    ensure(
      this.host.sockets.every((socket) => !socket.open),
      'sockets are left open at the end',
    );
  }
}

class ArpFuzzer extends NetworkFuzzer {
  act(random: Random): void {
    const guest = random.pick(this.guests);
    const other = random.pick(this.guests);
    const broadcast = random.oneIn(3) ? undefined : new Array<number>(6).fill(255);
    const packet = [0, 1, 8, 0, 6, 4, ...word(random.oneIn(6) ? random.below(9) : 1 + random.below(2))];
    packet.push(
      ...(random.oneIn(5) ? other.mac : guest.mac),
      ...ip(random.oneIn(3) ? random.pick(ADDRESSES) : guest.address),
    );
    packet.push(...new Array<number>(6).fill(0), ...ip(random.oneIn(2) ? GATEWAY : random.pick(ADDRESSES)));
    this.note(packet.join(' '));
    guest.frame(0x806, random.oneIn(3) ? spoil(random, packet) : packet, broadcast);
    if (random.oneIn(40))
      void this.net.nat!.forward({
        protocol: 'udp',
        address: '127.0.0.1',
        hostPort: 7,
        guestPort: 7,
        target: random.pick(ADDRESSES),
      });
    if (random.oneIn(4)) {
      const socket = this.host.sockets.at(-1);
      if (socket?.at !== undefined)
        socket.receive(Uint8Array.of(1), { address: '203.0.113.9', port: 1 + random.below(3) });
    }
  }

  override seen(guest: TestGuest): void {
    for (const { frame, type } of guest.frames) {
      if (type !== 0x806 || frame.bytes[21] !== 2) continue;
      const sender = [...frame.bytes.subarray(28, 32)].join('.');
      const other = this.guests.find((each) => each !== guest && each.address === sender);
      ensure(
        sender === GATEWAY || other !== undefined || !ADDRESSES.slice(1, 3).includes(sender),
        'somebody else answers',
      );
    }
  }
}

class DhcpFuzzer extends NetworkFuzzer {
  act(random: Random): void {
    const guest = random.pick(this.guests);
    const options: number[] = [];
    for (let n = random.below(5); n > 0; n--) {
      const kind = random.pick([50, 54, 55, 61, 12, 0, 255, 51, random.below(256)]);
      const value = random.oneIn(2)
        ? ip(random.pick([...ADDRESSES, '172.30.0.12']))
        : [...new Array(random.below(9))].map(() => random.below(256));
      options.push(kind, random.oneIn(12) ? random.below(256) : value.length, ...value);
    }
    const type = random.oneIn(10) ? random.below(256) : 1 + random.below(8);
    this.note(`${type} ${options.join(' ')}`);
    if (random.oneIn(50)) {
      guest.port.close();
      const vm = random.pick(['web', 'db', 'other', '???', 'A B']);
      try {
        this.guests[this.guests.indexOf(guest)] = new TestGuest(this.net.connect({ vm, index: random.below(2) }));
      } catch (error) {
        ensure(error instanceof Error && error.message.includes('already'), String(error));
        this.guests[this.guests.indexOf(guest)] = new TestGuest(this.net.connect({ vm, mac: '02-00-00-00-00-07' }));
      }
      return;
    }
    if (random.oneIn(3)) {
      const bytes = [
        1,
        1,
        6,
        0,
        ...long(5),
        0,
        0,
        ...(random.oneIn(2) ? [128, 0] : [0, 0]),
        ...ip(random.pick(ADDRESSES)),
      ];
      bytes.push(
        ...new Array<number>(12).fill(0),
        ...guest.mac,
        ...new Array<number>(202).fill(0),
        0x63,
        0x82,
        0x53,
        0x63,
      );
      const message = spoil(random, [...bytes, 53, 1, type, ...options], random.oneIn(3) ? 0 : 240);
      const packet = udpDatagram(
        random.oneIn(2) ? '0.0.0.0' : guest.address,
        68,
        random.oneIn(2) ? '255.255.255.255' : GATEWAY,
        67,
        message,
      );
      guest.frame(0x800, packet, random.oneIn(2) ? undefined : new Array<number>(6).fill(255));
    } else guest.dhcp(type, options, random.oneIn(3) ? guest.address : '0.0.0.0');
  }

  override seen(guest: TestGuest): void {
    for (const { udp } of guest.frames) {
      if (udp?.sourcePort !== 67) continue;
      ensure(udp.data.length >= 300 && udp.data[0] === 2, 'a malformed answer');
      const address = [...udp.data.subarray(16, 20)].join('.');
      ensure(
        address === '0.0.0.0' || (/^172\.30\.0\.\d+$/.test(address) && address !== GATEWAY),
        `the address ${address} is given`,
      );
    }
  }

  override check(): void {
    super.check();
    const { leases } = (this.net.inspect() as unknown as { nat: { leases: Record<string, string> } }).nat;
    ensure(new Set(Object.values(leases)).size === Object.keys(leases).length, 'an address has two owners');
  }
}

class DnsFuzzer extends NetworkFuzzer {
  readonly #names = [
    'web',
    'host.viridian.internal',
    'viridian.internal',
    'nobody.viridian.internal',
    'a.b.viridian.internal',
    'example.com',
    'www.example.com',
    '10.0.30.172.in-addr.arpa',
    '1.0.30.172.in-addr.arpa',
    '4.4.8.8.in-addr.arpa',
    'x',
    '',
  ];
  #sequences = new Map<number, { next: number; acknowledgment: number }>();

  override begun(): void {
    this.#sequences.clear();
    this.host.resolverList = [
      { address: '192.0.2.53', port: 53 },
      { address: '2001:db8::53', port: 53 },
    ].slice(0, this.host.echoAllowed ? 2 : 0);
  }

  #message(random: Random): number[] {
    const name = random.pick(this.#names);
    const labels = name === '' ? [] : name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
    const end = random.oneIn(10) ? [0xc0, random.below(40)] : [0];
    const type = random.pick([1, 28, 12, 255, 15]);
    const header = [
      ...word(random.below(0x1_0000)),
      random.oneIn(8) ? random.below(256) : 1,
      0,
      0,
      random.oneIn(12) ? random.below(4) : 1,
      0,
      0,
      0,
      0,
      0,
      0,
    ];
    const message = [...header, ...labels, ...end, ...word(type), 0, random.oneIn(20) ? 3 : 1];
    return random.oneIn(3) ? spoil(random, message) : message;
  }

  act(random: Random): void {
    const guest = random.pick(this.guests);
    const message = this.#message(random);
    this.note(message.join(' '));
    if (random.oneIn(3)) this.#overTcp(random, guest, message);
    else guest.udp(5000 + random.below(4), GATEWAY, 53, message);
    this.#answer(random);
  }

  /** A server that answers, wrongly at times. */
  #answer(random: Random): void {
    const socket = this.host.sockets.findLast(({ open, sent }) => open && sent.length > 0);
    if (socket === undefined) return;
    const { bytes, to } = socket.sent[0]!;
    const answer = [...bytes.subarray(0, 2), 0x81, 0x80, ...bytes.subarray(4)];
    answer.splice(6, 2, 0, random.below(4));
    for (let n = random.below(4); n > 0; n--)
      answer.push(0xc0, 12, 0, random.oneIn(4) ? 28 : 1, 0, 1, 0, 0, 0, 9, 0, 4, ...ip(random.pick(ADDRESSES)));
    socket.receive(
      Uint8Array.from(random.oneIn(2) ? spoil(random, answer) : answer),
      random.oneIn(5) ? { address: '192.0.2.66', port: 53 } : to,
    );
    const stream = this.host.streams.findLast(
      ({ to: target, stream: each }) => target.port === 53 && each.events.current !== undefined,
    );
    if (stream === undefined) return;
    const { current } = stream.stream.events;
    if (random.oneIn(4)) current!.closed('refused');
    else if (stream.stream.written.length === 0) current!.connected();
    else {
      const framed = [...stream.stream.written[0]!];
      if (framed.length > 4) framed[4] = 0x81;
      stream.stream.deliver(Uint8Array.from(random.oneIn(3) ? spoil(random, framed) : framed));
    }
  }

  #overTcp(random: Random, guest: TestGuest, message: number[]): void {
    const sourcePort = 40_000 + random.below(3);
    const key = sourcePort + this.guests.indexOf(guest) * 0x1_0000;
    const known = this.#sequences.get(key);
    if (known === undefined) {
      this.#sequences.set(key, { next: 1001, acknowledgment: 0 });
      return guest.tcp(GATEWAY, { sourcePort, port: 53, sequence: 1000, flags: 2 });
    }
    const framed = [...word(random.oneIn(10) ? random.below(0x1_0000) : message.length), ...message];
    const data = random.oneIn(3) ? framed.slice(0, random.below(framed.length)) : framed;
    const fin = random.oneIn(8);
    guest.tcp(GATEWAY, {
      sourcePort,
      port: 53,
      sequence: known.next,
      acknowledgment: known.acknowledgment,
      flags: fin ? 17 : 16,
      data,
    });
    known.next += data.length;
    if (fin) this.#sequences.delete(key);
  }

  override seen(guest: TestGuest): void {
    for (const { tcp, udp } of guest.frames) {
      if (udp?.sourcePort === 53) ensure(udp.data.length >= 12 && (udp.data[2]! & 0x80) !== 0, 'no response');
      const known =
        tcp === undefined ? undefined : this.#sequences.get(tcp.port + this.guests.indexOf(guest) * 0x1_0000);
      if (known !== undefined && tcp !== undefined) {
        if ((tcp.flags & 4) !== 0) this.#sequences.delete(tcp.port + this.guests.indexOf(guest) * 0x1_0000);
        else known.acknowledgment = (tcp.sequence + tcp.data.length + ((tcp.flags & 3) !== 0 ? 1 : 0)) >>> 0;
      }
    }
  }
}

/** UDP, ICMP, and IPv4 in pieces. */
class UdpFuzzer extends NetworkFuzzer {
  override begun(): void {
    for (const target of ['web', '172.30.0.11', '', '172.30.0.99'])
      void this.net.nat!.forward({ protocol: 'udp', address: '127.0.0.1', hostPort: 0, guestPort: 53, target });
  }

  act(random: Random): void {
    const guest = random.pick(this.guests);
    const destination = random.oneIn(3) ? random.pick(ADDRESSES) : random.pick(OUTSIDE);
    const source = random.oneIn(12) ? random.pick(ADDRESSES) : guest.address;
    const data = new Array<number>(random.oneIn(12) ? random.below(4000) : random.below(30)).fill(random.below(256));
    let packet: number[];
    if (random.oneIn(4)) {
      const message = [
        random.oneIn(6) ? random.below(20) : 8,
        0,
        0,
        0,
        ...word(random.below(9)),
        ...word(random.below(9)),
        ...data,
      ];
      message.splice(2, 2, ...word(random.oneIn(9) ? 0 : internetChecksum(message)));
      packet = ipPacket({ source, destination, protocol: 1 }, message);
    } else
      packet = udpDatagram(
        source,
        random.oneIn(4) ? 53 : random.below(12),
        destination,
        random.pick([1, 53, 67, 123, 999, 1000]),
        data,
      );
    if (random.oneIn(15)) packet[9] = random.below(256);
    this.note(`${source} ${destination} ${packet.length}`);
    if (packet.length > 1500 || random.oneIn(6)) this.#pieces(random, guest, packet);
    else guest.ip(random.oneIn(4) ? spoil(random, packet, random.below(28)) : packet);
    this.#answer(random);
  }

  #pieces(random: Random, guest: TestGuest, packet: number[]): void {
    const payload = packet.slice(20);
    const fields = {
      source: guest.address,
      destination: packet.slice(16, 20).join('.'),
      protocol: packet[9]!,
      id: random.below(100),
    };
    const size = 8 * (1 + random.below(160));
    const pieces: number[][] = [];
    for (let at = 0; at < payload.length && pieces.length < 40; at += size) {
      const offset = random.oneIn(40) ? 8 * random.below(8191) : at;
      const length = random.oneIn(40) ? random.below(size + 16) : size;
      pieces.push(ipPacket({ ...fields, offset, more: at + size < payload.length }, payload.slice(at, at + length)));
    }
    if (random.oneIn(3)) pieces.reverse();
    for (const piece of pieces) if (!random.oneIn(30)) guest.ip(piece);
    if (random.oneIn(8) && pieces.length > 0) guest.ip(pieces[0]!);
  }

  #answer(random: Random): void {
    const socket = this.host.sockets.length === 0 ? undefined : random.pick(this.host.sockets);
    const bytes = new Uint8Array(random.oneIn(15) ? random.below(60_000) : random.below(99));
    const address = random.pick([...OUTSIDE, '127.0.0.1', '198.51.100.7', '203.0.113.1', '::1', '::ffff:203.0.113.2']);
    socket?.receive(bytes, { address, port: random.pick([1, 53, 123, 999, 65_535]) });
    const echo = this.host.echoes.at(-1);
    if (echo !== undefined && random.oneIn(3))
      this.host.replied!(
        random.oneIn(5) ? '::1' : echo.address,
        random.oneIn(5) ? random.below(0x1_0000) : echo.sequence,
        echo.data,
      );
  }
}

export const arpTarget: FuzzTarget = statefulTarget(
  'ARP of the NAT network',
  ['src/vswitch/nat/arp.ts'],
  new ArpFuzzer(),
);
export const dhcpTarget: FuzzTarget = statefulTarget(
  'the DHCP server',
  ['src/vswitch/nat/dhcp', 'src/vswitch/nat/leases.ts'],
  new DhcpFuzzer(),
);
export const dnsTarget: FuzzTarget = statefulTarget('the name server', ['src/vswitch/nat/dns'], new DnsFuzzer());
export const udpTarget: FuzzTarget = statefulTarget(
  'UDP, ICMP and fragments of the NAT network',
  ['src/vswitch/nat/udp.ts', 'src/vswitch/nat/icmp.ts', 'src/vswitch/nat/ipv4.ts', 'src/vswitch/nat/reassembly.ts'],
  new UdpFuzzer(),
);
