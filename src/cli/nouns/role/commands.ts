/** `hv role ...`: what it understands. */
import type { CommandRow, OptionRow } from '../command-row.ts';

const load = async (name: keyof typeof import('./actions.ts')) => (await import('./actions.ts'))[name];
const system: OptionRow = { flags: '--system', text: 'for the whole host (as root); default: for this user' };
const dryRun: OptionRow = { flags: '--dry-run', text: 'show what would be done, and do nothing' };

export const ROLE_COMMANDS: readonly CommandRow[] = [
  {
    noun: 'role',
    verb: 'install',
    text: 'make the management service a service of systemd',
    options: [system, dryRun, { flags: '--listen <address>', text: 'also on TCP: HOST:PORT' }],
    help: `Two units: viridian.service is the management service; it can be restarted while VMs run.
viridian-guests.service carries out the automatic stop action of each VM when the host goes down.`,
    load: () => load('install'),
  },
  {
    noun: 'role',
    verb: 'remove',
    text: 'end the service and take its units away; VMs and their data stay',
    options: [system, dryRun],
    load: () => load('remove'),
  },
  {
    noun: 'role',
    verb: 'status',
    text: 'whether it is a service of systemd',
    options: [system],
    load: () => load('status'),
  },
];
