/** A fixed VHD: the disk's bytes, then the footer. */
import type { RandomFile } from '../../host/disk-files.ts';
import { guidText } from '../../support/guid.ts';
import { BaseDisk, type DiskRange } from '../disk.ts';
import { corrupt, encodeFooter, geometry } from './footer.ts';
import { FOOTER_SIZE, type Footer, MAXIMUM_DISK_SIZE, SECTOR } from './protocol.ts';

export class FixedVhd extends BaseDisk {
  readonly format = 'vhd';
  readonly logicalSectorSize = SECTOR;
  readonly physicalSectorSize = SECTOR;
  readonly writable: boolean;
  readonly #file: RandomFile;
  #footer: Footer;

  private constructor(file: RandomFile, footer: Footer) {
    super();
    this.#file = file;
    this.#footer = footer;
    this.writable = file.writable;
  }

  static async open(file: RandomFile, footer: Footer): Promise<FixedVhd> {
    if (Number(footer.currentSize) + FOOTER_SIZE > (await file.size()))
      throw corrupt(file, `the file is too short for a fixed disk of ${footer.currentSize} bytes`);
    return new FixedVhd(file, footer);
  }

  get path(): string {
    return this.#file.path;
  }
  get size(): number {
    return Number(this.#footer.currentSize);
  }
  get identifier(): Uint8Array {
    return this.#footer.uniqueId;
  }
  get footer(): Footer {
    return this.#footer;
  }

  protected async doRead(offset: number, into: Uint8Array): Promise<void> {
    if ((await this.#file.read(offset, into)) < into.length) throw corrupt(this.#file, 'the file was cut off');
  }

  protected doWrite(offset: number, from: Uint8Array): Promise<void> {
    return this.#file.write(offset, from);
  }

  protected doZero(offset: number, length: number, space: 'free' | 'keep'): Promise<void> {
    return this.#file.zero(offset, length, space);
  }

  protected doFlush(): Promise<void> {
    return this.#file.sync();
  }

  protected async doResize(size: number): Promise<void> {
    if (size > MAXIMUM_DISK_SIZE) throw this.trouble('range', 'a VHD holds at most 2040 GiB');
    const before = this.size;
    const footer = { ...this.#footer, currentSize: BigInt(size), ...geometry(size) };
    if (size > before) {
      await this.#file.allocate(before, size + FOOTER_SIZE - before);
      await this.#file.write(size, encodeFooter(footer));
      await this.#file.sync();
      // Where the footer was is disk now.
      await this.#file.zero(before, Math.min(FOOTER_SIZE, size - before), 'keep');
    } else {
      await this.#file.write(size, encodeFooter(footer));
      await this.#file.sync();
      await this.#file.resize(size + FOOTER_SIZE);
    }
    await this.#file.sync();
    this.#footer = footer;
  }

  protected async *doRanges(offset: number, length: number): AsyncIterable<DiskRange> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const data = await this.#file.nextData(at);
      const start = Math.min(end, Math.max(at, Math.floor((data?.offset ?? end) / SECTOR) * SECTOR));
      if (start > at) yield { offset: at, length: start - at, state: 'zero' };
      if (data === undefined || start === end) return;
      const stop = Math.min(end, Math.ceil((data.offset + data.length) / SECTOR) * SECTOR);
      yield { offset: start, length: stop - start, state: 'data' };
      at = stop;
    }
  }

  inspect(): Record<string, unknown> {
    return {
      format: this.format,
      path: this.path,
      type: 'fixed',
      size: this.size,
      identifier: guidText(this.#footer.uniqueId),
    };
  }

  protected async doClose(): Promise<void> {
    try {
      if (this.writable) await this.#file.sync();
    } finally {
      await this.#file.close();
    }
  }
}
