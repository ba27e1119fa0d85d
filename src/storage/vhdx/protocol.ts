/** Layouts, identifiers and limits of VHDX: [MS-VHDX] sections 2.2 to 2.6. Nothing here acts. */
import { guidBytes } from '../../support/guid.ts';
import { type RecordOf, record } from '../../support/record.ts';

export const KIB = 2 ** 10;
export const MIB = 2 ** 20;

/** 2.2.1 */
export const FILE_SIGNATURE = 'vhdxfile';
/** 2.2.2: two headers, one of which is current. */
export const HEADER_OFFSETS = [64 * KIB, 128 * KIB] as const;
export const HEADER_SIZE = 4 * KIB;
/** 2.2.3 */
export const REGION_TABLE_OFFSETS = [192 * KIB, 256 * KIB] as const;
export const REGION_TABLE_SIZE = 64 * KIB;
export const MAXIMUM_REGIONS = 2047;
/** Everything but the headers and region tables starts here or later. */
export const FIRST_OBJECT = MIB;

export const Header = record('little', {
  signature: 4,
  checksum: 'u32',
  sequenceNumber: 'u64',
  fileWriteGuid: 16,
  dataWriteGuid: 16,
  logGuid: 16,
  logVersion: 'u16',
  version: 'u16',
  logLength: 'u32',
  logOffset: 'u64',
});
export type Header = RecordOf<typeof Header>;
export const HEADER_SIGNATURE = 'head';
export const CHECKSUM_OFFSET = 4;

export const RegionTableHeader = record('little', {
  signature: 4,
  checksum: 'u32',
  entryCount: 'u32',
  reserved: 'u32',
});
export const REGION_SIGNATURE = 'regi';
export const RegionEntry = record('little', { guid: 16, fileOffset: 'u64', length: 'u32', required: 'u32' });

export const BAT_REGION = guidBytes('2DC27766-F623-4200-9D64-115E9BFD4A08');
export const METADATA_REGION = guidBytes('8B7CA206-4790-4B9A-B8FE-575F050F886E');

/** 2.3.1.1 */
export const LOG_SECTOR = 4 * KIB;
export const LogEntryHeader = record('little', {
  signature: 4,
  checksum: 'u32',
  entryLength: 'u32',
  tail: 'u32',
  sequenceNumber: 'u64',
  descriptorCount: 'u32',
  reserved: 'u32',
  logGuid: 16,
  flushedFileOffset: 'u64',
  lastFileOffset: 'u64',
});
export const LOG_SIGNATURE = 'loge';
export const LOG_DESCRIPTOR_SIZE = 32;
/** 2.3.1.2 */
export const ZeroDescriptor = record('little', {
  signature: 4,
  reserved: 'u32',
  zeroLength: 'u64',
  fileOffset: 'u64',
  sequenceNumber: 'u64',
});
export const ZERO_SIGNATURE = 'zero';
/** 2.3.1.3 */
export const DataDescriptor = record('little', {
  signature: 4,
  trailingBytes: 4,
  leadingBytes: 8,
  fileOffset: 'u64',
  sequenceNumber: 'u64',
});
export const DESCRIPTOR_SIGNATURE = 'desc';
/** 2.3.1.4 */
export const DATA_SIGNATURE = 'data';

/** 2.5.1: bits 0 to 2 of an entry; bits 20 to 63 are the file offset in MiB. */
export const BlockState = {
  notPresent: 0,
  undefined: 1,
  zero: 2,
  unmapped: 3,
  fullyPresent: 6,
  partiallyPresent: 7,
} as const;
export const BAT_ENTRY_SIZE = 8;
/** Bits of a sector bitmap block, 2.4. */
export const SECTORS_PER_BITMAP = 2 ** 23;
export const BITMAP_BLOCK_SIZE = MIB;

/** 2.6.1 */
export const METADATA_TABLE_SIZE = 64 * KIB;
export const MAXIMUM_METADATA_ITEMS = 2047;
export const MetadataTableHeader = record('little', {
  signature: 8,
  reserved: 'u16',
  entryCount: 'u16',
  reserved2: 20,
});
export const METADATA_SIGNATURE = 'metadata';
export const MetadataEntry = record('little', {
  itemId: 16,
  offset: 'u32',
  length: 'u32',
  flags: 'u32',
  reserved: 'u32',
});
export const MetadataFlag = { user: 1, virtualDisk: 2, required: 4 } as const;

/** 2.6.2 */
export const FILE_PARAMETERS = guidBytes('CAA16737-FA36-4D43-B3B6-33F0AA44E76B');
export const VIRTUAL_DISK_SIZE = guidBytes('2FA54224-CD1B-4876-B211-5DBED83BF4B8');
export const VIRTUAL_DISK_ID = guidBytes('BECA12AB-B2E6-4523-93EF-C309E000C746');
export const LOGICAL_SECTOR_SIZE = guidBytes('8141BF1D-A96F-4709-BA47-F233A8FAAB5F');
export const PHYSICAL_SECTOR_SIZE = guidBytes('CDA348C7-445D-4471-9CC9-E9885251C556');
export const PARENT_LOCATOR = guidBytes('A8D35F2D-B30B-454D-ABF7-D3D84834AB0C');

export const FileParameters = record('little', { blockSize: 'u32', flags: 'u32' });
export const FileFlag = { leaveBlocksAllocated: 1, hasParent: 2 } as const;

/** 2.6.2.6 */
export const LocatorHeader = record('little', { type: 16, reserved: 'u16', count: 'u16' });
export const LocatorEntry = record('little', {
  keyOffset: 'u32',
  valueOffset: 'u32',
  keyLength: 'u16',
  valueLength: 'u16',
});
export const VHDX_LOCATOR = guidBytes('B04AEFB7-D19E-4A81-B789-25B8E9445913');

export const MINIMUM_BLOCK_SIZE = MIB;
export const MAXIMUM_BLOCK_SIZE = 256 * MIB;
export const MAXIMUM_DISK_SIZE = 64 * 2 ** 40;
/** No file of ours has a reason to be larger: a full disk of the maximum size with its bitmaps. */
export const MAXIMUM_FILE_SIZE = 2 ** 47;
