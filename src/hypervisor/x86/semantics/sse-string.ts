/** SSE4.2 string comparison and CRC32: Intel SDM vol. 2, 4.1 "Imm8 Control Byte Operation for PCMPESTRI...", and CRC32. */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { HelperDefinition } from '../library.ts';
import type { Semantics } from '../semantics.ts';
import { requireSse, splat32, zeroVector } from './sse-common.ts';

/** Aggregation, bits 3:2 of the control byte. */
const Aggregation = { EQUAL_ANY: 0, RANGES: 1, EQUAL_EACH: 2, EQUAL_ORDERED: 3 } as const;

/** One element type: 16 bytes or 8 words. */
interface Elements {
  readonly shape: 'i8x16' | 'i16x8';
  readonly count: 16 | 8;
}
const BYTES: Elements = { shape: 'i8x16', count: 16 };
const WORDS: Elements = { shape: 'i16x8', count: 8 };

/** Element `i` of a vector in every lane. */
function spread(f: FunctionBuilder, { shape }: Elements, v: Value, i: Value): Value {
  if (shape === 'i8x16') return f.op('i8x16.swizzle', v, f.op('i8x16.splat', i));
  return f.op('i8x16.swizzle', v, f.op('i16x8.splat', i.mul(0x0202).add(0x0100)));
}

/** Bits below `n`. */
function below(f: FunctionBuilder, n: Value): Value {
  return f.i32(1).shl(n).sub(1);
}

/**
 * IntRes1: bit j speaks of element j of the second operand. The comparisons with one element of the first operand are
 * done for all elements of the second at once.
 */
function compareElements(f: FunctionBuilder, elements: Elements, result: { set(v: Value): void }): void {
  const { shape, count } = elements;
  const [lengthA, lengthB, control] = [f.param(2), f.param(3), f.param(4)];
  const signed = control.and(2).ne(0);
  // Ranges of signed elements compare as unsigned ones with their sign bits flipped.
  const flip = f.select(signed, splat32(f, shape === 'i8x16' ? 0x80808080 : 0x80008000), zeroVector(f));
  const [a, b] = [f.op('v128.xor', f.param(0), flip), f.op('v128.xor', f.param(1), flip)];
  const bits = (v: Value): Value => f.op(`${shape}.bitmask`, v);
  const validB = below(f, lengthB);
  const all = (1 << count) - 1;
  const aggregation = control.shrU(2).and(3);
  const i = f.variable('i32', 0);
  const found = f.variable('i32', 0);
  const step = (body: () => void, limit: Value, by = 1): void => {
    f.block((done) => {
      f.loop((again) => {
        f.brIf(done, i.get().geS(limit));
        body();
        i.set(i.get().add(by));
        f.br(again);
      });
    });
  };
  f.block((done) => {
    f.if(aggregation.eq(Aggregation.EQUAL_EACH), () => {
      const same = bits(f.op(`${shape}.eq`, a, b));
      const validA = below(f, lengthA);
      // Two elements beyond the ends are equal, one is not.
      result.set(same.and(validA).and(validB).or(validA.or(validB).xor(all)));
      f.br(done);
    });
    f.if(aggregation.eq(Aggregation.EQUAL_ANY), () => {
      step(() => found.set(found.get().or(bits(f.op(`${shape}.eq`, spread(f, elements, a, i.get()), b)))), lengthA);
      result.set(found.get().and(validB));
      f.br(done);
    });
    f.if(aggregation.eq(Aggregation.RANGES), () => {
      // Pairs of a lower and an upper limit; a pair without its upper limit holds nothing.
      step(
        () => {
          const from = f.op(`${shape}.ge_u`, b, spread(f, elements, a, i.get()));
          const to = f.op(`${shape}.le_u`, b, spread(f, elements, a, i.get().add(1)));
          found.set(found.get().or(bits(f.op('v128.and', from, to))));
        },
        lengthA.sub(1),
        2,
      );
      result.set(found.get().and(validB));
      f.br(done);
    });
    // The first operand as a substring at j; what would lie beyond the register counts as equal.
    found.set(all);
    step(() => {
      const same = bits(f.op(`${shape}.eq`, spread(f, elements, a, i.get()), b)).and(validB);
      const beyond = f.i32(all).shl(f.i32(count).sub(i.get()));
      found.set(found.get().and(same.shrU(i.get()).or(beyond)));
    }, lengthA);
    result.set(found.get());
  });
}

const compareStrings: HelperDefinition = {
  name: 'sse.compareStrings',
  /** (v128 a, v128 b, i32 length of a, of b, control) -> IntRes2 */
  type: { params: ['v128', 'v128', 'i32', 'i32', 'i32'], results: ['i32'] },
  build(f) {
    const control = f.param(4);
    const lengthB = f.param(3);
    const words = control.and(1);
    const result = f.variable('i32');
    f.if(
      words,
      () => compareElements(f, WORDS, result),
      () => compareElements(f, BYTES, result),
    );
    const all = f.select(words, 0xff, f.i32(0xffff));
    // Negative polarity inverts all bits, masked negative polarity those of the second operand's elements.
    const polarity = control.shrU(4).and(3);
    const inverted = f.select(polarity.eq(1), all, f.select(polarity.eq(3), below(f, lengthB), 0));
    f.return(result.get().xor(inverted));
  },
};

/** Number of elements before the first zero. */
function implicitLength(f: FunctionBuilder, v: Value, words: Value): Value {
  const zero = (shape: string): Value => f.op(`${shape}.bitmask`, f.op(`${shape}.eq`, v, zeroVector(f)));
  const byteLength = zero('i8x16')
    .or(1 << 16)
    .ctz();
  const wordLength = zero('i16x8')
    .or(1 << 8)
    .ctz();
  return f.select(words, wordLength, byteLength);
}
/** The magnitude of EAX or EDX (RAX, RDX with REX.W), at most the number of elements. */
function explicitLength(s: Semantics, register: number, count: Value): Value {
  const value = s.size === 8 ? s.reg(register, 8) : s.reg(register, 4).sext(32);
  const magnitude = s.f.select(value.ltS(0n), value.neg(), value);
  return s.f.select(magnitude.gtU(count.extU()), count, magnitude.wrap());
}

function stringCompare(lengths: 'explicit' | 'implicit', result: 'index' | 'mask'): SemanticFunction {
  return (s) => {
    requireSse(s);
    const { f } = s;
    const control = s.read(2).wrap().and(0x7f);
    const b = s.readV(1);
    const a = s.readV(0);
    const words = control.and(1);
    const count = f.select(words, 8, f.i32(16));
    const [lengthA, lengthB] =
      lengths === 'explicit'
        ? [explicitLength(s, 0, count), explicitLength(s, 2, count)]
        : [implicitLength(f, a, words), implicitLength(f, b, words)];
    const [found] = s.helper('sse.compareStrings', a, b, lengthA, lengthB, control) as [Value];
    const last = control.and(0x40).ne(0);
    if (result === 'index') {
      const index = f.select(last, f.i32(31).sub(found.clz()), found.ctz());
      s.setReg(1, f.select(found.eqz(), count, index).extU(), 8);
    } else {
      const byteBits = f.v128([1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128]);
      const halves = f.v128([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
      const spreadBytes = f.op('i8x16.swizzle', f.op('i32x4.splat', found), halves);
      const byteMask = f.op('i8x16.eq', f.op('v128.and', spreadBytes, byteBits), byteBits);
      const wordBits = f.v128([1, 2, 4, 8, 16, 32, 64, 128].flatMap((bit) => [bit, 0]));
      const wordMask = f.op('i16x8.eq', f.op('v128.and', f.op('i16x8.splat', found), wordBits), wordBits);
      const mask = f.select(words, wordMask, byteMask);
      const bitsOnly = f.lane('i32x4.replace_lane', [0], zeroVector(f), found);
      f.store('v128.store', s.stateAddress('xmm'), f.select(last, mask, bitsOnly));
    }
    s.setFlags({
      CF: found.ne(0),
      ZF: lengthB.ltU(count),
      SF: lengthA.ltU(count),
      OF: found.and(1),
      AF: 0,
      PF: 0,
    });
  };
}

/** CRC-32C, bit-reflected. */
const POLYNOMIAL = 0x82f63b78;
/** What bit `n` of a register of `bits` bits contributes after `bits` steps. */
function contribution(n: number, bits: number): number {
  let crc = 0;
  for (let step = 0; step < bits; step++) {
    if (step === n) crc ^= 1;
    crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  }
  return crc >>> 0;
}
function words(values: readonly number[]): number[] {
  return values.flatMap((v) => [v & 0xff, (v >>> 8) & 0xff, (v >>> 16) & 0xff, v >>> 24]);
}

/**
 * The remainder is linear over GF(2): every bit of data xor remainder contributes a constant. Four bits at a time, one in
 * each lane.
 */
function crc32(bytes: 1 | 2 | 4 | 8): HelperDefinition {
  return {
    name: `crc32c_${bytes * 8}`,
    type: { params: ['i32', 'i64'], results: ['i32'] },
    build(f) {
      const [crc, data] = [f.param(0), f.param(1)];
      const bits = bytes * 8;
      const value = data.xor(crc.extU());
      const halves = [value.wrap(), value.shrU(32).wrap()].map((half) => f.op('i32x4.splat', half));
      let sum: Value | undefined;
      for (let first = 0; first < bits; first += 4) {
        const numbers = [0, 1, 2, 3].map((i) => first + i);
        const selectors = f.v128(words(numbers.map((n) => (1 << (n % 32)) >>> 0)));
        const constants = f.v128(words(numbers.map((n) => contribution(n, bits))));
        const set = f.op('i32x4.eq', f.op('v128.and', halves[first >> 5] as Value, selectors), selectors);
        const part = f.op('v128.and', set, constants);
        sum = sum ? f.op('v128.xor', sum, part) : part;
      }
      const total = sum as Value;
      const folded = [0, 1, 2, 3].map((i) => f.lane('i32x4.extract_lane', [i], total)).reduce((x, y) => x.xor(y));
      f.return(bits < 32 ? folded.xor(crc.shrU(bits)) : folded);
    },
  };
}

const accumulate: SemanticFunction = (s) => {
  const data = s.read(1);
  const [crc] = s.helper(`crc32c_${s.bits}`, s.read(0).wrap(), data) as [Value];
  s.write(0, crc.extU());
};
const accumulateByte: SemanticFunction = (s) => {
  const data = s.read(1);
  const [crc] = s.helper('crc32c_8', s.read(0).wrap(), data) as [Value];
  s.write(0, crc.extU());
};

export const helpers: readonly HelperDefinition[] = [compareStrings, ...([1, 2, 4, 8] as const).map(crc32)];

export const rows: readonly Row[] = [
  ['PCMPESTRM', '66 W0 0F 3A 60', 'Vx Wu Ib', stringCompare('explicit', 'mask'), { size: 4 }],
  ['PCMPESTRM', '66 W1 0F 3A 60', 'Vx Wu Ib', stringCompare('explicit', 'mask'), { size: 8 }],
  ['PCMPESTRI', '66 W0 0F 3A 61', 'Vx Wu Ib', stringCompare('explicit', 'index'), { size: 4 }],
  ['PCMPESTRI', '66 W1 0F 3A 61', 'Vx Wu Ib', stringCompare('explicit', 'index'), { size: 8 }],
  ['PCMPISTRM', '66 0F 3A 62', 'Vx Wu Ib', stringCompare('implicit', 'mask')],
  ['PCMPISTRI', '66 0F 3A 63', 'Vx Wu Ib', stringCompare('implicit', 'index')],
  ['CRC32', 'F2 0F 38 F0', 'Gd+ Eb', accumulateByte],
  ['CRC32', 'F2 0F 38 F1', 'Gd+ Ev', accumulate],
];
