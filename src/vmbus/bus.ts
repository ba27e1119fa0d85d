/**
 * The bus of one partition, from the guest's first contact to its unload: a table of channel messages, and the channels
 * they speak of. Every request has an answer where the protocol has one, for guests wait without a limit; what is
 * malformed has a status that says so and is counted.
 *
 * Over 600 lines, because the table and what its rows call read as one.
 *
 * Runs on the parent's thread. Virtual processors leave messages and signals in the mailbox.
 */
import { GUID_SIZE, guidText } from '../support/guid.ts';
import { asBytes, hexOf } from '../support/plain.ts';
import type { InspectNode } from '../vid/ports.ts';
import { BusChannel, type ChannelBus, type OpenParameters, type Rings } from './channel.ts';
import { GpadlTable } from './gpadl.ts';
import type { VmbusMailbox } from './mailbox.ts';
import * as messages from './messages.ts';
import type { ChannelDevice, VmbusPorts } from './ports.ts';
import {
  ChannelStatus,
  DEFAULT_SINT,
  GpadlBody,
  GpadlHeader,
  GpadlTeardown,
  InitiateContact,
  MESSAGE_HEADER,
  MESSAGE_TYPE_CHANNEL,
  MessageType,
  ModifyChannel,
  OpenChannel,
  PAGE_SIZE,
  RELID_COUNT,
  RelidMessage,
  SINT_COUNT,
  TlConnectRequest,
  VERSION_WITH_CONNECTION_ID,
  VERSION_WITH_MODIFY_RESPONSE,
  VERSIONS,
  type VersionName,
  versionText,
} from './protocol.ts';
import { IncomingRing, OutgoingRing, viewOf } from './ring.ts';
import {
  goneDevice,
  parseSavedBus,
  restoreGpadls,
  type SavedBus,
  type SavedChannel,
  type SavedContact,
  saveGpadls,
} from './state.ts';

/** Messages that wait for the guest's slot before no more of its own are looked at. */
const OUTBOX = 512;
/** Messages taken in one go, before other work of this thread has its turn. */
const BATCH = 256;
/** When something had no room, in milliseconds. The guest's signal usually comes first. */
const RETRY_MESSAGE = 1;
const RETRY_CHANNEL = 20;
/** Pages that buffers may name, for each page of RAM, and for a guest with little of it. */
const PAGES_PER_PAGE = 4;
const LEAST_PAGES = 65536;
/** A ring has its control page and at least one of data. */
const LEAST_RING_PAGES = 2;

interface Handler {
  readonly size: number;
  /** Before contact was made it means nothing. */
  readonly connected: boolean;
  readonly run: (bus: VmBus, view: DataView, message: Uint8Array) => void;
}

export interface VmBusOptions {
  /** The newest version to agree to; default: the newest there is. */
  readonly maximumVersion?: VersionName | undefined;
}

export class VmBus {
  readonly #ports: VmbusPorts;
  readonly #mailbox: VmbusMailbox;
  readonly #versions: ReadonlySet<number>;
  readonly #devices = new Map<string, ChannelDevice>();
  /** By relid. */
  readonly #channels = new Map<number, BusChannel>();
  readonly #gpadls: GpadlTable;
  readonly #soon = new Set<BusChannel>();
  readonly #later = new Set<BusChannel>();
  readonly #untold = new Set<BusChannel>();
  #laterTimer: (() => void) | undefined;
  #outboxTimer: (() => void) | undefined;
  #serviceDeferred = false;
  #paused = false;
  #outbox: Uint8Array[] = [];
  /** Where the outbox goes: the last contact, even after an unload. */
  #contact: SavedContact | undefined;
  #connected = false;
  #offersRequested = false;
  /** Told of the guest's wish for a connection: GUIDs of its own end, and of the host's service. */
  onConnectRequest: ((endpoint: string, service: string) => void) | undefined;
  readonly counters = { messages: 0, malformed: 0, unexpected: 0, refused: 0, dropped: 0, defects: 0 };
  readonly #bus: ChannelBus;

  constructor(ports: VmbusPorts, mailbox: VmbusMailbox, options: VmBusOptions = {}) {
    this.#ports = ports;
    this.#mailbox = mailbox;
    const maximum = VERSIONS[options.maximumVersion ?? '5.3'];
    this.#versions = new Set(Object.values(VERSIONS).filter((version) => version <= maximum));
    this.#gpadls = new GpadlTable({
      isRam: (page) => ports.memory.isRam(page * PAGE_SIZE, PAGE_SIZE),
      maximumPages: Math.max(LEAST_PAGES, (ports.ramSize / PAGE_SIZE) * PAGES_PER_PAGE),
    });
    this.#bus = {
      version: () => this.#contact?.version ?? 0,
      paused: () => this.#paused,
      signal: (channel) => {
        ports.setEventFlag(channel.targetVp, this.#contact?.sint ?? DEFAULT_SINT, channel.relid);
      },
      moderate: (channel, moderation) => {
        mailbox.setModerated(channel.relid, moderation);
      },
      tellSoon: (channel) => {
        if (this.#untold.size === 0) ports.defer(this.settle.bind(this));
        this.#untold.add(channel);
      },
      serviceSoon: (channel) => {
        this.#soon.add(channel);
        this.#deferService();
      },
      serviceLater: (channel) => {
        this.#later.add(channel);
        this.#laterTimer ??= ports.timers.after(RETRY_CHANNEL, () => {
          this.#laterTimer = undefined;
          for (const each of this.#later) this.#soon.add(each);
          this.#later.clear();
          this.service();
        });
      },
      gpadl: (id, relid) => {
        const gpadl = this.#gpadls.get(id);
        return gpadl?.relid === relid ? gpadl : undefined;
      },
      offerSubChannels: (primary, count) => this.#offerSubChannels(primary, count),
      defect: (channel, error) => {
        this.counters.defects++;
        channel.broken = true;
        ports.defect(error);
      },
    };
  }

  // ---- for whoever assembles the partition ----------------------------------------------------------------------------

  /**
   * Offers a device's channel, to a guest that is connected at once. @throws RangeError when there is one of this name or
   * with these GUIDs, or no relid is free.
   */
  offer(device: ChannelDevice): void {
    const { type, instance } = device.offer;
    for (const other of this.#devices.values())
      if (other.name === device.name || (other.offer.type === type && other.offer.instance === instance))
        throw new RangeError(`VMBus: ${device.name} is offered already`);
    const relid = this.#freeRelid();
    if (relid === undefined) throw new RangeError(`VMBus: no channel is free for ${device.name}`);
    this.#devices.set(device.name, device);
    this.#add(new BusChannel(this.#bus, device, relid));
  }

  /** Takes a device away; the guest is told, and lets go of it. */
  withdraw(device: ChannelDevice): void {
    this.#devices.delete(device.name);
    for (const channel of this.#channelsOf(device)) this.#rescind(channel);
    this.#flush();
  }

  /** The device's channels that are open, the primary first. */
  openChannels(device: ChannelDevice): BusChannel[] {
    return this.#channelsOf(device).filter((channel) => channel.open);
  }

  /** Does what there is to do: messages, then the channels that were signalled. */
  service(): void {
    if (this.#paused) return;
    this.#flush();
    for (let n = 0; n < BATCH && this.#outbox.length < OUTBOX; n++) {
      const message = this.#mailbox.take();
      if (!message) break;
      this.#handle(message);
      if (n === BATCH - 1) this.#deferService();
    }
    for (const relid of this.#mailbox.takeSignals()) this.#channels.get(relid)?.service();
    const soon = [...this.#soon];
    this.#soon.clear();
    for (const channel of soon) channel.service();
    this.#flush();
  }

  /** Tells the guest of answers of which it has not been told yet. */
  settle(): void {
    for (const channel of this.#untold) channel.tellGuest();
    this.#untold.clear();
  }

  /** From here on nothing changes, until `resume`. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    for (const channel of this.#channels.values()) if (channel.resumed()) this.#soon.add(channel);
    this.service();
  }

  /** The partition was reset: nothing is left of the guest. Devices stay, to be offered again. No processor runs. */
  reset(): void {
    this.#disconnect();
    this.#contact = undefined;
    this.#outbox = [];
    this.#outboxTimer?.();
    this.#outboxTimer = undefined;
    this.#mailbox.reset();
  }

  // ---- messages -------------------------------------------------------------------------------------------------------

  #handle(message: Uint8Array): void {
    this.counters.messages++;
    const view = viewOf(message);
    const handler = message.length < MESSAGE_HEADER ? undefined : HANDLERS.get(view.getUint32(0, true));
    if (!handler || message.length < handler.size) this.counters.malformed++;
    else if (handler.connected && !this.#connected) this.counters.unexpected++;
    else handler.run(this, view, message);
  }

  #post(message: Uint8Array): void {
    this.#outbox.push(message);
  }

  #flush(): void {
    if (this.#paused) return;
    const { vp, sint } = this.#contact ?? { vp: 0, sint: DEFAULT_SINT };
    while (this.#outbox.length > 0) {
      const result = this.#ports.postMessage(vp, sint, MESSAGE_TYPE_CHANNEL, this.#outbox[0] as Uint8Array);
      if (result === 'full') {
        this.#outboxTimer ??= this.#ports.timers.after(RETRY_MESSAGE, () => {
          this.#outboxTimer = undefined;
          this.service();
        });
        return;
      }
      if (result === 'inactive') this.counters.dropped++;
      this.#outbox.shift();
    }
  }

  #deferService(): void {
    if (this.#serviceDeferred) return;
    this.#serviceDeferred = true;
    this.#ports.defer(() => {
      this.#serviceDeferred = false;
      this.service();
    });
  }

  initiateContact(view: DataView): void {
    const version = view.getUint32(InitiateContact.VERSION, true);
    const vp = view.getUint32(InitiateContact.TARGET_VP, true);
    const names = version >= VERSION_WITH_CONNECTION_ID;
    const sint = names ? view.getUint8(InitiateContact.SINT) : DEFAULT_SINT;
    const vtl = names ? view.getUint8(InitiateContact.VTL) : 0;
    const valid = vp < this.#ports.processors && sint < SINT_COUNT && vtl === 0;
    const supported = valid && this.#versions.has(version);
    // A guest that makes contact again has forgotten what was before.
    this.#disconnect();
    this.#contact = valid ? { version, vp, sint } : { version, vp: 0, sint: DEFAULT_SINT };
    this.#connected = supported;
    if (!supported) this.counters.refused++;
    this.#ports.trace?.(`contact with version ${versionText(version)}: ${supported ? 'agreed' : 'refused'}`);
    this.#post(messages.versionResponse(version, supported));
  }

  requestOffers(): void {
    this.#offersRequested = true;
    for (const channel of this.#channels.values()) this.#offerToGuest(channel);
    this.#post(messages.allOffersDelivered());
  }

  unload(): void {
    this.#disconnect();
    this.#ports.trace?.('unload');
    this.#post(messages.unloadResponse());
  }

  /** Channels end, buffers are the guest's own again. */
  #disconnect(): void {
    this.#connected = false;
    this.#offersRequested = false;
    for (const channel of [...this.#channels.values()]) {
      this.#close(channel, 'hidden');
      if (channel.subIndex > 0 || this.#devices.get(channel.device.name) !== channel.device) this.#remove(channel);
    }
    this.#gpadls.clear();
    this.#soon.clear();
    this.#later.clear();
    this.#laterTimer?.();
    this.#laterTimer = undefined;
  }

  // ---- channels -------------------------------------------------------------------------------------------------------

  #freeRelid(): number | undefined {
    for (let relid = 1; relid < RELID_COUNT; relid++) if (!this.#channels.has(relid)) return relid;
    return undefined;
  }

  #channelsOf(device: ChannelDevice): BusChannel[] {
    return [...this.#channels.values()]
      .filter((channel) => channel.device === device)
      .sort((a, b) => a.subIndex - b.subIndex);
  }

  #add(channel: BusChannel): void {
    this.#channels.set(channel.relid, channel);
    if (this.#offersRequested) {
      this.#offerToGuest(channel);
      this.#flush();
    }
  }

  #offerToGuest(channel: BusChannel): void {
    if (channel.state !== 'hidden') return;
    channel.state = 'offered';
    this.#post(messages.offerChannel(channel));
  }

  #offerSubChannels(primary: BusChannel, count: number): number {
    // One that was taken back is as good as gone: guests know further channels by their place.
    const live = this.#channelsOf(primary.device).filter((channel) => channel.state !== 'rescinded');
    const taken = new Set(live.map((channel) => channel.subIndex));
    let offered = 0;
    for (let index = 1; offered < count; index++) {
      if (taken.has(index)) continue;
      const relid = this.#freeRelid();
      if (relid === undefined) break;
      this.#add(new BusChannel(this.#bus, primary.device, relid, primary, index));
      offered++;
    }
    return offered;
  }

  #rescind(channel: BusChannel): void {
    const was = channel.state;
    if (was === 'rescinded') return;
    this.#close(channel, 'rescinded');
    if (was === 'hidden') this.#remove(channel);
    else this.#post(messages.rescindOffer(channel.relid));
  }

  #close(channel: BusChannel, state: 'hidden' | 'offered' | 'rescinded'): void {
    this.#mailbox.setSignallable(channel.relid, false);
    this.#soon.delete(channel);
    this.#later.delete(channel);
    channel.end(state);
  }

  #remove(channel: BusChannel): void {
    this.#gpadls.removeChannel(channel.relid);
    this.#channels.delete(channel.relid);
  }

  openChannel(view: DataView, message: Uint8Array): void {
    const relid = view.getUint32(OpenChannel.RELID, true);
    const openId = view.getUint32(OpenChannel.OPEN_ID, true);
    const targetVp = view.getUint32(OpenChannel.TARGET_VP, true);
    const parameters: OpenParameters = {
      openId,
      ringGpadl: view.getUint32(OpenChannel.RING_GPADL, true),
      downstreamPage: view.getUint32(OpenChannel.DOWNSTREAM_PAGE, true),
      userData: message.slice(OpenChannel.USER_DATA, OpenChannel.SIZE),
    };
    const channel = this.#channels.get(relid);
    const status = channel ? this.#open(channel, parameters, targetVp) : ChannelStatus.NOT_FOUND;
    if (status !== ChannelStatus.SUCCESS) this.counters.refused++;
    // The device may send as soon as it is told, and the guest takes packets only of a channel that it knows to be open.
    this.#post(messages.openResult(relid, openId, status));
    this.#flush();
    if (channel && status === ChannelStatus.SUCCESS) {
      channel.tellOpened();
      this.#soon.add(channel);
    }
  }

  #open(channel: BusChannel, parameters: OpenParameters, targetVp: number): number {
    if (channel.state === 'open') return ChannelStatus.DEVICE_BUSY;
    if (channel.state !== 'offered') return ChannelStatus.NOT_FOUND;
    if (targetVp >= this.#ports.processors) return ChannelStatus.INVALID_PARAMETER;
    const rings = this.#rings(channel, parameters);
    if (!rings) return ChannelStatus.INVALID_PARAMETER;
    channel.begin(parameters, targetVp, rings);
    this.#mailbox.setSignallable(channel.relid, true);
    return ChannelStatus.SUCCESS;
  }

  /** Both rings lie in one buffer, the guest's outgoing one first. */
  #rings(
    channel: BusChannel,
    { ringGpadl, downstreamPage }: Pick<OpenParameters, 'ringGpadl' | 'downstreamPage'>,
    indices?: { readonly incoming: number; readonly outgoing: number },
  ): Rings | undefined {
    const gpadl = this.#bus.gpadl(ringGpadl, channel.relid);
    const range = gpadl?.ranges[0];
    if (!range || gpadl.ranges.length !== 1 || range.byteOffset !== 0 || range.byteCount % PAGE_SIZE !== 0)
      return undefined;
    const { pages } = range;
    if (downstreamPage < LEAST_RING_PAGES || pages.length - downstreamPage < LEAST_RING_PAGES) return undefined;
    const { memory } = this.#ports;
    return {
      incoming: new IncomingRing(memory, pages.subarray(0, downstreamPage), indices?.incoming),
      outgoing: new OutgoingRing(memory, pages.subarray(downstreamPage), indices?.outgoing),
    };
  }

  closeChannel(view: DataView): void {
    const channel = this.#channels.get(view.getUint32(RelidMessage.RELID, true));
    if (!channel) this.counters.unexpected++;
    else if (channel.open) {
      this.#close(channel, 'offered');
      // Further channels live as long as their primary one.
      if (channel.subIndex === 0)
        for (const other of this.#channelsOf(channel.device)) if (other.subIndex > 0) this.#rescind(other);
    }
  }

  relidReleased(view: DataView): void {
    const channel = this.#channels.get(view.getUint32(RelidMessage.RELID, true));
    if (channel?.state === 'rescinded') this.#remove(channel);
    else this.counters.unexpected++;
  }

  modifyChannel(view: DataView): void {
    const relid = view.getUint32(ModifyChannel.RELID, true);
    const targetVp = view.getUint32(ModifyChannel.TARGET_VP, true);
    const channel = this.#channels.get(relid);
    let status: number = ChannelStatus.NOT_FOUND;
    if (channel) status = targetVp < this.#ports.processors ? ChannelStatus.SUCCESS : ChannelStatus.INVALID_PARAMETER;
    if (channel && status === ChannelStatus.SUCCESS) channel.targetVp = targetVp;
    else this.counters.refused++;
    if ((this.#contact?.version ?? 0) >= VERSION_WITH_MODIFY_RESPONSE)
      this.#post(messages.modifyResponse(relid, status));
  }

  // ---- buffers --------------------------------------------------------------------------------------------------------

  gpadlHeader(view: DataView, message: Uint8Array): void {
    const relid = view.getUint32(GpadlHeader.RELID, true);
    const id = view.getUint32(GpadlHeader.GPADL, true);
    const done = this.#channels.has(relid)
      ? this.#gpadls.begin(
          id,
          relid,
          view.getUint16(GpadlHeader.RANGE_BYTES, true),
          view.getUint16(GpadlHeader.RANGE_COUNT, true),
          message.subarray(GpadlHeader.RANGES),
        )
      : { relid, status: ChannelStatus.NOT_FOUND };
    this.#gpadlDone(id, done);
  }

  gpadlBody(view: DataView, message: Uint8Array): void {
    const id = view.getUint32(GpadlBody.GPADL, true);
    const done = this.#gpadls.continue(id, message.subarray(GpadlBody.PFNS));
    if (done === 'unknown') this.counters.unexpected++;
    else this.#gpadlDone(id, done);
  }

  #gpadlDone(id: number, done: { readonly relid: number; readonly status: number } | undefined): void {
    if (!done) return;
    if (done.status !== ChannelStatus.SUCCESS) this.counters.refused++;
    this.#post(messages.gpadlCreated(done.relid, id, done.status));
  }

  gpadlTeardown(view: DataView): void {
    const id = view.getUint32(GpadlTeardown.GPADL, true);
    const relid = view.getUint32(GpadlTeardown.RELID, true);
    const gpadl = this.#gpadls.get(id);
    if (gpadl?.relid === relid) {
      // A guest that takes its rings back has closed the channel, or does so by this.
      const channel = this.#channels.get(relid);
      if (channel?.open && channel.parameters?.ringGpadl === id) this.#close(channel, 'offered');
      this.#gpadls.remove(id);
    } else this.counters.unexpected++;
    this.#post(messages.gpadlTorndown(id));
  }

  connectRequest(message: Uint8Array): void {
    const guid = (at: number): string => guidText(message.subarray(at, at + GUID_SIZE));
    // Refused is silence, and the guest's attempt times out.
    if (this.onConnectRequest) this.onConnectRequest(guid(TlConnectRequest.ENDPOINT), guid(TlConnectRequest.SERVICE));
    else this.counters.refused++;
  }

  // ---- state ----------------------------------------------------------------------------------------------------------

  /** Everything, as plain data. While paused. */
  save(): SavedBus {
    // In the state alone: what does not outlive a save is taken back.
    const kept = [...this.#channels.values()].filter(
      (channel) => !channel.device.transient || channel.state !== 'hidden',
    );
    const lost = kept.filter((channel) => channel.device.transient && channel.state !== 'rescinded');
    const devices = [...this.#devices].filter(([, device]) => !device.transient);
    return {
      version: 1,
      contact: this.#contact ?? null,
      connected: this.#connected,
      offersRequested: this.#offersRequested,
      outbox: [...this.#outbox, ...lost.map(({ relid }) => messages.rescindOffer(relid))].map(hexOf),
      channels: kept.map((channel) => channel.save()),
      ...saveGpadls(this.#gpadls),
      devices: Object.fromEntries(devices.map(([name, device]) => [name, device.save()])),
    };
  }

  /**
   * Goes on from what `save` gave, on a bus that no guest has met, with the same devices. One that the state does not
   * know is offered as if it had just come. @throws RangeError when the data make no sense.
   */
  restore(plain: unknown): void {
    const saved = parseSavedBus(plain);
    this.#contact = saved.contact ?? undefined;
    this.#connected = saved.connected;
    this.#offersRequested = saved.offersRequested;
    this.#outbox = saved.outbox.map((text) => asBytes(text, 'a VMBus message'));
    this.#channels.clear();
    restoreGpadls(this.#gpadls, saved);
    // Primary channels first: the others hang on them.
    for (const each of [...saved.channels].sort((a, b) => a.subIndex - b.subIndex)) this.#restoreChannel(each);
    for (const [name, device] of this.#devices) {
      const known = this.#channelsOf(device);
      if (name in saved.devices && known.length > 0) device.restore(saved.devices[name], this.openChannels(device));
      else this.#add(new BusChannel(this.#bus, device, this.#freeRelid() as number));
    }
  }

  #restoreChannel(saved: SavedChannel): void {
    const { relid, subIndex } = saved;
    // Its device may be back under the same name: this channel is not that one's.
    const gone = saved.state === 'rescinded';
    const device = gone ? goneDevice(saved.device) : this.#devices.get(saved.device);
    if (!device) throw new RangeError(`its VMBus has ${saved.device}, which this partition was not given`);
    if (relid === 0 || this.#channels.has(relid))
      throw new RangeError(`the VMBus channel of ${saved.device} makes no sense`);
    const primary = subIndex > 0 ? this.#channelsOf(device)[0] : undefined;
    const channel = new BusChannel(this.#bus, device, relid, primary, subIndex);
    const rings = saved.open ? this.#rings(channel, saved.open, saved.open) : undefined;
    if (saved.open && (!rings || saved.targetVp >= this.#ports.processors))
      throw new RangeError(`the rings of ${saved.device} make no sense`);
    channel.restore(saved, rings);
    this.#channels.set(relid, channel);
    this.#mailbox.setSignallable(relid, channel.open);
  }

  inspect(): InspectNode {
    const channels = [...this.#channels.values()].sort((a, b) => a.relid - b.relid);
    return {
      connected: this.#connected,
      ...(this.#contact
        ? { version: versionText(this.#contact.version), targetVp: this.#contact.vp, sint: this.#contact.sint }
        : {}),
      gpadls: this.#gpadls.count,
      gpadlPages: this.#gpadls.pages,
      waitingMessages: this.#outbox.length,
      ...this.counters,
      channels: Object.fromEntries(channels.map((channel) => [channel.relid, channel.inspect()])),
      devices: Object.fromEntries([...this.#devices].map(([name, device]) => [name, device.inspect()])),
    };
  }
}

const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [
    MessageType.INITIATE_CONTACT,
    { size: InitiateContact.SIZE, connected: false, run: (bus, view) => bus.initiateContact(view) },
  ],
  [MessageType.REQUEST_OFFERS, { size: MESSAGE_HEADER, connected: true, run: (bus) => bus.requestOffers() }],
  [
    MessageType.OPEN_CHANNEL,
    { size: OpenChannel.SIZE, connected: true, run: (bus, view, message) => bus.openChannel(view, message) },
  ],
  [MessageType.CLOSE_CHANNEL, { size: RelidMessage.SIZE, connected: true, run: (bus, view) => bus.closeChannel(view) }],
  [
    MessageType.GPADL_HEADER,
    { size: GpadlHeader.SIZE, connected: true, run: (bus, view, message) => bus.gpadlHeader(view, message) },
  ],
  [
    MessageType.GPADL_BODY,
    { size: GpadlBody.SIZE, connected: true, run: (bus, view, message) => bus.gpadlBody(view, message) },
  ],
  [
    MessageType.GPADL_TEARDOWN,
    { size: GpadlTeardown.SIZE, connected: true, run: (bus, view) => bus.gpadlTeardown(view) },
  ],
  [
    MessageType.RELID_RELEASED,
    { size: RelidMessage.SIZE, connected: true, run: (bus, view) => bus.relidReleased(view) },
  ],
  // A guest that reboots itself unloads whether or not it had made contact, and waits for the answer.
  [MessageType.UNLOAD, { size: MESSAGE_HEADER, connected: false, run: (bus) => bus.unload() }],
  [
    MessageType.TL_CONNECT_REQUEST,
    { size: TlConnectRequest.SIZE, connected: true, run: (bus, _view, message) => bus.connectRequest(message) },
  ],
  [
    MessageType.MODIFY_CHANNEL,
    { size: ModifyChannel.SIZE, connected: true, run: (bus, view) => bus.modifyChannel(view) },
  ],
]);
