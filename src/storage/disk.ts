/**
 * A virtual disk, whatever file it lives in. One interface for all formats, with many requests in flight; what the
 * formats have in common (checks of the arguments, errors) is here too.
 */
import { DISK_FORMATS, type DiskFormat } from '../contracts/block-device.ts';
import { type ErrorCode, ViridianError } from '../contracts/errors.ts';
import { fileFailureOf } from '../host/disk-files.ts';

export { DISK_FORMATS, type DiskFormat };

/**
 * What kind of trouble: `outOfSpace` the host's disk is full, nothing is lost and the request can be made again;
 * `corrupt` the file contradicts its format; `parent` the parent is missing, was changed, or is not allowed.
 */
export type DiskTrouble = 'outOfSpace' | 'corrupt' | 'unsupported' | 'readOnly' | 'range' | 'parent' | 'closed' | 'io';

const CODES: Readonly<Record<DiskTrouble, ErrorCode>> = {
  outOfSpace: 'failure',
  corrupt: 'badFile',
  unsupported: 'badFile',
  readOnly: 'denied',
  range: 'invalid',
  parent: 'badFile',
  closed: 'wrongState',
  io: 'failure',
};

export class DiskError extends ViridianError {
  readonly trouble: DiskTrouble;

  constructor(trouble: DiskTrouble, message: string, options?: ErrorOptions & { readonly code?: ErrorCode }) {
    super(options?.code ?? CODES[trouble], message, options);
    this.trouble = trouble;
  }
}

/** The trouble an error stands for; undefined for what is neither a disk's nor a file's error. */
export function troubleOf(error: unknown): DiskTrouble | undefined {
  if (error instanceof Error && 'trouble' in error) return error.trouble as DiskTrouble;
  const failure = fileFailureOf(error);
  if (failure === undefined) return undefined;
  return failure === 'outOfSpace' ? 'outOfSpace' : 'io';
}

/** What one layer of a disk says about a range: it holds the bytes, they are zeroes, or the parent is to be asked. */
export interface DiskRange {
  readonly offset: number;
  readonly length: number;
  readonly state: 'data' | 'zero' | 'parent';
}

export interface Disk {
  readonly format: DiskFormat;
  /** Bytes, a multiple of the logical sector size. */
  readonly size: number;
  readonly logicalSectorSize: number;
  /** At least the logical one; 512e is 512 and 4096. */
  readonly physicalSectorSize: number;
  readonly writable: boolean;
  /** 16 bytes that stay with the disk (VPD page 83h), where the format has them. */
  readonly identifier: Uint8Array | undefined;
  /** The layer below, of a differencing disk. */
  readonly parent: Disk | undefined;

  // Offsets and lengths are multiples of the logical sector size. Requests may be in flight together, in any number; of
  // two that overlap, either may come first. A write is durable after a flush that began when it had been resolved.

  /** Fills `into`, which may be a view of shared memory. */
  read(offset: number, into: Uint8Array): Promise<void>;
  /** As BlockDevice has it. The buffers are whole sectors together. */
  readNow?(offset: number, into: readonly Uint8Array[]): boolean;
  write(offset: number, from: Uint8Array): Promise<void>;
  writeNow?(offset: number, from: readonly Uint8Array[]): boolean;
  /** The range reads as zeroes afterwards; space that it has on the host stays its own. */
  writeZeroes(offset: number, length: number): Promise<void>;
  /** UNMAP: the range reads as zeroes afterwards, and space is given back to the host where format and host can. */
  discard(offset: number, length: number): Promise<void>;
  /** What was written is on the host's storage medium when this resolves, and survives a power cut. */
  flush(): Promise<void>;
  resize(size: number): Promise<void>;
  /** What this layer alone holds of a range, in order, without gaps; neighbours may have the same state. */
  ranges(offset: number, length: number): AsyncIterable<DiskRange>;
  /** Live state, for the inspect tree. */
  inspect(): Record<string, unknown>;
  /** Flushes and lets go of the files, the parents' too. */
  close(): Promise<void>;
}

/** Waits for all, also when one fails: a caller's buffer must not change after its request has been answered. */
export async function allDone(work: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(work);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** The checks every format needs. */
export abstract class BaseDisk implements Disk {
  abstract readonly format: DiskFormat;
  abstract readonly size: number;
  abstract readonly logicalSectorSize: number;
  abstract readonly physicalSectorSize: number;
  abstract readonly writable: boolean;
  abstract readonly identifier: Uint8Array | undefined;
  readonly parent: Disk | undefined = undefined;
  /** For messages. */
  abstract readonly path: string;
  #closed = false;

  protected abstract doRead(offset: number, into: Uint8Array): Promise<void>;
  protected abstract doWrite(offset: number, from: Uint8Array): Promise<void>;
  protected abstract doZero(offset: number, length: number, space: 'free' | 'keep'): Promise<void>;
  protected abstract doFlush(): Promise<void>;
  protected abstract doResize(size: number): Promise<void>;
  protected abstract doClose(): Promise<void>;
  protected abstract doRanges(offset: number, length: number): AsyncIterable<DiskRange>;
  abstract inspect(): Record<string, unknown>;

  async read(offset: number, into: Uint8Array): Promise<void> {
    this.#check(offset, into.length);
    if (into.length > 0) await this.doRead(offset, into);
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    this.#checkWrite(offset, from.length);
    if (from.length > 0) await this.doWrite(offset, from);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    this.#checkWrite(offset, length);
    if (length > 0) await this.doZero(offset, length, 'keep');
  }

  async discard(offset: number, length: number): Promise<void> {
    this.#checkWrite(offset, length);
    if (length > 0) await this.doZero(offset, length, 'free');
  }

  async flush(): Promise<void> {
    this.#checkOpen();
    if (this.writable) await this.doFlush();
  }

  async resize(size: number): Promise<void> {
    this.#checkWrite(0, 0);
    if (!Number.isSafeInteger(size) || size <= 0 || size % this.logicalSectorSize !== 0)
      throw this.trouble(
        'range',
        `a size must be a multiple of ${this.logicalSectorSize} bytes above zero, not ${size}`,
      );
    if (size !== this.size) await this.doResize(size);
  }

  ranges(offset: number, length: number): AsyncIterable<DiskRange> {
    this.#check(offset, length);
    return this.doRanges(offset, length);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.doClose();
    } finally {
      await this.parent?.close();
    }
  }

  /** For `readNow` and `writeNow`: the bytes of all buffers. @throws DiskError as `read` and `write` would. */
  protected checkedLength(offset: number, buffers: readonly Uint8Array[], kind: 'read' | 'write'): number {
    const length = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    if (kind === 'read') this.#check(offset, length);
    else this.#checkWrite(offset, length);
    return length;
  }

  #checkOpen(): void {
    if (this.#closed) throw this.trouble('closed', 'the disk is closed');
  }

  #check(offset: number, length: number): void {
    this.#checkOpen();
    const sector = this.logicalSectorSize;
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > this.size)
      throw this.trouble('range', `${length} bytes at ${offset} are not on the disk, which has ${this.size}`);
    if (offset % sector !== 0 || length % sector !== 0)
      throw this.trouble('range', `${length} bytes at ${offset} are not whole sectors of ${sector}`);
  }

  #checkWrite(offset: number, length: number): void {
    this.#check(offset, length);
    if (!this.writable) throw this.trouble('readOnly', 'the disk is read-only');
  }

  protected trouble(kind: DiskTrouble, text: string, cause?: unknown): DiskError {
    return new DiskError(kind, `${this.path}: ${text}`, cause === undefined ? undefined : { cause });
  }
}

/** Reads what a parent has of a range; what lies past its end is zero. */
export async function readParent(parent: Disk | undefined, offset: number, into: Uint8Array): Promise<void> {
  const inside = Math.max(0, Math.min(into.length, (parent?.size ?? 0) - offset));
  into.fill(0, inside);
  if (inside > 0) await parent!.read(offset, into.subarray(0, inside));
}
