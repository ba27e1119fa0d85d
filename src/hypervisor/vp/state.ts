/**
 * The state of one virtual processor: a fixed layout in the partition's shared memory, used by the interpreter's and the
 * translator's WebAssembly through byte offsets and by TypeScript through typed views.
 *
 * Arithmetic flags are lazy. `flagResult` (r) is the last result and `flagA`, `flagB` (a, b) its operands, all sign-extended
 * to 64 bits; `flagForm` is CF in bit 0, and in bits 2:1 what the operands mean (`FlagKind`):
 *   ZF = r == 0 always        SUM: r = a + b (+ carry)     DIFFERENCE: r = a - b (- borrow)     WORDS
 *   SF                        sign(r)                      sign(r)                              sign(r) ^ b[31]
 *   OF                        sign((a ^ r) & (b ^ r))      sign((a ^ b) & (a ^ r))              sign(a)
 *   AF                        (a ^ b ^ r)[4]               (a ^ b ^ r)[4]                       b[4]
 *   PF, even parity of        r[7:0]                       r[7:0]                               (r ^ b >> 8)[7:0]
 * All other bits of RFLAGS are in `flags` (bit 1 always set; the six arithmetic bits always clear there).
 */
import { array, struct, type View } from '../../support/struct.ts';

/** Indices into the segment arrays. */
export const Segment = {
  ES: 0,
  CS: 1,
  SS: 2,
  DS: 3,
  FS: 4,
  GS: 5,
  LDTR: 6,
  TR: 7,
  GDTR: 8,
  IDTR: 9,
  FLAT: 10,
} as const;

/** `segmentAttributes`: as the VMX access-rights format (Intel SDM vol. 3, table "Format of Access Rights"). */
export const Attribute = {
  TYPE: 0x000f,
  S: 0x0010,
  DPL_SHIFT: 5,
  DPL: 0x0060,
  PRESENT: 0x0080,
  AVL: 0x1000,
  L: 0x2000,
  DB: 0x4000,
  G: 0x8000,
  UNUSABLE: 0x10000,
} as const;

export const VpState = struct(
  'virtual-processor',
  1,
  {
    /** RAX RCX RDX RBX RSP RBP RSI RDI R8..R15. */
    gpr: array('u64', 16),
    /** Always zero: the base or index register of an address that has none. */
    zero: 'u64',
    /** The RIP at which the running block began; a RIP-relative address is relative to it. */
    blockIp: 'u64',
    rip: 'u64',
    /** RIP of the instruction after the current one, set for instructions that TypeScript executes. */
    nextRip: 'u64',
    flagResult: 'u64',
    flagA: 'u64',
    flagB: 'u64',
    flagForm: 'u32',
    /** What a saved state says of the flags beside `flagResult`: CF and CF ^ OF in the two top bits; AF, PF and SF as in `flagB`. */
    flagCarries: 'u64',
    flagAux: 'u32',
    flags: 'u32',
    /** ES CS SS DS FS GS LDTR TR GDTR IDTR, and an eleventh that is flat for ever. See `Segment`. */
    segmentBase: array('u64', 11),
    segmentLimit: array('u32', 11),
    segmentSelector: array('u32', 11),
    segmentAttributes: array('u32', 11),
    cr0: 'u64',
    cr2: 'u64',
    cr3: 'u64',
    cr4: 'u64',
    cr8: 'u64',
    efer: 'u64',
    xcr0: 'u64',
    dr: array('u64', 8),
    /** Two words per register, low first. */
    xmm: array('u64', 32),
    /** Physical registers R0..R7, 16 bytes each: 64-bit significand, then 16 bits of sign and exponent. MMi is Ri's significand. */
    x87: array('u64', 16),
    fcw: 'u32',
    /** Status word without TOP (bits 13:11 are zero here). */
    fsw: 'u32',
    ftop: 'u32',
    /** One bit per physical register, set when it is not empty (the FXSAVE form of the tag word). */
    ftw: 'u32',
    fop: 'u32',
    fcs: 'u32',
    fds: 'u32',
    mxcsr: 'u32',
    fip: 'u64',
    fdp: 'u64',
    star: 'u64',
    lstar: 'u64',
    cstar: 'u64',
    sfmask: 'u64',
    kernelGsBase: 'u64',
    tscAux: 'u64',
    sysenterCs: 'u64',
    sysenterEsp: 'u64',
    sysenterEip: 'u64',
    pat: 'u64',
    miscEnable: 'u64',
    /** Added to the retired-instruction count, or to the host's time, to give the TSC. */
    tscOffset: 'u64',
    /** See `Mode`. Recomputed by updateMode() whenever CR0, CR4, EFER, CS, SS, CPL or RFLAGS.AC/VM change. */
    mode: 'u32',
    cpl: 'u32',
    /** 1 after STI or a load of SS: the next instruction boundary takes no interrupt. */
    interruptShadow: 'u32',
    /** 1 from the delivery of an NMI to the next IRET: no NMI is taken. */
    nmiBlocked: 'u32',
    /** What the next instruction boundary reports as #DB; see x86/system/debug.ts. */
    pendingDebug: 'u32',
    /** The exception in delivery when the `fault` tag is thrown: vector, error code or -1, and for #DB the DR6 bits. */
    faultVector: 'u32',
    faultError: 'i32',
    faultDr6: 'u32',
    /** Byte offset, from the processor's TLB area, of the TLB in use: user, supervisor, or supervisor with SMAP in force. */
    tlbContext: 'u32',
    /** Nonzero: a code page was stored to, or another thread asked for attention; leave the running block. */
    attention: 'u32',
    /** Linear address of an instruction = (RIP + codeBase) & codeMask. */
    codeBase: 'u64',
    codeMask: 'u64',
    /** Flag.IF while an interrupt waits for RFLAGS.IF: the running code is left as soon as both are set. */
    interruptWindow: 'u32',
    /** Budget at the start of the run in progress; zero outside runs. See Interpreter.run. */
    budgetStart: 'i32',
    /** Instructions retired since the partition was created, as of the last return from the interpreter. */
    retired: 'u64',
    /** Budget left when the interpreter last spilled it; see Interpreter. */
    budget: 'i32',
    activity: 'u32',
    /** 1 where a repeated string instruction was left for an interrupt: it has been counted, but has not retired. */
    unfinished: 'u32',
    /** What repeated string instructions have done in this run of the interpreter; see countRepetition(). */
    repetitions: 'u32',
    /** The record of the instruction that translated code has called the interpreter's function for; zero outside such calls. */
    calledRecord: 'u32',
    /** Translated code was dropped, or translations of addresses were: translated code returns to the interpreter. */
    unwind: 'u32',
    /** The record of the region that has last counted another of its SPLITS, or 0. */
    splitRecord: 'u32',
    /** 1 while system operations may take their short ways: nothing is traced, and this is no single step. */
    shortWays: 'u32',
    /** Exceptions that may still be delivered in this run of the interpreter before it ends. */
    faultsLeft: 'u32',
    /** Flag.RF where an IRET loaded it and `resumeBudget` is still the budget: the flag holds for the next instruction. */
    resumeFlag: 'u32',
    resumeBudget: 'i32',
    /** 1 where no other processor decodes: the code map then says which parts of a page of code hold code. */
    codeMapExact: 'u32',
    /** What holds in the second level of the TLBs, and the last number given; see mmu/second-level.ts. */
    stlbGenerations: array('u32', 4),
    stlbLast: 'u32',
    /** Page-crossing and memory-mapped accesses go through this buffer. */
    bounce: array('u64', 8),
    bounceGpa: array('u64', 2),
    bounceSize: 'u32',
    /** Bytes of the bounce buffer that belong to bounceGpa[0]; the rest to bounceGpa[1]. */
    bounceFirst: 'u32',
    /** Counters. */
    decodes: 'u64',
    tlbMisses: 'u64',
    faults: 'u64',
    blockLookups: 'u64',
    /** Times that translated code had to look for where to go on. */
    regionLookups: 'u64',
    /** Times that the interpreter has gone to translated code, and instructions that were executed there. */
    regionEntries: 'u64',
    regionInstructions: 'u64',
    /** Why control has left translated code; see RegionExit. */
    regionExits: array('u64', 8),
    /** What has been translated and put in place: regions, their instructions; modules, their bytes, microseconds for all. */
    regionsMade: 'u64',
    /** Of the regions those whose translation was there: from another run, or for another place. */
    regionsKept: 'u64',
    regionsInstructions: 'u64',
    modulesMade: 'u64',
    modulesBytes: 'u64',
    translationTime: 'u64',
    /** Regions that came too late for code that had changed or gone, and regions taken out again. */
    regionsStale: 'u64',
    regionsDropped: 'u64',
    /** Blocks that a store has touched, and times that all blocks were dropped. */
    blocksInvalidated: 'u64',
    blocksFlushed: 'u64',
  },
  [
    // Derived from the rest, or meaningful within one run of the interpreter only.
    'flagA',
    'flagB',
    'flagForm',
    'zero',
    'blockIp',
    'nextRip',
    'mode',
    'faultVector',
    'faultError',
    'faultDr6',
    'tlbContext',
    'attention',
    'codeBase',
    'codeMask',
    'interruptWindow',
    'budgetStart',
    'budget',
    'unfinished',
    'repetitions',
    'calledRecord',
    'unwind',
    'codeMapExact',
    'splitRecord',
    'shortWays',
    'faultsLeft',
    'resumeFlag',
    'resumeBudget',
    'stlbGenerations',
    'stlbLast',
    'bounce',
    'bounceGpa',
    'bounceSize',
    'bounceFirst',
    'decodes',
    'tlbMisses',
    'faults',
    'blockLookups',
    'regionLookups',
    'regionEntries',
    'regionInstructions',
    'regionExits',
    'regionsMade',
    'regionsInstructions',
    'modulesMade',
    'modulesBytes',
    'translationTime',
    'regionsStale',
    'regionsKept',
    'regionsDropped',
    'blocksInvalidated',
    'blocksFlushed',
  ],
);
export type VpView = View<typeof VpState.fields>;

/** Why control leaves translated code for the interpreter: indices of `regionExits`. */
export const RegionExit = {
  /** The budget may not last for another round. */
  BUDGET: 0,
  ATTENTION: 1,
  /** An instruction faults, touches what is not plain RAM, or stores to code. */
  ACCESS: 2,
  /** The target is not translated. */
  COLD: 3,
  /** An instruction that was called for has gone elsewhere, changed the mode, or asks for a look around. */
  SYSTEM: 4,
} as const;

/** `activity`. */
export const Activity = { RUNNING: 0, HALTED: 1, WAIT_FOR_SIPI: 2, SHUTDOWN: 3 } as const;

/** Bits of `mode`: what decoding and fetching depend on. A cached block is valid for one mode. */
export const Mode = {
  /** CS.L in IA-32e mode: 64-bit code. */
  LONG64: 1,
  /** CS.D: default operand and address size 32. */
  CODE32: 2,
  /** SS.B: the stack pointer is ESP (64-bit mode always uses RSP). */
  STACK32: 4,
  /** CPL is 3. */
  USER: 8,
  /** EFER.LMA. */
  LONG: 16,
  /** CR0.PE. */
  PROTECTED: 32,
  /** RFLAGS.VM. */
  V86: 64,
  /** The limit of CS is not 4 GiB - 1. */
  LIMITED: 128,
} as const;

export const Flag = {
  CF: 1 << 0,
  PF: 1 << 2,
  AF: 1 << 4,
  ZF: 1 << 6,
  SF: 1 << 7,
  TF: 1 << 8,
  IF: 1 << 9,
  DF: 1 << 10,
  OF: 1 << 11,
  IOPL: 3 << 12,
  NT: 1 << 14,
  RF: 1 << 16,
  VM: 1 << 17,
  AC: 1 << 18,
  VIF: 1 << 19,
  VIP: 1 << 20,
  ID: 1 << 21,
} as const;
export const ARITHMETIC_FLAGS = Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.OF;

/** Exception vectors by their mnemonics, Intel SDM vol. 3, "Exception and Interrupt Vectors". */
export const Vector = {
  DE: 0,
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  MC: 18,
  XM: 19,
} as const;

function parityEven(byte: number): boolean {
  let b = byte & 0xff;
  b ^= b >> 4;
  b ^= b >> 2;
  b ^= b >> 1;
  return (b & 1) === 0;
}

/** Bits 2:1 of `flagForm`. */
export const FlagKind = { WORDS: 0, SUM: 1, DIFFERENCE: 2 } as const;

/** The whole of RFLAGS, as the lazy flags say. */
export function readFlags(vp: VpView): number {
  const r = vp.flagResult;
  const a = vp.flagA;
  const b = vp.flagB;
  const kind = vp.flagForm >>> 1;
  const words = kind === FlagKind.WORDS ? Number(b & 0xffff_ffffn) : 0;
  const overflow = kind === FlagKind.WORDS ? a : kind === FlagKind.SUM ? (a ^ r) & (b ^ r) : (a ^ b) & (a ^ r);
  const sign = Number(r >> 63n) ^ (words >>> 31);
  const low = Number(r & 0xffn) ^ ((words >> 8) & 0xff);
  const aux = kind === FlagKind.WORDS ? words : Number((a ^ b ^ r) & 0xffn);
  return (
    vp.flags |
    (vp.flagForm & 1 ? Flag.CF : 0) |
    (parityEven(low) ? Flag.PF : 0) |
    (aux & 0x10 ? Flag.AF : 0) |
    (r === 0n ? Flag.ZF : 0) |
    (sign ? Flag.SF : 0) |
    (overflow >> 63n ? Flag.OF : 0)
  );
}

/** Sets every bit of RFLAGS; bit 1 reads one and the reserved bits zero whatever is given. */
export function writeFlags(vp: VpView, value: number): void {
  const zero = value & Flag.ZF ? 1 : 0;
  const carry = value & Flag.CF ? 1 : 0;
  const overflow = value & Flag.OF ? 1 : 0;
  const parity = value & Flag.PF ? 1 : 0;
  vp.flagResult = zero ? 0n : 1n;
  vp.flagCarries = (BigInt(carry) << 63n) | (BigInt(carry ^ overflow) << 62n);
  vp.flagAux = ((value & Flag.AF ? 0x10 : 0) | ((parity ^ zero) << 8) | (value & Flag.SF ? 0x80000000 : 0)) >>> 0;
  adoptSavedFlags(vp);
  vp.flags = ((value & 0x3f7fd5 & ~ARITHMETIC_FLAGS) | 2) >>> 0;
}

/** The lazy flags from the form in which they are saved. */
export function adoptSavedFlags(vp: VpView): void {
  const top = Number(vp.flagCarries >> 62n);
  vp.flagA = BigInt((top >> 1) ^ (top & 1)) << 63n;
  vp.flagB = BigInt(vp.flagAux);
  vp.flagForm = top >> 1;
}
