import { describe, expect, it } from 'vitest';
import { ACK, GATEWAY, internetChecksum, ip, ipPacket, RST, SYN, TestGuest, word } from '../guest.fixture.ts';
import { createSwitch } from '../switch.ts';
import { parseForward } from './forwards.ts';
import { ManualTime, TestHost } from './host.fixture.ts';
import type { LeaseState } from './leases.ts';

import { network, OUTSIDE, settle } from './network.fixture.ts';

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

  it('gives up the reservation that was used longest ago when there is no other address', () => {
    const { net, nat } = network({ subnet: '172.30.0.0/29' });
    nat.reserve('fixed', '172.30.0.3');
    const once = (vm: string): string | undefined => {
      const port = net.connect({ vm });
      try {
        return new TestGuest(port).configure();
      } finally {
        port.close();
      }
    };
    expect(['a', 'b', 'c', 'a', 'd', 'c'].map(once)).toEqual([4, 5, 6, 4, 5, 6].map((n) => `172.30.0.${n}`));
    expect(nat.leases().reservations).toEqual([
      { owner: 'web', address: '172.30.0.2' },
      { owner: 'fixed', address: '172.30.0.3', fixed: true },
      { owner: 'a', address: '172.30.0.4' },
      { owner: 'd', address: '172.30.0.5' },
      { owner: 'c', address: '172.30.0.6' },
    ]);
    expect(once('fixed')).toBe('172.30.0.3');
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

  it('is a service of the host that is not on the adapter’s list', () => {
    const { guest, host, errors } = network({ hostAccess: 'all' }, { egress: ['host.viridian.internal:8080'] });
    const ask = (port: number): void => guest.tcp(GATEWAY, { sourcePort: port, port, sequence: 5, flags: SYN });
    ask(8080);
    expect(errors()).toEqual([[3, 13]]);
    const name = ['host', 'viridian', 'internal'].flatMap((label) => [label.length, ...Buffer.from(label)]);
    guest.udp(5000, GATEWAY, 53, [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...name, 0, 0, 1, 0, 1]);
    ask(22);
    ask(8080);
    expect(host.streams.map(({ to }) => to.port)).toEqual([8080]);
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
