/**
 * The compressed payload of a bzImage: unpacked once, then taken from the cache. A payload is the compressed kernel ELF
 * followed by its unpacked size (for gzip, whose trailer is that size, nothing is added).
 */

import { CodecError, type Compression, compressionOf, type HostCodecs } from '../support/codec/codec.ts';
import { decodeLz4Legacy } from '../support/codec/lz4.ts';
import { decodeXz } from '../support/codec/xz.ts';
import { isElf, viewOf } from './elf.ts';
import type { BootOptions } from './load-plan.ts';
import { MIB } from './memory-map.ts';

export interface UnpackedPayload {
  readonly bytes: Uint8Array;
  readonly compression: Compression | 'none';
  readonly fromCache: boolean;
}

/** No kernel comes near; a file that claims more is damaged, and must not make us allocate it. */
const MAXIMUM_SIZE = 1024 * MIB;
const SIZE_FIELD = 4;

type Decoder = (payload: Uint8Array, size: number, codecs: HostCodecs | undefined) => Promise<Uint8Array> | Uint8Array;

function required(codecs: HostCodecs | undefined): HostCodecs {
  if (codecs === undefined) throw new CodecError('the host offers no decoder for this format');
  return codecs;
}

const DECODERS: Partial<Record<Compression, Decoder>> = {
  lz4: (payload, size) => decodeLz4Legacy(payload.subarray(0, -SIZE_FIELD), size),
  xz: (payload, size) => decodeXz(payload.subarray(0, -SIZE_FIELD), size),
  gzip: (payload, size, codecs) => required(codecs).gunzip(payload, size),
  zstd: (payload, size, codecs) => required(codecs).unzstd(payload.subarray(0, -SIZE_FIELD), size),
};

/** @returns undefined when the format is none we decode, or the payload is damaged. */
export async function unpackPayload(
  image: Uint8Array,
  payload: Uint8Array,
  options: BootOptions,
): Promise<UnpackedPayload | undefined> {
  if (isElf(payload)) return { bytes: payload, compression: 'none', fromCache: false };
  const compression = compressionOf(payload);
  const decoder = compression && DECODERS[compression];
  if (compression === undefined || decoder === undefined || payload.length < SIZE_FIELD) return undefined;
  const size = viewOf(payload).getUint32(payload.length - SIZE_FIELD, true);
  if (size > MAXIMUM_SIZE) return undefined;

  const key = options.cache === undefined ? undefined : await keyOf(image).catch(() => undefined);
  const valid = (bytes: Uint8Array | undefined): bytes is Uint8Array => bytes?.length === size && isElf(bytes);
  // A cache that fails costs time, never the boot.
  const cached = key === undefined ? undefined : await options.cache?.get(key).catch(() => undefined);
  if (valid(cached)) return { bytes: cached, compression, fromCache: true };

  let bytes: Uint8Array;
  try {
    bytes = await decoder(payload, size, options.codecs);
  } catch {
    // Whatever a host's decoder throws, the kernel's own decompressor gets its chance and reports it on the console.
    return undefined;
  }
  if (!valid(bytes)) return undefined;
  if (key !== undefined) await options.cache?.put(key, bytes).catch(() => undefined);
  return { bytes, compression, fromCache: false };
}

async function keyOf(image: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', image as Uint8Array<ArrayBuffer>));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
