/**
 * Loading and asking about segments: MOV/POP/LDS.. to a segment register, LLDT, LTR, LGDT, LIDT, SGDT, SIDT, LAR, LSL,
 * VERR, VERW, ARPL. Intel SDM vol. 2 under those names, vol. 3 "Privilege Level Checking When Accessing Data Segments".
 *
 * A null selector clears base and limit, as Intel's processors and AMD's from Zen 2 on do (CPUID 8000_0021 EAX bit 6
 * NullSelectorClearsBase says so). STR, SLDT and the like need no privilege: UMIP is not offered.
 */
import { Attribute, Flag, Mode, readFlags, Segment, Vector, type VpView, writeFlags } from '../../vp/state.ts';
import { raise, type SystemContext, type SystemOperation } from './context.ts';
import {
  attributesOf,
  baseOf,
  type Descriptor,
  dpl,
  errorOf,
  fetchDescriptor,
  isCode,
  isConforming,
  isNull,
  isReadable,
  isWritableData,
  limitOf,
  markAccessed,
  present,
  readDescriptor,
  readUpperHalf,
  SystemType,
  setBusy,
  type,
} from './descriptor.ts';
import { isCanonical, isRealOrV86, loadRealSegment, Shadow, setSegment, updateMode } from './mode.ts';

export function loadNull(vp: VpView, index: number, selector: number, level = 0): void {
  setSegment(vp, index, selector, 0n, 0, Attribute.UNUSABLE | (level << Attribute.DPL_SHIFT));
}

/** Fills a segment cache from a descriptor that has passed its checks, and marks it accessed. */
export function loadDescriptor(ctx: SystemContext, index: number, selector: number, d: Descriptor): void {
  markAccessed(ctx, selector, d);
  setSegment(ctx.vp, index, selector, BigInt(baseOf(d)), limitOf(d), attributesOf(d) | 1);
}

/** Checks an SS for privilege level `level`; faults are `vector` (#GP, or #TS for a stack from a TSS), not present #SS. */
export function checkStackSegment(
  ctx: SystemContext,
  selector: number,
  level: number,
  vector: number = Vector.GP,
  external = 0,
): Descriptor {
  if (isNull(selector)) raise(ctx, vector, external);
  const d = fetchDescriptor(ctx, selector, vector, external);
  if ((selector & 3) !== level || dpl(d) !== level || !isWritableData(d))
    raise(ctx, vector, errorOf(selector) | external);
  if (!present(d)) raise(ctx, Vector.SS, errorOf(selector) | external);
  return d;
}

/** Checks a data segment (ES, DS, FS, GS) for use at privilege level `level`; null is allowed and gives undefined. */
export function checkDataSegment(
  ctx: SystemContext,
  selector: number,
  level: number,
  vector: number = Vector.GP,
): Descriptor | undefined {
  if (isNull(selector)) return undefined;
  const d = fetchDescriptor(ctx, selector, vector);
  if (!isReadable(d)) raise(ctx, vector, errorOf(selector));
  if (!isConforming(d) && ((selector & 3) > dpl(d) || level > dpl(d))) raise(ctx, vector, errorOf(selector));
  if (!present(d)) raise(ctx, Vector.NP, errorOf(selector));
  return d;
}

/** Loads a data or stack segment register as MOV, POP and LDS.. do. */
export function loadSegment(ctx: SystemContext, index: number, selector: number): void {
  const vp = ctx.vp;
  if (isRealOrV86(vp)) {
    loadRealSegment(vp, index, selector);
    return;
  }
  if (index !== Segment.SS) {
    const d = checkDataSegment(ctx, selector, vp.cpl);
    if (d) loadDescriptor(ctx, index, selector, d);
    else loadNull(vp, index, selector);
    return;
  }
  if (isNull(selector) && (vp.mode & Mode.LONG64) !== 0 && vp.cpl !== 3 && (selector & 3) === vp.cpl)
    loadNull(vp, index, selector, vp.cpl);
  else loadDescriptor(ctx, index, selector, checkStackSegment(ctx, selector, vp.cpl));
  updateMode(vp);
}

function requireProtected(ctx: SystemContext): void {
  if (isRealOrV86(ctx.vp)) raise(ctx, Vector.UD);
}
function requirePrivileged(ctx: SystemContext): void {
  if (ctx.vp.cpl !== 0) raise(ctx, Vector.GP, 0);
}

/** Base of a system descriptor, all 64 bits of it in IA-32e mode; #GP unless its upper half is there and in order. */
function systemBase(ctx: SystemContext, selector: number, d: Descriptor): bigint {
  const base = BigInt(baseOf(d));
  if ((ctx.vp.mode & Mode.LONG) === 0) return base;
  const upper = readUpperHalf(ctx, selector);
  if (!upper || (upper.high & 0x1f00) !== 0) return raise(ctx, Vector.GP, errorOf(selector));
  const full = base | (BigInt(upper.low) << 32n);
  return isCanonical(ctx.vp, full) ? full : raise(ctx, Vector.GP, errorOf(selector));
}

export function loadLdt(ctx: SystemContext, selector: number, vector: number = Vector.GP): void {
  if (isNull(selector)) {
    loadNull(ctx.vp, Segment.LDTR, selector);
    return;
  }
  if ((selector & 4) !== 0) raise(ctx, vector, errorOf(selector));
  const d = fetchDescriptor(ctx, selector, vector);
  if (type(d) !== SystemType.LDT) raise(ctx, vector, errorOf(selector));
  if (!present(d)) raise(ctx, vector === Vector.GP ? Vector.NP : vector, errorOf(selector));
  setSegment(ctx.vp, Segment.LDTR, selector, systemBase(ctx, selector, d), limitOf(d), attributesOf(d));
}

function lldt(ctx: SystemContext, selector: bigint): void {
  requireProtected(ctx);
  requirePrivileged(ctx);
  loadLdt(ctx, Number(selector));
}

function ltr(ctx: SystemContext, operand: bigint): void {
  requireProtected(ctx);
  requirePrivileged(ctx);
  const selector = Number(operand);
  if (isNull(selector)) raise(ctx, Vector.GP, 0);
  if ((selector & 4) !== 0) raise(ctx, Vector.GP, errorOf(selector));
  const d = fetchDescriptor(ctx, selector);
  const long = (ctx.vp.mode & Mode.LONG) !== 0;
  if (type(d) !== SystemType.TSS && (long || type(d) !== SystemType.TSS16)) raise(ctx, Vector.GP, errorOf(selector));
  if (!present(d)) raise(ctx, Vector.NP, errorOf(selector));
  const base = systemBase(ctx, selector, d);
  setBusy(ctx, selector, d);
  setSegment(ctx.vp, Segment.TR, selector, base, limitOf(d), attributesOf(d) | 2);
}

/** LGDT and LIDT: operand A is the limit, B the base, already cut to 24 bits where the operand size says so. */
function loadTable(index: number): SystemOperation {
  return (ctx, limit, base) => {
    requirePrivileged(ctx);
    if ((ctx.vp.mode & Mode.LONG64) !== 0 && !isCanonical(ctx.vp, base)) raise(ctx, Vector.GP, 0);
    ctx.vp.segmentLimit[index] = Number(limit);
    ctx.vp.segmentBase[index] = base;
  };
}

const ANY = 0x10;
/** Types that LAR and LSL accept, as bit sets over the type field with S: outside IA-32e mode, and in it. */
const bits = (...types: readonly number[]): number => types.reduce((set, t) => set | (1 << t), 0) >>> 0;
const SEGMENTS = bits(...Array.from({ length: 16 }, (_, i) => ANY | i));
const LAR_TYPES = (SEGMENTS | bits(1, 2, 3, 4, 5, 9, 11, 12)) >>> 0;
const LAR_TYPES_LONG = (SEGMENTS | bits(2, 9, 11, 12)) >>> 0;
const LSL_TYPES = (SEGMENTS | bits(1, 2, 3, 9, 11)) >>> 0;
const LSL_TYPES_LONG = (SEGMENTS | bits(2, 9, 11)) >>> 0;

function setZero(vp: VpView, zero: boolean): void {
  const flags = readFlags(vp);
  writeFlags(vp, zero ? flags | Flag.ZF : flags & ~Flag.ZF);
}

/** A descriptor that the current privilege level and the selector's RPL may see, of one of `types`; else undefined. */
function visible(ctx: SystemContext, selector: number, types: number): Descriptor | undefined {
  if (isNull(selector)) return undefined;
  const d = readDescriptor(ctx, selector);
  if (!d || ((types >>> type(d)) & 1) === 0) return undefined;
  if (!isConforming(d) && (ctx.vp.cpl > dpl(d) || (selector & 3) > dpl(d))) return undefined;
  // A 16-byte descriptor that reaches beyond the table, or whose upper type is not zero, is no descriptor.
  if ((ctx.vp.mode & Mode.LONG) !== 0 && (type(d) & ANY) === 0) {
    const upper = readUpperHalf(ctx, selector);
    if (!upper || (upper.high & 0x1f00) !== 0) return undefined;
  }
  return d;
}

/** LAR and LSL: set ZF and return the value, or clear ZF and return operand B, the destination's old value. */
function examine(types: number, typesLong: number, value: (d: Descriptor) => number): SystemOperation {
  return (ctx, selector, old) => {
    requireProtected(ctx);
    const d = visible(ctx, Number(selector), (ctx.vp.mode & Mode.LONG) !== 0 ? typesLong : types);
    setZero(ctx.vp, d !== undefined);
    return d ? BigInt(value(d)) : old;
  };
}

function verify(allowed: (d: Descriptor) => boolean): SystemOperation {
  return (ctx, selector) => {
    requireProtected(ctx);
    const d = visible(ctx, Number(selector), SEGMENTS);
    setZero(ctx.vp, d !== undefined && allowed(d));
  };
}

export const segmentOperations = {
  /** Operand A is the segment register's number, B the selector. */
  loadSegment: (ctx, index, selector) => {
    loadSegment(ctx, Number(index), Number(selector & 0xffffn));
    return 0n;
  },
  /** MOV to a segment register; operands as above. */
  moveSegment: (ctx, operand, selector) => {
    const index = Number(operand);
    if (index === Segment.CS || index > Segment.GS) raise(ctx, Vector.UD);
    loadSegment(ctx, index, Number(selector & 0xffffn));
    if (index === Segment.SS) ctx.vp.interruptShadow = Shadow.SS;
  },
  /** POP SS, like MOV SS: debug traps and interrupts wait for one instruction. */
  popStackSegment: (ctx, selector) => {
    loadSegment(ctx, Segment.SS, Number(selector & 0xffffn));
    ctx.vp.interruptShadow = Shadow.SS;
    return 0n;
  },
  lldt,
  ltr,
  lgdt: loadTable(Segment.GDTR),
  lidt: loadTable(Segment.IDTR),
  lar: examine(LAR_TYPES, LAR_TYPES_LONG, (d) => (d.high & 0x00ff_ff00) >>> 0),
  lsl: examine(LSL_TYPES, LSL_TYPES_LONG, limitOf),
  verr: verify(isReadable),
  verw: verify((d) => !isCode(d) && isWritableData(d)),
} as const satisfies Record<string, SystemOperation>;
