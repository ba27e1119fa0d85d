/**
 * The processor's state as a stencil is recorded against it: general and XMM registers and the lazy flags are locals; the rest is in
 * VpState. A region that the stencil is written into has locals of its own (locals.ts).
 */
import type { Callee, FunctionBuilder, Variable } from '../wasm/function.ts';
import type { Value } from '../wasm/value.ts';
import type { FlagState } from '../x86/lazy-flags.ts';

/** The lazy flags: see FlagState. */
export type FlagPart = 'result' | 'a' | 'b' | 'carry' | 'kind';
export const FLAG_PARTS: readonly FlagPart[] = ['result', 'a', 'b', 'carry', 'kind'];

export class Machine {
  readonly f: FunctionBuilder;
  /** Address of VpState, a constant. */
  readonly vp: Value;
  readonly mode: number;
  readonly helper: (name: string) => Callee;
  /** Linear address of the region's page. */
  readonly page: Variable;
  /** Where the TLB in use is, behind the first one. */
  readonly tlb: Variable;
  /** Which instruction the interpreter is to execute, where control leaves in front of it. */
  readonly undone: Variable;
  /** What the last instruction of a block says: where control goes, or whether a branch is taken. */
  readonly target: Variable;
  readonly condition: Variable;
  /** Whether MXCSR is settled, once somebody has asked. */
  readonly settled: Variable;
  /** Of the memory operand: its offset in the segment. */
  readonly address: Variable;
  /** Host address of the bytes that are checked together with the access. */
  readonly group: Variable;
  /** Locals of a memory access. */
  readonly scratch: { readonly linear: number; readonly entry: number; readonly host: number };
  readonly #registers: (Variable | undefined)[] = [];
  readonly #vectors: (Variable | undefined)[] = [];
  readonly #written = new Set<Variable>();
  readonly #floats = new Map<string, Variable>();
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
    this.address = f.variable('i64');
    this.group = f.variable('i32');
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
}
