/**
 * Software floating point: the helpers that instructions call. The interface is described in format.ts; special operands
 * follow the Intel SDM vol. 1, 4.8.3.5 "Operating on SNaNs and QNaNs", 8.5 and 11.5.2.
 */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import { coreHelpers, type FindHelper, flagWhere, masked } from './core.ts';
import {
  ANY_NAN,
  Control,
  Exception,
  FORMAT_32,
  FORMAT_64,
  FORMAT_80,
  FORMATS,
  type Format,
  type HelperDefinition,
  Kind,
  Rounding,
  TOP_BIT,
} from './format.ts';
import { quick } from './quick.ts';
import {
  type BinaryOperation,
  type Extended,
  quickBinary80,
  quickCompare80,
  quickInteger80,
  quickNarrow,
} from './quick80.ts';

const QUIET_BIT = 1n << 62n;
const SIGNALS = Kind.SNAN | Kind.UNSUPPORTED;

interface Unpacked {
  readonly kind: Value;
  readonly sign: Value;
  readonly exponent: Value;
  readonly significand: Value;
}

/** Writes the body of one helper for one format. */
class Body {
  readonly f: FunctionBuilder;
  readonly helper: FindHelper;
  readonly control: Value;
  constructor(f: FunctionBuilder, helper: FindHelper, control: Value) {
    this.f = f;
    this.helper = helper;
    this.control = control;
  }
  /** The operand whose values start at parameter `at`. */
  unpack(format: Format, at: number): Unpacked {
    const bits = format.types.map((_, i) => this.f.param(at + i));
    const [kind, sign, exponent, significand] = this.f.call(
      this.helper(`float.unpack${format.name}`),
      ...bits,
      this.control,
    ) as [Value, Value, Value, Value];
    return { kind, sign, exponent, significand };
  }
  return(format: Format, sign: Value, field: number, significand: Value | bigint, flags: Value | number): void {
    const fraction = this.f.coerce(significand, 'i64');
    this.f.return(...format.compose(this.f, sign, this.f.i32(field), fraction), flags);
  }
  zero(format: Format, sign: Value, flags: Value | number): void {
    this.return(format, sign, 0, 0n, flags);
  }
  infinity(format: Format, sign: Value, flags: Value | number): void {
    this.return(format, sign, format.maximumField, TOP_BIT, flags);
  }
  /** The default NaN, which an invalid operation gives: "QNaN floating-point indefinite". */
  invalid(format: Format): void {
    this.return(format, this.f.i32(1), format.maximumField, TOP_BIT | QUIET_BIT, Exception.IE);
  }
  /** One operand that is a NaN, made quiet. */
  quiet(format: Format, a: Unpacked, flags: Value | number): void {
    this.return(format, a.sign, format.maximumField, a.significand.or(QUIET_BIT), flags);
  }
  /** Returns the rounded result; `before`: flags that came before it. */
  pack(format: Format, result: readonly Value[], before: Value): void {
    this.f.if((result[2] as Value).eqz(), () => this.zero(format, result[0] as Value, before));
    const packed = this.f.call(this.helper(`float.pack${format.name}`), ...result, this.control);
    const bits = packed.slice(0, -1);
    this.f.return(...bits, (packed.at(-1) as Value).or(before));
  }
  unmasked(flag: number): Value {
    return masked(this.control, flag).eqz();
  }
  denormal(kinds: Value): Value {
    return flagWhere(kinds.and(Kind.DENORMAL).ne(0), Exception.DE);
  }
  /** Where an operand was denormal and that is unmasked, the operation ends here. */
  stopAtDenormal(format: Format, sign: Value, flags: Value): void {
    this.f.if(flags.ne(0).and(this.unmasked(Exception.DE)), () => this.zero(format, sign, flags), undefined, false);
  }
}

/** Returns the NaN that an operation on `a` and `b` gives, at least one of them being a NaN. */
function returnNan(body: Body, format: Format, a: Unpacked, b: Unpacked): void {
  const { f } = body;
  const kinds = a.kind.or(b.kind);
  const flags = flagWhere(kinds.and(SIGNALS).ne(0), Exception.IE);
  if (format.name !== '80') {
    f.if(
      a.kind.and(ANY_NAN).ne(0),
      () => body.quiet(format, a, flags),
      () => body.quiet(format, b, flags),
    );
    return;
  }
  f.if(kinds.and(Kind.UNSUPPORTED).ne(0), () => body.invalid(format));
  // A number loses against any NaN and a signaling NaN against a quiet one.
  const rank = (x: Unpacked): Value => x.kind.and(Kind.QNAN).ne(0).shl(1).or(x.kind.and(Kind.SNAN).ne(0));
  const [ra, rb] = [rank(a), rank(b)];
  const larger = a.significand.gtU(b.significand).or(a.significand.eq(b.significand).and(a.sign.leU(b.sign)));
  f.if(
    ra.gtU(rb).or(ra.eq(rb).and(larger)),
    () => body.quiet(format, a, flags),
    () => body.quiet(format, b, flags),
  );
}

type Binary = BinaryOperation;

/** The extended operand whose values start at parameter `at`. */
function extended(f: FunctionBuilder, at: number): Extended {
  return { significand: f.param(at), head: f.param(at + 1) };
}

/** Returns the result of an operation on an infinity or (for mul, div) a zero, where there is such an operand. */
function specialOperands(body: Body, format: Format, operation: Binary, a: Unpacked, b: Unpacked, flags: Value): void {
  const { f } = body;
  const is = (x: Unpacked, kind: number): Value => x.kind.eq(kind);
  const either = a.kind.or(b.kind);
  const sign = a.sign.xor(b.sign);
  if (operation === 'add' || operation === 'sub') {
    f.if(
      either.and(Kind.INFINITY).ne(0),
      () => {
        f.if(a.kind.and(b.kind).and(Kind.INFINITY).ne(0).and(sign), () => body.invalid(format));
        body.stopAtDenormal(format, sign, flags);
        body.infinity(format, f.select(is(a, Kind.INFINITY), a.sign, b.sign), flags);
      },
      undefined,
      false,
    );
    return;
  }
  f.if(
    either.and(Kind.INFINITY | Kind.ZERO).ne(0),
    () => {
      if (operation === 'mul') {
        f.if(either.eq(Kind.INFINITY | Kind.ZERO), () => body.invalid(format));
        body.stopAtDenormal(format, sign, flags);
        f.if(either.and(Kind.INFINITY).ne(0), () => body.infinity(format, sign, flags));
        body.zero(format, sign, flags);
        return;
      }
      f.if(a.kind.eq(b.kind), () => body.invalid(format));
      f.if(is(b, Kind.ZERO).and(is(a, Kind.INFINITY).eqz()), () => body.infinity(format, sign, Exception.ZE));
      body.stopAtDenormal(format, sign, flags);
      f.if(is(a, Kind.INFINITY), () => body.infinity(format, sign, flags));
      body.zero(format, sign, flags);
    },
    undefined,
    false,
  );
}

function binary(format: Format, operation: Binary): HelperDefinition {
  const n = format.types.length;
  return {
    name: `float.${operation}${format.name}`,
    type: { params: [...format.types, ...format.types, 'i32'], results: [...format.types, 'i32'] },
    build(f, helper) {
      if (format !== FORMAT_80) quick(f, format, operation, [f.param(0), f.param(1)], f.param(2));
      else {
        const operands = [extended(f, 0), extended(f, 2), f.param(4)] as const;
        const divide = (...args: Value[]): Value[] => f.call(helper('float.divFinite'), ...args);
        quickBinary80(f, operation, operands, divide, (...result) => f.return(...result));
      }
      const body = new Body(f, helper, f.param(2 * n));
      const a = body.unpack(format, 0);
      let b = body.unpack(format, n);
      f.if(a.kind.or(b.kind).and(ANY_NAN).ne(0), () => returnNan(body, format, a, b), undefined, false);
      if (operation === 'sub') b = { ...b, sign: b.sign.xor(1) };
      const flags = body.denormal(a.kind.or(b.kind));
      specialOperands(body, format, operation, a, b, flags);
      body.stopAtDenormal(format, a.sign, flags);
      const finite = operation === 'sub' ? 'add' : operation;
      const result = f.call(
        helper(`float.${finite}Finite`),
        a.sign,
        a.exponent,
        a.significand,
        b.sign,
        b.exponent,
        b.significand,
        body.control,
      );
      body.pack(format, result, flags);
    },
  };
}

function squareRoot(format: Format): HelperDefinition {
  const n = format.types.length;
  return {
    name: `float.sqrt${format.name}`,
    type: { params: [...format.types, 'i32'], results: [...format.types, 'i32'] },
    build(f, helper) {
      if (format !== FORMAT_80) quick(f, format, 'sqrt', [f.param(0)], f.param(1));
      const body = new Body(f, helper, f.param(n));
      const a = body.unpack(format, 0);
      f.if(a.kind.and(ANY_NAN).ne(0), () => returnNan(body, format, a, a), undefined, false);
      f.if(a.kind.eq(Kind.ZERO), () => body.zero(format, a.sign, 0));
      f.if(a.sign, () => body.invalid(format));
      f.if(a.kind.eq(Kind.INFINITY), () => body.infinity(format, a.sign, 0));
      const flags = body.denormal(a.kind);
      body.stopAtDenormal(format, a.sign, flags);
      body.pack(format, f.call(helper('float.sqrtFinite'), a.exponent, a.significand), flags);
    },
  };
}

function compare(format: Format): HelperDefinition {
  const n = format.types.length;
  return {
    name: `float.compare${format.name}`,
    type: { params: [...format.types, ...format.types, 'i32', 'i32'], results: ['i32', 'i32'] },
    build(f, helper) {
      if (format === FORMAT_80) quickCompare80(f, extended(f, 0), extended(f, 2), (relation) => f.return(relation, 0));
      const body = new Body(f, helper, f.param(2 * n));
      const signaling = f.param(2 * n + 1);
      const a = body.unpack(format, 0);
      const b = body.unpack(format, n);
      const kinds = a.kind.or(b.kind);
      f.if(
        kinds.and(ANY_NAN).ne(0),
        () => f.return(0x45, flagWhere(kinds.and(SIGNALS).ne(0).or(signaling.ne(0)), Exception.IE)),
        undefined,
        false,
      );
      const flags = body.denormal(kinds);
      const same = a.exponent.eq(b.exponent).and(a.significand.eq(b.significand));
      f.if(same.and(a.sign.eq(b.sign).or(kinds.eq(Kind.ZERO))), () => f.return(0x40, flags));
      const smaller = a.exponent.ltS(b.exponent).or(a.exponent.eq(b.exponent).and(a.significand.ltU(b.significand)));
      // Of two negative numbers the one with the larger magnitude is less.
      f.return(f.select(a.sign.ne(b.sign), a.sign, smaller.xor(a.sign)), flags);
    },
  };
}

/** What becomes of the bits behind the point of a value below one (exponent < 0): 1 where it is rounded up to one. */
function roundsToOne(a: Unpacked, rc: Value): Value {
  const nearest = a.exponent.eq(-1).and(a.significand.gtU(TOP_BIT));
  const directed = rc.ne(Rounding.ZERO).and(rc.eq(Rounding.DOWN).eq(a.sign));
  return rc.eqz().and(nearest).or(rc.ne(0).and(directed));
}

function roundToIntegral(format: Format): HelperDefinition {
  const n = format.types.length;
  return {
    name: `float.roundToIntegral${format.name}`,
    type: { params: [...format.types, 'i32'], results: [...format.types, 'i32'] },
    build(f, helper) {
      const body = new Body(f, helper, f.param(n));
      const rc = body.control.shrU(Control.RC_SHIFT).and(3);
      const a = body.unpack(format, 0);
      f.if(a.kind.and(ANY_NAN).ne(0), () => returnNan(body, format, a, a), undefined, false);
      // Zeros, infinities and what has no bits behind the point.
      f.if(a.kind.eq(Kind.ZERO), () => body.zero(format, a.sign, 0));
      f.if(a.exponent.geS(format.precision - 1), () => f.return(...format.types.map((_, i) => f.param(i)), 0));
      // FRNDINT reports a denormal operand, ROUNDSD does not.
      const flags = format.name === '80' ? body.denormal(a.kind) : f.i32(0);
      body.stopAtDenormal(format, a.sign, flags);
      f.if(a.exponent.ltS(0), () => {
        f.if(
          roundsToOne(a, rc),
          () => body.return(format, a.sign, format.bias, TOP_BIT, flags.or(Exception.PE | Exception.C1)),
          () => body.zero(format, a.sign, flags.or(Exception.PE)),
        );
      });
      const [rounded, carry, status] = f.call(
        helper('float.round'),
        a.sign,
        a.significand,
        0n,
        a.exponent.add(1),
        rc,
      ) as [Value, Value, Value];
      const field = a.exponent.add(carry).add(format.bias);
      f.return(...format.compose(f, a.sign, field, rounded), status.or(flags));
    },
  };
}

function toInteger(format: Format): HelperDefinition {
  const n = format.types.length;
  return {
    name: `float.toInteger${format.name}`,
    type: { params: [...format.types, 'i32', 'i32'], results: ['i64', 'i32'] },
    build(f, helper) {
      const width = f.param(n);
      if (format === FORMAT_80)
        quickInteger80(f, extended(f, 0), width, f.param(3), (...result) => f.return(...result));
      const body = new Body(f, helper, f.param(n + 1));
      const rc = body.control.shrU(Control.RC_SHIFT).and(3);
      const a = body.unpack(format, 0);
      const top = f.i64(1).shl(width.sub(1).extU());
      const indefinite = top.neg();
      f.if(a.kind.eq(Kind.ZERO), () => f.return(0n, 0));
      f.if(a.exponent.gtS(63), () => f.return(indefinite, Exception.IE), undefined, false);
      const magnitude = f.variable('i64');
      const flags = f.variable('i32');
      f.if(
        a.exponent.ltS(0),
        () => {
          const one = roundsToOne(a, rc);
          magnitude.set(one.extU());
          flags.set(flagWhere(one, Exception.C1).or(Exception.PE));
        },
        () => {
          const [rounded, carry, status] = f.call(
            helper('float.round'),
            a.sign,
            a.significand,
            0n,
            a.exponent.add(1),
            rc,
          ) as [Value, Value, Value];
          // With exponent 63 nothing is rounded, so there is no carry then and 62 - exponent is not negative with one.
          magnitude.set(rounded.shrU(f.i32(63).sub(a.exponent).sub(carry).extU()));
          flags.set(status);
        },
      );
      const limit = top.sub(a.sign.eqz().extU());
      f.if(magnitude.get().gtU(limit), () => f.return(indefinite, Exception.IE), undefined, false);
      f.return(f.select(a.sign, magnitude.get().neg(), magnitude.get()), flags.get());
    },
  };
}

function fromInteger(format: Format): HelperDefinition {
  const exact = format.name === '80';
  return {
    name: `float.fromInteger${format.name}`,
    type: exact
      ? { params: ['i64'], results: [...format.types] }
      : { params: ['i64', 'i32'], results: [...format.types, 'i32'] },
    build(f, helper) {
      const value = f.param(0);
      const sign = value.shrU(63).wrap();
      const magnitude = f.select(sign, value.neg(), value);
      const shift = magnitude.clz();
      const exponent = f.i32(63).sub(shift.wrap());
      if (exact) {
        f.if(value.eqz(), () => f.return(0n, 0));
        f.return(...format.compose(f, sign, exponent.add(format.bias), magnitude.shl(shift)));
        return;
      }
      const body = new Body(f, helper, f.param(1));
      f.if(value.eqz(), () => body.zero(format, f.i32(0), 0));
      body.pack(format, [sign, exponent, magnitude.shl(shift), f.i64(0)], f.i32(0));
    },
  };
}

function convert(from: Format, to: Format): HelperDefinition {
  return {
    name: `float.convert${from.name}to${to.name}`,
    type: { params: [...from.types, 'i32'], results: [...to.types, 'i32'] },
    build(f, helper) {
      if (from === FORMAT_80) quickNarrow(f, to, extended(f, 0), f.param(2), (...result) => f.return(...result));
      const body = new Body(f, helper, f.param(from.types.length));
      const a = body.unpack(from, 0);
      f.if(
        a.kind.and(Kind.NORMAL | Kind.DENORMAL).eqz(),
        () => {
          f.if(a.kind.eq(Kind.ZERO), () => body.zero(to, a.sign, 0));
          f.if(a.kind.eq(Kind.INFINITY), () => body.infinity(to, a.sign, 0));
          f.if(a.kind.eq(Kind.UNSUPPORTED), () => body.invalid(to));
          body.quiet(to, a, flagWhere(a.kind.eq(Kind.SNAN), Exception.IE));
        },
        undefined,
        false,
      );
      // Stores of the x87 do not report a denormal operand.
      const flags = from === FORMAT_80 ? f.i32(0) : body.denormal(a.kind);
      body.stopAtDenormal(to, a.sign, flags);
      if (to === FORMAT_80) {
        f.return(...to.compose(f, a.sign, a.exponent.add(to.bias), a.significand), flags);
        return;
      }
      if (from === FORMAT_80) {
        const [bits, status] = f.call(
          helper(`float.pack${to.name}`),
          a.sign,
          a.exponent,
          a.significand,
          0n,
          body.control,
        ) as [Value, Value];
        // A store that does not happen is not inexact.
        const range = status.and(Exception.OE | Exception.UE);
        const stopped = range.and(body.control.shrU(Control.MASK_SHIFT).not()).ne(0);
        f.return(bits, f.select(stopped, range, status));
        return;
      }
      body.pack(to, [a.sign, a.exponent, a.significand, f.i64(0)], flags);
    },
  };
}

export const helpers: readonly HelperDefinition[] = [
  ...coreHelpers,
  ...FORMATS.flatMap((format) => (['add', 'sub', 'mul', 'div'] as const).map((o) => binary(format, o))),
  ...FORMATS.map(squareRoot),
  ...FORMATS.map(compare),
  ...FORMATS.map(roundToIntegral),
  ...FORMATS.map(toInteger),
  ...FORMATS.map(fromInteger),
  ...[
    [FORMAT_32, FORMAT_64],
    [FORMAT_64, FORMAT_32],
    [FORMAT_32, FORMAT_80],
    [FORMAT_64, FORMAT_80],
    [FORMAT_80, FORMAT_32],
    [FORMAT_80, FORMAT_64],
  ].map(([from, to]) => convert(from as Format, to as Format)),
];
