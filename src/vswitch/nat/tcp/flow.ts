/**
 * One TCP connection of a guest, ended here and carried on over a stream of the host: RFC 9293, with window scaling (RFC
 * 7323), selective acknowledgments (RFC 2018), fast retransmit and recovery (RFC 6675, simplified), the retransmission timer
 * of RFC 6298. What the guest sends is acknowledged when it is in order; the window that it is given says how much the host
 * has yet to take. What the host delivers is kept until the guest has it, and the stream is paused when that is too much.
 */
import type { HostStream, StreamEvents, StreamFailure } from '../../../host/network.ts';
import { MIN_SEGMENT } from '../../offload.ts';
import type { FlowEnds, FlowKey, FlowPorts } from './ports.ts';
import { ReceiveQueue } from './receive-queue.ts';
import { Rtt } from './rtt.ts';
import { Flag, type Segment, type SynOptions, sackBlocks, synOptions, writeSack, writeSynOptions } from './segment.ts';
import { SendQueue, type SentSegment } from './send-queue.ts';

/**
 * `connecting`: the guest has sent a SYN, the host's stream is not open yet. `synReceived`: it is, and the guest has its SYN
 * with ACK. `synSent`: a stream has come from the host, the guest has been sent a SYN. `timeWait`: both directions ended.
 */
export type FlowState = 'connecting' | 'synReceived' | 'synSent' | 'established' | 'timeWait' | 'closed';

/** Our receive window is counted in units of 128 bytes: up to 8 MiB. */
const WINDOW_SHIFT = 7;
/** Segments that may be under way after a loss. */
const LOSS_WINDOW = 10;
const DUPLICATES = 3;
/** Tries at a segment, a SYN, or a probe until the connection is given up: some minutes in all. */
const MOST_TRIES = 12;
const MOST_SYN_TRIES = 6;
const MOST_PROBES = 9;
/** Milliseconds. */
const TIME_WAIT = 2000;
const MOST_WAIT = 60_000;
/** Milliseconds without a word from the guest, after which it is asked whether the connection is still there. */
export const KEEPALIVE_AFTER = 600_000;
const KEEPALIVE_EVERY = 30_000;
const PROBE_FIRST = 200;
const PROBE_MOST = 5000;

export class Flow implements StreamEvents, FlowEnds {
  readonly key: FlowKey;
  /** Of the guest's adapter. */
  readonly mac: number;
  state: FlowState;
  readonly #ports: FlowPorts;
  readonly out = new SendQueue();
  readonly in = new ReceiveQueue();
  readonly #rtt = new Rtt();
  #stream: HostStream | undefined;
  /** Sequence number of our first byte, and of the guest's. */
  readonly #ourFirst: number;
  #theirFirst = 0;
  #mss = MIN_SEGMENT;
  #sendShift = 0;
  #scaled = false;
  #sack = false;
  /** Number of the first byte that the guest has no room for, and what its last window update was about. */
  #sendLimit = 0;
  #updateSequence = 0;
  #updateAcknowledgment = 0;
  #congestion = Number.MAX_SAFE_INTEGER;
  #duplicates = 0;
  /** While a loss is repaired: what was under way then. */
  #recover: number | undefined;
  /** Number of the first byte that we have promised no room for. */
  #receiveLimit = 0;
  #paused = false;
  /** The host's side has ended; our FIN has been sent; the guest has it. The number of our FIN is `out.queued`. */
  #ended = false;
  #finSent = false;
  #finAcknowledged = false;
  /** Number of the guest's FIN, and whether everything before it has come. */
  #finAt: number | undefined;
  #finTaken = false;
  /** Set: something is sent, or given up, when this time comes. */
  deadline: number | undefined;
  #tries = 0;
  #heard: number;
  /** When our SYN was sent, if only once. */
  #synAt: number | undefined;
  ackWanted = false;
  /** Bytes of the shared budget that this connection has. */
  #charged = 0;

  constructor(key: FlowKey, mac: number, ports: FlowPorts, initialSequence: number) {
    this.key = key;
    this.mac = mac;
    this.#ports = ports;
    this.#ourFirst = (initialSequence + 1) >>> 0;
    this.state = 'connecting';
    this.#heard = ports.now();
  }

  // ---------------------------------------------------------------------------------------------------------- opening

  /** From the guest: its SYN, and the stream that is being opened for it. */
  openFromGuest(syn: Segment, open: (events: StreamEvents) => HostStream): void {
    this.#takeSyn(syn);
    this.#stream = open(this);
  }

  /** From the host: a stream that is open. It must be delivering nothing yet. */
  openFromHost(stream: HostStream): void {
    this.#stream = stream;
    stream.pause();
    this.#paused = true;
    this.state = 'synSent';
    this.#sendSyn();
  }

  #takeSyn({ sequence, window, options }: Segment): void {
    const { mss, windowScale, sackPermitted } = synOptions(options);
    this.#theirFirst = (sequence + 1) >>> 0;
    this.#mss = Math.max(MIN_SEGMENT, Math.min(mss, this.#ports.mss));
    this.#scaled = windowScale !== undefined;
    this.#sendShift = windowScale ?? 0;
    this.#sack = sackPermitted;
    // The window of a SYN is never scaled.
    this.#sendLimit = window;
  }

  #sendSyn(): void {
    const answer = this.state === 'synReceived';
    const options: SynOptions = {
      mss: this.#ports.mss,
      windowScale: answer && !this.#scaled ? undefined : WINDOW_SHIFT,
      sackPermitted: !answer || this.#sack,
    };
    const window = Math.min(0xffff, this.#promise());
    this.#receiveLimit = Math.max(this.#receiveLimit, this.in.next + window);
    const flags = answer ? Flag.SYN | Flag.ACK : Flag.SYN;
    const acknowledgment = answer ? this.#theirFirst : 0;
    this.#synAt = this.#tries === 0 ? this.#ports.now() : undefined;
    this.#ports.transmit(this, (this.#ourFirst - 1) >>> 0, acknowledgment, flags, window, writeSynOptions(options));
    this.#wait(this.#rtt.timeout);
  }

  // --------------------------------------------------------------------------------------------- what the host's side says

  connected(): void {
    if (this.state !== 'connecting') return;
    this.state = 'synReceived';
    this.#sendSyn();
  }

  data(bytes: Uint8Array): void {
    if (this.state === 'closed') return;
    this.out.push(bytes);
    this.pump();
  }

  end(): void {
    this.#ended = true;
    this.pump();
  }

  drained(): void {
    this.#charge();
    if (this.state !== 'established') return;
    // A guest that was held up hears of new room when it is worth it.
    const room = this.in.next + this.#promise() - this.#receiveLimit;
    const left = this.#receiveLimit - this.in.next;
    if (room >= Math.min(this.#ports.receiveLimit / 4, Math.max(left, 2 * this.#mss))) this.#wantAck();
  }

  closed(failure: StreamFailure | undefined): void {
    this.#stream = undefined;
    if (this.state === 'closed') return;
    if (this.state === 'connecting') {
      this.#ports.refused(this, failure ?? 'failed', this.#theirFirst);
      this.#end();
    } else if (failure !== undefined) this.abort();
  }

  /** Tells the guest that the connection is broken, and forgets it. */
  abort(): void {
    if (this.state === 'closed') return;
    if (this.state === 'connecting' || this.state === 'synSent') {
      if (this.state === 'connecting') this.#ports.refused(this, 'refused', this.#theirFirst);
    } else this.#transmit(Flag.RST | Flag.ACK, this.#sequence());
    this.#end();
  }

  // ---------------------------------------------------------------------------------------------------- what the guest says

  receive(segment: Segment): void {
    this.#heard = this.#ports.now();
    if (this.#keeping) {
      this.#keeping = false;
      this.#tries = 0;
      this.#rearm();
    }
    if (this.state === 'connecting') {
      // Its SYN again, or a change of mind.
      if ((segment.flags & Flag.RST) !== 0 && segment.sequence === this.#theirFirst) this.#end();
      return;
    }
    if (this.state === 'synSent') return this.#answered(segment);
    if (this.state === 'closed') return;
    const { flags } = segment;
    const offset = this.in.next + ((segment.sequence - this.#theirFirst - this.in.next) | 0);
    if ((flags & Flag.RST) !== 0) {
      if (offset === this.in.next) this.#end();
      else if (offset > this.in.next && offset < this.#receiveLimit) this.#sendAck();
      return;
    }
    if ((flags & Flag.SYN) !== 0) {
      // RFC 5961: an answer lets an honest peer that has restarted say so. The SYN again: it has lost ours.
      if (this.state === 'synReceived') this.#sendSyn();
      else this.#sendAck();
      return;
    }
    if ((flags & Flag.ACK) === 0) return;
    const acknowledged =
      this.out.unacknowledged + ((segment.acknowledgment - this.#ourFirst - this.out.unacknowledged) | 0);
    if (acknowledged > this.#sequence()) {
      // Of something that was never sent.
      if (this.state === 'synReceived') this.#ports.reset(this, segment.acknowledgment);
      else this.#sendAck();
      return;
    }
    if (this.state === 'synReceived') {
      if (acknowledged < 0) return;
      this.#establish();
      this.#updateSequence = this.#updateAcknowledgment = -1;
    }
    this.#takeAcknowledgment(segment, offset, acknowledged);
    if (this.#isClosed()) return;
    this.#takePayload(segment, offset);
    if (!this.#isClosed()) this.pump();
  }

  /** A function, because the compiler does not see that calls change the state. */
  #isClosed(): boolean {
    return this.state === 'closed';
  }

  /** Whether a SYN begins the next connection: this one has ended, and the SYN is not an old one of its own (RFC 9293, 3.10.7.4). */
  yieldsTo({ sequence }: Segment): boolean {
    return this.state === 'timeWait' && ((sequence - this.#theirFirst - this.in.next) | 0) >= 0;
  }

  /** The answer to our SYN. */
  #answered(segment: Segment): void {
    const { flags } = segment;
    const acceptable = (flags & Flag.ACK) !== 0 && segment.acknowledgment === this.#ourFirst;
    if ((flags & Flag.ACK) !== 0 && !acceptable) {
      if ((flags & Flag.RST) === 0) this.#ports.reset(this, segment.acknowledgment);
      return;
    }
    if ((flags & Flag.RST) !== 0) {
      if (acceptable) this.#end();
      return;
    }
    if ((flags & Flag.SYN) === 0 || !acceptable) return;
    this.#takeSyn(segment);
    this.#establish();
    this.#sendAck();
    this.#relieve();
    this.pump();
  }

  #establish(): void {
    this.state = 'established';
    this.#tries = 0;
    this.deadline = undefined;
    if (this.#synAt !== undefined) this.#rtt.sample(this.#ports.now() - this.#synAt);
  }

  #takeAcknowledgment(segment: Segment, offset: number, acknowledged: number): void {
    const { out } = this;
    const now = this.#ports.now();
    if (this.#sack && segment.options.length > 0) {
      for (const [from, to] of sackBlocks(segment.options)) {
        const first = out.unacknowledged + ((from - this.#ourFirst - out.unacknowledged) | 0);
        const behind = out.unacknowledged + ((to - this.#ourFirst - out.unacknowledged) | 0);
        if (first > acknowledged && first < behind && behind <= out.next) out.mark(first, behind);
      }
    }
    const limit = acknowledged + segment.window * 2 ** this.#sendShift;
    const before = this.#sendLimit;
    if (
      acknowledged >= out.unacknowledged &&
      (offset > this.#updateSequence || (offset === this.#updateSequence && acknowledged >= this.#updateAcknowledgment))
    ) {
      this.#sendLimit = limit;
      this.#updateSequence = offset;
      this.#updateAcknowledgment = acknowledged;
    }
    const data = Math.min(acknowledged, out.next);
    if (acknowledged > out.next) this.#finAcknowledged = true;
    if (data > out.unacknowledged) {
      const count = data - out.unacknowledged;
      const sentAt = out.acknowledge(data);
      if (sentAt !== undefined) this.#rtt.sample(now - sentAt);
      this.#duplicates = 0;
      this.#tries = 0;
      this.#congestion += count;
      if (this.#recover !== undefined) {
        if (data >= this.#recover) this.#recover = undefined;
        // RFC 6675: the next gap at once, not after another timeout.
        else this.#repair();
      }
      this.#rearm();
      this.#charge();
      this.#relieve();
    } else if (acknowledged === out.unacknowledged && out.sent.length > 0 && segment.payload.length === 0) {
      if (limit === before && this.#recover === undefined && ++this.#duplicates === DUPLICATES) {
        this.#lost();
        this.#repair();
      } else if (this.#recover !== undefined) this.#repair();
    }
    if (this.#finAcknowledged) this.#settleEnd();
    else if (out.sent.length === 0 && this.#probing) {
      // An answer, but no room: asked less and less often, and never given up.
      this.#tries = Math.min(this.#tries, 4);
      if (this.#sendLimit > out.next) {
        this.#probing = false;
        this.#tries = 0;
      }
      this.#rearm();
    }
  }

  /** After a loss less is sent at once, until acknowledgments come again. */
  #lost(): void {
    this.#recover = this.out.next;
    this.#congestion = Math.max(LOSS_WINDOW * this.#mss, Math.floor((this.out.next - this.out.unacknowledged) / 2));
    this.#duplicates = 0;
    for (const segment of this.out.sent) segment.again = false;
  }

  /** Sends again the first segment that is missing and was not yet sent again. */
  #repair(): void {
    const known = this.out.sent.findLastIndex((segment) => segment.sacked);
    for (const [at, segment] of this.out.sent.entries()) {
      if (segment.sacked || segment.again) continue;
      // Without a word about what came later, only the first is known to be missing.
      if (at > Math.max(known, 0)) return;
      return this.#sendAgain(segment);
    }
  }

  #sendAgain(segment: SentSegment): void {
    segment.repeated = true;
    segment.again = true;
    segment.sentAt = this.#ports.now();
    this.#ports.repeated();
    // Into new memory: the frame that carried it first may still be somewhere.
    this.#transmit(Flag.ACK | Flag.PSH, segment.offset, segment.payload, false);
  }

  #takePayload(segment: Segment, offset: number): void {
    let { payload } = segment;
    const end = offset + payload.length;
    const fin = (segment.flags & Flag.FIN) !== 0;
    if (payload.length === 0 && !fin) {
      // A probe of whether we are still there.
      if (offset < this.in.next) this.#wantAck();
      return;
    }
    if (fin && this.#finAt === undefined && end <= this.#receiveLimit) this.#finAt = end;
    if (offset < this.in.next) payload = payload.subarray(Math.min(payload.length, this.in.next - offset));
    const from = Math.max(offset, this.in.next);
    const room = Math.min(this.#receiveLimit, this.#finAt ?? Number.MAX_SAFE_INTEGER) - from;
    if (payload.length > room) payload = payload.subarray(0, Math.max(0, room));
    if (payload.length > 0 && from === this.in.next) {
      const repaired = this.in.held > 0;
      // What fills the gap is never kept: the queue may be full, and only this empties it.
      this.in.next += payload.length;
      this.#deliver(payload);
      this.in.release((bytes) => this.#deliver(bytes));
      if (repaired) this.#sendAck();
      else this.#wantAck();
    } else if (payload.length > 0) {
      this.in.keep(from, payload, this.#ports.receiveLimit);
      // At once, so that the guest counts duplicates.
      this.#sendAck();
    } else if (!fin) this.#sendAck();
    if (this.#finAt !== undefined && this.in.next === this.#finAt) {
      if (!this.#finTaken) {
        this.#finTaken = true;
        this.#stream?.end();
      }
      this.#sendAck();
      this.#settleEnd();
    } else if (fin) this.#sendAck();
    this.#charge();
  }

  #deliver(bytes: Uint8Array): void {
    this.#ports.received(bytes.length);
    this.#stream?.write(bytes);
  }

  // ---------------------------------------------------------------------------------------------------------- sending

  /** Sends what may be sent. */
  pump(): void {
    if (this.state !== 'established') return this.#throttle();
    const { out } = this;
    while (out.waiting > 0) {
      const flying = out.next - out.unacknowledged;
      const room = Math.min(this.#sendLimit - out.next, this.#congestion - flying);
      let most = Math.min(room, this.#ports.largest);
      if (most < out.waiting) {
        if (most < this.#mss && flying > 0) break;
        // Whole segments, but for a window that is smaller than one.
        if (most > this.#mss) most -= most % this.#mss;
      }
      if (most <= 0) break;
      if (!this.#ports.ready(this)) break;
      const piece = out.take(Math.min(most, out.waiting), this.#ports.now());
      this.#ports.sent(piece.payload.length);
      this.#transmit(out.waiting === 0 ? Flag.ACK | Flag.PSH : Flag.ACK, piece.offset, piece.payload, true);
    }
    if (this.#ended && !this.#finSent && out.waiting === 0) {
      this.#finSent = true;
      this.#transmit(Flag.FIN | Flag.ACK, out.next);
    }
    if (out.waiting > 0 && out.sent.length === 0 && this.#sendLimit <= out.next) this.#probing = true;
    this.#rearm();
    this.#charge();
    this.#throttle();
  }

  /** The guest has no room: it is asked now and then, should the word that it has some be lost. */
  #probing = false;

  #throttle(): void {
    if (!this.#paused && this.out.held > this.#ports.sendLimit) {
      this.#paused = true;
      this.#stream?.pause();
    }
  }

  #relieve(): void {
    if (this.#paused && this.out.held <= this.#ports.sendLimit / 2) {
      this.#paused = false;
      this.#stream?.resume();
    }
  }

  #promise(): number {
    const used = (this.#stream?.pending ?? 0) + this.in.held;
    const most = this.#scaled || this.state === 'synSent' ? this.#ports.receiveLimit : 0xffff;
    return Math.max(0, Math.min(most, this.#ports.receiveLimit - used));
  }

  #wantAck(): void {
    if (this.ackWanted) return;
    this.ackWanted = true;
    this.#ports.ackLater(this);
  }

  #sendAck(): void {
    this.#transmit(Flag.ACK, this.#sequence());
  }

  /** Number of what we send next: our FIN counts as one byte. */
  #sequence(): number {
    return this.out.next + (this.#finSent ? 1 : 0);
  }

  /** The acknowledgment that was put off, unless something has carried it. */
  flushAck(): void {
    if (this.ackWanted && !this.#isClosed()) this.#sendAck();
    this.ackWanted = false;
  }

  #transmit(flags: number, offset: number, payload?: Uint8Array, inPlace = false): void {
    this.ackWanted = false;
    const shift = this.#scaled ? WINDOW_SHIFT : 0;
    const scaled = Math.min(0xffff, (this.#receiveLimitNow() - this.in.next) >>> shift);
    // With data in the same segment it would be too long: what calls for the option is acknowledged at once, and alone.
    const sack = this.#sack && this.in.held > 0 && payload === undefined;
    const options = sack ? writeSack(this.#sackRanges()) : undefined;
    const sequence = (this.#ourFirst + offset) >>> 0;
    const acknowledgment = (this.#theirFirst + this.in.next + (this.#finTaken ? 1 : 0)) >>> 0;
    this.#ports.transmit(this, sequence, acknowledgment, flags, scaled, options, payload, inPlace, this.#mss);
  }

  /** Promised room is never taken back (RFC 9293, section 3.8.6). */
  #receiveLimitNow(): number {
    const unit = this.#scaled ? 1 << WINDOW_SHIFT : 1;
    const window = this.#promise();
    this.#receiveLimit = Math.max(this.#receiveLimit, this.in.next + window - (window % unit));
    return this.#receiveLimit;
  }

  #sackRanges(): [number, number][] {
    return this.in.ranges.map(([from, to]) => [this.#theirFirst + from, this.#theirFirst + to]);
  }

  // ------------------------------------------------------------------------------------------------------------- time

  #wait(milliseconds: number): void {
    this.deadline = this.#ports.now() + milliseconds;
  }

  #rearm(): void {
    if (this.state !== 'established') return;
    const open = this.out.sent.length > 0 || (this.#finSent && !this.#finAcknowledged);
    if (open) this.#wait(Math.min(MOST_WAIT, this.#rtt.timeout * 2 ** Math.min(this.#tries, 16)));
    else if (this.#probing) this.#wait(Math.min(PROBE_MOST, PROBE_FIRST * 2 ** this.#tries));
    else this.deadline = undefined;
  }

  /** Time has passed. While the guest's adapter takes nothing, nothing counts as lost. */
  tick(now: number): void {
    if (this.deadline === undefined) {
      if (this.state === 'established' && now - this.#heard > KEEPALIVE_AFTER) this.#keepAlive();
      return;
    }
    if (now < this.deadline) return;
    if (this.state === 'timeWait') return this.#end();
    if (this.#ports.stalled(this)) return this.#wait(this.#rtt.timeout);
    this.#tries++;
    if (this.state === 'synReceived' || this.state === 'synSent') {
      if (this.#tries > MOST_SYN_TRIES) return this.#end();
      this.#rtt.backOff();
      return this.#sendSyn();
    }
    if (this.#tries > MOST_TRIES) return this.abort();
    if (this.out.sent.length > 0) {
      this.#lost();
      this.#congestion = LOSS_WINDOW * this.#mss;
      for (const segment of this.out.sent) segment.sacked = false;
      this.#sendAgain(this.out.sent[0]!);
    } else if (this.#finSent && !this.#finAcknowledged) this.#transmit(Flag.FIN | Flag.ACK, this.out.next);
    else if (this.#keeping && this.#tries > MOST_PROBES) return this.abort();
    else this.#probe();
    if (this.#keeping) this.#wait(KEEPALIVE_EVERY);
    else this.#rearm();
  }

  #keeping = false;

  #keepAlive(): void {
    this.#keeping = true;
    this.#probe();
    this.#wait(KEEPALIVE_EVERY);
  }

  /** An old byte's number, which makes the guest say where it is (RFC 9293, section 3.8.4). */
  #probe(): void {
    this.#transmit(Flag.ACK, this.out.next - 1);
  }

  // -------------------------------------------------------------------------------------------------------------- end

  #settleEnd(): void {
    if (!this.#finAcknowledged || !this.#finTaken) return;
    this.state = 'timeWait';
    this.out.clear();
    this.#wait(TIME_WAIT);
    this.#charge();
  }

  #charge(): void {
    const held = this.out.held + this.in.held + (this.#stream?.pending ?? 0);
    this.#ports.charge(held - this.#charged);
    this.#charged = held;
  }

  #end(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    this.state = 'closed';
    this.deadline = undefined;
    if (stream !== undefined && !(this.#finTaken && this.#ended)) stream.reset();
    this.out.clear();
    this.in.clear();
    this.#ports.charge(-this.#charged);
    this.#charged = 0;
    this.#ports.ended(this);
  }

  /** Takes the connection down without a word to the guest: the adapter is gone. */
  drop(): void {
    if (this.state !== 'closed') this.#end();
  }

  inspect(): Record<string, string | number> {
    return {
      state: this.state,
      held: this.out.held,
      outOfOrder: this.in.held,
      sent: this.out.next,
      received: this.in.next,
      roundTrip: Math.round(this.#rtt.smoothed * 1000),
    };
  }
}
