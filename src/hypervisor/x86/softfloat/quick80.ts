/**
 * The extended format where nothing is out of the ordinary, in front of the software floating point: normal numbers, results
 * well inside the range, precision control 64 bits and rounding to nearest, as programs leave them. A number is its
 * significand and its head (sign and exponent), as in format.ts. Each function ends in `result`, which must leave the
 * function that is built, or leaves the operation to what follows.
 */
import type { FunctionBuilder, Label } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import { Control, Exception, type Format, TOP_BIT } from './format.ts';

const BIAS = 16383;
const LARGEST = 0x7ffe;
const EXPONENT = 0x7fff;
const RC = 3 << Control.RC_SHIFT;
const PC = 3 << Control.PC_SHIFT;

export interface Extended {
  readonly significand: Value;
  readonly head: Value;
}
/** Takes a result and its flags, and leaves. */
export type Result = (significand: Value, head: Value, flags: Value) => void;
export type BinaryOperation = 'add' | 'sub' | 'mul' | 'div';
const exponentOf = (x: Extended): Value => x.head.and(EXPONENT);

function isNormal(x: Extended): Value {
  return x.significand.ltS(0).and(exponentOf(x).sub(1).ltU(LARGEST));
}

function unless(f: FunctionBuilder, leave: Label, condition: Value): void {
  f.brIf(leave, condition.eqz(), false);
}

/** Rounds to nearest where `extra` follows the last bit: 1 to go up, and the flags. */
function nearest(extra: Value, odd: Value): [up: Value, flags: Value] {
  const up = extra.gtU(TOP_BIT).or(extra.eq(TOP_BIT).and(odd));
  return [up, extra.ne(0).mul(Exception.PE).or(up.mul(Exception.C1))];
}

/** Where a sum, product or quotient goes on. */
interface Way {
  readonly f: FunctionBuilder;
  readonly leave: Label;
  readonly result: Result;
}

/** Ends with a number rounded to 64 bits. `exponent` is biased; the significand has its top bit set. */
function finish(way: Way, sign: Value, exponent: Value, significand: Value, extra: Value): void {
  const { f, leave } = way;
  const [up, flags] = nearest(extra, significand.wrap().and(1));
  const rounded = significand.add(up.extU());
  const carry = rounded.eqz();
  const result = exponent.add(carry);
  unless(f, leave, result.sub(1).ltU(LARGEST - 1));
  way.result(f.select(carry, f.i64(TOP_BIT), rounded), sign.or(result), flags);
}

function product(f: FunctionBuilder, a: Value, b: Value): [high: Value, low: Value] {
  const [al, ah, bl, bh] = [a.zext(32), a.shrU(32), b.zext(32), b.shrU(32)];
  const middle = ah.mul(bl).add(al.mul(bl).shrU(32));
  const cross = al.mul(bh).add(middle.zext(32));
  return [ah.mul(bh).add(middle.shrU(32)).add(cross.shrU(32)), f.op('i64.mul', a, b)];
}

function multiply(way: Way, a: Extended, b: Extended, sign: Value): void {
  const { f } = way;
  const exponent = exponentOf(a).add(exponentOf(b)).sub(BIAS);
  const [high, low] = product(f, a.significand, b.significand);
  f.if(
    high.ltS(0),
    () => finish(way, sign, exponent.add(1), high, low),
    () => finish(way, sign, exponent, high.shl(1).or(low.shrU(63)), low.shl(1)),
  );
}

/** a + b, the sign of b being `bSign`. */
function add(way: Way, a: Extended, b: Extended, bSign: Value): void {
  const { f, leave } = way;
  const [ea, eb] = [exponentOf(a), exponentOf(b)];
  const aSign = a.head.and(0x8000);
  const swap = ea.ltU(eb).or(ea.eq(eb).and(a.significand.ltU(b.significand)));
  const large = f.select(swap, b.significand, a.significand);
  const small = f.select(swap, a.significand, b.significand);
  const exponent = f.select(swap, eb, ea);
  const distance = f.select(swap, eb.sub(ea), ea.sub(eb));
  const sign = f.select(swap, bSign, aSign);
  unless(f, leave, distance.ltU(64));
  const high = small.shrU(distance.extU());
  const low = f.select(distance, small.shl(distance.extU().neg()), f.i64(0));
  f.if(
    aSign.eq(bSign),
    () => {
      const sum = large.add(high);
      f.if(
        sum.ltU(large),
        () => {
          const extra = sum.shl(63).or(low.shrU(1)).or(low.and(1n));
          finish(way, sign, exponent.add(1), sum.shrU(1).or(TOP_BIT), extra);
        },
        () => finish(way, sign, exponent, sum, low),
      );
    },
    () => {
      const rest = low.neg();
      const difference = large.sub(high).sub(low.ne(0).extU());
      unless(f, leave, difference.ne(0));
      const shift = difference.clz();
      const carried = f.select(shift.eqz(), f.i64(0), rest.shrU(shift.neg()));
      const result = exponent.sub(shift.wrap());
      // Before it wraps: what gets this small is not for here.
      unless(f, leave, result.gtS(0));
      finish(way, sign, result, difference.shl(shift).or(carried), rest.shl(shift));
    },
  );
}

/** `divide` is float.divFinite: it gives (sign, exponent, significand, extra) of unpacked numbers. */
export function quickBinary80(
  f: FunctionBuilder,
  operation: BinaryOperation,
  [a, b, control]: readonly [Extended, Extended, Value],
  divide: (...args: Value[]) => Value[],
  result: Result,
): void {
  f.block((leave) => {
    const way = { f, leave, result };
    unless(f, leave, control.and(RC | PC).eq(PC));
    unless(f, leave, isNormal(a));
    unless(f, leave, isNormal(b));
    const sign = a.head.xor(b.head).and(0x8000);
    const bSign = b.head.and(0x8000);
    if (operation === 'mul') multiply(way, a, b, sign);
    else if (operation === 'add') add(way, a, b, bSign);
    else if (operation === 'sub') add(way, a, b, bSign.xor(0x8000));
    else {
      const zero = f.i32(0);
      const [, exponent, significand, extra] = divide(
        zero,
        exponentOf(a),
        a.significand,
        zero,
        exponentOf(b),
        b.significand,
        control,
      ) as [Value, Value, Value, Value];
      finish(way, sign, exponent.add(BIAS), significand, extra);
    }
  });
}

/** Normal numbers and zeros, which raise nothing. */
export function quickCompare80(f: FunctionBuilder, a: Extended, b: Extended, result: (relation: Value) => void): void {
  const isZero = (x: Extended): Value => x.significand.eqz().and(exponentOf(x).eqz());
  f.block((leave) => {
    for (const x of [a, b]) unless(f, leave, isNormal(x).or(isZero(x)));
    const [ea, eb] = [exponentOf(a), exponentOf(b)];
    const negative = a.head.shrU(15);
    const same = ea.eq(eb).and(a.significand.eq(b.significand));
    const sameSign = negative.eq(b.head.shrU(15));
    f.if(same.and(sameSign.or(isZero(a))), () => {
      result(f.i32(0x40));
    });
    const smaller = ea.ltU(eb).or(ea.eq(eb).and(a.significand.ltU(b.significand)));
    result(f.select(sameSign, smaller.xor(negative), negative));
  });
}

/** A number of 32 or 64 bits that is neither denormal nor a NaN nor infinite: exact. Nested, so that others may follow. */
export function quickWiden(
  f: FunctionBuilder,
  from: Format,
  number: Value,
  result: (significand: Value, head: Value) => void,
  otherwise: () => void,
): void {
  const wide = from.name === '64';
  const bits = number.extU();
  const fractionBits = BigInt(from.precision - 1);
  const exponent = bits.shrU(fractionBits).wrap().and(from.maximumField);
  const sign = bits
    .shrU(wide ? 48 : 16)
    .wrap()
    .and(0x8000);
  const zero = (): void => {
    f.if(
      bits.shl(wide ? 1 : 33).eqz(),
      () => {
        result(f.i64(0), sign);
      },
      otherwise,
    );
  };
  const normal = (): void => {
    result(bits.shl(63n - fractionBits).or(TOP_BIT), sign.or(exponent.add(BIAS - from.bias)));
  };
  f.if(exponent.sub(1).ltU(from.maximumField - 1), normal, zero, true);
}

/** To 32 or 64 bits: zeros, and normal numbers that stay normal. */
export function quickNarrow(
  f: FunctionBuilder,
  to: Format,
  x: Extended,
  control: Value,
  result: (bits: Value, flags: Value) => void,
): void {
  f.block((leave) => {
    f.if(x.significand.or(x.head.and(EXPONENT).extU()).eqz(), () => {
      const sign = x.head.and(0x8000);
      result(to.name === '64' ? sign.extU().shl(48) : sign.shl(16), f.i32(0));
    });
    unless(f, leave, control.and(RC).eqz());
    unless(f, leave, x.significand.ltS(0));
    const exponent = exponentOf(x).sub(BIAS - to.bias);
    unless(f, leave, exponent.sub(1).ltU(to.maximumField - 2));
    const dropped = BigInt(64 - to.precision);
    const kept = x.significand.shrU(dropped);
    const [up, flags] = nearest(x.significand.shl(BigInt(to.precision)), kept.wrap().and(1));
    // A carry out of the fraction goes on into the exponent; the leading bit adds one to it.
    const magnitude = exponent
      .sub(1)
      .extU()
      .shl(BigInt(to.precision - 1))
      .add(kept)
      .add(up.extU());
    const sign = x.head.and(0x8000);
    if (to.name === '64') result(magnitude.or(sign.extU().shl(48)), flags);
    else result(magnitude.wrap().or(sign.shl(16)), flags);
  });
}

/** To an integer of `width` bits, to nearest or truncating. */
export function quickInteger80(
  f: FunctionBuilder,
  x: Extended,
  width: Value,
  control: Value,
  result: (integer: Value, flags: Value) => void,
): void {
  f.block((leave) => {
    unless(f, leave, x.significand.ltS(0));
    const exponent = exponentOf(x).sub(BIAS);
    unless(f, leave, exponent.ltU(63));
    const rc = control.and(RC);
    unless(f, leave, rc.eqz().or(rc.eq(RC)));
    const whole = x.significand.shrU(f.i32(63).sub(exponent).extU());
    const [up, flags] = nearest(x.significand.shl(exponent.add(1).extU()), whole.wrap().and(1));
    const truncates = rc.ne(0);
    const magnitude = whole.add(f.select(truncates, f.i32(0), up).extU());
    unless(f, leave, magnitude.shrU(width.sub(1).extU()).eqz());
    const negative = x.head.and(0x8000);
    result(f.select(negative, magnitude.neg(), magnitude), f.select(truncates, flags.and(Exception.PE), flags));
  });
}
