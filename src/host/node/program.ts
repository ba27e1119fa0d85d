/**
 * What this program is made of besides the module that runs: entries of its processes and threads, files that go with it. A
 * checkout has them among its sources, a package in dist/, the single executable in itself (tools/build-executable.ts).
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { getAsset, getAssetKeys, isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import type { ThreadEntry } from '../services.ts';

const IN_CHECKOUT = import.meta.url.endsWith('.ts');

/** Entries of threads, with their sources. */
export const THREADS = {
  'vp-thread': 'vmwp/vp-thread',
  'translator-thread': 'vmwp/translator-thread',
} as const;

/** Entries of processes, with their sources. The single executable takes their names as its first argument. */
export const PROCESSES = {
  'service-process': 'vmms/service-process',
  'worker-process': 'vmwp/node/worker-process',
  'switch-process': 'vswitch/node/switch-process',
} as const;

/** Beside this module's own bundle, or in its room. */
function moduleUrl(name: string, source: string): URL {
  return new URL(IN_CHECKOUT ? `../../${source}.ts` : `./${name}.js`, import.meta.url);
}

export function threadEntry(name: keyof typeof THREADS): ThreadEntry {
  return isSea() ? { source: getAsset(`${name}.js`, 'utf8') } : moduleUrl(name, THREADS[name]);
}

/** What `process.execPath` is given to become one of our processes; its own arguments follow. */
export function processArguments(name: keyof typeof PROCESSES): readonly string[] {
  return isSea() ? [name] : ['--no-warnings', fileURLToPath(moduleUrl(name, PROCESSES[name]))];
}

/** The command line that runs `hv` as it was run now. */
export function ownCommand(): readonly string[] {
  return isSea() ? [process.execPath] : [process.execPath, '--no-warnings', process.argv[1]!];
}

/** Made by the build; undefined in a checkout. */
export function builtInterpreter(): Uint8Array<ArrayBuffer> | undefined {
  if (IN_CHECKOUT) return undefined;
  if (isSea()) return new Uint8Array(getAsset('interpreter.wasm'));
  return new Uint8Array(readFileSync(new URL('./interpreter.wasm', import.meta.url)));
}

/** Names what translates guest code: another build is another one. Undefined: it has no name. A checkout's is that of its sources as they are. */
export function buildId(): string | undefined {
  if (isSea()) return getAsset('build-id', 'utf8');
  if (!IN_CHECKOUT) {
    const file = new URL('./build-id', import.meta.url);
    return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
  }
  // The layouts that are in translated code are made in support/.
  const folder = fileURLToPath(new URL('../..', import.meta.url));
  const files = ['hypervisor', 'support'].flatMap((room) =>
    readdirSync(join(folder, room), { recursive: true, encoding: 'utf8' }).flatMap((name) =>
      name.endsWith('.ts') ? [join(room, name)] : [],
    ),
  );
  const states = files.sort().map((name) => `${name} ${statSync(join(folder, name)).mtimeMs}`);
  return `checkout-${crc32(`${folder} ${states.join()}`).toString(16)}`;
}

/** Files that go with the program. */
export interface ProgramFiles {
  /** Names, with slashes. */
  readonly names: readonly string[];
  read(name: string): Uint8Array | undefined;
}

/** A folder of files. @param inCheckout where a checkout has it, from its root. */
export function programFiles(folder: 'manager' | 'agent', inCheckout: string): ProgramFiles {
  if (!isSea())
    return filesIn(fileURLToPath(new URL(IN_CHECKOUT ? `../../../${inCheckout}` : `./${folder}`, import.meta.url)));
  const prefix = `${folder}/`;
  const names = getAssetKeys().flatMap((key) => (key.startsWith(prefix) ? [key.slice(prefix.length)] : []));
  return {
    names,
    read: (name) => (names.includes(name) ? new Uint8Array(getAsset(prefix + name)) : undefined),
  };
}

/** Of a folder that is there or not. */
export function filesIn(folder: string): ProgramFiles {
  const entries = existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : [];
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length).replaceAll('\\', '/').replace(/^\//, ''))
    .sort();
  const read = (name: string): Uint8Array | undefined => {
    if (name.split('/').includes('..')) return undefined;
    try {
      return readFileSync(join(folder, name));
    } catch {
      return undefined;
    }
  };
  return { names, read };
}
