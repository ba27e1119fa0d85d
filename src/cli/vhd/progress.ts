/** How far a long command is: a bar on a terminal, now and then a line elsewhere. All of it on stderr. */
import { EXIT } from '../../contracts/exit-codes.ts';

/** The user wants no more of it. What was half done is undone before the command ends. */
export class Interrupted extends Error {
  readonly exitCode = EXIT.interrupted;
}

export interface ProgressOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** A bar is drawn at most this often. */
const REDRAW = 80;
/** Without a terminal: a line when a quarter is done, but none for what is quick. */
const QUIET = 2000;

export class ProgressBar {
  readonly #title: string;
  readonly #output: ProgressOutput;
  readonly #now: () => number;
  readonly #start: number;
  #drawn = Number.NEGATIVE_INFINITY;
  #shown = false;
  #quarters = 0;
  #interrupted = false;
  readonly #interrupt = (): void => {
    this.#interrupted = true;
  };

  constructor(title: string, output: ProgressOutput = process.stderr, now: () => number = () => performance.now()) {
    this.#title = title;
    this.#output = output;
    this.#now = now;
    this.#start = now();
    process.on('SIGINT', this.#interrupt);
  }

  /** To be called as work goes on. @throws Interrupted after Ctrl-C */
  readonly update = (done: number, all: number): void => {
    if (this.#interrupted) throw new Interrupted('interrupted');
    this.draw(all === 0 ? 1 : Math.min(1, done / all));
  };

  /** Shows how far it is, from 0 to 1. */
  draw(fraction: number): void {
    const time = this.#now();
    if (this.#output.isTTY === true) {
      if (time - this.#drawn < REDRAW && fraction < 1) return;
      this.#drawn = time;
      this.#shown = true;
      this.#output.write(`\r\x1b[K${this.#line(fraction, time)}`);
      return;
    }
    const quarters = Math.floor(fraction * 4);
    if (quarters <= this.#quarters) return;
    this.#quarters = quarters;
    if (time - this.#start > QUIET && quarters < 4) this.#output.write(`${this.#title}: ${quarters * 25} %\n`);
  }

  #line(fraction: number, time: number): string {
    const percent = `${Math.floor(fraction * 100)} %`.padStart(5);
    const seconds = (time - this.#start) / 1000;
    const left = fraction > 0.02 && seconds > 1 ? ` ${duration((seconds / fraction) * (1 - fraction))} left` : '';
    const width = Math.max(0, Math.min(40, (this.#output.columns ?? 80) - this.#title.length - percent.length - 16));
    const full = Math.round(width * fraction);
    return `${this.#title} [${'#'.repeat(full)}${'.'.repeat(width - full)}]${percent}${left}`;
  }

  /** Takes the bar away. */
  stop(): void {
    process.off('SIGINT', this.#interrupt);
    if (this.#shown) this.#output.write('\r\x1b[K');
    this.#shown = false;
  }
}

function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
