/** Which shared objects a program needs, by their names in its dynamic section (System V ABI, chapter 5), all the way down. */

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_NEEDED = 1;
const DT_STRTAB = 5;

/** Of a 64-bit ELF file; nothing else needs anything. */
export function neededBy(file: Uint8Array): string[] {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  if (file.length < 64 || view.getUint32(0) !== 0x7f454c46 || file[4] !== 2) return [];
  const word = (at: number): number => Number(view.getBigUint64(at, true));
  const headers = Array.from({ length: view.getUint16(56, true) }, (_, i) => word(32) + i * 56).map((at) => ({
    type: view.getUint32(at, true),
    offset: word(at + 8),
    address: word(at + 16),
    size: word(at + 32),
  }));
  const dynamic = headers.find(({ type }) => type === PT_DYNAMIC);
  if (!dynamic) return [];
  const tags = Array.from({ length: dynamic.size / 16 }, (_, i) => dynamic.offset + i * 16).map(
    (at) => [word(at), word(at + 8)] as const,
  );
  const table = tags.find(([tag]) => tag === DT_STRTAB)?.[1] ?? 0;
  const segment = headers.find(
    ({ type, address, size }) => type === PT_LOAD && table >= address && table < address + size,
  );
  if (!segment) return [];
  const strings = table - segment.address + segment.offset;
  return tags
    .filter(([tag]) => tag === DT_NEEDED)
    .map(([, at]) => {
      const end = file.indexOf(0, strings + at);
      return new TextDecoder().decode(file.subarray(strings + at, end));
    });
}
