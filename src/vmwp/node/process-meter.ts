/** How much processor time this process takes, over the last seconds. */

const PERIOD = 2000;

export class ProcessMeter {
  #usage = process.cpuUsage();
  #time = performance.now();
  #percent = 0;
  readonly #timer: NodeJS.Timeout;

  constructor() {
    this.#timer = setInterval(() => this.#sample(), PERIOD);
    this.#timer.unref();
  }

  /** Of one processor: two that are busy are 200. */
  get percent(): number {
    return this.#percent;
  }

  #sample(): void {
    const now = performance.now();
    const { user, system } = process.cpuUsage(this.#usage);
    this.#percent = Math.round(((user + system) / (now - this.#time) / 10) * 10) / 10;
    this.#usage = process.cpuUsage();
    this.#time = now;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
