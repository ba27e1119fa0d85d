/**
 * Far JMP, CALL and RET: Intel SDM vol. 2 under those names, for all modes. Operand A of the operations is the offset,
 * operand B the selector with the operand size in bytes above it (bits 23:16).
 *
 * Far pointers in memory are m16:16, m16:32 and, with REX.W, m16:64 as Intel has them (AMD ignores REX.W there).
 */
import { Mode, Segment, Vector, type VpView } from '../../vp/state.ts';
import {
  checkDirectCode,
  checkOffset,
  checkReturnCode,
  dropInnerSegments,
  enterCode,
  longTssStack,
  rspOffset,
  targets64,
  tssStack,
} from './code.ts';
import { raise, type SystemContext, type SystemOperation } from './context.ts';
import {
  type Descriptor,
  dpl,
  errorOf,
  fetchDescriptor,
  gateOffset,
  gateSelector,
  isBig,
  isCode,
  isConforming,
  isLong,
  isNull,
  markAccessed,
  present,
  readUpperHalf,
  SystemType,
  type,
} from './descriptor.ts';
import { isRealOrV86, loadRealSegment, setStackPointer, updateMode } from './mode.ts';
import { checkStackSegment, loadDescriptor, loadNull } from './segments.ts';
import { Stack } from './stack.ts';
import { fetchTss, switchTask } from './tasks.ts';

type Size = 2 | 4 | 8;

function truncate(value: bigint, size: Size): bigint {
  return BigInt.asUintN(size * 8, value);
}

/** A far transfer in real or virtual-8086 mode. */
function enterReal(vp: VpView, selector: number, offset: bigint): void {
  loadRealSegment(vp, Segment.CS, selector);
  vp.nextRip = offset;
  updateMode(vp);
}

function requireRealOffset(ctx: SystemContext, offset: bigint): void {
  const limit = (ctx.vp.mode & Mode.V86) !== 0 ? 0xffff : (ctx.vp.segmentLimit[Segment.CS] as number);
  if (offset > BigInt(limit)) raise(ctx, Vector.GP, 0);
}

/** What a call gate names, checked up to the code segment's presence. */
interface Gate {
  readonly size: Size;
  readonly parameters: number;
  readonly selector: number;
  readonly code: Descriptor;
  readonly offset: bigint;
}

function readCallGate(ctx: SystemContext, gateAt: number, gate: Descriptor, call: boolean): Gate {
  const { vp } = ctx;
  const long = (vp.mode & Mode.LONG) !== 0;
  if (dpl(gate) < vp.cpl || dpl(gate) < (gateAt & 3)) raise(ctx, Vector.GP, errorOf(gateAt));
  let offset = BigInt(gateOffset(gate));
  if (long) {
    const upper = readUpperHalf(ctx, gateAt);
    if (!upper || (upper.high & 0x1f00) !== 0) return raise(ctx, Vector.GP, errorOf(gateAt));
    offset |= BigInt(upper.low) << 32n;
  }
  if (!present(gate)) raise(ctx, Vector.NP, errorOf(gateAt));
  const selector = gateSelector(gate);
  if (isNull(selector)) raise(ctx, Vector.GP, 0);
  const code = fetchDescriptor(ctx, selector);
  const error = errorOf(selector);
  if (!isCode(code) || dpl(code) > vp.cpl) raise(ctx, Vector.GP, error);
  if (!call && !isConforming(code) && dpl(code) !== vp.cpl) raise(ctx, Vector.GP, error);
  if (long && (!isLong(code) || isBig(code))) raise(ctx, Vector.GP, error);
  if (!present(code)) raise(ctx, Vector.NP, error);
  const size = long ? 8 : type(gate) === SystemType.CALL_GATE ? 4 : 2;
  return { size, parameters: gate.high & 0x1f, selector, code, offset: size === 2 ? offset & 0xffffn : offset };
}

/** JMP or CALL to a system descriptor: a gate or a TSS. */
function transferToSystem(ctx: SystemContext, selector: number, d: Descriptor, call: boolean): void {
  const { vp } = ctx;
  const long = (vp.mode & Mode.LONG) !== 0;
  switch (type(d)) {
    case SystemType.CALL_GATE:
      break;
    case SystemType.CALL_GATE16:
      if (!long) break;
      return raise(ctx, Vector.GP, errorOf(selector));
    case SystemType.TASK_GATE:
    case SystemType.TSS:
    case SystemType.TSS16: {
      if (long || dpl(d) < vp.cpl || dpl(d) < (selector & 3)) return raise(ctx, Vector.GP, errorOf(selector));
      const gate = type(d) === SystemType.TASK_GATE;
      if (gate && !present(d)) raise(ctx, Vector.NP, errorOf(selector));
      const tss = gate ? gateSelector(d) : selector;
      return switchTask(ctx, tss, fetchTss(ctx, tss, 0), call ? 'call' : 'jump', vp.nextRip, 0);
    }
    default:
      return raise(ctx, Vector.GP, errorOf(selector));
  }
  const gate = readCallGate(ctx, selector, d, call);
  if (!call) {
    checkOffset(ctx, gate.code, gate.offset);
    markAccessed(ctx, gate.selector, gate.code);
    enterCode(ctx, gate.selector, gate.code, vp.cpl, gate.offset);
  } else if (!isConforming(gate.code) && dpl(gate.code) < vp.cpl) callInner(ctx, gate, dpl(gate.code));
  else {
    const stack = long ? Stack.flat(ctx, vp.gpr[4] as bigint, vp.cpl, 0) : Stack.current(ctx);
    stack.requireRoom(2 * gate.size);
    checkOffset(ctx, gate.code, gate.offset);
    pushReturn(stack, vp, gate.size);
    markAccessed(ctx, gate.selector, gate.code);
    stack.commit(vp);
    enterCode(ctx, gate.selector, gate.code, vp.cpl, gate.offset);
  }
}

function pushReturn(stack: Stack, vp: VpView, size: Size): void {
  stack.push(BigInt(vp.segmentSelector[Segment.CS] as number), size);
  stack.push(vp.nextRip, size);
}

/** CALL through a gate to an inner privilege level: a stack from the TSS, and the parameters copied to it. */
function callInner(ctx: SystemContext, gate: Gate, level: number): void {
  const { vp } = ctx;
  const oldSs = BigInt(vp.segmentSelector[Segment.SS] as number);
  const oldSp = vp.gpr[4] as bigint;
  if (gate.size === 8) {
    const stack = Stack.flat(ctx, longTssStack(ctx, rspOffset(level), 0), level, 0);
    stack.requireRoom(32);
    checkOffset(ctx, gate.code, gate.offset);
    stack.push(oldSs, 8);
    stack.push(oldSp, 8);
    pushReturn(stack, vp, 8);
    markAccessed(ctx, gate.selector, gate.code);
    loadNull(vp, Segment.SS, level, level);
    stack.commit(vp);
  } else {
    const { selector, sp } = tssStack(ctx, level, 0);
    const d = checkStackSegment(ctx, selector, level, Vector.TS);
    const old = Stack.current(ctx);
    const stack = Stack.of(ctx, d, sp, level, errorOf(selector));
    stack.requireRoom((4 + gate.parameters) * gate.size);
    checkOffset(ctx, gate.code, gate.offset);
    stack.push(oldSs, gate.size);
    stack.push(old.sp, gate.size);
    for (let i = gate.parameters - 1; i >= 0; i--) stack.push(old.peek(i * gate.size, gate.size), gate.size);
    pushReturn(stack, vp, gate.size);
    markAccessed(ctx, gate.selector, gate.code);
    loadDescriptor(ctx, Segment.SS, selector, d);
    stack.commit(vp);
  }
  enterCode(ctx, gate.selector, gate.code, level, gate.offset);
}

function farJump(ctx: SystemContext, offset: bigint, packed: bigint): void {
  const selector = Number(packed & 0xffffn);
  if (isRealOrV86(ctx.vp)) {
    requireRealOffset(ctx, offset);
    enterReal(ctx.vp, selector, offset);
    return;
  }
  if (isNull(selector)) raise(ctx, Vector.GP, 0);
  const d = fetchDescriptor(ctx, selector);
  if ((d.high & 0x1000) === 0) {
    transferToSystem(ctx, selector, d, false);
    return;
  }
  if (!isCode(d)) raise(ctx, Vector.GP, errorOf(selector));
  checkDirectCode(ctx, selector, d);
  checkOffset(ctx, d, offset);
  markAccessed(ctx, selector, d);
  enterCode(ctx, selector, d, ctx.vp.cpl, offset);
}

function farCall(ctx: SystemContext, offset: bigint, packed: bigint): void {
  const { vp } = ctx;
  const selector = Number(packed & 0xffffn);
  const size = Number(packed >> 16n) as Size;
  if (isRealOrV86(vp)) {
    const stack = Stack.current(ctx);
    stack.requireRoom(2 * size);
    requireRealOffset(ctx, offset);
    pushReturn(stack, vp, size);
    stack.commit(vp);
    enterReal(vp, selector, offset);
    return;
  }
  if (isNull(selector)) raise(ctx, Vector.GP, 0);
  const d = fetchDescriptor(ctx, selector);
  if ((d.high & 0x1000) === 0) {
    transferToSystem(ctx, selector, d, true);
    return;
  }
  if (!isCode(d)) raise(ctx, Vector.GP, errorOf(selector));
  checkDirectCode(ctx, selector, d);
  // From compatibility mode into 64-bit code the return address goes through RSP, whose upper half is zero there.
  const stack = targets64(vp, d) ? Stack.flat(ctx, vp.gpr[4] as bigint, vp.cpl, 0) : Stack.current(ctx);
  stack.requireRoom(2 * size);
  checkOffset(ctx, d, offset);
  pushReturn(stack, vp, size);
  markAccessed(ctx, selector, d);
  stack.commit(vp);
  enterCode(ctx, selector, d, vp.cpl, offset);
}

/** SS for a return to an outer level: null is good for 64-bit code outside level 3. */
export function checkReturnStack(
  ctx: SystemContext,
  selector: number,
  level: number,
  code: Descriptor,
): Descriptor | undefined {
  if (!isNull(selector)) return checkStackSegment(ctx, selector, level);
  if (!targets64(ctx.vp, code) || level === 3) raise(ctx, Vector.GP, 0);
  if ((selector & 3) !== level) raise(ctx, Vector.GP, 0);
  return undefined;
}

/** SS and the stack pointer of a return; CS is already the new one, because it decides how wide the pointer is. */
export function loadReturnStack(ctx: SystemContext, selector: number, level: number, d: Descriptor | undefined): void {
  if (d) loadDescriptor(ctx, Segment.SS, selector, d);
  else loadNull(ctx.vp, Segment.SS, selector, level);
}

/** Far RET: operand A is the operand size, B the bytes to release. */
function farReturn(ctx: SystemContext, operandSize: bigint, released: bigint): void {
  const { vp } = ctx;
  const size = Number(operandSize) as Size;
  const stack = Stack.current(ctx);
  if (isRealOrV86(vp)) {
    const offset = stack.pop(size);
    const selector = Number(stack.pop(size) & 0xffffn);
    requireRealOffset(ctx, offset);
    stack.skip(Number(released));
    stack.commit(vp);
    enterReal(vp, selector, offset);
    return;
  }
  const selector = Number(stack.peek(size, size) & 0xffffn);
  const offset = truncate(stack.peek(0, size), size);
  const d = checkReturnCode(ctx, selector);
  const level = selector & 3;
  stack.skip(2 * size + Number(released));
  if (level === vp.cpl) {
    checkOffset(ctx, d, offset);
    markAccessed(ctx, selector, d);
    stack.commit(vp);
    enterCode(ctx, selector, d, level, offset);
    return;
  }
  const sp = stack.peek(0, size);
  const ss = Number(stack.peek(size, size) & 0xffffn);
  const ssDescriptor = checkReturnStack(ctx, ss, level, d);
  checkOffset(ctx, d, offset);
  markAccessed(ctx, selector, d);
  loadReturnStack(ctx, ss, level, ssDescriptor);
  enterCode(ctx, selector, d, level, offset);
  setStackPointer(vp, BigInt.asUintN(64, sp + released));
  dropInnerSegments(vp, level);
}

export const transferOperations = { farJump, farCall, farReturn } as const satisfies Record<string, SystemOperation>;
