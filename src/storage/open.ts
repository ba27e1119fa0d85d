/**
 * Opening a disk with all its parents. The format is always given: it was recorded when the disk was attached. A parent
 * must lie in the disk's own folder or below it, or be allowed by name: else a file that somebody sent could show a guest
 * any file of the host's.
 */
import { type DiskFiles, fileFailureOf, type RandomFile } from '../host/disk-files.ts';
import type { HostCodecs } from '../support/codec/codec.ts';
import { guidText } from '../support/guid.ts';
import { sameGuid } from '../support/guids.ts';
import { printable } from '../support/text.ts';
import { DISK_FORMATS, type Disk, DiskError, type DiskFormat } from './disk.ts';
import { OverlayDisk } from './overlay/disk.ts';
import { Qcow2Disk } from './qcow2/disk.ts';
import { readHeader } from './qcow2/header.ts';
import { RawDisk } from './raw/disk.ts';
import { openVhd, readVhd } from './vhd/open.ts';
import { VhdxDisk } from './vhdx/disk.ts';
import { openImage } from './vhdx/image.ts';

export interface StorageHost {
  readonly files: DiskFiles;
  readonly codecs: HostCodecs;
}

export interface OpenDisk {
  readonly format: DiskFormat;
  readonly write?: boolean | undefined;
  /** Paths that may be parents though they lie elsewhere. */
  readonly allowParent?: readonly string[] | undefined;
  /** Where the parent is, instead of where the disk says; allowed by being named here. */
  readonly parentPath?: string | undefined;
  /** The parent is written to as well: for merging. */
  readonly writeParent?: boolean | undefined;
  /** Writes go to a throw-away file: in memory, or beside the disk. */
  readonly discard?: 'memory' | 'file' | undefined;
  /** Changes are to where data are, not to the data. */
  readonly sameData?: boolean | undefined;
  /** Do not mind others who write to it: for looking at a disk that is in use. */
  readonly unlocked?: boolean | undefined;
  /** The disk is opened though its parent is another than it was made for. */
  readonly ignoreLinkage?: boolean | undefined;
  /** For raw disks. */
  readonly logicalSectorSize?: number | undefined;
}

const LONGEST_CHAIN = 64;

interface Chain {
  readonly host: StorageHost;
  readonly allowed: ReadonlySet<string>;
  readonly seen: Set<string>;
  readonly options: OpenDisk;
}

/** @throws DiskError, FileError */
export async function openDisk(host: StorageHost, path: string, options: OpenDisk): Promise<Disk> {
  const { files } = host;
  const named = [...(options.allowParent ?? []), ...(options.parentPath === undefined ? [] : [options.parentPath])];
  const allowed = new Set(await Promise.all(named.map((name) => files.realPath(name))));
  const write = options.write === true && options.discard === undefined;
  const chain: Chain = { host, allowed, seen: new Set(), options };
  const disk = await openLayer(chain, await files.realPath(path), options.format, write, options.parentPath);
  if (options.discard === undefined) return disk;
  try {
    const scratch = await (options.discard === 'file' ? fileScratch(files, path) : memoryScratch());
    return new OverlayDisk(disk, scratch);
  } catch (error) {
    await disk.close();
    throw error;
  }
}

/** Beside the disk, where there should be room for what is written to it; not every folder is ours to write in. */
async function fileScratch(files: DiskFiles, path: string): Promise<RandomFile> {
  try {
    return await files.temporary(path);
  } catch (error) {
    if (fileFailureOf(error) !== 'denied') throw error;
    return await files.temporary();
  }
}

async function memoryScratch(): Promise<RandomFile> {
  const { MemoryContent, MemoryFile } = await import('../host/memory-files.ts');
  return new MemoryFile('(memory)', new MemoryContent());
}

async function openLayer(
  chain: Chain,
  path: string,
  format: DiskFormat,
  write: boolean,
  parentPath?: string,
): Promise<Disk> {
  if (chain.seen.has(path)) throw new DiskError('parent', `${path}: the disk is its own parent`);
  chain.seen.add(path);
  if (chain.seen.size > LONGEST_CHAIN)
    throw new DiskError('parent', `${path}: a chain of more than ${LONGEST_CHAIN} disks`);
  const { files, codecs } = chain.host;
  if (write && (format === 'iso' || format === 'qcow2'))
    throw new DiskError('readOnly', `${path}: ${format} is read-only here; convert it, or use a throw-away overlay`);
  const file = await files.open(path, { write, ...(chain.options.unlocked === true ? { lock: 'none' } : {}) });
  let parent: Disk | undefined;
  try {
    const openParent = async (stated: string | undefined, parentFormat: DiskFormat): Promise<Disk> => {
      const found = await findParent(chain, path, parentPath ?? stated);
      const first = chain.seen.size === 1;
      return (parent = await openLayer(chain, found, parentFormat, first && chain.options.writeParent === true));
    };
    switch (format) {
      case 'raw':
        return await RawDisk.open('raw', file, {
          logicalSectorSize: chain.options.logicalSectorSize ?? 512,
          physicalSectorSize: 4096,
        });
      case 'iso':
        return await RawDisk.open('iso', file);
      case 'vhdx': {
        const image = await openImage(file, files.random);
        const options = { random: files.random, sameData: chain.options.sameData === true };
        const { locator } = image.metadata;
        if (locator === undefined) return await VhdxDisk.of(image, options);
        const below = await openParent(locator.get('relative_path'), 'vhdx');
        const linkage = [locator.get('parent_linkage'), locator.get('parent_linkage2')];
        const id = below instanceof VhdxDisk ? guidText(below.dataWriteGuid) : '';
        if (!linkage.some((text) => text?.replace(/[{}]/g, '').toLowerCase() === id))
          refuseLinkage(
            chain,
            path,
            `the parent was changed since, or is another (it is ${id}, was ${printable(linkage[0] ?? 'none', 40)})`,
          );
        checkSectors(path, image.metadata.logicalSectorSize, below);
        return await VhdxDisk.of(image, { ...options, parent: below });
      }
      case 'vhd': {
        const image = await readVhd(file);
        if (image.sparse?.parent === undefined) return await openVhd(file, image);
        const { relative, name } = image.sparse.parent;
        const below = await openParent(relative ?? name, 'vhd');
        if (below.identifier === undefined || !sameGuid(below.identifier, image.sparse.header.parentId))
          refuseLinkage(chain, path, 'the parent is another than it was made for');
        return await openVhd(file, image, below);
      }
      case 'qcow2': {
        const { backing } = await readHeader(file);
        if (backing === undefined) return await Qcow2Disk.open(file, codecs);
        const backingFormat = backing.format === 'vpc' ? 'vhd' : DISK_FORMATS.find((known) => known === backing.format);
        if (backingFormat === undefined)
          throw new DiskError(
            'parent',
            `${path}: ${backing.format === undefined ? 'no format' : `the format '${printable(backing.format, 20)}'`} is given for the backing file '${printable(backing.path)}', and none is guessed`,
          );
        return await Qcow2Disk.open(file, codecs, await openParent(backing.path, backingFormat));
      }
    }
  } catch (error) {
    await parent?.close();
    await file.close();
    throw error;
  }
}

function refuseLinkage(chain: Chain, path: string, text: string): void {
  if (chain.options.ignoreLinkage !== true) throw new DiskError('parent', `${path}: ${text}`);
}

function checkSectors(path: string, size: number, parent: Disk): void {
  if (parent.logicalSectorSize !== size)
    throw new DiskError('parent', `${path}: sectors of ${size} bytes over a parent with ${parent.logicalSectorSize}`);
}

/** The parent's real path, if the policy lets it be one. */
async function findParent(chain: Chain, child: string, stated: string | undefined): Promise<string> {
  const { files } = chain.host;
  if (stated === undefined)
    throw new DiskError('parent', `${child}: it does not say where its parent is by a relative path; give --parent`);
  if (/^[a-z][a-z0-9+.-]*:/i.test(stated))
    throw new DiskError(
      'parent',
      `${child}: its parent '${printable(stated)}' is no file of this machine; give --parent`,
    );
  const folder = files.folderOf(child);
  const path = files.join(folder, stated.replaceAll('\\', '/'));
  const found = await files.realPath(path).catch((error: unknown) => {
    throw new DiskError('parent', `${child}: its parent is missing: ${printable(path)}`, {
      code: 'notFound',
      cause: error,
    });
  });
  if (chain.allowed.has(found) || isBelow(files, folder, found)) return found;
  throw new DiskError(
    'parent',
    `${child}: its parent ${found} lies outside the disk's folder; allow it by name (--allow-parent) if that is meant`,
    { code: 'denied' },
  );
}

function isBelow(files: DiskFiles, folder: string, path: string): boolean {
  const way = files.relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith('../') && !way.startsWith('/');
}
