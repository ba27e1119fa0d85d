/**
 * The log of stores to guest RAM: which pages were written to since it was looked at the last time. It is made of the DIRTY
 * flags of the page map, which every writer sets (docs/decisions/0007), so it costs nothing while nobody looks.
 */
import { PAGE, ramBase } from '../hypervisor/memory/layout.ts';
import { Run } from '../hypervisor/vp/control.ts';
import { type Machine, machineMemorySize } from './machine.ts';

/** Pages of RAM, by their number in the shared memory from `ramBase` on. */
export class PageSet {
  readonly flags: Uint8Array;
  count = 0;

  constructor(pages: number) {
    this.flags = new Uint8Array(pages);
  }

  add(page: number): void {
    this.count += 1 - (this.flags[page] as number);
    this.flags[page] = 1;
  }

  has(page: number): boolean {
    return this.flags[page] === 1;
  }

  clear(): void {
    this.flags.fill(0);
    this.count = 0;
  }

  /** In order. */
  *[Symbol.iterator](): Generator<number> {
    for (let page = this.flags.indexOf(1); page >= 0; page = this.flags.indexOf(1, page + 1)) yield page;
  }
}

export class MemoryLog {
  readonly #machine: Machine;
  readonly #base: number;
  readonly pages: number;
  /** May hold something else than zeroes. */
  readonly touched: PageSet;

  constructor(machine: Machine) {
    const { config } = machine;
    this.#machine = machine;
    this.#base = ramBase(config.processors);
    this.pages = (machineMemorySize(config) - this.#base) / PAGE;
    this.touched = new PageSet(this.pages);
  }

  /** Where in the shared memory a page is. */
  host(page: number): number {
    return this.#base + page * PAGE;
  }

  /**
   * Adds to `into` what was stored to since the last time. Processors that run may go on storing unseen until `settled`: copy
   * after that, and take again.
   */
  take(into: PageSet): void {
    this.#machine.memory.takeStored((host) => {
      const page = (host - this.#base) / PAGE;
      this.touched.add(page);
      into.add(page);
    });
  }

  /**
   * Has every processor drop its write translations, so that its next store to any page is marked. Resolves when each has done so,
   * or stands still and will before it goes on. What it has stored before is in memory then.
   */
  async settled(): Promise<void> {
    const { processorControls, doorbell, control } = this.#machine;
    const tickets = processorControls.map((each, vp) => {
      const ticket = Atomics.add(each.flushWanted, 0, 1) + 1;
      doorbell.ring(vp);
      return ticket;
    });
    const standsStill = (vp: number): boolean =>
      Atomics.load(control.wanted, 0) !== Run.RUNNING && Atomics.load(processorControls[vp]!.state, 0) !== Run.RUNNING;
    for (const [vp, ticket] of tickets.entries())
      while (Atomics.load(processorControls[vp]!.flushDone, 0) - ticket < 0 && !standsStill(vp))
        await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Whether words [from, to) are zero. */
export function allZero(words: Int32Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (words[i] !== 0) return false;
  return true;
}
