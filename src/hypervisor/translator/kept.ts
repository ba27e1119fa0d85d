/**
 * Modules of regions that outlive a run: the next one finds the translation of the same code and does not make it again. A region
 * is a function of its code, of the processor's mode and of which of the code had been executed; numbers of one run only (where
 * records and pages are) are its sites: globals of the module, which are set when it is put in place. Code is compared whole
 * before a region is used.
 */

/** What the global is set to: a word. The last two are of an instruction that is called: its record, and its block's offset. */
export const SiteKind = { RECORD: 0, NEXT_GPA: 1, CALLED_RECORD: 2, CALLED_BLOCK: 3 } as const;
export type SiteKind = (typeof SiteKind)[keyof typeof SiteKind];

export interface KeptSite {
  readonly kind: number;
  /** Of an instruction that is called its offset, and its handler << 16. */
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
  /** Its function's number in the module, and its sites: the globals from `firstSite` on. */
  readonly index: number;
  readonly firstSite: number;
  readonly sites: readonly KeptSite[];
}

/** What another run has kept. */
export interface KeptFile {
  /** What encode() has given. */
  readonly index: Uint8Array;
  /** Of the bytes behind each other that encode() has given with that index; undefined: they are not what they were. */
  read(at: number, length: number): Uint8Array<ArrayBuffer> | undefined;
}

/** What V8 has made of a module, and the module with that. */
export interface ModuleCode {
  of(module: WebAssembly.Module): Uint8Array<ArrayBuffer> | undefined;
  module(bytes: Uint8Array<ArrayBuffer>, code: Uint8Array<ArrayBuffer>): WebAssembly.Module | undefined;
}

/** Numbers of modules that have been given, and the bytes of new ones. */
export interface Given {
  readonly modules: number;
  readonly bytes: number;
}

export interface KeptOptions {
  readonly file?: KeptFile | undefined;
  /** Undefined: modules are kept without. */
  readonly code?: ModuleCode | undefined;
  /** Bytes of a file at most; new modules of one run have a part of that. */
  readonly most?: number;
  /** What others of this run have given before, whose file this is: what it says is used is used. */
  readonly before?: Given | undefined;
}

/** A guest that makes code for ever is not remembered for ever. */
export const MOST_KEPT = 64 * 2 ** 20;
/** New modules are one part in so many of a file: they get as much machine code again, and one run is not to fill it alone. */
const NEW_PART = 4;

const PAGE = 4096;
const MAGIC = 0x326b_7276;
/**
 * Words before a module's regions: the length of all in words, count of regions, lengths of the module and of its machine code, and
 * whether the run that wrote it had used it.
 */
const MODULE_HEAD = 5;
/** Words before a region's lists and bytes: the length of all in words, key, and what follows in `encodeRegion`. */
const HEAD = 13;
/** Bytes of the beginning that are part of the key. */
const KEY_BYTES = 8;
/** A file is not written again for a few regions, or a little machine code: one in this many of what the run has used. */
const WORTHWHILE = 50;

/** What a region is looked up by: its beginning, as far as the first page has it. @param page at least the first page's bytes */
export function keptKey(page: Uint8Array, entry: number, mode: number): number {
  let key = (Math.imul(entry, 0x9e37_79b1) ^ Math.imul(mode, 0x85eb_ca6b)) | 0;
  const end = Math.min(entry + KEY_BYTES, PAGE);
  for (let at = entry; at < end; at++) key = Math.imul(key ^ (page[at] as number), 0x0100_0193);
  return key >>> 0;
}

function wordsOf(index: Uint8Array): Int32Array {
  return new Int32Array(index.buffer, index.byteOffset, index.byteLength >> 2);
}

interface Place {
  readonly bytes: number;
  readonly code: number;
  readonly used: boolean;
  /** Where its regions begin. */
  readonly regions: readonly number[];
}

/** Modules of an index; none where it is another file, or its lengths do not fit together. */
function modulesIn(words: Int32Array): Place[] {
  if (words[0] !== MAGIC) return [];
  const all: Place[] = [];
  for (let at = 1; at < words.length; at += words[at] as number) {
    const [length = 0, count = 0, bytes = -1, code = -1, used = 0] = words.subarray(at, at + MODULE_HEAD);
    const end = at + length;
    if (length < MODULE_HEAD || end > words.length || bytes < 0 || code < 0) return [];
    const regions: number[] = [];
    let next = at + MODULE_HEAD;
    for (; next < end; next += words[next] as number) {
      if (!isWhole(words, next)) return [];
      regions.push(next);
    }
    if (next !== end || regions.length !== count) return [];
    all.push({ bytes, code, used: used !== 0, regions });
  }
  return all;
}

/** Whether a region with the lists and bytes that it says it has is as long as it says. */
function isWhole(words: Int32Array, at: number): boolean {
  const counts = words.subarray(at + HEAD - 3, at + HEAD);
  if (counts.length < 3 || counts.some((count) => count < 0)) return false;
  const [blocks = 0, sites = 0, code = 0] = counts;
  const length = HEAD + blocks + sites * 2 + Math.ceil(code / 4);
  return words[at] === length && at + length <= words.length;
}

interface Candidate {
  readonly owner: KeptModule;
  readonly key: number;
  /** Where it is in the index; -1: it is new. */
  readonly place: number;
  region: KeptRegion | undefined;
}

interface KeptModule {
  readonly id: number;
  readonly candidates: Candidate[];
  /** Where its bytes and its machine code are in the file, one behind the other; -1: it is new. */
  readonly at: number;
  readonly length: number;
  /** Of its machine code in the file, and as far as that could be used. */
  readonly codeLength: number;
  usable: number;
  /** The run before has used it. */
  readonly expected: boolean;
  /** Of a new one. */
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
  module: WebAssembly.Module | undefined;
  /** This run has used it. */
  used: boolean;
  broken: boolean;
}

export interface Wanted {
  readonly page: Uint8Array;
  readonly entry: number;
  readonly mode: number;
  readonly vp: number;
  readonly grouped: boolean;
}

export interface FoundRegion {
  readonly region: KeptRegion;
  /** Of its module: see module(). */
  readonly id: number;
}

/** A file's parts. */
export interface Encoded {
  readonly index: Uint8Array<ArrayBuffer>;
  readonly parts: readonly Uint8Array<ArrayBuffer>[];
}

export class KeptRegions {
  readonly #words: Int32Array;
  readonly #options: KeptOptions;
  readonly #most: number;
  readonly #first: number;
  readonly #modules: KeptModule[] = [];
  readonly #byKey = new Map<number, Candidate[]>();
  #fresh = 0;
  /** Bytes of new modules. */
  #bytes = 0;
  /** Since the last encode(). */
  #touched = false;

  constructor(options: KeptOptions = {}) {
    this.#options = options;
    this.#most = options.most ?? MOST_KEPT;
    this.#first = options.before?.modules ?? 0;
    this.#bytes = options.before?.bytes ?? 0;
    this.#words = wordsOf(options.file?.index ?? new Uint8Array());
    let at = 0;
    for (const { bytes, code, used, regions } of modulesIn(this.#words)) {
      const what = {
        usable: code,
        expected: used,
        bytes: undefined,
        module: undefined,
        used: used && options.before !== undefined,
      };
      const owner = this.#module({ at, length: bytes, codeLength: code, ...what });
      for (const place of regions)
        this.#push({ owner, key: (this.#words[place + 1] as number) >>> 0, place, region: undefined }, false);
      at += bytes + code;
    }
  }

  /** Until now, with what was before. */
  get given(): Given {
    return { modules: this.#first + this.#modules.length, bytes: this.#bytes };
  }

  /** Whether code with this key is known. */
  has(key: number): boolean {
    return this.#byKey.has(key);
  }

  #module(of: Omit<KeptModule, 'id' | 'candidates' | 'broken'>): KeptModule {
    const made = { ...of, id: this.#first + this.#modules.length, candidates: [], broken: false };
    this.#modules.push(made);
    return made;
  }

  /** The newest is the first that is found; a file has those first that its run has used. */
  #push(candidate: Candidate, newest: boolean): void {
    const { key } = candidate;
    candidate.owner.candidates.push(candidate);
    const all = this.#byKey.get(key);
    if (!all) this.#byKey.set(key, [candidate]);
    else if (newest) all.unshift(candidate);
    else all.push(candidate);
  }

  /**
   * The regions of this code, one after the other, until `take` makes something of one.
   * @param page the bytes of the page that it begins in, and of the next one where that may be part of it
   */
  find<T>({ page, entry, mode, vp, grouped }: Wanted, take: (found: FoundRegion) => T | undefined): T | undefined {
    for (const candidate of this.#byKey.get(keptKey(page, entry, mode)) ?? []) {
      const { owner } = candidate;
      if (owner.broken) continue;
      const region = this.#regionOf(candidate);
      if (region.entry !== entry || region.mode !== mode || region.vp !== vp || region.grouped !== grouped) continue;
      const taken = holds(page, region) ? take({ region, id: owner.id }) : undefined;
      if (taken !== undefined) return taken;
    }
    return undefined;
  }

  #regionOf(candidate: Candidate): KeptRegion {
    candidate.region ??= decodeRegion(this.#words, candidate.place);
    return candidate.region;
  }

  /** Undefined: what was kept is not what it was. */
  module(id: number): WebAssembly.Module | undefined {
    const kept = this.#modules[id - this.#first] as KeptModule;
    if (kept.module || kept.broken) return kept.module;
    kept.module = this.#load(kept);
    if (kept.module) this.#touched = true;
    else kept.broken = true;
    return kept.module;
  }

  /** Processors have found regions of a module. One before the first is said to be used in the file, or was not worth that. */
  use(id: number): void {
    const kept = this.#modules[id - this.#first];
    if (kept) kept.used = true;
  }

  /** Numbers of the modules that a run is likely to use, because the run before has, and that are no work to have. */
  expected(): number[] {
    return this.#modules.flatMap(({ id, expected, codeLength }) => (expected && codeLength > 0 ? [id] : []));
  }

  #load(kept: KeptModule): WebAssembly.Module | undefined {
    const { file, code } = this.#options;
    const { at, length, codeLength } = kept;
    const bytes = file?.read(at, length);
    if (!bytes) return undefined;
    const machineCode = codeLength > 0 && code ? file?.read(at + length, codeLength) : undefined;
    const module = machineCode && code?.module(bytes, machineCode);
    if (module) return module;
    kept.usable = 0;
    try {
      return new WebAssembly.Module(bytes);
    } catch {
      return undefined;
    }
  }

  /** Of the length of a module that module() gives. */
  length(id: number): number {
    return (this.#modules[id - this.#first] as KeptModule).length;
  }

  /** A module of this run. Its number; below zero where there is no more room. */
  add(
    module: WebAssembly.Module,
    bytes: Uint8Array<ArrayBuffer>,
    regions: readonly { readonly region: KeptRegion; readonly page: Uint8Array }[],
  ): number {
    const { length } = bytes;
    if ((this.#bytes + length) * NEW_PART > this.#most) return -1;
    this.#bytes += length;
    const owner = this.#module({
      at: -1,
      length,
      codeLength: 0,
      usable: 0,
      expected: false,
      bytes,
      module,
      used: true,
    });
    for (const { region, page } of regions)
      this.#push({ owner, key: keptKey(page, region.entry, region.mode), place: -1, region }, true);
    this.#fresh += regions.length;
    this.#touched = true;
    return owner.id;
  }

  /** All for a file, that first that this run has used; undefined: there is hardly anything new. What was new is then not. */
  encode(): Encoded | undefined {
    if (!this.#touched) return undefined;
    this.#touched = false;
    let all = 0;
    let regions = 0;
    let optimized = 0;
    const codes = new Map<KeptModule, Uint8Array<ArrayBuffer>>();
    for (const kept of this.#modules) {
      if (!kept.used) continue;
      const code = kept.module && this.#options.code?.of(kept.module);
      // V8 optimizes what is executed often: there may be more of it than the file has.
      if (code && code.length > kept.usable) {
        codes.set(kept, code);
        optimized += code.length - kept.usable;
      }
      all += kept.length + (code?.length ?? kept.codeLength);
      regions += kept.candidates.length;
    }
    if (this.#fresh * WORTHWHILE <= regions && optimized * WORTHWHILE <= all) return undefined;
    this.#fresh = 0;
    const indices: Int32Array[] = [];
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    for (const wanted of [true, false])
      for (const kept of this.#modules) {
        if (kept.used !== wanted || kept.broken || (!wanted && this.#isReplaced(kept))) continue;
        const bytes = kept.bytes ?? this.#options.file?.read(kept.at, kept.length);
        const code =
          codes.get(kept) ??
          (kept.codeLength > 0 ? this.#options.file?.read(kept.at + kept.length, kept.codeLength) : undefined);
        const index = this.#encode(kept, code?.length ?? 0);
        const length = (bytes?.length ?? 0) + (code?.length ?? 0) + index.length * 4;
        if (!bytes || size + length > this.#most) continue;
        size += length;
        indices.push(index);
        parts.push(bytes, ...(code ? [code] : []));
      }
    return { index: joined(indices), parts };
  }

  /** Of each of its regions there is another one that will be found before: of a module that is used, or that was before it. */
  #isReplaced({ candidates }: KeptModule): boolean {
    return candidates.every((candidate) => {
      const { vp, entry, mode, grouped, from, code } = this.#regionOf(candidate);
      const page = new Uint8Array(2 * PAGE);
      page.set(code, from);
      const others = this.#byKey.get(candidate.key) ?? [];
      const place = others.indexOf(candidate);
      return others.some((other, at) => {
        if (!other.owner.used && at >= place) return false;
        const region = this.#regionOf(other);
        const same = region.vp === vp && region.entry === entry && region.mode === mode && region.grouped === grouped;
        return same && !other.owner.broken && region.code.length === code.length && holds(page, region);
      });
    });
  }

  #encode({ candidates, length, used }: KeptModule, code: number): Int32Array {
    const regions = candidates.map(({ key, place, region }) =>
      place < 0
        ? encodeRegion(key, region as KeptRegion)
        : this.#words.subarray(place, place + (this.#words[place] as number)),
    );
    const words = new Int32Array(regions.reduce((sum, each) => sum + each.length, MODULE_HEAD));
    words.set([words.length, regions.length, length, code, used ? 1 : 0]);
    let at = MODULE_HEAD;
    for (const each of regions) {
      words.set(each, at);
      at += each.length;
    }
    return words;
  }
}

function joined(modules: readonly Int32Array[]): Uint8Array<ArrayBuffer> {
  const words = new Int32Array(modules.reduce((sum, each) => sum + each.length, 1));
  words[0] = MAGIC;
  let at = 1;
  for (const each of modules) {
    words.set(each, at);
    at += each.length;
  }
  return new Uint8Array(words.buffer);
}

function holds(page: Uint8Array, { from, code }: KeptRegion): boolean {
  if (from + code.length > page.length) return false;
  for (let i = 0; i < code.length; i++) if (page[from + i] !== code[i]) return false;
  return true;
}

function encodeRegion(key: number, region: KeptRegion): Int32Array {
  const { blocks, sites, code, from, entry, mode } = region;
  const lists = blocks.length + sites.length * 2;
  const words = new Int32Array(HEAD + lists + Math.ceil(code.length / 4));
  words.set([words.length, key, region.vp, mode, entry, region.grouped ? 1 : 0, from]);
  words.set([region.size, region.index, region.firstSite, blocks.length, sites.length, code.length], 7);
  words.set(blocks, HEAD);
  words.set(
    sites.flatMap(({ kind, value }) => [kind, value]),
    HEAD + blocks.length,
  );
  new Uint8Array(words.buffer, (HEAD + lists) * 4).set(code);
  return words;
}

function decodeRegion(words: Int32Array, place: number): KeptRegion {
  const word = (n: number): number => words[place + n] as number;
  const [blocks, sites, code] = [word(10), word(11), word(12)];
  const at = place + HEAD;
  const siteAt = at + blocks;
  const codeAt = siteAt + sites * 2;
  return {
    vp: word(2),
    mode: word(3),
    entry: word(4),
    grouped: word(5) !== 0,
    from: word(6),
    size: word(7),
    index: word(8),
    firstSite: word(9),
    blocks: [...words.subarray(at, siteAt)],
    sites: Array.from({ length: sites }, (_, n) => ({
      kind: words[siteAt + n * 2] as number,
      value: words[siteAt + n * 2 + 1] as number,
    })),
    code: new Uint8Array(words.buffer, words.byteOffset + codeAt * 4, code),
  };
}

/** What a region's function is exported as. */
export function nameOf(index: number): string {
  return `r${index}`;
}

/** What a site is in this run. */
export interface Filling {
  readonly record: number;
  readonly nextGpa: number;
  /** Of an instruction that is called, by what its sites say: its record, and where its block begins. */
  called(value: number): { readonly record: number; readonly blockAt: number };
}

/** The numbers of a region's sites. */
export function filled(sites: readonly KeptSite[], { record, nextGpa, called }: Filling): number[] {
  return sites.map(({ kind, value }) => {
    switch (kind) {
      case SiteKind.RECORD:
        return record | 0;
      case SiteKind.NEXT_GPA:
        return nextGpa | 0;
      case SiteKind.CALLED_BLOCK:
        return called(value).blockAt;
      default:
        return called(value).record | 0;
    }
  });
}
