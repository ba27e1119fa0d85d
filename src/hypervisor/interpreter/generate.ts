/** Makes the interpreter's module from the instruction table, which takes longer than starting a machine with one that is made. */
import { forms, helperDefinitions } from '../x86/table.ts';
import { type BuildOptions, buildInterpreter } from './build.ts';
import { HandlerTable } from './handlers.ts';
import { type InterpreterModule, interpreterModule } from './module.ts';

const PLATFORM_PAGES = { initial: 1, maximum: 65536 };
const built = new Map<boolean, Uint8Array<ArrayBuffer>>();

/** The interpreter's module as bytes: the same for every partition of a build, so a package carries it ready-made. */
export function generateInterpreter({ counting = false }: BuildOptions = {}): Uint8Array<ArrayBuffer> {
  const bytes =
    built.get(counting) ?? buildInterpreter(new HandlerTable(forms), helperDefinitions, PLATFORM_PAGES, { counting });
  built.set(counting, bytes);
  return bytes;
}

/** Compiles the interpreter, generated where no image is given; the result can be posted to other threads. */
export function compileInterpreter(image: Uint8Array<ArrayBuffer> = generateInterpreter()): InterpreterModule {
  return interpreterModule(new WebAssembly.Module(image));
}
