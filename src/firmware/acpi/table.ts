/** The frame of every ACPI table (ACPI 6.5, section 5.2.6, "System Description Table Header"). */

export const TABLE_HEADER_SIZE = 36;

const OEM_ID = 'VIRIDN';
const OEM_TABLE_ID = 'VIRIDIAN';
const OEM_REVISION = 1;
const CREATOR_ID = 'VIRD';
const CREATOR_REVISION = 1;

export function writeAscii(bytes: Uint8Array, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
}

/** What must stand at a table's checksum for its bytes to add up to 0 modulo 256. */
export function checksum(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}

export function writeOemId(bytes: Uint8Array, at: number): void {
  writeAscii(bytes, at, OEM_ID);
}

/** A table of header and body, with its checksum. */
export function table(signature: string, revision: number, body: Uint8Array | readonly number[]): Uint8Array {
  const bytes = new Uint8Array(TABLE_HEADER_SIZE + body.length);
  const view = new DataView(bytes.buffer);
  writeAscii(bytes, 0, signature);
  view.setUint32(4, bytes.length, true);
  view.setUint8(8, revision);
  writeOemId(bytes, 10);
  writeAscii(bytes, 16, OEM_TABLE_ID);
  view.setUint32(24, OEM_REVISION, true);
  writeAscii(bytes, 28, CREATOR_ID);
  view.setUint32(32, CREATOR_REVISION, true);
  bytes.set(body, TABLE_HEADER_SIZE);
  view.setUint8(9, checksum(bytes));
  return bytes;
}
