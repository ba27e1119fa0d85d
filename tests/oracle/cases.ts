// Cases: instructions with the surroundings in which they do something. Registers get interesting values, addresses land
// in the data area in most cases (whole, across pages, in the page that is only read, beside the area, nowhere), and
// what lies at an address is a value of the kind that the instruction expects.

import { type Cell, encode, type MemoryShape } from './forms.ts';
import {
  F32,
  F64,
  F80,
  fcw,
  flags,
  fsw,
  mxcsr,
  type Random,
  writeFx,
  writeGprs,
  writeInteger,
  writeReal,
  writeVector,
} from './generate.ts';
import {
  type Case,
  CODE_ADDRESS,
  CODE_SIZE,
  DATA_ADDRESS,
  DATA_SIZE,
  DATA_WRITABLE_SIZE,
  FS_BASE,
  FX_SIZE,
  GS_BASE,
  type Mode,
  type Patch,
} from './native/protocol.ts';

const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const AC = 0x40000;
const ALL_ONES = 0xffff_ffff_ffff_ffffn;
const PAGE = 0x1000;
const SEEDS = 64;
const FX_POOL = 64;
/** Cases in a row with one data pattern. */
const SEED_RUN = 512;

/** An instruction of a case. */
export interface Piece {
  readonly cell: Cell;
  readonly offset: number;
  readonly length: number;
}
export interface GeneratedCase extends Case {
  readonly pieces: readonly Piece[];
}

/** Whether the instruction follows its encoding to somewhere else. */
export function isTransfer(cell: Cell): boolean {
  return /^(J|CALL|RET|LOOP)/.test(cell.form.mnemonic);
}
export function usesFx(cell: Cell): boolean {
  const { form } = cell;
  if (form.operands.some((o) => 'VWUPQN'.includes(o.kind) || o.kind === 'ST')) return true;
  if (form.map === 0) return form.opcode === 0x9b || (form.opcode >= 0xd8 && form.opcode <= 0xdf);
  return form.map > 1 || form.opcode === 0xae || form.opcode === 0x77 || form.opcode === 0x0e;
}
function isX87(cell: Cell): boolean {
  return cell.form.map === 0 && cell.form.opcode >= 0xd8 && cell.form.opcode <= 0xdf;
}
const usesStack = /^(PUSH|POP|CALL|RET|ENTER|LEAVE)/;
const isString = /^(MOVS|CMPS|STOS|LODS|SCAS)[BDWQ]?$/;

/** CMP r, r: makes flags that an instruction left undefined known again. */
const REDEFINE_FLAGS = [0x38, 0xc0];

export class CaseMaker {
  readonly #random: Random;
  readonly #fxPool: Uint8Array[];
  #gprs = new BigUint64Array(16);
  #fixed = 0;
  #patches: Patch[] = [];
  #fsBase = 0n;
  #gsBase = 0n;
  #mode: Mode = 64;
  #made = 0;
  #seed = 1;

  constructor(random: Random) {
    this.#random = random;
    this.#fxPool = Array.from({ length: FX_POOL }, () => this.#newFx());
  }

  #newFx(): Uint8Array {
    const words = new Uint32Array(FX_SIZE / 4);
    writeFx(this.#random, words);
    return new Uint8Array(words.buffer);
  }

  /** A case of one instruction for each cell. A transfer of control may only be the last. */
  make(cells: readonly Cell[]): GeneratedCase {
    const random = this.#random;
    const { mode } = cells[0] as Cell;
    this.#mode = mode;
    if (this.#made++ % SEED_RUN === 0) this.#seed = 1 + random.below(SEEDS);
    this.#gprs = new BigUint64Array(16);
    writeGprs(random, new Uint32Array(this.#gprs.buffer));
    this.#fixed = 0;
    this.#patches = [];
    this.#chooseBases(mode === 64);
    const codeOffset = this.#codeOffset(cells);
    const code: number[] = [];
    const pieces: Piece[] = [];
    for (const cell of cells) {
      const start = this.#codeBase() + codeOffset;
      const bytes = this.#instruction(cell, start + code.length, code.length === 0, start);
      // An instruction that ends where nothing is mapped cannot be fetched.
      const room = CODE_SIZE - codeOffset - code.length;
      if (bytes.length > room) bytes.length = room;
      pieces.push({ cell, offset: code.length, length: bytes.length });
      code.push(...bytes);
      const isLast = cell === cells.at(-1);
      if (isLast || codeOffset + code.length + REDEFINE_FLAGS.length >= CODE_SIZE) break;
      if (cell.form.options.undefined) code.push(...REDEFINE_FLAGS);
    }
    // A return to compatibility mode loads ESP alone.
    if (mode !== 64) this.#gprs[RSP] = BigInt.asUintN(32, this.#gprs[RSP] as bigint);
    const fx = cells.some(usesFx) ? this.#newFx() : (this.#fxPool[random.below(FX_POOL)] as Uint8Array);
    return {
      mode,
      end: 'breakpoint',
      code: Uint8Array.from(code),
      codeOffset,
      gprs: this.#gprs,
      rflags: flags(random) | (random.oneIn(64) ? AC : 0),
      fx,
      fsBase: mode === 64 ? this.#fsBase : 0n,
      gsBase: mode === 64 ? this.#gsBase : 0n,
      seed: this.#seed,
      patches: this.#patches,
      pieces,
    };
  }

  #chooseBases(long: boolean): void {
    const random = this.#random;
    this.#fsBase = BigInt(FS_BASE);
    this.#gsBase = BigInt(GS_BASE);
    if (!long) return;
    this.#fsBase = BigInt(random.oneIn(4) ? random.u32() : DATA_ADDRESS + random.below(DATA_SIZE));
    if (random.oneIn(4)) this.#gsBase = BigInt.asUintN(64, -BigInt(random.u32()) << 14n);
  }

  /** Mostly in the middle of the first page; at times across its end, or against the unmapped page behind. */
  #codeOffset(cells: readonly Cell[]): number {
    const random = this.#random;
    if (random.oneIn(50)) return PAGE - 1 - random.below(12);
    if (random.oneIn(100)) return CODE_SIZE - 1 - random.below(8 * cells.length);
    return 0x100 + random.below(0xc00);
  }

  // ---- registers ------------------------------------------------------------------------------------------------------

  #isFixed(register: number): boolean {
    return ((this.#fixed >> register) & 1) !== 0;
  }
  /** Gives a register its value unless an earlier part of the case depends on what it has. */
  #set(register: number, value: bigint | number): boolean {
    if (this.#isFixed(register)) return false;
    this.#gprs[register] = BigInt(value);
    this.#fixed |= 1 << register;
    return true;
  }
  /** A register number; in 16-bit cases not ESP, whose upper half is not known. */
  #anyRegister(count: number): number {
    for (;;) {
      const register = this.#random.below(count);
      if (this.#mode !== 16 || register !== RSP) return register;
    }
  }
  #free(count: number): number {
    for (;;) {
      const register = this.#anyRegister(count);
      if (!this.#isFixed(register) || this.#random.oneIn(8)) return register;
    }
  }

  // ---- addresses ------------------------------------------------------------------------------------------------------

  /** Base of CS, as instruction pointers are relative to it. */
  #codeBase(): number {
    return this.#mode === 16 ? 0 : CODE_ADDRESS;
  }
  /** The offset of a linear address in the data and stack segments, as a register holds it. */
  #offset(linear: bigint): bigint {
    return this.#mode === 16 ? BigInt.asUintN(16, linear - BigInt(DATA_ADDRESS)) : linear;
  }

  /** A linear address for an access. */
  #place(long: boolean): bigint {
    const random = this.#random;
    const kind = random.below(100);
    let offset: number;
    if (kind < 66) {
      offset = 0x40 + random.below(DATA_WRITABLE_SIZE - 0x80);
      if (random.oneIn(2)) offset &= ~15;
    } else if (kind < 76) offset = PAGE - 1 - random.below(16);
    else if (kind < 82) offset = DATA_WRITABLE_SIZE + 8 - random.below(24);
    else if (kind < 86) offset = DATA_WRITABLE_SIZE + random.below(PAGE);
    else if (kind < 90) offset = DATA_SIZE - random.below(20);
    else if (kind < 93) offset = -random.below(20);
    else if (kind < 95) return BigInt(CODE_ADDRESS + random.below(CODE_SIZE));
    else if (kind < 97 || !long) return BigInt(random.u32());
    else if (kind < 98) return BigInt.asUintN(64, 0x8000_0000_0000n - BigInt(random.below(20)));
    else return (BigInt(random.u32()) << 32n) | BigInt(random.u32());
    return BigInt(DATA_ADDRESS + offset);
  }

  #dataAddress(): number {
    return DATA_ADDRESS + 0x100 + (this.#random.below(DATA_WRITABLE_SIZE - 0x200) & (this.#random.oneIn(4) ? ~0 : ~15));
  }

  /** Puts bytes at a linear address if they fit in the data area. */
  #patch(linear: bigint, bytes: Uint8Array): void {
    const offset = Number(linear) - DATA_ADDRESS;
    if (offset >= 0 && offset + bytes.length <= DATA_SIZE) this.#patches.push({ offset, bytes });
  }

  #memory(cell: Cell, first: boolean): { shape: MemoryShape; linear: bigint } {
    const random = this.#random;
    const long = cell.mode === 64;
    let linear = this.#place(long);
    const alignment = /^FX(SAVE|RSTOR)/.test(cell.form.mnemonic)
      ? 16n
      : /^X(SAVE|RSTOR)/.test(cell.form.mnemonic)
        ? 64n
        : 1n;
    if (!random.oneIn(8)) linear &= ~(alignment - 1n);
    const kind = random.below(12);
    let override = 0;
    let base = cell.mode === 16 ? BigInt(DATA_ADDRESS) : 0n;
    const addressPrefix = random.oneIn(16);
    // 16-bit addresses in 32-bit mode reach the data area through FS and GS only.
    const isShort = !long && (cell.mode === 16) !== addressPrefix;
    if (random.oneIn(long ? 10 : 6) || (isShort && cell.mode === 32 && !random.oneIn(4))) {
      override = random.pick([0x64, 0x65]);
      base = override === 0x64 ? this.#fsBase : this.#gsBase;
    }
    // Whether an access may go round the end of a segment that is not flat is left open: SDM vol. 3, 5.3.
    if (!long && (override || cell.mode === 16) && linear < base && linear >= base - 0x400n) linear = base;
    const offset = linear - base;
    if (cell.form.operands.some((o) => o.kind === 'O'))
      return { linear, shape: this.#absolute(cell, offset, override) };
    if (isShort) return this.#memory16(linear, Number(base), override, addressPrefix, first);
    const low = Number(BigInt.asUintN(32, offset));
    if (long && override === 0 && (kind === 0 || (!first && kind < 8)) && linear < 0x8000_0000n) {
      const modrm = { modrm: 5, rest: [0, 0, 0, 0], rex: 0, addressPrefix, override, ripRelativeTo: Number(linear) };
      return { linear, shape: modrm };
    }
    if (kind === 1 || !first) {
      const rest = long ? [random.pick([0x25, 0x65, 0xa5, 0xe5]), ...little(low, 4)] : little(low, 4);
      return {
        linear,
        shape: { modrm: long ? 4 : 5, rest, rex: 0, addressPrefix, override, ripRelativeTo: undefined },
      };
    }
    return { linear, shape: this.#based(kind, long, offset, addressPrefix, override) };
  }

  /** Base, index and displacement: the base register makes the address come out right. */
  #based(kind: number, long: boolean, offset: bigint, addressPrefix: boolean, override: number): MemoryShape {
    const random = this.#random;
    const count = long ? 16 : 8;
    const displacementKind = random.below(3);
    const displacement =
      displacementKind === 0 ? 0 : displacementKind === 1 ? (random.u32() << 24) >> 24 : random.u32() | 0;
    let index = -1;
    let scale = 0;
    if (kind >= 6) {
      do index = this.#anyRegister(count);
      while (index === 4);
      scale = random.below(4);
      if (!random.oneIn(8)) this.#set(index, BigInt.asUintN(64, BigInt((random.u32() | 0) >> random.below(32))));
      this.#fixed |= 1 << index;
    }
    const base = this.#free(count);
    const indexed = index < 0 ? 0n : (this.#gprs[index] as bigint) << BigInt(scale);
    let value = BigInt.asUintN(64, offset - BigInt(displacement) - indexed);
    const narrow = !long || addressPrefix;
    if (narrow) value = BigInt.asUintN(32, value) | (long && random.oneIn(2) ? 0x1234_5678_0000_0000n : 0n);
    // An address that is not the one that was chosen may lie at the end of a segment that is not flat: see #memory.
    if (!this.#set(base, value) && !long) override = 0;
    const sib = index >= 0 || (base & 7) === 4 || random.oneIn(8);
    let mod = displacementKind;
    if (mod === 0 && (base & 7) === 5) mod = 1;
    const rest: number[] = [];
    if (sib) rest.push((scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | (base & 7));
    if (mod === 1) rest.push(displacement & 0xff);
    else if (mod === 2) rest.push(...little(displacement, 4));
    const rex = (index > 7 ? 2 : 0) | (base > 7 ? 1 : 0);
    return { modrm: (mod << 6) | (sib ? 4 : base & 7), rest, rex, addressPrefix, override, ripRelativeTo: undefined };
  }

  #absolute(cell: Cell, offset: bigint, override: number): MemoryShape {
    const random = this.#random;
    const long = cell.mode === 64;
    const addressPrefix = random.oneIn(8);
    const bytes = long ? (addressPrefix ? 4 : 8) : (cell.mode === 16) !== addressPrefix ? 2 : 4;
    const value = BigInt.asUintN(64, offset);
    const rest = [...little(Number(value & 0xffff_ffffn), 4), ...little(Number(value >> 32n), 4)].slice(0, bytes);
    return { modrm: 0, rest, rex: 0, addressPrefix, override, ripRelativeTo: undefined };
  }

  /** 16-bit addressing: SDM vol. 2, table 2-1. */
  #memory16(
    linear: bigint,
    base: number,
    override: number,
    addressPrefix: boolean,
    first: boolean,
  ): { shape: MemoryShape; linear: bigint } {
    const random = this.#random;
    const rm = first ? random.below(8) : 6;
    let mod = first ? random.below(3) : 0;
    const offset = (Number(linear & 0xffff_ffffn) - base) & 0xffff;
    const displacement = mod === 0 ? 0 : mod === 1 ? (random.u32() << 24) >> 24 : random.u32() & 0xffff;
    const rest: number[] = [];
    if (mod === 0 && rm === 6) {
      rest.push(...little(offset, 2));
      mod = 0;
    } else {
      if (mod === 1) rest.push(displacement & 0xff);
      else if (mod === 2) rest.push(...little(displacement, 2));
      const main = [3, 3, 5, 5, 6, 7, 5, 3][rm] as number;
      const second = [6, 7, 6, 7, -1, -1, -1, -1][rm] as number;
      const index = second < 0 ? 0 : Number((this.#gprs[second] as bigint) & 0xffffn);
      if (second >= 0) this.#fixed |= 1 << second;
      const high = (this.#gprs[main] as bigint) & ~0xffffn;
      this.#set(main, high | BigInt((offset - displacement - index) & 0xffff));
    }
    return {
      linear: BigInt(base + offset),
      shape: { modrm: (mod << 6) | rm, rest, rex: 0, addressPrefix, override, ripRelativeTo: undefined },
    };
  }

  // ---- one instruction ------------------------------------------------------------------------------------------------

  #instruction(cell: Cell, ip: number, first: boolean, start: number): number[] {
    const random = this.#random;
    const { form, mode } = cell;
    if (/^XSAVE|^XRSTOR/.test(form.mnemonic)) {
      // The components that both sides know.
      this.#set(RAX, random.below(4));
      this.#set(RDX, 0);
    }
    const hasMemory = cell.memory || form.operands.some((o) => o.kind === 'O');
    const memory = hasMemory ? this.#memory(cell, first) : undefined;
    const count = mode === 64 ? 16 : 8;
    let reg = this.#anyRegister(count);
    const rm = this.#anyRegister(count);
    if (form.operands.some((o) => o.kind === 'S')) reg = random.below(random.oneIn(16) ? 8 : 6);
    this.#prepare(cell, memory?.linear, rm);
    return encode({
      cell,
      random,
      shape: memory?.shape,
      ip,
      reg,
      rm,
      target: (end, bits) => this.#target(start, end, bits),
      immediate: (n, bytes) => this.#immediate(cell, n, bytes),
    });
  }

  /** A target that is not inside the case's code, so that it cannot loop: filler, the data area, or nothing. */
  #target(start: number, end: number, bits: 8 | 16 | 32): number {
    const random = this.#random;
    const code = this.#codeBase();
    for (;;) {
      let target: number;
      if (bits === 8) target = end + ((random.u32() << 24) >> 24);
      else if (bits === 16) target = random.oneIn(2) ? code + random.below(CODE_SIZE) : end + (random.u32() & 0xffff);
      else if (random.oneIn(16)) target = random.u32() & 0x7fffffff;
      else target = (random.oneIn(16) ? DATA_ADDRESS : code) + random.below(CODE_SIZE);
      if (target < start || target >= end) return target;
    }
  }

  #immediate(cell: Cell, n: number, bytes: number): readonly number[] {
    const random = this.#random;
    if (cell.form.mnemonic === 'ENTER' && n === 0) return little(random.below(random.oneIn(16) ? 0x4000 : 0x200), 2);
    if (cell.form.mnemonic === 'ENTER' && random.oneIn(2)) return [random.below(4)];
    if (cell.form.mnemonic === 'INT') return [5 + random.below(0x7b)];
    if (cell.form.mnemonic === 'RET') return little(random.below(0x400), 2);
    const words = new Uint32Array(2);
    writeInteger(random, words, 0);
    return [...little(words[0] as number, 4), ...little(words[1] as number, 4)].slice(0, bytes);
  }

  /** What the instruction needs in registers, on the stack and at its operand to be more than a fault. */
  #prepare(cell: Cell, linear: bigint | undefined, rm: number): void {
    const random = this.#random;
    const { form } = cell;
    const { mnemonic } = form;
    const long = cell.mode === 64;
    if (linear !== undefined) this.#prepareOperand(cell, linear);
    if (usesStack.test(mnemonic)) this.#prepareStack(cell);
    if (isString.test(mnemonic)) this.#prepareString(cell);
    else if (form.operands[0]?.kind === 'S' && !cell.memory) this.#set(rm, this.#selector());
    else if (/^OUTS|^INS/.test(mnemonic)) this.#prepareString(cell);
    else if (/^J[ER]?CXZ$|^LOOP/.test(mnemonic) && random.oneIn(2)) this.#set(RCX, random.below(3));
    else if (mnemonic === 'XLAT')
      this.#set(RBX, BigInt.asUintN(64, this.#offset(this.#place(long)) - BigInt(random.below(256))));
    else if (/^I?DIV$/.test(mnemonic) && random.oneIn(2)) this.#prepareDivision(cell);
    else if (/^(BT[SRC]?)$/.test(mnemonic) && cell.memory && form.operands[1]?.kind === 'G') {
      // The bit offset reaches beyond the operand, mostly not far beyond: in all registers, for one of them is it.
      for (let r = 0; r < 16; r++)
        if (!this.#isFixed(r) && !random.oneIn(6))
          this.#gprs[r] = BigInt.asUintN(64, BigInt((random.u32() << 17) >> (17 + random.below(10))));
    } else if (/^MASKMOV/.test(mnemonic)) this.#set(RDI, this.#offset(this.#place(long)));
    else if ((mnemonic === 'JMP' || mnemonic === 'CALL') && form.operands[0]?.kind === 'E' && !cell.memory)
      this.#set(rm, this.#codeTarget(long));
    else if (mnemonic === 'CMPXCHG' && !cell.memory && random.oneIn(2)) {
      const value = this.#gprs[rm] as bigint;
      const partial = cell.size === 1 ? 0xffn : 0xffff_ffffn;
      if (!this.#isFixed(RAX)) this.#gprs[RAX] = random.oneIn(2) ? value : value & partial;
    }
  }

  /** Null, or beyond every table: others lead to the host kernel's descriptors. */
  #selector(): bigint {
    const random = this.#random;
    const upper = BigInt(random.u32() & 0xffff) << 16n;
    return upper | BigInt(random.oneIn(3) ? 0x8000 | (random.u32() & 0x7fff) : random.below(4));
  }

  #codeTarget(long: boolean): bigint {
    const random = this.#random;
    const kind = random.below(16);
    if (kind === 0) return this.#offset(this.#place(long));
    if (kind === 1 && long) return (BigInt(random.u32()) << 32n) | BigInt(random.u32());
    return BigInt(this.#codeBase() + (random.oneIn(2) ? random.below(0xf0) : 0xe00 + random.below(0x1200)));
  }

  #prepareStack(cell: Cell): void {
    const random = this.#random;
    const long = cell.mode === 64;
    const { mnemonic } = cell.form;
    let top = random.oneIn(8) ? this.#place(long) : BigInt(this.#dataAddress());
    if (random.oneIn(6)) top = this.#place(long);
    else if (random.oneIn(4)) top = (top & ~0xfffn) | BigInt(random.below(40));
    if (mnemonic === 'LEAVE') this.#set(RBP, this.#offset(top));
    const frame = random.oneIn(8) ? this.#place(long) : BigInt(this.#dataAddress());
    if (mnemonic === 'ENTER') this.#set(RBP, this.#offset(frame));
    if (!this.#set(RSP, this.#offset(top))) top = this.#gprs[RSP] as bigint;
    if (mnemonic === 'RET') this.#patch(top, bytesOf(this.#codeTarget(long), cell.size));
    if (/^POP .S$/.test(mnemonic)) this.#patch(top, bytesOf(this.#selector(), cell.size));
    if (mnemonic === 'POPF') this.#patch(top, bytesOf(BigInt(random.u32() & 0x244cd5), cell.size));
  }

  #prepareString(cell: Cell): void {
    const random = this.#random;
    const long = cell.mode === 64;
    const from = this.#place(long);
    this.#set(RSI, this.#offset(from));
    // Near the source at times, so that they overlap.
    const near = BigInt.asUintN(long ? 64 : 32, from + BigInt(random.below(64) - 32));
    const to = random.oneIn(4) ? near : this.#place(long);
    this.#set(RDI, this.#offset(to));
    if (cell.repeat === 'none') return;
    const far = BigInt(random.u32()) << BigInt(random.below(33));
    this.#set(RCX, random.oneIn(16) ? far : BigInt(random.below(random.oneIn(4) ? 2000 : 40)));
    if (!long) this.#gprs[RCX] = BigInt.asUintN(32, this.#gprs[RCX] as bigint);
    if (random.oneIn(2)) {
      // The same bytes everywhere, so that comparisons go on.
      const bytes = new Uint8Array(256).fill(random.below(4));
      this.#patch(from - 64n, bytes);
      this.#patch(to - 64n, bytes);
      if (random.oneIn(2)) this.#set(RAX, BigInt(bytes[0] as number) * 0x0101010101010101n);
    }
  }

  /** A quotient that fits: the dividend's high half is small. */
  #prepareDivision(cell: Cell): void {
    const random = this.#random;
    const small = random.oneIn(2) ? random.below(256) : random.below(3);
    const value = random.oneIn(3) && cell.form.mnemonic === 'IDIV' ? ALL_ONES - BigInt(small) : BigInt(small);
    if (cell.size !== 1) this.#set(RDX, value);
    else if (!this.#isFixed(RAX)) this.#gprs[RAX] = BigInt(random.below(0x2000));
  }

  #prepareOperand(cell: Cell, linear: bigint): void {
    const random = this.#random;
    const { form } = cell;
    const { mnemonic } = form;
    const special = this.#specialOperand(cell);
    if (special) {
      this.#patch(linear, special);
      return;
    }
    const words = new Uint32Array(4);
    if (isX87(cell)) {
      const kind = random.below(4);
      if (kind === 3) writeVector(random, 'integer', words, 0);
      else writeReal(random, kind === 0 ? F32 : kind === 1 ? F64 : F80, words, 0);
    } else if (usesFx(cell)) writeVector(random, random.pick(['integer', 'f32', 'f64']), words, 0);
    else if (/^CMPXCHG/.test(mnemonic) && random.oneIn(2)) {
      const g = new Uint32Array(this.#gprs.buffer);
      if (mnemonic === 'CMPXCHG8B') words.set([g[RAX * 2] as number, g[RDX * 2] as number]);
      else words.set([g[0] as number, g[1] as number, g[RDX * 2] as number, g[RDX * 2 + 1] as number]);
      this.#fixed |= (1 << RAX) | (1 << RDX);
    } else if (random.oneIn(3)) writeInteger(random, words, 0);
    else return;
    this.#patch(linear, new Uint8Array(words.buffer));
  }

  /** Structures with rules of their own. */
  #specialOperand(cell: Cell): Uint8Array | undefined {
    const random = this.#random;
    const { mnemonic } = cell.form;
    if (cell.form.operands[0]?.kind === 'S') return bytesOf(this.#selector(), 2);
    if ((mnemonic === 'JMP' || mnemonic === 'CALL') && cell.form.operands[0]?.kind === 'E')
      return bytesOf(this.#codeTarget(cell.mode === 64), cell.size);
    switch (mnemonic) {
      case 'LDMXCSR':
        return bytesOf(BigInt(random.oneIn(8) ? random.u32() : mxcsr(random)), 4);
      case 'FLDCW':
        return bytesOf(BigInt(random.oneIn(8) ? random.u32() & 0xffff : fcw(random)), 2);
      case 'FLDENV':
      case 'FRSTOR': {
        const words = new Uint32Array(27);
        const control = fcw(random);
        words[0] = control;
        words[1] = fsw(random, control);
        words[2] = random.u32() & 0xffff;
        for (let i = 0; i < 8; i++) {
          const real = new Uint32Array(3);
          writeReal(random, F80, real, 0);
          new Uint8Array(words.buffer).set(new Uint8Array(real.buffer, 0, 10), 28 + i * 10);
        }
        return new Uint8Array(words.buffer);
      }
      case 'FXRSTOR':
      case 'FXRSTOR64':
        return this.#newFx();
      case 'XRSTOR':
      case 'XRSTOR64': {
        const image = new Uint8Array(576);
        image.set(this.#newFx());
        const header = new DataView(image.buffer, 512);
        header.setUint32(0, random.below(4), true);
        // Bits that neither side knows; but not the one that says it is the compacted format.
        if (random.oneIn(8)) header.setUint8(3 + random.below(21), random.u32() & 0x7f);
        return image;
      }
      case 'LES':
      case 'LDS':
      case 'LSS':
      case 'LFS':
      case 'LGS':
        return Uint8Array.from([...bytesOf(BigInt(random.u32()), cell.size), ...bytesOf(this.#selector(), 2)]);
      case 'BOUND':
        return random.oneIn(2) ? bounds(cell.size) : undefined;
      default:
        return undefined;
    }
  }
}

/** The largest range of a size. */
function bounds(size: number): Uint8Array {
  const lower = 1n << BigInt(size * 8 - 1);
  return Uint8Array.from([...bytesOf(lower, size), ...bytesOf(lower - 1n, size)]);
}
function little(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => (value >>> (8 * i)) & 0xff);
}
function bytesOf(value: bigint, bytes: number): Uint8Array {
  return new Uint8Array(BigUint64Array.of(value).buffer, 0, bytes);
}
