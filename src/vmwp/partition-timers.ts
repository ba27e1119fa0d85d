/** Timers of the parent's devices: they run while the partition runs, and stand still while it does. */
import type { Timers } from '../vmbus/ports.ts';

interface Timer {
  /** What was left when the partition was last started. */
  left: number;
  readonly callback: () => void;
  handle: ReturnType<typeof setTimeout> | undefined;
}

export class PartitionTimers implements Timers {
  readonly #now: () => number;
  readonly #timers = new Set<Timer>();
  #started: number | undefined;

  /** @param now monotonic milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const elapsed = this.#started === undefined ? 0 : this.#now() - this.#started;
    const timer: Timer = { left: milliseconds + elapsed, callback, handle: undefined };
    this.#timers.add(timer);
    this.#arm(timer, elapsed);
    return () => {
      clearTimeout(timer.handle);
      this.#timers.delete(timer);
    };
  }

  #arm(timer: Timer, elapsed: number): void {
    if (this.#started === undefined) return;
    timer.handle = setTimeout(
      () => {
        this.#timers.delete(timer);
        timer.callback();
      },
      Math.max(0, timer.left - elapsed),
    );
  }

  start(): void {
    if (this.#started !== undefined) return;
    this.#started = this.#now();
    for (const timer of this.#timers) this.#arm(timer, 0);
  }

  stop(): void {
    if (this.#started === undefined) return;
    const elapsed = this.#now() - this.#started;
    this.#started = undefined;
    for (const timer of this.#timers) {
      clearTimeout(timer.handle);
      timer.left = Math.max(0, timer.left - elapsed);
    }
  }

  clear(): void {
    for (const timer of this.#timers) clearTimeout(timer.handle);
    this.#timers.clear();
  }
}
