/**
 * SSE's packed operations on the software floating point core: one call per vector where the direct WebAssembly operation
 * would not do. `flags` are the exceptions of all lanes; where one that comes before the operation (IE, DE, ZE) is
 * unmasked in any lane, those after it (OE, UE, PE) are not reported in any: Intel SDM vol. 1, 11.5.3.
 *
 *   sse.OPxN        (v128 a, v128 b, mxcsr) -> (v128, flags)   OP: add sub mul div min max, addsub hadd hsub; N: 32, 64
 *   sse.sqrtN       (v128 a, mxcsr) -> (v128, flags)
 *   sse.roundN      (v128 a, control) -> (v128, flags)
 *   sse.compareN    (v128 a, v128 b, predicate, mxcsr) -> (v128, flags)   predicates 0..7 of CMPPS
 *   sse.minN etc. on scalars are float.minN, float.maxN: (bits a, bits b, mxcsr) -> (bits, flags)
 *   float.predicateN (bits a, bits b, predicate, mxcsr) -> (i32 0 or 1, flags)
 */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import { Control, Exception, type HelperDefinition } from './format.ts';

interface Shape {
  readonly name: '32' | '64';
  readonly vector: 'i32x4' | 'i64x2';
  readonly type: 'i32' | 'i64';
  readonly lanes: 4 | 2;
}
const SHAPES: readonly Shape[] = [
  { name: '32', vector: 'i32x4', type: 'i32', lanes: 4 },
  { name: '64', vector: 'i64x2', type: 'i64', lanes: 2 },
];

const BEFORE = Exception.IE | Exception.DE | Exception.ZE;

/** All exceptions of a vector operation: only those before it where one of them is unmasked. */
export function combine(f: FunctionBuilder, flags: readonly Value[], control: Value): Value {
  const all = flags.reduce((x, y) => x.or(y)).and(0x3f);
  const stops = all.and(BEFORE).and(control.shrU(Control.MASK_SHIFT).not()).ne(0);
  return f.select(stops, all.and(BEFORE), all);
}

/** A vector operation lane by lane; `one` gives the bits and flags of lane `i`. */
function laneByLane(
  f: FunctionBuilder,
  shape: Shape,
  control: Value,
  one: (i: number) => readonly [bits: Value, flags: Value],
): void {
  const flags: Value[] = [];
  let result = f.v128(new Array<number>(16).fill(0));
  for (let i = 0; i < shape.lanes; i++) {
    const [bits, status] = one(i);
    result = f.lane(`${shape.vector}.replace_lane`, [i], result, bits);
    flags.push(status);
  }
  f.return(result, combine(f, flags, control));
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
      laneByLane(f, shape, control, (i) => {
        const [a, b] = operands(i);
        return f.call(helper(`float.${operation(i)}${shape.name}`), element(a), element(b), control) as [Value, Value];
      });
    },
  };
}

function packedUnary(shape: Shape, name: string, operation: string): HelperDefinition {
  return {
    name: `sse.${name}${shape.name}`,
    type: { params: ['v128', 'i32'], results: ['v128', 'i32'] },
    build(f, helper) {
      laneByLane(f, shape, f.param(1), (i) => {
        const element = f.lane(`${shape.vector}.extract_lane`, [i], f.param(0));
        return f.call(helper(`float.${operation}${shape.name}`), element, f.param(1)) as [Value, Value];
      });
    },
  };
}

/** MINSS and MAXSS: the second operand where either is a NaN or both are zero. Not commutative. */
function extreme(shape: Shape, name: 'min' | 'max'): HelperDefinition {
  return {
    name: `float.${name}${shape.name}`,
    type: { params: [shape.type, shape.type, 'i32'], results: [shape.type, 'i32'] },
    build(f, helper) {
      const [a, b, control] = [f.param(0), f.param(1), f.param(2)];
      const [relation, flags] = f.call(helper(`float.compare${shape.name}`), a, b, control, 1) as [Value, Value];
      const first = relation.eq(name === 'min' ? 1 : 0);
      f.return(f.select(first, withoutDenormal(f, shape, a, control), withoutDenormal(f, shape, b, control)), flags);
    },
  };
}

/** A denormal becomes a zero of its sign under DAZ. */
function withoutDenormal(f: FunctionBuilder, shape: Shape, bits: Value, control: Value): Value {
  const exponent = shape.name === '32' ? 0x7f800000 : 0x7ff0000000000000n;
  const sign = shape.name === '32' ? 0x80000000 : 1n << 63n;
  const daz = control.and(Control.DAZ).ne(0).and(bits.and(exponent).eqz());
  return f.select(daz, bits.and(sign), bits);
}

/** CMPSS: EQ LT LE UNORD NEQ NLT NLE ORD; LT, LE and their opposites signal quiet NaNs. */
function predicate(shape: Shape): HelperDefinition {
  return {
    name: `float.predicate${shape.name}`,
    type: { params: [shape.type, shape.type, 'i32', 'i32'], results: ['i32', 'i32'] },
    build(f, helper) {
      const which = f.param(2);
      const kind = which.and(3);
      const signaling = kind.eq(1).or(kind.eq(2));
      const [relation, flags] = f.call(
        helper(`float.compare${shape.name}`),
        f.param(0),
        f.param(1),
        f.param(3),
        signaling,
      ) as [Value, Value];
      const [equal, less, unordered] = [relation.eq(0x40), relation.eq(1), relation.eq(0x45)];
      const low = f.select(kind.eqz(), equal, less);
      const high = f.select(kind.eq(2), equal.or(less), unordered);
      const holds = f.select(kind.ltU(2), low, high);
      f.return(holds.xor(which.shrU(2).and(1)), flags);
    },
  };
}

function packedCompare(shape: Shape): HelperDefinition {
  return {
    name: `sse.compare${shape.name}`,
    type: { params: ['v128', 'v128', 'i32', 'i32'], results: ['v128', 'i32'] },
    build(f, helper) {
      laneByLane(f, shape, f.param(3), (i) => {
        const element = (n: number): Value => f.lane(`${shape.vector}.extract_lane`, [i], f.param(n));
        const [holds, flags] = f.call(
          helper(`float.predicate${shape.name}`),
          element(0),
          element(1),
          f.param(2),
          f.param(3),
        ) as [Value, Value];
        const mask = holds.neg();
        return [shape.type === 'i64' ? mask.extS() : mask, flags];
      });
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
      const [immediate, control] = [f.param(2), f.param(3)];
      const zero = f.v128(new Array<number>(16).fill(0));
      const total = f.variable('i32', 0);
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
        const [result, flags] = f.call(helper(`sse.${name}${shape.name}`), a, b, control) as [Value, Value];
        total.set(total.get().or(flags));
        const stops = flags.and(control.shrU(Control.MASK_SHIFT).not()).ne(0);
        f.if(stops, () => f.return(result, total.get()), undefined, false);
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
      f.return(f.op('v128.and', sum, chosen(0)), total.get());
    },
  };
}

/** Neighbours, as the horizontal operations take them. */
const pair = (i: number): readonly [number, number] => [2 * i, 2 * i + 1];

export const packedHelpers: readonly HelperDefinition[] = SHAPES.flatMap((shape) => [
  extreme(shape, 'min'),
  extreme(shape, 'max'),
  predicate(shape),
  ...['add', 'sub', 'mul', 'div', 'min', 'max'].map((name) => packedBinary(shape, name, () => name)),
  packedBinary(shape, 'addsub', (i) => (i % 2 ? 'add' : 'sub')),
  packedBinary(shape, 'hadd', () => 'add', pair),
  packedBinary(shape, 'hsub', () => 'sub', pair),
  packedUnary(shape, 'sqrt', 'sqrt'),
  packedUnary(shape, 'round', 'roundToIntegral'),
  packedCompare(shape),
  dotProduct(shape),
]);
