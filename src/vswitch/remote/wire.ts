/**
 * Frames between a worker process and the switch process: messages over a stream socket, both ways.
 *
 *     u8  kind
 *     u8  flags (FRAME: bit 0, checksums are partial)
 *     u16 segment size (FRAME), else 0
 *     u32 length of what follows
 *
 * Little-endian. Whatever breaks these rules ends the connection; nothing is set aside before the length was checked.
 */
import { ETHERNET_HEADER, MAX_FRAME } from '../ethernet.ts';
import type { Frame } from '../port.ts';

export const WIRE_VERSION = 1;

export const Kind = {
  /** An Ethernet frame. */
  FRAME: 1,
  /** Worker: `{"version":1,"port":"..."}`, its first message. */
  HELLO: 2,
  /** Switch: one byte, whether the cable is plugged in. Its first message, unless REFUSED is. */
  LINK: 3,
  /** Worker: the adapter takes no frames until GO. */
  STOP: 4,
  GO: 5,
  /** Switch, before it closes: why, as text. */
  REFUSED: 6,
} as const;

export const HEADER = 8;
const PARTIAL = 1;
/** Of messages that are no frames. */
export const LONGEST_TEXT = 1024;
/** Frames up to this are copied together, so that they go out in one piece; and out of what came in, so as not to hold it. */
const SMALL = 4096;
const BATCH = 0x1_0000;

export type Message =
  | { readonly kind: typeof Kind.FRAME; readonly frame: Frame }
  | { readonly kind: Exclude<(typeof Kind)[keyof typeof Kind], 1>; readonly bytes: Uint8Array };

/** Takes messages out of a stream. */
export class MessageReader {
  readonly #take: (message: Message) => void;
  readonly #header = new Uint8Array(HEADER);
  #headerBytes = 0;
  #body: Uint8Array | undefined;
  #bodyBytes = 0;
  #broken = false;

  constructor(take: (message: Message) => void) {
    this.#take = take;
  }

  /** The chunk's bytes belong to the reader. False: this is no stream of messages, and never will be again. */
  push(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length && !this.#broken)
      at = this.#body === undefined ? this.#begin(chunk, at) : this.#fill(chunk, at);
    return !this.#broken;
  }

  /** Reads a header, and what follows where all of it is there. */
  #begin(chunk: Uint8Array, from: number): number {
    let header: Uint8Array = chunk;
    let at = from;
    if (this.#headerBytes > 0 || chunk.length - from < HEADER) {
      const count = Math.min(HEADER - this.#headerBytes, chunk.length - from);
      this.#header.set(chunk.subarray(from, from + count), this.#headerBytes);
      this.#headerBytes += count;
      if (this.#headerBytes < HEADER) return from + count;
      header = this.#header;
      at = 0;
      from += count;
    } else from += HEADER;
    this.#headerBytes = 0;
    const [kind, flags] = [header[at]!, header[at + 1]!];
    const segmentSize = header[at + 2]! | (header[at + 3]! << 8);
    const length = (header[at + 4]! | (header[at + 5]! << 8) | (header[at + 6]! << 16) | (header[at + 7]! << 24)) >>> 0;
    if (!isPossible(kind, flags, segmentSize, length)) {
      this.#broken = true;
      return from;
    }
    this.#kind = kind;
    this.#partial = flags === PARTIAL;
    this.#segmentSize = segmentSize;
    if (chunk.length - from >= length) {
      const bytes = chunk.subarray(from, from + length);
      this.#done(length <= SMALL ? bytes.slice() : bytes);
      return from + length;
    }
    this.#body = new Uint8Array(length);
    this.#bodyBytes = 0;
    return from;
  }

  #kind = 0;
  #partial = false;
  #segmentSize = 0;

  #fill(chunk: Uint8Array, from: number): number {
    const body = this.#body!;
    const count = Math.min(body.length - this.#bodyBytes, chunk.length - from);
    body.set(count === chunk.length ? chunk : chunk.subarray(from, from + count), this.#bodyBytes);
    this.#bodyBytes += count;
    if (this.#bodyBytes === body.length) {
      this.#body = undefined;
      this.#done(body);
    }
    return from + count;
  }

  #done(bytes: Uint8Array): void {
    const kind = this.#kind as Message['kind'];
    if (kind !== Kind.FRAME) return this.#take({ kind, bytes });
    const checksum = this.#partial ? 'partial' : 'complete';
    this.#take({ kind, frame: { bytes, segmentSize: this.#segmentSize, checksum } });
  }
}

function isPossible(kind: number, flags: number, segmentSize: number, length: number): boolean {
  if (kind === Kind.FRAME) return (flags & ~PARTIAL) === 0 && length >= ETHERNET_HEADER && length <= MAX_FRAME;
  return kind > Kind.FRAME && kind <= Kind.REFUSED && flags === 0 && segmentSize === 0 && length <= LONGEST_TEXT;
}

/** The other end of a stream, as this side sees it. */
export interface Wire {
  /** In order, together. The bytes belong to the wire. */
  write(pieces: readonly Uint8Array[]): void;
  /** Bytes that were written and that the host has not taken yet. */
  readonly unsent: number;
  /** Stops and continues what comes in; what is under way may still come. */
  pause(): void;
  resume(): void;
  /** Sends what was written, then closes. */
  end(): void;
  /** Now. No event follows. */
  destroy(): void;
}

export interface WireEvents {
  /** The bytes belong to the receiver. */
  received(chunk: Uint8Array): void;
  /** All that was written has been taken. */
  drained(): void;
  /** The last event. */
  closed(): void;
}

/** Puts messages on a wire, those of one turn together. */
export class MessageWriter {
  readonly #wire: Wire;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  /** Where small messages are put together. */
  #open = new Uint8Array(0);
  #from = 0;
  #to = 0;
  #scheduled = false;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Bytes on their way. */
  get unsent(): number {
    return this.#bytes + this.#wire.unsent;
  }

  frame({ bytes, segmentSize, checksum }: Frame): void {
    this.#message(Kind.FRAME, checksum === 'partial' ? PARTIAL : 0, segmentSize, bytes);
  }

  text(kind: typeof Kind.HELLO | typeof Kind.REFUSED, text: string): void {
    this.#message(kind, 0, 0, new TextEncoder().encode(text).subarray(0, LONGEST_TEXT));
  }

  link(up: boolean): void {
    this.#message(Kind.LINK, 0, 0, Uint8Array.of(up ? 1 : 0));
  }

  signal(kind: typeof Kind.STOP | typeof Kind.GO): void {
    this.#message(kind, 0, 0, new Uint8Array(0));
  }

  #message(kind: number, flags: number, segmentSize: number, bytes: Uint8Array): void {
    const { length } = bytes;
    const copied = length <= SMALL;
    const needed = HEADER + (copied ? length : 0);
    if (this.#open.length - this.#to < needed) {
      this.#cut();
      this.#open = new Uint8Array(BATCH);
      this.#from = this.#to = 0;
    }
    const to = this.#open;
    let at = this.#to;
    to[at] = kind;
    to[at + 1] = flags;
    to[at + 2] = segmentSize;
    to[at + 3] = segmentSize >>> 8;
    to[at + 4] = length;
    to[at + 5] = length >>> 8;
    to[at + 6] = length >>> 16;
    to[at + 7] = length >>> 24;
    at += HEADER;
    if (copied) to.set(bytes, at);
    this.#to = at + (copied ? length : 0);
    this.#bytes += HEADER + length;
    if (!copied) {
      this.#cut();
      this.#pieces.push(bytes);
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(this.#flush);
  }

  #cut(): void {
    if (this.#to > this.#from) this.#pieces.push(this.#open.subarray(this.#from, this.#to));
    this.#from = this.#to;
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    this.#cut();
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#bytes = 0;
    if (pieces.length > 0) this.#wire.write(pieces);
  };

  /** What waits for the end of the turn goes out now. */
  flush(): void {
    this.#flush();
  }
}
