/**
 * What writing records asks of the forms: numbers in one typed array, made once. The constants are literals, for the reason
 * that x86/decode-table.ts has.
 */
import type { Form, OperandForm } from '../x86/form.ts';

/** Where in the table what is: fields by way, presence of REX and register; then a word of traits for each form. */
export const WAY_SHIFT = 5;
export const WITH_REX = 16;
export const FORMS = 224;

/** A product within its form, for which there is a handler: log2 of the operand size, and these. */
export const VARIATION_BITS = 7;
export const MEMORY = 4;
/** 64-bit mode with 64-bit addresses, where that makes a difference. */
export const FLAT = 8;
export const MEMORY_FLAT = 12;
export const LOCKED = 16;
export const WHILE_EQUAL = 32;
export const WHILE_UNEQUAL = 64;

/** Traits: the ways of REG and RM, the immediate's, and single bits. */
export const WAY = 7;
export const RM_SHIFT = 3;
export const IMMEDIATE_SHIFT = 6;
/** The ModRM byte may name memory. */
export const MAY_BE_MEMORY = 0x200;
export const FLAVORED = 0x400;
export const IMPLICIT_LOCK = 0x800;
/** Takes REP; and REPNE is another product. */
export const REPEATED = 0x1000;
export const TWO_REPEATS = 0x2000;
/** Ends a block. */
export const ENDING = 0x4000;
/** The operand's address is part of the instruction. */
export const ABSOLUTE = 0x8000;

/** Ways of the immediate: a displacement from the next instruction, or of how many bytes. */
export const NO_IMMEDIATE = 0;
export const RELATIVE = 1;
export const ONE_BYTE = 2;
export const TWO_BYTES = 3;
export const SIZED = 4;

/** How a register number becomes a field: VpState.zero and VpState.blockIp follow the sixteen registers. */
const FIELDS: readonly ((register: number, rex: boolean) => number)[] = [
  () => 0,
  (register) => register * 8,
  // Without a REX prefix, byte registers 4..7 are AH, CH, DH and BH.
  (register, rex) => (!rex && register >= 4 && register < 8 ? (register - 4) * 8 + 1 : register * 8),
  (register) => register * 16,
  (register) => (register & 7) * 16,
  (register) => register & 7,
  (register) => register,
];
const NONE = 0;
const GENERAL = 1;
const BYTE = 2;
const XMM = 3;
const MMX = 4;
const LOW = 5;
const PLAIN = 6;
/** By kind of operand: in REG, and in RM. */
const REG: Partial<Record<OperandForm['kind'], number>> = {
  G: GENERAL,
  Z: GENERAL,
  V: XMM,
  P: MMX,
  S: LOW,
  C: PLAIN,
  D: PLAIN,
};
const RM: Partial<Record<OperandForm['kind'], number>> = {
  E: GENERAL,
  R: GENERAL,
  W: XMM,
  U: XMM,
  Q: MMX,
  N: MMX,
  ST: LOW,
};

/** The table for these forms. */
export function recordTable(forms: readonly Form[]): Int32Array {
  const table = new Int32Array(FORMS + forms.length);
  FIELDS.forEach((field, way) => {
    for (let n = 0; n < 1 << WAY_SHIFT; n++) table[(way << WAY_SHIFT) + n] = field(n & 15, n >= WITH_REX);
  });
  for (const form of forms) table[FORMS + form.id] = traitsOf(form);
  return table;
}

function traitsOf(form: Form): number {
  const { operands, options } = form;
  let reg = NONE;
  let rm = NONE;
  for (const { kind, width } of operands) {
    const inReg = REG[kind] ?? NONE;
    const inRm = RM[kind] ?? NONE;
    if (inReg !== NONE) reg = inReg === GENERAL && width === 'b' ? BYTE : inReg;
    if (inRm !== NONE) rm = inRm === GENERAL && width === 'b' ? BYTE : inRm;
  }
  let traits = reg | (rm << RM_SHIFT) | (immediateOf(form) << IMMEDIATE_SHIFT);
  if (form.hasModrm && form.rm !== 'register') traits |= MAY_BE_MEMORY;
  if (form.flavored) traits |= FLAVORED;
  if (options.implicitLock) traits |= IMPLICIT_LOCK;
  if (options.repeat) traits |= REPEATED;
  if (options.repeat === 'repz') traits |= TWO_REPEATS;
  if (options.ends) traits |= ENDING;
  if (operands.some((o) => o.kind === 'O')) traits |= ABSOLUTE;
  return traits;
}

function immediateOf({ operands }: Form): number {
  const first = operands.find((o) => o.kind === 'I' || o.kind === 'J' || o.kind === 'A');
  if (!first) return NO_IMMEDIATE;
  if (first.kind === 'J') return RELATIVE;
  if (first.width === 'b') return ONE_BYTE;
  if (first.width === 'w') return TWO_BYTES;
  return SIZED;
}
