/**
 * What comes from a guest over one connection and is not in order: pieces behind a gap, kept until the gap is filled. Bytes
 * are numbered from 0, as numbers that do not wrap.
 */

interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** More pieces than this are not kept: the guest sends them again. */
const MOST_PIECES = 256;

export class ReceiveQueue {
  /** Number of the next byte in order. */
  next = 0;
  /** Bytes behind gaps. */
  held = 0;
  readonly #pieces: Piece[] = [];

  /** In order of their numbers: first byte, and the first one behind. At most three, the newest first. */
  get ranges(): [from: number, to: number][] {
    const ranges: [number, number][] = [];
    for (const { offset, bytes } of this.#pieces) {
      const last = ranges.at(-1);
      if (last !== undefined && last[1] >= offset) last[1] = Math.max(last[1], offset + bytes.length);
      else ranges.push([offset, offset + bytes.length]);
    }
    const newest = ranges.findIndex(([from, to]) => this.#newest >= from && this.#newest < to);
    if (newest > 0) ranges.unshift(...ranges.splice(newest, 1));
    return ranges.slice(0, 3);
  }

  #newest = 0;

  /** Keeps a piece that begins after `next`, while no more than `limit` bytes are kept. */
  keep(offset: number, bytes: Uint8Array, limit: number): void {
    const pieces = this.#pieces;
    if (this.held + bytes.length > limit) return;
    this.#newest = offset;
    let at = pieces.length;
    while (at > 0 && pieces[at - 1]!.offset > offset) at--;
    const before = pieces[at - 1];
    // What is there already is not kept twice.
    if (before !== undefined && before.offset + before.bytes.length >= offset + bytes.length) return;
    if (pieces.length >= MOST_PIECES) return;
    // A few bytes do not hold a large frame.
    pieces.splice(at, 0, { offset, bytes: bytes.length * 2 < bytes.buffer.byteLength ? bytes.slice() : bytes });
    this.held += bytes.length;
  }

  /** Hands over what follows `next` without a gap. */
  release(take: (bytes: Uint8Array) => void): void {
    const pieces = this.#pieces;
    while (pieces.length > 0 && pieces[0]!.offset <= this.next) {
      const { offset, bytes } = pieces.shift()!;
      this.held -= bytes.length;
      const fresh = bytes.subarray(this.next - offset);
      if (offset + bytes.length <= this.next) continue;
      this.next += fresh.length;
      take(fresh);
    }
  }

  clear(): void {
    this.#pieces.length = 0;
    this.held = 0;
  }
}
