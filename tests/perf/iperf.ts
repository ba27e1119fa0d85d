/** Debian's iperf3, in one folder with what it needs: for a guest's initial RAM disk, and as the server on this host. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cacheFolder } from '../../src/host/node/folders.ts';
import { type CpioEntry, writeCpio } from '../../src/support/cpio.ts';
import { LOADER, programFiles } from './image.ts';
import { debianRoot } from './packages.ts';

const FOLDER = 'iperf';
/** The command in the guest. */
export const IPERF = `/${FOLDER}/${LOADER} --library-path /${FOLDER} /${FOLDER}/iperf3`;

/** Its files by name, without folders. @throws Unavailable where Debian's packages cannot be had. */
export async function iperfFiles(): Promise<ReadonlyMap<string, Uint8Array>> {
  const root = await debianRoot(cacheFolder(), ['iperf3', 'libc6'], 'iperf');
  const entries = programFiles(root, ['iperf3']);
  const byName = new Map(entries.map((entry) => [basename(entry.path), entry]));
  const bytesOf = (entry: CpioEntry | undefined): Uint8Array | undefined => {
    if (entry?.kind === 'symlink') {
      const target = entries.find((each) => each.kind === 'file' && basename(each.path) === basename(entry.target));
      return bytesOf(target);
    }
    return entry?.kind === 'file' ? entry.data : undefined;
  };
  const files = [...byName].map(([name, entry]) => [name, bytesOf(entry)] as const);
  return new Map(files.filter((each): each is readonly [string, Uint8Array] => each[1] !== undefined));
}

/** For the guest's initial RAM disk. */
export function iperfArchive(files: ReadonlyMap<string, Uint8Array>): Uint8Array<ArrayBuffer> {
  const entries = [...files].map(
    ([name, data]): CpioEntry => ({ kind: 'file', path: `${FOLDER}/${name}`, data, mode: 0o755 }),
  );
  return writeCpio([{ kind: 'directory', path: FOLDER }, ...entries]);
}

/** A server on this host's loopback, until it is killed. @param folder for its files. */
export function iperfServer(files: ReadonlyMap<string, Uint8Array>, folder: string, port: number): ChildProcess {
  for (const [name, data] of files) {
    writeFileSync(join(folder, name), data);
    chmodSync(join(folder, name), 0o755);
  }
  const program = ['--library-path', folder, join(folder, 'iperf3'), '-s', '-B', '127.0.0.1', '-p', String(port)];
  return spawn(join(folder, LOADER), program, { stdio: 'ignore' });
}
