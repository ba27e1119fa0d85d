/** A tiny LZ4 legacy encoder for tests: greedy, one hash table, correct rather than tight. */

const MAXIMUM_OFFSET = 65535;
/** The last five bytes of a block are literals, and no match starts in its last twelve ("end of block conditions"). */
const LAST_LITERALS = 5;
const NO_MATCH_TAIL = 12;

function u32(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff];
}

function lengthTail(length: number): number[] {
  if (length < 15) return [];
  const tail: number[] = [];
  let rest = length - 15;
  for (; rest >= 255; rest -= 255) tail.push(255);
  return [...tail, rest];
}

function sequence(literals: Uint8Array, match?: { offset: number; length: number }): number[] {
  const matchCode = match === undefined ? 0 : match.length - 4;
  const bytes = [(Math.min(literals.length, 15) << 4) | Math.min(matchCode, 15)];
  bytes.push(...lengthTail(literals.length), ...literals);
  if (match !== undefined) bytes.push(match.offset & 0xff, match.offset >>> 8, ...lengthTail(matchCode));
  return bytes;
}

function encodeBlock(content: Uint8Array): number[] {
  const seen = new Map<string, number>();
  const out: number[] = [];
  let from = 0;
  for (let at = 0; at < content.length - NO_MATCH_TAIL; at++) {
    const key = content.subarray(at, at + 4).join();
    const candidate = seen.get(key);
    seen.set(key, at);
    if (candidate === undefined || at - candidate > MAXIMUM_OFFSET) continue;
    let length = 4;
    while (at + length < content.length - LAST_LITERALS && content[candidate + length] === content[at + length])
      length++;
    out.push(...sequence(content.subarray(from, at), { offset: at - candidate, length }));
    at += length - 1;
    from = at + 1;
  }
  out.push(...sequence(content.subarray(from)));
  return out;
}

export function encodeLz4Legacy(content: Uint8Array, blockSize = 8 * 1024 * 1024): Uint8Array {
  const out = [0x02, 0x21, 0x4c, 0x18];
  for (let at = 0; at < content.length; at += blockSize) {
    const block = encodeBlock(content.subarray(at, at + blockSize));
    out.push(...u32(block.length), ...block);
  }
  return Uint8Array.from(out);
}
