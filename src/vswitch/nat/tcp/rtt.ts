/** The retransmission timer's length: RFC 6298. Milliseconds. */

/** Linux's. RFC 6298 asks for a second; between two ends in one machine that would be an age. */
const LEAST = 200;
const MOST = 30_000;
const FIRST = 1000;

export class Rtt {
  smoothed = 0;
  #variation = 0;
  timeout = FIRST;

  sample(milliseconds: number): void {
    if (this.smoothed === 0) {
      this.smoothed = milliseconds;
      this.#variation = milliseconds / 2;
    } else {
      this.#variation += (Math.abs(this.smoothed - milliseconds) - this.#variation) / 4;
      this.smoothed += (milliseconds - this.smoothed) / 8;
    }
    this.timeout = Math.min(MOST, Math.max(LEAST, this.smoothed + 4 * this.#variation));
  }

  backOff(): void {
    this.timeout = Math.min(MOST, this.timeout * 2);
  }
}
