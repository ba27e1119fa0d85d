/** Puts a processor into the state in which a loader starts a kernel. */
import type { SegmentRegister, VpInitialState } from '../firmware/load-plan.ts';
import { Segment, type VpView, writeFlags } from '../hypervisor/vp/state.ts';
import { setSegment, updateMode } from '../hypervisor/x86/system/mode.ts';

export function applyInitialState(vp: VpView, entry: VpInitialState): void {
  vp.rip = entry.rip;
  vp.gpr[0] = entry.rax;
  vp.gpr[3] = entry.rbx;
  vp.gpr[4] = entry.rsp;
  vp.gpr[6] = entry.rsi;
  writeFlags(vp, Number(entry.rflags));
  vp.cr0 = entry.cr0;
  vp.cr3 = entry.cr3;
  vp.cr4 = entry.cr4;
  vp.efer = entry.efer;
  const set = (index: number, s: SegmentRegister): void => {
    setSegment(vp, index, s.selector, s.base, s.limit, s.attributes);
  };
  set(Segment.CS, entry.cs);
  set(Segment.DS, entry.ds);
  set(Segment.ES, entry.es);
  set(Segment.FS, entry.fs);
  set(Segment.GS, entry.gs);
  set(Segment.SS, entry.ss);
  set(Segment.TR, entry.tr);
  set(Segment.LDTR, entry.ldtr);
  setSegment(vp, Segment.GDTR, 0, entry.gdtr.base, entry.gdtr.limit, 0);
  setSegment(vp, Segment.IDTR, 0, entry.idtr.base, entry.idtr.limit, 0);
  updateMode(vp);
}
