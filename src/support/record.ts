/**
 * Packed records of file formats and wire protocols: a layout turns bytes into a plain object of copied values and back.
 * (For state that lives in shared memory see struct.ts.) Fields follow each other without padding; a `u64` is a bigint.
 */

export type RecordField = 'u8' | 'u16' | 'u32' | 'u64' | number;

type RecordValue<T extends RecordField> = T extends 'u64' ? bigint : T extends number ? Uint8Array : number;

export type RecordFields = Readonly<Record<string, RecordField>>;
export type RecordOf<L> = L extends RecordLayout<infer F> ? { -readonly [K in keyof F]: RecordValue<F[K]> } : never;
type Values<F extends RecordFields> = { -readonly [K in keyof F]: RecordValue<F[K]> };

const WIDTH = { u8: 1, u16: 2, u32: 4, u64: 8 } as const;

export class RecordLayout<F extends RecordFields> {
  /** Bytes. */
  readonly size: number;
  readonly #little: boolean;
  readonly #fields: readonly (readonly [name: string, type: RecordField, offset: number])[];

  constructor(order: 'little' | 'big', fields: F) {
    this.#little = order === 'little';
    let at = 0;
    this.#fields = Object.entries(fields).map(([name, type]) => {
      const offset = at;
      at += typeof type === 'number' ? type : WIDTH[type];
      return [name, type, offset] as const;
    });
    this.size = at;
  }

  offset(field: keyof F & string): number {
    return this.#fields.find(([name]) => name === field)![2];
  }

  /** The values at `at`; bytes are copied. @throws RangeError when there are not enough bytes. */
  read(bytes: Uint8Array, at = 0): Values<F> {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const values: Record<string, number | bigint | Uint8Array> = {};
    for (const [name, type, offset] of this.#fields) {
      const where = at + offset;
      if (typeof type === 'number') {
        if (where + type > bytes.length) throw new RangeError('the record lies outside the bytes');
        values[name] = bytes.slice(where, where + type);
      } else if (type === 'u8') values[name] = view.getUint8(where);
      else if (type === 'u16') values[name] = view.getUint16(where, this.#little);
      else if (type === 'u32') values[name] = view.getUint32(where, this.#little);
      else values[name] = view.getBigUint64(where, this.#little);
    }
    return values as Values<F>;
  }

  /** Writes what is given, zeroes for the rest of the record. */
  write(bytes: Uint8Array, values: Partial<Values<F>>, at = 0): Uint8Array {
    bytes.fill(0, at, at + this.size);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (const [name, type, offset] of this.#fields) {
      const value = (values as Record<string, number | bigint | Uint8Array | undefined>)[name];
      if (value === undefined) continue;
      const where = at + offset;
      if (typeof type === 'number') {
        const from = value as Uint8Array;
        if (from.length > type) throw new RangeError(`${name}: ${from.length} bytes do not fit into ${type}`);
        bytes.set(from, where);
      } else if (type === 'u8') view.setUint8(where, value as number);
      else if (type === 'u16') view.setUint16(where, value as number, this.#little);
      else if (type === 'u32') view.setUint32(where, value as number, this.#little);
      else view.setBigUint64(where, value as bigint, this.#little);
    }
    return bytes;
  }

  /** A new array that holds the record. */
  bytes(values: Partial<Values<F>>): Uint8Array {
    return this.write(new Uint8Array(this.size), values);
  }
}

export function record<const F extends RecordFields>(order: 'little' | 'big', fields: F): RecordLayout<F> {
  return new RecordLayout(order, fields);
}
