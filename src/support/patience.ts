/**
 * Looking for work a little longer before going to sleep ("halt polling"). Waking a thread on another core costs whoever wakes
 * it some 20 µs, and takes longer than most answers between a guest and its devices. Whether it is worth while shows by
 * itself: only who was woken soon after having had work looks on the next time.
 */

/** Between two looks: somebody else needed the core, milliseconds. */
const HELD_UP = 0.2;

export class Patience {
  readonly #longest: number;
  #patient = false;
  #worked = 0;
  #looked = 0;

  /** @param longest milliseconds to look for work; 0: never. */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** There was work until now. */
  worked(now: number): void {
    this.#worked = now;
    this.#looked = now;
  }

  /** Work has come, after a sleep or without one. */
  found(now: number): void {
    this.#patient = now - this.#worked < this.#longest;
    this.worked(now);
  }

  /** Whether to look again rather than to sleep. */
  lasts(now: number): boolean {
    if (now - this.#looked > HELD_UP) this.#patient = false;
    this.#looked = now;
    return this.#patient && now - this.#worked < this.#longest;
  }
}
