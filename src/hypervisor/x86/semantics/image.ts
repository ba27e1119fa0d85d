/**
 * Operands that are larger than a register are accessed part by part. Each part has an effective address of its own, which
 * wraps at the address size, and is checked against the segment by itself: Intel SDM vol. 1, 3.3.7 "Address Calculations in
 * 64-Bit Mode", and vol. 3, 5.3 "Limit Checking", which leaves to the processor what happens where a segment ends.
 */
import { Mode } from '../../vp/state.ts';
import type { Value } from '../../wasm/value.ts';
import type { Semantics } from '../semantics.ts';

/** The linear address of `bytes` bytes, `offset` bytes into memory operand 0. */
export function operandPart(s: Semantics, offset: Value | number, bytes: number, access: 'read' | 'write'): Value {
  if (offset === 0) return s.linear(0, bytes, access);
  const wide = typeof offset === 'number' ? s.f.i64(offset) : offset;
  return s.segmentLinear('override', s.truncateAddress(s.address(0).add(wide)), bytes, access);
}

/** The linear address `offset` bytes further, of 32 bits outside 64-bit mode. */
export function linearAfter(s: Semantics, linear: Value, offset: number): Value {
  const at = linear.add(offset);
  return s.flat ? at : s.f.select(s.state('mode').and(Mode.LONG64), at, at.zext(32));
}

/**
 * For an operation in TypeScript: how many bytes of operand 0 lie before its effective address wraps (0: all), in bits 15:8,
 * and in bit 16 that it is not a 16-bit one.
 */
export function wrapping(s: Semantics, bytes: number): Value {
  if (s.flat) return s.f.i64(0);
  const { f } = s;
  const first = s.address(0);
  const wraps = s.truncateAddress(first.add(bytes - 1)).ltU(first);
  const before = f.select(wraps, s.truncateAddress(f.i64(0).sub(first)), f.i64(0));
  return before.shl(8).or(s.truncateAddress(f.i64(-1)).and(0x1_0000));
}
