import { createServer, connect as nodeConnect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { HEADROOM, type HostStream, type StreamEvents, type StreamFailure } from '../network.ts';
import { nodeNetwork } from './network.ts';

const LOCAL = '127.0.0.1';

/** Events as they come, and waiting for one of them. */
class Recorder implements StreamEvents {
  readonly log: string[] = [];
  readonly bytes: Uint8Array[] = [];
  failure: StreamFailure | undefined;
  readonly #waiting: { what: string; resolve: () => void }[] = [];

  #happened(what: string): void {
    this.log.push(what);
    for (const { what: wanted, resolve } of this.#waiting) if (wanted === what) resolve();
  }

  heard(what: string): Promise<void> {
    return this.log.includes(what)
      ? Promise.resolve()
      : new Promise((resolve) => this.#waiting.push({ what, resolve }));
  }

  connected(): void {
    this.#happened('connected');
  }

  data(bytes: Uint8Array): void {
    this.bytes.push(bytes);
  }

  end(): void {
    this.#happened('end');
  }

  drained(): void {
    if (this.log.at(-1) !== 'drained') this.#happened('drained');
  }

  closed(failure: StreamFailure | undefined): void {
    this.failure = failure;
    this.#happened('closed');
  }
}

async function server(serve: (socket: Socket) => void): Promise<{ port: number; close: () => void }> {
  const listening = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => listening.listen(0, LOCAL, resolve));
  const address = listening.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return { port: address.port, close: () => listening.close() };
}

describe('streams', () => {
  it('carry bytes both ways, with room in front, and end in halves', async () => {
    const sent = Buffer.alloc(3_000_000, 'abcdefghijk');
    let got = 0;
    const { port, close } = await server((socket) => {
      socket.on('data', (bytes) => (got += bytes.length));
      socket.on('end', () => socket.end(sent));
    });
    const events = new Recorder();
    const stream = nodeNetwork.connect({ address: LOCAL, port }, events);
    await events.heard('connected');
    for (let n = 0; n < 100; n++) stream.write(new Uint8Array(n % 10 === 0 ? 64_000 : 100));
    stream.end();
    await events.heard('closed');
    expect([events.failure, stream.pending, got]).toEqual([undefined, 0, 10 * 64_000 + 90 * 100]);
    expect(events.log.filter((what) => what !== 'drained')).toEqual(['connected', 'end', 'closed']);
    expect(Buffer.concat(events.bytes).equals(sent)).toBe(true);
    // The room in front of a piece is no other piece's.
    const places = events.bytes.map((bytes) => ({
      buffer: bytes.buffer,
      from: bytes.byteOffset,
      to: bytes.byteOffset + bytes.length,
    }));
    for (const [at, place] of places.entries()) {
      expect(place.from).toBeGreaterThanOrEqual(HEADROOM);
      for (const other of places.slice(0, at))
        if (other.buffer === place.buffer) expect(other.to).toBeLessThanOrEqual(place.from - HEADROOM);
    }
    close();
  });

  it('stop while they are paused, and say what the host has not taken', async () => {
    let peer: Socket | undefined;
    const { port, close } = await server((socket) => {
      peer = socket.pause();
      socket.write(Buffer.alloc(30_000_000));
    });
    const events = new Recorder();
    const stream = nodeNetwork.connect({ address: LOCAL, port }, events);
    await events.heard('connected');
    stream.pause();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const before = events.bytes.length;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(events.bytes.length).toBe(before);
    for (let n = 0; n < 500; n++) stream.write(new Uint8Array(60_000));
    expect(stream.pending).toBeGreaterThan(1_000_000);
    peer!.resume();
    stream.resume();
    while (stream.pending > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    await events.heard('drained');
    stream.reset();
    close();
  });

  it('tell why they fail', async () => {
    const { port, close } = await server((socket) => socket.resetAndDestroy());
    const reset = new Recorder();
    nodeNetwork.connect({ address: LOCAL, port }, reset);
    await reset.heard('closed');
    expect(reset.failure).toBe('reset');
    close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const refused = new Recorder();
    nodeNetwork.connect({ address: LOCAL, port }, refused);
    await refused.heard('closed');
    expect(refused.failure).toBe('refused');
  });

  it('come in through a listener, and are silent after a reset', async () => {
    const events = new Recorder();
    let stream: HostStream | undefined;
    const listener = await nodeNetwork.listen({ address: LOCAL, port: 0 }, (accepted) => {
      stream = accepted;
      return events;
    });
    const client = nodeConnect(listener.port, LOCAL).on('error', () => {});
    const ended = new Promise<void>((resolve) => client.once('close', () => resolve()));
    client.write('hello');
    while (events.bytes.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(Buffer.concat(events.bytes).toString()).toBe('hello');
    expect(events.bytes[0]!.byteOffset).toBeGreaterThanOrEqual(HEADROOM);
    stream!.reset();
    await ended;
    expect(events.log).toEqual([]);
    await expect(nodeNetwork.listen({ address: LOCAL, port: listener.port }, () => events)).rejects.toThrow(
      `cannot listen on ${LOCAL}:${listener.port}: the port is in use; choose another`,
    );
    listener.close();
  });
});

describe('datagrams', () => {
  it('go and come', async () => {
    const got = Promise.withResolvers<string>();
    const echo = await nodeNetwork.datagrams({ address: LOCAL, port: 0 }, (bytes, from) => echo.send(bytes, from));
    const one = await nodeNetwork.datagrams(undefined, (bytes, from) =>
      got.resolve(`${Buffer.from(bytes).toString()} ${from.port}`),
    );
    one.send(Buffer.from('hello'), { address: LOCAL, port: echo.port });
    expect(await got.promise).toBe(`hello ${echo.port}`);
    await expect(nodeNetwork.datagrams({ address: LOCAL, port: echo.port }, () => {})).rejects.toThrow(
      'the port is in use',
    );
    one.close();
    one.close();
    echo.close();
    one.send(Buffer.from('late'), { address: LOCAL, port: echo.port });
  });
});

describe('the host', () => {
  it('knows its addresses and its name servers', () => {
    expect(nodeNetwork.addresses()).toContain('127.0.0.1');
    for (const { address, port } of nodeNetwork.resolvers())
      expect([typeof address, port > 0]).toEqual(['string', true]);
    expect(nodeNetwork.random(7)).toHaveLength(7);
  });
});
