/**
 * The x87 and state-saving instructions against this host's processor: every form with operands of every class, under all
 * rounding and precision controls, masked and unmasked. Differences that are a choice:
 * - transcendental results may differ by one unit in the last place (and then in C1);
 * - FDP is recorded for every memory operand here, on some processors for exceptions only: it is not compared;
 * - FIP and FDP are made canonical at 48 bits, on processors with 57-bit addresses at 57;
 * - AMD's processors have FIP for unmasked exceptions only, and none (zero) otherwise: APM vol. 2, 11.4.4, FXSAVE;
 * - MXCSR_MASK in an image is the processor's own.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Case,
  CODE_ADDRESS,
  DATA_ADDRESS,
  DATA_SIZE,
  fillPattern,
  type Result,
} from '../../../../tests/oracle/native/protocol.ts';
import { NativeProcessor } from '../../../../tests/oracle/native/runner.ts';
import type { Variant } from '../../interpreter/port.ts';
import { rows as stateRows } from '../semantics/fxsave.ts';
import { rows } from '../semantics/x87.ts';
import { Bench, type Observed, Random } from './bench.fixture.ts';

const native = await NativeProcessor.start();
const isAmd = native.available && native.capabilities().vendor === 'AuthenticAMD';
/** Bytes of the image with MXCSR_MASK, and what Viridian has there. */
const MASK_AT = 28;
const MXCSR_MASK = 0xffff;
const BIAS = 16383;
const TOP = 1n << 63n;
const ALL = (1n << 64n) - 1n;
const WITHIN_AN_ULP = /^(FSIN|FCOS|FSINCOS|FPTAN|FPATAN|F2XM1|FYL2X|FYL2XP1)$/;
const ARITHMETIC_FLAGS = 0x8d5;

type Register = readonly [significand: bigint, signExponent: number];

function significand(r: Random): bigint {
  const n = BigInt(r.below(63));
  switch (r.below(6)) {
    case 0:
      return TOP;
    case 1:
      return ALL;
    case 2:
      return TOP | (1n << n);
    case 3:
      return ((ALL << n) & ALL) | TOP;
    case 4:
      // About halfway between two doubles.
      return (r.word() & ~0x7ffn) | (r.below(2) ? 0x400n : 0x3ffn) | TOP;
    default:
      return r.word() | TOP;
  }
}

/** Exponents where conversions to narrower formats overflow and underflow. */
const EDGES = [1023, 1024, -1022, -1023, -1074, -1075, 127, 128, -126, -127, -149, -150];

function register(r: Random): Register {
  const sign = r.below(2) << 15;
  switch (r.below(16)) {
    case 0:
      return [0n, sign];
    case 1:
      return [r.word() & ((TOP - 1n) >> BigInt(r.below(60))), sign];
    case 2:
      return [TOP, sign | 0x7fff];
    case 3:
      return [r.word() | (3n << 62n), sign | 0x7fff];
    case 4:
      return [(r.word() & (ALL >> 2n)) | TOP | 1n, sign | 0x7fff];
    case 5:
      return r.below(2) ? [r.word() & (TOP - 1n), sign | r.below(0x8000)] : [significand(r), sign];
    case 6:
      return [significand(r), sign | (0x7ffe - r.below(70))];
    case 7:
      return [significand(r), sign | (1 + r.below(70))];
    case 8:
      return [significand(r), sign | (1 + r.below(0x7ffe))];
    case 9:
      return [significand(r), sign | (BIAS + (EDGES[r.below(EDGES.length)] as number))];
    case 10:
    case 11:
      return [significand(r), sign | (BIAS + r.below(140) - 70)];
    case 12:
    case 13: {
      const integer = BigInt(1 + r.below(2 ** r.below(20)));
      const length = integer.toString(2).length;
      return [integer << BigInt(64 - length), sign | (BIAS + length - 1)];
    }
    default:
      return [significand(r), sign | (BIAS + r.below(8) - 4)];
  }
}

/** The operands that an instruction is about. */
function aim(r: Random, mnemonic: string, st: Register[]): void {
  const [first, second] = st as [Register, Register];
  const near = (most: number): Register => [
    significand(r),
    (r.below(2) << 15) | (BIAS - 1 - r.below(r.below(2) ? 5 : most)),
  ];
  if (mnemonic === 'F2XM1' && r.below(4)) st[0] = near(90);
  if (mnemonic === 'FYL2XP1') st[0] = [significand(r) & ~(1n << 62n), near(90)[1] - 1];
  if (mnemonic === 'FYL2X' && r.below(4)) st[0] = [first[0], first[1] & 0x7fff];
  if (mnemonic === 'FSCALE' && r.below(2)) st[1] = [significand(r), (r.below(2) << 15) | (BIAS - 1 + r.below(16))];
  if (mnemonic.startsWith('FPREM') && r.below(2)) {
    const exponent = (first[1] & 0x7fff) - r.below(80) + 2;
    st[1] = [second[0], (second[1] & 0x8000) | Math.min(0x7ffe, Math.max(0, exponent))];
  }
}

function memoryOperand(r: Random, variant: Variant): Uint8Array {
  const { mnemonic } = variant.form;
  const bytes = r.bytes(108);
  const view = new DataView(bytes.buffer);
  const width = variant.form.operands[0]?.width ?? '';
  const special = r.below(8);
  const sign = r.below(2) * 2 ** 31;
  if (mnemonic === 'FBLD') bytes.set(bytes.slice(0, 9).map((b) => (b % 10) | (((b >> 4) % 10) << 4)));
  else if (/FLDENV|FRSTOR/.test(mnemonic)) bytes[0] = (bytes[0] as number) | (special < 4 ? 0x3f : 0);
  else if (mnemonic === 'FLD' && width === '') {
    const [low, high] = register(r);
    view.setBigUint64(0, low, true);
    view.setUint16(8, high, true);
  } else if (width === 'd') {
    if (special === 0) view.setUint32(0, sign, true);
    else if (special === 1) view.setUint32(0, sign + r.below(2 ** 23), true);
    else if (special === 2) view.setUint32(0, sign + 0x7f800000, true);
    else if (special === 3) view.setUint32(0, sign + 0x7f800000 + r.below(2 ** 23), true);
    else if (special === 4) view.setFloat32(0, r.below(100) - 50, true);
  } else if (width === 'q') {
    const low = special === 0 || special === 2 ? 0 : r.below(2 ** 32);
    if (special < 4) view.setUint32(0, low, true);
    if (special < 2) view.setUint32(4, sign + (special === 1 ? r.below(2 ** 20) : 0), true);
    else if (special < 4) view.setUint32(4, sign + 0x7ff00000 + (special === 3 ? r.below(2 ** 20) : 0), true);
    else if (special === 4) view.setFloat64(0, r.below(100) - 50, true);
  }
  return bytes;
}

const FULL_AFTER_PUSH = /FLD|FILD|FBLD|FXTRACT|FSINCOS|FPTAN/;

function image(r: Random, mnemonic: string): Uint8Array {
  const st = Array.from({ length: 8 }, () => register(r));
  aim(r, mnemonic, st);
  const fx = new Uint8Array(512);
  const view = new DataView(fx.buffer);
  const top = r.below(8);
  let tags = r.below(3) ? 0xff : r.below(256);
  if (FULL_AFTER_PUSH.test(mnemonic) && r.below(5)) tags &= ~(1 << ((top + 7) & 7));
  const masks = r.below(2) ? 0x3f : r.below(64);
  const precision = [0, 2, 3, 3][r.below(4)] as number;
  view.setUint16(0, masks | 0x40 | (precision << 8) | (r.below(4) << 10), true);
  // Now and then an exception is already pending: waiting instructions then raise #MF.
  const flags = r.below(2) ? 0 : r.below(64) & (r.below(10) ? masks : 0x3f);
  const pending = flags & ~masks ? 0x8080 : 0;
  view.setUint16(2, flags | pending | (r.below(8) << 8) | (top << 11) | (r.below(2) << 14), true);
  view.setUint8(4, tags);
  view.setUint32(24, 0x1f80, true);
  st.forEach(([low, high], i) => {
    view.setBigUint64(32 + i * 16, low, true);
    view.setUint16(40 + i * 16, high, true);
  });
  fx.set(r.bytes(256), 160);
  return fx;
}

/** A register's place on the line of all numbers of its sign. */
function ordinal(low: bigint, high: bigint): bigint {
  return ((high & 0x7fffn) << 63n) + (low & (TOP - 1n));
}

/** Where the operand lies in the data area. */
const OPERAND = 0x100;
const SEED = 5;

function dataArea(operand: Uint8Array): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(DATA_SIZE / 4);
  fillPattern(SEED, words);
  const data = new Uint8Array(words.buffer);
  data.set(operand, OPERAND);
  return data;
}

/** A native case of one instruction with its operand at [RBX]. */
function makeCase(code: Uint8Array, fx: Uint8Array, operand: Uint8Array, rax: bigint, rflags: number): Case {
  const gprs = new BigUint64Array(16);
  gprs[0] = rax;
  gprs[3] = BigInt(DATA_ADDRESS + OPERAND);
  gprs[4] = BigInt(DATA_ADDRESS + 0x1000);
  const patches = [{ offset: OPERAND, bytes: operand }];
  const rest = { codeOffset: 0, fsBase: 0n, gsBase: 0n, seed: SEED, patches };
  return { mode: 64, end: 'step', code, gprs, rflags, fx, ...rest };
}

function nativeData(result: Result, operand: Uint8Array, stores: boolean): Uint8Array {
  const data = dataArea(operand);
  const view = new DataView(data.buffer);
  for (const { offset, value } of result.changes) view.setBigUint64(offset, value, true);
  const mask = native.available ? native.capabilities().mxcsrMask : MXCSR_MASK;
  const at = OPERAND + MASK_AT;
  if (stores && view.getUint32(at, true) === mask) view.setUint32(at, MXCSR_MASK, true);
  return data;
}

/** What differs, in words. */
function differences(ours: Observed, theirs: Result, operand: Uint8Array, mnemonic: string): string[] {
  const tolerant = WITHIN_AN_ULP.test(mnemonic);
  const found: string[] = [];
  const compare = (what: string, a: number | bigint, b: number | bigint): void => {
    if (a !== b) found.push(`${what} ${a.toString(16)}, native ${b.toString(16)}`);
  };
  compare('vector', ours.vector, theirs.vector);
  if (found.length > 0 || ours.vector >= 0) return found;
  const a = new DataView(ours.fx.buffer, ours.fx.byteOffset);
  const b = new DataView(theirs.fx.buffer, theirs.fx.byteOffset);
  const status = tolerant ? ~0x200 : -1;
  compare('FCW', a.getUint16(0, true), b.getUint16(0, true));
  compare('FSW', a.getUint16(2, true) & status, b.getUint16(2, true) & status);
  compare('tags', a.getUint8(4), b.getUint8(4));
  const isPending = (b.getUint16(2, true) & 0x80) !== 0;
  if (!isAmd || isPending || b.getBigUint64(8, true) !== 0n)
    compare('FIP', BigInt.asIntN(48, a.getBigUint64(8, true)), BigInt.asIntN(48, b.getBigUint64(8, true)));
  compare('MXCSR', a.getUint32(24, true), b.getUint32(24, true));
  for (let at = 32; at < 416; at += 16) {
    const [low, high] = [a.getBigUint64(at, true), a.getBigUint64(at + 8, true)];
    const [nativeLow, nativeHigh] = [b.getBigUint64(at, true), b.getBigUint64(at + 8, true)];
    const gap = ordinal(low, high) - ordinal(nativeLow, nativeHigh);
    if (tolerant && at < 160 && (high ^ nativeHigh) >> 15n === 0n && gap >= -1n && gap <= 1n) continue;
    compare(`image +${at}`, (high << 64n) | low, (nativeHigh << 64n) | nativeLow);
  }
  compare('flags', ours.flags & ARITHMETIC_FLAGS, theirs.rflags & ARITHMETIC_FLAGS);
  compare('RAX', ours.rax, theirs.gprs[0] as bigint);
  nativeData(theirs, operand, /^F?XSAVE/.test(mnemonic)).forEach((byte, i) => {
    if (byte !== ours.data[i]) found.push(`memory +${i - OPERAND} ${ours.data[i]}, native ${byte}`);
  });
  return found;
}

async function check(
  bench: Bench,
  numbers: readonly number[],
  count: number,
  make: (r: Random, variant: Variant) => { fx: Uint8Array; operand: Uint8Array; rax: bigint },
): Promise<void> {
  if (!native.available) return;
  const r = new Random(numbers[0] as number);
  const jobs = numbers.flatMap((number) =>
    Array.from({ length: count }, () => {
      const variant = bench.variants[number] as Variant;
      const { fx, operand, rax } = make(r, variant);
      const i = r.below(8);
      const rflags = (r.below(0x1000) & ARITHMETIC_FLAGS) | 0x202;
      return { number, variant, i, operand, fx, test: makeCase(bench.code(variant, i), fx, operand, rax, rflags) };
    }),
  );
  const results = await native.run(jobs.map((j) => j.test));
  const wrong: string[] = [];
  jobs.forEach(({ number, variant, i, operand, fx, test }, n) => {
    const { mnemonic, encoding } = variant.form;
    const result = results[n] as Result;
    const ours = bench.run(number, { ...test, rip: BigInt(CODE_ADDRESS), data: dataArea(operand) }, i);
    const found = differences(ours, result, operand, mnemonic);
    if (found.length > 0)
      wrong.push(
        `${mnemonic} ${encoding} i=${i} fx=${Buffer.from(fx.subarray(0, 160)).toString('hex')} ` +
          `operand=${Buffer.from(operand.subarray(0, 28)).toString('hex')}: ${found.join('; ')}`,
      );
  });
  expect(wrong.slice(0, 5)).toEqual([]);
}

const bench = new Bench([...rows, ...stateRows], DATA_ADDRESS);
const named = (pattern: RegExp, privileged = false): number[] =>
  bench.variants.flatMap((v, i) =>
    pattern.test(v.form.mnemonic) && (privileged || !v.form.options.privileged) ? [i] : [],
  );

afterAll(() => {
  if (native.available) native.close();
});
beforeAll(() => {
  if (!native.available) process.stderr.write(`x87 is not compared with a processor: ${native.reason}\n`);
});

describe.skipIf(!native.available)('x87 instructions do what this processor does', () => {
  const groups: readonly (readonly [string, RegExp])[] = [
    ['arithmetic', /^F(I?(ADD|SUB|SUBR|MUL|DIV|DIVR)|(ADD|SUB|SUBR|MUL|DIV|DIVR)P|SQRT|RNDINT|ABS|CHS)$/],
    ['comparisons', /^F(I?COMP?|U?COM(P|PP|I|IP)?|TST|XAM)$/],
    ['loads and constants', /^F(I?LD.*|BLD)$/],
    ['stores', /^F(I?STP?|ISTTP|BSTP)$/],
    ['moves and control', /^F(XCH|CMOV.*|FREEP?|DECSTP|INCSTP|NOP|N.*|RSTOR|WAIT|ENI|DISI|SETPM)$/],
    ['remainder, scale, extract', /^F(PREM1?|SCALE|XTRACT)$/],
    ['transcendentals', WITHIN_AN_ULP],
  ];
  it.each(groups)('%s', async (_, pattern) => {
    await check(bench, named(pattern), 80, (r, variant) => ({
      fx: image(r, variant.form.mnemonic),
      operand: variant.memory ? memoryOperand(r, variant) : new Uint8Array(0),
      rax: r.word(),
    }));
  });

  it('covers every x87 form', () => {
    const covered = new Set(groups.flatMap(([, pattern]) => named(pattern)));
    const missing = named(/^F(?!X(SAVE|RSTOR))/).filter((n) => !covered.has(n));
    expect(missing.map((n) => bench.variants[n]?.form.mnemonic)).toEqual([]);
  });
});

describe.skipIf(!native.available)('state-saving instructions do what this processor does', () => {
  it.each(['FXSAVE', 'FXSAVE64', 'FXRSTOR', 'FXRSTOR64', 'XSAVE', 'XSAVE64', 'XRSTOR', 'XRSTOR64'])(
    '%s',
    async (name) => {
      await check(bench, named(new RegExp(`^${name}$`)), 200, (r) => {
        const operand = r.bytes(576);
        const view = new DataView(operand.buffer);
        if (!name.endsWith('SAVE') && !name.endsWith('SAVE64')) {
          if (r.below(8)) view.setUint16(26, 0, true);
          if (r.below(4)) {
            operand.fill(0, 512);
            operand[512] = r.below(4);
            if (!r.below(8)) operand[514 + r.below(22)] = 1;
          }
        }
        const fx = image(r, '');
        return { fx, operand, rax: BigInt(r.below(4) ? 3 : r.below(4)) };
      });
    },
  );
});

describe('what user mode cannot reach', () => {
  const initial = (): Uint8Array => {
    const fx = new Uint8Array(512);
    fx.set([0x7f, 0x03]);
    return fx;
  };
  const pending = (): Uint8Array => {
    const fx = initial();
    fx.set([0x7e, 0x03, 0x81, 0x80]);
    return fx;
  };
  /** Runs the variant of this name and encoding; gives the exception's vector or -1. */
  function vector(
    mnemonic: string,
    state: { cr0?: bigint; cr4?: bigint; cpl?: number },
    fx = initial(),
    gprs: [rax: bigint, rcx: bigint, rdx: bigint] = [0n, 0n, 0n],
  ): number {
    const [number] = named(new RegExp(`^${mnemonic}$`), true) as [number];
    const code = bench.code(bench.variants[number] as Variant, 0);
    const registers = new BigUint64Array(16);
    registers.set(gprs);
    registers[3] = BigInt(DATA_ADDRESS + OPERAND);
    const rip = BigInt(CODE_ADDRESS);
    return bench.run(number, { code, rip, fx, gprs: registers, rflags: 2, data: dataArea(initial()), ...state }, 0)
      .vector;
  }
  const NE = 0x20n;
  const TS = 0x8n;
  const EM = 0x4n;
  const MP = 0x2n;

  it('raises #NM where the FPU is emulated or another task has it', () => {
    for (const mnemonic of ['FLD1', 'FNINIT', 'FNSTSW', 'FSIN', 'FNSAVE', 'FXSAVE', 'FXRSTOR64', 'FADD']) {
      expect(vector(mnemonic, { cr0: NE | TS })).toBe(7);
      expect(vector(mnemonic, { cr0: NE | EM })).toBe(7);
      expect(vector(mnemonic, { cr0: NE })).toBe(-1);
    }
    expect(vector('FWAIT', { cr0: NE | TS })).toBe(-1);
    expect(vector('FWAIT', { cr0: NE | EM })).toBe(-1);
    expect(vector('FWAIT', { cr0: NE | TS | MP })).toBe(7);
  });

  it('raises #MF for a pending exception where CR0.NE is set', () => {
    for (const mnemonic of ['FLD1', 'FWAIT', 'FSIN', 'FLDCW', 'FRSTOR']) {
      expect(vector(mnemonic, { cr0: NE }, pending())).toBe(16);
      expect(vector(mnemonic, { cr0: 0n }, pending())).toBe(-1);
    }
    for (const mnemonic of ['FNSTSW', 'FNCLEX', 'FNINIT', 'FNSTENV', 'FXSAVE'])
      expect(vector(mnemonic, { cr0: NE }, pending())).toBe(-1);
  });

  it('lets only CPL 0 set XCR0, and only to what there is', () => {
    const OSXSAVE = 1n << 18n;
    expect(vector('XSETBV', { cpl: 0, cr4: 0n })).toBe(6);
    expect(vector('XGETBV', { cr4: 0n })).toBe(6);
    expect(vector('XSETBV', { cpl: 3, cr4: OSXSAVE }, initial(), [3n, 0n, 0n])).toBe(13);
    expect(vector('XSETBV', { cpl: 0, cr4: OSXSAVE }, initial(), [2n, 0n, 0n])).toBe(13);
    expect(vector('XSETBV', { cpl: 0, cr4: OSXSAVE }, initial(), [7n, 0n, 0n])).toBe(13);
    expect(vector('XSETBV', { cpl: 0, cr4: OSXSAVE }, initial(), [3n, 1n, 0n])).toBe(13);
    expect(vector('XSETBV', { cpl: 0, cr4: OSXSAVE }, initial(), [1n, 0n, 0n])).toBe(-1);
    expect(bench.vp.xcr0).toBe(1n);
    expect(vector('XGETBV', { cr4: OSXSAVE }, initial(), [0n, 0n, 0n])).toBe(-1);
    expect(bench.vp.gpr[0]).toBe(3n);
    expect(vector('XGETBV', { cr4: OSXSAVE }, initial(), [0n, 1n, 0n])).toBe(13);
    expect(vector('XSAVE', { cr4: OSXSAVE, cr0: EM })).toBe(-1);
    expect(vector('XSAVE', { cr4: OSXSAVE, cr0: TS })).toBe(7);
    expect(vector('XRSTOR', { cr4: 0n, cr0: TS })).toBe(6);
  });
});
