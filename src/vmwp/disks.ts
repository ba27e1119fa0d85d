/**
 * The disks and DVDs of a partition: where each is, files opened for it, and what else it was given. A file without room
 * makes requests wait, so that the guest, which stands still meanwhile, never hears of it (disk-room.ts). Files are closed when
 * they are taken away, or the partition has stopped.
 */
import {
  type BlockDevice,
  DISK_FORMATS,
  type DiskFile,
  type DiskFormat,
  type DvdDrive,
  type StoragePlace,
  type WantedPlace,
} from '../contracts/block-device.ts';
import { ViridianError } from '../contracts/errors.ts';
import type { DiskEvent, InspectNode } from '../contracts/partition.ts';
import { checkPlace, isDiskFile, LIMITS } from '../contracts/partition-options.ts';
import { formatToAttach, openDisk, type StorageHost, seemingFormat } from '../storage/index.ts';
import { DiskRate } from './disk-rate.ts';
import { DiskRoom } from './disk-room.ts';
import { FileDisk } from './file-disk.ts';

/** What a saved state knows of a disk or a drive. No file and no format: the caller's own block device, or an empty drive. */
export interface DiskRecord extends StoragePlace {
  readonly kind: 'disk' | 'dvd';
  readonly file: string | null;
  readonly format: DiskFormat | null;
  readonly size: number;
  readonly writable: boolean;
}

/** Undefined when it is none. Records of before there were places are disks in order. */
export function diskRecordOf(value: unknown, index: number): DiskRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const given = value as Partial<Record<keyof DiskRecord, unknown>>;
  const { file, format, size, writable, kind = 'disk', controller = 0, lun = index } = given;
  const below = (number: unknown, limit: number): boolean =>
    Number.isSafeInteger(number) && (number as number) >= 0 && (number as number) < limit;
  const sound =
    ((file === null && format === null) ||
      (typeof file === 'string' && DISK_FORMATS.some((known) => known === format))) &&
    below(size, Number.MAX_SAFE_INTEGER) &&
    typeof writable === 'boolean' &&
    (kind === 'disk' || kind === 'dvd') &&
    below(controller, LIMITS.controllers) &&
    below(lun, LIMITS.luns);
  return sound ? ({ kind, controller, lun, file, format, size, writable } as DiskRecord) : undefined;
}

/** A disk, or a drive and what is in it. */
export interface Unit {
  readonly place: StoragePlace;
  readonly kind: 'disk' | 'dvd';
  device: BlockDevice | undefined;
}

export interface DisksListener {
  /** The partition is to stand still. */
  full(): void;
  /** It may go on. */
  room(): void;
  tell(event: DiskEvent): void;
}

export interface GivenStorage {
  readonly disks: readonly (BlockDevice | DiskFile)[];
  readonly dvds?: readonly DvdDrive[] | undefined;
  /** Bytes a second, for all of them. */
  readonly storageMaximum?: number | undefined;
}

export class PartitionDisks {
  /** Set by the partition before anything runs. */
  listener: DisksListener | undefined;
  readonly #host: StorageHost | undefined;
  readonly #rate: DiskRate | undefined;
  #units: Unit[] = [];
  readonly #room = new DiskRoom({
    full: (file, message) => {
      this.listener?.full();
      this.listener?.tell({ kind: 'full', file, message });
    },
    room: (file) => {
      this.listener?.tell({ kind: 'room', file, message: `${file}: there is room again` });
      this.listener?.room();
    },
  });
  #closed: Promise<void> | undefined;

  /** @param host without one, there are no files. */
  constructor(host?: StorageHost, maximum?: number) {
    this.#host = host;
    this.#rate = maximum === undefined ? undefined : new DiskRate(maximum);
  }

  /**
   * @param saved what a saved state knows of them: then the same are wanted, in the same order.
   * @throws ViridianError; nothing is left open then.
   */
  static async open(
    host: StorageHost,
    { disks, dvds = [], storageMaximum }: GivenStorage,
    saved?: readonly DiskRecord[],
  ): Promise<PartitionDisks> {
    const opened = new PartitionDisks(host, storageMaximum);
    const records = {
      disk: saved?.filter(({ kind }) => kind === 'disk'),
      dvd: saved?.filter(({ kind }) => kind === 'dvd'),
    };
    demandNumber('disk', disks.length, records.disk);
    demandNumber('DVD drive', dvds.length, records.dvd);
    try {
      // Those that say where they are come first, so that nobody else takes their places.
      const said = (given: BlockDevice | DiskFile | DvdDrive): boolean => 'lun' in given && given.lun !== undefined;
      const all = [
        ...disks.map((given, i) => ({
          given,
          record: records.disk?.[i],
          open: () => opened.addDisk(given, {}, records.disk?.[i]),
        })),
        ...dvds.map((given, i) => ({
          given,
          record: records.dvd?.[i],
          open: () => opened.addDvd(given, records.dvd?.[i]),
        })),
      ];
      for (const each of [...all.filter(({ given }) => said(given)), ...all.filter(({ given }) => !said(given))]) {
        const { place, device } = await each.open();
        if (each.record) demandSame(place, device, each.record);
      }
    } catch (error) {
      await opened.close();
      throw error;
    }
    return opened;
  }

  /** By controller and LUN. */
  get units(): readonly Unit[] {
    return [...this.#units].sort((a, b) => a.place.controller - b.place.controller || a.place.lun - b.place.lun);
  }

  /** The disks among them. */
  get devices(): readonly BlockDevice[] {
    return this.units.flatMap((unit) => (unit.kind === 'disk' && unit.device ? [unit.device] : []));
  }

  /** @throws ViridianError `notFound` */
  unit({ controller, lun }: StoragePlace, kind: Unit['kind']): Unit {
    checkPlace({ controller, lun });
    const found = this.#units.find(({ place }) => place.controller === controller && place.lun === lun);
    if (found?.kind === kind) return found;
    const what = kind === 'disk' ? 'disk' : 'DVD drive';
    throw new ViridianError('notFound', `there is no ${what} at controller ${controller}, LUN ${lun}`);
  }

  /** Opens a disk. A file's own place comes before `wanted`, and a record's before both. @throws ViridianError */
  async addDisk(disk: BlockDevice | DiskFile, wanted: WantedPlace = {}, record?: DiskRecord): Promise<Unit> {
    const place = this.#freePlace(isDiskFile(disk) ? { ...wanted, ...defined(disk) } : wanted, record);
    const device = isDiskFile(disk) ? await this.#openDisk(disk, record?.format ?? undefined) : disk;
    return this.#add({ place, kind: 'disk', device });
  }

  /** Adds a drive. @throws ViridianError */
  async addDvd(drive: DvdDrive, record?: DiskRecord): Promise<Unit> {
    const place = this.#freePlace(defined(drive), record);
    const device = drive.file === undefined ? undefined : await this.openDvd(drive.file);
    return this.#add({ place, kind: 'dvd', device });
  }

  async #add(unit: Unit): Promise<Unit> {
    if (this.#closed) {
      if (unit.device instanceof FileDisk) await unit.device.close();
      throw new ViridianError('wrongState', 'the partition has stopped');
    }
    this.#units.push(unit);
    return unit;
  }

  #freePlace(wanted: WantedPlace, record: DiskRecord | undefined): StoragePlace {
    if (this.#closed) throw new ViridianError('wrongState', 'the partition has stopped');
    checkPlace(wanted);
    const { controller = record?.controller ?? 0, lun = record?.lun } = wanted;
    if (record && (controller !== record.controller || lun !== record.lun))
      throw new ViridianError(
        'invalid',
        `${record.file ?? 'a disk'} was at controller ${record.controller}, LUN ${record.lun} when the partition was saved`,
      );
    const taken = new Set(
      this.#units.filter(({ place }) => place.controller === controller).map(({ place }) => place.lun),
    );
    if (lun !== undefined && taken.has(lun))
      throw new ViridianError('wrongState', `controller ${controller}, LUN ${lun} is taken: give another`);
    const free = lun ?? Array.from({ length: LIMITS.luns }, (_, i) => i).find((each) => !taken.has(each));
    if (free === undefined) throw new ViridianError('wrongState', `controller ${controller} is full: give another`);
    return { controller, lun: free };
  }

  get #storageHost(): StorageHost {
    if (this.#host) return this.#host;
    throw new ViridianError('wrongState', 'this partition can open no files');
  }

  /** @param recorded what it was stays, whatever the guest has written there since. */
  async #openDisk(disk: DiskFile, recorded: DiskFormat | undefined): Promise<FileDisk> {
    const host = this.#storageHost;
    const path = await host.files.realPath(disk.file);
    const format = recorded ?? disk.format ?? (await formatToAttach(host.files, path));
    if (disk.format !== undefined && disk.format !== format)
      throw new ViridianError('invalid', `${path}: it was attached as ${format}, and cannot be ${disk.format} now`);
    const readOnly = disk.readOnly === true || format === 'iso';
    const discard = disk.discard === true && !readOnly;
    const opened = await openDisk(host, path, {
      format,
      write: !readOnly,
      allowParent: disk.allowParent,
      ...(discard ? { discard: 'file' } : {}),
    });
    return new FileDisk(path, opened, discard, this.#room, this.#rate);
  }

  /** Opens an image for a drive: any file but one that is a disk. @throws ViridianError */
  async openDvd(file: string): Promise<FileDisk> {
    const host = this.#storageHost;
    const path = await host.files.realPath(file);
    const seems = await seemingFormat(host.files, path);
    if (seems !== 'iso' && seems !== 'raw')
      throw new ViridianError('badFile', `${path}: it is a ${seems} disk, not a DVD image: attach it as a disk`);
    return new FileDisk(path, await openDisk(host, path, { format: 'iso' }), false, this.#room, this.#rate);
  }

  /** Takes a disk or drive out of the list; what it has open is for `release`. */
  remove(unit: Unit): void {
    this.#units = this.#units.filter((each) => each !== unit);
  }

  /** Flushes and closes what is not used any more. A failure is told of, and never thrown. */
  async release(device: BlockDevice | undefined): Promise<void> {
    if (!(device instanceof FileDisk)) return;
    try {
      await device.close();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.listener?.tell({ kind: 'lost', file: device.file, message });
    }
  }

  /** The files that a guest writes to, flushed and closed. */
  async releaseFiles(): Promise<void> {
    const full = this.#room.fullFile;
    if (full !== undefined)
      throw new ViridianError(
        'wrongState',
        `${full}: the host has no room for what was written: nothing can be released`,
      );
    await Promise.all(this.#files.filter((disk) => disk.writable && !disk.discarded).map((disk) => disk.release()));
  }

  /** By their places. What is open already stays so. */
  async reopenFiles(disks: readonly (DiskFile & StoragePlace)[]): Promise<void> {
    const host = this.#storageHost;
    for (const disk of disks) {
      const { device } = this.unit(disk, 'disk');
      if (!(device instanceof FileDisk) || !device.released) continue;
      const path = await host.files.realPath(disk.file);
      const format = disk.format ?? device.format;
      const opened = await openDisk(host, path, { format, write: true, allowParent: disk.allowParent });
      try {
        device.reopen(path, opened);
      } catch (error) {
        await opened.close();
        throw error;
      }
    }
  }

  get #files(): FileDisk[] {
    return this.units.map(({ device }) => device).filter((device) => device instanceof FileDisk);
  }

  /** A request waits for room on the host. */
  get full(): boolean {
    return this.#room.fullFile !== undefined;
  }

  /** What waits for room is tried again at once. */
  retry(): void {
    this.#room.retry();
  }

  /** Resolves when no file is busy with a request; one that waits for room is. */
  async idle(): Promise<void> {
    await Promise.all(this.#files.map((disk) => disk.idle()));
  }

  /**
   * What a saved state is to know, with everything it stands on flushed. @throws ViridianError `wrongState` when it could
   * not be gone on with.
   */
  async save(): Promise<DiskRecord[]> {
    const full = this.#room.fullFile;
    if (full !== undefined)
      throw new ViridianError('wrongState', `${full}: the host has no room for what was written: nothing can be saved`);
    const thrown = this.#files.find((disk) => disk.discarded);
    if (thrown)
      throw new ViridianError(
        'wrongState',
        `${thrown.file}: what is written to it is thrown away: nothing can be saved`,
      );
    await this.flush();
    return this.units.map(({ place, kind, device }) => {
      const { file, format } = device instanceof FileDisk ? device : { file: null, format: null };
      return { kind, ...place, file, format, size: device?.size ?? 0, writable: device?.writable ?? false };
    });
  }

  async flush(): Promise<void> {
    // Closed or released, they are flushed.
    if (!this.#closed) await Promise.all(this.#files.filter((disk) => !disk.released).map((disk) => disk.flush()));
  }

  /** Flushes and closes the files. A failure is told of, and never thrown. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#room.giveUp();
    await Promise.all(this.#files.map((disk) => this.release(disk)));
  }

  inspect(): InspectNode {
    return Object.fromEntries(
      this.units.map(({ place, kind, device }) => [
        `${kind}${place.controller}.${place.lun}`,
        device instanceof FileDisk ? device.inspect() : { size: device?.size ?? 0 },
      ]),
    );
  }
}

/** What of a place is given. */
function defined({ controller, lun }: WantedPlace): WantedPlace {
  return { ...(controller === undefined ? {} : { controller }), ...(lun === undefined ? {} : { lun }) };
}

function demandNumber(what: string, given: number, saved: readonly DiskRecord[] | undefined): void {
  if (saved === undefined || saved.length === given) return;
  const names = saved.map(({ file }) => file ?? (what === 'disk' ? 'a block device' : 'an empty drive')).join(', ');
  const had = saved.length === 0 ? `no ${what}s` : `${saved.length} ${what}${saved.length === 1 ? '' : 's'} (${names})`;
  throw new ViridianError('invalid', `the saved partition had ${had}: give the same again, not ${given}`);
}

function demandSame(place: StoragePlace, device: BlockDevice | undefined, saved: DiskRecord): void {
  const name = saved.file ?? `what is at controller ${place.controller}, LUN ${place.lun},`;
  const { size = 0, writable = false } = device ?? {};
  if (size !== saved.size)
    throw new ViridianError(
      'invalid',
      `${name} had ${saved.size} bytes when the partition was saved, and has ${size} now`,
    );
  if (writable !== saved.writable)
    throw new ViridianError(
      'invalid',
      `${name} was ${saved.writable ? 'writable' : 'read-only'} when the partition was saved`,
    );
}
