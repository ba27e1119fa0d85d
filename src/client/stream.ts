/** A WebSocket as an async iterator of messages. */
import type { WebSocket } from 'ws';

/** Bytes that wait here before the sender is held up. */
const MOST_WAITING = 4 * 2 ** 20;

export class Stream implements AsyncDisposable {
  readonly #socket: WebSocket;
  readonly #waiting: Buffer[] = [];
  #bytes = 0;
  #wake: (() => void) | undefined;
  #closed: { readonly code: number; readonly reason: string } | undefined;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data) => {
      const bytes = Buffer.isBuffer(data) ? data : Buffer.concat(Array.isArray(data) ? data : [Buffer.from(data)]);
      this.#waiting.push(bytes);
      this.#bytes += bytes.length;
      if (this.#bytes > MOST_WAITING) socket.pause();
      this.#wake?.();
    });
    socket.on('close', (code, reason) => {
      this.#closed = { code, reason: reason.toString('utf8') };
      this.#wake?.();
    });
    socket.resume();
  }

  /** Why it ended; undefined while it has not. */
  get closed(): { readonly code: number; readonly reason: string } | undefined {
    return this.#closed;
  }

  write(data: string | Uint8Array): void {
    this.#socket.send(typeof data === 'string' ? Buffer.from(data) : data);
  }

  /** A text message, for streams that know such. */
  send(message: object): void {
    this.#socket.send(JSON.stringify(message));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const next = this.#waiting.shift();
        if (next !== undefined) {
          this.#bytes -= next.length;
          if (this.#socket.isPaused && this.#bytes < MOST_WAITING / 2) this.#socket.resume();
          yield next;
        } else if (this.#closed !== undefined) return;
        else {
          const { promise, resolve } = Promise.withResolvers<void>();
          this.#wake = resolve;
          await promise;
        }
      }
    } finally {
      this.#socket.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    return Promise.resolve();
  }
}
