/**
 * The Hyper-V guest interface in numbers: CPUID bits, synthetic MSRs, hypercall codes, status codes, message layouts.
 * Hypervisor Top-Level Functional Specification (TLFS), 6.0b and the current web edition. Nothing here acts.
 */

/** CPUID 0x40000003 EAX: partition privileges, low half. */
export const Privilege = {
  VP_RUNTIME: 1 << 0,
  TIME_REF_COUNT: 1 << 1,
  SYNIC: 1 << 2,
  SYNTHETIC_TIMERS: 1 << 3,
  APIC: 1 << 4,
  HYPERCALL: 1 << 5,
  VP_INDEX: 1 << 6,
  RESET: 1 << 7,
  REFERENCE_TSC: 1 << 9,
  GUEST_IDLE: 1 << 10,
  FREQUENCIES: 1 << 11,
} as const;

/** CPUID 0x40000003 EBX: partition privileges, high half. */
export const PrivilegeHigh = { POST_MESSAGES: 1 << 4, SIGNAL_EVENTS: 1 << 5 } as const;

/** CPUID 0x40000003 EDX. */
export const Feature = { FREQUENCY_MSRS: 1 << 8, CRASH_MSRS: 1 << 10, STIMER_DIRECT: 1 << 19 } as const;

/** CPUID 0x40000004 EAX. */
export const Hint = {
  REMOTE_TLB_FLUSH: 1 << 2,
  APIC_MSRS: 1 << 3,
  RELAXED_TIMING: 1 << 5,
  DEPRECATE_AUTO_EOI: 1 << 9,
  CLUSTER_IPI: 1 << 10,
  EX_PROCESSOR_MASKS: 1 << 11,
} as const;

export const Msr = {
  GUEST_OS_ID: 0x40000000,
  HYPERCALL: 0x40000001,
  VP_INDEX: 0x40000002,
  RESET: 0x40000003,
  VP_RUNTIME: 0x40000010,
  TIME_REF_COUNT: 0x40000020,
  REFERENCE_TSC: 0x40000021,
  TSC_FREQUENCY: 0x40000022,
  APIC_FREQUENCY: 0x40000023,
  EOI: 0x40000070,
  ICR: 0x40000071,
  TPR: 0x40000072,
  VP_ASSIST_PAGE: 0x40000073,
  SCONTROL: 0x40000080,
  SVERSION: 0x40000081,
  SIEFP: 0x40000082,
  SIMP: 0x40000083,
  EOM: 0x40000084,
  SINT0: 0x40000090,
  STIMER0_CONFIG: 0x400000b0,
  GUEST_IDLE: 0x400000f0,
  CRASH_P0: 0x40000100,
  CRASH_CTL: 0x40000105,
} as const;
export const MSR_FIRST = 0x40000000;
export const MSR_LAST = 0x400001ff;

/** Bits common to the MSRs that name a page: bit 0 enable, bits 63:12 the page. */
export const PAGE_ENABLE = 1n;
export const PAGE_ADDRESS = ~0xfffn & 0xffff_ffff_ffff_ffffn;
export const PAGE_SIZE = 4096;
export const HYPERCALL_LOCKED = 2n;

export const Status = {
  SUCCESS: 0,
  INVALID_HYPERCALL_CODE: 2,
  INVALID_HYPERCALL_INPUT: 3,
  INVALID_ALIGNMENT: 4,
  INVALID_PARAMETER: 5,
  ACCESS_DENIED: 6,
  INVALID_PARTITION_STATE: 7,
  OPERATION_DENIED: 8,
  INSUFFICIENT_MEMORY: 11,
  INVALID_PORT_ID: 17,
  INVALID_CONNECTION_ID: 18,
  INSUFFICIENT_BUFFERS: 19,
} as const;

export const Hypercall = {
  FLUSH_VIRTUAL_ADDRESS_SPACE: 0x0002,
  FLUSH_VIRTUAL_ADDRESS_LIST: 0x0003,
  NOTIFY_LONG_SPIN_WAIT: 0x0008,
  SEND_SYNTHETIC_CLUSTER_IPI: 0x000b,
  FLUSH_VIRTUAL_ADDRESS_SPACE_EX: 0x0013,
  FLUSH_VIRTUAL_ADDRESS_LIST_EX: 0x0014,
  SEND_SYNTHETIC_CLUSTER_IPI_EX: 0x0015,
  POST_MESSAGE: 0x005c,
  SIGNAL_EVENT: 0x005d,
} as const;

/**
 * What the hypercall page holds: VMCALL; RET. The processor takes VMMCALL as well. The page's rest is INT3, so that a jump
 * into it is noticed.
 */
export const HYPERCALL_PAGE_CODE: readonly number[] = [0x0f, 0x01, 0xc1, 0xc3];
export const HYPERCALL_PAGE_FILL = 0xcc;

/** Flags of the flush calls. */
export const Flush = { ALL_PROCESSORS: 1n, ALL_ADDRESS_SPACES: 2n, NON_GLOBAL_ONLY: 4n } as const;

/** Formats of a processor set. */
export const VpSetFormat = { SPARSE_4K: 0n, ALL: 1n } as const;

export const SINT_COUNT = 16;
export const STIMER_COUNT = 4;
export const SINT_MASKED = 1n << 16n;
export const SINT_AUTO_EOI = 1n << 17n;
export const SINT_POLLING = 1n << 18n;
/** Vectors below are exceptions; a SINT must not use them. */
export const SINT_FIRST_VECTOR = 16;
export const SYNIC_VERSION = 1n;

/** One slot of the SIM page: u32 type, u8 payload size, u8 flags, u16, u64 sender, payload. */
export const MESSAGE_SIZE = 256;
export const MESSAGE_PAYLOAD = 240;
export const Message = { TYPE: 0, PAYLOAD_SIZE: 4, FLAGS: 5, SENDER: 8, PAYLOAD: 16 } as const;
export const MESSAGE_PENDING = 1;
export const MESSAGE_TYPE_TIMER_EXPIRED = 0x80000010;
/** Message types with this bit are the hypervisor's own. */
export const MESSAGE_TYPE_HYPERVISOR = 0x80000000;
export const TIMER_MESSAGE_PAYLOAD = 24;

/** One SINT's area of the SIEF page, and its flags. */
export const EVENT_FLAGS_SIZE = 256;
export const EVENT_FLAG_COUNT = 2048;

/** Synthetic timer configuration. */
export const Stimer = {
  ENABLE: 1n << 0n,
  PERIODIC: 1n << 1n,
  LAZY: 1n << 2n,
  AUTO_ENABLE: 1n << 3n,
  VECTOR_SHIFT: 4n,
  DIRECT: 1n << 12n,
  SINT_SHIFT: 16n,
  /** Everything above; the rest is reserved and reads zero. */
  WRITABLE: 0xf1fffn,
} as const;

/** HV_X64_MSR_CRASH_CTL. */
export const Crash = { NOTIFY: 1n << 63n, MESSAGE: 1n << 62n } as const;
export const CRASH_PARAMETERS = 5;

const HYPERCALL_NAMES = new Map<number, string>(Object.entries(Hypercall).map(([name, code]) => [code, name]));
/** For traces: the call's name, or its code in hexadecimal. */
export function hypercallName(code: number): string {
  return HYPERCALL_NAMES.get(code) ?? `0x${code.toString(16)}`;
}
