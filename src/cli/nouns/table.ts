/** Every command of the management half. The other commands (run, quickstart, vhd, image, doctor) are in ../own-commands.ts. */
import { CHECKPOINT_COMMANDS } from './checkpoint/commands.ts';
import type { CommandRow } from './command-row.ts';
import { COMPONENT_COMMANDS } from './components/commands.ts';
import { GUEST_COMMANDS } from './guest/commands.ts';
import { HOST_COMMANDS } from './host/commands.ts';
import { NETWORK_COMMANDS } from './network/commands.ts';
import { ROLE_COMMANDS } from './role/commands.ts';
import { VM_COMMANDS } from './vm/commands.ts';
import { WATCH_COMMANDS } from './watch/commands.ts';

export const NOUNS: Readonly<Record<string, string>> = {
  vm: 'virtual machines: make, start, stop, save, export',
  checkpoint: 'checkpoints of virtual machines',
  disk: 'disks of virtual machines',
  dvd: 'DVD drives of virtual machines',
  nic: 'network adapters of virtual machines',
  switch: 'virtual switches',
  ic: 'integration components of guests',
  kvp: 'key-value pairs exchanged with guests',
  host: 'this host and its limits',
  service: 'the management service',
  role: 'the management service as a service of systemd',
  token: 'who may use the service over TCP',
  job: 'what is under way',
};

/** For completion. */
export const OTHERS = ['run', 'quickstart', 'vhd', 'image', 'doctor'];

export const COMMANDS: readonly CommandRow[] = [
  ...VM_COMMANDS,
  ...CHECKPOINT_COMMANDS,
  ...COMPONENT_COMMANDS,
  ...NETWORK_COMMANDS,
  ...GUEST_COMMANDS,
  ...HOST_COMMANDS,
  ...ROLE_COMMANDS,
  ...WATCH_COMMANDS,
];
