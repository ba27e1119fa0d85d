/**
 * How a client reaches the management service: HTTP over its Unix socket, or over TCP with a token. Answers that say what
 * is wrong become ViridianErrors.
 */
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http';
import type { OperationBody, OperationQuery, OperationResult } from '../contracts/api/operations.ts';
import { API_BASE, type OperationName, PATHS } from '../contracts/api/paths.ts';
import type { ApiError } from '../contracts/api/resources.ts';
import { ERROR_EXIT_CODES, ViridianError } from '../contracts/errors.ts';

/** Where a service is: `{ socket }`, or `{ url, token }`. */
export type Address =
  | { readonly socket: string }
  | { readonly url: string; readonly token: string; readonly certificate?: string | Uint8Array | undefined };

export interface CallOptions<N extends OperationName> {
  /** What stands for `{...}` in the path. */
  readonly params?: Readonly<Record<string, string | number>>;
  readonly query?: Partial<OperationQuery<N>>;
  readonly body?: OperationBody<N>;
  readonly bytes?: Uint8Array;
  /** Of the configuration that the caller has seen: the call is refused when it has changed since. */
  readonly revision?: number | undefined;
}

/** Nobody listens there. */
export class NoService extends ViridianError {
  constructor(where: string, options?: ErrorOptions) {
    super('failure', `the management service does not answer at ${where}`, options);
  }
}

export class Transport {
  readonly #address: Address;
  #start: ((transport: Transport) => Promise<void>) | undefined;

  #starting: Promise<void> | undefined;

  /** @param start has a service answer, when nobody does; once, for all calls that are under way. */
  constructor(address: Address, start?: (transport: Transport) => Promise<void>) {
    this.#address = address;
    this.#start = start;
  }

  /** Whether the service is a process of this host. */
  get isLocal(): boolean {
    return 'socket' in this.#address;
  }

  get place(): string {
    return 'socket' in this.#address ? this.#address.socket : this.#address.url;
  }

  /** @throws ViridianError */
  async call<N extends OperationName>(name: N, options: CallOptions<N> = {}): Promise<OperationResult<N>> {
    const [method, template] = PATHS[name];
    const path = template.replaceAll(/\{(\w+)\}/g, (_, key: string) =>
      encodeURIComponent(String(options.params?.[key])),
    );
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries(options.query ?? {}))
      if (value !== undefined) query.set(key, `${value as string | number}`);
    const text = query.size > 0 ? `?${query.toString()}` : '';
    const json = method === 'get' || method === 'delete' ? undefined : JSON.stringify(options.body ?? {});
    const body = options.bytes ?? json;
    const request = {
      body,
      type: options.bytes ? 'application/octet-stream' : 'application/json',
      headers: options.revision === undefined ? {} : { 'if-match': `"${options.revision}"` },
    };
    const ask = (): Promise<IncomingMessage> =>
      this.#request(method.toUpperCase(), `${API_BASE}${path}${text}`, request);
    const answer = await ask().catch(async (error: unknown) => {
      if (!(error instanceof NoService) || this.#start === undefined) throw error;
      this.#starting ??= this.#start(new Transport(this.#address)).finally(() => {
        this.#starting = undefined;
      });
      await this.#starting;
      return await ask();
    });
    this.#start = undefined;
    const bytes = await collected(answer);
    const status = answer.statusCode ?? 0;
    if (status >= 400) throw errorOf(status, bytes, this.place);
    if (/^image\//.test(answer.headers['content-type'] ?? '')) return bytes as OperationResult<N>;
    return (bytes.length === 0 ? undefined : JSON.parse(bytes.toString('utf8'))) as OperationResult<N>;
  }

  async #request(
    method: string,
    path: string,
    { body, type, headers }: { body: string | Uint8Array | undefined; type: string; headers: Record<string, string> },
  ): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = this.#open(path, {
      method,
      headers: {
        ...headers,
        ...this.#authorization,
        ...(body === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) }),
      },
    });
    request.on('response', resolve);
    request.on('error', (error) => reject(this.#failure(error)));
    request.end(body);
    return await promise;
  }

  get #authorization(): Record<string, string> {
    return 'token' in this.#address ? { authorization: `Bearer ${this.#address.token}` } : {};
  }

  #open(path: string, options: RequestOptions): ClientRequest {
    const address = this.#address;
    // Not imported: an import reads all that node:http exports, its WebSocket too, and with that loads undici, for 50 ms.
    const http = process.getBuiltinModule('node:http');
    // Without an agent: a connection that was kept may be to a service that has ended.
    // A socket has no server name. Left out, Node finds one, with a pattern for addresses that takes V8 6 ms to compile.
    if ('socket' in address) {
      const nameless: RequestOptions & { servername: string } = { ...options, servername: '' };
      return http.request({ ...nameless, socketPath: address.socket, path, agent: false });
    }
    const url = new URL(path, address.url);
    if (url.protocol !== 'https:') return http.request(url, options);
    const https = process.getBuiltinModule('node:https');
    return https.request(url, { ...options, ...(address.certificate ? { ca: Buffer.from(address.certificate) } : {}) });
  }

  #failure(error: Error): ViridianError {
    const code = 'code' in error ? String(error.code) : '';
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return new NoService(this.place, { cause: error });
    if (code === 'EACCES')
      return new ViridianError('denied', `${this.place}: you may not use this service`, { cause: error });
    return new ViridianError('failure', `${this.place}: ${error.message}`, { cause: error });
  }

  /** Paused: resume it when you listen. @param path below `API_BASE`. Loads the WebSocket library. */
  async stream(path: string): Promise<import('ws').WebSocket> {
    const { WebSocket } = await import('ws');
    const address = this.#address;
    const url =
      'socket' in address
        ? `ws+unix:${address.socket}:${API_BASE}${path}`
        : `${address.url.replace(/^http/, 'ws').replace(/\/$/, '')}${API_BASE}${path}`;
    const socket = new WebSocket(url, {
      headers: this.#authorization,
      perMessageDeflate: false,
      ...('certificate' in address && address.certificate ? { ca: Buffer.from(address.certificate) } : {}),
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once('open', () => {
      // Until somebody listens.
      socket.pause();
      resolve();
    });
    socket.once('error', (error) => reject(this.#failure(error)));
    socket.once('unexpected-response', (_request, answer) => {
      void collected(answer).then((bytes) => reject(errorOf(answer.statusCode ?? 0, bytes, this.place)));
    });
    await promise;
    socket.on('error', () => {});
    return socket;
  }
}

async function collected(answer: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of answer) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

function errorOf(status: number, bytes: Buffer, place: string): ViridianError {
  try {
    const { error } = JSON.parse(bytes.toString('utf8')) as ApiError;
    if (error.code in ERROR_EXIT_CODES) return new ViridianError(error.code, error.message);
  } catch {
    // Somebody else's page.
  }
  return new ViridianError('failure', `${place} answers with ${status}, and not as Viridian does`);
}
