/**
 * Checkpoints: a VM as it was. Memory and devices are a saved state; each disk's file is frozen, and the VM goes on in a
 * differencing disk over it. Memory is copied while the VM runs; it stands still while what is left is put aside and its disks are
 * exchanged, and runs on while that is written. What the disks are becomes true in one commit of the database. Until the state's file
 * is whole nobody sees the checkpoint, and when it does not come to that, the disks are merged: wherever the service or the worker
 * is killed, there is no checkpoint or a whole one.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Checkpoint, Job } from '../contracts/api/resources.ts';
import type { VmConfiguration } from '../contracts/api/vm.ts';
import { ViridianError } from '../contracts/errors.ts';
import { isLive, type VmState } from '../contracts/vm-state.ts';
import { named, vmFolder } from './context.ts';
import type { Row } from './database.ts';
import type { JobControl } from './jobs.ts';
import { type FrozenDisk, Layers } from './layers.ts';
import type { Management } from './management.ts';
import { freshNics } from './network/macs.ts';
import { bytesTaken, StateFiles } from './state-files.ts';
import type { VirtualMachine } from './virtual-machine.ts';

type Kind = Checkpoint['kind'];

interface CheckpointRecord {
  readonly id: string;
  readonly vm: string;
  readonly parent: string | null;
  readonly name: string;
  readonly kind: Kind;
  readonly created: string;
  readonly configuration: VmConfiguration;
  readonly stateFile: string | null;
  readonly disks: readonly FrozenDisk[];
  readonly pause: number | null;
  readonly background: number | null;
  readonly unfinished: boolean;
}

const POSSIBLE: readonly VmState[] = ['Off', 'Saved', 'Running', 'Paused'];
/** What a VM keeps when a checkpoint is applied: they are about the VM, not about the machine in it. */
const KEPT = ['name', 'notes', 'tags', 'automaticStartAction', 'automaticStartDelay', 'automaticStartOrder'] as const;

export class Checkpoints {
  readonly #management: Management;
  readonly #files: StateFiles;
  readonly layers: Layers;

  constructor(management: Management) {
    this.#management = management;
    this.#files = new StateFiles(management.context.db);
    this.layers = new Layers(management.context);
  }

  // ---- finding ----------------------------------------------------------------------------------------------------------------

  #all(vm: string): CheckpointRecord[] {
    return this.#management.context.db
      .all('select * from checkpoints where vm = ? order by created, rowid', vm)
      .map(recordOf);
  }

  #records(vm: string): CheckpointRecord[] {
    return this.#all(vm).filter(({ unfinished }) => !unfinished);
  }

  list(idOrName: string): Checkpoint[] {
    const { record } = this.#management.machine(idOrName);
    return this.#records(record.id).map((each) => view(each, record.checkpoint));
  }

  #find(vm: VirtualMachine, idOrName: string): CheckpointRecord {
    const all = this.#records(vm.id);
    const found = all.filter(({ id, name }) => id === idOrName || name === idOrName);
    if (found.length === 0) throw new ViridianError('notFound', `${vm.name} has no checkpoint '${idOrName}'`);
    if (found.length > 1)
      throw new ViridianError(
        'invalid',
        `${vm.name} has ${found.length} checkpoints '${idOrName}': give the id, of 'hv checkpoint ls --json'`,
      );
    return found[0]!;
  }

  // ---- making -----------------------------------------------------------------------------------------------------------------

  create(idOrName: string, options: { name?: string | undefined; kind?: Kind | undefined }): Job {
    return this.#management.job(idOrName, 'checkpoint.create', 'making a checkpoint', async (machine, control) => {
      const { configuration, state } = machine.record;
      if (configuration.checkpointType === 'Disabled')
        throw new ViridianError(
          'wrongState',
          `checkpoints of ${machine.name} are disabled: 'hv vm set --checkpoint-type'`,
        );
      if (!POSSIBLE.includes(state))
        throw new ViridianError('wrongState', `${machine.name} is ${state}: no checkpoint can be made of it`);
      const production = (options.kind ?? configuration.checkpointType) === 'Production' && state === 'Running';
      if (!production) return await this.#create(machine, options.name, 'Standard', control);
      control.progress(0.05, "freezing the guest's file systems");
      try {
        await machine.ask('freeze', { frozen: true }, 120);
      } catch (error) {
        // As Hyper-V does: what nobody asked for by name is not insisted on.
        if (options.kind === 'Production') throw error;
        return await this.#create(machine, options.name, 'Standard', control);
      }
      try {
        await this.#create(machine, options.name, 'Production', control);
      } finally {
        await machine.ask('freeze', { frozen: false }, 60).catch(() => {});
      }
    });
  }

  async #create(machine: VirtualMachine, name: string | undefined, kind: Kind, control: JobControl): Promise<void> {
    const { context } = this.#management;
    const { step } = context;
    const { record } = machine;
    const id = randomUUID();
    const folder = join(vmFolder(context, record.id), 'checkpoints');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    mkdirSync(this.layers.folder(record.id), { recursive: true, mode: 0o700 });
    const file = join(folder, `${id}.state`);
    const live = isLive(record.state);
    const withMemory = kind === 'Standard' && (live || record.saved !== null);
    const disks = record.configuration.disks.filter(({ readOnly, format }) => !readOnly && format !== 'iso');
    const thrown = disks.find(({ discard }) => discard);
    if (thrown) throw new ViridianError('wrongState', `${thrown.file}: what is written to it is thrown away`);
    const made: (readonly [FrozenDisk, FrozenDisk])[] = [];
    const created = new Date().toISOString();
    const called = name ?? defaultName(created);
    const saving = withMemory && live;
    const started = performance.now();
    let committed = false;
    let pause: number | null = null;
    try {
      if (saving) {
        await machine.copyMemory(file, control, 0.8);
        step('copied');
      }
      const stood = await machine.still({
        before: async () => {
          if (saving) await machine.ask('saveTake', undefined, 0);
          else if (withMemory) this.#files.link(record.saved!.file, file);
          step('state written');
        },
        work: async () => {
          control.progress(0.8, 'freezing disks');
          for (const disk of disks) made.push([disk, await this.layers.over(record.id, disk, id.slice(0, 8))]);
          step('disks made');
          context.db.transaction(() => {
            for (const [below, above] of made) this.layers.record(record.id, above, below);
            context.db.run(
              `insert into checkpoints (id, vm, parent, name, kind, created, configuration, state_file, disks, unfinished)
                values (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
              id,
              record.id,
              record.checkpoint,
              called,
              kind,
              created,
              JSON.stringify(record.configuration),
              withMemory ? file : null,
              JSON.stringify(disks),
            );
            const above = new Map(made.map(([below, disk]) => [below.slot, disk]));
            context.inventory.change(record.id, {
              configuration: {
                ...record.configuration,
                disks: record.configuration.disks.map((disk) => above.get(disk.slot) ?? disk),
              },
            });
          });
          committed = true;
          step('committed');
        },
        // It cannot go on; where the state can still be written, the checkpoint is where it was.
        lost: async () => {
          if (!committed || !saving) return;
          await this.#finishState(machine, file);
          context.inventory.change(record.id, { saved: { file, owned: false }, state: 'Saved' });
        },
      });
      if (live) pause = stood;
      if (saving) {
        control.progress(0.85, 'writing the rest of memory');
        await this.#finishState(machine, file);
      }
    } catch (error) {
      context.inventory.reload(record.id);
      if (saving) await machine.ask('saveCancel', undefined, 60).catch(() => {});
      if (!committed) {
        for (const [, above] of made) rmSync(above.file, { force: true });
        this.#files.remove(file);
        throw error;
      }
      if (!withMemory || existsSync(file)) this.#finished(machine, id, pause, null);
      else await this.#giveUp(machine, id);
      throw error;
    }
    this.#finished(machine, id, pause, live ? performance.now() - started - pause! : null);
    control.result(id);
    context.standby.prepare();
    context.events.add({
      kind: 'checkpoint.created',
      vm: named(machine.record),
      text: `the checkpoint '${called}' of ${machine.name} was made`,
      data: { checkpoint: id, kind, pause },
    });
  }

  async #finishState(machine: VirtualMachine, file: string): Promise<void> {
    await machine.ask('saveFinish', undefined, 0);
    this.#files.written(file);
    this.#management.context.step('state finished');
  }

  /** From here on it is there. */
  #finished(machine: VirtualMachine, id: string, pause: number | null, background: number | null): void {
    const { db, inventory } = this.#management.context;
    db.transaction(() => {
      db.run('update checkpoints set unfinished = 0, pause = ?, background = ? where id = ?', pause, background, id);
      inventory.change(machine.id, { checkpoint: id });
    });
  }

  /** Its state was never written: the disks are as if it had not been made. */
  async #giveUp(machine: VirtualMachine, id: string): Promise<void> {
    const found = this.#all(machine.id).find((each) => each.id === id);
    if (found === undefined) return;
    this.#forget(machine, [found], found.parent);
    await this.#tidy(machine).catch((error: unknown) => this.#tellUnfinished(machine, error));
  }

  rename(idOrName: string, checkpoint: string, name: string): Checkpoint {
    const machine = this.#management.machine(idOrName);
    const found = this.#find(machine, checkpoint);
    const { db, events } = this.#management.context;
    db.run('update checkpoints set name = ? where id = ?', name, found.id);
    events.add({
      kind: 'checkpoint.renamed',
      vm: named(machine.record),
      text: `the checkpoint ${found.name} of ${machine.name} is called ${name} now`,
    });
    return view({ ...found, name }, machine.record.checkpoint);
  }

  // ---- going back -------------------------------------------------------------------------------------------------------------

  apply(idOrName: string, checkpoint: string, options: { start?: boolean | undefined }): Job {
    this.#find(this.#management.machine(idOrName), checkpoint);
    return this.#management.job(idOrName, 'checkpoint.apply', 'applying a checkpoint', async (machine, control) => {
      const { context } = this.#management;
      const found = this.#find(machine, checkpoint);
      const running = machine.state === 'Running';
      if (isLive(machine.state)) {
        control.progress(0.1, 'turning off');
        await machine.turnOff();
      }
      const { record } = machine;
      control.progress(0.3, 'going back');
      mkdirSync(this.layers.folder(record.id), { recursive: true, mode: 0o700 });
      const made: (readonly [FrozenDisk, FrozenDisk])[] = [];
      const label = randomUUID().slice(0, 8);
      for (const disk of found.disks) made.push([disk, await this.layers.over(record.id, disk, label)]);
      context.step('disks made');
      const above = new Map(made.map(([below, disk]) => [below.slot, disk]));
      const kept = Object.fromEntries(KEPT.map((key) => [key, record.configuration[key]]));
      const configuration: VmConfiguration = {
        ...found.configuration,
        ...kept,
        disks: found.configuration.disks.map((disk) => above.get(disk.slot) ?? disk),
      };
      const saved = found.stateFile === null ? null : { file: found.stateFile, owned: false };
      context.db.transaction(() => {
        for (const [below, disk] of made) this.layers.record(record.id, disk, below);
        context.inventory.change(record.id, {
          configuration,
          saved,
          state: saved === null ? 'Off' : 'Saved',
          critical: null,
          checkpoint: found.id,
        });
      });
      context.step('committed');
      if (record.saved?.owned) this.#files.remove(record.saved.file);
      await this.layers.tidy(record.id);
      context.events.add({
        kind: 'checkpoint.applied',
        vm: named(machine.record),
        text: `${machine.name} was put back to '${found.name}'`,
        data: { checkpoint: found.id },
      });
      if (options.start ?? running) await machine.start(control);
    });
  }

  // ---- removing ---------------------------------------------------------------------------------------------------------------

  remove(idOrName: string, checkpoint: string, subtree: boolean): Job {
    this.#find(this.#management.machine(idOrName), checkpoint);
    return this.#management.job(idOrName, 'checkpoint.remove', 'removing a checkpoint', async (machine, control) => {
      const found = this.#find(machine, checkpoint);
      const gone = subtree ? this.#withDescendants(found) : [found];
      this.#forget(machine, gone, found.parent);
      this.#management.context.events.add({
        kind: 'checkpoint.removed',
        vm: named(machine.record),
        text: `the checkpoint '${found.name}' of ${machine.name} was removed${gone.length > 1 ? ', and those made after it' : ''}`,
        data: { checkpoints: gone.map(({ id }) => id) },
      });
      await this.#tidy(machine, control);
      if (this.layers.isWaiting(machine.id))
        this.#management.context.events.add({
          kind: 'checkpoint.waiting',
          vm: named(machine.record),
          text: `disks of ${machine.name} are merged when other VMs, which run on them, are off`,
        });
    });
  }

  #withDescendants(root: CheckpointRecord): CheckpointRecord[] {
    const all = this.#records(root.vm);
    const found = [root];
    for (let i = 0; i < found.length; i++) found.push(...all.filter(({ parent }) => parent === found[i]!.id));
    return found;
  }

  #forget(machine: VirtualMachine, gone: readonly CheckpointRecord[], parent: string | null): void {
    const { context } = this.#management;
    const { record } = machine;
    const ids = new Set(gone.map(({ id }) => id));
    const inUse = gone.find(({ stateFile }) => stateFile !== null && stateFile === record.saved?.file);
    context.db.transaction(() => {
      for (const id of ids) {
        context.db.run('update checkpoints set parent = ? where parent = ?', parent, id);
        context.db.run('delete from checkpoints where id = ?', id);
      }
      context.inventory.change(record.id, {
        ...(record.checkpoint !== null && ids.has(record.checkpoint) ? { checkpoint: parent } : {}),
        // The VM goes on from this state: now it is its own.
        ...(inUse ? { saved: { file: inUse.stateFile!, owned: true } } : {}),
      });
    });
    context.step('forgotten');
    for (const { stateFile } of gone)
      if (stateFile !== null && stateFile !== inUse?.stateFile) this.#files.remove(stateFile);
  }

  /** Files that nobody needs any more; a running VM stands still while what it stands on is merged. */
  async #tidy(machine: VirtualMachine, control?: JobControl): Promise<void> {
    const progress = (done: number, all: number): void => control?.progress(done / all, 'merging disks');
    const work = (): Promise<void> => this.layers.tidy(machine.id, progress);
    if (this.layers.needsMerge(machine.id)) await machine.still({ work });
    else await work();
  }

  /** A VM has ended, or is gone: disks that it stood on may be merged now. */
  mergeWhatWaited(): void {
    const { db, inventory } = this.#management.context;
    if (!db.isOpen) return;
    for (const vm of this.layers.untidy())
      if (inventory.get(vm) !== undefined)
        this.#management.job(vm, 'checkpoint.merge', 'merging disks', async (machine, control) => {
          await this.#tidy(machine, control).catch((error: unknown) => this.#tellUnfinished(machine, error));
        });
  }

  /** @throws ViridianError when disks of other VMs stand on this one's. */
  demandAlone(machine: VirtualMachine): void {
    const others = this.layers.dependents(machine.id);
    if (others.length > 0)
      throw new ViridianError(
        'wrongState',
        `cannot remove ${machine.name}: disks of ${others.join(', ')} stand on its disks: remove those first`,
      );
  }

  /** Before a VM goes: its user's own disk files are to hold what its disks hold. */
  async removeAll(machine: VirtualMachine, control: JobControl): Promise<void> {
    this.#forget(machine, this.#all(machine.id), null);
    if (this.layers.hasOthers(machine.id)) await this.#tidy(machine, control);
  }

  // ---- others -----------------------------------------------------------------------------------------------------------------

  export(idOrName: string, checkpoint: string, folder: string): Job {
    return this.#management.job(idOrName, 'checkpoint.export', 'exporting a checkpoint', async (machine, control) => {
      const { id, configuration, disks, stateFile, name } = this.#find(machine, checkpoint);
      const frozen = new Map(disks.map((disk) => [disk.slot, disk]));
      const then = { ...configuration, disks: configuration.disks.map((disk) => frozen.get(disk.slot) ?? disk) };
      // It is another VM: the one that goes on has the id.
      await this.#management.transfer.write({ id, configuration: then, saved: stateFile }, folder, control);
      this.#management.context.events.add({
        kind: 'checkpoint.exported',
        vm: named(machine.record),
        text: `'${name}' of ${machine.name} was exported to ${folder}`,
      });
    });
  }

  /** A new VM that goes on where the checkpoint was, on disks of its own over the frozen ones. */
  fork(
    idOrName: string,
    checkpoint: string,
    { name, start = true }: { name: string; start?: boolean | undefined },
  ): Job {
    this.#find(this.#management.machine(idOrName), checkpoint);
    this.#management.context.inventory.demandFree(name);
    return this.#management.job(idOrName, 'checkpoint.fork', 'forking', async (machine, control) => {
      const { context } = this.#management;
      const found = this.#find(machine, checkpoint);
      context.inventory.demandFree(name);
      const { standby } = context;
      const folderOf = (vm: string): string => vmFolder(context, vm);
      const id = start ? standby.newVm(folderOf) : randomUUID();
      const folder = folderOf(id);
      try {
        mkdirSync(this.layers.folder(id), { recursive: true, mode: 0o700 });
        const made: (readonly [FrozenDisk, FrozenDisk])[] = [];
        for (const disk of found.disks) made.push([disk, await this.layers.over(id, disk, 'fork')]);
        const above = new Map(made.map(([below, disk]) => [below.slot, disk]));
        const state = found.stateFile === null ? null : join(folder, 'saved-fork.state');
        if (state !== null) this.#files.link(found.stateFile!, state);
        context.db.transaction(() => {
          this.#management.createChecked(
            {
              ...found.configuration,
              name,
              disks: found.configuration.disks.map((disk) => above.get(disk.slot) ?? disk),
              // Addresses on a network are the original's.
              nics: freshNics(found.configuration.nics),
            },
            id,
          );
          for (const [below, disk] of made) this.layers.record(id, disk, below, machine.id);
          if (state !== null) context.inventory.change(id, { state: 'Saved', saved: { file: state, owned: true } });
        });
      } catch (error) {
        standby.release(id);
        context.inventory.reload(id);
        rmSync(folder, { recursive: true, force: true });
        throw error;
      }
      control.result(id);
      try {
        if (start) await this.#management.machine(id).start(control);
      } finally {
        standby.release(id);
      }
    });
  }

  /** After the service was cut short: files of steps that were not committed go, steps that were are finished. */
  async recover(machine: VirtualMachine): Promise<void> {
    const { context } = this.#management;
    const { id, saved } = machine.record;
    await this.#recoverState(machine);
    const states = new Set([saved?.file, ...this.#records(id).map(({ stateFile }) => stateFile)]);
    const known = this.layers.known(id);
    const stray = (file: string): boolean => /\.state(\.partial)?$/.test(file) && !states.has(file);
    sweep(join(vmFolder(context, id), 'checkpoints'), stray);
    sweep(vmFolder(context, id), (file) => /\/(saved-|imported)/.test(file) && stray(file));
    sweep(this.layers.folder(id), (file) => /\.vhdx(\.partial)?$/.test(file) && !known.has(file));
    await this.#tidy(machine).catch((error: unknown) => this.#tellUnfinished(machine, error));
  }

  /** The worker may still have what was put aside, and have been writing it all the time. */
  async #recoverState(machine: VirtualMachine): Promise<void> {
    for (const { id, stateFile } of this.#all(machine.id).filter(({ unfinished }) => unfinished)) {
      if (stateFile !== null && !existsSync(stateFile) && machine.pid !== null)
        await this.#finishState(machine, stateFile).catch(() => {});
      if (stateFile === null || existsSync(stateFile)) this.#finished(machine, id, null, null);
      else await this.#giveUp(machine, id);
    }
    // What was begun for a checkpoint, or a save, that nobody wants any more.
    if (machine.pid !== null) await machine.ask('saveCancel', undefined, 60).catch(() => {});
  }

  #tellUnfinished(machine: VirtualMachine, error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.#management.context.events.add({
      kind: 'checkpoint.unfinished',
      severity: 'error',
      vm: named(machine.record),
      text: `disks of ${machine.name} are still to be merged: ${text}`,
    });
  }
}

function sweep(folder: string, stray: (file: string) => boolean): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) if (stray(join(folder, name))) rmSync(join(folder, name), { force: true });
}

/** As Hyper-V names them. */
function defaultName(created: string): string {
  return created.replace('T', ' - ').slice(0, 21);
}

function recordOf(row: Row): CheckpointRecord {
  return {
    id: String(row.id),
    vm: String(row.vm),
    parent: row.parent as string | null,
    name: String(row.name),
    kind: row.kind as Kind,
    created: String(row.created),
    configuration: JSON.parse(String(row.configuration)) as VmConfiguration,
    stateFile: row.state_file as string | null,
    disks: JSON.parse(String(row.disks)) as FrozenDisk[],
    pause: row.pause as number | null,
    background: row.background as number | null,
    unfinished: row.unfinished === 1,
  };
}

function view(record: CheckpointRecord, current: string | null): Checkpoint {
  const files = [...(record.stateFile === null ? [] : [record.stateFile]), ...record.disks.map(({ file }) => file)];
  return {
    id: record.id,
    vm: record.vm,
    name: record.name,
    kind: record.kind,
    parent: record.parent,
    createdAt: record.created,
    memory: record.stateFile !== null,
    current: record.id === current,
    size: files.reduce((sum, file) => sum + bytesTaken(file), 0),
    pause: record.pause,
    background: record.background,
  };
}
