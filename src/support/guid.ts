/** GUIDs as Microsoft's formats store them: the first three groups little-endian, the last two as they are written. */

export type Guid = Uint8Array;

export const ZERO_GUID: Guid = new Uint8Array(16);

const ORDER = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15] as const;

/** @param text 32 hexadecimal digits in the usual groups, with or without braces. @throws RangeError */
export function guid(text: string): Guid {
  const digits = /^\{?([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})\}?$/i.exec(text.trim());
  if (digits === null) throw new RangeError(`'${text}' is no GUID`);
  const plain = digits.slice(1).join('');
  return Uint8Array.from(ORDER, (at) => Number.parseInt(plain.slice(at * 2, at * 2 + 2), 16));
}

/** Lower case, without braces. */
export function guidText(bytes: Guid): string {
  const hex = ORDER.map((at) => (bytes[at] as number).toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export function sameGuid(a: Guid, b: Guid): boolean {
  return a.every((byte, i) => byte === b[i]);
}

export function isZeroGuid(bytes: Guid): boolean {
  return bytes.every((byte) => byte === 0);
}

/** A random (version 4) GUID out of 16 random bytes. */
export function guidFromRandom(random: Uint8Array): Guid {
  const bytes = random.slice(0, 16);
  bytes[7] = ((bytes[7] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return bytes;
}
