/** `hv checkpoint ...`: what it understands. */
import type { CommandRow } from '../command-row.ts';

const load = async (name: keyof typeof import('./actions.ts')) => (await import('./actions.ts'))[name];

export const CHECKPOINT_COMMANDS: readonly CommandRow[] = [
  {
    noun: 'checkpoint',
    verb: 'create',
    aliases: ['new'],
    args: '<vm> [name]',
    kinds: ['vm'],
    text: 'keep the state of a VM, running or not',
    options: [{ flags: '--production', text: "with the guest's file systems frozen, and without its memory" }],
    changes: true,
    shows: true,
    cmdlets: ['Checkpoint-VM'],
    help: `Memory, processors, devices and disks are kept as they are at one moment. The disks must be VHDX files: each
gets a differencing disk on top, and the file that was there does not change from then on.

Memory is copied while the guest runs; it stands still only for what it has changed meanwhile, which is told apart.
Ctrl-C while memory is copied cancels: the VM goes on, and nothing is left.

Example:
  hv checkpoint create web clean && ... && hv checkpoint apply web clean`,
    load: () => load('create'),
  },
  {
    noun: 'checkpoint',
    verb: 'ls',
    aliases: ['list'],
    args: '<vm>',
    kinds: ['vm'],
    text: 'the tree of checkpoints of a VM; * is where it goes on from',
    shows: true,
    cmdlets: ['Get-VMSnapshot', 'Get-VMCheckpoint'],
    load: () => load('ls'),
  },
  {
    noun: 'checkpoint',
    verb: 'apply',
    aliases: ['restore'],
    args: '<vm> <checkpoint>',
    kinds: ['vm', 'checkpoint'],
    text: 'put a VM back to a checkpoint; what it has done since is lost',
    options: [
      { flags: '--start', text: 'let it go on at once' },
      { flags: '--no-start', text: 'leave it saved; default: start when it was running' },
    ],
    changes: true,
    asks: true,
    cmdlets: ['Restore-VMSnapshot', 'Restore-VMCheckpoint'],
    load: () => load('apply'),
  },
  {
    noun: 'checkpoint',
    verb: 'rm',
    aliases: ['remove'],
    args: '<vm> <checkpoint>',
    kinds: ['vm', 'checkpoint'],
    text: 'remove a checkpoint; the VM stays as it is',
    options: [{ flags: '--subtree', text: 'and those made after it' }],
    changes: true,
    asks: true,
    cmdlets: ['Remove-VMSnapshot', 'Remove-VMCheckpoint'],
    load: () => load('rm'),
  },
  {
    noun: 'checkpoint',
    verb: 'rename',
    args: '<vm> <checkpoint> <name>',
    kinds: ['vm', 'checkpoint'],
    text: 'give it another name',
    changes: true,
    cmdlets: ['Rename-VMSnapshot', 'Rename-VMCheckpoint'],
    load: () => load('rename'),
  },
  {
    noun: 'checkpoint',
    verb: 'export',
    args: '<vm> <checkpoint> <folder>',
    kinds: ['vm', 'checkpoint', 'folder'],
    text: 'write a VM as it was at a checkpoint into a new folder',
    changes: true,
    cmdlets: ['Export-VMSnapshot', 'Export-VMCheckpoint'],
    load: () => load('exportCheckpoint'),
  },
];
