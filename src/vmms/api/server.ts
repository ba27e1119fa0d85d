/** Sockets: the Unix socket, and TCP where it is asked for. */
import { chmodSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { ListenOptions } from 'node:net';
import { dirname } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import type { SignInLink } from '../../contracts/api/resources.ts';
import { ViridianError } from '../../contracts/errors.ts';
import type { ProgramFiles } from '../../host/node/program.ts';
import type { Management } from '../management.ts';
import { type Caller, type Gate, Tokens } from './access.ts';
import { apiApp, callerOf } from './app.ts';
import { Gauges } from './gauges.ts';
import { apiHandlers, type ServiceControl } from './handlers.ts';
import { Links } from './links.ts';
import { serveManager } from './pages.ts';
import { Streams } from './streams.ts';

export interface TcpOptions {
  readonly host: string;
  readonly port: number;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  /** Further names under which clients know this service: "name" or "name:port". */
  readonly allowHosts?: readonly string[] | undefined;
}

export interface ApiServerOptions {
  readonly management: Management;
  readonly service: Omit<ServiceControl, 'link'>;
  readonly socket: string;
  readonly tcp?: TcpOptions | undefined;
  /** The built web console. */
  readonly pages?: ProgramFiles | undefined;
}

const LONGEST_SOCKET_PATH = 107;
/** Connections that wait to be taken. */
const BACKLOG = 4096;
/** How often connections are looked at that take too long: Node's own 30 s would add to the limits below. */
const CHECKING = { connectionsCheckingInterval: 2000 } as const;
const USUAL_PORT = 8006;
const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

export class ApiServer {
  readonly #options: ApiServerOptions;
  readonly #servers: Server[] = [];
  readonly #streams: Streams[] = [];
  readonly tokens: Tokens;
  readonly #links: Links;
  readonly #gauges: Gauges;
  /** Where browsers reach it. */
  #url: Promise<string> | undefined;

  constructor(options: ApiServerOptions) {
    this.#options = options;
    this.tokens = new Tokens(options.management.context.db);
    this.#links = new Links(options.management.context.settings);
    this.#gauges = new Gauges(options.management);
  }

  /** @returns the TCP port, when there is one. */
  async listen(): Promise<number | undefined> {
    const { socket, tcp } = this.#options;
    if (Buffer.byteLength(socket) > LONGEST_SOCKET_PATH)
      throw new ViridianError(
        'invalid',
        `${socket}: a socket's path has at most ${LONGEST_SOCKET_PATH} bytes: set XDG_RUNTIME_DIR or VIRIDIAN_HOME to a shorter one`,
      );
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
    chmodSync(dirname(socket), 0o700);
    rmSync(socket, { force: true });
    const local = this.#serve(createHttpServer(CHECKING), undefined);
    await listening(local, { path: socket, backlog: BACKLOG });
    chmodSync(socket, 0o600);
    return tcp === undefined ? undefined : await this.#listenTcp(tcp);
  }

  async #listenTcp(tcp: TcpOptions): Promise<number> {
    const secure = tcp.certificate !== undefined && tcp.key !== undefined;
    if (!secure && !LOOPBACK.test(tcp.host))
      throw new ViridianError(
        'invalid',
        `${tcp.host} can be reached from other machines: give --tls-cert and --tls-key, or listen on 127.0.0.1`,
      );
    const server = secure
      ? createHttpsServer({
          ...CHECKING,
          cert: readPem(tcp.certificate),
          key: readPem(tcp.key),
          minVersion: 'TLSv1.2',
        })
      : createHttpServer(CHECKING);
    const gate = { hosts: new Set<string>() };
    this.#serve(server, gate);
    await listening(server, { host: tcp.host, port: tcp.port, backlog: BACKLOG });
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : tcp.port;
    for (const name of namesOf(tcp, port, secure)) gate.hosts.add(name);
    this.#url = Promise.resolve(`${secure ? 'https' : 'http'}://${urlHost(tcp, port)}`);
    return port;
  }

  #serve(server: Server, gate: Gate | undefined): Server {
    const { management, service, pages } = this.#options;
    const { tokens } = this;
    const links = this.#links;
    const control = { ...service, link: (caller: Caller) => this.#link(caller) };
    const app = apiApp({ management, tokens, links, handlers: apiHandlers(management, tokens, control), gate });
    if (pages !== undefined) serveManager(app, pages, gate);
    const caller = (request: IncomingMessage) =>
      callerOf({ gate, tokens, links }, (name) => {
        const value = request.headers[name];
        return Array.isArray(value) ? value[0] : value;
      });
    const streams = new Streams({ management, caller, gauges: this.#gauges });
    this.#streams.push(streams);
    // A slow client holds a connection, and not for long.
    server.headersTimeout = 10_000;
    server.requestTimeout = 300_000;
    server.keepAliveTimeout = 10_000;
    server.maxConnections = 4096;
    const answer = getRequestListener(app.fetch);
    server.on('request', (request, response) => void answer(request, response));
    server.on('upgrade', (request, socket, head) => streams.upgrade(request, socket, head));
    server.on('clientError', (_error, socket) => {
      // Not left to the client to close: one that takes nothing would keep it for ever.
      if (socket.writable) socket.write('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
      socket.destroy();
    });
    this.#servers.push(server);
    return server;
  }

  /** A service that was not told to listen on TCP listens on loopback from the first link on. */
  async #link(caller: Caller): Promise<SignInLink> {
    const { pages } = this.#options;
    // It may have been built since the service was started.
    if (pages?.read('index.html') === undefined)
      throw new ViridianError('wrongState', "the web console has not been built: 'npm run build'");
    this.#url ??= this.#openLoopback().catch((error: unknown) => {
      this.#url = undefined;
      throw error;
    });
    const url = await this.#url;
    const { code, expiresAt } = this.#links.make(caller);
    // After '#': it is in no request, so in no log.
    return { url: `${url}/#code=${code}`, expiresAt };
  }

  async #openLoopback(): Promise<string> {
    for (const port of [USUAL_PORT, 0]) {
      try {
        await this.#listenTcp({ host: '127.0.0.1', port });
        break;
      } catch (error) {
        // Somebody else's: then any port.
        if (port === 0) throw error;
      }
    }
    return await this.#url!;
  }

  async close(): Promise<void> {
    for (const streams of this.#streams) streams.close();
    await Promise.all(
      this.#servers.map((server) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        server.close(() => resolve());
        server.closeIdleConnections();
        setTimeout(() => server.closeAllConnections(), 500).unref();
        return promise;
      }),
    );
    rmSync(this.#options.socket, { force: true });
  }
}

function urlHost({ host, allowHosts = [] }: TcpOptions, port: number): string {
  const first = allowHosts[0];
  if (first !== undefined) return /:\d+$/.test(first) ? first : `${first}:${port}`;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

async function listening(server: Server, where: ListenOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(where, resolve);
  try {
    await promise;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new ViridianError('failure', `cannot listen: ${text}`, { cause: error });
  }
}

function readPem(path: string | undefined): Buffer {
  try {
    return readFileSync(path!);
  } catch (error) {
    throw new ViridianError('notFound', `${path}: cannot be read`, { cause: error });
  }
}

function namesOf({ host, allowHosts = [] }: TcpOptions, port: number, secure: boolean): string[] {
  const names = LOOPBACK.test(host) ? ['127.0.0.1', 'localhost', '[::1]'] : [host];
  const usual = secure ? 443 : 80;
  return [...names.map((name) => `${name}:${port}`), ...allowHosts.map((name) => name.toLowerCase())].flatMap(
    (name) => {
      const whole = /:\d+$/.test(name) ? name : `${name}:${port}`;
      return whole.endsWith(`:${usual}`) ? [whole, whole.slice(0, -`:${usual}`.length)] : [whole];
    },
  );
}
