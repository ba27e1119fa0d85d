/** Registers and bits of the I/O APIC (Intel 82093AA data sheet; EOI register and version 0x20: ICH/PCH data sheets). */

export const IOAPIC_BASE = 0xfec00000;
export const IOAPIC_SIZE = 0x1000;
export const INPUTS = 24;

/** Offsets from the base. */
export const MMIO = { IOREGSEL: 0x00, IOWIN: 0x10, EOIR: 0x40 } as const;
/** Indirect registers, by IOREGSEL; from REDIRECTION on, two 32-bit halves per input. */
export const INDEX = { ID: 0x00, VERSION: 0x01, ARBITRATION: 0x02, REDIRECTION: 0x10 } as const;

export const VERSION = 0x20 | ((INPUTS - 1) << 16);
export const ID_MASK = 0x0f000000;

/** The low half of a redirection entry. */
export const ENTRY = {
  VECTOR: 0xff,
  DELIVERY_MODE: 0x700,
  DELIVERY_MODE_SHIFT: 8,
  LOGICAL: 1 << 11,
  DELIVERY_STATUS: 1 << 12,
  POLARITY: 1 << 13,
  REMOTE_IRR: 1 << 14,
  LEVEL: 1 << 15,
  MASKED: 1 << 16,
} as const;
export const ENTRY_WRITABLE =
  ENTRY.VECTOR | ENTRY.DELIVERY_MODE | ENTRY.LOGICAL | ENTRY.POLARITY | ENTRY.LEVEL | ENTRY.MASKED;
export const DESTINATION_SHIFT = 24;

export const DELIVERY_MODE = { FIXED: 0, LOWEST_PRIORITY: 1, SMI: 2, NMI: 4, INIT: 5, EXT_INT: 7 } as const;
