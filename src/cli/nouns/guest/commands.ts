/** What goes on inside a guest: console, screen, keyboard, integration components. */
import type { CommandRow } from '../command-row.ts';
import { path, whole } from '../values.ts';
import { CONSOLE_HELP } from './keys.ts';

const load = async (name: keyof typeof import('./actions.ts')) => (await import('./actions.ts'))[name];
const WAIT = {
  flags: '--timeout <seconds>',
  text: 'how long to wait for the guest (default: 15)',
  parse: whole('--timeout'),
};
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
    verb: 'exec',
    args: '<vm> [command...]',
    kinds: ['vm'],
    text: 'run a program in a guest, without a network: hv exec VM -- COMMAND',
    options: [
      { flags: '-t, --tty', text: 'with a terminal (the usual where stdin and stdout are one)' },
      { flags: '-T, --no-tty', text: 'without one' },
      { flags: '-n, --no-stdin', text: 'with nothing on its stdin' },
      { flags: '-e, --env <name=value>', text: 'of its environment; a name alone passes ours on', repeats: true },
      { flags: '-w, --workdir <folder>', text: "where it starts (default: root's home)" },
      WAIT,
    ],
    passes: true,
    cmdlets: ['Invoke-Command'],
    help: `The program runs as root. Without one, root's shell does. stdin, stdout, stderr, the size of the window and
SIGINT, SIGTERM and SIGHUP are passed on; the exit code is the program's (128 and its number where a signal
ended it, 127 where there is no such program). Failures of hv's own are on stderr, and begin with 'hv:'.

It takes the agent that images of 'hv image create debian' have. Others: guest/agent/README.md.

Examples:
  hv exec web                                    a shell
  hv exec web -- systemctl status ssh
  tar -c site | hv exec web -- tar -x -C /srv    what comes in on stdin goes to the program`,
    load: async () => (await import('./exec.ts')).exec,
  },
  {
    verb: 'ssh',
    args: '<target> [command...]',
    kinds: ['vm'],
    text: 'open a session with ssh, without a network: hv ssh [USER@]VM',
    options: [
      { flags: '-l, --login <user>', text: 'as whom (default: as ssh has it)' },
      { flags: '-i, --identity <file>', text: 'the private key', parse: path, kind: 'file' },
      { flags: '-t, --tty', text: 'with a terminal, for a command too' },
      { flags: '-o, --option <name=value>', text: "of ssh's", repeats: true },
      WAIT,
    ],
    passes: true,
    help: `The host's ssh, over a Hyper-V socket to port 22 of the guest's (AF_VSOCK), where images of 'hv image create
debian' have an sshd. The exit code is that of ssh.

Examples:
  hv ssh me@web
  hv ssh me@web uptime
  rsync -a -e 'hv ssh' site me@web:`,
    load: async () => (await import('./exec.ts')).ssh,
  },
  {
    verb: 'nc',
    args: '<vm> <port>',
    kinds: ['vm'],
    text: "connect stdin and stdout with a port of a guest's sockets (AF_VSOCK)",
    options: [WAIT],
    help: `Example, for ~/.ssh/config:
  Host web.vm
    ProxyCommand hv nc web 22`,
    load: async () => (await import('./exec.ts')).nc,
  },
  {
    verb: 'cp',
    args: '<files...>',
    kinds: ['file', 'file'],
    text: 'copy files and folders into a guest (hv cp FILE VM:/PATH) or out of one (hv cp VM:/PATH FILE)',
    options: [
      { flags: '--overwrite', text: 'replace files that are there' },
      { flags: '--folders', text: 'make folders that are not there' },
      WAIT,
    ],
    changes: true,
    cmdlets: ['Copy-VMFile'],
    help: `A folder is copied with all that is in it. Where the target is a folder, what is copied gets its name in it. Permissions
and times are kept, links stay links; the owner is root in the guest, and you here. No set-user-id bits and no devices come
out of a guest. Relative paths in a guest are relative to root's home.

It takes the agent that images of 'hv image create debian' have (hv exec --help). Without it a file can be copied into a guest that
has the file copy daemon of Hyper-V (hv_fcopy_daemon), to a path that is absolute.

Examples:
  hv cp app.tar.gz web:/srv/app.tar.gz --folders
  hv cp site/ web:/var/www
  hv cp web:/var/log ./logs`,
    load: async () => (await import('./copy.ts')).cp,
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
