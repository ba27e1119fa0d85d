/**
 * Architectural model-specific registers, and RDMSR, WRMSR, RDTSC, RDTSCP, RDPMC. Intel SDM vol. 4; AMD APM vol. 2,
 * appendix A "MSR Cross-Reference". APIC, MTRR and Hyper-V registers are the platform's; what nobody knows is #GP(0).
 */
import { Segment, Vector } from '../../vp/state.ts';
import { raise, type SystemContext, type SystemOperation } from './context.ts';
import { Cr0, Cr4, Efer, isCanonical, updateMode } from './mode.ts';

interface Register {
  /** undefined: a write-only register. */
  readonly read: ((ctx: SystemContext) => bigint) | undefined;
  /** False: the value is refused. undefined: a read-only register. */
  readonly write: ((ctx: SystemContext, value: bigint) => boolean) | undefined;
}

type WordField =
  | 'lstar'
  | 'cstar'
  | 'star'
  | 'sfmask'
  | 'kernelGsBase'
  | 'tscAux'
  | 'sysenterCs'
  | 'sysenterEsp'
  | 'sysenterEip'
  | 'pat'
  | 'miscEnable';

/** A register that is a word of VpState, with the condition a new value must meet. */
function word(field: WordField, accepts: (ctx: SystemContext, value: bigint) => boolean = () => true): Register {
  return {
    read: ({ vp }) => vp[field],
    write: (ctx, value) => {
      if (!accepts(ctx, value)) return false;
      ctx.vp[field] = value;
      return true;
    },
  };
}
const canonical = (ctx: SystemContext, value: bigint): boolean => isCanonical(ctx.vp, value);
const low32 = (_: SystemContext, value: bigint): boolean => value <= 0xffff_ffffn;

function segmentBase(index: number): Register {
  return {
    read: ({ vp }) => vp.segmentBase[index] as bigint,
    write: (ctx, value) => {
      if (!canonical(ctx, value)) return false;
      ctx.vp.segmentBase[index] = value;
      return true;
    },
  };
}

/** Reads as a constant; writes are accepted and have no effect. */
function inert(value = 0n): Register {
  return { read: () => value, write: () => true };
}
function constant(value: bigint): Register {
  return { read: () => value, write: undefined };
}

/** Memory types a PAT entry may have: UC, WC, WT, WP, WB, UC-. */
const PAT_TYPES = new Set([0n, 1n, 4n, 5n, 6n, 7n]);
function validPat(_: SystemContext, value: bigint): boolean {
  for (let i = 0n; i < 64n; i += 8n) if (!PAT_TYPES.has((value >> i) & 0xffn)) return false;
  return true;
}

/** EFER bits beyond LMA (which a write leaves alone) and the CPUID bits that offer them: leaf, register, bit. */
const EFER_FEATURES: readonly (readonly [mask: number, leaf: number, register: number, bit: number])[] = [
  [Efer.SCE, 0x8000_0001, 3, 11],
  [Efer.LME, 0x8000_0001, 3, 29],
  [Efer.NXE, 0x8000_0001, 3, 20],
  [1 << 14, 0x8000_0001, 3, 25], // FFXSR
  [1 << 15, 0x8000_0001, 2, 17], // TCE
  [1 << 21, 0x8000_0021, 0, 8], // AIBRSE
];

function writeEfer(ctx: SystemContext, value: bigint): boolean {
  const { vp } = ctx;
  if (value > 0xffff_ffffn) return false;
  let allowed: number = Efer.LMA;
  for (const [mask, leaf, register, bit] of EFER_FEATURES)
    if ((((ctx.platform.cpuid(leaf, 0)[register] as number) >>> bit) & 1) !== 0) allowed |= mask;
  const old = Number(vp.efer);
  const next = (Number(value) & ~Efer.LMA) | (old & Efer.LMA);
  if ((next & ~allowed) !== 0) return false;
  const changed = old ^ next;
  if ((changed & Efer.LME) !== 0 && (Number(vp.cr0) & Cr0.PG) !== 0) return false;
  vp.efer = BigInt(next >>> 0);
  if ((changed & Efer.NXE) !== 0) ctx.flushTlb('all');
  if (changed !== 0) {
    updateMode(vp);
    ctx.platform.modeChanged();
  }
  return true;
}

function writeTsc(ctx: SystemContext, value: bigint): boolean {
  ctx.vp.tscOffset = BigInt.asUintN(64, ctx.vp.tscOffset + value - ctx.platform.readTsc());
  return true;
}

const REGISTERS = new Map<number, Register>([
  // IA32_TIME_STAMP_COUNTER, IA32_BIOS_SIGN_ID / PATCH_LEVEL.
  [0x10, { read: (ctx) => ctx.platform.readTsc(), write: writeTsc }],
  [0x8b, inert(0x0100_0065n)],
  [0x174, word('sysenterCs')],
  [0x175, word('sysenterEsp', canonical)],
  [0x176, word('sysenterEip', canonical)],
  // IA32_MCG_CAP (no banks), IA32_MCG_STATUS.
  [0x179, constant(0n)],
  [0x17a, inert()],
  [0x1a0, word('miscEnable')],
  // IA32_DEBUGCTL: no branch records, so nothing to control. LastBranchFromIp..LastIntToIp.
  [0x1d9, { read: () => 0n, write: (_, value) => value <= 3n }],
  [0x1db, constant(0n)],
  [0x1dc, constant(0n)],
  [0x1dd, constant(0n)],
  [0x1de, constant(0n)],
  [0x277, word('pat', validPat)],
  [0xc000_0080, { read: ({ vp }) => vp.efer, write: writeEfer }],
  [0xc000_0081, word('star')],
  [0xc000_0082, word('lstar', canonical)],
  [0xc000_0083, word('cstar', canonical)],
  [0xc000_0084, word('sfmask', low32)],
  [0xc000_0100, segmentBase(Segment.FS)],
  [0xc000_0101, segmentBase(Segment.GS)],
  [0xc000_0102, word('kernelGsBase', canonical)],
  [0xc000_0103, word('tscAux', low32)],
  // SYSCFG; HWCR with TscFreqSel: the TSC counts at the P0 frequency; NB_CFG; INTPEND; MMIO configuration base.
  [0xc001_0010, inert()],
  [0xc001_0015, inert(1n << 24n)],
  [0xc001_001f, inert()],
  [0xc001_0055, inert()],
  [0xc001_0058, inert()],
  // LS_CFG, IC_CFG, DC_CFG; DE_CFG with LFENCE serializing; BU_CFG2.
  [0xc001_1020, inert()],
  [0xc001_1021, inert()],
  [0xc001_1022, inert()],
  [0xc001_1029, inert(2n)],
  [0xc001_102a, inert()],
]);

/** For the platform's inspection and saved state: what RDMSR at CPL 0 gives, undefined where it faults. */
export function readMsr(ctx: SystemContext, index: number): bigint | undefined {
  const register = REGISTERS.get(index);
  return register ? register.read?.(ctx) : ctx.platform.readMsr(index);
}

/** What WRMSR at CPL 0 does; false where it faults. */
export function writeMsr(ctx: SystemContext, index: number, value: bigint): boolean {
  const register = REGISTERS.get(index);
  return register ? (register.write?.(ctx, value) ?? false) : ctx.platform.writeMsr(index, value);
}

/** Names for traces, as the manuals spell them. */
const NAMES: Readonly<Record<number, string>> = {
  16: 'IA32_TIME_STAMP_COUNTER',
  27: 'IA32_APIC_BASE',
  139: 'IA32_BIOS_SIGN_ID',
  372: 'IA32_SYSENTER_CS',
  373: 'IA32_SYSENTER_ESP',
  374: 'IA32_SYSENTER_EIP',
  416: 'IA32_MISC_ENABLE',
  473: 'IA32_DEBUGCTL',
  631: 'IA32_PAT',
  3221225600: 'IA32_EFER',
  3221225601: 'IA32_STAR',
  3221225602: 'IA32_LSTAR',
  3221225603: 'IA32_CSTAR',
  3221225604: 'IA32_FMASK',
  3221225728: 'IA32_FS_BASE',
  3221225729: 'IA32_GS_BASE',
  3221225730: 'IA32_KERNEL_GS_BASE',
  3221225731: 'IA32_TSC_AUX',
  3221291024: 'SYSCFG',
  3221291029: 'HWCR',
  3221291039: 'NB_CFG',
  3221295145: 'DE_CFG',
};

function trace(ctx: SystemContext, verb: string, index: number, text: string): void {
  const name = NAMES[index] ?? ctx.platform.msrName(index) ?? `0x${index.toString(16)}`;
  ctx.platform.onTrace('msr', `${verb} ${name} ${text}, rip ${ctx.vp.rip.toString(16)}`);
}

/** Operand A is ECX. */
function rdmsr(ctx: SystemContext, operand: bigint): bigint {
  if (ctx.vp.cpl !== 0) raise(ctx, Vector.GP, 0);
  const index = Number(operand & 0xffff_ffffn);
  const value = readMsr(ctx, index);
  if (ctx.platform.tracing) trace(ctx, 'rdmsr', index, value === undefined ? '#GP' : `= ${value.toString(16)}`);
  return value ?? raise(ctx, Vector.GP, 0);
}

/** Operand A is ECX, B is EDX:EAX. */
function wrmsr(ctx: SystemContext, operand: bigint, value: bigint): void {
  if (ctx.vp.cpl !== 0) raise(ctx, Vector.GP, 0);
  const index = Number(operand & 0xffff_ffffn);
  const accepted = writeMsr(ctx, index, value);
  if (ctx.platform.tracing) trace(ctx, 'wrmsr', index, `= ${value.toString(16)}${accepted ? '' : ' #GP'}`);
  if (!accepted) raise(ctx, Vector.GP, 0);
}

function rdtsc(ctx: SystemContext): bigint {
  if (ctx.vp.cpl !== 0 && (Number(ctx.vp.cr4) & Cr4.TSD) !== 0) raise(ctx, Vector.GP, 0);
  return ctx.platform.readTsc();
}

/** No performance counters. */
function rdpmc(ctx: SystemContext): never {
  return raise(ctx, Vector.GP, 0);
}

export const msrOperations = { rdmsr, wrmsr, rdtsc, rdpmc } as const satisfies Record<string, SystemOperation>;
