/**
 * The processor's state while a region runs: general and XMM registers and the lazy flags are locals, loaded where control
 * enters and stored where it leaves; the rest stays in VpState.
 */
import { TLB_CONTEXT_SHIFT } from '../memory/layout.ts';
import { VpState } from '../vp/state.ts';
import type { Callee, FunctionBuilder, Variable } from '../wasm/function.ts';
import type { Value } from '../wasm/value.ts';
import type { FlagState } from '../x86/lazy-flags.ts';
import { CONST32, getLocal, LOAD_V, LOAD32, LOAD64, STORE_V, STORE32, STORE64, setLocal } from './encode.ts';

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);
const GPR = at('gpr');
const XMM = at('xmm');

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
  /** Whether MXCSR is settled, once somebody has asked. */
  readonly settled: Variable;
  /** Locals of a memory access. */
  readonly scratch: { readonly linear: number; readonly entry: number; readonly host: number };
  readonly #registers = new Map<number, Variable>();
  readonly #vectors = new Map<number, Variable>();
  readonly #written = new Set<Variable>();
  #flags: Record<'result' | 'a' | 'b' | 'form', Variable> | undefined;
  #flagsWritten = false;

  constructor(f: FunctionBuilder, vp: number, mode: number, helper: (name: string) => Callee) {
    this.f = f;
    this.vp = f.i32(vp);
    this.mode = mode;
    this.helper = helper;
    this.page = f.variable('i64');
    this.tlb = f.variable('i32');
    this.settled = f.variable('i32');
    this.scratch = {
      linear: f.variable('i64').local,
      entry: f.variable('i32').local,
      host: f.variable('i32').local,
    };
  }

  register(index: number): Variable {
    return this.#made(this.#registers, index, 'i64');
  }
  vector(index: number): Variable {
    return this.#made(this.#vectors, index, 'v128');
  }
  #made(variables: Map<number, Variable>, index: number, type: 'i64' | 'v128'): Variable {
    let variable = variables.get(index);
    if (!variable) {
      variable = this.f.variable(type);
      variables.set(index, variable);
    }
    return variable;
  }
  written(variable: Variable): void {
    this.#written.add(variable);
  }

  #flagVariables(): Record<'result' | 'a' | 'b' | 'form', Variable> {
    const { f } = this;
    this.#flags ??= { result: f.variable('i64'), a: f.variable('i64'), b: f.variable('i64'), form: f.variable('i32') };
    return this.#flags;
  }
  /** The flags as the locals have them, of a kind that is not known. */
  flags(): FlagState {
    const { result, a, b, form } = this.#flagVariables();
    const word = form.get();
    return { result: result.get(), a: a.get(), b: b.get(), carry: word.and(1), kind: word.shrU(1) };
  }
  setFlags(state: FlagState): void {
    const { result, a, b, form } = this.#flagVariables();
    this.#flagsWritten = true;
    const word = state.carry.or(state.kind.shl(1));
    result.set(state.result);
    a.set(state.a);
    b.set(state.b);
    form.set(word);
  }

  /** Loads what is in locals: what that is, is known when the function is encoded. */
  reload(): void {
    this.f.effect((out) => {
      const load = (opcode: readonly number[], offset: number, variable: Variable): void => {
        out.byte(CONST32);
        out.signed32(Number(this.vp.imm));
        out.raw(opcode);
        out.byte(0);
        out.unsigned(offset);
        setLocal(out, variable.local);
      };
      for (const [index, variable] of this.#registers) load([LOAD64], GPR + index * 8, variable);
      for (const [index, variable] of this.#vectors) load(LOAD_V, XMM + index * 16, variable);
      if (this.#flags) {
        load([LOAD64], at('flagResult'), this.#flags.result);
        load([LOAD64], at('flagA'), this.#flags.a);
        load([LOAD64], at('flagB'), this.#flags.b);
        load([LOAD32], at('flagForm'), this.#flags.form);
      }
    });
    const { f, vp } = this;
    this.tlb.set(vp.add(f.load('i32.load', vp, at('tlbContext')).shl(TLB_CONTEXT_SHIFT)));
  }
  /** Stores what is changed anywhere in the function. */
  spill(): void {
    this.f.effect((out) => {
      const store = (opcode: readonly number[], offset: number, variable: Variable): void => {
        out.byte(CONST32);
        out.signed32(Number(this.vp.imm));
        getLocal(out, variable.local);
        out.raw(opcode);
        out.byte(0);
        out.unsigned(offset);
      };
      for (const [index, variable] of this.#registers)
        if (this.#written.has(variable)) store([STORE64], GPR + index * 8, variable);
      for (const [index, variable] of this.#vectors)
        if (this.#written.has(variable)) store(STORE_V, XMM + index * 16, variable);
      if (!this.#flags || !this.#flagsWritten) return;
      store([STORE64], at('flagResult'), this.#flags.result);
      store([STORE64], at('flagA'), this.#flags.a);
      store([STORE64], at('flagB'), this.#flags.b);
      store([STORE32], at('flagForm'), this.#flags.form);
    });
  }
}
