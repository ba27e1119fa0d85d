/** A connection to a worker process: requests with their answers, and what it tells unasked. */
import { connect, type Socket } from 'node:net';
import { ViridianError } from '../contracts/errors.ts';
import type { FromWorker, WorkerEvent, WorkerMethod, WorkerMethods } from '../contracts/worker.ts';
import { JsonLines } from '../host/node/json-lines.ts';

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
  readonly timer: NodeJS.Timeout | undefined;
}

export class WorkerLink {
  readonly closed: Promise<void>;
  readonly #lines: JsonLines;
  readonly #waiting = new Map<number, Waiting>();
  #onEvent: (event: WorkerEvent) => void;
  #onRelease: (() => void) | undefined;
  #next = 1;
  #open = true;

  private constructor(
    lines: (link: WorkerLink, closed: () => void) => JsonLines,
    onEvent: (event: WorkerEvent) => void,
  ) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#onEvent = onEvent;
    this.#lines = lines(this, resolve);
  }

  /** Rejects when nobody listens there. */
  static async open(socketPath: string, onEvent: (event: WorkerEvent) => void = () => {}): Promise<WorkerLink> {
    const socket = connect(socketPath);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new WorkerLink(
      (link, closed) =>
        new JsonLines(
          socket,
          (message) => link.#take(message as FromWorker),
          () => {
            link.#close();
            closed();
          },
        ),
      onEvent,
    );
  }

  #take(message: FromWorker): void {
    if ('event' in message) {
      this.#onEvent(message);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.error) waiting.reject(new ViridianError(message.error.code, message.error.message));
    else {
      this.#onRelease?.();
      waiting.resolve(message.result);
    }
  }

  #close(): void {
    this.#open = false;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new ViridianError('failure', 'the worker process has ended'));
    }
    this.#waiting.clear();
  }

  /** @param seconds How long an answer may take; 0: as long as it takes. */
  async request<M extends WorkerMethod>(
    method: M,
    params: WorkerMethods[M]['params'],
    seconds = 30,
  ): Promise<WorkerMethods[M]['result']> {
    if (!this.#open) throw new ViridianError('failure', 'the worker process has ended');
    const id = this.#next++;
    const { promise, resolve, reject } = Promise.withResolvers<WorkerMethods[M]['result']>();
    const timer =
      seconds === 0
        ? undefined
        : setTimeout(() => {
            this.#waiting.delete(id);
            reject(new ViridianError('timeout', `the worker process did not answer '${method}' within ${seconds} s`));
          }, seconds * 1000);
    this.#waiting.set(id, { resolve, reject, timer });
    this.#lines.send({ id, method, params });
    return await promise;
  }

  /**
   * A stream to a program in the guest, over a connection of its own. The socket is paused, and may be half-closed.
   * @param timeout milliseconds
   */
  static async connectGuest(socketPath: string, port: number, timeout: number): Promise<Socket> {
    const link = await WorkerLink.open(socketPath).catch((error: unknown) => {
      throw new ViridianError('wrongState', 'the virtual machine has just ended', { cause: error });
    });
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    // Where the answer is taken, at once: the stream's bytes may be right behind it.
    link.#onRelease = () => resolve(link.#lines.release());
    link.request('connectGuest', { port, timeout }, 0).catch((error: unknown) => {
      link.destroy();
      reject(error instanceof Error ? error : new Error(String(error)));
    });
    return await promise;
  }

  destroy(): void {
    this.#lines.destroy();
  }
}
