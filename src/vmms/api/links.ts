/**
 * One-time links into the web console. A link's code is good for one exchange within a minute; what it is exchanged for is
 * a signed statement of who may do what until when, so that it outlives a restart of the service. Kept is only which were ended before
 * their time.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { ROLES } from '../../contracts/api/resources.ts';
import type { Settings } from '../context.ts';
import type { Caller } from './access.ts';

/** Milliseconds. */
export const LINK_LIFE = 60_000;
const SESSION_LIFE = 12 * 3_600_000;
const LINK_PREFIX = 'vil_';
const SESSION_PREFIX = 'vis_';
/** Links that nobody has used. */
const MOST_LINKS = 100;
const KEY = 'session-key';
const ENDED = 'sessions-ended';
const Ended = z.array(z.tuple([z.string(), z.number()]));

const Statement = z.strictObject({
  name: z.string(),
  role: z.enum(ROLES),
  vms: z.array(z.string()).nullable(),
  until: z.number(),
});

export class Links {
  readonly #key: Buffer;
  readonly #links = new Map<string, { readonly caller: Caller; readonly until: number }>();
  readonly #now: () => number;
  readonly #settings: Pick<Settings, 'get' | 'set'>;
  /** Signatures of sessions that were ended, and when they would have ended by themselves. */
  readonly #ended: Map<string, number>;

  constructor(settings: Pick<Settings, 'get' | 'set'>, now: () => number = Date.now) {
    this.#now = now;
    this.#settings = settings;
    this.#ended = new Map(Ended.parse(JSON.parse(settings.get(ENDED) ?? '[]')));
    const kept = settings.get(KEY);
    this.#key = kept === undefined ? randomBytes(32) : Buffer.from(kept, 'base64url');
    if (kept === undefined) settings.set(KEY, this.#key.toString('base64url'));
  }

  make(caller: Caller): { readonly code: string; readonly expiresAt: string } {
    for (const [code, { until }] of this.#links)
      if (until <= this.#now() || this.#links.size >= MOST_LINKS) this.#links.delete(code);
    const code = `${LINK_PREFIX}${randomBytes(32).toString('base64url')}`;
    const until = this.#now() + LINK_LIFE;
    this.#links.set(code, { caller, until });
    return { code, expiresAt: new Date(until).toISOString() };
  }

  /** The secret of a session, once; undefined: there is no such link, or not any more. */
  exchange(code: string): string | undefined {
    const link = this.#links.get(code);
    this.#links.delete(code);
    if (link === undefined || link.until <= this.#now()) return undefined;
    const { name, role, vms } = link.caller;
    const text = JSON.stringify({ name, role, vms, until: this.#now() + SESSION_LIFE });
    const body = Buffer.from(text).toString('base64url');
    return `${SESSION_PREFIX}${body}.${this.#sign(body)}`;
  }

  /** Who holds a session. */
  find(secret: string): Caller | undefined {
    const found = this.#read(secret);
    if (found === undefined || this.#ended.has(found.signature)) return undefined;
    const { until: _, ...caller } = found.statement;
    return caller;
  }

  /** Nobody holds the session any more. */
  end(secret: string): void {
    const found = this.#read(secret);
    if (found === undefined) return;
    this.#ended.set(found.signature, found.statement.until);
    for (const [signature, until] of this.#ended) if (until <= this.#now()) this.#ended.delete(signature);
    this.#settings.set(ENDED, JSON.stringify([...this.#ended]));
  }

  #read(secret: string): { readonly statement: z.infer<typeof Statement>; readonly signature: string } | undefined {
    if (!secret.startsWith(SESSION_PREFIX) || secret.length > 20_000) return undefined;
    const [body = '', signature = ''] = secret.slice(SESSION_PREFIX.length).split('.');
    const given = Buffer.from(signature);
    const right = Buffer.from(this.#sign(body));
    if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
    const statement = Statement.parse(JSON.parse(Buffer.from(body, 'base64url').toString('utf8')));
    return statement.until <= this.#now() ? undefined : { statement, signature };
  }

  #sign(body: string): string {
    return createHmac('sha256', this.#key).update(body).digest('base64url');
  }
}
