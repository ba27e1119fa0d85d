/**
 * One virtual processor's loop, on its own thread: takes what others ask of it, interrupts, timers, steps for the
 * debugger's sake, and otherwise lets the engine run guest code.
 */

import { Patience } from '../../support/patience.ts';
import type { LocalApic } from '../apic/local-apic.ts';
import { type Interpreter, RunResult } from '../interpreter/interpreter.ts';
import type { HypervVp } from '../tlfs/partition.ts';
import { codeBreakpoints, debugArmed, debugTrapAfter } from '../x86/system/debug.ts';
import { deliver } from '../x86/system/interrupts.ts';
import { Shadow } from '../x86/system/mode.ts';
import { type Doorbell, type PartitionControlView, Run, takeCodeWritten, type VpControlView } from './control.ts';
import { resetInit, startAt } from './reset.ts';
import { Activity, Flag, Vector, type VpView } from './state.ts';

/** Instructions between two looks at the clock, where time is a function of instructions; the fewest otherwise. */
const QUANTUM = 20_000;
/** In real time it is as many as take this long, in milliseconds, within bounds. */
const SLICE = 0.2;
const LARGEST_QUANTUM = 400_000;
/** An idle processor looks at the clock at least this often, in milliseconds. */
const LONGEST_SLEEP = 1000;
/** Under a maximum, in milliseconds: what is not worth a sleep, what would be felt as one, and what is never forgotten. */
const SHORTEST_REST = 2;
const LONGEST_REST = 20;
const MOST_OWED = 200;
/** Looks at the doorbell between two at the time. */
const LOOKS = 100;

export interface ProcessorPorts {
  readonly index: number;
  readonly engine: Interpreter;
  readonly apic: LocalApic;
  readonly hyperv: HypervVp;
  readonly control: VpControlView;
  readonly partition: PartitionControlView;
  readonly doorbell: Doorbell;
  /** Nanoseconds since the partition was created. */
  now(): bigint;
  /** Time is a function of retired instructions: one nanosecond each, and idle time is skipped. */
  readonly virtualTime: boolean;
  /** With `virtualTime`: the clock jumps to `deadline`. */
  skipTo(deadline: bigint): void;
  /** Devices that keep time, run by processor 0. */
  readonly devices: { nextDeadline(): bigint | undefined; poll(now: bigint): void } | undefined;
  /** Instruction count at which the partition stops. */
  readonly instructionLimit: bigint | undefined;
  tripleFault(): void;
  limitReached(): void;
  /** Milliseconds to look at the doorbell before sleeping, at most. */
  readonly patience: number;
  /** True when a power event stands: the processor then goes no further. */
  powerEvent(): boolean;
  /** Whatever was collected for the parent (console, traces) is to be sent now. */
  flush(): void;
  /** It is about to sleep: for what can wait until there is time. */
  idle?(): void;
}

export class Processor {
  readonly #p: ProcessorPorts;
  readonly #vp: VpView;
  readonly #patience: Patience;
  #generation = 0;
  #quantum = QUANTUM;
  /** Milliseconds; below zero where a sleep was longer than asked for. */
  #owed = 0;

  constructor(ports: ProcessorPorts) {
    this.#p = ports;
    this.#vp = ports.engine.vp;
    this.#patience = new Patience(ports.patience);
  }

  /** Runs until the partition stops. */
  loop(): void {
    const p = this.#p;
    const running = p.partition.wanted;
    for (;;) {
      p.engine.platform.storesDone();
      this.serve();
      p.powerEvent();
      const wanted = Atomics.load(running, 0);
      if (wanted !== Run.RUNNING) {
        p.flush();
        Atomics.store(p.control.state, 0, wanted);
        Atomics.notify(p.control.state, 0);
        if (wanted === Run.STOPPED) return;
        Atomics.wait(running, 0, wanted);
        continue;
      }
      Atomics.store(p.control.state, 0, Run.RUNNING);
      const generation = Atomics.load(p.partition.generation, 0);
      if (generation !== this.#generation) {
        this.#generation = generation;
        p.engine.restart();
      }
      p.doorbell.take(p.index);
      this.#once();
    }
  }

  /** Does what other processors wait for: TLB flushes and the dropping of changed code. Safe outside guest code only. */
  serve(): void {
    const { control, engine } = this.#p;
    const wanted = Atomics.load(control.flushWanted, 0);
    if (wanted !== Atomics.load(control.flushDone, 0)) {
      engine.flushTlb('all');
      Atomics.store(control.flushDone, 0, wanted);
      Atomics.notify(control.flushDone, 0);
    }
    if (takeCodeWritten(control, (gpa, size) => engine.blocks.written(gpa, size))) engine.blocks.flush();
  }

  #once(): void {
    const p = this.#p;
    const vp = this.#vp;
    const now = p.now();
    p.apic.poll(now);
    p.hyperv.poll();
    p.devices?.poll(now);
    if (p.apic.eventPending) this.#events();
    if (vp.activity === Activity.WAIT_FOR_SIPI || (vp.activity === Activity.HALTED && !this.#wakes())) {
      this.#idle();
      return;
    }
    vp.activity = Activity.RUNNING;
    // A trap that an instruction of the run before has left, SYSRET's for one, comes before all else.
    if (vp.pendingDebug !== 0 && this.#trap(debugTrapAfter(vp, false))) return;
    const shadowed = vp.interruptShadow !== 0;
    if (!shadowed && this.#inject()) return;
    vp.interruptWindow = p.apic.hasInterrupt() >= 0 ? Flag.IF : 0;
    // Where a run is a function of its inputs, looking up at the same counts makes it independent of where it was saved.
    let budget = p.virtualTime ? QUANTUM - Number(vp.retired % BigInt(QUANTUM)) : this.#quantum;
    if (p.instructionLimit !== undefined) {
      const left = p.instructionLimit - vp.retired;
      if (left <= 0n) {
        p.limitReached();
        return;
      }
      if (left < BigInt(budget)) budget = Number(left);
    }
    budget = this.#untilDeadline(budget, now);
    if (shadowed || vp.flags & (Flag.TF | Flag.RF) || vp.pendingDebug !== 0 || debugArmed(vp)) this.#step();
    else this.#run(budget);
    if (p.hyperv.takeIdle()) {
      // The idle MSR ends with any pending interrupt, whether or not RFLAGS.IF lets it in.
      if (!p.apic.anyPending) this.#sleep();
    }
  }

  /** Where time is a function of the instruction count, a timer is met exactly. */
  #untilDeadline(budget: number, now: bigint): number {
    const p = this.#p;
    if (!p.virtualTime) return budget;
    const deadline = this.#nextDeadline();
    if (deadline === undefined) return budget;
    const left = deadline - now;
    return left < 1n ? 1 : left < BigInt(budget) ? Number(left) : budget;
  }

  #run(budget: number): void {
    const p = this.#p;
    Atomics.store(p.control.inGuest, 0, 1);
    // A flush that was asked for before this processor was seen in the guest is done first.
    if (Atomics.load(p.control.flushWanted, 0) !== Atomics.load(p.control.flushDone, 0)) this.serve();
    const started = performance.now();
    const result = p.engine.run(budget);
    const milliseconds = performance.now() - started;
    p.control.busy[0] = (p.control.busy[0] as number) + milliseconds * 1000;
    if (result === RunResult.BUDGET && budget === this.#quantum) this.#adjust(milliseconds);
    Atomics.store(p.control.inGuest, 0, 0);
    Atomics.notify(p.control.inGuest, 0);
    if (result === RunResult.SHUTDOWN) this.#shutdown();
    const maximum = p.partition.processorMaximum[0] as number;
    if (maximum !== 0) this.#rest((milliseconds * (100 - maximum)) / maximum);
  }

  /** Held to a part of a host's processor: what it owes is slept off in pieces that are worth the sleep. */
  #rest(milliseconds: number): void {
    this.#owed += milliseconds;
    if (this.#owed < SHORTEST_REST) return;
    this.#p.flush();
    const started = performance.now();
    // Rung for, it looks around, and sleeps off the rest after the next run.
    if (!this.#p.apic.anyPending) this.#p.doorbell.wait(this.#p.index, Math.min(this.#owed, LONGEST_REST));
    this.#owed = Math.min(this.#owed - (performance.now() - started), MOST_OWED);
  }

  /** A quantum has taken so long. */
  #adjust(milliseconds: number): void {
    const wanted = (this.#quantum * SLICE) / Math.max(milliseconds, 0.001);
    // Not all at once: one quantum may have been held up by the host.
    const next = this.#quantum + (wanted - this.#quantum) / 4;
    this.#quantum = Math.round(Math.min(Math.max(next, QUANTUM), LARGEST_QUANTUM));
  }

  /** One instruction, with everything that a debugger can ask for. */
  #step(): void {
    const p = this.#p;
    const vp = this.#vp;
    const trapFlag = (vp.flags & Flag.TF) !== 0;
    if (debugArmed(vp)) {
      p.engine.modeRefreshed();
      const hit = codeBreakpoints(vp, (vp.rip + vp.codeBase) & vp.codeMask);
      if (hit) {
        vp.faultDr6 = hit;
        this.#deliver(Vector.DB, 'exception');
        return;
      }
    }
    const { interruptShadow, retired, faults } = vp;
    vp.interruptShadow = 0;
    // For this instruction only; what an IRET loads is for the next.
    const resume = vp.flags & Flag.RF;
    vp.flags &= ~Flag.RF;
    // What asked for attention is dealt with: this instruction is not to be put off.
    vp.attention = 0;
    vp.interruptWindow = 0;
    p.engine.stepping = true;
    this.#run(1);
    p.engine.stepping = false;
    const { repeating } = p.engine;
    if (vp.retired === retired && !repeating) {
      // Put off all the same, because the doorbell rang: what held for the instruction still does.
      if (vp.faults === faults) {
        vp.interruptShadow = interruptShadow;
        vp.flags |= resume;
      }
      return;
    }
    const trap = debugTrapAfter(vp, trapFlag);
    // Between two elements of a repeated instruction RF is set in what is pushed.
    if (trap && repeating) vp.flags |= Flag.RF;
    this.#trap(trap);
  }

  /** Delivers #DB for what has trapped: DR6 bits, 0 for nothing. */
  #trap(dr6: number): boolean {
    if (dr6 === 0) return false;
    this.#vp.faultDr6 = dr6;
    this.#vp.activity = Activity.RUNNING;
    this.#deliver(Vector.DB, 'exception');
    return true;
  }

  #deliver(vector: number, kind: 'external' | 'nmi' | 'exception'): void {
    if (kind === 'external' && this.#p.engine.interrupt(vector)) return;
    const outcome = deliver(this.#p.engine, vector, kind);
    this.#p.engine.modeRefreshed();
    if (outcome === 'shutdown') this.#shutdown();
  }

  #shutdown(): void {
    this.#vp.activity = Activity.SHUTDOWN;
    this.#p.tripleFault();
  }

  #wakes(): boolean {
    const { apic } = this.#p;
    if (apic.nmiPending && this.#vp.nmiBlocked === 0) return true;
    return (this.#vp.flags & Flag.IF) !== 0 && apic.hasInterrupt() >= 0;
  }

  /** Delivers what may be delivered now; true when something was. */
  #inject(): boolean {
    const { apic } = this.#p;
    const vp = this.#vp;
    if (vp.nmiBlocked !== 0) apic.mergeNmis();
    else if (apic.nmiPending && vp.interruptShadow !== Shadow.SS) {
      apic.takeNmi();
      this.#deliver(Vector.NMI, 'nmi');
      return true;
    }
    if ((vp.flags & Flag.IF) === 0) return false;
    const vector = apic.hasInterrupt();
    if (vector < 0) return false;
    this.#deliver(apic.acknowledge(), 'external');
    return true;
  }

  #events(): void {
    const { apic, index } = this.#p;
    const vp = this.#vp;
    if (apic.initPending && apic.takeInit()) {
      resetInit(vp);
      this.#p.engine.restart();
      vp.activity = index === 0 && !apic.waitingForSipi ? Activity.RUNNING : Activity.WAIT_FOR_SIPI;
      this.#p.engine.modeRefreshed();
    }
    if (apic.sipiPending) {
      const vector = apic.takeSipi();
      if (vector >= 0 && vp.activity === Activity.WAIT_FOR_SIPI) {
        startAt(vp, vector);
        this.#p.engine.modeRefreshed();
      }
    }
  }

  #nextDeadline(): bigint | undefined {
    const p = this.#p;
    let soonest: bigint | undefined;
    for (const deadline of [p.apic.nextDeadline(), p.hyperv.nextDeadline(), p.devices?.nextDeadline()])
      if (deadline !== undefined && (soonest === undefined || deadline < soonest)) soonest = deadline;
    return soonest;
  }

  #idle(): void {
    this.#vp.interruptShadow = 0;
    this.#sleep();
  }

  /** Until the doorbell rings or `milliseconds` have passed. */
  #await(milliseconds: number): void {
    const { doorbell, index } = this.#p;
    const patience = this.#patience;
    const begun = performance.now();
    patience.worked(begun);
    for (let now = begun; patience.lasts(now); now = performance.now()) {
      for (let look = 0; look < LOOKS; look++) if (doorbell.rung(index)) break;
      if (doorbell.rung(index) || now - begun >= milliseconds) break;
    }
    doorbell.wait(index, Math.max(0, milliseconds - (performance.now() - begun)));
    patience.found(performance.now());
  }

  #sleep(): void {
    const p = this.#p;
    p.flush();
    const deadline = this.#nextDeadline();
    if (deadline !== undefined && p.virtualTime) {
      p.skipTo(deadline);
      return;
    }
    let milliseconds = LONGEST_SLEEP;
    if (deadline !== undefined) {
      const left = Number(deadline - p.now()) / 1e6;
      if (left <= 0) return;
      milliseconds = Math.min(left, LONGEST_SLEEP);
    }
    p.idle?.();
    this.#await(milliseconds);
  }
}
