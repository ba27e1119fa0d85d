/**
 * The FADT, revision 6 (ACPI 6.5, section 5.2.9), and the FACS (section 5.2.10). Fixed hardware, always in ACPI mode (no SMI
 * command port), with a fixed power button; no VGA, no 8042.
 */

import { TABLE_HEADER_SIZE, table, writeAscii } from './table.ts';

const FADT_REVISION = 6;
const FADT_MINOR_REVISION = 5;
const FADT_SIZE = 276;
const FACS_SIZE = 64;
const FACS_VERSION = 2;
const HYPERVISOR_VENDOR = 'VIRIDIAN';

/** The register blocks of the power management device: base 0x400, as on Hyper-V. */
const PM_BASE = 0x400;
const PM1_EVENT = { port: PM_BASE, length: 4 } as const;
const PM1_CONTROL = { port: PM_BASE + 4, length: 2 } as const;
const PM_TIMER = { port: PM_BASE + 8, length: 4 } as const;
const GPE0 = { port: PM_BASE + 0xc, length: 4 } as const;
const RESET = { port: PM_BASE + 0x33, length: 1, value: 1 } as const;
export const SCI_IRQ = 9;
/** Where the real-time clock keeps the century. */
const RTC_CENTURY = 0x32;
/** Above 100 and 1000: there is no C2 and no C3. */
const NO_C2_LATENCY = 101;
const NO_C3_LATENCY = 1001;

/** Table 5.10, Fixed ACPI Description Table Fixed Feature Flags. PWR_BUTTON clear: the power button is fixed hardware. */
const FLAG = {
  WBINVD: 1 << 0,
  PROC_C1: 1 << 2,
  SLP_BUTTON: 1 << 5,
  FIX_RTC: 1 << 6,
  TMR_VAL_EXT: 1 << 8,
  RESET_REG_SUP: 1 << 10,
} as const;
/** Table 5.11, IA-PC boot architecture flags. */
const VGA_NOT_PRESENT = 1 << 2;

const SYSTEM_IO = 1;
/** Generic Address Structure access sizes, by bytes. */
const ACCESS_SIZE: Readonly<Record<number, number>> = { 1: 1, 2: 2, 4: 3 };

interface Block {
  readonly port: number;
  readonly length: number;
}

export function facs(): Uint8Array {
  const bytes = new Uint8Array(FACS_SIZE);
  const view = new DataView(bytes.buffer);
  writeAscii(bytes, 0, 'FACS');
  view.setUint32(4, FACS_SIZE, true);
  view.setUint8(32, FACS_VERSION);
  return bytes;
}

export function fadt(facsAddress: number, dsdtAddress: number): Uint8Array {
  const bytes = new Uint8Array(FADT_SIZE);
  const view = new DataView(bytes.buffer);
  const u8 = (at: number, value: number): void => view.setUint8(at, value);
  const u16 = (at: number, value: number): void => view.setUint16(at, value, true);
  const u32 = (at: number, value: number): void => view.setUint32(at, value, true);
  /** Generic Address Structure (section 5.2.3.2) of an I/O block; `access` is the width of one access in bytes. */
  const gas = (at: number, { port, length }: Block, access: number): void => {
    u8(at, SYSTEM_IO);
    u8(at + 1, length * 8);
    u8(at + 3, ACCESS_SIZE[access] as number);
    view.setBigUint64(at + 4, BigInt(port), true);
  };

  u32(36, facsAddress); // FIRMWARE_CTRL; X_FIRMWARE_CTRL stays 0, only one may be given
  u32(40, dsdtAddress);
  u16(46, SCI_IRQ);
  u32(56, PM1_EVENT.port);
  u32(64, PM1_CONTROL.port);
  u32(76, PM_TIMER.port);
  u32(80, GPE0.port);
  u8(88, PM1_EVENT.length);
  u8(89, PM1_CONTROL.length);
  u8(91, PM_TIMER.length);
  u8(92, GPE0.length);
  u16(96, NO_C2_LATENCY);
  u16(98, NO_C3_LATENCY);
  u8(108, RTC_CENTURY);
  u16(109, VGA_NOT_PRESENT);
  u32(112, FLAG.WBINVD | FLAG.PROC_C1 | FLAG.SLP_BUTTON | FLAG.FIX_RTC | FLAG.TMR_VAL_EXT | FLAG.RESET_REG_SUP);
  gas(116, RESET, 1);
  u8(128, RESET.value);
  u8(131, FADT_MINOR_REVISION);
  view.setBigUint64(140, BigInt(dsdtAddress), true);
  gas(148, PM1_EVENT, 2);
  gas(172, PM1_CONTROL, 2);
  gas(208, PM_TIMER, 4);
  gas(220, GPE0, 1);
  writeAscii(bytes, 268, HYPERVISOR_VENDOR);
  return table('FACP', FADT_REVISION, bytes.subarray(TABLE_HEADER_SIZE));
}
