/** Where a file's blocks are: extents, or the older tables of block numbers. Documentation/filesystems/ext4/, "ifork". */
import {
  DIRECT_BLOCKS,
  EXTENT_INITIALIZED,
  EXTENT_MAGIC,
  Extent,
  ExtentHeader,
  ExtentIndex,
  type Inode,
  InodeFlag,
  MAXIMUM_EXTENT_DEPTH,
} from './protocol.ts';
import type { Volume } from './volume.ts';

/** Blocks that follow each other in the file and on the disk. What lies between runs reads as zeroes. */
export interface Run {
  readonly logical: number;
  readonly physical: number;
  readonly count: number;
}

/** The runs below `end`, in the file's order. @param end Blocks of the file. @throws DiskError */
export function runsOf(volume: Volume, inode: Inode, end: number): AsyncGenerator<Run> {
  return (inode.flags & InodeFlag.extents) !== 0
    ? extentRuns(volume, inode.block, end)
    : tableRuns(volume, inode.block, end);
}

async function* extentRuns(volume: Volume, root: Uint8Array, end: number): AsyncGenerator<Run> {
  // Extents come in the file's order, so no part of a tree can be visited twice.
  let next = 0;
  yield* node(root, undefined);

  async function* node(bytes: Uint8Array, expectedDepth: number | undefined): AsyncGenerator<Run> {
    const { magic, entries, depth } = ExtentHeader.read(bytes);
    const most = Math.floor((bytes.length - ExtentHeader.size) / Extent.size);
    if (magic !== EXTENT_MAGIC || entries > most) throw volume.corrupt('an extent tree makes no sense');
    if (depth > MAXIMUM_EXTENT_DEPTH || (expectedDepth !== undefined && depth !== expectedDepth))
      throw volume.corrupt('an extent tree is deeper than it says');
    for (let i = 0; i < entries; i++) {
      const at = ExtentHeader.size + i * Extent.size;
      if (depth > 0) {
        const { block, leafLow, leafHigh } = ExtentIndex.read(bytes, at);
        if (block >= end) return;
        if (block < next) throw volume.corrupt('an extent tree is out of order');
        yield* node(await volume.block(leafHigh * 2 ** 32 + leafLow), depth - 1);
        // An empty leaf does not get on; the kernel makes none.
        if (next <= block) throw volume.corrupt('an extent tree has an empty leaf');
        continue;
      }
      const { block, length, startHigh, startLow } = Extent.read(bytes, at);
      if (block < next || length === 0) throw volume.corrupt('an extent tree is out of order');
      const written = length <= EXTENT_INITIALIZED;
      const count = written ? length : length - EXTENT_INITIALIZED;
      next = block + count;
      if (block >= end) return;
      const physical = startHigh * 2 ** 32 + startLow;
      volume.checkRun(physical, count);
      if (written) yield { logical: block, physical, count: Math.min(count, end - block) };
    }
  }
}

async function* tableRuns(volume: Volume, root: Uint8Array, end: number): AsyncGenerator<Run> {
  let logical = 0;
  let run: { logical: number; physical: number; count: number } | undefined;
  for (let i = 0; i < root.length / 4 && logical < end; i++) {
    const level = Math.max(0, i - DIRECT_BLOCKS + 1);
    yield* entry(numberAt(root, i), level);
  }
  if (run !== undefined) yield run;

  async function* entry(physical: number, level: number): AsyncGenerator<Run> {
    if (level > 0 && physical !== 0) {
      const table = await volume.block(physical);
      for (let i = 0; i < table.length / 4 && logical < end; i++) yield* entry(numberAt(table, i), level - 1);
      return;
    }
    const span = (volume.blockSize / 4) ** level;
    if (physical !== 0) {
      volume.checkRun(physical, 1);
      if (run !== undefined && run.logical + run.count === logical && run.physical + run.count === physical)
        run.count++;
      else {
        if (run !== undefined) yield run;
        run = { logical, physical, count: 1 };
      }
    }
    logical += span;
  }
}

function numberAt(bytes: Uint8Array, index: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(index * 4, true);
}
