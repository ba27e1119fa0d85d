import { afterEach, expect, it, vi } from 'vitest';
import type { Job } from '../../contracts/api/resources.ts';
import { change } from './live.ts';
import { finished } from './run.ts';

const job = (id: string, state: Job['state'], error: Job['error'] = null) => ({ id, state, error, vm: null }) as Job;
const fetched = vi.fn<typeof fetch>();
vi.stubGlobal('fetch', fetched);
afterEach(() => fetched.mockReset());

it('two hundred jobs at once are waited for without one request', async () => {
  const ids = Array.from({ length: 200 }, (_, at) => `many-${at}`);
  const all = Promise.all(ids.map(async (id) => await finished(job(id, 'running'))));
  for (const id of ids) change({ kind: 'job', job: job(id, 'done') });
  expect((await all).every(({ state }) => state === 'done')).toBe(true);
  expect(fetched).not.toHaveBeenCalled();
});

it('what ends before its beginning is told has ended', async () => {
  change({ kind: 'job', job: job('quick', 'done') });
  expect((await finished(job('quick', 'running'))).state).toBe('done');
});

it('what fails says why', async () => {
  const end = finished(job('bad', 'running'));
  change({
    kind: 'job',
    job: job('bad', 'failed', { code: 'notFound', message: 'there is no such disk' }),
  });
  await expect(end).rejects.toThrow('there is no such disk');
});

it('the service is asked for one that the page has lost', async () => {
  const end = finished(job('lost', 'running'));
  const answer = (state: Job['state']): Response => new Response(JSON.stringify(job('lost', state)));
  fetched.mockResolvedValueOnce(answer('done'));
  // As after a connection that was cut.
  change({ kind: 'jobs', jobs: [] });
  expect((await end).state).toBe('done');
  expect(fetched).toHaveBeenCalledOnce();
});

it('one that ended with its service says so', async () => {
  const end = finished(job('cut', 'running'));
  fetched.mockResolvedValueOnce(new Response('{"error":{"message":"there is no job cut"}}', { status: 404 }));
  change({ kind: 'jobs', jobs: [] });
  await expect(end).rejects.toThrow('the service has begun anew before this was done');
});
