/** Data movement: Intel SDM vol. 2, MOV, LEA, MOVZX, MOVSX, XCHG, CMOVcc, SETcc, PUSH, POP, ENTER, LEAVE and relatives. */
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import { CONDITIONS, Register, type Semantics } from '../semantics.ts';

const mov: SemanticFunction = (s) => {
  s.write(0, s.read(1));
};
const lea: SemanticFunction = (s) => {
  s.write(0, s.address(1));
};
const movsx =
  (bits: number): SemanticFunction =>
  (s) => {
    s.write(0, s.read(1).sext(bits));
  };
const movsx8 = movsx(8);
const movsx16 = movsx(16);
/** With a 16-bit operand size the source is 16 bits too. */
const movsxd: SemanticFunction = (s) => {
  s.write(0, s.read(1).sext(Math.min(s.bits, 32)));
};

const xchg: SemanticFunction = (s) => {
  const b = s.read(1);
  const a = s.modify(0, () => b);
  s.write(1, a);
};
/** Never EAX with itself, which is NOP and does not clear the upper half of RAX. */
const xchgAccumulator: SemanticFunction = (s) => {
  const a = s.read(0);
  const b = s.read(1);
  s.write(0, b);
  s.write(1, a);
};

const CONDITION_CODES = CONDITIONS.map((name, code) => ({
  name,
  code,
  cmov: ((s: Semantics) => {
    const source = s.read(1);
    s.write(0, s.f.select(s.condition(code), source, s.read(0)));
  }) as SemanticFunction,
  set: ((s: Semantics) => {
    s.write(0, s.condition(code).extU());
  }) as SemanticFunction,
}));

const push: SemanticFunction = (s) => {
  s.push(s.read(0));
};
const pop: SemanticFunction = (s) => {
  const value = s.top();
  if (s.isMemory(0)) {
    // An address based on RSP is computed after the increment; RSP itself changes only when the store is safe.
    s.displace(0, s.f.select(s.baseIsStackPointer(0), s.f.i64(s.size), s.f.i64(0)));
    s.write(0, value);
    s.drop();
  } else {
    // POP RSP ends with the value popped.
    s.drop();
    s.write(0, value);
  }
};

const pusha: SemanticFunction = (s) => {
  const sp = s.stackPointer();
  // A fault leaves what is stored already below RSP, which moves last.
  const slot = (r: number): Value => s.helper('stack_offset', s.vp(), sp.sub((r + 1) * s.size))[0] as Value;
  for (let r = 0; r < 8; r++) s.storeLinear(s.stackLinear(slot(r), 'write'), s.size, s.reg(r), 'stack');
  s.setStackPointer(sp.sub(8 * s.size));
};
const popa: SemanticFunction = (s) => {
  const sp = s.stackPointer();
  for (let r = 7; r >= 0; r--) {
    const offset = s.helper('stack_offset', s.vp(), sp.add((7 - r) * s.size))[0] as Value;
    const value = s.loadLinear(s.stackLinear(offset, 'read'), s.size, 'stack');
    if (r !== Register.RSP) s.setReg(r, value);
  }
  s.drop(8 * s.size);
};

const leave: SemanticFunction = (s) => {
  const bp = s.reg(Register.RBP, 8);
  const from = s.flat ? bp : (s.helper('stack_offset', s.vp(), bp)[0] as Value);
  const value = s.loadLinear(s.stackLinear(from, 'read'), s.size, 'stack');
  s.setStackPointer(from.add(s.size));
  s.setReg(Register.RBP, value);
};

const enter: SemanticFunction = (s) => {
  const { f } = s;
  const bytes = s.read(0);
  const level = s.read(1).and(31);
  const at = (offset: Value): Value => (s.flat ? offset : (s.helper('stack_offset', s.vp(), offset)[0] as Value));
  const sp = f.variable('i64', s.stackPointer());
  const bp = f.variable('i64', s.reg(Register.RBP, 8));
  const pushAt = (value: Value): void => {
    sp.set(at(sp.get().sub(s.size)));
    s.storeLinear(s.stackLinear(sp.get(), 'write'), s.size, value, 'stack');
  };
  pushAt(s.reg(Register.RBP));
  const frame = sp.get();
  f.if(level.ne(0), () => {
    const left = f.variable('i64', level.sub(1));
    f.block((out) => {
      f.loop((again) => {
        f.brIf(out, left.get().eqz());
        bp.set(bp.get().sub(s.size));
        pushAt(s.loadLinear(s.stackLinear(at(bp.get()), 'read'), s.size, 'stack'));
        left.set(left.get().sub(1));
        f.br(again);
      });
    });
    pushAt(frame);
  });
  const end = at(sp.get().sub(bytes));
  // The new top must be writable, or the instruction faults as a whole.
  s.probe(s.stackLinear(end, 'write'), s.size, 'write', 'stack');
  s.setReg(Register.RBP, frame);
  s.setStackPointer(end);
};

const xlat: SemanticFunction = (s) => {
  const offset = s.addressReg(Register.RBX).add(s.reg(Register.RAX, 1));
  s.setReg(Register.RAX, s.loadLinear(s.segmentLinear('override', s.truncateAddress(offset), 1, 'read'), 1), 1);
};

/** CBW, CWDE, CDQE by operand size. */
const extendAccumulator: SemanticFunction = (s) => {
  s.write(0, s.reg(Register.RAX, s.size / 2).sext(s.bits / 2));
};
/** CWD, CDQ, CQO. */
const extendToData: SemanticFunction = (s) => {
  s.setReg(Register.RDX, s.read(0).sext(s.bits).shrS(63));
};

const bswap: SemanticFunction = (s) => {
  const a = s.read(0);
  if (s.size === 2) {
    // Undefined by the manual; processors give zero.
    s.write(0, 0);
    return;
  }
  const swapped16 = a.shrU(8).and(0x00ff_00ff_00ff_00ffn).or(a.and(0x00ff_00ff_00ff_00ffn).shl(8));
  const swapped32 = swapped16.shrU(16).and(0x0000_ffff_0000_ffffn).or(swapped16.and(0x0000_ffff_0000_ffffn).shl(16));
  s.write(0, s.size === 8 ? swapped32.rotl(32) : swapped32);
};

const nothing: SemanticFunction = () => undefined;

const lahf: SemanticFunction = (s) => {
  s.setReg(Register.RAX, s.rflags().and(0xd5).or(2).shl(8).or(s.reg(Register.RAX, 1)), 2);
};
const sahf: SemanticFunction = (s) => {
  s.setRflags(s.reg(Register.RAX, 2).shrU(8), 0xd5);
};
const setCarry =
  (value: 0 | 1): SemanticFunction =>
  (s) => {
    s.setFlags({ CF: value });
  };
const complementCarry: SemanticFunction = (s) => {
  s.setFlags({ CF: s.flag('CF').xor(1) });
};
const direction =
  (set: boolean): SemanticFunction =>
  (s) => {
    const flags = s.state('flags');
    s.setState('flags', set ? flags.or(0x400) : flags.and(~0x400));
  };
const salc: SemanticFunction = (s) => {
  s.setReg(Register.RAX, s.flag('CF').extU().neg(), 1);
};

function hex(n: number): string {
  return n.toString(16).toUpperCase().padStart(2, '0');
}

const stack = { long: 'default', flavored: true } as const;

export const rows: readonly Row[] = [
  ['MOV', '88 /r', 'Eb= Gb', mov],
  ['MOV', '89 /r', 'Ev= Gv', mov],
  ['MOV', '8A /r', 'Gb= Eb', mov],
  ['MOV', '8B /r', 'Gv= Ev', mov],
  ['MOV', 'A0', 'AL= Ob', mov],
  ['MOV', 'A1', 'rAX= Ov', mov],
  ['MOV', 'A2', 'Ob= AL', mov],
  ['MOV', 'A3', 'Ov= rAX', mov],
  ['MOV', 'B0+r', 'Zb= Ib', mov],
  ['MOV', 'B8+r', 'Zv= Iv', mov],
  ['MOV', 'C6 /0', 'Eb= Ib', mov],
  ['MOV', 'C7 /0', 'Ev= Iz', mov],
  ['LEA', '8D /r', 'Gv= M', lea],
  ['MOVZX', '0F B6 /r', 'Gv= Eb', mov],
  ['MOVZX', '0F B7 /r', 'Gv= Ew', mov],
  ['MOVSX', '0F BE /r', 'Gv= Eb', movsx8],
  ['MOVSX', '0F BF /r', 'Gv= Ew', movsx16],
  ['MOVSXD', '63 /r', 'Gv= Ez', movsxd, { mode: 'only64' }],
  ['XCHG', '86 /r', 'Eb+ Gb+', xchg, { lock: true, implicitLock: true }],
  ['XCHG', '87 /r', 'Ev+ Gv+', xchg, { lock: true, implicitLock: true }],
  ['NOP', 'NB 90', '', nothing],
  ['XCHG', '90+r', 'Zv+ rAX+', xchgAccumulator],
  ...CONDITION_CODES.flatMap(({ name, code, cmov, set }): Row[] => [
    [`CMOV${name}`, `0F ${hex(0x40 + code)} /r`, 'Gv+ Ev', cmov],
    [`SET${name}`, `0F ${hex(0x90 + code)} /r`, 'Eb=', set],
  ]),
  ['PUSH', '50+r', 'Zv', push, stack],
  ['POP', '58+r', 'Zv=', pop, stack],
  ['PUSH', '68', 'Iz', push, stack],
  ['PUSH', '6A', 'Ibs', push, { ...stack, sizes: [2, 4, 8] }],
  ['PUSH', 'FF /6', 'Ev', push, stack],
  ['POP', '8F /0', 'Ev=', pop, stack],
  ['PUSHA', '60', '', pusha, { mode: 'not64', flavored: true, sizes: [2, 4] }],
  ['POPA', '61', '', popa, { mode: 'not64', flavored: true, sizes: [2, 4] }],
  ['ENTER', 'C8', 'Iw Ib', enter, { long: 'default', flavored: true, sizes: [2, 4, 8] }],
  ['LEAVE', 'C9', '', leave, { long: 'default', flavored: true, sizes: [2, 4, 8] }],
  ['XLAT', 'D7', '', xlat, { size: 1, flavored: true }],
  ['CBW', '98', 'rAX+', extendAccumulator],
  ['CWD', '99', 'rAX', extendToData],
  ['BSWAP', '0F C8+r', 'Zv+', bswap],
  ...[0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f].map((n): Row => ['NOP', `0F ${hex(n)} /r`, 'E', nothing]),
  ['PAUSE', 'F3 90', '', nothing],
  ['LAHF', '9F', '', lahf, { size: 1, feature: 'lahf_lm' }],
  ['SAHF', '9E', '', sahf, { size: 1, feature: 'lahf_lm' }],
  ['CMC', 'F5', '', complementCarry, { size: 1 }],
  ['CLC', 'F8', '', setCarry(0), { size: 1 }],
  ['STC', 'F9', '', setCarry(1), { size: 1 }],
  ['CLD', 'FC', '', direction(false), { size: 1 }],
  ['STD', 'FD', '', direction(true), { size: 1 }],
  ['SALC', 'D6', '', salc, { size: 1, mode: 'not64' }],
];
