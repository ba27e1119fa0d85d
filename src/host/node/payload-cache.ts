/** Keeps unpacked kernels in the user's cache folder. A cache that cannot be written is no error. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from './folders.ts';

export function payloadCache(): {
  get(key: string): Promise<Uint8Array | undefined>;
  put(key: string, bytes: Uint8Array): Promise<void>;
} {
  const folder = join(cacheFolder(), 'kernels');
  const file = (key: string): string => join(folder, key.replaceAll(/[^0-9A-Za-z.-]/g, '_'));
  return {
    get: async (key) => {
      try {
        return await readFile(file(key));
      } catch {
        return undefined;
      }
    },
    put: async (key, bytes) => {
      try {
        await mkdir(folder, { recursive: true });
        const temporary = `${file(key)}.${process.pid}`;
        await writeFile(temporary, bytes);
        await rename(temporary, file(key));
      } catch {
        // The next start unpacks again.
      }
    },
  };
}
