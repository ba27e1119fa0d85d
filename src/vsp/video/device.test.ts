import { describe, expect, it } from 'vitest';
import { TestBus, TestGuest } from '../../vmbus/guest.fixture.ts';
import { PacketType } from '../../vmbus/protocol.ts';
import { viewOf } from '../../vmbus/ring.ts';
import { SyntheticVideo } from './device.ts';
import { RESOLUTIONS, VideoMessage } from './protocol.ts';

function attached() {
  const host = new TestBus();
  const placed: bigint[] = [];
  const bytes = new Uint8Array(0x80_0000);
  const vram = {
    bytes,
    place: (gpa: bigint): boolean => {
      placed.push(gpa);
      return gpa >= 0xf800_0000n;
    },
  };
  const video = new SyntheticVideo(vram);
  host.bus.offer(video);
  const guest = new TestGuest(host);
  guest.contact();
  const channel = guest.open(guest.offers()[0]!, 9);
  /** @param body pairs of width in bytes and value. */
  const send = (type: number, ...body: (readonly [number, bigint])[]): void => {
    const size = body.reduce((n, [width]) => n + width, 0);
    const view = viewOf(new Uint8Array(16 + size));
    [1, size + 8, type, size + 8].forEach((word, i) => {
      view.setUint32(i * 4, word, true);
    });
    let at = 16;
    for (const [width, value] of body) {
      for (let i = 0; i < width; i++) view.setUint8(at + i, Number((value >> BigInt(8 * i)) & 0xffn));
      at += width;
    }
    channel.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload: new Uint8Array(view.buffer) });
  };
  /** Type and body. */
  const next = (): [number, DataView] | undefined => {
    const packet = channel.receive();
    return packet && [viewOf(packet.payload).getUint32(8, true), viewOf(packet.payload.subarray(16))];
  };
  const situation = (width: number, height: number, depth = 32, pitch = (width * depth) / 8, offset = 0): void =>
    send(
      VideoMessage.SITUATION_UPDATE,
      [8, 9n],
      [1, 1n],
      [1, 1n],
      [4, BigInt(offset)],
      [1, BigInt(depth)],
      [4, BigInt(width)],
      [4, BigInt(height)],
      [4, BigInt(pitch)],
    );
  return { host, video, bytes, placed, send, next, situation };
}

describe('synthetic video', () => {
  it.each([
    [0x50003n, 1],
    [0x20003n, 1],
    [0x10003n, 0],
  ])('answers version %i', (version, accepted) => {
    const { send, next } = attached();
    send(VideoMessage.VERSION_REQUEST, [4, version]);
    const [type, body] = next()!;
    expect([type, body.getUint32(0, true), body.getUint8(4)]).toEqual([2, Number(version), accepted]);
  });

  it('offers resolutions that fit', () => {
    const { send, next } = attached();
    send(VideoMessage.RESOLUTION_REQUEST, [1, 64n]);
    const [type, body] = next()!;
    expect([type, body.getUint8(128), body.getUint8(129)]).toEqual([14, RESOLUTIONS.length, 0]);
    expect([body.getUint16(131, true), body.getUint16(133, true)]).toEqual([1024, 768]);
    for (const [width, height] of RESOLUTIONS) expect(width * height * 4).toBeLessThanOrEqual(0x80_0000);
  });

  it('shows what the guest has drawn', () => {
    const { send, next, situation, video, bytes, placed } = attached();
    expect(video.image()).toBeUndefined();
    send(VideoMessage.VRAM_LOCATION, [8, 7n], [1, 1n], [8, 0xf800_0000n]);
    expect(next()![1].getBigUint64(0, true)).toBe(7n);
    expect(placed).toEqual([0xf800_0000n]);
    situation(2, 2, 32, 16, 4);
    // Blue, green, red, and a byte of nothing.
    bytes.set([1, 2, 3, 0, 4, 5, 6, 0], 4);
    bytes.set([7, 8, 9, 0], 20);
    expect(next()![1].getBigUint64(0, true)).toBe(9n);
    // It wants to be told of changes.
    expect([next()![1].getUint8(0)]).toEqual([1]);
    expect(video.image()).toEqual({ width: 2, height: 2, rgb: Uint8Array.from([3, 2, 1, 6, 5, 4, 9, 8, 7, 0, 0, 0]) });
    situation(1, 1, 16, 2);
    bytes.set([0x1f, 0xf8], 0);
    expect([...video.image()!.rgb]).toEqual([255, 0, 255]);
  });

  it('says what has changed since somebody looked', () => {
    const { send, situation, video, bytes } = attached();
    expect(video.changed(0)).toBeUndefined();
    send(VideoMessage.VRAM_LOCATION, [8, 7n], [1, 1n], [8, 0xf800_0000n]);
    situation(100, 70);
    const all = video.changed(0)!;
    expect(all).toMatchObject({ x: 0, y: 0, width: 100, height: 70, screenWidth: 100, screenHeight: 70 });
    // It has not said yet that it tells: anything may have changed.
    expect(video.changed(all.change)).toMatchObject({ x: 0, width: 100 });
    const dirt = (count: bigint, ...edges: number[]): void =>
      send(VideoMessage.DIRT, [1, 0n], [1, count], ...edges.map((edge): [number, bigint] => [4, BigInt(edge)]));
    dirt(1n, 40, 33, 41, 34);
    const { change } = video.changed(0)!;
    expect(video.changed(change)).toBeNull();
    bytes.set([1, 2, 3], (64 * 100 + 96) * 4);
    dirt(2n, 97, 65, 98, 66, -5, -5, 2000, -1);
    const part = video.changed(change)!;
    // Tiles, cut at the screen's edges; what lies outside of it counts for nothing.
    expect(part).toMatchObject({ x: 96, y: 64, width: 4, height: 6, image: { width: 4, height: 6 } });
    expect([...part.image.rgb.subarray(0, 3)]).toEqual([3, 2, 1]);
    // Whoever has seen less gets a rectangle around all of it.
    expect(video.changed(change - 1)).toMatchObject({ x: 32, y: 32, width: 68, height: 38 });
    situation(20, 10);
    expect(video.changed(part.change)).toMatchObject({ x: 0, y: 0, width: 20, height: 10, screenWidth: 20 });
    dirt(9n, 0, 0, 1, 1);
    expect(video.inspect()).toMatchObject({ malformed: 1, dirt: 2 });
  });

  it.each<[string, Parameters<ReturnType<typeof attached>['situation']>]>([
    ['wider than its rows', [800, 600, 32, 100]],
    ['beyond the memory', [1920, 1080, 32, 7680, 0x10_0000]],
    ['of no size', [0, 600]],
    ['of odd depth', [800, 600, 24]],
    ['enormous', [0xffff_ffff, 0xffff_ffff, 32, 0xffff_ffff]],
  ])('shows nothing of a picture that is %s', (_what, mode) => {
    const { send, situation, video, host } = attached();
    send(VideoMessage.VRAM_LOCATION, [8, 7n], [1, 1n], [8, 0xf800_0000n]);
    situation(...mode);
    expect(video.image()).toBeUndefined();
    expect(host.defects).toEqual([]);
  });

  it('answers a guest that puts the frame buffer where it cannot be', () => {
    const { send, next, situation, video } = attached();
    send(VideoMessage.VRAM_LOCATION, [8, 7n], [1, 1n], [8, 0x1000n]);
    expect(next()![0]).toBe(VideoMessage.VRAM_LOCATION_ACK);
    situation(2, 2);
    expect(video.image()).toBeUndefined();
    send(99);
    send(VideoMessage.SITUATION_UPDATE);
    expect(video.inspect()).toMatchObject({ malformed: 3 });
  });

  it('is saved and restored', () => {
    const { send, situation, video, host, bytes } = attached();
    send(VideoMessage.VRAM_LOCATION, [8, 7n], [1, 1n], [8, 0xf800_0000n]);
    situation(2, 1);
    const other = new SyntheticVideo({ bytes, place: () => true });
    other.restore(JSON.parse(JSON.stringify(video.save())), host.bus.openChannels(video));
    expect(other.image()).toEqual(video.image());
    const mode = { offset: 0, depth: 32, width: 9999, height: 9999, pitch: 39996 };
    expect(() => other.restore({ version: 1, placed: true, mode }, [])).toThrow(RangeError);
  });
});
