/** An open file as a guest's disk: requests wait where the host has no room, and are counted, so that a close can wait for them. */
import type { BlockDevice, DiskFormat } from '../contracts/block-device.ts';
import type { InspectNode } from '../contracts/partition.ts';
import { type Disk, DiskError } from '../storage/index.ts';
import type { DiskRoom } from './disk-room.ts';

export class FileDisk implements BlockDevice {
  readonly file: string;
  readonly format: DiskFormat;
  readonly discarded: boolean;
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
    this.logicalSectorSize = disk.logicalSectorSize;
    this.physicalSectorSize = disk.physicalSectorSize;
    this.writable = disk.writable;
    this.identifier = disk.identifier;
    this.#disk = disk;
    this.#room = room;
  }

  get size(): number {
    return this.#disk.size;
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#request(() => this.#disk.read(offset, into));
  }
  readNow(offset: number, into: readonly Uint8Array[]): boolean {
    return !this.#closed && (this.#disk.readNow?.(offset, into) ?? false);
  }
  write(offset: number, from: Uint8Array): Promise<void> {
    return this.#request(() => this.#disk.write(offset, from));
  }
  writeNow(offset: number, from: readonly Uint8Array[]): boolean {
    return !this.#closed && (this.#disk.writeNow?.(offset, from) ?? false);
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
