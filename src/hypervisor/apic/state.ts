/** The layout of one local APIC's state in the partition's shared memory. Which fields any thread may touch: see local-apic.ts. */
import { array, struct, type View } from '../../support/struct.ts';
import { LVT_COUNT } from './registers.ts';

export const LocalApicState = struct('local-apic', 1, {
  apicBase: 'u64',
  /** As the ID register of xAPIC mode reads: bits 31:24. */
  id: 'u32',
  tpr: 'u32',
  ldr: 'u32',
  dfr: 'u32',
  svr: 'u32',
  /** What ESR reads: the errors gathered up to the last write of ESR. */
  esr: 'u32',
  icrLow: 'u32',
  icrHigh: 'u32',
  lvt: array('u32', LVT_COUNT),
  initialCount: 'u32',
  divide: 'u32',
  /** 1 while the timer counts. */
  timerRunning: 'u32',
  /** Clock time at which the running period began. */
  timerStart: 'u64',
  irr: array('u32', 8),
  isr: array('u32', 8),
  tmr: array('u32', 8),
  /** Vectors of SINTs with auto-EOI: acknowledging one leaves no trace in ISR. */
  autoEoi: array('u32', 8),
  /** Errors since the last write of ESR; any thread. */
  errors: array('u32', 1),
  /** Pending NMI, INIT and SIPI; any thread. See events.ts. */
  events: array('u32', 1),
  waitForSipi: 'u32',
});
export type LocalApicView = View<typeof LocalApicState.fields>;
