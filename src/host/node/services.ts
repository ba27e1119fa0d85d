/** The host's services in Node.js. */
import { createHash, randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { HostServices } from '../services.ts';
import { zstandard } from './compress.ts';
import { libc, MADV_DONTNEED } from './libc.ts';
import { spill, trim } from './spare-memory.ts';
import { hostTime, monotonicNow, openChannel, startThread } from './threads.ts';

export const nodeServices: HostServices = {
  startThread,
  openChannel,
  monotonicNow,
  hostTime,
  parallelism: availableParallelism(),
  defer: (callback) => {
    setImmediate(callback);
  },
  discardMemory,
  randomBytes,
  compression: zstandard,
  spill,
  trim,
  sha256: (pieces) => {
    const hash = createHash('sha256');
    for (const piece of pieces) hash.update(piece);
    return hash.digest('hex');
  },
};

/** A WebAssembly memory is private and anonymous on Linux: what is not needed there is zeroes when it is touched again. */
function discardMemory(buffer: SharedArrayBuffer, offset: number, length: number): boolean {
  const c = libc();
  if (c === undefined || offset % c.pageSize !== 0 || length % c.pageSize !== 0) return false;
  return c.madvise(buffer, offset, length, MADV_DONTNEED) === 0;
}
