/** The interpreter's module, compiled: needs nothing of what it was generated from. */

/** Why `run` returned. */
export const RunResult = { BUDGET: 0, ATTENTION: 1, SHUTDOWN: 2 } as const;

/** What blocks are decoded with: all that a processor needs of the forms. */
export interface DecodingTables {
  /** See decodeTable(). */
  readonly decoding: Int32Array;
  /** Handlers by a form's id << VARIATION_BITS | variation; 0 where the form has no such product. */
  readonly numbers: Uint16Array;
  /** What records of the forms are made by: see recordTable(). */
  readonly records: Int32Array;
}

export interface InterpreterModule {
  readonly module: WebAssembly.Module;
  readonly systemOperations: readonly string[];
  /** For the handlers of this module. */
  readonly tables: DecodingTables;
}

/** The custom section that has them, each behind its length in bytes, at whole words. */
const TABLES = 'tables';
const WORD = 4;

/** The section as a name and bytes. A thread that makes the tables itself takes a third longer to start. */
export function tablesSection({ decoding, numbers, records }: DecodingTables): readonly [string, Uint8Array] {
  const tables = [decoding, numbers, records].map(
    (table) => new Uint8Array(table.buffer, table.byteOffset, table.byteLength),
  );
  const places: number[] = [];
  let length = 0;
  for (const table of tables) {
    places.push(length);
    length += WORD + Math.ceil(table.length / WORD) * WORD;
  }
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  for (const [n, table] of tables.entries()) {
    const place = places[n] as number;
    view.setUint32(place, table.length, true);
    bytes.set(table, place + WORD);
  }
  return [TABLES, bytes];
}

function tablesOf(module: WebAssembly.Module): DecodingTables {
  const [section] = WebAssembly.Module.customSections(module, TABLES);
  if (section === undefined) throw new Error('the interpreter has no tables');
  const view = new DataView(section);
  let at = 0;
  const next = (): [ArrayBuffer, number, number] => {
    const length = view.getUint32(at, true);
    const place = at + WORD;
    at = place + Math.ceil(length / WORD) * WORD;
    return [section, place, length];
  };
  const words = ([buffer, place, length]: [ArrayBuffer, number, number]): Int32Array =>
    new Int32Array(buffer, place, length / WORD);
  const decoding = words(next());
  const [buffer, place, length] = next();
  const numbers = new Uint16Array(buffer, place, length / 2);
  return { decoding, numbers, records: words(next()) };
}

/** What there is to know of the interpreter's module, compiled; the result can be posted to other threads. */
export function interpreterModule(module: WebAssembly.Module): InterpreterModule {
  const names = WebAssembly.Module.imports(module).map(({ name }) => name);
  const systemOperations = names.filter((n) => n.startsWith('system:')).map((n) => n.slice('system:'.length));
  return { module, systemOperations, tables: tablesOf(module) };
}
