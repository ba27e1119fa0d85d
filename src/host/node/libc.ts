/**
 * The few calls of the C library that Node does not offer, through node:ffi (Node 26.1, on Linux). Where it is missing,
 * callers have a slower way, or go without.
 */
import process from 'node:process';

type Ffi = typeof import('node:ffi');

const EINTR = 4;
const SC_PAGESIZE = 30;

export interface LibC {
  /** 0, or the error number. The range lies within the buffer, or this throws RangeError. */
  madvise(buffer: ArrayBufferLike, offset: number, length: number, advice: number): number;
  /**
   * mmap(2) over [at, at + length) of the buffer: the file's bytes from `offset` on, copied when they are written to; without a
   * file zeroes. 0, or the error number. The range lies within the buffer, or this throws RangeError.
   */
  mapOver(buffer: SharedArrayBuffer, at: number, length: number, file?: { fd: number; offset: number }): number;
  /** Bytes in a page of the host's memory. */
  readonly pageSize: number;
  /** 0, or the error number. */
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  /** 0, or the error number. */
  flock(fd: number, operation: number): number;
  /**
   * Reads into buffers one after the other, what is in memory already: bytes read, or minus the error number. The buffers'
   * memory must not move.
   */
  readNow(fd: number, into: readonly Uint8Array[], offset: number): number;
  /** Writes buffers one after the other: bytes written, or minus the error number. */
  writeNow(fd: number, from: readonly Uint8Array[], offset: number): number;
  /** The offset, or minus the error number. */
  lseek(fd: number, offset: number, whence: number): number;
  /** A file descriptor, or minus the error number. */
  socket(domain: number, type: number, protocol: number): number;
  /** Where bytes lie. They stay there if they are a whole ArrayBuffer. */
  address(bytes: Uint8Array<ArrayBuffer>): bigint;
  /** `address` is a whole struct sockaddr. 0, or the error number. */
  bind(fd: number, address: Uint8Array<ArrayBuffer>): number;
  /** A struct msghdr by its address: bytes, or minus the error number. */
  sendmsg(fd: number, message: bigint, flags: number): number;
  recvmsg(fd: number, message: bigint, flags: number): number;
  /** With a pointer to bytes that the call may change, and with a number. 0, or the error number. */
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  ioctlValue(fd: number, request: number, argument: number): number;
}

export const MADV_DONTNEED = 4;
export const FALLOC_KEEP_SIZE = 1;
export const FALLOC_PUNCH_HOLE = 2;
export const FALLOC_ZERO_RANGE = 0x10;
export const LOCK_SHARED = 1;
export const LOCK_EXCLUSIVE = 2;
export const LOCK_NONBLOCKING = 4;
const RWF_NOWAIT = 8;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
/** IOV_MAX. */
export const MOST_BUFFERS = 1024;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const ENXIO = 6;
export const EWOULDBLOCK = 11;
export const ENOSPC = 28;
export const EOPNOTSUPP = 95;
export const EDQUOT = 122;

const M_TRIM_THRESHOLD = -1;
const M_ARENA_MAX = -8;
const MOST_ARENAS = 2;
const KEPT_AT_MOST = 2 ** 17;

let loaded: LibC | null | undefined;
let mallocTrim: ((keep: bigint) => number) | null | undefined;

export function libc(): LibC | undefined {
  if (loaded === undefined) loaded = load() ?? null;
  return loaded ?? undefined;
}

/** malloc_trim(3), where the C library has it (glibc). */
export function releaseFreed(): void {
  if (mallocTrim === undefined)
    mallocTrim =
      quietly((ffi) => {
        const { functions: c } = ffi.dlopen(null, { malloc_trim: { arguments: ['u64'], return: 'i32' } });
        return (keep: bigint) => c.malloc_trim(keep);
      }) ?? null;
  mallocTrim?.(0n);
}

/**
 * mallopt(3), where the C library has it (glibc): what is freed goes back soon, and threads that are made from here on share
 * what is kept. Compilers take and free much, each of V8's threads from an arena of its own.
 */
export function keepLittle(): void {
  quietly((ffi) => {
    const { functions: c } = ffi.dlopen(null, { mallopt: { arguments: ['i32', 'i32'], return: 'i32' } });
    c.mallopt(M_ARENA_MAX, MOST_ARENAS);
    c.mallopt(M_TRIM_THRESHOLD, KEPT_AT_MOST);
  });
}

function load(): LibC | undefined {
  return quietly((ffi) => {
    const { functions: c } = ffi.dlopen(null, {
      fallocate: { arguments: ['i32', 'i32', 'i64', 'i64'], return: 'i32' },
      madvise: { arguments: ['u64', 'u64', 'i32'], return: 'i32' },
      mmap: { arguments: ['u64', 'u64', 'i32', 'i32', 'i32', 'i64'], return: 'i64' },
      sysconf: { arguments: ['i32'], return: 'i64' },
      flock: { arguments: ['i32', 'i32'], return: 'i32' },
      lseek: { arguments: ['i32', 'i64', 'i32'], return: 'i64' },
      preadv2: { arguments: ['i32', 'buffer', 'i32', 'i64', 'i32'], return: 'i64' },
      pwritev: { arguments: ['i32', 'buffer', 'i32', 'i64'], return: 'i64' },
      socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
      bind: { arguments: ['i32', 'u64', 'i32'], return: 'i32' },
      sendmsg: { arguments: ['i32', 'u64', 'i32'], return: 'i64' },
      recvmsg: { arguments: ['i32', 'u64', 'i32'], return: 'i64' },
      ioctl: { arguments: ['i32', 'u64', 'u64'], return: 'i32' },
      __errno_location: { arguments: [], return: 'pointer' },
    });
    const errno = (): number => ffi.getInt32(c.__errno_location(), 0);
    const retried = (call: () => number): number => {
      for (;;) {
        if (call() === 0) return 0;
        const error = errno();
        if (error !== EINTR) return error;
      }
    };
    // struct iovec: address, length; each in two words, because a BigInt is an object.
    const vector = new Uint32Array(4 * MOST_BUFFERS);
    const vectorBytes = new Uint8Array(vector.buffer);
    /** Asking for an address costs as much as a short read. It is below 2^47. */
    const bases = new WeakMap<ArrayBufferLike, number>();
    const baseOf = (buffer: ArrayBufferLike): number => {
      let base = bases.get(buffer);
      if (base === undefined) bases.set(buffer, (base = Number(ffi.getRawPointer(new Uint8Array(buffer)))));
      return base;
    };
    const point = (buffers: readonly Uint8Array[]): void => {
      let buffer: ArrayBufferLike | undefined;
      let base = 0;
      let at = 0;
      for (const bytes of buffers) {
        if (bytes.buffer !== buffer) {
          buffer = bytes.buffer;
          base = baseOf(buffer);
        }
        const address = base + bytes.byteOffset;
        vector[at++] = address % 2 ** 32;
        vector[at++] = address / 2 ** 32;
        vector[at++] = bytes.length % 2 ** 32;
        vector[at++] = bytes.length / 2 ** 32;
      }
    };
    return {
      writeNow: (fd, from, offset) => {
        point(from);
        const count = Number(c.pwritev(fd, vectorBytes, from.length, BigInt(offset)));
        return count < 0 ? -errno() : count;
      },
      readNow: (fd, into, offset) => {
        point(into);
        const count = Number(c.preadv2(fd, vectorBytes, into.length, BigInt(offset), RWF_NOWAIT));
        return count < 0 ? -errno() : count;
      },
      pageSize: Number(c.sysconf(SC_PAGESIZE)),
      madvise: (buffer, offset, length, advice) => {
        if (!(offset >= 0 && length >= 0 && offset + length <= buffer.byteLength))
          throw new RangeError(`no memory at ${offset}+${length}`);
        const address = ffi.getRawPointer(buffer as ArrayBuffer) + BigInt(offset);
        return retried(() => c.madvise(address, BigInt(length), advice));
      },
      mapOver: (buffer, at, length, file) => {
        if (!(at >= 0 && length > 0 && at + length <= buffer.byteLength))
          throw new RangeError(`no memory at ${at}+${length}`);
        const address = ffi.getRawPointer(new Uint8Array(buffer)) + BigInt(at);
        const flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | (file === undefined ? MAP_ANONYMOUS : 0);
        const result = c.mmap(
          address,
          BigInt(length),
          PROT_READ_WRITE,
          flags,
          file?.fd ?? -1,
          BigInt(file?.offset ?? 0),
        );
        return BigInt(result) === -1n ? errno() : 0;
      },
      fallocate: (fd, mode, offset, length) => retried(() => c.fallocate(fd, mode, BigInt(offset), BigInt(length))),
      flock: (fd, operation) => retried(() => c.flock(fd, operation)),
      lseek: (fd, offset, whence) => {
        const at = Number(c.lseek(fd, BigInt(offset), whence));
        return at < 0 ? -errno() : at;
      },
      socket: (domain, type, protocol) => {
        const fd = c.socket(domain, type, protocol);
        return fd < 0 ? -errno() : fd;
      },
      address: (bytes) => ffi.getRawPointer(bytes),
      bind: (fd, address) => (c.bind(fd, ffi.getRawPointer(address), address.length) === 0 ? 0 : errno()),
      sendmsg: (fd, message, flags) => {
        const count = Number(c.sendmsg(fd, message, flags));
        return count < 0 ? -errno() : count;
      },
      recvmsg: (fd, message, flags) => {
        const count = Number(c.recvmsg(fd, message, flags));
        return count < 0 ? -errno() : count;
      },
      ioctl: (fd, request, argument) => retried(() => c.ioctl(fd, BigInt(request), ffi.getRawPointer(argument))),
      ioctlValue: (fd, request, argument) => retried(() => c.ioctl(fd, BigInt(request), BigInt(argument))),
    };
  });
}

/** Undefined where FFI or what is asked of it is missing. */
export function quietly<T>(work: (ffi: Ffi) => T): T | undefined {
  if (process.platform !== 'linux') return undefined;
  // Node warns on stderr that FFI is experimental. Ours is the decision, the user has nothing to do about it.
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return work(process.getBuiltinModule('node:ffi'));
  } catch {
    return undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}
