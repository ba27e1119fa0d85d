/**
 * Values: the nodes of a function under construction. A value is immutable; using it twice computes it once.
 * Constants fold, so semantics written for run-time operands become cheaper code where an operand is known.
 */

import type { FunctionBuilder, Region } from './function.ts';
import { type Operator, type OperatorFamily, operator, operatorFamily, type ValueType } from './opcodes.ts';

const ADD = operatorFamily('add');
const SUB = operatorFamily('sub');
const MUL = operatorFamily('mul');
const DIV_S = operatorFamily('div_s');
const DIV_U = operatorFamily('div_u');
const REM_S = operatorFamily('rem_s');
const REM_U = operatorFamily('rem_u');
const AND = operatorFamily('and');
const OR = operatorFamily('or');
const XOR = operatorFamily('xor');
const SHL = operatorFamily('shl');
const SHR_S = operatorFamily('shr_s');
const SHR_U = operatorFamily('shr_u');
const ROTL = operatorFamily('rotl');
const ROTR = operatorFamily('rotr');
const EQ = operatorFamily('eq');
const NE = operatorFamily('ne');
const LT_S = operatorFamily('lt_s');
const LT_U = operatorFamily('lt_u');
const GT_S = operatorFamily('gt_s');
const GT_U = operatorFamily('gt_u');
const LE_S = operatorFamily('le_s');
const LE_U = operatorFamily('le_u');
const GE_S = operatorFamily('ge_s');
const GE_U = operatorFamily('ge_u');
const EQZ = operatorFamily('eqz');
const CLZ = operatorFamily('clz');
const CTZ = operatorFamily('ctz');
const POPCNT = operatorFamily('popcnt');
const NEG = operatorFamily('neg');
const EXTEND8_S = operatorFamily('extend8_s');
const EXTEND16_S = operatorFamily('extend16_s');
const EXTEND32_S = operatorFamily('extend32_s');

/** The two types that nearly every value has are asked for by name: a key that varies is slow. */
function member(family: OperatorFamily, type: ValueType): Operator {
  const found = type === 'i64' ? family.i64 : type === 'i32' ? family.i32 : family[type];
  if (!found) throw new Error(`no such operation on ${type}`);
  return found;
}

export type Operand = Value | number | bigint;
type Kind = 'const' | 'hole' | 'param' | 'op' | 'load' | 'get' | 'call' | 'select';

export class Value {
  readonly builder: FunctionBuilder;
  readonly type: ValueType;
  readonly kind: Kind;
  readonly args: readonly Value[];
  /** Constant value, which number of a recorded piece, local index, or memory offset, by kind. */
  readonly imm: number | bigint;
  readonly operator: Operator | undefined;
  readonly lanes: readonly number[] | undefined;
  readonly region: Region;
  /** Filled in by the placement pass. */
  uses = 0;
  useAt = 0;
  lastUse = 0;
  inlined = false;
  local = -1;

  constructor(
    builder: FunctionBuilder,
    type: ValueType,
    kind: Kind,
    args: readonly Value[],
    imm: number | bigint,
    op?: Operator,
    lanes?: readonly number[],
  ) {
    this.builder = builder;
    this.type = type;
    this.kind = kind;
    this.args = args;
    this.imm = imm;
    this.operator = op;
    this.lanes = lanes;
    this.region = builder.region;
  }

  #binary(family: OperatorFamily, other: Operand): Value {
    return this.builder.operate(member(family, this.type), [this, this.builder.coerce(other, this.type)]);
  }
  #unary(family: OperatorFamily): Value {
    return this.builder.operate(member(family, this.type), [this]);
  }

  add(other: Operand): Value {
    return this.#binary(ADD, other);
  }
  sub(other: Operand): Value {
    return this.#binary(SUB, other);
  }
  mul(other: Operand): Value {
    return this.#binary(MUL, other);
  }
  divS(other: Operand): Value {
    return this.#binary(DIV_S, other);
  }
  divU(other: Operand): Value {
    return this.#binary(DIV_U, other);
  }
  remS(other: Operand): Value {
    return this.#binary(REM_S, other);
  }
  remU(other: Operand): Value {
    return this.#binary(REM_U, other);
  }
  and(other: Operand): Value {
    return this.#binary(AND, other);
  }
  or(other: Operand): Value {
    return this.#binary(OR, other);
  }
  xor(other: Operand): Value {
    return this.#binary(XOR, other);
  }
  shl(other: Operand): Value {
    return this.#binary(SHL, other);
  }
  shrS(other: Operand): Value {
    return this.#binary(SHR_S, other);
  }
  shrU(other: Operand): Value {
    return this.#binary(SHR_U, other);
  }
  rotl(other: Operand): Value {
    return this.#binary(ROTL, other);
  }
  rotr(other: Operand): Value {
    return this.#binary(ROTR, other);
  }
  eq(other: Operand): Value {
    return this.#binary(EQ, other);
  }
  ne(other: Operand): Value {
    return this.#binary(NE, other);
  }
  ltS(other: Operand): Value {
    return this.#binary(LT_S, other);
  }
  ltU(other: Operand): Value {
    return this.#binary(LT_U, other);
  }
  gtS(other: Operand): Value {
    return this.#binary(GT_S, other);
  }
  gtU(other: Operand): Value {
    return this.#binary(GT_U, other);
  }
  leS(other: Operand): Value {
    return this.#binary(LE_S, other);
  }
  leU(other: Operand): Value {
    return this.#binary(LE_U, other);
  }
  geS(other: Operand): Value {
    return this.#binary(GE_S, other);
  }
  geU(other: Operand): Value {
    return this.#binary(GE_U, other);
  }
  /** 1 where the value is zero; always i32. */
  eqz(): Value {
    return this.#unary(EQZ);
  }
  clz(): Value {
    return this.#unary(CLZ);
  }
  ctz(): Value {
    return this.#unary(CTZ);
  }
  popcnt(): Value {
    return this.#unary(POPCNT);
  }
  not(): Value {
    return this.xor(-1);
  }
  neg(): Value {
    return this.type[0] === 'i' ? this.builder.constant(this.type, 0).sub(this) : this.#unary(NEG);
  }
  /** The low 32 bits, as i32; an i32 is returned as it is. */
  wrap(): Value {
    return this.type === 'i32' ? this : this.builder.op('i32.wrap_i64', this);
  }
  /** Zero-extended to i64; an i64 is returned as it is. */
  extU(): Value {
    return this.type === 'i64' ? this : this.builder.op('i64.extend_i32_u', this);
  }
  /** Sign-extended to i64; an i64 is returned as it is. */
  extS(): Value {
    return this.type === 'i64' ? this : this.builder.op('i64.extend_i32_s', this);
  }
  /** The low `bits` (8, 16, 32, 64) sign-extended within the value's own type. */
  sext(bits: number): Value {
    const own = this.type === 'i64' ? 64 : 32;
    return bits >= own ? this : this.#unary(bits === 8 ? EXTEND8_S : bits === 16 ? EXTEND16_S : EXTEND32_S);
  }
  /** The low `bits` zero-extended within the value's own type. */
  zext(bits: number): Value {
    const own = this.type === 'i64' ? 64 : 32;
    if (bits >= own) return this;
    return this.and(2 ** bits - 1);
  }
}

const SIGNED: Record<string, (a: bigint, b: bigint) => boolean> = {
  lt_s: (a, b) => a < b,
  gt_s: (a, b) => a > b,
  le_s: (a, b) => a <= b,
  ge_s: (a, b) => a >= b,
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
};
const ARITHMETIC: Record<string, (a: bigint, b: bigint, bits: bigint) => bigint> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b, bits) => a << (b & (bits - 1n)),
  shr_s: (a, b, bits) => a >> (b & (bits - 1n)),
  shr_u: (a, b, bits) => BigInt.asUintN(Number(bits), a) >> (b & (bits - 1n)),
};
const UNSIGNED = new Set(['lt_u', 'gt_u', 'le_u', 'ge_u']);

/** The constant that an integer operation on constants gives, or undefined where it is not one the folder knows. */
export function fold(op: Operator, args: readonly Value[]): { type: ValueType; value: bigint } | undefined {
  const [first] = args;
  if (first?.kind !== 'const' || !args.every((a) => a.kind === 'const' && a.type[0] === 'i')) return undefined;
  const bits = first.type === 'i64' ? 64 : 32;
  const a = BigInt.asIntN(bits, BigInt(first.imm));
  const name = op.short;
  if (args.length === 1) {
    if (name === 'eqz') return { type: 'i32', value: a === 0n ? 1n : 0n };
    if (name === 'wrap_i64') return { type: 'i32', value: BigInt.asIntN(32, a) };
    if (name === 'extend_i32_s') return { type: 'i64', value: a };
    if (name === 'extend_i32_u') return { type: 'i64', value: BigInt.asUintN(32, a) };
    const extend = /^extend(\d+)_s$/.exec(name);
    if (extend) return { type: first.type, value: BigInt.asIntN(Number(extend[1]), a) };
    return undefined;
  }
  const b = BigInt.asIntN(bits, BigInt((args[1] as Value).imm));
  const arithmetic = ARITHMETIC[name];
  if (arithmetic) return { type: first.type, value: BigInt.asIntN(bits, arithmetic(a, b, BigInt(bits))) };
  const signed = UNSIGNED.has(name) ? SIGNED[name.replace('_u', '_s')] : SIGNED[name];
  if (!signed) return undefined;
  const of = (v: bigint): bigint => (UNSIGNED.has(name) ? BigInt.asUintN(bits, v) : v);
  return { type: 'i32', value: signed(of(a), of(b)) ? 1n : 0n };
}

const BIG = [-1n, 0n, 1n];
const ALL_ONES = 0xffff_ffff_ffff_ffffn;
/** The operand an operation leaves unchanged (x + 0, x << 0, x & -1 ...), if it is such a one. */
export function identity(op: Operator, args: readonly Value[]): Value | undefined {
  const known = op.neutral;
  if (known === undefined) return undefined;
  const b = args[1] as Value;
  if (b.kind !== 'const') return undefined;
  const a = args[0] as Value;
  const { imm } = b;
  // BigInt operations are slow where a comparison will do.
  if (typeof imm === 'bigint') return imm === BIG[known + 1] || (known < 0 && imm === ALL_ONES) ? a : undefined;
  return (b.type === 'i32' ? imm | 0 : imm) === known ? a : undefined;
}

export { operator };
