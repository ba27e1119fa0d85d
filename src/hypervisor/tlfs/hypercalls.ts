/**
 * The hypercall dispatcher: argument checks common to all calls, then a table of the calls. TLFS, "Hypercall Interface"
 * and "Common Hypercall Status Codes". The input is copied out of guest memory once, then parsed.
 *
 * Threads: the calling processor's own, without the platform lock; a call that posts a message takes it.
 */
import {
  Flush,
  Hypercall,
  MESSAGE_PAYLOAD,
  MESSAGE_TYPE_HYPERVISOR,
  PAGE_SIZE,
  PrivilegeHigh,
  Status,
  VpSetFormat,
} from './constants.ts';
import { readRam } from './pages.ts';
import type { HypervVp } from './partition.ts';

export interface HypercallResult {
  /** Status in bits 15:0, completed repetitions in 43:32. */
  readonly result: bigint;
}

/** Bits 31:27, 47:44 and 63:60. Bit 31 asks for the nested hypervisor, which there is none of. */
const CONTROL_RESERVED = 0xf000_f000_f800_0000n;
const FAST_BYTES = 16;
const NONE: readonly bigint[] = [];

/** A call's arguments, copied. */
interface CallInput {
  readonly view: DataView<ArrayBuffer>;
  /** The variable part of the header, in quadwords. */
  readonly variable: readonly bigint[];
  /** Repetition elements from the start index on. */
  readonly elements: readonly bigint[];
}

interface Call {
  /** Bytes of the fixed input. */
  readonly size: number;
  /** Takes a variable-size header. */
  readonly variable?: true;
  /** A rep call; every element is one quadword. */
  readonly rep?: true;
  /** A bit of CPUID 0x40000003 EBX that the partition needs. */
  readonly privilege?: number;
  /** Returns a status. */
  readonly run: (vp: HypervVp, input: CallInput) => number;
}

export function dispatchHypercall(vp: HypervVp, control: bigint, input: bigint, output: bigint): HypercallResult {
  if ((control & CONTROL_RESERVED) !== 0n) return { result: BigInt(Status.INVALID_HYPERCALL_INPUT) };
  const call = CALLS.get(Number(control & 0xffffn));
  if (!call) return { result: BigInt(Status.INVALID_HYPERCALL_CODE) };
  if (call.privilege !== undefined && (vp.partition.privilegesHigh & call.privilege) === 0)
    return { result: BigInt(Status.ACCESS_DENIED) };

  const fast = (control & 0x10000n) !== 0n;
  const variable = Number((control >> 17n) & 0x3ffn);
  const count = Number((control >> 32n) & 0xfffn);
  const start = Number((control >> 48n) & 0xfffn);
  const repsValid = call.rep ? count > 0 && start < count : count === 0 && start === 0;
  if (!repsValid || (variable > 0 && !call.variable)) return { result: BigInt(Status.INVALID_HYPERCALL_INPUT) };

  const bytes = call.size + variable * 8 + count * 8;
  let block: Uint8Array;
  if (fast) {
    if (bytes > FAST_BYTES) return { result: BigInt(Status.INVALID_HYPERCALL_INPUT) };
    block = new Uint8Array(FAST_BYTES);
    const view = new DataView(block.buffer);
    view.setBigUint64(0, input, true);
    view.setBigUint64(8, output, true);
  } else {
    // No call of ours has output, so the output pointer is not looked at.
    const aligned = (input & 7n) === 0n && Number(input & 0xfffn) + bytes <= PAGE_SIZE;
    const copy =
      aligned && input <= BigInt(Number.MAX_SAFE_INTEGER)
        ? readRam(vp.partition.memory, Number(input), bytes)
        : undefined;
    if (!copy) return { result: BigInt(Status.INVALID_ALIGNMENT) };
    block = new Uint8Array(copy);
  }

  const view = new DataView(block.buffer as ArrayBuffer, block.byteOffset, block.byteLength);
  const quads = (at: number, n: number): readonly bigint[] =>
    n === 0 ? NONE : Array.from({ length: n }, (_, i) => view.getBigUint64(at + i * 8, true));
  const status = call.run(vp, {
    view,
    variable: quads(call.size, variable),
    elements: quads(call.size + (variable + start) * 8, call.rep ? count - start : 0),
  });
  const completed = call.rep && status === Status.SUCCESS ? count : 0;
  return { result: BigInt(status) | (BigInt(completed) << 32n) };
}

// Processor sets ----------------------------------------------------------------------------------------------------------

function processorsOfMask(vp: HypervVp, mask: bigint): number[] {
  return vp.partition.vps.map((v) => v.index).filter((index) => index < 64 && ((mask >> BigInt(index)) & 1n) === 1n);
}

/**
 * A processor set: a format, a mask of the banks present, and the banks (64 processors each). Processors that do not exist
 * are passed over. A number instead of a list is a status.
 */
function processorsOfSet(vp: HypervVp, format: bigint, bankMask: bigint, banks: readonly bigint[]): number[] | number {
  const all = vp.partition.vps.map((v) => v.index);
  if (format === VpSetFormat.ALL) return all;
  if (format !== VpSetFormat.SPARSE_4K) return Status.INVALID_PARAMETER;
  const present: number[] = [];
  for (let bank = 0; bank < 64; bank++) if (((bankMask >> BigInt(bank)) & 1n) === 1n) present.push(bank);
  if (present.length !== banks.length) return Status.INVALID_HYPERCALL_INPUT;
  return all.filter((index) => {
    const at = present.indexOf(index >>> 6);
    return at >= 0 && (((banks[at] as bigint) >> BigInt(index & 63)) & 1n) === 1n;
  });
}

// The calls ---------------------------------------------------------------------------------------------------------------

const FLUSH_FLAGS = Flush.ALL_PROCESSORS | Flush.ALL_ADDRESS_SPACES | Flush.NON_GLOBAL_ONLY;

function flush(vp: HypervVp, input: CallInput, ranges: readonly bigint[] | undefined, ex: boolean): number {
  const { view } = input;
  const addressSpace = view.getBigUint64(0, true);
  const flags = view.getBigUint64(8, true);
  if ((flags & ~FLUSH_FLAGS) !== 0n) return Status.INVALID_PARAMETER;
  const named = ex
    ? processorsOfSet(vp, view.getBigUint64(16, true), view.getBigUint64(24, true), input.variable)
    : processorsOfMask(vp, view.getBigUint64(16, true));
  if (typeof named === 'number') return named;
  const processors = (flags & Flush.ALL_PROCESSORS) !== 0n ? vp.partition.vps.map((v) => v.index) : named;
  if (processors.length === 0) return Status.SUCCESS;
  vp.partition.tlb.flush({
    processors,
    addressSpace: (flags & Flush.ALL_ADDRESS_SPACES) !== 0n ? undefined : addressSpace,
    nonGlobalOnly: (flags & Flush.NON_GLOBAL_ONLY) !== 0n,
    ranges,
  });
  return Status.SUCCESS;
}

function sendIpi(vp: HypervVp, view: DataView, processors: number[] | number): number {
  // Bits 63:32: the target VTL, of which there is only the caller's, and reserved bytes.
  if (view.getUint32(4, true) !== 0) return Status.INVALID_PARAMETER;
  const vector = view.getUint32(0, true);
  if (vector < 0x10 || vector > 0xff) return Status.INVALID_PARAMETER;
  if (typeof processors === 'number') return processors;
  for (const index of processors) vp.partition.vps[index]?.apic.accept(vector, false);
  return Status.SUCCESS;
}

function postMessage(vp: HypervVp, { view }: CallInput): number {
  const connection = view.getUint32(0, true);
  const type = view.getUint32(8, true);
  const size = view.getUint32(12, true);
  if (size > MESSAGE_PAYLOAD || type === 0 || (type & MESSAGE_TYPE_HYPERVISOR) !== 0) return Status.INVALID_PARAMETER;
  const payload = new Uint8Array(view.buffer, view.byteOffset + 16, size);
  return vp.partition.lock.with(() => {
    for (const port of vp.partition.connections) {
      const status = port.postMessage(connection, type, payload);
      if (status !== undefined) return status;
    }
    return Status.INVALID_CONNECTION_ID;
  });
}

function signalEvent(vp: HypervVp, { view }: CallInput): number {
  const parameter = view.getBigUint64(0, true);
  // Bits 31:24 of the connection id and 63:48 are reserved.
  if ((parameter & 0xffff_0000_ff00_0000n) !== 0n) return Status.INVALID_HYPERCALL_INPUT;
  const connection = Number(parameter & 0xffffffn);
  const flag = Number((parameter >> 32n) & 0xffffn);
  for (const port of vp.partition.connections) {
    const status = port.signalEvent(connection, flag);
    if (status !== undefined) return status;
  }
  return Status.INVALID_CONNECTION_ID;
}

const CALLS: ReadonlyMap<number, Call> = new Map<number, Call>([
  [Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE, { size: 24, run: (vp, input) => flush(vp, input, undefined, false) }],
  [
    Hypercall.FLUSH_VIRTUAL_ADDRESS_LIST,
    { size: 24, rep: true, run: (vp, input) => flush(vp, input, input.elements, false) },
  ],
  [
    Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE_EX,
    { size: 32, variable: true, run: (vp, input) => flush(vp, input, undefined, true) },
  ],
  [
    Hypercall.FLUSH_VIRTUAL_ADDRESS_LIST_EX,
    { size: 32, variable: true, rep: true, run: (vp, input) => flush(vp, input, input.elements, true) },
  ],
  // Advice that the caller spins on a lock: every processor has its own thread, so there is nothing to give way to.
  [Hypercall.NOTIFY_LONG_SPIN_WAIT, { size: 8, run: () => Status.SUCCESS }],
  [
    Hypercall.SEND_SYNTHETIC_CLUSTER_IPI,
    { size: 16, run: (vp, { view }) => sendIpi(vp, view, processorsOfMask(vp, view.getBigUint64(8, true))) },
  ],
  [
    Hypercall.SEND_SYNTHETIC_CLUSTER_IPI_EX,
    {
      size: 24,
      variable: true,
      run: (vp, { view, variable }) =>
        sendIpi(vp, view, processorsOfSet(vp, view.getBigUint64(8, true), view.getBigUint64(16, true), variable)),
    },
  ],
  [Hypercall.POST_MESSAGE, { size: 256, privilege: PrivilegeHigh.POST_MESSAGES, run: postMessage }],
  [Hypercall.SIGNAL_EVENT, { size: 8, privilege: PrivilegeHigh.SIGNAL_EVENTS, run: signalEvent }],
]);
