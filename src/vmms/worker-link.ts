/** Connections to a worker process and to the switch process: requests with their answers, and what they tell unasked. */
import { connect } from 'node:net';
import { type ErrorCode, ViridianError } from '../contracts/errors.ts';
import type { WorkerEvent, WorkerMethods } from '../contracts/worker.ts';
import { JsonLines } from '../host/node/json-lines.ts';

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
  readonly timer: NodeJS.Timeout | undefined;
}

/** By name, what each takes and gives. */
type Methods<M> = { readonly [N in keyof M]: { readonly params: unknown; readonly result: unknown } };

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

export class RequestLink<M extends Methods<M>, E extends { readonly event: string }> {
  readonly closed: Promise<void>;
  /** Who is at the other end, for people. */
  readonly #peer: string;
  readonly #lines: JsonLines;
  readonly #waiting = new Map<number, Waiting>();
  #onEvent: (event: E) => void;
  #next = 1;
  #open = true;

  private constructor(
    peer: string,
    lines: (link: RequestLink<M, E>, closed: () => void) => JsonLines,
    onEvent: (event: E) => void,
  ) {
    this.#peer = peer;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#onEvent = onEvent;
    this.#lines = lines(this, resolve);
  }

  /** Rejects when nobody listens there. */
  static async open<M extends Methods<M>, E extends { readonly event: string }>(
    peer: string,
    socketPath: string,
    onEvent: (event: E) => void,
  ): Promise<RequestLink<M, E>> {
    const socket = connect(socketPath);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new RequestLink<M, E>(
      peer,
      (link, closed) =>
        new JsonLines(
          socket,
          (message) => link.#take(message as Answer | E),
          () => {
            link.#close();
            closed();
          },
        ),
      onEvent,
    );
  }

  #take(message: Answer | E): void {
    if ('event' in message) {
      this.#onEvent(message);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.error) waiting.reject(new ViridianError(message.error.code, message.error.message));
    else waiting.resolve(message.result);
  }

  #close(): void {
    this.#open = false;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(this.#ended());
    }
    this.#waiting.clear();
  }

  #ended(): ViridianError {
    return new ViridianError('failure', `${this.#peer} has ended`);
  }

  /** @param seconds How long an answer may take; 0: as long as it takes. */
  async request<N extends keyof M & string>(method: N, params: M[N]['params'], seconds = 30): Promise<M[N]['result']> {
    if (!this.#open) throw this.#ended();
    const id = this.#next++;
    const { promise, resolve, reject } = Promise.withResolvers<M[N]['result']>();
    const timer =
      seconds === 0
        ? undefined
        : setTimeout(() => {
            this.#waiting.delete(id);
            reject(new ViridianError('timeout', `${this.#peer} did not answer '${method}' within ${seconds} s`));
          }, seconds * 1000);
    this.#waiting.set(id, { resolve, reject, timer });
    this.#lines.send({ id, method, params });
    return await promise;
  }

  destroy(): void {
    this.#lines.destroy();
  }
}

export type WorkerLink = RequestLink<WorkerMethods, WorkerEvent>;
export const WorkerLink = {
  /** Rejects when nobody listens there. */
  open: (path: string, onEvent: (event: WorkerEvent) => void = () => {}): Promise<WorkerLink> =>
    RequestLink.open<WorkerMethods, WorkerEvent>('the worker process', path, onEvent),
};
