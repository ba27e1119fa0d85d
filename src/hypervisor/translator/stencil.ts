/**
 * Stencils: the translation of one instruction, recorded once and written as often as an instruction like it comes (copy-and-patch;
 * H. Xu and F. Kjolstad, OOPSLA 2021, for WebAssembly in place of machine code). Building it from the semantics takes some
 * hundred times as long as copying its bytes and filling in locals and numbers.
 */
import { Hole } from '../wasm/bytes.ts';
import { type Callee, FunctionBuilder, type RecordedCode } from '../wasm/function.ts';
import type { ValueType } from '../wasm/opcodes.ts';
import type { Value } from '../wasm/value.ts';
import type { Instruction } from '../x86/decoder.ts';
import { type FlagState, readCondition } from '../x86/lazy-flags.ts';
import { type Code, type Label, Op } from './code.ts';
import { Access, type Grouped } from './groups.ts';
import { type Locals, OWN, Own, TEMPORARIES, TEMPORARY, TYPES, VECTOR } from './locals.ts';
import { FLAG_PARTS, Machine } from './machine.ts';
import { groupOf, hasOffset, Numbers, numberOf, offsetOf, productOf, RIP, Role } from './numbers.ts';
import { type Ending, type KnownFlags, TranslatorPort } from './port.ts';

const NOTHING = { params: [], results: [] } as const;

/**
 * What is known of the flags while a block is emitted, as a number: 0, nothing, or the kind plus one, which words are zero, whether
 * a comparison set them, and of which floats. The words that are not zero are in the machine's locals, as far as anybody needs them.
 */
export type Known = number;
const KIND = 3;
const ZERO = { a: 4, b: 8, carry: 16 } as const;
const COMPARISON = 32;
const FLOATS = { f32: 64, f64: 128 } as const;

/** Which words of the flags somebody reads: bits in the order of FLAG_PARTS, and the floats of a comparison. */
export const ALL_PARTS = 31;
const FLOAT_PARTS = 32;
/** Somebody reads a condition, by its number without the lowest bit: which words that needs depends on who sets them. */
export const CONDITIONS_SHIFT = 8;

const isZero = (value: Value): boolean => value.kind === 'const' && BigInt(value.imm) === 0n;

function knownOf(state: FlagState): Known {
  let known = 0;
  if (state.kind.kind === 'const') known |= Number(state.kind.imm) + 1;
  if (isZero(state.a)) known |= ZERO.a;
  if (isZero(state.b)) known |= ZERO.b;
  if (isZero(state.carry)) known |= ZERO.carry;
  if (state.comparison === true) known |= COMPARISON;
  if (state.floats) known |= FLOATS[state.floats[0].type as 'f32' | 'f64'];
  return known;
}

/** The flags that are known so, in a machine's locals. */
function stateOf(known: Known, m: Machine): KnownFlags {
  if (known === 0) return undefined;
  const { f } = m;
  const flags = m.flagVariables();
  const kind = known & KIND;
  const type = known & FLOATS.f32 ? 'f32' : known & FLOATS.f64 ? 'f64' : undefined;
  return {
    result: flags.result.get(),
    a: known & ZERO.a ? f.i64(0) : flags.a.get(),
    b: known & ZERO.b ? f.i64(0) : flags.b.get(),
    carry: known & ZERO.carry ? f.i32(0) : flags.carry.get(),
    kind: kind ? f.i32(kind - 1) : flags.kind.get(),
    comparison: (known & COMPARISON) !== 0,
    ...(type && { floats: [m.float(type, 0).get(), m.float(type, 1).get()] as const }),
  };
}

const conditions = new Map<number, number>();
/** The words that a condition is read from. */
function partsOfCondition(known: Known, code: number): number {
  const key = known * 8 + code;
  let parts = conditions.get(key);
  if (parts === undefined) {
    const f = new FunctionBuilder('condition', NOTHING, () => 0);
    const m = new Machine(f, 0, 0, () => {
      throw new Error('a condition calls nobody');
    });
    const state = stateOf(known, m) ?? m.flags();
    f.store('i32.store', 0, readCondition(f, state, code * 2));
    f.finish();
    parts = FLAG_PARTS.reduce((bits, part, n) => bits | (state[part].uses > 0 ? 1 << n : 0), 0);
    if (state.floats?.some((float) => float.uses > 0)) parts |= FLOAT_PARTS;
    conditions.set(key, parts);
  }
  return parts;
}

/** The words that are needed of flags known so. @param need parts, and conditions */
function partsOf(known: Known, need: number): number {
  let parts = need & ALL_PARTS;
  for (let code = 0; code < 8; code++)
    if (need & (1 << (CONDITIONS_SHIFT + code))) parts |= partsOfCondition(known, code);
  return parts;
}

/** What holds from one instruction to the next within a block; see Semantics.established(). */
const DONE = ['sse', 'fpu', 'settled'];

export interface Stencil {
  readonly code: RecordedCode;
  /** What each local is: a number of Slot. */
  readonly slots: readonly number[];
  /** Slots of registers that are written. */
  readonly written: readonly number[];
  readonly writesFlags: boolean;
  /** Slots of registers that are read as they were before it, and of those written that it writes on every path; flags likewise. */
  readonly reads: readonly number[];
  readonly settles: readonly number[];
  readonly readsFlags: boolean;
  /** Control may leave in front of it. */
  readonly leaves: boolean;
  /** It wants the memory operand's address. */
  readonly addresses: boolean;
  readonly ending: Ending;
  /** Behind it. */
  readonly known: Known;
  readonly done: number;
}

/** The recording machine's own locals, by Own. */
function ownLocals(m: Machine): number[] {
  const flags = m.flagVariables();
  return [
    m.page.local,
    m.tlb.local,
    m.undone.local,
    m.target.local,
    m.condition.local,
    m.settled.local,
    m.scratch.linear,
    m.scratch.entry,
    m.scratch.host,
    ...FLAG_PARTS.map((part) => flags[part].local),
  ];
}

export interface Stencils {
  /**
   * The stencil of an instruction.
   * @param known of the flags before it
   * @param done what holds before it
   * @param need what is read of the flags behind it, before they are new: parts and conditions
   * @param access how it makes its access to memory, see groups.ts
   */
  get(i: Instruction, known: Known, done: number, need: number, access?: number): Stencil;
}

/** Stencils of one processor (the address of its VpState is part of them) in one mode. */
export class StencilCache implements Stencils {
  readonly #vp: number;
  readonly #mode: number;
  readonly #helperType: (name: string) => Callee['type'];
  readonly #groups = new Map<number, Map<number, Stencil>>();

  constructor(vp: number, mode: number, helperType: (name: string) => Callee['type']) {
    this.#vp = vp;
    this.#mode = mode;
    this.#helperType = helperType;
  }

  get(i: Instruction, known: Known, done: number, need: number, access: number = Access.ALONE): Stencil {
    const product = productOf(i);
    if (product < 0) return this.#record(i, known, done, need, access);
    const group = groupOf(i);
    let map = this.#groups.get(group);
    if (!map) {
      map = new Map();
      this.#groups.set(group, map);
    }
    const before = ((product * 256 + known) * 8 + done) * 4 + access;
    const key = before * 8192 + ((need >> CONDITIONS_SHIFT) * 32 + (need & ALL_PARTS));
    let stencil = map.get(key);
    if (!stencil) {
      stencil = this.#record(i, known, done, need, access);
      map.set(key, stencil);
    }
    return stencil;
  }

  #record(i: Instruction, known: Known, done: number, need: number, access: number): Stencil {
    const f = new FunctionBuilder(i.form.mnemonic, NOTHING, () => {
      throw new Error('a stencil has no indirect calls');
    });
    const callees = new Map<string, Callee>();
    const helper = (name: string): Callee => {
      let callee = callees.get(name);
      if (!callee) {
        callee = { name, type: this.#helperType(name), index: () => 0 };
        callees.set(name, callee);
      }
      return callee;
    };
    const m = new Machine(f, this.#vp, this.#mode, helper);
    const own = ownLocals(m);
    const before = stateOf(known, m);
    const holds = new Set(DONE.filter((_, n) => done & (1 << n)));
    const port = new TranslatorPort(m, i, before, holds, access);
    i.form.semantics(port);
    let after = known;
    if (port.known !== before) {
      after = port.known ? knownOf(port.known) : 0;
      if (port.known) this.#keep(m, port.known, partsOf(after, need));
    }
    const { code, slots } = numbered(f.record(), m, own);
    const written = slots.filter(
      (slot) => slot < OWN && m.isWritten(slot < VECTOR ? m.register(slot) : m.vector(slot - VECTOR)),
    );
    const { reads, settles, readsFlags } = usesOf(code, slots);
    return {
      code,
      slots,
      written,
      writesFlags: m.hasWrittenFlags,
      reads,
      settles: settles.filter((slot) => written.includes(slot)),
      readsFlags,
      leaves: code.holes.some(({ kind }) => kind === Hole.BRANCH),
      addresses: slots.includes(OWN + Own.ADDRESS),
      ending: port.ending,
      known: after,
      done: DONE.reduce((bits, what, n) => bits | (holds.has(what) ? 1 << n : 0), 0),
    };
  }

  /** Puts what is needed of the flags into the locals. */
  #keep(m: Machine, state: FlagState, parts: number): void {
    const variables = m.flagVariables();
    FLAG_PARTS.forEach((part, n) => {
      if (!(parts & (1 << n))) return;
      m.flagsWritten();
      const value = state[part];
      // Unchanged.
      if (value.kind === 'get' && value.imm === variables[part].local) return;
      variables[part].set(value);
    });
    if (!(parts & FLOAT_PARTS) || !state.floats) return;
    const [x, y] = state.floats;
    m.float(x.type as 'f32' | 'f64', 0).set(x);
    m.float(x.type as 'f32' | 'f64', 1).set(y);
  }
}

/** Numbers the locals of a recorded piece anew, only those that it names, and says what each is. */
function numbered(code: RecordedCode, m: Machine, own: readonly number[]): { code: RecordedCode; slots: number[] } {
  const meaning = new Map<number, number>();
  for (const [n, local] of own.entries()) meaning.set(local, OWN + n);
  meaning.set(m.address.local, OWN + Own.ADDRESS);
  meaning.set(m.group.local, OWN + Own.GROUP);
  for (let role = 0; role <= Role.RM_HIGH; role++) {
    const [register, vector] = [m.known('register', role), m.known('vector', role)];
    if (register) meaning.set(register.local, role);
    if (vector) meaning.set(vector.local, VECTOR + role);
  }
  (['f32', 'f64'] as const).forEach((type, t) => {
    for (const which of [0, 1] as const) {
      const float = m.knownFloat(type, which);
      if (float) meaning.set(float.local, OWN + Own.FLOATS + t * 2 + which);
    }
  });
  const temporaries = TYPES.map(() => 0);
  const numbers = new Map<number, number>();
  const slots: number[] = [];
  const holes = code.holes.map((hole) => {
    if (hole.kind !== Hole.LOCAL) return hole;
    const local = hole.value;
    let value = numbers.get(local);
    if (value === undefined) {
      value = slots.length;
      numbers.set(local, value);
      const t = TYPES.indexOf(code.locals[local] as ValueType);
      slots.push(meaning.get(local) ?? TEMPORARY + t * TEMPORARIES + (temporaries[t] as number));
      if (!meaning.has(local)) temporaries[t] = (temporaries[t] as number) + 1;
    }
    return { ...hole, value };
  });
  const conditional = new Set([...code.conditional].flatMap((local) => numbers.get(local) ?? []));
  return { code: { ...code, holes, conditional }, slots };
}

const GET = 0x20;
/** What a recorded piece does with registers and flags, by slot. */
function usesOf(
  code: RecordedCode,
  slots: readonly number[],
): { reads: number[]; settles: number[]; readsFlags: boolean } {
  const reads = new Set<number>();
  const settled = new Set<number>();
  for (const { kind, at, value } of code.holes) {
    if (kind !== Hole.LOCAL) continue;
    const slot = slots[value] as number;
    if (code.bytes[at - 1] !== GET) {
      if (!code.conditional.has(value)) settled.add(slot);
    } else if (!settled.has(slot)) reads.add(slot);
  }
  const isFlag = (slot: number): boolean => slot >= OWN + Own.RESULT && slot <= OWN + Own.KIND;
  return {
    reads: [...reads].filter((slot) => slot < OWN),
    settles: [...settled].filter((slot) => slot < OWN),
    readsFlags: [...reads].some(isFlag),
  };
}

/** A stencil's place in a region, and what fills its holes. */
export class StencilUse {
  readonly #stencil: Stencil;
  readonly #numbers: readonly number[];
  readonly #i: Instruction;
  readonly #at: number;
  readonly #undone: number;
  readonly #grouped: Grouped | undefined;
  /** Registers that it writes, a bit each: general ones, and behind them XMM registers. */
  readonly registers: number;
  /** Those that it reads as they were, and those that it writes in any case. */
  readonly reads: number;
  readonly settles: number;
  /** Locals that the memory operand's address is made of; -1: none. */
  #base = -1;
  #index = -1;
  #address = -1;

  /** @param undone what the interpreter is to know where control leaves in front of the instruction */
  constructor(locals: Locals, stencil: Stencil, i: Instruction, at: number, undone: number, grouped?: Grouped) {
    this.#grouped = grouped;
    this.#stencil = stencil;
    this.#i = i;
    this.#at = at;
    this.#undone = undone;
    const numbers: number[] = [];
    const group = OWN + Own.GROUP;
    for (const slot of stencil.slots)
      numbers.push(slot === group ? locals.number(group + (grouped?.group ?? 0)) : locals.number(slot, i));
    this.#numbers = numbers;
    let registers = 0;
    for (const slot of stencil.written) registers |= locals.bit(slot, i);
    this.registers = registers;
    let reads = 0;
    for (const slot of stencil.reads) reads |= locals.bit(slot, i);
    let settles = 0;
    for (const slot of stencil.settles) settles |= locals.bit(slot, i);
    if (stencil.addresses) {
      if (i.base >= 0 && i.base !== RIP) reads |= 1 << i.base;
      if (i.index >= 0) reads |= 1 << i.index;
    }
    this.reads = reads;
    this.settles = settles;
    if (!stencil.addresses) return;
    this.#address = locals.own(Own.ADDRESS);
    if (i.base >= 0) this.#base = i.base === RIP ? locals.own(Own.PAGE) : locals.number(i.base);
    if (i.index >= 0) this.#index = locals.number(i.index);
  }

  get flags(): boolean {
    return this.#stencil.writesFlags;
  }
  get readsFlags(): boolean {
    return this.#stencil.readsFlags;
  }
  /** Whether control may leave in front of it. */
  get leaves(): boolean {
    return this.#stencil.leaves;
  }

  #writeAddress(code: Code): void {
    const i = this.#i;
    const offset =
      i.base === RIP ? this.#at + i.length + i.displacement : hasOffset(i.form) ? offsetOf(i) : i.displacement;
    let terms = 0;
    const term = (): void => {
      if (terms++ > 0) code.op(Op.ADD64);
    };
    if (this.#base >= 0) {
      code.get(this.#base);
      term();
    }
    if (this.#index >= 0) {
      code.get(this.#index);
      if (i.scale > 0) {
        code.i64(i.scale);
        code.op(Op.SHL64);
      }
      term();
    }
    if (offset !== 0 || terms === 0) {
      code.i64(offset);
      term();
    }
    code.set(this.#address);
  }

  #number(which: number): number | bigint {
    const { within = 0, span = 0 } = this.#grouped ?? {};
    if (which === Numbers.BEFORE) return within;
    return which === Numbers.LIMIT ? span - 4098 : numberOf(which, this.#i, this.#at);
  }
  #word(which: number): number {
    const { within = 0, span = 0 } = this.#grouped ?? {};
    if (which === Numbers.UNDONE) return this.#undone;
    return which === Numbers.SPAN ? span : within;
  }

  /** @param redo where control goes that leaves in front of the instruction */
  write(code: Code, redo: Label, helper: (name: string) => Callee): void {
    if (this.#address >= 0) this.#writeAddress(code);
    const { bytes, holes, callees } = this.#stencil.code;
    const { out } = code;
    let from = 0;
    for (const { kind, at, value } of holes) {
      out.copy(bytes, from, at);
      from = at;
      switch (kind) {
        case Hole.LOCAL:
          out.unsigned(this.#numbers[value] as number);
          break;
        case Hole.LONG:
          out.signed(this.#number(value));
          break;
        case Hole.WORD:
          out.signed32(this.#word(value));
          break;
        case Hole.CALLEE:
          out.unsigned(helper((callees[value] as Callee).name).index());
          break;
        case Hole.BRANCH:
          out.unsigned(code.depth(redo) + value);
          break;
        default:
          code.hint(value !== 0);
      }
    }
    out.copy(bytes, from, bytes.length);
  }
}
