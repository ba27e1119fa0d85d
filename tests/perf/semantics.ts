/**
 * What the semantics of an instruction cost: `node tests/perf/semantics.ts [--only PATTERN] [--json] [--no-native]`.
 *
 * Each line is a loop of eight copies of an instruction (or of a short sequence), as one block by the translator's port, and
 * the same bytes on this host's processor, under the oracle's native program.
 * Printed are nanoseconds for one instruction, the least of several runs. MXCSR has PE set, as in any program that computes.
 */
import { parseArgs } from 'node:util';
import { TLB, TLB_ENTRIES, TLB_WRITE, VP_STATE } from '../../src/hypervisor/memory/layout.ts';
import { Code, Op } from '../../src/hypervisor/translator/code.ts';
import { type Changed, Locals } from '../../src/hypervisor/translator/locals.ts';
import { CLEAN, dirtied } from '../../src/hypervisor/translator/plan.ts';
import { ALL_PARTS, StencilCache, StencilUse } from '../../src/hypervisor/translator/stencil.ts';
import { Mode, VpState } from '../../src/hypervisor/vp/state.ts';
import type { FunctionCode } from '../../src/hypervisor/wasm/function.ts';
import { ModuleBuilder } from '../../src/hypervisor/wasm/module.ts';
import { Decoder, Instruction } from '../../src/hypervisor/x86/decoder.ts';
import { Library } from '../../src/hypervisor/x86/library.ts';
import { forms, helperDefinitions } from '../../src/hypervisor/x86/table.ts';
import { type Case, DATA_ADDRESS, FX_SIZE } from '../oracle/native/protocol.ts';
import { NativeProcessor } from '../oracle/native/runner.ts';

const COPIES = 8;
const VP = 0x1_0000;
const HOST_DATA = 0x8_0000;
const PAGES = 16;
const ONE_MILLION = 1_000_000;
const MODE = Mode.LONG64 | Mode.LONG | Mode.PROTECTED | Mode.USER;
const MXCSR = 0x1fa0;

interface Sequence {
  readonly name: string;
  /** Instructions as bytes; RBX is the address of the data, RCX is the loop's. */
  readonly code: string;
}

/** XMM0 1.5, XMM1 1.0 and so on in all lanes of the kind that the name says (see `fill`); XMM8 is zero. */
const SEQUENCES: readonly Sequence[] = [
  { name: 'ADDSD xmm0, xmm1', code: 'f20f58c1' },
  { name: 'ADDSD xmm0, [rbx]', code: 'f20f5803' },
  { name: 'ADDSD xmm0, xmm8 (zero)', code: 'f2410f58c0' },
  { name: 'MULSD xmm0, xmm2', code: 'f20f59c2' },
  { name: 'MULSD xmm8, xmm2 (zero)', code: 'f2440f59c2' },
  { name: 'DIVSD xmm0, xmm2', code: 'f20f5ec2' },
  { name: 'SQRTSD xmm3, xmm0', code: 'f20f51d8' },
  { name: 'ADDSD x4, independent', code: 'f20f58c1 f20f58d9 f20f58e1 f20f58e9' },
  { name: 'MULSS xmm4, xmm5', code: 'f30f59e5' },
  { name: 'ADDPS xmm4, xmm5', code: '0f58e5' },
  { name: 'ADDPS xmm8, xmm8 (zero)', code: '450f58c0' },
  { name: 'MULPS xmm4, xmm5', code: '0f59e5' },
  { name: 'MULPS xmm8, xmm5 (zero)', code: '440f59c5' },
  { name: 'ADDPD xmm0, xmm1', code: '660f58c1' },
  { name: 'MULPD xmm0, xmm2', code: '660f59c2' },
  { name: 'HADDPD xmm3, xmm1', code: '660f7cd9' },
  { name: 'UCOMISD xmm0, xmm1; SETA al', code: '660f2ec1 0f97c0' },
  { name: 'CMPLTPS xmm3, xmm5', code: '0f28dc 0fc2dd01' },
  { name: 'MINSD xmm0, xmm1', code: 'f20f5dc1' },
  { name: 'MAXPS xmm4, xmm5', code: '0f5fe5' },
  { name: 'CVTSI2SD xmm3, eax', code: 'f20f2ad8' },
  { name: 'CVTSI2SD xmm3, rax', code: 'f2480f2ad8' },
  { name: 'CVTTSD2SI eax, xmm0', code: 'f20f2cc0' },
  { name: 'CVTTSD2SI rax, xmm0', code: 'f2480f2cc0' },
  { name: 'CVTSD2SS xmm3, xmm0', code: 'f20f5ad8' },
  { name: 'CVTSS2SD xmm3, xmm4', code: 'f30f5adc' },
  { name: 'CVTDQ2PS xmm3, xmm6', code: '0f5bde' },
  { name: 'CVTTPS2DQ xmm3, xmm4', code: 'f30f5bdc' },
  { name: 'ROUNDSD xmm3, xmm0, 9', code: '660f3a0bd809' },
  { name: 'MOVSD xmm3, [rbx]', code: 'f20f101b' },
  { name: 'MOVSD [rbx], xmm3', code: 'f20f111b' },
  { name: 'MOVAPS xmm3, xmm0', code: '0f28d8' },
  { name: 'XORPS xmm8, xmm8', code: '450f57c0' },
  { name: 'PADDD xmm6, xmm7', code: '660ffef7' },
  { name: 'PMADDWD xmm6, xmm7', code: '660ff5f7' },
  { name: 'PMULUDQ xmm6, xmm7', code: '660ff4f7' },
  { name: 'PSHUFD xmm3, xmm6, 4Eh', code: '660f70de4e' },
  { name: 'SHUFPD xmm4, xmm5, 1', code: '660fc6e501' },
  { name: 'PSRLDQ xmm6, 4', code: '660f73de04' },
  { name: 'PSLLD xmm6, 3', code: '660f72f603' },
  { name: 'PALIGNR xmm6, xmm7, 4', code: '660f3a0ff704' },
  { name: 'PSHUFB xmm6, xmm7', code: '660f3800f7' },
  { name: 'PEXTRD eax, xmm6, 1', code: '660f3a16f001' },
  { name: 'PINSRW xmm6, eax, 3', code: '660fc4f003' },
  { name: 'PMULHUW xmm6, xmm7', code: '660fe4f7' },
  { name: 'PCMPEQB; PMOVMSKB eax', code: '660f74f7 660fd7c6' },
  { name: 'FLD m64; FADD m64; FSTP m64', code: 'dd03 dc4308 dd5b10' },
  { name: 'FLD m64; FMUL m64; FSTP m64', code: 'dd03 dc4b08 dd5b10' },
  { name: 'FLD m64; FDIV m64; FSTP m64', code: 'dd03 dc7308 dd5b10' },
  { name: 'FLD m64; FSTP m64', code: 'dd03 dd5b10' },
  { name: 'FLD1; FMULP', code: 'd9e8 dec9' },
  { name: 'FLD1; FSTP st0', code: 'd9e8 ddd8' },
  { name: 'FLD m64; FCOMIP; FLD m64; FISTP m64', code: 'dd03 dff1 dd03 df7b18' },
  { name: 'FXCH st0', code: 'd9c8' },
  { name: 'FCHS', code: 'd9e0' },
];

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
    'no-native': { type: 'boolean', default: false },
  },
});

function bytesOf(code: string): number[] {
  const digits = code.replaceAll(' ', '');
  return Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

const decoder = new Decoder(forms);
function decode(code: string): Instruction[] {
  const bytes = Uint8Array.from(bytesOf(code));
  const found: Instruction[] = [];
  for (let at = 0; at < bytes.length; ) {
    const instruction = new Instruction();
    const outcome = decoder.decode(bytes, at, bytes.length, MODE, instruction);
    if (outcome !== 'ok') throw new Error(`${code} does not decode: ${outcome}`);
    at += instruction.length;
    found.push(instruction);
  }
  return found;
}

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);
const PLAIN = { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] } as const;

const LOOP = { params: ['i32'], results: [] } as const;
const ROUNDS = 0;

/** A function of the number of rounds. */
function emit(instructions: readonly Instruction[], library: Library): FunctionCode {
  const locals = new Locals(VP, LOOP.params.length);
  const stencils = new StencilCache(VP, MODE, (name) => library.helper(name).type);
  const uses: StencilUse[] = [];
  let reads = 0;
  let changed: Changed = CLEAN;
  let [known, done] = [0, 0];
  for (let copy = 0; copy < COPIES; copy++)
    for (const instruction of instructions) {
      const stencil = stencils.get(instruction, known, done, ALL_PARTS);
      const use = new StencilUse(locals, stencil, instruction, 0, 0);
      uses.push(use);
      reads |= use.reads;
      changed = dirtied(changed, use);
      ({ known, done } = stencil);
    }
  const code = new Code();
  code.begin();
  locals.load(code, { registers: reads | changed.registers, flags: true });
  const left = code.block();
  const again = code.loop();
  for (const use of uses) use.write(code, left, library.helper);
  code.get(ROUNDS);
  code.i32(1);
  code.op(Op.SUB32);
  code.tee(ROUNDS);
  code.if();
  code.br(again);
  code.end();
  code.end();
  code.end();
  locals.spill(code, changed);
  return code.finish(LOOP, locals.types);
}

type Loop = (rounds: number) => void;
interface Built {
  readonly memory: WebAssembly.Memory;
  readonly loop: Loop;
}

function build(sequence: Sequence): Built {
  const module = new ModuleBuilder({ memory: { initial: PAGES, maximum: PAGES } });
  const fault = module.importTag('fault');
  const library = new Library(module, fault, helperDefinitions);
  for (const name of ['plain_load', 'plain_store']) library.provide(module.importFunction(name, PLAIN));
  module.encoded('loop', LOOP, emit(decode(sequence.code), library), true);
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  const missing = (): never => {
    throw new Error(`${sequence.name}: a memory access misses the TLB`);
  };
  const env = {
    memory,
    fault: new WebAssembly.Tag({ parameters: [] }),
    plain_load: missing,
    plain_store: missing,
  };
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.finish()), { env });
  return { memory, loop: instance.exports.loop as Loop };
}

/** XMM registers and data: doubles in XMM0-3, singles in XMM4-5, integers in XMM6-7; 64 bytes of data. */
function fill(xmm: DataView, data: DataView): void {
  for (let half = 0; half < 16; half += 8) {
    for (const [register, value] of [1.5, 1e-3, 1.0000001, 2.25].entries())
      xmm.setFloat64(register * 16 + half, value, true);
    for (let word = half; word < half + 8; word += 4) {
      xmm.setFloat32(64 + word, 1.5, true);
      xmm.setFloat32(80 + word, 1.00001, true);
      xmm.setInt32(96 + word, 0x01234567 * (1 + word), true);
      xmm.setInt32(112 + word, 0x07030501, true);
    }
  }
  [0.75, 1.25, 0, 0].forEach((value, i) => {
    data.setFloat64(i * 8, value, true);
  });
  data.setBigUint64(32, 0xc90fdaa22168c235n, true);
  data.setUint16(40, 0x4000, true);
}

function prepare(memory: WebAssembly.Memory): void {
  const { buffer } = memory;
  const vp = VpState.view(buffer, VP + VP_STATE);
  vp.mxcsr = MXCSR;
  vp.cr0 = 0x80010033n;
  vp.cr4 = 0x600n | 0x20n;
  vp.fcw = 0x37f;
  vp.fsw = Number(false);
  vp.ftop = 0;
  vp.ftw = 0x80;
  vp.x87[14] = 1n << 63n;
  vp.x87[15] = 0x3fffn;
  vp.ftop = 7;
  vp.gpr[0] = 1234n;
  vp.gpr[3] = BigInt(DATA_ADDRESS);
  const view = new DataView(buffer);
  const entry = VP + TLB + ((DATA_ADDRESS >> 12) & (TLB_ENTRIES - 1)) * 16;
  for (const part of [entry, entry + TLB_WRITE]) {
    view.setBigUint64(part, BigInt(DATA_ADDRESS), true);
    view.setInt32(part + 8, HOST_DATA - DATA_ADDRESS, true);
  }
  fill(new DataView(buffer, VP + at('xmm'), 256), new DataView(buffer, HOST_DATA, 256));
}

function measure({ memory, loop }: Built, instructions: number): number {
  let best = Number.POSITIVE_INFINITY;
  prepare(memory);
  // So that the optimizing compiler has it.
  for (let warm = 0; warm < 20; warm++) loop(500);
  for (let run = 0; run < 7; run++) {
    prepare(memory);
    const rounds = Math.ceil(ONE_MILLION / (COPIES * instructions));
    const started = performance.now();
    loop(rounds);
    best = Math.min(best, ((performance.now() - started) * ONE_MILLION) / (rounds * COPIES * instructions));
  }
  return best;
}

async function measureNative(native: NativeProcessor, sequence: Sequence, instructions: number): Promise<number> {
  const body = bytesOf(sequence.code);
  const loop = Array.from({ length: COPIES }, () => body).flat();
  // DEC ECX; JNZ back to the first instruction.
  const back = -(loop.length + 2 + 6);
  const code = [...loop, 0xff, 0xc9, 0x0f, 0x85, back & 0xff, (back >> 8) & 0xff, 0xff, 0xff];
  const fx = new Uint8Array(FX_SIZE);
  const view = new DataView(fx.buffer);
  view.setUint16(0, 0x37f, true);
  view.setUint16(2, 7 << 11, true);
  view.setUint8(4, 0x80);
  view.setUint32(24, MXCSR, true);
  view.setBigUint64(32, 1n << 63n, true);
  view.setUint16(40, 0x3fff, true);
  const data = new Uint8Array(256);
  fill(new DataView(fx.buffer, 160, 256), new DataView(data.buffer));
  // A case of the native program must end within some milliseconds.
  const rounds = 30_000;
  const once = async (count: number): Promise<number> => {
    const gprs = new BigUint64Array(16);
    gprs[0] = 1234n;
    gprs[1] = BigInt(count);
    gprs[3] = BigInt(DATA_ADDRESS);
    const one: Case = {
      mode: 64,
      end: 'breakpoint',
      code: Uint8Array.from(code),
      codeOffset: 0x100,
      gprs,
      rflags: 2,
      fx,
      fsBase: 0n,
      gsBase: 0n,
      seed: 1,
      patches: [{ offset: 0, bytes: data }],
    };
    const started = performance.now();
    const [result] = await native.run([one]);
    if (result?.vector !== 3 && result?.outcome !== 'completed')
      throw new Error(`${sequence.name}: the processor says ${result?.outcome} ${result?.vector}`);
    return performance.now() - started;
  };
  let short = Number.POSITIVE_INFINITY;
  let long = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 15; run++) {
    short = Math.min(short, await once(1));
    long = Math.min(long, await once(rounds));
  }
  return ((long - short) * ONE_MILLION) / (rounds * COPIES * instructions);
}

const only = options.only ? new RegExp(options.only, 'i') : undefined;
const started = options['no-native'] ? undefined : await NativeProcessor.start();
const native = started?.available ? started : undefined;
const results: { name: string; translated: number; native: number | undefined }[] = [];
if (!options.json) process.stdout.write(`${'ns per instruction'.padEnd(38)}translated  native\n`);
for (const sequence of SEQUENCES) {
  if (only && !only.test(sequence.name)) continue;
  const count = decode(sequence.code).length;
  const translated = measure(build(sequence), count);
  const there = native ? await measureNative(native, sequence, count) : undefined;
  results.push({ name: sequence.name, translated, native: there });
  const column = (n: number | undefined): string => (n === undefined ? '-' : n.toFixed(2)).padStart(8);
  if (!options.json) process.stdout.write(`${sequence.name.padEnd(38)}  ${column(translated)}${column(there)}\n`);
}
native?.close();
if (options.json) process.stdout.write(`${JSON.stringify(results, undefined, 2)}\n`);
