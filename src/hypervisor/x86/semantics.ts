/**
 * The port through which the semantics of an instruction are written, once, for every product of the instruction table:
 * the interpreter (operands are read from a predecoded record at run time) and the translator (operands are known).
 *
 * Conventions
 * - Integer operands are i64 values, zero-extended from their size. Values given to write() may have anything above it.
 * - Faults come before commits: an instruction reads (and so checks) every memory operand, and checks every operand it
 *   will only write with check(), before it changes a register, a flag or memory. Reading a read-write operand checks
 *   it for writing.
 * - `s.f` builds code: see hypervisor/wasm/function.ts. What nobody uses costs nothing.
 */
import type { FunctionBuilder } from '../wasm/function.ts';
import type { Operand as Term, Value } from '../wasm/value.ts';

export type FlagName = 'CF' | 'PF' | 'AF' | 'ZF' | 'SF' | 'OF';
export type FlagValues = Partial<Record<FlagName, Term>>;

/** Condition codes in encoding order: Intel SDM vol. 2, appendix B, "Condition Test". */
export const CONDITIONS = [
  'O',
  'NO',
  'B',
  'AE',
  'E',
  'NE',
  'BE',
  'A',
  'S',
  'NS',
  'P',
  'NP',
  'L',
  'GE',
  'LE',
  'G',
] as const;

export const Register = {
  RAX: 0,
  RCX: 1,
  RDX: 2,
  RBX: 3,
  RSP: 4,
  RBP: 5,
  RSI: 6,
  RDI: 7,
  R8: 8,
  R9: 9,
  R10: 10,
  R11: 11,
  R12: 12,
  R13: 13,
  R14: 14,
  R15: 15,
} as const;

/** By which segment an access by linear address goes, where it is not a data segment for sure. */
export type Through = 'stack' | 'operand';

export interface Semantics {
  readonly f: FunctionBuilder;
  /** Operand size in bytes: 1, 2, 4 or 8. Known while building: there is one product per size. */
  readonly size: number;
  /** Operand size in bits. */
  readonly bits: number;
  /** True where the instruction runs in 64-bit mode with 64-bit addresses: no segment limits, no address truncation. */
  readonly flat: boolean;
  /** Repeat prefix of a string instruction. */
  readonly repeat: 'none' | 'rep' | 'repne';
  /** True when operand `n` is in memory. */
  isMemory(n: number): boolean;

  /**
   * Whether an instruction before this one has made sure that SSE or x87 instructions may run, so that this one need not ask;
   * one that is told no asks. Without this method each instruction asks.
   */
  established?(what: 'sse' | 'fpu'): boolean;
  /** Whether MXCSR is settled (semantics/sse-direct.ts), where that is known from before: i32. */
  settled?(): Value;

  // ---- operands, numbered as in the table -----------------------------------------------------------------------------
  /**
   * An integer operand (general register, memory, immediate, segment selector): i64, zero-extended. Of a far pointer in
   * the instruction (`A`): the offset, and the selector in bits 47:32.
   */
  read(n: number): Value;
  write(n: number, value: Term): void;
  /** The number of register operand `n` (segment, control and debug registers; REX.R included): i64. */
  index(n: number): Value;
  /** Checks that a write-only memory operand can be written; write() then cannot fault. */
  check(n: number): void;
  /**
   * Reads operand `n`, replaces it by what `next` makes of it, and returns the old value. Atomic under a LOCK prefix
   * (`next` may then be evaluated again, so it must only compute). Flags are set by the caller from what it captured: use
   * `capture` variables or recompute from the old value.
   */
  modify(n: number, next: (old: Value) => Value): Value;
  /** An XMM register or a 128-bit memory operand (aligned as the table says): v128. */
  readV(n: number): Value;
  writeV(n: number, value: Value): void;
  /** The low 32 or 64 bits of an XMM register, or a memory operand of that width: i32 or i64. */
  read32(n: number): Value;
  read64(n: number): Value;
  /** Writes the low lane of an XMM register and keeps the rest, or a memory operand of that width. */
  write32(n: number, value: Term): void;
  write64(n: number, value: Term): void;
  /** An MMX register or a 64-bit memory operand: i64. Writing also sets the register's exponent bits to ones. */
  readM(n: number): Value;
  writeM(n: number, value: Term): void;
  /** The effective address of memory operand `n` (offset within its segment, truncated to the address size): i64. */
  address(n: number): Value;
  /** The linear address of memory operand `n`, after segment checks for an access of `bytes` (canonical checks happen at the access). */
  linear(n: number, bytes: number, access: 'read' | 'write'): Value;

  /** Adds `offset` to the effective address of memory operand `n`; before its first use. */
  displace(n: number, offset: Value): void;
  /** 1 where memory operand `n` has RSP as its base register: i32. */
  baseIsStackPointer(n: number): Value;
  /** Linear address of `offset` in a segment by number, or in the string source's segment (`override`). */
  segmentLinear(segment: number | 'override', offset: Value, bytes: number, access: 'read' | 'write'): Value;
  /** An offset truncated to the instruction's address size. */
  truncateAddress(offset: Value): Value;
  /** True when operand 1 is a register (a bit offset that may reach beyond its operand). */
  readonly registerOffset: boolean;
  /** A general register at the instruction's address size (RCX of LOOP, RSI and RDI of strings), zero-extended. */
  addressReg(index: number): Value;
  setAddressReg(index: number, value: Value): void;
  /** RSP truncated to the stack's address size; setStackPointer() writes as much of RSP as that size covers. */
  stackPointer(): Value;
  setStackPointer(value: Value): void;
  /** Linear address of `offset` in the stack segment, checked for an access of the operand size. */
  stackLinear(offset: Value, access: 'read' | 'write'): Value;
  /** Leaves the instruction unfinished, to be executed again from its beginning once interrupts were looked at. */
  again(): void;

  // ---- named registers and state ------------------------------------------------------------------------------------------
  /** General register by number at `size` bytes (default: the operand size), zero-extended. */
  reg(index: number, size?: number): Value;
  setReg(index: number, value: Term, size?: number): void;
  /** A field of VpState by name, as i64 or i32 by the field's width (u64 -> i64; u32, i32 -> i32); `index` for arrays. */
  state(field: string, index?: number): Value;
  setState(field: string, value: Term, index?: number): void;
  /** i32 address in linear memory of this processor's VpState. */
  vp(): Value;
  /** i32 address in linear memory of a VpState field, for vector or computed-index access with f.load/f.store. */
  stateAddress(field: string): Value;

  // ---- memory by linear address ---------------------------------------------------------------------------------------------
  /**
   * Loads 1, 2, 4 or 8 bytes at a linear address: i64, zero-extended. Raises #PF, #GP (through the stack: #SS; `operand`:
   * the address is that of the memory operand, through the stack where its segment is).
   */
  loadLinear(linear: Value, bytes: number, through?: Through): Value;
  storeLinear(linear: Value, bytes: number, value: Term, through?: Through): void;
  loadLinearV(linear: Value): Value;
  storeLinearV(linear: Value, value: Value): void;
  /**
   * Checks `bytes` (<= 4096) at a linear address for reading or writing, without access: for alignment too where that is
   * the size of an operand.
   */
  probe(linear: Value, bytes: Term, access: 'read' | 'write', through?: Through): void;

  // ---- flags ---------------------------------------------------------------------------------------------------------------
  /** Flags of r = a + b, or a + b + carry; all six. Size is the operand size. */
  flagsAdd(a: Value, b: Value, result: Value, carryIn?: boolean): void;
  /** Flags of r = a - b, or a - b - borrow. */
  flagsSub(a: Value, b: Value, result: Value, borrowIn?: boolean): void;
  /** Flags of a logical result: CF = OF = 0, AF = 0. */
  flagsLogic(result: Value): void;
  /** Sets the flags named (i32 values 0 or 1) and keeps the others. */
  setFlags(values: FlagValues): void;
  /** ZF, SF and PF from a result; the flags named in `values` as given; what is not named keeps its value. */
  flagsResult(result: Value, values: FlagValues): void;
  /**
   * The flags just set are those of UCOMIS of two floats (f32 or f64): a product may answer conditions from these, A for
   * example as x > y.
   */
  compared?(x: Value, y: Value): void;
  /** One flag: i32, 0 or 1. */
  flag(name: FlagName): Value;
  /** Condition code 0..15: i32, 0 or 1. */
  condition(code: number): Value;
  /** RFLAGS with all bits, i64; and its setter: replaces the bits in `mask`. */
  rflags(): Value;
  setRflags(value: Value, mask: Term): void;

  // ---- stack (uses SS and the stack's address size) ----------------------------------------------------------------------------
  /** Pushes the operand size's bytes. Faults before RSP changes. */
  push(value: Term): void;
  /** Reads the top of stack without moving RSP; drop() then moves it. */
  top(): Value;
  drop(bytes?: Term): void;

  // ---- control flow --------------------------------------------------------------------------------------------------------------
  /** RIP of the next instruction. */
  next(): Value;
  /** RIP of this instruction. */
  current(): Value;
  /**
   * Near jump. The target is truncated to the operand size, and checked: canonical in 64-bit mode, within CS otherwise.
   * `commit` is what the instruction does to the stack, once the target is known to be good.
   */
  jump(target: Value, commit?: () => void): void;
  /** The target of a relative branch operand. */
  target(n: number): Value;
  /** Jumps to the relative operand `n` where the condition holds. */
  branch(condition: Value, n: number): void;

  // ---- exceptions and the rest -----------------------------------------------------------------------------------------------------
  /** Raises an exception at this instruction. `error` only for vectors that push one. */
  raise(vector: number, error?: Term): void;
  raiseIf(condition: Value, vector: number, error?: Term): void;
  /** #GP(0) unless CPL is 0. */
  requireCpl0(): void;
  /** Calls a helper of the library (hypervisor/x86/library.ts) by name. */
  helper(name: string, ...args: Term[]): Value[];
  /**
   * Hands the instruction to TypeScript: system/<name>. It sees all state in VpState with `rip` at this instruction and
   * `nextRip` after it; it may change anything, raises by throwing, and ends the block. `operands`: up to two i64 arguments.
   */
  system(name: string, ...operands: Term[]): void;
  /** The same for an instruction that leaves control flow alone; returns an i64 (for example RDMSR, IN). */
  systemValue(name: string, ...operands: Term[]): Value;
  /** Ends the block after this instruction: execution goes on at next() after modes and interrupts are looked at again. */
  endBlock(): void;
}
