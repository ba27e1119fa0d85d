/**
 * Compressed kernels and RAM disks: which format a file is in, and the port through which a host offers the formats
 * that its own run time already decodes (gzip and Zstandard). LZ4 and XZ are decoded by our own code beside this file.
 */

/** The bytes are not what their format says. The message is one line and names the format. */
export class CodecError extends Error {
  override readonly name = 'CodecError';
}

/** Decoders of the host's run time. Each rejects, with any error, damaged input and output above `maximumSize` bytes. */
export interface HostCodecs {
  gunzip(bytes: Uint8Array, maximumSize: number): Promise<Uint8Array>;
  unzstd(bytes: Uint8Array, maximumSize: number): Promise<Uint8Array>;
  /** Deflate without a header (RFC 1951); what follows its end is ignored. */
  inflateRaw(bytes: Uint8Array, maximumSize: number): Promise<Uint8Array>;
}

const MAGIC = {
  gzip: [0x1f, 0x8b],
  lz4: [0x02, 0x21, 0x4c, 0x18],
  xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
  zstd: [0x28, 0xb5, 0x2f, 0xfd],
  bzip2: [0x42, 0x5a, 0x68],
  lzma: [0x5d, 0x00, 0x00],
  lzo: [0x89, 0x4c, 0x5a, 0x4f],
} as const satisfies Record<string, readonly number[]>;

export type Compression = keyof typeof MAGIC;

export function startsWith(bytes: Uint8Array, magic: readonly number[], at = 0): boolean {
  return magic.every((byte, i) => bytes[at + i] === byte);
}

/** The compression format that the first bytes announce. `lz4` is the legacy frame, the one that kernels use. */
export function compressionOf(bytes: Uint8Array): Compression | undefined {
  return (Object.keys(MAGIC) as Compression[]).find((name) => startsWith(bytes, MAGIC[name]));
}
