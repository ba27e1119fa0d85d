// How fast the virtual switch and its NAT are without a guest, by the clock and by this process's own
// processor time: `node tests/perf/network.ts --switch-only [--seconds N]
// [--only NAME] [--json]`. Frames are made and taken by a driver that does no more than an adapter must: it copies each.

import { fork } from 'node:child_process';
import { createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { HostNetwork, HostStream, StreamEvents } from '../../src/host/network.ts';
import { HEADROOM } from '../../src/host/network.ts';
import { nodeNetwork, nodeNetworkTime } from '../../src/host/node/network.ts';
import { hex, ipPacket, TestGuest, tcpSegment, word } from '../../src/vswitch/guest.fixture.ts';
import type { Frame } from '../../src/vswitch/port.ts';
import { type AdapterPort, createSwitch } from '../../src/vswitch/switch.ts';

const GATEWAY = '172.30.0.1';
const GATEWAY_MAC = '02-15-5D-00-00-01';
const SHIFT = 7;
const HEADERS = 54;

/** What the other end of a socket does, in a process of its own. */
function serve(): void {
  const server = createServer((socket: Socket) => {
    socket.setNoDelay(true);
    socket.once('data', (first: Buffer) => {
      const way = first.toString('latin1', 0, 1);
      if (way === 's') return void socket.resume();
      if (way === 'e') return void socket.on('data', (bytes) => socket.write(bytes)).write(first);
      const chunk = Buffer.alloc(2 ** 20);
      const more = (): void => {
        while (socket.writable && socket.write(chunk));
      };
      socket.on('drain', more);
      more();
    });
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    if (typeof address === 'object' && address !== null) process.send?.(address.port);
  });
}

/** A host without sockets: it takes all, and gives as much as is taken. */
const nowhere: HostNetwork = {
  ...nodeNetwork,
  connect: (_to, events: StreamEvents): HostStream => {
    let paused = false;
    let gone = false;
    let sends = false;
    const chunk = (): void => {
      if (paused || gone) return;
      for (let n = 0; n < 8 && !paused; n++) events.data(new Uint8Array(HEADROOM + 44 * 1460).subarray(HEADROOM));
      setImmediate(chunk);
    };
    setImmediate(() => events.connected());
    return {
      pending: 0,
      write: (bytes) => {
        if (sends || bytes[0] !== 103) return;
        sends = true;
        setImmediate(chunk);
      },
      end: () => {},
      pause: () => {
        paused = true;
      },
      resume: () => {
        if (!paused) return;
        paused = false;
        if (sends) setImmediate(chunk);
      },
      reset: () => {
        gone = true;
      },
    };
  },
};

/** An open connection of a guest that does TCP just well enough. */
class Driver {
  readonly #port: AdapterPort;
  readonly #header: Uint8Array;
  readonly #view: DataView;
  #next = 1001;
  #limit = 0;
  #acknowledgment = 0;
  received = 0;
  sent = 0;
  #opened: (() => void) | undefined;
  wake: (() => void) | undefined;

  constructor(port: AdapterPort, address: string, remotePort: number) {
    this.#port = port;
    const segment = tcpSegment(address, GATEWAY, {
      sourcePort: 40_000,
      port: remotePort,
      sequence: 0,
      flags: 16,
      window: 0xffff,
    });
    this.#header = Uint8Array.from([...hex(GATEWAY_MAC), ...hex(port.mac), 8, 0, ...segment]);
    this.#view = new DataView(this.#header.buffer);
    port.onFrame((frame) => {
      this.#take(frame);
      return true;
    });
  }

  open(address: string, remotePort: number): Promise<void> {
    const options = [2, 4, ...word(1460), 1, 3, 3, SHIFT];
    const syn = tcpSegment(address, GATEWAY, {
      sourcePort: 40_000,
      port: remotePort,
      sequence: 1000,
      flags: 2,
      options,
    });
    return new Promise((resolve) => {
      this.#opened = resolve;
      this.#port.send({
        bytes: Uint8Array.from([...hex(GATEWAY_MAC), ...hex(this.#port.mac), 8, 0, ...syn]),
        segmentSize: 0,
        checksum: 'complete',
      });
    });
  }

  #take({ bytes }: Frame): void {
    if (bytes[23] !== 6) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const flags = bytes[47]!;
    if ((flags & 4) !== 0) throw new Error('the connection is broken');
    const sequence = view.getUint32(38);
    if ((flags & 2) !== 0) {
      this.#acknowledgment = (sequence + 1) >>> 0;
      this.#limit = 1001 + view.getUint16(48);
      this.send(0);
      this.#opened?.();
      return;
    }
    const room = this.#next - ((this.#next - view.getUint32(42)) | 0) + view.getUint16(48) * 2 ** SHIFT;
    this.#limit = Math.max(this.#limit, room);
    const length = bytes.length - HEADERS;
    if (length > 0) {
      // An adapter copies it into the guest's memory.
      sink.set(bytes.subarray(HEADERS));
      this.#acknowledgment = (this.#acknowledgment + length) >>> 0;
      this.received += length;
      this.#owed++;
      if (this.#owed === 1) queueMicrotask(this.#acknowledge);
    }
    this.wake?.();
  }

  #owed = 0;
  readonly #acknowledge = (): void => {
    this.#owed = 0;
    this.send(0);
  };

  get room(): number {
    return this.#limit - this.#next;
  }

  /** The same memory for each frame: only where nobody keeps one. */
  #reused: Uint8Array | undefined;
  reuse(length: number): void {
    this.#reused = new Uint8Array(HEADERS + length);
  }

  send(length: number, first = 0): void {
    const reused = length > 0 && this.#reused?.length === HEADERS + length ? this.#reused : undefined;
    const bytes = reused ?? new Uint8Array(HEADERS + length);
    this.#view.setUint32(38, this.#next >>> 0);
    this.#view.setUint32(42, this.#acknowledgment);
    this.#view.setUint16(16, 40 + length);
    bytes.set(this.#header);
    if (length > 0 && reused === undefined) bytes.set(source.subarray(0, length), HEADERS);
    if (first !== 0) bytes[HEADERS] = first;
    this.#next += length;
    this.sent += length;
    this.#port.send({ bytes, segmentSize: length > 1460 ? 1460 : 0, checksum: 'partial' });
  }
}

const source = new Uint8Array(0x1_0000).fill(115);
const sink = new Uint8Array(0x1_0000);
const { values: options } = parseArgs({
  options: {
    'switch-only': { type: 'boolean', default: false },
    serve: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '2' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function connected(host: HostNetwork, remotePort: number): Promise<{ driver: Driver; close: () => void }> {
  const net = createSwitch({ name: 'perf', kind: 'nat', nat: { hostAccess: 'all' } }, { time: nodeNetworkTime, host });
  const port = net.connect({ vm: 'guest' });
  const address = new TestGuest(port).configure();
  const driver = new Driver(port, address, remotePort);
  await driver.open(address, remotePort);
  return { driver, close: () => net.close() };
}

/** Bytes per second, from the guest to the host. */
async function upload(
  host: HostNetwork,
  remotePort: number,
  size: number,
  seconds: number,
  copies = true,
): Promise<number> {
  const { driver, close } = await connected(host, remotePort);
  if (!copies) driver.reuse(size);
  driver.send(1, 's'.charCodeAt(0));
  const end = performance.now() + seconds * 1000;
  const start = performance.now();
  while (performance.now() < end) {
    for (let n = 0; n < 64 && driver.room >= size; n++) driver.send(size);
    await pause();
  }
  const rate = driver.sent / ((performance.now() - start) / 1000);
  close();
  return rate;
}

async function download(host: HostNetwork, remotePort: number, seconds: number): Promise<number> {
  const { driver, close } = await connected(host, remotePort);
  driver.send(1, 'g'.charCodeAt(0));
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const rate = driver.received / ((performance.now() - start) / 1000);
  close();
  return rate;
}

/** Microseconds from a byte to its echo. */
async function roundTrip(host: HostNetwork, remotePort: number, seconds: number): Promise<number> {
  const { driver, close } = await connected(host, remotePort);
  const end = performance.now() + seconds * 1000;
  const start = performance.now();
  let count = 0;
  while (performance.now() < end) {
    const before = driver.received;
    driver.send(1, 'e'.charCodeAt(0));
    while (driver.received === before) await new Promise<void>((resolve) => (driver.wake = resolve));
    count++;
  }
  const each = ((performance.now() - start) * 1000) / count;
  close();
  return each;
}

/** Bytes per second from one guest to another. */
function between(size: number, seconds: number): number {
  const net = createSwitch({ name: 'perf', kind: 'private' }, { time: nodeNetworkTime });
  const [from, to] = [net.connect({ vm: 'a' }), net.connect({ vm: 'b' })];
  let received = 0;
  to.onFrame(({ bytes }) => {
    sink.set(bytes.subarray(14));
    received += bytes.length - HEADERS;
    return true;
  });
  const packet = ipPacket({ source: '10.0.0.1', destination: '10.0.0.2', protocol: 6 }, new Uint8Array(20 + size));
  const frame = Uint8Array.from([...hex(to.mac), ...hex(from.mac), 8, 0, ...packet]);
  const start = performance.now();
  while (performance.now() - start < seconds * 1000)
    for (let n = 0; n < 256; n++)
      from.send({ bytes: frame.slice(), segmentSize: size > 1460 ? 1460 : 0, checksum: 'partial' });
  net.close();
  return received / ((performance.now() - start) / 1000);
}

async function main(): Promise<void> {
  const server = fork(fileURLToPath(import.meta.url), ['--serve'], { stdio: 'inherit' });
  const port = await new Promise<number>((resolve) => server.once('message', (message) => resolve(Number(message))));
  const seconds = Number(options.seconds);
  const LARGE = 44 * 1460;
  const all: Readonly<Record<string, () => Promise<number> | number>> = {
    'guest to guest, 64 KiB frames (GB/s)': () => between(LARGE, seconds),
    'guest to guest, 1460-byte segments (GB/s)': () => between(1460, seconds),
    'up, without sockets or copies (GB/s)': () => upload(nowhere, 1, LARGE, seconds, false),
    'up, without sockets (GB/s)': () => upload(nowhere, 1, LARGE, seconds),
    'down, without sockets (GB/s)': () => download(nowhere, 1, seconds),
    'up, to a socket (GB/s)': () => upload(nodeNetwork, port, LARGE, seconds),
    'up, to a socket, 1460-byte segments (GB/s)': () => upload(nodeNetwork, port, 1460, seconds),
    'down, from a socket (GB/s)': () => download(nodeNetwork, port, seconds),
    'echo through a socket (us)': () => roundTrip(nodeNetwork, port, seconds),
  };
  const results: Record<string, number> = {};
  if (!options.json) process.stdout.write('   clock      own  processor time\n');
  for (const [name, run] of Object.entries(all)) {
    if (options.only !== undefined && !new RegExp(options.only).test(name)) continue;
    const [start, used] = [performance.now(), process.cpuUsage()];
    const value = await run();
    const { user, system } = process.cpuUsage(used);
    // On a busy machine what counts is the time that this process was given.
    const share = (user + system) / 1000 / (performance.now() - start);
    const isRate = name.endsWith('(GB/s)');
    const [wall, own] = isRate ? [value / 1e9, value / 1e9 / share] : [value, value * share];
    results[name] = Number(wall.toFixed(2));
    results[`${name}, of processor time`] = Number(own.toFixed(2));
    if (!options.json) process.stdout.write(`${wall.toFixed(2).padStart(8)} ${own.toFixed(2).padStart(8)}  ${name}\n`);
  }
  if (options.json) process.stdout.write(`${JSON.stringify(results)}\n`);
  server.kill();
}

if (options.serve) serve();
else if (options['switch-only']) await main();
else {
  process.stderr.write('node tests/perf/network.ts --switch-only [--seconds N] [--only PATTERN] [--json]\n');
  process.exitCode = 2;
}
