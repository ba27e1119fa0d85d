/**
 * LZMA2 (the chunk format inside XZ) and the LZMA decoder below it. Sources: the .xz file format, section 5.3.1, and the
 * LZMA specification that ships with the LZMA SDK (state machine, probability model, names of the decoders).
 *
 * The whole output is one array, so it is its own dictionary. `range` and `code` are kept as signed 32-bit integers and
 * compared unsigned: V8 stores such fields unboxed.
 */

import { CodecError } from './codec.ts';

const PROBABILITY_BITS = 11;
const PROBABILITY_HALF = 1 << (PROBABILITY_BITS - 1);
const MOVE_BITS = 5;
const STATES = 12;
const MAXIMUM_POSITION_STATES = 16;
const LITERAL_CODER_SIZE = 0x300;
const MINIMUM_MATCH = 2;

/** Offsets of each decoder's probabilities in one flat array. */
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * MAXIMUM_POSITION_STATES;
const IS_REP_G0 = IS_REP + STATES;
const IS_REP_G1 = IS_REP_G0 + STATES;
const IS_REP_G2 = IS_REP_G1 + STATES;
const IS_REP0_LONG = IS_REP_G2 + STATES;
const POSITION_SLOT = IS_REP0_LONG + STATES * MAXIMUM_POSITION_STATES;
const POSITION_SPECIAL = POSITION_SLOT + 4 * 64;
const POSITION_ALIGN = POSITION_SPECIAL + 128;
const LENGTH = POSITION_ALIGN + 16;
/** Inside a length decoder: two choice bits, 16 low trees, 16 middle trees, one high tree. */
const LENGTH_LOW = 2;
const LENGTH_MIDDLE = LENGTH_LOW + MAXIMUM_POSITION_STATES * 8;
const LENGTH_HIGH = LENGTH_MIDDLE + MAXIMUM_POSITION_STATES * 8;
const LENGTH_SIZE = LENGTH_HIGH + 256;
const REP_LENGTH = LENGTH + LENGTH_SIZE;
const LITERAL = REP_LENGTH + LENGTH_SIZE;
/** LZMA2 allows at most lc + lp = 4. */
const PROBABILITIES = LITERAL + (LITERAL_CODER_SIZE << 4);

/** Decodes LZMA2 chunks from `input` at `at` into `output`, which it must fill. Returns where the chunks end. */
export class Lzma2Decoder {
  readonly #input: Uint8Array;
  readonly #output: Uint8Array;
  readonly #probabilities = new Uint16Array(PROBABILITIES);
  #at = 0;
  #out = 0;
  #dictionaryStart = 0;
  #range = 0;
  #code = 0;
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  #lc = 0;
  #literalPositionMask = 0;
  #positionMask = 0;

  constructor(input: Uint8Array, output: Uint8Array) {
    this.#input = input;
    this.#output = output;
  }

  /** @returns where in the input the chunks end and where in the output their content ends. */
  decode(at: number, out: number): { readonly at: number; readonly out: number } {
    this.#at = at;
    this.#out = out;
    let needDictionary = true;
    let needProperties = true;
    let needState = true;
    for (;;) {
      const control = this.#byte();
      if (control === 0) return { at: this.#at, out: this.#out };
      if (control === 1 || control >= 0xe0) {
        this.#dictionaryStart = this.#out;
        needDictionary = false;
      } else if (needDictionary) throw new CodecError('XZ: the first LZMA2 chunk does not reset the dictionary');
      if (control < 0x80) {
        if (control > 2) throw new CodecError('XZ: bad LZMA2 chunk');
        this.#storedChunk();
        continue;
      }
      const size = (((control & 0x1f) << 16) | (this.#byte() << 8) | this.#byte()) + 1;
      const packed = ((this.#byte() << 8) | this.#byte()) + 1;
      if (control >= 0xc0) {
        this.#properties(this.#byte());
        needProperties = false;
      } else if (needProperties) throw new CodecError('XZ: an LZMA2 chunk lacks properties');
      if (control >= 0xa0) {
        this.#resetState();
        needState = false;
      } else if (needState) throw new CodecError('XZ: an LZMA2 chunk does not reset the state');
      if (size > this.#output.length - this.#out) throw new CodecError('XZ: more content than expected');
      if (packed > this.#input.length - this.#at) throw new CodecError('XZ: truncated');
      const end = this.#at + packed;
      this.#startRangeDecoder();
      this.#lzma(this.#out + size);
      if (this.#at !== end || this.#code !== 0) throw new CodecError('XZ: damaged LZMA2 chunk');
    }
  }

  #byte(): number {
    const byte = this.#input[this.#at++];
    if (byte === undefined) throw new CodecError('XZ: truncated');
    return byte;
  }

  #storedChunk(): void {
    const size = ((this.#byte() << 8) | this.#byte()) + 1;
    if (size > this.#input.length - this.#at) throw new CodecError('XZ: truncated');
    if (size > this.#output.length - this.#out) throw new CodecError('XZ: more content than expected');
    this.#output.set(this.#input.subarray(this.#at, this.#at + size), this.#out);
    this.#at += size;
    this.#out += size;
  }

  #properties(byte: number): void {
    const lc = byte % 9;
    const lp = Math.floor(byte / 9) % 5;
    const pb = Math.floor(byte / 45);
    if (pb > 4 || lc + lp > 4) throw new CodecError('XZ: bad LZMA2 properties');
    this.#lc = lc;
    this.#literalPositionMask = (1 << lp) - 1;
    this.#positionMask = (1 << pb) - 1;
  }

  #resetState(): void {
    this.#state = 0;
    this.#rep0 = 0;
    this.#rep1 = 0;
    this.#rep2 = 0;
    this.#rep3 = 0;
    this.#probabilities.fill(PROBABILITY_HALF);
  }

  #startRangeDecoder(): void {
    this.#range = -1;
    if (this.#byte() !== 0) throw new CodecError('XZ: damaged LZMA2 chunk');
    this.#code = (this.#byte() << 24) | (this.#byte() << 16) | (this.#byte() << 8) | this.#byte();
  }

  #bit(index: number): number {
    const probabilities = this.#probabilities;
    const probability = probabilities[index] as number;
    let range = this.#range;
    let code = this.#code;
    const bound = Math.imul(range >>> PROBABILITY_BITS, probability);
    let bit = 0;
    if (code >>> 0 < bound >>> 0) {
      range = bound;
      probabilities[index] = probability + (((1 << PROBABILITY_BITS) - probability) >>> MOVE_BITS);
    } else {
      range = (range - bound) | 0;
      code = (code - bound) | 0;
      probabilities[index] = probability - (probability >>> MOVE_BITS);
      bit = 1;
    }
    if (range >>> 24 === 0) {
      range <<= 8;
      // Past the end this reads as 0; the position check at the chunk's end finds it.
      code = (code << 8) | (this.#input[this.#at++] ?? 0);
    }
    this.#range = range;
    this.#code = code;
    return bit;
  }

  #tree(base: number, bits: number): number {
    let symbol = 1;
    for (let i = 0; i < bits; i++) symbol = (symbol << 1) | this.#bit(base + symbol);
    return symbol - (1 << bits);
  }

  #reverseTree(base: number, bits: number): number {
    let symbol = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const bit = this.#bit(base + symbol);
      symbol = (symbol << 1) | bit;
      value |= bit << i;
    }
    return value;
  }

  #directBits(bits: number): number {
    let value = 0;
    for (let i = 0; i < bits; i++) {
      this.#range >>>= 1;
      this.#range |= 0;
      const below = this.#code >>> 0 < this.#range >>> 0;
      if (!below) this.#code = (this.#code - this.#range) | 0;
      value = (value << 1) | (below ? 0 : 1);
      if (this.#range >>> 24 === 0) {
        this.#range <<= 8;
        this.#code = (this.#code << 8) | (this.#input[this.#at++] ?? 0);
      }
    }
    return value;
  }

  #length(base: number, positionState: number): number {
    if (this.#bit(base) === 0) return this.#tree(base + LENGTH_LOW + positionState * 8, 3);
    if (this.#bit(base + 1) === 0) return 8 + this.#tree(base + LENGTH_MIDDLE + positionState * 8, 3);
    return 16 + this.#tree(base + LENGTH_HIGH, 8);
  }

  #distance(length: number): number {
    const slot = this.#tree(POSITION_SLOT + Math.min(length, 3) * 64, 6);
    if (slot < 4) return slot;
    const bits = (slot >>> 1) - 1;
    const distance = (2 | (slot & 1)) << bits;
    if (slot < 14) return distance + this.#reverseTree(POSITION_SPECIAL + distance - slot, bits);
    return (distance + (this.#directBits(bits - 4) << 4) + this.#reverseTree(POSITION_ALIGN, 4)) >>> 0;
  }

  #literal(): void {
    const output = this.#output;
    const out = this.#out;
    const position = out - this.#dictionaryStart;
    const previous = position > 0 ? (output[out - 1] as number) : 0;
    const coder = ((position & this.#literalPositionMask) << this.#lc) + (previous >>> (8 - this.#lc));
    const base = LITERAL + LITERAL_CODER_SIZE * coder;
    let symbol = 1;
    if (this.#state >= 7) {
      // After a match the byte that the match would have continued with predicts this one.
      let match = this.#rep0 < position ? (output[out - this.#rep0 - 1] as number) : 0;
      while (symbol < 0x100) {
        const matchBit = (match >>> 7) & 1;
        match <<= 1;
        const bit = this.#bit(base + ((1 + matchBit) << 8) + symbol);
        symbol = (symbol << 1) | bit;
        if (bit !== matchBit) break;
      }
    }
    while (symbol < 0x100) symbol = (symbol << 1) | this.#bit(base + symbol);
    output[out] = symbol;
    this.#out = out + 1;
    this.#state = this.#state < 4 ? 0 : this.#state < 10 ? this.#state - 3 : this.#state - 6;
  }

  /** Decodes symbols until `end` bytes are in the output. A match never crosses a chunk's end. */
  #lzma(end: number): void {
    while (this.#out < end) {
      const state = this.#state;
      const positionState = (this.#out - this.#dictionaryStart) & this.#positionMask;
      if (this.#bit(IS_MATCH + state * MAXIMUM_POSITION_STATES + positionState) === 0) {
        this.#literal();
        continue;
      }
      let length: number;
      if (this.#bit(IS_REP + state) === 0) {
        this.#rep3 = this.#rep2;
        this.#rep2 = this.#rep1;
        this.#rep1 = this.#rep0;
        length = this.#length(LENGTH, positionState);
        this.#rep0 = this.#distance(length);
        this.#state = state < 7 ? 7 : 10;
      } else {
        if (this.#bit(IS_REP_G0 + state) === 1) this.#selectOlderDistance(state);
        else if (this.#bit(IS_REP0_LONG + state * MAXIMUM_POSITION_STATES + positionState) === 0) {
          this.#state = state < 7 ? 9 : 11;
          this.#copy(1, end);
          continue;
        }
        length = this.#length(REP_LENGTH, positionState);
        this.#state = state < 7 ? 8 : 11;
      }
      this.#copy(length + MINIMUM_MATCH, end);
    }
  }

  #copy(length: number, end: number): void {
    const output = this.#output;
    const out = this.#out;
    const distance = this.#rep0 + 1;
    if (distance > out - this.#dictionaryStart) throw new CodecError('XZ: a match reaches before the dictionary');
    if (length > end - out) throw new CodecError('XZ: a match runs past its chunk');
    for (let i = 0; i < length; i++) output[out + i] = output[out + i - distance] as number;
    this.#out = out + length;
  }

  /** Brings the second, third or fourth last distance to the front. */
  #selectOlderDistance(state: number): void {
    let distance = this.#rep1;
    if (this.#bit(IS_REP_G1 + state) === 1) {
      distance = this.#rep2;
      if (this.#bit(IS_REP_G2 + state) === 1) {
        distance = this.#rep3;
        this.#rep3 = this.#rep2;
      }
      this.#rep2 = this.#rep1;
    }
    this.#rep1 = this.#rep0;
    this.#rep0 = distance;
  }
}
