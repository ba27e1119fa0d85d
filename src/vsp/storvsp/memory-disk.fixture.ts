/** For tests: a disk in memory. */
import type { BlockDevice } from '../../contracts/block-device.ts';

export class MemoryDisk implements BlockDevice {
  readonly bytes: Uint8Array;
  readonly logicalSectorSize = 512;
  readonly physicalSectorSize = 4096;
  readonly writable: boolean;
  readonly identifier = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
  readonly log: string[] = [];
  /** What the next request fails with. */
  failure: Error | undefined;
  /** Requests wait for this. */
  gate: Promise<void> = Promise.resolve();

  constructor(size: number, writable = true) {
    this.bytes = new Uint8Array(size);
    this.writable = writable;
  }
  get size(): number {
    return this.bytes.length;
  }
  async #step(text: string): Promise<void> {
    this.log.push(text);
    await this.gate;
    const { failure } = this;
    this.failure = undefined;
    if (failure) throw failure;
  }
  async read(offset: number, into: Uint8Array): Promise<void> {
    await this.#step(`read ${offset} ${into.length}`);
    into.set(this.bytes.subarray(offset, offset + into.length));
  }
  async write(offset: number, from: Uint8Array): Promise<void> {
    await this.#step(`write ${offset} ${from.length}`);
    this.bytes.set(from, offset);
  }
  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#step(`zero ${offset} ${length}`);
    this.bytes.fill(0, offset, offset + length);
  }
  async discard(offset: number, length: number): Promise<void> {
    await this.#step(`discard ${offset} ${length}`);
    this.bytes.fill(0, offset, offset + length);
  }
  async flush(): Promise<void> {
    await this.#step('flush');
  }
}
