/** `hv disk ...`, `hv dvd ...`: what they understand. */
import type { CommandRow } from '../command-row.ts';
import { oneOf, path, whole } from '../values.ts';

const load = async (name: keyof typeof import('./actions.ts')) => (await import('./actions.ts'))[name];
const FORMATS = ['vhdx', 'vhd', 'raw', 'iso', 'qcow2'];
const slot = {
  flags: '--slot <n>',
  text: 'its place at the controller; default: the first free one',
  parse: whole('--slot'),
};

export const COMPONENT_COMMANDS: readonly CommandRow[] = [
  {
    noun: 'disk',
    verb: 'add',
    aliases: ['attach'],
    args: '<vm> <file>',
    kinds: ['vm', 'file'],
    text: "attach a disk file; make one with 'hv vhd create'",
    options: [
      slot,
      { flags: '--format <format>', text: FORMATS.join(', '), parse: oneOf('--format', FORMATS), kind: FORMATS },
      { flags: '--readonly', text: 'the guest can only read it' },
      { flags: '--discard', text: 'what the guest writes is thrown away' },
      { flags: '--allow-parent <file>', text: 'a parent outside its folder', parse: path, repeats: true, kind: 'file' },
    ],
    changes: true,
    cmdlets: ['Add-VMHardDiskDrive'],
    load: () => load('addDisk'),
  },
  {
    noun: 'disk',
    verb: 'rm',
    aliases: ['remove', 'detach'],
    args: '<vm> <slot>',
    kinds: ['vm'],
    text: 'detach a disk; its file stays',
    changes: true,
    cmdlets: ['Remove-VMHardDiskDrive'],
    load: () => load('removeDisk'),
  },
  {
    noun: 'disk',
    verb: 'ls',
    aliases: ['list'],
    args: '<vm>',
    kinds: ['vm'],
    text: 'the disks of a VM',
    shows: true,
    cmdlets: ['Get-VMHardDiskDrive'],
    load: () => load('listDisks'),
  },
  {
    noun: 'dvd',
    verb: 'add',
    args: '<vm> [image]',
    kinds: ['vm', 'file'],
    text: 'add a DVD drive, empty or with an image in it',
    options: [slot],
    changes: true,
    cmdlets: ['Add-VMDvdDrive'],
    load: () => load('addDvd'),
  },
  {
    noun: 'dvd',
    verb: 'insert',
    args: '<vm> <slot> <image>',
    kinds: ['vm', [], 'file'],
    text: 'put an image into a drive',
    changes: true,
    cmdlets: ['Set-VMDvdDrive'],
    load: () => load('insertDvd'),
  },
  {
    noun: 'dvd',
    verb: 'eject',
    args: '<vm> <slot>',
    kinds: ['vm'],
    text: 'take the image out',
    changes: true,
    load: () => load('ejectDvd'),
  },
  {
    noun: 'dvd',
    verb: 'rm',
    aliases: ['remove'],
    args: '<vm> <slot>',
    kinds: ['vm'],
    text: 'remove a DVD drive',
    changes: true,
    cmdlets: ['Remove-VMDvdDrive'],
    load: () => load('removeDvd'),
  },
];
