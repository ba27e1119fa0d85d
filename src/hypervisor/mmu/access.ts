/**
 * Memory accesses: the inline TLB check that every product emits, and the slow paths behind it (TLB fill, page crossing,
 * memory-mapped I/O, stores to pages that hold code). A slow path returns the address in linear memory at which the
 * access may be made: usually in guest RAM, else the processor's bounce buffer, which `store_commit` then carries out.
 */
import {
  CODE_MAP,
  CODE_MAP_GRANULE,
  FILLED,
  FILLED_ENTRIES,
  FILLED_LIST,
  PAGE_MAP,
  PageFlag,
  TLB,
  TLB_CONTEXT_SHIFT,
  TLB_ENTRIES,
  TLB_WRITE,
  WALKED_GLOBAL,
} from '../memory/layout.ts';
import { Vector, VpState } from '../vp/state.ts';
import type { FunctionBuilder } from '../wasm/function.ts';
import type { Operand, Value } from '../wasm/value.ts';
import type { HelperContext, HelperDefinition } from '../x86/library.ts';
import { fillSecondLevel, findSecondLevel } from './second-level.ts';
import { Access, EFER_LMA } from './walk.ts';

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);
export const BOUNCE = at('bounce');
/** Last argument of the slow paths: the access is through SS, so a non-canonical address is #SS. */
export const STACK = 0x80;
/** Context 3 is never filled: every access takes the slow path, which checks alignment (#AC) and data breakpoints. */
export const CHECKED_CONTEXT = 3;

/** Address of the read TLB entry for a linear address; the write TLB's is TLB_WRITE further. */
export function tlbEntry(f: FunctionBuilder, vp: Value, linear: Value): Value {
  const context = f.load('i32.load', vp, at('tlbContext')).shl(TLB_CONTEXT_SHIFT);
  return vp.add(context).add(
    linear
      .wrap()
      .shrU(8)
      .and((TLB_ENTRIES - 1) << 4),
  );
}

/**
 * Whether a page's tag in the TLB, its linear address less one, is that of an access. In this form, the tag first, V8 loads it
 * once: as the second operand it would load it for the subtraction, and before that for the trap that a load can be.
 */
export function holds(tag: Value, linear: Value, bytes: number): Value {
  return tag.sub(linear).gtU(bytes - 4098);
}
export function tagOf(page: Value): Value {
  return page.sub(1);
}

/** Inline: the host address for an access of `bytes` at `linear`, by the TLB or by `slow`. */
export function hostAddress(
  f: FunctionBuilder,
  vp: Value,
  linear: Value,
  bytes: number,
  write: boolean,
  slow: () => Value,
): Value {
  const entry = tlbEntry(f, vp, linear);
  const offset = TLB + (write ? TLB_WRITE : 0);
  const host = f.variable('i32');
  f.if(
    holds(f.load('i64.load', entry, offset), linear, bytes),
    () => {
      host.set(linear.wrap().add(f.load('i32.load', entry, offset + 8)));
    },
    () => {
      host.set(slow());
    },
    true,
  );
  return host.get();
}

function raise(f: FunctionBuilder, vp: Value, context: HelperContext, vector: number | Value, error: number): void {
  f.store('i32.store', vp, vector, at('faultVector'));
  f.store('i32.store', vp, error, at('faultError'));
  f.throw(context.fault);
}

/** #GP(0) or #SS(0) for a non-canonical address; then what the checked context looks for. */
function checkAddress(
  f: FunctionBuilder,
  vp: Value,
  linear: Value,
  size: Value,
  stack: Value,
  write: Operand,
  context: HelperContext,
): void {
  checkCanonical(f, vp, linear, size, stack, context);
  f.if(f.load('i32.load', vp, at('tlbContext')).eq(CHECKED_CONTEXT), () => {
    f.call(context.helper('checked_access'), linear, size, write);
  });
}

function checkCanonical(
  f: FunctionBuilder,
  vp: Value,
  linear: Value,
  size: Value,
  stack: Value,
  context: HelperContext,
): void {
  const last = linear.add(size.extU()).sub(1);
  const bad = linear.shl(16).shrS(16).ne(linear).or(last.shl(16).shrS(16).ne(last));
  f.if(bad.and(f.load('i64.load', vp, at('efer')).and(EFER_LMA).ne(0)), () => {
    raise(f, vp, context, f.select(stack, Vector.SS, Vector.GP), 0);
  });
}

const userBit = (f: FunctionBuilder, vp: Value): Value =>
  f.select(f.load('i32.load', vp, at('cpl')).eq(3), Access.USER, 0);

/** An entry of a TLB or of the jump cache was filled: flushes that keep global translations must find it, if it is none. */
export function noteFilled(f: FunctionBuilder, vp: Value, entry: Value, global: Value): void {
  f.if(global.eqz(), () => {
    const count = f.load('i32.load', vp, FILLED);
    f.if(count.leU(FILLED_ENTRIES), () => {
      f.store('i32.store', vp.add(count.shl(2)), entry, FILLED_LIST);
      f.store('i32.store', vp, count.add(1), FILLED);
    });
  });
}

/** Writes an entry of the first level. One that is on the list of those filled is not put there again. */
function fillFirst(f: FunctionBuilder, vp: Value, linear: Value, hostPage: Value, write: boolean, global: Value): void {
  const offset = TLB + (write ? TLB_WRITE : 0);
  const entry = tlbEntry(f, vp, linear).add(offset);
  const page = linear.and(-4096);
  f.store('i64.store', entry, tagOf(page));
  f.store('i32.store', entry, hostPage.sub(page.wrap()), 8);
  noteFilled(f, vp, entry, global.or(f.load('i32.load', entry, NOTED).eq(1)));
  f.if(global.eqz(), () => {
    f.store('i32.store', entry, 1, NOTED);
  });
}
/** In a TLB's entry: 1 where it is on the list of those filled. Who empties the list empties this, or the entry. */
const NOTED = 12;

/** Enters a translation in the context in use, right after the walk. */
function fill(f: FunctionBuilder, vp: Value, linear: Value, hostPage: Value, write: boolean): void {
  f.if(f.load('i32.load', vp, at('tlbContext')).ne(CHECKED_CONTEXT), () => {
    const global = f.load('i32.load', vp, WALKED_GLOBAL);
    fillFirst(f, vp, linear, hostPage, write, global);
    fillSecondLevel(f, vp, linear, hostPage, write, global);
  });
}

/** Returns the address of an access that does not leave its page where the second level knows it, entered in the first. */
function returnKnown(f: FunctionBuilder, vp: Value, linear: Value, write: boolean): void {
  const { host, global } = findSecondLevel(f, vp, linear, write);
  f.if(host, () => {
    fillFirst(f, vp, linear, host, write, global);
    f.return(host.or(linear.wrap().and(4095)));
  });
}

const load: HelperDefinition = {
  // (vp, linear, size, stack) -> address to load from
  name: 'load_slow',
  type: { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] },
  build(f, helper, context) {
    const [vp, linear, size, stack] = [f.param(0), f.param(1), f.param(2), f.param(3)];
    checkAddress(f, vp, linear, size, stack, 0, context);
    f.if(linear.wrap().and(4095).add(size).leU(4096), () => {
      returnKnown(f, vp, linear, false);
    });
    f.store('i64.store', vp, f.load('i64.load', vp, at('tlbMisses')).add(1), at('tlbMisses'));
    f.return(f.call1(helper('load_at'), vp, linear, size, userBit(f, vp), 1));
  },
};

const loadAt: HelperDefinition = {
  // (vp, linear, size, access, fill the TLB?) -> address to load from
  name: 'load_at',
  exported: true,
  type: { params: ['i32', 'i64', 'i32', 'i32', 'i32'], results: ['i32'] },
  build(f, helper) {
    const [vp, linear, size, access, fills] = [f.param(0), f.param(1), f.param(2), f.param(3), f.param(4)];
    const bounce = vp.add(BOUNCE);
    const offset = linear.wrap().and(4095);
    f.if(
      offset.add(size).leU(4096),
      () => {
        const gpa = f.call1(helper('walk'), vp, linear, access);
        const entry = f.call1(helper('page_entry'), gpa);
        f.if(entry.eqz(), () => {
          f.call(helper('mmio_read'), gpa, size);
          f.return(bounce);
        });
        const page = entry.and(-4096);
        f.if(fills, () => {
          fill(f, vp, linear, page, false);
        });
        f.return(page.or(offset));
      },
      () => {
        // Two pages: gather the bytes into the bounce buffer. Unbacked memory reads all ones.
        const first = f.i32(4096).sub(offset);
        const gpa0 = f.call1(helper('walk'), vp, linear, access);
        const gpa1 = f.call1(helper('walk'), vp, f.call1(helper('second_page'), vp, linear), access);
        f.call(helper('gather'), vp, gpa0, gpa1, size, first);
        f.return(bounce);
      },
    );
    f.return(0);
  },
};

/** The linear address of the page after `linear`'s; outside 64-bit mode addresses wrap at 4 GiB. */
const secondPage: HelperDefinition = {
  name: 'second_page',
  type: { params: ['i32', 'i64'], results: ['i64'] },
  build(f) {
    const next = f.param(1).and(-4096).add(4096);
    const wide = f.load('i64.load', f.param(0), at('efer')).and(EFER_LMA).ne(0);
    f.return(f.select(wide, next, next.and(0xffff_ffff)));
  },
};

const gather: HelperDefinition = {
  // (vp, gpa of the first part, gpa of the second page, size, bytes of the first part)
  name: 'gather',
  type: { params: ['i32', 'i64', 'i64', 'i32', 'i32'], results: [] },
  build(f, helper) {
    const [vp, gpa0, gpa1, size, first] = [f.param(0), f.param(1), f.param(2), f.param(3), f.param(4)];
    const entry0 = f.call1(helper('page_entry'), gpa0);
    const entry1 = f.call1(helper('page_entry'), gpa1);
    const host0 = entry0.and(-4096).or(gpa0.wrap().and(4095));
    const host1 = entry1.and(-4096).or(gpa1.wrap().and(4095)).sub(first);
    const i = f.variable('i32', 0);
    f.loop((again) => {
      const inFirst = i.get().ltU(first);
      const byte = f.variable('i32', 0xff);
      f.if(f.select(inFirst, entry0, entry1), () => {
        byte.set(f.load('i32.load8_u', f.select(inFirst, host0, host1).add(i.get())));
      });
      f.store('i32.store8', vp.add(i.get()), byte.get(), BOUNCE);
      i.set(i.get().add(1));
      f.brIf(again, i.get().ltU(size));
    });
  },
};

const store: HelperDefinition = {
  // (vp, linear, size, stack) -> address to store to; the bounce buffer is filled with what memory holds (read-modify-write)
  name: 'store_slow',
  type: { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] },
  build(f, helper, context) {
    const [vp, linear, size, stack] = [f.param(0), f.param(1), f.param(2), f.param(3)];
    checkAddress(f, vp, linear, size, stack.and(STACK), 1, context);
    f.if(linear.wrap().and(4095).add(size).leU(4096), () => {
      returnKnown(f, vp, linear, true);
    });
    f.store('i64.store', vp, f.load('i64.load', vp, at('tlbMisses')).add(1), at('tlbMisses'));
    f.return(
      f.call1(helper('store_at'), vp, linear, size, userBit(f, vp).or(Access.WRITE), f.i32(1).or(stack.and(MODIFY))),
    );
  },
};
/** Flag in the last argument of store_slow: the old contents are needed (read-modify-write). */
export const MODIFY = 0x100;

const storeAt: HelperDefinition = {
  // (vp, linear, size, access, 1: fill the TLB | MODIFY) -> address to store to
  name: 'store_at',
  exported: true,
  type: { params: ['i32', 'i64', 'i32', 'i32', 'i32'], results: ['i32'] },
  build(f, helper) {
    const [vp, linear, size, access, how] = [f.param(0), f.param(1), f.param(2), f.param(3), f.param(4)];
    const offset = linear.wrap().and(4095);
    const first = f.i32(4096).sub(offset);
    const gpa0 = f.call1(helper('walk'), vp, linear, access);
    f.if(first.geU(size), () => {
      const entry = f.call1(helper('page_entry'), gpa0);
      const writable = PageFlag.PRESENT | PageFlag.WRITABLE;
      f.if(entry.and(writable).eq(writable), () => {
        const page = entry.and(-4096);
        f.if(
          entry.and(PageFlag.CODE),
          () => {
            f.if(f.call1(helper('holds_code'), vp, gpa0.wrap(), size), () => {
              f.call(helper('code_written'), gpa0.wrap(), size);
            });
          },
          () => {
            f.if(how.and(1), () => {
              fill(f, vp, linear, page, true);
              fill(f, vp, linear, page, false);
            });
          },
        );
        f.if(entry.and(PageFlag.DIRTY).eqz(), () => {
          const cell = gpa0.wrap().shrU(12).shl(2).add(PAGE_MAP);
          f.atomic('i32.atomic.rmw.or', cell, PageFlag.DIRTY);
        });
        f.return(page.or(offset));
      });
    });
    f.store('i64.store', vp, gpa0, at('bounceGpa'));
    f.store('i32.store', vp, size, at('bounceSize'));
    f.if(
      first.ltU(size),
      () => {
        const gpa1 = f.call1(helper('walk'), vp, f.call1(helper('second_page'), vp, linear), access);
        f.store('i64.store', vp, gpa1, at('bounceGpa') + 8);
        f.store('i32.store', vp, first, at('bounceFirst'));
        f.call(helper('gather'), vp, gpa0, gpa1, size, first);
      },
      () => {
        f.store('i32.store', vp, size, at('bounceFirst'));
        f.if(how.and(MODIFY), () => {
          f.call(helper('bounce_read'), vp, gpa0, size);
        });
      },
    );
    f.return(vp.add(BOUNCE));
  },
};

const bounceRead: HelperDefinition = {
  name: 'bounce_read',
  type: { params: ['i32', 'i64', 'i32'], results: [] },
  build(f, helper) {
    const [vp, gpa, size] = [f.param(0), f.param(1), f.param(2)];
    const entry = f.call1(helper('page_entry'), gpa);
    f.if(
      entry.eqz(),
      () => {
        f.call(helper('mmio_read'), gpa, size);
      },
      () => {
        // Read-only memory.
        f.memoryCopy(vp.add(BOUNCE), entry.and(-4096).or(gpa.wrap().and(4095)), size);
      },
    );
  },
};

const commit: HelperDefinition = {
  // Carries out the store that is in the bounce buffer.
  name: 'store_commit',
  exported: true,
  type: { params: ['i32'], results: [] },
  build(f, helper) {
    const vp = f.param(0);
    const size = f.load('i32.load', vp, at('bounceSize'));
    const first = f.load('i32.load', vp, at('bounceFirst'));
    const gpa0 = f.load('i64.load', vp, at('bounceGpa'));
    f.call(helper('store_part'), vp, gpa0, 0, first);
    f.if(first.ltU(size), () => {
      f.call(helper('store_part'), vp, f.load('i64.load', vp, at('bounceGpa') + 8), first, size.sub(first));
    });
  },
};

const storePart: HelperDefinition = {
  // (vp, gpa, offset in the bounce buffer, bytes): one page's part
  name: 'store_part',
  type: { params: ['i32', 'i64', 'i32', 'i32'], results: [] },
  build(f, helper) {
    const [vp, gpa, from, size] = [f.param(0), f.param(1), f.param(2), f.param(3)];
    const entry = f.call1(helper('page_entry'), gpa);
    f.if(entry.eqz(), () => {
      f.call(helper('mmio_write'), gpa, from, size);
      f.return();
    });
    f.if(entry.and(PageFlag.WRITABLE).eqz(), () => {
      f.return();
    });
    f.if(entry.and(PageFlag.CODE), () => {
      f.call(helper('code_written'), gpa.wrap(), size);
    });
    f.atomic('i32.atomic.rmw.or', gpa.wrap().shrU(12).shl(2).add(PAGE_MAP), PageFlag.DIRTY);
    f.memoryCopy(entry.and(-4096).or(gpa.wrap().and(4095)), vp.add(BOUNCE).add(from), size);
  },
};

/** Plain loads and stores as functions, for instructions outside the main loop. (vp, linear, stack) */
function plainAccess(bytes: number): HelperDefinition[] {
  const loadName = bytes === 8 ? 'i64.load' : `i64.load${bytes * 8}_u`;
  const storeName = bytes === 8 ? 'i64.store' : `i64.store${bytes * 8}`;
  return [
    {
      name: `load_${bytes}`,
      type: { params: ['i32', 'i64', 'i32'], results: ['i64'] },
      build(f, helper) {
        const [vp, linear, stack] = [f.param(0), f.param(1), f.param(2)];
        const host = hostAddress(f, vp, linear, bytes, false, () =>
          f.call1(helper('load_slow'), vp, linear, bytes, stack),
        );
        f.return(f.load(loadName, host));
      },
    },
    {
      name: `store_${bytes}`,
      type: { params: ['i32', 'i64', 'i64', 'i32'], results: [] },
      build(f, helper) {
        const [vp, linear, value, stack] = [f.param(0), f.param(1), f.param(2), f.param(3)];
        const host = hostAddress(f, vp, linear, bytes, true, () =>
          f.call1(helper('store_slow'), vp, linear, bytes, stack),
        );
        f.store(storeName, host, value);
        commitIfBounced(f, vp, host, helper);
      },
    },
    {
      // Address to modify memory at; after the store, the caller commits if it is the bounce buffer.
      name: `modify_${bytes}`,
      type: { params: ['i32', 'i64', 'i32'], results: ['i32'] },
      build(f, helper) {
        const [vp, linear, stack] = [f.param(0), f.param(1), f.param(2)];
        f.return(
          hostAddress(f, vp, linear, bytes, true, () =>
            f.call1(helper('store_slow'), vp, linear, bytes, stack.or(MODIFY)),
          ),
        );
      },
    },
  ];
}

export function commitIfBounced(f: FunctionBuilder, vp: Value, host: Value, helper: HelperContext['helper']): void {
  f.if(
    host.eq(vp.add(BOUNCE)),
    () => {
      f.call(helper('store_commit'), vp);
    },
    undefined,
    false,
  );
}

/** Host addresses for 16-byte accesses. */
const wide: HelperDefinition[] = [
  {
    name: 'load_16',
    type: { params: ['i32', 'i64', 'i32'], results: ['i32'] },
    build(f, helper) {
      const [vp, linear, stack] = [f.param(0), f.param(1), f.param(2)];
      f.return(hostAddress(f, vp, linear, 16, false, () => f.call1(helper('load_slow'), vp, linear, 16, stack)));
    },
  },
  {
    name: 'modify_16',
    type: { params: ['i32', 'i64', 'i32'], results: ['i32'] },
    build(f, helper) {
      const [vp, linear, stack] = [f.param(0), f.param(1), f.param(2)];
      f.return(
        hostAddress(f, vp, linear, 16, true, () => f.call1(helper('store_slow'), vp, linear, 16, stack.or(MODIFY))),
      );
    },
  },
];

/** Checks that `bytes` (at most a page) at `linear` can be accessed: (vp, linear, bytes, 0 | WRITE, stack). */
const probe: HelperDefinition = {
  name: 'probe',
  type: { params: ['i32', 'i64', 'i32', 'i32', 'i32'], results: [] },
  build(f, helper, context) {
    const [vp, linear, bytes, write, stack] = [f.param(0), f.param(1), f.param(2), f.param(3), f.param(4)];
    // What has the size of an operand is checked for alignment as one.
    const operand = bytes.leU(8).and(bytes.popcnt().eq(1));
    checkAddress(f, vp, linear, f.select(operand, bytes, f.i32(1)), stack, write, context);
    const access = userBit(f, vp).or(write);
    f.call(helper('walk'), vp, linear, access);
    f.if(linear.wrap().and(4095).add(bytes).gtU(4096), () => {
      const next = f.call1(helper('second_page'), vp, linear);
      checkCanonical(f, vp, next, f.i32(1), stack, context);
      f.call(helper('walk'), vp, next, access);
    });
  },
};

/**
 * For translated code: (vp, linear, size, -) -> address of the access in guest RAM, the TLB filled; 0 where the interpreter
 * must make it (a fault, two pages, device memory, code, checked accesses).
 */
/** (vp, gpa, size) -> whether these bytes of a page of code, which do not cross pages, may be code. */
const holdsCode: HelperDefinition = {
  name: 'holds_code',
  type: { params: ['i32', 'i32', 'i32'], results: ['i32'] },
  build(f) {
    const [vp, gpa, size] = [f.param(0), f.param(1), f.param(2)];
    f.if(f.load('i32.load', vp, at('codeMapExact')).eqz().or(size.gtU(CODE_MAP_GRANULE)), () => {
      f.return(1);
    });
    const bit = (address: Value): Value =>
      f.load('i32.load8_u', address.shrU(9), CODE_MAP).shrU(address.shrU(6).and(7)).and(1);
    f.return(bit(gpa).or(bit(gpa.add(size).sub(1))));
  },
};

function plain(write: boolean): HelperDefinition {
  return {
    name: write ? 'plain_store' : 'plain_load',
    exported: true,
    type: { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] },
    build(f, helper, context) {
      const [vp, linear, size] = [f.param(0), f.param(1), f.param(2)];
      const offset = linear.wrap().and(4095);
      const checked = f.load('i32.load', vp, at('tlbContext')).eq(CHECKED_CONTEXT);
      const bad = offset.add(size).gtU(4096).or(checked).or(linear.shl(16).shrS(16).ne(linear));
      f.if(bad, () => {
        f.return(0);
      });
      returnKnown(f, vp, linear, write);
      const gpa = f.variable('i64');
      f.try(
        context.fault,
        () => {
          gpa.set(f.call1(helper('walk'), vp, linear, userBit(f, vp).or(write ? Access.WRITE : 0)));
        },
        () => {
          f.return(0);
        },
      );
      const entry = f.call1(helper('page_entry'), gpa.get());
      const wanted = PageFlag.PRESENT | (write ? PageFlag.WRITABLE : 0);
      f.if(entry.and(wanted).ne(wanted), () => {
        f.return(0);
      });
      const page = entry.and(-4096);
      if (write) {
        // Beside code: the page keeps no write translation.
        f.if(entry.and(PageFlag.CODE), () => {
          f.if(f.call1(helper('holds_code'), vp, gpa.get().wrap(), size), () => {
            f.return(0);
          });
          f.atomic('i32.atomic.rmw.or', gpa.get().wrap().shrU(12).shl(2).add(PAGE_MAP), PageFlag.DIRTY);
          f.return(page.or(offset));
        });
      }
      f.store('i64.store', vp, f.load('i64.load', vp, at('tlbMisses')).add(1), at('tlbMisses'));
      if (write) {
        fill(f, vp, linear, page, true);
        f.if(entry.and(PageFlag.DIRTY).eqz(), () => {
          f.atomic('i32.atomic.rmw.or', gpa.get().wrap().shrU(12).shl(2).add(PAGE_MAP), PageFlag.DIRTY);
        });
      }
      fill(f, vp, linear, page, false);
      f.return(page.or(offset));
    },
  };
}

export const accessHelpers: readonly HelperDefinition[] = [
  holdsCode,
  plain(false),
  plain(true),
  load,
  loadAt,
  secondPage,
  gather,
  store,
  storeAt,
  bounceRead,
  commit,
  storePart,
  probe,
  ...[1, 2, 4, 8].flatMap(plainAccess),
  ...wide,
];
