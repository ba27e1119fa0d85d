/**
 * Builds a Debian disk: packages with mmdebstrap, the file system with mke2fs, both of the host's, the partition table and the
 * VHDX by our own storage. Runs as root, or as an ordinary user with subordinate ids in a user namespace.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { ViridianError } from '../../contracts/errors.ts';
import { nodeCodecs } from '../../host/node/codecs.ts';
import { type CommandResult, findCommand, runCommand } from '../../host/node/command.ts';
import { sha512Crypt } from '../../host/node/crypt.ts';
import { nodeDiskFiles } from '../../host/node/disk-files.ts';
import {
  convertDisk,
  createDisk,
  type DiskFormat,
  GPT_TAIL,
  openDisk,
  PartitionType,
  writeGpt,
} from '../../storage/index.ts';
import {
  checkWord,
  customizeScript,
  essentialScript,
  mirrorsOf,
  PACKAGES,
  PUBLIC_MIRROR,
  PUBLIC_SECURITY_MIRROR,
  publicKeys,
  SUITE,
} from '../debian.ts';
import { agentFiles } from './agent.ts';

export interface DebianImageOptions {
  /** The disk to make. */
  readonly file: string;
  /** Of the disk. Default: 'vhdx', dynamic. */
  readonly format?: Extract<DiskFormat, 'vhdx' | 'vhd' | 'raw'> | undefined;
  /** Bytes. Default: 4 GiB. */
  readonly size?: number | undefined;
  /** Packages beside those that every image has. */
  readonly include?: readonly string[] | undefined;
  readonly hostname?: string | undefined;
  /** Default: 'debian'. May use sudo. */
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** The content of public key files, with the names that they have in messages. */
  readonly keys?: readonly { readonly name: string; readonly text: string }[] | undefined;
  /** Default: 'Etc/UTC'. */
  readonly timezone?: string | undefined;
  /** Where the host gets Debian's packages from. Default: as its apt does. */
  readonly mirror?: string | undefined;
  /** The file is replaced. */
  readonly replace?: boolean | undefined;
  /** Ends the work; nothing is left. */
  readonly signal?: AbortSignal | undefined;
}

export interface DebianImage {
  readonly file: string;
  readonly size: number;
  readonly user: string;
  readonly hostname: string;
  readonly packages: number;
}

/** Told what is being done, and how much of everything is, from 0 to 1. */
export type ImageProgress = (step: string, fraction: number) => void;

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const SMALLEST = GIB;
const PARTITION_OFFSET = MIB;

const REMAINING = 'downloading and setting up the other packages';
/** What part of the time a step takes, by what mmdebstrap says when it begins. */
const STEPS: readonly (readonly [says: RegExp, step: string, begins: number])[] = [
  [/running apt-get update/, 'reading the package lists', 0.01],
  [/downloading packages with apt/, 'downloading the essential packages', 0.05],
  [/extracting archives/, 'unpacking the essential packages', 0.12],
  [/installing essential packages/, 'setting up the essential packages', 0.16],
  [/installing remaining packages/, REMAINING, 0.24],
  [/running --customize-hook/, 'setting up the user and the network', 0.8],
];
const FILE_SYSTEM_BEGINS = 0.84;
const DISK_BEGINS = 0.92;

/**
 * @throws ViridianError `notFound` when a tool of the host's is missing, with the command that installs it; `invalid` for
 * options; `failure` with the reason that the tools gave. Nothing is left then.
 */
export async function createDebianImage(
  options: DebianImageOptions,
  progress: ImageProgress = () => {},
): Promise<DebianImage> {
  const file = resolve(options.file);
  const size = options.size ?? 4 * GIB;
  if (size < SMALLEST || size % MIB !== 0)
    throw new ViridianError('invalid', 'a Debian image has at least 1 GiB, and whole mebibytes');
  if (options.replace !== true && existsSync(file))
    throw new ViridianError('wrongState', `${file}: the file is there already: give --force to replace it`);
  if (!existsSync(dirname(file))) throw new ViridianError('notFound', `${dirname(file)}: no such folder`);
  const recipe = recipeOf(options);
  const include = (options.include ?? []).map((name) => checkWord('package', name));
  const tools = hostTools();
  await probeNamespace(tools.asRoot);
  const { signal } = options;

  // Beside the disk, where there is to be room; others must be able to enter, since the packages' own user does.
  const work = await mkdtemp(join(dirname(file), `.${basename(file)}-`));
  try {
    await chmod(work, 0o755);
    const steps = new Steps(progress);
    const tree = join(work, 'root');
    const packages = await installPackages(
      { tools, work, tree, recipe, include, mirror: options.mirror, signal },
      steps,
    );
    steps.at('making the file system', FILE_SYSTEM_BEGINS);
    const raw = join(work, 'disk.raw');
    await makeRawDisk(raw, size);
    await makeFileSystem({ tools, tree, raw, size, uuid: recipe.rootUuid, signal });
    steps.at('writing the disk', DISK_BEGINS);
    const host = { files: nodeDiskFiles, codecs: nodeCodecs };
    const format = options.format ?? 'vhdx';
    // ext4 spreads its tables: large blocks would hold little each.
    const to = { path: file, format, replace: options.replace, ...(format === 'vhdx' ? { blockSize: MIB } : {}) };
    await convertDisk(host, { from: { path: raw, format: 'raw' }, to }, (done, all) => {
      signal?.throwIfAborted();
      steps.at('writing the disk', DISK_BEGINS + (1 - DISK_BEGINS) * (done / all));
    });
    return { file, size, user: recipe.user.name, hostname: recipe.hostname, packages };
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw error;
  } finally {
    // There its files may have owners that only root can remove.
    const [command, ...args] = [...tools.asRoot, 'rm', '-rf', join(work, 'root')];
    await runCommand(command, args).catch(() => undefined);
    await rm(work, { recursive: true, force: true, maxRetries: 3 });
  }
}

function recipeOf(options: DebianImageOptions) {
  const { user = 'debian', hostname = 'debian', timezone = 'Etc/UTC', password, keys = [] } = options;
  if (password === undefined && keys.length === 0)
    throw new ViridianError('invalid', 'nobody could log in: give a password or a public key');
  if (password === '') throw new ViridianError('invalid', 'an empty password opens no session: give another');
  if (user === 'root') throw new ViridianError('invalid', 'the user cannot be root: it is one who may use sudo');
  return {
    hostname: checkWord('hostname', hostname),
    timezone: checkWord('timezone', timezone),
    locale: 'C.UTF-8',
    ...agentFiles(),
    rootUuid: randomUUID(),
    machineId: randomBytes(16).toString('hex'),
    user: {
      name: checkWord('user', user),
      passwordHash: password === undefined ? undefined : sha512Crypt(password),
      keys: keys.flatMap(({ name, text }) => publicKeys(text, name)),
    },
  };
}

interface Tools {
  /** Undefined: to be fetched with apt, which needs no root. */
  readonly mmdebstrap: string | undefined;
  readonly mke2fs: string;
  /** What a command is run behind where files have owners; nothing for root. */
  readonly asRoot: readonly string[];
  readonly keyring: string;
}

/** A user namespace in which the user is root and has the subordinate ids as all others. */
const NAMESPACE: readonly string[] = ['unshare', '--user', '--map-root-user', '--map-auto', '--'];

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

function hostTools(): Tools {
  const root = process.getuid?.() === 0;
  const needed: Record<string, string> = { 'apt-get': 'apt', perl: 'perl', tar: 'tar', mke2fs: 'e2fsprogs' };
  if (!root) needed.unshare = 'util-linux';
  const missing = Object.keys(needed).filter((name) => findCommand(name) === undefined);
  const packages = new Set(missing.map((name) => needed[name]!));
  if (!existsSync(KEYRING)) {
    missing.push(KEYRING);
    packages.add('debian-archive-keyring');
  }
  // What mmdebstrap needs to make a root without being root: a user namespace with users in it.
  if (!root && (findCommand('newuidmap') === undefined || !hasSubordinateIds())) {
    missing.push('newuidmap and a line for you in /etc/subuid and /etc/subgid');
    packages.add('uidmap');
  }
  if (missing.length > 0)
    throw new ViridianError(
      'notFound',
      `a Debian image cannot be built here without ${missing.join(' and ')}: apt-get install ${[...packages].join(' ')}`,
    );
  return {
    mmdebstrap: findCommand('mmdebstrap'),
    mke2fs: findCommand('mke2fs')!,
    asRoot: root ? [] : NAMESPACE,
    keyring: KEYRING,
  };
}

/** @throws ViridianError where this host does not let its users have namespaces */
async function probeNamespace([command, ...args]: readonly string[]): Promise<void> {
  if (command === undefined) return;
  const result = await runCommand(command, [...args, 'true']);
  if (result.code !== 0)
    throw new ViridianError(
      'denied',
      `a Debian image is built in a user namespace, which you may not have here (${reasonOf(result)}): build it as root`,
    );
}

function hasSubordinateIds(): boolean {
  try {
    const { username, uid } = userInfo();
    const names = [username, String(uid)];
    return readFileSync('/etc/subuid', 'utf8')
      .split('\n')
      .some((line) => names.includes(line.split(':')[0] ?? '-'));
  } catch {
    return false;
  }
}

/** The step and its part of the whole; never backwards. */
class Steps {
  readonly #progress: ImageProgress;
  step = '';
  #fraction = 0;

  constructor(progress: ImageProgress) {
    this.#progress = progress;
    this.at('starting', 0);
  }
  at(step: string, fraction: number): void {
    this.step = step;
    this.#fraction = Math.max(this.#fraction, fraction);
    this.#progress(step, this.#fraction);
  }
}

interface Installation {
  readonly tools: Tools;
  readonly work: string;
  readonly tree: string;
  readonly recipe: ReturnType<typeof recipeOf>;
  readonly include: readonly string[];
  readonly mirror: string | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Leaves the root's files in a folder, or, for an ordinary user, in a tar beside it. @returns how many packages it has */
async function installPackages(to: Installation, steps: Steps): Promise<number> {
  const { tools, work, tree, recipe, include, signal } = to;
  const scripts = { essential: essentialScript(), customize: customizeScript(recipe) };
  for (const [name, text] of Object.entries(scripts)) await writeFile(join(work, name), text, { mode: 0o755 });
  const sources = join(work, 'debian.list');
  await writeFile(sources, await sourcesList(to.mirror, tools.keyring));
  const program = tools.mmdebstrap ?? (await fetchMmdebstrap(work, signal));
  // /bin and its like are links from the beginning; else a package makes them, which does not work under fakechroot.
  const hooks = join(dirname(program), '../share/mmdebstrap/hooks/maybe-merged-usr');
  const asRoot = tools.asRoot.length === 0;
  const args = [
    '--verbose',
    '--variant=minbase',
    `--mode=${asRoot ? 'root' : 'unshare'}`,
    `--format=${asRoot ? 'directory' : 'tar'}`,
    '--architectures=amd64',
    // The machine id stays the one that the recipe gives.
    '--skip=cleanup/reproducible',
    ...(existsSync(hooks) ? [`--hook-dir=${hooks}`] : []),
    `--include=${[...PACKAGES, ...include].join(',')}`,
    ...(await proxies()).map((option) => `--aptopt=${option}`),
    `--essential-hook=${join(work, 'essential')}`,
    `--customize-hook=${join(work, 'customize')}`,
    SUITE,
    asRoot ? tree : `${tree}.tar`,
    sources,
  ];
  const env = asRoot ? { TMPDIR: work } : {};
  let packages = 0;
  let remaining = { all: 1, begun: 0 };
  const result = await runCommand('perl', [program, ...args], {
    signal,
    env: { ...env, SOURCE_DATE_EPOCH: String(Math.floor(Date.now() / 1000)), DEBIAN_FRONTEND: 'noninteractive' },
    onLine: (line) => {
      const step = STEPS.find(([says]) => says.test(line));
      if (step !== undefined) steps.at(step[1], step[2]);
      const count = /(\d+) newly installed/.exec(line);
      if (count !== null) remaining = { all: Number(count[1]), begun: 0 };
      packages += /^Setting up /.test(line) ? 1 : 0;
      if (steps.step !== REMAINING || !/^(?:Unpacking|Setting up) /.test(line)) return;
      // Twice for each package.
      steps.at(REMAINING, 0.3 + 0.48 * Math.min(1, ++remaining.begun / (2 * remaining.all)));
    },
  }).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw error;
  });
  if (result.code !== 0)
    throw new ViridianError('failure', `Debian's packages could not be installed: ${reasonOf(result)}`);
  return packages;
}

/** mmdebstrap out of its package, which is a program and no more. */
async function fetchMmdebstrap(work: string, signal: AbortSignal | undefined): Promise<string> {
  const folder = join(work, 'mmdebstrap');
  await mkdir(folder);
  const help = 'install it: apt-get install mmdebstrap';
  const fetched = await runCommand('apt-get', ['-o', 'APT::Sandbox::User=root', 'download', '-q', 'mmdebstrap'], {
    cwd: folder,
    signal,
  });
  const [archive] = (await readdir(folder)).filter((name) => name.endsWith('.deb'));
  if (archive === undefined)
    throw new ViridianError('notFound', `mmdebstrap is not here and cannot be fetched (${reasonOf(fetched)}): ${help}`);
  const unpacked = await runCommand('dpkg-deb', ['-x', archive, '.'], { cwd: folder, signal });
  if (unpacked.code !== 0) throw new ViridianError('failure', `cannot unpack ${archive}: ${reasonOf(unpacked)}`);
  return join(folder, 'usr/bin/mmdebstrap');
}

async function sourcesList(mirror: string | undefined, keyring: string): Promise<string> {
  const format = '$(REPO_URI)|$(CODENAME)|$(ORIGIN)|$(LABEL)';
  const { stdout } = await runCommand('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
  const found = mirrorsOf(stdout);
  const main = mirror ?? found.main ?? PUBLIC_MIRROR;
  const security = found.security ?? (main === PUBLIC_MIRROR ? PUBLIC_SECURITY_MIRROR : undefined);
  const line = (uri: string, suite: string): string => `deb [signed-by=${keyring}] ${uri} ${suite} main\n`;
  const updates = security === undefined ? '' : line(security, `${SUITE}-security`);
  return `${line(main, SUITE)}${line(main, `${SUITE}-updates`)}${updates}`;
}

/** How the host's apt reaches its mirror. */
async function proxies(): Promise<string[]> {
  const { stdout } = await runCommand('apt-config', ['dump']);
  return stdout.split('\n').filter((line) => /^Acquire::\S*Proxy\S* "[^"]+";$/.test(line));
}

async function makeRawDisk(path: string, size: number): Promise<void> {
  const host = { files: nodeDiskFiles, codecs: nodeCodecs };
  await createDisk(host, path, { format: 'raw', type: 'dynamic', size });
  const disk = await openDisk(host, path, { format: 'raw', write: true });
  try {
    const root = {
      offset: PARTITION_OFFSET,
      size: size - PARTITION_OFFSET - GPT_TAIL,
      type: PartitionType.linuxRootX64,
      id: randomUUID(),
      name: 'root',
    };
    await writeGpt(disk, randomUUID(), [root]);
  } finally {
    await disk.close();
  }
}

interface FileSystem {
  readonly tools: Tools;
  readonly tree: string;
  readonly raw: string;
  readonly size: number;
  readonly uuid: string;
  readonly signal: AbortSignal | undefined;
}

async function makeFileSystem({ tools, tree, raw, size, uuid, signal }: FileSystem): Promise<void> {
  const kibibytes = (size - PARTITION_OFFSET - GPT_TAIL) / 1024;
  // The file is new and all zeroes: what mke2fs would leave for the first mount to do costs nothing now.
  const extended = `offset=${PARTITION_OFFSET},lazy_itable_init=0,lazy_journal_init=0,nodiscard`;
  const options = ['-q', '-F', '-t', 'ext4', '-L', 'root', '-U', uuid, '-m', '1', '-E', extended, '-d', tree];
  const make = [tools.mke2fs, ...options, raw, `${kibibytes}k`];
  const unpack = `mkdir "$0" && tar --extract --exclude './dev/*' --xattrs --xattrs-include='*' --file "$0.tar" --directory "$0" && rm "$0.tar" && exec "$@"`;
  const [command, ...args] = tools.asRoot.length === 0 ? make : [...tools.asRoot, 'sh', '-c', unpack, tree, ...make];
  const result = await runCommand(command!, args, { signal });
  if (result.code !== 0)
    throw new ViridianError(
      'failure',
      `the file system could not be made (is ${size} bytes enough?): ${reasonOf(result)}`,
    );
}

/** Of mmdebstrap: that a command failed, and the command. Why is what the command itself said. */
const SUMMARY = /^E: (?:setup failed|env |run_|hookhelper|.*-hook)/;

/** The line that says what was wrong, out of a tool's talk. */
function reasonOf({ stdout, stderr }: CommandResult): string {
  const lines = `${stdout}\n${stderr}`.split('\n').map((line) => line.trim());
  const said = lines.filter((line) => line !== '' && !SUMMARY.test(line));
  const wrong = said.find(
    (line) => /^E: |^Err:|: error|: cannot |: failed|not permitted|No such file/.test(line) && !/^W/.test(line),
  );
  return (wrong ?? said.at(-1) ?? 'no reason given').slice(0, 300);
}
