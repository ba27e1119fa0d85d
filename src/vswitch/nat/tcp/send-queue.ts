/**
 * What goes to a guest over one connection: bytes not sent yet, and segments that the guest has not acknowledged. Bytes are
 * numbered from 0, as numbers that do not wrap; the connection turns them into sequence numbers.
 */
import { HEADROOM } from '../../../host/network.ts';

export interface SentSegment {
  /** Number of its first byte. Grows when the guest acknowledges a part. */
  offset: number;
  payload: Uint8Array;
  /** Milliseconds. */
  sentAt: number;
  /** Sent more than once: its acknowledgment says nothing about the round trip (Karn's rule). */
  repeated: boolean;
  /** Sent again since the last loss. */
  again: boolean;
  /** The guest has said that it has this one, while one before it is missing. */
  sacked: boolean;
}

/** A piece of payload together with room for headers in front of it, in the same buffer. */
export interface Outgoing {
  readonly offset: number;
  readonly payload: Uint8Array;
}

export class SendQueue {
  /** Number of the first byte that is not acknowledged, of the next to be sent, and of the next to be queued. */
  unacknowledged = 0;
  next = 0;
  queued = 0;
  readonly sent: SentSegment[] = [];
  readonly #waiting: Uint8Array[] = [];
  /** Whether the memory in front of the first waiting piece is free for headers. */
  #headroom = true;

  /** Bytes held, acknowledged by nobody. */
  get held(): number {
    return this.queued - this.unacknowledged;
  }

  get waiting(): number {
    return this.queued - this.next;
  }

  /** The bytes are the queue's, and HEADROOM bytes in front of them. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#waiting.push(bytes);
    this.queued += bytes.length;
  }

  /** Takes at most so many waiting bytes, as one piece that is sent now. */
  take(most: number, now: number): Outgoing {
    const first = this.#waiting[0]!;
    let payload: Uint8Array;
    if (first.length <= most && this.#headroom && (first.length * 2 > most || this.#waiting.length === 1)) {
      payload = first;
      this.#waiting.shift();
    } else if (first.length > most && this.#headroom) {
      payload = first.subarray(0, most);
      this.#waiting[0] = first.subarray(most);
      this.#headroom = false;
    } else payload = this.#gather(most);
    const offset = this.next;
    this.next += payload.length;
    this.sent.push({ offset, payload, sentAt: now, repeated: false, again: false, sacked: false });
    return { offset, payload };
  }

  /** Copies waiting pieces together. */
  #gather(most: number): Uint8Array {
    const length = Math.min(most, this.waiting);
    const payload = new Uint8Array(HEADROOM + length).subarray(HEADROOM);
    for (let at = 0; at < length; ) {
      const piece = this.#waiting[0]!;
      const count = Math.min(piece.length, length - at);
      payload.set(piece.subarray(0, count), at);
      at += count;
      if (count === piece.length) {
        this.#waiting.shift();
        this.#headroom = true;
      } else {
        this.#waiting[0] = piece.subarray(count);
        this.#headroom = false;
      }
    }
    return payload;
  }

  /**
   * Everything before `offset` has arrived.
   * @returns when the newest segment that this settles was sent, if that tells the time of a round trip.
   */
  acknowledge(offset: number): number | undefined {
    let sentAt: number | undefined;
    let settled = 0;
    while (settled < this.sent.length) {
      const segment = this.sent[settled]!;
      const end = segment.offset + segment.payload.length;
      if (end > offset) {
        if (segment.offset < offset) {
          segment.payload = segment.payload.subarray(offset - segment.offset);
          segment.offset = offset;
        }
        break;
      }
      sentAt = segment.repeated ? undefined : segment.sentAt;
      settled++;
    }
    if (settled > 0) this.sent.splice(0, settled);
    this.unacknowledged = offset;
    return sentAt;
  }

  /** The guest has what lies in the range, though something before it is missing. */
  mark(from: number, to: number): void {
    for (const segment of this.sent) {
      if (segment.offset >= to) break;
      if (segment.offset >= from && segment.offset + segment.payload.length <= to) segment.sacked = true;
    }
  }

  clear(): void {
    this.sent.length = 0;
    this.#waiting.length = 0;
    this.unacknowledged = this.next = this.queued;
  }
}
