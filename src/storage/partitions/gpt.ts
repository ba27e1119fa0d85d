/** Writes a GUID partition table: the protective MBR, and both copies of header and entries (UEFI 2.10, section 5.3). */
import type { BlockDevice } from '../../contracts/block-device.ts';
import { crc32 } from '../../support/codec/crc32.ts';
import { guidBytes } from '../../support/guid.ts';
import { ascii, encodeUtf16 } from '../../support/text.ts';
import { DiskError } from '../disk.ts';
import {
  GPT_ENTRIES,
  GPT_HEADER_CRC,
  GPT_REVISION,
  GPT_SIGNATURE,
  GptEntry,
  GptHeader,
  MBR_ENTRIES,
  MBR_SIGNATURE,
  MBR_SIZE,
  MbrEntry,
  MbrType,
} from './protocol.ts';

export interface NewPartition {
  /** Bytes, both multiples of the logical sector size. */
  readonly offset: number;
  readonly size: number;
  readonly type: string;
  readonly id: string;
  readonly name: string;
}

/** What the second copy takes at the disk's end, rounded up so that partitions before it end where they are fast. */
export const GPT_TAIL = 2 ** 20;

/** @throws DiskError `range` when a partition does not fit between the copies of the table. */
export async function writeGpt(
  device: Pick<BlockDevice, 'size' | 'logicalSectorSize' | 'write'>,
  diskId: string,
  partitions: readonly NewPartition[],
): Promise<void> {
  const unit = device.logicalSectorSize;
  const last = device.size / unit - 1;
  const arraySectors = Math.ceil((GPT_ENTRIES * GptEntry.size) / unit);
  const firstUsable = 2 + arraySectors;
  const lastUsable = last - arraySectors - 1;

  const table = new Uint8Array(arraySectors * unit);
  for (const [i, { offset, size, type, id, name }] of partitions.entries()) {
    const [start, end] = [offset / unit, (offset + size) / unit - 1];
    if (!Number.isInteger(start) || !Number.isInteger(end) || start < firstUsable || end > lastUsable || end < start)
      throw new DiskError('range', `partition ${i + 1} does not fit on the disk`);
    GptEntry.write(
      table,
      {
        partitionTypeGuid: guidBytes(type),
        uniquePartitionGuid: guidBytes(id),
        startingLba: BigInt(start),
        endingLba: BigInt(end),
        partitionName: encodeUtf16(name.slice(0, 36)),
      },
      i * GptEntry.size,
    );
  }
  const header = (at: number, other: number, entries: number): Uint8Array => {
    const bytes = new Uint8Array(unit);
    GptHeader.write(bytes, {
      signature: ascii(GPT_SIGNATURE),
      revision: GPT_REVISION,
      headerSize: GptHeader.size,
      myLba: BigInt(at),
      alternateLba: BigInt(other),
      firstUsableLba: BigInt(firstUsable),
      lastUsableLba: BigInt(lastUsable),
      diskGuid: guidBytes(diskId),
      partitionEntryLba: BigInt(entries),
      numberOfPartitionEntries: GPT_ENTRIES,
      sizeOfPartitionEntry: GptEntry.size,
      partitionEntryArrayCrc32: crc32(table.subarray(0, GPT_ENTRIES * GptEntry.size)),
    });
    new DataView(bytes.buffer).setUint32(GPT_HEADER_CRC, crc32(bytes.subarray(0, GptHeader.size)), true);
    return bytes;
  };

  await device.write((last - arraySectors) * unit, table);
  await device.write(last * unit, header(last, 1, last - arraySectors));
  await device.write(2 * unit, table);
  await device.write(unit, header(1, last, 2));
  await device.write(0, protectiveMbr(unit, last));
}

/** One partition of all the disk, or as much of it as the old table can say, for those who know no other. */
function protectiveMbr(unit: number, last: number): Uint8Array {
  const sector = new Uint8Array(Math.max(unit, MBR_SIZE));
  MbrEntry.write(
    sector,
    {
      startingChs: Uint8Array.of(0, 2, 0),
      type: MbrType.gptProtective,
      endingChs: Uint8Array.of(0xff, 0xff, 0xff),
      startingLba: 1,
      sizeInLba: Math.min(last, 0xffff_ffff),
    },
    MBR_ENTRIES,
  );
  sector[MBR_SIGNATURE] = 0x55;
  sector[MBR_SIGNATURE + 1] = 0xaa;
  return sector;
}
