/** The interpreter's module, compiled: needs nothing of what it was generated from. */

export interface InterpreterModule {
  readonly module: WebAssembly.Module;
  readonly systemOperations: readonly string[];
}

/** Compiles the interpreter; the result can be posted to other threads. */
export function compileImage(image: Uint8Array<ArrayBuffer>): InterpreterModule {
  const module = new WebAssembly.Module(image);
  const names = WebAssembly.Module.imports(module).map(({ name }) => name);
  const systemOperations = names.filter((n) => n.startsWith('system:')).map((n) => n.slice('system:'.length));
  return { module, systemOperations };
}
