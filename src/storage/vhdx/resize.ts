/** What a change of a VHDX's size changes in its metadata. */

import { batShape } from './bat.ts';
import { encodeRegions, type Region, unsupported } from './header.ts';
import type { VhdxImage } from './image.ts';
import type { PageUpdate } from './log.ts';
import { type Metadata, sizeItemOffset } from './metadata.ts';
import { PAGE } from './pages.ts';
import { BAT_ENTRY_SIZE, MAXIMUM_DISK_SIZE, MIB, REGION_TABLE_OFFSETS } from './protocol.ts';

/** @returns how long the block allocation table has to be. @throws DiskError */
export function planResize(image: VhdxImage, bat: Region, next: Metadata): { readonly batLength: number } {
  if (next.diskSize > MAXIMUM_DISK_SIZE) throw unsupported(image.file, 'a VHDX holds at most 64 TiB');
  const needed = Math.ceil((batShape(next).entries * BAT_ENTRY_SIZE) / MIB) * MIB;
  if (needed > bat.length && image.regions.unknown.length > 0)
    throw unsupported(image.file, 'the file has regions of unknown kind and its table is too short to grow in place');
  return { batLength: Math.max(needed, bat.length) };
}

/** The pages that have to change together: the size, and the region tables if the BAT moves. */
export async function resizePages(image: VhdxImage, next: Metadata, bat: Region | undefined): Promise<PageUpdate[]> {
  const { file, view, regions } = image;
  const at = await sizeItemOffset(view, regions.metadata);
  const page = Math.floor(at / PAGE) * PAGE;
  const bytes = new Uint8Array(PAGE * 2);
  await file.read(page, bytes);
  new DataView(bytes.buffer).setBigUint64(at - page, BigInt(next.diskSize), true);
  const updates: PageUpdate[] = [{ offset: page, bytes: bytes.subarray(0, PAGE) }];
  // Items are not aligned: it may lie across two pages.
  if (at - page > PAGE - 8) updates.push({ offset: page + PAGE, bytes: bytes.subarray(PAGE) });
  if (bat !== undefined) {
    const table = encodeRegions(bat, regions.metadata);
    for (const offset of REGION_TABLE_OFFSETS)
      for (let part = 0; part < table.length; part += PAGE)
        updates.push({ offset: offset + part, bytes: table.subarray(part, part + PAGE) });
  }
  return updates;
}
