/**
 * The management service for programs: `const host = await connect(); const vm = await host.create({ name: 'web', ... });
 * await vm.start();`. The `hv` command is made of it.
 */
import type { OperationBody, OperationResult } from '../contracts/api/operations.ts';
import type { Checkpoint, Event, Host as HostInfo, Job } from '../contracts/api/resources.ts';
import type { Disk, NewVm, VmChange, Vm as VmInfo, VmMetrics } from '../contracts/api/vm.ts';
import { ViridianError } from '../contracts/errors.ts';
import { execInGuest } from '../contracts/exec.ts';
import type { KeyValuePool } from '../contracts/partition.ts';
import type {
  ExecOptions,
  ExecResult,
  ConnectOptions as GuestConnectOptions,
  GuestStream,
} from '../contracts/sockets.ts';
import { serviceSocket } from '../host/node/folders.ts';
import { openGuestStream } from './guest-stream.ts';
import { Stream } from './stream.ts';
import { type Address, Transport } from './transport.ts';

export type { Checkpoint, Event, Job } from '../contracts/api/resources.ts';
export type { Disk, NewVm, VmChange, VmConfiguration, VmMetrics } from '../contracts/api/vm.ts';
export { isViridianError, ViridianError } from '../contracts/errors.ts';
export type { Address } from './transport.ts';
export type { HostInfo, VmInfo };

export interface ConnectOptions {
  /** Default: VIRIDIAN_HOST with VIRIDIAN_TOKEN, else the service of this user, which is started when it is not there. */
  readonly address?: Address | undefined;
  /** Whether a service that is not there is started. Default: true, for this user's own. */
  readonly start?: boolean | undefined;
  /** false: whether there is a service is found out by the first call. Default: true. */
  readonly probe?: boolean | undefined;
}

function defaultAddress(): { readonly address: Address; readonly own: boolean } {
  const { VIRIDIAN_HOST: host, VIRIDIAN_TOKEN: token } = process.env;
  if (host === undefined || host === '') return { address: { socket: serviceSocket() }, own: true };
  if (!/^https?:/.test(host)) return { address: { socket: host }, own: false };
  if (token === undefined)
    throw new ViridianError('denied', `VIRIDIAN_HOST is ${host}: set VIRIDIAN_TOKEN to a token of that service`);
  return { address: { url: host, token }, own: false };
}

async function startService(transport: Transport): Promise<void> {
  const starting = await import('./start-service.ts');
  await starting.startService(transport);
}

/** @throws ViridianError when there is no service, and none can be started. */
export async function connect(options: ConnectOptions = {}): Promise<Host> {
  const found = options.address === undefined ? defaultAddress() : { address: options.address, own: false };
  const transport = new Transport(found.address, (options.start ?? found.own) ? startService : undefined);
  if (options.probe ?? true) await transport.call('getVersion');
  return new Host(transport);
}

export interface JobOptions {
  /** Told how far it is. */
  readonly progress?: ((job: Job) => void) | undefined;
  /** Cancels the job, where it can be. */
  readonly signal?: AbortSignal | undefined;
}

export class Host implements AsyncDisposable {
  readonly transport: Transport;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  async info(): Promise<HostInfo> {
    return await this.transport.call('getHost');
  }
  async set(change: OperationBody<'setHost'>): Promise<HostInfo> {
    return await this.transport.call('setHost', { body: change });
  }

  /** All VMs, by name. */
  async list(): Promise<Vm[]> {
    return (await this.transport.call('listVms')).map((info) => new Vm(this, info));
  }
  /** By id or name. @throws ViridianError `notFound` */
  async get(name: string): Promise<Vm> {
    return new Vm(this, await this.transport.call('getVm', { params: { vm: name } }));
  }
  async create(configuration: NewVm): Promise<Vm> {
    return new Vm(this, await this.transport.call('createVm', { body: configuration }));
  }
  async import(options: OperationBody<'importVm'>, job?: JobOptions): Promise<Vm> {
    const { result } = await this.finish(await this.transport.call('importVm', { body: options }), job);
    return await this.get(result!);
  }

  /** Resolves when the job is done. @throws ViridianError with what was wrong. */
  async finish(job: Job, { progress, signal }: JobOptions = {}): Promise<Job> {
    const cancel = (): void => {
      this.transport.call('cancelJob', { params: { job: job.id } }).catch(() => {});
    };
    signal?.addEventListener('abort', cancel);
    try {
      let now = job;
      while (now.state === 'running') {
        progress?.(now);
        now = await this.transport.call('getJob', {
          params: { job: job.id },
          query: progress ? { wait: 20, after: now.progress } : { wait: 20 },
        });
      }
      progress?.(now);
      if (now.error) throw new ViridianError(now.error.code, now.error.message);
      return now;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /**
   * Events as they happen, and with `after` those since that one. Ends with the loop: `for await (const event of
   * host.events())`.
   */
  async *events(
    options: { readonly after?: number | undefined; readonly vm?: string | undefined } = {},
  ): AsyncGenerator<Event> {
    const query = new URLSearchParams();
    if (options.after !== undefined) query.set('after', String(options.after));
    if (options.vm !== undefined) query.set('vm', options.vm);
    await using stream = new Stream(await this.transport.stream(`/events/stream?${query.toString()}`));
    for await (const bytes of stream) {
      const message = JSON.parse(bytes.toString('utf8')) as { event?: Event };
      if (message.event) yield message.event;
    }
  }

  /** The service goes on. */
  async [Symbol.asyncDispose](): Promise<void> {}
}

export class Vm {
  readonly host: Host;
  #info: VmInfo;

  constructor(host: Host, info: VmInfo) {
    this.host = host;
    this.#info = info;
  }

  get id(): string {
    return this.#info.id;
  }
  get name(): string {
    return this.#info.name;
  }
  /** As it was when it was last asked for. */
  get info(): VmInfo {
    return this.#info;
  }

  get #at(): { readonly params: { readonly vm: string } } {
    return { params: { vm: this.id } };
  }

  async refresh(): Promise<VmInfo> {
    this.#info = await this.host.transport.call('getVm', this.#at);
    return this.#info;
  }

  /** Refused when somebody else has changed it since `info`. */
  async set(change: VmChange): Promise<VmInfo> {
    const { revision } = this.#info;
    this.#info = await this.host.transport.call('changeVm', { ...this.#at, body: change, revision });
    return this.#info;
  }

  async #job(job: Promise<Job>, options?: JobOptions): Promise<Job> {
    const done = await this.host.finish(await job, options);
    return done;
  }

  async start(options?: JobOptions): Promise<void> {
    await this.#job(this.host.transport.call('startVm', this.#at), options);
  }
  /** Has the guest shut down; with `turnOff` pulls the plug. Resolves when it is off. */
  async stop(body: OperationBody<'stopVm'> = {}, options?: JobOptions): Promise<void> {
    await this.#job(this.host.transport.call('stopVm', { ...this.#at, body }), options);
  }
  async pause(options?: JobOptions): Promise<void> {
    await this.#job(this.host.transport.call('pauseVm', this.#at), options);
  }
  async resume(options?: JobOptions): Promise<void> {
    await this.#job(this.host.transport.call('resumeVm', this.#at), options);
  }
  async save(options?: JobOptions): Promise<void> {
    await this.#job(this.host.transport.call('saveVm', this.#at), options);
  }
  async discardSavedState(options?: JobOptions): Promise<void> {
    await this.#job(this.host.transport.call('discardSavedState', this.#at), options);
  }
  async restart(body: OperationBody<'restartVm'> = {}, options?: JobOptions): Promise<void> {
    await this.#job(this.host.transport.call('restartVm', { ...this.#at, body }), options);
  }
  async injectNmi(options?: JobOptions): Promise<void> {
    await this.#job(this.host.transport.call('injectNmi', this.#at), options);
  }
  async remove(options?: JobOptions): Promise<void> {
    await this.#job(this.host.transport.call('removeVm', this.#at), options);
  }
  async export(folder: string, options?: JobOptions): Promise<void> {
    await this.#job(this.host.transport.call('exportVm', { ...this.#at, body: { folder } }), options);
  }
  async clone(body: OperationBody<'cloneVm'>, options?: JobOptions): Promise<Vm> {
    const { result } = await this.#job(this.host.transport.call('cloneVm', { ...this.#at, body }), options);
    return await this.host.get(result!);
  }

  async addDisk(disk: Omit<Disk, 'slot'> & { slot?: number }, options?: JobOptions): Promise<void> {
    await this.#job(this.host.transport.call('addDisk', { ...this.#at, body: disk }), options);
  }
  async removeDisk(slot: number, options?: JobOptions): Promise<void> {
    const params = { vm: this.id, slot };
    await this.#job(this.host.transport.call('removeDisk', { params }), options);
  }

  async checkpoints(): Promise<Checkpoint[]> {
    return await this.host.transport.call('listCheckpoints', this.#at);
  }
  /** Keeps the VM's state. */
  async checkpoint(name?: string, options?: JobOptions): Promise<Checkpoint> {
    const body = name === undefined ? {} : { name };
    const { result } = await this.#job(this.host.transport.call('createCheckpoint', { ...this.#at, body }), options);
    return (await this.checkpoints()).find(({ id }) => id === result)!;
  }
  /** By id or name. */
  async apply(checkpoint: string, body: OperationBody<'applyCheckpoint'> = {}, options?: JobOptions): Promise<void> {
    const params = { vm: this.id, checkpoint };
    await this.#job(this.host.transport.call('applyCheckpoint', { params, body }), options);
  }
  async removeCheckpoint(checkpoint: string, subtree = false, options?: JobOptions): Promise<void> {
    const params = { vm: this.id, checkpoint };
    const query = subtree ? { subtree: 'true' as const } : {};
    await this.#job(this.host.transport.call('removeCheckpoint', { params, query }), options);
  }

  /** A new VM that goes on where the checkpoint was. */
  async fork(checkpoint: string, body: OperationBody<'forkCheckpoint'>, options?: JobOptions): Promise<Vm> {
    const params = { vm: this.id, checkpoint };
    const { result } = await this.#job(this.host.transport.call('forkCheckpoint', { params, body }), options);
    return await this.host.get(result!);
  }

  async metrics(): Promise<VmMetrics> {
    return await this.host.transport.call('getVmMetrics', this.#at);
  }
  /** A PNG file's bytes. */
  async screenshot(): Promise<Uint8Array> {
    return await this.host.transport.call('getScreen', this.#at);
  }
  async type(text: string): Promise<void> {
    await this.host.transport.call('sendKeys', { ...this.#at, body: { text } });
  }
  async keys(...keys: string[]): Promise<void> {
    await this.host.transport.call('sendKeys', { ...this.#at, body: { keys } });
  }
  async integration(): Promise<OperationResult<'getIntegration'>> {
    return await this.host.transport.call('getIntegration', this.#at);
  }
  async values(pool: KeyValuePool): Promise<Record<string, string>> {
    return await this.host.transport.call('listKvp', { params: { vm: this.id, pool } });
  }
  async setValue(pool: KeyValuePool, key: string, value: string): Promise<void> {
    await this.host.transport.call('setKvp', { params: { vm: this.id, pool, key }, body: { value } });
  }
  async copyFile(
    path: string,
    bytes: Uint8Array,
    options: { overwrite?: boolean; folders?: boolean } = {},
  ): Promise<void> {
    const query = {
      path,
      ...(options.overwrite ? { overwrite: 'true' as const } : {}),
      ...(options.folders ? { folders: 'true' as const } : {}),
    };
    await this.host.transport.call('copyFile', { ...this.#at, query, bytes });
  }

  /** COM1: an async iterator of bytes, and `write`. `await using` lets go of it. */
  async console(options: { readonly history?: boolean } = {}): Promise<Stream> {
    const history = options.history ?? true;
    return new Stream(await this.host.transport.stream(`/vms/${this.id}/console?history=${history}`));
  }

  /**
   * A stream to a port of the guest's (AF_VSOCK there), without a network.
   * @throws ViridianError `timeout` when nothing there takes the connection
   */
  async connect(port: number, { timeout = 10_000 }: GuestConnectOptions = {}): Promise<GuestStream> {
    const query = new URLSearchParams({ port: String(port), timeout: String(timeout) });
    const socket = await this.host.transport.stream(`/vms/${this.id}/socket?${query.toString()}`);
    return await openGuestStream(socket, port);
  }

  /** Runs a program in the guest, as root: its agent, which images of ours have, starts it. Without arguments a login's shell. */
  async exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult> {
    return await execInGuest((port, timeout) => this.connect(port, { timeout }), argv, options);
  }
}
