/**
 * Entering a code segment, and the stacks that a task-state segment names for inner privilege levels. Intel SDM vol. 3,
 * "Privilege Level Checking When Transferring Program Control Between Code Segments".
 */
import { Attribute, Mode, Segment, Vector, type VpView } from '../../vp/state.ts';
import { raise, type SystemContext } from './context.ts';
import {
  attributesOf,
  baseOf,
  type Descriptor,
  dpl,
  errorOf,
  fetchDescriptor,
  isBig,
  isCode,
  isConforming,
  isLong,
  isNull,
  limitOf,
  present,
} from './descriptor.ts';
import { isCanonical, setSegment, systemAccess, updateMode } from './mode.ts';

/** True for code that runs in 64-bit mode: L counts only in IA-32e mode. */
export function targets64(vp: VpView, d: Descriptor): boolean {
  return (vp.mode & Mode.LONG) !== 0 && isLong(d);
}

function requireSoundSize(ctx: SystemContext, selector: number, d: Descriptor): void {
  if ((ctx.vp.mode & Mode.LONG) !== 0 && isLong(d) && isBig(d)) raise(ctx, Vector.GP, errorOf(selector));
}

/** The code segment of a direct far JMP or CALL: reached at the current privilege level. */
export function checkDirectCode(ctx: SystemContext, selector: number, d: Descriptor): void {
  const cpl = ctx.vp.cpl;
  requireSoundSize(ctx, selector, d);
  if (isConforming(d) ? dpl(d) > cpl : (selector & 3) > cpl || dpl(d) !== cpl) raise(ctx, Vector.GP, errorOf(selector));
  if (!present(d)) raise(ctx, Vector.NP, errorOf(selector));
}

/** The code segment that a far RET or IRET goes back to. */
export function checkReturnCode(ctx: SystemContext, selector: number): Descriptor {
  if (isNull(selector)) raise(ctx, Vector.GP, 0);
  const d = fetchDescriptor(ctx, selector);
  const rpl = selector & 3;
  if (!isCode(d) || rpl < ctx.vp.cpl) raise(ctx, Vector.GP, errorOf(selector));
  requireSoundSize(ctx, selector, d);
  if (isConforming(d) ? dpl(d) > rpl : dpl(d) !== rpl) raise(ctx, Vector.GP, errorOf(selector));
  if (!present(d)) raise(ctx, Vector.NP, errorOf(selector));
  return d;
}

/** #GP(0) unless the offset can be executed: canonical in 64-bit code, within the limit elsewhere. */
export function checkOffset(ctx: SystemContext, d: Descriptor, offset: bigint, external = 0): void {
  if (targets64(ctx.vp, d) ? !isCanonical(ctx.vp, offset) : offset > BigInt(limitOf(d)))
    raise(ctx, Vector.GP, external);
}

/** Loads CS with a checked descriptor and goes to `offset`. SS, which holds the new CPL, has been loaded before. */
export function enterCode(ctx: SystemContext, selector: number, d: Descriptor, level: number, offset: bigint): void {
  const vp = ctx.vp;
  setSegment(vp, Segment.CS, (selector & 0xfffc) | level, BigInt(baseOf(d)), limitOf(d), attributesOf(d) | 1);
  vp.nextRip = offset;
  updateMode(vp);
}

/** After a return to an outer level: segments that the new level may not use become null, and null selectors zero. */
export function dropInnerSegments(vp: VpView, level: number): void {
  for (const index of OUTER_SEGMENTS) {
    if (isNull(vp.segmentSelector[index] as number)) vp.segmentSelector[index] = 0;
    const attributes = vp.segmentAttributes[index] as number;
    if ((attributes & Attribute.UNUSABLE) !== 0 || (attributes & 0xc) === 0xc) continue;
    // The bases of FS and GS are the operating system's in 64-bit mode, whatever the selectors: no load, no new base.
    if ((attributes & Attribute.DPL) >> Attribute.DPL_SHIFT < level)
      setSegment(vp, index, 0, vp.segmentBase[index] as bigint, 0, Attribute.UNUSABLE);
  }
}
const OUTER_SEGMENTS = [Segment.ES, Segment.DS, Segment.FS, Segment.GS] as const;

/** Offset in the TSS of an inner stack: RSPn or ISTn in IA-32e mode. */
export function longTssStack(ctx: SystemContext, offset: number, external: number): bigint {
  const vp = ctx.vp;
  if (offset + 7 > (vp.segmentLimit[Segment.TR] as number))
    raise(ctx, Vector.TS, errorOf(vp.segmentSelector[Segment.TR] as number) | external);
  const at = BigInt.asUintN(64, (vp.segmentBase[Segment.TR] as bigint) + BigInt(offset));
  const sp = ctx.readLinear(at, 8, systemAccess(vp));
  return isCanonical(vp, sp) ? sp : raise(ctx, Vector.SS, external);
}
export function rspOffset(level: number): number {
  return 4 + 8 * level;
}
export function istOffset(ist: number): number {
  return 28 + 8 * ist;
}

/** SS:ESP for privilege level `level` from a 16- or 32-bit TSS. */
export function tssStack(ctx: SystemContext, level: number, external: number): { selector: number; sp: bigint } {
  const vp = ctx.vp;
  const wide = ((vp.segmentAttributes[Segment.TR] as number) & 8) !== 0;
  const offset = wide ? 4 + 8 * level : 2 + 4 * level;
  if (offset + (wide ? 5 : 3) > (vp.segmentLimit[Segment.TR] as number))
    raise(ctx, Vector.TS, errorOf(vp.segmentSelector[Segment.TR] as number) | external);
  const at = (vp.segmentBase[Segment.TR] as bigint) + BigInt(offset);
  const access = systemAccess(vp);
  const sp = ctx.readLinear(at & 0xffff_ffffn, wide ? 4 : 2, access);
  const selector = Number(ctx.readLinear((at + (wide ? 4n : 2n)) & 0xffff_ffffn, 2, access));
  return { selector, sp };
}
