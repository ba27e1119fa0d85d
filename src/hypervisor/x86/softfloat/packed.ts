/**
 * SSE's packed operations on the software floating point core: one call per vector where the direct WebAssembly operation
 * would not do. Where an exception that comes before the operation (IE, DE, ZE) is unmasked in any lane, those after it
 * (OE, UE, PE) are not reported in any: Intel SDM vol. 1, 11.5.3. `mxcsr` as a result is what settled.ts says.
 *
 *   sse.OPxN         (v128 a, v128 b, mxcsr) -> (v128, mxcsr)   OP: add sub mul div, addsub hadd hsub; N: 32, 64
 *   sse.sqrtN        (v128 a, mxcsr) -> (v128, mxcsr)
 *   sse.roundN       (v128 a, control) -> (v128, flags)
 *   sse.toIntegersN  (v128 a, control, mxcsr) -> (v128, mxcsr)   to 32-bit integers
 *   sse.fromIntegers, sse.narrow, sse.widen   (v128 a, mxcsr) -> (v128, mxcsr)   CVTDQ2PS, CVTPD2PS, CVTPS2PD
 *   sse.dotProductN  (v128 a, v128 b, immediate, mxcsr) -> (v128, mxcsr)
 */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { ValueType } from '../../wasm/opcodes.ts';
import type { Value } from '../../wasm/value.ts';
import type { FindHelper } from './core.ts';
import { Control, Exception, type HelperDefinition } from './format.ts';
import { isTooSmall, isZero, ranked, usual } from './ranks.ts';
import { isSettled, settle, settledHelpers } from './settled.ts';

interface Shape {
  readonly name: '32' | '64';
  readonly vector: 'i32x4' | 'i64x2';
  readonly type: 'i32' | 'i64';
  readonly lanes: number;
}
const SINGLES: Shape = { name: '32', vector: 'i32x4', type: 'i32', lanes: 4 };
const DOUBLES: Shape = { name: '64', vector: 'i64x2', type: 'i64', lanes: 2 };
const SHAPES: readonly Shape[] = [SINGLES, DOUBLES];

const BEFORE = Exception.IE | Exception.DE | Exception.ZE;

/** All exceptions of a vector operation: only those before it where one of them is unmasked. */
export function combine(f: FunctionBuilder, flags: readonly Value[], control: Value): Value {
  const all = flags.reduce((x, y) => x.or(y)).and(0x3f);
  const stops = all.and(BEFORE).and(control.shrU(Control.MASK_SHIFT).not()).ne(0);
  return f.select(stops, all.and(BEFORE), all);
}

/** A vector operation lane by lane; `one` gives the bits and flags of lane `i`, `status` makes the second result of all. */
function laneByLane(
  f: FunctionBuilder,
  shape: Shape,
  one: (i: number) => readonly [bits: Value, flags: Value],
  status: (flags: readonly Value[]) => Value,
): void {
  const flags: Value[] = [];
  let result = f.v128(new Array<number>(16).fill(0));
  for (let i = 0; i < shape.lanes; i++) {
    const [bits, raised] = one(i);
    result = f.lane(`${shape.vector}.replace_lane`, [i], result, bits);
    flags.push(raised);
  }
  f.return(result, status(flags));
}

function packedBinary(
  shape: Shape,
  name: string,
  operation: (lane: number) => string,
  /** Lanes of the operands of lane `i`: 0 and up from the first vector, `lanes` and up from the second. */
  operands: (lane: number) => readonly [number, number] = (i) => [i, i + shape.lanes],
): HelperDefinition {
  return {
    name: `sse.${name}${shape.name}`,
    type: { params: ['v128', 'v128', 'i32'], results: ['v128', 'i32'] },
    build(f, helper) {
      const control = f.param(2);
      const element = (n: number): Value =>
        f.lane(`${shape.vector}.extract_lane`, [n % shape.lanes], f.param(n < shape.lanes ? 0 : 1));
      const one = (i: number): [Value, Value] => {
        const [a, b] = operands(i);
        return f.call(helper(`float.${operation(i)}${shape.name}`), element(a), element(b), control) as [Value, Value];
      };
      if (name === 'mul') exactZeros(f, shape, control);
      laneByLane(f, shape, one, (flags) => settle(f, combine(f, flags, control), control));
    },
  };
}

/** Returns products of which some lanes are zero because a factor is, where MXCSR is settled and nothing else special. */
function exactZeros(f: FunctionBuilder, shape: Shape, mxcsr: Value): void {
  const { vector } = shape;
  const [a, b] = [f.param(0), f.param(1)];
  f.if(isSettled(mxcsr), () => {
    const product = f.op(`${shape.type === 'i64' ? 'f64x2' : 'f32x4'}.mul`, a, b);
    const factor = f.op('v128.or', isZero(f, vector, a), isZero(f, vector, b));
    const exact = f.op('v128.and', factor, isZero(f, vector, product));
    const result = f.op('v128.or', usual(f, vector, product, false), exact);
    const ranks = [ranked(f, vector, a), ranked(f, vector, b), result];
    f.if(f.op(`${vector}.bitmask`, isTooSmall(f, vector, ranks)).eqz(), () => f.return(product, mxcsr));
  });
}

function packedUnary(
  shape: Shape,
  name: string,
  operation: string,
  status: (f: FunctionBuilder, flags: Value, control: Value) => Value,
): HelperDefinition {
  return {
    name: `sse.${name}${shape.name}`,
    type: { params: ['v128', 'i32'], results: ['v128', 'i32'] },
    build(f, helper) {
      const control = f.param(1);
      const one = (i: number): [Value, Value] => {
        const element = f.lane(`${shape.vector}.extract_lane`, [i], f.param(0));
        return f.call(helper(`float.${operation}${shape.name}`), element, control) as [Value, Value];
      };
      laneByLane(f, shape, one, (flags) => status(f, combine(f, flags, control), control));
    },
  };
}

/**
 * DPPS and DPPD: products of the lanes that bits 7:4 of the immediate select, their sum in the lanes that bits 3:0 select.
 * Each step is a vector operation of its own, and the first whose exception is unmasked ends it. Which NaN wins follows
 * from the order of the sums, in which each lane adds itself to its neighbour.
 */
function dotProduct(shape: Shape): HelperDefinition {
  return {
    name: `sse.dotProduct${shape.name}`,
    type: { params: ['v128', 'v128', 'i32', 'i32'], results: ['v128', 'i32'] },
    build(f, helper) {
      const immediate = f.param(2);
      const zero = f.v128(new Array<number>(16).fill(0));
      const mxcsr = f.variable('i32', f.param(3));
      const chosen = (shift: number): Value => {
        let mask = zero;
        for (let i = 0; i < shape.lanes; i++) {
          const bit = immediate
            .shrU(shift + i)
            .and(1)
            .neg();
          mask = f.lane(`${shape.vector}.replace_lane`, [i], mask, shape.type === 'i64' ? bit.extS() : bit);
        }
        return mask;
      };
      const step = (name: string, a: Value, b: Value): Value => {
        const [result, next] = f.call(helper(`sse.${name}${shape.name}`), a, b, mxcsr.get()) as [Value, Value];
        mxcsr.set(next);
        f.if(next.ltS(0), () => f.return(result, next), undefined, false);
        return result;
      };
      // Lanes that are not selected are multiplied too, as zeros: that raises nothing and gives +0.
      const source = chosen(4);
      let sum = step('mul', f.op('v128.and', f.param(0), source), f.op('v128.and', f.param(1), source));
      const rotate = (distance: number): Value => {
        const bytes = 16 / shape.lanes;
        const order = Array.from({ length: shape.lanes }, (_, i) => i ^ distance);
        return f.lane(
          'i8x16.shuffle',
          order.flatMap((n) => Array.from({ length: bytes }, (_, i) => n * bytes + i)),
          sum,
          sum,
        );
      };
      // Which of two NaNs is the result follows from the order of the operands.
      for (let distance = 1; distance < shape.lanes; distance *= 2) {
        const isLast = distance * 2 === shape.lanes;
        sum = isLast ? step('add', sum, rotate(distance)) : step('add', rotate(distance), sum);
      }
      f.return(f.op('v128.and', sum, chosen(0)), mxcsr.get());
    },
  };
}

/** Converts lane by lane: (v128, ...others, mxcsr) -> (v128, mxcsr). Lanes of the result beyond `count` are zero. */
function packedConversion(
  name: string,
  from: Shape,
  to: Shape,
  count: number,
  others: readonly ValueType[],
  one: (f: FunctionBuilder, helper: FindHelper, lane: Value) => readonly [bits: Value, flags: Value],
): HelperDefinition {
  return {
    name: `sse.${name}`,
    type: { params: ['v128', ...others, 'i32'], results: ['v128', 'i32'] },
    build(f, helper) {
      const mxcsr = f.param(1 + others.length);
      const element = (i: number): Value => f.lane(`${from.vector}.extract_lane`, [i], f.param(0));
      laneByLane(
        f,
        { ...to, lanes: count },
        (i) => one(f, helper, element(i)),
        (flags) => settle(f, combine(f, flags, mxcsr), mxcsr),
      );
    },
  };
}
function toIntegers(from: Shape): HelperDefinition {
  return packedConversion(`toIntegers${from.name}`, from, SINGLES, from.lanes, ['i32'], (f, helper, lane) => {
    const [value, flags] = f.call(helper(`float.toInteger${from.name}`), lane, 32, f.param(1)) as [Value, Value];
    return [value.wrap(), flags];
  });
}
const soft =
  (name: string) =>
  (f: FunctionBuilder, helper: FindHelper, lane: Value): [Value, Value] =>
    f.call(helper(name), lane, f.param(1)) as [Value, Value];
const conversions: readonly HelperDefinition[] = [
  toIntegers(SINGLES),
  toIntegers(DOUBLES),
  packedConversion('narrow', DOUBLES, SINGLES, 2, [], soft('float.convert64to32')),
  packedConversion('widen', SINGLES, DOUBLES, 2, [], soft('float.convert32to64')),
  packedConversion('fromIntegers', SINGLES, SINGLES, 4, [], (f, helper, lane) =>
    soft('float.fromInteger32')(f, helper, lane.extS()),
  ),
];

/** Neighbours, as the horizontal operations take them. */
const pair = (i: number): readonly [number, number] => [2 * i, 2 * i + 1];

export const packedHelpers: readonly HelperDefinition[] = [
  ...settledHelpers,
  ...conversions,
  ...SHAPES.flatMap((shape) => [
    ...['add', 'sub', 'mul', 'div'].map((name) => packedBinary(shape, name, () => name)),
    packedBinary(shape, 'addsub', (i) => (i % 2 ? 'add' : 'sub')),
    packedBinary(shape, 'hadd', () => 'add', pair),
    packedBinary(shape, 'hsub', () => 'sub', pair),
    packedUnary(shape, 'sqrt', 'sqrt', settle),
    packedUnary(shape, 'round', 'roundToIntegral', (_, flags) => flags),
    dotProduct(shape),
  ]),
];
