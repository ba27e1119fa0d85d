/** A local APIC's live state, for `hv inspect`. Calls no port, so it may run with or without the platform lock. */
import type { LocalApic } from './local-apic.ts';
import type { InspectTree } from './ports.ts';
import { Lvt } from './registers.ts';
import { hex, vectorList } from './vectors.ts';

export function inspectLocalApic(apic: LocalApic, timer: InspectTree): InspectTree {
  const s = apic.state;
  const lvt: Record<string, string> = {};
  for (const [name, index] of Object.entries(Lvt)) lvt[name.toLowerCase()] = hex(s.lvt[index] as number);
  return {
    apicId: apic.apicId,
    mode: !apic.enabled ? 'disabled' : apic.x2apic ? 'x2apic' : 'xapic',
    softwareEnabled: apic.softwareEnabled,
    apicBase: s.apicBase,
    id: hex(s.id),
    tpr: hex(s.tpr),
    ppr: hex(apic.ppr),
    ldr: hex(s.ldr),
    dfr: hex(s.dfr),
    svr: hex(s.svr),
    esr: hex(s.esr),
    icr: `${hex(s.icrHigh)}:${hex(s.icrLow)}`,
    lvt,
    timer,
    irr: vectorList(s.irr),
    isr: vectorList(s.isr),
    tmr: vectorList(s.tmr),
    pending: {
      nmi: apic.nmiPending,
      init: apic.initPending,
      sipi: apic.sipiPending,
    },
    waitingForSipi: apic.waitingForSipi,
  };
}
