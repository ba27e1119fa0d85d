/** Runs what a button asks for; a failure becomes a note at the page's edge. */

import type { Job } from '../../contracts/api/resources.ts';
import { ApiFailure, call, messageOf } from './api.ts';
import { change, current, subscribe } from './live.ts';
import { toast } from './toasts.ts';

/** Resolves with whether it was done. */
export async function attempt(what: string, work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    toast('error', `${what}: ${messageOf(error)}`);
    return false;
  }
}

/** Waits for a job's end; the tray shows how it goes on. @throws Error when it failed */
export async function finished(started: Job): Promise<Job> {
  const job = await ended(started);
  if (job.state === 'failed') throw new Error(job.error?.message ?? 'it failed');
  return job;
}

/**
 * The stream says when it has ended. No request waits for that: a browser makes six at a time for all that a page does, and
 * two hundred machines can be started at once.
 */
async function ended(job: Job): Promise<Job> {
  change({ kind: 'job', job });
  const { promise, resolve } = Promise.withResolvers<Job | undefined>();
  const look = (): void => {
    const now = current().jobs.find(({ id }) => id === job.id);
    if (now?.state !== 'running') resolve(now);
  };
  const stop = subscribe(look);
  look();
  const known = await promise.finally(stop);
  // The page has forgotten it: the service has not, or says that it has begun anew.
  const now = known ?? (await call('getJob', { params: { job: job.id } }).catch(goneWithItsService));
  return now.state === 'running' ? await ended(now) : now;
}

/** Jobs live as long as the service. */
function goneWithItsService(error: unknown): never {
  if (error instanceof ApiFailure && error.status === 404)
    throw new Error('the service has begun anew before this was done: look whether it is to be done again');
  throw error;
}

/** Starts a job, and waits for its end. Its failure is noted. */
export async function runJob(what: string, start: () => Promise<Job>): Promise<Job | undefined> {
  try {
    return await finished(await start());
  } catch (error) {
    toast('error', `${what}: ${messageOf(error)}`);
    return undefined;
  }
}

/** Starts a job, without waiting for its end. Resolves with whether the service has taken it on: then a dialog may go. */
export async function startJob(what: string, start: () => Promise<Job>): Promise<boolean> {
  try {
    const job = await start();
    void runJob(what, () => Promise.resolve(job));
    return true;
  } catch (error) {
    toast('error', `${what}: ${messageOf(error)}`);
    return false;
  }
}
