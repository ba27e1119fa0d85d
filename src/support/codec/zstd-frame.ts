/** Where a Zstandard frame ends (RFC 8878, section 3.1.1): decoders go on with what follows, which need not be theirs. */
import { CodecError, startsWith } from './codec.ts';

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd] as const;

/** Bytes of the frame that begins at `at`. @throws CodecError when it is none, or is cut off. */
export function zstdFrameLength(bytes: Uint8Array, at = 0): number {
  if (!startsWith(bytes, MAGIC, at)) throw new CodecError('Zstandard: no frame');
  const descriptor = bytes[at + 4] ?? 0;
  const single = (descriptor >> 5) & 1;
  const dictionary = [0, 1, 2, 4][descriptor & 3]!;
  const content = [single, 2, 4, 8][descriptor >> 6]!;
  let end = at + 5 + (1 - single) + dictionary + content;
  for (let last = false; !last; ) {
    if (end + 3 > bytes.length) throw new CodecError('Zstandard: the frame is cut off');
    const header = bytes[end]! | (bytes[end + 1]! << 8) | (bytes[end + 2]! << 16);
    last = (header & 1) === 1;
    // A run is one byte, however long.
    end += 3 + (((header >> 1) & 3) === 1 ? 1 : header >> 3);
  }
  if ((descriptor & 4) !== 0) end += 4;
  if (end > bytes.length) throw new CodecError('Zstandard: the frame is cut off');
  return end - at;
}
