/** Shifts, rotates and bit instructions: Intel SDM vol. 2, RCL ... SHRD, BT ... BTS, BSF, BSR, POPCNT. */
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { Semantics } from '../semantics.ts';

/** Result and carry of a shift by `count` (already masked to 5 or 6 bits). Both must be right for count zero except the carry. */
type Shift = (
  s: Semantics,
  a: Value,
  count: Value,
  carry: Value,
) => { result: Value; carry: Value; overflow: Value; arithmetic: boolean };

const top = (s: Semantics, v: Value): Value =>
  v
    .shrU(s.bits - 1)
    .wrap()
    .and(1);
const mask = (s: Semantics, v: Value): Value => v.zext(s.bits);

const shl: Shift = (s, a, count) => {
  const result = a.shl(count);
  const carry = s.size === 8 ? a.shrU(s.f.i64(64).sub(count)).wrap().and(1) : result.shrU(s.bits).wrap().and(1);
  return { result, carry, overflow: carry.xor(top(s, result)), arithmetic: true };
};
const shr: Shift = (s, a, count) => ({
  result: a.shrU(count),
  carry: a.shrU(count.sub(1)).wrap().and(1),
  overflow: top(s, a),
  arithmetic: true,
});
const sar: Shift = (s, a, count) => {
  const wide = a.sext(s.bits);
  return {
    result: wide.shrS(count),
    carry: wide.shrS(count.sub(1)).wrap().and(1),
    overflow: s.f.i32(0),
    arithmetic: true,
  };
};

function rotated(s: Semantics, a: Value, count: Value): Value {
  if (s.size === 8) return a.rotl(count);
  if (s.size === 4) return a.wrap().rotl(count.wrap()).extU();
  const c = count.and(s.bits - 1);
  return a.shl(c).or(a.shrU(s.f.i64(s.bits).sub(c)));
}
const rol: Shift = (s, a, count) => {
  const result = rotated(s, a, count);
  const carry = result.wrap().and(1);
  return { result, carry, overflow: top(s, result).xor(carry), arithmetic: false };
};
const ror: Shift = (s, a, count) => {
  const result = rotated(
    s,
    a,
    s.f
      .i64(s.bits)
      .sub(count.and(s.bits - 1))
      .and(s.bits - 1),
  );
  const carry = top(s, result);
  return {
    result,
    carry,
    overflow: carry.xor(
      result
        .shrU(s.bits - 2)
        .wrap()
        .and(1),
    ),
    arithmetic: false,
  };
};

/** Rotation through carry of a (bits + 1)-bit value. */
function throughCarry(left: boolean): Shift {
  return (s, a, count, carryIn) => {
    const { f } = s;
    const wide = s.bits + 1;
    const c = s.size <= 2 ? count.remU(wide) : count;
    if (s.size < 8) {
      const x = a.or(carryIn.extU().shl(s.bits));
      const back = f.i64(wide).sub(c);
      const r = left ? x.shl(c).or(x.shrU(back)) : x.shrU(c).or(x.shl(back));
      const carry = r.shrU(s.bits).wrap().and(1);
      const result = mask(s, r);
      const overflow = left
        ? top(s, result).xor(carry)
        : top(s, result).xor(
            result
              .shrU(s.bits - 2)
              .wrap()
              .and(1),
          );
      return { result, carry, overflow, arithmetic: false };
    }
    const zero = c.eqz();
    // x >> 64 does not exist: shift by one and then by the rest.
    const rest = f.i64(64).sub(c);
    const moved = left ? a.shl(c).or(a.shrU(1).shrU(rest)) : a.shrU(c).or(a.shl(1).shl(rest));
    const inserted = left ? carryIn.extU().shl(c.sub(1)) : carryIn.extU().shl(rest);
    const result = f.select(zero, a, moved.or(inserted));
    const out = left ? a.shrU(rest) : a.shrU(c.sub(1));
    const carry = f.select(zero, carryIn, out.wrap().and(1));
    const overflow = left ? top(s, result).xor(carry) : top(s, result).xor(result.shrU(62).wrap().and(1));
    return { result, carry, overflow, arithmetic: false };
  };
}

function shift(operation: Shift): SemanticFunction {
  return (s) => {
    const count = s.read(1).and(s.size === 8 ? 63 : 31);
    const a = s.read(0);
    const { result, carry, overflow, arithmetic } = operation(s, a, count, s.flag('CF'));
    s.write(0, result);
    s.f.if(count.ne(0), () => {
      if (arithmetic) s.flagsResult(result, { CF: carry, OF: overflow, AF: 0 });
      else s.setFlags({ CF: carry, OF: overflow });
    });
  };
}

const GROUP: readonly (readonly [string, SemanticFunction, string])[] = [
  ['ROL', shift(rol), 'OF'],
  ['ROR', shift(ror), 'OF'],
  ['RCL', shift(throughCarry(true)), 'OF'],
  ['RCR', shift(throughCarry(false)), 'OF'],
  ['SHL', shift(shl), 'OF AF CF'],
  ['SHR', shift(shr), 'OF AF CF'],
  ['SAL', shift(shl), 'OF AF CF'],
  ['SAR', shift(sar), 'OF AF'],
];

/**
 * SHLD, SHRD. For 16-bit operands a count above 16 is undefined; processors shift 48 bits, which end in the destination again
 * (Intel's, and here) or in the source again (AMD's).
 */
function doubleShift(left: boolean): SemanticFunction {
  return (s) => {
    const { f } = s;
    const count = s.read(2).and(s.size === 8 ? 63 : 31);
    const b = s.read(1);
    const a = s.read(0);
    const back = f.i64(s.bits).sub(count);
    let result: Value;
    let carry: Value;
    if (s.size === 2) {
      const c = count;
      // Destination, source, destination again, as one 48-bit word.
      const x = left ? a.shl(32).or(b.shl(16)).or(a) : a.shl(32).or(b.shl(16)).or(a);
      result = left ? x.shl(c).shrU(32) : x.shrU(c);
      carry = left ? x.shrU(f.i64(48).sub(c)).wrap().and(1) : x.shrU(c.sub(1)).wrap().and(1);
    } else if (left) {
      result = f.select(count.eqz(), a, a.shl(count).or(b.shrU(back)));
      carry = a.shrU(back).wrap().and(1);
    } else {
      result = f.select(count.eqz(), a, a.shrU(count).or(b.shl(back)));
      carry = a.shrU(count.sub(1)).wrap().and(1);
    }
    s.write(0, result);
    f.if(count.ne(0), () => {
      s.flagsResult(result, { CF: carry, OF: top(s, result).xor(top(s, a)), AF: 0 });
    });
  };
}
const shld = doubleShift(true);
const shrd = doubleShift(false);

/** BT, BTS, BTR, BTC. With a register offset, a memory operand is a bit string that extends both ways. */
function bitTest(change: ((a: Value, bit: Value) => Value) | undefined): SemanticFunction {
  return (s) => {
    const offset = s.read(1);
    if (s.isMemory(0) && s.registerOffset) {
      const unit = offset.sext(s.bits).shrS(Math.log2(s.bits)).mul(s.size);
      s.displace(0, unit);
    }
    const position = offset.and(s.bits - 1);
    const bit = s.f.i64(1).shl(position);
    const a = change ? s.modify(0, (old) => change(old, bit)) : s.read(0);
    s.setFlags({ CF: a.shrU(position).wrap().and(1) });
  };
}
const BIT_TESTS: readonly (readonly [string, SemanticFunction, number, number])[] = [
  ['BT', bitTest(undefined), 0xa3, 4],
  ['BTS', bitTest((a, bit) => a.or(bit)), 0xab, 5],
  ['BTR', bitTest((a, bit) => a.and(bit.not())), 0xb3, 6],
  ['BTC', bitTest((a, bit) => a.xor(bit)), 0xbb, 7],
];

function scan(forward: boolean): SemanticFunction {
  return (s) => {
    const source = s.read(1);
    const found = forward ? source.ctz() : s.f.i64(63).sub(source.clz());
    // With a zero source the destination keeps its value, its upper half included.
    s.f.if(source.ne(0), () => {
      s.write(0, found);
    });
    s.flagsResult(source, { CF: 0, OF: 0, AF: 0 });
  };
}
const popcnt: SemanticFunction = (s) => {
  const source = s.read(1);
  s.write(0, source.popcnt());
  s.setFlags({ CF: 0, OF: 0, AF: 0, SF: 0, PF: 0, ZF: source.eqz() });
};

function hex(n: number): string {
  return n.toString(16).toUpperCase().padStart(2, '0');
}

export const rows: readonly Row[] = [
  ...GROUP.flatMap(([name, semantics, undefined_], i): Row[] => {
    const options = { undefined: undefined_ } as const;
    return [
      [name, `C0 /${i}`, 'Eb+ Ib', semantics, options],
      [name, `C1 /${i}`, 'Ev+ Ib', semantics, options],
      [name, `D0 /${i}`, 'Eb+ 1', semantics, { undefined: i >= 4 ? 'AF' : '' }],
      [name, `D1 /${i}`, 'Ev+ 1', semantics, { undefined: i >= 4 ? 'AF' : '' }],
      [name, `D2 /${i}`, 'Eb+ CL', semantics, { undefined: undefined_ }],
      [name, `D3 /${i}`, 'Ev+ CL', semantics, options],
    ];
  }),
  ['SHLD', '0F A4 /r', 'Ev+ Gv Ib', shld, { undefined: 'OF AF CF' }],
  ['SHLD', '0F A5 /r', 'Ev+ Gv CL', shld, { undefined: 'OF AF CF' }],
  ['SHRD', '0F AC /r', 'Ev+ Gv Ib', shrd, { undefined: 'OF AF CF' }],
  ['SHRD', '0F AD /r', 'Ev+ Gv CL', shrd, { undefined: 'OF AF CF' }],
  ...BIT_TESTS.flatMap(([name, semantics, opcode, digit]): Row[] => {
    const d = name === 'BT' ? '' : '+';
    const lock = name !== 'BT';
    return [
      [name, `0F ${hex(opcode)} /r`, `Ev${d} Gv`, semantics, { lock, undefined: 'OF SF AF PF' }],
      [name, `0F BA /${digit}`, `Ev${d} Ib`, semantics, { lock, undefined: 'OF SF AF PF' }],
    ];
  }),
  ['BSF', '0F BC /r', 'Gv+ Ev', scan(true), { undefined: 'CF OF SF AF PF' }],
  ['BSR', '0F BD /r', 'Gv+ Ev', scan(false), { undefined: 'CF OF SF AF PF' }],
  ['POPCNT', 'F3 0F B8 /r', 'Gv= Ev', popcnt, { feature: 'popcnt' }],
];
