/**
 * Linux bzImage, 64-bit boot protocol (Documentation/arch/x86/boot.rst and zero-page.rst in the Linux source). The
 * compressed payload is unpacked on the host and the kernel proper is entered at its ELF entry, startup_64, with RSI =
 * boot_params: the same handover that the kernel's own decompressor makes, without its millions of instructions. A payload
 * that cannot be unpacked here is left to that decompressor: entry at its start + 0x200.
 */

import { type Compression, compressionOf, startsWith } from '../support/codec/codec.ts';
import { type EfiTables, efiTables } from './efi.ts';
import { parseElf, viewOf } from './elf.ts';
import { GDT_SIZE, IDENTITY_PAGE_TABLES_SIZE, identityPageTables, longModeEntry } from './entry-state.ts';
import {
  type BootOptions,
  encodeText,
  KernelImageError,
  type LoadPlan,
  type LoadSegment,
  mebibytes,
  requireMemory,
} from './load-plan.ts';
import { alignDown, alignUp, HIGH_MEMORY_START, memoryMap } from './memory-map.ts';
import { unpackPayload } from './payload.ts';
import { type Placement, placeElf } from './placement.ts';

/** Offsets in the image and in boot_params alike ("The Real-Mode Kernel Header"). */
const HEADER = {
  setupSects: 0x1f1,
  syssize: 0x1f4,
  bootFlag: 0x1fe,
  jumpLength: 0x201,
  signature: 0x202,
  version: 0x206,
  typeOfLoader: 0x210,
  loadflags: 0x211,
  code32Start: 0x214,
  ramdiskImage: 0x218,
  ramdiskSize: 0x21c,
  commandLine: 0x228,
  initrdAddressMaximum: 0x22c,
  kernelAlignment: 0x230,
  relocatable: 0x234,
  xloadflags: 0x236,
  commandLineSize: 0x238,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
  preferredAddress: 0x258,
  initSize: 0x260,
  end: 0x268,
} as const;

/** Fields of boot_params outside the setup header ("zero-page.rst"). */
const BOOT_PARAMS = {
  acpiRsdpAddress: 0x070,
  extRamdiskImage: 0x0c0,
  extRamdiskSize: 0x0c4,
  extCommandLine: 0x0c8,
  efiInfo: 0x1c0,
  e820Entries: 0x1e8,
  secureBoot: 0x1ec,
  setupHeader: 0x1f1,
  setupHeaderLimit: 0x290,
  e820Table: 0x2d0,
  size: 0x1000,
} as const;
const E820_ENTRY_SIZE = 20;
/** efi_info: "EL64", then u32 system table, descriptor size, its version, memory map, its size; upper halves. */
const EFI_LOADER_64 = 0x34364c45;
const SECURE_BOOT_DISABLED = 2;

const BOOT_FLAG = 0xaa55;
const SIGNATURE = [0x48, 0x64, 0x72, 0x53] as const; // "HdrS"
/** The first version with xloadflags, which says whether there is a 64-bit entry. */
const MINIMUM_VERSION = 0x020c;
const LOADED_HIGH = 0x01;
const CAN_USE_HEAP = 0x80;
const XLF_KERNEL_64 = 0x0001;
const UNDEFINED_LOADER = 0xff;
const ENTRY_64 = 0x200;
const SECTOR = 512;
const PAGE = 0x1000;

/** Where the loader's own pieces go in conventional memory. Linux copies what it needs before it reuses that. */
const PLACE = { gdt: 0x500, bootParams: 0x7000, pageTables: 0x9000, commandLine: 0x20000 } as const;

interface SetupHeader {
  readonly version: number;
  readonly protectedModeOffset: number;
  readonly protectedModeSize: number;
  readonly initrdAddressMaximum: number;
  readonly commandLineSize: number;
  readonly payload: Uint8Array;
  readonly preferredAddress: number;
  readonly initSize: number;
}

export function isBzImage(image: Uint8Array): boolean {
  if (image.length < HEADER.signature + 4) return false;
  return viewOf(image).getUint16(HEADER.bootFlag, true) === BOOT_FLAG && startsWith(image, SIGNATURE, HEADER.signature);
}

function parseHeader(image: Uint8Array): SetupHeader {
  if (image.length < HEADER.end)
    throw new KernelImageError(`the kernel image is truncated: ${image.length} bytes, less than its header`);
  const view = viewOf(image);
  const version = view.getUint16(HEADER.version, true);
  if (version < MINIMUM_VERSION)
    throw new KernelImageError(
      `the kernel speaks Linux boot protocol ${version >> 8}.${version & 0xff}; 2.12 (Linux 3.8) or newer is needed`,
    );
  const protectedModeOffset = ((view.getUint8(HEADER.setupSects) || 4) + 1) * SECTOR;
  const protectedModeSize = view.getUint32(HEADER.syssize, true) * 16;
  if (image.length < protectedModeOffset + protectedModeSize)
    throw new KernelImageError(
      `the kernel image is truncated: ${image.length} bytes, its header says ${protectedModeOffset + protectedModeSize}`,
    );
  if ((view.getUint16(HEADER.xloadflags, true) & XLF_KERNEL_64) === 0)
    throw new KernelImageError('the kernel is 32-bit only: a kernel for x86-64 is needed');
  if ((view.getUint8(HEADER.loadflags) & LOADED_HIGH) === 0)
    throw new KernelImageError('the kernel is a zImage, which loads below 1 MiB: a bzImage is needed');
  const payloadStart = protectedModeOffset + view.getUint32(HEADER.payloadOffset, true);
  const payloadEnd = payloadStart + view.getUint32(HEADER.payloadLength, true);
  if (payloadEnd > protectedModeOffset + protectedModeSize)
    throw new KernelImageError('the kernel image is damaged: its payload ends outside the file');
  const preferredAddress = view.getBigUint64(HEADER.preferredAddress, true);
  if (preferredAddress > 0xffffffffn || preferredAddress < 0x100000n)
    throw new KernelImageError('the kernel image is damaged: its load address is not between 1 MiB and 4 GiB');
  return {
    version,
    protectedModeOffset,
    protectedModeSize,
    initrdAddressMaximum: view.getUint32(HEADER.initrdAddressMaximum, true),
    commandLineSize: view.getUint32(HEADER.commandLineSize, true),
    payload: image.subarray(payloadStart, payloadEnd),
    preferredAddress: Number(preferredAddress),
    initSize: view.getUint32(HEADER.initSize, true),
  };
}

interface Kernel extends Placement {
  readonly entry: number;
  readonly end: number;
  readonly note: string;
}

/** Places the kernel proper; undefined when its payload cannot be unpacked here. */
async function unpackedKernel(
  image: Uint8Array,
  header: SetupHeader,
  options: BootOptions,
): Promise<Kernel | undefined> {
  const payload = await unpackPayload(image, header.payload, options);
  if (payload === undefined) return undefined;
  const elf = parseElf(payload.bytes);
  if (elf.bits !== 64) throw new KernelImageError('the kernel is 32-bit only: a kernel for x86-64 is needed');
  requireRoom(options, elf.end);
  if (elf.segments.some((segment) => segment.physical < HIGH_MEMORY_START))
    throw new KernelImageError('the kernel image is damaged: its kernel is linked below 1 MiB');
  return {
    ...placeElf(elf, options.memory),
    entry: elf.entry,
    end: elf.end,
    note: `payload ${payload.compression}, ${payload.fromCache ? 'from the cache' : 'unpacked on the host'}, ${payload.bytes.length} bytes`,
  };
}

/** Places the protected-mode part whole, for the guest to unpack. */
function packedKernel(image: Uint8Array, header: SetupHeader, options: BootOptions): Kernel {
  const first = header.preferredAddress;
  const size = Math.max(header.initSize, header.protectedModeSize);
  const bytes = image.subarray(header.protectedModeOffset, header.protectedModeOffset + header.protectedModeSize);
  requireRoom(options, first + size);
  const format: Compression | 'unknown' = compressionOf(header.payload) ?? 'unknown';
  return {
    segments: [{ gpa: first, bytes }],
    zeroed: [],
    occupied: [{ first, size }],
    entry: first + ENTRY_64,
    end: first + size,
    note: `payload ${format}, left to the kernel's own decompressor`,
  };
}

function requireRoom(options: BootOptions, kernelEnd: number): void {
  const initrd = options.initrd?.length ?? 0;
  const what = initrd > 0 ? `the kernel with its initial RAM disk of ${mebibytes(initrd)}` : 'the kernel';
  requireMemory(options.memory, alignUp(kernelEnd, PAGE) + alignUp(initrd, PAGE), what);
}

/** As high as the kernel reaches: low memory is what it wants for itself. */
function placeInitrd(header: SetupHeader, options: BootOptions, kernelEnd: number): LoadSegment | undefined {
  const bytes = options.initrd;
  if (bytes === undefined) return undefined;
  checkInitrd(bytes);
  const top = Math.min(options.memory, header.initrdAddressMaximum + 1);
  const gpa = alignDown(top - bytes.length, PAGE);
  if (gpa < kernelEnd)
    throw new KernelImageError(
      `the initial RAM disk of ${mebibytes(bytes.length)} does not fit between the kernel and 0x${top.toString(16)}, where the kernel can read it`,
    );
  return { gpa, bytes };
}

/** What Linux takes for an initial RAM disk beside the compressed formats: cpio archives and its old file systems. */
const INITRD_MAGIC: readonly { readonly at: number; readonly magic: readonly number[] }[] = [
  { at: 0, magic: [0x30, 0x37, 0x30, 0x37, 0x30] }, // cpio "07070x"
  { at: 0, magic: [0x2d, 0x72, 0x6f, 0x6d, 0x31, 0x66, 0x73, 0x2d] }, // romfs
  { at: 0, magic: [0x45, 0x3d, 0xcd, 0x28] }, // cramfs
  { at: 0, magic: [0x68, 0x73, 0x71, 0x73] }, // squashfs
  { at: 0x438, magic: [0x53, 0xef] }, // ext2 and later
];

function checkInitrd(bytes: Uint8Array): void {
  if (bytes.length === 0) throw new KernelImageError('the initial RAM disk is empty');
  // An archive may begin with zeros as padding.
  const first = bytes.findIndex((byte) => byte !== 0);
  const content = bytes.subarray(Math.max(first, 0));
  const known =
    compressionOf(content) ?? INITRD_MAGIC.find(({ at, magic }) => startsWith(at === 0 ? content : bytes, magic, at));
  if (known === undefined)
    throw new KernelImageError('the initial RAM disk is neither a cpio archive, nor compressed, nor a file system');
}

function bootParams(
  image: Uint8Array,
  loadAddress: number,
  commandLine: number,
  initrd: LoadSegment | undefined,
  options: BootOptions,
  efi: EfiTables | undefined,
): Uint8Array {
  const page = new Uint8Array(BOOT_PARAMS.size);
  const view = viewOf(page);
  const headerEnd = Math.min(HEADER.signature + (image[HEADER.jumpLength] as number), BOOT_PARAMS.setupHeaderLimit);
  page.set(image.subarray(BOOT_PARAMS.setupHeader, headerEnd), BOOT_PARAMS.setupHeader);
  view.setUint8(HEADER.typeOfLoader, UNDEFINED_LOADER);
  view.setUint8(HEADER.loadflags, view.getUint8(HEADER.loadflags) & ~CAN_USE_HEAP);
  view.setUint32(HEADER.code32Start, loadAddress, true);
  view.setUint32(HEADER.commandLine, commandLine, true);
  view.setUint32(BOOT_PARAMS.extCommandLine, 0, true);
  // Everything is below 4 GiB, so the upper halves (the ext fields) stay 0.
  view.setUint32(HEADER.ramdiskImage, initrd?.gpa ?? 0, true);
  view.setUint32(HEADER.ramdiskSize, initrd?.bytes.length ?? 0, true);
  view.setBigUint64(BOOT_PARAMS.acpiRsdpAddress, BigInt(options.rsdp ?? 0), true);
  if (efi) {
    view.setUint8(BOOT_PARAMS.secureBoot, SECURE_BOOT_DISABLED);
    const { gpa, size, descriptorSize, version } = efi.memoryMap;
    [EFI_LOADER_64, efi.systemTable, descriptorSize, version, gpa, size].forEach((word, i) => {
      view.setUint32(BOOT_PARAMS.efiInfo + i * 4, word, true);
    });
  }
  const map = memoryMap(options.memory);
  view.setUint8(BOOT_PARAMS.e820Entries, map.length);
  for (const [i, entry] of map.entries()) {
    const at = BOOT_PARAMS.e820Table + i * E820_ENTRY_SIZE;
    view.setBigUint64(at, BigInt(entry.first), true);
    view.setBigUint64(at + 8, BigInt(entry.size), true);
    view.setUint32(at + 16, entry.type, true);
  }
  return page;
}

/** @throws KernelImageError, and nothing else, whatever the image holds. */
export async function planBzImage(image: Uint8Array, options: BootOptions): Promise<LoadPlan> {
  const header = parseHeader(image);
  const commandLine = encodeText(options.commandLine ?? '', 'command line');
  if (commandLine.length - 1 > header.commandLineSize)
    throw new KernelImageError(
      `the command line has ${commandLine.length - 1} bytes, this kernel takes ${header.commandLineSize}`,
    );
  const kernel = (await unpackedKernel(image, header, options)) ?? packedKernel(image, header, options);
  const initrd = placeInitrd(header, options, kernel.end);
  const handover = longModeEntry({ rip: kernel.entry, gdt: PLACE.gdt, rsi: PLACE.bootParams }, PLACE.pageTables);
  const loadAddress = header.preferredAddress;
  const efi = options.efi ? efiTables(options.memory, options.rsdp ?? 0) : undefined;
  return {
    kind: 'bzImage',
    segments: [
      handover.gdt,
      { gpa: PLACE.bootParams, bytes: bootParams(image, loadAddress, PLACE.commandLine, initrd, options, efi) },
      identityPageTables(PLACE.pageTables),
      { gpa: PLACE.commandLine, bytes: commandLine },
      ...(efi ? [efi.segment] : []),
      ...kernel.segments,
      ...(initrd === undefined ? [] : [initrd]),
    ],
    zeroed: kernel.zeroed,
    entry: handover.state,
    reserved: [
      { first: PLACE.gdt, size: GDT_SIZE, purpose: 'boot GDT' },
      { first: PLACE.bootParams, size: BOOT_PARAMS.size, purpose: 'boot_params' },
      { first: PLACE.pageTables, size: IDENTITY_PAGE_TABLES_SIZE, purpose: 'boot page tables' },
      { first: PLACE.commandLine, size: commandLine.length, purpose: 'command line' },
      ...kernel.occupied.map((range) => ({ ...range, purpose: 'kernel' })),
      ...(initrd === undefined ? [] : [{ first: initrd.gpa, size: initrd.bytes.length, purpose: 'initial RAM disk' }]),
    ],
    notes: [`Linux boot protocol ${header.version >> 8}.${header.version & 0xff}`, kernel.note],
  };
}
