/**
 * Translation of a batch of regions into one module: a function of the code, and of which of it has been executed, alone, so that
 * it can run on a thread of its own. The processor compares the code again when it installs the result.
 */

import { isPure } from '../interpreter/build.ts';
import { HandlerTable } from '../interpreter/handlers.ts';
import { PAGE } from '../memory/layout.ts';
import type { Callee } from '../wasm/function.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import { Decoder, type Instruction } from '../x86/decoder.ts';
import { forms, helperDefinitions } from '../x86/table.ts';
import { OUTLINE, PLACES, REGION } from './abi.ts';
import { BLOCK, decodedAt, type FilledSites, fillSites } from './decoded.ts';
import { emitRegion } from './emit.ts';
import { type FormFacts, factsOf } from './facts.ts';
import { type KeptRegion, type KeptRegions, type KeptSite, nameOf } from './kept.ts';
import { Untranslatable } from './port.ts';
import { findRegion, type Region } from './region.ts';
import {
  type TranslatedModule,
  type TranslatedRegion,
  type TranslationItem,
  type TranslationRequest,
  type TranslationResult,
  unpackRequest,
  usedModules,
} from './request.ts';
import { StencilCache } from './stencil.ts';

const PLAIN = { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] } as const;
const CODE_PAGE = { params: ['i32', 'i64'], results: ['i32'] } as const;
const FIND_REGION = { params: ['i32'], results: ['i32'] } as const;
const TYPES = new Map(helperDefinitions.map((d) => [d.name, d.type]));
/** A branch's target belongs to the region when control has gone there so often. */
const WORTHWHILE = 64;
const decoder = new Decoder(forms);
const handlers = new HandlerTable(forms);

export interface TranslateOptions {
  /** Regions stop at any count of instructions, at any of their instructions: to find out which of them is wrong. */
  readonly exact?: boolean;
  /** Translations of other runs, to which this one's are added. */
  readonly kept?: KeptRegions | undefined;
}

/** @param memory the partition's, for the interpreter's records of instructions that translated code calls it for. */
export function translate(
  request: TranslationRequest,
  memory: SharedArrayBuffer,
  options: TranslateOptions = {},
): TranslationResult {
  const started = performance.now();
  const { kept } = options;
  const { bytes, regions, fresh } = generate(request, memory, options);
  const modules: TranslatedModule[] = [];
  if (bytes) {
    const module = new WebAssembly.Module(bytes);
    const id = kept?.add(module, bytes, fresh) ?? -1;
    modules.push({ id, module, bytes: bytes.length });
  }
  const numberOf = (id: number): number => {
    const known = modules.findIndex((module) => module.id === id);
    if (known >= 0 || !kept) return known;
    return modules.push({ id, module: kept.module(id) as WebAssembly.Module, bytes: kept.length(id) }) - 1;
  };
  return {
    modules,
    milliseconds: performance.now() - started,
    regions: regions.map((region) => region && { ...region, module: numberOf(region.id ?? modules[0]?.id ?? -1) }),
  };
}

export interface GeneratedModule {
  /** Undefined where nothing was made anew. */
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
  /** With the number of the kept module that it is in; without: it is in this one. */
  readonly regions: readonly (GeneratedRegion | undefined)[];
  /** What of them is for other runs. */
  readonly fresh: readonly { readonly region: KeptRegion; readonly page: Uint8Array }[];
}
type GeneratedRegion = Omit<TranslatedRegion, 'module'> & { readonly id?: number };

/** The module that translate() compiles. */
export function generate(
  request: TranslationRequest,
  memory: SharedArrayBuffer,
  { exact = false, kept }: TranslateOptions = {},
): GeneratedModule {
  const vp = (request[0] as number) >>> 0;
  const words = new Int32Array(memory);
  for (const id of usedModules(request)) kept?.use(id);
  // Whoever installs a region looks whether this is still the code.
  const items = unpackRequest(request);
  const pages = items.map(({ host, nextHost }) => {
    const page = new Uint8Array(nextHost ? 2 * PAGE : PAGE);
    page.set(new Uint8Array(memory, host, PAGE));
    if (nextHost) page.set(new Uint8Array(memory, nextHost, PAGE), PAGE);
    return page;
  });
  const made = new Set<number>();
  const found = items.map((item, i): Found | undefined => {
    const address = (at: number): number => (at < PAGE ? item.gpa + at : item.nextGpa + at - PAGE);
    if (made.has(address(item.entry))) return undefined;
    const page = pages[i] as Uint8Array;
    const source = new Source(item, words);
    const old = kept?.find({ page, vp, ...item }, ({ region, id }): Found | undefined => {
      const sites = source.filled(region);
      return sites && kept.module(id) ? { kept: region, id, sites, source } : undefined;
    });
    if (old?.kept) {
      for (const at of old.kept.blocks) made.add(address(at));
      kept?.use(old.id);
      return old;
    }
    if (item.early) return undefined;
    const region = findRegion({
      decoder,
      page,
      entry: item.entry,
      mode: item.mode,
      classify: (instruction, at) => source.classify(instruction, at),
      executed: (at) => source.executed(at),
      isEntry: (at) => source.isEntry(at),
    });
    for (const at of region?.blocks.keys() ?? []) made.add(address(at));
    return region ? { region, source } : undefined;
  });
  const builder = new RegionsModule(vp, exact);
  const fresh: { region: KeptRegion; page: Uint8Array }[] = [];
  const regions = found.map((f, i): GeneratedRegion | undefined => {
    const item = items[i];
    if (!f || !item) return undefined;
    const { record, entry, nextGpa } = item;
    if (f.kept) {
      const { index, firstSite, from, code, size, blocks } = f.kept;
      const { id, sites } = f;
      const { values, calls } = sites;
      // A copy of the code: it goes to another thread.
      const region = { record, name: nameOf(index), entry, nextGpa, from, code: code.slice(), size, blocks, calls };
      return { ...region, id, firstSite, sites: values, kept: true };
    }
    const { source } = f;
    const { from, to, size } = f.region;
    const page = pages[i] as Uint8Array;
    const { index, firstSite, sites } = builder.add(f.region, source);
    const code = page.slice(from, to);
    const blocks = [...f.region.blocks.keys()];
    const { mode, grouped } = item;
    fresh.push({ region: { vp, mode, entry, grouped, from, code, size, blocks, index, firstSite, sites }, page });
    const numbers = source.filled({ sites });
    if (!numbers) return undefined;
    const { values, calls } = numbers;
    const region = { record, name: nameOf(index), entry, nextGpa, from, code, size, blocks, calls };
    return { ...region, firstSite, sites: values, kept: false };
  });
  return { bytes: fresh.length > 0 ? builder.finish() : undefined, regions, fresh };
}

type Found =
  | { readonly kept?: undefined; readonly region: Region; readonly source: Source }
  | { readonly kept: KeptRegion; readonly id: number; readonly sites: FilledSites; readonly source: Source };

interface Outline {
  readonly handler: number;
  readonly place: number;
}

/** What there is to know about the code of one item. */
class Source {
  readonly #item: TranslationItem;
  readonly #words: Int32Array;
  /** By offset of a block. */
  readonly #entered = new Map<number, number>();

  constructor(item: TranslationItem, words: Int32Array) {
    this.#item = item;
    this.#words = words;
    for (let i = 0; i < item.blocks.length; i += BLOCK)
      this.#entered.set(item.blocks[i] as number, item.blocks[i + 3] as number);
  }
  get mode(): number {
    return this.#item.mode;
  }

  get grouped(): boolean {
    return this.#item.grouped;
  }

  executed(at: number): boolean {
    return (this.#entered.get(at) ?? 0) >= WORTHWHILE;
  }
  isEntry(at: number): boolean {
    return this.#entered.get(at) === -1;
  }
  classify(instruction: Instruction, at: number): FormFacts | 'outline' | 'none' {
    const facts = factsOf(instruction, this.#item.mode, helperType);
    if (facts.translatable) return facts;
    return this.outline(instruction, at) ? 'outline' : 'none';
  }

  /** The interpreter's function for an instruction that is called, if it has decoded it. */
  outline(instruction: Instruction, at: number): Outline | undefined {
    const handler = handlers.of(instruction);
    const found = decodedAt(this.#item.blocks, this.#words, handler, at);
    return found && { handler, place: handlers.functionOf(handler) };
  }

  filled(region: Pick<KeptRegion, 'sites'>): FilledSites | undefined {
    return fillSites(region, this.#item, this.#words);
  }
}

const caches = new Map<number, StencilCache>();
function stencilsOf(vp: number, mode: number): StencilCache {
  const key = vp * 2 ** 16 + mode;
  let cache = caches.get(key);
  if (!cache) {
    cache = new StencilCache(vp, mode, helperType);
    caches.set(key, cache);
  }
  return cache;
}

function helperType(name: string): Callee['type'] {
  if (name.startsWith('plain_')) return PLAIN;
  if (name === 'code_page') return CODE_PAGE;
  if (name === 'find_region') return FIND_REGION;
  const type = isPure(name) ? TYPES.get(name) : undefined;
  if (!type) throw new Untranslatable();
  return type;
}

/** A module of regions while it is written. */
class RegionsModule {
  readonly #vp: number;
  readonly #exact: boolean;
  readonly #module = new ModuleBuilder({ memory: { initial: 1, maximum: 65536 } });
  readonly #tables = {
    regions: this.#module.importTable('regions', REGION, PLACES).index(),
    outline: this.#module.importTable('outline', OUTLINE).index(),
  };
  readonly #types = { region: this.#module.typeIndex(REGION), outline: this.#module.typeIndex(OUTLINE) };
  readonly #callees = new Map<string, Callee>();
  #regions = 0;
  #sites = 0;

  constructor(vp: number, exact: boolean) {
    this.#vp = vp;
    this.#exact = exact;
  }

  readonly #helper = (name: string): Callee => {
    let callee = this.#callees.get(name);
    if (!callee) {
      callee = this.#module.importFunction(name, helperType(name));
      this.#callees.set(name, callee);
    }
    return callee;
  };

  add(region: Region, source: Source): Pick<KeptRegion, 'index' | 'firstSite' | 'sites'> {
    const { mode, grouped } = source;
    const index = this.#regions++;
    const firstSite = this.#sites;
    const sites: KeptSite[] = [];
    const code = emitRegion({
      region,
      vp: this.#vp,
      mode,
      grouped,
      helper: this.#helper,
      site: (kind, called) => {
        const value = called ? called.at | (called.handler << 16) : 0;
        const known = sites.findIndex((site) => site.kind === kind && site.value === value);
        if (known >= 0) return firstSite + known;
        sites.push({ kind, value });
        this.#sites++;
        return this.#module.global();
      },
      exact: this.#exact,
      stencils: stencilsOf(this.#vp, mode),
      outline: ({ decoded, at }) => source.outline(decoded, at),
      tables: this.#tables,
      types: this.#types,
    });
    this.#module.encoded(nameOf(index), REGION, code, true);
    return { index, firstSite, sites };
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#module.finish();
  }
}
