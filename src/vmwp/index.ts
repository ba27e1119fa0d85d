/** The library: `createPartition`. */

import type { BlockDevice } from '../contracts/block-device.ts';
import { isViridianError, ViridianError } from '../contracts/errors.ts';
import type { FileSource, Partition, PartitionOptions } from '../contracts/partition.ts';
import { resolvePartitionOptions, sizeText } from '../contracts/partition-options.ts';
import { buildAcpiTables } from '../firmware/acpi/tables.ts';
import { planBoot } from '../firmware/detect.ts';
import type { LoadPlan, PayloadCache } from '../firmware/load-plan.ts';
import { nodeCodecs } from '../host/node/codecs.ts';
import { nodeDiskFiles } from '../host/node/disk-files.ts';
import { readInput } from '../host/node/files.ts';
import { keepLittle } from '../host/node/libc.ts';
import { type CachedModule, cachedModule } from '../host/node/module-cache.ts';
import { payloadCache } from '../host/node/payload-cache.ts';
import { lowerCompilers } from '../host/node/priority.ts';
import { builtInterpreter, threadEntry } from '../host/node/program.ts';
import { nodeServices } from '../host/node/services.ts';
import { translationCache } from '../host/node/translation-cache.ts';
import type { TranslationCache } from '../host/translations.ts';
import { type InterpreterModule, interpreterModule } from '../hypervisor/interpreter/module.ts';
import { PartitionDisks } from './disks.ts';
import { type MachineConfig, machineMemorySize } from './machine.ts';
import { type Networks, PartitionNics } from './nics.ts';
import { startAhead, takeThreads, threadsAhead } from './processor-threads.ts';
import { PAGED_VERSION } from './saved-header.ts';
import { decodeSavedState, type SavedPartition } from './saved-state.ts';
import { bytesSource, isImage, openStateFile, stateVersion } from './state-file.ts';
import { VmWorker } from './worker.ts';

export type * from '../contracts/block-device.ts';
export { isViridianError, ViridianError } from '../contracts/errors.ts';
export type * from '../contracts/network.ts';
export type * from '../contracts/partition.ts';
export type * from '../contracts/sockets.ts';

const MIB = 2 ** 20;
/** How much V8's threads go after a guest's processors: see docs/decisions/0013-threads-and-priorities.md. */
const COMPILERS_NICE = 10;
/** A 32-bit WebAssembly memory holds the engine's state and the guest's RAM. */
const ADDRESSABLE = 65535 * 65536;

async function bytesOf(what: string, source: FileSource): Promise<Uint8Array> {
  return typeof source === 'string' ? readInput(what, source) : source;
}

/**
 * Creates a partition, stopped. @throws ViridianError with a line for the user: a bad option, a file that is missing or is
 * no kernel, too little memory.
 */
export async function createPartition(options: PartitionOptions): Promise<Partition> {
  const resolved = resolvePartitionOptions(options);
  lowerCompilers(COMPILERS_NICE);
  keepLittle();
  if (resolved.clock === 'instructions' && resolved.processors > 1)
    throw new ViridianError(
      'invalid',
      "clock: instructions needs one processor: the order in which several run is the host's",
    );
  const config: MachineConfig = {
    memory: resolved.memory,
    processors: resolved.processors,
    virtualTime: resolved.clock === 'instructions',
    testDevice: resolved.testDevice,
    vmbus: resolved.vmbus,
    generationId: resolved.clock === 'real',
    ...(resolved.dynamicMemory ? { dynamicMemory: resolved.dynamicMemory } : {}),
  };
  if (machineMemorySize(config) > ADDRESSABLE)
    throw new ViridianError(
      'invalid',
      `${sizeText(config.dynamicMemory?.maximum ?? config.memory)} of memory with ${config.processors} processors do not fit in the engine's 4 GiB: give less of one`,
    );
  if (resolved.check !== undefined) {
    const { CheckedPartition } = await import('./check/checked-partition.ts');
    return new CheckedPartition({
      memory: config.memory,
      testDevice: config.testDevice,
      plan: await plan(resolved, config),
      interpreter: await interpreter(),
      onReboot: resolved.onReboot,
      instructionLimit: resolved.instructionLimit,
      ...resolved.check,
    });
  }
  const common = {
    config,
    onReboot: resolved.onReboot,
    processorMaximum: resolved.processorMaximum,
    instructionLimit: resolved.instructionLimit,
    trace: resolved.trace,
    translatorEntry: threadEntry('translator-thread'),
    engine: resolved.engine === 'interpreter' ? ('interpreter' as const) : ('translator' as const),
    host: nodeServices,
    files: nodeDiskFiles,
    onDisk: resolved.onDisk,
    ending: () => cached?.keep(),
  };
  const { restore } = resolved;
  const saved = restore === undefined ? undefined : await readSaved(restore, resolved.restoreUnread);
  if (resolved.disks.length + resolved.dvds.length > 0 && saved !== undefined && !saved.config.vmbus)
    throw new ViridianError('invalid', 'disks need the VMBus, which the saved partition does not have');
  if (resolved.nics.length > 0 && saved !== undefined && !saved.config.vmbus)
    throw new ViridianError('invalid', 'network adapters need the VMBus, which the saved partition does not have');
  const threads = takeThreads((saved?.config ?? config).processors);
  let disks: PartitionDisks | undefined;
  let nics: PartitionNics | undefined;
  let worker: VmWorker | undefined;
  let translations: TranslationCache | undefined;
  try {
    disks = await PartitionDisks.open({ files: nodeDiskFiles, codecs: nodeCodecs }, resolved, saved?.disks);
    nics = await PartitionNics.open(networks(), resolved.nics);
    const opened = disks;
    const fromDisk = saved === undefined && resolved.kernel === undefined;
    const makePlan = async (): Promise<LoadPlan> =>
      await plan(fromDisk ? await withDiskKernel(resolved, opened.devices) : resolved, config);
    const load = saved?.plan ?? (await makePlan());
    translations = common.engine === 'translator' ? await translationsOf(load) : undefined;
    const parts = {
      threads,
      interpreter: await interpreter(),
      disks,
      nics,
      plan: load,
      replan: fromDisk ? makePlan : undefined,
      translations,
    };
    worker = new VmWorker({ ...common, ...parts, saved });
    const made = worker;
    if (saved) await blaming(restore, () => made.restore(saved));
    await made.prepare();
    return made;
  } catch (error) {
    nics?.close();
    if (saved && isImage(saved.memory)) await saved.memory.close();
    if (worker) await worker[Symbol.asyncDispose]();
    else await Promise.all([disks?.close(), ...threads.map((thread) => thread.terminate())]);
    translations?.close();
    throw error;
  }
}

/** What other runs of the same kernel have translated. Undefined: that is in a saved state's file, and not read now. */
async function translationsOf({ segments, entry }: LoadPlan): Promise<TranslationCache | undefined> {
  const at = Number(entry.rip);
  const kernel = segments.find(({ gpa, bytes }) => at >= gpa && at < gpa + bytes.length);
  return kernel && (await translationCache(kernel.bytes));
}

/** Switches and NAT are loaded when an adapter asks for them. */
function networks(): Networks {
  let loaded: Promise<Networks> | undefined;
  return {
    connect: async (nic, mac) => {
      loaded ??= import('./node/networks.ts').then(({ nodeNetworks }) => nodeNetworks());
      return (await loaded).connect(nic, mac);
    },
    close: () => {
      void loaded?.then((made) => {
        made.close();
      });
    },
  };
}

let compiled: Promise<InterpreterModule> | undefined;
let cached: CachedModule | undefined;

/** Does what creating a partition needs in any case, before one is created. */
export async function getReady(): Promise<void> {
  if (threadsAhead() === 0) startAhead(1);
  compiled ??= compileIt();
  await compiled;
}

async function interpreter(): Promise<InterpreterModule> {
  return await (compiled ?? compileIt());
}

/** A package has it ready-made; a checkout generates it from the instruction table, which takes longer than all the rest. */
async function compileIt(): Promise<InterpreterModule> {
  const image = builtInterpreter();
  if (image !== undefined) {
    cached ??= cachedModule(image);
    return interpreterModule(cached.module);
  }
  const { compileInterpreter } = await import('../hypervisor/interpreter/generate.ts');
  return compileInterpreter();
}

async function readSaved(restore: FileSource, unread: boolean): Promise<SavedPartition> {
  return await blaming(restore, async () => {
    if (typeof restore !== 'string') return await decode(restore);
    const file = await nodeDiskFiles.open(restore, { lock: 'none' }).catch(() => undefined);
    const start = new Uint8Array(16);
    await file?.read(0, start);
    if (file !== undefined && stateVersion(start) === PAGED_VERSION)
      return await openStateFile(file, nodeServices, { verify: !unread });
    await file?.close();
    // What is wrong with a file, a pipe's bytes too.
    return await decode(await readInput('saved state', restore));
  });
}

async function decode(bytes: Uint8Array): Promise<SavedPartition> {
  if (stateVersion(bytes) !== PAGED_VERSION) return decodeSavedState(bytes, nodeServices.compression);
  return await openStateFile(bytesSource(bytes), nodeServices, { verify: true });
}

/** Names the file of a saved state in what is wrong with it. */
async function blaming<T>(restore: FileSource | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (typeof restore !== 'string' || !isViridianError(error) || error.message.includes(restore)) throw error;
    throw new ViridianError(error.code, `${restore}: ${error.message}`, { cause: error });
  }
}

/** The options with what the first disk that has a kernel is to be booted with. @throws ViridianError `notFound` */
async function withDiskKernel(o: BootOptions, disks: readonly BlockDevice[]): Promise<BootOptions> {
  const { findBootFiles } = await import('../storage/index.ts');
  let refusal: unknown;
  for (const [lun, device] of disks.entries()) {
    const disk = 'file' in device && typeof device.file === 'string' ? device.file : `disk ${lun}`;
    try {
      const { kernel, initrd, rootParameters, parameters, partition, unclean } = await findBootFiles(device, disk);
      const append = [rootParameters, 'console=ttyS0', parameters, o.append].filter((part) => part !== '').join(' ');
      o.onBoot?.({ disk, partition, kernel: kernel.path, initrd: initrd?.path, commandLine: append, unclean });
      return { ...o, kernel: kernel.bytes, initrd: initrd?.bytes, append, kernelName: `${disk}: ${kernel.path}` };
    } catch (error) {
      if (!isViridianError(error)) throw error;
      refusal ??= error;
    }
  }
  throw refusal;
}

type BootOptions = ReturnType<typeof resolvePartitionOptions> & { readonly kernelName?: string };

async function plan(o: BootOptions, config: MachineConfig): Promise<LoadPlan> {
  const acpi = buildAcpiTables({
    apicIds: Array.from({ length: config.processors }, (_, i) => i),
    legacyPic: config.testDevice,
    vmbus: config.vmbus,
  });
  const kernel = o.kernel as FileSource;
  const image = await bytesOf('kernel', kernel);
  const initrd = o.initrd === undefined ? undefined : await bytesOf('initrd', o.initrd);
  const modules = await Promise.all(
    o.modules.map(async (m) => ({
      bytes: await bytesOf('module', m.source),
      commandLine: m.commandLine ?? (typeof m.source === 'string' ? m.source : ''),
    })),
  );
  const cache: PayloadCache = payloadCache();
  try {
    const boot = await planBoot(image, {
      memory: config.memory,
      commandLine: o.append,
      ...(initrd ? { initrd } : {}),
      modules,
      rsdp: acpi.rsdp,
      // Guests place the synthetic frame buffer where they find themselves on a generation 2 machine.
      efi: config.vmbus,
      ...(config.testDevice
        ? {
            commandLineWithoutFileName: true,
            testEnvironment: { processors: config.processors, memoryMiB: Math.floor(config.memory / MIB) },
          }
        : {}),
      ...(typeof kernel === 'string' ? { fileName: kernel } : {}),
      codecs: nodeCodecs,
      cache,
    });
    return { ...boot, segments: [acpi.segment, ...boot.segments] };
  } catch (error) {
    if (isViridianError(error) || !(error instanceof Error) || !/^(KernelImageError|CodecError)$/.test(error.name))
      throw error;
    const file = o.kernelName ?? (typeof kernel === 'string' ? kernel : undefined);
    const name = file === undefined ? '' : `${file}: `;
    throw new ViridianError('badFile', `${name}${error.message}`, { cause: error });
  }
}
