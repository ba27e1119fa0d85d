import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FunctionBuilder } from './function.ts';
import { allOperators, type Operator } from './opcodes.ts';
import { functionType, load, newModule, single } from './testing.fixture.ts';

const integer = (type: string): boolean => type === 'i32' || type === 'i64';
const scalar: Operator[] = [...allOperators()].filter((o) => /^i(32|64)\./.test(o.name) && o.params.every(integer));
const interesting = [
  0n,
  1n,
  -1n,
  31n,
  32n,
  63n,
  64n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  2n ** 63n,
  2n ** 63n - 1n,
];
const word = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
  fc.constantFrom(...interesting),
  fc.bigInt({ min: -70n, max: 70n }),
);

/** A word as an argument of a type: unsigned words of 32 bits too, since semantics write both. */
function as(type: string, value: bigint): number | bigint {
  if (type === 'i64') return value;
  return Number(value < 0n ? BigInt.asIntN(32, value) : BigInt.asUintN(32, value));
}
function normalized(type: string, value: number | bigint): bigint {
  return BigInt.asIntN(type === 'i64' ? 64 : 32, BigInt(value));
}
const builder = (): FunctionBuilder => new FunctionBuilder('test', functionType(['i32', 'i64'], 'i32'), () => 0);

/** Not folded: they trap, or nobody asks for them with constants. */
const NOT_FOLDED = /\.(div|rem|rot|clz|ctz|popcnt)/;

describe('constant folding', () => {
  const module = newModule();
  for (const op of scalar) {
    module.function(
      op.name,
      functionType(op.params, op.result),
      (f) => f.return(f.op(op.name, ...op.params.map((_, i) => f.param(i)))),
      true,
    );
  }
  const { exports } = load(module);

  it.each(scalar.map((o) => [o.name, o] as const))('%s is what the engine computes', (name, op) => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        const f = builder();
        const args = [a, b].slice(0, op.params.length).map((v, i) => as(op.params[i] as string, v));
        const value = f.op(name, ...args);
        expect(value.type).toBe(op.result);
        // A rotation by nothing gives the constant back.
        if (NOT_FOLDED.test(name)) return value.kind === 'op' || (/rot/.test(name) && BigInt(args[1] ?? 1) === 0n);
        expect(value.kind).toBe('const');
        const expected = exports[name]?.(...args) as number | bigint;
        return normalized(op.result, value.imm) === normalized(op.result, expected);
      }),
      { numRuns: 150 },
    );
  });

  it('leaves alone what it does not know', () => {
    const f = builder();
    expect(f.op('i32.div_u', 7, 0).kind).toBe('op');
    expect(f.op('i32x4.splat', 7).kind).toBe('op');
    expect(f.op('f64.add', 1, 2).kind).toBe('op');
    expect(f.op('f64.convert_i32_s', 1).kind).toBe('op');
  });

  it('gives back the operand that an operation leaves unchanged', () => {
    for (const [index, type] of [
      [0, 'i32'],
      [1, 'i64'],
    ] as const) {
      const f = builder();
      const p = f.param(index);
      for (const same of [
        p.add(0),
        p.sub(0),
        p.or(0),
        p.xor(0),
        p.shl(0),
        p.shrS(0),
        p.shrU(0),
        p.rotl(0),
        p.rotr(0),
        p.and(-1),
        p.mul(1),
      ])
        expect(same).toBe(p);
      expect(p.and(type === 'i32' ? 0xffff_ffff : 0xffff_ffff_ffff_ffffn)).toBe(p);
      for (const other of [p.and(0), p.mul(0), p.eq(0), p.divU(1), p.ltU(0), f.constant(type, 0).sub(p)])
        expect(other).not.toBe(p);
    }
  });

  it('has the conversions do nothing on what is converted', () => {
    const f = builder();
    const [narrow, wide] = [f.param(0), f.param(1)];
    expect([narrow.wrap(), narrow.sext(32), narrow.zext(32)]).toEqual([narrow, narrow, narrow]);
    expect([wide.extU(), wide.extS(), wide.sext(64), wide.zext(64)]).toEqual([wide, wide, wide, wide]);
  });
});

describe('the methods of a value', () => {
  it('mean the instructions of their names', () => {
    const run = (build: (f: FunctionBuilder) => void, result: 'i32' | 'i64', a: number, b: bigint): number | bigint =>
      load(single(functionType(['i32', 'i64'], result), build)).exports.test?.(a, b) as number | bigint;
    expect(run((f) => f.return(f.param(0).neg()), 'i32', 5, 0n)).toBe(-5);
    expect(run((f) => f.return(f.param(1).not()), 'i64', 0, 5n)).toBe(-6n);
    expect(run((f) => f.return(f.param(0).extU()), 'i64', -1, 0n)).toBe(0xffff_ffffn);
    expect(run((f) => f.return(f.param(0).extS()), 'i64', -1, 0n)).toBe(-1n);
    expect(run((f) => f.return(f.param(1).wrap()), 'i32', 0, 0x1_0000_0005n)).toBe(5);
    expect(run((f) => f.return(f.param(1).sext(16)), 'i64', 0, 0x1_8000n)).toBe(-0x8000n);
    expect(run((f) => f.return(f.param(1).zext(16)), 'i64', 0, -1n)).toBe(0xffffn);
    expect(run((f) => f.return(f.param(1).zext(32)), 'i64', 0, -1n)).toBe(0xffff_ffffn);
    expect(run((f) => f.return(f.param(0).sext(8)), 'i32', 0x80, 0n)).toBe(-128);
    expect(run((f) => f.return(f.param(1).eqz()), 'i32', 0, 0n)).toBe(1);
    expect(run((f) => f.return(f.param(1).ltS(0)), 'i32', 0, -3n)).toBe(1);
    expect(run((f) => f.return(f.param(1).ltU(0)), 'i32', 0, -3n)).toBe(0);
    expect(run((f) => f.return(f.param(0).rotl(8)), 'i32', 0x12345678, 0n)).toBe(0x34567812);
    expect(run((f) => f.return(f.param(0).remS(7)), 'i32', -9, 0n)).toBe(-2);
  });
});

describe('constants', () => {
  it.each([
    ['i32', 0xffff_ffff, -1],
    ['i32', -0x8000_0000, -0x8000_0000],
    ['i64', -1, -1n],
    ['i64', 0xffff_ffff_ffff_ffffn, -1n],
    ['i64', 2 ** 40, 2n ** 40n],
    ['f64', 0.1, 0.1],
    ['f64', -0, -0],
    ['f32', 1.5, 1.5],
    ['f64', Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
  ] as const)('%s %s is itself', (type, given, expected) => {
    const { exports } = load(single(functionType([], type), (f) => f.return(f.constant(type, given))));
    expect(exports.test?.()).toBe(expected);
  });

  it('of vectors are their sixteen bytes', () => {
    const module = single(functionType([]), (f) => f.store('v128.store', 32, f.v128([...Array(16).keys()])));
    const { exports, memory } = load(module);
    exports.test?.();
    expect([...new Uint8Array(memory.buffer, 32, 16)]).toEqual([...Array(16).keys()]);
  });
});
