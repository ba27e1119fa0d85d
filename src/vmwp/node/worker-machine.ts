/**
 * The partition of a worker process, and what may be asked of it (contracts/worker.ts). It starts when it is made; its state
 * and its end are told to a listener.
 */
import { readFile } from 'node:fs/promises';
import type { VmMetrics } from '../../contracts/api/vm.ts';
import type { DiskFile, StoragePlace } from '../../contracts/block-device.ts';
import { isViridianError, ViridianError } from '../../contracts/errors.ts';
import type {
  CreatePartition,
  DiskEvent,
  InspectNode,
  Partition,
  StateSaving,
  StopReason,
} from '../../contracts/partition.ts';
import type { GuestStream } from '../../contracts/sockets.ts';
import type { WorkerExit, WorkerMethod, WorkerMethods, WorkerSpec, WorkerState } from '../../contracts/worker.ts';
import { acceptHandedFiles } from '../../host/node/disk-files.ts';
import type { FileReceiver } from '../../host/node/pass-files.ts';
import { ConsoleHistory } from './console-history.ts';
import { ProcessMeter } from './process-meter.ts';
import { RemoteNics } from './remote-nics.ts';

export interface WorkerListener {
  state(state: WorkerState): void;
  console(bytes: Uint8Array): void;
  disk(kind: DiskEvent['kind'], file: string, message: string): void;
  saving(fraction: number): void;
  stopped(exit: WorkerExit): void;
}

/** The others are the server's. */
type OfMachine = Exclude<WorkerMethod, 'hello' | 'attach' | 'connectGuest'>;

type Handlers = {
  readonly [M in OfMachine]: (
    params: WorkerMethods[M]['params'],
  ) => Promise<WorkerMethods[M]['result']> | WorkerMethods[M]['result'];
};

/** Milliseconds between questions to the guest's daemon for data exchange. */
const ADDRESSES_AGAIN = 10_000;
const MOST_ADDRESSES = 16;
/** Loopback, and what means something on one link only. */
const LOCAL_ADDRESS = /^(127\.|::1$|fe80:)/i;

export class WorkerMachine {
  readonly history = new ConsoleHistory();
  /** Where files come from that this process may not open. */
  handed: FileReceiver | undefined;
  readonly #spec: WorkerSpec;
  readonly #listener: WorkerListener;
  readonly #meter = new ProcessMeter();
  readonly #nics: RemoteNics;
  #partition: Partition | undefined;
  #saving: StateSaving | undefined;
  #state: WorkerState = 'Starting';
  #startedAt: string | null = null;
  #full: string | null = null;
  #exit: WorkerExit | null = null;
  #saidAddresses: readonly string[] = [];
  #askAddressesAt = 0;

  constructor(spec: WorkerSpec, listener: WorkerListener) {
    this.#spec = spec;
    this.#listener = listener;
    this.#nics = new RemoteNics(spec.nics);
  }

  get state(): WorkerState {
    return this.#state;
  }
  get startedAt(): string | null {
    return this.#startedAt;
  }
  get full(): string | null {
    return this.#full;
  }
  get exit(): WorkerExit | null {
    return this.#exit;
  }

  /** Never rejects: what is wrong is the reason of its end. */
  async start(create: CreatePartition): Promise<void> {
    const spec = this.#spec;
    // Of a worker that was started ahead; others may open what they need.
    acceptHandedFiles(this.handed?.take() ?? []);
    try {
      const partition = await create({
        ...(spec.restore === null
          ? {
              kernel: spec.kernel ?? undefined,
              initrd: spec.initrd ?? undefined,
              append: spec.append,
              memory: spec.memory,
              processors: spec.processors,
            }
          : { restore: spec.restore, restoreUnread: spec.restoreUnread }),
        engine: spec.engine,
        onReboot: spec.onReboot,
        disks: spec.disks.map(diskFile),
        dvds: spec.dvds.map(({ slot, file }) => ({ lun: slot, file: file ?? undefined })),
        nics: this.#nics.options(),
        processorMaximum: spec.processorMaximum,
        storageMaximum: spec.storageMaximum ?? undefined,
        onDisk: ({ kind, file, message }) => {
          if (kind === 'full' || kind === 'room') this.#full = kind === 'full' ? file : null;
          this.#listener.disk(kind, file, message);
          if (kind === 'full') this.#enter('PausedCritical');
          else if (kind === 'room' && this.#state === 'PausedCritical') this.#enter('Running');
        },
      });
      this.#partition = partition;
      partition.console.onData((bytes) => {
        this.history.add(bytes);
        this.#listener.console(bytes);
      });
      void partition.stopped.then((reason) => this.#ended(exitOf(reason)));
      this.#startedAt = new Date().toISOString();
      if (spec.restore === null) {
        partition.start();
        this.#enter('Running');
      } else this.#enter('Paused');
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const code = isViridianError(error) ? error.code : null;
      if (code === null) console.error(error);
      this.#ended({ kind: 'error', message, time: new Date().toISOString(), code });
    } finally {
      acceptHandedFiles([]);
    }
  }

  #enter(state: WorkerState): void {
    if (this.#state === state || this.#state === 'Stopped') return;
    this.#state = state;
    this.#listener.state(state);
  }

  #ended(exit: WorkerExit): void {
    if (this.#exit !== null) return;
    this.#exit = exit;
    this.#enter('Stopped');
    this.#listener.stopped(exit);
  }

  /** Frees threads and files. */
  async dispose(): Promise<void> {
    await this.#partition?.[Symbol.asyncDispose]();
    this.#meter.stop();
  }

  turnOff(): void {
    if (this.#partition) this.#partition.turnOff();
    else this.#ended({ kind: 'turnedOff', message: '', time: new Date().toISOString(), code: null });
  }

  async connect({ port, timeout }: WorkerMethods['connectGuest']['params']): Promise<GuestStream> {
    return await this.#live.connect(port, { timeout });
  }

  async do<M extends OfMachine>(method: M, params: WorkerMethods[M]['params']): Promise<WorkerMethods[M]['result']> {
    const handler = this.#handlers[method] as Handlers[M] | undefined;
    if (handler === undefined) throw new ViridianError('invalid', `a worker knows nothing of '${String(method)}'`);
    if (!TAKES_FILES.has(method)) return await handler(params);
    acceptHandedFiles(this.handed?.take() ?? []);
    try {
      return await handler(params);
    } finally {
      acceptHandedFiles([]);
    }
  }

  get #live(): Partition {
    if (this.#partition === undefined || this.#exit !== null)
      throw new ViridianError('wrongState', `the VM is ${this.#state === 'Starting' ? 'starting' : 'off'}`);
    return this.#partition;
  }

  readonly #handlers: Handlers = {
    pause: async () => {
      await this.#live.pause();
      this.#enter('Paused');
    },
    resume: () => {
      this.#live.resume();
      if (this.#full === null) this.#enter('Running');
    },
    saveBegin: async ({ file }) => {
      await this.#saving?.cancel();
      this.#saving = this.#live.saveTo(file, { onProgress: (fraction) => this.#listener.saving(fraction) });
      await this.#saving.ready;
    },
    saveTake: () => demandSaving(this.#saving).take() as Promise<undefined>,
    saveFinish: () => demandSaving(this.#saving).finish(),
    saveCancel: async () => {
      await this.#saving?.cancel();
      this.#saving = undefined;
    },
    shutdown: ({ restart, force }) => this.#live.shutdown({ restart, force }) as Promise<undefined>,
    turnOff: () => this.turnOff() as undefined,
    reset: async () => {
      await this.#live.reset();
      this.#startedAt = new Date().toISOString();
      this.#enter('Running');
    },
    nmi: () => this.#live.injectNmi() as undefined,
    metrics: async () => await this.#metrics(),
    inspect: async () => plain(await this.#live.inspect()),
    write: async ({ data }) => {
      await this.#live.console.write(Buffer.from(data, 'base64'));
    },
    screenshot: async () => {
      const png = await this.#live.screenshot();
      return { png: png === undefined ? null : Buffer.from(png).toString('base64') };
    },
    screenChanges: async ({ after }) => {
      const changes = await this.#live.screenChanges(after);
      if (!changes) return { kind: changes === null ? 'same' : 'blank' };
      return { ...changes, kind: 'changed', png: Buffer.from(changes.png).toString('base64') };
    },
    type: ({ text }) => ({ untyped: demand(this.#live.keyboard, 'keyboard').type(text) }),
    key: ({ code, down }) => ({ taken: demand(this.#live.keyboard, 'keyboard').key(code, down) }),
    mouse: (state) => ({ taken: demand(this.#live.mouse, 'mouse').move(state) }),
    integration: () => {
      const { integration, keyboard, mouse, memory } = this.#live;
      return {
        heartbeat: integration.heartbeat(),
        keyboard: keyboard?.ready ?? false,
        mouse: mouse?.ready ?? false,
        dynamicMemory: memory?.ready ?? false,
        addresses: this.#addresses(),
      };
    },
    setTime: () => this.#live.integration.synchronizeTime() as undefined,
    freeze: async ({ frozen }) => {
      const { integration } = this.#live;
      await (frozen ? integration.freeze() : integration.thaw());
    },
    kvpList: async ({ pool }) => Object.fromEntries(await this.#live.integration.values(pool)),
    kvpSet: async ({ pool, key, value }) => {
      await this.#live.integration.setValue(pool, key, value);
    },
    kvpRemove: async ({ pool, key }) => ({ there: await this.#live.integration.deleteValue(pool, key) }),
    copyFile: async ({ path, file, overwrite, createFolders }) => {
      await this.#live.integration.copyFile(path, await readFile(file), { overwrite, createFolders });
    },
    releaseDisks: () => this.#live.storage.releaseFiles() as Promise<undefined>,
    reopenDisks: ({ disks }) => this.#live.storage.reopenFiles(disks.map(diskFile)) as Promise<undefined>,
    listStorage: () =>
      this.#live.storage
        .list()
        .filter(({ controller }) => controller === 0)
        .map(({ kind, lun, file }) => ({ kind, slot: lun, file: file ?? null })),
    attachDisk: async ({ disk }) => {
      await this.#live.storage.attachDisk(diskFile(disk));
    },
    detachDisk: ({ slot }) => this.#live.storage.detachDisk(at(slot)) as Promise<undefined>,
    attachDvd: async ({ dvd: { slot, file } }) => {
      await this.#live.storage.attachDvdDrive({ ...at(slot), file: file ?? undefined });
    },
    detachDvd: ({ slot }) => this.#live.storage.detachDvdDrive(at(slot)) as Promise<undefined>,
    insertDvd: ({ dvd: { slot, file } }) => {
      const { storage } = this.#live;
      return (file === null ? storage.ejectDvd(at(slot)) : storage.insertDvd(at(slot), file)) as Promise<undefined>;
    },
    listNics: () => this.#nics.list(),
    attachNic: ({ nic }) => this.#nics.attach(this.#live, nic) as Promise<undefined>,
    detachNic: ({ id }) => this.#nics.detach(this.#live, id) as undefined,
    connectNic: ({ id, port }) => this.#nics.connect(id, port) as undefined,
  };

  /** What the guest's daemon has said lately. */
  #addresses(): readonly string[] {
    if (Date.now() >= this.#askAddressesAt) {
      this.#askAddressesAt = Date.now() + ADDRESSES_AGAIN;
      // A guest without the daemon says so at once; one that is busy is asked again later.
      void this.#live.integration.addresses().then(
        (said) => (this.#saidAddresses = said),
        () => (this.#saidAddresses = []),
      );
    }
    return this.#saidAddresses.filter((text) => !LOCAL_ADDRESS.test(text)).slice(0, MOST_ADDRESSES);
  }

  async #metrics(): Promise<VmMetrics> {
    const partition = this.#live;
    const { instructions, busySeconds } = partition.stats();
    const memory = partition.memory?.status();
    const tree = await partition.inspect();
    return {
      time: new Date().toISOString(),
      processorPercent: this.#meter.percent,
      processorSeconds: busySeconds,
      instructions: Number(instructions),
      memoryAssigned: memory?.assigned ?? this.#spec.memory,
      memoryDemand: memory?.demand ?? 0,
      residentMemory: process.memoryUsage.rss(),
      disk: {
        readBytes: sum(tree, 'readBytes'),
        writtenBytes: sum(tree, 'writtenBytes'),
      },
      network: { receivedBytes: sum(tree, 'receivedBytes'), sentBytes: sum(tree, 'sentBytes') },
    };
  }
}

function at(slot: number): StoragePlace {
  return { controller: 0, lun: slot };
}

/** What is asked with disks whose files may have been handed over just before. */
const TAKES_FILES: ReadonlySet<WorkerMethod> = new Set(['reopenDisks', 'attachDisk', 'attachDvd', 'insertDvd']);

function diskFile(disk: WorkerSpec['disks'][number]): DiskFile & StoragePlace {
  const { slot, file, format, readOnly, discard, allowParent } = disk;
  return { controller: 0, lun: slot, file, format: format as DiskFile['format'], readOnly, discard, allowParent };
}

function demandSaving(saving: StateSaving | undefined): StateSaving {
  if (saving === undefined) throw new ViridianError('wrongState', 'the VM is not being saved');
  return saving;
}

function demand<T>(device: T | undefined, what: string): T {
  if (device === undefined) throw new ViridianError('wrongState', `the VM has no ${what}`);
  return device;
}

/** The sum of a counter over all devices. */
function sum(tree: InspectNode, name: string): number {
  let total = 0;
  for (const [key, value] of Object.entries(tree)) {
    if (typeof value === 'object') total += sum(value, name);
    else if (key === name && (typeof value === 'number' || typeof value === 'bigint')) total += Number(value);
  }
  return total;
}

/** Bigints as hexadecimal text. */
function plain(tree: InspectNode): unknown {
  return JSON.parse(
    JSON.stringify(tree, (_key, value: unknown) => (typeof value === 'bigint' ? `0x${value.toString(16)}` : value)),
  );
}

function exitOf(reason: StopReason): WorkerExit {
  return { kind: reason.kind, message: messageOf(reason), time: new Date().toISOString(), code: null };
}

function messageOf(reason: StopReason): string {
  switch (reason.kind) {
    case 'powerOff':
    case 'reset':
    case 'turnedOff':
    case 'instructionLimit':
      return '';
    case 'tripleFault':
      return `triple fault on processor ${reason.processor}`;
    case 'crash': {
      const parameters = reason.parameters.map((value) => `0x${value.toString(16)}`).join(' ');
      return `the guest crashed: ${parameters}\n${reason.message}`.trimEnd();
    }
    case 'exit':
      return `the guest ended the run with ${reason.code}`;
    case 'divergence':
      return reason.report;
    case 'error':
      return reason.message;
  }
}
