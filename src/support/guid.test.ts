import { describe, expect, it } from 'vitest';
import { guidBytes, guidText } from './guid.ts';

describe('GUIDs', () => {
  it('have their first three groups little-endian in memory', () => {
    const bytes = guidBytes('00112233-4455-6677-8899-aabbccddeeff');
    expect(Buffer.from(bytes).toString('hex')).toBe('33221100554477668899aabbccddeeff');
    expect(guidText(bytes)).toBe('00112233-4455-6677-8899-aabbccddeeff');
  });
  it.each(['', '00112233-4455-6677-8899-aabbccddeef', '{00112233-4455-6677-8899-aabbccddeeff}'])('%o is none', (text) =>
    expect(() => guidBytes(text)).toThrow('not a GUID'),
  );
});
