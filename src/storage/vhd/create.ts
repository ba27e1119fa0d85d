/** A new VHD file. */
import type { RandomFile } from '../../host/disk-files.ts';
import { guidFromRandom } from '../../support/guids.ts';
import { DiskError } from '../disk.ts';
import { addParent, encodeFooter, encodeSparseHeader, newFooter, newSparseHeader } from './footer.ts';
import {
  DEFAULT_BLOCK_SIZE,
  DiskType,
  DYNAMIC_HEADER_SIZE,
  FOOTER_SIZE,
  MAXIMUM_BLOCK_SIZE,
  MAXIMUM_DISK_SIZE,
  MAXIMUM_TABLE_ENTRIES,
  MINIMUM_BLOCK_SIZE,
  SECTOR,
} from './protocol.ts';

export interface NewVhd {
  readonly size: number;
  readonly type: 'fixed' | 'dynamic' | 'differencing';
  readonly blockSize?: number | undefined;
  readonly identifier?: Uint8Array | undefined;
  readonly parent?:
    | { readonly uniqueId: Uint8Array; readonly timeStamp: number; readonly relative: string }
    | undefined;
}

/** Writes into an empty file. @throws DiskError for what the format cannot hold. */
export async function createVhd(
  file: RandomFile,
  wanted: NewVhd,
  host: { random(count: number): Uint8Array; now(): number },
): Promise<void> {
  const { size, type, parent } = wanted;
  const blockSize = wanted.blockSize ?? DEFAULT_BLOCK_SIZE;
  const refuse = (text: string): never => {
    throw new DiskError('range', text);
  };
  if (!(size > 0) || size % SECTOR !== 0) refuse('the size of a VHD is a multiple of 512 bytes');
  if (size > MAXIMUM_DISK_SIZE) refuse('a VHD holds at most 2040G; a VHDX holds more');
  if (blockSize < MINIMUM_BLOCK_SIZE || blockSize > MAXIMUM_BLOCK_SIZE || Math.log2(blockSize) % 1 !== 0)
    refuse('the block size of a VHD is a power of two from 4K to 256M');
  if ((type === 'differencing') !== (parent !== undefined)) refuse('a differencing disk, and no other, has a parent');
  const id = wanted.identifier ?? guidFromRandom(host.random(16));
  const footer = encodeFooter(newFooter(size, DiskType[type], id, host.now()));
  if (type === 'fixed') {
    await file.allocate(0, size + FOOTER_SIZE);
    await file.write(size, footer);
    await file.sync();
    return;
  }
  const entries = Math.ceil(size / blockSize);
  if (entries > MAXIMUM_TABLE_ENTRIES) refuse('too many blocks: the block size is too small');
  const tableOffset = FOOTER_SIZE + DYNAMIC_HEADER_SIZE;
  const table = new Uint8Array(Math.ceil((entries * 4) / SECTOR) * SECTOR).fill(0xff);
  const header = newSparseHeader(tableOffset, entries, blockSize);
  let end = tableOffset + table.length;
  if (parent !== undefined) {
    const locator = addParent(header, parent, end);
    await file.write(end, locator);
    end += locator.length;
  }
  await file.write(0, footer);
  await file.write(FOOTER_SIZE, encodeSparseHeader(header));
  await file.write(tableOffset, table);
  await file.write(end, footer);
  await file.sync();
}
