/**
 * SSE floating-point arithmetic: sums, products, quotients, roots, extremes, horizontal forms, rounding, dot products and
 * the approximations. Intel SDM vol. 2, the instructions' pages; vol. 1, 11.5 and 12.8 for exceptions.
 *
 * The WebAssembly operation is used where it gives the processor's result and nothing new in MXCSR: see sse-direct.ts.
 * Everything else goes through softfloat/.
 */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { Semantics } from '../semantics.ts';
import { Exception } from '../softfloat/format.ts';
import { settle } from '../softfloat/settled.ts';
import {
  bitsOf,
  DOUBLE,
  float,
  known,
  type Lanes,
  lane,
  laneBytes,
  raiseUnmasked,
  readFloat,
  reportExceptions,
  requireSse,
  SINGLE,
  shuffle,
  withLane,
  writeFloat,
  zeroVector,
} from './sse-common.ts';
import { comparable, comparableVectors } from './sse-compare.ts';
import { denormal, directOr1, notFinite, notRootable, unsettled, unusual, unusualVectors } from './sse-direct.ts';

/** A sum of zero is exact, a product or a quotient need not be. */
const isSum = (name: string): boolean => name === 'add' || name === 'sub';

function scalarArithmetic(lanes: Lanes, name: string): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const [b, y] = readFloat(s, lanes, 1);
    const [a, x] = readFloat(s, lanes, 0);
    const result = f.op(`${lanes.scalar}.${name}`, x, y);
    const factors = isSum(name) ? [] : name === 'div' ? [a] : [a, b];
    const checks = [
      unsettled(s),
      denormal(lanes, a),
      denormal(lanes, b),
      unusual(lanes, bitsOf(f, lanes, result), factors),
    ];
    const slow = (mxcsr: Value): Value[] => s.helper(`sse.scalar.${name}${lanes.format}`, x, y, mxcsr);
    writeFloat(s, lanes, 0, directOr1(s, checks, result, slow));
  };
}

function packedArithmetic(lanes: Lanes, name: string): SemanticFunction {
  return (s) => {
    requireSse(s);
    const b = s.readV(1);
    const a = s.readV(0);
    const result = s.f.op(`${lanes.vector}.${name}`, a, b);
    const checks = [unsettled(s), unusualVectors(lanes, [a, b], result, isSum(name))];
    const slow = (mxcsr: Value): Value[] => s.helper(`sse.${name}${lanes.format}`, a, b, mxcsr);
    s.writeV(0, directOr1(s, checks, result, slow));
  };
}

/** A root is as ordinary as its operand. */
function scalarRoot(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const [a, x] = readFloat(s, lanes, 1);
    const result = s.f.op(`${lanes.scalar}.sqrt`, x);
    const slow = (mxcsr: Value): Value[] => s.helper(`sse.scalar.sqrt${lanes.format}`, x, mxcsr);
    writeFloat(s, lanes, 0, directOr1(s, [unsettled(s), notRootable(lanes, a)], result, slow));
  };
}

function packedRoot(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const a = s.readV(1);
    const result = s.f.op(`${lanes.vector}.sqrt`, a);
    const checks = [unsettled(s), unusualVectors(lanes, [a], result, true)];
    const slow = (mxcsr: Value): Value[] => s.helper(`sse.sqrt${lanes.format}`, a, mxcsr);
    s.writeV(0, directOr1(s, checks, result, slow));
  };
}

/** MIN and MAX give the second operand unless the first is really less or greater: pmin and pmax with operands exchanged. */
function scalarExtreme(lanes: Lanes, name: 'min' | 'max'): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const [x, y] = comparable(s, lanes, 1);
    const spread = (v: Value): Value => f.op(`${lanes.vector}.splat`, v);
    const result = f.op(`${lanes.vector}.p${name}`, spread(y), spread(x));
    writeFloat(s, lanes, 0, f.lane(`${lanes.vector}.extract_lane`, [0], result));
  };
}

function packedExtreme(lanes: Lanes, name: 'min' | 'max'): SemanticFunction {
  return (s) => {
    requireSse(s);
    const [a, b] = comparableVectors(s, lanes, s.f.i32(1));
    s.writeV(0, s.f.op(`${lanes.vector}.p${name}`, b, a));
  };
}

/** ADDSUB, HADD and HSUB: an addition of two rearranged vectors, the second with some signs changed. */
function rearranged(
  lanes: Lanes,
  name: 'addsub' | 'hadd' | 'hsub',
  arrange: (f: FunctionBuilder, a: Value, b: Value) => readonly [Value, Value],
): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const b = s.readV(1);
    const a = s.readV(0);
    const [x, y] = arrange(f, a, b);
    const result = f.op(`${lanes.vector}.add`, x, y);
    const checks = [unsettled(s), unusualVectors(lanes, [x, y], result, true)];
    const slow = (mxcsr: Value): Value[] => s.helper(`sse.${name}${lanes.format}`, a, b, mxcsr);
    s.writeV(0, directOr1(s, checks, result, slow));
  };
}

function alternate(f: FunctionBuilder, lanes: Lanes, a: Value, b: Value): readonly [Value, Value] {
  const { count } = lanes;
  const width = 16 / count;
  // -0.0 in the even lanes.
  const signs = Array.from({ length: 16 }, (_, i) =>
    i % width === width - 1 && Math.floor(i / width) % 2 === 0 ? 0x80 : 0,
  );
  return [a, f.op('v128.xor', b, f.v128(signs))];
}
function neighbours(f: FunctionBuilder, lanes: Lanes, a: Value, b: Value, negate: boolean): readonly [Value, Value] {
  const { count } = lanes;
  const numbers = Array.from({ length: count }, (_, i) => 2 * i);
  const even = shuffle(f, laneBytes(16 / count, numbers), a, b);
  const odd = shuffle(
    f,
    laneBytes(
      16 / count,
      numbers.map((n) => n + 1),
    ),
    a,
    b,
  );
  return [even, negate ? f.op(`${lanes.vector}.neg`, odd) : odd];
}

/** MXCSR with the rounding of a ROUND immediate: bit 2 keeps MXCSR's. */
function roundingControl(s: Semantics, immediate: Value): Value {
  const mxcsr = s.state('mxcsr');
  const own = mxcsr.and(~0x6000).or(immediate.and(3).shl(13));
  return s.f.select(immediate.and(4).ne(0), mxcsr, own);
}
/** Bit 3 of the immediate keeps the precision exception away. */
function roundingFlags(s: Semantics, immediate: Value, flags: Value): Value {
  return flags.and(s.f.select(immediate.and(8).ne(0), ~Exception.PE, s.f.i32(-1)));
}

/** The WebAssembly operation of a ROUND immediate that is known; bit 2 takes MXCSR's rounding, which is to nearest then. */
function roundingOperation(immediate: number): string {
  return immediate & 4 ? 'nearest' : (['nearest', 'floor', 'ceil', 'trunc'][immediate & 3] as string);
}

function scalarRound(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const immediate = s.read(2).wrap();
    const [a, x] = readFloat(s, lanes, 1);
    const slowly = (): [Value, Value] =>
      s.helper(`float.roundToIntegral${lanes.format}`, a, roundingControl(s, immediate)) as [Value, Value];
    const finish = ([bits, flags]: [Value, Value]): readonly Value[] => {
      const mxcsr = s.state('mxcsr');
      const next = settle(s.f, roundingFlags(s, immediate, flags), mxcsr);
      return [float(s.f, lanes, bits), next];
    };
    const constant = known(immediate);
    if (constant === undefined) {
      const [value, next] = finish(slowly()) as [Value, Value];
      raiseUnmasked(s, next);
      writeFloat(s, lanes, 0, value);
      return;
    }
    const direct = s.f.op(`${lanes.scalar}.${roundingOperation(constant)}`, x);
    // Where nothing is reported and the rounding is the immediate's own, MXCSR does not matter.
    const checks = constant & 8 && !(constant & 4) ? [] : [unsettled(s)];
    writeFloat(
      s,
      lanes,
      0,
      directOr1(s, [...checks, notFinite(lanes, a)], direct, () => finish(slowly())),
    );
  };
}
function packedRound(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const immediate = s.read(2).wrap();
    const [vector, flags] = s.helper(`sse.round${lanes.format}`, s.readV(1), roundingControl(s, immediate)) as [
      Value,
      Value,
    ];
    reportExceptions(s, s.state('mxcsr'), roundingFlags(s, immediate, flags));
    s.writeV(0, vector);
  };
}

function dotProduct(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const immediate = s.read(2).wrap();
    const b = s.readV(1);
    const mxcsr = s.state('mxcsr');
    const [vector, next] = s.helper(`sse.dotProduct${lanes.format}`, s.readV(0), b, immediate, mxcsr) as [Value, Value];
    raiseUnmasked(s, next);
    s.writeV(0, vector);
  };
}

/**
 * RCP and RSQRT: processors differ in the last bits (relative error below 1.5 x 2^-12). Here: the exact value rounded to
 * 12 significant bits. Denormal operands count as zeros, denormal results become zeros, nothing is reported. RCP's results
 * around the smallest normal number may be taken for denormal ones (SDM vol. 2, RCPPS): from 2^126 on, as in Intel's.
 */
function approximate(f: FunctionBuilder, bits: Value, root: boolean): Value {
  const sign = bits.and(0x80000000);
  const magnitude = bits.and(0x7fffffff);
  const nan = magnitude.gtU(0x7f800000);
  const zero = magnitude.ltU(0x00800000);
  const x = f.op('f32.reinterpret_i32', bits);
  const one = f.constant('f32', 1);
  const exact = f.op('f32.div', one, root ? f.op('f32.sqrt', x) : x);
  const rounded = f.op('i32.reinterpret_f32', exact).add(0x800).and(0xfffff000);
  const tiny = root ? f.i32(0) : magnitude.geU(0x7e800000);
  const finite = f.select(tiny, sign, rounded);
  const positive = root ? f.select(sign.ne(0), 0xffc00000, finite) : finite;
  return f.select(nan, bits.or(0x00400000), f.select(zero, sign.or(0x7f800000), positive));
}
function scalarApproximation(root: boolean): SemanticFunction {
  return (s) => {
    requireSse(s);
    s.write32(0, approximate(s.f, s.read32(1), root));
  };
}
function packedApproximation(root: boolean): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const source = s.readV(1);
    let result = zeroVector(f);
    for (let i = 0; i < 4; i++)
      result = withLane(f, SINGLE, result, i, approximate(f, lane(f, SINGLE, source, i), root));
    s.writeV(0, result);
  };
}
/** Results are compared with a processor's within a relative error of 3 x 2^-12. */
const APPROXIMATE = { undefined: 'APPROXIMATE' } as const;

/** One operation in its four forms: PS, PD, SS, SD. */
function forms(
  name: string,
  opcode: string,
  packed: (lanes: Lanes) => SemanticFunction,
  scalar: (lanes: Lanes) => SemanticFunction,
  destination: '+' | '=' = '+',
): Row[] {
  return [
    [`${name}PS`, `NP 0F ${opcode}`, `Vx${destination} Wx`, packed(SINGLE)],
    [`${name}PD`, `66 0F ${opcode}`, `Vx${destination} Wx`, packed(DOUBLE)],
    [`${name}SS`, `F3 0F ${opcode}`, 'Vx+ Wd', scalar(SINGLE)],
    [`${name}SD`, `F2 0F ${opcode}`, 'Vx+ Wq', scalar(DOUBLE)],
  ];
}
const arithmetic = (mnemonic: string, opcode: string, name: string): Row[] =>
  forms(
    mnemonic,
    opcode,
    (l) => packedArithmetic(l, name),
    (l) => scalarArithmetic(l, name),
  );
const extreme = (mnemonic: string, opcode: string, name: 'min' | 'max'): Row[] =>
  forms(
    mnemonic,
    opcode,
    (l) => packedExtreme(l, name),
    (l) => scalarExtreme(l, name),
  );

function horizontal(mnemonic: string, opcode: string, name: 'addsub' | 'hadd' | 'hsub'): Row[] {
  const semantics = (lanes: Lanes): SemanticFunction =>
    rearranged(lanes, name, (f, a, b) =>
      name === 'addsub' ? alternate(f, lanes, a, b) : neighbours(f, lanes, a, b, name === 'hsub'),
    );
  return [
    [`${mnemonic}PD`, `66 0F ${opcode}`, 'Vx+ Wx', semantics(DOUBLE)],
    [`${mnemonic}PS`, `F2 0F ${opcode}`, 'Vx+ Wx', semantics(SINGLE)],
  ];
}

export const rows: readonly Row[] = [
  ...arithmetic('ADD', '58', 'add'),
  ...arithmetic('MUL', '59', 'mul'),
  ...arithmetic('SUB', '5C', 'sub'),
  ...arithmetic('DIV', '5E', 'div'),
  ...extreme('MIN', '5D', 'min'),
  ...extreme('MAX', '5F', 'max'),
  ...forms('SQRT', '51', packedRoot, scalarRoot, '='),
  ...horizontal('ADDSUB', 'D0', 'addsub'),
  ...horizontal('HADD', '7C', 'hadd'),
  ...horizontal('HSUB', '7D', 'hsub'),
  ['RSQRTPS', 'NP 0F 52', 'Vx= Wx', packedApproximation(true), APPROXIMATE],
  ['RSQRTSS', 'F3 0F 52', 'Vx+ Wd', scalarApproximation(true), APPROXIMATE],
  ['RCPPS', 'NP 0F 53', 'Vx= Wx', packedApproximation(false), APPROXIMATE],
  ['RCPSS', 'F3 0F 53', 'Vx+ Wd', scalarApproximation(false), APPROXIMATE],
  ['ROUNDPS', '66 0F 3A 08', 'Vx= Wx Ib', packedRound(SINGLE)],
  ['ROUNDPD', '66 0F 3A 09', 'Vx= Wx Ib', packedRound(DOUBLE)],
  ['ROUNDSS', '66 0F 3A 0A', 'Vx+ Wd Ib', scalarRound(SINGLE)],
  ['ROUNDSD', '66 0F 3A 0B', 'Vx+ Wq Ib', scalarRound(DOUBLE)],
  ['DPPS', '66 0F 3A 40', 'Vx+ Wx Ib', dotProduct(SINGLE)],
  ['DPPD', '66 0F 3A 41', 'Vx+ Wx Ib', dotProduct(DOUBLE)],
];
