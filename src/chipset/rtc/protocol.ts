/** Registers and bits of the MC146818A real-time clock, as Motorola's data sheet spells them. Nothing here acts. */

export const FIRST_PORT = 0x70;
export const CMOS_SIZE = 128;

export const REGISTER = {
  SECONDS: 0x00,
  SECONDS_ALARM: 0x01,
  MINUTES: 0x02,
  MINUTES_ALARM: 0x03,
  HOURS: 0x04,
  HOURS_ALARM: 0x05,
  DAY_OF_WEEK: 0x06,
  DATE_OF_MONTH: 0x07,
  MONTH: 0x08,
  YEAR: 0x09,
  A: 0x0a,
  B: 0x0b,
  C: 0x0c,
  D: 0x0d,
  /** Not the chip's: where PCs keep the century, and what the FADT's CENTURY field points at. */
  CENTURY: 0x32,
} as const;

export const A = {
  UIP: 0x80,
  DV_MASK: 0x70,
  DV_RESET: 0x60,
  DV_32768_HZ: 0x20,
  RS_MASK: 0x0f,
  RS_1024_HZ: 0x06,
} as const;
export const B = { SET: 0x80, PIE: 0x40, AIE: 0x20, UIE: 0x10, DM: 0x04, HOURS_24: 0x02 } as const;
/** Flags PF, AF, UF stand at the places of their enables in register B. */
export const C = { IRQF: 0x80, PF: 0x40, AF: 0x20, UF: 0x10 } as const;
export const D = { VRT: 0x80 } as const;

export const HOUR_PM = 0x80;
/** An alarm byte with both top bits set matches everything. */
export const ALARM_DONT_CARE = 0xc0;
export const OSCILLATOR_HZ = 32768n;
/** UIP is up for the 244 us before an update and its 1984 us; in whole milliseconds of the second, from this one on. */
export const UIP_FROM_MS = 998;
