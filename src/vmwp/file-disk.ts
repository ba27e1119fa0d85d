/** An open file as a guest's disk: requests wait where the host has no room, and are counted, so that a close can wait for them. */
import type { BlockDevice, DiskFormat } from '../contracts/block-device.ts';
import type { InspectNode } from '../contracts/partition.ts';
import { type Disk, DiskError } from '../storage/index.ts';
import type { DiskRate } from './disk-rate.ts';
import type { DiskRoom } from './disk-room.ts';

export class FileDisk implements BlockDevice {
  #file: string;
  #format: DiskFormat;
  readonly discarded: boolean;
  readonly logicalSectorSize: number;
  readonly physicalSectorSize: number;
  readonly writable: boolean;
  readonly identifier: Uint8Array | undefined;
  #disk: Disk;
  readonly #room: DiskRoom;
  readonly #rate: DiskRate | undefined;
  #inFlight = 0;
  #idle: (() => void)[] = [];
  #closed = false;

  constructor(file: string, disk: Disk, discarded: boolean, room: DiskRoom, rate?: DiskRate) {
    this.#file = file;
    this.#format = disk.format;
    this.discarded = discarded;
    this.logicalSectorSize = disk.logicalSectorSize;
    this.physicalSectorSize = disk.physicalSectorSize;
    this.writable = disk.writable;
    this.identifier = disk.identifier;
    this.#disk = disk;
    this.#room = room;
    this.#rate = rate;
  }

  get file(): string {
    return this.#file;
  }
  get format(): DiskFormat {
    return this.#format;
  }
  get size(): number {
    return this.#disk.size;
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#request(() => this.#disk.read(offset, into), into.length);
  }
  readNow(offset: number, into: readonly Uint8Array[]): boolean {
    // Under a limit everything goes through `read` and `write`, where it can wait.
    return !this.#closed && this.#rate === undefined && (this.#disk.readNow?.(offset, into) ?? false);
  }
  write(offset: number, from: Uint8Array): Promise<void> {
    return this.#request(() => this.#disk.write(offset, from), from.length);
  }
  writeNow(offset: number, from: readonly Uint8Array[]): boolean {
    return !this.#closed && this.#rate === undefined && (this.#disk.writeNow?.(offset, from) ?? false);
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

  /** The disk may be in use. */
  resize(size: number): Promise<void> {
    return this.#request(() => this.#disk.resize(size));
  }

  async #request(request: () => Promise<void>, bytes = 0): Promise<void> {
    if (this.#closed) throw new DiskError('closed', `${this.file}: the disk is closed`);
    this.#inFlight++;
    try {
      if (bytes > 0) await this.#rate?.wait(bytes);
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

  get released(): boolean {
    return this.#closed;
  }

  /** Lets go of the file, flushed. Until `reopen` every request is refused. */
  async release(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.idle();
    await this.#disk.close();
  }

  /** Goes on with the same content, in another file or in the one of before. @throws DiskError when it is another disk. */
  reopen(file: string, disk: Disk): void {
    if (!this.#closed) throw new DiskError('io', `${this.#file}: the disk is open`);
    const { size, writable, logicalSectorSize } = this.#disk;
    if (disk.size !== size || disk.writable !== writable || disk.logicalSectorSize !== logicalSectorSize)
      throw new DiskError('io', `${file}: is not the disk that was released`);
    this.#file = file;
    this.#format = disk.format;
    this.#disk = disk;
    this.#closed = false;
  }

  /** Nothing new is taken; what is under way is finished first. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.idle();
    await this.#disk.close();
  }
}
