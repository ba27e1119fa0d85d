// Seeded values worth testing with: integers at the edges of every size, reals of every class, flags, and the control
// words of x87 and SSE. Everything is written as 32-bit words, so that the hot path makes no BigInt and no object.

/** xoshiro128** (Blackman and Vigna, 2018), its state spread from a 32-bit seed. The same numbers on every host. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    let x = seed | 0;
    const spread = () => {
      x = (x + 0x9e3779b9) | 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return z ^ (z >>> 16);
    };
    this.#a = spread();
    this.#b = spread();
    this.#c = spread();
    this.#d = spread() | 1; // never all zero
  }

  /** 0 to FFFFFFFFh. */
  u32(): number {
    const b5 = Math.imul(this.#b, 5);
    const result = Math.imul((b5 << 7) | (b5 >>> 25), 9);
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  /** 0 to n - 1, for n up to 2^32. */
  below(n: number): number {
    return Math.floor((this.u32() / 0x100000000) * n);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }
}

// ------------------------------------------------------------------------------------------------------------ integers

const SIZES = [8, 16, 32, 64] as const;
const PATTERNS = [
  0x55555555, 0xaaaaaaaa, 0x0f0f0f0f, 0x80808080, 0x7f7f7f7f, 0x01010101, 0x00ff00ff, 0x80008000,
] as const;

/** Writes 2^n + delta, delta a small signed number, as 64 bits. */
function writeNearPower(n: number, delta: number, out: Uint32Array, at: number): void {
  const low = n < 32 ? (1 << n) >>> 0 : 0;
  const high = n < 32 ? 0 : 1 << (n - 32);
  const sum = low + delta;
  out[at] = sum;
  out[at + 1] = high + Math.floor(sum / 0x100000000);
}

/** A 64-bit integer at `out[at]` (low) and `out[at + 1]`. Its low part is as interesting at every smaller size. */
export function writeInteger(random: Random, out: Uint32Array, at: number): void {
  switch (random.below(10)) {
    case 0: // 0, 1, -1, 2 ...
      writeNearPower(0, random.below(5) - 2, out, at);
      return;
    case 1: // around the smallest and largest signed and unsigned numbers of each size
      writeNearPower(random.pick(SIZES) - 1, random.below(4) - 2, out, at);
      if (random.oneIn(2)) negate(out, at);
      return;
    case 2:
      writeNearPower(random.pick(SIZES) % 64, random.below(4) - 2, out, at);
      return;
    case 3:
      writeNearPower(random.below(64), random.below(3) - 1, out, at);
      if (random.oneIn(2)) negate(out, at);
      return;
    case 4:
      out[at] = random.below(256);
      out[at + 1] = 0;
      return;
    case 5: {
      const word = random.pick(PATTERNS);
      out[at] = word;
      out[at + 1] = word;
      return;
    }
    case 6: // packed decimal, for DAA, AAA, FBLD
      out[at] = decimal(random);
      out[at + 1] = decimal(random);
      return;
    case 7: {
      // any number of leading zeros
      const bits = random.below(64);
      out[at] = bits < 32 ? random.u32() & ((1 << bits) - 1) : random.u32();
      out[at + 1] = bits < 32 ? 0 : random.u32() & ((1 << (bits - 32)) - 1);
      return;
    }
    default:
      out[at] = random.u32();
      out[at + 1] = random.u32();
  }
}

function negate(out: Uint32Array, at: number): void {
  const low = out[at] as number;
  out[at] = -low;
  out[at + 1] = ~(out[at + 1] as number) + (low === 0 ? 1 : 0);
}

function decimal(random: Random): number {
  let word = 0;
  for (let digit = 0; digit < 8; digit++) word = (word << 4) | random.below(10);
  return word;
}

/** Sixteen integers over `gprs` (32 words): the general registers in encoding order. */
export function writeGprs(random: Random, gprs: Uint32Array): void {
  for (let i = 0; i < 16; i++) writeInteger(random, gprs, i * 2);
}

// --------------------------------------------------------------------------------------------------------------- reals

/** The layout of a real format; its fraction is handled left-aligned in 64 bits. */
interface RealFormat {
  readonly words: 1 | 2 | 3;
  readonly exponentMax: number;
  readonly bias: number;
  /** The fraction's last bit, left-aligned. */
  readonly lastHigh: number;
  readonly lastLow: number;
}

export const F32: RealFormat = { words: 1, exponentMax: 0xff, bias: 0x7f, lastHigh: 1 << 9, lastLow: 0 };
export const F64: RealFormat = { words: 2, exponentMax: 0x7ff, bias: 0x3ff, lastHigh: 0, lastLow: 1 << 12 };
export const F80: RealFormat = { words: 3, exponentMax: 0x7fff, bias: 0x3fff, lastHigh: 0, lastLow: 1 << 1 };

/** Exponents where conversions to integers overflow, and where the last fraction bit is a half or a one. */
const CONVERSION_EXPONENTS = [-1, 6, 7, 14, 15, 22, 23, 30, 31, 51, 52, 62, 63, 64] as const;

/** How often an 80-bit real has the wrong integer bit: unnormal, pseudo-denormal, pseudo-infinity or pseudo-NaN. */
const PSEUDO_ONE_IN = 24;

/**
 * A real of a random class at `out[at]`: 1 word for F32, 2 for F64, 3 for F80 (64 bits of significand, then sign and
 * exponent in the low half of the third).
 */
export function writeReal(random: Random, format: RealFormat, out: Uint32Array, at: number): void {
  const { exponentMax, bias } = format;
  let high = 0;
  let low = 0;
  switch (random.below(7)) {
    case 0:
      break;
    case 1:
      high = 0xffffffff;
      low = 0xffffffff;
      break;
    case 2:
      high = 0x80000000;
      break;
    case 3:
      high = format.lastHigh;
      low = format.lastLow;
      break;
    case 4: // few bits: exact results are likely
      high = (random.u32() & 0xff800000) >>> 0;
      break;
    default:
      high = random.u32();
      low = random.u32();
  }
  let exponent: number;
  switch (random.below(16)) {
    case 14: // whose products, quotients and squares are near the ends of the range
      exponent = random.pick([bias >> 1, bias + (bias >> 1), bias - (bias >> 1), 1]) + random.below(5) - 2;
      break;
    case 15: // where the other formats' ranges end
      exponent = bias + random.pick([-1022, -149, -126, -64, 64, 127, 128, 1023]) + random.below(5) - 2;
      break;
    case 0: // zero
      exponent = 0;
      high = 0;
      low = 0;
      break;
    case 1: // denormal
      exponent = 0;
      break;
    case 2:
      exponent = 1 + random.below(2);
      break;
    case 3:
      exponent = exponentMax - 1 - random.below(2);
      break;
    case 4: // infinity
      exponent = exponentMax;
      high = 0;
      low = 0;
      break;
    case 5: // quiet NaN; with fraction 0 beside it, the default NaN
      exponent = exponentMax;
      high = (high | 0x80000000) >>> 0;
      break;
    case 6: // signalling NaN
      exponent = exponentMax;
      high = ((high & 0x7fffffff) | format.lastHigh) >>> 0;
      low = (low | format.lastLow) >>> 0;
      break;
    case 7: // 1.0 and its like
      exponent = bias + random.below(3) - 1;
      break;
    case 8:
      exponent = bias + random.pick(CONVERSION_EXPONENTS);
      break;
    case 9:
    case 10: // near one another: sums that cancel and round
      exponent = bias + random.below(9) - 2;
      break;
    case 11:
      exponent = bias + random.below(128) - 64;
      break;
    default:
      exponent = random.below(exponentMax + 1);
  }
  exponent = Math.max(0, Math.min(exponentMax, exponent));
  packReal(random, format, exponent, high, low, out, at);
}

function packReal(
  random: Random,
  format: RealFormat,
  exponent: number,
  high: number,
  low: number,
  out: Uint32Array,
  at: number,
): void {
  const sign = random.u32() & 0x80000000;
  switch (format.words) {
    case 1:
      out[at] = sign | (exponent << 23) | (high >>> 9);
      break;
    case 2:
      out[at] = (high << 20) | (low >>> 12);
      out[at + 1] = sign | (exponent << 20) | (high >>> 12);
      break;
    case 3: {
      const integer = (exponent !== 0) !== random.oneIn(PSEUDO_ONE_IN) ? 0x80000000 : 0;
      out[at] = (high << 31) | (low >>> 1);
      out[at + 1] = integer | (high >>> 1);
      out[at + 2] = (sign >>> 16) | exponent;
    }
  }
}

// ------------------------------------------------------------------------------------------------------------- vectors

export type Lane = 'integer' | 'f32' | 'f64';
const LANES: readonly Lane[] = ['integer', 'f32', 'f64'];

/** A 128-bit vector over `out[at]` to `out[at + 3]`. */
export function writeVector(random: Random, lane: Lane, out: Uint32Array, at: number): void {
  switch (lane) {
    case 'integer':
      writeInteger(random, out, at);
      writeInteger(random, out, at + 2);
      return;
    case 'f32':
      for (let i = 0; i < 4; i++) writeReal(random, F32, out, at + i);
      return;
    case 'f64':
      writeReal(random, F64, out, at);
      writeReal(random, F64, out, at + 2);
  }
}

// --------------------------------------------------------------------------------------------- flags and control words

const STATUS_FLAGS = 0x8d5; // CF PF AF ZF SF OF
const DF = 0x400;

/** RFLAGS with any status flags; DF once in four times. */
export function flags(random: Random): number {
  return (random.u32() & STATUS_FLAGS) | (random.oneIn(4) ? DF : 0) | 2;
}

const ALL_EXCEPTIONS = 0x3f; // IE DE ZE OE UE PE, in FCW, FSW and MXCSR alike
const DAZ = 0x40;
const FTZ = 0x8000;

/** Exception masks: all set seven times in eight, else some. */
function exceptionMasks(random: Random): number {
  return random.oneIn(8) ? random.u32() & ALL_EXCEPTIONS : ALL_EXCEPTIONS;
}

const PE = 0x20;
const ALL_MASKED = ALL_EXCEPTIONS << 7;

/**
 * Any rounding control, DAZ and FTZ each once in eight times, any sticky exceptions, mostly masked. Every other time as
 * programs have it that compute: to nearest, all masked, PE set, and at times other sticky exceptions, DAZ or FTZ.
 */
export function mxcsr(random: Random): number {
  if (random.oneIn(2)) {
    const before = random.oneIn(4) ? random.u32() & ALL_EXCEPTIONS : 0;
    return ALL_MASKED | PE | before | (random.oneIn(6) ? random.u32() & (DAZ | FTZ) : 0);
  }
  const sticky = random.oneIn(2) ? random.u32() & ALL_EXCEPTIONS : 0;
  const modes = (random.oneIn(8) ? DAZ : 0) | (random.oneIn(8) ? FTZ : 0);
  return (random.below(4) << 13) | (exceptionMasks(random) << 7) | modes | sticky;
}

/** Bit 6 always set (as the processor reads it back); precision control 64 bits in three of four, else any but reserved. */
export function fcw(random: Random): number {
  const precision = random.oneIn(4) ? random.pick([0, 2, 3]) : 3;
  return (random.below(4) << 10) | (precision << 8) | 0x40 | exceptionMasks(random);
}

const ES_AND_B = 0x8080;
const CONDITION_CODES = 0x4700;

/**
 * FSW for a given FCW. ES and B say, as they must, whether an exception is pending unmasked; that is so in few, since
 * then nearly every x87 instruction is #MF.
 */
export function fsw(random: Random, control: number): number {
  let sticky = random.oneIn(2) ? random.u32() & 0x7f : 0;
  if (!random.oneIn(16)) sticky &= 0x40 | control;
  const pending = (sticky & ~control & ALL_EXCEPTIONS) !== 0;
  return (random.below(8) << 11) | (random.u32() & CONDITION_CODES) | sticky | (pending ? ES_AND_B : 0);
}

const FX_WORDS = { tag: 1, mxcsr: 6, st0: 8, xmm0: 40 } as const;

/**
 * The first 416 bytes of an FXSAVE image (64-bit format) over `fx` (104 words): control words, tags that are mostly in
 * use, ST registers of every class, XMM registers each of one kind of lane. FOP, FIP and FDP are 0.
 */
export function writeFx(random: Random, fx: Uint32Array): void {
  fx.fill(0);
  const control = fcw(random);
  fx[0] = control | (fsw(random, control) << 16);
  fx[FX_WORDS.tag] = random.oneIn(2) ? 0xff : random.u32() & 0xff;
  fx[FX_WORDS.mxcsr] = mxcsr(random);
  for (let i = 0; i < 8; i++) writeReal(random, F80, fx, FX_WORDS.st0 + i * 4);
  for (let i = 0; i < 16; i++) writeVector(random, random.pick(LANES), fx, FX_WORDS.xmm0 + i * 4);
}
