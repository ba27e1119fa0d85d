// The native processor against instructions whose outcome the manuals give (Intel SDM volumes 1 and 2).

import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { assemble, isNasmInstalled } from './assemble.ts';
import { decodeGreeting, greetingLength } from './capabilities.ts';
import { IMAGE_BASE64 } from './image.ts';
import {
  type Case,
  CODE_ADDRESS,
  CODE_SIZE,
  DATA_ADDRESS,
  DATA_SIZE,
  DATA_WRITABLE_SIZE,
  FS_BASE,
  FX_SIZE,
  fillPattern,
  type Result,
} from './protocol.ts';
import { NativeProcessor } from './runner.ts';

const started = await NativeProcessor.start();
const reason = started.available ? '' : ` (skipped: ${started.reason})`;
const native = started as NativeProcessor;
afterAll(() => started.available && started.close());

const [RAX, RCX, RDX, RBX, RSP, , RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const CF = 0x1;
const AF = 0x10;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;
const STATUS = CF | 4 | AF | ZF | SF | OF;
const STACK = 0x1800;

function initialFx(): Uint8Array {
  const fx = new Uint8Array(FX_SIZE);
  const view = new DataView(fx.buffer);
  view.setUint16(0, 0x37f, true);
  view.setUint32(24, 0x1f80, true);
  return fx;
}

type Registers = Readonly<Record<number, bigint | number>>;

function makeCase(code: readonly number[], registers: Registers = {}, changes: Partial<Case> = {}): Case {
  const gprs = new BigUint64Array(16);
  gprs[RSP] = BigInt(changes.mode === 16 ? STACK : DATA_ADDRESS + STACK);
  for (const [index, value] of Object.entries(registers)) gprs[Number(index)] = BigInt(value);
  return {
    mode: 64,
    end: 'breakpoint',
    code: Uint8Array.from(code),
    codeOffset: 0x40,
    gprs,
    rflags: 2,
    fx: initialFx(),
    fsBase: 0n,
    gsBase: 0n,
    seed: 0,
    patches: [],
    ...changes,
  };
}

async function runOne(code: readonly number[], registers: Registers = {}, changes: Partial<Case> = {}) {
  const [result] = await native.run([makeCase(code, registers, changes)]);
  return result as Result;
}

describe.skipIf(!started.available)(`native processor${reason}`, () => {
  it('runs ADD and gives its flags', async () => {
    // add eax, ecx
    const result = await runOne([0x01, 0xc8], { [RAX]: 0xffffffff7fffffffn, [RCX]: 1 }, { rflags: CF | ZF });
    expect(result).toMatchObject({ outcome: 'completed', vector: -1, signal: 0, errorCode: 0, cr2: 0n, changes: [] });
    expect(result.gprs[RAX]).toBe(0x80000000n);
    expect(result.rflags & STATUS).toBe(SF | OF | AF | 4);
    expect(result.rip).toBe(BigInt(CODE_ADDRESS + 0x42));
    expect([...result.segments]).toEqual([0x2b, 0x33, 0x2b, 0x2b, 0, 0]);
  });

  it('keeps every register and every flag a case may choose', async () => {
    const registers = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [i, 0x0123456789abcd00n + BigInt(i)]));
    const rflags = 0x4c41 | 0x200000; // NT, DF, OF, ZF, CF, ID
    const result = await runOne([0x90], registers, { rflags });
    expect([...result.gprs]).toEqual(Object.values(registers));
    expect(result.rflags).toBe(rflags | 0x202);
  });

  it('reports #DE at the instruction', async () => {
    const result = await runOne([0x48, 0xf7, 0xf1], { [RAX]: 5, [RCX]: 0 }); // div rcx
    expect(result).toMatchObject({ outcome: 'exception', vector: 0, signal: 8, rip: BigInt(CODE_ADDRESS + 0x40) });
  });

  it('reports page faults with error code and CR2', async () => {
    const load = [0x48, 0x8b, 0x07]; // mov rax, [rdi]
    const store = [0x48, 0x89, 0x07]; // mov [rdi], rax
    const outside = DATA_ADDRESS + DATA_SIZE;
    const readOnly = DATA_ADDRESS + DATA_WRITABLE_SIZE;
    const faults = await native.run([
      makeCase(load, { [RDI]: DATA_ADDRESS - 4 }),
      makeCase(store, { [RDI]: outside }),
      makeCase(store, { [RDI]: readOnly }),
      makeCase([0xff, 0xe7], { [RDI]: DATA_ADDRESS }), // jmp rdi: not executable
      makeCase([0x0f], {}, { codeOffset: CODE_SIZE - 1 }), // runs off the code pages
      makeCase(load, { [RDI]: 0x8000000000000000n }), // not canonical
    ]);
    expect(faults.map((r) => [r.outcome, r.vector, r.errorCode, Number(r.cr2)])).toEqual([
      ['exception', 14, 4, DATA_ADDRESS - 4],
      ['exception', 14, 6, outside],
      ['exception', 14, 7, readOnly],
      ['exception', 14, 0x15, DATA_ADDRESS],
      ['exception', 14, 0x14, CODE_ADDRESS + CODE_SIZE],
      ['exception', 13, 0, 0],
    ]);
    const [read] = await native.run([makeCase(load, { [RDI]: readOnly }, { seed: 7 })]);
    expect(read?.outcome).toBe('completed');
  });

  it('gives the selector error code of #GP', async () => {
    const result = await runOne([0xcd, 0x10]); // int 10h: gate with DPL 0
    expect(result).toMatchObject({ outcome: 'exception', vector: 13, errorCode: 0x10 * 8 + 2 });
  });

  it('fills the data area from seed and patches and reports changed words', async () => {
    const words = new Uint32Array(DATA_SIZE / 4);
    fillPattern(0x12345, words);
    const bytes = new Uint8Array(words.buffer);
    const code = [0x48, 0x8b, 0x46, 0x03, 0x48, 0x89, 0x47, 0x01]; // mov rax, [rsi + 3]; mov [rdi + 1], rax
    const registers = { [RSI]: DATA_ADDRESS + 0xff8, [RDI]: DATA_ADDRESS + 0x20 };
    const patch = { offset: 0xffd, bytes: Uint8Array.of(1, 2, 3, 4, 5) };
    const patched = makeCase(code, registers, { seed: 0x12345, patches: [patch] });
    const plain = makeCase(code, registers, { seed: 0x12345 });
    const results = await native.run([patched, plain, makeCase(code, registers), patched]);
    bytes.set(patch.bytes, patch.offset);
    const expected = bytes.slice(0xffb, 0xffb + 8);
    expect(results[0]?.gprs[RAX]).toBe(new DataView(expected.buffer).getBigUint64(0, true));
    const after = bytes.slice(0x20, 0x30);
    after.set(expected, 1);
    const value = (offset: number) => new DataView(after.buffer).getBigUint64(offset, true);
    const changes = [
      { offset: 0x20, value: value(0) },
      { offset: 0x28, value: value(8) },
    ];
    expect(results[0]?.changes).toEqual(changes);
    fillPattern(0x12345, words);
    expect(results[1]?.gprs[RAX]).toBe(new DataView(words.buffer).getBigUint64(0xffb, true));
    expect(results[2]?.gprs[RAX]).toBe(0n);
    expect(results[3]?.changes).toEqual(changes);
  });

  it('shows how far a faulting REP MOVS came', async () => {
    const from = DATA_ADDRESS + 0x100;
    const to = DATA_ADDRESS + DATA_WRITABLE_SIZE - 16;
    const code = [0xf3, 0x48, 0xa5]; // rep movsq
    const registers = { [RSI]: from, [RDI]: to, [RCX]: 5 };
    const result = await runOne(code, registers, { seed: 3 });
    expect(result).toMatchObject({ vector: 14, errorCode: 7, cr2: BigInt(to + 16), rip: BigInt(CODE_ADDRESS + 0x40) });
    expect([result.gprs[RCX], result.gprs[RSI], result.gprs[RDI]]).toEqual([3n, BigInt(from + 16), BigInt(to + 16)]);
    expect(result.changes.map((change) => change.offset)).toEqual([DATA_WRITABLE_SIZE - 16, DATA_WRITABLE_SIZE - 8]);
  });

  it('computes with 80-bit reals', async () => {
    // fldpi; fld1; faddp: 3.14159... + 1 = 4000 8490FDAA22168C234h rounded to even
    const result = await runOne([0xd9, 0xeb, 0xd9, 0xe8, 0xde, 0xc1]);
    const view = new DataView(result.fx.buffer, result.fx.byteOffset);
    expect(view.getUint16(2, true)).toBe(0x3820); // TOP = 7, PE
    expect(view.getUint8(4)).toBe(0x80);
    expect(view.getBigUint64(32, true)).toBe(0x8487ed5110b4611an);
    expect(view.getUint16(40, true)).toBe(0x4001);
  });

  it('reports an unmasked x87 exception at the next x87 instruction', async () => {
    const fx = initialFx();
    fx[0] = 0x7b; // ZE unmasked
    const code = [0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x90, 0x9b]; // fld1; fldz; fdivp; nop; fwait
    const result = await runOne(code, {}, { fx });
    expect(result).toMatchObject({ outcome: 'exception', vector: 16, rip: BigInt(CODE_ADDRESS + 0x47) });
  });

  it('computes with SSE and reports #XM', async () => {
    const fx = initialFx();
    const view = new DataView(fx.buffer);
    view.setFloat64(160, 1.5, true);
    view.setFloat64(176, 0, true);
    const add = await runOne([0xf2, 0x0f, 0x58, 0xc0], {}, { fx }); // addsd xmm0, xmm0
    expect(new DataView(add.fx.buffer, add.fx.byteOffset).getFloat64(160, true)).toBe(3);
    const divide = [0xf2, 0x0f, 0x5e, 0xc1]; // divsd xmm0, xmm1
    const masked = await runOne(divide, {}, { fx });
    const after = new DataView(masked.fx.buffer, masked.fx.byteOffset);
    expect(after.getFloat64(160, true)).toBe(Number.POSITIVE_INFINITY);
    expect(after.getUint32(24, true)).toBe(0x1f84);
    view.setUint32(24, 0x1d80, true);
    expect(await runOne(divide, {}, { fx })).toMatchObject({ outcome: 'exception', vector: 19, signal: 8 });
    view.setUint32(24, 0xffff0000, true);
    expect((await runOne(divide, {}, { fx })).outcome).toBe('refused');
  });

  it('checks alignment with AC and is not disturbed by it', async () => {
    const registers = { [RDI]: DATA_ADDRESS + 1 };
    const result = await runOne([0x8b, 0x07], registers, { rflags: 0x40002 }); // mov eax, [rdi]
    expect(result).toMatchObject({ outcome: 'exception', vector: 17, errorCode: 0, signal: 7 });
    expect((await runOne([0x8b, 0x07], registers)).outcome).toBe('completed');
  });

  it('has the FS and GS base of the case', async () => {
    const code = [0x64, 0x48, 0x8b, 0x04, 0x25, 8, 0, 0, 0, 0xf3, 0x48, 0x0f, 0xae, 0xd9]; // mov rax, fs:[8]; wrgsbase rcx
    const patches = [{ offset: 0x108, bytes: Uint8Array.of(0x99) }];
    const fsBase = BigInt(DATA_ADDRESS + 0x100);
    const result = await runOne(code, { [RCX]: 0x1234 }, { fsBase, patches });
    expect(result).toMatchObject({ outcome: 'completed', fsBase, gsBase: 0x1234n });
    expect(result.gprs[RAX]).toBe(0x99n);
  });

  it('stops after one instruction by TF', async () => {
    const jump = await runOne([0xff, 0xe0], { [RAX]: DATA_ADDRESS }, { end: 'step' }); // jmp rax
    expect(jump).toMatchObject({ outcome: 'completed', rip: BigInt(DATA_ADDRESS), rflags: 0x202 });
    const repeated = await runOne([0xf3, 0xaa], { [RCX]: 4, [RDI]: DATA_ADDRESS }, { end: 'step' }); // rep stosb
    expect(repeated.gprs[RCX]).toBe(3n);
  });

  it('tells the own INT3 of a case from the filler', async () => {
    const rip = BigInt(CODE_ADDRESS + 0x41);
    expect(await runOne([0xcc, 0x90])).toMatchObject({ outcome: 'exception', vector: 3, rip });
    const jump = await runOne([0xeb, 0x10, 0x90]);
    expect(jump).toMatchObject({ outcome: 'completed', rip: BigInt(CODE_ADDRESS + 0x52) });
  });

  it('ends an endless loop', async () => {
    const results = await native.run([
      makeCase([0x48, 0xff, 0xc0, 0xeb, 0xfb]), // again: inc rax; jmp again
      makeCase([0x90]),
    ]);
    expect(results.map((r) => r.outcome)).toEqual(['timeout', 'completed']);
    expect(results[0]?.gprs[RAX]).toBeGreaterThan(0n);
  });

  it('lets no system call through', async () => {
    const exit = { [RAX]: 231, [RDI]: 1 };
    const results = await native.run([
      makeCase([0x0f, 0x05], exit), // syscall
      makeCase([0xcd, 0x80], { [RAX]: 1, [RBX]: 1 }), // int 80h: exit
      makeCase([0x0f, 0x05], { [RAX]: 1, [RDI]: 1, [RSI]: DATA_ADDRESS, [RDX]: 4 }), // write to our own pipe
    ]);
    // Kernels without 32-bit system calls have no gate for INT 80h.
    expect(results.map((r) => (r.outcome === 'exception' ? r.vector : r.outcome))).toEqual([
      'syscall',
      expect.toBeOneOf(['syscall', 13]),
      'syscall',
    ]);
  });

  it('starts again after a case that ends the process, and names it', async () => {
    // rep stosq over all the variables of the native processor
    const killer = makeCase([0xf3, 0x48, 0xab], {
      [RCX]: 0x1000000,
      [RDI]: 0x3a5c70100000n,
      [RAX]: 0x5555555555555555n,
    });
    const add = (n: number) => makeCase([0x48, 0x83, 0xc0, n], { [RAX]: 100 }); // add rax, n
    const cases = Array.from({ length: 300 }, (_, i) => (i === 137 || i === 138 ? killer : add(i & 63)));
    const results = await native.run(cases);
    expect(results).toHaveLength(300);
    results.forEach((result, i) => {
      if (cases[i] === killer) expect(result).toMatchObject({ outcome: 'killed', cause: expect.stringMatching(/./) });
      else expect(result.gprs[RAX]).toBe(BigInt(100 + (i & 63)));
    });
  });

  it('refuses a case that has no room, and goes on', async () => {
    await expect(native.run([makeCase([0x90, 0x90], {}, { codeOffset: CODE_SIZE - 1 })])).rejects.toThrow('code pages');
    expect((await runOne([0x90])).outcome).toBe('completed');
  });

  it('rejects what is running when it is closed', async () => {
    const other = await NativeProcessor.start();
    if (!other.available) throw new Error(other.reason);
    const running = other.run(Array.from({ length: 2000 }, () => makeCase([0xeb, 0xfe]))); // jmp $
    other.close();
    await expect(running).rejects.toThrow('closed');
  });

  it('survives random code', async () => {
    const words = new Uint32Array(4);
    const modes = native.capabilities().compatibilityMode ? ([64, 32, 16] as const) : ([64] as const);
    const cases = Array.from({ length: 6000 }, (_, i) => {
      fillPattern(i + 1, words);
      return makeCase([...new Uint8Array(words.buffer)], {}, { mode: modes[i % modes.length] ?? 64, seed: 1 });
    });
    const results = await native.run(cases);
    const outcomes = new Set(results.map((r) => r.outcome));
    expect(results).toHaveLength(cases.length);
    expect(outcomes).toContain('completed');
    expect(outcomes).toContain('exception');
    expect((await runOne([0x90])).outcome).toBe('completed');
  });
});

const compatible = started.available && started.capabilities().compatibilityMode;

describe.skipIf(!compatible)(`compatibility mode${compatible ? '' : ' (skipped: no local descriptor tables)'}`, () => {
  it('runs 32-bit code', async () => {
    const [aaa, daa, inc, push] = await native.run([
      makeCase([0x37], { [RAX]: 0x00f }, { mode: 32 }), // aaa
      makeCase([0x27], { [RAX]: 0x9a }, { mode: 32 }), // daa
      makeCase([0x40], { [RAX]: 0xffffffff }, { mode: 32 }), // inc eax: REX in 64-bit mode
      makeCase([0x50], { [RAX]: 0xabcd1234 }, { mode: 32, seed: 5 }), // push eax
    ]);
    expect(aaa).toMatchObject({ outcome: 'completed', rip: BigInt(CODE_ADDRESS + 0x41) });
    expect([aaa?.gprs[RAX], (aaa?.rflags ?? 0) & (CF | AF)]).toEqual([0x105n, CF | AF]);
    expect([daa?.gprs[RAX], (daa?.rflags ?? 0) & (CF | AF | ZF)]).toEqual([0n, CF | AF | ZF]);
    expect(inc?.gprs[RAX]).toBe(0n);
    expect(push?.gprs[RSP]).toBe(BigInt(DATA_ADDRESS + STACK - 4));
    expect((push?.changes[0]?.value ?? 0n) >> 32n).toBe(0xabcd1234n);
  });

  it('has FS in 32-bit mode', async () => {
    const patches = [{ offset: FS_BASE - DATA_ADDRESS + 4, bytes: Uint8Array.of(0x77) }];
    const result = await runOne([0x64, 0xa1, 4, 0, 0, 0], {}, { mode: 32, patches }); // mov eax, fs:[4]
    expect(result.gprs[RAX]).toBe(0x77n);
  });

  it('runs 16-bit code with segment limits', async () => {
    const [push, limit, stack, unmapped] = await native.run([
      makeCase([0x68, 0x34, 0x12], {}, { mode: 16 }), // push 1234h
      makeCase([0xa1, 0xff, 0x3f], {}, { mode: 16 }), // mov ax, [3FFFh]: over the limit
      makeCase([0x5b], { [RSP]: 0x4000 }, { mode: 16 }), // pop bx
      makeCase([0xa1, 0x00, 0x30], {}, { mode: 16 }), // mov ax, [3000h]
    ]);
    expect(push).toMatchObject({ outcome: 'completed', rip: 0x43n });
    expect((push?.gprs[RSP] ?? 0n) & 0xffffn).toBe(BigInt(STACK - 2));
    expect(push?.changes).toEqual([{ offset: STACK - 8, value: 0x1234000000000000n }]);
    expect(limit).toMatchObject({ outcome: 'exception', vector: 13, errorCode: 0, rip: 0x40n });
    expect(stack).toMatchObject({ outcome: 'exception', vector: 12, errorCode: 0 });
    expect(unmapped).toMatchObject({ outcome: 'exception', vector: 14, cr2: BigInt(DATA_ADDRESS + DATA_SIZE) });
  });
});

describe.skipIf(!started.available)('capabilities', () => {
  it('has what the kernel lists', () => {
    const flags = /^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? [];
    const { features } = native.capabilities();
    const names =
      'fpu sse2 ssse3 popcnt cmov mmx aes avx avx2 bmi1 bmi2 adx rdrand rdseed movbe rdtscp lm nx xsavec erms';
    const listed = names.split(' ').filter((name) => flags.includes(name));
    expect(listed.filter((name) => !features.has(name))).toEqual([]);
    expect(listed).toContain('sse2');
    expect(readFileSync('/proc/cpuinfo', 'utf8')).toContain(native.capabilities().vendor);
  });
});

describe('greeting', () => {
  it('ignores leaves the processor does not have', () => {
    const bytes = new Uint8Array(32 + 2 * 24);
    const view = new DataView(bytes.buffer);
    const head = [0x54414e56, 1, 1, 2, 0, 0, 0, 0];
    const leaves = [0, 0, 1, 0, 0, 0, 7, 0, 0, 0xffffffff, 0, 0];
    for (const [i, value] of [...head, ...leaves].entries()) view.setUint32(i * 4, value, true);
    expect(greetingLength(bytes)).toBe(bytes.length);
    expect(decodeGreeting(bytes).features.size).toBe(0);
    view.setUint32(0, 1, true);
    expect(() => greetingLength(bytes)).toThrow('assemble.ts');
  });
});

describe.skipIf(!isNasmInstalled())('image', () => {
  it('is processor.asm as nasm assembles it', () => {
    expect(Buffer.from(assemble()).toString('base64')).toBe(IMAGE_BASE64);
  });
});
