/** Raw: the file's bytes are the disk's. A DVD image (ISO 9660) is the same, read-only, with sectors of 2048 bytes. */
import type { RandomFile } from '../../host/disk-files.ts';
import { BaseDisk, type DiskFormat, type DiskRange } from '../disk.ts';

export interface RawGeometry {
  readonly logicalSectorSize: number;
  readonly physicalSectorSize: number;
}

export class RawDisk extends BaseDisk {
  readonly format: DiskFormat;
  readonly logicalSectorSize: number;
  readonly physicalSectorSize: number;
  readonly writable: boolean;
  readonly identifier = undefined;
  readonly #file: RandomFile;
  #size: number;

  constructor(format: 'raw' | 'iso', file: RandomFile, size: number, geometry: RawGeometry) {
    super();
    this.format = format;
    this.#file = file;
    this.logicalSectorSize = geometry.logicalSectorSize;
    this.physicalSectorSize = geometry.physicalSectorSize;
    // Part of a sector at the end counts as a whole one, the rest of it zeroes.
    this.#size = Math.ceil(size / this.logicalSectorSize) * this.logicalSectorSize;
    this.writable = file.writable && format === 'raw';
  }

  static async open(
    format: 'raw' | 'iso',
    file: RandomFile,
    geometry: RawGeometry = format === 'iso'
      ? { logicalSectorSize: 2048, physicalSectorSize: 2048 }
      : { logicalSectorSize: 512, physicalSectorSize: 4096 },
  ): Promise<RawDisk> {
    return new RawDisk(format, file, await file.size(), geometry);
  }

  get path(): string {
    return this.#file.path;
  }
  get size(): number {
    return this.#size;
  }

  protected async doRead(offset: number, into: Uint8Array): Promise<void> {
    const count = await this.#file.read(offset, into);
    if (count < into.length) into.fill(0, count);
  }

  readNow(offset: number, into: readonly Uint8Array[]): boolean {
    const length = this.checkedLength(offset, into, 'read');
    return this.#file.readNow?.(offset, into, length) ?? false;
  }

  protected doWrite(offset: number, from: Uint8Array): Promise<void> {
    return this.#file.write(offset, from);
  }

  writeNow(offset: number, from: readonly Uint8Array[]): boolean {
    const length = this.checkedLength(offset, from, 'write');
    return this.#file.writeNow?.(offset, from, length) ?? false;
  }

  protected doZero(offset: number, length: number, space: 'free' | 'keep'): Promise<void> {
    return this.#file.zero(offset, length, space);
  }

  protected doFlush(): Promise<void> {
    return this.#file.sync();
  }

  protected async doResize(size: number): Promise<void> {
    await this.#file.resize(size);
    await this.#file.sync();
    this.#size = size;
  }

  protected async *doRanges(offset: number, length: number): AsyncIterable<DiskRange> {
    const sector = this.logicalSectorSize;
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const data = await this.#file.nextData(at);
      const start = Math.min(end, Math.max(at, Math.floor((data?.offset ?? end) / sector) * sector));
      if (start > at) yield { offset: at, length: start - at, state: 'zero' };
      if (data === undefined || start === end) return;
      const stop = Math.min(end, Math.ceil((data.offset + data.length) / sector) * sector);
      yield { offset: start, length: stop - start, state: 'data' };
      at = stop;
    }
  }

  inspect(): Record<string, unknown> {
    return { format: this.format, path: this.path, size: this.#size, writable: this.writable };
  }

  protected async doClose(): Promise<void> {
    try {
      if (this.writable) await this.#file.sync();
    } finally {
      await this.#file.close();
    }
  }
}
