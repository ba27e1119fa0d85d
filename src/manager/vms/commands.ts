/** What may be done with a VM as a whole: one table, for the list, the detail page and several VMs at once. */

import type { Job } from '../../contracts/api/resources.ts';
import type { Vm } from '../../contracts/api/vm.ts';
import { isLive, mayDo, type VmAction, type VmState } from '../../contracts/vm-state.ts';
import { call } from '../store/api.ts';
import type { Role } from '../store/roles.ts';

export interface VmCommand {
  readonly id: string;
  readonly label: string;
  readonly role: Role;
  readonly allowed: (state: VmState) => boolean;
  /** @param answer to what it asks. */
  readonly run: (vm: Vm, answer: string) => Promise<Job>;
  /** Asked before; it is lost otherwise. */
  readonly question?: string;
  /** What must be said before. Of one VM only. */
  readonly asks?: { readonly label: string; readonly placeholder: string; readonly pattern?: string };
  readonly danger?: boolean;
}

const standing = (state: VmState): boolean => state === 'Off' || state === 'Saved';
const when = (action: VmAction) => (state: VmState) => mayDo(action, state);
const of = (vm: Vm) => ({ params: { vm: vm.id } });

export const VM_COMMANDS: readonly VmCommand[] = [
  { id: 'start', label: 'Start', role: 'operator', allowed: when('start'), run: (vm) => call('startVm', of(vm)) },
  {
    id: 'shutdown',
    label: 'Shut down',
    role: 'operator',
    allowed: when('shutdown'),
    run: (vm) => call('stopVm', { ...of(vm), body: {} }),
  },
  { id: 'pause', label: 'Pause', role: 'operator', allowed: when('pause'), run: (vm) => call('pauseVm', of(vm)) },
  { id: 'resume', label: 'Resume', role: 'operator', allowed: when('resume'), run: (vm) => call('resumeVm', of(vm)) },
  { id: 'save', label: 'Save', role: 'operator', allowed: when('save'), run: (vm) => call('saveVm', of(vm)) },
  {
    id: 'restart',
    label: 'Restart',
    role: 'operator',
    allowed: when('restart'),
    run: (vm) => call('restartVm', { ...of(vm), body: {} }),
  },
  {
    id: 'checkpoint',
    label: 'Checkpoint',
    role: 'operator',
    allowed: (state) => ['Off', 'Running', 'Paused', 'Saved'].includes(state),
    run: (vm) => call('createCheckpoint', { ...of(vm), body: {} }),
  },
  {
    id: 'clone',
    label: 'Clone',
    role: 'administrator',
    allowed: (state) => state === 'Off',
    asks: { label: 'Name of the new machine', placeholder: 'web-2' },
    run: (vm, name) => call('cloneVm', { ...of(vm), body: { name } }),
  },
  {
    id: 'export',
    label: 'Export',
    role: 'administrator',
    allowed: standing,
    asks: { label: 'New folder on the host', placeholder: '/srv/exports/web', pattern: '/.*' },
    run: (vm, folder) => call('exportVm', { ...of(vm), body: { folder } }),
  },
  {
    id: 'nmi',
    label: 'Send NMI',
    role: 'operator',
    allowed: when('nmi'),
    question: 'The guest’s kernel decides what it does: most write a crash dump and restart.',
    danger: true,
    run: (vm) => call('injectNmi', of(vm)),
  },
  {
    id: 'reset',
    label: 'Reset',
    role: 'operator',
    allowed: when('reset'),
    question: 'The guest starts anew at once. What it has not written to its disks is lost.',
    danger: true,
    run: (vm) => call('restartVm', { ...of(vm), body: { reset: true } }),
  },
  {
    id: 'turnOff',
    label: 'Turn off',
    role: 'operator',
    allowed: when('turnOff'),
    question: 'This pulls the plug. What the guest has not written to its disks is lost.',
    danger: true,
    run: (vm) => call('stopVm', { ...of(vm), body: { turnOff: true } }),
  },
  {
    id: 'discard',
    label: 'Discard saved state',
    role: 'operator',
    allowed: when('discardSavedState'),
    question: 'The next start boots. What was in memory is lost.',
    danger: true,
    run: (vm) => call('discardSavedState', of(vm)),
  },
  {
    id: 'remove',
    label: 'Delete',
    role: 'administrator',
    allowed: (state) => !isLive(state),
    question: 'Its checkpoints and the disks in its own folder go with it. Disks that lie elsewhere stay.',
    danger: true,
    run: (vm) => call('removeVm', of(vm)),
  },
];

/** The commands that at least one of some VMs allows; what asks for something is for one alone. */
export function commandsFor(vms: readonly Vm[]): readonly VmCommand[] {
  return VM_COMMANDS.filter(
    ({ allowed, asks }) => vms.some(({ state }) => allowed(state)) && (asks === undefined || vms.length === 1),
  );
}
