import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CodecError } from './codec.ts';
import { decodeLz4Legacy } from './lz4.ts';
import { encodeLz4Legacy } from './lz4-encoder.fixture.ts';

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

describe('LZ4 legacy frame', () => {
  it('gives back what was packed', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 20 }), fc.integer({ min: 1, max: 60 })).map(([unit, times]) => {
        return Uint8Array.from(Array.from({ length: times }, () => [...unit]).flat());
      }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), fc.integer({ min: 16, max: 900 }), (pieces, blockSize) => {
        const content = Uint8Array.from(pieces.flatMap((bytes) => [...bytes]));
        expect(decodeLz4Legacy(encodeLz4Legacy(content, blockSize), content.length)).toEqual(content);
      }),
      { numRuns: 300 },
    );
  });

  it('uses matches, also overlapping ones', () => {
    const content = text('x'.repeat(5000));
    const packed = encodeLz4Legacy(content);
    expect(packed.length).toBeLessThan(60);
    expect(decodeLz4Legacy(packed, content.length)).toEqual(content);
  });

  it('takes concatenated frames', () => {
    const both = Uint8Array.from([...encodeLz4Legacy(text('one ')), ...encodeLz4Legacy(text('two'))]);
    expect(decodeLz4Legacy(both, 7)).toEqual(text('one two'));
  });

  it('refuses a wild size before allocating it', () => {
    expect(() => decodeLz4Legacy(encodeLz4Legacy(text('abc')), 2 ** 31)).toThrow(/cannot hold/);
  });

  it('refuses a match before its block', () => {
    // Token: one literal, then a match of length 4 at offset 2.
    const frame = Uint8Array.from([0x02, 0x21, 0x4c, 0x18, 4, 0, 0, 0, 0x10, 0x41, 2, 0]);
    expect(() => decodeLz4Legacy(frame, 5)).toThrow(/before its block/);
  });

  it('answers damage with CodecError only', () => {
    const content = text('the quick brown fox jumps over the quick brown dog. '.repeat(8));
    const packed = encodeLz4Legacy(content, 100);
    for (let length = 0; length < packed.length; length++)
      expect(() => decodeLz4Legacy(packed.subarray(0, length), content.length)).toThrow(CodecError);
    fc.assert(
      fc.property(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = packed.slice();
        damaged[at] = (damaged[at] as number) ^ flip;
        try {
          expect(decodeLz4Legacy(damaged, content.length).length).toBe(content.length);
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
