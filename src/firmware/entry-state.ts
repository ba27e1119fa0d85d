/**
 * The processor states in which boot protocols hand over: flat 32-bit protected mode (multiboot, PVH) and 64-bit mode with
 * an identity map (Linux 64-bit boot protocol), and the descriptor and page tables in guest memory behind them.
 */

import type { LoadSegment, SegmentRegister, VpInitialState } from './load-plan.ts';

const CR0_PE = 0x1n;
const CR0_ET = 0x10n;
const CR0_PG = 0x80000000n;
const CR4_PAE = 0x20n;
const EFER_LME = 0x100n;
const EFER_LMA = 0x400n;
/** Bit 1 always reads 1. */
const RFLAGS = 0x2n;

/** Attributes as in WHV_X64_SEGMENT_REGISTER. */
const CODE32 = 0xc09b;
const CODE64 = 0xa09b;
const DATA = 0xc093;
const TSS32_BUSY = 0x008b;
const LDT = 0x0082;

const FLAT_LIMIT = 0xffffffff;
/** Linux's boot protocol names these two selectors; the others do not care. */
const CODE_SELECTOR = 0x10;
const DATA_SELECTOR = 0x18;
const TSS_SELECTOR = 0x20;
const TSS_LIMIT = 0x67;

/** Null, null, code, data, and two words for a TSS (a 64-bit one takes two). */
export const GDT_SIZE = 6 * 8;

function flat(selector: number, attributes: number): SegmentRegister {
  return { selector, base: 0n, limit: FLAT_LIMIT, attributes };
}

/** The 8-byte descriptor of a segment register (SDM volume 3, figure 3-8). */
export function descriptorOf(segment: SegmentRegister): bigint {
  const attributes = BigInt(segment.attributes);
  const limit = BigInt(attributes & 0x8000n ? segment.limit >>> 12 : segment.limit);
  return (
    (limit & 0xffffn) |
    ((segment.base & 0xffffffn) << 16n) |
    ((attributes & 0xffn) << 40n) |
    (((limit >> 16n) & 0xfn) << 48n) |
    ((attributes >> 12n) << 52n) |
    (((segment.base >> 24n) & 0xffn) << 56n)
  );
}

export interface EntryPoint {
  readonly rip: number;
  /** Where the GDT goes: GDT_SIZE bytes, 8-byte aligned. */
  readonly gdt: number;
  readonly rax?: number;
  readonly rbx?: number;
  readonly rsi?: number;
}

interface Handover {
  readonly state: VpInitialState;
  readonly gdt: LoadSegment;
}

function handover(
  entry: EntryPoint,
  code: SegmentRegister,
  control: Pick<VpInitialState, 'mode' | 'cr0' | 'cr3' | 'cr4' | 'efer'>,
): Handover {
  const data = flat(DATA_SELECTOR, DATA);
  const tr: SegmentRegister = { selector: TSS_SELECTOR, base: 0n, limit: TSS_LIMIT, attributes: TSS32_BUSY };
  const table = new BigUint64Array(GDT_SIZE / 8);
  for (const segment of [code, data, tr]) table[segment.selector / 8] = descriptorOf(segment);
  const state: VpInitialState = {
    ...control,
    rip: BigInt(entry.rip),
    rsp: 0n,
    rflags: RFLAGS,
    rax: BigInt(entry.rax ?? 0),
    rbx: BigInt(entry.rbx ?? 0),
    rsi: BigInt(entry.rsi ?? 0),
    gdtr: { base: BigInt(entry.gdt), limit: GDT_SIZE - 1 },
    idtr: { base: 0n, limit: 0 },
    cs: code,
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    tr,
    ldtr: { selector: 0, base: 0n, limit: 0, attributes: LDT },
  };
  return { state, gdt: { gpa: entry.gdt, bytes: new Uint8Array(table.buffer) } };
}

/** Flat 32-bit protected mode without paging: multiboot 1, section 3.2; the PVH boot ABI. */
export function protectedModeEntry(entry: EntryPoint): Handover {
  return handover(entry, flat(CODE_SELECTOR, CODE32), {
    mode: 'protected32',
    cr0: CR0_PE | CR0_ET,
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
  });
}

/** 64-bit mode on the page tables of `identityPageTables`. */
export function longModeEntry(entry: EntryPoint, cr3: number): Handover {
  return handover(entry, flat(CODE_SELECTOR, CODE64), {
    mode: 'long64',
    cr0: CR0_PE | CR0_ET | CR0_PG,
    cr3: BigInt(cr3),
    cr4: CR4_PAE,
    efer: EFER_LME | EFER_LMA,
  });
}

const PAGE = 0x1000;
const PRESENT_WRITABLE = 0x3n;
const LARGE_PAGE = 0x80n;
const MAPPED_GIB = 4;

/** Bytes of the tables below: a PML4, a page-directory-pointer table, and a page directory per GiB. */
export const IDENTITY_PAGE_TABLES_SIZE = (2 + MAPPED_GIB) * PAGE;

/** Maps the first 4 GiB to themselves in 2 MiB pages (1 GiB pages are a CPUID feature that a profile may lack). */
export function identityPageTables(gpa: number): LoadSegment {
  const entries = new BigUint64Array(IDENTITY_PAGE_TABLES_SIZE / 8);
  const perTable = PAGE / 8;
  entries[0] = BigInt(gpa + PAGE) | PRESENT_WRITABLE;
  for (let gib = 0; gib < MAPPED_GIB; gib++) {
    entries[perTable + gib] = BigInt(gpa + (2 + gib) * PAGE) | PRESENT_WRITABLE;
    for (let i = 0; i < perTable; i++)
      entries[(2 + gib) * perTable + i] = (BigInt(gib * perTable + i) << 21n) | LARGE_PAGE | PRESENT_WRITABLE;
  }
  return { gpa, bytes: new Uint8Array(entries.buffer) };
}
