/**
 * Builds one WebAssembly function: values (see value.ts) and statements in program order. Control flow is written with
 * callbacks. On finish() every value is placed: computed inline where its single use stands, kept in a local where it is
 * used more than once, and dropped where it is not used at all, so a semantic function may compute what nobody reads.
 *
 * A load or a variable read keeps its place among stores, calls and assignments; pure operations move freely.
 *
 * Over 600 lines: it is one builder, and where a value is placed and how it is encoded belong together.
 */
import { ByteWriter, Hole, type HoleAt } from './bytes.ts';
import { type MemoryOperator, memoryOperator, type Operator, operator, type ValueType } from './opcodes.ts';
import { fold, identity, type Operand, Value } from './value.ts';

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** A function that can be called: imported, or defined in the same module. Its index is known once all imports are. */
export interface Callee {
  readonly name: string;
  readonly type: FunctionType;
  index(): number;
}

/** A table of functions; imported ones come first. */
export interface Table {
  index(): number;
}

export interface Tag {
  readonly name: string;
  index(): number;
}

/** A stretch of code at one nesting level. */
export interface Region {
  readonly parent: Region | undefined;
  readonly loops: number;
}

export class Label {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** A mutable local. */
export class Variable {
  readonly #builder: FunctionBuilder;
  readonly type: ValueType;
  readonly local: number;
  constructor(builder: FunctionBuilder, type: ValueType, local: number) {
    this.#builder = builder;
    this.type = type;
    this.local = local;
  }
  get(): Value {
    return this.#builder.anchor(new Value(this.#builder, this.type, 'get', [], this.local));
  }
  set(value: Operand): void {
    this.#builder.statement('set', [this.#builder.coerce(value, this.type)], NOTHING, NO_VALUES, this.local);
  }
}

type StatementKind =
  | 'set'
  | 'store'
  | 'call'
  | 'tailCall'
  | 'if'
  | 'else'
  | 'end'
  | 'block'
  | 'loop'
  | 'try'
  | 'br'
  | 'brIf'
  | 'brTable'
  | 'return'
  | 'throw'
  | 'unreachable'
  | 'bulk'
  | 'fence'
  | 'code';

interface StatementParts {
  label?: Label | undefined;
  labels?: readonly Label[];
  callee?: Callee | undefined;
  tableType?: number;
  table?: Table;
  tag?: Tag;
  memory?: MemoryOperator;
  offset?: number;
  code?: readonly number[];
  encode?: Encode;
  hint?: boolean | undefined;
}

/** One shape for all statements, and few fields: they are made by the thousand. */
class Statement {
  readonly kind: StatementKind;
  readonly args: readonly Value[];
  readonly results: readonly Value[];
  /** A local, by kind. */
  readonly local: number;
  readonly parts: StatementParts;

  constructor(
    kind: StatementKind,
    args: readonly Value[],
    results: readonly Value[],
    local: number,
    parts: StatementParts,
  ) {
    this.kind = kind;
    this.args = args;
    this.results = results;
    this.local = local;
    this.parts = parts;
  }
}

/** Encodes a piece of code that is always the same but for its numbers. */
export type Encode = (out: ByteWriter, at: Encoding) => void;
export interface Encoding {
  /** Writes how many labels out a label is, from `inner` labels inside the piece. */
  branch(label: Label, inner: number): void;
  /** Writes the number of a function. */
  callee(callee: Callee): void;
  /** Says of the branch that is written next whether it is likely. */
  hint(likely: boolean): void;
}

const TYPE_CODE: Record<ValueType, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };
const CONST_CODE = { i32: 0x41, i64: 0x42, f32: 0x43, f64: 0x44 } as const;
const VOID = 0x40;
const NO_LANES: readonly number[] = [];
const NO_VALUES: readonly Value[] = [];
const NOTHING: StatementParts = {};
const HINTED = [{ hint: false }, { hint: true }] as const;
/** What a function is encoded into before it is copied out. */
const scratch = new ByteWriter();

/** What a reinterpretation of bits has to do with loads, stores and lanes of either type. */
const CASTS = new Map(
  (
    [
      ['i32', 'f32', 'i32x4', 'f32x4'],
      ['i64', 'f64', 'i64x2', 'f64x2'],
      ['f32', 'i32'],
      ['f64', 'i64'],
    ] as const
  ).map(([from, to, lanes, twins]) => [
    `${to}.reinterpret_${from}`,
    {
      back: `${from}.reinterpret_${to}`,
      // From a lane to an integer the way through a float is the shorter one: it may go on to a lane.
      lane: lanes && `${lanes}.extract_lane`,
      twinLane: `${twins}.extract_lane`,
      load: `${from}.load`,
      twinLoad: `${to}.load`,
      store: `${to}.store`,
      twinStore: `${from}.store`,
    },
  ]),
);
/** Operations that put bits in a lane, and their twins that take the other type. */
const LANE_TWINS = new Map(
  ['replace_lane', 'splat'].flatMap((name) => [
    [`i32x4.${name}`, { reinterpret: 'i32.reinterpret_f32', twin: `f32x4.${name}` }],
    [`i64x2.${name}`, { reinterpret: 'i64.reinterpret_f64', twin: `f64x2.${name}` }],
  ]),
);

export interface FunctionCode {
  /** The function's body: locals and expression, without its leading size. */
  readonly body: Uint8Array;
  /** Offsets in `body` of branches that are hinted, for the branch-hint section. */
  readonly hints: readonly { readonly at: number; readonly likely: boolean }[];
}

/** A recorded piece of code. Locals and functions are numbered as they were there. */
export interface RecordedCode {
  readonly bytes: Uint8Array;
  /** In the order of their places. */
  readonly holes: readonly HoleAt[];
  readonly locals: readonly ValueType[];
  readonly callees: readonly Callee[];
  /** Locals that are set on some paths only. */
  readonly conditional: ReadonlySet<number>;
}

/** Whether an i32 constant, as a condition, is true. */
function holds(condition: Value): boolean {
  return BigInt.asIntN(32, BigInt(condition.imm)) !== 0n;
}

export class FunctionBuilder {
  readonly name: string;
  readonly type: FunctionType;
  region: Region = { parent: undefined, loops: 0 };
  readonly #items: (Value | Statement)[] = [];
  readonly #locals: ValueType[] = [];
  readonly #conditional = new Set<number>();
  /** Constants made so far. */
  readonly #words = new Map<number, Value>();
  readonly #longs = new Map<number, Value>();
  /** Of a recorded piece: where a branch leaves it. */
  readonly outside = new Label('outside');
  /** Functions that a recorded piece calls. */
  readonly #callees: Callee[] = [];
  #freeVariables: Variable[] = [];
  #openVariables: Variable[] = [];
  readonly #typeIndex: (type: FunctionType) => number;

  constructor(name: string, type: FunctionType, typeIndex: (type: FunctionType) => number) {
    this.name = name;
    this.type = type;
    this.#typeIndex = typeIndex;
  }

  // ---- values -------------------------------------------------------------------------------------------------------

  param(index: number): Value {
    const type = this.type.params[index];
    if (!type) throw new Error(`${this.name}: no parameter ${index}`);
    return new Value(this, type, 'param', [], index);
  }

  constant(type: ValueType, value: number | bigint): Value {
    const known =
      typeof value === 'bigint' ? undefined : type === 'i32' ? this.#words : type === 'i64' ? this.#longs : undefined;
    let constant = known?.get(value as number);
    if (!constant) {
      constant = new Value(this, type, 'const', NO_VALUES, value);
      known?.set(value as number, constant);
    }
    return constant;
  }
  i32(value: number): Value {
    return this.constant('i32', value);
  }
  i64(value: number | bigint): Value {
    return this.constant('i64', value);
  }
  /** A v128 constant from its 16 bytes. */
  v128(bytes: readonly number[]): Value {
    return new Value(this, 'v128', 'const', [], 0, undefined, bytes);
  }

  /** A number of a recorded piece that is known when it is written. */
  hole(type: 'i32' | 'i64', which: number): Value {
    return new Value(this, type, 'hole', NO_VALUES, which);
  }

  coerce(operand: Operand, type: ValueType): Value {
    if (!(operand instanceof Value)) return this.constant(type, operand);
    if (operand.type !== type) throw new Error(`${this.name}: ${operand.type} given where ${type} is needed`);
    return operand;
  }

  anchor(value: Value): Value {
    const { args } = value;
    for (let i = 0; i < args.length; i++) this.#checkVisible(args[i] as Value);
    this.#items.push(value);
    return value;
  }

  /** Any numeric or SIMD instruction by its name; `lanes` are its immediate bytes. */
  op(name: string, ...args: Operand[]): Value {
    return this.lane(name, [], ...args);
  }
  lane(name: string, lanes: readonly number[], ...args: Operand[]): Value {
    const op = operator(name);
    if (args.length !== op.params.length || lanes.length !== op.lanes)
      throw new Error(`${this.name}: ${name} takes ${op.params.length} operands and ${op.lanes} immediates`);
    return this.operate(
      op,
      args.map((a, i) => this.coerce(a, op.params[i] as ValueType)),
      lanes,
    );
  }
  /** The same for an operator at hand and operands of its types. */
  operate(op: Operator, values: readonly Value[], lanes: readonly number[] = NO_LANES): Value {
    const folded = fold(op, values);
    if (folded) return this.constant(folded.type, folded.value);
    const same = identity(op, values) ?? (op.moves ? this.#reinterpreted(op, values, lanes) : undefined);
    if (same) return same;
    return this.anchor(new Value(this, op.result, 'op', values, 0, op, lanes));
  }

  /**
   * Bits that change between integer and float on their way from or to a lane, a load or one another go there directly:
   * a lane of the other kind, a load of the other type.
   */
  #reinterpreted(op: Operator, values: readonly Value[], lanes: readonly number[]): Value | undefined {
    const [first, second] = values as [Value, Value | undefined];
    // The low lane of integers: V8 moves a float's bits in one step, a lane's in two.
    if (op.name === 'i64x2.extract_lane' && lanes[0] === 0)
      return this.op('i64.reinterpret_f64', this.lane('f64x2.extract_lane', [0], first));
    const lane = LANE_TWINS.get(op.name);
    if (lane) {
      const bits = second ?? first;
      if (bits.operator?.name !== lane.reinterpret) return undefined;
      const [float] = bits.args as [Value];
      return this.operate(operator(lane.twin), second ? [first, float] : [float], lanes);
    }
    const cast = CASTS.get(op.name);
    if (!cast) return undefined;
    const source = first.operator?.name;
    if (source === cast.back) return first.args[0];
    if (first.kind === 'op' && cast.lane && source === cast.lane)
      return this.operate(operator(cast.twinLane), first.args, first.lanes);
    // A load keeps its place: only right behind it can there be another of the same bytes.
    if (first.kind !== 'load' || source !== cast.load || !this.#isRecent(first)) return undefined;
    return this.load(cast.twinLoad, first.args[0] as Value, Number(first.imm));
  }
  #isRecent(value: Value): boolean {
    for (let i = this.#items.length - 1; i >= 0; i--) {
      const item = this.#items[i];
      if (item === value) return true;
      if (!(item instanceof Value)) return false;
    }
    return false;
  }

  /** `a` where the i32 condition is not zero, else `b`; both are evaluated. */
  select(condition: Value, a: Operand, b: Operand): Value {
    const type = a instanceof Value ? a.type : b instanceof Value ? b.type : 'i32';
    const args = [this.coerce(a, type), this.coerce(b, type), this.coerce(condition, 'i32')];
    if (condition.kind === 'const') return (holds(condition) ? args[0] : args[1]) as Value;
    return this.anchor(new Value(this, type, 'select', args, 0));
  }

  /** A memory load, `name` as in WebAssembly (`i64.load32_u`); `address` is i32, `offset` a constant added to it. */
  load(name: string, address: Operand, offset = 0): Value {
    const op = memoryOperator(name);
    if (op.access !== 'load') throw new Error(`${this.name}: ${name} is not a load`);
    const at = this.coerce(address, 'i32');
    return this.anchor(new Value(this, op.type, 'load', [at], offset, op as unknown as ReturnType<typeof operator>));
  }
  store(name: string, address: Operand, value: Operand, offset = 0): void {
    let op = memoryOperator(name);
    if (op.access !== 'store') throw new Error(`${this.name}: ${name} is not a store`);
    let stored = this.coerce(value, op.type);
    const cast = stored.kind === 'op' ? CASTS.get(stored.operator?.name ?? '') : undefined;
    if (cast?.store === name) {
      op = memoryOperator(cast.twinStore);
      stored = stored.args[0] as Value;
    }
    this.statement('store', [this.coerce(address, 'i32'), stored], { memory: op, offset });
  }
  /** An atomic read-modify-write or compare-exchange; returns the old value. */
  atomic(name: string, address: Operand, ...operands: Operand[]): Value {
    const op = memoryOperator(name);
    if (!name.includes('.rmw') || operands.length !== (name.includes('cmpxchg') ? 2 : 1))
      throw new Error(`${this.name}: ${name} is not an atomic operation on ${operands.length} operands`);
    const result = new Value(this, op.type, 'call', [], 0);
    const args = [this.coerce(address, 'i32'), ...operands.map((o) => this.coerce(o, op.type))];
    this.statement('store', args, { memory: op }, [result]);
    return result;
  }
  atomicFence(): void {
    this.statement('fence');
  }

  variable(type: ValueType, initial?: Operand): Variable {
    const free = this.#freeVariables.findIndex((v) => v.type === type);
    let variable: Variable;
    if (free >= 0) variable = this.#freeVariables.splice(free, 1)[0] as Variable;
    else {
      this.#locals.push(type);
      variable = new Variable(this, type, this.type.params.length + this.#locals.length - 1);
    }
    this.#openVariables.push(variable);
    if (initial !== undefined) variable.set(initial);
    return variable;
  }

  /** Runs `body`; variables it makes are reused afterwards. */
  scope<T>(body: () => T): T {
    const outer = this.#openVariables;
    this.#openVariables = [];
    const result = body();
    this.#freeVariables = this.#freeVariables.concat(this.#openVariables);
    this.#openVariables = outer;
    return result;
  }

  // ---- statements ---------------------------------------------------------------------------------------------------

  #checkVisible(value: Value): void {
    // The usual case.
    if (value.region === this.region && value.builder === this) return;
    if (value.builder !== this) throw new Error(`${this.name}: a value of ${value.builder.name} is used here`);
    let at: Region | undefined = this.region;
    while (at && at !== value.region) at = at.parent;
    if (!at && value.kind !== 'const' && value.kind !== 'param' && value.kind !== 'hole')
      throw new Error(`${this.name}: a value made inside a branch is used outside it; use a variable`);
  }

  statement(
    kind: StatementKind,
    args: readonly Value[] = NO_VALUES,
    parts: StatementParts = NOTHING,
    results: readonly Value[] = NO_VALUES,
    local = -1,
  ): void {
    for (let i = 0; i < args.length; i++) this.#checkVisible(args[i] as Value);
    this.#items.push(new Statement(kind, args, results, local, parts));
  }

  #nested(loop: boolean, body: () => void): void {
    const outer = this.region;
    this.region = { parent: outer, loops: outer.loops + (loop ? 1 : 0) };
    body();
    this.region = outer;
  }

  /** `likely`: whether the condition is expected to hold; becomes a branch hint. */
  if(condition: Operand, then: () => void, otherwise?: () => void, likely?: boolean): void {
    const value = this.coerce(condition, 'i32');
    if (value.kind === 'const') {
      if (holds(value)) then();
      else otherwise?.();
      return;
    }
    this.statement('if', [value], likely === undefined ? NOTHING : HINTED[likely ? 1 : 0]);
    this.#nested(false, then);
    if (otherwise) {
      this.statement('else');
      this.#nested(false, otherwise);
    }
    this.statement('end');
  }
  /** A block; branching to its label leaves it. */
  block(body: (out: Label) => void, name = 'out'): void {
    const label = new Label(name);
    this.statement('block', NO_VALUES, { label });
    this.#nested(false, () => {
      body(label);
    });
    this.statement('end');
  }
  /** A loop; branching to its label starts it again; falling off its end leaves it. */
  loop(body: (again: Label) => void, name = 'again'): void {
    const label = new Label(name);
    this.statement('loop', NO_VALUES, { label });
    this.#nested(true, () => {
      body(label);
    });
    this.statement('end');
  }
  /** Runs `body`; where it throws `tag` (without values), runs `handler`. */
  try(tag: Tag, body: () => void, handler: () => void): void {
    this.block((done) => {
      this.block((caught) => {
        this.statement('try', NO_VALUES, { tag, label: caught });
        this.#nested(false, body);
        this.statement('end');
        this.br(done);
      });
      handler();
    });
  }
  br(label: Label): void {
    this.statement('br', NO_VALUES, { label });
  }
  brIf(label: Label, condition: Operand, likely?: boolean): void {
    const value = this.coerce(condition, 'i32');
    if (value.kind === 'const') {
      if (holds(value)) this.br(label);
      return;
    }
    this.statement('brIf', [value], { label, hint: likely });
  }
  brTable(index: Operand, labels: readonly Label[], otherwise: Label): void {
    this.statement('brTable', [this.coerce(index, 'i32')], { labels, label: otherwise });
  }
  call(callee: Callee, ...args: Operand[]): Value[] {
    return this.#call(callee.type, args, { callee });
  }
  /** A call that returns exactly one value. */
  call1(callee: Callee, ...args: Operand[]): Value {
    const [value] = this.call(callee, ...args);
    if (!value) throw new Error(`${callee.name} returns nothing`);
    return value;
  }
  /** call_indirect through a table of the module. */
  callIndirect(table: Table, type: FunctionType, index: Operand, ...args: Operand[]): Value[] {
    return this.#call(type, args, { tableType: this.#typeIndex(type), table }, this.coerce(index, 'i32'));
  }
  /** The same in place of returning: the function's results are those of the callee. */
  tailCallIndirect(table: Table, type: FunctionType, index: Operand, ...args: Operand[]): void {
    const values = args.map((a, i) => this.coerce(a, type.params[i] as ValueType));
    values.push(this.coerce(index, 'i32'));
    this.statement('tailCall', values, { tableType: this.#typeIndex(type), table });
  }
  #call(type: FunctionType, args: readonly Operand[], how: StatementParts, index?: Value): Value[] {
    if (args.length !== type.params.length)
      throw new Error(`${this.name}: ${how.callee?.name ?? 'indirect call'} takes ${type.params.length} arguments`);
    const values = args.map((a, i) => this.coerce(a, type.params[i] as ValueType));
    if (index) values.push(index);
    const results = type.results.map((t) => new Value(this, t, 'call', [], 0));
    this.statement('call', values, how, results);
    return results;
  }
  return(...values: Operand[]): void {
    if (values.length !== this.type.results.length)
      throw new Error(`${this.name}: returns ${this.type.results.length} values, ${values.length} given`);
    const args = values.map((v, i) => this.coerce(v, this.type.results[i] as ValueType));
    this.statement('return', args);
  }
  throw(tag: Tag): void {
    this.statement('throw', NO_VALUES, { tag });
  }
  unreachable(): void {
    this.statement('unreachable');
  }
  memoryFill(address: Operand, byte: Operand, length: Operand): void {
    this.#bulk([0xfc, 11, 0], [address, byte, length]);
  }
  memoryCopy(to: Operand, from: Operand, length: Operand): void {
    this.#bulk([0xfc, 10, 0, 0], [to, from, length]);
  }
  #bulk(code: readonly number[], args: readonly Operand[]): void {
    this.statement(
      'bulk',
      args.map((a) => this.coerce(a, 'i32')),
      { code },
    );
  }

  /** A piece of code that encodes itself: it finds `args` on the stack, the last one on top, and leaves one value. */
  code(type: ValueType, args: readonly Value[], encode: Encode): Value {
    const result = new Value(this, type, 'call', NO_VALUES, 0);
    this.statement('code', args, { encode }, [result]);
    return result;
  }

  /** The same for what only has an effect. */
  effect(encode: Encode): void {
    this.statement('code', NO_VALUES, { encode });
  }

  // ---- placement and encoding -----------------------------------------------------------------------------------------

  /** Decides for each value where it is computed, walking backwards so that all users of a value are seen before it. */
  #place(): void {
    const items = this.#items;
    const effects = new Int32Array(items.length + 1);
    for (let i = 0; i < items.length; i++)
      effects[i + 1] = (effects[i] as number) + (items[i] instanceof Value ? 0 : 1);
    // The end of the outermost loop that holds position `at` but not the value's own region.
    const loopEnds: number[] = [];
    const use = (value: Value, at: number): void => {
      if (value.kind === 'const' || value.kind === 'param' || value.kind === 'hole') return;
      value.uses++;
      value.useAt = at;
      const last = loopEnds[value.region.loops] ?? at;
      if (last > value.lastUse) value.lastUse = last;
    };
    for (let i = items.length - 1; i >= 0; i--) {
      const item = items[i] as Value | Statement;
      if (item instanceof Value) {
        if (item.uses === 0) continue;
        const quiet = effects[item.useAt] === effects[i];
        const user = items[item.useAt];
        const useLoops = user instanceof Value ? user.region.loops : this.#loopsAt[item.useAt];
        item.inlined =
          item.uses === 1 && useLoops === item.region.loops && (item.kind === 'op' || item.kind === 'select' || quiet);
        const at = item.inlined ? item.useAt : i;
        for (let n = 0; n < item.args.length; n++) use(item.args[n] as Value, at);
        continue;
      }
      if (item.kind === 'end' && this.#opener[i] === 'loop') loopEnds.push(i);
      if (item.kind === 'loop') loopEnds.pop();
      for (let n = 0; n < item.args.length; n++) use(item.args[n] as Value, i);
    }
  }

  #loopsAt: number[] = [];
  #opener: string[] = [];

  #structure(): void {
    const stack: string[] = [];
    let loops = 0;
    this.#items.forEach((item, i) => {
      this.#loopsAt[i] = loops;
      if (item instanceof Value) return;
      if (item.kind === 'if' || item.kind === 'block' || item.kind === 'loop' || item.kind === 'try') {
        stack.push(item.kind);
        if (item.kind === 'loop') loops++;
      } else if (item.kind === 'end') {
        const opener = stack.pop() as string;
        this.#opener[i] = opener;
        if (opener === 'loop') loops--;
      }
    });
  }

  finish(): FunctionCode {
    const out = scratch;
    const hints = this.#encode(out);
    if (this.type.results.length > 0) out.byte(0x00);
    out.byte(0x0b);
    const head = new ByteWriter();
    const groups: [number, ValueType][] = [];
    for (const type of this.#locals) {
      const last = groups.at(-1);
      if (last && last[1] === type) last[0]++;
      else groups.push([1, type]);
    }
    head.unsigned(groups.length);
    for (const [count, type] of groups) {
      head.unsigned(count);
      head.byte(TYPE_CODE[type]);
    }
    const shift = head.length;
    head.raw(out.view());
    return { body: head.finish(), hints: hints.map((h) => ({ at: h.at + shift, likely: h.likely })) };
  }

  /** The statements alone, without what depends on the function that they are written into. */
  record(): RecordedCode {
    const out = scratch;
    const holes: HoleAt[] = [];
    out.holes = holes;
    try {
      for (const { at, likely } of this.#encode(out)) holes.push({ kind: Hole.HINT, at, value: likely ? 1 : 0 });
    } finally {
      out.holes = undefined;
    }
    // A number that belongs to the instruction before the hinted one comes first: sorting keeps that order.
    holes.sort((a, b) => a.at - b.at);
    return { bytes: out.finish(), holes, locals: this.#locals, callees: this.#callees, conditional: this.#conditional };
  }

  #encode(out: ByteWriter): { at: number; likely: boolean }[] {
    this.#structure();
    this.#place();
    out.length = 0;
    const hints: { at: number; likely: boolean }[] = [];
    const free = new Map<ValueType, number[]>();
    const expiring: (Value[] | undefined)[] = new Array<Value[] | undefined>(this.#items.length);
    const labels: (Label | undefined)[] = [];
    const localIndex = (type: ValueType): number => {
      const reusable = free.get(type)?.pop();
      if (reusable !== undefined) return reusable;
      this.#locals.push(type);
      return this.type.params.length + this.#locals.length - 1;
    };
    const keep = (value: Value): void => {
      value.local = localIndex(value.type);
      const list = expiring[value.lastUse];
      if (list) list.push(value);
      else expiring[value.lastUse] = [value];
      set(value.local);
    };
    // A local that is read right after it was set: local.tee.
    let lastSet = { local: -1, from: 0, to: -1 };
    const set = (local: number): void => {
      const from = out.length;
      out.byte(0x21);
      out.index(Hole.LOCAL, local);
      lastSet = { local, from, to: out.length };
    };
    const get = (local: number): void => {
      if (lastSet.to === out.length && lastSet.local === local) {
        out.patch(lastSet.from, 0x22);
        lastSet.to = -1;
        return;
      }
      out.byte(0x20);
      out.index(Hole.LOCAL, local);
    };
    const emit = (value: Value): void => {
      if (value.local >= 0) {
        get(value.local);
        return;
      }
      if (value.kind === 'const') this.#constant(out, value);
      else if (value.kind === 'hole') {
        out.byte(CONST_CODE[value.type as 'i32' | 'i64']);
        out.index(value.type === 'i32' ? Hole.WORD : Hole.LONG, Number(value.imm));
      } else if (value.kind === 'param' || value.kind === 'get') get(Number(value.imm));
      else {
        for (const arg of value.args) emit(arg);
        if (value.kind === 'select') {
          if (value.type === 'v128') out.raw([0x1c, 1, TYPE_CODE.v128]);
          else out.byte(0x1b);
        } else if (value.kind === 'load')
          this.#access(out, value.operator as unknown as MemoryOperator, Number(value.imm));
        else if (value.kind === 'op' && value.operator) {
          out.raw(value.operator.code);
          if (value.lanes) out.raw(value.lanes);
        } else throw new Error(`${this.name}: a call's result is used before the call`);
      }
    };
    /** Of a recorded piece, how many of its own labels a branch that leaves it is inside of. */
    const branch = (label: Label | undefined, inner = 0): void => {
      if (out.holes && label === this.outside) out.index(Hole.BRANCH, labels.length + inner);
      else out.unsigned(depth(label) + inner);
    };
    const depth = (label: Label | undefined): number => {
      const at = labels.lastIndexOf(label);
      if (at < 0) throw new Error(`${this.name}: branch to a label that is not open`);
      return labels.length - 1 - at;
    };
    this.#items.forEach((item, i) => {
      if (item instanceof Value) {
        if (item.uses > 0 && !item.inlined) {
          emit(item);
          keep(item);
        }
      } else {
        if (item.kind !== 'else' && item.kind !== 'end') for (const arg of item.args) emit(arg);
        if (item.kind === 'set') {
          if (labels.length > 0) this.#conditional.add(item.local);
          set(item.local);
        } else this.#statement(out, item, labels, depth, branch, hints);
        const { results } = item;
        for (let r = results.length - 1; r >= 0; r--) {
          const result = results[r] as Value;
          if (result.uses > 0) keep(result);
          else out.byte(0x1a);
        }
      }
      const expired = expiring[i];
      if (!expired) return;
      for (const value of expired) {
        const list = free.get(value.type);
        if (list) list.push(value.local);
        else free.set(value.type, [value.local]);
      }
    });
    return hints;
  }

  #statement(
    out: ByteWriter,
    item: Statement,
    labels: (Label | undefined)[],
    depth: (label: Label | undefined) => number,
    branch: (label: Label | undefined, inner?: number) => void,
    hints: { at: number; likely: boolean }[],
  ): void {
    const { parts } = item;
    const hint = (): void => {
      if (parts.hint !== undefined) hints.push({ at: out.length, likely: parts.hint });
    };
    switch (item.kind) {
      case 'set':
        break;
      case 'store':
        this.#access(out, parts.memory as MemoryOperator, parts.offset ?? 0);
        break;
      case 'call':
        if (parts.callee) {
          out.byte(0x10);
          this.#callee(out, parts.callee);
        } else {
          out.byte(0x11);
          out.unsigned(parts.tableType ?? 0);
          out.unsigned((parts.table as Table).index());
        }
        break;
      case 'tailCall':
        out.byte(0x13);
        out.unsigned(parts.tableType ?? 0);
        out.unsigned((parts.table as Table).index());
        break;
      case 'if':
        hint();
        out.raw([0x04, VOID]);
        labels.push(undefined);
        break;
      case 'else':
        out.byte(0x05);
        break;
      case 'block':
      case 'loop':
        out.raw([item.kind === 'block' ? 0x02 : 0x03, VOID]);
        labels.push(parts.label);
        break;
      case 'try':
        out.raw([0x1f, VOID, 1, 0x00]);
        out.unsigned((parts.tag as Tag).index());
        out.unsigned(depth(parts.label));
        labels.push(undefined);
        break;
      case 'end':
        out.byte(0x0b);
        labels.pop();
        break;
      case 'br':
        out.byte(0x0c);
        branch(parts.label);
        break;
      case 'brIf':
        hint();
        out.byte(0x0d);
        branch(parts.label);
        break;
      case 'brTable': {
        out.byte(0x0e);
        const targets = parts.labels as readonly Label[];
        const memo = new Map<Label, number>();
        out.unsigned(targets.length);
        for (const label of targets) {
          let d = memo.get(label);
          if (d === undefined) {
            d = depth(label);
            memo.set(label, d);
          }
          out.unsigned(d);
        }
        out.unsigned(depth(parts.label));
        break;
      }
      case 'return':
        out.byte(0x0f);
        break;
      case 'throw':
        out.byte(0x08);
        out.unsigned((parts.tag as Tag).index());
        break;
      case 'unreachable':
        out.byte(0x00);
        break;
      case 'bulk':
        out.raw(parts.code as readonly number[]);
        break;
      case 'fence':
        out.raw([0xfe, 0x03, 0x00]);
        break;
      case 'code':
        (parts.encode as Encode)(out, {
          branch,
          callee: (callee) => {
            this.#callee(out, callee);
          },
          hint: (likely) => {
            hints.push({ at: out.length, likely });
          },
        });
        break;
    }
  }

  #callee(out: ByteWriter, callee: Callee): void {
    if (!out.holes) {
      out.unsigned(callee.index());
      return;
    }
    if (!this.#callees.includes(callee)) this.#callees.push(callee);
    out.index(Hole.CALLEE, this.#callees.indexOf(callee));
  }

  #constant(out: ByteWriter, value: Value): void {
    if (value.type === 'v128') {
      out.raw([0xfd, 0x0c]);
      out.raw(value.lanes as readonly number[]);
      return;
    }
    out.byte(CONST_CODE[value.type]);
    const { imm } = value;
    if (typeof imm === 'number' && imm === (imm | 0) && value.type[0] === 'i') out.signed32(imm);
    else if (value.type === 'i32') out.signed32(Number(BigInt.asIntN(32, BigInt(imm))));
    else if (value.type === 'i64') out.signed64(BigInt(value.imm));
    else {
      const bytes = new DataView(new ArrayBuffer(8));
      if (value.type === 'f32') bytes.setFloat32(0, Number(value.imm), true);
      else bytes.setFloat64(0, Number(value.imm), true);
      out.raw(new Uint8Array(bytes.buffer, 0, value.type === 'f32' ? 4 : 8));
    }
  }

  #access(out: ByteWriter, op: MemoryOperator, offset: number): void {
    out.raw(op.code);
    // Guest addresses have any alignment; only atomics must state their natural one.
    out.unsigned(op.atomic ? op.align : 0);
    out.unsigned(offset);
  }
}

export { TYPE_CODE };
