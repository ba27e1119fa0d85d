/**
 * How much memory a guest is to have, by what its driver reports every second: what it needs and a part more. More at once;
 * less when it has had much too much for a while, so that what comes and goes does not move memory back and forth.
 */

/** Of what the guest needs, in hundredths: Hyper-V's default. */
const BUFFER = 20;
/** 2 MiB of pages: what guests give back whole. */
const STEP = 512;
/** Less than this part too much is left alone. */
const SLACK = 16;
/** Reports in a row. */
const PATIENCE = 3;

export interface MemoryRange {
  /** Pages. */
  readonly minimum: number;
  readonly maximum: number;
}

export class Pressure {
  readonly #range: MemoryRange;
  #calm = 0;

  constructor(range: MemoryRange) {
    this.#range = range;
  }

  /** The target after a report. @param demand pages that the guest needs. @param target what it was to have before. */
  next(demand: number, target: number): number {
    const { minimum, maximum } = this.#range;
    const wanted = Math.ceil((demand * (100 + BUFFER)) / 100 / STEP) * STEP;
    const fair = Math.min(maximum, Math.max(minimum, wanted));
    if (target - fair <= target / SLACK && fair <= target) this.#calm = 0;
    else if (fair > target) {
      this.#calm = 0;
      return fair;
    } else if (++this.#calm >= PATIENCE) {
      this.#calm = 0;
      return fair;
    }
    return target;
  }

  reset(): void {
    this.#calm = 0;
  }
}
