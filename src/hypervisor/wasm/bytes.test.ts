import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from './bytes.ts';

function written(write: (w: ByteWriter) => void): number[] {
  const w = new ByteWriter();
  write(w);
  return [...w.finish()];
}

/** Reads LEB128 as the specification defines it, "Binary Format: Integers". */
function readLeb(bytes: readonly number[], signed: boolean): bigint {
  let value = 0n;
  bytes.forEach((b, i) => {
    value |= BigInt(b & 0x7f) << BigInt(7 * i);
  });
  const last = bytes.at(-1) as number;
  return signed && last & 0x40 ? value - (1n << BigInt(7 * bytes.length)) : value;
}

/** The fewest bytes that hold a value. */
function lebLength(value: bigint, signed: boolean): number {
  for (let n = 1; ; n++) {
    const bits = BigInt(7 * n);
    if (signed ? value >= -(1n << (bits - 1n)) && value < 1n << (bits - 1n) : value < 1n << bits) return n;
  }
}

describe('ByteWriter', () => {
  it.each([
    [0, [0]],
    [127, [0x7f]],
    [128, [0x80, 1]],
    [624485, [0xe5, 0x8e, 0x26]],
    [0x7fff_ffff, [0xff, 0xff, 0xff, 0xff, 0x07]],
    [0xffff_ffff, [0xff, 0xff, 0xff, 0xff, 0x0f]],
  ])('writes %i unsigned', (value, bytes) => {
    expect(written((w) => w.unsigned(value))).toEqual(bytes);
  });

  it.each([
    [0, [0]],
    [63, [0x3f]],
    [64, [0xc0, 0]],
    [-1, [0x7f]],
    [-64, [0x40]],
    [-65, [0xbf, 0x7f]],
    [-123456, [0xc0, 0xbb, 0x78]],
    [0x7fff_ffff, [0xff, 0xff, 0xff, 0xff, 0x07]],
    [-0x8000_0000, [0x80, 0x80, 0x80, 0x80, 0x78]],
  ])('writes %i signed, the same in 32 and 64 bits', (value, bytes) => {
    expect(written((w) => w.signed32(value))).toEqual(bytes);
    expect(written((w) => w.signed64(BigInt(value)))).toEqual(bytes);
  });

  it.each([
    [0x8000_0000n, [0x80, 0x80, 0x80, 0x80, 0x08]],
    [-0x8000_0001n, [0xff, 0xff, 0xff, 0xff, 0x77]],
    [0x7fff_ffff_ffff_ffffn, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]],
    [-0x8000_0000_0000_0000n, [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f]],
    [0xffff_ffff_ffff_ffffn, [0x7f]],
  ])('writes %i signed in 64 bits', (value, bytes) => {
    expect(written((w) => w.signed64(value))).toEqual(bytes);
  });

  it('writes every integer in its shortest form', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.nat(63), (wide, shift) => {
        const value = wide >> BigInt(shift);
        const bytes = written((w) => w.signed64(value));
        expect(readLeb(bytes, true)).toBe(value);
        expect(bytes.length).toBe(lebLength(value, true));
        const narrow = BigInt.asIntN(32, value);
        expect(
          readLeb(
            written((w) => w.signed32(Number(narrow))),
            true,
          ),
        ).toBe(narrow);
        const unsigned = BigInt.asUintN(32, value);
        const u = written((w) => w.unsigned(Number(unsigned)));
        expect(readLeb(u, false)).toBe(unsigned);
        expect(u.length).toBe(lebLength(unsigned, false));
      }),
      { numRuns: 2000 },
    );
  });

  it('grows, also by more than twice its size at once', () => {
    const w = new ByteWriter();
    const expected: number[] = [];
    for (const count of [255, 1, 1, 5000, 3]) {
      const chunk = Array.from({ length: count }, (_, i) => (i * 7 + count) & 0xff);
      w.raw(chunk);
      expected.push(...chunk);
    }
    expect([...w.view()]).toEqual(expected);
    expect(w.length).toBe(expected.length);
  });

  it('measures names in bytes of UTF-8', () => {
    expect(written((w) => w.name('é'))).toEqual([2, 0xc3, 0xa9]);
  });
});
