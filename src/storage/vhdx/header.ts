/** Headers and region tables: [MS-VHDX] 2.2.2 and 2.2.3. */
import type { RandomFile } from '../../host/disk-files.ts';
import { crc32c } from '../../support/codec/crc32c.ts';
import { guidText } from '../../support/guid.ts';
import { sameGuid } from '../../support/guids.ts';
import { ascii, hasSignature } from '../../support/text.ts';
import { DiskError } from '../disk.ts';
import {
  BAT_REGION,
  CHECKSUM_OFFSET,
  FIRST_OBJECT,
  HEADER_OFFSETS,
  HEADER_SIGNATURE,
  HEADER_SIZE,
  Header,
  MAXIMUM_FILE_SIZE,
  MAXIMUM_REGIONS,
  METADATA_REGION,
  MIB,
  REGION_SIGNATURE,
  REGION_TABLE_SIZE,
  RegionEntry,
  RegionTableHeader,
} from './protocol.ts';

/** CRC-32C with the checksum field taken as zero. */
export function checksum(bytes: Uint8Array): number {
  const head = crc32c(new Uint8Array(4), crc32c(bytes.subarray(0, CHECKSUM_OFFSET)));
  return crc32c(bytes.subarray(CHECKSUM_OFFSET + 4), head);
}

export function putChecksum(bytes: Uint8Array): Uint8Array {
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(CHECKSUM_OFFSET, checksum(bytes), true);
  return bytes;
}

export function checksumIsRight(bytes: Uint8Array): boolean {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(CHECKSUM_OFFSET, true) === checksum(bytes);
}

export function encodeHeader(header: Omit<Header, 'signature' | 'checksum'>): Uint8Array {
  return putChecksum(Header.write(new Uint8Array(HEADER_SIZE), { ...header, signature: ascii(HEADER_SIGNATURE) }));
}

/** The header, or why it is none. */
export function decodeHeader(bytes: Uint8Array): Header | string {
  if (bytes.length < HEADER_SIZE) return 'the file ends before it';
  if (!hasSignature(bytes, HEADER_SIGNATURE)) return 'no signature';
  if (!checksumIsRight(bytes.subarray(0, HEADER_SIZE))) return 'wrong checksum';
  return Header.read(bytes);
}

export interface Headers {
  /** Both, or why one is none. */
  readonly slots: readonly [Header | string, Header | string];
  /** Which is current. */
  readonly current: 0 | 1;
  readonly header: Header;
}

export async function readHeaders(file: RandomFile): Promise<Headers> {
  const slot = async (at: number): Promise<Header | string> => {
    const bytes = new Uint8Array(HEADER_SIZE);
    return decodeHeader(bytes.subarray(0, await file.read(at, bytes)));
  };
  const slots = [await slot(HEADER_OFFSETS[0]), await slot(HEADER_OFFSETS[1])] as const;
  const [first, second] = slots;
  if (typeof first === 'string' && typeof second === 'string')
    throw corrupt(file, `neither header is valid (${first}; ${second})`);
  const current =
    typeof first === 'string' ? 1 : typeof second === 'string' || first.sequenceNumber >= second.sequenceNumber ? 0 : 1;
  const header = slots[current] as Header;
  checkHeader(file, header);
  return { slots, current, header };
}

function checkHeader(file: RandomFile, header: Header): void {
  if (header.version !== 1) throw unsupported(file, `version ${header.version} of the format is unknown`);
  const offset = Number(header.logOffset);
  if (offset % MIB !== 0 || header.logLength % MIB !== 0 || header.logLength === 0 || offset < FIRST_OBJECT)
    throw corrupt(file, `the log has an impossible place (${header.logLength} bytes at ${header.logOffset})`);
  if (offset > MAXIMUM_FILE_SIZE) throw corrupt(file, `the log has an impossible place (${header.logOffset})`);
}

export interface Region {
  readonly offset: number;
  readonly length: number;
}

export interface Regions {
  readonly bat: Region;
  readonly metadata: Region;
  /** Others, which the format allows us not to know. */
  readonly unknown: readonly Region[];
}

/** The regions of one table (64 KiB), or why it is none. */
export function decodeRegions(bytes: Uint8Array): Regions | string {
  if (bytes.length < REGION_TABLE_SIZE) return 'the file ends before it';
  if (!hasSignature(bytes, REGION_SIGNATURE)) return 'no signature';
  if (!checksumIsRight(bytes)) return 'wrong checksum';
  const { entryCount } = RegionTableHeader.read(bytes);
  if (entryCount > MAXIMUM_REGIONS) return `${entryCount} entries`;
  let bat: Region | undefined;
  let metadata: Region | undefined;
  const unknown: Region[] = [];
  const all: Region[] = [];
  for (let i = 0; i < entryCount; i++) {
    const entry = RegionEntry.read(bytes, RegionTableHeader.size + i * RegionEntry.size);
    const region = { offset: Number(entry.fileOffset), length: entry.length };
    const name = (): string => guidText(entry.guid);
    if (region.offset % MIB !== 0 || region.length % MIB !== 0 || region.length === 0 || region.offset < FIRST_OBJECT)
      return `region ${name()} has an impossible place (${region.length} bytes at ${entry.fileOffset})`;
    if (region.offset > MAXIMUM_FILE_SIZE) return `region ${name()} has an impossible place (${entry.fileOffset})`;
    const other = all.find((o) => o.offset < region.offset + region.length && region.offset < o.offset + o.length);
    if (other !== undefined) return `region ${name()} lies over another`;
    all.push(region);
    if (sameGuid(entry.guid, BAT_REGION)) {
      if (bat !== undefined) return 'two block allocation tables';
      bat = region;
    } else if (sameGuid(entry.guid, METADATA_REGION)) {
      if (metadata !== undefined) return 'two metadata regions';
      metadata = region;
    } else if ((entry.required & 1) !== 0) return `unknown region ${name()}, which must be understood`;
    else unknown.push(region);
  }
  if (bat === undefined) return 'no block allocation table';
  if (metadata === undefined) return 'no metadata region';
  return { bat, metadata, unknown };
}

export function encodeRegions(bat: Region, metadata: Region): Uint8Array {
  const bytes = new Uint8Array(REGION_TABLE_SIZE);
  RegionTableHeader.write(bytes, { signature: ascii(REGION_SIGNATURE), entryCount: 2 });
  const put = (index: number, id: Uint8Array, region: Region): void => {
    const values = { guid: id, fileOffset: BigInt(region.offset), length: region.length, required: 1 };
    RegionEntry.write(bytes, values, RegionTableHeader.size + index * RegionEntry.size);
  };
  put(0, BAT_REGION, bat);
  put(1, METADATA_REGION, metadata);
  return putChecksum(bytes);
}

export function corrupt(file: RandomFile, text: string): DiskError {
  return new DiskError('corrupt', `${file.path}: damaged VHDX: ${text}`);
}

export function unsupported(file: RandomFile, text: string): DiskError {
  return new DiskError('unsupported', `${file.path}: ${text}`);
}
