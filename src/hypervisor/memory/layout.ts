/**
 * Where things are in a partition's shared WebAssembly memory. One 32-bit memory holds everything that several threads
 * of a partition share; guest-physical RAM stands last.
 *
 *   0          a guard page: address 0 is never valid
 *   64 KiB     partition-wide words and platform state (see PlatformArea users)
 *   4 MiB      page map: one u32 for each guest-physical page below 4 GiB
 *   8 MiB      code map: one bit for each 64 bytes of guest-physical memory below 4 GiB
 *   16 MiB     one area per virtual processor (VP_AREA bytes each)
 *   then       guest RAM and other backed regions, page-aligned
 */
import { VpState } from '../vp/state.ts';

export const PAGE = 4096;
export const PLATFORM_AREA = 0x1_0000;
export const PLATFORM_AREA_SIZE = 0x20_0000;
export const PAGE_MAP = 0x40_0000;
export const CODE_MAP = 0x80_0000;
export const CODE_MAP_GRANULE = 64;
export const VP_AREAS = 0x100_0000;

/** Page map entry: host page address (page-aligned byte offset in the memory) | flags. Zero: nothing backs the page. */
export const PageFlag = {
  PRESENT: 1,
  WRITABLE: 2,
  /** Some processor has decoded instructions from the page: stores must invalidate. */
  CODE: 4,
  /** Stored to since the flag was last cleared. */
  DIRTY: 8,
} as const;
/** Above the flags: how many processors have instructions of the page decoded, in units of HOLDER. There are at most 64. */
export const HOLDER = 0x10;
export const HOLDERS = 0x7f0;

/** Offsets within a processor's area. */
export const VP_STATE = 0;
/**
 * Four contexts (user, supervisor, supervisor with SMAP in force, and one that is never filled) of two TLBs each: {linear page - 1
 * u64, host page - linear page u32, whether it is on FILLED_LIST u32}.
 */
export const TLB = 0x1_0000;
export const TLB_ENTRIES = 1024;
export const TLB_ENTRY = 16;
export const TLB_WRITE = TLB_ENTRIES * TLB_ENTRY;
export const TLB_CONTEXT_SHIFT = 15;
export const TLB_CONTEXTS = 4;
/** Instruction TLB: {tag u64, guest-physical page u32, -} by linear page; two contexts, user and supervisor. */
export const CODE_TLB = TLB + (TLB_CONTEXTS << TLB_CONTEXT_SHIFT);
export const CODE_TLB_ENTRIES = 1024;
export const CODE_TLB_CONTEXT = CODE_TLB_ENTRIES * 16;
/**
 * Jump cache: {linear address ^ mode << 48 u64, record address u32, place in the table of regions u32}, by linear address.
 * Record zero: none. Place zero: nothing was translated there, or nobody has come there since.
 */
export const JUMP_CACHE = CODE_TLB + 2 * CODE_TLB_CONTEXT;
export const JUMP_CACHE_ENTRIES = 8192;
/**
 * Block table: {guest-physical address u32, mode u32, record address u32, second page u32}, by guest-physical address,
 * two entries to a set. The second page of a block that crosses into one is its guest-physical address | 1, else 0.
 */
export const BLOCK_TABLE = JUMP_CACHE + JUMP_CACHE_ENTRIES * 16;
export const BLOCK_TABLE_ENTRIES = 65536;
/** Predecoded records. */
export const RECORDS = BLOCK_TABLE + BLOCK_TABLE_ENTRIES * 16;
export const RECORDS_SIZE = 0x180_0000;
/** Executions of each record, u64, in an interpreter built with `counting`. */
export const RECORD_COUNTS = RECORDS + RECORDS_SIZE;
export const RECORD_COUNTS_SIZE = (RECORDS_SIZE / 32) * 8;
/**
 * What a flush of the translations that are not global has to empty: a count u32, whether the last walk ended at a global
 * page u32, and from 16 on the addresses of the entries of the TLBs and the jump cache that were filled with others since
 * the last flush. A count beyond FILLED_ENTRIES says that not all of them are here.
 */
export const FILLED = RECORD_COUNTS + RECORD_COUNTS_SIZE;
export const WALKED_GLOBAL = FILLED + 4;
export const FILLED_LIST = FILLED + 16;
export const FILLED_ENTRIES = 2047;
/**
 * One byte for each linear page, whether the jump cache may hold code of it: pages of the lower half of addresses share the
 * first half of the bytes, those of the upper half the second.
 */
export const JUMP_PAGES = FILLED_LIST + (FILLED_ENTRIES + 1) * 4;
export const JUMP_PAGES_SIZE = 8192;
/**
 * The TLBs hold large pages in parts of 4 KiB: one byte for each 2 MiB and for each 1 GiB, shared likewise, whether they may
 * hold a part of a page of 2 MiB or 4 MiB, and of 1 GiB, there.
 */
export const LARGE_PAGES = JUMP_PAGES + JUMP_PAGES_SIZE;
export const LARGE_PAGES_SIZE = 4096;
export const GIANT_PAGES = LARGE_PAGES + LARGE_PAGES_SIZE;
export const GIANT_PAGES_SIZE = 512;
/**
 * Second level of the data TLBs: {linear page | context | 4 where it may be written u64, host page u32, generation u32};
 * see mmu/second-level.ts.
 */
export const STLB = (GIANT_PAGES + GIANT_PAGES_SIZE + 15) & -16;
export const STLB_ENTRIES = 16384;
export const VP_AREA = 0x200_0000;

if (VpState.size > TLB || STLB + STLB_ENTRIES * 16 > VP_AREA) throw new Error('virtual processor area overflows');

export function vpArea(index: number): number {
  return VP_AREAS + index * VP_AREA;
}
export function ramBase(processors: number): number {
  return VP_AREAS + processors * VP_AREA;
}
