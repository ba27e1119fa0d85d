/**
 * The synthetic network adapter: NVSP on its channels, frames between the guest's buffers and a port of the switch. The
 * guest's driver is `hv_netvsc`.
 *
 * A large TCP segment goes to the switch whole, with `segmentSize`. What comes from there goes to the guest whole where it
 * takes large frames, and cut and with all checksums computed where it does not: Linux turns that off when it forwards.
 */
import { hexOf } from '../../support/plain.ts';
import type { InspectNode } from '../../vid/ports.ts';
import { type GpaPiece, gpaPieces } from '../../vmbus/gpa-direct.ts';
import { GpadlMemory } from '../../vmbus/gpadl-memory.ts';
import type { Channel, ChannelDevice, ChannelOffer, VmbusMemory } from '../../vmbus/ports.ts';
import { PacketFlag, PacketType } from '../../vmbus/protocol.ts';
import { type Packet, viewOf } from '../../vmbus/ring.ts';
import { ETHERNET_HEADER, EtherType, u16 } from '../../vswitch/ethernet.ts';
import { finished } from '../../vswitch/offload.ts';
import type { Frame, SwitchPort } from '../../vswitch/port.ts';
import { RndisControl } from './control.ts';
import {
  ChannelType,
  MAXIMUM_MDL_CHAIN,
  MAXIMUM_MESSAGE,
  NETWORK_TYPE,
  NO_SECTION,
  NVSP_SIZE,
  NVSP_VERSIONS,
  NvspField,
  NvspMessage,
  NvspStatus,
  RECEIVE_SECTION,
  SEND_SECTION,
  SUBCHANNEL_ALLOCATE,
} from './protocol.ts';
import { flowOf, ReceiveBuffer } from './receive.ts';
import { PacketFilter, RNDIS_HEADER, RndisMessage, RndisStatus } from './rndis.ts';
import { parseSavedNetvsp, type SavedNetvsp } from './state.ts';
import { framesOf } from './transmit.ts';

/** Control messages that wait for room in the guest's buffer; a guest that asks for more has lost its mind. */
const WAITING = 64;
/** A frame that fits 32 KiB with what Linux puts around it: larger ones it finds room for only by luck. */
const LARGEST_FRAME = 32_000;
/** Transaction ids of the host's packets. */
const FIRST_TRANSACTION = 1;
const VERSIONS: readonly number[] = Object.values(NVSP_VERSIONS);

export interface NetvspOptions {
  readonly name: string;
  /** GUID of the adapter; stays the same for the life of the virtual machine. */
  readonly instance: string;
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** Bytes of an Ethernet frame's payload. Default: 1500. */
  readonly mtu?: number | undefined;
  /** Channels that the guest may use, at least 1. */
  readonly queues?: number | undefined;
  readonly friendlyName?: string | undefined;
  /**
   * The guest may have TCP segments of several frames at once (RSC). Less work for it; but Linux, which such segments reach
   * without their segments' size, warns of them once ("suspect GRO implementation"). Default: false.
   */
  readonly largeFrames?: boolean | undefined;
}

export interface NetvspPorts {
  readonly memory: Pick<VmbusMemory, 'readInto' | 'write' | 'isRam'>;
  readonly port: SwitchPort;
}

interface SendBuffer {
  readonly memory: GpadlMemory;
  readonly id: number;
}

export class Netvsp implements ChannelDevice {
  readonly name: string;
  readonly offer: ChannelOffer;
  readonly #ports: NetvspPorts;
  readonly #control: RndisControl;
  readonly #queues: number;
  /** Open channels by index; the primary one is 0. */
  readonly #channels = new Map<number, Channel>();
  #list: readonly Channel[] = [];
  /** 0: nothing agreed. */
  #version = 0;
  #receive: ReceiveBuffer | undefined;
  #send: SendBuffer | undefined;
  #takenFromAnother = false;
  #transaction = FIRST_TRANSACTION;
  #linkUp = true;
  /** The switch's own opinion, before ours. */
  #plugged = true;
  #waiting: Uint8Array[] = [];
  /** Parts of a frame of the switch that found no room. */
  #pending: Frame[] = [];
  /** Their checksums are our own. */
  #verified = false;
  /** The switch was told that there is no room. */
  #stalled = false;
  readonly #counters = {
    sentFrames: 0,
    sentBytes: 0,
    receivedFrames: 0,
    receivedBytes: 0,
    dropped: 0,
    malformed: 0,
  };

  constructor(options: NetvspOptions, ports: NetvspPorts) {
    this.name = options.name;
    this.offer = { type: NETWORK_TYPE, instance: options.instance };
    this.#ports = ports;
    this.#queues = Math.max(1, options.queues ?? 1);
    this.#control = new RndisControl({
      permanentMac: options.mac,
      mtu: options.mtu ?? 1500,
      friendlyName: options.friendlyName ?? 'Network Adapter',
      queues: this.#queues,
      linkUp: () => this.#up,
      rsc: () => options.largeFrames === true && this.#version >= NVSP_VERSIONS['6.1'],
    });
    ports.port.onFrame((frame) => this.#deliver(frame));
    ports.port.onLink((up) => {
      this.#setLink(up, this.#plugged);
    });
  }

  get #up(): boolean {
    return this.#linkUp && this.#plugged;
  }

  /** Pulls the cable, or puts it back. */
  setLink(up: boolean): void {
    this.#setLink(this.#linkUp, up);
  }

  #setLink(linkUp: boolean, plugged: boolean): void {
    const was = this.#up;
    this.#linkUp = linkUp;
    this.#plugged = plugged;
    if (this.#up === was || !this.#control.settings.initialized) return;
    const message = new Uint8Array(20);
    const view = viewOf(message);
    view.setUint32(0, RndisMessage.INDICATE, true);
    view.setUint32(4, message.length, true);
    view.setUint32(8, this.#up ? RndisStatus.MEDIA_CONNECT : RndisStatus.MEDIA_DISCONNECT, true);
    this.#tell(message);
  }

  // ---- the guest's messages -------------------------------------------------------------------------------------------

  opened(channel: Channel): void {
    this.#channels.set(channel.subIndex, channel);
    this.#listChannels();
  }

  #listChannels(): void {
    this.#list = [...this.#channels].sort(([a], [b]) => a - b).map(([, channel]) => channel);
  }

  received(packet: Packet, channel: Channel): void {
    if (packet.type === PacketType.COMPLETION) {
      // Ids of ours are small.
      if (this.#receive?.release(Number(packet.transactionId))) this.#roomAgain();
      else this.#counters.malformed++;
      return;
    }
    const { payload } = packet;
    const type = payload.length >= 8 ? viewOf(payload).getUint32(NvspField.TYPE, true) : 0;
    if (type === NvspMessage.SEND_RNDIS_PACKET) {
      const status = payload.length >= 16 ? this.#rndis(packet) : NvspStatus.FAIL;
      if (status !== NvspStatus.SUCCESS) this.#counters.malformed++;
      channel.complete(packet.transactionId, nvsp(NvspMessage.SEND_RNDIS_PACKET_COMPLETE, status));
      return;
    }
    const handler = HANDLERS.get(type);
    // Messages of the whole adapter, each of a whole message's length.
    const known = handler !== undefined && channel.subIndex === 0 && payload.length >= NVSP_SIZE;
    if (!known) this.#counters.malformed++;
    const answer = known ? handler(this, viewOf(payload), channel) : undefined;
    if (answer || (packet.flags & PacketFlag.COMPLETION_REQUESTED) !== 0)
      channel.complete(packet.transactionId, answer ?? new Uint8Array());
  }

  initialize(view: DataView): Uint8Array {
    const version = view.getUint32(NvspField.MAXIMUM_VERSION, true);
    const agreed = VERSIONS.includes(version) && version === view.getUint32(NvspField.MINIMUM_VERSION, true);
    this.#forget();
    this.#version = agreed ? version : 0;
    return nvsp(
      NvspMessage.INIT_COMPLETE,
      ...[this.#version, MAXIMUM_MDL_CHAIN, agreed ? NvspStatus.SUCCESS : NvspStatus.FAIL],
    );
  }

  setReceiveBuffer(view: DataView, channel: Channel): Uint8Array {
    const memory = this.#sharedMemory(view, channel);
    const usable = this.#version !== 0 && !this.#receive && memory !== undefined && memory.size >= RECEIVE_SECTION;
    if (!usable) {
      this.#counters.malformed++;
      return nvsp(NvspMessage.SEND_RECEIVE_BUFFER_COMPLETE, NvspStatus.FAIL);
    }
    this.#receive = new ReceiveBuffer(memory, view.getUint16(NvspField.BUFFER_ID, true));
    const { sections } = this.#receive;
    return nvsp(
      NvspMessage.SEND_RECEIVE_BUFFER_COMPLETE,
      ...[NvspStatus.SUCCESS, 1, 0, RECEIVE_SECTION, sections, sections * RECEIVE_SECTION],
    );
  }

  setSendBuffer(view: DataView, channel: Channel): Uint8Array {
    const memory = this.#sharedMemory(view, channel);
    const usable = this.#version !== 0 && !this.#send && memory !== undefined;
    if (!usable) {
      this.#counters.malformed++;
      return nvsp(NvspMessage.SEND_SEND_BUFFER_COMPLETE, NvspStatus.FAIL);
    }
    this.#send = { memory, id: view.getUint16(NvspField.BUFFER_ID, true) };
    return nvsp(NvspMessage.SEND_SEND_BUFFER_COMPLETE, NvspStatus.SUCCESS, SEND_SECTION);
  }

  #sharedMemory(view: DataView, channel: Channel): GpadlMemory | undefined {
    const gpadl = channel.gpadl(view.getUint32(NvspField.GPADL, true));
    return gpadl && new GpadlMemory(this.#ports.memory, gpadl);
  }

  revokeReceiveBuffer(): void {
    this.#receive = undefined;
    this.#pending = [];
    this.#waiting = [];
    this.#goOn();
  }

  revokeSendBuffer(): void {
    this.#send = undefined;
  }

  allocateChannels(view: DataView, channel: Channel): Uint8Array {
    const wanted = view.getUint32(NvspField.COUNT, true);
    const allowed = view.getUint32(NvspField.OPERATION, true) === SUBCHANNEL_ALLOCATE && this.#version !== 0;
    const count = allowed ? channel.offerSubChannels(Math.min(wanted, this.#queues - 1)) : 0;
    return nvsp(NvspMessage.SUBCHANNEL, allowed ? NvspStatus.SUCCESS : NvspStatus.FAIL, count);
  }

  // ---- RNDIS out of the guest -----------------------------------------------------------------------------------------

  #rndis(packet: Packet): number {
    const view = viewOf(packet.payload);
    const message = this.#gather(packet, view);
    if (!message) return NvspStatus.FAIL;
    if (view.getUint32(NvspField.CHANNEL_TYPE, true) === ChannelType.DATA) {
      const frames = framesOf(message);
      if (!frames) return NvspStatus.INVALID_RNDIS_PACKET;
      if (!this.#up || this.#control.settings.filter === 0) this.#counters.dropped += frames.length;
      else
        for (const frame of frames) {
          this.#counters.sentFrames++;
          this.#counters.sentBytes += frame.bytes.length;
          this.#ports.port.send(frame);
        }
      return NvspStatus.SUCCESS;
    }
    const answer = this.#control.handle(message);
    if (answer === 'malformed') return NvspStatus.INVALID_RNDIS_PACKET;
    if (answer) this.#tell(answer);
    return NvspStatus.SUCCESS;
  }

  /** A message's bytes, copied once: what is in a section of the send buffer, then what is in pages. */
  #gather(packet: Packet, view: DataView): Uint8Array<ArrayBuffer> | undefined {
    const section = view.getUint32(NvspField.SECTION, true);
    const sectionSize = section === NO_SECTION ? 0 : view.getUint32(NvspField.SECTION_SIZE, true);
    const { memory } = this.#send ?? {};
    if (sectionSize > SEND_SECTION) return undefined;
    if (sectionSize > 0 && (!memory || (section + 1) * SEND_SECTION > memory.size)) return undefined;
    const direct = packet.type === PacketType.DATA_GPA_DIRECT ? gpaPieces(packet, MAXIMUM_MESSAGE) : NOTHING;
    if (!direct?.pieces.every(({ gpa, length }) => this.#ports.memory.isRam(gpa, length))) return undefined;
    if (sectionSize + direct.length < RNDIS_HEADER) return undefined;
    const message = new Uint8Array(sectionSize + direct.length);
    if (sectionSize > 0) memory?.readInto(section * SEND_SECTION, message.subarray(0, sectionSize));
    let at = sectionSize;
    for (const { gpa, length } of direct.pieces) {
      this.#ports.memory.readInto(gpa, message.subarray(at, at + length));
      at += length;
    }
    return message;
  }

  // ---- to the guest -----------------------------------------------------------------------------------------------------

  /** A control message; it waits where there is no room. */
  #tell(message: Uint8Array): void {
    if (!this.#receive) return;
    if (this.#waiting.length >= WAITING) {
      this.#counters.dropped++;
      return;
    }
    this.#waiting.push(message);
    this.#flush();
  }

  /** A frame of the switch. False: keep it. */
  #deliver(frame: Frame): boolean {
    const { settings } = this.#control;
    if (!this.#receive || !this.#up || frame.bytes.length < ETHERNET_HEADER || !this.#wanted(frame.bytes)) {
      if (settings.filter !== 0) this.#counters.dropped++;
      return true;
    }
    if (this.#pending.length > 0 || this.#paused) {
      this.#stalled = true;
      return false;
    }
    const whole = this.#takesLarge(frame.bytes);
    if (whole && frame.bytes.length <= LARGEST_FRAME) {
      if (this.#put([frame], false) > 0) return true;
      this.#stalled = true;
      return false;
    }
    const { segmentSize } = frame;
    const size = whole ? Math.max(1, Math.floor((LARGEST_FRAME - HEADERS) / segmentSize)) * segmentSize : segmentSize;
    const pieces = segmentSize === 0 && whole ? [frame] : finished({ ...frame, segmentSize: size });
    this.#pending = pieces;
    this.#verified = frame.checksum === 'partial';
    this.#flush();
    return true;
  }

  #takesLarge(bytes: Uint8Array): boolean {
    const { rsc4, rsc6 } = this.#control.settings;
    if (rsc4 && rsc6) return true;
    let type = u16(bytes, 12);
    if (type === EtherType.VLAN && bytes.length >= ETHERNET_HEADER + 4) type = u16(bytes, 16);
    return type === EtherType.IPV6 ? rsc6 : rsc4;
  }

  /** What the adapter's filter lets through. */
  #wanted(bytes: Uint8Array): boolean {
    const { filter, mac } = this.#control.settings;
    if ((filter & PacketFilter.PROMISCUOUS) !== 0) return true;
    if (((bytes[0] as number) & 1) === 0)
      return (
        (filter & PacketFilter.DIRECTED) !== 0 &&
        (isTo(bytes, this.#control.facts.permanentMac) || hexOf(bytes.subarray(0, 6)) === mac)
      );
    const broadcast = bytes.subarray(0, 6).every((byte) => byte === 0xff);
    return (filter & (broadcast ? PacketFilter.BROADCAST : PacketFilter.MULTICAST | PacketFilter.ALL_MULTICAST)) !== 0;
  }

  /** How many of the frames, all of one flow, found room. */
  #put(frames: readonly Frame[], verified: boolean): number {
    const made = this.#receive?.frames(frames, this.#transaction, verified);
    if (!made || !this.#channelFor((frames[0] as Frame).bytes)?.send(made.packet)) return 0;
    this.#receive?.sent(this.#transaction++, made.sections);
    this.#counters.receivedFrames += made.count;
    for (let i = 0; i < made.count; i++) this.#counters.receivedBytes += (frames[i] as Frame).bytes.length;
    return made.count;
  }

  /** All packets of a flow take the same channel. */
  #channelFor(bytes: Uint8Array): Channel | undefined {
    const channels = this.#list;
    if (channels.length <= 1) return channels[0];
    const { table } = this.#control.settings;
    const flow = flowOf(bytes);
    const index = table.length > 0 ? (table[flow % table.length] as number) : flow;
    return channels[index % channels.length];
  }

  /** Nothing of the guest's changes while it stands still. */
  get #paused(): boolean {
    return this.#list[0]?.paused ?? false;
  }

  #flush(): void {
    if (this.#paused) return;
    while (this.#waiting.length > 0) {
      const packet = this.#receive?.control(this.#waiting[0] as Uint8Array, this.#transaction);
      if (!packet || !this.#channels.get(0)?.send(packet)) return;
      this.#receive?.sent(this.#transaction++, 1);
      this.#waiting.shift();
    }
    while (this.#pending.length > 0) {
      const count = this.#put(this.#pending, this.#verified);
      if (count === 0) return;
      this.#pending = this.#pending.slice(count);
    }
  }

  #roomAgain(): void {
    if (this.#waiting.length > 0 || this.#pending.length > 0) this.#flush();
    if (this.#pending.length === 0) this.#goOn();
  }

  writable(): void {
    this.#roomAgain();
  }

  closed(channel: Channel): void {
    if (this.#channels.get(channel.subIndex) === channel) this.#channels.delete(channel.subIndex);
    this.#listChannels();
    if (channel.subIndex === 0) this.#forget();
  }

  /** What the guest's driver had set up. */
  #forget(): void {
    this.#version = 0;
    this.#control.reset();
    this.revokeReceiveBuffer();
    this.revokeSendBuffer();
  }

  /** The switch waits for no room any more. */
  #goOn(): void {
    if (!this.#stalled) return;
    this.#stalled = false;
    this.#ports.port.resume();
  }

  /** Unplugs it for good. */
  dispose(): void {
    this.#ports.port.close();
  }

  inspect(): InspectNode {
    const { settings, counters } = this.#control;
    const version = Object.entries(NVSP_VERSIONS).find(([, number]) => number === this.#version)?.[0];
    return {
      version: version ?? 'none',
      link: this.#up ? 'up' : 'down',
      mac: settings.mac,
      filter: settings.filter,
      largeFrames: settings.rsc4,
      channels: this.#channels.size,
      sections: this.#receive?.sections ?? 0,
      freeSections: this.#receive?.free ?? 0,
      packetsInGuest: this.#receive?.inGuest ?? 0,
      ...this.#counters,
      ...counters,
    };
  }

  // ---- state ------------------------------------------------------------------------------------------------------------

  /** Frames that wait are the network's, which may lose some; the plug is the host's to set again. */
  save(): SavedNetvsp {
    const receive = this.#receive;
    const send = this.#send;
    return {
      version: 1,
      nvsp: this.#version,
      settings: { ...this.#control.settings },
      receive: receive
        ? {
            gpadl: receive.memory.gpadl.id,
            id: receive.id,
            outstanding: receive.outstanding.map(([transaction, sections]) => [transaction, [...sections]]),
          }
        : null,
      send: send ? { gpadl: send.memory.gpadl.id, id: send.id } : null,
      transaction: this.#transaction,
      waiting: this.#waiting.map(hexOf),
      linkUp: this.#up,
      address: hexOf(this.#control.facts.permanentMac),
    };
  }

  /** It was restored from what another adapter has saved, whose address the guest still believes to have. */
  get takenFromAnother(): boolean {
    return this.#takenFromAnother;
  }

  restore(saved: unknown, channels: readonly Channel[]): void {
    const state = parseSavedNetvsp(saved, this.name);
    this.#takenFromAnother = state.address !== hexOf(this.#control.facts.permanentMac);
    this.#channels.clear();
    for (const channel of channels) this.#channels.set(channel.subIndex, channel);
    this.#listChannels();
    const primary = this.#channels.get(0);
    if (!primary) return;
    this.#version = state.nvsp;
    this.#control.settings = { ...state.settings };
    this.#transaction = state.transaction;
    this.#waiting = state.waiting;
    const memory = (id: number): GpadlMemory => {
      const gpadl = primary.gpadl(id);
      if (!gpadl) throw new RangeError(`${this.name} has no such buffer`);
      return new GpadlMemory(this.#ports.memory, gpadl);
    };
    if (state.receive) {
      const { gpadl, id, outstanding } = state.receive;
      this.#receive = new ReceiveBuffer(memory(gpadl), id, outstanding);
    }
    if (state.send) this.#send = { memory: memory(state.send.gpadl), id: state.send.id };
    this.#goOn();
    // The guest believes what it was told last.
    const now = this.#up;
    if (now !== state.linkUp) {
      this.#plugged = state.linkUp;
      this.#setLink(this.#linkUp, now);
    }
  }
}

const NOTHING: { readonly pieces: readonly GpaPiece[]; readonly length: number } = { pieces: [], length: 0 };
/** Ethernet with a tag, IP and TCP with all their options. */
const HEADERS = 18 + 60 + 60;

function isTo(bytes: Uint8Array, mac: Uint8Array): boolean {
  for (let i = 0; i < 6; i++) if (bytes[i] !== mac[i]) return false;
  return true;
}

/** A message of so many words, padded to its full length: guests demand it. */
function nvsp(type: number, ...body: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(NVSP_SIZE);
  const view = viewOf(bytes);
  [type, ...body].forEach((word, i) => {
    view.setUint32(i * 4, word, true);
  });
  return bytes;
}

type NvspHandler = (device: Netvsp, view: DataView, channel: Channel) => Uint8Array | undefined;

const nothing: NvspHandler = () => undefined;

/** Messages by type; the answer, where there is one. */
const HANDLERS: ReadonlyMap<number, NvspHandler> = new Map<number, NvspHandler>([
  [NvspMessage.INIT, (device, view) => device.initialize(view)],
  [NvspMessage.SEND_NDIS_VERSION, nothing],
  [NvspMessage.SEND_NDIS_CONFIG, nothing],
  [NvspMessage.SEND_RECEIVE_BUFFER, (device, view, channel) => device.setReceiveBuffer(view, channel)],
  [
    NvspMessage.REVOKE_RECEIVE_BUFFER,
    (device) => {
      device.revokeReceiveBuffer();
      return undefined;
    },
  ],
  [NvspMessage.SEND_SEND_BUFFER, (device, view, channel) => device.setSendBuffer(view, channel)],
  [
    NvspMessage.REVOKE_SEND_BUFFER,
    (device) => {
      device.revokeSendBuffer();
      return undefined;
    },
  ],
  // There is one path only; guests that ask for it wait for an answer without content.
  [NvspMessage.SWITCH_DATA_PATH, nothing],
  [NvspMessage.SUBCHANNEL, (device, view, channel) => device.allocateChannels(view, channel)],
]);
