/** `hv run` and `hv quickstart`: what they understand. */
import { type Command, Option } from 'commander';
import { describeExitCodes } from '../contracts/exit-codes.ts';
import {
  parseClock,
  parseDisk,
  parseDvd,
  parseEngine,
  parseEvery,
  parseFile,
  parseInstructions,
  parseMemory,
  parseModule,
  parseNic,
  parseProcessors,
  parsePublish,
  parseTimeout,
} from './arguments.ts';
import { KEYS_HELP } from './console-keys.ts';
import type { QuickstartFlags, RunFlags } from './flags.ts';

const TERMINAL_HELP = `
Console:
  COM1 is on stdin and stdout, byte for byte; everything hv says is on stderr.
  On a terminal every key goes to the guest, except:
${indent(KEYS_HELP)}
  With stdin from elsewhere its bytes go to the guest; their end does not end the run.

Signals:
  SIGINT, SIGTERM, SIGHUP  end the run (with --save: save the partition first)
  SIGUSR2                  show the partition's state on stderr
  SIGCONT                  after a full disk: see at once whether there is room again
`;

const EXIT_HELP = `
Exit codes:
${describeExitCodes('  ')}
  With --test-device the guest can end the run with a code of its own.
`;

export function runCommand(hv: Command): void {
  const run = hv
    .command('run')
    .description('run a throw-away partition with its console on this terminal')
    .option(
      '--kernel <file>',
      'bzImage, ELF with a PVH note, or multiboot ELF32 to boot; without one, that of the first disk that has one is',
      parseFile('--kernel'),
    )
    .option('--initrd <file>', 'initial RAM disk', parseFile('--initrd'))
    .option('--append <text>', "the kernel's command line; of a disk's kernel, what is added to it")
    .option('--module <file>', 'multiboot module, "FILE" or "FILE ARGUMENTS"; repeatable', parseModule)
    .option('--no-reboot', 'end the run where the guest asks for a restart')
    .option('--test-device', 'debug devices that bare-metal test kernels for QEMU expect')
    .option('--restore <file>', 'continue a saved partition instead of booting one', parseFile('--restore'));
  machineOptions(run)
    .addHelpText('after', TERMINAL_HELP + EXIT_HELP)
    .action(async (options: RunFlags) => {
      const command = await import('./run.ts');
      process.exitCode = await command.run(options);
    });
}

export function quickstartCommand(hv: Command): void {
  const quickstart = hv
    .command('quickstart')
    .description("boot Debian's kernel with a busybox shell (fetched with apt-get, kept in the user's cache)")
    .option('--kernel <file>', "a kernel image instead of Debian's", parseFile('--kernel'))
    .option('--busybox <file>', "a static busybox instead of Debian's", parseFile('--busybox'))
    .option('--append <text>', "more for the kernel's command line")
    .option('--drivers', "load the kernel's drivers for Hyper-V's devices: VMBus, keyboard, screen, integration")
    .option('--debian', 'a whole Debian 12 instead, on a disk that is made the first time, with a network and ssh')
    .option('--refresh', 'look for newer packages, even if some are in the cache; with --debian: make the disk anew');
  machineOptions(quickstart)
    .addHelpText('after', TERMINAL_HELP + EXIT_HELP)
    .action(async (options: QuickstartFlags) => {
      const command = await import('./quickstart/quickstart.ts');
      process.exitCode = await command.quickstart(options);
    });
}

function machineOptions(command: Command): Command {
  return command
    .option('--memory <size>', 'guest memory: 512M, 2G; a plain number is MiB (default: 512M)', parseMemory('--memory'))
    .option(
      '--memory-min <size>',
      'dynamic memory: the guest gives back what it does not need, down to this (with hv_balloon in the guest)',
      parseMemory('--memory-min'),
    )
    .option(
      '--memory-max <size>',
      'dynamic memory: it gets more when it needs it, up to this',
      parseMemory('--memory-max'),
    )
    .option('--processors <n>', 'virtual processors (default: 1)', parseProcessors)
    .addOption(
      new Option('--clock <mode>', "guest time: 'real', or 'instructions' (deterministic) (default: real)").argParser(
        parseClock,
      ),
    )
    .option('--engine <engine>', "'interpreter', 'translator' or 'auto' (default: auto)", parseEngine)
    .option(
      '--disk <file>',
      'a disk: FILE[,format=vhdx|vhd|raw|iso|qcow2][,readonly][,discard][,controller=N][,lun=N]; repeatable, needs hv_storvsc in the guest',
      parseDisk,
    )
    .option(
      '--dvd <file>',
      "a DVD drive with this image; '' is an empty one; repeatable, needs sr_mod in the guest",
      parseDvd,
    )
    .option('--discard', 'throw away what the guest writes to its disks; their files stay as they are')
    .option(
      '--allow-parent <file>',
      "a file outside a disk's folder that may be its parent; repeatable",
      (text: string, all?: readonly string[]) => [...(all ?? []), parseFile('--allow-parent')(text)],
    )
    .option(
      '--nic <network>',
      'a network adapter: nat|private[,mac=ADDRESS][,vlan=N][,mtu=N][,name=NAME][,host=PORT][,large][,capture=FILE]; repeatable, needs hv_netvsc in the guest',
      parseNic,
    )
    .option(
      '-p, --publish <ports>',
      "a port of the host that leads to the guest's: [ADDRESS:]HOSTPORT:GUESTPORT[/udp]; repeatable",
      parsePublish,
    )
    .option('--capture <file>', 'write what passes the network adapter to a pcap file', parseFile('--capture'))
    .option('--no-vmbus', 'no VMBus, so no synthetic devices and no integration components')
    .option('--check', 'run it twice, interpreted and translated, and compare; time is instructions')
    .option('--check-every <n>', 'with --check: instructions between comparisons (default: 1000000)', parseEvery)
    .option('--timeout <seconds>', 'end the run after this time', parseTimeout)
    .option('--instructions <n>', 'stop when this many instructions have retired', parseInstructions)
    .option(
      '--save <file>',
      'save the partition when the run is ended by a signal, a key, --timeout or --instructions',
      parseFile('--save'),
    )
    .option('--trace', 'name intercepts, MSRs and hypercalls on stderr as they happen')
    .option('--stats', 'show instructions, time and counters at the end')
    .option('--inspect', "show the partition's state at the end")
    .option('--hash', 'show digests of registers, memory and devices where the run is ended before the guest ends it');
}

function indent(text: string): string {
  return text.replace(/^/gm, '    ');
}
