/**
 * The guest-physical map of a partition that starts without firmware, in one place for every loader and for the ACPI
 * tables. Conventional memory below 0x9FC00, a reserved area up to 1 MiB (the ACPI tables live in it), RAM from there on.
 */

export const MIB = 1024 * 1024;

export interface AddressRange {
  readonly first: number;
  readonly size: number;
}

/** E820 address types (ACPI 6.5, table 15.5); multiboot and PVH use the same numbers. */
export const MEMORY_TYPE = { ram: 1, reserved: 2, acpi: 3 } as const;

export interface MemoryMapEntry extends AddressRange {
  readonly type: (typeof MEMORY_TYPE)[keyof typeof MEMORY_TYPE];
}

/** Where the extended BIOS data area would begin; RAM below it is free for loaders. */
export const CONVENTIONAL_MEMORY_END = 0x9fc00;
export const HIGH_MEMORY_START = 0x100000;
/** The last 128 KiB below 1 MiB: where a guest that got no pointer searches for the RSDP. */
export const ACPI_AREA: AddressRange = { first: 0xe0000, size: 0x20000 };
/** 16 bytes that tell a guest whether it is the machine that it was (VM generation ID); right behind the RSDP. */
export const GENERATION_ID: AddressRange = { first: ACPI_AREA.first + 0x40, size: 16 };
/** Memory-mapped I/O below 4 GiB: VMBus devices (frame buffer, vPCI), then the interrupt controllers. RAM ends below. */
export const LOW_MMIO_WINDOW: AddressRange = { first: 0xf8000000, size: 0x06c00000 };
/** Memory-mapped I/O above 4 GiB; the top of a 36-bit address space, as Hyper-V places it. */
export const HIGH_MMIO_WINDOW: AddressRange = { first: 0xfe0000000, size: 0x20000000 };
/** Memory added to a running guest begins at a multiple of this: a section of Linux's, what its driver asks for. */
export const ADDED_MEMORY_ALIGNMENT = 128 * MIB;
export const IO_APIC_BASE = 0xfec00000;
export const LOCAL_APIC_BASE = 0xfee00000;

/** The memory map that a guest is told, for `memory` bytes of RAM in one piece from address 0. */
export function memoryMap(memory: number): readonly MemoryMapEntry[] {
  const entries: MemoryMapEntry[] = [
    { first: 0, size: Math.min(memory, CONVENTIONAL_MEMORY_END), type: MEMORY_TYPE.ram },
    {
      first: CONVENTIONAL_MEMORY_END,
      size: HIGH_MEMORY_START - CONVENTIONAL_MEMORY_END,
      type: MEMORY_TYPE.reserved,
    },
  ];
  if (memory > HIGH_MEMORY_START)
    entries.push({ first: HIGH_MEMORY_START, size: memory - HIGH_MEMORY_START, type: MEMORY_TYPE.ram });
  return entries;
}

export function overlaps(a: AddressRange, b: AddressRange): boolean {
  return a.first < b.first + b.size && b.first < a.first + a.size;
}

export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

export function alignDown(value: number, alignment: number): number {
  return Math.floor(value / alignment) * alignment;
}

/** The lowest place for `size` bytes at or above `from` that ends by `end` and meets no occupied range. */
export function findFree(
  occupied: readonly AddressRange[],
  size: number,
  place: { readonly from: number; readonly end: number; readonly alignment: number },
): number | undefined {
  let first = alignUp(place.from, place.alignment);
  for (;;) {
    if (first + size > place.end) return undefined;
    const obstacle = occupied.find((range) => overlaps(range, { first, size }));
    if (obstacle === undefined) return first;
    first = alignUp(obstacle.first + obstacle.size, place.alignment);
  }
}
