/** Comparing and making GUIDs; guid.ts has their text. */

export const ZERO_GUID: Uint8Array = new Uint8Array(16);

export function sameGuid(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}

export function isZeroGuid(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** A random (version 4) GUID out of 16 random bytes. */
export function guidFromRandom(random: Uint8Array): Uint8Array {
  const bytes = random.slice(0, 16);
  bytes[7] = ((bytes[7] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return bytes;
}
