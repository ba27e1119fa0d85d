/** Making a disk's file as small as what the disk holds. The disk is closed before and after. */
import { copyDisk, discardZeroes, type Progress } from './copy.ts';
import { createDisk } from './create.ts';
import { DiskError, type DiskFormat } from './disk.ts';
import { openDisk, type StorageHost } from './open.ts';
import { SparseVhd } from './vhd/sparse.ts';
import { VhdxDisk } from './vhdx/disk.ts';

export type { Progress } from './copy.ts';

/** What a sparse file of a raw disk gives back at once. */
const RAW_STEP = 2 ** 16;

/** @throws DiskError, FileError */
export async function compactDisk(
  host: StorageHost,
  path: string,
  format: DiskFormat,
  options: { readonly allowParent?: readonly string[] | undefined } = {},
  progress: Progress = () => {},
): Promise<void> {
  const disk = await openDisk(host, path, { format, write: true, sameData: true, allowParent: options.allowParent });
  try {
    if (disk instanceof VhdxDisk) {
      if (disk.metadata.leaveBlocksAllocated)
        throw new DiskError('unsupported', `${path}: a fixed disk stays as it is`);
      // Finding zeroes is most of the work; moving blocks the rest.
      const all = disk.size;
      await discardZeroes(disk, disk.metadata.blockSize, (done) => progress(done * 0.8, all));
      await disk.compact((done, blocks) => progress(all * (0.8 + (0.2 * done) / Math.max(1, blocks)), all));
      return;
    }
    if (format === 'raw') {
      await discardZeroes(disk, RAW_STEP, progress);
      return;
    }
    if (!(disk instanceof SparseVhd) || disk.parent !== undefined)
      throw new DiskError('unsupported', `${path}: only dynamic disks can be compacted`);
    // The format cannot say that a block is zero: a copy is made that lacks them.
    const partial = `${path}.partial`;
    const { blockSize } = disk;
    await createDisk(host, partial, { format, size: disk.size, blockSize, identifier: disk.identifier, replace: true });
    try {
      const target = await openDisk(host, partial, { format, write: true });
      try {
        await copyDisk(disk, target, progress);
      } finally {
        await target.close();
      }
      await host.files.rename(partial, path);
    } catch (error) {
      await host.files.remove(partial).catch(() => {});
      throw error;
    }
  } finally {
    await disk.close();
  }
}
