/** The MADT (ACPI 6.5, section 5.2.12): local APICs, one IO-APIC, the overrides of ISA interrupts, LINT1 as NMI. */

import { IO_APIC_BASE, LOCAL_APIC_BASE } from '../memory-map.ts';
import { type Aml, littleEndian } from './aml.ts';
import { SCI_IRQ } from './fadt.ts';
import { table } from './table.ts';

const MADT_REVISION = 5;
/** There are 8259s beside the APICs. A guest believes it without probing, so it is set only when there are. */
const PCAT_COMPAT = 1;
const ENABLED = 1;
const ISA_BUS = 0;
/** MPS INTI flags: active high, level-triggered. */
const ACTIVE_HIGH_LEVEL = 0x000d;
const CONFORMS = 0x0000;
const PIT_IRQ = 0;
/** The IO-APIC input that the PIT is wired to on a PC. */
const PIT_GSI = 2;
const ALL_PROCESSORS = 0xff;
const ALL_PROCESSORS_X2APIC = 0xffffffff;
/** APIC ids from here on need an x2APIC structure (255 is the broadcast id). */
const FIRST_X2APIC_ID = 255;

/** An interrupt controller structure: type, length, content. */
function structure(type: number, ...content: readonly Aml[]): Aml {
  const body = content.flat();
  return [type, body.length + 2, ...body];
}

function localApic(uid: number, apicId: number): Aml {
  return apicId < FIRST_X2APIC_ID
    ? structure(0, [uid, apicId], littleEndian(ENABLED, 4))
    : structure(9, [0, 0], littleEndian(apicId, 4), littleEndian(ENABLED, 4), littleEndian(uid, 4));
}

function sourceOverride(irq: number, gsi: number, flags: number): Aml {
  return structure(2, [ISA_BUS, irq], littleEndian(gsi, 4), littleEndian(flags, 2));
}

/** Processor n has ACPI processor UID n; the ids are its APIC ids, in the order of VP indexes. */
export function madt(apicIds: readonly number[], legacyPic: boolean): Uint8Array {
  const needsX2Apic = apicIds.some((id) => id >= FIRST_X2APIC_ID);
  const structures: readonly Aml[] = [
    ...apicIds.map((apicId, uid) => localApic(uid, apicId)),
    structure(1, [0, 0], littleEndian(IO_APIC_BASE, 4), littleEndian(0, 4)),
    ...(legacyPic ? [sourceOverride(PIT_IRQ, PIT_GSI, CONFORMS)] : []),
    sourceOverride(SCI_IRQ, SCI_IRQ, ACTIVE_HIGH_LEVEL),
    structure(4, [ALL_PROCESSORS], littleEndian(CONFORMS, 2), [1]),
    ...(needsX2Apic
      ? [structure(10, littleEndian(CONFORMS, 2), littleEndian(ALL_PROCESSORS_X2APIC, 4), [1, 0, 0, 0])]
      : []),
  ];
  const flags = legacyPic ? PCAT_COMPAT : 0;
  return table('APIC', MADT_REVISION, [
    ...littleEndian(LOCAL_APIC_BASE, 4),
    ...littleEndian(flags, 4),
    ...structures.flat(),
  ]);
}
