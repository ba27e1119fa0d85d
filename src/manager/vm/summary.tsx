/** What a machine is and does, at a glance: its screen, its state, its hardware, graphs. */
import type { Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { Facts } from '../parts/facts.tsx';
import { Link } from '../parts/link.tsx';
import { bytes, clock, percent, plainText } from '../store/format.ts';
import { useGauge, useMay } from '../store/hooks.ts';
import { Thumbnail } from '../vms/thumbnail.tsx';
import { Heartbeat, Uptime } from '../vms/vm-row.tsx';
import { DISK, Graph, MEMORY, NETWORK, PROCESSOR } from './graph.tsx';

function boots({ boot, disks }: Vm['configuration']): string {
  if (boot.kernel !== null) return boot.kernel;
  return disks.length > 0 ? 'the kernel that its disk holds' : 'nothing yet: give it a disk or a kernel';
}

const ENGINES = { auto: 'automatic', translator: 'translator', interpreter: 'interpreter' } as const;

function count(number: number, one: string, many = `${one}s`): string {
  return number === 0 ? `no ${many}` : `${number} ${number === 1 ? one : many}`;
}

function processorsText({ processors, processorMaximum, processorWeight }: Vm['configuration']): string {
  const most = processorMaximum === 100 ? [] : [`${percent(processorMaximum)} each at most`];
  const weight = processorWeight === 100 ? [] : [`weight ${processorWeight}`];
  return [String(processors), ...most, ...weight].join(', ');
}

function AddressList({ vm }: { vm: string }) {
  const addresses = useGauge(vm)?.latest.addresses ?? [];
  return addresses.length === 0 ? <span className="quiet">none known</span> : <code>{addresses.join(', ')}</code>;
}

/** What holds the worker back, should a guest break out of the machine into it. */
function isolation(worker: NonNullable<Vm['worker']>): string {
  const active = worker.isolation.filter((rung) => rung.active).map(({ name }) => name);
  return active.length === 0 ? 'not held back by the host' : `held back by ${active.join(', ')}`;
}

export function Summary({ vm }: { vm: Vm }) {
  const { configuration, lastExit, worker } = vm;
  const operator = useMay('operator');
  const on = isAttended(vm.state);
  const exit = lastExit === null ? '' : `${clock(lastExit.time)}: ${plainText(lastExit.message || lastExit.kind)}`;
  return (
    <div className="stack">
      <div className="grid">
        {operator && on ? (
          <Link className="preview" href={`/vms/${vm.id}/console`} aria-label={`Console of ${vm.name}`}>
            <Thumbnail vm={vm.id} on={on} />
          </Link>
        ) : null}
        <section className="panel">
          <h2>State</h2>
          <Facts
            rows={[
              ['Status', plainText(vm.status || vm.state)],
              ...(on
                ? ([
                    ['Uptime', <Uptime key="u" startedAt={vm.startedAt} />],
                    ['Heartbeat', <Heartbeat key="h" vm={vm.id} on={vm.state === 'Running'} />],
                    ['Addresses', <AddressList key="a" vm={vm.id} />],
                    ['Worker', worker === null ? '' : `process ${worker.pid}, ${isolation(worker)}`],
                  ] as const)
                : []),
              ...(exit === '' ? [] : ([['Last run ended', exit]] as const)),
              ['Created', clock(vm.createdAt)],
              ['Id', <code key="i">{vm.id}</code>],
            ]}
          />
        </section>
        <section className="panel">
          <h2>Hardware</h2>
          <Facts
            rows={[
              ['Processors', processorsText(configuration)],
              ['Memory', bytes(configuration.memory)],
              ['Engine', ENGINES[configuration.engine]],
              ['Boots', boots(configuration)],
              [
                'Storage',
                [count(configuration.disks.length, 'disk'), count(configuration.dvds.length, 'DVD drive')].join(', '),
              ],
              ['Network', count(configuration.nics.length, 'adapter')],
              ...(configuration.notes === '' ? [] : ([['Notes', configuration.notes]] as const)),
              ...(configuration.tags.length === 0 ? [] : ([['Tags', configuration.tags.join(', ')]] as const)),
            ]}
          />
        </section>
      </div>
      {on ? (
        <div className="halves">
          <Graph vm={vm.id} title="Processor" figure="percent" series={PROCESSOR} />
          <Graph vm={vm.id} title="Memory" figure="bytes" series={MEMORY} />
          <Graph vm={vm.id} title="Disks" figure="rate" series={DISK} />
          <Graph vm={vm.id} title="Network" figure="rate" series={NETWORK} />
        </div>
      ) : null}
    </div>
  );
}
