/**
 * The x87 register stack and status over VpState, for the instructions that run in TypeScript. Intel SDM vol. 1, 8.1 "x87
 * FPU Execution Environment". The WebAssembly side of the same rules is in helpers.ts.
 *
 * The pointers: FIP is that of every non-control instruction, FDP that of every one with a memory operand. FOP, FCS and
 * FDS are only what software loads, as on processors that report CPUID.(EAX=7):EBX[13] and leave opcodes unrecorded.
 */
import { Flag, type VpView } from '../../vp/state.ts';
import { Access, type SystemContext } from '../system/context.ts';
import { type Extended, Status } from './extended.ts';

export const CONDITION_BITS = Status.C0 | Status.C1 | Status.C2 | Status.C3;

function physical(vp: VpView, i: number): number {
  return (vp.ftop + i) & 7;
}

export function isEmpty(vp: VpView, i: number): boolean {
  return ((vp.ftw >> physical(vp, i)) & 1) === 0;
}

export function getRegister(vp: VpView, i: number): Extended {
  const at = physical(vp, i) * 2;
  return { significand: vp.x87[at] as bigint, signExponent: Number((vp.x87[at + 1] as bigint) & 0xffffn) };
}

export function setRegister(vp: VpView, i: number, value: Extended): void {
  const at = physical(vp, i) * 2;
  vp.x87[at] = value.significand;
  vp.x87[at + 1] = BigInt(value.signExponent);
  vp.ftw |= 1 << physical(vp, i);
}

export function push(vp: VpView, value: Extended): void {
  vp.ftop = (vp.ftop - 1) & 7;
  setRegister(vp, 0, value);
}

export function pop(vp: VpView): void {
  vp.ftw &= ~(1 << vp.ftop) & 0xff;
  vp.ftop = (vp.ftop + 1) & 7;
}

/** Sets exception flags (and C1 among `flags`); true when one of them is unmasked, which leaves an exception pending. */
export function signal(vp: VpView, flags: number): boolean {
  const pending = flags & ~vp.fcw & 0x3f;
  vp.fsw |= flags | (pending === 0 ? 0 : Status.ES | Status.B);
  return pending !== 0;
}

/** What every non-control instruction begins with. */
export function begin(vp: VpView): void {
  vp.fip = vp.rip;
  vp.fsw &= ~Status.C1;
}

export function setConditions(vp: VpView, bits: number, mask: number = CONDITION_BITS): void {
  vp.fsw = (vp.fsw & ~mask) | bits;
}

/** Stack underflow: true where it is masked, and the instruction's results are indefinite values. */
export function underflow(vp: VpView): boolean {
  return !signal(vp, Status.IE | Status.SF);
}
/** Stack overflow: C1 is set. */
export function overflow(vp: VpView): boolean {
  return !signal(vp, Status.IE | Status.SF | Status.C1);
}

/** ES and B follow the flags and masks, after either was loaded. */
export function updateSummary(vp: VpView): void {
  const pending = vp.fsw & ~vp.fcw & 0x3f;
  vp.fsw = (vp.fsw & 0x7f7f) | (pending === 0 ? 0 : Status.ES | Status.B);
}

/** The 16-bit tag word: 0 valid, 1 zero, 2 special, 3 empty, for each physical register. */
export function fullTags(vp: VpView): number {
  let tags = 0;
  for (let r = 0; r < 8; r++) {
    const significand = vp.x87[r * 2] as bigint;
    const exponent = Number((vp.x87[r * 2 + 1] as bigint) & 0x7fffn);
    let tag = 0;
    if (!((vp.ftw >> r) & 1)) tag = 3;
    else if (exponent === 0) tag = significand === 0n ? 1 : 2;
    else if (exponent === 0x7fff || significand >> 63n === 0n) tag = 2;
    tags |= tag << (r * 2);
  }
  return tags;
}

export function abridgedTags(tags: number): number {
  let ftw = 0;
  for (let r = 0; r < 8; r++) if (((tags >> (r * 2)) & 3) !== 3) ftw |= 1 << r;
  return ftw;
}

const CR4_SMAP = 1n << 21n;

/** As whom the current instruction accesses its memory operand. */
export function accessOf({ vp }: SystemContext): Access {
  if (vp.cpl === 3) return Access.USER;
  const guarded = (vp.cr4 & CR4_SMAP) !== 0n && (vp.flags & Flag.AC) === 0;
  return guarded ? Access.SUPERVISOR_SMAP : Access.SUPERVISOR;
}
