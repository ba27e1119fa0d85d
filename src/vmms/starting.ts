/** What a VM needs before it can start, what its worker is told then, and what is said when it does not come up. */
import { existsSync } from 'node:fs';
import { isViridianError, ViridianError } from '../contracts/errors.ts';
import { isLive } from '../contracts/vm-state.ts';
import type { WorkerExit, WorkerNic, WorkerSpec } from '../contracts/worker.ts';
import { filesOf, type ServiceContext } from './context.ts';
import { requirements, unmet } from './host-facts.ts';
import type { VmRecord } from './inventory.ts';
import type { JobControl } from './jobs.ts';
import { demandRoom } from './limits.ts';

/** `nice` values of processor weights: a step is about a quarter more or less. */
function niceness(weight: number): number {
  return Math.max(0, Math.min(19, Math.round(-Math.log(weight / 100) / Math.log(1.25))));
}

/** Disks that others' files are below may be being merged just now. */
export async function untilMerged(
  { merging }: ServiceContext,
  record: () => VmRecord,
  control: JobControl,
): Promise<void> {
  for (;;) {
    // A merge puts files in the place of others.
    const files = record().configuration.disks.flatMap(({ file, allowParent = [] }) => [file, ...allowParent]);
    const merge = [...merging].find((each) => files.some((file) => each.files.has(file)));
    if (merge === undefined) return;
    control.progress(0.05, 'waiting for its disks, which are being merged');
    await merge.done;
  }
}

/** The host and its policy have room for it, and there is something to boot. @throws ViridianError */
export function demandStartable({ inventory, facts, settings }: ServiceContext, record: VmRecord): void {
  const { configuration, saved } = record;
  const { name, boot, disks, memory } = configuration;
  const problem = unmet(requirements(facts));
  if (problem !== undefined) throw new ViridianError('wrongState', problem);
  const used = inventory
    .list()
    .filter(({ id, state }) => id !== record.id && isLive(state))
    .reduce((sum, other) => sum + other.configuration.memory, 0);
  demandRoom({ edition: settings.edition, total: facts.memory }, name, memory, used);
  if (saved === null && boot.kernel === null && disks.length === 0)
    throw new ViridianError(
      'invalid',
      `${name} has nothing to boot: give it a disk that holds a kernel, or a kernel with 'hv vm set ${name} --kernel FILE'`,
    );
}

/** What is said of the first file that it needs and has not. */
export function missingFile({ configuration, saved }: VmRecord): string | undefined {
  const files = [...filesOf(configuration), ...(saved === null ? [] : [saved.file])];
  const missing = files.find((file) => !existsSync(file));
  return missing === undefined ? undefined : `${missing} is not there`;
}

export function specOf(
  { id, configuration, saved }: VmRecord,
  instance: string,
  nics: readonly WorkerNic[],
): Omit<WorkerSpec, 'protocol' | 'restoreUnread'> {
  const { boot, disks, dvds } = configuration;
  return {
    vm: id,
    name: configuration.name,
    instance,
    memory: configuration.memory,
    processors: configuration.processors,
    engine: configuration.engine,
    kernel: boot.kernel,
    initrd: boot.initrd,
    append: boot.append,
    onReboot: configuration.guestReset === 'Stop' ? 'stop' : 'restart',
    disks: disks.toSorted((a, b) => a.slot - b.slot),
    dvds: dvds.toSorted((a, b) => a.slot - b.slot),
    nics,
    processorMaximum: configuration.processorMaximum,
    storageMaximum: configuration.storageMaximum,
    restore: saved?.file ?? null,
    niceness: niceness(configuration.processorWeight),
  };
}

/** With the reason; of the host's own reasons, a full disk is the one that users meet. */
export function didNotStart(name: string, error: unknown): unknown {
  if (isViridianError(error))
    return new ViridianError(error.code, `${name} did not start: ${error.message}`, { cause: error });
  if (!(error instanceof Error) || !('code' in error)) return error;
  const text =
    error.code === 'ENOSPC' ? 'no space left on the device, for what its worker process needs' : error.message;
  return new ViridianError('failure', `${name} did not start: ${text}`, { cause: error });
}

const ENDS: Readonly<Record<string, string>> = {
  powerOff: 'the guest powered off',
  reset: 'the guest asked for a restart',
  turnedOff: 'turned off',
};

export function describeEnd({ kind, message }: WorkerExit): string {
  return message === '' ? (ENDS[kind] ?? kind) : message;
}
