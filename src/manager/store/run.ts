/** Runs what a button asks for; a failure becomes a note at the page's edge. */

import type { Job } from '../../contracts/api/resources.ts';
import { call, messageOf } from './api.ts';
import { change } from './live.ts';
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
  let job = started;
  change({ kind: 'job', job });
  while (job.state === 'running') job = await call('getJob', { params: { job: job.id }, query: { wait: 20 } });
  change({ kind: 'job', job });
  if (job.state === 'failed') throw new Error(job.error?.message ?? 'it failed');
  return job;
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
