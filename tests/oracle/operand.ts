// Where an instruction's memory operand lies, from its bytes and the registers: for excuses that hold for an access alone.

import { createRequire } from 'node:module';
import type { GeneratedCase, Piece } from './cases.ts';
import { CODE_ADDRESS, DATA_ADDRESS, FS_BASE, GS_BASE, type Mode, type Result } from './native/protocol.ts';

const { Decoder, DecoderOptions, Register } = createRequire(import.meta.url)('iced-x86') as typeof import('iced-x86');

/** Limit of the data segments in 16-bit mode: see protocol.ts. */
const SHORT_LIMIT = 0x3fffn;

/** What an address is computed from: a state in front of the instruction, as one that faulted leaves it. */
export type Registers = Pick<Result, 'gprs' | 'fsBase' | 'gsBase'>;

export interface Address {
  readonly segment: SegmentName;
  readonly offset: bigint;
  readonly linear: bigint;
}

type SegmentName = 'ES' | 'CS' | 'SS' | 'DS' | 'FS' | 'GS';
const SEGMENT_OVERRIDES: Readonly<Record<number, SegmentName>> = {
  38: 'ES',
  46: 'CS',
  54: 'SS',
  62: 'DS',
  100: 'FS',
  101: 'GS',
};

export function bytesOf(c: GeneratedCase, piece: Piece): Uint8Array {
  return c.code.subarray(piece.offset, piece.offset + piece.length);
}

/** The instruction pointer at a piece: in 16-bit mode an offset. */
export function pointerTo(c: GeneratedCase, piece: Piece): bigint {
  return BigInt((c.mode === 16 ? 0 : CODE_ADDRESS) + c.codeOffset + piece.offset);
}

/** Legacy prefixes: what stands before REX and the opcode. */
export function prefixesOf(c: GeneratedCase, piece: Piece): Uint8Array {
  const bytes = bytesOf(c, piece);
  const isPrefix = (byte: number) => byte in SEGMENT_OVERRIDES || [0x66, 0x67, 0xf0, 0xf2, 0xf3].includes(byte);
  const end = bytes.findIndex((byte) => !isPrefix(byte));
  return end < 0 ? bytes : bytes.subarray(0, end);
}

export function addressBits(c: GeneratedCase, piece: Piece): Mode {
  const overridden = prefixesOf(c, piece).includes(0x67);
  if (c.mode === 64) return overridden ? 32 : 64;
  return (c.mode === 16) === overridden ? 32 : 16;
}

/** The segment of an operand that has DS without a prefix. In 64-bit mode only FS and GS count: SDM vol. 1, 3.3.7.1. */
export function dataSegment(c: GeneratedCase, piece: Piece): SegmentName {
  const names = [...prefixesOf(c, piece)].map((byte) => SEGMENT_OVERRIDES[byte]);
  const isUsed = (name: SegmentName | undefined) => name && (c.mode !== 64 || name === 'FS' || name === 'GS');
  return names.findLast(isUsed) ?? 'DS';
}

export function addressIn(c: GeneratedCase, segment: SegmentName, offset: bigint, registers: Registers): Address {
  const { fsBase, gsBase } = registers;
  if (c.mode === 64) {
    const base = segment === 'FS' ? fsBase : segment === 'GS' ? gsBase : 0n;
    return { segment, offset, linear: BigInt.asUintN(64, base + offset) };
  }
  const flat = c.mode === 32 ? 0 : segment === 'CS' ? CODE_ADDRESS : DATA_ADDRESS;
  const base = segment === 'FS' ? FS_BASE : segment === 'GS' ? GS_BASE : flat;
  return { segment, offset, linear: BigInt.asUintN(32, BigInt(base) + offset) };
}

const [RAX, RBX, RSI, RDI] = [0, 3, 6, 7] as const;

/** Where an operand lies that has no address in the encoding, of those that a segment override counts for. */
function implicitOperand(piece: Piece, { gprs }: Registers): bigint | undefined {
  const { mnemonic } = piece.cell.form;
  const register = (number: number) => gprs[number] as bigint;
  if (/^(MOVS|CMPS|LODS|OUTS)[BDWQ]?$/.test(mnemonic) && !piece.cell.form.hasModrm) return register(RSI);
  if (mnemonic === 'XLAT') return register(RBX) + (register(RAX) & 0xffn);
  return /^MASKMOV/.test(mnemonic) ? register(RDI) : undefined;
}

/** The memory operand that can have a segment override; undefined where there is none. */
export function memoryOperand(c: GeneratedCase, piece: Piece, registers: Registers): Address | undefined {
  const implicit = implicitOperand(piece, registers);
  if (implicit !== undefined)
    return addressIn(c, dataSegment(c, piece), BigInt.asUintN(addressBits(c, piece), implicit), registers);
  if (!piece.cell.memory && !piece.cell.form.operands.some((operand) => operand.kind === 'O')) return undefined;
  const decoder = new Decoder(c.mode, bytesOf(c, piece), DecoderOptions.None);
  decoder.ip = pointerTo(c, piece);
  const instruction = decoder.decode();
  const register = (number: number): bigint => {
    for (const first of [Register.AX, Register.EAX, Register.RAX])
      if (number >= first && number < first + 16) return registers.gprs[number - first] as bigint;
    return 0n;
  };
  const { memoryBase, memoryIndex, memoryIndexScale, memoryDisplacement } = instruction;
  const sum = register(memoryBase) + register(memoryIndex) * BigInt(memoryIndexScale) + memoryDisplacement;
  const offset = instruction.isIpRelMemoryOperand ? instruction.ipRelMemoryAddress : sum;
  const segment = Register[instruction.memorySegment] as SegmentName;
  for (const object of [instruction, decoder]) object.free();
  return addressIn(c, segment, BigInt.asUintN(addressBits(c, piece), offset), registers);
}

export function isCanonical(address: bigint): boolean {
  return BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;
}

/** Whether an operand lies in its segment, and all of it at canonical addresses. */
export function isInSegment(c: GeneratedCase, { segment, offset, linear }: Address, size: number): boolean {
  const last = BigInt(size - 1);
  if (c.mode === 64) return isCanonical(linear) && isCanonical(linear + last);
  const isShort = c.mode === 16 && segment !== 'FS' && segment !== 'GS';
  return offset + last <= (isShort ? SHORT_LIMIT : 0xffff_ffffn);
}

/** Whether an address is one of an operand's bytes; an operand may go round the end of the address space, or of 4 GB. */
export function isWithin(c: GeneratedCase, address: bigint, start: bigint, size: number, isNarrow = false): boolean {
  return BigInt.asUintN(c.mode === 64 && !isNarrow ? 64 : 32, address - start) < BigInt(size);
}
