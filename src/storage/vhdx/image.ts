/** Opening a VHDX file: headers, log replay, region tables, metadata, the space its blocks take. [MS-VHDX] 2.2 to 2.6. */
import type { RandomFile } from '../../host/disk-files.ts';
import { guidFromRandom, ZERO_GUID } from '../../support/guids.ts';
import { hasSignature } from '../../support/text.ts';
import { type BatEntry, type BatShape, batShape, decodeBatEntry } from './bat.ts';
import { corrupt, decodeRegions, encodeHeader, type Region, type Regions, readHeaders } from './header.ts';
import { applyReplay, readLog } from './log.ts';
import { type Metadata, readMetadata } from './metadata.ts';
import {
  BAT_ENTRY_SIZE,
  BITMAP_BLOCK_SIZE,
  BlockState,
  FILE_SIGNATURE,
  FIRST_OBJECT,
  HEADER_OFFSETS,
  type Header,
  MAXIMUM_FILE_SIZE,
  MIB,
  REGION_TABLE_OFFSETS,
  REGION_TABLE_SIZE,
} from './protocol.ts';
import { Space } from './space.ts';
import { FileView } from './view.ts';

export type HeaderChange = Partial<Pick<Header, 'fileWriteGuid' | 'dataWriteGuid' | 'logGuid'>>;

/** Writes headers in turn, so that one is valid at any time. */
export class HeaderWriter {
  readonly #file: RandomFile;
  #current: 0 | 1;
  #header: Header;

  constructor(file: RandomFile, current: 0 | 1, header: Header) {
    this.#file = file;
    this.#current = current;
    this.#header = header;
  }

  get header(): Header {
    return this.#header;
  }

  /** Both headers are up to date and durable afterwards, so that losing one loses nothing (2.2.2.1). */
  async update(change: HeaderChange): Promise<void> {
    for (let round = 0; round < 2; round++) {
      const next = { ...this.#header, ...change, sequenceNumber: this.#header.sequenceNumber + 1n };
      const slot = this.#current === 0 ? 1 : 0;
      await this.#file.write(HEADER_OFFSETS[slot], encodeHeader(next));
      await this.#file.sync();
      this.#header = next;
      this.#current = slot;
    }
  }
}

export interface VhdxImage {
  readonly file: RandomFile;
  readonly view: FileView;
  readonly headers: HeaderWriter;
  readonly regions: Regions;
  readonly metadata: Metadata;
  readonly shape: BatShape;
  /** Entries of the log that were replayed, or are seen through the view. */
  readonly replayed: number;
}

/** @param random Random bytes, for new identifiers. @throws DiskError, FileError */
export async function openImage(file: RandomFile, random: (count: number) => Uint8Array): Promise<VhdxImage> {
  const size = await file.size();
  if (size > MAXIMUM_FILE_SIZE) throw corrupt(file, `a file of ${size} bytes`);
  const signature = new Uint8Array(8);
  await file.read(0, signature);
  if (!hasSignature(signature, FILE_SIGNATURE)) throw corrupt(file, 'the signature is missing: is it a VHDX?');
  const found = await readHeaders(file);
  const headers = new HeaderWriter(file, found.current, found.header);
  const replay = await readLog(file, found.header);
  let view = new FileView(file);
  if (replay !== undefined && file.writable) {
    await headers.update({ fileWriteGuid: guidFromRandom(random(16)) });
    await applyReplay(file, replay);
    await headers.update({ logGuid: ZERO_GUID });
  } else if (replay !== undefined) view = new FileView(file, replay.updates);

  const regions = await readRegions(view);
  const log = { offset: Number(found.header.logOffset), length: found.header.logLength };
  for (const region of [regions.bat, regions.metadata, ...regions.unknown])
    if (region.offset < log.offset + log.length && log.offset < region.offset + region.length)
      throw corrupt(file, 'a region lies over the log');
  const metadata = await readMetadata(view, regions.metadata);
  const shape = batShape(metadata);
  if (shape.entries * BAT_ENTRY_SIZE > regions.bat.length)
    throw corrupt(file, `the block allocation table is too short for ${shape.entries} entries`);
  return { file, view, headers, regions, metadata, shape, replayed: replay?.entries ?? 0 };
}

export async function readRegions(view: FileView): Promise<Regions> {
  const problems: string[] = [];
  for (const offset of REGION_TABLE_OFFSETS) {
    const bytes = new Uint8Array(REGION_TABLE_SIZE);
    const regions = decodeRegions(bytes.subarray(0, await view.read(offset, bytes)));
    if (typeof regions !== 'string') return regions;
    problems.push(regions);
  }
  throw corrupt(view.file, `neither region table is valid (${problems.join('; ')})`);
}

/** @param low The entry's lower half, reserved bits included. */
type BatVisitor = (entry: BatEntry, index: number, bitmap: boolean, low: number) => void;

/**
 * Shows the entries of the table, in order. Reads a mebibyte at a time: a table can have 64 million of them.
 * @param empty Whether payload entries that are zero are to be shown too.
 */
export async function visitBat(
  image: Pick<VhdxImage, 'view' | 'regions' | 'shape'>,
  empty: boolean,
  visit: BatVisitor,
): Promise<void> {
  const { view, regions, shape } = image;
  const perPiece = Math.min(MIB / BAT_ENTRY_SIZE, shape.entries);
  const words = new Uint32Array(perPiece * 2);
  const piece = new Uint8Array(words.buffer);
  const perChunk = shape.chunkRatio + 1;
  let untilBitmap = perChunk;
  for (let first = 0; first < shape.entries; first += perPiece) {
    const count = Math.min(perPiece, shape.entries - first);
    const bytes = piece.subarray(0, count * BAT_ENTRY_SIZE);
    if ((await view.read(regions.bat.offset + first * BAT_ENTRY_SIZE, bytes)) < bytes.length)
      throw corrupt(view.file, 'the file ends in the block allocation table');
    for (let i = 0; i < count; i++) {
      // Little-endian, as are the hosts this runs on.
      const low = words[2 * i]!;
      const high = words[2 * i + 1]!;
      const bitmap = --untilBitmap === 0;
      if (bitmap) untilBitmap = perChunk;
      if (low !== 0 || high !== 0 || bitmap || empty) visit(decodeBatEntry(low, high), first + i, bitmap, low);
    }
  }
}

/** Whether an entry's place in the file is in use. */
export function hasPlace(state: number): boolean {
  return state === BlockState.fullyPresent || state === BlockState.partiallyPresent;
}

/** Bytes of the block an entry speaks for. */
export function blockLength(image: Pick<VhdxImage, 'metadata'>, bitmap: boolean): number {
  return bitmap ? BITMAP_BLOCK_SIZE : image.metadata.blockSize;
}

/** The file's space as headers, regions and blocks take it. @throws DiskError when two of them take the same. */
export async function mapSpace(image: VhdxImage): Promise<Space> {
  const { file, regions } = image;
  const size = await image.view.size();
  const space = new Space(size);
  space.mark(0, FIRST_OBJECT);
  const { logOffset, logLength } = image.headers.header;
  const log: Region = { offset: Number(logOffset), length: logLength };
  for (const region of [log, regions.bat, regions.metadata, ...regions.unknown])
    if (!space.mark(region.offset, region.length)) throw corrupt(file, 'two regions take the same place');
  await visitBat(image, false, (entry, index, bitmap) => {
    if (!hasPlace(entry.state)) return;
    const length = blockLength(image, bitmap);
    if (entry.offset < FIRST_OBJECT || entry.offset + length > size)
      throw corrupt(file, `block allocation table entry ${index} points outside the file (${entry.offset})`);
    if (!space.mark(entry.offset, length))
      throw corrupt(file, `block allocation table entry ${index} points to a place that is taken (${entry.offset})`);
  });
  return space;
}
