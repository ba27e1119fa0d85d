/** What the emitter's tests share: modules made, run and disassembled. Only tests import this. */
import wabt from 'wabt';
import type { FunctionBuilder, FunctionType } from './function.ts';
import { ModuleBuilder } from './module.ts';
import type { ValueType } from './opcodes.ts';

const FEATURES = {
  threads: true,
  simd: true,
  bulk_memory: true,
  exceptions: true,
  sat_float_to_int: true,
  sign_extension: true,
};
const toolkit = await wabt();

export function functionType(params: readonly ValueType[], ...results: ValueType[]): FunctionType {
  return { params, results };
}

export function newModule(): ModuleBuilder {
  return new ModuleBuilder({ memory: { initial: 1, maximum: 2 } });
}

/** WebAssembly text of a module, one instruction to a line; throws where wabt does not accept it. */
export function disassemble(bytes: Uint8Array): string {
  const module = toolkit.readWasm(bytes, { ...FEATURES, readDebugNames: true });
  try {
    return module.toText({ foldExprs: false, inlineExport: false });
  } finally {
    module.destroy();
  }
}

/** The instructions of the module's function `name`, without its locals and their declarations. */
export function instructionsOf(bytes: Uint8Array, name: string): string[] {
  const text = disassemble(bytes);
  const from = text.indexOf(`(func $${name} `);
  if (from < 0) throw new Error(`no function ${name} in\n${text}`);
  const lines = text.slice(from).split('\n').slice(1);
  const end = lines.findIndex((line) => line.startsWith('  ('));
  return lines
    .slice(0, end < 0 ? lines.length : end)
    .map((line) => line.trim().replace(/\)+$/, ''))
    .filter((line) => line !== '' && !line.startsWith('(local'));
}

type Exported = (...args: (number | bigint)[]) => number | bigint;

export interface Loaded {
  readonly exports: Record<string, Exported>;
  readonly memory: WebAssembly.Memory;
}

export function load(module: ModuleBuilder, imports: WebAssembly.Imports[string] = {}): Loaded {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.finish()), { env: { memory, ...imports } });
  return { exports: instance.exports, memory };
}

/** A module of the one function `test`. */
export function single(type: FunctionType, build: (f: FunctionBuilder) => void): ModuleBuilder {
  const module = newModule();
  module.function('test', type, build, true);
  return module;
}
