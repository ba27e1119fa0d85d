/**
 * Files that disks of checkpoints are made of: who stands on whom. A file that a checkpoint or a VM names is needed as it
 * is; one that nobody names goes: deleted when nothing stands on it, taken up by what stands on it when that is one file. Every step
 * can be made again, so that one which was cut short is just made.
 */
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Disk } from '../contracts/api/vm.ts';
import { isLive } from '../contracts/vm-state.ts';
import { mergeIntoParent, openDisk, type Progress, relinkDisk } from '../storage/index.ts';
import { type ServiceContext, vmFolder } from './context.ts';
import { differencing, storageHost } from './transfer.ts';

interface Layer {
  readonly file: string;
  readonly vm: string;
  readonly parent: string | null;
  /** Made by us, to be deleted by us. */
  readonly ours: boolean;
  /** Parents of a file that is not ours, allowed by its owner. */
  readonly allow: readonly string[];
}

/** A disk of a checkpoint: what its VM had in a slot. */
export type FrozenDisk = Disk;

export class Layers {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  #all(): Map<string, Layer> {
    const rows = this.#context.db.all('select * from layers').map(
      (row): Layer => ({
        file: String(row.file),
        vm: String(row.vm),
        parent: row.parent as string | null,
        ours: row.ours === 1,
        allow: JSON.parse(String(row.allow)) as string[],
      }),
    );
    return new Map(rows.map((layer) => [layer.file, layer]));
  }

  /** Where disks of ours are. */
  folder(vm: string): string {
    return join(vmFolder(this.#context, vm), 'disks');
  }

  /** A new file over a disk's, not on record yet. */
  async over(vm: string, disk: Disk, label: string): Promise<Disk> {
    return await differencing(disk, this.folder(vm), label);
  }

  /** Puts a new file on record. In the caller's transaction. @param owner the VM whose disk is below. */
  record(vm: string, made: Disk, below: Disk, owner: string = vm): void {
    const { db } = this.#context;
    const ours = dirname(below.file) === this.folder(owner);
    db.run(
      'insert or ignore into layers (file, vm, parent, ours, allow) values (?, ?, null, ?, ?)',
      below.file,
      owner,
      ours ? 1 : 0,
      JSON.stringify(below.allowParent ?? []),
    );
    db.run(
      'insert into layers (file, vm, parent, ours, allow) values (?, ?, ?, 1, ?)',
      made.file,
      vm,
      below.file,
      '[]',
    );
  }

  /** Files that are needed as they are. */
  #named(vm: string): Set<string> {
    const { db, inventory } = this.#context;
    const active = inventory.get(vm)?.configuration.disks ?? [];
    const frozen = db
      .all('select disks from checkpoints where vm = ?', vm)
      .flatMap((row) => JSON.parse(String(row.disks)) as FrozenDisk[]);
    return new Set([...active, ...frozen].map(({ file }) => file));
  }

  /** What has to be done next. */
  #next(vm: string): { readonly layer: Layer; readonly child: Layer | undefined } | undefined {
    const all = this.#all();
    const named = this.#named(vm);
    for (const layer of all.values()) {
      if (layer.vm !== vm || named.has(layer.file)) continue;
      const children = [...all.values()].filter(({ parent }) => parent === layer.file);
      if (children.length === 0) return { layer, child: undefined };
      if (children.length === 1 && children[0]!.vm === vm && !this.#isHeld(layer.file, vm, all))
        return { layer, child: children[0]! };
    }
    return undefined;
  }

  /** Whether another VM runs on a file: then neither that nor what stands on it can be changed. */
  #isHeld(file: string, vm: string, all: ReadonlyMap<string, Layer>): boolean {
    const isOthers = (layer: Layer): boolean =>
      layer.vm !== vm && isLive(this.#context.inventory.get(layer.vm)?.state ?? 'Off');
    return [...all.values()].some(
      (layer) => layer.parent === file && (isOthers(layer) || this.#isHeld(layer.file, vm, all)),
    );
  }

  /** VMs whose files are not all needed: there is something to do about them now. */
  untidy(): string[] {
    const owners = new Set([...this.#all().values()].map(({ vm }) => vm));
    return [...owners].filter((vm) => this.#next(vm) !== undefined);
  }

  /** Whether files are to be merged when other VMs, which run on them, have ended. */
  isWaiting(vm: string): boolean {
    const all = this.#all();
    const named = this.#named(vm);
    return [...all.values()].some(
      (layer) => layer.vm === vm && !named.has(layer.file) && this.#isHeld(layer.file, vm, all),
    );
  }

  /** Whether files have to be written to that a running VM has open. */
  needsMerge(vm: string): boolean {
    const next = this.#next(vm);
    return next !== undefined && (next.child !== undefined || this.#pendingMerge(vm));
  }

  #pendingMerge(vm: string): boolean {
    const all = this.#all();
    const named = this.#named(vm);
    return [...all.values()].some(
      (layer) =>
        layer.vm === vm && !named.has(layer.file) && [...all.values()].some(({ parent }) => parent === layer.file),
    );
  }

  /** Nobody has files of the VM's disks open. */
  async tidy(vm: string, progress?: Progress): Promise<void> {
    const { merging } = this.#context;
    const layers = [...this.#all().values()].filter((layer) => layer.vm === vm);
    const work = this.#tidy(vm, progress);
    const entry = { files: new Set(layers.map(({ file }) => file)), done: work.catch(() => {}) };
    merging.add(entry);
    try {
      await work;
    } finally {
      merging.delete(entry);
    }
  }

  async #tidy(vm: string, progress?: Progress): Promise<void> {
    for (let next = this.#next(vm); next !== undefined; next = this.#next(vm)) {
      if (next.child === undefined) this.#drop(next.layer);
      else await this.#merge(next.layer, next.child, progress);
    }
  }

  #drop({ file, ours }: Layer): void {
    this.#context.db.run('delete from layers where file = ?', file);
    if (ours) rmSync(file, { force: true });
  }

  /** What the child holds goes into the layer below it, which takes its place everywhere. */
  async #merge(layer: Layer, child: Layer, progress?: Progress): Promise<void> {
    const { step } = this.#context;
    const all = this.#all();
    const allowParent = this.#ancestors(child.file, all);
    const open = { format: 'vhdx' as const, allowParent, writeParent: true, sameData: true };
    const disk = await openDisk(storageHost, child.file, open);
    try {
      await mergeIntoParent(disk, progress);
    } finally {
      await disk.close();
    }
    step('merged');
    // What the layer holds is now what the child held: who stood on that stands on this.
    for (const each of all.values())
      if (each.parent === child.file)
        await relinkDisk(storageHost, each.file, layer.file, { allowParent: this.#ancestors(layer.file, all) });
    step('relinked');
    this.#context.db.transaction(() => {
      this.#context.db.run('update layers set parent = ? where parent = ?', layer.file, child.file);
      this.#context.db.run('delete from layers where file = ?', child.file);
      // Those of other VMs that stand on it too: what may be their parents is another file now.
      for (const vm of this.#standingOn(layer.file)) this.#replace(vm, child.file, layer.file);
    });
    step('replaced');
    if (child.ours) rmSync(child.file, { force: true });
  }

  /** The VMs whose files stand on a file, its own included. */
  #standingOn(file: string, all: ReadonlyMap<string, Layer> = this.#all()): Set<string> {
    const found = new Set<string>();
    const add = (layer: Layer): void => {
      found.add(layer.vm);
      for (const each of all.values()) if (each.parent === layer.file) add(each);
    };
    const root = all.get(file);
    if (root !== undefined) add(root);
    return found;
  }

  #ancestors(file: string, all: ReadonlyMap<string, Layer> = this.#all()): string[] {
    const found: string[] = [];
    for (let layer = all.get(file); layer !== undefined; ) {
      found.push(...layer.allow);
      if (layer.parent === null) break;
      found.push(layer.parent);
      layer = all.get(layer.parent);
    }
    return found;
  }

  /** A file by another, wherever a VM or its checkpoints name it; and what may be its parents. */
  #replace(vm: string, from: string, to: string): void {
    const { db, inventory } = this.#context;
    const all = this.#all();
    const map = (disk: Disk): Disk => {
      if (!all.has(disk.file) && disk.file !== from) return disk;
      const file = disk.file === from ? to : disk.file;
      const allowParent = this.#ancestors(file, all);
      const { allowParent: _old, ...rest } = disk;
      return { ...rest, file, ...(allowParent.length > 0 ? { allowParent } : {}) };
    };
    const record = inventory.get(vm);
    if (record) {
      const { configuration } = record;
      inventory.change(vm, { configuration: { ...configuration, disks: configuration.disks.map(map) } });
    }
    for (const row of db.all('select id, disks from checkpoints where vm = ?', vm)) {
      const disks = (JSON.parse(String(row.disks)) as FrozenDisk[]).map(map);
      db.run('update checkpoints set disks = ? where id = ?', JSON.stringify(disks), row.id!);
    }
  }

  /** Other VMs whose disks stand on this one's. */
  dependents(vm: string): string[] {
    const all = this.#all();
    const found = [...all.values()].filter((layer) => layer.vm !== vm && all.get(layer.parent ?? '')?.vm === vm);
    return [...new Set(found.map((layer) => this.#context.inventory.get(layer.vm)?.configuration.name ?? layer.vm))];
  }

  /** Whether the VM's disks stand on a file that is the user's own. */
  hasOthers(vm: string): boolean {
    return [...this.#all().values()].some((layer) => layer.vm === vm && !layer.ours);
  }

  /** Files of ours that are on record. */
  known(vm: string): Set<string> {
    const layers = [...this.#all().values()].filter((layer) => layer.vm === vm).map(({ file }) => file);
    return new Set([...layers, ...this.#named(vm)]);
  }
}
