/** Memory of one machine: what it was given, what it wants, what it takes of the host. */
import type { Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { Facts } from '../parts/facts.tsx';
import { bytes } from '../store/format.ts';
import { useGauge } from '../store/hooks.ts';
import { Graph, MEMORY } from './graph.tsx';

export function Memory({ vm }: { vm: Vm }) {
  const gauge = useGauge(vm.id);
  const on = isAttended(vm.state);
  const metrics = on ? gauge?.latest.metrics : undefined;
  const demand =
    metrics === undefined
      ? undefined
      : metrics.memoryDemand === 0
        ? 'the guest does not say (no dynamic memory driver)'
        : bytes(metrics.memoryDemand);
  return (
    <div className="stack">
      <section className="panel">
        <h2>Memory</h2>
        <Facts
          rows={[
            ['Startup', bytes(vm.configuration.memory)],
            ['Assigned', on ? bytes(metrics?.memoryAssigned ?? vm.memoryAssigned) : 'none: it does not run'],
            ...(demand === undefined ? [] : ([['Demand', demand]] as const)),
            ...(metrics === undefined
              ? []
              : ([['On the host', `${bytes(metrics.residentMemory)} of the worker process`]] as const)),
          ]}
        />
      </section>
      {on ? <Graph vm={vm.id} title="History" figure="bytes" series={MEMORY} /> : null}
    </div>
  );
}
