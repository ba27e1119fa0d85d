/**
 * The .xz container (The .xz File Format 1.1.0): stream header, blocks, index, footer. Filters: LZMA2, alone or behind the
 * x86 branch filter, which is what Linux kernels use. The block check is verified when it is CRC32 (kernels) or none.
 */

import { CodecError, startsWith } from './codec.ts';
import { crc32 } from './crc32.ts';
import { Lzma2Decoder } from './lzma2.ts';

const HEADER_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] as const;
const STREAM_HEADER_SIZE = 12;
const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;
const CHECK_CRC32 = 1;
/** Bytes of a block check, by its type (section 2.1.1.2). */
const CHECK_SIZE = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64] as const;

/**
 * Unpacks one .xz stream whose content is exactly `size` bytes.
 * @throws CodecError when the stream is damaged, uses another filter or has content of another size.
 */
export function decodeXz(bytes: Uint8Array, size: number): Uint8Array {
  // LZMA's longest match is 273 bytes and costs no less than some hundredths of a byte: 10,000 to 1 is beyond its reach.
  if (size > bytes.length * 10_000) throw new CodecError(`XZ: ${bytes.length} bytes cannot hold ${size}`);
  if (bytes.length < STREAM_HEADER_SIZE || !startsWith(bytes, HEADER_MAGIC))
    throw new CodecError('XZ: no stream header');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(8, true) !== crc32(bytes.subarray(6, 8))) throw new CodecError('XZ: damaged stream header');
  const check = view.getUint8(7) & 0x0f;
  const output = new Uint8Array(size);
  const decoder = new Lzma2Decoder(bytes, output);
  let at = STREAM_HEADER_SIZE;
  let out = 0;
  // A zero where a block header's size would stand begins the index.
  while (bytes[at] !== 0) {
    const header = readBlockHeader(bytes, at);
    const end = decoder.decode(header.end, out);
    const content = output.subarray(out, end.out);
    if (header.x86) decodeX86Branches(content);
    at = Math.ceil(end.at / 4) * 4;
    if (at + (CHECK_SIZE[check] as number) > bytes.length) throw new CodecError('XZ: truncated');
    if (check === CHECK_CRC32 && view.getUint32(at, true) !== crc32(content))
      throw new CodecError('XZ: wrong checksum');
    at += CHECK_SIZE[check] as number;
    out = end.out;
  }
  if (out !== size) throw new CodecError(`XZ: ${out} bytes of content, ${size} expected`);
  return output;
}

/** Section 3.1. Sizes in the header are optional and not needed: LZMA2 marks its own end. */
function readBlockHeader(bytes: Uint8Array, start: number): { readonly end: number; readonly x86: boolean } {
  const sizeByte = bytes[start];
  if (sizeByte === undefined) throw new CodecError('XZ: truncated');
  const end = start + (sizeByte + 1) * 4;
  if (end > bytes.length) throw new CodecError('XZ: truncated');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const checksumAt = end - 4;
  if (view.getUint32(checksumAt, true) !== crc32(bytes.subarray(start, checksumAt)))
    throw new CodecError('XZ: damaged block header');

  let at = start + 1;
  const flags = bytes[at++] as number;
  const integer = (): number => {
    let value = 0;
    for (let scale = 1; at < checksumAt && scale < 2 ** 49; scale *= 128) {
      const byte = bytes[at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw new CodecError('XZ: bad block header');
  };
  if (flags & 0x40) integer();
  if (flags & 0x80) integer();
  const filters: number[] = [];
  for (let i = 0; i <= (flags & 3); i++) {
    const filter = integer();
    const propertiesSize = integer();
    // The branch filter's only property is a start offset, which nothing writes.
    if (filter === FILTER_X86 && propertiesSize !== 0) throw new CodecError('XZ: x86 filter with a start offset');
    at += propertiesSize;
    filters.push(filter);
  }
  const x86 = filters[0] === FILTER_X86;
  if (filters.length !== (x86 ? 2 : 1) || filters.at(-1) !== FILTER_LZMA2)
    throw new CodecError(`XZ: unsupported filters ${filters.map((id) => `0x${id.toString(16)}`).join(', ')}`);
  return { end, x86 };
}

/** For each pattern of recent opcode bytes: may a branch follow, and which displacement byte was disturbed by them. */
const BRANCH_ALLOWED = [true, true, true, false, true, false, false, false] as const;
const DISTURBED_BYTE = [0, 1, 2, 2, 3, 3, 3, 3] as const;

function isSignByte(byte: number): boolean {
  return byte === 0x00 || byte === 0xff;
}

/**
 * Undoes the x86 branch filter in place: the displacements of CALL (E8) and JMP (E9) were made absolute so that calls of
 * one function look alike. `recent` is a 3-bit history of opcode bytes that were seen inside the last displacement.
 */
export function decodeX86Branches(bytes: Uint8Array): void {
  const end = bytes.length - 4;
  let last = -1;
  let recent = 0;
  for (let at = 0; at < end; at++) {
    if (((bytes[at] as number) & 0xfe) !== 0xe8) continue;
    const distance = at - last;
    last = at;
    if (distance > 3) recent = 0;
    else {
      recent = (recent << (distance - 1)) & 7;
      const disturbed = bytes[at + 4 - (DISTURBED_BYTE[recent] as number)] as number;
      if (recent !== 0 && (!BRANCH_ALLOWED[recent] || isSignByte(disturbed))) {
        recent = ((recent << 1) & 7) | 1;
        continue;
      }
    }
    if (!isSignByte(bytes[at + 4] as number)) {
      recent = ((recent << 1) & 7) | 1;
      continue;
    }
    let absolute =
      (bytes[at + 1] as number) |
      ((bytes[at + 2] as number) << 8) |
      ((bytes[at + 3] as number) << 16) |
      ((bytes[at + 4] as number) << 24);
    let relative = (absolute - (at + 5)) | 0;
    if (recent !== 0) {
      const shift = (DISTURBED_BYTE[recent] as number) * 8;
      while (isSignByte((relative >>> (24 - shift)) & 0xff)) {
        absolute = relative ^ ((1 << (32 - shift)) - 1);
        relative = (absolute - (at + 5)) | 0;
      }
    }
    bytes[at + 1] = relative;
    bytes[at + 2] = relative >>> 8;
    bytes[at + 3] = relative >>> 16;
    bytes[at + 4] = (relative >>> 24) & 1 ? 0xff : 0x00;
    recent = 0;
    at += 4;
  }
}
