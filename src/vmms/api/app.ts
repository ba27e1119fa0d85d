/**
 * The API over HTTP: routes from the table of operations, checked by its schemas, and the OpenAPI document of the same. It
 * knows no sockets: a request comes in, an answer goes out.
 */
import { createRoute, OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { z } from 'zod';
import { complaint, OPERATIONS, type Operation, PATH_PARAMETERS } from '../../contracts/api/operations.ts';
import { API_BASE, type OperationName, PATHS } from '../../contracts/api/paths.ts';
import { ApiError } from '../../contracts/api/resources.ts';
import { type ErrorCode, isViridianError, ViridianError } from '../../contracts/errors.ts';
import { type Management, PreconditionFailed } from '../management.ts';
import {
  type Caller,
  demandOwnOrigin,
  demandRole,
  type Gate,
  LOCAL,
  SESSION_COOKIE,
  secretIn,
  type Tokens,
} from './access.ts';
import { type ApiHandlers, type Call, demandOwnVm, LARGEST_UPLOAD } from './handlers.ts';
import type { Links } from './links.ts';
import { openMetrics } from './metrics.ts';

const STATUS: Readonly<Record<ErrorCode, 400 | 403 | 404 | 409 | 422 | 500 | 504>> = {
  invalid: 400,
  denied: 403,
  notFound: 404,
  wrongState: 409,
  timeout: 504,
  badFile: 422,
  failure: 500,
};

const LARGEST_BODY = 2 ** 20;

export interface AppOptions {
  readonly management: Management;
  readonly tokens: Tokens;
  readonly links: Links;
  readonly handlers: ApiHandlers;
  /** Undefined: requests come from the Unix socket. */
  readonly gate: Gate | undefined;
}

/** Who asks. @throws ViridianError; undefined: nobody who is known. */
export function callerOf(
  { gate, tokens, links }: Pick<AppOptions, 'gate' | 'tokens' | 'links'>,
  header: (name: string) => string | undefined,
): Caller | undefined {
  if (gate === undefined) return LOCAL;
  demandOwnOrigin(gate, header('host'), header('origin'));
  const secret = secretIn(header);
  return secret === undefined ? undefined : (tokens.find(secret) ?? links.find(secret));
}

class Unauthorized extends ViridianError {
  constructor() {
    super('denied', "say who you are: 'Authorization: Bearer TOKEN'");
  }
}

export function apiApp(options: AppOptions): OpenAPIHono {
  const { management, tokens, links, handlers, gate } = options;
  const app = new OpenAPIHono();
  const caller = (c: Context): Caller | undefined => callerOf(options, (name) => c.req.header(name));
  const demandCaller = (c: Context): Caller => {
    const found = caller(c);
    if (found === undefined) throw new Unauthorized();
    return found;
  };

  app.use('*', async (c, next) => {
    await next();
    // Files of the web console say themselves how long they are good for.
    if (!c.res.headers.has('Cache-Control')) c.header('Cache-Control', 'no-store');
    c.header('X-Content-Type-Options', 'nosniff');
  });

  for (const name of Object.keys(OPERATIONS) as OperationName[]) {
    const operation: Operation = OPERATIONS[name];
    const [method, path] = PATHS[name];
    const answer = async (c: Context): Promise<Response> => {
      const who = operation.role === 'anyone' ? (caller(c) ?? NOBODY) : demandCaller(c);
      if (operation.role !== 'anyone') demandRole(who, operation.role);
      const params = pathParameters(c.req.param() as Record<string, string>);
      demandOwnVm(management, who, params);
      if (name === 'openSession') return await openSession(c, { tokens, links }, gate !== undefined);
      if (name === 'closeSession') {
        // Whoever has kept its secret has it no more either.
        const secret = secretIn((header) => c.req.header(header));
        if (secret !== undefined) links.end(secret);
        c.header('Set-Cookie', `${SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0`);
        return c.body(null, 204);
      }
      const call: Call<OperationName> = {
        caller: who,
        params,
        query: parsed('query', operation.query, c.req.query()) as never,
        body: (operation.body ? parsed('body', operation.body, await jsonBody(c)) : undefined) as never,
        bytes: operation.bytes ? await bytesBody(c, LARGEST_UPLOAD) : new Uint8Array(),
        revision: revisionIn(c.req.header('if-match')),
        signal: c.req.raw.signal,
      };
      const result: unknown = await (handlers[name] as (call: Call<OperationName>) => unknown)(call);
      if (operation.etag && typeof result === 'object' && result !== null && 'revision' in result) {
        const etag = `"${String(result.revision)}"`;
        c.header('ETag', etag);
        if (method === 'get' && c.req.header('if-none-match') === etag) return c.body(null, 304);
      }
      if (operation.image) return c.body(result as Uint8Array<ArrayBuffer>, 200, { 'Content-Type': operation.image });
      const status = operation.status ?? (operation.response ? 200 : 204);
      return operation.response ? c.json(result, status as 200) : c.body(null, status === 202 ? 202 : 204);
    };
    // Checks are made above, after the caller's; the route is for the document and the path.
    app.openAPIRegistry.registerPath(routeOf(name, operation));
    app.on(method.toUpperCase(), `${API_BASE}${path.replaceAll(/\{(\w+)\}/g, ':$1')}`, answer);
  }

  app.get(`${API_BASE}/openapi.json`, (c) => {
    if (gate !== undefined) demandOwnOrigin(gate, c.req.header('host'), c.req.header('origin'));
    return c.json(document(app, management.version));
  });
  app.get('/metrics', async (c) => {
    const who = demandCaller(c);
    demandRole(who, 'viewer');
    const text = await openMetrics(management, who);
    return c.body(text, 200, { 'Content-Type': 'application/openmetrics-text; version=1.0.0; charset=utf-8' });
  });

  app.notFound((c) => c.json(errorBody('notFound', `there is no ${c.req.method} ${c.req.path}`), 404));
  app.onError((error, c) => {
    const { status, body } = errorAnswer(error);
    if (status === 401) c.header('WWW-Authenticate', 'Bearer realm="viridian"');
    return c.json(body, status);
  });
  return app;
}

const NOBODY: Caller = { name: 'nobody', role: 'viewer', vms: [] };

export function errorAnswer(error: unknown): { status: 401 | 412 | (typeof STATUS)[ErrorCode]; body: ApiError } {
  if (!isViridianError(error)) {
    console.error(error);
    return { status: 500, body: errorBody('failure', 'a defect of the service: its log says more') };
  }
  const body = errorBody(error.code, error.message);
  if (error instanceof Unauthorized) return { status: 401, body };
  if (error instanceof PreconditionFailed) return { status: 412, body };
  return { status: STATUS[error.code], body };
}

function errorBody(code: ErrorCode, message: string): ApiError {
  return { error: { code, message } };
}

function parsed(what: string, schema: z.ZodType | undefined, value: unknown): unknown {
  if (schema === undefined) return value;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const said = complaint(result.error);
  // A property's own name says enough; people at the command have never heard of a body.
  const named = what === 'body' && (result.error.issues[0]?.path.length ?? 0) > 0;
  throw new ViridianError('invalid', named ? said : `${what}: ${said}`);
}

function pathParameters(given: Readonly<Record<string, string>>): Record<string, string> {
  for (const [name, value] of Object.entries(given)) parsed(name, PATH_PARAMETERS[name], value);
  return given;
}

async function jsonBody(c: Context): Promise<unknown> {
  const bytes = await bytesBody(c, LARGEST_BODY);
  if (bytes.length === 0) return {};
  const type = c.req.header('content-type') ?? '';
  // Forms of other people's pages cannot send this type.
  if (!/^application\/json\b/.test(type)) throw new ViridianError('invalid', 'the body must be application/json');
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new ViridianError('invalid', 'the body is no JSON');
  }
}

async function bytesBody(c: Context, most: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  if (Number(c.req.header('content-length') ?? 0) > most) throw tooLarge(most);
  try {
    for await (const piece of c.req.raw.body ?? []) {
      length += piece.length;
      if (length > most) throw tooLarge(most);
      pieces.push(piece);
    }
  } catch (cause) {
    if (isViridianError(cause)) throw cause;
    // Nobody is there to be told, and it is no defect of ours.
    throw new ViridianError('invalid', 'the body has not come to its end', { cause });
  }
  return Buffer.concat(pieces);
}

function tooLarge(most: number): ViridianError {
  return new ViridianError('invalid', `the body has more than ${most} bytes`);
}

function revisionIn(header: string | undefined): number | undefined {
  if (header === undefined || header === '*') return undefined;
  const match = /^"(\d{1,15})"$/.exec(header);
  if (!match) throw new ViridianError('invalid', 'If-Match must be an ETag of this API');
  return Number(match[1]);
}

async function openSession(
  c: Context,
  { tokens, links }: Pick<AppOptions, 'tokens' | 'links'>,
  secure: boolean,
): Promise<Response> {
  const { token } = parsed('body', OPERATIONS.openSession.body, await jsonBody(c)) as { token: string };
  const secret = tokens.find(token) === undefined ? links.exchange(token) : token;
  if (secret === undefined)
    throw new ViridianError('denied', 'this token is not known, or the link has been used or is older than a minute');
  const tls = secure && c.req.url.startsWith('https:') ? '; Secure' : '';
  c.header('Set-Cookie', `${SESSION_COOKIE}=${secret}; Path=/; HttpOnly; SameSite=Strict${tls}`);
  return c.body(null, 204);
}

// ---- the document -----------------------------------------------------------------------------------------------------------------

function routeOf(name: OperationName, operation: Operation) {
  const [method, path] = PATHS[name];
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, each]) => each!);
  const params = z.object(Object.fromEntries(names.map((each) => [each, PATH_PARAMETERS[each]!])));
  const json = (schema: z.ZodType, description: string) => ({
    description,
    content: { 'application/json': { schema } },
  });
  const status = operation.status ?? (operation.response || operation.image ? 200 : 204);
  const good = operation.image
    ? {
        description: operation.summary,
        content: { [operation.image]: { schema: z.string().meta({ format: 'binary' }) } },
      }
    : operation.response
      ? json(operation.response, operation.summary)
      : { description: 'done' };
  return createRoute({
    method,
    path: `${API_BASE}${path}`,
    operationId: name,
    tags: [operation.tag],
    summary: operation.summary,
    description: operation.role === 'anyone' ? 'Anyone.' : `Role: ${operation.role}.`,
    ...(operation.role === 'anyone' ? {} : { security: [{ token: [] }] }),
    request: {
      ...(names.length > 0 ? { params } : {}),
      ...(operation.query ? { query: operation.query } : {}),
      ...(operation.body ? { body: { content: { 'application/json': { schema: operation.body } } } } : {}),
      ...(operation.bytes
        ? { body: { content: { [operation.bytes]: { schema: z.string().meta({ format: 'binary' }) } } } }
        : {}),
    },
    responses: { [status]: good, default: json(ApiError, 'what is wrong') },
  });
}

let made: unknown;

/** Letters of all scripts (\p{L}) are no pattern to many readers of these documents: what is meant is said in words instead. */
function readablePattern(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('pattern' in value)) return value;
  const { pattern, ...rest } = value;
  if (typeof pattern !== 'string' || !pattern.includes('\\p{')) return value;
  const [, others = ''] = /\\p\{N\}([^\]]+)\]\S*$/.exec(pattern) ?? [];
  return { description: `letters and digits of any script, and "${others}"`, ...rest };
}

export function document(app: OpenAPIHono, version: string): unknown {
  if (made !== undefined) return made;
  app.openAPIRegistry.registerComponent('securitySchemes', 'token', { type: 'http', scheme: 'bearer' });
  const whole = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Viridian',
      version,
      description: 'The management service of Viridian. Streams (console, screen, events) are WebSockets: docs/api.md.',
      license: { name: 'MIT' },
    },
    servers: [{ url: '/' }],
  });
  made = JSON.parse(JSON.stringify(whole, readablePattern));
  return made;
}
