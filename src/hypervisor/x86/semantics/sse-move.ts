/**
 * SSE moves, logic, masks, MXCSR, non-temporal stores and prefetches. Intel SDM vol. 2, the instructions' pages. Caches are
 * not modelled: a non-temporal access is a plain one, a prefetch does nothing and cannot fault.
 */
import { Vector } from '../../vp/state.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import { linearAfter } from './image.ts';
import { fromLow, high64, laneBytes, requireSse, shuffle } from './sse-common.ts';
import { onXmm } from './sse-integer.ts';

/** Bits of MXCSR that exist. */
const MXCSR_MASK = 0xffff;

/** A whole register or 16 bytes of memory. */
const move: SemanticFunction = (s) => {
  requireSse(s);
  s.writeV(0, s.readV(1));
};

/** Loads that clear the rest of the register, and stores. */
const load32: SemanticFunction = (s) => {
  requireSse(s);
  s.writeV(0, fromLow(s.f, s.read32(1).extU()));
};
const load64: SemanticFunction = (s) => {
  requireSse(s);
  s.writeV(0, fromLow(s.f, s.read64(1)));
};
const low32: SemanticFunction = (s) => {
  requireSse(s);
  s.write32(0, s.read32(1));
};
const lowHalf: SemanticFunction = (s) => {
  requireSse(s);
  s.write64(0, s.read64(1));
};
const storeHigh: SemanticFunction = (s) => {
  requireSse(s);
  s.write64(0, high64(s.f, s.readV(1)));
};
const loadHigh: SemanticFunction = (s) => {
  requireSse(s);
  const value = s.read64(1);
  s.writeV(0, s.f.lane('i64x2.replace_lane', [1], s.readV(0), value));
};
const highToLow: SemanticFunction = (s) => {
  requireSse(s);
  s.write64(0, high64(s.f, s.readV(1)));
};

/** MOVD, MOVQ between a general register or memory and an XMM register. */
const fromGeneral: SemanticFunction = (s) => {
  requireSse(s);
  s.writeV(0, fromLow(s.f, s.read(1)));
};
const toGeneral: SemanticFunction = (s) => {
  requireSse(s);
  s.write(0, s.size === 8 ? s.read64(1) : s.read32(1).extU());
};

function rearranged(width: number, order: readonly number[]): SemanticFunction {
  return (s) => {
    requireSse(s);
    const source = s.readV(1);
    s.writeV(0, shuffle(s.f, laneBytes(width, order), source, source));
  };
}
const duplicateLow: SemanticFunction = (s) => {
  requireSse(s);
  s.writeV(0, s.f.op('i64x2.splat', s.read64(1)));
};

/** A bit per lane, the lane's sign. */
function signs(shape: string): SemanticFunction {
  return (s) => {
    requireSse(s);
    s.write(0, s.f.op(`${shape}.bitmask`, s.readV(1)).extU());
  };
}

const logic = (
  mnemonic: string,
  opcode: string,
  operation: (f: FunctionBuilder, a: Value, b: Value) => Value,
): Row[] => [
  [`${mnemonic}PS`, `NP 0F ${opcode}`, 'Vx+ Wx', onXmm(operation)],
  [`${mnemonic}PD`, `66 0F ${opcode}`, 'Vx+ Wx', onXmm(operation)],
];

const loadMxcsr: SemanticFunction = (s) => {
  requireSse(s);
  const value = s.read(0).wrap();
  s.raiseIf(value.and(~MXCSR_MASK).ne(0), Vector.GP, 0);
  s.setState('mxcsr', value);
};
const storeMxcsr: SemanticFunction = (s) => {
  requireSse(s);
  s.write(0, s.state('mxcsr').extU());
};

/**
 * MASKMOVDQU: bytes whose mask has its top bit set go to DS:rDI. Whether the others' addresses can fault is left to the
 * processor; in Intel's they do, the upper half first.
 */
const maskedStore: SemanticFunction = (s) => {
  requireSse(s);
  const { f } = s;
  const source = s.readV(0);
  const mask = f.op('i8x16.bitmask', s.readV(1));
  const start = s.segmentLinear('override', s.addressReg(7), 16, 'write');
  s.probe(linearAfter(s, start, 8), 8, 'write');
  s.probe(start, 8, 'write');
  f.if(mask.ne(0), () => {
    const rest = f.variable('i32', mask);
    f.loop((again) => {
      const at = rest.get().ctz();
      const byte = f.lane('i8x16.extract_lane_u', [0], f.op('i8x16.swizzle', source, f.op('i8x16.splat', at)));
      s.storeLinear(start.add(at.extU()), 1, byte.extU());
      const next = rest.get().and(rest.get().sub(1));
      rest.set(next);
      f.brIf(again, rest.get().ne(0));
    });
  });
};

/** MOVNTI is an integer instruction: it needs no SSE state. */
const storeGeneral: SemanticFunction = (s) => {
  s.write(0, s.read(1));
};
const nothing: SemanticFunction = () => {};

export const rows: readonly Row[] = [
  ['MOVUPS', 'NP 0F 10', 'Vx= Wu', move],
  ['MOVUPD', '66 0F 10', 'Vx= Wu', move],
  ['MOVSS', 'F3 0F 10', 'Vx+ Ud', low32],
  ['MOVSS', 'F3 0F 10', 'Vx= Md', load32],
  ['MOVSD', 'F2 0F 10', 'Vx+ Uq', lowHalf],
  ['MOVSD', 'F2 0F 10', 'Vx= Mq', load64],
  ['MOVUPS', 'NP 0F 11', 'Wu= Vx', move],
  ['MOVUPD', '66 0F 11', 'Wu= Vx', move],
  ['MOVSS', 'F3 0F 11', 'Ud+ Vx', low32],
  ['MOVSS', 'F3 0F 11', 'Md= Vx', low32],
  ['MOVSD', 'F2 0F 11', 'Uq+ Vx', lowHalf],
  ['MOVSD', 'F2 0F 11', 'Mq= Vx', lowHalf],
  ['MOVHLPS', 'NP 0F 12', 'Vx+ Ux', highToLow],
  ['MOVLPS', 'NP 0F 12', 'Vx+ Mq', lowHalf],
  ['MOVLPD', '66 0F 12', 'Vx+ Mq', lowHalf],
  ['MOVSLDUP', 'F3 0F 12', 'Vx= Wx', rearranged(4, [0, 0, 2, 2])],
  ['MOVDDUP', 'F2 0F 12', 'Vx= Wq', duplicateLow],
  ['MOVLPS', 'NP 0F 13', 'Mq= Vx', lowHalf],
  ['MOVLPD', '66 0F 13', 'Mq= Vx', lowHalf],
  ['MOVLHPS', 'NP 0F 16', 'Vx+ Ux', loadHigh],
  ['MOVHPS', 'NP 0F 16', 'Vx+ Mq', loadHigh],
  ['MOVHPD', '66 0F 16', 'Vx+ Mq', loadHigh],
  ['MOVSHDUP', 'F3 0F 16', 'Vx= Wx', rearranged(4, [1, 1, 3, 3])],
  ['MOVHPS', 'NP 0F 17', 'Mq= Vx', storeHigh],
  ['MOVHPD', '66 0F 17', 'Mq= Vx', storeHigh],
  ['MOVAPS', 'NP 0F 28', 'Vx= Wx', move],
  ['MOVAPD', '66 0F 28', 'Vx= Wx', move],
  ['MOVAPS', 'NP 0F 29', 'Wx= Vx', move],
  ['MOVAPD', '66 0F 29', 'Wx= Vx', move],
  ['MOVNTPS', 'NP 0F 2B', 'Mx= Vx', move],
  ['MOVNTPD', '66 0F 2B', 'Mx= Vx', move],
  ['MOVMSKPS', 'NP 0F 50', 'Gd= Ux', signs('i32x4')],
  ['MOVMSKPD', '66 0F 50', 'Gd= Ux', signs('i64x2')],
  ...logic('AND', '54', (f, a, b) => f.op('v128.and', a, b)),
  ...logic('ANDN', '55', (f, a, b) => f.op('v128.andnot', b, a)),
  ...logic('OR', '56', (f, a, b) => f.op('v128.or', a, b)),
  ...logic('XOR', '57', (f, a, b) => f.op('v128.xor', a, b)),
  ['MOVD', '66 W0 0F 6E', 'Vx= Ed', fromGeneral],
  ['MOVQ', '66 W1 0F 6E', 'Vx= Eq', fromGeneral],
  ['MOVDQA', '66 0F 6F', 'Vx= Wx', move],
  ['MOVDQU', 'F3 0F 6F', 'Vx= Wu', move],
  ['MOVD', '66 W0 0F 7E', 'Ed= Vx', toGeneral],
  ['MOVQ', '66 W1 0F 7E', 'Eq= Vx', toGeneral],
  ['MOVQ', 'F3 0F 7E', 'Vx= Wq', load64],
  ['MOVDQA', '66 0F 7F', 'Wx= Vx', move],
  ['MOVDQU', 'F3 0F 7F', 'Wu= Vx', move],
  ['MOVQ', '66 0F D6', 'Ux= Vq', load64],
  ['MOVQ', '66 0F D6', 'Mq= Vx', lowHalf],
  ['PMOVMSKB', '66 0F D7', 'Gd= Ux', signs('i8x16')],
  ['MOVNTDQ', '66 0F E7', 'Mx= Vx', move],
  ['LDDQU', 'F2 0F F0', 'Vx= Mu', move],
  ['MASKMOVDQU', '66 0F F7', 'Vx Ux', maskedStore, { flavored: true }],
  ['MOVNTDQA', '66 0F 38 2A', 'Vx= Mx', move],
  ['LDMXCSR', 'NP 0F AE /2', 'Md', loadMxcsr],
  ['STMXCSR', 'NP 0F AE /3', 'Md=', storeMxcsr],
  ['MOVNTI', 'NP 0F C3', 'My= Gy', storeGeneral],
  ['PREFETCHNTA', '0F 18 /0', 'M', nothing],
  ['PREFETCHT0', '0F 18 /1', 'M', nothing],
  ['PREFETCHT1', '0F 18 /2', 'M', nothing],
  ['PREFETCHT2', '0F 18 /3', 'M', nothing],
  ['PREFETCH', '0F 0D /0', 'M', nothing],
  ['PREFETCHW', '0F 0D /1', 'M', nothing],
  ['PREFETCHWT1', '0F 0D /2', 'M', nothing],
  // What remains of the two opcodes does nothing either.
  ['NOP', '0F 18 /r', 'E', nothing],
  ['NOP', '0F 0D /r', 'E', nothing],
];
