/** SSE conversions between integers, single and double precision: the CVT instructions of Intel SDM vol. 2. */
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { Semantics } from '../semantics.ts';
import {
  bitsOf,
  DOUBLE,
  enterMmx,
  fromLow,
  isDouble,
  type Lanes,
  laneBytes,
  readFloat,
  requireMmx,
  requireSse,
  SINGLE,
  shuffle,
  splatFloat,
  writeFloat,
} from './sse-common.ts';
import {
  type Check,
  directOr1,
  notFinite,
  unorderedVectors,
  unsettled,
  unusual,
  unusualVectors,
} from './sse-direct.ts';

const ROUND_TO_ZERO = 3 << 13;

/** CVTSI2SS, CVTSI2SD. */
function fromGeneral(to: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const source = s.read(1);
    const wide = s.size === 8;
    const value = wide ? source : source.sext(32);
    const direct = wide ? f.op(`${to.scalar}.convert_i64_s`, value) : f.op(`${to.scalar}.convert_i32_s`, source.wrap());
    // 32 bits always fit a double.
    if (!wide && isDouble(to)) {
      writeFloat(s, to, 0, direct);
      return;
    }
    const exact = isDouble(to) ? 2n ** 53n : 2n ** 24n;
    const rounds: Check = (_, slow) => {
      const mayRound = value.add(exact).gtU(2n * exact);
      f.if(mayRound, () => unsettled(s)(f, slow));
    };
    const slow = (mxcsr: Value): Value[] => s.helper(`sse.scalar.fromInteger${to.format}`, value, mxcsr);
    writeFloat(s, to, 0, directOr1(s, [rounds], direct, slow));
  };
}

const PE = 1 << 5;
const PE_MASKED = 1 << 12;
/** Leaves unless truncating may be inexact without anything new to report. */
function unsettledTruncation(s: Semantics): Check {
  return (f, slow) => {
    const bits = PE | PE_MASKED;
    f.brIf(slow, s.state('mxcsr').and(bits).ne(bits), false);
  };
}

/** CVTSS2SI, CVTTSS2SI and the double forms. Denormal operands are not reported: they are zero or rounded to zero. */
function toGeneral(from: Lanes, truncate: boolean): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const [, x] = readFloat(s, from, 1);
    const t = from.scalar;
    const rounded = truncate ? x : f.op(`${t}.nearest`, x);
    const limit = s.size === 8 ? 2 ** 63 : 2 ** 31;
    // Truncating cannot round up, so what is below the limit stays there.
    const range: Check = (_, slow) => {
      f.brIf(slow, f.op(`${t}.lt`, f.op(`${t}.abs`, rounded), f.constant(t, limit)).eqz(), false);
    };
    const value = f.op(`i64.trunc_sat_${t}_s`, rounded);
    const checks = [range, truncate ? unsettledTruncation(s) : unsettled(s)];
    s.write(
      0,
      directOr1(s, checks, value, (mxcsr) => {
        const control = truncate ? mxcsr.or(ROUND_TO_ZERO) : mxcsr;
        return s.helper(`sse.scalar.toInteger${from.format}`, x, s.size * 8, control, mxcsr);
      }),
    );
  };
}

/** CVTSS2SD, CVTSD2SS. */
function betweenScalars(from: Lanes): SemanticFunction {
  const narrows = isDouble(from);
  const to = narrows ? SINGLE : DOUBLE;
  return (s) => {
    requireSse(s);
    const { f } = s;
    const [a, x] = readFloat(s, from, 1);
    const result = f.op(narrows ? 'f32.demote_f64' : 'f64.promote_f32', x);
    const checks = narrows ? [unsettled(s), unusual(to, bitsOf(f, to, result), [a])] : [notFinite(from, a)];
    const slow = (mxcsr: Value): Value[] => s.helper(`sse.scalar.${narrows ? 'narrow' : 'widen'}`, x, mxcsr);
    writeFloat(s, to, 0, directOr1(s, checks, result, slow));
  };
}

/** CVTPS2PD, CVTPD2PS: two lanes. */
function betweenPacked(from: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const narrows = isDouble(from);
    const source = narrows ? s.readV(1) : fromLow(s.f, s.read64(1));
    const direct = s.f.op(narrows ? 'f32x4.demote_f64x2_zero' : 'f64x2.promote_low_f32x4', source);
    // A usual number comes of one; the lanes above are zeros, which are not.
    const twice = shuffle(s.f, laneBytes(8, [0, 0]), direct, direct);
    const checks = narrows
      ? [unsettled(s), unusualVectors(SINGLE, [], twice, false)]
      : [unorderedVectors(SINGLE, source, source)];
    const slow = (mxcsr: Value): Value[] => s.helper(`sse.${narrows ? 'narrow' : 'widen'}`, source, mxcsr);
    s.writeV(0, directOr1(s, checks, direct, slow));
  };
}

/** Rounds lanes to 32-bit integers: i32 lanes, of doubles two with zeros above. */
function lanesToIntegers(s: Semantics, from: Lanes, source: Value, truncate: boolean): Value {
  const { f } = s;
  const t = from.vector;
  const rounded = truncate ? source : f.op(`${t}.nearest`, source);
  const direct = isDouble(from)
    ? f.op('i32x4.trunc_sat_f64x2_s_zero', rounded)
    : f.op('i32x4.trunc_sat_f32x4_s', rounded);
  const range: Check = (_, slow) => {
    const within = f.op(`${t}.lt`, f.op(`${t}.abs`, rounded), splatFloat(f, from, 2 ** 31));
    f.brIf(slow, f.op(`${from.integers}.bitmask`, within).ne(2 ** from.count - 1), false);
  };
  const checks = [range, truncate ? unsettledTruncation(s) : unsettled(s)];
  return directOr1(s, checks, direct, (mxcsr) => {
    const control = truncate ? mxcsr.or(ROUND_TO_ZERO) : mxcsr;
    return s.helper(`sse.toIntegers${from.format}`, source, control, mxcsr);
  });
}

/** CVTPS2DQ, CVTPD2DQ and the truncating forms. */
function toIntegers(from: Lanes, truncate: boolean): SemanticFunction {
  return (s) => {
    requireSse(s);
    s.writeV(0, lanesToIntegers(s, from, s.readV(1), truncate));
  };
}

/** CVTPS2PI, CVTPD2PI and the truncating forms: two lanes to an MMX register. */
function toMmx(from: Lanes, truncate: boolean): SemanticFunction {
  return (s) => {
    requireSse(s);
    requireMmx(s);
    const source = isDouble(from) ? s.readV(1) : fromLow(s.f, s.read64(1));
    // Processors make the transition even where a floating-point exception then keeps the result away.
    enterMmx(s);
    const result = lanesToIntegers(s, from, source, truncate);
    s.writeM(0, s.f.lane('i64x2.extract_lane', [0], result));
  };
}

/** Converts 32-bit integers: four lanes to singles, the two low ones to doubles. */
function integersTo(s: Semantics, to: Lanes, source: Value): Value {
  const { f } = s;
  if (isDouble(to)) return f.op('f64x2.convert_low_i32x4_s', source);
  const direct = f.op('f32x4.convert_i32x4_s', source);
  return directOr1(s, [unsettled(s)], direct, (mxcsr) => s.helper('sse.fromIntegers', source, mxcsr));
}

const fromIntegers: SemanticFunction = (s) => {
  requireSse(s);
  s.writeV(0, integersTo(s, SINGLE, s.readV(1)));
};
const fromIntegersToDouble: SemanticFunction = (s) => {
  requireSse(s);
  s.writeV(0, integersTo(s, DOUBLE, fromLow(s.f, s.read64(1))));
};

/** CVTPI2PS, CVTPI2PD. From memory they leave the x87 alone. */
function fromMmx(to: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const x87 = !s.isMemory(1);
    if (x87) requireMmx(s);
    const source = s.readM(1);
    if (x87) enterMmx(s);
    const result = integersTo(s, to, fromLow(s.f, source));
    if (isDouble(to)) s.writeV(0, result);
    else s.write64(0, s.f.lane('i64x2.extract_lane', [0], result));
  };
}

export const rows: readonly Row[] = [
  ['CVTPI2PS', 'NP 0F 2A', 'Vx+ Qq', fromMmx(SINGLE)],
  ['CVTPI2PD', '66 0F 2A', 'Vx= Qq', fromMmx(DOUBLE)],
  ['CVTSI2SS', 'F3 0F 2A', 'Vx+ Ey', fromGeneral(SINGLE)],
  ['CVTSI2SD', 'F2 0F 2A', 'Vx+ Ey', fromGeneral(DOUBLE)],
  ['CVTTPS2PI', 'NP 0F 2C', 'Pq= Wq', toMmx(SINGLE, true)],
  ['CVTTPD2PI', '66 0F 2C', 'Pq= Wx', toMmx(DOUBLE, true)],
  ['CVTTSS2SI', 'F3 0F 2C', 'Gy= Wd', toGeneral(SINGLE, true)],
  ['CVTTSD2SI', 'F2 0F 2C', 'Gy= Wq', toGeneral(DOUBLE, true)],
  ['CVTPS2PI', 'NP 0F 2D', 'Pq= Wq', toMmx(SINGLE, false)],
  ['CVTPD2PI', '66 0F 2D', 'Pq= Wx', toMmx(DOUBLE, false)],
  ['CVTSS2SI', 'F3 0F 2D', 'Gy= Wd', toGeneral(SINGLE, false)],
  ['CVTSD2SI', 'F2 0F 2D', 'Gy= Wq', toGeneral(DOUBLE, false)],
  ['CVTPS2PD', 'NP 0F 5A', 'Vx= Wq', betweenPacked(SINGLE)],
  ['CVTPD2PS', '66 0F 5A', 'Vx= Wx', betweenPacked(DOUBLE)],
  ['CVTSS2SD', 'F3 0F 5A', 'Vx+ Wd', betweenScalars(SINGLE)],
  ['CVTSD2SS', 'F2 0F 5A', 'Vx+ Wq', betweenScalars(DOUBLE)],
  ['CVTDQ2PS', 'NP 0F 5B', 'Vx= Wx', fromIntegers],
  ['CVTPS2DQ', '66 0F 5B', 'Vx= Wx', toIntegers(SINGLE, false)],
  ['CVTTPS2DQ', 'F3 0F 5B', 'Vx= Wx', toIntegers(SINGLE, true)],
  ['CVTTPD2DQ', '66 0F E6', 'Vx= Wx', toIntegers(DOUBLE, true)],
  ['CVTPD2DQ', 'F2 0F E6', 'Vx= Wx', toIntegers(DOUBLE, false)],
  ['CVTDQ2PD', 'F3 0F E6', 'Vx= Wq', fromIntegersToDouble],
];
