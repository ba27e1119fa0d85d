/** Small qcow2 files, built byte by byte: the format is only read here, so nothing of ours writes it. */
import { deflateRawSync } from 'node:zlib';
import { ascii } from '../../support/text.ts';
import { EXTENSION_BACKING_FORMAT, HeaderExtension, HeaderV2, HeaderV3, SIGNATURE } from './protocol.ts';

export interface FixtureQcow2 {
  readonly version?: 2 | 3;
  readonly clusterBits?: number;
  readonly size: number;
  /** Clusters by number: bytes, zero, or compressed. */
  readonly clusters: ReadonlyMap<number, { readonly kind: 'data' | 'zero' | 'compressed'; readonly bytes: Uint8Array }>;
  readonly backing?: { readonly path: string; readonly format?: string };
}

export function qcow2File({ version = 3, clusterBits = 16, size, clusters, backing }: FixtureQcow2): Uint8Array {
  const clusterSize = 2 ** clusterBits;
  const perTable = clusterSize / 8;
  const tables = Math.ceil(size / clusterSize / perTable);
  // Header, L1 (one cluster), L2 tables, then data.
  const l2At = 2 * clusterSize;
  let end = l2At + tables * clusterSize;
  const parts: [number, Uint8Array][] = [];
  const l1 = new DataView(new ArrayBuffer(clusterSize));
  const l2 = new DataView(new ArrayBuffer(tables * clusterSize));
  for (let i = 0; i < tables; i++) l1.setBigUint64(i * 8, BigInt(l2At + i * clusterSize) | (1n << 63n));
  for (const [number, { kind, bytes }] of clusters) {
    if (kind === 'zero') l2.setBigUint64(number * 8, 1n);
    else if (kind === 'data') {
      end = Math.ceil(end / clusterSize) * clusterSize;
      parts.push([end, bytes]);
      l2.setBigUint64(number * 8, BigInt(end) | (1n << 63n));
      end += clusterSize;
    } else {
      const packed = deflateRawSync(bytes, { windowBits: 12 });
      const sectors = Math.floor((end + packed.length - 1) / 512) - Math.floor(end / 512);
      const offsetBits = BigInt(62 - (clusterBits - 8));
      l2.setBigUint64(number * 8, (1n << 62n) | (BigInt(sectors) << offsetBits) | BigInt(end));
      parts.push([end, packed]);
      end += packed.length;
    }
  }
  const file = new Uint8Array(Math.ceil(end / 512) * 512);
  HeaderV2.write(file, {
    magic: ascii(SIGNATURE),
    version,
    clusterBits,
    size: BigInt(size),
    l1Size: tables,
    l1TableOffset: BigInt(clusterSize),
  });
  const headerLength = version === 3 ? 104 : 72;
  if (version === 3) HeaderV3.write(file, { refcountOrder: 4, headerLength }, HeaderV2.size);
  if (backing !== undefined) {
    let at = headerLength;
    if (backing.format !== undefined) {
      HeaderExtension.write(file, { type: EXTENSION_BACKING_FORMAT, length: backing.format.length }, at);
      file.set(ascii(backing.format), at + 8);
      at += 8 + Math.ceil(backing.format.length / 8) * 8;
    }
    at += 8;
    file.set(ascii(backing.path), at);
    const view = new DataView(file.buffer);
    view.setBigUint64(HeaderV2.offset('backingFileOffset'), BigInt(at));
    view.setUint32(HeaderV2.offset('backingFileSize'), backing.path.length);
  }
  file.set(new Uint8Array(l1.buffer), clusterSize);
  file.set(new Uint8Array(l2.buffer), l2At);
  for (const [at, bytes] of parts) file.set(bytes, at);
  return file;
}
