/**
 * Disk files of the host: what the image management service does in Hyper-V. New ones, conversion, compaction, as jobs; and
 * a list of those that VMs have, or that lie in the service's own folder.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { DiskConversion, DiskImage, Job, NewDiskImage } from '../contracts/api/resources.ts';
import type { Disk } from '../contracts/api/vm.ts';
import type { DiskFormat } from '../contracts/block-device.ts';
import { ViridianError } from '../contracts/errors.ts';
import {
  compactDisk,
  convertDisk,
  createDisk,
  diskInfo,
  formatOfName,
  formatToAttach,
  type Progress,
} from '../storage/index.ts';
import type { ServiceContext } from './context.ts';
import type { JobControl } from './jobs.ts';
import { storageHost } from './transfer.ts';

/** Files of the service's folder that are listed. */
const MOST_LISTED = 1000;
/** Nothing half done stays when a conversion is cut short; the name is `convertDisk`'s. */
const PARTIAL = '.partial';

interface Attached {
  readonly disk: Disk;
  readonly vms: readonly string[];
}

export class DiskImages {
  readonly #context: ServiceContext;
  /** Disks that are made here when no other place is wanted. */
  readonly folder: string;

  constructor(context: ServiceContext) {
    this.#context = context;
    this.folder = join(context.dataFolder, 'disks');
  }

  #attached(): Map<string, Attached> {
    const all = new Map<string, Attached>();
    for (const { configuration } of this.#context.inventory.list())
      for (const disk of configuration.disks) {
        const vms = all.get(disk.file)?.vms ?? [];
        all.set(disk.file, { disk, vms: [...vms, configuration.name] });
      }
    return all;
  }

  /** Those of VMs and those in the service's own folder, by name. */
  async list(): Promise<DiskImage[]> {
    const attached = this.#attached();
    const names = await readdir(this.folder).catch(() => []);
    const own = names.filter((name) => !name.endsWith(PARTIAL)).map((name) => join(this.folder, name));
    const files = [...new Set([...attached.keys(), ...own.slice(0, MOST_LISTED)])].sort();
    return await Promise.all(files.map((file) => this.#describe(file, attached.get(file))));
  }

  async #describe(file: string, attached: Attached | undefined): Promise<DiskImage> {
    const common = { file, vms: [...(attached?.vms ?? [])], own: dirname(file) === this.folder };
    try {
      const format = attached?.disk.format as DiskFormat | undefined;
      const { size, fileSize, type, format: found, parent } = await diskInfo(storageHost, file, format);
      return { ...common, format: found, type, size, fileSize, parent: parentOf(file, parent), problem: null };
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      return { ...common, format: null, type: null, size: 0, fileSize: 0, parent: null, problem };
    }
  }

  create({ file, size, format, type, parent }: NewDiskImage): Job {
    const wanted = writable(file, format);
    if (size === undefined && parent === undefined)
      throw new ViridianError('invalid', 'a new disk needs a size, or a parent to stand on');
    return this.#job('disk.create', `making ${file}`, async () => {
      await this.#ownFolder(file);
      await createDisk(storageHost, file, {
        format: wanted,
        size,
        type,
        ...(parent === undefined ? {} : { parent, allowParent: [parent] }),
      });
      this.#tell('disk.created', `the disk ${file} was made`);
    });
  }

  convert({ from, fromFormat, to, format, type }: DiskConversion): Job {
    const wanted = writable(to, format);
    return this.#job('disk.convert', `converting ${from}`, async (control, progress) => {
      const source = this.#attached().get(from)?.disk;
      await this.#ownFolder(to);
      await convertDisk(
        storageHost,
        {
          from: {
            path: from,
            format: (fromFormat as DiskFormat | undefined) ?? (await this.#formatOf(from, source)),
            allowParent: source?.allowParent ?? [],
          },
          to: { path: to, format: wanted, type },
        },
        progress,
      );
      control.cancellable(false);
      this.#tell('disk.converted', `the disk ${from} was converted to ${to}`);
    });
  }

  compact(file: string): Job {
    return this.#job('disk.compact', `compacting ${file}`, async (_control, progress) => {
      const { disk } = this.#attached().get(file) ?? {};
      const format = await this.#formatOf(file, disk);
      await compactDisk(storageHost, file, format, { allowParent: disk?.allowParent }, progress);
      this.#tell('disk.compacted', `the disk ${file} was compacted`);
    });
  }

  /** Of the service's own folder, and no VM's: others are not the service's to delete. */
  async remove(file: string): Promise<void> {
    if (dirname(file) !== this.folder)
      throw new ViridianError('invalid', `${file}: only disks in ${this.folder} are deleted here`);
    const vms = this.#attached().get(file)?.vms ?? [];
    if (vms.length > 0)
      throw new ViridianError('wrongState', `${file}: is attached to ${vms.join(', ')}: detach it first`);
    const images = await this.list();
    const above = images.find(({ parent }) => parent === file);
    if (above !== undefined) throw new ViridianError('wrongState', `${file}: ${above.file} stands on it`);
    await rm(file).catch((cause: unknown) => {
      throw new ViridianError('notFound', `${file}: no such file`, { cause });
    });
    this.#tell('disk.removed', `the disk ${file} was deleted`);
  }

  /** Found once, as when it is attached. */
  async #formatOf(file: string, attached: Disk | undefined): Promise<DiskFormat> {
    return (attached?.format as DiskFormat | undefined) ?? (await formatToAttach(storageHost.files, file));
  }

  async #ownFolder(file: string): Promise<void> {
    if (dirname(file) === this.folder) await mkdir(this.folder, { recursive: true, mode: 0o700 });
  }

  #job(kind: string, text: string, work: (control: JobControl, progress: Progress) => Promise<void>): Job {
    return this.#context.jobs.start({ kind, text }, async (control) => {
      control.cancellable(true);
      await work(control, (done, all) => {
        control.signal.throwIfAborted();
        control.progress(done / Math.max(1, all));
      });
    });
  }

  #tell(kind: string, text: string): void {
    this.#context.events.add({ kind, text });
  }
}

/** VHDX and VHD write parents as Windows does. A path that means something there only stays as it is. */
function parentOf(file: string, said: string | undefined): string | null {
  if (said === undefined) return null;
  return /^[a-z]:|^\\\\/i.test(said) ? said : resolve(dirname(file), said.replaceAll('\\', '/'));
}

/** The format said, or else that of the name. @throws ViridianError for one that is only read */
function writable(file: string, said: string | undefined): DiskFormat {
  const format = (said as DiskFormat | undefined) ?? formatOfName(file) ?? 'vhdx';
  if (format === 'iso' || format === 'qcow2')
    throw new ViridianError('invalid', `${file}: ${format} can be read, not written: make a vhdx, vhd or raw`);
  return format;
}
