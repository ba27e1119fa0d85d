/**
 * Segment and system descriptors: Intel SDM vol. 3, "Segment Descriptors", "System Descriptor Types", and "Call-Gate
 * Descriptors in IA-32e Mode". A descriptor is its two 32-bit halves.
 */
import { Attribute, Segment, Vector, type VpView } from '../../vp/state.ts';
import { raise, type SystemContext } from './context.ts';
import { systemAccess } from './mode.ts';

export interface Descriptor {
  readonly low: number;
  readonly high: number;
}

/** Type field together with S (bit 4), as in `type()`. */
export const SystemType = {
  TSS16: 1,
  LDT: 2,
  TSS16_BUSY: 3,
  CALL_GATE16: 4,
  TASK_GATE: 5,
  INTERRUPT_GATE16: 6,
  TRAP_GATE16: 7,
  TSS: 9,
  TSS_BUSY: 11,
  CALL_GATE: 12,
  INTERRUPT_GATE: 14,
  TRAP_GATE: 15,
} as const;
const BUSY = 2;

export function type(d: Descriptor): number {
  return (d.high >> 8) & 0x1f;
}
export function dpl(d: Descriptor): number {
  return (d.high >> 13) & 3;
}
export function present(d: Descriptor): boolean {
  return (d.high & 0x8000) !== 0;
}
export function isCode(d: Descriptor): boolean {
  return (d.high & 0x1800) === 0x1800;
}
export function isConforming(d: Descriptor): boolean {
  return (d.high & 0x1c00) === 0x1c00;
}
export function isWritableData(d: Descriptor): boolean {
  return (d.high & 0x1a00) === 0x1200;
}
export function isReadable(d: Descriptor): boolean {
  return (d.high & 0x1000) !== 0 && ((d.high & 0x800) === 0 || (d.high & 0x200) !== 0);
}
/** Code for 64-bit mode (L). */
export function isLong(d: Descriptor): boolean {
  return (d.high & 0x20_0000) !== 0;
}
/** Code with a 32-bit default size (D). */
export function isBig(d: Descriptor): boolean {
  return (d.high & 0x40_0000) !== 0;
}
export function baseOf(d: Descriptor): number {
  return ((d.low >>> 16) | ((d.high & 0xff) << 16) | (d.high & 0xff00_0000)) >>> 0;
}
export function limitOf(d: Descriptor): number {
  const limit = (d.low & 0xffff) | (d.high & 0xf_0000);
  return (d.high & 0x80_0000) !== 0 ? ((limit << 12) | 0xfff) >>> 0 : limit;
}
export function attributesOf(d: Descriptor): number {
  return (d.high >> 8) & 0xf0ff;
}
/** Offset of a call, interrupt or trap gate, without the upper half of a 64-bit one. */
export function gateOffset(d: Descriptor): number {
  return ((d.low & 0xffff) | (d.high & 0xffff_0000)) >>> 0;
}
export function gateSelector(d: Descriptor): number {
  return d.low >>> 16;
}

export function isNull(selector: number): boolean {
  return (selector & 0xfffc) === 0;
}
/** A selector as an error code. */
export function errorOf(selector: number): number {
  return selector & 0xfffc;
}

function split(word: bigint): Descriptor {
  return { low: Number(word & 0xffff_ffffn), high: Number(word >> 32n) };
}

/** Linear address of a selector's entry, or -1 when the last of its `bytes` lies beyond the table. */
function entry(vp: VpView, selector: number, bytes: number): bigint {
  const table = (selector & 4) !== 0 ? Segment.LDTR : Segment.GDTR;
  if (table === Segment.LDTR && ((vp.segmentAttributes[table] as number) & Attribute.UNUSABLE) !== 0) return -1n;
  const index = selector & 0xfff8;
  if (index + bytes - 1 > (vp.segmentLimit[table] as number)) return -1n;
  return BigInt.asUintN(64, (vp.segmentBase[table] as bigint) + BigInt(index));
}

/** The descriptor of a selector; undefined when it lies beyond its table. */
export function readDescriptor(ctx: SystemContext, selector: number): Descriptor | undefined {
  const at = entry(ctx.vp, selector, 8);
  return at < 0n ? undefined : split(ctx.readLinear(at, 8, systemAccess(ctx.vp)));
}

/** The same where a missing descriptor is a fault, with the selector as the error code; `external` is its EXT bit. */
export function fetchDescriptor(
  ctx: SystemContext,
  selector: number,
  vector: number = Vector.GP,
  external = 0,
): Descriptor {
  return readDescriptor(ctx, selector) ?? raise(ctx, vector, errorOf(selector) | external);
}

/**
 * The upper 8 bytes of a 16-byte descriptor: address bits 63:32, and the type bits that must be zero there.
 * undefined beyond the table.
 */
export function readUpperHalf(ctx: SystemContext, selector: number): Descriptor | undefined {
  const at = entry(ctx.vp, selector, 16);
  return at < 0n ? undefined : split(ctx.readLinear(BigInt.asUintN(64, at + 8n), 8, systemAccess(ctx.vp)));
}

/** Sets the accessed bit in memory, if it is clear. */
export function markAccessed(ctx: SystemContext, selector: number, d: Descriptor): void {
  if ((d.high & 0x100) !== 0) return;
  writeAccessByte(ctx, selector, ((d.high >> 8) & 0xff) | 1);
}

export function setBusy(ctx: SystemContext, selector: number, d: Descriptor): void {
  writeAccessByte(ctx, selector, ((d.high >> 8) & 0xff) | BUSY);
}
export function clearBusy(ctx: SystemContext, selector: number, d: Descriptor): void {
  writeAccessByte(ctx, selector, (d.high >> 8) & 0xff & ~BUSY);
}

function writeAccessByte(ctx: SystemContext, selector: number, value: number): void {
  const at = BigInt.asUintN(64, entry(ctx.vp, selector, 8) + 5n);
  ctx.writeLinear(at, 1, BigInt(value), systemAccess(ctx.vp));
}
