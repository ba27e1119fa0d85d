/** Another parent for a differencing disk whose old parent has been merged into it, or the other way round. */
import { DiskError } from './disk.ts';
import { type OpenDisk, openDisk, type StorageHost } from './open.ts';
import { VhdxDisk } from './vhdx/disk.ts';
import { openImage } from './vhdx/image.ts';
import { relinkVhdx } from './vhdx/relink.ts';

/**
 * Nobody else has the disk open. Made again it changes nothing.
 * @param options how the new parent is opened.
 * @throws DiskError, FileError; the disk has its old or its new parent then.
 */
export async function relinkDisk(
  host: StorageHost,
  path: string,
  parentPath: string,
  options: Pick<OpenDisk, 'allowParent'> = {},
): Promise<void> {
  const { files } = host;
  const where = await files.realPath(parentPath);
  const parent = await openDisk(host, where, { format: 'vhdx', ...options });
  try {
    if (!(parent instanceof VhdxDisk)) throw new DiskError('parent', `${parentPath}: is no VHDX`);
    const folder = await files.realPath(files.folderOf(path) || '.').catch(() => files.folderOf(path));
    const file = await files.open(path, { write: true });
    try {
      const image = await openImage(file, files.random);
      if (image.metadata.diskSize < parent.size) throw new DiskError('parent', `${parentPath}: is larger than ${path}`);
      const link = { path: files.relative(folder, where), dataWriteGuid: parent.dataWriteGuid };
      await relinkVhdx(image, link, files.random);
    } finally {
      await file.close();
    }
  } finally {
    await parent.close();
  }
}
