/**
 * Looking for work a little longer before going to sleep ("halt polling"). Waking a thread on another core costs whoever wakes
 * it some 20 µs, and takes longer than most answers between a guest and its devices. Whether it is worth while shows by
 * itself: only who was woken soon after having had work looks on the next time, and nobody does where others want the core.
 */

/** Milliseconds between two looks: somebody else needed the core, where nothing is done between them. */
const HELD_UP = 0.2;
/** Milliseconds for which it is left to them then. */
const PENALTY = 30;

export class Patience {
  readonly #longest: number;
  readonly #heldUp: number;
  #patient = false;
  #worked = 0;
  #looked = 0;
  #wanted = Number.NEGATIVE_INFINITY;

  /**
   * @param longest milliseconds to look for work; 0: never.
   * @param heldUp milliseconds between two looks that show that somebody else needed the core.
   */
  constructor(longest: number, heldUp: number = HELD_UP) {
    this.#longest = longest;
    this.#heldUp = heldUp;
  }

  /** There was work until now. */
  worked(now: number): void {
    this.#worked = now;
    this.#looked = now;
  }

  /** Work has come, after a sleep or without one. */
  found(now: number): void {
    this.#patient = now - this.#worked < this.#longest && now - this.#wanted > PENALTY;
    this.worked(now);
  }

  /** Whether to look again rather than to sleep. */
  lasts(now: number): boolean {
    if (!this.#patient) return false;
    if (now - this.#looked > this.#heldUp) {
      this.#patient = false;
      this.#wanted = now;
    }
    this.#looked = now;
    return this.#patient && now - this.#worked < this.#longest;
  }
}
