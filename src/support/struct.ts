/**
 * Fixed layouts over shared memory: a device's whole state is one struct, so any thread that maps the same bytes can run
 * the device, and saving it is exhaustive by construction (every field of the layout, by name, with the layout's version).
 *
 * All integers are little-endian and naturally aligned. A `u64` is a bigint; everything else a number or a byte array.
 */

export type ScalarType = 'u8' | 'u16' | 'u32' | 'i32' | 'u64' | 'f64';
export type FieldType = ScalarType | { readonly of: ScalarType; readonly count: number };

/** A field that is `count` consecutive scalars; read as a typed array over the shared bytes. */
export function array<T extends ScalarType>(of: T, count: number): { readonly of: T; readonly count: number } {
  return { of, count };
}

const WIDTH: Record<ScalarType, number> = { u8: 1, u16: 2, u32: 4, i32: 4, u64: 8, f64: 8 };
const ARRAY = {
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  i32: Int32Array,
  u64: BigUint64Array,
  f64: Float64Array,
} as const;

/** Accessors of the one element of an array. A function for each type: V8 keeps what it has learned by function. */
const ACCESSORS = {
  u8: (cell: Uint8Array) => ({ get: () => cell[0], set: (value: number) => void (cell[0] = value) }),
  u16: (cell: Uint16Array) => ({ get: () => cell[0], set: (value: number) => void (cell[0] = value) }),
  u32: (cell: Uint32Array) => ({ get: () => cell[0], set: (value: number) => void (cell[0] = value) }),
  i32: (cell: Int32Array) => ({ get: () => cell[0], set: (value: number) => void (cell[0] = value) }),
  u64: (cell: BigUint64Array) => ({ get: () => cell[0], set: (value: bigint) => void (cell[0] = value) }),
  f64: (cell: Float64Array) => ({ get: () => cell[0], set: (value: number) => void (cell[0] = value) }),
} as const;

type ScalarValue<T extends ScalarType> = T extends 'u64' ? bigint : number;
type ArrayValue<T extends ScalarType> = InstanceType<(typeof ARRAY)[T]>;
type FieldValue<T extends FieldType> = T extends ScalarType
  ? ScalarValue<T>
  : T extends { readonly of: infer S extends ScalarType }
    ? ArrayValue<S>
    : never;

export type Fields = Readonly<Record<string, FieldType>>;
export type View<F extends Fields> = {
  -readonly [K in keyof F as F[K] extends ScalarType ? K : never]: FieldValue<F[K]>;
} & { readonly [K in keyof F as F[K] extends ScalarType ? never : K]: FieldValue<F[K]> };

/** A struct's contents as plain data: JSON-safe, so that a saved state is host-independent. */
export type Saved = { readonly struct: string; readonly version: number; readonly fields: Record<string, unknown> };

/** Values as a field of a type has them; undefined when one of them is not kept as it is. */
function converted(scalar: ScalarType, values: readonly unknown[]): ArrayLike<number> | readonly bigint[] | undefined {
  if (scalar === 'u64') {
    const isWord = (v: unknown): v is string => typeof v === 'string' && /^\d{1,20}$/.test(v) && BigInt(v) < 1n << 64n;
    return values.every(isWord) ? values.map(BigInt) : undefined;
  }
  // One array for all of them: there are fields of 64 KiB, and restores are to be quick.
  const cells = new ARRAY[scalar](values.length);
  for (let i = 0; i < cells.length; i++) {
    const value = values[i];
    if (typeof value !== 'number') return undefined;
    cells[i] = value;
    if (!Object.is(cells[i], value)) return undefined;
  }
  return cells;
}

export class Struct<F extends Fields> {
  readonly name: string;
  readonly version: number;
  readonly fields: F;
  /** Bytes, a multiple of 8. */
  readonly size: number;
  readonly #offsets: Record<string, number> = {};
  /** Fields that hold nothing worth keeping: neither saved nor loaded. */
  readonly #transient: ReadonlySet<string>;

  constructor(name: string, version: number, fields: F, transient: readonly (keyof F & string)[] = []) {
    this.#transient = new Set(transient);
    this.name = name;
    this.version = version;
    this.fields = fields;
    let at = 0;
    for (const [key, type] of Object.entries(fields)) {
      const scalar = typeof type === 'string' ? type : type.of;
      const width = WIDTH[scalar];
      at = Math.ceil(at / width) * width;
      this.#offsets[key] = at;
      at += width * (typeof type === 'string' ? 1 : type.count);
    }
    this.size = Math.ceil(at / 8) * 8;
  }

  /** Byte offset of a field from the struct's start. */
  offset(field: keyof F & string): number {
    return this.#offsets[field] as number;
  }

  /** Typed accessors over the bytes at `base` (8-byte aligned). Plain loads and stores: guard with a lock or use Atomics. */
  view(buffer: ArrayBufferLike, base = 0): View<F> {
    if (base % 8 !== 0) throw new RangeError(`${this.name}: base ${base} is not 8-byte aligned`);
    const fields = {};
    for (const [key, type] of Object.entries(this.fields)) {
      const at = base + this.offset(key);
      if (typeof type !== 'string') {
        Object.defineProperty(fields, key, {
          value: new ARRAY[type.of](buffer as ArrayBuffer, at, type.count),
          enumerable: true,
        });
        continue;
      }
      const cell = new ARRAY[type](buffer as ArrayBuffer, at, 1);
      const accessors = (ACCESSORS[type] as (cell: ArrayBufferView) => PropertyDescriptor)(cell);
      Object.defineProperty(fields, key, { ...accessors, enumerable: true });
    }
    // On a prototype of its own: V8 gives up on the second object that has accessors of the same names and is not one.
    const view: unknown = Object.create(fields);
    return view as View<F>;
  }

  save(view: View<F>): Saved {
    const fields: Record<string, unknown> = {};
    for (const key of Object.keys(this.fields)) {
      if (this.#transient.has(key)) continue;
      const value = (view as Record<string, unknown>)[key];
      if (typeof value === 'bigint') fields[key] = value.toString();
      else if (typeof value === 'number') fields[key] = value;
      else fields[key] = Array.from(value as ArrayLike<number | bigint>, (v) => (typeof v === 'bigint' ? `${v}` : v));
    }
    return { struct: this.name, version: this.version, fields };
  }

  /** @throws RangeError when the saved data is of another struct or version, or lacks or adds a field. Nothing is written then. */
  load(view: View<F>, saved: Saved): void {
    if (saved.struct !== this.name) throw new RangeError(`saved state is of ${saved.struct}, not of ${this.name}`);
    if (saved.version !== this.version)
      throw new RangeError(
        `${this.name}: saved state version ${saved.version}, this build reads version ${this.version}`,
      );
    const values: [string, number | bigint | ArrayLike<number> | readonly bigint[]][] = [];
    for (const [key, type] of Object.entries(this.fields)) {
      if (this.#transient.has(key)) continue;
      const value = saved.fields[key];
      const isScalar = typeof type === 'string';
      const scalar = isScalar ? type : type.of;
      if (!isScalar && !(Array.isArray(value) && value.length === type.count))
        throw new RangeError(`${this.name}.${key}: saved value is not ${type.count} x ${scalar}`);
      const cells = converted(scalar, isScalar ? [value] : (value as unknown[]));
      if (cells === undefined) throw new RangeError(`${this.name}.${key}: saved value is not a ${scalar}`);
      values.push([key, isScalar ? cells[0]! : cells]);
    }
    for (const key of Object.keys(saved.fields))
      if (!Object.hasOwn(this.fields, key) || this.#transient.has(key))
        throw new RangeError(`${this.name}: saved state has an unknown field ${key}`);
    const target = view as Record<string, unknown>;
    for (const [key, value] of values) {
      if (typeof value === 'object') (target[key] as { set(v: typeof value): void }).set(value);
      else target[key] = value;
    }
  }
}

export function struct<const F extends Fields>(
  name: string,
  version: number,
  fields: F,
  transient: readonly (keyof F & string)[] = [],
): Struct<F> {
  return new Struct(name, version, fields, transient);
}
