/**
 * Port I/O and the rest of what leaves the processor core: IN, OUT, INS, OUTS, HLT, CPUID, RDRAND, RDSEED, VMCALL.
 * Intel SDM vol. 1, "Protected-Mode I/O" (IOPL and the I/O permission bit map of the TSS).
 */
import { Activity, Attribute, Flag, Mode, Segment, Vector } from '../../vp/state.ts';
import { raise, type SystemContext, type SystemOperation } from './context.ts';
import { notePortAccess } from './debug.ts';
import { systemAccess } from './mode.ts';

const IO_MAP_BASE = 0x66;

function requirePort(ctx: SystemContext, port: number, size: number): void {
  const { vp } = ctx;
  if ((vp.mode & Mode.PROTECTED) === 0) return;
  const iopl = (vp.flags & Flag.IOPL) >> 12;
  if (vp.cpl <= iopl && (vp.mode & Mode.V86) === 0) return;
  const attributes = vp.segmentAttributes[Segment.TR] as number;
  const limit = vp.segmentLimit[Segment.TR] as number;
  // Only a 32-bit or 64-bit TSS has a bit map; its two bytes are always read together.
  if ((attributes & Attribute.UNUSABLE) !== 0 || (attributes & 8) === 0 || limit < IO_MAP_BASE + 1)
    raise(ctx, Vector.GP, 0);
  const access = systemAccess(vp);
  const base = vp.segmentBase[Segment.TR] as bigint;
  const map = Number(ctx.readLinear(BigInt.asUintN(64, base + BigInt(IO_MAP_BASE)), 2, access));
  const at = map + (port >> 3);
  if (at + 1 > limit) raise(ctx, Vector.GP, 0);
  const bits = Number(ctx.readLinear(BigInt.asUintN(64, base + BigInt(at)), 2, access)) >> (port & 7);
  if ((bits & ((1 << size) - 1)) !== 0) raise(ctx, Vector.GP, 0);
}

type PortSize = 1 | 2 | 4;

function input(ctx: SystemContext, operand: bigint, size: PortSize): bigint {
  const port = Number(operand & 0xffffn);
  requirePort(ctx, port, size);
  notePortAccess(ctx.vp, port, size);
  const value = ctx.platform.portRead(port, size) >>> 0;
  if (ctx.platform.tracing) ctx.platform.onTrace('port', `in ${size} ${port.toString(16)} = ${value.toString(16)}`);
  return BigInt.asUintN(size * 8, BigInt(value));
}

function output(ctx: SystemContext, operand: bigint, value: bigint, size: PortSize): void {
  const port = Number(operand & 0xffffn);
  requirePort(ctx, port, size);
  notePortAccess(ctx.vp, port, size);
  const word = Number(BigInt.asUintN(size * 8, value));
  if (ctx.platform.tracing) ctx.platform.onTrace('port', `out ${size} ${port.toString(16)} = ${word.toString(16)}`);
  ctx.platform.portWrite(port, size, word);
}

function halt(ctx: SystemContext): void {
  if (ctx.vp.cpl !== 0) raise(ctx, Vector.GP, 0);
  ctx.vp.activity = Activity.HALTED;
  ctx.platform.halt();
}

function cpuid(ctx: SystemContext): void {
  const { gpr } = ctx.vp;
  const leaf = Number((gpr[0] as bigint) & 0xffff_ffffn);
  const subleaf = Number((gpr[1] as bigint) & 0xffff_ffffn);
  const [eax, ebx, ecx, edx] = ctx.platform.cpuid(leaf, subleaf);
  gpr[0] = BigInt(eax >>> 0);
  gpr[3] = BigInt(ebx >>> 0);
  gpr[1] = BigInt(ecx >>> 0);
  gpr[2] = BigInt(edx >>> 0);
}

export const ioOperations = {
  in1: (ctx, port) => input(ctx, port, 1),
  in2: (ctx, port) => input(ctx, port, 2),
  in4: (ctx, port) => input(ctx, port, 4),
  out1: (ctx, port, value) => {
    output(ctx, port, value, 1);
  },
  out2: (ctx, port, value) => {
    output(ctx, port, value, 2);
  },
  out4: (ctx, port, value) => {
    output(ctx, port, value, 4);
  },
  /** INS and OUTS ask before they touch memory: operand A is the port, B the size. */
  checkPort: (ctx, port, size) => {
    requirePort(ctx, Number(port & 0xffffn), Number(size));
    return 0n;
  },
  hlt: halt,
  cpuid,
  random: (ctx) => BigInt.asUintN(64, ctx.platform.random64()),
  hypercall: (ctx) => {
    ctx.platform.hypercall();
  },
} as const satisfies Record<string, SystemOperation>;
