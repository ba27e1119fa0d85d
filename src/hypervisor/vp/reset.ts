/** Processor state after power-up, INIT and SIPI: Intel SDM vol. 3, table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT". */
import { loadRealSegment, setSegment, updateMode } from '../x86/system/mode.ts';
import { Activity, Segment, VpState, type VpView } from './state.ts';

const DATA = 0x93;
const LDT = 0x82;
const TSS_BUSY = 0x8b;

/** Power-up: everything, the retired count included. */
export function resetPowerUp(vp: VpView): void {
  const bytes = vp.gpr;
  new Uint8Array(bytes.buffer, bytes.byteOffset - VpState.offset('gpr'), VpState.size).fill(0);
  vp.pat = 0x0007_0406_0007_0406n;
  vp.mxcsr = 0x1f80;
  vp.fcw = 0x40;
  vp.xcr0 = 1n;
  vp.cr0 = 0x6000_0010n;
  resetInit(vp);
}

/** INIT: x87 and SSE state, MSRs and CR0's cache bits survive. */
export function resetInit(vp: VpView): void {
  vp.gpr.fill(0n);
  // Family 0x19, model 0x11, stepping 1.
  vp.gpr[2] = 0x00a1_0f11n;
  vp.rip = 0xfff0n;
  vp.flags = 2;
  vp.flagResult = 1n;
  vp.flagA = 0n;
  vp.flagB = 0n;
  vp.flagForm = 0;
  vp.cr0 = (vp.cr0 & 0x6000_0000n) | 0x10n;
  vp.cr2 = 0n;
  vp.cr3 = 0n;
  vp.cr4 = 0n;
  vp.efer = 0n;
  for (const index of [Segment.ES, Segment.SS, Segment.DS, Segment.FS, Segment.GS])
    setSegment(vp, index, 0, 0n, 0xffff, DATA);
  setSegment(vp, Segment.CS, 0xf000, 0xffff_0000n, 0xffff, DATA | 8);
  setSegment(vp, Segment.LDTR, 0, 0n, 0xffff, LDT);
  setSegment(vp, Segment.TR, 0, 0n, 0xffff, TSS_BUSY);
  setSegment(vp, Segment.GDTR, 0, 0n, 0xffff, 0);
  setSegment(vp, Segment.IDTR, 0, 0n, 0xffff, 0);
  setSegment(vp, Segment.FLAT, 0, 0n, 0xffff_ffff, DATA);
  vp.dr.fill(0n);
  vp.dr[6] = 0xffff_0ff0n;
  vp.dr[7] = 0x400n;
  vp.interruptShadow = 0;
  vp.nmiBlocked = 0;
  vp.pendingDebug = 0;
  vp.activity = Activity.RUNNING;
  updateMode(vp);
}

/** SIPI: execution begins at VV000h in real mode. */
export function startAt(vp: VpView, vector: number): void {
  loadRealSegment(vp, Segment.CS, vector << 8);
  vp.rip = 0n;
  vp.activity = Activity.RUNNING;
  updateMode(vp);
}
