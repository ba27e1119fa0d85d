/** Export, import and clone: a VM with its files, in another place. Disks are copied whole: a copy has no parents. */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { complaint } from '../contracts/api/operations.ts';
import type { Job } from '../contracts/api/resources.ts';
import { type Disk, Id, NewVm, type VmConfiguration } from '../contracts/api/vm.ts';
import type { DiskFormat } from '../contracts/block-device.ts';
import { ViridianError } from '../contracts/errors.ts';
import type { VmState } from '../contracts/vm-state.ts';
import { nodeCodecs } from '../host/node/codecs.ts';
import { nodeDiskFiles } from '../host/node/disk-files.ts';
import { makeFolder } from '../host/node/files.ts';
import { convertDisk, createDisk, type StorageHost } from '../storage/index.ts';
import { named, vmFolder } from './context.ts';
import { configurationOf, type VmRecord } from './inventory.ts';
import type { JobControl } from './jobs.ts';
import type { Management } from './management.ts';
import { freshNics } from './network/macs.ts';
import { copyWithHoles } from './state-files.ts';

export const storageHost: StorageHost = { files: nodeDiskFiles, codecs: nodeCodecs };

const MANIFEST = 'vm.json';
const EXPORT_VERSION = 1;
const STANDING: readonly VmState[] = ['Off', 'Saved', 'OffCritical', 'SavedCritical'];

/** File names in it are relative to its folder. */
const Manifest = z.strictObject({
  viridian: z.literal(EXPORT_VERSION),
  id: Id,
  configuration: z.record(z.string(), z.unknown()),
  saved: z.string().nullable(),
});

/** What is copied: a configuration, and the state that goes with it. */
export interface Source {
  readonly id: string;
  readonly configuration: VmConfiguration;
  readonly saved: string | null;
}

type Files = Pick<VmConfiguration, 'boot' | 'disks' | 'dvds'>;

export class Transfer {
  readonly #management: Management;

  constructor(management: Management) {
    this.#management = management;
  }

  export(idOrName: string, folder: string): Job {
    return this.#management.job(idOrName, 'export', 'exporting', async (machine, control) => {
      const { record } = machine;
      if (!STANDING.includes(record.state))
        throw new ViridianError(
          'wrongState',
          `${machine.name} is ${record.state}: stop or save it first, or make a checkpoint and export that`,
        );
      await this.write({ ...record, saved: record.saved?.file ?? null }, folder, control);
      this.#management.context.events.add({
        kind: 'vm.exported',
        vm: named(record),
        text: `${machine.name} was exported to ${folder}`,
      });
    });
  }

  /** The folder appears when it is whole. */
  async write(source: Source, folder: string, control: JobControl): Promise<void> {
    const there = (cause?: unknown): ViridianError =>
      new ViridianError('wrongState', `${folder}: is there already, and is not an empty folder`, { cause });
    // Said before everything is copied.
    if (existsSync(folder) && !isEmptyFolder(folder)) throw there();
    const partial = `${folder}.partial-${randomUUID().slice(0, 8)}`;
    await makeFolder(partial);
    try {
      control.cancellable(true);
      const files = await copyFiles(source.configuration, partial, control);
      if (source.saved !== null) await copyWithHoles(source.saved, join(partial, 'saved.state'));
      const relative = (file: string): string => file.slice(partial.length + 1);
      const manifest: z.infer<typeof Manifest> = {
        viridian: EXPORT_VERSION,
        id: source.id,
        configuration: { ...source.configuration, ...mapFiles(files, relative) },
        saved: source.saved === null ? null : 'saved.state',
      };
      await writeFile(join(partial, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 });
      control.cancellable(false);
      // Renaming onto a folder works when that is empty.
      await rename(partial, folder).catch((error: unknown) => {
        throw there(error);
      });
    } catch (error) {
      await rm(partial, { recursive: true, force: true });
      throw error;
    }
  }

  import({
    folder,
    name,
    mode = 'copy',
  }: {
    folder: string;
    name?: string | undefined;
    mode?: 'register' | 'copy' | undefined;
  }): Job {
    const { jobs, inventory, events, db, folders } = this.#management.context;
    return jobs.start({ kind: 'import', text: `importing ${basename(folder)}` }, async (control) => {
      const { id: oldId, configuration, saved } = await readManifest(folder);
      const id = mode === 'register' ? oldId : randomUUID();
      const { macs } = this.#management.context.networks;
      // A copy beside its original has addresses of its own.
      const nics = mode === 'copy' ? macs.withoutTaken(configuration.nics) : configuration.nics;
      const wanted = { ...configuration, nics, name: name ?? configuration.name };
      inventory.demandFree(wanted.name);
      const target = vmFolder(this.#management.context, id);
      const { boot, disks, dvds } = configuration;
      let state: string | null = saved;
      if (mode === 'copy') folders.begin(id);
      try {
        const files = mode === 'register' ? { boot, disks, dvds } : await copyFiles(wanted, target, control);
        if (saved !== null && mode === 'copy') {
          state = join(target, 'imported.state');
          await copyWithHoles(saved, state);
        }
        db.transaction(() => {
          this.#management.createChecked({ ...wanted, ...files }, id);
          if (state !== null) inventory.change(id, { state: 'Saved', saved: { file: state, owned: mode === 'copy' } });
          events.add({
            kind: 'vm.imported',
            vm: { id, name: wanted.name },
            text: `${wanted.name} was imported from ${folder}`,
          });
        });
      } catch (error) {
        inventory.reload(id);
        throw error;
      } finally {
        if (mode === 'copy') folders.settle(id);
      }
      control.result(id);
    });
  }

  /** Both go on in differencing disks over those that were there. */
  async #link(record: VmRecord, name: string, id: string): Promise<void> {
    const { db, inventory, events } = this.#management.context;
    const { layers } = this.#management.checkpoints;
    const { configuration } = record;
    for (const vm of [record.id, id]) await mkdir(layers.folder(vm), { recursive: true, mode: 0o700 });
    const label = `clone-${id.slice(0, 8)}`;
    const own = new Map<number, Disk>();
    const theirs = new Map<number, Disk>();
    const shared = configuration.disks.filter(({ readOnly }) => !readOnly);
    try {
      for (const disk of shared) {
        own.set(disk.slot, await layers.over(record.id, disk, label));
        theirs.set(disk.slot, await layers.over(id, disk, label));
      }
      const over = (of: ReadonlyMap<number, Disk>): Disk[] =>
        configuration.disks.map((disk) => of.get(disk.slot) ?? disk);
      db.transaction(() => {
        const nics = freshNics(configuration.nics);
        this.#management.createChecked({ ...configuration, name, nics, disks: over(theirs) }, id);
        for (const disk of shared) {
          layers.record(record.id, own.get(disk.slot)!, disk);
          layers.record(id, theirs.get(disk.slot)!, disk, record.id);
        }
        inventory.change(record.id, { configuration: { ...configuration, disks: over(own) } });
        events.add({ kind: 'vm.cloned', vm: { id, name }, text: `${name} is a linked clone of ${configuration.name}` });
      });
    } catch (error) {
      for (const vm of [id, record.id]) inventory.reload(vm);
      for (const { file } of own.values()) await rm(file, { force: true });
      throw error;
    }
  }

  /** @param linked disks are not copied: both VMs have differencing ones over what was there. */
  clone(idOrName: string, { name, linked = false }: { name: string; linked?: boolean | undefined }): Job {
    const { inventory, events, folders } = this.#management.context;
    // At once, so that who asks can ask better; and when it begins.
    inventory.demandFree(name);
    return this.#management.job(idOrName, 'clone', 'cloning', async (machine, control) => {
      const { record } = machine;
      if (record.state !== 'Off')
        throw new ViridianError(
          'wrongState',
          `${machine.name} is ${record.state}: a clone is made of a VM that is Off: stop it first, or fork a checkpoint of it`,
        );
      inventory.demandFree(name);
      const id = randomUUID();
      const target = vmFolder(this.#management.context, id);
      folders.begin(id);
      try {
        if (linked) {
          await this.#link(record, name, id);
          control.result(id);
          return;
        }
        const { disks } = await copyFiles({ ...record.configuration, boot: NO_BOOT, dvds: [] }, target, control);
        // Addresses on a network are the original's.
        const nics = freshNics(record.configuration.nics);
        this.#management.createChecked({ ...record.configuration, name, disks, nics }, id);
      } finally {
        folders.settle(id);
      }
      control.result(id);
      events.add({ kind: 'vm.cloned', vm: { id, name }, text: `${name} is a clone of ${machine.name}` });
    });
  }
}

const NO_BOOT = { kernel: null, initrd: null, append: '' };

function isEmptyFolder(path: string): boolean {
  return statSync(path).isDirectory() && readdirSync(path).length === 0;
}

function mapFiles({ boot, disks, dvds }: Files, map: (file: string) => string): Files {
  const each = (file: string | null): string | null => (file === null ? null : map(file));
  return {
    boot: { ...boot, kernel: each(boot.kernel), initrd: each(boot.initrd) },
    disks: disks.map((disk) => ({ ...withoutParents(disk), file: map(disk.file) })),
    dvds: dvds.map((dvd) => ({ ...dvd, file: each(dvd.file) })),
  };
}

/** A copy stands on nothing. */
function withoutParents(disk: Disk): Disk {
  const copy = { ...disk };
  delete copy.allowParent;
  return copy;
}

async function copyFiles(files: Files, folder: string, control: JobControl): Promise<Files> {
  await mkdir(join(folder, 'disks'), { recursive: true, mode: 0o700 });
  const { boot, disks, dvds } = files;
  const parts = disks.length + 1;
  const copy = async (file: string | null, name: string): Promise<string | null> => {
    if (file === null) return null;
    control.signal.throwIfAborted();
    const to = join(folder, name);
    await copyFile(file, to);
    return to;
  };
  const newBoot = {
    ...boot,
    kernel: await copy(boot.kernel, 'kernel'),
    initrd: await copy(boot.initrd, 'initrd'),
  };
  const newDvds = [];
  for (const dvd of dvds) newDvds.push({ ...dvd, file: await copy(dvd.file, `disks/${dvd.slot}.iso`) });
  const newDisks: Disk[] = [];
  for (const [i, disk] of disks.entries()) {
    const format = formatOf(disk);
    const to = join(folder, 'disks', `${disk.slot}.${format}`);
    const { allowParent, ...rest } = disk;
    if (format === 'iso' || format === 'qcow2') await copyFile(disk.file, to);
    else {
      const from = { path: disk.file, format, ...(allowParent ? { allowParent } : {}) };
      await convertDisk(storageHost, { from, to: { path: to, format } }, (done, all) => {
        control.signal.throwIfAborted();
        control.progress((i + done / all) / parts, `copying disk ${disk.slot}`);
      });
    }
    newDisks.push({ ...rest, file: to });
  }
  return { boot: newBoot, disks: newDisks, dvds: newDvds };
}

/** A new disk over a VM's, which must not change from then on. */
export async function differencing(disk: Disk, folder: string, label: string): Promise<Disk> {
  const format = formatOf(disk);
  if (format !== 'vhdx')
    throw new ViridianError(
      'wrongState',
      `${disk.file}: only a VHDX can have others standing on it, and this is ${format}: convert it with 'hv vhd convert'`,
    );
  const file = join(folder, `${disk.slot}-${label}.vhdx`);
  const allowParent = [...(disk.allowParent ?? []), disk.file];
  await createDisk(storageHost, file, { format, parent: disk.file, allowParent });
  return { ...disk, file, allowParent };
}

/** It was found when the disk was attached. */
export function formatOf(disk: Disk): DiskFormat {
  if (disk.format === undefined)
    throw new ViridianError('failure', `${disk.file}: its format is not on record: attach it anew with a format`);
  return disk.format as DiskFormat;
}

async function readManifest(folder: string): Promise<Source> {
  let text: string;
  try {
    text = await readFile(join(folder, MANIFEST), 'utf8');
  } catch (cause) {
    throw new ViridianError('notFound', `${folder}: there is no exported virtual machine (${MANIFEST})`, { cause });
  }
  const bad = (problem: string): ViridianError => new ViridianError('badFile', `${join(folder, MANIFEST)}: ${problem}`);
  let plain: unknown;
  try {
    plain = JSON.parse(text);
  } catch {
    throw bad('is no JSON');
  }
  const manifest = Manifest.safeParse(plain);
  if (!manifest.success) throw bad(complaint(manifest.error));
  const inside = (name: unknown): string => {
    // A file that somebody sent must not name others of this host.
    if (typeof name !== 'string' || !/^[\w-]+(\/[\w.-]+)?(\.[\w-]+)*$/.test(name) || name.includes('..'))
      throw bad(`names a file outside its folder: ${String(name)}`);
    return join(folder, name);
  };
  const given = manifest.data.configuration as unknown as VmConfiguration;
  let located: Files;
  try {
    located = mapFiles(given, inside);
  } catch (error) {
    throw error instanceof ViridianError ? error : bad('its files make no sense');
  }
  const configuration = NewVm.safeParse({ ...given, ...located });
  if (!configuration.success) throw bad(complaint(configuration.error));
  return {
    id: manifest.data.id,
    // What an older build did not know has its default.
    configuration: configurationOf(configuration.data),
    saved: manifest.data.saved === null ? null : inside(manifest.data.saved),
  };
}
