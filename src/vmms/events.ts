/** The event log: kept in the database, followed live. Ids ascend, so that a follower goes on where it was. */
import type { Event, Job } from '../contracts/api/resources.ts';
import type { Database, Row } from './database.ts';

/** Older ones are forgotten. */
const KEPT = 20_000;

export interface NewEvent {
  readonly kind: string;
  readonly severity?: Event['severity'];
  readonly vm?: { readonly id: string; readonly name: string };
  readonly text: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

export type Follower = (message: { readonly event: Event } | { readonly job: Job }) => void;

export class EventLog {
  readonly #db: Database;
  readonly #followers = new Set<Follower>();
  #sinceTrim = 0;

  constructor(db: Database) {
    this.#db = db;
  }

  add({ kind, severity = 'info', vm, text, data = {} }: NewEvent): Event {
    const time = new Date().toISOString();
    const id = this.#db.run(
      'insert into events (time, kind, severity, vm, vm_name, text, data) values (?, ?, ?, ?, ?, ?, ?)',
      time,
      kind,
      severity,
      vm?.id ?? null,
      vm?.name ?? null,
      text,
      JSON.stringify(data),
    );
    if (++this.#sinceTrim >= 100) {
      this.#sinceTrim = 0;
      this.#db.run('delete from events where id <= ?', id - KEPT);
    }
    const event: Event = { id, time, kind, severity, vm: vm?.id ?? null, vmName: vm?.name ?? null, text, data };
    for (const follower of this.#followers) follower({ event });
    return event;
  }

  /** Jobs are told of, and not kept. */
  tellJob(job: Job): void {
    for (const follower of this.#followers) follower({ job });
  }

  list({ after = 0, last, vm }: { after?: number; last?: number; vm?: string }): Event[] {
    const where = vm === undefined ? 'id > ?' : 'id > ? and vm = ?';
    const values = vm === undefined ? [after] : [after, vm];
    const rows =
      last === undefined
        ? this.#db.all(`select * from events where ${where} order by id limit 10000`, ...values)
        : this.#db.all(`select * from events where ${where} order by id desc limit ?`, ...values, last).toReversed();
    return rows.map(eventOf);
  }

  /** Returns how to stop it. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }
}

function eventOf(row: Row): Event {
  return {
    id: Number(row.id),
    time: String(row.time),
    kind: String(row.kind),
    severity: row.severity as Event['severity'],
    vm: row.vm as string | null,
    vmName: row.vm_name as string | null,
    text: String(row.text),
    data: JSON.parse(String(row.data)) as Record<string, unknown>,
  };
}
