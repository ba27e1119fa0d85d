/**
 * x87 FPU instructions: opcodes D8 to DF, and FWAIT. Intel SDM vol. 2, appendix A.4 "Opcode Extensions for Coprocessor
 * Instructions" and the instructions' pages; vol. 1, chapter 8. The work is done by x87/helpers.ts (WebAssembly) and, for the
 * rare ones, x87/operations.ts and x87/environment.ts (TypeScript).
 *
 * A pending unmasked exception is #MF at the next waiting instruction where CR0.NE is set. Where it is clear, a PC would
 * raise FERR#: nothing is connected there, and the instruction goes on as if IGNNE# were asserted.
 */
import type { Variable } from '../../wasm/function.ts';
import type { Operand, Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { Semantics } from '../semantics.ts';
import { FORMAT_32, FORMAT_64 } from '../softfloat/format.ts';
import { quickWiden } from '../softfloat/quick80.ts';
import { WIDE } from '../x87/environment.ts';
import { Status } from '../x87/extended.ts';
import { ARITHMETIC } from '../x87/helpers.ts';
import { operandPart, wrapping } from './image.ts';

const NM = 7;
const MF = 16;
const CR0_MP = 1 << 1;
const CR0_EM = 1 << 2;
const CR0_TS = 1 << 3;
const CR0_NE = 1 << 5;

function cr0(s: Semantics): Value {
  return s.state('cr0').wrap();
}

/** #NM where the FPU is emulated or belongs to another task. */
export function requireFpu(s: Semantics): void {
  if (s.established?.('fpu')) return;
  s.raiseIf(
    cr0(s)
      .and(CR0_EM | CR0_TS)
      .ne(0),
    NM,
  );
}

function requireNoPending(s: Semantics): void {
  const pending = s.state('fsw').and(Status.ES).ne(0);
  s.raiseIf(pending.and(cr0(s).and(CR0_NE).ne(0)), MF);
}

/** What a waiting instruction begins with. */
function wait(s: Semantics): void {
  requireFpu(s);
  requireNoPending(s);
}

/** The instruction's address is kept for an exception's handler; the operand's too where it is in memory. */
function record(s: Semantics, memory: boolean): void {
  s.setState('fip', s.current());
  if (memory) s.setState('fdp', s.address(0));
}

/** A waiting instruction on registers. */
function onRegisters(body: (s: Semantics) => void): SemanticFunction {
  return (s) => {
    wait(s);
    record(s, false);
    body(s);
  };
}

/** The number of an STi operand. */
function index(s: Semantics): Value {
  return s.index(0).wrap().and(7);
}

function call(name: string, ...args: Operand[]): SemanticFunction {
  return onRegisters((s) => {
    s.helper(`x87.${name}`, s.vp(), ...args);
  });
}
/** The same with ST(i)'s number as first argument. */
function callRegister(name: string, ...args: Operand[]): SemanticFunction {
  return onRegisters((s) => {
    s.helper(`x87.${name}`, s.vp(), index(s), ...args);
  });
}

/** Runs in TypeScript. */
function rare(name: string): SemanticFunction {
  return (s) => {
    wait(s);
    s.system(name);
  };
}
/** Operands of 80 bits in memory are two: 64 bits, and 16 behind them. */
function load80(s: Semantics): [low: Value, high: Value] {
  const linear = operandPart(s, 0, 8, 'read');
  const behind = operandPart(s, 8, 2, 'read');
  s.probe(linear, 8, 'read', 'operand');
  s.probe(behind, 2, 'read', 'operand');
  return [s.loadLinear(linear, 8), s.loadLinear(behind, 2)];
}
/** Where only the second part faults, the first is in memory, as with processors; what remains is to store the second. */
function storeFirst80(s: Semantics, low: Value): Value {
  const linear = operandPart(s, 0, 8, 'write');
  s.probe(linear, 8, 'write', 'operand');
  s.storeLinear(linear, 8, low);
  const behind = operandPart(s, 8, 2, 'write');
  s.probe(behind, 2, 'write', 'operand');
  return behind;
}

const fbld: SemanticFunction = (s) => {
  wait(s);
  const [low, high] = load80(s);
  s.setState('fdp', s.address(0));
  s.system('fbld', low, high);
};
const fbstp: SemanticFunction = (s) => {
  wait(s);
  const high = s.systemValue('fbstpHigh');
  s.f.if(high.geS(0), () => s.storeLinear(storeFirst80(s, s.systemValue('fbstpLow')), 2, high));
  s.setState('fdp', s.address(0));
  s.system('fbstp');
};

// ---- memory operands, converted --------------------------------------------------------------------------------------------

type Kind = 'real32' | 'real64' | 'integer16' | 'integer32' | 'integer64';
type Converted = [significand: Value, head: Value, flags: Operand];

/** The softfloat control with everything masked: conversions to the extended format only report. */
const ALL_MASKED = 0x1f80;

/** Numbers that are not out of the ordinary are converted in place. */
function convertReal(s: Semantics, kind: 'real32' | 'real64', bits: Value): Converted {
  const { f } = s;
  const format = kind === 'real64' ? FORMAT_64 : FORMAT_32;
  const significand = f.variable('i64');
  const head = f.variable('i32');
  const flags = f.variable('i32', 0);
  quickWiden(
    f,
    format,
    bits,
    (quickSignificand, quickHead) => {
      significand.set(quickSignificand);
      head.set(quickHead);
    },
    () => {
      const number = kind === 'real64' ? bits : bits.wrap();
      const found = s.helper(`float.convert${format.name}to80`, number, ALL_MASKED) as [Value, Value, Value];
      significand.set(found[0]);
      head.set(found[1]);
      flags.set(found[2]);
    },
  );
  return [significand.get(), head.get(), flags.get()];
}

function convert(s: Semantics, kind: Kind): Converted {
  const bits = s.read(0);
  if (kind === 'real32' || kind === 'real64') return convertReal(s, kind, bits);
  const width = Number(kind.slice('integer'.length));
  return [...(s.helper('float.fromInteger80', bits.sext(width)) as [Value, Value]), 0];
}

/** A waiting instruction on a converted memory operand. */
function onMemory(kind: Kind, body: (s: Semantics, operand: Converted) => void): SemanticFunction {
  return (s) => {
    wait(s);
    const operand = convert(s, kind);
    record(s, true);
    body(s, operand);
  };
}

function load(kind: Kind): SemanticFunction {
  return onMemory(kind, (s, operand) => {
    s.helper('x87.push', s.vp(), ...operand);
  });
}

const CHANGED_BY_STORES = ['fsw', 'ftop', 'ftw'] as const;

/**
 * Runs a helper that tells whether to store. An unmasked exception ends a store before it looks at its operand; where
 * the operand faults, on the other hand, nothing has happened: the state is put back while it is checked.
 */
function storing(s: Semantics, helper: () => Value, check: () => void, store: () => void): void {
  wait(s);
  const status = (): Variable[] => CHANGED_BY_STORES.map((field) => s.f.variable('i32', s.state(field)));
  const set = (values: readonly Variable[]): void => {
    for (const [i, field] of CHANGED_BY_STORES.entries()) s.setState(field, (values[i] as Variable).get());
  };
  const before = status();
  const stores = helper();
  s.f.if(stores, () => {
    const after = status();
    set(before);
    check();
    set(after);
    store();
  });
  record(s, true);
}

function storeReal(format: '32' | '64', pops: number): SemanticFunction {
  return (s) => {
    let bits: Value;
    const helper = (): Value => {
      const results = s.helper(`x87.store${format}`, s.vp(), pops) as [Value, Value];
      bits = results[0];
      return results[1];
    };
    storing(
      s,
      helper,
      () => s.check(0),
      () => s.write(0, bits.extU()),
    );
  };
}

function storeInteger(width: number, truncates: number, pops: number): SemanticFunction {
  return (s) => {
    let integer: Value;
    const helper = (): Value => {
      const results = s.helper('x87.storeInteger', s.vp(), width, truncates, pops) as [Value, Value];
      integer = results[0];
      return results[1];
    };
    storing(
      s,
      helper,
      () => s.check(0),
      () => s.write(0, integer),
    );
  };
}

const loadExtended: SemanticFunction = (s) => {
  wait(s);
  const [significand, head] = load80(s);
  record(s, true);
  s.helper('x87.push', s.vp(), significand, head.wrap(), 0);
};

const storeExtended: SemanticFunction = (s) => {
  let results: Value[] = [];
  let behind: Value;
  const helper = (): Value => {
    results = s.helper('x87.store80', s.vp());
    return results[2] as Value;
  };
  const check = (): void => {
    behind = storeFirst80(s, results[0] as Value);
  };
  storing(s, helper, check, () => {
    s.storeLinear(behind, 2, (results[1] as Value).extU());
  });
};

// ---- arithmetic and comparison of opcodes D8, DA, DC, DE ------------------------------------------------------------------------

/** ModRM.reg 0..7 of the memory forms: the arithmetic ones, with FCOM and FCOMP at 2 and 3. */
const BY_DIGIT = ['add', 'mul', 'com', 'comp', 'sub', 'subr', 'div', 'divr'] as const;
const MEMORY_OPCODES: readonly (readonly [opcode: string, operand: string, kind: Kind, prefix: string])[] = [
  ['D8', 'Md', 'real32', 'F'],
  ['DA', 'Md', 'integer32', 'FI'],
  ['DC', 'Mq', 'real64', 'F'],
  ['DE', 'Mw', 'integer16', 'FI'],
];

function arithmeticMemory(op: (typeof BY_DIGIT)[number], kind: Kind): SemanticFunction {
  return onMemory(kind, (s, operand) => {
    if (op !== 'com' && op !== 'comp') {
      s.helper(`x87.${op}Memory`, s.vp(), ...operand);
      return;
    }
    const [relation] = s.helper('x87.relateMemory', s.vp(), ...operand) as [Value];
    s.helper('x87.related', s.vp(), relation, op === 'comp' ? 1 : 0);
  });
}

const memoryArithmetic: readonly Row[] = MEMORY_OPCODES.flatMap(([opcode, operand, kind, prefix]) =>
  BY_DIGIT.map(
    (op, digit): Row => [`${prefix}${op.toUpperCase()}`, `${opcode} /${digit}`, operand, arithmeticMemory(op, kind)],
  ),
);

/** FCOM, FUCOM and their popping forms: `pops` up to 2. */
function compare(signaling: number, pops: number): SemanticFunction {
  return onRegisters((s) => {
    const [relation] = s.helper('x87.relateRegister', s.vp(), index(s), signaling) as [Value];
    s.helper('x87.related', s.vp(), relation, pops);
  });
}
/** FCOMPP, FUCOMPP: with ST(1). */
function comparePopTwice(signaling: number): SemanticFunction {
  return onRegisters((s) => {
    const [relation] = s.helper('x87.relateRegister', s.vp(), 1, signaling) as [Value];
    s.helper('x87.related', s.vp(), relation, 2);
  });
}
/** FCOMI and its kin: the relation goes to ZF, PF and CF. OF, SF and AF are cleared; C1 only on a stack fault. */
function compareFlags(signaling: number, pops: number): SemanticFunction {
  return onRegisters((s) => {
    const [relation] = s.helper('x87.relateRegister', s.vp(), index(s), signaling) as [Value];
    s.setFlags({
      ZF: relation.shrU(6).and(1),
      PF: relation.shrU(2).and(1),
      CF: relation.and(1),
      OF: 0,
      SF: 0,
      AF: 0,
    });
    if (pops) s.f.if(relation.ltU(0x100), () => s.helper('x87.pop', s.vp()));
  });
}

const registerArithmetic: readonly Row[] = ARITHMETIC.flatMap((op): Row[] => {
  const digit = BY_DIGIT.indexOf(op);
  const slot = (base: number): string => `${(base + digit * 8).toString(16).toUpperCase()}+i`;
  // With ST(i) as destination, the encodings of the reversed operations are exchanged in the assembler's names.
  const swapped = digit < 4 ? op : op.endsWith('r') ? op.slice(0, -1) : `${op}r`;
  const toRegister = (pops: number): SemanticFunction =>
    onRegisters((s) => {
      const i = index(s);
      s.helper(`x87.${op}Register`, s.vp(), i, i, pops);
    });
  return [
    [`F${op.toUpperCase()}`, `D8 ${slot(0xc0)}`, 'STi', callRegister(`${op}Register`, 0, 0)],
    [`F${swapped.toUpperCase()}`, `DC ${slot(0xc0)}`, 'STi', toRegister(0)],
    [`F${swapped.toUpperCase()}P`, `DE ${slot(0xc0)}`, 'STi', toRegister(1)],
  ];
});

// ---- constants ---------------------------------------------------------------------------------------------------------------------

/** FLDL2T and its kin: the significand cut off after 64 bits, sign and exponent, and what RC = nearest adds. */
const CONSTANTS: readonly (readonly [
  name: string,
  encoding: string,
  significand: bigint,
  head: number,
  nearest: 0 | 1,
])[] = [
  ['FLDL2T', 'D9 E9', 0xd49a784bcd1b8afen, 0x4000, 0],
  ['FLDL2E', 'D9 EA', 0xb8aa3b295c17f0bbn, 0x3fff, 1],
  ['FLDPI', 'D9 EB', 0xc90fdaa22168c234n, 0x4000, 1],
  ['FLDLG2', 'D9 EC', 0x9a209a84fbcff798n, 0x3ffd, 1],
  ['FLDLN2', 'D9 ED', 0xb17217f7d1cf79abn, 0x3ffe, 1],
];
const constants: readonly Row[] = CONSTANTS.map(
  ([name, encoding, significand, head, nearest]): Row => [
    name,
    encoding,
    '',
    onRegisters((s) => {
      const rc = s.state('fcw').shrU(10).and(3);
      const up = nearest ? rc.eqz().or(rc.eq(2)) : rc.eq(2);
      s.helper('x87.push', s.vp(), up.extU().add(significand), head, 0);
    }),
  ],
);

// ---- control -------------------------------------------------------------------------------------------------------------------------

/** The bits of FCW that exist; bit 6 reads one. */
const FCW_BITS = 0x1f3f;
const FCW_ONE = 0x40;

const fldcw: SemanticFunction = (s) => {
  wait(s);
  s.setState('fcw', s.read(0).wrap().and(FCW_BITS).or(FCW_ONE));
  s.helper('x87.summarize', s.vp());
};
const fnstcw: SemanticFunction = (s) => {
  requireFpu(s);
  s.write(0, s.state('fcw').extU());
};
const fnstsw: SemanticFunction = (s) => {
  requireFpu(s);
  s.write(0, s.state('fsw').or(s.state('ftop').shl(11)).extU());
};
const fnclex: SemanticFunction = (s) => {
  requireFpu(s);
  s.setState('fsw', s.state('fsw').and(0x7f00));
};
const fninit: SemanticFunction = (s) => {
  requireFpu(s);
  s.setState('fcw', 0x37f);
  for (const field of ['fsw', 'ftop', 'ftw', 'fop', 'fcs', 'fds']) s.setState(field, 0);
  for (const field of ['fip', 'fdp']) s.setState(field, 0n);
};
/** FENI, FDISI, FSETPM: did something on the 8087 and the 80287. */
const nothing: SemanticFunction = (s) => requireFpu(s);

const fwait: SemanticFunction = (s) => {
  s.raiseIf(
    cr0(s)
      .and(CR0_MP | CR0_TS)
      .eq(CR0_MP | CR0_TS),
    NM,
  );
  requireNoPending(s);
};

/**
 * FNSTENV, FNSAVE, FLDENV, FRSTOR: an image whose layout the operand size and the mode choose. As processors do, its first
 * word is looked at, for alignment too, and then its last byte.
 */
function environment(name: string, bytes16: number, bytes32: number, access: 'read' | 'write'): SemanticFunction {
  return (s) => {
    if (access === 'read') wait(s);
    else requireFpu(s);
    const bytes = s.size === 2 ? bytes16 : bytes32;
    const word = s.size === 2 ? 2 : 4;
    const linear = operandPart(s, 0, word, access);
    s.probe(linear, word, access, 'operand');
    s.probe(operandPart(s, bytes - 1, 1, access), 1, access, 'operand');
    s.system(name, linear, wrapping(s, bytes).or(s.size === 2 ? 0 : WIDE));
  };
}

const FTST: SemanticFunction = onRegisters((s) => {
  const [relation] = s.helper('x87.relateMemory', s.vp(), 0n, 0, 0) as [Value];
  s.helper('x87.related', s.vp(), relation, 0);
});

const MOVES = ['B', 'E', 'BE', 'U'] as const;
const MOVE_CONDITIONS = { B: 2, E: 4, BE: 6, U: 10 } as const;
const moves: readonly Row[] = MOVES.flatMap((name, n): Row[] => {
  const code = MOVE_CONDITIONS[name];
  const slot = `${(0xc0 + n * 8).toString(16).toUpperCase()}+i`;
  const move = (condition: number): SemanticFunction =>
    onRegisters((s) => {
      s.helper('x87.conditionalMove', s.vp(), index(s), s.condition(condition));
    });
  return [
    [`FCMOV${name}`, `DA ${slot}`, 'STi', move(code)],
    [`FCMOVN${name}`, `DB ${slot}`, 'STi', move(code + 1)],
  ];
});

const CLEAR_SIGN = 0x7fff;
const ALL_BITS = 0xffff;
// One function for all encodings of an instruction, so that they share a product.
const fcom = compare(1, 0);
const fcomp = compare(1, 1);
const fstp = callRegister('copy', 1);
const fxch = callRegister('exchange');

export const rows: readonly Row[] = [
  ...memoryArithmetic,
  ...registerArithmetic,
  ...constants,
  ...moves,

  ['FCOM', 'D8 D0+i', 'STi', fcom],
  ['FCOM', 'DC D0+i', 'STi', fcom],
  ['FCOMP', 'D8 D8+i', 'STi', fcomp],
  ['FCOMP', 'DC D8+i', 'STi', fcomp],
  ['FCOMP', 'DE D0+i', 'STi', fcomp],
  ['FCOMPP', 'DE D9', '', comparePopTwice(1)],
  ['FUCOM', 'DD E0+i', 'STi', compare(0, 0)],
  ['FUCOMP', 'DD E8+i', 'STi', compare(0, 1)],
  ['FUCOMPP', 'DA E9', '', comparePopTwice(0)],
  ['FCOMI', 'DB F0+i', 'STi', compareFlags(1, 0)],
  ['FUCOMI', 'DB E8+i', 'STi', compareFlags(0, 0)],
  ['FCOMIP', 'DF F0+i', 'STi', compareFlags(1, 1)],
  ['FUCOMIP', 'DF E8+i', 'STi', compareFlags(0, 1)],
  ['FTST', 'D9 E4', '', FTST],
  ['FXAM', 'D9 E5', '', call('examine')],

  ['FLD', 'D9 /0', 'Md', load('real32')],
  ['FLD', 'DD /0', 'Mq', load('real64')],
  ['FLD', 'DB /5', 'M', loadExtended],
  ['FLD', 'D9 C0+i', 'STi', callRegister('duplicate')],
  ['FILD', 'DF /0', 'Mw', load('integer16')],
  ['FILD', 'DB /0', 'Md', load('integer32')],
  ['FILD', 'DF /5', 'Mq', load('integer64')],
  ['FLD1', 'D9 E8', '', call('push', 1n << 63n, 0x3fff, 0)],
  ['FLDZ', 'D9 EE', '', call('push', 0n, 0, 0)],

  ['FST', 'D9 /2', 'Md=', storeReal('32', 0)],
  ['FSTP', 'D9 /3', 'Md=', storeReal('32', 1)],
  ['FST', 'DD /2', 'Mq=', storeReal('64', 0)],
  ['FSTP', 'DD /3', 'Mq=', storeReal('64', 1)],
  ['FSTP', 'DB /7', 'M', storeExtended],
  ['FST', 'DD D0+i', 'STi', callRegister('copy', 0)],
  ['FSTP', 'DD D8+i', 'STi', fstp],
  ['FSTP', 'D9 D8+i', 'STi', callRegister('copyUnchecked')],
  ['FSTP', 'DF D0+i', 'STi', fstp],
  ['FSTP', 'DF D8+i', 'STi', fstp],
  ['FIST', 'DF /2', 'Mw=', storeInteger(16, 0, 0)],
  ['FISTP', 'DF /3', 'Mw=', storeInteger(16, 0, 1)],
  ['FISTTP', 'DF /1', 'Mw=', storeInteger(16, 1, 1), { feature: 'pni' }],
  ['FIST', 'DB /2', 'Md=', storeInteger(32, 0, 0)],
  ['FISTP', 'DB /3', 'Md=', storeInteger(32, 0, 1)],
  ['FISTTP', 'DB /1', 'Md=', storeInteger(32, 1, 1), { feature: 'pni' }],
  ['FISTP', 'DF /7', 'Mq=', storeInteger(64, 0, 1)],
  ['FISTTP', 'DD /1', 'Mq=', storeInteger(64, 1, 1), { feature: 'pni' }],
  ['FBLD', 'DF /4', 'M', fbld],
  ['FBSTP', 'DF /6', 'M', fbstp],

  ['FXCH', 'D9 C8+i', 'STi', fxch],
  ['FXCH', 'DD C8+i', 'STi', fxch],
  ['FXCH', 'DF C8+i', 'STi', fxch],
  ['FFREE', 'DD C0+i', 'STi', callRegister('free', 0)],
  ['FFREEP', 'DF C0+i', 'STi', callRegister('free', 1)],
  ['FDECSTP', 'D9 F6', '', call('rotate', -1)],
  ['FINCSTP', 'D9 F7', '', call('rotate', 1)],
  ['FNOP', 'D9 D0', '', onRegisters(() => undefined)],

  ['FCHS', 'D9 E0', '', call('sign', ALL_BITS, 0x8000)],
  ['FABS', 'D9 E1', '', call('sign', CLEAR_SIGN, 0)],
  ['FSQRT', 'D9 FA', '', call('squareRoot')],
  ['FRNDINT', 'D9 FC', '', call('roundToInteger')],
  ['F2XM1', 'D9 F0', '', rare('f2xm1')],
  ['FYL2X', 'D9 F1', '', rare('fyl2x')],
  ['FPTAN', 'D9 F2', '', rare('fptan')],
  ['FPATAN', 'D9 F3', '', rare('fpatan')],
  ['FXTRACT', 'D9 F4', '', rare('fxtract')],
  ['FPREM1', 'D9 F5', '', rare('fprem1')],
  ['FPREM', 'D9 F8', '', rare('fprem')],
  ['FYL2XP1', 'D9 F9', '', rare('fyl2xp1')],
  ['FSINCOS', 'D9 FB', '', rare('fsincos')],
  ['FSCALE', 'D9 FD', '', rare('fscale')],
  ['FSIN', 'D9 FE', '', rare('fsin')],
  ['FCOS', 'D9 FF', '', rare('fcos')],

  ['FLDCW', 'D9 /5', 'Mw', fldcw],
  ['FNSTCW', 'D9 /7', 'Mw=', fnstcw],
  ['FNSTSW', 'DD /7', 'Mw=', fnstsw],
  ['FNSTSW', 'DF E0', 'AX=', fnstsw],
  ['FNCLEX', 'DB E2', '', fnclex],
  ['FNINIT', 'DB E3', '', fninit],
  ['FENI', 'DB E0', '', nothing],
  ['FDISI', 'DB E1', '', nothing],
  ['FSETPM', 'DB E4', '', nothing],
  ['FLDENV', 'D9 /4', 'Mv', environment('fldenv', 14, 28, 'read')],
  ['FNSTENV', 'D9 /6', 'Mv=', environment('fnstenv', 14, 28, 'write')],
  ['FRSTOR', 'DD /4', 'Mv', environment('frstor', 94, 108, 'read')],
  ['FNSAVE', 'DD /6', 'Mv=', environment('fnsave', 94, 108, 'write')],
  ['FWAIT', '9B', '', fwait],
];
