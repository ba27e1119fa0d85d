/** CRC-32 (ISO 3309, the polynomial of gzip and XZ). */
import { crcOf, crcTables } from './crc.ts';

const TABLES = crcTables(0xedb88320);

export function crc32(bytes: Uint8Array): number {
  return crcOf(TABLES, bytes, 0);
}
