/**
 * Files that disks live in: random access with many requests in flight, and the few operations on names that chains of
 * disks need. `node/disk-files.ts` is the machine's; `memory-files.ts` holds files in memory.
 */
import { type ErrorCode, ViridianError } from '../contracts/errors.ts';

/** Why an operation on a file failed, for those who must tell: a full host disk pauses a machine, damage does not. */
export type FileFailure = 'notFound' | 'exists' | 'denied' | 'busy' | 'outOfSpace' | 'notAFile' | 'io';

const CODES: Readonly<Record<FileFailure, ErrorCode>> = {
  notFound: 'notFound',
  exists: 'wrongState',
  denied: 'denied',
  busy: 'wrongState',
  outOfSpace: 'failure',
  notAFile: 'badFile',
  io: 'failure',
};

export class FileError extends ViridianError {
  readonly failure: FileFailure;

  constructor(failure: FileFailure, message: string, options?: ErrorOptions) {
    super(CODES[failure], message, options);
    this.failure = failure;
  }
}

/** The failure that an error, or one of its causes, stands for. Not `instanceof`: it may come from another bundle. */
export function fileFailureOf(error: unknown): FileFailure | undefined {
  for (let depth = 0; error instanceof Error && depth < 8; depth++, error = error.cause)
    if ('failure' in error && typeof error.failure === 'string') return error.failure as FileFailure;
  return undefined;
}

export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** An open file. Offsets and lengths are bytes. All operations may be in flight at the same time. */
export interface RandomFile {
  readonly path: string;
  readonly writable: boolean;
  size(): Promise<number>;
  /** Fills `into`, which may be a view of shared memory; resolves with the bytes read, fewer only at the file's end. */
  read(offset: number, into: Uint8Array): Promise<number>;
  /**
   * Reads at once what the host has in memory, into buffers one after the other; false when there is less than
   * `length` bytes, their sum, or the host cannot say, or not for such buffers: shared memory is best.
   */
  readNow?(offset: number, into: readonly Uint8Array[], length: number): boolean;
  /** Writes all of it, past the end too. */
  write(offset: number, from: Uint8Array): Promise<void>;
  /**
   * The same for writing, where that is likely not to have to wait. False: it is to be written by `write`, which says what is
   * wrong; part of it may have been.
   */
  writeNow?(offset: number, from: readonly Uint8Array[], length: number): boolean;
  /**
   * Puts [offset, offset + length) of the file in the place of the memory at `at`: it is read when it is touched, and copied
   * when it is written to, so that the file stays as it is. It must not be cut or written to while the memory is in use; its name
   * may go. False where the host cannot: nothing has happened then.
   */
  map?(offset: number, buffer: SharedArrayBuffer, at: number, length: number): boolean;
  /**
   * The range reads as zeroes afterwards; it must lie within the file.
   * @param space what becomes of it on the host: `free` gives it back where the host can, `keep` does not.
   */
  zero(offset: number, length: number, space: 'free' | 'keep'): Promise<void>;
  /** What was written before is on the storage medium when this resolves. */
  sync(): Promise<void>;
  /** Cuts the file, or lets it grow with zeroes that take no space. */
  resize(size: number): Promise<void>;
  /** Reserves space on the host and lets the file grow, where the host can; else only lets it grow. */
  allocate(offset: number, length: number): Promise<void>;
  /** The first range at or after `offset` that may hold something else than zeroes. */
  nextData(offset: number): Promise<Extent | undefined>;
  close(): Promise<void>;
}

export interface OpenFileOptions {
  readonly write?: boolean;
  /** Make it: `new` refuses a file that is there, `replace` empties it. */
  readonly create?: 'new' | 'replace';
  /** Against other processes and other openings in this one. By default `exclusive` to write, `shared` to read. */
  readonly lock?: 'exclusive' | 'shared' | 'none';
  /** A file that is made is its owner's alone to read. */
  readonly private?: boolean;
}

export interface DiskFiles {
  /** @throws FileError */
  open(path: string, options?: OpenFileOptions): Promise<RandomFile>;
  /** A file without a name, gone when it is closed, on the file system of the path's folder, or where temporary files go. */
  temporary(beside?: string): Promise<RandomFile>;
  exists(path: string): Promise<boolean>;
  /** Absolute and without symbolic links. @throws FileError */
  realPath(path: string): Promise<string>;
  folderOf(path: string): string;
  nameOf(path: string): string;
  /** An absolute `path` stays what it is. */
  join(folder: string, path: string): string;
  /** The way from a folder to a path. Both absolute. */
  relative(folder: string, path: string): string;
  /** Replaces what is there, durably. */
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Random bytes for identifiers. */
  random(count: number): Uint8Array;
  /** Milliseconds since 1970 UTC, for time stamps in files. */
  now(): number;
}
