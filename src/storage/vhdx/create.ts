/** A new VHDX file: header section, log, metadata, BAT, and for a fixed disk its blocks. [MS-VHDX] 2.1. */
import type { RandomFile } from '../../host/disk-files.ts';
import { guidText } from '../../support/guid.ts';
import { guidFromRandom, ZERO_GUID } from '../../support/guids.ts';
import { ascii, encodeUtf16 } from '../../support/text.ts';
import { DiskError } from '../disk.ts';
import { batShape } from './bat.ts';
import { encodeHeader, encodeRegions } from './header.ts';
import { encodeMetadata, type Metadata } from './metadata.ts';
import {
  BAT_ENTRY_SIZE,
  BlockState,
  FILE_SIGNATURE,
  HEADER_OFFSETS,
  MAXIMUM_BLOCK_SIZE,
  MAXIMUM_DISK_SIZE,
  MIB,
  MINIMUM_BLOCK_SIZE,
  REGION_TABLE_OFFSETS,
} from './protocol.ts';

const CREATOR = 'Viridian';
const LOG = { offset: MIB, length: MIB };
const METADATA = { offset: 2 * MIB, length: MIB };
const BAT_OFFSET = 3 * MIB;
/** What Hyper-V takes for new disks. */
export const DEFAULT_BLOCK_SIZE = 32 * MIB;
/** A differencing disk copies nothing but sectors: small blocks keep it small. */
export const DEFAULT_DIFFERENCING_BLOCK_SIZE = 2 * MIB;

export interface VhdxParent {
  /** Relative to the new file's folder, with slashes. */
  readonly path: string;
  readonly dataWriteGuid: Uint8Array;
}

export interface NewVhdx {
  readonly size: number;
  readonly type: 'fixed' | 'dynamic' | 'differencing';
  readonly blockSize?: number | undefined;
  readonly logicalSectorSize?: number | undefined;
  readonly physicalSectorSize?: number | undefined;
  readonly identifier?: Uint8Array | undefined;
  readonly parent?: VhdxParent | undefined;
}

/** Writes into an empty file. @throws DiskError for what the format cannot hold. */
export async function createVhdx(
  file: RandomFile,
  wanted: NewVhdx,
  random: (count: number) => Uint8Array,
): Promise<void> {
  const metadata = plan(wanted, random);
  const shape = batShape(metadata);
  const bat = { offset: BAT_OFFSET, length: Math.ceil((shape.entries * BAT_ENTRY_SIZE) / MIB) * MIB };
  const firstBlock = bat.offset + bat.length;
  const end = firstBlock + (metadata.leaveBlocksAllocated ? shape.blocks * metadata.blockSize : 0);
  // Reserved on the host: the log and the table must never be what a full disk stops.
  await file.allocate(0, end);

  const identifier = new Uint8Array(8 + 512);
  identifier.set(ascii(FILE_SIGNATURE));
  identifier.set(encodeUtf16(CREATOR), 8);
  await file.write(0, identifier);
  const header = {
    fileWriteGuid: guidFromRandom(random(16)),
    dataWriteGuid: guidFromRandom(random(16)),
    logGuid: ZERO_GUID,
    logVersion: 0,
    version: 1,
    logLength: LOG.length,
    logOffset: BigInt(LOG.offset),
  };
  await file.write(HEADER_OFFSETS[0], encodeHeader({ ...header, sequenceNumber: 1n }));
  await file.write(HEADER_OFFSETS[1], encodeHeader({ ...header, sequenceNumber: 2n }));
  const regions = encodeRegions(bat, METADATA);
  for (const offset of REGION_TABLE_OFFSETS) await file.write(offset, regions);
  await file.write(METADATA.offset, encodeMetadata(metadata));
  if (metadata.leaveBlocksAllocated) await writeFixedBat(file, metadata, bat.offset, firstBlock);
  await file.sync();
}

async function writeFixedBat(file: RandomFile, metadata: Metadata, bat: number, firstBlock: number): Promise<void> {
  const { blocks, chunkRatio } = batShape(metadata);
  const perPiece = MIB / BAT_ENTRY_SIZE;
  const entries = blocks + Math.floor((blocks - 1) / chunkRatio);
  for (let first = 0; first < entries; first += perPiece) {
    const piece = new BigUint64Array(Math.min(perPiece, entries - first));
    for (let i = 0; i < piece.length; i++) {
      const index = first + i;
      const chunk = Math.floor(index / (chunkRatio + 1));
      const within = index % (chunkRatio + 1);
      if (within === chunkRatio) continue;
      const offset = firstBlock + (chunk * chunkRatio + within) * metadata.blockSize;
      piece[i] = BigInt(offset) | BigInt(BlockState.fullyPresent);
    }
    await file.write(bat + first * BAT_ENTRY_SIZE, new Uint8Array(piece.buffer));
  }
}

function plan(wanted: NewVhdx, random: (count: number) => Uint8Array): Metadata {
  const { size, type, parent } = wanted;
  const differencing = type === 'differencing';
  const blockSize = wanted.blockSize ?? (differencing ? DEFAULT_DIFFERENCING_BLOCK_SIZE : DEFAULT_BLOCK_SIZE);
  const logicalSectorSize = wanted.logicalSectorSize ?? 512;
  const physicalSectorSize = wanted.physicalSectorSize ?? 4096;
  const refuse = (text: string): never => {
    throw new DiskError('range', text);
  };
  if (logicalSectorSize !== 512 && logicalSectorSize !== 4096) refuse('a VHDX has sectors of 512 or 4096 bytes');
  if (physicalSectorSize !== 512 && physicalSectorSize !== 4096) refuse('a VHDX has sectors of 512 or 4096 bytes');
  if (blockSize < MINIMUM_BLOCK_SIZE || blockSize > MAXIMUM_BLOCK_SIZE || Math.log2(blockSize) % 1 !== 0)
    refuse('the block size of a VHDX is a power of two from 1M to 256M');
  if (!(size > 0) || size > MAXIMUM_DISK_SIZE) refuse('a VHDX holds at most 64T');
  if (size % logicalSectorSize !== 0) refuse(`the size must be a multiple of ${logicalSectorSize} bytes`);
  if (differencing !== (parent !== undefined)) refuse('a differencing disk, and no other, has a parent');
  return {
    blockSize,
    leaveBlocksAllocated: type === 'fixed',
    hasParent: differencing,
    diskSize: size,
    diskId: wanted.identifier ?? guidFromRandom(random(16)),
    logicalSectorSize,
    physicalSectorSize,
    locator:
      parent &&
      new Map([
        ['parent_linkage', `{${guidText(parent.dataWriteGuid)}}`],
        ['relative_path', windowsPath(parent.path)],
      ]),
  };
}

export function windowsPath(path: string): string {
  const text = path.replaceAll('/', '\\');
  return text.startsWith('..\\') ? text : `.\\${text}`;
}
