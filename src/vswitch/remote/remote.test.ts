import { beforeEach, describe, expect, it } from 'vitest';
import { hex, ip, ipPacket, TestGuest, word } from '../guest.fixture.ts';
import type { Frame } from '../port.ts';
import type { AdapterPort } from '../switch.ts';
import { portSpec, TestRoom, TestWire } from './remote.fixture.ts';
import type { RemotePort } from './remote-port.ts';
import { HEADER, Kind, type Message, MessageReader, MessageWriter } from './wire.ts';

const A = '00:15:5d:00:00:01';
const B = '00:15:5d:00:00:02';
const C = '00:15:5d:00:00:03';

function frame(from: string, to: string, payload: number[] = [1, 2, 3], type = 0x88b5): Frame {
  return {
    bytes: Uint8Array.from([...hex(to), ...hex(from), ...word(type), ...payload]),
    segmentSize: 0,
    checksum: 'complete',
  };
}

/** Everything that an adapter is given. */
function taken(port: RemotePort): Frame[] {
  const frames: Frame[] = [];
  port.onFrame((each) => frames.push(each) > 0);
  return frames;
}

let test: TestRoom;
beforeEach(() => {
  test = new TestRoom();
});

describe('messages', () => {
  it.each([1, 3, 8, 1000, 100_000])('arrive as they were sent, in pieces of %i bytes', async (size) => {
    const sent: Frame[] = [14, 15, 4096, 4097, 65_553].map((length, i) => ({
      bytes: Uint8Array.from({ length }, (_, at) => at + i),
      segmentSize: i * 100,
      checksum: i % 2 === 0 ? 'complete' : 'partial',
    }));
    const wire = new TestWire({ received: () => {}, drained: () => {}, closed: () => {} });
    const writer = new MessageWriter(wire);
    writer.text(Kind.HELLO, 'hello');
    for (const each of sent) writer.frame(each);
    writer.signal(Kind.STOP);
    writer.link(true);
    await Promise.resolve();
    const got: Message[] = [];
    const reader = new MessageReader((message) => got.push(message));
    const all = Buffer.concat(wire.sent);
    for (let at = 0; at < all.length; at += size)
      expect(reader.push(Uint8Array.prototype.slice.call(all, at, at + size))).toBe(true);
    expect(got.map(({ kind }) => kind)).toEqual([2, 1, 1, 1, 1, 1, 4, 3]);
    const frames = got.filter((each) => each.kind === Kind.FRAME).map((each) => each.frame);
    const plain = (each: Frame) => [each.segmentSize, each.checksum, Buffer.from(each.bytes).toString('hex')];
    expect(frames.map(plain)).toEqual(sent.map(plain));
  });

  it.each([
    ['an unknown kind', [9, 0, 0, 0, 0, 0, 0, 0]],
    ['no kind', [0, 0, 0, 0, 0, 0, 0, 0]],
    ['a frame that is none', [1, 0, 0, 0, 13, 0, 0, 0]],
    ['a frame without end', [1, 0, 0, 0, 0, 0, 2, 0]],
    ['a length of 4 GiB', [1, 0, 0, 0, 255, 255, 255, 255]],
    ['flags that mean nothing', [1, 2, 0, 0, 60, 0, 0, 0]],
    ['a text without end', [2, 0, 0, 0, 1, 4, 0, 0]],
  ])('%s ends the connection', (_what, header) => {
    const reader = new MessageReader(() => expect.fail('no message'));
    expect(header).toHaveLength(HEADER);
    expect(reader.push(Uint8Array.from(header))).toBe(false);
    expect(reader.push(Uint8Array.of(3))).toBe(false);
  });
});

describe('adapters of other processes', () => {
  beforeEach(async () => {
    test.switch();
    await test.room.setPort(portSpec('a', A));
    await test.room.setPort(portSpec('b', B));
  });

  it('reach each other, whole segments too', async () => {
    const [a, b] = [test.adapter('a'), test.adapter('b')];
    const got = taken(b);
    await test.settle();
    const large: Frame = {
      bytes: Uint8Array.from([...hex(B), ...hex(A), 8, 0, ...new Array<number>(60_000).fill(7)]),
      segmentSize: 1460,
      checksum: 'partial',
    };
    a.send(frame(A, B));
    a.send({ ...large, bytes: large.bytes.with(12, 0x88) });
    await test.settle();
    expect(got.map(({ bytes, segmentSize, checksum }) => [bytes.length, segmentSize, checksum])).toEqual([
      [17, 0, 'complete'],
      [60_014, 1460, 'partial'],
    ]);
    expect(test.room.status('lan').ports).toMatchObject([
      { vm: 'a', link: true, sentFrames: 2 },
      { vm: 'b', link: true, receivedFrames: 2 },
    ]);
  });

  it('are held to their own addresses, and to the one that was said', async () => {
    await test.room.setPort(portSpec('c', C, { address: '10.0.0.3' }));
    const [a, b, c] = ['a', 'b', 'c'].map((id) => test.adapter(id)) as [RemotePort, RemotePort, RemotePort];
    const got = taken(b);
    await test.settle();
    const packet = (from: string, source: string): Frame =>
      frame(from, B, ipPacket({ source, destination: '10.0.0.2', protocol: 17 }, [0, 1, 0, 2, 0, 8, 0, 0]), 0x800);
    a.send(frame(C, B));
    a.send(packet(A, '10.0.0.3'));
    c.send(packet(C, '10.0.0.4'));
    await test.settle();
    expect(got).toEqual([]);
    a.send(packet(A, '10.0.0.4'));
    c.send(packet(C, '10.0.0.3'));
    await test.settle();
    expect(got).toHaveLength(2);
    const dropped = test.room.status('lan').ports.map(({ dropped: each }) => each);
    expect(dropped).toEqual([{ mac: 1, address: 1 }, {}, { address: 1 }]);
    await expect(test.room.setPort(portSpec('d', '00:15:5d:00:00:04', { address: '10.0.0.3' }))).rejects.toThrow(
      '10.0.0.3 is the address of c on switch lan',
    );
    await expect(test.room.setPort(portSpec('d', A))).rejects.toThrow('has an adapter with the address');
  });

  it('that nobody knows are refused, and so is a second worker that shows nothing', async () => {
    const stranger = test.adapter('z');
    await test.settle();
    expect(stranger.refusal).toBe('there is no such port');
    const states: boolean[] = [];
    stranger.onLink((up) => states.push(up));
    test.time.advance(10_000);
    expect(states).toEqual([true, false]);
    // Until it is known.
    await test.room.setPort(portSpec('z', C));
    test.time.advance(1000);
    await test.settle();
    expect(states).toEqual([true, false, true]);
  });

  it('that take nothing have their frames wait at the switch, bounded', async () => {
    const [a, b] = [test.adapter('a'), test.adapter('b')];
    let taking = false;
    const got: Frame[] = [];
    b.onFrame((each) => taking && got.push(each) > 0);
    await test.settle();
    for (let i = 0; i < 200; i++) {
      a.send(frame(A, B, new Array<number>(60_000).fill(i)));
      await test.settle();
    }
    const { dropped } = test.room.status('lan').ports[1]!;
    expect(dropped.noRoom).toBeGreaterThan(100);
    taking = true;
    b.resume();
    await test.settle();
    expect(got.length).toBeGreaterThan(60);
    expect(got.length + dropped.noRoom!).toBe(200);
    expect(got.map(({ bytes }) => bytes[20])).toEqual(got.map((_each, i) => i));
  });

  it('that send more than the wire takes lose it', async () => {
    const a = test.adapter('a');
    await test.settle();
    test.wires[0]!.other!.held = true;
    for (let i = 0; i < 100; i++) {
      a.send(frame(A, B, new Array<number>(60_000).fill(i)));
      await Promise.resolve();
    }
    expect(a.counters.droppedFrames).toBeGreaterThan(20);
    expect(test.wires[0]!.other!.unsent).toBeLessThan(4.2 * 2 ** 20);
  });

  it('are connected again when the switch process is lost, and guests do not notice', async () => {
    const [a, b] = [test.adapter('a'), test.adapter('b')];
    const got = taken(b);
    await test.settle();
    const states: boolean[] = [];
    b.onLink((up) => states.push(up));
    test.restart();
    test.down = true;
    test.time.advance(1500);
    a.send(frame(A, B));
    test.down = false;
    test.switch();
    for (const [id, mac] of [
      ['a', A],
      ['b', B],
    ] as const)
      await test.room.setPort(portSpec(id, mac));
    test.time.advance(1500);
    await test.settle();
    a.send(frame(A, B));
    await test.settle();
    expect(got).toHaveLength(1);
    expect(states).toEqual([true]);
    // Too long is too long.
    test.restart();
    test.down = true;
    test.time.advance(6000);
    expect(states).toEqual([true, false]);
  });

  it('are plugged in elsewhere, and see their cable pulled meanwhile', async () => {
    test.switch({ name: 'other' });
    const a = test.adapter('a');
    const b = test.adapter('b');
    const got = taken(b);
    await test.settle();
    const states: boolean[] = [];
    b.onLink((up) => states.push(up));
    await test.room.setPort(portSpec('b', B, { switch: 'other' }));
    await test.settle();
    a.send(frame(A, B));
    await test.settle();
    expect(got).toEqual([]);
    expect(states).toEqual([true, false, true]);
    await test.room.setPort(portSpec('b', B, { vlan: 5 }));
    await test.settle();
    a.send(frame(A, B));
    await test.settle();
    expect(got).toEqual([]);
    b.retarget(undefined);
    await test.settle();
    expect(states.at(-1)).toBe(false);
    expect(test.room.status('lan').ports[1]).toMatchObject({ vlan: 5, link: false });
  });

  it('break the protocol for themselves alone', async () => {
    const a = test.adapter('a');
    const b = test.adapter('b');
    const got = taken(b);
    await test.settle();
    let closed = false;
    const bad = test.connect({ received: () => {}, drained: () => {}, closed: () => (closed = true) });
    bad.other!.receive(Uint8Array.of(7, 7, 7, 7, 7, 7, 7, 7));
    expect(closed).toBe(true);
    a.send(frame(A, B));
    await test.settle();
    expect(got).toHaveLength(1);
    test.room.removePort('a');
    await test.settle();
    a.send(frame(A, B));
    await test.settle();
    expect(got).toHaveLength(1);
    test.room.keep([], []);
    expect(() => test.room.status('lan')).toThrow('there is no switch lan');
    expect(test.room.used).toBe(false);
  });
});

describe('a NAT switch of several processes', () => {
  const guest = (id: string, mac: string): TestGuest => {
    const port = test.adapter(id);
    // What the test guest needs of an adapter: its address, and a port.
    const adapter = {
      mac: mac.toUpperCase().replaceAll(':', '-'),
      send: (each: Frame) => port.send(each),
      onFrame: (receive: (each: Frame) => boolean) => port.onFrame(receive),
      resume: () => port.resume(),
      onLink: () => {},
      close: () => port.close(),
    };
    return new TestGuest(adapter as unknown as AdapterPort);
  };

  it('keeps reservations by name over a restart, takes them along when a VM is renamed, and gives them up', async () => {
    test.switch({ kind: 'NAT', subnet: '10.9.0.0/24' });
    const spec = portSpec('a', A, { vm: 'web', owner: 'web', hostName: 'web' });
    await test.room.setPort(spec);
    await test.room.setPort(portSpec('b', B, { owner: 'db', address: '10.9.0.77' }));
    test.room.removePort('b');
    expect(test.room.status('lan').leases).toEqual([{ owner: 'db', address: '10.9.0.77', fixed: true }]);
    test.time.advance(1000);
    test.restart();
    test.switch({ kind: 'NAT', subnet: '10.9.0.0/24' });
    expect(test.room.status('lan').leases).toEqual([{ owner: 'db', address: '10.9.0.77', fixed: true }]);
    await test.room.setPort(portSpec('b', B, { owner: 'db', address: '10.9.0.77' }));
    await test.room.setPort(portSpec('b', B, { owner: 'database', address: '10.9.0.77' }));
    expect(test.room.status('lan').leases).toEqual([{ owner: 'database', address: '10.9.0.77', fixed: true }]);
    expect(test.room.forgetLease('lan', 'database')).toBe(true);
    expect(test.room.forgetLease('lan', 'database')).toBe(false);
    expect(guest('b', B)).toBeDefined();
    expect(ip('10.9.0.77')).toHaveLength(4);
  });

  it('listens for guests, and says what cannot be', async () => {
    test.switch({ kind: 'NAT' });
    const forwards = [{ protocol: 'tcp' as const, hostPort: 8080, guestPort: 80 }];
    await test.room.setPort(portSpec('a', A, { forwards }));
    expect(test.host.listeners).toMatchObject([{ at: { address: '127.0.0.1', port: 8080 }, open: true }]);
    expect(test.room.status('lan').forwards).toMatchObject([{ vm: 'a', nic: 'nic0', hostPort: 8080 }]);
    await test.room.setPort(portSpec('a', A));
    expect(test.host.listeners).toMatchObject([{ open: false }]);
    await expect(test.room.setPort(portSpec('b', B, { address: '192.0.2.1' }))).rejects.toThrow(
      'is no address for a machine in this network',
    );
    expect(test.room.status('lan').ports).toHaveLength(1);
    // A file that makes no sense is no reason to have no network.
    test.room.removeSwitch('lan');
    test.leases.set('lan.json', { version: 9 } as never);
    test.switch({ kind: 'NAT' });
    expect(test.room.status('lan').leases).toEqual([]);
  });
});
