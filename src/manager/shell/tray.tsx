/** The task tray: jobs under way with their progress, and those that have ended lately. */
import { useState } from 'react';
import { JobRow } from '../parts/job-row.tsx';
import { useStore } from '../store/hooks.ts';

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
        <span className="wrap">
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
            <JobRow key={job.id} job={job} />
          ))}
        </ul>
      ) : null}
    </section>
  );
}
