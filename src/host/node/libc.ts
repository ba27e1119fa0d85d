/**
 * The few calls of the C library that Node does not offer, through node:ffi (Node 26.1, on Linux). Where it is missing,
 * callers have a slower way, or go without.
 */
import process from 'node:process';

const EINTR = 4;

export interface LibC {
  /** 0, or the error number. */
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  /** 0, or the error number. */
  flock(fd: number, operation: number): number;
  /** The offset, or minus the error number. */
  lseek(fd: number, offset: number, whence: number): number;
  /** A file descriptor, or minus the error number. */
  socket(domain: number, type: number, protocol: number): number;
  /** With a pointer to bytes that the call may change, and with a number. 0, or the error number. */
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  ioctlValue(fd: number, request: number, argument: number): number;
}

export const FALLOC_KEEP_SIZE = 1;
export const FALLOC_PUNCH_HOLE = 2;
export const FALLOC_ZERO_RANGE = 0x10;
export const LOCK_SHARED = 1;
export const LOCK_EXCLUSIVE = 2;
export const LOCK_NONBLOCKING = 4;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const ENXIO = 6;
export const EWOULDBLOCK = 11;
export const ENOSPC = 28;
export const EDQUOT = 122;

let loaded: LibC | null | undefined;

export function libc(): LibC | undefined {
  loaded ??= load() ?? null;
  return loaded ?? undefined;
}

function load(): LibC | undefined {
  if (process.platform !== 'linux') return undefined;
  // Node warns on stderr that FFI is experimental. Ours is the decision, the user has nothing to do about it.
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    const ffi = process.getBuiltinModule('node:ffi');
    const { functions: c } = ffi.dlopen(null, {
      fallocate: { arguments: ['i32', 'i32', 'i64', 'i64'], return: 'i32' },
      flock: { arguments: ['i32', 'i32'], return: 'i32' },
      lseek: { arguments: ['i32', 'i64', 'i32'], return: 'i64' },
      socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
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
    return {
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
      ioctl: (fd, request, argument) => retried(() => c.ioctl(fd, BigInt(request), ffi.getRawPointer(argument))),
      ioctlValue: (fd, request, argument) => retried(() => c.ioctl(fd, BigInt(request), BigInt(argument))),
    };
  } catch {
    return undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}
