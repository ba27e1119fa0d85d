/**
 * Task switches by JMP, CALL, IRET and interrupts: Intel SDM vol. 3, "Task Switching" (table "Exception Conditions
 * Checked During a Task Switch") and "32-Bit/16-Bit Task-State Segment". Not in IA-32e mode.
 */
import { Flag, Mode, readFlags, Segment, Vector, type VpView, writeFlags } from '../../vp/state.ts';
import { raise, type SystemContext } from './context.ts';
import { PendingDebug } from './debug.ts';
import {
  attributesOf,
  baseOf,
  clearBusy,
  type Descriptor,
  dpl,
  errorOf,
  isCode,
  isConforming,
  isNull,
  isReadable,
  limitOf,
  present,
  readDescriptor,
  SystemType,
  setBusy,
  type,
} from './descriptor.ts';
import { Cr0, Cr4, setSegment, systemAccess, updateMode, V86_ATTRIBUTES } from './mode.ts';
import { checkStackSegment, loadDescriptor, loadLdt, loadNull } from './segments.ts';

export type TaskSource = 'jump' | 'call' | 'return' | 'interrupt';

/** Where the two formats keep things. A 16-bit TSS has no CR3, FS, GS and T flag. */
interface TssLayout {
  readonly size: 2 | 4;
  readonly limit: number;
  readonly ip: number;
  readonly flags: number;
  readonly registers: number;
  readonly segments: number;
  /** In the order of `SEGMENT_ORDER`. */
  readonly segmentCount: number;
  readonly ldt: number;
  readonly cr3: number;
  readonly trap: number;
}
const TSS32: TssLayout = {
  size: 4,
  limit: 0x67,
  ip: 0x20,
  flags: 0x24,
  registers: 0x28,
  segments: 0x48,
  segmentCount: 6,
  ldt: 0x60,
  cr3: 0x1c,
  trap: 0x64,
};
const TSS16: TssLayout = {
  size: 2,
  limit: 0x2b,
  ip: 0x0e,
  flags: 0x10,
  registers: 0x12,
  segments: 0x22,
  segmentCount: 4,
  ldt: 0x2a,
  cr3: -1,
  trap: -1,
};
const SEGMENT_ORDER = [Segment.ES, Segment.CS, Segment.SS, Segment.DS, Segment.FS, Segment.GS] as const;

function layoutOf(typeField: number): TssLayout {
  return (typeField & 8) !== 0 ? TSS32 : TSS16;
}

/**
 * The descriptor of an available TSS that a JMP, CALL or task gate names. `vector` is #GP, or #TS for the link of an IRET,
 * which wants a busy one.
 */
export function fetchTss(
  ctx: SystemContext,
  selector: number,
  external: number,
  vector: number = Vector.GP,
): Descriptor {
  const error = errorOf(selector) | external;
  if ((selector & 4) !== 0 || isNull(selector)) raise(ctx, vector, error);
  const d = readDescriptor(ctx, selector);
  if (!d) return raise(ctx, vector, error);
  const t = type(d);
  const wanted =
    vector === Vector.TS
      ? t === SystemType.TSS_BUSY || t === SystemType.TSS16_BUSY
      : t === SystemType.TSS || t === SystemType.TSS16;
  if (!wanted) raise(ctx, vector, error);
  if (!present(d)) raise(ctx, Vector.NP, error);
  return d;
}

function at(base: bigint, offset: number): bigint {
  return (base + BigInt(offset)) & 0xffff_ffffn;
}

/**
 * Switches to the task of a checked TSS. `returnRip` is what the old task goes on at. Faults found in the new task's state
 * are the new task's: RIP is then already its own.
 */
export function switchTask(
  ctx: SystemContext,
  selector: number,
  d: Descriptor,
  source: TaskSource,
  returnRip: bigint,
  external: number,
): void {
  const { vp } = ctx;
  const access = systemAccess(vp);
  const next = layoutOf(type(d));
  const base = BigInt(baseOf(d));
  const tsError = errorOf(selector) | external;
  if (limitOf(d) < next.limit) raise(ctx, Vector.TS, tsError);
  const nested = source === 'call' || source === 'interrupt';

  const oldSelector = vp.segmentSelector[Segment.TR] as number;
  const old = layoutOf(vp.segmentAttributes[Segment.TR] as number);
  const oldBase = vp.segmentBase[Segment.TR] as bigint;
  const oldDescriptor = readDescriptor(ctx, oldSelector);
  // All that could fault in either TSS is touched before anything changes.
  ctx.probeWrite(at(oldBase, old.ip), old.segments + old.segmentCount * old.size - old.ip, access);
  if (nested) ctx.probeWrite(base, 2, access);
  const read = (offset: number, size: 1 | 2 | 4 = next.size): bigint => ctx.readLinear(at(base, offset), size, access);
  const cr3 = next.cr3 >= 0 ? read(next.cr3) : -1n;
  const rip = read(next.ip);
  let flags = Number(read(next.flags));
  const registers: bigint[] = [];
  for (let i = 0; i < 8; i++) registers.push(read(next.registers + i * next.size));
  const selectors: number[] = [];
  for (let i = 0; i < 6; i++)
    selectors.push(i < next.segmentCount ? Number(read(next.segments + i * next.size, 2)) : 0);
  const ldt = Number(read(next.ldt, 2));
  const trap = next.trap >= 0 && (read(next.trap, 2) & 1n) !== 0n;

  if (!nested && oldDescriptor) clearBusy(ctx, oldSelector, oldDescriptor);
  let oldFlags = readFlags(vp);
  if (source === 'return') oldFlags &= ~Flag.NT;
  const write = (offset: number, value: bigint, size: 2 | 4 = old.size): void => {
    ctx.writeLinear(at(oldBase, offset), size, BigInt.asUintN(size * 8, value), access);
  };
  write(old.ip, returnRip);
  write(old.flags, BigInt(oldFlags >>> 0));
  for (let i = 0; i < 8; i++) write(old.registers + i * old.size, vp.gpr[i] as bigint);
  for (let i = 0; i < old.segmentCount; i++)
    write(old.segments + i * old.size, BigInt(vp.segmentSelector[SEGMENT_ORDER[i] as number] as number), 2);
  if (nested) {
    ctx.writeLinear(base, 2, BigInt(oldSelector), access);
    flags |= Flag.NT;
  }
  if (source !== 'return') setBusy(ctx, selector, d);
  if (ctx.platform.tracing)
    ctx.platform.onTrace('task-switch', `${source} from ${oldSelector.toString(16)} to ${selector.toString(16)}`);

  // From here on the new task runs; its own state may still fault.
  setSegment(vp, Segment.TR, selector, base, limitOf(d), attributesOf(d) | 2);
  vp.cr0 |= BigInt(Cr0.TS);
  vp.dr[7] = (vp.dr[7] as bigint) & ~0x155n;
  const cr0 = Number(vp.cr0);
  if (cr3 >= 0n && (cr0 & Cr0.PG) !== 0) {
    vp.cr3 = cr3;
    ctx.flushTlb('nonGlobal');
  }
  vp.rip = vp.nextRip = rip;
  writeFlags(vp, next.size === 2 ? flags & 0xffff : flags);
  for (let i = 0; i < 8; i++) vp.gpr[i] = registers[i] as bigint;
  if (trap) vp.pendingDebug |= PendingDebug.TASK;
  ctx.platform.modeChanged();
  if (cr3 >= 0n && (cr0 & Cr0.PG) !== 0 && (Number(vp.cr4) & Cr4.PAE) !== 0 && !ctx.platform.loadPdptes(cr3))
    raise(ctx, Vector.TS, tsError);
  loadState(ctx, ldt, selectors, external);
}

/** The LDT and the segments of the task just entered. */
function loadState(ctx: SystemContext, ldt: number, selectors: readonly number[], external: number): void {
  const { vp } = ctx;
  const [es, cs, ss, ds, fs, gs] = selectors as [number, number, number, number, number, number];
  if ((vp.flags & Flag.VM) !== 0) {
    selectors.forEach((s, i) => {
      setSegment(vp, SEGMENT_ORDER[i] as number, s, BigInt(s) << 4n, 0xffff, V86_ATTRIBUTES);
    });
    updateMode(vp);
    loadLdt(ctx, ldt, Vector.TS);
    return;
  }
  // Until each has been checked a segment has its selector and nothing else; CPL is that of the new CS.
  const level = cs & 3;
  selectors.forEach((s, i) => {
    loadNull(vp, SEGMENT_ORDER[i] as number, s, level);
  });
  loadNull(vp, Segment.LDTR, ldt);
  vp.mode &= ~Mode.V86;
  updateMode(vp);
  loadLdt(ctx, ldt, Vector.TS);

  if (isNull(cs)) raise(ctx, Vector.TS, external);
  const code = readDescriptor(ctx, cs) ?? raise(ctx, Vector.TS, errorOf(cs) | external);
  if (!isCode(code) || (isConforming(code) ? dpl(code) > level : dpl(code) !== level))
    raise(ctx, Vector.TS, errorOf(cs) | external);
  if (!present(code)) raise(ctx, Vector.NP, errorOf(cs) | external);
  const stack = checkStackSegment(ctx, ss, level, Vector.TS, external);
  loadDescriptor(ctx, Segment.CS, cs, code);
  loadDescriptor(ctx, Segment.SS, ss, stack);
  updateMode(vp);
  for (const [index, selector] of [
    [Segment.ES, es],
    [Segment.DS, ds],
    [Segment.FS, fs],
    [Segment.GS, gs],
  ] as const) {
    if (isNull(selector)) continue;
    const data = readDescriptor(ctx, selector) ?? raise(ctx, Vector.TS, errorOf(selector) | external);
    const denied = !isConforming(data) && ((selector & 3) > dpl(data) || level > dpl(data));
    if (!isReadable(data) || denied) raise(ctx, Vector.TS, errorOf(selector) | external);
    if (!present(data)) raise(ctx, Vector.NP, errorOf(selector) | external);
    loadDescriptor(ctx, index, selector, data);
  }
  if (vp.rip > BigInt(limitOf(code))) raise(ctx, Vector.GP, external);
}

/** IRET with NT set: back to the task whose selector the current TSS links to. */
export function returnToLinkedTask(ctx: SystemContext): void {
  const { vp } = ctx;
  const link = Number(ctx.readLinear((vp.segmentBase[Segment.TR] as bigint) & 0xffff_ffffn, 2, systemAccess(vp)));
  switchTask(ctx, link, fetchTss(ctx, link, 0, Vector.TS), 'return', vp.nextRip, 0);
}

/** True when the running task has a 32-bit TSS: an interrupt through a task gate then pushes a 32-bit error code. */
export function hasWideTss(vp: VpView): boolean {
  return ((vp.segmentAttributes[Segment.TR] as number) & 8) !== 0;
}
