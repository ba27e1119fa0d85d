/** What a disk's file says of itself, for `hv vhd info`: read without taking locks, so that a disk in use can be asked. */
import { guidText } from '../support/guid.ts';
import { DiskError, type DiskFormat } from './disk.ts';
import type { StorageHost } from './open.ts';
import { probeFormat } from './probe.ts';
import { readHeader } from './qcow2/header.ts';
import { readVhd } from './vhd/open.ts';
import { DiskType } from './vhd/protocol.ts';
import { openImage } from './vhdx/image.ts';

export interface DiskInfo {
  readonly path: string;
  readonly format: DiskFormat;
  readonly type: 'fixed' | 'dynamic' | 'differencing';
  /** Of the virtual disk, in bytes. */
  readonly size: number;
  /** Of the file. */
  readonly fileSize: number;
  readonly blockSize?: number;
  readonly logicalSectorSize: number;
  readonly physicalSectorSize: number;
  readonly identifier?: string;
  /** As the file says it. */
  readonly parent?: string;
  readonly parentFormat?: string;
  /** What one should know. */
  readonly notes: readonly string[];
}

export async function diskInfo(host: StorageHost, path: string, format?: DiskFormat): Promise<DiskInfo> {
  const file = await host.files.open(path, { lock: 'none' });
  try {
    const fileSize = await file.size();
    const known = format ?? (await probeFormat(file));
    const common = { path, format: known, fileSize };
    switch (known) {
      case 'raw':
      case 'iso': {
        const sector = known === 'iso' ? 2048 : 512;
        const size = Math.ceil(fileSize / sector) * sector;
        const physicalSectorSize = known === 'iso' ? 2048 : 4096;
        return { ...common, type: 'fixed', size, logicalSectorSize: sector, physicalSectorSize, notes: [] };
      }
      case 'vhdx': {
        const { metadata, replayed } = await openImage(file, host.files.random);
        const parent = metadata.locator?.get('relative_path') ?? metadata.locator?.get('absolute_win32_path');
        return {
          ...common,
          type: metadata.hasParent ? 'differencing' : metadata.leaveBlocksAllocated ? 'fixed' : 'dynamic',
          size: metadata.diskSize,
          blockSize: metadata.blockSize,
          logicalSectorSize: metadata.logicalSectorSize,
          physicalSectorSize: metadata.physicalSectorSize,
          identifier: guidText(metadata.diskId),
          ...(parent === undefined ? {} : { parent }),
          notes: replayed > 0 ? ['the log holds changes: the disk is in use, or was not closed'] : [],
        };
      }
      case 'vhd': {
        const { footer, sparse, end } = await readVhd(file);
        const type = (Object.keys(DiskType) as (keyof typeof DiskType)[]).find(
          (name) => DiskType[name] === footer.type,
        );
        if (type === undefined) throw new DiskError('corrupt', `${path}: damaged VHD: disk type ${footer.type}`);
        const parent = sparse?.parent?.relative ?? sparse?.parent?.name;
        return {
          ...common,
          type,
          size: Number(footer.currentSize),
          ...(sparse === undefined ? {} : { blockSize: sparse.blockSize }),
          logicalSectorSize: 512,
          physicalSectorSize: 512,
          identifier: guidText(footer.uniqueId),
          ...(parent === undefined ? {} : { parent }),
          notes: typeof end === 'string' ? [`the footer at the end of the file is missing (${end})`] : [],
        };
      }
      case 'qcow2': {
        const header = await readHeader(file);
        const notes = header.snapshots > 0 ? [`${header.snapshots} snapshots in the file, which are not read`] : [];
        if (header.dirty) notes.push('the file was not closed');
        return {
          ...common,
          type: header.backing === undefined ? 'dynamic' : 'differencing',
          size: header.size,
          blockSize: header.clusterSize,
          logicalSectorSize: 512,
          physicalSectorSize: 4096,
          ...(header.backing === undefined ? {} : { parent: header.backing.path }),
          ...(header.backing?.format === undefined ? {} : { parentFormat: header.backing.format }),
          notes,
        };
      }
    }
  } finally {
    await file.close();
  }
}
