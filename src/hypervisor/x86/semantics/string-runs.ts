/**
 * What the helpers of repeated string instructions share: how much of a run can be done at once, where its bytes are, and
 * how work counts towards interrupts. Intel SDM vol. 2, "REP".
 */
import { TLB, TLB_WRITE } from '../../memory/layout.ts';
import { holds, hostAddress, MODIFY, tlbEntry } from '../../mmu/access.ts';
import { Flag, VpState } from '../../vp/state.ts';
import type { Callee, FunctionBuilder } from '../../wasm/function.ts';
import type { Operand, Value } from '../../wasm/value.ts';

export const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);
export const gpr = (index: number): number => at('gpr') + index * 8;

/**
 * Work after which repeated instructions leave the interpreter: their counts are the guest's, and the budget counts
 * instructions. An element is one; moved at once, 128 bytes are; access to a port is many.
 */
export const LONGEST_REPEAT = 0x1_0000;
export const RUN_SHIFT = 7;
export const PORT_WORK = 16;

/** Adds to what the repeated instructions of this run have done, and asks for attention when it is much. */
export function countRepetition(f: FunctionBuilder, vp: Value, work: Operand): void {
  const done = f.load('i32.load', vp, at('repetitions')).add(work);
  f.store('i32.store', vp, done, at('repetitions'));
  f.if(
    done.gtU(LONGEST_REPEAT),
    () => {
      f.store('i32.store', vp, 1, at('attention'));
    },
    undefined,
    false,
  );
}

/**
 * Elements from `linear` to the end of its page in the direction of travel, at least 1, at most `count`. Going down only
 * one at a time.
 */
export function run(f: FunctionBuilder, linear: Value, size: Value, count: Value): Value {
  const room = f.i64(4096).sub(linear.and(4095)).divU(size);
  const least = f.select(room.eqz(), f.i64(1), room);
  return f.select(least.ltU(count), least, count);
}

export function minimum(f: FunctionBuilder, a: Value, b: Value): Value {
  return f.select(a.ltU(b), a, b);
}

/** Host address of one element; the rest of its page follows it there unless it is the bounce buffer. */
export function hostFor(
  f: FunctionBuilder,
  helper: (name: string) => Callee,
  vp: Value,
  linear: Value,
  size: Value,
  write: boolean,
): Value {
  const crossing = linear.and(4095).add(size).gtU(4096);
  const host = f.variable('i32');
  const slow = (): Value =>
    f.call1(helper(write ? 'store_slow' : 'load_slow'), vp, linear, size.wrap(), write ? MODIFY : 0);
  f.if(
    crossing,
    () => {
      host.set(slow());
    },
    () => {
      host.set(hostAddress(f, vp, linear, 1, write, slow));
    },
  );
  return host.get();
}

/** 1 where the TLB does not hold the page: device memory, code, alignment checks. Only one element is safe then. */
export function isUnmapped(f: FunctionBuilder, vp: Value, linear: Value, write: boolean): Value {
  const tag = f.load('i64.load', tlbEntry(f, vp, linear), TLB + (write ? TLB_WRITE : 0));
  return holds(tag, linear, 1).eqz();
}

/** 1 where elements go one at a time: downwards, and while a single step is one element. */
export function isSlow(f: FunctionBuilder, vp: Value): Value {
  const down = f.load('i32.load', vp, at('flags')).and(Flag.DF).ne(0);
  return down.or(f.load('i32.load', vp, at('repetitions')).gtU(LONGEST_REPEAT));
}
