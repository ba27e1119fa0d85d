/**
 * Accesses of a block that are checked together: through the same registers, unchanged but for constants, and near each other. The first
 * one, the leader, checks the whole span by the TLB; the others use the address that it has found. A span that does not fit into
 * a page is left to the interpreter, as is everything that faults.
 */
import { Segment } from '../vp/state.ts';
import type { OperandForm } from '../x86/form.ts';
import { Register } from '../x86/semantics.ts';
import type { AccessFacts } from './facts.ts';
import { operandRegister, RIP, registerOf } from './numbers.ts';
import type { RegionInstruction } from './region.ts';

/** How an instruction makes its access to memory. */
export const Access = { ALONE: 0, LEADER: 1, MEMBER: 2 } as const;

export interface Grouped {
  readonly access: typeof Access.LEADER | typeof Access.MEMBER;
  /** Of the block. */
  readonly group: number;
  /** Bytes that the leader checks, and where in them this access begins. */
  readonly span: number;
  readonly within: number;
}

/** Of a span: the longer it is, the more often it does not fit into a page. */
const LONGEST = 64;
/** Of a block: each has a local. */
const MOST_GROUPS = 40;
/** What pushes and pops, and where from RSP it accesses memory. */
const STACK: Readonly<Record<string, number>> = { PUSH: -8, CALL: -8, POP: 0, RET: 0 };

/** An access: what its address is made of, and the constant in that. */
interface Place extends Omit<AccessFacts, 'isOperand'> {
  readonly key: string;
  readonly at: number;
}
interface Open {
  readonly isWrite: boolean;
  readonly members: { readonly instruction: number; readonly at: number }[];
  from: number;
  to: number;
}

/** By instruction; undefined: it makes its access alone, if it makes one. */
export function groupAccesses(instructions: readonly RegionInstruction[]): (Grouped | undefined)[] {
  const registers = new Registers();
  const groups: Open[] = [];
  const open = new Map<string, Open[]>();
  instructions.forEach((instruction, n) => {
    const { facts } = instruction;
    if (!facts) {
      // The interpreter may do anything.
      open.clear();
      registers.forgetAll();
      return;
    }
    const place = facts.access && registers.placeOf(instruction, facts.access);
    if (place) {
      const { key, at, bytes, isWrite } = place;
      const known = open.get(key) ?? [];
      open.set(key, known);
      let group = known.find(
        (g) => (g.isWrite || !isWrite) && Math.max(g.to, at + bytes) - Math.min(g.from, at) <= LONGEST,
      );
      if (!group) {
        group = { isWrite, members: [], from: at, to: at };
        known.push(group);
        groups.push(group);
      }
      group.members.push({ instruction: n, at });
      group.from = Math.min(group.from, at);
      group.to = Math.max(group.to, at + bytes);
    }
    registers.execute(instruction);
  });
  const uses = new Array<Grouped | undefined>(instructions.length).fill(undefined);
  const worthwhile = groups.filter(({ members }) => members.length > 1).slice(0, MOST_GROUPS);
  worthwhile.forEach(({ members, from, to }, group) => {
    members.forEach(({ instruction, at }, n) => {
      const access = n === 0 ? Access.LEADER : Access.MEMBER;
      uses[instruction] = { access, group, span: to - from, within: at - from };
    });
  });
  return uses;
}

/** What is known of general registers within a block: a value that nobody knows, and what has been added to it since. */
class Registers {
  readonly #values: number[] = [];
  readonly #added: number[] = [];
  #last = 0;

  constructor() {
    this.forgetAll();
  }
  forgetAll(): void {
    for (let register = 0; register < 16; register++) this.#forget(register);
  }
  #forget(register: number): void {
    this.#values[register] = ++this.#last;
    this.#added[register] = 0;
  }
  #copy(to: number, from: number, more: number): void {
    this.#values[to] = this.#values[from] as number;
    this.#added[to] = (this.#added[from] as number) + more;
  }

  /** What the address is made of, and the constant in it. */
  placeOf({ decoded: i, at, length, form }: RegionInstruction, { isOperand, ...how }: AccessFacts): Place | undefined {
    if (!isOperand) {
      const offset = STACK[form.mnemonic];
      if (offset === undefined || i.size !== 8) return undefined;
      return { ...how, key: `${this.#values[Register.RSP]}`, at: (this.#added[Register.RSP] as number) + offset };
    }
    if (i.segment === Segment.FS || i.segment === Segment.GS || i.base < 0) return undefined;
    if (i.base === RIP) return i.index < 0 ? { ...how, key: 'rip', at: at + length + i.displacement } : undefined;
    const place = (this.#added[i.base] as number) + i.displacement;
    if (i.index < 0) return { ...how, key: `${this.#values[i.base]}`, at: place };
    const key = `${this.#values[i.base]}+${this.#values[i.index]}<${i.scale}`;
    return { ...how, key, at: place + (this.#added[i.index] as number) * 2 ** i.scale };
  }

  execute({ decoded: i, form, facts }: RegionInstruction): void {
    const [to, from] = form.operands;
    const stack = STACK[form.mnemonic];
    const rsp = this.#added[Register.RSP] as number;
    if (i.size === 8 && !i.isMemory && to && from && to.width !== 'b') {
      if (form.mnemonic === 'MOV' && isRegister(to) && isRegister(from)) {
        this.#copy(operandRegister(to, i), operandRegister(from, i), 0);
        return;
      }
      if ((form.mnemonic === 'ADD' || form.mnemonic === 'SUB') && isRegister(to) && from.kind === 'I') {
        const register = operandRegister(to, i);
        this.#copy(register, register, form.mnemonic === 'ADD' ? i.immediate : -i.immediate);
        return;
      }
    }
    if (form.mnemonic === 'LEA' && i.size === 8 && to && i.base >= 0 && i.base !== RIP && i.index < 0) {
      this.#copy(operandRegister(to, i), i.base, i.displacement);
      return;
    }
    const value = this.#values[Register.RSP] as number;
    for (const role of facts?.writes ?? []) this.#forget(registerOf(role, i));
    if (stack === undefined || i.size !== 8) return;
    // POP RSP loads it.
    if (form.mnemonic === 'POP' && to && isRegister(to) && operandRegister(to, i) === Register.RSP) return;
    // RET may drop more, and nothing of its block follows.
    this.#values[Register.RSP] = value;
    this.#added[Register.RSP] = rsp + (stack === 0 ? 8 : -8);
  }
}

function isRegister({ kind }: OperandForm): boolean {
  return kind === 'E' || kind === 'G' || kind === 'R' || kind === 'Z' || kind === 'fixed';
}
