/**
 * Delivery of interrupts and exceptions: Intel SDM vol. 3, "Interrupt and Exception Handling" (with "Error Code" and the
 * double-fault table), vol. 2 "INT n/INTO/INT3/INT1". Real mode, virtual-8086 mode (without VME), protected mode through
 * interrupt, trap and task gates, IA-32e mode with interrupt stack tables.
 */
import { Flag, Mode, readFlags, Segment, Vector, type VpView } from '../../vp/state.ts';
import { checkOffset, enterCode, istOffset, longTssStack, rspOffset, tssStack } from './code.ts';
import { GUEST_FAULT, raise, type SystemContext, type SystemOperation } from './context.ts';
import { Dr6, PendingDebug, recordDebugException } from './debug.ts';
import {
  type Descriptor,
  dpl,
  errorOf,
  fetchDescriptor,
  gateOffset,
  gateSelector,
  isCode,
  isConforming,
  isNull,
  markAccessed,
  present,
  SystemType,
  type,
} from './descriptor.ts';
import { accessAt, isCanonical, loadRealSegment, systemAccess, updateMode } from './mode.ts';
import { checkStackSegment, loadDescriptor, loadNull } from './segments.ts';
import { Stack } from './stack.ts';
import { fetchTss, hasWideTss, switchTask } from './tasks.ts';

/**
 * `exception`: the processor found it. `software`: INT n. `software-exception`: INT3, INTO. `privileged-software`: INT1.
 * The software kinds check the gate's DPL, except INT1; in virtual-8086 mode INT n needs IOPL 3.
 */
export type EventKind = 'external' | 'nmi' | 'exception' | 'software' | 'software-exception' | 'privileged-software';

/** Exceptions that restart their instruction and so push RF = 1; #DB depends. */
export const FAULTS =
  (1 << Vector.DE) |
  (1 << Vector.BR) |
  (1 << Vector.UD) |
  (1 << Vector.NM) |
  (1 << Vector.TS) |
  (1 << Vector.NP) |
  (1 << Vector.SS) |
  (1 << Vector.GP) |
  (1 << Vector.PF) |
  (1 << Vector.MF) |
  (1 << Vector.AC) |
  (1 << Vector.XM);
const CONTRIBUTORY = (1 << Vector.DE) | (1 << Vector.TS) | (1 << Vector.NP) | (1 << Vector.SS) | (1 << Vector.GP);

/** Table "Conditions for Generating a Double Fault": the vector to deliver after `second` in the delivery of `first`, or -1. */
export function combine(first: number, second: number): number {
  const contributory = ((CONTRIBUTORY >> second) & 1) !== 0;
  const grave = contributory || second === Vector.PF;
  if (first === Vector.DF) return grave ? -1 : second;
  if (((CONTRIBUTORY >> first) & 1) !== 0) return contributory ? Vector.DF : second;
  if (first === Vector.PF) return grave ? Vector.DF : second;
  return second;
}

/**
 * Delivers an event at the instruction boundary at `vp.rip` (for a fault, the faulting instruction) and sets `vp.rip` to
 * the handler. `error` is the error code or -1; #PF has set CR2, #DB its bits in `faultDr6`. `shutdown`: a triple fault.
 */
export function deliver(ctx: SystemContext, vector: number, kind: EventKind, error = -1): 'delivered' | 'shutdown' {
  const { vp } = ctx;
  let exception = kind === 'exception' ? vector : -1;
  for (;;) {
    try {
      enter(ctx, vector, kind, error, vp.rip);
      vp.rip = vp.nextRip;
      vp.interruptShadow = 0;
      return 'delivered';
    } catch (thrown) {
      if (thrown !== GUEST_FAULT) throw thrown;
    }
    const second = vp.faultVector;
    vector = exception < 0 ? second : combine(exception, second);
    if (vector < 0) return 'shutdown';
    error = vector === Vector.DF ? 0 : vp.faultError;
    exception = vector;
    kind = 'exception';
  }
}

/** RFLAGS as pushed. */
function pushedFlags(vp: VpView, vector: number, kind: EventKind): number {
  const flags = readFlags(vp);
  if (kind !== 'exception') return flags;
  const fault = vector === Vector.DB ? (vp.faultDr6 & Dr6.BD) !== 0 : ((FAULTS >> vector) & 1) !== 0;
  return fault ? flags | Flag.RF : flags;
}

/** One attempt: raises what goes wrong. Leaves the handler's address in `nextRip`. */
function enter(ctx: SystemContext, vector: number, kind: EventKind, error: number, returnRip: bigint): void {
  const { vp } = ctx;
  if (ctx.platform.tracing && kind !== 'software') trace(ctx, vector, kind, error);
  const external = kind === 'software' || kind === 'software-exception' ? 0 : 1;
  const flags = pushedFlags(vp, vector, kind);
  if (vector === Vector.DB && kind === 'exception') recordDebugException(vp);
  if ((vp.mode & Mode.PROTECTED) === 0) enterReal(ctx, vector, flags, returnRip);
  else if ((vp.mode & Mode.LONG) !== 0) enterLong(ctx, vector, kind, error, external, flags, returnRip);
  else enterProtected(ctx, vector, kind, error, external, flags, returnRip);
  if (kind === 'nmi') vp.nmiBlocked = 1;
}

/** `#PF` for an exception, `external 0xec` for the rest. */
function vectorName(vector: number, kind: EventKind): string {
  const name = kind === 'exception' ? Object.entries(Vector).find(([, v]) => v === vector)?.[0] : undefined;
  return name === undefined ? `${kind} 0x${vector.toString(16)}` : `#${name}`;
}

function trace(ctx: SystemContext, vector: number, kind: EventKind, error: number): void {
  const { vp, platform } = ctx;
  const suffix = error < 0 ? '' : ` error ${error.toString(16)}`;
  const address = vector === Vector.PF && kind === 'exception' ? ` at ${vp.cr2.toString(16)}` : '';
  platform.onTrace(
    kind === 'exception' ? 'exception' : 'interrupt',
    `${vectorName(vector, kind)}${suffix}${address}, rip ${vp.rip.toString(16)}`,
  );
}

function clearFlags(vp: VpView, mask: number): void {
  vp.flags = vp.flags & ~mask;
}

// ---- real mode ----------------------------------------------------------------------------------------------------------

function enterReal(ctx: SystemContext, vector: number, flags: number, returnRip: bigint): void {
  const { vp } = ctx;
  if (vector * 4 + 3 > (vp.segmentLimit[Segment.IDTR] as number)) raise(ctx, Vector.GP, 0);
  const at = ((vp.segmentBase[Segment.IDTR] as bigint) + BigInt(vector * 4)) & 0xffff_ffffn;
  const pointer = Number(ctx.readLinear(at, 4, systemAccess(vp)));
  const stack = Stack.current(ctx);
  stack.requireRoom(6);
  stack.push(BigInt(flags & 0xffff), 2);
  stack.push(BigInt(vp.segmentSelector[Segment.CS] as number), 2);
  stack.push(returnRip & 0xffffn, 2);
  stack.commit(vp);
  clearFlags(vp, Flag.IF | Flag.TF | Flag.AC | Flag.RF);
  loadRealSegment(vp, Segment.CS, pointer >>> 16);
  vp.nextRip = BigInt(pointer & 0xffff);
  updateMode(vp);
}

// ---- protected mode -----------------------------------------------------------------------------------------------------

function isSoftwareGated(kind: EventKind): boolean {
  return kind === 'software' || kind === 'software-exception';
}

function checkHandler(ctx: SystemContext, selector: number, external: number): Descriptor {
  if (isNull(selector)) raise(ctx, Vector.GP, external);
  const code = fetchDescriptor(ctx, selector, Vector.GP, external);
  if (!isCode(code) || dpl(code) > ctx.vp.cpl) raise(ctx, Vector.GP, errorOf(selector) | external);
  return code;
}

function enterProtected(
  ctx: SystemContext,
  vector: number,
  kind: EventKind,
  error: number,
  external: number,
  flags: number,
  returnRip: bigint,
): void {
  const { vp } = ctx;
  const v86 = (vp.mode & Mode.V86) !== 0;
  if (v86 && kind === 'software' && (vp.flags & Flag.IOPL) !== Flag.IOPL) raise(ctx, Vector.GP, 0);
  const idtError = vector * 8 + 2 + external;
  if (vector * 8 + 7 > (vp.segmentLimit[Segment.IDTR] as number)) raise(ctx, Vector.GP, idtError);
  const at = ((vp.segmentBase[Segment.IDTR] as bigint) + BigInt(vector * 8)) & 0xffff_ffffn;
  const word = ctx.readLinear(at, 8, systemAccess(vp));
  const gate: Descriptor = { low: Number(word & 0xffff_ffffn), high: Number(word >> 32n) };
  const gateType = type(gate);
  const isTask = gateType === SystemType.TASK_GATE;
  if (!isTask && (gateType & 0x16) !== 6) raise(ctx, Vector.GP, idtError);
  if (isSoftwareGated(kind) && dpl(gate) < vp.cpl) raise(ctx, Vector.GP, idtError);
  if (!present(gate)) raise(ctx, Vector.NP, idtError);
  if (isTask) {
    enterTask(ctx, gateSelector(gate), error, external, flags, returnRip);
    return;
  }

  const selector = gateSelector(gate);
  const code = checkHandler(ctx, selector, external);
  if (!present(code)) raise(ctx, Vector.NP, errorOf(selector) | external);
  const size = (gateType & 8) !== 0 ? 4 : 2;
  const offset = BigInt(size === 4 ? gateOffset(gate) : gateOffset(gate) & 0xffff);
  const inner = !isConforming(code) && dpl(code) < vp.cpl;
  if (v86 && (!inner || dpl(code) !== 0)) raise(ctx, Vector.GP, errorOf(selector) | external);
  const words = (error >= 0 ? 1 : 0) + 3;
  const level = inner ? dpl(code) : vp.cpl;
  let stack: Stack;
  let innerSelector = 0;
  let innerStack: Descriptor | undefined;
  if (inner) {
    const named = tssStack(ctx, level, external);
    innerSelector = named.selector;
    innerStack = checkStackSegment(ctx, innerSelector, level, Vector.TS, external);
    stack = Stack.of(ctx, innerStack, named.sp, level, errorOf(innerSelector) | external);
    stack.requireRoom((words + (v86 ? 6 : 2)) * size);
  } else {
    stack = Stack.current(ctx, external);
    stack.requireRoom(words * size);
  }
  checkOffset(ctx, code, offset, external);
  if (v86)
    for (const s of [Segment.GS, Segment.FS, Segment.DS, Segment.ES])
      stack.push(BigInt(vp.segmentSelector[s] as number), size);
  if (inner) {
    stack.push(BigInt(vp.segmentSelector[Segment.SS] as number), size);
    stack.push(vp.gpr[4] as bigint, size);
  }
  stack.push(BigInt(flags >>> 0), size);
  stack.push(BigInt(vp.segmentSelector[Segment.CS] as number), size);
  stack.push(returnRip, size);
  if (error >= 0) stack.push(BigInt(error), size);
  markAccessed(ctx, selector, code);

  if (innerStack) loadDescriptor(ctx, Segment.SS, innerSelector, innerStack);
  stack.commit(vp);
  if (v86) for (const s of [Segment.GS, Segment.FS, Segment.DS, Segment.ES]) loadNull(vp, s, 0);
  clearFlags(vp, Flag.TF | Flag.NT | Flag.VM | Flag.RF | ((gateType & 1) === 0 ? Flag.IF : 0));
  enterCode(ctx, selector, code, level, offset);
}

function enterTask(
  ctx: SystemContext,
  tss: number,
  error: number,
  external: number,
  flags: number,
  returnRip: bigint,
): void {
  const { vp } = ctx;
  const d = fetchTss(ctx, tss, external);
  vp.flags = (vp.flags & ~Flag.RF) | (flags & Flag.RF);
  switchTask(ctx, tss, d, 'interrupt', returnRip, external);
  if (error < 0) return;
  const stack = Stack.current(ctx, external);
  stack.push(BigInt(error), hasWideTss(vp) ? 4 : 2);
  stack.commit(vp);
}

// ---- IA-32e mode --------------------------------------------------------------------------------------------------------

function enterLong(
  ctx: SystemContext,
  vector: number,
  kind: EventKind,
  error: number,
  external: number,
  flags: number,
  returnRip: bigint,
): void {
  const { vp } = ctx;
  const idtError = vector * 8 + 2 + external;
  if (vector * 16 + 15 > (vp.segmentLimit[Segment.IDTR] as number)) raise(ctx, Vector.GP, idtError);
  const at = BigInt.asUintN(64, (vp.segmentBase[Segment.IDTR] as bigint) + BigInt(vector * 16));
  const tables = systemAccess(vp);
  const word = ctx.readLinear(at, 8, tables);
  const gate: Descriptor = { low: Number(word & 0xffff_ffffn), high: Number(word >> 32n) };
  const gateType = type(gate);
  if (gateType !== SystemType.INTERRUPT_GATE && gateType !== SystemType.TRAP_GATE) raise(ctx, Vector.GP, idtError);
  if (isSoftwareGated(kind) && dpl(gate) < vp.cpl) raise(ctx, Vector.GP, idtError);
  if (!present(gate)) raise(ctx, Vector.NP, idtError);
  const upper = ctx.readLinear(BigInt.asUintN(64, at + 8n), 4, tables);
  const offset = BigInt(gateOffset(gate)) | (upper << 32n);

  const selector = gateSelector(gate);
  const code = checkHandler(ctx, selector, external);
  if ((code.high & 0x60_0000) !== 0x20_0000) raise(ctx, Vector.GP, errorOf(selector) | external);
  if (!present(code)) raise(ctx, Vector.NP, errorOf(selector) | external);
  const { cpl } = vp;
  const inner = !isConforming(code) && dpl(code) < cpl;
  const level = inner ? dpl(code) : cpl;
  const ist = gate.high & 7;
  const oldSp = vp.gpr[4] as bigint;
  const top =
    ist !== 0
      ? longTssStack(ctx, istOffset(ist), external)
      : inner
        ? longTssStack(ctx, rspOffset(level), external)
        : oldSp;
  const bytes = error >= 0 ? 48n : 40n;
  const sp = BigInt.asUintN(64, (top & ~15n) - bytes);
  if (!isCanonical(vp, sp) || !isCanonical(vp, BigInt.asUintN(64, sp + bytes - 1n))) raise(ctx, Vector.SS, external);
  if (!isCanonical(vp, offset)) raise(ctx, Vector.GP, external);

  const access = accessAt(vp, level);
  let frame = sp;
  if (error >= 0) {
    ctx.writeLinear(frame, 8, BigInt(error), access);
    frame += 8n;
  }
  ctx.writeLinear(frame, 8, returnRip, access);
  ctx.writeLinear(frame + 8n, 8, BigInt(vp.segmentSelector[Segment.CS] as number), access);
  ctx.writeLinear(frame + 16n, 8, BigInt(flags >>> 0), access);
  ctx.writeLinear(frame + 24n, 8, oldSp, access);
  ctx.writeLinear(frame + 32n, 8, BigInt(vp.segmentSelector[Segment.SS] as number), access);
  markAccessed(ctx, selector, code);

  if (inner) loadNull(vp, Segment.SS, level, level);
  vp.gpr[4] = sp;
  clearFlags(vp, Flag.TF | Flag.NT | Flag.VM | Flag.RF | (gateType === SystemType.INTERRUPT_GATE ? Flag.IF : 0));
  enterCode(ctx, selector, code, level, offset);
}

// ---- instructions -------------------------------------------------------------------------------------------------------

/** An interrupt by an instruction: the frame points behind it, and no single-step trap follows it. */
function interruptBy(ctx: SystemContext, vector: number, kind: EventKind): void {
  enter(ctx, vector, kind, -1, ctx.vp.nextRip);
  ctx.vp.pendingDebug |= PendingDebug.NO_STEP;
}

export const interruptOperations = {
  /** INT n: operand A is the vector. */
  int: (ctx, vector) => {
    interruptBy(ctx, Number(vector & 0xffn), 'software');
  },
  int3: (ctx) => {
    interruptBy(ctx, Vector.BP, 'software-exception');
  },
  into: (ctx) => {
    if ((readFlags(ctx.vp) & Flag.OF) !== 0) interruptBy(ctx, Vector.OF, 'software-exception');
  },
  int1: (ctx) => {
    const { vp } = ctx;
    // Breakpoints that a load of SS has held back are reported by this #DB, not by one of their own.
    const held = vp.pendingDebug & PendingDebug.BREAKPOINTS;
    interruptBy(ctx, Vector.DB, 'privileged-software');
    if (held === 0) return;
    vp.pendingDebug &= ~PendingDebug.BREAKPOINTS;
    vp.faultDr6 = held;
    recordDebugException(vp);
  },
} as const satisfies Record<string, SystemOperation>;
