/** COM1's bytes on their way from the processor that wrote them to the parent: a ring in shared memory, one reader. */
import { array, struct, type View } from '../support/struct.ts';

const SIZE = 65536;

export const consoleRing = struct('console-ring', 1, {
  head: array('i32', 1),
  tail: array('i32', 1),
  /** 1 while the reader knows that there is something to take, or looks by itself. */
  announced: array('i32', 1),
  bytes: array('u8', SIZE),
});

export class ByteRing {
  readonly #state: View<typeof consoleRing.fields>;
  readonly #announce: () => void;

  constructor(state: View<typeof consoleRing.fields>, announce: () => void) {
    this.#state = state;
    this.#announce = announce;
  }

  /** Adds a byte; waits while the ring is full, for the reader takes without needing anything from the writer. */
  push(byte: number): void {
    const { head, tail, announced, bytes } = this.#state;
    const at = Atomics.load(tail, 0);
    const next = (at + 1) % SIZE;
    for (;;) {
      const first = Atomics.load(head, 0);
      if (next !== first) break;
      Atomics.wait(head, 0, first, 100);
    }
    bytes[at] = byte;
    Atomics.store(tail, 0, next);
    if (Atomics.exchange(announced, 0, 1) === 0) this.#announce();
  }

  /** From here on the next byte is announced; those that came before are to be taken after this. */
  rest(): void {
    Atomics.store(this.#state.announced, 0, 0);
  }

  /** Takes what is there; undefined when that is nothing. */
  take(): Uint8Array | undefined {
    const { head, tail, bytes } = this.#state;
    const first = Atomics.load(head, 0);
    const last = Atomics.load(tail, 0);
    if (first === last) return undefined;
    const taken =
      first < last ? bytes.slice(first, last) : Uint8Array.from([...bytes.subarray(first), ...bytes.subarray(0, last)]);
    Atomics.store(head, 0, last);
    Atomics.notify(head, 0);
    return taken;
  }
}
