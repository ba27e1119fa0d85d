/**
 * What a worker may reach of the host: its own VM's files, the program that it runs, and what every program reads. Set before
 * it is executed (host/node/sandbox), so that no thread of it is ever without. See docs/decisions/0050-isolation-of-workers.md.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, realpathSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import type { Disk, Dvd, IsolationRung } from '../contracts/api/vm.ts';
import type { DiskFormat } from '../contracts/block-device.ts';
import type { WorkerSpec } from '../contracts/worker.ts';
import type { DiskFiles } from '../host/disk-files.ts';
import { nodeDiskFiles } from '../host/node/disk-files.ts';
import { cacheFolder } from '../host/node/folders.ts';
import { type PassedFile, passFiles } from '../host/node/pass-files.ts';
import { launcherProblem, type Place, spawnSandboxed } from '../host/node/sandbox/sandbox.ts';
import { openDisk } from '../storage/index.ts';
import { storageHost } from './transfer.ts';

const RUNGS = ['no-new-privileges', 'landlock', 'seccomp'] as const;

export interface WorkerRoom {
  /** Of this run: socket and log. */
  readonly folder: string;
  /** Of the VM: saved states, checkpoints, layers of its disks. */
  readonly vmFolder: string;
  /** Where its throw-away files go. */
  readonly temporary: string;
  /** Arguments of `process.execPath` that make it the worker: its program's file is among them, or the executable is all there is. */
  readonly entry: readonly string[];
}

/** What Node and the C library read, on the distributions there are. What is not there is left out. */
const SYSTEM: readonly Place[] = [
  ...['/usr', '/lib', '/lib64', '/proc', '/sys/devices/system', '/sys/fs/cgroup', '/run/systemd/resolve'].map(
    (path): Place => ({ path, access: 'readFolder' }),
  ),
  ...['/lib64/ld-linux-x86-64.so.2', '/lib/ld-musl-x86_64.so.1'].map((path): Place => ({ path, access: 'execute' })),
  ...['ld.so.cache', 'ssl/openssl.cnf', 'localtime']
    .concat('resolv.conf', 'hosts', 'host.conf', 'nsswitch.conf', 'gai.conf', 'services', 'protocols')
    .map((name): Place => ({ path: `/etc/${name}`, access: 'readFile' })),
  { path: '/dev/null', access: 'device' },
  { path: '/dev/net/tun', access: 'device' },
  ...['/dev/zero', '/dev/random', '/dev/urandom'].map((path): Place => ({ path, access: 'readFile' })),
];

/** Where a worker's throw-away files go, until it has ended: /tmp is everybody's, and may be small. */
export function temporaryFolder(vmFolder: string): string {
  return join(dirname(vmFolder), '../tmp', basename(vmFolder));
}

/** What any worker may reach, whatever its VM has. */
export function placesOfRoom({ folder, vmFolder, temporary, entry }: WorkerRoom): Place[] {
  const places: Place[] = [{ path: process.execPath, access: 'execute' }, ...SYSTEM];
  const program = entry.find((argument) => argument.startsWith(sep));
  if (program !== undefined) places.push(...codePlaces(program));
  // Not all of the cache: translations of one VM's code are no other's business.
  for (const path of [folder, vmFolder, join(cacheFolder(), 'kernels'), temporary]) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    places.push({ path, access: 'writeFolder' });
  }
  return places;
}

export async function placesOf(spec: WorkerRoom & Omit<WorkerSpec, 'protocol'>): Promise<Place[]> {
  const { kernel, initrd, restore, disks, dvds } = spec;
  const places = placesOfRoom(spec);
  for (const path of [kernel, initrd, restore, ...dvds.map(({ file }) => file)])
    if (path !== null) places.push({ path, access: 'readFile' });
  for (const disk of disks) {
    const [top, ...below] = await filesOfDisk(disk);
    places.push({ path: top!, access: disk.readOnly || disk.discard ? 'readFile' : 'writeFile' });
    for (const path of below) {
      places.push({ path, access: 'readFile' });
      // A layer of another VM's: when the layers below it are merged, a file beside it takes its place.
      if (path.includes(`${sep}vms${sep}`)) places.push({ path: dirname(path), access: 'readFolder' });
    }
  }
  return places;
}

/** The package with the worker's program, and the packages that it uses. */
function codePlaces(entry: string): Place[] {
  const folders = (...paths: string[]): Place[] => paths.map((path) => ({ path, access: 'readFolder' }));
  const folder = dirname(realpathSync(entry));
  const packages = folder.indexOf(`${sep}node_modules${sep}`);
  if (packages >= 0) return folders(folder.slice(0, packages + `${sep}node_modules`.length));
  // In a checkout src/ and dist/ lie beside package.json, which Node reads; node_modules may be a link.
  const at = Math.max(folder.lastIndexOf(`${sep}src`), folder.lastIndexOf(`${sep}dist`));
  const root = at > 0 ? folder.slice(0, at) : folder;
  return [
    ...folders(
      folder,
      ...['src', 'dist', 'guest'].map((name) => join(root, name)),
      realPath(join(root, 'node_modules')),
    ),
    { path: join(root, 'package.json'), access: 'readFile' },
  ];
}

/** A disk's file, and the files of its parents. A disk that cannot be opened has but its own: the worker says why. */
async function filesOfDisk({ file, format, allowParent }: Disk): Promise<string[]> {
  const real = realPath(file);
  const seen = new Set<string>([real]);
  if (format === undefined) return [real];
  const files: DiskFiles = {
    ...nodeDiskFiles,
    open: async (path, options) => {
      seen.add(path);
      return await nodeDiskFiles.open(path, options);
    },
  };
  try {
    const options = { format: format as DiskFormat, allowParent, write: false, unlocked: true, ignoreLinkage: true };
    const disk = await openDisk({ ...storageHost, files }, real, options);
    await disk.close();
  } catch {}
  return [...seen];
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** How often a file may be opened for one request: to be looked at, and to be used. */
const TIMES = 3;

/** Opens what a worker may not open itself, and hands it over. */
export async function handFiles(socket: string, disks: readonly Disk[], dvds: readonly Dvd[]): Promise<void> {
  const files: PassedFile[] = dvds.flatMap(({ file }) =>
    file === null ? [] : [{ path: realPath(file), writable: false }],
  );
  for (const disk of disks) {
    const [top, ...below] = await filesOfDisk(disk);
    files.push({ path: top!, writable: disk.readOnly !== true && disk.discard !== true });
    for (const path of below) files.push({ path, writable: false });
  }
  passFiles(socket, Array.from({ length: TIMES }, () => files).flat());
}

export interface Launch {
  readonly arguments: readonly string[];
  readonly places: readonly Place[];
  /** Where the launcher lies. */
  readonly folder: string;
  readonly log: number;
  readonly env: NodeJS.ProcessEnv;
  /** Its standard input. Default: `ignore`. */
  readonly input?: 'pipe' | 'ignore' | undefined;
}

export interface Launched {
  readonly child: ChildProcess;
  readonly rungs: Promise<readonly IsolationRung[]>;
}

/** Starts the worker, held back as far as this host can. `VIRIDIAN_ISOLATION=off` in the service's environment does without. */
export function launch({ arguments: args, places, folder, log, env, input = 'ignore' }: Launch): Launched {
  const options = { detached: true, cwd: '/', env };
  const without = (detail: string): Launched => ({
    child: spawn(process.execPath, args, { ...options, stdio: [input, log, log] }),
    rungs: Promise.resolve(RUNGS.map((name) => ({ name, active: false, detail }))),
  });
  if (process.env.VIRIDIAN_ISOLATION === 'off') return without('switched off by VIRIDIAN_ISOLATION');
  const problem = launcherProblem();
  if (problem !== undefined) return without(problem);
  try {
    return spawnSandboxed({
      folder,
      program: process.execPath,
      arguments: args,
      places,
      spawn: { ...options, input, output: log },
    });
  } catch (error) {
    return without(`the launcher cannot be executed: ${error instanceof Error ? error.message : String(error)}`);
  }
}
