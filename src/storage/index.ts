/** What others use of this room. */
export { type BootFile, type BootFiles, findBootFiles } from './boot-files.ts';
export { type CheckOptions, type CheckReport, checkDisk } from './check.ts';
export { compactDisk, type Progress } from './compact.ts';
export { allocatedRanges, convertDisk, mergeIntoParent } from './copy.ts';
export { createDisk, type DiskType, type NewDisk } from './create.ts';
export { type Disk, DiskError, type DiskFormat, type DiskRange, type DiskTrouble, troubleOf } from './disk.ts';
export { Ext4 } from './ext4/file-system.ts';
export type { Finding } from './findings.ts';
export { type DiskInfo, diskInfo } from './info.ts';
export { type OpenDisk, openDisk, type StorageHost } from './open.ts';
export { GPT_TAIL, type NewPartition, writeGpt } from './partitions/gpt.ts';
export { type DiskPartition, readPartitions } from './partitions/partitions.ts';
export { PartitionType } from './partitions/protocol.ts';
export { formatOfName, formatToAttach, probeFormat, seemingFormat } from './probe.ts';
export { relinkDisk } from './relink.ts';
