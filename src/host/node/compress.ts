/** Zstandard of Node.js, for saved states. */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { Compression } from '../services.ts';

export const zstandard: Compression = {
  compress: (bytes) => zstdCompressSync(bytes),
  decompress: (bytes, limit) => zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, limit) }),
};
