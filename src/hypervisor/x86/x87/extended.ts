/**
 * The double extended-precision format in BigInt: classes, NaN propagation and rounding for the rare x87 instructions that
 * run in TypeScript. Intel SDM vol. 1, 4.2.2 "Floating-Point Data Types", 4.8.3.5 "Operating on SNaNs and QNaNs", 8.2.2
 * "Unsupported Double Extended-Precision Floating-Point Encodings", 8.5 "Floating-Point Exception Conditions".
 */

/** A register's image: sign in bit 15 of `signExponent`, the biased exponent below; the integer bit is explicit. */
export interface Extended {
  readonly significand: bigint;
  readonly signExponent: number;
}

/** Exception flags and the other bits of the status word. */
export const Status = {
  IE: 0x01,
  DE: 0x02,
  ZE: 0x04,
  OE: 0x08,
  UE: 0x10,
  PE: 0x20,
  SF: 0x40,
  ES: 0x80,
  C0: 0x100,
  C1: 0x200,
  C2: 0x400,
  C3: 0x4000,
  B: 0x8000,
} as const;

export const BIAS = 16383;
export const INTEGER_BIT = 1n << 63n;
const QUIET_BIT = 1n << 62n;
const FRACTION = INTEGER_BIT - 1n;
/** Exponent adjustment of an unmasked overflow's or underflow's result. */
const ADJUST = 24576;

export const INDEFINITE: Extended = { significand: INTEGER_BIT | QUIET_BIT, signExponent: 0xffff };
export const ONE: Extended = { significand: INTEGER_BIT, signExponent: BIAS };

export type Class = 'zero' | 'denormal' | 'normal' | 'infinity' | 'qnan' | 'snan' | 'unsupported';

export function classify({ significand, signExponent }: Extended): Class {
  const exponent = signExponent & 0x7fff;
  if (exponent === 0) return significand === 0n ? 'zero' : 'denormal';
  if (!(significand & INTEGER_BIT)) return 'unsupported';
  if (exponent !== 0x7fff) return 'normal';
  if (!(significand & FRACTION)) return 'infinity';
  return significand & QUIET_BIT ? 'qnan' : 'snan';
}

export function isNegative(x: Extended): boolean {
  return (x.signExponent & 0x8000) !== 0;
}
export function zero(negative: boolean): Extended {
  return { significand: 0n, signExponent: negative ? 0x8000 : 0 };
}
export function infinity(negative: boolean): Extended {
  return { significand: INTEGER_BIT, signExponent: negative ? 0xffff : 0x7fff };
}

/** A finite number as (-1)^negative * magnitude * 2^exponent. */
export interface Exact {
  readonly negative: boolean;
  readonly magnitude: bigint;
  readonly exponent: number;
}
export function exact(x: Extended): Exact {
  const biased = x.signExponent & 0x7fff;
  return { negative: isNegative(x), magnitude: x.significand, exponent: (biased === 0 ? 1 : biased) - BIAS - 63 };
}

export function bitLength(n: bigint): number {
  return n === 0n ? 0 : n.toString(2).length;
}

/** The result of an operation: `flags` are Status bits to set, C1 among them where the result was rounded up. */
export interface Result {
  readonly value: Extended;
  readonly flags: number;
}

/**
 * The invalid and NaN cases of an instruction's operands, or undefined where all are numbers. Table 4-7 of the SDM: of two
 * NaNs the QNaN wins over the SNaN, else the one with the larger significand, else the positive one; it is made quiet.
 */
export function propagate(...operands: readonly Extended[]): Result | undefined {
  const classes = operands.map(classify);
  if (classes.includes('unsupported')) return { value: INDEFINITE, flags: Status.IE };
  const nans = operands.filter((_, i) => classes[i] === 'qnan' || classes[i] === 'snan');
  if (nans.length === 0) return undefined;
  const quiet = nans.filter((x) => classify(x) === 'qnan');
  const candidates = quiet.length > 0 ? quiet : nans;
  const winner = candidates.reduce((a, b) =>
    a.significand !== b.significand ? (a.significand > b.significand ? a : b) : isNegative(a) ? b : a,
  );
  return {
    value: { significand: winner.significand | QUIET_BIT, signExponent: winner.signExponent },
    flags: classes.includes('snan') ? Status.IE : 0,
  };
}

/** Whether a discarded part of `rest` out of `unit` rounds the magnitude up. RC: 0 nearest, 1 down, 2 up, 3 toward zero. */
function roundsUp(rc: number, negative: boolean, odd: boolean, rest: bigint, unit: bigint): boolean {
  if (rest === 0n) return false;
  if (rc === 0) return rest * 2n > unit || (rest * 2n === unit && odd);
  return rc === (negative ? 1 : 2);
}

function shiftRounded(rc: number, x: Exact, shift: number): { kept: bigint; inexact: boolean; up: boolean } {
  if (shift <= 0) return { kept: x.magnitude << BigInt(-shift), inexact: false, up: false };
  const unit = 1n << BigInt(shift);
  const rest = x.magnitude & (unit - 1n);
  const kept = x.magnitude >> BigInt(shift);
  const up = roundsUp(rc, x.negative, (kept & 1n) === 1n, rest, unit);
  return { kept: up ? kept + 1n : kept, inexact: rest !== 0n, up };
}

/** Rounds to an integer: FIST, FBSTP, FRNDINT. */
export function roundToInteger(rc: number, x: Exact): { integer: bigint; inexact: boolean; up: boolean } {
  const { kept, inexact, up } = shiftRounded(rc, x, Math.min(-x.exponent, 70));
  // Beyond 70 places nothing but "less than a half" is left of a 64-bit magnitude.
  if (-x.exponent <= 70) return { integer: x.negative ? -kept : kept, inexact, up };
  const away = roundsUp(rc, x.negative, false, x.magnitude === 0n ? 0n : 1n, 4n);
  return { integer: away ? (x.negative ? -1n : 1n) : 0n, inexact: x.magnitude !== 0n, up: away };
}

/**
 * Rounds a finite number to 64 bits of significand (precision control governs FADD, FSUB, FMUL, FDIV and FSQRT only) with
 * the masked or unmasked response to overflow and underflow that the control word asks for.
 */
export function round(x: Exact, fcw: number): Result {
  const rc = (fcw >> 10) & 3;
  const sign = x.negative ? 0x8000 : 0;
  if (x.magnitude === 0n) return { value: zero(x.negative), flags: 0 };
  const bits = bitLength(x.magnitude);
  const free = shiftRounded(rc, x, bits - 64);
  // Exponent of the leading bit, as rounded with an unbounded exponent range: tininess is detected after rounding.
  const carried = free.kept >> 64n !== 0n;
  let leading = x.exponent + bits - 1 + (carried ? 1 : 0);
  const significand = carried ? free.kept >> 1n : free.kept;
  const inexact = (free.inexact ? Status.PE : 0) | (free.up ? Status.C1 : 0);
  const pack = (flags: number): Result => ({ value: { significand, signExponent: sign | (leading + BIAS) }, flags });
  if (leading > BIAS) {
    if (!(fcw & Status.OE)) {
      leading -= ADJUST;
      if (leading > BIAS) return { value: infinity(x.negative), flags: Status.OE | Status.PE | Status.C1 };
      return pack(inexact | Status.OE);
    }
    const toInfinity = rc === 0 || rc === (x.negative ? 1 : 2);
    if (toInfinity) return { value: infinity(x.negative), flags: Status.OE | Status.PE | Status.C1 };
    return { value: { significand: (1n << 64n) - 1n, signExponent: sign | 0x7ffe }, flags: Status.OE | Status.PE };
  }
  if (leading < 1 - BIAS) {
    if (!(fcw & Status.UE)) {
      leading += ADJUST;
      if (leading < 1 - BIAS) return { value: zero(x.negative), flags: Status.UE | Status.PE };
      return pack(inexact | Status.UE);
    }
    const shift = 1 - BIAS - 63 - x.exponent;
    const tiny = roundDenormal(rc, x, shift);
    return {
      value: { significand: tiny.kept, signExponent: sign | (tiny.kept >> 63n ? 1 : 0) },
      flags: (tiny.inexact ? Status.UE | Status.PE : 0) | (tiny.up ? Status.C1 : 0),
    };
  }
  return pack(inexact);
}

function roundDenormal(rc: number, x: Exact, shift: number): { kept: bigint; inexact: boolean; up: boolean } {
  const limit = bitLength(x.magnitude) + 2;
  return shiftRounded(rc, shift > limit ? { ...x, exponent: x.exponent + shift - limit } : x, Math.min(shift, limit));
}
