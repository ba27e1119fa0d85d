/** The decoders of Node's zlib, for compressed kernels. */

import { promisify } from 'node:util';
import { gunzip, inflateRaw, zstdDecompress } from 'node:zlib';
import type { HostCodecs } from '../../support/codec/codec.ts';

const gunzipAsync = promisify(gunzip);
const inflateRawAsync = promisify(inflateRaw);
const zstdDecompressAsync = promisify(zstdDecompress);

export const nodeCodecs: HostCodecs = {
  gunzip: (bytes, maximumSize) => gunzipAsync(bytes, { maxOutputLength: maximumSize }),
  unzstd: (bytes, maximumSize) => zstdDecompressAsync(bytes, { maxOutputLength: maximumSize }),
  inflateRaw: (bytes, maximumSize) => inflateRawAsync(bytes, { maxOutputLength: maximumSize }),
};
