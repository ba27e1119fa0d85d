/** What a partition's disks may move in a second, all of them together: who comes too early waits for his turn. */
import { TokenBucket } from '../vswitch/token-bucket.ts';

export class DiskRate {
  readonly #bucket: TokenBucket;
  readonly #now: () => number;
  /** Whoever came before. */
  #turn: Promise<void> = Promise.resolve();
  #waiting = 0;

  /** @param maximum bytes a second. @param now milliseconds. */
  constructor(maximum: number, now: () => number = () => performance.now()) {
    this.#now = now;
    this.#bucket = new TokenBucket(maximum * 8, now());
  }

  /** Takes what may go at once; false: it has to wait. */
  take(bytes: number): boolean {
    if (this.#waiting > 0 || !this.#bucket.open(this.#now())) return false;
    this.#bucket.take(bytes);
    return true;
  }

  /** Resolves when so many bytes may go, one request after the other. */
  async wait(bytes: number): Promise<void> {
    if (this.take(bytes)) return;
    this.#waiting++;
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    await before;
    while (!this.#bucket.open(this.#now())) await new Promise((done) => setTimeout(done, this.#bucket.wait));
    this.#bucket.take(bytes);
    this.#waiting--;
    resolve();
  }
}
