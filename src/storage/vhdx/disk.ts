/**
 * A VHDX as a disk: fixed, dynamic or differencing. [MS-VHDX] 2.4, 2.5; the order of writes is in README.md.
 *
 * A request takes the gate shared and, for each block it touches, the block's lock: shared to move data, exclusive to
 * change where the block is. A change of the BAT or of a bitmap is made in memory when the data it speaks of has been
 * written, and reaches the file with the next flush, through the log.
 */
import type { RandomFile } from '../../host/disk-files.ts';
import { guidText } from '../../support/guid.ts';
import { allDone, BaseDisk, type Disk, type DiskRange, readParent } from '../disk.ts';
import { KeyedLocks, SharedLock } from '../locks.ts';
import { Bat, type BatEntry, batShape } from './bat.ts';
import { bitRuns, setBits } from './bitmap.ts';
import { corrupt } from './header.ts';
import { hasPlace, mapSpace, openImage, type VhdxImage } from './image.ts';
import { Journal, type JournalOptions } from './journal.ts';
import type { Metadata } from './metadata.ts';
import { MetadataPages } from './pages.ts';
import { BITMAP_BLOCK_SIZE, BlockState, FIRST_OBJECT, MIB } from './protocol.ts';
import { planResize, resizePages } from './resize.ts';
import { Space } from './space.ts';

const MOST_CHANGED_PAGES = 2048;
/** Blocks that compacting moves between two flushes. */
const BLOCKS_AT_A_TIME = 32;

export interface VhdxOptions extends JournalOptions {
  readonly parent?: Disk | undefined;
}

interface Piece {
  readonly block: number;
  /** Within the block. */
  readonly at: number;
  readonly length: number;
  /** Within the request. */
  readonly from: number;
}

export class VhdxDisk extends BaseDisk {
  readonly format = 'vhdx';
  readonly writable: boolean;
  override readonly parent: Disk | undefined;
  readonly #image: VhdxImage;
  readonly #file: RandomFile;
  readonly #pages: MetadataPages;
  readonly #bat: Bat;
  #metadata: Metadata;
  readonly #space: Space;
  readonly #gate = new SharedLock();
  readonly #blocks = new KeyedLocks();
  readonly #chunks = new KeyedLocks();
  readonly #journal: Journal;

  private constructor(image: VhdxImage, space: Space, fileSize: number, options: VhdxOptions) {
    super();
    this.#image = image;
    this.#file = image.file;
    this.parent = options.parent;
    this.writable = image.file.writable;
    this.#metadata = image.metadata;
    this.#pages = new MetadataPages(image.view);
    this.#bat = new Bat(this.#pages, image.regions.bat.offset, image.shape.chunkRatio);
    this.#space = space;
    const { headers, regions } = image;
    this.#journal = new Journal(this.#file, fileSize, headers, this.#pages, space, regions.bat, options);
  }

  static async open(file: RandomFile, options: VhdxOptions): Promise<VhdxDisk> {
    return VhdxDisk.of(await openImage(file, options.random), options);
  }

  static async of(image: VhdxImage, options: VhdxOptions): Promise<VhdxDisk> {
    if (image.metadata.hasParent && options.parent === undefined)
      throw corrupt(image.file, 'a differencing disk without its parent');
    const space = image.file.writable ? await mapSpace(image) : new Space(0);
    return new VhdxDisk(image, space, await image.view.size(), options);
  }

  get path(): string {
    return this.#file.path;
  }
  get size(): number {
    return this.#metadata.diskSize;
  }
  get logicalSectorSize(): number {
    return this.#metadata.logicalSectorSize;
  }
  get physicalSectorSize(): number {
    return this.#metadata.physicalSectorSize;
  }
  get identifier(): Uint8Array {
    return this.#metadata.diskId;
  }
  get metadata(): Metadata {
    return this.#metadata;
  }
  get dataWriteGuid(): Uint8Array {
    return this.#image.headers.header.dataWriteGuid;
  }

  #pieces(offset: number, length: number): Piece[] {
    const size = this.#metadata.blockSize;
    const pieces: Piece[] = [];
    for (let from = 0; from < length; ) {
      const at = (offset + from) % size;
      const count = Math.min(length - from, size - at);
      pieces.push({ block: Math.floor((offset + from) / size), at, length: count, from });
      from += count;
    }
    return pieces;
  }

  async #passing<T>(work: () => Promise<T>): Promise<T> {
    await this.#gate.share();
    try {
      return await work();
    } finally {
      this.#gate.release();
    }
  }

  async #locked<T>(block: number, kind: 'share' | 'exclude', work: () => Promise<T>): Promise<T> {
    await this.#blocks[kind](block);
    try {
      return await work();
    } finally {
      this.#blocks.release(block);
    }
  }

  async #entry(block: number): Promise<BatEntry> {
    const entry = await this.#bat.get(this.#bat.payloadIndex(block));
    // A read-only disk's table was not looked at as a whole.
    if (
      hasPlace(entry.state) &&
      (entry.offset < FIRST_OBJECT || entry.offset + this.#metadata.blockSize > this.#journal.fileSize)
    )
      throw corrupt(this.#file, `block ${block} lies outside the file (${entry.offset})`);
    if (entry.state === BlockState.partiallyPresent && this.parent === undefined)
      throw corrupt(this.#file, `block ${block} is partial, but there is no parent`);
    return entry;
  }

  protected doRead(offset: number, into: Uint8Array): Promise<void> {
    return this.#passing(() =>
      allDone(
        this.#pieces(offset, into.length).map((piece) =>
          this.#locked(piece.block, 'share', () =>
            this.#readPiece(piece, into.subarray(piece.from, piece.from + piece.length)),
          ),
        ),
      ),
    );
  }

  async #readPiece(piece: Piece, into: Uint8Array): Promise<void> {
    const entry = await this.#entry(piece.block);
    const start = piece.block * this.#metadata.blockSize + piece.at;
    if (entry.state === BlockState.fullyPresent) return this.#readFile(entry.offset + piece.at, into);
    if (entry.state === BlockState.notPresent) return readParent(this.parent, start, into);
    if (entry.state !== BlockState.partiallyPresent) {
      into.fill(0);
      return;
    }
    const work: Promise<void>[] = [];
    for (const run of await this.#runs(piece)) {
      const part = into.subarray(run.offset, run.offset + run.length);
      if (run.set) work.push(this.#readFile(entry.offset + piece.at + run.offset, part));
      else work.push(readParent(this.parent, start + run.offset, part));
    }
    await allDone(work);
  }

  async #readFile(offset: number, into: Uint8Array): Promise<void> {
    if ((await this.#image.view.read(offset, into)) < into.length)
      throw corrupt(this.#file, 'the file ends within a block');
  }

  readNow(offset: number, into: readonly Uint8Array[]): boolean {
    const length = this.checkedLength(offset, into, 'read');
    const place = this.#placeNow(offset, length);
    return place !== undefined && this.#image.view.readNow(place, into, length);
  }

  writeNow(offset: number, from: readonly Uint8Array[]): boolean {
    const length = this.checkedLength(offset, from, 'write');
    const place = this.#journal.begun ? this.#placeNow(offset, length) : undefined;
    return place !== undefined && (this.#file.writeNow?.(place, from, length) ?? false);
  }

  /** Where a range is in the file, if it is in one block that is wholly there and that nobody is changing. */
  #placeNow(offset: number, length: number): number | undefined {
    const { blockSize } = this.#metadata;
    const [block, at] = [Math.floor(offset / blockSize), offset % blockSize];
    if (at + length > blockSize || !this.#gate.shareable || !this.#blocks.shareable(block)) return undefined;
    const entry = this.#bat.get(this.#bat.payloadIndex(block));
    if (entry instanceof Promise || entry.state !== BlockState.fullyPresent) return undefined;
    const inside = entry.offset >= FIRST_OBJECT && entry.offset + blockSize <= this.#journal.fileSize;
    return inside ? entry.offset + at : undefined;
  }

  protected doWrite(offset: number, from: Uint8Array): Promise<void> {
    return this.#passing(async () => {
      await this.#journal.begin();
      await allDone(
        this.#pieces(offset, from.length).map((piece) =>
          this.#writePiece(piece, from.subarray(piece.from, piece.from + piece.length)),
        ),
      );
      // A guest that never flushes must not make us keep all its tables in memory.
      if (this.#pages.dirty > MOST_CHANGED_PAGES) await this.#journal.flush();
    });
  }

  async #writePiece(piece: Piece, from: Uint8Array): Promise<void> {
    const done = await this.#locked(piece.block, 'share', async () => {
      const entry = await this.#entry(piece.block);
      if (!hasPlace(entry.state)) return false;
      await this.#file.write(entry.offset + piece.at, from);
      if (entry.state === BlockState.partiallyPresent) await this.#setPresent(piece);
      return true;
    });
    if (done) return;
    await this.#locked(piece.block, 'exclude', async () => {
      const entry = await this.#entry(piece.block);
      if (!hasPlace(entry.state)) return this.#place(piece, entry.state, from);
      // Somebody else gave it its place meanwhile.
      await this.#file.write(entry.offset + piece.at, from);
      if (entry.state === BlockState.partiallyPresent) await this.#setPresent(piece);
    });
  }

  /** Gives a block its place in the file, the piece in it, zeroes around it. The block is ours alone. */
  async #place(piece: Piece, state: number, from: Uint8Array | undefined): Promise<void> {
    const { blockSize } = this.#metadata;
    const { offset, fresh } = this.#space.allocate(blockSize);
    try {
      await this.#journal.grow(offset + blockSize);
      if (!fresh) await this.#file.zero(offset, blockSize, 'free');
      if (from !== undefined) await this.#file.write(offset + piece.at, from);
      const inherits = this.parent !== undefined && state === BlockState.notPresent && piece.length < blockSize;
      if (inherits) {
        await this.#clearBits(piece.block);
        await this.#setPresent(piece);
      }
      const next = inherits ? BlockState.partiallyPresent : BlockState.fullyPresent;
      await this.#bat.set(this.#bat.payloadIndex(piece.block), next, offset);
    } catch (error) {
      this.#space.release(offset, blockSize);
      throw error;
    }
  }

  protected doZero(offset: number, length: number, space: 'free' | 'keep'): Promise<void> {
    return this.#passing(async () => {
      await this.#journal.begin();
      await allDone(
        this.#pieces(offset, length).map((piece) =>
          this.#locked(piece.block, 'exclude', () => this.#zeroPiece(piece, space)),
        ),
      );
    });
  }

  async #zeroPiece(piece: Piece, space: 'free' | 'keep'): Promise<void> {
    const { blockSize, diskSize, leaveBlocksAllocated } = this.#metadata;
    const entry = await this.#entry(piece.block);
    const whole = piece.at === 0 && piece.length === Math.min(blockSize, diskSize - piece.block * blockSize);
    const index = this.#bat.payloadIndex(piece.block);
    if (!hasPlace(entry.state)) {
      if (entry.state !== BlockState.notPresent || this.parent === undefined) return;
      if (whole) await this.#bat.set(index, BlockState.zero, 0);
      else await this.#place(piece, entry.state, undefined);
      return;
    }
    if (whole && space === 'free' && !leaveBlocksAllocated) {
      await this.#bat.set(index, BlockState.zero, 0);
      this.#journal.leave({ offset: entry.offset, length: blockSize });
      return;
    }
    await this.#file.zero(entry.offset + piece.at, piece.length, space);
    if (entry.state === BlockState.partiallyPresent) await this.#setPresent(piece);
  }

  // ------------------------------------------------------------------------------------------- sector bitmaps (2.4)

  /** Which sectors of a piece are in this file. */
  async #runs(piece: Piece): Promise<{ readonly offset: number; readonly length: number; readonly set: boolean }[]> {
    const chunk = Math.floor(piece.block / this.#bat.chunkRatio);
    const bitmap = await this.#bitmapBlock(chunk);
    return bitRuns(
      this.#pages,
      bitmap,
      this.#bitOf(piece),
      piece.length / this.logicalSectorSize,
      this.logicalSectorSize,
    );
  }

  async #bitmapBlock(chunk: number): Promise<number> {
    const entry = await this.#bat.get(this.#bat.bitmapIndex(chunk));
    if (entry.state !== BlockState.fullyPresent) throw corrupt(this.#file, `sector bitmap ${chunk} is missing`);
    if (entry.offset < FIRST_OBJECT || entry.offset + BITMAP_BLOCK_SIZE > this.#journal.fileSize)
      throw corrupt(this.#file, `sector bitmap ${chunk} lies outside the file (${entry.offset})`);
    return entry.offset;
  }

  /** The number of a piece's first bit in its chunk's bitmap. */
  #bitOf(piece: Piece): number {
    const { blockSize, logicalSectorSize } = this.#metadata;
    return ((piece.block % this.#bat.chunkRatio) * blockSize + piece.at) / logicalSectorSize;
  }

  async #setPresent(piece: Piece, present = true): Promise<void> {
    const bitmap = await this.#bitmapBlock(Math.floor(piece.block / this.#bat.chunkRatio));
    await setBits(this.#pages, bitmap, this.#bitOf(piece), piece.length / this.logicalSectorSize, present);
  }

  /** Bits of a block that had no place say nothing: a power cut may have left them. */
  async #clearBits(block: number): Promise<void> {
    const chunk = Math.floor(block / this.#bat.chunkRatio);
    await this.#chunks.exclude(chunk);
    try {
      const index = this.#bat.bitmapIndex(chunk);
      if ((await this.#bat.get(index)).state !== BlockState.fullyPresent) {
        const { offset, fresh } = this.#space.allocate(BITMAP_BLOCK_SIZE);
        try {
          await this.#journal.grow(offset + BITMAP_BLOCK_SIZE);
          if (!fresh) await this.#file.zero(offset, BITMAP_BLOCK_SIZE, 'keep');
          this.#pages.forget(offset, BITMAP_BLOCK_SIZE);
          await this.#bat.set(index, BlockState.fullyPresent, offset);
        } catch (error) {
          this.#space.release(offset, BITMAP_BLOCK_SIZE);
          throw error;
        }
      }
    } finally {
      this.#chunks.release(chunk);
    }
    await this.#setPresent({ block, at: 0, length: this.#metadata.blockSize, from: 0 }, false);
  }

  protected doFlush(): Promise<void> {
    return this.#journal.flush();
  }

  // ------------------------------------------------------------------------------------------ resizing and compacting

  protected async doResize(size: number): Promise<void> {
    await this.#gate.exclude();
    try {
      await this.#resizeNow(size);
    } finally {
      this.#gate.release();
    }
  }

  async #resizeNow(size: number): Promise<void> {
    const before = this.#metadata;
    const next = { ...before, diskSize: size };
    const plan = planResize(this.#image, this.#journal.bat, next);
    await this.#journal.begin();
    if (size < before.diskSize) await this.#dropBeyond(size);
    else
      await this.#clearEntries(
        batShape(before).entries,
        Math.min(batShape(next).entries, this.#journal.bat.length / 8),
      );
    await this.#journal.flush();
    if (plan.batLength > this.#journal.bat.length) await this.#moveBat(next, plan.batLength);
    else await this.#journal.commit(await resizePages(this.#image, next, undefined));
    this.#metadata = next;
    if (next.leaveBlocksAllocated) await this.#placeAll();
    // New sectors are zeroes, not what a larger parent has there.
    const covered = Math.min(size, this.parent?.size ?? 0) - before.diskSize;
    if (covered <= 0) return;
    for (const piece of this.#pieces(before.diskSize, covered)) await this.#zeroPiece(piece, 'free');
    await this.#journal.flush();
  }

  /** Blocks past the new end go, and the last one's rest becomes zeroes: growing again must not bring it back. */
  async #dropBeyond(size: number): Promise<void> {
    const { blockSize, diskSize } = this.#metadata;
    const edge = Math.min(diskSize, Math.ceil(size / blockSize) * blockSize);
    for (const piece of this.#pieces(size, edge - size)) {
      const { state } = await this.#entry(piece.block);
      if (hasPlace(state)) await this.#zeroPiece(piece, 'free');
    }
    const first = Math.ceil(size / blockSize);
    const end = batShape(this.#metadata).entries;
    for await (const { index, entry } of this.#bat.used(this.#bat.payloadIndex(first), end)) {
      // Bitmaps stay: bits of blocks without a place say nothing.
      if (this.#bat.isBitmap(index)) continue;
      await this.#bat.set(index, BlockState.notPresent, 0);
      if (hasPlace(entry.state)) this.#journal.leave({ offset: entry.offset, length: blockSize });
    }
  }

  /** Entries past the table's end have no meaning until now: whatever wrote them. */
  async #clearEntries(first: number, end: number): Promise<void> {
    for await (const { index } of this.#bat.used(first, end)) await this.#bat.set(index, BlockState.notPresent, 0);
  }

  async #moveBat(next: Metadata, length: number): Promise<void> {
    const old = this.#journal.bat;
    const { offset, fresh } = this.#space.allocate(length);
    await this.#journal.grow(offset + length);
    if (!fresh) await this.#file.zero(offset, length, 'keep');
    await this.#file.allocate(offset, length);
    const piece = new Uint8Array(MIB);
    for (let at = 0; at < old.length; at += piece.length) {
      await this.#file.read(old.offset + at, piece);
      await this.#file.write(offset + at, piece);
    }
    await this.#journal.commit(await resizePages(this.#image, next, { offset, length }));
    this.#journal.bat = { offset, length };
    this.#bat.offset = offset;
    this.#pages.forget(old.offset, old.length);
    this.#space.release(old.offset, old.length);
  }

  async #placeAll(): Promise<void> {
    const { blockSize, diskSize } = this.#metadata;
    for (let block = 0; block * blockSize < diskSize; block++) {
      const { state } = await this.#entry(block);
      if (!hasPlace(state)) await this.#place({ block, at: 0, length: blockSize, from: 0 }, state, undefined);
    }
    await this.#journal.flush();
  }

  /**
   * Moves blocks from the file's end into what is free below and cuts the file. Blocks of zeroes are to be discarded
   * before. @param progress Called with blocks done and all.
   */
  async compact(progress: (done: number, all: number) => void = () => {}): Promise<void> {
    await this.#gate.exclude();
    try {
      await this.#compactNow(progress);
    } finally {
      this.#gate.release();
    }
  }

  async #compactNow(progress: (done: number, all: number) => void): Promise<void> {
    await this.#journal.begin();
    await this.#journal.flush();
    const shape = batShape(this.#metadata);
    const places: { index: number; offset: number; length: number; state: number }[] = [];
    for await (const { index, entry } of this.#bat.used(0, shape.entries)) {
      const length = this.#bat.isBitmap(index) ? BITMAP_BLOCK_SIZE : this.#metadata.blockSize;
      if (hasPlace(entry.state)) places.push({ index, offset: entry.offset, length, state: entry.state });
    }
    places.sort((a, b) => b.offset - a.offset);
    const piece = new Uint8Array(MIB);
    let done = 0;
    for (const place of places) {
      progress(done++, places.length);
      const target = this.#space.allocate(place.length);
      if (target.offset > place.offset) {
        this.#space.release(target.offset, place.length);
        continue;
      }
      for (let at = 0; at < place.length; at += piece.length) {
        await this.#readFile(place.offset + at, piece);
        await this.#file.write(target.offset + at, piece);
      }
      this.#pages.forget(place.offset, place.length);
      await this.#bat.set(place.index, place.state, target.offset);
      this.#journal.leave({ offset: place.offset, length: place.length });
      if (this.#journal.leaving >= BLOCKS_AT_A_TIME) await this.#journal.flush();
    }
    progress(places.length, places.length);
    // The log would say that the file was larger.
    await this.#journal.retire();
    const end = this.#space.end;
    if (end < this.#journal.fileSize) {
      await this.#journal.cut(end);
      this.#space.cut(end);
    }
  }

  // ---------------------------------------------------------------------------------------------------------- the rest

  protected async *doRanges(offset: number, length: number): AsyncIterable<DiskRange> {
    for (const piece of this.#pieces(offset, length)) {
      const { state } = await this.#entry(piece.block);
      const start = offset + piece.from;
      if (state === BlockState.partiallyPresent) {
        for (const run of await this.#runs(piece))
          yield { offset: start + run.offset, length: run.length, state: run.set ? 'data' : 'parent' };
      } else if (state === BlockState.fullyPresent) yield { offset: start, length: piece.length, state: 'data' };
      else {
        const inherited = state === BlockState.notPresent && this.parent !== undefined;
        yield { offset: start, length: piece.length, state: inherited ? 'parent' : 'zero' };
      }
    }
  }

  inspect(): Record<string, unknown> {
    const { blockSize, diskSize, diskId, hasParent, leaveBlocksAllocated } = this.#metadata;
    return {
      format: this.format,
      path: this.path,
      type: hasParent ? 'differencing' : leaveBlocksAllocated ? 'fixed' : 'dynamic',
      size: diskSize,
      blockSize,
      identifier: guidText(diskId),
      fileSize: this.#journal.fileSize,
      changedPages: this.#pages.dirty,
      blocksInUse: this.#blocks.size,
      logSequence: this.#journal.sequence,
      parent: this.parent?.inspect(),
    };
  }

  protected async doClose(): Promise<void> {
    try {
      if (this.writable) await this.#journal.retire();
    } finally {
      await this.#file.close();
    }
  }
}
