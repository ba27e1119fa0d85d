/** Which mebibytes of the file are taken, and by whom new ones are given out. */
import { MIB } from './protocol.ts';

export interface Allocation {
  readonly offset: number;
  /** Nobody has used it since the file had this size or less: it reads as zeroes. */
  readonly fresh: boolean;
}

export class Space {
  /** A bit for each MiB. */
  #used = new Uint8Array(1024);
  /** MiB up to which the file has been used, now or before. */
  #highest: number;
  /** Below this nothing is free. */
  #firstFree = 0;

  /** @param fileSize Bytes of the file: what it holds beyond what is marked is no zeroes, for all we know. */
  constructor(fileSize: number) {
    this.#highest = Math.ceil(fileSize / MIB);
  }

  /** @returns false when part of it was taken already. */
  mark(offset: number, length: number): boolean {
    const first = Math.floor(offset / MIB);
    const end = Math.ceil((offset + length) / MIB);
    let free = true;
    this.#reach(end);
    for (let unit = first; unit < end; unit++) {
      if (this.#isUsed(unit)) free = false;
      this.#used[unit >> 3]! |= 1 << (unit & 7);
    }
    if (end > this.#highest) this.#highest = end;
    return free;
  }

  release(offset: number, length: number): void {
    const first = offset / MIB;
    for (let unit = first; unit < first + length / MIB; unit++) this.#used[unit >> 3]! &= ~(1 << (unit & 7));
    this.#firstFree = Math.min(this.#firstFree, first);
  }

  allocate(length: number): Allocation {
    const units = length / MIB;
    let run = 0;
    let lowest = -1;
    for (let unit = this.#firstFree; unit < this.#highest; unit++) {
      if (this.#isUsed(unit)) {
        run = 0;
        continue;
      }
      if (lowest < 0) lowest = unit;
      if (++run === units) {
        const start = unit - units + 1;
        this.mark(start * MIB, length);
        this.#firstFree = lowest === start ? unit + 1 : lowest;
        return { offset: start * MIB, fresh: false };
      }
    }
    if (lowest < 0) this.#firstFree = this.#highest;
    const offset = this.#highest * MIB;
    this.mark(offset, length);
    return { offset, fresh: true };
  }

  /** Bytes up to the last that is taken. */
  get end(): number {
    let unit = Math.min(this.#highest, this.#used.length * 8) - 1;
    while (unit >= 0 && !this.#isUsed(unit)) unit--;
    return (unit + 1) * MIB;
  }

  get usedBytes(): number {
    let units = 0;
    for (let unit = 0; unit < this.#used.length * 8; unit++) if (this.#isUsed(unit)) units++;
    return units * MIB;
  }

  /** The file was cut to this size. */
  cut(fileSize: number): void {
    this.#highest = Math.ceil(fileSize / MIB);
    this.#firstFree = Math.min(this.#firstFree, this.#highest);
  }

  #isUsed(unit: number): boolean {
    return ((this.#used[unit >> 3] ?? 0) & (1 << (unit & 7))) !== 0;
  }

  #reach(units: number): void {
    const bytes = Math.ceil(units / 8);
    if (bytes <= this.#used.length) return;
    const larger = new Uint8Array(Math.max(bytes, this.#used.length * 2));
    larger.set(this.#used);
    this.#used = larger;
  }
}
