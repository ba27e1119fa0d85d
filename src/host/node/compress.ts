/** Zstandard of Node.js, for saved states. */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';

export const zstandard = {
  compress: (bytes: Uint8Array): Uint8Array => zstdCompressSync(bytes),
  decompress: (bytes: Uint8Array): Uint8Array => zstdDecompressSync(bytes, { maxOutputLength: 2 ** 32 - 1 }),
};
