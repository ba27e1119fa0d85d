// The rules for AMD's processors on any host: what they say is excused, and nothing beside it.

import { describe, expect, it } from 'vitest';
import type { Form } from '../../src/hypervisor/x86/form.ts';
import { forms } from '../../src/hypervisor/x86/table.ts';
import type { GeneratedCase } from './cases.ts';
import { compare, type Excuse } from './compare.ts';
import { cellsOf } from './forms.ts';
import { InterpretedProcessor } from './interpreted.ts';
import { type Case, CODE_ADDRESS, DATA_ADDRESS, FX_SIZE, type Result } from './native/protocol.ts';
import { settlements } from './vendor.ts';

const processor = new InterpretedProcessor();
const run = (c: Case) => processor.run(c);

/** A case of a mnemonic's form with the opcode, repeated where a prefix says so; registers by number. */
function caseOf(mnemonic: string, size: number, memory: boolean, code: readonly number[], gprs = {}): GeneratedCase {
  const isRepeated = (form: Form) => form.options.repeat !== undefined && code[0] === 0xf2;
  const cell = forms
    .filter((form) => form.mnemonic === mnemonic && code.includes(form.opcode))
    .flatMap((form) => cellsOf(form, [64]))
    .find((one) => one.size === size && one.memory === memory && (one.repeat === 'repne') === isRepeated(one.form));
  if (!cell) throw new Error(`no cell of ${mnemonic}`);
  const fx = new Uint8Array(FX_SIZE);
  new DataView(fx.buffer).setUint16(0, 0x37f, true);
  new DataView(fx.buffer).setUint32(24, 0x1f80, true);
  const registers = new BigUint64Array(16);
  for (const [register, value] of Object.entries<bigint>(gprs)) registers[Number(register)] = value;
  return {
    mode: 64,
    end: 'breakpoint',
    code: Uint8Array.from(code),
    codeOffset: 0x100,
    gprs: registers,
    rflags: 0x202,
    fx,
    fsBase: 0n,
    gsBase: 0n,
    seed: 1,
    patches: [],
    pieces: [{ cell, offset: 0, length: code.length }],
  };
}

/** What a native result is excused with. */
function excuseFor(c: GeneratedCase, native: Result): Excuse | undefined {
  const ours = run(c);
  const options = { undefinedFlags: 0, mnemonics: [], faultedInMmx: false };
  expect(compare(c, native, ours, options)).not.toEqual([]);
  for (const [excuse, settled] of settlements({ case: c, native, ours, run, mxcsrMask: 0x2ffff })) {
    const flags = { ...options, undefinedFlags: settled.undefinedFlags ?? 0 };
    if (compare(c, settled.native, settled.ours, flags).length === 0) return excuse;
  }
  return undefined;
}

function withRegister(r: Result, register: number, value: bigint): Result {
  const gprs = r.gprs.slice();
  gprs[register] = value;
  return { ...r, gprs };
}
const fault = (r: Result, vector: number, cr2: bigint, errorCode: number): Result => ({
  ...r,
  outcome: 'exception',
  rip: BigInt(CODE_ADDRESS + 0x100),
  vector,
  cr2,
  errorCode,
});

describe('what is excused of an AMD processor', () => {
  it('is the operand of a double shift beyond it, but not another register or a count within', () => {
    const shift = (count: number) =>
      caseOf('SHLD', 2, false, [0x66, 0x0f, 0xa4, 0xd0, count], { 0: 0x1234n, 2: 0xabcdn });
    const beyond = shift(17);
    const result = run(beyond);
    expect(excuseFor(beyond, withRegister(result, 0, 0x579bn))).toBe('doubleShift');
    expect(excuseFor(beyond, withRegister(result, 0, 0x1_579bn))).toBeUndefined();
    expect(excuseFor(beyond, withRegister(result, 2, 0x579bn))).toBeUndefined();
    expect(excuseFor(shift(15), withRegister(run(shift(15)), 0, 0x579bn))).toBeUndefined();
  });

  it('is that a repeat prefix chooses between LOOPE and LOOPNE, but not the count', () => {
    const loop = caseOf('LOOPE', 8, false, [0xf2, 0xe1, 0x20], { 1: 5n });
    const other = run({ ...loop, code: Uint8Array.of(0xf2, 0xe0, 0x20) });
    expect(excuseFor(loop, other)).toBe('repeatedLoop');
    expect(excuseFor(loop, withRegister(other, 1, 5n))).toBeUndefined();
    const plain = { ...loop, code: Uint8Array.of(0xe1, 0x20), pieces: [{ ...loop.pieces[0], length: 2 }] };
    expect(excuseFor(plain as GeneratedCase, { ...other, rip: other.rip - 1n })).toBeUndefined();
  });

  it('is the arithmetic flags of a repeated comparison that faults, but no other flags', () => {
    const end = BigInt(DATA_ADDRESS + 0x3000 - 4);
    const scan = caseOf('SCASB', 1, false, [0xf2, 0xae], { 0: 0x100n, 1: 0x100n, 7: end });
    const patched = { ...scan, patches: [{ offset: 0x2ffc, bytes: Uint8Array.of(1, 2, 3, 4) }] };
    const ours = run(patched);
    expect(ours.vector).toBe(14);
    // 0 - 4: CF, PF, AF and SF.
    expect(excuseFor(patched, { ...ours, rflags: 0x202 | 0x95 })).toBe('repeatedFlags');
    expect(excuseFor(patched, { ...ours, rflags: 0x602 | 0x95 })).toBeUndefined();
  });

  it('is a fault of an x87 store at its operand, but not one elsewhere', () => {
    const address = BigInt(DATA_ADDRESS + 0x2800);
    const store = caseOf('FSTP', 8, true, [0xdd, 0x18], { 0: address });
    // Nothing in the registers, and that is not masked.
    const unmasked = { ...store, fx: store.fx.slice() };
    unmasked.fx[0] = 0x7e;
    const native = fault(run({ ...unmasked, code: new Uint8Array(0) }), 14, address, 7);
    expect(run(unmasked).outcome).toBe('completed');
    expect(excuseFor(unmasked, native)).toBe('realStore');
    expect(excuseFor(unmasked, { ...native, cr2: address + 8n })).toBeUndefined();
    expect(excuseFor(unmasked, { ...native, errorCode: 6 })).toBeUndefined();
    expect(excuseFor(unmasked, withRegister(native, 0, 0n))).toBeUndefined();
  });

  it('is #AC where 16 bytes need not be aligned, but not where they are', () => {
    const load = (offset: number) => {
      const c = caseOf('MOVUPS', 4, true, [0x0f, 0x10, 0x00], { 0: BigInt(DATA_ADDRESS + offset) });
      return { ...c, rflags: 0x40202 };
    };
    const native = (c: GeneratedCase) => fault(run({ ...c, code: new Uint8Array(0) }), 17, 0n, 0);
    expect(excuseFor(load(8), native(load(8)))).toBe('unalignedVector');
    expect(excuseFor(load(16), native(load(16)))).toBeUndefined();
  });

  it('is a bit of MXCSR that Viridian has not, but no other', () => {
    const load = (value: number) => {
      const c = caseOf('LDMXCSR', 4, true, [0x0f, 0xae, 0x10], { 0: BigInt(DATA_ADDRESS) });
      return { ...c, patches: [{ offset: 0, bytes: new Uint8Array(Uint32Array.of(value).buffer) }] };
    };
    const loaded = (value: number): Result => {
      const result = run(load(0x1fa0));
      const fx = result.fx.slice();
      new DataView(fx.buffer).setUint32(24, value, true);
      return { ...result, fx };
    };
    expect(excuseFor(load(0x21fa0), loaded(0x21fa0))).toBe('misalignedMask');
    expect(excuseFor(load(0x21fa0), loaded(0x21f80))).toBeUndefined();
    expect(excuseFor(load(0x41fa0), loaded(0x41fa0))).toBeUndefined();
  });
});
