/** Near control transfers: Intel SDM vol. 2, JMP, Jcc, CALL, RET, LOOPcc, JrCXZ. Far ones are in system.ts. */
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import { CONDITIONS, Register, type Semantics } from '../semantics.ts';

const jmpRelative: SemanticFunction = (s) => {
  s.jump(s.target(0));
};
const jmpIndirect: SemanticFunction = (s) => {
  s.jump(s.read(0));
};
/** The return address is stored before the target is looked at; RSP moves when both are good. */
function call(s: Semantics, to: Value): void {
  const rsp = s.reg(Register.RSP, 8).sub(s.size);
  const offset = s.flat ? rsp : (s.helper('stack_offset', s.vp(), rsp)[0] as Value);
  s.storeLinear(s.stackLinear(offset, 'write'), s.size, s.next(), 'stack');
  s.jump(to, () => {
    s.setStackPointer(rsp);
  });
}
const callRelative: SemanticFunction = (s) => {
  call(s, s.target(0));
};
const callIndirect: SemanticFunction = (s) => {
  call(s, s.read(0));
};
const ret: SemanticFunction = (s) => {
  const to = s.top();
  s.jump(to, () => {
    s.drop();
  });
};
const retImmediate: SemanticFunction = (s) => {
  const to = s.top();
  s.jump(to, () => {
    s.drop(s.read(0).zext(16).add(s.size));
  });
};
const jcc = CONDITIONS.map(
  (_, code): SemanticFunction =>
    (s) => {
      s.branch(s.condition(code), 0);
    },
);
function loop(kind: 'always' | 'equal' | 'notEqual'): SemanticFunction {
  return (s) => {
    const count = s.truncateAddress(s.addressReg(Register.RCX).sub(1));
    s.setAddressReg(Register.RCX, count);
    let taken = count.ne(0);
    if (kind !== 'always') taken = taken.and(kind === 'equal' ? s.flag('ZF') : s.flag('ZF').xor(1));
    s.branch(taken, 0);
  };
}
const jcxz: SemanticFunction = (s) => {
  s.branch(s.addressReg(Register.RCX).eqz(), 0);
};

function hex(n: number): string {
  return n.toString(16).toUpperCase().padStart(2, '0');
}

const near = { long: 'force', ends: true, flavored: true, sizes: [2, 4, 8] } as const;
const conditional = { long: 'force', flavored: true, sizes: [2, 4, 8] } as const;

export const rows: readonly Row[] = [
  ['JMP', 'EB', 'Jb', jmpRelative, near],
  ['JMP', 'E9', 'Jz', jmpRelative, near],
  ['JMP', 'FF /4', 'Ev', jmpIndirect, near],
  ['CALL', 'E8', 'Jz', callRelative, near],
  ['CALL', 'FF /2', 'Ev', callIndirect, near],
  ['RET', 'C3', '', ret, near],
  ['RET', 'C2', 'Iw', retImmediate, near],
  ...CONDITIONS.flatMap((name, code): Row[] => [
    [`J${name}`, hex(0x70 + code), 'Jb', jcc[code] as SemanticFunction, conditional],
    [`J${name}`, `0F ${hex(0x80 + code)}`, 'Jz', jcc[code] as SemanticFunction, conditional],
  ]),
  ['LOOPNE', 'E0', 'Jb', loop('notEqual'), conditional],
  ['LOOPE', 'E1', 'Jb', loop('equal'), conditional],
  ['LOOP', 'E2', 'Jb', loop('always'), conditional],
  ['JRCXZ', 'E3', 'Jb', jcxz, conditional],
];
