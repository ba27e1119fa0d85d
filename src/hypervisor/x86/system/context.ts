/**
 * What the processor's system operations (the part of the instruction set that is executed in TypeScript over VpState)
 * need from whoever runs them.
 *
 * The life of one system operation. The caller has spilled all state into `vp`, with `rip` at the instruction and
 * `nextRip` after it, calls the operation, and on return commits `rip = nextRip`: an operation that goes elsewhere sets
 * `nextRip`, one that is to be executed again (an interruptible REP) sets `nextRip = rip`. An operation that faults
 * throws GUEST_FAULT before it has changed anything that the manual does not say it changes; the caller then delivers the
 * exception in `vp.faultVector` with `rip` still at the instruction. After any operation the mode may be another.
 */
import type { VpView } from '../../vp/state.ts';

/**
 * As whom linear memory is accessed; also the number of the TLB that such accesses use.
 * SUPERVISOR may touch user pages (SMAP is off, or RFLAGS.AC is set and the access is explicit), SUPERVISOR_SMAP may not.
 */
export const Access = { USER: 0, SUPERVISOR: 1, SUPERVISOR_SMAP: 2 } as const;
export type Access = (typeof Access)[keyof typeof Access];

/**
 * What to forget. `all` global entries of every PCID too; `nonGlobal` the current PCID's entries except global ones;
 * `allNonGlobal` every PCID's except global ones; `page` one linear address in the current PCID, and global; `pcid` all of
 * one PCID except global ones; `pcidPage` one linear address in one PCID except global ones. `switch`: nothing has to be
 * forgotten, but CR3 now has another PCID or table. CR3 has its new value when any of them is told.
 */
export type FlushKind = 'all' | 'nonGlobal' | 'allNonGlobal' | 'page' | 'pcid' | 'pcidPage' | 'switch';

export interface SystemContext {
  readonly vp: VpView;
  /**
   * Zero-extended. The address is canonical (callers check, because #GP or #SS is theirs to choose) and within 32 bits
   * outside IA-32e mode. Raises #PF with CR2 set. May be unaligned and cross a page.
   */
  readLinear(linear: bigint, size: 1 | 2 | 4 | 8, access: Access): bigint;
  writeLinear(linear: bigint, size: 1 | 2 | 4 | 8, value: bigint, access: Access): void;
  /** Raises the #PF that writing these bytes (at most 4096) would raise, and changes nothing but accessed and dirty bits. */
  probeWrite(linear: bigint, bytes: number, access: Access): void;
  flushTlb(kind: FlushKind, linear?: bigint, pcid?: number): void;
  readonly platform: SystemPlatform;
}

/** CPUID's EAX, EBX, ECX, EDX. */
export type CpuidResult = readonly [eax: number, ebx: number, ecx: number, edx: number];

/** What lies outside the processor core, or is shared with it. */
export interface SystemPlatform {
  /** MSRs that `msr.ts` does not know: APIC, Hyper-V, MTRRs. undefined: no such register. */
  readMsr(index: number): bigint | undefined;
  /** False: no such register, or a value it refuses; the guest sees #GP(0). */
  writeMsr(index: number, value: bigint): boolean;
  /** For traces: the name of a register that `msr.ts` does not know. */
  msrName(index: number): string | undefined;
  cpuid(leaf: number, subleaf: number): CpuidResult;
  portRead(port: number, size: 1 | 2 | 4): number;
  portWrite(port: number, size: 1 | 2 | 4, value: number): void;
  /** VMCALL and VMMCALL: reads and writes the registers in `vp`; raises #UD where hypercalls are not offered. */
  hypercall(): void;
  /** TSC as the guest reads it, `tscOffset` included. */
  readTsc(): bigint;
  random64(): bigint;
  /** Task priority: the local APIC's TPR bits 7:4. */
  readCr8(): bigint;
  writeCr8(value: bigint): void;
  /** HLT has set `vp.activity`; the instruction is complete. */
  halt(): void;
  /** CR0, CR3 (PAE), CR4 or EFER changed: whatever the host caches of them is stale. TLB flushes are told separately. */
  modeChanged(): void;
  /**
   * Loads the four PAE page-directory pointers that CR3 points to. False, and nothing changed, when a present one has
   * reserved bits set.
   */
  loadPdptes(cr3: bigint): boolean;
  /** For `--trace`: what happened, in words; called only while `tracing`. */
  readonly tracing: boolean;
  onTrace(kind: 'msr' | 'control-register' | 'interrupt' | 'exception' | 'task-switch' | 'port', text: string): void;
}

/** What is thrown for every exception of the guest: one object, so that nothing is allocated and no stack is captured. */
export const GUEST_FAULT: { readonly name: 'GuestFault' } = Object.freeze({ name: 'GuestFault' });

/** Raises an exception of the guest at the current instruction. `error` for the vectors that push one. */
export function raise(ctx: SystemContext, vector: number, error = -1): never {
  ctx.vp.faultVector = vector;
  ctx.vp.faultError = error;
  throw GUEST_FAULT;
}

/** #DB as a fault (instruction breakpoint, general detect), with the bits it sets in DR6. */
export function raiseDebug(ctx: SystemContext, dr6: number): never {
  ctx.vp.faultDr6 = dr6;
  return raise(ctx, 1);
}

/** Operands and result are 64-bit words, zero-extended. */
export type SystemOperation = (ctx: SystemContext, operandA: bigint, operandB: bigint) => bigint | void;
