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

function write(ctx: SystemContext, linear: bigint, view: Bytes): void {
  const access = accessOf(ctx);
  ctx.probeWrite(linear, view.byteLength, access);
  for (let at = 0; at < view.byteLength; at += 2)
    ctx.writeLinear(linear + BigInt(at), 2, BigInt(view.getUint16(at, true)), access);
}

function read(ctx: SystemContext, linear: bigint, bytes: number): Bytes {
  const access = accessOf(ctx);
  const view = new DataView(new ArrayBuffer(bytes));
  for (let at = 0; at < bytes; at += 2)
    view.setUint16(at, Number(ctx.readLinear(linear + BigInt(at), 2, access)), true);
  return view;
}

function fnstenv(ctx: SystemContext, linear: bigint, wide: boolean): void {
  const view = new DataView(new ArrayBuffer(wide ? SIZE.wide : SIZE.narrow));
  putEnvironment(ctx, view, wide);
  write(ctx, linear, view);
  ctx.vp.fcw |= 0x3f;
  updateSummary(ctx.vp);
}

function fldenv(ctx: SystemContext, linear: bigint, wide: boolean): void {
  takeEnvironment(ctx, read(ctx, linear, wide ? SIZE.wide : SIZE.narrow), wide);
}

/** The environment, then ST(0) to ST(7) in ten bytes each; then as FNINIT. */
function fnsave(ctx: SystemContext, linear: bigint, wide: boolean): void {
  const { vp } = ctx;
  const size = wide ? SIZE.wide : SIZE.narrow;
  const view = new DataView(new ArrayBuffer(size + 80));
  putEnvironment(ctx, view, wide);
  for (let i = 0; i < 8; i++) {
    const { significand, signExponent } = getRegister(vp, i);
    view.setBigUint64(size + i * 10, significand, true);
    view.setUint16(size + i * 10 + 8, signExponent, true);
  }
  write(ctx, linear, view);
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

function frstor(ctx: SystemContext, linear: bigint, wide: boolean): void {
  const { vp } = ctx;
  const size = wide ? SIZE.wide : SIZE.narrow;
  const view = read(ctx, linear, size + 80);
  takeEnvironment(ctx, view, wide);
  for (let i = 0; i < 8; i++) {
    const at = ((vp.ftop + i) & 7) * 2;
    vp.x87[at] = view.getBigUint64(size + i * 10, true);
    vp.x87[at + 1] = BigInt(view.getUint16(size + i * 10 + 8, true));
  }
}

function inFormat(operation: (ctx: SystemContext, linear: bigint, wide: boolean) => void): SystemOperation {
  return (ctx, linear, wide) => operation(ctx, linear, wide !== 0n);
}

export const operations: Record<string, SystemOperation> = {
  fnstenv: inFormat(fnstenv),
  fldenv: inFormat(fldenv),
  fnsave: inFormat(fnsave),
  frstor: inFormat(frstor),
};
