/** Builds one WebAssembly module around a shared imported memory. Sections as in the Core Specification, "Modules". */
import { ByteWriter } from './bytes.ts';
import {
  type Callee,
  FunctionBuilder,
  type FunctionCode,
  type FunctionType,
  type Table,
  type Tag,
  TYPE_CODE,
} from './function.ts';

interface Defined {
  readonly name: string;
  readonly type: FunctionType;
  readonly exported: boolean;
  build: ((f: FunctionBuilder) => void) | undefined;
  /** Its code, from who encodes it himself. */
  encoded?: FunctionCode;
}

export interface ModuleOptions {
  /** Imported as `env.memory`, shared; limits in 64 KiB pages. */
  readonly memory: { readonly initial: number; readonly maximum: number };
}

export class ModuleBuilder {
  readonly #options: ModuleOptions;
  readonly #types: FunctionType[] = [];
  readonly #typeKeys = new Map<string, number>();
  readonly #imports: { name: string; type: FunctionType }[] = [];
  readonly #functions: Defined[] = [];
  readonly #tags: { name: string; imported: boolean }[] = [];
  #table: readonly Callee[] = [];
  #tableName: string | undefined;
  readonly #importedTables: string[] = [];

  constructor(options: ModuleOptions) {
    this.#options = options;
  }

  readonly typeIndex = (type: FunctionType): number => {
    const key = `${type.params.join()}>${type.results.join()}`;
    let index = this.#typeKeys.get(key);
    if (index === undefined) {
      index = this.#types.push(type) - 1;
      this.#typeKeys.set(key, index);
    }
    return index;
  };

  /** A function imported as `env.<name>`. */
  importFunction(name: string, type: FunctionType): Callee {
    const index = this.#imports.push({ name, type }) - 1;
    return { name, type, index: () => index };
  }

  /** A tag without values, imported as `env.<name>` so that several modules and JavaScript can throw it. */
  importTag(name: string): Tag {
    const index = this.#tags.push({ name, imported: true }) - 1;
    return { name, index: () => index };
  }

  /** Declares a function; give its body now or later with define(), so that functions can call each other. */
  declare(name: string, type: FunctionType, exported = false): Callee {
    const at = this.#functions.push({ name, type, exported, build: undefined }) - 1;
    return { name, type, index: () => this.#imports.length + at };
  }
  define(callee: Callee, build: (f: FunctionBuilder) => void): void {
    const found = this.#functions[callee.index() - this.#imports.length];
    if (found?.name !== callee.name) throw new Error(`${callee.name} is not a function of this module`);
    found.build = build;
  }
  function(name: string, type: FunctionType, build: (f: FunctionBuilder) => void, exported = false): Callee {
    const callee = this.declare(name, type, exported);
    (this.#functions.at(-1) as Defined).build = build;
    return callee;
  }

  /** A function whose code is there already. */
  encoded(name: string, type: FunctionType, code: FunctionCode, exported = false): void {
    this.#functions.push({ name, type, exported, build: undefined, encoded: code });
  }

  /** A table imported as `env.<name>`. */
  importTable(name: string): Table {
    const index = this.#importedTables.push(name) - 1;
    return { index: () => index };
  }
  /** The module's own table, with its contents; exported under a name if one is given. */
  setTable(functions: readonly Callee[], name?: string): Table {
    this.#table = functions;
    this.#tableName = name;
    return { index: () => this.#importedTables.length };
  }

  finish(): Uint8Array<ArrayBuffer> {
    // Building a body may declare further functions and imports; indices are known only when all bodies are built.
    const made: (FunctionBuilder | FunctionCode)[] = [];
    for (let i = 0; i < this.#functions.length; i++) {
      const d = this.#functions[i] as Defined;
      if (d.encoded) {
        made.push(d.encoded);
        continue;
      }
      const f = new FunctionBuilder(d.name, d.type, this.typeIndex);
      if (!d.build) throw new Error(`${d.name} is declared but not defined`);
      d.build(f);
      made.push(f);
    }
    const codes = made.map((f) => (f instanceof FunctionBuilder ? f.finish() : f));
    const types = this.#functions.map((d) => this.typeIndex(d.type));
    const importTypes = this.#imports.map((i) => this.typeIndex(i.type));
    const tagType = this.#tags.length ? this.typeIndex({ params: [], results: [] }) : 0;
    const out = new ByteWriter();
    out.raw([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, write: (s: ByteWriter) => void): void => {
      const s = new ByteWriter();
      write(s);
      out.byte(id);
      out.unsigned(s.length);
      out.raw(s.view());
    };
    section(1, (s) => {
      s.unsigned(this.#types.length);
      for (const type of this.#types) {
        s.byte(0x60);
        for (const list of [type.params, type.results]) {
          s.unsigned(list.length);
          for (const t of list) s.byte(TYPE_CODE[t]);
        }
      }
    });
    section(2, (s) => {
      s.unsigned(1 + this.#imports.length + this.#tags.length + this.#importedTables.length);
      s.name('env');
      s.name('memory');
      s.raw([0x02, 0x03]);
      s.unsigned(this.#options.memory.initial);
      s.unsigned(this.#options.memory.maximum);
      this.#imports.forEach((i, n) => {
        s.name('env');
        s.name(i.name);
        s.byte(0x00);
        s.unsigned(importTypes[n] as number);
      });
      for (const table of this.#importedTables) {
        s.name('env');
        s.name(table);
        // Functions, any size from zero.
        s.raw([0x01, 0x70, 0x00, 0]);
      }
      for (const tag of this.#tags) {
        s.name('env');
        s.name(tag.name);
        s.raw([0x04, 0x00]);
        s.unsigned(tagType);
      }
    });
    section(3, (s) => {
      s.unsigned(types.length);
      for (const t of types) s.unsigned(t);
    });
    if (this.#table.length)
      section(4, (s) => {
        s.raw([1, 0x70, 0x00]);
        s.unsigned(this.#table.length);
      });
    section(7, (s) => {
      const exported = this.#functions.flatMap((d, i) => (d.exported ? [[d.name, i] as const] : []));
      s.unsigned(exported.length + (this.#tableName === undefined ? 0 : 1));
      if (this.#tableName !== undefined) {
        s.name(this.#tableName);
        s.byte(0x01);
        s.unsigned(this.#importedTables.length);
      }
      for (const [name, i] of exported) {
        s.name(name);
        s.byte(0x00);
        s.unsigned(this.#imports.length + i);
      }
    });
    if (this.#table.length)
      section(9, (s) => {
        // Active, of the module's own table, from its beginning.
        s.raw([1, 0x02]);
        s.unsigned(this.#importedTables.length);
        s.raw([0x41, 0, 0x0b, 0x00]);
        s.unsigned(this.#table.length);
        for (const f of this.#table) s.unsigned(f.index());
      });
    const hinted = codes.flatMap((c, i) => (c.hints.length ? [[c, i] as const] : []));
    if (hinted.length)
      section(0, (s) => {
        s.name('metadata.code.branch_hint');
        s.unsigned(hinted.length);
        for (const [code, i] of hinted) {
          s.unsigned(this.#imports.length + i);
          s.unsigned(code.hints.length);
          for (const h of code.hints) {
            s.unsigned(h.at);
            s.raw([1, h.likely ? 1 : 0]);
          }
        }
      });
    section(10, (s) => {
      s.unsigned(codes.length);
      for (const code of codes) {
        s.unsigned(code.body.length);
        s.raw(code.body);
      }
    });
    section(0, (s) => {
      s.name('name');
      const names = new ByteWriter();
      names.unsigned(this.#functions.length);
      this.#functions.forEach((d, i) => {
        names.unsigned(this.#imports.length + i);
        names.name(d.name);
      });
      s.byte(1);
      s.unsigned(names.length);
      s.raw(names.view());
    });
    return out.finish();
  }
}
