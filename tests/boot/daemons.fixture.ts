/** Debian's `hyperv-daemons`, with the libraries they need, as a piece of an initial RAM disk. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../../src/host/node/folders.ts';
import { type CpioEntry, writeCpio } from '../../src/support/cpio.ts';
import { debianRoot } from '../perf/packages.ts';

/** Where the files are in the packages, and where the guest looks for them. */
const FILES: Readonly<Record<string, RegExp>> = {
  'usr/sbin/hv_kvp_daemon': /^usr\/sbin\/hv_kvp_daemon$/,
  'usr/sbin/hv_vss_daemon': /^usr\/sbin\/hv_vss_daemon$/,
  'usr/sbin/hv_fcopy_daemon': /^usr\/sbin\/hv_fcopy_daemon$/,
  'lib/x86_64-linux-gnu/libc.so.6': /\/x86_64-linux-gnu\/libc\.so\.6$/,
  'lib64/ld-linux-x86-64.so.2': /\/x86_64-linux-gnu\/ld-linux-x86-64\.so\.2$/,
};

/** The archive, or the reason why there is none here. */
export async function hypervDaemons(): Promise<Uint8Array<ArrayBuffer> | string> {
  try {
    const cache = join(cacheFolder(), 'daemons');
    mkdirSync(cache, { recursive: true });
    const { folders } = await debianRoot(cache, ['hyperv-daemons']);
    const entries: CpioEntry[] = ['lib', 'lib/x86_64-linux-gnu', 'lib64', 'var', 'var/lib', 'var/lib/hyperv'].map(
      (path) => ({ kind: 'directory', path }),
    );
    for (const [path, pattern] of Object.entries(FILES)) {
      const file = folders.flatMap((folder) => find(folder, pattern))[0];
      if (file === undefined) return `Debian's packages have no ${path}`;
      entries.push({ kind: 'file', path, data: readFileSync(file), mode: 0o755 });
    }
    return writeCpio(entries);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function find(folder: string, pattern: RegExp): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => pattern.test(path))
    .map((path) => join(folder, path))
    .filter(existsSync);
}
