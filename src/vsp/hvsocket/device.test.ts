import { describe, expect, it } from 'vitest';
import { guidText } from '../../support/guid.ts';
import { type GuestChannel, message, TestBus, TestGuest } from '../../vmbus/guest.fixture.ts';
import { MessageType, PacketType } from '../../vmbus/protocol.ts';
import { viewOf } from '../../vmbus/ring.ts';
import type { Connection } from './connection.ts';
import { HvSocket } from './device.ts';
import { portOf, serviceOf } from './protocol.ts';

function attached() {
  const host = new TestBus();
  const sockets = new HvSocket(host.bus, host.timers);
  host.bus.onConnectRequest = (endpoint, service) => {
    sockets.requested(endpoint, service);
  };
  const guest = new TestGuest(host);
  guest.contact();
  guest.offers();
  /** As the guest's driver asks for a connection. */
  const request = (guestPort: number, hostPort: number): void => {
    const tail = [0x11e6_facb, 0x0064_58bd, 0xd386_796a];
    guest.post(message(MessageType.TL_CONNECT_REQUEST, guestPort, ...tail, hostPort, ...tail));
  };
  return { host, sockets, guest, request };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
}

function send(channel: GuestChannel, data: Uint8Array, size = data.length, type = 1): boolean {
  const payload = new Uint8Array(8 + data.length);
  viewOf(payload).setUint32(0, type, true);
  viewOf(payload).setUint32(4, size, true);
  payload.set(data, 8);
  return channel.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload });
}

/** The data of the next packet; undefined when there is none. */
function receive(channel: GuestChannel): Uint8Array | undefined {
  const packet = channel.receive();
  if (!packet) return undefined;
  expect(viewOf(packet.payload).getUint32(0, true)).toBe(1);
  return packet.payload.subarray(8, 8 + viewOf(packet.payload).getUint32(4, true));
}

const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);
const bytes = (content: string): Uint8Array => new TextEncoder().encode(content);

describe('sockets between host and guest', () => {
  it('have their port in the service', () => {
    expect(serviceOf(22)).toBe('00000016-facb-11e6-bd58-64006a7986d3');
    expect(portOf(serviceOf(0xffff_fffe))).toBe(0xffff_fffe);
    expect(portOf('00000016-0000-11e6-bd58-64006a7986d3')).toBeUndefined();
  });

  it('connect to the guest', async () => {
    const { sockets, guest, host } = attached();
    const connecting = sockets.connect(22, 1000);
    const offer = host.messages[0]!.payload;
    expect([viewOf(offer).getUint16(56, true), offer[64]]).toEqual([0x2000, 1]);
    const offered = guest.offer();
    expect(guidText(offered.type)).toBe(serviceOf(22));
    const channel = guest.open(offered, 7);
    const connection = await connecting;
    await connection.write(bytes('from the host'));
    expect(text(receive(channel))).toBe('from the host');
    send(channel, bytes('from the guest'));
    expect(text(await connection.read())).toBe('from the guest');
    // Both ends say that they send no more; then the channel is taken back.
    connection.end();
    expect(receive(channel)).toEqual(new Uint8Array());
    expect(await connection.write(bytes('more'))).toBe(false);
    send(channel, bytes('last'));
    send(channel, new Uint8Array());
    expect(text(await connection.read())).toBe('last');
    expect(await connection.read()).toBeUndefined();
    expect(await connection.whenEnded).toBe('ended');
    expect(guest.expect(MessageType.RESCIND_CHANNEL_OFFER).getUint32(8, true)).toBe(offered.relid);
    expect(sockets.inspect()).toMatchObject({ connections: 0, connected: 1 });
    expect(host.defects).toEqual([]);
  });

  it('give up where nobody accepts', async () => {
    const { sockets, guest, host } = attached();
    const connecting = sockets.connect(23, 1000);
    const { relid } = guest.offer();
    host.timers.advance(1001);
    await expect(connecting).rejects.toMatchObject({
      reason: 'timeout',
      message: expect.stringContaining('port 23') as unknown,
    });
    expect(guest.expect(MessageType.RESCIND_CHANNEL_OFFER).getUint32(8, true)).toBe(relid);
  });

  it('take the guest\u2019s connections where somebody listens', async () => {
    const { sockets, guest, host, request } = attached();
    const accepted: Connection[] = [];
    const stop = sockets.listen(7000, (connection) => accepted.push(connection));
    expect(() => sockets.listen(7000, () => undefined)).toThrow('port 7000');
    request(1, 7001);
    expect(sockets.inspect()).toMatchObject({ refused: 1 });
    expect(host.messages).toEqual([]);
    request(1, 7000);
    const offer = host.messages[0]!.payload;
    expect(offer[64]).toBe(0);
    const offered = guest.offer();
    expect([guidText(offered.type), guidText(offered.instance)]).toEqual([serviceOf(7000), serviceOf(1)]);
    const channel = guest.open(offered, 7);
    send(channel, bytes('hello'));
    expect(text(await accepted[0]!.read())).toBe('hello');
    // The same once more is a mistake.
    request(1, 7000);
    expect(sockets.inspect()).toMatchObject({ refused: 2, accepted: 1 });
    stop();
    request(2, 7000);
    expect(sockets.inspect()).toMatchObject({ refused: 3 });
  });

  it('keep the guest waiting while nobody reads', async () => {
    const { sockets, guest } = attached();
    const connecting = sockets.connect(22, 1000);
    const channel = guest.open(guest.offer(), 7);
    const connection = await connecting;
    const part = new Uint8Array(4000).fill(7);
    let taken = 0;
    while (taken < 100 && send(channel, part)) taken++;
    // What the host keeps and what the ring holds.
    expect(taken).toBeLessThan(30);
    let read = 0;
    for (let n = 0; n < taken; n++) {
      read += (await connection.read())!.length;
      guest.host.run();
    }
    await settle();
    expect(read).toBe(taken * 4000);
    expect(send(channel, part)).toBe(true);
    await settle();
    guest.host.run();
    expect((await connection.read())!.length).toBe(4000);
  });

  it('keep the host waiting while the guest does not read', async () => {
    const { sockets, guest, host } = attached();
    const connecting = sockets.connect(22, 1000);
    const channel = guest.open(guest.offer(), 7);
    const connection = await connecting;
    const data = Uint8Array.from({ length: 200_000 }, (_, i) => i * 31);
    let written = false;
    void connection.write(data).then(() => {
      written = true;
    });
    connection.end();
    await settle();
    expect(written).toBe(false);
    const parts: number[] = [];
    for (let n = 0; n < 200; n++) {
      const part = receive(channel);
      if (part?.length === 0) break;
      if (part) parts.push(...part);
      host.timers.advance(20);
      host.run();
    }
    await settle();
    expect(written).toBe(true);
    expect(Uint8Array.from(parts)).toEqual(data);
  });

  it.each<[string, (channel: GuestChannel) => void]>([
    ['a size beyond its packet', (channel) => send(channel, bytes('x'), 100)],
    ['a packet of another type', (channel) => send(channel, bytes('x'), 1, 2)],
    [
      'no header',
      (channel) => channel.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload: new Uint8Array() }),
    ],
  ])('end with %s', async (_what, harm) => {
    const { sockets, guest, host } = attached();
    const connecting = sockets.connect(22, 1000);
    const channel = guest.open(guest.offer(), 7);
    const connection = await connecting;
    harm(channel);
    expect(await connection.whenEnded).toBe('protocol');
    expect(await connection.read()).toBeUndefined();
    guest.expect(MessageType.RESCIND_CHANNEL_OFFER);
    expect(host.defects).toEqual([]);
  });

  it('wait while the partition stands still', async () => {
    const { sockets, guest, host } = attached();
    const connecting = sockets.connect(22, 1000);
    const channel = guest.open(guest.offer(), 7);
    const connection = await connecting;
    host.bus.pause();
    const before = host.memory.bytes.slice();
    await connection.write(bytes('patience'));
    expect(Buffer.compare(host.memory.bytes, before)).toBe(0);
    host.bus.resume();
    expect(text(receive(channel))).toBe('patience');
  });

  it('end when the guest closes the channel, or is reset', async () => {
    const { sockets, guest, host } = attached();
    const first = sockets.connect(22, 1000);
    const channel = guest.open(guest.offer(), 7);
    const connection = await first;
    channel.close();
    expect(await connection.whenEnded).toBe('guestGone');
    guest.expect(MessageType.RESCIND_CHANNEL_OFFER);
    const second = sockets.connect(23, 1000);
    guest.open(guest.offer(), 7);
    await second;
    host.bus.reset();
    expect((await second).ended).toBe('guestGone');
    expect(sockets.inspect()).toMatchObject({ connections: 0 });
  });

  it('are taken back from the guest of a saved state', async () => {
    const { sockets, guest, host } = attached();
    const connecting = sockets.connect(22, 1000);
    const offered = guest.offer();
    guest.open(offered, 7);
    await connecting;
    void sockets.connect(23, 1000).catch(() => undefined);
    const waiting = guest.offer();
    const saved = JSON.parse(JSON.stringify(host.bus.save())) as { outbox: string[]; channels: { state: string }[] };
    // The partition that was saved goes on as it was.
    expect(host.messages).toEqual([]);
    expect(saved.channels.map(({ state }) => state)).toEqual(['rescinded', 'rescinded']);
    const other = new TestBus();
    other.memory.bytes.set(host.memory.bytes);
    other.bus.restore(saved);
    other.run();
    const again = new TestGuest(other);
    const relids = [0, 1].map(() => again.expect(MessageType.RESCIND_CHANNEL_OFFER).getUint32(8, true));
    expect(relids).toEqual([offered.relid, waiting.relid]);
    for (const relid of relids) again.post(message(MessageType.RELID_RELEASED, relid));
    expect(other.bus.inspect()).toMatchObject({ channels: {}, unexpected: 0 });
  });
});
