import type { Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { Facts } from '../parts/facts.tsx';
import { bytes, clock } from '../store/format.ts';
import { useGauge } from '../store/hooks.ts';
import { Heartbeat, Uptime } from '../vms/vm-row.tsx';
import { DISK, Graph, MEMORY, NETWORK, PROCESSOR } from './graph.tsx';

function boots({ boot, disks }: Vm['configuration']): string {
  if (boot.kernel !== null) return boot.kernel;
  return disks.length > 0 ? 'the kernel that its disk holds' : 'nothing yet: give it a disk or a kernel';
}

function AddressList({ vm }: { vm: string }) {
  const addresses = useGauge(vm)?.latest.addresses ?? [];
  return addresses.length === 0 ? <span className="quiet">none known</span> : <code>{addresses.join(', ')}</code>;
}

export function Summary({ vm }: { vm: Vm }) {
  const { configuration, lastExit } = vm;
  const on = isAttended(vm.state);
  const exit = lastExit === null ? '' : `${clock(lastExit.time)}: ${lastExit.message || lastExit.kind}`;
  return (
    <div className="grid">
      <section className="panel">
        <h2>State</h2>
        <Facts
          rows={[
            ['Status', vm.status || vm.state],
            ...(on
              ? ([
                  ['Uptime', <Uptime key="u" startedAt={vm.startedAt} />],
                  ['Heartbeat', <Heartbeat key="h" vm={vm.id} on={vm.state === 'Running'} />],
                  ['Addresses', <AddressList key="a" vm={vm.id} />],
                  ['Worker', vm.worker === null ? '' : `process ${vm.worker.pid}`],
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
            ['Processors', configuration.processors],
            ['Memory', bytes(configuration.memory)],
            ['Engine', configuration.engine],
            ['Boots', boots(configuration)],
            ['Disks', configuration.disks.length + configuration.dvds.length],
            ['Network adapters', configuration.nics.length],
            ...(configuration.notes === '' ? [] : ([['Notes', configuration.notes]] as const)),
            ...(configuration.tags.length === 0 ? [] : ([['Tags', configuration.tags.join(', ')]] as const)),
          ]}
        />
      </section>
      {on ? (
        <>
          <Graph vm={vm.id} title="Processor" figure="percent" series={PROCESSOR} />
          <Graph vm={vm.id} title="Memory" figure="bytes" series={MEMORY} />
          <Graph vm={vm.id} title="Disks" figure="rate" series={DISK} />
          <Graph vm={vm.id} title="Network" figure="rate" series={NETWORK} />
        </>
      ) : null}
    </div>
  );
}
