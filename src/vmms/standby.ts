/**
 * A worker process that is started before there is a VM for it: what takes long of a start (Node, the program, the interpreter's
 * compilation, a thread) is behind it. There is one while somebody may want to fork, which is to be quick. It waits for a line on its
 * standard input, and ends when that is closed: it never outlives the service as long as it is nobody's.
 *
 * What a worker may reach of the host is decided before it is executed (isolation.ts), and cannot become more. So it is made for a VM that
 * is yet to be: its id is chosen, and a folder for it is there, which gets its place among those of VMs when the VM is made (a rule of
 * Landlock is about the folder, whatever it is called). Files elsewhere, its disks' parents, are handed to it open.
 */
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { IsolationRung } from '../contracts/api/vm.ts';
import { WORKER_FILES } from '../contracts/worker.ts';
import { type Launched, launch, placesOfRoom, temporaryFolder, type WorkerRoom } from './isolation.ts';
import { isProcess } from './processes.ts';

/** What a worker needs of our environment; secrets of the service's are not its business. */
const PASSED_ON = [
  'PATH',
  'HOME',
  'LANG',
  'TZ',
  'XDG_CACHE_HOME',
  'NODE_OPTIONS',
  // Compiled JavaScript that the command keeps: a worker starts the sooner.
  'NODE_COMPILE_CACHE',
];
/** Milliseconds after which the next one is started: whoever took the last has the processors first. */
const LATER = 3000;

export interface WorkerProcess {
  readonly child: ChildProcess;
  readonly folder: string;
  readonly temporary: string;
  readonly rungs: Promise<readonly IsolationRung[]>;
}

export interface WorkerPlace {
  /** Arguments of `process.execPath` that make it a worker; its folder follows. */
  readonly entry: readonly string[];
  readonly runtimeFolder: string;
}

/** A folder for a run. Short: a socket's path has 107 bytes. */
export function newRun(runtimeFolder: string): string {
  const folder = join(runtimeFolder, 'w', randomUUID().slice(0, 8));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}

/**
 * Starts a worker's process, detached, held back as far as the host can.
 * @param ahead it waits until it is told that its folder has what it is to run.
 */
export function launchWorker(
  room: WorkerRoom,
  places: Parameters<typeof launch>[0]['places'],
  dataFolder: string,
  ahead = false,
): Launched {
  const log = openSync(join(room.folder, WORKER_FILES.log), 'a', 0o600);
  try {
    return launch({
      arguments: [...room.entry, room.folder, ...(ahead ? ['ahead'] : [])],
      places,
      // In the data folder: where sockets are, nothing may be executed on many hosts.
      folder: dataFolder,
      log,
      env: {
        ...Object.fromEntries(PASSED_ON.flatMap((name) => (name in process.env ? [[name, process.env[name]]] : []))),
        TMPDIR: room.temporary,
        // The host's settings of OpenSSL are none of a worker's, and it may not read them.
        OPENSSL_CONF: '/dev/null',
      },
      input: ahead ? 'pipe' : 'ignore',
    });
  } finally {
    closeSync(log);
  }
}

interface Waiting extends WorkerProcess {
  /** Of the VM that it may become. */
  readonly vm: string;
  /** The folder of that VM, before there is one. */
  readonly vmFolder: string;
}

export class Standby {
  readonly #place: WorkerPlace & { readonly dataFolder: string };
  readonly #wanted: () => boolean;
  #waiting: Waiting | undefined;
  /** By VM. */
  readonly #reserved = new Map<string, Waiting>();
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  /** @param wanted whether one is worth its memory. */
  constructor(place: WorkerPlace & { readonly dataFolder: string }, wanted: () => boolean) {
    this.#place = place;
    this.#wanted = wanted;
    // Of a service that was killed: its process has ended with it.
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #folder(): string {
    return join(this.#place.dataFolder, 'standby');
  }

  /** There will be one soon, if one is wanted. */
  prepare(): void {
    if (this.#ended || this.#waiting !== undefined || this.#timer !== undefined || !this.#wanted()) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#start();
    }, LATER);
    this.#timer.unref();
  }

  #start(): void {
    if (this.#ended || !this.#wanted()) return;
    const { entry, runtimeFolder, dataFolder } = this.#place;
    const vm = randomUUID();
    const vmFolder = join(this.#folder, vm);
    const temporary = temporaryFolder(join(dataFolder, 'vms', vm));
    const folder = newRun(runtimeFolder);
    const room = { entry, folder, vmFolder, temporary };
    const { child, rungs } = launchWorker(room, placesOfRoom(room), dataFolder, true);
    const waiting: Waiting = { child, rungs, folder, temporary, vm, vmFolder };
    this.#waiting = waiting;
    const gone = (): void => {
      if (this.#waiting !== waiting) return;
      this.#waiting = undefined;
      discard(waiting);
    };
    child.once('error', gone);
    child.once('exit', gone);
    child.stdin?.on('error', () => {});
    child.unref();
    (child.stdin as unknown as { unref?(): void } | null)?.unref?.();
  }

  /**
   * The id of a VM that is about to be made: one that waits becomes its worker, if there is one.
   * @param folder the VM's by its id; it is there then.
   */
  newVm(folderOf: (vm: string) => string): string {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.prepare();
    if (waiting === undefined) return randomUUID();
    try {
      mkdirSync(join(folderOf(waiting.vm), '..'), { recursive: true, mode: 0o700 });
      renameSync(waiting.vmFolder, folderOf(waiting.vm));
    } catch {
      discard(waiting);
      return randomUUID();
    }
    this.#reserved.set(waiting.vm, waiting);
    return waiting.vm;
  }

  /** The one that is to be this VM's: its taker writes what it is to run into its folder, and calls `goOn`. */
  take(vm: string): WorkerProcess | undefined {
    const waiting = this.#reserved.get(vm);
    this.#reserved.delete(vm);
    if (waiting === undefined) return undefined;
    // It may have ended, and nobody has told yet.
    if (waiting.child.pid !== undefined && isProcess(waiting.child.pid, null)) return waiting;
    discard(waiting);
    return undefined;
  }

  /** The VM was not made, or not started. */
  release(vm: string): void {
    const waiting = this.#reserved.get(vm);
    this.#reserved.delete(vm);
    if (waiting !== undefined) discard(waiting);
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    for (const waiting of [this.#waiting, ...this.#reserved.values()]) if (waiting !== undefined) discard(waiting);
    this.#waiting = undefined;
    this.#reserved.clear();
  }
}

/** It is nobody's any more. What it has of a VM's folder is the VM's. */
export function discard({ child, folder, temporary, ...waiting }: WorkerProcess & { vmFolder?: string }): void {
  child.stdin?.destroy();
  child.kill('SIGKILL');
  for (const path of [folder, temporary, waiting.vmFolder])
    if (path !== undefined) rmSync(path, { recursive: true, force: true });
}

export function goOn({ child }: WorkerProcess): void {
  child.stdin?.end('go\n');
}
