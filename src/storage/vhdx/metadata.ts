/** The metadata region and its known items: [MS-VHDX] 2.6. */
import { guidText } from '../../support/guid.ts';
import { sameGuid } from '../../support/guids.ts';
import { ascii, decodeUtf16, encodeUtf16, hasSignature, printable } from '../../support/text.ts';
import { corrupt, type Region, unsupported } from './header.ts';
import {
  FILE_PARAMETERS,
  FileFlag,
  FileParameters,
  KIB,
  LOGICAL_SECTOR_SIZE,
  LocatorEntry,
  LocatorHeader,
  MAXIMUM_BLOCK_SIZE,
  MAXIMUM_DISK_SIZE,
  MAXIMUM_METADATA_ITEMS,
  METADATA_SIGNATURE,
  METADATA_TABLE_SIZE,
  MetadataEntry,
  MetadataFlag,
  MetadataTableHeader,
  MIB,
  MINIMUM_BLOCK_SIZE,
  PARENT_LOCATOR,
  PHYSICAL_SECTOR_SIZE,
  VHDX_LOCATOR,
  VIRTUAL_DISK_ID,
  VIRTUAL_DISK_SIZE,
} from './protocol.ts';
import type { FileView } from './view.ts';

export interface Metadata {
  readonly blockSize: number;
  readonly leaveBlocksAllocated: boolean;
  readonly hasParent: boolean;
  readonly diskSize: number;
  readonly diskId: Uint8Array;
  readonly logicalSectorSize: number;
  readonly physicalSectorSize: number;
  /** Of a differencing disk: what says where the parent is, and which one. */
  readonly locator: ReadonlyMap<string, string> | undefined;
}

const KNOWN = [
  FILE_PARAMETERS,
  VIRTUAL_DISK_SIZE,
  VIRTUAL_DISK_ID,
  LOGICAL_SECTOR_SIZE,
  PHYSICAL_SECTOR_SIZE,
  PARENT_LOCATOR,
];
/** A locator is a handful of paths. */
const LARGEST_LOCATOR = 64 * KIB;

/** @param region Where the metadata is. @throws DiskError */
export async function readMetadata(view: FileView, region: Region): Promise<Metadata> {
  const { file } = view;
  const table = new Uint8Array(METADATA_TABLE_SIZE);
  if ((await view.read(region.offset, table)) < table.length) throw corrupt(file, 'the file ends in its metadata');
  if (!hasSignature(table, METADATA_SIGNATURE)) throw corrupt(file, 'the metadata table has no signature');
  const { entryCount } = MetadataTableHeader.read(table);
  if (entryCount > MAXIMUM_METADATA_ITEMS) throw corrupt(file, `${entryCount} metadata items`);

  const items = new Map<string, { readonly offset: number; readonly length: number }>();
  for (let i = 0; i < entryCount; i++) {
    const entry = MetadataEntry.read(table, MetadataTableHeader.size + i * MetadataEntry.size);
    const name = guidText(entry.itemId);
    if ((entry.flags & MetadataFlag.user) === 0 && KNOWN.some((id) => sameGuid(id, entry.itemId))) {
      if (items.has(name)) throw corrupt(file, `metadata item ${name} is there twice`);
      if (entry.length > MIB || entry.offset < METADATA_TABLE_SIZE || entry.offset + entry.length > region.length)
        throw corrupt(file, `metadata item ${name} has an impossible place`);
      items.set(name, { offset: region.offset + entry.offset, length: entry.length });
    } else if ((entry.flags & MetadataFlag.required) !== 0)
      throw unsupported(file, `unknown metadata item ${name}, which must be understood`);
  }
  const read = async (id: Uint8Array, what: string, size: number): Promise<DataView> => {
    const item = items.get(guidText(id));
    if (item === undefined || item.length < size) throw corrupt(file, `the metadata lack the ${what}`);
    const bytes = new Uint8Array(size);
    if ((await view.read(item.offset, bytes)) < size) throw corrupt(file, `the file ends in the ${what}`);
    return new DataView(bytes.buffer);
  };

  const parameters = FileParameters.read(new Uint8Array((await read(FILE_PARAMETERS, 'file parameters', 8)).buffer));
  const { blockSize } = parameters;
  if (blockSize < MINIMUM_BLOCK_SIZE || blockSize > MAXIMUM_BLOCK_SIZE || (blockSize & (blockSize - 1)) !== 0)
    throw corrupt(file, `blocks of ${blockSize} bytes`);
  const sectorSize = async (id: Uint8Array, what: string): Promise<number> => {
    const size = (await read(id, what, 4)).getUint32(0, true);
    if (size !== 512 && size !== 4096) throw corrupt(file, `the ${what} is ${size}`);
    return size;
  };
  const logicalSectorSize = await sectorSize(LOGICAL_SECTOR_SIZE, 'logical sector size');
  const physicalSectorSize = await sectorSize(PHYSICAL_SECTOR_SIZE, 'physical sector size');
  const size = (await read(VIRTUAL_DISK_SIZE, 'virtual disk size', 8)).getBigUint64(0, true);
  if (size === 0n || size > BigInt(MAXIMUM_DISK_SIZE) || size % BigInt(logicalSectorSize) !== 0n)
    throw corrupt(file, `a virtual disk of ${size} bytes`);
  const diskId = new Uint8Array((await read(VIRTUAL_DISK_ID, 'virtual disk identifier', 16)).buffer);

  const hasParent = (parameters.flags & FileFlag.hasParent) !== 0;
  let locator: Map<string, string> | undefined;
  if (hasParent) {
    const item = items.get(guidText(PARENT_LOCATOR));
    if (item === undefined) throw corrupt(file, 'a differencing disk without a parent locator');
    if (item.length > LARGEST_LOCATOR) throw corrupt(file, `a parent locator of ${item.length} bytes`);
    const bytes = new Uint8Array((await read(PARENT_LOCATOR, 'parent locator', item.length)).buffer);
    const decoded = decodeLocator(bytes);
    if (typeof decoded === 'string') throw corrupt(file, `the parent locator ${decoded}`);
    locator = decoded;
  }
  return {
    blockSize,
    leaveBlocksAllocated: !hasParent && (parameters.flags & FileFlag.leaveBlocksAllocated) !== 0,
    hasParent,
    diskSize: Number(size),
    diskId,
    logicalSectorSize,
    physicalSectorSize,
    locator,
  };
}

/** The locator's pairs, or what is wrong with it. */
export function decodeLocator(bytes: Uint8Array): Map<string, string> | string {
  if (bytes.length < LocatorHeader.size) return 'is cut off';
  const header = LocatorHeader.read(bytes);
  if (!sameGuid(header.type, VHDX_LOCATOR)) return `has the unknown type ${guidText(header.type)}`;
  if (LocatorHeader.size + header.count * LocatorEntry.size > bytes.length)
    return `cannot hold ${header.count} entries`;
  const pairs = new Map<string, string>();
  const text = (offset: number, length: number): string | undefined =>
    offset + length > bytes.length ? undefined : decodeUtf16(bytes.subarray(offset, offset + length));
  for (let i = 0; i < header.count; i++) {
    const entry = LocatorEntry.read(bytes, LocatorHeader.size + i * LocatorEntry.size);
    const key = text(entry.keyOffset, entry.keyLength);
    const value = text(entry.valueOffset, entry.valueLength);
    if (key === undefined || value === undefined) return `has an entry outside of it`;
    if (pairs.has(key)) return `has '${printable(key, 40)}' twice`;
    pairs.set(key, value);
  }
  return pairs;
}

export function encodeLocator(pairs: ReadonlyMap<string, string>): Uint8Array {
  let at = LocatorHeader.size + pairs.size * LocatorEntry.size;
  const texts: [number, Uint8Array][] = [];
  const entries = [...pairs].map(([key, value]) => {
    const [k, v] = [encodeUtf16(key), encodeUtf16(value)];
    const entry = { keyOffset: at, valueOffset: at + k.length, keyLength: k.length, valueLength: v.length };
    texts.push([entry.keyOffset, k], [entry.valueOffset, v]);
    at += k.length + v.length;
    return entry;
  });
  const bytes = new Uint8Array(at);
  LocatorHeader.write(bytes, { type: VHDX_LOCATOR, count: entries.length });
  entries.forEach((entry, i) => {
    LocatorEntry.write(bytes, entry, LocatorHeader.size + i * LocatorEntry.size);
  });
  for (const [offset, text] of texts) bytes.set(text, offset);
  return bytes;
}

/** Where encodeMetadata puts the disk's size within the region: it is the one item that changes. */
export async function sizeItemOffset(view: FileView, region: Region): Promise<number> {
  const table = new Uint8Array(METADATA_TABLE_SIZE);
  await view.read(region.offset, table);
  const { entryCount } = MetadataTableHeader.read(table);
  for (let i = 0; i < entryCount; i++) {
    const entry = MetadataEntry.read(table, MetadataTableHeader.size + i * MetadataEntry.size);
    if (sameGuid(entry.itemId, VIRTUAL_DISK_SIZE)) return region.offset + entry.offset;
  }
  throw corrupt(view.file, 'the metadata lack the virtual disk size');
}

/** How many items there are, known ones or not. */
export async function metadataItems(view: FileView, region: Region): Promise<number> {
  const table = new Uint8Array(MetadataTableHeader.size);
  await view.read(region.offset, table);
  return MetadataTableHeader.read(table).entryCount;
}

/** The beginning of a metadata region; the rest of it is zeroes. */
export function encodeMetadata(metadata: Metadata): Uint8Array {
  const { required, virtualDisk } = MetadataFlag;
  const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
  const flags =
    (metadata.leaveBlocksAllocated ? FileFlag.leaveBlocksAllocated : 0) | (metadata.hasParent ? FileFlag.hasParent : 0);
  const items: [Uint8Array, Uint8Array, number][] = [
    [FILE_PARAMETERS, FileParameters.bytes({ blockSize: metadata.blockSize, flags }), required],
    [VIRTUAL_DISK_SIZE, new Uint8Array(BigUint64Array.of(BigInt(metadata.diskSize)).buffer), required | virtualDisk],
    [VIRTUAL_DISK_ID, metadata.diskId, required | virtualDisk],
    [LOGICAL_SECTOR_SIZE, u32(metadata.logicalSectorSize), required | virtualDisk],
    [PHYSICAL_SECTOR_SIZE, u32(metadata.physicalSectorSize), required | virtualDisk],
  ];
  if (metadata.locator !== undefined) items.push([PARENT_LOCATOR, encodeLocator(metadata.locator), required]);
  const bytes = new Uint8Array(METADATA_TABLE_SIZE + items.reduce((sum, [, value]) => sum + value.length, 0));
  MetadataTableHeader.write(bytes, { signature: ascii(METADATA_SIGNATURE), entryCount: items.length });
  let at = METADATA_TABLE_SIZE;
  items.forEach(([itemId, value, itemFlags], i) => {
    const entry = { itemId, offset: at, length: value.length, flags: itemFlags };
    MetadataEntry.write(bytes, entry, MetadataTableHeader.size + i * MetadataEntry.size);
    bytes.set(value, at);
    at += value.length;
  });
  return bytes;
}
