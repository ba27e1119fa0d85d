import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ARITHMETIC_FLAGS,
  adoptSavedFlags,
  Flag,
  FlagKind,
  readFlags,
  VpState,
  type VpView,
  writeFlags,
} from './state.ts';

const newVp = (): VpView => VpState.view(new ArrayBuffer(VpState.size));
/** Bits of RFLAGS that exist, and bit 1. */
const WRITABLE = 0x3f7fd5;

describe('RFLAGS', () => {
  it('reads back as written, whatever the lazy flags were', () => {
    fc.assert(
      fc.property(
        fc.nat(0x7fff_ffff),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.nat(5),
        (value, result, a, form) => {
          const vp = newVp();
          Object.assign(vp, { flagResult: result, flagA: a, flagB: result ^ a, flagForm: form });
          writeFlags(vp, value);
          expect(readFlags(vp)).toBe((value & WRITABLE) | 2);
          expect(vp.flags & ARITHMETIC_FLAGS).toBe(0);
        },
      ),
    );
  });

  it('holds every combination of the arithmetic flags', () => {
    const bits = [Flag.CF, Flag.PF, Flag.AF, Flag.ZF, Flag.SF, Flag.OF];
    for (let n = 0; n < 64; n++) {
      const value = bits.reduce((all, bit, i) => (n & (1 << i) ? all | bit : all), 0x202);
      const vp = newVp();
      writeFlags(vp, value);
      expect(readFlags(vp)).toBe(value);
    }
  });

  it('has bit 1 always set and reserved bits always clear', () => {
    const vp = newVp();
    writeFlags(vp, 0);
    expect(readFlags(vp)).toBe(2);
    writeFlags(vp, -1);
    expect(readFlags(vp)).toBe(WRITABLE | 2);
  });

  it('survives a saved state, which has another form of them', () => {
    fc.assert(
      fc.property(fc.nat(0x7fff_ffff), (value) => {
        const vp = newVp();
        writeFlags(vp, value);
        const restored = newVp();
        Object.assign(restored, { flagResult: vp.flagResult, flagCarries: vp.flagCarries, flagAux: vp.flagAux });
        restored.flags = vp.flags;
        adoptSavedFlags(restored);
        expect(readFlags(restored)).toBe((value & WRITABLE) | 2);
      }),
    );
  });

  it('is what an addition leaves: result and operands', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(8n, 16n, 32n, 64n),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        (bits, x, y) => {
          const n = Number(bits);
          const [a, b] = [BigInt.asUintN(n, x), BigInt.asUintN(n, y)];
          const sum = BigInt.asUintN(n, a + b);
          const vp = newVp();
          writeFlags(vp, 0);
          vp.flagResult = BigInt.asUintN(64, BigInt.asIntN(n, sum));
          vp.flagA = BigInt.asUintN(64, BigInt.asIntN(n, a));
          vp.flagB = BigInt.asUintN(64, BigInt.asIntN(n, b));
          vp.flagForm = (FlagKind.SUM << 1) | (sum < a ? 1 : 0);
          const signed = BigInt.asIntN(n, a) + BigInt.asIntN(n, b);
          const parity = (sum & 0xffn).toString(2).replaceAll('0', '').length % 2 === 0;
          const expected =
            (a + b !== sum ? Flag.CF : 0) |
            (parity ? Flag.PF : 0) |
            ((a & 15n) + (b & 15n) > 15n ? Flag.AF : 0) |
            (sum === 0n ? Flag.ZF : 0) |
            (BigInt.asIntN(n, sum) < 0n ? Flag.SF : 0) |
            (signed !== BigInt.asIntN(n, sum) ? Flag.OF : 0);
          expect(readFlags(vp)).toBe(expected | 2);
        },
      ),
    );
  });
});

describe('the state of a processor', () => {
  it('keeps the slots that addresses use behind the registers', () => {
    // Records number registers by byte offset; 16 and 17 are "none" and RIP.
    expect(VpState.offset('zero')).toBe(VpState.offset('gpr') + 16 * 8);
    expect(VpState.offset('blockIp')).toBe(VpState.offset('gpr') + 17 * 8);
  });
});
