/**
 * A worker process that is started before there is a VM for it: what takes long of a start (Node, the program, the interpreter's
 * compilation, a thread) is behind it. There is one while somebody may want to fork, which is to be quick. It waits for a line on its
 * standard input, and ends when that is closed: it never outlives the service as long as it is nobody's. What a worker may reach of the
 * host is decided before it is executed (isolation.ts), so there is none where workers are held back.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { WORKER_FILES } from '../contracts/worker.ts';
import { isIsolating } from './isolation.ts';

/** What a worker needs of our environment; secrets of the service's are not its business. */
export const PASSED_ON = [
  'PATH',
  'HOME',
  'LANG',
  'TZ',
  'TMPDIR',
  'XDG_CACHE_HOME',
  'NODE_OPTIONS',
  // Compiled JavaScript that the command keeps: a worker starts the sooner.
  'NODE_COMPILE_CACHE',
];
/** Milliseconds after which the next one is started: whoever took the last has the processors first. */
const LATER = 3000;

export interface WorkerProcess {
  readonly child: ChildProcess;
  readonly instance: string;
  readonly folder: string;
}

export interface WorkerPlace {
  /** Arguments of `process.execPath` that make it a worker; its folder follows. */
  readonly entry: readonly string[];
  readonly runtimeFolder: string;
}

/** A folder for a run. Short: a socket's path has 107 bytes. */
export function newRun(runtimeFolder: string): { readonly instance: string; readonly folder: string } {
  const instance = randomUUID();
  const folder = join(runtimeFolder, 'w', instance.slice(0, 8));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return { instance, folder };
}

/** Starts a worker's process, detached, that waits until it is told that its folder has what it is to run. */
function spawnAhead(entry: readonly string[], folder: string): ChildProcess {
  const log = openSync(join(folder, WORKER_FILES.log), 'a', 0o600);
  try {
    return spawn(process.execPath, [...entry, folder, 'ahead'], {
      detached: true,
      stdio: ['pipe', log, log],
      cwd: '/',
      env: Object.fromEntries(PASSED_ON.flatMap((name) => (name in process.env ? [[name, process.env[name]]] : []))),
    });
  } finally {
    closeSync(log);
  }
}

export class Standby {
  readonly #place: WorkerPlace;
  readonly #wanted: () => boolean;
  #waiting: WorkerProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  /** @param wanted whether one is worth its memory. */
  constructor(place: WorkerPlace, wanted: () => boolean) {
    this.#place = place;
    this.#wanted = wanted;
  }

  /** There will be one soon, if one is wanted. */
  prepare(): void {
    if (this.#ended || this.#waiting !== undefined || this.#timer !== undefined || isIsolating() || !this.#wanted())
      return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#start();
    }, LATER);
    this.#timer.unref();
  }

  #start(): void {
    if (this.#ended || !this.#wanted()) return;
    const { instance, folder } = newRun(this.#place.runtimeFolder);
    const child = spawnAhead(this.#place.entry, folder);
    const waiting: WorkerProcess = { child, instance, folder };
    this.#waiting = waiting;
    const gone = (): void => {
      if (this.#waiting !== waiting) return;
      this.#waiting = undefined;
      rmSync(folder, { recursive: true, force: true });
    };
    child.once('error', gone);
    child.once('exit', gone);
    child.stdin?.on('error', () => {});
    child.unref();
    (child.stdin as unknown as { unref?(): void } | null)?.unref?.();
  }

  /** The one that waits, if there is one: its taker writes what it is to run into its folder, and calls `goOn`. */
  take(): WorkerProcess | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.prepare();
    return waiting?.child.pid === undefined || waiting.child.exitCode !== null ? undefined : waiting;
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) return;
    waiting.child.stdin?.destroy();
    waiting.child.kill('SIGKILL');
    rmSync(waiting.folder, { recursive: true, force: true });
  }
}

export function goOn({ child }: WorkerProcess): void {
  child.stdin?.end('go\n');
}
