/**
 * VMWP as a process: one for each running VM, started detached, so that it outlives VMMS. Its folder holds what it is
 * started with, its socket, its log, and, once it has ended, how.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import type { CreatePartition } from '../../contracts/partition.ts';
import { WORKER_FILES, WORKER_PROTOCOL, type WorkerExit, type WorkerSpec } from '../../contracts/worker.ts';
import { FileReceiver } from '../../host/node/pass-files.ts';
import { WorkerMachine } from './worker-machine.ts';
import { WorkerServer } from './worker-server.ts';

/** Of a worker that was started ahead: files are handed to it before it is told what it runs. */
let receiver: FileReceiver | undefined;

/**
 * A worker that was started ahead (`worker-process.ts FOLDER ahead`) waits here until its folder has what it is to run; it ends with whoever
 * started it. Resolves at once for others.
 */
export async function untilWanted(): Promise<void> {
  if (process.argv[3] !== 'ahead') return;
  receiver = FileReceiver.listen(join(process.argv[2]!, WORKER_FILES.files));
  process.title = 'viridian-standby';
  await new Promise<void>((resolve) => {
    let told = false;
    process.stdin.once('data', () => {
      told = true;
      resolve();
    });
    for (const event of ['end', 'error'])
      process.stdin.once(event, () => {
        if (!told) process.exit(0);
      });
  });
  process.stdin.destroy();
}

/** Runs the worker of a folder to its end; the process's exit code. */
export async function runWorker(folder: string, create: CreatePartition): Promise<number> {
  process.umask(0o077);
  const spec = JSON.parse(readFileSync(join(folder, WORKER_FILES.spec), 'utf8')) as WorkerSpec;
  if (spec.protocol !== WORKER_PROTOCOL) throw new Error(`this worker speaks protocol ${WORKER_PROTOCOL}`);
  process.title = `viridian-vm ${spec.name}`;
  if (spec.niceness !== 0) setPriority(spec.niceness);
  mkdirSync(folder, { recursive: true, mode: 0o700 });

  const ended = Promise.withResolvers<WorkerExit>();
  const machine: WorkerMachine = new WorkerMachine(spec, {
    state: (state) => server.tell({ event: 'state', state, full: machine.full }),
    console: (bytes) => server.console(bytes),
    disk: (kind, file, message) => server.tell({ event: 'disk', kind, file, message }),
    saving: (fraction) => server.tell({ event: 'saving', fraction }),
    stopped: (exit) => ended.resolve(exit),
  });
  const server: WorkerServer = new WorkerServer(machine, () => ({
    protocol: WORKER_PROTOCOL,
    vm: spec.vm,
    instance: spec.instance,
    pid: process.pid,
    state: machine.state,
    startedAt: machine.startedAt,
    exit: machine.exit,
    full: machine.full,
  }));
  machine.handed = receiver ?? FileReceiver.listen(join(folder, WORKER_FILES.files));
  await server.listen(join(folder, WORKER_FILES.socket));

  // A terminal that goes away is no reason to end; who wants the VM off says so, or says SIGTERM.
  process.on('SIGHUP', () => {});
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => machine.turnOff());
  const defect = (error: unknown): void => {
    console.error(error);
    const message = `a defect of the worker: ${error instanceof Error ? error.message : String(error)}`;
    record(folder, { kind: 'error', message, time: new Date().toISOString(), code: null });
    process.exit(1);
  };
  process.on('uncaughtException', defect);
  process.on('unhandledRejection', defect);

  void machine.start(create);
  const exit = await ended.promise;
  // Files are closed first: who hears of the end may open them.
  await machine.dispose();
  record(folder, exit);
  server.tell({ event: 'stopped', exit });
  await server.close();
  return exit.kind === 'error' ? 1 : 0;
}

function record(folder: string, exit: WorkerExit): void {
  const path = join(folder, WORKER_FILES.exit);
  writeFileSync(`${path}.partial`, JSON.stringify(exit), { mode: 0o600 });
  renameSync(`${path}.partial`, path);
}
