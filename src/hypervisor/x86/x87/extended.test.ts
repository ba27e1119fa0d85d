import { describe, expect, it } from 'vitest';
import { classify, propagate, round, roundToInteger, Status } from './extended.ts';

const MASKED = 0x37f;
const TOP = 1n << 63n;

describe('classes', () => {
  it.each([
    ['zero', 0n, 0x8000],
    ['denormal', 1n, 0],
    ['denormal', TOP, 0],
    ['normal', TOP, 1],
    ['unsupported', TOP - 1n, 1],
    ['infinity', TOP, 0xffff],
    ['snan', TOP | 1n, 0x7fff],
    ['qnan', 3n << 62n, 0x7fff],
    ['unsupported', 0n, 0x7fff],
  ])('%s', (name, significand, signExponent) => {
    expect(classify({ significand, signExponent })).toBe(name);
  });

  it('prefer a quiet NaN, then the larger significand, then the positive one', () => {
    const quiet = { significand: (3n << 62n) | 1n, signExponent: 0x7fff };
    const signaling = { significand: TOP | 7n, signExponent: 0x7fff };
    expect(propagate(signaling, quiet)).toEqual({ value: quiet, flags: Status.IE });
    const larger = { ...quiet, significand: quiet.significand + 1n };
    expect(propagate(quiet, larger)).toEqual({ value: larger, flags: 0 });
    expect(propagate({ ...quiet, signExponent: 0xffff }, quiet)).toEqual({ value: quiet, flags: 0 });
  });
});

describe('rounding', () => {
  it('follows RC and reports C1 where it goes away from zero', () => {
    const x = { negative: true, magnitude: (TOP << 2n) | 3n, exponent: 0 };
    const results = [0, 1, 2, 3].map((rc) => round(x, MASKED | (rc << 10)));
    expect(results.map((r) => r.value.significand - TOP)).toEqual([1n, 1n, 0n, 0n]);
    expect(results.map((r) => r.flags)).toEqual([Status.PE | Status.C1, Status.PE | Status.C1, Status.PE, Status.PE]);
  });

  it('goes to even in the middle', () => {
    expect(round({ negative: false, magnitude: (TOP << 1n) | 1n, exponent: 0 }, MASKED).value.significand).toBe(TOP);
    expect(round({ negative: false, magnitude: (TOP << 1n) | 3n, exponent: 0 }, MASKED).value.significand).toBe(
      TOP + 2n,
    );
  });

  it('overflows to infinity or the largest number, or with a biased exponent', () => {
    const x = { negative: false, magnitude: 1n, exponent: 16384 };
    expect(round(x, MASKED).value).toEqual({ significand: TOP, signExponent: 0x7fff });
    expect(round(x, MASKED | 0xc00).value).toEqual({ significand: (1n << 64n) - 1n, signExponent: 0x7ffe });
    const unmasked = round(x, MASKED & ~Status.OE);
    expect(unmasked).toEqual({ value: { significand: TOP, signExponent: 32767 - 24576 }, flags: Status.OE });
  });

  it('underflows with a masked flag only where inexact', () => {
    const exactly = { negative: false, magnitude: 1n, exponent: -16445 };
    expect(round(exactly, MASKED)).toEqual({ value: { significand: 1n, signExponent: 0 }, flags: 0 });
    expect(round(exactly, MASKED & ~Status.UE).flags).toBe(Status.UE);
    const half = { negative: false, magnitude: 3n, exponent: -16446 };
    expect(round(half, MASKED)).toEqual({
      value: { significand: 2n, signExponent: 0 },
      flags: Status.UE | Status.PE | Status.C1,
    });
    expect(round({ ...half, exponent: -40000 }, MASKED | 0x800).value.significand).toBe(1n);
  });

  it('makes integers', () => {
    const x = { negative: true, magnitude: 5n, exponent: -1 };
    expect([0, 1, 2, 3].map((rc) => roundToInteger(rc, x).integer)).toEqual([-2n, -3n, -2n, -2n]);
    expect([0, 1, 2, 3].map((rc) => roundToInteger(rc, { ...x, exponent: -900 }).integer)).toEqual([0n, -1n, 0n, 0n]);
  });
});
