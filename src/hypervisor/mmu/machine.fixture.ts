/** One processor over a small memory, for the tests of address translation: no devices but what a test puts there. */
import { compileInterpreter } from '../interpreter/generate.ts';
import { type EnginePlatform, Interpreter } from '../interpreter/interpreter.ts';
import { PAGE, PAGE_MAP, PageFlag, ramBase } from '../memory/layout.ts';
import { Mode, Segment, type VpView, writeFlags } from '../vp/state.ts';
import type { SystemOperation } from '../x86/system/context.ts';
import { setSegment, updateMode } from '../x86/system/mode.ts';

export const RAM_SIZE = 16 * 1024 * 1024;

export const CR0 = { PE: 1n, WP: 1n << 16n, AM: 1n << 18n, PG: 1n << 31n } as const;
export const CR4 = {
  PSE: 1n << 4n,
  PAE: 1n << 5n,
  PGE: 1n << 7n,
  OSFXSR: 1n << 9n,
  SMEP: 1n << 20n,
  SMAP: 1n << 21n,
} as const;
export const EFER = { LMA: 1n << 10n, NXE: 1n << 11n } as const;

export type Paging = 'none' | '32-bit' | 'PAE' | '4-level';

export interface MmioAccess {
  readonly gpa: bigint;
  readonly size: number;
  /** Bytes written, low first; undefined for a read. */
  readonly written: readonly number[] | undefined;
}

const compiled = compileInterpreter();

export class Machine {
  readonly engine: Interpreter;
  readonly vp: VpView;
  /** Guest RAM, from guest-physical address 0. */
  readonly ram: DataView;
  readonly bytes: Uint8Array;
  /** Whether the processor is the only one. */
  alone = false;
  readonly mmio: MmioAccess[] = [];
  readonly codeWritten: [gpa: number, size: number][] = [];
  readonly #words: Int32Array;
  readonly #ramBase = ramBase(1);

  /** With `system`, system operations and the delivery of faults are the real ones; `platform` is what they meet. */
  constructor(system?: {
    readonly operations: Readonly<Record<string, SystemOperation>>;
    readonly platform: Partial<EnginePlatform>;
  }) {
    const pages = (this.#ramBase + RAM_SIZE) / 65536;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true });
    this.#words = new Int32Array(memory.buffer);
    for (let gpa = 0; gpa < RAM_SIZE; gpa += PAGE) this.setPage(gpa, PageFlag.PRESENT | PageFlag.WRITABLE);
    this.ram = new DataView(memory.buffer, this.#ramBase, RAM_SIZE);
    this.bytes = new Uint8Array(memory.buffer, this.#ramBase, RAM_SIZE);
    // What the tests do not reach is not there.
    const platform: Partial<EnginePlatform> = {
      // Reads as its own address, so that a test sees where it read.
      mmioRead: (gpa, size, into) => {
        this.mmio.push({ gpa, size, written: undefined });
        for (let i = 0; i < size; i++) into.setUint8(i, Number((gpa >> 8n) & 0xffn) ^ (Number(gpa & 0xffn) + i));
      },
      mmioWrite: (gpa, size, from) => {
        this.mmio.push({ gpa, size, written: Array.from({ length: size }, (_, i) => from.getUint8(i)) });
      },
      codeWritten: (gpa, size) => {
        this.codeWritten.push([gpa, size]);
      },
      pageProtected: () => {},
      deliverFault: () => false,
    };
    Object.defineProperties(platform, Object.getOwnPropertyDescriptors(system?.platform ?? {}));
    const none = Object.fromEntries(
      compiled.systemOperations.map((name) => [
        name,
        () => {
          throw new Error(`${name} is not part of this test`);
        },
      ]),
    );
    this.engine = new Interpreter({
      memory,
      module: compiled,
      index: 0,
      platform: Object.defineProperty(platform, 'alone', { get: () => this.alone }) as EnginePlatform,
      operations: system?.operations ?? none,
    });
    this.vp = this.engine.vp;
  }

  /** Page map entry of a page of RAM; 0 takes the page away. */
  setPage(gpa: number, flags: number): void {
    this.#words[(PAGE_MAP >> 2) + gpa / PAGE] = flags === 0 ? 0 : (this.#ramBase + gpa) | flags;
  }
  pageFlags(gpa: number): number {
    return (this.#words[(PAGE_MAP >> 2) + gpa / PAGE] as number) & (PAGE - 1);
  }

  /** Sets the mode, with flat segments, and forgets every translation. */
  configure(
    paging: Paging,
    cpl: 0 | 3,
    bits: { cr0?: bigint; cr3?: bigint; cr4?: bigint; efer?: bigint; flags?: number } = {},
  ): void {
    const { vp } = this;
    vp.cr0 = CR0.PE | (paging === 'none' ? 0n : CR0.PG) | (bits.cr0 ?? 0n);
    vp.cr3 = bits.cr3 ?? 0n;
    vp.cr4 = (paging === 'none' || paging === '32-bit' ? 0n : CR4.PAE) | CR4.OSFXSR | (bits.cr4 ?? 0n);
    vp.efer = (paging === '4-level' ? EFER.LMA : 0n) | (bits.efer ?? 0n);
    writeFlags(vp, bits.flags ?? 2);
    const dpl = cpl << 5;
    // Present, code or data, read/write or readable, 4 GiB; CS.L in IA-32e mode, else D.
    setSegment(vp, Segment.CS, 8, 0n, 0xffff_ffff, 0x809b | dpl | (paging === '4-level' ? 0x2000 : 0x4000));
    for (const s of [Segment.DS, Segment.ES, Segment.SS]) setSegment(vp, s, 16, 0n, 0xffff_ffff, 0xc093 | dpl);
    updateMode(vp);
    this.engine.modeRefreshed();
    this.engine.flushTlb('all');
    vp.attention = 0;
    if (((vp.mode & Mode.LONG64) !== 0) !== (paging === '4-level') || vp.cpl !== cpl) throw new Error('mode');
  }

  /** Runs instructions at a linear address; what was raised, or undefined. Shutdown stands for any exception. */
  run(rip: bigint, instructions: number): { vector: number; error: number; cr2: bigint } | undefined {
    const { vp } = this;
    vp.rip = rip;
    vp.attention = 0;
    const result = this.engine.run(instructions);
    return result === 2 ? this.fault() : undefined;
  }

  fault(): { vector: number; error: number; cr2: bigint } {
    const { vp } = this;
    return { vector: vp.faultVector, error: vp.faultError, cr2: vp.cr2 };
  }
}
