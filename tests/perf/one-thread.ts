/**
 * A machine of ours on the calling thread, for profiles: the interpreter counts the executions of its records, and the
 * ways out of WebAssembly are counted and timed. The console is read as it is written.
 */
import { buildAcpiTables } from '../../src/firmware/acpi/tables.ts';
import { planBoot } from '../../src/firmware/detect.ts';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { readInput } from '../../src/host/node/files.ts';
import { payloadCache } from '../../src/host/node/payload-cache.ts';
import { hostTime, monotonicNow, random64 } from '../../src/host/node/threads.ts';
import { compileInterpreter, generateInterpreter } from '../../src/hypervisor/interpreter/generate.ts';
import { Interpreter } from '../../src/hypervisor/interpreter/interpreter.ts';
import { PowerEvent, Run } from '../../src/hypervisor/vp/control.ts';
import { Processor } from '../../src/hypervisor/vp/processor.ts';
import { resetPowerUp } from '../../src/hypervisor/vp/reset.ts';
import type { VpView } from '../../src/hypervisor/vp/state.ts';
import { operations } from '../../src/hypervisor/x86/operations.ts';
import { applyInitialState } from '../../src/vmwp/initial-state.ts';
import { Machine, type MachineConfig, machineMemorySize } from '../../src/vmwp/machine.ts';
import { createVpPlatform } from '../../src/vmwp/vp-platform.ts';
import type { Guest } from './machines.ts';

const CONFIG: MachineConfig = {
  memory: 512 * 2 ** 20,
  processors: 1,
  virtualTime: false,
  testDevice: false,
  vmbus: false,
};

/** Calls out of the interpreter, and the milliseconds they took. */
export interface Exit {
  calls: number;
  milliseconds: number;
}

/** A block the decoder made. */
export interface DecodedBlock {
  readonly record: number;
  readonly gpa: number;
}

export class CountingMachine {
  readonly vp: VpView;
  readonly buffer: SharedArrayBuffer;
  readonly exits = new Map<string, Exit>();
  /** Those whose records stand; see `beforeDrop`. */
  blocks: DecodedBlock[] = [];
  /** The records of these blocks are about to be dropped or used again, and their counts with them. */
  beforeDrop: (blocks: readonly DecodedBlock[]) => void = () => undefined;
  decodes = 0;
  /** Blocks of an instruction that crosses pages: made again each time they are looked up. */
  uncached = 0;
  /** Blocks made though they had been made since the last flush: another took their place in the block table, or they were dropped. */
  repeated = 0;
  #lastIsUncached = false;
  readonly #made = new Set<number>();
  /** Milliseconds spent by whoever watches, inside an exit that wrote to the console. */
  #aside = 0;
  readonly #machine: Machine;
  readonly #processor: Processor;

  static async create(
    guest: Guest,
    onConsole: (text: string, machine: CountingMachine) => void,
  ): Promise<CountingMachine> {
    const acpi = buildAcpiTables({ apicIds: [0], legacyPic: false });
    const plan = await planBoot(await readInput('kernel', guest.kernel), {
      memory: CONFIG.memory,
      commandLine: guest.append,
      initrd: await readInput('initrd', guest.initrd),
      rsdp: acpi.rsdp,
      codecs: nodeCodecs,
      cache: payloadCache(),
    });
    return new CountingMachine({ ...plan, segments: [acpi.segment, ...plan.segments] }, onConsole);
  }

  private constructor(
    plan: Awaited<ReturnType<typeof planBoot>>,
    onConsole: (text: string, machine: CountingMachine) => void,
  ) {
    const pages = Math.ceil(machineMemorySize(CONFIG) / 65536);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true });
    this.buffer = memory.buffer as unknown as SharedArrayBuffer;
    const machine = new Machine(CONFIG, this.buffer, {
      time: hostTime(monotonicNow()),
      consoleReady: () => {
        const bytes = machine.console.take();
        const started = performance.now();
        if (bytes) onConsole(Buffer.from(bytes).toString('latin1'), this);
        this.#aside += performance.now() - started;
      },
      crashed: (crash) => {
        throw new Error(
          `the guest crashed: ${crash.message?.split('\n').find((line) => line.includes('panic')) ?? 'no message'}`,
        );
      },
    });
    this.#machine = machine;
    this.vp = machine.vps[0]!;
    machine.mapMemory();
    resetPowerUp(this.vp);
    machine.reset();
    for (const { gpa, bytes } of plan.segments) machine.memory.write(gpa, bytes);
    applyInitialState(this.vp, plan.entry);

    const plain = createVpPlatform(machine, 0, { random64, trace: undefined, serve: () => undefined });
    const platform = { ...plain };
    platform.deliverFault = this.#counted('deliver', (context) => {
      this.#count(`exception ${this.vp.faultVector}`);
      return plain.deliverFault(context);
    });
    for (const name of ['mmioRead', 'mmioWrite'] as const) platform[name] = this.#counted(name, plain[name]);
    const engine = new Interpreter({
      memory,
      module: compileInterpreter(generateInterpreter({ counting: true })),
      index: 0,
      platform,
      operations: Object.fromEntries(
        Object.entries(operations).map(([name, operation]) => [name, this.#counted(name, operation)]),
      ),
    });
    // The platform reaches the engine through its own object.
    plain.context = engine;
    platform.context = engine;
    this.#watch(engine);
    this.#processor = new Processor({
      index: 0,
      engine,
      apic: machine.apics[0]!,
      hyperv: machine.hyperv.vps[0]!,
      control: machine.processorControls[0]!,
      partition: machine.control,
      doorbell: machine.doorbell,
      now: () => machine.clock.now(),
      virtualTime: false,
      skipTo: () => undefined,
      devices: machine.timers,
      patience: 0,
      instructionLimit: undefined,
      tripleFault: () => {
        machine.powerEvent(PowerEvent.TRIPLE_FAULT);
      },
      limitReached: () => undefined,
      powerEvent: () => {
        if (Atomics.load(machine.control.powerEvent, 0) === PowerEvent.NONE) return false;
        Atomics.store(machine.control.wanted, 0, Run.STOPPED);
        return true;
      },
      flush: () => undefined,
    });
  }

  /** Runs to the guest's power-off. */
  run(): void {
    Atomics.store(this.#machine.control.wanted, 0, Run.RUNNING);
    this.#processor.loop();
    const event = Atomics.load(this.#machine.control.powerEvent, 0);
    if (event !== PowerEvent.POWER_OFF) throw new Error(`the guest ended by power event ${event}, not by powering off`);
  }

  get instructions(): number {
    return Number(this.vp.retired) + this.vp.budgetStart - this.vp.budget;
  }
  get busySeconds(): number {
    return this.#machine.processorControls[0]!.busy[0]! / 1e6;
  }
  get flushes(): number {
    return Number(this.vp.blocksFlushed);
  }
  get invalidatedBlocks(): number {
    return Number(this.vp.blocksInvalidated);
  }

  #entry(name: string): Exit {
    let entry = this.exits.get(name);
    if (!entry) this.exits.set(name, (entry = { calls: 0, milliseconds: 0 }));
    return entry;
  }
  #count(name: string): void {
    this.#entry(name).calls++;
  }
  #counted<A extends unknown[], R>(name: string, call: (...values: A) => R): (...values: A) => R {
    return (...values) => {
      const started = performance.now() - this.#aside;
      try {
        return call(...values);
      } finally {
        const entry = this.#entry(name);
        entry.calls++;
        entry.milliseconds += performance.now() - this.#aside - started;
      }
    };
  }

  /** The engine's own work in TypeScript. */
  #watch(engine: Interpreter): void {
    const { blocks } = engine;
    const decode = blocks.decode.bind(blocks);
    const flush = blocks.flush.bind(blocks);
    const flushTlb = engine.flushTlb.bind(engine);
    blocks.decode = this.#counted('(decode)', (linear: bigint, gpa: number) => {
      // The block before this one crossed pages and is not kept: its records may be this one's.
      if (this.#lastIsUncached) this.beforeDrop(this.blocks.splice(-1));
      const record = decode(linear, gpa);
      this.#lastIsUncached = (record & 1) !== 0;
      this.decodes++;
      this.uncached += record & 1;
      const key = (gpa >>> 0) + this.vp.mode * 2 ** 32;
      if ((record & 1) === 0 && this.#made.has(key)) this.repeated++;
      this.#made.add(key);
      this.blocks.push({ record: (record & ~1) >>> 0, gpa: gpa >>> 0 });
      return record;
    });
    blocks.flush = () => {
      this.beforeDrop(this.blocks);
      this.blocks = [];
      this.#lastIsUncached = false;
      this.#made.clear();
      flush();
    };
    blocks.written = this.#counted('(code written)', blocks.written.bind(blocks));
    engine.flushTlb = (kind, linear) => {
      this.#count(`(flush TLB: ${kind})`);
      flushTlb(kind, linear);
    };
  }
}
