// What counts as a divergence between the native processor and ours. Everything that a case can see is compared; what the
// manuals leave undefined or to the processor, and what a kernel between us and the processor changes, is listed here, and
// nothing else is excused. SDM: Intel Software Developer's Manual; APM: AMD64 Architecture Programmer's Manual.

import { Flag } from '../../src/hypervisor/vp/state.ts';
import { type Case, CODE_ADDRESS, CODE_SIZE, FX_SIZE, type Result } from './native/protocol.ts';

/** What is never looked at. */
export const NOT_LOOKED_AT = [
  ['RFLAGS.RF', 'set in the image that an exception saves: SDM vol. 3, "Instruction-Breakpoint"'],
  ['MXCSR_MASK', 'a property of the processor: SDM vol. 1, 11.6.6'],
  [
    'FOP, FIP, FDP and their selectors',
    "when they are stored is the processor's choice: SDM vol. 1, 8.1.8 and 8.1.9; CPUID.7.0:EBX bits 6 and 13; APM vol. 2",
  ],
  ['bits 127:80 of x87 registers', 'reserved in an FXSAVE image: SDM vol. 1, 10.5.1'],
  ["P in a #PF's error code in the kernel's half", 'the kernel reports its own half of the address space as present'],
  ['bits 63:32 of general registers outside 64-bit mode', 'undefined: SDM vol. 1, 3.4.1.1'],
  ['ESP bits 31:16 in 16-bit mode', 'not loaded by IRET to a 16-bit stack: see protocol.ts'],
] as const;

/** What is excused when it differs. */
export const EXCUSES = {
  undefinedFlags: ["flags in a form's `undefined`", 'SDM vol. 2, the instruction\'s "Flags Affected"'],
  approximation: [
    'lanes of RCPPS, RCPSS, RSQRTPS and RSQRTSS, within 3 * 2^-12 of one another',
    'approximations with a relative error of at most 1.5 * 2^-12: SDM vol. 2; exact where the manual has a table',
  ],
  transcendental: [
    'the last bit of transcendental x87 results, and C1, which says how it was rounded',
    'within one unit in the last place: SDM vol. 1, 8.3.10 "Transcendental Instruction Accuracy"',
  ],
  transcendentalRange: [
    'OE and UE of transcendental x87 results that are the last or first number in range',
    'follow from the last bit: as above',
  ],
  mmxTransition: [
    'x87 TOP and tags after an MMX store that faulted',
    'whether a processor leaves x87 mode before it finds the fault; SDM vol. 1, 9.5.1 says only what they are afterwards',
  ],
  nullSelector: [
    'RPL of a null selector in ES, DS, FS and GS',
    "the host kernel's IRET makes the selector zero: SDM vol. 2, IRET",
  ],
  faultOrder: [
    'which comes first, #AC or another fault, at an unaligned access that is not mapped or not canonical',
    'SDM vol. 3, 6.9 leaves the order of faults of one class to the processor',
  ],
  fetchOrder: [
    'which comes first, #GP for 15 bytes that are no whole instruction or #PF for the next, at the end of mapped code',
    'depends on what has been fetched ahead: SDM vol. 3, 6.9 has the #PF first, but a processor need not fetch that byte',
  ],
  // Only on AMD's processors, by the rules of vendor.ts: Viridian does what Intel's do.
  repeatedLoop: [
    'AMD: which of LOOPE and LOOPNE it is where a repeat prefix stands, which chooses',
    'the prefix is reserved there: SDM vol. 2, 2.1.1; APM vol. 3, 1.2.6',
  ],
  farPointer: [
    'AMD: LSS, LFS and LGS with REX.W: the pointer is m16:32',
    'APM vol. 3, LFS, has no m16:64; SDM vol. 2, LFS, has',
  ],
  wideSource: [
    'AMD: a fault of MOVSXD with a 16-bit operand behind its first two bytes',
    'the source has 32 bits: APM vol. 3, MOVSXD; SDM vol. 2, MOVSX, says 16 of this form, whose use it discourages',
  ],
  prefetchRegister: [
    'AMD: 0F 0D with a register operand is #UD',
    'APM vol. 3, PREFETCH, and SDM vol. 2, PREFETCHW, have memory only',
  ],
  lockedMove: [
    'AMD: LOCK MOV to and from CR0 is a move to and from CR8: #GP, not #UD',
    "APM vol. 3, MOV CRn, where CPUID 8000_0001 ECX bit 4 is set, as it is not on Intel's and Viridian's processors",
  ],
  popSegment: [
    'AMD: a fault of POP into a segment register beyond the selector',
    "the operand has 4 or 8 bytes: SDM vol. 2 and APM vol. 3, POP; Intel's processors read 2 of them",
  ],
  doubleShift: [
    'AMD: operand and flags of a 16-bit SHLD or SHRD with a count above 16',
    'undefined: SDM vol. 2 and APM vol. 3, SHLD and SHRD',
  ],
  horizontalNan: [
    'AMD: which NaN is in lanes of DPPS and DPPD that are NaNs',
    'the horizontal propagation of NaNs is left to the implementation: SDM vol. 2, DPPS',
  ],
  exactUnderflow: [
    'AMD: underflow of FPREM and FPREM1 by infinity, and FSCALE by zero, with a denormal number in ST0 and UM clear',
    'SDM vol. 2 has both ST(0) as the result and #U for one that is too small; SDM vol. 1, 8.5.5',
  ],
  mxcsrMask: [
    'AMD: MXCSR_MASK in stored images',
    'a property of the processor: SDM vol. 1, 11.6.6; bit 17 is in APM vol. 1, 4.2.2',
  ],
  misalignedMask: [
    'AMD: MXCSR bit 17 may be loaded',
    'APM vol. 1, 4.2.2 "MXCSR Register", where CPUID 8000_0001 ECX bit 7 is set; reserved in SDM vol. 1, 10.2.3',
  ],
  unalignedVector: [
    'AMD: #AC at 16 bytes that need not be aligned (MOVUPS, MOVUPD, MOVDQU, LDDQU, PCMPxSTRx)',
    'SDM vol. 3, 6.15 "Alignment Check Exception" leaves it to the implementation; APM vol. 4 has it',
  ],
  realStore: [
    'AMD: x87 stores that cannot be done and have an unmasked exception too: the fault comes first',
    'SDM vol. 3, 6.9 leaves the order of faults of one class to the processor',
  ],
  secondBound: [
    'AMD: BOUND whose index is below its range and whose upper bound is not mapped: #PF, not #BR',
    'SDM vol. 3, 6.9, as above',
  ],
  segmentEnd: [
    'AMD: #GP or #SS, not #PF, at an operand that goes round the end of a segment of 4 GB',
    'SDM vol. 3, 5.3 "Limit Checking": with an effective limit of FFFFFFFFh it may or may not be told',
  ],
  canonicalOffset: [
    'AMD: #GP, not #PF, where the offset from FS or GS base is not canonical and the linear address is',
    'SDM vol. 1, 3.3.7.1 asks it of the linear address alone; what is mapped is not reached this way either',
  ],
  areaFault: [
    'AMD: which fault, and which address of it, an operand of FXSAVE, XSAVE, FXRSTOR, XRSTOR or MASKMOVDQU has of several',
    'which part is looked at first, and for what, is left to the processor: SDM vol. 3, 6.9',
  ],
  unusedPart: [
    'AMD: #PF in the part of an XSAVE or XRSTOR image that EDX:EAX does not ask for',
    'SDM vol. 1, 13.4, does not say that it is not accessed; APM vol. 4, XSAVE, neither',
  ],
  stringOrder: ['AMD: CR2 of CMPS where neither string can be read', 'SDM vol. 3, 6.9, as above'],
  repeatedFlags: [
    'AMD: arithmetic flags of repeated CMPS and SCAS that fault: those of a comparison, not those before the instruction',
    'SDM vol. 2, REP, restores them; APM vol. 3, 1.2.6, does not say so',
  ],
  partialStore: [
    'AMD: memory under the operand of CALL, FBSTP or FSTP m80 that faults stays as it was',
    "SDM vol. 2, CALL, checks the target before it pushes, Intel's processors after; a part may be written: SDM vol. 3, 9.1.1",
  ],
} as const;
export type Excuse = keyof typeof EXCUSES;

const FLAG_BITS: Readonly<Record<string, number>> = {
  CF: Flag.CF,
  PF: Flag.PF,
  AF: Flag.AF,
  ZF: Flag.ZF,
  SF: Flag.SF,
  OF: Flag.OF,
};
const GPR_NAMES = 'RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15'.split(' ');
const RSP = 4;
/** Of the lower half, a program cannot have the last page. */
export const KERNEL_HALF = 0x7fff_ffff_f000n;
const FX_MXCSR = 6;
const FX_MXCSR_MASK = 7;
const FX_ST0 = 8;
const FX_XMM0 = 40;

/** Mask of the flags that a form's `undefined` names. */
export function undefinedFlags(names: string | undefined): number {
  let mask = 0;
  for (const name of (names ?? '').split(' ')) mask |= FLAG_BITS[name] ?? 0;
  return mask;
}

export interface CompareOptions {
  /** RFLAGS bits that the last instruction leaves undefined. */
  readonly undefinedFlags: number;
  /** Mnemonics of the case's instructions. */
  readonly mnemonics: readonly string[];
  /** Whether an MMX store may be what faulted. */
  readonly faultedInMmx: boolean;
  /** Told of what was excused. */
  readonly onExcuse?: ((excuse: Excuse) => void) | undefined;
}

const APPROXIMATE = /^(RCP|RSQRT)[PS]S$/;
const TRANSCENDENTAL = /^(FSIN|FCOS|FSINCOS|FPTAN|FPATAN|F2XM1|FYL2X|FYL2XP1)$/;
const FSW = { OE: 0x8, UE: 0x10, ES: 0x80, C1: 0x200, B: 0x8000 } as const;

/** Whether results may differ a little: what is computed from them may then differ much. */
export function isInexact(mnemonic: string): boolean {
  return APPROXIMATE.test(mnemonic) || TRANSCENDENTAL.test(mnemonic);
}

/** Whether a result says nothing: what the kernel or the native processor's own workings came into. */
export function isInconclusive(native: Result): boolean {
  return (
    native.outcome === 'refused' ||
    native.outcome === 'syscall' ||
    native.outcome === 'killed' ||
    native.outcome === 'timeout'
  );
}

/** Differences in words, native value first; none where the results agree. */
export function compare(c: Case, native: Result, ours: Result, options: CompareOptions): string[] {
  const differences: string[] = [];
  const add = (what: string, theirs: unknown, mine: unknown) =>
    differences.push(`${what}: processor ${text(theirs)}, Viridian ${text(mine)}`);
  if (native.outcome !== ours.outcome || native.vector !== ours.vector) {
    if (isEitherOrder(c, native, ours)) {
      options.onExcuse?.('faultOrder');
      return differences;
    }
    if (isAtEndOfCode(c, native, ours)) {
      options.onExcuse?.('fetchOrder');
      return differences;
    }
    add('outcome', describe(native), describe(ours));
    return differences;
  }
  compareFault(native, ours, add);
  if (native.rip !== ours.rip) add('RIP', native.rip, ours.rip);
  const flags = (native.rflags ^ ours.rflags) & ~Flag.RF;
  if (flags & ~options.undefinedFlags) add('RFLAGS', flagText(native.rflags), flagText(ours.rflags));
  else if (flags) options.onExcuse?.('undefinedFlags');
  compareRegisters(c, native, ours, add);
  compareFx(native.fx, ours.fx, add, {
    approximate: options.mnemonics.some((name) => APPROXIMATE.test(name)),
    transcendental: options.mnemonics.some((name) => TRANSCENDENTAL.test(name)),
    ignoreX87: options.faultedInMmx,
    excuse: options.onExcuse ?? (() => undefined),
  });
  for (let i = 0; i < 6; i++) {
    const [theirs, mine] = [native.segments[i] as number, ours.segments[i] as number];
    if (theirs === mine) continue;
    if (theirs === 0 && mine < 4) options.onExcuse?.('nullSelector');
    else add(`segment ${i}`, theirs, mine);
  }
  if (c.mode === 64 && native.fsBase !== ours.fsBase) add('FS base', native.fsBase, ours.fsBase);
  if (c.mode === 64 && native.gsBase !== ours.gsBase) add('GS base', native.gsBase, ours.gsBase);
  compareChanges(native, ours, add);
  return differences;
}

type Add = (what: string, native: unknown, ours: unknown) => void;

/** Alignment and the rest of an access are checked in either order. */
function isEitherOrder(c: Case, native: Result, ours: Result): boolean {
  if ((c.rflags & Flag.AC) === 0 || native.outcome !== 'exception' || ours.outcome !== 'exception') return false;
  const isOther = (vector: number) => vector >= 12 && vector <= 14;
  return (isOther(native.vector) && ours.vector === 17) || (native.vector === 17 && isOther(ours.vector));
}

/** Code that ends where nothing is mapped, in what may be an instruction of 15 bytes and more. */
function isAtEndOfCode(c: Case, native: Result, ours: Result): boolean {
  if (c.codeOffset + c.code.length !== CODE_SIZE || c.code.length < 15 || native.rip !== ours.rip) return false;
  if (CODE_ADDRESS + CODE_SIZE - linearRip(c, native) < 15) return false;
  const isFetch = (r: Result) => r.vector === 14 && r.cr2 === BigInt(CODE_ADDRESS + CODE_SIZE);
  return (isFetch(native) && ours.vector === 13) || (native.vector === 13 && isFetch(ours));
}
function linearRip(c: Case, r: Result): number {
  return Number(r.rip) + (c.mode === 16 ? CODE_ADDRESS : 0);
}

function compareFault(native: Result, ours: Result, add: Add): void {
  const hidden = native.vector === 14 && native.cr2 >= KERNEL_HALF ? 1 : 0;
  if ((native.errorCode ^ ours.errorCode) & ~hidden) add('error code', native.errorCode, ours.errorCode);
  if (native.cr2 !== ours.cr2) add('CR2', native.cr2, ours.cr2);
}

function compareRegisters(c: Case, native: Result, ours: Result, add: Add): void {
  const a = words(native.gprs);
  const b = words(ours.gprs);
  for (let i = 0; i < 32; i++) {
    if (a[i] === b[i] || (c.mode !== 64 && i & 1)) continue;
    const register = i >> 1;
    if (c.mode === 16 && register === RSP && (((a[i] as number) ^ (b[i] as number)) & 0xffff) === 0) continue;
    add(GPR_NAMES[register] as string, native.gprs[register], ours.gprs[register]);
    i |= 1;
  }
}

interface Tolerance {
  readonly approximate: boolean;
  readonly transcendental: boolean;
  readonly ignoreX87: boolean;
  readonly excuse: (excuse: Excuse) => void;
}

function compareFx(native: Uint8Array, ours: Uint8Array, add: Add, tolerance: Tolerance): void {
  const a = words(native);
  const b = words(ours);
  for (let i = 0; i < FX_SIZE / 4; i++) {
    if ((((a[i] as number) ^ (b[i] as number)) & fxMask(i)) === 0) continue;
    const excuse = excuseFor(a, b, i, tolerance);
    if (excuse) {
      tolerance.excuse(excuse);
      if (excuse === 'transcendental' && i >= FX_ST0) i |= 3;
      continue;
    }
    const difference = (a[i] as number) ^ (b[i] as number);
    if (i === 0) {
      if (difference & 0xffff) add('FCW', (a[0] as number) & 0xffff, (b[0] as number) & 0xffff);
      if (difference >>> 16) add('FSW', (a[0] as number) >>> 16, (b[0] as number) >>> 16);
    } else if (i === 1) add('tags', (a[1] as number) & 0xff, (b[1] as number) & 0xff);
    else if (i === 6) add('MXCSR', a[6], b[6]);
    else {
      const name = i < FX_XMM0 ? `ST${(i - FX_ST0) >> 2}` : `XMM${(i - FX_XMM0) >> 2}`;
      const first = i & ~3;
      add(name, vector(a, first, i < FX_XMM0), vector(b, first, i < FX_XMM0));
      i |= 3;
    }
  }
}

/** Why two different words of an FXSAVE image do not count as different. */
function excuseFor(a: Uint32Array, b: Uint32Array, i: number, tolerance: Tolerance): Excuse | undefined {
  if (i >= FX_XMM0)
    return tolerance.approximate && isNear(a[i] as number, b[i] as number) ? 'approximation' : undefined;
  if (tolerance.ignoreX87 && i !== FX_MXCSR) return 'mmxTransition';
  if (!tolerance.transcendental) return undefined;
  if (i >= FX_ST0) return areNeighbours(a, b, i & ~3) ? 'transcendental' : undefined;
  if (i !== 0) return undefined;
  const status = (a[0] as number) ^ (b[0] as number);
  const { C1, OE, UE, ES, B } = FSW;
  if ((status & ~(C1 << 16)) === 0) return 'transcendental';
  // Of FSINCOS and FPTAN the first result stands below the one that was pushed.
  const isAtEdge = [FX_ST0, FX_ST0 + 4].some((at) => edgeOf(a, at) >= 0 && edgeOf(a, at) === edgeOf(b, at));
  return isAtEdge && (status & ~((C1 | OE | UE | ES | B) << 16)) === 0 ? 'transcendentalRange' : undefined;
}

const scratchWords = new Uint32Array(2);
const scratchFloats = new Float32Array(scratchWords.buffer);
/** Whether two approximations can be of the same value. */
function isNear(a: number, b: number): boolean {
  scratchWords[0] = a;
  scratchWords[1] = b;
  const [x, y] = scratchFloats as unknown as [number, number];
  return Number.isFinite(x) && x !== 0 && Math.abs(x - y) <= 3 * 2 ** -12 * Math.abs(x);
}

/** Whether two 80-bit reals are the same but for the last bit, or its consequence at an end of the range. */
function areNeighbours(a: Uint32Array, b: Uint32Array, at: number): boolean {
  if (((a[at + 2] as number) ^ (b[at + 2] as number)) & 0x8000) return false;
  const difference = ordered(a, at) - ordered(b, at);
  if (difference >= -1n && difference <= 1n) return true;
  return edgeOf(a, at) >= 0 && edgeOf(a, at) === edgeOf(b, at);
}
/** The magnitude of an 80-bit real as an integer in the same order. */
function ordered(r: Uint32Array, at: number): bigint {
  const exponent = BigInt((r[at + 2] as number) & 0x7fff);
  return (exponent << 63n) | (BigInt((r[at + 1] as number) & 0x7fffffff) << 32n) | BigInt(r[at] as number);
}

/** The exponents around the ends of the range, and what becomes of them where overflow or underflow is not masked. */
const ADJUSTMENT = 0x6000;
const EDGES = [
  [1, 1 + ADJUSTMENT],
  [0x7fff, 0x7fff - ADJUSTMENT],
].map((exponents) => exponents.map((exponent) => BigInt(exponent) << 63n));
/** The end of the range at which an 80-bit real is, or -1. */
function edgeOf(r: Uint32Array, at: number): number {
  const value = ordered(r, at);
  return EDGES.findIndex((edge) => edge.some((first) => value === first || value === first - 1n));
}

function fxMask(word: number): number {
  if (word === 0) return ~0;
  if (word === 1) return 0xff;
  if (word < 6 || word === FX_MXCSR_MASK) return 0;
  if (word >= FX_ST0 && word < FX_XMM0) return (word & 3) === 3 ? 0 : (word & 3) === 2 ? 0xffff : ~0;
  return ~0;
}

function compareChanges(native: Result, ours: Result, add: Add): void {
  if (native.changes.length === 0 && ours.changes.length === 0) return;
  const mine = new Map(ours.changes.map((change) => [change.offset, change.value]));
  for (const { offset, value } of native.changes) {
    if (mine.get(offset) !== value) add(`data+${offset.toString(16)}h`, value, mine.get(offset) ?? 'unchanged');
    mine.delete(offset);
  }
  for (const [offset, value] of mine) add(`data+${offset.toString(16)}h`, 'unchanged', value);
}

function words(array: Uint8Array | BigUint64Array): Uint32Array {
  return new Uint32Array(array.buffer, array.byteOffset, array.byteLength >> 2);
}

function vector(a: Uint32Array, first: number, isX87: boolean): string {
  const hex = (i: number) => ((a[first + i] as number) >>> 0).toString(16).padStart(8, '0');
  if (isX87) return `${((a[first + 2] as number) & 0xffff).toString(16).padStart(4, '0')}:${hex(1)}${hex(0)}`;
  return `${hex(3)}_${hex(2)}_${hex(1)}_${hex(0)}`;
}

function text(value: unknown): string {
  return typeof value === 'bigint' || typeof value === 'number' ? `${value.toString(16)}h` : String(value);
}

export function flagText(rflags: number): string {
  const names: readonly (readonly [string, number])[] = Object.entries(Flag);
  const set = names.filter(([name, bit]) => name !== 'IOPL' && name !== 'IF' && name !== 'RF' && rflags & bit);
  return set.map(([name]) => name).join(' ') || '-';
}

export function describe(result: Result): string {
  if (result.outcome !== 'exception') return result.outcome;
  const details = result.vector === 14 ? ` address ${result.cr2.toString(16)}h` : '';
  return `exception ${result.vector} (error code ${result.errorCode.toString(16)}h${details})`;
}
