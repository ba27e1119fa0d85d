/** Opening a VHD of any type. */
import type { RandomFile } from '../../host/disk-files.ts';
import { type Disk, DiskError } from '../disk.ts';
import { FixedVhd } from './fixed.ts';
import { corrupt, type Footers, readFooters, readSparseHeader, type SparseHeader } from './footer.ts';
import { DiskType } from './protocol.ts';
import { SparseVhd } from './sparse.ts';

export interface VhdImage extends Footers {
  readonly sparse: SparseHeader | undefined;
}

export async function readVhd(file: RandomFile): Promise<VhdImage> {
  const footers = await readFooters(file);
  const { type } = footers.footer;
  if (type === DiskType.fixed) return { ...footers, sparse: undefined };
  if (type !== DiskType.dynamic && type !== DiskType.differencing) throw corrupt(file, `disk type ${type}`);
  return { ...footers, sparse: await readSparseHeader(file, footers.footer) };
}

export async function openVhd(file: RandomFile, image: VhdImage, parent?: Disk): Promise<FixedVhd | SparseVhd> {
  const { footer, sparse } = image;
  if (sparse === undefined) return FixedVhd.open(file, footer);
  if (footer.type === DiskType.differencing && parent === undefined)
    throw new DiskError('parent', `${file.path}: a differencing disk without its parent`);
  return SparseVhd.open(file, footer, sparse, parent);
}
