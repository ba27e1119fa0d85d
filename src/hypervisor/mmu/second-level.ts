/**
 * The second level of the data TLBs (Intel SDM vol. 3, "Invalidation of TLBs": what is cached where is the processor's affair). The
 * first level is what every access looks at inline; pages that share an entry there, and more than it has entries, are found
 * here for a fifth of the price of a walk. Nothing is emptied: an entry holds while its generation is one of those in VpState.
 */
import { STLB, STLB_ENTRIES, TLB_CONTEXTS } from '../memory/layout.ts';
import { VpState } from '../vp/state.ts';
import type { FunctionBuilder } from '../wasm/function.ts';
import type { Value } from '../wasm/value.ts';

/** Generations are numbers of their own for what is read and written, and for what is global. */
const GENERATIONS = VpState.offset('stlbGenerations');
const LAST = VpState.offset('stlbLast');
const WRITE = 2;
const GLOBAL = 1;
/** In the entry. */
const HOST = 8;
const GENERATION = 12;
/** Numbers are never used twice: before they end, everything is emptied. */
const MOST = 0x7fff_ff00;

const generation = (write: boolean, global: boolean): number =>
  GENERATIONS + ((write ? WRITE : 0) + (global ? GLOBAL : 0)) * 4;

/** @param kind context, and 4 for what may be written */
function entryOf(vp: Value, linear: Value, kind: Value): Value {
  const page = linear.shrU(12).xor(linear.shrU(26)).wrap();
  return vp.add(
    page
      .xor(kind.shl(11))
      .and(STLB_ENTRIES - 1)
      .shl(4),
  );
}
function kindOf(f: FunctionBuilder, vp: Value, write: boolean): Value {
  const context = f.load('i32.load', vp, VpState.offset('tlbContext'));
  return write ? context.or(4) : context;
}

export interface SecondLevelEntry {
  /** Host address of the page; zero: it is not here. */
  readonly host: Value;
  /** Whether the translation is a global one. */
  readonly global: Value;
}

export function findSecondLevel(f: FunctionBuilder, vp: Value, linear: Value, write: boolean): SecondLevelEntry {
  const kind = kindOf(f, vp, write);
  const entry = entryOf(vp, linear, kind);
  const host = f.variable('i32', 0);
  const global = f.variable('i32', 0);
  f.if(f.load('i64.load', entry, STLB).eq(linear.and(-4096).or(kind.extU())), () => {
    const number = f.load('i32.load', entry, STLB + GENERATION);
    global.set(number.eq(f.load('i32.load', vp, generation(write, true))));
    f.if(global.get().or(number.eq(f.load('i32.load', vp, generation(write, false)))), () => {
      host.set(f.load('i32.load', entry, STLB + HOST));
    });
  });
  return { host: host.get(), global: global.get() };
}

export function fillSecondLevel(
  f: FunctionBuilder,
  vp: Value,
  linear: Value,
  hostPage: Value,
  write: boolean,
  global: Value,
): void {
  const kind = kindOf(f, vp, write);
  const entry = entryOf(vp, linear, kind);
  f.store('i64.store', entry, linear.and(-4096).or(kind.extU()), STLB);
  f.store('i32.store', entry, hostPage, STLB + HOST);
  const number = f.load('i32.load', vp.add(global.shl(2)), generation(write, false));
  f.store('i32.store', entry, number, STLB + GENERATION);
}

/** What is dropped: what may be written alone, what is not global alone. */
export interface Dropped {
  readonly writes?: true;
  readonly locals?: true;
}
export function flushSecondLevel(f: FunctionBuilder, vp: Value, what: Dropped = {}): void {
  const last = f.variable('i32', f.load('i32.load', vp, LAST));
  const renew = (writes: readonly boolean[], globals: readonly boolean[]): void => {
    for (const write of writes)
      for (const global of globals) {
        last.set(last.get().add(1));
        f.store('i32.store', vp, last.get(), generation(write, global));
      }
  };
  f.if(last.get().gtU(MOST), () => {
    f.memoryFill(vp.add(STLB), 0, STLB_ENTRIES * 16);
    last.set(0);
    // All of them: a number that is kept would be given a second time.
    renew([false, true], [false, true]);
  });
  renew(what.writes ? [true] : [false, true], what.locals ? [false] : [false, true]);
  f.store('i32.store', vp, last.get(), LAST);
}

/** Drops one linear page, in every context. */
export function dropSecondLevel(f: FunctionBuilder, vp: Value, linear: Value): void {
  for (let context = 0; context < TLB_CONTEXTS; context++)
    for (const write of [0, 4]) f.store('i32.store', entryOf(vp, linear, f.i32(context | write)), 0, STLB + GENERATION);
}
