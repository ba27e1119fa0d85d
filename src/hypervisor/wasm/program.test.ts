/**
 * Random programs through the builder against a direct evaluation of the same program: whatever the placement pass moves,
 * keeps, drops or folds must not show.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Callee, FunctionBuilder, Label, Variable } from './function.ts';
import { functionType, load, newModule } from './testing.fixture.ts';
import type { Value } from './value.ts';

type Type = 'i32' | 'i64';
/** Statements; values are numbered in the order of their making, `id` is what the statement makes. */
type Node =
  | { kind: 'const' | 'param'; id: number; type: Type; value: bigint }
  | { kind: 'op'; id: number; type: Type; name: string; args: number[] }
  | { kind: 'select'; id: number; type: Type; args: number[] }
  | { kind: 'get'; id: number; type: Type; variable: number }
  | { kind: 'load' | 'atomic'; id: number; type: Type; name: string; args: number[] }
  | { kind: 'call'; id: number; type: Type; args: number[] }
  | { kind: 'set'; variable: number; value: number }
  | { kind: 'store'; name: string; args: number[] }
  | { kind: 'if'; condition: number; then: Node[]; otherwise: Node[] | undefined }
  | { kind: 'block'; body: Node[] }
  | { kind: 'break'; out: number; condition: number }
  | { kind: 'loop'; times: number; body: Node[] };

const VARIABLES: readonly Type[] = ['i32', 'i32', 'i64', 'i64'];
const PARAMS: readonly Type[] = ['i32', 'i64', 'i32'];
/** Memory that programs touch: 64 bytes, and room for an access at the last of them. */
const BASE = 256;

// ---- operations, evaluated directly -----------------------------------------------------------------------------------

const width = (type: Type): number => (type === 'i64' ? 64 : 32);
const unsigned = (type: Type, v: bigint): bigint => BigInt.asUintN(width(type), v);
const signed = (type: Type, v: bigint): bigint => BigInt.asIntN(width(type), v);

function leadingZeros(bits: number, v: bigint): bigint {
  return BigInt(bits - (v === 0n ? 0 : v.toString(2).length));
}
function trailingZeros(bits: number, v: bigint): bigint {
  return v === 0n ? BigInt(bits) : BigInt(/0*$/.exec(v.toString(2))?.[0].length ?? 0);
}

/** Operations on one or two values of `t`, all arguments and results unsigned. */
const BINARY: Record<string, (a: bigint, b: bigint, t: Type) => bigint> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b, t) => a << (b % BigInt(width(t))),
  shr_u: (a, b, t) => a >> (b % BigInt(width(t))),
  shr_s: (a, b, t) => signed(t, a) >> (b % BigInt(width(t))),
  rotl: (a, b, t) => (a << (b % BigInt(width(t)))) | (a >> (BigInt(width(t)) - (b % BigInt(width(t))))),
  rotr: (a, b, t) => (a >> (b % BigInt(width(t)))) | (a << (BigInt(width(t)) - (b % BigInt(width(t))))),
};
const COMPARE: Record<string, (a: bigint, b: bigint, t: Type) => boolean> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt_u: (a, b) => a < b,
  ge_u: (a, b) => a >= b,
  gt_u: (a, b) => a > b,
  le_u: (a, b) => a <= b,
  lt_s: (a, b, t) => signed(t, a) < signed(t, b),
  ge_s: (a, b, t) => signed(t, a) >= signed(t, b),
  gt_s: (a, b, t) => signed(t, a) > signed(t, b),
  le_s: (a, b, t) => signed(t, a) <= signed(t, b),
};
const UNARY: Record<string, (a: bigint, t: Type) => bigint> = {
  clz: (a, t) => leadingZeros(width(t), a),
  ctz: (a, t) => trailingZeros(width(t), a),
  popcnt: (a) => BigInt(a.toString(2).replaceAll('0', '').length),
  extend8_s: (a) => BigInt.asIntN(8, a),
  extend16_s: (a) => BigInt.asIntN(16, a),
};
function evaluateOp(name: string, args: bigint[]): bigint {
  const [prefix, rest] = name.split('.') as [Type, string];
  const [a, b] = args as [bigint, bigint];
  if (rest === 'eqz') return a === 0n ? 1n : 0n;
  if (rest === 'wrap_i64') return unsigned('i32', a);
  if (rest === 'extend_i32_u') return a;
  if (rest === 'extend_i32_s') return unsigned('i64', signed('i32', a));
  const compare = COMPARE[rest];
  if (compare) return compare(a, b, prefix) ? 1n : 0n;
  const unary = UNARY[rest];
  return unsigned(
    prefix,
    unary ? unary(a, prefix) : (BINARY[rest] as NonNullable<(typeof BINARY)[string]>)(a, b, prefix),
  );
}
/** Result type, parameter types, name. */
const OPERATIONS: [Type, Type[], string][] = (['i32', 'i64'] as const).flatMap((t): [Type, Type[], string][] => [
  ...Object.keys(BINARY).map((n): [Type, Type[], string] => [t, [t, t], `${t}.${n}`]),
  ...Object.keys(COMPARE).map((n): [Type, Type[], string] => ['i32', [t, t], `${t}.${n}`]),
  ...Object.keys(UNARY).map((n): [Type, Type[], string] => [t, [t], `${t}.${n}`]),
  ['i32', [t], `${t}.eqz`],
]);
OPERATIONS.push(
  ['i32', ['i64'], 'i32.wrap_i64'],
  ['i64', ['i32'], 'i64.extend_i32_u'],
  ['i64', ['i32'], 'i64.extend_i32_s'],
);

// ---- making programs ----------------------------------------------------------------------------------------------------

class Maker {
  #seed: number;
  #ids = 0;
  #budget: number;
  constructor(seed: number, size: number) {
    this.#seed = seed;
    this.#budget = size;
  }
  /** 0..n-1. */
  pick(n: number): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }
  word(): bigint {
    const bits = [1, 3, 8, 32, 64][this.pick(5)] as number;
    return (
      BigInt.asUintN(bits, (BigInt(this.pick(2 ** 32)) << 32n) | BigInt(this.pick(2 ** 32))) * (this.pick(3) ? 1n : -1n)
    );
  }

  program(): Node[] {
    const body: Node[] = [];
    const visible: [number, Type][] = [];
    PARAMS.forEach((type, i) => {
      const id = this.#ids++;
      body.push({ kind: 'param', id, type, value: BigInt(i) });
      visible.push([id, type]);
    });
    body.push(...this.sequence(visible, 0, 0));
    return body;
  }

  sequence(outside: readonly [number, Type][], depth: number, blocks: number): Node[] {
    const visible = [...outside];
    const out: Node[] = [];
    const value = (type: Type): number => {
      const fitting = visible.filter((v) => v[1] === type);
      if (fitting.length === 0 || this.pick(8) === 0) {
        const id = this.#ids++;
        out.push({ kind: 'const', id, type, value: unsigned(type, this.word()) });
        visible.push([id, type]);
        return id;
      }
      // Rather one of the newest.
      return (fitting[Math.max(this.pick(fitting.length), this.pick(fitting.length))] as [number, Type])[0];
    };
    const made = (type: Type): number => {
      const id = this.#ids++;
      visible.push([id, type]);
      return id;
    };
    /** An address within the 64 bytes, aligned to 8. */
    const address = (): number => {
      const any = value('i32');
      const [mask, id] = [this.#ids++, this.#ids++];
      out.push({ kind: 'const', id: mask, type: 'i32', value: 56n });
      out.push({ kind: 'op', id, type: 'i32', name: 'i32.and', args: [any, mask] });
      return id;
    };
    for (let n = 2 + this.pick(8); n > 0 && this.#budget > 0; n--) {
      this.#budget--;
      const choice = this.pick(depth > 3 ? 16 : 21);
      const type: Type = this.pick(2) ? 'i32' : 'i64';
      if (choice < 7) {
        const [result, params, name] = OPERATIONS[this.pick(OPERATIONS.length)] as [Type, Type[], string];
        const args = params.map(value);
        out.push({ kind: 'op', name, args, type: result, id: made(result) });
      } else if (choice < 8) {
        const args = [value(type), value(type), value('i32')];
        out.push({ kind: 'select', args, type, id: made(type) });
      } else if (choice < 10) {
        const variable = this.pick(VARIABLES.length);
        const of = VARIABLES[variable] as Type;
        out.push({ kind: 'get', variable, type: of, id: made(of) });
      } else if (choice < 12) {
        const args = [address()];
        out.push({ kind: 'load', name: `${type}.load`, args, type, id: made(type) });
      } else if (choice < 13) {
        out.push({ kind: 'store', name: `${type}.store`, args: [address(), value(type)] });
      } else if (choice < 15) {
        const variable = this.pick(VARIABLES.length);
        out.push({ kind: 'set', variable, value: value(VARIABLES[variable] as Type) });
      } else if (choice < 16) {
        if (this.pick(2)) {
          const args = [address(), value(type)];
          out.push({ kind: 'atomic', name: `${type}.atomic.rmw.xchg`, args, type, id: made(type) });
        } else {
          const args = [value('i32'), value('i64')];
          out.push({ kind: 'call', args, type: 'i64', id: made('i64') });
        }
      } else if (choice < 18) {
        const condition = value('i32');
        const then = this.sequence(visible, depth + 1, blocks);
        out.push({
          kind: 'if',
          condition,
          then,
          otherwise: this.pick(2) ? this.sequence(visible, depth + 1, blocks) : undefined,
        });
      } else if (choice < 19) {
        out.push({ kind: 'block', body: this.sequence(visible, depth + 1, blocks + 1) });
      } else if (choice < 20) {
        if (blocks > 0) out.push({ kind: 'break', out: this.pick(blocks), condition: value('i32') });
      } else out.push({ kind: 'loop', times: this.pick(4) + 1, body: this.sequence(visible, depth + 1, blocks) });
    }
    return out;
  }
}

// ---- the two readings of a program ----------------------------------------------------------------------------------------

/** Leaves every variable in memory after the 64 bytes: the outcome is memory, and what was called with what. */
function build(f: FunctionBuilder, program: readonly Node[], host: Callee): void {
  const variables: Variable[] = VARIABLES.map((t, i) => f.variable(t, i + 1));
  const values: Value[] = [];
  const of = (id: number): Value => values[id] as Value;
  const blocks: Label[] = [];
  const sequence = (nodes: readonly Node[]): void => {
    for (const n of nodes) {
      switch (n.kind) {
        case 'const':
          values[n.id] = f.constant(n.type, n.value);
          break;
        case 'param':
          values[n.id] = f.param(Number(n.value));
          break;
        case 'op':
          values[n.id] = f.op(n.name, ...n.args.map(of));
          break;
        case 'select':
          values[n.id] = f.select(of(n.args[2] as number), of(n.args[0] as number), of(n.args[1] as number));
          break;
        case 'get':
          values[n.id] = (variables[n.variable] as Variable).get();
          break;
        case 'load':
          values[n.id] = f.load(n.name, of(n.args[0] as number), BASE);
          break;
        case 'atomic':
          values[n.id] = f.atomic(n.name, of(n.args[0] as number).add(BASE), of(n.args[1] as number));
          break;
        case 'call':
          values[n.id] = f.call1(host, ...n.args.map(of));
          break;
        case 'set':
          (variables[n.variable] as Variable).set(of(n.value));
          break;
        case 'store':
          f.store(n.name, of(n.args[0] as number), of(n.args[1] as number), BASE);
          break;
        case 'if': {
          const { otherwise } = n;
          f.if(of(n.condition), () => sequence(n.then), otherwise && (() => sequence(otherwise)));
          break;
        }
        case 'block':
          f.block((out) => {
            blocks.push(out);
            sequence(n.body);
            blocks.pop();
          });
          break;
        case 'break':
          f.brIf(blocks[n.out] as Label, of(n.condition));
          break;
        case 'loop':
          f.scope(() => {
            const left = f.variable('i32', n.times);
            f.loop((again) => {
              sequence(n.body);
              left.set(left.get().sub(1));
              f.brIf(again, left.get());
            });
          });
          break;
      }
    }
  };
  sequence(program);
  variables.forEach((v, i) => {
    f.store(`${v.type}.store`, 0, v.get(), BASE + 72 + 8 * i);
  });
}

class Break {
  readonly out: number;
  constructor(out: number) {
    this.out = out;
  }
}

function evaluate(
  program: readonly Node[],
  params: readonly bigint[],
  memory: DataView,
  host: (a: bigint, b: bigint) => bigint,
): void {
  const variables = VARIABLES.map((_, i) => BigInt(i + 1));
  const values: bigint[] = [];
  const of = (id: number | undefined): bigint => values[id as number] as bigint;
  const read = (type: Type, at: number): bigint =>
    type === 'i64' ? memory.getBigUint64(at, true) : BigInt(memory.getUint32(at, true));
  const write = (type: Type, at: number, v: bigint): void => {
    if (type === 'i64') memory.setBigUint64(at, v, true);
    else memory.setUint32(at, Number(v), true);
  };
  let blocks = 0;
  const sequence = (nodes: readonly Node[]): void => {
    for (const n of nodes) {
      switch (n.kind) {
        case 'const':
          values[n.id] = n.value;
          break;
        case 'param':
          values[n.id] = params[Number(n.value)] as bigint;
          break;
        case 'op':
          values[n.id] = evaluateOp(n.name, n.args.map(of));
          break;
        case 'select':
          values[n.id] = of(n.args[2]) ? of(n.args[0]) : of(n.args[1]);
          break;
        case 'get':
          values[n.id] = variables[n.variable] as bigint;
          break;
        case 'load':
          values[n.id] = read(n.type, Number(of(n.args[0])));
          break;
        case 'atomic': {
          const old = read(n.type, Number(of(n.args[0])));
          write(n.type, Number(of(n.args[0])), of(n.args[1]));
          values[n.id] = old;
          break;
        }
        case 'call':
          values[n.id] = host(of(n.args[0]), of(n.args[1]));
          break;
        case 'set':
          variables[n.variable] = of(n.value);
          break;
        case 'store':
          write(n.name.slice(0, 3) as Type, Number(of(n.args[0])), of(n.args[1]));
          break;
        case 'if':
          sequence(of(n.condition) ? n.then : (n.otherwise ?? []));
          break;
        case 'block': {
          const own = blocks++;
          try {
            sequence(n.body);
          } catch (error) {
            if (!(error instanceof Break) || error.out !== own) throw error;
          } finally {
            blocks = own;
          }
          break;
        }
        case 'break':
          if (of(n.condition)) throw new Break(n.out);
          break;
        case 'loop':
          for (let i = 0; i < n.times; i++) sequence(n.body);
          break;
      }
    }
  };
  sequence(program);
  variables.forEach((v, i) => {
    write(VARIABLES[i] as Type, 72 + 8 * i, v);
  });
}

/** Reads and changes memory, so that its place among loads and stores matters. */
function hostFunction(memory: () => DataView, log: string[]): (a: bigint, b: bigint) => bigint {
  return (a, b) => {
    log.push(`${a} ${b}`);
    const at = Number(a & 56n);
    const old = memory().getBigUint64(at, true);
    memory().setBigUint64(at, BigInt.asUintN(64, old * 3n + b), true);
    return BigInt.asUintN(64, old ^ b);
  };
}

describe('a built program', () => {
  it('does what its statements say in their order', () => {
    let effects = 0;
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 1, max: 120 }),
        fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { minLength: 6, maxLength: 6 }),
        (seed, size, words) => {
          const program = new Maker(seed, size).program();
          const module = newModule();
          const host = module.importFunction('host', functionType(['i32', 'i64'], 'i64'));
          module.function('test', functionType(PARAMS), (f) => build(f, program, host), true);
          const calls: string[] = [];
          let view: DataView | undefined;
          const call = hostFunction(() => view as DataView, calls);
          const { exports, memory } = load(module, {
            host: (a: number, b: bigint) => call(BigInt(a >>> 0), BigInt.asUintN(64, b)),
          });
          view = new DataView(memory.buffer, BASE, 128);
          const expectedCalls: string[] = [];
          const expectedView = new DataView(new ArrayBuffer(128));
          for (let i = 0; i < 9; i++) {
            const word = (words[i % 6] as bigint) ^ BigInt(i);
            view.setBigUint64(8 * i, word, true);
            expectedView.setBigUint64(8 * i, word, true);
          }
          const params = PARAMS.map((t, i) => unsigned(t, words[i] as bigint));
          exports.test?.(...params.map((v, i) => (PARAMS[i] === 'i64' ? v : Number(v))));
          evaluate(
            program,
            params,
            expectedView,
            hostFunction(() => expectedView, expectedCalls),
          );
          effects += calls.length;
          expect(calls).toEqual(expectedCalls);
          for (let i = 0; i < 16; i++)
            expect(view.getBigUint64(8 * i, true), `word ${i}`).toBe(expectedView.getBigUint64(8 * i, true));
        },
      ),
      { numRuns: Number(process.env.VIRIDIAN_PROGRAMS ?? 1500) },
    );
    expect(effects).toBeGreaterThan(100);
  });
});
