/** Sector bitmaps: a bit for each sector of a chunk, the first in bit 0 of byte 0. [MS-VHDX] 2.4. */
import { type MetadataPages, PAGE } from './pages.ts';

const BITS = PAGE * 8;

export interface BitRun {
  /** Bytes from the first sector asked for. */
  readonly offset: number;
  readonly length: number;
  readonly set: boolean;
}

/** @param bitmap File offset of the bitmap block. */
export async function bitRuns(
  pages: MetadataPages,
  bitmap: number,
  first: number,
  count: number,
  sectorSize: number,
): Promise<BitRun[]> {
  const runs: BitRun[] = [];
  let start = 0;
  let current: boolean | undefined;
  for (let done = 0; done < count; ) {
    const bit = first + done;
    const page = await pages.load(bitmap + Math.floor(bit / BITS) * PAGE);
    const end = Math.min(count, done + BITS - (bit % BITS));
    for (; done < end; done++) {
      const at = (first + done) % BITS;
      const set = ((page[at >> 3]! >> (at & 7)) & 1) === 1;
      if (set === current) continue;
      if (current !== undefined)
        runs.push({ offset: start * sectorSize, length: (done - start) * sectorSize, set: current });
      start = done;
      current = set;
    }
  }
  if (current !== undefined)
    runs.push({ offset: start * sectorSize, length: (count - start) * sectorSize, set: current });
  return runs;
}

export async function setBits(
  pages: MetadataPages,
  bitmap: number,
  first: number,
  count: number,
  value: boolean,
): Promise<void> {
  for (let done = 0; done < count; ) {
    const bit = first + done;
    const offset = bitmap + Math.floor(bit / BITS) * PAGE;
    const page = await pages.load(offset);
    const end = Math.min(count, done + BITS - (bit % BITS));
    let changed = false;
    for (; done < end; done++) {
      const at = (first + done) % BITS;
      const mask = 1 << (at & 7);
      const before = page[at >> 3]!;
      page[at >> 3] = value ? before | mask : before & ~mask;
      changed ||= before !== page[at >> 3];
    }
    if (changed) pages.touch(offset);
  }
}
