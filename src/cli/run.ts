/** `hv run`: the command line's files and values as partition options. */
import { existsSync } from 'node:fs';
import { ViridianError } from '../contracts/errors.ts';
import type { BootModule, CreatePartition, PartitionOptions } from '../contracts/partition.ts';
import { resolvePartitionOptions } from '../contracts/partition-options.ts';
import { readInput } from '../host/node/files.ts';
import type { MachineFlags, RunFlags } from './flags.ts';
import { type RunRequest, runPartition } from './run-partition.ts';

/** @param create For tests; else the library's. */
export async function run(flags: RunFlags, create?: CreatePartition): Promise<number> {
  if (flags.kernel === undefined && flags.restore === undefined) {
    throw new ViridianError('invalid', 'nothing to run: give --kernel FILE, or --restore FILE');
  }
  const moduleFiles = (flags.module ?? []).map(moduleFile);
  const options: PartitionOptions = {
    ...machineOptionsOf(flags),
    kernel: flags.kernel,
    initrd: flags.initrd,
    append: flags.append,
    modules: flags.module && moduleFiles.map(({ path }) => ({ source: path })),
    testDevice: flags.testDevice,
    onReboot: flags.reboot ? 'restart' : 'stop',
    restore: flags.restore,
  };
  // What is wrong with the options is said before any file is read.
  resolvePartitionOptions(options);
  const read = async (what: string, path: string | undefined) =>
    path === undefined ? undefined : await readInput(what, path);
  const kernel = await read('kernel', flags.kernel);
  const initrd = await read('initrd', flags.initrd);
  const restore = await read('saved state', flags.restore);
  const modules: BootModule[] = [];
  for (const { path, commandLine } of moduleFiles)
    modules.push({ source: await readInput('module', path), commandLine });
  const request = requestOf(flags, { ...options, kernel, initrd, restore, modules: options.modules && modules });
  return await runPartition(request, create ?? (await library()));
}

export function machineOptionsOf(flags: MachineFlags): PartitionOptions {
  return {
    memory: flags.memory,
    processors: flags.processors,
    clock: flags.clock,
    instructionLimit: flags.instructions,
  };
}

export function requestOf(flags: MachineFlags, options: PartitionOptions): RunRequest {
  return {
    options,
    timeoutSeconds: flags.timeout,
    save: flags.save,
    trace: flags.trace,
    stats: flags.stats,
    inspect: flags.inspect,
  };
}

export async function library(): Promise<CreatePartition> {
  const { createPartition } = await import('../vmwp/index.ts');
  return createPartition;
}

/** "FILE" or "FILE ARGUMENTS"; the module's string is all of it, as boot loaders pass it. */
function moduleFile(text: string): { path: string; commandLine: string } {
  const space = text.indexOf(' ');
  const whole = space < 0 || existsSync(text);
  return { path: whole ? text : text.slice(0, space), commandLine: text };
}
