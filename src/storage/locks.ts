/**
 * Locks between requests in one thread: shared by many or exclusive to one, first come first served. Taking a free lock
 * is synchronous, so that the common request does not wait for a promise.
 */

interface Waiting {
  readonly exclusive: boolean;
  readonly go: () => void;
}

export class SharedLock {
  /** Holders; -1 for an exclusive one. */
  #held = 0;
  #waiting: Waiting[] = [];

  get idle(): boolean {
    return this.#held === 0 && this.#waiting.length === 0;
  }

  /** Whether `share` would take it at once. */
  get shareable(): boolean {
    return this.#held >= 0 && this.#waiting.length === 0;
  }

  /** Undefined when the lock is taken already. */
  share(): Promise<void> | undefined {
    if (this.shareable) {
      this.#held++;
      return undefined;
    }
    return this.#wait(false);
  }

  exclude(): Promise<void> | undefined {
    if (this.idle) {
      this.#held = -1;
      return undefined;
    }
    return this.#wait(true);
  }

  release(): void {
    this.#held = this.#held < 0 ? 0 : this.#held - 1;
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || (next.exclusive ? this.#held !== 0 : this.#held < 0)) return;
      this.#waiting.shift();
      this.#held = next.exclusive ? -1 : this.#held + 1;
      next.go();
    }
  }

  #wait(exclusive: boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ exclusive, go: resolve });
    return promise;
  }
}

/** A lock for each number, made when it is needed. */
export class KeyedLocks {
  readonly #locks = new Map<number, SharedLock>();

  share(key: number): Promise<void> | undefined {
    return this.#of(key).share();
  }

  exclude(key: number): Promise<void> | undefined {
    return this.#of(key).exclude();
  }

  release(key: number): void {
    const lock = this.#locks.get(key)!;
    lock.release();
    if (lock.idle) this.#locks.delete(key);
  }

  shareable(key: number): boolean {
    return this.#locks.get(key)?.shareable ?? true;
  }

  get size(): number {
    return this.#locks.size;
  }

  #of(key: number): SharedLock {
    let lock = this.#locks.get(key);
    if (lock === undefined) this.#locks.set(key, (lock = new SharedLock()));
    return lock;
  }
}

/** One after the other, in the order of the calls; a failure is its caller's alone. */
export class Queue {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}
