/** The host's services in Node.js. */
import { createHash, randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { crc32 } from 'node:zlib';
import type { HostServices } from '../services.ts';
import { zstandard } from './compress.ts';
import { discardMemory } from './mapped-memory.ts';
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
  crc32: (bytes) => crc32(bytes),
  spill,
  trim,
  sha256: (pieces) => {
    const hash = createHash('sha256');
    for (const piece of pieces) hash.update(piece);
    return hash.digest('hex');
  },
};
