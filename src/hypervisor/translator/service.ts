/**
 * Translation of a batch of regions into one module: a function of the code, and of which of it has been executed, alone, so that
 * it can run on a thread of its own. The processor compares the code again when it installs the result.
 */

import { isPure } from '../interpreter/build.ts';
import { HandlerTable } from '../interpreter/handlers.ts';
import { Field, RECORD } from '../interpreter/record.ts';
import { PAGE } from '../memory/layout.ts';
import type { Callee } from '../wasm/function.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import { Decoder, type Instruction } from '../x86/decoder.ts';
import { forms, helperDefinitions } from '../x86/table.ts';
import { OUTLINE, PLACES, REGION } from './abi.ts';
import { type RegionCode, SiteKind } from './code.ts';
import { emitRegion } from './emit.ts';
import { type FormFacts, factsOf } from './facts.ts';
import { fill, type KeptRegion, type KeptRegions } from './kept.ts';
import { Untranslatable } from './port.ts';
import { findRegion, type Region } from './region.ts';
import { type TranslationItem, type TranslationRequest, type TranslationResult, unpackRequest } from './request.ts';
import { StencilCache } from './stencil.ts';

const PLAIN = { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] } as const;
const CODE_PAGE = { params: ['i32', 'i64'], results: ['i32'] } as const;
const FIND_REGION = { params: ['i32'], results: ['i32'] } as const;
const TYPES = new Map(helperDefinitions.map((d) => [d.name, d.type]));
/** Words of an item's block. */
const BLOCK = 4;
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
  const { bytes, regions } = generate(request, memory, options);
  const module = bytes && new WebAssembly.Module(bytes);
  return { module, bytes: bytes?.length ?? 0, milliseconds: performance.now() - started, regions };
}

export interface GeneratedModule {
  /** Undefined where there is no region. */
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
  readonly regions: TranslationResult['regions'];
}

/** The module that translate() compiles. */
export function generate(
  request: TranslationRequest,
  memory: SharedArrayBuffer,
  { exact = false, kept }: TranslateOptions = {},
): GeneratedModule {
  const vp = (request[0] as number) >>> 0;
  const words = new Int32Array(memory);
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
    const old = kept?.find(page, item.entry, item.mode, vp, item.grouped);
    const calls = old && source.callsOf(old);
    if (old && calls) {
      for (const at of old.blocks) made.add(address(at));
      return { kept: old, calls, source };
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
  const regions = found.map((f, i) => {
    const item = items[i];
    if (!f || !item) return undefined;
    const { record, entry, nextGpa } = item;
    const made = { record, name: `r${i}`, entry, nextGpa, kept: f.kept !== undefined };
    if (f.kept) {
      const { from, code, size, blocks } = f.kept;
      // A copy: it goes to another thread.
      return { ...made, from, code: code.slice(), size, blocks };
    }
    const { from, to, size, blocks } = f.region;
    return { ...made, from, code: (pages[i] as Uint8Array).slice(from, to), size, blocks: [...blocks.keys()] };
  });
  const none = regions.every((r) => r === undefined);
  const keep = (code: RegionCode, i: number): void => {
    const [item, region] = [items[i], regions[i]];
    if (!kept || !item || !region) return;
    const { mode, entry, grouped } = item;
    const { from, size, blocks } = region;
    kept.add(
      keptRegion(code, { vp, mode, entry, grouped, from, code: region.code, size, blocks }),
      pages[i] as Uint8Array,
    );
  };
  const bytes = none ? undefined : build(found, vp, exact, keep);
  // Which are called is known now.
  const known = regions.map((r, i) => r && { ...r, calls: [...(found[i]?.source.called ?? [])] });
  return { bytes, regions: known };
}

/** What a region of this run is for others. */
function keptRegion(
  { body, hints, sites }: RegionCode,
  made: Omit<KeptRegion, 'body' | 'hints' | 'sites' | 'names'>,
): KeptRegion {
  const names: string[] = [];
  const numberOf = (name: string): number => {
    const known = names.indexOf(name);
    return known < 0 ? names.push(name) - 1 : known;
  };
  return {
    ...made,
    body,
    hints: hints.map(({ at, likely }) => (at << 1) | (likely ? 1 : 0)),
    sites: sites.map(({ kind, at, helper, called }) => ({
      kind,
      at,
      value: called ? called.at | (called.handler << 16) : helper === undefined ? 0 : numberOf(helper),
    })),
    names,
  };
}

type Found =
  | { readonly kept?: undefined; readonly region: Region; readonly source: Source }
  | { readonly kept: KeptRegion; readonly calls: ReadonlyMap<number, Outline>; readonly source: Source };

interface Outline {
  readonly handler: number;
  readonly place: number;
  readonly record: number;
  /** Offset of the block that it is a record of, and that block's first record. */
  readonly blockAt: number;
  readonly first: number;
}

/** What there is to know about the code of one item. */
class Source {
  readonly #item: TranslationItem;
  readonly #words: Int32Array;
  /** By offset of a block. */
  readonly #entered = new Map<number, number>();
  /** First records of the blocks of which one has been called. */
  readonly called = new Set<number>();

  constructor(item: TranslationItem, words: Int32Array) {
    this.#item = item;
    this.#words = words;
    for (let i = 0; i < item.blocks.length; i += BLOCK)
      this.#entered.set(item.blocks[i] as number, item.blocks[i + 3] as number);
  }
  get mode(): number {
    return this.#item.mode;
  }

  get record(): number {
    return this.#item.record;
  }
  get grouped(): boolean {
    return this.#item.grouped;
  }
  get nextGpa(): number {
    return this.#item.nextGpa;
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
  call(instruction: Instruction, at: number): Outline | undefined {
    const found = this.outline(instruction, at);
    if (found) this.called.add(found.first);
    return found;
  }
  outline(instruction: Instruction, at: number): Outline | undefined {
    return this.decoded(handlers.of(instruction), at);
  }

  /**
   * The instructions that a kept region calls, by what its sites say of them; undefined where one is not decoded. Asked once: the
   * processor goes on meanwhile, and its records are dropped and used again. Who installs the region sees that.
   */
  callsOf({ sites }: KeptRegion): ReadonlyMap<number, Outline> | undefined {
    const calls = new Map<number, Outline>();
    for (const { kind, value } of sites) {
      if (kind !== SiteKind.CALLED_RECORD || calls.has(value)) continue;
      const outline = this.decoded(value >>> 16, value & 0xffff);
      if (!outline) return undefined;
      calls.set(value, outline);
    }
    for (const { first } of calls.values()) this.called.add(first);
    return calls;
  }

  /** The interpreter's record of an instruction. */
  decoded(handler: number, at: number): Outline | undefined {
    const { blocks } = this.#item;
    for (let i = 0; i < blocks.length; i += BLOCK) {
      const blockAt = blocks[i] as number;
      if (at < blockAt || at >= blockAt + 256) continue;
      const count = blocks[i + 2] as number;
      for (let n = 0; n < count; n++) {
        const record = (blocks[i + 1] as number) + n * RECORD;
        const word = this.#words[(record + Field.HANDLER) >> 2] as number;
        if ((word & 0xffff) === handler && ((word >>> 16) & 0xff) === at - blockAt)
          return { handler, place: handlers.functionOf(handler), record, blockAt, first: blocks[i + 1] as number };
      }
    }
    return undefined;
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

/** @param keep told of the code that was made for one of `found` */
function build(
  found: readonly (Found | undefined)[],
  vp: number,
  exact: boolean,
  keep: (code: RegionCode, i: number) => void,
): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder({ memory: { initial: 1, maximum: 65536 } });
  const tables = {
    regions: module.importTable('regions', REGION, PLACES).index(),
    outline: module.importTable('outline', OUTLINE).index(),
  };
  const types = { region: module.typeIndex(REGION), outline: module.typeIndex(OUTLINE) };
  const callees = new Map<string, Callee>();
  const helper = (name: string): Callee => {
    let callee = callees.get(name);
    if (!callee) {
      callee = module.importFunction(name, helperType(name));
      callees.set(name, callee);
    }
    return callee;
  };
  found.forEach((item, i) => {
    if (!item) return;
    const { source } = item;
    const { mode } = source;
    if (item.kept) {
      const { calls } = item;
      const { record, nextGpa } = source;
      const body = fill(item.kept, {
        helper: (name) => helper(name).index(),
        record,
        nextGpa,
        called: (value) => calls.get(value) as Outline,
      });
      const hints = item.kept.hints.map((hint) => ({ at: hint >> 1, likely: (hint & 1) !== 0 }));
      module.encoded(`r${i}`, REGION, { body, hints }, true);
      return;
    }
    const { region } = item;
    const code = emitRegion({
      region,
      vp,
      mode,
      nextGpa: source.nextGpa,
      record: source.record,
      grouped: source.grouped,
      helper,
      exact,
      stencils: stencilsOf(vp, mode),
      outline: ({ decoded, at }) => source.call(decoded, at),
      tables,
      types,
    });
    keep(code, i);
    module.encoded(`r${i}`, REGION, code, true);
  });
  return module.finish();
}
