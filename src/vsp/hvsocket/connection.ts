/** One connection: a stream of bytes each way over a channel of its own, with bounded buffers at both ends. */
import type { InspectNode } from '../../vid/ports.ts';
import type { Channel, ChannelDevice, ChannelOffer } from '../../vmbus/ports.ts';
import { OfferFlag, PacketFlag, PacketType } from '../../vmbus/protocol.ts';
import { type Packet, viewOf } from '../../vmbus/ring.ts';
import { FROM_HOST, MAXIMUM_DATA, PIPE_DATA, PipeField, PREFERRED_DATA } from './protocol.ts';

/** Bytes that nobody has read yet, before nothing further is taken out of the guest's ring; and that wait for room in it. */
const BUFFER = 64 * 1024;

export type Ended = 'ended' | 'reset' | 'guestGone' | 'protocol';

export interface ConnectionEvents {
  opened(connection: Connection): void;
  /** It is no device any more: nothing happens on it from here on. */
  finished(connection: Connection): void;
}

export interface ConnectionOptions {
  readonly name: string;
  readonly service: string;
  readonly endpoint: string;
  readonly fromHost: boolean;
  readonly port: number;
}

export class Connection implements ChannelDevice {
  readonly name: string;
  readonly offer: ChannelOffer;
  readonly port: number;
  readonly transient = true;
  readonly #events: ConnectionEvents;
  #channel: Channel | undefined;
  #in: Uint8Array[] = [];
  #inBytes = 0;
  #out: Uint8Array[] = [];
  #outBytes = 0;
  #held = false;
  #guestEnded = false;
  #hostEnded = false;
  #finSent = false;
  #ended: Ended | undefined;
  #readers: (() => void)[] = [];
  #writers: (() => void)[] = [];
  readonly #closed = Promise.withResolvers<Ended>();
  readonly counters = { receivedBytes: 0, sentBytes: 0 };

  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.name = options.name;
    this.port = options.port;
    this.#events = events;
    const userData = new Uint8Array(120);
    userData[FROM_HOST] = options.fromHost ? 1 : 0;
    this.offer = { type: options.service, instance: options.endpoint, flags: OfferFlag.TLNPI_PROVIDER, userData };
  }

  // ---- for whoever uses the stream --------------------------------------------------------------------------------------

  /** Why it ended, when it has. */
  get ended(): Ended | undefined {
    return this.#ended;
  }
  /** Resolves when it has ended, for whatever reason. */
  get whenEnded(): Promise<Ended> {
    return this.#closed.promise;
  }

  /** The next bytes; undefined when the guest sends no more. */
  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const bytes = this.#in.shift();
      if (bytes) {
        this.#inBytes -= bytes.length;
        if (this.#held && this.#inBytes < BUFFER / 2) {
          this.#held = false;
          this.#channel?.release();
        }
        return bytes;
      }
      if (this.#guestEnded || this.#ended) return undefined;
      await new Promise<void>((resolve) => this.#readers.push(resolve));
    }
  }

  /** Resolves when there is room for more; false when the connection has ended, or its writing end. */
  async write(bytes: Uint8Array): Promise<boolean> {
    if (this.#hostEnded || this.#ended) return false;
    for (let at = 0; at < bytes.length; at += PREFERRED_DATA) {
      const part = bytes.slice(at, at + PREFERRED_DATA);
      this.#out.push(part);
      this.#outBytes += part.length;
    }
    this.#flush();
    while (this.#outBytes > BUFFER && !this.#ended) await new Promise<void>((resolve) => this.#writers.push(resolve));
    return this.#ended === undefined;
  }

  /** Sends no more; what was written still arrives. */
  end(): void {
    this.#hostEnded = true;
    this.#flush();
  }

  /** Ends both directions at once. */
  destroy(reason: Ended = 'reset'): void {
    this.#finish(reason);
  }

  // ---- the channel ------------------------------------------------------------------------------------------------------

  opened(channel: Channel): void {
    this.#channel = channel;
    this.#events.opened(this);
    this.#flush();
  }

  received(packet: Packet, channel: Channel): void {
    if ((packet.flags & PacketFlag.COMPLETION_REQUESTED) !== 0)
      channel.complete(packet.transactionId, new Uint8Array());
    const { payload } = packet;
    const view = viewOf(payload);
    const size = payload.length < PipeField.DATA ? undefined : view.getUint32(PipeField.SIZE, true);
    if (
      packet.type !== PacketType.DATA_IN_BAND ||
      size === undefined ||
      size > MAXIMUM_DATA ||
      PipeField.DATA + size > payload.length ||
      view.getUint32(PipeField.TYPE, true) !== PIPE_DATA
    ) {
      this.#finish('protocol');
      return;
    }
    if (size === 0) this.#guestEnded = true;
    else if (!this.#guestEnded) {
      this.#in.push(payload.subarray(PipeField.DATA, PipeField.DATA + size));
      this.#inBytes += size;
      this.counters.receivedBytes += size;
      if (this.#inBytes >= BUFFER) {
        this.#held = true;
        channel.hold();
      }
    }
    wake(this.#readers);
    if (this.#guestEnded && this.#finSent) this.#finish('ended');
  }

  writable(): void {
    this.#flush();
  }

  #flush(): void {
    if (!this.#channel) return;
    while (this.#out.length > 0) {
      const part = this.#out[0] as Uint8Array;
      if (!this.#send(part)) return;
      this.#out.shift();
      this.#outBytes -= part.length;
      this.counters.sentBytes += part.length;
    }
    if (this.#outBytes <= BUFFER) wake(this.#writers);
    if (this.#hostEnded && !this.#finSent && this.#send(new Uint8Array())) this.#finSent = true;
    if (this.#finSent && this.#guestEnded) this.#finish('ended');
  }

  #send(data: Uint8Array): boolean {
    const payload = new Uint8Array(PipeField.DATA + data.length);
    const view = viewOf(payload);
    view.setUint32(PipeField.TYPE, PIPE_DATA, true);
    view.setUint32(PipeField.SIZE, data.length, true);
    payload.set(data, PipeField.DATA);
    return this.#channel?.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload }) ?? false;
  }

  closed(): void {
    this.#finish('guestGone');
  }

  #finish(reason: Ended): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.#channel = undefined;
    this.#out = [];
    this.#outBytes = 0;
    this.#events.finished(this);
    wake(this.#readers);
    wake(this.#writers);
    this.#closed.resolve(reason);
  }

  inspect(): InspectNode {
    return {
      port: this.port,
      unread: this.#inBytes,
      unsent: this.#outBytes,
      guestEnded: this.#guestEnded,
      hostEnded: this.#hostEnded,
      ...this.counters,
    };
  }

  /** Connections end with a save, for the guest too: see `ChannelDevice.transient`. */
  save(): unknown {
    return null;
  }
  restore(): void {
    throw new RangeError('a connection is never restored');
  }
}

function wake(waiting: (() => void)[]): void {
  for (const resolve of waiting.splice(0)) resolve();
}
