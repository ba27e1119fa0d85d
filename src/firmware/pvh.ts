/**
 * ELF kernels with a PVH entry (Xen, "x86/HVM direct boot ABI", and the public header xen/arch-x86/hvm/start_info.h): the
 * note XEN_ELFNOTE_PHYS32_ENTRY names a 32-bit entry point, EBX points at hvm_start_info.
 */

import { type ElfImage, parseElf, viewOf } from './elf.ts';
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
import { alignDown, alignUp, CONVENTIONAL_MEMORY_END, findFree, memoryMap } from './memory-map.ts';
import { placeElf } from './placement.ts';

const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const START_INFO_MAGIC = 0x336ec578;
/** The first version with a memory map. */
const START_INFO_VERSION = 1;
const START_INFO_SIZE = 56;
const MODULE_SIZE = 32;
const MEMORY_MAP_ENTRY_SIZE = 24;
const PAGE = 0x1000;

/** The 32-bit entry point, when the ELF file names one. */
export function pvhEntry(elf: ElfImage): number | undefined {
  const note = elf.notes.find(({ name, type }) => name === 'Xen' && type === XEN_ELFNOTE_PHYS32_ENTRY);
  if (note === undefined) return undefined;
  const view = viewOf(note.description);
  if (note.description.length === 4) return view.getUint32(0, true);
  if (note.description.length === 8) {
    const entry = view.getBigUint64(0, true);
    if (entry <= 0xffffffffn) return Number(entry);
  }
  throw new KernelImageError('the ELF file has a malformed PVH note');
}

/** Modules as high as memory reaches, page-aligned, each below the one before. */
function placeModules(modules: readonly BootModule[], memory: number, kernelEnd: number): LoadSegment[] {
  const total = modules.reduce((sum, { bytes }) => sum + alignUp(bytes.length, PAGE), 0);
  const what = total > 0 ? `the kernel with its initial RAM disk of ${mebibytes(total)}` : 'the kernel';
  requireMemory(memory, alignUp(kernelEnd, PAGE) + total, what);
  let top = memory;
  return modules.map(({ bytes }) => {
    top = alignDown(top - bytes.length, PAGE);
    return { gpa: top, bytes };
  });
}

/** @throws KernelImageError, and nothing else, whatever the image holds. */
export function planPvh(image: Uint8Array, options: BootOptions): LoadPlan {
  const elf = parseElf(image);
  const entry = pvhEntry(elf);
  if (entry === undefined) throw new KernelImageError('the ELF file has no PVH entry note (XEN_ELFNOTE_PHYS32_ENTRY)');
  if (options.initrd?.length === 0) throw new KernelImageError('the initial RAM disk is empty');
  const kernel = placeElf(elf, options.memory);
  const modules = [...(options.initrd === undefined ? [] : [{ bytes: options.initrd }]), ...(options.modules ?? [])];
  const moduleSegments = placeModules(modules, options.memory, elf.end);

  // One block in conventional memory: GDT, start info, module list, memory map, then the texts.
  const map = memoryMap(options.memory);
  const texts = [options.commandLine ?? '', ...modules.map((module: BootModule) => module.commandLine ?? '')];
  const encoded = texts.map((text) => encodeText(text, 'command line'));
  const infoAt = GDT_SIZE;
  const modulesAt = infoAt + START_INFO_SIZE;
  const mapAt = modulesAt + modules.length * MODULE_SIZE;
  const textsAt = mapAt + map.length * MEMORY_MAP_ENTRY_SIZE;
  const size = encoded.reduce((sum, text) => sum + text.length, textsAt);
  const end = Math.min(options.memory, CONVENTIONAL_MEMORY_END);
  const base = findFree(kernel.occupied, size, { from: PAGE, end, alignment: PAGE });
  if (base === undefined) throw new KernelImageError('no room below 640 KiB for the start information');

  const block = new Uint8Array(size);
  const view = viewOf(block);
  let textAt = textsAt;
  const textAddresses = encoded.map((text) => {
    block.set(text, textAt);
    textAt += text.length;
    return base + textAt - text.length;
  });
  const u64 = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  view.setUint32(infoAt, START_INFO_MAGIC, true);
  view.setUint32(infoAt + 4, START_INFO_VERSION, true);
  view.setUint32(infoAt + 12, modules.length, true);
  u64(infoAt + 16, modules.length > 0 ? base + modulesAt : 0);
  u64(infoAt + 24, textAddresses[0] as number);
  u64(infoAt + 32, options.rsdp ?? 0);
  u64(infoAt + 40, base + mapAt);
  view.setUint32(infoAt + 48, map.length, true);
  for (const [i, { gpa, bytes }] of moduleSegments.entries()) {
    const at = modulesAt + i * MODULE_SIZE;
    u64(at, gpa);
    u64(at + 8, bytes.length);
    u64(at + 16, textAddresses[i + 1] as number);
  }
  for (const [i, range] of map.entries()) {
    const at = mapAt + i * MEMORY_MAP_ENTRY_SIZE;
    u64(at, range.first);
    u64(at + 8, range.size);
    view.setUint32(at + 16, range.type, true);
  }

  const handover = protectedModeEntry({ rip: entry, gdt: base, rbx: base + infoAt });
  block.set(handover.gdt.bytes, 0);
  return {
    kind: 'pvh',
    segments: [{ gpa: base, bytes: block }, ...kernel.segments, ...moduleSegments],
    zeroed: kernel.zeroed,
    entry: handover.state,
    reserved: [
      { first: base, size, purpose: 'hvm_start_info' },
      ...kernel.occupied.map((range) => ({ ...range, purpose: 'kernel' })),
      ...moduleSegments.map(({ gpa, bytes }) => ({ first: gpa, size: bytes.length, purpose: 'module' })),
    ],
    notes: [`ELF${elf.bits} with a PVH entry at 0x${entry.toString(16)}`],
  };
}
