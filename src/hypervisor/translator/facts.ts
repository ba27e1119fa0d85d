/**
 * What the translator knows of an instruction's product before it emits it, found out by building the product once on its own:
 * whether it can be translated, and what it does to the flags.
 */
import { type Callee, FunctionBuilder, type Label } from '../wasm/function.ts';
import type { Instruction } from '../x86/decoder.ts';
import type { Form } from '../x86/form.ts';
import type { FlagState } from '../x86/lazy-flags.ts';
import { Machine } from './machine.ts';
import { TranslatorPort, Untranslatable } from './port.ts';

export interface FormFacts {
  readonly translatable: boolean;
  /** Reads flags, or may leave in front of itself, so that the flags before it must be right. */
  readonly needsFlags: boolean;
  /** All arithmetic flags are new after it. */
  readonly setsAllFlags: boolean;
  /** Sets flags on one of several paths. */
  readonly conditional: boolean;
}

const UNKNOWN: FormFacts = { translatable: false, needsFlags: true, setsAllFlags: false, conditional: false };
const NOTHING = { params: [], results: [] } as const;
const known = new Map<number, FormFacts>();

/** A constant count decides whether a shift sets flags, others' say what is shuffled. These do the same with any. */
const ANY_IMMEDIATE = new Set('ADD ADC SUB SBB CMP AND OR XOR TEST MOV IMUL PUSH RET BT BTS BTR BTC'.split(' '));
const immediates = new WeakMap<Form, boolean>();

function hasImmediate(form: Form): boolean {
  let found = immediates.get(form);
  if (found === undefined) {
    found = form.operands.some((o) => o.kind === 'I');
    immediates.set(form, found);
  }
  return found;
}

export function factsOf(i: Instruction, mode: number, helperType: (name: string) => Callee['type']): FormFacts {
  if (!i.long64 || i.addressSize !== 3 || i.form.options.repeat !== undefined) return UNKNOWN;
  const count = ANY_IMMEDIATE.has(i.form.mnemonic) || !hasImmediate(i.form) ? 0 : i.immediate & 63;
  const product = i.size * 4 + (i.isMemory ? 2 : 0) + (i.lock ? 1 : 0);
  const key = (i.form.id * 64 + count) * 64 + product;
  let facts = known.get(key);
  if (!facts) {
    facts = tryOut(i, mode, helperType);
    known.set(key, facts);
  }
  return facts;
}

interface Trial {
  readonly leaves: boolean;
  readonly conditional: boolean;
  /** Whether the flags that were there before have been used. */
  readonly used: boolean;
}

/** Builds the product alone; @param keep whether somebody reads the flags afterwards. */
function build(i: Instruction, mode: number, helperType: (name: string) => Callee['type'], keep: boolean): Trial {
  const f = new FunctionBuilder('trial', NOTHING, () => 0);
  const machine = new Machine(f, 0, mode, (name) => ({ name, type: helperType(name), index: () => 0 }));
  const [result, a, b] = [0, 8, 16].map((offset) => f.load('i64.load', 0, offset)) as [
    FlagState['a'],
    FlagState['a'],
    FlagState['a'],
  ];
  const before = { result, a, b, carry: f.load('i32.load', 0, 24), kind: f.load('i32.load', 0, 28) };
  let leaves = false;
  let out!: Label;
  const nothing = (): void => undefined;
  const ending = {
    mayLeave: nothing,
    redoAt: () => {
      leaves = true;
      return { label: out, undone: { local: 0, value: 0 } };
    },
    redoIf: (condition: FlagState['carry']) => {
      leaves = true;
      f.store('i32.store', 0, condition, 64);
    },
    // Whoever goes on there may read the flags; what is said of a block's end sees to that.
    leave: nothing,
    branch: (condition: FlagState['a']) => {
      f.store('i32.store', 0, condition, 64);
    },
    jump: nothing,
  };
  let conditional = false;
  f.block((label) => {
    out = label;
    const port = new TranslatorPort(machine, i, 0, ending, before);
    i.form.semantics(port);
    ({ conditional } = port);
    const after = port.known ?? machine.flags();
    if (keep) {
      f.store('i64.store', 0, after.result, 32);
      f.store('i64.store', 0, after.a, 40);
      f.store('i64.store', 0, after.b, 48);
      f.store('i32.store', 0, after.carry, 56);
      f.store('i32.store', 0, after.kind, 60);
    }
    machine.spill();
  });
  f.finish();
  const used = [before.result, before.a, before.b, before.carry, before.kind].some((v) => v.uses > 0);
  return { leaves, conditional, used };
}

function tryOut(i: Instruction, mode: number, helperType: (name: string) => Callee['type']): FormFacts {
  try {
    const alone = build(i, mode, helperType, false);
    const { conditional } = alone;
    const needsFlags = alone.leaves || alone.used;
    const setsAllFlags = !conditional && !build(i, mode, helperType, true).used;
    return { translatable: true, needsFlags, setsAllFlags, conditional };
  } catch (error) {
    if (error instanceof Untranslatable) return UNKNOWN;
    throw error;
  }
}
