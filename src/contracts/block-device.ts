/**
 * What a guest's disk is to the synthetic storage controller: bytes by offset, whatever they are kept in. Every disk of
 * `src/storage` is one.
 */
export interface BlockDevice {
  /** Bytes, a multiple of the logical sector size. */
  readonly size: number;
  readonly logicalSectorSize: number;
  readonly physicalSectorSize: number;
  readonly writable: boolean;
  /** 16 bytes that stay with the disk; undefined where there are none. */
  readonly identifier: Uint8Array | undefined;
  /** Offsets and lengths are multiples of the logical sector size; requests may be in flight together. */
  read(offset: number, into: Uint8Array): Promise<void>;
  write(offset: number, from: Uint8Array): Promise<void>;
  writeZeroes(offset: number, length: number): Promise<void>;
  discard(offset: number, length: number): Promise<void>;
  /** What was written before survives a power cut when this resolves. */
  flush(): Promise<void>;
}
