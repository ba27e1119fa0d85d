import { describe, expect, it } from 'vitest';
import { TestBus, TestGuest } from '../../vmbus/guest.fixture.ts';
import { PacketType } from '../../vmbus/protocol.ts';
import { Keyboard } from './device.ts';
import { SCAN_CODES, STROKES } from './scan-codes.ts';

function attached(version = 0x10000) {
  const host = new TestBus();
  const keyboard = new Keyboard();
  host.bus.offer(keyboard);
  const guest = new TestGuest(host);
  guest.contact();
  const channel = guest.open(guest.offers()[0]!, 9);
  const send = (...words: number[]): void => {
    const payload = new Uint8Array(Uint32Array.from(words).buffer);
    channel.send({ type: PacketType.DATA_IN_BAND, transactionId: 5n, payload, flags: 1 });
  };
  const next = (): number[] | undefined => {
    const packet = channel.receive();
    return packet && [...new Uint32Array(packet.payload.slice().buffer)];
  };
  send(1, version);
  const completion = channel.receive();
  const response = next();
  return { host, keyboard, channel, send, next, completion, response };
}

describe('the synthetic keyboard', () => {
  it('agrees on its version, and completes what asks for it', () => {
    const { keyboard, completion, response } = attached();
    expect(completion).toMatchObject({ type: PacketType.COMPLETION, transactionId: 5n });
    expect(response).toEqual([2, 1]);
    expect(keyboard.ready).toBe(true);
  });

  it('refuses another version', () => {
    const { keyboard, response } = attached(0x20000);
    expect(response).toEqual([2, 0]);
    expect(keyboard.key('KeyA', true)).toBe(false);
    expect(keyboard.type('ab')).toBe('ab');
  });

  it('hands over keys by their names', () => {
    const { keyboard, next } = attached();
    for (const [code, down] of [
      ['KeyA', true],
      ['KeyA', false],
      ['ArrowUp', true],
      ['ArrowUp', false],
    ] as const)
      expect(keyboard.key(code, down)).toBe(true);
    // Type, code, information; a packet's payload is a multiple of 8 bytes.
    expect([next(), next(), next(), next()].map((event) => event!.slice(0, 3))).toEqual([
      [3, 0x1e, 0],
      [3, 0x1e, 2],
      [3, 0x48, 4],
      [3, 0x48, 6],
    ]);
    expect(keyboard.key('KeyNone', true)).toBe(false);
  });

  it('types a text, with Shift where it needs it, and says what it cannot type', () => {
    const { keyboard, next } = attached();
    expect(keyboard.type('aB\u00e4')).toBe('\u00e4');
    const codes: number[][] = [];
    for (let event = next(); event; event = next()) codes.push(event.slice(1, 3));
    expect(codes).toEqual([
      [0x1e, 0],
      [0x1e, 2],
      [0x2a, 0],
      [0x30, 0],
      [0x30, 2],
      [0x2a, 2],
    ]);
  });

  it('has a key for every printable character of ASCII', () => {
    for (let code = 32; code < 127; code++)
      expect(SCAN_CODES.has(STROKES.get(String.fromCharCode(code))?.code ?? ''), String.fromCharCode(code)).toBe(true);
  });

  it('keeps strokes in order for a guest that is slow, and drops them for one that is deaf', () => {
    const { keyboard, next, host } = attached();
    const text = 'x'.repeat(3000);
    expect(keyboard.type(text)).not.toBe('');
    let events = 0;
    while (next()) events++;
    expect(events).toBeGreaterThan(4096);
    expect(host.defects).toEqual([]);
  });

  it('sees the lights', () => {
    const { keyboard, send } = attached();
    send(4, 5);
    send(99, 1);
    expect(keyboard.inspect()).toMatchObject({ lights: 5, malformed: 1 });
  });

  it('is saved and restored', () => {
    const { keyboard, host, next } = attached();
    const other = new Keyboard();
    other.restore(JSON.parse(JSON.stringify(keyboard.save())), host.bus.openChannels(keyboard));
    other.key('KeyA', true);
    expect(next()![1]).toBe(0x1e);
    expect(() => other.restore({ version: 2 }, [])).toThrow(RangeError);
  });
});
