/**
 * The switch process's doors: a Unix socket for VMMS (contracts/switches.ts) and one for adapters of workers
 * (remote/wire.ts), in a folder that only its user may enter.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { isViridianError, ViridianError } from '../../contracts/errors.ts';
import {
  SWITCH_PROTOCOL,
  type SwitchAnswer,
  type SwitchEvent,
  type SwitchMethod,
  type SwitchMethods,
  type SwitchRequest,
} from '../../contracts/switches.ts';
import { JsonLines } from '../../host/node/json-lines.ts';
import { PortSession } from '../remote/port-session.ts';
import type { SwitchRoom } from '../remote/switch-room.ts';
import { socketWire } from './wire.ts';

/** A connection that has not said which port it is for. */
const HELLO_PATIENCE = 5000;
const MOST_CONNECTIONS = 1024;
/** A capture that is not taken loses packets, and this process no memory. */
const MOST_UNSENT_CAPTURE = 8 * 2 ** 20;
/** Packets of a capture are sent together: so many bytes, or after so many milliseconds. */
const CAPTURE_BATCH = 0x4_0000;
const CAPTURE_DELAY = 20;

interface Peer {
  readonly lines: JsonLines;
  /** What ends its captures. */
  readonly ends: (() => void)[];
}

type Handlers = {
  readonly [M in SwitchMethod]: (
    params: SwitchMethods[M]['params'],
    peer: Peer,
  ) => SwitchMethods[M]['result'] | Promise<SwitchMethods[M]['result']>;
};

export class SwitchServer {
  readonly #room: SwitchRoom;
  readonly #end: () => void;
  readonly #peers = new Set<Peer>();
  readonly #servers: Server[] = [];

  /** @param end ends the process. */
  constructor(room: SwitchRoom, end: () => void) {
    this.#room = room;
    this.#end = end;
  }

  async listen(control: string, ports: string): Promise<void> {
    await this.#listen(ports, (socket) => this.#adapter(socket));
    await this.#listen(control, (socket) => this.#control(socket));
  }

  async #listen(path: string, accept: (socket: Socket) => void): Promise<void> {
    // Of a process that was killed: VMMS starts one at a time.
    rmSync(path, { force: true });
    const server = createServer(accept);
    server.maxConnections = MOST_CONNECTIONS;
    this.#servers.push(server);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once('error', reject);
    server.listen(path, resolve);
    await promise;
    chmodSync(path, 0o600);
  }

  #adapter(socket: Socket): void {
    const session: PortSession = new PortSession(
      socketWire(socket, {
        received: (chunk) => session.received(chunk),
        drained: () => session.drained(),
        closed: () => session.closed(),
      }),
      this.#room,
    );
    const timer = setTimeout(() => {
      if (!session.claimed) session.close();
    }, HELLO_PATIENCE);
    timer.unref();
    socket.on('close', () => clearTimeout(timer));
  }

  #control(socket: Socket): void {
    const peer: Peer = {
      lines: new JsonLines(
        socket,
        (message) => void this.#answer(peer, message as SwitchRequest),
        () => {
          this.#peers.delete(peer);
          for (const end of peer.ends.splice(0)) end();
        },
      ),
      ends: [],
    };
    this.#peers.add(peer);
  }

  tell(event: SwitchEvent): void {
    for (const { lines } of this.#peers) lines.send(event);
  }

  async #answer(peer: Peer, { id, method, params }: SwitchRequest): Promise<void> {
    const send = (answer: SwitchAnswer): void => peer.lines.send(answer);
    try {
      const handler = this.#handlers[method] as Handlers[SwitchMethod] | undefined;
      if (handler === undefined) throw new ViridianError('invalid', `the switch process knows nothing of '${method}'`);
      const result = await (handler as (params: unknown, peer: Peer) => unknown)(params, peer);
      send({ id, result: result ?? null });
    } catch (error) {
      if (!isViridianError(error)) console.error(error);
      const { code, message } = isViridianError(error)
        ? error
        : new ViridianError('failure', error instanceof Error ? error.message : String(error));
      send({ id, error: { code, message } });
    }
  }

  readonly #handlers: Handlers = {
    hello: () => ({ protocol: SWITCH_PROTOCOL, pid: process.pid }),
    setSwitch: (spec) => this.#room.setSwitch(spec) as undefined,
    setPort: (spec) => this.#room.setPort(spec) as Promise<undefined>,
    removePort: ({ id }) => this.#room.removePort(id) as undefined,
    removeSwitch: ({ name }) => this.#room.removeSwitch(name) as undefined,
    keep: ({ switches, ports }) => this.#room.keep(switches, ports) as undefined,
    status: ({ name }) => this.#room.status(name),
    forgetLease: ({ name, owner }) => ({ there: this.#room.forgetLease(name, owner) }),
    capture: ({ name, mac, snaplen }, peer) => {
      peer.ends.push(this.#capture(peer, name, mac ?? undefined, snaplen ?? undefined));
      return undefined;
    },
    end: () => {
      setTimeout(() => this.#end(), 0);
      return undefined;
    },
  };

  #capture(peer: Peer, name: string, mac: string | undefined, snaplen: number | undefined): () => void {
    let pieces: Uint8Array[] = [];
    let length = 0;
    let timer: NodeJS.Timeout | undefined;
    const flush = (): void => {
      clearTimeout(timer);
      timer = undefined;
      if (length > 0) peer.lines.send({ event: 'capture', data: Buffer.concat(pieces).toString('base64') });
      pieces = [];
      length = 0;
    };
    const end = this.#room.capture(name, { mac, snaplen }, (bytes) => {
      if (peer.lines.unsent > MOST_UNSENT_CAPTURE) return;
      pieces.push(bytes);
      length += bytes.length;
      if (length > CAPTURE_BATCH) flush();
      else timer ??= setTimeout(flush, CAPTURE_DELAY);
    });
    return () => {
      clearTimeout(timer);
      end();
    };
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.close();
    await Promise.race([
      Promise.all([...this.#peers].map(({ lines }) => lines.end())),
      new Promise((resolve) => setTimeout(resolve, 500).unref()),
    ]);
  }
}
