import { expect, it } from 'vitest';
import { guid, guidFromRandom, guidText, isZeroGuid, sameGuid, ZERO_GUID } from './guid.ts';

it('stores the first three groups little-endian', () => {
  const bytes = guid('{2DC27766-F623-4200-9D64-115E9BFD4A08}');
  expect([...bytes.subarray(0, 9)]).toEqual([0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d]);
  expect(guidText(bytes)).toBe('2dc27766-f623-4200-9d64-115e9bfd4a08');
  expect(sameGuid(guid(guidText(bytes)), bytes)).toBe(true);
  expect(() => guid('2dc27766')).toThrow(RangeError);
});

it('makes random ones of version 4', () => {
  expect(guidText(guidFromRandom(new Uint8Array(16).fill(0xff)))).toBe('ffffffff-ffff-4fff-bfff-ffffffffffff');
  expect(isZeroGuid(ZERO_GUID)).toBe(true);
});
