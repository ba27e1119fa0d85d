/**
 * Shuffles, blends, insertions and extractions on XMM and MMX registers: SSE to SSE4.1 in Intel SDM vol. 2. Where an
 * immediate is known while building, a shuffle is one WebAssembly shuffle; otherwise its byte numbers are computed.
 */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { Semantics } from '../semantics.ts';
import {
  enterMmx,
  fromLow,
  known,
  laneBytes,
  low64,
  readXmm0,
  requireMmx,
  requireSse,
  shuffle,
  splat32,
  zeroVector,
} from './sse-common.ts';
import { onXmm } from './sse-integer.ts';

/** An 8-bit immediate as i32. */
function immediate(s: Semantics, n: number): Value {
  return s.read(n).wrap().and(0xff);
}

/** Four 32-bit lanes, each chosen by two bits of the immediate: the byte numbers for a swizzle. */
function numbersOf32(f: FunctionBuilder, order: Value): Value {
  let numbers = zeroVector(f);
  for (let i = 0; i < 4; i++) {
    const bytes = order
      .shrU(2 * i)
      .and(3)
      .mul(0x04040404)
      .add(0x03020100);
    numbers = f.lane('i32x4.replace_lane', [i], numbers, bytes);
  }
  return numbers;
}
/** Four 16-bit lanes in the low or high half; the other half stays. */
function numbersOf16(f: FunctionBuilder, order: Value, high: boolean): Value {
  let numbers = f.v128(
    laneBytes(
      1,
      Array.from({ length: 16 }, (_, i) => i),
    ),
  );
  const first = high ? 4 : 0;
  for (let i = 0; i < 4; i++) {
    const bytes = order
      .shrU(2 * i)
      .and(3)
      .add(first)
      .mul(0x0202)
      .add(0x0100);
    numbers = f.lane('i16x8.replace_lane', [first + i], numbers, bytes);
  }
  return numbers;
}
const field = (order: number, i: number): number => (order >> (2 * i)) & 3;

function shuffleDwords(f: FunctionBuilder, v: Value, order: Value): Value {
  const constant = known(order);
  if (constant !== undefined)
    return shuffle(
      f,
      laneBytes(
        4,
        [0, 1, 2, 3].map((i) => field(constant, i)),
      ),
      v,
      v,
    );
  return f.op('i8x16.swizzle', v, numbersOf32(f, order));
}
function shuffleWords(f: FunctionBuilder, v: Value, order: Value, high: boolean): Value {
  const constant = known(order);
  if (constant === undefined) return f.op('i8x16.swizzle', v, numbersOf16(f, order, high));
  const first = high ? 4 : 0;
  const lanes = Array.from({ length: 8 }, (_, i) => (i >> 2 === first >> 2 ? first + field(constant, i & 3) : i));
  return shuffle(f, laneBytes(2, lanes), v, v);
}

function packedShuffle(operation: (f: FunctionBuilder, v: Value, order: Value) => Value): SemanticFunction {
  return (s) => {
    requireSse(s);
    s.writeV(0, operation(s.f, s.readV(1), immediate(s, 2)));
  };
}

const mmxShuffle: SemanticFunction = (s) => {
  requireMmx(s);
  const source = s.readM(1);
  enterMmx(s);
  s.writeM(0, low64(s.f, shuffleWords(s.f, fromLow(s.f, source), immediate(s, 2), false)));
};

/** SHUFPS: two lanes of the destination, then two of the source. */
const shuffleSingles: SemanticFunction = (s) => {
  requireSse(s);
  const { f } = s;
  const order = immediate(s, 2);
  const b = s.readV(1);
  const a = s.readV(0);
  const constant = known(order);
  if (constant !== undefined) {
    const lanes = [0, 1, 2, 3].map((i) => field(constant, i) + (i < 2 ? 0 : 4));
    s.writeV(0, shuffle(f, laneBytes(4, lanes), a, b));
    return;
  }
  const numbers = numbersOf32(f, order);
  const low = f.op('i8x16.swizzle', a, numbers);
  const high = f.op('i8x16.swizzle', b, numbers);
  s.writeV(0, shuffle(f, laneBytes(8, [0, 3]), low, high));
};

const shuffleDoubles: SemanticFunction = (s) => {
  requireSse(s);
  const { f } = s;
  const order = immediate(s, 2);
  const b = s.readV(1);
  const a = s.readV(0);
  const constant = known(order);
  if (constant !== undefined) {
    s.writeV(0, shuffle(f, laneBytes(8, [constant & 1, 2 + ((constant >> 1) & 1)]), a, b));
    return;
  }
  const half = (v: Value, bit: number): Value =>
    f.select(order.shrU(bit).and(1), f.lane('i64x2.extract_lane', [1], v), f.lane('i64x2.extract_lane', [0], v));
  s.writeV(0, f.lane('i64x2.replace_lane', [1], fromLow(f, half(a, 0)), half(b, 1)));
};

/** PSHUFB: byte numbers in the source; bit 7 clears. WebAssembly's swizzle clears for any number above 15. */
const shuffleBytes: SemanticFunction = onXmm((f, a, b) =>
  f.op('i8x16.swizzle', a, f.op('v128.and', b, splat32(f, 0x8f8f8f8f))),
);
const mmxShuffleBytes: SemanticFunction = (s) => {
  requireMmx(s);
  const { f } = s;
  const b = s.readM(1);
  const a = s.readM(0);
  enterMmx(s);
  const numbers = f.op('v128.and', fromLow(f, b), splat32(f, 0x87878787));
  s.writeM(0, low64(f, f.op('i8x16.swizzle', fromLow(f, a), numbers)));
};

/** Sixteen bytes from byte `from` on of `low`, `high` above it, and zeros above that. */
function bytesFrom(f: FunctionBuilder, from: number, low: Value, high: Value): Value {
  if (from > 31) return zeroVector(f);
  const bytes = (first: number): number[] => Array.from({ length: 16 }, (_, i) => first + i);
  return from < 16 ? shuffle(f, bytes(from), low, high) : shuffle(f, bytes(from - 16), high, zeroVector(f));
}

/** PALIGNR: the destination above the source, shifted right by bytes; zeros come in. */
const align: SemanticFunction = (s) => {
  requireSse(s);
  const { f } = s;
  const count = immediate(s, 2);
  const b = s.readV(1);
  const a = s.readV(0);
  const constant = known(count);
  if (constant !== undefined) {
    s.writeV(0, bytesFrom(f, constant, b, a));
    return;
  }
  // Byte i comes from number i + count: of the source up to 15, of the destination up to 31, and zero beyond.
  const ascending = f.v128(Array.from({ length: 16 }, (_, i) => i));
  const low = f.op('i8x16.add_sat_u', ascending, f.op('i8x16.splat', count));
  const high = f.op('i8x16.sub', low, splat32(f, 0x10101010));
  s.writeV(0, f.op('v128.or', f.op('i8x16.swizzle', b, low), f.op('i8x16.swizzle', a, high)));
};
const mmxAlign: SemanticFunction = (s) => {
  requireMmx(s);
  const { f } = s;
  const count = immediate(s, 2);
  const b = s.readM(1);
  const a = s.readM(0);
  enterMmx(s);
  const both = f.lane('i64x2.replace_lane', [1], fromLow(f, b), a);
  const ascending = f.v128(Array.from({ length: 16 }, (_, i) => i));
  const numbers = f.op('i8x16.add_sat_u', ascending, f.op('i8x16.splat', count));
  s.writeM(0, low64(f, f.op('i8x16.swizzle', both, numbers)));
};

/** PSRLDQ, PSLLDQ: the whole register by bytes. */
function byteShift(direction: 'left' | 'right'): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const count = immediate(s, 1);
    const constant = known(count);
    if (constant !== undefined) {
      const distance = Math.min(constant, 16);
      const zero = zeroVector(f);
      const value = s.readV(0);
      s.writeV(
        0,
        direction === 'right' ? bytesFrom(f, distance, value, zero) : bytesFrom(f, 16 - distance, zero, value),
      );
      return;
    }
    const ascending = f.v128(Array.from({ length: 16 }, (_, i) => i));
    const distance = f.op('i8x16.splat', f.select(count.gtU(15), 16, count));
    const numbers = f.op(direction === 'right' ? 'i8x16.add' : 'i8x16.sub', ascending, distance);
    s.writeV(0, f.op('i8x16.swizzle', s.readV(0), numbers));
  };
}

/** A mask with all ones in lane i of `count` where bit i of the immediate is set. */
function laneMask(f: FunctionBuilder, bits: Value, count: 2 | 4 | 8): Value {
  const width = 16 / count;
  const constant = known(bits);
  if (constant !== undefined)
    return f.v128(Array.from({ length: 16 }, (_, i) => ((constant >> Math.floor(i / width)) & 1 ? 0xff : 0)));
  const shape = ({ 2: 'i64x2', 4: 'i32x4', 8: 'i16x8' } as const)[count];
  const selectors = f.v128(Array.from({ length: 16 }, (_, i) => (i % width === 0 ? 1 << Math.floor(i / width) : 0)));
  const spread = f.op(`${shape}.splat`, count === 2 ? bits.extU() : bits);
  return f.op(`${shape}.eq`, f.op('v128.and', spread, selectors), selectors);
}
function blend(count: 2 | 4 | 8): SemanticFunction {
  return (s) => {
    requireSse(s);
    const bits = immediate(s, 2);
    const b = s.readV(1);
    const constant = known(bits);
    if (constant !== undefined) {
      const lanes = Array.from({ length: count }, (_, i) => ((constant >> i) & 1 ? count + i : i));
      s.writeV(0, shuffle(s.f, laneBytes(16 / count, lanes), s.readV(0), b));
      return;
    }
    s.writeV(0, s.f.op('v128.bitselect', b, s.readV(0), laneMask(s.f, bits, count)));
  };
}
/** BLENDV: the sign of each lane of XMM0 chooses. */
function blendByXmm0(shape: string, bits: number): SemanticFunction {
  return (s) => {
    requireSse(s);
    const b = s.readV(1);
    const mask = s.f.op(`${shape}.shr_s`, readXmm0(s), bits - 1);
    s.writeV(0, s.f.op('v128.bitselect', b, s.readV(0), mask));
  };
}

/** All lanes the one of this number. */
function chosenSingle(f: FunctionBuilder, v: Value, number: Value): Value {
  const constant = known(number);
  if (constant !== undefined) return shuffle(f, laneBytes(4, new Array<number>(4).fill(constant)), v, v);
  return f.op('i8x16.swizzle', v, f.op('i32x4.splat', number.mul(0x04040404).add(0x03020100)));
}

/** INSERTPS: one lane of the source, or the word in memory, into one lane; bits 3:0 then clear lanes. */
const insertSingle: SemanticFunction = (s) => {
  requireSse(s);
  const { f } = s;
  const bits = immediate(s, 2);
  const source = s.isMemory(1) ? f.op('i32x4.splat', s.read32(1)) : chosenSingle(f, s.readV(1), bits.shrU(6));
  const constant = known(bits);
  if (constant !== undefined) {
    const place = (constant >> 4) & 3;
    const old = s.readV(0);
    const zeros = [0, 1, 2, 3].filter((i) => (constant >> i) & 1);
    const lanes = [0, 1, 2, 3].map((i) => (i === place ? 4 : i));
    const inserted = shuffle(f, laneBytes(4, lanes), old, source);
    s.writeV(
      0,
      zeros.reduce((v, i) => f.lane('i32x4.replace_lane', [i], v, 0), inserted),
    );
    return;
  }
  const where = laneMask(f, f.i32(1).shl(bits.shrU(4).and(3)), 4);
  const inserted = f.op('v128.bitselect', source, s.readV(0), where);
  s.writeV(0, f.op('v128.andnot', inserted, laneMask(f, bits.and(15), 4)));
};

/** Lanes by their bytes. */
const SHAPES: Readonly<Record<number, string>> = { 1: 'i8x16', 2: 'i16x8', 4: 'i32x4', 8: 'i64x2' };

/** One lane at a number known at run time: `number` counts lanes of `bytes`, from 0. */
function extractLane(f: FunctionBuilder, v: Value, number: Value, bytes: number): Value {
  const constant = known(number);
  if (constant !== undefined) {
    const name = `${SHAPES[bytes]}.extract_lane${bytes < 4 ? '_u' : ''}`;
    return f.lane(name, [constant], v).extU();
  }
  const offset = f.op('i8x16.splat', number.mul(bytes));
  const numbers = f.op('i8x16.add', f.v128(Array.from({ length: 16 }, (_, i) => (i < bytes ? i : 0))), offset);
  return low64(f, f.op('i8x16.swizzle', v, numbers)).zext(bytes * 8);
}
function insertLane(f: FunctionBuilder, v: Value, number: Value, bytes: number, value: Value): Value {
  const shape = SHAPES[bytes] as string;
  const constant = known(number);
  if (constant !== undefined) return f.lane(`${shape}.replace_lane`, [constant], v, bytes === 8 ? value : value.wrap());
  const spread = f.op(`${shape}.splat`, bytes === 8 ? value : value.wrap());
  // Lane n is where the number of each byte, less that of the lane's first, is below the width.
  const first = f.op('i8x16.splat', number.mul(bytes));
  const distance = f.op('i8x16.sub', f.v128(Array.from({ length: 16 }, (_, i) => i)), first);
  const mask = f.op('i8x16.lt_u', distance, f.op('i8x16.splat', f.i32(bytes)));
  return f.op('v128.bitselect', spread, v, mask);
}

function extract(bytes: number): SemanticFunction {
  return (s) => {
    requireSse(s);
    const number = s
      .read(2)
      .wrap()
      .and(16 / bytes - 1);
    s.write(0, extractLane(s.f, s.readV(1), number, bytes));
  };
}
function insert(bytes: number): SemanticFunction {
  return (s) => {
    requireSse(s);
    const number = s
      .read(2)
      .wrap()
      .and(16 / bytes - 1);
    const value = s.read(1);
    s.writeV(0, insertLane(s.f, s.readV(0), number, bytes, value));
  };
}
const mmxExtract: SemanticFunction = (s) => {
  requireMmx(s);
  const word = s.readM(1).shrU(s.read(2).and(3n).shl(4)).zext(16);
  enterMmx(s);
  s.write(0, word);
};
const mmxInsert: SemanticFunction = (s) => {
  requireMmx(s);
  const { f } = s;
  const value = s.read(1).zext(16);
  const at = s.read(2).and(3n).shl(4);
  const old = s.readM(0);
  enterMmx(s);
  s.writeM(0, old.and(f.i64(0xffff).shl(at).not()).or(value.shl(at)));
};

const fixed = (width: number, order: readonly number[]): SemanticFunction =>
  onXmm((f, a, b) => shuffle(f, laneBytes(width, order), a, b));

export const rows: readonly Row[] = [
  ['UNPCKLPS', 'NP 0F 14', 'Vx+ Wx', fixed(4, [0, 4, 1, 5])],
  ['UNPCKLPD', '66 0F 14', 'Vx+ Wx', fixed(8, [0, 2])],
  ['UNPCKHPS', 'NP 0F 15', 'Vx+ Wx', fixed(4, [2, 6, 3, 7])],
  ['UNPCKHPD', '66 0F 15', 'Vx+ Wx', fixed(8, [1, 3])],
  ['PSHUFW', 'NP 0F 70', 'Pq= Qq Ib', mmxShuffle],
  ['PSHUFD', '66 0F 70', 'Vx= Wx Ib', packedShuffle(shuffleDwords)],
  ['PSHUFHW', 'F3 0F 70', 'Vx= Wx Ib', packedShuffle((f, v, order) => shuffleWords(f, v, order, true))],
  ['PSHUFLW', 'F2 0F 70', 'Vx= Wx Ib', packedShuffle((f, v, order) => shuffleWords(f, v, order, false))],
  ['PSRLDQ', '66 0F 73 /3', 'Ux+ Ib', byteShift('right')],
  ['PSLLDQ', '66 0F 73 /7', 'Ux+ Ib', byteShift('left')],
  ['SHUFPS', 'NP 0F C6', 'Vx+ Wx Ib', shuffleSingles],
  ['SHUFPD', '66 0F C6', 'Vx+ Wx Ib', shuffleDoubles],
  ['PINSRW', 'NP 0F C4', 'Pq+ Rd Ib', mmxInsert],
  ['PINSRW', 'NP 0F C4', 'Pq+ Mw Ib', mmxInsert],
  ['PINSRW', '66 0F C4', 'Vx+ Rd Ib', insert(2)],
  ['PINSRW', '66 0F C4', 'Vx+ Mw Ib', insert(2)],
  ['PEXTRW', 'NP 0F C5', 'Gd= Nq Ib', mmxExtract],
  ['PEXTRW', '66 0F C5', 'Gd= Ux Ib', extract(2)],
  ['PSHUFB', 'NP 0F 38 00', 'Pq+ Qq', mmxShuffleBytes],
  ['PSHUFB', '66 0F 38 00', 'Vx+ Wx', shuffleBytes],
  ['PBLENDVB', '66 0F 38 10', 'Vx+ Wx', blendByXmm0('i8x16', 8)],
  ['BLENDVPS', '66 0F 38 14', 'Vx+ Wx', blendByXmm0('i32x4', 32)],
  ['BLENDVPD', '66 0F 38 15', 'Vx+ Wx', blendByXmm0('i64x2', 64)],
  ['BLENDPS', '66 0F 3A 0C', 'Vx+ Wx Ib', blend(4)],
  ['BLENDPD', '66 0F 3A 0D', 'Vx+ Wx Ib', blend(2)],
  ['PBLENDW', '66 0F 3A 0E', 'Vx+ Wx Ib', blend(8)],
  ['PALIGNR', 'NP 0F 3A 0F', 'Pq+ Qq Ib', mmxAlign],
  ['PALIGNR', '66 0F 3A 0F', 'Vx+ Wx Ib', align],
  ['PEXTRB', '66 0F 3A 14', 'Rd= Vx Ib', extract(1)],
  ['PEXTRB', '66 0F 3A 14', 'Mb= Vx Ib', extract(1)],
  ['PEXTRW', '66 0F 3A 15', 'Rd= Vx Ib', extract(2)],
  ['PEXTRW', '66 0F 3A 15', 'Mw= Vx Ib', extract(2)],
  ['PEXTRD', '66 W0 0F 3A 16', 'Ed= Vx Ib', extract(4)],
  ['PEXTRQ', '66 W1 0F 3A 16', 'Eq= Vx Ib', extract(8)],
  ['EXTRACTPS', '66 0F 3A 17', 'Ed= Vx Ib', extract(4)],
  ['PINSRB', '66 0F 3A 20', 'Vx+ Rd Ib', insert(1)],
  ['PINSRB', '66 0F 3A 20', 'Vx+ Mb Ib', insert(1)],
  ['INSERTPS', '66 0F 3A 21', 'Vx+ Wd Ib', insertSingle],
  ['PINSRD', '66 W0 0F 3A 22', 'Vx+ Ed Ib', insert(4)],
  ['PINSRQ', '66 W1 0F 3A 22', 'Vx+ Eq Ib', insert(8)],
];
