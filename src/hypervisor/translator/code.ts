/**
 * WebAssembly written as it stands: the code of a region around its stencils, and the pieces of the semantics port that are always
 * the same (Core Specification, "Binary Format: Instructions").
 */
import { ByteWriter, Hole } from '../wasm/bytes.ts';
import { type Callee, type FunctionCode, type FunctionType, TYPE_CODE } from '../wasm/function.ts';
import type { ValueType } from '../wasm/opcodes.ts';

/** Operators without immediates. */
export const Op = {
  ELSE: 0x05,
  END: 0x0b,
  RETURN: 0x0f,
  EQZ32: 0x45,
  EQ32: 0x46,
  NE32: 0x47,
  LT_S32: 0x48,
  LE_S32: 0x4c,
  GE_U32: 0x4f,
  EQ64: 0x51,
  NE64: 0x52,
  LT_U64: 0x54,
  GT_U64: 0x56,
  ADD32: 0x6a,
  SUB32: 0x6b,
  AND32: 0x71,
  OR32: 0x72,
  XOR32: 0x73,
  SHL32: 0x74,
  SHR_U32: 0x76,
  ADD64: 0x7c,
  SUB64: 0x7d,
  XOR64: 0x85,
  SHL64: 0x86,
  SHR_S64: 0x87,
  WRAP: 0xa7,
  EXTEND_U: 0xad,
} as const;
export const [BLOCK, LOOP, IF, BR, BR_IF, CALL, CALL_INDIRECT, TAIL_CALL_INDIRECT] = [
  0x02, 0x03, 0x04, 0x0c, 0x0d, 0x10, 0x11, 0x13,
] as const;
export const [CONST32, CONST64] = [0x41, 0x42] as const;
export const Load = { I32: [0x28], I64: [0x29], V128: [0xfd, 0] } as const;
export const Store = { I32: [0x36], I64: [0x37], V128: [0xfd, 11] } as const;
const VOID = 0x40;
/** Type of what a block leaves on the stack. */
export const I32 = 0x7f;

export function getLocal(out: ByteWriter, local: number): void {
  out.byte(0x20);
  out.index(Hole.LOCAL, local);
}
export function setLocal(out: ByteWriter, local: number): void {
  out.byte(0x21);
  out.index(Hole.LOCAL, local);
}
export function teeLocal(out: ByteWriter, local: number): void {
  out.byte(0x22);
  out.index(Hole.LOCAL, local);
}

/** How many labels were open when it was opened. */
export type Label = number;

/** A function's code. Every method that is named for an instruction writes it. */
export class Code {
  readonly out = new ByteWriter();
  #hints: { at: number; likely: boolean }[] = [];
  #depth = 0;

  begin(): void {
    this.out.length = 0;
    this.#hints = [];
    this.#depth = 0;
  }

  op(...codes: readonly number[]): void {
    for (const code of codes) this.out.byte(code);
  }
  i32(value: number): void {
    this.out.byte(CONST32);
    this.out.signed32(value);
  }
  i64(value: number | bigint): void {
    this.out.byte(CONST64);
    this.out.signed(value);
  }
  get(local: number): void {
    getLocal(this.out, local);
  }
  set(local: number): void {
    setLocal(this.out, local);
  }
  tee(local: number): void {
    teeLocal(this.out, local);
  }
  /** Of the address on the stack, whatever its alignment. */
  load(name: keyof typeof Load, offset: number): void {
    this.#access(Load[name], offset);
  }
  store(name: keyof typeof Store, offset: number): void {
    this.#access(Store[name], offset);
  }
  #access(opcode: readonly number[], offset: number): void {
    this.out.raw(opcode);
    this.out.byte(0);
    this.out.unsigned(offset);
  }
  call(helper: Callee): void {
    this.out.byte(CALL);
    this.out.unsigned(helper.index());
  }
  global(index: number): void {
    this.out.byte(0x23);
    this.out.unsigned(index);
  }
  callIndirect(type: number, table: number, tail = false): void {
    this.out.byte(tail ? TAIL_CALL_INDIRECT : CALL_INDIRECT);
    this.out.unsigned(type);
    this.out.unsigned(table);
  }

  #open(opcode: number, result: number = VOID): Label {
    this.out.byte(opcode);
    this.out.byte(result);
    return this.#depth++;
  }
  block(): Label {
    return this.#open(BLOCK);
  }
  loop(): Label {
    return this.#open(LOOP);
  }
  /** On the stack is whether what follows is executed. */
  if(likely?: boolean, result?: typeof I32): void {
    if (likely !== undefined) this.hint(likely);
    this.#open(IF, result);
  }
  else(): void {
    this.out.byte(Op.ELSE);
  }
  end(): void {
    this.#depth--;
    this.out.byte(Op.END);
  }
  br(label: Label): void {
    this.out.byte(BR);
    this.out.unsigned(this.depth(label));
  }
  /** How many labels out a label is. */
  depth(label: Label): number {
    return this.#depth - 1 - label;
  }
  /** Says of the branch that is written next whether it is likely. */
  hint(likely: boolean): void {
    this.#hints.push({ at: this.out.length, likely });
  }

  /** The body of a function whose code this is. @param locals behind the parameters */
  finish(type: FunctionType, locals: readonly ValueType[]): FunctionCode {
    const head = new ByteWriter();
    const groups: [number, ValueType][] = [];
    for (const local of locals) {
      const last = groups.at(-1);
      if (last && last[1] === local) last[0]++;
      else groups.push([1, local]);
    }
    head.unsigned(groups.length);
    for (const [count, local] of groups) {
      head.unsigned(count);
      head.byte(TYPE_CODE[local]);
    }
    if (type.results.length > 0) this.out.byte(0x00);
    this.out.byte(Op.END);
    const shift = head.length;
    head.raw(this.out.view());
    return {
      body: head.finish(),
      hints: this.#hints.map(({ at, likely }) => ({ at: at + shift, likely })),
    };
  }
}
