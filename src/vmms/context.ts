/** What the parts of the service share. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Edition } from '../contracts/api/resources.ts';
import type { VmConfiguration } from '../contracts/api/vm.ts';
import type { Database } from './database.ts';
import type { EventLog } from './events.ts';
import type { HostFacts } from './host-facts.ts';
import type { Inventory, VmRecord } from './inventory.ts';
import type { Jobs } from './jobs.ts';
import type { Networks } from './network/networks.ts';
import type { Standby } from './standby.ts';

export interface ServiceContext {
  readonly db: Database;
  readonly inventory: Inventory;
  readonly events: EventLog;
  readonly jobs: Jobs;
  readonly networks: Networks;
  readonly folders: VmFolders;
  readonly dataFolder: string;
  readonly runtimeFolder: string;
  /** The worker's program. */
  readonly workerEntry: readonly string[];
  readonly standby: Standby;
  readonly facts: HostFacts;
  readonly settings: Settings;
  /** Disk files that are being merged: no VM starts on them meanwhile. */
  readonly merging: Set<{ readonly files: ReadonlySet<string>; readonly done: Promise<unknown> }>;
  /** Told when a worker has ended, and its files are closed. */
  readonly workerEnded: Set<() => void>;
  /** Called between the steps of what must not stay half done; tests kill the service there. */
  readonly step: (name: string) => void;
}

/** Settings of the host, in the database. */
export class Settings {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  get(name: string): string | undefined {
    return this.#db.get('select value from settings where name = ?', name)?.value as string | undefined;
  }
  set(name: string, value: string): void {
    this.#db.run('insert or replace into settings (name, value) values (?, ?)', name, value);
  }
  get edition(): Edition {
    return (this.get('edition') ?? 'Unlimited') as Edition;
  }
}

/** The VM's own folder: saved states, checkpoints, disks that are made for it. */
export function vmFolder({ dataFolder }: Pick<ServiceContext, 'dataFolder'>, vm: string): string {
  return join(dataFolder, 'vms', vm);
}

/**
 * Folders of VMs that take long to fill, or to clear away: which of them is on record before, so that none is left of a VM that is
 * not. What is not on record stays: whose database was lost has disks there.
 */
export class VmFolders {
  readonly #db: Database;
  readonly #dataFolder: string;

  constructor(db: Database, dataFolder: string) {
    this.#db = db;
    this.#dataFolder = dataFolder;
  }

  begin(vm: string): void {
    this.#db.run('insert or ignore into making (vm) values (?)', vm);
  }

  /** It is the VM's, or goes when there is no such VM. */
  settle(vm: string): void {
    const isThere = this.#db.get('select id from vms where id = ?', vm) !== undefined;
    if (!isThere) rmSync(vmFolder({ dataFolder: this.#dataFolder }, vm), { recursive: true, force: true });
    this.#db.run('delete from making where vm = ?', vm);
  }

  /** Those that an earlier service was cut short in. */
  settleAll(): void {
    for (const { vm } of this.#db.all('select vm from making')) this.settle(String(vm));
  }
}

/** For events and jobs. */
export function named(vm: VmRecord): { readonly id: string; readonly name: string } {
  return { id: vm.id, name: vm.configuration.name };
}

/** Files of a configuration that a VM cannot start without. */
export function filesOf({ boot, disks, dvds }: VmConfiguration): readonly string[] {
  const files = [boot.kernel, boot.initrd, ...disks.map((disk) => disk.file), ...dvds.map((dvd) => dvd.file)];
  return files.filter((file) => file !== null);
}
