import { describe, expect, it } from 'vitest';
import { TestBus, TestGuest } from '../../vmbus/guest.fixture.ts';
import { PacketType } from '../../vmbus/protocol.ts';
import { viewOf } from '../../vmbus/ring.ts';
import { DynamicMemory } from './device.ts';
import { MemoryMessage } from './protocol.ts';

const PAGES = 1000;

function attached(version = 0x20000) {
  const host = new TestBus();
  const cleared: [number, number][] = [];
  const memory = new DynamicMemory({ pages: PAGES, clear: (page, count) => cleared.push([page, count]) });
  host.bus.offer(memory);
  const guest = new TestGuest(host);
  guest.contact();
  const channel = guest.open(guest.offers()[0]!, 5);
  const send = (type: number, ...words: number[]): void => {
    const payload = new Uint8Array(8 + words.length * 4);
    viewOf(payload).setUint16(0, type, true);
    words.forEach((word, i) => {
      viewOf(payload).setUint32(8 + i * 4, word, true);
    });
    channel.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload });
  };
  const next = (): number[] | undefined => {
    const packet = channel.receive();
    if (!packet) return undefined;
    const view = viewOf(packet.payload);
    const size = view.getUint16(2, true);
    return [
      view.getUint16(0, true),
      ...Array.from({ length: (size - 8) / 4 }, (_, i) => view.getUint32(8 + i * 4, true)),
    ];
  };
  /** Ranges as an answer to a balloon request. */
  const give = (more: boolean, ...ranges: [number, number][]): void =>
    send(
      MemoryMessage.BALLOON_RESPONSE,
      0,
      (ranges.length << 1) | (more ? 1 : 0),
      ...ranges.flatMap(([p, n]) => [p, n << 8]),
    );
  send(MemoryMessage.VERSION_REQUEST, version, 0);
  return { host, memory, cleared, send, next, give };
}

function ready() {
  const all = attached();
  all.next();
  all.send(MemoryMessage.CAPABILITIES_REPORT, 3, 0, 0, 0, 0, 0);
  all.next();
  return all;
}

describe('dynamic memory', () => {
  it.each([
    [0x20000, 1],
    [0x10000, 1],
    [3, 0],
  ])('answers version %i', (version, accepted) => {
    const { next, send, memory } = attached(version);
    expect(next()).toEqual([2, accepted, 0]);
    send(MemoryMessage.CAPABILITIES_REPORT, 3, 0, 0, 0, 0, 0);
    expect(next()).toEqual([4, 1, 0]);
    expect(memory.ready).toBe(true);
  });

  it('fills the balloon, in parts, and empties it', () => {
    const { memory, cleared, next, give, send } = ready();
    memory.setTarget(900);
    expect(next()).toEqual([6, 100, 0]);
    give(true, [10, 30], [50, 20]);
    expect(next()).toBeUndefined();
    give(false, [100, 50]);
    expect(memory.status.assigned).toBe(900);
    expect(cleared).toEqual([
      [10, 30],
      [50, 20],
      [100, 50],
    ]);
    memory.setTarget(940);
    // 30 pages from 10 on, and 10 from 50 on.
    expect(next()).toEqual([8, 0, 2, 10, 30 << 8, 50, 10 << 8]);
    expect(memory.status.assigned).toBe(940);
    memory.setTarget(PAGES);
    expect(next()).toBeUndefined();
    send(MemoryMessage.UNBALLOON_RESPONSE);
    expect(next()).toEqual([8, 0, 2, 60, 10 << 8, 100, 50 << 8]);
    send(MemoryMessage.UNBALLOON_RESPONSE);
    expect(memory.inspect()).toMatchObject({ state: 'idle', ballooned: 0 });
  });

  it('takes what the guest can spare, and asks again when it has more', () => {
    const { memory, next, give, send } = ready();
    memory.setTarget(500);
    next();
    give(false, [0, 100]);
    expect(next()).toEqual([6, 400, 0]);
    give(false);
    expect(next()).toBeUndefined();
    send(MemoryMessage.STATUS_REPORT, 77, 0, 33, 0, 0, 0, 0, 0, 0, 0);
    expect(memory.status).toEqual({ assigned: 900, committed: 33, available: 77 });
    expect(next()).toEqual([6, 400, 0]);
  });

  it('does not believe a guest that gives what it has not', () => {
    const { memory, give, next, cleared, host, send } = ready();
    memory.setTarget(900);
    next();
    give(false, [5, 10], [5, 10], [999, 0xffff], [0xffff_ffff, 5], [0, 0xffff]);
    // What it gives twice counts once; the rest is asked for again.
    expect(memory.status.assigned).toBe(910);
    expect(next()).toEqual([6, 10, 0]);
    give(false);
    for (const [page, count] of cleared) expect(page + count).toBeLessThanOrEqual(PAGES);
    // Nobody asked.
    give(false, [700, 10]);
    send(MemoryMessage.UNBALLOON_RESPONSE);
    send(55);
    expect(memory.inspect()).toMatchObject({ malformed: 3, ballooned: 90 });
    expect(host.defects).toEqual([]);
  });

  it('is saved and restored, and gone with the guest', () => {
    const { memory, give, next, host } = ready();
    memory.setTarget(900);
    next();
    give(false, [10, 60], [500, 40]);
    const other = new DynamicMemory({ pages: PAGES, clear: () => undefined });
    other.restore(JSON.parse(JSON.stringify(memory.save())), host.bus.openChannels(memory));
    expect(other.save()).toEqual(memory.save());
    expect(() => other.restore({ version: 1, phase: 'idle', balloon: [] }, [])).toThrow(RangeError);
    host.bus.reset();
    expect(memory.status.assigned).toBe(PAGES);
  });
});
