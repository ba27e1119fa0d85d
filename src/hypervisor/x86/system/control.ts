/**
 * Control registers and what goes with them: MOV CR, LMSW, CLTS, INVLPG, INVPCID. Intel SDM vol. 3, "Control Registers",
 * "Enabling Protection", "Initializing IA-32e Mode"; vol. 2 under the instructions' names.
 *
 * Reserved bits of CR4 are those whose feature CPUID does not offer; of CR3 those beyond the physical address width.
 */
import { Attribute, Mode, Segment, Vector } from '../../vp/state.ts';
import { raise, type SystemContext, type SystemOperation } from './context.ts';
import { accessAt, Cr0, Cr4, Efer, isCanonical, updateMode } from './mode.ts';

function refuse(ctx: SystemContext): never {
  return raise(ctx, Vector.GP, 0);
}
function requirePrivileged(ctx: SystemContext): void {
  if (ctx.vp.cpl !== 0) refuse(ctx);
}

function trace(ctx: SystemContext, name: string, value: bigint): void {
  if (ctx.platform.tracing) ctx.platform.onTrace('control-register', `${name} = ${value.toString(16)}`);
}

/** Reserved bits of CR0 read as zero whatever is written, ET as one. */
const CR0_WRITABLE = [Cr0.PE, Cr0.MP, Cr0.EM, Cr0.TS, Cr0.NE, Cr0.WP, Cr0.AM, Cr0.NW, Cr0.CD, Cr0.PG].reduce(
  (a, b) => a + b,
  0,
);
/** Bits on which the translations in a TLB, or their use, depend. */
const CR0_PAGING = [Cr0.PE, Cr0.WP, Cr0.PG].reduce((a, b) => a + b, 0);

function writeCr0(ctx: SystemContext, wide: bigint): void {
  const { vp } = ctx;
  if (wide > 0xffff_ffffn) refuse(ctx);
  const old = Number(vp.cr0);
  const value = ((Number(wide) & CR0_WRITABLE) | Cr0.ET) >>> 0;
  const set = (bit: number): boolean => (value & bit) !== 0;
  if ((set(Cr0.PG) && !set(Cr0.PE)) || (set(Cr0.NW) && !set(Cr0.CD))) refuse(ctx);
  const cr4 = Number(vp.cr4);
  const efer = Number(vp.efer);
  const code64 = ((vp.segmentAttributes[Segment.CS] as number) & Attribute.L) !== 0;
  const pagingOn = set(Cr0.PG) && (old & Cr0.PG) === 0;
  const pagingOff = !set(Cr0.PG) && (old & Cr0.PG) !== 0;
  if (pagingOn && (efer & Efer.LME) !== 0) {
    const wideTss = ((vp.segmentAttributes[Segment.TR] as number) & 8) !== 0;
    const noTss =
      ((vp.segmentAttributes[Segment.TR] as number) & Attribute.UNUSABLE) !== 0 ||
      (vp.segmentSelector[Segment.TR] as number) === 0;
    if ((cr4 & Cr4.PAE) === 0 || code64 || !(wideTss || noTss)) refuse(ctx);
    vp.efer = BigInt(efer | Efer.LMA);
  } else if (pagingOff) {
    if ((vp.mode & Mode.LONG64) !== 0 || (cr4 & Cr4.PCIDE) !== 0) refuse(ctx);
    vp.efer = BigInt(efer & ~Efer.LMA);
  }
  const changed = (old ^ value) >>> 0;
  const legacyPae = set(Cr0.PG) && (cr4 & Cr4.PAE) !== 0 && (Number(vp.efer) & Efer.LMA) === 0;
  if (legacyPae && (changed & (Cr0.PG | Cr0.CD | Cr0.NW)) !== 0 && !ctx.platform.loadPdptes(vp.cr3)) refuse(ctx);
  vp.cr0 = BigInt(value);
  trace(ctx, 'CR0', vp.cr0);
  updateMode(vp);
  if ((changed & CR0_PAGING) !== 0) ctx.flushTlb('all');
  if (changed !== 0) ctx.platform.modeChanged();
}

/** Physical address width, from CPUID 8000_0008. */
function physicalBits(ctx: SystemContext): number {
  return ctx.platform.cpuid(0x8000_0008, 0)[0] & 0xff || 36;
}

const NO_FLUSH = 1n << 63n;

function writeCr3(ctx: SystemContext, written: bigint): void {
  const { vp } = ctx;
  const cr4 = Number(vp.cr4);
  const long = (vp.mode & Mode.LONG) !== 0;
  let value = written;
  let keep = false;
  if (long) {
    if ((cr4 & Cr4.PCIDE) !== 0) {
      keep = (value & NO_FLUSH) !== 0n;
      value &= ~NO_FLUSH;
    }
    if (value >> BigInt(physicalBits(ctx)) !== 0n) refuse(ctx);
  } else {
    value &= 0xffff_ffffn;
    const pae = (Number(vp.cr0) & Cr0.PG) !== 0 && (cr4 & Cr4.PAE) !== 0;
    if (pae && !ctx.platform.loadPdptes(value)) refuse(ctx);
  }
  vp.cr3 = value;
  if (ctx.platform.tracing) trace(ctx, 'CR3', value);
  if (keep) ctx.flushTlb('switch');
  else if ((cr4 & Cr4.PCIDE) !== 0) ctx.flushTlb('pcid', 0n, Number(value & 0xfffn));
  else ctx.flushTlb('nonGlobal');
}

/** CR4 bits by the CPUID bit that offers them: leaf, register (EAX 0 .. EDX 3), bit. */
const CR4_FEATURES: readonly (readonly [mask: number, leaf: number, register: number, bit: number])[] = [
  [Cr4.TSD, 1, 3, 4],
  [Cr4.DE, 1, 3, 2],
  [Cr4.PSE, 1, 3, 3],
  [Cr4.PAE, 1, 3, 6],
  [Cr4.MCE, 1, 3, 7],
  [Cr4.PGE, 1, 3, 13],
  [Cr4.OSFXSR, 1, 3, 24],
  [Cr4.OSXMMEXCPT, 1, 3, 25],
  [Cr4.PCIDE, 1, 2, 17],
  [Cr4.OSXSAVE, 1, 2, 26],
  [Cr4.FSGSBASE, 7, 1, 0],
  [Cr4.SMEP, 7, 1, 7],
  [Cr4.SMAP, 7, 1, 20],
];

/** Bits that CR4 may have. LA57, UMIP, VME and PVI are not implemented, whatever CPUID says. */
function cr4Allowed(ctx: SystemContext): number {
  let allowed: number = Cr4.PCE;
  for (const [mask, leaf, register, bit] of CR4_FEATURES)
    if ((((ctx.platform.cpuid(leaf, 0)[register] as number) >>> bit) & 1) !== 0) allowed |= mask;
  return allowed;
}

const CR4_PAGING = Cr4.PSE | Cr4.PAE | Cr4.PGE | Cr4.PCIDE | Cr4.SMEP | Cr4.SMAP;
const CR4_PDPTES = Cr4.PSE | Cr4.PAE | Cr4.PGE | Cr4.SMEP;

function writeCr4(ctx: SystemContext, wide: bigint): void {
  const { vp } = ctx;
  if (wide > 0xffff_ffffn) refuse(ctx);
  const value = Number(wide);
  const old = Number(vp.cr4);
  const changed = value ^ old;
  const long = (vp.mode & Mode.LONG) !== 0;
  if ((value & ~cr4Allowed(ctx)) !== 0) refuse(ctx);
  if (long && (value & Cr4.PAE) === 0) refuse(ctx);
  if ((value & changed & Cr4.PCIDE) !== 0 && (!long || (vp.cr3 & 0xfffn) !== 0n)) refuse(ctx);
  const paging = (Number(vp.cr0) & Cr0.PG) !== 0;
  if (paging && !long && (value & Cr4.PAE) !== 0 && (changed & CR4_PDPTES) !== 0 && !ctx.platform.loadPdptes(vp.cr3))
    refuse(ctx);
  vp.cr4 = wide;
  trace(ctx, 'CR4', wide);
  updateMode(vp);
  if ((changed & CR4_PAGING) !== 0) ctx.flushTlb('all');
  if (changed !== 0) ctx.platform.modeChanged();
}

function writeCr(ctx: SystemContext, index: bigint, value: bigint): void {
  const register = Number(index);
  if (![0, 2, 3, 4, 8].includes(register)) raise(ctx, Vector.UD);
  requirePrivileged(ctx);
  switch (register) {
    case 0:
      return writeCr0(ctx, value);
    case 2:
      ctx.vp.cr2 = value;
      return undefined;
    case 3:
      return writeCr3(ctx, value);
    case 4:
      return writeCr4(ctx, value);
    default:
      if (value > 15n) refuse(ctx);
      ctx.platform.writeCr8(value);
      return undefined;
  }
}

function readCr(ctx: SystemContext, index: bigint): bigint {
  const register = Number(index);
  if (![0, 2, 3, 4, 8].includes(register)) raise(ctx, Vector.UD);
  requirePrivileged(ctx);
  if (register === 8) return ctx.platform.readCr8();
  return register === 0 ? ctx.vp.cr0 : register === 2 ? ctx.vp.cr2 : register === 3 ? ctx.vp.cr3 : ctx.vp.cr4;
}

/** LMSW: PE, MP, EM and TS; it can set PE but not clear it. */
function lmsw(ctx: SystemContext, source: bigint): void {
  requirePrivileged(ctx);
  const old = Number(ctx.vp.cr0);
  writeCr0(ctx, BigInt(((old & ~0xe) | (Number(source) & 0xf)) >>> 0));
}

/** Operand A is the linear address; a non-canonical one is no error. */
function invlpg(ctx: SystemContext, linear: bigint): void {
  requirePrivileged(ctx);
  if (isCanonical(ctx.vp, linear)) ctx.flushTlb('page', linear);
}

/** Operand A is the type, B the linear address of the descriptor. */
function invpcid(ctx: SystemContext, type: bigint, at: bigint): void {
  const { vp } = ctx;
  requirePrivileged(ctx);
  const access = accessAt(vp, 0);
  const first = ctx.readLinear(at, 8, access);
  const linear = ctx.readLinear(BigInt.asUintN(64, at + 8n), 8, access);
  if (type > 3n) refuse(ctx);
  if (first > 0xfffn) refuse(ctx);
  const pcid = Number(first);
  if (type < 2n && pcid !== 0 && (Number(vp.cr4) & Cr4.PCIDE) === 0) refuse(ctx);
  switch (Number(type)) {
    case 0:
      if (!isCanonical(vp, linear)) refuse(ctx);
      return ctx.flushTlb('pcidPage', linear, pcid);
    case 1:
      return ctx.flushTlb('pcid', 0n, pcid);
    case 2:
      return ctx.flushTlb('all');
    default:
      return ctx.flushTlb('allNonGlobal');
  }
}

export const controlOperations = {
  /** Operand A is the register's number. */
  readCr,
  writeCr,
  lmsw,
  invlpg,
  invpcid,
} as const satisfies Record<string, SystemOperation>;
