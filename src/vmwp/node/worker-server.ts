/**
 * A worker process's door: its Unix socket, in a folder that only its user may enter. Who connects may ask anything of
 * the machine; who attaches to the console gets what it shows.
 */
import { chmodSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { isViridianError, ViridianError } from '../../contracts/errors.ts';
import type { FromWorker, WorkerEvent, WorkerHello, WorkerMethods, WorkerRequest } from '../../contracts/worker.ts';
import { JsonLines } from '../../host/node/json-lines.ts';
import { joinStream } from './join-stream.ts';
import type { WorkerMachine } from './worker-machine.ts';

/** A console that takes no more than this of what it is shown is left behind. */
const MOST_UNSENT_CONSOLE = 4 * 2 ** 20;

interface Peer {
  readonly lines: JsonLines;
  console: boolean;
}

export class WorkerServer {
  readonly #machine: WorkerMachine;
  readonly #hello: () => WorkerHello;
  readonly #peers = new Set<Peer>();
  #server: Server | undefined;

  constructor(machine: WorkerMachine, hello: () => WorkerHello) {
    this.#machine = machine;
    this.#hello = hello;
  }

  async listen(path: string): Promise<void> {
    const server = createServer((socket) => {
      const peer: Peer = {
        lines: new JsonLines(
          socket,
          (message) => void this.#answer(peer, message as WorkerRequest),
          () => this.#peers.delete(peer),
        ),
        console: false,
      };
      this.#peers.add(peer);
    });
    this.#server = server;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once('error', reject);
    server.listen(path, resolve);
    await promise;
    chmodSync(path, 0o600);
  }

  tell(event: WorkerEvent): void {
    for (const { lines } of this.#peers) lines.send(event);
  }

  console(bytes: Uint8Array): void {
    const event = consoleEvent(bytes);
    for (const peer of this.#peers) {
      if (!peer.console) continue;
      if (peer.lines.unsent > MOST_UNSENT_CONSOLE) peer.lines.destroy();
      else peer.lines.send(event);
    }
  }

  async #answer(peer: Peer, { id, method, params }: WorkerRequest): Promise<void> {
    const send = (message: FromWorker): void => peer.lines.send(message);
    try {
      if (method === 'hello') send({ id, result: this.#hello() });
      else if (method === 'attach') {
        if ((params as WorkerMethods['attach']['params']).history) send(consoleEvent(this.#machine.history.bytes));
        peer.console = true;
        send({ id, result: null });
      } else if (method === 'connectGuest') {
        const stream = await this.#machine.connect(params as WorkerMethods['connectGuest']['params']);
        send({ id, result: null });
        this.#peers.delete(peer);
        await joinStream(peer.lines.release(), stream);
      } else send({ id, result: (await this.#machine.do(method, params as never)) ?? null });
    } catch (error) {
      if (!isViridianError(error)) console.error(error);
      const { code, message } = isViridianError(error)
        ? error
        : new ViridianError('failure', error instanceof Error ? error.message : String(error));
      send({ id, error: { code, message } });
    }
  }

  /** Resolves when everybody has been told everything, or a second later. */
  async close(): Promise<void> {
    this.#server?.close();
    const all = Promise.all([...this.#peers].map(({ lines }) => lines.end()));
    await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 1000).unref())]);
  }
}

function consoleEvent(bytes: Uint8Array): WorkerEvent {
  return { event: 'console', data: Buffer.from(bytes).toString('base64') };
}
