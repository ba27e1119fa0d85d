/**
 * What a loader answers: the bytes to place in guest memory and the state in which virtual processor 0 starts. A loader
 * writes nothing itself. Register and segment words are those of the Windows Hypervisor Platform API
 * (WHV_X64_SEGMENT_REGISTER, WHV_X64_TABLE_REGISTER).
 */

import type { HostCodecs } from '../support/codec/codec.ts';
import { type AddressRange, LOW_MMIO_WINDOW, MIB } from './memory-map.ts';

/** The image, its RAM disk or the memory given for them cannot be booted. The message is one line for the user. */
export class KernelImageError extends Error {
  override readonly name = 'KernelImageError';
}

export interface SegmentRegister {
  readonly selector: number;
  readonly base: bigint;
  /** In bytes, after granularity. */
  readonly limit: number;
  /** Bits 3:0 type, 4 S, 6:5 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G. */
  readonly attributes: number;
}

export interface TableRegister {
  readonly base: bigint;
  readonly limit: number;
}

/** Registers not named here are in their INIT state; general registers not named are 0. */
export interface VpInitialState {
  readonly mode: 'real' | 'protected32' | 'long64';
  readonly rip: bigint;
  readonly rsp: bigint;
  readonly rflags: bigint;
  readonly rax: bigint;
  readonly rbx: bigint;
  readonly rsi: bigint;
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly gdtr: TableRegister;
  readonly idtr: TableRegister;
  readonly cs: SegmentRegister;
  readonly ds: SegmentRegister;
  readonly es: SegmentRegister;
  readonly fs: SegmentRegister;
  readonly gs: SegmentRegister;
  readonly ss: SegmentRegister;
  readonly tr: SegmentRegister;
  readonly ldtr: SegmentRegister;
}

export interface LoadSegment {
  readonly gpa: number;
  readonly bytes: Uint8Array;
}

/** A range that a loader uses, with the word that `hv inspect` shows for it. */
export interface ReservedRange extends AddressRange {
  readonly purpose: string;
}

export type KernelKind = 'bzImage' | 'pvh' | 'multiboot';

export interface LoadPlan {
  readonly kind: KernelKind;
  /** In order; disjoint. */
  readonly segments: readonly LoadSegment[];
  /** Must read as zero when the processor starts (a kernel's BSS). Fresh memory needs no write; after a reset it does. */
  readonly zeroed: readonly AddressRange[];
  readonly entry: VpInitialState;
  readonly reserved: readonly ReservedRange[];
  /** What the loader decided, one line each, for the trace. */
  readonly notes: readonly string[];
}

/** Keeps unpacked kernels. Both methods may fail: the loader then works without. */
export interface PayloadCache {
  get(key: string): Promise<Uint8Array | undefined>;
  put(key: string, bytes: Uint8Array): Promise<void>;
}

/** A file for the kernel beside itself, with the text that its loader calls the module's command line. */
export interface BootModule {
  readonly bytes: Uint8Array;
  readonly commandLine?: string;
}

export interface BootOptions {
  /** Bytes of RAM, in one piece from address 0. */
  readonly memory: number;
  readonly commandLine?: string;
  /** bzImage and PVH: the initial RAM disk (a PVH kernel's module 0). */
  readonly initrd?: Uint8Array;
  /** Multiboot modules, in order; PVH modules after the RAM disk. */
  readonly modules?: readonly BootModule[];
  /** Guest-physical address of the RSDP, told to kernels that take it (bzImage, PVH). */
  readonly rsdp?: number;
  /** The kernel is to take itself to have been started by UEFI, as on a generation 2 machine. bzImage only. */
  readonly efi?: boolean;
  /** Multiboot: stands in front of the command line. */
  readonly fileName?: string;
  /** Multiboot: no file name in front of the command line. */
  readonly commandLineWithoutFileName?: boolean;
  /** Multiboot: add a module with the environment lines that kvm-unit-tests reads. */
  readonly testEnvironment?: { readonly processors: number; readonly memoryMiB: number };
  readonly codecs?: HostCodecs;
  readonly cache?: PayloadCache;
}

export function encodeText(text: string, what: string): Uint8Array {
  if (text.includes('\0')) throw new KernelImageError(`the ${what} contains a NUL character`);
  return new TextEncoder().encode(`${text}\0`);
}

export function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / MIB)} MiB`;
}

/** @throws KernelImageError unless [0, end) is RAM of this partition. */
export function requireMemory(memory: number, end: number, what: string): void {
  if (end > LOW_MMIO_WINDOW.first)
    throw new KernelImageError(
      `${what} would need memory up to 0x${end.toString(16)}, above what a partition can have`,
    );
  if (end > memory)
    throw new KernelImageError(
      `${what} needs at least ${mebibytes(end)} of memory, the partition has ${Math.floor(memory / MIB)} MiB`,
    );
}

/** @throws KernelImageError when the amount of memory itself is out of range. */
export function checkMemorySize(memory: number): void {
  if (!Number.isSafeInteger(memory) || memory <= 0) throw new KernelImageError('the partition has no memory');
  if (memory > LOW_MMIO_WINDOW.first)
    throw new KernelImageError(`at most ${mebibytes(LOW_MMIO_WINDOW.first)} of memory are supported`);
}
