/** One machine in the list, and parts of it that other pages show too. */
import { memo } from 'react';
import type { Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { Link } from '../parts/link.tsx';
import { StateMark } from '../parts/state.tsx';
import { bytes, duration, percent, plainText } from '../store/format.ts';
import { useGauge, useMay, useNow, useStore } from '../store/hooks.ts';
import { VmActions } from './actions.tsx';
import { Thumbnail } from './thumbnail.tsx';

const START: readonly string[] = ['start', 'resume'];

export const VmRow = memo(function VmRow({
  vm,
  chosen,
  onChoose,
}: {
  vm: Vm;
  chosen: boolean;
  onChoose: (id: string, chosen: boolean) => void;
}) {
  const operator = useMay('operator');
  const { tags, processors } = vm.configuration;
  return (
    <tr data-chosen={chosen} data-vm={vm.name}>
      <td className="pick">
        <input
          type="checkbox"
          aria-label={`Choose ${vm.name}`}
          checked={chosen}
          onChange={({ target }) => onChoose(vm.id, target.checked)}
        />
      </td>
      {operator ? (
        <td className="look">
          <Thumbnail vm={vm.id} on={isAttended(vm.state)} />
        </td>
      ) : null}
      <td className="name-cell">
        <div className="vm-name">
          <Link href={`/vms/${vm.id}`}>{vm.name}</Link>
          <Status vm={vm} />
          <span className="not-wide quiet">
            <Addresses vm={vm.id} on={isAttended(vm.state)} />
          </span>
          {tags.length === 0 ? null : (
            <span>
              {tags.map((tag) => (
                <span key={tag} className="tag">
                  {tag}
                </span>
              ))}
            </span>
          )}
        </div>
      </td>
      <td className="state-cell">
        <StateMark state={vm.state} />
        <Short vm={vm} />
      </td>
      <td className="mid">
        <Load vm={vm.id} on={isAttended(vm.state)} processors={processors} />
      </td>
      <td className="mid number">{vm.memoryAssigned === 0 ? '' : bytes(vm.memoryAssigned)}</td>
      <td className="wide mid">
        <Uptime startedAt={vm.startedAt} />
      </td>
      <td className="wide mid">
        <Heartbeat vm={vm.id} on={vm.state === 'Running'} />
      </td>
      <td className="wide mid">
        <Addresses vm={vm.id} on={isAttended(vm.state)} />
      </td>
      <td className="act">
        <div className="row-actions">
          {operator && isAttended(vm.state) ? (
            <Link className="button small" href={`/vms/${vm.id}/console`} aria-label={`Console of ${vm.name}`}>
              Console
            </Link>
          ) : null}
          <VmActions vms={[vm]} buttons={START} small />
        </div>
      </td>
    </tr>
  );
});

/** A job's text and progress are there before the VM's own status line. */
function Status({ vm }: { vm: Vm }) {
  const job = useStore(({ jobs }) => jobs.find((each) => each.vm === vm.id && each.state === 'running'));
  const text =
    job === undefined ? vm.status : `${job.text}${job.progress > 0 ? ` ${percent(job.progress * 100)}` : ''}`;
  return text === '' ? null : <span className="quiet wrap">{plainText(text)}</span>;
}

/** Load and memory, where there are no columns for them. */
function Short({ vm }: { vm: Vm }) {
  const gauge = useGauge(vm.id);
  if (!isAttended(vm.state) || gauge === undefined) return null;
  return (
    <span className="quiet short">
      {percent(gauge.latest.metrics.processorPercent)}, {bytes(vm.memoryAssigned)}
    </span>
  );
}

function Load({ vm, on, processors }: { vm: string; on: boolean; processors: number }) {
  const gauge = useGauge(vm);
  if (!on || gauge === undefined) return null;
  const load = gauge.latest.metrics.processorPercent;
  return (
    <span className="load">
      <span className="number">{percent(load)}</span>
      <progress aria-label="Processor load" max={100 * processors} value={Math.min(load, 100 * processors)} />
    </span>
  );
}

export function Uptime({ startedAt }: { startedAt: string | null }) {
  const now = useNow();
  return startedAt === null ? null : <span>{duration((now - Date.parse(startedAt)) / 1000)}</span>;
}

/** The first one; the others are in its title. */
export function Addresses({ vm, on }: { vm: string; on: boolean }) {
  const addresses = useGauge(vm)?.latest.addresses ?? [];
  if (!on || addresses.length === 0) return null;
  const more = addresses.length - 1;
  return (
    <span className="quiet" title={more > 0 ? addresses.join('\n') : undefined}>
      {addresses[0]}
      {more > 0 ? ` +${more}` : ''}
    </span>
  );
}

export function Heartbeat({ vm, on }: { vm: string; on: boolean }) {
  const gauge = useGauge(vm);
  if (!on || gauge === undefined) return null;
  const { heartbeat } = gauge.latest;
  return <span className={heartbeat === 'OK' ? '' : 'quiet'}>{heartbeat}</span>;
}
