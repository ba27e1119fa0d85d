import { describe, expect, it } from 'vitest';
import { guidBytes } from '../support/guid.ts';
import { VmBus } from './bus.ts';
import { connected, Echo, opened, packet } from './echo.fixture.ts';
import { type GuestChannel, message, TestBus, TestGuest } from './guest.fixture.ts';
import { ChannelStatus, MessageType, PAGE_SIZE, PacketType, RingField, VERSIONS } from './protocol.ts';
import { encodePacket } from './ring.ts';
import type { SavedBus } from './state.ts';

const word = (value: number): number[] => [value];

describe('contact', () => {
  it.each(Object.entries(VERSIONS))('agrees to %s', (_name, version) => {
    expect(new TestGuest(new TestBus()).contact(version)).toBe(true);
  });

  it('refuses what it does not know, and what is newer than it may', () => {
    const guest = new TestGuest(new TestBus({ maximumVersion: '4.1' }));
    for (const version of [0x60000, 0x50003, 0x10001, 0x13, 0]) expect(guest.contact(version)).toBe(false);
    expect(guest.contact(VERSIONS['4.1'])).toBe(true);
  });

  it('names a connection from 5.0 on', () => {
    const guest = new TestGuest(new TestBus());
    guest.post(message(MessageType.INITIATE_CONTACT, VERSIONS['5.0'], 1, 5, 0, 0, 0, 0, 0));
    expect(guest.host.messages[0]).toMatchObject({ vp: 1, sint: 5 });
    const view = guest.expect(MessageType.VERSION_RESPONSE);
    expect([view.byteLength, view.getUint8(8), view.getUint8(9), view.getUint32(12, true)]).toEqual([16, 1, 0, 4]);
  });

  it('refuses a processor, a SINT or a VTL that is not there', () => {
    const guest = new TestGuest(new TestBus());
    for (const [vp, sint] of [
      [2, 2],
      [0, 16],
      [0, 0x102],
    ] as const) {
      guest.post(message(MessageType.INITIATE_CONTACT, VERSIONS['5.3'], vp, sint, 0, 0, 0, 0, 0));
      expect(guest.expect(MessageType.VERSION_RESPONSE).getUint8(8)).toBe(0);
    }
  });

  it('made again means that the guest has unloaded', () => {
    const { guest, device } = opened();
    expect(guest.contact()).toBe(true);
    expect(device.log).toEqual(['open 0', 'close 0']);
    expect(guest.offers()).toHaveLength(1);
  });

  it('ends with an unload, which is answered', () => {
    const { guest, host, device, channel } = opened();
    guest.post(message(MessageType.UNLOAD));
    guest.expect(MessageType.UNLOAD_RESPONSE);
    expect(device.log).toEqual(['open 0', 'close 0']);
    expect(channel.signal()).toBe(18);
    guest.post(message(MessageType.REQUEST_OFFERS));
    expect(host.messages).toEqual([]);
    expect(host.bus.counters.unexpected).toBe(1);
  });
});

describe('offers', () => {
  it('have the sizes and fields that guests check', () => {
    const { guest, device } = connected();
    guest.post(message(MessageType.REQUEST_OFFERS));
    const view = guest.expect(MessageType.OFFER_CHANNEL);
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    expect(view.byteLength).toBe(196);
    expect(bytes.slice(8, 24)).toEqual(guidBytes(device.offer.type));
    expect(bytes.slice(24, 40)).toEqual(guidBytes(device.offer.instance));
    // Relid, no monitor, a dedicated interrupt, the connection.
    expect(bytes.slice(184, 196)).toEqual(Uint8Array.from([1, 0, 0, 0, 0xff, 0, 1, 0, 1, 0x20, 0, 0]));
    guest.expect(MessageType.ALL_OFFERS_DELIVERED);
  });

  it('reach a connected guest as devices come, and go as they leave', () => {
    const { guest, host, device } = connected();
    guest.offers();
    const second = new Echo('second', 2);
    host.bus.offer(second);
    const offer = guest.offer();
    expect(offer.relid).toBe(2);
    const channel = guest.open(offer);
    host.bus.withdraw(second);
    expect(guest.expect(MessageType.RESCIND_CHANNEL_OFFER).getUint32(8, true)).toBe(2);
    expect(second.log).toEqual(['open 0', 'close 0']);
    expect(channel.signal()).toBe(18);
    // The relid is not used again before the guest has let go of it.
    host.bus.offer(new Echo('third', 3));
    expect(guest.offer().relid).toBe(3);
    channel.close();
    channel.teardown();
    guest.post(message(MessageType.RELID_RELEASED, 2));
    host.bus.offer(new Echo('fourth', 4));
    expect(guest.offer().relid).toBe(2);
    expect(device.log).toEqual([]);
  });

  it('are refused for a device that is there', () => {
    const { host } = connected();
    expect(() => host.bus.offer(new Echo('echo', 9))).toThrow('already');
    expect(() => host.bus.offer(new Echo('other', 1))).toThrow('already');
  });

  it('wait in order while the guest has no room for messages', () => {
    const host = new TestBus({ slots: 2 });
    const guest = new TestGuest(host);
    for (let n = 1; n <= 100; n++) host.bus.offer(new Echo(`echo ${n}`, n));
    guest.contact();
    guest.post(message(MessageType.REQUEST_OFFERS));
    for (let n = 1; n <= 100; n++) {
      expect(host.messages.length).toBeLessThanOrEqual(2);
      expect(guest.offer().relid).toBe(n);
      host.timers.advance(1);
    }
    guest.expect(MessageType.ALL_OFFERS_DELIVERED);
  });

  it('come with further channels, which end with their primary', () => {
    const { guest, device, channel, host } = opened();
    expect(device.channel!.offerSubChannels(2)).toBe(2);
    host.run();
    const subs = [guest.offer(), guest.offer()];
    expect(subs.map((offer) => [offer.relid, offer.subIndex])).toEqual([
      [2, 1],
      [3, 2],
    ]);
    expect(subs[0]!.type).toEqual(channel.offer.type);
    const sub = guest.open(subs[0]!, 4, 1);
    sub.send(packet(1, 'sub'));
    expect(sub.receive()!.payload.subarray(0, 3)).toEqual(new TextEncoder().encode('sub'));
    expect(host.flags).toContain('1.2.2');
    channel.close();
    expect(guest.expect(MessageType.RESCIND_CHANNEL_OFFER).getUint32(8, true)).toBe(2);
    expect(guest.expect(MessageType.RESCIND_CHANNEL_OFFER).getUint32(8, true)).toBe(3);
    expect(device.log).toEqual(['open 0', 'open 1', 'close 0', 'close 1']);
  });
});

describe('an open channel', () => {
  it('carries packets both ways, 64-bit transaction ids whole', () => {
    const { channel, host } = opened();
    channel.send(packet(0xffff_ffff_ffff_fffdn, 'hello'));
    const answer = channel.receive()!;
    expect(answer).toMatchObject({ type: PacketType.COMPLETION, transactionId: 0xffff_ffff_ffff_fffdn });
    expect(new TextDecoder().decode(answer.payload)).toBe('hello\0\0\0');
    expect(host.flags).toContain('0.2.1');
  });

  it('carries them across the end of the ring', () => {
    const { channel, device } = opened(2);
    for (let n = 0; n < 500; n++) {
      const bytes = Uint8Array.from({ length: (n * 37) % 1500 }, (_, i) => i + n);
      expect(channel.send(packet(n, bytes))).toBe(true);
      expect(device.packets.at(-1)!.payload.subarray(0, bytes.length)).toEqual(bytes);
      expect(channel.receive()!.payload.subarray(0, bytes.length)).toEqual(bytes);
    }
  });

  it('is signalled only when the guest asks for it', () => {
    const { channel, host } = opened();
    channel.setField('in', RingField.INTERRUPT_MASK, 1);
    channel.send(packet(1, 'quiet'));
    expect(host.flags.size).toBe(0);
    channel.setField('in', RingField.INTERRUPT_MASK, 0);
    channel.send(packet(2, 'loud'));
    expect(host.flags).toContain('0.2.1');
  });

  it('keeps answers while the guest makes no room, and takes nothing more meanwhile', () => {
    const { channel, device, host } = opened(2);
    const bytes = new Uint8Array(1000);
    for (let n = 0; n < 12; n++) channel.send(packet(n, bytes));
    const taken = device.packets.length;
    expect(taken).toBeLessThan(8);
    expect(channel.field('in', RingField.PENDING_SEND_SIZE)).toBe(1024);
    for (let n = 0; n < taken; n++) expect(channel.receive()!.transactionId).toBe(BigInt(n));
    host.timers.advance(20);
    expect(device.packets.length).toBeGreaterThan(taken);
  });

  it('tells a guest that waits for room', () => {
    const { channel, device, host } = opened(2);
    device.channel!.hold();
    while (channel.put(new Uint8Array(PAGE_SIZE / 4 - 8).map((_, i) => [6, 0, 2, 0, 127, 0][i] ?? 0)));
    channel.setField('out', RingField.PENDING_SEND_SIZE, 2000);
    channel.signal();
    host.flags.clear();
    device.channel!.release();
    host.run();
    expect(host.flags).toContain('0.2.1');
  });

  it('refuses what does not fit, and says when to try again', () => {
    const { channel, device, host } = opened(2);
    const send = (): boolean => device.channel!.send(packet(0, new Uint8Array(1000), false));
    let sent = 0;
    while (send()) sent++;
    expect(sent).toBe(3);
    channel.receive();
    expect(device.log).toEqual(['open 0', 'writable']);
    expect(send()).toBe(true);
    expect(host.timers.count).toBeLessThan(3);
  });

  it('stops for a device that holds, without losing a packet', () => {
    const { channel, device, host } = opened();
    device.onPacket = (_packet, c) => c.hold();
    for (let n = 0; n < 10; n++) channel.send(packet(n, 'x'));
    expect(device.packets).toHaveLength(1);
    for (let n = 2; n <= 10; n++) {
      device.channel!.release();
      host.run();
      expect(device.packets).toHaveLength(n);
    }
  });

  it.each<[string, (channel: GuestChannel) => void]>([
    ['a write index outside the ring', (c) => c.setField('out', RingField.WRITE_INDEX, c.size)],
    ['a write index between words', (c) => c.setField('out', RingField.WRITE_INDEX, 12)],
    ['a packet shorter than its header', (c) => c.put(Uint8Array.from([6, 0, 1, 0, 2, 0, ...new Array(26).fill(0)]))],
    [
      'a packet longer than what is there',
      (c) => c.put(Uint8Array.from([6, 0, 2, 0, 0xff, 0xff, ...new Array(26).fill(0)])),
    ],
    ['data before the packet', (c) => c.put(Uint8Array.from([6, 0, 0xff, 0, 4, 0, ...new Array(26).fill(0)]))],
    [
      'a read index outside the ring',
      (c) => {
        c.setField('in', RingField.READ_INDEX, 0xffff_fff8);
        c.send(packet(1, 'x'));
      },
    ],
  ])('is broken by %s, alone and visibly, until it is opened again', (_what, harm) => {
    const { channel, host, guest, device } = opened();
    harm(channel);
    channel.signal();
    expect(JSON.stringify(host.bus.inspect())).toContain('"state":"broken"');
    expect(host.defects).toEqual([]);
    channel.close();
    channel.teardown();
    const again = guest.open(channel.offer);
    again.send(packet(7, 'well'));
    expect(again.receive()!.transactionId).toBe(7n);
    expect(device.log).toEqual(['open 0', 'close 0', 'open 0']);
  });

  it('whose device throws is a defect, and does not end the bus', () => {
    const { channel, host, device } = opened();
    device.onPacket = () => {
      throw new Error('of ours');
    };
    channel.send(packet(1, 'x'));
    expect(host.defects).toHaveLength(1);
    expect(host.bus.counters.defects).toBe(1);
  });

  it('changes its processor, which is answered from 5.3 on', () => {
    const { channel, guest, host } = opened();
    guest.post(message(MessageType.MODIFY_CHANNEL, 1, 1));
    const view = guest.expect(MessageType.MODIFY_CHANNEL_RESPONSE);
    expect([view.getUint32(8, true), view.getUint32(12, true)]).toEqual([1, 0]);
    host.flags.clear();
    channel.send(packet(1, 'x'));
    expect([...host.flags]).toEqual(['1.2.1']);
    guest.post(message(MessageType.MODIFY_CHANNEL, 1, 7));
    expect(guest.expect(MessageType.MODIFY_CHANNEL_RESPONSE).getUint32(12, true)).toBe(ChannelStatus.INVALID_PARAMETER);
    guest.contact(VERSIONS['5.2']);
    guest.post(message(MessageType.MODIFY_CHANNEL, 1, 1));
    expect(host.messages).toEqual([]);
  });

  it('is gone after a reset', () => {
    const { channel, host, device, guest } = opened();
    host.bus.reset();
    expect(device.log).toEqual(['open 0', 'close 0']);
    expect(channel.signal()).toBe(18);
    expect(host.bus.inspect()).toMatchObject({ connected: false, gpadls: 0 });
    guest.contact();
    expect(guest.offers()).toHaveLength(1);
  });

  it.each<[string, (relid: number, gpadl: number) => Uint8Array]>([
    ['a channel that is not', (_, gpadl) => message(5, 99, 1, gpadl, 0, 4, ...new Array(30).fill(0))],
    ['a buffer that is not', (relid) => message(5, relid, 1, 77, 0, 4, ...new Array(30).fill(0))],
    ['a processor that is not', (relid, gpadl) => message(5, relid, 1, gpadl, 9, 4, ...new Array(30).fill(0))],
    ['a ring without data', (relid, gpadl) => message(5, relid, 1, gpadl, 0, 1, ...new Array(30).fill(0))],
    ['a ring behind the buffer', (relid, gpadl) => message(5, relid, 1, gpadl, 0, 7, ...new Array(30).fill(0))],
  ])('is not opened with %s', (_what, request) => {
    const { guest } = connected();
    const offer = guest.offers()[0]!;
    const { id } = guest.gpadl(offer.relid, 8);
    guest.post(request(offer.relid, id));
    expect(guest.expect(MessageType.OPEN_CHANNEL_RESULT).getUint32(16, true)).not.toBe(0);
  });
});

describe('buffers', () => {
  it('of 16 MiB come in a burst', () => {
    const { guest, device, host } = connected({ pages: 4096 + 64 });
    const [offer] = guest.offers();
    const channel = guest.open(offer!);
    const pages = Array.from({ length: 4096 }, (_, i) => 4096 + 63 - i);
    const burst = guest.gpadlMessages(1, 0xe1e10, pages);
    expect(burst).toHaveLength(147);
    for (const bytes of burst) expect(host.mailbox.postMessage(4, 1, bytes)).toBe(0);
    host.run();
    expect(guest.expect(MessageType.GPADL_CREATED).getUint32(16, true)).toBe(0);
    expect(device.channel!.gpadl(0xe1e10)!.ranges[0]).toMatchObject({
      byteCount: 2 ** 24,
      pages: Uint32Array.from(pages),
    });
    expect(channel.signal()).toBe(0);
  });

  it('find the mailbox full, and are told to try again', () => {
    const { host } = connected();
    let accepted = 0;
    while (host.mailbox.postMessage(4, 1, message(99)) === 0) accepted++;
    expect(accepted).toBe(255);
    expect(host.mailbox.postMessage(4, 1, message(99))).toBe(19);
    host.run();
    expect(host.mailbox.postMessage(4, 1, message(99))).toBe(0);
  });

  it.each<[string, Uint8Array]>([
    ['no range', message(8, 1, 5, 16, ...word(16), 0, 7, 0)],
    ['an empty range', message(8, 1, 5, 16 | (1 << 16), 0, 0, 7, 0)],
    ['an offset beyond its first page', message(8, 1, 5, 24 | (1 << 16), 4096, 4096, 7, 0, 8, 0)],
    ['pages that are not RAM', message(8, 1, 5, 16 | (1 << 16), 4096, 0, 0x100000, 0)],
    ['pages beyond 2^32', message(8, 1, 5, 16 | (1 << 16), 4096, 0, 7, 1)],
    ['more than it has said', message(8, 1, 5, 24 | (1 << 16), 4096, 0, 7, 0, 8, 0)],
    ['a channel that is not', message(8, 77, 5, 16 | (1 << 16), 4096, 0, 7, 0)],
    ['number 0', message(8, 1, 0, 16 | (1 << 16), 4096, 0, 7, 0)],
  ])('are refused with %s', (_what, bytes) => {
    const { guest } = connected();
    guest.offers();
    guest.post(bytes);
    expect(guest.expect(MessageType.GPADL_CREATED).getUint32(16, true)).not.toBe(0);
  });

  it('cannot take all the memory there is', () => {
    const { guest, host } = connected();
    guest.offers();
    const pages = new Array<number>(8000).fill(20);
    let refused = false;
    for (let id = 1; id < 30 && !refused; id++) {
      for (const bytes of guest.gpadlMessages(1, id, pages)) guest.post(bytes);
      refused = guest.expect(MessageType.GPADL_CREATED).getUint32(16, true) === ChannelStatus.INSUFFICIENT_RESOURCES;
    }
    expect(refused).toBe(true);
    for (let id = 100; id < 300; id++) guest.post(guest.gpadlMessages(1, id, pages)[0]!);
    expect(host.messages.length).toBeGreaterThan(0);
  });

  it('that are taken back while a ring is in them end the channel', () => {
    const { guest, channel, device } = opened();
    channel.teardown();
    expect(device.log).toEqual(['open 0', 'close 0']);
    guest.post(message(MessageType.GPADL_TEARDOWN, 1, 4711));
    guest.expect(MessageType.GPADL_TORNDOWN);
  });
});

describe('a saved bus', () => {
  /** The same devices on a new bus over the same memory. */
  function restored({ host, device }: { host: TestBus; device: Echo }): { bus: VmBus; device: Echo } {
    const other = new Echo(device.name, 1);
    const bus = new VmBus(host.ports(), host.mailbox);
    bus.offer(other);
    bus.restore(JSON.parse(JSON.stringify(host.bus.save())));
    return { bus, device: other };
  }

  it('goes on where it was: rings, buffers, what waits', () => {
    const all = opened(2);
    const { channel, host } = all;
    for (let n = 0; n < 5; n++) {
      channel.send(packet(n, new Uint8Array(700)));
      channel.receive();
    }
    const bytes = new Uint8Array(1000);
    for (let n = 10; n < 14; n++) channel.send(packet(n, bytes));
    expect(host.bus.save().channels[0]!.open!.answers).toHaveLength(1);
    const { bus, device } = restored(all);
    expect(device.log).toEqual(['restore']);
    expect(bus.save()).toEqual(host.bus.save());
    for (let n = 10; n < 13; n++) expect(channel.receive()!.transactionId).toBe(BigInt(n));
    host.timers.advance(20);
    bus.service();
    expect(channel.receive()!.transactionId).toBe(13n);
    channel.put(encodePacket(packet(99, 'after')));
    host.mailbox.signalEvent(0x2001, 0);
    bus.service();
    expect(channel.receive()!.transactionId).toBe(99n);
  });

  it('keeps half of a buffer, messages that wait, and channels that were taken back', () => {
    const { host, guest } = connected({ slots: 1 });
    guest.offers();
    const second = new Echo('second', 2);
    host.bus.offer(second);
    guest.offer();
    host.bus.withdraw(second);
    const [first, ...rest] = guest.gpadlMessages(
      1,
      5,
      Array.from({ length: 60 }, (_, i) => i + 100),
    );
    guest.post(first!);
    guest.post(message(MessageType.UNLOAD, 1).fill(0, 8));
    const bus = new VmBus(host.ports(), host.mailbox);
    bus.offer(new Echo('echo', 1));
    bus.restore(JSON.parse(JSON.stringify(host.bus.save())));
    expect(bus.save()).toEqual(host.bus.save());
    expect(rest.length).toBeGreaterThan(0);
  });

  it('keeps a channel that was taken back apart from the device that is back under its name', () => {
    const { host, guest } = opened();
    const second = new Echo('second', 2);
    host.bus.offer(second);
    guest.open(guest.offer(), 4);
    host.bus.withdraw(second);
    host.bus.offer(new Echo('second', 3));
    const bus = new VmBus(host.ports(), host.mailbox);
    const again = new Echo('second', 3);
    bus.offer(new Echo('echo', 1));
    bus.offer(again);
    bus.restore(JSON.parse(JSON.stringify(host.bus.save())));
    expect(bus.save()).toEqual(host.bus.save());
    expect(bus.openChannels(again)).toEqual([]);
    expect(bus.save().channels.map(({ device, state }) => `${device} ${state}`)).toEqual([
      'echo open',
      'second rescinded',
      'second offered',
    ]);
  });

  it('offers a device that it does not know', () => {
    const all = opened();
    const bus = new VmBus(all.host.ports(), all.host.mailbox);
    bus.offer(new Echo('new', 7));
    bus.offer(new Echo('echo', 1));
    bus.restore(all.host.bus.save());
    expect(all.guest.offer().relid).toBe(2);
  });

  it.each<[string, (bus: SavedBus) => unknown]>([
    ['nothing', () => null],
    ['another version', (bus) => ({ ...bus, version: 2 })],
    ['a device that is not', (bus) => ({ ...bus, channels: [{ ...bus.channels[0], device: 'x' }] })],
    ['rings in no buffer', (bus) => ({ ...bus, gpadls: [] })],
    [
      'a buffer where no memory is',
      (bus) => ({
        ...bus,
        gpadls: bus.gpadls.map((gpadl) => ({
          ...gpadl,
          ranges: gpadl.ranges.map((range) => ({ ...range, pages: range.pages.map((page) => page + 0x10_0000) })),
        })),
      }),
    ],
    ['a buffer twice', (bus) => ({ ...bus, gpadls: [bus.gpadls[0], bus.gpadls[0]] })],
    ['a channel twice', (bus) => ({ ...bus, channels: [bus.channels[0], bus.channels[0]] })],
    ['bytes that are none', (bus) => ({ ...bus, outbox: ['xx'] })],
  ])('is refused with %s', (_what, change) => {
    const { host } = opened();
    const bus = new VmBus(host.ports(), host.mailbox);
    bus.offer(new Echo('echo', 1));
    expect(() => bus.restore(change(host.bus.save()))).toThrow(RangeError);
  });
});

describe('messages that are none', () => {
  it('are counted, and leave no trace', () => {
    const { guest, host } = connected();
    guest.post(message(0));
    guest.post(message(28, 1, 2, 3));
    guest.post(message(MessageType.OPEN_CHANNEL, 1));
    expect(host.bus.counters).toMatchObject({ malformed: 3 });
    expect(host.mailbox.postMessage(4, 2, message(1))).toBe(5);
    expect(host.mailbox.postMessage(4, 1, new Uint8Array(7))).toBe(5);
    expect(host.mailbox.postMessage(2, 1, message(1))).toBeUndefined();
    expect(host.mailbox.signalEvent(0x2001, 0)).toBe(18);
    expect(host.mailbox.signalEvent(0x2000, 0)).toBeUndefined();
  });

  it('are dropped on the way to a guest without SynIC', () => {
    const { guest, host } = connected();
    host.synic = false;
    guest.post(message(MessageType.REQUEST_OFFERS));
    expect(host.bus.counters.dropped).toBe(2);
  });
});
