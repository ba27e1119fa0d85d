/** Files of disks on this machine: Node's asynchronous calls, and the C library for holes and locks (libc.ts). */

import * as fs from 'node:fs';
import { mkdtemp, open as openHandle, realpath, rename, rm, stat, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as paths from 'node:path';
import {
  type DiskFiles,
  type Extent,
  FileError,
  type FileFailure,
  type OpenFileOptions,
  type RandomFile,
} from '../disk-files.ts';
import {
  EDQUOT,
  ENOSPC,
  ENXIO,
  EOPNOTSUPP,
  EWOULDBLOCK,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  LOCK_EXCLUSIVE,
  LOCK_NONBLOCKING,
  LOCK_SHARED,
  libc,
  MOST_BUFFERS,
  SEEK_DATA,
  SEEK_HOLE,
} from './libc.ts';
import { mapFile } from './mapped-memory.ts';
import { nodeCrypto } from './node-crypto.ts';
import type { PassedFile } from './pass-files.ts';

const FAILURES: Readonly<Record<string, readonly [FileFailure, string]>> = {
  ENOENT: ['notFound', 'no such file'],
  ENOTDIR: ['notFound', 'no such file'],
  EEXIST: ['exists', 'the file is there already'],
  EACCES: ['denied', 'permission denied'],
  EPERM: ['denied', 'permission denied'],
  EROFS: ['denied', 'the file system is read-only'],
  EISDIR: ['notAFile', 'is a folder, not a file'],
  ENXIO: ['notAFile', 'is not a file'],
  ENOSPC: ['outOfSpace', 'no space left on the device'],
  EDQUOT: ['outOfSpace', 'the disk quota is used up'],
  EFBIG: ['outOfSpace', 'larger than the file system allows'],
};

function explained(path: string, error: unknown): FileError {
  if (error instanceof FileError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const [failure, text] = FAILURES[code] ?? ['io', error instanceof Error ? error.message : String(error)];
  return new FileError(failure, `${path}: ${text}`, { cause: error });
}

/** A read or write counts its bytes in 31 bits. */
const LARGEST_TRANSFER = 2 ** 30;
/**
 * Into the host's memory, a write takes microseconds, less than to hand it to another thread. One of so many milliseconds had to
 * wait for the storage medium, and so would the next ones for a while.
 */
const SLOW_WRITE = 4;
const SLOW_TIME = 500;
const ZEROES = new Uint8Array(2 ** 20);

/** Whether the C library may be given the buffers: only shared memory stays where it is. */
function addressable(buffers: readonly Uint8Array[]): boolean {
  return buffers.length <= MOST_BUFFERS && buffers.every(({ buffer }) => buffer instanceof SharedArrayBuffer);
}

/** Who holds which file in this process, where there is no flock: device and inode to number of readers, or -1. */
const held = new Map<string, number>();

class NodeFile implements RandomFile {
  readonly path: string;
  readonly writable: boolean;
  readonly #fd: number;
  readonly #release: () => void;
  /** Cleared when the file system turns out to have no holes. */
  #holes = true;
  /** Cleared when the file system cannot say what it has in memory. */
  #nowait = true;
  /** Writes are left to other threads until then. */
  #slowUntil = 0;
  #open = true;

  constructor(path: string, fd: number, writable: boolean, release: () => void) {
    this.path = path;
    this.#fd = fd;
    this.writable = writable;
    this.#release = release;
  }

  async size(): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    fs.fstat(this.#fd, (error, info) => (error ? reject(explained(this.path, error)) : resolve(info.size)));
    return promise;
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    let done = await this.#transfer('read', offset, into);
    // Short reads are rare before the end; whoever sees 0 is there.
    while (done > 0 && done < into.length) {
      const more = await this.#transfer('read', offset + done, into.subarray(done));
      if (more === 0) break;
      done += more;
    }
    return done;
  }

  readNow(offset: number, into: readonly Uint8Array[], length: number): boolean {
    if (!this.#nowait || !addressable(into)) return false;
    const count = libc()?.readNow(this.#fd, into, offset) ?? -EOPNOTSUPP;
    if (count === -EOPNOTSUPP) this.#nowait = false;
    return count === length;
  }

  writeNow(offset: number, from: readonly Uint8Array[], length: number): boolean {
    const start = performance.now();
    if (start < this.#slowUntil || !addressable(from)) return false;
    const count = libc()?.writeNow(this.#fd, from, offset);
    const end = performance.now();
    if (end - start > SLOW_WRITE) this.#slowUntil = end + SLOW_TIME;
    return count === length;
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    let done = 0;
    while (done < from.length)
      done += await this.#transfer('write', offset + done, done === 0 ? from : from.subarray(done));
  }

  #transfer(kind: 'read' | 'write', offset: number, bytes: Uint8Array): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const length = Math.min(bytes.length, LARGEST_TRANSFER);
    const finish = (error: Error | null, count: number): void => {
      if (error) reject(explained(this.path, error));
      else resolve(count);
    };
    if (kind === 'read') fs.read(this.#fd, bytes, 0, length, offset, finish);
    else fs.write(this.#fd, bytes, 0, length, offset, finish);
    return promise;
  }

  map(offset: number, buffer: SharedArrayBuffer, at: number, length: number): boolean {
    return mapFile(buffer, at, length, { fd: this.#fd, offset });
  }

  async zero(offset: number, length: number, space: 'free' | 'keep'): Promise<void> {
    if (length <= 0) return;
    const mode = space === 'free' ? FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE : FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE;
    if (this.#holes) {
      const error = libc()?.fallocate(this.#fd, mode, offset, length);
      if (error === 0) return;
      if (error === ENOSPC || error === EDQUOT) throw this.#full();
      if (space === 'free') this.#holes = false;
    }
    for (let done = 0; done < length; done += ZEROES.length)
      await this.write(offset + done, length - done < ZEROES.length ? ZEROES.subarray(0, length - done) : ZEROES);
  }

  #full(): FileError {
    return new FileError('outOfSpace', `${this.path}: no space left on the device`);
  }

  sync(): Promise<void> {
    return this.#call((done) => fs.fdatasync(this.#fd, done));
  }

  resize(size: number): Promise<void> {
    return this.#call((done) => fs.ftruncate(this.#fd, size, done));
  }

  #call(call: (done: (error: Error | null) => void) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    call((error) => (error ? reject(explained(this.path, error)) : resolve()));
    return promise;
  }

  async allocate(offset: number, length: number): Promise<void> {
    const error = libc()?.fallocate(this.#fd, 0, offset, length);
    if (error === ENOSPC || error === EDQUOT) throw this.#full();
    if (error !== 0 && (await this.size()) < offset + length) await this.resize(offset + length);
  }

  async nextData(offset: number): Promise<Extent | undefined> {
    const size = await this.size();
    if (offset >= size) return undefined;
    const start = libc()?.lseek(this.#fd, offset, SEEK_DATA);
    if (start === -ENXIO) return undefined;
    if (start === undefined || start < 0) return { offset, length: size - offset };
    const end = libc()!.lseek(this.#fd, start, SEEK_HOLE);
    return { offset: start, length: (end < 0 ? size : end) - start };
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#release();
    await this.#call((done) => fs.close(this.#fd, done));
  }
}

/** Takes the lock. @returns what gives it back; closing the file does that for flock. */
async function lock(path: string, fd: number, kind: 'exclusive' | 'shared'): Promise<() => void> {
  const busy = (): FileError =>
    new FileError('busy', `${path}: in use by another ${kind === 'exclusive' ? 'reader or writer' : 'writer'}`);
  const c = libc();
  if (c !== undefined) {
    const error = c.flock(fd, (kind === 'exclusive' ? LOCK_EXCLUSIVE : LOCK_SHARED) | LOCK_NONBLOCKING);
    if (error === EWOULDBLOCK) throw busy();
    // Some network file systems have no locks: then there is none.
    return () => {};
  }
  const { dev, ino } = fs.fstatSync(fd);
  const key = `${dev}:${ino}`;
  const holders = held.get(key) ?? 0;
  if (kind === 'exclusive' ? holders !== 0 : holders < 0) throw busy();
  held.set(key, kind === 'exclusive' ? -1 : holders + 1);
  return () => {
    const left = (held.get(key) ?? 0) - 1;
    if (left > 0) held.set(key, left);
    else held.delete(key);
  };
}

/** Files that this process was handed open, because it may not open them itself. Each is used once. */
const handed: HandedFile[] = [];
type HandedFile = PassedFile & { readonly fd: number };

/** Files that were handed over take the place of those that nobody has opened since. */
export function acceptHandedFiles(files: readonly HandedFile[]): void {
  for (const { fd } of handed.splice(0)) fs.closeSync(fd);
  handed.push(...files);
}

function takeHanded(path: string, write: boolean): number | undefined {
  const at = handed.findIndex((file) => file.path === path && file.writable === write);
  return at < 0 ? undefined : handed.splice(at, 1)[0]!.fd;
}

async function open(path: string, options: OpenFileOptions = {}): Promise<RandomFile> {
  const write = options.write === true || options.create !== undefined;
  try {
    if (options.create !== 'new') {
      // Before it is opened: that may wait for ever, or do something.
      const info = await stat(path).catch((error: unknown) => {
        if (options.create === undefined) throw error;
      });
      if (info?.isDirectory()) throw new FileError('notAFile', `${path}: is a folder, not a file`);
      if (info?.isFile() === false) throw new FileError('notAFile', `${path}: is not a file`);
    }
    const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL } = fs.constants;
    let flags = write ? O_RDWR : O_RDONLY;
    if (options.create !== undefined) flags |= O_CREAT;
    if (options.create === 'new') flags |= O_EXCL;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const ours = options.create === undefined ? takeHanded(path, write) : undefined;
    if (ours !== undefined) resolve(ours);
    else
      fs.open(path, flags, options.private === true ? 0o600 : 0o644, (error, fd) =>
        error ? reject(error) : resolve(fd),
      );
    const fd = await promise;
    try {
      const kind = options.lock ?? (write ? 'exclusive' : 'shared');
      const release = kind === 'none' ? () => {} : await lock(path, fd, kind);
      // Emptied only once it is ours.
      if (options.create === 'replace') fs.ftruncateSync(fd, 0);
      return new NodeFile(path, fd, write, release);
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  } catch (error) {
    throw explained(path, error);
  }
}

async function temporary(beside?: string): Promise<RandomFile> {
  const make = (place: string): Promise<string> => mkdtemp(paths.join(place, '.viridian-'));
  const folder = await make(beside === undefined ? tmpdir() : paths.dirname(beside)).catch((error: unknown) => {
    // Whoever may write to a disk may not always write beside it.
    if (beside === undefined || explained(beside, error).failure !== 'denied') throw error;
    return make(tmpdir());
  });
  try {
    const path = paths.join(folder, 'scratch');
    const file = await open(path, { create: 'new' });
    await unlink(path);
    return file;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export const nodeDiskFiles: DiskFiles = {
  open,
  temporary: (beside) =>
    temporary(beside).catch((error: unknown) => {
      throw explained(beside ?? tmpdir(), error);
    }),
  exists: (path) =>
    stat(path).then(
      () => true,
      () => false,
    ),
  realPath: (path) =>
    realpath(path).catch((error: unknown) => {
      throw explained(path, error);
    }),
  folderOf: (path) => paths.dirname(path),
  nameOf: (path) => paths.basename(path),
  join: (folder, path) => paths.resolve(folder, path),
  relative: (folder, path) => paths.relative(folder, path),
  rename: async (from, to) => {
    try {
      await rename(from, to);
      // The name is durable when its folder is. Not every file system can.
      const folder = await openHandle(paths.dirname(paths.resolve(to)), 'r');
      await folder.sync().catch(() => {});
      await folder.close();
    } catch (error) {
      throw explained(to, error);
    }
  },
  remove: (path) =>
    rm(path, { force: true }).catch((error: unknown) => {
      throw explained(path, error);
    }),
  random: (count) => new Uint8Array(nodeCrypto().randomBytes(count)),
  now: () => Date.now(),
};
