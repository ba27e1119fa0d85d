/**
 * The disks of a partition: files opened for it, and what else it was given. A file without room makes requests wait, so
 * that the guest, which stands still meanwhile, never hears of it (disk-room.ts). Files are closed when the partition has
 * stopped.
 */
import { type BlockDevice, DISK_FORMATS, type DiskFile, type DiskFormat } from '../contracts/block-device.ts';
import { ViridianError } from '../contracts/errors.ts';
import type { DiskEvent, InspectNode } from '../contracts/partition.ts';
import { isDiskFile } from '../contracts/partition-options.ts';
import { type Disk, DiskError, formatToAttach, openDisk, type StorageHost } from '../storage/index.ts';
import { DiskRoom } from './disk-room.ts';

/** What a saved state knows of a disk. No file and no format: the caller's own block device. */
export interface DiskRecord {
  readonly file: string | null;
  readonly format: DiskFormat | null;
  readonly size: number;
  readonly writable: boolean;
}

export function isDiskRecord(value: unknown): value is DiskRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { file, format, size, writable } = value as Partial<Record<keyof DiskRecord, unknown>>;
  return (
    ((file === null && format === null) ||
      (typeof file === 'string' && DISK_FORMATS.some((known) => known === format))) &&
    Number.isSafeInteger(size) &&
    typeof writable === 'boolean'
  );
}

/** An open file as a guest's disk. */
class FileDisk implements BlockDevice {
  readonly file: string;
  readonly format: DiskFormat;
  readonly discarded: boolean;
  readonly size: number;
  readonly logicalSectorSize: number;
  readonly physicalSectorSize: number;
  readonly writable: boolean;
  readonly identifier: Uint8Array | undefined;
  readonly #disk: Disk;
  readonly #room: DiskRoom;
  #inFlight = 0;
  #idle: (() => void)[] = [];
  #closed = false;

  constructor(file: string, disk: Disk, discarded: boolean, room: DiskRoom) {
    this.file = file;
    this.format = disk.format;
    this.discarded = discarded;
    this.size = disk.size;
    this.logicalSectorSize = disk.logicalSectorSize;
    this.physicalSectorSize = disk.physicalSectorSize;
    this.writable = disk.writable;
    this.identifier = disk.identifier;
    this.#disk = disk;
    this.#room = room;
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#request(() => this.#disk.read(offset, into));
  }
  write(offset: number, from: Uint8Array): Promise<void> {
    return this.#request(() => this.#disk.write(offset, from));
  }
  writeZeroes(offset: number, length: number): Promise<void> {
    return this.#request(() => this.#disk.writeZeroes(offset, length));
  }
  discard(offset: number, length: number): Promise<void> {
    return this.#request(() => this.#disk.discard(offset, length));
  }
  flush(): Promise<void> {
    return this.#request(() => this.#disk.flush());
  }

  async #request(request: () => Promise<void>): Promise<void> {
    if (this.#closed) throw new DiskError('closed', `${this.file}: the disk is closed`);
    this.#inFlight++;
    try {
      await this.#room.make(this.file, request);
    } finally {
      this.#inFlight--;
      if (this.#inFlight === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  inspect(): InspectNode {
    const { file, format, size, writable, discarded } = this;
    return { file, format, size, writable, discarded, inFlight: this.#inFlight };
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Nothing new is taken; what is under way is finished first. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.idle();
    await this.#disk.close();
  }
}

export interface DisksListener {
  /** The partition is to stand still. */
  full(): void;
  /** It may go on. */
  room(): void;
  tell(event: DiskEvent): void;
}

export class PartitionDisks {
  readonly devices: BlockDevice[] = [];
  /** Set by the partition before anything runs. */
  listener: DisksListener | undefined;
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

  /**
   * @param saved what a saved state knows of them: then the same are wanted, in the same order.
   * @throws ViridianError; nothing is left open then.
   */
  static async open(
    host: StorageHost,
    given: readonly (BlockDevice | DiskFile)[],
    saved?: readonly DiskRecord[],
  ): Promise<PartitionDisks> {
    if (saved !== undefined && saved.length !== given.length) throw otherNumber(given.length, saved);
    const disks = new PartitionDisks();
    try {
      for (const [i, disk] of given.entries()) {
        const record = saved?.[i];
        const device = isDiskFile(disk) ? await disks.#open(host, disk, record) : disk;
        disks.devices.push(device);
        if (record) demandSame(i, device, record);
      }
    } catch (error) {
      await disks.close();
      throw error;
    }
    return disks;
  }

  async #open(host: StorageHost, disk: DiskFile, record: DiskRecord | undefined): Promise<FileDisk> {
    const path = await host.files.realPath(disk.file);
    // What it was stays, whatever the guest has written there since.
    const format = record?.format ?? disk.format ?? (await formatToAttach(host.files, path));
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
    return new FileDisk(path, opened, discard, this.#room);
  }

  get #files(): FileDisk[] {
    return this.devices.filter((device) => device instanceof FileDisk);
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
    // Closed, they are flushed.
    if (!this.#closed) await Promise.all(this.#files.map((disk) => disk.flush()));
    return this.devices.map((device) => {
      const { file, format } = device instanceof FileDisk ? device : { file: null, format: null };
      return { file, format, size: device.size, writable: device.writable };
    });
  }

  /** Flushes and closes the files. A failure is told of, and never thrown. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#room.giveUp();
    await Promise.all(
      this.#files.map((disk) =>
        disk.close().catch((error: unknown) => {
          const message = error instanceof Error ? error.message : String(error);
          this.listener?.tell({ kind: 'lost', file: disk.file, message });
        }),
      ),
    );
  }

  inspect(): InspectNode {
    return Object.fromEntries(this.#files.map((disk, lun) => [`disk${lun}`, disk.inspect()]));
  }
}

function otherNumber(given: number, saved: readonly DiskRecord[]): ViridianError {
  const names = saved.map(({ file }) => file ?? 'a block device').join(', ');
  const had = saved.length === 0 ? 'no disks' : `${saved.length} ${saved.length === 1 ? 'disk' : 'disks'} (${names})`;
  return new ViridianError('invalid', `the saved partition had ${had}: give the same again, not ${given}`);
}

function demandSame(lun: number, { size, writable }: BlockDevice, saved: DiskRecord): void {
  const name = saved.file ?? `disk ${lun}`;
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
