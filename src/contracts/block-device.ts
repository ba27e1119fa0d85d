/**
 * A guest's disks and DVDs: a file by its name, or anything that is bytes by offset, as the synthetic storage controller wants it.
 * Every disk of `src/storage` is one.
 */
export type DiskFormat = 'vhdx' | 'vhd' | 'raw' | 'iso' | 'qcow2';

export const DISK_FORMATS: readonly DiskFormat[] = ['vhdx', 'vhd', 'raw', 'iso', 'qcow2'];

/** Where a disk or a DVD drive is. */
export interface StoragePlace {
  /** A synthetic SCSI controller, 0 to 3. */
  readonly controller: number;
  /** Its logical unit, 0 to 63. */
  readonly lun: number;
}

/** Not given, the controller is the first one, the LUN its first that is free. */
export interface WantedPlace {
  readonly controller?: number | undefined;
  readonly lun?: number | undefined;
}

/** A disk in a file of the host's. */
export interface DiskFile extends WantedPlace {
  readonly file: string;
  /**
   * What the file is. Not given, it is found once, when the disk is attached; where that could be the guest's doing, or name
   * and content disagree, it has to be given.
   */
  readonly format?: DiskFormat | undefined;
  /** The guest can only read it. DVD images are so in any case. */
  readonly readOnly?: boolean | undefined;
  /** What the guest writes is thrown away; the file stays as it is. */
  readonly discard?: boolean | undefined;
  /** Files that may be parents of a differencing disk though they lie outside its folder. */
  readonly allowParent?: readonly string[] | undefined;
}

/** A drive that the guest reads DVD images from: any file, taken as sectors of 2048 bytes. */
export interface DvdDrive extends WantedPlace {
  /** Not given, the drive is empty. */
  readonly file?: string | undefined;
}

export interface BlockDevice {
  /** Bytes, a multiple of the logical sector size. May grow; guests are told by `PartitionStorage.resizeDisk`. */
  readonly size: number;
  readonly logicalSectorSize: number;
  readonly physicalSectorSize: number;
  readonly writable: boolean;
  /** 16 bytes that stay with the disk; undefined where there are none. */
  readonly identifier: Uint8Array | undefined;
  /** Offsets and lengths are multiples of the logical sector size; requests may be in flight together. */
  read(offset: number, into: Uint8Array): Promise<void>;
  /**
   * Reads at once into buffers that take the bytes one after the other, if nothing has to be waited for: what the host has in
   * memory. False when it does; what the buffers hold then says nothing.
   */
  readNow?(offset: number, into: readonly Uint8Array[]): boolean;
  write(offset: number, from: Uint8Array): Promise<void>;
  /** The same for writing. False: it is to be written by `write`, though part of it may have been. */
  writeNow?(offset: number, from: readonly Uint8Array[]): boolean;
  writeZeroes(offset: number, length: number): Promise<void>;
  discard(offset: number, length: number): Promise<void>;
  /** What was written before survives a power cut when this resolves. */
  flush(): Promise<void>;
}
