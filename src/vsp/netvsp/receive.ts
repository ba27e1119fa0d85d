/**
 * The guest's receive buffer, in sections: each message to the guest lies in one, from when it is written until the guest
 * says that it is done with the packet that named it.
 */
import type { GpadlMemory } from '../../vmbus/gpadl-memory.ts';
import { PacketFlag, PacketType } from '../../vmbus/protocol.ts';
import type { OutgoingPacket } from '../../vmbus/ring.ts';
import { viewOf } from '../../vmbus/ring.ts';
import { u16 } from '../../vswitch/ethernet.ts';
import { layoutOf } from '../../vswitch/offload.ts';
import type { Frame } from '../../vswitch/port.ts';
import { MAXIMUM_SECTIONS, NO_SECTION, NVSP_SIZE, NvspField, NvspMessage, RECEIVE_SECTION } from './protocol.ts';
import {
  Fragment,
  PACKET_INFO_HEADER,
  PACKET_INFO_SIZE,
  PacketField,
  PacketInfo,
  ReceiveChecksum,
  RNDIS_HEADER,
  RndisMessage,
} from './rndis.ts';
import { vlanOf } from './transmit.ts';

/** The longest header: all information there is. */
const LONGEST_HEADER = PacketField.SIZE + 3 * PACKET_INFO_SIZE;
/** Bytes of a frame in one section. */
const ROOM = RECEIVE_SECTION - LONGEST_HEADER;
/** Frames in one packet: a TCP segment of 64 KiB, cut. */
const MOST_FRAMES = 64;
const MAC_ADDRESSES = 12;
const TAG = 4;

/** Transactions of packets that the guest has, and the sections in them. */
export type Outstanding = readonly (readonly [transaction: number, sections: readonly number[]])[];

export class ReceiveBuffer {
  readonly memory: GpadlMemory;
  readonly id: number;
  readonly sections: number;
  readonly #free: number[] = [];
  readonly #outstanding = new Map<number, readonly number[]>();
  readonly #header = new Uint8Array(LONGEST_HEADER);
  readonly #headerView = viewOf(this.#header);

  constructor(memory: GpadlMemory, id: number, outstanding: Outstanding = []) {
    this.memory = memory;
    this.id = id;
    this.sections = Math.min(MAXIMUM_SECTIONS, Math.floor(memory.size / RECEIVE_SECTION));
    const taken = new Set<number>();
    for (const [transaction, sections] of outstanding) {
      for (const section of sections) {
        if (section >= this.sections || taken.has(section)) throw new RangeError('a receive buffer makes no sense');
        taken.add(section);
      }
      this.#outstanding.set(transaction, sections);
    }
    for (let n = this.sections - 1; n >= 0; n--) if (!taken.has(n)) this.#free.push(n);
  }

  get outstanding(): Outstanding {
    return [...this.#outstanding];
  }
  get free(): number {
    return this.#free.length;
  }
  get inGuest(): number {
    return this.#outstanding.size;
  }

  /** The sections of a packet are ours again; false when the guest has no such packet. */
  release(transaction: number): boolean {
    const sections = this.#outstanding.get(transaction);
    if (!sections) return false;
    this.#outstanding.delete(transaction);
    this.#free.push(...sections);
    return true;
  }

  /** A control message as a packet; undefined without a free section. It is not outstanding until `sent`. */
  control(message: Uint8Array, transaction: number): OutgoingPacket | undefined {
    const section = this.#free.at(-1);
    if (section === undefined) return undefined;
    this.memory.write(section * RECEIVE_SECTION, message);
    return this.#packet(1, transaction, [[message.length, section]]);
  }

  /**
   * The first of these frames, as many as find room, as one packet, and the sections they take; undefined when not even one
   * does. One that is longer than a section goes alone, in parts.
   * @param verified the frames' checksums have just been computed.
   */
  frames(
    frames: readonly Frame[],
    transaction: number,
    verified: boolean,
  ): { readonly packet: OutgoingPacket; readonly sections: number; readonly count: number } | undefined {
    const ranges: [number, number][] = [];
    let count = 0;
    for (const frame of frames) {
      const vlan = vlanOf(frame.bytes);
      const total = frame.bytes.length - (vlan === undefined ? 0 : TAG);
      const parts = Math.ceil(total / ROOM);
      if (ranges.length + parts > this.#free.length || (count > 0 && (parts > 1 || count === MOST_FRAMES))) break;
      const checksum = checksumInfo(frame, verified);
      for (let n = 0, at = 0; n < parts; n++) {
        const length = Math.min(ROOM, total - at);
        const section = this.#free[this.#free.length - 1 - ranges.length] as number;
        const first = n === 0 ? Fragment.FIRST : 0;
        const last = n === parts - 1 ? Fragment.LAST : 0;
        const header = this.#describe(length, checksum, vlan, parts === 1 ? 0 : Fragment.PART | first | last);
        const place = section * RECEIVE_SECTION;
        this.memory.write(place, this.#header.subarray(0, header));
        this.#body(place + header, frame.bytes, at, length, vlan !== undefined);
        ranges.push([header + length, section]);
        at += length;
      }
      count++;
      if (parts > 1) break;
    }
    return count === 0 ? undefined : { packet: this.#packet(0, transaction, ranges), sections: ranges.length, count };
  }

  /** Bytes of a frame without its tag. */
  #body(place: number, bytes: Uint8Array, at: number, length: number, tagged: boolean): void {
    if (!tagged) this.memory.write(place, bytes.subarray(at, at + length));
    else if (at > 0) this.memory.write(place, bytes.subarray(at + TAG, at + TAG + length));
    else {
      this.memory.write(place, bytes.subarray(0, MAC_ADDRESSES));
      this.memory.write(place + MAC_ADDRESSES, bytes.subarray(MAC_ADDRESSES + TAG, length + TAG));
    }
  }

  /** Writes a packet message's header; its length. */
  #describe(length: number, checksum: number, vlan: number | undefined, fragment: number): number {
    const view = this.#headerView;
    this.#header.fill(0);
    let at: number = PacketField.SIZE;
    const add = (type: number, value: number): void => {
      view.setUint32(at, PACKET_INFO_SIZE, true);
      view.setUint32(at + 4, type, true);
      view.setUint32(at + 8, PACKET_INFO_HEADER, true);
      view.setUint32(at + 12, value, true);
      at += PACKET_INFO_SIZE;
    };
    if (checksum !== 0) add(PacketInfo.CHECKSUM, checksum);
    if (vlan !== undefined) add(PacketInfo.IEEE_8021Q, vlan);
    if (fragment !== 0) add(PacketInfo.FRAGMENT, Fragment.VERSION | (fragment << 8));
    view.setUint32(0, RndisMessage.PACKET, true);
    view.setUint32(4, at + length, true);
    view.setUint32(PacketField.DATA_OFFSET, at - RNDIS_HEADER, true);
    view.setUint32(PacketField.DATA_LENGTH, length, true);
    if (at > PacketField.SIZE) {
      view.setUint32(PacketField.INFO_OFFSET, PacketField.SIZE - RNDIS_HEADER, true);
      view.setUint32(PacketField.INFO_LENGTH, at - PacketField.SIZE, true);
    }
    return at;
  }

  #packet(
    channelType: number,
    transaction: number,
    ranges: readonly (readonly [length: number, section: number])[],
  ): OutgoingPacket {
    const descriptor = new Uint8Array(8 + ranges.length * 8);
    const view = viewOf(descriptor);
    view.setUint16(0, this.id, true);
    view.setUint32(4, ranges.length, true);
    ranges.forEach(([length, section], i) => {
      view.setUint32(8 + i * 8, length, true);
      view.setUint32(12 + i * 8, section * RECEIVE_SECTION, true);
    });
    const payload = new Uint8Array(NVSP_SIZE);
    const body = viewOf(payload);
    body.setUint32(NvspField.TYPE, NvspMessage.SEND_RNDIS_PACKET, true);
    body.setUint32(NvspField.CHANNEL_TYPE, channelType, true);
    body.setUint32(NvspField.SECTION, NO_SECTION, true);
    return {
      type: PacketType.DATA_TRANSFER_PAGES,
      flags: PacketFlag.COMPLETION_REQUESTED,
      transactionId: BigInt(transaction),
      descriptor,
      payload,
    };
  }

  /** The packet made last has been sent: its sections are the guest's. */
  sent(transaction: number, sections: number): void {
    this.#outstanding.set(transaction, this.#free.splice(this.#free.length - sections));
  }
}

/**
 * What the guest need not compute: sums that we have just computed, or that nobody has, because the frame never was on a
 * wire. What somebody else computed is the guest's to check.
 */
function checksumInfo({ bytes, checksum }: Frame, verified: boolean): number {
  if (checksum === 'complete' && !verified) return 0;
  const layout = layoutOf(bytes);
  const done = layout && SUCCEEDED.get(layout.protocol);
  if (!layout || done === undefined) return 0;
  const ip = layout.version === 4 ? ReceiveChecksum.IP_SUCCEEDED : 0;
  if (checksum === 'complete') return done | ip;
  return done | ip | ReceiveChecksum.TCP_VALUE_INVALID | (ip === 0 ? 0 : ReceiveChecksum.IP_VALUE_INVALID);
}

const SUCCEEDED: ReadonlyMap<number, number> = new Map([
  [6, ReceiveChecksum.TCP_SUCCEEDED],
  [17, ReceiveChecksum.UDP_SUCCEEDED],
]);

/** A number that is the same for all packets of a flow in one direction. */
export function flowOf(bytes: Uint8Array): number {
  const layout = layoutOf(bytes);
  if (!layout) return 0;
  const { version, network, transport, protocol } = layout;
  let hash = 0x811c9dc5;
  const from = version === 4 ? network + 12 : network + 8;
  const add = (word: number): void => {
    hash = Math.imul(hash ^ word, 0x01000193);
  };
  for (let at = from; at < network + (version === 4 ? 20 : 40); at += 2) add(u16(bytes, at));
  if (SUCCEEDED.has(protocol) && layout.end >= transport + 4) {
    add(u16(bytes, transport));
    add(u16(bytes, transport + 2));
  }
  return (hash ^ (hash >>> 16)) >>> 0;
}
