/** A limit in bytes per second that lets short bursts through. */
export class TokenBucket {
  readonly #rate: number;
  readonly #burst: number;
  #tokens: number;
  #since: number;

  /** @param bitsPerSecond as Hyper-V counts bandwidth. @param now milliseconds. */
  constructor(bitsPerSecond: number, now: number) {
    this.#rate = bitsPerSecond / 8000;
    // 50 ms of it, and one frame of any size at least.
    this.#burst = Math.max(0x1_0000, this.#rate * 50);
    this.#tokens = this.#burst;
    this.#since = now;
  }

  /** Whether something may pass now. A frame that is larger than what is left passes, and is owed. */
  open(now: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#since) * this.#rate);
    this.#since = now;
    return this.#tokens > 0;
  }

  take(bytes: number): void {
    this.#tokens -= bytes;
  }

  /** Milliseconds until something may pass. */
  get wait(): number {
    return Math.max(1, Math.ceil(-this.#tokens / this.#rate));
  }
}
