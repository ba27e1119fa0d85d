/**
 * Instruction decoder: Intel SDM vol. 2, chapter 2 "Instruction Format" and appendix A. Table-driven: candidates for an
 * opcode come from the forms; everything about an instruction that does not depend on run-time values is found here.
 */
import { Mode, Segment } from '../vp/state.ts';
import type { Form } from './form.ts';

export type Decoding = 'ok' | 'truncated' | 'undefined' | 'tooLong';

/** A decoded instruction; one object is reused for every decoding. */
export class Instruction {
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
}

const PREFIX = new Map<number, 'size' | 'address' | 'lock' | 'repeat' | number>([
  [0x66, 'size'],
  [0x67, 'address'],
  [0xf0, 'lock'],
  [0xf2, 'repeat'],
  [0xf3, 'repeat'],
  [0x26, Segment.ES],
  [0x2e, Segment.CS],
  [0x36, Segment.SS],
  [0x3e, Segment.DS],
  [0x64, Segment.FS],
  [0x65, Segment.GS],
]);
/** Base and index registers of 16-bit addressing, SDM vol. 2 table 2-1. */
const BASE16 = [3, 3, 5, 5, 6, 7, 5, 3];
const INDEX16 = [6, 7, 6, 7, -1, -1, -1, -1];

export class Decoder {
  /** Candidates by map and opcode. */
  readonly #candidates: (readonly Form[])[][] = [];

  constructor(forms: readonly Form[]) {
    for (let map = 0; map < 4; map++) this.#candidates.push(Array.from({ length: 256 }, () => []));
    const add = (form: Form, opcode: number): void => {
      ((this.#candidates[form.map] as (readonly Form[])[])[opcode] as Form[]).push(form);
    };
    for (const form of forms) for (let r = 0; r < (form.opcodeRegister ? 8 : 1); r++) add(form, form.opcode + r);
    // Most specific first: exact ModRM bytes, then mandatory prefixes, then REX.W constraints.
    const weight = (f: Form): number =>
      (f.modrm ? (f.modrm[1] === 1 ? 16 : 8) : 0) +
      (f.prefix === 'any' ? 0 : f.prefix === 'none' || f.prefix === 'notRepeat' ? 1 : 4) +
      (f.w === undefined ? 0 : 2) +
      (f.clearB ? 1 : 0) +
      (f.options.mode === 'only64' ? 1 : 0);
    for (const map of this.#candidates) for (const list of map) (list as Form[]).sort((a, b) => weight(b) - weight(a));
  }

  /**
   * Decodes the instruction at `bytes[at]`; bytes at and after `end` are not there (`truncated`).
   * @param mode bits of `Mode`.
   */
  decode(bytes: Uint8Array, at: number, end: number, mode: number, into: Instruction): Decoding {
    const long64 = (mode & Mode.LONG64) !== 0;
    const code32 = (mode & Mode.CODE32) !== 0;
    const limit = Math.min(end, at + 15);
    // Fifteen bytes are too long already: whether a sixteenth could be fetched does not matter.
    const short = (): Decoding => (end >= at + 15 ? 'tooLong' : 'truncated');
    let p = at;
    let operandPrefix = false;
    let addressPrefix = false;
    into.lock = false;
    into.repeat = 0;
    into.segmentOverride = -1;
    into.rex = 0;
    into.long64 = long64;
    let byte: number;
    for (;;) {
      if (p >= limit) return short();
      byte = bytes[p++] as number;
      const prefix = PREFIX.get(byte);
      if (prefix === undefined) {
        if (!long64 || (byte & 0xf0) !== 0x40) break;
        into.rex = byte;
        continue;
      }
      into.rex = 0;
      if (prefix === 'size') operandPrefix = true;
      else if (prefix === 'address') addressPrefix = true;
      else if (prefix === 'lock') into.lock = true;
      else if (prefix === 'repeat') into.repeat = byte;
      else if (!long64 || prefix === Segment.FS || prefix === Segment.GS) into.segmentOverride = prefix;
    }
    const rex = into.rex;
    let map = 0;
    if (byte === 0x0f) {
      if (p >= limit) return short();
      byte = bytes[p++] as number;
      map = 1;
      if (byte === 0x38 || byte === 0x3a) {
        map = byte === 0x38 ? 2 : 3;
        if (p >= limit) return short();
        byte = bytes[p++] as number;
      }
    }
    const candidates = (this.#candidates[map] as (readonly Form[])[])[byte] as readonly Form[];
    if (candidates.length === 0) return 'undefined';
    let modrm = -1;
    let form: Form | undefined;
    for (const candidate of candidates) {
      if (candidate.options.mode === (long64 ? 'not64' : 'only64')) continue;
      if (candidate.prefix !== 'any') {
        if (candidate.prefix === 'F3' || candidate.prefix === 'F2') {
          if (into.repeat !== (candidate.prefix === 'F3' ? 0xf3 : 0xf2)) continue;
        } else if (candidate.prefix === 'notRepeat') {
          if (into.repeat !== 0) continue;
        } else if (into.repeat !== 0 || operandPrefix !== (candidate.prefix === '66')) continue;
      }
      if (candidate.clearB && (rex & 1) !== 0) continue;
      if (candidate.w !== undefined && candidate.w !== ((rex >> 3) & 1)) continue;
      if (candidate.hasModrm) {
        if (modrm < 0) {
          if (p >= limit) return short();
          modrm = bytes[p] as number;
        }
        if (candidate.modrm) {
          if (modrm < candidate.modrm[0] || modrm >= candidate.modrm[0] + candidate.modrm[1]) continue;
        } else {
          if (candidate.digit !== undefined && candidate.digit !== ((modrm >> 3) & 7)) continue;
          // MOV to and from control and debug registers ignore the mod field.
          const ignoresMod =
            candidate.rm === 'register' && candidate.operands.some((o) => o.kind === 'C' || o.kind === 'D');
          if (!ignoresMod && candidate.rm === 'memory' && modrm >= 0xc0) continue;
          if (!ignoresMod && candidate.rm === 'register' && modrm < 0xc0) continue;
        }
      }
      form = candidate;
      break;
    }
    if (!form) return 'undefined';
    into.form = form;
    const wide = (rex & 8) !== 0;
    const long = form.options.long;
    let size: number;
    if (long64 && long === 'force') size = 8;
    else if (wide) size = 8;
    else if (long64 && long === 'default') size = operandPrefix && form.prefix !== '66' ? 2 : 8;
    else size = operandPrefix !== !(long64 || code32) ? 2 : 4;
    if (long64 && form.prefix === '66' && size === 2) size = 4;
    if (form.prefix === '66' && !long64) size = 4;
    if (form.sizes.length === 1) size = form.sizes[0] as number;
    else if (!form.sizes.includes(size)) size = form.sizes.includes(4) ? 4 : (form.sizes[0] as number);
    into.size = size;
    into.addressSize = long64 ? (addressPrefix ? 2 : 3) : code32 !== addressPrefix ? 2 : 1;
    into.reg = form.opcodeRegister ? (byte & 7) | ((rex & 1) << 3) : 0;
    into.segment = into.segmentOverride >= 0 ? into.segmentOverride : long64 ? Segment.FLAT : Segment.DS;
    into.displacement = 0;
    into.displacementHigh = 0;
    into.base = -1;
    into.index = -1;
    into.scale = 0;
    into.modrm = 0xc0;
    if (form.hasModrm) {
      p++;
      into.modrm = modrm;
      into.reg = ((modrm >> 3) & 7) | ((rex & 4) << 1);
      into.rm = (modrm & 7) | ((rex & 1) << 3);
      if (modrm < 0xc0 && form.rm !== 'register') {
        p = this.#memory(bytes, p, limit, into);
        if (p < 0) return short();
      }
    }
    let immediates = 0;
    into.immediate = 0;
    into.immediateHigh = 0;
    into.immediate2 = 0;
    for (const o of form.operands) {
      if (o.kind === 'O') {
        const count = 1 << into.addressSize;
        if (p + count > limit) return short();
        into.displacement = little(bytes, p, Math.min(count, 4));
        into.displacementHigh = count === 8 ? little(bytes, p + 4, 4) : 0;
        p += count;
      } else if (o.kind === 'A') {
        const count = Math.min(size, 4);
        if (p + count + 2 > limit) return short();
        into.immediate = little(bytes, p, count);
        into.immediate2 = little(bytes, p + count, 2) & 0xffff;
        p += count + 2;
      } else if (o.kind === 'I' || o.kind === 'J') {
        const count = immediateBytes(o.width, size, long64 && o.kind === 'J' && form.options.long === 'force');
        if (p + count > limit) return short();
        const low = little(bytes, p, Math.min(count, 4));
        if (immediates++ === 0) {
          into.immediate = count === 1 ? (low << 24) >> 24 : count === 2 ? (low << 16) >> 16 : low;
          into.immediateHigh = count === 8 ? little(bytes, p + 4, 4) : into.immediate >> 31;
        } else into.immediate2 = low & (count === 1 ? 0xff : 0xffff);
        p += count;
      }
    }
    into.length = p - at;
    if (into.lock && !(form.options.lock && into.isMemory && form.operands[0]?.access === 'readwrite'))
      return 'undefined';
    return 'ok';
  }

  #memory(bytes: Uint8Array, at: number, limit: number, into: Instruction): number {
    let p = at;
    const mod = into.modrm >> 6;
    const rm = into.modrm & 7;
    let displacement = mod === 1 ? 1 : mod === 2 ? 4 : 0;
    let stack = false;
    if (into.addressSize === 1) {
      into.base = BASE16[rm] as number;
      into.index = INDEX16[rm] as number;
      stack = into.base === 5;
      if (mod === 0 && rm === 6) {
        into.base = -1;
        stack = false;
        displacement = 2;
      } else if (mod === 2) displacement = 2;
    } else if (rm === 4) {
      if (p >= limit) return -1;
      const sib = bytes[p++] as number;
      const index = ((sib >> 3) & 7) | ((into.rex & 2) << 2);
      into.index = index === 4 ? -1 : index;
      into.scale = sib >> 6;
      into.base = (sib & 7) | ((into.rex & 1) << 3);
      if ((sib & 7) === 5 && mod === 0) {
        into.base = -1;
        displacement = 4;
      }
      stack = into.base === 4 || into.base === 5;
    } else if (mod === 0 && rm === 5) {
      into.base = into.long64 ? 16 : -1;
      displacement = 4;
    } else {
      into.base = into.rm;
      stack = into.base === 4 || into.base === 5;
    }
    if (p + displacement > limit) return -1;
    if (displacement > 0) {
      const raw = little(bytes, p, displacement);
      into.displacement = displacement === 1 ? (raw << 24) >> 24 : displacement === 2 ? (raw << 16) >> 16 : raw;
    }
    if (stack && into.segmentOverride < 0 && !into.long64) into.segment = Segment.SS;
    return p + displacement;
  }
}

function little(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i++) value |= (bytes[at + i] as number) << (8 * i);
  return value | 0;
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
