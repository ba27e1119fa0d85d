import { describe, expect, it } from 'vitest';
import { type Exact, type Extended, exact, round } from './extended.ts';
import {
  arctangent,
  cosine,
  exponentialMinusOne,
  logarithm,
  logarithmPlusOne,
  sine,
  tangent,
} from './transcendental.ts';

const ONE: Exact = { negative: false, magnitude: 1n, exponent: 0 };

/** A double as an exact number; doubles of a random significand and exponent. */
function fromDouble(x: number): Exact {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, x);
  const word = bits.getBigUint64(0);
  const field = Number((word >> 52n) & 0x7ffn);
  return {
    negative: x < 0,
    magnitude: (word & ((1n << 52n) - 1n)) | (1n << 52n),
    exponent: field - 1075,
  };
}
function toDouble({ negative, magnitude, exponent }: Exact): number {
  const size = magnitude.toString(2).length;
  const shift = Math.max(0, size - 60);
  const value = Number(magnitude >> BigInt(shift)) * 2 ** (exponent + shift);
  return negative ? -value : value;
}
function nearest(x: Exact): Extended {
  return round(x, 0x37f).value;
}

function* doubles(low: number, high: number): Generator<number> {
  let seed = 12345;
  for (let i = 0; i < 200; i++) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    yield low + ((high - low) * (seed + 0.5)) / 2 ** 32;
  }
}
function close(ours: Exact, theirs: number): void {
  const value = toDouble(ours);
  expect(Math.abs(value - theirs)).toBeLessThanOrEqual(Math.abs(theirs) * 4e-16);
}

describe('transcendental functions', () => {
  it('agree with the host library in double precision', () => {
    for (const x of doubles(-3, 3)) {
      close(sine(fromDouble(x)), Math.sin(x));
      close(cosine(fromDouble(x)), Math.cos(x));
      close(tangent(fromDouble(x)), Math.tan(x));
    }
    for (const x of doubles(-1, 1)) close(exponentialMinusOne(fromDouble(x)), Math.expm1(x * Math.LN2));
    for (const x of doubles(1e-3, 0.4)) close(logarithmPlusOne(ONE, fromDouble(x)), Math.log1p(x) / Math.LN2);
    for (const x of doubles(2, 1e9)) close(logarithm(ONE, fromDouble(x)), Math.log2(x));
    for (const y of doubles(-5, 5)) {
      close(arctangent(fromDouble(y), fromDouble(0.7)), Math.atan2(y, 0.7));
      close(arctangent(fromDouble(y), fromDouble(-2)), Math.atan2(y, -2));
    }
  });

  it('give the constants of FLDPI, FLDL2T and their kin', () => {
    const ten: Exact = { negative: false, magnitude: 10n, exponent: 0 };
    expect(nearest(logarithm(ONE, ten))).toEqual({ significand: 0xd49a784bcd1b8afen, signExponent: 0x4000 });
    const quarter = arctangent(ONE, ONE);
    expect(nearest({ ...quarter, exponent: quarter.exponent + 2 })).toEqual({
      significand: 0xc90fdaa22168c235n,
      signExponent: 0x4000,
    });
  });

  it('keep full relative precision where results are small', () => {
    // sin(pi rounded to 64 bits) with the 66-bit pi of the FPU: the difference of the two.
    const pi: Exact = { negative: false, magnitude: 0xc90fdaa22168c235n, exponent: -62 };
    expect(nearest(sine(pi))).toEqual({ significand: 1n << 63n, signExponent: 0x8000 | (16383 - 64) });
    const tiny: Exact = { negative: true, magnitude: 1n, exponent: -200 };
    expect(nearest(sine(tiny))).toEqual(nearest(tiny));
    expect(nearest(tangent(tiny))).toEqual(nearest(tiny));
    expect(nearest(exponentialMinusOne(tiny))).toEqual({
      significand: 0xb17217f7d1cf79acn,
      signExponent: 0x8000 | (16383 - 201),
    });
    expect(nearest(logarithmPlusOne(ONE, tiny))).toEqual({
      significand: 0xb8aa3b295c17f0bcn,
      signExponent: 0x8000 | (16383 - 200),
    });
  });

  it('are exact where the result is', () => {
    const x = { negative: false, magnitude: 1n, exponent: -40 };
    expect(exact(nearest(logarithm(ONE, x))).magnitude * 2n ** 0n).toBe(40n << 58n);
    expect(nearest(exponentialMinusOne({ ...ONE, negative: true })).signExponent).toBe(0x8000 | 16382);
  });
});
