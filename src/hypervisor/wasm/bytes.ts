/** A growing byte buffer with the WebAssembly binary format's integers (LEB128) and names. */

const text = new TextEncoder();

/** Numbers that a piece of code leaves out while it is recorded (stencil.ts): what each is, where it belongs and which one. */
export const Hole = { LOCAL: 0, CALLEE: 1, BRANCH: 2, WORD: 3, LONG: 4, HINT: 5 } as const;
export interface HoleAt {
  readonly kind: number;
  readonly at: number;
  readonly value: number;
}

export class ByteWriter {
  #bytes = new Uint8Array(1024);
  length = 0;
  /** Where numbers are left out; undefined: nowhere. */
  holes: HoleAt[] | undefined;

  #reserve(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.length++] = value;
  }

  raw(values: ArrayLike<number>): void {
    this.#reserve(values.length);
    // Copying a few bytes costs less than asking for it.
    if (values.length > 16) this.#bytes.set(values, this.length);
    else for (let i = 0; i < values.length; i++) this.#bytes[this.length + i] = values[i] as number;
    this.length += values.length;
  }

  /** A stretch of another array; short ones, most often. */
  copy(bytes: Uint8Array, from: number, to: number): void {
    const count = to - from;
    this.#reserve(count);
    if (count > 32) this.#bytes.set(bytes.subarray(from, to), this.length);
    else for (let i = 0; i < count; i++) this.#bytes[this.length + i] = bytes[from + i] as number;
    this.length += count;
  }

  /** The number of a local, a function or a label. */
  index(kind: number, value: number): void {
    if (this.holes) this.holes.push({ kind, at: this.length, value });
    else this.unsigned(value);
  }

  /** Replaces a byte that has been written. */
  patch(at: number, value: number): void {
    this.#bytes[at] = value;
  }

  /** Unsigned LEB128 of a value below 2^32. */
  unsigned(value: number): void {
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** Signed LEB128 of a 32-bit value. */
  signed32(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && !(low & 0x40)) || (rest === -1 && low & 0x40)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  /** Signed LEB128 of a 64-bit value. */
  signed64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    if (rest >= -0x80000000n && rest <= 0x7fffffffn) {
      this.signed32(Number(rest));
      return;
    }
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && !(low & 0x40)) || (rest === -1n && low & 0x40)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  /** The same of a number where it is a safe integer. */
  signed(value: number | bigint): void {
    if (typeof value === 'number' && value === (value | 0)) this.signed32(value);
    else this.signed64(BigInt(value));
  }

  name(value: string): void {
    const bytes = text.encode(value);
    this.unsigned(bytes.length);
    this.raw(bytes);
  }

  /** The bytes written so far: a view that is valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length);
  }
}
