/** Multiplication and division: Intel SDM vol. 2, MUL, IMUL, DIV, IDIV. WebAssembly has no 128-bit product or dividend. */
import { Vector } from '../../vp/state.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { HelperDefinition } from '../library.ts';
import { Register, type Semantics } from '../semantics.ts';

/** High half of the unsigned product of two i64. */
function multiplyHighUnsigned(a: Value, b: Value): Value {
  const [al, ah, bl, bh] = [a.and(0xffff_ffff), a.shrU(32), b.and(0xffff_ffff), b.shrU(32)];
  const low = al.mul(bl);
  const middle1 = ah.mul(bl).add(low.shrU(32));
  const middle2 = al.mul(bh).add(middle1.and(0xffff_ffff));
  return ah.mul(bh).add(middle1.shrU(32)).add(middle2.shrU(32));
}
function multiplyHighSigned(a: Value, b: Value): Value {
  return multiplyHighUnsigned(a, b).sub(a.shrS(63).and(b)).sub(b.shrS(63).and(a));
}

/** CF = OF = the upper half matters; the others are undefined and are left as the low half's. */
function overflowFlags(s: Semantics, low: Value, overflow: Value): void {
  s.flagsResult(low, { CF: overflow, OF: overflow, AF: 0 });
}

function multiply(signed: boolean): SemanticFunction {
  return (s) => {
    const a = s.reg(Register.RAX);
    const b = s.read(0);
    if (s.size === 8) {
      const low = a.mul(b);
      const high = signed ? multiplyHighSigned(a, b) : multiplyHighUnsigned(a, b);
      s.setReg(Register.RAX, low);
      s.setReg(Register.RDX, high);
      overflowFlags(s, low, signed ? high.ne(low.shrS(63)) : high.ne(0));
      return;
    }
    const product = signed ? a.sext(s.bits).mul(b.sext(s.bits)) : a.mul(b);
    if (s.size === 1) s.setReg(Register.RAX, product, 2);
    else {
      s.setReg(Register.RAX, product);
      s.setReg(Register.RDX, product.shrU(s.bits));
    }
    overflowFlags(s, product, signed ? product.sext(s.bits).ne(product) : product.shrU(s.bits).ne(0));
  };
}

function multiplyTo(s: Semantics, a: Value, b: Value): void {
  if (s.size === 8) {
    const low = a.mul(b);
    s.write(0, low);
    overflowFlags(s, low, multiplyHighSigned(a, b).ne(low.shrS(63)));
    return;
  }
  const product = a.sext(s.bits).mul(b.sext(s.bits));
  s.write(0, product);
  overflowFlags(s, product, product.sext(s.bits).ne(product));
}
const imul2: SemanticFunction = (s) => {
  multiplyTo(s, s.read(0), s.read(1));
};
const imul3: SemanticFunction = (s) => {
  multiplyTo(s, s.read(1), s.read(2));
};

function dividend(s: Semantics): Value {
  if (s.size === 1) return s.reg(Register.RAX, 2);
  return s.reg(Register.RDX).shl(s.bits).or(s.reg(Register.RAX));
}
function setQuotient(s: Semantics, quotient: Value, remainder: Value): void {
  if (s.size === 1) s.setReg(Register.RAX, remainder.and(0xff).shl(8).or(quotient.and(0xff)), 2);
  else {
    s.setReg(Register.RAX, quotient);
    s.setReg(Register.RDX, remainder);
  }
}

const div: SemanticFunction = (s) => {
  const divisor = s.read(0);
  s.raiseIf(divisor.eqz(), Vector.DE);
  if (s.size === 8) {
    const high = s.reg(Register.RDX);
    s.raiseIf(high.geU(divisor), Vector.DE);
    const [quotient, remainder] = s.helper('divide_128', high, s.reg(Register.RAX), divisor) as [Value, Value];
    setQuotient(s, quotient, remainder);
    return;
  }
  const n = dividend(s);
  const quotient = n.divU(divisor);
  s.raiseIf(quotient.shrU(s.bits).ne(0), Vector.DE);
  setQuotient(s, quotient, n.remU(divisor));
};

const idiv: SemanticFunction = (s) => {
  const { f } = s;
  const divisor = s.read(0).sext(s.bits);
  s.raiseIf(divisor.eqz(), Vector.DE);
  if (s.size === 8) {
    const high = s.reg(Register.RDX);
    const low = s.reg(Register.RAX);
    const negative = high.ltS(0);
    const magnitudeLow = f.select(negative, low.neg(), low);
    const magnitudeHigh = f.select(negative, high.not().add(low.eqz().extU()), high);
    const magnitude = f.select(divisor.ltS(0), divisor.neg(), divisor);
    s.raiseIf(magnitudeHigh.geU(magnitude), Vector.DE);
    const [q, r] = s.helper('divide_128', magnitudeHigh, magnitudeLow, magnitude) as [Value, Value];
    const opposite = negative.xor(divisor.ltS(0));
    // The quotient's magnitude may be 2^63 only where it is negative.
    s.raiseIf(q.ltS(0).and(opposite.eqz().or(q.shl(1).ne(0))), Vector.DE);
    setQuotient(s, f.select(opposite, q.neg(), q), f.select(negative, r.neg(), r));
    return;
  }
  const n = s.size === 1 ? dividend(s).sext(16) : s.size === 2 ? dividend(s).sext(32) : dividend(s);
  // The most negative dividend by -1 would trap in WebAssembly.
  if (s.size === 4) s.raiseIf(n.eq(-0x8000_0000_0000_0000n).and(divisor.eq(-1)), Vector.DE);
  const quotient = n.divS(divisor);
  s.raiseIf(quotient.sext(s.bits).ne(quotient), Vector.DE);
  setQuotient(s, quotient, n.remS(divisor));
};

/** (high, low, divisor) with high < divisor -> (quotient, remainder), all unsigned. */
const divide128: HelperDefinition = {
  name: 'divide_128',
  type: { params: ['i64', 'i64', 'i64'], results: ['i64', 'i64'] },
  build(f) {
    const divisor = f.param(2);
    f.if(f.param(0).eqz(), () => {
      f.return(f.param(1).divU(divisor), f.param(1).remU(divisor));
    });
    const high = f.variable('i64', f.param(0));
    const low = f.variable('i64', f.param(1));
    const count = f.variable('i32', 64);
    f.loop((again) => {
      const carry = high.get().shrU(63);
      high.set(high.get().shl(1).or(low.get().shrU(63)));
      low.set(low.get().shl(1));
      f.if(carry.ne(0).or(high.get().geU(divisor)), () => {
        high.set(high.get().sub(divisor));
        low.set(low.get().or(1));
      });
      count.set(count.get().sub(1));
      f.brIf(again, count.get());
    });
    f.return(low.get(), high.get());
  },
};

export const helpers: readonly HelperDefinition[] = [divide128];

const product = 'SF ZF AF PF';
const all = 'CF OF SF ZF AF PF';
export const rows: readonly Row[] = [
  ['MUL', 'F6 /4', 'Eb', multiply(false), { undefined: product }],
  ['MUL', 'F7 /4', 'Ev', multiply(false), { undefined: product }],
  ['IMUL', 'F6 /5', 'Eb', multiply(true), { undefined: product }],
  ['IMUL', 'F7 /5', 'Ev', multiply(true), { undefined: product }],
  ['IMUL', '0F AF /r', 'Gv+ Ev', imul2, { undefined: product }],
  ['IMUL', '69 /r', 'Gv= Ev Iz', imul3, { undefined: product }],
  ['IMUL', '6B /r', 'Gv= Ev Ibs', imul3, { undefined: product }],
  ['DIV', 'F6 /6', 'Eb', div, { undefined: all }],
  ['DIV', 'F7 /6', 'Ev', div, { undefined: all }],
  ['IDIV', 'F6 /7', 'Eb', idiv, { undefined: all }],
  ['IDIV', 'F7 /7', 'Ev', idiv, { undefined: all }],
];
