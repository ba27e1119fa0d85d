/**
 * A dynamic or differencing VHD: "Block Allocation Table and Data Blocks". The format has no log, so a flush has two
 * steps: data, new blocks and their empty bitmaps become durable, then the bits and table entries that speak of them.
 */
import type { RandomFile } from '../../host/disk-files.ts';
import { guidText } from '../../support/guid.ts';
import { allDone, BaseDisk, type Disk, type DiskRange, readParent, troubleOf } from '../disk.ts';
import { KeyedLocks, Queue, SharedLock } from '../locks.ts';
import { corrupt, encodeFooter, encodeSparseHeader, geometry, type SparseHeader } from './footer.ts';
import {
  DiskType,
  FOOTER_SIZE,
  type Footer,
  MAXIMUM_DISK_SIZE,
  MAXIMUM_TABLE_ENTRIES,
  SECTOR,
  UNUSED_ENTRY,
} from './protocol.ts';

/** Bitmaps of a differencing disk in memory. */
const MOST_BITMAPS = 4096;

interface Piece {
  readonly block: number;
  readonly at: number;
  readonly length: number;
  readonly from: number;
}

export class SparseVhd extends BaseDisk {
  readonly format = 'vhd';
  readonly logicalSectorSize = SECTOR;
  readonly physicalSectorSize = SECTOR;
  readonly writable: boolean;
  override readonly parent: Disk | undefined;
  readonly #file: RandomFile;
  readonly #differencing: boolean;
  readonly #blockSize: number;
  readonly #bitmapSize: number;
  #footer: Footer;
  #sparse: SparseHeader;
  #table: Uint32Array;
  #tableOffset: number;
  /** Where the next block goes: behind the last one and everything else. */
  #end: number;
  #fileSize: number;
  readonly #gate = new SharedLock();
  readonly #blocks = new KeyedLocks();
  readonly #flushes = new Queue();
  readonly #growth = new Queue();
  /** Sectors of the table that were changed. */
  readonly #dirtyTable = new Set<number>();
  readonly #bitmaps = new Map<number, Uint8Array>();
  readonly #dirtyBitmaps = new Set<number>();
  /** Bitmaps on their way to the file. */
  readonly #flushing = new Set<number>();
  #queuedFlush: Promise<void> | undefined;
  #lost: unknown;

  private constructor(
    file: RandomFile,
    fileSize: number,
    footer: Footer,
    sparse: SparseHeader,
    table: Uint32Array,
    parent: Disk | undefined,
  ) {
    super();
    this.#file = file;
    this.#fileSize = fileSize;
    this.#footer = footer;
    this.#sparse = sparse;
    this.#table = table;
    this.#tableOffset = sparse.tableOffset;
    this.#blockSize = sparse.blockSize;
    this.#bitmapSize = bitmapSize(sparse.blockSize);
    this.#differencing = footer.type === DiskType.differencing;
    this.#end = 0;
    this.writable = file.writable;
    this.parent = parent;
  }

  static async open(file: RandomFile, footer: Footer, sparse: SparseHeader, parent?: Disk): Promise<SparseVhd> {
    const table = await readTable(file, sparse);
    const fileSize = await file.size();
    const disk = new SparseVhd(file, fileSize, footer, sparse, table, parent);
    disk.#end = disk.#findEnd();
    return disk;
  }

  /** @throws when blocks lie over each other or outside the file. */
  #findEnd(): number {
    const start = Number(this.#footer.dataOffset) + 1024;
    const tableEnd = this.#tableOffset + Math.ceil((this.#table.length * 4) / SECTOR) * SECTOR;
    const used = this.#table.filter((entry) => entry !== UNUSED_ENTRY).sort();
    const length = (this.#bitmapSize + this.#blockSize) / SECTOR;
    for (let i = 0; i < used.length; i++) {
      const at = used[i]!;
      if ((at + length) * SECTOR > this.#fileSize)
        throw corrupt(this.#file, `a block lies outside the file (sector ${at})`);
      if (i > 0 && at < used[i - 1]! + length)
        throw corrupt(this.#file, `two blocks take the same place (sector ${at})`);
      const over = at * SECTOR < tableEnd && (at + length) * SECTOR > this.#tableOffset;
      if (at * SECTOR < start || over) throw corrupt(this.#file, `a block lies over the headers (sector ${at})`);
    }
    // A locator's data may lie behind the table, with no block yet: the footer is after all of that.
    const last = used.length === 0 ? this.#fileSize - FOOTER_SIZE : (used.at(-1)! + length) * SECTOR;
    return Math.max(tableEnd, Math.floor(last / SECTOR) * SECTOR);
  }

  get path(): string {
    return this.#file.path;
  }
  get size(): number {
    return Number(this.#footer.currentSize);
  }
  get identifier(): Uint8Array {
    return this.#footer.uniqueId;
  }
  get footer(): Footer {
    return this.#footer;
  }
  get blockSize(): number {
    return this.#blockSize;
  }

  #pieces(offset: number, length: number): Piece[] {
    const pieces: Piece[] = [];
    for (let from = 0; from < length; ) {
      const at = (offset + from) % this.#blockSize;
      const count = Math.min(length - from, this.#blockSize - at);
      pieces.push({ block: (offset + from - at) / this.#blockSize, at, length: count, from });
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

  /** File offset of a block's bitmap, if the block is there. */
  #place(block: number): number | undefined {
    const entry = this.#table[block]!;
    return entry === UNUSED_ENTRY ? undefined : entry * SECTOR;
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
    const place = this.#place(piece.block);
    const start = piece.block * this.#blockSize + piece.at;
    if (place === undefined) return readParent(this.parent, start, into);
    const data = place + this.#bitmapSize + piece.at;
    // Of a dynamic disk's sectors all are here: writers leave the ones without a bit zero.
    if (!this.#differencing) return this.#readFile(data, into);
    const work: Promise<void>[] = [];
    for (const run of await this.#runs(piece, place)) {
      const part = into.subarray(run.offset, run.offset + run.length);
      if (run.set) work.push(this.#readFile(data + run.offset, part));
      else work.push(readParent(this.parent, start + run.offset, part));
    }
    await allDone(work);
  }

  async #readFile(offset: number, into: Uint8Array): Promise<void> {
    if ((await this.#file.read(offset, into)) < into.length) throw corrupt(this.#file, 'the file ends within a block');
  }

  protected doWrite(offset: number, from: Uint8Array): Promise<void> {
    return this.#passing(async () => {
      this.#checkLost();
      const write = (piece: Piece): Promise<void> =>
        this.#change(piece, (data) => this.#file.write(data, from.subarray(piece.from, piece.from + piece.length)));
      await allDone(this.#pieces(offset, from.length).map(write));
      // A guest that never flushes must not make us keep all bitmaps in memory.
      if (this.#dirtyBitmaps.size > MOST_BITMAPS / 2) await this.doFlush();
    });
  }

  protected doZero(offset: number, length: number, space: 'free' | 'keep'): Promise<void> {
    return this.#passing(async () => {
      this.#checkLost();
      const zero = async (piece: Piece): Promise<void> => {
        if (!this.#differencing && this.#place(piece.block) === undefined) return;
        await this.#change(piece, (data) => this.#file.zero(data, piece.length, space));
      };
      await allDone(this.#pieces(offset, length).map(zero));
    });
  }

  /** @param write Puts the piece's data at a file offset. */
  async #change(piece: Piece, write: (data: number) => Promise<void>): Promise<void> {
    const done = await this.#locked(piece.block, 'share', () => this.#changeInPlace(piece, write));
    if (done) return;
    await this.#locked(piece.block, 'exclude', async () => {
      if (await this.#changeInPlace(piece, write)) return;
      const place = await this.#newBlock();
      await write(place + this.#bitmapSize + piece.at).catch((error: unknown) => {
        // The last block's place can be given out again.
        if (this.#end === place + this.#bitmapSize + this.#blockSize) this.#end = place;
        throw error;
      });
      this.#table[piece.block] = place / SECTOR;
      this.#dirtyTable.add(Math.floor((piece.block * 4) / SECTOR));
      this.#bitmaps.delete(piece.block);
      if (this.#differencing) await this.#setBits(piece, place);
    });
  }

  async #changeInPlace(piece: Piece, write: (data: number) => Promise<void>): Promise<boolean> {
    const place = this.#place(piece.block);
    if (place === undefined) return false;
    await write(place + this.#bitmapSize + piece.at);
    if (this.#differencing) await this.#setBits(piece, place);
    return true;
  }

  /** Room for a block before the footer, which moves on; its bitmap is written, its data are zeroes. */
  #newBlock(): Promise<number> {
    return this.#growth.run(async () => {
      const place = this.#end;
      const end = place + this.#bitmapSize + this.#blockSize;
      const before = this.#fileSize;
      if (end + FOOTER_SIZE > before) {
        await this.#file.resize(end + FOOTER_SIZE);
        this.#fileSize = end + FOOTER_SIZE;
      }
      // The old footer, or what a power cut left.
      if (before > place) await this.#file.zero(place, Math.min(before, end) - place, 'free');
      if (!this.#differencing) await this.#file.write(place, new Uint8Array(this.#bitmapSize).fill(0xff));
      await this.#file.write(this.#fileSize - FOOTER_SIZE, encodeFooter(this.#footer));
      this.#end = end;
      return place;
    });
  }

  // --------------------------------------------------------------------------------- sector bitmaps: first in bit 7

  async #bitmap(block: number, place: number): Promise<Uint8Array> {
    const known = this.#bitmaps.get(block);
    if (known !== undefined) return known;
    const bytes = new Uint8Array(this.#bitmapSize);
    await this.#readFile(place, bytes);
    // Somebody else may have read it meanwhile, and changed it.
    const other = this.#bitmaps.get(block);
    if (other !== undefined) return other;
    if (this.#bitmaps.size >= MOST_BITMAPS) {
      for (const key of this.#bitmaps.keys()) {
        if (this.#dirtyBitmaps.has(key) || this.#flushing.has(key)) continue;
        this.#bitmaps.delete(key);
        break;
      }
    }
    this.#bitmaps.set(block, bytes);
    return bytes;
  }

  async #runs(piece: Piece, place: number): Promise<{ offset: number; length: number; set: boolean }[]> {
    const bits = await this.#bitmap(piece.block, place);
    const first = piece.at / SECTOR;
    const runs: { offset: number; length: number; set: boolean }[] = [];
    for (let i = 0; i < piece.length / SECTOR; i++) {
      const set = ((bits[(first + i) >> 3]! >> (7 - ((first + i) & 7))) & 1) === 1;
      const last = runs.at(-1);
      if (last?.set === set) last.length += SECTOR;
      else runs.push({ offset: i * SECTOR, length: SECTOR, set });
    }
    return runs;
  }

  async #setBits(piece: Piece, place: number): Promise<void> {
    const bits = await this.#bitmap(piece.block, place);
    const first = piece.at / SECTOR;
    for (let i = first; i < first + piece.length / SECTOR; i++) bits[i >> 3]! |= 0x80 >> (i & 7);
    this.#dirtyBitmaps.add(piece.block);
  }

  // ----------------------------------------------------------------------------------------------------------- flush

  #checkLost(): void {
    if (this.#lost !== undefined)
      throw this.trouble('io', 'an earlier write could not be made durable; close the disk and check it');
  }

  protected doFlush(): Promise<void> {
    this.#queuedFlush ??= this.#flushes.run(() => {
      this.#queuedFlush = undefined;
      return this.#flushNow();
    });
    return this.#queuedFlush;
  }

  async #flushNow(): Promise<void> {
    this.#checkLost();
    const tableSectors = [...this.#dirtyTable];
    const blocks = [...this.#dirtyBitmaps];
    const writes: [number, Uint8Array][] = [];
    for (const sector of tableSectors) writes.push([this.#tableOffset + sector * SECTOR, this.#tableSector(sector)]);
    for (const block of blocks) writes.push([this.#place(block)!, this.#bitmaps.get(block)!.slice()]);
    this.#dirtyTable.clear();
    this.#dirtyBitmaps.clear();
    for (const block of blocks) this.#flushing.add(block);
    try {
      await this.#sync();
      if (writes.length === 0) return;
      await allDone(writes.map(([offset, bytes]) => this.#file.write(offset, bytes)));
      await this.#sync();
    } catch (error) {
      for (const sector of tableSectors) this.#dirtyTable.add(sector);
      for (const block of blocks) this.#dirtyBitmaps.add(block);
      throw error;
    } finally {
      for (const block of blocks) this.#flushing.delete(block);
    }
  }

  async #sync(): Promise<void> {
    try {
      await this.#file.sync();
    } catch (error) {
      if (troubleOf(error) !== 'outOfSpace') this.#lost = error;
      throw error;
    }
  }

  #tableSector(sector: number): Uint8Array {
    const bytes = new Uint8Array(SECTOR).fill(0xff);
    const view = new DataView(bytes.buffer);
    const first = (sector * SECTOR) / 4;
    for (let i = 0; i < SECTOR / 4 && first + i < this.#table.length; i++)
      view.setUint32(i * 4, this.#table[first + i]!);
    return bytes;
  }

  // -------------------------------------------------------------------------------------------------------- resizing

  protected async doResize(size: number): Promise<void> {
    if (size > MAXIMUM_DISK_SIZE) throw this.trouble('range', 'a VHD holds at most 2040 GiB');
    await this.#gate.exclude();
    try {
      await this.#flushes.run(() => this.#resizeNow(size));
    } finally {
      this.#gate.release();
    }
  }

  async #resizeNow(size: number): Promise<void> {
    const entries = Math.ceil(size / this.#blockSize);
    if (entries > MAXIMUM_TABLE_ENTRIES) throw this.trouble('range', 'too many blocks: the block size is too small');
    if (size < this.size) await this.#dropBeyond(size, entries);
    await this.#flushNow();
    const table = new Uint32Array(entries).fill(UNUSED_ENTRY);
    table.set(this.#table.subarray(0, entries));
    this.#table = table;
    const { header } = this.#sparse;
    if (entries > header.maxTableEntries) {
      // A new table at the end; the header's first sector names it, and is written as one.
      const offset = this.#end;
      const sectors = Math.ceil((entries * 4) / SECTOR);
      this.#end = offset + sectors * SECTOR;
      if (this.#end + FOOTER_SIZE > this.#fileSize) {
        await this.#file.resize(this.#end + FOOTER_SIZE);
        this.#fileSize = this.#end + FOOTER_SIZE;
      }
      for (let sector = 0; sector < sectors; sector++)
        await this.#file.write(offset + sector * SECTOR, this.#tableSector(sector));
      await this.#file.write(this.#fileSize - FOOTER_SIZE, encodeFooter(this.#footer));
      await this.#sync();
      const next = { ...header, tableOffset: BigInt(offset), maxTableEntries: entries };
      await this.#file.write(Number(this.#footer.dataOffset), encodeSparseHeader(next));
      await this.#sync();
      this.#sparse = { ...this.#sparse, header: next, tableOffset: offset };
      this.#tableOffset = offset;
    } else {
      // Entries past the old end may say anything.
      for (let sector = 0; sector < Math.ceil((entries * 4) / SECTOR); sector++) this.#dirtyTable.add(sector);
      await this.#flushNow();
    }
    this.#sparse = { ...this.#sparse, entries };
    const before = this.size;
    this.#footer = { ...this.#footer, currentSize: BigInt(size), ...geometry(size) };
    await this.#file.write(0, encodeFooter(this.#footer));
    await this.#file.write(this.#fileSize - FOOTER_SIZE, encodeFooter(this.#footer));
    await this.#sync();
    // New sectors are zeroes, not what a larger parent has there.
    const covered = Math.min(size, this.parent?.size ?? 0) - before;
    if (covered <= 0) return;
    for (const piece of this.#pieces(before, covered))
      await this.#change(piece, (data) => this.#file.zero(data, piece.length, 'free'));
    await this.#flushNow();
  }

  /** What lies past the new end must not come back when the disk grows again. */
  async #dropBeyond(size: number, entries: number): Promise<void> {
    const edge = Math.min(this.size, entries * this.#blockSize);
    for (const piece of this.#pieces(size, edge - size)) {
      const place = this.#place(piece.block);
      if (place === undefined) continue;
      await this.#file.zero(place + this.#bitmapSize + piece.at, piece.length, 'free');
      if (this.#differencing) await this.#setBits(piece, place);
    }
    for (let block = entries; block < this.#table.length; block++) {
      if (this.#table[block] === UNUSED_ENTRY) continue;
      this.#table[block] = UNUSED_ENTRY;
      this.#dirtyTable.add(Math.floor((block * 4) / SECTOR));
      this.#dirtyBitmaps.delete(block);
      this.#bitmaps.delete(block);
    }
  }

  protected async *doRanges(offset: number, length: number): AsyncIterable<DiskRange> {
    for (const piece of this.#pieces(offset, length)) {
      const place = this.#place(piece.block);
      const start = offset + piece.from;
      if (place === undefined)
        yield { offset: start, length: piece.length, state: this.#differencing ? 'parent' : 'zero' };
      else if (!this.#differencing) yield { offset: start, length: piece.length, state: 'data' };
      else
        for (const run of await this.#runs(piece, place))
          yield { offset: start + run.offset, length: run.length, state: run.set ? 'data' : 'parent' };
    }
  }

  inspect(): Record<string, unknown> {
    return {
      format: this.format,
      path: this.path,
      type: this.#differencing ? 'differencing' : 'dynamic',
      size: this.size,
      blockSize: this.#blockSize,
      identifier: guidText(this.#footer.uniqueId),
      fileSize: this.#fileSize,
      changedSectors: this.#dirtyTable.size + this.#dirtyBitmaps.size,
      parent: this.parent?.inspect(),
    };
  }

  protected async doClose(): Promise<void> {
    try {
      if (this.writable && this.#lost === undefined) await this.doFlush();
    } finally {
      await this.#file.close();
    }
  }
}

/** Of one block, in whole sectors. */
export function bitmapSize(blockSize: number): number {
  return Math.ceil(blockSize / SECTOR / 8 / SECTOR) * SECTOR;
}

export async function readTable(file: RandomFile, sparse: SparseHeader): Promise<Uint32Array> {
  const bytes = new Uint8Array(sparse.entries * 4);
  if ((await file.read(sparse.tableOffset, bytes)) < bytes.length) throw corrupt(file, 'the table is cut off');
  const view = new DataView(bytes.buffer);
  return Uint32Array.from({ length: sparse.entries }, (_, i) => view.getUint32(i * 4));
}
