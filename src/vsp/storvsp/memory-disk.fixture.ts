/** For tests: a disk in memory. */
import type { BlockDevice } from '../../contracts/block-device.ts';

export class MemoryDisk implements BlockDevice {
  bytes: Uint8Array;
  readonly logicalSectorSize: number;
  readonly physicalSectorSize = 4096;
  readonly writable: boolean;
  readonly identifier = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
  readonly log: string[] = [];
  /** What the next request fails with. */
  failure: Error | undefined;
  /** Requests wait for this. */
  gate: Promise<void> = Promise.resolve();

  /** Requests are carried out at once. */
  now = false;

  constructor(size: number, writable = true, logicalSectorSize = 512) {
    this.bytes = new Uint8Array(size);
    this.writable = writable;
    this.logicalSectorSize = logicalSectorSize;
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
  readNow(offset: number, into: readonly Uint8Array[]): boolean {
    if (!this.now) return false;
    let at = offset;
    for (const buffer of into) {
      buffer.set(this.bytes.subarray(at, at + buffer.length));
      at += buffer.length;
    }
    this.log.push(`read at once ${offset} ${at - offset}`);
    return true;
  }
  writeNow(offset: number, from: readonly Uint8Array[]): boolean {
    if (!this.now) return false;
    let at = offset;
    for (const buffer of from) {
      this.bytes.set(buffer, at);
      at += buffer.length;
    }
    this.log.push(`write at once ${offset} ${at - offset}`);
    return true;
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
