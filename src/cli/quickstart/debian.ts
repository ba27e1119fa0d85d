/**
 * Fetches Debian's kernel and busybox with the system's own package client. No root: packages are downloaded and
 * unpacked into the user's cache, nothing is installed. Kept by package version, and used again without the network.
 */
import { hash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ViridianError } from '../../contracts/errors.ts';
import { findCommand, runCommand } from '../../host/node/command.ts';
import { collectModules, HYPERV_MODULES } from './modules.ts';

export const PASS_FILES =
  'pass your own files instead: --kernel FILE --busybox FILE (a kernel image and a static busybox)';

/** What is wanted of Debian: the package to ask for, where the file is in it. */
export const WANTED = {
  kernel: { package: 'linux-image-cloud-amd64', file: /^boot\/vmlinuz-/ },
  busybox: { package: 'busybox-static', file: /^(usr\/)?bin\/busybox$/ },
} as const;
export type Wanted = keyof typeof WANTED;

/** A file in the cache, and the package it came from. */
export interface CachedFile {
  readonly package: string;
  readonly version: string;
  readonly path: string;
  readonly size: number;
  /** In hexadecimal. */
  readonly sha256: string;
}
export interface CachedFiles extends Readonly<Record<Wanted, CachedFile>> {
  /** The kernel's modules for Hyper-V's devices, as an initial RAM disk (see modules.ts). Older caches lack it. */
  readonly modules?: CachedFile;
}
const MODULES = 'modules';
/** Another list of modules is another file. */
const MODULES_FILE = `modules-${hash('sha256', HYPERV_MODULES.join()).slice(0, 8)}`;

export type Progress = (text: string) => void;

/** What earlier runs fetched, or undefined: cache/debian/current.json names it. Every file is as it was fetched. */
export function cachedFiles(cache: string): CachedFiles | undefined {
  const { kernel, busybox, modules } = remembered(cache) ?? {};
  if (!kernel || !busybox || !intact(kernel) || !intact(busybox)) return undefined;
  return modules && basename(modules.path) === MODULES_FILE && intact(modules)
    ? { kernel, busybox, modules }
    : { kernel, busybox };
}

/** The files in the cache that are not as they were fetched, by path. */
export function damagedFiles(cache: string): string[] {
  const files = Object.values(remembered(cache) ?? {});
  return files.filter((file) => existsSync(file.path) && !intact(file)).map((file) => file.path);
}

/** Only entries that are whole; an older build's have no digest. */
function remembered(cache: string): Partial<CachedFiles> | undefined {
  try {
    const files = JSON.parse(readFileSync(join(cache, 'debian', 'current.json'), 'utf8')) as CachedFiles;
    const names = ([...Object.keys(WANTED), MODULES] as (keyof CachedFiles)[]).filter((name) => {
      const { package: from, version, path, size, sha256 } = files[name] ?? {};
      return [from, version, path, sha256].every((text) => typeof text === 'string') && typeof size === 'number';
    });
    return Object.fromEntries(names.map((name) => [name, files[name]]));
  } catch {
    return undefined;
  }
}

function intact(file: CachedFile): boolean {
  try {
    return statSync(file.path).size === file.size && digestOf(file.path).sha256 === file.sha256;
  } catch {
    return false;
  }
}

function digestOf(path: string): { size: number; sha256: string } {
  const bytes = readFileSync(path);
  return { size: bytes.length, sha256: hash('sha256', bytes) };
}

export function rememberFiles(cache: string, files: CachedFiles): void {
  const path = join(cache, 'debian', 'current.json');
  const own = `${path}.${process.pid}`;
  writeFileSync(own, `${JSON.stringify(files, undefined, 2)}\n`);
  renameSync(own, path);
}

/**
 * `apt-cache depends` prints the package and, indented, one "Depends: name" for each dependency; alternatives start with
 * a bar, virtual packages are in angle brackets.
 */
export function kernelPackageOf(depends: string): string | undefined {
  const names = [...depends.matchAll(/^\s*\|?Depends:\s*(\S+)$/gm)].map((match) => match[1]!);
  return names.find((name) => /^linux-image-\d.*-amd64$/.test(name));
}

export interface PackageRecord {
  readonly package: string;
  readonly version: string;
  /** Bytes to download. */
  readonly size: number;
}

/** The first stanza of `apt-cache show`: the candidate comes first. */
export function packageRecordOf(show: string): PackageRecord | undefined {
  const stanza = show.split(/\n\n/)[0] ?? '';
  const field = (name: string): string | undefined => new RegExp(`^${name}:\\s*(.+)$`, 'm').exec(stanza)?.[1]?.trim();
  const [name, version, size] = [field('Package'), field('Version'), Number(field('Size') ?? 0)];
  return name === undefined || version === undefined ? undefined : { package: name, version, size };
}

/** The reason out of apt's talk: its first line marked as error, or else as warning. */
export function aptReason(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim());
  for (const mark of [/^E(rr)?:\s*/, /^W:\s*/]) {
    const line = lines.find((candidate) => mark.test(candidate));
    if (line !== undefined) return line.replace(mark, '');
  }
  return lines.find((line) => line !== '') ?? 'no reason given';
}

/** The apt client, with the system's package lists and, where those are missing or out of date, lists of our own. */
export class DebianPackages {
  readonly #cache: string;
  #ownLists = false;
  /** What went wrong fetching lists of our own; apt counts a source that does not answer as a warning. */
  #listTrouble: string | undefined;

  /** @throws ViridianError `notFound` when this is no machine with Debian's package client. */
  constructor(cache: string) {
    this.#cache = join(cache, 'debian');
    const missing = ['apt-get', 'apt-cache', 'dpkg-deb'].filter((name) => findCommand(name) === undefined);
    if (missing.length > 0) {
      throw new ViridianError(
        'notFound',
        `${missing.join(' and ')} not found, so Debian's packages cannot be fetched: ${PASS_FILES}`,
      );
    }
    mkdirSync(this.#cache, { recursive: true });
  }

  /** The wanted file of the newest version, downloaded and unpacked if the cache does not have it. */
  async fetch(wanted: Wanted, progress: Progress = () => {}): Promise<CachedFile> {
    try {
      return await this.#fetch(wanted, progress);
    } catch (error) {
      if (!(error instanceof ViridianError) || this.#ownLists) throw error;
      progress('the package lists of this system are missing or out of date, fetching our own');
      await this.#updateOwnLists();
      return await this.#fetch(wanted, progress).catch((second: unknown) => {
        if (this.#listTrouble === undefined) throw second;
        throw new ViridianError('failure', `cannot fetch Debian's package lists: ${this.#listTrouble}; ${PASS_FILES}`);
      });
    }
  }

  /** The modules that belong to a kernel that `fetch` gave. */
  async fetchModules(kernel: CachedFile, progress: Progress = () => {}): Promise<CachedFile> {
    const path = join(dirname(kernel.path), MODULES_FILE);
    if (!existsSync(path)) {
      const record = { package: kernel.package, version: kernel.version, size: 0 };
      const scratch = mkdtempSync(join(this.#cache, 'fetch-'));
      try {
        const archive = await this.#download(record, scratch, progress);
        await unpack(archive, join(scratch, 'root'), WANTED.kernel.file);
        writeModules(join(scratch, 'root'), path);
      } finally {
        rmSync(scratch, { recursive: true, force: true });
      }
    }
    return { ...kernel, path, ...digestOf(path) };
  }

  async #fetch(wanted: Wanted, progress: Progress): Promise<CachedFile> {
    progress('looking it up');
    const record = await this.#resolve(wanted);
    const folder = join(this.#cache, `${record.package}_${record.version.replaceAll(':', '%3a')}`);
    const path = join(folder, wanted);
    const known = remembered(dirname(this.#cache))?.[wanted];
    if (known?.path === path && intact(known)) return known;

    let digest: ReturnType<typeof digestOf>;
    const scratch = mkdtempSync(join(this.#cache, 'fetch-'));
    try {
      const archive = await this.#download(record, scratch, progress);
      progress('unpacking');
      const file = await unpack(archive, join(scratch, 'root'), WANTED[wanted].file);
      // Copied beside its place and renamed, so that a file with the final name is always whole.
      digest = digestOf(file);
      mkdirSync(folder, { recursive: true });
      const own = `${path}.${process.pid}`;
      copyFileSync(file, own);
      renameSync(own, path);
      if (wanted === 'kernel') writeModules(join(scratch, 'root'), join(folder, MODULES_FILE));
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
    return { package: record.package, version: record.version, path, ...digest };
  }

  /** The package that has the file: the kernel's metapackage is empty, its dependency changes with each update. */
  async #resolve(wanted: Wanted): Promise<PackageRecord> {
    let name: string = WANTED[wanted].package;
    if (wanted === 'kernel') {
      const { stdout } = await this.#apt('apt-cache', ['depends', name]);
      name = kernelPackageOf(stdout) ?? lacks(name);
    }
    const { stdout } = await this.#apt('apt-cache', ['show', '--no-all-versions', name]);
    return packageRecordOf(stdout) ?? lacks(name);
  }

  async #download(record: PackageRecord, folder: string, progress: Progress): Promise<string> {
    const done = (): number =>
      files(folder).reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
    const report = (): void =>
      progress(`${record.package} ${record.version}: ${megabytes(done())} of ${megabytes(record.size)}`);
    report();
    const timer = setInterval(report, 250);
    try {
      const args = ['download', '-q', `${record.package}=${record.version}`];
      const { code, stderr } = await this.#apt('apt-get', args, folder);
      const archive = files(folder).find((file) => file.endsWith('.deb'));
      if (code !== 0 || archive === undefined) {
        throw new ViridianError('failure', `cannot download ${record.package}: ${aptReason(stderr)}`);
      }
      return archive;
    } finally {
      clearInterval(timer);
    }
  }

  async #updateOwnLists(): Promise<void> {
    this.#ownLists = true;
    for (const folder of ['lists', 'archives'])
      mkdirSync(join(this.#cache, 'apt', folder, 'partial'), { recursive: true });
    const { code, stderr } = await this.#apt('apt-get', ['update', '-q']);
    if (code !== 0 || /^(W|E): Failed to fetch/m.test(stderr)) this.#listTrouble = aptReason(stderr);
  }

  #apt(command: string, args: readonly string[], cwd = this.#cache): ReturnType<typeof runCommand> {
    const options = aptOptions(this.#ownLists ? join(this.#cache, 'apt') : undefined);
    return runCommand(command, [...options, ...args], { cwd });
  }
}

function writeModules(root: string, path: string): void {
  const own = `${path}.${process.pid}`;
  writeFileSync(own, collectModules(root));
  renameSync(own, path);
}

function lacks(name: string): never {
  throw new ViridianError('notFound', `this system's package sources have no ${name}: ${PASS_FILES}`);
}

async function unpack(archive: string, folder: string, wanted: RegExp): Promise<string> {
  const { code, stderr } = await runCommand('dpkg-deb', ['-x', archive, folder]);
  if (code !== 0)
    throw new ViridianError('badFile', `cannot unpack ${basename(archive)}: ${stderr.trim().split('\n')[0]}`);
  const file = files(folder).find((path) => wanted.test(path.slice(folder.length + 1)));
  if (file === undefined)
    throw new ViridianError('badFile', `${basename(archive)} has no ${wanted.source}: ${PASS_FILES}`);
  return file;
}

/** All regular files under a folder. */
function files(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Options of apt's commands; `own` is a folder with package lists of our own, in place of the system's. */
export function aptOptions(own: string | undefined): readonly string[] {
  // Without this, root's apt warns that its user _apt cannot enter our folder.
  const options = ['-o', 'APT::Sandbox::User=root'];
  if (own === undefined) return options;
  const places = [`Dir::State::lists=${own}/lists`, `Dir::Cache=${own}`, 'Dir::Cache::archives=archives'];
  return [...options, ...places.flatMap((place) => ['-o', place])];
}
