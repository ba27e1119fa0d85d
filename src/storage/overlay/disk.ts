/**
 * A throw-away overlay: what is written goes to a file without a name, gone with the process, and the disk below stays
 * as it is. The scratch file is sparse, each sector at its own offset; which are there is known by a bitmap in memory.
 */
import type { RandomFile } from '../../host/disk-files.ts';
import { allDone, BaseDisk, type Disk, type DiskFormat, type DiskRange } from '../disk.ts';

/** Bytes of the disk that one bitmap is for; made when something in them is written. */
const CHUNK = 2 ** 20;

export class OverlayDisk extends BaseDisk {
  readonly format: DiskFormat;
  readonly logicalSectorSize: number;
  readonly physicalSectorSize: number;
  readonly writable = true;
  readonly identifier: Uint8Array | undefined;
  override readonly parent: Disk;
  readonly #scratch: RandomFile;
  readonly #present = new Map<number, Uint8Array>();
  #size: number;
  /** What lies above was cut off once: the disk below does not show through any more. */
  #visible: number;

  constructor(base: Disk, scratch: RandomFile) {
    super();
    this.parent = base;
    this.format = base.format;
    this.logicalSectorSize = base.logicalSectorSize;
    this.physicalSectorSize = base.physicalSectorSize;
    this.identifier = base.identifier;
    this.#scratch = scratch;
    this.#size = base.size;
    this.#visible = base.size;
  }

  get path(): string {
    return `overlay of ${'path' in this.parent ? String(this.parent.path) : this.parent.format}`;
  }
  get size(): number {
    return this.#size;
  }

  #runs(offset: number, length: number): { offset: number; length: number; set: boolean }[] {
    const sector = this.logicalSectorSize;
    const runs: { offset: number; length: number; set: boolean }[] = [];
    const add = (at: number, count: number, set: boolean): void => {
      const last = runs.at(-1);
      if (last?.set === set) last.length += count;
      else runs.push({ offset: at, length: count, set });
    };
    for (let at = offset; at < offset + length; ) {
      const within = at % CHUNK;
      const count = Math.min(CHUNK - within, offset + length - at);
      const bits = this.#present.get((at - within) / CHUNK);
      if (bits === undefined) add(at, count, false);
      else
        for (let s = within / sector; s < (within + count) / sector; s++)
          add(at - within + s * sector, sector, ((bits[s >> 3]! >> (s & 7)) & 1) === 1);
      at += count;
    }
    return runs;
  }

  #mark(offset: number, length: number, set: boolean): void {
    const sector = this.logicalSectorSize;
    for (let at = offset; at < offset + length; at += sector) {
      const chunk = Math.floor(at / CHUNK);
      let bits = this.#present.get(chunk);
      if (bits === undefined) {
        if (!set) continue;
        this.#present.set(chunk, (bits = new Uint8Array(CHUNK / sector / 8)));
      }
      const bit = (at % CHUNK) / sector;
      if (set) bits[bit >> 3]! |= 1 << (bit & 7);
      else bits[bit >> 3]! &= ~(1 << (bit & 7));
    }
  }

  protected async doRead(offset: number, into: Uint8Array): Promise<void> {
    await allDone(
      this.#runs(offset, into.length).map(async (run) => {
        const part = into.subarray(run.offset - offset, run.offset - offset + run.length);
        if (!run.set) {
          const below = Math.max(0, Math.min(part.length, this.#visible - run.offset));
          part.fill(0, below);
          if (below > 0) await this.parent.read(run.offset, part.subarray(0, below));
          return;
        }
        part.fill(0, await this.#scratch.read(run.offset, part));
      }),
    );
  }

  protected async doWrite(offset: number, from: Uint8Array): Promise<void> {
    await this.#scratch.write(offset, from);
    this.#mark(offset, from.length, true);
  }

  protected async doZero(offset: number, length: number): Promise<void> {
    const end = await this.#scratch.size();
    if (offset < end) await this.#scratch.zero(offset, Math.min(length, end - offset), 'free');
    this.#mark(offset, length, true);
  }

  /** Nothing here outlives the process. */
  protected async doFlush(): Promise<void> {}

  protected async doResize(size: number): Promise<void> {
    if (size < this.#size) {
      this.#mark(size, this.#size - size, false);
      this.#visible = Math.min(this.#visible, size);
      if ((await this.#scratch.size()) > size) await this.#scratch.resize(size);
    }
    this.#size = size;
  }

  protected async *doRanges(offset: number, length: number): AsyncIterable<DiskRange> {
    for (const run of this.#runs(offset, length))
      yield { offset: run.offset, length: run.length, state: run.set ? 'data' : 'parent' };
  }

  inspect(): Record<string, unknown> {
    return { overlay: true, size: this.#size, chunks: this.#present.size, parent: this.parent.inspect() };
  }

  protected doClose(): Promise<void> {
    return this.#scratch.close();
  }
}
