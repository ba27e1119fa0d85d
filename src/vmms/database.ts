/**
 * The inventory: one SQLite file (write-ahead log, every commit synced). What VMMS knows and does not find in it after a
 * crash, it asks workers and files for; nothing else is kept anywhere. A host whose disk is full is when the truth is needed most:
 * the file and its log have room of their own, taken when they are opened, and a file beside them gives way when that is too little.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { ViridianError } from '../contracts/errors.ts';

/** Raised with a migration below. */
const SCHEMA_VERSION = 4;

const SCHEMA = `
create table settings (name text primary key, value text not null) strict;
create table vms (
  id text primary key,
  name text not null unique,
  revision integer not null,
  configuration text not null,
  state text not null,
  critical text,
  created text not null,
  -- The file of the saved state, and whether it goes when it has been used (a checkpoint's stays).
  saved text,
  saved_owned integer not null default 0,
  -- The run that is under way: WorkerRecord as JSON.
  worker text,
  last_exit text,
  -- It ran when the service was last told to end, or lost its worker with the host.
  was_running integer not null default 0,
  checkpoint text,
  usage text not null default '{}'
) strict;
create table checkpoints (
  id text primary key,
  vm text not null references vms (id) on delete cascade,
  parent text,
  name text not null,
  kind text not null,
  created text not null,
  configuration text not null,
  -- Files: of memory and devices, and of disks by slot as JSON.
  state_file text,
  disks text not null,
  -- Milliseconds for which the guest stood still, and for which it ran while the state was being written.
  pause real,
  background real,
  -- Its disks are, and its state is still being written. Nobody sees it yet.
  unfinished integer not null default 0
) strict;
-- Files that disks of checkpoints are made of, and what each stands on.
create table layers (
  file text primary key,
  vm text not null references vms (id) on delete cascade,
  parent text,
  ours integer not null,
  allow text not null
) strict;
-- State files that were written and synced here, as the host's file system knows them: they need not be read to be trusted.
create table whole_states (stamp text primary key) strict;
-- VMs that stand still while something is done to their disks, and whether they are to run afterwards.
create table held (vm text primary key references vms (id) on delete cascade, running integer not null) strict;
-- VMs whose folders are being filled before they are on record, or cleared away after: what is cut short leaves none behind.
create table making (vm text primary key) strict;
create table events (
  id integer primary key autoincrement,
  time text not null,
  kind text not null,
  severity text not null,
  vm text,
  vm_name text,
  text text not null,
  data text not null
) strict;
create index events_by_vm on events (vm, id);
create table switches (
  name text primary key,
  kind text not null,
  notes text not null,
  settings text not null default '{}'
) strict;
-- MAC addresses that the host has given.
create table macs (
  mac text primary key,
  vm text not null references vms (id) on delete cascade,
  nic text not null,
  unique (vm, nic)
) strict;
create table tokens (
  id text primary key,
  name text not null unique,
  role text not null,
  vms text,
  hash text not null unique,
  created text not null
) strict;
`;

/** What makes a schema out of the one before it, by the version that it makes. */
const MIGRATIONS: Readonly<Record<number, string>> = {
  2: `
alter table switches add column settings text not null default '{}';
create table macs (
  mac text primary key,
  vm text not null references vms (id) on delete cascade,
  nic text not null,
  unique (vm, nic)
) strict;`,
  3: `
alter table checkpoints add column background real;
alter table checkpoints add column unfinished integer not null default 0;
create table whole_states (stamp text primary key) strict;`,
  4: `
create table making (vm text primary key) strict;`,
};
/** Bytes that the file and its log have to spare, each. */
const SPARE = 2 * 2 ** 20;
/** Bytes of the file that gives way. */
const RESERVE = 4 * 2 ** 20;
/** https://www.sqlite.org/rescode.html */
const SQLITE_FULL = 13;

function isFull(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_FULL;
}

export type Row = Readonly<Record<string, string | number | null>>;

export class Database {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #statements = new Map<string, StatementSync>();
  #depth = 0;

  /** @param path ':memory:' for tests. */
  constructor(path: string) {
    this.#path = path;
    if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#db = new DatabaseSync(path, { timeout: 5000 });
    this.#withRoom(() => this.#open());
    if (path !== ':memory:') this.#takeRoom();
  }

  #open(): void {
    const path = this.#path;
    this.#db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;');
    // Pages, half of what the log has to spare: it is written over from its start before it has to grow.
    this.#db.exec(`pragma wal_autocheckpoint = ${SPARE / 4096 / 2}`);
    const { user_version: version } = this.#db.prepare('pragma user_version').get() as { user_version: number };
    if (version > SCHEMA_VERSION)
      throw new ViridianError(
        'badFile',
        `${path}: it was written by a newer version of Viridian (schema ${version}, and this build knows ${SCHEMA_VERSION})`,
      );
    if (version > 0 && version < SCHEMA_VERSION)
      this.transaction(() => {
        for (let next = version + 1; next <= SCHEMA_VERSION; next++) this.#db.exec(MIGRATIONS[next]!);
        this.#db.exec(`pragma user_version = ${SCHEMA_VERSION}`);
      });
    if (version === 0) {
      this.transaction(() => {
        this.#db.exec(SCHEMA);
        this.#db.exec(`pragma user_version = ${SCHEMA_VERSION}`);
      });
    }
  }

  get #reserve(): string {
    return `${this.#path}.reserve`;
  }

  /** What was freed in the file stays its own, and the log is written over from its start. */
  #takeRoom(): void {
    try {
      this.#withRoom(() => {
        this.#db.exec(`create table spare (bytes blob) strict; insert into spare values (zeroblob(${SPARE}))`);
      });
      this.#withRoom(() => this.#db.exec('drop table spare; pragma wal_checkpoint(passive)'));
      if (!existsSync(this.#reserve)) writeFileSync(this.#reserve, new Uint8Array(RESERVE), { mode: 0o600 });
    } catch (error) {
      // The next start tries again; what there is has to do.
      rmSync(this.#reserve, { force: true });
      this.#db.exec('drop table if exists spare');
      console.error(error);
    }
  }

  /** Again with the reserve given up, when there was no room. @throws ViridianError when there still is none. */
  #withRoom<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!isFull(error)) throw error;
      rmSync(this.#reserve, { force: true });
    }
    try {
      return work();
    } catch (cause) {
      if (!isFull(cause)) throw cause;
      throw new ViridianError('failure', `${this.#path}: the host has no room for it: make some`, { cause });
    }
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, (statement = this.#db.prepare(sql)));
    return statement;
  }

  run(sql: string, ...values: SQLInputValue[]): number {
    const statement = this.#statement(sql);
    // In a transaction what was done before is lost with what there is no room for: that is the transaction's to see.
    if (this.#depth > 0) return Number(statement.run(...values).lastInsertRowid);
    return Number(this.#withRoom(() => statement.run(...values)).lastInsertRowid);
  }
  all(sql: string, ...values: SQLInputValue[]): readonly Row[] {
    return this.#statement(sql).all(...values) as unknown as readonly Row[];
  }
  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values) as unknown as Row | undefined;
  }

  /** All or nothing of what `work` changes, also when the process is killed in it. `work` must not wait. */
  transaction<T>(work: () => T): T {
    if (this.#depth > 0) return work();
    this.#depth++;
    this.#db.exec('begin immediate');
    try {
      const result = work();
      this.#withRoom(() => this.#db.exec('commit'));
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('rollback');
      throw error;
    } finally {
      this.#depth--;
    }
  }

  get isOpen(): boolean {
    return this.#db.isOpen;
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }
}
