/**
 * Pages of metadata (the BAT, sector bitmaps) in memory, 4 KiB each, because that is what the log writes. What was
 * changed stays until it is in its place in the file; what is clean goes when there are too many.
 */
import { corrupt } from './header.ts';
import type { PageUpdate } from './log.ts';
import { LOG_SECTOR } from './protocol.ts';
import type { FileView } from './view.ts';

export const PAGE = LOG_SECTOR;
/** 16 MiB: the BAT of 64 TiB in blocks of 32 MiB. */
const MOST_PAGES = 4096;

export class MetadataPages {
  readonly #view: FileView;
  readonly #pages = new Map<number, Uint8Array>();
  readonly #loading = new Map<number, Promise<Uint8Array>>();
  readonly #dirty = new Set<number>();
  /** Logged, not yet in place: number of copies under way. */
  readonly #busy = new Map<number, number>();

  constructor(view: FileView) {
    this.#view = view;
  }

  get dirty(): number {
    return this.#dirty.size;
  }

  /** The page at a file offset if it is here. Use it before the next `await`: it may go. */
  peek(offset: number): Uint8Array | undefined {
    return this.#pages.get(offset);
  }

  /** The page, read if need be. The same rule. */
  async load(offset: number): Promise<Uint8Array> {
    const page = this.#pages.get(offset);
    if (page !== undefined) return page;
    let loading = this.#loading.get(offset);
    if (loading === undefined) {
      loading = this.#read(offset).finally(() => this.#loading.delete(offset));
      this.#loading.set(offset, loading);
    }
    return loading;
  }

  async #read(offset: number): Promise<Uint8Array> {
    const page = new Uint8Array(PAGE);
    if ((await this.#view.read(offset, page)) < PAGE) throw corrupt(this.#view.file, 'the file ends in its metadata');
    return this.#keep(offset, page);
  }

  #keep(offset: number, page: Uint8Array): Uint8Array {
    if (this.#pages.size >= MOST_PAGES) this.#evict();
    this.#pages.set(offset, page);
    return page;
  }

  #evict(): void {
    for (const offset of this.#pages.keys()) {
      if (this.#dirty.has(offset) || this.#busy.has(offset)) continue;
      this.#pages.delete(offset);
      if (this.#pages.size < MOST_PAGES) return;
    }
  }

  /** A page whose bytes in the file do not matter. */
  create(offset: number): void {
    this.#keep(offset, new Uint8Array(PAGE));
  }

  /** The page at `offset`, which is here, was changed. */
  touch(offset: number): void {
    this.#dirty.add(offset);
  }

  /** Copies of what was changed since the last time. They are to be put in their place, then released. */
  takeDirty(): PageUpdate[] {
    const updates = [...this.#dirty].map((offset) => ({ offset, bytes: this.#pages.get(offset)!.slice() }));
    this.#dirty.clear();
    for (const { offset } of updates) this.#busy.set(offset, (this.#busy.get(offset) ?? 0) + 1);
    return updates;
  }

  /** @param inPlace false: it did not work, the page is to be logged again. */
  release(update: PageUpdate, inPlace: boolean): void {
    const left = (this.#busy.get(update.offset) ?? 1) - 1;
    if (left > 0) this.#busy.set(update.offset, left);
    else this.#busy.delete(update.offset);
    if (!inPlace) this.#dirty.add(update.offset);
  }

  /** Forgets pages that are no metadata any more. */
  forget(from: number, length: number): void {
    for (const offset of this.#pages.keys()) {
      if (offset < from || offset >= from + length) continue;
      this.#pages.delete(offset);
      this.#dirty.delete(offset);
    }
  }
}
