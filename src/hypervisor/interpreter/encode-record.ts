/** Decoded instructions as the interpreter's records (record.ts). */
import { LOCK, LONG64, REPEATS, REPNE, RIP, SEGMENTS } from '../x86/decode-table.ts';
import type { Receiver } from '../x86/decoder.ts';
import type { DecodingTables } from './module.ts';
import {
  ABSOLUTE,
  ENDING,
  FLAT,
  FLAVORED,
  FORMS,
  IMMEDIATE_SHIFT,
  IMPLICIT_LOCK,
  LOCKED,
  MAY_BE_MEMORY,
  MEMORY,
  MEMORY_FLAT,
  NO_IMMEDIATE,
  ONE_BYTE,
  RELATIVE,
  REPEATED,
  RM_SHIFT,
  SIZED,
  TWO_BYTES,
  TWO_REPEATS,
  VARIATION_BITS,
  WAY,
  WAY_SHIFT,
  WHILE_EQUAL,
  WHILE_UNEQUAL,
  WITH_REX,
} from './record-table.ts';

const STACK_MARK = 0x80;

/** What RecordWriter returns: the length, and whether the block ends. */
export const LENGTH = 0xff;
export const ENDS = 0x100;

/** Writes the record of each instruction that it receives at `record`, for a block in which it stands at the offset `ip`. */
export class RecordWriter implements Receiver {
  record = 0;
  ip = 0;
  readonly words: Int32Array;
  readonly table: Int32Array;
  readonly numbers: Uint16Array;

  constructor(words: Int32Array, tables: DecodingTables) {
    this.words = words;
    this.numbers = tables.numbers;
    this.table = tables.records;
  }

  receive(
    form: number,
    length: number,
    size: number,
    conditions: number,
    rex: number,
    addressSize: number,
    modrm: number,
    reg: number,
    rm: number,
    base: number,
    index: number,
    scale: number,
    segment: number,
    displacement: number,
    displacementHigh: number,
    immediate: number,
    immediateHigh: number,
    immediate2: number,
  ): number {
    const t = this.table;
    const ip = this.ip;
    const traits = t[FORMS + form] as number;
    const register = rex === 0 ? reg : reg | WITH_REX;
    // The registers' fields, from bit 0 as from byte Field.REG.
    let fields = t[((traits & WAY) << WAY_SHIFT) + register] as number;
    let variation = size;
    let address = addressSize;
    let high = displacement >> 31;
    if (modrm < 0xc0 && (traits & MAY_BE_MEMORY) !== 0) {
      variation |= addressSize === 3 ? MEMORY_FLAT : MEMORY;
      fields |= (base << 11) | (index << 19) | (scale << 24);
      if (base === RIP) {
        // Relative to the next instruction, kept relative to the block.
        const sum = displacement + ip + length;
        displacement = sum | 0;
        high = sum < 0 ? -1 : 0;
      } else if ((base === 4 || base === 5) && (conditions & LONG64) !== 0 && (conditions & SEGMENTS) === 0)
        address |= STACK_MARK;
      if ((conditions & LOCK) !== 0 || (traits & IMPLICIT_LOCK) !== 0) variation |= LOCKED;
    } else {
      const other = rex === 0 ? rm : rm | WITH_REX;
      fields |= (t[(((traits >> RM_SHIFT) & WAY) << WAY_SHIFT) + other] as number) << 8;
      if (addressSize === 3 && (traits & FLAVORED) !== 0) variation |= FLAT;
      if ((traits & ABSOLUTE) !== 0) high = displacementHigh;
    }
    if ((conditions & REPEATS) !== 0 && (traits & REPEATED) !== 0)
      variation |= (conditions & REPNE) !== 0 && (traits & TWO_REPEATS) !== 0 ? WHILE_UNEQUAL : WHILE_EQUAL;
    const way = (traits >> IMMEDIATE_SHIFT) & WAY;
    if (way !== NO_IMMEDIATE) {
      if (way === RELATIVE) {
        const sum = immediate + ip + length;
        immediate = sum | 0;
        immediateHigh = sum < 0 ? -1 : 0;
      } else {
        // Zero-extended from the operand's width.
        if (way !== SIZED || size !== 3) immediateHigh = 0;
        if (way === ONE_BYTE) immediate &= 0xff;
        else if (way === TWO_BYTES || size === 1) immediate &= 0xffff;
      }
    }
    const handler = this.numbers[(form << VARIATION_BITS) | variation] as number;
    if (handler === 0) throw new Error(`no handler for form ${form}, variation ${variation}`);
    const words = this.words;
    const w = this.record >> 2;
    words[w] = handler | (ip << 16) | (length << 24);
    words[w + 1] = fields;
    words[w + 2] = immediate2;
    words[w + 3] = segment | (address << 8) | (form << 16);
    words[w + 4] = immediate;
    words[w + 5] = immediateHigh;
    words[w + 6] = displacement;
    words[w + 7] = high;
    return (traits & ENDING) === 0 ? length : length | ENDS;
  }
}
