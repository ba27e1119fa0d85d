/**
 * Capture files: pcap with nanoseconds (draft-ietf-opsawg-pcap, sections 4 and 5), which tcpdump and Wireshark read. A frame
 * that stands for several segments is one packet of its full length, as captures on a Linux host with offloads show it.
 */
import { withChecksums } from './offload.ts';
import type { Frame } from './port.ts';

const MAGIC_NANOSECONDS = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER = 24;
const PACKET_HEADER = 16;
/** Above any frame: nothing is cut, unless the user wants it. */
export const DEFAULT_SNAPLEN = 0x4_0000;

export function pcapHeader(snaplen = DEFAULT_SNAPLEN): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC_NANOSECONDS, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, snaplen, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  return bytes;
}

/** @param milliseconds since 1970 UTC, with fractions. */
export function pcapPacket(frame: Frame, milliseconds: number, snaplen = DEFAULT_SNAPLEN): Uint8Array {
  const { bytes } = withChecksums(frame);
  const kept = Math.min(bytes.length, snaplen);
  const record = new Uint8Array(PACKET_HEADER + kept);
  const view = new DataView(record.buffer);
  const seconds = Math.floor(milliseconds / 1000);
  view.setUint32(0, seconds, true);
  view.setUint32(4, Math.min(999_999_999, Math.floor((milliseconds - seconds * 1000) * 1e6)), true);
  view.setUint32(8, kept, true);
  view.setUint32(12, bytes.length, true);
  record.set(bytes.subarray(0, kept), PACKET_HEADER);
  return record;
}
