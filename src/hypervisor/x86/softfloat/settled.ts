/**
 * What SSE instructions call where the direct operation will not do: the software floating point with MXCSR as it is
 * afterwards in place of flags. Its bit 31 is then set where an unmasked exception came up (`settle`). F: 32 or 64.
 *
 *   sse.scalar.OPF       (float a, float b, mxcsr) -> (float, mxcsr)    OP: add sub mul div
 *   sse.scalar.sqrtF     (float, mxcsr) -> (float, mxcsr)
 *   sse.scalar.roundF    (float, control, mxcsr) -> (float, mxcsr)
 *   sse.scalar.narrow, sse.scalar.widen   (float, mxcsr) -> (float, mxcsr)    from 64 to 32 bits, from 32 to 64
 *   sse.scalar.fromIntegerF   (i64, mxcsr) -> (float, mxcsr)
 *   sse.scalar.toIntegerF     (float, width, control, mxcsr) -> (i64, mxcsr)
 *   sse.scalar.examineF  (float a, float b, signaling, mxcsr) -> (float a, float b, mxcsr)   for comparisons: the exceptions
 *                        of a pair of operands, and the operands as they then count (DAZ)
 *   sse.examineF         the same for two vectors
 */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { ValueType } from '../../wasm/opcodes.ts';
import type { Value } from '../../wasm/value.ts';
import { Control, Exception, type HelperDefinition } from './format.ts';

const UNMASKED = 1 << 31;

/** RC, the masks and PE of MXCSR, and what they are where an inexact result rounded to nearest reports nothing. */
const SETTLED_BITS = 0x7fa0;
const SETTLED = 0x1fa0;
export function isSettled(mxcsr: Value): Value {
  return mxcsr.and(SETTLED_BITS).eq(SETTLED);
}

/** MXCSR after these exceptions; bit 31 where one of them is not masked. */
export function settle(f: FunctionBuilder, flags: Value, mxcsr: Value): Value {
  const occurred = flags.and(0x3f);
  const stops = occurred.and(mxcsr.shrU(Control.MASK_SHIFT).not()).ne(0);
  return mxcsr.or(occurred).or(f.select(stops, UNMASKED, f.i32(0)));
}

interface Width {
  readonly name: '32' | '64';
  readonly float: 'f32' | 'f64';
  readonly integer: 'i32' | 'i64';
  readonly lanes: 'i32x4' | 'i64x2';
  readonly vector: 'f32x4' | 'f64x2';
  readonly largestDenormal: number | bigint;
  readonly infinity: number | bigint;
  readonly sign: number | bigint;
  readonly quiet: number | bigint;
}
const SINGLE: Width = {
  name: '32',
  float: 'f32',
  integer: 'i32',
  lanes: 'i32x4',
  vector: 'f32x4',
  largestDenormal: 0x007fffff,
  infinity: 0x7f800000,
  sign: 0x80000000,
  quiet: 0x00400000,
};
const DOUBLE: Width = {
  name: '64',
  float: 'f64',
  integer: 'i64',
  lanes: 'i64x2',
  vector: 'f64x2',
  largestDenormal: 0x000f_ffff_ffff_ffffn,
  infinity: 0x7ff0_0000_0000_0000n,
  sign: 1n << 63n,
  quiet: 1n << 51n,
};

function bitsOf(f: FunctionBuilder, w: Width, value: Value): Value {
  return f.op(`${w.integer}.reinterpret_${w.float}`, value);
}
function floatOf(f: FunctionBuilder, w: Width, bits: Value): Value {
  return f.op(`${w.float}.reinterpret_${w.integer}`, bits);
}

/** A softfloat helper of floats: its float arguments come first, then others, the last of which is MXCSR. */
function wrapped(
  name: string,
  soft: string,
  from: Width,
  to: Width | 'integer',
  floats: number,
  others: readonly ValueType[] = [],
): HelperDefinition {
  const params: ValueType[] = [...Array.from({ length: floats }, () => from.float), ...others, 'i32'];
  const result = to === 'integer' ? 'i64' : to.float;
  return {
    name: `sse.scalar.${name}`,
    type: { params, results: [result, 'i32'] },
    build(f, helper) {
      const mxcsr = f.param(params.length - 1);
      const operands = params.slice(0, floats).map((_, i) => bitsOf(f, from, f.param(i)));
      // Where the control word is another than MXCSR, it is the last but one.
      const rest = others.length > 0 ? others.map((_, i) => f.param(floats + i)) : [mxcsr];
      const [bits, flags] = f.call(helper(soft), ...operands, ...rest) as [Value, Value];
      f.return(to === 'integer' ? bits : floatOf(f, to, bits), settle(f, flags, mxcsr));
    },
  };
}

function fromInteger(w: Width): HelperDefinition {
  return {
    name: `sse.scalar.fromInteger${w.name}`,
    type: { params: ['i64', 'i32'], results: [w.float, 'i32'] },
    build(f, helper) {
      const mxcsr = f.param(1);
      const [bits, flags] = f.call(helper(`float.fromInteger${w.name}`), f.param(0), mxcsr) as [Value, Value];
      f.return(floatOf(f, w, bits), settle(f, flags, mxcsr));
    },
  };
}

/** IE where an operand is a NaN that signals, or any where `signaling`; else DE where one is denormal. */
function examine(w: Width): HelperDefinition {
  return {
    name: `sse.scalar.examine${w.name}`,
    type: { params: [w.float, w.float, 'i32', 'i32'], results: [w.float, w.float, 'i32'] },
    build(f) {
      const [signaling, mxcsr] = [f.param(2), f.param(3)];
      const operands = [0, 1].map((i) => bitsOf(f, w, f.param(i))) as [Value, Value];
      const magnitude = (v: Value): Value => v.and(f.constant(w.integer, w.sign).not());
      const isNan = (v: Value): Value => magnitude(v).gtU(w.infinity);
      const isSignaling = (v: Value): Value => isNan(v).and(v.and(w.quiet).eqz());
      const isDenormal = (v: Value): Value => magnitude(v).sub(1).ltU(w.largestDenormal);
      const either = (test: (v: Value) => Value): Value => test(operands[0]).or(test(operands[1]));
      const ignored = mxcsr.and(Control.DAZ).ne(0);
      const invalid = either(isSignaling).or(signaling).mul(Exception.IE);
      const denormal = either(isDenormal).and(ignored.eqz()).mul(Exception.DE);
      const flags = f.select(either(isNan), invalid, denormal);
      const counted = (v: Value): Value => floatOf(f, w, f.select(ignored.and(isDenormal(v)), v.and(w.sign), v));
      f.return(counted(operands[0]), counted(operands[1]), settle(f, flags, mxcsr));
    },
  };
}

function examineVectors(w: Width): HelperDefinition {
  return {
    name: `sse.examine${w.name}`,
    type: { params: ['v128', 'v128', 'i32', 'i32'], results: ['v128', 'v128', 'i32'] },
    build(f) {
      const [signaling, mxcsr] = [f.param(2), f.param(3)];
      const operands = [f.param(0), f.param(1)] as const;
      const all = (n: number | bigint): Value => f.op(`${w.lanes}.splat`, f.constant(w.integer, n));
      const op = (name: string, ...args: Value[]): Value => f.op(`${w.lanes}.${name}`, ...args);
      const both = (name: string, a: Value, b: Value): Value => f.op(`v128.${name}`, a, b);
      const zero = all(0);
      const isNan = (v: Value): Value => f.op(`${w.vector}.ne`, v, v);
      const isSignaling = (v: Value): Value => both('and', isNan(v), op('eq', both('and', v, all(w.quiet)), zero));
      const isDenormal = (v: Value): Value =>
        both('andnot', op('eq', both('and', v, all(w.infinity)), zero), op('eq', op('add', v, v), zero));
      const either = (test: (v: Value) => Value): Value => both('or', test(operands[0]), test(operands[1]));
      const any = (v: Value): Value => f.op('v128.any_true', v);
      const ignored = mxcsr.and(Control.DAZ).ne(0);
      const nan = either(isNan);
      const invalid = any(either(isSignaling)).or(signaling.ne(0).and(any(nan)));
      const denormal = any(both('andnot', either(isDenormal), nan)).and(ignored.eqz());
      const flags = invalid.mul(Exception.IE).or(denormal.mul(Exception.DE));
      const counted = (v: Value): Value =>
        f.select(ignored, both('andnot', v, both('andnot', isDenormal(v), all(w.sign))), v);
      f.return(counted(operands[0]), counted(operands[1]), settle(f, flags, mxcsr));
    },
  };
}

export const settledHelpers: readonly HelperDefinition[] = [
  ...[SINGLE, DOUBLE].flatMap((w) => [
    ...['add', 'sub', 'mul', 'div'].map((name) => wrapped(`${name}${w.name}`, `float.${name}${w.name}`, w, w, 2)),
    wrapped(`sqrt${w.name}`, `float.sqrt${w.name}`, w, w, 1),
    wrapped(`round${w.name}`, `float.roundToIntegral${w.name}`, w, w, 1, ['i32']),
    wrapped(`toInteger${w.name}`, `float.toInteger${w.name}`, w, 'integer', 1, ['i32', 'i32']),
    fromInteger(w),
    examine(w),
    examineVectors(w),
  ]),
  wrapped('narrow', 'float.convert64to32', DOUBLE, SINGLE, 1),
  wrapped('widen', 'float.convert32to64', SINGLE, DOUBLE, 1),
];
