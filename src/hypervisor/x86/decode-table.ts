/**
 * What decoding asks of the forms: numbers in one typed array, made once. Intel SDM vol. 2, chapter 2 "Instruction Format"
 * and appendix A.
 *
 * Constants of this file stand alone and are literals, because the build puts imported literals in their places: much code is
 * decoded before V8 has optimized the decoder, when each property of an object costs as much as a load from the table.
 */
import { Segment } from '../vp/state.ts';
import type { Form } from './form.ts';

/** What `parse` returns in place of a receiver's number. */
export const UNDEFINED = -1;
export const TRUNCATED = -2;
export const TOO_LONG = -3;

/** Numbers of a base or index register beyond the sixteen. */
export const NO_REGISTER = 16;
export const RIP = 17;

/**
 * The word of conditions, which selects a form among its opcode's candidates: the ModRM byte, and from bit 8 on whether
 * ModRM.rm names a register, REX.B, and the repeat prefix that counts, the last one.
 */
export const MODRM = 0xff;
export const REGISTER = 0x100;
export const REX_B = 0x200;
export const REPNE = 0x400;
export const REP = 0x800;
export const REPEATS = 0xc00;
/** What the operand size depends on: adjacent, and the mode's two bits in the order of `Mode`. */
export const REX_W = 0x1000;
export const OPERAND_SIZE = 0x2000;
export const LONG64 = 0x4000;
export const CODE32 = 0x8000;
export const SIZE_SHIFT = 12;
export const MODE_SHIFT = 14;
/** What selects no form: LOCK, the prefix for the address size, and the number of the segment prefix + 1. */
export const LOCK = 0x1_0000;
export const ADDRESS_SIZE = 0x2_0000;
export const SEGMENTS = 0x1c_0000;
export const SEGMENT_SHIFT = 18;
/** As a prefix only. */
export const REX = 0x100_0000;

/** `Mode.LONG64` and `Mode.CODE32`, and three of `Segment`. */
export const MODES = 3;
export const SS = 2 satisfies typeof Segment.SS;
export const DS = 3 satisfies typeof Segment.DS;
export const FLAT = 10 satisfies typeof Segment.FLAT;

/** Where in the table what is: prefixes by byte, as the bits that they set; the first candidate by map and opcode; the candidates. */
export const FIRST = 0x100;
const CANDIDATES = 0x500;
/** Words of a candidate, and what they are: the conditions that it looks at, and how they have to be. */
export const CANDIDATE = 8;
export const VALUE = 1;
export const TRAITS = 2;
export const FORM = 3;
/** log2 of the operand size, 2 bits each, by the four conditions from SIZE_SHIFT on. */
export const SIZES = 4;
/** Bytes of the first immediate, 4 bits each, by log2 of the operand size and 4 in 64-bit mode. */
export const COUNTS = 5;

/** Traits: there is a ModRM byte; its rm is no memory, whatever the mod field says; the opcode's low bits are a register. */
export const HAS_MODRM = 1;
export const NO_MEMORY = 2;
export const IN_OPCODE = 4;
/** No form: the end of a list of candidates. */
export const NONE = 8;
export const LOCKABLE = 16;
/** What stands behind: an immediate, the address of the operand, a far pointer; from bit 8 on the bytes of a second immediate. */
export const IMMEDIATE = 32;
export const ABSOLUTE = 64;
export const FAR = 128;
export const BEHIND = 224;
export const SECOND_SHIFT = 8;

/** ES, CS, SS and DS mean nothing in 64-bit mode; the other two are above. */
export const FS_PREFIX = 0x14_0000;

const PREFIXES: readonly (readonly [number, number])[] = [
  [0x66, OPERAND_SIZE],
  [0x67, ADDRESS_SIZE],
  [0xf0, LOCK],
  [0xf2, REPNE],
  [0xf3, REP],
  [0x26, (Segment.ES + 1) << SEGMENT_SHIFT],
  [0x2e, (Segment.CS + 1) << SEGMENT_SHIFT],
  [0x36, (Segment.SS + 1) << SEGMENT_SHIFT],
  [0x3e, (Segment.DS + 1) << SEGMENT_SHIFT],
  [0x64, FS_PREFIX],
  [0x65, (Segment.GS + 1) << SEGMENT_SHIFT],
];

/** The table of a decoder of these forms. */
export function decodeTable(forms: readonly Form[]): Int32Array {
  const byOpcode: Form[][] = [];
  for (const form of forms)
    for (let r = 0; r < (form.opcodeRegister ? 8 : 1); r++)
      (byOpcode[form.map * 256 + form.opcode + r] ??= []).push(form);
  const words: number[] = new Array<number>(CANDIDATES).fill(0);
  for (let byte = 0x40; byte < 0x50; byte++) words[byte] = REX;
  for (const [byte, bits] of PREFIXES) words[byte] = bits;
  // One that ends all empty lists, and one behind each of the others.
  const end = [0, 0, NONE, 0, 0, 0, 0, 0];
  words.push(...end);
  words.fill(CANDIDATES, FIRST, CANDIDATES);
  const candidates = new Map<Form, number[]>();
  byOpcode.forEach((list, opcode) => {
    words[FIRST + opcode] = words.length;
    if (list.length > 1) list.sort((a, b) => weight(b) - weight(a));
    for (const form of list) {
      const candidate = candidates.get(form) ?? candidateOf(form);
      candidates.set(form, candidate);
      words.push(...candidate);
    }
    words.push(...end);
  });
  return new Int32Array(words);
}

/** Of an opcode's candidates the most specific is first: exact ModRM bytes, then mandatory prefixes, then REX.W constraints. */
function weight(f: Form): number {
  return (
    (f.modrm ? (f.modrm[1] === 1 ? 16 : 8) : 0) +
    (f.prefix === 'any' ? 0 : f.prefix === 'none' || f.prefix === 'notRepeat' ? 1 : 4) +
    (f.w === undefined ? 0 : 2) +
    (f.clearB ? 1 : 0) +
    (f.options.mode === 'only64' ? 1 : 0)
  );
}

/** The words of a form's candidate. */
function candidateOf(form: Form): number[] {
  let mask = 0;
  let value = 0;
  const demand = (bits: number, wanted: number): void => {
    mask |= bits;
    value |= wanted;
  };
  const { mode } = form.options;
  if (mode !== undefined) demand(LONG64, mode === 'only64' ? LONG64 : 0);
  const { prefix } = form;
  if (prefix === 'F3') demand(REPEATS, REP);
  else if (prefix === 'F2') demand(REPEATS, REPNE);
  else if (prefix === 'notRepeat') demand(REPEATS, 0);
  else if (prefix !== 'any') demand(REPEATS | OPERAND_SIZE, prefix === '66' ? OPERAND_SIZE : 0);
  if (form.clearB) demand(REX_B, 0);
  if (form.w !== undefined) demand(REX_W, form.w === 1 ? REX_W : 0);
  if (form.modrm) demand(form.modrm[1] === 1 ? MODRM : 0xf8, form.modrm[0]);
  else if (form.hasModrm) {
    if (form.digit !== undefined) demand(0x38, form.digit << 3);
    // MOV to and from control and debug registers ignore the mod field.
    const ignoresMod = form.rm === 'register' && form.operands.some((o) => o.kind === 'C' || o.kind === 'D');
    if (form.rm !== 'any' && !ignoresMod) demand(REGISTER, form.rm === 'register' ? REGISTER : 0);
  }
  let traits = 0;
  if (form.hasModrm) traits |= HAS_MODRM;
  if (form.rm === 'register') traits |= NO_MEMORY;
  if (form.opcodeRegister) traits |= IN_OPCODE;
  if (form.options.lock && form.hasModrm && form.rm !== 'register' && form.operands[0]?.access === 'readwrite')
    traits |= LOCKABLE;
  const immediates = form.operands.filter((o) => o.kind === 'I' || o.kind === 'J');
  if (immediates.length > 0) traits |= IMMEDIATE;
  if (form.operands.some((o) => o.kind === 'O')) traits |= ABSOLUTE;
  if (form.operands.some((o) => o.kind === 'A')) traits |= FAR;
  const [first, second] = immediates;
  if (second) traits |= immediateBytes(second.width, 1, false) << SECOND_SHIFT;
  let counts = 0;
  if (first)
    for (let n = 0; n < 8; n++) {
      const forced = n >= 4 && first.kind === 'J' && form.options.long === 'force';
      counts |= immediateBytes(first.width, 1 << (n & 3), forced) << (n * 4);
    }
  return [mask, value, traits, form.id, sizesOf(form), counts, 0, 0];
}

/** log2 of a form's operand size under each of the conditions that it depends on. */
function sizesOf(form: Form): number {
  // The same two bits sixteen times.
  if (form.sizes.length === 1) return Math.imul(31 - Math.clz32(form.sizes[0] as number), 0x5555_5555);
  let sizes = 0;
  for (let n = 0; n < 16; n++) sizes |= (31 - Math.clz32(sizeOf(form, n << SIZE_SHIFT))) << (n * 2);
  return sizes;
}

function sizeOf({ options, prefix, sizes }: Form, conditions: number): number {
  const long64 = (conditions & LONG64) !== 0;
  const other = (conditions & OPERAND_SIZE) !== 0;
  let size: number;
  if (long64 && options.long === 'force') size = 8;
  else if ((conditions & REX_W) !== 0) size = 8;
  else if (long64 && options.long === 'default') size = other && prefix !== '66' ? 2 : 8;
  else size = other !== !(long64 || (conditions & CODE32) !== 0) ? 2 : 4;
  // A mandatory prefix says nothing of the size.
  if (prefix === '66' && (size === 2 || !long64)) size = 4;
  if (sizes.includes(size)) return size;
  return sizes.includes(4) ? 4 : (sizes[0] as number);
}

function immediateBytes(width: string, size: number, forced: boolean): number {
  switch (width) {
    case 'b':
    case 'bs':
      return 1;
    case 'w':
      return 2;
    case 'd':
      return 4;
    case 'v':
      return size;
    case 'z':
      return forced ? 4 : Math.min(size, 4);
    default:
      throw new Error(`immediate width ${width}`);
  }
}
