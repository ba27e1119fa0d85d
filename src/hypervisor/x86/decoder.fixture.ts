/** Our decodings and iced-x86's, brought to one shape so that they can be compared. Only tests import this. */
import {
  Code,
  CpuidFeature,
  DecoderOptions,
  Decoder as IcedDecoder,
  type Instruction as IcedInstruction,
  Register as IcedRegister,
  MemorySizeExt,
  Mnemonic,
  OpKind,
} from 'iced-x86';
import { Mode, Segment } from '../vp/state.ts';
import type { Instruction } from './decoder.ts';
import type { OperandForm } from './form.ts';

export type Bitness = 16 | 32 | 64;

/** What both sides say of an instruction. */
export interface Description {
  readonly mnemonic: string;
  readonly length: number;
  /** Registers named by the encoding, in operand order. */
  readonly registers: readonly string[];
  /** `base+index*scale+displacement` and segment, or `` without a memory operand. */
  readonly memory: string;
  /** Bytes at the memory operand where that side knows it, else 0. */
  readonly memoryBytes: number;
  readonly immediates: readonly bigint[];
}

const NAMES = ['AX', 'CX', 'DX', 'BX', 'SP', 'BP', 'SI', 'DI'];
const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];

/** A general register as iced-x86 spells it. */
export function generalRegister(number: number, bytes: number, rex: boolean): string {
  if (bytes === 16) return `${number}`;
  if (bytes === 1) {
    if (number >= 8) return `R${number}L`;
    if (number < 4) return `${(NAMES[number] as string)[0]}L`;
    return rex ? `${NAMES[number]}L` : `${(NAMES[number - 4] as string)[0]}H`;
  }
  if (number >= 8) return `R${number}${bytes === 2 ? 'W' : bytes === 4 ? 'D' : ''}`;
  return `${bytes === 2 ? '' : bytes === 4 ? 'E' : 'R'}${NAMES[number]}`;
}

export const MODES: Readonly<Record<Bitness, number>> = {
  16: Mode.PROTECTED,
  32: Mode.PROTECTED | Mode.CODE32 | Mode.STACK32,
  64: Mode.PROTECTED | Mode.LONG | Mode.LONG64,
};

function widthBytes(o: OperandForm, i: Instruction): number {
  switch (o.width) {
    case 'b':
      return 1;
    case 'w':
      return 2;
    case 'd':
      return 4;
    case 'q':
      return 8;
    case 'v':
      return i.size;
    case 'z':
      return Math.min(i.size, 4);
    case 'y':
      return i.size === 8 ? 8 : 4;
    default:
      return 0;
  }
}

function ourRegister(o: OperandForm, i: Instruction): string {
  const general = (number: number): string => generalRegister(number, widthBytes(o, i), i.rex !== 0);
  switch (o.kind) {
    case 'G':
    case 'Z':
      return general(i.reg);
    case 'E':
    case 'R':
      return general(i.rm);
    case 'fixed':
      return generalRegister(o.register, widthBytes(o, i), false);
    case 'S':
      return SEGMENTS[i.reg & 7] ?? `S${i.reg & 7}`;
    case 'C':
      return `CR${i.reg}`;
    case 'D':
      return `DR${i.reg}`;
    case 'V':
      return `XMM${i.reg}`;
    case 'W':
    case 'U':
      return `XMM${i.rm}`;
    case 'P':
      return `MM${i.reg & 7}`;
    case 'Q':
    case 'N':
      return `MM${i.rm & 7}`;
    case 'ST':
      return `ST${i.rm & 7}`;
    default:
      return '';
  }
}

const MEMORY_KINDS = 'EMWQ';

function ourMemory(i: Instruction, moffs: boolean): string {
  const bytes = 1 << i.addressSize;
  const name = (r: number): string => (r < 0 ? '' : r === 16 ? 'RIP' : generalRegister(r, bytes, true));
  const displacement =
    moffs && bytes === 8
      ? (BigInt(i.displacementHigh >>> 0) << 32n) | BigInt(i.displacement >>> 0)
      : BigInt.asUintN(8 * bytes, BigInt(i.displacement));
  const segment = i.segment === Segment.FLAT ? 'flat' : SEGMENTS[i.segment];
  return `${segment}:${name(i.base)}+${name(i.index)}*${i.index < 0 ? 1 : 1 << i.scale}+${displacement.toString(16)}`;
}

const REPEATED = /^(MOVS|CMPS|STOS|LODS|SCAS|INS|OUTS)(B?)$/;
const BY_SIZE: Record<string, readonly [string, string, string]> = {
  CBW: ['CBW', 'CWDE', 'CDQE'],
  CWD: ['CWD', 'CDQ', 'CQO'],
  PUSHA: ['PUSHA', 'PUSHAD', ''],
  POPA: ['POPA', 'POPAD', ''],
  PUSHF: ['PUSHF', 'PUSHFD', 'PUSHFQ'],
  POPF: ['POPF', 'POPFD', 'POPFQ'],
  IRET: ['IRET', 'IRETD', 'IRETQ'],
  SYSRET: ['SYSRET', 'SYSRET', 'SYSRETQ'],
  SYSEXIT: ['SYSEXIT', 'SYSEXIT', 'SYSEXITQ'],
};
const RENAMED: Record<string, string> = { XLAT: 'XLATB', FWAIT: 'WAIT', JMPF: 'JMP', CALLF: 'CALL' };

function ourMnemonic(i: Instruction): string {
  const { mnemonic, operands } = i.form;
  const step = i.size === 2 ? 0 : i.size === 4 ? 1 : 2;
  if (REPEATED.test(mnemonic) && !operands.length) return mnemonic.endsWith('B') ? mnemonic : mnemonic + 'WDQ'[step];
  if (mnemonic === 'JRCXZ') return ['', 'JCXZ', 'JECXZ', 'JRCXZ'][i.addressSize] as string;
  const sized = BY_SIZE[mnemonic];
  if (sized) return sized[step];
  return RENAMED[mnemonic] ?? (mnemonic.split(' ')[0] as string);
}

/** Where strings, MASKMOVQ and XLAT find their memory: the segment and the width of the address register. */
function ourImplicitMemory(i: Instruction): string {
  const { mnemonic } = i.form;
  if (
    !/^(MOVS|CMPS|LODS|OUTS)B?$|^MASKMOV|^XLAT$/.test(mnemonic) ||
    (REPEATED.test(mnemonic) && i.form.operands.length)
  )
    return '';
  return `${i.segment === Segment.FLAT ? 'flat' : SEGMENTS[i.segment]}:${8 << i.addressSize}`;
}

export function describeOurs(i: Instruction, bitness: Bitness): Description {
  const { operands } = i.form;
  // PUSH ES and the like.
  const registers = i.form.mnemonic.split(' ').slice(1);
  const immediates: bigint[] = [];
  let memory = ourImplicitMemory(i);
  let memoryBytes = 0;
  const whole = (): bigint => (BigInt(i.immediateHigh) << 32n) | BigInt(i.immediate >>> 0);
  operands.forEach((o) => {
    if (o.kind === 'O') {
      memory = ourMemory(i, true);
      memoryBytes = widthBytes(o, i);
    } else if (o.kind === 'I') {
      const count = immediates.length;
      const bits =
        o.width === 'b'
          ? 8
          : o.width === 'w'
            ? 16
            : o.width === 'bs' || o.width === 'z'
              ? 8 * i.size
              : 8 * widthBytes(o, i);
      immediates.push(count === 0 ? BigInt.asUintN(bits, whole()) : BigInt(i.immediate2));
    } else if (o.kind === 'one') immediates.push(1n);
    else if (o.kind === 'J') {
      const bits = bitness === 64 ? 64 : 8 * i.size;
      immediates.push(BigInt.asUintN(bits, whole() + BigInt(i.length)));
    } else if (o.kind === 'A') immediates.push(BigInt.asUintN(8 * i.size, BigInt(i.immediate)), BigInt(i.immediate2));
    else if (MEMORY_KINDS.includes(o.kind) && i.isMemory) {
      memory = ourMemory(i, false);
      memoryBytes = o.width === 'x' || o.width === 'u' ? 16 : widthBytes(o, i);
    } else registers.push(ourRegister(o, i));
  });
  return { mnemonic: ourMnemonic(i), length: i.length, registers, memory, memoryBytes, immediates };
}

// ---- iced-x86 ------------------------------------------------------------------------------------------------------------

const mnemonicNames = new Map<number, string>();
for (const [name, value] of Object.entries(Mnemonic))
  if (typeof value === 'number') mnemonicNames.set(value, name.toUpperCase());
const registerNames = new Map<number, string>();
for (const [name, value] of Object.entries(IcedRegister)) if (typeof value === 'number') registerNames.set(value, name);
const featureNames = new Map<number, string>();
for (const [name, value] of Object.entries(CpuidFeature)) if (typeof value === 'number') featureNames.set(value, name);

export function icedMnemonic(i: IcedInstruction): string {
  return mnemonicNames.get(i.mnemonic) as string;
}
export function icedFeatures(i: IcedInstruction): string[] {
  return [...i.cpuidFeatures()].map((f) => featureNames.get(f) as string);
}

const codeNames = new Map<number, string>();
for (const [name, value] of Object.entries(Code)) if (typeof value === 'number') codeNames.set(value, name);

const memorySizes = new Map<number, number>();
function sizeOfMemory(kind: number): number {
  let bytes = memorySizes.get(kind);
  if (bytes === undefined) {
    bytes = MemorySizeExt.size(kind);
    memorySizes.set(kind, bytes);
  }
  return bytes;
}

/** 0F0D and the like do not read the bytes they name; TZCNT and LZCNT we do not have, so their prefix means nothing. */
export const ICED_OPTIONS = DecoderOptions.NoWbnoinvd | DecoderOptions.NoMPFX_0FBC | DecoderOptions.NoMPFX_0FBD;

export function describeIced(i: IcedInstruction, bitness: Bitness): Description {
  const registers: string[] = [];
  const immediates: bigint[] = [];
  let memory = '';
  let memoryBytes = 0;
  for (let n = 0; n < i.opCount; n++) {
    const kind = i.opKind(n);
    switch (kind) {
      case OpKind.Register:
        registers.push(registerNames.get(i.opRegister(n)) as string);
        break;
      case OpKind.NearBranch16:
      case OpKind.NearBranch32:
      case OpKind.NearBranch64:
        immediates.push(i.nearBranchTarget);
        break;
      case OpKind.FarBranch16:
        immediates.push(BigInt(i.farBranch16), BigInt(i.farBranchSelector));
        break;
      case OpKind.FarBranch32:
        immediates.push(BigInt(i.farBranch32), BigInt(i.farBranchSelector));
        break;
      case OpKind.Memory: {
        const name = (r: number): string => (r === IcedRegister.None ? '' : (registerNames.get(r) as string));
        const base = name(i.memoryBase);
        const index = name(i.memoryIndex);
        const bytes = addressBytes(i, bitness, base, index);
        const next = BigInt(i.length);
        const raw = base === 'RIP' || base === 'EIP' ? i.memoryDisplacement - next : i.memoryDisplacement;
        const displacement = BigInt.asUintN(8 * bytes, raw);
        if (i.mnemonic === Mnemonic.Xlatb) {
          memory = icedImplicit(i, bitness, 8 * bytes);
          break;
        }
        memory = `${icedSegment(i, bitness)}:${base === 'EIP' ? 'RIP' : base}+${index}*${index ? i.memoryIndexScale : 1}+${displacement.toString(16)}`;
        memoryBytes = sizeOfMemory(i.memorySize);
        break;
      }
      case OpKind.MemorySegSI:
      case OpKind.MemorySegDI:
        memory = icedImplicit(i, bitness, 16);
        break;
      case OpKind.MemorySegESI:
      case OpKind.MemorySegEDI:
        memory = icedImplicit(i, bitness, 32);
        break;
      case OpKind.MemorySegRSI:
      case OpKind.MemorySegRDI:
        memory = icedImplicit(i, bitness, 64);
        break;
      default:
        if (kind >= OpKind.Immediate8 && kind <= OpKind.Immediate32to64) immediates.push(immediateOf(i, n, kind));
    }
  }
  return { mnemonic: icedMnemonic(i), length: i.length, registers, memory, memoryBytes, immediates };
}

function icedSegment(i: IcedInstruction, bitness: Bitness): string {
  const segment = registerNames.get(i.memorySegment) as string;
  return bitness === 64 && segment !== 'FS' && segment !== 'GS' ? 'flat' : segment;
}
function icedImplicit(i: IcedInstruction, bitness: Bitness, bits: number): string {
  return `${icedSegment(i, bitness)}:${bits}`;
}

/** Operand size in bytes where iced-x86 has it in the name of its code only (`Enterq_imm16_imm8`, `Lgdt_m1632_16`), else 0. */
export function icedCodeSize(i: IcedInstruction): number {
  const name = codeNames.get(i.code) as string;
  if (/^[LS][GI]dt_/.test(name)) return name.endsWith('_16') ? 2 : name.endsWith('64') ? 8 : 4;
  const suffix = /^(?:Enter|Leave|Retn|Retf|Push|Pop)([wdq])(?:_[a-z]|_[C-S]S$|_imm|$)/.exec(name)?.[1];
  return suffix ? { w: 2, d: 4, q: 8 }[suffix as 'w' | 'd' | 'q'] : 0;
}

const general = new Map<string, readonly [number: number, bytes: number]>();
for (const bytes of [1, 2, 4, 8])
  for (let n = 0; n < 16; n++) for (const rex of [false, true]) general.set(generalRegister(n, bytes, rex), [n, bytes]);

/**
 * Whether the registers are the same. Where the operand is narrower than its register (the source of MOVZX, of a move to a
 * segment register), or a 32-bit result is zero-extended, iced-x86 names the wider register.
 */
export function sameRegisters(ours: readonly string[], iced: readonly string[], widened: boolean): boolean {
  const same = (a: string, b: string): boolean => {
    if (a === b) return true;
    const [x, y] = [general.get(a), general.get(b)];
    return widened && x !== undefined && y !== undefined && x[0] === y[0] && x[1] >= 2 && y[1] >= 2;
  };
  return ours.length === iced.length && ours.every((r, n) => same(r, iced[n] as string));
}

function immediateOf(i: IcedInstruction, n: number, kind: number): bigint {
  const bits: Record<number, number> = {
    [OpKind.Immediate8]: 8,
    [OpKind.Immediate8_2nd]: 8,
    [OpKind.Immediate16]: 16,
    [OpKind.Immediate32]: 32,
    [OpKind.Immediate8to16]: 16,
    [OpKind.Immediate8to32]: 32,
  };
  return BigInt.asUintN(bits[kind] ?? 64, i.immediate(n));
}

/** Bytes of the address, which iced-x86 tells by the registers, or by the size of a displacement that stands alone. */
function addressBytes(i: IcedInstruction, bitness: Bitness, base: string, index: string): number {
  const register = base || index;
  if (register) return register[0] === 'E' || /^R\d+D$/.test(register) ? 4 : register[0] === 'R' ? 8 : 2;
  return i.memoryDisplSize === 0 ? bitness / 8 : i.memoryDisplSize;
}

/** Decodes `bytes` (at least 16) at address 0 with iced-x86, and frees what that made. */
export function withIced(bytes: Uint8Array, bitness: Bitness, visit: (instruction: IcedInstruction) => void): void {
  const decoder = new IcedDecoder(bitness, bytes, ICED_OPTIONS);
  const instruction = decoder.decode();
  try {
    visit(instruction);
  } finally {
    instruction.free();
    decoder.free();
  }
}
