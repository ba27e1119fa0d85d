/** The task tray: jobs under way with their progress, and those that have ended lately. */
import { useState } from 'react';
import type { Job } from '../../contracts/api/resources.ts';
import { Button } from '../parts/button.tsx';
import { call } from '../store/api.ts';
import { percent } from '../store/format.ts';
import { useMay, useStore } from '../store/hooks.ts';
import { attempt } from '../store/run.ts';

const SHOWN = 12;

export function Tray() {
  const jobs = useStore((state) => state.jobs);
  const [open, setOpen] = useState(false);
  if (jobs.length === 0) return null;
  const running = jobs.filter(({ state }) => state === 'running');
  const first = running[0];
  return (
    <section className="tray" aria-label="Tasks" data-idle={running.length === 0 && !open}>
      <button type="button" className="tray-head" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span>
          {running.length === 0
            ? 'Tasks'
            : running.length === 1
              ? `${first!.vmName ?? ''} ${first!.text}`
              : `${running.length} tasks are under way`}
        </span>
        <span className="quiet">{open ? 'Hide' : 'Show'}</span>
      </button>
      {!open && first !== undefined ? <progress aria-label={first.text} value={first.progress || undefined} /> : null}
      {open ? (
        <ul>
          {jobs.slice(0, SHOWN).map((job) => (
            <Row key={job.id} job={job} />
          ))}
        </ul>
      ) : null}
    </section>
  );
}

const ENDED = { done: 'done', failed: 'failed', cancelled: 'cancelled' } as const;

function Row({ job }: { job: Job }) {
  const may = useMay('operator');
  const cancel = (): void => void attempt('Cancel', () => call('cancelJob', { params: { job: job.id } }));
  return (
    <li>
      <span className="wrap">
        {job.vmName === null ? '' : `${job.vmName}: `}
        {job.text}
      </span>
      {job.state === 'running' ? (
        <span className="quiet">{job.progress > 0 ? percent(job.progress * 100) : 'under way'}</span>
      ) : (
        <span className={job.state === 'failed' ? 'severity-error' : 'quiet'}>{ENDED[job.state]}</span>
      )}
      {job.error === null ? null : <span className="severity-error wrap">{job.error.message}</span>}
      {job.state === 'running' ? <progress aria-label={job.text} value={job.progress || undefined} /> : null}
      {job.state === 'running' && job.cancellable && may ? (
        <Button look="small" onClick={cancel}>
          Cancel
        </Button>
      ) : null}
    </li>
  );
}
