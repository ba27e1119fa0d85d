/**
 * The translator's implementation of the semantics port, for recording stencils: registers are the machine's locals, by their place in
 * the instruction, and numbers are holes; of the flags, what is known is kept as values until somebody reads them. Translated code never raises: where an
 * instruction faults, touches anything but plain RAM, or stores to code, control leaves in front of it and the interpreter
 * executes it. Over 600 lines, because the port is one object with a method for each operation.
 */

import { loadName, storeName } from '../interpreter/port.ts';
import { TLB, TLB_ENTRIES, TLB_WRITE } from '../memory/layout.ts';
import { Segment, VpState } from '../vp/state.ts';
import { ByteWriter, Hole } from '../wasm/bytes.ts';
import type { FunctionBuilder, Variable } from '../wasm/function.ts';
import type { Operand as Term, Value } from '../wasm/value.ts';
import type { Instruction } from '../x86/decoder.ts';
import { isInMemory, type OperandForm, operandBytes, operandOf } from '../x86/form.ts';
import {
  allFlags,
  type FlagState,
  type FlagStore,
  flagsAssigned,
  flagsOfDifference,
  flagsOfLogic,
  flagsOfResult,
  flagsOfSum,
  readCondition,
  readFlag,
} from '../x86/lazy-flags.ts';
import { type FlagName, type FlagValues, Register, type Semantics } from '../x86/semantics.ts';
import { isSettled } from '../x86/softfloat/settled.ts';
import { BR_IF, CALL, CONST32, CONST64, getLocal, IF, Load, Op, setLocal, teeLocal } from './code.ts';
import type { AccessFacts } from './facts.ts';
import { Access } from './groups.ts';
import type { Machine } from './machine.ts';
import { immediateHole, immediateOf, isInRm, isPartOfProduct, Numbers, operandRegister, Role } from './numbers.ts';

type FieldName = Parameters<typeof VpState.offset>[0];
const at = (name: FieldName): number => VpState.offset(name);
const X87 = at('x87');
const STACK = 0x80;
const IN_LOCALS = new Set(['gpr', 'xmm', 'rip', 'blockIp', 'flagResult', 'flagA', 'flagB', 'flagForm', 'tlbContext']);

const entryMask = new ByteWriter();
entryMask.signed32((TLB_ENTRIES - 1) << 4);
/** linear >> 8 & mask, added to what is below it on the stack. */
const ENTRY_OF = [Op.WRAP, CONST32, 8, Op.SHR_U32, CONST32, ...entryMask.view(), Op.AND32, Op.ADD32];
const LOAD64_AT = [...Load.I64, 0];
const LOAD32_AT = [...Load.I32, 0];
const SUB_CONST = [Op.SUB64, CONST64];
const IF_I32 = [IF, 0x7f];
const ADD_ELSE_CONST = [Op.ADD32, Op.ELSE, CONST32];

/** Thrown while building: the instruction is left to the interpreter. */
export class Untranslatable extends Error {}

/** The flags as far as they are known while code is built; undefined: the machine's locals have them. */
export type KnownFlags = FlagState | undefined;

/** How the instruction ends a block: it has set the machine's target, or its condition. */
export type Ending = 'leave' | 'branch' | 'jump' | undefined;

export class TranslatorPort implements Semantics, FlagStore {
  readonly f: FunctionBuilder;
  readonly size: number;
  readonly bits: number;
  readonly flat = true;
  readonly repeat = 'none';
  readonly #m: Machine;
  readonly #i: Instruction;
  /** Of the one operand that is in memory: an instruction has no two. */
  #knownHost: Value | undefined;
  #knownLinear: Value | undefined;
  #displacement: Value | undefined;
  #relative = false;
  readonly #region: FunctionBuilder['region'];
  readonly #done: Set<string>;
  readonly #access: number;
  /** Carried from instruction to instruction. */
  known: KnownFlags;
  /** The instruction has set flags on one of several paths. */
  conditional = false;
  /** Control may leave in front of the instruction, and for another reason than its access to memory. */
  leaves = false;
  leavesBeside = false;
  /** The accesses that the semantics ask for. More than one where one of them is not made on every path. */
  readonly accesses: AccessFacts[] = [];
  /** The instruction depends on what holds already. */
  asks = false;
  ending: Ending;

  /**
   * @param done What holds already, see established().
   * @param access How it makes its access, see groups.ts.
   */
  constructor(
    machine: Machine,
    instruction: Instruction,
    known: KnownFlags,
    done: Set<string> = new Set(),
    access: number = Access.ALONE,
  ) {
    this.#done = done;
    this.#access = access;
    this.#m = machine;
    this.#i = instruction;
    this.f = machine.f;
    this.size = instruction.size;
    this.bits = instruction.size * 8;
    this.known = known;
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

  reg(index: number, size = this.size): Value {
    return this.#m
      .register(index)
      .get()
      .zext(size * 8);
  }
  setReg(index: number, value: Term, size = this.size): void {
    const v = this.f.coerce(value, 'i64');
    const variable = this.#m.register(index);
    this.#m.written(variable);
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
    return operandRegister(operand, this.#i);
  }
  /** Which register that is, by its place in the instruction. */
  #role(operand: OperandForm): number {
    if (operand.kind === 'fixed') return operand.register;
    const high = this.#isHigh(operand, this.#number(operand));
    if (isInRm(operand)) return high ? Role.RM_HIGH : Role.RM;
    return high ? Role.REG_HIGH : Role.REG;
  }
  #readRegister(operand: OperandForm, bytes: number): Value {
    const role = this.#role(operand);
    if (role === Role.REG_HIGH || role === Role.RM_HIGH) return this.reg(role, 8).shrU(8).and(0xff);
    return this.reg(role, bytes);
  }
  #writeRegister(operand: OperandForm, bytes: number, value: Value): void {
    const role = this.#role(operand);
    if (role !== Role.REG_HIGH && role !== Role.RM_HIGH) {
      this.setReg(role, value, bytes);
      return;
    }
    const variable = this.#m.register(role);
    this.#m.written(variable);
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

  displace(_n: number, offset: Value): void {
    this.#displacement = offset;
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
  /** Who writes the stencil has computed it (stencil.ts), as it is before the instruction. */
  address(_n: number): Value {
    const address = this.#m.address.get();
    return this.#displacement ? address.add(this.#displacement) : address;
  }
  linear(n: number): Value {
    const known = this.#knownLinear;
    if (known) return known;
    const linear = this.#based(this.address(n));
    this.#knownLinear = linear;
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
    if (i.form.operands.findIndex((o) => o.kind === 'I') !== n) return this.f.i64(i.immediate2 >>> 0);
    const bytes = operand.width === 'b' ? 1 : operand.width === 'w' ? 2 : this.size;
    return isPartOfProduct(i) ? this.f.i64(immediateOf(i, bytes)) : this.f.hole('i64', immediateHole(bytes));
  }
  #modifyHost(n: number, bytes: number): Value {
    const known = this.#knownHost;
    if (known) return known;
    const host = this.#host(this.linear(n), bytes, true, this.#mark());
    this.#knownHost = host;
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

  // ---- vectors -------------------------------------------------------------------------------------------------

  #vectorHost(n: number, write: boolean): Value {
    const known = this.#knownHost;
    if (known) return known;
    const operand = this.#operand(n);
    const linear = this.linear(n);
    if (operand.width === 'x') this.#redoIf(linear.wrap().and(15));
    const host = this.#host(linear, 16, write || operand.access === 'readwrite', this.#mark());
    this.#knownHost = host;
    return host;
  }
  #xmm(n: number): Variable {
    return this.#m.vector(this.#role(this.#operand(n)));
  }
  readV(n: number): Value {
    return this.isMemory(n) ? this.f.load('v128.load', this.#vectorHost(n, false)) : this.#xmm(n).get();
  }
  writeV(n: number, value: Value): void {
    if (this.isMemory(n)) {
      this.f.store('v128.store', this.#vectorHost(n, true), value);
      return;
    }
    const variable = this.#xmm(n);
    this.#m.written(variable);
    variable.set(value);
  }
  #scalarHost(n: number, bytes: number, write: boolean): Value {
    return this.#host(this.linear(n), bytes, write, this.#mark());
  }
  read32(n: number): Value {
    if (this.isMemory(n)) return this.f.load('i32.load', this.#scalarHost(n, 4, false));
    return this.f.lane('i32x4.extract_lane', [0], this.#xmm(n).get());
  }
  read64(n: number): Value {
    if (this.isMemory(n)) return this.f.load('i64.load', this.#scalarHost(n, 8, false));
    return this.f.lane('i64x2.extract_lane', [0], this.#xmm(n).get());
  }
  write32(n: number, value: Term): void {
    const v = this.f.coerce(value, 'i32');
    if (this.isMemory(n)) this.f.store('i32.store', this.#scalarHost(n, 4, true), v);
    else this.writeV(n, this.f.lane('i32x4.replace_lane', [0], this.#xmm(n).get(), v));
  }
  write64(n: number, value: Term): void {
    const v = this.f.coerce(value, 'i64');
    if (this.isMemory(n)) this.f.store('i64.store', this.#scalarHost(n, 8, true), v);
    else this.writeV(n, this.f.lane('i64x2.replace_lane', [0], this.#xmm(n).get(), v));
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

  #field(name: string, index: number): { type: 'i32' | 'i64'; offset: number } {
    if (IN_LOCALS.has(name)) throw new Untranslatable();
    const type = VpState.fields[name as FieldName];
    const scalar = typeof type === 'string' ? type : type.of;
    const wide = scalar === 'u64';
    return { type: wide ? 'i64' : 'i32', offset: at(name as FieldName) + index * (wide ? 8 : 4) };
  }
  state(name: string, index = 0): Value {
    if (name === 'mode') return this.f.i32(this.#m.mode);
    const field = this.#field(name, index);
    return this.f.load(`${field.type}.load`, this.#m.vp, field.offset);
  }
  setState(name: string, value: Term, index = 0): void {
    // Whoever waits for these looks at the next instruction. CLI, CLD and STD let nothing in.
    const quiet = /^(CLI|CLD|STD)$/.test(this.#i.form.mnemonic);
    if (name === 'attention' || name === 'interruptShadow' || (name === 'flags' && !quiet)) throw new Untranslatable();
    if (name === 'mxcsr' && this.#i.form.mnemonic === 'LDMXCSR') {
      this.asks = true;
      this.#done.delete('settled');
    }
    const field = this.#field(name, index);
    this.f.store(`${field.type}.store`, this.#m.vp, value, field.offset);
  }
  stateAddress(name: string): Value {
    if (IN_LOCALS.has(name)) throw new Untranslatable();
    return this.#m.vp.add(at(name as FieldName));
  }

  // ---- memory --------------------------------------------------------------------------------------------------------------------

  /** Address in linear memory for an access: by the TLB, else by a walk that fills it; what is not plain RAM leaves. */
  #host(linear: Value, bytes: number, write: boolean, mark: number): Value {
    const { f } = this;
    const m = this.#m;
    const fact = { bytes, isWrite: write, isOperand: linear === this.#knownLinear && !this.#displacement };
    this.accesses.push(fact);
    // Not on every path.
    if (f.region !== this.#region) this.accesses.push(fact);
    if (this.#access !== Access.MEMBER) {
      this.leaves = true;
      if (this.#access === Access.ALONE) return this.#checked(linear, bytes, write, mark);
      const first = linear.sub(f.hole('i64', Numbers.BEFORE));
      m.group.set(this.#checked(first, undefined, write, mark));
    }
    return m.group.get().add(f.hole('i32', Numbers.WITHIN));
  }
  /** @param bytes undefined: as many as are checked together */
  #checked(linear: Value, bytes: number | undefined, write: boolean, mark: number): Value {
    const { f } = this;
    const m = this.#m;
    const { undone } = m;
    const slow = m.helper(write ? 'plain_store' : 'plain_load');
    const offset = Number(m.vp.imm) + TLB + (write ? TLB_WRITE : 0);
    return f.code('i32', [m.tlb.get(), linear], (out, at) => {
      const { linear: address, entry, host } = m.scratch;
      // entry = tlb + (linear >> 8 & mask)
      teeLocal(out, address);
      out.raw(ENTRY_OF);
      setLocal(out, entry);
      // See holds() in mmu/access.ts.
      getLocal(out, entry);
      out.raw(LOAD64_AT);
      out.unsigned(offset);
      getLocal(out, address);
      out.raw(SUB_CONST);
      if (bytes === undefined) out.index(Hole.LONG, Numbers.LIMIT);
      else out.signed32(bytes - 4098);
      out.byte(Op.GT_U64);
      at.hint(true);
      out.raw(IF_I32);
      getLocal(out, address);
      out.byte(Op.WRAP);
      getLocal(out, entry);
      out.raw(LOAD32_AT);
      out.unsigned(offset + 8);
      out.raw(ADD_ELSE_CONST);
      out.index(Hole.WORD, Numbers.UNDONE);
      setLocal(out, undone.local);
      out.byte(CONST32);
      out.signed32(Number(m.vp.imm));
      getLocal(out, address);
      out.byte(CONST32);
      if (bytes === undefined) out.index(Hole.WORD, Numbers.SPAN);
      else out.signed32(bytes);
      out.byte(CONST32);
      out.signed32(mark);
      out.byte(CALL);
      at.callee(slow);
      teeLocal(out, host);
      out.byte(Op.EQZ32);
      at.hint(false);
      out.byte(BR_IF);
      at.branch(f.outside, 1);
      getLocal(out, host);
      out.byte(Op.END);
    });
  }
  /** Where the condition holds, control leaves in front of the instruction, for the interpreter to execute it. */
  #redoIf(condition: Value): void {
    const { f } = this;
    this.leaves = true;
    this.leavesBeside = true;
    this.#m.undone.set(f.hole('i32', Numbers.UNDONE));
    f.brIf(f.outside, condition, false);
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

  flagState(): FlagState {
    return this.known ?? this.#m.flags();
  }
  setFlagState(state: FlagState): void {
    if (this.f.region === this.#region) {
      this.known = state;
      return;
    }
    // The locals have what the other path has: whoever emits the instruction has seen to that.
    this.conditional = true;
    this.#m.setFlags(state);
    this.known = undefined;
  }
  flagsAdd(a: Value, b: Value, result: Value, carryIn = false): void {
    this.setFlagState(flagsOfSum(this.f, this.bits, a, b, result, carryIn));
  }
  flagsSub(a: Value, b: Value, result: Value, borrowIn = false): void {
    this.setFlagState(flagsOfDifference(this.f, this.bits, a, b, result, borrowIn));
  }
  flagsLogic(result: Value): void {
    this.setFlagState(flagsOfLogic(this.f, this.bits, result));
  }
  flagsResult(result: Value, values: FlagValues): void {
    this.setFlagState(flagsOfResult(this.f, this.bits, this.flagState(), result, values));
  }
  setFlags(values: FlagValues): void {
    this.setFlagState(flagsAssigned(this.f, this.flagState(), values));
  }
  flag(name: FlagName): Value {
    return readFlag(this.f, this.flagState(), name);
  }
  condition(code: number): Value {
    return readCondition(this.f, this.flagState(), code);
  }
  rflags(): Value {
    return allFlags(this);
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
    return this.#m.page.get().add(this.f.hole('i64', Numbers.AT));
  }
  next(): Value {
    return this.#m.page.get().add(this.f.hole('i64', Numbers.NEXT));
  }
  target(): Value {
    this.#relative = true;
    return this.#m.page.get().add(this.f.hole('i64', Numbers.TARGET));
  }
  jump(target: Value, commit?: () => void): void {
    const inside = this.#relative && this.#i.form.mnemonic === 'JMP';
    if (!inside) this.#redoIf(target.shl(16).shrS(16).ne(target));
    commit?.();
    this.ending = inside ? 'jump' : 'leave';
    if (!inside) this.#m.target.set(target);
  }
  branch(condition: Value): void {
    this.ending = 'branch';
    this.#m.condition.set(condition);
  }

  raise(): void {
    // What only raises is not worth a region.
    if (this.f.region === this.#region) throw new Untranslatable();
    this.#redoIf(this.f.i32(1));
  }
  raiseIf(condition: Value): void {
    this.#redoIf(condition);
  }
  requireCpl0(): void {
    throw new Untranslatable();
  }
  settled(): Value {
    this.asks = true;
    const { settled } = this.#m;
    // Nothing unsettles it but loading it. What settles it on the way is found by the next block.
    if (!this.#done.has('settled')) settled.set(isSettled(this.state('mxcsr')));
    this.#done.add('settled');
    return settled.get();
  }
  compared(x: Value, y: Value): void {
    if (this.known && this.f.region === this.#region) this.known = { ...this.known, floats: [x, y] };
  }
  established(what: string): boolean {
    this.asks = true;
    if (this.#done.has(what)) return true;
    // The instruction that asks makes sure of it, on every path or on one of several.
    if (this.f.region === this.#region) this.#done.add(what);
    return false;
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
