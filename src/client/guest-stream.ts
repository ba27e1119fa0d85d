/** A stream to a program in a guest, over a WebSocket of the service's (vmms/api/streams.ts says what its messages are). */
import type { RawData, WebSocket } from 'ws';
import { type ErrorCode, ViridianError } from '../contracts/errors.ts';
import type { GuestStream } from '../contracts/sockets.ts';

/** Bytes that wait here before the sender is held up. */
const MOST_WAITING = 2 ** 20;

/** @param socket paused. @throws ViridianError when nobody in the guest takes the connection */
export async function openGuestStream(socket: WebSocket, port: number): Promise<GuestStream> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once('message', (data: Buffer) => {
    const { error } = JSON.parse(data.toString('utf8')) as { error?: { code: ErrorCode; message: string } };
    if (error) reject(new ViridianError(error.code, error.message));
    else resolve();
  });
  const closed = (_code: number, reason: Buffer): void =>
    reject(new ViridianError('failure', reason.toString('utf8') || 'the service has closed the connection'));
  socket.once('close', closed);
  // What comes right behind the first message is taken by the stream.
  const stream = new SocketStream(socket, port);
  socket.resume();
  try {
    await promise;
    return stream;
  } catch (error) {
    socket.close();
    throw error;
  } finally {
    socket.off('close', closed);
  }
}

class SocketStream implements GuestStream {
  readonly port: number;
  readonly closed: Promise<'ended' | 'cut'>;
  readonly #socket: WebSocket;
  readonly #waiting: Uint8Array[] = [];
  #bytes = 0;
  #guestEnded = false;
  #hostEnded = false;
  #gone = false;
  #wake: (() => void) | undefined;

  constructor(socket: WebSocket, port: number) {
    this.#socket = socket;
    this.port = port;
    const { promise, resolve } = Promise.withResolvers<'ended' | 'cut'>();
    this.closed = promise;
    let first = true;
    socket.on('message', (data: RawData, binary: boolean) => {
      if (binary) this.#take(data as Buffer);
      else if (!first) this.#guestEnded = true;
      first = false;
      this.#wake?.();
    });
    socket.on('close', () => {
      this.#gone = true;
      resolve(this.#guestEnded && this.#hostEnded ? 'ended' : 'cut');
      this.#wake?.();
    });
  }

  #take(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes > MOST_WAITING) this.#socket.pause();
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) {
        this.#bytes -= next.length;
        if (this.#socket.isPaused && this.#bytes < MOST_WAITING / 2) this.#socket.resume();
        return next;
      }
      if (this.#guestEnded || this.#gone) return undefined;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#socket.send(bytes, { binary: true }, (error) => {
      if (error) reject(new ViridianError('wrongState', 'the connection to the guest has ended', { cause: error }));
      else resolve();
    });
    await promise;
  }

  end(): void {
    if (this.#hostEnded || this.#gone) return;
    this.#hostEnded = true;
    this.#socket.send('{"end":true}', () => undefined);
  }

  destroy(): void {
    this.#socket.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (let bytes = await this.read(); bytes; bytes = await this.read()) yield bytes;
  }
}
