/**
 * What follows from the control registers, the segment caches and RFLAGS: the execution mode, CPL, and the TLB in use.
 * Intel SDM vol. 3, "System Architecture Overview" and "Determination of Access Rights".
 *
 * CPL is SS.DPL: every way into a privilege level loads SS (or, for a null SS in 64-bit mode, its cached DPL) so.
 */
import { Attribute, Flag, Mode, Segment, type VpView } from '../../vp/state.ts';
import { Access } from './context.ts';

export const Cr0 = {
  PE: 1 << 0,
  MP: 1 << 1,
  EM: 1 << 2,
  TS: 1 << 3,
  ET: 1 << 4,
  NE: 1 << 5,
  WP: 1 << 16,
  AM: 1 << 18,
  NW: 1 << 29,
  CD: 1 << 30,
  PG: 2 ** 31,
} as const;

export const Cr4 = {
  VME: 1 << 0,
  PVI: 1 << 1,
  TSD: 1 << 2,
  DE: 1 << 3,
  PSE: 1 << 4,
  PAE: 1 << 5,
  MCE: 1 << 6,
  PGE: 1 << 7,
  PCE: 1 << 8,
  OSFXSR: 1 << 9,
  OSXMMEXCPT: 1 << 10,
  UMIP: 1 << 11,
  LA57: 1 << 12,
  FSGSBASE: 1 << 16,
  PCIDE: 1 << 17,
  OSXSAVE: 1 << 18,
  SMEP: 1 << 20,
  SMAP: 1 << 21,
} as const;

export const Efer = { SCE: 1 << 0, LME: 1 << 8, LMA: 1 << 10, NXE: 1 << 11 } as const;

/** `interruptShadow`: STI holds off maskable interrupts, a load of SS also debug traps and NMIs, until after one instruction. */
export const Shadow = { STI: 1, SS: 2 } as const;

/** `tlbContext` of user accesses whose alignment is checked (CR0.AM and RFLAGS.AC); no `Access` of its own. */
const USER_CHECKED = 3;

/** How an explicit access at this privilege level is made. */
export function accessAt(vp: VpView, cpl: number): Access {
  if (cpl === 3) return Access.USER;
  return (vp.flags & Flag.AC) === 0 && (Number(vp.cr4) & Cr4.SMAP) !== 0 ? Access.SUPERVISOR_SMAP : Access.SUPERVISOR;
}

/** How descriptor tables and task-state segments are accessed, at whatever CPL: RFLAGS.AC does not help against SMAP. */
export function systemAccess(vp: VpView): Access {
  return (Number(vp.cr4) & Cr4.SMAP) !== 0 ? Access.SUPERVISOR_SMAP : Access.SUPERVISOR;
}

/** Recomputes `mode`, `cpl`, `tlbContext`, `codeBase` and `codeMask` from CR0, CR4, EFER, CS, SS and RFLAGS. */
export function updateMode(vp: VpView): void {
  const cs = vp.segmentAttributes[Segment.CS] as number;
  const ss = vp.segmentAttributes[Segment.SS] as number;
  const cr0 = Number(vp.cr0);
  const protectedMode = (cr0 & Cr0.PE) !== 0;
  const v86 = protectedMode && (vp.flags & Flag.VM) !== 0;
  let mode = protectedMode ? (v86 ? Mode.PROTECTED | Mode.V86 : Mode.PROTECTED) : 0;
  if ((Number(vp.efer) & Efer.LMA) !== 0) {
    mode |= Mode.LONG;
    if ((cs & Attribute.L) !== 0) mode |= Mode.LONG64;
    else if ((cs & Attribute.DB) !== 0) mode |= Mode.CODE32;
  } else if ((cs & Attribute.DB) !== 0) mode |= Mode.CODE32;
  // 64-bit mode does not look at SS.B: leaving it out keeps one set of cached blocks for all stacks.
  if ((ss & Attribute.DB) !== 0 && (mode & Mode.LONG64) === 0) mode |= Mode.STACK32;
  const cpl = !protectedMode ? 0 : v86 ? 3 : (ss & Attribute.DPL) >> Attribute.DPL_SHIFT;
  if (cpl === 3) mode |= Mode.USER;
  vp.mode = mode;
  vp.cpl = cpl;
  const aligned = cpl === 3 && (vp.flags & Flag.AC) !== 0 && (cr0 & Cr0.AM) !== 0;
  vp.tlbContext = aligned ? USER_CHECKED : accessAt(vp, cpl);
  if ((mode & Mode.LONG64) !== 0) {
    vp.codeBase = 0n;
    vp.codeMask = 0xffff_ffff_ffff_ffffn;
  } else {
    vp.codeBase = vp.segmentBase[Segment.CS] as bigint;
    vp.codeMask = 0xffff_ffffn;
  }
}

/** Attributes of a segment cache in real mode (DPL 0) and virtual-8086 mode (DPL 3): present, read/write, accessed. */
export const REAL_ATTRIBUTES = 0x93;
export const V86_ATTRIBUTES = 0xf3;

export function setSegment(
  vp: VpView,
  index: number,
  selector: number,
  base: bigint,
  limit: number,
  attributes: number,
): void {
  vp.segmentSelector[index] = selector;
  vp.segmentBase[index] = base;
  vp.segmentLimit[index] = limit;
  vp.segmentAttributes[index] = attributes;
}

/**
 * A load in real or virtual-8086 mode: no descriptor, and in real mode limit and size stay what they were, so that
 * segments left large by protected mode ("unreal mode") stay large.
 */
export function loadRealSegment(vp: VpView, index: number, selector: number): void {
  const base = BigInt(selector) << 4n;
  if ((vp.mode & Mode.V86) !== 0) setSegment(vp, index, selector, base, 0xffff, V86_ATTRIBUTES);
  else {
    const size = (vp.segmentAttributes[index] as number) & (Attribute.DB | Attribute.G);
    setSegment(vp, index, selector, base, vp.segmentLimit[index] as number, REAL_ATTRIBUTES | size);
  }
}

/** Real-address mode, or virtual-8086 mode: segments have no descriptors. */
export function isRealOrV86(vp: VpView): boolean {
  return (vp.mode & (Mode.PROTECTED | Mode.V86)) !== Mode.PROTECTED;
}

/** Sign-extended 48-bit (57 with LA57) addresses only. `address` is a zero-extended 64-bit word. */
export function isCanonical(vp: VpView, address: bigint): boolean {
  if (address < 0x8000_0000_0000n || address >= 0xffff_8000_0000_0000n) return true;
  if ((Number(vp.cr4) & Cr4.LA57) === 0) return false;
  return address < 0x100_0000_0000_0000n || address >= 0xff00_0000_0000_0000n;
}

/** A change of the stack pointer's register, as wide as the stack is. */
export function setStackPointer(vp: VpView, value: bigint): void {
  if ((vp.mode & Mode.LONG64) !== 0) vp.gpr[4] = value;
  else if ((vp.mode & Mode.STACK32) !== 0) vp.gpr[4] = value & 0xffff_ffffn;
  else vp.gpr[4] = ((vp.gpr[4] as bigint) & 0xffff_ffff_ffff_0000n) | (value & 0xffffn);
}
