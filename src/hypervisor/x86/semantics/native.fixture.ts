/**
 * Runs single handlers of the interpreter without the interpreter: each product of a form is an exported function over
 * flat memory, and its outcome is compared with the host's own processor (tests/oracle/native). For tests of semantics.
 */
import {
  type Case,
  CODE_ADDRESS,
  DATA_ADDRESS,
  DATA_SIZE,
  FX_SIZE,
  type Result,
} from '../../../../tests/oracle/native/protocol.ts';
import { InterpreterPort, type Variant } from '../../interpreter/port.ts';
import { Field } from '../../interpreter/record.ts';
import { Attribute, Mode, readFlags, Segment, VpState, type VpView, writeFlags } from '../../vp/state.ts';
import type { FunctionType } from '../../wasm/function.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import { Decoder, Instruction } from '../decoder.ts';
import { type Form, makeForms, type OperandForm, type Row } from '../form.ts';
import { type HelperDefinition, Library } from '../library.ts';

const RECORD_AT = 0x800;
const VP_AT = 0x1000;
const DATA_AT = 0x20000;
const PAGES = { initial: 4, maximum: 4 };

const HANDLER: FunctionType = { params: ['i32', 'i32'], results: ['i32'] };

/** Memory without paging: a linear address of the data area is a place in the module's memory. */
function flatMemory(): HelperDefinition[] {
  const helpers: HelperDefinition[] = [
    {
      name: 'linearize',
      type: { params: ['i32', 'i32', 'i64', 'i32', 'i32'], results: ['i64'] },
      build: (f) => f.return(f.param(2)),
    },
    { name: 'probe', type: { params: ['i32', 'i64', 'i32', 'i32', 'i32'], results: [] }, build: () => {} },
    { name: 'store_commit', type: { params: ['i32'], results: [] }, build: () => {} },
  ];
  const loads = { 1: 'i64.load8_u', 2: 'i64.load16_u', 4: 'i64.load32_u', 8: 'i64.load' } as const;
  const stores = { 1: 'i64.store8', 2: 'i64.store16', 4: 'i64.store32', 8: 'i64.store' } as const;
  const offset = DATA_AT - DATA_ADDRESS;
  for (const bytes of [1, 2, 4, 8] as const) {
    helpers.push(
      {
        name: `load_${bytes}`,
        type: { params: ['i32', 'i64', 'i32'], results: ['i64'] },
        build: (f) => f.return(f.load(loads[bytes], f.param(1).wrap().add(offset))),
      },
      {
        name: `store_${bytes}`,
        type: { params: ['i32', 'i64', 'i64', 'i32'], results: [] },
        build: (f) => f.store(stores[bytes], f.param(1).wrap().add(offset), f.param(2)),
      },
    );
  }
  for (const name of ['load_16', 'modify_16', 'modify_8', 'modify_4', 'modify_2', 'modify_1'])
    helpers.push({
      name,
      type: { params: ['i32', 'i64', 'i32'], results: ['i32'] },
      build: (f) => f.return(f.param(1).wrap().add(offset)),
    });
  return helpers;
}

export interface Outcome {
  /** -1 without exception. */
  readonly vector: number;
  readonly errorCode: number;
}

export class HandlerBench {
  readonly forms: readonly Form[];
  readonly vp: VpView;
  readonly data: Uint8Array;
  readonly #decoder: Decoder;
  readonly #record: DataView;
  readonly #exports: Record<string, (vp: number, record: number) => number>;
  readonly #fault: WebAssembly.Tag;

  constructor(rows: readonly Row[], helpers: readonly HelperDefinition[]) {
    this.forms = makeForms(rows);
    this.#decoder = new Decoder(this.forms);
    const module = new ModuleBuilder({ memory: PAGES });
    const fault = module.importTag('fault');
    const library = new Library(module, fault, [...helpers, ...flatMemory()]);
    for (const form of this.forms)
      for (const size of form.sizes)
        for (const memory of [false, true]) {
          if (form.rm === (memory ? 'register' : 'memory') || (memory && !form.hasModrm)) continue;
          const variant: Variant = { form, size, memory, flat: form.flavored, lock: false, repeat: 'none' };
          module.function(
            nameOf(form, size, memory),
            HANDLER,
            (f) => {
              const ending = { lookup: (): void => f.return(1) };
              const frame = {
                f,
                vp: f.param(0),
                record: () => f.param(1),
                inline: false,
                ending,
                spill: (): void => {},
              };
              const port = new InterpreterPort(frame, variant, { fault, helper: library.helper });
              form.semantics(port);
              if (!port.ended) f.return(0);
            },
            true,
          );
        }
    const memory = new WebAssembly.Memory({ ...PAGES, shared: true });
    this.#fault = new WebAssembly.Tag({ parameters: [] });
    const env = { memory, fault: this.#fault };
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.finish()), { env });
    this.#exports = instance.exports;
    const buffer = memory.buffer as unknown as SharedArrayBuffer;
    this.vp = VpState.view(buffer, VP_AT);
    this.data = new Uint8Array(buffer, DATA_AT, DATA_SIZE);
    this.#record = new DataView(buffer, RECORD_AT, 32);
  }

  /** Decodes and runs one instruction of 64-bit mode. */
  run(code: Uint8Array): Outcome {
    const instruction = new Instruction();
    const status = this.#decoder.decode(code, 0, code.length, Mode.LONG64 | Mode.LONG | Mode.PROTECTED, instruction);
    if (status !== 'ok') return { vector: 6, errorCode: 0 };
    this.#encode(instruction);
    const handler = this.#exports[nameOf(instruction.form, instruction.size, instruction.isMemory)];
    if (!handler) throw new Error(`no handler for ${instruction.form.mnemonic} size ${instruction.size}`);
    try {
      handler(VP_AT, RECORD_AT);
    } catch (error) {
      if (!(error instanceof WebAssembly.Exception && error.is(this.#fault))) throw error;
      return { vector: this.vp.faultVector, errorCode: Math.max(this.vp.faultError, 0) };
    }
    return { vector: -1, errorCode: 0 };
  }

  #encode(i: Instruction): void {
    const r = this.#record;
    const registers = { reg: 0, rm: 0 };
    const scale = (o: OperandForm): number => ('VWU'.includes(o.kind) ? 16 : 'PQN'.includes(o.kind) ? 16 : 8);
    for (const o of i.form.operands) {
      if ('GVP'.includes(o.kind)) registers.reg = (o.kind === 'P' ? i.reg & 7 : i.reg) * scale(o);
      if ('ERWUQN'.includes(o.kind) && !i.isMemory) registers.rm = ('QN'.includes(o.kind) ? i.rm & 7 : i.rm) * scale(o);
      if ((o.kind === 'G' || o.kind === 'E') && o.width === 'b' && i.rex === 0 && !(o.kind === 'E' && i.isMemory)) {
        const n = o.kind === 'G' ? i.reg : i.rm;
        registers[o.kind === 'G' ? 'reg' : 'rm'] = n >= 4 ? (n - 4) * 8 + 1 : n * 8;
      }
    }
    const zero = VpState.offset('zero') - VpState.offset('gpr');
    r.setUint8(Field.REG, registers.reg);
    r.setUint8(Field.RM, i.isMemory ? i.base * 8 : registers.rm);
    r.setUint8(Field.INDEX, zero);
    r.setUint8(Field.SCALE, 0);
    r.setUint8(Field.SEGMENT, Segment.FLAT);
    r.setUint8(Field.ADDRESS, 3);
    r.setUint8(Field.IP, 0);
    r.setUint8(Field.LENGTH, i.length);
    r.setBigInt64(Field.IMMEDIATE, BigInt(i.immediate & 0xff), true);
    r.setBigInt64(Field.DISPLACEMENT, BigInt(i.displacement), true);
  }

  /** The state a native case begins with. */
  load(c: Case, memory: Uint8Array): void {
    const { vp } = this;
    const fx = new DataView(c.fx.buffer, c.fx.byteOffset, FX_SIZE);
    for (let i = 0; i < 16; i++) vp.gpr[i] = c.gprs[i] as bigint;
    vp.zero = 0n;
    vp.blockIp = BigInt(CODE_ADDRESS + c.codeOffset);
    writeFlags(vp, c.rflags);
    vp.cr0 = 0x80050033n;
    vp.cr4 = 0x620n;
    vp.segmentAttributes[Segment.CS] = Attribute.L;
    vp.mode = Mode.LONG64;
    vp.fcw = fx.getUint16(0, true);
    const status = fx.getUint16(2, true);
    vp.ftop = (status >> 11) & 7;
    vp.fsw = status & ~0x3800;
    vp.ftw = fx.getUint8(4);
    vp.mxcsr = fx.getUint32(24, true);
    for (let i = 0; i < 8; i++) {
      const physical = (vp.ftop + i) & 7;
      vp.x87[2 * physical] = fx.getBigUint64(32 + 16 * i, true);
      vp.x87[2 * physical + 1] = BigInt(fx.getUint16(40 + 16 * i, true));
    }
    for (let i = 0; i < 32; i++) vp.xmm[i] = fx.getBigUint64(160 + 8 * i, true);
    this.data.set(memory);
  }

  /** What differs from the native outcome, in words; empty where nothing does. */
  differences(ours: Outcome, native: Result, memory: Uint8Array): string[] {
    const { vp } = this;
    const found: string[] = [];
    const same = (what: string, a: bigint | number, b: bigint | number): void => {
      if (a !== b) found.push(`${what}: ${a.toString(16)}, the processor has ${b.toString(16)}`);
    };
    same('vector', ours.vector, native.vector);
    same('error code', ours.errorCode, native.errorCode);
    for (let i = 0; i < 16; i++) same(`gpr ${i}`, vp.gpr[i] as bigint, native.gprs[i] as bigint);
    same('flags', readFlags(vp) & 0x8d5, native.rflags & 0x8d5);
    const fx = new DataView(native.fx.buffer, native.fx.byteOffset, FX_SIZE);
    same('mxcsr', vp.mxcsr, fx.getUint32(24, true));
    same('fsw', vp.fsw | (vp.ftop << 11), fx.getUint16(2, true));
    same('ftw', vp.ftw, fx.getUint8(4));
    for (let i = 0; i < 8; i++) {
      const physical = (vp.ftop + i) & 7;
      same(`st ${i}`, vp.x87[2 * physical] as bigint, fx.getBigUint64(32 + 16 * i, true));
      same(`st ${i} head`, Number(vp.x87[2 * physical + 1]) & 0xffff, fx.getUint16(40 + 16 * i, true));
    }
    for (let i = 0; i < 32; i++)
      same(`xmm ${i >> 1}.${i & 1}`, vp.xmm[i] as bigint, fx.getBigUint64(160 + 8 * i, true));
    const after = memory.slice();
    const view = new DataView(after.buffer);
    for (const { offset, value } of native.changes) view.setBigUint64(offset, value, true);
    for (let i = 0; i < DATA_SIZE; i++)
      if (this.data[i] !== after[i]) same(`memory ${i}`, this.data[i] as number, after[i] as number);
    return found;
  }
}

function nameOf(form: Form, size: number, memory: boolean): string {
  return `${form.id}_${size}_${memory ? 'm' : 'r'}`;
}
