/**
 * One run of a VM: its worker process, started by this service or found by it, and how that ended. The process is
 * nobody's child for long: it goes on when the service ends.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Disk, Dvd, IsolationRung } from '../contracts/api/vm.ts';
import { ViridianError } from '../contracts/errors.ts';
import {
  WORKER_FILES,
  WORKER_PROTOCOL,
  type WorkerEvent,
  type WorkerExit,
  type WorkerHello,
  type WorkerSpec,
} from '../contracts/worker.ts';
import { printable } from '../support/text.ts';
import type { WorkerRecord } from './inventory.ts';
import { handFiles, type Launched, placesOf, temporaryFolder, type WorkerRoom } from './isolation.ts';
import { bootId, isProcess, startTicks } from './processes.ts';
import { discard, goOn, launchWorker, newRun, type Standby, type WorkerPlace, type WorkerProcess } from './standby.ts';
import { WorkerLink } from './worker-link.ts';

/** Seconds until a worker that was started listens. */
const PATIENCE = 60;
/** Milliseconds between two tries to reach a worker that was just started: it takes some tens of them. */
const RETRY = 3;

export interface WorkerListener {
  event(event: WorkerEvent): void;
  /** Once, and last. */
  ended(exit: WorkerExit): void;
}

export interface WorkerStart extends WorkerPlace {
  /** Of the VM: what is made for it. */
  readonly vmFolder: string;
  readonly standby: Standby;
  readonly spec: Omit<WorkerSpec, 'protocol'>;
  readonly listener: WorkerListener;
  /** Called before the process is there to be lost: what is not on record cannot be found again. */
  readonly record: (record: WorkerRecord) => void;
}

export class WorkerHandle {
  readonly record: WorkerRecord;
  readonly hello: WorkerHello;
  readonly ended: Promise<WorkerExit>;
  readonly #link: WorkerLink;
  readonly #child: ChildProcess | undefined;
  #left = false;

  private constructor(
    record: WorkerRecord,
    hello: WorkerHello,
    link: WorkerLink,
    child: ChildProcess | undefined,
    listener: WorkerListener,
    told: () => WorkerExit | undefined,
  ) {
    this.record = record;
    this.hello = hello;
    this.#link = link;
    this.#child = child;
    this.ended = link.closed.then(async () => {
      // Nobody waits for it any more.
      if (this.#left) return await new Promise<never>(() => {});
      const exit = told() ?? (await this.#findOut());
      clear(record);
      listener.ended(exit);
      return exit;
    });
  }

  get request(): WorkerLink['request'] {
    return this.#link.request.bind(this.#link);
  }

  /** What holds it back. */
  get isolation(): readonly IsolationRung[] {
    return this.record.isolation ?? [];
  }

  /** Hands it the files of disks that were no part of the VM when it was started. */
  async hand(disks: readonly Disk[], dvds: readonly Dvd[]): Promise<void> {
    if (!isHeldByRules(this.isolation)) return;
    // Where it cannot be done, the worker says which file it may not open.
    await handFiles(join(this.record.folder, WORKER_FILES.files), disks, dvds).catch((error: unknown) =>
      console.error(error),
    );
  }

  get socket(): string {
    return join(this.record.folder, WORKER_FILES.socket);
  }

  static async start(options: WorkerStart): Promise<WorkerHandle> {
    const { entry, runtimeFolder, vmFolder, standby, spec, listener, record: keep } = options;
    const ahead = await fitted(standby.take(spec.vm), spec);
    const { instance } = spec;
    const folder = ahead?.folder ?? newRun(runtimeFolder);
    const full: WorkerSpec = { ...spec, protocol: WORKER_PROTOCOL };
    writeFileSync(join(folder, WORKER_FILES.spec), JSON.stringify(full), { mode: 0o600 });
    const temporary = temporaryFolder(vmFolder);
    keep({ pid: null, startTicks: null, instance, folder, temporary, bootId: bootId() });
    const { child, rungs } = ahead ?? (await isolated({ entry, folder, vmFolder, temporary }, spec));
    if (ahead) goOn(ahead);
    const failed = new Promise<never>((_, reject) => child.once('error', reject));
    failed.catch(() => {});
    if (!ahead) await Promise.race([failed, new Promise((resolve) => child.once('spawn', resolve))]);
    child.unref();
    const pid = child.pid!;
    const record = {
      pid,
      startTicks: startTicks(pid),
      instance,
      folder,
      temporary,
      bootId: bootId(),
      isolation: await Promise.race([failed, rungs]),
    };
    keep(record);
    const deadline = Date.now() + PATIENCE * 1000;
    for (;;) {
      try {
        return await WorkerHandle.#connect(record, child, listener);
      } catch (error) {
        const gone = child.exitCode !== null || child.signalCode !== null;
        if (!gone && Date.now() < deadline) {
          await new Promise((resolve) => setTimeout(resolve, RETRY));
          continue;
        }
        if (!gone) child.kill('SIGKILL');
        const recorded = exitOnRecord(folder);
        const exit = recorded ?? lostExit(child, folder);
        clear(record);
        // One that waited had ended before it was told what to run, and nobody had seen that yet.
        if (gone && ahead && !recorded) return await WorkerHandle.start(options);
        const reason = gone ? exit.message : 'the worker process did not begin to listen';
        throw new ViridianError(exit.code ?? 'failure', reason, {
          cause: error,
        });
      }
    }
  }

  /** A worker that an earlier service started. Undefined, with how it ended, when it is gone. */
  static async adopt(record: WorkerRecord, listener: WorkerListener): Promise<WorkerHandle | WorkerExit> {
    const { pid, startTicks: ticks } = record;
    // Without a process id the service was lost while it started the worker, which may be there or not.
    const alive = (): boolean => pid === null || isProcess(pid, ticks);
    if (record.bootId === bootId()) {
      for (let attempt = 0; attempt < 50 && alive(); attempt++) {
        try {
          return await WorkerHandle.#connect(record, undefined, listener);
        } catch {
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }
      if (pid !== null && isProcess(pid, ticks)) process.kill(pid, 'SIGKILL');
    }
    const exit = exitOnRecord(record.folder) ?? unseen(record);
    clear(record);
    return exit;
  }

  static async #connect(
    record: WorkerRecord,
    child: ChildProcess | undefined,
    listener: WorkerListener,
  ): Promise<WorkerHandle> {
    let told: WorkerExit | undefined;
    let handle: WorkerHandle | undefined;
    const early: WorkerEvent[] = [];
    const link = await WorkerLink.open(join(record.folder, WORKER_FILES.socket), (event) => {
      if (event.event === 'stopped') told = event.exit;
      else if (handle) listener.event(event);
      else early.push(event);
    });
    try {
      const hello = await link.request('hello', undefined, 10);
      if (hello.instance !== record.instance || hello.protocol !== WORKER_PROTOCOL)
        throw new ViridianError('failure', 'another worker answers there');
      const { pid } = hello;
      const known = record.pid === null ? { ...record, pid, startTicks: startTicks(pid) } : record;
      handle = new WorkerHandle(known, hello, link, child, listener, () => told);
      for (const event of early) listener.event(event);
      return handle;
    } catch (error) {
      link.destroy();
      throw error;
    }
  }

  /** For those who are not answered. */
  kill(): void {
    const { pid, startTicks: ticks } = this.record;
    if (pid !== null && isProcess(pid, ticks)) process.kill(pid, 'SIGKILL');
  }

  /** Lets go of it: it goes on by itself. */
  leave(): void {
    this.#left = true;
    this.#link.destroy();
  }

  async #findOut(): Promise<WorkerExit> {
    const { pid, startTicks: ticks, folder } = this.record;
    // Its connection is gone; so should it be. One that is left would go on writing to the disks.
    for (let i = 0; i < 100 && pid !== null && isProcess(pid, ticks); i++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    this.kill();
    const child = this.#child;
    if (child && child.exitCode === null && child.signalCode === null)
      await Promise.race([
        new Promise((resolve) => child.once('exit', resolve)),
        new Promise((resolve) => setTimeout(resolve, 1000)),
      ]);
    return exitOnRecord(folder) ?? (child ? lostExit(child, folder) : unseen(this.record));
  }
}

/** What a run leaves. */
function clear({ folder, temporary }: WorkerRecord): void {
  for (const path of [folder, temporary]) if (path !== undefined) rmSync(path, { recursive: true, force: true });
}

/** Starts the process, held back as far as the host can. */
async function isolated(room: WorkerRoom, spec: Omit<WorkerSpec, 'protocol'>): Promise<Launched> {
  return launchWorker(room, await placesOf({ ...spec, ...room }), join(room.vmFolder, '../..'));
}

/** A worker that waits, with the files that it cannot open: they wait for it. Undefined when they do not reach it: it is gone then. */
async function fitted(
  ahead: WorkerProcess | undefined,
  { disks, dvds }: Omit<WorkerSpec, 'protocol'>,
): Promise<WorkerProcess | undefined> {
  if (ahead === undefined) return undefined;
  try {
    if (isHeldByRules(await ahead.rungs)) await handFiles(join(ahead.folder, WORKER_FILES.files), disks, dvds);
    return ahead;
  } catch {
    discard(ahead);
    return undefined;
  }
}

function isHeldByRules(rungs: readonly IsolationRung[]): boolean {
  return rungs.some(({ name, active }) => name === 'landlock' && active);
}

function exitOnRecord(folder: string): WorkerExit | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, WORKER_FILES.exit), 'utf8')) as WorkerExit;
  } catch {
    return undefined;
  }
}

function killed(message: string): WorkerExit {
  return { kind: 'killed', message, time: new Date().toISOString(), code: null };
}

function lostExit(child: ChildProcess, folder: string): WorkerExit {
  const { exitCode, signalCode } = child;
  const how =
    signalCode === null
      ? `the worker process ended with code ${exitCode ?? 'unknown'}`
      : `the worker process was killed by ${signalCode}`;
  const last = lastWords(folder);
  return killed(last === '' ? how : `${how}: ${last}`);
}

function unseen({ folder, bootId: boot }: WorkerRecord): WorkerExit {
  if (boot !== bootId()) return { ...killed('the host was restarted'), kind: 'hostRestart' };
  const last = lastWords(folder);
  return killed(`the worker process ended without a word${last === '' ? '' : `: ${last}`}`);
}

/** The line of the log that says most: an error's, or the last. */
function lastWords(folder: string): string {
  try {
    const lines = readFileSync(join(folder, WORKER_FILES.log), 'utf8').trim().split('\n').slice(-40);
    return printable(lines.findLast((line) => /^\w*(Error|FATAL)/.test(line)) ?? lines.at(-1) ?? '', 300);
  } catch {
    return '';
  }
}
