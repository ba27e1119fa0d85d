/**
 * The processor's state while a region runs: general and XMM registers and the lazy flags are locals, loaded where control
 * enters and stored where it leaves; the rest stays in VpState.
 */
import { TLB_CONTEXT_SHIFT } from '../memory/layout.ts';
import { VpState } from '../vp/state.ts';
import type { Callee, FunctionBuilder, Variable } from '../wasm/function.ts';
import type { ValueType } from '../wasm/opcodes.ts';
import type { Value } from '../wasm/value.ts';
import type { FlagState } from '../x86/lazy-flags.ts';
import {
  ADD32,
  AND32,
  CONST32,
  getLocal,
  LOAD_V,
  LOAD32,
  LOAD64,
  SHL32,
  SHR_U32,
  STORE_V,
  STORE32,
  STORE64,
  setLocal,
  teeLocal,
} from './encode.ts';

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);
const GPR = at('gpr');
const XMM = at('xmm');
const FORM_TO_CARRY = [CONST32, 1, AND32];
const FORM_TO_KIND = [CONST32, 1, SHR_U32];
const KIND_TO_FORM = [CONST32, 1, SHL32, ADD32];

/** The lazy flags: see FlagState. */
export type FlagPart = 'result' | 'a' | 'b' | 'carry' | 'kind';
export const FLAG_PARTS: readonly FlagPart[] = ['result', 'a', 'b', 'carry', 'kind'];

/** The processor's state while a region runs: locals that are made, and loaded when control enters, where they are used. */
export class Machine {
  readonly f: FunctionBuilder;
  /** Address of VpState, a constant. */
  readonly vp: Value;
  readonly mode: number;
  readonly helper: (name: string) => Callee;
  /** Linear address of the region's page. */
  readonly page: Variable;
  /** Address of the TLB in use, less the constant TLB. */
  readonly tlb: Variable;
  /** Which instruction the interpreter is to execute, where control leaves in front of it. */
  readonly undone: Variable;
  /** What the last instruction of a block says: where control goes, or whether a branch is taken. */
  readonly target: Variable;
  readonly condition: Variable;
  /** Whether MXCSR is settled, once somebody has asked. */
  readonly settled: Variable;
  /** Locals of a memory access. */
  readonly scratch: { readonly linear: number; readonly entry: number; readonly host: number };
  readonly #registers: (Variable | undefined)[] = [];
  readonly #vectors: (Variable | undefined)[] = [];
  readonly #written = new Set<Variable>();
  readonly #floats = new Map<string, Variable>();
  readonly #temporaries = new Map<ValueType, Variable[]>();
  #flags: Readonly<Record<FlagPart, Variable>> | undefined;
  #flagsWritten = false;

  constructor(f: FunctionBuilder, vp: number, mode: number, helper: (name: string) => Callee) {
    this.f = f;
    this.vp = f.i32(vp);
    this.mode = mode;
    this.helper = helper;
    this.page = f.variable('i64');
    this.tlb = f.variable('i32');
    this.undone = f.variable('i32');
    this.target = f.variable('i64');
    this.condition = f.variable('i32');
    this.settled = f.variable('i32');
    this.scratch = {
      linear: f.variable('i64').local,
      entry: f.variable('i32').local,
      host: f.variable('i32').local,
    };
  }

  /** @param index its number, or its role in a stencil */
  register(index: number): Variable {
    let variable = this.#registers[index];
    if (!variable) {
      variable = this.f.variable('i64');
      this.#registers[index] = variable;
    }
    return variable;
  }
  vector(index: number): Variable {
    let variable = this.#vectors[index];
    if (!variable) {
      variable = this.f.variable('v128');
      this.#vectors[index] = variable;
    }
    return variable;
  }
  /** A register that there is a local of. */
  known(kind: 'register' | 'vector', index: number): Variable | undefined {
    return (kind === 'register' ? this.#registers : this.#vectors)[index];
  }
  knownFloat(type: 'f32' | 'f64', which: 0 | 1): Variable | undefined {
    return this.#floats.get(type + which);
  }
  written(variable: Variable): void {
    this.#written.add(variable);
  }
  isWritten(variable: Variable): boolean {
    return this.#written.has(variable);
  }
  /** Floats whose comparison set the flags. */
  float(type: 'f32' | 'f64', which: 0 | 1): Variable {
    const key = type + which;
    let variable = this.#floats.get(key);
    if (!variable) {
      variable = this.f.variable(type);
      this.#floats.set(key, variable);
    }
    return variable;
  }
  /** A local that nobody's value outlives an instruction in. */
  temporary(type: ValueType, ordinal: number): Variable {
    let list = this.#temporaries.get(type);
    if (!list) {
      list = [];
      this.#temporaries.set(type, list);
    }
    while (list.length <= ordinal) list.push(this.f.variable(type));
    return list[ordinal] as Variable;
  }

  flagVariables(): Readonly<Record<FlagPart, Variable>> {
    const { f } = this;
    this.#flags ??= {
      result: f.variable('i64'),
      a: f.variable('i64'),
      b: f.variable('i64'),
      carry: f.variable('i32'),
      kind: f.variable('i32'),
    };
    return this.#flags;
  }
  flagsWritten(): void {
    this.#flagsWritten = true;
  }
  get hasWrittenFlags(): boolean {
    return this.#flagsWritten;
  }
  /** The flags as the locals have them, of a kind that is not known. */
  flags(): FlagState {
    const { result, a, b, carry, kind } = this.flagVariables();
    return { result: result.get(), a: a.get(), b: b.get(), carry: carry.get(), kind: kind.get() };
  }
  setFlags(state: FlagState): void {
    const variables = this.flagVariables();
    this.#flagsWritten = true;
    for (const part of FLAG_PARTS) variables[part].set(state[part]);
  }

  /** Loads what is in locals: what that is, is known when the function is encoded. */
  reload(): void {
    this.f.effect((out) => {
      const load = (opcode: readonly number[], offset: number): void => {
        out.byte(CONST32);
        out.signed32(Number(this.vp.imm));
        out.raw(opcode);
        out.byte(0);
        out.unsigned(offset);
      };
      this.#registers.forEach((variable, index) => {
        load([LOAD64], GPR + index * 8);
        setLocal(out, (variable as Variable).local);
      });
      this.#vectors.forEach((variable, index) => {
        load(LOAD_V, XMM + index * 16);
        setLocal(out, (variable as Variable).local);
      });
      if (!this.#flags) return;
      const { result, a, b, carry, kind } = this.#flags;
      load([LOAD64], at('flagResult'));
      setLocal(out, result.local);
      load([LOAD64], at('flagA'));
      setLocal(out, a.local);
      load([LOAD64], at('flagB'));
      setLocal(out, b.local);
      load([LOAD32], at('flagForm'));
      teeLocal(out, kind.local);
      out.raw(FORM_TO_CARRY);
      setLocal(out, carry.local);
      getLocal(out, kind.local);
      out.raw(FORM_TO_KIND);
      setLocal(out, kind.local);
    });
    const { f, vp } = this;
    this.tlb.set(vp.add(f.load('i32.load', vp, at('tlbContext')).shl(TLB_CONTEXT_SHIFT)));
  }
  /** Stores what is changed anywhere in the function. */
  spill(): void {
    this.f.effect((out) => {
      const address = (): void => {
        out.byte(CONST32);
        out.signed32(Number(this.vp.imm));
      };
      const store = (opcode: readonly number[], offset: number): void => {
        out.raw(opcode);
        out.byte(0);
        out.unsigned(offset);
      };
      const one = (opcode: readonly number[], offset: number, variable: Variable): void => {
        if (!this.#written.has(variable)) return;
        address();
        getLocal(out, variable.local);
        store(opcode, offset);
      };
      this.#registers.forEach((variable, index) => {
        one([STORE64], GPR + index * 8, variable as Variable);
      });
      this.#vectors.forEach((variable, index) => {
        one(STORE_V, XMM + index * 16, variable as Variable);
      });
      if (!this.#flags || !this.#flagsWritten) return;
      const { result, a, b, carry, kind } = this.#flags;
      address();
      getLocal(out, result.local);
      store([STORE64], at('flagResult'));
      address();
      getLocal(out, a.local);
      store([STORE64], at('flagA'));
      address();
      getLocal(out, b.local);
      store([STORE64], at('flagB'));
      address();
      getLocal(out, carry.local);
      getLocal(out, kind.local);
      out.raw(KIND_TO_FORM);
      store([STORE32], at('flagForm'));
    });
  }
}
