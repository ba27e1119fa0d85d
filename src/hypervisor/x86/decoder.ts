/**
 * Instruction decoder: Intel SDM vol. 2, chapter 2 "Instruction Format" and appendix A. Table-driven: candidates for an
 * opcode come from the forms; everything about an instruction that does not depend on run-time values is found here.
 *
 * New code is decoded by whichever tier V8 has reached by then, and much of it before there is optimized code. So what
 * decoding asks of a form is numbers in one typed array, made once, and `parse` is one function on local variables: it
 * touches no object, and hands what it found to a receiver in one call.
 */
import { Segment } from '../vp/state.ts';
import {
  ABSOLUTE,
  ADDRESS_SIZE,
  BEHIND,
  CANDIDATE,
  CODE32,
  COUNTS,
  DS,
  decodeTable,
  FIRST,
  FLAT,
  FORM,
  FS_PREFIX,
  HAS_MODRM,
  IMMEDIATE,
  IN_OPCODE,
  LOCK,
  LOCKABLE,
  LONG64,
  MODE_SHIFT,
  MODES,
  MODRM,
  NO_MEMORY,
  NO_REGISTER,
  NONE,
  REGISTER,
  REP,
  REPEATS,
  REX,
  RIP,
  SECOND_SHIFT,
  SEGMENT_SHIFT,
  SEGMENTS,
  SIZE_SHIFT,
  SIZES,
  SS,
  TOO_LONG,
  TRAITS,
  TRUNCATED,
  UNDEFINED,
  VALUE,
} from './decode-table.ts';
import type { Form } from './form.ts';

export type Decoding = 'ok' | 'truncated' | 'undefined' | 'tooLong';

/** By what `parse` returns, from -1 down. */
const OUTCOMES: readonly Decoding[] = ['undefined', 'truncated', 'tooLong'];

/** Takes decoded instructions. */
export interface Receiver {
  /**
   * @param form its id. @param size log2 of the operand size in bytes, as `addressSize` is of the address size.
   * @param conditions the word of conditions (decode-table.ts). @param modrm 0xC0 without a ModRM byte.
   * @param reg @param rm register numbers with REX applied.
   * @param base @param index registers of the memory operand: NO_REGISTER, RIP. @param segment of the memory operand.
   * @param displacementHigh upper half of the address that is part of the instruction.
   * @param immediate sign-extended from its encoded width to `immediateHigh`.
   * @returns what `parse` returns, not negative.
   */
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
  ): number;
}

/** A decoded instruction; one object is reused for every decoding. */
export class Instruction implements Receiver {
  form!: Form;
  length = 0;
  /** Operand size in bytes. */
  size = 4;
  /** log2 of the address size in bytes. */
  addressSize = 3;
  rex = 0;
  lock = false;
  /** 0 none, 0xF2, 0xF3. */
  repeat = 0;
  /** Segment override, or -1. */
  segmentOverride = -1;
  modrm = 0;
  /** Register numbers with REX applied. */
  reg = 0;
  rm = 0;
  /** Memory operand: register numbers, -1 for none; base 16 is RIP. */
  base = -1;
  index = -1;
  scale = 0;
  displacement = 0;
  /** moffs of an O operand, upper half. */
  displacementHigh = 0;
  /** Segment of the memory operand. */
  segment: number = Segment.DS;
  /** Immediates as low and high 32-bit halves, sign-extended from their encoded width. */
  immediate = 0;
  immediateHigh = 0;
  immediate2 = 0;
  long64 = false;

  get isMemory(): boolean {
    return this.form.hasModrm && this.form.rm !== 'register' && this.modrm >> 6 !== 3;
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
    this.length = length;
    this.size = 1 << size;
    this.addressSize = addressSize;
    this.rex = rex;
    this.lock = (conditions & LOCK) !== 0;
    this.repeat = (conditions & REPEATS) === 0 ? 0 : (conditions & REP) !== 0 ? 0xf3 : 0xf2;
    this.segmentOverride = ((conditions & SEGMENTS) >> SEGMENT_SHIFT) - 1;
    this.modrm = modrm;
    this.reg = reg;
    this.rm = rm;
    this.base = base === NO_REGISTER ? -1 : base === RIP ? 16 : base;
    this.index = index === NO_REGISTER ? -1 : index;
    this.scale = scale;
    this.segment = segment;
    this.displacement = displacement;
    this.displacementHigh = displacementHigh;
    this.immediate = immediate;
    this.immediateHigh = immediateHigh;
    this.immediate2 = immediate2;
    this.long64 = (conditions & LONG64) !== 0;
    return form;
  }
}

/** Base and index registers of 16-bit addressing, SDM vol. 2 table 2-1: a byte for each value of ModRM.rm. */
const BASE16 = [3, 3, 5, 5, 6, 7, 5, 3];
const INDEX16 = [6, 7, 6, 7, NO_REGISTER, NO_REGISTER, NO_REGISTER, NO_REGISTER];

/** Decodes by a table alone, which knows forms by their numbers. */
export class Parser {
  readonly #table: Int32Array;

  /** @param table see decodeTable() */
  constructor(table: Int32Array) {
    this.#table = table;
  }

  /**
   * Decodes the instruction at `bytes[at]`; bytes at and after `end` are not there.
   * @param mode bits of `Mode`.
   * @returns what the receiver returned, or UNDEFINED, TRUNCATED or TOO_LONG.
   */
  parse(bytes: Uint8Array, at: number, end: number, mode: number, receiver: Receiver): number {
    const t = this.#table;
    let limit = at + 15;
    // Fifteen bytes are too long already: whether a sixteenth could be fetched does not matter.
    let short = TOO_LONG;
    if (end < limit) {
      limit = end;
      short = TRUNCATED;
    }
    let conditions = (mode & MODES) << MODE_SHIFT;
    const long64 = conditions & LONG64;
    let p = at;
    let rex = 0;
    let byte = 0;
    for (;;) {
      if (p >= limit) return short;
      byte = bytes[p++] as number;
      const prefix = t[byte] as number;
      if (prefix === 0) break;
      if (prefix === REX) {
        if (long64 === 0) break;
        rex = byte;
        continue;
      }
      rex = 0;
      if ((prefix & SEGMENTS) !== 0) {
        // 64-bit mode ignores the other four.
        if (long64 === 0 || prefix >= FS_PREFIX) conditions = (conditions & ~SEGMENTS) | prefix;
      } else if ((prefix & REPEATS) !== 0) conditions = (conditions & ~REPEATS) | prefix;
      else conditions |= prefix;
    }
    let opcode = byte;
    if (byte === 0x0f) {
      if (p >= limit) return short;
      byte = bytes[p++] as number;
      opcode = byte + 0x100;
      if (byte === 0x38 || byte === 0x3a) {
        opcode = byte === 0x38 ? 0x200 : 0x300;
        if (p >= limit) return short;
        byte = bytes[p++] as number;
        opcode += byte;
      }
    }
    if (rex !== 0) conditions |= ((rex & 8) << 9) | ((rex & 1) << 9);
    let modrm = 0xc0;
    let candidate = t[FIRST + opcode] as number;
    if (p < limit) {
      modrm = bytes[p] as number;
      conditions |= modrm;
      if (modrm >= 0xc0) conditions |= REGISTER;
      while ((conditions & (t[candidate] as number)) !== t[candidate + VALUE]) candidate += CANDIDATE;
    } else {
      // The first one that everything else agrees with is what a ModRM byte is missing to, if it takes one.
      const seen = ~(MODRM | REGISTER);
      while ((conditions & (t[candidate] as number) & seen) !== ((t[candidate + VALUE] as number) & seen))
        candidate += CANDIDATE;
    }
    const traits = t[candidate + TRAITS] as number;
    if ((traits & NONE) !== 0) return UNDEFINED;
    const size = ((t[candidate + SIZES] as number) >>> (((conditions >> SIZE_SHIFT) & 15) << 1)) & 3;
    let addressSize = 3;
    if (long64 !== 0) {
      if ((conditions & ADDRESS_SIZE) !== 0) addressSize = 2;
    } else addressSize = ((conditions & CODE32) !== 0) === ((conditions & ADDRESS_SIZE) !== 0) ? 1 : 2;
    const override = conditions & SEGMENTS;
    let segment: number = FLAT;
    if (override !== 0) segment = (override >> SEGMENT_SHIFT) - 1;
    else if (long64 === 0) segment = DS;
    let reg = 0;
    let rm = 0;
    let base = NO_REGISTER;
    let index = NO_REGISTER;
    let scale = 0;
    let displacement = 0;
    if ((traits & HAS_MODRM) !== 0) {
      if (p >= limit) return short;
      p++;
      reg = ((modrm >> 3) & 7) | ((rex & 4) << 1);
      rm = (modrm & 7) | ((rex & 1) << 3);
      if (modrm < 0xc0 && (traits & NO_MEMORY) === 0) {
        // Bytes of displacement.
        let count = 0;
        if (modrm >= 0x80) count = 4;
        else if (modrm >= 0x40) count = 1;
        if (addressSize !== 1) {
          base = rm;
          if ((modrm & 7) === 4) {
            if (p >= limit) return short;
            const sib = bytes[p++] as number;
            index = ((sib >> 3) & 7) | ((rex & 2) << 2);
            if (index === 4) index = NO_REGISTER;
            scale = sib >> 6;
            base = (sib & 7) | ((rex & 1) << 3);
            if ((sib & 7) === 5 && modrm < 0x40) {
              base = NO_REGISTER;
              count = 4;
            }
          } else if ((modrm & 0xc7) === 5) {
            base = long64 !== 0 ? RIP : NO_REGISTER;
            count = 4;
          }
        } else {
          base = BASE16[modrm & 7] as number;
          index = INDEX16[modrm & 7] as number;
          if ((modrm & 0xc7) === 6) {
            base = NO_REGISTER;
            count = 2;
          } else if (count === 4) count = 2;
        }
        // Addressing by the stack or frame pointer.
        if (segment === DS && override === 0 && (base === 4 || base === 5)) segment = SS;
        if (count !== 0) {
          if (p + count > limit) return short;
          if (count === 1) displacement = ((bytes[p] as number) << 24) >> 24;
          else if (count === 4) displacement = word(bytes, p);
          else displacement = (half(bytes, p) << 16) >> 16;
          p += count;
        }
      }
    } else {
      modrm = 0xc0;
      if ((traits & IN_OPCODE) !== 0) reg = (byte & 7) | ((rex & 1) << 3);
    }
    let displacementHigh = 0;
    let immediate = 0;
    let immediateHigh = 0;
    let immediate2 = 0;
    if ((traits & BEHIND) !== 0) {
      if ((traits & IMMEDIATE) !== 0) {
        const count = ((t[candidate + COUNTS] as number) >>> ((size + (long64 !== 0 ? 4 : 0)) << 2)) & 15;
        if (p + count > limit) return short;
        if (count === 1) immediate = ((bytes[p] as number) << 24) >> 24;
        else if (count === 2) immediate = (half(bytes, p) << 16) >> 16;
        else immediate = word(bytes, p);
        immediateHigh = count === 8 ? word(bytes, p + 4) : immediate >> 31;
        p += count;
        const second = traits >> SECOND_SHIFT;
        if (second !== 0) {
          if (p + second > limit) return short;
          immediate2 = second === 1 ? (bytes[p] as number) : half(bytes, p);
          p += second;
        }
      } else {
        const address = (traits & ABSOLUTE) !== 0;
        const count = address ? 1 << addressSize : size === 1 ? 2 : 4;
        if (p + count + (address ? 0 : 2) > limit) return short;
        const low = count === 2 ? half(bytes, p) : word(bytes, p);
        if (address) {
          displacement = low;
          if (count === 8) displacementHigh = word(bytes, p + 4);
          p += count;
        } else {
          immediate = low;
          immediate2 = half(bytes, p + count);
          p += count + 2;
        }
      }
    }
    if ((conditions & LOCK) !== 0 && ((traits & LOCKABLE) === 0 || modrm >= 0xc0)) return UNDEFINED;
    return receiver.receive(
      t[candidate + FORM] as number,
      p - at,
      size,
      conditions,
      rex,
      addressSize,
      modrm,
      reg,
      rm,
      base,
      index,
      scale,
      segment,
      displacement,
      displacementHigh,
      immediate,
      immediateHigh,
      immediate2,
    );
  }
}

export class Decoder extends Parser {
  /** By id. */
  readonly #forms: Form[] = [];

  constructor(forms: readonly Form[]) {
    super(decodeTable(forms));
    for (const form of forms) this.#forms[form.id] = form;
  }

  /**
   * Decodes the instruction at `bytes[at]`; bytes at and after `end` are not there (`truncated`).
   * @param mode bits of `Mode`.
   */
  decode(bytes: Uint8Array, at: number, end: number, mode: number, into: Instruction): Decoding {
    const form = this.parse(bytes, at, end, mode, into);
    if (form < 0) return OUTCOMES[~form] as Decoding;
    into.form = this.#forms[form] as Form;
    return 'ok';
  }
}

function half(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}
