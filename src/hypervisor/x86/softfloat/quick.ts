/**
 * Sums, products, quotients and roots of 32 and 64 bits that WebAssembly's own arithmetic can answer, flags and all: what
 * stands in front of the software floating point. It answers for rounding to nearest and operands that are not denormal
 * where
 * - an operand is zero or infinite: the result is exact, unless it is a NaN or a division by zero;
 * - the result is neither tiny nor infinite, and whether it is exact can be told: a sum by its error (Knuth's TwoSum), a
 *   product by the significant bits of its factors, a quotient or root by multiplying back.
 */
import type { FunctionBuilder, Label } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import { Control, Exception, FORMAT_64, type Format } from './format.ts';

export type Operation = 'add' | 'sub' | 'mul' | 'div' | 'sqrt';

class Quick {
  readonly #f: FunctionBuilder;
  readonly #format: Format;
  readonly #t: 'f32' | 'f64';
  readonly #integer: 'i32' | 'i64';
  readonly #fraction: number;

  constructor(f: FunctionBuilder, format: Format) {
    this.#f = f;
    this.#format = format;
    const wide = format === FORMAT_64;
    this.#t = wide ? 'f64' : 'f32';
    this.#integer = wide ? 'i64' : 'i32';
    this.#fraction = format.precision - 1;
  }

  float(bits: Value): Value {
    return this.#f.op(`${this.#t}.reinterpret_${this.#integer}`, bits);
  }
  bits(x: Value): Value {
    return this.#f.op(`${this.#integer}.reinterpret_${this.#t}`, x);
  }
  op(name: string, ...args: Value[]): Value {
    return this.#f.op(`${this.#t}.${name}`, ...args);
  }
  field(bits: Value): Value {
    return bits
      .shl(1)
      .shrU(this.#fraction + 1)
      .wrap();
  }
  isZero(bits: Value): Value {
    return bits.shl(1).eqz();
  }
  isDenormal(bits: Value): Value {
    return this.field(bits).eqz().and(this.isZero(bits).eqz());
  }
  /** Zero, infinite or a NaN. */
  isSpecial(bits: Value): Value {
    return this.field(bits)
      .sub(1)
      .geU(this.#format.maximumField - 1);
  }
  /** Tiny, or as large as numbers get. */
  isExtreme(bits: Value): Value {
    return this.field(bits)
      .sub(2)
      .geU(this.#format.maximumField - 4);
  }

  /** What adding to `x` rounded away: zero where the sum is exact. */
  sumIsInexact(x: Value, y: Value, sum: Value): Value {
    const part = this.op('sub', sum, x);
    const error = this.op('add', this.op('sub', x, this.op('sub', sum, part)), this.op('sub', y, part));
    return this.op('ne', error, this.#f.constant(this.#t, 0));
  }
  /** Whether x * y is not exactly `product`. Leaves where that cannot be told. */
  productIsInexact(x: Value, y: Value, product: Value, unknown: Label): Value {
    const f = this.#f;
    if (this.#t === 'f32') {
      const [wx, wy, wide] = [x, y, product].map((v) => f.op('f64.promote_f32', v)) as [Value, Value, Value];
      return f.op('f64.ne', f.op('f64.mul', wx, wy), wide);
    }
    const significant = (v: Value): Value =>
      f.i32(53).sub(
        this.bits(v)
          .or(1n << 52n)
          .ctz()
          .wrap(),
      );
    const bits = significant(x).add(significant(y));
    // An odd number of n bits by one of m bits gives n + m bits or one less.
    f.brIf(unknown, bits.eq(54));
    return bits.gtU(53).or(this.op('ne', this.op('mul', x, y), product));
  }
}

/** Returns (bits, flags) where the answer is a quick one. `operands` are bits, one of a root, else two. */
export function quick(f: FunctionBuilder, format: Format, name: Operation, operands: Value[], control: Value): void {
  const q = new Quick(f, format);
  f.block((hard) => {
    f.brIf(hard, control.and(3 << Control.RC_SHIFT).ne(0));
    for (const bits of operands) f.brIf(hard, q.isDenormal(bits));
    const [x, y] = operands.map((bits) => q.float(bits)) as [Value, Value];
    const result = y ? q.op(name, x, y) : q.op(name, x);
    const bits = q.bits(result);
    const special = operands.map((v) => q.isSpecial(v)).reduce((a, b) => a.or(b));
    f.if(special, () => {
      f.brIf(hard, q.op('ne', result, result));
      if (name === 'div') f.brIf(hard, q.isZero(operands[1] as Value));
      f.return(bits, 0);
    });
    if (name === 'add' || name === 'sub') f.if(q.isZero(bits), () => f.return(bits, 0));
    f.brIf(hard, q.isExtreme(bits));
    const inexact = (): Value => {
      switch (name) {
        case 'add':
          return q.sumIsInexact(x, y, result);
        case 'sub':
          return q.sumIsInexact(x, q.op('neg', y), result);
        case 'mul':
          return q.productIsInexact(x, y, result, hard);
        case 'div':
          return q.productIsInexact(result, y, x, hard);
        default:
          return q.productIsInexact(result, result, x, hard);
      }
    };
    f.return(bits, inexact().mul(Exception.PE));
  });
}
