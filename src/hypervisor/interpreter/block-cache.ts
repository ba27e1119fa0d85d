/**
 * The predecoded blocks of one virtual processor: decodes code from guest RAM into records, finds the blocks that a store
 * touches, and drops them.
 */
import {
  BLOCK_TABLE,
  BLOCK_TABLE_ENTRIES,
  CODE_MAP,
  CODE_MAP_GRANULE,
  PAGE,
  PAGE_MAP,
  PageFlag,
  RECORDS,
  RECORDS_SIZE,
} from '../memory/layout.ts';
import { Mode, Segment, Vector, type VpView } from '../vp/state.ts';
import { type Decoder, Instruction } from '../x86/decoder.ts';
import { encodeRecord } from './encode-record.ts';
import type { HandlerTable } from './handlers.ts';
import { Field, Handler, MAX_BLOCK, RECORD } from './record.ts';

/** Guest-physical addresses [from, to). */
export interface Stretch {
  readonly from: number;
  readonly to: number;
}

export interface BlockCode {
  /** The page's bytes, their address in the partition's memory, and where in the page the block begins. */
  readonly page: Uint8Array;
  readonly host: number;
  readonly offset: number;
  /** Guest-physical address of the page. */
  readonly gpa: number;
  readonly mode: number;
}

interface Block {
  readonly gpa: number;
  readonly mode: number;
  /** Bytes of code, in the first page. */
  readonly length: number;
  readonly record: number;
  readonly count: number;
  /** Second page of an instruction that crosses pages, else -1. */
  readonly secondPage: number;
  /** What it was translated to. */
  region?: InstalledRegion | undefined;
}

/** Translated code in front of a block's records. */
interface InstalledRegion {
  readonly owner: Block;
  /** Guest-physical addresses of the code it was made from: stretches of one page each. */
  readonly stretches: readonly Stretch[];
  /** In the table of regions. */
  readonly place: number;
}

/** Words of a block table entry. */
const WAY = 4;
const LONGEST_INSTRUCTION = 15;
/** Room for the records of any block. */
const LARGEST = (MAX_BLOCK + 3) * RECORD;
/** Blocks of one page; few pages of code have a tenth of it. */
const MOST_BLOCKS = 2048;

export interface BlockCacheHost {
  readonly vp: VpView;
  /** Guest-physical address of the page of code after `linear`'s, for an instruction that crosses into it; raises #PF. */
  translateCode(linear: bigint): number | undefined;
  /** The page now holds code: stores of every processor must be noticed from here on. */
  protectPage(page: number): void;
  /** The page holds no block any more. */
  releasePage(page: number): void;
  /** No page holds one. */
  releaseAll(): void;
  /** Everything was dropped: cached record addresses are stale. */
  flushed(): void;
}

export class BlockCache {
  readonly #host: BlockCacheHost;
  readonly #decoder: Decoder;
  readonly #handlers: HandlerTable;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #halves: Uint16Array;
  readonly #area: number;
  readonly #pages = new Map<number, Block[]>();
  readonly #instruction = new Instruction();
  readonly #straddle = new Uint8Array(32);
  readonly #byRecord = new Map<number, Block>();
  /** By page. */
  readonly #regions = new Map<number, InstalledRegion[]>();
  /** Executions after which a block is reported as hot; 0 never. */
  hotAfter = 0;
  /** A region's place in the table is free again. */
  released: (place: number) => void = () => undefined;
  /** Room for records: from here to there, then what is in `#room`. */
  #next: number;
  #limit: number;
  #room: Stretch[] = [];
  /** Records of blocks that were dropped; the jump cache and translations under way may still know them. */
  #retired: Stretch[] = [];
  #retiredBytes = 0;
  /** Counts how often records were used again: what was said of records before that is void. */
  epoch = 0;
  #crowded = false;
  /** Counts, for statistics. */
  decodedInstructions = 0;
  decodedBlocks = 0;

  constructor(buffer: SharedArrayBuffer, area: number, decoder: Decoder, handlers: HandlerTable, host: BlockCacheHost) {
    this.#host = host;
    this.#decoder = decoder;
    this.#handlers = handlers;
    this.#bytes = new Uint8Array(buffer);
    this.#words = new Int32Array(buffer);
    this.#halves = new Uint16Array(buffer);
    this.#area = area;
    this.#next = area + RECORDS;
    this.#limit = area + RECORDS + RECORDS_SIZE;
  }

  #pageEntry(gpa: number): number {
    return this.#words[(PAGE_MAP >> 2) + (gpa >>> 12)] as number;
  }

  /** Whether there is room for the records of another block, after making some where much has been dropped. */
  #makeRoom(): boolean {
    if (this.#next + LARGEST <= this.#limit) return true;
    this.#retire(this.#next, this.#limit);
    if (this.#room.length === 0 && this.#retiredBytes > RECORDS_SIZE / 8) this.#recycle();
    const stretch = this.#room.pop();
    this.#next = stretch?.from ?? this.#limit;
    this.#limit = stretch?.to ?? this.#limit;
    return stretch !== undefined;
  }

  #retire(from: number, to: number): void {
    if (from === to) return;
    this.#retired.push({ from, to });
    this.#retiredBytes += to - from;
  }

  /** Makes room of retired records, as far as they stand together. */
  #recycle(): void {
    this.epoch++;
    this.#host.flushed();
    const sorted = this.#retired.sort((a, b) => a.from - b.from);
    this.#retired = [];
    this.#retiredBytes = 0;
    let first: Stretch | undefined = sorted[0];
    for (const next of [...sorted.slice(1), undefined]) {
      if (first && next?.from === first.to) {
        first = { from: first.from, to: next.to };
        continue;
      }
      if (first && first.to - first.from >= LARGEST) this.#room.push(first);
      else if (first) this.#retire(first.from, first.to);
      first = next;
    }
  }

  /** Drops every block. */
  flush(): void {
    this.#host.vp.blocksFlushed++;
    this.#crowded = false;
    const all = new Set([...this.#regions.values()].flat());
    for (const region of all) this.released(region.place);
    this.#regions.clear();
    this.#host.vp.unwind = 1;
    this.#host.releaseAll();
    this.#pages.clear();
    this.#byRecord.clear();
    this.#next = this.#area + RECORDS;
    this.#limit = this.#area + RECORDS + RECORDS_SIZE;
    this.#room = [];
    this.#retired = [];
    this.#retiredBytes = 0;
    this.epoch++;
    this.#words.fill(0, (this.#area + BLOCK_TABLE) >> 2, (this.#area + BLOCK_TABLE + BLOCK_TABLE_ENTRIES * 16) >> 2);
    this.#host.flushed();
  }

  /**
   * Finds or makes the block at `linear` / `gpa`, which the block table does not hold. Returns the address of its first
   * record, with bit 0 set when it must not be cached.
   */
  decode(linear: bigint, gpa: number): number {
    if (this.#crowded || !this.#makeRoom()) this.flush();
    const { vp } = this.#host;
    const mode = vp.mode;
    const page = gpa & ~(PAGE - 1);
    const known = this.#pages.get(page >>> 0)?.find((b) => b.gpa === gpa >>> 0 && b.mode === mode);
    // Another block has taken its place in the table.
    if (known !== undefined && known.secondPage < 0) return this.#enter(known);
    const host = (this.#pageEntry(gpa) & ~(PAGE - 1)) >>> 0;
    if (!this.#pages.has(page >>> 0)) {
      this.#host.protectPage(page >>> 0);
      this.#pages.set(page >>> 0, []);
    }
    const offset = gpa & (PAGE - 1);
    const start = host + offset;
    const pageEnd = host + PAGE;
    const first = this.#next;
    let record = first;
    if (this.hotAfter > 0 && mode & Mode.LONG64) {
      this.#special(record, Handler.ENTER, 0, this.hotAfter, 0);
      record += RECORD;
    }
    let at = start;
    let secondPage = -1;
    // The bytes of the second page are not RAM, of which nobody tells when it becomes some.
    let cached = true;
    const instruction = this.#instruction;
    // Bytes of code within the limit of CS; 64-bit mode has none.
    const room =
      mode & Mode.LONG64 ? Number.POSITIVE_INFINITY : (vp.segmentLimit[Segment.CS] as number) - Number(vp.rip) + 1;
    for (;;) {
      const done = at - start;
      if (done > 0 && (done >= MAX_BLOCK - 15 || at >= pageEnd)) {
        this.#special(record, Handler.CONTINUE, done, 0, 0);
        record += RECORD;
        break;
      }
      let outcome = this.#decoder.decode(this.#bytes, at, pageEnd, mode, instruction);
      if (outcome === 'truncated') {
        if (done > 0) {
          this.#special(record, Handler.CONTINUE, done, 0, 0);
          record += RECORD;
          break;
        }
        const have = pageEnd - at;
        const next = this.#host.translateCode((linear & ~0xfffn) + 0x1000n);
        const entry = next === undefined ? 0 : this.#pageEntry(next);
        if (next !== undefined && entry & PageFlag.PRESENT) {
          secondPage = (next & ~(PAGE - 1)) >>> 0;
          if (known?.secondPage === secondPage && this.#pages.get(secondPage)?.includes(known))
            return this.#enter(known);
          if (!this.#pages.has(secondPage)) {
            this.#host.protectPage(secondPage);
            this.#pages.set(secondPage, []);
          }
          // Both pages are protected from here on, and what was stored before is seen.
          const from = (entry & ~(PAGE - 1)) >>> 0;
          this.#straddle.set(this.#bytes.subarray(from, from + 16 - have), have);
        } else {
          this.#straddle.fill(0xff, have);
          cached = false;
        }
        this.#straddle.set(this.#bytes.subarray(at, pageEnd));
        outcome = this.#decoder.decode(this.#straddle, 0, 16, mode, instruction);
      }
      const length = outcome === 'ok' ? instruction.length : 1;
      if (outcome === 'tooLong' || done + length > room) {
        this.#special(record, Handler.RAISE, done, Vector.GP, 0);
        record += RECORD;
        // What it was told by is part of the block.
        at = Math.min(at + LONGEST_INSTRUCTION, pageEnd);
        break;
      }
      if (outcome !== 'ok') {
        this.#special(record, Handler.RAISE, done, Vector.UD, -1);
        record += RECORD;
        at = Math.min(at + LONGEST_INSTRUCTION, pageEnd);
        break;
      }
      encodeRecord(this.#words, record, done, instruction, this.#handlers.of(instruction));
      this.decodedInstructions++;
      record += RECORD;
      at += length;
      if (secondPage >= 0 || !cached || instruction.form.options.ends === true) {
        // A branch has gone elsewhere; what only changes state goes on here.
        this.#special(record, Handler.CONTINUE, at - start, 0, 0);
        record += RECORD;
        break;
      }
    }
    this.decodedBlocks++;
    // The records of a block that is not to be found again are the next block's.
    if (!cached) return first | 1;
    this.#next = record;
    const block: Block = {
      gpa: gpa >>> 0,
      mode,
      length: Math.min(at - start || 1, PAGE - offset),
      record: first,
      count: (record - first) / RECORD,
      secondPage,
    };
    if (cached && secondPage < 0 && this.hotAfter > 0) this.#byRecord.set(first, block);
    // The same instruction with another second page.
    if (known) {
      this.#drop(known);
      this.#forget(known, known.gpa - (known.gpa % PAGE));
      this.#forget(known, known.secondPage);
    }
    this.#markBlock(block);
    this.#remember(page >>> 0, block);
    if (secondPage >= 0) this.#remember(secondPage, block);
    return this.#enter(block);
  }

  /** Its set in the block table, as the index of the first word. */
  #set(gpa: number): number {
    return (this.#area + BLOCK_TABLE + (((gpa ^ (gpa >>> 16)) & (BLOCK_TABLE_ENTRIES - 2)) << 4)) >> 2;
  }

  /** Makes the block the first of its set. */
  #enter(block: Block): number {
    const words = this.#words;
    const set = this.#set(block.gpa);
    if (words[set + 2] !== block.record) words.copyWithin(set + WAY, set, set + WAY);
    words[set] = block.gpa;
    words[set + 1] = block.mode;
    words[set + 2] = block.record;
    words[set + 3] = block.secondPage < 0 ? 0 : block.secondPage | 1;
    return block.record;
  }

  /** Protecting a page can let another processor's flush in, so the list may have gone since. */
  #remember(page: number, block: Block): void {
    const blocks = this.#pages.get(page);
    if (blocks) blocks.push(block);
    else this.#pages.set(page, [block]);
    // A store looks at every block of its page. Code that keeps making new ones there starts afresh.
    this.#crowded ||= blocks !== undefined && blocks.length > MOST_BLOCKS;
  }

  /** Takes a block that was dropped off the list of one of its pages. */
  #forget(block: Block, page: number): void {
    const blocks = this.#pages.get(page);
    const at = blocks?.indexOf(block) ?? -1;
    if (at >= 0) blocks?.splice(at, 1);
  }

  /** Takes the block out of the table. */
  #leave(block: Block): void {
    const set = this.#set(block.gpa);
    for (const entry of [set, set + WAY]) {
      if (this.#words[entry + 2] !== block.record) continue;
      // No record, so that not even code in the last byte of the address space finds it.
      this.#words[entry] = -1;
      this.#words[entry + 2] = 0;
    }
  }

  #special(record: number, handler: number, ip: number, vector: number, error: number): void {
    const words = this.#words;
    const w = record >> 2;
    words[w] = handler | (ip << 16);
    words[w + 1] = 0;
    words[w + 2] = error;
    words[w + 3] = 0;
    words[w + 4] = vector;
    words[w + 5] = 0;
    words[w + 6] = 0;
    words[w + 7] = 0;
  }

  /** Bytes [gpa, gpa + size) of guest RAM are about to change: blocks that hold any of them are not to be run again. */
  written(gpa: number, size: number): boolean {
    const end = gpa + size;
    let hit = false;
    for (let page = gpa - (gpa % PAGE); page < end; page += PAGE) {
      // A region reaches beyond the block it stands in front of.
      const regions = this.#regions.get(page);
      if (regions)
        for (const region of regions)
          if (region.stretches.some(({ from, to }) => from < end && to > gpa)) this.#dropRegion(region);
      const blocks = this.#pages.get(page);
      if (!blocks || blocks.length === 0) {
        this.#release(page);
        continue;
      }
      const kept: Block[] = [];
      for (const block of blocks) {
        const firstPage = block.gpa - (block.gpa % PAGE);
        const inFirst = firstPage === page && block.gpa < end && block.gpa + block.length > gpa;
        const touched = inFirst || (block.secondPage === page && gpa < page + 15);
        if (touched) {
          this.#drop(block);
          if (block.secondPage >= 0) this.#forget(block, firstPage + block.secondPage - page);
        } else kept.push(block);
        hit ||= touched;
      }
      if (kept.length === 0) this.#release(page);
      else if (kept.length !== blocks.length) {
        this.#pages.set(page, kept);
        this.#markAgain(page);
      }
    }
    return hit;
  }

  /** Notes in the code map that [from, to), within a page, holds code. */
  #mark(from: number, to: number): void {
    if (this.#host.vp.codeMapExact === 0) return;
    for (let granule = Math.floor(from / CODE_MAP_GRANULE); granule * CODE_MAP_GRANULE < to; granule++) {
      const at = CODE_MAP + (granule >>> 3);
      this.#bytes[at] = (this.#bytes[at] as number) | (1 << (granule & 7));
    }
  }
  #markBlock({ gpa, length, secondPage }: Block): void {
    this.#mark(gpa, gpa + length);
    if (secondPage >= 0) this.#mark(secondPage, secondPage + LONGEST_INSTRUCTION);
  }
  /** Code of a page has been dropped. */
  #markAgain(page: number): void {
    if (this.#host.vp.codeMapExact === 0) return;
    const first = CODE_MAP + page / (8 * CODE_MAP_GRANULE);
    this.#bytes.fill(0, first, first + PAGE / (8 * CODE_MAP_GRANULE));
    for (const block of this.#pages.get(page) ?? [])
      if (block.secondPage === page) this.#mark(page, page + LONGEST_INSTRUCTION);
      else this.#mark(block.gpa, block.gpa + block.length);
    for (const { stretches } of this.#regions.get(page) ?? [])
      for (const { from, to } of stretches) if (from >= page && from < page + PAGE) this.#mark(from, to);
  }

  /** The next block there protects the page anew. */
  #release(page: number): void {
    this.#pages.delete(page);
    this.#markAgain(page);
    // A region that begins in the page before it reaches into this one.
    if (this.#regions.has(page)) return;
    this.#host.releasePage(page);
  }

  /** The code that the block at `record` begins; undefined when it has been dropped, or translated. */
  codeOf(record: number): BlockCode | undefined {
    const block = this.#byRecord.get(record);
    if (!block || this.#halves[record >> 1] !== Handler.ENTER) return undefined;
    const gpa = block.gpa - (block.gpa % PAGE);
    const host = (this.#pageEntry(gpa) & -PAGE) >>> 0;
    return { page: this.#bytes.subarray(host, host + PAGE), host, offset: block.gpa - gpa, gpa, mode: block.mode };
  }

  /**
   * The blocks of a page in one mode: offset in the page plus `base`, first record, count of records, and how often each has been entered,
   * or -1 where it is translated or `taken`.
   */
  blocksOf(page: number, mode: number, taken: ReadonlySet<number>, base = 0): Int32Array {
    const blocks = this.#pages.get(page) ?? [];
    const words = new Int32Array(blocks.length * 4);
    let at = 0;
    for (const b of blocks) {
      if (b.mode !== mode || b.secondPage >= 0) continue;
      words[at++] = b.gpa - page + base;
      words[at++] = b.record;
      words[at++] = b.count;
      const left = this.#words[(b.record >> 2) + 4] as number;
      words[at++] = b.region || taken.has(b.record) ? -1 : this.hotAfter - left;
    }
    return words.slice(0, at);
  }

  /** Blocks at these offsets of a page have become part of a region: what is entered from elsewhere has to get hot anew. */
  cool(page: number, mode: number, offsets: readonly number[]): void {
    for (const block of this.#pages.get(page) ?? []) {
      if (block.mode !== mode || block.region || !offsets.includes(block.gpa - page)) continue;
      if (this.#halves[block.record >> 1] === Handler.ENTER) this.#words[(block.record >> 2) + 4] = this.hotAfter;
    }
  }

  /** How often the block at `record`, which is not translated, has been entered. */
  entered(record: number): number {
    return this.hotAfter - (this.#words[(record >> 2) + 4] as number);
  }

  /** The bytes of a page that holds blocks, and whose changes are noticed therefore, and their address in memory. */
  pageOf(gpa: number): { readonly page: Uint8Array; readonly host: number } | undefined {
    if ((this.#pages.get(gpa)?.length ?? 0) === 0) return undefined;
    const host = (this.#pageEntry(gpa) & -PAGE) >>> 0;
    return { page: this.#bytes.subarray(host, host + PAGE), host };
  }

  /** Puts a region, made from stretches of pages that hold blocks, in front of the block at `record`. */
  install(record: number, place: number, stretches: readonly Stretch[]): void {
    const owner = this.#byRecord.get(record) as Block;
    const region = { owner, stretches, place };
    owner.region = region;
    for (const { from } of stretches) {
      const page = from - (from % PAGE);
      const regions = this.#regions.get(page);
      if (regions) regions.push(region);
      else this.#regions.set(page, [region]);
    }
    for (const { from, to } of stretches) this.#mark(from, to);
    this.#special(record, Handler.REGION, 0, place, 0);
  }

  /** Takes a region out; its block is interpreted again, and may become hot again. */
  #dropRegion(region: InstalledRegion): void {
    this.#host.vp.unwind = 1;
    region.owner.region = undefined;
    this.released(region.place);
    this.#special(region.owner.record, Handler.ENTER, 0, this.hotAfter, 0);
    for (const { from } of region.stretches) {
      const page = from - (from % PAGE);
      const kept = (this.#regions.get(page) ?? []).filter((r) => r !== region);
      if (kept.length > 0) this.#regions.set(page, kept);
      else this.#regions.delete(page);
    }
  }

  #drop(block: Block): void {
    this.#host.vp.blocksInvalidated++;
    const { region } = block;
    if (region) this.#dropRegion(region);
    // Translated code calls the interpreter with records of blocks that hold its instructions.
    const end = block.gpa + block.length;
    for (const other of this.#regions.get(block.gpa - (block.gpa % PAGE)) ?? [])
      if (other.stretches.some(({ from, to }) => from < end && to > block.gpa)) this.#dropRegion(other);
    this.#byRecord.delete(block.record);
    for (let n = 0; n < block.count; n++) {
      const half = (block.record + n * RECORD + Field.HANDLER) >> 1;
      // What raises or goes on elsewhere stays harmless when it is looked up again.
      this.#halves[half] = Handler.REFETCH;
    }
    this.#leave(block);
    this.#retire(block.record, block.record + block.count * RECORD);
  }

  /** Blocks held. */
  get size(): number {
    let count = 0;
    for (const blocks of this.#pages.values()) count += blocks.length;
    return count;
  }

  get pages(): number {
    return this.#pages.size;
  }
}
