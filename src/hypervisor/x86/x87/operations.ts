/**
 * The rare x87 instructions, run in TypeScript: FPREM, FPREM1, FSCALE, FXTRACT, FBLD, FBSTP and the transcendentals.
 * Intel SDM vol. 2, their pages; vol. 1, 8.5 for what comes first: stack faults, then unsupported formats and SNaNs, then
 * QNaNs, then invalid and divide-by-zero operands, then denormal operands, then the result's own exceptions.
 * #NM, a pending #MF and the memory operand were checked before these are called.
 */
import type { VpView } from '../../vp/state.ts';
import type { SystemContext, SystemOperation } from '../system/context.ts';
import { operations as environment } from './environment.ts';
import {
  BIAS,
  bitLength,
  classify,
  type Exact,
  type Extended,
  exact,
  INDEFINITE,
  infinity,
  isNegative,
  ONE,
  propagate,
  type Result,
  round,
  roundToInteger,
  Status,
  zero,
} from './extended.ts';
import * as transcendental from './transcendental.ts';
import {
  begin,
  getRegister,
  isEmpty,
  overflow,
  pop,
  push,
  setConditions,
  setRegister,
  signal,
  underflow,
} from './unit.ts';

const INVALID: Result = { value: INDEFINITE, flags: Status.IE };
/** Exceptions that leave the operands alone when unmasked. */
const BEFORE = Status.IE | Status.DE | Status.ZE;

/** Delivers a result: true when the destination may be written (no exception that comes before the result is unmasked). */
function deliver(vp: VpView, result: Result): boolean {
  // An unmasked #D comes before anything the result would raise.
  const first = (result.flags & Status.DE & ~vp.fcw) !== 0;
  signal(vp, first ? result.flags & BEFORE : result.flags);
  return (result.flags & BEFORE & ~vp.fcw) === 0;
}

function denormalFlag(...operands: readonly Extended[]): number {
  return operands.some((x) => classify(x) === 'denormal') ? Status.DE : 0;
}

/** Processors call the result of a transcendental function inexact even where it is not. */
function roundInexact(x: Exact, fcw: number): Result {
  const { value, flags } = round(x, fcw);
  return { value, flags: flags | Status.PE | (classify(value) === 'denormal' ? Status.UE : 0) };
}

/** Rounds a result of operands that may be denormal: an unmasked denormal exception comes before the result's own. */
function finish(vp: VpView, flags: number, always: boolean, value: () => Exact): Result {
  if (flags & ~vp.fcw & 0x3f) return { value: INDEFINITE, flags };
  const result = always ? roundInexact(value(), vp.fcw) : round(value(), vp.fcw);
  return { value: result.value, flags: result.flags | flags };
}

/** ST(0) <- f(ST(0)), where `special` answers for operands that are not finite or zero. */
function unary(
  special: (x: Extended, fcw: number) => Result | undefined,
  compute: (x: Exact) => Exact,
): (vp: VpView) => void {
  return (vp) => {
    begin(vp);
    if (isEmpty(vp, 0)) {
      if (underflow(vp)) setRegister(vp, 0, INDEFINITE);
      return;
    }
    const x = getRegister(vp, 0);
    const result = propagate(x) ?? special(x, vp.fcw) ?? finish(vp, denormalFlag(x), true, () => compute(exact(x)));
    if (deliver(vp, result)) setRegister(vp, 0, result.value);
  };
}

/** ST(1) <- f(ST(1), ST(0)), then pops. */
function binary(
  special: (y: Extended, x: Extended) => Result | undefined,
  compute: (y: Exact, x: Exact) => Exact,
): (vp: VpView) => void {
  return (vp) => {
    begin(vp);
    if (isEmpty(vp, 0) || isEmpty(vp, 1)) {
      if (!underflow(vp)) return;
      setRegister(vp, 1, INDEFINITE);
      pop(vp);
      return;
    }
    const x = getRegister(vp, 0);
    const y = getRegister(vp, 1);
    const result =
      propagate(x, y) ?? special(y, x) ?? finish(vp, denormalFlag(x, y), true, () => compute(exact(y), exact(x)));
    if (!deliver(vp, result)) return;
    setRegister(vp, 1, result.value);
    pop(vp);
  };
}

function withDenormals(result: Result, ...operands: readonly Extended[]): Result {
  return { value: result.value, flags: result.flags | denormalFlag(...operands) };
}

// ---- sine, cosine, tangent ----------------------------------------------------------------------------------------------

/** The trigonometric instructions: C2 is set, and nothing else happens, where |ST(0)| is 2^63 or more. */
function circular(
  atZero: (negative: boolean) => readonly Extended[],
  compute: (x: Exact) => readonly Exact[],
  second: Extended | undefined,
): (vp: VpView) => void {
  const pushes = atZero(false).length > 1;
  return (vp) => {
    begin(vp);
    setConditions(vp, 0, Status.C2);
    const indefinite = (): void => {
      setRegister(vp, 0, INDEFINITE);
      if (pushes) push(vp, INDEFINITE);
    };
    if (isEmpty(vp, 0)) {
      if (underflow(vp)) indefinite();
      return;
    }
    if (pushes && !isEmpty(vp, -1)) {
      if (overflow(vp)) indefinite();
      return;
    }
    const x = getRegister(vp, 0);
    const kind = classify(x);
    const simple = propagate(x) ?? (kind === 'infinity' ? INVALID : undefined);
    if (simple) {
      if (!deliver(vp, simple)) return;
      setRegister(vp, 0, simple.value);
      if (pushes) push(vp, simple.value);
      return;
    }
    if ((x.signExponent & 0x7fff) >= BIAS + 63) {
      setConditions(vp, Status.C2, Status.C2);
      return;
    }
    let values: readonly Extended[];
    if (kind === 'zero') values = atZero(isNegative(x));
    else {
      const flags = denormalFlag(x);
      if (signal(vp, flags)) return;
      const results = compute(exact(x)).map((v) => roundInexact(v, vp.fcw));
      signal(
        vp,
        results.reduce((sum, r) => sum | r.flags, 0),
      );
      values = second ? [(results[0] as Result).value, second] : results.map((r) => r.value);
    }
    setRegister(vp, 0, values[0] as Extended);
    if (values[1]) push(vp, values[1]);
  };
}

const fsin = circular(
  (n) => [zero(n)],
  (x) => [transcendental.sine(x)],
  undefined,
);
const fcos = circular(
  () => [ONE],
  (x) => [transcendental.cosine(x)],
  undefined,
);
const fsincos = circular(
  (n) => [zero(n), ONE],
  (x) => [transcendental.sine(x), transcendental.cosine(x)],
  undefined,
);
const fptan = circular(
  (n) => [zero(n), ONE],
  (x) => [transcendental.tangent(x)],
  ONE,
);

// ---- arctangent, exponential, logarithms ----------------------------------------------------------------------------------

const QUARTER: Exact = { negative: false, magnitude: 1n, exponent: 0 };
const MINUS_ONE: Exact = { negative: true, magnitude: 1n, exponent: 0 };
const THREE_QUARTERS = { y: QUARTER, x: MINUS_ONE };

const fpatan = binary((y, x) => {
  const ky = classify(y);
  const kx = classify(x);
  if (ky !== 'zero' && ky !== 'infinity' && kx !== 'zero' && kx !== 'infinity') return undefined;
  const sign = isNegative(y);
  const angle = (a: Exact, b: Exact): Result => {
    const { negative: _, ...size } = transcendental.arctangent({ ...a, negative: false }, b);
    return withDenormals(round({ ...size, negative: sign }, 0x37f), y, x);
  };
  if (ky === 'infinity' && kx === 'infinity')
    return isNegative(x) ? angle(THREE_QUARTERS.y, THREE_QUARTERS.x) : angle(QUARTER, QUARTER);
  // Straight up or down: a quarter turn. Else along the x axis: zero, or half a turn.
  const far = { ...QUARTER, exponent: 500 };
  if (ky === 'infinity' || (kx === 'zero' && ky !== 'zero')) return angle(far, QUARTER);
  if (!isNegative(x)) return withDenormals({ value: zero(sign), flags: 0 }, y, x);
  return angle(QUARTER, { ...far, negative: true });
}, transcendental.arctangent);

const f2xm1 = unary((x) => {
  const kind = classify(x);
  if (kind === 'zero') return { value: x, flags: 0 };
  if (kind === 'infinity')
    return { value: isNegative(x) ? { significand: 1n << 63n, signExponent: 0x8000 | BIAS } : x, flags: 0 };
  // Outside -1..1 the manual leaves the result open: it stays as it is.
  const exponent = x.signExponent & 0x7fff;
  const one = exponent === BIAS && x.significand === ONE.significand;
  return exponent >= BIAS && !one ? { value: x, flags: Status.PE } : undefined;
}, transcendental.exponentialMinusOne);

/** Compares |x| with one: -1, 0 or 1. */
function againstOne(x: Extended): number {
  const exponent = (x.signExponent & 0x7fff) - BIAS;
  if (exponent !== 0) return Math.sign(exponent);
  return x.significand === ONE.significand ? 0 : 1;
}

const fyl2x = binary((y, x) => {
  const ky = classify(y);
  const kx = classify(x);
  if (kx === 'zero') {
    if (ky === 'zero') return INVALID;
    return { value: infinity(!isNegative(y)), flags: ky === 'infinity' ? 0 : Status.ZE };
  }
  if (isNegative(x)) return INVALID;
  const one = againstOne(x);
  if (kx === 'infinity')
    return ky === 'zero' ? INVALID : withDenormals({ value: infinity(isNegative(y)), flags: 0 }, y);
  if (ky === 'infinity')
    return one === 0 ? INVALID : withDenormals({ value: infinity(isNegative(y) !== one < 0), flags: 0 }, x);
  if (ky === 'zero' || one === 0) return withDenormals({ value: zero(isNegative(y) !== one < 0), flags: 0 }, x, y);
  return undefined;
}, transcendental.logarithm);

const fyl2xp1 = binary((y, x) => {
  const ky = classify(y);
  const kx = classify(x);
  const negative = isNegative(x) !== isNegative(y);
  if (kx === 'infinity')
    return ky === 'zero' || isNegative(x) ? INVALID : withDenormals({ value: infinity(negative), flags: 0 }, y);
  if (ky === 'infinity') return kx === 'zero' ? INVALID : withDenormals({ value: infinity(negative), flags: 0 }, x);
  if (kx === 'zero' || ky === 'zero') return withDenormals({ value: zero(negative), flags: 0 }, x, y);
  // Outside the range that the manual gives, where there is no logarithm: ST(0) as it is.
  return isNegative(x) && againstOne(x) >= 0 ? withDenormals({ value: x, flags: Status.PE }, y) : undefined;
}, transcendental.logarithmPlusOne);

// ---- partial remainder -------------------------------------------------------------------------------------------------------

/** FPREM truncates the quotient, FPREM1 rounds it to the nearest integer. */
function partialRemainder(nearest: boolean): (vp: VpView) => void {
  return (vp) => {
    begin(vp);
    setConditions(vp, 0, Status.C2);
    if (isEmpty(vp, 0) || isEmpty(vp, 1)) {
      if (underflow(vp)) setRegister(vp, 0, INDEFINITE);
      return;
    }
    const x = getRegister(vp, 0);
    const y = getRegister(vp, 1);
    const invalid = classify(x) === 'infinity' || classify(y) === 'zero';
    const special = propagate(x, y) ?? (invalid ? INVALID : undefined);
    if (special) {
      if (deliver(vp, special)) setRegister(vp, 0, special.value);
      return;
    }
    if (signal(vp, denormalFlag(x, y))) return;
    const untouched = classify(x) === 'zero' || classify(y) === 'infinity';
    const { rest, quotient, partial } = untouched ? whole(exact(x)) : remainder(exact(x), exact(y), nearest);
    const result = round(rest, untouched ? vp.fcw | Status.UE : vp.fcw);
    signal(vp, result.flags);
    setRegister(vp, 0, result.value);
    const q = Number(quotient & 7n);
    setConditions(
      vp,
      partial ? Status.C2 : (q & 1 ? Status.C1 : 0) | (q & 2 ? Status.C3 : 0) | (q & 4 ? Status.C0 : 0),
    );
  };
}

interface Remainder {
  readonly rest: Exact;
  readonly quotient: bigint;
  readonly partial: boolean;
}

function whole(x: Exact): Remainder {
  return { rest: x, quotient: 0n, partial: false };
}

function remainder(x: Exact, y: Exact, nearest: boolean): Remainder {
  const gap = x.exponent + bitLength(x.magnitude) - (y.exponent + bitLength(y.magnitude));
  if (gap < -2) return whole(x);
  if (gap >= 64) {
    // One step: takes 32 to 63 bits off the difference of the exponents.
    const step = gap - (32 + (gap & 31));
    const scaled = { ...y, exponent: y.exponent + step };
    return { rest: divide(x, scaled, false).rest, quotient: 0n, partial: true };
  }
  return { ...divide(x, y, nearest), partial: false };
}

function divide(x: Exact, y: Exact, nearest: boolean): { rest: Exact; quotient: bigint } {
  const e = Math.min(x.exponent, y.exponent);
  const a = x.magnitude << BigInt(x.exponent - e);
  const b = y.magnitude << BigInt(y.exponent - e);
  let quotient = a / b;
  let rest = a - quotient * b;
  if (nearest && (2n * rest > b || (2n * rest === b && (quotient & 1n) === 1n))) {
    quotient += 1n;
    rest -= b;
  }
  const negative = rest < 0n ? !x.negative : x.negative;
  return { rest: { negative, magnitude: rest < 0n ? -rest : rest, exponent: e }, quotient };
}

// ---- scale and extract ---------------------------------------------------------------------------------------------------------

function fscale(vp: VpView): void {
  begin(vp);
  if (isEmpty(vp, 0) || isEmpty(vp, 1)) {
    if (underflow(vp)) setRegister(vp, 0, INDEFINITE);
    return;
  }
  const x = getRegister(vp, 0);
  const y = getRegister(vp, 1);
  const result = propagate(x, y) ?? scale(vp, x, y);
  if (deliver(vp, result)) setRegister(vp, 0, result.value);
}

function scale(vp: VpView, x: Extended, y: Extended): Result {
  const kx = classify(x);
  const ky = classify(y);
  const same = withDenormals({ value: x, flags: 0 }, x, y);
  if (ky === 'infinity') {
    const down = isNegative(y);
    if (kx === (down ? 'infinity' : 'zero')) return INVALID;
    const value = down ? zero(isNegative(x)) : infinity(isNegative(x));
    return withDenormals({ value, flags: 0 }, x);
  }
  if (kx === 'infinity' || kx === 'zero') return same;
  // A scale of zero changes nothing but the notation of a pseudo-denormal: a denormal operand is no underflow then.
  if (ky === 'zero') {
    const isPseudo = (x.signExponent & 0x7fff) === 0 && x.significand >> 63n !== 0n;
    return { ...same, value: { ...x, signExponent: x.signExponent | (isPseudo ? 1 : 0) } };
  }
  const { integer } = roundToInteger(3, exact(y));
  const limited = integer > 100000n ? 100000 : integer < -100000n ? -100000 : Number(integer);
  return finish(vp, same.flags, false, () => {
    const value = exact(x);
    return { ...value, exponent: value.exponent + limited };
  });
}

function fxtract(vp: VpView): void {
  begin(vp);
  if (isEmpty(vp, 0)) {
    if (!underflow(vp)) return;
    setRegister(vp, 0, INDEFINITE);
    push(vp, INDEFINITE);
    return;
  }
  if (!isEmpty(vp, -1)) {
    if (!overflow(vp)) return;
    setRegister(vp, 0, INDEFINITE);
    push(vp, INDEFINITE);
    return;
  }
  const x = getRegister(vp, 0);
  const kind = classify(x);
  const nan = propagate(x);
  let exponent: Extended;
  let significand: Extended;
  let flags = nan?.flags ?? 0;
  if (nan) {
    exponent = nan.value;
    significand = nan.value;
  } else if (kind === 'infinity') {
    exponent = infinity(false);
    significand = x;
  } else if (kind === 'zero') {
    flags = Status.ZE;
    exponent = infinity(true);
    significand = x;
  } else {
    flags = denormalFlag(x);
    const value = exact(x);
    const size = bitLength(value.magnitude);
    const power = value.exponent + size - 1;
    exponent = fromInteger(BigInt(power));
    significand = {
      significand: value.magnitude << BigInt(64 - size),
      signExponent: BIAS | (value.negative ? 0x8000 : 0),
    };
  }
  if (signal(vp, flags)) return;
  setRegister(vp, 0, exponent);
  push(vp, significand);
}

function fromInteger(n: bigint): Extended {
  return round({ negative: n < 0n, magnitude: n < 0n ? -n : n, exponent: 0 }, 0x37f).value;
}

// ---- packed decimal ------------------------------------------------------------------------------------------------------------

/** Eighteen digits, two in a byte, and the sign in the last byte's top bit. Digits above nine count as they are. */
function fbld({ vp }: SystemContext, low: bigint, upper: bigint): void {
  const high = Number(upper);
  begin(vp);
  if (!isEmpty(vp, -1)) {
    if (overflow(vp)) push(vp, INDEFINITE);
    return;
  }
  let magnitude = 0n;
  for (let digit = 17; digit >= 0; digit--) {
    const value = digit >= 16 ? (high >> ((digit - 16) * 4)) & 15 : Number((low >> BigInt(digit * 4)) & 15n);
    magnitude = magnitude * 10n + BigInt(value);
  }
  push(vp, round({ negative: (high & 0x8000) !== 0, magnitude, exponent: 0 }, 0x37f).value);
}

interface Decimal {
  readonly low: bigint;
  readonly high: bigint;
  readonly inexact: boolean;
  readonly up: boolean;
}
const DECIMAL_INDEFINITE: Decimal = { low: 0xc000000000000000n, high: 0xffffn, inexact: false, up: false };

/** ST(0) as 18 decimal digits; undefined where it is none. */
function decimal(vp: VpView): Decimal | undefined {
  if (isEmpty(vp, 0)) return undefined;
  const x = getRegister(vp, 0);
  const kind = classify(x);
  if (kind !== 'normal' && kind !== 'denormal' && kind !== 'zero') return undefined;
  const { integer, inexact, up } = roundToInteger((vp.fcw >> 10) & 3, exact(x));
  const magnitude = integer < 0n ? -integer : integer;
  if (magnitude > 999999999999999999n) return undefined;
  const digits = BigInt(`0x${magnitude}`);
  const sign = isNegative(x) ? 0x8000n : 0n;
  return { low: digits & ((1n << 64n) - 1n), high: (digits >> 64n) | sign, inexact, up };
}

/** What FBSTP stores behind the first 64 bits; -1 where an unmasked invalid operation keeps it from storing. */
function fbstpHigh({ vp }: SystemContext): bigint {
  const value = decimal(vp);
  if (!value && (vp.fcw & Status.IE) === 0) return -1n;
  return (value ?? DECIMAL_INDEFINITE).high;
}
function fbstpLow({ vp }: SystemContext): bigint {
  return (decimal(vp) ?? DECIMAL_INDEFINITE).low;
}

/** Once the operand is stored. */
function fbstp({ vp }: SystemContext): void {
  const value = decimal(vp);
  begin(vp);
  if (value) {
    signal(vp, (value.inexact ? Status.PE : 0) | (value.up ? Status.C1 : 0));
    pop(vp);
  } else if (isEmpty(vp, 0) ? underflow(vp) : !signal(vp, Status.IE)) pop(vp);
}

function onState(operation: (vp: VpView) => void): SystemOperation {
  return (ctx) => operation(ctx.vp);
}

export const operations: Record<string, SystemOperation> = {
  fsin: onState(fsin),
  fcos: onState(fcos),
  fsincos: onState(fsincos),
  fptan: onState(fptan),
  fpatan: onState(fpatan),
  f2xm1: onState(f2xm1),
  fyl2x: onState(fyl2x),
  fyl2xp1: onState(fyl2xp1),
  fprem: onState(partialRemainder(false)),
  fprem1: onState(partialRemainder(true)),
  fscale: onState(fscale),
  fxtract: onState(fxtract),
  fbld,
  fbstpHigh,
  fbstpLow,
  fbstp,
  ...environment,
};
