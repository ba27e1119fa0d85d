/**
 * Regions that outlive a run: the next one finds the translation of the same code and does not make it again. A region is a
 * function of its code, of the processor's mode and of which of the code had been executed; what is of one run only (where
 * records, helpers and pages are) are sites in it, which are filled in anew. Code is compared whole before a region is used.
 */
import { putPadded } from '../wasm/bytes.ts';
import { SiteKind } from './code.ts';

export interface KeptSite {
  readonly kind: number;
  /** In the body. */
  readonly at: number;
  /** Of a helper its name's number; of an instruction that is called its offset, and its handler << 16. */
  readonly value: number;
}

export interface KeptRegion {
  /** Address of the processor's VpState. */
  readonly vp: number;
  readonly mode: number;
  readonly entry: number;
  readonly grouped: boolean;
  /** The stretch of the two pages that it was made from. */
  readonly from: number;
  readonly code: Uint8Array;
  /** Instructions, and offsets at which basic blocks begin. */
  readonly size: number;
  readonly blocks: readonly number[];
  /** The function: its body, and the branches in it that are hinted, offset << 1 | likely. */
  readonly body: Uint8Array;
  readonly hints: readonly number[];
  readonly sites: readonly KeptSite[];
  readonly names: readonly string[];
}

const PAGE = 4096;
const MAGIC = 0x316b_7276;
/** Words before a region's lists and bytes: the length of all in words, key, and what follows in `encode`. */
const HEAD = 14;
/** Bytes of the beginning that are part of the key. */
const KEY_BYTES = 8;
const SITE_BYTES = 12;
/** A file is not written again for a few regions: one in this many of all. */
const WORTHWHILE = 50;
/** Bytes of regions in a file, and of new ones: a guest that makes code for ever is not remembered for ever. */
export const MOST_KEPT = 32 * 2 ** 20;

/** What a region is looked up by: its beginning, as far as the first page has it. @param page at least the first page's bytes */
export function keptKey(page: Uint8Array, entry: number, mode: number): number {
  let key = (Math.imul(entry, 0x9e37_79b1) ^ Math.imul(mode, 0x85eb_ca6b)) | 0;
  const end = Math.min(entry + KEY_BYTES, PAGE);
  for (let at = entry; at < end; at++) key = Math.imul(key ^ (page[at] as number), 0x0100_0193);
  return key >>> 0;
}

/** The keys of all regions in a file. */
export function keptKeys(file: Uint8Array): Set<number> {
  const words = wordsOf(file);
  return new Set(places(words).map((at) => (words[at + 1] as number) >>> 0));
}

function wordsOf(file: Uint8Array): Int32Array {
  return new Int32Array(file.buffer, file.byteOffset, file.byteLength >> 2);
}

/** Where regions begin; none where the file is another one. */
function places(words: Int32Array): number[] {
  if (words[0] !== MAGIC) return [];
  const all: number[] = [];
  for (let at = 1; at < words.length; at += words[at] as number) {
    if (!isWhole(words, at)) return [];
    all.push(at);
  }
  return all;
}

/** Whether a region with the lists and bytes that it says it has is as long as it says. */
function isWhole(words: Int32Array, at: number): boolean {
  const counts = words.subarray(at + 8, at + HEAD);
  if (counts.length < HEAD - 8 || counts.some((count) => count < 0)) return false;
  const [blocks = 0, hints = 0, sites = 0, code = 0, body = 0, names = 0] = counts;
  const length = HEAD + blocks + hints + sites * 3 + Math.ceil((code + body + names) / 4);
  return words[at] === length && at + length <= words.length;
}

interface Candidate {
  /** Where it is in the file; -1: it is new. */
  readonly place: number;
  region: KeptRegion | undefined;
  used: boolean;
}

export class KeptRegions {
  readonly #words: Int32Array;
  readonly #byKey = new Map<number, Candidate[]>();
  readonly #most: number;
  #count = 0;
  #fresh = 0;
  /** Bytes of new regions. */
  #bytes = 0;

  /** @param file what encode() has returned in another run */
  constructor(file: Uint8Array = new Uint8Array(), most = MOST_KEPT) {
    this.#words = wordsOf(file);
    this.#most = most;
    for (const place of places(this.#words)) {
      const key = (this.#words[place + 1] as number) >>> 0;
      this.#push(key, { place, region: undefined, used: false });
    }
  }

  /** Of all regions: see keptKey. */
  keys(): Iterable<number> {
    return this.#byKey.keys();
  }

  #push(key: number, candidate: Candidate): void {
    const all = this.#byKey.get(key);
    if (all) all.push(candidate);
    else this.#byKey.set(key, [candidate]);
    this.#count++;
  }

  /** @param page the bytes of the page that it begins in, and of the next one where that may be part of it */
  find(page: Uint8Array, entry: number, mode: number, vp: number, grouped: boolean): KeptRegion | undefined {
    for (const candidate of this.#byKey.get(keptKey(page, entry, mode)) ?? []) {
      candidate.region ??= decode(this.#words, candidate.place);
      const { region } = candidate;
      if (region.entry !== entry || region.mode !== mode || region.vp !== vp || region.grouped !== grouped) continue;
      if (!holds(page, region)) continue;
      candidate.used = true;
      return region;
    }
    return undefined;
  }

  /** In the place of one of the same code. Nothing happens where there is no more room. */
  add(region: KeptRegion, page: Uint8Array): void {
    const bytes = region.body.length + region.code.length + region.sites.length * SITE_BYTES;
    if (this.#bytes + bytes > this.#most) return;
    this.#bytes += bytes;
    const key = keptKey(page, region.entry, region.mode);
    const { vp, grouped } = region;
    const isSame = ({ region: other }: Candidate): boolean =>
      other !== undefined && other.vp === vp && other.grouped === grouped && holds(page, other);
    const others = this.#byKey.get(key);
    const kept = others?.filter((candidate) => !isSame(candidate));
    if (others && kept) {
      this.#count -= others.length - kept.length;
      this.#byKey.set(key, kept);
    }
    this.#push(key, { place: -1, region, used: true });
    this.#fresh++;
  }

  /** All as a file, those first that this run has used; undefined: there is hardly anything new. What was new is then not. */
  encode(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#fresh * WORTHWHILE <= this.#count) return undefined;
    this.#fresh = 0;
    const parts: Int32Array[] = [];
    let length = 1;
    for (const wanted of [true, false])
      for (const [key, candidates] of this.#byKey)
        for (const { place, region, used } of candidates) {
          if (used !== wanted || length * 4 > this.#most) continue;
          const part =
            place < 0
              ? encode(key, region as KeptRegion)
              : this.#words.subarray(place, place + (this.#words[place] as number));
          parts.push(part);
          length += part.length;
        }
    const words = new Int32Array(length);
    words[0] = MAGIC;
    let at = 1;
    for (const part of parts) {
      words.set(part, at);
      at += part.length;
    }
    return new Uint8Array(words.buffer);
  }
}

function holds(page: Uint8Array, { from, code }: KeptRegion): boolean {
  if (from + code.length > page.length) return false;
  for (let i = 0; i < code.length; i++) if (page[from + i] !== code[i]) return false;
  return true;
}

const text = { encoder: new TextEncoder(), decoder: new TextDecoder() };

function encode(key: number, region: KeptRegion): Int32Array {
  const { blocks, hints, sites, code, body } = region;
  const names = text.encoder.encode(region.names.join('\n'));
  const lists = blocks.length + hints.length + sites.length * 3;
  const bytes = code.length + body.length + names.length;
  const words = new Int32Array(HEAD + lists + Math.ceil(bytes / 4));
  words.set([
    words.length,
    key,
    region.vp,
    region.mode,
    region.entry,
    region.grouped ? 1 : 0,
    region.from,
    region.size,
  ]);
  words.set([blocks.length, hints.length, sites.length, code.length, body.length, names.length], 8);
  words.set(blocks, HEAD);
  words.set(hints, HEAD + blocks.length);
  words.set(
    sites.flatMap(({ kind, at, value }) => [kind, at, value]),
    HEAD + blocks.length + hints.length,
  );
  const into = new Uint8Array(words.buffer, (HEAD + lists) * 4);
  into.set(code);
  into.set(body, code.length);
  into.set(names, code.length + body.length);
  return words;
}

function decode(words: Int32Array, place: number): KeptRegion {
  const word = (n: number): number => words[place + n] as number;
  const [blocks, hints, sites] = [word(8), word(9), word(10)];
  let at = place + HEAD;
  const list = (count: number): number[] => {
    at += count;
    return [...words.subarray(at - count, at)];
  };
  const [itsBlocks, itsHints, numbers] = [list(blocks), list(hints), list(sites * 3)];
  let offset = words.byteOffset + at * 4;
  const take = (count: number): Uint8Array => {
    offset += count;
    return new Uint8Array(words.buffer, offset - count, count);
  };
  const [code, body, names] = [take(word(11)), take(word(12)), take(word(13))];
  return {
    vp: word(2),
    mode: word(3),
    entry: word(4),
    grouped: word(5) !== 0,
    from: word(6),
    size: word(7),
    blocks: itsBlocks,
    hints: itsHints,
    sites: Array.from({ length: sites }, (_, n) => ({
      kind: numbers[n * 3] as number,
      at: numbers[n * 3 + 1] as number,
      value: numbers[n * 3 + 2] as number,
    })),
    code,
    body,
    // A shared buffer's bytes are no text.
    names: text.decoder.decode(names.slice()).split('\n'),
  };
}

/** What a site is filled with in this run. */
export interface Filling {
  helper(name: string): number;
  readonly record: number;
  readonly nextGpa: number;
  /** Of an instruction that is called, by what its sites say: its record, and where its block begins. */
  called(value: number): { readonly record: number; readonly blockAt: number };
}

/** The function's body in this run. */
export function fill({ body, sites, names }: KeptRegion, filling: Filling): Uint8Array {
  const filled = body.slice();
  for (const { kind, at, value } of sites) {
    switch (kind) {
      case SiteKind.HELPER:
        putPadded(filled, at, filling.helper(names[value] as string), 2);
        break;
      case SiteKind.RECORD:
        putPadded(filled, at, filling.record, 5);
        break;
      case SiteKind.NEXT_GPA:
        putPadded(filled, at, filling.nextGpa, 5);
        break;
      default: {
        const outline = filling.called(value);
        if (kind === SiteKind.CALLED_BLOCK) putPadded(filled, at, outline.blockAt, 2);
        else putPadded(filled, at, outline.record, 5);
      }
    }
  }
  return filled;
}
