/**
 * Hypervisor CPUID leaves 0x40000000.. . TLFS, "Feature and Interface Discovery". Deliberately clear: access to the
 * partition id (Linux 6.1 dies of it in a child), CPU management (Linux would take itself for the root partition),
 * extended hypercalls, isolation, and the invariant TSC control.
 */
import { Feature, Hint, Privilege, PrivilegeHigh } from './constants.ts';

export const HYPERVISOR_CPUID_BASE = 0x40000000;

export interface HypervisorCpuidOptions {
  readonly processors: number;
  /** The most a partition may have; what leaf 0x40000005 says. */
  readonly maxProcessors: number;
  readonly physicalBits: number;
}

/** Partition privileges, low half (leaf 3 EAX). Guest idle is for SMP: together with IPI hypercalls it gives PV spinlocks. */
export function privileges(processors: number): number {
  const base =
    Privilege.VP_RUNTIME |
    Privilege.TIME_REF_COUNT |
    Privilege.SYNIC |
    Privilege.SYNTHETIC_TIMERS |
    Privilege.APIC |
    Privilege.HYPERCALL |
    Privilege.VP_INDEX |
    Privilege.RESET |
    Privilege.REFERENCE_TSC |
    Privilege.FREQUENCIES;
  return processors > 1 ? base | Privilege.GUEST_IDLE : base;
}

export const PRIVILEGES_HIGH = PrivilegeHigh.POST_MESSAGES | PrivilegeHigh.SIGNAL_EVENTS;
const FEATURES = Feature.FREQUENCY_MSRS | Feature.CRASH_MSRS | Feature.STIMER_DIRECT;

function hints(processors: number): number {
  // APIC MSRs even in x2APIC mode: Linux then takes the EOI from here only (which reads the VP assist page first) and
  // uses the architectural MSRs for the rest.
  const base = Hint.APIC_MSRS | Hint.RELAXED_TIMING | Hint.DEPRECATE_AUTO_EOI;
  return processors > 1 ? base | Hint.REMOTE_TLB_FLUSH | Hint.CLUSTER_IPI | Hint.EX_PROCESSOR_MASKS : base;
}

/** EAX, EBX, ECX, EDX. */
export function hypervisorCpuid(leaf: number, o: HypervisorCpuidOptions): readonly [number, number, number, number] {
  switch (leaf) {
    case 0x40000000:
      // "Microsoft Hv": how a guest knows the interface; a different name would hide it.
      return [0x40000005, 0x7263694d, 0x666f736f, 0x76482074];
    case 0x40000001:
      return [0x31237648, 0, 0, 0]; // "Hv#1"
    case 0x40000002:
      // Build, major << 16 | minor, service pack, branch << 24 | service number. The interface level of Server 2022.
      return [20348, 10 << 16, 0, 0];
    case 0x40000003:
      return [privileges(o.processors), PRIVILEGES_HIGH, 0, FEATURES];
    case 0x40000004:
      return [hints(o.processors), 0xffffffff, o.physicalBits, 0];
    case 0x40000005:
      return [o.maxProcessors, o.maxProcessors, 0, 0];
    default:
      return [0, 0, 0, 0];
  }
}
