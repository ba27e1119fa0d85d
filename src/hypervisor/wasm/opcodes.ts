/**
 * The WebAssembly instructions the emitter knows: opcode bytes and signatures, one table for the encoder, the constant
 * folder and the tests. Numbers: WebAssembly Core Specification 3.0, "Binary Format: Instructions".
 */

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export interface Operator {
  readonly name: string;
  /** The name without its type: `add` of `i64.add`. */
  readonly short: string;
  /** Encoded opcode: one byte, or a prefix byte followed by a LEB128 number. */
  readonly code: readonly number[];
  readonly params: readonly ValueType[];
  readonly result: ValueType;
  /** Bytes of lane immediates that follow the opcode (1 for a lane index, 16 for a shuffle). */
  readonly lanes: number;
  /** The constant second operand that leaves an integer as it is; undefined: there is none. */
  readonly neutral: number | undefined;
  /** Moves bits between integers and floats, or to or from a lane: may have a shorter form. */
  readonly moves: boolean;
}

export interface MemoryOperator {
  readonly name: string;
  readonly code: readonly number[];
  readonly type: ValueType;
  readonly access: 'load' | 'store' | 'modify';
  /** log2 of the natural alignment, which atomics must state exactly. */
  readonly align: number;
  readonly atomic: boolean;
}

const operators = new Map<string, Operator>();
const memory = new Map<string, MemoryOperator>();

const NEUTRAL: ReadonlyMap<string, number> = new Map([
  ...['add', 'sub', 'or', 'xor', 'shl', 'shr_s', 'shr_u', 'rotl', 'rotr'].map((name) => [name, 0] as const),
  ['and', -1],
  ['mul', 1],
]);

function leb(n: number): number[] {
  return n < 0x80 ? [n] : [(n & 0x7f) | 0x80, ...leb(n >>> 7)];
}

function define(
  name: string,
  code: readonly number[],
  params: readonly ValueType[],
  result: ValueType,
  lanes = 0,
): void {
  const short = name.slice(name.indexOf('.') + 1);
  const neutral = /^i(32|64)\./.test(name) ? NEUTRAL.get(short) : undefined;
  const moves = /reinterpret|^(i32x4|i64x2)\.(splat|extract_lane|replace_lane)$/.test(name);
  operators.set(name, { name, short, code, params, result, lanes, neutral, moves });
}

/** A run of same-shaped numeric instructions in opcode order. */
function run(first: number, prefix: string, names: string, params: readonly ValueType[], result: ValueType): void {
  names.split(' ').forEach((n, i) => {
    define(`${prefix}.${n}`, [first + i], params, result);
  });
}

const COMPARE = 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u';
const INTEGER = 'add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr';
const FLOAT_UNARY = 'abs neg ceil floor trunc nearest sqrt';
const FLOAT_BINARY = 'add sub mul div min max copysign';

define('i32.eqz', [0x45], ['i32'], 'i32');
run(0x46, 'i32', COMPARE, ['i32', 'i32'], 'i32');
define('i64.eqz', [0x50], ['i64'], 'i32');
run(0x51, 'i64', COMPARE, ['i64', 'i64'], 'i32');
run(0x5b, 'f32', 'eq ne lt gt le ge', ['f32', 'f32'], 'i32');
run(0x61, 'f64', 'eq ne lt gt le ge', ['f64', 'f64'], 'i32');
run(0x67, 'i32', 'clz ctz popcnt', ['i32'], 'i32');
run(0x6a, 'i32', INTEGER, ['i32', 'i32'], 'i32');
run(0x79, 'i64', 'clz ctz popcnt', ['i64'], 'i64');
run(0x7c, 'i64', INTEGER, ['i64', 'i64'], 'i64');
run(0x8b, 'f32', FLOAT_UNARY, ['f32'], 'f32');
run(0x92, 'f32', FLOAT_BINARY, ['f32', 'f32'], 'f32');
run(0x99, 'f64', FLOAT_UNARY, ['f64'], 'f64');
run(0xa0, 'f64', FLOAT_BINARY, ['f64', 'f64'], 'f64');
define('i32.wrap_i64', [0xa7], ['i64'], 'i32');
define('i64.extend_i32_s', [0xac], ['i32'], 'i64');
define('i64.extend_i32_u', [0xad], ['i32'], 'i64');
define('f32.convert_i32_s', [0xb2], ['i32'], 'f32');
define('f32.convert_i32_u', [0xb3], ['i32'], 'f32');
define('f32.convert_i64_s', [0xb4], ['i64'], 'f32');
define('f32.convert_i64_u', [0xb5], ['i64'], 'f32');
define('f32.demote_f64', [0xb6], ['f64'], 'f32');
define('f64.convert_i32_s', [0xb7], ['i32'], 'f64');
define('f64.convert_i32_u', [0xb8], ['i32'], 'f64');
define('f64.convert_i64_s', [0xb9], ['i64'], 'f64');
define('f64.convert_i64_u', [0xba], ['i64'], 'f64');
define('f64.promote_f32', [0xbb], ['f32'], 'f64');
define('i32.reinterpret_f32', [0xbc], ['f32'], 'i32');
define('i64.reinterpret_f64', [0xbd], ['f64'], 'i64');
define('f32.reinterpret_i32', [0xbe], ['i32'], 'f32');
define('f64.reinterpret_i64', [0xbf], ['i64'], 'f64');
define('i32.extend8_s', [0xc0], ['i32'], 'i32');
define('i32.extend16_s', [0xc1], ['i32'], 'i32');
define('i64.extend8_s', [0xc2], ['i64'], 'i64');
define('i64.extend16_s', [0xc3], ['i64'], 'i64');
define('i64.extend32_s', [0xc4], ['i64'], 'i64');
for (const [i, [to, from]] of (
  [
    ['i32', 'f32'],
    ['i32', 'f64'],
    ['i64', 'f32'],
    ['i64', 'f64'],
  ] as const
).entries()) {
  define(`${to}.trunc_sat_${from}_s`, [0xfc, 2 * i], [from], to);
  define(`${to}.trunc_sat_${from}_u`, [0xfc, 2 * i + 1], [from], to);
}

function simd(first: number, names: string, params: readonly ValueType[], result: ValueType, lanes = 0): void {
  names.split(' ').forEach((n, i) => {
    if (n !== '-') define(n.includes('.') ? n : `v128.${n}`, [0xfd, ...leb(first + i)], params, result, lanes);
  });
}
const v2: readonly ValueType[] = ['v128', 'v128'];
const shape = (prefix: string, names: string): string =>
  names
    .split(' ')
    .map((n) => (n === '-' ? n : `${prefix}.${n}`))
    .join(' ');

simd(0x0d, 'i8x16.shuffle', v2, 'v128', 16);
simd(0x0e, 'i8x16.swizzle', v2, 'v128');
for (const [i, [name, type]] of (
  [
    ['i8x16', 'i32'],
    ['i16x8', 'i32'],
    ['i32x4', 'i32'],
    ['i64x2', 'i64'],
    ['f32x4', 'f32'],
    ['f64x2', 'f64'],
  ] as const
).entries()) {
  simd(0x0f + i, `${name}.splat`, [type], 'v128');
}
simd(0x15, 'i8x16.extract_lane_s i8x16.extract_lane_u', ['v128'], 'i32', 1);
simd(0x17, 'i8x16.replace_lane', ['v128', 'i32'], 'v128', 1);
simd(0x18, 'i16x8.extract_lane_s i16x8.extract_lane_u', ['v128'], 'i32', 1);
simd(0x1a, 'i16x8.replace_lane', ['v128', 'i32'], 'v128', 1);
simd(0x1b, 'i32x4.extract_lane', ['v128'], 'i32', 1);
simd(0x1c, 'i32x4.replace_lane', ['v128', 'i32'], 'v128', 1);
simd(0x1d, 'i64x2.extract_lane', ['v128'], 'i64', 1);
simd(0x1e, 'i64x2.replace_lane', ['v128', 'i64'], 'v128', 1);
simd(0x1f, 'f32x4.extract_lane', ['v128'], 'f32', 1);
simd(0x20, 'f32x4.replace_lane', ['v128', 'f32'], 'v128', 1);
simd(0x21, 'f64x2.extract_lane', ['v128'], 'f64', 1);
simd(0x22, 'f64x2.replace_lane', ['v128', 'f64'], 'v128', 1);
simd(0x23, shape('i8x16', COMPARE), v2, 'v128');
simd(0x2d, shape('i16x8', COMPARE), v2, 'v128');
simd(0x37, shape('i32x4', COMPARE), v2, 'v128');
simd(0x41, shape('f32x4', 'eq ne lt gt le ge'), v2, 'v128');
simd(0x47, shape('f64x2', 'eq ne lt gt le ge'), v2, 'v128');
simd(0x4d, 'not', ['v128'], 'v128');
simd(0x4e, 'and andnot or xor', v2, 'v128');
simd(0x52, 'bitselect', ['v128', 'v128', 'v128'], 'v128');
simd(0x53, 'any_true', ['v128'], 'i32');
simd(0x5e, 'f32x4.demote_f64x2_zero f64x2.promote_low_f32x4', ['v128'], 'v128');
simd(0x60, shape('i8x16', 'abs neg popcnt'), ['v128'], 'v128');
simd(0x63, shape('i8x16', 'all_true bitmask'), ['v128'], 'i32');
simd(0x65, shape('i8x16', 'narrow_i16x8_s narrow_i16x8_u'), v2, 'v128');
simd(0x67, shape('f32x4', 'ceil floor trunc nearest'), ['v128'], 'v128');
simd(0x6b, shape('i8x16', 'shl shr_s shr_u'), ['v128', 'i32'], 'v128');
simd(0x6e, shape('i8x16', 'add add_sat_s add_sat_u sub sub_sat_s sub_sat_u'), v2, 'v128');
simd(0x74, shape('f64x2', 'ceil floor'), ['v128'], 'v128');
simd(0x76, shape('i8x16', 'min_s min_u max_s max_u'), v2, 'v128');
simd(0x7a, 'f64x2.trunc', ['v128'], 'v128');
simd(0x7b, 'i8x16.avgr_u', v2, 'v128');
simd(0x7c, 'i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u', ['v128'], 'v128');
simd(0x7e, 'i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u', ['v128'], 'v128');
simd(0x80, shape('i16x8', 'abs neg'), ['v128'], 'v128');
simd(0x82, 'i16x8.q15mulr_sat_s', v2, 'v128');
simd(0x83, shape('i16x8', 'all_true bitmask'), ['v128'], 'i32');
simd(0x85, shape('i16x8', 'narrow_i32x4_s narrow_i32x4_u'), v2, 'v128');
simd(
  0x87,
  shape('i16x8', 'extend_low_i8x16_s extend_high_i8x16_s extend_low_i8x16_u extend_high_i8x16_u'),
  ['v128'],
  'v128',
);
simd(0x8b, shape('i16x8', 'shl shr_s shr_u'), ['v128', 'i32'], 'v128');
simd(0x8e, shape('i16x8', 'add add_sat_s add_sat_u sub sub_sat_s sub_sat_u'), v2, 'v128');
simd(0x94, 'f64x2.nearest', ['v128'], 'v128');
simd(0x95, shape('i16x8', 'mul min_s min_u max_s max_u - avgr_u'), v2, 'v128');
simd(0x9c, shape('i16x8', 'extmul_low_i8x16_s extmul_high_i8x16_s extmul_low_i8x16_u extmul_high_i8x16_u'), v2, 'v128');
simd(0xa0, shape('i32x4', 'abs neg'), ['v128'], 'v128');
simd(0xa3, shape('i32x4', 'all_true bitmask'), ['v128'], 'i32');
simd(
  0xa7,
  shape('i32x4', 'extend_low_i16x8_s extend_high_i16x8_s extend_low_i16x8_u extend_high_i16x8_u'),
  ['v128'],
  'v128',
);
simd(0xab, shape('i32x4', 'shl shr_s shr_u'), ['v128', 'i32'], 'v128');
simd(0xae, shape('i32x4', 'add - - sub - - - mul min_s min_u max_s max_u dot_i16x8_s'), v2, 'v128');
simd(0xbc, shape('i32x4', 'extmul_low_i16x8_s extmul_high_i16x8_s extmul_low_i16x8_u extmul_high_i16x8_u'), v2, 'v128');
simd(0xc0, shape('i64x2', 'abs neg'), ['v128'], 'v128');
simd(0xc3, shape('i64x2', 'all_true bitmask'), ['v128'], 'i32');
simd(
  0xc7,
  shape('i64x2', 'extend_low_i32x4_s extend_high_i32x4_s extend_low_i32x4_u extend_high_i32x4_u'),
  ['v128'],
  'v128',
);
simd(0xcb, shape('i64x2', 'shl shr_s shr_u'), ['v128', 'i32'], 'v128');
simd(0xce, shape('i64x2', 'add - - sub - - - mul eq ne lt_s gt_s le_s ge_s'), v2, 'v128');
simd(0xdc, shape('i64x2', 'extmul_low_i32x4_s extmul_high_i32x4_s extmul_low_i32x4_u extmul_high_i32x4_u'), v2, 'v128');
simd(0xe0, shape('f32x4', 'abs neg - sqrt'), ['v128'], 'v128');
simd(0xe4, shape('f32x4', 'add sub mul div min max pmin pmax'), v2, 'v128');
simd(0xec, shape('f64x2', 'abs neg - sqrt'), ['v128'], 'v128');
simd(0xf0, shape('f64x2', 'add sub mul div min max pmin pmax'), v2, 'v128');
simd(
  0xf8,
  'i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u ' +
    'i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u',
  ['v128'],
  'v128',
);

function access(name: string, code: readonly number[], type: ValueType, align: number, atomic = false): void {
  const access = name.includes('.rmw') ? 'modify' : name.includes('.load') ? 'load' : 'store';
  memory.set(name, { name, code, type, access, align, atomic });
}
access('i32.load', [0x28], 'i32', 2);
access('i64.load', [0x29], 'i64', 3);
access('f32.load', [0x2a], 'f32', 2);
access('f64.load', [0x2b], 'f64', 3);
access('i32.load8_s', [0x2c], 'i32', 0);
access('i32.load8_u', [0x2d], 'i32', 0);
access('i32.load16_s', [0x2e], 'i32', 1);
access('i32.load16_u', [0x2f], 'i32', 1);
access('i64.load8_s', [0x30], 'i64', 0);
access('i64.load8_u', [0x31], 'i64', 0);
access('i64.load16_s', [0x32], 'i64', 1);
access('i64.load16_u', [0x33], 'i64', 1);
access('i64.load32_s', [0x34], 'i64', 2);
access('i64.load32_u', [0x35], 'i64', 2);
access('i32.store', [0x36], 'i32', 2);
access('i64.store', [0x37], 'i64', 3);
access('f32.store', [0x38], 'f32', 2);
access('f64.store', [0x39], 'f64', 3);
access('i32.store8', [0x3a], 'i32', 0);
access('i32.store16', [0x3b], 'i32', 1);
access('i64.store8', [0x3c], 'i64', 0);
access('i64.store16', [0x3d], 'i64', 1);
access('i64.store32', [0x3e], 'i64', 2);
access('v128.load', [0xfd, 0x00], 'v128', 4);
access('v128.store', [0xfd, 0x0b], 'v128', 4);
access('v128.load32_zero', [0xfd, 0x5c], 'v128', 2);
access('v128.load64_zero', [0xfd, 0x5d], 'v128', 3);

/** Threads: `i32.atomic.load`, `i64.atomic.rmw8.add_u` and so on; cmpxchg takes (address, expected, replacement). */
const ATOMIC_SHAPES = [
  ['i32', '', '', 2],
  ['i64', '', '', 3],
  ['i32', '8', '_u', 0],
  ['i32', '16', '_u', 1],
  ['i64', '8', '_u', 0],
  ['i64', '16', '_u', 1],
  ['i64', '32', '_u', 2],
] as const;
for (const [i, [type, width, sign, align]] of ATOMIC_SHAPES.entries()) {
  access(`${type}.atomic.load${width}${sign}`, [0xfe, 0x10 + i], type, align, true);
  access(`${type}.atomic.store${width}`, [0xfe, 0x17 + i], type, align, true);
  ['add', 'sub', 'and', 'or', 'xor', 'xchg', 'cmpxchg'].forEach((op, j) => {
    access(`${type}.atomic.rmw${width}.${op}${sign}`, [0xfe, 0x1e + 7 * j + i], type, align, true);
  });
}

export function operator(name: string): Operator {
  const found = operators.get(name);
  if (!found) throw new Error(`no WebAssembly instruction ${name}`);
  return found;
}

export function memoryOperator(name: string): MemoryOperator {
  const found = memory.get(name);
  if (!found) throw new Error(`no WebAssembly memory instruction ${name}`);
  return found;
}

export function allOperators(): Iterable<Operator> {
  return operators.values();
}

export function allMemoryOperators(): Iterable<MemoryOperator> {
  return memory.values();
}

/** An operation as the types have it; those that a type has not are undefined. */
export type OperatorFamily = Readonly<Record<ValueType, Operator | undefined>>;

/** The operation of a short name for each scalar type: for those who build much. */
export function operatorFamily(short: string): OperatorFamily {
  const of = (type: ValueType): Operator | undefined => operators.get(`${type}.${short}`);
  return { i32: of('i32'), i64: of('i64'), f32: of('f32'), f64: of('f64'), v128: undefined };
}
