import { describe, expect, it } from 'vitest';
import {
  ACK,
  FIN,
  GATEWAY,
  internetChecksum,
  ip,
  ipPacket,
  long,
  RST,
  SYN,
  TestGuest,
  word,
} from '../guest.fixture.ts';
import { type AdapterOptions, createSwitch } from '../switch.ts';
import type { NatOptions } from './config.ts';
import { parseForward } from './forwards.ts';
import { ManualTime, TestHost, TestStream } from './host.fixture.ts';
import type { LeaseState } from './leases.ts';

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const OUTSIDE = '93.184.216.34';

function network(options: NatOptions = {}, adapter: Partial<AdapterOptions> = {}) {
  const time = new ManualTime();
  const host = new TestHost();
  const net = createSwitch({ name: 'net', kind: 'nat', nat: options }, { time, host });
  const guest = new TestGuest(net.connect({ vm: 'web', ...adapter }));
  guest.configure();
  /** An open connection: sequence numbers of both sides after the handshake. */
  const open = (to = OUTSIDE, port = 80, options: number[] = [2, 4, ...word(1460), 1, 3, 3, 7]) => {
    guest.tcp(to, { sourcePort: 40_000, port, sequence: 1000, flags: SYN, options });
    const { stream } = host.streams.at(-1)!;
    stream.events.current!.connected();
    const answer = guest.take().find(({ tcp }) => tcp !== undefined)!.tcp!;
    expect(answer.flags).toBe(SYN | ACK);
    const first = (answer.sequence + 1) >>> 0;
    guest.tcp(to, { sourcePort: 40_000, port, sequence: 1001, acknowledgment: first, flags: ACK, window: 512 });
    const send = (fields: {
      data?: number[] | Uint8Array;
      flags?: number;
      sequence?: number;
      acknowledgment?: number;
      window?: number;
    }) =>
      guest.tcp(to, {
        sourcePort: 40_000,
        port,
        sequence: 1001,
        acknowledgment: first,
        flags: ACK,
        window: 512,
        ...fields,
      });
    return { stream, first, send, answer };
  };
  const errors = () =>
    guest.take().flatMap(({ ip: packet }) => (packet?.protocol === 1 ? [[packet.payload[0], packet.payload[1]]] : []));
  return { time, host, net, guest, open, errors, nat: net.nat! };
}

describe('ARP', () => {
  it('answers for the gateway and for nobody else', () => {
    const { guest } = network();
    guest.arp(1, guest.address, GATEWAY);
    const [reply, ...rest] = guest.take();
    expect(rest).toEqual([]);
    expect([...reply!.frame.bytes.subarray(12)]).toEqual([
      ...[8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0x15, 0x5d, 0, 0, 1],
      ...[...ip(GATEWAY), ...guest.mac, ...ip(guest.address)],
    ]);
    guest.arp(1, guest.address, '172.30.0.77');
    guest.arp(1, '0.0.0.0', guest.address);
    expect(guest.take()).toEqual([]);
  });
});

describe('DHCP', () => {
  it('gives an address with all that goes with it', () => {
    const { guest, net } = network();
    guest.dhcp(1);
    const [offer] = guest.take();
    expect(offer!.udp).toMatchObject({ sourcePort: 67, port: 68 });
    const text = Buffer.from(offer!.udp!.data).toString('hex');
    for (const option of [
      '350102',
      '3604ac1e0001',
      '330400015180',
      '0104ffffff00',
      '0304ac1e0001',
      '0604ac1e0001',
      '1a0205dc',
    ])
      expect(text).toContain(option);
    expect(text).toContain(Buffer.from('viridian.internal').toString('hex'));
    expect(net.inspect()).toMatchObject({ adapters: { web: { address: '172.30.0.10' } } });
  });

  it('refuses an address that is not the client’s, and gives the one that is', () => {
    const { guest } = network();
    guest.dhcp(3, [50, 4, ...ip('172.30.0.99')]);
    expect(Buffer.from(guest.take()[0]!.udp!.data).toString('hex')).toContain('350106');
    guest.dhcp(3, [50, 4, ...ip('192.168.1.5')]);
    expect(Buffer.from(guest.take()[0]!.udp!.data).toString('hex')).toContain('350106');
    guest.dhcp(3, [], guest.address);
    const ack = guest.take()[0]!;
    expect(ack.ip!.destination).toBe(guest.address);
    expect(Buffer.from(ack.udp!.data).toString('hex')).toContain('350105');
  });

  it('says nothing to a client of another server', () => {
    const { guest } = network();
    guest.dhcp(3, [50, 4, ...ip(guest.address), 54, 4, ...ip('172.30.0.9')]);
    expect(guest.take()).toEqual([]);
  });

  it('finds a VM’s address again after a restart, whatever its MAC address', () => {
    let kept: LeaseState | undefined;
    const first = network({ onLeases: (state) => (kept = state) });
    const other = new TestGuest(first.net.connect({ vm: 'db' }));
    other.configure();
    expect([first.guest.address, other.address]).toEqual(['172.30.0.10', '172.30.0.11']);
    const again = createSwitch(
      { name: 'net', kind: 'nat', nat: { leases: JSON.parse(JSON.stringify(kept)) } },
      { time: new ManualTime(), host: new TestHost() },
    );
    const db = new TestGuest(again.connect({ vm: 'db', mac: '02:00:00:00:00:09' }));
    expect(db.configure()).toBe('172.30.0.11');
    expect(new TestGuest(again.connect({ vm: 'new' })).configure()).toBe('172.30.0.12');
  });

  it('keeps a reservation that the user has made', () => {
    const { net, nat } = network();
    nat.reserve('db', '172.30.0.50');
    expect(new TestGuest(net.connect({ vm: 'db' })).configure()).toBe('172.30.0.50');
    expect(() => nat.reserve('other', '172.30.0.50')).toThrow('172.30.0.50 is reserved for db');
    expect(() => nat.reserve('other', '10.0.0.1')).toThrow('no address for a machine');
  });
});

describe('DNS', () => {
  const query = (name: string, type = 1, id = 0x4242): number[] => [
    ...word(id),
    ...[1, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    ...name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]),
    ...[0, ...word(type), 0, 1],
  ];
  const ask = (guest: TestGuest, name: string, type = 1) => {
    guest.udp(5000, GATEWAY, 53, query(name, type));
    return guest.take().find(({ udp }) => udp?.port === 5000)?.udp?.data;
  };

  it.each([
    ['web', '172.30.0.10'],
    ['WEB.viridian.internal', '172.30.0.10'],
    ['host.viridian.internal', GATEWAY],
  ])('knows %s', (name, address) => {
    const { guest, host } = network();
    const answer = ask(guest, name)!;
    expect([answer[3]! & 15, answer[7]]).toEqual([0, 1]);
    expect([...answer.slice(-4)]).toEqual(ip(address));
    expect(host.sockets).toEqual([]);
  });

  it('knows the names of addresses, and what is not there', () => {
    const { guest } = network();
    const pointer = ask(guest, '10.0.30.172.in-addr.arpa', 12)!;
    expect(Buffer.from(pointer).toString('latin1')).toContain('\x03web\x08viridian\x08internal\0');
    expect(ask(guest, 'nobody.viridian.internal')![3]! & 15).toBe(3);
    expect(ask(guest, '77.0.30.172.in-addr.arpa', 12)![3]! & 15).toBe(3);
    // It is there, but has no IPv6 address.
    const six = ask(guest, 'web', 28)!;
    expect([six[3]! & 15, six[7]]).toEqual([0, 0]);
  });

  it('forwards the rest with an identifier of its own, and believes only the answer', async () => {
    const { guest, host } = network();
    guest.udp(5000, GATEWAY, 53, query('example.com'));
    await settle();
    const socket = host.sockets[0]!;
    const { bytes, to } = socket.sent[0]!;
    expect(to).toEqual({ address: '192.0.2.53', port: 53 });
    const answer = Uint8Array.from([...bytes.subarray(0, 2), 0x81, 0x80, ...bytes.subarray(4)]);
    const lie = answer.slice();
    lie[0]! ^= 1;
    socket.receive(lie, to);
    socket.receive(answer, { address: '192.0.2.99', port: 53 });
    socket.receive(bytes, to);
    expect(guest.take()).toEqual([]);
    socket.receive(answer, to);
    expect([...guest.take()[0]!.udp!.data.subarray(0, 4)]).toEqual([0x42, 0x42, 0x81, 0x80]);
    expect(socket.open).toBe(false);
  });

  it('asks the next server, and says at last that there is no answer', async () => {
    const { guest, host, time } = network();
    host.resolverList = [
      { address: '192.0.2.53', port: 53 },
      { address: '192.0.2.54', port: 53 },
    ];
    guest.udp(5000, GATEWAY, 53, query('example.com'));
    await settle();
    time.advance(2000);
    await settle();
    expect(host.sockets.map(({ sent }) => sent[0]!.to.address)).toEqual(['192.0.2.53', '192.0.2.54']);
    time.advance(5000);
    expect(guest.take()[0]!.udp!.data[3]! & 15).toBe(2);
    expect(host.sockets.every(({ open }) => !open)).toBe(true);
  });

  it('answers over TCP too', async () => {
    const { guest, host } = network();
    guest.tcp(GATEWAY, { sourcePort: 40_000, port: 53, sequence: 1000, flags: SYN });
    await settle();
    const first = guest.take()[0]!.tcp!.sequence + 1;
    const send = (data: number[], sequence = 1001): void =>
      guest.tcp(GATEWAY, { sourcePort: 40_000, port: 53, sequence, acknowledgment: first, flags: ACK, data });
    const framed = [...word(query('web').length), ...query('web')];
    send(framed.slice(0, 5));
    send(framed.slice(5), 1006);
    await settle();
    const answer = guest.take().find(({ tcp }) => tcp!.data.length > 0)!.tcp!.data;
    expect([...answer.slice(-4)]).toEqual(ip('172.30.0.10'));
    expect(host.streams).toEqual([]);
  });

  it('refuses names that the policy does not list, and lets their addresses in when it does', async () => {
    const { guest, host, errors } = network({}, { egress: ['*.example.com:443'] });
    expect(ask(guest, 'example.org')![3]! & 15).toBe(5);
    guest.tcp(OUTSIDE, { sourcePort: 1, port: 443, sequence: 1, flags: SYN });
    expect(errors()).toEqual([[3, 13]]);
    guest.udp(5000, GATEWAY, 53, query('www.example.com'));
    await settle();
    const { bytes, to } = host.sockets[0]!.sent[0]!;
    const answer = [...bytes.subarray(0, 2), 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, ...bytes.subarray(12)];
    host.sockets[0]!.receive(Uint8Array.from([...answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, ...ip(OUTSIDE)]), to);
    guest.take();
    guest.tcp(OUTSIDE, { sourcePort: 2, port: 443, sequence: 1, flags: SYN });
    guest.tcp(OUTSIDE, { sourcePort: 3, port: 80, sequence: 1, flags: SYN });
    expect(host.streams.map(({ to: target }) => target)).toEqual([{ address: OUTSIDE, port: 443 }]);
    expect(errors()).toEqual([[3, 13]]);
  });
});

describe('ICMP', () => {
  const echo = (data: number[]): number[] => {
    const message = [8, 0, 0, 0, 0x12, 0x34, 0, 5, ...data];
    message.splice(2, 2, ...word(internetChecksum(message)));
    return message;
  };

  it('answers for the gateway, in fragments where need be', () => {
    const { guest } = network();
    guest.ip(ipPacket({ source: guest.address, destination: GATEWAY, protocol: 1 }, echo([1, 2, 3])));
    expect([...guest.take()[0]!.ip!.payload]).toEqual([
      0,
      0,
      expect.any(Number),
      expect.any(Number),
      0x12,
      0x34,
      0,
      5,
      1,
      2,
      3,
    ]);
    const large = echo(Array.from({ length: 3000 }, (_, i) => i & 255));
    for (const at of [1480, 0, 2960])
      guest.ip(
        ipPacket(
          { source: guest.address, destination: GATEWAY, protocol: 1, offset: at, more: at < 2960 },
          large.slice(at, at + 1480),
        ),
      );
    const parts = guest.take();
    expect(parts.map(({ ip: packet }) => packet!.fragment)).toEqual([0x2000, 0x2000 | 185, 370]);
    expect(Buffer.concat(parts.map(({ ip: packet }) => packet!.payload)).subarray(8)).toEqual(
      Buffer.from(large.slice(8)),
    );
  });

  it('goes through the host where it may, and says so where it may not', async () => {
    const { guest, host, errors } = network();
    const send = (): void =>
      guest.ip(ipPacket({ source: guest.address, destination: OUTSIDE, protocol: 1 }, echo([9])));
    send();
    await settle();
    expect(host.echoes).toMatchObject([{ address: OUTSIDE, data: Uint8Array.of(9) }]);
    host.replied!(OUTSIDE, host.echoes[0]!.sequence, Uint8Array.of(9));
    expect([...guest.take()[0]!.ip!.payload]).toEqual([
      0,
      0,
      expect.any(Number),
      expect.any(Number),
      0x12,
      0x34,
      0,
      5,
      9,
    ]);
    const barred = network();
    barred.host.echoAllowed = false;
    barred.guest.ip(ipPacket({ source: guest.address, destination: OUTSIDE, protocol: 1 }, echo([9])));
    await settle();
    expect(barred.errors()).toEqual([[3, 13]]);
    expect(errors()).toEqual([]);
  });
});

describe('what a guest does not reach', () => {
  it.each([
    '127.0.0.1',
    '127.8.8.8',
    '169.254.169.254',
    '0.0.0.0',
    '100.100.100.200',
    '198.51.100.7',
    '240.0.0.1',
    '172.30.0.200',
  ])('%s', (address) => {
    const { guest, host, errors } = network({ hostAccess: 'all' });
    guest.tcp(address, { sourcePort: 1, port: 80, sequence: 5, flags: SYN });
    expect(host.streams).toEqual([]);
    expect(errors()).toEqual([[3, 13]]);
    guest.udp(1, address, 80, [1]);
    expect(host.sockets).toEqual([]);
    expect(errors()).toEqual([[3, 13]]);
  });

  it('is the host, but for what is allowed of it', () => {
    const { guest, host } = network({ hostAccess: [{ protocol: 'tcp', port: 5432 }] });
    guest.tcp(GATEWAY, { sourcePort: 1, port: 22, sequence: 5, flags: SYN });
    expect(guest.take()[0]!.tcp).toMatchObject({ flags: RST | ACK, acknowledgment: 6 });
    guest.udp(1, GATEWAY, 5432, [1]);
    expect([...guest.take()[0]!.ip!.payload.subarray(0, 2)]).toEqual([3, 3]);
    guest.tcp(GATEWAY, { sourcePort: 1, port: 5432, sequence: 5, flags: SYN });
    expect(host.streams.map(({ to }) => to)).toEqual([{ address: '127.0.0.1', port: 5432 }]);
  });

  it('is anything, with an empty allow list', () => {
    const { guest, host, errors } = network({}, { egress: [] });
    guest.tcp(OUTSIDE, { sourcePort: 1, port: 80, sequence: 5, flags: SYN });
    guest.udp(1, OUTSIDE, 80, [1]);
    expect(errors()).toEqual([
      [3, 13],
      [3, 13],
    ]);
    expect([host.streams, host.sockets]).toEqual([[], []]);
  });
});

describe('UDP', () => {
  it('goes out by one socket for each port, and lets back in who was sent to', async () => {
    const { guest, host, time } = network();
    guest.udp(5000, OUTSIDE, 123, [1]);
    guest.udp(5000, '192.0.2.9', 123, [2]);
    await settle();
    expect(host.sockets).toHaveLength(1);
    const [socket] = host.sockets;
    expect(socket!.sent).toEqual([
      { bytes: Uint8Array.of(1), to: { address: OUTSIDE, port: 123 } },
      { bytes: Uint8Array.of(2), to: { address: '192.0.2.9', port: 123 } },
    ]);
    socket!.receive(Uint8Array.of(7), { address: '203.0.113.1', port: 123 });
    expect(guest.take()).toEqual([]);
    socket!.receive(Uint8Array.of(8), { address: OUTSIDE, port: 123 });
    expect(guest.take()[0]).toMatchObject({
      ip: { source: OUTSIDE },
      udp: { sourcePort: 123, port: 5000, data: Uint8Array.of(8) },
    });
    time.advance(130_000);
    expect(socket!.open).toBe(false);
    expect(time.pending).toBe(0);
  });

  it('has a limit for each adapter', async () => {
    const { guest, host, net } = network({ limits: { adapterUdpFlows: 3 } });
    for (let port = 1; port < 10; port++) guest.udp(port, OUTSIDE, 9, [0]);
    await settle();
    expect(host.sockets).toHaveLength(3);
    expect(net.inspect()).toMatchObject({ nat: { udp: { ports: 3, refused: 6 } } });
  });

  it('is forwarded from the host', async () => {
    const { guest, host, nat } = network();
    await nat.forward(parseForward('5353:53/udp'));
    const [socket] = host.sockets;
    expect(socket!.at).toEqual({ address: '127.0.0.1', port: 5353 });
    socket!.receive(Uint8Array.of(1), { address: '127.0.0.1', port: 999 });
    socket!.receive(Uint8Array.of(2), { address: '198.51.100.7', port: 999 });
    socket!.receive(Uint8Array.of(3), { address: '203.0.113.5', port: 999 });
    expect(guest.take().map(({ ip: packet, udp }) => [packet!.source, udp!.sourcePort, udp!.data[0]])).toEqual([
      [GATEWAY, 999, 1],
      [GATEWAY, 1000, 2],
      ['203.0.113.5', 999, 3],
    ]);
    guest.udp(53, GATEWAY, 1000, [42]);
    guest.udp(53, '203.0.113.5', 999, [43]);
    expect(socket!.sent).toEqual([
      { bytes: Uint8Array.of(42), to: { address: '198.51.100.7', port: 999 } },
      { bytes: Uint8Array.of(43), to: { address: '203.0.113.5', port: 999 } },
    ]);
  });
});

describe('TCP', () => {
  it('carries a connection both ways and ends it in halves', async () => {
    const { host, guest, open, net } = network();
    const { stream, first, send, answer } = open();
    expect(host.streams[0]!.to).toEqual({ address: OUTSIDE, port: 80 });
    expect(answer.acknowledgment).toBe(1001);
    expect([...answer.options]).toEqual([2, 4, 5, 0xb4, 1, 3, 3, 7]);
    send({ data: [...Buffer.from('hello')] });
    expect(stream.text()).toBe('hello');
    await settle();
    expect(guest.take().map(({ tcp }) => tcp!.acknowledgment)).toEqual([1006]);
    stream.deliver(Buffer.from('world'));
    const [data] = guest.take();
    expect(data!.tcp).toMatchObject({ sequence: first, acknowledgment: 1006 });
    expect(Buffer.from(data!.tcp!.data).toString()).toBe('world');
    send({ sequence: 1006, acknowledgment: first + 5, flags: FIN | ACK });
    expect(stream.ended).toBe(true);
    expect(guest.take().at(-1)!.tcp!.acknowledgment).toBe(1007);
    // The other half is still open.
    stream.deliver(Buffer.from('!'));
    stream.events.current!.end();
    const last = guest.take();
    expect(last.map(({ tcp }) => [tcp!.flags & FIN, tcp!.data.length])).toEqual([
      [0, 1],
      [FIN, 0],
    ]);
    send({ sequence: 1007, acknowledgment: first + 7 });
    expect(stream.wasReset).toBe(false);
    expect(net.inspect()).toMatchObject({ nat: { tcp: { connections: 1, heldBytes: 0 } } });
  });

  it('is gone after a while, and leaves no timer', () => {
    const all = network();
    const connection = all.open();
    connection.stream.events.current!.end();
    connection.send({ flags: FIN | ACK, acknowledgment: connection.first + 1 });
    all.time.advance(5000);
    expect(all.net.inspect()).toMatchObject({ nat: { tcp: { connections: 0, heldBytes: 0 } } });
    expect(all.time.pending).toBe(0);
  });

  it('says no as the host does', () => {
    const { guest, host, errors } = network();
    const fail = (failure: 'refused' | 'unreachable' | 'timeout'): void => {
      guest.tcp(OUTSIDE, { sourcePort: 40_000, port: 80, sequence: 1000, flags: SYN });
      host.streams.at(-1)!.stream.events.current!.closed(failure);
    };
    fail('refused');
    expect(guest.take()[0]!.tcp).toMatchObject({ flags: RST | ACK, acknowledgment: 1001 });
    fail('unreachable');
    expect(errors()).toEqual([[3, 1]]);
    fail('timeout');
    expect(guest.take()).toEqual([]);
  });

  it('hands resets on', () => {
    const first = network();
    const one = first.open();
    one.stream.events.current!.closed('reset');
    expect(first.guest.take()[0]!.tcp).toMatchObject({ flags: RST | ACK, sequence: one.first });
    const two = network();
    const other = two.open();
    other.send({ flags: RST, sequence: 1003 });
    expect(other.stream.wasReset).toBe(false);
    other.send({ flags: RST });
    expect(other.stream.wasReset).toBe(true);
  });

  it('puts what comes in disorder in order, and says what it has', async () => {
    const { guest, open } = network();
    const { stream, send } = open(OUTSIDE, 80, [2, 4, ...word(1460), 4, 2, 1, 3, 3, 7, 1]);
    guest.take();
    send({ sequence: 1011, data: [...Buffer.from('world')] });
    send({ sequence: 1021, data: [...Buffer.from('again')] });
    const acks = guest.take().map(({ tcp }) => tcp!);
    expect(acks.map(({ acknowledgment }) => acknowledgment)).toEqual([1001, 1001]);
    expect([...acks[1]!.options]).toEqual([1, 1, 5, 18, ...long(1021), ...long(1026), ...long(1011), ...long(1016)]);
    send({ sequence: 1001, data: [...Buffer.from('0123456789wor')] });
    expect(stream.text()).toBe('0123456789world');
    send({ sequence: 1014, data: [...Buffer.from('ld56789')] });
    expect(stream.text()).toBe('0123456789world56789again');
    await settle();
    expect(guest.take().at(-1)!.tcp!.acknowledgment).toBe(1026);
  });

  it('promises no more room than the host has, and tells when there is some', async () => {
    const { guest, open } = network({ limits: { flowBuffer: 64 * 1024, buffers: 2 ** 20 } });
    const { stream, send } = open();
    stream.held = true;
    const data = new Uint8Array(1400);
    let sequence = 1001;
    let window = 0xffff;
    for (let n = 0; n < 60 && window >= 1400; n++) {
      send({ data, sequence });
      sequence += data.length;
      await settle();
      const last = guest.take().at(-1)!.tcp!;
      window = last.acknowledgment + last.window * 128 - sequence;
    }
    expect(stream.received).toBeGreaterThan(62 * 1024);
    expect(stream.received).toBeLessThanOrEqual(64 * 1024);
    // More than was promised is not taken.
    send({ data, sequence });
    send({ data, sequence: sequence + 1400 });
    expect(stream.received).toBeLessThanOrEqual(64 * 1024);
    guest.take();
    stream.release();
    await settle();
    expect(guest.take().at(-1)!.tcp!.window * 128).toBeGreaterThan(60_000);
  });

  it('sends no more than the guest has room for, asks again, and stops the host meanwhile', () => {
    const { guest, open, time } = network({ limits: { flowBuffer: 64 * 1024, buffers: 2 ** 20 } });
    const { stream, send, first } = open();
    send({ window: 20 });
    stream.deliver(new Uint8Array(100_000));
    expect(stream.paused).toBe(true);
    const got = guest.take().map(({ tcp }) => tcp!.data.length);
    expect(got.reduce((a, b) => a + b, 0)).toBe(1460);
    send({ acknowledgment: first + 1460, window: 0 });
    expect(guest.take()).toEqual([]);
    time.advance(1000);
    const probes = guest.take().map(({ tcp }) => tcp!);
    expect(probes.length).toBeGreaterThan(1);
    expect(probes.every(({ sequence, data }) => sequence === first + 1459 && data.length === 0)).toBe(true);
    send({ acknowledgment: first + 1460, window: 4000 });
    const rest = guest.take();
    expect(rest.map(({ tcp }) => tcp!.data.length).reduce((a, b) => a + b, 0)).toBe(98_540);
    // Large frames say how they are to be cut.
    expect(rest[0]!.frame).toMatchObject({ segmentSize: 1460, checksum: 'partial' });
    expect(rest[0]!.tcp!.data.length).toBe(44 * 1460);
    send({ acknowledgment: first + 100_000, window: 4000 });
    expect(stream.paused).toBe(false);
  });

  it('sends again what was lost: after a while, and at once after three duplicates', () => {
    const { guest, open, time } = network();
    const { stream, send, first } = open();
    for (let n = 0; n < 6; n++) stream.deliver(new Uint8Array(1000).fill(n));
    expect(guest.take()).toHaveLength(6);
    for (let n = 0; n < 3; n++) send({});
    expect(guest.take().map(({ tcp }) => [tcp!.sequence, tcp!.data[0]])).toEqual([[first, 0]]);
    send({ acknowledgment: first + 2000 });
    expect(guest.take().map(({ tcp }) => tcp!.sequence)).toEqual([first + 2000]);
    time.advance(3000);
    const again = guest.take().map(({ tcp }) => tcp!.sequence);
    expect(new Set(again)).toEqual(new Set([first + 2000]));
    expect(again.length).toBeGreaterThan(1);
    send({ acknowledgment: first + 6000 });
    time.advance(3000);
    expect(guest.take()).toEqual([]);
  });

  it('does not count as lost what an adapter has no room for', () => {
    const { guest, open, time, net } = network();
    const { stream } = open();
    guest.taking = false;
    for (let n = 0; n < 40; n++) stream.deliver(new Uint8Array(60_000));
    time.advance(3_600_000);
    expect(net.inspect()).toMatchObject({ nat: { tcp: { connections: 1, retransmitted: expect.any(Number) } } });
    expect(stream.wasReset).toBe(false);
  });

  it('gives up after minutes without an answer', () => {
    const { open, time, net } = network();
    const { stream } = open();
    stream.deliver(Uint8Array.of(1));
    time.advance(900_000);
    expect(stream.wasReset).toBe(true);
    expect(net.inspect()).toMatchObject({ nat: { tcp: { connections: 0 } } });
  });

  it('asks a guest that has been silent whether it is still there', () => {
    const { guest, open, time } = network();
    const { stream, send, first } = open();
    guest.take();
    time.advance(605_000);
    expect(guest.take().map(({ tcp }) => tcp!.sequence)).toEqual([first - 1]);
    send({});
    time.advance(500_000);
    expect(guest.take()).toEqual([]);
    time.advance(2_000_000);
    expect(stream.wasReset).toBe(true);
  });

  it('keeps to its limits, and says no to who is not there', () => {
    const { guest, host, net } = network({ limits: { adapterFlows: 5 } });
    for (let port = 1; port < 20; port++) guest.tcp(OUTSIDE, { sourcePort: port, port: 80, sequence: 1, flags: SYN });
    expect(host.streams).toHaveLength(5);
    expect(net.inspect()).toMatchObject({ nat: { tcp: { connections: 5, overLimit: 14 } } });
    guest.take();
    guest.tcp(OUTSIDE, { sourcePort: 77, port: 80, sequence: 1, acknowledgment: 99, flags: ACK, data: [1] });
    expect(guest.take()[0]!.tcp).toMatchObject({ flags: RST, sequence: 99 });
    guest.port.close();
    expect(host.streams.every(({ stream }) => stream.wasReset)).toBe(true);
  });

  it('takes a large frame as it is', () => {
    const { guest, open } = network();
    const { stream, first } = open();
    const data = new Uint8Array(60_000).fill(7);
    const header = [...guest.mac.slice(0, 0), 2, 0x15, 0x5d, 0, 0, 1, ...guest.mac, 8, 0];
    // As Linux hands it over: no length, no checksums.
    const ipHeader = [0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, ...ip(guest.address), ...ip(OUTSIDE)];
    const tcp = [...word(40_000), ...word(80), ...long(1001), ...long(first), 0x50, ACK, 2, 0, 0, 0, 0, 0];
    guest.raw([...header, ...ipHeader, ...tcp, ...data], 1460, 'partial');
    expect(stream.received).toBe(60_000);
  });

  it('is forwarded from the host, with the peer’s address where that means something', async () => {
    const { guest, host, nat } = network();
    await nat.forward(parseForward('0.0.0.0:8080:80', 'web'));
    const [listener] = host.listeners;
    const connect = (address: string, port: number) => {
      const stream = new TestStream();
      stream.events.current = listener!.accept(stream, { address, port });
      return stream;
    };
    const stream = connect('203.0.113.5', 999);
    connect('127.0.0.1', 999);
    connect('198.51.100.7', 999);
    const syns = guest.take();
    expect(syns.map(({ ip: packet, tcp }) => [packet!.source, tcp!.sourcePort, tcp!.port, tcp!.flags])).toEqual([
      ['203.0.113.5', 999, 80, SYN],
      [GATEWAY, 999, 80, SYN],
      [GATEWAY, 1000, 80, SYN],
    ]);
    expect(stream.paused).toBe(true);
    const acknowledgment = (syns[0]!.tcp!.sequence + 1) >>> 0;
    guest.tcp('203.0.113.5', { sourcePort: 80, port: 999, sequence: 7, acknowledgment, flags: SYN | ACK });
    expect(stream.paused).toBe(false);
    stream.deliver(Buffer.from('GET'));
    expect(guest.take().map(({ tcp }) => Buffer.from(tcp!.data).toString())).toEqual(['', 'GET']);
    guest.tcp('203.0.113.5', {
      sourcePort: 80,
      port: 999,
      sequence: 8,
      acknowledgment: acknowledgment + 3,
      flags: ACK,
      data: [52],
    });
    expect(stream.text()).toBe('4');
    guest.tcp(GATEWAY, {
      sourcePort: 80,
      port: 999,
      sequence: 0,
      acknowledgment: syns[1]!.tcp!.sequence + 1,
      flags: RST | ACK,
    });
    const nobody = network();
    await nobody.nat.forward(parseForward('8080:80', 'other'));
    const lost = new TestStream();
    nobody.host.listeners[0]!.accept(lost, { address: '127.0.0.1', port: 1 });
    expect(lost.wasReset).toBe(true);
  });
});

describe('what is written wrongly', () => {
  it.each(['80', '8080:0', '99999:80', 'x:y', '8080:80/sctp', 'tcp:8080:80/udp'])('port forward %s', (text) => {
    expect(() => parseForward(text)).toThrow('is not [ADDRESS:]HOSTPORT:GUESTPORT');
  });

  it('port forwards that are right', () => {
    expect(parseForward('8080:80')).toMatchObject({
      protocol: 'tcp',
      address: '127.0.0.1',
      hostPort: 8080,
      guestPort: 80,
    });
    expect(parseForward('tcp:8080:80')).toMatchObject({ protocol: 'tcp', hostPort: 8080, guestPort: 80 });
    expect(parseForward('[::1]:53:53/udp')).toMatchObject({ protocol: 'udp', address: '::1' });
  });

  it.each([
    [{ subnet: 'x' }, 'is not an IPv4 network'],
    [{ subnet: '10.0.0.0/30' }, 'from /8 to /29'],
    [{ gateway: '10.0.0.1' }, 'is not an address in'],
    [{ mtu: 100 }, 'from 576 to 9000'],
    [{ domain: 'A B' }, 'is not a domain name'],
  ])('%o', (options, message) => {
    expect(() => network(options)).toThrow(message);
  });
});
