/** The host's messages, as bytes. */
import { guidBytes } from '../support/guid.ts';
import type { BusChannel } from './channel.ts';
import {
  EVENT_CONNECTION,
  MESSAGE_CONNECTION_MULTIPLEXED,
  MESSAGE_HEADER,
  MessageType,
  NO_MONITOR,
  Offer,
  VERSION_WITH_CONNECTION_ID,
} from './protocol.ts';

/** A message of 32-bit words. */
function words(type: number, ...body: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(MESSAGE_HEADER + body.length * 4));
  view.setUint32(0, type, true);
  body.forEach((word, i) => {
    view.setUint32(MESSAGE_HEADER + i * 4, word, true);
  });
  return new Uint8Array(view.buffer);
}

export function versionResponse(version: number, supported: boolean): Uint8Array {
  const connection = supported && version >= VERSION_WITH_CONNECTION_ID ? MESSAGE_CONNECTION_MULTIPLEXED : 0;
  // Connection state 0: successful.
  return words(MessageType.VERSION_RESPONSE, supported ? 1 : 0, connection);
}

export function offerChannel(channel: BusChannel): Uint8Array {
  const { offer } = channel.device;
  const bytes = new Uint8Array(Offer.SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MessageType.OFFER_CHANNEL, true);
  bytes.set(guidBytes(offer.type), Offer.TYPE);
  bytes.set(guidBytes(offer.instance), Offer.INSTANCE);
  view.setUint16(Offer.FLAGS, offer.flags ?? 0, true);
  view.setUint16(Offer.MMIO_MEGABYTES, offer.mmioMegabytes ?? 0, true);
  bytes.set((offer.userData ?? new Uint8Array()).subarray(0, Offer.USER_DATA_SIZE), Offer.USER_DATA);
  view.setUint16(Offer.SUB_CHANNEL, channel.subIndex, true);
  view.setUint32(Offer.RELID, channel.relid, true);
  view.setUint8(Offer.MONITOR_ID, NO_MONITOR);
  // The channel has an event flag of its own, and needs no bit in a shared page to say which.
  view.setUint16(Offer.DEDICATED_INTERRUPT, 1, true);
  view.setUint32(Offer.CONNECTION, EVENT_CONNECTION | channel.relid, true);
  return bytes;
}

export function allOffersDelivered(): Uint8Array {
  return words(MessageType.ALL_OFFERS_DELIVERED);
}
export function rescindOffer(relid: number): Uint8Array {
  return words(MessageType.RESCIND_CHANNEL_OFFER, relid);
}
export function openResult(relid: number, openId: number, status: number): Uint8Array {
  return words(MessageType.OPEN_CHANNEL_RESULT, relid, openId, status);
}
export function gpadlCreated(relid: number, gpadl: number, status: number): Uint8Array {
  return words(MessageType.GPADL_CREATED, relid, gpadl, status);
}
export function gpadlTorndown(gpadl: number): Uint8Array {
  return words(MessageType.GPADL_TORNDOWN, gpadl);
}
export function modifyResponse(relid: number, status: number): Uint8Array {
  return words(MessageType.MODIFY_CHANNEL_RESPONSE, relid, status);
}
export function unloadResponse(): Uint8Array {
  return words(MessageType.UNLOAD_RESPONSE);
}
