/** Our decodings and iced-x86's, brought to one shape so that they can be compared. Only tests import this. */
import {
  CpuidFeature, Decoder as IcedDecoder, DecoderOptions, type Instruction as IcedInstruction, MemorySizeExt, Mnemonic, OpKind,
  Register as IcedRegister,
} from 'iced-x86';
import { Mode, Segment } from '../vp/state.ts';
import type { Decoder, Instruction } from './decoder.ts';
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
  /** Bytes at the memory operand where both sides know it, else 0. */
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
    case 'b': return 1;
    case 'w': return 2;
    case 'd': return 4;
    case 'q': return 8;
    case 'v': return i.size;
    case 'z': return Math.min(i.size, 4);
    case 'y': return i.size === 8 ? 8 : 4;
    default: return 0;
  }
}

function ourRegister(o: OperandForm, i: Instruction): string {
  const general = (number: number): string => generalRegister(number, widthBytes(o, i), i.rex !== 0);
  switch (o.kind) {
    case 'G': case 'Z': return general(i.reg);
    case 'E': case 'R': return general(i.rm);
    case 'fixed': return generalRegister(o.register, widthBytes(o, i), false);
    case 'S': return SEGMENTS[i.reg & 7] ?? `S${i.reg & 7}`;
    case 'C': return `CR${i.reg}`;
    case 'D': return `DR${i.reg}`;
    case 'V': return `XMM${i.reg}`;
    case 'W': case 'U': return `XMM${i.rm}`;
    case 'P': return `MM${i.reg & 7}`;
    case 'Q': case 'N': return `MM${i.rm & 7}`;
    case 'ST': return `ST${i.rm & 7}`;
    default: return '';
  }
}

const MEMORY_KINDS = 'EMWQ';

function ourMemory(i: Instruction, moffs: boolean): string {
  const bytes = 1 << i.addressSize;
  const name = (r: number): string => (r < 0 ? '' : r === 16 ? 'RIP' : generalRegister(r, bytes, true));
  const displacement = moffs && bytes === 8
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
  const { mnemonic, encoding, operands } = i.form;
  const step = i.size === 2 ? 0 : i.size === 4 ? 1 : 2;
  if (REPEATED.test(mnemonic) && !operands.length)
    return mnemonic.endsWith('B') ? mnemonic : mnemonic + 'WDQ'[step];
  if (mnemonic === 'JRCXZ') return ['', 'JCXZ', 'JECXZ', 'JRCXZ'][i.addressSize] as string;
  if (encoding === '90+r' && i.reg === 0) return 'NOP';
  const sized = BY_SIZE[mnemonic];
  if (sized) return sized[step] as string;
  return RENAMED[mnemonic] ?? mnemonic.split(' ')[0] as string;
}

/** `end`: where the instruction ends, to resolve branches against. */
export function describeOurs(i: Instruction, bitness: Bitness): Description {
  const { operands } = i.form;
  const registers: string[] = [];
  const immediates: bigint[] = [];
  let memory = '';
  let memoryBytes = 0;
  const whole = (): bigint => (BigInt(i.immediateHigh) << 32n) | BigInt(i.immediate >>> 0);
  operands.forEach((o) => {
    if (o.kind === 'O') {
      memory = ourMemory(i, true);
      memoryBytes = widthBytes(o, i);
    } else if (o.kind === 'I') {
      const count = immediates.length;
      const bits = o.width === 'b' ? 8 : o.width === 'w' ? 16 : o.width === 'bs' || o.width === 'z' ? 8 * i.size : 8 * widthBytes(o, i);
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
for (const [name, value] of Object.entries(Mnemonic)) if (typeof value === 'number') mnemonicNames.set(value, name.toUpperCase());
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
      case OpKind.Register: registers.push(registerNames.get(i.opRegister(n)) as string); break;
      case OpKind.NearBranch16: case OpKind.NearBranch32: case OpKind.NearBranch64:
        immediates.push(i.nearBranchTarget);
        break;
      case OpKind.FarBranch16: immediates.push(BigInt(i.farBranch16), BigInt(i.farBranchSelector)); break;
      case OpKind.FarBranch32: immediates.push(BigInt(i.farBranch32), BigInt(i.farBranchSelector)); break;
      case OpKind.Memory: {
        const name = (r: number): string => (r === IcedRegister.None ? '' : (registerNames.get(r) as string));
        const base = name(i.memoryBase);
        const index = name(i.memoryIndex);
        const bytes = addressBytes(i, bitness, base, index);
        const next = BigInt(i.length);
        const raw = base === 'RIP' || base === 'EIP' ? i.memoryDisplacement - next : i.memoryDisplacement;
        const displacement = BigInt.asUintN(8 * bytes, raw);
        const segment = registerNames.get(i.memorySegment) as string;
        const seg = bitness === 64 && segment !== 'FS' && segment !== 'GS' ? 'flat' : segment;
        memory = `${seg}:${base === 'EIP' ? 'RIP' : base}+${index}*${index ? i.memoryIndexScale : 1}+${displacement.toString(16)}`;
        memoryBytes = sizeOfMemory(i.memorySize);
        break;
      }
      default:
        if (kind >= OpKind.Immediate8 && kind <= OpKind.Immediate32to64) immediates.push(immediateOf(i, n, kind));
    }
  }
  return { mnemonic: icedMnemonic(i), length: i.length, registers, memory, memoryBytes, immediates };
}

function immediateOf(i: IcedInstruction, n: number, kind: number): bigint {
  const bits: Record<number, number> = {
    [OpKind.Immediate8]: 8, [OpKind.Immediate8_2nd]: 8, [OpKind.Immediate16]: 16, [OpKind.Immediate32]: 32,
    [OpKind.Immediate8to16]: 16, [OpKind.Immediate8to32]: 32,
  };
  return BigInt.asUintN(bits[kind] ?? 64, i.immediate(n));
}

/** Bytes of the address, which iced-x86 tells by the registers, or by the size of a displacement that stands alone. */
function addressBytes(i: IcedInstruction, bitness: Bitness, base: string, index: string): number {
  const register = base || index;
  if (register) return register[0] === 'E' || /^R\d+D$/.test(register) ? 4 : register[0] === 'R' ? 8 : 2;
  return i.memoryDisplSize === 0 ? bitness / 8 : i.memoryDisplSize;
}

export class Oracle {
  readonly #decoder: Decoder;
  readonly #instruction: Instruction;
  constructor(decoder: Decoder, instruction: Instruction) {
    this.#decoder = decoder;
    this.#instruction = instruction;
  }

  /** Decodes `bytes`, at least 16 of them, at address 0 on both sides. */
  compare(bytes: Uint8Array, bitness: Bitness, visit: (iced: IcedInstruction, outcome: string, ours: Instruction) => void): void {
    const outcome = this.#decoder.decode(bytes, 0, bytes.length, MODES[bitness], this.#instruction);
    const iced = new IcedDecoder(bitness, bytes, ICED_OPTIONS);
    const decoded = iced.decode();
    try {
      visit(decoded, outcome, this.#instruction);
    } finally {
      decoded.free();
      iced.free();
    }
  }
}
