/**
 * One port of the switch, with what waits on it in both directions: frames that an adapter has no room for, and frames that a
 * bandwidth limit holds back.
 */
import type { InspectNode } from '../contracts/partition.ts';
import type { NetworkTime } from '../host/network.ts';
import { macText } from './ethernet.ts';
import { cost, FrameQueue } from './frame-queue.ts';
import { finished } from './offload.ts';
import type { Frame, SwitchPort } from './port.ts';
import { TokenBucket } from './token-bucket.ts';

/** Bytes kept for an adapter that has no room, and for the switch from an adapter that is limited. */
const MOST_OUT = 4 * 2 ** 20;
const MOST_IN = 2 ** 20;
/** With this much waiting, who can wait with more is asked to; with less than half of it, to go on. */
const CONGESTED = 2 ** 19;

/** Bits per second, as Hyper-V counts. */
export interface Bandwidth {
  /** What the adapter sends. */
  readonly send?: number | undefined;
  readonly receive?: number | undefined;
}

export interface PortConfig {
  readonly name: string;
  readonly mac: number;
  /** Frames from the adapter may carry only its own addresses. */
  readonly guarded: boolean;
  /** 0: none. */
  readonly vlan: number;
  readonly bandwidth: Bandwidth;
  /** False: frames to the adapter are cut and have their checksums. */
  readonly offloads: boolean;
}

export interface PortOwner {
  readonly time: NetworkTime;
  /** A frame that the adapter has sent. */
  received(port: Port, frame: Frame): void;
  /** There is room for much again. */
  relieved(port: Port): void;
  closed(port: Port): void;
}

export type Drop = 'noRoom' | 'linkDown' | 'overLimit' | 'malformed' | 'tagged' | 'mac' | 'address' | 'dhcp' | 'router';

export class Port implements SwitchPort {
  readonly config: PortConfig;
  readonly #owner: PortOwner;
  readonly #out = new FrameQueue();
  readonly #in = new FrameQueue();
  readonly #sendLimit: TokenBucket | undefined;
  readonly #receiveLimit: TokenBucket | undefined;
  #receive: ((frame: Frame) => boolean) | undefined;
  #link: ((up: boolean) => void) | undefined;
  #up = true;
  #blocked = false;
  #draining = false;
  #congested = false;
  #closed = false;
  readonly #timers = new Set<() => void>();
  readonly counters = { framesSent: 0, bytesSent: 0, framesReceived: 0, bytesReceived: 0 };
  readonly drops: Partial<Record<Drop, number>> = {};

  constructor(config: PortConfig, owner: PortOwner) {
    this.config = config;
    this.#owner = owner;
    const { send, receive } = config.bandwidth;
    const now = owner.time.now();
    this.#sendLimit = send === undefined ? undefined : new TokenBucket(send, now);
    this.#receiveLimit = receive === undefined ? undefined : new TokenBucket(receive, now);
  }

  get open(): boolean {
    return !this.#closed;
  }

  get up(): boolean {
    return this.#up && !this.#closed;
  }

  /** Whether there is room for much. Who is told no hears through `relieved` when there is. */
  get ready(): boolean {
    if (this.#out.bytes < CONGESTED) return true;
    this.#congested = true;
    return false;
  }

  /** The adapter takes nothing, and frames wait for it. */
  get stalled(): boolean {
    return this.#blocked && this.#out.length > 0;
  }

  drop(reason: Drop): void {
    this.drops[reason] = (this.drops[reason] ?? 0) + 1;
  }

  // ------------------------------------------------------------------------------------------------ what the adapter does

  send(frame: Frame): void {
    if (!this.up) return this.drop('linkDown');
    this.counters.framesSent++;
    this.counters.bytesSent += frame.bytes.length;
    const limit = this.#sendLimit;
    if (limit === undefined) return this.#owner.received(this, frame);
    if (this.#in.length === 0 && limit.open(this.#owner.time.now())) {
      limit.take(frame.bytes.length);
      return this.#owner.received(this, frame);
    }
    if (this.#in.bytes + cost(frame) > MOST_IN) return this.drop('overLimit');
    this.#in.push(frame);
    if (this.#in.length === 1) this.#after(limit.wait, () => this.#drainIn(limit));
  }

  #drainIn(limit: TokenBucket): void {
    while (this.#in.head !== undefined && limit.open(this.#owner.time.now())) {
      const frame = this.#in.head;
      this.#in.shift();
      limit.take(frame.bytes.length);
      this.#owner.received(this, frame);
    }
    if (this.#in.length > 0) this.#after(limit.wait, () => this.#drainIn(limit));
  }

  onFrame(receive: (frame: Frame) => boolean): void {
    this.#receive = receive;
    this.resume();
  }

  onLink(changed: (up: boolean) => void): void {
    this.#link = changed;
    changed(this.up);
  }

  resume(): void {
    this.#blocked = false;
    this.#drain();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    this.#out.clear();
    this.#in.clear();
    this.#receive = undefined;
    this.#owner.closed(this);
  }

  // ------------------------------------------------------------------------------------------------- what the switch does

  setLink(up: boolean): void {
    if (up === this.#up || this.#closed) return;
    this.#up = up;
    if (!up) {
      this.#out.clear();
      this.#in.clear();
      this.#relieve();
    }
    this.#link?.(up);
  }

  deliver(frame: Frame): void {
    if (!this.up) return this.drop('linkDown');
    if (this.config.offloads || (frame.segmentSize === 0 && frame.checksum === 'complete')) return this.#offer(frame);
    for (const piece of finished(frame)) this.#offer(piece);
  }

  #offer(frame: Frame): void {
    if (this.#out.length === 0 && !this.#blocked && this.#receiveLimit === undefined && !this.#draining) {
      if (this.#receive?.(frame) === true) return this.#count(frame);
      this.#blocked = true;
    }
    if (this.#out.bytes + cost(frame) > MOST_OUT) return this.drop('noRoom');
    this.#out.push(frame);
    if (this.#receiveLimit !== undefined && !this.#waiting) this.#drain();
  }

  #count(frame: Frame): void {
    this.counters.framesReceived++;
    this.counters.bytesReceived += frame.bytes.length;
  }

  /** A bandwidth limit holds frames back until a timer goes off. */
  #waiting = false;

  #drain(): void {
    if (this.#draining || this.#receive === undefined) return;
    this.#draining = true;
    const limit = this.#receiveLimit;
    for (let frame = this.#out.head; frame !== undefined && !this.#blocked; frame = this.#out.head) {
      if (limit !== undefined && !limit.open(this.#owner.time.now())) {
        if (!this.#waiting) {
          this.#waiting = true;
          this.#after(limit.wait, () => {
            this.#waiting = false;
            this.#drain();
          });
        }
        break;
      }
      if (!this.#receive(frame)) {
        this.#blocked = true;
        break;
      }
      limit?.take(frame.bytes.length);
      this.#out.shift();
      this.#count(frame);
    }
    this.#draining = false;
    this.#relieve();
  }

  #relieve(): void {
    if (!this.#congested || this.#out.bytes * 2 > CONGESTED) return;
    this.#congested = false;
    this.#owner.relieved(this);
  }

  #after(milliseconds: number, callback: () => void): void {
    const cancel = this.#owner.time.after(milliseconds, () => {
      this.#timers.delete(cancel);
      callback();
    });
    this.#timers.add(cancel);
  }

  inspect(): InspectNode {
    const { mac, vlan, guarded, bandwidth } = this.config;
    return {
      mac: macText(mac),
      link: this.up ? 'up' : 'down',
      vlan,
      spoofingGuard: guarded,
      ...(bandwidth.send === undefined ? {} : { sendLimit: bandwidth.send }),
      ...(bandwidth.receive === undefined ? {} : { receiveLimit: bandwidth.receive }),
      ...this.counters,
      waitingBytes: this.#out.bytes,
      dropped: { ...this.drops },
    };
  }
}
