/**
 * The x87 instructions as WebAssembly helpers over VpState: stack faults, masked and unmasked responses, and the calls into
 * the software floating point that do the arithmetic. Intel SDM vol. 1, chapter 8. The first parameter of each is the
 * address of the VpState. Extended values are two: i64 significand, then i32 sign and exponent.
 *
 * An instruction clears C1, raises what comes before its result (#IS, then #IA, #Z, #D; unmasked it changes nothing else),
 * writes its result, raises what comes with it, and pops.
 */
import { VpState } from '../../vp/state.ts';
import type { FunctionBuilder, FunctionType } from '../../wasm/function.ts';
import type { ValueType } from '../../wasm/opcodes.ts';
import type { Operand, Value } from '../../wasm/value.ts';
import { FORMAT_32, FORMAT_64, type HelperDefinition, Kind } from '../softfloat/format.ts';
import { type BinaryOperation, type Extended, quickBinary80, quickNarrow } from '../softfloat/quick80.ts';
import { Status } from './extended.ts';

type Find = Parameters<HelperDefinition['build']>[1];
const INDEFINITE_SIGNIFICAND = 0xc000000000000000n;
const INDEFINITE_HEAD = 0xffff;
const STACK_FAULT = Status.IE | Status.SF;
/** Flags that, unmasked, leave the destination alone. */
const BEFORE = Status.IE | Status.DE | Status.ZE;
const CONDITIONS = Status.C0 | Status.C2 | Status.C3;
/** Bit of #D's mask in a softfloat control word, and the truncating rounding. */
const DENORMALS_MASKED = Status.DE << 7;
const TRUNCATE = 3 << 13;

export const ARITHMETIC = ['add', 'mul', 'sub', 'subr', 'div', 'divr'] as const;

type Field = 'fcw' | 'fsw' | 'ftop' | 'ftw';

/**
 * The x87 state as helpers see it. What a field holds is known from its first use on, outside of branches; setting it in a
 * branch that goes on, or calling another helper of the unit, forgets it.
 */
class Unit {
  readonly f: FunctionBuilder;
  readonly find: Find;
  readonly vp: Value;
  readonly #body: FunctionBuilder['region'];
  #known = new Map<Field, Value>();

  constructor(f: FunctionBuilder, find: Find) {
    this.f = f;
    this.find = find;
    this.vp = f.param(0);
    this.#body = f.region;
  }

  get(field: Field): Value {
    const known = this.#known.get(field);
    if (known) return known;
    const value = this.f.load('i32.load', this.vp, VpState.offset(field));
    if (this.f.region === this.#body) this.#known.set(field, value);
    return value;
  }
  set(field: 'fsw' | 'ftop' | 'ftw', value: Operand): void {
    const v = this.f.coerce(value, 'i32');
    this.f.store('i32.store', this.vp, v, VpState.offset(field));
    if (this.f.region === this.#body) this.#known.set(field, v);
    else this.#known.delete(field);
  }
  /** Code that leaves the helper: what it sets is not seen behind it. */
  quick(body: () => void): void {
    const before = new Map(this.#known);
    body();
    this.#known = before;
  }

  /** The physical number of ST(i). */
  physical(i: Operand): Value {
    return i === 0 ? this.get('ftop') : this.get('ftop').add(i).and(7);
  }
  isEmpty(i: Operand): Value {
    return this.get('ftw').shrU(this.physical(i)).and(1).eqz();
  }
  #address(i: Operand): Value {
    return this.vp.add(this.physical(i).shl(4));
  }
  read(i: Operand): [significand: Value, head: Value] {
    const at = this.#address(i);
    const base = VpState.offset('x87');
    return [this.f.load('i64.load', at, base), this.f.load('i32.load16_u', at, base + 8)];
  }
  /** Writes ST(i), which is then not empty. */
  write(i: Operand, significand: Operand, head: Operand): void {
    const at = this.#address(i);
    const base = VpState.offset('x87');
    this.f.store('i64.store', at, significand, base);
    this.f.store('i64.store', at, this.f.coerce(head, 'i32').extU(), base + 8);
    this.set('ftw', this.get('ftw').or(this.f.i32(1).shl(this.physical(i))));
  }
  writeIndefinite(i: Operand): void {
    this.write(i, INDEFINITE_SIGNIFICAND, INDEFINITE_HEAD);
  }
  /** Empties the top register and goes on to the next. */
  pop(): void {
    const top = this.get('ftop');
    this.set('ftw', this.get('ftw').and(this.f.i32(1).shl(top).not()));
    this.set('ftop', top.add(1).and(7));
  }
  /** Makes room: what was ST(7) is the new ST(0). */
  descend(): void {
    this.set('ftop', this.get('ftop').sub(1).and(7));
  }
  clearC1(): void {
    this.set('fsw', this.get('fsw').and(~Status.C1));
  }
  setConditions(bits: Operand): void {
    this.set('fsw', this.get('fsw').and(~CONDITIONS).or(bits));
  }

  /** The control word in the layout that the software floating point takes. */
  control(): Value {
    const fcw = this.get('fcw');
    return fcw.and(0x3f).shl(7).or(fcw.and(0xc00).shl(3)).or(fcw.and(0x300).shl(8));
  }
  /** Sets flags; the value says which of them are unmasked. */
  signal(flags: Operand): Value {
    const raised = this.f.coerce(flags, 'i32');
    const pending = raised.and(this.get('fcw').not()).and(0x3f);
    const summary = this.f.select(pending, Status.ES | Status.B, 0);
    this.set('fsw', this.get('fsw').or(raised).or(summary));
    return pending;
  }
  /** On a stack fault: the masked response, or nothing but the flags; either way `leave` the helper. */
  fault(condition: Value, flags: Operand, masked: () => void, leave: () => void): void {
    this.quick(() => {
      this.f.if(
        condition,
        () => {
          this.f.if(this.signal(flags).eqz(), masked);
          leave();
        },
        undefined,
        false,
      );
    });
  }
  /**
   * Raises what comes with a result; `leave` where one of `stopping` came up unmasked. Flags are usual: an inexact result has
   * one.
   */
  raise(flags: Value, stopping: number, leave: () => void): void {
    this.f.if(flags, () => this.f.if(this.signal(flags).and(stopping), leave, undefined, false));
  }
  /** Delivers a result to ST(dest) and pops. */
  deliver(significand: Value, head: Value, flags: Value, dest: Operand, pops: Operand): void {
    this.raise(flags, BEFORE, () => this.f.return());
    this.write(dest, significand, head);
    if (pops !== 0) this.f.if(this.f.coerce(pops, 'i32'), () => this.pop());
  }
  /** a op b into ST(dest), where nothing is out of the ordinary; then the helper is left. */
  quickly(
    operation: BinaryOperation,
    a: readonly [Value, Value],
    b: readonly [Value, Value],
    dest: Operand,
    pops: Operand,
  ): void {
    const divide = (...args: Value[]): Value[] => this.call('float.divFinite', ...args);
    const operand = ([significand, head]: readonly [Value, Value]): Extended => ({ significand, head });
    this.quick(() => {
      quickBinary80(this.f, operation, [operand(a), operand(b), this.control()], divide, (...result) => {
        this.deliver(...result, dest, pops);
        this.f.return();
      });
    });
  }
  call(name: string, ...args: Operand[]): Value[] {
    if (name.startsWith('x87.')) this.#known.clear();
    return this.f.call(this.find(name), ...args);
  }
}

function define(
  name: string,
  params: readonly ValueType[],
  results: readonly ValueType[],
  build: (u: Unit, args: Value[], f: FunctionBuilder) => void,
): HelperDefinition {
  const type: FunctionType = { params: ['i32', ...params], results };
  return {
    name: `x87.${name}`,
    type,
    build(f, find) {
      build(
        new Unit(f, find),
        params.map((_, i) => f.param(i + 1)),
        f,
      );
    },
  };
}

// ---- loads ----------------------------------------------------------------------------------------------------------------

/** (value, flags of its conversion): FLD of memory, FILD. A denormal is loaded even where that is an unmasked exception. */
const push = define('push', ['i64', 'i32', 'i32'], [], (u, args, f) => {
  const [significand, head, flags] = args as [Value, Value, Value];
  u.clearC1();
  const indefinite = (): void => {
    u.descend();
    u.writeIndefinite(0);
  };
  u.fault(u.isEmpty(-1).eqz(), STACK_FAULT | Status.C1, indefinite, () => f.return());
  u.raise(flags, Status.IE, () => f.return());
  u.descend();
  u.write(0, significand, head);
});

/** FLD ST(i). */
const duplicate = define('duplicate', ['i32'], [], (u, args, f) => {
  const [i] = args as [Value];
  u.clearC1();
  const indefinite = (): void => {
    u.descend();
    u.writeIndefinite(0);
  };
  u.fault(u.isEmpty(i), STACK_FAULT, indefinite, () => f.return());
  u.fault(u.isEmpty(-1).eqz(), STACK_FAULT | Status.C1, indefinite, () => f.return());
  const [significand, head] = u.read(i);
  u.descend();
  u.write(0, significand, head);
});

// ---- arithmetic -------------------------------------------------------------------------------------------------------------

function isNan(significand: Value, head: Value): Value {
  return head.and(0x7fff).eq(0x7fff).and(significand.shl(1).ne(0));
}

/** a op b into ST(dest). `denormal`: DE where a memory operand was denormal in its own format. */
function arithmetic(op: 'add' | 'sub' | 'mul' | 'div'): HelperDefinition {
  const params: ValueType[] = ['i64', 'i32', 'i64', 'i32', 'i32', 'i32', 'i32'];
  return define(op, params, [], (u, args, f) => {
    const [a, aHead, b, bHead, denormal, dest, pops] = args as [Value, Value, Value, Value, Value, Value, Value];
    const [significand, head, status] = u.call(`float.${op}80`, a, aHead, b, bHead, u.control()) as [
      Value,
      Value,
      Value,
    ];
    const flags = f.variable('i32', status);
    f.if(
      denormal,
      () => {
        // #I, #Z and quiet NaNs do not let #D come up; unmasked, it stands before the result's own exceptions.
        const other = status.and(Status.IE | Status.ZE).or(isNan(significand, head));
        f.if(other.eqz(), () => {
          flags.set(f.select(u.get('fcw').and(Status.DE), status, 0).or(Status.DE));
        });
      },
      undefined,
      false,
    );
    u.deliver(significand, head, flags.get(), dest, pops);
  });
}

const ORDER = {
  add: ['add', false],
  mul: ['mul', false],
  sub: ['sub', false],
  subr: ['sub', true],
  div: ['div', false],
  divr: ['div', true],
} as const;

/** ST(0) op ST(i), or ST(i) op ST(0) where reversed, into ST(dest): (i, dest, pops). */
function arithmeticRegister(op: (typeof ARITHMETIC)[number]): HelperDefinition {
  return define(`${op}Register`, ['i32', 'i32', 'i32'], [], (u, args, f) => {
    const [i, dest, pops] = args as [Value, Value, Value];
    u.clearC1();
    const masked = (): void => {
      u.writeIndefinite(dest);
      f.if(pops, () => u.pop());
    };
    u.fault(u.isEmpty(0).or(u.isEmpty(i)), STACK_FAULT, masked, () => f.return());
    const [name, reversed] = ORDER[op];
    const [a, b] = reversed ? [u.read(i), u.read(0)] : [u.read(0), u.read(i)];
    u.quickly(name, a, b, dest, pops);
    u.call(`x87.${name}`, u.vp, ...a, ...b, 0, dest, pops);
  });
}

/** The same with a memory operand, converted: (significand, head, flags of the conversion). */
function arithmeticMemory(op: (typeof ARITHMETIC)[number]): HelperDefinition {
  return define(`${op}Memory`, ['i64', 'i32', 'i32'], [], (u, args, f) => {
    const [significand, head, flags] = args as [Value, Value, Value];
    u.clearC1();
    u.fault(
      u.isEmpty(0),
      STACK_FAULT,
      () => u.writeIndefinite(0),
      () => f.return(),
    );
    const [name, reversed] = ORDER[op];
    const memory = [signalingAgain(f, significand, flags), head] as const;
    const [a, b] = reversed ? [memory, u.read(0)] : [u.read(0), memory];
    // What was denormal in its own format is normal now, but has something to report.
    f.if(flags.eqz(), () => u.quickly(name, a, b, 0, 0), undefined, true);
    u.call(`x87.${name}`, u.vp, ...a, ...b, flags.and(Status.DE), 0, 0);
  });
}

/** A signaling NaN that its conversion made quiet: so that of two NaNs the right one wins. */
function signalingAgain(f: FunctionBuilder, significand: Value, flags: Value): Value {
  return significand.and(f.select(flags.and(Status.IE), f.i64(~(1n << 62n)), -1n));
}

/** FSQRT and FRNDINT. */
function unary(name: string, operation: string): HelperDefinition {
  return define(name, [], [], (u, _, f) => {
    u.clearC1();
    u.fault(
      u.isEmpty(0),
      STACK_FAULT,
      () => u.writeIndefinite(0),
      () => f.return(),
    );
    const [significand, head, flags] = u.call(operation, ...u.read(0), u.control()) as [Value, Value, Value];
    u.deliver(significand, head, flags, 0, 0);
  });
}

/** FCHS and FABS: (mask, toggle) of the sign. */
const sign = define('sign', ['i32', 'i32'], [], (u, args, f) => {
  const [keep, toggle] = args as [Value, Value];
  u.clearC1();
  u.fault(
    u.isEmpty(0),
    STACK_FAULT,
    () => u.writeIndefinite(0),
    () => f.return(),
  );
  const [significand, head] = u.read(0);
  u.write(0, significand, head.and(keep).xor(toggle));
});

// ---- comparisons --------------------------------------------------------------------------------------------------------------

/** In a relation: an unmasked exception came up. The flags are set all the same, but nothing is popped. */
const STOPPED = 0x100;
const UNORDERED = 0x45;

/** Compares ST(0) with b: (significand, head, flags of a conversion, signaling) -> the relation as in RFLAGS, and STOPPED. */
const relate = define('relate', ['i64', 'i32', 'i32', 'i32'], ['i32'], (u, args, f) => {
  const [significand, head, converted, signaling] = args as [Value, Value, Value, Value];
  const b = signalingAgain(f, significand, converted);
  const [relation, status] = u.call('float.compare80', ...u.read(0), b, head, u.control(), signaling) as [Value, Value];
  const denormal = f.select(relation.eq(UNORDERED), 0, converted.and(Status.DE));
  const flags = status.or(denormal);
  u.raise(flags, -1, () => f.return(relation.or(STOPPED)));
  f.return(relation);
});

function relateEmpty(u: Unit, empty: Value): void {
  const { f } = u;
  f.if(
    empty,
    () => {
      u.clearC1();
      f.return(f.select(u.signal(STACK_FAULT), UNORDERED | STOPPED, UNORDERED));
    },
    undefined,
    false,
  );
}
/** Compares with a register: (i, signaling) -> relation. An empty one compares unordered. */
const relateRegister = define('relateRegister', ['i32', 'i32'], ['i32'], (u, args, f) => {
  const [i, signaling] = args as [Value, Value];
  relateEmpty(u, u.isEmpty(0).or(u.isEmpty(i)));
  f.return(u.call('x87.relate', u.vp, ...u.read(i), 0, signaling)[0] as Value);
});
/** Compares with a converted memory operand, or with zero: (significand, head, flags) -> relation. */
const relateMemory = define('relateMemory', ['i64', 'i32', 'i32'], ['i32'], (u, args, f) => {
  relateEmpty(u, u.isEmpty(0));
  f.return(u.call('x87.relate', u.vp, ...args, 1)[0] as Value);
});
/** Sets C3, C2 and C0, clears C1, and pops: (relation, how often). */
const related = define('related', ['i32', 'i32'], [], (u, args, f) => {
  const [relation, pops] = args as [Value, Value];
  u.clearC1();
  u.setConditions(relation.and(UNORDERED).shl(8));
  f.if(relation.and(STOPPED), () => f.return(), undefined, false);
  f.if(pops, () => u.pop());
  f.if(pops.eq(2), () => u.pop());
});

/** FXAM's classes in C3, C2, C0, by the kind's bit number. */
const EXAMINED: readonly (readonly [kind: number, bits: number])[] = [
  [Kind.ZERO, Status.C3],
  [Kind.NORMAL, Status.C2],
  [Kind.DENORMAL, Status.C3 | Status.C2],
  [Kind.INFINITY, Status.C2 | Status.C0],
  [Kind.QNAN | Kind.SNAN, Status.C0],
];
const examine = define('examine', [], [], (u, _, f) => {
  const [significand, head] = u.read(0);
  const [kind] = u.call('float.unpack80', significand, head, u.control()) as [Value];
  const bits = f.variable('i32', 0);
  for (const [kinds, value] of EXAMINED) f.if(kind.and(kinds), () => bits.set(value));
  f.if(u.isEmpty(0), () => bits.set(Status.C3 | Status.C0));
  u.clearC1();
  u.setConditions(bits.get().or(head.shrU(15).shl(9)));
});

// ---- stores -------------------------------------------------------------------------------------------------------------------

/** FST to memory: (pops) -> (bits, whether to store them). No denormal-operand exception here. */
function storeReal(format: '32' | '64', type: 'i32' | 'i64', indefinite: number | bigint): HelperDefinition {
  return define(`store${format}`, ['i32'], [type, 'i32'], (u, args, f) => {
    const [pops] = args as [Value];
    u.clearC1();
    const masked = (): void => {
      f.if(pops, () => u.pop());
      f.return(indefinite, 1);
    };
    u.fault(u.isEmpty(0), STACK_FAULT, masked, () => f.return(0, 0));
    const control = u.control().or(DENORMALS_MASKED);
    const x = u.read(0);
    u.quick(() => {
      quickNarrow(
        f,
        format === '64' ? FORMAT_64 : FORMAT_32,
        { significand: x[0], head: x[1] },
        control,
        (...found) => {
          u.raise(found[1], 0, () => undefined);
          f.if(pops, () => u.pop());
          f.return(found[0], 1);
        },
      );
    });
    const [bits, status] = u.call(`float.convert80to${format}`, ...x, control) as [Value, Value];
    const flags = status.and(~Status.DE);
    u.raise(flags, Status.IE | Status.OE | Status.UE, () => f.return(0, 0));
    f.if(pops, () => u.pop());
    f.return(bits, 1);
  });
}

/** FIST: (width, truncates, pops) -> (integer, whether to store it). */
const storeInteger = define('storeInteger', ['i32', 'i32', 'i32'], ['i64', 'i32'], (u, args, f) => {
  const [width, truncates, pops] = args as [Value, Value, Value];
  u.clearC1();
  const masked = (): void => {
    f.if(pops, () => u.pop());
    f.return(f.i64(-1).shl(width.sub(1).extU()), 1);
  };
  u.fault(u.isEmpty(0), STACK_FAULT, masked, () => f.return(0, 0));
  const control = u
    .control()
    .or(DENORMALS_MASKED)
    .or(f.select(truncates, TRUNCATE, 0));
  const [integer, status] = u.call('float.toInteger80', ...u.read(0), width, control) as [Value, Value];
  const flags = status.and(~Status.DE);
  u.raise(flags, Status.IE, () => f.return(0, 0));
  f.if(pops, () => u.pop());
  f.return(integer, 1);
});

/** FSTP m80: () -> (significand, head, whether to store them); pops. */
const store80 = define('store80', [], ['i64', 'i32', 'i32'], (u, _, f) => {
  u.clearC1();
  const masked = (): void => {
    u.pop();
    f.return(INDEFINITE_SIGNIFICAND, INDEFINITE_HEAD, 1);
  };
  u.fault(u.isEmpty(0), STACK_FAULT, masked, () => f.return(0, 0, 0));
  const [significand, head] = u.read(0);
  u.pop();
  f.return(significand, head, 1);
});

// ---- moves between registers ------------------------------------------------------------------------------------------------------

/** FST ST(i), FSTP ST(i): (i, pops). */
const copy = define('copy', ['i32', 'i32'], [], (u, args, f) => {
  const [i, pops] = args as [Value, Value];
  u.clearC1();
  const masked = (): void => {
    u.writeIndefinite(i);
    f.if(pops, () => u.pop());
  };
  u.fault(u.isEmpty(0), STACK_FAULT, masked, () => f.return());
  u.write(i, ...u.read(0));
  f.if(pops, () => u.pop());
});

/** The alias D9 D8+i of FSTP ST(i), which does not mind an empty ST(0): (i). */
const copyUnchecked = define('copyUnchecked', ['i32'], [], (u, args, f) => {
  u.clearC1();
  f.if(u.isEmpty(0).eqz(), () => u.write(args[0] as Value, ...u.read(0)));
  u.pop();
});

const exchange = define('exchange', ['i32'], [], (u, args, f) => {
  const [i] = args as [Value];
  u.clearC1();
  const anyEmpty = u.isEmpty(0).or(u.isEmpty(i));
  f.if(
    anyEmpty,
    () => {
      f.if(u.signal(STACK_FAULT), () => f.return());
      f.if(u.isEmpty(0), () => u.writeIndefinite(0));
      f.if(u.isEmpty(i), () => u.writeIndefinite(i));
    },
    undefined,
    false,
  );
  const [a, aHead] = u.read(0);
  const [b, bHead] = u.read(i);
  u.write(0, b, bHead);
  u.write(i, a, aHead);
});

/** FCMOV: (i, condition). Both registers must hold something whatever the condition. C1 is cleared on a stack fault only. */
const conditionalMove = define('conditionalMove', ['i32', 'i32'], [], (u, args, f) => {
  const [i, condition] = args as [Value, Value];
  f.if(
    u.isEmpty(0).or(u.isEmpty(i)),
    () => {
      u.clearC1();
      f.if(u.signal(STACK_FAULT).eqz(), () => u.writeIndefinite(0));
      f.return();
    },
    undefined,
    false,
  );
  f.if(condition, () => u.write(0, ...u.read(i)));
});

/** FFREE and FFREEP: (i, pops). FFREEP moves TOP and leaves the tag it passes as FFREE made it. */
const free = define('free', ['i32', 'i32'], [], (u, args, f) => {
  const [i, pops] = args as [Value, Value];
  u.clearC1();
  u.set('ftw', u.get('ftw').and(f.i32(1).shl(u.physical(i)).not()));
  f.if(pops, () => u.pop());
});

/** FINCSTP and FDECSTP: (step). */
const rotate = define('rotate', ['i32'], [], (u, args) => {
  u.clearC1();
  u.set('ftop', u.physical(args[0] as Value));
});

const pop = define('pop', [], [], (u) => u.pop());

/** ES and B follow flags and masks after FLDCW. */
const summarize = define('summarize', [], [], (u, _, f) => {
  const fsw = u.get('fsw');
  const pending = fsw.and(u.get('fcw').not()).and(0x3f);
  u.set('fsw', fsw.and(~(Status.ES | Status.B)).or(f.select(pending, Status.ES | Status.B, 0)));
});

export const helpers: readonly HelperDefinition[] = [
  push,
  duplicate,
  arithmetic('add'),
  arithmetic('sub'),
  arithmetic('mul'),
  arithmetic('div'),
  ...ARITHMETIC.map(arithmeticRegister),
  ...ARITHMETIC.map(arithmeticMemory),
  unary('squareRoot', 'float.sqrt80'),
  unary('roundToInteger', 'float.roundToIntegral80'),
  sign,
  relate,
  relateRegister,
  relateMemory,
  related,
  examine,
  storeReal('32', 'i32', 0xffc00000),
  storeReal('64', 'i64', 0xfff8000000000000n),
  storeInteger,
  store80,
  copy,
  copyUnchecked,
  exchange,
  conditionalMove,
  free,
  rotate,
  pop,
  summarize,
];
