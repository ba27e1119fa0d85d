/**
 * Runs one partition on this terminal: COM1 on stdin and stdout byte for byte, our own words on stderr, the terminal as
 * we found it when we leave, and why the partition stopped as an exit code.
 */

import { ERROR_EXIT_CODES } from '../contracts/errors.ts';
import { EXIT } from '../contracts/exit-codes.ts';
import type {
  CreatePartition,
  DiskEvent,
  Partition,
  PartitionDigest,
  PartitionOptions,
  StopReason,
  TraceEvent,
} from '../contracts/partition.ts';
import { isDiskFile } from '../contracts/partition-options.ts';
import { writeOutput } from '../host/node/files.ts';
import { RawTerminal } from '../host/node/terminal.ts';
import { diskText, dvdText } from './arguments.ts';
import { ConsoleKeys, KEYS_HELP, type KeyAction } from './console-keys.ts';
import { inspectText } from './inspect-text.ts';
import { say } from './say.ts';

export interface RunRequest {
  readonly options: PartitionOptions;
  readonly timeoutSeconds?: number | undefined;
  /** The state is written here when the run ends before the guest does. */
  readonly save?: string | undefined;
  readonly trace?: boolean | undefined;
  readonly stats?: boolean | undefined;
  /** Shows the state tree at the end. */
  readonly inspect?: boolean | undefined;
  /** Shows digests of the state when the run ends before the guest does. */
  readonly hash?: boolean | undefined;
}

/** What ended the run from outside: its exit code, and our word on it. */
interface Ending {
  readonly code: number;
  readonly text: string;
}

const SIGNALS = {
  SIGINT: { code: EXIT.interrupted, text: 'interrupted' },
  SIGTERM: { code: EXIT.terminated, text: 'terminated' },
  SIGHUP: { code: EXIT.hangup, text: 'the terminal is gone' },
} as const satisfies Partial<Record<NodeJS.Signals, Ending>>;

/** Resolves with the process's exit code. @throws what `create` throws, and ViridianError when saving fails. */
export async function runPartition(request: RunRequest, create: CreatePartition): Promise<number> {
  let full = false;
  const onDisk = (event: DiskEvent): void => {
    if (event.kind !== 'ejected') full = event.kind === 'full';
    say(`hv: ${diskEventText(event)}`);
  };
  const options: PartitionOptions = {
    ...request.options,
    ...(request.trace ? { trace: traceLine } : {}),
    ...(request.options.disks || request.options.dvds ? { onDisk } : {}),
  };
  await using partition = await create(options);
  await using session = new Session(partition);
  session.listen(process, 'SIGCONT', () => {
    if (full) partition.resume();
  });
  const started = performance.now();
  partition.start();
  const ending = await session.ending(request.timeoutSeconds);

  // Ended from outside: the partition is still running.
  let saved = false;
  let digest: PartitionDigest | undefined;
  const limit = ending === undefined ? (await partition.stopped).kind === 'instructionLimit' : false;
  if (ending !== undefined || limit) {
    if (ending !== undefined) await partition.pause();
    if (request.hash) digest = await partition.digest();
    if (request.save !== undefined) {
      const saving = partition.saveTo(request.save);
      await saving.take();
      await saving.finish();
      saved = true;
    }
  }
  const tree = request.inspect ? await partition.inspect() : undefined;
  partition.turnOff();
  const reason = await partition.stopped;
  const seconds = (performance.now() - started) / 1000;
  const stats = request.stats ? partition.stats() : undefined;
  await session[Symbol.asyncDispose]();

  if (tree !== undefined) say(inspectText(tree));
  if (stats !== undefined) say(statsText(stats, seconds));
  if (digest !== undefined) say(digestText(digest));
  if (saved) {
    const disks = (options.disks ?? []).filter(isDiskFile).map((disk) => ` --disk ${diskText(disk)}`);
    const dvds = (options.dvds ?? []).map((drive) => ` --dvd ${dvdText(drive)}`);
    const storage = [...disks, ...dvds].join('');
    say(`hv: saved to ${request.save}; go on with: hv run --restore ${request.save}${storage}`);
    return EXIT.ok;
  }
  const { code, text } = ending !== undefined && reason.kind === 'turnedOff' ? ending : endOf(reason);
  if (text !== '') say(`hv: ${text}`);
  if (request.save !== undefined) say(`hv: nothing saved: the guest had ended`);
  return code;
}

function endOf(reason: StopReason): Ending {
  switch (reason.kind) {
    case 'powerOff':
    case 'instructionLimit':
    case 'turnedOff':
      return { code: EXIT.ok, text: '' };
    case 'reset':
      return { code: EXIT.restart, text: 'the guest asked for a restart' };
    case 'tripleFault': {
      const state = reason.state === undefined ? '' : `\n${inspectText(reason.state, '  ')}`;
      return { code: EXIT.tripleFault, text: `triple fault on processor ${reason.processor}${state}` };
    }
    case 'crash': {
      const parameters = reason.parameters.map((value) => `0x${value.toString(16)}`).join(' ');
      const log = reason.message.trim() === '' ? '' : `\n${reason.message.trimEnd()}`;
      return { code: EXIT.guestCrash, text: `the guest crashed: ${parameters}${log}` };
    }
    case 'exit':
      return { code: reason.code & 0xff, text: '' };
    case 'divergence':
      return { code: EXIT.divergence, text: reason.report };
    case 'error':
      return { code: ERROR_EXIT_CODES.failure, text: `the partition failed: ${reason.message}` };
  }
}

function diskEventText({ kind, file, message }: DiskEvent): string {
  switch (kind) {
    case 'full':
      return `paused: ${message}. Nothing is lost: make room for ${file}, and the guest goes on within seconds`;
    case 'room':
      return `there is room for ${file} again: the guest goes on`;
    case 'lost':
      return `closing ${file} failed, and what the guest had not flushed may be lost: ${message}`;
    case 'ejected':
      return `the guest has ejected ${file}: its drive is empty`;
  }
}

function traceLine(event: TraceEvent): void {
  process.stderr.write(`[${event.processor}] ${event.instructions} ${event.kind} ${event.text}\n`);
}

function digestText({ instructions, registers, memory, devices }: PartitionDigest): string {
  return `hv: at ${instructions} instructions\n  registers ${registers}\n  memory    ${memory}\n  devices   ${devices}`;
}

function statsText(stats: ReturnType<Partition['stats']>, seconds: number): string {
  const mips = stats.busySeconds > 0 ? (Number(stats.instructions) / stats.busySeconds / 1e6).toFixed(1) : '0';
  const counters = Object.entries(stats.counters).map(([name, value]) => `\n  ${name} ${value}`);
  const head = `hv: ${stats.instructions} instructions in ${seconds.toFixed(2)} s, busy ${stats.busySeconds.toFixed(2)} s`;
  return `${head}, ${mips} MIPS${counters.join('')}`;
}

/** The run's hold on this process: streams, signals, the terminal's mode. Disposed once, however the run ends. */
class Session implements AsyncDisposable {
  readonly #partition: Partition;
  readonly #keys = new ConsoleKeys();
  readonly #terminal: RawTerminal | undefined;
  readonly #ended = Promise.withResolvers<Ending>();
  readonly #undo: (() => void)[] = [];
  #lastByte = 0x0a;

  constructor(partition: Partition) {
    this.#partition = partition;
    // Signals, and promises that wait for other threads, do not keep a process alive; a partition whose input has ended
    // runs on.
    const alive = setInterval(() => {}, 2 ** 30);
    this.#undo.push(() => clearInterval(alive));
    partition.console.onData((bytes) => {
      this.#lastByte = bytes.at(-1) ?? this.#lastByte;
      process.stdout.write(bytes);
    });
    this.listen(process.stdout, 'error', () => this.#ended.resolve({ code: EXIT.failure, text: 'stdout was closed' }));
    for (const [signal, ending] of Object.entries(SIGNALS)) this.listen(process, signal, () => this.#signalled(ending));
    this.listen(process, 'SIGUSR2', () => this.#showState());

    if (process.stdin.isTTY) {
      this.#terminal = new RawTerminal(process.stdin);
      say('hv: the console is yours: Ctrl-] q leaves, Ctrl-] ? shows the keys');
      this.listen(process.stdin, 'data', (typed: Uint8Array) => this.#typed(typed));
      this.listen(process.stdin, 'end', () => this.#signalled(SIGNALS.SIGHUP));
    } else {
      // The guest reads at its own speed; the end of the input does not end the run.
      this.listen(process.stdin, 'data', (bytes: Uint8Array) => {
        process.stdin.pause();
        partition.console.write(bytes).then(
          () => process.stdin.resume(),
          () => {},
        );
      });
    }
    this.listen(process.stdin, 'error', () => {});
  }

  /** Undefined when the partition stopped by itself. */
  async ending(timeoutSeconds: number | undefined): Promise<Ending | undefined> {
    if (timeoutSeconds !== undefined) {
      const text = `stopped after the ${timeoutSeconds} ${timeoutSeconds === 1 ? 'second' : 'seconds'} of --timeout`;
      const timer = setTimeout(() => this.#ended.resolve({ code: EXIT.timeout, text }), timeoutSeconds * 1000);
      this.#undo.push(() => clearTimeout(timer));
    }
    return await Promise.race([this.#partition.stopped.then(() => undefined), this.#ended.promise]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    const undo = this.#undo.splice(0);
    if (undo.length === 0) return Promise.resolve();
    for (const step of undo.reverse()) step();
    this.#terminal?.restore();
    process.stdin.pause();
    // What we say next starts on a line of its own, where the guest's output is on the same screen.
    if (this.#lastByte !== 0x0a && process.stdout.isTTY && process.stderr.isTTY) process.stderr.write('\n');
    const { promise, resolve } = Promise.withResolvers<void>();
    process.stdout.write('', () => resolve());
    return promise;
  }

  listen<A extends unknown[]>(emitter: NodeJS.EventEmitter, event: string, listener: (...values: A) => void): void {
    const plain = listener as (...values: unknown[]) => void;
    emitter.on(event, plain);
    this.#undo.push(() => emitter.off(event, plain));
  }

  #signals = 0;
  #signalled(ending: Ending): void {
    this.#ended.resolve(ending);
    // Asked again: whatever holds the orderly end up, the user has waited long enough.
    if (this.#signals++ > 0) {
      this.#terminal?.restore();
      process.exit(ending.code);
    }
  }

  #typed(typed: Uint8Array): void {
    const { guest, actions } = this.#keys.feed(typed);
    if (guest.length > 0) this.#partition.console.write(guest).catch(() => {});
    for (const action of actions) this.#actions[action]();
  }

  readonly #actions: Readonly<Record<KeyAction, () => void>> = {
    leave: () => this.#signalled({ code: EXIT.interrupted, text: 'turned off' }),
    inspect: () => this.#showState(),
    screenshot: () => this.#try('no screenshot', () => this.#saveScreen()),
    pause: () =>
      this.#try('not paused', async () => {
        await this.#partition.pause();
        say('\nhv: paused: Ctrl-] r resumes');
      }),
    resume: () => this.#partition.resume(),
    help: () => say(`\n${KEYS_HELP}`),
  };

  #try(failure: string, work: () => Promise<void>): void {
    work().catch((error: unknown) => {
      say(`\nhv: ${failure}: ${error instanceof Error ? error.message : String(error)}`);
    });
  }

  async #saveScreen(): Promise<void> {
    const png = await this.#partition.screenshot();
    if (png === undefined) throw new Error('the guest shows nothing on its synthetic screen (its driver is hyperv_fb)');
    const file = `viridian-${new Date().toISOString().slice(0, 19).replaceAll(/[T:]/g, '-')}.png`;
    await writeOutput('screenshot', file, png);
    say(`\nhv: the screen is in ${file}`);
  }

  #showState(): void {
    this.#partition.inspect().then(
      (tree) => say(`\n${inspectText(tree)}`),
      (error: unknown) => say(`hv: no state to show: ${String(error)}`),
    );
  }
}
