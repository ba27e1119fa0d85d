/**
 * Software floating point, emitted as WebAssembly helpers: IEEE 754 as SSE and the x87 FPU implement it (Intel SDM vol. 1,
 * chapters 4.8-4.9, 8 and 11.5). This file: the three formats and the interface; core.ts unpacks, rounds and packs,
 * operations.ts has what instructions call. All are found by name through the library.
 *
 * In the names below F is the format: 32 (one i32), 64 (one i64) or 80 (two values: i64 significand, then i32 sign and
 * exponent, the sign in bit 15). `bits` stands for those one or two values, as argument and as result.
 *
 *   float.addF  float.subF  float.mulF  float.divF   (bits a, bits b, control) -> (bits, flags)
 *   float.sqrtF                                      (bits, control) -> (bits, flags)
 *   float.compareF            (bits a, bits b, control, signaling) -> (relation, flags)
 *       relation is in the layout of RFLAGS: 0 greater, 1 (CF) less, 0x40 (ZF) equal, 0x45 (ZF PF CF) unordered; shifted
 *       left by 8 it is C3 C2 C0 of the x87 status word. `signaling`: 1 where a quiet NaN is invalid too (COMIS, FCOM).
 *   float.roundToIntegralF    (bits, control) -> (bits, flags)      an integer in the same format: ROUNDSD, FRNDINT
 *   float.toIntegerF          (bits, width, control) -> (i64, flags)   width 16, 32 or 64; sign-extended; IE gives the
 *                             integer indefinite. To truncate, give a control with RC = 3.
 *   float.fromInteger32/64    (i64, control) -> (bits, flags)
 *   float.fromInteger80       (i64) -> (bits)                       exact
 *   float.convert32to64  float.convert64to32  float.convert80to32  float.convert80to64   (bits, control) -> (bits, flags)
 *   float.convert32to80  float.convert64to80   (bits, control) -> (bits, flags)   exact; flags IE (signaling NaN) and DE
 *   float.unpackF             (bits, control) -> (kind, sign, exponent, significand)   see `Kind`
 *   float.packF               (sign, exponent, significand, extra, control) -> (bits, flags)   rounds; significand has bit
 *                             63 set; `extra` (i64) holds the 64 bits that follow it, the last of them sticky
 *   float.round               (sign, significand, extra, precision, rc) -> (significand, carry, status)
 *   float.shiftRightJam       (high, low, count) -> (high, low)     128 bits, shifted-out bits or-ed into the last
 *   float.multiply            (a, b) -> (high, low)                 64 x 64 -> 128, unsigned
 *   float.divide              (high, low, divisor) -> (quotient, remainder)   unsigned; divisor has bit 63 set and > high
 *
 * An unpacked finite value is (-1)^sign x significand / 2^63 x 2^exponent; bit 63 of the significand is set unless the
 * value is zero (exponent ZERO_EXPONENT). An infinity has INFINITE_EXPONENT; a NaN its payload below bit 62.
 *
 * `control` has the layout of MXCSR: DAZ bit 6, exception masks bits 12:7, RC bits 14:13, FTZ bit 15; for format 80 also
 * the precision control in bits 17:16 as in FCW (0: 24 bits, 2: 53, 3: 64; arithmetic only, conversions ignore it). So:
 *   SSE: control = MXCSR       x87: control = (fcw & 0x3f) << 7 | (fcw & 0xc00) << 3 | (fcw & 0x300) << 8
 *
 * `flags` are the exceptions that occurred, masked or not, as in MXCSR and the x87 status word: IE 1, DE 2, ZE 4, OE 8,
 * UE 16, PE 32, and in bit 9, the place of C1 in the status word, 1 where rounding went away from zero. An exception is
 * unmasked where `flags & ~(control >> 7) & 0x3f` is not zero. Then:
 * - IE, DE, ZE (before the operation): no other flags, the result means nothing and must not be written.
 * - OE, UE, PE: SSE writes nothing. An x87 register is written: format 80 gives the rounded result with its exponent moved
 *   by 24576 (down for OE, up for UE); a store to memory of 32 or 64 bits (convert80toF) writes nothing on OE or UE, and has no other flag then.
 * Underflow is detected after rounding; masked, UE is raised only with an inexact result, unmasked always.
 *
 * NaN operands: 32 and 64 follow SSE (the first operand that is a NaN, made quiet), 80 follows the x87 (a quiet NaN before
 * a signaling one, then the larger significand, then the positive one). The default NaN is negative. Unsupported 80-bit
 * encodings are invalid; pseudo-denormals are denormals.
 */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { ValueType } from '../../wasm/opcodes.ts';
import type { Value } from '../../wasm/value.ts';

export type { HelperDefinition } from '../library.ts';

/** What an operand is; one bit each, so that two operands' kinds can be tested together. */
export const Kind = { ZERO: 1, NORMAL: 2, DENORMAL: 4, INFINITY: 8, QNAN: 16, SNAN: 32, UNSUPPORTED: 64 } as const;
export const ANY_NAN = Kind.QNAN | Kind.SNAN | Kind.UNSUPPORTED;

export const Exception = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32, C1: 0x200 } as const;
export const Control = { DAZ: 1 << 6, MASK_SHIFT: 7, RC_SHIFT: 13, FTZ: 1 << 15, PC_SHIFT: 16 } as const;
export const Rounding = { NEAREST: 0, DOWN: 1, UP: 2, ZERO: 3 } as const;

export const ZERO_EXPONENT = -0x40000;
export const INFINITE_EXPONENT = 0x40000;
export const TOP_BIT = 1n << 63n;

export interface Format {
  readonly name: '32' | '64' | '80';
  /** Types of the values that hold a number of this format. */
  readonly types: readonly ValueType[];
  /** Significant bits, with the leading one. */
  readonly precision: number;
  readonly bias: number;
  /** All ones in the exponent field. */
  readonly maximumField: number;
  /** Puts a number together; the significand has its leading bit at 63, which the 32 and 64-bit formats drop. */
  compose(f: FunctionBuilder, sign: Value, field: Value, significand: Value): readonly Value[];
}

export const FORMAT_32: Format = {
  name: '32',
  types: ['i32'],
  precision: 24,
  bias: 127,
  maximumField: 0xff,
  compose: (_, sign, field, significand) => [
    sign.shl(31).or(field.shl(23)).or(significand.shrU(40).wrap().and(0x7fffff)),
  ],
};
export const FORMAT_64: Format = {
  name: '64',
  types: ['i64'],
  precision: 53,
  bias: 1023,
  maximumField: 0x7ff,
  compose: (_, sign, field, significand) => [
    sign
      .shl(11)
      .or(field)
      .extU()
      .shl(52)
      .or(significand.shrU(11).and((1n << 52n) - 1n)),
  ],
};
export const FORMAT_80: Format = {
  name: '80',
  types: ['i64', 'i32'],
  precision: 64,
  bias: 16383,
  maximumField: 0x7fff,
  compose: (_, sign, field, significand) => [significand, sign.shl(15).or(field)],
};
export const FORMATS: readonly Format[] = [FORMAT_32, FORMAT_64, FORMAT_80];

/** Unbiased exponent of the smallest normal number. */
export function minimumExponent(format: Format): number {
  return 1 - format.bias;
}
