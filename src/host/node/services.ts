/** The host's services in Node.js. */
import { availableParallelism } from 'node:os';
import { crc32 } from 'node:zlib';
import type { HostServices } from '../services.ts';
import { zstandard } from './compress.ts';
import { discardMemory } from './mapped-memory.ts';
import { nodeCrypto } from './node-crypto.ts';
import { currentCore } from './priority.ts';
import { spill, trim } from './spare-memory.ts';
import { hostTime, monotonicNow, openChannel, startThread } from './threads.ts';

export const nodeServices: HostServices = {
  startThread,
  openChannel,
  monotonicNow,
  hostTime,
  parallelism: availableParallelism(),
  currentCore,
  defer: (callback) => {
    setImmediate(callback);
  },
  discardMemory,
  randomBytes: (count) => nodeCrypto().randomBytes(count),
  compression: zstandard,
  crc32: (bytes) => crc32(bytes),
  spill,
  trim,
  sha256: (pieces) => {
    const hash = nodeCrypto().createHash('sha256');
    for (const piece of pieces) hash.update(piece);
    return hash.digest('hex');
  },
};
