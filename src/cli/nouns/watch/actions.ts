/** Looking on: what the commands do. */
import type { Event, Host, VmMetrics } from '../../../client/index.ts';
import { isViridianError } from '../../../contracts/errors.ts';
import { printable } from '../../../support/text.ts';
import { say } from '../../say.ts';
import type { Action, Flags } from '../command-row.ts';
import { bytes, type Column, duration, outputOf, showRows, table, write } from '../output.ts';
import { service, vmOf } from '../session.ts';

const PERIOD = 2000;

export const events: Action = async (_args, flags) => {
  const { follow, after, last, vm } = flags as { follow?: boolean; after?: number; last?: number; vm?: string };
  const host = await service();
  const query = {
    ...(after === undefined ? {} : { after }),
    ...(after === undefined || last !== undefined ? { last: last ?? 50 } : {}),
    ...(vm === undefined ? {} : { vm }),
  };
  const past = await host.transport.call('listEvents', { query });
  // One that was removed has events still.
  if (vm !== undefined && past.length === 0) await host.get(vm);
  const json = outputOf(flags) === 'json';
  if (!follow && outputOf(flags) === 'yaml')
    await showRows(past, flags, { columns: [], name: (event) => String(event.id) });
  else for (const event of past) write(json ? JSON.stringify(event) : line(event));
  if (!follow) return undefined;
  await followEvents(host, past.at(-1)?.id ?? after ?? 0, vm, (event) =>
    write(json ? JSON.stringify(event) : line(event)),
  );
  return undefined;
};

/** VMs outlive the service, and so does who follows them: from the next one come the events that were missed too. */
async function followEvents(
  host: Host,
  after: number,
  vm: string | undefined,
  tell: (event: Event) => void,
): Promise<never> {
  for (let last = after; ; ) {
    for await (const event of host.events({ after: last, vm })) {
      last = event.id;
      tell(event);
    }
    say('hv: the service does not answer any more: going on when one does');
    // One that somebody stopped on purpose is not started by who only looks on.
    while (!(await answers(host))) await new Promise((resolve) => setTimeout(resolve, PERIOD / 4));
  }
}

async function answers(host: Host): Promise<boolean> {
  try {
    await host.transport.call('getVersion');
    return true;
  } catch (error) {
    if (isViridianError(error) && error.code === 'failure') return false;
    throw error;
  }
}

function line({ id, time, severity, text }: Event): string {
  const local = new Date(time).toLocaleString('sv-SE');
  return `${String(id).padStart(5)}  ${local}  ${severity === 'info' ? '' : `${severity}: `}${printable(text, 400)}`;
}

interface Load {
  readonly name: string;
  readonly state: string;
  readonly uptime: number;
  readonly metrics: VmMetrics;
}

const LOAD_COLUMNS: readonly Column<Load>[] = [
  { title: 'NAME', value: (load) => load.name },
  { title: 'STATE', value: (load) => load.state },
  { title: 'CPU %', value: ({ metrics }) => metrics.processorPercent.toFixed(1), right: true },
  { title: 'ASSIGNED', value: ({ metrics }) => bytes(metrics.memoryAssigned), right: true },
  {
    title: 'DEMAND',
    value: ({ metrics }) => (metrics.memoryDemand > 0 ? bytes(metrics.memoryDemand) : '-'),
    right: true,
  },
  { title: 'PROCESS', value: ({ metrics }) => bytes(metrics.residentMemory), right: true },
  { title: 'READ', value: ({ metrics }) => bytes(metrics.disk.readBytes), right: true },
  { title: 'WRITTEN', value: ({ metrics }) => bytes(metrics.disk.writtenBytes), right: true },
  { title: 'UPTIME', value: (load) => duration(load.uptime), right: true },
];

export const top: Action = async (_args, flags) => {
  const host = await service();
  const look = async (): Promise<Load[]> => {
    const live = (await host.list()).filter(({ info }) => info.worker !== null);
    const all = live.map(async (vm) => {
      const metrics = await vm.metrics().catch(() => undefined);
      return metrics && { name: vm.name, state: vm.info.state, uptime: vm.info.uptime, metrics };
    });
    const found = (await Promise.all(all)).filter((each) => each !== undefined);
    return found.sort((a, b) => b.metrics.processorPercent - a.metrics.processorPercent);
  };
  const shown = { columns: LOAD_COLUMNS, name: (load: Load) => load.name, none: 'no VM runs' };
  if (flags.once || !process.stdout.isTTY || outputOf(flags) !== 'table') {
    await showRows(await look(), flags, shown);
    return undefined;
  }
  for (;;) {
    const loads = await look();
    const text = loads.length === 0 ? 'no VM runs' : table(loads, LOAD_COLUMNS, process.stdout.columns);
    process.stdout.write(`\x1b[H\x1b[J${text}\n`);
    await new Promise((resolve) => setTimeout(resolve, PERIOD));
  }
};

export const measure: Action = async ([name], flags: Flags) => {
  const only = name === undefined ? undefined : await vmOf(name);
  const all = await (await service()).transport.call('measure');
  const rows = all.filter(({ vm }) => only === undefined || vm === only.id);
  await showRows(rows, flags, {
    name: (usage) => usage.name,
    none: 'no virtual machines',
    columns: [
      { title: 'NAME', value: (usage) => usage.name },
      { title: 'RAN', value: (usage) => duration(usage.seconds), right: true },
      { title: 'PROCESSOR', value: (usage) => duration(usage.processorSeconds), right: true },
      {
        title: 'MEMORY',
        value: (usage) => (usage.seconds > 0 ? bytes(usage.memorySeconds / usage.seconds) : '-'),
        right: true,
      },
      { title: 'READ', value: (usage) => bytes(usage.diskReadBytes), right: true },
      { title: 'WRITTEN', value: (usage) => bytes(usage.diskWrittenBytes), right: true },
      { title: 'NETWORK', value: (usage) => bytes(usage.networkBytes), right: true },
    ],
  });
  return undefined;
};
