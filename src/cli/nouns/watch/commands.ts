/** Looking on: events, load, usage; and completion for shells. */
import type { CommandRow } from '../command-row.ts';
import { whole } from '../values.ts';

const load = async (name: keyof typeof import('./actions.ts')) => (await import('./actions.ts'))[name];
const SHELLS = ['bash', 'zsh', 'fish'];

export const WATCH_COMMANDS: readonly CommandRow[] = [
  {
    verb: 'events',
    text: 'the event log',
    options: [
      { flags: '-f, --follow', text: 'and what happens from now on' },
      { flags: '--after <id>', text: 'events after this one', parse: whole('--after') },
      { flags: '--last <n>', text: 'only so many of the newest (default: 50)', parse: whole('--last', 1) },
      { flags: '--vm <vm>', text: 'only of this VM', kind: 'vm' },
    ],
    shows: true,
    cmdlets: ['Get-VMEvent'],
    help: `With --json each event is one line, so that a program can follow; its id is where to go on from.
Who follows goes on with the next service when one ends, and misses nothing.

Example:
  hv events --follow --json --after 120`,
    load: () => load('events'),
  },
  {
    verb: 'top',
    text: 'load of VMs that run, renewed every two seconds',
    options: [{ flags: '--once', text: 'show it once' }],
    shows: true,
    load: () => load('top'),
  },
  {
    verb: 'measure',
    args: '[vm]',
    kinds: ['vm'],
    text: 'what VMs have used in all their runs',
    shows: true,
    cmdlets: ['Measure-VM'],
    load: () => load('measure'),
  },
  {
    verb: 'completion',
    args: '<shell>',
    kinds: [SHELLS],
    text: `completion for a shell: ${SHELLS.join(', ')}`,
    help: `Examples:
  source <(hv completion bash)                              # in ~/.bashrc
  hv completion zsh > "\${fpath[1]}/_hv"
  hv completion fish > ~/.config/fish/completions/hv.fish`,
    load: async () => (await import('./completion.ts')).completion,
  },
];
