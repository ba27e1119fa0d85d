/**
 * The worker process's part of one running VM (VMWP): owns the partition's memory and its parent-side machine, starts the
 * processors' threads, and carries out start, pause, save and power events. Over 600 lines, because it is one object with a method for
 * each thing that can be asked of a partition; what each does stands in files of its own.
 */
import { GENERATION_ID_SIZE } from '../chipset/generation-id/device.ts';
import { ViridianError } from '../contracts/errors.ts';
import { execInGuest } from '../contracts/exec.ts';
import type { NicOptions } from '../contracts/network.ts';
import type {
  DiskEvent,
  InspectNode,
  Partition,
  PartitionDigest,
  PartitionStats,
  ScreenChanges,
  ShutdownOptions,
  StateSaving,
  StateSavingOptions,
  StopReason,
  TraceEvent,
} from '../contracts/partition.ts';
import { checkNic } from '../contracts/partition-options.ts';
import type { ConnectOptions, ExecOptions, ExecResult, GuestListener, GuestStream } from '../contracts/sockets.ts';
import type { LoadPlan } from '../firmware/load-plan.ts';
import type { DiskFiles } from '../host/disk-files.ts';
import type { HostServices, ThreadEntry } from '../host/services.ts';
import type { TranslationCache } from '../host/translations.ts';
import type { InterpreterModule } from '../hypervisor/interpreter/module.ts';
import { PAGE } from '../hypervisor/memory/layout.ts';
import { PowerEvent, Run } from '../hypervisor/vp/control.ts';
import { resetPowerUp } from '../hypervisor/vp/reset.ts';
import { Activity, adoptSavedFlags, readFlags, VpState, writeFlags } from '../hypervisor/vp/state.ts';
import { updateMode } from '../hypervisor/x86/system/mode.ts';
import { encodePng } from '../support/png.ts';
import type { Saved } from '../support/struct.ts';
import { PartitionDisks } from './disks.ts';
import { applyInitialState } from './initial-state.ts';
import { inspectMachine } from './inspect.ts';
import { integrationServices, shutdown } from './integration.ts';
import { Machine, type MachineConfig, machineMemorySize } from './machine.ts';
import { allZero, MemoryLog } from './memory-log.ts';
import { PartitionNics } from './nics.ts';
import { PartitionConsole } from './partition-console.ts';
import { partitionMemory } from './partition-memory.ts';
import type { FromVpThread, VpThread, VpThreadData } from './protocol.ts';
import type { SavedMachine } from './saved-header.ts';
import { encodeSavedState, type SavedPartition } from './saved-state.ts';
import { connectToGuest, listenToGuest } from './sockets.ts';
import { isImage, type MemoryImage, type PackedSegment } from './state-file.ts';
import { StateSaver } from './state-saver.ts';
import { statsOf } from './stats.ts';
import { partitionStorage } from './storage.ts';
import { SyntheticDevices } from './synthetic-devices.ts';
import { PartitionTranslator } from './translation.ts';

const WASM_PAGE = 65536;
/** Seed of RDRAND in a run that is a function of its inputs. */
const FIXED_SEED = 0x5649_5249_4449_414en;
/** A guest that has reported a crash still writes the end of its report to the console. */
const CRASH_GRACE = 300;
/** Milliseconds after which a kernel's image is put away, and between two looks for memory that compilers have left. */
const SPILL_AFTER = 3000;
const TIDY_EVERY = 10_000;
/** Milliseconds that an idle processor looks for work before it sleeps, where all threads can run at the same time. */
const PROCESSOR_PATIENCE = 0.2;
/** Bytes that are worth a file. */
const SPILL_FROM = 2 ** 20;

export interface WorkerOptions {
  readonly config: MachineConfig;
  readonly plan: LoadPlan;
  /** What a restart loads, where that is not the same again. */
  readonly replan?: (() => Promise<LoadPlan>) | undefined;
  readonly onReboot: 'restart' | 'stop';
  /** Percent. */
  readonly processorMaximum?: number | undefined;
  readonly instructionLimit: bigint | undefined;
  readonly trace: ((event: TraceEvent) => void) | undefined;
  /** The worker closes them. */
  readonly disks?: PartitionDisks | undefined;
  readonly nics?: PartitionNics | undefined;
  readonly onDisk?: ((event: DiskEvent) => void) | undefined;
  /** A thread for each processor, started and told nothing yet; the worker ends them. */
  readonly threads: readonly VpThread[];
  readonly translatorEntry: ThreadEntry;
  readonly engine: 'interpreter' | 'translator';
  /** Translations outlive the run. */
  readonly translations?: TranslationCache | undefined;
  /** Called when the partition is disposed of. */
  readonly ending?: () => void;
  readonly host: HostServices;
  /** Where states are saved. */
  readonly files: DiskFiles;
  readonly interpreter: InterpreterModule;
  readonly saved?: SavedPartition | undefined;
}

export class VmWorker implements Partition {
  readonly stopped: Promise<StopReason>;
  readonly console: Partition['console'];
  readonly integration: Partition['integration'];
  readonly storage: Partition['storage'];
  readonly keyboard: Partition['keyboard'];
  readonly mouse: Partition['mouse'];
  readonly memory: Partition['memory'];
  /** Without what is needed once: it is large. */
  readonly #options: Omit<WorkerOptions, 'plan' | 'saved'>;
  #plan: LoadPlan;
  #tidying: ReturnType<typeof setTimeout> | undefined;
  readonly #machine: Machine;
  readonly #memory: WebAssembly.Memory;
  readonly #synthetic: SyntheticDevices | undefined;
  readonly #translator: PartitionTranslator | undefined;
  readonly #disks: PartitionDisks;
  readonly #nics: PartitionNics;
  readonly #origin: bigint;
  readonly #log: MemoryLog;
  readonly #restored: boolean;
  /** What it was restored from, where that is a file: it has the plan's segments. */
  #image: MemoryImage | undefined;
  #saving: StateSaver | undefined;
  readonly #console: PartitionConsole;
  #resolveStopped!: (reason: StopReason) => void;
  #finished: StopReason | undefined;
  #limitReached = false;
  /** Stands still until a disk's file has room, and runs then. */
  #heldForRoom = false;
  /** The guest's time while it stands still: it stands too. */
  #stoodAt: bigint | undefined;
  /** Of the clock, when the guest was last told the calendar. */
  #clockOffset = 0;
  /** Called when a disk's file has no room. */
  #whenFull: (() => void)[] = [];
  #keepAlive: ReturnType<typeof setInterval> | undefined;

  constructor(options: WorkerOptions) {
    const { host } = options;
    this.#origin = host.monotonicNow();
    const { saved, plan, ...rest } = options;
    const config = saved?.config ?? options.config;
    this.#plan = saved?.plan ?? plan;
    this.#restored = saved !== undefined;
    this.#options = { ...rest, config };
    const pages = Math.ceil(machineMemorySize(config) / WASM_PAGE);
    this.#memory = new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true });
    this.#machine = new Machine(config, this.#memory.buffer as unknown as SharedArrayBuffer, {
      time: host.hostTime(this.#origin),
      consoleReady: () => {
        this.#console.written();
      },
      crashed: () => undefined,
    });
    this.#translator =
      rest.engine === 'interpreter'
        ? undefined
        : new PartitionTranslator({
            host,
            entry: rest.translatorEntry,
            memory: this.#memory,
            processors: config.processors,
            translations: rest.translations,
            failed: (error) => {
              this.#finish({ kind: 'error', message: error.message, cause: error });
            },
          });
    this.#console = new PartitionConsole(this.#machine);
    this.#log = new MemoryLog(this.#machine);
    this.stopped = new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
    this.console = {
      write: (data) => this.#console.write(typeof data === 'string' ? new TextEncoder().encode(data) : data),
      onData: (callback) => {
        this.#console.onData = callback;
      },
    };
    this.#disks = rest.disks ?? new PartitionDisks();
    this.#nics = rest.nics ?? new PartitionNics();
    this.#disks.listener = {
      full: () => {
        this.#holdForRoom();
      },
      room: () => {
        if (this.#heldForRoom) this.resume();
      },
      tell: (event) => rest.onDisk?.(event),
    };
    const mailbox = this.#machine.vmbus;
    this.#synthetic =
      mailbox &&
      new SyntheticDevices(this.#machine, mailbox, {
        host,
        disks: this.#disks,
        tellDisk: (event) => rest.onDisk?.(event),
        nics: this.#nics,
        withLock: (body) => this.#console.withLock(body),
        defect: (error) => {
          this.#finish({
            kind: 'error',
            message: error instanceof Error ? error.message : String(error),
            cause: error,
          });
        },
        trace:
          rest.trace &&
          ((text) => {
            rest.trace?.({ processor: 0, instructions: this.stats().instructions, kind: 'vmbus', text });
          }),
      });
    this.integration = integrationServices(this.#synthetic?.integration);
    this.storage = partitionStorage(this.#disks, this.#synthetic?.scsi, () => this.#finished !== undefined);
    this.keyboard = this.#synthetic?.keyboard;
    this.mouse = this.#synthetic?.mouse;
    this.memory = this.#synthetic && partitionMemory(this.#synthetic.memory);
    this.#machine.reset();
    this.#powerUp();
  }

  /** Goes on from the state that it was made with. @throws ViridianError `badFile` */
  async restore(saved: SavedPartition): Promise<void> {
    const { arena, memory, vps, clock, control } = this.#machine;
    this.#machine.mapMemory();
    try {
      arena.load(saved.structs);
      this.#machine.restoreMemory();
      if (isImage(saved.memory)) await this.#restoreImage(saved.memory);
      else for (const page of saved.memory) memory.write(page.gpa, page.bytes);
      this.#synthetic?.restore(saved.vmbus);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ViridianError('badFile', `the saved state does not fit this build: ${reason}`, { cause: error });
    }
    for (const vp of vps) {
      adoptSavedFlags(vp);
      updateMode(vp);
    }
    clock.set(saved.time);
    // Whoever holds the state may go on from it twice.
    const id = this.#options.host.randomBytes(GENERATION_ID_SIZE);
    this.#machine.lock.with(() => this.#machine.generationId?.change(id));
    // What the engines derive from the state is made afresh.
    Atomics.add(control.generation, 0, 1);
  }

  async #restoreImage(image: MemoryImage): Promise<void> {
    this.#image = image;
    await image.load(this.#machine.arena.buffer, this.#log.host(0));
    for (let page = image.stored.indexOf(1); page >= 0; page = image.stored.indexOf(1, page + 1))
      this.#log.touched.add(page);
  }

  /** Puts the kernel in place. RAM is zero. */
  #load(): void {
    const { memory } = this.#machine;
    for (const { gpa, bytes } of this.#plan.segments) memory.write(gpa, bytes);
    this.#machine.generationId?.place();
  }

  /** The boot processor is at the kernel's entry, the others wait for it. */
  #powerUp(): void {
    this.#machine.vps.forEach((vp, i) => {
      const { retired } = vp;
      resetPowerUp(vp);
      vp.retired = retired;
      if (i > 0) vp.activity = Activity.WAIT_FOR_SIPI;
      else applyInitialState(vp, this.#plan.entry);
    });
  }

  /** Makes the processors' threads ready; they wait. Memory that is not restored gets its kernel meanwhile. */
  async prepare(): Promise<void> {
    const { config, host, threads, interpreter } = this.#options;
    const channels = this.#translator?.openChannels() ?? [];
    const ready = threads.map((thread, index) => {
      const data: VpThreadData = {
        index,
        config,
        memory: this.#memory,
        interpreter,
        timeOrigin: this.#origin,
        instructionLimit: this.#options.instructionLimit,
        tracing: this.#options.trace !== undefined,
        patience: config.processors < host.parallelism ? PROCESSOR_PATIENCE : 0,
        randomSeed: config.virtualTime ? FIXED_SEED : undefined,
        translation: channels[index],
        listening: this.#translator?.listening ?? new Int32Array(1),
        kept: this.#options.translations?.stored?.index,
      };
      thread.post(data, data.translation ? [data.translation] : []);
      return new Promise<void>((resolve, reject) => {
        thread.onMessage((message) => {
          if (message.kind === 'ready') resolve();
          else this.#message(index, message);
        });
        thread.onError((error) => {
          reject(error);
          this.#finish({ kind: 'error', message: error.message, cause: error });
        });
      });
    });
    // There will be something for it at once.
    if (this.#options.translations?.stored) this.#translator?.start();
    if (!this.#restored) {
      this.#machine.mapMemory();
      this.#machine.generationId?.begin(host.randomBytes(GENERATION_ID_SIZE));
      this.#load();
    }
    await Promise.all(ready);
  }

  #message(processor: number, message: FromVpThread): void {
    switch (message.kind) {
      case 'hot':
        if (!this.#finished) this.#translator?.start();
        break;
      case 'console':
        this.#console.written();
        this.#console.pump();
        break;
      case 'power':
        void this.#power();
        break;
      case 'crash':
        setTimeout(() => {
          this.#finish({ kind: 'crash', parameters: message.parameters, message: message.message ?? '' });
        }, CRASH_GRACE);
        break;
      case 'trace':
        for (const event of message.events) this.#options.trace?.({ processor, ...event });
        break;
      case 'failed':
        this.#finish({ kind: 'error', message: message.message, cause: message.stack });
        break;
      case 'ready':
        break;
    }
  }

  // ---- running ------------------------------------------------------------------------------------------------------------

  start(): void {
    this.resume();
  }

  resume(): void {
    if (this.#finished || this.#limitReached) return;
    this.#keepAlive ??= setInterval(() => {
      this.#options.host.trim();
      this.#tellMissedTime();
    }, TIDY_EVERY);
    this.#tidying ??= setTimeout(() => void this.#putAway(), SPILL_AFTER);
    this.#heldForRoom = this.#disks.full;
    if (this.#heldForRoom) {
      this.#disks.retry();
      return;
    }
    const { control, clock } = this.#machine;
    if (this.#stoodAt !== undefined) clock.set(this.#stoodAt);
    this.#stoodAt = undefined;
    this.#clockOffset = clock.offset;
    this.#synthetic?.start();
    const { processorMaximum = 100 } = this.#options;
    control.processorMaximum[0] = processorMaximum === 100 ? 0 : processorMaximum;
    Atomics.store(control.wanted, 0, Run.RUNNING);
    Atomics.notify(control.wanted, 0);
    this.#console.pump();
  }

  async pause(): Promise<void> {
    if (this.#finished) return;
    const { control } = this.#machine;
    this.#heldForRoom = false;
    Atomics.compareExchange(control.wanted, 0, Run.RUNNING, Run.PAUSED);
    this.#ringAll();
    await this.#allIn(Run.PAUSED);
    if (!this.#machine.clock.virtual) this.#stoodAt ??= this.#machine.clock.now();
    this.#synthetic?.pause();
    await this.#quiesce();
    this.#console.drain();
  }

  /** The host had stopped this process: no part of the guest's time, but the calendar went on. */
  #tellMissedTime(): void {
    const { offset, virtual } = this.#machine.clock;
    if (virtual || offset === this.#clockOffset) return;
    this.#clockOffset = offset;
    this.#synthetic?.integration.timesync.synchronize();
  }

  /** Hyper-V's Paused-Critical. The request that found no room is still under way, so this is no pause to save in. */
  #holdForRoom(): void {
    const { control } = this.#machine;
    if (Atomics.compareExchange(control.wanted, 0, Run.RUNNING, Run.PAUSED) === Run.RUNNING) {
      this.#heldForRoom = true;
      this.#ringAll();
      this.#synthetic?.pause();
    }
    for (const tell of this.#whenFull.splice(0)) tell();
  }

  /** Resolves when disks have nothing more to do, or are waiting for room. */
  async #quiesce(): Promise<void> {
    if (this.#disks.full) return;
    const full = new Promise<void>((resolve) => this.#whenFull.push(resolve));
    await Promise.race([this.#synthetic?.quiesce(), full]);
  }

  #ringAll(): void {
    for (let vp = 0; vp < this.#machine.config.processors; vp++) this.#machine.doorbell.ring(vp);
  }

  async #allIn(state: number): Promise<void> {
    for (const control of this.#machine.processorControls)
      while (Atomics.load(control.state, 0) !== state && !this.#finished) {
        this.#console.drain();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
  }

  async #power(): Promise<void> {
    await this.#allIn(Run.PAUSED);
    // A disk that hangs does not hold up a power-off; what it still answers is nobody's.
    this.#synthetic?.pause();
    if (this.#finished) return;
    const { control } = this.#machine;
    const event = Atomics.exchange(control.powerEvent, 0, PowerEvent.NONE);
    switch (event) {
      case PowerEvent.POWER_OFF:
        this.#finish({ kind: 'powerOff' });
        break;
      case PowerEvent.EXIT:
        this.#finish({ kind: 'exit', code: control.exitCode[0] as number });
        break;
      case PowerEvent.TRIPLE_FAULT: {
        const processor = Math.max(
          0,
          this.#machine.vps.findIndex((vp) => vp.activity === Activity.SHUTDOWN),
        );
        this.#finish({ kind: 'tripleFault', processor, state: inspectMachine(this.#machine) });
        break;
      }
      case PowerEvent.LIMIT:
        // It may be saved.
        await this.#quiesce();
        this.#limitReached = true;
        this.#finish({ kind: 'instructionLimit' });
        break;
      case PowerEvent.RESET:
        if (this.#options.onReboot === 'stop') this.#finish({ kind: 'reset' });
        else await this.#restart();
        break;
      default:
        this.resume();
    }
  }

  async #restart(): Promise<void> {
    const { memory, control } = this.#machine;
    // What the guest had begun to write must not come over what it writes after the restart.
    await this.#disks.idle();
    if (this.#finished) return;
    try {
      this.#plan = (await this.#options.replan?.()) ?? (await this.#wholePlan());
      await this.#image?.close();
      this.#image = undefined;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#finish({ kind: 'error', message: `nothing to restart: ${message}`, cause: error });
    }
    if (this.#finished) return;
    const { discardMemory } = this.#options.host;
    for (const { gpa, size } of this.#machine.ram())
      memory.release(gpa, size, (at, count) => discardMemory(this.#machine.arena.buffer, at, count));
    this.#synthetic?.reset();
    this.#machine.reset();
    this.#load();
    this.#powerUp();
    Atomics.add(control.generation, 0, 1);
    this.resume();
  }

  /** With its segments, which a file may have. */
  async #wholePlan(): Promise<LoadPlan> {
    const image = this.#image;
    return image === undefined ? this.#plan : { ...this.#plan, segments: await image.segments() };
  }

  async reset(): Promise<void> {
    if (this.#finished) return;
    const { control } = this.#machine;
    await this.pause();
    // What the guest asked for in its last moments is void.
    Atomics.store(control.powerEvent, 0, PowerEvent.NONE);
    await this.#restart();
  }

  injectNmi(): void {
    if (!this.#finished) this.#machine.apics[0]?.requestNmi();
  }

  /** A guest has started: what was needed for that is put away until it restarts or is saved. */
  async #putAway(): Promise<void> {
    const { host } = this.#options;
    const plan = this.#plan;
    const segments = await Promise.all(
      plan.segments.map(async (segment) => {
        const read = segment.bytes.length < SPILL_FROM ? undefined : await host.spill(segment.bytes);
        // A view of a file's bytes would keep all of them.
        if (!read) return { gpa: segment.gpa, bytes: new Uint8Array(segment.bytes) };
        return {
          gpa: segment.gpa,
          get bytes() {
            return read();
          },
        };
      }),
    );
    // A restart meanwhile may have brought another.
    if (this.#finished || this.#plan !== plan) return;
    this.#plan = { ...plan, segments };
    // Not here: what this function has at hand is no garbage yet.
    this.#tidying = setTimeout(() => {
      host.trim(true);
    }, 200);
  }

  async attachNic(nic: NicOptions): Promise<string> {
    checkNic(nic);
    return await this.#nics.attach(nic);
  }

  detachNic(name: string): void {
    this.#nics.detach(name);
  }

  setLink(name: string, up: boolean): void {
    this.#nics.setLink(name, up);
  }

  async connect(port: number, options?: ConnectOptions): Promise<GuestStream> {
    return await connectToGuest(this.#synthetic?.sockets, port, options);
  }

  listen(port: number, accept: (stream: GuestStream) => void): GuestListener {
    return listenToGuest(this.#synthetic?.sockets, port, accept);
  }

  async exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult> {
    return await execInGuest((port, timeout) => this.connect(port, { timeout }), argv, options);
  }

  async shutdown(options?: ShutdownOptions): Promise<void> {
    await shutdown(this.#synthetic?.integration, options);
  }

  turnOff(): void {
    this.#finish({ kind: 'turnedOff' });
  }

  #finish(reason: StopReason): void {
    if (this.#finished) return;
    this.#console.end();
    this.#finished = reason;
    this.#synthetic?.stop();
    clearInterval(this.#keepAlive);
    clearTimeout(this.#tidying);
    const { control } = this.#machine;
    Atomics.store(control.wanted, 0, reason.kind === 'instructionLimit' ? Run.PAUSED : Run.STOPPED);
    Atomics.notify(control.wanted, 0);
    this.#ringAll();
    const closed = this.#disks.close();
    this.#nics.close();
    // Messages that threads have already sent (console bytes, traces) come first.
    setTimeout(() => {
      void closed.then(() => {
        this.#resolveStopped(reason);
      });
    }, 5);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.turnOff();
    Atomics.store(this.#machine.control.wanted, 0, Run.STOPPED);
    Atomics.notify(this.#machine.control.wanted, 0);
    this.#ringAll();
    await this.#saving?.cancel();
    const threads = this.#options.threads.map((thread) => thread.terminate());
    this.#options.ending?.();
    await Promise.all([...threads, this.#translator?.end(), this.#disks.close(), this.#image?.close()]);
  }

  // ---- state ------------------------------------------------------------------------------------------------------------------

  async save(): Promise<Uint8Array> {
    const machine = await this.#standingMachine();
    const { segments } = await this.#wholePlan();
    // Read once, where they have been put away.
    const plan = { ...machine.plan, segments: segments.map(({ gpa, bytes }) => ({ gpa, bytes })) };
    return encodeSavedState({ ...machine, plan }, [...this.#pages()], this.#options.host.compression);
  }

  /** All but memory, of a partition that stands still. */
  async #standingMachine(): Promise<SavedMachine> {
    const structs = await this.#standingState('save');
    const disks = await this.#disks.save();
    const { config, clock } = this.#machine;
    return {
      config,
      time: this.#stoodAt ?? clock.now(),
      structs,
      plan: this.#plan,
      vmbus: this.#synthetic?.save(),
      disks,
    };
  }

  saveTo(file: string, options: StateSavingOptions = {}): StateSaving {
    if (this.#finished && !this.#limitReached)
      throw new ViridianError('wrongState', 'the partition has stopped: there is nothing to save');
    if (this.#saving) throw new ViridianError('wrongState', 'the partition is being saved already');
    const { host, files } = this.#options;
    const saver = new StateSaver(
      {
        host,
        files,
        buffer: this.#machine.arena.buffer,
        log: this.#log,
        segments: () => this.#packedSegments(),
        prepare: () => this.#disks.flush(),
        machine: () => this.#standingMachine(),
        ended: () => {
          this.#saving = undefined;
        },
      },
      file,
      options,
    );
    this.#saving = saver;
    return saver;
  }

  async #packedSegments(): Promise<readonly PackedSegment[]> {
    if (this.#image !== undefined) return await this.#image.packedSegments();
    const { compression } = this.#options.host;
    return await Promise.all(
      this.#plan.segments.map(async ({ gpa, bytes }) => ({
        gpa,
        length: bytes.length,
        packed: await compression.compressLater(bytes),
      })),
    );
  }

  async digest(): Promise<PartitionDigest> {
    const structs = Object.values(await this.#standingState('digest'));
    const { sha256 } = this.#options.host;
    const encoder = new TextEncoder();
    const processors = structs.filter((s) => s.struct === VpState.name);
    const rest = structs.filter((s) => s.struct !== VpState.name);
    const text = function* (of: readonly Saved[]): Iterable<Uint8Array> {
      for (const s of of) yield encoder.encode(`${JSON.stringify(s)}\n`);
    };
    const pages = this.#pages();
    const memory = function* (): Iterable<Uint8Array> {
      for (const { gpa, bytes } of pages) {
        yield encoder.encode(`${gpa}\n`);
        yield bytes;
      }
    };
    return {
      instructions: this.stats().instructions,
      registers: sha256(text(processors)),
      memory: sha256(memory()),
      devices: sha256([...text(rest), encoder.encode(JSON.stringify(this.#synthetic?.save() ?? null))]),
    };
  }

  /** Every struct of a partition that stands still. @throws ViridianError `wrongState` */
  async #standingState(purpose: string): Promise<Record<string, Saved>> {
    const { arena, control, vps } = this.#machine;
    if (this.#finished && !this.#limitReached)
      throw new ViridianError('wrongState', `the partition has stopped: there is nothing to ${purpose}`);
    if (!this.#limitReached && Atomics.load(control.wanted, 0) === Run.RUNNING)
      throw new ViridianError('wrongState', `the partition is running: pause it before you ${purpose} it`);
    await this.#allIn(Run.PAUSED);
    // The same flags have many lazy forms; which one stands there depends on how the code was cut into blocks.
    for (const vp of vps) writeFlags(vp, readFlags(vp));
    return arena.save();
  }

  /** The pages of RAM that are not all zero, copied. */
  *#pages(): Generator<{ readonly gpa: number; readonly bytes: Uint8Array }> {
    const { memory } = this.#machine;
    for (const { gpa: first, size, host } of this.#machine.ram()) {
      const words = new Int32Array(this.#memory.buffer, host, size / 4);
      for (let at = 0; at < size; at += PAGE)
        if (!allZero(words, at / 4, (at + PAGE) / 4)) yield { gpa: first + at, bytes: memory.read(first + at, PAGE) };
    }
  }

  async screenshot(): Promise<Uint8Array | undefined> {
    const image = this.#synthetic?.video.image();
    return image && (await encodePng(image.width, image.height, image.rgb));
  }

  async screenChanges(after: number): Promise<ScreenChanges | null | undefined> {
    const part = this.#synthetic?.video.changed(after);
    if (!part) return part;
    const { change, x, y, screenWidth, screenHeight, image } = part;
    return { change, x, y, screenWidth, screenHeight, png: await encodePng(image.width, image.height, image.rgb) };
  }

  async inspect(): Promise<InspectNode> {
    const tree = inspectMachine(this.#machine);
    return this.#synthetic ? { ...tree, vmbus: this.#synthetic.inspect(), disks: this.#disks.inspect() } : tree;
  }

  stats(): PartitionStats {
    return statsOf(this.#machine);
  }
}
