/** CRC-32C (Castagnoli, RFC 3720 appendix B.4). Checksum of VHDX structures and of ext4. */
import { crcOf, crcTables } from './crc.ts';

const TABLES = crcTables(0x82f63b78);

/** @param before The checksum of the bytes that go before these, to continue it. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  return crcOf(TABLES, bytes, before);
}
