/** TCP segments: what is read out of one, and how one is written. RFC 9293, section 3.1; options of RFC 7323 and RFC 2018. */
import { u16, u32 } from '../../ethernet.ts';

export const TCP_HEADER = 20;

export const Flag = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;

const Option = { END: 0, NOTHING: 1, MSS: 2, WINDOW_SCALE: 3, SACK_PERMITTED: 4, SACK: 5 } as const;
const LENGTH = { MSS: 4, WINDOW_SCALE: 3, SACK_PERMITTED: 2 } as const;

/** RFC 7323, section 2.3: more is taken as this. */
const MAX_SHIFT = 14;
/** RFC 9293, section 3.7.1: without the option. */
const DEFAULT_MSS = 536;

export interface Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  /** As it stands in the header, not scaled. */
  readonly window: number;
  readonly payload: Uint8Array;
  /** Of the packet; see `synOptions` and `sackBlocks`. */
  readonly options: Uint8Array;
}

export interface SynOptions {
  readonly mss: number;
  /** Undefined: this side does not scale. */
  readonly windowScale: number | undefined;
  readonly sackPermitted: boolean;
}

/** Undefined when the header makes no sense. Payload and options are views. */
export function parseSegment(bytes: Uint8Array, from: number, to: number): Segment | undefined {
  if (to - from < TCP_HEADER) return undefined;
  const headerLength = (bytes[from + 12]! >> 4) * 4;
  if (headerLength < TCP_HEADER || from + headerLength > to) return undefined;
  return {
    sourcePort: u16(bytes, from),
    destinationPort: u16(bytes, from + 2),
    sequence: u32(bytes, from + 4),
    acknowledgment: u32(bytes, from + 8),
    flags: bytes[from + 13]!,
    window: u16(bytes, from + 14),
    payload: bytes.subarray(from + headerLength, to),
    options: headerLength === TCP_HEADER ? NOTHING : bytes.subarray(from + TCP_HEADER, from + headerLength),
  };
}

const NOTHING = new Uint8Array();

/** Calls back with each option; stops at the first that makes no sense. */
function eachOption(options: Uint8Array, visit: (kind: number, at: number, length: number) => void): void {
  for (let at = 0; at < options.length; ) {
    const kind = options[at]!;
    if (kind === Option.END) return;
    if (kind === Option.NOTHING) {
      at++;
      continue;
    }
    const length = options[at + 1] ?? 0;
    if (length < 2 || at + length > options.length) return;
    visit(kind, at, length);
    at += length;
  }
}

export function synOptions(options: Uint8Array): SynOptions {
  let mss = DEFAULT_MSS;
  let windowScale: number | undefined;
  let sackPermitted = false;
  eachOption(options, (kind, at, length) => {
    if (kind === Option.MSS && length === LENGTH.MSS) mss = u16(options, at + 2);
    if (kind === Option.WINDOW_SCALE && length === LENGTH.WINDOW_SCALE)
      windowScale = Math.min(options[at + 2]!, MAX_SHIFT);
    if (kind === Option.SACK_PERMITTED && length === LENGTH.SACK_PERMITTED) sackPermitted = true;
  });
  return { mss, windowScale, sackPermitted };
}

/** Pairs of sequence numbers: from, and the first one behind. */
export function sackBlocks(options: Uint8Array): [from: number, to: number][] {
  const blocks: [number, number][] = [];
  eachOption(options, (kind, at, length) => {
    if (kind !== Option.SACK) return;
    for (let n = at + 2; n + 8 <= at + length; n += 8) blocks.push([u32(options, n), u32(options, n + 4)]);
  });
  return blocks;
}

/** Options of a SYN, padded to words. */
export function writeSynOptions({ mss, windowScale, sackPermitted }: SynOptions): Uint8Array {
  const options = [Option.MSS, LENGTH.MSS, mss >> 8, mss & 255];
  if (windowScale !== undefined) options.push(Option.NOTHING, Option.WINDOW_SCALE, LENGTH.WINDOW_SCALE, windowScale);
  if (sackPermitted) options.push(Option.NOTHING, Option.NOTHING, Option.SACK_PERMITTED, LENGTH.SACK_PERMITTED);
  return Uint8Array.from(options);
}

/** A SACK option with at most three blocks, padded to words (RFC 2018, section 3). */
export function writeSack(blocks: readonly (readonly [from: number, to: number])[]): Uint8Array {
  const few = blocks.slice(0, 3);
  if (few.length === 0) return NOTHING;
  const bytes = new Uint8Array(4 + few.length * 8);
  bytes.set([Option.NOTHING, Option.NOTHING, Option.SACK, 2 + few.length * 8]);
  const view = new DataView(bytes.buffer);
  few.forEach(([from, to], i) => {
    view.setUint32(4 + i * 8, from >>> 0);
    view.setUint32(8 + i * 8, to >>> 0);
  });
  return bytes;
}
