/**
 * The ACPI fixed hardware's registers (ACPI 6.5, section 4.8, "ACPI Register Model") and where they are. The FADT and the
 * DSDT describe exactly these. Nothing here acts.
 */
export const PM_BASE = 0x400;
/** Offsets from the base port. */
export const PM_REGISTER = {
  PM1_STATUS: 0,
  PM1_ENABLE: 2,
  PM1_CONTROL: 4,
  PM_TIMER: 8,
  GPE0_STATUS: 0xc,
  GPE0_ENABLE: 0xe,
} as const;
export const PM_BLOCK_SIZE = 0x10;
/** The FADT's RESET_REG, an 8-bit port relative to the base, and its RESET_VALUE. */
export const RESET_REGISTER = 0x33;
export const RESET_VALUE = 1;

/** PM1 status and enable bits that this hardware has. */
export const PM1 = { TMR: 0x0001, GBL: 0x0020, PWRBTN: 0x0100, SLPBTN: 0x0200, RTC: 0x0400, WAK: 0x8000 } as const;
export const PM1_CONTROL = { SCI_EN: 0x0001, SLP_TYP_SHIFT: 10, SLP_TYP_MASK: 0x1c00, SLP_EN: 0x2000 } as const;
/** SLP_TYPa of the DSDT's \_S5 package. */
export const SLEEP_TYPE_S5 = 5;
export const PM_TIMER_HZ = 3_579_545n;
export const GPE0_COUNT = 16;
