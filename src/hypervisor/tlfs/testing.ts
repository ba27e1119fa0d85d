/** Test helper: a partition's guest interface over plain memory, with a lock that notices reentry. */
import { InterruptRouter } from '../apic/interrupt-router.ts';
import { LocalApic } from '../apic/local-apic.ts';
import { Register } from '../apic/registers.ts';
import { LocalApicState } from '../apic/state.ts';
import { HypervPartition, type HypervPartitionOptions, type HypervVp, hypervStateSize } from './partition.ts';
import type { GuestCrash, TlbFlush, TlfsMemory } from './ports.ts';

export const RAM = 0x100000;
export const TSC_FREQUENCY = 2_500_000_000;

export class TestMemory implements TlfsMemory {
  readonly bytes = new Uint8Array(RAM);
  readonly view = new DataView(this.bytes.buffer);

  #check(gpa: number, length: number): void {
    if (gpa < 0 || gpa + length > RAM) throw new RangeError(`no RAM at ${gpa}`);
  }

  read(gpa: number, length: number): Uint8Array {
    this.#check(gpa, length);
    return this.bytes.slice(gpa, gpa + length);
  }

  write(gpa: number, bytes: Uint8Array): void {
    this.#check(gpa, bytes.length);
    this.bytes.set(bytes, gpa);
  }

  setBit(gpa: number, bit: number): boolean {
    this.#check(gpa, 4);
    const old = this.view.getUint32(gpa, true);
    this.view.setUint32(gpa, old | (1 << bit), true);
    return ((old >>> bit) & 1) === 1;
  }

  compareExchange32(gpa: number, expected: number, replacement: number): number {
    this.#check(gpa, 4);
    const old = this.view.getUint32(gpa, true);
    if (old === expected) this.view.setUint32(gpa, replacement, true);
    return old;
  }
}

export interface TestPartition {
  readonly partition: HypervPartition;
  readonly vps: readonly HypervVp[];
  readonly vp: HypervVp;
  readonly memory: TestMemory;
  readonly clock: { time: bigint; now(): bigint };
  readonly flushes: TlbFlush[];
  readonly crashes: GuestCrash[];
  readonly resets: { count: number };
  readonly locked: () => boolean;
  /** What the processor does with a deliverable interrupt: the vector, or -1. */
  readonly take: (vp: HypervVp) => number;
}

export function testPartition(processors = 1, over: Partial<HypervPartitionOptions> = {}): TestPartition {
  const clock = { time: 0n, now: () => clock.time };
  const router = new InterruptRouter();
  const apicBuffer = new SharedArrayBuffer(LocalApicState.size * processors);
  const apics = Array.from({ length: processors }, (_, vp) => {
    const apic = new LocalApic({
      buffer: apicBuffer,
      base: vp * LocalApicState.size,
      vp,
      apicId: vp,
      bootstrap: vp === 0,
      clock,
      doorbell: { ring: () => {} },
      router,
    });
    apic.reset();
    apic.writeRegister(Register.SVR, 0x1ff);
    return apic;
  });
  const memory = new TestMemory();
  const flushes: TlbFlush[] = [];
  const crashes: GuestCrash[] = [];
  const resets = { count: 0 };
  let held = false;
  const outside = () => {
    if (held) throw new Error('called with the platform lock held');
  };
  const partition = new HypervPartition({
    buffer: new SharedArrayBuffer(hypervStateSize(processors)),
    base: 0,
    apics,
    memory,
    lock: {
      with: (body) => {
        outside();
        held = true;
        try {
          return body();
        } finally {
          held = false;
        }
      },
    },
    clock,
    tsc: { tsc: () => (clock.time * 5n) / 2n + 1000n, tscFrequency: TSC_FREQUENCY },
    tlb: {
      flush: (request) => {
        outside();
        flushes.push(request);
      },
    },
    crash: {
      guestCrashed: (crash) => {
        outside();
        crashes.push(crash);
      },
    },
    reset: () => {
      outside();
      resets.count++;
    },
    ...over,
  });
  partition.reset();
  return {
    partition,
    vps: partition.vps,
    vp: partition.vps[0] as HypervVp,
    memory,
    clock,
    flushes,
    crashes,
    resets,
    locked: () => held,
    take: (vp) => (vp.apic.hasInterrupt() < 0 ? -1 : vp.apic.acknowledge()),
  };
}
