/** Footer and dynamic disk header of a VHD, checked: "Hard Disk Footer Format", "Dynamic Disk Header Format". */
import type { RandomFile } from '../../host/disk-files.ts';
import { ascii, decodeUtf16, encodeUtf16, hasSignature } from '../../support/text.ts';
import { DiskError } from '../disk.ts';
import {
  DiskType,
  DYNAMIC_COOKIE,
  DYNAMIC_HEADER_SIZE,
  DynamicHeader,
  EPOCH,
  FEATURES,
  FOOTER_COOKIE,
  FOOTER_SIZE,
  Footer,
  LOCATORS,
  Locator,
  MAXIMUM_BLOCK_SIZE,
  MAXIMUM_LOCATOR,
  MAXIMUM_TABLE_ENTRIES,
  MINIMUM_BLOCK_SIZE,
  NO_DATA,
  RELATIVE_LOCATOR,
  SECTOR,
  VERSION,
} from './protocol.ts';

/** The one's complement of the sum of all bytes, those of the checksum itself left out. */
export function checksum(bytes: Uint8Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) if (i < at || i >= at + 4) sum += bytes[i] as number;
  return ~sum >>> 0;
}

/** Cylinders, heads, sectors: the appendix "CHS Calculation". */
export function geometry(size: number): { cylinders: number; heads: number; sectorsPerTrack: number } {
  const total = Math.min(size / SECTOR, 65535 * 16 * 255);
  let sectorsPerTrack = 255;
  let heads = 16;
  let tracks = Math.floor(total / sectorsPerTrack);
  if (total < 65536 * 16 * 63) {
    sectorsPerTrack = 17;
    tracks = Math.floor(total / sectorsPerTrack);
    heads = Math.max(4, Math.floor((tracks + 1023) / 1024));
    if (tracks >= heads * 1024 || heads > 16) {
      sectorsPerTrack = 31;
      heads = 16;
      tracks = Math.floor(total / sectorsPerTrack);
    }
    if (tracks >= heads * 1024) {
      sectorsPerTrack = 63;
      heads = 16;
      tracks = Math.floor(total / sectorsPerTrack);
    }
  }
  return { cylinders: Math.floor(tracks / heads), heads, sectorsPerTrack };
}

export function newFooter(size: number, type: number, uniqueId: Uint8Array, now: number): Footer {
  return {
    cookie: ascii(FOOTER_COOKIE),
    features: FEATURES,
    version: VERSION,
    dataOffset: type === DiskType.fixed ? NO_DATA : BigInt(FOOTER_SIZE),
    timeStamp: Math.max(0, Math.floor(now / 1000) - EPOCH) >>> 0,
    // Readers take the exact size from a footer of Hyper-V's; of an unknown creator they round it to the geometry.
    creator: ascii('win '),
    creatorVersion: 0x000a_0000,
    creatorHost: ascii('Wi2k'),
    originalSize: BigInt(size),
    currentSize: BigInt(size),
    ...geometry(size),
    type,
    checksum: 0,
    uniqueId,
    savedState: 0,
  };
}

export function encodeFooter(footer: Footer): Uint8Array {
  const bytes = Footer.write(new Uint8Array(FOOTER_SIZE), { ...footer, checksum: 0 });
  const at = Footer.offset('checksum');
  new DataView(bytes.buffer).setUint32(at, checksum(bytes, at));
  return bytes;
}

/** The footer, or why it is none. */
export function decodeFooter(bytes: Uint8Array): Footer | string {
  if (bytes.length < FOOTER_SIZE) return 'the file is too short';
  if (!hasSignature(bytes, FOOTER_COOKIE)) return 'no signature';
  const footer = Footer.read(bytes);
  if (footer.checksum !== checksum(bytes.subarray(0, FOOTER_SIZE), Footer.offset('checksum'))) return 'wrong checksum';
  return footer;
}

export interface Footers {
  readonly footer: Footer;
  /** The one at the end of the file, and the copy at its start, or why they are none. */
  readonly end: Footer | string;
  readonly start: Footer | string;
}

export async function readFooters(file: RandomFile): Promise<Footers> {
  const size = await file.size();
  const read = async (at: number): Promise<Footer | string> => {
    const bytes = new Uint8Array(FOOTER_SIZE);
    return at < 0 ? 'the file is too short' : decodeFooter(bytes.subarray(0, await file.read(at, bytes)));
  };
  const end = await read(size - FOOTER_SIZE);
  const start = await read(0);
  const footer = typeof end === 'string' ? start : end;
  if (typeof footer === 'string') throw corrupt(file, `no valid footer (${footer})`);
  // A fixed disk's first sector is the guest's: only its end counts.
  if (typeof end === 'string' && footer.type === DiskType.fixed) throw corrupt(file, `no valid footer (${end})`);
  if (footer.version >>> 16 !== VERSION >>> 16)
    throw new DiskError('unsupported', `${file.path}: version 0x${footer.version.toString(16)} of VHD is unknown`);
  const disk = footer.currentSize;
  if (disk === 0n || disk % BigInt(SECTOR) !== 0n || disk > 2n ** 41n) throw corrupt(file, `a disk of ${disk} bytes`);
  return { footer, end, start };
}

export interface SparseHeader {
  readonly header: DynamicHeader;
  readonly tableOffset: number;
  readonly blockSize: number;
  readonly entries: number;
  readonly parent: { readonly relative: string | undefined; readonly name: string } | undefined;
}

/** The dynamic disk header that a footer leads to. */
export async function readSparseHeader(file: RandomFile, footer: Footer): Promise<SparseHeader> {
  const bytes = new Uint8Array(DYNAMIC_HEADER_SIZE);
  const fileSize = await file.size();
  if (footer.dataOffset > BigInt(fileSize)) throw corrupt(file, 'the dynamic header lies outside the file');
  if ((await file.read(Number(footer.dataOffset), bytes)) < bytes.length)
    throw corrupt(file, 'the dynamic header is cut off');
  if (!hasSignature(bytes, DYNAMIC_COOKIE)) throw corrupt(file, 'the dynamic header has no signature');
  const header = DynamicHeader.read(bytes);
  if (header.checksum !== checksum(bytes, DynamicHeader.offset('checksum')))
    throw corrupt(file, 'the dynamic header has a wrong checksum');
  const { blockSize, maxTableEntries, tableOffset } = header;
  if (blockSize < MINIMUM_BLOCK_SIZE || blockSize > MAXIMUM_BLOCK_SIZE || (blockSize & (blockSize - 1)) !== 0)
    throw corrupt(file, `blocks of ${blockSize} bytes`);
  const needed = Math.ceil(Number(footer.currentSize) / blockSize);
  if (maxTableEntries < needed) throw corrupt(file, `a table of ${maxTableEntries} entries, ${needed} needed`);
  if (needed > MAXIMUM_TABLE_ENTRIES) throw corrupt(file, `a table of ${needed} entries`);
  if (tableOffset % BigInt(SECTOR) !== 0n || tableOffset + BigInt(needed * 4) > BigInt(fileSize))
    throw corrupt(file, `the block allocation table has an impossible place (${tableOffset})`);
  const differencing = footer.type === DiskType.differencing;
  return {
    header,
    tableOffset: Number(tableOffset),
    blockSize,
    entries: needed,
    parent: differencing ? await readParentNames(file, header) : undefined,
  };
}

async function readParentNames(file: RandomFile, header: DynamicHeader): Promise<NonNullable<SparseHeader['parent']>> {
  let relative: string | undefined;
  for (let i = 0; i < LOCATORS; i++) {
    const locator = Locator.read(header.locators, i * Locator.size);
    if (!hasSignature(locator.platform, RELATIVE_LOCATOR)) continue;
    if (locator.dataLength > MAXIMUM_LOCATOR || locator.dataOffset > BigInt(await file.size()))
      throw corrupt(file, 'a parent locator has an impossible place');
    const bytes = new Uint8Array(locator.dataLength);
    const count = await file.read(Number(locator.dataOffset), bytes);
    relative = decodeUtf16(bytes.subarray(0, count));
  }
  return { relative, name: decodeUtf16(header.parentName, 'big') };
}

/** Header and, behind it, the parent's name for others to find. */
export function encodeSparseHeader(header: DynamicHeader): Uint8Array {
  const bytes = DynamicHeader.write(new Uint8Array(DYNAMIC_HEADER_SIZE), { ...header, checksum: 0 });
  const at = DynamicHeader.offset('checksum');
  new DataView(bytes.buffer).setUint32(at, checksum(bytes, at));
  return bytes;
}

export function newSparseHeader(tableOffset: number, entries: number, blockSize: number): DynamicHeader {
  return {
    cookie: ascii(DYNAMIC_COOKIE),
    dataOffset: NO_DATA,
    tableOffset: BigInt(tableOffset),
    version: VERSION,
    maxTableEntries: entries,
    blockSize,
    checksum: 0,
    parentId: new Uint8Array(16),
    parentTimeStamp: 0,
    reserved: 0,
    parentName: new Uint8Array(512),
    locators: new Uint8Array(LOCATORS * Locator.size),
  };
}

/** @param relative Path with slashes. @returns the locator's data, which belongs at `offset`. */
export function addParent(
  header: DynamicHeader,
  parent: { readonly uniqueId: Uint8Array; readonly timeStamp: number; readonly relative: string },
  offset: number,
): Uint8Array {
  const path = parent.relative.replaceAll('/', '\\');
  const text = encodeUtf16(path.startsWith('..\\') ? path : `.\\${path}`);
  header.parentId = parent.uniqueId;
  header.parentTimeStamp = parent.timeStamp;
  header.parentName.set(encodeUtf16(path.slice(0, 255), 'big'));
  const locator = {
    platform: ascii(RELATIVE_LOCATOR),
    dataSpace: Math.ceil(text.length / SECTOR) * SECTOR,
    dataLength: text.length,
    dataOffset: BigInt(offset),
  };
  Locator.write(header.locators, locator, 0);
  const space = new Uint8Array(locator.dataSpace);
  space.set(text);
  return space;
}

export function corrupt(file: RandomFile, text: string): DiskError {
  return new DiskError('corrupt', `${file.path}: damaged VHD: ${text}`);
}
