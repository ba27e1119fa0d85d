/** What translated code and the interpreter's main loop agree on. */
import { JUMP_CACHE_ENTRIES } from '../memory/layout.ts';
import { VpState } from '../vp/state.ts';
import type { FunctionBuilder, FunctionType } from '../wasm/function.ts';
import type { Value } from '../wasm/value.ts';

/**
 * A region: (budget, calls nested) -> budget left, and RIP says where to go on. With UNWIND: every caller is to return too.
 * Below zero it is the complement of the budget left, and the interpreter is to execute the instruction at RIP, whatever was
 * translated there.
 */
export const REGION: FunctionType = { params: ['i32', 'i32'], results: ['i32'] };
export const UNWIND = 0x4000_0000;
/** With UNWIND: because nothing is translated at RIP. */
export const COLD = 0x2000_0000;

/** Of the table of regions: how many there can be. */
export const PLACES = 32768;

/** What an interpreter's function for an instruction takes: VpState and record; it returns 1 where RIP says how to go on. */
export const OUTLINE: FunctionType = { params: ['i32', 'i32'], results: ['i32'] };

/** Counts why control leaves: an index of VpState's regionExits. */
export function countExit(f: FunctionBuilder, vp: Value, reason: number): void {
  const offset = VpState.offset('regionExits') + reason * 8;
  f.store('i64.store', vp, f.load('i64.load', vp, offset).add(1), offset);
}

/** Address of the jump cache's entry for a linear address, less the constant JUMP_CACHE. */
export function jumpCacheEntry(vp: Value, linear: Value): Value {
  const low = linear.wrap();
  return vp.add(
    low
      .xor(low.shrU(12))
      .and(JUMP_CACHE_ENTRIES - 1)
      .shl(4),
  );
}
