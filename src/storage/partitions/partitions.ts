/** Reads partition tables: GPT, by its second copy where the first is damaged, or the master boot record's. */
import { crc32 } from '../../support/codec/crc32.ts';
import { guidText } from '../../support/guid.ts';
import { decodeUtf16, hasSignature, printable } from '../../support/text.ts';
import { readBytes, type VolumeRange } from '../ext4/volume.ts';
import {
  EXTENDED_TYPES,
  GPT_HEADER_CRC,
  GPT_SIGNATURE,
  GptEntry,
  GptHeader,
  MBR_DISK_ID,
  MBR_ENTRIES,
  MBR_ENTRY_COUNT,
  MBR_SIGNATURE,
  MBR_SIZE,
  MbrEntry,
  MbrType,
} from './protocol.ts';

type Device = VolumeRange['device'];

export interface DiskPartition {
  /** As the kernel counts: /dev/sda1 is 1. */
  readonly number: number;
  /** Bytes. */
  readonly offset: number;
  readonly size: number;
  /** A GUID, or two hexadecimal digits. */
  readonly type: string;
  /** The kernel's `PARTUUID`. */
  readonly id: string;
  readonly name: string;
}

/** No table that people make has more. */
const MOST_ENTRIES = 1024;
const LARGEST_ENTRY = 4096;
/** Partitions in a chain of extended ones. */
const LONGEST_CHAIN = 128;

/** Empty where the disk has no table, or one that makes no sense. */
export async function readPartitions(device: Device): Promise<DiskPartition[]> {
  if (device.size < MBR_SIZE) return [];
  const sector = await readBytes(device, 0, MBR_SIZE);
  if (sector[MBR_SIGNATURE] !== 0x55 || sector[MBR_SIGNATURE + 1] !== 0xaa) return [];
  const entries = mbrEntries(sector);
  if (entries.some(({ type }) => type === MbrType.gptProtective)) {
    const last = Math.floor(device.size / device.logicalSectorSize) - 1;
    return (await readGpt(device, 1)) ?? (await readGpt(device, last)) ?? [];
  }
  return await readMbr(device, sector);
}

function mbrEntries(sector: Uint8Array) {
  return Array.from({ length: MBR_ENTRY_COUNT }, (_, i) => MbrEntry.read(sector, MBR_ENTRIES + i * MbrEntry.size));
}

async function readMbr(device: Device, sector: Uint8Array): Promise<DiskPartition[]> {
  const unit = device.logicalSectorSize;
  const sectors = Math.floor(device.size / unit);
  const diskId = new DataView(sector.buffer, sector.byteOffset).getUint32(MBR_DISK_ID, true);
  const found: DiskPartition[] = [];
  const add = (number: number, start: number, count: number, type: number): void => {
    // What reaches past the disk's end is cut; what begins there is none.
    const size = Math.min(count, sectors - start) * unit;
    if (type === MbrType.empty || start === 0 || size <= 0) return;
    const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
    const id = `${hex(diskId, 8)}-${hex(number, 2)}`;
    found.push({ number, offset: start * unit, size, type: hex(type, 2), id, name: '' });
  };
  let extended = 0;
  for (const [i, { type, startingLba, sizeInLba }] of mbrEntries(sector).entries()) {
    if (EXTENDED_TYPES.includes(type)) extended ||= startingLba;
    else add(i + 1, startingLba, sizeInLba, type);
  }
  // Each table in the chain names one partition, from itself on, and the next table, from the chain's start on.
  const seen = new Set<number>();
  for (let at = extended; at > 0 && at < sectors && !seen.has(at) && seen.size < LONGEST_CHAIN; ) {
    seen.add(at);
    const table = await readBytes(device, at * unit, MBR_SIZE);
    if (table[MBR_SIGNATURE] !== 0x55 || table[MBR_SIGNATURE + 1] !== 0xaa) break;
    const [logical, next] = mbrEntries(table);
    add(MBR_ENTRY_COUNT + seen.size, at + logical!.startingLba, logical!.sizeInLba, logical!.type);
    at = EXTENDED_TYPES.includes(next!.type) && next!.startingLba > 0 ? extended + next!.startingLba : 0;
  }
  return found;
}

async function readGpt(device: Device, lba: number): Promise<DiskPartition[] | undefined> {
  const unit = device.logicalSectorSize;
  const sectors = Math.floor(device.size / unit);
  if (lba < 1 || lba >= sectors) return undefined;
  const bytes = await readBytes(device, lba * unit, unit);
  if (!hasSignature(bytes, GPT_SIGNATURE)) return undefined;
  const header = GptHeader.read(bytes);
  const { headerSize, numberOfPartitionEntries: count, sizeOfPartitionEntry: size } = header;
  if (headerSize < GptHeader.size || headerSize > unit) return undefined;
  const checked = bytes.slice(0, headerSize);
  checked.fill(0, GPT_HEADER_CRC, GPT_HEADER_CRC + 4);
  if (crc32(checked) !== header.headerCrc32 || header.myLba !== BigInt(lba)) return undefined;
  if (count > MOST_ENTRIES || size < GptEntry.size || size > LARGEST_ENTRY) return undefined;
  const end = header.partitionEntryLba * BigInt(unit) + BigInt(count * size);
  if (header.partitionEntryLba < 1n || end > BigInt(sectors * unit)) return undefined;
  const table = await readBytes(device, Number(header.partitionEntryLba) * unit, count * size);
  if (crc32(table) !== header.partitionEntryArrayCrc32) return undefined;

  const found: DiskPartition[] = [];
  for (let i = 0; i < count; i++) {
    const entry = GptEntry.read(table, i * size);
    const { startingLba, endingLba } = entry;
    if (entry.partitionTypeGuid.every((byte) => byte === 0)) continue;
    if (startingLba < 1n || endingLba < startingLba || endingLba >= BigInt(sectors)) continue;
    found.push({
      number: i + 1,
      offset: Number(startingLba) * unit,
      size: Number(endingLba - startingLba + 1n) * unit,
      type: guidText(entry.partitionTypeGuid),
      id: guidText(entry.uniquePartitionGuid),
      name: printable(decodeUtf16(entry.partitionName)),
    });
  }
  return found;
}
