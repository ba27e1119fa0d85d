/**
 * The tables by which a kernel takes itself to have been started by UEFI (UEFI 2.10, sections 4.3, 4.5, 4.6 and 7.2): guests
 * of Hyper-V tell a generation 2 machine, and with it where the frame buffer may be, by this alone. There are no boot
 * services, and the runtime services do nothing: SetVirtualAddressMap succeeds, as nothing in them has an address to change,
 * and a table says that there are no others.
 */
import { guidBytes } from '../support/guid.ts';
import type { LoadSegment } from './load-plan.ts';
import { MEMORY_TYPE, memoryMap } from './memory-map.ts';

/** Four pages at the end of the area that is reserved below 1 MiB: code, two of data that guests keep, the memory map. */
const BASE = 0xfc000;
const PAGE = 0x1000;
const PLACE = {
  code: BASE,
  runtimeServices: BASE + PAGE,
  systemTable: BASE + 2 * PAGE,
  vendor: BASE + 2 * PAGE + 0x100,
  configuration: BASE + 2 * PAGE + 0x200,
  properties: BASE + 2 * PAGE + 0x300,
  memoryMap: BASE + 3 * PAGE,
} as const;
const SIZE = 4 * PAGE;
/** Where the ACPI tables must end. */
export const EFI_AREA_START = BASE;

const SYSTEM_TABLE = {
  signature: 0x5453_5953_2049_4249n, // "IBI SYST"
  size: 120,
  vendor: 24,
  firmwareRevision: 32,
  runtimeServices: 88,
  tableCount: 104,
  tables: 112,
} as const;
const RUNTIME_SERVICES = {
  signature: 0x5652_4553_544e_5552n, // "RUNTSERV"
  size: 136,
  first: 24,
  setVirtualAddressMap: 56,
} as const;
const REVISION_2_70 = (2 << 16) | 70;
const VENDOR = 'Viridian';

const ACPI_20_TABLE = '8868e871-e4f1-11d3-bc22-0080c73f8881';
const RT_PROPERTIES_TABLE = 'eb66918a-7eef-402a-842e-931d21c38ae9';

/** EFI_MEMORY_DESCRIPTOR, version 1; firmware leaves room behind it, so that nobody takes its size for granted. */
const DESCRIPTOR = { size: 48, version: 1, type: 0, first: 8, pages: 24, attributes: 32 } as const;
const MEMORY = { runtimeCode: 5, runtimeData: 6, conventional: 7 } as const;
const WRITE_BACK = 8n;
const RUNTIME = 1n << 63n;

/** XOR EAX, EAX; RET. And MOV RAX, EFI_UNSUPPORTED; RET. */
const SUCCEED = [0x31, 0xc0, 0xc3] as const;
const UNSUPPORTED = [0x48, 0xb8, 0x03, 0, 0, 0, 0, 0, 0, 0x80, 0xc3] as const;
const UNSUPPORTED_AT = 16;

export interface EfiTables {
  readonly segment: LoadSegment;
  readonly systemTable: number;
  readonly memoryMap: {
    readonly gpa: number;
    readonly size: number;
    readonly descriptorSize: number;
    readonly version: number;
  };
}

/** @param rsdp guest-physical address of the ACPI tables' root. */
export function efiTables(memory: number, rsdp: number): EfiTables {
  const bytes = new Uint8Array(SIZE);
  const view = new DataView(bytes.buffer);
  const u32 = (gpa: number, value: number): void => view.setUint32(gpa - BASE, value, true);
  const u64 = (gpa: number, value: number | bigint): void => view.setBigUint64(gpa - BASE, BigInt(value), true);
  const put = (gpa: number, content: ArrayLike<number>): void => bytes.set(content, gpa - BASE);

  put(PLACE.code, SUCCEED);
  put(PLACE.code + UNSUPPORTED_AT, UNSUPPORTED);

  const header = (gpa: number, signature: bigint, size: number): void => {
    u64(gpa, signature);
    u32(gpa + 8, REVISION_2_70);
    u32(gpa + 12, size);
  };
  header(PLACE.runtimeServices, RUNTIME_SERVICES.signature, RUNTIME_SERVICES.size);
  for (let at = RUNTIME_SERVICES.first; at < RUNTIME_SERVICES.size; at += 8)
    u64(PLACE.runtimeServices + at, PLACE.code + UNSUPPORTED_AT);
  u64(PLACE.runtimeServices + RUNTIME_SERVICES.setVirtualAddressMap, PLACE.code);

  header(PLACE.systemTable, SYSTEM_TABLE.signature, SYSTEM_TABLE.size);
  u64(PLACE.systemTable + SYSTEM_TABLE.vendor, PLACE.vendor);
  u32(PLACE.systemTable + SYSTEM_TABLE.firmwareRevision, 1);
  u64(PLACE.systemTable + SYSTEM_TABLE.runtimeServices, PLACE.runtimeServices);
  u64(PLACE.systemTable + SYSTEM_TABLE.tableCount, 2);
  u64(PLACE.systemTable + SYSTEM_TABLE.tables, PLACE.configuration);
  put(
    PLACE.vendor,
    VENDOR.split('').flatMap((letter) => [letter.charCodeAt(0), 0]),
  );
  put(PLACE.configuration, guidBytes(ACPI_20_TABLE));
  u64(PLACE.configuration + 16, rsdp);
  put(PLACE.configuration + 24, guidBytes(RT_PROPERTIES_TABLE));
  u64(PLACE.configuration + 40, PLACE.properties);
  // Version 1, 8 bytes, no service supported.
  u32(PLACE.properties, 1 | (8 << 16));

  const map = [
    ...memoryMap(memory)
      .filter((entry) => entry.type === MEMORY_TYPE.ram)
      .map(({ first, size }) => ({ type: MEMORY.conventional, first, size, attributes: WRITE_BACK })),
    { type: MEMORY.runtimeCode, first: PLACE.code, size: PAGE, attributes: WRITE_BACK | RUNTIME },
    { type: MEMORY.runtimeData, first: PLACE.runtimeServices, size: 2 * PAGE, attributes: WRITE_BACK | RUNTIME },
  ].sort((a, b) => a.first - b.first);
  map.forEach(({ type, first, size, attributes }, i) => {
    const at = PLACE.memoryMap + i * DESCRIPTOR.size;
    u32(at + DESCRIPTOR.type, type);
    u64(at + DESCRIPTOR.first, first);
    u64(at + DESCRIPTOR.pages, Math.floor(size / PAGE));
    u64(at + DESCRIPTOR.attributes, attributes);
  });
  return {
    segment: { gpa: BASE, bytes },
    systemTable: PLACE.systemTable,
    memoryMap: {
      gpa: PLACE.memoryMap,
      size: map.length * DESCRIPTOR.size,
      descriptorSize: DESCRIPTOR.size,
      version: DESCRIPTOR.version,
    },
  };
}
