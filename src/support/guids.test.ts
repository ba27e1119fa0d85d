import { expect, it } from 'vitest';
import { guidBytes, guidText } from './guid.ts';
import { guidFromRandom, isZeroGuid, sameGuid, ZERO_GUID } from './guids.ts';

it('compares', () => {
  const bytes = guidBytes('2DC27766-F623-4200-9D64-115E9BFD4A08');
  expect(sameGuid(guidBytes(guidText(bytes)), bytes)).toBe(true);
  expect(sameGuid(ZERO_GUID, bytes)).toBe(false);
  expect([isZeroGuid(ZERO_GUID), isZeroGuid(bytes)]).toEqual([true, false]);
});

it('makes random ones of version 4', () => {
  expect(guidText(guidFromRandom(new Uint8Array(16).fill(0xff)))).toBe('ffffffff-ffff-4fff-bfff-ffffffffffff');
});
