/**
 * One channel of the bus, from its offer to its end: its state, its rings while it is open, and the order in which a
 * device meets packets. States: `hidden` (no guest has been offered it), `offered`, `open`, `rescinded` (taken back; its
 * relid is free once the guest has let go).
 */
import { asBytes, hexOf } from '../support/plain.ts';
import type { InspectNode } from '../vid/ports.ts';
import type { Gpadl } from './gpadl.ts';
import type { Moderation } from './mailbox.ts';
import type { Channel, ChannelDevice } from './ports.ts';
import { PacketType } from './protocol.ts';
import { BROKEN, encodePacket, type IncomingRing, type OutgoingPacket, type OutgoingRing } from './ring.ts';
import type { SavedChannel, SavedOpen } from './state.ts';

export type ChannelState = 'hidden' | 'offered' | 'open' | 'rescinded';

/** What the guest gave when it opened the channel. */
export interface OpenParameters {
  readonly openId: number;
  readonly ringGpadl: number;
  readonly downstreamPage: number;
  readonly userData: Uint8Array;
}

export interface Rings {
  readonly incoming: IncomingRing;
  readonly outgoing: OutgoingRing;
}

/** What a channel needs of its bus. */
export interface ChannelBus {
  version(): number;
  paused(): boolean;
  /** Sets the channel's event flag. */
  signal(channel: BusChannel): void;
  /** How long the guest's signals may wait. */
  moderate(channel: BusChannel, moderation: Moderation | undefined): void;
  /** Calls `tellGuest` soon, when what else is to be done now has been done. */
  tellSoon(channel: BusChannel): void;
  /** Runs `service` again soon; or when a while has passed, because the guest has no room. */
  serviceSoon(channel: BusChannel): void;
  serviceLater(channel: BusChannel): void;
  gpadl(id: number, relid: number): Gpadl | undefined;
  offerSubChannels(primary: BusChannel, count: number): number;
  /** An exception out of the device. */
  defect(channel: BusChannel, error: unknown): void;
}

/** Packets that a device is given before other work has its turn. */
const BATCH = 64;
/** Bytes that name pages in a packet, from which on the device's work for it is long (11 pages), and signals wait for less. */
const MANY_PAGES = 96;
/**
 * Milliseconds of a device's work after which the guest is told of its answers, so that it need not wait for all of them; then after
 * twice as many, and so on: once it has some it is busy.
 */
const LONG_WORK = 0.05;
/** Signals for a single packet, one after the other, by which it shows that letting them wait brings no more; then so many go at once. */
const LONELY = 4;
const UNMODERATED = 64;

export class BusChannel implements Channel {
  readonly device: ChannelDevice;
  readonly relid: number;
  readonly subIndex: number;
  readonly primary: BusChannel | undefined;
  state: ChannelState = 'hidden';
  targetVp = 0;
  parameters: OpenParameters | undefined;
  /** Answers that wait for room in the guest's ring, oldest first. */
  answers: Uint8Array[] = [];
  /** The ring made no sense: nothing is read from or written to it until the guest opens the channel again. */
  broken = false;
  readonly counters = { received: 0, sent: 0, signals: 0, broken: 0 };
  readonly #bus: ChannelBus;
  #rings: Rings | undefined;
  #held = false;
  /** `send` had no room. */
  #refused = false;
  #serving = false;
  /** Answers were written that the guest may not know of: one interrupt is for all of them. */
  #untold = false;
  #moderation: Moderation | undefined;
  /** Bytes that name pages in a packet: of those since the signal, and the mean of the last signals. */
  #named = 0;
  #meanNamed = 0;
  /** Signals until moderation is tried, or given up. */
  #signalsLeft = 0;

  constructor(bus: ChannelBus, device: ChannelDevice, relid: number, primary?: BusChannel, subIndex = 0) {
    this.#bus = bus;
    this.device = device;
    this.relid = relid;
    this.primary = primary;
    this.subIndex = subIndex;
  }

  // ---- for the bus --------------------------------------------------------------------------------------------------

  begin(parameters: OpenParameters, targetVp: number, rings: Rings): void {
    this.state = 'open';
    this.parameters = parameters;
    this.targetVp = targetVp;
    this.#rings = rings;
    this.answers = [];
    this.broken = false;
    this.#held = false;
    this.#refused = false;
    this.#untold = false;
    this.#moderation = undefined;
    this.#meanNamed = 0;
    this.#signalsLeft = 0;
  }

  /** Ends what `begin` began; the device is told. Nothing happens on a channel that is not open. */
  end(state: ChannelState): void {
    const was = this.state;
    this.state = state;
    if (was !== 'open') return;
    this.#rings = undefined;
    this.parameters = undefined;
    this.answers = [];
    this.#attempt(() => {
      this.device.closed(this);
    });
  }

  tellOpened(): void {
    this.#attempt(() => {
      this.device.opened(this);
    });
  }

  /** The partition runs again: the device may have been told to wait. Whether the channel is open. */
  resumed(): boolean {
    this.#refused = true;
    return this.open;
  }

  get rings(): Rings | undefined {
    return this.#rings;
  }

  get held(): boolean {
    return this.#held;
  }

  /** Does what there is to do: answers out, then packets in. Called when the guest has signalled. */
  service(): void {
    this.#serving = true;
    const { received } = this.counters;
    this.#named = 0;
    this.#serve();
    if (this.device.bulk) this.#moderate(this.counters.received - received);
    this.#serving = false;
    this.tellGuest();
  }

  /**
   * A guest that has several requests under way loses nothing when its signals wait, and gains wakings and interrupts that are not
   * needed. One that waits for each request loses. Which it is shows in the packets that come with a signal that may wait.
   */
  #moderate(packets: number): void {
    if (!this.open || packets === 0) return;
    this.#meanNamed += (this.#named / packets - this.#meanNamed) / 8;
    const was = this.#moderation;
    if (was === undefined || packets === 1) {
      if (--this.#signalsLeft <= 0) {
        this.#moderation = was === undefined ? 'long' : undefined;
        this.#signalsLeft = was === undefined ? LONELY : UNMODERATED;
      }
    } else this.#signalsLeft = LONELY;
    if (this.#moderation !== undefined) this.#moderation = this.#meanNamed < MANY_PAGES ? 'long' : 'short';
    if (this.#moderation !== was) this.#bus.moderate(this, this.#moderation);
  }

  /** Interrupts the guest if there are answers that it may not know of. */
  tellGuest(): void {
    if (!this.#untold) return;
    this.#untold = false;
    if (this.#rings && !this.broken && this.#rings.outgoing.unmasked) this.#signal();
  }

  #serve(): void {
    const rings = this.#rings;
    if (!rings || this.broken || !this.#flush()) return;
    if (this.#refused) {
      this.#refused = false;
      this.#attempt(() => this.device.writable?.(this));
    }
    const { incoming } = rings;
    let left = BATCH;
    let tellAt = performance.now() + LONG_WORK;
    let wait = LONG_WORK;
    const goesOn = (): boolean => this.#rings === rings && !this.broken && !this.#held && this.answers.length === 0;
    while (goesOn()) {
      incoming.masked = true;
      for (; left > 0 && goesOn(); left--) {
        const packet = incoming.next();
        if (packet === undefined) break;
        if (packet === BROKEN) {
          this.#break();
          return;
        }
        this.counters.received++;
        this.#named += packet.descriptor.length;
        this.#attempt(() => {
          this.device.received(packet, this);
        });
        if (!this.device.bulk) continue;
        const now = performance.now();
        if (now < tellAt) continue;
        this.tellGuest();
        wait *= 2;
        tellAt = now + wait;
      }
      if (this.#rings !== rings) return;
      if (incoming.takeRoomSignal()) this.#signal();
      if (left === 0) {
        // The guest need not signal: this comes back by itself.
        this.#bus.serviceSoon(this);
        return;
      }
      // In this order, or a packet written in between would be announced by nobody.
      incoming.masked = false;
      if (incoming.empty) return;
    }
  }

  #break(): void {
    this.broken = true;
    this.counters.broken++;
    this.answers = [];
  }

  #attempt(body: () => void): void {
    try {
      body();
    } catch (error) {
      this.#bus.defect(this, error);
    }
  }

  // ---- for the device -----------------------------------------------------------------------------------------------

  get open(): boolean {
    return this.state === 'open';
  }

  get paused(): boolean {
    return this.#bus.paused();
  }

  get version(): number {
    return this.#bus.version();
  }

  get userData(): Uint8Array {
    return this.parameters?.userData ?? new Uint8Array();
  }

  send(packet: OutgoingPacket): boolean {
    if (!this.#rings || this.broken) return true;
    if (this.paused) {
      this.#refused = true;
      return false;
    }
    // What comes later does not overtake.
    if (this.answers.length === 0 && (this.#write(encodePacket(packet)) || this.broken)) {
      this.tellGuest();
      return true;
    }
    this.#refused = true;
    this.#bus.serviceLater(this);
    return false;
  }

  complete(transactionId: bigint, payload: Uint8Array): void {
    const rings = this.#rings;
    if (!rings || this.broken) return;
    const bytes = encodePacket({ type: PacketType.COMPLETION, transactionId, payload });
    // A guest whose ring is smaller than the answer it wants cannot have it.
    if (bytes.length > rings.outgoing.longest) this.#break();
    else if (this.answers.length > 0 || !this.#write(bytes)) {
      this.answers.push(bytes);
      this.#bus.serviceLater(this);
    } else if (!this.#serving) this.#bus.tellSoon(this);
  }

  hold(): void {
    this.#held = true;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#bus.serviceSoon(this);
  }

  gpadl(id: number): Gpadl | undefined {
    return this.#bus.gpadl(id, this.relid);
  }

  offerSubChannels(count: number): number {
    return this.primary ? 0 : this.#bus.offerSubChannels(this, count);
  }

  /** True when nothing waits any more. */
  #flush(): boolean {
    while (this.answers.length > 0) {
      if (!this.#write(this.answers[0] as Uint8Array)) {
        if (this.broken) return false;
        this.#bus.serviceLater(this);
        return false;
      }
      this.answers.shift();
    }
    return true;
  }

  /** False when there is no room, or the ring is broken. */
  #write(bytes: Uint8Array): boolean {
    const { outgoing } = this.#rings as Rings;
    const written = outgoing.write(bytes);
    if (written === BROKEN) this.#break();
    if (written !== true) return false;
    this.counters.sent++;
    this.#untold = true;
    return true;
  }

  #signal(): void {
    this.counters.signals++;
    this.#bus.signal(this);
  }

  // ---- state ------------------------------------------------------------------------------------------------------------

  save(): SavedChannel {
    const { device, relid, subIndex, state, targetVp } = this;
    // Taken back by the save, see `VmBus.save`.
    if (device.transient) return { device: device.name, relid, subIndex, state: 'rescinded', targetVp, open: null };
    return { device: device.name, relid, subIndex, state, targetVp, open: this.#saveOpen() };
  }

  #saveOpen(): SavedOpen | null {
    if (!this.#rings || !this.parameters) return null;
    const { openId, ringGpadl, downstreamPage, userData, ...rest } = this.parameters;
    rest satisfies Record<string, never>;
    return {
      openId,
      ringGpadl,
      downstreamPage,
      userData: hexOf(userData),
      incoming: this.#rings.incoming.index,
      outgoing: this.#rings.outgoing.index,
      broken: this.broken,
      held: this.#held,
      refused: this.#refused,
      answers: this.answers.map(hexOf),
    };
  }

  /** Goes on from a saved state; the rings are made from it. */
  restore(saved: SavedChannel, rings: Rings | undefined): void {
    const { open } = saved;
    if (open && rings) {
      const { openId, ringGpadl, downstreamPage } = open;
      const userData = asBytes(open.userData, 'an open VMBus channel');
      this.begin({ openId, ringGpadl, downstreamPage, userData }, saved.targetVp, rings);
      this.answers = open.answers.map((answer) => asBytes(answer, 'an open VMBus channel'));
      this.broken = open.broken;
      this.#held = open.held;
      this.#refused = open.refused;
      if (this.answers.length > 0 || this.#refused) this.#bus.serviceLater(this);
    }
    this.state = saved.state;
    this.targetVp = saved.targetVp;
  }

  inspect(): InspectNode {
    const { device, relid, subIndex, state, targetVp, broken, counters, answers } = this;
    return {
      device: device.name,
      type: device.offer.type,
      instance: device.offer.instance,
      relid,
      ...(subIndex > 0 ? { subIndex } : {}),
      state: broken ? 'broken' : state,
      ...(state === 'open' ? { targetVp, waitingAnswers: answers.length } : {}),
      ...counters,
    };
  }
}
