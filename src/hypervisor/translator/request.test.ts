import { describe, expect, it } from 'vitest';
import { packRequest, type TranslationItem, unpackRequest, usedModules } from './request.ts';

const item: TranslationItem = {
  record: 0xf000_0020,
  mode: 49,
  gpa: 0xffff_f000,
  host: 0x8234_5000,
  entry: 0xabc,
  grouped: true,
  early: false,
  nextGpa: 0x1000,
  nextHost: 0xe000_0000,
  blocks: Int32Array.of(0, -16, 3, -1, 0x20, 64, 2, 400),
};

describe('a request for translation', () => {
  it('is one array of words from which the items come back, addresses unsigned', () => {
    const items = [
      item,
      { ...item, record: 32, nextGpa: 0, nextHost: 0, blocks: new Int32Array() },
      { ...item, entry: 0, grouped: false },
      { ...item, early: true },
    ];
    const words = packRequest(0x80_0000, items);
    expect(words[0]).toBe(0x80_0000);
    expect(unpackRequest(structuredClone(words))).toEqual(items);
  });

  it('may be empty', () => {
    expect(unpackRequest(packRequest(64, []))).toEqual([]);
    const words = packRequest(64, [], [3, 9]);
    expect([[...usedModules(words)], unpackRequest(words)]).toEqual([[3, 9], []]);
  });
});
