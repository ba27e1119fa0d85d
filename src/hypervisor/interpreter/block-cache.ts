/**
 * The predecoded blocks of one virtual processor: decodes code from guest RAM into records, finds the blocks that a store
 * touches, and drops them.
 */
import {
  BLOCK_TABLE,
  BLOCK_TABLE_ENTRIES,
  PAGE,
  PAGE_MAP,
  PageFlag,
  RECORDS,
  RECORDS_SIZE,
  VP_STATE,
} from '../memory/layout.ts';
import { Mode, Segment, Vector, VpState } from '../vp/state.ts';
import { TOO_LONG, TRUNCATED } from '../x86/decode-table.ts';
import { Parser } from '../x86/decoder.ts';
import type { BlockCacheHost, BlockCode } from './block-host.ts';
import { CodeMap } from './code-map.ts';
import { ENDS, LENGTH, RecordWriter } from './encode-record.ts';
import { type InstalledRegion, InstalledRegions } from './installed-regions.ts';
import type { DecodingTables } from './module.ts';
import { Field, Handler, MAX_BLOCK, RECORD } from './record.ts';
import { RecordRoom, type Stretch } from './record-room.ts';

export type { Stretch } from './record-room.ts';

/** A guest-physical page with code. */
interface CodePage {
  /** Its bytes, and their address in the partition's memory. */
  bytes: Uint8Array;
  host: number;
  /**
   * The blocks with bytes in the page, each in ENTRY numbers: small integers in one array, because stores to the page look
   * at all of them. A block that crosses into this page is here a second time, as FOREIGN.
   */
  readonly blocks: number[];
}

/** Numbers of an entry. The first is the block's first byte in the page, its bytes there << 12, and its records << 20. */
const ENTRY = 4;
const RECORD_AT = 1;
/** The mode, and FOREIGN. */
const MODE = 2;
/** Of a block in two pages, the number of the other one, else -1. */
const OTHER = 3;
const FOREIGN = 1 << 8;

/** Words of a block table entry. */
const WAY = 4;
const LONGEST_INSTRUCTION = 15;
/** Blocks that have been entered so often are kept when room is made. */
export const WARM = 64;
/** Executions after which a block is reported as hot that has been so in another run. */
const KEPT_AFTER = 8;
/** Blocks of one page; few pages of code have a tenth of it. */
const MOST_BLOCKS = 2048;

export class BlockCache {
  readonly #host: BlockCacheHost;
  readonly #decoder: Parser;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #halves: Uint16Array;
  readonly #area: number;
  /** By page number. */
  readonly #pages = new Map<number, CodePage>();
  readonly #map: CodeMap;
  readonly #writer: RecordWriter;
  readonly #straddle = new Uint8Array(32);
  /** Guest-physical addresses of blocks, by the number of their first record; what was said of one that is gone remains. */
  readonly #gpaOf = new Int32Array(RECORDS_SIZE / RECORD);
  /** Of the mode in VpState, in words. */
  readonly #mode: number;
  readonly #regions = new InstalledRegions();
  /** Executions after which a block is reported as hot; 0 never. */
  hotAfter = 0;
  /** Whether code has a translation from another run, most likely. */
  isKept: (page: Uint8Array, offset: number, mode: number) => boolean = () => false;
  /** A region's place in the table is free again. */
  released: (place: number) => void = () => undefined;
  readonly #room: RecordRoom;
  /** Counts how often records were used again: what was said of records before that is void. */
  epoch = 0;
  #crowded = false;
  /** Counts, for statistics. */
  decodedInstructions = 0;
  decodedBlocks = 0;

  constructor(buffer: SharedArrayBuffer, area: number, tables: DecodingTables, host: BlockCacheHost) {
    this.#host = host;
    this.#decoder = new Parser(tables.decoding);
    this.#bytes = new Uint8Array(buffer);
    this.#map = new CodeMap(this.#bytes);
    this.#words = new Int32Array(buffer);
    this.#halves = new Uint16Array(buffer);
    this.#writer = new RecordWriter(this.#words, tables);
    this.#mode = (area + VP_STATE + VpState.offset('mode')) >> 2;
    this.#area = area;
    this.#room = new RecordRoom(area + RECORDS, area + RECORDS + RECORDS_SIZE, () => {
      this.epoch++;
      host.flushed();
    });
  }

  #pageEntry(number: number): number {
    return this.#words[(PAGE_MAP >> 2) + number] as number;
  }

  /** Drops every block. */
  flush(): void {
    this.#host.vp.blocksFlushed++;
    this.#crowded = false;
    for (const { place } of this.#regions.all()) this.released(place);
    this.#regions.clear();
    this.#host.vp.unwind = 1;
    this.#host.releaseAll();
    this.#pages.clear();
    this.#room.clear();
    this.epoch++;
    this.#words.fill(0, (this.#area + BLOCK_TABLE) >> 2, (this.#area + BLOCK_TABLE + BLOCK_TABLE_ENTRIES * 16) >> 2);
    this.#host.flushed();
  }

  /** A page that holds blocks, and is protected therefore. */
  #held(number: number): CodePage | undefined {
    const page = this.#pages.get(number);
    if (page === undefined) return undefined;
    const host = (this.#pageEntry(number) & -PAGE) >>> 0;
    if (page.host !== host) {
      page.bytes = this.#bytes.subarray(host, host + PAGE);
      page.host = host;
    }
    return page;
  }

  /** A page that is protected from here on. */
  #protected(number: number): CodePage {
    const held = this.#held(number);
    if (held !== undefined) return held;
    const host = (this.#pageEntry(number) & -PAGE) >>> 0;
    this.#host.protectPage(number * PAGE);
    const page = { bytes: this.#bytes.subarray(host, host + PAGE), host, blocks: [] };
    this.#pages.set(number, page);
    return page;
  }

  /**
   * Finds or makes the block at `linear` / `gpa`, which the block table does not hold. Returns the address of its first
   * record, with bit 0 set when it must not be cached.
   */
  decode(linear: bigint, gpa: number): number {
    if (this.#crowded || !(this.#room.make() || this.#thinOut())) this.flush();
    const words = this.#words;
    const mode = words[this.#mode] as number;
    const number = gpa >>> 12;
    const offset = gpa & (PAGE - 1);
    const page = this.#protected(number);
    const { bytes, blocks } = page;
    let known = -1;
    for (let at = 0; at < blocks.length; at += ENTRY)
      if (((blocks[at] as number) & (PAGE - 1)) === offset && blocks[at + MODE] === mode) {
        known = blocks[at + RECORD_AT] as number;
        // Another block has taken its place in the table.
        if ((blocks[at + OTHER] as number) < 0) return this.#enter(gpa, mode, known, -1);
        break;
      }
    const first = this.#room.next;
    const counted = this.hotAfter > 0 && (mode & Mode.LONG64) !== 0;
    let record = first;
    if (counted) {
      this.#countFrom(record, this.isKept(bytes, offset, mode) ? KEPT_AFTER : this.hotAfter);
      record += RECORD;
    }
    const decoder = this.#decoder;
    const writer = this.#writer;
    const room = this.#codeRoom(mode);
    // Offset from the block's first byte, and from the page's.
    let done = 0;
    let at = offset;
    let second = -1;
    // The bytes of the second page are not RAM, of which nobody tells when it becomes some.
    let cached = true;
    for (;;) {
      if (done > 0 && (done >= MAX_BLOCK - 15 || at >= PAGE || record > this.#room.last)) {
        this.#special(record, Handler.CONTINUE, done, 0, 0);
        break;
      }
      writer.record = record;
      writer.ip = done;
      let outcome = decoder.parse(bytes, at, PAGE, mode, writer);
      if (outcome === TRUNCATED) {
        if (done > 0) {
          this.#special(record, Handler.CONTINUE, done, 0, 0);
          break;
        }
        const have = PAGE - at;
        const next = this.#host.translateCode((linear & ~0xfffn) + 0x1000n);
        if (next !== undefined && this.#pageEntry(next >>> 12) & PageFlag.PRESENT) {
          second = next >>> 12;
          const behind = this.#pages.get(second);
          if (known >= 0 && behind && this.#entry(page, known, second) >= 0 && this.#entry(behind, known, number) >= 0)
            return this.#enter(gpa, mode, known, second);
          // Both pages are protected from here on, and what was stored before is seen.
          this.#straddle.set(this.#protected(second).bytes.subarray(0, 16 - have), have);
        } else {
          this.#straddle.fill(0xff, have);
          cached = false;
        }
        this.#straddle.set(bytes.subarray(at));
        outcome = decoder.parse(this.#straddle, 0, 16, mode, writer);
      }
      const length = outcome < 0 ? 1 : outcome & LENGTH;
      if (outcome < 0 || done + length > room) {
        const protection = outcome === TOO_LONG || done + length > room;
        this.#special(record, Handler.RAISE, done, protection ? Vector.GP : Vector.UD, protection ? 0 : -1);
        // What it was told by is part of the block.
        done = Math.min(at + LONGEST_INSTRUCTION, PAGE) - offset;
        break;
      }
      record += RECORD;
      at += length;
      done += length;
      if ((outcome & ENDS) !== 0 || second >= 0 || !cached) {
        // A branch has gone elsewhere; what only changes state goes on here.
        this.#special(record, Handler.CONTINUE, done, 0, 0);
        break;
      }
    }
    this.decodedBlocks++;
    this.decodedInstructions += (record - first) / RECORD - (counted ? 1 : 0);
    // The records of a block that is not to be found again are the next block's.
    if (!cached) return first | 1;
    this.#room.next = record + RECORD;
    this.#gpaOf[this.#numberOf(first)] = gpa;
    // The same instruction with another second page.
    if (known >= 0) this.#replace(number, known);
    const length = Math.min(done || 1, PAGE - offset);
    const records = (record + RECORD - first) / RECORD;
    this.#mark(gpa >>> 0, (gpa >>> 0) + length);
    this.#remember(number, offset | (length << 12) | (records << 20), first, mode, second);
    if (second >= 0) {
      this.#mark(second * PAGE, second * PAGE + LONGEST_INSTRUCTION);
      this.#remember(second, (LONGEST_INSTRUCTION << 12) | (records << 20), first, mode | FOREIGN, number);
    }
    return this.#enter(gpa, mode, first, second);
  }

  /** Bytes of code within the limit of CS; 64-bit mode has none. */
  #codeRoom(mode: number): number {
    if (mode & Mode.LONG64) return MAX_BLOCK + LONGEST_INSTRUCTION;
    const { vp } = this.#host;
    return (vp.segmentLimit[Segment.CS] as number) - Number(vp.rip) + 1;
  }

  #numberOf(record: number): number {
    return (record - this.#area - RECORDS) / RECORD;
  }

  /** Where in the page's list the block is that begins at `record` and has bytes in the page `other` too, or -1 for none. */
  #entry({ blocks }: CodePage, record: number, other: number): number {
    for (let at = 0; at < blocks.length; at += ENTRY)
      if (blocks[at + RECORD_AT] === record && blocks[at + OTHER] === other) return at;
    return -1;
  }

  /** Its set in the block table, as the index of the first word. */
  #set(gpa: number): number {
    return (this.#area + BLOCK_TABLE + (((gpa ^ (gpa >>> 16)) & (BLOCK_TABLE_ENTRIES - 2)) << 4)) >> 2;
  }

  /** Makes the block the first of its set. `second` is the number of its second page, or -1. */
  #enter(gpa: number, mode: number, record: number, second: number): number {
    const words = this.#words;
    const set = this.#set(gpa);
    if (words[set + 2] !== record) for (let n = set; n < set + WAY; n++) words[n + WAY] = words[n] as number;
    words[set] = gpa;
    words[set + 1] = mode;
    words[set + 2] = record;
    words[set + 3] = second < 0 ? 0 : (second * PAGE) | 1;
    return record;
  }

  /** Protecting a page can let another processor's flush in, so the list may have gone since. */
  #remember(number: number, extent: number, record: number, mode: number, other: number): void {
    const { blocks } = this.#protected(number);
    blocks.push(extent, record, mode, other);
    // A store looks at every block of its page. Code that keeps making new ones there starts afresh.
    if (blocks.length > MOST_BLOCKS * ENTRY) this.#crowded = true;
  }

  /** Drops the block at `record`, in two pages of which this is the first, where it still is. */
  #replace(number: number, record: number): void {
    const blocks = this.#pages.get(number)?.blocks ?? [];
    for (let at = 0; at < blocks.length; at += ENTRY) {
      if (blocks[at + RECORD_AT] !== record || (blocks[at + MODE] as number) & FOREIGN) continue;
      const other = blocks[at + OTHER] as number;
      this.#drop(record, blocks[at] as number);
      blocks.splice(at, ENTRY);
      this.#forget(other, record);
      return;
    }
  }

  /** Takes a block that was dropped off the list of its other page. */
  #forget(number: number, record: number): void {
    const blocks = this.#pages.get(number)?.blocks ?? [];
    for (let at = 0; at < blocks.length; at += ENTRY)
      if (blocks[at + RECORD_AT] === record) {
        blocks.splice(at, ENTRY);
        if (blocks.length === 0) this.#release(number);
        return;
      }
  }

  /** Takes the block out of the table. */
  #leave(gpa: number, record: number): void {
    const set = this.#set(gpa);
    for (const entry of [set, set + WAY]) {
      if (this.#words[entry + 2] !== record) continue;
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
    for (let number = gpa >>> 12; number * PAGE < end; number++) {
      // A region reaches beyond the block it stands in front of.
      this.#dropRegions(number, gpa, end);
      const blocks = this.#pages.get(number)?.blocks;
      if (blocks === undefined || blocks.length === 0) {
        this.#release(number);
        continue;
      }
      if (!this.#dropBetween(blocks, gpa - number * PAGE, end - number * PAGE)) continue;
      hit = true;
      if (blocks.length === 0) this.#release(number);
      else this.#markAgain(number);
    }
    return hit;
  }

  /** Drops the blocks with bytes between two offsets in a page. */
  #dropBetween(blocks: number[], from: number, to: number): boolean {
    return this.#dropThose(blocks, (at) => {
      const extent = blocks[at] as number;
      const begin = extent & (PAGE - 1);
      return begin < to && begin + ((extent >> 12) & 0xff) > from;
    });
  }

  #thinOut(): boolean {
    this.#dropCold();
    return this.#room.make();
  }

  /**
   * Drops the blocks that have hardly been entered: most have run once.
   * @param discard is told which addresses of the partition's memory need not be kept
   */
  tidy(discard: (stretch: Stretch) => void): void {
    this.#dropCold();
    this.#room.collect(discard);
  }

  /** Drops the blocks that have hardly been entered and no region calls. What is translated, and what is on its way there, stays. */
  #dropCold(): void {
    for (const [number, { blocks }] of this.#pages) {
      const called = new Set(this.#regions.of(number).flatMap(({ calls }) => calls));
      const isCold = (at: number): boolean => {
        const record = blocks[at + RECORD_AT] as number;
        if ((blocks[at + MODE] as number) & FOREIGN || called.has(record)) return false;
        const kind = this.#halves[record >> 1];
        return kind !== Handler.REGION && !(kind === Handler.ENTER && this.#executions(record) >= WARM);
      };
      if (!this.#dropThose(blocks, isCold)) continue;
      if (blocks.length === 0) this.#release(number);
      else this.#markAgain(number);
    }
  }

  /** Drops blocks of a page, which are named by where in its list they are. */
  #dropThose(blocks: number[], isDropped: (at: number) => boolean): boolean {
    let dropped: number[] | undefined;
    let kept = 0;
    for (let at = 0; at < blocks.length; at += ENTRY) {
      if (isDropped(at)) {
        dropped ??= [];
        for (let n = 0; n < ENTRY; n++) dropped.push(blocks[at + n] as number);
        continue;
      }
      if (dropped !== undefined) for (let n = 0; n < ENTRY; n++) blocks[kept + n] = blocks[at + n] as number;
      kept += ENTRY;
    }
    if (dropped === undefined) return false;
    blocks.length = kept;
    for (let at = 0; at < dropped.length; at += ENTRY) {
      const extent = dropped[at] as number;
      const record = dropped[at + RECORD_AT] as number;
      const other = dropped[at + OTHER] as number;
      // Where both of its pages are this one, it may have been here twice.
      if (this.#halves[record >> 1] === Handler.REFETCH) continue;
      this.#drop(record, extent);
      if (other >= 0) this.#forget(other, record);
    }
    return true;
  }

  /** Drops the regions made from code of a page that is between two guest-physical addresses. */
  #dropRegions(number: number, gpa: number, end: number): void {
    for (const region of this.#regions.of(number))
      if (region.stretches.some(({ from, to }) => from < end && to > gpa)) this.#dropRegion(region);
  }

  /** Notes that [from, to), within a page, holds code. */
  #mark(from: number, to: number): void {
    if (this.#host.vp.codeMapExact !== 0) this.#map.mark(from, to);
  }
  /** Code of a page has been dropped. */
  #markAgain(number: number): void {
    if (this.#host.vp.codeMapExact === 0) return;
    const page = number * PAGE;
    this.#map.clear(page);
    const blocks = this.#pages.get(number)?.blocks ?? [];
    for (let at = 0; at < blocks.length; at += ENTRY) {
      const extent = blocks[at] as number;
      const from = page + (extent & (PAGE - 1));
      this.#mark(from, from + ((extent >> 12) & 0xff));
    }
    for (const { stretches } of this.#regions.of(number))
      for (const { from, to } of stretches) if (from >= page && from < page + PAGE) this.#mark(from, to);
  }

  /** The next block there protects the page anew. */
  #release(number: number): void {
    this.#pages.delete(number);
    this.#markAgain(number);
    // A region that begins in the page before it reaches into this one.
    if (this.#regions.of(number).length > 0) return;
    this.#host.releasePage(number * PAGE);
  }

  /** The code that the block at `record` begins; undefined when it has been dropped, or translated. */
  codeOf(record: number): BlockCode | undefined {
    if (this.#halves[record >> 1] !== Handler.ENTER) return undefined;
    const at = (this.#gpaOf[this.#numberOf(record)] as number) >>> 0;
    const offset = at & (PAGE - 1);
    const page = this.#held(at >>> 12);
    const entry = page ? this.#entry(page, record, -1) : -1;
    if (!page || entry < 0) return undefined;
    const mode = page.blocks[entry + MODE] as number;
    return { page: page.bytes, host: page.host, offset, gpa: at - offset, mode };
  }

  /** Whether the block at `record`, translated or not, is still there. Records are used again only in another epoch. */
  has(record: number): boolean {
    const at = (this.#gpaOf[this.#numberOf(record)] as number) >>> 0;
    const page = this.#held(at >>> 12);
    return page !== undefined && this.#entry(page, record, -1) >= 0;
  }

  /**
   * The blocks of a page in one mode: offset in the page plus `base`, first record, count of records, and how often each has been entered,
   * or -1 where it is translated or `taken`.
   */
  blocksOf(page: number, mode: number, taken: ReadonlySet<number>, base = 0): Int32Array {
    const blocks = this.#pages.get(page >>> 12)?.blocks ?? [];
    const words = new Int32Array(blocks.length);
    let count = 0;
    for (let at = 0; at < blocks.length; at += ENTRY) {
      if (blocks[at + MODE] !== mode || (blocks[at + OTHER] as number) >= 0) continue;
      const extent = blocks[at] as number;
      const record = blocks[at + RECORD_AT] as number;
      const left = this.#words[(record >> 2) + 4] as number;
      const gone = this.#halves[record >> 1] === Handler.REGION || taken.has(record);
      words[count] = (extent & (PAGE - 1)) + base;
      words[count + 1] = record;
      words[count + 2] = extent >> 20;
      words[count + 3] = gone ? -1 : this.hotAfter - left;
      count += 4;
    }
    return count === words.length ? words : words.slice(0, count);
  }

  /** Blocks at these offsets of a page have become part of a region: what is entered from elsewhere has to get hot anew. */
  cool(page: number, mode: number, offsets: readonly number[]): void {
    const blocks = this.#pages.get(page >>> 12)?.blocks ?? [];
    for (let at = 0; at < blocks.length; at += ENTRY) {
      const record = blocks[at + RECORD_AT] as number;
      if (blocks[at + MODE] !== mode || this.#halves[record >> 1] !== Handler.ENTER) continue;
      if (offsets.includes((blocks[at] as number) & (PAGE - 1))) this.#countFrom(record, this.hotAfter);
    }
  }

  /** The block at `record` is hot after so many executions: how many are left, and how many there were. */
  #countFrom(record: number, executions: number): void {
    this.#special(record, Handler.ENTER, 0, executions, executions);
  }
  #executions(record: number): number {
    return (this.#words[(record >> 2) + 2] as number) - (this.#words[(record >> 2) + 4] as number);
  }

  /** How often the block at `record`, which is not translated, has been entered; one that other runs knew as if it had been. */
  entered(record: number): number {
    return this.hotAfter - (this.#words[(record >> 2) + 4] as number);
  }

  /** The bytes of a page that holds blocks, and whose changes are noticed therefore, and their address in memory. */
  pageOf(gpa: number): { readonly page: Uint8Array; readonly host: number } | undefined {
    const page = this.#held(gpa >>> 12);
    return page && page.blocks.length > 0 ? { page: page.bytes, host: page.host } : undefined;
  }

  /** Puts a region, made from stretches of pages that hold blocks, in front of the block at `record`. */
  install(record: number, place: number, stretches: readonly Stretch[], calls: readonly number[]): void {
    this.#regions.add({ record, stretches, calls, place });
    for (const { from, to } of stretches) this.#mark(from, to);
    this.#special(record, Handler.REGION, 0, place, 0);
  }

  /** How often the region at `record` could not make its accesses together; 0: there is none. */
  splitsOf(record: number): number {
    return this.#regions.at(record) ? (this.#words[(record + Field.SPLITS) >> 2] as number) : 0;
  }
  /** Takes the region at `record` out, and says which code it began with, and which page it reached into. */
  uninstall(record: number): { readonly code: BlockCode | undefined; readonly next: number | undefined } {
    const region = this.#regions.at(record);
    if (region) this.#dropRegion(region);
    return { code: this.codeOf(record), next: region?.stretches[1]?.from };
  }

  /** Takes a region out; its block is interpreted again, and may become hot again. */
  #dropRegion(region: InstalledRegion): void {
    this.#host.vp.unwind = 1;
    this.#regions.remove(region);
    this.released(region.place);
    this.#countFrom(region.record, this.hotAfter);
  }

  /** Makes sure that a block, which its pages' lists do not hold any more, is not run. */
  #drop(record: number, extent: number): void {
    this.#host.vp.blocksInvalidated++;
    const halves = this.#halves;
    if (halves[record >> 1] === Handler.REGION) this.#dropRegion(this.#regions.at(record) as InstalledRegion);
    const end = record + (extent >> 20) * RECORD;
    const gpa = (this.#gpaOf[this.#numberOf(record)] as number) >>> 0;
    for (const region of this.#regions.of(gpa >>> 12)) if (region.calls.includes(record)) this.#dropRegion(region);
    // What raises or goes on elsewhere stays harmless when it is looked up again.
    for (let at = record; at < end; at += RECORD) halves[at >> 1] = Handler.REFETCH;
    this.#leave(gpa, record);
    this.#room.retire(record, end);
  }

  /** Blocks held; one in two pages counts twice. */
  get size(): number {
    let count = 0;
    for (const { blocks } of this.#pages.values()) count += blocks.length / ENTRY;
    return count;
  }

  get pages(): number {
    return this.#pages.size;
  }
}
