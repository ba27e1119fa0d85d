/**
 * Shared memory whose pages come from a file when they are touched, and memory that is given back: mmap(2) over parts of a
 * WebAssembly memory. V8 reserves its whole range of addresses and asks nothing of the pages in it.
 */
import { libc, MADV_DONTNEED } from './libc.ts';

/** Where files lie under the memory, what is given back must not come from them again. */
const overFiles = new WeakSet<SharedArrayBuffer>();

/** False where this host cannot: nothing has happened then. */
export function mapFile(
  buffer: SharedArrayBuffer,
  at: number,
  length: number,
  file: { readonly fd: number; readonly offset: number },
): boolean {
  const c = libc();
  if (c === undefined || [at, length, file.offset].some((n) => n % c.pageSize !== 0)) return false;
  if (c.mapOver(buffer, at, length, file) !== 0) return false;
  overFiles.add(buffer);
  return true;
}

/** The memory reads as zeroes from then on, and takes none. False where this host cannot. */
export function discardMemory(buffer: SharedArrayBuffer, offset: number, length: number): boolean {
  const c = libc();
  if (c === undefined || offset % c.pageSize !== 0 || length % c.pageSize !== 0) return false;
  if (length === 0) return true;
  // Of memory that is private and anonymous the kernel makes zeroes itself.
  if (!overFiles.has(buffer)) return c.madvise(buffer, offset, length, MADV_DONTNEED) === 0;
  return c.mapOver(buffer, offset, length) === 0;
}
