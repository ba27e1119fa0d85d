/**
 * What stands between the bus and both its neighbours: below it the partition (memory, SynIC, time), above it the devices
 * that offer channels (VSPs and integration components). The bus knows no device; a device knows only its `Channel`.
 *
 * Everything runs on the parent's thread.
 */
import type { InspectNode } from '../vid/ports.ts';
import type { Gpadl } from './gpadl.ts';
import type { OutgoingPacket, Packet, RingMemory } from './ring.ts';

/** Guest memory. Methods throw RangeError where no RAM is. */
export interface VmbusMemory extends RingMemory {
  /** Whether the whole range is RAM. */
  isRam(gpa: number, length: number): boolean;
}

export interface Timers {
  /** Calls back once, after this time in which the partition ran. Returns what calls it off. */
  after(milliseconds: number, callback: () => void): () => void;
}

/** The partition, as the bus sees it. */
export interface VmbusPorts {
  readonly memory: VmbusMemory;
  readonly timers: Timers;
  readonly processors: number;
  /** Bytes of RAM. */
  readonly ramSize: number;
  /** Posts a SynIC message: taken, to be tried again, or the guest has no SynIC there. */
  postMessage(vp: number, sint: number, type: number, payload: Uint8Array): 'accepted' | 'full' | 'inactive';
  setEventFlag(vp: number, sint: number, flag: number): void;
  /** Calls back soon, after whatever else waits for this thread. */
  defer(callback: () => void): void;
  /** An exception out of a device: a defect of ours. The channel it came through is closed for the guest. */
  defect(error: unknown): void;
  trace?: ((text: string) => void) | undefined;
}

/** What a guest is offered. */
export interface ChannelOffer {
  /** GUIDs as text. */
  readonly type: string;
  readonly instance: string;
  /** Bits of OfferFlag; default: none. */
  readonly flags?: number;
  /** Memory-mapped I/O that the device needs. */
  readonly mmioMegabytes?: number;
  /** At most 120 bytes. */
  readonly userData?: Uint8Array;
}

/** One open channel, as its device sees it. Every method may be called at any time; on a closed channel nothing happens. */
export interface Channel {
  readonly relid: number;
  /** 0 for the primary channel. */
  readonly subIndex: number;
  readonly open: boolean;
  /** The partition stands still: nothing is sent, and `writable` is called when it runs again. */
  readonly paused: boolean;
  /** Protocol version of the bus. */
  readonly version: number;
  /** What the guest gave when it opened: 120 bytes. */
  readonly userData: Uint8Array;
  /** False when there is no room now: `writable` is called when there may be. */
  send(packet: OutgoingPacket): boolean;
  /** Answers a packet. Always kept: while answers wait for room, nothing further is received. */
  complete(transactionId: bigint, payload: Uint8Array): void;
  /** Stops receiving, for a device with enough to do; and goes on. */
  hold(): void;
  release(): void;
  /** A buffer that the guest has shared through this channel. Look it up each time: the guest may take it back. */
  gpadl(id: number): Gpadl | undefined;
  /** Offers further channels of this device, beside this primary one; how many were offered. */
  offerSubChannels(count: number): number;
}

/** A device that offers a channel. Exceptions out of it are defects, whatever the guest sent. */
export interface ChannelDevice {
  /** Unique on its bus; for people, and the name under which its state is saved. */
  readonly name: string;
  readonly offer: ChannelOffer;
  /** What the guest asks for may wait a little where much is asked for. */
  readonly bulk?: boolean;
  /** Does not outlive a save: the guest of a restored partition finds that its channel was taken back. */
  readonly transient?: boolean;
  opened(channel: Channel): void;
  received(packet: Packet, channel: Channel): void;
  /** There may be room again, after `send` said no. */
  writable?(channel: Channel): void;
  /** The guest closed the channel, or its bus was reset. `channel` is dead. */
  closed(channel: Channel): void;
  inspect(): InspectNode;
  /** Plain data, JSON-safe. */
  save(): unknown;
  /**
   * Goes on from what `save` gave; `channels` are those that are open, the primary first.
   * @throws RangeError when the data are none of this device's.
   */
  restore(saved: unknown, channels: readonly Channel[]): void;
}
