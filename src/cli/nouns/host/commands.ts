/** `hv host ...`, `hv service ...`, `hv token ...`, `hv job ...`: what they understand. */
import type { CommandRow } from '../command-row.ts';
import { oneOf, path } from '../values.ts';

const load = async (name: keyof typeof import('./actions.ts')) => (await import('./actions.ts'))[name];
/** As in contracts/api/resources.ts, which is not loaded for parsing a command line; a test compares them. */
export const EDITION_WORDS = [
  'Unlimited',
  '2008 Standard',
  '2008 R2 Standard',
  '2008 R2 Enterprise',
  '2008 R2 Datacenter',
];
const ROLES = ['viewer', 'operator', 'administrator'];

export const HOST_COMMANDS: readonly CommandRow[] = [
  {
    noun: 'host',
    verb: 'show',
    text: 'the host: memory, limits, and whether it meets the requirements',
    shows: true,
    cmdlets: ['Get-VMHost'],
    load: () => load('showHost'),
  },
  {
    noun: 'host',
    verb: 'set',
    text: 'change settings of the host',
    options: [
      {
        flags: '--edition <edition>',
        text: `${EDITION_WORDS.join(', ')}: its memory limit holds for all VMs that run`,
        parse: oneOf('--edition', EDITION_WORDS),
        kind: EDITION_WORDS,
      },
    ],
    changes: true,
    cmdlets: ['Set-VMHost'],
    help: `Editions and what VMs may have together:
  2008 Standard                           31 GB (and 1 GB for the parent partition)
  2008 R2 Standard                        32 GB
  2008 R2 Enterprise, 2008 R2 Datacenter  2 TB
  Unlimited                               what the host has`,
    load: () => load('setHost'),
  },
  {
    verb: 'manager',
    text: 'the web console: a link that signs in once, within a minute, opened where there is a desktop',
    options: [
      {
        flags: '--role <role>',
        text: `${ROLES.join(', ')} (default: administrator)`,
        parse: oneOf('--role', ROLES),
        kind: ROLES,
      },
      { flags: '--print', text: 'only print it' },
    ],
    shows: true,
    help: `A service that does not listen on TCP listens on 127.0.0.1:8006 from then on (or any free port), until it ends.
From another machine: ssh -L 8006:127.0.0.1:8006 HOST, or run it with TLS: see hv service run.`,
    load: () => load('openManager'),
  },
  {
    noun: 'service',
    verb: 'run',
    text: 'run the management service here; else it is started when it is needed',
    options: [
      { flags: '--listen <address>', text: 'also on TCP: HOST:PORT; with tokens, see hv token' },
      {
        flags: '--tls-cert <file>',
        text: 'certificate, PEM; TLS is required beyond loopback',
        parse: path,
        kind: 'file',
      },
      { flags: '--tls-key <file>', text: 'its key, PEM', parse: path, kind: 'file' },
      { flags: '--allow-host <name>', text: 'another name under which it is reached', repeats: true },
    ],
    help: `VMs do not need it to run: it can be ended and started again, and finds them.

Where things are:
  VIRIDIAN_HOME      everything in this folder, for a second service beside the first
  XDG_DATA_HOME      configurations, saved states, checkpoints (default: ~/.local/share)
  XDG_RUNTIME_DIR    sockets (default: ~/.local/state/viridian/run)
How it starts VMs:
  VIRIDIAN_ISOLATION 'off': without Landlock and seccomp ('hv vm show' says what holds)
And for the command:
  VIRIDIAN_HOST      another service: its socket, or https://HOST:PORT
  VIRIDIAN_TOKEN     a token of that service`,
    load: () => load('runService'),
  },
  {
    noun: 'service',
    verb: 'status',
    text: 'whether it runs; it is not started',
    shows: true,
    load: () => load('serviceStatus'),
  },
  {
    noun: 'service',
    verb: 'stop',
    text: 'end the service; VMs go on',
    options: [{ flags: '--vms', text: 'first carry out the automatic stop action of each VM' }],
    changes: true,
    load: () => load('stopService'),
  },
  {
    noun: 'token',
    verb: 'create',
    args: '<name>',
    text: 'let somebody use the service over TCP; shows the secret, once',
    options: [
      {
        flags: '--role <role>',
        text: `${ROLES.join(', ')} (default: viewer)`,
        parse: oneOf('--role', ROLES),
        kind: ROLES,
      },
      { flags: '--vm <vm>', text: 'only this VM', repeats: true, kind: 'vm' },
    ],
    changes: true,
    shows: true,
    cmdlets: ['Grant-VMConnectAccess'],
    load: () => load('createToken'),
  },
  {
    noun: 'token',
    verb: 'ls',
    aliases: ['list'],
    text: 'who may',
    shows: true,
    cmdlets: ['Get-VMConnectAccess'],
    load: () => load('listTokens'),
  },
  {
    noun: 'token',
    verb: 'rm',
    aliases: ['remove', 'revoke'],
    args: '<name>',
    text: 'revoke a token',
    changes: true,
    cmdlets: ['Revoke-VMConnectAccess'],
    load: () => load('removeToken'),
  },
  {
    noun: 'job',
    verb: 'ls',
    aliases: ['list'],
    text: 'what is under way, and what was',
    shows: true,
    load: () => load('listJobs'),
  },
  { noun: 'job', verb: 'cancel', args: '<id>', text: 'ask a job to end', changes: true, load: () => load('cancelJob') },
];
