import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { ACK, TestGuest, tcpSegment, udpDatagram } from './guest.fixture.ts';
import { ManualTime, TestHost } from './nat/host.fixture.ts';
import type { Frame } from './port.ts';
import { type AdapterOptions, createSwitch, hostNameOf, type SwitchKind } from './switch.ts';

const ALL = [255, 255, 255, 255, 255, 255];

function network(kind: SwitchKind = 'private') {
  const time = new ManualTime();
  const net = createSwitch({ name: 'net', kind }, { time, host: new TestHost() });
  const guest = (vm: string, options: Partial<AdapterOptions> = {}): TestGuest =>
    new TestGuest(net.connect({ vm, ...options }));
  return { net, time, guest };
}

/** The payload of what came. */
function texts(guest: TestGuest): string[] {
  return guest.take().map(({ frame }) => Buffer.from(frame.bytes.subarray(14)).toString());
}

const say = (from: TestGuest, to: readonly number[], text: string): void => from.frame(0x88b5, Buffer.from(text), to);

describe('the switch', () => {
  it('brings a frame to its addressee, and what is for all to all', () => {
    const { guest } = network();
    const [a, b, c] = ['a', 'b', 'c'].map((vm) => guest(vm));
    say(a!, b!.mac, 'to b');
    say(a!, ALL, 'to all');
    say(a!, [1, 0, 0x5e, 0, 0, 5], 'to a group');
    say(a!, [2, 9, 9, 9, 9, 9], 'to nobody');
    expect([texts(a!), texts(b!), texts(c!)]).toEqual([[], ['to b', 'to all', 'to a group'], ['to all', 'to a group']]);
  });

  it('gives each adapter an address of Hyper-V’s range, the same each time', () => {
    const [first, second] = [network(), network()];
    const macs = ['web', 'db'].map((vm) => first.guest(vm).port.mac);
    expect(macs).toEqual(['web', 'db'].map((vm) => second.guest(vm).port.mac));
    expect(macs.every((mac) => mac.startsWith('00-15-5D-'))).toBe(true);
    expect(new Set([...macs, first.guest('web').port.mac]).size).toBe(3);
  });

  it('refuses what cannot be', () => {
    const { guest, net } = network();
    guest('a', { mac: '02:00:00:00:00:01' });
    expect(() => guest('b', { mac: '02-00-00-00-00-01' })).toThrow(
      'has an adapter with the address 02-00-00-00-00-01 already',
    );
    expect(() => guest('b', { mac: '01-00-00-00-00-01' })).toThrow('no MAC address of an adapter');
    expect(() => guest('b', { vlan: 4095 })).toThrow('there is no VLAN 4095');
    expect(() => guest('b', { bandwidth: { send: 1 } })).toThrow('too small');
    expect(() => guest('b', { egress: ['10.0.0.0/8'] })).toThrow('for adapters of a NAT switch');
    expect(() => net.connectHost()).toThrow('the host has no end there');
    expect(() => network('nat').guest('b', { egress: ['a b'] })).toThrow('egress rule "a b"');
    expect(() => network('nat').guest('b', { mac: '02-15-5D-00-00-01' })).toThrow('already');
    net.close();
    expect(() => guest('c')).toThrow('is closed');
  });

  it('has an end for the host when it is internal', () => {
    const { net, guest } = network('internal');
    const host = new TestGuest(net.connectHost());
    const a = guest('a');
    say(host, a.mac, 'hello');
    say(a, host.mac, 'hello yourself');
    expect([texts(a), texts(host)]).toEqual([['hello'], ['hello yourself']]);
  });

  it('joins a device of the host’s when it is external', () => {
    const { net, guest } = network('external');
    const a = guest('a');
    const sent: Frame[] = [];
    let receive: (frame: Frame) => void = () => {};
    let open = true;
    const device = net.connectDevice({
      name: 'tap0',
      send: (frame) => sent.push(frame) > 0,
      onFrame: (callback) => {
        receive = callback;
      },
      close: () => {
        open = false;
      },
    });
    const far = [2, 0, 0, 0, 7, 7];
    say(a, far, 'out');
    receive({ bytes: Uint8Array.from([...a.mac, ...far, 0x88, 0xb5, 105, 110]), segmentSize: 0, checksum: 'complete' });
    expect(Buffer.from(sent[0]!.bytes.subarray(14)).toString()).toBe('out');
    expect(texts(a)).toEqual(['in']);
    device.close();
    expect(open).toBe(false);
    say(a, far, 'out');
    expect(sent).toHaveLength(1);
  });

  it('learns where addresses are that a guest may choose, and forgets them', () => {
    const { guest, time } = network();
    const [router, a, other] = [guest('r', { macSpoofing: true }), guest('a'), guest('o', { macSpoofing: true })];
    const inner = [2, 0, 0, 0, 0, 9];
    say(a, inner, 'where are you');
    expect([texts(router), texts(other)]).toEqual([['where are you'], ['where are you']]);
    router.raw([...a.mac, ...inner, 0x88, 0xb5, 33]);
    expect(texts(a)).toEqual(['!']);
    say(a, inner, 'found');
    expect([texts(router), texts(other)]).toEqual([['found'], []]);
    time.advance(400_000);
    say(a, inner, 'lost');
    expect([texts(router), texts(other)]).toEqual([['lost'], ['lost']]);
    // Not even such a guest takes over what is another's.
    router.raw([...ALL, ...a.mac, 0x88, 0xb5, 33]);
    expect([texts(a), texts(other)]).toEqual([[], []]);
  });

  it('keeps VLANs apart', () => {
    const { guest } = network();
    const [a, b, c] = [guest('a', { vlan: 10 }), guest('b', { vlan: 10 }), guest('c', { vlan: 20 })];
    say(a, ALL, 'all');
    say(a, c.mac, 'c');
    a.raw([...ALL, ...a.mac, 0x81, 0, 0, 20, 0x88, 0xb5, 1]);
    expect([texts(b), texts(c)]).toEqual([['all'], []]);
    expect(a.port.inspect()).toMatchObject({ dropped: { tagged: 1 } });
  });

  it('tells of the link, and drops what is sent without one', () => {
    const { guest } = network();
    const [a, b] = [guest('a'), guest('b')];
    const seen: boolean[] = [];
    b.port.onLink((up) => seen.push(up));
    b.port.setLink(false);
    say(a, b.mac, 'lost');
    say(b, a.mac, 'lost');
    b.port.setLink(true);
    say(a, b.mac, 'there');
    expect([seen, texts(a), texts(b)]).toEqual([[true, false, true], [], ['there']]);
  });

  it('keeps what an adapter has no room for, in order and within bounds', () => {
    const { guest } = network();
    const [a, b] = [guest('a'), guest('b')];
    b.taking = false;
    const large = Buffer.alloc(60_000);
    for (let n = 0; n < 200; n++) {
      large[0] = n;
      say(a, b.mac, '');
      a.frame(0x88b5, large, b.mac);
    }
    expect(Number(b.port.inspect().waitingBytes)).toBeLessThanOrEqual(4 * 2 ** 20);
    b.taking = true;
    b.port.resume();
    const order = b.take().flatMap(({ frame }) => (frame.bytes.length > 100 ? [frame.bytes[14]!] : []));
    expect(order).toEqual(Array.from({ length: order.length }, (_, n) => n));
    expect(order.length).toBeGreaterThan(60);
    say(a, b.mac, 'again');
    expect(texts(b)).toEqual(['again']);
  });

  it('holds an adapter to its bandwidth, both ways', () => {
    const { guest, time } = network();
    const [a, b, c] = [
      guest('a', { bandwidth: { send: 8_000_000 } }),
      guest('b'),
      guest('c', { bandwidth: { receive: 8_000_000 } }),
    ];
    const second = (from: TestGuest, to: TestGuest): number => {
      let bytes = 0;
      for (let n = 0; n < 1000; n++) {
        for (let i = 0; i < 10; i++) from.frame(0x88b5, new Uint8Array(1486), to.mac);
        time.advance(1);
        bytes += to.take().reduce((sum, { frame }) => sum + frame.bytes.length, 0);
      }
      return bytes;
    };
    // A megabyte in a second, and what was saved up before.
    for (const bytes of [second(a, b), second(b, c)]) {
      expect(bytes).toBeGreaterThan(1_000_000);
      expect(bytes).toBeLessThan(1_150_000);
    }
    a.port.close();
    c.port.close();
    expect(time.pending).toBe(0);
  });
});

describe('the spoofing guard', () => {
  const cases: readonly (readonly [string, (a: TestGuest, b: TestGuest) => void])[] = [
    ['another’s MAC address', (a, b) => a.raw([...ALL, ...b.mac, 0x88, 0xb5, 1])],
    ['another’s MAC address in ARP', (a, b) => a.arp(1, a.address, b.address, b.mac)],
    ['another’s address in ARP', (a, b) => a.arp(2, b.address, a.address, a.mac)],
    ['the gateway’s address in ARP', (a) => a.arp(2, '172.30.0.1', a.address, a.mac)],
    ['another’s address in IPv4', (a, b) => a.frame(0x800, udpDatagram(b.address, 1, '172.30.0.255', 9, [1]), ALL)],
    [
      'an address that it was not given',
      (a) => a.frame(0x800, udpDatagram('172.30.0.77', 1, '172.30.0.255', 9, [1]), ALL),
    ],
    ['answers of a DHCP server', (a) => a.frame(0x800, udpDatagram(a.address, 67, '255.255.255.255', 68, [1]), ALL)],
    [
      'an IPv6 router’s words',
      (a) => a.frame(0x86dd, [0x60, 0, 0, 0, 0, 4, 58, 255, ...new Array<number>(32).fill(1), 134, 0, 0, 0], ALL),
    ],
    ['no address, and no DHCP', (a) => a.frame(0x800, udpDatagram('0.0.0.0', 1, '255.255.255.255', 9, [1]), ALL)],
  ];

  it.each(cases)('stops %s', (_what, act) => {
    const { guest } = network('nat');
    const [a, b] = [guest('a'), guest('b')];
    a.configure();
    b.configure();
    a.take();
    b.take();
    act(a, b);
    expect([a.take(), b.take()]).toEqual([[], []]);
    const { dropped } = a.port.inspect() as { dropped: Record<string, number> };
    expect(Object.values(dropped)).toEqual([1]);
    a.frame(0x800, udpDatagram(a.address, 1, b.address, 9, [1]), b.mac);
    expect(b.take()).toHaveLength(1);
  });

  it('lets a guest give itself an address that nobody has, and not one that is reserved', () => {
    const { guest, net } = network('nat');
    net.nat!.reserve('db', '172.30.0.50');
    const [a, b] = [guest('a'), guest('b')];
    a.arp(1, '172.30.0.40', '172.30.0.1');
    expect(a.take()).toHaveLength(1);
    b.take();
    b.arp(1, '172.30.0.50', '172.30.0.1');
    expect(b.take()).toEqual([]);
    expect(b.port.inspect()).toMatchObject({ dropped: { address: 1 } });
  });
});

describe('offloads', () => {
  /** As a guest hands it over: 4000 bytes to be cut, no checksums, and, as Linux has it, no lengths. */
  const large = (a: TestGuest, b: TestGuest, lengths: boolean): number[] => {
    const data = Array.from({ length: 4000 }, (_, i) => i & 255);
    const packet = tcpSegment('10.0.0.1', '10.0.0.2', {
      sourcePort: 1,
      port: 2,
      sequence: 0xffff_ff00,
      flags: ACK | 1 | 8 | 128,
      data,
    });
    packet.splice(10, 2, 0, 0);
    packet.splice(36, 2, 0, 0);
    if (!lengths) packet.splice(2, 2, 0, 0);
    return [...b.mac, ...a.mac, 8, 0, ...packet];
  };

  it.each([true, false])('are left to who takes them (lengths: %s)', (lengths) => {
    const { guest } = network();
    const [a, b] = [guest('a'), guest('b')];
    a.raw(large(a, b, lengths), 1460, 'partial');
    const [seen] = b.take();
    expect(seen!.frame).toMatchObject({ segmentSize: 1460, checksum: 'partial' });
    expect(seen!.tcp!.data).toHaveLength(4000);
  });

  it('are done for who does not', () => {
    const { guest } = network();
    const [a, b] = [guest('a'), guest('b', { offloads: false })];
    a.raw(large(a, b, true), 1460, 'partial');
    // Every checksum is looked at when it is taken apart.
    const pieces = b.take();
    expect(pieces.map(({ frame }) => [frame.bytes.length, frame.checksum, frame.segmentSize])).toEqual([
      [1514, 'complete', 0],
      [1514, 'complete', 0],
      [1134, 'complete', 0],
    ]);
    expect(pieces.map(({ tcp }) => [tcp!.sequence, tcp!.flags])).toEqual([
      [0xffff_ff00, ACK | 128],
      [0xffff_ff00 + 1460 - 2 ** 32, ACK],
      [0xffff_ff00 + 2920 - 2 ** 32, ACK | 1 | 8],
    ]);
    expect(Buffer.concat(pieces.map(({ tcp }) => tcp!.data))).toEqual(
      Buffer.from(Array.from({ length: 4000 }, (_, i) => i & 255)),
    );
    const datagram = udpDatagram('10.0.0.1', 1, '10.0.0.2', 2, [1, 2, 3]);
    datagram.splice(26, 2, 9, 9);
    a.raw([...b.mac, ...a.mac, 8, 0, ...datagram], 0, 'partial');
    expect(b.take()[0]!.udp!.data).toEqual(Uint8Array.of(1, 2, 3));
  });

  it('cut IPv6 too', () => {
    const { guest } = network();
    const [a, b] = [guest('a'), guest('b', { offloads: false })];
    const addresses = [
      0xfe,
      0x80,
      ...new Array<number>(13).fill(0),
      1,
      0xfe,
      0x80,
      ...new Array<number>(13).fill(0),
      2,
    ];
    const tcp = [0, 1, 0, 2, 0, 0, 0, 5, 0, 0, 0, 0, 0x50, ACK, 1, 0, 0, 0, 0, 0, ...new Array<number>(3000).fill(9)];
    a.raw([...b.mac, ...a.mac, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 6, 64, ...addresses, ...tcp], 1440, 'partial');
    const pieces = b.take().map(({ frame }) => frame.bytes);
    expect(pieces.map(({ length }) => length)).toEqual([1514, 1514, 194]);
    for (const bytes of pieces) {
      let sum = 6 + bytes.length - 54;
      for (let at = 22; at < bytes.length; at += 2) sum += bytes[at]! * 256 + (bytes[at + 1] ?? 0);
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
      expect(sum).toBe(0xffff);
      expect(bytes[18]! * 256 + bytes[19]!).toBe(bytes.length - 54);
    }
  });
});

describe('captures', () => {
  const tcpdump = spawnSync('tcpdump', ['--version']).error === undefined;

  function captured(options: { adapter?: string; snaplen?: number } = {}): Uint8Array {
    const { guest, net } = network();
    const [a, b, c] = [guest('a'), guest('b'), guest('c')];
    const pieces: Uint8Array[] = [];
    const end = net.capture((bytes) => pieces.push(bytes), { now: () => 1_700_000_000_123.456, ...options });
    const data = new Uint8Array(60_000).fill(7);
    const packet = tcpSegment('10.0.0.1', '10.0.0.2', { sourcePort: 1000, port: 80, sequence: 1, flags: ACK, data });
    packet.splice(36, 2, 0, 0);
    a.raw([...b.mac, ...a.mac, 8, 0, ...packet], 1460, 'partial');
    a.raw([...c.mac, ...a.mac, 8, 0, ...udpDatagram('10.0.0.1', 1, '10.0.0.3', 9, [1, 2, 3])]);
    end();
    say(a, b.mac, 'after');
    return Buffer.concat(pieces);
  }

  it('are files with what was sent, whole, and with right checksums', () => {
    const bytes = captured();
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    expect([
      view.getUint32(0, true),
      view.getUint16(4, true),
      view.getUint16(6, true),
      view.getUint32(20, true),
    ]).toEqual([0xa1b23c4d, 2, 4, 1]);
    expect([24, 28, 32, 36].map((at) => view.getUint32(at, true))).toEqual([
      1_700_000_000,
      123_456_000 + (view.getUint32(28, true) - 123_456_000),
      60_054,
      60_054,
    ]);
    expect(Math.abs(view.getUint32(28, true) - 123_456_000)).toBeLessThan(1000);
    expect(bytes.length).toBe(24 + 16 + 60_054 + 16 + 45);
  });

  it('keep of one adapter, and as much of a frame, as is wanted', () => {
    expect(captured({ adapter: 'c' }).length).toBe(24 + 16 + 45);
    expect(captured({ snaplen: 64 }).length).toBe(24 + 16 + 64 + 16 + 45);
    expect(() => captured({ adapter: 'x' })).toThrow('has no adapter x');
    expect(() => captured({ snaplen: 1 })).toThrow('keeps from 64');
  });

  it('are read by tcpdump', ({ skip }) => {
    if (!tcpdump) skip('no tcpdump here');
    // As root it would become another user, who may not be there.
    const user = process.getuid?.() === 0 ? ['-Z', 'root'] : [];
    const { stdout, stderr } = spawnSync('tcpdump', ['-nvvr', '-', ...user], { input: captured(), encoding: 'utf8' });
    expect(stderr).toContain('link-type EN10MB');
    expect(stdout).toContain('10.0.0.1.1000 > 10.0.0.2.80');
    expect(stdout).toContain('length 60000');
    expect(stdout).not.toContain('incorrect');
    expect(stdout.match(/\(correct\)|udp sum ok/g)).toHaveLength(2);
  });
});

describe('names', () => {
  it.each([
    ['Web Server', 'web-server'],
    ['--x--', 'x'],
    ['???', undefined],
    ['a'.repeat(80), 'a'.repeat(63)],
  ])('%s', (vm, name) => {
    expect(hostNameOf(vm)).toBe(name);
  });
});
