/** New disk files of any format we write. A file that could not be finished is removed. */
import { DiskError, type DiskFormat } from './disk.ts';
import { openDisk, type StorageHost } from './open.ts';
import { createVhd } from './vhd/create.ts';
import { FixedVhd } from './vhd/fixed.ts';
import { SparseVhd } from './vhd/sparse.ts';
import { createVhdx } from './vhdx/create.ts';
import { VhdxDisk } from './vhdx/disk.ts';

export type DiskType = 'fixed' | 'dynamic' | 'differencing';

export interface NewDisk {
  readonly format: DiskFormat;
  /** Bytes; of a differencing disk its parent's, if none is given. */
  readonly size?: number | undefined;
  /** Of a raw disk, `fixed` reserves its space and `dynamic` does not. */
  readonly type?: DiskType | undefined;
  readonly blockSize?: number | undefined;
  readonly logicalSectorSize?: number | undefined;
  readonly physicalSectorSize?: number | undefined;
  readonly parent?: string | undefined;
  /** Parents of the parent. */
  readonly allowParent?: readonly string[] | undefined;
  readonly identifier?: Uint8Array | undefined;
  /** Replace a file that is there. */
  readonly replace?: boolean | undefined;
}

/** @throws DiskError, FileError */
export async function createDisk(host: StorageHost, path: string, wanted: NewDisk): Promise<void> {
  const { files } = host;
  const type = wanted.type ?? (wanted.parent === undefined ? 'dynamic' : 'differencing');
  if ((type === 'differencing') !== (wanted.parent !== undefined))
    throw new DiskError('range', 'a differencing disk, and no other, has a parent');
  const parent = wanted.parent === undefined ? undefined : await readParentIdentity(host, path, wanted);
  const size = wanted.size ?? parent?.size;
  if (size === undefined) throw new DiskError('range', 'a new disk needs a size');
  const file = await files.open(path, { create: wanted.replace === true ? 'replace' : 'new' });
  try {
    switch (wanted.format) {
      case 'vhdx':
        await createVhdx(file, { ...wanted, type, size, parent: parent?.vhdx, ...parent?.sectors }, files.random);
        break;
      case 'vhd':
        onlySectorsOf512(wanted);
        await createVhd(file, { ...wanted, type, size, parent: parent?.vhd }, files);
        break;
      case 'raw':
        if (type === 'differencing') throw new DiskError('range', 'a raw disk cannot have a parent');
        if (!(size > 0) || size % 512 !== 0) throw new DiskError('range', 'the size must be a multiple of 512 bytes');
        if (wanted.blockSize !== undefined) throw new DiskError('range', 'a raw disk has no blocks');
        if (type === 'fixed') await file.allocate(0, size);
        else await file.resize(size);
        await file.sync();
        break;
      case 'iso':
      case 'qcow2':
        throw new DiskError('unsupported', `${wanted.format} can be read only`, { code: 'invalid' });
    }
    await file.close();
  } catch (error) {
    await file.close().catch(() => {});
    await files.remove(path).catch(() => {});
    throw error;
  }
}

function onlySectorsOf512(wanted: NewDisk): void {
  if ((wanted.logicalSectorSize ?? 512) !== 512)
    throw new DiskError('range', 'a VHD has sectors of 512 bytes; a VHDX can have larger ones');
}

/** What a differencing disk keeps of its parent. */
async function readParentIdentity(host: StorageHost, path: string, wanted: NewDisk) {
  const { files } = host;
  const { format } = wanted;
  if (format !== 'vhdx' && format !== 'vhd')
    throw new DiskError('range', `a differencing disk is a VHDX or a VHD, not ${format}`);
  const where = await files.realPath(wanted.parent!);
  const parent = await openDisk(host, where, { format, allowParent: wanted.allowParent });
  try {
    const folder = await files.realPath(files.folderOf(path) || '.').catch(() => files.folderOf(path));
    const relative = files.relative(folder, where);
    const { size, logicalSectorSize, physicalSectorSize } = parent;
    if (wanted.logicalSectorSize !== undefined && wanted.logicalSectorSize !== logicalSectorSize)
      throw new DiskError('range', `the parent has sectors of ${logicalSectorSize} bytes`);
    const footer = parent instanceof FixedVhd || parent instanceof SparseVhd ? parent.footer : undefined;
    return {
      size,
      sectors: { logicalSectorSize, physicalSectorSize },
      vhdx: parent instanceof VhdxDisk ? { path: relative, dataWriteGuid: parent.dataWriteGuid } : undefined,
      vhd: footer && { uniqueId: footer.uniqueId, timeStamp: footer.timeStamp, relative },
    };
  } finally {
    await parent.close();
  }
}
