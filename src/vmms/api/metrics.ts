/** `/metrics`: OpenMetrics text (https://prometheus.io/docs/specs/om/open_metrics_spec/). */
import type { VmMetrics } from '../../contracts/api/vm.ts';
import { VM_STATES } from '../../contracts/vm-state.ts';
import type { Management } from '../management.ts';
import type { Caller } from './access.ts';

interface Family {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly unit?: string;
  readonly help: string;
  readonly value: (metrics: VmMetrics) => number;
}

const FAMILIES: readonly Family[] = [
  {
    name: 'viridian_vm_processor_seconds',
    type: 'counter',
    unit: 'seconds',
    help: 'Processor time spent running the guest.',
    value: (m) => m.processorSeconds,
  },
  {
    name: 'viridian_vm_instructions',
    type: 'counter',
    help: 'Instructions that the guest has retired.',
    value: (m) => m.instructions,
  },
  {
    name: 'viridian_vm_memory_assigned_bytes',
    type: 'gauge',
    unit: 'bytes',
    help: 'Memory that the guest has.',
    value: (m) => m.memoryAssigned,
  },
  {
    name: 'viridian_vm_resident_bytes',
    type: 'gauge',
    unit: 'bytes',
    help: 'Memory of the worker process.',
    value: (m) => m.residentMemory,
  },
  {
    name: 'viridian_vm_disk_read_bytes',
    type: 'counter',
    unit: 'bytes',
    help: 'Bytes that the guest has read from its disks.',
    value: (m) => m.disk.readBytes,
  },
  {
    name: 'viridian_vm_disk_written_bytes',
    type: 'counter',
    unit: 'bytes',
    help: 'Bytes that the guest has written to its disks.',
    value: (m) => m.disk.writtenBytes,
  },
];

export async function openMetrics(management: Management, caller: Caller): Promise<string> {
  const host = management.host();
  const mine = management.machines.filter(({ id }) => caller.vms === null || caller.vms.includes(id));
  const lines: string[] = [];
  const family = (name: string, type: string, help: string, unit?: string): void => {
    lines.push(`# TYPE ${name} ${type}`, ...(unit ? [`# UNIT ${name} ${unit}`] : []), `# HELP ${name} ${help}`);
  };
  family('viridian', 'info', 'The service.');
  lines.push(`viridian_info{version="${label(management.version)}",edition="${label(host.edition)}"} 1`);
  family('viridian_host_memory_bytes', 'gauge', "The host's memory.", 'bytes');
  lines.push(`viridian_host_memory_bytes ${host.memory}`);
  family('viridian_host_memory_assigned_bytes', 'gauge', 'Memory of the VMs that run.', 'bytes');
  lines.push(`viridian_host_memory_assigned_bytes ${host.memoryAssigned}`);
  family('viridian_vm_state', 'stateset', 'The state of each VM.');
  for (const machine of mine)
    for (const state of VM_STATES)
      lines.push(
        `viridian_vm_state{vm="${label(machine.name)}",viridian_vm_state="${state}"} ${machine.state === state ? 1 : 0}`,
      );

  const asked = await Promise.all(
    mine
      .filter(({ pid }) => pid !== null)
      .map(async (machine) => {
        const metrics = await machine.ask('metrics', undefined, 2).catch(() => undefined);
        return metrics && ([machine.name, metrics] as const);
      }),
  );
  for (const { name, type, unit, help, value } of FAMILIES) {
    family(name, type, help, unit);
    const suffix = type === 'counter' ? '_total' : '';
    for (const each of asked) if (each) lines.push(`${name}${suffix}{vm="${label(each[0])}"} ${value(each[1])}`);
  }
  return `${lines.join('\n')}\n# EOF\n`;
}

function label(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
