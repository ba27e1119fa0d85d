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
