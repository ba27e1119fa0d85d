/** The log: finding what a power cut left of it, and writing entries. [MS-VHDX] 2.3. */
import type { RandomFile } from '../../host/disk-files.ts';
import { isZeroGuid, sameGuid } from '../../support/guids.ts';
import { ascii, hasSignature } from '../../support/text.ts';
import { checksumIsRight, corrupt, putChecksum, unsupported } from './header.ts';
import {
  DATA_SIGNATURE,
  DataDescriptor,
  DESCRIPTOR_SIGNATURE,
  type Header,
  LOG_DESCRIPTOR_SIZE,
  LOG_SECTOR,
  LOG_SIGNATURE,
  LogEntryHeader,
  MAXIMUM_FILE_SIZE,
  MIB,
  ZERO_SIGNATURE,
  ZeroDescriptor,
} from './protocol.ts';
import type { LogUpdate } from './view.ts';

/** Logs are 1 MiB; nobody needs more than this. */
const LARGEST_LOG = 64 * MIB;
/** Checksums are computed over at most this many times the log's length, whatever its entries claim. */
const CHECKSUM_BUDGET = 8;

export interface LogEntry {
  readonly offset: number;
  readonly length: number;
  readonly tail: number;
  readonly sequence: bigint;
  readonly flushedFileOffset: number;
  readonly lastFileOffset: number;
  readonly updates: readonly LogUpdate[];
}

export interface Replay {
  readonly updates: readonly LogUpdate[];
  readonly entries: number;
  /** The file's size has to become at least this. */
  readonly fileSize: number;
}

/** What has to be replayed, or undefined when the log is empty. @throws DiskError */
export async function readLog(file: RandomFile, header: Header): Promise<Replay | undefined> {
  if (isZeroGuid(header.logGuid)) return undefined;
  if (header.logVersion !== 0) throw unsupported(file, `log version ${header.logVersion} is unknown`);
  if (header.logLength > LARGEST_LOG) throw unsupported(file, `a log of ${header.logLength} bytes`);
  const log = new Uint8Array(header.logLength);
  if ((await file.read(Number(header.logOffset), log)) < log.length) throw corrupt(file, 'the file ends in its log');
  const sequence = new LogScan(log, header.logGuid).activeSequence();
  if (sequence === undefined) throw corrupt(file, 'the log is in use but has no valid entry');
  const head = sequence.at(-1)!;
  if ((await file.size()) < head.flushedFileOffset)
    throw corrupt(file, `the file was cut off: it had ${head.flushedFileOffset} bytes`);
  const updates = sequence.flatMap((entry) => entry.updates);
  const fileSize = updates.reduce((end, u) => Math.max(end, u.offset + u.length), head.lastFileOffset);
  if (fileSize > MAXIMUM_FILE_SIZE) throw corrupt(file, `the log reaches to ${fileSize}`);
  return { updates, entries: sequence.length, fileSize };
}

/** Writes what the log holds to its place. The log itself stays until the header says otherwise. */
export async function applyReplay(file: RandomFile, replay: Replay): Promise<void> {
  if ((await file.size()) < replay.fileSize) await file.resize(replay.fileSize);
  for (const update of replay.updates) {
    if (update.bytes !== undefined) await file.write(update.offset, update.bytes);
    else await file.zero(update.offset, update.length, 'keep');
  }
  await file.sync();
}

export class LogScan {
  readonly #log: Uint8Array;
  readonly #guid: Uint8Array;
  readonly #entries = new Map<number, LogEntry | undefined>();
  #budget: number;

  constructor(log: Uint8Array, guid: Uint8Array) {
    this.#log = log;
    this.#guid = guid;
    this.#budget = log.length * CHECKSUM_BUDGET;
  }

  /** The entries from the tail to the head of the newest valid sequence (2.3.3). */
  activeSequence(): LogEntry[] | undefined {
    const size = this.#log.length;
    let best: LogEntry[] | undefined;
    for (let start = 0; start < size; ) {
      const sequence: LogEntry[] = [];
      let at = start;
      let covered = 0;
      for (;;) {
        const entry = this.entryAt(at);
        const last = sequence.at(-1);
        if (entry === undefined || (last !== undefined && entry.sequence !== last.sequence + 1n)) break;
        covered += entry.length;
        if (covered > size) break;
        sequence.push(entry);
        at = (at + entry.length) % size;
      }
      const head = sequence.at(-1);
      const from = head === undefined ? -1 : sequence.findIndex((entry) => entry.offset === head.tail);
      if (head !== undefined && from >= 0 && (best === undefined || head.sequence > best.at(-1)!.sequence))
        best = sequence.slice(from);
      if (head === undefined || from < 0) start += LOG_SECTOR;
      else if (at <= start) break;
      else start = at;
    }
    return best;
  }

  entryAt(offset: number): LogEntry | undefined {
    if (!this.#entries.has(offset)) this.#entries.set(offset, this.#decode(offset));
    return this.#entries.get(offset);
  }

  #decode(offset: number): LogEntry | undefined {
    const size = this.#log.length;
    if (!hasSignature(this.#log, LOG_SIGNATURE, offset)) return undefined;
    const header = LogEntryHeader.read(this.#log, offset);
    const { entryLength, tail, sequenceNumber, descriptorCount } = header;
    if (!sameGuid(header.logGuid, this.#guid) || sequenceNumber === 0n) return undefined;
    if (entryLength === 0 || entryLength % LOG_SECTOR !== 0 || entryLength > size) return undefined;
    if (tail % LOG_SECTOR !== 0 || tail >= size) return undefined;
    const descriptorSectors = sectorsOfDescriptors(descriptorCount);
    if (descriptorSectors * LOG_SECTOR > entryLength || entryLength > this.#budget) return undefined;
    this.#budget -= entryLength;
    const bytes = this.#ring(offset, entryLength);
    if (!checksumIsRight(bytes)) return undefined;
    const updates = decodeUpdates(bytes, descriptorCount, descriptorSectors, sequenceNumber);
    if (updates === undefined) return undefined;
    return {
      offset,
      length: entryLength,
      tail,
      sequence: sequenceNumber,
      flushedFileOffset: Number(header.flushedFileOffset),
      lastFileOffset: Number(header.lastFileOffset),
      updates,
    };
  }

  /** A copy of a piece of the ring. */
  #ring(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const first = Math.min(length, this.#log.length - offset);
    bytes.set(this.#log.subarray(offset, offset + first));
    bytes.set(this.#log.subarray(0, length - first), first);
    return bytes;
  }
}

function sectorsOfDescriptors(count: number): number {
  return Math.ceil((LogEntryHeader.size + count * LOG_DESCRIPTOR_SIZE) / LOG_SECTOR);
}

function decodeUpdates(
  entry: Uint8Array,
  count: number,
  descriptorSectors: number,
  sequence: bigint,
): LogUpdate[] | undefined {
  const updates: LogUpdate[] = [];
  const view = new DataView(entry.buffer);
  let sector = descriptorSectors * LOG_SECTOR;
  for (let i = 0; i < count; i++) {
    const at = LogEntryHeader.size + i * LOG_DESCRIPTOR_SIZE;
    if (hasSignature(entry, ZERO_SIGNATURE, at)) {
      const zero = ZeroDescriptor.read(entry, at);
      if (zero.sequenceNumber !== sequence || !inFile(zero.fileOffset, zero.zeroLength)) return undefined;
      updates.push({ offset: Number(zero.fileOffset), length: Number(zero.zeroLength), bytes: undefined });
    } else if (hasSignature(entry, DESCRIPTOR_SIGNATURE, at)) {
      const data = DataDescriptor.read(entry, at);
      if (data.sequenceNumber !== sequence || !inFile(data.fileOffset, BigInt(LOG_SECTOR))) return undefined;
      if (sector + LOG_SECTOR > entry.length || !hasSignature(entry, DATA_SIGNATURE, sector)) return undefined;
      const high = BigInt(view.getUint32(sector + 4, true));
      const low = BigInt(view.getUint32(sector + LOG_SECTOR - 4, true));
      if ((high << 32n) + low !== sequence) return undefined;
      const bytes = entry.slice(sector, sector + LOG_SECTOR);
      bytes.set(data.leadingBytes, 0);
      bytes.set(data.trailingBytes, LOG_SECTOR - 4);
      updates.push({ offset: Number(data.fileOffset), length: LOG_SECTOR, bytes });
      sector += LOG_SECTOR;
    } else return undefined;
  }
  return updates;
}

function inFile(offset: bigint, length: bigint): boolean {
  const sector = BigInt(LOG_SECTOR);
  return offset % sector === 0n && length % sector === 0n && offset + length <= BigInt(MAXIMUM_FILE_SIZE);
}

/** A page of metadata to be logged. */
export interface PageUpdate {
  readonly offset: number;
  /** 4 KiB. */
  readonly bytes: Uint8Array;
}

export function encodeLogEntry(
  fields: Omit<LogEntry, 'updates' | 'length' | 'offset'>,
  guid: Uint8Array,
  pages: readonly PageUpdate[],
): Uint8Array {
  const descriptorSectors = sectorsOfDescriptors(pages.length);
  const entry = new Uint8Array((descriptorSectors + pages.length) * LOG_SECTOR);
  LogEntryHeader.write(entry, {
    signature: ascii(LOG_SIGNATURE),
    entryLength: entry.length,
    tail: fields.tail,
    sequenceNumber: fields.sequence,
    descriptorCount: pages.length,
    logGuid: guid,
    flushedFileOffset: BigInt(fields.flushedFileOffset),
    lastFileOffset: BigInt(fields.lastFileOffset),
  });
  const view = new DataView(entry.buffer);
  pages.forEach((page, i) => {
    const sector = (descriptorSectors + i) * LOG_SECTOR;
    DataDescriptor.write(
      entry,
      {
        signature: ascii(DESCRIPTOR_SIGNATURE),
        leadingBytes: page.bytes.subarray(0, 8),
        trailingBytes: page.bytes.subarray(LOG_SECTOR - 4),
        fileOffset: BigInt(page.offset),
        sequenceNumber: fields.sequence,
      },
      LogEntryHeader.size + i * LOG_DESCRIPTOR_SIZE,
    );
    entry.set(page.bytes, sector);
    entry.set(ascii(DATA_SIGNATURE), sector);
    view.setUint32(sector + 4, Number(fields.sequence >> 32n), true);
    view.setUint32(sector + LOG_SECTOR - 4, Number(fields.sequence & 0xffff_ffffn), true);
  });
  return putChecksum(entry);
}

/** Puts entries into the ring. Whoever uses it knows that everything logged before is in its place and durable. */
export class LogWriter {
  /** Pages that one entry takes: half of the smallest log, so that an entry never lies over the one before. */
  static readonly PAGES = 120;
  readonly #file: RandomFile;
  readonly #offset: number;
  readonly #size: number;
  readonly #guid: Uint8Array;
  #head = 0;
  #sequence = 0n;

  constructor(file: RandomFile, offset: number, size: number, guid: Uint8Array) {
    this.#file = file;
    this.#offset = offset;
    this.#size = size;
    this.#guid = guid;
  }

  get guid(): Uint8Array {
    return this.#guid;
  }
  get sequence(): bigint {
    return this.#sequence;
  }

  /** Writes one entry, which is its own tail, and makes it durable. */
  async append(pages: readonly PageUpdate[], flushedFileOffset: number, lastFileOffset: number): Promise<void> {
    const tail = this.#head;
    const sequence = this.#sequence + 1n;
    const entry = encodeLogEntry({ tail, sequence, flushedFileOffset, lastFileOffset }, this.#guid, pages);
    const first = Math.min(entry.length, this.#size - tail);
    await this.#file.write(this.#offset + tail, entry.subarray(0, first));
    if (first < entry.length) await this.#file.write(this.#offset, entry.subarray(first));
    await this.#file.sync();
    this.#head = (tail + entry.length) % this.#size;
    this.#sequence = sequence;
  }
}
