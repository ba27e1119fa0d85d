/** SSE conversions between integers, single and double precision: the CVT instructions of Intel SDM vol. 2. */
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { Semantics } from '../semantics.ts';
import { combine } from '../softfloat/packed.ts';
import { directOr } from './sse-arithmetic.ts';
import {
  bitsOf,
  DOUBLE,
  enterMmx,
  float,
  fromLow,
  isDouble,
  type Lanes,
  lane,
  plainArithmetic,
  readScalar,
  reportExceptions,
  requireMmx,
  requireSse,
  SINGLE,
  withLane,
  writeScalar,
  zeroVector,
} from './sse-common.ts';

const ROUND_TO_ZERO = 3 << 13;
const other = (lanes: Lanes): Lanes => (isDouble(lanes) ? SINGLE : DOUBLE);

/** CVTSI2SS, CVTSI2SD. */
function fromGeneral(to: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const source = s.read(1);
    const value = s.size === 8 ? source : source.sext(32);
    const direct = bitsOf(f, to, f.op(`${to.scalar}.convert_i64_s`, value));
    // 32 bits always fit a double; otherwise the conversion may round.
    const exact = s.size !== 8 && isDouble(to) ? f.i32(1) : plainArithmetic(s.state('mxcsr'));
    writeScalar(
      s,
      to,
      0,
      directOr(s, exact, direct, (mxcsr) => s.helper(`float.fromInteger${to.format}`, value, mxcsr)),
    );
  };
}

/** CVTSS2SI, CVTTSS2SI and the double forms. */
function toGeneral(from: Lanes, truncate: boolean): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const a = readScalar(s, from, 1);
    const x = float(f, from, a);
    const t = from.scalar;
    const whole = f.op(`${t}.${truncate ? 'trunc' : 'nearest'}`, x);
    // The direct way where the value is an integer already, or rounding it would report nothing new.
    const limit = s.size === 8 ? 2 ** 63 : 2 ** 31;
    const inRange = f.op(`${t}.lt`, f.op(`${t}.abs`, whole), f.constant(t, limit));
    const mxcsr = s.state('mxcsr');
    const quiet = truncate ? mxcsr.and(0x1020).eq(0x1020) : plainArithmetic(mxcsr);
    const direct = inRange.and(f.op(`${t}.eq`, whole, x).or(quiet));
    const value = f.op(`i64.trunc_sat_${t}_s`, whole);
    s.write(
      0,
      directOr(s, direct, value, (control) =>
        s.helper(`float.toInteger${from.format}`, a, s.size * 8, truncate ? control.or(ROUND_TO_ZERO) : control),
      ),
    );
  };
}

/** CVTSS2SD, CVTSD2SS. */
function betweenScalars(from: Lanes): SemanticFunction {
  const to = other(from);
  return (s) => {
    requireSse(s);
    const { f } = s;
    const a = readScalar(s, from, 1);
    const x = float(f, from, a);
    const result = f.op(isDouble(from) ? 'f32.demote_f64' : 'f64.promote_f32', x);
    const magnitude = f.op(`${to.scalar}.abs`, result);
    const normal = f
      .op(`${to.scalar}.ge`, magnitude, f.constant(to.scalar, 2 ** -125))
      .and(f.op(`${to.scalar}.lt`, magnitude, f.constant(to.scalar, Number.POSITIVE_INFINITY)));
    const direct = isDouble(from) ? normal.and(plainArithmetic(s.state('mxcsr'))) : normal;
    writeScalar(
      s,
      to,
      0,
      directOr(s, direct, bitsOf(f, to, result), (mxcsr) =>
        s.helper(`float.convert${from.format}to${to.format}`, a, mxcsr),
      ),
    );
  };
}

/** Converts `count` lanes one by one; what is above them is zero. */
function lanewise(s: Semantics, to: Lanes, count: number, mxcsr: Value, one: (i: number) => readonly Value[]): Value {
  let result = zeroVector(s.f);
  const flags: Value[] = [];
  for (let i = 0; i < count; i++) {
    const [value, status] = one(i) as [Value, Value];
    result = withLane(s.f, to, result, i, value);
    flags.push(status);
  }
  reportExceptions(s, mxcsr, combine(s.f, flags, mxcsr));
  return result;
}

/** CVTPS2PD, CVTPD2PS: two lanes. */
function betweenPacked(from: Lanes): SemanticFunction {
  const to = other(from);
  return (s) => {
    requireSse(s);
    const mxcsr = s.state('mxcsr');
    const source = isDouble(from) ? s.readV(1) : fromLow(s.f, s.read64(1));
    const helper = `float.convert${from.format}to${to.format}`;
    s.writeV(
      0,
      lanewise(s, to, 2, mxcsr, (i) => s.helper(helper, lane(s.f, from, source, i), mxcsr)),
    );
  };
}

/** Rounds `count` lanes to 32-bit integers: i32 lanes, zero above. */
function lanesToIntegers(s: Semantics, from: Lanes, source: Value, count: number, truncate: boolean): Value {
  const mxcsr = s.state('mxcsr');
  const control = truncate ? mxcsr.or(ROUND_TO_ZERO) : mxcsr;
  return lanewise(s, SINGLE, count, mxcsr, (i) => {
    const [value, flags] = s.helper(`float.toInteger${from.format}`, lane(s.f, from, source, i), 32, control) as [
      Value,
      Value,
    ];
    return [value.wrap(), flags];
  });
}

/** CVTPS2DQ, CVTPD2DQ and the truncating forms. */
function toIntegers(from: Lanes, truncate: boolean): SemanticFunction {
  return (s) => {
    requireSse(s);
    s.writeV(0, lanesToIntegers(s, from, s.readV(1), from.count, truncate));
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
    const result = lanesToIntegers(s, from, source, 2, truncate);
    s.writeM(0, s.f.lane('i64x2.extract_lane', [0], result));
  };
}

/** Converts 32-bit integers in the low lanes of `source`. */
function integersTo(s: Semantics, to: Lanes, source: Value, count: number): Value {
  const { f } = s;
  if (isDouble(to)) return f.op('f64x2.convert_low_i32x4_s', source);
  const mxcsr = s.state('mxcsr');
  const direct = f.op('f32x4.convert_i32x4_s', source);
  const result = f.variable('v128', direct);
  f.if(
    plainArithmetic(mxcsr).eqz(),
    () => {
      const lanes = lanewise(s, to, count, mxcsr, (i) => {
        const value = f.lane('i32x4.extract_lane', [i], source).extS();
        return s.helper('float.fromInteger32', value, mxcsr);
      });
      result.set(lanes);
    },
    undefined,
    false,
  );
  return result.get();
}

const fromIntegers: SemanticFunction = (s) => {
  requireSse(s);
  s.writeV(0, integersTo(s, SINGLE, s.readV(1), 4));
};
const fromIntegersToDouble: SemanticFunction = (s) => {
  requireSse(s);
  s.writeV(0, integersTo(s, DOUBLE, fromLow(s.f, s.read64(1)), 2));
};

/** CVTPI2PS, CVTPI2PD. From memory they leave the x87 alone. */
function fromMmx(to: Lanes): SemanticFunction {
  return (s) => {
    requireSse(s);
    const x87 = !s.isMemory(1);
    if (x87) requireMmx(s);
    const source = s.readM(1);
    if (x87) enterMmx(s);
    const result = integersTo(s, to, fromLow(s.f, source), 2);
    if (isDouble(to)) s.writeV(0, result);
    else s.write64(0, s.f.lane('i64x2.extract_lane', [0], result));
  };
}

export const rows: readonly Row[] = [
  ['CVTPI2PS', 'NP 0F 2A', 'Vx+ Qq', fromMmx(SINGLE)],
  ['CVTPI2PD', '66 0F 2A', 'Vx= Qq', fromMmx(DOUBLE)],
  ['CVTSI2SS', 'F3 0F 2A', 'Vx+ Ey', fromGeneral(SINGLE)],
  ['CVTSI2SD', 'F2 0F 2A', 'Vx+ Ey', fromGeneral(DOUBLE), { hot: true }],
  ['CVTTPS2PI', 'NP 0F 2C', 'Pq= Wq', toMmx(SINGLE, true)],
  ['CVTTPD2PI', '66 0F 2C', 'Pq= Wx', toMmx(DOUBLE, true)],
  ['CVTTSS2SI', 'F3 0F 2C', 'Gy= Wd', toGeneral(SINGLE, true)],
  ['CVTTSD2SI', 'F2 0F 2C', 'Gy= Wq', toGeneral(DOUBLE, true), { hot: true }],
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
