/** What the engine of one virtual processor meets outside itself: buses, MSRs, hypercalls, time, other processors. */

import { LocalApic } from '../hypervisor/apic/local-apic.ts';
import { Cpuid } from '../hypervisor/cpuid/cpuid.ts';
import { X86_64_V2 } from '../hypervisor/cpuid/profiles.ts';
import type { EnginePlatform } from '../hypervisor/interpreter/interpreter.ts';
import { PHYSICAL_BITS } from '../hypervisor/mmu/walk.ts';
import { hypercallName } from '../hypervisor/tlfs/constants.ts';
import { syntheticMsrName } from '../hypervisor/tlfs/msrs.ts';
import { HypervVp } from '../hypervisor/tlfs/partition.ts';
import { PowerEvent, postCodeWritten } from '../hypervisor/vp/control.ts';
import { Mode, Vector } from '../hypervisor/vp/state.ts';
import { type CpuidResult, raise, type SystemContext } from '../hypervisor/x86/system/context.ts';
import { deliver } from '../hypervisor/x86/system/interrupts.ts';
import { Cr4 } from '../hypervisor/x86/system/mode.ts';
import type { Machine } from './machine.ts';

const MAX_PROCESSORS = 64;
const APIC_PAGE = 4096n;
const MOST_ANSWERS = 1000;

export interface VpPlatformPorts {
  /** Random words for RDRAND and RDSEED. */
  random64(): bigint;
  trace: ((kind: string, text: string) => void) | undefined;
  /** Does for others what they wait for, while this processor waits itself. */
  serve(): void;
}

export function createVpPlatform(
  machine: Machine,
  index: number,
  ports: VpPlatformPorts,
): EnginePlatform & { context?: SystemContext } {
  const apic = machine.apics[index] as LocalApic;
  const hyperv = machine.hyperv.vps[index] as HypervVp;
  const vp = machine.vps[index]!;
  const { lock, doorbell, processorControls } = machine;
  const cpuid = new Cpuid(X86_64_V2);
  /** Of CPUID, by leaf, subleaf and what else it depends on. */
  const answers = new Map<string, CpuidResult>();
  const trace = ports.trace;
  const hypervisor = {
    processors: machine.config.processors,
    maxProcessors: MAX_PROCESSORS,
    physicalBits: PHYSICAL_BITS,
  };

  /** Asks the processors given to flush, and waits until none of them can still be using what is to be flushed. */
  const flushProcessors = (processors: readonly number[]): void => {
    const others = processors.filter((p) => p !== index);
    const wanted = others.map((p) => {
      const control = processorControls[p]!;
      const ticket = Atomics.add(control.flushWanted, 0, 1) + 1;
      doorbell.ring(p);
      return { control, ticket };
    });
    if (processors.includes(index)) platform.context?.flushTlb('all');
    for (const { control, ticket } of wanted) {
      while (Atomics.load(control.inGuest, 0) !== 0 && Atomics.load(control.flushDone, 0) - ticket < 0) {
        ports.serve();
        Atomics.wait(control.flushDone, 0, Atomics.load(control.flushDone, 0), 0.05);
      }
    }
  };
  machine.flushProcessors = flushProcessors;
  const stored: [gpa: number, size: number][] = [];
  const everyOther = processorControls.map((_, p) => p).filter((p) => p !== index);

  const platform: EnginePlatform & { context?: SystemContext } = {
    alone: everyOther.length === 0,
    readMsr: (msr) => {
      const value = LocalApic.ownsMsr(msr)
        ? apic.readMsr(msr)
        : HypervVp.ownsMsr(msr)
          ? hyperv.readMsr(msr)
          : undefined;
      vp.attention = 1;
      return value;
    },
    writeMsr: (msr, value) => {
      const done = LocalApic.ownsMsr(msr)
        ? apic.writeMsr(msr, value)
        : HypervVp.ownsMsr(msr) && hyperv.writeMsr(msr, value);
      // A timer may have been set, an interrupt made deliverable.
      vp.attention = 1;
      return done;
    },
    msrName: syntheticMsrName,
    cpuid: (leaf, subleaf): CpuidResult => {
      const osxsave = (Number(vp.cr4) & Cr4.OSXSAVE) !== 0;
      const apicEnabled = apic.enabled;
      const key = `${leaf}.${subleaf}.${osxsave}.${apicEnabled}`;
      let result = answers.get(key);
      if (!result) {
        const { processors } = machine.config;
        result = cpuid.cpuid(leaf, subleaf, { osxsave, apicEnabled, apicId: index, processors, hypervisor });
        // A program can ask for any leaf.
        if (answers.size < MOST_ANSWERS) answers.set(key, result);
      }
      trace?.('cpuid', `${hex(leaf)}.${hex(subleaf)} = ${result.map(hex).join(' ')}`);
      return result;
    },
    portRead: (port, size) => lock.with(() => machine.ports.read(port, size)),
    portWrite: (port, size, value) => {
      lock.with(() => {
        machine.ports.write(port, size, value);
      });
      // A device's timer may have been set, which is met exactly where time is a function of instructions.
      if (machine.config.virtualTime || Atomics.load(machine.control.powerEvent, 0) !== PowerEvent.NONE)
        vp.attention = 1;
    },
    hypercall: () => {
      const context = platform.context!;
      if (vp.cpl !== 0 || !machine.hyperv.hypercallsEnabled) raise(context, Vector.UD);
      const long = (vp.mode & Mode.LONG64) !== 0;
      const { gpr } = vp;
      const pair = (high: number, low: number): bigint =>
        ((gpr[high]! & 0xffff_ffffn) << 32n) | (gpr[low]! & 0xffff_ffffn);
      const control = long ? gpr[1]! : pair(2, 0);
      const input = long ? gpr[2]! : pair(3, 1);
      const output = long ? gpr[8]! : pair(7, 6);
      const { result } = hyperv.hypercall(control, input, output);
      trace?.(
        'hypercall',
        `${hypercallName(Number(control & 0xffffn))} control ${hex(control)} input ${hex(input)} = ${hex(result)}`,
      );
      if (long) gpr[0] = result;
      else {
        gpr[0] = result & 0xffff_ffffn;
        gpr[2] = result >> 32n;
      }
      vp.attention = 1;
    },
    readTsc: () => BigInt.asUintN(64, machine.clock.now() + vp.tscOffset),
    random64: ports.random64,
    readCr8: () => BigInt(apic.cr8),
    writeCr8: (value) => {
      apic.cr8 = Number(value);
      vp.attention = 1;
    },
    halt: () => {
      vp.interruptShadow = 0;
      vp.attention = 1;
    },
    modeChanged: () => undefined,
    loadPdptes: () => true,
    tracing: trace !== undefined,
    onTrace: (kind, text) => {
      trace?.(kind, text);
    },
    mmioRead: (gpa, size, into) => {
      const base = apic.mmioBase;
      if (base !== undefined && gpa >= BigInt(base) && gpa < BigInt(base) + APIC_PAGE) {
        for (let at = 0; at < size; at += 4)
          into.setUint32(at, apic.readMmio(Number(gpa) - base + at, Math.min(size, 4)), true);
        return;
      }
      const address = Number(gpa);
      if (size <= 4)
        into.setUint32(
          0,
          lock.with(() => machine.mmio.read(address, size)),
          true,
        );
      else {
        for (let at = 0; at < size; at += 4)
          into.setUint32(
            at,
            lock.with(() => machine.mmio.read(address + at, 4)),
            true,
          );
      }
      trace?.('mmio', `read ${size} ${hex(gpa)}`);
    },
    mmioWrite: (gpa, size, from) => {
      const base = apic.mmioBase;
      const word = (at: number): number => {
        const left = size - at;
        if (left >= 4) return from.getUint32(at, true);
        return left >= 2 ? from.getUint16(at, true) : from.getUint8(at);
      };
      vp.attention = 1;
      if (base !== undefined && gpa >= BigInt(base) && gpa < BigInt(base) + APIC_PAGE) {
        for (let at = 0; at < size; at += 4) apic.writeMmio(Number(gpa) - base + at, Math.min(size - at, 4), word(at));
        return;
      }
      lock.with(() => {
        for (let at = 0; at < size; at += 4) machine.mmio.write(Number(gpa) + at, Math.min(size - at, 4), word(at));
      });
      trace?.('mmio', `write ${size} ${hex(gpa)} ${hex(word(0))}`);
    },
    codeWritten: (gpa, size) => {
      if (everyOther.length === 0) return;
      postCodeWritten(processorControls, doorbell, gpa, size, index);
      // The store itself comes after this call: a processor that decoded again in between is told once more.
      stored.push([gpa, size]);
      vp.attention = 1;
    },
    storesDone: () => {
      for (const [gpa, size] of stored.splice(0)) postCodeWritten(processorControls, doorbell, gpa, size, index);
    },
    pageProtected: () => {
      if (everyOther.length > 0) flushProcessors(everyOther);
    },
    splitLock: () => {
      while (Atomics.compareExchange(machine.control.splitLock, 0, 0, 1) !== 0);
    },
    splitUnlock: () => {
      Atomics.store(machine.control.splitLock, 0, 0);
    },
    deliverFault: (context) => deliver(context, vp.faultVector, 'exception', vp.faultError) === 'delivered',
  };
  return platform;
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
