/**
 * Addresses within operands that are larger than a register: Intel SDM vol. 1, 3.3.7.1 "Canonical Addressing", and vol. 3,
 * "Limit Checking": outside 64-bit mode a linear address has 32 bits.
 */
import { Mode } from '../../vp/state.ts';
import type { Value } from '../../wasm/value.ts';
import type { Semantics } from '../semantics.ts';

/** The linear address `offset` bytes further. */
export function linearAfter(s: Semantics, linear: Value, offset: number): Value {
  const at = linear.add(offset);
  return s.flat ? at : s.f.select(s.state('mode').and(Mode.LONG64), at, at.zext(32));
}
