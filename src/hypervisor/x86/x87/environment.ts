/**
 * FNSTENV, FLDENV, FNSAVE and FRSTOR: the x87 state in memory, in the four layouts of the Intel SDM vol. 1, figures 8-9 to
 * 8-12. Real-address and virtual-8086 mode hold the pointers as 20- or 32-bit linear addresses.
 */
import { Mode } from '../../vp/state.ts';
import type { SystemContext, SystemOperation } from '../system/context.ts';
import { abridgedTags, accessOf, fullTags, getRegister, updateSummary } from './unit.ts';

type Bytes = DataView<ArrayBuffer>;
const SIZE = { narrow: 14, wide: 28 } as const;

function isReal(ctx: SystemContext): boolean {
  return (ctx.vp.mode & Mode.PROTECTED) === 0 || (ctx.vp.mode & Mode.V86) !== 0;
}

/** The environment's fields in order, in words of 2 or 4 bytes. The upper half of a wide word that holds 16 bits is ones. */
function environmentWords(ctx: SystemContext, wide: boolean): number[] {
  const { vp } = ctx;
  const head = [vp.fcw, vp.fsw | (vp.ftop << 11), fullTags(vp)];
  const fip = Number(vp.fip & 0xffffffffn);
  const fdp = Number(vp.fdp & 0xffffffffn);
  if (!isReal(ctx)) {
    if (!wide) return [...head, fip & 0xffff, vp.fcs, fdp & 0xffff, vp.fds];
    return [...head.map(filled), fip, vp.fcs | (vp.fop << 16), fdp, filled(vp.fds)];
  }
  const code = fip + vp.fcs * 16;
  const data = fdp + vp.fds * 16;
  if (!wide) return [...head, code & 0xffff, ((code >>> 4) & 0xf000) | vp.fop, data & 0xffff, (data >>> 4) & 0xf000];
  const middle = (x: number): number => ((x >>> 16) & 0xffff) << 12;
  return [...head.map(filled), filled(code & 0xffff), middle(code) | vp.fop, filled(data & 0xffff), middle(data)];
}

function filled(word: number): number {
  return (word | 0xffff0000) >>> 0;
}

function putEnvironment(ctx: SystemContext, view: Bytes, wide: boolean): void {
  environmentWords(ctx, wide).forEach((word, i) => {
    if (wide) view.setUint32(i * 4, word, true);
    else view.setUint16(i * 2, word, true);
  });
}

function takeEnvironment(ctx: SystemContext, view: Bytes, wide: boolean): void {
  const { vp } = ctx;
  const word = (i: number): number => (wide ? view.getUint32(i * 4, true) : view.getUint16(i * 2, true));
  vp.fcw = (word(0) & 0x1f3f) | 0x40;
  const fsw = word(1);
  vp.fsw = fsw & 0x47ff;
  vp.ftop = (fsw >> 11) & 7;
  vp.ftw = abridgedTags(word(2));
  if (isReal(ctx)) {
    const high = (i: number): number => (wide ? ((word(i) >>> 12) & 0xffff) * 0x10000 : (word(i) & 0xf000) * 16);
    vp.fip = BigInt((word(3) & 0xffff) + high(4));
    vp.fdp = BigInt((word(5) & 0xffff) + high(6));
    vp.fop = word(4) & 0x7ff;
    vp.fcs = 0;
    vp.fds = 0;
  } else {
    vp.fip = BigInt(word(3));
    vp.fdp = BigInt(word(5));
    vp.fcs = word(4) & 0xffff;
    vp.fds = word(6) & 0xffff;
    if (wide) vp.fop = (word(4) >>> 16) & 0x7ff;
  }
  updateSummary(vp);
}

/** Second operand of the operations: the 32-bit layout, and what `wrapping` in semantics/image.ts tells. */
export const WIDE = 1n;
const BEFORE_WRAP_SHIFT = 8n;
const BEFORE_WRAP = 0xffn;
const NOT_16_BIT = 1n << 16n;

interface Operand {
  readonly linear: bigint;
  readonly wide: boolean;
  /** Bytes before the effective address wraps, and what is subtracted behind. */
  readonly before: number;
  readonly wrap: bigint;
}

/** The linear address of a byte of the operand; words are aligned within the image, so they are not split by a wrap. */
function addressOf({ vp }: SystemContext, operand: Operand, at: number): bigint {
  const linear = operand.linear + BigInt(at) - (operand.before !== 0 && at >= operand.before ? operand.wrap : 0n);
  return BigInt.asUintN(vp.mode & Mode.LONG64 ? 64 : 32, linear);
}

function write(ctx: SystemContext, operand: Operand, view: Bytes): void {
  const access = accessOf(ctx);
  for (let at = 0; at < view.byteLength; at += 2)
    ctx.writeLinear(addressOf(ctx, operand, at), 2, BigInt(view.getUint16(at, true)), access);
}

function read(ctx: SystemContext, operand: Operand, bytes: number): Bytes {
  const access = accessOf(ctx);
  const view = new DataView(new ArrayBuffer(bytes));
  for (let at = 0; at < bytes; at += 2)
    view.setUint16(at, Number(ctx.readLinear(addressOf(ctx, operand, at), 2, access)), true);
  return view;
}

function fnstenv(ctx: SystemContext, operand: Operand): void {
  const { wide } = operand;
  const view = new DataView(new ArrayBuffer(wide ? SIZE.wide : SIZE.narrow));
  putEnvironment(ctx, view, wide);
  write(ctx, operand, view);
  ctx.vp.fcw |= 0x3f;
  updateSummary(ctx.vp);
}

function fldenv(ctx: SystemContext, operand: Operand): void {
  const { wide } = operand;
  takeEnvironment(ctx, read(ctx, operand, wide ? SIZE.wide : SIZE.narrow), wide);
}

/** The environment, then ST(0) to ST(7) in ten bytes each; then as FNINIT. */
function fnsave(ctx: SystemContext, operand: Operand): void {
  const { vp } = ctx;
  const { wide } = operand;
  const size = wide ? SIZE.wide : SIZE.narrow;
  const view = new DataView(new ArrayBuffer(size + 80));
  putEnvironment(ctx, view, wide);
  for (let i = 0; i < 8; i++) {
    const { significand, signExponent } = getRegister(vp, i);
    view.setBigUint64(size + i * 10, significand, true);
    view.setUint16(size + i * 10 + 8, signExponent, true);
  }
  write(ctx, operand, view);
  vp.fcw = 0x37f;
  vp.fsw = 0;
  vp.ftop = 0;
  vp.ftw = 0;
  vp.fop = 0;
  vp.fcs = 0;
  vp.fds = 0;
  vp.fip = 0n;
  vp.fdp = 0n;
}

function frstor(ctx: SystemContext, operand: Operand): void {
  const { vp } = ctx;
  const { wide } = operand;
  const size = wide ? SIZE.wide : SIZE.narrow;
  const view = read(ctx, operand, size + 80);
  takeEnvironment(ctx, view, wide);
  for (let i = 0; i < 8; i++) {
    const at = ((vp.ftop + i) & 7) * 2;
    vp.x87[at] = view.getBigUint64(size + i * 10, true);
    vp.x87[at + 1] = BigInt(view.getUint16(size + i * 10 + 8, true));
  }
}

function onOperand(operation: (ctx: SystemContext, operand: Operand) => void): SystemOperation {
  return (ctx, linear, how) =>
    operation(ctx, {
      linear,
      wide: (how & WIDE) !== 0n,
      before: Number((how >> BEFORE_WRAP_SHIFT) & BEFORE_WRAP),
      wrap: how & NOT_16_BIT ? 1n << 32n : 1n << 16n,
    });
}

export const operations: Record<string, SystemOperation> = {
  fnstenv: onOperand(fnstenv),
  fldenv: onOperand(fldenv),
  fnsave: onOperand(fnsave),
  frstor: onOperand(frstor),
};
