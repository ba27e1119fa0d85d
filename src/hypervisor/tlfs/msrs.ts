/**
 * The synthetic MSRs 0x40000000..0x400001FF as a table. TLFS, "Synthetic MSRs". Each names the privilege a partition needs
 * for it, and whether it runs under the platform lock. An MSR without `read` or `write` refuses it with #GP.
 */
import { APIC_FREQUENCY } from '../apic/registers.ts';
import {
  CRASH_PARAMETERS,
  Crash,
  HYPERCALL_LOCKED,
  HYPERCALL_PAGE_CODE,
  HYPERCALL_PAGE_FILL,
  Msr,
  PAGE_ENABLE,
  PAGE_SIZE,
  Privilege,
  SINT_COUNT,
  STIMER_COUNT,
} from './constants.ts';
import { enabledPage, pageAcceptable, readRam } from './pages.ts';
import type { HypervVp } from './partition.ts';

export interface MsrEntry {
  readonly name: string;
  /** A bit of Privilege, or 0. */
  readonly privilege: number;
  /** Run under the platform lock. */
  readonly locked: boolean;
  readonly read?: (vp: HypervVp) => bigint;
  /** False for #GP. */
  readonly write?: (vp: HypervVp, value: bigint) => boolean;
}

function writeGuestOsId(vp: HypervVp, value: bigint): boolean {
  const { state } = vp.partition;
  state.guestOsId = value;
  if (value === 0n) state.hypercall &= ~PAGE_ENABLE;
  return true;
}

function writeHypercall(vp: HypervVp, value: bigint): boolean {
  const { state, memory } = vp.partition;
  if ((state.hypercall & HYPERCALL_LOCKED) !== 0n) return true;
  // Without an identity the guest cannot have hypercalls: the enable bit stays clear.
  const next = state.guestOsId === 0n ? value & ~PAGE_ENABLE : value;
  if (!pageAcceptable(memory, next)) return false;
  state.hypercall = next;
  const page = enabledPage(next);
  if (page === undefined) return true;
  const code = new Uint8Array(PAGE_SIZE).fill(HYPERCALL_PAGE_FILL);
  code.set(HYPERCALL_PAGE_CODE);
  memory.write(page, code);
  return true;
}

function writeReferenceTsc(vp: HypervVp, value: bigint): boolean {
  const { state, memory, time } = vp.partition;
  if (!pageAcceptable(memory, value)) return false;
  state.referenceTsc = value;
  time.writePage(memory);
  return true;
}

function writeAssistPage(vp: HypervVp, value: bigint): boolean {
  if (!pageAcceptable(vp.partition.memory, value)) return false;
  vp.state.assistPage = value;
  const page = enabledPage(value);
  // APIC assist: "no EOI required" is never offered, so the word is zero for good.
  if (page !== undefined) vp.partition.memory.write(page, new Uint8Array(4));
  return true;
}

function writeCrashControl(vp: HypervVp, value: bigint): boolean {
  if ((value & Crash.NOTIFY) === 0n) return true;
  const { state, memory } = vp.partition;
  const parameters = [...state.crash];
  let message: string | undefined;
  if ((value & Crash.MESSAGE) !== 0n) {
    const [gpa, length] = [parameters[3] as bigint, parameters[4] as bigint];
    if (length <= BigInt(PAGE_SIZE) && gpa <= BigInt(Number.MAX_SAFE_INTEGER)) {
      const bytes = readRam(memory, Number(gpa), Number(length));
      if (bytes) message = new TextDecoder().decode(bytes);
    }
  }
  vp.partition.crashed({ parameters, message });
  return true;
}

function build(): Map<number, MsrEntry> {
  const table = new Map<number, MsrEntry>();
  const add = (index: number, name: string, privilege: number, entry: Omit<MsrEntry, 'name' | 'privilege'>) =>
    table.set(index, { name, privilege, ...entry });
  const free = { locked: false } as const;
  const locked = { locked: true } as const;

  add(Msr.GUEST_OS_ID, 'GUEST_OS_ID', Privilege.HYPERCALL, {
    ...locked,
    read: (vp) => vp.partition.state.guestOsId,
    write: writeGuestOsId,
  });
  add(Msr.HYPERCALL, 'HYPERCALL', Privilege.HYPERCALL, {
    ...locked,
    read: (vp) => vp.partition.state.hypercall,
    write: writeHypercall,
  });
  add(Msr.VP_INDEX, 'VP_INDEX', Privilege.VP_INDEX, { ...free, read: (vp) => BigInt(vp.index) });
  add(Msr.RESET, 'RESET', Privilege.RESET, {
    ...free,
    read: () => 0n,
    write: (vp, value) => {
      if ((value & 1n) !== 0n) vp.partition.requestReset();
      return true;
    },
  });
  add(Msr.VP_RUNTIME, 'VP_RUNTIME', Privilege.VP_RUNTIME, { ...free, read: (vp) => vp.runtime() });
  add(Msr.TIME_REF_COUNT, 'TIME_REF_COUNT', Privilege.TIME_REF_COUNT, {
    ...free,
    read: (vp) => vp.partition.time.now(),
  });
  add(Msr.REFERENCE_TSC, 'REFERENCE_TSC', Privilege.REFERENCE_TSC, {
    ...locked,
    read: (vp) => vp.partition.state.referenceTsc,
    write: writeReferenceTsc,
  });
  add(Msr.TSC_FREQUENCY, 'TSC_FREQUENCY', Privilege.FREQUENCIES, {
    ...free,
    read: (vp) => BigInt(vp.partition.tscFrequency),
  });
  add(Msr.APIC_FREQUENCY, 'APIC_FREQUENCY', Privilege.FREQUENCIES, { ...free, read: () => BigInt(APIC_FREQUENCY) });

  add(Msr.EOI, 'EOI', Privilege.APIC, {
    ...free,
    write: (vp) => {
      vp.apic.eoi();
      return true;
    },
  });
  add(Msr.ICR, 'ICR', Privilege.APIC, {
    ...free,
    read: (vp) => vp.apic.icr,
    write: (vp, value) => {
      vp.apic.writeIcr(value);
      return true;
    },
  });
  add(Msr.TPR, 'TPR', Privilege.APIC, {
    ...free,
    read: (vp) => BigInt(vp.apic.state.tpr),
    write: (vp, value) => {
      if (value > 0xffn) return false;
      vp.apic.state.tpr = Number(value);
      return true;
    },
  });
  add(Msr.VP_ASSIST_PAGE, 'VP_ASSIST_PAGE', Privilege.APIC, {
    ...locked,
    read: (vp) => vp.state.assistPage,
    write: writeAssistPage,
  });

  const synic = (index: number, name: string) =>
    add(index, name, Privilege.SYNIC, {
      ...locked,
      read: (vp) => vp.synic.readMsr(index),
      write: (vp, value) => vp.synic.writeMsr(index, value),
    });
  for (const name of ['SCONTROL', 'SVERSION', 'SIEFP', 'SIMP', 'EOM'] as const) synic(Msr[name], name);
  for (let n = 0; n < SINT_COUNT; n++) synic(Msr.SINT0 + n, `SINT${n}`);

  for (let n = 0; n < STIMER_COUNT * 2; n++) {
    const index = Msr.STIMER0_CONFIG + n;
    add(index, `STIMER${n >>> 1}_${(n & 1) === 0 ? 'CONFIG' : 'COUNT'}`, Privilege.SYNTHETIC_TIMERS, {
      ...free,
      read: (vp) => vp.timers.readMsr(index),
      write: (vp, value) => {
        vp.timers.writeMsr(index, value);
        return true;
      },
    });
  }

  add(Msr.GUEST_IDLE, 'GUEST_IDLE', Privilege.GUEST_IDLE, {
    ...free,
    read: (vp) => {
      vp.requestIdle();
      return 0n;
    },
  });

  for (let n = 0; n < CRASH_PARAMETERS; n++)
    add(Msr.CRASH_P0 + n, `CRASH_P${n}`, 0, {
      ...locked,
      read: (vp) => vp.partition.state.crash[n] as bigint,
      write: (vp, value) => {
        vp.partition.state.crash[n] = value;
        return true;
      },
    });
  // Reads give what is supported.
  add(Msr.CRASH_CTL, 'CRASH_CTL', 0, {
    ...free,
    read: () => Crash.NOTIFY | Crash.MESSAGE,
    write: writeCrashControl,
  });
  return table;
}

export const SYNTHETIC_MSRS: ReadonlyMap<number, MsrEntry> = build();

/** For traces: the MSR's name, or its index in hexadecimal. */
export function syntheticMsrName(index: number): string {
  const entry = SYNTHETIC_MSRS.get(index);
  return entry ? `HV_X64_MSR_${entry.name}` : `0x${index.toString(16)}`;
}
