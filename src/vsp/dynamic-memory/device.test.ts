import { describe, expect, it } from 'vitest';
import { TestBus, TestGuest } from '../../vmbus/guest.fixture.ts';
import { PacketType } from '../../vmbus/protocol.ts';
import { viewOf } from '../../vmbus/ring.ts';
import { DynamicMemory, type MemoryPorts } from './device.ts';
import type { MemoryRange } from './pressure.ts';
import { Pressure } from './pressure.ts';
import { MemoryMessage } from './protocol.ts';

const PAGES = 1000;

/** What can be added begins above what there is, and not at once. */
const FIRST = 0x8000;
const MORE = 0x9000;

function attached(version = 0x20000, range?: MemoryRange) {
  const host = new TestBus();
  const cleared: [number, number][] = [];
  let backed = 0;
  const ports: MemoryPorts = {
    pages: PAGES,
    release: (page, count) => cleared.push([page, count]) > 0,
    more: {
      first: FIRST,
      pages: range ? MORE : 0,
      backed: () => backed,
      back: (count) => {
        backed = count;
      },
    },
    range,
  };
  const memory = new DynamicMemory(ports);
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
  return { host, memory, cleared, send, next, give, ports, unplug: () => (backed = 0) };
}

/** A guest that takes memory in units of 128 MiB, as Linux does. */
function ready(range?: MemoryRange) {
  const all = attached(undefined, range);
  all.next();
  all.send(MemoryMessage.CAPABILITIES_REPORT, 3 | (7 << 2), 0, 0, 0, 0, 0);
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
    // What it has given is among what it says to need.
    expect(memory.status).toMatchObject({ assigned: 900, demand: 0, available: 77, returned: 100 });
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

  it('takes all of what it has asked for, whatever the guest is to have by then', () => {
    const { memory, give, next } = ready();
    memory.setTarget(500);
    expect(next()).toEqual([6, 500, 0]);
    memory.setTarget(900);
    give(false, [0, 500]);
    // And has back at once what is too much.
    expect(memory.inspect()).toMatchObject({ state: 'deflating', assigned: 900 });
    expect(next()).toEqual([8, 0, 1, 0, 400 << 8]);
  });

  it('adds memory in units that the guest takes, and takes back what is too much of it', () => {
    const { memory, next, give, send } = ready({ minimum: 500, maximum: PAGES + MORE });
    memory.setTarget(PAGES + 0x7000);
    // First page and count: 40 and 24 bits.
    expect(next()).toEqual([10, FIRST, 0x8000 << 8]);
    expect(memory.status.assigned).toBe(PAGES);
    send(MemoryMessage.HOT_ADD_RESPONSE, 0x8000, 1);
    expect(memory.status.assigned).toBe(PAGES + 0x8000);
    expect(next()).toEqual([6, 0x1000, 0]);
    give(false, [FIRST + 0x7000, 0x1000]);
    expect(memory.status).toMatchObject({ assigned: PAGES + 0x7000, returned: 0x1000 });
    // To the end: out of the balloon first, then the rest, which is no whole unit.
    memory.setTarget(Number.MAX_SAFE_INTEGER);
    expect(memory.status.target).toBe(PAGES + MORE);
    expect(next()).toEqual([8, 0, 1, FIRST + 0x7000, 0x1000 << 8]);
    send(MemoryMessage.UNBALLOON_RESPONSE);
    expect(next()).toEqual([10, FIRST + 0x8000, 0x1000 << 8]);
    send(MemoryMessage.HOT_ADD_RESPONSE, 0x1000, 1);
    expect(memory.status.assigned).toBe(PAGES + MORE);
    expect(next()).toBeUndefined();
    memory.setTarget(0);
    expect(memory.status.target).toBe(500);
  });

  it('adds nothing to a guest that takes none', () => {
    const { memory, next, send, unplug, host } = ready({ minimum: 500, maximum: PAGES + MORE });
    memory.setTarget(PAGES + MORE);
    next();
    send(MemoryMessage.HOT_ADD_RESPONSE, 0, 0);
    send(MemoryMessage.HOT_ADD_RESPONSE, 0x8000, 1);
    expect(next()).toBeUndefined();
    expect(memory.inspect()).toMatchObject({ state: 'idle', added: 0, malformed: 1 });
    host.bus.reset();
    unplug();
    expect(memory.status.assigned).toBe(PAGES);
  });

  it('follows what the guest needs', () => {
    const { memory, next, send, give } = ready({ minimum: 500, maximum: PAGES + MORE });
    const report = (committed: number): void =>
      send(MemoryMessage.STATUS_REPORT, 10, 0, committed, 0, 0, 0, 0, 0, 0, 0);
    // More at once, with a fifth in reserve, in 2 MiB.
    report(2000);
    expect(next()).toEqual([10, FIRST, 0x8000 << 8]);
    send(MemoryMessage.HOT_ADD_RESPONSE, 0x8000, 1);
    expect(memory.status.target).toBe(2560);
    next();
    give(false, [FIRST, 0x8000 + PAGES - 2560]);
    expect(memory.status.assigned).toBe(2560);
    // Less after a while.
    const given = 0x8000 + PAGES - 2560;
    report(given + 100);
    report(given + 100);
    expect(memory.status.target).toBe(2560);
    report(given + 100);
    expect(memory.status.target).toBe(512);
    memory.setTarget(1500);
    report(given);
    report(given + 9000);
    expect(memory.status.target).toBe(1500);
    memory.setTarget(undefined);
    report(given + 9000);
    expect(memory.status.target).toBe(11264);
  });

  it('lets small changes be', () => {
    const pressure = new Pressure({ minimum: 0, maximum: 100_000 });
    for (let i = 0; i < 10; i++) expect(pressure.next(20_000, 24_576)).toBe(24_576);
    expect(pressure.next(20_900, 24_576)).toBe(25_088);
    expect(pressure.next(1e15, 24_576)).toBe(100_000);
  });

  it('is saved and restored, and gone with the guest', () => {
    const { memory, give, next, host, ports } = ready();
    memory.setTarget(900);
    next();
    give(false, [10, 60], [500, 40]);
    const other = new DynamicMemory(ports);
    other.restore(JSON.parse(JSON.stringify(memory.save())), host.bus.openChannels(memory));
    expect(other.save()).toEqual(memory.save());
    expect(() => other.restore({ version: 1, phase: 'idle', balloon: [] }, [])).toThrow(RangeError);
    host.bus.reset();
    expect(memory.status.assigned).toBe(PAGES);
  });
});
