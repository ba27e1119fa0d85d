/** A bus as plain data, for saved states: its shape, and the checks with which it is taken from a file. */
import { asArray, asBoolean, asBytes, asOneOf, asRecord, asText, asWhole, hexOf } from '../support/plain.ts';
import type { ChannelState } from './channel.ts';
import type { GpadlTable } from './gpadl.ts';
import type { ChannelDevice } from './ports.ts';
import { MESSAGE_MAXIMUM, PAGE_SIZE, RELID_COUNT, SINT_COUNT } from './protocol.ts';

export interface SavedOpen {
  readonly openId: number;
  readonly ringGpadl: number;
  readonly downstreamPage: number;
  /** Bytes are hexadecimal text. */
  readonly userData: string;
  /** Our own index of each ring. */
  readonly incoming: number;
  readonly outgoing: number;
  readonly broken: boolean;
  readonly held: boolean;
  readonly refused: boolean;
  readonly answers: readonly string[];
}

export interface SavedChannel {
  readonly device: string;
  readonly relid: number;
  readonly subIndex: number;
  readonly state: ChannelState;
  readonly targetVp: number;
  readonly open: SavedOpen | null;
}

export interface SavedGpadl {
  readonly id: number;
  readonly relid: number;
  readonly ranges: readonly {
    readonly byteCount: number;
    readonly byteOffset: number;
    readonly pages: readonly number[];
  }[];
}

/** A buffer of which not all messages have come. */
export interface SavedPendingGpadl {
  readonly id: number;
  readonly relid: number;
  readonly rangeCount: number;
  readonly size: number;
  readonly bytes: string;
}

export interface SavedContact {
  readonly version: number;
  readonly vp: number;
  readonly sint: number;
}

/** Counters are not part of it. */
export interface SavedBus {
  readonly version: 1;
  readonly contact: SavedContact | null;
  readonly connected: boolean;
  readonly offersRequested: boolean;
  readonly outbox: readonly string[];
  readonly channels: readonly SavedChannel[];
  readonly gpadls: readonly SavedGpadl[];
  readonly pendingGpadls: readonly SavedPendingGpadl[];
  /** What each device says, by its name. */
  readonly devices: Readonly<Record<string, unknown>>;
}

const U32 = 0xffff_ffff;
const STATES: readonly ChannelState[] = ['hidden', 'offered', 'open', 'rescinded'];

/** @throws RangeError when the data are no bus. What they refer to is checked where it is used. */
export function parseSavedBus(plain: unknown): SavedBus {
  const bus = asRecord(plain, 'the VMBus');
  if (bus.version !== 1) throw new RangeError('the VMBus has another version');
  return {
    version: 1,
    contact: bus.contact === null ? null : parseContact(bus.contact),
    connected: asBoolean(bus.connected, 'the VMBus connection'),
    offersRequested: asBoolean(bus.offersRequested, 'the VMBus connection'),
    outbox: asArray(bus.outbox, 'a VMBus message').map((text) => {
      if (asBytes(text, 'a VMBus message').length > MESSAGE_MAXIMUM)
        throw new RangeError('a VMBus message is too long');
      return text as string;
    }),
    channels: asArray(bus.channels, 'the VMBus channels').map(parseChannel),
    gpadls: asArray(bus.gpadls, 'the VMBus buffers').map(parseGpadl),
    pendingGpadls: asArray(bus.pendingGpadls, 'the VMBus buffers').map(parsePendingGpadl),
    devices: asRecord(bus.devices, 'the VMBus devices'),
  };
}

function parseContact(plain: unknown): SavedContact {
  const contact = asRecord(plain, 'the VMBus contact');
  return {
    version: asWhole(contact.version, 'the VMBus version', U32),
    vp: asWhole(contact.vp, 'the VMBus contact', U32),
    sint: asWhole(contact.sint, 'the VMBus contact', SINT_COUNT - 1),
  };
}

function parseChannel(plain: unknown): SavedChannel {
  const what = 'a VMBus channel';
  const channel = asRecord(plain, what);
  const state = asOneOf(channel.state, STATES, what);
  if ((state === 'open') !== (channel.open !== null)) throw new RangeError(`${what} makes no sense`);
  return {
    device: asText(channel.device, what),
    relid: asWhole(channel.relid, what, RELID_COUNT - 1),
    subIndex: asWhole(channel.subIndex, what, 0xffff),
    state,
    targetVp: asWhole(channel.targetVp, what, U32),
    open: channel.open === null ? null : parseOpen(channel.open),
  };
}

function parseOpen(plain: unknown): SavedOpen {
  const what = 'an open VMBus channel';
  const open = asRecord(plain, what);
  asBytes(open.userData, what);
  for (const answer of asArray(open.answers, what)) asBytes(answer, what);
  return {
    openId: asWhole(open.openId, what, U32),
    ringGpadl: asWhole(open.ringGpadl, what, U32),
    downstreamPage: asWhole(open.downstreamPage, what, U32),
    userData: open.userData as string,
    incoming: asWhole(open.incoming, what, U32),
    outgoing: asWhole(open.outgoing, what, U32),
    broken: asBoolean(open.broken, what),
    held: asBoolean(open.held, what),
    refused: asBoolean(open.refused, what),
    answers: open.answers as string[],
  };
}

function parseGpadl(plain: unknown): SavedGpadl {
  const what = 'a VMBus buffer';
  const gpadl = asRecord(plain, what);
  return {
    id: asWhole(gpadl.id, what, U32),
    relid: asWhole(gpadl.relid, what, RELID_COUNT - 1),
    ranges: asArray(gpadl.ranges, what).map((each) => {
      const range = asRecord(each, what);
      const byteCount = asWhole(range.byteCount, what, U32);
      const byteOffset = asWhole(range.byteOffset, what, PAGE_SIZE - 1);
      const pages = asArray(range.pages, what).map((page) => asWhole(page, what, U32));
      if (pages.length !== Math.ceil((byteOffset + byteCount) / PAGE_SIZE))
        throw new RangeError(`${what} makes no sense`);
      return { byteCount, byteOffset, pages };
    }),
  };
}

function parsePendingGpadl(plain: unknown): SavedPendingGpadl {
  const what = 'a VMBus buffer';
  const pending = asRecord(plain, what);
  const size = asWhole(pending.size, what, 0xffff);
  if (asBytes(pending.bytes, what).length > size) throw new RangeError(`${what} makes no sense`);
  return {
    id: asWhole(pending.id, what, U32),
    relid: asWhole(pending.relid, what, RELID_COUNT - 1),
    rangeCount: asWhole(pending.rangeCount, what, 0xffff),
    size,
    bytes: pending.bytes as string,
  };
}

type SavedGpadls = Pick<SavedBus, 'gpadls' | 'pendingGpadls'>;

export function saveGpadls(table: GpadlTable): SavedGpadls {
  return {
    gpadls: [...table.all()].map(({ id, relid, ranges }) => ({
      id,
      relid,
      ranges: ranges.map((range) => ({ ...range, pages: [...range.pages] })),
    })),
    pendingGpadls: table.pending().map((pending) => ({ ...pending, bytes: hexOf(pending.bytes) })),
  };
}

export function restoreGpadls(table: GpadlTable, { gpadls, pendingGpadls }: SavedGpadls): void {
  for (const { id, relid, ranges } of gpadls) {
    const whole = { id, relid, ranges: ranges.map((range) => ({ ...range, pages: Uint32Array.from(range.pages) })) };
    if (!table.restore(whole)) throw new RangeError('a VMBus buffer makes no sense');
  }
  for (const { id, relid, size, rangeCount, bytes } of pendingGpadls)
    table.begin(id, relid, size, rangeCount, asBytes(bytes, 'a VMBus buffer'));
}

/** Stands for a device that was taken away while the guest still had its channel. */
export function goneDevice(name: string): ChannelDevice {
  const nothing = (): void => undefined;
  const none = '00000000-0000-0000-0000-000000000000';
  return {
    name,
    offer: { type: none, instance: none },
    opened: nothing,
    received: nothing,
    closed: nothing,
    inspect: () => ({}),
    save: () => null,
    restore: nothing,
  };
}
