/**
 * The management service's own work: what the API's operations do. VMs are in virtual-machine.ts; this is the list of
 * them, their configurations, the host.
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Host, Job, Usage } from '../contracts/api/resources.ts';
import {
  type Disk,
  Dvd,
  type NewVm,
  Nic,
  type NicChange,
  type Vm,
  type VmChange,
  type VmConfiguration,
} from '../contracts/api/vm.ts';
import { ViridianError } from '../contracts/errors.ts';
import { CHANGEABLE_STATES, isLive, LIVE_SETTINGS } from '../contracts/vm-state.ts';
import { nodeDiskFiles } from '../host/node/disk-files.ts';
import { formatToAttach } from '../storage/index.ts';
import { Checkpoints } from './checkpoints.ts';
import { filesOf, named, type ServiceContext, vmFolder } from './context.ts';
import { DiskImages } from './disk-images.ts';
import { availableMemory, requirements } from './host-facts.ts';
import { changedConfiguration, configurationOf, type VmRecord } from './inventory.ts';
import type { JobControl } from './jobs.ts';
import { demandPossible, memoryLimit } from './limits.ts';
import { Transfer } from './transfer.ts';
import { VirtualMachine } from './virtual-machine.ts';

export interface StopOptions {
  readonly turnOff?: boolean | undefined;
  readonly force?: boolean | undefined;
  readonly timeout?: number | undefined;
}

export class Management {
  readonly context: ServiceContext;
  readonly version: string;
  readonly startedAt = new Date().toISOString();
  readonly checkpoints: Checkpoints;
  readonly transfer: Transfer;
  readonly diskImages: DiskImages;
  readonly #machines = new Map<string, VirtualMachine>();

  constructor(context: ServiceContext, version: string) {
    this.context = context;
    this.version = version;
    this.checkpoints = new Checkpoints(this);
    this.transfer = new Transfer(this);
    this.diskImages = new DiskImages(context);
  }

  /** Takes up what an earlier service was cut short in. */
  async recover(): Promise<void> {
    this.context.folders.settleAll();
    for (const machine of this.machines) {
      await machine.letGo();
      await this.checkpoints.recover(machine);
    }
  }

  // ---- finding ----------------------------------------------------------------------------------------------------------------

  machine(idOrName: string): VirtualMachine {
    const { id } = this.context.inventory.find(idOrName);
    let machine = this.#machines.get(id);
    if (machine === undefined) this.#machines.set(id, (machine = new VirtualMachine(this.context, id)));
    return machine;
  }

  get machines(): VirtualMachine[] {
    return this.context.inventory.list().map(({ id }) => this.machine(id));
  }

  vm(idOrName: string): Vm {
    return this.#view(this.context.inventory.find(idOrName));
  }

  vms(): Vm[] {
    return this.context.inventory.list().map((record) => this.#view(record));
  }

  #view(record: VmRecord): Vm {
    const machine = this.machine(record.id);
    const job = this.context.jobs.active(record.id);
    const { startedAt } = machine;
    const since = startedAt === null ? 0 : (Date.now() - Date.parse(startedAt)) / 1000;
    return {
      id: record.id,
      name: record.configuration.name,
      state: record.state,
      status: statusOf(record, job),
      critical: record.critical,
      createdAt: record.created,
      startedAt,
      uptime: Math.max(0, Math.round(since * 10) / 10),
      memoryAssigned: isLive(record.state) ? record.configuration.memory : 0,
      heartbeat: null,
      worker: machine.pid === null ? null : { pid: machine.pid, isolation: [...machine.isolation] },
      currentCheckpoint: record.checkpoint,
      lastExit: record.lastExit,
      job: job?.id ?? null,
      revision: record.revision,
      adapters: this.context.networks.adapters(record),
      configuration: record.configuration,
    };
  }

  // ---- configurations ---------------------------------------------------------------------------------------------------------

  async create(given: NewVm): Promise<Vm> {
    const configuration = configurationOf(given);
    return this.createChecked({ ...configuration, disks: await Promise.all(configuration.disks.map(withFormat)) });
  }

  createChecked(configuration: VmConfiguration, id?: string): Vm {
    this.#check(configuration);
    for (const file of filesOf(configuration)) demandFile(file);
    const record = this.context.inventory.add(configuration, id);
    this.#takeMacs(record);
    mkdirSync(vmFolder(this.context, record.id), { recursive: true, mode: 0o700 });
    this.context.events.add({ kind: 'vm.created', vm: named(record), text: `${configuration.name} was created` });
    return this.#view(record);
  }

  /** What no VM can have, whatever its state. */
  #check(configuration: VmConfiguration, id?: string): void {
    const { name, memory, disks, dvds, nics } = configuration;
    const { facts, settings } = this.context;
    demandPossible({ edition: settings.edition, total: facts.memory }, name, memory);
    demandUnique(
      'slot',
      [...disks, ...dvds].map(({ slot }) => slot),
    );
    // Two that write to one file would each destroy what the other wrote.
    for (const { file, readOnly } of disks) if (!readOnly) demandOnce(file, disks);
    demandUnique(
      'adapter',
      nics.map(({ id }) => id),
    );
    const { switches, macs } = this.context.networks;
    for (const nic of nics) switches.demandNic(nic);
    macs.demandFree(configuration, id);
  }

  #takeMacs({ id, configuration }: VmRecord): void {
    for (const nic of configuration.nics) this.context.networks.macs.take(id, nic);
  }

  /** @param revision what the caller believes it to be; undefined: whatever it is. */
  async change(idOrName: string, given: VmChange, revision?: number): Promise<Vm> {
    const disks = given.disks && (await Promise.all(given.disks.map(withFormat)));
    const change: VmChange = { ...given, ...(disks ? { disks } : {}) };
    const { inventory, events } = this.context;
    const record = inventory.find(idOrName);
    this.demandRevision(record, revision);
    const names = (Object.keys(change) as (keyof VmChange)[]).filter((name) => change[name] !== undefined);
    const needOff = names.filter((name) => !LIVE_SETTINGS.includes(name));
    if (needOff.length > 0 && !CHANGEABLE_STATES.includes(record.state))
      throw new ViridianError(
        'wrongState',
        `${needOff.join(', ')} of ${record.configuration.name} cannot change while it is ${record.state}: ${
          record.state === 'Saved' ? 'start it, or discard its saved state' : 'stop it first'
        }`,
      );
    const configuration = changedConfiguration(record.configuration, change);
    this.#check(configuration, record.id);
    const before = new Set(filesOf(record.configuration));
    for (const file of filesOf(configuration)) if (!before.has(file)) demandFile(file);
    const changed = this.#changed(record, configuration, names, events);
    // Addresses and names on networks go by it.
    if (names.includes('name')) await this.machine(record.id).matchNics();
    return changed;
  }

  #changed(
    record: VmRecord,
    configuration: VmConfiguration,
    names: readonly string[],
    events = this.context.events,
  ): Vm {
    const now = this.context.inventory.change(record.id, {
      configuration,
      // What was missing may be there now.
      ...(record.state === 'OffCritical' ? { state: 'Off', critical: null } : {}),
    });
    this.#takeMacs(now);
    const old = record.configuration.name;
    const { name } = configuration;
    events.add({
      kind: 'vm.changed',
      vm: named(now),
      text: name === old ? `${name} was changed: ${names.join(', ')}` : `${old} is called ${name} now`,
      data: { names },
    });
    return this.#view(now);
  }

  demandRevision(record: VmRecord, revision: number | undefined): void {
    if (revision !== undefined && revision !== record.revision)
      throw new PreconditionFailed(
        `${record.configuration.name} has been changed meanwhile (revision ${record.revision}, not ${revision}): look at it again`,
      );
  }

  remove(idOrName: string, revision?: number): Job {
    const { inventory, events, jobs, db, folders } = this.context;
    const found = inventory.find(idOrName);
    this.demandRevision(found, revision);
    const demand = (record: VmRecord): void => {
      if (isLive(record.state))
        throw new ViridianError(
          'wrongState',
          `cannot remove ${record.configuration.name}: it is ${record.state}: stop it first`,
        );
    };
    demand(found);
    return jobs.start({ kind: 'remove', vm: named(found), text: 'removing' }, async (control) => {
      const record = inventory.find(found.id);
      demand(record);
      this.checkpoints.demandAlone(this.machine(found.id));
      await this.checkpoints.removeAll(this.machine(found.id), control);
      db.transaction(() => {
        folders.begin(record.id);
        inventory.remove(record.id);
        events.add({ kind: 'vm.removed', vm: named(record), text: `${record.configuration.name} was removed` });
      });
      this.#machines.delete(record.id);
      // Last: a file without a VM can be found and cleared away, a VM without its files cannot be used.
      folders.settle(record.id);
      this.checkpoints.mergeWhatWaited();
    });
  }

  /** A job of a VM. @param exclusive false: without waiting for what else the VM is doing. */
  job(
    idOrName: string,
    kind: string,
    text: string,
    work: (machine: VirtualMachine, control: JobControl) => Promise<void> | void,
    exclusive = true,
  ): Job {
    const machine = this.machine(idOrName);
    return this.context.jobs.start(
      { kind, vm: named(machine.record), text },
      async (control) => {
        await work(machine, control);
      },
      exclusive,
    );
  }

  start(idOrName: string): Job {
    this.machine(idOrName).demand('start');
    return this.job(idOrName, 'start', 'starting', (vm, control) => vm.start(control));
  }

  stop(idOrName: string, { turnOff, ...options }: StopOptions): Job {
    this.machine(idOrName).demand(turnOff ? 'turnOff' : 'shutdown');
    // Pulling the plug does not wait for a guest that is taking its time.
    if (turnOff) return this.job(idOrName, 'turnOff', 'turning off', (vm) => vm.turnOff(), false);
    return this.job(idOrName, 'shutdown', 'shutting down', (vm, control) => vm.shutdown(control, options));
  }

  // ---- components -------------------------------------------------------------------------------------------------------------

  addDisk(idOrName: string, given: Omit<Disk, 'slot'> & { slot?: number | undefined }): Job {
    return this.#component(idOrName, 'disk.add', 'attaching a disk', async (configuration) => {
      const disk = await withFormat({ ...given, slot: given.slot ?? freeSlot(configuration) });
      return { ...configuration, disks: [...configuration.disks, disk].sort((a, b) => a.slot - b.slot) };
    });
  }

  removeDisk(idOrName: string, slot: number): Job {
    return this.#component(idOrName, 'disk.remove', 'detaching a disk', (configuration) => {
      const disks = configuration.disks.filter((disk) => disk.slot !== slot);
      demandFound(disks.length < configuration.disks.length, configuration, `disk in slot ${slot}`);
      return { ...configuration, disks };
    });
  }

  addDvd(idOrName: string, given: { slot?: number | undefined; file: string | null }): Job {
    return this.#component(idOrName, 'dvd.add', 'adding a DVD drive', (configuration) => {
      if (given.file !== null) demandFile(given.file);
      const dvd = Dvd.parse({ file: given.file, slot: given.slot ?? freeSlot(configuration) });
      return { ...configuration, dvds: [...configuration.dvds, dvd] };
    });
  }

  setDvd(idOrName: string, slot: number, file: string | null): Job {
    return this.#component(idOrName, 'dvd.set', file === null ? 'ejecting' : 'inserting', (configuration) => {
      if (file !== null) demandFile(file);
      demandFound(
        configuration.dvds.some((dvd) => dvd.slot === slot),
        configuration,
        `DVD drive in slot ${slot}`,
      );
      return { ...configuration, dvds: configuration.dvds.map((dvd) => (dvd.slot === slot ? { slot, file } : dvd)) };
    });
  }

  removeDvd(idOrName: string, slot: number): Job {
    return this.#component(idOrName, 'dvd.remove', 'removing a DVD drive', (configuration) => {
      const dvds = configuration.dvds.filter((dvd) => dvd.slot !== slot);
      demandFound(dvds.length < configuration.dvds.length, configuration, `DVD drive in slot ${slot}`);
      return { ...configuration, dvds };
    });
  }

  addNic(idOrName: string, given: Omit<Nic, 'id'> & { id?: string | undefined }): Job {
    return this.#component(idOrName, 'nic.add', 'adding a network adapter', (configuration) => {
      const taken = new Set(configuration.nics.map(({ id }) => id));
      let number = 0;
      while (taken.has(`nic${number}`)) number++;
      const nic = Nic.parse({ ...given, id: given.id ?? `nic${number}` });
      return { ...configuration, nics: [...configuration.nics, nic] };
    });
  }

  changeNic(idOrName: string, id: string, change: NicChange): Job {
    return this.#component(idOrName, 'nic.change', 'changing a network adapter', (configuration) => {
      const nic = configuration.nics.find((each) => each.id === id);
      demandFound(nic !== undefined, configuration, `network adapter '${id}'`);
      const given = Object.entries(change).filter(([, value]) => value !== undefined);
      const merged = Object.entries({ ...nic, ...Object.fromEntries(given) });
      // Null is a value of the switch alone.
      const changed = Nic.parse(
        Object.fromEntries(merged.filter(([name, value]) => value !== null || name === 'switch')),
      );
      return { ...configuration, nics: configuration.nics.map((each) => (each.id === id ? changed : each)) };
    });
  }

  removeNic(idOrName: string, id: string): Job {
    return this.#component(idOrName, 'nic.remove', 'removing a network adapter', (configuration) => {
      const nics = configuration.nics.filter((nic) => nic.id !== id);
      demandFound(nics.length < configuration.nics.length, configuration, `network adapter '${id}'`);
      return { ...configuration, nics };
    });
  }

  #component(
    idOrName: string,
    kind: string,
    text: string,
    changed: (configuration: VmConfiguration) => VmConfiguration | Promise<VmConfiguration>,
  ): Job {
    return this.job(idOrName, kind, text, async (machine) => {
      const { record } = machine;
      const live = record.state === 'Running' || record.state === 'Paused';
      // What a saved guest knows of its adapters' switches is nothing; that they are there it does.
      const possible =
        live || CHANGEABLE_STATES.includes(record.state) || (kind === 'nic.change' && record.state === 'Saved');
      if (!possible)
        throw new ViridianError(
          'wrongState',
          `${machine.name} is ${record.state}: disks, drives and network adapters can change while it is Off, Running or Paused`,
        );
      const configuration = await changed(record.configuration);
      this.#check(configuration, record.id);
      this.#changed(record, configuration, [kind]);
      if (!live) return;
      const match = (): Promise<void> => (kind.startsWith('nic') ? machine.matchNics() : machine.matchStorage());
      try {
        await match();
      } catch (error) {
        // A worker that is gone has no say in what it starts with next time.
        if (machine.pid !== null) {
          this.context.inventory.change(record.id, { configuration: record.configuration });
          await match().catch(() => {});
        }
        throw error;
      }
    });
  }

  // ---- the host ---------------------------------------------------------------------------------------------------------------

  host(): Host {
    const { facts, settings, inventory, dataFolder } = this.context;
    const all = inventory.list();
    const running = all.filter(({ state }) => isLive(state));
    const limit = memoryLimit({ edition: settings.edition, total: facts.memory });
    return {
      name: facts.name,
      version: this.version,
      edition: settings.edition,
      memoryLimit: settings.edition === 'Unlimited' ? null : limit.bytes,
      memory: facts.memory,
      memoryAvailable: availableMemory(),
      memoryAssigned: running.reduce((sum, { configuration }) => sum + configuration.memory, 0),
      processors: facts.processors,
      processorModel: facts.processorModel,
      virtualMachines: all.length,
      running: running.length,
      dataFolder,
      diskFolder: this.diskImages.folder,
      startedAt: this.startedAt,
      requirements: [...requirements(facts)],
    };
  }

  setHost({ edition }: { readonly edition?: Host['edition'] | undefined }): Host {
    if (edition !== undefined && edition !== this.context.settings.edition) {
      this.context.settings.set('edition', edition);
      this.context.events.add({
        kind: 'host.changed',
        text: `the host's edition is ${edition} now`,
        data: { edition },
      });
    }
    return this.host();
  }

  usage(): Usage[] {
    return this.machines.map((machine) => ({ vm: machine.id, name: machine.name, ...machine.meter.usage }));
  }
}

/** The caller's idea of a configuration is an old one (HTTP 412). */
export class PreconditionFailed extends ViridianError {
  constructor(message: string) {
    super('wrongState', message);
  }
}

function statusOf(record: VmRecord, job: Job | undefined): string {
  if (job !== undefined) return `${job.text}${job.progress > 0 ? ` (${Math.floor(job.progress * 100)} %)` : ''}`;
  if (record.critical !== null) return record.critical;
  const { lastExit, state } = record;
  if (state === 'Off' && lastExit !== null && lastExit.message !== '') return lastExit.message.split('\n')[0]!;
  return '';
}

/** What a disk is, is found once: when it is attached. */
async function withFormat(disk: Disk): Promise<Disk> {
  demandFile(disk.file);
  return { ...disk, format: disk.format ?? (await formatToAttach(nodeDiskFiles, disk.file)) };
}

export function demandFile(file: string): void {
  if (!existsSync(file)) throw new ViridianError('notFound', `${file}: no such file`);
  if (!statSync(file).isFile()) throw new ViridianError('badFile', `${file}: is not a file`);
}

function demandUnique(what: string, all: readonly (string | number)[]): void {
  const twice = all.find((each, i) => all.indexOf(each) !== i);
  if (twice !== undefined) throw new ViridianError('invalid', `${what} ${twice} is given twice`);
}

function demandOnce(file: string, disks: readonly Disk[]): void {
  const slots = disks.filter((disk) => disk.file === file).map(({ slot }) => slot);
  if (slots.length > 1)
    throw new ViridianError('invalid', `${file}: is in slots ${slots.join(' and ')}: one disk can be in one slot`);
}

function demandFound(found: boolean, { name }: VmConfiguration, what: string): void {
  if (!found) throw new ViridianError('notFound', `${name} has no ${what}`);
}

function freeSlot({ disks, dvds }: VmConfiguration): number {
  const taken = new Set([...disks, ...dvds].map(({ slot }) => slot));
  for (let slot = 0; ; slot++) if (!taken.has(slot)) return slot;
}

/** In the data folder, for what belongs to no VM. */
export function scratchFolder({ dataFolder }: ServiceContext): string {
  const folder = join(dataFolder, 'scratch');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}
