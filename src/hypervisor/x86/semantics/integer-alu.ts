/** Integer arithmetic and logic: Intel SDM vol. 2, ADD ... XOR, INC, DEC, NEG, NOT, TEST, XADD, CMPXCHG, BCD adjustments. */
import { Vector } from '../../vp/state.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import { Register, type Semantics } from '../semantics.ts';

type Operation = (s: Semantics, a: Value, b: Value) => Value;
type FlagRule = (s: Semantics, a: Value, b: Value, result: Value) => void;

const add: FlagRule = (s, a, b, r) => {
  s.flagsAdd(a, b, r);
};
const sub: FlagRule = (s, a, b, r) => {
  s.flagsSub(a, b, r);
};
const addCarry: FlagRule = (s, a, b, r) => {
  s.flagsAdd(a, b, r, true);
};
const subBorrow: FlagRule = (s, a, b, r) => {
  s.flagsSub(a, b, r, true);
};
const logic: FlagRule = (s, _a, _b, r) => {
  s.flagsLogic(r);
};

/** `carry` is read before anything is written, because flags are too. */
function binary(
  operation: (s: Semantics, a: Value, b: Value, carry: Value) => Value,
  flags: FlagRule,
): SemanticFunction {
  return (s) => {
    const b = s.read(1);
    const carry = s.flag('CF').extU();
    const a = s.modify(0, (old) => operation(s, old, b, carry));
    flags(s, a, b, operation(s, a, b, carry));
  };
}
function compare(operation: Operation, flags: FlagRule): SemanticFunction {
  return (s) => {
    const a = s.read(0);
    const b = s.read(1);
    flags(s, a, b, operation(s, a, b));
  };
}

const cmp = compare((_s, a, b) => a.sub(b), sub);
const test = compare((_s, a, b) => a.and(b), logic);

const ALU: readonly (readonly [string, SemanticFunction])[] = [
  ['ADD', binary((_s, a, b) => a.add(b), add)],
  ['OR', binary((_s, a, b) => a.or(b), logic)],
  ['ADC', binary((_s, a, b, c) => a.add(b).add(c), addCarry)],
  ['SBB', binary((_s, a, b, c) => a.sub(b).sub(c), subBorrow)],
  ['AND', binary((_s, a, b) => a.and(b), logic)],
  ['SUB', binary((_s, a, b) => a.sub(b), sub)],
  ['XOR', binary((_s, a, b) => a.xor(b), logic)],
  ['CMP', cmp],
];

function hex(n: number): string {
  return n.toString(16).toUpperCase().padStart(2, '0');
}

function aluRows(): Row[] {
  return ALU.flatMap(([name, semantics], i): Row[] => {
    const d = name === 'CMP' ? '' : '+';
    const options = name === 'CMP' ? {} : ({ lock: true } as const);
    const logical = name === 'OR' || name === 'AND' || name === 'XOR' ? { undefined: 'AF' } : {};
    const all = { ...options, ...logical };
    const op = i * 8;
    return [
      [name, `${hex(op)} /r`, `Eb${d} Gb`, semantics, all],
      [name, `${hex(op + 1)} /r`, `Ev${d} Gv`, semantics, all],
      [name, `${hex(op + 2)} /r`, `Gb${d} Eb`, semantics, logical],
      [name, `${hex(op + 3)} /r`, `Gv${d} Ev`, semantics, logical],
      [name, hex(op + 4), `AL${d} Ib`, semantics, logical],
      [name, hex(op + 5), `rAX${d} Iz`, semantics, logical],
      [name, `80 /${i}`, `Eb${d} Ib`, semantics, all],
      [name, `81 /${i}`, `Ev${d} Iz`, semantics, all],
      [name, `82 /${i}`, `Eb${d} Ib`, semantics, { ...all, mode: 'not64' }],
      [name, `83 /${i}`, `Ev${d} Ibs`, semantics, all],
    ];
  });
}

/** INC and DEC keep CF. `b` is what is added. */
function step(direction: 1 | -1): SemanticFunction {
  return (s) => {
    const carry = s.flag('CF');
    const a = s.modify(0, (old) => old.add(direction));
    const r = s.f.op('i64.add', a, direction);
    const shifted = (direction === 1 ? r : a).shl(64 - s.bits);
    s.flagsResult(r, {
      CF: carry,
      // Overflow: the incremented value became, or the decremented value was, the most negative one.
      OF: shifted.eq(-0x8000_0000_0000_0000n),
      AF: a.xor(r).shrU(4).wrap().and(1),
    });
  };
}
const inc = step(1);
const dec = step(-1);

const neg: SemanticFunction = (s) => {
  const a = s.modify(0, (old) => old.neg());
  s.flagsSub(s.f.i64(0), a, a.neg());
};
const not: SemanticFunction = (s) => {
  s.modify(0, (old) => old.not());
};

const xadd: SemanticFunction = (s) => {
  const b = s.read(1);
  if (s.isMemory(0)) {
    const a = s.modify(0, (old) => old.add(b));
    s.write(1, a);
    s.flagsAdd(a, b, a.add(b));
    return;
  }
  // With one register for both, the sum wins.
  const a = s.read(0);
  s.write(1, a);
  s.write(0, a.add(b));
  s.flagsAdd(a, b, a.add(b));
};

const cmpxchg: SemanticFunction = (s) => {
  const source = s.read(1);
  const accumulator = s.reg(Register.RAX);
  if (s.isMemory(0)) {
    const old = s.modify(0, (a) => s.f.select(a.eq(accumulator), source, a));
    s.flagsSub(accumulator, old, accumulator.sub(old));
    s.f.if(old.ne(accumulator), () => {
      s.setReg(Register.RAX, old);
    });
    return;
  }
  // A register that is not replaced keeps its upper half.
  const old = s.read(0);
  s.flagsSub(accumulator, old, accumulator.sub(old));
  s.f.if(
    old.eq(accumulator),
    () => {
      s.write(0, source);
    },
    () => {
      s.setReg(Register.RAX, old);
    },
  );
};

const cmpxchg8b: SemanticFunction = (s) => {
  const half = (high: number, low: number): Value => s.reg(high, 4).shl(32).or(s.reg(low, 4));
  const expected = half(Register.RDX, Register.RAX);
  const replacement = half(Register.RCX, Register.RBX);
  const old = s.modify(0, (a) => s.f.select(a.eq(expected), replacement, a));
  s.setFlags({ ZF: old.eq(expected) });
  s.f.if(old.ne(expected), () => {
    s.setReg(Register.RAX, old, 4);
    s.setReg(Register.RDX, old.shrU(32), 4);
  });
};

/** WebAssembly has no 128-bit atomic: all of these exclude each other by one lock word. */
const cmpxchg16b: SemanticFunction = (s) => {
  const { f } = s;
  s.raiseIf(s.linear(0, 16, 'write').wrap().and(15).ne(0), Vector.GP, 0);
  s.check(0);
  s.helper('split_lock');
  const old = s.readV(0);
  const lane = (i: number): Value => f.lane('i64x2.extract_lane', [i], old);
  const low = lane(0);
  const high = lane(1);
  const equal = low.eq(s.reg(Register.RAX, 8)).and(high.eq(s.reg(Register.RDX, 8)));
  const replacement = f.lane(
    'i64x2.replace_lane',
    [1],
    f.op('i64x2.splat', s.reg(Register.RBX, 8)),
    s.reg(Register.RCX, 8),
  );
  s.writeV(0, f.select(equal, replacement, old));
  s.helper('split_unlock');
  s.setFlags({ ZF: equal });
  f.if(equal.eqz(), () => {
    s.setReg(Register.RAX, low, 8);
    s.setReg(Register.RDX, high, 8);
  });
};

// ---- decimal adjustments (not in 64-bit mode): SDM vol. 2, DAA, DAS, AAA, AAS, AAM, AAD ----

function decimalAdjust(subtract: boolean): SemanticFunction {
  return (s) => {
    const { f } = s;
    const al = s.reg(Register.RAX, 1);
    const carry = s.flag('CF');
    const low = al.and(15).gtU(9).or(s.flag('AF'));
    const high = al.gtU(0x99).or(carry);
    const first = f.select(low, f.i64(6), f.i64(0));
    const second = f.select(high, f.i64(0x60), f.i64(0));
    const adjust = first.add(second);
    const r = subtract ? al.sub(adjust) : al.add(adjust);
    // Subtracting six may itself borrow, which counts where the high digit is not adjusted.
    const borrow = subtract ? low.and(al.ltU(6)) : f.i32(0);
    s.setReg(Register.RAX, r, 1);
    s.flagsResult(r, { CF: high.or(borrow), AF: low, OF: 0 });
  };
}
function asciiAdjust(sign: 1 | -1): SemanticFunction {
  return (s) => {
    const { f } = s;
    const ax = s.reg(Register.RAX, 2);
    const adjust = ax.and(15).gtU(9).or(s.flag('AF'));
    const r = f.select(adjust, ax.add(0x106 * sign), ax);
    s.setReg(Register.RAX, r.and(0xff0f), 2);
    s.setFlags({ AF: adjust, CF: adjust });
  };
}
const aam: SemanticFunction = (s) => {
  const base = s.read(0).zext(8);
  s.raiseIf(base.eqz(), Vector.DE);
  const al = s.reg(Register.RAX, 1);
  const r = al.remU(base);
  s.setReg(Register.RAX, al.divU(base).shl(8).or(r), 2);
  s.flagsResult(r, { CF: 0, OF: 0, AF: 0 });
};
const aad: SemanticFunction = (s) => {
  const ax = s.reg(Register.RAX, 2);
  const r = ax
    .and(0xff)
    .add(ax.shrU(8).mul(s.read(0).zext(8)))
    .and(0xff);
  s.setReg(Register.RAX, r, 2);
  s.flagsResult(r, { CF: 0, OF: 0, AF: 0 });
};

const legacy = { mode: 'not64' } as const;

export const rows: readonly Row[] = [
  ...aluRows(),
  ['TEST', '84 /r', 'Eb Gb', test, { undefined: 'AF' }],
  ['TEST', '85 /r', 'Ev Gv', test, { undefined: 'AF' }],
  ['TEST', 'A8', 'AL Ib', test, { undefined: 'AF' }],
  ['TEST', 'A9', 'rAX Iz', test, { undefined: 'AF' }],
  ['TEST', 'F6 /0', 'Eb Ib', test, { undefined: 'AF' }],
  ['TEST', 'F6 /1', 'Eb Ib', test, { undefined: 'AF' }],
  ['TEST', 'F7 /0', 'Ev Iz', test, { undefined: 'AF' }],
  ['TEST', 'F7 /1', 'Ev Iz', test, { undefined: 'AF' }],
  ['INC', 'FE /0', 'Eb+', inc, { lock: true }],
  ['INC', 'FF /0', 'Ev+', inc, { lock: true }],
  ['DEC', 'FE /1', 'Eb+', dec, { lock: true }],
  ['DEC', 'FF /1', 'Ev+', dec, { lock: true }],
  ['INC', '40+r', 'Zv+', inc, legacy],
  ['DEC', '48+r', 'Zv+', dec, legacy],
  ['NOT', 'F6 /2', 'Eb+', not, { lock: true }],
  ['NOT', 'F7 /2', 'Ev+', not, { lock: true }],
  ['NEG', 'F6 /3', 'Eb+', neg, { lock: true }],
  ['NEG', 'F7 /3', 'Ev+', neg, { lock: true }],
  ['XADD', '0F C0 /r', 'Eb+ Gb+', xadd, { lock: true }],
  ['XADD', '0F C1 /r', 'Ev+ Gv+', xadd, { lock: true }],
  ['CMPXCHG', '0F B0 /r', 'Eb+ Gb', cmpxchg, { lock: true }],
  ['CMPXCHG', '0F B1 /r', 'Ev+ Gv', cmpxchg, { lock: true }],
  ['CMPXCHG8B', 'W0 0F C7 /1', 'Mq+', cmpxchg8b, { lock: true, size: 8 }],
  ['CMPXCHG16B', 'W1 0F C7 /1', 'Mx+', cmpxchg16b, { lock: true, size: 8, mode: 'only64', feature: 'cx16' }],
  ['DAA', '27', '', decimalAdjust(false), { ...legacy, size: 1, undefined: 'OF' }],
  ['DAS', '2F', '', decimalAdjust(true), { ...legacy, size: 1, undefined: 'OF' }],
  ['AAA', '37', '', asciiAdjust(1), { ...legacy, size: 1, undefined: 'OF SF ZF PF' }],
  ['AAS', '3F', '', asciiAdjust(-1), { ...legacy, size: 1, undefined: 'OF SF ZF PF' }],
  ['AAM', 'D4', 'Ib', aam, { ...legacy, size: 1, undefined: 'OF AF CF' }],
  ['AAD', 'D5', 'Ib', aad, { ...legacy, size: 1, undefined: 'OF AF CF' }],
];
