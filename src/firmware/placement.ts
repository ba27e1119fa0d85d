/** Turns a parsed ELF file into the segments of a load plan, and keeps book of what is occupied. */

import type { ElfImage } from './elf.ts';
import { KernelImageError, type LoadSegment, requireMemory } from './load-plan.ts';
import { ACPI_AREA, type AddressRange, CONVENTIONAL_MEMORY_END, HIGH_MEMORY_START, overlaps } from './memory-map.ts';

export interface Placement {
  readonly segments: LoadSegment[];
  readonly zeroed: AddressRange[];
  readonly occupied: AddressRange[];
}

const HOLE: AddressRange = { first: CONVENTIONAL_MEMORY_END, size: HIGH_MEMORY_START - CONVENTIONAL_MEMORY_END };

/** @throws KernelImageError when a range is not RAM that the kernel may have. */
export function checkPlace(range: AddressRange, memory: number, what: string): void {
  requireMemory(memory, range.first + range.size, what);
  if (overlaps(range, HOLE))
    throw new KernelImageError(
      `${what} is linked to 0x${range.first.toString(16)}, inside the reserved area below 1 MiB (ACPI tables at 0x${ACPI_AREA.first.toString(16)})`,
    );
}

export function placeElf(elf: ElfImage, memory: number): Placement {
  requireMemory(memory, elf.end, 'the kernel');
  const placement: Placement = { segments: [], zeroed: [], occupied: [] };
  for (const segment of elf.segments) {
    const range = { first: segment.physical, size: segment.memorySize };
    checkPlace(range, memory, 'the kernel');
    placement.occupied.push(range);
    const fileSize = segment.bytes.length;
    if (fileSize > 0) placement.segments.push({ gpa: segment.physical, bytes: segment.bytes });
    if (fileSize < segment.memorySize)
      placement.zeroed.push({ first: segment.physical + fileSize, size: segment.memorySize - fileSize });
  }
  return placement;
}
