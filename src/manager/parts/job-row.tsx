/** A job: what it does, how far it is, and a way to end it. */
import type { Job } from '../../contracts/api/resources.ts';
import { call } from '../store/api.ts';
import { percent } from '../store/format.ts';
import { useMay } from '../store/hooks.ts';
import { attempt } from '../store/run.ts';
import { Button } from './button.tsx';

export function JobRow({ job }: { job: Job }) {
  const may = useMay('operator');
  const running = job.state === 'running';
  return (
    <li className="job">
      <span className="wrap">
        {job.vmName === null ? '' : `${job.vmName}: `}
        {job.text}
      </span>
      <span className={job.state === 'failed' ? 'severity-error' : 'quiet'}>
        {running ? (job.progress > 0 ? percent(job.progress * 100) : 'under way') : job.state}
      </span>
      {job.error === null ? null : <span className="severity-error wrap">{job.error.message}</span>}
      {running ? <progress aria-label={job.text} value={job.progress || undefined} /> : null}
      {running && job.cancellable && may ? (
        <Button
          look="small"
          onClick={() => void attempt('Cancel', () => call('cancelJob', { params: { job: job.id } }))}
        >
          Cancel
        </Button>
      ) : null}
    </li>
  );
}
