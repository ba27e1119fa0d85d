// What a hostile guest asks of the platform: ports, device memory, MSRs, hypercalls, in any order and with any operand,
// against the whole machine in one thread. Nothing may be thrown, answers keep to their ranges, and nothing may grow.
// `node tests/fuzz/platform.ts --help`.

import { parseArgs } from 'node:util';
import { PAGE } from '../../src/hypervisor/memory/layout.ts';
import { Hypercall, Msr, Status } from '../../src/hypervisor/tlfs/constants.ts';
import { MESSAGE_QUEUE } from '../../src/hypervisor/tlfs/state.ts';
import { PowerEvent } from '../../src/hypervisor/vp/control.ts';
import { resetPowerUp } from '../../src/hypervisor/vp/reset.ts';
import { type FlushKind, GUEST_FAULT, type SystemContext } from '../../src/hypervisor/x86/system/context.ts';
import { readMsr, writeMsr } from '../../src/hypervisor/x86/system/msr.ts';
import { Machine, type MachineConfig, machineMemorySize } from '../../src/vmwp/machine.ts';
import { createVpPlatform } from '../../src/vmwp/vp-platform.ts';
import { Random } from '../oracle/generate.ts';
import { u64 } from './guest.ts';

export class Violation extends Error {}

const MEMORY = 0x40_0000;
const SYNTHETIC = Object.values(Msr);
const MSRS: readonly (readonly [first: number, count: number])[] = [
  [0x4000_0000, 0x120],
  [0x800, 0x100],
  [0x1b, 1],
  [0x10, 1],
  [0x174, 3],
  [0x1a0, 1],
  [0x1d9, 6],
  [0x200, 0x20],
  [0x250, 1],
  [0x258, 0x18],
  [0x277, 1],
  [0x2ff, 1],
  [0x400, 0x20],
  [0x6e0, 1],
  [0xc000_0080, 5],
  [0xc000_0100, 4],
  [0xc001_0000, 0x60],
  [0xc001_1020, 0x20],
];
const TEST_PORT = 0x3000;
const PORTS: readonly (readonly [first: number, count: number])[] = [
  [0x20, 2],
  [0xa0, 2],
  [0x40, 4],
  [0x61, 1],
  [0x70, 2],
  [0x92, 1],
  [0x3f8, 8],
  [0x2f8, 8],
  [0x4d0, 2],
  [0x510, 2],
  [0xcf9, 1],
  [0xe0, 8],
  [0xf4, 1],
  [0x2000, 32],
  [TEST_PORT, 1],
  [TEST_PORT, 4],
  [0x600, 64],
  [0xb000, 64],
];
const SIZES = [1, 2, 4] as const;
const STATUSES = new Set<number>(Object.values(Status));

function word(random: Random): bigint {
  switch (random.below(5)) {
    case 0:
      return u64(random);
    case 1:
      return BigInt(random.below(64));
    case 2:
      // A page of RAM, enabled.
      return BigInt(random.below(MEMORY / PAGE + 8) * PAGE) | BigInt(random.below(4));
    case 3:
      return random.pick([
        0n,
        (1n << 64n) - 1n,
        1n << 63n,
        (1n << 63n) - 1n,
        0xffff_ffffn,
        0x1_0000_0000n,
        0xffff_f001n,
        1n << 40n,
        (1n << 53n) | 1n,
      ]);
    default:
      return BigInt(random.u32());
  }
}

export class PlatformFuzzer {
  readonly machine: Machine;
  readonly #platforms: readonly ReturnType<typeof createVpPlatform>[];
  readonly #contexts: readonly SystemContext[];
  readonly #bounce = new DataView(new SharedArrayBuffer(64));
  #host = 0n;
  #random = new Random(0);
  /** What was done last, newest at the end. */
  readonly log: string[] = [];
  /** Hypercalls by status. */
  mostQueued = 0;
  readonly statuses: Record<number, number> = {};

  constructor(
    config: MachineConfig = { memory: MEMORY, processors: 2, virtualTime: false, testDevice: true, vmbus: true },
  ) {
    const bytes = machineMemorySize(config);
    const buffer = new SharedArrayBuffer(bytes);
    const machine = new Machine(config, buffer, {
      time: { monotonic: () => this.#host, calendar: () => 1.8e12 + Number(this.#host / 1_000_000n) },
      consoleReady: () => {
        machine.console.take();
      },
      crashed: () => undefined,
    });
    this.machine = machine;
    machine.mapMemory();
    machine.reset();
    for (const vp of machine.vps) resetPowerUp(vp);
    this.#platforms = machine.vps.map((_, index) =>
      createVpPlatform(machine, index, {
        random64: () => u64(this.#random),
        trace: () => undefined,
        serve: () => undefined,
      }),
    );
    this.#contexts = this.#platforms.map((platform, index) => {
      const context = {
        vp: machine.vps[index]!,
        platform,
        flushTlb: (_kind: FlushKind) => undefined,
        readLinear: () => 0n,
        writeLinear: () => undefined,
        probeWrite: () => undefined,
      } as SystemContext;
      platform.context = context;
      return context;
    });
  }

  /** A machine whose configuration follows from a seed. */
  static of(seed: number): PlatformFuzzer {
    const n = Math.floor(seed / 50);
    return new PlatformFuzzer({
      memory: MEMORY,
      processors: 1 + (n % 3),
      virtualTime: n % 2 === 0,
      testDevice: n % 4 !== 3,
      vmbus: n % 3 !== 2,
    });
  }

  run(seed: number, steps = 400): void {
    const random = new Random(seed);
    this.#random = random;
    this.log.length = 0;
    for (let i = 0; i < steps; i++) this.#step(random);
    this.#check();
  }

  #say(text: string): void {
    this.log.push(text);
    if (this.log.length > 12) this.log.shift();
  }

  #step(random: Random): void {
    const index = random.below(this.#platforms.length);
    // A guest that has said who it is may call.
    if (random.oneIn(40)) this.machine.hyperv.state.guestOsId = 1n;
    if (random.oneIn(60)) this.#setUp(random, index);
    const actions = [
      this.#port,
      this.#port,
      this.#msr,
      this.#msr,
      this.#msr,
      this.#mmio,
      this.#hypercall,
      this.#time,
      this.#interrupt,
      this.#memory,
    ];
    random.pick(actions).call(this, random, index);
    Atomics.store(this.machine.control.powerEvent, 0, PowerEvent.NONE);
  }

  /** A synthetic interrupt controller as a guest wants it, with connections of the test device. */
  #setUp(random: Random, index: number): void {
    const context = this.#contexts[index]!;
    const page = (): bigint => BigInt(random.below(MEMORY / PAGE) * PAGE) | 1n;
    writeMsr(context, Msr.GUEST_OS_ID, 1n);
    writeMsr(context, Msr.SCONTROL, 1n);
    writeMsr(context, Msr.SIMP, page());
    writeMsr(context, Msr.SIEFP, page());
    for (let sint = 0; sint < 4; sint++) {
      writeMsr(context, Msr.SINT0 + sint, BigInt(0x40 + sint));
      for (const operation of [1, 4, 6])
        context.platform.portWrite(TEST_PORT, 4, ((sint << 24) | (operation << 16) | (index << 8) | sint) >>> 0);
    }
    for (let timer = 0; timer < 4; timer++) {
      writeMsr(context, Msr.STIMER0_CONFIG + 2 * timer, BigInt(random.below(16)) | BigInt(random.below(4) << 16) | 8n);
      writeMsr(
        context,
        Msr.STIMER0_CONFIG + 2 * timer + 1,
        random.oneIn(3) ? word(random) : BigInt(1 + random.below(100_000)),
      );
    }
    for (let n = random.below(100); n > 0; n--) {
      const connection = random.below(4);
      const payload = new Uint8Array(256);
      payload.set([connection, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 240]);
      this.machine.memory.write(0x1000, payload);
      const vp = this.machine.vps[index]!;
      Object.assign(vp, { mode: 0x31, cpl: 0 });
      vp.gpr[1] = BigInt(Hypercall.POST_MESSAGE);
      vp.gpr[2] = 0x1000n;
      context.platform.hypercall();
      this.mostQueued = Math.max(this.mostQueued, this.machine.hyperv.vps[index]!.state.queued);
    }
  }

  #port(random: Random, index: number): void {
    const platform = this.#platforms[index]!;
    const [first, count] = random.pick(PORTS);
    const port = random.oneIn(6) ? random.below(0x1_0000) : first + random.below(count);
    const size = random.pick(SIZES);
    if (random.oneIn(2)) {
      this.#say(`in${size} ${port.toString(16)}`);
      const value = platform.portRead(port, size);
      if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * size))
        throw new Violation(`port ${port.toString(16)} answers ${value}`);
      return;
    }
    if (port === TEST_PORT && random.oneIn(2)) {
      // A connection of the test device that exists, or soon will.
      const value = (random.below(4) << 24) | ((1 + random.below(7)) << 16) | (random.below(3) << 8) | random.below(17);
      this.#say(`test device ${value.toString(16)}`);
      platform.portWrite(port, 4, value >>> 0);
      return;
    }
    const value = Number(word(random) & 0xffff_ffffn) & (size === 4 ? -1 : 2 ** (8 * size) - 1);
    this.#say(`out${size} ${port.toString(16)} ${(value >>> 0).toString(16)}`);
    platform.portWrite(port, size, value >>> 0);
  }

  #msr(random: Random, index: number): void {
    const context = this.#contexts[index]!;
    const [first, count] = random.pick(MSRS);
    let msr = random.oneIn(8) ? random.u32() : first + random.below(count);
    if (random.oneIn(2)) msr = random.pick(SYNTHETIC) + (random.oneIn(2) ? random.below(16) : 0);
    if (random.oneIn(3)) {
      this.#say(`rdmsr ${msr.toString(16)}`);
      const value = readMsr(context, msr);
      if (value !== undefined && (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value))
        throw new Violation(`MSR ${msr.toString(16)} reads ${value}`);
    } else {
      const value = word(random);
      this.#say(`wrmsr ${msr.toString(16)} ${value.toString(16)}`);
      if (typeof writeMsr(context, msr, value) !== 'boolean')
        throw new Violation(`MSR ${msr.toString(16)} is neither written nor refused`);
    }
    if (random.oneIn(4)) {
      context.platform.writeCr8(BigInt(random.below(16)));
      if (context.platform.readCr8() > 15n) throw new Violation('CR8 has more than four bits');
    }
    if (random.oneIn(8)) context.platform.readTsc();
  }

  #mmio(random: Random, index: number): void {
    const platform = this.#platforms[index]!;
    const base = this.machine.apics[index]!.mmioBase ?? 0xfee0_0000;
    const home = random.pick([BigInt(base), 0xfec0_0000n, 0xfed0_0000n, word(random) & 0xff_ffff_ffffn]);
    const gpa = home + BigInt(random.oneIn(2) ? random.below(64) * 16 : random.below(0x1010));
    const size = random.oneIn(2) ? 4 : 1 + random.below(16);
    for (let i = 0; i < 64; i += 4) this.#bounce.setUint32(i, random.u32(), true);
    const read = random.oneIn(2);
    this.#say(`${read ? 'read' : 'write'} ${size} ${gpa.toString(16)} ${this.#bounce.getUint32(0, true).toString(16)}`);
    if (read) platform.mmioRead(gpa, size, this.#bounce);
    else platform.mmioWrite(gpa, size, new DataView(this.#bounce.buffer, 0, size));
  }

  #hypercall(random: Random, index: number): void {
    const platform = this.#platforms[index]!;
    const vp = this.machine.vps[index]!;
    const code = random.oneIn(6) ? random.below(0x1_0000) : random.pick(Object.values(Hypercall));
    const field = (bits: number, at: number): bigint =>
      random.oneIn(2) ? 0n : BigInt(random.below(random.oneIn(2) ? 4 : 2 ** bits)) << BigInt(at);
    let control = BigInt(code) | field(1, 16) | field(10, 17) | field(12, 32) | field(12, 48);
    if (random.oneIn(20)) control = u64(random);
    vp.mode = random.oneIn(3) ? 0x20 : 0x31;
    vp.cpl = random.oneIn(20) ? 3 : 0;
    vp.gpr[1] = control;
    vp.gpr[2] = word(random);
    vp.gpr[8] = word(random);
    for (const register of [0, 3, 6, 7]) vp.gpr[register] = word(random);
    if (random.oneIn(2)) this.#input(random, vp);
    if ((vp.mode & 1) === 0) {
      vp.gpr[0] = control & 0xffff_ffffn;
      vp.gpr[2] = control >> 32n;
      control = (vp.gpr[2] << 32n) | vp.gpr[0];
    }
    this.#say(`hypercall ${control.toString(16)} ${vp.gpr[2].toString(16)} ${vp.gpr[8].toString(16)}`);
    try {
      platform.hypercall();
    } catch (error) {
      if (error !== GUEST_FAULT) throw error;
      return;
    }
    const result = (vp.mode & 1) === 0 ? (vp.gpr[2] << 32n) | vp.gpr[0]! : vp.gpr[0]!;
    this.statuses[Number(result & 0xffffn)] = (this.statuses[Number(result & 0xffffn)] ?? 0) + 1;
    const completed = Number((result >> 32n) & 0xfffn);
    if (
      !STATUSES.has(Number(result & 0xffffn)) ||
      completed > Number((control >> 32n) & 0xfffn) ||
      (result & 0xffff_f000_ffff_0000n) !== 0n
    )
      throw new Violation(`hypercall ${control.toString(16)} results in ${result.toString(16)}`);
  }

  /** Arguments in memory, with small numbers in the places that have a meaning. */
  #input(random: Random, vp: Machine['vps'][number]): void {
    const words = new BigUint64Array(40);
    for (let i = 0; i < words.length; i++)
      words[i] = random.oneIn(2) ? BigInt(random.below(8)) : random.oneIn(2) ? 0n : word(random);
    // Connection and message type are 32-bit numbers, each beside another.
    if (random.oneIn(2)) words[1] = BigInt(1 + random.below(4)) | (BigInt(random.below(260)) << 32n);
    if (random.oneIn(4)) words[0] = BigInt(random.below(300));
    const at = random.below(MEMORY / PAGE) * PAGE + random.below(16) * 8;
    this.machine.memory.write(at, new Uint8Array(words.buffer));
    vp.gpr[2] = BigInt(at);
    if ((vp.mode & 1) === 0) {
      vp.gpr[3] = 0n;
      vp.gpr[1] = BigInt(at);
    }
  }

  #time(random: Random): void {
    const { machine } = this;
    const now = machine.clock.now();
    const deadlines = [
      machine.timers.nextDeadline(),
      ...machine.apics.map((apic) => apic.nextDeadline()),
      ...machine.hyperv.vps.map((vp) => vp.nextDeadline()),
    ];
    for (const deadline of deadlines)
      if (deadline !== undefined && typeof deadline !== 'bigint') throw new Violation('a deadline is no time');
    const next = random.pick(deadlines);
    let step = random.oneIn(2) ? BigInt(random.below(1_000_000)) : BigInt(random.u32());
    // An idle processor sleeps until a deadline; those beyond a century are not met.
    if (next !== undefined && next > now && next - now < 3_155_760_000_000_000_000n && random.oneIn(3))
      step = next - now;
    if (machine.clock.virtual) {
      // Idle time is skipped, however much it is.
      const target = next !== undefined && random.oneIn(3) ? next : machine.clock.now() + step;
      if (target > now) machine.clock.set(target);
    } else this.#host += step;
    this.#say(`time +${step}`);
    machine.apics.forEach((apic) => {
      apic.poll(machine.clock.now());
    });
    machine.hyperv.vps.forEach((vp) => {
      vp.poll();
    });
    machine.timers.poll(machine.clock.now());
  }

  #interrupt(random: Random, index: number): void {
    const apic = this.machine.apics[index]!;
    this.#say('interrupt');
    if (apic.eventPending) {
      if (apic.initPending) apic.takeInit();
      if (apic.sipiPending) apic.takeSipi();
    }
    if (apic.nmiPending) apic.takeNmi();
    if (apic.hasInterrupt() >= 0) {
      const vector = apic.acknowledge();
      if (!Number.isInteger(vector) || vector < 0 || vector > 255) throw new Violation(`interrupt vector ${vector}`);
    }
    this.machine.hyperv.vps[index]!.takeIdle();
    if (random.oneIn(40)) this.machine.reset();
  }

  /** The pages that the guest shares with the hypervisor are the guest's: it writes what it likes there. */
  #memory(random: Random): void {
    const bytes = new Uint8Array(4 * (1 + random.below(64)));
    for (let i = 0; i < bytes.length; i++) bytes[i] = random.oneIn(3) ? 0 : random.below(256);
    this.machine.memory.write(random.below(MEMORY - bytes.length), bytes);
  }

  #check(): void {
    const { machine } = this;
    for (const vp of machine.hyperv.vps)
      if (vp.state.queued > MESSAGE_QUEUE) throw new Violation(`${vp.state.queued} messages are queued`);
    for (const bus of [machine.ports, machine.mmio])
      if (bus.unclaimed.size > 1025) throw new Violation('the counters of unclaimed addresses grow');
    // What inspection and saving make of it is plain data, and can be loaded again.
    JSON.stringify(
      [machine.inspectDevices(), machine.hyperv.inspect(), machine.apics.map((apic) => apic.inspect())],
      (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
    );
    const saved = JSON.parse(JSON.stringify(machine.arena.save())) as ReturnType<typeof machine.arena.save>;
    machine.arena.load(saved);
  }
}

// ---------------------------------------------------------------------------------------------------- as a command

function main(): number {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '500' },
      seed: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(
      'Asks absurd things of the platform.\n\n  --count N  sequences (default 500)\n  --seed S   of the first one\n',
    );
    return 0;
  }
  let fuzzer = PlatformFuzzer.of(Number(values.seed));
  const kinds = new Map<string, number>();
  const first = Number(values.seed);
  for (let seed = first; seed < first + Number(values.count); seed++) {
    try {
      if (seed % 50 === 0) fuzzer = PlatformFuzzer.of(seed);
      fuzzer.run(seed);
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      const kind = text.replace(/0x[0-9a-f]+|\d+/g, '#').slice(0, 200);
      if (!kinds.has(kind)) process.stderr.write(`seed ${seed}: ${text}\n  ${fuzzer.log.join('\n  ')}\n`);
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      fuzzer = PlatformFuzzer.of(seed);
    }
  }
  process.stdout.write(`${values.count} sequences, ${kinds.size} kinds of failure\n`);
  return kinds.size === 0 ? 0 : 1;
}

if (import.meta.main) process.exit(main());
