/** `hv run`: the command line's files and values as partition options. */
import { existsSync } from 'node:fs';
import type { DiskFile } from '../contracts/block-device.ts';
import { ViridianError } from '../contracts/errors.ts';
import type { NicOptions } from '../contracts/network.ts';
import type { BootModule, CreatePartition, DiskBoot, PartitionOptions } from '../contracts/partition.ts';
import type { MachineFlags, RunFlags } from './flags.ts';
import { type RunRequest, runPartition } from './run-partition.ts';
import { say } from './say.ts';

/** @param create For tests; else the library's. */
export async function run(flags: RunFlags, create?: CreatePartition): Promise<number> {
  if (flags.kernel === undefined && flags.restore === undefined && flags.disk === undefined) {
    throw new ViridianError(
      'invalid',
      'nothing to run: give --kernel FILE, --disk FILE with a system on it, or --restore FILE',
    );
  }
  const options: PartitionOptions = {
    ...machineOptionsOf(flags),
    kernel: flags.kernel,
    initrd: flags.initrd,
    append: flags.append,
    modules: flags.module?.map(moduleFile),
    testDevice: flags.testDevice,
    onReboot: flags.reboot ? 'restart' : 'stop',
    restore: flags.restore,
    ...(flags.kernel === undefined && flags.restore === undefined
      ? { onBoot: (boot: DiskBoot) => say(`hv: ${bootText(boot)}`) }
      : {}),
  };
  return await runPartition(requestOf(flags, options), create ?? (await library(flags.check ? 0 : flags.processors)));
}

function bootText({ disk, partition, kernel, initrd, commandLine, unclean }: DiskBoot): string {
  const where = partition === 0 ? disk : `${disk}, partition ${partition}`;
  const files = initrd === undefined ? kernel : `${kernel} with ${initrd}`;
  const note = unclean ? '\nhv: its file system was not unmounted; what its journal holds was taken into account' : '';
  return `${where}: booting ${files}, '${commandLine}'${note}`;
}

export function machineOptionsOf(flags: MachineFlags): PartitionOptions {
  return {
    memory: flags.memory,
    memoryMinimum: flags.memoryMin,
    memoryMaximum: flags.memoryMax,
    processors: flags.processors,
    clock: flags.clock,
    engine: flags.engine,
    // Left open, the clock and a restored state decide.
    vmbus: flags.vmbus === false ? false : undefined,
    instructionLimit: flags.instructions,
    disks: disksOf(flags),
    dvds: flags.dvd,
    nics: nicsOf(flags),
    ...checkOf(flags),
  };
}

function disksOf({ disk, discard, allowParent, save }: MachineFlags): readonly DiskFile[] | undefined {
  for (const [option, given] of [
    ['--discard', discard],
    ['--allow-parent', allowParent],
  ] as const)
    if (given !== undefined && disk === undefined)
      throw new ViridianError('invalid', `${option} is for disks: give --disk FILE`);
  const disks = disk?.map((each) => ({ ...each, ...(discard ? { discard } : {}), allowParent }));
  if (save !== undefined && disks?.some((each) => each.discard))
    throw new ViridianError(
      'invalid',
      '--save cannot be given where disks are discarded: the state would stand on them',
    );
  return disks;
}

/** Ports to publish need a network: it is there without saying. */
function nicsOf({ nic, publish, capture }: MachineFlags): readonly NicOptions[] | undefined {
  const nics = nic ?? (publish ? [{ network: 'nat' as const }] : undefined);
  if (capture !== undefined && nics?.length !== 1)
    throw new ViridianError(
      'invalid',
      nics ? '--capture is for one adapter: give capture=FILE with --nic' : '--capture needs a network: give --nic',
    );
  const published = nics?.findIndex(({ network }) => network === 'nat');
  if (publish && published === -1)
    throw new ViridianError('invalid', '--publish needs a network adapter: give --nic nat');
  return nics?.map((each, i) => ({
    ...each,
    ...(publish && i === published ? { forwards: publish } : {}),
    ...(capture === undefined ? {} : { capture }),
  }));
}

function checkOf({ check, checkEvery, save, hash }: MachineFlags): Pick<PartitionOptions, 'check'> {
  if (!check && checkEvery === undefined) return {};
  if (!check) throw new ViridianError('invalid', '--check-every is for --check');
  if (save !== undefined || hash) throw new ViridianError('invalid', '--save and --hash cannot be given with --check');
  return { check: { every: checkEvery, say: (text) => say(`hv: ${text}`) } };
}

export function requestOf(flags: MachineFlags, options: PartitionOptions): RunRequest {
  return {
    options,
    timeoutSeconds: flags.timeout,
    save: flags.save,
    trace: flags.trace,
    stats: flags.stats,
    inspect: flags.inspect,
    hash: flags.hash,
  };
}

/** @param processors How many the partition will have, unless a saved one says otherwise. */
export async function library(processors = 1): Promise<CreatePartition> {
  const { startAhead, threadsAhead } = await import('../vmwp/processor-threads.ts');
  startAhead(processors - threadsAhead());
  const { createPartition } = await import('../vmwp/index.ts');
  return createPartition;
}

/** "FILE" or "FILE ARGUMENTS"; the module's string is all of it, as boot loaders pass it. */
function moduleFile(text: string): BootModule {
  const space = text.indexOf(' ');
  const whole = space < 0 || existsSync(text);
  return { source: whole ? text : text.slice(0, space), commandLine: text };
}
