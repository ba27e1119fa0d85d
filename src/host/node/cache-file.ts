/**
 * Files of a folder in the user's cache: replaced whole, bounded in number, read only where nobody else could have written them.
 * A cache that cannot be read or written is no error.
 */
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { threadId } from 'node:worker_threads';

/** What a file is called until it is whole. */
const UNFINISHED = /\.\d+-\d+-\d+\.new$/;
/** Milliseconds after which who wrote it has ended. */
const GIVEN_UP = 3_600_000;
const OTHERS_WRITE = 0o022;
let serial = 0;

/** Open for reading; undefined: it is not there, no file, or others could have written it. */
export function openCacheFile(path: string): { readonly fd: number; readonly size: number } | undefined {
  let fd: number | undefined;
  try {
    if (!isOurs(statSync(dirname(path)))) return undefined;
    // A pipe would have the opener wait.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    const status = fstatSync(fd);
    if (status.isFile() && isOurs(status)) return { fd, size: status.size };
  } catch {
    // There is none.
  }
  if (fd !== undefined) closeSync(fd);
  return undefined;
}

function isOurs({ uid, mode }: Stats): boolean {
  return uid === process.geteuid?.() && (mode & OTHERS_WRITE) === 0;
}

/**
 * Puts a file in the place of an old one, whose readers keep what they have opened; only its user may read it. Of the folder's files
 * those go that have not been written for longest.
 * @param pieces its bytes @param most files that stay in its folder
 */
export function replaceCacheFile(path: string, pieces: readonly Uint8Array[], most: number): void {
  const folder = dirname(path);
  const temporary = `${path}.${process.pid}-${threadId}-${serial++}.new`;
  let fd: number | undefined;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    fd = openSync(temporary, 'wx', 0o600);
    try {
      for (const piece of pieces) for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    tidy(folder, most);
  } catch {
    if (fd !== undefined) rmSync(temporary, { force: true });
  }
}

function tidy(folder: string, most: number): void {
  const files = readdirSync(folder).map((name) => ({
    path: join(folder, name),
    written: modified(join(folder, name)),
  }));
  const unfinished = files.filter(({ path }) => UNFINISHED.test(basename(path)));
  const whole = files.filter((file) => !unfinished.includes(file)).toSorted((a, b) => b.written - a.written);
  const old = [...whole.slice(most), ...unfinished.filter(({ written }) => Date.now() - written > GIVEN_UP)];
  for (const { path } of old) rmSync(path, { force: true });
}

/** Milliseconds; 0: it has gone meanwhile. */
function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
