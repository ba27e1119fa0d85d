/** A file as it is once its log has been replayed, for those who may not write to it. */
import type { RandomFile } from '../../host/disk-files.ts';

/** One update of a log: bytes, or zeroes where there are none. */
export interface LogUpdate {
  readonly offset: number;
  readonly length: number;
  readonly bytes: Uint8Array | undefined;
}

export class FileView {
  readonly file: RandomFile;
  /** In the order in which they apply. */
  readonly #updates: readonly LogUpdate[];
  readonly #end: number;

  constructor(file: RandomFile, updates: readonly LogUpdate[] = []) {
    this.file = file;
    this.#updates = updates;
    this.#end = updates.reduce((end, update) => Math.max(end, update.offset + update.length), 0);
  }

  async size(): Promise<number> {
    return Math.max(await this.file.size(), this.#end);
  }

  /** As RandomFile.readNow. */
  readNow(offset: number, into: readonly Uint8Array[], length: number): boolean {
    return this.#updates.length === 0 && (this.file.readNow?.(offset, into, length) ?? false);
  }

  /** As RandomFile.read. */
  async read(offset: number, into: Uint8Array): Promise<number> {
    let count = await this.file.read(offset, into);
    if (this.#updates.length === 0) return count;
    const reach = Math.min(into.length, this.#end - offset);
    if (reach > count) {
      into.fill(0, count, reach);
      count = reach;
    }
    for (const update of this.#updates) {
      const from = Math.max(offset, update.offset);
      const to = Math.min(offset + into.length, update.offset + update.length);
      if (from >= to) continue;
      if (update.bytes === undefined) into.fill(0, from - offset, to - offset);
      else into.set(update.bytes.subarray(from - update.offset, to - update.offset), from - offset);
    }
    return count;
  }
}
