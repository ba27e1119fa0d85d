import { describe, expect, it } from 'vitest';
import { GuestMemory } from './guest-memory.ts';
import { PAGE, PAGE_MAP, PageFlag } from './layout.ts';

const HOST = 0x100_0000;

function memory() {
  const buffer = new SharedArrayBuffer(HOST + 16 * PAGE);
  const written: [number, number][] = [];
  const guest = new GuestMemory(buffer, 8 * PAGE, (gpa, size) => written.push([gpa, size]));
  guest.map(0, 8 * PAGE, HOST, true);
  // Elsewhere, and not beside it in the shared memory.
  guest.map(0x20_0000, 4 * PAGE, HOST + 12 * PAGE, true);
  guest.bytes.fill(9, HOST);
  const flags = (page: number): number => new Int32Array(buffer)[(PAGE_MAP >> 2) + page]! & (PAGE - 1);
  const code = (page: number): void => {
    new Int32Array(buffer)[(PAGE_MAP >> 2) + page]! |= PageFlag.CODE;
  };
  return { guest, written, flags, code };
}

describe('a view', () => {
  it('is of the bytes that the guest has there now, page by page', () => {
    const { guest } = memory();
    guest.write(PAGE, Uint8Array.of(1));
    guest.write(0x20_0000, Uint8Array.of(2));
    expect(guest.view(PAGE, PAGE)?.[0]).toBe(1);
    expect(guest.view(PAGE, PAGE)?.length).toBe(PAGE);
    expect(guest.view(PAGE + 8, 16)?.byteOffset).toBe(HOST + PAGE + 8);
    guest.map(PAGE, PAGE, HOST + 12 * PAGE, true);
    expect(guest.view(PAGE, PAGE)?.[0]).toBe(2);
    guest.unmap(PAGE, PAGE);
    expect(guest.view(PAGE, PAGE)).toBeUndefined();
    expect(guest.view(0, 2 * PAGE)).toBeUndefined();
    expect(guest.view(2 * PAGE, 2 * PAGE)?.length).toBe(2 * PAGE);
    expect(guest.view(7 * PAGE, 2 * PAGE)).toBeUndefined();
  });
});

describe('memory that a guest has given back', () => {
  it('goes to the host in one piece, and code on it is dropped before', () => {
    const { guest, written, flags, code } = memory();
    code(3);
    const discarded: [number, number][] = [];
    const given = guest.release(2 * PAGE, 4 * PAGE, (host, size) => {
      expect(written).toEqual([[3 * PAGE, PAGE]]);
      discarded.push([host, size]);
      return true;
    });
    expect(given).toBe(true);
    expect(discarded).toEqual([[HOST + 2 * PAGE, 4 * PAGE]]);
    expect([1, 2, 5, 6].map((page) => flags(page) & PageFlag.DIRTY)).toEqual([0, PageFlag.DIRTY, PageFlag.DIRTY, 0]);
  });

  it('is zeroed where the host cannot take it', () => {
    const { guest } = memory();
    expect(guest.release(PAGE, 2 * PAGE, () => false)).toBe(false);
    expect([...guest.read(PAGE - 1, 2 * PAGE + 2)].filter((byte) => byte !== 0)).toEqual([9, 9]);
  });

  it('is whole pages of RAM', () => {
    const { guest } = memory();
    for (const [gpa, length] of [
      [1, PAGE],
      [0, 10],
      [7 * PAGE, 2 * PAGE],
      [-PAGE, PAGE],
      [2 ** 32, PAGE],
    ] as const)
      expect(() => guest.release(gpa, length, () => true)).toThrow(RangeError);
    expect(guest.read(7 * PAGE, 1)).toEqual(Uint8Array.of(9));
  });
});

describe('the log of stores', () => {
  function stored(guest: GuestMemory): number[] {
    const pages: number[] = [];
    guest.takeStored((host) => pages.push((host - HOST) / PAGE));
    return pages.sort((a, b) => a - b);
  }

  it.each<[string, (guest: GuestMemory) => void, number[]]>([
    ['write', (guest) => guest.write(PAGE + 8, new Uint8Array(8)), [1]],
    ['write over pages', (guest) => guest.write(2 * PAGE - 4, new Uint8Array(PAGE)), [1, 2]],
    ['fill', (guest) => guest.fill(3 * PAGE - 1, 2, 7), [2, 3]],
    ['store32', (guest) => guest.store32(4 * PAGE, 1), [4]],
    ['setBit', (guest) => guest.setBit(5 * PAGE + 4, 3), [5]],
    ['compareExchange32', (guest) => guest.compareExchange32(6 * PAGE, 0, 1), [6]],
    ['a view', (guest) => guest.written(7 * PAGE - 10, 20), [6, 7]],
    ['release', (guest) => guest.release(PAGE, 2 * PAGE, () => true), [1, 2]],
    ['elsewhere', (guest) => guest.write(0x20_0000 + PAGE, new Uint8Array(1)), [13]],
  ])('has what was written by %s, once', (_what, write, pages) => {
    const { guest } = memory();
    expect(stored(guest)).toEqual([]);
    write(guest);
    expect(stored(guest)).toEqual(pages);
    expect(stored(guest)).toEqual([]);
    write(guest);
    expect(stored(guest)).toEqual(pages);
  });

  it('has nothing of what is read', () => {
    const { guest } = memory();
    guest.read(0, 3 * PAGE);
    guest.load32(8);
    guest.view(PAGE, PAGE);
    expect(stored(guest)).toEqual([]);
  });

  it('does not forget pages that were taken away, or put elsewhere', () => {
    const { guest } = memory();
    guest.write(0x20_0000, new Uint8Array(1));
    guest.unmap(0x20_0000, 4 * PAGE);
    expect(stored(guest)).toEqual([12]);
    guest.map(0x20_0000, 4 * PAGE, HOST + 12 * PAGE, true);
    guest.write(0x20_0000 + 2 * PAGE, new Uint8Array(1));
    guest.map(0x20_0000, 4 * PAGE, HOST + 8 * PAGE, true);
    expect(stored(guest)).toEqual([14]);
  });
});
