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

interface OwnTable {
  readonly functions: readonly [Callee, ...Callee[]];
  readonly name: string | undefined;
  readonly size: number;
}

export interface ModuleOptions {
  /** Imported as `env.memory`, shared; limits in 64 KiB pages. */
  readonly memory: { readonly initial: number; readonly maximum: number };
}

/** The type of references to functions of a type, none of them null. */
function reference(s: ByteWriter, type: number): void {
  s.byte(0x64);
  s.unsigned(type);
}
/** A constant expression. */
function refFunction(s: ByteWriter, f: Callee): void {
  s.byte(0xd2);
  s.unsigned(f.index());
  s.byte(0x0b);
}

/** What a global is exported as. */
export function globalName(index: number): string {
  return `g${index}`;
}

export class ModuleBuilder {
  readonly #options: ModuleOptions;
  readonly #types: FunctionType[] = [];
  readonly #typeKeys = new Map<string, number>();
  readonly #imports: { name: string; type: FunctionType }[] = [];
  readonly #functions: Defined[] = [];
  readonly #tags: { name: string; imported: boolean }[] = [];
  readonly #tables: OwnTable[] = [];
  #globals = 0;
  readonly #custom: { name: string; bytes: Uint8Array }[] = [];
  readonly #importedTables: { name: string; type: FunctionType; size: number | undefined }[] = [];

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

  /**
   * A table imported as `env.<name>`, of functions of one type: calls through it compare no types. A fixed size is a constant in the
   * code.
   */
  importTable(name: string, type: FunctionType, size?: number): Table {
    const index = this.#importedTables.push({ name, type, size }) - 1;
    return { index: () => index };
  }
  /** A table of the module's own, of a fixed size. Places behind its contents hold the first function. */
  table(functions: readonly [Callee, ...Callee[]], options: { name?: string; size?: number } = {}): Table {
    const { name, size = functions.length } = options;
    const at = this.#tables.push({ functions, name, size }) - 1;
    return { index: () => this.#importedTables.length + at };
  }

  /** A 32-bit number that JavaScript sets, exported as `g<index>`; zero to begin with. Its index. */
  global(): number {
    return this.#globals++;
  }

  /** A custom section: bytes that go with the module and mean nothing to WebAssembly. */
  custom(name: string, bytes: Uint8Array): void {
    this.#custom.push({ name, bytes });
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
    const importedTables = this.#importedTables.map((t) => ({ ...t, type: this.typeIndex(t.type) }));
    const tables = this.#tables.map((t) => ({ ...t, type: this.typeIndex(t.functions[0].type) }));
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
      for (const { name, type, size } of importedTables) {
        s.name('env');
        s.name(name);
        s.byte(0x01);
        reference(s, type);
        s.byte(size === undefined ? 0 : 1);
        s.unsigned(size ?? 0);
        if (size !== undefined) s.unsigned(size);
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
    if (tables.length > 0)
      section(4, (s) => {
        s.unsigned(tables.length);
        for (const { type, size, functions } of tables) {
          s.raw([0x40, 0x00]);
          reference(s, type);
          s.byte(1);
          s.unsigned(size);
          s.unsigned(size);
          refFunction(s, functions[0]);
        }
      });
    if (this.#globals > 0)
      section(6, (s) => {
        s.unsigned(this.#globals);
        for (let n = 0; n < this.#globals; n++) s.raw([TYPE_CODE.i32, 1, 0x41, 0, 0x0b]);
      });
    section(7, (s) => {
      const exported = this.#functions.flatMap((d, i) => (d.exported ? [[d.name, i] as const] : []));
      const named = tables.flatMap(({ name }, n) => (name === undefined ? [] : [[name, n] as const]));
      s.unsigned(exported.length + named.length + this.#globals);
      for (let n = 0; n < this.#globals; n++) {
        s.name(globalName(n));
        s.byte(0x03);
        s.unsigned(n);
      }
      for (const [name, n] of named) {
        s.name(name);
        s.byte(0x01);
        s.unsigned(importedTables.length + n);
      }
      for (const [name, i] of exported) {
        s.name(name);
        s.byte(0x00);
        s.unsigned(this.#imports.length + i);
      }
    });
    if (tables.length > 0)
      section(9, (s) => {
        s.unsigned(tables.length);
        tables.forEach(({ type, functions }, n) => {
          // Active, from the table's beginning; expressions of a type.
          s.byte(6);
          s.unsigned(importedTables.length + n);
          s.raw([0x41, 0, 0x0b]);
          reference(s, type);
          s.unsigned(functions.length);
          for (const f of functions) refFunction(s, f);
        });
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
    for (const { name, bytes } of this.#custom)
      section(0, (s) => {
        s.name(name);
        s.raw(bytes);
      });
    return out.finish();
  }
}
