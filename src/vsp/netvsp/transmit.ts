/**
 * Frames out of the guest: RNDIS packet messages, one behind the other, with what is left to do on each. What a guest hands
 * over for segmentation lacks its length and the header's checksum; both are put in, so that the frame is one.
 */
import { viewOf } from '../../vmbus/ring.ts';
import { ETHERNET_HEADER, EtherType, setU16, u16 } from '../../vswitch/ethernet.ts';
import { completed } from '../../vswitch/offload.ts';
import type { Frame } from '../../vswitch/port.ts';
import {
  LARGE_SEND_MSS,
  PACKET_INFO_HEADER,
  PacketField,
  PacketInfo,
  RNDIS_HEADER,
  RndisMessage,
  TransmitChecksum,
} from './rndis.ts';

const TAG = 4;

/**
 * The frames of a message of the data channel; undefined when it is malformed anywhere.
 * @param message our own copy; frames are parts of it.
 */
export function framesOf(message: Uint8Array<ArrayBuffer>): Frame[] | undefined {
  const view = viewOf(message);
  const frames: Frame[] = [];
  for (let at = 0; at < message.length; ) {
    if (message.length - at < PacketField.SIZE) return undefined;
    const length = view.getUint32(at + 4, true);
    if (view.getUint32(at, true) !== RndisMessage.PACKET || length < PacketField.SIZE || length > message.length - at)
      return undefined;
    const frame = frameOf(message.subarray(at, at + length));
    if (!frame) return undefined;
    frames.push(frame);
    at += length;
  }
  return frames;
}

function frameOf(message: Uint8Array<ArrayBuffer>): Frame | undefined {
  const view = viewOf(message);
  const offset = RNDIS_HEADER + view.getUint32(PacketField.DATA_OFFSET, true);
  const length = view.getUint32(PacketField.DATA_LENGTH, true);
  if (offset < PacketField.SIZE || length < ETHERNET_HEADER || offset + length > message.length) return undefined;
  const info = infoOf(view);
  if (!info) return undefined;
  const bytes = message.subarray(offset, offset + length);
  const segmentSize = (info.largeSend ?? 0) & LARGE_SEND_MSS;
  const wanted = info.checksum ?? 0;
  const partial = segmentSize > 0 || (wanted & ANY_CHECKSUM) !== 0;
  const frame = completed({ bytes, segmentSize, checksum: partial ? 'partial' : 'complete' });
  return info.vlan === undefined ? frame : { ...frame, bytes: tagged(frame.bytes, info.vlan) };
}

const ANY_CHECKSUM = TransmitChecksum.TCP | TransmitChecksum.UDP | TransmitChecksum.IP_HEADER;

interface Info {
  checksum?: number;
  largeSend?: number;
  vlan?: number;
}

/** Undefined when it makes no sense. What nobody knows is skipped. */
function infoOf(view: DataView): Info | undefined {
  const info: Info = {};
  let left = view.getUint32(PacketField.INFO_LENGTH, true);
  if (left === 0) return info;
  let at = RNDIS_HEADER + view.getUint32(PacketField.INFO_OFFSET, true);
  if (at < PacketField.SIZE || at + left > view.byteLength) return undefined;
  while (left > 0) {
    if (left < PACKET_INFO_HEADER) return undefined;
    const size = view.getUint32(at, true);
    const value = view.getUint32(at + 8, true);
    if (size < PACKET_INFO_HEADER || size > left) return undefined;
    const name = INFORMATION.get(view.getUint32(at + 4, true));
    if (name !== undefined) {
      if (value < PACKET_INFO_HEADER || value + 4 > size) return undefined;
      info[name] = view.getUint32(at + value, true);
    }
    at += size;
    left -= size;
  }
  return info;
}

const INFORMATION: ReadonlyMap<number, keyof Info> = new Map([
  [PacketInfo.CHECKSUM, 'checksum'],
  [PacketInfo.LARGE_SEND, 'largeSend'],
  [PacketInfo.IEEE_8021Q, 'vlan'],
]);

/** With an 802.1Q tag: NDIS has {priority: 3, CFI: 1, VLAN: 12} from bit 0, the tag the other way round. */
function tagged(bytes: Uint8Array, info: number): Uint8Array {
  const frame = new Uint8Array(bytes.length + TAG);
  frame.set(bytes.subarray(0, 12));
  setU16(frame, 12, EtherType.VLAN);
  setU16(frame, 14, ((info & 7) << 13) | (((info >> 3) & 1) << 12) | ((info >> 4) & 0xfff));
  frame.set(bytes.subarray(12), 12 + TAG);
  return frame;
}

/** The tag of a frame in NDIS's order; undefined without one. */
export function vlanOf(bytes: Uint8Array): number | undefined {
  if (bytes.length < ETHERNET_HEADER + TAG || u16(bytes, 12) !== EtherType.VLAN) return undefined;
  const tag = u16(bytes, 14);
  return (tag >> 13) | (((tag >> 12) & 1) << 3) | ((tag & 0xfff) << 4);
}
