/**
 * Layouts of ext2, ext3 and ext4 on the disk, and of their journal: Linux's Documentation/filesystems/ext4/, "Data
 * Structures" and "Journal (jbd2)". Nothing here acts.
 */
import { type RecordOf, record } from '../../support/record.ts';

/** From the start of the file system, in bytes. */
export const SUPERBLOCK_OFFSET = 1024;
export const SUPERBLOCK_SIZE = 1024;
export const SUPERBLOCK_CHECKSUM_OFFSET = 1020;
export const MAGIC = 0xef53;

export const Superblock = record('little', {
  inodesCount: 'u32',
  blocksCountLow: 'u32',
  reservedBlocksCountLow: 'u32',
  freeBlocksCountLow: 'u32',
  freeInodesCount: 'u32',
  firstDataBlock: 'u32',
  logBlockSize: 'u32',
  logClusterSize: 'u32',
  blocksPerGroup: 'u32',
  clustersPerGroup: 'u32',
  inodesPerGroup: 'u32',
  mountTime: 'u32',
  writeTime: 'u32',
  mountCount: 'u16',
  maximumMountCount: 'u16',
  magic: 'u16',
  state: 'u16',
  errors: 'u16',
  minorRevision: 'u16',
  lastCheck: 'u32',
  checkInterval: 'u32',
  creatorOs: 'u32',
  revision: 'u32',
  reservedUid: 'u16',
  reservedGid: 'u16',
  firstInode: 'u32',
  inodeSize: 'u16',
  blockGroup: 'u16',
  featureCompat: 'u32',
  featureIncompat: 'u32',
  featureRoCompat: 'u32',
  uuid: 16,
  volumeName: 16,
  lastMounted: 64,
  algorithmBitmap: 'u32',
  preallocate: 4,
  journalUuid: 16,
  journalInode: 'u32',
  journalDevice: 'u32',
  lastOrphan: 'u32',
  hashSeed: 16,
  defaultHashVersion: 'u8',
  journalBackupType: 'u8',
  descriptorSize: 'u16',
  defaultMountOptions: 'u32',
  firstMetaGroup: 'u32',
  makeTime: 'u32',
  journalBlocks: 68,
  blocksCountHigh: 'u32',
  reservedBlocksCountHigh: 'u32',
  freeBlocksCountHigh: 'u32',
  minimumExtraSize: 'u16',
  wantedExtraSize: 'u16',
  flags: 'u32',
  raidStride: 'u16',
  mmpInterval: 'u16',
  mmpBlock: 'u64',
  raidStripeWidth: 'u32',
  logGroupsPerFlex: 'u8',
  checksumType: 'u8',
  encryptionLevel: 'u8',
  padding: 'u8',
  kilobytesWritten: 'u64',
  snapshots: 20,
  errorRecords: 108,
  mountOptions: 64,
  quotaInodes: 8,
  overheadBlocks: 'u32',
  backupGroups: 8,
  encryption: 20,
  lostFoundInode: 'u32',
  projectQuotaInode: 'u32',
  checksumSeed: 'u32',
});
export type Superblock = RecordOf<typeof Superblock>;

export const Incompatible = {
  compression: 0x1,
  fileType: 0x2,
  recover: 0x4,
  journalDevice: 0x8,
  metaGroups: 0x10,
  extents: 0x40,
  bits64: 0x80,
  mmp: 0x100,
  flexGroups: 0x200,
  eaInode: 0x400,
  dirData: 0x1000,
  checksumSeed: 0x2000,
  largeDir: 0x4000,
  inlineData: 0x8000,
  encrypt: 0x10000,
  casefold: 0x20000,
} as const;
/** What a reader must understand and this one does. */
export const READABLE =
  Incompatible.fileType |
  Incompatible.recover |
  Incompatible.metaGroups |
  Incompatible.extents |
  Incompatible.bits64 |
  Incompatible.mmp |
  Incompatible.flexGroups |
  Incompatible.eaInode |
  Incompatible.checksumSeed |
  Incompatible.largeDir |
  Incompatible.inlineData |
  Incompatible.encrypt |
  Incompatible.casefold;

export const Compatible = { sparseSuper2: 0x200 } as const;
export const ReadOnlyCompatible = { sparseSuper: 0x1, metadataChecksum: 0x400 } as const;

/** Bytes of a block group descriptor; with `bits64` at least 64, as the superblock says. */
export const DESCRIPTOR_SIZE = 32;
export const DESCRIPTOR_INODE_TABLE_LOW = 8;
export const DESCRIPTOR_INODE_TABLE_HIGH = 40;

export const Inode = record('little', {
  mode: 'u16',
  uid: 'u16',
  sizeLow: 'u32',
  accessTime: 'u32',
  changeTime: 'u32',
  modificationTime: 'u32',
  deletionTime: 'u32',
  gid: 'u16',
  linksCount: 'u16',
  blocksCount: 'u32',
  flags: 'u32',
  version: 'u32',
  block: 60,
  generation: 'u32',
  fileAcl: 'u32',
  sizeHigh: 'u32',
  fragmentAddress: 'u32',
  blocksCountHigh: 'u16',
  fileAclHigh: 'u16',
  uidHigh: 'u16',
  gidHigh: 'u16',
  checksumLow: 'u16',
  reserved: 'u16',
});
export type Inode = RecordOf<typeof Inode>;
/** Behind the 128 bytes that every inode has. */
export const INODE_EXTRA_SIZE = 128;
export const INODE_CHECKSUM_LOW = 124;
export const INODE_CHECKSUM_HIGH = 130;

export const ROOT_INODE = 2;

/** The type in an inode's mode (inode(7)). */
export const ModeType = { mask: 0o170000, directory: 0o040000, file: 0o100000, symlink: 0o120000 } as const;

export const InodeFlag = { compressed: 0x4, encrypted: 0x800, extents: 0x80000, inlineData: 0x10000000 } as const;

export const ExtentHeader = record('little', {
  magic: 'u16',
  entries: 'u16',
  maximum: 'u16',
  depth: 'u16',
  generation: 'u32',
});
export const EXTENT_MAGIC = 0xf30a;
export const MAXIMUM_EXTENT_DEPTH = 5;
export const ExtentIndex = record('little', { block: 'u32', leafLow: 'u32', leafHigh: 'u16', unused: 'u16' });
export const Extent = record('little', { block: 'u32', length: 'u16', startHigh: 'u16', startLow: 'u32' });
/** A longer extent is this much too long and has never been written: it reads as zeroes. */
export const EXTENT_INITIALIZED = 32768;

/** Block numbers in an inode without extents: direct ones, then one, two and three levels of tables. */
export const DIRECT_BLOCKS = 12;

export const DirectoryEntry = record('little', { inode: 'u32', length: 'u16', nameLength: 'u8', fileType: 'u8' });

/** Attributes inside the inode, behind its extra fields. */
export const ATTRIBUTE_MAGIC = 0xea020000;
export const AttributeEntry = record('little', {
  nameLength: 'u8',
  nameIndex: 'u8',
  valueOffset: 'u16',
  valueInode: 'u32',
  valueSize: 'u32',
  hash: 'u32',
});
/** "system.data": the rest of inline data. */
export const ATTRIBUTE_SYSTEM = 7;
export const ATTRIBUTE_DATA = 'data';

// ---- the journal, big-endian --------------------------------------------------------------------------------------------

export const JOURNAL_MAGIC = 0xc03b3998;
export const JournalHeader = record('big', { magic: 'u32', type: 'u32', sequence: 'u32' });
export const JournalBlock = { descriptor: 1, commit: 2, superblockV1: 3, superblockV2: 4, revoke: 5 } as const;

export const JournalSuperblock = record('big', {
  magic: 'u32',
  type: 'u32',
  headerSequence: 'u32',
  blockSize: 'u32',
  maximumLength: 'u32',
  first: 'u32',
  sequence: 'u32',
  start: 'u32',
  error: 'u32',
  featureCompat: 'u32',
  featureIncompat: 'u32',
  featureRoCompat: 'u32',
  uuid: 16,
  users: 'u32',
  dynamicSuper: 'u32',
  maximumTransaction: 'u32',
  maximumTransactionData: 'u32',
  checksumType: 'u8',
  padding: 3,
  fastCommitBlocks: 'u32',
});

export const JournalFeature = {
  revoke: 0x1,
  bits64: 0x2,
  asyncCommit: 0x4,
  checksumV2: 0x8,
  checksumV3: 0x10,
  fastCommit: 0x20,
} as const;

export const JournalTag = { escaped: 1, sameUuid: 2, last: 8 } as const;
