/** SSE floating-point comparisons: CMPPS and its kin, COMISS, UCOMISS. Intel SDM vol. 2, the instructions' pages. */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import { directOr, ordinaryScalar, ordinaryVectors } from './sse-arithmetic.ts';
import { DOUBLE, float, type Lanes, readScalar, requireSse, SINGLE, writeScalar } from './sse-common.ts';

/** What predicate 0..7 says of two ordered numbers: EQ LT LE and never, and the opposites. */
function predicateOf(f: FunctionBuilder, type: string, x: Value, y: Value, predicate: Value, never: Value): Value {
  const kind = predicate.and(3);
  const low = f.select(kind.eqz(), f.op(`${type}.eq`, x, y), f.op(`${type}.lt`, x, y));
  const high = f.select(kind.eq(2), f.op(`${type}.le`, x, y), never);
  return f.select(kind.ltU(2), low, high);
}

function packedCompare(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const predicate = s.read(2).wrap().and(7);
    const b = s.readV(1);
    const a = s.readV(0);
    const never = f.v128(new Array<number>(16).fill(0));
    const opposite = f.op('i32x4.splat', predicate.shrU(2).neg());
    const result = f.op('v128.xor', predicateOf(f, lanes.vector, a, b, predicate, never), opposite);
    s.writeV(
      0,
      directOr(s, ordinaryVectors(f, lanes, a, b), result, (mxcsr) =>
        s.helper(`sse.compare${lanes.format}`, a, b, predicate, mxcsr),
      ),
    );
  };
}

function scalarCompare(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const predicate = s.read(2).wrap().and(7);
    const b = readScalar(s, lanes, 1);
    const a = readScalar(s, lanes, 0);
    const [x, y] = [float(f, lanes, a), float(f, lanes, b)];
    const result = predicateOf(f, lanes.scalar, x, y, predicate, f.i32(0)).xor(predicate.shrU(2));
    const direct = ordinaryScalar(f, lanes, x).and(ordinaryScalar(f, lanes, y));
    const holds = directOr(s, direct, result, (mxcsr) =>
      s.helper(`float.predicate${lanes.format}`, a, b, predicate, mxcsr),
    );
    const mask = holds.neg();
    writeScalar(s, lanes, 0, lanes.integer === 'i64' ? mask.extS() : mask);
  };
}

function compareFlags(lanes: Lanes, signaling: 0 | 1): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const b = readScalar(s, lanes, 1);
    const a = readScalar(s, lanes, 0);
    const [x, y] = [float(f, lanes, a), float(f, lanes, b)];
    const relation = f.op(`${lanes.scalar}.lt`, x, y).or(f.op(`${lanes.scalar}.eq`, x, y).shl(6));
    const direct = ordinaryScalar(f, lanes, x).and(ordinaryScalar(f, lanes, y));
    const found = directOr(s, direct, relation, (mxcsr) =>
      s.helper(`float.compare${lanes.format}`, a, b, mxcsr, signaling),
    );
    s.setFlags({ CF: found.and(1), PF: found.shrU(2).and(1), ZF: found.shrU(6), AF: 0, SF: 0, OF: 0 });
  };
}

export const rows: readonly Row[] = [
  ['CMPPS', 'NP 0F C2', 'Vx+ Wx Ib', packedCompare(SINGLE)],
  ['CMPPD', '66 0F C2', 'Vx+ Wx Ib', packedCompare(DOUBLE)],
  ['CMPSS', 'F3 0F C2', 'Vx+ Wd Ib', scalarCompare(SINGLE)],
  ['CMPSD', 'F2 0F C2', 'Vx+ Wq Ib', scalarCompare(DOUBLE)],
  ['UCOMISS', 'NP 0F 2E', 'Vx Wd', compareFlags(SINGLE, 0)],
  ['UCOMISD', '66 0F 2E', 'Vx Wq', compareFlags(DOUBLE, 0), { hot: true }],
  ['COMISS', 'NP 0F 2F', 'Vx Wd', compareFlags(SINGLE, 1)],
  ['COMISD', '66 0F 2F', 'Vx Wq', compareFlags(DOUBLE, 1), { hot: true }],
];
