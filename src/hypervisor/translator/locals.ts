/**
 * The locals of a region: its machine's registers, flags and the rest, each made where something uses it. What a local is, its
 * slot, is a number: a stencil names its locals so.
 */
import { TLB_CONTEXT_SHIFT } from '../memory/layout.ts';
import { VpState } from '../vp/state.ts';
import type { ValueType } from '../wasm/opcodes.ts';
import type { Instruction } from '../x86/decoder.ts';
import { type Code, Op } from './code.ts';
import { registerOf } from './numbers.ts';

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);

/** Slots: general registers and XMM registers by number or role (numbers.ts), the machine's own locals, and temporaries. */
export const VECTOR = 32;
export const OWN = 64;
export const TEMPORARY = 128;
/** Temporaries of one type. */
export const TEMPORARIES = 64;
export const TYPES: readonly ValueType[] = ['i32', 'i64', 'f32', 'f64', 'v128'];

/** What is newer in locals than in VpState: a bit for each general register, behind them for each XMM register; and the flags. */
export interface Changed {
  readonly registers: number;
  readonly flags: boolean;
}

/** The machine's own locals, as OWN + one of these. */
export const Own = {
  /** Linear address of the region's page. */
  PAGE: 0,
  /** Where the TLB in use is, behind the first one. */
  TLB: 1,
  /** Which instruction the interpreter is to execute, where control leaves in front of it. */
  UNDONE: 2,
  /** What the last instruction of a block says: where control goes, or whether a branch is taken. */
  TARGET: 3,
  CONDITION: 4,
  /** Whether MXCSR is settled, once somebody has asked. */
  SETTLED: 5,
  /** Of a memory access. */
  LINEAR: 6,
  ENTRY: 7,
  HOST: 8,
  /** The lazy flags: see FlagState. */
  RESULT: 9,
  A: 10,
  B: 11,
  CARRY: 12,
  KIND: 13,
  /** Floats whose comparison set the flags: two f32, two f64. */
  FLOATS: 14,
  /** Where control goes on. */
  RIP: 18,
  /** Of a memory operand: its offset in the segment. */
  ADDRESS: 19,
  /** Of a group of accesses, see groups.ts: the host address that its leader has found. Which group, the use of a stencil says. */
  GROUP: 20,
} as const;
const OWN_TYPES: readonly ValueType[] = (
  'i64 i32 i32 i64 i32 i32 i64 i32 i32 i64 i64 i64 i32 i32 f32 f32 f64 f64 i64 i64 i32' as string
).split(' ') as ValueType[];
/** Registers of a kind. */
const REGISTERS = 16;

function typeOf(slot: number): ValueType {
  if (slot < OWN) return slot < VECTOR ? 'i64' : 'v128';
  // Behind GROUP there is one for each group.
  if (slot < TEMPORARY) return OWN_TYPES[Math.min(slot - OWN, Own.GROUP)] as ValueType;
  return TYPES[Math.floor((slot - TEMPORARY) / TEMPORARIES)] as ValueType;
}

export class Locals {
  /** Of the locals behind the parameters. */
  readonly types: ValueType[] = [];
  readonly #vp: number;
  readonly #first: number;
  /** By slot. */
  readonly #numbers: (number | undefined)[] = [];

  /** @param vp address of VpState; @param parameters how many locals are the function's parameters */
  constructor(vp: number, parameters: number) {
    this.#vp = vp;
    this.#first = parameters;
  }

  /** The local of a slot. @param i the instruction whose registers roles mean */
  number(slot: number, i?: Instruction): number {
    const fixed = this.#fixed(slot, i);
    let number = this.#numbers[fixed];
    if (number === undefined) {
      number = this.#first + this.types.length;
      this.types.push(typeOf(fixed));
      this.#numbers[fixed] = number;
    }
    return number;
  }
  own(which: number): number {
    return this.number(OWN + which);
  }
  /** A register's bit, see Changed. */
  bit(slot: number, i: Instruction): number {
    const fixed = this.#fixed(slot, i);
    return 1 << (fixed < VECTOR ? fixed : fixed - VECTOR + REGISTERS);
  }
  #fixed(slot: number, i: Instruction | undefined): number {
    if (slot >= OWN || !i) return slot;
    return slot < VECTOR ? registerOf(slot, i) : VECTOR + registerOf(slot - VECTOR, i);
  }

  /** Loads registers and flags into their locals. */
  load(code: Code, { registers, flags }: Changed): void {
    const load = (name: 'I32' | 'I64' | 'V128', offset: number): void => {
      code.i32(this.#vp);
      code.load(name, offset);
    };
    for (let n = 0; n < REGISTERS; n++) {
      if (registers & (1 << n)) {
        load('I64', at('gpr') + n * 8);
        code.set(this.number(n));
      }
      if (registers & (1 << (REGISTERS + n))) {
        load('V128', at('xmm') + n * 16);
        code.set(this.number(VECTOR + n));
      }
    }
    if (flags) {
      load('I64', at('flagResult'));
      code.set(this.own(Own.RESULT));
      load('I64', at('flagA'));
      code.set(this.own(Own.A));
      load('I64', at('flagB'));
      code.set(this.own(Own.B));
      load('I32', at('flagForm'));
      code.tee(this.own(Own.KIND));
      code.i32(1);
      code.op(Op.AND32);
      code.set(this.own(Own.CARRY));
      code.get(this.own(Own.KIND));
      code.i32(1);
      code.op(Op.SHR_U32);
      code.set(this.own(Own.KIND));
    }
    if (this.#numbers[OWN + Own.TLB] === undefined) return;
    load('I32', at('tlbContext'));
    code.i32(TLB_CONTEXT_SHIFT);
    code.op(Op.SHL32);
    code.set(this.own(Own.TLB));
  }

  /** Stores what is changed. */
  spill(code: Code, { registers, flags }: Changed): void {
    const store = (name: 'I32' | 'I64' | 'V128', offset: number, local: number): void => {
      code.i32(this.#vp);
      code.get(local);
      code.store(name, offset);
    };
    for (let n = 0; n < REGISTERS; n++) {
      if (registers & (1 << n)) store('I64', at('gpr') + n * 8, this.number(n));
      if (registers & (1 << (REGISTERS + n))) store('V128', at('xmm') + n * 16, this.number(VECTOR + n));
    }
    if (!flags) return;
    store('I64', at('flagResult'), this.own(Own.RESULT));
    store('I64', at('flagA'), this.own(Own.A));
    store('I64', at('flagB'), this.own(Own.B));
    code.i32(this.#vp);
    code.get(this.own(Own.CARRY));
    code.get(this.own(Own.KIND));
    code.i32(1);
    code.op(Op.SHL32, Op.ADD32);
    code.store('I32', at('flagForm'));
  }
}
