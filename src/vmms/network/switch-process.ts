/**
 * The switch process (vswitch/node/switch-process.ts), as the service knows it: found when an earlier service has started it, started
 * when it is needed, started again when it was lost. It goes on when the service ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { ViridianError } from '../../contracts/errors.ts';
import {
  SWITCH_FILES,
  SWITCH_PROTOCOL,
  type SwitchEvent,
  type SwitchMethod,
  type SwitchMethods,
} from '../../contracts/switches.ts';
import { isProcess, startTicks } from '../processes.ts';
import { RequestLink } from '../worker-link.ts';

/** Milliseconds until one that was started listens. */
const PATIENCE = 30_000;
const PASSED_ON = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR', 'NODE_OPTIONS'];
/** Each TAP device holds a thread of Node's pool. */
const THREADS = '32';

type Link = RequestLink<SwitchMethods, SwitchEvent>;

export interface SwitchProcessOptions {
  readonly entry: string;
  readonly runtimeFolder: string;
  readonly event: (event: SwitchEvent) => void;
  /** There is a new connection to it: what it has to know is to be told again. */
  readonly connected: () => Promise<void>;
  /** It has ended, and nobody here has asked it to. */
  readonly lost: () => void;
}

export class SwitchProcess {
  readonly folder: string;
  readonly #options: SwitchProcessOptions;
  #link: Link | undefined;
  #pid: number | null = null;
  #ticks: number | null = null;
  #starting: Promise<Link> | undefined;
  #left = false;

  constructor(options: SwitchProcessOptions) {
    this.#options = options;
    this.folder = join(options.runtimeFolder, 'switch');
  }

  get running(): boolean {
    return this.#link !== undefined;
  }
  get pid(): number | null {
    return this.#link === undefined ? null : this.#pid;
  }
  /** Where workers connect their adapters. */
  get portSocket(): string {
    return join(this.folder, SWITCH_FILES.ports);
  }
  get controlSocket(): string {
    return join(this.folder, SWITCH_FILES.control);
  }

  /** Finds the one that an earlier service has started. */
  async adopt(): Promise<boolean> {
    const link = await this.#connect().catch(() => undefined);
    if (link === undefined) return false;
    try {
      await this.#begin(link);
      return true;
    } catch {
      // It ended just now.
      return false;
    }
  }

  /** @throws ViridianError when it does not start. */
  async request<M extends SwitchMethod>(
    method: M,
    params: SwitchMethods[M]['params'],
  ): Promise<SwitchMethods[M]['result']> {
    return await (await this.#ensure()).request(method, params);
  }

  async #ensure(): Promise<Link> {
    if (this.#link !== undefined) return this.#link;
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
    return await this.#starting;
  }

  async #start(): Promise<Link> {
    const link = (await this.#connect().catch(() => undefined)) ?? (await this.#spawn());
    await this.#begin(link);
    return link;
  }

  async #begin(link: Link): Promise<void> {
    this.#link = link;
    void link.closed.then(async () => {
      if (this.#link !== link) return;
      this.#link = undefined;
      if (this.#left) return;
      await this.#gone();
      this.#options.lost();
    });
    await this.#options.connected();
  }

  /** Its connection is gone; so must it be, before there is another. */
  async #gone(): Promise<void> {
    const { pid, ticks } = { pid: this.#pid, ticks: this.#ticks };
    for (let i = 0; i < 50 && pid !== null && isProcess(pid, ticks); i++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    if (pid !== null && isProcess(pid, ticks)) process.kill(pid, 'SIGKILL');
  }

  async #connect(): Promise<Link> {
    const link = await RequestLink.open<SwitchMethods, SwitchEvent>('the switch process', this.controlSocket, (event) =>
      this.#options.event(event),
    );
    try {
      const { protocol, pid } = await link.request('hello', undefined, 10);
      this.#pid = pid;
      this.#ticks = startTicks(pid);
      if (protocol === SWITCH_PROTOCOL) return link;
      // Of another version: its ports are plugged in again at the next one.
      await link.request('end', undefined, 10);
      await link.closed;
      await this.#gone();
      throw new ViridianError('failure', 'a switch process of another version has been ended');
    } catch (error) {
      link.destroy();
      throw error;
    }
  }

  async #spawn(): Promise<Link> {
    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    const log = openSync(join(this.folder, SWITCH_FILES.log), 'a', 0o600);
    let child: ChildProcess;
    try {
      child = spawn(process.execPath, ['--no-warnings', this.#options.entry, this.folder], {
        detached: true,
        stdio: ['ignore', log, log],
        cwd: '/',
        env: {
          ...Object.fromEntries(PASSED_ON.flatMap((name) => (name in process.env ? [[name, process.env[name]]] : []))),
          UV_THREADPOOL_SIZE: THREADS,
        },
      });
    } finally {
      closeSync(log);
    }
    child.on('error', () => {});
    child.unref();
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      try {
        return await this.#connect();
      } catch (error) {
        const gone = child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
        if (gone || Date.now() > deadline) {
          if (!gone) child.kill('SIGKILL');
          const where = join(this.folder, SWITCH_FILES.log);
          throw new ViridianError('failure', `the switch process does not start; its log is ${where}`, {
            cause: error,
          });
        }
        await new Promise((resolve) => setTimeout(resolve, 15));
      }
    }
  }

  /** A connection of its own, for a capture: closed, it ends. */
  async capture(
    params: SwitchMethods['capture']['params'],
    write: (bytes: Uint8Array) => void,
  ): Promise<{ readonly closed: Promise<void>; end(): void }> {
    await this.#ensure();
    const link = await RequestLink.open<SwitchMethods, SwitchEvent>(
      'the switch process',
      this.controlSocket,
      (event) => {
        if (event.event === 'capture') write(Buffer.from(event.data, 'base64'));
      },
    );
    try {
      await link.request('capture', params);
    } catch (error) {
      link.destroy();
      throw error;
    }
    return { closed: link.closed, end: () => link.destroy() };
  }

  /** The service ends. @param needed false: nobody is at a switch, and it may end too. */
  async leave(needed: boolean): Promise<void> {
    this.#left = true;
    const link = this.#link;
    if (link === undefined) return;
    if (!needed) {
      await link.request('end', undefined, 5).catch(() => {});
      await Promise.race([link.closed, new Promise((resolve) => setTimeout(resolve, 2000).unref())]);
    }
    link.destroy();
  }
}
