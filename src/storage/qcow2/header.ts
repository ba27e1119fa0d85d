/** The header of a qcow2 file, checked: QEMU's docs/interop/qcow2.txt, "Header" and "Header extensions". */
import type { RandomFile } from '../../host/disk-files.ts';
import { hasSignature } from '../../support/text.ts';
import { DiskError } from '../disk.ts';
import {
  COMPRESSION_TYPE_OFFSET,
  EXTENSION_BACKING_FORMAT,
  EXTENSION_END,
  HeaderExtension,
  HeaderV2,
  HeaderV3,
  Incompatible,
  MAXIMUM_BACKING_NAME,
  MAXIMUM_CLUSTER_BITS,
  MAXIMUM_L1_BYTES,
  MAXIMUM_SIZE,
  MINIMUM_CLUSTER_BITS,
  SIGNATURE,
} from './protocol.ts';

export interface Qcow2Header {
  readonly version: number;
  readonly size: number;
  readonly clusterSize: number;
  readonly l1Offset: number;
  readonly l1Entries: number;
  readonly compression: 'deflate' | 'zstd';
  readonly snapshots: number;
  /** The file was not closed properly; its reference counts may be wrong, which does not matter to a reader. */
  readonly dirty: boolean;
  readonly backing: { readonly path: string; readonly format: string | undefined } | undefined;
}

/** Header, extensions and the backing file's name lie in the first cluster. */
const LARGEST_CLUSTER = 2 ** MAXIMUM_CLUSTER_BITS;

export async function readHeader(file: RandomFile): Promise<Qcow2Header> {
  const corrupt = (text: string): DiskError => new DiskError('corrupt', `${file.path}: damaged qcow2: ${text}`);
  const unsupported = (text: string): DiskError => new DiskError('unsupported', `${file.path}: ${text}`);
  const fileSize = await file.size();
  const head = new Uint8Array(Math.min(fileSize, LARGEST_CLUSTER));
  await file.read(0, head);
  if (!hasSignature(head, SIGNATURE)) throw corrupt('the signature is missing: is it a qcow2?');
  if (head.length < HeaderV2.size) throw corrupt('the header is cut off');
  const header = HeaderV2.read(head);
  const { version, clusterBits } = header;
  if (version !== 2 && version !== 3) throw unsupported(`version ${version} of qcow2 is unknown`);
  if (clusterBits < MINIMUM_CLUSTER_BITS || clusterBits > MAXIMUM_CLUSTER_BITS)
    throw corrupt(`clusters of 2^${clusterBits} bytes`);
  const clusterSize = 2 ** clusterBits;
  if (header.cryptMethod !== 0) throw unsupported('encrypted qcow2 is not supported');

  let headerLength = HeaderV2.size;
  let features = 0n;
  let compression: Qcow2Header['compression'] = 'deflate';
  if (version === 3) {
    if (head.length < HeaderV2.size + HeaderV3.size) throw corrupt('the header is cut off');
    const more = HeaderV3.read(head, HeaderV2.size);
    headerLength = more.headerLength;
    features = more.incompatibleFeatures;
    if (headerLength < HeaderV2.size + HeaderV3.size || headerLength > Math.min(clusterSize, head.length))
      throw corrupt(`a header of ${headerLength} bytes`);
    if ((features & Incompatible.externalData) !== 0n)
      throw unsupported('a qcow2 with its data in another file is not supported');
    if ((features & Incompatible.extendedL2) !== 0n)
      throw unsupported('a qcow2 with sub-clusters (extended L2 entries) is not supported');
    const known = Object.values(Incompatible).reduce((all, bit) => all | bit, 0n);
    if ((features & ~known) !== 0n) throw unsupported(`a qcow2 with unknown features (0x${features.toString(16)})`);
    if ((features & Incompatible.compressionType) !== 0n) {
      const type = headerLength > COMPRESSION_TYPE_OFFSET ? head[COMPRESSION_TYPE_OFFSET] : 0;
      if (type === 1) compression = 'zstd';
      else if (type !== 0) throw unsupported(`compression type ${type} is unknown`);
    }
  }

  if (header.size > BigInt(MAXIMUM_SIZE)) throw unsupported(`a disk of ${header.size} bytes`);
  const size = Number(header.size);
  if (size === 0) throw unsupported('the disk is empty');
  const perTable = clusterSize / 8;
  const l1Needed = Math.ceil(size / (clusterSize * perTable));
  if (header.l1Size < l1Needed || l1Needed * 8 > MAXIMUM_L1_BYTES)
    throw corrupt(`an L1 table of ${header.l1Size} entries, ${l1Needed} needed`);
  if (
    header.l1TableOffset % BigInt(clusterSize) !== 0n ||
    header.l1TableOffset + BigInt(l1Needed * 8) > BigInt(fileSize)
  )
    throw corrupt(`the L1 table has an impossible place (${header.l1TableOffset})`);

  return {
    version,
    size,
    clusterSize,
    l1Offset: Number(header.l1TableOffset),
    l1Entries: l1Needed,
    compression,
    snapshots: header.snapshots,
    dirty: (features & Incompatible.dirty) !== 0n,
    backing: readBacking(),
  };

  function readBacking(): Qcow2Header['backing'] {
    const { backingFileOffset, backingFileSize } = header;
    if (backingFileOffset === 0n) return undefined;
    if (backingFileSize === 0 || backingFileSize > MAXIMUM_BACKING_NAME || backingFileOffset > BigInt(clusterSize))
      throw corrupt("the backing file's name has an impossible place");
    const at = Number(backingFileOffset);
    if (at + backingFileSize > head.length) throw corrupt("the backing file's name is cut off");
    const text = new TextDecoder();
    let format: string | undefined;
    for (let e = headerLength; e + HeaderExtension.size <= Math.min(at, head.length); ) {
      const { type, length } = HeaderExtension.read(head, e);
      if (type === EXTENSION_END) break;
      const data = head.subarray(e + HeaderExtension.size, e + HeaderExtension.size + length);
      if (data.length < length) throw corrupt('a header extension is cut off');
      if (type === EXTENSION_BACKING_FORMAT) format = text.decode(data);
      e += HeaderExtension.size + Math.ceil(length / 8) * 8;
    }
    return { path: text.decode(head.subarray(at, at + backingFileSize)), format };
  }
}
