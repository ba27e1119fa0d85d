/** Files of a folder in the user's cache: replaced whole, bounded in number. A cache that cannot be written is no error. */
import { closeSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';

let serial = 0;

/**
 * Puts a file in the place of an old one, whose readers keep what they have opened; only its user may read it. Of the folder's files
 * those go that have not been written for longest.
 * @param pieces its bytes @param most files that stay in its folder
 */
export function replaceCacheFile(path: string, pieces: readonly Uint8Array[], most: number): void {
  const folder = dirname(path);
  const temporary = `${path}.${process.pid}.${serial++}`;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const fd = openSync(temporary, 'wx', 0o600);
    try {
      for (const piece of pieces) for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    const files = readdirSync(folder).map((name) => ({ name, written: statSync(join(folder, name)).mtimeMs }));
    const old = files.toSorted((a, b) => b.written - a.written).slice(most);
    for (const { name } of old) rmSync(join(folder, name), { force: true });
  } catch {
    try {
      rmSync(temporary, { force: true });
    } catch {
      // There is not even a folder.
    }
  }
}
