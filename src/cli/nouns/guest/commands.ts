/** What goes on inside a guest: console, screen, keyboard, integration components. */
import type { CommandRow } from '../command-row.ts';
import { CONSOLE_HELP } from './keys.ts';

const load = async (name: keyof typeof import('./actions.ts')) => (await import('./actions.ts'))[name];
const POOLS = ['external', 'guest', 'auto'];

export const GUEST_COMMANDS: readonly CommandRow[] = [
  {
    verb: 'console',
    args: '<vm>',
    kinds: ['vm'],
    text: 'attach to the console of a VM (COM1)',
    options: [{ flags: '--no-history', text: 'do not show what the console has shown before' }],
    cmdlets: ['Connect-VM'],
    help: `${CONSOLE_HELP}
Several may be attached at a time. With stdin from elsewhere its bytes go to the guest, and its end leaves the console.`,
    load: async () => (await import('./console.ts')).console,
  },
  {
    verb: 'screenshot',
    args: '<vm> <file>',
    kinds: ['vm', 'file'],
    text: "write the guest's screen to a PNG file; - is stdout",
    load: () => load('screenshot'),
  },
  {
    verb: 'type',
    args: '<vm> <text>',
    kinds: ['vm'],
    text: 'type a text on the keyboard of a VM',
    options: [
      { flags: '--enter', text: 'and press Enter' },
      { flags: '--keys', text: 'the text is W3C codes of keys, pressed together: ControlLeft+AltLeft+Delete' },
    ],
    load: () => load('type'),
  },
  {
    verb: 'cp',
    args: '<file> <target>',
    kinds: ['file'],
    text: 'copy a file into a guest: hv cp FILE VM:/PATH',
    options: [
      { flags: '--overwrite', text: 'replace a file that is there' },
      { flags: '--folders', text: 'make folders that are not there' },
    ],
    changes: true,
    cmdlets: ['Copy-VMFile'],
    help: `Needs the file copy daemon of Debian's hyperv-daemons in the guest (hv_fcopy_daemon).

Example:
  hv cp app.tar.gz web:/srv/app.tar.gz --folders`,
    load: () => load('cp'),
  },
  {
    noun: 'ic',
    verb: 'show',
    args: '<vm>',
    kinds: ['vm'],
    text: 'what the integration components say',
    shows: true,
    cmdlets: ['Get-VMIntegrationService'],
    load: () => load('showIc'),
  },
  {
    noun: 'ic',
    verb: 'time',
    args: '<vm>',
    kinds: ['vm'],
    text: 'have the guest set its clock',
    changes: true,
    load: () => load('time'),
  },
  {
    noun: 'ic',
    verb: 'freeze',
    args: '<vm>',
    kinds: ['vm'],
    text: "freeze the guest's file systems",
    changes: true,
    load: () => load('freeze'),
  },
  {
    noun: 'ic',
    verb: 'thaw',
    args: '<vm>',
    kinds: ['vm'],
    text: 'thaw them',
    changes: true,
    load: () => load('thaw'),
  },
  {
    noun: 'kvp',
    verb: 'ls',
    aliases: ['list'],
    args: '<vm> [pool]',
    kinds: ['vm', POOLS],
    text: 'key-value pairs: external (from the host), guest, auto (what the guest says of itself; the default)',
    shows: true,
    load: () => load('listKvp'),
  },
  {
    noun: 'kvp',
    verb: 'get',
    args: '<vm> <key> [pool]',
    kinds: ['vm', [], POOLS],
    text: 'one value',
    load: () => load('getKvp'),
  },
  {
    noun: 'kvp',
    verb: 'set',
    args: '<vm> <key> <value>',
    kinds: ['vm'],
    text: 'set a value for the guest to read (external)',
    changes: true,
    load: () => load('setKvp'),
  },
  {
    noun: 'kvp',
    verb: 'rm',
    aliases: ['remove'],
    args: '<vm> <key>',
    kinds: ['vm'],
    text: 'remove a key from external',
    changes: true,
    load: () => load('removeKvp'),
  },
];
