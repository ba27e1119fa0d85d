/** COM1 of a partition as the parent has it: what the guest writes is taken as it comes, what it is sent goes in as it has room. */
import type { Machine } from './machine.ts';

/** Milliseconds between two looks at a console that is being written to. */
const EVERY = 2;
/** Milliseconds after which waiting input is tried again: that there is room is only a hint. */
const TRY_AGAIN = 20;

export class PartitionConsole {
  readonly #machine: Pick<Machine, 'console' | 'com1' | 'lock'>;
  onData: ((bytes: Uint8Array) => void) | undefined;
  readonly #input: Uint8Array[] = [];
  readonly #inputDone: (() => void)[] = [];
  #trying: ReturnType<typeof setTimeout> | undefined;
  #following: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  constructor(machine: Pick<Machine, 'console' | 'com1' | 'lock'>) {
    this.#machine = machine;
  }

  /** Takes what is there. True when there was something. */
  drain(): boolean {
    for (let any = false; ; any = true) {
      const bytes = this.#ended ? undefined : this.#machine.console.take();
      if (!bytes) return any;
      this.onData?.(bytes);
    }
  }

  /** The guest has written. */
  written(): void {
    this.drain();
    this.#follow();
  }

  /** Where a byte has come more do, one by one: until they end they are looked for, which costs the processor no announcement of each. */
  #follow(): void {
    if (this.#ended) return;
    this.#following ??= setTimeout(() => {
      this.#following = undefined;
      if (this.drain()) this.#follow();
      else {
        this.#machine.console.rest();
        // What came before a processor could see that.
        if (this.drain()) this.#follow();
      }
    }, EVERY);
  }

  /** Resolves when the guest's port has taken all of it, or the partition has ended. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#ended) return Promise.resolve();
    this.#input.push(bytes.slice());
    const done = new Promise<void>((resolve) => this.#inputDone.push(resolve));
    this.pump();
    return done;
  }

  /** Runs `body` with the platform's lock. The processor that holds it may be waiting for the console to be taken. */
  withLock<T>(body: () => T): T {
    const { lock } = this.#machine;
    while (!lock.acquireWithin(1)) this.drain();
    try {
      return body();
    } finally {
      lock.release();
    }
  }

  /** Hands waiting input to the UART as far as it has room. */
  pump(): void {
    if (this.#ended || this.#input.length === 0) return;
    const { com1 } = this.#machine;
    this.withLock(() => {
      while (this.#input.length > 0 && com1.rxSpace() > 0) {
        const first = this.#input[0] as Uint8Array;
        const accepted = com1.receive(first);
        if (accepted === first.length) this.#input.shift();
        else this.#input[0] = first.subarray(accepted);
        if (accepted === 0) break;
      }
    });
    if (this.#input.length === 0) for (const done of this.#inputDone.splice(0)) done();
    else {
      clearTimeout(this.#trying);
      this.#trying = setTimeout(() => this.pump(), TRY_AGAIN);
    }
  }

  end(): void {
    this.drain();
    this.#ended = true;
    clearTimeout(this.#trying);
    clearTimeout(this.#following);
    for (const done of this.#inputDone.splice(0)) done();
  }
}
