import { describe, expect, it, vi } from 'vitest';
import { InterruptRouter } from '../apic/interrupt-router.ts';
import { LocalApic } from '../apic/local-apic.ts';
import { LocalApicState } from '../apic/state.ts';
import { compileInterpreter } from '../interpreter/generate.ts';
import { type EnginePlatform, Interpreter } from '../interpreter/interpreter.ts';
import { PAGE, PAGE_MAP, PageFlag, ramBase } from '../memory/layout.ts';
import type { HypervVp } from '../tlfs/partition.ts';
import { operations } from '../x86/operations.ts';
import { deliver } from '../x86/system/interrupts.ts';
import { setSegment, updateMode } from '../x86/system/mode.ts';
import { Doorbell, PartitionControl, Run, VpControl } from './control.ts';
import { Processor } from './processor.ts';
import { Activity, Flag, Segment, Vector, type VpView, writeFlags } from './state.ts';

const RAM = 0x20_0000;
const PAGE_TABLES = 0x1000;
const IDT = 0x4000;
const TSS = 0x5000;
const CODE = 0x8000;
const USER_CODE = 0x9000;
/** Every handler is a HLT of its own, at a page with the vector's number. */
const HANDLERS = 0x10_0000;
const STACK = 0x7ff0;
const ROUNDS = 50;
const module = compileInterpreter();

/** A processor at CPL 0 in 64-bit mode, memory mapped onto itself for everybody, and its loop. */
class Machine {
  readonly vp: VpView;
  readonly engine: Interpreter;
  readonly apic: LocalApic;
  readonly #ram: DataView;
  readonly #processor: Processor;
  #time = 0n;
  /** Of the only timer; undefined: it is always due. */
  deadline: bigint | undefined;
  #rounds = 0;

  constructor(code: readonly number[], virtualTime = true) {
    const base = ramBase(1);
    const memory = new WebAssembly.Memory({ initial: (base + RAM) / 65536, maximum: 65536, shared: true });
    const buffer = memory.buffer as unknown as SharedArrayBuffer;
    const map = new Int32Array(buffer, PAGE_MAP);
    for (let at = 0; at < RAM; at += PAGE) map[at / PAGE] = (base + at) | PageFlag.PRESENT | PageFlag.WRITABLE;
    this.#ram = new DataView(buffer, base, RAM);
    const doorbell = new Doorbell(buffer);
    const platform: Partial<EnginePlatform> = {
      codeWritten: () => {},
      storesDone: () => {},
      pageProtected: () => {},
      modeChanged: () => {},
      halt: () => {
        this.vp.attention = 1;
      },
      deliverFault: (context) => deliver(context, this.vp.faultVector, 'exception', this.vp.faultError) === 'delivered',
    };
    this.engine = new Interpreter({ memory, module, index: 0, platform: platform as EnginePlatform, operations });
    this.vp = this.engine.vp;
    this.apic = new LocalApic({
      buffer: new SharedArrayBuffer(LocalApicState.size),
      base: 0,
      vp: 0,
      apicId: 0,
      bootstrap: true,
      clock: { now: () => this.#time },
      doorbell,
      router: new InterruptRouter(),
    });
    this.apic.reset();
    const partition = PartitionControl.view(new SharedArrayBuffer(PartitionControl.size));
    partition.wanted[0] = Run.RUNNING;
    const stop = (): void => {
      partition.wanted[0] = Run.STOPPED;
    };
    this.#processor = new Processor({
      index: 0,
      engine: this.engine,
      apic: this.apic,
      hyperv: {
        poll: () => {},
        takeIdle: () => false,
        nextDeadline: () => this.deadline ?? this.#time,
      } as unknown as HypervVp,
      control: VpControl.view(new SharedArrayBuffer(VpControl.size)),
      partition,
      doorbell,
      now: () => this.#time++,
      virtualTime,
      skipTo: () => {},
      devices: undefined,
      patience: 0,
      instructionLimit: undefined,
      tripleFault: stop,
      limitReached: stop,
      powerEvent: () => {
        if (++this.#rounds > ROUNDS || this.vp.activity === Activity.HALTED) stop();
        return false;
      },
      flush: () => {},
    });
    this.#prepare(code);
  }

  #prepare(code: readonly number[]): void {
    const { vp } = this;
    const ram = this.#ram;
    ram.setBigUint64(PAGE_TABLES, BigInt(PAGE_TABLES + 0x1000 + 7), true);
    ram.setBigUint64(PAGE_TABLES + 0x1000, BigInt(PAGE_TABLES + 0x2000 + 7), true);
    ram.setBigUint64(PAGE_TABLES + 0x2000, 0x87n, true);
    for (let vector = 0; vector < 256; vector++) {
      const handler = HANDLERS + vector * 0x1000;
      ram.setUint32(IDT + vector * 16, (handler & 0xffff) | (8 << 16), true);
      ram.setUint32(IDT + vector * 16 + 4, (handler & 0xffff_0000) | 0x8e00, true);
      ram.setUint8(handler, 0xf4);
    }
    ram.setBigUint64(0x6008, 0x00af_9b00_0000_ffffn, true);
    ram.setBigUint64(0x6010, 0x00cf_9300_0000_ffffn, true);
    ram.setBigUint64(TSS + 4, BigInt(STACK), true);
    this.write(CODE, code);
    vp.cr0 = 0x8000_0001n;
    vp.cr3 = BigInt(PAGE_TABLES);
    vp.cr4 = 0x20n;
    vp.efer = 0x501n;
    writeFlags(vp, 2);
    setSegment(vp, Segment.CS, 8, 0n, 0xffff_ffff, 0xa09b);
    for (const s of [Segment.SS, Segment.DS, Segment.ES]) setSegment(vp, s, 16, 0n, 0xffff_ffff, 0xc093);
    setSegment(vp, Segment.GDTR, 0, 0x6000n, 0xff, 0);
    setSegment(vp, Segment.IDTR, 0, BigInt(IDT), 0xfff, 0);
    setSegment(vp, Segment.TR, 0x40, BigInt(TSS), 0x67, 0x8b);
    vp.dr[6] = 0xffff_0ff0n;
    vp.dr[7] = 0x400n;
    vp.star = 0x0023_0008_0000_0000n;
    vp.gpr[4] = BigInt(STACK);
    vp.rip = BigInt(CODE);
    updateMode(vp);
    this.engine.restart();
  }

  write(at: number, code: readonly number[]): void {
    code.forEach((byte, i) => {
      this.#ram.setUint8(at + i, byte);
    });
  }

  /** Runs to the first HLT: the vector whose handler it is in, and the address that interrupt returns to. */
  run(): { vector: number; from: number } {
    this.#processor.loop();
    const { vp } = this;
    expect(vp.activity).toBe(Activity.HALTED);
    const frame = Number(vp.gpr[4]);
    return { vector: (Number(vp.rip) - HANDLERS) >> 12, from: Number(this.#ram.getBigUint64(frame, true)) };
  }
  /** Runs for as many rounds as there are; for code without a HLT. */
  runRounds(): void {
    this.#processor.loop();
  }
  /** A word of the frame at the stack pointer: RIP, CS, RFLAGS, RSP, SS. */
  frame(n: number): number {
    return Number(this.#ram.getBigUint64(Number(this.vp.gpr[4]) + 8 * n, true));
  }
  poke(at: number, words: readonly number[]): void {
    words.forEach((word, n) => {
      this.#ram.setBigUint64(at + 8 * n, BigInt(word), true);
    });
  }
}

const NOP = 0x90;
const STI = 0xfb;

describe('the boundary between two instructions', () => {
  it('a trap flag that SYSRET sets traps before the first user instruction, even one that drops the flag', () => {
    const machine = new Machine([0x48, 0x0f, 0x07]);
    const { vp } = machine;
    machine.write(USER_CODE, [0x0f, 0x05]);
    machine.write(CODE + 0x100, [0xf4]);
    vp.gpr[1] = BigInt(USER_CODE);
    vp.gpr[11] = BigInt(Flag.TF | 2);
    vp.lstar = BigInt(CODE + 0x100);
    vp.sfmask = BigInt(Flag.TF);
    expect(machine.run()).toEqual({ vector: Vector.DB, from: USER_CODE });
    expect(Number(vp.dr[6] as bigint) & 0x4000).toBe(0x4000);
  });

  it('an NMI that arrives while the instruction after STI is being put off waits for it', () => {
    const machine = new Machine([STI, NOP, NOP, NOP]);
    const { engine, apic } = machine;
    const run = engine.run.bind(engine);
    let arrived = false;
    engine.run = (budget) => {
      if (engine.stepping && !arrived) {
        arrived = true;
        apic.requestNmi();
      }
      return run(budget);
    };
    expect(machine.run()).toEqual({ vector: Vector.NMI, from: CODE + 2 });
    expect(arrived).toBe(true);
  });

  it.each([
    ['waits', 0, CODE + 0x100],
    ['arrives after the next instruction', 1, CODE + 0x101],
  ])(
    'RF as IRETQ has loaded it is pushed by an interrupt that %s, unless an instruction has run since',
    (_, late, from) => {
      const machine = new Machine([0x48, 0xcf]);
      const { vp, apic, engine } = machine;
      machine.write(CODE + 0x100, [NOP, NOP, 0xf4]);
      const stack = STACK - 0x100;
      machine.poke(stack, [CODE + 0x100, 8, Flag.RF | Flag.IF | 2, STACK - 0x200, 0x10]);
      vp.gpr[4] = BigInt(stack);
      apic.writeMsr(0x1b, 0xfee0_0d00n);
      apic.writeMsr(0x80f, 0x1ffn);
      const run = engine.run.bind(engine);
      if (late === 0) apic.accept(0x40, false);
      else
        engine.run = () => {
          // IRETQ and what follows it, then the interrupt.
          const result = run(2);
          engine.run = run;
          apic.accept(0x40, false);
          return result;
        };
      expect(machine.run()).toEqual({ vector: 0x40, from });
      expect(machine.frame(2) & Flag.RF).toBe(late === 0 ? Flag.RF : 0);
    },
  );

  it('an NMI that two senders post at once is handled twice', () => {
    const machine = new Machine([NOP]);
    // The first handler returns at once to the second.
    machine.write(
      HANDLERS + Vector.NMI * 0x1000,
      [0x48, 0xff, 0xc3, 0x48, 0x83, 0xfb, 0x02, 0x74, 0x02, 0x48, 0xcf, 0xf4],
    );
    machine.apic.requestNmi();
    machine.apic.requestNmi();
    expect(machine.run().vector).toBe(Vector.NMI);
    expect(machine.vp.gpr[3]).toBe(2n);
  });
});

describe('the quantum', () => {
  /** Budgets of an endless loop, where each run seems to take that long. */
  function budgets(milliseconds: number, virtualTime: boolean): number[] {
    const machine = new Machine([0xeb, 0xfe], virtualTime);
    machine.deadline = 10n ** 12n;
    const given: number[] = [];
    const { engine } = machine;
    const run = engine.run.bind(engine);
    engine.run = (budget) => {
      given.push(budget);
      return run(budget);
    };
    let now = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => (now += milliseconds));
    machine.runRounds();
    clock.mockRestore();
    return given;
  }

  it('grows while it takes less than a slice of time, up to a bound', () => {
    const given = budgets(0.01, false);
    expect(given[0]).toBe(20_000);
    expect(given.every((b, n) => n === 0 || b >= given[n - 1]!)).toBe(true);
    expect(given.at(-1)).toBe(400_000);
  });
  it('stays the least where it takes longer', () => {
    expect(new Set(budgets(5, false))).toEqual(new Set([20_000]));
  });
  it('stays the same where time is a function of instructions', () => {
    expect(new Set(budgets(0.01, true))).toEqual(new Set([20_000]));
  });
});
