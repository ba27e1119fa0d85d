/**
 * Keeps V8's machine code of a module that goes with the program in the user's cache folder, for the next start: compiling the
 * interpreter takes longer than all the rest of a start. A cache that cannot be read or written is no error.
 */
import { closeSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { openCacheFile, replaceCacheFile } from './cache-file.ts';
import { cacheFolder } from './folders.ts';
import { machineCode } from './machine-code/machine-code.ts';
import { setUpForGuests } from './threads.ts';

/** Files: of other builds, and other versions of V8. */
const MOST_FILES = 4;
const CHECK = 4;
/** What V8 has optimized since is written where it is one part in so many of all. */
const WORTHWHILE = 20;

export interface CachedModule {
  readonly module: WebAssembly.Module;
  /** Keeps what V8 has optimized by now. */
  keep(): void;
}

/**
 * Compiled, or from the cache. The process has the settings for guests afterwards: where there is nothing to take up, the module
 * is compiled before, function by function when called.
 * @param image the module's bytes
 */
export function cachedModule(
  image: Uint8Array<ArrayBuffer>,
  folder: string = join(cacheFolder(), 'modules'),
): CachedModule {
  const code = machineCode();
  const path = join(folder, `${crc32(image).toString(16)}-${image.length.toString(16)}-${process.versions.v8}`);
  const stored = code && read(path);
  if (stored) setUpForGuests();
  const taken = stored && code.module(image, stored);
  const module = taken ?? new WebAssembly.Module(image);
  setUpForGuests();
  let known = taken ? stored.length : 0;
  return {
    module,
    keep: () => {
      const now = code?.of(module);
      if (!now || now.length - known <= now.length / WORTHWHILE) return;
      known = now.length;
      replaceCacheFile(path, [new Uint8Array(Uint32Array.of(crc32(now)).buffer), now], MOST_FILES);
    },
  };
}

function read(path: string): Uint8Array<ArrayBuffer> | undefined {
  const file = openCacheFile(path);
  if (!file) return undefined;
  try {
    const whole = new Uint8Array(readFileSync(file.fd));
    const code = whole.subarray(CHECK);
    return new DataView(whole.buffer).getUint32(0, true) === crc32(code) ? code : undefined;
  } catch {
    return undefined;
  } finally {
    closeSync(file.fd);
  }
}
