/**
 * A stack that a transfer reads or writes before any of it takes effect: the current one, or one a task-state segment
 * names. Intel SDM vol. 3, "Stack Switching".
 */
import { Attribute, Mode, Segment, Vector, type VpView } from '../../vp/state.ts';
import { type Access, raise, type SystemContext } from './context.ts';
import { attributesOf, baseOf, type Descriptor, limitOf } from './descriptor.ts';
import { accessAt, isCanonical } from './mode.ts';

const EXPAND_DOWN = 0x4;

/** Whether `bytes` at `offset` lie in a segment with this limit and these attributes. */
export function withinLimit(limit: number, attributes: number, offset: number, bytes: number): boolean {
  const last = offset + bytes - 1;
  if ((attributes & 0x1c) !== (Attribute.S | EXPAND_DOWN)) return last <= limit;
  return offset > limit && last <= ((attributes & Attribute.DB) !== 0 ? 0xffff_ffff : 0xffff);
}

export class Stack {
  readonly #ctx: SystemContext;
  readonly #flat: boolean;
  readonly #base: bigint;
  readonly #limit: number;
  readonly #attributes: number;
  readonly #mask: bigint;
  readonly #access: Access;
  readonly #error: number;
  sp: bigint;

  /** `level` is the privilege level of the accesses, `error` the error code of #SS where the stack is too small. */
  constructor(
    ctx: SystemContext,
    flat: boolean,
    base: bigint,
    limit: number,
    attributes: number,
    sp: bigint,
    level: number,
    error: number,
  ) {
    this.#ctx = ctx;
    this.#flat = flat;
    this.#base = base;
    this.#limit = limit;
    this.#attributes = attributes;
    this.#mask = flat ? 0xffff_ffff_ffff_ffffn : (attributes & Attribute.DB) !== 0 ? 0xffff_ffffn : 0xffffn;
    this.#access = accessAt(ctx.vp, level);
    this.#error = error;
    this.sp = sp & this.#mask;
  }

  static current(ctx: SystemContext, error = 0): Stack {
    const vp = ctx.vp;
    const s = Segment.SS;
    const flat = (vp.mode & Mode.LONG64) !== 0;
    const attributes = vp.segmentAttributes[s] as number;
    return new Stack(
      ctx,
      flat,
      vp.segmentBase[s] as bigint,
      vp.segmentLimit[s] as number,
      attributes,
      vp.gpr[4] as bigint,
      vp.cpl,
      error,
    );
  }

  /** A stack of another privilege level, by its checked descriptor (not for 64-bit mode). */
  static of(ctx: SystemContext, d: Descriptor, sp: bigint, level: number, error: number): Stack {
    return new Stack(ctx, false, BigInt(baseOf(d)), limitOf(d), attributesOf(d), sp, level, error);
  }

  static flat(ctx: SystemContext, sp: bigint, level: number, error: number): Stack {
    return new Stack(ctx, true, 0n, 0, 0, sp, level, error);
  }

  #linear(offset: bigint, bytes: number): bigint {
    if (this.#flat) {
      const last = BigInt.asUintN(64, offset + BigInt(bytes - 1));
      if (!isCanonical(this.#ctx.vp, offset) || !isCanonical(this.#ctx.vp, last))
        raise(this.#ctx, Vector.SS, this.#error);
      return offset;
    }
    if (
      (this.#attributes & Attribute.UNUSABLE) !== 0 ||
      !withinLimit(this.#limit, this.#attributes, Number(offset), bytes)
    )
      raise(this.#ctx, Vector.SS, this.#error);
    return (this.#base + offset) & 0xffff_ffffn;
  }

  push(value: bigint, size: 2 | 4 | 8): void {
    const sp = (this.sp - BigInt(size)) & this.#mask;
    this.#ctx.writeLinear(this.#linear(sp, size), size, BigInt.asUintN(size * 8, value), this.#access);
    this.sp = sp;
  }

  /** Raises #SS unless `bytes` more can be pushed; the pages are looked at by the pushes themselves. */
  requireRoom(bytes: number): void {
    this.#linear((this.sp - BigInt(bytes)) & this.#mask, bytes);
  }

  pop(size: 2 | 4 | 8): bigint {
    const value = this.peek(0, size);
    this.skip(size);
    return value;
  }
  peek(distance: number, size: 2 | 4 | 8): bigint {
    return this.#ctx.readLinear(this.#linear((this.sp + BigInt(distance)) & this.#mask, size), size, this.#access);
  }
  skip(bytes: number): void {
    this.sp = (this.sp + BigInt(bytes)) & this.#mask;
  }

  /** Makes this stack's pointer the processor's, when its segment has become (or always was) SS. */
  commit(vp: VpView): void {
    if (this.#mask === 0xffffn) vp.gpr[4] = ((vp.gpr[4] as bigint) & 0xffff_ffff_ffff_0000n) | this.sp;
    else vp.gpr[4] = this.sp;
  }
}
