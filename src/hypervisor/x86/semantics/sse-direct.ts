/**
 * When WebAssembly's floating-point operation stands for the processor's: it gives the same result, and MXCSR would hold
 * nothing new. Intel SDM vol. 1, 11.5 "SSE, SSE2, and SSE3 exceptions"; the rule and its cost are in decision 0011.
 *
 * MXCSR's part (`isSettled`): rounding to nearest, everything masked, and PE already set, so that an inexact result reports
 * nothing. FTZ and DAZ do not matter, because what they change does not get this far:
 * - No operand is denormal (DE, DAZ). It is looked at as an integer: twice its bits, less one, leaves the sign out and puts
 *   zero at the top, so that one comparison tells denormals from all else. The smallest normal number, and in vectors the
 *   smallest exponents, are taken for denormal; the slow path is exact for anything.
 * - The result is at least twice the smallest normal number (UE, FTZ: tininess is found after rounding) and finite. A NaN or
 *   an infinity as operand gives one as result of these operations, or a quotient of zero, so operands need no look for
 *   them; the same finds OE, ZE and IE.
 * - A result of zero is exact in sums, and where a factor or the dividend is zero.
 *
 * Comparisons, MIN and MAX ask nothing of MXCSR: they only report what operands are (IE, DE).
 */
import type { FunctionBuilder, Label } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import type { Semantics } from '../semantics.ts';
import { isTooSmall, ranked, usual } from '../softfloat/ranks.ts';
import { isSettled } from '../softfloat/settled.ts';
import { isDouble, type Lanes, raiseUnmasked } from './sse-common.ts';

/** Leaves for the slow path where the direct result will not do. */
export type Check = (f: FunctionBuilder, slow: Label) => void;

/** Leaves unless MXCSR is settled. */
export function unsettled(s: Semantics): Check {
  return (f, slow) => {
    f.brIf(slow, (s.settled?.() ?? isSettled(s.state('mxcsr'))).eqz(), false);
  };
}

/** Bits of the fraction, and the largest value of the exponent's field, which infinities and NaNs have. */
const fractionBits = (lanes: Lanes): number => (isDouble(lanes) ? 52 : 23);
const lastField = (lanes: Lanes): number => (isDouble(lanes) ? 0x7ff : 0xff);

/** The exponent field: i32 or i64. */
function field(lanes: Lanes, bits: Value): Value {
  return bits.shl(1).shrU(fractionBits(lanes) + 1);
}

/** Leaves where a scalar is denormal. */
export function denormal(lanes: Lanes, bits: Value): Check {
  return (f, slow) => {
    f.brIf(
      slow,
      bits
        .shl(1)
        .sub(1)
        .shrU(fractionBits(lanes) + 1)
        .eqz(),
      false,
    );
  };
}

/**
 * Leaves where a scalar result is tiny, infinite, a NaN, or a zero that need not be exact: where there are `factors`, it is
 * if one of them is zero.
 */
export function unusual(lanes: Lanes, bits: Value, factors: readonly Value[] = []): Check {
  return (f, slow) => {
    const outside = field(lanes, bits)
      .sub(2)
      .geU(lastField(lanes) - 2);
    const isNot = (v: Value): Value => v.shl(1).ne(0);
    const check = (): void => {
      f.brIf(slow, isNot(bits), false);
      if (factors.length > 0)
        f.brIf(
          slow,
          factors.map(isNot).reduce((a, b) => a.and(b)),
          false,
        );
    };
    f.if(outside, check, undefined, false);
  };
}

/** Leaves where a scalar is denormal, infinite or a NaN. */
export function notFinite(lanes: Lanes, bits: Value): Check {
  return (f, slow) => {
    const outside = field(lanes, bits)
      .sub(1)
      .geU(lastField(lanes) - 1);
    f.if(outside, () => f.brIf(slow, bits.shl(1).ne(0), false), undefined, false);
  };
}

/** Leaves unless a scalar is a positive normal number or zero. */
export function notRootable(lanes: Lanes, bits: Value): Check {
  return (f, slow) => {
    const outside = bits
      .shrU(fractionBits(lanes))
      .sub(1)
      .geU(lastField(lanes) - 1);
    f.if(outside, () => f.brIf(slow, bits.shl(1).ne(0), false), undefined, false);
  };
}

/**
 * Leaves where one of two scalars is a NaN: their sum then is one. (So is the sum of opposite infinities, which the slow path
 * can bear.)
 */
export function unordered(lanes: Lanes, x: Value, y: Value): Check {
  return (f, slow) => {
    const sum = f.op(`${lanes.scalar}.add`, x, y);
    f.brIf(slow, f.op(`${lanes.scalar}.ne`, sum, sum), false);
  };
}

/** Leaves where an operand of a vector operation is denormal in any lane, or its result anything but usual. */
export function unusualVectors(lanes: Lanes, operands: readonly Value[], result: Value, zero: boolean): Check {
  const { integers } = lanes;
  return (f, slow) => {
    const ranks = [...operands.map((v) => ranked(f, integers, v)), usual(f, integers, result, zero)];
    f.brIf(slow, f.op(`${integers}.bitmask`, isTooSmall(f, integers, ranks)), false);
  };
}

/** Leaves where any lane of either vector is denormal or a NaN. */
export function unorderedVectors(lanes: Lanes, a: Value, b: Value): Check {
  const { integers } = lanes;
  return (f, slow) => {
    const sum = f.op(`${lanes.vector}.add`, a, b);
    const nan = f.op(`${lanes.vector}.ne`, sum, sum);
    const small = isTooSmall(f, integers, [ranked(f, integers, a), ranked(f, integers, b)]);
    f.brIf(slow, f.op(`${integers}.bitmask`, f.op('v128.or', nan, small)), false);
  };
}

/**
 * Direct values, or those of a helper where a check leaves. The helper gives a value for each and MXCSR as it is then, its
 * bit 31 set where an unmasked exception came up.
 */
export function directOr(
  s: Semantics,
  checks: readonly Check[],
  direct: readonly Value[],
  slow: (mxcsr: Value) => readonly Value[],
): Value[] {
  const { f } = s;
  const chosen = direct.map((value) => f.variable(value.type));
  f.block((done) => {
    f.block((leave) => {
      for (const check of checks) check(f, leave);
      for (const [i, value] of direct.entries()) chosen[i]?.set(value);
      f.br(done);
    });
    const found = slow(s.state('mxcsr'));
    raiseUnmasked(s, found.at(-1) as Value);
    for (const [i, variable] of chosen.entries()) variable.set(found[i] as Value);
  });
  return chosen.map((variable) => variable.get());
}
/** The same for one value. */
export function directOr1(
  s: Semantics,
  checks: readonly Check[],
  direct: Value,
  slow: (mxcsr: Value) => readonly Value[],
): Value {
  return directOr(s, checks, [direct], slow)[0] as Value;
}
