/** `hv nic ...`, `hv switch ...`: what they understand. */
import type { CommandRow, OptionRow } from '../command-row.ts';
import { forward, hostPort, macAddress, oneOf, orNone, rate, whole } from '../values.ts';

const load = async (name: keyof typeof import('./actions.ts')) => (await import('./actions.ts'))[name];
const SWITCHES = ['Private', 'Internal', 'NAT', 'External'];
const SWITCH_HELP = `Kinds:
  NAT       VMs reach one another, and what the host reaches; addresses and names are given out
  Private   VMs reach one another, and nothing else
  Internal  and the host, through a TAP device (default: hv- and the switch's name)
  External  and a network outside, through a TAP device that is in a bridge of the host's

Examples:
  hv switch create lan
  hv switch create backend --kind Private
  hv switch create lab --subnet 10.9.0.0/24 --allow-host 5432
  hv switch create office --kind External --device tap0`;

const ADAPTER: readonly OptionRow[] = [
  { flags: '--vlan <n>', text: "access VLAN, from 1 to 4094; 'none'", parse: orNone(whole('--vlan', 1)) },
  {
    flags: '--address <ip>',
    text: "the IPv4 address that DHCP gives it, and the only one it may have; 'none'",
    parse: orNone((text) => text),
  },
  {
    flags: '--mac-spoofing <on|off>',
    text: 'on: the guest may send from any address (default: off)',
    parse: oneOf('--mac-spoofing', ['on', 'off']),
    kind: ['on', 'off'],
  },
  { flags: '--send-limit <rate>', text: "bits per second, as 10M; 'none'", parse: orNone(rate('--send-limit')) },
  { flags: '--receive-limit <rate>', text: "bits per second, as 10M; 'none'", parse: orNone(rate('--receive-limit')) },
  {
    flags: '--egress <rule>',
    text: "with NAT, only there: 10.0.0.0/8, tcp:192.0.2.7:443, *.debian.org:80-443; 'none': anywhere again",
    repeats: true,
  },
  {
    flags: '-p, --publish <ports>',
    text: "with NAT: [ADDRESS:]HOSTPORT:GUESTPORT[/udp]; takes the place of those that are; 'none'",
    parse: orNone(forward),
    repeats: true,
  },
];

export const NETWORK_COMMANDS: readonly CommandRow[] = [
  {
    noun: 'nic',
    verb: 'add',
    args: '<vm> [switch]',
    kinds: ['vm', 'switch'],
    text: 'add a network adapter, also while the VM runs',
    options: [
      { flags: '--id <id>', text: 'call it so; default: nic0, nic1, ...' },
      { flags: '--mac <address>', text: 'as 00:15:5d:00:00:01; default: given by the host', parse: macAddress },
      ...ADAPTER,
    ],
    changes: true,
    cmdlets: ['Add-VMNetworkAdapter'],
    load: () => load('addNic'),
  },
  {
    noun: 'nic',
    verb: 'set',
    args: '<vm> <nic>',
    kinds: ['vm'],
    text: 'change a network adapter, also while the VM runs',
    options: ADAPTER,
    changes: true,
    cmdlets: ['Set-VMNetworkAdapter', 'Set-VMNetworkAdapterVlan'],
    help: `Ports, and nothing else, change without a guest's connections noticing; for the rest the cable is pulled and
plugged in again.

Examples:
  hv nic set web nic0 -p 8080:80 -p 8443:443
  hv nic set web nic0 --send-limit 10M --receive-limit 50M
  hv nic set web nic0 --vlan 20`,
    load: () => load('setNic'),
  },
  {
    noun: 'nic',
    verb: 'connect',
    args: '<vm> <nic> <switch>',
    kinds: ['vm', [], 'switch'],
    text: 'plug an adapter into a switch',
    changes: true,
    cmdlets: ['Connect-VMNetworkAdapter'],
    load: () => load('connectNic'),
  },
  {
    noun: 'nic',
    verb: 'disconnect',
    args: '<vm> <nic>',
    kinds: ['vm'],
    text: 'pull the cable of an adapter',
    changes: true,
    cmdlets: ['Disconnect-VMNetworkAdapter'],
    load: () => load('disconnectNic'),
  },
  {
    noun: 'nic',
    verb: 'rm',
    aliases: ['remove'],
    args: '<vm> <nic>',
    kinds: ['vm'],
    text: 'remove a network adapter, also while the VM runs',
    changes: true,
    cmdlets: ['Remove-VMNetworkAdapter'],
    load: () => load('removeNic'),
  },
  {
    noun: 'nic',
    verb: 'ls',
    aliases: ['list'],
    args: '<vm>',
    kinds: ['vm'],
    text: 'the network adapters of a VM, with their addresses',
    shows: true,
    cmdlets: ['Get-VMNetworkAdapter'],
    load: () => load('listNics'),
  },
  {
    noun: 'switch',
    verb: 'create',
    aliases: ['new'],
    args: '<name>',
    text: 'make a virtual switch',
    options: [
      {
        flags: '--kind <kind>',
        text: `${SWITCHES.join(', ')} (default: NAT)`,
        parse: oneOf('--kind', SWITCHES),
        kind: SWITCHES,
      },
      { flags: '--subnet <network>', text: 'of kind NAT: as 10.9.0.0/24; default: 172.30.0.0/24' },
      {
        flags: '--allow-host <port>',
        text: "of kind NAT: a port of the host's 127.0.0.1 that VMs reach at the gateway: 5432, 53/udp",
        parse: hostPort('--allow-host'),
        repeats: true,
      },
      { flags: '--device <name>', text: "of kind Internal and External: the host's TAP device" },
      { flags: '--notes <text>', text: 'for people' },
    ],
    changes: true,
    cmdlets: ['New-VMSwitch'],
    help: SWITCH_HELP,
    load: () => load('createSwitch'),
  },
  {
    noun: 'switch',
    verb: 'set',
    args: '<switch>',
    kinds: ['switch'],
    text: 'change a switch, also while VMs are at it',
    options: [
      {
        flags: '--allow-host <port>',
        text: "ports of the host that VMs reach, in the place of those that are: 5432, 53/udp; 'none'",
        parse: orNone(hostPort('--allow-host')),
        repeats: true,
      },
      { flags: '--notes <text>', text: 'for people' },
    ],
    changes: true,
    cmdlets: ['Set-VMSwitch'],
    load: () => load('setSwitch'),
  },
  {
    noun: 'switch',
    verb: 'ls',
    aliases: ['list'],
    text: 'virtual switches',
    shows: true,
    cmdlets: ['Get-VMSwitch'],
    load: () => load('listSwitches'),
  },
  {
    noun: 'switch',
    verb: 'show',
    args: '<switch>',
    kinds: ['switch'],
    text: 'a switch: ports with their traffic, addresses given out, port forwards',
    shows: true,
    load: () => load('showSwitch'),
  },
  {
    noun: 'switch',
    verb: 'capture',
    args: '<switch> [file]',
    kinds: ['switch', 'file'],
    text: 'write what passes a switch to a pcap file, until it is interrupted',
    options: [
      { flags: '--vm <vm>', text: "only this VM's", kind: 'vm' },
      { flags: '--nic <nic>', text: 'only this adapter of it' },
      { flags: '--snaplen <bytes>', text: 'keep so much of each frame', parse: whole('--snaplen', 64) },
      { flags: '--seconds <n>', text: 'end after so long', parse: whole('--seconds', 1) },
    ],
    help: `Examples:
  hv switch capture lan traffic.pcap
  hv switch capture lan --vm web | tcpdump -nr -`,
    load: () => load('captureSwitch'),
  },
  {
    noun: 'switch',
    verb: 'forget',
    args: '<switch> <owner>',
    kinds: ['switch'],
    text: "give up a reservation of an address, by its owner as 'hv switch show' has it",
    changes: true,
    load: () => load('forgetLease'),
  },
  {
    noun: 'switch',
    verb: 'rm',
    aliases: ['remove'],
    args: '<switch>',
    kinds: ['switch'],
    text: 'remove a switch that no adapter is connected to',
    changes: true,
    cmdlets: ['Remove-VMSwitch'],
    load: () => load('removeSwitch'),
  },
];
