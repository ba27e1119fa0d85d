/** Which bytes of guest RAM hold decoded code, in pieces of CODE_MAP_GRANULE bytes: a bit for each, that stores look at. */
import { CODE_MAP, CODE_MAP_GRANULE, PAGE } from '../memory/layout.ts';

const GRANULE_BITS = Math.log2(CODE_MAP_GRANULE);

export class CodeMap {
  readonly #bytes: Uint8Array;

  /** @param bytes the partition's memory. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Guest-physical addresses [from, to), within a page, hold code. */
  mark(from: number, to: number): void {
    const last = (to - 1) >>> GRANULE_BITS;
    for (let granule = from >>> GRANULE_BITS; granule <= last; granule++) {
      const at = CODE_MAP + (granule >>> 3);
      this.#bytes[at] = (this.#bytes[at] as number) | (1 << (granule & 7));
    }
  }

  /** Nothing in the page does. */
  clear(page: number): void {
    const first = CODE_MAP + page / (8 * CODE_MAP_GRANULE);
    this.#bytes.fill(0, first, first + PAGE / (8 * CODE_MAP_GRANULE));
  }
}
