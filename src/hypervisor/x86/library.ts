/**
 * Helpers: WebAssembly functions that several instructions share. A helper is declared in the module that first asks for
 * it, with everything it needs in turn.
 */
import type { Callee, FunctionBuilder, FunctionType, Tag } from '../wasm/function.ts';
import type { ModuleBuilder } from '../wasm/module.ts';

export interface HelperContext {
  /** Another helper, or an imported function, by name. */
  helper(name: string): Callee;
  /** Thrown without values; the exception is described in VpState's fault fields. */
  readonly fault: Tag;
}

export interface HelperDefinition {
  readonly name: string;
  readonly type: FunctionType;
  build(f: FunctionBuilder, helper: (name: string) => Callee, context: HelperContext): void;
  readonly exported?: boolean;
}

export class Library {
  readonly #module: ModuleBuilder;
  readonly #definitions = new Map<string, HelperDefinition>();
  readonly #callees = new Map<string, Callee>();
  readonly #exported = new Set<string>();
  readonly fault: Tag;

  constructor(module: ModuleBuilder, fault: Tag, definitions: Iterable<HelperDefinition>) {
    this.#module = module;
    this.fault = fault;
    for (const definition of definitions) {
      if (this.#definitions.has(definition.name)) throw new Error(`two helpers are called ${definition.name}`);
      this.#definitions.set(definition.name, definition);
    }
  }

  /** Makes an imported function known under its name. */
  provide(callee: Callee): void {
    this.#callees.set(callee.name, callee);
  }

  readonly helper = (name: string): Callee => {
    let callee = this.#callees.get(name);
    if (callee) return callee;
    const definition = this.#definitions.get(name);
    if (!definition) throw new Error(`no helper is called ${name}`);
    callee = this.#module.declare(name, definition.type, definition.exported === true || this.#exported.has(name));
    this.#callees.set(name, callee);
    this.#module.define(callee, (f) => {
      definition.build(f, this.helper, this);
    });
    return callee;
  };

  /** Declares a helper, and exports it whatever its definition says. Before anything else asks for it. */
  export(name: string): void {
    this.#exported.add(name);
    this.helper(name);
  }

  /** Declares every exported helper. */
  exportAll(): void {
    for (const definition of this.#definitions.values()) if (definition.exported) this.helper(definition.name);
  }
}
