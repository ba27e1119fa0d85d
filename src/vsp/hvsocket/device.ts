/** Sockets between host and guest: who listens on the host, who is being connected in the guest, and all connections. */
import type { InspectNode } from '../../vid/ports.ts';
import type { ChannelDevice, Timers } from '../../vmbus/ports.ts';
import { Connection, type ConnectionEvents } from './connection.ts';
import { MAXIMUM_PORT, portOf, serviceOf } from './protocol.ts';

/** Connections at a time, those that are being made included. */
const MOST = 256;
/** A guest that wants a connection opens its channel at once, or is gone. */
const OPEN_TIMEOUT = 30_000;
/** Ports of the host's ends: any will do. */
const FIRST_HOST_PORT = 0x4000_0000;

export interface SocketBus {
  /** @throws RangeError when there is no room for another device. */
  offer(device: ChannelDevice): void;
  withdraw(device: ChannelDevice): void;
}

export class ConnectFailure extends Error {
  readonly reason: 'timeout' | 'full';
  constructor(reason: 'timeout' | 'full', message: string) {
    super(message);
    this.reason = reason;
  }
}

export class HvSocket {
  readonly #bus: SocketBus;
  readonly #timers: Timers;
  readonly #listeners = new Map<number, (connection: Connection) => void>();
  /** With what calls their timeout off. */
  readonly #connections = new Map<Connection, () => void>();
  #count = 0;
  readonly #counters = { accepted: 0, connected: 0, refused: 0 };

  constructor(bus: SocketBus, timers: Timers) {
    this.#bus = bus;
    this.#timers = timers;
  }

  /** Connects to a port of the guest. @throws ConnectFailure */
  connect(port: number, timeout: number): Promise<Connection> {
    if (this.#connections.size >= MOST)
      throw new ConnectFailure('full', `there are ${MOST} connections to the guest already`);
    const { promise, resolve, reject } = Promise.withResolvers<Connection>();
    const endpoint = serviceOf(FIRST_HOST_PORT + (this.#count % FIRST_HOST_PORT));
    this.#begin(port, { service: serviceOf(port), endpoint, fromHost: true }, timeout, {
      opened: (connection) => {
        this.#counters.connected++;
        resolve(connection);
      },
      finished: () => {
        reject(new ConnectFailure('timeout', `nothing in the guest accepts connections to port ${port}`));
      },
    });
    return promise;
  }

  /** Takes connections to a port of the host; returns what ends that. @throws RangeError when the port is taken. */
  listen(port: number, accept: (connection: Connection) => void): () => void {
    if (this.#listeners.has(port)) throw new RangeError(`port ${port} has a listener already`);
    this.#listeners.set(port, accept);
    return () => {
      this.#listeners.delete(port);
    };
  }

  /** The guest asks for a connection to a service of the host's. A refusal is silence, as on Hyper-V. */
  requested(endpoint: string, service: string): void {
    const port = portOf(service);
    const accept = port === undefined ? undefined : this.#listeners.get(port);
    const twice = [...this.#connections.keys()].some(
      ({ offer }) => offer.instance === endpoint && offer.type === service,
    );
    if (port === undefined || !accept || twice || this.#connections.size >= MOST) {
      this.#counters.refused++;
      return;
    }
    this.#begin(port, { service, endpoint, fromHost: false }, OPEN_TIMEOUT, {
      opened: (connection) => {
        this.#counters.accepted++;
        accept(connection);
      },
      finished: () => undefined,
    });
  }

  #begin(
    port: number,
    ids: { readonly service: string; readonly endpoint: string; readonly fromHost: boolean },
    timeout: number,
    events: ConnectionEvents,
  ): void {
    const connection = new Connection(
      { name: `hvsocket.${this.#count++}`, port, ...ids },
      {
        opened: (which) => {
          this.#connections.get(which)?.();
          events.opened(which);
        },
        finished: (which) => {
          this.#connections.get(which)?.();
          this.#connections.delete(which);
          this.#bus.withdraw(which);
          events.finished(which);
        },
      },
    );
    const cancel = this.#timers.after(timeout, () => {
      connection.destroy();
    });
    this.#connections.set(connection, cancel);
    try {
      this.#bus.offer(connection);
    } catch {
      // No channel is free.
      connection.destroy();
    }
  }

  /** Ends all connections. */
  reset(): void {
    for (const connection of [...this.#connections.keys()]) connection.destroy('guestGone');
  }

  inspect(): InspectNode {
    return { listeners: this.#listeners.size, connections: this.#connections.size, ...this.#counters };
  }
}

/** @throws RangeError when a number is no port. */
export function checkPort(port: number): number {
  if (!Number.isInteger(port) || port < 0 || port > MAXIMUM_PORT)
    throw new RangeError(`a port of a guest's sockets must be a whole number from 0 to ${MAXIMUM_PORT}, not ${port}`);
  return port;
}
