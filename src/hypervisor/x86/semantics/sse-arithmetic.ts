/**
 * SSE floating-point arithmetic: sums, products, quotients, roots, extremes, horizontal forms, rounding, dot products and
 * the approximations. Intel SDM vol. 2, the instructions' pages; vol. 1, 11.5 and 12.8 for exceptions.
 *
 * The WebAssembly operation is used where it gives the processor's result and nothing new in MXCSR: see
 * plainArithmetic(), and operands and result must be normal numbers. Everything else goes through softfloat/.
 */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { Semantics } from '../semantics.ts';
import { Exception } from '../softfloat/format.ts';
import {
  bitsOf,
  DOUBLE,
  float,
  type Lanes,
  lane,
  laneBytes,
  plainArithmetic,
  readScalar,
  reportExceptions,
  requireSse,
  SINGLE,
  shuffle,
  splatFloat,
  withLane,
  writeScalar,
  zeroVector,
} from './sse-common.ts';

/** A product or quotient that rounds to the smallest normal number may still be tiny: the direct path asks for twice that. */
function smallestResult(lanes: Lanes): number {
  return lanes.smallest * 2;
}

/** 1 where all of these floating-point values are normal numbers; `result` may not be infinite or a NaN either. */
function normalScalars(f: FunctionBuilder, lanes: Lanes, operands: readonly Value[], result: Value): Value {
  const t = lanes.scalar;
  const constant = (n: number): Value => f.constant(t, n);
  const magnitude = f.op(`${t}.abs`, result);
  const finite = f
    .op(`${t}.ge`, magnitude, constant(smallestResult(lanes)))
    .and(f.op(`${t}.lt`, magnitude, constant(Number.POSITIVE_INFINITY)));
  return operands.reduce((all, x) => all.and(f.op(`${t}.ge`, f.op(`${t}.abs`, x), constant(lanes.smallest))), finite);
}

function normalVectors(f: FunctionBuilder, lanes: Lanes, operands: readonly Value[], result: Value): Value {
  const t = lanes.vector;
  const magnitude = f.op(`${t}.abs`, result);
  let all = f.op(
    'v128.and',
    f.op(`${t}.ge`, magnitude, splatFloat(f, lanes, smallestResult(lanes))),
    f.op(`${t}.lt`, magnitude, splatFloat(f, lanes, Number.POSITIVE_INFINITY)),
  );
  for (const x of operands)
    all = f.op('v128.and', all, f.op(`${t}.ge`, f.op(`${t}.abs`, x), splatFloat(f, lanes, lanes.smallest)));
  return f.op(`${lanes.integers}.all_true`, all);
}

/** The direct result where `direct` holds, else that of a helper that gives a result and flags. */
export function directOr(s: Semantics, direct: Value, result: Value, slow: (mxcsr: Value) => readonly Value[]): Value {
  const { f } = s;
  const chosen = f.variable(result.type, result);
  f.if(
    direct.eqz(),
    () => {
      const mxcsr = s.state('mxcsr');
      const [exact, flags] = slow(mxcsr) as [Value, Value];
      reportExceptions(s, mxcsr, flags);
      chosen.set(exact);
    },
    undefined,
    false,
  );
  return chosen.get();
}

function scalarArithmetic(lanes: Lanes, name: string): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const b = readScalar(s, lanes, 1);
    const a = readScalar(s, lanes, 0);
    const [x, y] = [float(f, lanes, a), float(f, lanes, b)];
    const result = f.op(`${lanes.scalar}.${name}`, x, y);
    const direct = plainArithmetic(s.state('mxcsr')).and(normalScalars(f, lanes, [x, y], result));
    const slow = (mxcsr: Value): Value[] => s.helper(`float.${name}${lanes.format}`, a, b, mxcsr);
    writeScalar(s, lanes, 0, directOr(s, direct, bitsOf(f, lanes, result), slow));
  };
}

function packedArithmetic(lanes: Lanes, name: string): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const b = s.readV(1);
    const a = s.readV(0);
    const result = f.op(`${lanes.vector}.${name}`, a, b);
    const direct = plainArithmetic(s.state('mxcsr')).and(normalVectors(f, lanes, [a, b], result));
    s.writeV(
      0,
      directOr(s, direct, result, (mxcsr) => s.helper(`sse.${name}${lanes.format}`, a, b, mxcsr)),
    );
  };
}

function scalarRoot(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const a = readScalar(s, lanes, 1);
    const x = float(f, lanes, a);
    const result = f.op(`${lanes.scalar}.sqrt`, x);
    const direct = plainArithmetic(s.state('mxcsr')).and(normalScalars(f, lanes, [x], result));
    const slow = (mxcsr: Value): Value[] => s.helper(`float.sqrt${lanes.format}`, a, mxcsr);
    writeScalar(s, lanes, 0, directOr(s, direct, bitsOf(f, lanes, result), slow));
  };
}

function packedRoot(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const a = s.readV(1);
    const result = f.op(`${lanes.vector}.sqrt`, a);
    const direct = plainArithmetic(s.state('mxcsr')).and(normalVectors(f, lanes, [a], result));
    s.writeV(
      0,
      directOr(s, direct, result, (mxcsr) => s.helper(`sse.sqrt${lanes.format}`, a, mxcsr)),
    );
  };
}

/** 1 where a scalar is neither a NaN nor a denormal: comparing such raises nothing, whatever MXCSR says. */
export function ordinaryScalar(f: FunctionBuilder, lanes: Lanes, x: Value): Value {
  const t = lanes.scalar;
  const normal = f.op(`${t}.ge`, f.op(`${t}.abs`, x), f.constant(t, lanes.smallest));
  return normal.or(f.op(`${t}.eq`, x, f.constant(t, 0)));
}
export function ordinaryVectors(f: FunctionBuilder, lanes: Lanes, a: Value, b: Value): Value {
  const t = lanes.vector;
  const one = (x: Value): Value =>
    f.op(
      'v128.or',
      f.op(`${t}.ge`, f.op(`${t}.abs`, x), splatFloat(f, lanes, lanes.smallest)),
      f.op(`${t}.eq`, x, zeroVector(f)),
    );
  return f.op(`${lanes.integers}.all_true`, f.op('v128.and', one(a), one(b)));
}

/** MIN and MAX give the second operand unless the first is really less or greater: pmin and pmax with operands exchanged. */
function scalarExtreme(lanes: Lanes, name: 'min' | 'max'): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const b = readScalar(s, lanes, 1);
    const a = readScalar(s, lanes, 0);
    const [x, y] = [float(f, lanes, a), float(f, lanes, b)];
    const result = f.select(f.op(`${lanes.scalar}.${name === 'min' ? 'lt' : 'gt'}`, x, y), a, b);
    const direct = ordinaryScalar(f, lanes, x).and(ordinaryScalar(f, lanes, y));
    const slow = (mxcsr: Value): Value[] => s.helper(`float.${name}${lanes.format}`, a, b, mxcsr);
    writeScalar(s, lanes, 0, directOr(s, direct, result, slow));
  };
}

function packedExtreme(lanes: Lanes, name: 'min' | 'max'): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const b = s.readV(1);
    const a = s.readV(0);
    const result = f.op(`${lanes.vector}.p${name}`, b, a);
    s.writeV(
      0,
      directOr(s, ordinaryVectors(f, lanes, a, b), result, (mxcsr) =>
        s.helper(`sse.${name}${lanes.format}`, a, b, mxcsr),
      ),
    );
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
    const direct = plainArithmetic(s.state('mxcsr')).and(normalVectors(f, lanes, [x, y], result));
    s.writeV(
      0,
      directOr(s, direct, result, (mxcsr) => s.helper(`sse.${name}${lanes.format}`, a, b, mxcsr)),
    );
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

function scalarRound(lanes: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const immediate = s.read(2).wrap();
    const a = readScalar(s, lanes, 1);
    const [bits, flags] = s.helper(`float.roundToIntegral${lanes.format}`, a, roundingControl(s, immediate)) as [
      Value,
      Value,
    ];
    reportExceptions(s, s.state('mxcsr'), roundingFlags(s, immediate, flags));
    writeScalar(s, lanes, 0, bits);
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
    const [vector, flags] = s.helper(`sse.dotProduct${lanes.format}`, s.readV(0), b, immediate, mxcsr) as [
      Value,
      Value,
    ];
    reportExceptions(s, mxcsr, flags);
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

/** On double-precision scalars. */
const HOT: ReadonlySet<string> = new Set(['ADD', 'MUL', 'SUB']);

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
    [`${name}SD`, `F2 0F ${opcode}`, 'Vx+ Wq', scalar(DOUBLE), { hot: HOT.has(name) }],
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
