/**
 * Dropping translations: Intel SDM vol. 3, "Invalidation of TLBs and Paging-Structure Caches". The TLBs and the jump cache
 * are emptied together, because the jump cache is by linear address too.
 */
import {
  CODE_TLB,
  CODE_TLB_CONTEXT,
  CODE_TLB_ENTRIES,
  FILLED,
  FILLED_ENTRIES,
  FILLED_LIST,
  GIANT_PAGES,
  GIANT_PAGES_SIZE,
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  JUMP_PAGES,
  JUMP_PAGES_SIZE,
  LARGE_PAGES,
  LARGE_PAGES_SIZE,
  TLB,
  TLB_CONTEXT_SHIFT,
  TLB_CONTEXTS,
  TLB_ENTRIES,
  TLB_ENTRY,
  TLB_WRITE,
} from '../memory/layout.ts';
import { VpState } from '../vp/state.ts';
import type { FunctionBuilder } from '../wasm/function.ts';
import type { Operand, Value } from '../wasm/value.ts';
import type { HelperDefinition } from '../x86/library.ts';
import { CHECKED_CONTEXT, tagOf } from './access.ts';
import { dropSecondLevel, flushSecondLevel } from './second-level.ts';
import { byteOf, giantPage, largePage } from './walk.ts';

/**
 * What empty entries are filled with. The tag that these bytes make is that of linear addresses that begin with them: those are
 * not canonical, but a program can try them, and an access that hits is not checked. So the two entries that such addresses
 * select get a tag of the first two pages, which select other entries.
 */
const EMPTY = 0x80;
const EMPTY_TAG = 0x8080_8080_8080_8080n;
const SELECTED_BY_EMPTY_TAG = [1n, 4096n].map((n) => Number((EMPTY_TAG + n) >> 12n) & (TLB_ENTRIES - 1));

/** Empties the TLBs of one or several contexts and kinds, which follow each other at `at`. */
function empty(f: FunctionBuilder, vp: Value, at: number, count: number): void {
  f.memoryFill(vp.add(at), EMPTY, count * TLB_WRITE);
  for (let n = 0; n < count; n++)
    for (const entry of SELECTED_BY_EMPTY_TAG) f.store('i64.store', vp, 0n, at + n * TLB_WRITE + entry * TLB_ENTRY);
}

/** Translated code has looked up where it goes: it returns to the interpreter, and looks again. */
function unwind(f: FunctionBuilder, vp: Value): void {
  f.store('i32.store', vp, 1, VpState.offset('unwind'));
}

/** A loop over the u32 or larger things in [from, to), `step` bytes apart. */
function each(f: FunctionBuilder, from: Operand, to: Value, step: number, body: (at: Value) => void): void {
  const at = f.variable('i32', from);
  f.block((done) => {
    f.loop((again) => {
      f.brIf(done, at.get().geU(to));
      body(at.get());
      at.set(at.get().add(step));
      f.br(again);
    });
  });
}

/** The tag of a page that selects another entry than the one at this address of a TLB: no address hits. */
function tagElsewhere(entry: Value): Value {
  const tlb = (TLB_ENTRIES - 1) << 4;
  return tagOf(entry.not().and(tlb).shl(8).extU());
}

/** Where the byte of an address's page is in JUMP_PAGES. */
export function jumpPage(linear: Value): Value {
  return byteOf(linear, 12, JUMP_PAGES_SIZE);
}
function emptyJumpCache(f: FunctionBuilder, vp: Value): void {
  f.memoryFill(vp.add(JUMP_CACHE), EMPTY, JUMP_CACHE_ENTRIES * 16);
  f.memoryFill(vp.add(JUMP_PAGES), 0, JUMP_PAGES_SIZE);
}

export const flushHelpers: readonly HelperDefinition[] = [
  {
    // Drops every translation of the processor.
    name: 'flush_tlb',
    exported: true,
    type: { params: ['i32'], results: [] },
    build(f) {
      const vp = f.param(0);
      unwind(f, vp);
      empty(f, vp, TLB, 2 * TLB_CONTEXTS);
      flushSecondLevel(f, vp);
      f.memoryFill(vp.add(CODE_TLB), EMPTY, 2 * CODE_TLB_CONTEXT);
      emptyJumpCache(f, vp);
      f.memoryFill(vp.add(LARGE_PAGES), 0, LARGE_PAGES_SIZE);
      f.memoryFill(vp.add(GIANT_PAGES), 0, GIANT_PAGES_SIZE);
      f.store('i32.store', vp, 0, FILLED);
    },
  },
  {
    // Drops every translation that is not global.
    name: 'flush_local',
    exported: true,
    type: { params: ['i32'], results: [] },
    build(f, helper) {
      const vp = f.param(0);
      unwind(f, vp);
      const count = f.load('i32.load', vp, FILLED);
      f.if(count.gtU(FILLED_ENTRIES), () => {
        f.call(helper('flush_tlb'), vp);
        f.return();
      });
      const list = vp.add(FILLED_LIST);
      each(f, list, list.add(count.shl(2)), 4, (at) => {
        const entry = f.load('i32.load', at);
        f.store('i64.store', entry, tagElsewhere(entry));
        // In the jump cache this is no record and no region.
        f.store('i64.store', entry, 0n, 8);
      });
      flushSecondLevel(f, vp, { locals: true });
      f.store('i32.store', vp, 0, FILLED);
    },
  },
  {
    // Drops the write translations, so that stores to pages that now hold code (or are logged) take the slow path.
    name: 'flush_writes',
    exported: true,
    type: { params: ['i32'], results: [] },
    build(f) {
      for (let context = 0; context < TLB_CONTEXTS; context++)
        empty(f, f.param(0), TLB + TLB_WRITE + (context << TLB_CONTEXT_SHIFT), 1);
      flushSecondLevel(f, f.param(0), { writes: true });
    },
  },
  {
    // The same for one page, by its host address: (vp, host page).
    name: 'flush_page_writes',
    exported: true,
    type: { params: ['i32', 'i32'], results: [] },
    build(f) {
      const [vp, host] = [f.param(0), f.param(1)];
      flushSecondLevel(f, vp, { writes: true });
      for (let context = 0; context < TLB_CONTEXTS; context++) {
        if (context === CHECKED_CONTEXT) continue;
        const first = vp.add(TLB + TLB_WRITE + (context << TLB_CONTEXT_SHIFT));
        each(f, first, first.add(TLB_WRITE), TLB_ENTRY, (entry) => {
          f.if(
            f
              .load('i32.load', entry)
              .add(f.load('i32.load', entry, 8))
              .eq(host.sub(1)),
            () => {
              f.store('i64.store', entry, tagElsewhere(entry));
            },
          );
        });
      }
    },
  },
  {
    // Drops the translations of one linear page, and more where that may be a large one.
    name: 'flush_page',
    exported: true,
    type: { params: ['i32', 'i64'], results: [] },
    build(f, helper) {
      const vp = f.param(0);
      const linear = f.param(1);
      unwind(f, vp);
      const large = f.load('i32.load8_u', vp.add(largePage(linear)), LARGE_PAGES);
      f.if(large.or(f.load('i32.load8_u', vp.add(giantPage(linear)), GIANT_PAGES)), () => {
        f.call(helper('flush_tlb'), vp);
        f.return();
      });
      const entry = vp.add(
        linear
          .wrap()
          .shrU(8)
          .and((TLB_ENTRIES - 1) << 4),
      );
      // The tag of a page that selects another entry: no address hits.
      const elsewhere = linear.not().and(-4096);
      for (let context = 0; context < TLB_CONTEXTS; context++) {
        for (const kind of [0, TLB_WRITE])
          f.store('i64.store', entry, tagOf(elsewhere), TLB + (context << TLB_CONTEXT_SHIFT) + kind);
      }
      dropSecondLevel(f, vp, linear);
      const code = vp.add(
        linear
          .wrap()
          .shrU(8)
          .and((CODE_TLB_ENTRIES - 1) << 4),
      );
      for (const user of [0, CODE_TLB_CONTEXT]) f.store('i64.store', code, elsewhere, CODE_TLB + user);
      const jumps = vp.add(jumpPage(linear));
      f.if(f.load('i32.load8_u', jumps, JUMP_PAGES), () => {
        emptyJumpCache(f, vp);
      });
    },
  },
];
