/**
 * Fast system calls: SYSCALL, SYSRET, SYSENTER, SYSEXIT. Intel SDM vol. 2, AMD APM vol. 3 under those names.
 *
 * A superset of both vendors: SYSCALL and SYSRET also work in compatibility and legacy mode, as AMD's do (SYSCALL from
 * compatibility mode goes to CSTAR); SYSENTER and SYSEXIT also in IA-32e mode, as Intel's do. Where they differ otherwise
 * Intel's behaviour is taken: SYSRET checks RCX at CPL 0, and loads the whole of SS.
 * The products in 64-bit mode are written in semantics/system.ts; here is what they leave: other modes, and TF set.
 */
import { Flag, Mode, readFlags, Segment, Vector, type VpView, writeFlags } from '../../vp/state.ts';
import { raise, type SystemContext, type SystemOperation } from './context.ts';
import { PendingDebug } from './debug.ts';
import { Cr0, Efer, isCanonical, setSegment, updateMode } from './mode.ts';

/** Flat code and data segments with all of the address space, by DPL; accessed, present, 4 KiB granular. */
export const FLAT = { CODE64: 0xa09b, CODE32: 0xc09b, DATA: 0xc093, DPL3: 0x60, LIMIT: 0xffff_ffff } as const;

function loadFlat(vp: VpView, code: number, stack: number, attributes: number, level: number): void {
  const dpl = level === 3 ? FLAT.DPL3 : 0;
  setSegment(vp, Segment.CS, code | level, 0n, FLAT.LIMIT, attributes | dpl);
  setSegment(vp, Segment.SS, stack | level, 0n, FLAT.LIMIT, FLAT.DATA | dpl);
}

function requireEnabled(ctx: SystemContext): void {
  if ((Number(ctx.vp.efer) & Efer.SCE) === 0) raise(ctx, Vector.UD);
}
function isProtected(vp: VpView): boolean {
  return (Number(vp.cr0) & Cr0.PE) !== 0;
}

function syscall(ctx: SystemContext): void {
  const { vp } = ctx;
  requireEnabled(ctx);
  const flags = readFlags(vp);
  const selector = Number((vp.star >> 32n) & 0xfffcn);
  if ((vp.mode & Mode.LONG) !== 0) {
    const target = (vp.mode & Mode.LONG64) !== 0 ? vp.lstar : vp.cstar;
    vp.gpr[1] = vp.nextRip;
    vp.gpr[11] = BigInt(flags & ~Flag.RF);
    loadFlat(vp, selector, selector + 8, FLAT.CODE64, 0);
    writeFlags(vp, flags & ~Flag.RF & ~Number(vp.sfmask));
    vp.nextRip = target;
  } else {
    vp.gpr[1] = vp.nextRip;
    loadFlat(vp, selector, selector + 8, FLAT.CODE32, 0);
    writeFlags(vp, flags & ~(Flag.IF | Flag.VM | Flag.RF));
    vp.nextRip = vp.star & 0xffff_ffffn;
  }
  // The trap flag counts as SYSCALL leaves it: a kernel that masks it is not stepped into.
  if ((vp.flags & Flag.TF) === 0) vp.pendingDebug |= PendingDebug.NO_STEP;
  updateMode(vp);
}

/** Operand A is the operand size. */
function sysret(ctx: SystemContext, size: bigint): void {
  const { vp } = ctx;
  requireEnabled(ctx);
  if (!isProtected(vp) || vp.cpl !== 0) raise(ctx, Vector.GP, 0);
  const rcx = vp.gpr[1] as bigint;
  const selector = Number((vp.star >> 48n) & 0xffffn);
  const wide = size === 8n;
  if (wide && !isCanonical(vp, rcx)) raise(ctx, Vector.GP, 0);
  if ((vp.mode & Mode.LONG) !== 0) {
    writeFlags(vp, (Number((vp.gpr[11] as bigint) & 0x3c7fd7n) | 2) >>> 0);
    // A trap flag that SYSRET sets traps before the first instruction it returns to.
    if ((vp.flags & Flag.TF) !== 0) vp.pendingDebug |= PendingDebug.STEP;
  } else vp.flags |= Flag.IF;
  const code = (wide ? selector + 16 : selector) & 0xffff;
  loadFlat(vp, code, (selector + 8) & 0xffff, wide ? FLAT.CODE64 : FLAT.CODE32, 3);
  vp.nextRip = wide ? rcx : rcx & 0xffff_ffffn;
  updateMode(vp);
}

function sysenter(ctx: SystemContext): void {
  const { vp } = ctx;
  const selector = Number(vp.sysenterCs & 0xfffcn);
  if (!isProtected(vp) || selector === 0) raise(ctx, Vector.GP, 0);
  const long = (vp.mode & Mode.LONG) !== 0;
  writeFlags(vp, readFlags(vp) & ~(Flag.VM | Flag.IF | Flag.RF));
  loadFlat(vp, selector, selector + 8, long ? FLAT.CODE64 : FLAT.CODE32, 0);
  vp.gpr[4] = long ? vp.sysenterEsp : vp.sysenterEsp & 0xffff_ffffn;
  vp.nextRip = long ? vp.sysenterEip : vp.sysenterEip & 0xffff_ffffn;
  updateMode(vp);
}

/** Operand A is the operand size. */
function sysexit(ctx: SystemContext, size: bigint): void {
  const { vp } = ctx;
  const selector = Number(vp.sysenterCs & 0xfffcn);
  if (!isProtected(vp) || selector === 0 || vp.cpl !== 0) raise(ctx, Vector.GP, 0);
  const rip = vp.gpr[2] as bigint;
  const rsp = vp.gpr[1] as bigint;
  const wide = size === 8n;
  if (wide && (!isCanonical(vp, rip) || !isCanonical(vp, rsp))) raise(ctx, Vector.GP, 0);
  const code = selector + (wide ? 32 : 16);
  loadFlat(vp, code, code + 8, wide ? FLAT.CODE64 : FLAT.CODE32, 3);
  vp.gpr[4] = wide ? rsp : rsp & 0xffff_ffffn;
  vp.nextRip = wide ? rip : rip & 0xffff_ffffn;
  updateMode(vp);
}

export const entryOperations = { syscall, sysret, sysenter, sysexit } as const satisfies Record<
  string,
  SystemOperation
>;
