/**
 * Streams of the API, as WebSockets: the console of a VM, its screen, a port of its guest's, events. A client that does not take what it is sent
 * is cut off, and may come again: each stream can be taken up anew.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import { API_BASE } from '../../contracts/api/paths.ts';
import { isViridianError, ViridianError } from '../../contracts/errors.ts';
import type { Management } from '../management.ts';
import { WorkerLink } from '../worker-link.ts';
import { type Caller, demandRole, demandVm } from './access.ts';
import { errorAnswer } from './app.ts';
import type { Gauges } from './gauges.ts';

/** Bytes under way to a client that makes it a slow one. */
const MOST_UNSENT = 8 * 2 ** 20;
/** Bytes under way to a client that wait, where it is the sender that is held up. */
const MOST_BUFFERED = 2 ** 20;
/** Close codes (RFC 6455, and the range for applications). */
const CLOSE = { normal: 1000, goingAway: 1001, denied: 1008, tryAgainLater: 1013, vmEnded: 4000 } as const;
const PING_PERIOD = 30_000;
/** Milliseconds until somebody in a guest must have taken a connection; nobody waits longer than the longest. */
const DEFAULT_PATIENCE = 10_000;
const LONGEST_PATIENCE = 600_000;

export interface StreamsOptions {
  readonly management: Management;
  readonly gauges: Gauges;
  /** @throws ViridianError; undefined: nobody who is known. */
  readonly caller: (request: IncomingMessage) => Caller | undefined;
}

type Opener = ((socket: WebSocket) => Promise<void> | void) & {
  /** The client may be held up for as long as its peer likes, and answers no pings then. */
  readonly held?: boolean;
};

export class Streams {
  readonly #options: StreamsOptions;
  readonly #server = new WebSocketServer({ noServer: true, maxPayload: 2 ** 20, perMessageDeflate: false });
  /** With what each client has said who it is. */
  readonly #clients = new Map<WebSocket, IncomingMessage>();
  readonly #stop: () => void;

  constructor(options: StreamsOptions) {
    this.#options = options;
    const unfollow = options.management.context.events.follow((message) => {
      if ('event' in message && message.event.kind === 'token.removed') this.#demandKnown();
    });
    // A session ends by the clock.
    const timer = setInterval(() => this.#demandKnown(), PING_PERIOD).unref();
    this.#stop = () => {
      unfollow();
      clearInterval(timer);
    };
  }

  /** Who is not known any more looks and types no longer. */
  #demandKnown(): void {
    for (const [client, request] of this.#clients) {
      if (this.#isKnown(request)) continue;
      // What it still says before it knows counts no more.
      client.removeAllListeners('message');
      client.close(CLOSE.denied, 'the token was revoked, or the session has ended');
    }
  }

  #isKnown(request: IncomingMessage): boolean {
    try {
      return this.#options.caller(request) !== undefined;
    } catch {
      return false;
    }
  }

  /** The 'upgrade' event of an HTTP server. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => {});
    try {
      const open = this.#route(request);
      this.#server.handleUpgrade(request, socket, head, (client) => {
        if (open.held) (socket as Socket).setKeepAlive(true, PING_PERIOD);
        else keepAlive(client);
        client.on('error', () => {});
        this.#clients.set(client, request);
        client.on('close', () => this.#clients.delete(client));
        Promise.resolve(open(client)).catch((error: unknown) => {
          const text = isViridianError(error) ? error.message : 'a defect of the service';
          if (!isViridianError(error)) console.error(error);
          client.close(CLOSE.tryAgainLater, text.slice(0, 100));
        });
      });
    } catch (error) {
      const { status, body } = errorAnswer(error);
      const text = JSON.stringify(body);
      socket.end(
        `HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
      );
    }
  }

  #route(request: IncomingMessage): Opener {
    const { management } = this.#options;
    const caller = this.#options.caller(request);
    if (caller === undefined) throw new ViridianError('denied', 'say who you are: a token, or a session');
    const url = new URL(request.url ?? '/', 'http://viridian');
    if (url.pathname === `${API_BASE}/events/stream`) {
      demandRole(caller, 'viewer');
      const after = number(url.searchParams.get('after'));
      const vm = url.searchParams.get('vm');
      const id = vm === null ? undefined : management.context.inventory.find(vm).id;
      const gauges = url.searchParams.get('gauges') === 'true' ? this.#options.gauges : undefined;
      return (client) => {
        followEvents(management, caller, client, after, id);
        if (gauges !== undefined) followGauges(gauges, caller, client, id);
      };
    }
    const capture = /^\/switches\/([^/]+)\/capture$/.exec(url.pathname.slice(API_BASE.length));
    if (capture && url.pathname.startsWith(API_BASE)) {
      // What passes a switch is of all VMs at it.
      demandRole(caller, 'administrator');
      if (caller.vms !== null)
        throw new ViridianError('denied', 'a capture shows what is sent by VMs that are not yours');
      const name = decoded(capture[1]!);
      management.context.networks.switches.find(name);
      const text = (key: string): string | undefined => url.searchParams.get(key) ?? undefined;
      const wanted = { vm: text('vm'), nic: text('nic'), snaplen: number(url.searchParams.get('snaplen')) };
      return (client) => captureSwitch(management, client, name, wanted);
    }
    const match = /^\/vms\/([^/]+)\/(console|screen|socket)$/.exec(url.pathname.slice(API_BASE.length));
    if (!match || !url.pathname.startsWith(API_BASE))
      throw new ViridianError('notFound', `there is no stream ${url.pathname}`);
    demandRole(caller, 'operator');
    const name = decoded(match[1]!);
    demandVm(caller, management.context.inventory.find(name), name);
    // Whether it runs is known before the client is told that all is well.
    const { socket } = management.machine(name);
    if (match[2] === 'console') {
      const history = url.searchParams.get('history') !== 'false';
      return (client) => attachConsole(socket, client, history);
    }
    if (match[2] === 'socket') {
      const port = number(url.searchParams.get('port'), 'port');
      const timeout = number(url.searchParams.get('timeout'), 'timeout') ?? DEFAULT_PATIENCE;
      if (port === undefined) throw new ViridianError('invalid', 'port: say which, of the guest');
      const open = (client: WebSocket): Promise<void> => attachSocket(socket, client, port, timeout);
      return Object.assign(open, { held: true });
    }
    return (client) => attachScreen(socket, client);
  }

  close(): void {
    this.#stop();
    for (const client of this.#server.clients) client.close(CLOSE.goingAway, 'the service ends');
    this.#server.close();
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ViridianError('invalid', 'the path is no text');
  }
}

function number(text: string | null, name = 'after'): number | undefined {
  if (text === null) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new ViridianError('invalid', `${name}: must be a whole number`);
  return Number(text);
}

function keepAlive(client: WebSocket): void {
  let alive = true;
  client.on('pong', () => {
    alive = true;
  });
  const timer = setInterval(() => {
    if (!alive) client.terminate();
    alive = false;
    client.ping();
  }, PING_PERIOD);
  client.on('close', () => clearInterval(timer));
}

function send(client: WebSocket, data: string | Uint8Array): void {
  if (client.bufferedAmount > MOST_UNSENT) {
    client.close(CLOSE.tryAgainLater, 'too slow');
    client.terminate();
  } else client.send(data);
}

function bytesOf(data: RawData): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data);
  return Buffer.isBuffer(data) ? data : Buffer.from(data);
}

// ---- events -----------------------------------------------------------------------------------------------------------------------

function followEvents(
  management: Management,
  caller: Caller,
  client: WebSocket,
  after: number | undefined,
  vm: string | undefined,
): void {
  const { events } = management.context;
  const mine = (of: string | null): boolean =>
    (vm === undefined || of === vm) && (caller.vms === null || (of !== null && caller.vms.includes(of)));
  // In one go: nothing happens between what is replayed and what is followed.
  for (const event of after === undefined ? [] : events.list({ after }))
    if (mine(event.vm)) send(client, JSON.stringify({ event }));
  const stop = events.follow((message) => {
    const of = 'event' in message ? message.event.vm : message.job.vm;
    if (mine(of)) send(client, JSON.stringify(message));
  });
  client.on('close', stop);
}

function followGauges(gauges: Gauges, caller: Caller, client: WebSocket, vm: string | undefined): void {
  const stop = gauges.follow((told) => {
    const mine = (vm === undefined || told.vm === vm) && (caller.vms === null || caller.vms.includes(told.vm));
    if (mine) send(client, JSON.stringify({ gauges: told }));
  });
  client.on('close', stop);
}

// ---- captures ---------------------------------------------------------------------------------------------------------------------

/** Binary messages: a pcap file in pieces, until the client closes. What it does not take is left out. */
async function captureSwitch(
  management: Management,
  client: WebSocket,
  name: string,
  options: { readonly vm: string | undefined; readonly nic: string | undefined; readonly snaplen: number | undefined },
): Promise<void> {
  let gone = false;
  let end = (): void => {};
  client.on('close', () => {
    gone = true;
    end();
  });
  const capture = await management.context.networks.capture(name, options, (bytes) => {
    if (client.bufferedAmount < MOST_UNSENT) client.send(bytes);
  });
  if (gone) {
    capture.end();
    return;
  }
  end = capture.end;
  void capture.closed.then(() => client.close(CLOSE.tryAgainLater, 'the switch process has ended'));
}

// ---- the console ------------------------------------------------------------------------------------------------------------------

/** Binary messages, both ways: COM1's bytes. Each client has a connection to the worker of its own. */
async function attachConsole(worker: string, client: WebSocket, history: boolean): Promise<void> {
  const waiting: Buffer[] = [];
  let link: WorkerLink | undefined;
  const write = (bytes: Buffer): void => {
    link!.request('write', { data: bytes.toString('base64') }, 0).catch(() => {});
  };
  client.on('message', (data) => {
    if (link) write(bytesOf(data));
    else waiting.push(bytesOf(data));
  });
  link = await openLink(worker, client, (data) => send(client, data));
  if (link === undefined) return;
  await link.request('attach', { history });
  for (const bytes of waiting.splice(0)) write(bytes);
}

async function openLink(
  worker: string,
  client: WebSocket,
  onConsole: (bytes: Uint8Array) => void,
): Promise<WorkerLink | undefined> {
  let link: WorkerLink | undefined;
  let gone = false;
  client.on('close', () => {
    gone = true;
    link?.destroy();
  });
  link = await WorkerLink.open(worker, (event) => {
    if (event.event === 'console') onConsole(Buffer.from(event.data, 'base64'));
  });
  if (gone) {
    link.destroy();
    return undefined;
  }
  void link.closed.then(() => client.close(CLOSE.vmEnded, 'the virtual machine has ended'));
  return link;
}

// ---- a port of the guest's --------------------------------------------------------------------------------------------------------

/**
 * Binary messages, both ways, are a stream's bytes. Text messages: first `{"open":true}`, or `{"error":{code,message}}` where
 * nobody took the connection; then `{"end":true}` where a side sends no more. The connection has a buffer at each hop and is
 * held up when they are full; so this stream does not cut off a client that is slow.
 */
async function attachSocket(worker: string, client: WebSocket, port: number, timeout: number): Promise<void> {
  // The client waits for our first message before it sends.
  let socket: Socket;
  try {
    socket = await WorkerLink.connectGuest(worker, port, Math.min(timeout, LONGEST_PATIENCE));
  } catch (error) {
    if (!isViridianError(error)) throw error;
    client.send(JSON.stringify({ error: { code: error.code, message: error.message } }));
    client.close(CLOSE.normal);
    return;
  }
  client.on('message', (data, binary) => {
    if (!binary) socket.end();
    else if (!socket.write(bytesOf(data))) client.pause();
  });
  socket.on('drain', () => client.resume());
  // It may have left while nobody in the guest answered.
  if (client.readyState !== client.OPEN) socket.destroy();
  client.on('close', () => socket.destroy());
  socket.on('data', (bytes: Buffer) => {
    client.send(bytes, () => {
      if (client.bufferedAmount <= MOST_BUFFERED) socket.resume();
    });
    if (client.bufferedAmount > MOST_BUFFERED) socket.pause();
  });
  socket.on('end', () => client.send('{"end":true}'));
  socket.on('close', () => client.close(CLOSE.normal));
  client.send('{"open":true}');
  socket.resume();
}

// ---- the screen -------------------------------------------------------------------------------------------------------------------

const ScreenInput = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('key'), code: z.string().max(30), down: z.boolean() }),
  z.strictObject({ kind: z.literal('text'), text: z.string().max(10_000) }),
  z.strictObject({
    kind: z.literal('mouse'),
    x: z.number().min(0).max(1),
    y: z.number().min(0).max(1),
    buttons: z.int().min(0).max(7).optional(),
    wheel: z.int().min(-10).max(10).optional(),
  }),
  z.strictObject({ kind: z.literal('rate'), milliseconds: z.number().min(50).max(60_000) }),
]);

/** Before the PNG of a rectangle: where it lies, and the size of the screen; four 16-bit numbers, little-endian. */
const RECTANGLE_HEADER = 8;

function rectangle(
  { x, y, screenWidth, screenHeight }: Readonly<Record<'x' | 'y' | 'screenWidth' | 'screenHeight', number>>,
  png: string,
): Buffer {
  const header = Buffer.alloc(RECTANGLE_HEADER);
  for (const [i, value] of [x, y, screenWidth, screenHeight].entries()) header.writeUInt16LE(value & 0xffff, i * 2);
  return Buffer.concat([header, Buffer.from(png, 'base64')]);
}

/**
 * To the client: a binary message is a rectangle of the screen that has changed, first all of it; `{"kind":"blank"}` when
 * the guest shows nothing. From the client: keys, text, mouse, how often to look.
 */
async function attachScreen(worker: string, client: WebSocket): Promise<void> {
  const link = await openLink(worker, client, () => {});
  if (link === undefined) return;
  let period = 250;
  let timer: NodeJS.Timeout | undefined;
  let seen = 0;
  let blank = false;
  const look = async (): Promise<void> => {
    // A client that is behind is not sent more.
    if (client.bufferedAmount === 0) {
      const found = await link.request('screenChanges', { after: seen });
      if (found.kind === 'changed') {
        seen = found.change;
        blank = false;
        client.send(rectangle(found, found.png));
      } else if (found.kind === 'blank') {
        if (!blank) client.send('{"kind":"blank"}');
        blank = true;
        seen = 0;
      }
    }
    timer = setTimeout(() => void look().catch(() => {}), period);
  };
  client.on('close', () => clearTimeout(timer));
  client.on('message', (data, binary) => {
    if (binary) return;
    const input = ScreenInput.safeParse(parseJson(bytesOf(data).toString('utf8')));
    if (!input.success) {
      client.send(JSON.stringify({ kind: 'error', message: 'that makes no sense' }));
      return;
    }
    const { data: wanted } = input;
    const ignore = (): void => {};
    switch (wanted.kind) {
      case 'key':
        link.request('key', { code: wanted.code, down: wanted.down }).catch(ignore);
        break;
      case 'text':
        link.request('type', { text: wanted.text }).catch(ignore);
        break;
      case 'mouse': {
        const { kind: _, buttons, wheel, ...place } = wanted;
        const rest = { ...(buttons === undefined ? {} : { buttons }), ...(wheel === undefined ? {} : { wheel }) };
        link.request('mouse', { ...place, ...rest }).catch(ignore);
        break;
      }
      case 'rate':
        period = wanted.milliseconds;
        break;
    }
  });
  await look();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
