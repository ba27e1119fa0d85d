// Guest code that means harm, on one virtual processor without a machine around it. What must hold whatever a guest does:
// the processor comes back, within its budget; nothing is thrown but the guest's own exceptions; nothing changes in the
// shared memory but the processor's own area and guest RAM. `node tests/fuzz/code.ts --help`.

import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { InterruptRouter } from '../../src/hypervisor/apic/interrupt-router.ts';
import { LocalApic } from '../../src/hypervisor/apic/local-apic.ts';
import { LocalApicState } from '../../src/hypervisor/apic/state.ts';
import { compileInterpreter } from '../../src/hypervisor/interpreter/generate.ts';
import {
  type EnginePlatform,
  Interpreter,
  type InterpreterModule,
  RunResult,
} from '../../src/hypervisor/interpreter/interpreter.ts';
import {
  CODE_MAP,
  CODE_MAP_GRANULE,
  FILLED,
  HOLDERS,
  PAGE,
  PAGE_MAP,
  PageFlag,
  RECORDS,
  RECORDS_SIZE,
  ramBase,
  STLB,
  STLB_ENTRIES,
  TLB,
  TLB_CONTEXT_SHIFT,
  TLB_CONTEXTS,
  TLB_ENTRIES,
  VP_AREA,
  vpArea,
} from '../../src/hypervisor/memory/layout.ts';
import type { HypervVp } from '../../src/hypervisor/tlfs/partition.ts';
import { Doorbell, PartitionControl, Run, VpControl } from '../../src/hypervisor/vp/control.ts';
import { Processor } from '../../src/hypervisor/vp/processor.ts';
import { Activity, Flag, Mode, Segment, Vector, VpState } from '../../src/hypervisor/vp/state.ts';
import { operations } from '../../src/hypervisor/x86/operations.ts';
import { GUEST_FAULT, raise, type SystemContext } from '../../src/hypervisor/x86/system/context.ts';
import { deliver } from '../../src/hypervisor/x86/system/interrupts.ts';
import { updateMode } from '../../src/hypervisor/x86/system/mode.ts';
import { Random } from '../oracle/generate.ts';
import { JAIL, makeGuest, makeJail, RAM_SIZE, TOP_PAGE, u64 } from './guest.ts';
import { fillWithCode } from './instructions.ts';

/** The processor under test, and one that must not notice: its area lies above, the page map below. */
const PROCESSORS = 2;
/** Rounds of the processor's loop in a case; each is at most a quantum of instructions. */
const ROUNDS = 12;
/** Faults in one stay in the interpreter: more of them means that a fault loop does not come back. */
const FAULTS = 100_000;
/** A case that comes to a loop of faults is over. */
const ENOUGH_FAULTS = 1500;
/** Calls of the platform in one stay. */
const CALLS = 2_000_000;
const CANARY = 0x5a;
const PRIVILEGED_FLAGS = Flag.IF | Flag.IOPL | Flag.VM | Flag.VIF | Flag.VIP;
/** No memory of a jailed program is a device's. */
const PRIVILEGED_CALLS = [
  'readMsr',
  'writeMsr',
  'portRead',
  'portWrite',
  'readCr8',
  'writeCr8',
  'halt',
  'modeChanged',
  'loadPdptes',
  'mmioRead',
  'mmioWrite',
] as const;
const UNTOUCHED = Buffer.alloc(0x10_0000, CANARY);
const NOISE_CASES = 256;

export class Escape extends Error {}

/** One virtual processor in its part of a shared memory, with canaries around it. */
export class Prisoner {
  readonly engine: Interpreter;
  readonly memory: WebAssembly.Memory;
  readonly #bytes: Uint8Array;
  readonly #ram: Uint8Array;
  readonly #top: Uint8Array;
  readonly #map: Uint8Array;
  readonly #noise = new Uint8Array(RAM_SIZE);
  readonly #processor: Processor;
  readonly #apic: LocalApic;
  readonly #partition = PartitionControl.view(new SharedArrayBuffer(PartitionControl.size));
  #random = new Random(0);
  #rounds = 0;
  #group = -1;
  #calls = 0;
  #faults = 0;
  #allFaults = 0;
  #locks = 0;
  #skips = 0;
  /** The program has no way out of CPL 3, and the platform is not to be asked for anything privileged. */
  #jailed = false;
  #time = 0n;
  /** Of all cases: how far they came. */
  readonly counts = { cases: 0, instructions: 0n, faults: 0, tripleFaults: 0 };

  constructor(module: InterpreterModule = compileInterpreter()) {
    const base = ramBase(PROCESSORS);
    const pages = (base + RAM_SIZE + PAGE + 0xffff) >>> 16;
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const buffer = this.memory.buffer as unknown as SharedArrayBuffer;
    this.#bytes = new Uint8Array(buffer);
    this.#ram = this.#bytes.subarray(base, base + RAM_SIZE);
    this.#top = this.#bytes.subarray(base + RAM_SIZE, base + RAM_SIZE + PAGE);
    const map = new Int32Array(buffer, PAGE_MAP);
    for (let at = 0; at < RAM_SIZE; at += PAGE) map[at / PAGE] = (base + at) | PageFlag.PRESENT | PageFlag.WRITABLE;
    map[TOP_PAGE / PAGE] = (base + RAM_SIZE) | PageFlag.PRESENT | PageFlag.WRITABLE;
    this.#map = this.#bytes.slice(PAGE_MAP, CODE_MAP);
    for (const [from, to] of this.#canaries()) this.#bytes.fill(CANARY, from, to);
    const platform = this.#platform();
    this.engine = new Interpreter({ memory: this.memory, module, index: 0, platform, operations });
    const doorbell = new Doorbell(buffer);
    this.#apic = new LocalApic({
      buffer: new SharedArrayBuffer(LocalApicState.size),
      base: 0,
      vp: 0,
      apicId: 0,
      bootstrap: true,
      clock: { now: () => this.#time },
      doorbell,
      router: new InterruptRouter(),
    });
    this.#processor = this.#makeProcessor(doorbell);
  }

  /** Ranges that nobody writes. */
  #canaries(): readonly (readonly [number, number])[] {
    const area = vpArea(0);
    return [
      [0, PAGE_MAP],
      [area + VpState.size, area + TLB],
      [area + RECORDS + RECORDS_SIZE, area + FILLED],
      [area + STLB + STLB_ENTRIES * 16, area + VP_AREA],
      [vpArea(1), vpArea(1) + VP_AREA],
      [ramBase(PROCESSORS) + RAM_SIZE + PAGE, this.#bytes.length],
    ];
  }

  #count(): void {
    if (++this.#calls > CALLS) throw new Escape('the platform is called without end');
  }

  #platform(): EnginePlatform {
    const random = (): Random => {
      this.#count();
      return this.#random;
    };
    const port = (): number => (random().oneIn(2) ? 0xffff_ffff : random().u32());
    const platform: EnginePlatform = {
      alone: true,
      readMsr: () => (random().oneIn(3) ? undefined : u64(random())),
      writeMsr: () => random().oneIn(2),
      cpuid: (leaf) => (leaf === 0x8000_0008 ? [40, 0, 0, 0] : [0, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff]),
      portRead: port,
      portWrite: () => {
        this.#count();
      },
      hypercall: () => {
        if (random().oneIn(2)) raise(this.engine, Vector.UD);
        this.engine.vp.gpr[0] = u64(random());
      },
      readTsc: () => u64(random()),
      random64: () => u64(random()),
      readCr8: () => BigInt(random().below(16)),
      writeCr8: () => {
        this.#count();
      },
      halt: () => {
        this.engine.vp.attention = 1;
      },
      modeChanged: () => {
        this.#count();
      },
      loadPdptes: () => !random().oneIn(8),
      tracing: true,
      msrName: () => undefined,
      onTrace: () => {
        this.#count();
      },
      mmioRead: (_gpa, size, into) => {
        for (let at = 0; at < size; at++) into.setUint8(at, random().below(256));
      },
      mmioWrite: (_gpa, size, from) => {
        this.#count();
        for (let at = 0; at < size; at++) from.getUint8(at);
      },
      codeWritten: () => {
        this.#count();
      },
      storesDone: () => undefined,
      pageProtected: () => {
        this.#count();
      },
      splitLock: () => {
        if (++this.#locks !== 1) throw new Escape('the split lock is taken twice');
      },
      splitUnlock: () => {
        this.#locks--;
      },
      deliverFault: (context: SystemContext) => {
        if (++this.#faults > FAULTS) throw new Escape('a loop of faults does not end');
        const { vp } = context;
        // Code of random instructions ends at its first fault: as often as not it is passed over.
        if (this.#skips > 0 && (this.#jailed || random().below(8) !== 0)) {
          this.#skips--;
          vp.rip += BigInt(1 + random().below(8));
          return true;
        }
        if (this.#jailed) return false;
        return deliver(context, vp.faultVector, 'exception', vp.faultError) === 'delivered';
      },
    };
    for (const name of PRIVILEGED_CALLS) {
      const call = platform[name] as (...operands: unknown[]) => unknown;
      Object.assign(platform, {
        [name]: (...operands: unknown[]) => {
          if (this.#jailed) throw new Escape(`a jailed program reaches ${name}`);
          return call(...operands);
        },
      });
    }
    return platform;
  }

  /** What other processors and devices do to this one. */
  #interrupt(): void {
    const random = this.#random;
    const apic = this.#apic;
    if (random.oneIn(10)) apic.requestNmi();
    if (random.oneIn(3)) apic.accept(16 + random.below(240), random.oneIn(2));
    if (random.oneIn(200)) apic.requestInit();
    if (random.oneIn(20)) apic.requestStartup(random.below(256));
  }

  #makeProcessor(doorbell: Doorbell): Processor {
    const random = (): Random => this.#random;
    return new Processor({
      index: 0,
      engine: this.engine,
      apic: this.#apic,
      hyperv: {
        poll: () => undefined,
        takeIdle: () => random().oneIn(20),
        nextDeadline: () => this.#time + BigInt(random().oneIn(4) ? random().below(50) : 20_000),
      } as unknown as HypervVp,
      control: VpControl.view(new SharedArrayBuffer(VpControl.size)),
      partition: this.#partition,
      doorbell,
      now: () => this.#time++,
      virtualTime: true,
      skipTo: () => undefined,
      devices: undefined,
      patience: 0,
      instructionLimit: undefined,
      tripleFault: () => {
        this.counts.tripleFaults++;
        this.#partition.wanted[0] = Run.STOPPED;
      },
      limitReached: () => undefined,
      powerEvent: () => {
        this.#calls = 0;
        this.#allFaults += this.#faults;
        this.#faults = 0;
        if (this.#locks !== 0) throw new Escape('the split lock was not given back');
        this.#interrupt();
        if (++this.#rounds > ROUNDS || this.#allFaults > ENOUGH_FAULTS) this.#partition.wanted[0] = Run.STOPPED;
        return false;
      },
      flush: () => undefined,
    });
  }

  /** One case. @throws whatever came out of the processor, or Escape. */
  run(seed: number): void {
    const { engine } = this;
    const { vp } = engine;
    this.counts.cases++;
    const group = Math.floor(seed / NOISE_CASES);
    if (group !== this.#group) this.#makeNoise(group);
    this.#group = group;
    const random = new Random(seed);
    this.#random = random;
    this.#ram.set(this.#noise);
    makeGuest(random, vp, this.#ram, this.#top);
    engine.restart();
    this.#time = 0n;
    this.#apic.reset();
    this.#apic.setVirtualWire();
    this.#rounds = 0;
    this.#allFaults = 0;
    this.#locks = 0;
    this.#jailed = false;
    this.#skips = random.oneIn(3) ? 0 : 200;
    this.#partition.wanted[0] = Run.RUNNING;
    const faults = vp.faults;
    this.#processor.loop();
    this.counts.instructions += vp.retired;
    this.counts.faults += Number(vp.faults - faults);
    this.#checkState();
  }

  /** A program at CPL 3 with no way out. @throws Escape when it changes what it may not. */
  runJailed(seed: number): void {
    const { engine } = this;
    const { vp } = engine;
    this.counts.cases++;
    const random = new Random(seed);
    this.#random = random;
    this.#ram.set(this.#noise);
    const mode = makeJail(random, vp, this.#ram);
    const before = this.#ram.slice();
    const registers = this.#privileged();
    const { cpl } = vp;
    engine.restart();
    this.#jailed = true;
    this.#skips = 1000;
    for (let round = 0; round < 8; round++) {
      this.#calls = 0;
      this.#faults = 0;
      vp.attention = 0;
      if (engine.run(5000) === RunResult.SHUTDOWN) break;
      if (vp.activity !== Activity.RUNNING) throw new Escape(`${mode}: halted`);
    }
    this.counts.instructions += vp.retired;
    if (vp.cpl !== cpl) throw new Escape(`${mode}: CPL ${vp.cpl}`);
    const now = this.#privileged();
    for (const [name, value] of Object.entries(registers))
      if (now[name] !== value)
        throw new Escape(`${mode}: ${name} was ${value.toString(16)}, is ${now[name]?.toString(16)}`);
    this.#checkState();
    const pageOf = (bytes: Uint8Array, at: number): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset + at, PAGE);
    for (let at = 0; at < RAM_SIZE; at += PAGE) {
      if (at >= JAIL.data && at < JAIL.end) continue;
      const [is, was] = [pageOf(this.#ram, at), pageOf(before, at)];
      if (is.equals(was)) continue;
      // Accessed and dirty bits are the processor's.
      const mask = at >= JAIL.tables && at < JAIL.tablesEnd ? ~0x60 : ~0;
      const changed = is.findIndex((byte, i) => ((byte ^ was[i]!) & mask) !== 0);
      if (changed >= 0) throw new Escape(`${mode}: the byte at 0x${(at + changed).toString(16)} changed`);
    }
  }

  /** What no program at CPL 3 changes. */
  #privileged(): Record<string, bigint> {
    const { vp } = this.engine;
    const {
      cr0,
      cr3,
      cr4,
      efer,
      xcr0,
      star,
      lstar,
      cstar,
      sfmask,
      kernelGsBase,
      sysenterCs,
      sysenterEsp,
      sysenterEip,
      pat,
      miscEnable,
      tscAux,
      tscOffset,
    } = vp;
    const result: Record<string, bigint> = {
      cr0,
      cr3,
      cr4,
      efer,
      xcr0,
      star,
      lstar,
      cstar,
      sfmask,
      kernelGsBase,
      sysenterCs,
      sysenterEsp,
      sysenterEip,
      pat,
      miscEnable,
      tscAux,
      tscOffset,
      flags: BigInt(vp.flags & PRIVILEGED_FLAGS),
    };
    vp.dr.forEach((value, i) => {
      result[`dr${i}`] = value;
    });
    for (let i: number = Segment.LDTR; i <= Segment.FLAT; i++) {
      result[`segment ${i} base`] = vp.segmentBase[i]!;
      result[`segment ${i} rest`] = (BigInt(vp.segmentLimit[i]!) << 32n) | BigInt(vp.segmentAttributes[i]!);
    }
    return result;
  }

  /** Every system operation with operands that no instruction would give it. */
  runOperations(seed: number): void {
    const { engine } = this;
    const random = new Random(seed);
    this.#random = random;
    for (const [name, operation] of Object.entries(operations)) {
      this.#ram.set(this.#noise);
      makeGuest(random, engine.vp, this.#ram, this.#top);
      engine.restart();
      engine.vp.nextRip = engine.vp.rip + 2n;
      this.#calls = 0;
      const operands = operandsOf(name, random);
      try {
        operation(engine, ...operands);
      } catch (error) {
        if (error !== GUEST_FAULT) throw new Escape(`${name}(${operands.join(', ')})`, { cause: error });
      }
      if (engine.vp.faultVector > Vector.XM) throw new Escape(`${name} raises vector ${engine.vp.faultVector}`);
    }
  }

  /** What is in RAM where a case puts nothing: code of all kinds. */
  #makeNoise(seed: number): void {
    const random = new Random(seed);
    this.#noise.fill(0);
    for (let at = 0; at < RAM_SIZE; at += 0x1000) {
      const shape = { long64: random.oneIn(2), code32: random.oneIn(2) };
      if (random.oneIn(3)) fillWithCode(this.#noise.subarray(at, at + 0x1000), random, shape);
      else this.#noise.copyWithin(at, Math.max(0, at - 0x3000), Math.max(0x1000, at - 0x2000));
    }
  }

  /** The mode is what the registers say, and every translation leads into RAM. */
  #checkState(): void {
    const { vp } = this.engine;
    const mode = vp.mode & ~Mode.LIMITED;
    const { cpl } = vp;
    updateMode(vp);
    if (vp.mode !== mode || vp.cpl !== cpl)
      throw new Escape(
        `mode ${mode.toString(16)} and CPL ${cpl} where the registers say ${vp.mode.toString(16)} and ${vp.cpl}`,
      );
    if (vp.ftop > 7 || vp.ftw > 255 || vp.activity > Activity.SHUTDOWN)
      throw new Escape('a register is out of its range');
    this.#checkTlb();
  }

  /** Addresses of RAM: [low, high). */
  #isRam(host: number): boolean {
    const low = ramBase(PROCESSORS);
    return host >= low && host < low + RAM_SIZE + PAGE;
  }

  #checkTlb(): void {
    const from = vpArea(0) + TLB;
    const entries = new DataView(this.#bytes.buffer, from, TLB_CONTEXTS << TLB_CONTEXT_SHIFT);
    for (let at = 0; at < entries.byteLength; at += 16) {
      // A tag is the page's address less one.
      const page = (entries.getUint32(at, true) + 1) >>> 0;
      const upper = entries.getUint32(at + 4, true);
      // What no linear address of this entry's index matches is empty.
      const index = (at >>> 4) % TLB_ENTRIES;
      const reach = [page, page + 4095].some((linear) => ((linear >>> 12) & (TLB_ENTRIES - 1)) === index);
      if (!reach) continue;
      const host = (page + entries.getUint32(at + 8, true)) >>> 0;
      if (page % PAGE !== 0 || !this.#isRam(host))
        throw new Escape(
          `TLB entry ${index}: linear page ${upper.toString(16)}:${page.toString(16)} leads to 0x${host.toString(16)}`,
        );
    }
    const second = new Uint32Array(this.#bytes.buffer, vpArea(0) + STLB, STLB_ENTRIES * 4);
    const valid = [...this.engine.vp.stlbGenerations];
    for (let at = 0; at < second.length; at += 4) {
      const [, , host, generation] = second.subarray(at, at + 4) as unknown as [number, number, number, number];
      if (valid.includes(generation) && !this.#isRam(host))
        throw new Escape(`entry ${at / 4} of the second-level TLB leads to 0x${host.toString(16)}`);
    }
  }

  /** Compares everything that nobody may write; slow. */
  checkCanaries(): void {
    for (const [from, to] of this.#canaries()) {
      for (let at = from; at < to; at += UNTOUCHED.length) {
        const part = Buffer.from(this.#bytes.buffer, at, Math.min(UNTOUCHED.length, to - at));
        if (part.equals(UNTOUCHED.subarray(0, part.length))) continue;
        throw new Escape(`the byte at 0x${(at + part.findIndex((byte) => byte !== CANARY)).toString(16)} changed`);
      }
    }
    const flags = PageFlag.CODE | PageFlag.DIRTY | HOLDERS;
    const now = new Int32Array(this.#bytes.buffer, PAGE_MAP, this.#map.length / 4);
    const before = new Int32Array(this.#map.buffer);
    const at = now.findIndex((entry, i) => (entry & ~flags) !== before[i]! || (before[i] === 0 && entry !== 0));
    if (at >= 0) throw new Escape(`the page map's entry ${at.toString(16)} changed`);
    // Code is in pages that are there.
    const codeMap = new Uint32Array(this.#bytes.buffer, CODE_MAP, (vpArea(0) - CODE_MAP) / 4);
    const granules = PAGE / CODE_MAP_GRANULE;
    const marked = codeMap.findIndex((bits, i) => bits !== 0 && before[Math.floor((i * 32) / granules)] === 0);
    if (marked >= 0) throw new Escape(`the code map's word ${marked.toString(16)} marks a page that is not there`);
  }
}

/** 64 bits, as the engine hands them over. */
function absurd(random: Random): bigint {
  const choices = [
    u64(random),
    BigInt(random.below(16)),
    BigInt(random.u32()),
    -1n,
    1n << 63n,
    1n << 47n,
    -(1n << 47n),
  ];
  return BigInt.asUintN(64, random.pick(choices));
}

/** Operand sizes are not the guest's: the code that calls an operation has them as constants. */
function operandsOf(name: string, random: Random): readonly [bigint, bigint] {
  const size = BigInt(random.pick([2, 4, 8]));
  if (['iret', 'farReturn', 'sysret', 'sysexit'].includes(name)) return [size, BigInt(random.below(0x1_0000))];
  if (name === 'farJump' || name === 'farCall') return [absurd(random), BigInt(random.below(0x1_0000)) | (size << 16n)];
  return [absurd(random), absurd(random)];
}

export function describe(seed: number, error: unknown): string {
  return `seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}

// ---------------------------------------------------------------------------------------------------- as a command

/** Rings the processor's doorbell when a case takes too long, and says so. */
const WATCHDOG = `
const { workerData } = require('node:worker_threads');
const words = new Int32Array(workerData.buffer);
let last = -1, since = 0;
setInterval(() => {
  const now = Atomics.load(workerData.beat, 0);
  if (now !== last) { last = now; since = Date.now(); return; }
  if (Date.now() - since > 3000) {
    process.stderr.write('seed ' + now + ': takes too long\\n');
    Atomics.store(words, workerData.attention, 1);
    since = Date.now();
  }
}, 200);`;

function main(): number {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '20000' },
      seed: { type: 'string', default: '1' },
      show: { type: 'string', default: '10' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(
      'Runs hostile guest code.\n\n  --count N  cases (default 20000)\n  --seed S   of the first case\n  --show N   failures to show\n',
    );
    return 0;
  }
  const module = compileInterpreter();
  let prisoner = new Prisoner(module);
  const beat = new Int32Array(new SharedArrayBuffer(4));
  const watch = (): Worker =>
    new Worker(WATCHDOG, {
      eval: true,
      workerData: { beat, buffer: prisoner.memory.buffer, attention: Doorbell.index(0) },
    });
  let watchdog = watch();
  watchdog.unref();
  const first = Number(values.seed);
  const count = Number(values.count);
  let failures = 0;
  const kinds = new Map<string, number>();
  let slowest = 0;
  let total = 0n;
  for (let seed = first; seed < first + count; seed++) {
    Atomics.store(beat, 0, seed);
    const started = performance.now();
    try {
      prisoner.run(seed);
      if (seed % 8 === 0) prisoner.runOperations(seed);
      if (seed % 2 === 0) prisoner.runJailed(seed);
      if (seed % 256 === 0 || seed === first + count - 1) prisoner.checkCanaries();
    } catch (error) {
      failures++;
      const text = describe(seed, error);
      const kind = text
        .replace(/^seed \d+: /, '')
        .replace(/0x[0-9a-f]+|\d+/g, '#')
        .slice(0, 300);
      const seen = kinds.get(kind) ?? 0;
      kinds.set(kind, seen + 1);
      if (seen === 0 && kinds.size <= Number(values.show)) process.stderr.write(`${text}\n`);
      total += prisoner.counts.instructions;
      prisoner = new Prisoner(module);
      void watchdog.terminate();
      watchdog = watch();
      watchdog.unref();
    }
    const took = performance.now() - started;
    if (took > slowest) {
      slowest = took;
      if (took > 200) process.stderr.write(`seed ${seed}: ${took.toFixed(0)} ms\n`);
    }
  }
  const { faults, tripleFaults } = prisoner.counts;
  process.stdout.write(
    `${count} cases, ${failures} failures, ${total + prisoner.counts.instructions} instructions, ${faults} faults, ${tripleFaults} triple faults (of the last prisoner), slowest ${slowest.toFixed(0)} ms\n`,
  );
  for (const [kind, n] of kinds) process.stdout.write(`${n} x ${kind.split('\n')[0]}\n`);
  return failures === 0 ? 0 : 1;
}

if (import.meta.main) process.exit(main());
