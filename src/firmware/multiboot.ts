/**
 * Multiboot 1 kernels (Multiboot Specification version 0.6.96): ELF, or any file whose header gives its load addresses
 * itself (the "a.out kludge"). Entry in flat 32-bit protected mode, EAX = 0x2BADB002, EBX = the multiboot information.
 */

import { isElf, parseElf, viewOf } from './elf.ts';
import { GDT_SIZE, protectedModeEntry } from './entry-state.ts';
import {
  type BootModule,
  type BootOptions,
  encodeText,
  KernelImageError,
  type LoadPlan,
  type LoadSegment,
  mebibytes,
  requireMemory,
} from './load-plan.ts';
import { type AddressRange, CONVENTIONAL_MEMORY_END, findFree, HIGH_MEMORY_START, memoryMap } from './memory-map.ts';
import { checkPlace, type Placement, placeElf } from './placement.ts';

const HEADER_MAGIC = 0x1badb002;
const BOOTLOADER_MAGIC = 0x2badb002;
/** The header lies within the first 8192 bytes, 4-byte aligned (section 3.1). */
const SEARCH_SIZE = 8192;

const HEADER_FLAG = {
  /** Modules are page-aligned here always, memory information is given always. */
  pageAlign: 1 << 0,
  memoryInfo: 1 << 1,
  /** There is no picture: the kernel finds no video fields in the information and uses its console. */
  videoMode: 1 << 2,
  addressFields: 1 << 16,
} as const;
/** Bits 0-15 are requirements: one that we do not know forbids to boot (section 3.1.2). */
const KNOWN_REQUIREMENTS = HEADER_FLAG.pageAlign | HEADER_FLAG.memoryInfo | HEADER_FLAG.videoMode;

/** Offsets in the multiboot information (section 3.3). */
const INFO = {
  flags: 0,
  memLower: 4,
  memUpper: 8,
  commandLine: 16,
  modulesCount: 20,
  modulesAddress: 24,
  mapLength: 44,
  mapAddress: 48,
  bootLoaderName: 64,
  size: 120,
} as const;
const INFO_FLAG = {
  memory: 1 << 0,
  commandLine: 1 << 2,
  modules: 1 << 3,
  map: 1 << 6,
  bootLoaderName: 1 << 9,
} as const;
const MODULE_SIZE = 16;
/** Kernels that go back to real mode find the interrupt vectors where the processor's reset has them. */
const REAL_MODE_VECTORS = { base: 0n, limit: 0x3ff } as const;
const MAP_ENTRY_SIZE = 24;
const BOOT_LOADER_NAME = 'Viridian';
const PAGE = 0x1000;
/** Where QEMU puts the information; kernels are known to rely on lower memory being theirs. */
const INFO_BASE = 0x9000;

interface MultibootHeader {
  readonly offset: number;
  readonly flags: number;
}

export function findMultibootHeader(image: Uint8Array): MultibootHeader | undefined {
  const view = viewOf(image);
  const end = Math.min(image.length, SEARCH_SIZE) - 12;
  for (let offset = 0; offset <= end; offset += 4) {
    if (view.getUint32(offset, true) !== HEADER_MAGIC) continue;
    const flags = view.getUint32(offset + 4, true);
    if ((HEADER_MAGIC + flags + view.getUint32(offset + 8, true)) >>> 0 === 0) return { offset, flags };
  }
  return undefined;
}

interface Kernel extends Placement {
  readonly entry: number;
  readonly note: string;
}

/** Section 3.1.3, "The address fields of Multiboot header". */
function placeByAddressFields(image: Uint8Array, header: MultibootHeader, memory: number): Kernel {
  if (header.offset + 32 > image.length) throw new KernelImageError('the kernel is truncated in its multiboot header');
  const view = viewOf(image);
  const field = (index: number): number => view.getUint32(header.offset + 12 + index * 4, true);
  const headerAddress = field(0);
  const loadAddress = field(1);
  const fileOffset = header.offset - (headerAddress - loadAddress);
  if (loadAddress > headerAddress || fileOffset < 0)
    throw new KernelImageError('the multiboot header has impossible addresses');
  const loadEnd = field(2) || loadAddress + image.length - fileOffset;
  const size = loadEnd - loadAddress;
  if (size <= 0) throw new KernelImageError('the multiboot header has impossible addresses');
  if (fileOffset + size > image.length)
    throw new KernelImageError(`the kernel is truncated: ${image.length} bytes, its header says ${fileOffset + size}`);
  const bssEnd = Math.max(field(3), loadEnd);
  const range = { first: loadAddress, size: bssEnd - loadAddress };
  checkPlace(range, memory, 'the kernel');
  return {
    segments: [{ gpa: loadAddress, bytes: image.subarray(fileOffset, fileOffset + size) }],
    zeroed: bssEnd > loadEnd ? [{ first: loadEnd, size: bssEnd - loadEnd }] : [],
    occupied: [range],
    entry: field(4),
    note: 'loaded by the addresses in the multiboot header',
  };
}

function placeKernel(image: Uint8Array, header: MultibootHeader, memory: number): Kernel {
  const unknown = header.flags & 0xffff & ~KNOWN_REQUIREMENTS;
  if (unknown !== 0)
    throw new KernelImageError(`the multiboot kernel requires unknown features 0x${unknown.toString(16)}`);
  if (header.flags & HEADER_FLAG.addressFields) return placeByAddressFields(image, header, memory);
  if (!isElf(image)) throw new KernelImageError('the multiboot kernel is no ELF file and gives no load addresses');
  const elf = parseElf(image);
  return { ...placeElf(elf, memory), entry: elf.entry, note: `loaded as ELF${elf.bits}` };
}

/**
 * The lines of kvm-unit-tests' environment module. BOOTLOADER=1 makes a test supply its own argv[0], which the command line
 * otherwise begins with.
 */
function environmentText(options: BootOptions): string {
  const { processors, memoryMiB } = options.testEnvironment as NonNullable<BootOptions['testEnvironment']>;
  const lines = [`NR_CPUS=${processors}`, `MEMSIZE=${memoryMiB}`];
  if (options.commandLineWithoutFileName) lines.push('BOOTLOADER=1');
  return `${lines.join('\n')}\n`;
}

/** The test kernels look at the environment only when it is the one module: ours is appended to one that is given. */
function modulesOf(options: BootOptions): readonly BootModule[] {
  const given = options.initrd === undefined ? [] : [{ bytes: options.initrd }];
  const modules: BootModule[] = [...given, ...(options.modules ?? [])];
  if (options.testEnvironment === undefined) return modules;
  const ours = new TextEncoder().encode(environmentText(options));
  const [only] = modules;
  if (modules.length !== 1 || only === undefined || !isEnvironment(only.bytes))
    return [...modules, { bytes: ours, commandLine: 'environment' }];
  const separator = only.bytes.at(-1) === 0x0a ? [] : [0x0a];
  // The first line of a name wins, so what the user gave stays in force.
  return [{ ...only, bytes: Uint8Array.from([...only.bytes, ...separator, ...ours]) }];
}

const ENVIRONMENT_LIMIT = 16384;

function isEnvironment(bytes: Uint8Array): boolean {
  if (bytes.length > ENVIRONMENT_LIMIT) return false;
  const lines = new TextDecoder().decode(bytes).split('\n');
  return lines.every((line) => /^\s*$|^#|^[A-Za-z_][A-Za-z0-9_]*=[^\0]*$/.test(line));
}

/** Module list as QEMU's -initrd takes it: `file args,file2`; a doubled comma stands for one. */
export function parseModuleList(text: string): readonly { readonly file: string; readonly commandLine: string }[] {
  return text
    .replaceAll(',,', '\0')
    .split(',')
    .map((item) => item.replaceAll('\0', ',').trim())
    .filter((item) => item !== '')
    .map((commandLine) => ({ file: commandLine.split(' ', 1)[0] as string, commandLine }));
}

/** Each module in the first free place above the kernel's end, else anywhere above 1 MiB, page-aligned. */
function placeModules(modules: readonly BootModule[], kernel: Kernel, memory: number): LoadSegment[] {
  const occupied: AddressRange[] = [...kernel.occupied];
  const above = Math.max(HIGH_MEMORY_START, ...kernel.occupied.map(({ first, size }) => first + size));
  return modules.map(({ bytes }) => {
    const size = Math.max(bytes.length, 1);
    const place = { end: memory, alignment: PAGE };
    const gpa =
      findFree(occupied, size, { ...place, from: above }) ??
      findFree(occupied, size, { ...place, from: HIGH_MEMORY_START });
    if (gpa === undefined)
      throw new KernelImageError(
        `a module of ${mebibytes(size)} does not fit into the partition's memory beside the kernel`,
      );
    occupied.push({ first: gpa, size });
    return { gpa, bytes };
  });
}

/** @throws KernelImageError, and nothing else, whatever the image holds. */
export function planMultiboot(image: Uint8Array, options: BootOptions): LoadPlan {
  const header = findMultibootHeader(image);
  if (header === undefined) throw new KernelImageError('the file has no multiboot header');
  const kernel = placeKernel(image, header, options.memory);
  requireMemory(options.memory, kernel.entry + 1, 'the kernel');
  const modules = modulesOf(options);
  const moduleSegments = placeModules(modules, kernel, options.memory);

  const fileName = options.commandLineWithoutFileName ? '' : (options.fileName ?? 'kernel');
  const commandLine = [fileName, options.commandLine ?? ''].filter((part) => part !== '').join(' ');
  const texts = [commandLine, BOOT_LOADER_NAME, ...modules.map((module) => module.commandLine ?? '')];
  const encoded = texts.map((text) => encodeText(text, 'command line'));

  // One block in conventional memory: GDT, information, module list, memory map, then the texts.
  const map = memoryMap(options.memory);
  const infoAt = GDT_SIZE;
  const modulesAt = infoAt + INFO.size;
  const mapAt = modulesAt + modules.length * MODULE_SIZE;
  const textsAt = mapAt + map.length * MAP_ENTRY_SIZE;
  const size = encoded.reduce((sum, text) => sum + text.length, textsAt);
  const place = { end: Math.min(options.memory, CONVENTIONAL_MEMORY_END), alignment: 16 };
  const occupied = kernel.occupied;
  const base =
    findFree(occupied, size, { ...place, from: INFO_BASE }) ?? findFree(occupied, size, { ...place, from: PAGE });
  if (base === undefined) throw new KernelImageError('no room below 640 KiB for the multiboot information');

  const block = new Uint8Array(size);
  const view = viewOf(block);
  let textAt = textsAt;
  const textAddresses = encoded.map((text) => {
    block.set(text, textAt);
    textAt += text.length;
    return base + textAt - text.length;
  });
  const info = (offset: number, value: number): void => view.setUint32(infoAt + offset, value, true);
  const { memory, commandLine: withCommandLine, map: withMap, bootLoaderName } = INFO_FLAG;
  info(INFO.flags, memory | withCommandLine | INFO_FLAG.modules | withMap | bootLoaderName);
  info(INFO.memLower, Math.floor(Math.min(options.memory, CONVENTIONAL_MEMORY_END) / 1024));
  info(INFO.memUpper, Math.floor(Math.max(options.memory - HIGH_MEMORY_START, 0) / 1024));
  info(INFO.commandLine, textAddresses[0] as number);
  info(INFO.bootLoaderName, textAddresses[1] as number);
  info(INFO.modulesCount, modules.length);
  info(INFO.modulesAddress, base + modulesAt);
  info(INFO.mapLength, map.length * MAP_ENTRY_SIZE);
  info(INFO.mapAddress, base + mapAt);
  for (const [i, { gpa, bytes }] of moduleSegments.entries()) {
    const at = modulesAt + i * MODULE_SIZE;
    view.setUint32(at, gpa, true);
    view.setUint32(at + 4, gpa + bytes.length, true);
    view.setUint32(at + 8, textAddresses[i + 2] as number, true);
  }
  for (const [i, range] of map.entries()) {
    const at = mapAt + i * MAP_ENTRY_SIZE;
    // The size field does not count itself.
    view.setUint32(at, MAP_ENTRY_SIZE - 4, true);
    view.setBigUint64(at + 4, BigInt(range.first), true);
    view.setBigUint64(at + 12, BigInt(range.size), true);
    view.setUint32(at + 20, range.type, true);
  }

  const handover = protectedModeEntry({ rip: kernel.entry, gdt: base, rax: BOOTLOADER_MAGIC, rbx: base + infoAt });
  block.set(handover.gdt.bytes, 0);
  return {
    kind: 'multiboot',
    segments: [
      { gpa: base, bytes: block },
      ...kernel.segments,
      ...moduleSegments.filter(({ bytes }) => bytes.length > 0),
    ],
    zeroed: kernel.zeroed,
    entry: { ...handover.state, idtr: REAL_MODE_VECTORS },
    reserved: [
      { first: base, size, purpose: 'multiboot information' },
      ...kernel.occupied.map((range) => ({ ...range, purpose: 'kernel' })),
      ...moduleSegments.map(({ gpa, bytes }) => ({ first: gpa, size: bytes.length, purpose: 'module' })),
    ],
    notes: [`multiboot 1, ${kernel.note}`, `command line "${commandLine}"`],
  };
}
