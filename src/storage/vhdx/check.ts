/** Checking a VHDX: headers, log, region tables, metadata, BAT, sector bitmaps. [MS-VHDX] 2.2 to 2.6. */
import type { RandomFile } from '../../host/disk-files.ts';
import { isZeroGuid } from '../../support/guids.ts';
import { type Findings, MOST_FINDINGS } from '../findings.ts';
import { batShape } from './bat.ts';
import { decodeRegions, readHeaders } from './header.ts';
import { blockLength, hasPlace, readRegions, type VhdxImage, visitBat } from './image.ts';
import { readLog } from './log.ts';
import { readMetadata } from './metadata.ts';
import {
  BAT_ENTRY_SIZE,
  BlockState,
  FIRST_OBJECT,
  HEADER_OFFSETS,
  MIB,
  REGION_TABLE_OFFSETS,
  REGION_TABLE_SIZE,
} from './protocol.ts';
import { Space } from './space.ts';
import { FileView } from './view.ts';

/** @throws DiskError for damage that leaves nothing to go on with. */
export async function checkVhdx(file: RandomFile, findings: Findings): Promise<void> {
  const headers = await readHeaders(file);
  headers.slots.forEach((slot, i) => {
    const at = `the header at ${HEADER_OFFSETS[i]! / 1024}K`;
    if (typeof slot === 'string') findings.error(`${at} is not valid (${slot})`, true);
  });
  const { header } = headers;
  const replay = await readLog(file, header);
  findings.counts.logEntries = replay?.entries ?? 0;
  if (replay !== undefined) findings.note('the log holds changes that are not in their place yet', true);
  // From here on the file as it is after replay.
  const view = new FileView(file, replay?.updates);

  for (const offset of REGION_TABLE_OFFSETS) {
    const bytes = new Uint8Array(REGION_TABLE_SIZE);
    const regions = decodeRegions(bytes.subarray(0, await view.read(offset, bytes)));
    if (typeof regions === 'string') findings.error(`the region table at ${offset / 1024}K: ${regions}`, true);
  }
  const regions = await readRegions(view);
  const size = await view.size();
  const space = new Space(size);
  space.mark(0, FIRST_OBJECT);
  const places = [
    ['the log', { offset: Number(header.logOffset), length: header.logLength }],
    ['the block allocation table', regions.bat],
    ['the metadata region', regions.metadata],
    ...regions.unknown.map((region) => ['an unknown region', region] as const),
  ] as const;
  for (const [what, region] of places) {
    if (region.offset + region.length > size) findings.error(`${what} ends outside the file`);
    if (!space.mark(region.offset, region.length)) findings.error(`${what} lies over another region`);
  }
  const metadata = await readMetadata(view, regions.metadata);
  const shape = batShape(metadata);
  if (shape.entries * BAT_ENTRY_SIZE > regions.bat.length) {
    findings.error(`the block allocation table is too short for ${shape.entries} entries`);
    return;
  }
  await checkBat({ view, regions, metadata, shape }, space, size, findings);
  const unused = size - space.usedBytes;
  if (unused >= MIB)
    findings.note(`${Math.floor(unused / MIB)} MiB of the file are used by nothing: compacting frees them`);
  if (isZeroGuid(header.dataWriteGuid)) findings.note('the data have no identity (DataWriteGuid is zero)');
}

async function checkBat(
  image: Pick<VhdxImage, 'view' | 'regions' | 'metadata' | 'shape'>,
  space: Space,
  size: number,
  findings: Findings,
): Promise<void> {
  const { metadata, shape } = image;
  let wrong = 0;
  const report = (text: string): void => {
    if (++wrong <= MOST_FINDINGS) findings.error(text);
  };
  let blocks = 0;
  let bitmaps = 0;
  let partial: number | undefined;
  await visitBat(image, metadata.leaveBlocksAllocated, (entry, index, bitmap, raw) => {
    const name = `entry ${index} of the block allocation table`;
    if ((raw & 0x000f_fff8) !== 0) report(`${name} has reserved bits set`);
    if (bitmap) {
      if (entry.state !== BlockState.notPresent && entry.state !== BlockState.fullyPresent)
        report(`${name}, of a sector bitmap, has state ${entry.state}`);
      if (partial !== undefined && entry.state !== BlockState.fullyPresent)
        report(`block ${partial} is partial, but has no sector bitmap`);
      partial = undefined;
      if (entry.state === BlockState.fullyPresent && !metadata.hasParent)
        report(`${name} names a sector bitmap, but there is no parent`);
    } else {
      if (entry.state === 4 || entry.state === 5) report(`${name} has state ${entry.state}`);
      const block = index - Math.floor(index / (shape.chunkRatio + 1));
      if (entry.state === BlockState.partiallyPresent) {
        if (!metadata.hasParent) report(`block ${block} is partial, but there is no parent`);
        partial ??= block;
      }
      if (metadata.leaveBlocksAllocated && !hasPlace(entry.state))
        report(`block ${block} of a fixed disk has no place`);
    }
    if (!hasPlace(entry.state)) return;
    if (bitmap) bitmaps++;
    else blocks++;
    const length = blockLength(image, bitmap);
    if (entry.offset < FIRST_OBJECT || entry.offset + length > size)
      report(`${name} points outside the file (${entry.offset})`);
    else if (!space.mark(entry.offset, length)) report(`${name} points to a place that is taken (${entry.offset})`);
  });
  if (wrong > MOST_FINDINGS) findings.error(`and ${wrong - MOST_FINDINGS} more entries like these`);
  Object.assign(findings.counts, { blocks: shape.blocks, allocatedBlocks: blocks, sectorBitmaps: bitmaps });
}
