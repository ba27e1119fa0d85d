/**
 * What a stencil leaves out of an instruction: registers by their place in the encoding, and the numbers that a translation of it
 * contains. Everything else that an instruction's translation depends on is part of its product's name.
 */
import { Segment } from '../vp/state.ts';
import type { Instruction } from '../x86/decoder.ts';
import type { Form } from '../x86/form.ts';

/** Registers by their place in the instruction; below 16 it is a register by its number. */
export const Role = { REG: 16, RM: 17, BASE: 18, INDEX: 19, REG_HIGH: 20, RM_HIGH: 21 } as const;

/** The register's number. @param role one of Role, or a number itself */
export function registerOf(role: number, i: Instruction): number {
  switch (role) {
    case Role.REG:
      return i.reg;
    case Role.RM:
      return i.rm;
    case Role.BASE:
      return i.base;
    case Role.INDEX:
      return i.index;
    case Role.REG_HIGH:
      return i.reg - 4;
    case Role.RM_HIGH:
      return i.rm - 4;
    default:
      return role;
  }
}

/** Constants. Places in the code are offsets from the page's beginning. */
export const Numbers = {
  /** What the interpreter is to do where control leaves, i32. */
  UNDONE: 0,
  /** Of the instruction, the next one, and a relative branch's target. */
  AT: 1,
  NEXT: 2,
  TARGET: 3,
  /** A memory operand relative to RIP. */
  RELATIVE: 4,
  DISPLACEMENT: 5,
  /** A memory operand without ModRM. */
  OFFSET: 6,
  /** Immediates of 1, 2, 4 and 8 bytes. */
  IMMEDIATE1: 7,
  IMMEDIATE2: 8,
  IMMEDIATE4: 9,
  IMMEDIATE8: 10,
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
    case Numbers.RELATIVE:
      return at + i.length + i.displacement;
    case Numbers.DISPLACEMENT:
      return i.displacement;
    case Numbers.OFFSET:
      return (BigInt(i.displacementHigh) << 32n) | BigInt(i.displacement >>> 0);
    default:
      return immediateOf(i, 2 ** (which - Numbers.IMMEDIATE1));
  }
}

/** A constant count decides whether a shift sets flags, others' say what is shuffled. These do the same with any. */
const ANY_IMMEDIATE = new Set('ADD ADC SUB SBB CMP AND OR XOR TEST MOV IMUL PUSH RET BT BTS BTR BTC'.split(' '));
/** Operands that are not general or XMM registers: their numbers are places in VpState. */
const BY_NUMBER = new Set(['S', 'C', 'D', 'P', 'Q', 'N', 'ST']);

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
 * a small one and one below 2^25, which is negative where the instruction has no name.
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
    const kind = base < 0 ? 0 : base === 16 ? 1 : base === 4 ? 2 : base === 5 ? 3 : 4;
    const segment = i.segment === Segment.FS ? 1 : i.segment === Segment.GS ? 2 : 0;
    name |= (1 << 12) | (kind << 13) | ((i.index < 0 ? 0 : i.scale + 1) << 16) | ((i.displacement ? 1 : 0) << 19);
    name |= (segment << 20) | ((i.segmentOverride < 0 ? 0 : 1) << 22);
  }
  // AH and its like.
  if (known.hasByte && i.rex === 0) name |= ((i.reg & 4) << 21) | ((i.rm & 4) << 22);
  return name;
}
