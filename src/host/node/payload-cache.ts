/**
 * Keeps unpacked kernels in the user's cache folder, each with its SHA-256 behind it: what does not match is not there. A
 * cache that cannot be written is no error.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from './folders.ts';
import { nodeCrypto } from './node-crypto.ts';

const DIGEST = 32;

export function payloadCache(): {
  get(key: string): Promise<Uint8Array | undefined>;
  put(key: string, bytes: Uint8Array): Promise<void>;
} {
  const folder = join(cacheFolder(), 'kernels');
  const file = (key: string): string => join(folder, key.replaceAll(/[^0-9A-Za-z.-]/g, '_'));
  const digest = (bytes: Uint8Array): Buffer => nodeCrypto().hash('sha256', bytes, 'buffer');
  return {
    get: async (key) => {
      try {
        const whole = await readFile(file(key));
        const bytes = whole.subarray(0, -DIGEST);
        return digest(bytes).equals(whole.subarray(-DIGEST)) ? bytes : undefined;
      } catch {
        return undefined;
      }
    },
    put: async (key, bytes) => {
      try {
        await mkdir(folder, { recursive: true });
        const temporary = `${file(key)}.${process.pid}`;
        await writeFile(temporary, [bytes, digest(bytes)]);
        await rename(temporary, file(key));
      } catch {
        // The next start unpacks again.
      }
    },
  };
}
