// A guest that means harm: the whole state of a virtual processor and of its memory, plausible enough to get far and
// wrong in every place that a guest controls.

import { PAGE } from '../../src/hypervisor/memory/layout.ts';
import {
  Attribute,
  Flag,
  readFlags,
  Segment,
  VpState,
  type VpView,
  writeFlags,
} from '../../src/hypervisor/vp/state.ts';
import {
  Cr0,
  Cr4,
  Efer,
  REAL_ATTRIBUTES,
  setSegment,
  updateMode,
  V86_ATTRIBUTES,
} from '../../src/hypervisor/x86/system/mode.ts';
import type { Random } from '../oracle/generate.ts';
import { type CodeShape, fillWithCode } from './instructions.ts';

export const RAM_SIZE = 0x10_0000;
/** A page of RAM at the very end of the 32-bit address space, as firmware has it. */
export const TOP_PAGE = 0xffff_f000;

const IDT = 0x1000;
const GDT = 0x2000;
const LDT = 0x3000;
const TSS = 0x4000;
const TABLES = 0x8000;
const CODE = 0x1_0000;
const CODE_SIZE = 0x1_0000;
const STACK = 0x3_0000;
const DESCRIPTORS = 64;

export const MODES = ['real', 'v86', 'protected16', 'protected32', 'compatibility', 'long'] as const;
export type GuestMode = (typeof MODES)[number];

const EVIL = [
  0n,
  1n,
  0xfffn,
  0xff8n,
  0x1000n,
  0xffffn,
  0x1_0000n,
  0xf_ffffn,
  0x10_0000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xfee0_0000n,
  0xfec0_0010n,
  0xffff_f000n,
  0xffff_fffcn,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x7fff_ffff_f000n,
  0x7fff_ffff_ffffn,
  0x8000_0000_0000n,
  0xffff_7fff_ffff_ffffn,
  0xffff_8000_0000_0000n,
  0xffff_ffff_ffff_f000n,
  0xffff_ffff_ffff_fff8n,
  0xffff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0x8000_0000_0000_0ff8n,
  0x8080_8080_8080_8080n,
  0x8080_8080_8080_9000n,
  0x7fff_ffff_ffff_ffffn,
  0x100_0000_0000n,
  0x200_0000_0000n,
] as const;

export function u64(random: Random): bigint {
  return (BigInt(random.u32()) << 32n) | BigInt(random.u32());
}
/** How wrong a guest is: most are sound enough to get somewhere before something goes wrong. */
let soundness = 1;
function odd(random: Random, n: number): boolean {
  return random.oneIn(n * soundness);
}

/** A number that addresses memory, or nearly so. */
function word(random: Random): bigint {
  switch (random.below(6)) {
    case 0:
      return random.pick(EVIL);
    case 1:
      return u64(random);
    case 2:
      return BigInt(random.u32());
    case 3:
      return BigInt.asUintN(64, BigInt(random.below(40)) - 20n);
    default:
      return BigInt(
        random.below(RAM_SIZE / 0x1000) * 0x1000 + (random.oneIn(2) ? 0xff0 + random.below(16) : random.below(0x1000)),
      );
  }
}

function descriptor(random: Random, into: DataView, at: number): void {
  if (random.oneIn(8)) {
    into.setBigUint64(at, u64(random), true);
    return;
  }
  // Type and DPL at random, base and limit mostly harmless.
  const system = random.oneIn(3);
  const access = (random.oneIn(12) ? 0 : 0x80) | (random.below(4) << 5) | (system ? 0 : 0x10) | random.below(16);
  const base = random.oneIn(3)
    ? random.u32()
    : random.oneIn(2)
      ? 0
      : TSS + random.below(8) * 0x200 + (random.oneIn(8) ? 1 : 0);
  const limit = random.oneIn(3) ? random.below(0x10_0000) : random.oneIn(2) ? 0xf_ffff : 0x67 + random.below(3);
  const high =
    (base & 0xff00_0000) | (random.below(16) << 20) | (limit & 0xf_0000) | (access << 8) | ((base >>> 16) & 0xff);
  if (system && (access & 7) >= 4) {
    // A gate: to code that is there.
    const selector = random.below(DESCRIPTORS) * 8 + random.below(8);
    const offset = CODE + random.below(CODE_SIZE);
    into.setUint32(at, (offset & 0xffff) | (selector << 16), true);
    into.setUint32(at + 4, (offset & 0xffff_0000) | (access << 8) | random.below(32), true);
    return;
  }
  into.setUint32(at, (limit & 0xffff) | (base << 16), true);
  into.setUint32(at + 4, high, true);
}

/** Selectors that are what most code wants: flat code and data of every size and both levels. */
const GOOD = [
  0x00cf9b00_0000ffffn,
  0x00cf9300_0000ffffn,
  0x00affb00_0000ffffn,
  0x00cffb00_0000ffffn,
  0x00cff300_0000ffffn,
  0x00af9b00_0000ffffn,
  0x008f9b00_0000ffffn,
  0x008ffb00_0000ffffn,
  0x008f9300_0000ffffn,
  0x008ff300_0000ffffn,
] as const;
const Good = {
  code32: 1,
  data: 2,
  userCode64: 3,
  userCode32: 4,
  userData: 5,
  code64: 6,
  code16: 7,
  userCode16: 8,
} as const;

function descriptorTables(random: Random, ram: DataView, long: boolean): void {
  for (const table of [GDT, LDT]) for (let i = 0; i < DESCRIPTORS; i++) descriptor(random, ram, table + i * 8);
  if (!odd(random, 4))
    GOOD.forEach((value, i) => {
      ram.setBigUint64(GDT + 8 + i * 8, value, true);
    });
  // Task-state segments: random, with a few of their fields sound.
  for (let at = TSS; at < TSS + 0x2000; at += 4)
    ram.setUint32(at, random.oneIn(2) ? random.u32() : STACK + random.below(0x1000), true);
  if (!odd(random, 3)) {
    // Stacks for inner levels: 32-bit or 64-bit.
    for (let at = 4; at < 0x67; at += long ? 8 : 4) {
      if (long) ram.setBigUint64(TSS + at, BigInt(STACK + 0x800), true);
      else if (at < 28) ram.setUint32(TSS + at, at % 8 === 4 ? STACK + 0x800 : Good.data * 8, true);
    }
  }
  for (let vector = 0; vector < 256; vector++) {
    const at = IDT + vector * (long ? 16 : 8);
    if (at + 16 > IDT + 0x1000) break;
    if (odd(random, 3)) {
      descriptor(random, ram, at);
      continue;
    }
    const offset = CODE + random.below(CODE_SIZE);
    const selector = (long ? Good.code64 : random.oneIn(3) ? Good.code16 : Good.code32) * 8;
    const kind = random.pick(long ? [14, 15] : [14, 15, 6, 7, 14, 5]);
    const access = 0x80 | (random.below(4) << 5) | kind;
    ram.setUint32(at, (offset & 0xffff) | (selector << 16), true);
    ram.setUint32(
      at + 4,
      (offset & 0xffff_0000) | (access << 8) | (long && random.oneIn(4) ? random.below(8) : 0),
      true,
    );
    if (long) ram.setBigUint64(at + 8, odd(random, 4) ? u64(random) : 0n, true);
  }
}

function entry(random: Random, wide: boolean): bigint {
  const flags = BigInt(random.below(0x1000) | (random.oneIn(6) ? 0 : 7));
  const high =
    wide && random.oneIn(3)
      ? random.pick([0x1_0000_0000n, 0xff_ffff_f000n, 1n << 63n, 1n << 52n, 1n << 39n, 1n << 40n])
      : 0n;
  const page = random.oneIn(4)
    ? BigInt(random.u32() & ~0xfff) & 0xffff_f000n
    : BigInt(random.below(RAM_SIZE / 0x1000) * 0x1000);
  return (random.oneIn(4) ? u64(random) : page) | flags | high;
}

/** Tables of 32-bit, PAE or 4-level paging at TABLES: RAM where it is in most entries, anything in the others. */
function pageTables(random: Random, ram: DataView, levels: 2 | 3 | 4, user: boolean): void {
  const wide = levels !== 2;
  const put = (table: number, index: number, value: bigint): void => {
    const at = TABLES + table * 0x1000 + index * (wide ? 8 : 4);
    if (wide) ram.setBigUint64(at, value, true);
    else ram.setUint32(at, Number(value & 0xffff_ffffn), true);
  };
  const count = wide ? 512 : 1024;
  const wild = odd(random, 3);
  for (let table = 0; table < levels; table++)
    for (let i = 0; i < (wild ? 8 : 1); i++) put(table, random.below(count), entry(random, wide));
  const link = (table: number): bigint => BigInt(TABLES + (table + 1) * 0x1000) | 7n;
  for (let table = 0; table < levels - 1; table++) {
    const pdpt = levels === 3 && table === 0;
    for (const i of pdpt ? [0, 1, 2, 3] : [0, count - 1, count / 2]) {
      const value = pdpt ? link(table) & ~6n : link(table);
      put(table, i, random.oneIn(wild ? 6 : 200) ? entry(random, wide) : value);
    }
  }
  for (let i = 0; i < 512; i++) {
    // Tables are the supervisor's; code and data the running level's, mostly.
    const shared = (user && i * 0x1000 >= CODE) !== odd(random, 10);
    const writable = odd(random, 8) ? 0n : 2n;
    const identity = BigInt(i * 0x1000) | 1n | (shared ? 4n : 0n) | writable;
    put(levels - 1, i, random.oneIn(wild ? 6 : 200) ? entry(random, wide) : identity);
  }
}

const ARMED = 0x400n | 0xffn;

function controlRegisters(random: Random, vp: VpView, mode: GuestMode): 0 | 2 | 3 | 4 {
  const long = mode === 'long' || mode === 'compatibility';
  const any = (bits: readonly number[]): number => bits.reduce((sum, bit) => sum + (random.oneIn(3) ? bit : 0), 0);
  const levels = long ? 4 : mode === 'real' || random.oneIn(3) ? 0 : random.oneIn(2) ? 2 : 3;
  let cr0 = Cr0.ET | any([Cr0.MP, Cr0.NE, Cr0.WP, Cr0.AM]);
  if (odd(random, 6)) cr0 |= any([Cr0.EM, Cr0.TS]);
  if (mode !== 'real') cr0 |= Cr0.PE;
  vp.cr0 = BigInt(cr0 >>> 0) | (levels > 0 ? 1n << 31n : 0n);
  let cr4 = any([Cr4.PSE, Cr4.PGE, Cr4.DE, Cr4.TSD, Cr4.SMEP, Cr4.SMAP, Cr4.FSGSBASE]);
  if (!odd(random, 4)) cr4 |= Cr4.OSFXSR | Cr4.OSXMMEXCPT;
  if (levels >= 3) cr4 |= Cr4.PAE;
  vp.cr4 = BigInt(cr4);
  vp.efer = BigInt((random.oneIn(4) ? 0 : Efer.SCE | Efer.NXE) | (long ? Efer.LME | Efer.LMA : 0));
  vp.cr3 = odd(random, 16)
    ? word(random) & 0xff_ffff_ffffn
    : BigInt(TABLES | (odd(random, 16) ? random.below(0x1000) : 0));
  vp.cr2 = u64(random);
  vp.xcr0 = 1n;
  for (let i = 0; i < 4; i++) vp.dr[i] = word(random);
  vp.dr[6] = 0xffff_0ff0n;
  vp.dr[7] = random.oneIn(10) ? (BigInt(random.u32()) & 0xffff_0000n) | ARMED : 0x400n;
  return levels;
}

function segments(random: Random, vp: VpView, mode: GuestMode, user: boolean): void {
  const level = user ? 3 : 0;
  const dpl = level << Attribute.DPL_SHIFT;
  const data = [Segment.ES, Segment.SS, Segment.DS, Segment.FS, Segment.GS] as const;
  const limitOf = (): number =>
    random.oneIn(3) ? random.below(0x10_0000) : random.oneIn(4) ? random.u32() : 0xffff_ffff;
  if (mode === 'real' || mode === 'v86') {
    for (const index of [...data, Segment.CS]) {
      const selector = index === Segment.CS ? CODE >> 4 : index === Segment.SS ? STACK >> 4 : random.below(0x1_0000);
      const limit = mode === 'real' && random.oneIn(4) ? limitOf() : 0xffff;
      setSegment(vp, index, selector, BigInt(selector << 4), limit, mode === 'v86' ? V86_ATTRIBUTES : REAL_ATTRIBUTES);
    }
  } else {
    const long = mode === 'long';
    const wide = mode === 'protected32' || mode === 'compatibility' ? Attribute.DB : 0;
    const code = (user ? Good.userCode32 : Good.code32) * 8 + level;
    const codeAttributes = 0x9b | dpl | Attribute.G | (long ? Attribute.L : wide);
    setSegment(
      vp,
      Segment.CS,
      code,
      0n,
      long || random.oneIn(2) ? 0xffff_ffff : CODE + CODE_SIZE + random.below(4096),
      codeAttributes,
    );
    for (const index of data) {
      const strange = odd(random, 3);
      const attributes = strange
        ? (random.u32() & 0xf0ff & ~Attribute.DPL) | Attribute.S | dpl
        : 0x93 | dpl | Attribute.DB | Attribute.G;
      const limit = strange ? limitOf() : 0xffff_ffff;
      const base = odd(random, 3) ? word(random) : 0n;
      const dead = index !== Segment.SS && random.oneIn(10) ? Attribute.UNUSABLE : 0;
      setSegment(
        vp,
        index,
        (user ? Good.userData : Good.data) * 8 + level,
        long ? base : base & 0xffff_ffffn,
        limit,
        attributes | dead,
      );
    }
  }
  const long = mode === 'long' || mode === 'compatibility';
  const tableBase = (home: number): bigint => {
    if (odd(random, 10)) return long ? word(random) : word(random) & 0xffff_ffffn;
    return BigInt(home) + (long && random.oneIn(20) ? 0xffff_8000_0000_0000n : 0n);
  };
  const tableLimit = (limit: number): number => (odd(random, 5) ? random.below(0x1_0000) : limit);
  setSegment(vp, Segment.GDTR, 0, tableBase(GDT), tableLimit(DESCRIPTORS * 8 - 1), 0);
  setSegment(vp, Segment.IDTR, 0, mode === 'real' ? tableBase(0) : tableBase(IDT), tableLimit(0xfff), 0);
  setSegment(
    vp,
    Segment.LDTR,
    random.u32() & 0xffff,
    tableBase(LDT),
    tableLimit(DESCRIPTORS * 8 - 1),
    random.oneIn(6) ? Attribute.UNUSABLE : 0x82,
  );
  const tssType = !long && odd(random, 3) ? 0x83 : 0x8b;
  const tssLimit = odd(random, 3) ? random.below(0x200) : 0x2067;
  setSegment(
    vp,
    Segment.TR,
    random.below(DESCRIPTORS) * 8,
    tableBase(TSS),
    tssLimit,
    odd(random, 6) ? Attribute.UNUSABLE | tssType : tssType,
  );
  setSegment(vp, Segment.FLAT, 0, 0n, 0xffff_ffff, 0x93);
}

const FLAGS = Flag.DF | Flag.OF | Flag.CF | Flag.AF | Flag.ZF | Flag.ID;

function registers(random: Random, vp: VpView, mode: GuestMode): void {
  for (let i = 0; i < 16; i++) vp.gpr[i] = word(random);
  const real = mode === 'real' || mode === 'v86';
  if (!odd(random, 4)) vp.gpr[4] = BigInt((real ? 0 : STACK) + random.below(0x1000));
  if (random.oneIn(3)) vp.gpr[1] = BigInt(random.below(64));
  let flags = random.u32() & FLAGS;
  for (const [flag, chance] of [
    [Flag.TF, 12],
    [Flag.AC, 4],
    [Flag.NT, 8],
    [Flag.RF, 20],
    [Flag.IF, 2],
  ] as const)
    if (random.oneIn(chance)) flags |= flag;
  flags |= (random.oneIn(2) ? 3 : random.below(4)) << 12;
  if (mode === 'v86') flags |= Flag.VM;
  writeFlags(vp, flags);
  for (let i = 0; i < 32; i++) vp.xmm[i] = random.oneIn(3) ? u64(random) : random.pick(EVIL);
  for (let i = 0; i < 8; i++) {
    vp.x87[i * 2] = random.oneIn(3) ? random.pick(EVIL) : u64(random);
    vp.x87[i * 2 + 1] = BigInt(
      random.oneIn(2)
        ? random.below(0x1_0000)
        : random.pick([0, 1, 0x3fff, 0x4000, 0x403e, 0x7ffe, 0x7fff, 0x8000, 0xffff]),
    );
  }
  vp.fcw = random.oneIn(2) ? 0x37f : (random.u32() & 0x1f3f) | 0x40;
  vp.fsw = random.oneIn(2) ? 0 : random.u32() & 0xc7ff;
  vp.ftop = random.below(8);
  vp.ftw = random.below(256);
  vp.fop = random.below(0x800);
  vp.fip = u64(random);
  vp.fdp = u64(random);
  vp.mxcsr = random.oneIn(2) ? 0x1f80 : random.below(0x1_0000);
  for (const field of ['star', 'lstar', 'cstar', 'kernelGsBase', 'sysenterEsp', 'sysenterEip'] as const)
    vp[field] = word(random);
  vp.sfmask = BigInt(random.u32());
  vp.sysenterCs = BigInt(random.below(0x200));
  vp.star =
    (vp.star & 0xffff_ffffn) |
    (BigInt(random.below(DESCRIPTORS) * 8) << 32n) |
    (BigInt(random.below(DESCRIPTORS) * 8) << 48n);
}

/** Fills guest RAM (1 MiB and the top page) and the processor's state from `random`. */
export function makeGuest(random: Random, vp: VpView, ram: Uint8Array, top: Uint8Array): GuestMode {
  const mode = random.pick(MODES);
  soundness = random.oneIn(4) ? 1 : random.oneIn(2) ? 8 : 40;
  const user = mode === 'v86' || (mode !== 'real' && random.oneIn(3));
  const shape: CodeShape = { long64: mode === 'long', code32: mode === 'protected32' || mode === 'compatibility' };
  const view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  const gpr = vp.gpr;
  new Uint8Array(gpr.buffer, gpr.byteOffset - VpState.offset('gpr'), VpState.size).fill(0);
  if (mode === 'real')
    for (let i = 0; i < 256; i++) view.setUint32(i * 4, ((CODE >> 4) << 16) | random.below(0x1_0000), true);
  const levels = controlRegisters(random, vp, mode);
  if (levels > 0) pageTables(random, view, levels as 2 | 3 | 4, user);
  descriptorTables(random, view, mode === 'long' || mode === 'compatibility');
  segments(random, vp, mode, user);
  registers(random, vp, mode);
  const start = CODE + (random.oneIn(3) ? 0xff0 + random.below(16) : random.below(CODE_SIZE - 512));
  fillWithCode(ram.subarray(start, start + 64 + random.below(400)), random, shape);
  fillWithCode(top, random, shape);
  const real = mode === 'real' || mode === 'v86';
  vp.rip = BigInt(real ? start - CODE : start);
  if (odd(random, 10)) vp.rip = real ? BigInt(random.u32()) : word(random);
  if (mode === 'long' && random.oneIn(10)) vp.rip |= 0xffff_8000_0000_0000n;
  if (mode !== 'long') vp.rip &= 0xffff_ffffn;
  vp.nmiBlocked = random.below(2);
  vp.pat = 0x0007_0406_0007_0406n;
  updateMode(vp);
  return mode;
}

/** What a jailed program may write; it executes and reads the pages before, and may do nothing else. */
export const JAIL = { code: CODE, data: 0x2_0000, end: 0x3_0000, tables: TABLES, tablesEnd: TABLES + 0x4000 } as const;

/**
 * A program at CPL 3 without any way out: paging gives it two areas, no descriptor table has an entry, and no system call
 * is enabled. Whatever it runs, it stays at CPL 3 and changes its own data and registers alone.
 */
export function makeJail(random: Random, vp: VpView, ram: Uint8Array): GuestMode {
  const mode = random.pick(['v86', 'protected16', 'protected32', 'compatibility', 'long'] as const);
  soundness = 1000;
  const { gpr } = vp;
  new Uint8Array(gpr.buffer, gpr.byteOffset - VpState.offset('gpr'), VpState.size).fill(0);
  const long = mode === 'long' || mode === 'compatibility';
  const levels = long ? 4 : random.oneIn(2) ? 2 : 3;
  const view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  ram.fill(0, TABLES, JAIL.tablesEnd);
  const put = (at: number, value: number): void => {
    view.setUint32(at, value, true);
  };
  for (let table = 0; table < levels - 1; table++)
    put(TABLES + table * PAGE, (TABLES + (table + 1) * PAGE) | (levels === 3 && table === 0 ? 1 : 7));
  for (let page = 0; page < RAM_SIZE; page += PAGE) {
    const rights = page < JAIL.code || page >= JAIL.end ? 3 : page < JAIL.data ? 5 : 7;
    put(TABLES + (levels - 1) * PAGE + (page / PAGE) * (levels === 2 ? 4 : 8), page | rights);
  }
  registers(random, vp, mode);
  writeFlags(vp, (readFlags(vp) & ~(Flag.TF | Flag.RF | Flag.IF | Flag.IOPL)) | (random.below(3) << 12));
  vp.sysenterCs = 0n;
  vp.cr0 = BigInt((Cr0.PE | Cr0.ET | Cr0.AM | (random.oneIn(2) ? Cr0.WP : 0)) >>> 0) | (1n << 31n);
  vp.cr3 = BigInt(TABLES);
  vp.cr4 = BigInt(Cr4.OSFXSR | Cr4.OSXMMEXCPT | (random.oneIn(2) ? Cr4.FSGSBASE : 0) | (levels === 2 ? 0 : Cr4.PAE));
  vp.efer = long ? BigInt(Efer.LME | Efer.LMA | Efer.NXE) : 0n;
  vp.dr[6] = 0xffff_0ff0n;
  vp.dr[7] = 0x400n;
  segments(random, vp, mode, true);
  for (const table of [Segment.GDTR, Segment.IDTR]) vp.segmentLimit[table] = 0;
  for (const table of [Segment.LDTR, Segment.TR]) vp.segmentAttributes[table] = Attribute.UNUSABLE;
  const start = random.below(CODE_SIZE - 600);
  const shape = { long64: mode === 'long', code32: mode === 'protected32' || mode === 'compatibility' };
  for (let at = start; at < start + 600; at += 200)
    fillWithCode(ram.subarray(CODE + at, CODE + at + 200), random, shape);
  vp.rip = BigInt(mode === 'v86' ? start : CODE + start);
  for (let i = 0; i < 16; i++)
    if (random.oneIn(2)) vp.gpr[i] = BigInt((mode === 'v86' ? 0 : JAIL.data) + random.below(0x1_0000));
  updateMode(vp);
  return mode;
}
