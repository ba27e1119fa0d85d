/**
 * A partition that exists twice (`hv run --check`): see lockstep.ts. It runs on the calling thread, in portions, so that input
 * and signals get through; time is the count of instructions.
 */
import { ViridianError } from '../../contracts/errors.ts';
import type {
  InspectNode,
  Partition,
  PartitionDigest,
  PartitionStats,
  ShutdownOptions,
  StopReason,
} from '../../contracts/partition.ts';
import { PowerEvent } from '../../hypervisor/vp/control.ts';
import { PartitionDisks } from '../disks.ts';
import { inspectMachine } from '../inspect.ts';
import { integrationServices, shutdown } from '../integration.ts';
import { statsOf } from '../stats.ts';
import { partitionStorage } from '../storage.ts';
import { Lockstep, type LockstepOptions } from './lockstep.ts';
import { divergenceText } from './report.ts';

/** Memory and devices are compared at least once in so many instructions. */
const THOROUGH = 50_000_000n;
/** How long a sleeping partition waits for input before it looks again, in milliseconds. */
const NAP = 20;
/** A guest that has reported a crash still writes the end of its report to the console. */
const AFTER_CRASH = 10_000_000n;

export interface CheckedPartitionOptions extends LockstepOptions {
  /** Instructions between two comparisons of the registers. */
  readonly every: bigint;
  readonly onReboot: 'restart' | 'stop';
  readonly instructionLimit: bigint | undefined;
  readonly say: (text: string) => void;
}

const NO_BUS = 'a checked partition has no VMBus, so no network adapters and no sockets';

export class CheckedPartition implements Partition {
  readonly stopped: Promise<StopReason>;
  readonly console: Partition['console'];
  // There is no VMBus where time is instructions.
  readonly integration = integrationServices(undefined);
  readonly storage = partitionStorage(new PartitionDisks(), undefined, () => false);
  readonly keyboard = undefined;
  readonly mouse = undefined;
  readonly memory = undefined;
  readonly #options: CheckedPartitionOptions;
  readonly #lockstep: Lockstep;
  #resolve!: (reason: StopReason) => void;
  #onData: ((bytes: Uint8Array) => void) | undefined;
  readonly #input: { bytes: Uint8Array; done: () => void }[] = [];
  #running = false;
  #finished = false;
  #portion: Promise<void> = Promise.resolve();
  #lastThorough = 0n;
  #crashedAt: bigint | undefined;

  constructor(options: CheckedPartitionOptions) {
    this.#options = options;
    this.#lockstep = new Lockstep(options);
    this.stopped = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.console = {
      write: (data) =>
        new Promise((done) => {
          const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data.slice();
          if (this.#finished) done();
          else this.#input.push({ bytes, done });
        }),
      onData: (callback) => {
        this.#onData = callback;
      },
    };
  }

  start(): void {
    this.resume();
  }
  resume(): void {
    if (this.#running || this.#finished) return;
    this.#running = true;
    this.#portion = this.#loop();
  }
  reset(): Promise<void> {
    return Promise.reject(new ViridianError('wrongState', 'a partition that is compared cannot be reset'));
  }
  injectNmi(): void {
    throw new ViridianError('wrongState', 'a partition that is compared takes no NMI from outside');
  }
  async pause(): Promise<void> {
    this.#running = false;
    await this.#portion;
  }

  async #loop(): Promise<void> {
    while (this.#running && !this.#finished) {
      try {
        await this.#advance();
      } catch (error) {
        this.#finish({ kind: 'error', message: error instanceof Error ? error.message : String(error), cause: error });
      }
      await pause(this.#lockstep.interpreted.asleep ? NAP : 0);
    }
  }

  async #advance(): Promise<void> {
    const lockstep = this.#lockstep;
    const { every, instructionLimit } = this.#options;
    this.#feed();
    const { count } = lockstep;
    let to = count - (count % every) + every;
    if (instructionLimit !== undefined && to > instructionLimit) to = instructionLimit;
    lockstep.runTo(to);
    const { powerEvent, crash, vp } = lockstep.interpreted;
    const ended = powerEvent !== PowerEvent.NONE || vp.retired === instructionLimit || crash !== undefined;
    const thorough = ended || vp.retired - this.#lastThorough >= THOROUGH;
    if (thorough) this.#lastThorough = vp.retired;
    if (!lockstep.compare(thorough)) {
      await this.#diverged();
      return;
    }
    const bytes = lockstep.takeConsole();
    if (bytes.length > 0) this.#onData?.(bytes);
    if (crash) this.#crashedAt ??= vp.retired;
    if (powerEvent !== PowerEvent.NONE) this.#power(powerEvent);
    else if (crash && vp.retired >= (this.#crashedAt as bigint) + AFTER_CRASH)
      this.#agreed({ kind: 'crash', parameters: crash.parameters, message: crash.message ?? '' });
    else if (vp.retired === instructionLimit) this.#agreed({ kind: 'instructionLimit' });
  }

  #feed(): void {
    for (let first = this.#input[0]; first; first = this.#input[0]) {
      const taken = this.#lockstep.receive(first.bytes);
      if (taken < first.bytes.length) {
        first.bytes = first.bytes.subarray(taken);
        return;
      }
      this.#input.shift();
      first.done();
    }
  }

  #power(event: number): void {
    const { machine } = this.#lockstep.interpreted;
    switch (event) {
      case PowerEvent.POWER_OFF:
        this.#agreed({ kind: 'powerOff' });
        break;
      case PowerEvent.EXIT:
        this.#agreed({ kind: 'exit', code: machine.control.exitCode[0] as number });
        break;
      case PowerEvent.TRIPLE_FAULT:
        this.#agreed({ kind: 'tripleFault', processor: 0, state: inspectMachine(machine) });
        break;
      default:
        if (this.#options.onReboot === 'stop') this.#agreed({ kind: 'reset' });
        else this.#lockstep.restart();
    }
  }

  #agreed(reason: StopReason): void {
    const { count, comparisons, thorough } = this.#lockstep;
    this.#options.say(
      `check: both engines agree, ${count} instructions: ${comparisons} comparisons of registers, ${thorough} of memory and devices`,
    );
    this.#finish(reason);
  }

  async #diverged(): Promise<void> {
    const { say } = this.#options;
    const { count } = this.#lockstep;
    say(`check: the engines differ, seen at ${count} instructions; looking for the first, which takes many runs`);
    const divergence = await this.#lockstep.explain(async (low, high) => {
      say(`check: between ${low} and ${high}`);
      await pause(0);
      return this.#running && !this.#finished;
    });
    if (divergence)
      this.#finish({ kind: 'divergence', instructions: divergence.count, report: divergenceText(divergence) });
  }

  turnOff(): void {
    this.#finish({ kind: 'turnedOff' });
  }
  #finish(reason: StopReason): void {
    if (this.#finished) return;
    this.#finished = true;
    for (const { done } of this.#input.splice(0)) done();
    this.#resolve(reason);
  }

  async shutdown(options?: ShutdownOptions): Promise<void> {
    await shutdown(undefined, options);
  }
  attachNic(): Promise<string> {
    return Promise.reject(new ViridianError('wrongState', NO_BUS));
  }
  detachNic(): void {
    throw new ViridianError('wrongState', NO_BUS);
  }
  setLink(): void {
    throw new ViridianError('wrongState', NO_BUS);
  }

  connect(): Promise<never> {
    return Promise.reject(new ViridianError('wrongState', NO_BUS));
  }
  listen(): never {
    throw new ViridianError('wrongState', NO_BUS);
  }
  exec(): Promise<never> {
    return Promise.reject(new ViridianError('wrongState', NO_BUS));
  }

  screenshot(): Promise<undefined> {
    return Promise.resolve(undefined);
  }
  screenChanges(): Promise<undefined> {
    return Promise.resolve(undefined);
  }
  save(): Promise<Uint8Array> {
    return Promise.reject(notNow('saved'));
  }
  saveTo(): never {
    throw notNow('saved');
  }
  digest(): Promise<PartitionDigest> {
    return Promise.reject(notNow('digested'));
  }
  /** Of the one that is translated. */
  inspect(): Promise<InspectNode> {
    return Promise.resolve(inspectMachine(this.#lockstep.translated.machine));
  }
  stats(): PartitionStats {
    return statsOf(this.#lockstep.translated.machine);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.turnOff();
    await this.#portion;
  }
}

function notNow(what: string): ViridianError {
  return new ViridianError('wrongState', `a partition that is checked cannot be ${what}`);
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}
