/**
 * The ACPI tables of a partition, placed in the reserved area below 1 MiB: RSDP revision 2 (ACPI 6.5, section 5.2.5.3), XSDT,
 * FADT, FACS, MADT, DSDT. The RSDP is first, where a guest that was given no pointer searches for it.
 */

import { EFI_AREA_START } from '../efi.ts';
import {
  ACPI_AREA,
  type AddressRange,
  alignUp,
  GENERATION_ID,
  HIGH_MMIO_WINDOW,
  LOW_MMIO_WINDOW,
} from '../memory-map.ts';
import { littleEndian } from './aml.ts';
import { dsdt } from './dsdt.ts';
import { facs, fadt } from './fadt.ts';
import { madt } from './madt.ts';
import { checksum, table, writeAscii, writeOemId } from './table.ts';

export interface AcpiConfig {
  /** APIC id of each processor, in the order of VP indexes. */
  readonly apicIds: readonly number[];
  /** There are 8259s and a PIT. */
  readonly legacyPic?: boolean;
  /** There is a VMBus. Default: true. */
  readonly vmbus?: boolean;
  /** Memory-mapped I/O for VMBus devices; the window below 4 GiB first. */
  readonly mmioWindows?: readonly AddressRange[];
}

export interface AcpiTables {
  /** Guest-physical address of the RSDP, for boot_params and hvm_start_info. */
  readonly rsdp: number;
  /** All tables in one piece. */
  readonly segment: { readonly gpa: number; readonly bytes: Uint8Array };
  /** Where each table is, by signature. */
  readonly tables: ReadonlyMap<string, { readonly gpa: number; readonly bytes: Uint8Array }>;
}

const RSDP_SIZE = 36;
if (ACPI_AREA.first + RSDP_SIZE > GENERATION_ID.first) throw new Error('the generation ID is in the RSDP');
const RSDP_REVISION_1_SIZE = 20;
const XSDT_REVISION = 1;
/** The FACS must be 64-byte aligned; one rule for all. */
const ALIGNMENT = 64;
/** Device names C000-CFFF. */
const MAXIMUM_PROCESSORS = 0x1000;

function rsdp(xsdtAddress: number): Uint8Array {
  const bytes = new Uint8Array(RSDP_SIZE);
  const view = new DataView(bytes.buffer);
  writeAscii(bytes, 0, 'RSD PTR ');
  writeOemId(bytes, 9);
  view.setUint8(15, 2);
  view.setUint32(20, RSDP_SIZE, true);
  view.setBigUint64(24, BigInt(xsdtAddress), true);
  view.setUint8(8, checksum(bytes.subarray(0, RSDP_REVISION_1_SIZE)));
  view.setUint8(32, checksum(bytes));
  return bytes;
}

/** @throws RangeError when the configuration has no processor, or too many for the area. */
export function buildAcpiTables(config: AcpiConfig): AcpiTables {
  const { apicIds, legacyPic = false, vmbus = true, mmioWindows = [LOW_MMIO_WINDOW, HIGH_MMIO_WINDOW] } = config;
  if (apicIds.length === 0 || apicIds.length > MAXIMUM_PROCESSORS)
    throw new RangeError(`ACPI: ${apicIds.length} processors, 1 to ${MAXIMUM_PROCESSORS} are possible`);

  const tables = new Map<string, { gpa: number; bytes: Uint8Array }>();
  // The places of the RSDP, until the address that it holds is known, and of the generation ID, are kept free.
  let next = alignUp(GENERATION_ID.first + GENERATION_ID.size, ALIGNMENT);
  const place = (signature: string, bytes: Uint8Array): number => {
    const gpa = next;
    tables.set(signature, { gpa, bytes });
    next = alignUp(gpa + bytes.length, ALIGNMENT);
    return gpa;
  };
  const facsAddress = place('FACS', facs());
  const dsdtAddress = place('DSDT', dsdt(apicIds.length, mmioWindows, vmbus));
  const entries = [place('FACP', fadt(facsAddress, dsdtAddress)), place('APIC', madt(apicIds, legacyPic))];
  const xsdt = table(
    'XSDT',
    XSDT_REVISION,
    entries.flatMap((gpa) => littleEndian(gpa, 8)),
  );
  tables.set('RSD PTR ', { gpa: ACPI_AREA.first, bytes: rsdp(place('XSDT', xsdt)) });

  const size = next - ACPI_AREA.first;
  if (next > EFI_AREA_START) throw new RangeError(`ACPI: tables for ${apicIds.length} processors need ${size} bytes`);
  const bytes = new Uint8Array(size);
  for (const each of tables.values()) bytes.set(each.bytes, each.gpa - ACPI_AREA.first);
  return { rsdp: ACPI_AREA.first, segment: { gpa: ACPI_AREA.first, bytes }, tables };
}
