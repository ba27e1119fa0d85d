/**
 * The LZ4 legacy frame ("LZ4 Frame Format Description", section "Legacy frame"; "LZ4 Block Format Description"): a magic
 * number, then blocks of at most 8 MiB of content, each preceded by its compressed size. Linux kernels use it.
 */

import { CodecError } from './codec.ts';

const LEGACY_MAGIC = 0x184c2102;
const MINIMUM_MATCH = 4;
/** Above this many bytes one bulk copy is cheaper than a loop (measured on a Linux kernel). */
const BULK = 24;

/**
 * Unpacks a whole legacy frame whose content is exactly `size` bytes.
 * @throws CodecError when the frame is damaged or its content has another size.
 */
export function decodeLz4Legacy(bytes: Uint8Array, size: number): Uint8Array {
  // A sequence of n compressed bytes never gives more than 255 * n bytes, so a wild size is refused before it is allocated.
  if (size > bytes.length * 255) throw new CodecError(`LZ4: ${bytes.length} bytes cannot hold ${size}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4 || view.getUint32(0, true) !== LEGACY_MAGIC) throw new CodecError('LZ4: not a legacy frame');
  const output = new Uint8Array(size);
  let at = 4;
  let written = 0;
  while (at < bytes.length) {
    if (bytes.length - at < 4) throw new CodecError('LZ4: truncated block size');
    const blockSize = view.getUint32(at, true);
    at += 4;
    // Frames may be concatenated: a further magic number stands where a block size would.
    if (blockSize === LEGACY_MAGIC) continue;
    if (blockSize > bytes.length - at) throw new CodecError('LZ4: truncated block');
    written = decodeBlock(bytes, at, at + blockSize, output, written);
    at += blockSize;
  }
  if (written !== size) throw new CodecError(`LZ4: ${written} bytes of content, ${size} expected`);
  return output;
}

/** Decodes one block of sequences to output[start..] and returns where its content ends. */
function decodeBlock(input: Uint8Array, from: number, end: number, output: Uint8Array, start: number): number {
  const size = output.length;
  let at = from;
  let out = start;
  while (at < end) {
    const token = input[at++] as number;

    let literals = token >>> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255) {
        if (at >= end) throw new CodecError('LZ4: truncated literal length');
        more = input[at++] as number;
        literals += more;
      }
    }
    if (literals > end - at || literals > size - out) throw new CodecError('LZ4: literals run past the end');
    if (literals > BULK) output.set(input.subarray(at, at + literals), out);
    else for (let i = 0; i < literals; i++) output[out + i] = input[at + i] as number;
    at += literals;
    out += literals;
    // The last sequence of a block is literals only.
    if (at === end) return out;

    if (end - at < 2) throw new CodecError('LZ4: truncated match offset');
    const offset = (input[at] as number) | ((input[at + 1] as number) << 8);
    at += 2;
    if (offset === 0 || offset > out - start) throw new CodecError('LZ4: a match reaches before its block');
    let length = (token & 15) + MINIMUM_MATCH;
    if ((token & 15) === 15) {
      let more = 255;
      while (more === 255) {
        if (at >= end) throw new CodecError('LZ4: truncated match length');
        more = input[at++] as number;
        length += more;
      }
    }
    if (length > size - out) throw new CodecError('LZ4: a match runs past the end');
    // A match may overlap its own output: then it repeats, which only a forward byte copy does.
    if (length > BULK && offset >= length) output.copyWithin(out, out - offset, out - offset + length);
    else for (let i = 0; i < length; i++) output[out + i] = output[out + i - offset] as number;
    out += length;
  }
  return out;
}
