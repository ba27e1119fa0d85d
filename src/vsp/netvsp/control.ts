/**
 * The adapter as its guest asks about it: RNDIS control messages, one question, one answer. What is settled here (packet
 * filter, address, offloads, the table of channels) is read where frames go.
 */
import { hexOf } from '../../support/plain.ts';
import { viewOf } from '../../vmbus/ring.ts';
import { MAXIMUM_MESSAGE } from './protocol.ts';
import * as rndis from './rndis.ts';
import { COMPLETE, ObjectType, OffloadField, Oid, RequestField, RndisMessage, RndisStatus } from './rndis.ts';

/** What a guest can settle; all of it belongs to a saved state. */
export interface Settings {
  /** After INITIALIZE, before HALT. */
  initialized: boolean;
  /** Bits of PacketFilter; 0: the adapter is closed. */
  filter: number;
  /** The address in use, in hexadecimal. */
  mac: string;
  /** Whether large frames are wanted, by version of IP. */
  rsc4: boolean;
  rsc6: boolean;
  /** Channel by flow; empty: evenly. */
  table: readonly number[];
}

export interface Facts {
  readonly permanentMac: Uint8Array;
  readonly mtu: number;
  readonly friendlyName: string;
  /** Channels that the guest may have. */
  readonly queues: number;
  readonly linkUp: () => boolean;
  /** NVSP 6.1 knows frames in several parts. */
  readonly rsc: () => boolean;
}

export function freshSettings(permanentMac: Uint8Array): Settings {
  return { initialized: false, filter: 0, mac: hexOf(permanentMac), rsc4: false, rsc6: false, table: [] };
}

export class RndisControl {
  readonly facts: Facts;
  settings: Settings;
  readonly counters = { requests: 0, refused: 0 };

  constructor(facts: Facts) {
    this.facts = facts;
    this.settings = freshSettings(facts.permanentMac);
  }

  /** As before INITIALIZE. An address that the guest has set outlives that, as the driver's own memory of it does. */
  reset(): void {
    this.settings = { ...freshSettings(this.facts.permanentMac), mac: this.settings.mac };
  }

  /** The answer to a message, undefined where it has none, 'malformed' when it is no message. */
  handle(message: Uint8Array): Uint8Array | undefined | 'malformed' {
    if (message.length < rndis.RNDIS_HEADER + 4) return 'malformed';
    const view = viewOf(message);
    const type = view.getUint32(0, true);
    const length = view.getUint32(4, true);
    const handler = HANDLERS.get(type);
    if (!handler || length < handler.size || length > message.length) return 'malformed';
    this.counters.requests++;
    return handler.answer(this, message.subarray(0, length), view);
  }

  query(oid: number, given: Uint8Array): Uint8Array | undefined {
    return QUERIES.get(oid)?.(this, given);
  }
  /** False when the value makes no sense, undefined when there is no such thing to set. */
  set(oid: number, value: Uint8Array): boolean | undefined {
    return SETTERS.get(oid)?.(this, value);
  }
}

interface Handler {
  /** The least length. */
  readonly size: number;
  answer(control: RndisControl, message: Uint8Array, view: DataView): Uint8Array | undefined;
}

/** The data that a QUERY or SET brings along; undefined when they are not in the message. */
function dataOf(message: Uint8Array, view: DataView): Uint8Array | undefined {
  const length = view.getUint32(RequestField.LENGTH, true);
  if (length === 0) return new Uint8Array();
  const from = rndis.RNDIS_HEADER + view.getUint32(RequestField.OFFSET, true);
  return from < RequestField.SIZE || from + length > message.length ? undefined : message.subarray(from, from + length);
}

function reply(type: number, ...body: readonly number[]): Uint8Array<ArrayBuffer> {
  return u32s((type | COMPLETE) >>> 0, rndis.RNDIS_HEADER + body.length * 4, ...body);
}

const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [
    RndisMessage.INITIALIZE,
    {
      size: 24,
      answer(control, _message, view) {
        control.reset();
        control.settings.initialized = true;
        // Version 1.0, connectionless, 802.3; eight messages at a time, aligned to 2^3 bytes.
        return reply(
          RndisMessage.INITIALIZE,
          ...[view.getUint32(8, true), RndisStatus.SUCCESS, 1, 0, 1, 0, 8, MAXIMUM_MESSAGE, 3, 0, 0],
        );
      },
    },
  ],
  [
    RndisMessage.HALT,
    {
      size: 12,
      answer(control) {
        control.reset();
        return undefined;
      },
    },
  ],
  [
    RndisMessage.QUERY,
    {
      size: RequestField.SIZE,
      answer(control, message, view) {
        const given = dataOf(message, view);
        const id = view.getUint32(RequestField.ID, true);
        const result = given && control.query(view.getUint32(RequestField.OID, true), given);
        if (!result) control.counters.refused++;
        const status = result ? RndisStatus.SUCCESS : given ? RndisStatus.NOT_SUPPORTED : RndisStatus.INVALID_DATA;
        const head = reply(RndisMessage.QUERY, id, status, result?.length ?? 0, result ? 16 : 0);
        if (!result) return head;
        const whole = new Uint8Array(head.length + result.length);
        whole.set(head);
        whole.set(result, head.length);
        viewOf(whole).setUint32(4, whole.length, true);
        return whole;
      },
    },
  ],
  [
    RndisMessage.SET,
    {
      size: RequestField.SIZE,
      answer(control, message, view) {
        const value = dataOf(message, view);
        const done = value && control.set(view.getUint32(RequestField.OID, true), value);
        if (!done) control.counters.refused++;
        const refusal = value && done === undefined ? RndisStatus.NOT_SUPPORTED : RndisStatus.INVALID_DATA;
        return reply(RndisMessage.SET, view.getUint32(RequestField.ID, true), done ? RndisStatus.SUCCESS : refusal);
      },
    },
  ],
  [RndisMessage.RESET, { size: 12, answer: () => reply(RndisMessage.RESET, RndisStatus.SUCCESS, 0) }],
  [
    RndisMessage.KEEPALIVE,
    {
      size: 12,
      answer: (_control, _message, view) => reply(RndisMessage.KEEPALIVE, view.getUint32(8, true), RndisStatus.SUCCESS),
    },
  ],
]);

type Query = (control: RndisControl, given: Uint8Array) => Uint8Array;

const QUERIES: ReadonlyMap<number, Query> = new Map<number, Query>([
  [Oid.GEN_SUPPORTED_LIST, () => u32s(...new Set([...QUERIES.keys(), ...SETTERS.keys()]))],
  [Oid.GEN_HARDWARE_STATUS, () => u32s(0)],
  [Oid.GEN_MEDIA_SUPPORTED, () => u32s(0)],
  [Oid.GEN_MEDIA_IN_USE, () => u32s(0)],
  [Oid.GEN_MAXIMUM_FRAME_SIZE, ({ facts }) => u32s(facts.mtu)],
  [Oid.GEN_LINK_SPEED, () => u32s(rndis.LINK_SPEED)],
  [Oid.GEN_TRANSMIT_BLOCK_SIZE, ({ facts }) => u32s(facts.mtu + 14)],
  [Oid.GEN_RECEIVE_BLOCK_SIZE, ({ facts }) => u32s(facts.mtu + 14)],
  [Oid.GEN_VENDOR_ID, () => u32s(0x5d1500)],
  [Oid.GEN_CURRENT_PACKET_FILTER, ({ settings }) => u32s(settings.filter)],
  [Oid.GEN_MAXIMUM_TOTAL_SIZE, ({ facts }) => u32s(facts.mtu + 14)],
  [Oid.GEN_MEDIA_CONNECT_STATUS, ({ facts }) => u32s(facts.linkUp() ? 0 : 1)],
  [Oid.GEN_RECEIVE_SCALE_CAPABILITIES, ({ facts }) => receiveScaling(facts.queues)],
  [Oid.GEN_FRIENDLY_NAME, ({ facts }) => utf16(facts.friendlyName)],
  [Oid.ETHERNET_PERMANENT_ADDRESS, ({ facts }) => facts.permanentMac],
  [Oid.ETHERNET_CURRENT_ADDRESS, ({ settings }) => bytesOfMac(settings.mac)],
  [Oid.ETHERNET_MAXIMUM_LIST_SIZE, () => u32s(256)],
  [Oid.TCP_OFFLOAD_HARDWARE_CAPABILITIES, (control, given) => offloads(control, given)],
]);

type Setter = (control: RndisControl, value: Uint8Array) => boolean;

const SETTERS: ReadonlyMap<number, Setter> = new Map<number, Setter>([
  [
    Oid.GEN_CURRENT_PACKET_FILTER,
    ({ settings }, value) => {
      if (value.length < 4) return false;
      settings.filter = viewOf(value).getUint32(0, true);
      return true;
    },
  ],
  [Oid.ETHERNET_MULTICAST_LIST, (_control, value) => value.length % 6 === 0],
  [Oid.TCP_OFFLOAD_PARAMETERS, setOffloads],
  [Oid.GEN_RECEIVE_SCALE_PARAMETERS, setReceiveScaling],
  [Oid.GEN_RNDIS_CONFIG_PARAMETER, setParameter],
]);

/** NDIS_OFFLOAD as large as the guest knows it: everything that is on offer, on. */
function offloads({ facts }: RndisControl, given: Uint8Array): Uint8Array {
  const wanted = given.length >= 4 ? viewOf(given).getUint16(2, true) : 0;
  const size = rndis.OFFLOAD_SIZES.findLast((known) => known <= wanted) ?? rndis.OFFLOAD_SIZES[0];
  const bytes = new Uint8Array(size);
  const view = viewOf(bytes);
  bytes.set([ObjectType.OFFLOAD, rndis.OFFLOAD_SIZES.indexOf(size) + 1]);
  view.setUint16(2, size, true);
  for (const [field, value] of OFFLOADS) view.setUint32(field, value, true);
  if (size > OffloadField.RSC && facts.rsc()) bytes.fill(1, OffloadField.RSC, OffloadField.RSC + 2);
  return bytes;
}

const OFFLOADS: readonly (readonly [field: number, value: number])[] = [
  [OffloadField.CHECKSUM_IP4_SEND_ENCAPSULATION, rndis.ENCAPSULATION_8023],
  [OffloadField.CHECKSUM_IP4_SEND, rndis.CHECKSUM_IP4_ALL],
  [OffloadField.CHECKSUM_IP4_RECEIVE_ENCAPSULATION, rndis.ENCAPSULATION_8023],
  [OffloadField.CHECKSUM_IP4_RECEIVE, rndis.CHECKSUM_IP4_ALL],
  [OffloadField.CHECKSUM_IP6_SEND_ENCAPSULATION, rndis.ENCAPSULATION_8023],
  [OffloadField.CHECKSUM_IP6_SEND, rndis.CHECKSUM_IP6_ALL],
  [OffloadField.CHECKSUM_IP6_RECEIVE_ENCAPSULATION, rndis.ENCAPSULATION_8023],
  [OffloadField.CHECKSUM_IP6_RECEIVE, rndis.CHECKSUM_IP6_ALL],
  [OffloadField.LSO2_IP4_ENCAPSULATION, rndis.ENCAPSULATION_8023],
  [OffloadField.LSO2_IP4_MAXIMUM, rndis.LSO2_MAXIMUM],
  [OffloadField.LSO2_IP4_SEGMENTS, 2],
  [OffloadField.LSO2_IP6_ENCAPSULATION, rndis.ENCAPSULATION_8023],
  [OffloadField.LSO2_IP6_MAXIMUM, rndis.LSO2_MAXIMUM],
  [OffloadField.LSO2_IP6_SEGMENTS, 2],
  [OffloadField.LSO2_IP6_OPTIONS, rndis.LSO2_IP6_OPTIONS_ALL],
];

/**
 * Sending needs no setting: each packet says what it wants. A guest that wants no large frames may hand frames on, so it
 * gets them cut and with their checksums.
 */
function setOffloads({ settings, facts }: RndisControl, value: Uint8Array): boolean {
  if (value.length < rndis.OffloadParameter.RSC_IP4) return false;
  const setting = (at: number, was: boolean): boolean => {
    const wanted = value[at] ?? rndis.RscSetting.NO_CHANGE;
    return wanted === rndis.RscSetting.NO_CHANGE ? was : wanted === rndis.RscSetting.ENABLED && facts.rsc();
  };
  settings.rsc4 = setting(rndis.OffloadParameter.RSC_IP4, settings.rsc4);
  settings.rsc6 = setting(rndis.OffloadParameter.RSC_IP6, settings.rsc6);
  return true;
}

function receiveScaling(queues: number): Uint8Array {
  const bytes = new Uint8Array(rndis.RSS_CAPABILITIES_SIZE);
  const view = viewOf(bytes);
  bytes.set([ObjectType.RSS_CAPABILITIES, 2]);
  view.setUint16(2, bytes.length, true);
  view.setUint32(4, rndis.RSS_CAPABILITIES_FLAGS, true);
  view.setUint32(8, queues, true);
  view.setUint32(12, queues, true);
  view.setUint16(16, rndis.RSS_TABLE_ENTRIES, true);
  return bytes;
}

function setReceiveScaling({ settings }: RndisControl, value: Uint8Array): boolean {
  const view = viewOf(value);
  if (value.length < rndis.RssField.SIZE || value[0] !== ObjectType.RSS_PARAMETERS) return false;
  if ((view.getUint16(rndis.RssField.FLAGS, true) & rndis.RSS_DISABLE) !== 0) {
    settings.table = [];
    return true;
  }
  const size = view.getUint16(rndis.RssField.TABLE_SIZE, true);
  const from = view.getUint32(rndis.RssField.TABLE_OFFSET, true);
  if (size % 4 !== 0 || size > rndis.RSS_TABLE_ENTRIES * 4 || from + size > value.length) return false;
  settings.table = Array.from({ length: size / 4 }, (_, i) => view.getUint32(from + i * 4, true) & 0xffff);
  return true;
}

/** The one parameter that matters: another address, as twelve hexadecimal digits. */
function setParameter({ settings }: RndisControl, value: Uint8Array): boolean {
  if (value.length < rndis.CONFIG_PARAMETER_HEADER) return false;
  const view = viewOf(value);
  const text = (at: number, length: number): string | undefined => {
    const from = view.getUint32(at, true);
    const size = view.getUint32(length, true);
    if (size > 256 || from + size > value.length) return undefined;
    const units = Array.from({ length: size >> 1 }, (_, i) => view.getUint16(from + i * 2, true));
    return String.fromCharCode(...units);
  };
  const name = text(0, 4);
  const given = text(12, 16)?.toLowerCase();
  if (name !== rndis.NETWORK_ADDRESS || given === undefined || !/^[0-9a-f]{12}$/.test(given)) return false;
  settings.mac = given;
  return true;
}

export function bytesOfMac(hex: string): Uint8Array {
  return Uint8Array.from({ length: 6 }, (_, i) => Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16));
}

function u32s(...words: readonly number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(words.length * 4);
  const view = viewOf(bytes);
  words.forEach((word, i) => {
    view.setUint32(i * 4, word, true);
  });
  return bytes;
}

function utf16(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length * 2);
  for (let i = 0; i < text.length; i++) viewOf(bytes).setUint16(i * 2, text.charCodeAt(i), true);
  return bytes;
}
