/**
 * The management service: one for each user and host. It takes up what it finds (running workers, steps that were cut
 * short), starts what is to be started with the host, and serves the API until it is told to end. VMs go on without it.
 */
import { closeSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ViridianError } from '../contracts/errors.ts';
import { isLive } from '../contracts/vm-state.ts';
import { WORKER_FILES } from '../contracts/worker.ts';
import { LOCK_EXCLUSIVE, LOCK_NONBLOCKING, libc } from '../host/node/libc.ts';
import type { ProgramFiles } from '../host/node/program.ts';
import { ApiServer, type TcpOptions } from './api/server.ts';
import { named, type ServiceContext, Settings, VmFolders } from './context.ts';
import { Database } from './database.ts';
import { EventLog } from './events.ts';
import { type HostFacts, hostFacts, requirements, unmet } from './host-facts.ts';
import { Inventory } from './inventory.ts';
import { Jobs } from './jobs.ts';
import { Management } from './management.ts';
import { Networks } from './network/networks.ts';
import { bootId } from './processes.ts';
import { Standby } from './standby.ts';
import type { VirtualMachine } from './virtual-machine.ts';
import { WorkerLink } from './worker-link.ts';

export interface ServiceOptions {
  readonly dataFolder: string;
  readonly runtimeFolder: string;
  readonly socket: string;
  /** Arguments of `process.execPath` that make it a worker; its folder follows. */
  readonly workerEntry: readonly string[];
  /** The same, for the switch process. */
  readonly switchEntry: readonly string[];
  readonly version: string;
  readonly tcp?: TcpOptions | undefined;
  /** The web console; undefined where it has not been built. */
  readonly pages?: ProgramFiles | undefined;
  /** For tests. */
  readonly facts?: HostFacts | undefined;
  /** For tests: called between steps. */
  readonly step?: ((name: string) => void) | undefined;
  /** For tests: another value is another start of the host. */
  readonly boot?: string | undefined;
}

export class Service implements AsyncDisposable {
  readonly management: Management;
  readonly #options: ServiceOptions;
  readonly #api: ApiServer;
  readonly #lock: number;
  readonly #ended = Promise.withResolvers<void>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #ending = false;

  private constructor(options: ServiceOptions, context: ServiceContext, lock: number) {
    this.#options = options;
    this.#lock = lock;
    this.management = new Management(context, options.version);
    this.#api = new ApiServer({
      management: this.management,
      service: { stop: (stopVms) => void this.stop(stopVms) },
      socket: options.socket,
      tcp: options.tcp,
      pages: options.pages,
    });
  }

  /** Resolves when it has ended. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  static async start(
    options: ServiceOptions,
  ): Promise<{ readonly service: Service; readonly port: number | undefined }> {
    const { dataFolder, runtimeFolder } = options;
    mkdirSync(dataFolder, { recursive: true, mode: 0o700 });
    mkdirSync(runtimeFolder, { recursive: true, mode: 0o700 });
    const lock = lockFolder(dataFolder);
    const db = new Database(join(dataFolder, 'viridian.db'));
    const events = new EventLog(db);
    const facts = options.facts ?? hostFacts();
    const inventory = new Inventory(db);
    const { switchEntry } = options;
    const context: ServiceContext = {
      db,
      inventory,
      networks: new Networks({ db, inventory, events, dataFolder, runtimeFolder, switchEntry }),
      events,
      jobs: new Jobs(events),
      folders: new VmFolders(db, dataFolder),
      dataFolder,
      runtimeFolder,
      workerEntry: options.workerEntry,
      // Checkpoints with memory are there to be forked.
      standby: new Standby(
        { entry: options.workerEntry, runtimeFolder, dataFolder },
        () => db.get('select id from checkpoints where state_file is not null limit 1') !== undefined,
      ),
      facts,
      settings: new Settings(db),
      merging: new Set(),
      workerEnded: new Set(),
      step: options.step ?? (() => {}),
    };
    const service = new Service(options, context, lock);
    const problem = unmet(requirements(facts));
    if (problem !== undefined) events.add({ kind: 'host.unfit', severity: 'warning', text: problem });
    rmSync(join(dataFolder, 'scratch'), { recursive: true, force: true });
    // What is there comes before who asks for it.
    await Promise.all(service.management.machines.map((machine) => machine.adopt()));
    await context.networks.recover();
    await Promise.all(service.management.machines.map((machine) => machine.matchNics().catch(() => {})));
    await service.management.recover();
    // From here on: what waited until now has just been done.
    context.workerEnded.add(() => service.management.checkpoints.mergeWhatWaited());
    await service.#endStrays();
    const port = await service.#api.listen();
    events.add({
      kind: 'service.started',
      text: `the service ${options.version} was started`,
      data: { pid: process.pid },
    });
    service.#startWithHost();
    service.management.context.standby.prepare();
    return { service, port };
  }

  /** Workers that no VM knows: their VMs were removed, or another service's database was put back. */
  async #endStrays(): Promise<void> {
    const { inventory } = this.management.context;
    const folder = join(this.#options.runtimeFolder, 'w');
    const known = new Set(inventory.list().map(({ worker }) => worker?.folder));
    for (const name of listed(folder)) {
      const path = join(folder, name);
      if (known.has(path)) continue;
      const link = await WorkerLink.open(join(path, WORKER_FILES.socket)).catch(() => undefined);
      await link?.request('turnOff', undefined, 10).catch(() => {});
      rmSync(path, { recursive: true, force: true });
    }
  }

  /** Automatic start actions: once after each start of the host, in order, each after its delay. */
  #startWithHost(): void {
    const { settings, inventory, events } = this.management.context;
    const boot = this.#options.boot ?? bootId();
    if (settings.get('boot') === boot) return;
    settings.set('boot', boot);
    const wanted = inventory
      .list()
      .filter(({ configuration, state, wasRunning }) => {
        const { automaticStartAction: action } = configuration;
        return !isLive(state) && (action === 'Start' || (action === 'StartIfRunning' && wasRunning));
      })
      .sort((a, b) => a.configuration.automaticStartOrder - b.configuration.automaticStartOrder);
    for (const record of wanted) {
      const { automaticStartDelay: delay, name } = record.configuration;
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        events.add({ kind: 'vm.autostart', vm: named(record), text: `${name} is started with the host` });
        this.management.start(record.id);
      }, delay * 1000);
      this.#timers.add(timer);
    }
  }

  /** @param stopVms carries out their automatic stop actions first. */
  async stop(stopVms = false): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const { management } = this;
    const { jobs, events, db, networks } = management.context;
    if (stopVms) await Promise.all(management.machines.map((machine) => this.#stopVm(machine)));
    // What is half done is finished, or is taken up by the next service.
    await Promise.race([jobs.idle(), new Promise((resolve) => setTimeout(resolve, 5000).unref())]);
    events.add({ kind: 'service.ended', text: 'the service ends' });
    management.context.standby.end();
    for (const machine of management.machines) machine.leave();
    await networks.leave();
    await this.#api.close();
    db.close();
    closeSync(this.#lock);
    this.#ended.resolve();
  }

  async #stopVm(machine: VirtualMachine): Promise<void> {
    const { jobs } = this.management.context;
    const action = machine.record.configuration.automaticStopAction;
    const running = machine.record.wasRunning;
    try {
      if (machine.state === 'Running' && action === 'ShutDown')
        await jobs.finished(this.management.stop(machine.id, { timeout: 120 }).id);
      else if (action === 'Save' && (machine.state === 'Running' || machine.state === 'Paused'))
        await jobs.finished(this.management.job(machine.id, 'save', 'saving', (vm, control) => vm.save(control)).id);
    } catch (error) {
      this.management.context.events.add({
        kind: 'vm.stop-failed',
        severity: 'error',
        vm: named(machine.record),
        text: `${machine.name}: ${error instanceof Error ? error.message : String(error)}; it is turned off`,
      });
    }
    if (isLive(machine.state)) await machine.turnOff().catch(() => {});
    // It ran when the host went down: that is what StartIfRunning asks for.
    if (running) this.management.context.inventory.change(machine.id, { wasRunning: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.ended;
  }
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Two services on one database would each believe to be the only one. */
function lockFolder(dataFolder: string): number {
  const lock = openSync(join(dataFolder, 'lock'), 'a', 0o600);
  const c = libc();
  if (c !== undefined && c.flock(lock, LOCK_EXCLUSIVE | LOCK_NONBLOCKING) !== 0) {
    closeSync(lock);
    throw new ViridianError('wrongState', `the service runs already, on ${dataFolder}`);
  }
  return lock;
}
