/**
 * The Hyper-V guest interface of one partition, and of each of its virtual processors: synthetic MSRs, the hypercall page,
 * reference time, SynIC and timers. TLFS.
 *
 * Threads: every thread constructs its own HypervPartition over the same bytes. Two kinds of callers, two rules:
 * - a virtual processor's loop calls `HypervVp.readMsr`, `writeMsr`, `hypercall`, `poll`, `nextDeadline` on its own thread
 *   WITHOUT the platform lock; these take it where they need it, and call the flush, crash and reset ports without it;
 * - devices and the parent call `postMessage`, `setEventFlag`, `signalSint` WITH the platform lock held, from any thread,
 *   and their ConnectionPorts' `postMessage` is called with it held.
 */
import type { LocalApic } from '../apic/local-apic.ts';
import type { InspectTree } from '../apic/ports.ts';
import { MSR_FIRST, MSR_LAST } from './constants.ts';
import { PRIVILEGES_HIGH, privileges } from './cpuid.ts';
import { dispatchHypercall, type HypercallResult } from './hypercalls.ts';
import { SYNTHETIC_MSRS } from './msrs.ts';
import { isRam } from './pages.ts';
import type {
  ConnectionPort,
  CrashPort,
  GuestCrash,
  PlatformLock,
  TlbFlushPort,
  TlfsClock,
  TlfsMemory,
  TscSource,
} from './ports.ts';
import { ReferenceTime } from './reference-time.ts';
import { HypervPartitionState, type HypervPartitionView, HypervVpState, type HypervVpView } from './state.ts';
import { SyntheticTimers } from './stimers.ts';
import { type FlagResult, type PostResult, SynIc } from './synic.ts';

export interface HypervPartitionOptions {
  readonly buffer: ArrayBufferLike;
  /** Byte offset of hypervStateSize() bytes. */
  readonly base: number;
  /** VP n has apics[n]. */
  readonly apics: readonly LocalApic[];
  readonly memory: TlfsMemory;
  readonly lock: PlatformLock;
  readonly clock: TlfsClock;
  readonly tsc: TscSource;
  readonly tlb: TlbFlushPort;
  readonly crash?: CrashPort;
  /** HV_X64_MSR_RESET. Called without the platform lock. */
  readonly reset?: () => void;
  /** Nanoseconds a VP has run; default the partition's age. */
  readonly runtime?: (vp: number) => bigint;
  /** Bits of CPUID 0x40000003 EAX; default those of cpuid.ts. */
  readonly privileges?: number;
}

export function hypervStateSize(processors: number): number {
  return HypervPartitionState.size + processors * HypervVpState.size;
}

export class HypervPartition {
  readonly state: HypervPartitionView;
  readonly vps: readonly HypervVp[];
  readonly memory: TlfsMemory;
  readonly lock: PlatformLock;
  readonly time: ReferenceTime;
  readonly tscFrequency: number;
  readonly privileges: number;
  readonly privilegesHigh = PRIVILEGES_HIGH;
  readonly tlb: TlbFlushPort;
  readonly #options: HypervPartitionOptions;
  readonly #connections: ConnectionPort[] = [];

  /** Attaches to existing state; `reset()` makes a new one. */
  constructor(options: HypervPartitionOptions) {
    this.#options = options;
    this.memory = options.memory;
    this.lock = options.lock;
    this.tlb = options.tlb;
    this.tscFrequency = options.tsc.tscFrequency;
    this.privileges = options.privileges ?? privileges(options.apics.length);
    this.state = HypervPartitionState.view(options.buffer, options.base);
    this.time = new ReferenceTime(this.state, options.tsc);
    this.vps = options.apics.map((apic, index) => {
      const base = options.base + HypervPartitionState.size + index * HypervVpState.size;
      return new HypervVp(this, index, apic, HypervVpState.view(options.buffer, base), options);
    });
  }

  /** Partition creation or reset: everything off, reference time zero. No virtual processor may be running. */
  reset(): void {
    const s = this.state;
    s.guestOsId = 0n;
    s.hypercall = 0n;
    s.referenceTsc = 0n;
    s.referenceSequence = 0;
    s.crash.fill(0n);
    this.time.set(0n);
    for (const vp of this.vps) vp.reset();
  }

  /**
   * After a restore, before a processor runs: the reference counter goes on from `time`, whatever the TSC has become.
   * Platform lock held.
   */
  resumeTime(time: bigint): void {
    this.time.set(time);
    if (isRam(this.memory, Number(this.state.referenceTsc & ~0xfffn), 4096)) this.time.writePage(this.memory);
  }

  /** Adds a port that owns connections; ports are asked in order. Every thread adds the same ones. */
  addConnections(port: ConnectionPort): void {
    this.#connections.push(port);
  }

  get connections(): readonly ConnectionPort[] {
    return this.#connections;
  }

  /** A hypercall instruction raises #UD while this is false. */
  get hypercallsEnabled(): boolean {
    return this.state.guestOsId !== 0n;
  }

  /** Platform lock held, any thread. */
  postMessage(vp: number, sint: number, type: number, sender: bigint, payload: Uint8Array): PostResult {
    return this.vps[vp]?.synic.postMessage(sint, type, sender, payload) ?? 'inactive';
  }

  /** Platform lock held, any thread. */
  setEventFlag(vp: number, sint: number, flag: number): FlagResult {
    return this.vps[vp]?.synic.setEventFlag(sint, flag) ?? 'inactive';
  }

  /** Platform lock held, any thread. False when the SINT is masked or the VP does not exist. */
  signalSint(vp: number, sint: number): boolean {
    return this.vps[vp]?.synic.signal(sint) ?? false;
  }

  crashed(crash: GuestCrash): void {
    this.#options.crash?.guestCrashed(crash);
  }

  requestReset(): void {
    this.#options.reset?.();
  }

  inspect(): InspectTree {
    const s = this.state;
    return {
      guestOsId: s.guestOsId,
      hypercallPage: s.hypercall,
      referenceTscPage: s.referenceTsc,
      referenceTime: this.time.now(),
      processors: Object.fromEntries(this.vps.map((vp) => [vp.index, vp.inspect()])),
    };
  }
}

export class HypervVp {
  readonly partition: HypervPartition;
  readonly index: number;
  readonly apic: LocalApic;
  readonly state: HypervVpView;
  readonly synic: SynIc;
  readonly timers: SyntheticTimers;
  readonly #runtime: ((vp: number) => bigint) | undefined;
  #idle = false;

  constructor(
    partition: HypervPartition,
    index: number,
    apic: LocalApic,
    state: HypervVpView,
    options: HypervPartitionOptions,
  ) {
    this.partition = partition;
    this.index = index;
    this.apic = apic;
    this.state = state;
    this.#runtime = options.runtime;
    const { time, memory, lock } = partition;
    this.synic = new SynIc(state, apic, memory, time);
    this.timers = new SyntheticTimers(state, { apic, synic: this.synic, time, clock: options.clock, lock });
  }

  reset(): void {
    this.state.assistPage = 0n;
    this.synic.reset();
    this.timers.reset();
    this.#idle = false;
  }

  static ownsMsr(index: number): boolean {
    return index >= MSR_FIRST && index <= MSR_LAST;
  }

  /** The value, or undefined for #GP. Reading HV_X64_MSR_GUEST_IDLE leaves a request for takeIdle(). */
  readMsr(index: number): bigint | undefined {
    const entry = SYNTHETIC_MSRS.get(index);
    const read = entry?.read;
    if (!entry || !read || !this.#permitted(entry.privilege)) return undefined;
    return entry.locked ? this.partition.lock.with(() => read(this)) : read(this);
  }

  /** False for #GP. */
  writeMsr(index: number, value: bigint): boolean {
    const entry = SYNTHETIC_MSRS.get(index);
    const write = entry?.write;
    if (!entry || !write || !this.#permitted(entry.privilege)) return false;
    return entry.locked ? this.partition.lock.with(() => write(this, value)) : write(this, value);
  }

  #permitted(privilege: number): boolean {
    return privilege === 0 || (this.partition.privileges & privilege) !== 0;
  }

  /**
   * A hypercall by this processor, which the caller has checked to be in CPL 0 with `hypercallsEnabled`.
   * In 64-bit mode `control` is RCX, `input` RDX, `output` R8 and the result goes to RAX; in 32-bit mode they are
   * EDX:EAX, EBX:ECX, EDI:ESI and EDX:EAX.
   */
  hypercall(control: bigint, input: bigint, output: bigint): HypercallResult {
    return dispatchHypercall(this, control, input, output);
  }

  requestIdle(): void {
    this.#idle = true;
  }

  /** The guest read HV_X64_MSR_GUEST_IDLE: halt until `apic.anyPending`, even with RFLAGS.IF clear. Clears the request. */
  takeIdle(): boolean {
    const idle = this.#idle;
    this.#idle = false;
    return idle;
  }

  /** HV_X64_MSR_VP_RUNTIME, 100 ns units. */
  runtime(): bigint {
    return this.#runtime ? this.#runtime(this.index) / 100n : this.partition.time.now();
  }

  /** When poll() next has something to do, in the clock's nanoseconds. */
  nextDeadline(): bigint | undefined {
    return this.timers.nextDeadline();
  }

  poll(): void {
    this.timers.poll();
    for (const port of this.partition.connections) port.poll?.();
  }

  inspect(): InspectTree {
    return { assistPage: this.state.assistPage, synic: this.synic.inspect(), timers: this.timers.inspect() };
  }
}
