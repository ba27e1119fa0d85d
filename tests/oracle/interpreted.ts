// Our side of the comparison: runs the native processor's cases on the interpreter, in the same surroundings (a program
// at CPL 3 under Linux: flat segments, the code and data areas mapped with nothing around them), and gives results of
// the same shape. State goes in and out as 32-bit words, so that hundreds of thousands of cases a second are possible.

import { compileInterpreter } from '../../src/hypervisor/interpreter/generate.ts';
import {
  type EnginePlatform,
  Interpreter,
  type InterpreterModule,
  RunResult,
} from '../../src/hypervisor/interpreter/interpreter.ts';
import { PAGE, PAGE_MAP, PageFlag, ramBase, vpArea } from '../../src/hypervisor/memory/layout.ts';
import type { TranslationResult } from '../../src/hypervisor/translator/request.ts';
import { translate } from '../../src/hypervisor/translator/service.ts';
import type { TranslationPort } from '../../src/hypervisor/translator/translator.ts';
import { Attribute, Flag, FlagKind, Segment, Vector, VpState } from '../../src/hypervisor/vp/state.ts';
import { ModuleBuilder } from '../../src/hypervisor/wasm/module.ts';
import { raise, type SystemContext, type SystemOperation } from '../../src/hypervisor/x86/system/context.ts';
import { Cr0, Cr4, Efer, updateMode } from '../../src/hypervisor/x86/system/mode.ts';
import { operations as systemOperations } from '../../src/hypervisor/x86/system/operations.ts';
import { operations as environmentOperations } from '../../src/hypervisor/x86/x87/environment.ts';
import { operations as x87Operations } from '../../src/hypervisor/x86/x87/operations.ts';
import {
  type Case,
  type Change,
  CODE_ADDRESS,
  CODE_SIZE,
  DATA_ADDRESS,
  DATA_SIZE,
  DATA_WRITABLE_SIZE,
  FS_BASE,
  FX_SIZE,
  fillPattern,
  GS_BASE,
  type Mode,
  type Outcome,
  type Result,
} from './native/protocol.ts';

// Guest-physical addresses of the page tables and of what they map.
const PML4 = 0x1000;
const PDPT = 0x2000;
const DIRECTORY = 0x3000;
const CODE_TABLE = 0x4000;
const DATA_TABLE = 0x5000;
const CODE_PAGES = 0x10000;
const DATA_PAGES = 0x20000;
/** Where the interpreter cannot come: a copy of the data area as the case found it. */
const DATA_COPY = 0x30000;
const RAM_SIZE = 0x100000;

const PTE = { PRESENT: 1, WRITABLE: 2, USER: 4, ACCESSED: 0x20, DIRTY: 0x40, NX_HIGH: 0x80000000 } as const;

/** Instructions after which a case counts as one that does not end. */
const BUDGET = 100_000;
const INT3 = 0xcc;
const CR4 = Cr4.PSE | Cr4.PAE | Cr4.PGE | Cr4.OSFXSR | Cr4.OSXMMEXCPT | Cr4.FSGSBASE | Cr4.UMIP | Cr4.OSXSAVE;
/** x87 and SSE: cases ask XSAVE for no more. */
const XCR0 = 3n;

/** A case left what the comparison covers: the operation it came to is named by `message`. */
class OutsideError extends Error {}

/** System operations whose outcome at CPL 3 depends on the case alone; one that comes to another is inconclusive. */
const COMPARABLE_OPERATIONS = new Set(
  (
    'updateMode rdmsr wrmsr readCr writeCr readDr writeDr in1 in2 in4 out1 out2 out4 checkPort int sysret sysexit ' +
    'moveSegment loadSegment popStackSegment'
  ).split(' '),
);
/** Operations on a selector: what another selector than these leads to is the host kernel's. */
const SELECTORS: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  moveSegment: (_index, selector) => selector,
  loadSegment: (_index, selector) => selector,
  popStackSegment: (selector) => selector,
};
/** Null, or beyond every table. */
function isKnownSelector(selector: bigint): boolean {
  return (selector & 0xfffcn) === 0n || (selector & 0xffffn) >= 0x800n;
}

const W = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name) >> 2;
const NO_CHANGES: readonly Change[] = [];

interface Attributes {
  readonly base: number;
  readonly limit: number;
  readonly attributes: number;
}
const DATA_ATTRIBUTES = 0x3 | Attribute.S | Attribute.DPL | Attribute.PRESENT;
const CODE_ATTRIBUTES = 0xb | Attribute.S | Attribute.DPL | Attribute.PRESENT;
const FLAT_DATA: Attributes = {
  base: 0,
  limit: 0xffffffff,
  attributes: DATA_ATTRIBUTES | Attribute.DB | Attribute.G,
};
const NULL: Attributes = { base: 0, limit: 0xffffffff, attributes: DATA_ATTRIBUTES | Attribute.UNUSABLE };
const based = (base: number): Attributes => ({ ...FLAT_DATA, base });
const SHORT: Attributes = { base: DATA_ADDRESS, limit: 0x3fff, attributes: DATA_ATTRIBUTES };

/** ES CS SS DS FS GS by mode, as the native processor has them. */
const SEGMENTS: Readonly<Record<Mode, readonly Attributes[]>> = {
  64: [
    FLAT_DATA,
    { ...FLAT_DATA, attributes: CODE_ATTRIBUTES | Attribute.L | Attribute.G },
    FLAT_DATA,
    FLAT_DATA,
    NULL,
    NULL,
  ],
  32: [
    FLAT_DATA,
    { ...FLAT_DATA, attributes: CODE_ATTRIBUTES | Attribute.DB | Attribute.G },
    FLAT_DATA,
    FLAT_DATA,
    based(FS_BASE),
    based(GS_BASE),
  ],
  16: [
    SHORT,
    { base: CODE_ADDRESS, limit: 0xffff, attributes: CODE_ATTRIBUTES },
    SHORT,
    SHORT,
    based(FS_BASE),
    based(GS_BASE),
  ],
};

/** Selectors ES CS SS DS FS GS by mode. */
export type Selectors = Partial<Record<Mode, ArrayLike<number>>>;

/** As Linux and the native processor's local descriptor table have them; another kernel's can be learnt by a case. */
const LINUX_SELECTORS: Selectors = {
  64: [0x2b, 0x33, 0x2b, 0x2b, 0, 0],
  32: [0x2b, 0x23, 0x2b, 0x2b, 7, 15],
  16: [31, 23, 31, 31, 7, 15],
};

/** Translates at once, on this thread. */
function translateHere(memory: SharedArrayBuffer): TranslationPort {
  const results: TranslationResult[] = [];
  return { send: (request) => void results.push(translate(request, memory)), receive: () => results.shift() };
}

export class InterpretedProcessor {
  readonly #interpreter: Interpreter;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  /** Index of the first word of VpState, of the data area, and byte address of the code. */
  readonly #vp: number;
  readonly #data: number;
  readonly #code: number;
  /** What the data area held when the case began, and the pattern that patches were laid over. */
  readonly #before: Int32Array;
  readonly #pattern = new Int32Array(DATA_SIZE / 4);
  readonly #beforeBytes: Uint8Array;
  readonly #firstDifference: (a: number, b: number, bytes: number) => number;
  readonly #modes = new Map<Mode, Int32Array>();
  readonly #selectors: Selectors;
  #mode: Mode | undefined;
  #seed: number | undefined;
  #faulted = false;
  readonly #translate: boolean;
  /** Cases that were run translated. */
  translated = 0;
  /** Why the last case came to `refused`. */
  outside = '';

  /** @param options.translate Each case is run twice: interpreted, and then by what the translator made of its code. */
  constructor(options: { module?: InterpreterModule | undefined; selectors?: Selectors; translate?: boolean } = {}) {
    this.#translate = options.translate === true;
    const base = ramBase(1);
    const pages = (base + RAM_SIZE) / 0x10000;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.#words = new Int32Array(memory.buffer);
    this.#bytes = new Uint8Array(memory.buffer);
    this.#vp = vpArea(0) >> 2;
    this.#data = (base + DATA_PAGES) >> 2;
    this.#code = base + CODE_PAGES;
    this.#before = new Int32Array(memory.buffer, base + DATA_COPY, DATA_SIZE / 4);
    this.#beforeBytes = new Uint8Array(memory.buffer, base + DATA_COPY, DATA_SIZE);
    this.#firstDifference = compileFirstDifference(memory);
    this.#selectors = options.selectors ?? LINUX_SELECTORS;
    for (let page = 0; page < RAM_SIZE / PAGE; page++) {
      this.#words[(PAGE_MAP >> 2) + page] = (base + page * PAGE) | PageFlag.PRESENT | PageFlag.WRITABLE;
    }
    this.#mapPages(base);
    this.#bytes.fill(INT3, this.#code, this.#code + CODE_SIZE);
    const module = options.module ?? compileInterpreter();
    this.#interpreter = new Interpreter({
      memory,
      module,
      index: 0,
      platform: this.#platform(),
      operations: Object.fromEntries(module.systemOperations.map((name) => [name, operationFor(name)])),
      translation: this.#translate ? translateHere(memory.buffer as unknown as SharedArrayBuffer) : undefined,
      hotAfter: 1,
    });
    this.#prepareState();
  }

  #platform(): EnginePlatform {
    const unexpected = (what: string): never => {
      throw new OutsideError(what);
    };
    const own = {
      tracing: false,
      pageProtected: () => undefined,
      codeWritten: () => undefined,
      splitLock: () => undefined,
      splitUnlock: () => undefined,
      modeChanged: () => undefined,
      deliverFault: () => {
        this.#faulted = true;
        return false;
      },
    };
    return new Proxy(own as unknown as EnginePlatform, {
      get: (target, name) => Reflect.get(target, name) ?? (() => unexpected(String(name))),
    });
  }

  #mapPages(base: number): void {
    const entry = (table: number, index: number, low: number, high = 0) => {
      const at = ((base + table) >> 2) + index * 2;
      this.#words[at] = low | PTE.PRESENT | PTE.USER | PTE.ACCESSED;
      this.#words[at + 1] = high;
    };
    entry(PML4, 0, PDPT | PTE.WRITABLE);
    entry(PDPT, 0, DIRECTORY | PTE.WRITABLE);
    entry(DIRECTORY, CODE_ADDRESS >> 21, CODE_TABLE | PTE.WRITABLE);
    entry(DIRECTORY, DATA_ADDRESS >> 21, DATA_TABLE | PTE.WRITABLE);
    const index = (address: number) => (address >> 12) & 511;
    for (let at = 0; at < CODE_SIZE; at += PAGE) entry(CODE_TABLE, index(CODE_ADDRESS + at), CODE_PAGES + at);
    for (let at = 0; at < DATA_SIZE; at += PAGE) {
      const rights = at < DATA_WRITABLE_SIZE ? PTE.WRITABLE | PTE.DIRTY : 0;
      entry(DATA_TABLE, index(DATA_ADDRESS + at), (DATA_PAGES + at) | rights, PTE.NX_HIGH);
    }
  }

  /** Control registers once, and for each mode the words of VpState from the segments to the mode. */
  #prepareState(): void {
    const { vp } = this.#interpreter;
    vp.cr0 = BigInt(Cr0.PE | Cr0.MP | Cr0.ET | Cr0.NE | Cr0.WP | Cr0.AM) | (1n << 31n);
    vp.cr3 = BigInt(PML4);
    vp.cr4 = BigInt(CR4);
    vp.xcr0 = XCR0;
    vp.efer = BigInt(Efer.SCE | Efer.LME | Efer.LMA | Efer.NXE);
    for (const mode of [64, 32, 16] as const) {
      SEGMENTS[mode].forEach(({ base, limit, attributes }, i) => {
        vp.segmentBase[i] = BigInt(base);
        vp.segmentLimit[i] = limit;
        vp.segmentAttributes[i] = attributes;
        vp.segmentSelector[i] = this.#selectors[mode]?.[i] ?? 0;
      });
      vp.segmentLimit[Segment.FLAT] = 0xffffffff;
      vp.segmentAttributes[Segment.FLAT] = FLAT_DATA.attributes;
      vp.flags = 0x202;
      updateMode(vp);
      this.#interpreter.modeRefreshed();
      this.#modes.set(mode, this.#words.slice(this.#vp, this.#vp + VpState.size / 4));
    }
  }

  run(c: Case): Result {
    if (this.#translate && c.mode === 64) {
      const { translator, vp } = this.#interpreter;
      const { regionsMade } = vp;
      const interpreted = this.#run(c, true);
      // The case's code is gone with its result, and what is translated is what stands there now.
      this.#putCode(c);
      translator?.finish();
      // Nothing of it can be translated.
      if (vp.regionsMade === regionsMade) {
        this.#removeCode(c);
        return interpreted;
      }
      this.translated++;
      return this.#run(c, false);
    }
    return this.#run(c, true);
  }

  #run(c: Case, fresh: boolean): Result {
    this.#load(c, fresh);
    this.#faulted = false;
    let result: number;
    try {
      result = this.#interpreter.run(BUDGET);
    } catch (error) {
      if (!(error instanceof OutsideError)) throw error;
      this.outside = error.message;
      return this.#result(c, 'refused');
    }
    if (result === RunResult.ATTENTION) {
      this.outside = 'attention';
      return this.#result(c, 'refused');
    }
    return this.#result(c, this.#faulted ? 'exception' : 'timeout');
  }

  #load(c: Case, fresh: boolean): void {
    const words = this.#words;
    const vp = this.#vp;
    if (this.#mode !== c.mode) {
      words.set(this.#modes.get(c.mode) as Int32Array, vp);
      this.#interpreter.modeRefreshed();
      this.#mode = c.mode;
    }
    const gprs = asWords(c.gprs);
    words.set(gprs, vp + W('gpr'));
    const rip = c.mode === 16 ? c.codeOffset : CODE_ADDRESS + c.codeOffset;
    words[vp + W('rip')] = rip;
    words[vp + W('rip') + 1] = 0;
    this.#loadFlags(c.rflags);
    words[vp + W('attention')] = 0;
    words[vp + W('interruptShadow')] = 0;
    words[vp + W('cr2')] = 0;
    words[vp + W('cr2') + 1] = 0;
    if (c.mode === 64) {
      setQuad(words, vp + W('segmentBase') + Segment.FS * 2, c.fsBase);
      setQuad(words, vp + W('segmentBase') + Segment.GS * 2, c.gsBase);
    }
    this.#loadFx(asWords(c.fx));
    this.#loadData(c);
    // The same bytes as in the run before are no store.
    if (fresh) this.#interpreter.blocks.written(CODE_PAGES, CODE_SIZE);
    this.#putCode(c);
  }
  #removeCode(c: Case): void {
    this.#bytes.fill(INT3, this.#code + c.codeOffset, this.#code + c.codeOffset + c.code.length);
  }
  #putCode(c: Case): void {
    this.#bytes.set(c.code, this.#code + c.codeOffset);
  }

  #loadFlags(value: number): void {
    const words = this.#words;
    const vp = this.#vp;
    const zero = value & Flag.ZF ? 1 : 0;
    const carry = value & Flag.CF ? 1 : 0;
    const overflow = value & Flag.OF ? 1 : 0;
    const parity = value & Flag.PF ? 1 : 0;
    words[vp + W('flagResult')] = zero ^ 1;
    words[vp + W('flagResult') + 1] = 0;
    words[vp + W('flagA')] = 0;
    words[vp + W('flagA') + 1] = overflow << 31;
    words[vp + W('flagB')] = (value & Flag.AF) | ((parity ^ zero) << 8) | (value & Flag.SF ? 0x80000000 : 0);
    words[vp + W('flagB') + 1] = 0;
    words[vp + W('flagForm')] = carry;
    words[vp + W('flags')] = (value & (Flag.DF | Flag.NT | Flag.AC | Flag.ID)) | 0x202;
    words[vp + W('tlbContext')] = value & Flag.AC ? 3 : 0;
  }

  #flags(): number {
    const words = this.#words;
    const vp = this.#vp;
    const low = words[vp + W('flagResult')] as number;
    const high = words[vp + W('flagResult') + 1] as number;
    const form = words[vp + W('flagForm')] as number;
    const a = words[vp + W('flagA') + 1] as number;
    const b = words[vp + W('flagB') + 1] as number;
    const [lowA, lowB] = [words[vp + W('flagA')] as number, words[vp + W('flagB')] as number];
    const kind = form >>> 1;
    const aux = kind === FlagKind.WORDS ? lowB : (lowA ^ lowB ^ low) & Flag.AF;
    const overflow =
      kind === FlagKind.WORDS ? a : kind === FlagKind.SUM ? (a ^ high) & (b ^ high) : (a ^ b) & (a ^ high);
    let parity = (low ^ (aux >>> 8)) & 0xff;
    parity ^= parity >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return (
      (words[vp + W('flags')] as number) |
      (form & 1 ? Flag.CF : 0) |
      (parity & 1 ? 0 : Flag.PF) |
      (aux & Flag.AF) |
      ((low | high) === 0 ? Flag.ZF : 0) |
      ((high ^ aux) < 0 ? Flag.SF : 0) |
      (overflow < 0 ? Flag.OF : 0)
    );
  }

  /** FXSAVE has the x87 registers in stack order, VpState in physical order. */
  #loadFx(fx: Uint32Array): void {
    const words = this.#words;
    const vp = this.#vp;
    const first = fx[0] as number;
    const top = (first >>> 27) & 7;
    words[vp + W('fcw')] = first & 0xffff;
    words[vp + W('fsw')] = (first >>> 16) & 0xc7ff;
    words[vp + W('ftop')] = top;
    words[vp + W('ftw')] = (fx[1] as number) & 0xff;
    words[vp + W('fop')] = ((fx[1] as number) >>> 16) & 0x7ff;
    words[vp + W('mxcsr')] = fx[6] as number;
    // Not in the 64-bit format of the image: what an earlier case loaded is not of this one.
    words[vp + W('fcs')] = 0;
    words[vp + W('fds')] = 0;
    for (let i = 0; i < 2; i++) {
      words[vp + W('fip') + i] = fx[2 + i] as number;
      words[vp + W('fdp') + i] = fx[4 + i] as number;
    }
    for (let i = 0; i < 8; i++) {
      const to = vp + W('x87') + ((i + top) & 7) * 4;
      const from = 8 + i * 4;
      words[to] = fx[from] as number;
      words[to + 1] = fx[from + 1] as number;
      words[to + 2] = (fx[from + 2] as number) & 0xffff;
      words[to + 3] = 0;
    }
    const xmm = vp + W('xmm');
    for (let i = 0; i < 64; i++) words[xmm + i] = fx[40 + i] as number;
  }

  #fx(): Uint8Array {
    const words = this.#words;
    const vp = this.#vp;
    const fx = new Uint32Array(FX_SIZE / 4);
    const word = (name: Parameters<typeof VpState.offset>[0], i = 0) => words[vp + W(name) + i] as number;
    const top = word('ftop') & 7;
    fx[0] = word('fcw') | (word('fsw') << 16) | (top << 27);
    fx[1] = (word('ftw') & 0xff) | (word('fop') << 16);
    fx[2] = word('fip');
    fx[3] = word('fip', 1);
    fx[4] = word('fdp');
    fx[5] = word('fdp', 1);
    fx[6] = word('mxcsr');
    for (let i = 0; i < 8; i++) {
      const from = vp + W('x87') + ((i + top) & 7) * 4;
      const to = 8 + i * 4;
      fx[to] = words[from] as number;
      fx[to + 1] = words[from + 1] as number;
      fx[to + 2] = (words[from + 2] as number) & 0xffff;
    }
    const xmm = vp + W('xmm');
    for (let i = 0; i < 64; i++) fx[40 + i] = words[xmm + i] as number;
    return new Uint8Array(fx.buffer);
  }

  #loadData(c: Case): void {
    const before = this.#before;
    if (this.#seed !== c.seed) {
      this.#seed = c.seed;
      fillPattern(c.seed, new Uint32Array(this.#pattern.buffer));
      before.set(this.#pattern);
      this.#words.set(before, this.#data);
    }
    for (const { offset, bytes } of c.patches) {
      this.#beforeBytes.set(bytes, offset);
      this.#bytes.set(bytes, this.#data * 4 + offset);
    }
  }

  /** The 8-byte words that the case changed; puts the seed's pattern back. */
  #changes(c: Case): readonly Change[] {
    const words = this.#words;
    const before = this.#before;
    const data = this.#data;
    let changes: Change[] | undefined;
    const first = this.#firstDifference(data * 4, this.#before.byteOffset, DATA_WRITABLE_SIZE);
    for (let i = first >> 2; i < DATA_WRITABLE_SIZE / 4; i++) {
      if (words[data + i] === before[i]) continue;
      const at = i & ~1;
      const low = words[data + at] as number;
      const high = words[data + at + 1] as number;
      changes ??= [];
      changes.push({ offset: at * 4, value: quad(low, high) });
      words[data + at] = before[at] as number;
      words[data + at + 1] = before[at + 1] as number;
    }
    for (const { offset, bytes } of c.patches) {
      const end = (offset + bytes.length + 3) >> 2;
      for (let i = offset >> 2; i < end; i++) {
        before[i] = this.#pattern[i] as number;
        words[data + i] = before[i] as number;
      }
    }
    return changes ?? NO_CHANGES;
  }

  #result(c: Case, ended: Outcome): Result {
    const words = this.#words;
    const vp = this.#vp;
    const low = words[vp + W('rip')] as number;
    const high = words[vp + W('rip') + 1] as number;
    let outcome = ended;
    const vector = words[vp + W('faultVector')] as number;
    if (outcome === 'exception' && this.#isFiller(c, low, high)) outcome = 'completed';
    const exception = outcome === 'exception';
    const error = words[vp + W('faultError')] as number;
    const gprs = new Uint32Array(32);
    for (let i = 0; i < 32; i++) gprs[i] = words[vp + W('gpr') + i] as number;
    const segments = new Uint16Array(6);
    for (let i = 0; i < 6; i++) segments[i] = words[vp + W('segmentSelector') + i] as number;
    const result: Result = {
      outcome,
      vector: exception ? vector : -1,
      errorCode: exception && error !== -1 ? error : 0,
      cr2: exception && vector === 14 ? quad(words[vp + W('cr2')] as number, words[vp + W('cr2') + 1] as number) : 0n,
      signal: 0,
      rip: quad(low, high),
      rflags: this.#flags(),
      gprs: new BigUint64Array(gprs.buffer),
      fx: this.#fx(),
      fsBase: this.#base(c, Segment.FS),
      gsBase: this.#base(c, Segment.GS),
      segments,
      changes: this.#changes(c),
      cause: '',
    };
    this.#removeCode(c);
    // A case that changed a segment, or stopped in the middle of an operation, leaves nothing to the next one.
    const initial = this.#selectors[c.mode];
    if (ended === 'refused' || segments.some((selector, i) => selector !== initial?.[i])) this.#mode = undefined;
    return result;
  }

  #base(c: Case, segment: number): bigint {
    if (c.mode !== 64) return 0n;
    const at = this.#vp + W('segmentBase') + segment * 2;
    return quad(this.#words[at] as number, this.#words[at + 1] as number);
  }

  /** Whether RIP is at the INT3 filler, outside of the case's own code. */
  #isFiller(c: Case, low: number, high: number): boolean {
    const offset = c.mode === 16 ? low : low - CODE_ADDRESS;
    if (high !== 0 || offset < 0 || offset >= CODE_SIZE) return false;
    if (offset >= c.codeOffset && offset < c.codeOffset + c.code.length) return false;
    return true;
  }
}

/** INT3 ends a case where the filler stands, as any fault does. */
function breakpoint(context: SystemContext): never {
  return raise(context, Vector.BP);
}

function operationFor(name: string): SystemOperation {
  if (name === 'int3') return breakpoint;
  const reals = x87Operations[name] ?? environmentOperations[name];
  if (reals) return reals;
  const operation = (systemOperations as Readonly<Record<string, SystemOperation>>)[name];
  const selector = SELECTORS[name];
  if (operation && selector)
    return (context, a, b) => {
      if (!isKnownSelector(selector(a, b))) throw new OutsideError("the host kernel's descriptors");
      return operation(context, a, b);
    };
  if (operation && COMPARABLE_OPERATIONS.has(name)) return operation;
  return () => {
    throw new OutsideError(name);
  };
}

/** (a, b, bytes) -> offset of the first 16 bytes that differ, or `bytes`: looking at all of the data area takes long. */
function compileFirstDifference(memory: WebAssembly.Memory): (a: number, b: number, bytes: number) => number {
  const module = new ModuleBuilder({ memory: { initial: 1, maximum: 65536 } });
  module.function(
    'first_difference',
    { params: ['i32', 'i32', 'i32'], results: ['i32'] },
    (f) => {
      const [a, b, bytes] = [f.param(0), f.param(1), f.param(2)];
      const i = f.variable('i32', 0);
      f.loop((next) => {
        const difference = f.op('v128.xor', f.load('v128.load', a.add(i.get())), f.load('v128.load', b.add(i.get())));
        f.if(f.op('v128.any_true', difference), () => {
          f.return(i.get());
        });
        i.set(i.get().add(16));
        f.brIf(next, i.get().ltU(bytes));
      });
      f.return(bytes);
    },
    true,
  );
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.finish()), { env: { memory } });
  return instance.exports.first_difference as (a: number, b: number, bytes: number) => number;
}

function asWords(array: BigUint64Array | Uint8Array): Uint32Array {
  return new Uint32Array(array.buffer, array.byteOffset, array.byteLength >> 2);
}

const scratch = new BigUint64Array(1);
const scratchWords = new Int32Array(scratch.buffer);
function quad(low: number, high: number): bigint {
  if (high === 0 && low >= 0) return BigInt(low);
  scratchWords[0] = low;
  scratchWords[1] = high;
  return scratch[0] as bigint;
}
function setQuad(words: Int32Array, at: number, value: bigint): void {
  scratch[0] = value;
  words[at] = scratchWords[0] as number;
  words[at + 1] = scratchWords[1] as number;
}
