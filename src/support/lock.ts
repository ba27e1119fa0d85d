/**
 * A mutual exclusion lock in one 32-bit word of shared memory: 0 free, 1 held, 2 held with waiters.
 * Held for microseconds around platform state that several virtual processors and the parent touch.
 */
const SPINS = 200;

export class Lock {
  readonly #words: Int32Array;
  readonly #index: number;

  /** @param words a shared Int32Array; `index` the lock's word in it, zero when free. */
  constructor(words: Int32Array, index: number) {
    this.#words = words;
    this.#index = index;
  }

  acquire(): void {
    for (let spin = 0; spin < SPINS; spin++) if (Atomics.compareExchange(this.#words, this.#index, 0, 1) === 0) return;
    while (Atomics.exchange(this.#words, this.#index, 2) !== 0) Atomics.wait(this.#words, this.#index, 2);
  }

  /** True when the lock is now held. */
  tryAcquire(): boolean {
    return Atomics.compareExchange(this.#words, this.#index, 0, 1) === 0;
  }

  /** True when the lock is now held. Gives up after about so many milliseconds; the holder runs meanwhile. */
  acquireWithin(milliseconds: number): boolean {
    for (let spin = 0; spin < SPINS; spin++) if (this.tryAcquire()) return true;
    if (Atomics.exchange(this.#words, this.#index, 2) === 0) return true;
    Atomics.wait(this.#words, this.#index, 2, milliseconds);
    return Atomics.exchange(this.#words, this.#index, 2) === 0;
  }

  release(): void {
    if (Atomics.exchange(this.#words, this.#index, 0) === 2) Atomics.notify(this.#words, this.#index, 1);
  }

  /** Runs `body` with the lock held. Not reentrant. */
  with<T>(body: () => T): T {
    this.acquire();
    try {
      return body();
    } finally {
      this.release();
    }
  }
}
