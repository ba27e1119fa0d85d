/**
 * Debug registers, breakpoints and single-step: Intel SDM vol. 3, "Debug Registers" and "Debug Exceptions".
 *
 * Traps collect in `pendingDebug` while an instruction runs; at the boundary after it the runner calls
 * debugTrapAfter() with RFLAGS.TF as it was before the instruction, and delivers #DB when that returns DR6 bits.
 * Instruction breakpoints are faults: the runner asks codeBreakpoints() before an instruction, while debugArmed().
 */
import { Flag, Vector, type VpView } from '../../vp/state.ts';
import { raise, raiseDebug, type SystemContext, type SystemOperation } from './context.ts';
import { Cr4, Shadow } from './mode.ts';

export const Dr6 = { BD: 1 << 13, BS: 1 << 14, BT: 1 << 15, FIXED: 0xffff_0ff0 } as const;
const Dr7 = { GD: 1 << 13, FIXED: 1 << 10 } as const;

/** `pendingDebug`: DR6 bits to report (0..3 breakpoints, BS, BT), and whether the single-step trap is not to be. */
export const PendingDebug = { BREAKPOINTS: 0xf, STEP: Dr6.BS, TASK: Dr6.BT, NO_STEP: 1 << 16 } as const;

const Kind = { CODE: 0, WRITE: 1, IO: 2, ACCESS: 3 } as const;

/** Whether any breakpoint is enabled, so that accesses and fetches must be compared. */
export function debugArmed(vp: VpView): boolean {
  return ((vp.dr[7] as bigint) & 0xffn) !== 0n;
}

/** DR6 bits 3:0 of the enabled breakpoints of the kinds given that overlap [address, address + size). */
function matches(vp: VpView, kinds: number, address: bigint, size: number): number {
  const dr7 = Number((vp.dr[7] as bigint) & 0xffff_ffffn);
  let found = 0;
  for (let i = 0; i < 4; i++) {
    const control = dr7 >>> (16 + 4 * i);
    if (((dr7 >>> (2 * i)) & 3) === 0 || ((kinds >> (control & 3)) & 1) === 0) continue;
    const length = LENGTHS[(control >> 2) & 3] as number;
    const start = (vp.dr[i] as bigint) & ~BigInt(length - 1);
    if (address < start + BigInt(length) && address + BigInt(size) > start) found |= 1 << i;
  }
  return found;
}
/** LEN field: 1, 2, 8 (4 where 8 is not allowed) and 4 bytes. */
const LENGTHS = [1, 2, 8, 4] as const;

/** Breakpoints on the instruction at a linear address; none while RF is set. The fault's DR6 bits, 0 for none. */
export function codeBreakpoints(vp: VpView, linear: bigint): number {
  if ((vp.flags & Flag.RF) !== 0 || vp.interruptShadow === Shadow.SS) return 0;
  return matches(vp, 1 << Kind.CODE, linear, 1);
}

/** Notes data breakpoints that an access has hit; they trap after the instruction. */
export function noteDataAccess(vp: VpView, linear: bigint, size: number, write: boolean): void {
  vp.pendingDebug |= matches(vp, write ? (1 << Kind.WRITE) | (1 << Kind.ACCESS) : 1 << Kind.ACCESS, linear, size);
}

/** Notes I/O breakpoints, which CR4.DE enables. */
export function notePortAccess(vp: VpView, port: number, size: number): void {
  if (debugArmed(vp) && (Number(vp.cr4) & Cr4.DE) !== 0)
    vp.pendingDebug |= matches(vp, 1 << Kind.IO, BigInt(port), size);
}

/**
 * What the boundary after a completed instruction reports: DR6 bits, 0 for no trap. Call before the instruction's
 * interrupt shadow is dropped: after a load of SS traps wait, and that instruction's own single-step trap is lost.
 */
export function debugTrapAfter(vp: VpView, trapFlagBefore: boolean): number {
  if (vp.interruptShadow === Shadow.SS) return 0;
  let bits = vp.pendingDebug;
  if (trapFlagBefore && (bits & PendingDebug.NO_STEP) === 0) bits |= PendingDebug.STEP;
  vp.pendingDebug = 0;
  return bits & 0xffff;
}

/** What the delivery of #DB does to DR6 and DR7: the breakpoint bits are replaced, the others accumulate. */
export function recordDebugException(vp: VpView): void {
  const dr6 = Number((vp.dr[6] as bigint) & 0xffff_ffffn);
  vp.dr[6] = BigInt(((dr6 & ~0xf) | vp.faultDr6 | Dr6.FIXED) >>> 0);
  vp.dr[7] = (vp.dr[7] as bigint) & ~BigInt(Dr7.GD);
  vp.faultDr6 = 0;
}

/** The register a MOV DR names: 4 and 5 are 6 and 7 unless CR4.DE is set. Then #GP outside CPL 0, then general detect. */
function select(ctx: SystemContext, operand: bigint): number {
  const { vp } = ctx;
  let index = Number(operand);
  if (index > 7) raise(ctx, Vector.UD);
  if (index === 4 || index === 5) {
    if ((Number(vp.cr4) & Cr4.DE) !== 0) raise(ctx, Vector.UD);
    index += 2;
  }
  if (vp.cpl !== 0) raise(ctx, Vector.GP, 0);
  if (((vp.dr[7] as bigint) & BigInt(Dr7.GD)) !== 0n) raiseDebug(ctx, Dr6.BD);
  return index;
}

export const debugOperations = {
  /** Operand A is the register's number. */
  readDr: (ctx, index) => ctx.vp.dr[select(ctx, index)],
  writeDr: (ctx, operand, value) => {
    const index = select(ctx, operand);
    if (index >= 6 && value > 0xffff_ffffn) raise(ctx, Vector.GP, 0);
    if (index === 6) ctx.vp.dr[6] = (value & 0xe00fn) | BigInt(Dr6.FIXED);
    else if (index === 7) ctx.vp.dr[7] = (value & 0xffff_23ffn) | BigInt(Dr7.FIXED);
    else ctx.vp.dr[index] = value;
    ctx.platform.modeChanged();
  },
} as const satisfies Record<string, SystemOperation>;
