/**
 * Local APIC constants. Intel SDM vol. 3, chapter "Advanced Programmable Interrupt Controller (APIC)": tables "Local APIC
 * Register Address Map" and "Local APIC Register Address Map Supported by x2APIC". Nothing here acts.
 */

/** Register numbers: the xAPIC offset is `number << 4`, the x2APIC MSR is `0x800 + number`. */
export const Register = {
  ID: 0x02,
  VERSION: 0x03,
  TPR: 0x08,
  APR: 0x09,
  PPR: 0x0a,
  EOI: 0x0b,
  RRD: 0x0c,
  LDR: 0x0d,
  DFR: 0x0e,
  SVR: 0x0f,
  ISR: 0x10,
  TMR: 0x18,
  IRR: 0x20,
  ESR: 0x28,
  ICR_LOW: 0x30,
  ICR_HIGH: 0x31,
  LVT_TIMER: 0x32,
  LVT_THERMAL: 0x33,
  LVT_PMC: 0x34,
  LVT_LINT0: 0x35,
  LVT_LINT1: 0x36,
  LVT_ERROR: 0x37,
  INITIAL_COUNT: 0x38,
  CURRENT_COUNT: 0x39,
  DIVIDE: 0x3e,
  SELF_IPI: 0x3f,
} as const;

/** Indices into the saved `lvt` array; the register number is `Register.LVT_TIMER + index`. */
export const Lvt = { TIMER: 0, THERMAL: 1, PMC: 2, LINT0: 3, LINT1: 4, ERROR: 5 } as const;
export const LVT_COUNT = 6;

export const LVT_MASKED = 1 << 16;
export const LVT_PERIODIC = 1 << 17;

/** Writable bits of each LVT register. Delivery status (12) and remote IRR (14) are read-only. */
export const LVT_WRITABLE: readonly number[] = [
  0x300ff, // timer: vector, mask, mode (one-shot, periodic)
  0x107ff, // thermal: vector, delivery mode, mask
  0x107ff, // performance counters
  0x1a7ff, // LINT0: vector, delivery mode, polarity, trigger mode, mask
  0x1a7ff, // LINT1
  0x100ff, // error: vector, mask
];

/** Delivery modes, ICR and LVT bits 10:8, and in message-signalled interrupts. */
export const DeliveryMode = {
  FIXED: 0,
  LOWEST_PRIORITY: 1,
  SMI: 2,
  NMI: 4,
  INIT: 5,
  STARTUP: 6,
  EXTINT: 7,
} as const;
export type DeliveryMode = number;

/** ICR bits 19:18. */
export const Shorthand = { NONE: 0, SELF: 1, ALL: 2, OTHERS: 3 } as const;

export const ICR_LOGICAL = 1 << 11;
export const ICR_ASSERT = 1 << 14;
export const ICR_LEVEL = 1 << 15;
/** Vector, delivery mode, destination mode, level, trigger mode, shorthand; the delivery status always reads idle. */
export const ICR_WRITABLE = 0xccfff & ~(1 << 12);

export const SVR_ENABLE = 1 << 8;
export const SVR_SUPPRESS_EOI_BROADCAST = 1 << 12;

/** Error status register bits. */
export const ApicError = {
  SEND_ILLEGAL_VECTOR: 1 << 5,
  RECEIVE_ILLEGAL_VECTOR: 1 << 6,
  ILLEGAL_REGISTER: 1 << 7,
} as const;

/** IA32_APIC_BASE (MSR 0x1B). */
export const MSR_APIC_BASE = 0x1b;
export const ApicBase = { BSP: 1n << 8n, EXTENDED: 1n << 10n, ENABLE: 1n << 11n } as const;
export const APIC_DEFAULT_BASE = 0xfee00000n;
/** Bits 39:12 of 40 physical address bits. */
export const APIC_BASE_ADDRESS = 0xff_ffff_f000n;

export const MSR_X2APIC_FIRST = 0x800;
export const MSR_X2APIC_LAST = 0x8ff;

/** The bus clock that the timer divides: 200 MHz, the value real Hyper-V reports in HV_X64_MSR_APIC_FREQUENCY. */
export const APIC_FREQUENCY = 200_000_000;
export const APIC_TICK_NS = 1_000_000_000 / APIC_FREQUENCY;

/** Divide configuration register bits 3,1,0 as a 3-bit number -> divisor. */
export const DIVISORS: readonly number[] = [2, 4, 8, 16, 32, 64, 128, 1];

/** Destination of a broadcast in 8-bit and in 32-bit messages. */
export const BROADCAST_8 = 0xff;
export const BROADCAST_32 = 0xffffffff;
