/**
 * Vectors of floats looked at as integers, to tell in a few operations whether any lane is out of the ordinary. A lane's rank
 * is large where it is ordinary and small where it is not; of doubles the upper halves count, so that ranks of both formats
 * compare as 32-bit numbers. Ranks of several vectors are put together by their minimum. For semantics/sse-direct.ts, which
 * says what is ordinary, and packed.ts.
 */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';

type Integers = 'i32x4' | 'i64x2';

function all(f: FunctionBuilder, integers: Integers, value: bigint): Value {
  const width = integers === 'i64x2' ? 8 : 4;
  return f.v128(Array.from({ length: 16 }, (_, i) => Number((value >> BigInt(8 * (i % width))) & 0xffn)));
}
function zero(f: FunctionBuilder): Value {
  return f.v128(new Array<number>(16).fill(0));
}
/** Twice the smallest exponent field that passes, at its place in 32 bits. */
const least = (integers: Integers): bigint => (integers === 'i64x2' ? 3n << 21n : 3n << 24n);

function doubled(f: FunctionBuilder, integers: Integers, v: Value): Value {
  return f.op(`${integers}.add`, v, v);
}

/** Small for denormals (and the smallest normal numbers): twice the bits less one. Zero is above all numbers. */
export function ranked(f: FunctionBuilder, integers: Integers, v: Value): Value {
  return f.op(`${integers}.add`, doubled(f, integers, v), all(f, integers, -1n));
}

/** 1 bits in all of a lane that is zero. */
export function isZero(f: FunctionBuilder, integers: Integers, v: Value): Value {
  return f.op(`${integers}.eq`, doubled(f, integers, v), zero(f));
}

/** Large from twice the smallest normal number up to the largest finite one; with `zeros`, for zeros too. */
export function usual(f: FunctionBuilder, integers: Integers, v: Value, zeros: boolean): Value {
  const top = all(f, integers, integers === 'i64x2' ? (2n << 53n) - 1n : (2n << 24n) - 1n);
  const rank = f.op(`${integers}.sub`, top, doubled(f, integers, v));
  return zeros ? f.op('v128.or', rank, isZero(f, integers, v)) : rank;
}

/** Lanes have their sign bit set where the least of the ranks is too small. */
export function isTooSmall(f: FunctionBuilder, integers: Integers, ranks: readonly Value[]): Value {
  const lowest = ranks.reduce((a, b) => f.op('i32x4.min_u', a, b));
  return f.op('v128.andnot', f.op('i32x4.sub', lowest, all(f, 'i32x4', least(integers))), lowest);
}
