/**
 * The transcendental functions of the x87 in BigInt fixed point with 256 fraction bits, from which one rounding makes the
 * result. Intel SDM vol. 1, 8.3.10 "Transcendental Instruction Accuracy" (within 1 ulp) and 8.3.8 "Approximation of Pi":
 * sine, cosine and tangent reduce their argument by a pi of 66 bits.
 *
 * Arguments and results are finite and not zero. A result that is not exact has its lowest bit set, far below the rounding
 * position, so that it rounds as an inexact one.
 */
import { bitLength, type Exact } from './extended.ts';

const F = 256n;
const UNIT = 1n << F;
/** "C90FDAA2 2168C234 C" without its two low bits: pi/2 is this times 2^-65. */
const PI66 = 0xc90fdaa22168c234cn >> 2n;
const HALF_PI66_EXPONENT = -65;

interface Constants {
  readonly ln2: bigint;
  readonly pi: bigint;
}
let known: Constants | undefined;
function constants(): Constants {
  // Machin: pi = 16 atan(1/5) - 4 atan(1/239); ln 2 = 2 atanh(1/3).
  known ??= {
    ln2: 2n * atanhSeries(UNIT / 3n),
    pi: 16n * atanSeries(UNIT / 5n) - 4n * atanSeries(UNIT / 239n),
  };
  return known;
}

/** t + s t^3/3 + t^5/5 + ..., s = -1 or 1, for |t| < 1/4 or so. */
function oddSeries(t: bigint, alternate: boolean): bigint {
  const square = (t * t) >> F;
  let power = t;
  let sum = t;
  for (let n = 3n; power !== 0n && power !== -1n; n += 2n) {
    power = (power * square) >> F;
    if (alternate) power = -power;
    sum += power / n;
  }
  return sum;
}
function atanSeries(t: bigint): bigint {
  return oddSeries(t, true);
}
function atanhSeries(t: bigint): bigint {
  return oddSeries(t, false);
}

function squareRoot(n: bigint): bigint {
  let x = 1n << BigInt((bitLength(n) + 1) >> 1);
  for (;;) {
    const next = (x + n / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}

/** x as fixed point, cut toward minus infinity. */
function fixed(x: Exact): bigint {
  const shift = BigInt(x.exponent) + F;
  const magnitude = shift >= 0n ? x.magnitude << shift : x.magnitude >> -shift;
  return x.negative ? -magnitude : magnitude;
}
function fromFixed(value: bigint): Exact {
  const magnitude = value < 0n ? -value : value;
  return { negative: value < 0n, magnitude: magnitude | 1n, exponent: -Number(F) };
}
function leading(x: Exact): number {
  return x.exponent + bitLength(x.magnitude) - 1;
}
/** A little less (or more) than x in magnitude: the result of f(x) = x -+ ... where the rest cannot be represented. */
function nudge(x: Exact, by: 1n | -1n): Exact {
  return { negative: x.negative, magnitude: (x.magnitude << 80n) + by, exponent: x.exponent - 80 };
}
function multiply(a: Exact, b: Exact, inexact: boolean): Exact {
  const magnitude = a.magnitude * b.magnitude;
  return {
    negative: a.negative !== b.negative,
    magnitude: inexact ? (magnitude << 1n) | 1n : magnitude,
    exponent: a.exponent + b.exponent - (inexact ? 1 : 0),
  };
}

/** x as n quarter turns and a fixed-point rest of at most an eighth of a turn. */
function quarterTurns(x: Exact): { quadrant: number; rest: bigint } {
  const e = Math.min(x.exponent, HALF_PI66_EXPONENT);
  const value = x.magnitude << BigInt(x.exponent - e);
  const quarter = PI66 << BigInt(HALF_PI66_EXPONENT - e);
  const n = (2n * value + quarter) / (2n * quarter);
  const rest = value - n * quarter;
  const shift = F + BigInt(e);
  const scaled = shift >= 0n ? rest << shift : rest >> -shift;
  return x.negative ? { quadrant: Number(-n & 3n), rest: -scaled } : { quadrant: Number(n & 3n), rest: scaled };
}

/** sin and cos by their power series, |r| <= pi/4. */
function sineSeries(r: bigint): bigint {
  const square = (r * r) >> F;
  let term = r;
  let sum = r;
  for (let n = 2n; term !== 0n && term !== -1n; n += 2n) {
    term = -((term * square) >> F) / (n * (n + 1n));
    sum += term;
  }
  return sum;
}
function cosineSeries(r: bigint): bigint {
  const square = (r * r) >> F;
  let term = UNIT;
  let sum = UNIT;
  for (let n = 1n; term !== 0n && term !== -1n; n += 2n) {
    term = -((term * square) >> F) / (n * (n + 1n));
    sum += term;
  }
  return sum;
}

/** Below this exponent x - x^3/6 and its like differ from x by less than a quarter of a unit in the last place. */
const TINY = -40;
/** Below this one the argument itself is the result. */
const TINIEST = -16300;

function circular(x: Exact): { sin: bigint; cos: bigint } {
  const { quadrant, rest } = quarterTurns(x);
  const s = sineSeries(rest);
  const c = cosineSeries(rest);
  return [
    { sin: s, cos: c },
    { sin: c, cos: -s },
    { sin: -s, cos: -c },
    { sin: -c, cos: s },
  ][quadrant] as { sin: bigint; cos: bigint };
}

export function sine(x: Exact): Exact {
  if (leading(x) < TINIEST) return x;
  return leading(x) < TINY ? nudge(x, -1n) : fromFixed(circular(x).sin);
}
export function cosine(x: Exact): Exact {
  if (leading(x) < TINY) return { negative: false, magnitude: (1n << 80n) - 1n, exponent: -80 };
  return fromFixed(circular(x).cos);
}
export function tangent(x: Exact): Exact {
  if (leading(x) < TINIEST) return x;
  if (leading(x) < TINY) return nudge(x, 1n);
  const { sin, cos } = circular(x);
  return fromFixed((sin << F) / cos);
}

/** atan of 0 <= t <= 1, both fixed point: halves the angle three times, then the series. */
function arctangentFixed(t: bigint): bigint {
  let u = t;
  for (let i = 0; i < 3; i++) u = (u << F) / (UNIT + squareRoot((UNIT << F) + u * u));
  return atanSeries(u) << 3n;
}

/** The angle of the point (x, y), -pi to pi. */
export function arctangent(y: Exact, x: Exact): Exact {
  const gap = leading(y) - leading(x);
  if (gap < -60 && !x.negative) {
    const quotient = (((y.magnitude << 200n) / x.magnitude) | 1n) - 2n;
    return { negative: y.negative, magnitude: quotient, exponent: y.exponent - x.exponent - 200 };
  }
  const { pi } = constants();
  const half = pi >> 1n;
  let angle: bigint;
  if (Math.abs(gap) > 120) angle = gap > 0 ? (x.negative ? half + 1n : half - 1n) : pi - 1n;
  else {
    const e = Math.min(x.exponent, y.exponent);
    const a = y.magnitude << BigInt(y.exponent - e);
    const b = x.magnitude << BigInt(x.exponent - e);
    angle = a <= b ? arctangentFixed((a << F) / b) : half - arctangentFixed((b << F) / a);
    if (x.negative) angle = pi - angle;
  }
  return fromFixed(y.negative ? -angle : angle);
}

/** 2^x - 1 for -1 <= x <= 1. */
export function exponentialMinusOne(x: Exact): Exact {
  const { ln2 } = constants();
  if (leading(x) < -80) return multiply(x, { negative: false, magnitude: ln2, exponent: -Number(F) }, true);
  if (leading(x) === 0) return { negative: x.negative, magnitude: 1n, exponent: x.negative ? -1 : 0 };
  const argument = (fixed(x) * ln2) >> F;
  let term = argument;
  let sum = argument;
  for (let n = 2n; term !== 0n && term !== -1n; n++) {
    term = ((term * argument) >> F) / n;
    sum += term;
  }
  return fromFixed(sum);
}

function timesReciprocalLn2(y: Exact, log: Exact): Exact {
  const { ln2 } = constants();
  const magnitude = (log.magnitude << (2n * F)) / ln2;
  return multiply(y, { negative: log.negative, magnitude, exponent: log.exponent - Number(F) }, true);
}

/** y * log2(x), x > 0. Zero magnitude where x is 1. */
export function logarithm(y: Exact, x: Exact): Exact {
  let n = leading(x);
  // m in [0.75, 1.5): the logarithm's integer and fraction do not cancel.
  let m = (x.magnitude << F) >> BigInt(bitLength(x.magnitude) - 1);
  if (m === UNIT) return multiply(y, { negative: n < 0, magnitude: BigInt(Math.abs(n)), exponent: 0 }, false);
  if (2n * m >= 3n * UNIT) {
    m >>= 1n;
    n += 1;
  }
  const fraction = 2n * atanhSeries(((m - UNIT) << F) / (m + UNIT));
  const { ln2 } = constants();
  const log = (BigInt(n) << F) + (fraction << F) / ln2;
  const magnitude = log < 0n ? -log : log;
  return multiply(y, { negative: log < 0n, magnitude, exponent: -Number(F) }, true);
}

/** y * log2(x + 1), x > -1. */
export function logarithmPlusOne(y: Exact, x: Exact): Exact {
  if (leading(x) < -80) return timesReciprocalLn2(y, x);
  const t = fixed(x);
  if (leading(x) >= -1) {
    const sum = UNIT + t;
    return logarithm(y, { negative: false, magnitude: sum, exponent: -Number(F) });
  }
  const log = 2n * atanhSeries((t << F) / (2n * UNIT + t));
  const magnitude = log < 0n ? -log : log;
  return timesReciprocalLn2(y, { negative: log < 0n, magnitude, exponent: -Number(F) });
}
