/**
 * A saved partition as a file that is indexed by page (format version 3), so that a machine can go on before its memory is read:
 *
 *   0        prefix: `VIRIDIAN`, u32 format version, u32 length of the header, u32 length of the index, u32 CRC-32 of these two,
 *            u64 bytes of memory, u64 length of the whole file, u32 CRC-32 of the prefix up to here
 *   64 KiB   memory: the guest's RAM as it lies in the shared memory, a page at its place; zero pages are holes
 *   then     header: JSON, compressed (Zstandard), as in the packed layout, with the boot image's segments
 *            index: compressed; a bit for each page that is not zero, then for each of these the CRC-32 of its bytes
 *            the segments of the boot image, each compressed
 *
 * Memory is not compressed: a restore puts the file in RAM's place (mmap), and pages are read when the guest touches them.
 * docs/decisions/0044-checkpoints-while-the-guest-runs.md has the reasons. Integers are little-endian.
 */
import { isViridianError, type ViridianError } from '../contracts/errors.ts';
import type { LoadSegment } from '../firmware/load-plan.ts';
import type { RandomFile } from '../host/disk-files.ts';
import type { Compression, HostServices } from '../host/services.ts';
import { PAGE, ramBase } from '../hypervisor/memory/layout.ts';
import { type MachineConfig, machineMemorySize } from './machine.ts';
import {
  attempt,
  bad,
  badVersion,
  Damage,
  demand,
  isRecord,
  isWhole,
  LONGEST_HEADER,
  MAGIC,
  PAGED_VERSION,
  type PlainMachine,
  parseMachine,
  plainMachine,
  type SavedMachine,
} from './saved-header.ts';

/** Where memory is. A multiple of every host's page. */
export const MEMORY_AT = 0x1_0000;
const PREFIX = 44;
/** Bytes that are read at a time. */
const CHUNK = 2 ** 20;

/** What is read of: a file, or bytes in memory. */
export type StateSource = Pick<RandomFile, 'size' | 'read' | 'close' | 'map'> & Partial<Pick<RandomFile, 'nextData'>>;

/** A segment of the boot image, where it is in the file. */
interface StoredSegment {
  readonly gpa: number;
  readonly length: number;
  /** Bytes in the file, and their CRC-32. */
  readonly stored: number;
  readonly sum: number;
}

interface Header extends PlainMachine {
  readonly segments: readonly StoredSegment[];
}

/** RAM in a file. Its giver closes it, after the last use: memory that was put in its place stays. */
export interface MemoryImage {
  /** Bytes of RAM. */
  readonly size: number;
  /** 1 for each page that is not zero. */
  readonly stored: Uint8Array;
  /** Puts it in the place of [at, at + size) of the buffer, which is zero. */
  load(buffer: SharedArrayBuffer, at: number): Promise<void>;
  /** @throws ViridianError `badFile` */
  segments(): Promise<readonly LoadSegment[]>;
  /** The same as they are in the file: another file may have them so. */
  packedSegments(): Promise<readonly PackedSegment[]>;
  close(): Promise<void>;
}

export function isImage(memory: object): memory is MemoryImage {
  return 'stored' in memory;
}

/** Bytes of RAM of all kinds in a partition's shared memory. */
export function imageSize(config: MachineConfig): number {
  return machineMemorySize(config) - ramBase(config.processors);
}

// ---- writing ------------------------------------------------------------------------------------------------------------------

/** A segment as it is in a file. */
export interface PackedSegment {
  readonly gpa: number;
  readonly length: number;
  readonly packed: Uint8Array;
}

/**
 * What stands behind the memory, and the prefix. @param sums the CRC-32 of each page that is stored, by its number.
 */
export function encodeTail(
  state: SavedMachine,
  segments: readonly PackedSegment[],
  stored: Uint8Array,
  sums: Uint32Array,
  host: Pick<HostServices, 'compression' | 'crc32'>,
): { readonly prefix: Uint8Array; readonly tail: readonly Uint8Array[] } {
  const { compression, crc32 } = host;
  const header: Header = {
    ...plainMachine(state),
    segments: segments.map(({ gpa, length, packed }) => ({
      gpa,
      length,
      stored: packed.length,
      sum: crc32(packed),
    })),
  };
  const text = compression.compress(new TextEncoder().encode(JSON.stringify(header)));
  const index = compression.compress(encodeIndex(stored, sums));
  const memory = stored.length * PAGE;
  const whole = MEMORY_AT + memory + text.length + index.length + segments.reduce((n, s) => n + s.packed.length, 0);
  const prefix = new Uint8Array(PREFIX);
  const view = new DataView(prefix.buffer);
  prefix.set(new TextEncoder().encode(MAGIC));
  const both = new Uint8Array(text.length + index.length);
  both.set(text);
  both.set(index, text.length);
  [PAGED_VERSION, text.length, index.length, crc32(both)].forEach((word, i) => {
    view.setUint32(MAGIC.length + i * 4, word, true);
  });
  view.setBigUint64(24, BigInt(memory), true);
  view.setBigUint64(32, BigInt(whole), true);
  view.setUint32(40, crc32(prefix.subarray(0, 40)), true);
  return { prefix, tail: [both, ...segments.map(({ packed }) => packed)] };
}

function encodeIndex(stored: Uint8Array, sums: Uint32Array): Uint8Array {
  const bits = Math.ceil(stored.length / 8);
  let count = 0;
  for (const flag of stored) count += flag;
  const index = new Uint8Array(bits + count * 4);
  const view = new DataView(index.buffer);
  let at = bits;
  for (let page = 0; page < stored.length; page++) {
    if (stored[page] === 0) continue;
    index[page >> 3]! |= 1 << (page & 7);
    view.setUint32(at, sums[page] as number, true);
    at += 4;
  }
  return index;
}

// ---- reading ------------------------------------------------------------------------------------------------------------------

/** The format version of a saved state that begins so; undefined when it is none. */
export function stateVersion(start: Uint8Array): number | undefined {
  if (start.length < MAGIC.length + 4 || new TextDecoder().decode(start.subarray(0, MAGIC.length)) !== MAGIC)
    return undefined;
  return new DataView(start.buffer, start.byteOffset).getUint32(MAGIC.length, true);
}

/** A state that is in memory. */
export function bytesSource(bytes: Uint8Array): StateSource {
  return {
    size: () => Promise.resolve(bytes.length),
    read: (offset, into) => {
      const part = bytes.subarray(offset, offset + into.length);
      into.set(part);
      return Promise.resolve(part.length);
    },
    close: () => Promise.resolve(),
  };
}

export interface OpenStateOptions {
  /** Every page is read and compared with its checksum first. False: of a file that has not changed since it was written. */
  readonly verify: boolean;
}

/** The image closes the source. @throws ViridianError `badFile`; a file is taken whole or not at all. */
export async function openStateFile(
  source: StateSource,
  host: Pick<HostServices, 'compression' | 'crc32'>,
  { verify }: OpenStateOptions,
): Promise<SavedMachine & { readonly memory: MemoryImage }> {
  try {
    return await open(source, host, verify);
  } catch (error) {
    await source.close().catch(() => {});
    if (error instanceof Damage || (isViridianError(error) && error.code === 'invalid')) throw damaged(error);
    throw error;
  }
}

function damaged(error: Error): ViridianError {
  return bad(`is damaged: ${error.message}`, error);
}

async function open(
  source: StateSource,
  host: Pick<HostServices, 'compression' | 'crc32'>,
  verify: boolean,
): Promise<SavedMachine & { readonly memory: MemoryImage }> {
  const { compression, crc32 } = host;
  const size = await source.size();
  const prefix = new Uint8Array(PREFIX);
  if ((await source.read(0, prefix)) < PREFIX) throw bad(`is truncated: ${size} bytes`);
  const version = stateVersion(prefix);
  if (version !== PAGED_VERSION) throw version === undefined ? bad('is not one of Viridian') : badVersion(version);
  const view = new DataView(prefix.buffer);
  if (crc32(prefix.subarray(0, 40)) !== view.getUint32(40, true)) throw bad('is damaged: its checksum does not match');
  const [headerLength, indexLength, sum] = [
    view.getUint32(12, true),
    view.getUint32(16, true),
    view.getUint32(20, true),
  ];
  const memory = Number(view.getBigUint64(24, true));
  const whole = Number(view.getBigUint64(32, true));
  if (size < whole) throw bad(`is truncated: ${size} bytes, its header says ${whole}`);
  const tailAt = MEMORY_AT + memory;
  if (size !== whole || tailAt + headerLength + indexLength > whole)
    throw bad('is damaged: its length does not fit its header');
  const both = new Uint8Array(headerLength + indexLength);
  await source.read(tailAt, both);
  if (crc32(both) !== sum) throw bad('is damaged: its checksum does not match');
  const header = attempt('header', () => {
    const text = compression.decompress(both.subarray(0, headerLength), LONGEST_HEADER);
    return JSON.parse(new TextDecoder().decode(text)) as unknown;
  });
  demand(isRecord(header), 'header');
  const machine = parseMachine(header);
  demand(memory === imageSize(machine.config), 'length of memory');
  const index = parseIndex(both.subarray(headerLength), memory / PAGE, compression);
  const segments = parseSegments(header.segments, machine.config);
  const segmentsAt = tailAt + headerLength + indexLength;
  demand(segmentsAt + segments.reduce((n, s) => n + s.stored, 0) === whole, 'boot image');
  const file = new ImageFile(source, host, index, segments, segmentsAt);
  if (verify) await file.verify();
  return { ...machine, memory: file };
}

interface PageIndex {
  readonly stored: Uint8Array;
  readonly sums: Uint32Array;
}

function parseIndex(packed: Uint8Array, pages: number, compression: Compression): PageIndex {
  const bits = Math.ceil(pages / 8);
  const index = attempt('list of pages', () => compression.decompress(packed, bits + pages * 4));
  demand(index.length >= bits, 'list of pages');
  const view = new DataView(index.buffer, index.byteOffset, index.length);
  const stored = new Uint8Array(pages);
  const sums = new Uint32Array(pages);
  let at = bits;
  for (let page = 0; page < pages; page++) {
    if (((index[page >> 3] as number) & (1 << (page & 7))) === 0) continue;
    demand(at + 4 <= index.length, 'list of pages');
    stored[page] = 1;
    sums[page] = view.getUint32(at, true);
    at += 4;
  }
  demand(at === index.length, 'list of pages');
  return { stored, sums };
}

function parseSegments(segments: unknown, { memory }: MachineConfig): readonly StoredSegment[] {
  demand(Array.isArray(segments), 'boot image');
  return segments.map((segment: unknown) => {
    demand(isRecord(segment), 'boot image');
    const { gpa, length, stored, sum } = segment;
    demand(isWhole(gpa) && isWhole(length) && gpa + length <= memory, 'boot image');
    demand(isWhole(stored) && isWhole(sum), 'boot image');
    return { gpa, length, stored, sum };
  });
}

class ImageFile implements MemoryImage {
  readonly stored: Uint8Array;
  readonly size: number;
  readonly #sums: Uint32Array;
  readonly #source: StateSource;
  readonly #host: Pick<HostServices, 'compression' | 'crc32'>;
  readonly #segments: readonly StoredSegment[];
  readonly #segmentsAt: number;

  constructor(
    source: StateSource,
    host: Pick<HostServices, 'compression' | 'crc32'>,
    { stored, sums }: PageIndex,
    segments: readonly StoredSegment[],
    segmentsAt: number,
  ) {
    this.#source = source;
    this.#host = host;
    this.stored = stored;
    this.size = stored.length * PAGE;
    this.#sums = sums;
    this.#segments = segments;
    this.#segmentsAt = segmentsAt;
  }

  /** Runs of pages that are stored, at most CHUNK bytes each: the first page, and how many. */
  *#runs(): Generator<readonly [first: number, count: number]> {
    for (let first = this.stored.indexOf(1); first >= 0; first = this.stored.indexOf(1, first)) {
      const end = this.stored.indexOf(0, first);
      const count = Math.min((end < 0 ? this.stored.length : end) - first, CHUNK / PAGE);
      yield [first, count];
      first += count;
    }
  }

  /** Reads all of it. @throws Damage */
  async verify(): Promise<void> {
    const chunk = new Uint8Array(CHUNK);
    for (let at = 0; at < this.size; ) {
      const data = await this.#dataFrom(at);
      // What is stored is no hole, and what is a hole is not stored.
      this.#demandZero(at / PAGE, data.first);
      for (let first = data.first; first < data.end; first += CHUNK / PAGE) {
        const count = Math.min(CHUNK / PAGE, data.end - first);
        await this.#source.read(MEMORY_AT + first * PAGE, chunk.subarray(0, count * PAGE));
        for (let i = 0; i < count; i++) this.#demandPage(first + i, chunk.subarray(i * PAGE, (i + 1) * PAGE));
      }
      at = data.end * PAGE;
    }
    await this.segments();
  }

  /** The pages from `at` on that are no hole in the file. */
  async #dataFrom(at: number): Promise<{ readonly first: number; readonly end: number }> {
    const pages = this.stored.length;
    if (this.#source.nextData === undefined) return { first: at / PAGE, end: pages };
    const data = await this.#source.nextData(MEMORY_AT + at);
    if (data === undefined) return { first: pages, end: pages };
    const page = (offset: number): number => Math.min(pages, Math.max(at, offset - MEMORY_AT) / PAGE);
    return { first: Math.floor(page(data.offset)), end: Math.ceil(page(data.offset + data.length)) };
  }

  #demandZero(first: number, end: number): void {
    const lost = this.stored.indexOf(1, first);
    if (lost >= 0 && lost < end) throw new Damage(`page ${lost} of its memory is missing`);
  }

  #demandPage(page: number, bytes: Uint8Array): void {
    const right =
      this.stored[page] === 1 ? this.#host.crc32(bytes) === this.#sums[page] : bytes.every((byte) => byte === 0);
    if (!right) throw new Damage(`page ${page} of its memory is not what was written`);
  }

  async load(buffer: SharedArrayBuffer, at: number): Promise<void> {
    if (this.#source.map?.(MEMORY_AT, buffer, at, this.size) === true) return;
    for (const [first, count] of this.#runs())
      await this.#source.read(MEMORY_AT + first * PAGE, new Uint8Array(buffer, at + first * PAGE, count * PAGE));
  }

  async segments(): Promise<readonly LoadSegment[]> {
    const { compression } = this.#host;
    return (await this.packedSegments()).map(({ gpa, length, packed }) => {
      const bytes = attempt('boot image', () => compression.decompress(packed, length));
      demand(bytes.length === length, 'boot image');
      return { gpa, bytes };
    });
  }

  async packedSegments(): Promise<readonly PackedSegment[]> {
    const result: PackedSegment[] = [];
    let at = this.#segmentsAt;
    for (const { gpa, length, stored, sum } of this.#segments) {
      const packed = new Uint8Array(stored);
      await this.#source.read(at, packed);
      at += stored;
      if (this.#host.crc32(packed) !== sum) throw bad('is damaged: its boot image is not what was written');
      result.push({ gpa, length, packed });
    }
    return result;
  }

  async close(): Promise<void> {
    await this.#source.close();
  }
}
