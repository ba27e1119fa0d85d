/** The host's sockets, in Node.js. */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { Resolver } from 'node:dns';
import { createServer, type OnReadOpts, Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { performance } from 'node:perf_hooks';
import { ViridianError } from '../../contracts/errors.ts';
import {
  type Endpoint,
  HEADROOM,
  type HostDatagrams,
  type HostListener,
  type HostNetwork,
  type HostStream,
  type NetworkTime,
  type StreamEvents,
  type StreamFailure,
} from '../network.ts';
import { openEcho } from './echo.ts';

const FAILURES: Readonly<Record<string, StreamFailure>> = {
  ECONNREFUSED: 'refused',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
  ETIMEDOUT: 'timeout',
  EACCES: 'denied',
  EPERM: 'denied',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
};

/** The largest read: with headers in front it still fits an IPv4 packet, and it is a whole number of 1460-byte segments. */
const LARGE_READ = 44 * 1460;
const SMALL_READ = 4096;
/** Writes below this size are put together. */
const SMALL_WRITE = 0x4000;
/** Reads come out of a piece of memory of this size, one behind the other. */
const SLAB = 0x4_0000;

/** Memory for one stream's reads: small until the stream proves to be busy. */
class ReadBuffers {
  #slab = Buffer.allocUnsafeSlow(HEADROOM + SMALL_READ);
  #at = 0;
  #full = 0;

  next(): Uint8Array {
    const wanted = this.#full > 0 ? LARGE_READ : SMALL_READ;
    if (this.#slab.length - this.#at < HEADROOM + wanted) {
      this.#slab = Buffer.allocUnsafeSlow(this.#full > 1 ? SLAB : HEADROOM + wanted);
      this.#at = 0;
    }
    const from = this.#at + HEADROOM;
    return this.#slab.subarray(from, from + wanted);
  }

  took(bytes: number, of: number): void {
    this.#at += (HEADROOM + bytes + 7) & ~7;
    if (bytes === of) this.#full = Math.min(4, this.#full + 1);
    else if (bytes < SMALL_READ / 4) this.#full = Math.max(0, this.#full - 1);
  }
}

class NodeStream implements HostStream {
  readonly #socket: Socket;
  #events: StreamEvents | undefined;
  #announced = false;
  readonly #written = (): void => {
    // One word for all writes that end together.
    if (this.#announced || this.#events === undefined) return;
    this.#announced = true;
    queueMicrotask(() => {
      this.#announced = false;
      this.#events?.drained();
    });
  };

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  watch(events: StreamEvents): void {
    const socket = this.#socket;
    this.#events = events;
    let failure: StreamFailure | undefined;
    socket.setNoDelay(true);
    socket.once('connect', () => this.#events?.connected());
    socket.once('end', () => this.#events?.end());
    socket.once('error', (error: NodeJS.ErrnoException) => {
      failure = FAILURES[error.code ?? ''] ?? 'failed';
    });
    socket.once('close', () => {
      const last = this.#events;
      this.#events = undefined;
      last?.closed(failure);
    });
  }

  deliver(bytes: Uint8Array): void {
    this.#events?.data(bytes);
  }

  get pending(): number {
    return this.#socket.writableLength;
  }

  write(bytes: Uint8Array): void {
    if (this.#events === undefined) return;
    const socket = this.#socket;
    // Small pieces of one batch go out together.
    if (bytes.length < SMALL_WRITE && !this.#corked) {
      this.#corked = true;
      socket.cork();
      queueMicrotask(this.#uncork);
    }
    socket.write(bytes, this.#written);
  }

  #corked = false;
  readonly #uncork = (): void => {
    this.#corked = false;
    this.#socket.uncork();
  };

  end(): void {
    this.#socket.end();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  reset(): void {
    this.#events = undefined;
    this.#socket.resetAndDestroy();
  }
}

function connect(to: Endpoint, events: StreamEvents): HostStream {
  const buffers = new ReadBuffers();
  let current = buffers.next();
  const onread: OnReadOpts = {
    // Asked for once in the beginning, and after each read.
    buffer: () => {
      current = buffers.next();
      return current;
    },
    callback: (count) => {
      const bytes = current.subarray(0, count);
      buffers.took(count, current.length);
      stream.deliver(bytes);
      return true;
    },
  };
  // Node's types know `onread` for connect only; the constructor is where it is taken.
  const socket = new Socket({ allowHalfOpen: true, onread });
  const stream = new NodeStream(socket);
  stream.watch(events);
  socket.connect({ host: to.address, port: to.port, autoSelectFamily: false });
  return stream;
}

function failed(what: string, at: Endpoint, error: NodeJS.ErrnoException): ViridianError {
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: 'the port is in use; choose another',
    EACCES: 'the host does not allow this port; one from 1024 on needs no privileges',
    EADDRNOTAVAIL: 'the host does not have this address',
  };
  const reason = reasons[error.code ?? ''] ?? error.message;
  return new ViridianError(
    error.code === 'EACCES' ? 'denied' : 'failure',
    `${what} ${at.address}:${at.port}: ${reason}`,
  );
}

function listen(at: Endpoint, accepted: (stream: HostStream, peer: Endpoint) => StreamEvents): Promise<HostListener> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      const stream = new NodeStream(socket);
      const peer = { address: socket.remoteAddress ?? '0.0.0.0', port: socket.remotePort ?? 0 };
      stream.watch(accepted(stream, peer));
      socket.on('data', (chunk: Uint8Array) => {
        const bytes = Buffer.allocUnsafeSlow(HEADROOM + chunk.length);
        bytes.set(chunk, HEADROOM);
        stream.deliver(bytes.subarray(HEADROOM));
      });
    });
    server.once('error', (error) => reject(failed('cannot listen on', at, error)));
    server.listen({ host: at.address, port: at.port }, () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : at.port;
      resolve({ port, close: () => server.close() });
    });
  });
}

function datagrams(
  at: Endpoint | undefined,
  receive: (bytes: Uint8Array, from: Endpoint) => void,
): Promise<HostDatagrams> {
  return new Promise((resolve, reject) => {
    const type = at?.address.includes(':') ? 'udp6' : 'udp4';
    const socket: UdpSocket = createSocket(type);
    let open = true;
    const close = (): void => {
      if (open) socket.close();
      open = false;
    };
    socket.on('message', (bytes, from) => receive(bytes, from));
    socket.once('error', (error) => {
      close();
      reject(failed('cannot use UDP port', at ?? { address: '0.0.0.0', port: 0 }, error));
      // What the host says of single datagrams later (ICMP errors) is not for their sender to stumble over.
      socket.on('error', () => {});
    });
    socket.bind({ port: at?.port ?? 0, address: at?.address ?? '0.0.0.0', exclusive: true }, () => {
      resolve({
        port: socket.address().port,
        send: (bytes, to) => {
          if (open) socket.send(bytes, to.port, to.address, () => {});
        },
        close,
      });
    });
  });
}

/** `1.2.3.4`, `1.2.3.4:53`, `::1`, `[::1]:53`. */
function resolverOf(text: string): Endpoint {
  const bracketed = /^\[(.*)\]:(\d+)$/.exec(text) ?? /^([\d.]+):(\d+)$/.exec(text);
  return bracketed === null ? { address: text, port: 53 } : { address: bracketed[1]!, port: Number(bracketed[2]) };
}

export const nodeNetwork: HostNetwork = {
  connect,
  listen,
  datagrams,
  echo: openEcho,
  // A new one each time: it reads the host's configuration when it is made.
  resolvers: () => new Resolver().getServers().map(resolverOf),
  addresses: () => Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)),
  random: (count) => randomBytes(count),
};

export const nodeNetworkTime: NetworkTime = {
  now: () => performance.now(),
  after: (milliseconds, callback) => {
    const timer = setTimeout(callback, milliseconds);
    // A network alone keeps nothing running.
    timer.unref();
    return () => clearTimeout(timer);
  },
};
