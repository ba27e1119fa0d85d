/** Zstandard of Node.js, for saved states. */
import { promisify } from 'node:util';
import { zstdCompress, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { Compression } from '../services.ts';

const later = promisify(zstdCompress);

export const zstandard: Compression = {
  compress: (bytes) => zstdCompressSync(bytes),
  compressLater: (bytes) => later(bytes),
  decompress: (bytes, limit) => zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, limit) }),
};
