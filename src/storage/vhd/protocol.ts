/**
 * Layouts and limits of VHD: Microsoft's "Virtual Hard Disk Image Format Specification" 1.0 (2006): hard disk footer,
 * dynamic disk header, block allocation table. Everything is big-endian. Nothing here acts.
 */
import { type RecordOf, record } from '../../support/record.ts';

export const SECTOR = 512;
export const FOOTER_SIZE = 512;
export const DYNAMIC_HEADER_SIZE = 1024;

export const Footer = record('big', {
  cookie: 8,
  features: 'u32',
  version: 'u32',
  dataOffset: 'u64',
  timeStamp: 'u32',
  creator: 4,
  creatorVersion: 'u32',
  creatorHost: 4,
  originalSize: 'u64',
  currentSize: 'u64',
  cylinders: 'u16',
  heads: 'u8',
  sectorsPerTrack: 'u8',
  type: 'u32',
  checksum: 'u32',
  uniqueId: 16,
  savedState: 'u8',
});
export type Footer = RecordOf<typeof Footer>;
export const FOOTER_COOKIE = 'conectix';
export const VERSION = 0x10000;
/** Bit 1 is always set. */
export const FEATURES = 2;
export const DiskType = { fixed: 2, dynamic: 3, differencing: 4 } as const;
export const NO_DATA = 0xffff_ffff_ffff_ffffn;

export const DynamicHeader = record('big', {
  cookie: 8,
  dataOffset: 'u64',
  tableOffset: 'u64',
  version: 'u32',
  maxTableEntries: 'u32',
  blockSize: 'u32',
  checksum: 'u32',
  parentId: 16,
  parentTimeStamp: 'u32',
  reserved: 'u32',
  parentName: 512,
  locators: 8 * 24,
});
export type DynamicHeader = RecordOf<typeof DynamicHeader>;
export const DYNAMIC_COOKIE = 'cxsparse';

export const Locator = record('big', {
  platform: 4,
  dataSpace: 'u32',
  dataLength: 'u32',
  reserved: 'u32',
  dataOffset: 'u64',
});
export const LOCATORS = 8;
/** A path relative to the child, UTF-16LE, with backslashes. */
export const RELATIVE_LOCATOR = 'W2ru';
export const MAXIMUM_LOCATOR = 4096;

export const UNUSED_ENTRY = 0xffff_ffff;
export const DEFAULT_BLOCK_SIZE = 2 * 2 ** 20;
export const MINIMUM_BLOCK_SIZE = 4096;
export const MAXIMUM_BLOCK_SIZE = 256 * 2 ** 20;
/** 2040 GiB: the table's entries count sectors in 32 bits. */
export const MAXIMUM_DISK_SIZE = 2040 * 2 ** 30;
/** Seconds from 1970 to 2000, where time stamps begin. */
export const EPOCH = 946_684_800;
/** What the BAT of the largest disk in blocks of 4 KiB would take is refused. */
export const MAXIMUM_TABLE_ENTRIES = 4 * 2 ** 20;
