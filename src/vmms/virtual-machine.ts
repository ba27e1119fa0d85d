/**
 * One VM and its states: what is asked of it, carried out through its worker process, and what becomes of it when that ends.
 * The database is written before anybody is told.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Disk, Dvd, IsolationRung } from '../contracts/api/vm.ts';
import { isViridianError, ViridianError } from '../contracts/errors.ts';
import { isLive, mayDo, refusal, VM_TRANSITIONS, type VmAction, type VmState } from '../contracts/vm-state.ts';
import type { WorkerEvent, WorkerExit, WorkerHello, WorkerMethod, WorkerMethods } from '../contracts/worker.ts';
import { named, type ServiceContext, vmFolder } from './context.ts';
import type { VmRecord, VmRecordChange } from './inventory.ts';
import type { JobControl } from './jobs.ts';
import { Meter } from './meter.ts';
import { demandStartable, describeEnd, didNotStart, missingFile, specOf, untilMerged } from './starting.ts';
import { StateFiles } from './state-files.ts';
import { WorkerHandle, type WorkerListener } from './worker-handle.ts';

/** Seconds that a worker has to end in. */
const END_PATIENCE = 15;
/** Milliseconds between two looks at a worker that is loading. */
const LOOK = 5;
/** A worker that ends by itself is started again so often within so many milliseconds. */
const RESTARTS = 3;
const RESTART_PERIOD = 10 * 60_000;

export class VirtualMachine {
  readonly id: string;
  readonly #context: ServiceContext;
  readonly #meter: Meter;
  #worker: WorkerHandle | undefined;
  /** Of the worker; its adapters are plugged in under it. */
  #instance: string | undefined;
  #startedAt: string | null = null;
  #crashes: number[] = [];
  readonly #files: StateFiles;
  #onSaving: ((fraction: number) => void) | undefined;

  constructor(context: ServiceContext, id: string) {
    this.#context = context;
    this.id = id;
    this.#files = new StateFiles(context.db);
    this.#meter = new Meter(
      () => this.ask('metrics', undefined, 5),
      (usage) => this.#context.inventory.change(this.id, { usage }),
      () => this.record.usage,
    );
  }

  get record(): VmRecord {
    const record = this.#context.inventory.get(this.id);
    if (record === undefined) throw new ViridianError('notFound', 'the virtual machine has been removed');
    return record;
  }
  get name(): string {
    return this.record.configuration.name;
  }
  get state(): VmState {
    return this.record.state;
  }
  get startedAt(): string | null {
    return this.#startedAt;
  }
  get meter(): Meter {
    return this.#meter;
  }
  get pid(): number | null {
    return this.#worker?.hello.pid ?? null;
  }
  /** Where consoles attach. @throws ViridianError `wrongState` */
  get socket(): string {
    return this.#live.socket;
  }

  demand(action: VmAction): void {
    if (!mayDo(action, this.state)) throw new ViridianError('wrongState', refusal(action, this.name, this.state));
  }

  #enter(state: VmState, change: VmRecordChange = {}): void {
    const before = this.state;
    const critical = state.endsWith('Critical') ? (change.critical ?? this.record.critical) : null;
    this.#context.inventory.change(this.id, { ...change, state, critical });
    if (state === before) return;
    this.#context.events.add({
      kind: 'vm.state',
      vm: named(this.record),
      severity: state.endsWith('Critical') ? 'error' : 'info',
      text: `${this.name} is ${state}${critical === null ? '' : `: ${critical}`}`,
      data: { state, before },
    });
  }

  // ---- the worker -----------------------------------------------------------------------------------------------------------

  get #live(): WorkerHandle {
    if (this.#worker === undefined)
      throw new ViridianError('wrongState', `${this.name} is ${this.state}, and that needs it to run: start it first`);
    return this.#worker;
  }

  async ask<M extends WorkerMethod>(
    method: M,
    params: WorkerMethods[M]['params'],
    seconds?: number,
  ): Promise<WorkerMethods[M]['result']> {
    const worker = this.#live;
    const { disk, disks, dvd } = (params ?? {}) as { disk?: Disk; disks?: readonly Disk[]; dvd?: Dvd };
    if (disk ?? disks ?? dvd) await worker.hand(disks ?? (disk ? [disk] : []), dvd ? [dvd] : []);
    return await worker.request(method, params, seconds);
  }

  get isolation(): readonly IsolationRung[] {
    return this.#worker?.isolation ?? [];
  }

  #listener(): WorkerListener {
    let ended = false;
    return {
      event: (event) => {
        if (!ended) this.#event(event);
      },
      ended: (exit) => {
        ended = true;
        this.#ended(exit);
      },
    };
  }

  #event(event: WorkerEvent): void {
    switch (event.event) {
      case 'state':
        // What we have asked for is entered where it was asked; a full disk nobody asks for.
        if (event.state === 'PausedCritical') this.#enter('PausedCritical', { critical: fullText(event.full) });
        else if (event.state === 'Running' && this.state === 'PausedCritical') this.#enter('Running');
        break;
      case 'disk':
        this.#context.events.add({
          kind: `disk.${event.kind}`,
          vm: named(this.record),
          severity: event.kind === 'room' || event.kind === 'ejected' ? 'info' : 'error',
          text: `${this.name}: ${event.message}`,
          data: { file: event.file },
        });
        break;
      case 'saving':
        this.#onSaving?.(event.fraction);
        break;
      case 'stopped':
      case 'console':
        break;
    }
  }

  /** The worker is gone, and with it everything that was not written. */
  #ended(exit: WorkerExit): void {
    this.#enterEnd(exit);
    for (const tell of this.#context.workerEnded) tell();
  }

  #enterEnd(exit: WorkerExit): void {
    this.#worker = undefined;
    this.#startedAt = null;
    const usage = this.#meter.stop();
    const { inventory, events, networks } = this.#context;
    if (this.#instance !== undefined) void networks.unplug(this.#instance);
    this.#instance = undefined;
    if (inventory.get(this.id) === undefined) return;
    const { state, saved } = this.record;
    const lastExit = { kind: exit.kind, message: exit.message, time: exit.time };
    // The saved state was on record before the worker was told to end; while starting, it has not been used yet.
    const kept = saved !== null && (state === 'Saved' || state === 'Starting');
    const lost = exit.kind === 'killed' || exit.kind === 'error';
    // With the host it did not end by anybody's will: it may be started again with it.
    const wasRunning = exit.kind === 'hostRestart' && this.record.wasRunning;
    this.#enter(kept ? 'Saved' : 'Off', { worker: null, lastExit, wasRunning, usage });
    if (state === 'Saved') return;
    events.add({
      kind: lost ? 'vm.crashed' : 'vm.stopped',
      vm: named(this.record),
      severity: lost ? 'error' : exit.kind === 'crash' || exit.kind === 'tripleFault' ? 'warning' : 'info',
      text: `${this.name} ended: ${describeEnd(exit)}`,
      data: { kind: exit.kind, message: exit.message },
    });
    if (lost && state !== 'Starting' && state !== 'Stopping') this.#afterCrash();
  }

  #afterCrash(): void {
    if (this.record.configuration.crashPolicy !== 'Restart') return;
    const now = Date.now();
    this.#crashes = [...this.#crashes.filter((time) => now - time < RESTART_PERIOD), now];
    const { events, jobs } = this.#context;
    if (this.#crashes.length > RESTARTS) {
      events.add({
        kind: 'vm.crash-loop',
        severity: 'error',
        vm: named(this.record),
        text: `${this.name} is not started again: its worker has ended ${this.#crashes.length} times within 10 minutes`,
      });
      return;
    }
    jobs.start({ kind: 'start', vm: named(this.record), text: 'starting again after a crash' }, (control) =>
      this.start(control),
    );
  }

  /** What the worker has is made what the configuration says: disks and drives are attached and detached. */
  async matchStorage(): Promise<void> {
    const { disks, dvds } = this.record.configuration;
    const there = await this.ask('listStorage', undefined);
    const has = (kind: 'disk' | 'dvd', slot: number) => there.find((unit) => unit.kind === kind && unit.slot === slot);
    for (const { kind, slot } of there) {
      const wanted = (kind === 'disk' ? disks : dvds).some((each) => each.slot === slot);
      if (!wanted) await this.ask(kind === 'disk' ? 'detachDisk' : 'detachDvd', { slot }, 120);
    }
    for (const disk of disks) if (!has('disk', disk.slot)) await this.ask('attachDisk', { disk });
    for (const dvd of dvds) {
      const unit = has('dvd', dvd.slot);
      if (unit === undefined) await this.ask('attachDvd', { dvd });
      // A guest may have opened the drive; what was put in is put in again.
      else if (basename(unit.file ?? '') !== basename(dvd.file ?? '')) await this.ask('insertDvd', { dvd });
    }
  }

  /** The adapters that the VM has, if it runs, are made what the configuration says. */
  async matchNics(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined || this.#instance === undefined) return;
    await this.#context.networks.match(this.record, this.#instance, (method, params) =>
      worker.request(method, params, 60),
    );
  }

  /** The worker of an earlier service; what it says is the truth. */
  async adopt(): Promise<void> {
    const { record } = this;
    if (record.worker === null) {
      if (isLive(record.state)) this.#enter(record.saved === null ? 'Off' : 'Saved');
      return;
    }
    const found = await WorkerHandle.adopt(record.worker, this.#listener());
    if (!(found instanceof WorkerHandle)) {
      this.#ended(found);
      return;
    }
    this.#worker = found;
    const { events, inventory, networks } = this.#context;
    this.#instance = found.record.instance;
    networks.adopt(record, this.#instance);
    if (record.state === 'Saved') {
      // The state was on record, and the service ended before it could end the worker.
      await this.#end(found);
      return;
    }
    const { hello } = found;
    inventory.change(this.id, { worker: found.record });
    if (hello.state === 'Stopped') return;
    this.#startedAt = hello.startedAt;
    this.#meter.start(true);
    const state = hello.state === 'Starting' ? 'Running' : hello.state;
    // A saved state that it went on from is not a state to go on from any more.
    const saved = state === 'Paused' && record.state === 'Starting' ? record.saved : null;
    if (saved !== null) {
      // Restored, and never told to run: the state on disk is as good as it was.
      await this.#end(found);
      return;
    }
    this.#enter(state, { wasRunning: true, saved: null, critical: fullText(hello.full) });
    await this.matchStorage().catch((error: unknown) => console.error(error));
    events.add({
      kind: 'vm.adopted',
      vm: named(this.record),
      text: `${this.name} went on running without the service (process ${hello.pid})`,
      data: { pid: hello.pid },
    });
  }

  /** Asks the worker to end, and sees to it. */
  async #end(worker: WorkerHandle): Promise<void> {
    worker.request('turnOff', undefined, END_PATIENCE).catch(() => {});
    const timer = setTimeout(() => worker.kill(), END_PATIENCE * 1000);
    await worker.ended;
    clearTimeout(timer);
  }

  /** The service ends, and the worker does not. */
  leave(): void {
    this.#meter.stop();
    this.#worker?.leave();
  }

  // ---- what is asked of it --------------------------------------------------------------------------------------------------

  /** Boots, or goes on from the saved state. */
  async start(control: JobControl): Promise<void> {
    this.demand('start');
    await untilMerged(this.#context, () => this.record, control);
    this.demand('start');
    const { record } = this;
    const { saved } = record;
    demandStartable(this.#context, record);
    const critical = missingFile(record);
    if (critical !== undefined) {
      this.#enter(saved === null ? 'OffCritical' : 'SavedCritical', { critical });
      throw new ViridianError('notFound', `cannot start ${this.name}: ${critical}`);
    }
    control.progress(0.1, saved === null ? 'starting the worker process' : 'reading the saved state');
    this.#enter('Starting');
    const instance = randomUUID();
    let worker: WorkerHandle;
    try {
      const nics = await this.#context.networks.plug(this.record, instance);
      this.#instance = instance;
      worker = await WorkerHandle.start({
        entry: this.#context.workerEntry,
        runtimeFolder: this.#context.runtimeFolder,
        vmFolder: vmFolder(this.#context, this.id),
        standby: this.#context.standby,
        listener: this.#listener(),
        record: (record) => this.#context.inventory.change(this.id, { worker: record }),
        spec: {
          ...specOf(record, instance, nics),
          restoreUnread: saved !== null && this.#files.isAsWritten(saved.file),
        },
      });
    } catch (error) {
      this.#instance = undefined;
      await this.#context.networks.unplug(instance);
      this.#enter(this.record.saved === null ? 'Off' : 'Saved', { worker: null });
      throw didNotStart(this.name, error);
    }
    this.#worker = worker;
    control.progress(0.4, 'loading');
    const hello = await this.#ready(worker);
    this.#startedAt = hello.startedAt;
    this.#meter.start();
    // From here on the guest changes its disks, and the saved state is no state to go on from.
    this.#enter('Running', { wasRunning: true, saved: null });
    if (saved !== null) {
      await worker.request('resume', undefined);
      // Pages that the guest has not touched are read from it all the same: the worker has it open.
      if (saved.owned) this.#files.remove(saved.file);
    }
  }

  /** Waits until the partition is there. @throws ViridianError with the reason when it does not come up. */
  async #ready(worker: WorkerHandle): Promise<WorkerHello> {
    for (;;) {
      const hello = await worker.request('hello', undefined).catch((error: unknown) => {
        // On a host that is busy with something else it is only slow.
        return isViridianError(error) && error.code === 'timeout' ? ('later' as const) : undefined;
      });
      if (hello === 'later') continue;
      if (hello === undefined || hello.state === 'Stopped') {
        const exit = await worker.ended;
        throw new ViridianError(exit.code ?? 'failure', `${this.name} did not start: ${describeEnd(exit)}`);
      }
      if (hello.state !== 'Starting') return hello;
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
  }

  /** The guest is asked; it has so many seconds. */
  async shutdown(
    control: JobControl,
    options: { readonly force?: boolean | undefined; readonly timeout?: number | undefined },
  ): Promise<void> {
    this.demand('shutdown');
    const worker = this.#live;
    control.progress(0.1, 'asking the guest to shut down');
    await worker.request('shutdown', { force: options.force ?? false }).catch((error: unknown) => {
      if (!isViridianError(error) || error.code !== 'wrongState') throw error;
      throw new ViridianError(
        'wrongState',
        `${this.name} cannot be asked to shut down (${error.message}): use --turn-off`,
      );
    });
    this.#enter('Stopping');
    control.progress(0.3, 'the guest is shutting down');
    control.cancellable(true);
    const seconds = options.timeout ?? 120;
    const { promise: late, resolve: giveUp } = Promise.withResolvers<'late'>();
    const timer = setTimeout(giveUp, seconds * 1000, 'late');
    control.signal.addEventListener('abort', () => giveUp('late'));
    const result = await Promise.race([worker.ended, late]);
    clearTimeout(timer);
    if (result !== 'late') return;
    this.#enter('Running');
    control.signal.throwIfAborted();
    throw new ViridianError(
      'timeout',
      `${this.name} has not shut down within ${seconds} s, and goes on running: wait longer with --timeout, or use --turn-off`,
    );
  }

  async turnOff(): Promise<void> {
    this.demand('turnOff');
    if (this.#worker === undefined) throw new ViridianError('wrongState', `${this.name} is only being started`);
    this.#enter('Stopping');
    await this.#end(this.#worker);
  }

  async restart(options: { readonly force?: boolean | undefined }): Promise<void> {
    this.demand('restart');
    await this.ask('shutdown', { restart: true, force: options.force ?? false });
  }

  async reset(): Promise<void> {
    this.demand('reset');
    await this.ask('reset', undefined, 60);
    this.#startedAt = new Date().toISOString();
    this.#enter('Running');
  }

  async nmi(): Promise<void> {
    this.demand('nmi');
    await this.ask('nmi', undefined);
  }

  async pause(): Promise<void> {
    this.demand('pause');
    await this.#through('pause', async () => {
      await this.ask('pause', undefined, 60);
    });
  }

  async resume(): Promise<void> {
    this.demand('resume');
    // Out of Paused-Critical it comes when there is room.
    if (this.state === 'PausedCritical') {
      await this.ask('resume', undefined);
      return;
    }
    await this.#through('resume', async () => {
      await this.ask('resume', undefined);
    });
  }

  /** The states of a transition; back where it was when it fails. */
  async #through(action: VmAction, work: () => Promise<void>): Promise<void> {
    const before = this.state;
    const { through, to } = VM_TRANSITIONS[action];
    this.#enter(through!);
    try {
      await work();
    } catch (error) {
      if (this.#worker !== undefined) this.#enter(before);
      throw error;
    }
    if (this.#worker !== undefined && this.state === through) this.#enter(to!);
  }

  /** Copies memory into a state's file while the guest runs, until little is left. It can be cancelled. @param to progress then. */
  async copyMemory(file: string, control: JobControl, to: number): Promise<void> {
    const cancel = (): void => void this.ask('saveCancel', undefined, 60).catch(() => {});
    this.#onSaving = (fraction) => control.progress(to * fraction);
    control.progress(0, 'copying memory');
    control.signal.addEventListener('abort', cancel);
    control.cancellable(true);
    try {
      await this.ask('saveBegin', { file }, 0);
      control.signal.throwIfAborted();
    } finally {
      control.cancellable(false);
      control.signal.removeEventListener('abort', cancel);
      this.#onSaving = undefined;
    }
  }

  /** Stands still, state in a file, worker gone. Until the file is whole and on record, the VM can go on. */
  async save(control: JobControl): Promise<void> {
    this.demand('save');
    const worker = this.#live;
    const running = this.state === 'Running';
    const file = join(vmFolder(this.#context, this.id), `saved-${randomUUID().slice(0, 8)}.state`);
    mkdirSync(vmFolder(this.#context, this.id), { recursive: true, mode: 0o700 });
    this.#enter('Saving');
    try {
      await this.copyMemory(file, control, 0.8);
      control.progress(0.8, 'writing the rest of memory');
      if (running) await worker.request('pause', undefined, 60);
      await worker.request('saveTake', undefined, 0);
      await worker.request('saveFinish', undefined, 0);
      this.#files.written(file);
    } catch (error) {
      if (this.#worker !== undefined) {
        await worker.request('saveCancel', undefined, 60).catch(() => {});
        if (running) await worker.request('resume', undefined).catch(() => {});
        this.#enter(running ? 'Running' : 'Paused');
      }
      this.#files.remove(file);
      throw isViridianError(error)
        ? new ViridianError(error.code, `${this.name} was not saved: ${error.message}`, { cause: error })
        : error;
    }
    control.progress(0.9, 'ending the worker process');
    this.#enter('Saved', { saved: { file, owned: true } });
    await this.#end(worker);
  }

  /**
   * Does something to the disks' files. A VM that runs stands still meanwhile, its files closed, and goes on with the disks that its
   * configuration has then. Whoever is killed in between: the next service lets it go on. @returns the milliseconds for which it
   * stood still.
   */
  async still({ before, work, lost }: Still): Promise<number> {
    const worker = this.#worker;
    if (worker === undefined) {
      await before?.();
      await work();
      return 0;
    }
    const { state } = this;
    if (state !== 'Running' && state !== 'Paused')
      throw new ViridianError('wrongState', `${this.name} is ${state}: that needs Running, Paused or Off`);
    const running = state === 'Running';
    const { db, step } = this.#context;
    db.run('insert or replace into held (vm, running) values (?, ?)', this.id, running ? 1 : 0);
    step('held');
    const since = performance.now();
    let stood = 0;
    try {
      if (running) await worker.request('pause', undefined, 60);
      // The one is the processor's work, the other the disks'.
      const both = await Promise.allSettled([before?.(), worker.request('releaseDisks', undefined, 120)]);
      for (const each of both) if (each.status === 'rejected') throw each.reason;
      step('released');
      await work();
    } finally {
      if (this.#worker === worker) stood = (await this.#letGo(worker, running, lost)) - since;
    }
    if (this.#worker !== worker)
      throw new ViridianError('failure', `${this.name} ended meanwhile: ${this.record.lastExit?.message ?? ''}`);
    return stood;
  }

  /** @returns when it went on, by `performance`'s clock. */
  async #letGo(worker: WorkerHandle, running: boolean, lost?: () => Promise<void>): Promise<number> {
    let gone: number;
    try {
      await this.ask('reopenDisks', { disks: this.record.configuration.disks }, 120);
      this.#context.step('reopened');
      if (running) await worker.request('resume', undefined);
      gone = performance.now();
    } catch (error) {
      if (this.#worker !== worker) return performance.now();
      const text = error instanceof Error ? error.message : String(error);
      this.#context.events.add({
        kind: 'vm.lost',
        severity: 'error',
        vm: named(this.record),
        text: `${this.name} cannot go on, and is ended: ${text}`,
      });
      await lost?.().catch(() => {});
      await this.#end(worker);
      throw error;
    }
    this.#context.db.run('delete from held where vm = ?', this.id);
    return gone;
  }

  /** A service was cut short while this VM stood still for it. */
  async letGo(): Promise<void> {
    const row = this.#context.db.get('select running from held where vm = ?', this.id);
    if (row === undefined) return;
    if (this.#worker === undefined) {
      this.#context.db.run('delete from held where vm = ?', this.id);
      return;
    }
    const running = row.running === 1;
    // It is where the service left it: between two steps, or before the first.
    if (running) await this.#worker.request('pause', undefined, 60);
    await this.#letGo(this.#worker, running).catch(() => {});
    if (running && this.state === 'Paused') this.#enter('Running');
  }

  discardSavedState(): void {
    this.demand('discardSavedState');
    const { saved } = this.record;
    this.#enter('Off', { saved: null });
    if (saved?.owned) this.#files.remove(saved.file);
  }
}

export interface Still {
  /** While its files are flushed and closed. */
  readonly before?: (() => Promise<void>) | undefined;
  readonly work: () => Promise<void>;
  /** It cannot go on, and is about to be ended. */
  readonly lost?: (() => Promise<void>) | undefined;
}

function fullText(file: string | null): string | null {
  return file === null ? null : `the host has no room for what the guest writes to ${file}`;
}
