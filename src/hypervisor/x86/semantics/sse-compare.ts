/** SSE floating-point comparisons: CMPPS and its kin, COMISS, UCOMISS. Intel SDM vol. 2, the instructions' pages. */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Operand, Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { Semantics } from '../semantics.ts';
import { DOUBLE, type Lanes, readFloat, requireSse, SINGLE, writeScalar } from './sse-common.ts';
import { denormal, directOr, unordered, unorderedVectors } from './sse-direct.ts';

/**
 * Operands 0 and 1 as they compare, their exceptions reported: WebAssembly's comparisons then give the answer whatever they
 * are. `signaling`: quiet NaNs are invalid too.
 */
export function comparable(s: Semantics, lanes: Lanes, signaling: Operand): readonly [Value, Value] {
  const [b, y] = readFloat(s, lanes, 1);
  const [a, x] = readFloat(s, lanes, 0);
  const checks = [denormal(lanes, a), denormal(lanes, b), unordered(lanes, x, y)];
  return directOr(s, checks, [x, y], (mxcsr) =>
    s.helper(`sse.scalar.examine${lanes.format}`, x, y, signaling, mxcsr),
  ) as [Value, Value];
}
export function comparableVectors(s: Semantics, lanes: Lanes, signaling: Operand): readonly [Value, Value] {
  const b = s.readV(1);
  const a = s.readV(0);
  return directOr(s, [unorderedVectors(lanes, a, b)], [a, b], (mxcsr) =>
    s.helper(`sse.examine${lanes.format}`, a, b, signaling, mxcsr),
  ) as [Value, Value];
}

/** Predicates 0..3: EQ LT LE UNORD; 4..7 are their opposites. Of scalars 0 or 1, of vectors masks. */
function predicateOf(f: FunctionBuilder, type: string, x: Value, y: Value, predicate: Value): Value {
  const kind = predicate.and(3);
  const or = type.includes('x') ? 'v128.or' : 'i32.or';
  const low = f.select(kind.eqz(), f.op(`${type}.eq`, x, y), f.op(`${type}.lt`, x, y));
  const nan = f.op(or, f.op(`${type}.ne`, x, x), f.op(`${type}.ne`, y, y));
  const high = f.select(kind.eq(2), f.op(`${type}.le`, x, y), nan);
  return f.select(kind.ltU(2), low, high);
}
/** LT, LE and their opposites signal quiet NaNs. */
function isSignaling(predicate: Value): Value {
  return predicate.and(3).sub(1).ltU(2);
}

function packedCompare(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const predicate = s.read(2).wrap().and(7);
    const [a, b] = comparableVectors(s, lanes, isSignaling(predicate));
    const holds = predicateOf(f, lanes.vector, a, b, predicate);
    s.writeV(0, f.select(predicate.shrU(2), f.op('v128.not', holds), holds));
  };
}

function scalarCompare(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const predicate = s.read(2).wrap().and(7);
    const [x, y] = comparable(s, lanes, isSignaling(predicate));
    const mask = predicateOf(f, lanes.scalar, x, y, predicate).xor(predicate.shrU(2)).neg();
    writeScalar(s, lanes, 0, lanes.integer === 'i64' ? mask.extS() : mask);
  };
}

/** COMIS, UCOMIS. Greater: no flag; less: CF; equal: ZF; unordered: all three. */
function compareFlags(lanes: Lanes, signaling: 0 | 1): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const [x, y] = comparable(s, lanes, signaling);
    const is = (relation: string, a: Value, b: Value): Value => f.op(`${lanes.scalar}.${relation}`, a, b);
    s.setFlags({
      CF: is('ge', x, y).eqz(),
      PF: is('ne', x, x).or(is('ne', y, y)),
      ZF: is('lt', x, y)
        .or(is('gt', x, y))
        .eqz(),
      AF: 0,
      SF: 0,
      OF: 0,
    });
    s.compared?.(x, y);
  };
}

export const rows: readonly Row[] = [
  ['CMPPS', 'NP 0F C2', 'Vx+ Wx Ib', packedCompare(SINGLE)],
  ['CMPPD', '66 0F C2', 'Vx+ Wx Ib', packedCompare(DOUBLE)],
  ['CMPSS', 'F3 0F C2', 'Vx+ Wd Ib', scalarCompare(SINGLE)],
  ['CMPSD', 'F2 0F C2', 'Vx+ Wq Ib', scalarCompare(DOUBLE)],
  ['UCOMISS', 'NP 0F 2E', 'Vx Wd', compareFlags(SINGLE, 0)],
  ['UCOMISD', '66 0F 2E', 'Vx Wq', compareFlags(DOUBLE, 0)],
  ['COMISS', 'NP 0F 2F', 'Vx Wd', compareFlags(SINGLE, 1)],
  ['COMISD', '66 0F 2F', 'Vx Wq', compareFlags(DOUBLE, 1)],
];
