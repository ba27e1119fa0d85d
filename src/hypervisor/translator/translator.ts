/**
 * The translator's side on a virtual processor's thread: collects the blocks that the interpreter finds hot, has them
 * translated (elsewhere, see service.ts), and puts the regions in the place of the blocks' first records.
 */
import type { BlockCache, Stretch } from '../interpreter/block-cache.ts';
import type { BlockCode } from '../interpreter/block-host.ts';
import { PAGE, VP_STATE, vpArea } from '../memory/layout.ts';
import type { VpView } from '../vp/state.ts';
import { globalName } from '../wasm/module.ts';
import { fillSites } from './decoded.ts';
import { type KeptRegions, keptKey, nameOf } from './kept.ts';
import {
  type KnownModules,
  packRequest,
  type TranslatedModule,
  type TranslatedRegion,
  type TranslationItem,
  type TranslationRequest,
  type TranslationResult,
} from './request.ts';

/**
 * Executions after which a block is translated. Translating takes some 20 us an instruction on a core that the processor's thread
 * may want; interpreting takes 5 ns.
 */
export const HOT = 1000;
/** Regions to a module: about 27 us of a module's cost are fixed. */
const BATCH = 24;
/** Batches that may be out at one time. */
const MOST_OUT = 1;
/** Places that stand empty before they are used again: the jump cache has to be emptied for that. */
const MOST_VACANT = 1024;
/** Times that accesses could not be made together, after which a region is made anew without that. */
const MOST_SPLITS = 200;
/** Hot blocks that wait for translation: code that is made faster than it can be translated is not remembered for ever. */
const MOST_WAITING = 4096;
/** Instances that are not used, and may be again: code comes back that a store to its page has dropped. */
const MOST_SPARE = 256;
/** Known modules that are used and not told of, until they are told of without a request. */
const MOST_UNTOLD = 32;

/** Where requests go, and answers come back in the order of the requests. */
export interface TranslationPort {
  /** Instructions that are executed at least between two requests; a fifth of that, where there is a whole batch to send. */
  readonly pause?: bigint;
  send(request: TranslationRequest): void;
  /** What has arrived: an answer, or modules that nobody has asked for; never waits. */
  receive(): TranslationResult | KnownModules | undefined;
}

export interface TranslatorOptions {
  readonly memory: WebAssembly.Memory;
  readonly index: number;
  /** Has the counters. */
  readonly vp: VpView;
  /** The table of regions. */
  readonly table: WebAssembly.Table;
  readonly blocks: BlockCache;
  readonly port: TranslationPort;
  /** The interpreter's exports: helpers and the table of functions that translated code calls. */
  readonly helpers: { readonly no_region: () => number; readonly [name: string]: unknown };
  /** What there is a translation of from other runs. */
  readonly kept?: Pick<KeptRegions, 'has' | 'find'> | undefined;
  /** Forgets every place that the jump cache holds. */
  dropPlaces(): void;
}

interface Hot {
  readonly record: number;
  readonly next: number | undefined;
  /** It is not among the known modules. */
  looked: boolean;
}

const NONE: ReadonlySet<number> = new Set();

function joinedPages(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(2 * PAGE);
  both.set(a);
  both.set(b, PAGE);
  return both;
}

function joined(a: Int32Array, b: Int32Array): Int32Array {
  const all = new Int32Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

/** What is out for translation. */
interface Batch {
  /** Of the records, when it was sent. */
  readonly epoch: number;
  readonly pages: readonly number[];
  readonly hot: readonly Hot[];
  /** Those of which a translation from another run was asked for, and nothing else. */
  readonly early: ReadonlySet<number>;
}

/** An instance of a module, and which of its regions it is used for. */
interface Copy {
  /** Of its module. */
  readonly id: number;
  readonly exports: WebAssembly.Exports;
  readonly taken: Set<string>;
}
interface Use {
  readonly copy: Copy;
  readonly name: string;
}

export class Translator {
  readonly #options: TranslatorOptions;
  readonly #vp: number;
  readonly #none: () => number;
  /** What every module may ask for. */
  readonly #imports: WebAssembly.Imports;
  #hot: Hot[] = [];
  /** Records of blocks whose translation is under way. */
  readonly #asked = new Set<number>();
  readonly #free: number[] = [];
  /** Empty, but the jump cache may still name them. */
  #vacant: number[] = [];
  #next = 1;
  readonly #pending: Batch[] = [];
  /** Where regions begin whose accesses are checked each alone. */
  readonly #split = new Set<number>();
  /** Where code begins that has no translation from other runs after all. */
  readonly #refused = new Set<number>();
  /** Pages with code that is being translated. */
  readonly #busy = new Set<number>();
  /** Of the modules that other results may have too, by their numbers. */
  readonly #copies = new Map<number, Copy[]>();
  /** Of which copy the region at a place is. */
  readonly #uses = new Map<number, Use>();
  /** Of regions that are no longer in the table. */
  readonly #ended: Use[] = [];
  /** Of those, the ones that were not used when this was last looked at. */
  readonly #spare = new Set<Copy>();
  /** Modules of other runs that have come, by their numbers. */
  readonly #known = new Map<number, TranslatedModule>();
  /** Of these, the ones that have been used since the last request. */
  readonly #used: number[] = [];
  /** More of them are on their way. */
  #expecting: boolean;
  /** Instructions that had been executed at the last request. */
  #sentAt = 0n;
  readonly #words: Int32Array;

  constructor(options: TranslatorOptions) {
    this.#options = options;
    this.#vp = vpArea(options.index) + VP_STATE;
    this.#none = options.helpers.no_region;
    const { memory, helpers, kept } = options;
    this.#words = new Int32Array(memory.buffer);
    this.#expecting = kept !== undefined;
    if (kept) options.blocks.isKept = (page, offset, mode) => kept.has(keptKey(page, offset, mode));
    this.#imports = { env: { memory, ...helpers } };
    options.blocks.released = (place) => {
      options.vp.regionsDropped++;
      options.table.set(place, this.#none);
      this.#vacant.push(place);
      const use = this.#uses.get(place);
      this.#uses.delete(place);
      if (use) this.#ended.push(use);
    };
  }

  /**
   * A block has been entered HOT times.
   * @param next guest-physical address of the page behind its in the linear address space, if that is known.
   */
  hot(record: number, next: number | undefined): void {
    this.#hot.push({ record, next, looked: false });
  }

  /** Sends what is waiting and installs what has come back. Called between runs. */
  work(): void {
    if (this.#options.vp.splitRecord !== 0) this.#lookAtSplit();
    // No region is running now.
    for (const { copy, name } of this.#ended.splice(0)) {
      copy.taken.delete(name);
      if (copy.taken.size === 0) this.#spare.add(copy);
    }
    if (this.#spare.size > MOST_SPARE) this.#dropSpare();
    if (this.#hot.length > 0 && this.#known.size > 0) this.#takeKnown();
    if (this.#hot.length > 0 && this.#pending.length < MOST_OUT && this.#isTime()) this.#send();
    if (this.#used.length >= MOST_UNTOLD && this.#pending.length < MOST_OUT) this.#tellUsed();
    while (this.#pending.length > 0 || this.#expecting) {
      const result = this.#options.port.receive();
      if (!result) return;
      if ('known' in result) {
        for (const module of result.known) this.#known.set(module.id, module);
        this.#expecting = !result.last;
        continue;
      }
      const batch = this.#pending.shift() as Batch;
      const { epoch, pages, hot } = batch;
      for (const page of pages) this.#busy.delete(page);
      // Records have been used again since.
      if (epoch === this.#options.blocks.epoch) {
        this.#install(result);
        this.#refuse(batch, result);
      } else {
        this.#options.vp.regionsStale += BigInt(result.regions.length);
        this.#hot.push(...hot);
      }
      if (this.#pending.length === 0) this.#asked.clear();
    }
  }

  #isTime(): boolean {
    const { port, vp } = this.#options;
    if (port.pause === undefined) return true;
    return vp.retired - this.#sentAt >= (this.#hot.length >= BATCH ? port.pause / 5n : port.pause);
  }

  /** Lets the known modules go that nothing was found in so far. They can be asked for. */
  tidy(): void {
    this.#dropSpare();
    for (const id of this.#known.keys()) if (!this.#copies.has(id)) this.#known.delete(id);
  }

  /** Lets the instances go that are not used. */
  #dropSpare(): void {
    for (const copy of this.#spare) {
      if (copy.taken.size > 0) continue;
      const others = this.#copies.get(copy.id)?.filter((other) => other !== copy) ?? [];
      if (others.length > 0) this.#copies.set(copy.id, others);
      else this.#copies.delete(copy.id);
    }
    this.#spare.clear();
  }

  /** Puts regions of other runs in place whose modules are here. */
  #takeKnown(): void {
    const looked = !this.#expecting;
    this.#hot = this.#hot.filter((hot) => {
      if (hot.looked || this.#places < BATCH || this.#asked.has(hot.record)) return true;
      hot.looked = looked;
      return !this.#takeKnownOf(hot);
    });
  }

  /** Whether there was one. */
  #takeKnownOf({ record, next }: Hot): boolean {
    const { blocks, kept } = this.#options;
    const code = blocks.codeOf(record);
    if (!code || !kept) return false;
    const { page, gpa, offset: entry, mode } = code;
    if (!kept.has(keptKey(page, entry, mode))) return false;
    const nextGpa = next ?? 0;
    const second = next === undefined || next === gpa ? undefined : blocks.pageOf(next);
    const near = blocks.blocksOf(gpa, mode, NONE);
    const place = {
      record,
      nextGpa,
      blocks: second ? joined(near, blocks.blocksOf(nextGpa, mode, NONE, PAGE)) : near,
    };
    const wanted = {
      page: second ? joinedPages(page, second.page) : page,
      entry,
      mode,
      vp: this.#vp,
      grouped: !this.#split.has(gpa + entry),
    };
    const found = kept.find(wanted, ({ region, id }) => {
      const module = this.#known.get(id);
      const sites = module && fillSites(region, place, this.#words);
      return sites && { region, module, sites };
    });
    if (!found) return false;
    const { index, from, size, firstSite, blocks: at } = found.region;
    const { values, calls } = found.sites;
    const made = { record, module: 0, name: nameOf(index), entry, nextGpa, from, code: found.region.code, size };
    this.#put({ ...made, blocks: at, firstSite, sites: values, calls, kept: true }, found.module, this.#copies);
    return true;
  }

  /** Tells which known modules are used where there is nothing to ask for. */
  #tellUsed(): void {
    const { blocks, port } = this.#options;
    port.send(packRequest(this.#vp, [], this.#used.splice(0)));
    this.#pending.push({ epoch: blocks.epoch, pages: [], hot: [], early: NONE });
  }

  /** What has no translation from other runs has to get hot. */
  #refuse({ hot, early }: Batch, { regions }: TranslationResult): void {
    hot.forEach(({ record }, i) => {
      if (regions[i] || !early.has(record)) return;
      const code = this.#options.blocks.codeOf(record);
      if (!code) return;
      // Of code that has long gone.
      if (this.#refused.size > MOST_WAITING) this.#refused.clear();
      this.#refused.add(code.gpa + code.offset);
      this.#options.blocks.cool(code.gpa, code.mode, [code.offset]);
    });
  }

  /** A region whose accesses are better checked alone is made anew. */
  #lookAtSplit(): void {
    const { blocks, vp } = this.#options;
    const record = vp.splitRecord;
    vp.splitRecord = 0;
    if (blocks.splitsOf(record) < MOST_SPLITS) return;
    const { code, next } = blocks.uninstall(record);
    if (!code) return;
    // Of code that has long gone.
    if (this.#split.size > MOST_WAITING) this.#split.clear();
    this.#split.add(code.gpa + code.offset);
    this.hot(record, next === undefined ? undefined : next - (next % PAGE));
  }

  /** Sends everything and installs everything that has come back: for translation on this thread. */
  finish(): void {
    this.#send();
    this.work();
  }

  #send(): void {
    const { blocks, port, vp } = this.#options;
    this.#sentAt = vp.retired;
    const items: TranslationItem[] = [];
    const sent: Hot[] = [];
    const earlyOnes = new Set<number>();
    const waiting: Hot[] = [];
    // Who has waited longest for the code that is executed most is served first.
    this.#hot.sort((a, b) => blocks.entered(b.record) - blocks.entered(a.record));
    if (this.#hot.length > MOST_WAITING) this.#thinOut();
    for (const hot of this.#hot) {
      if (items.length === BATCH) {
        waiting.push(hot);
        continue;
      }
      const { record, next } = hot;
      const code = blocks.codeOf(record);
      if (!code) continue;
      const { host, offset, gpa, mode } = code;
      // A region that is being made may have this code too.
      if (this.#busy.has(gpa)) {
        waiting.push(hot);
        continue;
      }
      // Of several regions with code in common, the first one has it.
      const second = next === undefined || next === gpa ? undefined : blocks.pageOf(next);
      const early = blocks.isKept(code.page, offset, mode) && !this.#refused.has(gpa + offset);
      if (early) earlyOnes.add(record);
      const known = blocks.blocksOf(gpa, mode, this.#asked);
      items.push({
        record,
        mode,
        gpa,
        host,
        nextGpa: next ?? 0,
        nextHost: second?.host ?? 0,
        entry: offset,
        grouped: !this.#split.has(gpa + offset),
        early,
        blocks: second ? joined(known, blocks.blocksOf(next as number, mode, this.#asked, PAGE)) : known,
      });
      this.#asked.add(record);
      sent.push(hot);
    }
    this.#hot = waiting;
    if (items.length === 0) return;
    const pages = items.flatMap(({ gpa, nextGpa, nextHost }) => (nextHost ? [gpa, nextGpa] : [gpa]));
    for (const page of pages) this.#busy.add(page);
    port.send(packRequest(this.#vp, items, this.#used.splice(0)));
    this.#pending.push({ epoch: blocks.epoch, pages, hot: sent, early: earlyOnes });
  }

  /** Forgets those that are gone, and the coldest, which have to get hot anew. */
  #thinOut(): void {
    const { blocks } = this.#options;
    let kept = 0;
    this.#hot = this.#hot.filter(({ record }) => {
      const code = blocks.codeOf(record);
      if (code && kept++ < MOST_WAITING) return true;
      if (code) blocks.cool(code.gpa, code.mode, [code.offset]);
      return false;
    });
  }

  #install({ modules, milliseconds, regions }: TranslationResult): void {
    const { blocks, vp } = this.#options;
    vp.translationTime += BigInt(Math.round(milliseconds * 1000));
    if (modules.length === 0) return;
    if (this.#places < BATCH) this.#reuse();
    // The table is full: what is still in use will be hot again soon.
    if (this.#places < BATCH) {
      blocks.flush();
      this.#reuse();
      return;
    }
    /** Of modules that no other result has. */
    const ofThese = new Map<number, Copy[]>();
    for (const region of regions) {
      if (!region) continue;
      const module = modules[region.module] as TranslatedModule;
      this.#put(region, module, module.id < 0 ? ofThese : this.#copies);
    }
  }

  /** Puts a region in place, if the code there is still the one that it was made from. */
  #put(region: TranslatedRegion, module: TranslatedModule, among: Map<number, Copy[]>): void {
    const { blocks, table, vp } = this.#options;
    const { record, size } = region;
    const current = blocks.codeOf(record);
    const called = region.calls.every((first) => blocks.has(first));
    const stretches = current && called && this.#stretches(region, current);
    if (!current || !stretches) {
      vp.regionsStale++;
      return;
    }
    const place = this.#place();
    const copy = this.#copyFor(region, module, among);
    this.#uses.set(place, { copy, name: region.name });
    table.set(place, copy.exports[region.name] as never);
    blocks.install(record, place, stretches, region.calls);
    const far = region.blocks.filter((at) => at >= PAGE).map((at) => at - PAGE);
    blocks.cool(current.gpa, current.mode, region.blocks);
    if (far.length > 0) blocks.cool(region.nextGpa, current.mode, far);
    vp.regionsMade++;
    if (region.kept) vp.regionsKept++;
    vp.regionsInstructions += BigInt(size);
  }

  /**
   * An instance with the region's sites filled in. They are of one place in the guest's memory: where the same code is at several,
   * each has another instance.
   */
  #copyFor(region: TranslatedRegion, module: TranslatedModule, among: Map<number, Copy[]>): Copy {
    let copies = among.get(module.id);
    if (!copies) {
      among.set(module.id, (copies = []));
      if (this.#known.has(module.id)) this.#used.push(module.id);
    }
    const { name, firstSite, sites } = region;
    const copy = copies.find(({ taken }) => !taken.has(name)) ?? this.#copy(module, copies);
    copy.taken.add(name);
    for (const [n, value] of sites.entries())
      (copy.exports[globalName(firstSite + n)] as WebAssembly.Global).value = value;
    return copy;
  }

  #copy({ id, module, bytes }: TranslatedModule, copies: Copy[]): Copy {
    const { vp } = this.#options;
    const { exports } = new WebAssembly.Instance(module, this.#imports);
    vp.modulesMade++;
    vp.modulesBytes += BigInt(bytes);
    const copy = { id, exports, taken: new Set<string>() };
    copies.push(copy);
    return copy;
  }

  /** Where the code of a region is; undefined where it has been changed, or dropped, while it was translated. */
  #stretches({ entry, from, code, nextGpa }: TranslatedRegion, current: BlockCode): Stretch[] | undefined {
    if (current.offset !== entry) return undefined;
    const inFirst = Math.min(Math.max(PAGE - from, 0), code.length);
    const same = (page: Uint8Array, at: number, first: number, last: number): boolean => {
      for (let i = first; i < last; i++) if (page[at + i - first] !== code[i]) return false;
      return true;
    };
    if (!same(current.page, from, 0, inFirst)) return undefined;
    const stretches = [{ from: current.gpa + from, to: current.gpa + from + inFirst }];
    if (code.length === inFirst) return stretches;
    const next = this.#options.blocks.pageOf(nextGpa)?.page;
    if (!next || !same(next, 0, inFirst, code.length)) return undefined;
    return [...stretches, { from: nextGpa, to: nextGpa + code.length - inFirst }];
  }

  /** Of the table, that can be taken at once. */
  get #places(): number {
    return this.#options.table.length - this.#next + this.#free.length;
  }
  #reuse(): void {
    this.#options.dropPlaces();
    this.#free.push(...this.#vacant.splice(0));
  }

  #place(): number {
    if (this.#free.length === 0 && this.#vacant.length >= MOST_VACANT) this.#reuse();
    const free = this.#free.pop();
    if (free !== undefined) return free;
    return this.#next++;
  }
}
