/**
 * ELF executables, 32 and 64 bit, little-endian, for the x86 (System V ABI, "Object Files": ELF header, program header,
 * note section). Only what a loader needs: loadable segments, entry point, notes. Every offset is checked.
 */

import { KernelImageError } from './load-plan.ts';

const ELF_MAGIC = 0x464c457f;
const ELFCLASS32 = 1;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ET_EXEC = 2;
const EM_386 = 3;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;

export interface ElfSegment {
  readonly virtual: number;
  readonly physical: number;
  /** The file's bytes, a view of the image. */
  readonly bytes: Uint8Array;
  /** At least bytes.length; the rest is zero. */
  readonly memorySize: number;
}

export interface ElfNote {
  readonly name: string;
  readonly type: number;
  readonly description: Uint8Array;
}

export interface ElfImage {
  readonly bits: 32 | 64;
  /** Guest-physical: a virtual e_entry is translated by the segment that holds it. */
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
  readonly notes: readonly ElfNote[];
  /** Where the highest segment ends. */
  readonly end: number;
}

interface ProgramHeader {
  readonly type: number;
  readonly offset: number;
  readonly virtual: number;
  readonly physical: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly alignment: number;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function isElf(image: Uint8Array): boolean {
  return image.length >= 4 && viewOf(image).getUint32(0, true) === ELF_MAGIC;
}

/** @throws KernelImageError when the file is not an x86 ELF executable, or is truncated. */
export function parseElf(image: Uint8Array): ElfImage {
  if (!isElf(image)) throw new KernelImageError('not an ELF file');
  if (image.length < 52) throw new KernelImageError('the ELF file is truncated in its header');
  const view = viewOf(image);
  const elfClass = view.getUint8(4);
  const bits = elfClass === ELFCLASS64 ? 64 : 32;
  if (elfClass !== ELFCLASS32 && elfClass !== ELFCLASS64) throw new KernelImageError('the ELF file has no valid class');
  const machine = view.getUint16(18, true);
  if (view.getUint8(5) !== ELFDATA2LSB || (machine !== EM_386 && machine !== EM_X86_64))
    throw new KernelImageError(`the ELF file is for another processor (machine ${machine}), not for x86`);
  if (view.getUint16(16, true) !== ET_EXEC)
    throw new KernelImageError('the ELF file is not an executable (an object, a library or position-independent)');
  if (bits === 64 && image.length < 64) throw new KernelImageError('the ELF file is truncated in its header');

  const headers = programHeaders(image, bits);
  const loads = headers.filter((header) => header.type === PT_LOAD && header.memorySize > 0);
  if (loads.length === 0) throw new KernelImageError('the ELF file has nothing to load');
  const segments = loads.map((header) => {
    if (header.fileSize > header.memorySize) throw new KernelImageError('the ELF file has a malformed segment');
    if (!Number.isSafeInteger(header.physical + header.memorySize))
      throw new KernelImageError('the ELF file is linked beyond any physical address');
    return {
      virtual: header.virtual,
      physical: header.physical,
      bytes: slice(image, header.offset, header.fileSize),
      memorySize: header.memorySize,
    };
  });
  const sorted = [...segments].sort((a, b) => a.physical - b.physical);
  for (const [i, segment] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next !== undefined && segment.physical + segment.memorySize > next.physical)
      throw new KernelImageError('the ELF file has overlapping segments');
  }
  const last = sorted.at(-1) as ElfSegment;
  return {
    bits,
    entry: physicalEntry(word(view, 24, bits), segments),
    segments,
    notes: headers.filter((header) => header.type === PT_NOTE).flatMap((header) => readNotes(image, header)),
    end: last.physical + last.memorySize,
  };
}

/** A number of the file's word size. Values of 2^53 and above lose low bits; they are compared with limits far below. */
function word(view: DataView, at: number, bits: 32 | 64): number {
  return bits === 64 ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true);
}

function slice(image: Uint8Array, offset: number, size: number): Uint8Array {
  if (offset > image.length || size > image.length - offset)
    throw new KernelImageError(`the ELF file is truncated: ${image.length} bytes, a segment ends at ${offset + size}`);
  return image.subarray(offset, offset + size);
}

function programHeaders(image: Uint8Array, bits: 32 | 64): readonly ProgramHeader[] {
  const view = viewOf(image);
  const offset = word(view, bits === 64 ? 32 : 28, bits);
  const entrySize = view.getUint16(bits === 64 ? 54 : 42, true);
  const count = view.getUint16(bits === 64 ? 56 : 44, true);
  if (count > 0 && entrySize < (bits === 64 ? 56 : 32))
    throw new KernelImageError('the ELF file has malformed program headers');
  const headers: ProgramHeader[] = [];
  for (let i = 0; i < count; i++) {
    const header = viewOf(slice(image, offset + i * entrySize, entrySize));
    headers.push(
      bits === 64
        ? {
            type: header.getUint32(0, true),
            offset: word(header, 8, bits),
            virtual: word(header, 16, bits),
            physical: word(header, 24, bits),
            fileSize: word(header, 32, bits),
            memorySize: word(header, 40, bits),
            alignment: word(header, 48, bits),
          }
        : {
            type: header.getUint32(0, true),
            offset: word(header, 4, bits),
            virtual: word(header, 8, bits),
            physical: word(header, 12, bits),
            fileSize: word(header, 16, bits),
            memorySize: word(header, 20, bits),
            alignment: word(header, 28, bits),
          },
    );
  }
  return headers;
}

function physicalEntry(entry: number, segments: readonly ElfSegment[]): number {
  const holder = segments.find((s) => entry >= s.virtual && entry - s.virtual < s.memorySize);
  const physical = holder === undefined ? entry : entry - holder.virtual + holder.physical;
  if (!segments.some((s) => physical >= s.physical && physical - s.physical < s.memorySize))
    throw new KernelImageError(`the ELF file's entry point 0x${entry.toString(16)} is in none of its segments`);
  return physical;
}

function readNotes(image: Uint8Array, header: ProgramHeader): readonly ElfNote[] {
  const bytes = slice(image, header.offset, header.fileSize);
  const view = viewOf(bytes);
  const alignment = header.alignment === 8 ? 8 : 4;
  const notes: ElfNote[] = [];
  let at = 0;
  while (at + 12 <= bytes.length) {
    const nameSize = view.getUint32(at, true);
    const descriptionSize = view.getUint32(at + 4, true);
    const type = view.getUint32(at + 8, true);
    const descriptionAt = Math.ceil((at + 12 + nameSize) / alignment) * alignment;
    if (descriptionAt + descriptionSize > bytes.length) throw new KernelImageError('the ELF file has a malformed note');
    const name = String.fromCharCode(...bytes.subarray(at + 12, at + 12 + Math.min(nameSize, 64)));
    notes.push({
      name: name.replace(/\0.*$/s, ''),
      type,
      description: bytes.subarray(descriptionAt, descriptionAt + descriptionSize),
    });
    at = Math.ceil((descriptionAt + descriptionSize) / alignment) * alignment;
  }
  return notes;
}
