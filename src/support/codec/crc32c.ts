/** CRC-32C (Castagnoli, RFC 3720 appendix B.4), eight bytes at a time with derived tables. Checksum of VHDX structures. */

const STEP = 8;
/** Eight tables of 256, one after the other: entry `n * 256 + byte` is what `byte` does with `n` bytes of zero behind it. */
const TABLES: Int32Array = makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(STEP * 256);
  for (let i = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    tables[i] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const previous = tables[i - 256] as number;
    tables[i] = (previous >>> 8) ^ (tables[previous & 0xff] as number);
  }
  return tables;
}

/** @param before The checksum of the bytes that go before these, to continue it. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let crc = ~before;
  let at = 0;
  for (const end = bytes.length - STEP; at <= end; at += STEP) {
    const low = view.getInt32(at, true) ^ crc;
    const high = view.getInt32(at + 4, true);
    crc =
      (TABLES[1792 + (low & 0xff)] as number) ^
      (TABLES[1536 + ((low >>> 8) & 0xff)] as number) ^
      (TABLES[1280 + ((low >>> 16) & 0xff)] as number) ^
      (TABLES[1024 + (low >>> 24)] as number) ^
      (TABLES[768 + (high & 0xff)] as number) ^
      (TABLES[512 + ((high >>> 8) & 0xff)] as number) ^
      (TABLES[256 + ((high >>> 16) & 0xff)] as number) ^
      (TABLES[high >>> 24] as number);
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ (TABLES[(crc ^ (bytes[at] as number)) & 0xff] as number);
  return ~crc >>> 0;
}
