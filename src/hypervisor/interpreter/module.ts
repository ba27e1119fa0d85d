/** The interpreter's module, compiled: needs nothing of what it was generated from. */

export interface InterpreterModule {
  readonly module: WebAssembly.Module;
  readonly systemOperations: readonly string[];
}

/** What there is to know of the interpreter's module, compiled; the result can be posted to other threads. */
export function interpreterModule(module: WebAssembly.Module): InterpreterModule {
  const names = WebAssembly.Module.imports(module).map(({ name }) => name);
  const systemOperations = names.filter((n) => n.startsWith('system:')).map((n) => n.slice('system:'.length));
  return { module, systemOperations };
}
