/**
 * Test support: runs single instructions of a list of rows as the interpreter would build them, in 64-bit mode over a flat
 * stretch of memory. The memory operand is always [RBX].
 */
import { type Frame, InterpreterPort, type Variant } from '../../interpreter/port.ts';
import { Field } from '../../interpreter/record.ts';
import { Mode, readFlags, VpState, type VpView, writeFlags } from '../../vp/state.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import type { Value } from '../../wasm/value.ts';
import { makeForms, type Row } from '../form.ts';
import { type HelperContext, type HelperDefinition, Library } from '../library.ts';
import { helpers as floatHelpers } from '../softfloat/operations.ts';
import type { SystemContext } from '../system/context.ts';
import { helpers } from './helpers.ts';
import { operations } from './operations.ts';

const VP = 0x10000;
const RECORD = 0x20000;
const DATA = 0x40000;
const PAGES = 8;
const RBX = 3;
/** FXSAVE64's image without its reserved end. */
const FX_SIZE = 416;

/** The state before an instruction. */
export interface Before {
  readonly code: Uint8Array;
  readonly rip: bigint;
  readonly fx: Uint8Array;
  readonly gprs: BigUint64Array;
  readonly rflags: number;
  readonly cr0?: bigint;
  readonly cr4?: bigint;
  readonly cpl?: number;
  /** The whole data area. */
  readonly data: Uint8Array;
}

/** What an instruction did. `fx` as FXSAVE64 would write it. */
export interface Observed {
  readonly vector: number;
  readonly fx: Uint8Array;
  readonly rax: bigint;
  readonly flags: number;
  /** The whole data area. */
  readonly data: Uint8Array;
}

function flatMemory(base: number): HelperDefinition[] {
  const host = (linear: Value): Value => linear.wrap().sub(base - DATA);
  const list: HelperDefinition[] = [1, 2, 4, 8].flatMap((bytes): HelperDefinition[] => {
    const suffix = bytes === 8 ? '' : String(bytes * 8);
    const name = bytes === 8 ? 'i64.load' : `i64.load${suffix}_u`;
    return [
      {
        name: `load_${bytes}`,
        type: { params: ['i32', 'i64', 'i32'], results: ['i64'] },
        build: (f) => f.return(f.load(name, host(f.param(1)))),
      },
      {
        name: `store_${bytes}`,
        type: { params: ['i32', 'i64', 'i64', 'i32'], results: [] },
        build: (f) => f.store(`i64.store${suffix}`, host(f.param(1)), f.param(2)),
      },
    ];
  });
  for (const name of ['load_16', ...[1, 2, 4, 8, 16].map((n) => `modify_${n}`)])
    list.push({
      name,
      type: { params: ['i32', 'i64', 'i32'], results: ['i32'] },
      build: (f) => f.return(host(f.param(1))),
    });
  const nothing = (): void => undefined;
  list.push({ name: 'probe', type: { params: ['i32', 'i64', 'i32', 'i32', 'i32'], results: [] }, build: nothing });
  list.push({ name: 'store_commit', type: { params: ['i32'], results: [] }, build: nothing });
  return list;
}

type Handlers = Record<string, (vp: number, record: number) => void>;

/** ST(i)'s number stands where the record has ModRM.rm. */
class BenchPort extends InterpreterPort {
  readonly #record: Value;
  readonly #stackOperand: boolean;
  constructor(frame: Frame, variant: Variant, context: HelperContext) {
    super(frame, variant, context);
    this.#record = frame.record();
    this.#stackOperand = variant.form.operands[0]?.kind === 'ST';
  }
  override index(n: number): Value {
    return this.#stackOperand ? this.f.load('i64.load8_u', this.#record, Field.RM) : super.index(n);
  }
}

export class Bench {
  readonly variants: readonly Variant[];
  readonly vp: VpView;
  readonly #bytes: DataView<ArrayBufferLike>;
  readonly #tag = new WebAssembly.Tag({ parameters: [] });
  readonly #handlers: Handlers;

  /** `base`: linear address of the data area. */
  constructor(rows: readonly Row[], base: number) {
    this.variants = makeForms(rows).flatMap((form) =>
      form.sizes.map((size) => ({
        form,
        size,
        memory: form.rm === 'memory',
        flat: true,
        lock: false,
        repeat: 'none' as const,
      })),
    );
    const module = new ModuleBuilder({ memory: { initial: PAGES, maximum: PAGES } });
    const fault = module.importTag('fault');
    const systemType = { params: ['i64', 'i64'], results: ['i64'] } as const;
    const system = Object.keys(operations).map((name) => module.importFunction(`system:${name}`, systemType));
    const definitions = [...flatMemory(base), ...floatHelpers, ...helpers];
    const library = new Library(module, fault, definitions);
    for (const callee of system) library.provide(callee);
    for (const { name } of definitions) library.helper(name);
    this.variants.forEach((variant, i) => {
      module.function(
        `v${i}`,
        { params: ['i32', 'i32'], results: [] },
        (f) => {
          const ending = { lookup: () => f.return() };
          const spill = (): void => undefined;
          const frame = { f, vp: f.param(0), record: () => f.param(1), inline: false, ending, spill };
          variant.form.semantics(new BenchPort(frame, variant, { fault, helper: library.helper }));
        },
        true,
      );
    });
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
    this.vp = VpState.view(memory.buffer, VP);
    this.#bytes = new DataView(memory.buffer);
    const env: Record<string, WebAssembly.ImportValue> = { memory, fault: this.#tag };
    const context = this.#context(base);
    for (const [name, operation] of Object.entries(operations))
      env[`system:${name}`] = (a: bigint, b: bigint) =>
        operation(context, BigInt.asUintN(64, a), BigInt.asUintN(64, b)) ?? 0n;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.finish()), { env });
    this.#handlers = instance.exports;
  }

  #context(base: number): SystemContext {
    const at = (linear: bigint): number => Number(linear) - base + DATA;
    const bytes = this.#bytes;
    const context: Partial<SystemContext> = {
      vp: this.vp,
      readLinear: (linear, size) =>
        size === 8 ? bytes.getBigUint64(at(linear), true) : BigInt(bytes.getUint16(at(linear), true)),
      writeLinear: (linear, size, value) => {
        if (size === 8) bytes.setBigUint64(at(linear), value, true);
        else bytes.setUint16(at(linear), Number(value), true);
      },
      probeWrite: () => undefined,
    };
    return context as SystemContext;
  }

  /** The bytes of a variant's instruction; `i` is the number in ST(i). */
  code(variant: Variant, i: number): Uint8Array {
    const { form, size } = variant;
    const bytes: number[] = [];
    if (form.sizes.length > 1 && size === 2) bytes.push(0x66);
    if ((form.sizes.length > 1 && size === 8) || form.w === 1) bytes.push(0x48);
    if (form.map === 1) bytes.push(0x0f);
    bytes.push(form.opcode);
    if (form.modrm) bytes.push(form.modrm[0] + (form.modrm[1] === 8 ? i : 0));
    else if (form.digit !== undefined) bytes.push((form.digit << 3) | RBX);
    return Uint8Array.from(bytes);
  }

  /** Runs a variant; `i` is the number in ST(i). */
  run(number: number, c: Before, i: number): Observed {
    const { vp } = this;
    const fx = new DataView(c.fx.buffer, c.fx.byteOffset, c.fx.byteLength);
    vp.fcw = fx.getUint16(0, true);
    vp.fsw = fx.getUint16(2, true) & ~0x3800;
    vp.ftop = (fx.getUint16(2, true) >> 11) & 7;
    vp.ftw = c.fx[4] as number;
    vp.mxcsr = fx.getUint32(24, true);
    for (const field of ['fop', 'fcs', 'fds'] as const) vp[field] = 0;
    vp.fip = 0n;
    vp.fdp = 0n;
    for (let r = 0; r < 8; r++) {
      const at = ((vp.ftop + r) & 7) * 2;
      vp.x87[at] = fx.getBigUint64(32 + r * 16, true);
      vp.x87[at + 1] = BigInt(fx.getUint16(40 + r * 16, true));
    }
    for (let w = 0; w < 32; w++) vp.xmm[w] = fx.getBigUint64(160 + w * 8, true);
    vp.gpr.set(c.gprs);
    writeFlags(vp, c.rflags);
    vp.cr0 = c.cr0 ?? 0x80000033n;
    vp.cr4 = c.cr4 ?? 1n << 18n;
    vp.xcr0 = 3n;
    vp.cpl = c.cpl ?? 3;
    vp.mode = Mode.LONG64 | Mode.LONG | Mode.PROTECTED | Mode.USER;
    vp.blockIp = c.rip;
    const data = new Uint8Array(this.#bytes.buffer, DATA, c.data.length);
    data.set(c.data);
    this.#record(number, c.code.length, i);
    const vector = this.#execute(number);
    return { vector, fx: this.#fx(), rax: vp.gpr[0] as bigint, flags: readFlags(vp), data: data.slice() };
  }

  #record(number: number, length: number, i: number): void {
    const set = (field: number, value: number): void => this.#bytes.setUint8(RECORD + field, value);
    set(Field.IP, 0);
    set(Field.LENGTH, length);
    set(Field.RM, this.variants[number]?.memory ? RBX * 8 : i);
    set(Field.INDEX, VpState.offset('zero') - VpState.offset('gpr'));
    set(Field.SCALE, 0);
    set(Field.SEGMENT, 10);
    set(Field.ADDRESS, 3);
    this.#bytes.setBigUint64(RECORD + Field.DISPLACEMENT, 0n, true);
  }

  /** The exception's vector, or -1. */
  #execute(number: number): number {
    try {
      this.#handlers[`v${number}`]?.(VP, RECORD);
      return -1;
    } catch (error) {
      if (error instanceof WebAssembly.Exception && error.is(this.#tag)) return this.vp.faultVector;
      throw error;
    }
  }

  #fx(): Uint8Array {
    const { vp } = this;
    const image = new Uint8Array(FX_SIZE);
    const view = new DataView(image.buffer);
    view.setUint16(0, vp.fcw, true);
    view.setUint16(2, vp.fsw | (vp.ftop << 11), true);
    view.setUint8(4, vp.ftw);
    view.setUint16(6, vp.fop, true);
    view.setBigUint64(8, vp.fip, true);
    view.setBigUint64(16, vp.fdp, true);
    view.setUint32(24, vp.mxcsr, true);
    for (let r = 0; r < 8; r++) {
      const at = ((vp.ftop + r) & 7) * 2;
      view.setBigUint64(32 + r * 16, vp.x87[at] as bigint, true);
      view.setBigUint64(40 + r * 16, vp.x87[at + 1] as bigint, true);
    }
    for (let w = 0; w < 32; w++) view.setBigUint64(160 + w * 8, vp.xmm[w] as bigint, true);
    return image;
  }
}

/** A small deterministic generator: a failing run can be repeated. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed;
  }
  /** 0 .. limit - 1, limit at most 2^32. */
  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }
  word(): bigint {
    return (BigInt(this.below(2 ** 32)) << 32n) | BigInt(this.below(2 ** 32));
  }
  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256));
  }
}
