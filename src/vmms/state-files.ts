/**
 * Files of saved states. One that this service had written and synced, and that is still what it was then, by its inode, size and
 * time of change, need not be read before a VM goes on from it; any other one is compared with its checksums first.
 */
import { copyFileSync, linkSync, rmSync, statSync } from 'node:fs';
import { nodeDiskFiles } from '../host/node/disk-files.ts';
import type { Database } from './database.ts';

function stampOf(file: string): string | undefined {
  const info = statSync(file, { bigint: true, throwIfNoEntry: false });
  return info && [info.dev, info.ino, info.size, info.mtimeNs].join(' ');
}

export class StateFiles {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** It was just written. */
  written(file: string): void {
    const stamp = stampOf(file);
    if (stamp !== undefined) this.#db.run('insert or ignore into whole_states (stamp) values (?)', stamp);
  }

  isAsWritten(file: string): boolean {
    const stamp = stampOf(file);
    return stamp !== undefined && this.#db.get('select stamp from whole_states where stamp = ?', stamp) !== undefined;
  }

  /** Another name for it: it is never written to again. */
  link(from: string, to: string): void {
    try {
      linkSync(from, to);
    } catch {
      copyFileSync(from, to);
    }
  }

  remove(file: string): void {
    const info = statSync(file, { throwIfNoEntry: false });
    const stamp = info?.nlink === 1 ? stampOf(file) : undefined;
    rmSync(file, { force: true });
    rmSync(`${file}.partial`, { force: true });
    if (stamp !== undefined) this.#db.run('delete from whole_states where stamp = ?', stamp);
  }
}

/** Bytes that a file takes on the host: states have holes. */
export function bytesTaken(file: string): number {
  const info = statSync(file, { throwIfNoEntry: false });
  return info === undefined ? 0 : Math.min(info.size, info.blocks * 512);
}

const COPY = 4 * 2 ** 20;

/** A copy that takes no more room than the original. */
export async function copyWithHoles(from: string, to: string): Promise<void> {
  const source = await nodeDiskFiles.open(from, { lock: 'none' });
  try {
    const target = await nodeDiskFiles.open(to, { create: 'replace', private: true });
    try {
      const size = await source.size();
      await target.resize(size);
      const buffer = new Uint8Array(COPY);
      for (
        let data = await source.nextData(0);
        data !== undefined;
        data = await source.nextData(data.offset + data.length)
      )
        for (let done = 0; done < data.length; done += COPY) {
          const part = buffer.subarray(0, Math.min(COPY, data.length - done));
          await source.read(data.offset + done, part);
          await target.write(data.offset + done, part);
        }
      await target.sync();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}
