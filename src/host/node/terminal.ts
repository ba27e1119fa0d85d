/**
 * The user's terminal in raw mode: every key is a byte for the guest, signals and line editing included. The window
 * (screen, size, title) is not touched. Given back however the process ends, short of SIGKILL.
 */
import type { ReadStream } from 'node:tty';

export class RawTerminal {
  readonly #input: ReadStream;
  #raw = true;
  readonly #atExit = (): void => this.restore();
  // After Ctrl-Z from outside (kill -STOP) and `fg` the shell has set its own mode.
  readonly #atContinue = (): void => {
    this.#input.setRawMode(false);
    this.#input.setRawMode(true);
  };

  constructor(input: ReadStream) {
    this.#input = input;
    input.setRawMode(true);
    // 'exit' comes after uncaught exceptions and process.exit too.
    process.on('exit', this.#atExit);
    process.on('SIGCONT', this.#atContinue);
  }

  restore(): void {
    if (!this.#raw) return;
    this.#raw = false;
    process.off('exit', this.#atExit);
    process.off('SIGCONT', this.#atContinue);
    this.#input.setRawMode(false);
  }
}
