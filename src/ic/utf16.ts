/** Text as guests of Hyper-V exchange it: UTF-16, little-endian, NUL-terminated. */

/** Writes text and its terminator; bytes written. @throws RangeError when that is more than `room` bytes. */
export function writeUtf16(into: DataView, at: number, text: string, room: number): number {
  const size = (text.length + 1) * 2;
  if (size > room) throw new RangeError(`text of ${text.length} characters, where ${room / 2 - 1} fit`);
  for (let i = 0; i < text.length; i++) into.setUint16(at + i * 2, text.charCodeAt(i), true);
  into.setUint16(at + text.length * 2, 0, true);
  return size;
}

/** Reads text of at most `size` bytes, up to its terminator. */
export function readUtf16(from: DataView, at: number, size: number): string {
  let text = '';
  const end = Math.min(at + (size & ~1), from.byteLength - 1);
  for (let i = at; i < end; i += 2) {
    const unit = from.getUint16(i, true);
    if (unit === 0) break;
    text += String.fromCharCode(unit);
  }
  return text;
}
