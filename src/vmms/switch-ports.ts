/** The ports of a switch: adapters of VMs that are connected to it, with what their workers know of them. */
import type { SwitchPort } from '../contracts/api/resources.ts';
import { isAttended } from '../contracts/vm-state.ts';
import type { VirtualMachine } from './virtual-machine.ts';

/** Seconds for a worker to answer; one that does not is shown without figures. */
const PATIENCE = 5;

export async function switchPorts(machines: readonly VirtualMachine[], name: string): Promise<SwitchPort[]> {
  const connected = machines.filter(({ record }) => record.configuration.nics.some((nic) => nic.switch === name));
  return (await Promise.all(connected.map((machine) => portsOf(machine, name)))).flat();
}

async function portsOf(machine: VirtualMachine, name: string): Promise<SwitchPort[]> {
  const attended = isAttended(machine.state);
  const known = attended ? await machine.ask('adapters', undefined, PATIENCE).catch(() => []) : [];
  return machine.record.configuration.nics
    .filter((nic) => nic.switch === name)
    .map((nic) => {
      const status = known.find(({ id }) => id === nic.id);
      const address = status?.address ?? null;
      return {
        vm: machine.id,
        vmName: machine.name,
        adapter: nic.id,
        connected: attended,
        macAddress: status?.mac ?? nic.macAddress ?? null,
        addresses: address === null ? [] : [address],
        receivedBytes: status?.receivedBytes ?? 0,
        sentBytes: status?.sentBytes ?? 0,
        forwards: nic.forwards ?? [],
      };
    });
}
