/** A host for tests: time that is moved by hand, and sockets that lead to the test. */
import type {
  Endpoint,
  HostDatagrams,
  HostEcho,
  HostListener,
  HostNetwork,
  HostStream,
  NetworkTime,
  StreamEvents,
} from '../../host/network.ts';
import { HEADROOM } from '../../host/network.ts';

export class ManualTime implements NetworkTime {
  #now = 1000;
  readonly #timers: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  get pending(): number {
    return this.#timers.length;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, milliseconds), callback };
    this.#timers.push(timer);
    return () => {
      const at = this.#timers.indexOf(timer);
      if (at >= 0) this.#timers.splice(at, 1);
    };
  }

  /** Lets the time pass, in the order of what happens in it. */
  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      const next = this.#timers.reduce<{ at: number; callback: () => void } | undefined>(
        (first, timer) => (timer.at <= end && (first === undefined || timer.at < first.at) ? timer : first),
        undefined,
      );
      if (next === undefined) break;
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
    }
    this.#now = end;
  }
}

/** The host's end of a stream that the network under test has opened, or was given. */
export class TestStream implements HostStream {
  pending = 0;
  readonly events: { current: StreamEvents | undefined } = { current: undefined };
  readonly written: Uint8Array[] = [];
  ended = false;
  paused = false;
  wasReset = false;
  /** While set, what is written stays pending. */
  held = false;
  received = 0;

  write(bytes: Uint8Array): void {
    this.written.push(bytes);
    this.received += bytes.length;
    if (this.held) this.pending += bytes.length;
  }

  /** The host takes what was held. */
  release(): void {
    this.pending = 0;
    this.events.current?.drained();
  }

  /** The other side sends. */
  deliver(bytes: Uint8Array): void {
    const buffer = new Uint8Array(HEADROOM + bytes.length);
    buffer.set(bytes, HEADROOM);
    this.events.current?.data(buffer.subarray(HEADROOM));
  }

  text(): string {
    return this.written.map((bytes) => new TextDecoder().decode(bytes)).join('');
  }

  end(): void {
    this.ended = true;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  reset(): void {
    this.wasReset = true;
    this.events.current = undefined;
  }
}

export interface TestDatagrams {
  readonly at: Endpoint | undefined;
  readonly sent: { readonly bytes: Uint8Array; readonly to: Endpoint }[];
  receive(bytes: Uint8Array, from: Endpoint): void;
  open: boolean;
}

export class TestHost implements HostNetwork {
  readonly streams: { readonly to: Endpoint; readonly stream: TestStream }[] = [];
  readonly sockets: TestDatagrams[] = [];
  readonly echoes: { readonly address: string; readonly sequence: number; readonly data: Uint8Array }[] = [];
  readonly listeners: {
    readonly at: Endpoint;
    readonly accept: (stream: HostStream, peer: Endpoint) => StreamEvents;
    open: boolean;
  }[] = [];
  resolverList: Endpoint[] = [{ address: '192.0.2.53', port: 53 }];
  addressList: string[] = ['127.0.0.1', '198.51.100.7', '::1'];
  echoAllowed = true;
  replied: ((address: string, sequence: number, data: Uint8Array) => void) | undefined;
  #seed = 12345;

  connect(to: Endpoint, events: StreamEvents): HostStream {
    const stream = new TestStream();
    stream.events.current = events;
    this.streams.push({ to, stream });
    return stream;
  }

  listen(at: Endpoint, accept: (stream: HostStream, peer: Endpoint) => StreamEvents): Promise<HostListener> {
    const listener = { at, accept, open: true };
    this.listeners.push(listener);
    return Promise.resolve({
      port: at.port || 40_000 + this.listeners.length,
      close: () => {
        listener.open = false;
      },
    });
  }

  datagrams(at: Endpoint | undefined, receive: (bytes: Uint8Array, from: Endpoint) => void): Promise<HostDatagrams> {
    const socket: TestDatagrams = {
      at,
      sent: [],
      open: true,
      receive: (bytes, from) => {
        if (socket.open) receive(bytes, from);
      },
    };
    this.sockets.push(socket);
    return Promise.resolve({
      port: at?.port || 50_000 + this.sockets.length,
      send: (bytes, to) => {
        if (socket.open) socket.sent.push({ bytes: bytes.slice(), to });
      },
      close: () => {
        socket.open = false;
      },
    });
  }

  echo(receive: (address: string, sequence: number, data: Uint8Array) => void): Promise<HostEcho | undefined> {
    if (!this.echoAllowed) return Promise.resolve(undefined);
    this.replied = receive;
    return Promise.resolve({
      send: (address, sequence, data) => {
        this.echoes.push({ address, sequence, data });
      },
      close: () => {},
    });
  }

  resolvers(): readonly Endpoint[] {
    return this.resolverList;
  }

  addresses(): readonly string[] {
    return this.addressList;
  }

  random(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let i = 0; i < count; i++) {
      this.#seed = (Math.imul(this.#seed, 1_103_515_245) + 12_345) >>> 0;
      bytes[i] = this.#seed >>> 16;
    }
    return bytes;
  }
}
