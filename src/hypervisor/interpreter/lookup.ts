/**
 * How the block or the region at RIP is found: the jump cache by linear address, then the instruction TLB and the block table by
 * guest-physical address, then the decoder.
 */
import {
  BLOCK_TABLE,
  BLOCK_TABLE_ENTRIES,
  CODE_TLB,
  CODE_TLB_CONTEXT,
  CODE_TLB_ENTRIES,
  JUMP_CACHE,
  JUMP_PAGES,
  PageFlag,
  WALKED_GLOBAL,
} from '../memory/layout.ts';
import { noteFilled } from '../mmu/access.ts';
import { jumpPage } from '../mmu/flush.ts';
import { Access } from '../mmu/walk.ts';
import { jumpCacheEntry } from '../translator/abi.ts';
import { Mode, Vector, VpState } from '../vp/state.ts';
import type { FunctionBuilder } from '../wasm/function.ts';
import type { Value } from '../wasm/value.ts';
import type { HelperDefinition } from '../x86/library.ts';
import { Field, Handler } from './record.ts';

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);

/** Linear address of RIP. */
export function codeLinear(f: FunctionBuilder, vp: Value): Value {
  return f
    .load('i64.load', vp, at('rip'))
    .add(f.load('i64.load', vp, at('codeBase')))
    .and(f.load('i64.load', vp, at('codeMask')));
}
/** What the jump cache has of a linear address in a mode. */
function jumpCacheTag(linear: Value, mode: Value): Value {
  return linear.xor(mode.extU().shl(48));
}
/** Record address of the block at RIP, or 0. */
export function probeJumpCache(f: FunctionBuilder, vp: Value): Value {
  const linear = codeLinear(f, vp);
  const entry = jumpCacheEntry(vp, linear);
  const same = f.load('i64.load', entry, JUMP_CACHE).eq(jumpCacheTag(linear, f.load('i32.load', vp, at('mode'))));
  const target = f.load('i32.load', entry, JUMP_CACHE + 8);
  const found = f.variable('i32', 0);
  f.if(
    same,
    () => {
      // Address zero reads as REFETCH.
      found.set(f.select(f.load('i32.load16_u', target, Field.HANDLER).eq(Handler.REFETCH), 0, target));
    },
    undefined,
    true,
  );
  return found.get();
}

/** Remembers where a linear page of code is: `tlb` is its entry in a context of the instruction TLB, less CODE_TLB. */
function fillCodeTlb(f: FunctionBuilder, vp: Value, tlb: Value, tag: Value, page: Value, global: Value): void {
  f.store('i64.store', tlb, tag, CODE_TLB);
  f.store('i32.store', tlb, page, CODE_TLB + 8);
  f.store('i32.store', tlb, global, CODE_TLB + 12);
  noteFilled(f, vp, tlb.add(CODE_TLB), global);
}
function codeTlbEntry(f: FunctionBuilder, vp: Value, linear: Value, mode: Value): Value {
  return vp.add(f.select(mode.and(Mode.USER), CODE_TLB_CONTEXT, 0)).add(
    linear
      .wrap()
      .shrU(8)
      .and((CODE_TLB_ENTRIES - 1) << 4),
  );
}

/**
 * For translated code that goes on in another page: (vp, linear page) -> guest-physical page, or 1 where there is no RAM or no
 * page to fetch from. Does not raise, and leaves CR2 alone.
 */
const codePage: HelperDefinition = {
  name: 'code_page',
  exported: true,
  type: { params: ['i32', 'i64'], results: ['i32'] },
  build(f, helper, context) {
    const [vp, linear] = [f.param(0), f.param(1)];
    const mode = f.load('i32.load', vp, at('mode'));
    f.if(linear.shl(16).shrS(16).ne(linear), () => {
      f.return(1);
    });
    const cr2 = f.variable('i64', f.load('i64.load', vp, at('cr2')));
    const gpa = f.variable('i64');
    f.try(
      context.fault,
      () => {
        const access = f.select(mode.and(Mode.USER), Access.USER | Access.FETCH, Access.FETCH);
        gpa.set(f.call1(helper('walk'), vp, linear, access).and(-4096));
      },
      () => {
        f.store('i64.store', vp, cr2.get(), at('cr2'));
        f.return(1);
      },
    );
    f.if(f.call1(helper('page_entry'), gpa.get()).and(PageFlag.PRESENT).eqz(), () => {
      f.return(1);
    });
    const page = gpa.get().wrap();
    fillCodeTlb(f, vp, codeTlbEntry(f, vp, linear, mode), linear, page, f.load('i32.load', vp, WALKED_GLOBAL));
    f.return(page);
  },
};

/** The entry of the block table for a guest-physical address and mode, less the constant BLOCK_TABLE; 0: there is none. */
function findBlock(f: FunctionBuilder, vp: Value, gpa: Value, mode: Value): Value {
  const entry = vp.add(
    gpa
      .xor(gpa.shrU(16))
      .and(BLOCK_TABLE_ENTRIES - 2)
      .shl(4),
  );
  const way = f.variable('i32', 0);
  for (const at of [0, 16]) {
    const same = f.load('i32.load', entry, BLOCK_TABLE + at).eq(gpa);
    f.if(same.and(f.load('i32.load', entry, BLOCK_TABLE + at + 4).eq(mode)), () => {
      way.set(entry.add(at));
    });
  }
  return way.get();
}

interface JumpTarget {
  readonly linear: Value;
  readonly mode: Value;
  readonly record: Value;
  readonly place: Value;
  /** Whether its translation is a global one. */
  readonly global: Value;
}
function fillJumpCache(f: FunctionBuilder, vp: Value, { linear, mode, record, place, global }: JumpTarget): void {
  // A block that crosses pages goes when either translation does.
  for (const address of [linear, linear.add(4096)]) f.store('i32.store8', vp.add(jumpPage(address)), 1, JUMP_PAGES);
  const jump = jumpCacheEntry(vp, linear);
  noteFilled(f, vp, jump.add(JUMP_CACHE), global);
  f.store('i64.store', jump, jumpCacheTag(linear, mode), JUMP_CACHE);
  f.store('i32.store', jump, record, JUMP_CACHE + 8);
  f.store('i32.store', jump, place, JUMP_CACHE + 12);
}

/**
 * For translated code that goes where the jump cache knows nothing of: (vp) -> place of the region at RIP, which the jump cache knows
 * from now on, or 0: what is there is the interpreter's affair.
 */
const findRegion: HelperDefinition = {
  name: 'find_region',
  exported: true,
  type: { params: ['i32'], results: ['i32'] },
  build(f, helper) {
    const vp = f.param(0);
    f.store('i64.store', vp, f.load('i64.load', vp, at('regionLookups')).add(1), at('regionLookups'));
    const mode = f.load('i32.load', vp, at('mode'));
    const linear = codeLinear(f, vp);
    const tlb = codeTlbEntry(f, vp, linear, mode);
    const tag = linear.and(-4096);
    const page = f.variable('i32');
    f.if(
      f.load('i64.load', tlb, CODE_TLB).eq(tag),
      () => {
        page.set(f.load('i32.load', tlb, CODE_TLB + 8));
      },
      () => {
        page.set(f.call1(helper('code_page'), vp, tag));
        f.if(page.get().and(1), () => {
          f.return(0);
        });
      },
    );
    const way = findBlock(f, vp, page.get().or(linear.wrap().and(4095)), mode);
    f.if(way.eqz(), () => {
      f.return(0);
    });
    const record = f.load('i32.load', way, BLOCK_TABLE + 8);
    f.if(f.load('i32.load16_u', record, Field.HANDLER).ne(Handler.REGION), () => {
      f.return(0);
    });
    const place = f.load('i32.load', record, Field.IMMEDIATE);
    const global = f.load('i32.load', tlb, CODE_TLB + 12);
    fillJumpCache(f, vp, { linear, mode, record, place, global });
    f.return(place);
  },
};

/** Finds or makes the block at RIP: instruction TLB, then the block table by guest-physical address, then the decoder. */
const lookup: HelperDefinition = {
  name: 'lookup',
  type: { params: ['i32'], results: ['i32'] },
  build(f, helper, context) {
    const vp = f.param(0);
    f.store('i64.store', vp, f.load('i64.load', vp, at('blockLookups')).add(1), at('blockLookups'));
    const linear = codeLinear(f, vp);
    const mode = f.load('i32.load', vp, at('mode'));
    const raise = (vector: number, error: number): void => {
      f.store('i32.store', vp, vector, at('faultVector'));
      f.store('i32.store', vp, error, at('faultError'));
      f.throw(context.fault);
    };
    const tlb = codeTlbEntry(f, vp, linear, mode);
    const page = f.variable('i32');
    const tag = linear.and(-4096);
    const global = f.variable('i32');
    const walkTo = (address: Value): Value => {
      f.if(mode.and(Mode.LONG).ne(0).and(address.shl(16).shrS(16).ne(address)), () => {
        raise(Vector.GP, 0);
      });
      const access = f.select(mode.and(Mode.USER), Access.USER | Access.FETCH, Access.FETCH);
      return f.call1(helper('walk'), vp, address, access).and(-4096);
    };
    f.if(
      f.load('i64.load', tlb, CODE_TLB).eq(tag),
      () => {
        page.set(f.load('i32.load', tlb, CODE_TLB + 8));
        global.set(f.load('i32.load', tlb, CODE_TLB + 12));
      },
      () => {
        // By the address itself, which is what CR2 gets.
        const gpa = walkTo(linear);
        const backed = f.call1(helper('page_entry'), gpa);
        // Nothing backs the page: fetching reads all ones, which is no instruction.
        f.if(backed.and(PageFlag.PRESENT).eqz(), () => {
          raise(Vector.UD, -1);
        });
        page.set(gpa.wrap());
        global.set(f.load('i32.load', vp, WALKED_GLOBAL));
        fillCodeTlb(f, vp, tlb, tag, page.get(), global.get());
      },
    );
    const gpa = page.get().or(linear.wrap().and(4095));
    const record = f.variable('i32', 0);
    const way = findBlock(f, vp, gpa, mode);
    f.if(way, () => {
      record.set(f.load('i32.load', way, BLOCK_TABLE + 8));
      f.if(f.load('i32.load', way, BLOCK_TABLE + 12), () => {
        // The instruction goes on in the page that the next linear page is now.
        const second = walkTo(tag.add(4096).and(f.load('i64.load', vp, at('codeMask'))));
        global.set(global.get().and(f.load('i32.load', vp, WALKED_GLOBAL)));
        f.if(second.or(1).ne(f.load('i64.load32_u', way, BLOCK_TABLE + 12)), () => {
          record.set(0);
        });
      });
    });
    f.if(record.get().eqz(), () => {
      record.set(f.call1(helper('decode'), linear, gpa));
      // It may have walked to a second page, of which the next lookup will know more.
      global.set(0);
    });
    // The decoder marks a block that must be made afresh each time by the lowest bit.
    f.if(record.get().and(1), () => {
      f.return(record.get().and(-2));
    });
    // Decoding may have let a TLB flush in, after which this translation must not be remembered.
    f.if(f.load('i64.load', tlb, CODE_TLB).ne(tag), () => {
      f.return(record.get());
    });
    fillJumpCache(f, vp, { linear, mode, record: record.get(), place: f.i32(0), global: global.get() });
    f.return(record.get());
  },
};

export const lookupHelpers: readonly HelperDefinition[] = [lookup, codePage, findRegion];
