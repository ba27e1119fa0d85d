/** A file system's place on a disk: bytes at any offset, blocks as the journal has them, and a limit to what is looked at. */
import type { BlockDevice } from '../../contracts/block-device.ts';
import { DiskError } from '../disk.ts';

/** What of a device a file system takes. */
export interface VolumeRange {
  readonly device: Pick<BlockDevice, 'read' | 'size' | 'logicalSectorSize'>;
  /** Bytes. */
  readonly offset: number;
  readonly size: number;
  /** For messages: 'debian.vhdx, partition 1'. */
  readonly name: string;
}

/** Reads bytes that need not be whole sectors. They lie on the device. */
export async function readBytes(
  device: VolumeRange['device'],
  offset: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const sector = device.logicalSectorSize;
  const start = Math.floor(offset / sector) * sector;
  const end = Math.ceil((offset + length) / sector) * sector;
  const bytes = new Uint8Array(end - start);
  await device.read(start, bytes);
  return bytes.subarray(offset - start, offset - start + length);
}

/** Blocks of tables and folders that are kept, at most 64 KiB each. */
const CACHED = 128;
/**
 * Blocks of tables, folders and inodes that one request may look at, with 340 entries or more in each (84 in blocks of 1 KiB).
 * A kernel takes a dozen; the limit is for file systems that were made to have no end.
 */
const LIMIT = 50_000;

export class Volume {
  readonly name: string;
  readonly size: number;
  readonly #range: VolumeRange;
  readonly #cache = new Map<number, Uint8Array>();
  #overlay: ReadonlyMap<number, JournalCopy> = new Map();
  #looked = 0;
  /** Set once the superblock says it. */
  blockSize = 1024;
  blocks = 0;

  constructor(range: VolumeRange) {
    this.#range = range;
    this.name = range.name;
    this.size = Math.min(range.size, Math.max(0, range.device.size - range.offset));
  }

  corrupt(text: string): DiskError {
    return new DiskError('corrupt', `${this.name}: damaged file system: ${text}`);
  }
  unsupported(text: string): DiskError {
    return new DiskError('unsupported', `${this.name}: ${text}`);
  }

  /** What stands in the journal for a block, from now on. */
  overlay(copies: ReadonlyMap<number, JournalCopy>): void {
    this.#overlay = copies;
    this.#cache.clear();
  }

  /** A new request may look at as many blocks again. */
  begin(): void {
    this.#looked = 0;
  }

  /** Counts a block that was looked at. */
  look(): void {
    if (++this.#looked > LIMIT) throw this.corrupt('its tables have no end');
  }

  async bytes(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (offset < 0 || length < 0 || offset + length > this.size)
      throw this.corrupt(`${length} bytes at ${offset} lie outside of it`);
    return await readBytes(this.#range.device, this.#range.offset + offset, length);
  }

  /** One block, not to be written to. */
  async block(number: number): Promise<Uint8Array> {
    this.look();
    const known = this.#cache.get(number);
    if (known !== undefined) return known;
    this.checkRun(number, 1);
    const copy = this.#overlay.get(number);
    const bytes = await this.bytes((copy?.block ?? number) * this.blockSize, this.blockSize);
    if (copy?.escaped === true) new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, ESCAPED);
    const oldest = this.#cache.keys().next();
    if (this.#cache.size >= CACHED && oldest.done !== true) this.#cache.delete(oldest.value);
    this.#cache.set(number, bytes);
    return bytes;
  }

  /** Fills `into` from the start of a block on. */
  async run(number: number, into: Uint8Array): Promise<void> {
    const count = Math.ceil(into.length / this.blockSize);
    this.checkRun(number, count);
    let plain = true;
    if (this.#overlay.size > 0) for (let i = 0; i < count && plain; i++) plain = !this.#overlay.has(number + i);
    if (plain) {
      into.set(await this.bytes(number * this.blockSize, into.length));
      return;
    }
    for (let i = 0; i < count; i++) {
      const part = into.subarray(i * this.blockSize, (i + 1) * this.blockSize);
      part.set((await this.block(number + i)).subarray(0, part.length));
    }
  }

  checkRun(number: number, count: number): void {
    if (number < 0 || number + count > this.blocks)
      throw this.corrupt(`block ${number} is none of its ${this.blocks} blocks`);
  }
}

/** Where the journal has a block's newest content; escaped, its first four bytes were the journal's own magic number. */
export interface JournalCopy {
  readonly block: number;
  readonly escaped: boolean;
}

const ESCAPED = 0xc03b3998;
