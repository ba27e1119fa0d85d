// Value generator: reproducible, every class appears, and the native processor takes the state as it is.

import { afterAll, describe, expect, it } from 'vitest';
import {
  F32,
  F64,
  F80,
  fcw,
  flags,
  fsw,
  mxcsr,
  Random,
  writeFx,
  writeGprs,
  writeInteger,
  writeReal,
} from './generate.ts';
import { type Case, FX_SIZE } from './native/protocol.ts';
import { NativeProcessor } from './native/runner.ts';

const native = await NativeProcessor.start();
afterAll(() => native.available && native.close());

describe('Random', () => {
  it('repeats for a seed and differs between seeds', () => {
    const take = (seed: number) => {
      const random = new Random(seed);
      return Array.from({ length: 50 }, () => random.u32());
    };
    expect(take(7)).toEqual(take(7));
    expect(take(7)).not.toEqual(take(8));
    expect(take(0).every((x) => x >= 0 && x <= 0xffffffff && Number.isInteger(x))).toBe(true);
  });

  it('stays below its bound and reaches everything under it', () => {
    const random = new Random(1);
    expect([...new Set(Array.from({ length: 500 }, () => random.below(7)))].sort((a, b) => a - b)).toEqual([
      0, 1, 2, 3, 4, 5, 6,
    ]);
  });
});

describe('integers', () => {
  it('has the edges of every size', () => {
    const random = new Random(2);
    const out = new Uint32Array(2);
    const value = new BigUint64Array(out.buffer);
    const seen = new Set<bigint>();
    for (let i = 0; i < 40000; i++) {
      writeInteger(random, out, 0);
      seen.add(value[0] as bigint);
    }
    const wanted = [0n, 1n, 2n];
    for (const size of [8n, 16n, 32n, 64n]) {
      const half = 1n << (size - 1n);
      wanted.push(half - 1n, half, half + 1n, BigInt.asUintN(64, -half), (1n << size) - 1n);
    }
    for (let n = 0n; n < 64n; n++) wanted.push(1n << n, (1n << n) + 1n, BigInt.asUintN(64, (1n << n) - 1n));
    expect(wanted.filter((x) => !seen.has(x))).toEqual([]);
  });
});

/** The class of an encoded real, by the definition of SDM volume 1, 4.8.3 and table 8-3. */
function classify(exponent: number, exponentMax: number, fraction: bigint, quiet: bigint): string {
  if (exponent === 0) return fraction === 0n ? 'zero' : 'denormal';
  if (exponent < exponentMax) return 'normal';
  if (fraction === 0n) return 'infinity';
  return fraction & quiet ? 'qNaN' : 'sNaN';
}

describe('reals', () => {
  const formats = [
    ['f32', F32, 23n, 8n],
    ['f64', F64, 52n, 11n],
    ['f80', F80, 63n, 15n],
  ] as const;

  it.each(formats)('has every class of %s', (_, format, fractionBits, exponentBits) => {
    const random = new Random(3);
    const out = new Uint32Array(4);
    const counts: Record<string, number> = {};
    const count = (key: string) => {
      counts[key] = (counts[key] ?? 0) + 1;
    };
    for (let i = 0; i < 20000; i++) {
      writeReal(random, format, out, 0);
      const bits = out.reduceRight((value, word) => (value << 32n) | BigInt(word), 0n);
      const shift = format === F80 ? 64n : fractionBits;
      const exponent = Number(BigInt.asUintN(Number(exponentBits), bits >> shift));
      const fraction = BigInt.asUintN(Number(fractionBits), bits);
      expect(bits >> (shift + exponentBits + 1n)).toBe(0n);
      const integer = format !== F80 || ((bits >> 63n) & 1n) === (exponent === 0 ? 0n : 1n);
      count(integer ? classify(exponent, format.exponentMax, fraction, 1n << (fractionBits - 1n)) : 'pseudo');
      count((bits >> (shift + exponentBits)) & 1n ? 'negative' : 'positive');
    }
    const classes = ['zero', 'denormal', 'normal', 'infinity', 'qNaN', 'sNaN', 'negative', 'positive'];
    for (const name of format === F80 ? [...classes, 'pseudo'] : classes)
      expect(counts[name] ?? 0).toBeGreaterThan(400);
    expect(counts.pseudo ?? 0).toBeLessThan(2000);
  });
});

describe('flags and control words', () => {
  it('sets no reserved bit', () => {
    const random = new Random(4);
    let all = 0;
    for (let i = 0; i < 2000; i++) {
      expect(flags(random) & ~0xcd5).toBe(2);
      expect(mxcsr(random) & ~0xffff).toBe(0);
      const control = fcw(random);
      expect(control & ~0xf3f).toBe(0x40);
      expect(control & 0x300).not.toBe(0x100);
      const status = fsw(random, control);
      const pending = (status & ~control & 0x3f) !== 0;
      expect(status & 0x8080).toBe(pending ? 0x8080 : 0);
      all |= status;
    }
    expect(all).toBe(0xffff);
  });
});

describe.skipIf(!native.available)(`state${native.available ? '' : ` (skipped: ${native.reason})`}`, () => {
  it('goes through the native processor unchanged', async () => {
    if (!native.available) return;
    const random = new Random(5);
    const cases = Array.from({ length: 2000 }, (): Case => {
      const gprs = new Uint32Array(32);
      const fx = new Uint32Array(FX_SIZE / 4);
      writeGprs(random, gprs);
      writeFx(random, fx);
      return {
        mode: 64,
        end: 'breakpoint',
        code: Uint8Array.of(0x90),
        codeOffset: 0,
        gprs: new BigUint64Array(gprs.buffer),
        rflags: flags(random),
        fx: new Uint8Array(fx.buffer),
        fsBase: 0n,
        gsBase: 0n,
        seed: 0,
        patches: [],
      };
    });
    const results = await native.run(cases);
    const { mxcsrMask } = native.capabilities();
    for (const [i, result] of results.entries()) {
      const before = cases[i] as Case;
      const expected = before.fx.slice();
      new DataView(expected.buffer).setUint32(28, mxcsrMask, true);
      expect(result.outcome).toBe('completed');
      expect(result.gprs).toEqual(before.gprs);
      expect(result.rflags).toBe(before.rflags | 0x200);
      expect(Buffer.compare(result.fx, expected)).toBe(0);
    }
  });
});
