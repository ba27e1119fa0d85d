/**
 * Software floating point, the core: unpacking, 64-bit significand arithmetic with 64 extra bits, rounding and packing.
 * The interface and the representation are described in format.ts.
 */
import type { Callee, FunctionBuilder } from '../../wasm/function.ts';
import type { ValueType } from '../../wasm/opcodes.ts';
import type { Value } from '../../wasm/value.ts';
import {
  Control,
  Exception,
  FORMATS,
  type Format,
  type HelperDefinition,
  INFINITE_EXPONENT,
  Kind,
  minimumExponent,
  Rounding,
  TOP_BIT,
  ZERO_EXPONENT,
} from './format.ts';

const QUIET_BIT = 1n << 62n;
/** What an unmasked x87 overflow or underflow moves the exponent by: Intel SDM vol. 1, 8.5.4 and 8.5.5. */
const EXPONENT_WRAP = 24576;

/** 1 where exception `flag` is masked in `control`. */
export function masked(control: Value, flag: number): Value {
  return control.shrU(Control.MASK_SHIFT + Math.log2(flag)).and(1);
}

/** i32 1 where a non-zero: normalises any integer value to a truth value of type i64. */
function sticky(value: Value): Value {
  return value.ne(0).extU();
}

/** Adds each flag where its i32 truth value holds. */
export function flagWhere(truth: Value, flag: number): Value {
  return truth.shl(Math.log2(flag));
}

function unpack(format: Format): HelperDefinition {
  return {
    name: `float.unpack${format.name}`,
    type: { params: [...format.types, 'i32'], results: ['i32', 'i32', 'i32', 'i64'] },
    build(f) {
      const control = f.param(format.types.length);
      let sign: Value;
      let field: Value;
      let fraction: Value;
      if (format.name === '80') {
        const head = f.param(1);
        sign = head.shrU(15).and(1);
        field = head.and(0x7fff);
        fraction = f.param(0);
      } else if (format.name === '64') {
        const bits = f.param(0);
        sign = bits.shrU(63).wrap();
        field = bits.shrU(52).wrap().and(0x7ff);
        fraction = bits.shl(11).and(TOP_BIT - 1n);
      } else {
        const bits = f.param(0);
        sign = bits.shrU(31);
        field = bits.shrU(23).and(0xff);
        fraction = bits
          .extU()
          .shl(40)
          .and(TOP_BIT - 1n);
      }
      const extended = format.name === '80';
      f.if(
        field.eqz(),
        () => {
          f.if(fraction.eqz(), () => f.return(Kind.ZERO, sign, ZERO_EXPONENT, 0n));
          if (!extended) f.if(control.and(Control.DAZ).ne(0), () => f.return(Kind.ZERO, sign, ZERO_EXPONENT, 0n));
          const shift = fraction.clz();
          f.return(Kind.DENORMAL, sign, f.i32(minimumExponent(format)).sub(shift.wrap()), fraction.shl(shift));
        },
        undefined,
        false,
      );
      if (extended) f.if(fraction.geS(0), () => f.return(Kind.UNSUPPORTED, sign, INFINITE_EXPONENT, TOP_BIT));
      const significand = fraction.or(TOP_BIT);
      f.if(
        field.eq(format.maximumField),
        () => {
          f.if(significand.eq(TOP_BIT), () => f.return(Kind.INFINITY, sign, INFINITE_EXPONENT, TOP_BIT));
          const kind = f.select(significand.and(QUIET_BIT).ne(0), Kind.QNAN, Kind.SNAN);
          f.return(kind, sign, INFINITE_EXPONENT, significand);
        },
        undefined,
        false,
      );
      f.return(Kind.NORMAL, sign, field.sub(format.bias), significand);
    },
  };
}

const shiftRightJam: HelperDefinition = {
  name: 'float.shiftRightJam',
  type: { params: ['i64', 'i64', 'i32'], results: ['i64', 'i64'] },
  build(f) {
    const [high, low, count] = [f.param(0), f.param(1), f.param(2)];
    f.if(count.eqz(), () => f.return(high, low));
    f.if(count.geU(128), () => f.return(0n, sticky(high.or(low))));
    const n = count.extU();
    // Shift counts are taken modulo 64, so 64 - n and 128 - n are both -n.
    const back = n.neg();
    f.if(
      count.geU(64),
      () => {
        const out = f.select(count.eq(64), 0n, high.shl(back));
        f.return(0n, high.shrU(n).or(sticky(low.or(out))));
      },
      () =>
        f.return(
          high.shrU(n),
          low
            .shrU(n)
            .or(high.shl(back))
            .or(sticky(low.shl(back))),
        ),
    );
  },
};

const multiply: HelperDefinition = {
  name: 'float.multiply',
  type: { params: ['i64', 'i64'], results: ['i64', 'i64'] },
  build(f) {
    const [a, b] = [f.param(0), f.param(1)];
    const [al, ah, bl, bh] = [a.zext(32), a.shrU(32), b.zext(32), b.shrU(32)];
    const low = al.mul(bl);
    const middle = ah.mul(bl).add(low.shrU(32));
    const cross = al.mul(bh).add(middle.zext(32));
    f.return(ah.mul(bh).add(middle.shrU(32)).add(cross.shrU(32)), a.mul(b));
  },
};

/** One 32-bit digit of a quotient: Knuth's algorithm D with a two-digit divisor. */
function quotientDigit(f: FunctionBuilder, rest: Value, next: Value, divisor: Value): [digit: Value, rest: Value] {
  const [top, bottom] = [divisor.shrU(32), divisor.zext(32)];
  const digit = f.variable('i64', rest.divU(top));
  const remainder = f.variable('i64', rest.sub(digit.get().mul(top)));
  const tooLarge = (): Value =>
    digit
      .get()
      .shrU(32)
      .ne(0)
      .or(digit.get().mul(bottom).gtU(remainder.get().shl(32).or(next)));
  const correct = (): void => {
    digit.set(digit.get().sub(1n));
    remainder.set(remainder.get().add(top));
  };
  f.if(tooLarge(), () => {
    correct();
    f.if(remainder.get().shrU(32).eqz().and(tooLarge()), correct);
  });
  const found = digit.get();
  return [found, rest.shl(32).or(next).sub(found.mul(divisor))];
}

const divide: HelperDefinition = {
  name: 'float.divide',
  type: { params: ['i64', 'i64', 'i64'], results: ['i64', 'i64'] },
  build(f) {
    const [high, low, divisor] = [f.param(0), f.param(1), f.param(2)];
    const [first, rest] = quotientDigit(f, high, low.shrU(32), divisor);
    const [second, remainder] = quotientDigit(f, rest, low.zext(32), divisor);
    f.return(first.shl(32).or(second), remainder);
  },
};

const round: HelperDefinition = {
  name: 'float.round',
  type: { params: ['i32', 'i64', 'i64', 'i32', 'i32'], results: ['i64', 'i32', 'i32'] },
  build(f) {
    const [sign, significand, extra, precision, rc] = [f.param(0), f.param(1), f.param(2), f.param(3), f.param(4)];
    const drop = f.i32(64).sub(precision).extU();
    const unit = f.i64(1).shl(drop);
    const below = significand.and(unit.sub(1n));
    const rest = f.select(drop.eqz(), extra, below.shl(precision.extU()).or(sticky(extra)));
    const base = significand.xor(below);
    const odd = significand.and(unit).ne(0);
    const inexact = rest.ne(0);
    const nearest = rest.gtU(TOP_BIT).or(rest.eq(TOP_BIT).and(odd));
    // Toward one infinity: away from zero where the sign agrees.
    const directed = inexact.and(rc.ne(Rounding.ZERO)).and(rc.eq(Rounding.DOWN).eq(sign));
    const up = f.select(rc.eqz(), nearest, directed);
    const result = base.add(f.select(up, unit, 0n));
    const carry = up.and(result.eqz());
    const status = flagWhere(inexact, Exception.PE).or(flagWhere(up, Exception.C1));
    f.return(f.select(carry, TOP_BIT, result), carry, status);
  },
};

/** The precision of format 80 arithmetic, from its control. */
function precisionOf(f: FunctionBuilder, format: Format, control: Value): Value {
  if (format.name !== '80') return f.i32(format.precision);
  const pc = control.shrU(Control.PC_SHIFT).and(3);
  return f.select(pc.eq(3), 64, f.select(pc.eq(2), 53, 24));
}

function pack(format: Format): HelperDefinition {
  const minimum = minimumExponent(format);
  const maximum = format.maximumField - 1 - format.bias;
  const extended = format.name === '80';
  return {
    name: `float.pack${format.name}`,
    type: { params: ['i32', 'i32', 'i64', 'i64', 'i32'], results: [...format.types, 'i32'] },
    build(f, helper) {
      const [sign, exponent, significand, extra, control] = [0, 1, 2, 3, 4].map((i) => f.param(i)) as Args;
      const rc = control.shrU(Control.RC_SHIFT).and(3);
      const precision = precisionOf(f, format, control);
      const call = (high: Value, low: Value): [Value, Value, Value] =>
        f.call(helper('float.round'), sign, high, low, precision, rc) as [Value, Value, Value];
      const finish = (field: Value, fraction: Value, flags: Value): void =>
        f.return(...format.compose(f, sign, field, fraction), flags);
      const [rounded, carry, status] = call(significand, extra);
      const reached = exponent.add(carry);
      f.if(
        reached.gtS(maximum),
        () => {
          f.if(masked(control, Exception.OE).eqz(), () =>
            finish(
              extended ? reached.add(format.bias - EXPONENT_WRAP) : f.i32(format.maximumField),
              rounded,
              status.or(Exception.OE),
            ),
          );
          const infinite = rc.eqz().or(rc.ne(Rounding.ZERO).and(rc.eq(Rounding.DOWN).eq(sign)));
          const largest = f.i64(-1).shl(f.i32(64).sub(precision).extU());
          finish(
            f.select(infinite, format.maximumField, format.maximumField - 1),
            f.select(infinite, TOP_BIT, largest),
            flagWhere(infinite, Exception.C1).or(Exception.OE | Exception.PE),
          );
        },
        undefined,
        false,
      );
      f.if(
        reached.ltS(minimum),
        () => {
          f.if(masked(control, Exception.UE).eqz(), () =>
            finish(extended ? reached.add(format.bias + EXPONENT_WRAP) : f.i32(0), rounded, status.or(Exception.UE)),
          );
          if (!extended)
            f.if(control.and(Control.FTZ).ne(0), () => finish(f.i32(0), f.i64(0), f.i32(Exception.UE | Exception.PE)));
          const [high, low] = f.call(
            helper('float.shiftRightJam'),
            significand,
            extra,
            f.i32(minimum).sub(exponent),
          ) as [Value, Value];
          const [denormal, , inexact] = call(high, low);
          const flags = inexact.or(flagWhere(inexact.and(Exception.PE).ne(0), Exception.UE));
          finish(denormal.shrU(63).wrap(), denormal, flags);
        },
        undefined,
        false,
      );
      finish(reached.add(format.bias), rounded, status);
    },
  };
}

type Args = [Value, Value, Value, Value, Value];
const FINITE: readonly ValueType[] = ['i32', 'i32', 'i64'];
/** Exact sums, products, quotients and roots of unpacked finite values: (sign, exponent, significand, extra). */
const FINITE_RESULT: readonly ValueType[] = ['i32', 'i32', 'i64', 'i64'];

const addFinite: HelperDefinition = {
  name: 'float.addFinite',
  type: { params: [...FINITE, ...FINITE, 'i32'], results: FINITE_RESULT },
  build(f, helper) {
    const [s1, e1, m1, s2, e2, m2] = [0, 1, 2, 3, 4, 5].map((i) => f.param(i)) as [...Args, Value];
    const control = f.param(6);
    const swap = e1.ltS(e2).or(e1.eq(e2).and(m1.ltU(m2)));
    const sign = f.select(swap, s2, s1);
    const exponent = f.select(swap, e2, e1);
    const large = f.select(swap, m2, m1);
    const distance = f.select(swap, e2.sub(e1), e1.sub(e2));
    const [high, low] = f.call(helper('float.shiftRightJam'), f.select(swap, m1, m2), 0n, distance) as [Value, Value];
    const down = control.shrU(Control.RC_SHIFT).and(3).eq(Rounding.DOWN);
    f.if(
      s1.eq(s2),
      () => {
        const sum = large.add(high);
        f.if(
          sum.ltU(large),
          () => f.return(sign, exponent.add(1), sum.shrU(1).or(TOP_BIT), sum.shl(63).or(low.shrU(1)).or(low.and(1n))),
          () => f.return(sign, exponent, sum, low),
        );
      },
      () => {
        const rest = low.neg();
        const difference = large.sub(high).sub(sticky(low));
        f.if(
          difference.eqz(),
          () => {
            f.if(rest.eqz(), () => f.return(down, ZERO_EXPONENT, 0n, 0n));
            const shift = rest.clz();
            f.return(sign, exponent.sub(shift.wrap()).sub(64), rest.shl(shift), 0n);
          },
          () => {
            const shift = difference.clz();
            const carried = f.select(shift.eqz(), 0n, rest.shrU(shift.neg()));
            f.return(sign, exponent.sub(shift.wrap()), difference.shl(shift).or(carried), rest.shl(shift));
          },
        );
      },
    );
  },
};

const mulFinite: HelperDefinition = {
  name: 'float.mulFinite',
  type: { params: [...FINITE, ...FINITE, 'i32'], results: FINITE_RESULT },
  build(f, helper) {
    const [s1, e1, m1, s2, e2, m2] = [0, 1, 2, 3, 4, 5].map((i) => f.param(i)) as [...Args, Value];
    const sign = s1.xor(s2);
    const exponent = e1.add(e2);
    const [high, low] = f.call(helper('float.multiply'), m1, m2) as [Value, Value];
    f.if(
      high.ltS(0),
      () => f.return(sign, exponent.add(1), high, low),
      () => f.return(sign, exponent, high.shl(1).or(low.shrU(63)), low.shl(1)),
    );
  },
};

const divFinite: HelperDefinition = {
  name: 'float.divFinite',
  type: { params: [...FINITE, ...FINITE, 'i32'], results: FINITE_RESULT },
  build(f, helper) {
    const [s1, e1, m1, s2, e2, m2] = [0, 1, 2, 3, 4, 5].map((i) => f.param(i)) as [...Args, Value];
    const atLeastOne = m1.geU(m2);
    const exponent = e1.sub(e2).sub(f.select(atLeastOne, 0, 1));
    const [quotient, rest] = f.call(
      helper('float.divide'),
      f.select(atLeastOne, m1.shrU(1), m1),
      f.select(atLeastOne, m1.shl(63), 0n),
      m2,
    ) as [Value, Value];
    // The next bit of the quotient is 1 where twice the remainder reaches the divisor.
    const complement = m2.sub(rest);
    const next = f.select(rest.geU(complement), f.i64(TOP_BIT), 0n);
    const extra = next.or(sticky(rest).and(rest.ne(complement).extU()));
    f.return(s1.xor(s2), exponent, quotient, extra);
  },
};

/** Square root of a positive finite value: an f64 estimate, one Newton step in 128/64 bits, then an exact correction. */
const sqrtFinite: HelperDefinition = {
  name: 'float.sqrtFinite',
  type: { params: ['i32', 'i64'], results: FINITE_RESULT },
  build(f, helper) {
    const [exponent, significand] = [f.param(0), f.param(1)];
    const odd = exponent.and(1);
    const high = f.select(odd, significand, significand.shrU(1));
    const low = f.select(odd, 0n, significand.shl(63));
    const root = f.variable('i64');
    f.if(
      high.geU(-(1n << 13n)),
      // So near 2^64 an estimate could be too small to divide by; the root of 2^64 - d is 2^64 - d/2 there.
      () => root.set(high.shrU(1).or(TOP_BIT)),
      () => {
        const approximate = f.op(
          'f64.mul',
          f.op('f64.sqrt', f.op('f64.convert_i64_u', high)),
          f.constant('f64', 2 ** 32),
        );
        const estimate = f.op('i64.trunc_sat_f64_u', approximate);
        const [quotient] = f.call(helper('float.divide'), high, low, estimate) as [Value];
        const mean = estimate.shrU(1).add(quotient.shrU(1)).add(estimate.and(quotient).and(1n));
        root.set(mean.add(1n));
      },
    );
    f.loop((again) => {
      const candidate = root.get();
      const [squareHigh, squareLow] = f.call(helper('float.multiply'), candidate, candidate) as [Value, Value];
      const borrow = low.ltU(squareLow);
      const restHigh = high.sub(squareHigh).sub(borrow.extU());
      const restLow = low.sub(squareLow);
      f.if(restHigh.ltS(0), () => {
        root.set(candidate.sub(1n));
        f.br(again);
      });
      const above = restHigh.ne(0).or(restLow.gtU(candidate));
      const inexact = restHigh.or(restLow).ne(0);
      f.return(0, exponent.shrS(1), candidate, f.select(above, f.i64(TOP_BIT), 0n).or(inexact.extU()));
    });
    f.unreachable();
  },
};

export const coreHelpers: readonly HelperDefinition[] = [
  ...FORMATS.map(unpack),
  ...FORMATS.map(pack),
  shiftRightJam,
  multiply,
  divide,
  round,
  addFinite,
  mulFinite,
  divFinite,
  sqrtFinite,
];
export type FindHelper = (name: string) => Callee;
