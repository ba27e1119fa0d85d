/** Copying what disks hold: converting, merging, finding zeroes. */
import { FileError } from '../host/disk-files.ts';
import { createDisk, type NewDisk } from './create.ts';
import type { Disk, DiskRange } from './disk.ts';
import { openDisk, type StorageHost } from './open.ts';

/** Bytes of the disk that are done, of all. */
export type Progress = (done: number, all: number) => void;

const PIECE = 2 ** 20;
/** Pieces under way at a time. */
const WIDTH = 8;

/** Where a disk, with its parents, may hold something else than zeroes; neighbours are joined. */
export async function* allocatedRanges(disk: Disk, offset = 0, length = disk.size - offset): AsyncGenerator<DiskRange> {
  let pending: DiskRange | undefined;
  for await (const range of resolved(disk, offset, length)) {
    if (pending !== undefined && pending.state === range.state) {
      pending = { ...pending, length: pending.length + range.length };
      continue;
    }
    if (pending?.state === 'data') yield pending;
    pending = range;
  }
  if (pending?.state === 'data') yield pending;
}

async function* resolved(disk: Disk, offset: number, length: number): AsyncGenerator<DiskRange> {
  for await (const range of disk.ranges(offset, length)) {
    if (range.state !== 'parent') yield range;
    else {
      const inside = Math.max(0, Math.min(range.length, (disk.parent?.size ?? 0) - range.offset));
      if (inside > 0) yield* resolved(disk.parent!, range.offset, inside);
      if (inside < range.length) yield { offset: range.offset + inside, length: range.length - inside, state: 'zero' };
    }
  }
}

export function isZero(bytes: Uint8Array): boolean {
  // Eight bytes at a time where they are aligned, which buffers of ours are.
  if (bytes.byteOffset % 8 === 0 && bytes.length % 8 === 0) {
    for (const word of new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8))
      if (word !== 0n) return false;
    return true;
  }
  return bytes.every((byte) => byte === 0);
}

/** Runs `work` for each piece of the ranges, several at a time. */
async function forPieces(
  ranges: AsyncIterable<DiskRange>,
  work: (offset: number, buffer: Uint8Array) => Promise<void>,
): Promise<void> {
  const free = Array.from({ length: WIDTH }, () => new Uint8Array(PIECE));
  const running = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  for await (const range of ranges) {
    for (let at = range.offset; at < range.offset + range.length && failure === undefined; ) {
      if (free.length === 0) await Promise.race(running);
      const buffer = free.pop()!;
      const count = Math.min(PIECE - (at % PIECE), range.offset + range.length - at);
      const piece = work(at, buffer.subarray(0, count))
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => {
          free.push(buffer);
          running.delete(piece);
        });
      running.add(piece);
      at += count;
    }
    if (failure !== undefined) break;
  }
  await Promise.all(running);
  if (failure !== undefined) throw failure.error;
}

/** Copies all that is not zero. The target reads as zeroes before. */
export async function copyDisk(from: Disk, to: Disk, progress: Progress = () => {}): Promise<void> {
  const all = from.size;
  const step = to.logicalSectorSize;
  await forPieces(widened(allocatedRanges(from), step, all), async (offset, buffer) => {
    await from.read(offset, buffer);
    await writeNonZero(to, offset, buffer);
    progress(offset + buffer.length, all);
  });
  await to.flush();
  progress(all, all);
}

/** What is zero at this grain takes no space in the target. */
const GRAIN = 4096;

async function writeNonZero(to: Disk, offset: number, bytes: Uint8Array): Promise<void> {
  let start = -1;
  for (let at = 0; at <= bytes.length; at += GRAIN) {
    const zero = at >= bytes.length || isZero(bytes.subarray(at, at + GRAIN));
    if (!zero && start < 0) start = at;
    if (!zero || start < 0) continue;
    await to.write(offset + start, bytes.subarray(start, at));
    start = -1;
  }
  if (start >= 0) await to.write(offset + start, bytes.subarray(start));
}

/** To whole sectors of a target whose sectors are larger. */
async function* widened(ranges: AsyncIterable<DiskRange>, sector: number, size: number): AsyncGenerator<DiskRange> {
  let end = 0;
  for await (const range of ranges) {
    const start = Math.max(end, Math.floor(range.offset / sector) * sector);
    end = Math.min(size, Math.ceil((range.offset + range.length) / sector) * sector);
    if (end > start) yield { offset: start, length: end - start, state: range.state };
  }
}

export interface Conversion {
  readonly from: { readonly path: string; readonly format: Disk['format']; readonly allowParent?: readonly string[] };
  readonly to: NewDisk & { readonly path: string };
}

/** Makes a copy in another format. The target's name appears when it is whole. @throws DiskError, FileError */
export async function convertDisk(host: StorageHost, { from, to }: Conversion, progress?: Progress): Promise<void> {
  const { files } = host;
  const source = await openDisk(host, from.path, from);
  const partial = `${to.path}.partial`;
  try {
    if (to.replace !== true && (await files.exists(to.path)))
      throw new FileError('exists', `${to.path}: the file is there already`);
    const sector = to.logicalSectorSize ?? (to.format === 'vhdx' && source.logicalSectorSize === 4096 ? 4096 : 512);
    const size = Math.ceil(source.size / sector) * sector;
    await createDisk(host, partial, { ...to, size, logicalSectorSize: sector, replace: true });
    try {
      const target = await openDisk(host, partial, { format: to.format, write: true });
      try {
        await copyDisk(source, target, progress);
      } finally {
        await target.close();
      }
      await files.rename(partial, to.path);
    } catch (error) {
      await files.remove(partial).catch(() => {});
      throw error;
    }
  } finally {
    await source.close();
  }
}

/** Writes what a differencing disk holds into its parent, which is open for writing. */
export async function mergeIntoParent(child: Disk, progress: Progress = () => {}): Promise<void> {
  const parent = child.parent!;
  if (parent.size < child.size) await parent.resize(child.size);
  const all = child.size;
  await forPieces(own(child.ranges(0, all), 'data'), async (offset, buffer) => {
    await child.read(offset, buffer);
    await parent.write(offset, buffer);
    progress(offset + buffer.length, all);
  });
  for await (const range of own(child.ranges(0, all), 'zero')) await parent.discard(range.offset, range.length);
  await parent.flush();
  progress(all, all);
}

async function* own(ranges: AsyncIterable<DiskRange>, state: DiskRange['state']): AsyncGenerator<DiskRange> {
  for await (const range of ranges) if (range.state === state) yield range;
}

/** Gives back what holds nothing but zeroes. @param step Bytes that can be given back at once: a block. */
export async function discardZeroes(disk: Disk, step: number, progress: Progress = () => {}): Promise<number> {
  const buffer = new Uint8Array(PIECE);
  let freed = 0;
  for (let start = 0; start < disk.size; start += step) {
    const end = Math.min(disk.size, start + step);
    let data = false;
    for await (const range of disk.ranges(start, end - start)) data ||= range.state === 'data';
    let zero = data;
    for (let at = start; at < end && zero; at += PIECE) {
      const part = buffer.subarray(0, Math.min(PIECE, end - at));
      await disk.read(at, part);
      zero = isZero(part);
    }
    if (zero) {
      await disk.discard(start, end - start);
      freed += end - start;
    }
    progress(end, disk.size);
  }
  await disk.flush();
  return freed;
}
