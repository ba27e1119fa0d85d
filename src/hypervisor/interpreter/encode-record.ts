/** Decoded instructions as the interpreter's records (record.ts). */
import type { Instruction } from '../x86/decoder.ts';
import type { Form, OperandForm } from '../x86/form.ts';

/** Register slots beyond the sixteen: VpState.zero and VpState.blockIp follow the registers. */
const ZERO_SLOT = 16 * 8;
const BLOCK_IP_SLOT = 17 * 8;
const STACK_MARK = 0x80;

/**
 * Writes the record of a decoded instruction.
 * @param record its address, @param ip the instruction's offset from the block's first byte.
 */
export function encodeRecord(words: Int32Array, record: number, ip: number, i: Instruction, handler: number): void {
  const { form, isMemory: memory } = i;
  const { isAbsolute, immediate } = shapeOf(form);
  const registers = operandFields(form, i);
  let base = registers.rm;
  let index = 0;
  if (memory) {
    base = i.base < 0 ? ZERO_SLOT : i.base === 16 ? BLOCK_IP_SLOT : i.base * 8;
    index = i.index < 0 ? ZERO_SLOT : i.index * 8;
  }
  const stack = i.long64 && i.segmentOverride < 0 && memory && (i.base === 4 || i.base === 5);
  let displacementLow = i.displacement;
  let displacementHigh = isAbsolute ? i.displacementHigh : i.displacement >> 31;
  if (i.base === 16 && memory) {
    // Relative to the next instruction, kept relative to the block.
    const sum = i.displacement + ip + i.length;
    displacementLow = sum | 0;
    displacementHigh = sum < 0 ? -1 : 0;
  }
  let immediateLow = i.immediate;
  let immediateHigh = i.immediateHigh;
  if (immediate?.kind === 'J') {
    const sum = i.immediate + ip + i.length;
    immediateLow = sum | 0;
    immediateHigh = sum < 0 ? -1 : 0;
  } else if (immediate?.kind === 'A') {
    immediateHigh = 0;
    if (i.size === 2) immediateLow &= 0xffff;
  } else if (immediate) {
    const bytes = immediate.width === 'b' ? 1 : immediate.width === 'w' ? 2 : i.size;
    if (bytes < 8) immediateHigh = 0;
    if (bytes === 2) immediateLow &= 0xffff;
    else if (bytes === 1) immediateLow &= 0xff;
  }
  const w = record >> 2;
  words[w] = handler | (ip << 16) | (i.length << 24);
  words[w + 1] = registers.reg | (base << 8) | (index << 16) | (i.scale << 24);
  words[w + 2] = i.immediate2;
  words[w + 3] = i.segment | ((i.addressSize | (stack ? STACK_MARK : 0)) << 8) | (form.id << 16);
  words[w + 4] = immediateLow;
  words[w + 5] = immediateHigh;
  words[w + 6] = displacementLow;
  words[w + 7] = displacementHigh;
}

/** What encoding asks of a form each time. */
interface Shape {
  /** An address is part of the instruction. */
  readonly isAbsolute: boolean;
  /** Its first operand that is one. */
  readonly immediate: OperandForm | undefined;
}
const shapes: (Shape | undefined)[] = [];
function shapeOf({ id, operands }: Form): Shape {
  let shape = shapes[id];
  if (!shape) {
    shape = {
      isAbsolute: operands.some((o) => o.kind === 'O'),
      immediate: operands.find((o) => o.kind === 'I' || o.kind === 'J' || o.kind === 'A'),
    };
    shapes[id] = shape;
  }
  return shape;
}

/** Byte offsets (or numbers) for the REG and RM fields. */
function operandFields(form: Form, i: Instruction): { reg: number; rm: number } {
  let reg = 0;
  let rm = 0;
  for (const o of form.operands) {
    switch (o.kind) {
      case 'G':
      case 'Z':
        reg = general(o, i.reg, i);
        break;
      case 'V':
        reg = i.reg * 16;
        break;
      case 'P':
        reg = (i.reg & 7) * 16;
        break;
      case 'S':
      case 'C':
      case 'D':
        reg = o.kind === 'S' ? i.reg & 7 : i.reg;
        break;
      case 'E':
      case 'R':
        rm = general(o, i.rm, i);
        break;
      case 'W':
      case 'U':
        rm = i.rm * 16;
        break;
      case 'Q':
      case 'N':
        rm = (i.rm & 7) * 16;
        break;
      case 'ST':
        rm = i.rm & 7;
        break;
      default:
    }
  }
  return { reg, rm };
}

/** Without a REX prefix, byte registers 4..7 are AH, CH, DH and BH. */
function general(o: OperandForm, register: number, i: Instruction): number {
  if (o.width === 'b' && i.rex === 0 && register >= 4 && register < 8) return (register - 4) * 8 + 1;
  return register * 8;
}
