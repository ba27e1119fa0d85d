/** For tests: a SystemContext over 1 MiB of plain memory with identity paging, and a way to run one system operation. */
import { Segment, Vector, VpState, type VpView } from '../../vp/state.ts';
import {
  type Access,
  type CpuidResult,
  GUEST_FAULT,
  raise,
  type SystemContext,
  type SystemPlatform,
} from './context.ts';
import { Cr0, Cr4, Efer, setSegment, updateMode } from './mode.ts';
import { operations, type SystemOperationName } from './operations.ts';

export const GDT = 0x1000;
export const IDT = 0x2000;
export const TSS = 0x3000;
export const CODE = 0x8000;
export const STACK_TOP = 0x7000;

/** Selectors of the descriptors that `FakeMachine` makes. */
export const Selector = {
  CODE32: 0x08,
  DATA32: 0x10,
  CODE64: 0x18,
  USER_CODE32: 0x20,
  USER_DATA: 0x28,
  USER_CODE64: 0x30,
  TSS: 0x38,
  GATE: 0x48,
  CODE16: 0x58,
  TSS2: 0x60,
  CONFORMING: 0x68,
  TASK_GATE: 0x70,
  NOT_PRESENT: 0x78,
  LDT: 0x80,
} as const;

export interface Fault {
  readonly vector: number;
  readonly error: number;
}

export class FakeMachine {
  readonly vp: VpView = VpState.view(new ArrayBuffer(VpState.size));
  readonly memory = new DataView(new ArrayBuffer(0x10_0000));
  readonly events: string[] = [];
  readonly absent = new Set<number>();
  readonly msrs = new Map<number, bigint>();
  readonly context: SystemContext;
  readonly cpuid = new Map<string, CpuidResult>([
    ['1', [0, 0, (1 << 17) | (1 << 26), -1]],
    ['7', [0, -1, 0, 0]],
    [`${0x8000_0001}`, [0, 0, 0, -1 & ~(1 << 25)]],
    [`${0x8000_0008}`, [40, 0, 0, 0]],
    [`${0x8000_0021}`, [1 << 8, 0, 0, 0]],
  ]);
  cr8 = 0n;
  tsc = 1000n;
  pdptesGood = true;

  constructor() {
    const { vp, memory, events } = this;
    const platform: SystemPlatform = {
      readMsr: (index) => this.msrs.get(index),
      writeMsr: (index, value) => this.msrs.has(index) && this.msrs.set(index, value) !== undefined,
      cpuid: (leaf) => this.cpuid.get(`${leaf}`) ?? [0, 0, 0, 0],
      portRead: (port, size) => {
        events.push(`in${size} ${port.toString(16)}`);
        return 0x1234_5678;
      },
      portWrite: (port, size, value) => {
        events.push(`out${size} ${port.toString(16)} ${value.toString(16)}`);
      },
      hypercall: () => {
        events.push('hypercall');
      },
      readTsc: () => BigInt.asUintN(64, this.tsc + vp.tscOffset),
      random64: () => 0x0123_4567_89ab_cdefn,
      readCr8: () => this.cr8,
      writeCr8: (value) => {
        this.cr8 = value;
      },
      halt: () => {
        events.push('halt');
      },
      modeChanged: () => {
        events.push('mode');
      },
      loadPdptes: () => this.pdptesGood,
      tracing: false,
      msrName: () => undefined,
      onTrace: () => {},
    };
    const check = (linear: bigint, size: number, access: Access, write: boolean): number => {
      const at = Number(linear);
      for (const address of [at, at + size - 1])
        if (this.absent.has(address >> 12)) {
          vp.cr2 = linear;
          raise(this.context, Vector.PF, (write ? 2 : 0) | (access === 0 ? 4 : 0));
        }
      return at;
    };
    this.context = {
      vp,
      platform,
      readLinear: (linear, size, access) => {
        const at = check(linear, size, access, false);
        if (size === 8) return memory.getBigUint64(at, true);
        return BigInt(
          size === 4 ? memory.getUint32(at, true) : size === 2 ? memory.getUint16(at, true) : memory.getUint8(at),
        );
      },
      writeLinear: (linear, size, value, access) => {
        const at = check(linear, size, access, true);
        if (size === 8) memory.setBigUint64(at, value, true);
        else if (size === 4) memory.setUint32(at, Number(value), true);
        else if (size === 2) memory.setUint16(at, Number(value), true);
        else memory.setUint8(at, Number(value));
      },
      probeWrite: (linear, bytes, access) => {
        check(linear, bytes, access, true);
      },
      flushTlb: (kind, linear, pcid) => {
        events.push(`flush ${[kind, linear, pcid].filter((x) => x !== undefined).join(' ')}`);
      },
    };
    this.#descriptors();
    setSegment(vp, Segment.GDTR, 0, BigInt(GDT), 0xff, 0);
    setSegment(vp, Segment.LDTR, 0, 0n, 0, 0x10000);
    setSegment(vp, Segment.IDTR, 0, BigInt(IDT), 0xfff, 0);
    vp.flags = 2;
    vp.flagResult = 1n;
    vp.rip = BigInt(CODE);
    vp.nextRip = BigInt(CODE + 2);
    vp.dr[6] = 0xffff0ff0n;
    vp.dr[7] = 0x400n;
  }

  descriptor(selector: number, base: number, limit: number, access: number, flags: number): void {
    const at = GDT + selector;
    this.memory.setUint32(at, ((limit & 0xffff) | ((base & 0xffff) << 16)) >>> 0, true);
    const high = ((base >>> 16) & 0xff) | (access << 8) | (limit & 0xf_0000) | (flags << 20) | (base & 0xff00_0000);
    this.memory.setUint32(at + 4, high >>> 0, true);
  }

  /** An IDT or call gate; `at` is its address, `offset` may have 64 bits where `long`. */
  gate(at: number, selector: number, offset: bigint, access: number, extra = 0, long = false): void {
    const low = Number(offset & 0xffff_ffffn);
    this.memory.setUint32(at, ((low & 0xffff) | (selector << 16)) >>> 0, true);
    this.memory.setUint32(at + 4, ((low & 0xffff_0000) | (access << 8) | extra) >>> 0, true);
    if (long) this.memory.setBigUint64(at + 8, offset >> 32n, true);
  }

  #descriptors(): void {
    this.descriptor(Selector.CODE32, 0, 0xfffff, 0x9a, 0xc);
    this.descriptor(Selector.DATA32, 0, 0xfffff, 0x92, 0xc);
    this.descriptor(Selector.CODE64, 0, 0xfffff, 0x9a, 0xa);
    this.descriptor(Selector.USER_CODE32, 0, 0xfffff, 0xfa, 0xc);
    this.descriptor(Selector.USER_DATA, 0, 0xfffff, 0xf2, 0xc);
    this.descriptor(Selector.USER_CODE64, 0, 0xfffff, 0xfa, 0xa);
    this.descriptor(Selector.TSS, TSS, 0xff, 0x89, 0);
    this.descriptor(Selector.CODE16, 0, 0xffff, 0x9a, 0);
    this.descriptor(Selector.TSS2, TSS + 0x400, 0x67, 0x89, 0);
    this.descriptor(Selector.CONFORMING, 0, 0xfffff, 0x9e, 0xc);
    this.descriptor(Selector.NOT_PRESENT, 0, 0xfffff, 0x12, 0xc);
    this.descriptor(Selector.LDT, 0x5000, 0xff, 0x82, 0);
  }

  #segments(code: number, stack: number, level: number): void {
    const { vp } = this;
    const high = (s: number): number => (this.memory.getUint32(GDT + (s & ~7) + 4, true) >>> 8) & 0xf0ff;
    const limit = code === Selector.CODE16 ? 0xffff : 0xffff_ffff;
    setSegment(vp, Segment.CS, code | level, 0n, limit, high(code) | 1);
    for (const s of [Segment.ES, Segment.SS, Segment.DS, Segment.FS, Segment.GS])
      setSegment(vp, s, stack | level, 0n, 0xffff_ffff, high(stack) | 1);
    setSegment(vp, Segment.TR, Selector.TSS, BigInt(TSS), 0xff, 0x8b);
    vp.gpr[4] = BigInt(STACK_TOP);
    updateMode(vp);
  }

  real(): this {
    for (let s = 0; s < 6; s++) setSegment(this.vp, s, 0, 0n, 0xffff, 0x93);
    setSegment(this.vp, Segment.IDTR, 0, 0n, 0x3ff, 0);
    this.vp.cr0 = BigInt(Cr0.ET);
    this.vp.gpr[4] = BigInt(STACK_TOP);
    updateMode(this.vp);
    return this;
  }

  protected(level: 0 | 3 = 0): this {
    this.vp.cr0 = BigInt(Cr0.PE | Cr0.ET);
    if (level === 0) this.#segments(Selector.CODE32, Selector.DATA32, 0);
    else this.#segments(Selector.USER_CODE32, Selector.USER_DATA, 3);
    return this;
  }

  long(level: 0 | 3 = 0): this {
    this.vp.cr0 = BigInt(Cr0.PE | Cr0.ET | Cr0.WP) | BigInt(Cr0.PG);
    this.vp.cr4 = BigInt(Cr4.PAE);
    this.vp.efer = BigInt(Efer.LME | Efer.LMA | Efer.SCE);
    if (level === 0) this.#segments(Selector.CODE64, Selector.DATA32, 0);
    else this.#segments(Selector.USER_CODE64, Selector.USER_DATA, 3);
    return this;
  }

  v86(iopl = 0): this {
    this.protected(3);
    for (let s = 0; s < 6; s++) setSegment(this.vp, s, 0x100 + s, BigInt((0x100 + s) << 4), 0xffff, 0xf3);
    this.vp.flags = 0x20002 | (iopl << 12);
    updateMode(this.vp);
    return this;
  }

  /** Runs an operation as the interpreter does; returns its value, or the fault it raises. */
  run(name: SystemOperationName, a = 0n, b = 0n): bigint | Fault {
    const { vp } = this;
    try {
      const value = operations[name](this.context, a, b);
      vp.rip = vp.nextRip;
      return value ?? 0n;
    } catch (thrown) {
      if (thrown !== GUEST_FAULT) throw thrown;
      return { vector: vp.faultVector, error: vp.faultError };
    }
  }

  u32(at: number): number {
    return this.memory.getUint32(at, true);
  }
  u64(at: number): bigint {
    return this.memory.getBigUint64(at, true);
  }
}
