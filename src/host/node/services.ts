/** The host's services in Node.js. */
import { createHash } from 'node:crypto';
import type { HostServices } from '../services.ts';
import { zstandard } from './compress.ts';
import { spill, trim } from './spare-memory.ts';
import { hostTime, monotonicNow, openChannel, startThread } from './threads.ts';

export const nodeServices: HostServices = {
  startThread,
  openChannel,
  monotonicNow,
  hostTime,
  defer: (callback) => {
    setImmediate(callback);
  },
  compression: zstandard,
  spill,
  trim,
  sha256: (pieces) => {
    const hash = createHash('sha256');
    for (const piece of pieces) hash.update(piece);
    return hash.digest('hex');
  },
};
