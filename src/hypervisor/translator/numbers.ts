/**
 * What a stencil leaves out of an instruction: registers by their place in the encoding, and the numbers that a translation of it
 * contains. Everything else that an instruction's translation depends on is part of its product's name.
 */
import { Segment } from '../vp/state.ts';
import type { Instruction } from '../x86/decoder.ts';
import type { Form, OperandForm } from '../x86/form.ts';
import { Register } from '../x86/semantics.ts';

/** Registers by their place in the instruction; below 16 it is a register by its number. */
export const Role = { REG: 16, RM: 17, REG_HIGH: 18, RM_HIGH: 19 } as const;

/** The register's number. @param role one of Role, or a number itself */
export function registerOf(role: number, i: Instruction): number {
  switch (role) {
    case Role.REG:
      return i.reg;
    case Role.RM:
      return i.rm;
    case Role.REG_HIGH:
      return i.reg - 4;
    case Role.RM_HIGH:
      return i.rm - 4;
    default:
      return role;
  }
}

/** Number of a base that is RIP. */
export const RIP = 16;

/** Operands whose register is in ModRM.rm. */
const IN_RM: ReadonlySet<string> = new Set(['E', 'R', 'W', 'U', 'Q', 'N', 'ST']);
export function isInRm({ kind }: OperandForm): boolean {
  return IN_RM.has(kind);
}
/** The register's number of an operand that is one. */
export function operandRegister(operand: OperandForm, { reg, rm }: Instruction): number {
  if (operand.kind === 'fixed') return operand.register;
  return isInRm(operand) ? rm : reg;
}

/** Constants. Places in the code are offsets from the page's beginning. */
export const Numbers = {
  /** What the interpreter is to do where control leaves, i32. */
  UNDONE: 0,
  /** Of the instruction, the next one, and a relative branch's target. */
  AT: 1,
  NEXT: 2,
  TARGET: 3,
  /** Immediates of 1, 2, 4 and 8 bytes. */
  IMMEDIATE1: 4,
  IMMEDIATE2: 5,
  IMMEDIATE4: 6,
  IMMEDIATE8: 7,
  /** Of accesses that are checked together (groups.ts): bytes before this one; bytes, i32; what holds() compares with. */
  BEFORE: 8,
  SPAN: 9,
  LIMIT: 10,
  /** Bytes before this one, i32. */
  WITHIN: 11,
} as const;

export function immediateHole(bytes: number): number {
  if (bytes === 8) return Numbers.IMMEDIATE8;
  return bytes === 4 ? Numbers.IMMEDIATE4 : bytes === 2 ? Numbers.IMMEDIATE2 : Numbers.IMMEDIATE1;
}

/** The immediate, zero-extended from `bytes`. */
export function immediateOf(i: Instruction, bytes: number): number | bigint {
  // A number where one will do: BigInts are slow.
  if (bytes < 8) return (bytes === 4 ? i.immediate : i.immediate & (2 ** (bytes * 8) - 1)) >>> 0;
  if (i.immediateHigh === i.immediate >> 31) return i.immediate;
  return (BigInt(i.immediateHigh) << 32n) | BigInt(i.immediate >>> 0);
}

/** One of Numbers but UNDONE, of an instruction at an offset of the page. */
export function numberOf(which: number, i: Instruction, at: number): number | bigint {
  switch (which) {
    case Numbers.AT:
      return at;
    case Numbers.NEXT:
      return at + i.length;
    case Numbers.TARGET:
      return at + i.length + i.immediate;
    default:
      return immediateOf(i, 2 ** (which - Numbers.IMMEDIATE1));
  }
}

/** A constant count decides whether a shift sets flags, others' say what is shuffled. These do the same with any. */
const ANY_IMMEDIATE = new Set('ADD ADC SUB SBB CMP AND OR XOR TEST MOV IMUL PUSH RET BT BTS BTR BTC'.split(' '));
/** Operands that are not general or XMM registers: their numbers are places in VpState. */
const BY_NUMBER = new Set(['S', 'C', 'D', 'P', 'Q', 'N', 'ST']);

/** An offset without ModRM: the operand itself. */
export function offsetOf({ displacement, displacementHigh }: Instruction): number | bigint {
  if (displacementHigh === displacement >> 31) return displacement;
  return (BigInt(displacementHigh) << 32n) | BigInt(displacement >>> 0);
}

export function hasOffset(form: Form): boolean {
  return traitsOf(form).hasOffset;
}

interface Traits {
  readonly hasImmediate: boolean;
  readonly anyImmediate: boolean;
  /** The immediate is longer than a product's name has room for. */
  readonly long: boolean;
  readonly byNumber: boolean;
  readonly hasByte: boolean;
  readonly hasOffset: boolean;
}
const traits: (Traits | undefined)[] = [];

function traitsOf(form: Form): Traits {
  let found = traits[form.id];
  if (!found) {
    const immediate = form.operands.find((o) => o.kind === 'I');
    const anyImmediate = ANY_IMMEDIATE.has(form.mnemonic);
    found = {
      hasImmediate: immediate !== undefined,
      anyImmediate,
      long: immediate !== undefined && immediate.width !== 'b' && !anyImmediate,
      byNumber: form.operands.some((o) => BY_NUMBER.has(o.kind)),
      hasOffset: form.operands.some((o) => o.kind === 'O'),
      hasByte: form.operands.some((o) => o.width === 'b' && o.kind !== 'fixed' && o.kind !== 'I'),
    };
    traits[form.id] = found;
  }
  return found;
}

/** Whether the immediate decides what the translation is. Zero does: much folds. */
export function isPartOfProduct(i: Instruction): boolean {
  const { anyImmediate } = traitsOf(i.form);
  return !anyImmediate || (i.immediate === 0 && i.immediateHigh === 0);
}

/**
 * Names the product of an instruction: two with the same name, and the same flags before them, have the same stencil. In two parts,
 * a small one and one below 2^20, which is negative where the instruction has no name.
 */
export function groupOf({ form, reg, rm }: Instruction): number {
  return form.id * 256 + (traitsOf(form).byNumber ? (reg & 15) * 16 + (rm & 15) : 0);
}
export function productOf(i: Instruction): number {
  const { form, base } = i;
  const known = traitsOf(form);
  if (known.long) return -1;
  const size = i.size === 8 ? 3 : i.size >> 1;
  let name = size | (i.lock ? 4 : 0);
  if (known.hasImmediate && isPartOfProduct(i)) name |= 8 | ((i.immediate & 0xff) << 4);
  if (known.hasOffset || i.isMemory) {
    // Through which segment it goes; where the address comes from does not matter.
    const stack = base === Register.RSP ? 1 : base === Register.RBP ? 2 : 0;
    const segment = i.segment === Segment.FS ? 1 : i.segment === Segment.GS ? 2 : 0;
    name |= (1 << 12) | (stack << 13) | (segment << 15) | ((i.segmentOverride < 0 ? 0 : 1) << 17);
  }
  // AH and its like.
  if (known.hasByte && i.rex === 0) name |= ((i.reg & 4) << 16) | ((i.rm & 4) << 17);
  return name;
}
