import { describe, expect, it } from 'vitest';
import { TestBus, TestGuest } from '../../vmbus/guest.fixture.ts';
import { PacketType } from '../../vmbus/protocol.ts';
import { viewOf } from '../../vmbus/ring.ts';
import { Mouse } from './device.ts';

function attached(version = 0x20000) {
  const host = new TestBus();
  const mouse = new Mouse();
  host.bus.offer(mouse);
  const guest = new TestGuest(host);
  guest.contact();
  const channel = guest.open(guest.offers()[0]!, 9);
  const send = (...words: number[]): void => {
    const payload = new Uint8Array(Uint32Array.from(words).buffer);
    channel.send({ type: PacketType.DATA_IN_BAND, transactionId: 5n, payload });
  };
  /** A message without its pipe header. */
  const next = (): DataView | undefined => {
    const packet = channel.receive();
    return packet && viewOf(packet.payload.subarray(8));
  };
  send(1, 12, 0, 4, version);
  return { host, mouse, send, next };
}

describe('the synthetic mouse', () => {
  it('agrees on its version and describes itself unasked', () => {
    const { mouse, send, next } = attached();
    const response = next()!;
    expect([response.getUint32(0, true), response.getUint32(8, true), response.getUint8(12)]).toEqual([1, 0x20000, 1]);
    const info = next()!;
    expect([info.getUint32(0, true), info.getUint32(8, true), info.getUint16(12, true)]).toEqual([2, 32, 0x045e]);
    // HID descriptor: its length, and that of the report descriptor that follows.
    expect([info.getUint8(40), info.getUint8(41), info.getUint16(47, true)]).toEqual([9, 0x21, 63]);
    expect(info.getUint8(49)).toBe(5);
    expect(mouse.move({ x: 0, y: 0 })).toBe(false);
    send(1, 12, 3, 4, 0);
    expect(mouse.ready).toBe(true);
  });

  it('refuses another version', () => {
    const { next } = attached(0x10000);
    expect(next()!.getUint8(12)).toBe(0);
    expect(next()).toBeUndefined();
  });

  it('reports where it is', () => {
    const { mouse, send, next } = attached();
    next();
    next();
    send(1, 12, 3, 4, 0);
    mouse.move({ x: 0.5, y: 2, buttons: 0x25, wheel: -1 });
    const report = next()!;
    expect([report.getUint32(0, true), report.getUint32(4, true)]).toEqual([4, 6]);
    expect([report.getUint8(8), report.getUint16(9, true), report.getUint16(11, true), report.getInt8(13)]).toEqual([
      5, 16384, 32767, -1,
    ]);
  });

  it('keeps the newest report for a guest that is slow', () => {
    const { mouse, send, next, host } = attached();
    next();
    next();
    send(1, 12, 3, 4, 0);
    for (let n = 0; n <= 2000; n++) mouse.move({ x: n / 2000, y: 0 });
    let last = 0;
    for (let report = next(); report; report = next()) last = report.getUint16(9, true);
    expect(last).toBe(32767);
    send(1, 8, 9, 0);
    send(2, 8);
    expect(mouse.inspect()).toMatchObject({ malformed: 2 });
    expect(host.defects).toEqual([]);
  });
});
