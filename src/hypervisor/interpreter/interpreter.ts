/**
 * The interpreter engine of one virtual processor: instantiates the module over the partition's memory and joins it to
 * the system operations, the block cache and the platform.
 */

import {
  CODE_TLB,
  CODE_TLB_CONTEXT,
  CODE_TLB_ENTRIES,
  HOLDER,
  HOLDERS,
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  PAGE,
  PAGE_MAP,
  PageFlag,
  STLB,
  STLB_ENTRIES,
  VP_STATE,
  vpArea,
} from '../memory/layout.ts';
import { CHECKED_CONTEXT } from '../mmu/access.ts';
import { Access as WalkAccess } from '../mmu/walk.ts';
import type { KeptRegions } from '../translator/kept.ts';
import { HOT, type TranslationPort, Translator } from '../translator/translator.ts';
import { Flag, Mode, Segment, Vector, VpState, type VpView } from '../vp/state.ts';
import { LONGEST_REPEAT } from '../x86/semantics/integer-string.ts';
import {
  Access,
  type FlushKind,
  GUEST_FAULT,
  raise,
  type SystemContext,
  type SystemOperation,
  type SystemPlatform,
} from '../x86/system/context.ts';
import { debugArmed, noteDataAccess } from '../x86/system/debug.ts';
import { isCanonical, updateMode } from '../x86/system/mode.ts';
import { BlockCache } from './block-cache.ts';
import type { InterpreterModule } from './module.ts';

export type { InterpreterModule } from './module.ts';
export { RunResult } from './module.ts';

const CR0_AM = 1n << 18n;
/** Faults delivered in one run before it ends: a loop of faults retires nothing, so the budget does not end it. */
const MOST_FAULTS = 1000;
/** System operations that return a value and change neither where execution goes on nor the mode. */
const VALUES: ReadonlySet<string> = new Set(['rdtsc', 'readCr', 'rdmsr', 'random']);
/** What the engine asks of the partition beyond the system platform. */
export interface EnginePlatform extends SystemPlatform {
  /** The partition has one processor: a page that holds no block of it holds no code. */
  readonly alone?: boolean;
  /** Guest-physical access to something that is not RAM; values unsigned, 8 bytes as two words. */
  mmioRead(gpa: bigint, size: number, into: DataView): void;
  mmioWrite(gpa: bigint, size: number, from: DataView): void;
  /** Code was stored to: processors other than this one must drop their blocks too. */
  codeWritten(gpa: number, size: number): void;
  /** The processor is between instructions: every store that codeWritten() announced has been made. */
  storesDone(): void;
  /** A page now holds code: other processors must drop their write translations of it before this returns. */
  pageProtected(page: number): void;
  splitLock(): void;
  splitUnlock(): void;
  /** Delivers the exception that VpState's fault fields describe; false: shutdown (triple fault). */
  deliverFault(context: SystemContext): boolean;
}

interface Exports {
  run(vp: number, budget: number): number;
  load_at(vp: number, linear: bigint, size: number, access: number, fill: number): number;
  store_at(vp: number, linear: bigint, size: number, access: number, how: number): number;
  store_commit(vp: number): void;
  short_enter(vp: number, vector: number, error: number, pushed: number): number;
  readonly regions: WebAssembly.Table;
  flush_tlb(vp: number): void;
  flush_local(vp: number): void;
  flush_writes(vp: number): void;
  flush_page_writes(vp: number, host: number): void;
  flush_page(vp: number, linear: bigint): void;
  translate(vp: number, linear: bigint, access: number): bigint;
}

export interface InterpreterOptions {
  readonly memory: WebAssembly.Memory;
  readonly module: InterpreterModule;
  readonly index: number;
  readonly platform: EnginePlatform;
  readonly operations: Readonly<Record<string, SystemOperation>>;
  /** Where hot code is sent for translation; absent: everything is interpreted. */
  readonly translation?: TranslationPort | undefined;
  /** Of what there are translations from other runs. */
  readonly kept?: Pick<KeptRegions, 'has' | 'find'> | undefined;
  /** Executions after which a block is hot. */
  readonly hotAfter?: number;
}

const WALK_ACCESS: Record<Access, number> = {
  [Access.USER]: WalkAccess.USER,
  [Access.SUPERVISOR]: 0,
  [Access.SUPERVISOR_SMAP]: WalkAccess.IMPLICIT,
};

export class Interpreter implements SystemContext {
  readonly vp: VpView;
  readonly platform: EnginePlatform;
  readonly blocks: BlockCache;
  /** Pages of which this processor is a holder. */
  readonly #held = new Set<number>();
  /** Set while one instruction is to be executed: a fault's delivery then ends the run. */
  stepping = false;
  /** The last run ended between two elements of a repeated instruction. */
  repeating = false;
  readonly #area: number;
  readonly #view: DataView;
  readonly #words: Int32Array;
  readonly #exports: Exports;
  readonly translator: Translator | undefined;
  #codeKey = '';

  constructor(options: InterpreterOptions) {
    const buffer = options.memory.buffer as unknown as SharedArrayBuffer;
    this.platform = options.platform;
    this.#area = vpArea(options.index);
    this.vp = VpState.view(buffer, this.#area + VP_STATE);
    this.#view = new DataView(buffer);
    this.#words = new Int32Array(buffer);
    this.blocks = new BlockCache(buffer, this.#area, options.module.tables, {
      vp: this.vp,
      translateCode: (linear) => this.#translateCode(linear),
      protectPage: (page) => {
        this.#protect(page);
      },
      releasePage: (page) => {
        this.#release(page);
      },
      releaseAll: () => {
        for (const page of [...this.#held]) this.#release(page);
      },
      flushed: () => {
        this.#dropCode();
      },
    });
    this.#exports = this.#instantiate(options);
    if (options.translation) {
      this.blocks.hotAfter = options.hotAfter ?? HOT;
      this.translator = new Translator({
        memory: options.memory,
        index: options.index,
        vp: this.vp,
        table: this.#exports.regions,
        blocks: this.blocks,
        port: options.translation,
        helpers: this.#exports as never,
        kept: options.kept,
        dropPlaces: () => {
          this.#dropCode();
        },
      });
    }
    this.#begin();
  }

  /** What the engine has in VpState, after everything in it was zero; and no translation is left of before. */
  #begin(): void {
    this.vp.codeMapExact = this.platform.alone === true ? 1 : 0;
    this.#words.fill(0, (this.#area + STLB) >> 2, (this.#area + STLB + STLB_ENTRIES * 16) >> 2);
    this.#exports.flush_tlb(this.#area);
  }

  #instantiate(options: InterpreterOptions): Exports {
    const fault = new WebAssembly.Tag({ parameters: [] });
    const thrown = new WebAssembly.Exception(fault, []);
    const { platform, vp } = this;
    const bounce = new DataView(this.#view.buffer, this.#area + VpState.offset('bounce'), 64);
    const env: Record<string, unknown> = {
      memory: options.memory,
      fault,
      checked_access: (linear: bigint, size: number, write: number) => {
        if (this.#alignmentChecked() && size <= 8 && (Number(linear & 7n) & (size - 1)) !== 0) {
          vp.faultVector = Vector.AC;
          vp.faultError = 0;
          throw thrown;
        }
        if (debugArmed(vp)) noteDataAccess(vp, BigInt.asUintN(64, linear), size, write !== 0);
      },
      mmio_read: (gpa: bigint, size: number) => {
        platform.mmioRead(BigInt.asUintN(64, gpa), size, bounce);
      },
      mmio_write: (gpa: bigint, from: number, size: number) => {
        platform.mmioWrite(BigInt.asUintN(64, gpa), size, new DataView(bounce.buffer, bounce.byteOffset + from, size));
      },
      code_written: (gpa: number, size: number) => {
        this.blocks.written(gpa >>> 0, size);
        platform.codeWritten(gpa >>> 0, size);
      },
      decode: (linear: bigint, gpa: number) => {
        try {
          return this.blocks.decode(linear, gpa);
        } catch (error) {
          throw error === GUEST_FAULT ? thrown : error;
        }
      },
      hot: (record: number) => {
        this.translator?.hot(record, this.#nextCodePage());
      },
      deliver: () => {
        vp.faults++;
        const alive = platform.deliverFault(this);
        this.modeRefreshed();
        vp.resumeFlag = 0;
        if (this.stepping || --vp.faultsLeft <= 0) vp.attention = 1;
        return alive ? 0 : 1;
      },
      split_lock: () => {
        platform.splitLock();
      },
      split_unlock: () => {
        platform.splitUnlock();
      },
    };
    for (const name of options.module.systemOperations) {
      const operation = options.operations[name];
      if (!operation) throw new Error(`no system operation is called ${name}`);
      const only = VALUES.has(name);
      env[`system:${name}`] = (a: bigint, b: bigint): bigint => {
        try {
          const value = operation(this, BigInt.asUintN(64, a), BigInt.asUintN(64, b));
          if (only) return value ?? 0n;
          vp.rip = vp.nextRip;
          this.modeRefreshed();
          return value ?? 0n;
        } catch (error) {
          throw error === GUEST_FAULT ? thrown : error;
        }
      };
    }
    const instance = new WebAssembly.Instance(options.module.module, { env } as WebAssembly.Imports);
    return instance.exports as unknown as Exports;
  }

  /** Executes at most `budget` instructions. Afterwards `retired` in VpState is exact. */
  run(budget: number): number {
    const { vp } = this;
    this.translator?.work();
    vp.budget = budget;
    vp.budgetStart = budget;
    // In a single step a repeated instruction is left after one element.
    vp.repetitions = this.stepping ? LONGEST_REPEAT + 1 : 0;
    vp.faultsLeft = MOST_FAULTS;
    vp.shortWays = this.stepping || this.platform.tracing ? 0 : 1;
    const result = this.#exports.run(this.#area, budget);
    // How often a repeated instruction is left depends on when others ring: it counts once, when it is done.
    vp.retired += BigInt(budget - vp.budget - vp.unfinished);
    this.repeating = vp.unfinished !== 0;
    vp.unfinished = 0;
    if (vp.resumeFlag !== 0 && vp.budget === vp.resumeBudget) vp.flags |= vp.resumeFlag;
    vp.resumeFlag = 0;
    vp.budgetStart = 0;
    vp.budget = 0;
    return result;
  }

  /** Delivers an external interrupt in the usual case; false: nothing has changed, and it is deliver()'s. */
  interrupt(vector: number): boolean {
    this.vp.shortWays = this.platform.tracing ? 0 : 1;
    return this.#exports.short_enter(this.#area, vector, -1, 0) !== 0;
  }

  /** Drops everything cached: after a reset, an INIT or a restore. */
  restart(): void {
    this.blocks.flush();
    this.#begin();
    this.modeRefreshed();
  }

  /**
   * Lets go of what is not likely to be needed soon: for a processor that has time.
   * @param discard is told of bytes of the partition's memory that need not be kept
   */
  tidy(discard: (at: number, size: number) => void): void {
    this.translator?.tidy();
    this.blocks.tidy(({ from, to }) => {
      const first = Math.ceil(from / PAGE) * PAGE;
      const size = Math.floor(to / PAGE) * PAGE - first;
      if (size > 0) discard(first, size);
    });
  }

  /** Address at which code is fetched follows from CS; called whenever CS, the mode or RFLAGS may have changed. */
  modeRefreshed(): void {
    const { vp } = this;
    const long64 = (vp.mode & Mode.LONG64) !== 0;
    if (long64) {
      vp.codeBase = 0n;
      vp.codeMask = 0xffff_ffff_ffff_ffffn;
    } else {
      vp.codeBase = vp.segmentBase[Segment.CS] as bigint;
      vp.codeMask = 0xffff_ffffn;
      const limit = vp.segmentLimit[Segment.CS] as number;
      if (limit !== 0xffff_ffff) {
        vp.mode |= Mode.LIMITED;
        // A block remembers the limit it was decoded under by its mode alone.
        const key = String(limit);
        if (key !== this.#codeKey) {
          this.#codeKey = key;
          this.blocks.flush();
        }
      }
    }
    // While alignment is checked or data breakpoints are set, no access may hit the TLB.
    if (this.#alignmentChecked() || debugArmed(vp)) vp.tlbContext = CHECKED_CONTEXT;
    else if (vp.tlbContext === CHECKED_CONTEXT) updateMode(vp);
    // Single steps, and the resume flag that lasts for one instruction, are the processor loop's.
    if (vp.flags & (Flag.TF | Flag.RF) || vp.pendingDebug !== 0 || debugArmed(vp)) vp.attention = 1;
  }

  #alignmentChecked(): boolean {
    const { vp } = this;
    return vp.cpl === 3 && (vp.flags & Flag.AC) !== 0 && (vp.cr0 & CR0_AM) !== 0n;
  }

  /** `next` is the linear address after a page, before it wraps. Undefined beyond the 4 GiB that memory can back. */
  #translateCode(next: bigint): number | undefined {
    const { vp } = this;
    const linear = next & vp.codeMask;
    if ((vp.mode & Mode.LONG64) !== 0 && !isCanonical(vp, linear)) raise(this, Vector.GP, 0);
    const access = (vp.mode & Mode.USER ? WalkAccess.USER : 0) | WalkAccess.FETCH;
    const gpa = BigInt.asUintN(64, this.#exports.translate(this.#area, linear, access));
    return gpa > 0xffff_ffffn ? undefined : Number(gpa);
  }

  /** Guest-physical address of the page behind the running block's, as far as the instruction TLB knows it. */
  #nextCodePage(): number | undefined {
    const { vp } = this;
    const next = BigInt.asUintN(64, (vp.blockIp & ~0xfffn) + 0x1000n);
    const index = Number((next >> 12n) & BigInt(CODE_TLB_ENTRIES - 1));
    const entry = this.#area + CODE_TLB + (vp.mode & Mode.USER ? CODE_TLB_CONTEXT : 0) + index * 16;
    return this.#view.getBigUint64(entry, true) === next ? this.#view.getUint32(entry + 8, true) : undefined;
  }

  #protect(page: number): void {
    const more = this.#held.has(page) ? 0 : HOLDER;
    const before = this.#changeEntry(page, (entry) => (entry | PageFlag.CODE) + more);
    this.#held.add(page);
    this.#exports.flush_page_writes(this.#area, before & -PAGE);
    if ((before & PageFlag.CODE) === 0) this.platform.pageProtected(page);
  }

  /** This processor has no block of the page any more: where no other has one, stores to it are as quick as any. */
  #release(page: number): void {
    const held = this.#held.delete(page);
    this.#changeEntry(page, (entry) => {
      // The page may have been taken out of the machine, and another may have come: then it has no holders.
      const left = held && entry & HOLDERS ? entry - HOLDER : entry;
      return left & HOLDERS ? left : left & ~PageFlag.CODE;
    });
  }

  /** Changes a page's entry in the page map in one step. @returns what it was. */
  #changeEntry(page: number, change: (entry: number) => number): number {
    const index = (PAGE_MAP >> 2) + page / PAGE;
    for (;;) {
      const entry = Atomics.load(this.#words, index);
      if (Atomics.compareExchange(this.#words, index, entry, change(entry)) === entry) return entry;
    }
  }

  #dropCode(): void {
    const from = this.#area + JUMP_CACHE;
    new Uint8Array(this.#view.buffer).fill(0x80, from, from + JUMP_CACHE_ENTRIES * 16);
  }

  // ---- SystemContext -----------------------------------------------------------------------------------------------------

  readLinear(linear: bigint, size: 1 | 2 | 4 | 8, access: Access): bigint {
    const host = this.#guarded(() => this.#exports.load_at(this.#area, linear, size, WALK_ACCESS[access], 0)) >>> 0;
    switch (size) {
      case 1:
        return BigInt(this.#view.getUint8(host));
      case 2:
        return BigInt(this.#view.getUint16(host, true));
      case 4:
        return BigInt(this.#view.getUint32(host, true));
      case 8:
        return this.#view.getBigUint64(host, true);
    }
  }

  writeLinear(linear: bigint, size: 1 | 2 | 4 | 8, value: bigint, access: Access): void {
    const host =
      this.#guarded(() =>
        this.#exports.store_at(this.#area, linear, size, WALK_ACCESS[access] | WalkAccess.WRITE, 0),
      ) >>> 0;
    switch (size) {
      case 1:
        this.#view.setUint8(host, Number(BigInt.asUintN(8, value)));
        break;
      case 2:
        this.#view.setUint16(host, Number(BigInt.asUintN(16, value)), true);
        break;
      case 4:
        this.#view.setUint32(host, Number(BigInt.asUintN(32, value)), true);
        break;
      case 8:
        this.#view.setBigUint64(host, BigInt.asUintN(64, value), true);
        break;
    }
    if (host === this.#area + VpState.offset('bounce')) this.#exports.store_commit(this.#area);
  }

  probeWrite(linear: bigint, bytes: number, access: Access): void {
    const how = WALK_ACCESS[access] | WalkAccess.WRITE;
    this.#guarded(() => this.#exports.translate(this.#area, linear, how));
    if (Number(linear & 0xfffn) + bytes > PAGE)
      this.#guarded(() => this.#exports.translate(this.#area, (linear & ~0xfffn) + 0x1000n, how));
  }

  /** Guest-physical address of a linear one, as a supervisor's read; undefined where nothing is mapped. Sets no state but CR2. */
  translate(linear: bigint): bigint | undefined {
    const cr2 = this.vp.cr2;
    try {
      return BigInt.asUintN(64, this.#exports.translate(this.#area, linear, 0));
    } catch {
      return undefined;
    } finally {
      this.vp.cr2 = cr2;
    }
  }

  #guarded<T>(access: () => T): T {
    try {
      return access();
    } catch (error) {
      throw error instanceof WebAssembly.Exception ? GUEST_FAULT : error;
    }
  }

  flushTlb(kind: FlushKind, linear?: bigint): void {
    // There is one address space in the TLB at a time: what is asked for by PCID is dropped with the rest.
    if (kind === 'page' && linear !== undefined) this.#exports.flush_page(this.#area, linear);
    else if (kind === 'all') this.#exports.flush_tlb(this.#area);
    else this.#exports.flush_local(this.#area);
  }

  /** Drops write translations: pages are about to be protected or logged. */
  flushWrites(): void {
    this.#exports.flush_writes(this.#area);
  }
}
