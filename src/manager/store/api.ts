/** Requests to the service, typed by the table of operations. The cookie of the session says who asks. */
import type { OperationBody, OperationQuery, OperationResult } from '../../contracts/api/operations.ts';
import { API_BASE, type OperationName, PATHS } from '../../contracts/api/paths.ts';

/** What the service refused, or that it was not reached (status 0). */
export class ApiFailure extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface Request<N extends OperationName> {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: OperationQuery<N>;
  readonly body?: OperationBody<N>;
  /** The revision that a change is based on. */
  readonly revision?: number;
  readonly signal?: AbortSignal;
}

let onSignedOut = (): void => {};
/** Called when the service no longer knows who asks. */
export function whenSignedOut(callback: () => void): void {
  onSignedOut = callback;
}

export function pathOf(name: OperationName, params: Readonly<Record<string, string>> = {}): string {
  return API_BASE + PATHS[name][1].replace(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(params[key] ?? ''));
}

/** @throws ApiFailure */
export async function call<N extends OperationName>(name: N, request: Request<N> = {}): Promise<OperationResult<N>> {
  const { params, query = {}, body, revision, signal } = request;
  const search = new URLSearchParams(
    Object.entries(query as Readonly<Record<string, unknown>>).map(([key, value]): [string, string] => [
      key,
      String(value),
    ]),
  ).toString();
  const answer = await fetch(pathOf(name, params) + (search === '' ? '' : `?${search}`), {
    method: PATHS[name][0].toUpperCase(),
    ...(signal === undefined ? {} : { signal }),
    headers: {
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...(revision === undefined ? {} : { 'If-Match': `"${revision}"` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  }).catch((error: unknown) => {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiFailure(0, 'the service cannot be reached: is it running? Start it with hv manager');
  });
  if (!answer.ok) {
    if (answer.status === 401 && name !== 'openSession') onSignedOut();
    throw new ApiFailure(answer.status, await complaintOf(answer));
  }
  if (answer.headers.get('content-type')?.startsWith('image/'))
    return new Uint8Array(await answer.arrayBuffer()) as OperationResult<N>;
  const text = await answer.text();
  return (text === '' ? undefined : JSON.parse(text)) as OperationResult<N>;
}

async function complaintOf(answer: Response): Promise<string> {
  try {
    const { error } = (await answer.json()) as { error: { message: string } };
    return error.message;
  } catch {
    return `the service answered ${answer.status} ${answer.statusText}`;
  }
}

/** A WebSocket of the service's, below the API's base. */
export function openSocket(path: string): WebSocket {
  const url = new URL(API_BASE + path, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  return socket;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
