/** The block allocation table: which entry speaks for which block, and what it says. [MS-VHDX] 2.5. */
import type { Metadata } from './metadata.ts';
import { type MetadataPages, PAGE } from './pages.ts';
import { BAT_ENTRY_SIZE, MIB, SECTORS_PER_BITMAP } from './protocol.ts';

export interface BatShape {
  readonly blocks: number;
  /** Payload blocks for each sector bitmap block. */
  readonly chunkRatio: number;
  /** Of the table, sector bitmap entries included. */
  readonly entries: number;
}

export function batShape(
  metadata: Pick<Metadata, 'blockSize' | 'diskSize' | 'logicalSectorSize' | 'hasParent'>,
): BatShape {
  const chunkRatio = (SECTORS_PER_BITMAP * metadata.logicalSectorSize) / metadata.blockSize;
  const blocks = Math.ceil(metadata.diskSize / metadata.blockSize);
  const entries = metadata.hasParent
    ? Math.ceil(blocks / chunkRatio) * (chunkRatio + 1)
    : blocks + Math.floor((blocks - 1) / chunkRatio);
  return { blocks, chunkRatio, entries };
}

export interface BatEntry {
  readonly state: number;
  /** In the file. Only a state that has a place makes it mean something. */
  readonly offset: number;
}

export function decodeBatEntry(low: number, high: number): BatEntry {
  // 44 bits of MiB: exact as a number.
  return { state: low & 7, offset: (high * 2 ** 12 + (low >>> 20)) * MIB };
}

export class Bat {
  /** Changes when the table moves. */
  offset: number;
  readonly #pages: MetadataPages;
  chunkRatio: number;

  constructor(pages: MetadataPages, offset: number, chunkRatio: number) {
    this.#pages = pages;
    this.offset = offset;
    this.chunkRatio = chunkRatio;
  }

  payloadIndex(block: number): number {
    return block + Math.floor(block / this.chunkRatio);
  }

  bitmapIndex(chunk: number): number {
    return chunk * (this.chunkRatio + 1) + this.chunkRatio;
  }

  isBitmap(index: number): boolean {
    return index % (this.chunkRatio + 1) === this.chunkRatio;
  }

  /** At once when its page is here. */
  get(index: number): BatEntry | Promise<BatEntry> {
    const page = this.#pages.peek(this.#pageOf(index));
    return page === undefined ? this.#load(index) : read(page, index);
  }

  async #load(index: number): Promise<BatEntry> {
    return read(await this.#pages.load(this.#pageOf(index)), index);
  }

  async set(index: number, state: number, offset: number): Promise<void> {
    const at = this.#pageOf(index);
    const page = await this.#pages.load(at);
    const view = new DataView(page.buffer);
    const where = (index * BAT_ENTRY_SIZE) % PAGE;
    const mebibytes = offset / MIB;
    view.setUint32(where, ((mebibytes % 2 ** 12) * 2 ** 20 + state) >>> 0, true);
    view.setUint32(where + 4, Math.floor(mebibytes / 2 ** 12), true);
    this.#pages.touch(at);
  }

  /** The entries from `first` up to `end` that are not all zeroes: most of a large table is, and is passed over fast. */
  async *used(first: number, end: number): AsyncGenerator<{ readonly index: number; readonly entry: BatEntry }> {
    const perPage = PAGE / BAT_ENTRY_SIZE;
    for (let start = first; start < end; start += perPage - (start % perPage)) {
      const page = await this.#pages.load(this.#pageOf(start));
      const words = new Uint32Array(page.buffer);
      const stop = Math.min(end, start + perPage - (start % perPage));
      const found: { readonly index: number; readonly entry: BatEntry }[] = [];
      for (let index = start; index < stop; index++) {
        const word = ((index * BAT_ENTRY_SIZE) % PAGE) / 4;
        if (words[word] !== 0 || words[word + 1] !== 0) found.push({ index, entry: read(page, index) });
      }
      yield* found;
    }
  }

  #pageOf(index: number): number {
    return this.offset + Math.floor((index * BAT_ENTRY_SIZE) / PAGE) * PAGE;
  }
}

function read(page: Uint8Array, index: number): BatEntry {
  const view = new DataView(page.buffer);
  const where = (index * BAT_ENTRY_SIZE) % PAGE;
  return decodeBatEntry(view.getUint32(where, true), view.getUint32(where + 4, true));
}
