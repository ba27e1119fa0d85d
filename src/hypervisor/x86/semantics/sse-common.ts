/**
 * What SSE and MMX instructions share: whether they may run (Intel SDM vol. 3, 13.1 "Providing Operating System Support for
 * SSE", vol. 2, 2.7 "Exception Classification", 12.3 "MMX instructions and the x87 state"), and how floating-point
 * exceptions are reported in MXCSR (vol. 1, 11.5).
 */
import { Vector } from '../../vp/state.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import type { Semantics } from '../semantics.ts';

const CR0_EM = 1 << 2;
const CR0_TS = 1 << 3;
const CR0_NE = 1 << 5;
const CR4_OSFXSR = 1 << 9;
const CR4_OSXMMEXCPT = 1 << 10;
const FSW_ES = 1 << 7;

/** Where SSE instructions may not run: #UD without the operating system's support, #NM after a task switch. */
export function requireSse(s: Semantics): void {
  if (s.established?.('sse')) return;
  const disabled = s.state('cr4').wrap().and(CR4_OSFXSR).xor(CR4_OSFXSR);
  const reasons = s
    .state('cr0')
    .wrap()
    .and(CR0_EM | CR0_TS)
    .or(disabled);
  s.f.if(
    reasons.ne(0),
    () => {
      s.raiseIf(reasons.and(CR0_EM | CR4_OSFXSR).ne(0), Vector.UD);
      s.raise(Vector.NM);
    },
    undefined,
    false,
  );
}

/** Where MMX instructions may not run; a pending x87 exception is raised first. */
export function requireMmx(s: Semantics): void {
  const cr0 = s.state('cr0').wrap();
  s.f.if(
    cr0.and(CR0_EM | CR0_TS).ne(0),
    () => {
      s.raiseIf(cr0.and(CR0_EM).ne(0), Vector.UD);
      s.raise(Vector.NM);
    },
    undefined,
    false,
  );
  s.raiseIf(s.state('fsw').and(FSW_ES).ne(0).and(cr0.and(CR0_NE).ne(0)), Vector.MF);
}

/** The transition to MMX: TOP is 0 and no register is empty. After everything that can fault. */
export function enterMmx(s: Semantics): void {
  s.setState('ftop', 0);
  s.setState('ftw', 0xff);
}

/**
 * MXCSR as a helper leaves it: bit 31 says that an unmasked exception came up, which is #XM, or #UD where the operating
 * system does not handle that.
 */
export function raiseUnmasked(s: Semantics, mxcsr: Value): void {
  s.setState('mxcsr', mxcsr.and(0xffff));
  s.f.if(
    mxcsr.ltS(0),
    () => {
      s.raiseIf(s.state('cr4').wrap().and(CR4_OSXMMEXCPT).eqz(), Vector.UD);
      s.raise(Vector.XM);
    },
    undefined,
    false,
  );
}

/** Adds exceptions to MXCSR. Where one is unmasked: #XM, or #UD where the operating system does not handle that. */
export function reportExceptions(s: Semantics, mxcsr: Value, flags: Value): void {
  const occurred = flags.and(0x3f);
  s.setState('mxcsr', mxcsr.or(occurred));
  s.f.if(
    occurred.and(mxcsr.shrU(7).not()).ne(0),
    () => {
      s.raiseIf(s.state('cr4').wrap().and(CR4_OSXMMEXCPT).eqz(), Vector.UD);
      s.raise(Vector.XM);
    },
    undefined,
    false,
  );
}

/** Lane type of the SIMD and scalar operations of a format. */
export interface Lanes {
  readonly format: '32' | '64';
  readonly scalar: 'f32' | 'f64';
  readonly integer: 'i32' | 'i64';
  readonly vector: 'f32x4' | 'f64x2';
  readonly integers: 'i32x4' | 'i64x2';
  readonly count: 4 | 2;
  readonly smallest: number;
}
export const SINGLE: Lanes = {
  format: '32',
  scalar: 'f32',
  integer: 'i32',
  vector: 'f32x4',
  integers: 'i32x4',
  count: 4,
  smallest: 2 ** -126,
};
export const DOUBLE: Lanes = {
  format: '64',
  scalar: 'f64',
  integer: 'i64',
  vector: 'f64x2',
  integers: 'i64x2',
  count: 2,
  smallest: 2 ** -1022,
};

export function isDouble(lanes: Lanes): boolean {
  return lanes.format === '64';
}

/** A vector with the same 32-bit number in every lane, or the same 64-bit one. */
export function splat32(f: FunctionBuilder, value: number): Value {
  const bytes = [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
  return f.v128([...bytes, ...bytes, ...bytes, ...bytes]);
}
export function splat64(f: FunctionBuilder, value: bigint): Value {
  const bytes = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
  return f.v128([...bytes, ...bytes]);
}
export function splatFloat(f: FunctionBuilder, lanes: Lanes, value: number): Value {
  const view = new DataView(new ArrayBuffer(8));
  if (isDouble(lanes)) {
    view.setFloat64(0, value, true);
    return splat64(f, view.getBigUint64(0, true));
  }
  view.setFloat32(0, value, true);
  return splat32(f, view.getUint32(0, true));
}

export function float(f: FunctionBuilder, lanes: Lanes, bits: Value): Value {
  return f.op(`${lanes.scalar}.reinterpret_${lanes.integer}`, bits);
}
export function bitsOf(f: FunctionBuilder, lanes: Lanes, value: Value): Value {
  return f.op(`${lanes.integer}.reinterpret_${lanes.scalar}`, value);
}

/** The low lane of a scalar operand, as an integer. */
export function readScalar(s: Semantics, lanes: Lanes, n: number): Value {
  return isDouble(lanes) ? s.read64(n) : s.read32(n);
}
/** The low lane as bits and as a float. */
export function readFloat(s: Semantics, lanes: Lanes, n: number): [bits: Value, float: Value] {
  const bits = readScalar(s, lanes, n);
  return [bits, float(s.f, lanes, bits)];
}
export function writeFloat(s: Semantics, lanes: Lanes, n: number, value: Value): void {
  writeScalar(s, lanes, n, bitsOf(s.f, lanes, value));
}
export function writeScalar(s: Semantics, lanes: Lanes, n: number, value: Value): void {
  if (isDouble(lanes)) s.write64(n, value);
  else s.write32(n, value);
}

/** One integer lane of a vector, and a vector with one integer lane replaced. */
export function lane(f: FunctionBuilder, lanes: Lanes, vector: Value, i: number): Value {
  return f.lane(`${lanes.integers}.extract_lane`, [i], vector);
}
export function withLane(f: FunctionBuilder, lanes: Lanes, vector: Value, i: number, value: Value): Value {
  return f.lane(`${lanes.integers}.replace_lane`, [i], vector, value);
}

/** A 64-bit value in the low half of a vector, zero above; and the low half of a vector. */
export function fromLow(f: FunctionBuilder, low: Value): Value {
  return f.lane('i64x2.replace_lane', [0], f.v128(ZERO_BYTES), low);
}
export function low64(f: FunctionBuilder, vector: Value): Value {
  return f.lane('i64x2.extract_lane', [0], vector);
}
export function high64(f: FunctionBuilder, vector: Value): Value {
  return f.lane('i64x2.extract_lane', [1], vector);
}
export const ZERO_BYTES: readonly number[] = new Array<number>(16).fill(0);
export function zeroVector(f: FunctionBuilder): Value {
  return f.v128(ZERO_BYTES);
}

/** A shuffle of the bytes of two vectors by constant numbers, 0..31. */
export function shuffle(f: FunctionBuilder, bytes: readonly number[], a: Value, b: Value): Value {
  return f.lane('i8x16.shuffle', bytes, a, b);
}
/** Byte numbers of a list of lanes of `width` bytes. */
export function laneBytes(width: number, lanes: readonly number[]): number[] {
  return lanes.flatMap((n) => Array.from({ length: width }, (_, i) => n * width + i));
}

/** XMM0, the implicit mask of the BLENDV instructions. */
export function readXmm0(s: Semantics): Value {
  return s.f.load('v128.load', s.stateAddress('xmm'));
}

/** The value of an immediate that is known while building. */
export function known(value: Value): number | undefined {
  return value.kind === 'const' ? Number(BigInt.asUintN(32, BigInt(value.imm))) : undefined;
}
