/**
 * Address translation: Intel SDM vol. 3, chapter "Paging". 32-bit, PAE and 4-level paging with WP, NX, SMEP, SMAP, PSE,
 * global pages and large pages; accessed and dirty bits are set atomically, and a walk that loses a race starts again.
 */
import {
  GIANT_PAGES,
  GIANT_PAGES_SIZE,
  LARGE_PAGES,
  LARGE_PAGES_SIZE,
  PAGE_MAP,
  PageFlag,
  WALKED_GLOBAL,
} from '../memory/layout.ts';
import { Vector, VpState } from '../vp/state.ts';
import type { FunctionBuilder } from '../wasm/function.ts';
import type { Value } from '../wasm/value.ts';
import type { HelperDefinition } from '../x86/library.ts';

/** Access kinds: the bits of a #PF error code, plus one. */
export const Access = {
  WRITE: 2,
  USER: 4,
  FETCH: 16,
  /** An implicit supervisor access (descriptor tables, TSS): SMAP applies whatever RFLAGS.AC says. */
  IMPLICIT: 32,
} as const;

const PRESENT = 1n;
const WRITABLE = 2n;
const USER = 4n;
const ACCESSED = 0x20n;
const DIRTY = 0x40n;
const LARGE = 0x80n;
const GLOBAL_SHIFT = 8n;
const NX = 1n << 63n;
/** What CPUID 8000_0008 reports. */
export const PHYSICAL_BITS = 40;
/** Bits 51:40: beyond the physical address bits. */
const BEYOND = 0x000f_ff00_0000_0000n;
/** Bits 62:52, which 4-level paging leaves to software and PAE paging reserves. */
const IGNORED_WHEN_LONG = 0x7ff0_0000_0000_0000n;
const ADDRESS = 0x0000_00ff_ffff_f000n;

export const CR0_PG = 1n << 31n;
export const CR0_WP = 1n << 16n;
export const CR4_PSE = 1n << 4n;
export const CR4_PAE = 1n << 5n;
const CR4_PGE_SHIFT = 7n;
export const CR4_SMEP = 1n << 20n;
export const CR4_SMAP = 1n << 21n;
export const EFER_LMA = 1n << 10n;
export const EFER_NXE = 1n << 11n;
const RFLAGS_AC = 1 << 18;

/** The page map's entry for a guest-physical address, 0 where nothing backs it. */
function pageEntry(f: FunctionBuilder, gpa: Value): Value {
  const entry = f.variable('i32', 0);
  f.if(gpa.shrU(32).eqz(), () => {
    entry.set(f.load('i32.load', gpa.wrap().shrU(12).shl(2), PAGE_MAP));
  });
  return entry.get();
}

/** Which byte is an address's among `size`, one for 2 ** `shift` bytes: half of them for the upper half of addresses. */
export function byteOf(linear: Value, shift: number, size: number): Value {
  const half = size / 2;
  const low = linear.shrU(shift).and(half - 1);
  return low.or(linear.shrU(63).shl(Math.log2(half))).wrap();
}
/** Where the bytes of an address are in LARGE_PAGES and GIANT_PAGES. */
export function largePage(linear: Value): Value {
  return byteOf(linear, 21, LARGE_PAGES_SIZE);
}
export function giantPage(linear: Value): Value {
  return byteOf(linear, 30, GIANT_PAGES_SIZE);
}

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);

const walk: HelperDefinition = {
  name: 'walk',
  // (vp, linear address, access) -> guest-physical address
  type: { params: ['i32', 'i64', 'i32'], results: ['i64'] },
  build(f, _helper, { fault }) {
    const vp = f.param(0);
    const linear = f.param(1);
    const access = f.param(2);
    const cr0 = f.load('i64.load', vp, at('cr0'));
    f.if(cr0.and(CR0_PG).eqz(), () => {
      f.store('i32.store', vp, 0, WALKED_GLOBAL);
      f.return(linear.and(0xffff_ffff));
    });
    const cr4 = f.load('i64.load', vp, at('cr4'));
    const efer = f.load('i64.load', vp, at('efer'));
    const wide = efer.and(EFER_LMA).ne(0);
    const pae = cr4.and(CR4_PAE).ne(0);
    const rights = f.variable('i64');
    const noExecute = f.variable('i64');
    const table = f.variable('i64');
    const shift = f.variable('i64');
    const entryHost = f.variable('i32');
    const entry = f.variable('i64');
    const error = f.variable('i32');
    const fail = (bits: Value | number): void => {
      error.set(bits);
      f.store('i64.store', vp, linear, at('cr2'));
      f.store('i32.store', vp, Vector.PF, at('faultVector'));
      const kind = access.and(Access.WRITE | Access.USER);
      const executeDisable = pae.and(efer.and(EFER_NXE).ne(0));
      const fetch = f.select(executeDisable.or(cr4.and(CR4_SMEP).ne(0)), access.and(Access.FETCH), 0);
      f.store('i32.store', vp, error.get().or(kind).or(fetch), at('faultError'));
      f.throw(fault);
    };
    f.loop((restart) => {
      rights.set(WRITABLE | USER);
      noExecute.set(0);
      f.if(
        wide,
        () => {
          shift.set(39);
          table.set(f.load('i64.load', vp, at('cr3')).and(ADDRESS));
        },
        () => {
          f.if(
            pae,
            () => {
              shift.set(30);
              table.set(f.load('i64.load', vp, at('cr3')).and(0xffff_ffe0));
            },
            () => {
              shift.set(22);
              table.set(f.load('i64.load', vp, at('cr3')).and(0xffff_f000));
            },
          );
        },
      );
      f.loop((next) => {
        // Read the entry.
        const long = pae.or(wide);
        const indexMask = f.select(long, f.i64(511), f.i64(1023));
        const index = f.select(
          shift.get().eq(30).and(wide.eqz()),
          linear.shrU(30).and(3),
          linear.shrU(shift.get()).and(indexMask),
        );
        const gpa = f.variable('i64', table.get().add(f.select(long, index.shl(3), index.shl(2))));
        const map = f.variable('i32', pageEntry(f, gpa.get()));
        entry.set(0);
        f.if(map.get().and(PageFlag.PRESENT), () => {
          entryHost.set(map.get().and(-4096).or(gpa.get().wrap().and(4095)));
          f.if(
            long,
            () => {
              entry.set(f.load('i64.load', entryHost.get()));
            },
            () => {
              entry.set(f.load('i64.load32_u', entryHost.get()));
            },
          );
        });
        f.if(entry.get().and(PRESENT).eqz(), () => {
          fail(0);
        });
        // The PDPTEs of PAE paging carry no rights and have their own reserved bits.
        const pdpte = f.variable('i32', pae.and(wide.eqz()).and(shift.get().eq(30)));
        const leaf = f.variable('i32', shift.get().eq(12));
        f.if(entry.get().and(LARGE).ne(0).and(shift.get().ne(12)).and(pdpte.get().eqz()), () => {
          f.if(long.or(cr4.and(CR4_PSE).ne(0)), () => {
            leaf.set(1);
          });
        });
        // Reserved bits.
        f.if(
          long,
          () => {
            const reserved = f.variable('i64', f.select(wide, f.i64(BEYOND), f.i64(BEYOND | IGNORED_WHEN_LONG)));
            f.if(efer.and(EFER_NXE).eqz().or(pdpte.get()), () => {
              reserved.set(reserved.get().or(NX));
            });
            f.if(pdpte.get(), () => {
              reserved.set(reserved.get().or(0x1e6n));
            });
            f.if(shift.get().eq(39), () => {
              reserved.set(reserved.get().or(LARGE));
            });
            f.if(leaf.get().and(shift.get().eq(30)), () => {
              reserved.set(reserved.get().or(0x3fff_e000n));
            });
            f.if(leaf.get().and(shift.get().eq(21)), () => {
              reserved.set(reserved.get().or(0x1f_e000n));
            });
            f.if(entry.get().and(reserved.get()).ne(0), () => {
              fail(9);
            });
          },
          () => {
            f.if(leaf.get().and(shift.get().eq(22)).and(entry.get().and(0x20_0000n).ne(0)), () => {
              fail(9);
            });
          },
        );
        f.if(pdpte.get().eqz(), () => {
          rights.set(rights.get().and(entry.get()));
          noExecute.set(noExecute.get().or(entry.get()));
        });
        f.if(leaf.get(), () => {
          // Protection.
          const user = rights.get().and(USER).ne(0);
          const supervisor = access.and(Access.USER).eqz();
          f.if(supervisor.or(user).eqz(), () => {
            fail(1);
          });
          f.if(access.and(Access.WRITE).ne(0).and(rights.get().and(WRITABLE).eqz()), () => {
            f.if(supervisor.eqz().or(cr0.and(CR0_WP).ne(0)), () => {
              fail(1);
            });
          });
          f.if(
            access.and(Access.FETCH),
            () => {
              f.if(noExecute.get().ltS(0).and(efer.and(EFER_NXE).ne(0)), () => {
                fail(1);
              });
              f.if(supervisor.and(user).and(cr4.and(CR4_SMEP).ne(0)), () => {
                fail(1);
              });
            },
            () => {
              f.if(supervisor.and(user).and(cr4.and(CR4_SMAP).ne(0)), () => {
                const ac = f.load('i32.load', vp, at('flags')).and(RFLAGS_AC).ne(0);
                f.if(ac.eqz().or(access.and(Access.IMPLICIT).ne(0)), () => {
                  fail(1);
                });
              });
            },
          );
        });
        // Accessed, and dirty at the leaf.
        const wanted = f.variable('i64', entry.get().or(ACCESSED));
        f.if(leaf.get().and(access.and(Access.WRITE).ne(0)), () => {
          wanted.set(wanted.get().or(DIRTY));
        });
        // Tables in read-only memory stay as they are.
        const writable = map.get().and(PageFlag.WRITABLE).ne(0);
        f.if(wanted.get().ne(entry.get()).and(pdpte.get().eqz()).and(writable), () => {
          f.if(
            long,
            () => {
              f.brIf(
                restart,
                f.atomic('i64.atomic.rmw.cmpxchg', entryHost.get(), entry.get(), wanted.get()).ne(entry.get()),
              );
            },
            () => {
              f.brIf(
                restart,
                f.atomic('i64.atomic.rmw32.cmpxchg_u', entryHost.get(), entry.get(), wanted.get()).ne(entry.get()),
              );
            },
          );
          f.if(map.get().and(PageFlag.DIRTY).eqz(), () => {
            f.atomic('i32.atomic.rmw.or', gpa.get().wrap().shrU(12).shl(2).add(PAGE_MAP), PageFlag.DIRTY);
          });
        });
        f.if(leaf.get(), () => {
          const offset = f.i64(1).shl(shift.get()).sub(1);
          const base = f.variable('i64', entry.get().and(ADDRESS).and(offset.not()));
          // 4 MiB pages carry physical address bits 39:32 in bits 20:13 (PSE-36).
          f.if(shift.get().eq(22), () => {
            base.set(entry.get().and(0xffc0_0000).or(entry.get().and(0x1f_e000).shl(19)));
          });
          // A page is invalidated as a whole.
          f.if(shift.get().ne(12), () => {
            f.if(
              shift.get().eq(30),
              () => {
                f.store('i32.store8', vp.add(giantPage(linear)), 1, GIANT_PAGES);
              },
              () => {
                f.store('i32.store8', vp.add(largePage(linear)), 1, LARGE_PAGES);
                // Of 4 MiB, the other half.
                const all = f.select(shift.get().eq(22), linear.xor(1 << 21), linear);
                f.store('i32.store8', vp.add(largePage(all)), 1, LARGE_PAGES);
              },
            );
          });
          const global = entry.get().shrU(GLOBAL_SHIFT).and(cr4.shrU(CR4_PGE_SHIFT)).and(1);
          f.store('i32.store', vp, global.wrap(), WALKED_GLOBAL);
          f.return(base.get().or(linear.and(offset)));
        });
        table.set(entry.get().and(f.select(long, f.i64(ADDRESS), f.i64(0xffff_f000))));
        shift.set(shift.get().sub(f.select(long, f.i64(9), f.i64(10))));
        f.br(next);
      });
    });
    f.return(0);
  },
};

const entryOf: HelperDefinition = {
  name: 'page_entry',
  type: { params: ['i64'], results: ['i32'] },
  build(f) {
    f.return(pageEntry(f, f.param(0)));
  },
};

const translate: HelperDefinition = {
  // walk, for TypeScript.
  name: 'translate',
  exported: true,
  type: walk.type,
  build(f, helper) {
    f.return(f.call1(helper('walk'), f.param(0), f.param(1), f.param(2)));
  },
};

export const walkHelpers: readonly HelperDefinition[] = [walk, entryOf, translate];
