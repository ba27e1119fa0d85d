// The shapes that cross the pipe to the native processor: cases (what to run) and results (what came of it), and their
// encoding. The layouts are those of layout.inc.

/** The case's code lies in two pages (read and execute only), filled with INT3, unmapped pages around them. */
export const CODE_ADDRESS = 0x10000000;
export const CODE_SIZE = 0x2000;

/** The data area: two pages to read and write, then one that is only read; unmapped pages around them. Never executable. */
export const DATA_ADDRESS = 0x20000000;
export const DATA_SIZE = 0x3000;
export const DATA_WRITABLE_SIZE = 0x2000;

/** FS and GS base outside 64-bit mode, where descriptors hold them. In 64-bit mode a case may choose others. */
export const FS_BASE = DATA_ADDRESS + 0x800;
export const GS_BASE = DATA_ADDRESS + 0x1000;

/** Bytes of an FXSAVE image that count; the remaining 96 are reserved or left to software. */
export const FX_SIZE = 416;

/** Most bytes of code in a case. */
export const CODE_LIMIT = 256;

/** RFLAGS bits that a case chooses: CF PF AF ZF SF TF DF OF NT AC ID. Bit 1 and IF are always set, the others clear. */
export const RFLAGS_CHOICE = 0x244dd5;
const TF = 0x100;

/**
 * - `64`: 64-bit mode, flat.
 * - `32`: compatibility mode: CS flat 32-bit, SS = DS = ES flat, FS and GS at FS_BASE and GS_BASE.
 * - `16`: compatibility mode: CS 16-bit at CODE_ADDRESS, SS = DS = ES 16-bit at DATA_ADDRESS with limit 3FFFh (the last
 *   page inside the limit is not mapped), FS and GS as for 32. Bits 31:16 of ESP start undefined here: the processor
 *   does not load them from an IRETQ frame for a 16-bit stack.
 */
export type Mode = 64 | 32 | 16;

/** Bytes stored over the seed's pattern in the data area before the case. */
export interface Patch {
  /** Bytes from DATA_ADDRESS. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface Case {
  readonly mode: Mode;
  /**
   * How the case ends. `breakpoint`: when it reaches the INT3 filler, which stands behind the code and all through the
   * code pages. `step`: after one instruction, by TF (a REP instruction: after one iteration; a load of SS: one later;
   * PUSHF and the like see TF set).
   */
  readonly end: 'breakpoint' | 'step';
  /** At most CODE_LIMIT bytes. */
  readonly code: Uint8Array;
  /** Bytes from CODE_ADDRESS to the first instruction. 2000h - length puts the code against the unmapped page. */
  readonly codeOffset: number;
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8..R15 (encoding order). RSP may hold anything. */
  readonly gprs: BigUint64Array;
  /** Low 32 bits of RFLAGS; see RFLAGS_CHOICE. With AC the host checks alignment (CR0.AM is set under Linux). */
  readonly rflags: number;
  /** FXSAVE image, 64-bit format, at least FX_SIZE bytes. Reserved MXCSR bits make the outcome `refused`. */
  readonly fx: Uint8Array;
  /** In 64-bit mode only; a base that is not canonical makes the outcome `refused`. */
  readonly fsBase: bigint;
  readonly gsBase: bigint;
  /** Seed (u32) of the data area's pattern, see `fillPattern`. Runs of cases with one seed are quicker. */
  readonly seed: number;
  readonly patches: readonly Patch[];
}

/**
 * - `completed`: reached the filler (breakpoint) or did its one instruction (step).
 * - `exception`: an exception of the processor, see vector, errorCode, cr2.
 * - `syscall`: a system call (SYSCALL, INT 80h) was tried; nothing was done. RAX, RCX and R11 are the kernel's.
 * - `timeout`: 20 to 30 ms of processor time did not end it; the state is where it was caught.
 * - `refused`: the first state cannot be loaded (reserved MXCSR bit, base not canonical, ...); no state.
 * - `killed`: it ended the process; no state, `cause` says how.
 */
export type Outcome = 'completed' | 'exception' | 'syscall' | 'timeout' | 'refused' | 'killed';

export interface Change {
  /** Bytes from DATA_ADDRESS, a multiple of 8. */
  readonly offset: number;
  /** The 8 bytes there afterwards. */
  readonly value: bigint;
}

export interface Result {
  readonly outcome: Outcome;
  /** Exception vector (0 #DE, 1 #DB, 3 #BP, 6 #UD, 13 #GP, 14 #PF, 16 #MF, 17 #AC, 19 #XM ...); -1 without exception. */
  readonly vector: number;
  /** The processor's error code; 0 where the vector has none. */
  readonly errorCode: number;
  /** Linear address of a #PF, else 0. */
  readonly cr2: bigint;
  /** The signal the kernel made of it (Linux number), 0 for none. */
  readonly signal: number;
  /** Next instruction; for a completed case the filler's own address; for a fault the instruction that faulted. In 16-bit mode: IP. */
  readonly rip: bigint;
  /** As saved by the exception: RF is set by faults. TF is taken out of a case that ended by `step`. */
  readonly rflags: number;
  readonly gprs: BigUint64Array;
  /** FX_SIZE bytes. */
  readonly fx: Uint8Array;
  readonly fsBase: bigint;
  readonly gsBase: bigint;
  /** Selectors: ES CS SS DS FS GS (encoding order). */
  readonly segments: Uint16Array;
  /** Words of the data area that differ from what the case began with, by address. */
  readonly changes: readonly Change[];
  /** For `killed`: the signal or exit status of the process. */
  readonly cause: string;
}

/** The data area's contents for a seed: xorshift32, one step for each dword; seed 0 gives zeros. */
export function fillPattern(seed: number, words: Uint32Array): void {
  let x = seed | 0;
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
}

const CASE = {
  length: 0,
  mode: 4,
  codeOffset: 6,
  codeSize: 8,
  patches: 10,
  seed: 12,
  rflags: 16,
  fsBase: 24,
  gsBase: 32,
  gprs: 40,
  fx: 168,
  code: 584,
} as const;

const RESULT = {
  length: 0,
  outcome: 4,
  signal: 5,
  changes: 6,
  vector: 8,
  error: 12,
  cr2: 16,
  rip: 24,
  rflags: 32,
  fsBase: 40,
  gsBase: 48,
  segments: 56,
  gprs: 72,
  fx: 200,
  words: 616,
} as const;

const MODE_CODES = { 64: 0, 32: 1, 16: 2 } as const;
const OUTCOMES = ['exception', 'timeout', 'syscall', 'refused'] as const;
const LARGEST_CASE = 0x8000;
const VECTORS_WITH_ERROR_CODE = new Set([8, 10, 11, 12, 13, 14, 17]);
const NO_CHANGES: readonly Change[] = [];

function align8(n: number): number {
  return (n + 7) & ~7;
}

function encodedSize(c: Case): number {
  let size = CASE.code + align8(c.code.length);
  for (const patch of c.patches) size += 8 + align8(patch.bytes.length);
  return size;
}

function check(c: Case, size: number): void {
  const complain = (what: string): never => {
    throw new RangeError(`native case: ${what}`);
  };
  if (c.code.length > CODE_LIMIT) complain(`${c.code.length} bytes of code, at most ${CODE_LIMIT} are possible`);
  if (c.codeOffset < 0 || c.codeOffset + c.code.length > CODE_SIZE) complain('the code leaves the code pages');
  if (c.fx.length < FX_SIZE) complain(`fx has ${c.fx.length} bytes, ${FX_SIZE} are needed`);
  if (c.gprs.length !== 16) complain(`gprs has ${c.gprs.length} registers, 16 are needed`);
  for (const { offset, bytes } of c.patches) {
    if (offset < 0 || offset + bytes.length > DATA_SIZE) complain('a patch leaves the data area');
  }
  if (size > LARGEST_CASE) complain(`${size} bytes encoded, at most ${LARGEST_CASE} are possible`);
}

/** Cases `from` to `to` as one message. */
export function encodeCases(cases: readonly Case[], from: number, to: number): Uint8Array {
  let total = 0;
  for (let i = from; i < to; i++) {
    const c = cases[i] as Case;
    const size = encodedSize(c);
    check(c, size);
    total += size;
  }
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  const words = new BigUint64Array(bytes.buffer);
  let at = 0;
  for (let i = from; i < to; i++) at = encodeCase(cases[i] as Case, at, bytes, view, words);
  return bytes;
}

function encodeCase(c: Case, at: number, bytes: Uint8Array, view: DataView, words: BigUint64Array): number {
  view.setUint8(at + CASE.mode, MODE_CODES[c.mode]);
  view.setUint16(at + CASE.codeOffset, c.codeOffset, true);
  view.setUint16(at + CASE.codeSize, c.code.length, true);
  view.setUint16(at + CASE.patches, c.patches.length, true);
  view.setUint32(at + CASE.seed, c.seed, true);
  view.setUint32(at + CASE.rflags, c.end === 'step' ? c.rflags | TF : c.rflags, true);
  words[(at + CASE.fsBase) >> 3] = c.fsBase;
  words[(at + CASE.gsBase) >> 3] = c.gsBase;
  words.set(c.gprs, (at + CASE.gprs) >> 3);
  bytes.set(c.fx.length === FX_SIZE ? c.fx : c.fx.subarray(0, FX_SIZE), at + CASE.fx);
  bytes.set(c.code, at + CASE.code);
  let end = at + CASE.code + align8(c.code.length);
  for (const patch of c.patches) {
    view.setUint32(end, patch.offset, true);
    view.setUint32(end + 4, patch.bytes.length, true);
    bytes.set(patch.bytes, end + 8);
    end += 8 + align8(patch.bytes.length);
  }
  view.setUint32(at + CASE.length, end - at, true);
  return end;
}

/** Length of the result that begins at `at`, or 0 while it is not complete. */
export function resultLength(view: DataView, at: number): number {
  if (at + 8 > view.byteLength) return 0;
  const length = view.getUint32(at, true);
  return at + length > view.byteLength ? 0 : length;
}

/** The result at `at`, a multiple of 8. Its arrays are views of `view.buffer`, which must not change afterwards. */
export function decodeResult(view: DataView, at: number, c: Case): Result {
  const { buffer } = view;
  const raw = OUTCOMES[view.getUint8(at + RESULT.outcome)] ?? 'exception';
  const trap = raw === 'exception' ? view.getUint32(at + RESULT.vector, true) : -1;
  let rip = view.getBigUint64(at + RESULT.rip, true);
  let rflags = view.getUint32(at + RESULT.rflags, true);
  let outcome: Outcome = raw;
  if (trap === 3 && c.end === 'breakpoint' && !isInside(c, rip - 1n)) {
    outcome = 'completed';
    rip -= 1n;
  } else if (trap === 1 && c.end === 'step') {
    outcome = 'completed';
  }
  if (c.end === 'step') rflags &= ~TF;
  const vector = outcome === 'exception' ? trap : -1;
  const cr2 = vector === 14 ? view.getBigUint64(at + RESULT.cr2, true) : 0n;
  let errorCode = VECTORS_WITH_ERROR_CODE.has(vector) ? view.getUint32(at + RESULT.error, true) : 0;
  // The kernel maps pages on demand, so P may be clear for a page of ours; a fault that became a signal there is always
  // a protection violation.
  if (vector === 14 && isMapped(cr2)) errorCode |= 1;
  return {
    outcome,
    vector,
    errorCode,
    cr2,
    signal: outcome === 'completed' ? 0 : view.getUint8(at + RESULT.signal),
    rip,
    rflags,
    gprs: new BigUint64Array(buffer, at + RESULT.gprs, 16),
    fx: new Uint8Array(buffer, at + RESULT.fx, FX_SIZE),
    fsBase: view.getBigUint64(at + RESULT.fsBase, true),
    gsBase: view.getBigUint64(at + RESULT.gsBase, true),
    segments: new Uint16Array(buffer, at + RESULT.segments, 6),
    changes: decodeChanges(view, at),
    cause: '',
  };
}

function isMapped(address: bigint): boolean {
  const linear = Number(address);
  const within = (start: number, size: number) => linear >= start && linear < start + size;
  return within(CODE_ADDRESS, CODE_SIZE) || within(DATA_ADDRESS, DATA_SIZE);
}

/** Whether a breakpoint at `rip` is the case's own INT3 and not the filler around it. */
function isInside(c: Case, rip: bigint): boolean {
  const offset = Number(rip) - (c.mode === 16 ? 0 : CODE_ADDRESS);
  return offset >= c.codeOffset && offset < c.codeOffset + c.code.length;
}

function decodeChanges(view: DataView, at: number): readonly Change[] {
  const count = view.getUint16(at + RESULT.changes, true);
  if (count === 0) return NO_CHANGES;
  const changes: Change[] = [];
  for (let i = 0; i < count; i++) {
    const word = at + RESULT.words + i * 16;
    changes.push({ offset: view.getUint32(word, true), value: view.getBigUint64(word + 8, true) });
  }
  return changes;
}

/** The result of a case that ended the process. */
export function killedResult(cause: string): Result {
  return {
    outcome: 'killed',
    vector: -1,
    errorCode: 0,
    cr2: 0n,
    signal: 0,
    rip: 0n,
    rflags: 0,
    gprs: new BigUint64Array(16),
    fx: new Uint8Array(FX_SIZE),
    fsBase: 0n,
    gsBase: 0n,
    segments: new Uint16Array(6),
    changes: NO_CHANGES,
    cause,
  };
}
