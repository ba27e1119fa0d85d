/**
 * What the translator knows of an instruction before it emits it, found out by building it once on its own: whether it can be
 * translated, and what it does to the flags.
 */
import { type Callee, FunctionBuilder } from '../wasm/function.ts';
import type { Instruction } from '../x86/decoder.ts';
import type { FlagState } from '../x86/lazy-flags.ts';
import { FLAG_PARTS, Machine } from './machine.ts';
import { groupOf, productOf, Role } from './numbers.ts';
import { TranslatorPort, Untranslatable } from './port.ts';

/** An access to memory that an instruction makes on every path: its only one. */
export interface AccessFacts {
  readonly bytes: number;
  /** Written, or read and written. */
  readonly isWrite: boolean;
  /** At the address of its memory operand; else it is the stack's. */
  readonly isOperand: boolean;
}

export interface FormFacts {
  readonly translatable: boolean;
  readonly access: AccessFacts | undefined;
  /** May leave in front of itself for another reason than its access. */
  readonly leavesBeside: boolean;
  /** Registers that it writes, by role. */
  readonly writes: readonly number[];
  /** May leave in front of itself, or sets flags on one of several paths: the flags before it must be right, all of them. */
  readonly needsAll: boolean;
  /** Words of the flags that it reads for itself, and those that it needs for the flags behind it: bits in the order of FLAG_PARTS. */
  readonly reads: number;
  readonly passes: number;
  /** The condition that it reads, by its number without the lowest bit, and nothing else of the flags; -1: none. */
  readonly condition: number;
  /** Flags are other ones after it. */
  readonly sets: boolean;
  /** Sets flags on one of several paths. */
  readonly conditional: boolean;
  /** Depends on what holds already, or changes that: see Semantics.established(). */
  readonly asks: boolean;
}

const UNKNOWN: FormFacts = {
  translatable: false,
  access: undefined,
  leavesBeside: true,
  writes: [],
  needsAll: true,
  reads: 0,
  passes: 0,
  condition: -1,
  sets: false,
  conditional: false,
  asks: true,
};
const NOTHING = { params: [], results: [] } as const;
const known = new Map<number, FormFacts>();
const ROLES = Array.from({ length: Role.RM_HIGH + 1 }, (_, role) => role);

export function factsOf(i: Instruction, mode: number, helperType: (name: string) => Callee['type']): FormFacts {
  if (!i.long64 || i.addressSize !== 3 || i.form.options.repeat !== undefined) return UNKNOWN;
  const product = productOf(i);
  if (product < 0) return tryOut(i, mode, helperType);
  const key = groupOf(i) * 2 ** 20 + product;
  let facts = known.get(key);
  if (!facts) {
    facts = tryOut(i, mode, helperType);
    known.set(key, facts);
  }
  return facts;
}

/** Jcc, SETcc and CMOVcc have the condition in the opcode: Intel SDM vol. 2, appendix B. */
function conditionOf({ form }: Instruction): number {
  const { map, opcode } = form;
  const row = opcode & 0xf0;
  const has = map === 0 ? row === 0x70 : map === 1 && (row === 0x40 || row === 0x80 || row === 0x90);
  return has ? (opcode & 15) >> 1 : -1;
}

interface Trial {
  readonly leaves: boolean;
  readonly leavesBeside: boolean;
  readonly access: AccessFacts | undefined;
  readonly writes: readonly number[];
  readonly conditional: boolean;
  readonly sets: boolean;
  readonly asks: boolean;
  /** Words that have been used of the flags that were there before. */
  readonly used: number;
}

/** Builds the product alone; @param keep whether somebody reads the flags afterwards. */
function build(i: Instruction, mode: number, helperType: (name: string) => Callee['type'], keep: boolean): Trial {
  const f = new FunctionBuilder('trial', NOTHING, () => 0);
  const m = new Machine(f, 0, mode, (name) => ({ name, type: helperType(name), index: () => 0 }));
  const before: FlagState = {
    result: f.load('i64.load', 0, 0),
    a: f.load('i64.load', 0, 8),
    b: f.load('i64.load', 0, 16),
    carry: f.load('i32.load', 0, 24),
    kind: f.load('i32.load', 0, 28),
  };
  const port = new TranslatorPort(m, i, before);
  i.form.semantics(port);
  if (keep) m.setFlags(port.known ?? m.flags());
  f.record();
  return {
    leaves: port.leaves,
    leavesBeside: port.leavesBeside,
    access: port.accesses.length === 1 ? port.accesses[0] : undefined,
    writes: ROLES.filter((role) => {
      const register = m.known('register', role);
      return register !== undefined && m.isWritten(register);
    }),
    conditional: port.conditional,
    sets: port.known !== before,
    asks: port.asks,
    used: FLAG_PARTS.reduce((bits, part, n) => bits | (before[part].uses > 0 ? 1 << n : 0), 0),
  };
}

function tryOut(i: Instruction, mode: number, helperType: (name: string) => Callee['type']): FormFacts {
  try {
    const { leaves, leavesBeside, access, writes, conditional, sets, asks, used } = build(i, mode, helperType, false);
    const condition = used !== 0 && !sets ? conditionOf(i) : -1;
    return {
      translatable: true,
      access,
      leavesBeside,
      writes,
      needsAll: leaves || conditional,
      reads: condition < 0 ? used : 0,
      passes: sets ? build(i, mode, helperType, true).used : 0,
      condition,
      sets,
      conditional,
      asks,
    };
  } catch (error) {
    if (error instanceof Untranslatable) return UNKNOWN;
    throw error;
  }
}
