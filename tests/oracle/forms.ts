// Which products of the instruction table are compared, and their encodings: every form in every operand size, with
// register and memory operands, locked and repeated, in 64-bit and 32-bit mode. Intel SDM vol. 2, chapter 2.

import type { Form, OperandForm } from '../../src/hypervisor/x86/form.ts';
import type { Random } from './generate.ts';
import type { Capabilities } from './native/capabilities.ts';
import type { Mode } from './native/protocol.ts';

export interface Cell {
  readonly form: Form;
  readonly mode: Mode;
  /** Operand size in bytes. */
  readonly size: number;
  readonly memory: boolean;
  readonly locked: boolean;
  readonly repeat: 'none' | 'rep' | 'repne';
}

/** Names in the table are /proc/cpuinfo's, those of the native processor the manuals'. */
const FEATURE_NAMES: Readonly<Record<string, string>> = {
  pni: 'sse3',
  cx16: 'cmpxchg16b',
  cx8: 'cmpxchg8b',
  lahf_lm: 'lahf',
  sse4_1: 'sse4.1',
  sse4_2: 'sse4.2',
};

/** Forms that cannot be compared; what a program may not execute at all, it can try. */
const NOT_COMPARED: readonly (readonly [RegExp, string])[] = [
  [/^(CPUID|XGETBV)$/, 'tells what processor it is'],
  [/^(RDTSCP?|RDPMC|RDRAND|RDSEED|RDPID)$/, 'another value every time'],
  [/^(SYSCALL|SYSENTER|INT3|INT1|INTO)$/, 'enters the kernel'],
  [/^(JMPF|CALLF|RETF|IRET)$/, "follows the host kernel's descriptors"],
  [/^(VERR|VERW|LAR|LSL)$/, "tells of the host kernel's descriptors"],
  [/^(VMCALL|VMMCALL)$/, "calls the host's hypervisor"],
  [/^(SMSW|STR|SLDT|SGDT|SIDT)$/, "stores the host kernel's state, or is emulated by it (UMIP)"],
];

/** Why a form is not compared at all, or ''. */
export function exclusion(form: Form, capabilities: Pick<Capabilities, 'features'> | undefined): string {
  const feature = form.options.feature;
  if (feature && capabilities && !feature.split(' ').every((f) => capabilities.features.has(FEATURE_NAMES[f] ?? f)))
    return `the host's processor has no ${feature}`;
  for (const [pattern, reason] of NOT_COMPARED) if (pattern.test(form.mnemonic)) return reason;
  return '';
}

/** Forms that end every case: of no use in the middle of a sequence. */
export function alwaysFaults(form: Form): boolean {
  if (form.operands.some((o) => o.kind === 'C' || o.kind === 'D')) return true;
  if (/^(UD2|INT|XSETBV)$/.test(form.mnemonic)) return true;
  return form.options.privileged === true && !/^(MOV|PUSH .S|POP .S|ARPL|BOUND|L[EDSFG]S)$/.test(form.mnemonic);
}

/** Whether the size can be encoded in the mode: SDM vol. 2, table 3-4. */
function isEncodable(form: Form, mode: Mode, size: number): boolean {
  if (form.sizes.length === 1) return true;
  if (size === 8) return mode === 64 && form.w !== 0;
  if (form.w === 1) return false;
  if (mode === 64 && form.options.long === 'force') return false;
  if (mode === 64 && form.options.long === 'default' && size === 4) return false;
  return !(size === 2 && (form.prefix === '66' || form.prefix === 'none'));
}

interface LeftOut {
  readonly mnemonic: RegExp;
  readonly mode?: readonly Mode[];
  readonly size?: number;
  readonly reason: string;
}
/** Products of forms that are otherwise compared. */
export const LEFT_OUT: readonly LeftOut[] = [
  { mnemonic: /^(PUSHA|ENTER)$/, mode: [16], size: 4, reason: 'the upper half of ESP is not known: see protocol.ts' },
  { mnemonic: /^PUSH .S$/, size: 4, reason: 'stores 16 or 32 bits: SDM vol. 2, PUSH' },
  { mnemonic: /^SYSRET$/, mode: [32, 16], reason: '#UD in SDM vol. 2, valid in APM vol. 3' },
];
function isLeftOut(form: Form, mode: Mode, size: number): boolean {
  return LEFT_OUT.some(
    (o) =>
      o.mnemonic.test(form.mnemonic) && (o.mode?.includes(mode) ?? true) && (o.size === undefined || o.size === size),
  );
}

export function cellsOf(form: Form, modes: readonly Mode[]): Cell[] {
  const cells: Cell[] = [];
  const { mode: allowed, lock, implicitLock, repeat } = form.options;
  const memories = !form.hasModrm || form.rm === 'register' ? [false] : form.rm === 'memory' ? [true] : [false, true];
  const repeats =
    repeat === undefined
      ? (['none'] as const)
      : repeat === 'rep'
        ? (['none', 'rep'] as const)
        : (['none', 'rep', 'repne'] as const);
  for (const mode of modes) {
    if (allowed === (mode === 64 ? 'not64' : 'only64')) continue;
    if (form.w === 1 && mode !== 64) continue;
    for (const size of form.sizes) {
      if (!isEncodable(form, mode, size)) continue;
      for (const memory of memories)
        for (const locked of memory && lock && !implicitLock ? [false, true] : [false])
          for (const r of repeats)
            if (!isLeftOut(form, mode, size)) cells.push({ form, mode, size, memory, locked, repeat: r });
    }
  }
  return cells;
}

export function cellName(cell: Cell): string {
  const { form, mode, size, memory, locked, repeat } = cell;
  const memoryText = !form.hasModrm || form.rm === 'register' ? '' : memory ? ' mem' : ' reg';
  const prefix = locked ? 'LOCK ' : repeat === 'none' ? '' : `${repeat.toUpperCase()} `;
  return `${prefix}${form.mnemonic} (${form.encoding}) ${size * 8}-bit${memoryText}, ${mode}-bit mode`;
}

/** What an instruction's memory operand looks like, chosen by the one who knows what should be at its address. */
export interface MemoryShape {
  /** ModRM with reg zero, then SIB and displacement. */
  readonly modrm: number;
  readonly rest: readonly number[];
  /** REX bits X and B. */
  readonly rex: number;
  readonly addressPrefix: boolean;
  /** A segment-override byte, or 0. */
  readonly override: number;
  /** A displacement relative to the next instruction, to be put into the last 4 bytes of `rest`. */
  readonly ripRelativeTo: number | undefined;
}

export interface EncodeOptions {
  readonly cell: Cell;
  readonly random: Random;
  readonly shape: MemoryShape | undefined;
  /** Address of the instruction. */
  readonly ip: number;
  /** Register numbers, with REX bits, for ModRM.reg (or the opcode's), and ModRM.rm. */
  readonly reg: number;
  readonly rm: number;
  /** Target of a relative branch as an address, given that the instruction ends at `end` and reaches `bits` bits far. */
  target(end: number, bits: 8 | 16 | 32): number;
  /** The n-th immediate, in `bytes` bytes, low first. */
  immediate(n: number, bytes: number): readonly number[];
}

/** How often LOCK stands where it may not (which is #UD), or where it changes nothing. */
const ILLEGAL_LOCK_ONE_IN = 300;

const REPEAT_PREFIX = { none: 0, rep: 0xf3, repne: 0xf2 } as const;
const SEGMENT_OVERRIDES = [0x26, 0x2e, 0x36, 0x3e] as const;

/** Bytes of the instruction. */
export function encode(o: EncodeOptions): number[] {
  const { cell, random, shape } = o;
  const { form, mode, size } = cell;
  const long = mode === 64;
  const bytes: number[] = [];
  const operandPrefix = needsOperandPrefix(cell);
  const hasByteRegister = form.operands.some((p) => 'EGRZ'.includes(p.kind) && p.width === 'b');
  let rex = 0;
  if (long) {
    if (size === 8 && form.sizes.length > 1 && form.options.long === undefined) rex |= 0x48;
    if (form.w === 1) rex |= 0x48;
    if (form.opcodeRegister) rex |= o.reg > 7 ? 0x41 : 0;
    else if (form.hasModrm) {
      if (form.digit === undefined && !form.modrm && o.reg > 7) rex |= 0x44;
      if (shape) rex |= shape.rex ? 0x40 | shape.rex : 0;
      else if (!form.modrm && o.rm > 7) rex |= 0x41;
    }
    // SPL to DIL instead of AH to BH, or bits without a meaning.
    if (hasByteRegister && random.oneIn(2)) rex |= 0x40;
    if (random.oneIn(24)) rex |= 0x40 | meaninglessRex(form, shape, random);
  }
  const prefixes: number[] = [];
  if (operandPrefix) prefixes.push(0x66);
  if (shape?.addressPrefix) prefixes.push(0x67);
  if (shape?.override) prefixes.push(shape.override);
  if (cell.locked || random.oneIn(ILLEGAL_LOCK_ONE_IN)) prefixes.push(0xf0);
  if (cell.repeat !== 'none') prefixes.push(REPEAT_PREFIX[cell.repeat]);
  addMeaninglessPrefixes(cell, shape, random, prefixes, rex);
  if (prefixes.length > 1 && random.oneIn(2)) prefixes.reverse();
  bytes.push(...prefixes);
  // A mandatory prefix stands next to REX; one of the same kind before it would not matter.
  if (form.prefix === '66' || form.prefix === 'F3' || form.prefix === 'F2')
    bytes.push(Number.parseInt(form.prefix, 16));
  if (rex) bytes.push(rex);
  if (form.map > 0) bytes.push(0x0f);
  if (form.map > 1) bytes.push(form.map === 2 ? 0x38 : 0x3a);
  bytes.push(form.opcodeRegister ? form.opcode | (o.reg & 7) : form.opcode);
  let displacementAt = -1;
  if (form.hasModrm) {
    if (form.modrm) bytes.push(form.modrm[0] + (form.modrm[1] === 1 ? 0 : random.below(form.modrm[1])));
    else {
      const reg = (form.digit ?? o.reg & 7) << 3;
      if (shape) {
        bytes.push(shape.modrm | reg, ...shape.rest);
        if (shape.ripRelativeTo !== undefined) displacementAt = bytes.length - 4;
      } else bytes.push(0xc0 | reg | (o.rm & 7));
    }
  } else if (shape) bytes.push(...shape.rest);
  appendImmediates(o, bytes);
  if (displacementAt >= 0) putRelative(bytes, displacementAt, 4, (shape?.ripRelativeTo ?? 0) - o.ip - bytes.length);
  return bytes;
}

export function needsOperandPrefix({ form, mode, size }: Cell): boolean {
  if (form.sizes.length === 1 || form.prefix === 'none') return false;
  return mode === 16 ? size === 4 : size === 2;
}

function appendImmediates(o: EncodeOptions, bytes: number[]): void {
  const { form, mode, size } = o.cell;
  let count = 0;
  for (const operand of form.operands) {
    if (operand.kind === 'J') {
      const width = operand.width === 'b' ? 1 : mode === 64 && form.options.long === 'force' ? 4 : Math.min(size, 4);
      const at = bytes.length;
      for (let i = 0; i < width; i++) bytes.push(0);
      const end = o.ip + bytes.length;
      putRelative(bytes, at, width, o.target(end, (width * 8) as 8 | 16 | 32) - end);
    } else if (operand.kind === 'I') {
      bytes.push(...o.immediate(count++, immediateWidth(operand, size)));
    }
  }
}

function immediateWidth(operand: OperandForm, size: number): number {
  switch (operand.width) {
    case 'b':
    case 'bs':
      return 1;
    case 'w':
      return 2;
    case 'd':
      return 4;
    case 'z':
      return Math.min(size, 4);
    default:
      return size;
  }
}

function putRelative(bytes: number[], at: number, width: number, value: number): void {
  for (let i = 0; i < width; i++) bytes[at + i] = (value >> (8 * i)) & 0xff;
}

/** REX bits that this encoding does not look at. */
function meaninglessRex(form: Form, shape: MemoryShape | undefined, random: Random): number {
  let bits = 0;
  if (form.digit !== undefined && form.rm !== 'register') bits |= 4;
  if (!shape && !form.opcodeRegister) bits |= 2;
  if (form.sizes.length === 1 && form.w === undefined && form.sizes[0] === 1 && !/^0F/.test(form.encoding)) bits |= 8;
  return bits & random.u32();
}

/** Prefixes that do not change what the instruction is. */
function addMeaninglessPrefixes(
  cell: Cell,
  shape: MemoryShape | undefined,
  random: Random,
  prefixes: number[],
  rex: number,
): void {
  const { form, mode, size } = cell;
  if (!random.oneIn(8)) return;
  switch (random.below(5)) {
    case 0: // a segment override: ignored in 64-bit mode, the same flat segment elsewhere (but CS cannot be written)
      if (!shape?.override) prefixes.push(random.pick(mode === 16 ? [0x3e] : SEGMENT_OVERRIDES));
      break;
    case 1: // operand size where there is only one
      if (form.map === 0 && form.sizes.length === 1 && size === 1) prefixes.push(0x66);
      break;
    case 2: // REX.W wins over the operand size
      if (rex & 8 && form.prefix === 'any' && form.sizes.length > 1) prefixes.push(0x66);
      break;
    case 3: // repeat prefixes: no other instruction in the one-byte map but NOP
      if (form.map === 0 && form.prefix === 'any' && cell.repeat === 'none' && !cell.locked && form.opcode !== 0x90)
        if (form.options.repeat === undefined) prefixes.push(random.pick([0xf2, 0xf3]));
      break;
    default: // more of the same; so many that the instruction is too long, at times
      if (prefixes.length > 0 || mode === 64) {
        const again = prefixes.at(-1) ?? 0x2e;
        const times = random.oneIn(8) ? 12 : 1;
        if (again !== 0xf0) for (let i = 0; i < times; i++) prefixes.push(again);
      }
  }
}
