/**
 * Keeps translations of guest code in the user's cache folder, a file for each kernel and build of Viridian. Each part has its CRC-32
 * with it: what does not match is not there. A cache that cannot be read or written is no error: the code is translated again.
 *
 * A file: a head of three words (CRC of what follows up to the parts, length of the index in bytes, count of parts), the index,
 * each part's length and CRC, the parts.
 */
import { closeSync, readSync } from 'node:fs';
import { mkdir, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { StoredTranslations, TranslationCache } from '../translations.ts';
import { openCacheFile, replaceCacheFile } from './cache-file.ts';
import { cacheFolder } from './folders.ts';
import { buildId } from './program.ts';

/** Files: those that have not been written for longest go. */
const MOST_FILES = 8;
const HEAD = 12;
/** Of a part: its length and CRC. */
const ENTRY = 8;
/** Bytes of what is read at once: a file that says more is none of ours. */
const LARGEST = 2 ** 25;
/** Bytes of a kernel that tell it from others, of the same length. */
const FINGERPRINT = 2 ** 18;

/** Undefined where there can be none. @param kernel the bytes of the guest's kernel, which name it */
export async function translationCache(
  kernel: Uint8Array,
  {
    folder = join(cacheFolder(), 'translations'),
    build = buildId(),
  }: { readonly folder?: string; readonly build?: string | undefined } = {},
): Promise<TranslationCache | undefined> {
  if (build === undefined || !(await isOpen(folder))) return undefined;
  // Machine code is of one version of V8.
  const fingerprint = crc32(kernel.subarray(0, FINGERPRINT), crc32(process.versions.v8)).toString(16);
  const path = join(folder, `${build}-${fingerprint}-${kernel.length.toString(16)}`);
  let stored = openStored(path);
  const close = (): void => {
    if (stored) closeSync(stored.fd);
    stored = undefined;
  };
  return {
    path,
    get stored() {
      return stored;
    },
    reopen: () => {
      close();
      stored = openStored(path);
    },
    close,
  };
}

function openStored(path: string): StoredTranslations | undefined {
  const file = openCacheFile(path);
  const stored = file && readHead(file);
  if (file && !stored) closeSync(file.fd);
  return stored;
}

function readHead({ fd, size }: { readonly fd: number; readonly size: number }): StoredTranslations | undefined {
  const head = new Uint32Array(HEAD / 4);
  if (!fill(fd, new Uint8Array(head.buffer), 0)) return undefined;
  const [check, length = 0, count = 0] = head;
  const partsAt = HEAD + length + count * ENTRY;
  if (length % 4 !== 0 || partsAt > Math.min(size, LARGEST)) return undefined;
  const rest = new Uint8Array(new SharedArrayBuffer(partsAt - HEAD));
  if (!fill(fd, rest, HEAD) || crc32(rest, headCheck(head)) !== check) return undefined;
  const table = new Uint32Array(rest.slice(length).buffer);
  return { index: rest.subarray(0, length), fd, table, partsAt };
}

/** False: it ends before, or cannot be read. */
function fill(fd: number, into: Uint8Array, from: number): boolean {
  try {
    for (let at = 0; at < into.length; ) {
      const count = readSync(fd, into, at, into.length - at, from + at);
      if (count === 0) return false;
      at += count;
    }
    return true;
  } catch {
    return false;
  }
}

function headCheck(head: Uint32Array): number {
  return crc32(new Uint8Array(head.buffer, 4, HEAD - 4));
}

/** Reads a part of an open file, named by where it begins among all parts and its length. Undefined: it is not what it was. */
export function partReader({
  fd,
  table,
  partsAt,
}: StoredTranslations): (at: number, length: number) => Uint8Array<ArrayBuffer> | undefined {
  const checks = new Map<number, { length: number; check: number }>();
  let place = 0;
  for (let n = 0; n < table.length; n += 2) {
    const [length = 0, check = 0] = table.subarray(n, n + 2);
    checks.set(place, { length, check });
    place += length;
  }
  return (at, length) => {
    const known = checks.get(at);
    if (known?.length !== length) return undefined;
    const part = new Uint8Array(length);
    return fill(fd, part, partsAt + at) && crc32(part) === known.check ? part : undefined;
  };
}

/** @param index and parts as KeptRegions encodes them */
export function writeTranslations(path: string, index: Uint8Array, parts: readonly Uint8Array[]): void {
  const table = new Uint32Array(parts.flatMap((part) => [part.length, crc32(part)]));
  const tableBytes = new Uint8Array(table.buffer);
  const head = Uint32Array.of(0, index.length, parts.length);
  head[0] = crc32(tableBytes, crc32(index, headCheck(head)));
  replaceCacheFile(path, [new Uint8Array(head.buffer), index, tableBytes, ...parts], MOST_FILES);
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
