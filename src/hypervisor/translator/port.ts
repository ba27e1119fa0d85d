/**
 * The translator's implementation of the semantics port: operands are known, general registers and lazy flags are locals,
 * everything else stays in VpState. Translated code never raises: where an instruction faults, touches anything but plain
 * RAM, or stores to code, control leaves in front of it and the interpreter executes it. Over 600 lines, because the port is
 * one object with a method for each operation.
 */

import { loadName, storeName } from '../interpreter/port.ts';
import { TLB, TLB_CONTEXT_SHIFT, TLB_ENTRIES, TLB_WRITE } from '../memory/layout.ts';
import { Mode, Segment, VpState } from '../vp/state.ts';
import type { Callee, FunctionBuilder, Variable } from '../wasm/function.ts';
import type { Operand as Term, Value } from '../wasm/value.ts';
import type { Instruction } from '../x86/decoder.ts';
import { isInMemory, type OperandForm, operandBytes, operandOf } from '../x86/form.ts';
import { LazyFlags } from '../x86/lazy-flags.ts';
import { type FlagName, type FlagValues, Register, type Semantics } from '../x86/semantics.ts';

type FieldName = Parameters<typeof VpState.offset>[0];
const at = (name: FieldName): number => VpState.offset(name);
const XMM = at('xmm');
const X87 = at('x87');
const STACK = 0x80;
const FLAG_FIELDS = new Set(['flagResult', 'flagCarries', 'flagAux']);

/** Thrown while building: the instruction is left to the interpreter. */
export class Untranslatable extends Error {}

/** The processor's state while a region runs. */
export interface Machine {
  readonly f: FunctionBuilder;
  readonly vp: Value;
  readonly registers: readonly Variable[];
  readonly flagResult: Variable;
  readonly flagCarries: Variable;
  readonly flagAux: Variable;
  /** Linear address of the region's page. */
  readonly page: Variable;
  helper(name: string): Callee;
  /** Registers that are read anywhere: to be loaded when control enters. */
  readonly used: Set<number>;
  /** Registers that are written anywhere: to be loaded too, and stored when control leaves. */
  readonly written: Set<number>;
  /** Whether the lazy flags are read or written anywhere. */
  flagsUsed: boolean;
  flagsWritten: boolean;
}

export interface Ending {
  /** Control leaves in front of the instruction, for the interpreter to execute it. */
  redo(): void;
  /** Control goes to a linear address elsewhere, the instruction done. */
  leave(target: Value): void;
  /** Direct transfers of the region's blocks. */
  branch(condition: Value): void;
  jump(): void;
}

type Last = {
  readonly kind: 'sub' | 'logic' | 'result';
  readonly a: Value;
  readonly b: Value;
  readonly result: Value;
  readonly bits: number;
};

export class TranslatorPort implements Semantics {
  readonly f: FunctionBuilder;
  readonly size: number;
  readonly bits: number;
  readonly flat = true;
  readonly repeat = 'none';
  readonly #m: Machine;
  readonly #i: Instruction;
  readonly #at: number;
  readonly #ending: Ending;
  readonly #flags: LazyFlags;
  readonly #hosts = new Map<number, Value>();
  readonly #linears = new Map<number, Value>();
  readonly #displaced = new Map<number, Value>();
  #relative = false;
  readonly #region: FunctionBuilder['region'];
  /** What set the flags last in this block, for conditions that need no flags. Carried from instruction to instruction. */
  last: Last | undefined;

  constructor(machine: Machine, instruction: Instruction, offset: number, ending: Ending, last: Last | undefined) {
    this.#m = machine;
    this.#i = instruction;
    this.#at = offset;
    this.#ending = ending;
    this.f = machine.f;
    this.size = instruction.size;
    this.bits = instruction.size * 8;
    this.#flags = new LazyFlags(this.f, this.bits, this);
    this.last = last;
    this.#region = this.f.region;
  }

  vp(): Value {
    return this.#m.vp;
  }

  #operand(n: number): OperandForm {
    return operandOf(this.#i.form, n);
  }
  isMemory(n: number): boolean {
    return isInMemory(this.#operand(n), this.#i.isMemory);
  }
  #bytes(operand: OperandForm): number {
    return operandBytes(operand, this.size);
  }

  // ---- registers ------------------------------------------------------------------------------------------------------

  #variable(index: number): Variable {
    this.#m.used.add(index);
    return this.#m.registers[index] as Variable;
  }
  reg(index: number, size = this.size): Value {
    return this.#variable(index)
      .get()
      .zext(size * 8);
  }
  setReg(index: number, value: Term, size = this.size): void {
    const v = this.f.coerce(value, 'i64');
    const variable = this.#variable(index);
    this.#m.written.add(index);
    if (size === 8) variable.set(v);
    else if (size === 4) variable.set(v.zext(32));
    else
      variable.set(
        variable
          .get()
          .and(size === 2 ? ~0xffffn : ~0xffn)
          .or(v.zext(size * 8)),
      );
  }
  /** AH, CH, DH, BH where the byte register's number means them. */
  #isHigh(operand: OperandForm, register: number): boolean {
    return operand.width === 'b' && operand.kind !== 'fixed' && this.#i.rex === 0 && register >= 4 && register < 8;
  }
  #number(operand: OperandForm): number {
    switch (operand.kind) {
      case 'fixed':
        return operand.register;
      case 'E':
      case 'R':
      case 'W':
      case 'U':
      case 'Q':
      case 'N':
      case 'ST':
        return this.#i.rm;
      default:
        return this.#i.reg;
    }
  }
  #readRegister(operand: OperandForm, bytes: number): Value {
    const n = this.#number(operand);
    if (this.#isHigh(operand, n))
      return this.reg(n - 4, 8)
        .shrU(8)
        .and(0xff);
    return this.reg(n, bytes);
  }
  #writeRegister(operand: OperandForm, bytes: number, value: Value): void {
    const n = this.#number(operand);
    if (!this.#isHigh(operand, n)) {
      this.setReg(n, value, bytes);
      return;
    }
    const variable = this.#variable(n - 4);
    this.#m.written.add(n - 4);
    variable.set(variable.get().and(~0xff00n).or(value.zext(8).shl(8)));
  }
  addressReg(index: number): Value {
    return this.reg(index, 8);
  }
  setAddressReg(index: number, value: Value): void {
    this.setReg(index, value, 8);
  }
  index(n: number): Value {
    return this.f.i64(this.#number(this.#operand(n)));
  }

  // ---- operands ----------------------------------------------------------------------------------------------------------

  displace(n: number, offset: Value): void {
    this.#displaced.set(n, offset);
  }
  baseIsStackPointer(): Value {
    return this.f.i32(this.#i.base === 4 ? 1 : 0);
  }
  truncateAddress(offset: Value): Value {
    return offset;
  }
  get registerOffset(): boolean {
    return this.#i.form.operands[1]?.kind === 'G';
  }
  address(n: number): Value {
    const { f } = this;
    const i = this.#i;
    const extra = this.#displaced.get(n);
    if (this.#operand(n).kind === 'O') {
      return f.i64((BigInt(i.displacementHigh) << 32n) | BigInt(i.displacement >>> 0));
    }
    let sum: Value | undefined;
    const plus = (v: Value): void => {
      sum = sum ? sum.add(v) : v;
    };
    if (i.base === 16) plus(this.#m.page.get().add(this.#at + i.length + i.displacement));
    else if (i.base >= 0) plus(this.reg(i.base, 8));
    if (i.index >= 0) plus(this.reg(i.index, 8).shl(i.scale));
    if (i.base !== 16 && (i.displacement !== 0 || !sum)) plus(f.i64(i.displacement));
    if (extra) plus(extra);
    return sum as unknown as Value;
  }
  linear(n: number): Value {
    const known = this.#linears.get(n);
    if (known) return known;
    const linear = this.#based(this.address(n));
    this.#linears.set(n, linear);
    return linear;
  }
  #based(offset: Value): Value {
    const { segment } = this.#i;
    if (segment !== Segment.FS && segment !== Segment.GS) return offset;
    return offset.add(this.f.load('i64.load', this.#m.vp, at('segmentBase') + segment * 8));
  }
  segmentLinear(segment: number | 'override', offset: Value): Value {
    return segment === 'override' ? this.#based(offset) : offset;
  }
  #mark(): number {
    return this.#i.segmentOverride < 0 && (this.#i.base === 4 || this.#i.base === 5) ? STACK : 0;
  }

  read(n: number): Value {
    const operand = this.#operand(n);
    const bytes = this.#bytes(operand);
    const i = this.#i;
    switch (operand.kind) {
      case 'I':
        return this.#immediate(n, operand);
      case 'one':
        return this.f.i64(1);
      case 'S':
        return this.f.load('i64.load32_u', this.#m.vp, at('segmentSelector') + (i.reg & 7) * 4);
      case 'A':
      case 'C':
      case 'D':
        throw new Untranslatable();
      default:
    }
    if (!this.isMemory(n)) return this.#readRegister(operand, bytes);
    if (operand.access === 'readwrite') return this.f.load(loadName(bytes), this.#modifyHost(n, bytes));
    return this.f.load(loadName(bytes), this.#host(this.linear(n), bytes, false, this.#mark()));
  }
  #immediate(n: number, operand: OperandForm): Value {
    const i = this.#i;
    const first = this.#i.form.operands.findIndex((o) => o.kind === 'I') === n;
    if (!first) return this.f.i64(i.immediate2 >>> 0);
    const bytes = operand.width === 'b' ? 1 : operand.width === 'w' ? 2 : this.size;
    const value = (BigInt(i.immediateHigh) << 32n) | BigInt(i.immediate >>> 0);
    return this.f.i64(BigInt.asUintN(bytes * 8, value));
  }
  #modifyHost(n: number, bytes: number): Value {
    const known = this.#hosts.get(n);
    if (known) return known;
    const host = this.#host(this.linear(n), bytes, true, this.#mark());
    this.#hosts.set(n, host);
    return host;
  }
  check(n: number): void {
    if (this.isMemory(n)) this.#modifyHost(n, this.#bytes(this.#operand(n)));
  }
  write(n: number, value: Term): void {
    const operand = this.#operand(n);
    const bytes = this.#bytes(operand);
    const v = this.f.coerce(value, 'i64');
    if (!this.isMemory(n)) this.#writeRegister(operand, bytes, v);
    else this.f.store(storeName(bytes), this.#modifyHost(n, bytes), v);
  }
  modify(n: number, next: (old: Value) => Value): Value {
    const { f } = this;
    const locked = this.isMemory(n) && (this.#i.lock || this.#i.form.options.implicitLock === true);
    if (!locked) {
      const old = this.read(n);
      this.write(n, next(old));
      return old;
    }
    const bytes = this.#bytes(this.#operand(n));
    const host = this.#modifyHost(n, bytes);
    if (bytes > 1) this.#redoIf(host.and(bytes - 1));
    const width = bytes === 8 ? '' : String(bytes * 8);
    const expected = f.variable('i64', f.load(loadName(bytes), host));
    f.loop((again) => {
      const old = expected.get();
      const wanted = next(old);
      const name = `i64.atomic.rmw${width}.cmpxchg${bytes === 8 ? '' : '_u'}`;
      const seen = f.atomic(name, host, old, bytes === 8 ? wanted : wanted.zext(bytes * 8));
      expected.set(seen);
      f.brIf(again, seen.ne(old), false);
    });
    return expected.get();
  }

  // ---- vectors: in VpState -------------------------------------------------------------------------------------------------

  #vectorHost(n: number, write: boolean): Value {
    const known = this.#hosts.get(n);
    if (known) return known;
    const operand = this.#operand(n);
    const linear = this.linear(n);
    if (operand.width === 'x') this.#redoIf(linear.wrap().and(15));
    const host = this.#host(linear, 16, write || operand.access === 'readwrite', this.#mark());
    this.#hosts.set(n, host);
    return host;
  }
  #xmm(n: number): number {
    return XMM + this.#number(this.#operand(n)) * 16;
  }
  readV(n: number): Value {
    if (this.isMemory(n)) return this.f.load('v128.load', this.#vectorHost(n, false));
    return this.f.load('v128.load', this.#m.vp, this.#xmm(n));
  }
  writeV(n: number, value: Value): void {
    if (this.isMemory(n)) this.f.store('v128.store', this.#vectorHost(n, true), value);
    else this.f.store('v128.store', this.#m.vp, value, this.#xmm(n));
  }
  #scalarHost(n: number, bytes: number, write: boolean): Value {
    return this.#host(this.linear(n), bytes, write, this.#mark());
  }
  read32(n: number): Value {
    if (this.isMemory(n)) return this.f.load('i32.load', this.#scalarHost(n, 4, false));
    return this.f.load('i32.load', this.#m.vp, this.#xmm(n));
  }
  read64(n: number): Value {
    if (this.isMemory(n)) return this.f.load('i64.load', this.#scalarHost(n, 8, false));
    return this.f.load('i64.load', this.#m.vp, this.#xmm(n));
  }
  write32(n: number, value: Term): void {
    if (this.isMemory(n)) this.f.store('i32.store', this.#scalarHost(n, 4, true), value);
    else this.f.store('i32.store', this.#m.vp, value, this.#xmm(n));
  }
  write64(n: number, value: Term): void {
    if (this.isMemory(n)) this.f.store('i64.store', this.#scalarHost(n, 8, true), value);
    else this.f.store('i64.store', this.#m.vp, value, this.#xmm(n));
  }
  #mm(n: number): number {
    return X87 + (this.#number(this.#operand(n)) & 7) * 16;
  }
  readM(n: number): Value {
    if (!this.isMemory(n)) return this.f.load('i64.load', this.#m.vp, this.#mm(n));
    const bytes = this.#operand(n).width === 'd' ? 4 : 8;
    return this.f.load(loadName(bytes), this.#scalarHost(n, bytes, false));
  }
  writeM(n: number, value: Term): void {
    if (this.isMemory(n)) {
      this.f.store('i64.store', this.#scalarHost(n, 8, true), value);
      return;
    }
    this.f.store('i64.store', this.#m.vp, value, this.#mm(n));
    this.f.store('i32.store16', this.#m.vp, 0xffff, this.#mm(n) + 8);
  }

  // ---- state -----------------------------------------------------------------------------------------------------------------

  #lazy(name: string): Variable | undefined {
    return name === 'flagResult'
      ? this.#m.flagResult
      : name === 'flagCarries'
        ? this.#m.flagCarries
        : name === 'flagAux'
          ? this.#m.flagAux
          : undefined;
  }
  #field(name: string, index: number): { type: 'i32' | 'i64'; offset: number } {
    if (name === 'gpr' || name === 'rip' || name === 'blockIp') throw new Untranslatable();
    const type = VpState.fields[name as FieldName];
    const scalar = typeof type === 'string' ? type : type.of;
    const wide = scalar === 'u64';
    return { type: wide ? 'i64' : 'i32', offset: at(name as FieldName) + index * (wide ? 8 : 4) };
  }
  state(name: string, index = 0): Value {
    const lazy = this.#lazy(name);
    if (lazy) {
      this.#m.flagsUsed = true;
      return lazy.get();
    }
    // A region is made for 64-bit mode only.
    if (name === 'mode') return this.f.load('i32.load', this.#m.vp, at('mode')).or(Mode.LONG64);
    const field = this.#field(name, index);
    return this.f.load(`${field.type}.load`, this.#m.vp, field.offset);
  }
  setState(name: string, value: Term, index = 0): void {
    const lazy = this.#lazy(name);
    if (lazy) {
      this.#m.flagsWritten = true;
      lazy.set(value);
      return;
    }
    const field = this.#field(name, index);
    this.f.store(`${field.type}.store`, this.#m.vp, value, field.offset);
  }
  stateAddress(name: string): Value {
    if (name === 'gpr' || FLAG_FIELDS.has(name)) throw new Untranslatable();
    return this.#m.vp.add(at(name as FieldName));
  }

  // ---- memory --------------------------------------------------------------------------------------------------------------------

  #redoIf(condition: Value): void {
    this.f.if(
      condition,
      () => {
        this.#ending.redo();
      },
      undefined,
      false,
    );
  }
  /** Address in linear memory for an access: by the TLB, else by a walk that fills it; what is not plain RAM leaves. */
  #host(linear: Value, bytes: number, write: boolean, mark: number): Value {
    const { f } = this;
    const { vp } = this.#m;
    const context = f.load('i32.load', vp, at('tlbContext')).shl(TLB_CONTEXT_SHIFT);
    const entry = vp.add(context).add(
      linear
        .wrap()
        .shrU(8)
        .and((TLB_ENTRIES - 1) << 4),
    );
    const offset = TLB + (write ? TLB_WRITE : 0);
    const host = f.variable('i32');
    f.if(
      linear.sub(f.load('i64.load', entry, offset)).ltU(4097 - bytes),
      () => {
        host.set(linear.wrap().add(f.load('i32.load', entry, offset + 8)));
      },
      () => {
        const found = f.call1(this.#m.helper(write ? 'plain_store' : 'plain_load'), vp, linear, bytes, mark);
        this.#redoIf(found.eqz());
        host.set(found);
      },
      true,
    );
    return host.get();
  }
  loadLinear(linear: Value, bytes: number, through?: 'stack'): Value {
    return this.f.load(loadName(bytes), this.#host(linear, bytes, false, through ? STACK : 0));
  }
  storeLinear(linear: Value, bytes: number, value: Term, through?: 'stack'): void {
    this.f.store(storeName(bytes), this.#host(linear, bytes, true, through ? STACK : 0), value);
  }
  loadLinearV(linear: Value): Value {
    return this.f.load('v128.load', this.#host(linear, 16, false, 0));
  }
  storeLinearV(linear: Value, value: Value): void {
    this.f.store('v128.store', this.#host(linear, 16, true, 0), value);
  }
  probe(): void {
    throw new Untranslatable();
  }

  // ---- flags ------------------------------------------------------------------------------------------------------------------------

  /** What happens only on some paths says nothing about what follows. */
  #remember(last: Last): void {
    this.last = this.f.region === this.#region ? last : undefined;
  }
  flagsAdd(a: Value, b: Value, result: Value): void {
    this.#flags.add(a, b, result);
    this.#remember({ kind: 'result', a, b, result: result.sext(this.bits), bits: this.bits });
  }
  flagsSub(a: Value, b: Value, result: Value): void {
    this.#flags.sub(a, b, result);
    // Only a subtraction without borrow is a comparison; SBB's result differs.
    const plain = this.#i.form.mnemonic !== 'SBB';
    this.#remember({
      kind: plain ? 'sub' : 'result',
      a: a.zext(this.bits),
      b: b.zext(this.bits),
      result: result.sext(this.bits),
      bits: this.bits,
    });
  }
  flagsLogic(result: Value): void {
    this.#flags.logic(result);
    this.#remember({ kind: 'logic', a: result, b: result, result: result.sext(this.bits), bits: this.bits });
  }
  flagsResult(result: Value, values: FlagValues): void {
    this.#flags.result(result, values);
    this.#remember({ kind: 'result', a: result, b: result, result: result.sext(this.bits), bits: this.bits });
  }
  setFlags(values: FlagValues): void {
    this.#flags.assign(values);
    this.last = undefined;
  }
  flag(name: FlagName): Value {
    const { last } = this;
    if (last) {
      if (name === 'ZF') return last.result.eqz();
      if (name === 'SF') return last.result.ltS(0);
      if (last.kind === 'logic' && (name === 'CF' || name === 'OF')) return this.f.i32(0);
      if (last.kind === 'sub' && name === 'CF') return last.a.ltU(last.b);
    }
    return this.#flags.read(name);
  }
  condition(code: number): Value {
    const direct = this.#compare(code >> 1);
    if (!direct) return this.#flags.condition(code);
    return code & 1 ? direct.eqz() : direct;
  }
  /** The condition from the operands of the comparison that made it. */
  #compare(kind: number): Value | undefined {
    const { last } = this;
    if (!last) return undefined;
    if (kind === 2) return last.result.eqz();
    if (kind === 4) return last.result.ltS(0);
    if (last.kind === 'logic') {
      if (kind === 0 || kind === 1) return this.f.i32(0);
      if (kind === 3) return last.result.eqz();
      if (kind === 6) return last.result.ltS(0);
      if (kind === 7) return last.result.leS(0);
    } else if (last.kind === 'sub') {
      if (kind === 1) return last.a.ltU(last.b);
      if (kind === 3) return last.a.leU(last.b);
      if (kind === 6) return last.a.sext(last.bits).ltS(last.b.sext(last.bits));
      if (kind === 7) return last.a.sext(last.bits).leS(last.b.sext(last.bits));
    }
    return undefined;
  }
  rflags(): Value {
    return this.#flags.all();
  }
  setRflags(): void {
    throw new Untranslatable();
  }

  // ---- stack ---------------------------------------------------------------------------------------------------------------------------

  stackLinear(offset: Value): Value {
    return offset;
  }
  stackPointer(): Value {
    return this.reg(Register.RSP, 8);
  }
  setStackPointer(value: Value): void {
    this.setReg(Register.RSP, value, 8);
  }
  push(value: Term): void {
    const rsp = this.reg(Register.RSP, 8).sub(this.size);
    this.storeLinear(rsp, this.size, value, 'stack');
    this.setStackPointer(rsp);
  }
  top(): Value {
    return this.loadLinear(this.stackPointer(), this.size, 'stack');
  }
  drop(bytes?: Term): void {
    this.setStackPointer(this.stackPointer().add(this.f.coerce(bytes ?? this.size, 'i64')));
  }

  // ---- control flow ----------------------------------------------------------------------------------------------------------------------

  current(): Value {
    return this.#m.page.get().add(this.#at);
  }
  next(): Value {
    return this.#m.page.get().add(this.#at + this.#i.length);
  }
  target(): Value {
    this.#relative = true;
    return this.next().add(this.#i.immediate);
  }
  jump(target: Value, commit?: () => void): void {
    const inside = this.#relative && this.#i.form.mnemonic === 'JMP';
    if (!inside) this.#redoIf(target.shl(16).shrS(16).ne(target));
    commit?.();
    if (inside) this.#ending.jump();
    else this.#ending.leave(target);
  }
  branch(condition: Value): void {
    this.#ending.branch(condition);
  }

  raise(): void {
    this.#ending.redo();
  }
  raiseIf(condition: Value): void {
    this.#redoIf(condition);
  }
  requireCpl0(): void {
    throw new Untranslatable();
  }
  helper(name: string, ...args: Term[]): Value[] {
    return this.f.call(this.#m.helper(name), ...args);
  }
  again(): void {
    throw new Untranslatable();
  }
  system(): void {
    throw new Untranslatable();
  }
  systemValue(): Value {
    throw new Untranslatable();
  }
  endBlock(): void {
    throw new Untranslatable();
  }
}
