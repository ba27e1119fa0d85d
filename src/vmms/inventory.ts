/** What is known of each VM, in memory and in the database, always the same in both. */
import { randomUUID } from 'node:crypto';
import {
  type IsolationRung,
  type LastExit,
  type NewVm,
  VM_DEFAULTS,
  type VmChange,
  type VmConfiguration,
} from '../contracts/api/vm.ts';
import { ViridianError } from '../contracts/errors.ts';
import type { VmState } from '../contracts/vm-state.ts';
import type { Database, Row } from './database.ts';

/** The worker process that holds a VM. */
export interface WorkerRecord {
  /** Null while it is being started. */
  readonly pid: number | null;
  /** When the process was started, in ticks since the host's boot: a process id may be another's by now. */
  readonly startTicks: number | null;
  readonly instance: string;
  readonly folder: string;
  readonly bootId: string;
  /** Its throw-away files. */
  readonly temporary?: string;
  /** Absent while it is being started, and of workers from before there was any. */
  readonly isolation?: readonly IsolationRung[];
}

export interface SavedRecord {
  readonly file: string;
  /** The file goes when it has been used; else it is a checkpoint's. */
  readonly owned: boolean;
}

/** What a VM has used, all its runs together. */
export interface UsageRecord {
  readonly seconds: number;
  readonly processorSeconds: number;
  readonly memorySeconds: number;
  readonly diskReadBytes: number;
  readonly diskWrittenBytes: number;
  readonly networkBytes: number;
}
export const NO_USAGE: UsageRecord = {
  seconds: 0,
  processorSeconds: 0,
  memorySeconds: 0,
  diskReadBytes: 0,
  diskWrittenBytes: 0,
  networkBytes: 0,
};

export interface VmRecord {
  readonly id: string;
  readonly revision: number;
  readonly configuration: VmConfiguration;
  readonly state: VmState;
  readonly critical: string | null;
  readonly created: string;
  readonly saved: SavedRecord | null;
  readonly worker: WorkerRecord | null;
  readonly lastExit: LastExit | null;
  readonly wasRunning: boolean;
  /** The checkpoint that it goes on from. */
  readonly checkpoint: string | null;
  readonly usage: UsageRecord;
}

export type VmRecordChange = Partial<Omit<VmRecord, 'id' | 'created' | 'revision'>>;

export class Inventory {
  readonly #db: Database;
  readonly #vms = new Map<string, VmRecord>();

  constructor(db: Database) {
    this.#db = db;
    for (const row of db.all('select * from vms')) this.#vms.set(String(row.id), recordOf(row));
  }

  /** By name. */
  list(): VmRecord[] {
    return [...this.#vms.values()].sort((a, b) => a.configuration.name.localeCompare(b.configuration.name, 'en'));
  }

  /** By id or name. @throws ViridianError `notFound` */
  find(idOrName: string): VmRecord {
    const found = this.#vms.get(idOrName) ?? this.named(idOrName);
    if (found === undefined) throw new ViridianError('notFound', `there is no virtual machine '${idOrName}'`);
    return found;
  }

  named(name: string): VmRecord | undefined {
    for (const vm of this.#vms.values()) if (vm.configuration.name === name) return vm;
    return undefined;
  }

  get(id: string): VmRecord | undefined {
    return this.#vms.get(id);
  }

  add(configuration: VmConfiguration, id: string = randomUUID()): VmRecord {
    this.demandFree(configuration.name);
    if (this.#vms.has(id))
      throw new ViridianError('wrongState', `a virtual machine with the id ${id} is there already`);
    const record: VmRecord = {
      id,
      revision: 1,
      configuration,
      state: 'Off',
      critical: null,
      created: new Date().toISOString(),
      saved: null,
      worker: null,
      lastExit: null,
      wasRunning: false,
      checkpoint: null,
      usage: NO_USAGE,
    };
    this.#db.run(
      'insert into vms (id, name, revision, configuration, state, created) values (?, ?, ?, ?, ?, ?)',
      id,
      configuration.name,
      1,
      JSON.stringify(configuration),
      record.state,
      record.created,
    );
    this.#vms.set(id, record);
    return record;
  }

  /** @param but the id of the VM that may have it. @throws ViridianError `wrongState` */
  demandFree(name: string, but?: string): void {
    const other = this.named(name);
    if (other !== undefined && other.id !== but)
      throw new ViridianError('wrongState', `there is a virtual machine '${name}' already: give another name`);
  }

  /** Written before it is believed. A new configuration raises the revision. */
  change(id: string, change: VmRecordChange): VmRecord {
    const old = this.#vms.get(id)!;
    if (change.configuration !== undefined) this.demandFree(change.configuration.name, id);
    const revision = old.revision + (change.configuration === undefined ? 0 : 1);
    const now: VmRecord = { ...old, ...change, revision };
    this.#db.run(
      `update vms set name = ?, revision = ?, configuration = ?, state = ?, critical = ?, saved = ?, saved_owned = ?,
        worker = ?, last_exit = ?, was_running = ?, checkpoint = ?, usage = ? where id = ?`,
      now.configuration.name,
      revision,
      JSON.stringify(now.configuration),
      now.state,
      now.critical,
      now.saved?.file ?? null,
      now.saved?.owned ? 1 : 0,
      now.worker === null ? null : JSON.stringify(now.worker),
      now.lastExit === null ? null : JSON.stringify(now.lastExit),
      now.wasRunning ? 1 : 0,
      now.checkpoint,
      JSON.stringify(now.usage),
      id,
    );
    this.#vms.set(id, now);
    return now;
  }

  remove(id: string): void {
    this.#db.run('delete from vms where id = ?', id);
    this.#vms.delete(id);
  }

  /** After a transaction that failed: what the database says. */
  reload(id: string): void {
    const row = this.#db.get('select * from vms where id = ?', id);
    if (row === undefined) this.#vms.delete(id);
    else this.#vms.set(id, recordOf(row));
  }
}

function parsed<T>(value: string | number | null | undefined): T | null {
  return typeof value === 'string' ? (JSON.parse(value) as T) : null;
}

function recordOf(row: Row): VmRecord {
  return {
    id: String(row.id),
    revision: Number(row.revision),
    // Settings that a newer build has added have their defaults.
    configuration: { ...VM_DEFAULTS, ...parsed<VmConfiguration>(row.configuration)! },
    state: row.state as VmState,
    critical: row.critical as string | null,
    created: String(row.created),
    saved: row.saved === null ? null : { file: String(row.saved), owned: row.saved_owned === 1 },
    worker: parsed<WorkerRecord>(row.worker),
    lastExit: parsed<LastExit>(row.last_exit),
    wasRunning: row.was_running === 1,
    checkpoint: row.checkpoint as string | null,
    usage: { ...NO_USAGE, ...parsed<UsageRecord>(row.usage) },
  };
}

/** A whole configuration of what was given. */
export function configurationOf({ boot, ...given }: NewVm): VmConfiguration {
  return {
    ...VM_DEFAULTS,
    ...withoutUndefined(given),
    version: VM_DEFAULTS.version,
    name: given.name,
    boot: { ...VM_DEFAULTS.boot, ...withoutUndefined(boot ?? {}) },
  };
}

export function changedConfiguration(old: VmConfiguration, { boot, ...change }: VmChange): VmConfiguration {
  return { ...old, ...withoutUndefined(change), boot: { ...old.boot, ...withoutUndefined(boot ?? {}) } };
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(given: T): Partial<Defined<T>> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<Defined<T>>;
}
