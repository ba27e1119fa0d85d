/**
 * A module with its imported tables said to hold functions of any type: wabt knows of no others (Core Specification, "Binary Format:
 * Modules", import section).
 */
import { ByteWriter } from '../../src/hypervisor/wasm/bytes.ts';

const IMPORTS = 2;
const HEAD = 8;
const REFERENCE = 0x64;
const FUNCTION_REFERENCE = 0x70;

class Reader {
  readonly bytes: Uint8Array;
  at: number;
  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }
  byte(): number {
    return this.bytes[this.at++] as number;
  }
  unsigned(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }
  take(length: number): Uint8Array {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

export function withPlainTables(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const from = new Reader(bytes, HEAD);
  const to = new ByteWriter();
  to.raw(bytes.subarray(0, HEAD));
  while (from.at < bytes.length) {
    const id = from.byte();
    const content = from.take(from.unsigned());
    const written = id === IMPORTS ? importsOf(new Reader(content)) : content;
    to.byte(id);
    to.unsigned(written.length);
    to.raw(written);
  }
  return to.finish();
}

function importsOf(from: Reader): Uint8Array {
  const to = new ByteWriter();
  const count = from.unsigned();
  to.unsigned(count);
  for (let n = 0; n < count; n++) {
    for (let name = 0; name < 2; name++) {
      const length = from.unsigned();
      to.unsigned(length);
      to.raw(from.take(length));
    }
    const kind = from.byte();
    to.byte(kind);
    // Function: type. Table: element type, limits. Memory: limits. Tag: attribute, type.
    if (kind === 1) {
      if (from.byte() === REFERENCE) from.unsigned();
      to.byte(FUNCTION_REFERENCE);
    }
    const first = from.unsigned();
    to.unsigned(first);
    if (kind === 0) continue;
    to.unsigned(from.unsigned());
    if (kind !== 4 && first & 1) to.unsigned(from.unsigned());
  }
  return to.finish();
}
