// Every form of MMX to SSE4.2 against the host's own processor: random operands, MXCSR settings and x87 states.

import { afterAll, describe, expect, it } from 'vitest';
import {
  type Case,
  DATA_ADDRESS,
  DATA_SIZE,
  FX_SIZE,
  fillPattern,
  type Result,
} from '../../../../tests/oracle/native/protocol.ts';
import { NativeProcessor } from '../../../../tests/oracle/native/runner.ts';
import { withNansOf } from '../../../../tests/oracle/vendor.ts';
import type { Form } from '../form.ts';
import { helpers as floatHelpers } from '../softfloat/operations.ts';
import { HandlerBench } from './native.fixture.ts';
import { helpers, rows } from './sse.ts';

const CASES_PER_FORM = 60;
/** Offset in the data area of the memory operand, and of what MASKMOV stores to. */
const OPERAND = 0x400;
const STORE = 0x600;

const started = await NativeProcessor.start();
const reason = started.available ? '' : ` (skipped: ${started.reason})`;
const native = started as NativeProcessor;
const isAmd = started.available && started.capabilities().vendor === 'AuthenticAMD';
afterAll(() => started.available && started.close());

let seed = 0x2545f491;
function random(limit: number): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % limit;
}
function pick<T>(list: readonly T[]): T {
  return list[random(list.length)] as T;
}

/** Fields of floating-point numbers where something happens. */
function float32(): number {
  const exponent = pick([0, 0, 1, 2, 255, 254, 100, 126, 127, 127, 128, 150, 158, random(256)]);
  const fraction = pick([0, 0, 1, 0x400000, 0x3fffff, 0x7fffff, 0x7fff00, random(0x800000), random(0x800000)]);
  return ((random(2) << 31) | (exponent << 23) | fraction) >>> 0;
}
function float64(): bigint {
  const exponent = pick([
    0,
    0,
    1,
    2,
    2047,
    2046,
    900,
    1022,
    1023,
    1023,
    1024,
    1054,
    1086,
    897,
    874,
    1151,
    random(2048),
  ]);
  const fraction = pick([0n, 0n, 1n, 1n << 51n, (1n << 51n) - 1n, (1n << 52n) - 1n, 1n << 28n, 3n << 28n]);
  const noise = random(2) ? (BigInt(random(1 << 20)) << 32n) | BigInt(random(2 ** 32)) : 0n;
  return (BigInt(random(2)) << 63n) | (BigInt(exponent) << 52n) | (fraction ^ noise);
}
/** 16 bytes of one of several natures. */
function vector(into: DataView, at: number): void {
  const nature = random(6);
  for (let i = 0; i < 16; i += 8) {
    if (nature < 2) {
      into.setUint32(at + i, float32(), true);
      into.setUint32(at + i + 4, float32(), true);
    } else if (nature < 4) into.setBigUint64(at + i, float64(), true);
    else
      for (let k = 0; k < 8; k++)
        into.setUint8(at + i + k, nature === 4 ? random(256) : pick([0, 1, 2, 7, 0x7f, 0x80, 0xff, 0x61]));
  }
}

function encode(form: Form, memory: boolean, count: number): Uint8Array {
  const code: number[] = [];
  if (form.prefix !== 'none' && form.prefix !== 'any') code.push(Number.parseInt(form.prefix, 16));
  if (form.mnemonic === 'CRC32' && random(3) === 0) code.unshift(0x66);
  const w = form.w ?? random(2);
  const reg = form.digit ?? random(16);
  const rm = memory ? 3 : random(16);
  const integerDestination = form.operands.some((o) => 'GER'.includes(o.kind) && o.access !== 'read');
  // RSP and RBX stay out of it: the stack belongs to the host, RBX addresses the operand.
  const avoid = (n: number): number => (integerDestination && (n === 4 || n === 3) ? n + 2 : n);
  const r = form.digit === undefined ? avoid(reg) : reg;
  const b = memory ? rm : avoid(rm);
  const rex = 0x40 | (w << 3) | ((r >> 3) << 2) | (b >> 3);
  if (rex !== 0x40 || random(4) === 0) code.push(rex);
  code.push(0x0f);
  if (form.map === 2) code.push(0x38);
  if (form.map === 3) code.push(0x3a);
  code.push(form.opcode);
  if (form.hasModrm) code.push(memory ? 0x43 | ((r & 7) << 3) : 0xc0 | ((r & 7) << 3) | (b & 7));
  if (form.hasModrm && memory) code.push(pick([0, 16, 0x20, count % 8 === 0 ? 1 + random(15) : 0x30]));
  if (form.operands.some((o) => o.kind === 'I')) code.push(random(3) ? random(256) : random(20));
  return Uint8Array.from(code);
}

function makeCase(form: Form, memory: boolean, count: number): Case {
  const fx = new Uint8Array(FX_SIZE);
  const view = new DataView(fx.buffer);
  const masks = random(3) ? 0x1f80 : random(0x40) << 7;
  const sticky = pick([0, 0x20, 0x3f, random(0x40)]);
  view.setUint16(0, random(12) ? 0x37f : 0x37e, true);
  const x87Exceptions = random(8) ? 0 : 1;
  const pending = x87Exceptions & ~view.getUint16(0, true) ? 0x8080 : 0;
  view.setUint16(2, (random(8) << 11) | x87Exceptions | pending, true);
  view.setUint8(4, random(256));
  view.setUint32(
    24,
    masks | sticky | (random(2) ? 0 : random(4) << 13) | (random(4) ? 0 : pick([0x8000, 0x40, 0x8040])),
    true,
  );
  for (let i = 0; i < 8; i++) {
    vector(view, 32 + 16 * i);
    view.setUint16(40 + 16 * i, random(0x10000), true);
    view.setUint32(42 + 16 * i, 0, true);
    view.setUint16(46 + 16 * i, 0, true);
  }
  for (let i = 0; i < 16; i++) vector(view, 160 + 16 * i);
  const gprs = new BigUint64Array(16);
  for (let i = 0; i < 16; i++) gprs[i] = random(3) ? BigInt(random(20)) : BigInt.asUintN(64, float64() * 3n);
  gprs[3] = BigInt(DATA_ADDRESS + OPERAND);
  gprs[4] = BigInt(DATA_ADDRESS + 0x1800);
  gprs[7] = BigInt(DATA_ADDRESS + STORE + random(16));
  const bytes = new Uint8Array(96);
  for (let i = 0; i < 96; i += 16) vector(new DataView(bytes.buffer), i);
  if (form.mnemonic === 'LDMXCSR' && random(2)) new DataView(bytes.buffer).setUint16(2, 0, true);
  return {
    mode: 64,
    end: 'breakpoint',
    code: encode(form, memory, count),
    codeOffset: 0x40,
    gprs,
    rflags: 2 | (random(2) ? 0x8d5 : 0),
    fx,
    fsBase: 0n,
    gsBase: 0n,
    seed: 1,
    patches: [{ offset: OPERAND, bytes }],
  };
}

/** What AMD's processors do otherwise, for the reasons that tests/oracle/compare.ts gives. */
function asHere(form: Form, memory: boolean, result: Result, xmm: BigUint64Array): Result {
  if (!isAmd) return result;
  if (form.mnemonic === 'NOP' && form.opcode === 0x0d && !memory && result.vector === 6)
    return { ...result, outcome: 'completed', vector: -1 };
  if (form.mnemonic !== 'DPPS' && form.mnemonic !== 'DPPD') return result;
  const ours = new Uint8Array(FX_SIZE);
  ours.set(new Uint8Array(BigUint64Array.from(xmm).buffer), 160);
  return { ...result, fx: withNansOf(ours, result.fx, form.mnemonic === 'DPPD' ? 8 : 4) };
}

describe.skipIf(!started.available)(`MMX to SSE4.2 on this processor${reason}`, () => {
  const bench = new HandlerBench(rows, [...floatHelpers, ...helpers]);
  const pattern = new Uint8Array(DATA_SIZE);
  fillPattern(1, new Uint32Array(pattern.buffer));
  const exact = bench.forms.filter((form) => form.options.undefined !== 'APPROXIMATE');
  const approximate = bench.forms.filter((form) => form.options.undefined === 'APPROXIMATE');
  const names = [...new Set(exact.map((form) => form.mnemonic))];

  it.each(names)('%s', async (mnemonic) => {
    for (const form of exact.filter((f) => f.mnemonic === mnemonic)) {
      const inMemory = (i: number) => form.rm === 'memory' || (form.rm === 'any' && form.hasModrm && i % 2 === 1);
      const cases = Array.from({ length: CASES_PER_FORM }, (_, i) => makeCase(form, inMemory(i), i));
      const results = await native.run(cases);
      results.forEach((result, i) => {
        const c = cases[i] as Case;
        const memory = pattern.slice();
        for (const patch of c.patches) memory.set(patch.bytes, patch.offset);
        bench.load(c, memory);
        const ours = bench.run(c.code);
        const code = [...c.code].map((b) => b.toString(16).padStart(2, '0')).join(' ');
        expect(
          bench.differences(ours, asHere(form, inMemory(i), result, bench.vp.xmm), memory),
          `${mnemonic} ${form.operands.map((o) => o.text)}: ${code}`,
        ).toEqual([]);
      });
    }
  });

  it.each(approximate.map((form) => [form.mnemonic, form] as const))(
    '%s within the bounds of its error',
    async (_, form) => {
      const cases = Array.from({ length: 200 }, (_, i) => makeCase(form, i % 2 === 1, 1));
      const results = await native.run(cases);
      results.forEach((result, i) => {
        const c = cases[i] as Case;
        const memory = pattern.slice();
        for (const patch of c.patches) memory.set(patch.bytes, patch.offset);
        bench.load(c, memory);
        expect(bench.run(c.code).vector).toBe(result.vector);
        const theirs = new DataView(result.fx.buffer, result.fx.byteOffset, FX_SIZE);
        expect(bench.vp.mxcsr).toBe(theirs.getUint32(24, true));
        const ours = new DataView(BigUint64Array.from(bench.vp.xmm).buffer);
        for (let lane = 0; lane < 64; lane++) {
          const [a, b] = [ours.getFloat32(4 * lane, true), theirs.getFloat32(160 + 4 * lane, true)];
          const close = Object.is(a, b) || Math.abs(a - b) <= Math.abs(b) * 3 * 2 ** -12;
          expect(close, `${form.mnemonic} lane ${lane}: ${a}, the processor has ${b}`).toBe(true);
        }
      });
    },
  );
});

describe('SSE and MMX state', () => {
  const bench = new HandlerBench(rows, [...floatHelpers, ...helpers]);
  const EM = 4n;
  const TS = 8n;
  const OSFXSR = 0x200n;
  const OSXMMEXCPT = 0x400n;
  const ADDPS = [0x0f, 0x58, 0xc1];
  const PADDB = [0x0f, 0xfc, 0xc1];
  const vectorOf = (code: readonly number[], change: () => void): number => {
    const form = bench.forms.find((f) => f.mnemonic === 'ADDPS') as Form;
    const c = makeCase(form, false, 1);
    new DataView(c.fx.buffer).setUint16(0, 0x37f, true);
    new DataView(c.fx.buffer).setUint16(2, 0, true);
    // A signaling NaN in the first lane, all exceptions masked.
    new DataView(c.fx.buffer).setUint32(160, 0x7f800001, true);
    new DataView(c.fx.buffer).setUint32(24, 0x1f80, true);
    bench.load(c, new Uint8Array(DATA_SIZE));
    change();
    return bench.run(Uint8Array.from(code)).vector;
  };
  const { vp } = bench;

  it('runs where the operating system supports it', () => {
    expect(vectorOf(ADDPS, () => {})).toBe(-1);
    expect(vectorOf(PADDB, () => {})).toBe(-1);
  });
  it('is #UD without CR4.OSFXSR or with CR0.EM, #NM with CR0.TS', () => {
    expect(vectorOf(ADDPS, () => (vp.cr4 &= ~OSFXSR))).toBe(6);
    expect(vectorOf(ADDPS, () => (vp.cr0 |= EM))).toBe(6);
    expect(vectorOf(ADDPS, () => (vp.cr0 |= TS))).toBe(7);
    expect(vectorOf(ADDPS, () => (vp.cr0 |= EM | TS))).toBe(6);
  });
  it('needs no CR4.OSFXSR for MMX', () => {
    expect(vectorOf(PADDB, () => (vp.cr4 &= ~OSFXSR))).toBe(-1);
    expect(vectorOf(PADDB, () => (vp.cr0 |= EM))).toBe(6);
    expect(vectorOf(PADDB, () => (vp.cr0 |= TS))).toBe(7);
  });
  it('raises a pending x87 exception before an MMX instruction where CR0.NE is set', () => {
    expect(vectorOf(PADDB, () => (vp.fsw |= 0x80))).toBe(16);
    const withoutNe = (): void => {
      vp.fsw |= 0x80;
      vp.cr0 &= ~0x20n;
    };
    expect(vectorOf(PADDB, withoutNe)).toBe(-1);
    expect(vectorOf(ADDPS, () => (vp.fsw |= 0x80))).toBe(-1);
  });
  it('is #XM for an unmasked exception, #UD where the operating system does not take it', () => {
    expect(vectorOf(ADDPS, () => (vp.mxcsr &= ~0x80))).toBe(19);
    expect(vp.mxcsr & 1).toBe(1);
    const without = (): void => {
      vp.mxcsr &= ~0x80;
      vp.cr4 &= ~OSXMMEXCPT;
    };
    expect(vectorOf(ADDPS, without)).toBe(6);
  });
});
