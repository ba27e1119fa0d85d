/**
 * The few calls of the C library that Node does not offer, through node:ffi (Node 26.1, on Linux). Where it is missing,
 * callers have a slower way, or go without.
 */
import process from 'node:process';

type Ffi = typeof import('node:ffi');

const EINTR = 4;

export interface LibC {
  /** 0, or the error number. */
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  /** 0, or the error number. */
  flock(fd: number, operation: number): number;
  /** The offset, or minus the error number. */
  lseek(fd: number, offset: number, whence: number): number;
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
let mallocTrim: ((keep: bigint) => number) | null | undefined;

export function libc(): LibC | undefined {
  loaded ??= load() ?? null;
  return loaded ?? undefined;
}

/** malloc_trim(3), where the C library has it (glibc). */
export function releaseFreed(): void {
  mallocTrim ??=
    quietly((ffi) => {
      const { functions: c } = ffi.dlopen(null, { malloc_trim: { arguments: ['u64'], return: 'i32' } });
      return (keep: bigint) => c.malloc_trim(keep);
    }) ?? null;
  mallocTrim?.(0n);
}

function load(): LibC | undefined {
  return quietly((ffi) => {
    const { functions: c } = ffi.dlopen(null, {
      fallocate: { arguments: ['i32', 'i32', 'i64', 'i64'], return: 'i32' },
      flock: { arguments: ['i32', 'i32'], return: 'i32' },
      lseek: { arguments: ['i32', 'i64', 'i32'], return: 'i64' },
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
    };
  });
}

/** Undefined where FFI or what is asked of it is missing. */
function quietly<T>(work: (ffi: Ffi) => T): T | undefined {
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
