/** Instructions as text, from the instruction table: enough to recognize them by. */
import { Mode } from '../../hypervisor/vp/state.ts';
import { Decoder, Instruction } from '../../hypervisor/x86/decoder.ts';
import type { OperandForm } from '../../hypervisor/x86/form.ts';
import { forms } from '../../hypervisor/x86/table.ts';

const WIDE = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 rip'.split(' ');
const LOW = 'al cl dl bl spl bpl sil dil'.split(' ');
const HIGH = 'ah ch dh bh'.split(' ');
const SEGMENTS = 'es cs ss ds fs gs'.split(' ');
const POINTERS: Readonly<Record<number, string>> = { 1: 'byte ', 2: 'word ', 4: 'dword ', 8: 'qword ', 16: 'oword ' };
const WIDTHS: Readonly<Record<string, number>> = { b: 1, w: 2, d: 4, q: 8, x: 16, u: 16 };
const decoder = new Decoder(forms);

export interface Disassembled {
  readonly length: number;
  readonly text: string;
}

/** @param bytes from the instruction on. @param rip of the instruction, for targets. */
export function disassemble(bytes: Uint8Array, mode: number, rip: bigint): Disassembled {
  const i = new Instruction();
  const outcome = decoder.decode(bytes, 0, bytes.length, mode, i);
  if (outcome !== 'ok') return { length: 1, text: `(${outcome})` };
  const prefix = `${i.lock ? 'lock ' : ''}${i.repeat && i.form.options.repeat ? (i.repeat === 0xf3 ? 'rep ' : 'repne ') : ''}`;
  const operands = i.form.operands.map((o) => operandText(o, i, rip));
  return { length: i.length, text: `${prefix}${i.form.mnemonic.toLowerCase()} ${operands.join(', ')}`.trim() };
}

function operandText(operand: OperandForm, i: Instruction, rip: bigint): string {
  const bytes = WIDTHS[operand.width] ?? (operand.width === 'z' ? Math.min(i.size, 4) : i.size);
  switch (operand.kind) {
    case 'G':
      return register(i.reg, bytes, i);
    case 'Z':
      return register(i.reg, bytes, i);
    case 'E':
    case 'R':
    case 'M':
      return i.isMemory ? memoryText(operand.width === '' ? 0 : bytes, i) : register(i.rm, bytes, i);
    case 'V':
      return `xmm${i.reg}`;
    case 'W':
    case 'U':
      return i.isMemory ? memoryText(bytes, i) : `xmm${i.rm}`;
    case 'P':
      return `mm${i.reg & 7}`;
    case 'Q':
    case 'N':
      return i.isMemory ? memoryText(bytes, i) : `mm${i.rm & 7}`;
    case 'I':
      return immediate(i, bytes);
    case 'J':
      return `0x${BigInt.asUintN(64, rip + BigInt(i.length) + BigInt(i.immediate)).toString(16)}`;
    case 'S':
      return SEGMENTS[i.reg & 7] ?? operand.text;
    case 'C':
      return `cr${i.reg}`;
    case 'D':
      return `dr${i.reg}`;
    case 'ST':
      return `st${i.rm & 7}`;
    case 'fixed':
      return register(operand.register, bytes, i);
    case 'one':
      return '1';
    default:
      return operand.text;
  }
}

function register(n: number, bytes: number, i: Instruction): string {
  const wide = WIDE[n] ?? `r${n}`;
  if (bytes === 8) return wide;
  if (n >= 8) return `${wide}${bytes === 4 ? 'd' : bytes === 2 ? 'w' : 'b'}`;
  if (bytes === 1) return (i.rex === 0 && n >= 4 ? HIGH[n - 4] : LOW[n]) as string;
  return bytes === 4 ? `e${wide.slice(1)}` : wide.slice(1);
}

function immediate(i: Instruction, bytes: number): string {
  const value = BigInt.asUintN(bytes * 8, (BigInt(i.immediateHigh) << 32n) | BigInt(i.immediate >>> 0));
  return `0x${value.toString(16)}`;
}

function memoryText(bytes: number, i: Instruction): string {
  const parts: string[] = [];
  if (i.base >= 0) parts.push(WIDE[i.base] as string);
  if (i.index >= 0) parts.push(`${WIDE[i.index]}*${1 << i.scale}`);
  let sum = parts.join(' + ');
  const { displacement } = i;
  if (displacement !== 0 || sum === '') {
    const size = `0x${Math.abs(displacement).toString(16)}`;
    sum = sum === '' ? `${displacement < 0 ? '-' : ''}${size}` : `${sum} ${displacement < 0 ? '-' : '+'} ${size}`;
  }
  const segment = i.segmentOverride >= 0 ? `${SEGMENTS[i.segmentOverride]}:` : '';
  return `${POINTERS[bytes] ?? ''}[${segment}${sum}]`;
}

/** Width of an address in a mode, in hexadecimal digits. */
export function addressText(address: bigint, mode: number): string {
  return `0x${address.toString(16).padStart(mode & Mode.LONG64 ? 16 : 8, '0')}`;
}
