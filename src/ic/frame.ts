/**
 * The frame that all integration components share: a pipe header, a header that names framework and message versions, and
 * a body. Layouts as in Linux's include/linux/hyperv.h (vmbuspipe_hdr, icmsg_hdr, icmsg_negotiate). The host speaks first.
 */
import { viewOf } from '../vmbus/ring.ts';

/** Pipe header {u32 flags, u32 size}; then {u16 framework major, minor; u16 type; u16 message major, minor; u16 size; u32 status; u8 transaction; u8 flags; u16}. */
const Field = {
  PIPE_FLAGS: 0,
  PIPE_SIZE: 4,
  FRAMEWORK: 8,
  TYPE: 12,
  MESSAGE: 14,
  SIZE: 18,
  STATUS: 20,
  TRANSACTION: 24,
  FLAGS: 25,
} as const;
export const FRAME_HEADER = 28;
const PIPE_HEADER = 8;
const PIPE_DATA = 1;

export const IcType = {
  NEGOTIATE: 0,
  HEARTBEAT: 1,
  KVP_EXCHANGE: 2,
  SHUTDOWN: 3,
  TIMESYNC: 4,
  VSS: 5,
  FILE_COPY: 7,
} as const;
export const IcFlag = { TRANSACTION: 1, REQUEST: 2, RESPONSE: 4 } as const;

/** HRESULTs that guests answer with. */
export const IcStatus = {
  OK: 0,
  FAIL: 0x80004005,
  NOT_SUPPORTED: 0x80070032,
  ALREADY_EXISTS: 0x80070050,
  DISK_FULL: 0x80070070,
  NO_MORE_ITEMS: 0x80070103,
} as const;

/** [major, minor]. */
export type IcVersion = readonly [number, number];

/** All components of newer guests want framework 3.0. */
export const FRAMEWORK_VERSIONS: readonly IcVersion[] = [
  [3, 0],
  [1, 0],
];

export interface IcFrame {
  readonly type: number;
  readonly framework: IcVersion;
  readonly message: IcVersion;
  readonly status: number;
  readonly transaction: number;
  readonly flags: number;
  readonly body: Uint8Array;
}

export function encodeFrame(frame: IcFrame): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FRAME_HEADER + frame.body.length);
  const view = viewOf(bytes);
  view.setUint32(Field.PIPE_FLAGS, PIPE_DATA, true);
  view.setUint32(Field.PIPE_SIZE, bytes.length - PIPE_HEADER, true);
  writeVersion(view, Field.FRAMEWORK, frame.framework);
  view.setUint16(Field.TYPE, frame.type, true);
  writeVersion(view, Field.MESSAGE, frame.message);
  view.setUint16(Field.SIZE, frame.body.length, true);
  view.setUint32(Field.STATUS, frame.status, true);
  view.setUint8(Field.TRANSACTION, frame.transaction);
  view.setUint8(Field.FLAGS, frame.flags);
  bytes.set(frame.body, FRAME_HEADER);
  return bytes;
}

/** Undefined when the bytes are no frame. The body is what the header says, and no more than there is. */
export function decodeFrame(bytes: Uint8Array): IcFrame | undefined {
  if (bytes.length < FRAME_HEADER) return undefined;
  const view = viewOf(bytes);
  const size = view.getUint16(Field.SIZE, true);
  if (FRAME_HEADER + size > bytes.length) return undefined;
  return {
    framework: readVersion(view, Field.FRAMEWORK),
    type: view.getUint16(Field.TYPE, true),
    message: readVersion(view, Field.MESSAGE),
    status: view.getUint32(Field.STATUS, true),
    transaction: view.getUint8(Field.TRANSACTION),
    flags: view.getUint8(Field.FLAGS),
    body: bytes.subarray(FRAME_HEADER, FRAME_HEADER + size),
  };
}

/** Body of a negotiation: {u16 framework count, u16 message count, u32, versions as u16 pairs, frameworks first}. */
const NEGOTIATE_VERSIONS = 8;

export function encodeNegotiation(messages: readonly IcVersion[], frameworks = FRAMEWORK_VERSIONS): Uint8Array {
  const view = new DataView(new ArrayBuffer(NEGOTIATE_VERSIONS + (frameworks.length + messages.length) * 4));
  view.setUint16(0, frameworks.length, true);
  view.setUint16(2, messages.length, true);
  [...frameworks, ...messages].forEach((version, i) => {
    writeVersion(view, NEGOTIATE_VERSIONS + i * 4, version);
  });
  return new Uint8Array(view.buffer);
}

/** What the guest picked; undefined when it wants none of it. */
export function decodeNegotiation(
  body: Uint8Array,
): { readonly framework: IcVersion; readonly message: IcVersion } | undefined {
  if (body.length < NEGOTIATE_VERSIONS + 8) return undefined;
  const view = viewOf(body);
  if (view.getUint16(0, true) !== 1 || view.getUint16(2, true) !== 1) return undefined;
  return { framework: readVersion(view, NEGOTIATE_VERSIONS), message: readVersion(view, NEGOTIATE_VERSIONS + 4) };
}

function readVersion(view: DataView, at: number): IcVersion {
  return [view.getUint16(at, true), view.getUint16(at + 2, true)];
}
function writeVersion(view: DataView, at: number, [major, minor]: IcVersion): void {
  view.setUint16(at, major, true);
  view.setUint16(at + 2, minor, true);
}

export function sameVersion(a: IcVersion, b: IcVersion): boolean {
  return a[0] === b[0] && a[1] === b[1];
}
