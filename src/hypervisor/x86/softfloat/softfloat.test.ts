// Software floating point against exact arithmetic in BigInt (finite results, all rounding modes and precisions), against
// JavaScript's doubles, and against the manual's tables for special operands. The host's processor is compared with in
// semantics/sse.test.ts.

import { describe, expect, it } from 'vitest';
import type { Callee } from '../../wasm/function.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import { Exception } from './format.ts';
import { helpers } from './operations.ts';

type Call = (...args: readonly (number | bigint)[]) => unknown;

function instantiate(): Record<string, Call> {
  const pages = { initial: 1, maximum: 1 };
  const module = new ModuleBuilder({ memory: pages });
  const callees = new Map<string, Callee>();
  for (const h of helpers) callees.set(h.name, module.declare(h.name, h.type, true));
  const find = (name: string): Callee => {
    const callee = callees.get(name);
    if (!callee) throw new Error(`no helper ${name}`);
    return callee;
  };
  const context = { helper: find, fault: module.importTag('fault') };
  for (const h of helpers) module.define(find(h.name), (f) => h.build(f, find, context));
  const memory = new WebAssembly.Memory({ ...pages, shared: true });
  const env = { memory, fault: new WebAssembly.Tag({ parameters: [] }) };
  const compiled = new WebAssembly.Module(module.finish());
  return new WebAssembly.Instance(compiled, { env }).exports;
}
const calls = instantiate();

const MASKED = 0x1f80;
interface Shape {
  readonly name: '32' | '64' | '80';
  readonly precision: number;
  readonly bias: number;
}
const SHAPES: readonly Shape[] = [
  { name: '32', precision: 24, bias: 127 },
  { name: '64', precision: 53, bias: 1023 },
  { name: '80', precision: 64, bias: 16383 },
];
/** A number as its bits in one integer; the x87 format as 80 bits. */
function call(
  shape: Shape,
  operation: string,
  control: number,
  ...operands: readonly bigint[]
): { bits: bigint; flags: number } {
  const args = operands.flatMap((x): (number | bigint)[] =>
    shape.name === '32'
      ? [Number(x)]
      : shape.name === '64'
        ? [BigInt.asIntN(64, x)]
        : [BigInt.asIntN(64, x), Number(x >> 64n)],
  );
  const results = (calls[`float.${operation}${shape.name}`] as Call)(...args, control) as (number | bigint)[];
  const flags = results.at(-1) as number;
  if (shape.name === '32') return { bits: BigInt((results[0] as number) >>> 0), flags };
  const low = BigInt.asUintN(64, results[0] as bigint);
  return { bits: shape.name === '64' ? low : low | (BigInt(results[1] as number) << 64n), flags };
}

let seed = 0x1234567n;
function random(bits: number): bigint {
  seed = (seed * 6364136223846793005n + 1442695040888963407n) & ((1n << 128n) - 1n);
  return (seed >> 40n) & ((1n << BigInt(bits)) - 1n);
}
function below(n: number): number {
  return Number(random(40)) % n;
}

/** A finite number: sign, integer significand, exponent of its unit. */
interface Finite {
  readonly bits: bigint;
  readonly sign: bigint;
  readonly significand: bigint;
  readonly exponent: number;
}
function randomFinite(shape: Shape): Finite {
  const maximum = 2 * shape.bias;
  const field = [
    1,
    2,
    0,
    maximum,
    maximum - 1,
    shape.bias,
    shape.bias + 1,
    1 + below(maximum),
    shape.bias - 40 + below(80),
  ][below(9)] as number;
  const width = shape.precision - 1;
  let fraction = random(width);
  const shift = BigInt(below(width));
  if (below(2)) fraction = below(2) ? (fraction >> shift) << shift : ((1n << BigInt(width)) - 1n) >> shift;
  const sign = random(1);
  const leading = field === 0 ? 0n : 1n << BigInt(width);
  const significand = leading | fraction;
  const stored = shape.name === '80' ? significand : fraction;
  const fieldAt = BigInt(shape.name === '80' ? 64 : width);
  const signAt = BigInt(shape.name === '80' ? 79 : shape.name === '64' ? 63 : 31);
  return {
    bits: (sign << signAt) | (BigInt(field) << fieldAt) | stored,
    sign,
    significand,
    exponent: Math.max(field, 1) - shape.bias - width,
  };
}

/** The rational numerator / denominator x 2^exponent, rounded; flags as exactness and range say. All exceptions masked. */
function exactly(
  shape: Shape,
  precision: number,
  rc: number,
  sign: bigint,
  numerator: bigint,
  denominator: bigint,
  exponent: number,
): { bits: bigint; flags: number } {
  const width = shape.precision - 1;
  const signAt = BigInt(shape.name === '80' ? 79 : shape.name === '64' ? 63 : 31);
  const compose = (field: number, significand: bigint): bigint => {
    const stored = shape.name === '80' ? significand : significand & ((1n << BigInt(width)) - 1n);
    return (sign << signAt) | (BigInt(field) << BigInt(shape.name === '80' ? 64 : width)) | stored;
  };
  if (numerator === 0n) return { bits: sign << signAt, flags: 0 };
  const round = (unit: number): { value: bigint; inexact: boolean } => {
    // value = numerator / denominator x 2^(exponent - unit)
    const shift = exponent - unit;
    const n = shift >= 0 ? numerator << BigInt(shift) : numerator;
    const d = shift >= 0 ? denominator : denominator << BigInt(-shift);
    const value = n / d;
    const rest = n % d;
    const half = 2n * rest - d;
    const up =
      rc === 0
        ? half > 0n || (half === 0n && (value & 1n) === 1n)
        : rest !== 0n && ((rc === 1 && sign === 1n) || (rc === 2 && sign === 0n));
    return { value: value + (up ? 1n : 0n), inexact: rest !== 0n };
  };
  // Exponent of the leading bit.
  let top = numerator.toString(2).length - denominator.toString(2).length + exponent;
  const scaled = (e: number): boolean =>
    e - exponent >= 0
      ? numerator >= denominator << BigInt(e - exponent)
      : numerator << BigInt(exponent - e) >= denominator;
  if (!scaled(top)) top--;
  const least = 1 - shape.bias;
  const unbounded = round(top - precision + 1);
  const carried = unbounded.value >> BigInt(precision) !== 0n;
  const reached = top + (carried ? 1 : 0);
  if (reached > shape.bias) {
    const infinite = rc === 0 || (rc === 1 && sign === 1n) || (rc === 2 && sign === 0n);
    const ones = ((1n << BigInt(precision)) - 1n) << BigInt(shape.precision - precision);
    return {
      bits: infinite ? compose(2 * shape.bias + 1, 1n << BigInt(width)) : compose(2 * shape.bias, ones),
      flags: Exception.OE | Exception.PE,
    };
  }
  const tiny = reached < least;
  const unit = (tiny ? least : top) - precision + 1;
  const { value, inexact } = tiny ? round(unit) : unbounded;
  const flags = (inexact ? Exception.PE : 0) | (tiny && inexact ? Exception.UE : 0);
  const significand = value << BigInt(shape.precision - precision);
  if (tiny) return { bits: compose(significand >> BigInt(width) !== 0n ? 1 : 0, significand), flags };
  const normal = carried ? significand >> 1n : significand;
  return { bits: compose(reached + shape.bias, normal), flags };
}

function squareRoot(n: bigint): bigint {
  let x = 1n << BigInt((n.toString(2).length + 1) >> 1);
  for (;;) {
    const y = (x + n / x) >> 1n;
    if (y >= x) return x;
    x = y;
  }
}

const ROUNDS = 1500;
const PRECISIONS = [24, 53, 64];
const PC_OF: Readonly<Record<number, number>> = { 24: 0, 53: 2, 64: 3 };

describe.each(SHAPES)('format $name', (shape) => {
  function control(rc: number): { control: number; precision: number } {
    const precision = shape.name === '80' ? (PRECISIONS[below(3)] as number) : shape.precision;
    return { control: MASKED | (rc << 13) | ((PC_OF[precision] as number) << 16), precision };
  }
  const arithmetic = 0x3f & ~Exception.DE;

  it.each(['add', 'sub', 'mul', 'div', 'sqrt'])('%s is exact arithmetic, rounded', (operation) => {
    for (let n = 0; n < ROUNDS; n++) {
      const a = randomFinite(shape);
      let b = randomFinite(shape);
      if (below(8) === 0) b = { ...a };
      const rc = below(4);
      const { control: word, precision } = control(rc);
      let want: { bits: bigint; flags: number };
      if (operation === 'mul' || operation === 'div') {
        if (operation === 'div' && b.significand === 0n) continue;
        const [numerator, denominator] =
          operation === 'mul' ? [a.significand * b.significand, 1n] : [a.significand, b.significand];
        const exponent = operation === 'mul' ? a.exponent + b.exponent : a.exponent - b.exponent;
        want = exactly(shape, precision, rc, a.sign ^ b.sign, numerator, denominator, exponent);
      } else if (operation === 'sqrt') {
        if (a.sign === 1n) continue;
        // A root with 200 more bits and a sticky one behind them rounds like the exact one.
        const even = a.exponent & 1 ? 1 : 0;
        const radicand = (a.significand << BigInt(even)) << 400n;
        const root = squareRoot(radicand);
        const sticky = root * root === radicand ? 0n : 1n;
        want = exactly(shape, precision, rc, 0n, (root << 1n) | sticky, 1n, (a.exponent - even) / 2 - 201);
      } else {
        const exponent = Math.min(a.exponent, b.exponent);
        const value = (x: Finite, negate: boolean): bigint => {
          const magnitude = x.significand << BigInt(x.exponent - exponent);
          return (x.sign === 1n) !== negate ? -magnitude : magnitude;
        };
        const sum = value(a, false) + value(b, operation === 'sub');
        const bSign = operation === 'sub' ? b.sign ^ 1n : b.sign;
        const zeroSign = a.sign === bSign ? a.sign : rc === 1 ? 1n : 0n;
        const sign = sum === 0n ? zeroSign : sum < 0n ? 1n : 0n;
        want = exactly(shape, precision, rc, sign, sum < 0n ? -sum : sum, 1n, exponent);
      }
      const got =
        operation === 'sqrt' ? call(shape, operation, word, a.bits) : call(shape, operation, word, a.bits, b.bits);
      const text = `${operation} ${a.bits.toString(16)} ${b.bits.toString(16)} rc ${rc} precision ${precision}`;
      expect({ bits: got.bits.toString(16), flags: got.flags & arithmetic }, text).toEqual({
        bits: want.bits.toString(16),
        flags: want.flags,
      });
    }
  });

  it('reports denormal operands', () => {
    const denormal = 1n;
    const one = call(
      shape,
      'sqrt',
      MASKED | (3 << 16),
      shape.name === '80' ? (16383n << 64n) | (1n << 63n) : BigInt(shape.bias) << BigInt(shape.precision - 1),
    );
    expect(call(shape, 'add', MASKED, denormal, one.bits).flags & Exception.DE).toBe(Exception.DE);
    expect(call(shape, 'add', MASKED, one.bits, one.bits).flags & Exception.DE).toBe(0);
    // Unmasked, nothing else is reported.
    expect(call(shape, 'add', MASKED & ~0x100, denormal, one.bits).flags).toBe(Exception.DE);
  });
});

describe('doubles', () => {
  it('agree with JavaScript', () => {
    const view = new DataView(new ArrayBuffer(8));
    const shape = SHAPES[1] as Shape;
    const number = (bits: bigint): number => {
      view.setBigUint64(0, bits);
      return view.getFloat64(0);
    };
    for (let n = 0; n < ROUNDS; n++) {
      const [a, b] = [randomFinite(shape).bits, randomFinite(shape).bits];
      const [x, y] = [number(a), number(b)];
      for (const [operation, value] of [
        ['add', x + y],
        ['sub', x - y],
        ['mul', x * y],
        ['div', x / y],
      ] as const) {
        const got = number(call(shape, operation, MASKED, a, b).bits);
        expect(Object.is(got, value), `${x} ${operation} ${y}`).toBe(true);
      }
      const single = (calls['float.convert64to32'] as Call)(BigInt.asIntN(64, a), MASKED) as [number];
      view.setInt32(0, single[0]);
      expect(Object.is(view.getFloat32(0), Math.fround(x)), `fround(${x})`).toBe(true);
    }
  });
});

describe('integers', () => {
  it('come back from the x87 format', () => {
    for (let n = 0; n < 500; n++) {
      const value = BigInt.asIntN(64, random(64) >> BigInt(below(64)));
      const [significand, head] = (calls['float.fromInteger80'] as Call)(value) as [bigint, number];
      expect((calls['float.toInteger80'] as Call)(significand, head, 64, MASKED)).toEqual([value, 0]);
    }
  });
  it('give the indefinite integer out of range', () => {
    const toInteger = calls['float.toInteger64'] as Call;
    const double = (x: number): bigint => new BigInt64Array(new Float64Array([x]).buffer)[0] as bigint;
    expect(toInteger(double(2147483647.4), 32, MASKED)).toEqual([2147483647n, Exception.PE]);
    expect(toInteger(double(2147483647.5), 32, MASKED)).toEqual([-2147483648n, Exception.IE]);
    expect(toInteger(double(-2147483648.5), 32, MASKED)).toEqual([-2147483648n, Exception.PE]);
    expect(toInteger(double(Number.NaN), 64, MASKED)).toEqual([-(1n << 63n), Exception.IE]);
    expect(toInteger(double(-32769), 16, MASKED)).toEqual([-32768n, Exception.IE]);
  });
});

describe('special operands of the x87 format', () => {
  const shape = SHAPES[2] as Shape;
  const control = MASKED | (3 << 16);
  const nan = (payload: bigint, quiet: boolean, sign = 0n): bigint =>
    (sign << 79n) | (0x7fffn << 64n) | (1n << 63n) | (quiet ? 1n << 62n : 0n) | payload;
  const INDEFINITE = (0xffffn << 64n) | (3n << 62n);

  it('prefer a quiet NaN, then the larger significand, then the positive one', () => {
    expect(call(shape, 'add', control, nan(5n, true), nan(9n, false))).toEqual({
      bits: nan(5n, true),
      flags: Exception.IE,
    });
    expect(call(shape, 'add', control, nan(5n, true), nan(9n, true))).toEqual({ bits: nan(9n, true), flags: 0 });
    expect(call(shape, 'mul', control, nan(9n, false), nan(5n, false))).toEqual({
      bits: nan(9n, true),
      flags: Exception.IE,
    });
    expect(call(shape, 'mul', control, nan(5n, true, 1n), nan(5n, true))).toEqual({ bits: nan(5n, true), flags: 0 });
  });
  it('are invalid where the encoding is unsupported', () => {
    const unnormal = (0x3fffn << 64n) | 1n;
    expect(call(shape, 'add', control, unnormal, nan(5n, true))).toEqual({ bits: INDEFINITE, flags: Exception.IE });
  });
  it('wrap the exponent where overflow and underflow are unmasked', () => {
    const large = (0x7ffen << 64n) | (1n << 63n);
    const small = (1n << 64n) | (1n << 63n);
    const one = 0x3fffn;
    expect(call(shape, 'mul', control & ~0x400, large, large)).toEqual({
      bits: ((2n * 0x7ffen - one - 24576n) << 64n) | (1n << 63n),
      flags: Exception.OE,
    });
    expect(call(shape, 'mul', control & ~0x800, small, small)).toEqual({
      bits: ((2n - one + 24576n) << 64n) | (1n << 63n),
      flags: Exception.UE,
    });
  });
});
