/**
 * Keeps translations of guest code in the user's cache folder, a file for each kernel and build of Viridian, with its CRC-32 behind
 * it: what does not match is not there. A cache that cannot be read or written is no error: the code is translated again.
 */
import { constants } from 'node:fs';
import { mkdir, open, opendir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { cacheFolder } from './folders.ts';
import { buildId } from './program.ts';

/** Files: those that have not been written for longest go. */
const MOST_FILES = 8;
const CHECK = 4;
/** Bytes of a file that can be one of ours. */
const LARGEST = 2 ** 26;
let serial = 0;
/** Bytes of a kernel that tell it from others, of the same length. */
const FINGERPRINT = 2 ** 18;

export interface TranslationCache {
  /** Undefined: there is none. */
  read(): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array): Promise<void>;
}

/** Undefined where there can be none. @param kernel the bytes of the guest's kernel, which name it */
export async function translationCache(
  kernel: Uint8Array,
  {
    folder = join(cacheFolder(), 'translations'),
    build = buildId(),
  }: { readonly folder?: string; readonly build?: string | undefined } = {},
): Promise<TranslationCache | undefined> {
  if (build === undefined || !(await isOpen(folder))) return undefined;
  const fingerprint = crc32(kernel.subarray(0, FINGERPRINT)).toString(16);
  const path = join(folder, `${build}-${fingerprint}-${kernel.length.toString(16)}`);
  const temporary = `${path}.${process.pid}.${serial++}`;
  return {
    read: async () => {
      try {
        // A pipe would have the opener wait.
        await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
        const status = await file.stat();
        const { size } = status;
        if (!status.isFile() || size > LARGEST) return undefined;
        // Threads share it.
        const whole = new Uint8Array(new SharedArrayBuffer(size));
        for (let at = 0; at < size; ) {
          const { bytesRead } = await file.read(whole, at, size - at, at);
          if (bytesRead === 0) return undefined;
          at += bytesRead;
        }
        const bytes = whole.subarray(0, -CHECK);
        const check = new DataView(whole.buffer).getUint32(size - CHECK, true);
        return crc32(bytes) === check ? bytes : undefined;
      } catch {
        return undefined;
      }
    },
    write: async (bytes) => {
      try {
        const check = new Uint8Array(CHECK);
        new DataView(check.buffer).setUint32(0, crc32(bytes), true);
        await writeFile(temporary, [bytes, check], { mode: 0o600 });
        await rename(temporary, path);
        await removeOld(folder);
      } catch {
        // The next run translates again.
        await rm(temporary, { force: true }).catch(() => undefined);
      }
    },
  };
}

/** A worker of the management service may not even look into it. */
async function isOpen(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await (await opendir(folder)).close();
    return true;
  } catch {
    return false;
  }
}

async function removeOld(folder: string): Promise<void> {
  const files = await Promise.all(
    (await readdir(folder)).map(async (name) => ({ name, written: (await stat(join(folder, name))).mtimeMs })),
  );
  const old = files.toSorted((a, b) => b.written - a.written).slice(MOST_FILES);
  await Promise.all(old.map(({ name }) => rm(join(folder, name), { force: true })));
}
