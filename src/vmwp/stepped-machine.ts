/**
 * A partition of one processor on the calling thread, its time the count of its instructions: for comparing two engines step
 * by step. Translation, where it is asked for, happens at once and on this thread too, so that a run can be repeated exactly.
 */
import type { LoadPlan } from '../firmware/load-plan.ts';
import { Interpreter, type InterpreterModule } from '../hypervisor/interpreter/interpreter.ts';
import type { TranslationResult } from '../hypervisor/translator/request.ts';
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

export interface SteppedOptions {
  readonly memory: number;
  readonly testDevice?: boolean;
  readonly plan: LoadPlan;
  readonly interpreter: InterpreterModule;
  readonly translated: boolean;
  /** Executions after which a block is translated. */
  readonly hotAfter?: number;
  readonly onConsole?: (bytes: Uint8Array) => void;
}

export class SteppedMachine {
  readonly machine: Machine;
  readonly vp: VpView;
  readonly buffer: SharedArrayBuffer;
  readonly engine: Interpreter;
  readonly #processor: Processor;
  #limit = 0n;

  constructor({ memory, testDevice = false, plan, interpreter, translated, hotAfter, onConsole }: SteppedOptions) {
    const config: MachineConfig = { memory, processors: 1, virtualTime: true, testDevice, vmbus: false };
    const pages = Math.ceil(machineMemorySize(config) / 65536);
    const shared = new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true });
    this.buffer = shared.buffer as unknown as SharedArrayBuffer;
    const machine = new Machine(config, this.buffer, {
      time: { monotonic: () => 0n, calendar: () => 0 },
      consoleReady: () => {
        const bytes = machine.console.take();
        if (bytes) onConsole?.(bytes);
      },
      crashed: () => undefined,
    });
    this.machine = machine;
    this.vp = machine.vps[0] as VpView;
    machine.mapMemory();
    resetPowerUp(this.vp);
    machine.reset();
    for (const { gpa, bytes } of plan.segments) machine.memory.write(gpa, bytes);
    applyInitialState(this.vp, plan.entry);
    const platform = createVpPlatform(machine, 0, {
      random64: seededRandom(1n, () => this.vp.retired + BigInt(this.vp.budgetStart - this.vp.budget)),
      trace: undefined,
      serve: () => undefined,
    });
    const results: TranslationResult[] = [];
    this.engine = new Interpreter({
      memory: shared,
      module: interpreter,
      index: 0,
      platform,
      operations,
      ...(hotAfter === undefined ? {} : { hotAfter }),
      translation: translated
        ? {
            send: (request) => void results.push(translate(request, this.buffer)),
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
      doorbell: machine.doorbell,
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

  /** A PowerEvent, NONE while it runs. */
  get powerEvent(): number {
    return Atomics.load(this.machine.control.powerEvent, 0);
  }

  /** Runs until so many instructions have retired, or a power event. */
  runTo(instructions: bigint): void {
    this.#limit = instructions;
    Atomics.store(this.machine.control.wanted, 0, Run.RUNNING);
    this.#processor.loop();
  }
}
