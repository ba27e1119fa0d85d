/**
 * Jobs: what takes time. A job of a VM waits for the one before it. Jobs live as long as the service: what one of them
 * must not leave half done is in the database's journal.
 */
import { randomUUID } from 'node:crypto';
import type { Job } from '../contracts/api/resources.ts';
import { isViridianError, ViridianError } from '../contracts/errors.ts';
import { explained } from '../host/node/files.ts';
import type { EventLog } from './events.ts';

const KEPT = 200;

export interface JobControl {
  /** Aborted when somebody cancels. */
  readonly signal: AbortSignal;
  /** 0 to 1, and what it is doing. */
  progress(fraction: number, text?: string): void;
  /** From here on it can, or cannot, be cancelled. */
  cancellable(may: boolean): void;
  /** The id of what the job makes. */
  result(id: string): void;
}

interface Entry {
  job: Job;
  readonly abort: AbortController;
  readonly done: Promise<void>;
  readonly watchers: Set<() => void>;
}

export interface JobRequest {
  readonly kind: string;
  readonly vm?: { readonly id: string; readonly name: string } | undefined;
  /** In the list and in the progress line. */
  readonly text: string;
}

export class Jobs {
  readonly #events: EventLog;
  readonly #entries = new Map<string, Entry>();
  /** By VM, the job that is under way or the last one to wait. */
  readonly #queues = new Map<string, Promise<void>>();

  constructor(events: EventLog) {
    this.#events = events;
  }

  list(): Job[] {
    return [...this.#entries.values()].map(({ job }) => job).toReversed();
  }

  get(id: string): Job {
    return this.#entry(id).job;
  }

  #entry(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new ViridianError('notFound', `there is no job ${id}`);
    return entry;
  }

  /** The job of a VM that is under way. */
  active(vm: string): Job | undefined {
    for (const { job } of this.#entries.values()) if (job.vm === vm && job.state === 'running') return job;
    return undefined;
  }

  /** Resolves when the job has ended, when its progress is another than `known`, or after so many seconds. */
  async wait(id: string, seconds: number, known?: number): Promise<Job> {
    const entry = this.#entry(id);
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, seconds * 1000);
    const look = (): void => {
      if (entry.job.state !== 'running' || (known !== undefined && entry.job.progress !== known)) resolve();
    };
    entry.watchers.add(look);
    look();
    await promise;
    clearTimeout(timer);
    entry.watchers.delete(look);
    return entry.job;
  }

  cancel(id: string): Job {
    const entry = this.#entry(id);
    if (entry.job.state !== 'running') throw new ViridianError('wrongState', `job ${id} has ended`);
    if (!entry.job.cancellable) throw new ViridianError('wrongState', 'the job cannot be cancelled now');
    entry.abort.abort(new ViridianError('failure', 'cancelled'));
    return entry.job;
  }

  /** Starts it, or lets it wait for its VM. `exclusive: false`: at once, whatever else its VM is doing. */
  start(request: JobRequest, work: (control: JobControl) => Promise<void>, exclusive = true): Job {
    const { vm } = request;
    const before = vm && exclusive ? (this.#queues.get(vm.id) ?? Promise.resolve()) : Promise.resolve();
    const id = randomUUID();
    const abort = new AbortController();
    const job: Job = {
      id,
      kind: request.kind,
      vm: vm?.id ?? null,
      vmName: vm?.name ?? null,
      state: 'running',
      progress: 0,
      text: request.text,
      cancellable: false,
      error: null,
      result: null,
      createdAt: new Date().toISOString(),
      finishedAt: null,
    };
    const done = before.then(() => this.#run(id, work));
    const entry: Entry = { job, abort, done, watchers: new Set() };
    this.#entries.set(id, entry);
    if (vm && exclusive) {
      this.#queues.set(vm.id, done);
      void done.then(() => {
        if (this.#queues.get(vm.id) === done) this.#queues.delete(vm.id);
      });
    }
    this.#events.tellJob(job);
    this.#trim();
    return job;
  }

  /** Resolves when a job has ended, with it; rejects with its error. */
  async finished(id: string): Promise<Job> {
    const entry = this.#entry(id);
    await entry.done;
    const { error } = entry.job;
    if (error !== null) throw new ViridianError(error.code, error.message);
    return entry.job;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#queues.size > 0) await Promise.all(this.#queues.values());
  }

  async #run(id: string, work: (control: JobControl) => Promise<void>): Promise<void> {
    const entry = this.#entry(id);
    const change = (part: Partial<Job>): void => {
      entry.job = { ...entry.job, ...part };
      this.#events.tellJob(entry.job);
      for (const look of entry.watchers) look();
    };
    const control: JobControl = {
      signal: entry.abort.signal,
      progress: (fraction, text) => {
        const progress = Math.min(1, Math.max(0, Math.round(fraction * 1000) / 1000));
        if (progress === entry.job.progress && (text === undefined || text === entry.job.text)) return;
        change({ progress, ...(text === undefined ? {} : { text }) });
      },
      cancellable: (cancellable) => change({ cancellable }),
      result: (result) => change({ result }),
    };
    // In the list of what was done, what was asked for says more than its last step.
    const { text } = entry.job;
    const end = (part: Partial<Job>): void =>
      change({ ...part, text, cancellable: false, finishedAt: new Date().toISOString() });
    try {
      entry.abort.signal.throwIfAborted();
      await work(control);
      end({ state: 'done', progress: 1 });
    } catch (error) {
      const reason = explained(error);
      const known = isViridianError(reason);
      if (!known) console.error(error);
      const message = reason instanceof Error ? reason.message : String(reason);
      end({
        state: entry.abort.signal.aborted ? 'cancelled' : 'failed',
        error: { code: known ? reason.code : 'failure', message },
      });
    }
  }

  #trim(): void {
    for (const [id, { job }] of this.#entries) {
      if (this.#entries.size <= KEPT) break;
      if (job.state !== 'running') this.#entries.delete(id);
    }
  }
}
