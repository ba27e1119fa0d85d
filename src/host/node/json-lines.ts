/**
 * JSON lines over a stream socket: one message a line, both ways. A peer that sends a line without end, or does not take
 * what it is sent, is cut off: its memory must not become ours.
 */
import type { Socket } from 'node:net';

/** Bytes. A copied file travels by its name, so lines are short; a screenshot is the longest. */
const LONGEST_LINE = 32 * 2 ** 20;
const MOST_UNSENT = 32 * 2 ** 20;
const NEWLINE = 0x0a;

export class JsonLines {
  readonly #socket: Socket;
  readonly #leave: () => void;
  #pieces: Buffer[] = [];
  #length = 0;
  #released = false;

  constructor(socket: Socket, onMessage: (message: unknown) => void, onClose: (error: Error | undefined) => void) {
    this.#socket = socket;
    let failure: Error | undefined;
    const data = (bytes: Buffer): void => {
      try {
        this.#take(bytes, onMessage);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : new Error(String(error)));
      }
    };
    const close = (): void => {
      onClose(failure);
    };
    socket.on('data', data);
    socket.on('close', close);
    // Stays: an error that nobody hears would end the process.
    socket.on('error', (error) => {
      failure = error;
    });
    this.#leave = () => {
      socket.off('data', data);
      socket.off('close', close);
    };
  }

  /**
   * The socket, for something else than messages from now on: what the peer sends next, half-closing included, is the taker's.
   * It is paused.
   */
  release(): Socket {
    this.#released = true;
    this.#leave();
    this.#socket.pause();
    this.#socket.allowHalfOpen = true;
    return this.#socket;
  }

  #take(bytes: Buffer, onMessage: (message: unknown) => void): void {
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, start);
      if (end < 0) break;
      const line = Buffer.concat([...this.#pieces.splice(0), bytes.subarray(start, end)]).toString('utf8');
      this.#length = 0;
      start = end + 1;
      if (line !== '') onMessage(JSON.parse(line));
      if (this.#released) {
        if (start < bytes.length) this.#socket.unshift(bytes.subarray(start));
        return;
      }
    }
    if (start === bytes.length) return;
    this.#pieces.push(bytes.subarray(start));
    this.#length += bytes.length - start;
    if (this.#length > LONGEST_LINE) throw new Error('a line without end');
  }

  send(message: unknown): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    this.#socket.write(`${JSON.stringify(message)}\n`);
    if (this.#socket.writableLength > MOST_UNSENT)
      this.#socket.destroy(new Error('the peer does not take its messages'));
  }

  /** Bytes that the peer has not taken. */
  get unsent(): number {
    return this.#socket.writableLength;
  }

  /** Sends what waits, then closes. */
  end(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#socket.destroyed) resolve();
    else this.#socket.end(resolve);
    return promise;
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
