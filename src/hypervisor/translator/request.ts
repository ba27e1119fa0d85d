/** What the processors' threads and the translator's thread say to each other. */

export interface TranslationItem {
  /** Names the item in the answer. */
  readonly record: number;
  readonly mode: number;
  /** Guest-physical address of the page. */
  readonly gpa: number;
  /** Address of the page's bytes in the partition's memory, and where in it the block begins. */
  readonly host: number;
  readonly entry: number;
  /** Accesses near each other are checked together. */
  readonly grouped: boolean;
  /** Only if the translation is there from another run: the block has not been entered often. */
  readonly early: boolean;
  /** The same of the page behind it in the linear address space; no address: that is not part of the region. */
  readonly nextGpa: number;
  readonly nextHost: number;
  /**
   * The blocks that the interpreter has of the page in this mode: offset in the page, first record, count of records, and how
   * often it has been entered, or -1 where a region begins.
   */
  readonly blocks: Int32Array;
}

/**
 * A batch as one array, which goes to another thread in one piece: the address of the processor's VpState (a constant of the
 * code), count and numbers of known modules that the processor has begun to use, and for each item record, mode, gpa, host, nextGpa, nextHost, entry, whether grouped (1) and early (2), count of words of blocks, blocks.
 */
export type TranslationRequest = Int32Array<ArrayBuffer>;
const HEAD = 9;

export function packRequest(
  vp: number,
  items: readonly TranslationItem[],
  used: readonly number[] = [],
): TranslationRequest {
  const words = new Int32Array(items.reduce((n, item) => n + HEAD + item.blocks.length, 2 + used.length));
  words.set([vp, used.length, ...used]);
  let at = 2 + used.length;
  for (const { record, mode, gpa, host, nextGpa, nextHost, entry, grouped, early, blocks } of items) {
    words.set(
      [record, mode, gpa, host, nextGpa, nextHost, entry, (grouped ? 1 : 0) | (early ? 2 : 0), blocks.length],
      at,
    );
    words.set(blocks, at + HEAD);
    at += HEAD + blocks.length;
  }
  return words;
}
/** Numbers of known modules that the processor has begun to use. */
export function usedModules(words: TranslationRequest): Int32Array {
  return words.subarray(2, 2 + (words[1] as number));
}
export function unpackRequest(words: TranslationRequest): TranslationItem[] {
  const items: TranslationItem[] = [];
  for (let at = 2 + (words[1] as number); at < words.length; ) {
    const word = (n: number): number => words[at + n] as number;
    const length = word(8);
    items.push({
      record: word(0) >>> 0,
      mode: word(1),
      gpa: word(2) >>> 0,
      host: word(3) >>> 0,
      nextGpa: word(4) >>> 0,
      nextHost: word(5) >>> 0,
      entry: word(6),
      grouped: (word(7) & 1) !== 0,
      early: (word(7) & 2) !== 0,
      blocks: words.subarray(at + HEAD, at + HEAD + length),
    });
    at += HEAD + length;
  }
  return items;
}

export interface TranslatedRegion {
  readonly record: number;
  /** Which of the result's modules it is in, and its name there. */
  readonly module: number;
  readonly name: string;
  /** Numbers of this run, for the module's globals from `firstSite` on: see kept.ts. */
  readonly firstSite: number;
  readonly sites: readonly number[];
  readonly entry: number;
  /** The stretch of the two pages it was made from, and guest-physical address of the second one. */
  readonly from: number;
  readonly code: Uint8Array;
  readonly nextGpa: number;
  /** First records of the blocks that have the records which it calls the interpreter's functions with. */
  readonly calls: readonly number[];
  /** Instructions. */
  readonly size: number;
  /** It was there: from another run, or for another place. */
  readonly kept: boolean;
  /** Offsets at which its basic blocks begin. */
  readonly blocks: readonly number[];
}

export interface TranslatedModule {
  /** The same module has the same number in every result. Below zero: no other result has it. */
  readonly id: number;
  readonly module: WebAssembly.Module;
  /** Its length. */
  readonly bytes: number;
}

/** Modules of other runs that regions may be found in, before anybody asks. */
export interface KnownModules {
  readonly known: readonly TranslatedModule[];
  /** There will be no more. */
  readonly last: boolean;
}

export interface TranslationResult {
  readonly modules: readonly TranslatedModule[];
  readonly milliseconds: number;
  /** In the order of the request; undefined where a region before it has the code, or not even its beginning can be translated. */
  readonly regions: readonly (TranslatedRegion | undefined)[];
}
