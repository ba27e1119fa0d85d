// What AMD's processors do otherwise than Viridian, which follows Intel's where the manuals leave a choice to the processor
// or differ from one another, though its CPUID says AuthenticAMD: what runs on both can rely on neither. Each rule says what
// the outcomes would be if both had chosen alike, and those are compared as a whole: it excuses nothing but what it changes.

import type { GeneratedCase, Piece } from './cases.ts';
import { type Excuse, KERNEL_HALF, undefinedFlags } from './compare.ts';
import type { Cell } from './forms.ts';
import {
  type Case,
  type Change,
  DATA_ADDRESS,
  DATA_SIZE,
  FX_SIZE,
  fillPattern,
  type Result,
} from './native/protocol.ts';
import {
  type Address,
  addressBits,
  addressIn,
  bytesOf,
  isCanonical,
  isInSegment,
  isWithin,
  memoryOperand,
  pointerTo,
  prefixesOf,
} from './operand.ts';

export interface Situation {
  readonly case: GeneratedCase;
  readonly native: Result;
  readonly ours: Result;
  /** Runs a case on our side. */
  readonly run: (c: Case) => Result;
  /** MXCSR bits that the native processor has. */
  readonly mxcsrMask: number;
}

/** What is to be compared instead. */
export interface Settlement {
  readonly native: Result;
  readonly ours: Result;
  /** Flags that are undefined beside the form's own. */
  readonly undefinedFlags?: number;
}

type Rule = (situation: Situation, piece: Piece) => Settlement | undefined;

const [RAX, RCX, RSP, RDI] = [0, 1, 4, 7] as const;
const Vector = { BR: 5, UD: 6, SS: 12, GP: 13, PF: 14, AC: 17 } as const;
const AC = 0x40000;
const ALL_FLAGS = undefinedFlags('CF PF AF ZF SF OF');
/** MXCSR_MASK of Viridian's processor, and where an FXSAVE image has it. */
const OUR_MXCSR_MASK = 0xffff;
const FX_MXCSR = 24;
/** "Misaligned exception mask": APM vol. 1, 4.2.2. */
const MXCSR_MM = 0x20000;
const FX_ST0 = 32;
const FX_ST1 = 48;
const FX_XMM = 160;
const [FSW_UE, FSW_ES, FSW_B] = [0x10, 0x80, 0x8000] as const;
/** Of a result that underflows unmasked: SDM vol. 1, 8.5.5. */
const EXPONENT_ADJUSTMENT = 0x6000;
const EXPONENT_OF_ONE = 0x3fff;
const FOUR_GIGABYTES = 1n << 32n;
/** CF, PF, AF, ZF, SF, OF. */
const ARITHMETIC = 0x8d5;

/** Instructions whose results may differ, and with them everything that follows. */
export function dependsOnVendor({ form, size }: Cell): boolean {
  if (/^(SHLD|SHRD)$/.test(form.mnemonic)) return size === 2;
  if (/^L[SFG]S$/.test(form.mnemonic)) return size === 8;
  return /^DPP[SD]$/.test(form.mnemonic);
}

// ---- states in between --------------------------------------------------------------------------------------------------

const completed = (r: Result): Result => ({ ...r, outcome: 'completed', vector: -1, errorCode: 0, cr2: 0n });
const withFaultOf = (r: Result, { vector, errorCode, cr2 }: Result): Result => ({ ...r, vector, errorCode, cr2 });
const isFault = (r: Result, ...vectors: readonly number[]) => r.outcome === 'exception' && vectors.includes(r.vector);

/** Whether two page faults at different addresses are of one access. Of two pages one may be there; the kernel's are. */
function isSameAccess(native: Result, ours: Result): boolean {
  const mayBeThere = native.cr2 >> 12n !== ours.cr2 >> 12n || native.cr2 >= KERNEL_HALF;
  return ((native.errorCode ^ ours.errorCode) & ~(mayBeThere ? 1 : 0)) === 0;
}

/** Our state in front of a piece. */
function before({ case: c, run }: Situation, piece: Piece): Result {
  return run({ ...c, code: c.code.subarray(0, piece.offset) });
}

/** The case with other bytes in place of a piece's last ones. */
function withEnd(c: GeneratedCase, piece: Piece, ...bytes: readonly number[]): Case {
  const code = c.code.slice();
  code.set(bytes, piece.offset + piece.length - bytes.length);
  return { ...c, code };
}

/** A piece alone, in the state in front of it. */
function alone(c: GeneratedCase, piece: Piece, state: Result, memory: readonly Change[]): Case {
  const { gprs, rflags, fx, fsBase, gsBase } = state;
  const patches = memory.map(({ offset, value }) => ({
    offset,
    bytes: new Uint8Array(BigUint64Array.of(value).buffer),
  }));
  return {
    ...c,
    code: bytesOf(c, piece),
    codeOffset: c.codeOffset + piece.offset,
    gprs,
    rflags,
    fx,
    fsBase,
    gsBase,
    patches: [...c.patches, ...patches],
  };
}

/** The data area before a case. */
function dataOf(c: Case): Uint8Array {
  const words = new Uint32Array(DATA_SIZE / 4);
  fillPattern(c.seed, words);
  const data = new Uint8Array(words.buffer);
  for (const { offset, bytes } of c.patches) data.set(bytes, offset);
  return data;
}
function dataAfter(data: Uint8Array, changes: readonly Change[]): Uint8Array {
  const after = data.slice();
  const view = new DataView(after.buffer);
  for (const { offset, value } of changes) view.setBigUint64(offset, value, true);
  return after;
}

/** The native result with our bytes at a linear address, or those that its own case had there. */
function withOurMemory({ case: c, native, ours }: Situation, start: bigint, size: number): Result {
  const data = dataOf(c);
  const mine = dataAfter(data, ours.changes);
  const theirs = dataAfter(data, native.changes);
  const from = Number(start) - DATA_ADDRESS;
  const [low, high] = [Math.max(0, from), Math.min(DATA_SIZE, from + size)];
  if (low < high) theirs.set(mine.subarray(low, high), low);
  const [then, now] = [new BigUint64Array(data.buffer), new BigUint64Array(theirs.buffer)];
  const changes: Change[] = [];
  now.forEach((value, i) => {
    if (value !== then[i]) changes.push({ offset: i * 8, value });
  });
  return { ...native, changes };
}

// ---- instructions that mean something else ------------------------------------------------------------------------------

/** LOOPE and LOOPNE with a repeat prefix: it says which of the two it is. */
const repeatedLoop: Rule = ({ case: c, native, run }, piece) => {
  const opcode = /^LOOPN?E$/.test(piece.cell.form.mnemonic) ? bytesOf(c, piece).at(-2) : undefined;
  const repeat = [...prefixesOf(c, piece)].findLast((byte) => byte === 0xf2 || byte === 0xf3);
  if (repeat === undefined || (opcode !== 0xe0 && opcode !== 0xe1)) return undefined;
  const other = withEnd(c, piece, repeat === 0xf2 ? 0xe0 : 0xe1, bytesOf(c, piece).at(-1) as number);
  return { native, ours: run(other) };
};

/** The code with the operand-size prefix of a piece made one that says nothing. */
function withoutOperandPrefix(c: GeneratedCase, piece: Piece): Uint8Array<ArrayBuffer> {
  const code = c.code.slice();
  prefixesOf(c, piece).forEach((byte, i) => {
    if (byte === 0x66) code[piece.offset + i] = 0xf2;
  });
  return code;
}

/** A far pointer has at most 48 bits: REX.W is ignored. */
const farPointer: Rule = ({ case: c, native, run }, piece) => {
  if (!/^L[SFG]S$/.test(piece.cell.form.mnemonic) || piece.cell.size !== 8) return undefined;
  // Without REX.W, an operand-size prefix would count.
  const code = withoutOperandPrefix(c, piece);
  const rex = piece.offset + prefixesOf(c, piece).length;
  code[rex] = (code[rex] as number) & ~8;
  return { native, ours: run({ ...c, code }) };
};

/** MOVSXD reads 32 bits whatever the operand size is. */
const wideSource: Rule = ({ case: c, native, run }, piece) => {
  if (piece.cell.form.mnemonic !== 'MOVSXD' || piece.cell.size !== 2 || native.outcome !== 'exception')
    return undefined;
  return { native, ours: run({ ...c, code: withoutOperandPrefix(c, piece) }) };
};

/** The opcode of PREFETCHW with a register: invalid, as UD2 in its place is. */
const prefetchRegister: Rule = ({ case: c, native, run }, piece) => {
  const { form, memory } = piece.cell;
  if (form.mnemonic !== 'NOP' || form.opcode !== 0x0d || memory || !isFault(native, Vector.UD)) return undefined;
  return { native, ours: run(withEnd(c, piece, 0x0f, 0x0b, bytesOf(c, piece).at(-1) as number)) };
};

/** LOCK in front of a move to or from CR0 makes it one to or from CR8, which a program may not do either. */
const lockedMove: Rule = ({ case: c, native, run }, piece) => {
  const { form } = piece.cell;
  const isMove = form.map === 1 && (form.opcode === 0x20 || form.opcode === 0x22);
  if (!isMove || ((bytesOf(c, piece).at(-1) as number) & 0x38) !== 0 || !isFault(native, Vector.GP)) return undefined;
  const locks = prefixesOf(c, piece).map((byte) => (byte === 0xf0 ? 0xf2 : byte));
  const code = c.code.slice();
  code.set(locks, piece.offset);
  return { native, ours: run({ ...c, code }) };
};

/** A pop into a segment register reads all of the operand, not only the selector, as a pop into another register does. */
const popSegment: Rule = ({ case: c, native, run }, piece) => {
  if (!/^POP .S$/.test(piece.cell.form.mnemonic) || !isFault(native, Vector.SS, Vector.PF, Vector.AC)) return undefined;
  const pop = piece.cell.form.map === 1 ? [0x8f, 0xc0 | RAX] : [0x58 | RAX];
  return { native, ours: run(withEnd(c, piece, ...pop)) };
};

// ---- undefined results --------------------------------------------------------------------------------------------------

/** A count beyond the operand: the operand and all flags. */
const doubleShift: Rule = (situation, piece) => {
  const { case: c, native, ours } = situation;
  if (!/^(SHLD|SHRD)$/.test(piece.cell.form.mnemonic) || piece.cell.size !== 2) return undefined;
  if (native.rip === pointerTo(c, piece)) return undefined;
  const state = before(situation, piece);
  const bytes = bytesOf(c, piece);
  const isImmediate = piece.cell.form.operands.some((operand) => operand.kind === 'I');
  const count = isImmediate ? (bytes.at(-1) as number) : Number((state.gprs[RCX] as bigint) & 0xffn);
  if ((count & 31) <= 16) return undefined;
  const operand = memoryOperand(c, piece, state);
  if (operand) return { native: withOurMemory(situation, operand.linear, 2), ours, undefinedFlags: ALL_FLAGS };
  const gprs = native.gprs.slice();
  const prefix = bytes[prefixesOf(c, piece).length] as number;
  const extension = c.mode === 64 && (prefix & 0xf1) === 0x41 ? 8 : 0;
  const index = ((bytes.at(isImmediate ? -2 : -1) as number) & 7) | extension;
  gprs[index] = ((gprs[index] as bigint) & ~0xffffn) | ((ours.gprs[index] as bigint) & 0xffffn);
  return { native: { ...native, gprs }, ours, undefinedFlags: ALL_FLAGS };
};

/** An FXSAVE image with our NaNs in lanes of XMM registers where both have one. */
export function withNansOf(ours: Uint8Array, theirs: Uint8Array, laneSize: 4 | 8): Uint8Array {
  const fx = theirs.slice();
  const quiet = laneSize === 8 ? 0x7ff8_0000 : 0x7fc0_0000;
  const isNan = (image: Uint8Array, at: number): boolean => {
    const top = new DataView(image.buffer, image.byteOffset).getUint32(at + laneSize - 4, true);
    return (top & quiet) === quiet;
  };
  for (let at = FX_XMM; at < FX_SIZE; at += laneSize)
    if (isNan(theirs, at) && isNan(ours, at)) fx.set(ours.subarray(at, at + laneSize), at);
  return fx;
}

/** Which of several NaNs comes to which lane. */
const horizontalNan: Rule = ({ case: c, native, ours }, piece) => {
  if (!/^DPP[SD]$/.test(piece.cell.form.mnemonic) || native.rip === pointerTo(c, piece)) return undefined;
  const fx = withNansOf(ours.fx, native.fx, piece.cell.form.mnemonic === 'DPPD' ? 8 : 4);
  return { native: { ...native, fx }, ours };
};

/** A denormal number by infinity, or scaled by nothing, is itself: whether it underflows where that is not masked. */
const exactUnderflow: Rule = (situation, piece) => {
  const { case: c, native, ours } = situation;
  if (!/^(FPREM1?|FSCALE)$/.test(piece.cell.form.mnemonic) || native.rip === pointerTo(c, piece)) return undefined;
  const view = (fx: Uint8Array) => new DataView(fx.buffer, fx.byteOffset);
  const [then, theirs, mine] = [before(situation, piece).fx, native.fx, ours.fx].map(view) as [
    DataView,
    DataView,
    DataView,
  ];
  const dividend = then.getBigUint64(FX_ST0, true);
  const exponent1 = then.getUint16(FX_ST1 + 8, true) & 0x7fff;
  const isInfinity = exponent1 === 0x7fff && then.getBigUint64(FX_ST1, true) === 1n << 63n;
  const isItself = piece.cell.form.mnemonic === 'FSCALE' ? exponent1 < EXPONENT_OF_ONE : isInfinity;
  const isDenormal = (then.getUint16(FX_ST0 + 8, true) & 0x7fff) === 0 && dividend !== 0n;
  if (!isItself || !isDenormal || (then.getUint16(0, true) & FSW_UE) !== 0) return undefined;
  const shift = 64 - dividend.toString(2).length;
  const exponent = 1 - shift + EXPONENT_ADJUSTMENT;
  const isAdjusted =
    theirs.getBigUint64(FX_ST0, true) === dividend << BigInt(shift) &&
    (theirs.getUint16(FX_ST0 + 8, true) & 0x7fff) === exponent;
  const status = theirs.getUint16(2, true) ^ mine.getUint16(2, true);
  if (!isAdjusted || status !== (FSW_UE | FSW_ES | FSW_B)) return undefined;
  const fx = native.fx.slice();
  fx.set(ours.fx.subarray(2, 4), 2);
  fx.set(ours.fx.subarray(FX_ST0, FX_ST0 + 8), FX_ST0);
  // All but the sign.
  fx[FX_ST0 + 8] = ours.fx[FX_ST0 + 8] as number;
  fx[FX_ST0 + 9] = ((fx[FX_ST0 + 9] as number) & 0x80) | ((ours.fx[FX_ST0 + 9] as number) & 0x7f);
  return { native: { ...native, fx }, ours };
};

/** MXCSR_MASK in an image that was stored. */
const mxcsrMask: Rule = ({ case: c, native, ours, mxcsrMask: mask }, piece) => {
  if (!/^F?XSAVE/.test(piece.cell.form.mnemonic) || native.rip === pointerTo(c, piece)) return undefined;
  const operand = memoryOperand(c, piece, native);
  const changes = native.changes.map(({ offset, value }) => {
    const isMask = BigInt(DATA_ADDRESS + offset) === (operand?.linear ?? 0n) + BigInt(FX_MXCSR);
    if (!isMask || value >> 32n !== BigInt(mask)) return { offset, value };
    return { offset, value: (value & 0xffff_ffffn) | (BigInt(OUR_MXCSR_MASK) << 32n) };
  });
  return { native: { ...native, changes }, ours };
};

/** A bit of MXCSR that Viridian's processor has not: the case without it. */
const misalignedMask: Rule = (situation) => {
  const { case: c, native, ours, run, mxcsrMask: mask } = situation;
  const piece = c.pieces.find((p) => pointerTo(c, p) === ours.rip);
  const { mnemonic } = piece?.cell.form ?? {};
  if (!piece || !mnemonic || !/^(LDMXCSR|F?XRSTOR(64)?)$/.test(mnemonic) || !isFault(ours, Vector.GP)) return undefined;
  const operand = memoryOperand(c, piece, ours);
  const at = Number(operand?.linear ?? 0n) - DATA_ADDRESS + (mnemonic === 'LDMXCSR' ? 0 : FX_MXCSR);
  if (at < 0 || at + 4 > DATA_SIZE) return undefined;
  const data = dataAfter(dataOf(c), ours.changes);
  const value = new DataView(data.buffer).getUint32(at, true);
  if ((value & ~OUR_MXCSR_MASK) !== MXCSR_MM || (mask & MXCSR_MM) === 0) return undefined;
  const bytes = Uint8Array.of((value >>> 16) & ~(MXCSR_MM >>> 16));
  const fx = native.fx.slice();
  fx[FX_MXCSR + 2] = (fx[FX_MXCSR + 2] as number) & ~(MXCSR_MM >>> 16);
  return { native: { ...native, fx }, ours: run({ ...c, patches: [...c.patches, { offset: at + 2, bytes }] }) };
};

// ---- which fault it is, and what it leaves ------------------------------------------------------------------------------

/** An alignment check of 16 bytes that need not be aligned. */
const unalignedVector: Rule = (situation, piece) => {
  const { case: c, native } = situation;
  if (!/^(MOVUP[SD]|MOVDQU|LDDQU|PCMP[EI]STR[IM](64)?)$/.test(piece.cell.form.mnemonic)) return undefined;
  if (!isFault(native, Vector.AC) || (native.rflags & AC) === 0) return undefined;
  const operand = memoryOperand(c, piece, native);
  if (!operand || (operand.linear & 15n) === 0n || native.errorCode !== 0) return undefined;
  return { native: completed(native), ours: before(situation, piece) };
};

/** Stores of the x87: whether the memory can be written is found before an exception that is not masked. */
const realStore: Rule = (situation, piece) => {
  const { case: c, native, run } = situation;
  if (!piece.cell.memory || !/^(FI?STT?P?|FBSTP)$/.test(piece.cell.form.mnemonic)) return undefined;
  if (!isFault(native, Vector.SS, Vector.GP, Vector.PF, Vector.AC)) return undefined;
  const state = before(situation, piece);
  const masked = (fx: Uint8Array): Uint8Array => fx.with(0, (fx[0] as number) | 0x3f);
  let ours = run(alone(c, piece, { ...state, fx: masked(state.fx) }, state.changes));
  // A segment that was loaded before is not in a case.
  const isMoved = state.segments.some((selector, i) => selector !== ours.segments[i]);
  if (isMoved) ours = run({ ...c, fx: masked(c.fx) });
  if (ours.outcome !== 'exception') return undefined;
  const { changes } = isMoved ? ours : state;
  const settled = { native, ours: { ...ours, fx: ours.fx.with(0, state.fx[0] as number), changes } };
  return segmentEnd({ ...situation, ours: settled.ours }, piece) ?? settled;
};

/** BOUND reads both bounds before it looks at one. */
const secondBound: Rule = ({ case: c, native, ours }, piece) => {
  if (piece.cell.form.mnemonic !== 'BOUND' || !isFault(native, Vector.PF) || !isFault(ours, Vector.BR))
    return undefined;
  const { size } = piece.cell;
  const operand = memoryOperand(c, piece, native);
  if (!operand || !isWithin(c, native.cr2, operand.linear + BigInt(size), size)) return undefined;
  return { native: withFaultOf(native, ours), ours };
};

/** An access across the end of a flat segment. */
const segmentEnd: Rule = ({ case: c, native, ours }) => {
  if (c.mode === 64 || !isFault(native, Vector.SS, Vector.GP) || native.errorCode !== 0) return undefined;
  if (!isFault(ours, Vector.PF) || !isWithin(c, ours.cr2, FOUR_GIGABYTES - 16n, 16)) return undefined;
  return { native: withFaultOf(native, ours), ours };
};

/** With a base, the offset has to be canonical as well. */
const canonicalOffset: Rule = ({ case: c, native, ours }, piece) => {
  if (c.mode !== 64 || !isFault(native, Vector.GP) || native.errorCode !== 0 || !isFault(ours, Vector.PF))
    return undefined;
  const operand = memoryOperand(c, piece, native);
  if (!operand || operand.offset === operand.linear) return undefined;
  if (isCanonical(operand.offset)) return undefined;
  return { native: withFaultOf(native, ours), ours };
};

interface Area extends Address {
  readonly size: number;
  readonly alignment: bigint;
}
const AREAS: readonly (readonly [RegExp, number, bigint])[] = [
  [/^FX(SAVE|RSTOR)/, 512, 16n],
  [/^X(SAVE|RSTOR)/, 576, 64n],
  [/^MASKMOVDQU$/, 16, 1n],
];
function areaOf(c: GeneratedCase, piece: Piece, registers: Result): Area | undefined {
  const [, size, alignment] = AREAS.find(([pattern]) => pattern.test(piece.cell.form.mnemonic)) ?? [];
  if (size === undefined || alignment === undefined) return undefined;
  const address = memoryOperand(c, piece, registers);
  return address && { ...address, size, alignment };
}

/** Of a long operand that faults for more than one reason, or in more than one page: which of them is told. */
const areaFault: Rule = ({ case: c, native, ours }, piece) => {
  const area = areaOf(c, piece, native);
  if (!area || native.outcome !== 'exception' || ours.outcome !== 'exception') return undefined;
  const isOutside = !isInSegment(c, area, area.size);
  const isPossible = (r: Result): boolean => {
    if (r.vector === Vector.PF) return isWithin(c, r.cr2, area.linear, area.size, addressBits(c, piece) === 32);
    if (r.vector !== Vector.GP && r.vector !== Vector.SS) return false;
    // An XRSTOR header may be invalid, too.
    const isInvalid = area.linear % area.alignment !== 0n || /^XRSTOR/.test(piece.cell.form.mnemonic);
    return r.errorCode === 0 && (isOutside || (r.vector === Vector.GP && isInvalid));
  };
  if (!isPossible(native) || !isPossible(ours)) return undefined;
  if (native.vector === Vector.PF && ours.vector === Vector.PF && !isSameAccess(native, ours)) return undefined;
  return { native: withFaultOf(native, ours), ours };
};

/** XSAVE and XRSTOR: whether parts of the image that are not asked for have to be there. */
const unusedPart: Rule = (situation, piece) => {
  const { case: c, native } = situation;
  const area = /^X(SAVE|RSTOR)/.test(piece.cell.form.mnemonic) ? areaOf(c, piece, native) : undefined;
  if (!area || !isFault(native, Vector.PF) || !isWithin(c, native.cr2, area.linear, area.size)) return undefined;
  if (((native.gprs[RAX] as bigint) & 3n) === 3n) return undefined;
  return { native: completed(native), ours: before(situation, piece) };
};

/** Which of two strings is read first, where neither can be. */
const stringOrder: Rule = ({ case: c, native, ours }, piece) => {
  const { form, size } = piece.cell;
  if (!/^CMPS/.test(form.mnemonic) || native.outcome !== 'exception' || ours.outcome !== 'exception') return undefined;
  const pointer = BigInt.asUintN(addressBits(c, piece), native.gprs[RDI] as bigint);
  const source = memoryOperand(c, piece, native);
  const destination = addressIn(c, 'ES', pointer, native);
  const isOf = (r: Result, address: Address): boolean => {
    if (r.vector === Vector.PF) return isWithin(c, r.cr2, address.linear, size);
    return isFault(r, Vector.SS, Vector.GP) && r.errorCode === 0 && !isInSegment(c, address, size);
  };
  if (!source || !isOf(native, source) || !isOf(ours, destination)) return undefined;
  if (native.vector === Vector.PF && ours.vector === Vector.PF && !isSameAccess(native, ours)) return undefined;
  return { native: withFaultOf(native, ours), ours };
};

/**
 * Repeated CMPS and SCAS that fault have the flags of a comparison, not those from before: mostly of the last element, but the
 * processor may have begun on more than it retired.
 */
const repeatedFlags: Rule = ({ native, ours }, piece) => {
  const { form, repeat } = piece.cell;
  if (!/^(CMPS|SCAS)/.test(form.mnemonic) || repeat === 'none' || native.outcome !== 'exception') return undefined;
  return { native, ours: { ...ours, rflags: (ours.rflags & ~ARITHMETIC) | (native.rflags & ARITHMETIC) } };
};

/** A store that faults after all, or behind its first page: whether what precedes the fault is written. */
const partialStore: Rule = (situation, piece) => {
  const { case: c, native, ours } = situation;
  if (native.outcome !== 'exception' || ours.outcome !== 'exception') return undefined;
  const { form, size, memory } = piece.cell;
  if (form.mnemonic === 'CALL') {
    const stack = BigInt.asUintN(c.mode, (native.gprs[RSP] as bigint) - BigInt(size));
    return { native: withOurMemory(situation, addressIn(c, 'SS', stack, native).linear, size), ours };
  }
  const isReal = form.mnemonic === 'FBSTP' || (form.mnemonic === 'FSTP' && form.opcode === 0xdb);
  const operand = isReal && memory ? memoryOperand(c, piece, native) : undefined;
  return operand && { native: withOurMemory(situation, operand.linear, 10), ours };
};

/** Rules by the name of what they excuse. */
const RULES: readonly (readonly [Excuse, Rule])[] = [
  ['repeatedLoop', repeatedLoop],
  ['farPointer', farPointer],
  ['wideSource', wideSource],
  ['prefetchRegister', prefetchRegister],
  ['lockedMove', lockedMove],
  ['popSegment', popSegment],
  ['doubleShift', doubleShift],
  ['horizontalNan', horizontalNan],
  ['exactUnderflow', exactUnderflow],
  ['mxcsrMask', mxcsrMask],
  ['misalignedMask', misalignedMask],
  ['unalignedVector', unalignedVector],
  ['realStore', realStore],
  ['secondBound', secondBound],
  ['segmentEnd', segmentEnd],
  ['canonicalOffset', canonicalOffset],
  ['areaFault', areaFault],
  ['unusedPart', unusedPart],
  ['stringOrder', stringOrder],
  ['repeatedFlags', repeatedFlags],
  ['partialStore', partialStore],
];

/** What a difference may be excused with, and what must then be the same. The piece that counts: one that faulted, or the last. */
export function* settlements(situation: Situation): Generator<readonly [Excuse, Settlement]> {
  const { case: c, native } = situation;
  const piece = c.pieces.find((p) => pointerTo(c, p) === native.rip) ?? c.pieces.at(-1);
  if (!piece) return;
  for (const [excuse, rule] of RULES) {
    const settlement = rule(situation, piece);
    if (settlement) yield [excuse, settlement];
  }
}
