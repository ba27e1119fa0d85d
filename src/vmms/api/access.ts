/**
 * Who may do what. On the Unix socket the file's permissions have decided: who can connect is the administrator. On TCP a
 * token says who it is, in a header or, for web pages, in a cookie that a script cannot read.
 */
import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { ROLES, type Role, type Token } from '../../contracts/api/resources.ts';
import { ViridianError } from '../../contracts/errors.ts';
import type { Database, Row } from '../database.ts';

export const SESSION_COOKIE = 'viridian-session';
const PREFIX = 'vir_';

export interface Caller {
  readonly name: string;
  readonly role: Role;
  /** Only these VMs; null: all. */
  readonly vms: readonly string[] | null;
}

export const LOCAL: Caller = { name: 'local', role: 'administrator', vms: null };

/** @throws ViridianError `denied` */
export function demandRole(caller: Caller, role: Role): void {
  if (ROLES.indexOf(caller.role) < ROLES.indexOf(role))
    throw new ViridianError('denied', `${caller.name} is a ${caller.role}, and this needs the role ${role}`);
}

/** A VM that the caller may not see is not there. @throws ViridianError `notFound` */
export function demandVm(caller: Caller, vm: { readonly id: string }, asked: string): void {
  if (caller.vms !== null && !caller.vms.includes(vm.id))
    throw new ViridianError('notFound', `there is no virtual machine '${asked}'`);
}

export class Tokens {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  list(): Token[] {
    return this.#db.all('select * from tokens order by name').map(tokenOf);
  }

  add({ name, role, vms = null }: { name: string; role: Role; vms?: readonly string[] | null | undefined }) {
    if (this.#db.get('select id from tokens where name = ?', name) !== undefined)
      throw new ViridianError('wrongState', `there is a token '${name}' already`);
    const secret = `${PREFIX}${randomBytes(32).toString('base64url')}`;
    const token: Token = {
      id: randomUUID(),
      name,
      role,
      vms: vms === null ? null : [...vms],
      createdAt: new Date().toISOString(),
    };
    this.#db.run(
      'insert into tokens (id, name, role, vms, hash, created) values (?, ?, ?, ?, ?, ?)',
      token.id,
      name,
      role,
      vms === null ? null : JSON.stringify(vms),
      hashOf(secret),
      token.createdAt,
    );
    return { ...token, secret };
  }

  remove(id: string): void {
    if (this.#db.get('select id from tokens where id = ?', id) === undefined)
      throw new ViridianError('notFound', `there is no token ${id}`);
    this.#db.run('delete from tokens where id = ?', id);
  }

  /** Secrets are long and random: looking one up by its hash tells nothing by the time it takes. */
  find(secret: string): Caller | undefined {
    if (!secret.startsWith(PREFIX) || secret.length > 200) return undefined;
    const hash = hashOf(secret);
    const row = this.#db.get('select * from tokens where hash = ?', hash);
    if (row === undefined || !timingSafeEqual(Buffer.from(String(row.hash)), Buffer.from(hash))) return undefined;
    return tokenOf(row);
  }
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function tokenOf(row: Row): Token {
  return {
    id: String(row.id),
    name: String(row.name),
    role: row.role as Role,
    vms: row.vms === null ? null : (JSON.parse(String(row.vms)) as string[]),
    createdAt: String(row.created),
  };
}

/** The secret in a request's headers. */
export function secretIn(header: (name: string) => string | undefined): string | undefined {
  const bearer = /^Bearer ([\w-]+)$/.exec(header('authorization') ?? '');
  if (bearer) return bearer[1];
  for (const pair of (header('cookie') ?? '').split(';')) {
    const [name, value] = pair.trim().split('=');
    if (name === SESSION_COOKIE) return value;
  }
  return undefined;
}

export interface Gate {
  /** Host names, with their ports, under which this service is reached: another is somebody else's name for us (DNS rebinding). */
  readonly hosts: ReadonlySet<string>;
}

/**
 * What holds for all requests over TCP. A web page of somebody else's must not use a browser that is signed in here.
 * @throws ViridianError `denied`
 */
export function demandOwnOrigin(gate: Gate, host: string | undefined, origin: string | undefined): void {
  if (host === undefined || !gate.hosts.has(host.toLowerCase()))
    throw new ViridianError('denied', `this service is not called '${host ?? ''}': start it with --allow-host`);
  if (origin === undefined) return;
  const own = URL.canParse(origin) && gate.hosts.has(new URL(origin).host);
  if (!own) throw new ViridianError('denied', `pages of ${origin} may not use this service`);
}
