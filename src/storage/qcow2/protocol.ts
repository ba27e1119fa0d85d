/** Layouts and limits of qcow2, versions 2 and 3: QEMU's docs/interop/qcow2.txt. Nothing here acts. */
import { type RecordOf, record } from '../../support/record.ts';

export const SIGNATURE = 'QFI\xfb';

/** What both versions have. */
export const HeaderV2 = record('big', {
  magic: 4,
  version: 'u32',
  backingFileOffset: 'u64',
  backingFileSize: 'u32',
  clusterBits: 'u32',
  size: 'u64',
  cryptMethod: 'u32',
  l1Size: 'u32',
  l1TableOffset: 'u64',
  refcountTableOffset: 'u64',
  refcountTableClusters: 'u32',
  snapshots: 'u32',
  snapshotsOffset: 'u64',
});
export type HeaderV2 = RecordOf<typeof HeaderV2>;

/** What version 3 adds, up to the compression type. */
export const HeaderV3 = record('big', {
  incompatibleFeatures: 'u64',
  compatibleFeatures: 'u64',
  autoclearFeatures: 'u64',
  refcountOrder: 'u32',
  headerLength: 'u32',
});
/** One byte, in headers that are long enough. */
export const COMPRESSION_TYPE_OFFSET = 104;

export const Incompatible = { dirty: 1n, corrupt: 2n, externalData: 4n, compressionType: 8n, extendedL2: 16n } as const;

export const HeaderExtension = record('big', { type: 'u32', length: 'u32' });
export const EXTENSION_END = 0;
export const EXTENSION_BACKING_FORMAT = 0xe2792aca;

export const MINIMUM_CLUSTER_BITS = 9;
export const MAXIMUM_CLUSTER_BITS = 21;
/** QEMU's limit too. */
export const MAXIMUM_L1_BYTES = 32 * 2 ** 20;
export const MAXIMUM_BACKING_NAME = 1023;
/** Room for more than any other format has. */
export const MAXIMUM_SIZE = 2 ** 50;

export const L1_OFFSET_MASK = 0x00ff_ffff_ffff_fe00n;
export const L2_OFFSET_MASK = 0x00ff_ffff_ffff_fe00n;
export const L2_COMPRESSED = 1n << 62n;
export const L2_ZERO = 1n;
