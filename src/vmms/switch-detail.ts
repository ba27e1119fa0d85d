/** A switch with its ports: adapters of running VMs that are connected to it, as their workers know them. */
import type { Switch, SwitchDetail, SwitchPort } from '../contracts/api/resources.ts';
import { isAttended } from '../contracts/vm-state.ts';
import type { VirtualMachine } from './virtual-machine.ts';

/** Seconds for a worker to answer; one that does not is left out. */
const PATIENCE = 5;

export async function switchDetail(of: Switch, machines: readonly VirtualMachine[]): Promise<SwitchDetail> {
  const running = machines.filter(({ state }) => isAttended(state));
  const ports = (await Promise.all(running.map((machine) => portsOf(machine, of.name)))).flat();
  return {
    ...of,
    ports,
    leases: ports.flatMap(({ owner, address }) => (address === null ? [] : [{ owner, address, fixed: false }])),
    forwards: running.flatMap((machine) =>
      machine.record.configuration.nics
        .filter((nic) => nic.switch === of.name)
        .flatMap((nic) =>
          (nic.forwards ?? []).map((each) => ({
            ...each,
            hostAddress: each.hostAddress ?? '127.0.0.1',
            vm: machine.name,
            nic: nic.id,
          })),
        ),
    ),
  };
}

async function portsOf(machine: VirtualMachine, name: string): Promise<SwitchPort[]> {
  const here = machine.record.configuration.nics.filter((nic) => nic.switch === name).map(({ id }) => id);
  if (here.length === 0) return [];
  const adapters = await machine.ask('adapters', undefined, PATIENCE).catch(() => []);
  return adapters
    .filter(({ id }) => here.includes(id))
    .map(({ id, ...adapter }) => ({
      ...adapter,
      vm: machine.name,
      nic: id,
      owner: id === 'nic0' ? machine.name : `${machine.name}/${id}`,
      link: true,
    }));
}
