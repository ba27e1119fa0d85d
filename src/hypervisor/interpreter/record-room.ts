/** Room for records, in a part of the partition's memory that is filled from its beginning; then what was dropped is used again. */
import { RECORD } from './record.ts';

/** Addresses [from, to). */
export interface Stretch {
  readonly from: number;
  readonly to: number;
}

/** Room that is worth being used: for the records of most blocks. Longer ones are cut. */
const LEAST = 24 * RECORD;
/** For what comes after the last instruction of a block, and in front of the first. */
const ENDS = 3 * RECORD;

export class RecordRoom {
  readonly #all: Stretch;
  readonly #reused: () => void;
  /** There is room from here to there, then what is in `#room`. */
  next: number;
  #limit: number;
  #room: Stretch[] = [];
  /** Records of blocks that were dropped; the jump cache and translations under way may still know them. */
  #retired: Stretch[] = [];
  #retiredBytes = 0;

  /** `reused` is told before records are used again: what was said of records until then is void. */
  constructor(from: number, to: number, reused: () => void) {
    this.#all = { from, to };
    this.#reused = reused;
    this.next = from;
    this.#limit = to;
  }

  /** The last address at which another instruction of the block at `next` may be recorded. */
  get last(): number {
    return this.#limit - ENDS;
  }

  /** Whether there is room for the records of another block at `next`, after making some where much has been dropped. */
  make(): boolean {
    if (this.next + LEAST <= this.#limit) return true;
    this.retire(this.next, this.#limit);
    if (this.#room.length === 0 && this.#retiredBytes > (this.#all.to - this.#all.from) / 8) this.#recycle();
    const stretch = this.#room.pop();
    this.next = stretch?.from ?? this.#limit;
    this.#limit = stretch?.to ?? this.#limit;
    return stretch !== undefined;
  }

  /** Records that nobody is to find any more. */
  retire(from: number, to: number): void {
    if (from === to) return;
    this.#retired.push({ from, to });
    this.#retiredBytes += to - from;
  }

  /**
   * Makes room of all that is retired, the lowest first, and tells what is not in use. For times at which there is nothing else to do.
   */
  collect(free: (stretch: Stretch) => void): void {
    this.retire(this.next, this.#limit);
    for (const stretch of this.#room) this.retire(stretch.from, stretch.to);
    this.#room = [];
    this.next = this.#limit = this.#all.from;
    this.#recycle();
    for (const stretch of this.#room) free(stretch);
  }

  /** Nothing is in use. */
  clear(): void {
    this.next = this.#all.from;
    this.#limit = this.#all.to;
    this.#room = [];
    this.#retired = [];
    this.#retiredBytes = 0;
  }

  /** Makes room of retired records, as far as they stand together. */
  #recycle(): void {
    this.#reused();
    const sorted = this.#retired.sort((a, b) => a.from - b.from);
    this.#retired = [];
    this.#retiredBytes = 0;
    let first: Stretch | undefined = sorted[0];
    for (const next of [...sorted.slice(1), undefined]) {
      if (first && next?.from === first.to) {
        first = { from: first.from, to: next.to };
        continue;
      }
      if (first && first.to - first.from >= LEAST) this.#room.push(first);
      else if (first) this.retire(first.from, first.to);
      first = next;
    }
    // The lowest is used first: nobody may ever have written beyond.
    this.#room.reverse();
  }
}
