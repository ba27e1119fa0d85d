/** A buffer that the guest shares, as bytes one behind the other: the first range of a GPADL. */
import type { Gpadl } from './gpadl.ts';
import { PAGE_SIZE } from './protocol.ts';
import type { RingMemory } from './ring.ts';

export class GpadlMemory {
  readonly gpadl: Gpadl;
  readonly #memory: Pick<RingMemory, 'readInto' | 'write'>;
  readonly #pages: Uint32Array;
  readonly #first: number;
  readonly size: number;

  constructor(memory: Pick<RingMemory, 'readInto' | 'write'>, gpadl: Gpadl) {
    this.gpadl = gpadl;
    this.#memory = memory;
    const range = gpadl.ranges[0];
    this.#pages = range?.pages ?? new Uint32Array();
    this.#first = range?.byteOffset ?? 0;
    this.size = range?.byteCount ?? 0;
  }

  /** @throws RangeError when the range is not in the buffer. */
  readInto(at: number, into: Uint8Array): void {
    this.#each(at, into.length, (gpa, done, count) => {
      this.#memory.readInto(gpa, into.subarray(done, done + count));
    });
  }

  /** @throws RangeError when the range is not in the buffer. */
  write(at: number, bytes: Uint8Array): void {
    this.#each(at, bytes.length, (gpa, done, count) => {
      this.#memory.write(gpa, bytes.subarray(done, done + count));
    });
  }

  #each(at: number, length: number, body: (gpa: number, done: number, count: number) => void): void {
    if (!(at >= 0 && length >= 0 && at + length <= this.size)) throw new RangeError(`no byte ${at} + ${length}`);
    for (let done = 0; done < length; ) {
      const offset = this.#first + at + done;
      const count = Math.min(length - done, PAGE_SIZE - (offset % PAGE_SIZE));
      body((this.#pages[Math.floor(offset / PAGE_SIZE)] as number) * PAGE_SIZE + (offset % PAGE_SIZE), done, count);
      done += count;
    }
  }
}
