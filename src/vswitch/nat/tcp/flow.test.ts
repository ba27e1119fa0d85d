import { describe, expect, it } from 'vitest';
import { ACK, FIN, GATEWAY, ip, long, RST, SYN, word } from '../../guest.fixture.ts';
import { parseForward } from '../forwards.ts';
import { TestStream } from '../host.fixture.ts';
import { network, OUTSIDE, settle } from '../network.fixture.ts';

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

  it('begins anew with a new SYN once it has ended, and not with its own old one', () => {
    const { host, guest, open } = network();
    const { stream, first, send } = open();
    stream.events.current!.end();
    send({ flags: FIN | ACK, acknowledgment: first + 1 });
    guest.take();
    const syn = (sequence: number): void =>
      guest.tcp(OUTSIDE, { sourcePort: 40_000, port: 80, sequence, flags: SYN, options: [2, 4, ...word(1460)] });
    syn(1000);
    expect(host.streams).toHaveLength(1);
    expect(guest.take().map(({ tcp }) => tcp!.flags)).toEqual([ACK]);
    syn(5000);
    expect(host.streams).toHaveLength(2);
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

  it('takes what fills a gap however much is kept behind it', () => {
    const { guest, open } = network();
    const { stream, send } = open(OUTSIDE, 80, [2, 4, ...word(1460), 4, 2, 1, 3, 3, 7, 1]);
    // Every second byte, so that no two pieces touch: more pieces than are kept.
    for (let n = 1; n < 600; n += 2) send({ sequence: 1001 + n, data: [n & 0xff] });
    expect(stream.received).toBe(0);
    for (let n = 0; n < 600; n += 2) send({ sequence: 1001 + n, data: [n & 0xff] });
    expect(stream.received).toBeGreaterThanOrEqual(512);
    const { acknowledgment } = guest.take().at(-1)!.tcp!;
    for (let n = acknowledgment - 1001; n < 600; n++) send({ sequence: 1001 + n, data: [n & 0xff] });
    expect(stream.received).toBe(600);
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
