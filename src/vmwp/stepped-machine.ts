/**
 * A partition of one processor on the calling thread, its time the count of its instructions: for comparing two engines step
 * by step. Translation, where it is asked for, happens at once and on this thread too, so that a run can be repeated exactly.
 */
import type { LoadPlan } from '../firmware/load-plan.ts';
import { Interpreter, type InterpreterModule } from '../hypervisor/interpreter/interpreter.ts';
import type { GuestCrash } from '../hypervisor/tlfs/ports.ts';
import type { KeptRegions } from '../hypervisor/translator/kept.ts';
import {
  type KnownModules,
  type TranslationItem,
  type TranslationResult,
  unpackRequest,
} from '../hypervisor/translator/request.ts';
import { translate } from '../hypervisor/translator/service.ts';
import { PowerEvent, Run } from '../hypervisor/vp/control.ts';
import { Processor } from '../hypervisor/vp/processor.ts';
import { resetPowerUp } from '../hypervisor/vp/reset.ts';
import type { VpView } from '../hypervisor/vp/state.ts';
import { operations } from '../hypervisor/x86/operations.ts';
import { applyInitialState } from './initial-state.ts';
import { Machine, type MachineConfig, machineMemorySize } from './machine.ts';
import { seededRandom } from './seeded-random.ts';
import { createVpPlatform } from './vp-platform.ts';

export type Translate = typeof translate;

/** A region that was made, whether or not its code still stands. */
export interface MadeRegion {
  readonly item: TranslationItem;
  /** Stretch of the page and the one behind it, instructions, and where in the page its blocks begin. */
  readonly from: number;
  readonly length: number;
  readonly size: number;
  readonly blocks: readonly number[];
}

export interface SteppedOptions {
  readonly memory: number;
  readonly testDevice?: boolean;
  readonly plan: LoadPlan;
  readonly interpreter: InterpreterModule;
  readonly translated: boolean;
  /** Executions after which a block is translated. */
  readonly hotAfter?: number | undefined;
  /** In place of the translator's own: to see what it does, or to plant faults. */
  readonly translate?: Translate | undefined;
  /** Translated code stops at any count: slower, and what it does in between is the same. */
  readonly exact?: boolean | undefined;
  /** What other machines have translated, to which this one adds. */
  readonly kept?: KeptRegions | undefined;
  /** Modules of those that are there before anybody asks. */
  readonly known?: KnownModules | undefined;
  /** The memory of a machine that is not used any more. */
  readonly reuse?: WebAssembly.Memory | undefined;
  readonly onConsole?: ((bytes: Uint8Array) => void) | undefined;
}

/** Clears what is not zero: what was never touched takes no memory. */
function wipe(buffer: SharedArrayBuffer): void {
  const words = new Int32Array(buffer);
  const page = 1024;
  for (let at = 0; at < words.length; at += page) {
    let any = 0;
    for (let i = at; i < at + page; i++) any |= words[i] as number;
    if (any !== 0) words.fill(0, at, at + page);
  }
}

export class SteppedMachine {
  readonly machine: Machine;
  readonly vp: VpView;
  readonly memory: WebAssembly.Memory;
  readonly buffer: SharedArrayBuffer;
  readonly engine: Interpreter;
  readonly regions: MadeRegion[] = [];
  /** What the guest has reported through the crash MSRs. */
  crash: GuestCrash | undefined;
  /** The processor sleeps, and no timer will wake it. */
  asleep = false;
  readonly #plan: LoadPlan;
  readonly #processor: Processor;
  #limit = 0n;

  constructor(options: SteppedOptions) {
    const { memory, testDevice = false, plan, interpreter, translated, hotAfter, reuse, onConsole } = options;
    const config: MachineConfig = { memory, processors: 1, virtualTime: true, testDevice, vmbus: false };
    const pages = Math.ceil(machineMemorySize(config) / 65536);
    const shared = reuse ?? new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true });
    this.memory = shared;
    this.buffer = shared.buffer as unknown as SharedArrayBuffer;
    if (reuse) wipe(this.buffer);
    const machine = new Machine(config, this.buffer, {
      time: { monotonic: () => 0n, calendar: () => 0 },
      consoleReady: () => {
        machine.console.rest();
        const bytes = machine.console.take();
        if (bytes) onConsole?.(bytes);
      },
      crashed: (crash) => {
        this.crash = crash;
      },
    });
    this.machine = machine;
    this.vp = machine.vps[0] as VpView;
    machine.mapMemory();
    machine.reset();
    this.#plan = plan;
    this.#load();
    const platform = createVpPlatform(machine, 0, {
      random64: seededRandom(1n, () => this.vp.retired + BigInt(this.vp.budgetStart - this.vp.budget)),
      trace: undefined,
      serve: () => undefined,
    });
    const results: (TranslationResult | KnownModules)[] = options.known ? [options.known] : [];
    this.engine = new Interpreter({
      memory: shared,
      module: interpreter,
      index: 0,
      platform,
      operations,
      ...(hotAfter === undefined ? {} : { hotAfter }),
      kept: options.kept,
      translation: translated
        ? {
            send: (request) => {
              const result = (options.translate ?? translate)(request, this.buffer, {
                exact: options.exact ?? false,
                kept: options.kept,
              });
              this.#note(unpackRequest(request), result);
              results.push(result);
            },
            receive: () => results.shift(),
          }
        : undefined,
    });
    platform.context = this.engine;
    const ports = {
      index: 0,
      engine: this.engine,
      apic: machine.apics[0]!,
      hyperv: machine.hyperv.vps[0]!,
      control: machine.processorControls[0]!,
      partition: machine.control,
      doorbell: {
        take: (vp: number) => machine.doorbell.take(vp),
        wait: () => {
          this.asleep = true;
          Atomics.store(machine.control.wanted, 0, Run.STOPPED);
        },
      },
      now: () => machine.clock.now(),
      virtualTime: true,
      skipTo: (deadline: bigint) => {
        if (deadline > machine.clock.now()) machine.clock.set(deadline);
      },
      devices: machine.timers,
      tripleFault: () => {
        machine.powerEvent(PowerEvent.TRIPLE_FAULT);
      },
      limitReached: () => {
        Atomics.store(machine.control.wanted, 0, Run.STOPPED);
      },
      powerEvent: () => {
        if (this.powerEvent === PowerEvent.NONE) return false;
        Atomics.store(machine.control.wanted, 0, Run.STOPPED);
        return true;
      },
      flush: () => undefined,
    };
    const limit = (): bigint => this.#limit;
    this.#processor = new Processor(Object.defineProperty(ports, 'instructionLimit', { get: limit }) as never);
  }

  #load(): void {
    const { machine, vp } = this;
    for (const { gpa, bytes } of this.#plan.segments) machine.memory.write(gpa, bytes);
    const { retired } = vp;
    resetPowerUp(vp);
    vp.retired = retired;
    applyInitialState(vp, this.#plan.entry);
  }

  #note(items: readonly TranslationItem[], { regions }: TranslationResult): void {
    for (const [i, region] of regions.entries()) {
      const item = items[i];
      if (!region || !item) continue;
      const { from, code, size, blocks } = region;
      this.regions.push({ item, from, length: code.length, size, blocks });
    }
  }

  /** A PowerEvent, NONE while it runs. */
  get powerEvent(): number {
    return Atomics.load(this.machine.control.powerEvent, 0);
  }

  /** Runs until so many instructions have retired, a power event, or a sleep without end. */
  runTo(instructions: bigint): void {
    this.asleep = false;
    this.#limit = instructions;
    Atomics.store(this.machine.control.wanted, 0, Run.RUNNING);
    this.#processor.loop();
  }

  /** After a power event: begins anew, as after a reset. */
  restart(): void {
    const { machine } = this;
    for (const { gpa, size } of machine.ram()) machine.memory.fill(gpa, size, 0);
    machine.reset();
    this.#load();
    Atomics.add(machine.control.generation, 0, 1);
    Atomics.store(machine.control.powerEvent, 0, PowerEvent.NONE);
  }

  /** Hands bytes to COM1: how many it has taken. */
  receive(bytes: Uint8Array): number {
    return this.machine.lock.with(() => this.machine.com1.receive(bytes));
  }
}
