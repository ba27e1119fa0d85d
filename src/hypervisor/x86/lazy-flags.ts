/**
 * Arithmetic flags in the lazy form that vp/state.ts describes: what producers of flags leave, and how flags and conditions
 * are read from it. Where the kind is known while code is built, constants fold and the expression is the short one.
 */
import { ARITHMETIC_FLAGS, Flag, FlagKind } from '../vp/state.ts';
import type { FunctionBuilder } from '../wasm/function.ts';
import type { Operand as Term, Value } from '../wasm/value.ts';
import type { FlagName, FlagValues } from './semantics.ts';

/** The lazy words; see VpState. Result and operands are i64, carry and kind i32. */
export interface FlagState {
  readonly result: Value;
  readonly a: Value;
  readonly b: Value;
  readonly carry: Value;
  readonly kind: Value;
  /** A subtraction without borrow in, whose borrow is the carry: conditions are comparisons of its operands. */
  readonly comparison?: boolean;
  /** Two floats whose comparison (COMISS and its kin) set the flags. */
  readonly floats?: readonly [Value, Value];
}

/** Where the words are kept: VpState, or what is known while code is built. */
export interface FlagStore {
  readonly f: FunctionBuilder;
  flagState(): FlagState;
  setFlagState(state: FlagState): void;
  /** The other bits of RFLAGS. */
  state(field: 'flags'): Value;
  setState(field: 'flags' | 'attention', value: Term): void;
}

/** Operands in the width in which they are compared: 32 bits without a mask. */
function narrow(v: Value, bits: number): Value {
  return bits === 64 ? v : bits === 32 ? v.wrap() : v.wrap().zext(bits);
}

/** Flags of result = a + b. @param carryIn whether a carry was added too. */
export function flagsOfSum(
  f: FunctionBuilder,
  bits: number,
  a: Value,
  b: Value,
  result: Value,
  carryIn: boolean,
): FlagState {
  const carry = carryIn
    ? bitOf(a.and(b).or(a.or(b).and(result.not())), bits - 1)
    : narrow(result, bits).ltU(narrow(a, bits));
  return { result: result.sext(bits), a: a.sext(bits), b: b.sext(bits), carry, kind: f.i32(FlagKind.SUM) };
}
/** Flags of result = a - b. @param borrowIn whether a borrow was subtracted too. */
export function flagsOfDifference(
  f: FunctionBuilder,
  bits: number,
  a: Value,
  b: Value,
  result: Value,
  borrowIn: boolean,
): FlagState {
  const carry = borrowIn
    ? bitOf(a.not().and(b).or(a.xor(b).not().and(result)), bits - 1)
    : narrow(a, bits).ltU(narrow(b, bits));
  const words = { result: result.sext(bits), a: a.sext(bits), b: b.sext(bits), carry };
  return { ...words, kind: f.i32(FlagKind.DIFFERENCE), comparison: !borrowIn };
}
export function flagsOfLogic(f: FunctionBuilder, bits: number, result: Value): FlagState {
  return { result: result.sext(bits), a: f.i64(0), b: f.i64(0), carry: f.i32(0), kind: f.i32(FlagKind.WORDS) };
}
function bitOf(v: Value, bit: number): Value {
  return v.shrU(bit).wrap().and(1);
}
function overflowWord(f: FunctionBuilder, overflow: Value): Value {
  return overflow.kind === 'const' ? f.i64(BigInt(overflow.imm) === 0n ? 0n : 1n << 63n) : overflow.extU().shl(63);
}

/** ZF, SF and PF from a result; CF, OF and AF as given or as they are. */
export function flagsOfResult(
  f: FunctionBuilder,
  bits: number,
  old: FlagState,
  result: Value,
  values: FlagValues,
): FlagState {
  const value = (name: FlagName): Value => givenOr(f, old, name, values);
  return {
    result: result.sext(bits),
    a: overflowWord(f, value('OF')),
    b: value('AF').shl(4).extU(),
    carry: value('CF'),
    kind: f.i32(FlagKind.WORDS),
  };
}

/** The flags named set, the others as they are. */
export function flagsAssigned(f: FunctionBuilder, old: FlagState, values: FlagValues): FlagState {
  const given = (name: FlagName): boolean => values[name] !== undefined;
  const value = (name: FlagName): Value => givenOr(f, old, name, values);
  const shape = given('ZF') || given('SF') || given('PF');
  if (!shape && !given('OF') && !given('AF')) {
    const { result, a, b, kind } = old;
    return { result, a, b, kind, carry: value('CF') };
  }
  const a = overflowWord(f, value('OF'));
  const carry = value('CF');
  const kind = f.i32(FlagKind.WORDS);
  const af = value('AF').shl(4);
  if (!shape) {
    // The corrections of sign and parity stay.
    const corrections = f.select(old.kind, 0, old.b.wrap().and(0x8000_ff00 | 0));
    return { result: old.result, a, b: af.or(corrections).extU(), carry, kind };
  }
  const zf = value('ZF');
  const aux = af.or(value('PF').xor(zf).shl(8)).or(value('SF').shl(31));
  return { result: zf.xor(1).extU(), a, b: aux.extU(), carry, kind };
}
function givenOr(f: FunctionBuilder, old: FlagState, name: FlagName, values: FlagValues): Value {
  const given = values[name];
  return given === undefined ? readFlag(f, old, name) : f.coerce(given, 'i32');
}

/** One flag: i32, 0 or 1. */
export function readFlag(f: FunctionBuilder, s: FlagState, name: FlagName): Value {
  const { result, a, b, carry, kind } = s;
  switch (name) {
    case 'CF':
      return carry;
    case 'ZF':
      return result.eqz();
    case 'SF':
      return result
        .shrU(63)
        .wrap()
        .xor(f.select(kind, 0, b.wrap().shrU(31)));
    case 'OF': {
      const sum = a.xor(result).and(b.xor(result));
      const difference = a.xor(b).and(a.xor(result));
      const word = f.select(kind, f.select(kind.eq(FlagKind.SUM), sum, difference), a);
      return word.shrU(63).wrap();
    }
    case 'AF':
      return f.select(kind, a.xor(b).xor(result), b).wrap().shrU(4).and(1);
    case 'PF': {
      const low = result
        .wrap()
        .xor(f.select(kind, 0, b.wrap().shrU(8)))
        .and(0xff);
      return low.popcnt().and(1).xor(1);
    }
  }
}

/** Condition code 0..15: i32, 0 or not. */
export function readCondition(f: FunctionBuilder, s: FlagState, code: number): Value {
  const floats = s.floats && floatCondition(f, s.floats, code >> 1);
  if (floats) return code & 1 ? floats.eqz() : floats;
  const positive = (): Value => {
    const flag = (name: FlagName): Value => readFlag(f, s, name);
    const compared = s.comparison === true;
    switch (code >> 1) {
      case 0:
        return flag('OF');
      case 1:
        return compared ? s.a.ltU(s.b) : s.carry;
      case 2:
        return s.result.eqz();
      case 3:
        return compared ? s.a.leU(s.b) : s.carry.or(flag('ZF'));
      case 4:
        return isWordsOf(s, 0n) ? s.result.ltS(0) : flag('SF');
      case 5:
        return flag('PF');
      case 6:
        if (compared) return s.a.ltS(s.b);
        return isPlainResult(s) ? s.result.ltS(0) : flag('SF').xor(flag('OF'));
      default:
        if (compared) return s.a.leS(s.b);
        return isPlainResult(s) ? s.result.leS(0) : flag('SF').xor(flag('OF')).or(flag('ZF'));
    }
  };
  return code & 1 ? positive().eqz() : positive();
}
/** Unordered floats set ZF, PF and CF, as equal and smaller ones set the first and the last. */
function floatCondition(f: FunctionBuilder, [x, y]: readonly [Value, Value], kind: number): Value | undefined {
  const is = (relation: string, a: Value, b: Value): Value => f.op(`${x.type}.${relation}`, a, b);
  switch (kind) {
    case 1:
      return is('ge', x, y).eqz();
    case 2:
      return is('lt', x, y)
        .or(is('gt', x, y))
        .eqz();
    case 3:
      return is('gt', x, y).eqz();
    case 5:
      return is('ne', x, x).or(is('ne', y, y));
    default:
      return undefined;
  }
}
/** No correction of the sign. */
function isWordsOf(s: FlagState, b: bigint): boolean {
  return s.kind.kind === 'const' && (Number(s.kind.imm) !== FlagKind.WORDS || isConstant(s.b, b));
}
/** OF is zero and the sign is the result's. */
function isPlainResult(s: FlagState): boolean {
  return s.kind.kind === 'const' && Number(s.kind.imm) === FlagKind.WORDS && isConstant(s.a, 0n) && isConstant(s.b, 0n);
}
function isConstant(v: Value, n: bigint): boolean {
  return v.kind === 'const' && BigInt(v.imm) === n;
}

/** RFLAGS with all bits: i64. */
export function allFlags(store: FlagStore): Value {
  const { f } = store;
  const state = store.flagState();
  const bit = (name: FlagName, shift: number): Value => readFlag(f, state, name).shl(shift);
  return store
    .state('flags')
    .or(bit('CF', 0))
    .or(bit('PF', 2))
    .or(bit('AF', 4))
    .or(bit('ZF', 6))
    .or(bit('SF', 7))
    .or(bit('OF', 11))
    .extU();
}

/** Replaces the bits of RFLAGS in `mask`. */
export function assignAllFlags(store: FlagStore, value: Value, mask: Term): void {
  const { f } = store;
  const m = f.coerce(mask, 'i64').wrap();
  const old = allFlags(store).wrap();
  const next = old.and(m.not()).or(value.wrap().and(m));
  const bit = (shift: number): Value => next.shrU(shift).and(1);
  const zf = bit(6);
  const state = {
    result: zf.xor(1).extU(),
    a: bit(11).extU().shl(63),
    b: next.and(0x10).or(bit(2).xor(zf).shl(8)).or(bit(7).shl(31)).extU(),
    carry: bit(0),
    kind: f.i32(FlagKind.WORDS),
  };
  store.setState('flags', next.and(~ARITHMETIC_FLAGS).or(2));
  store.setFlagState(state);
  // A trap flag that is now set must be seen after the next instruction.
  f.if(
    next.and(Flag.TF),
    () => {
      store.setState('attention', 1);
    },
    undefined,
    false,
  );
}
