/**
 * IRET in all its forms: Intel SDM vol. 2, "IRET/IRETD/IRETQ". Operand A is the operand size.
 * NMIs are taken again from here on, even when the IRET itself faults (vol. 3, "Handling Multiple NMIs").
 */
import { ARITHMETIC_FLAGS, Flag, Mode, readFlags, Segment, Vector, type VpView, writeFlags } from '../../vp/state.ts';
import { checkOffset, checkReturnCode, dropInnerSegments, enterCode } from './code.ts';
import { raise, type SystemContext } from './context.ts';
import { type Descriptor, markAccessed } from './descriptor.ts';
import {
  accessAt,
  isCanonical,
  loadRealSegment,
  setSegment,
  setStackPointer,
  updateMode,
  V86_ATTRIBUTES,
} from './mode.ts';
import { Stack } from './stack.ts';
import { returnToLinkedTask } from './tasks.ts';
import { checkReturnStack, loadReturnStack } from './transfer.ts';

const ALWAYS = ARITHMETIC_FLAGS | Flag.TF | Flag.DF | Flag.NT;

/** RFLAGS bits that an IRET at this privilege level may change. */
function writableFlags(vp: VpView, size: number): number {
  let mask = ALWAYS;
  if (size !== 2) mask |= Flag.RF | Flag.AC | Flag.ID;
  if (vp.cpl <= (vp.flags & Flag.IOPL) >> 12) mask |= Flag.IF;
  if (vp.cpl === 0) mask |= size === 2 ? Flag.IOPL : Flag.IOPL | Flag.VIF | Flag.VIP;
  return mask;
}

export function iret(ctx: SystemContext, operandSize: bigint): void {
  const { vp } = ctx;
  const size = Number(operandSize) as 2 | 4 | 8;
  // An NMI that waited is due now.
  if (vp.nmiBlocked !== 0) vp.attention = 1;
  vp.nmiBlocked = 0;
  if ((vp.mode & Mode.LONG64) !== 0 && size === 8) iretLong(ctx);
  else if ((vp.mode & (Mode.PROTECTED | Mode.V86)) !== Mode.PROTECTED) iretReal(ctx, size as 2 | 4);
  else iretProtected(ctx, size);
}

function iretReal(ctx: SystemContext, size: 2 | 4): void {
  const { vp } = ctx;
  const v86 = (vp.mode & Mode.V86) !== 0;
  if (v86 && (vp.flags & Flag.IOPL) !== Flag.IOPL) raise(ctx, Vector.GP, 0);
  const stack = Stack.current(ctx);
  const offset = stack.pop(size);
  const selector = Number(stack.pop(size) & 0xffffn);
  const image = Number(stack.pop(size));
  if (offset > BigInt(v86 ? 0xffff : (vp.segmentLimit[Segment.CS] as number))) raise(ctx, Vector.GP, 0);
  let mask = ALWAYS | Flag.IF;
  if (!v86) mask |= Flag.IOPL;
  if (size === 4) mask |= Flag.RF | Flag.AC | Flag.ID;
  stack.commit(vp);
  loadRealSegment(vp, Segment.CS, selector);
  vp.nextRip = offset;
  writeFlags(vp, (readFlags(vp) & ~mask) | (image & mask));
  updateMode(vp);
}

function iretProtected(ctx: SystemContext, size: 2 | 4 | 8): void {
  const { vp } = ctx;
  const long = (vp.mode & Mode.LONG) !== 0;
  if ((vp.flags & Flag.NT) !== 0) {
    if (long) raise(ctx, Vector.GP, 0);
    returnToLinkedTask(ctx);
    return;
  }
  const stack = Stack.current(ctx);
  const offset = stack.peek(0, size);
  const selector = Number(stack.peek(size, size) & 0xffffn);
  const image = Number(stack.peek(2 * size, size) & 0xffff_ffffn);
  if (!long && size === 4 && (image & Flag.VM) !== 0 && vp.cpl === 0) {
    iretToV86(ctx, stack, offset, selector, image);
    return;
  }
  const code = checkReturnCode(ctx, selector);
  const level = selector & 3;
  if (level === vp.cpl && (vp.mode & Mode.LONG64) === 0) {
    checkOffset(ctx, code, offset);
    markAccessed(ctx, selector, code);
    const mask = writableFlags(vp, size);
    stack.skip(3 * size);
    stack.commit(vp);
    setFlags(vp, image, mask);
    enterCode(ctx, selector, code, level, offset);
    return;
  }
  finish(
    ctx,
    size,
    selector,
    code,
    offset,
    image,
    stack.peek(3 * size, size),
    Number(stack.peek(4 * size, size) & 0xffffn),
  );
}

/** IRETQ, the way out of a 64-bit kernel. */
function iretLong(ctx: SystemContext): void {
  const { vp } = ctx;
  if ((vp.flags & Flag.NT) !== 0) raise(ctx, Vector.GP, 0);
  const sp = vp.gpr[4] as bigint;
  if (!isCanonical(vp, sp) || !isCanonical(vp, BigInt.asUintN(64, sp + 39n))) raise(ctx, Vector.SS, 0);
  const access = accessAt(vp, vp.cpl);
  const word = (distance: bigint): bigint => ctx.readLinear(BigInt.asUintN(64, sp + distance), 8, access);
  const offset = word(0n);
  const selector = Number(word(8n) & 0xffffn);
  const image = Number(word(16n) & 0xffff_ffffn);
  const code = checkReturnCode(ctx, selector);
  finish(ctx, 8, selector, code, offset, image, word(24n), Number(word(32n) & 0xffffn));
}

function setFlags(vp: VpView, image: number, mask: number): void {
  // The arithmetic flags are all replaced, so the lazy ones need not be read.
  writeFlags(vp, (vp.flags & ~mask) | (image & mask));
}

/** A return that loads SS and the stack pointer: to an outer level, or any from 64-bit mode. */
function finish(
  ctx: SystemContext,
  size: number,
  selector: number,
  code: Descriptor,
  offset: bigint,
  image: number,
  sp: bigint,
  ss: number,
): void {
  const { vp } = ctx;
  const level = selector & 3;
  const stack = checkReturnStack(ctx, ss, level, code);
  checkOffset(ctx, code, offset);
  markAccessed(ctx, selector, code);
  const outer = level !== vp.cpl;
  const mask = writableFlags(vp, size);
  loadReturnStack(ctx, ss, level, stack);
  setFlags(vp, image, mask);
  enterCode(ctx, selector, code, level, offset);
  setStackPointer(vp, sp);
  if (outer) dropInnerSegments(vp, level);
}

function iretToV86(ctx: SystemContext, stack: Stack, offset: bigint, selector: number, image: number): void {
  const { vp } = ctx;
  const words: bigint[] = [];
  for (let i = 3; i < 9; i++) words.push(stack.peek(4 * i, 4));
  if (offset > 0xffffn) raise(ctx, Vector.GP, 0);
  const segments = [Segment.SS, Segment.ES, Segment.DS, Segment.FS, Segment.GS] as const;
  const load = (index: number, value: number): void => {
    setSegment(vp, index, value, BigInt(value) << 4n, 0xffff, V86_ATTRIBUTES);
  };
  load(Segment.CS, selector);
  segments.forEach((index, i) => {
    load(index, Number((words[i + 1] as bigint) & 0xffffn));
  });
  vp.gpr[4] = words[0] as bigint;
  vp.nextRip = offset;
  writeFlags(vp, image);
  updateMode(vp);
}
