import { describe, expect, it } from 'vitest';
import { MessageType } from '../../vmbus/protocol.ts';
import { viewOf } from '../../vmbus/ring.ts';
import { add, finish } from '../../vswitch/checksum.ts';
import { layoutOf } from '../../vswitch/offload.ts';
import type { Frame } from '../../vswitch/port.ts';
import { Netvsp } from './device.ts';
import { MAC, packetMessage, TestVsc, words } from './guest.fixture.ts';
import { NVSP_VERSIONS, NvspMessage, RECEIVE_SECTION } from './protocol.ts';
import { Oid, PacketInfo, ReceiveChecksum, RndisMessage, TransmitChecksum } from './rndis.ts';

/** A frame to us: IPv4, TCP, so many bytes of payload; checksums and, when asked for, the length are missing. */
function tcp(payload: number, options: { readonly length?: boolean } = {}): Uint8Array {
  const bytes = new Uint8Array(54 + payload);
  bytes.set(MAC, 0);
  bytes.set([2, 0, 0, 0, 0, 9, 8, 0, 0x45], 6);
  viewOf(bytes).setUint16(16, options.length === false ? 0 : 40 + payload);
  bytes.set([64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0x30, 0x39, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18], 22);
  for (let i = 54; i < bytes.length; i++) bytes[i] = i * 7;
  return bytes;
}
function plain(bytes: Uint8Array): Frame {
  return { bytes, segmentSize: 0, checksum: 'complete' };
}
/** Both checksums of a TCP frame are right. */
function sumsHold(bytes: Uint8Array): boolean {
  const { network, transport, end } = layoutOf(bytes)!;
  const view = viewOf(bytes);
  const pseudo = view.getUint32(network + 12) + view.getUint32(network + 16) + 6 + end - transport;
  return finish(add(0, bytes, network, transport)) === 0 && finish(add(pseudo, bytes, transport, end)) === 0;
}
function started(version?: number, large?: boolean): TestVsc {
  const vsc = new TestVsc();
  vsc.start(version, large);
  return vsc;
}

describe('the synthetic network adapter', () => {
  it('agrees on every version that Linux knows, with messages of full length', () => {
    for (const version of Object.values(NVSP_VERSIONS)) {
      const vsc = new TestVsc();
      const answer = vsc.ask(NvspMessage.INIT, version, version);
      expect(answer.byteLength).toBe(40);
      expect([answer.getUint32(0, true), answer.getUint32(4, true), answer.getUint32(12, true)]).toEqual([
        2,
        version,
        1,
      ]);
    }
    const refused = new TestVsc().ask(NvspMessage.INIT, 0x70000, 0x70000);
    expect([refused.getUint32(0, true), refused.getUint32(12, true)]).toEqual([2, 2]);
  });

  it('cuts the receive buffer into sections, and has one', () => {
    const vsc = new TestVsc();
    vsc.ask(NvspMessage.INIT, 0x60001, 0x60001);
    const { id } = vsc.guest.gpadl(vsc.channel.offer.relid, 33);
    const answer = vsc.ask(NvspMessage.SEND_RECEIVE_BUFFER, id, 0xcafe);
    expect([4, 8, 12, 16, 20].map((at) => answer.getUint32(at, true))).toEqual([1, 1, 0, RECEIVE_SECTION, 8]);
    expect(vsc.ask(NvspMessage.SEND_RECEIVE_BUFFER, id, 0xcafe).getUint32(4, true)).toBe(2);
    expect(vsc.ask(NvspMessage.SEND_SEND_BUFFER, 4711, 0).getUint32(4, true)).toBe(2);
  });

  it('answers what a driver asks', () => {
    const vsc = started();
    expect(vsc.query(Oid.ETHERNET_PERMANENT_ADDRESS)).toEqual(MAC);
    expect(vsc.query(Oid.GEN_MAXIMUM_FRAME_SIZE)).toEqual(words(1500));
    expect(vsc.query(Oid.GEN_MEDIA_CONNECT_STATUS)).toEqual(words(0));
    expect(vsc.query(Oid.GEN_CURRENT_PACKET_FILTER)).toEqual(words(0xd));
    for (const size of [112, 144, 156]) {
      const given = Uint8Array.of(0xa7, 3, size, 0);
      const offloads = vsc.query(Oid.TCP_OFFLOAD_HARDWARE_CAPABILITIES, given)!;
      expect([offloads[0], offloads[2], offloads.length]).toEqual([0xa7, size, size]);
      expect(viewOf(offloads).getUint32(84, true)).toBeGreaterThan(65_000);
      if (size === 156) expect([...offloads.subarray(144, 146)]).toEqual([1, 1]);
    }
    expect(vsc.query(0x1234)).toBeUndefined();
    expect(vsc.set(0x1234, words(1))).toBe(0xc000_00bb);
    expect(vsc.set(Oid.GEN_CURRENT_PACKET_FILTER, new Uint8Array(2))).toBe(0xc001_0015);
    expect(vsc.control(RndisMessage.KEEPALIVE)[3]).toBe(0);
  });

  it('offers no frames in parts to a guest that does not know them', () => {
    const vsc = started(NVSP_VERSIONS['6']);
    expect([
      ...vsc.query(Oid.TCP_OFFLOAD_HARDWARE_CAPABILITIES, Uint8Array.of(0xa7, 3, 156, 0))!.subarray(144, 146),
    ]).toEqual([0, 0]);
  });

  it('takes another address', () => {
    const vsc = started();
    const name = Array.from('NetworkAddress', (letter) => [letter.charCodeAt(0), 0]).flat();
    const value = Array.from('02ABCDEF0102', (letter) => [letter.charCodeAt(0), 0]).flat();
    const parameter = Uint8Array.of(...words(20, name.length, 2, 20 + name.length, value.length), ...name, ...value);
    expect(vsc.set(Oid.GEN_RNDIS_CONFIG_PARAMETER, parameter)).toBe(0);
    expect(vsc.query(Oid.ETHERNET_CURRENT_ADDRESS)).toEqual(Uint8Array.of(2, 0xab, 0xcd, 0xef, 1, 2));
    expect(vsc.set(Oid.GEN_RNDIS_CONFIG_PARAMETER, parameter.subarray(0, 40))).not.toBe(0);
  });

  it('sends frames out of sections, several in one message, and out of pages', () => {
    const vsc = started();
    const frames = [tcp(10), tcp(100), tcp(1000)];
    const message = Uint8Array.of(...frames.flatMap((frame) => [...packetMessage(frame)]));
    expect(vsc.sendSection(2, message)).toBe(1);
    expect(vsc.port.sent.map(({ bytes }) => bytes)).toEqual(frames);
    const long = tcp(9000);
    const whole = packetMessage(long);
    expect(vsc.sendDirect(0, whole)).toBe(1);
    // The header in a section, the rest in pages.
    expect(vsc.sendDirect(0, whole.subarray(60), whole.subarray(0, 60))).toBe(1);
    expect(vsc.port.sent.slice(3).map(({ bytes }) => bytes)).toEqual([long, long]);
    expect(vsc.netvsp.inspect()).toMatchObject({ sentFrames: 5, malformed: 0 });
  });

  it('hands a large segment over whole, with the length that its sender left out', () => {
    const vsc = started();
    const message = packetMessage(tcp(60_000, { length: false }), [[PacketInfo.LARGE_SEND, 0x4000_0000 | 1448]]);
    expect(vsc.sendDirect(0, message)).toBe(1);
    const [frame] = vsc.port.sent;
    expect(frame).toMatchObject({ segmentSize: 1448, checksum: 'partial' });
    expect(viewOf(frame!.bytes).getUint16(16)).toBe(60_040);
    expect(finish(add(0, frame!.bytes, 14, 34))).toBe(0);
  });

  it('knows what is left to compute, and puts the tag into the frame', () => {
    const vsc = started();
    vsc.sendDirect(0, packetMessage(tcp(10), [[PacketInfo.CHECKSUM, TransmitChecksum.IPV4 | TransmitChecksum.TCP]]));
    // Priority 5, VLAN 42.
    vsc.sendDirect(0, packetMessage(tcp(10), [[PacketInfo.IEEE_8021Q, 5 | (42 << 4)]]));
    expect(vsc.port.sent.map(({ checksum }) => checksum)).toEqual(['partial', 'complete']);
    expect([...vsc.port.sent[1]!.bytes.subarray(12, 18)]).toEqual([0x81, 0, 0xa0, 42, 8, 0]);
    // And back.
    vsc.port.receive(plain(vsc.port.sent[1]!.bytes));
    const received = vsc.frame()!;
    expect(received.info.get(PacketInfo.IEEE_8021Q)).toBe(5 | (42 << 4));
    expect(received.bytes).toEqual(tcp(10));
  });

  it.each<[string, (message: Uint8Array) => void]>([
    ['data outside', (message) => viewOf(message).setUint32(12, 5000, true)],
    ['data before their header', (message) => viewOf(message).setUint32(8, 3, true)],
    ['a length beyond the end', (message) => viewOf(message).setUint32(4, 5000, true)],
    ['a length of nothing', (message) => viewOf(message).setUint32(4, 0, true)],
    ['information outside', (message) => viewOf(message).setUint32(32, 5000, true)],
    ['information of no length', (message) => viewOf(message).setUint32(44, 0, true)],
    ['information whose value is elsewhere', (message) => viewOf(message).setUint32(52, 16, true)],
    ['another type', (message) => viewOf(message).setUint32(0, 99, true)],
  ])('refuses %s', (_what, spoil) => {
    const vsc = started();
    const message = packetMessage(tcp(10), [[PacketInfo.CHECKSUM, 5]]);
    spoil(message);
    expect(vsc.sendDirect(0, message)).toBe(5);
    expect(vsc.port.sent).toEqual([]);
    expect(vsc.netvsp.inspect()).toMatchObject({ malformed: 1 });
    expect(vsc.host.defects).toEqual([]);
  });

  it('delivers a frame whole to a guest that takes large ones, and cut to one that does not', () => {
    const frame: Frame = { bytes: tcp(20_000), segmentSize: 1448, checksum: 'partial' };
    const vsc = started();
    expect(vsc.port.receive(frame)).toBe(true);
    const received = vsc.frame()!;
    expect(received.bytes).toEqual(frame.bytes);
    const info = received.info.get(PacketInfo.CHECKSUM)!;
    expect(info & ReceiveChecksum.TCP_SUCCEEDED).not.toBe(0);
    expect(info & ReceiveChecksum.IP_VALUE_INVALID).not.toBe(0);

    const small = started(undefined, false);
    expect(small.port.receive(frame)).toBe(true);
    const pieces: Uint8Array[] = [];
    for (let piece = small.frame(); piece; piece = small.frame()) {
      // It may go on from here, so its checksums are right.
      expect(piece.info.get(PacketInfo.CHECKSUM)).toBe(ReceiveChecksum.TCP_SUCCEEDED | ReceiveChecksum.IP_SUCCEEDED);
      expect(sumsHold(piece.bytes)).toBe(true);
      pieces.push(piece.bytes.slice(54));
    }
    expect(pieces.length).toBe(14);
    expect(Uint8Array.from(pieces.flatMap((piece) => [...piece]))).toEqual(frame.bytes.slice(54));
  });

  it('cuts what is larger than guests find memory for', () => {
    const vsc = started();
    vsc.port.receive({ bytes: tcp(60_000), segmentSize: 1460, checksum: 'partial' });
    const lengths: number[] = [];
    for (let frame = vsc.frame(); frame; frame = vsc.frame()) lengths.push(frame.bytes.length);
    expect(lengths).toEqual([30_714, 29_394]);
  });

  it('keeps a frame with the switch while its buffer is full, and asks for it again', () => {
    const vsc = started();
    const frame = plain(tcp(100));
    for (let n = 0; n < 8; n++) expect(vsc.port.receive(frame)).toBe(true);
    expect(vsc.port.receive(frame)).toBe(false);
    for (let n = 0; n < 8; n++) vsc.frame(true);
    expect(vsc.port.resumed).toBe(0);
    vsc.completeOwed();
    expect(vsc.port.resumed).toBe(1);
    expect(vsc.port.receive(frame)).toBe(true);
    expect(vsc.frame()!.bytes).toEqual(frame.bytes);
  });

  it('has the switch go on when the buffer is gone', () => {
    const vsc = started();
    for (let n = 0; n < 9; n++) vsc.port.receive(plain(tcp(100)));
    expect(vsc.port.resumed).toBe(0);
    vsc.tell(NvspMessage.REVOKE_RECEIVE_BUFFER, 0xcafe);
    expect(vsc.port.resumed).toBe(1);
    expect(vsc.port.receive(plain(tcp(100)))).toBe(true);
  });

  it('changes nothing of the guest\u2019s while it stands still', () => {
    const vsc = started();
    const frame = plain(tcp(100));
    vsc.host.bus.pause();
    const before = vsc.host.memory.bytes.slice();
    expect(vsc.port.receive(frame)).toBe(false);
    vsc.netvsp.setLink(false);
    expect(Buffer.compare(vsc.host.memory.bytes, before)).toBe(0);
    vsc.host.bus.resume();
    expect(viewOf(vsc.message()!).getUint32(8, true)).toBe(0x4001_000c);
    expect(vsc.port.resumed).toBe(1);
  });

  it('lets through what its filter names', () => {
    const vsc = started();
    const to = (first: number[]): boolean => {
      const bytes = tcp(10);
      bytes.set(first);
      vsc.port.receive(plain(bytes));
      return vsc.frame() !== undefined;
    };
    expect([to([]), to([2]), to([1]), to([255, 255, 255, 255, 255, 255])]).toEqual([true, false, true, true]);
    vsc.set(Oid.GEN_CURRENT_PACKET_FILTER, words(0x20));
    expect(to([2])).toBe(true);
    vsc.set(Oid.GEN_CURRENT_PACKET_FILTER, words(0));
    expect([to([]), to([1])]).toEqual([false, false]);
    vsc.sendDirect(0, packetMessage(tcp(10)));
    expect(vsc.port.sent).toEqual([]);
  });

  it('says when the cable is pulled', () => {
    const vsc = started();
    vsc.netvsp.setLink(false);
    expect(viewOf(vsc.message()!).getUint32(8, true)).toBe(0x4001_000c);
    expect(vsc.query(Oid.GEN_MEDIA_CONNECT_STATUS)).toEqual(words(1));
    vsc.port.receive(plain(tcp(10)));
    expect(vsc.frame()).toBeUndefined();
    vsc.port.link(false);
    vsc.netvsp.setLink(true);
    expect(vsc.message()).toBeUndefined();
    vsc.port.link(true);
    expect(viewOf(vsc.message()!).getUint32(8, true)).toBe(0x4001_000b);
  });

  it('spreads flows over channels', () => {
    const vsc = new TestVsc({ queues: 4 });
    vsc.start();
    const capabilities = vsc.query(Oid.GEN_RECEIVE_SCALE_CAPABILITIES)!;
    expect(viewOf(capabilities).getUint32(12, true)).toBe(4);
    const answer = vsc.ask(NvspMessage.SUBCHANNEL, 1, 7);
    expect([answer.getUint32(4, true), answer.getUint32(8, true)]).toEqual([1, 3]);
    const offers = [1, 2, 3].map(() => vsc.guest.offer());
    expect(offers.map(({ subIndex }) => subIndex)).toEqual([1, 2, 3]);
    const channels = [vsc.channel, ...offers.map((offer) => vsc.guest.open(offer))];
    const send = (port: number): void => {
      const bytes = tcp(10);
      bytes[35] = port;
      vsc.port.receive(plain(bytes));
    };
    const counts = (): number[] =>
      channels.map((channel) => {
        let n = 0;
        while (channel.receive()) n++;
        return n;
      });
    for (let n = 0; n < 4; n++) send(80);
    expect(counts().sort((a, b) => a - b)).toEqual([0, 0, 0, 4]);
    for (let port = 0; port < 4; port++) send(port);
    expect(counts().filter((n) => n > 0).length).toBeGreaterThan(1);
    vsc.channel.close();
    for (const { relid } of offers)
      expect(vsc.guest.expect(MessageType.RESCIND_CHANNEL_OFFER).getUint32(8, true)).toBe(relid);
    expect(vsc.host.defects).toEqual([]);
  });

  it('is nobody\u2019s after a close, and anybody\u2019s after another open', () => {
    const vsc = started();
    vsc.port.receive(plain(tcp(10)));
    vsc.channel.close();
    expect(vsc.port.receive(plain(tcp(10)))).toBe(true);
    expect(vsc.netvsp.inspect()).toMatchObject({ version: 'none', sections: 0 });
    vsc.channel = vsc.guest.open(vsc.channel.offer, 9);
    vsc.start();
    vsc.port.receive(plain(tcp(10)));
    expect(vsc.frame()!.bytes).toEqual(tcp(10));
  });

  it('is saved with what the guest has, and restored', () => {
    const vsc = started();
    vsc.port.receive(plain(tcp(10)));
    vsc.frame(true);
    const saved = JSON.parse(JSON.stringify(vsc.netvsp.save())) as unknown;
    const other = new Netvsp(
      { name: 'nic0', instance: vsc.netvsp.offer.instance, mac: MAC },
      { memory: vsc.host.memory, port: vsc.port },
    );
    other.restore(saved, vsc.host.bus.openChannels(vsc.netvsp));
    expect(other.inspect()).toMatchObject({ version: '6.1', freeSections: 7, packetsInGuest: 1, filter: 0xd });
    vsc.port.receive(plain(tcp(20)));
    expect(vsc.frame()!.bytes).toEqual(tcp(20));
    expect(other.takenFromAnother).toBe(false);
    const { address: _address, ...before } = saved as { address: string };
    const stranger = new Netvsp(
      { name: 'nic0', instance: vsc.netvsp.offer.instance, mac: MAC.with(5, 99) },
      { memory: vsc.host.memory, port: vsc.port },
    );
    for (const state of [saved, before]) {
      stranger.restore(state, vsc.host.bus.openChannels(vsc.netvsp));
      expect(stranger.takenFromAnother).toBe(true);
    }
    for (const spoiled of [
      { version: 2 },
      { ...(saved as object), settings: {} },
      { ...(saved as object), receive: { gpadl: 77, id: 1, outstanding: [] } },
    ])
      expect(() => other.restore(spoiled, vsc.host.bus.openChannels(vsc.netvsp))).toThrow(RangeError);
  });
});
