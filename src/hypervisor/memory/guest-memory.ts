/**
 * Guest-physical memory: the page map, and the one bounds-checked way in which devices and the parent touch guest RAM.
 * Stores tell the owner which pages they change, so that code decoded from them is dropped on every processor.
 */
import { PAGE, PAGE_MAP, PageFlag } from './layout.ts';

/** Told before bytes of a page that holds decoded code change. */
export type CodeWritten = (gpa: number, size: number) => void;

const ADDRESS_SPACE = 2 ** 32;
/** Views of whole pages that are kept: making one costs more than all else that is done for a page of a request. A power of 2. */
const KEPT_VIEWS = 4096;

export class GuestMemory {
  /** Bytes of RAM from guest-physical address 0. */
  readonly size: number;
  readonly bytes: Uint8Array;
  readonly #words: Int32Array;
  #codeWritten: CodeWritten;
  /** What was ever mapped on this thread, by its place in the page map: first entry, and end. */
  readonly #mapped: { readonly first: number; readonly end: number }[] = [];
  /** Host pages that were stored to and are in the page map no more, or elsewhere: `takeStored` tells of them too. */
  readonly #left = new Set<number>();
  /** By the low bits of the page's number in the shared memory. A view is right whatever the page map says. */
  readonly #views: (Uint8Array | undefined)[] = new Array<undefined>(KEPT_VIEWS);

  constructor(buffer: SharedArrayBuffer, size: number, codeWritten: CodeWritten) {
    this.size = size;
    this.bytes = new Uint8Array(buffer);
    this.#words = new Int32Array(buffer);
    this.#codeWritten = codeWritten;
  }

  /** Backs [gpa, gpa + size) with the bytes at `host` in the shared memory. All page-aligned. */
  map(gpa: number, size: number, host: number, writable: boolean): void {
    if (gpa % PAGE !== 0 || size % PAGE !== 0 || host % PAGE !== 0 || gpa + size > ADDRESS_SPACE)
      throw new RangeError(`cannot map 0x${gpa.toString(16)}+0x${size.toString(16)}`);
    const flags = PageFlag.PRESENT | (writable ? PageFlag.WRITABLE : 0);
    const words = this.#words;
    const first = (PAGE_MAP >> 2) + gpa / PAGE;
    const pages = size / PAGE;
    this.#leave(first, pages);
    // The frame buffer is placed anew, and memory grows: the list stays as long as there are places.
    if (!this.#mapped.some((range) => range.first <= first && first + pages <= range.end))
      this.#mapped.push({ first, end: first + pages });
    // Plain stores, for they are many; the last one makes them seen.
    for (let page = 0, entry = host | flags; page < pages - 1; page++, entry += PAGE) words[first + page] = entry;
    if (pages > 0) Atomics.store(words, first + pages - 1, (host + size - PAGE) | flags);
  }

  /** Takes away what backs [gpa, gpa + size). Only while no processor runs: translations of it are not dropped. */
  unmap(gpa: number, size: number): void {
    this.#leave((PAGE_MAP >> 2) + gpa / PAGE, size / PAGE);
    for (let at = 0; at < size; at += PAGE) Atomics.store(this.#words, (PAGE_MAP >> 2) + (gpa + at) / PAGE, 0);
  }

  /** Entries are about to be replaced: that their pages were stored to is not forgotten. */
  #leave(first: number, pages: number): void {
    // The first time there is nothing to remember, and of all the memory this takes milliseconds.
    if (!this.#mapped.some((range) => range.first < first + pages && first < range.end)) return;
    for (let i = first; i < first + pages; i++) {
      const entry = this.#words[i] as number;
      if (entry & PageFlag.DIRTY) this.#left.add((entry & -PAGE) >>> 0);
    }
  }

  /**
   * The log of stores: takes the DIRTY flags away and calls back with the host address of each page that had one. Processors may
   * keep write translations of these pages and store without a mark until they have dropped them: what is copied after that,
   * and what is taken the next time, is together everything. Only on the thread that maps.
   */
  takeStored(each: (host: number) => void): void {
    const words = this.#words;
    for (const { first, end } of this.#mapped)
      for (let i = first; i < end; i++)
        if ((words[i] as number) & PageFlag.DIRTY) each((Atomics.and(words, i, ~PageFlag.DIRTY) & -PAGE) >>> 0);
    for (const host of this.#left) each(host);
    this.#left.clear();
  }

  #entry(gpa: number): number {
    return Atomics.load(this.#words, (PAGE_MAP >> 2) + Math.floor(gpa / PAGE));
  }

  /** Runs `body` for each page's part of the range: (host offset, offset in the range, length). */
  #each(gpa: number, length: number, body: (host: number, at: number, count: number, entry: number) => void): void {
    if (
      !Number.isSafeInteger(gpa) ||
      !Number.isSafeInteger(length) ||
      gpa < 0 ||
      length < 0 ||
      gpa + length > ADDRESS_SPACE
    )
      throw new RangeError(`no guest memory at 0x${gpa.toString(16)}`);
    const parts: [number, number, number, number][] = [];
    for (let at = 0; at < length; ) {
      const entry = this.#entry(gpa + at);
      if ((entry & PageFlag.PRESENT) === 0) throw new RangeError(`no guest memory at 0x${(gpa + at).toString(16)}`);
      const offset = (gpa + at) % PAGE;
      const count = Math.min(PAGE - offset, length - at);
      parts.push([((entry & -PAGE) >>> 0) + offset, at, count, entry]);
      at += count;
    }
    for (const part of parts) body(...part);
  }

  /** Copies out. @throws RangeError where nothing backs the range. */
  read(gpa: number, length: number): Uint8Array {
    const result = new Uint8Array(length);
    this.readInto(gpa, result);
    return result;
  }

  /** Copies out, all that `into` has room for. @throws RangeError where nothing backs the range. */
  readInto(gpa: number, into: Uint8Array): void {
    const host = this.#within(gpa, into.length);
    if (host !== undefined) into.set(this.bytes.subarray(host, host + into.length));
    else
      this.#each(gpa, into.length, (from, at, count) => {
        into.set(this.bytes.subarray(from, from + count), at);
      });
  }

  /** Where a range is that lies within one page; undefined when it does not, or is nowhere. */
  #within(gpa: number, length: number): number | undefined {
    if (!(gpa >= 0 && gpa < ADDRESS_SPACE && length > 0 && (gpa % PAGE) + length <= PAGE)) return undefined;
    const entry = this.#entry(gpa);
    return (entry & PageFlag.PRESENT) === 0 ? undefined : ((entry & -PAGE) >>> 0) + (gpa % PAGE);
  }

  /** Copies in. @throws RangeError where nothing backs the range; nothing is written then. */
  write(gpa: number, bytes: Uint8Array): void {
    const inPage = this.#within(gpa, bytes.length);
    if (inPage !== undefined) {
      this.#changing(gpa, bytes.length, this.#entry(gpa));
      this.bytes.set(bytes, inPage);
      this.#changed(gpa);
      return;
    }
    this.#each(gpa, bytes.length, (host, at, count, entry) => {
      this.#changing(gpa + at, count, entry);
      this.bytes.set(bytes.subarray(at, at + count), host);
      this.#changed(gpa + at);
    });
  }

  /**
   * The bytes themselves, shared with the guest; undefined where they do not lie behind each other. Whoever changes them calls
   * `written` afterwards, before anybody is told that they are there.
   */
  view(gpa: number, length: number): Uint8Array | undefined {
    const inPage = this.#within(gpa, length);
    if (inPage !== undefined)
      return length === PAGE ? this.#pageView(inPage) : this.bytes.subarray(inPage, inPage + length);
    if (length <= 0 || !this.isRam(gpa, length)) return undefined;
    const first = (this.#entry(gpa) & -PAGE) >>> 0;
    const base = gpa - (gpa % PAGE);
    for (let page = base + PAGE; page < gpa + length; page += PAGE)
      if ((this.#entry(page) & -PAGE) >>> 0 !== first + (page - base)) return undefined;
    const host = first + (gpa % PAGE);
    return this.bytes.subarray(host, host + length);
  }

  #pageView(host: number): Uint8Array {
    const slot = (host / PAGE) % KEPT_VIEWS;
    const kept = this.#views[slot];
    if (kept?.byteOffset === host) return kept;
    return (this.#views[slot] = this.bytes.subarray(host, host + PAGE));
  }

  /** Bytes were changed through a view: code decoded from them is dropped. Processors protect a page before they decode it. */
  written(gpa: number, length: number): void {
    for (let at = gpa; at < gpa + length; at += PAGE - (at % PAGE)) {
      const entry = this.#entry(at);
      this.#changing(at, Math.min(PAGE - (at % PAGE), gpa + length - at), entry);
      if ((entry & PageFlag.DIRTY) === 0) this.#changed(at);
    }
  }

  fill(gpa: number, length: number, byte: number): void {
    this.#each(gpa, length, (host, at, count, entry) => {
      this.#changing(gpa + at, count, entry);
      this.bytes.fill(byte, host, host + count);
      this.#changed(gpa + at);
    });
  }

  /**
   * Fills whole pages with zeroes, by giving what is behind them back to the host where `discard` (a range of `bytes`) can.
   * Whether it could, everywhere. Translations stay: what they lead to reads as zeroes.
   */
  release(gpa: number, length: number, discard: (host: number, size: number) => boolean): boolean {
    if (gpa % PAGE !== 0 || length % PAGE !== 0) throw new RangeError(`0x${gpa.toString(16)} is no whole page`);
    const runs: { host: number; size: number }[] = [];
    this.#each(gpa, length, (host, at, count, entry) => {
      this.#changing(gpa + at, count, entry);
      const last = runs.at(-1);
      if (last && last.host + last.size === host) last.size += count;
      else runs.push({ host, size: count });
    });
    let given = true;
    for (const { host, size } of runs)
      if (!discard(host, size)) {
        given = false;
        this.bytes.fill(0, host, host + size);
      }
    for (let at = 0; at < length; at += PAGE) this.#changed(gpa + at);
    return given;
  }

  /** Bytes of a page are about to change. */
  #changing(gpa: number, count: number, entry: number): void {
    if (entry & PageFlag.CODE) this.#codeWritten(gpa, count);
  }

  /** They have changed. The mark comes behind them: who takes the marks first and copies then, misses nothing. */
  #changed(gpa: number): void {
    const index = (PAGE_MAP >> 2) + Math.floor(gpa / PAGE);
    if ((Atomics.load(this.#words, index) & PageFlag.DIRTY) === 0) Atomics.or(this.#words, index, PageFlag.DIRTY);
  }

  /** Where an aligned word is. */
  #indexOf(gpa: number): number {
    if (gpa % 4 !== 0) throw new RangeError(`0x${gpa.toString(16)} is not aligned to 4 bytes`);
    const host = this.#within(gpa, 4);
    if (host === undefined) throw new RangeError(`no guest memory at 0x${gpa.toString(16)}`);
    return host >>> 2;
  }

  /** Changes an aligned word: `change` is given its index. */
  #word(gpa: number, change: (index: number) => number): number {
    const index = this.#indexOf(gpa);
    this.#changing(gpa, 4, this.#entry(gpa));
    const result = change(index);
    this.#changed(gpa);
    return result;
  }

  /** Whether RAM backs the whole range. */
  isRam(gpa: number, length: number): boolean {
    if (!(gpa >= 0 && length >= 0 && gpa + length <= ADDRESS_SPACE)) return false;
    for (let page = Math.floor(gpa / PAGE); page * PAGE < gpa + length; page++)
      if ((this.#entry(page * PAGE) & PageFlag.PRESENT) === 0) return false;
    return true;
  }

  /** Reads an aligned word; sequentially consistent. */
  load32(gpa: number): number {
    return Atomics.load(this.#words, this.#indexOf(gpa)) >>> 0;
  }

  /** Writes an aligned word; sequentially consistent. */
  store32(gpa: number, value: number): void {
    this.#word(gpa, (index) => Atomics.store(this.#words, index, value | 0));
  }

  /** Atomically sets a bit (0..31) of a word; whether it was set before. */
  setBit(gpa: number, bit: number): boolean {
    return ((this.#word(gpa, (index) => Atomics.or(this.#words, index, 1 << bit)) >>> bit) & 1) !== 0;
  }

  /** Returns the word's old value. */
  compareExchange32(gpa: number, expected: number, replacement: number): number {
    return this.#word(gpa, (index) => Atomics.compareExchange(this.#words, index, expected | 0, replacement | 0)) >>> 0;
  }
}
