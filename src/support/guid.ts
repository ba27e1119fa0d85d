/**
 * GUIDs in Microsoft's memory order: the first three groups little-endian, the last two as written ([MS-DTYP], section
 * 2.3.4.2).
 */

const SHAPE = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
/** Which byte of the text's digits stands at each place in memory. */
const ORDER = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15] as const;
/** The bytes before which a group begins. */
const GROUPS: readonly number[] = [4, 6, 8, 10];
const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export const GUID_SIZE = 16;

/** @throws RangeError when the text is no GUID. */
export function guidBytes(text: string): Uint8Array<ArrayBuffer> {
  if (!SHAPE.test(text)) throw new RangeError(`not a GUID: ${text}`);
  const digits = text.replaceAll('-', '');
  return Uint8Array.from(ORDER, (at) => Number.parseInt(digits.slice(at * 2, at * 2 + 2), 16));
}

/** @param bytes 16 of them. */
export function guidText(bytes: Uint8Array): string {
  return guidTextInOrder(Uint8Array.from(ORDER, (at) => bytes[at] as number));
}

/** A UUID whose bytes stand in the order in which they are written (RFC 9562), as Linux's file systems have them. */
export function guidTextInOrder(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < GUID_SIZE; i++) text += `${GROUPS.includes(i) ? '-' : ''}${HEX[bytes[i] as number]}`;
  return text;
}
