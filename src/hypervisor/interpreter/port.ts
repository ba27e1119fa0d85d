/**
 * The interpreter's implementation of the semantics port: operands are found through the predecoded record at run time.
 * The same code serves handlers inside the main loop (memory accesses inline) and handlers that are functions of their
 * own (memory accesses through helpers); they differ only in how they end, see `Ending`.
 *
 * Over 600 lines, because a class has one method for each operation of the port.
 */
import { BOUNCE, commitIfBounced, hostAddress, MODIFY, STACK } from '../mmu/access.ts';
import { Mode, Segment, Vector, VpState } from '../vp/state.ts';
import type { FunctionBuilder } from '../wasm/function.ts';
import type { Operand as Term, Value } from '../wasm/value.ts';
import { type Form, isInMemory, type OperandForm, operandBytes, operandOf } from '../x86/form.ts';
import {
  allFlags,
  assignAllFlags,
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
import type { HelperContext } from '../x86/library.ts';
import type { FlagName, FlagValues, Semantics, Through } from '../x86/semantics.ts';
import { Field } from './record.ts';

type FieldName = Parameters<typeof VpState.offset>[0];
const at = (name: FieldName): number => VpState.offset(name);
const GPR = at('gpr');
const XMM = at('xmm');
const X87 = at('x87');

/** How a product of a form is chosen; one handler each. */
export interface Variant {
  readonly form: Form;
  readonly size: number;
  readonly memory: boolean;
  readonly flat: boolean;
  readonly lock: boolean;
  readonly repeat: 'none' | 'rep' | 'repne';
}

/** How a handler gives control back. */
export interface Ending {
  /** Goes on at `rip` in VpState, or leaves the interpreter when `attention` is set. */
  lookup(): void;
}

export interface Frame {
  readonly f: FunctionBuilder;
  readonly vp: Value;
  /** Address of the record. */
  record(): Value;
  readonly inline: boolean;
  /** Stores the budget to VpState, so that whoever is called knows how many instructions have retired. */
  spill(): void;
  readonly ending: Ending;
}

export class InterpreterPort implements Semantics, FlagStore {
  readonly f: FunctionBuilder;
  readonly size: number;
  readonly bits: number;
  readonly flat: boolean;
  readonly repeat: 'none' | 'rep' | 'repne';
  readonly #frame: Frame;
  readonly #variant: Variant;
  readonly #context: HelperContext;
  readonly #hosts = new Map<number, Value>();
  readonly #linears = new Map<number, Value>();
  readonly #displaced = new Map<number, Value>();
  /** Set when the handler has given control away on every path. */
  ended = false;

  constructor(frame: Frame, variant: Variant, context: HelperContext) {
    this.#frame = frame;
    this.#variant = variant;
    this.#context = context;
    this.f = frame.f;
    this.size = variant.size;
    this.bits = variant.size * 8;
    this.flat = variant.flat;
    this.repeat = variant.repeat;
  }

  vp(): Value {
    return this.#frame.vp;
  }

  // ---- operands ---------------------------------------------------------------------------------------------------------

  #operand(n: number): OperandForm {
    return operandOf(this.#variant.form, n);
  }
  isMemory(n: number): boolean {
    return isInMemory(this.#operand(n), this.#variant.memory);
  }
  #bytes(operand: OperandForm): number {
    return operandBytes(operand, this.size);
  }

  index(n: number): Value {
    return this.#byteField(this.#operand(n).kind === 'ST' ? Field.RM : Field.REG).extU();
  }

  #byteField(field: number): Value {
    return this.f.load('i32.load8_u', this.#frame.record(), field);
  }

  /** Address of a register operand, less the offset of its file in VpState. */
  #register(operand: OperandForm): Value {
    const { vp } = this.#frame;
    switch (operand.kind) {
      case 'fixed':
        return vp.add(operand.register * 8);
      case 'E':
      case 'R':
      case 'W':
      case 'U':
      case 'Q':
      case 'N':
      case 'ST':
        return vp.add(this.#byteField(Field.RM));
      default:
        return vp.add(this.#byteField(Field.REG));
    }
  }

  address(n: number): Value {
    const operand = this.#operand(n);
    const { f } = this;
    const { vp } = this.#frame;
    const record = this.#frame.record();
    const extra = this.#displaced.get(n);
    const encoded = f.load('i64.load', record, Field.DISPLACEMENT);
    const displacement = extra ? encoded.add(extra) : encoded;
    if (operand.kind === 'O') {
      return this.flat ? displacement : this.#truncate(displacement);
    }
    const base = f.load('i64.load', vp.add(this.#byteField(Field.BASE)), GPR);
    const index = f.load('i64.load', vp.add(this.#byteField(Field.INDEX)), GPR);
    const scale = f.load('i64.load8_u', record, Field.SCALE);
    const sum = base.add(index.shl(scale)).add(displacement);
    return this.flat ? sum : this.#truncate(sum);
  }

  displace(n: number, offset: Value): void {
    this.#displaced.set(n, offset);
  }
  baseIsStackPointer(_n: number): Value {
    return this.#byteField(Field.BASE).eq(4 * 8);
  }
  segmentLinear(segment: number | 'override', offset: Value, bytes: number, access: 'read' | 'write'): Value {
    if (segment === 'override') return this.segmented(this.#byteField(Field.SEGMENT), offset, bytes, access);
    return this.flat ? offset : this.segmented(this.f.i32(segment), offset, bytes, access);
  }
  addressReg(index: number): Value {
    const value = this.reg(index, 8);
    return this.flat ? value : this.#truncate(value);
  }
  setAddressReg(index: number, value: Value): void {
    if (this.flat) {
      this.setReg(index, value, 8);
      return;
    }
    const { f } = this;
    const address = this.#byteField(Field.ADDRESS).and(3);
    f.if(
      address.eq(1),
      () => {
        this.setReg(index, value, 2);
      },
      () => {
        this.setReg(index, f.select(address.eq(3), value, value.zext(32)), 8);
      },
    );
  }
  again(): void {
    this.setState('rip', this.current());
    this.setState('unfinished', 1);
    this.#frame.ending.lookup();
  }

  /** Truncates an offset to the record's address size. */
  truncateAddress(offset: Value): Value {
    return this.flat ? offset : this.#truncate(offset);
  }
  get registerOffset(): boolean {
    return this.#variant.form.operands[1]?.kind === 'G';
  }
  #truncate(offset: Value): Value {
    const bits = this.f.i64(8).shl(this.#byteField(Field.ADDRESS).and(3).extU());
    const shift = this.f.i64(64).sub(bits);
    return offset.shl(shift).shrU(shift);
  }

  linear(n: number, bytes: number, access: 'read' | 'write'): Value {
    const known = this.#linears.get(n);
    if (known) return known;
    const offset = this.address(n);
    const linear = this.segmented(this.#byteField(Field.SEGMENT), offset, bytes, access);
    this.#linears.set(n, linear);
    return linear;
  }

  segmented(segment: Value, offset: Value, bytes: Term, access: 'read' | 'write'): Value {
    const { f } = this;
    const { vp } = this.#frame;
    if (this.flat) return offset.add(f.load('i64.load', vp.add(segment.shl(3)), at('segmentBase')));
    return f.call1(this.#context.helper('linearize'), vp, segment, offset, bytes, access === 'write' ? 1 : 0);
  }

  #stackMark(): Value {
    return this.#byteField(Field.ADDRESS).and(STACK);
  }

  read(n: number): Value {
    const operand = this.#operand(n);
    const { f } = this;
    const bytes = this.#bytes(operand);
    switch (operand.kind) {
      case 'I':
        // The first immediate fills the 64-bit field, a second one the 32-bit field.
        if (this.#immediateIndex(n) === 1) return f.load('i64.load32_u', this.#frame.record(), Field.IMMEDIATE2);
        return f.load('i64.load', this.#frame.record(), Field.IMMEDIATE);
      case 'A':
        return f.load('i64.load', this.#frame.record(), Field.IMMEDIATE).or(this.immediate2().shl(32));
      case 'one':
        return f.i64(1);
      case 'S':
        return f.load('i64.load32_u', this.#frame.vp.add(this.#byteField(Field.REG).shl(2)), at('segmentSelector'));
      case 'C':
      case 'D':
        return this.#byteField(Field.REG).extU();
      default:
    }
    if (this.isMemory(n)) {
      if (operand.access === 'readwrite') {
        return f.load(loadName(bytes), this.#modifyHost(n, bytes));
      }
      return this.#load(this.linear(n, bytes, 'read'), bytes, this.#stackMark());
    }
    return f.load(loadName(bytes), this.#register(operand), GPR);
  }

  #immediateIndex(n: number): number {
    return this.#variant.form.operands.slice(0, n).filter((o) => o.kind === 'I' || o.kind === 'J').length;
  }

  /** Second immediate or far selector of the instruction. */
  immediate2(): Value {
    return this.f.load('i64.load32_u', this.#frame.record(), Field.IMMEDIATE2);
  }

  #modifyHost(n: number, bytes: number): Value {
    const known = this.#hosts.get(n);
    if (known) return known;
    const linear = this.linear(n, bytes, 'write');
    const host = this.#hostForWrite(linear, bytes, this.#stackMark());
    this.#hosts.set(n, host);
    return host;
  }

  #hostForWrite(linear: Value, bytes: number, stack: Value): Value {
    const { f } = this;
    const { vp } = this.#frame;
    if (!this.#frame.inline) return f.call1(this.#context.helper(`modify_${bytes}`), vp, linear, stack);
    return hostAddress(f, vp, linear, bytes, true, () => {
      this.#frame.spill();
      return f.call1(this.#context.helper('store_slow'), vp, linear, bytes, stack.or(MODIFY));
    });
  }

  check(n: number): void {
    if (this.isMemory(n)) this.#modifyHost(n, this.#bytes(this.#operand(n)));
  }

  write(n: number, value: Term): void {
    const operand = this.#operand(n);
    const { f } = this;
    const bytes = this.#bytes(operand);
    if (this.isMemory(n)) {
      const host = this.#hosts.get(n);
      if (host) {
        f.store(storeName(bytes), host, value);
        commitIfBounced(f, this.#frame.vp, host, this.#context.helper);
      } else this.#store(this.linear(n, bytes, 'write'), bytes, f.coerce(value, 'i64'), this.#stackMark());
      return;
    }
    this.#storeRegister(this.#register(operand), bytes, f.coerce(value, 'i64'));
  }

  #storeRegister(address: Value, bytes: number, value: Value): void {
    // A 32-bit write clears the upper half.
    if (bytes === 4) this.f.store('i64.store', address, value.zext(32), GPR);
    else this.f.store(storeName(bytes), address, value, GPR);
  }

  modify(n: number, next: (old: Value) => Value): Value {
    if (!(this.#variant.lock && this.isMemory(n))) {
      const old = this.read(n);
      this.write(n, next(old));
      return old;
    }
    const { f } = this;
    const { vp } = this.#frame;
    const bytes = this.#bytes(this.#operand(n));
    const host = this.#modifyHost(n, bytes);
    const result = f.variable('i64');
    const width = bytes === 8 ? '' : String(bytes * 8);
    const sign = bytes === 8 ? '' : '_u';
    const plain =
      bytes === 1
        ? host.eq(vp.add(BOUNCE))
        : host
            .and(bytes - 1)
            .ne(0)
            .or(host.eq(vp.add(BOUNCE)));
    f.if(
      plain,
      () => {
        f.call(this.#context.helper('split_lock'));
        const old = f.load(loadName(bytes), host);
        result.set(old);
        f.store(storeName(bytes), host, next(old));
        f.call(this.#context.helper('split_unlock'));
        commitIfBounced(f, vp, host, this.#context.helper);
      },
      () => {
        const expected = f.variable('i64', f.load(loadName(bytes), host));
        f.loop((again) => {
          const old = expected.get();
          const wanted = next(old);
          const seen = f.atomic(
            `i64.atomic.rmw${width}.cmpxchg${sign}`,
            host,
            old,
            bytes === 8 ? wanted : wanted.zext(bytes * 8),
          );
          expected.set(seen);
          f.brIf(again, seen.ne(old), false);
        });
        result.set(expected.get());
      },
      false,
    );
    return result.get();
  }

  /** Host address and alignment check of a 128-bit operand in memory. */
  #vector(n: number, write: boolean): Value {
    const operand = this.#operand(n);
    const known = this.#hosts.get(n);
    if (known) return known;
    const modifies = operand.access === 'readwrite';
    if (operand.width === 'x') {
      // Alignment comes before the segment's limit, which may be #SS.
      const segment = this.#byteField(Field.SEGMENT);
      const base = this.f.load('i64.load', this.#frame.vp.add(segment.shl(3)), at('segmentBase'));
      this.raiseIf(this.address(n).add(base).wrap().and(15).ne(0), Vector.GP, 0);
    }
    const linear = this.linear(n, 16, write || modifies ? 'write' : 'read');
    const stack = this.#stackMark();
    if (write || modifies) {
      const host = this.f.call1(this.#context.helper('modify_16'), this.#frame.vp, linear, stack);
      if (modifies) this.#hosts.set(n, host);
      return host;
    }
    return this.f.call1(this.#context.helper('load_16'), this.#frame.vp, linear, stack);
  }

  readV(n: number): Value {
    if (this.isMemory(n)) return this.f.load('v128.load', this.#vector(n, false));
    return this.f.load('v128.load', this.#register(this.#operand(n)), XMM);
  }
  writeV(n: number, value: Value): void {
    if (this.isMemory(n)) {
      const host = this.#vector(n, true);
      this.f.store('v128.store', host, value);
      commitIfBounced(this.f, this.#frame.vp, host, this.#context.helper);
    } else this.f.store('v128.store', this.#register(this.#operand(n)), value, XMM);
  }
  read32(n: number): Value {
    if (this.isMemory(n)) return this.#load(this.linear(n, 4, 'read'), 4, this.#stackMark()).wrap();
    return this.f.load('i32.load', this.#register(this.#operand(n)), XMM);
  }
  read64(n: number): Value {
    if (this.isMemory(n)) return this.#load(this.linear(n, 8, 'read'), 8, this.#stackMark());
    return this.f.load('i64.load', this.#register(this.#operand(n)), XMM);
  }
  write32(n: number, value: Term): void {
    const v = this.f.coerce(value, 'i32');
    if (this.isMemory(n)) this.#store(this.linear(n, 4, 'write'), 4, v.extU(), this.#stackMark());
    else this.f.store('i32.store', this.#register(this.#operand(n)), v, XMM);
  }
  write64(n: number, value: Term): void {
    const v = this.f.coerce(value, 'i64');
    if (this.isMemory(n)) this.#store(this.linear(n, 8, 'write'), 8, v, this.#stackMark());
    else this.f.store('i64.store', this.#register(this.#operand(n)), v, XMM);
  }
  readM(n: number): Value {
    if (this.isMemory(n)) {
      const bytes = this.#operand(n).width === 'd' ? 4 : 8;
      return this.#load(this.linear(n, bytes, 'read'), bytes, this.#stackMark());
    }
    return this.f.load('i64.load', this.#register(this.#operand(n)), X87);
  }
  writeM(n: number, value: Term): void {
    const v = this.f.coerce(value, 'i64');
    if (this.isMemory(n)) {
      this.#store(this.linear(n, 8, 'write'), 8, v, this.#stackMark());
      return;
    }
    const register = this.#register(this.#operand(n));
    this.f.store('i64.store', register, v, X87);
    this.f.store('i32.store16', register, 0xffff, X87 + 8);
  }

  // ---- state --------------------------------------------------------------------------------------------------------------

  reg(index: number, size = this.size): Value {
    return this.f.load(loadName(size), this.#frame.vp, GPR + index * 8);
  }
  setReg(index: number, value: Term, size = this.size): void {
    const v = this.f.coerce(value, 'i64');
    if (size === 4) this.f.store('i64.store', this.#frame.vp, v.zext(32), GPR + index * 8);
    else this.f.store(storeName(size), this.#frame.vp, v, GPR + index * 8);
  }
  #field(name: string, index: number): { type: 'i32' | 'i64'; offset: number } {
    const type = VpState.fields[name as FieldName];
    if (!type) throw new Error(`VpState has no field ${name}`);
    const scalar = typeof type === 'string' ? type : type.of;
    const wide = scalar === 'u64';
    return { type: wide ? 'i64' : 'i32', offset: at(name as FieldName) + index * (wide ? 8 : 4) };
  }
  state(name: string, index = 0): Value {
    const field = this.#field(name, index);
    return this.f.load(`${field.type}.load`, this.#frame.vp, field.offset);
  }
  setState(name: string, value: Term, index = 0): void {
    const field = this.#field(name, index);
    this.f.store(`${field.type}.store`, this.#frame.vp, value, field.offset);
  }
  stateAddress(name: string): Value {
    return this.#frame.vp.add(at(name as FieldName));
  }

  // ---- memory ----------------------------------------------------------------------------------------------------------------

  #load(linear: Value, bytes: number, stack: Value): Value {
    const { f } = this;
    const { vp } = this.#frame;
    if (!this.#frame.inline) return f.call1(this.#context.helper(`load_${bytes}`), vp, linear, stack);
    const host = hostAddress(f, vp, linear, bytes, false, () => {
      this.#frame.spill();
      return f.call1(this.#context.helper('load_slow'), vp, linear, bytes, stack);
    });
    return f.load(loadName(bytes), host);
  }
  #store(linear: Value, bytes: number, value: Value, stack: Value): void {
    const { f } = this;
    const { vp } = this.#frame;
    if (!this.#frame.inline) {
      f.call(this.#context.helper(`store_${bytes}`), vp, linear, value, stack);
      return;
    }
    const host = hostAddress(f, vp, linear, bytes, true, () => {
      this.#frame.spill();
      return f.call1(this.#context.helper('store_slow'), vp, linear, bytes, stack);
    });
    f.store(storeName(bytes), host, value);
    commitIfBounced(f, vp, host, this.#context.helper);
  }
  #mark(through: Through | undefined): Value {
    return through === 'operand' ? this.#stackMark() : this.f.i32(through ? STACK : 0);
  }
  loadLinear(linear: Value, bytes: number, through?: Through): Value {
    return this.#load(linear, bytes, this.#mark(through));
  }
  storeLinear(linear: Value, bytes: number, value: Term, through?: Through): void {
    this.#store(linear, bytes, this.f.coerce(value, 'i64'), this.#mark(through));
  }
  loadLinearV(linear: Value): Value {
    return this.f.load('v128.load', this.f.call1(this.#context.helper('load_16'), this.#frame.vp, linear, 0));
  }
  storeLinearV(linear: Value, value: Value): void {
    const host = this.f.call1(this.#context.helper('modify_16'), this.#frame.vp, linear, 0);
    this.f.store('v128.store', host, value);
    commitIfBounced(this.f, this.#frame.vp, host, this.#context.helper);
  }
  probe(linear: Value, bytes: Term, access: 'read' | 'write', through?: Through): void {
    const { f } = this;
    f.call(
      this.#context.helper('probe'),
      this.#frame.vp,
      linear,
      bytes,
      access === 'write' ? 2 : 0,
      this.#mark(through),
    );
  }

  // ---- flags -------------------------------------------------------------------------------------------------------------------

  flagState(): FlagState {
    const form = this.state('flagForm');
    return {
      result: this.state('flagResult'),
      a: this.state('flagA'),
      b: this.state('flagB'),
      carry: form.and(1),
      kind: form.shrU(1),
    };
  }
  setFlagState({ result, a, b, carry, kind }: FlagState): void {
    this.setState('flagResult', result);
    this.setState('flagA', a);
    this.setState('flagB', b);
    this.setState('flagForm', carry.or(kind.shl(1)));
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
  setRflags(value: Value, mask: Term): void {
    assignAllFlags(this, value, mask);
  }

  // ---- stack -------------------------------------------------------------------------------------------------------------------

  /** Linear address of `offset` in the stack segment, for an access of the operand size. */
  stackLinear(offset: Value, access: 'read' | 'write'): Value {
    if (this.flat) return offset;
    return this.f.call1(
      this.#context.helper('linearize'),
      this.#frame.vp,
      Segment.SS,
      offset,
      this.size,
      access === 'write' ? 1 : 0,
    );
  }
  /** The stack pointer truncated to the stack's address size. */
  stackPointer(): Value {
    const rsp = this.reg(4, 8);
    return this.flat ? rsp : this.f.call1(this.#context.helper('stack_offset'), this.#frame.vp, rsp);
  }
  /** Sets as much of RSP as the stack's address size covers. */
  setStackPointer(value: Value): void {
    if (this.flat) this.setReg(4, value, 8);
    else this.f.call(this.#context.helper('set_stack_pointer'), this.#frame.vp, value);
  }
  push(value: Term): void {
    const { f } = this;
    const v = f.coerce(value, 'i64');
    const rsp = this.reg(4, 8).sub(this.size);
    const offset = this.flat ? rsp : f.call1(this.#context.helper('stack_offset'), this.#frame.vp, rsp);
    this.#store(this.stackLinear(offset, 'write'), this.size, v, f.i32(STACK));
    this.setStackPointer(rsp);
  }
  top(): Value {
    return this.#load(this.stackLinear(this.stackPointer(), 'read'), this.size, this.f.i32(STACK));
  }
  drop(bytes?: Term): void {
    this.setStackPointer(this.reg(4, 8).add(this.f.coerce(bytes ?? this.size, 'i64')));
  }

  // ---- control flow -------------------------------------------------------------------------------------------------------------

  current(): Value {
    const ip = this.state('blockIp').add(this.f.load('i64.load8_u', this.#frame.record(), Field.IP));
    return this.flat ? ip : this.#wrapIp(ip);
  }
  next(): Value {
    const ip = this.current().add(this.f.load('i64.load8_u', this.#frame.record(), Field.LENGTH));
    return this.flat ? ip : this.#wrapIp(ip);
  }
  /** EIP and IP wrap; RIP does not. */
  #wrapIp(ip: Value): Value {
    const { f } = this;
    const mode = this.state('mode');
    const long = mode.and(Mode.LONG64).ne(0);
    return f.select(long, ip, ip.and(0xffff_ffff));
  }
  target(n: number): Value {
    if (this.#operand(n).kind !== 'J') throw new Error('target() takes a relative operand');
    return this.state('blockIp').add(this.f.load('i64.load', this.#frame.record(), Field.IMMEDIATE));
  }
  jump(target: Value, commit?: () => void): void {
    const to = this.size === 2 ? target.zext(16) : this.flat ? target : this.#wrapIp(target);
    // Only an indirect or wildly relative jump can leave canonical space.
    if (this.flat) this.raiseIf(to.shl(16).shrS(16).ne(to), Vector.GP, 0);
    else this.f.call(this.#context.helper('check_jump'), this.#frame.vp, to);
    commit?.();
    this.setState('rip', to);
    this.#frame.ending.lookup();
    this.ended = true;
  }
  branch(condition: Value, n: number): void {
    this.f.if(condition, () => {
      this.jump(this.target(n));
    });
    // A block ends at a conditional branch too: the record that follows continues it.
    this.ended = false;
  }

  // ---- exceptions ------------------------------------------------------------------------------------------------------------------

  raise(vector: number, error?: Term): void {
    this.setState('faultVector', vector);
    this.setState('faultError', error ?? -1);
    this.f.throw(this.#context.fault);
  }
  raiseIf(condition: Value, vector: number, error?: Term): void {
    this.f.if(
      condition,
      () => {
        this.raise(vector, error);
      },
      undefined,
      false,
    );
  }
  requireCpl0(): void {
    this.raiseIf(this.state('cpl').ne(0), Vector.GP, 0);
  }
  helper(name: string, ...args: Term[]): Value[] {
    return this.f.call(this.#context.helper(name), ...args);
  }
  #leave(): void {
    this.setState('rip', this.current());
    this.setState('nextRip', this.next());
  }
  system(name: string, a: Term = 0, b: Term = 0): void {
    this.#leave();
    this.f.call(this.#context.helper(`system:${name}`), a, b);
    this.#frame.ending.lookup();
    this.ended = true;
  }
  systemValue(name: string, a: Term = 0, b: Term = 0): Value {
    this.#leave();
    return this.f.call1(this.#context.helper(`system:${name}`), a, b);
  }
  endBlock(): void {
    this.setState('rip', this.next());
    this.#frame.ending.lookup();
    this.ended = true;
  }
}

const LOADS: Readonly<Record<number, string>> = {
  1: 'i64.load8_u',
  2: 'i64.load16_u',
  4: 'i64.load32_u',
  8: 'i64.load',
};
const STORES: Readonly<Record<number, string>> = {
  1: 'i64.store8',
  2: 'i64.store16',
  4: 'i64.store32',
  8: 'i64.store',
};
export function loadName(bytes: number): string {
  return LOADS[bytes] as string;
}
export function storeName(bytes: number): string {
  return STORES[bytes] as string;
}
