/**
 * Instruction forms: one row of the instruction table, in the notation of the Intel SDM vol. 2 ("Instruction Format" and
 * appendix A, "Opcode Map"). The decoder, the interpreter, the translator, the disassembler and the test generators are
 * all products of these rows.
 *
 * Encoding  `66 0F 38 10`, `F6 /0`, `D9 C0+i` (a ModRM byte in a range of eight), `0F 01 D0` (exactly that ModRM byte),
 *           `50+r` (register in the opcode). A leading 66, F3 or F2 is a mandatory prefix; `NP` says that none of the
 *           three may stand, `NFx` that neither F3 nor F2 may; without these, 66 is the operand-size prefix and F3 and F2
 *           mean nothing. `W0`/`W1`: REX.W must be clear/set; `NB`: REX.B must be clear.
 * Operands  separated by spaces. A trailing `=` marks an operand only written, `+` one read and written.
 *           E G R M I J Z S C D O A: general/ModRM as in appendix A; R means ModRM.rm must be a register, M memory.
 *           V W U: XMM (U: register only); P Q N: MMX (N: register only). Widths follow: b w d q v z y x(128) p(far).
 *           `Wx` faults when its memory is unaligned, `Wu` does not. `Ibs` is sign-extended to the operand size.
 *           Fixed: AL AX rAX CL DX 1. `STi`: x87 register from ModRM.rm.
 */
import type { Semantics } from './semantics.ts';

export type SemanticFunction = (s: Semantics) => void;

export interface FormOptions {
  /** May take a LOCK prefix when operand 0 is in memory. */
  readonly lock?: boolean;
  /** Takes REP/REPNE (string instructions): `rep` REP only, `repz` both. */
  readonly repeat?: 'rep' | 'repz';
  /** In 64-bit mode: `default` operand size 64 (66 makes 16), `force` always 64. */
  readonly long?: 'default' | 'force';
  /** `invalid` in 64-bit mode, `only` there. */
  readonly mode?: 'not64' | 'only64';
  /** The instruction uses the stack or RIP, so that its product depends on 64-bit mode even without a memory operand. */
  readonly flavored?: boolean;
  /** Ends a block: a branch, or something after which modes or mappings may differ. */
  readonly ends?: boolean;
  /** Flags the manual leaves undefined, masked when compared with a processor. Space-separated names. */
  readonly undefined?: string;
  /** Feature that must be present for the form to be compared with (or offered by) a processor: a /proc/cpuinfo name. */
  readonly feature?: string;
  /** Only CPL 0, or not usable in a user-mode comparison for another reason. */
  readonly privileged?: boolean;
  /** Operand sizes in bytes, where the operands do not say them. */
  readonly sizes?: readonly number[];
  /** Atomic on memory even without a LOCK prefix. */
  readonly implicitLock?: boolean;
  /** Fixed operand size in bytes, where the operands do not say it. */
  readonly size?: 1 | 2 | 4 | 8;
}

export type Access = 'read' | 'write' | 'readwrite' | 'address';
export interface OperandForm {
  /** Kind letter of the notation, or `fixed`. */
  readonly kind:
    | 'E'
    | 'G'
    | 'R'
    | 'M'
    | 'I'
    | 'J'
    | 'Z'
    | 'S'
    | 'C'
    | 'D'
    | 'O'
    | 'A'
    | 'V'
    | 'W'
    | 'U'
    | 'P'
    | 'Q'
    | 'N'
    | 'fixed'
    | 'one'
    | 'ST';
  /** Width letter(s): b w d q v z y x u p, or empty. */
  readonly width: string;
  readonly access: Access;
  /** Register number of a fixed operand. */
  readonly register: number;
  readonly text: string;
}

export interface Form {
  readonly id: number;
  readonly mnemonic: string;
  readonly encoding: string;
  readonly operands: readonly OperandForm[];
  readonly semantics: SemanticFunction;
  readonly options: FormOptions;
  /** 0 one-byte, 1 0F, 2 0F38, 3 0F3A. */
  readonly map: number;
  readonly opcode: number;
  /** Register in the low three bits of the opcode. */
  readonly opcodeRegister: boolean;
  readonly prefix: 'any' | 'none' | 'notRepeat' | '66' | 'F3' | 'F2';
  readonly w: 0 | 1 | undefined;
  /** REX.B must be clear. */
  readonly clearB: boolean;
  readonly hasModrm: boolean;
  /** ModRM.reg constraint. */
  readonly digit: number | undefined;
  /** ModRM byte range [first, count]: 8 for `C0+i`, 1 for an exact byte. */
  readonly modrm: readonly [number, number] | undefined;
  /** ModRM.rm must be a register / memory. */
  readonly rm: 'any' | 'register' | 'memory';
  /** Operand sizes in bytes this form has products for. */
  readonly sizes: readonly number[];
  /** The product depends on 64-bit mode with 64-bit addresses even where no operand is in memory; there it always does. */
  readonly flavored: boolean;
}

export type Row = readonly [
  mnemonic: string,
  encoding: string,
  operands: string,
  semantics: SemanticFunction,
  options?: FormOptions,
];

const FIXED: Record<string, [number, string]> = {
  AL: [0, 'b'],
  AX: [0, 'w'],
  rAX: [0, 'v'],
  eAX: [0, 'z'],
  CL: [1, 'b'],
  DX: [2, 'w'],
  RAX: [0, 'q'],
  EAX: [0, 'd'],
};
const WIDTH_SIZE: Record<string, number> = { b: 1, w: 2, d: 4, q: 8 };

function operand(text: string): OperandForm {
  const mark = text.at(-1);
  const access: Access = mark === '=' ? 'write' : mark === '+' ? 'readwrite' : 'read';
  const name = access === 'read' ? text : text.slice(0, -1);
  const fixed = FIXED[name];
  if (fixed) return { kind: 'fixed', width: fixed[1], access, register: fixed[0], text: name };
  if (name === '1') return { kind: 'one', width: 'b', access, register: 0, text: name };
  if (name === 'STi') return { kind: 'ST', width: '', access, register: 0, text: name };
  const kind = name[0] as OperandForm['kind'];
  if (!'EGRMIJZSCDOAVWUPQN'.includes(kind)) throw new Error(`unknown operand ${text}`);
  const width = name.slice(1);
  return { kind, width, access: kind === 'M' && width === '' ? 'address' : access, register: 0, text: name };
}

function parse(row: Row, id: number): Form {
  const [mnemonic, encoding, operandText, semantics, options = {}] = row;
  const operands = operandText ? operandText.split(' ').map(operand) : [];
  const tokens = encoding.split(' ');
  let prefix: Form['prefix'] = 'any';
  let w: 0 | 1 | undefined;
  let clearB = false;
  const bytes: number[] = [];
  let digit: number | undefined;
  let opcodeRegister = false;
  let modrm: [number, number] | undefined;
  tokens.forEach((token, i) => {
    if (token === 'NP') prefix = 'none';
    else if (token === 'NFx') prefix = 'notRepeat';
    else if ((token === '66' || token === 'F3' || token === 'F2') && i === 0 && tokens.length > 1 && tokens[1] !== '/r')
      prefix = token;
    else if (token === 'NB') clearB = true;
    else if (token === 'W0' || token === 'W1') w = token === 'W1' ? 1 : 0;
    else if (/^\/[0-7]$/.test(token)) digit = Number(token[1]);
    else if (/^[0-9A-F]{2}$/.test(token)) bytes.push(Number.parseInt(token, 16));
    else if (/^[0-9A-F]{2}\+r$/.test(token)) {
      bytes.push(Number.parseInt(token, 16));
      opcodeRegister = true;
    } else if (/^[0-9A-F]{2}\+i$/.test(token)) modrm = [Number.parseInt(token, 16), 8];
    else if (token !== '/r') throw new Error(`${mnemonic}: unknown token ${token} in ${encoding}`);
  });
  let map = 0 as number;
  const begins = (n: number): boolean => bytes[0] === n;
  if (begins(0x0f)) {
    bytes.shift();
    map = 1;
    if (begins(0x38) || begins(0x3a)) map = bytes.shift() === 0x38 ? 2 : 3;
  }
  const opcode = bytes[0] as number;
  if (bytes.length === 2) modrm = [bytes[1] as number, 1];
  else if (bytes.length !== 1) throw new Error(`${mnemonic}: cannot read encoding ${encoding}`);
  const letters = operands.map((o) => o.kind).join('');
  const hasModrm =
    modrm !== undefined || digit !== undefined || /[EGRMSCDVWUPQN]/.test(letters) || tokens.includes('/r');
  const rm = /M/.test(letters) ? 'memory' : /[RUN]/.test(letters) || modrm ? 'register' : 'any';
  const widths = operands.map((o) => o.width);
  let sizes: readonly number[] = [options.size ?? 0];
  if (options.sizes) sizes = options.sizes;
  else if (options.size === undefined) {
    if (widths.includes('v') || widths.includes('z')) sizes = [2, 4, 8];
    else if (widths.includes('y')) sizes = [4, 8];
    else sizes = [WIDTH_SIZE[widths.find((x) => x in WIDTH_SIZE) ?? ''] ?? 4];
  }
  if (options.mode === 'not64' && sizes.includes(8)) sizes = sizes.filter((s) => s !== 8);
  return {
    id,
    mnemonic,
    encoding,
    operands,
    semantics,
    options: { ...NO_OPTIONS, ...options },
    map,
    opcode,
    opcodeRegister,
    prefix,
    w,
    clearB,
    hasModrm,
    digit,
    modrm,
    rm,
    sizes,
    flavored: options.flavored === true || /[OJ]/.test(letters),
  };
}

/** All options of all forms have one shape: who decodes and encodes reads them for each instruction. */
const NO_OPTIONS = Object.fromEntries(
  'lock repeat long mode flavored ends undefined feature privileged sizes implicitLock size'
    .split(' ')
    .map((name) => [name, undefined]),
) as FormOptions;

/** The forms of a list of rows; ids are positions, so the order of rows is part of the product's identity. */
export function makeForms(rows: readonly Row[]): readonly Form[] {
  return rows.map(parse);
}

/** Operand `n` of a form, as the table numbers them. */
export function operandOf(form: Form, n: number): OperandForm {
  const found = form.operands[n];
  if (!found) throw new Error(`${form.mnemonic} has no operand ${n}`);
  return found;
}

/** Whether the operand is in memory; `memory` says that ModRM names memory. */
export function isInMemory({ kind }: OperandForm, memory: boolean): boolean {
  return kind === 'O' || kind === 'M' || (memory && (kind === 'E' || kind === 'W' || kind === 'Q'));
}

const OPERAND_BYTES: Readonly<Record<string, number>> = { b: 1, w: 2, d: 4, q: 8, x: 16, u: 16 };

/** Bytes of the operand where the instruction's operand size is `size`. */
export function operandBytes({ width }: OperandForm, size: number): number {
  return OPERAND_BYTES[width] ?? (width === 'z' ? Math.min(size, 4) : size);
}
