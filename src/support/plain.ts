/**
 * Reading plain data that came out of a file: nothing in it is believed before it was looked at. Every function throws
 * RangeError, naming what makes no sense.
 */

export type PlainRecord = Readonly<Record<string, unknown>>;

export function asRecord(value: unknown, what: string): PlainRecord {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(what);
  return value as PlainRecord;
}

export function asArray(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) refuse(what);
  return value;
}

/** A whole number from 0 to `most`. */
export function asWhole(value: unknown, what: string, most: number = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > most) refuse(what);
  return value;
}

export function asBoolean(value: unknown, what: string): boolean {
  if (typeof value !== 'boolean') refuse(what);
  return value;
}

export function asText(value: unknown, what: string): string {
  if (typeof value !== 'string') refuse(what);
  return value;
}

export function asOneOf<T extends string>(value: unknown, choices: readonly T[], what: string): T {
  if (!(choices as readonly unknown[]).includes(value)) refuse(what);
  return value as T;
}

/** Bytes that `hexOf` wrote. */
export function asBytes(value: unknown, what: string): Uint8Array<ArrayBuffer> {
  if (typeof value !== 'string' || !/^(?:[0-9a-f]{2})*$/.test(value)) refuse(what);
  const bytes = new Uint8Array(value.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(value.slice(i * 2, i * 2 + 2), 16);
  return bytes;
}

export function hexOf(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

function refuse(what: string): never {
  throw new RangeError(`${what} makes no sense`);
}
