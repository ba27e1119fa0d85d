/**
 * Partition tables on the disk: the GUID partition table (UEFI specification 2.10, section 5.3) and the older one in the
 * master boot record (section 5.2). Nothing here acts.
 */
import { record } from '../../support/record.ts';

export const MBR_SIZE = 512;
export const MBR_ENTRIES = 446;
export const MBR_ENTRY_COUNT = 4;
export const MBR_DISK_ID = 440;
export const MBR_SIGNATURE = 510;

export const MbrEntry = record('little', {
  bootIndicator: 'u8',
  startingChs: 3,
  type: 'u8',
  endingChs: 3,
  startingLba: 'u32',
  sizeInLba: 'u32',
});

export const MbrType = { empty: 0x00, gptProtective: 0xee } as const;
/** A partition that holds a table of further ones. */
export const EXTENDED_TYPES: readonly number[] = [0x05, 0x0f, 0x85];

export const GPT_SIGNATURE = 'EFI PART';
export const GPT_REVISION = 0x0001_0000;
export const GptHeader = record('little', {
  signature: 8,
  revision: 'u32',
  headerSize: 'u32',
  headerCrc32: 'u32',
  reserved: 'u32',
  myLba: 'u64',
  alternateLba: 'u64',
  firstUsableLba: 'u64',
  lastUsableLba: 'u64',
  diskGuid: 16,
  partitionEntryLba: 'u64',
  numberOfPartitionEntries: 'u32',
  sizeOfPartitionEntry: 'u32',
  partitionEntryArrayCrc32: 'u32',
});
export const GPT_HEADER_CRC = 16;

export const GptEntry = record('little', {
  partitionTypeGuid: 16,
  uniquePartitionGuid: 16,
  startingLba: 'u64',
  endingLba: 'u64',
  attributes: 'u64',
  partitionName: 72,
});
/** Entries that a new table has room for: the least that the specification allows. */
export const GPT_ENTRIES = 128;

/** Types of partitions (the Discoverable Partitions Specification, and UEFI's). */
export const PartitionType = {
  linuxRootX64: '4f68bce3-e8cd-4db1-96e7-fbcaf984b709',
} as const;
