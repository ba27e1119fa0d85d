/**
 * The DSDT: processors, the module device that owns the memory-mapped I/O windows with the VMBus below it (the shape of a
 * Hyper-V generation 2 machine), serial ports, real-time clock, and the value that powers off.
 */

import { type AddressRange, GENERATION_ID } from '../memory-map.ts';
import {
  type Aml,
  addressSpaceMemory,
  device,
  eisaId,
  integer,
  io,
  irqNoFlags,
  method,
  name,
  notify,
  packageOf,
  resourceTemplate,
  scope,
  string,
} from './aml.ts';
import { table } from './table.ts';

const DSDT_REVISION = 2;
/** Present, enabled, shown, functioning (section 6.3.7). */
const STA_PRESENT = 0x0f;
/** SLP_TYPa that means soft-off to the power management registers. */
const SLEEP_TYPE_S5 = 5;

const SERIAL_PORTS = [
  { path: 'COM1', port: 0x3f8, irq: 4 },
  { path: 'COM2', port: 0x2f8, irq: 3 },
] as const;
const RTC = { port: 0x70, count: 2, irq: 8 } as const;

/** Device names have four characters: C000 to CFFF. */
function processor(uid: number): Aml {
  const path = `C${uid.toString(16).toUpperCase().padStart(3, '0')}`;
  return device(path, name('_HID', string('ACPI0007')), name('_UID', integer(uid)));
}

/** Guests look for the bus by the string "VMBus" and take memory-mapped I/O from the _CRS of its parents. */
function moduleDevice(windows: readonly AddressRange[], vmbus: boolean): Aml {
  return device(
    'VMOD',
    name('_HID', string('ACPI0004')),
    name('_UID', integer(0)),
    name('_CRS', resourceTemplate(...windows.map(({ first, size }) => addressSpaceMemory(first, size)))),
    ...(vmbus
      ? [
          device(
            'VMBS',
            name('_HID', string('VMBus')),
            name('_UID', integer(0)),
            name('_DDN', string('VMBUS')),
            name('_STA', integer(STA_PRESENT)),
            // Nothing, but there: without it Linux does not look at what its parents have.
            name('_CRS', resourceTemplate()),
          ),
        ]
      : []),
  );
}

function serialPort(index: number, { path, port, irq }: (typeof SERIAL_PORTS)[number]): Aml {
  return device(
    path,
    name('_HID', eisaId('PNP0501')),
    name('_UID', integer(index + 1)),
    name('_DDN', string(path)),
    name('_CRS', resourceTemplate(io(port, 8), irqNoFlags(irq))),
  );
}

/** The general-purpose event that says that the generation ID is another. */
export const GENERATION_GPE = 0;
/** What a device's notification of 0x80 means is the device's matter. */
const CHANGED = 0x80;

/**
 * The device of Microsoft's "Virtual Machine Generation ID": ADDR is where the ID is, low and high half. Guests know it by
 * its compatible IDs, the second of which is what fits into ACPI's eight characters.
 */
function generationCounter(): Aml {
  return device(
    'GENC',
    name('_HID', string('Hyper_V_Gen_Counter_V1')),
    name('_CID', packageOf(string('VM_Gen_Counter'), string('VMGENCTR'))),
    name('_DDN', string('VM_Gen_Counter')),
    name('ADDR', packageOf(integer(GENERATION_ID.first), integer(0))),
  );
}

export function dsdt(processors: number, windows: readonly AddressRange[], vmbus: boolean): Uint8Array {
  const body = [
    ...name('\\_S5', packageOf(integer(SLEEP_TYPE_S5), integer(0), integer(0), integer(0))),
    ...scope(
      '\\_SB',
      ...Array.from({ length: processors }, (_, uid) => processor(uid)),
      moduleDevice(windows, vmbus),
      generationCounter(),
      ...SERIAL_PORTS.map((serial, index) => serialPort(index, serial)),
      device(
        'RTC0',
        name('_HID', eisaId('PNP0B00')),
        name('_CRS', resourceTemplate(io(RTC.port, RTC.count), irqNoFlags(RTC.irq))),
      ),
    ),
    ...scope(
      '\\_GPE',
      method(`_E${GENERATION_GPE.toString(16).toUpperCase().padStart(2, '0')}`, notify('\\_SB.GENC', CHANGED)),
    ),
  ];
  return table('DSDT', DSDT_REVISION, body);
}
