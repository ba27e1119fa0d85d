/**
 * What offloads leave undone, done in software, for whoever sends a frame on to something that needs it finished: checksums
 * are computed, large TCP segments are cut (TCP over IPv4 or IPv6). Between guests, and into NAT, frames travel as they are.
 */
import { addressesOfIpv4, addressesOfIpv6, putHeaderChecksum, putTransportChecksum } from './checksum.ts';
import { ETHERNET_HEADER, EtherType, Protocol, setU16, setU32, u16, u32 } from './ethernet.ts';
import type { Frame } from './port.ts';

/** Where the parts of an IP packet stand in a frame. */
export interface PacketLayout {
  readonly version: 4 | 6;
  /** Of the IP header. */
  readonly network: number;
  readonly protocol: number;
  /** Of the header behind it. */
  readonly transport: number;
  /** Where the packet ends; the frame may have padding after it. */
  readonly end: number;
}

/** Undefined for what is no whole IP packet, for fragments, and for IPv6 with extension headers. */
export function layoutOf(bytes: Uint8Array): PacketLayout | undefined {
  let network = ETHERNET_HEADER;
  if (bytes.length < ETHERNET_HEADER + 20) return undefined;
  let type = u16(bytes, 12);
  if (type === EtherType.VLAN) {
    type = u16(bytes, 16);
    network += 4;
  }
  if (type === EtherType.IPV4) {
    if (bytes.length < network + 20) return undefined;
    const headerLength = (bytes[network]! & 15) * 4;
    const end = network + u16(bytes, network + 2);
    if (bytes[network]! >> 4 !== 4 || headerLength < 20 || end > bytes.length) return undefined;
    if (end < network + headerLength || (u16(bytes, network + 6) & 0x3fff) !== 0) return undefined;
    return { version: 4, network, protocol: bytes[network + 9]!, transport: network + headerLength, end };
  }
  if (type !== EtherType.IPV6 || bytes.length < network + 40 || bytes[network]! >> 4 !== 6) return undefined;
  const end = network + 40 + u16(bytes, network + 4);
  if (end > bytes.length) return undefined;
  return { version: 6, network, protocol: bytes[network + 6]!, transport: network + 40, end };
}

/** Computes the checksums that the packet's headers have. */
function putChecksums(bytes: Uint8Array, layout: PacketLayout): void {
  const { version, network, protocol, transport, end } = layout;
  if (version === 4) putHeaderChecksum(bytes, network, transport - network);
  const addresses = version === 4 ? addressesOfIpv4(bytes, network) : addressesOfIpv6(bytes, network);
  putTransportChecksum(bytes, transport, end, protocol, addresses + protocol + end - transport);
}

/**
 * Fills in what a guest leaves out of IP headers when it hands over work to be done (Linux: the lengths of what is to be
 * cut, and IPv4's checksum): whoever forwards a frame needs them. Changes the frame's bytes.
 */
export function completed(frame: Frame): Frame {
  if (frame.checksum === 'complete' && frame.segmentSize === 0) return frame;
  const { bytes } = frame;
  const at = ETHERNET_HEADER;
  const type = u16(bytes, 12);
  const length = bytes.length - at;
  if (type === EtherType.IPV4 && length >= 20) {
    const headerLength = (bytes[at]! & 15) * 4;
    if (headerLength < 20 || headerLength > length) return frame;
    if (u16(bytes, at + 2) === 0 && length <= 0xffff) setU16(bytes, at + 2, length);
    putHeaderChecksum(bytes, at, headerLength);
  } else if (type === EtherType.IPV6 && length >= 40 && u16(bytes, at + 4) === 0 && length - 40 <= 0xffff)
    setU16(bytes, at + 4, length - 40);
  return frame;
}

/** The frame with its checksums, as it is where they are right already. Bytes are copied, not changed. */
export function withChecksums(frame: Frame): Frame {
  if (frame.checksum === 'complete') return frame;
  const bytes = frame.bytes.slice();
  const layout = layoutOf(bytes);
  if (layout !== undefined) putChecksums(bytes, layout);
  return { bytes, segmentSize: frame.segmentSize, checksum: 'complete' };
}

const Flag = { FIN: 1, PSH: 8, CWR: 0x80 } as const;

/**
 * Frames with right checksums, none of which stands for more than one segment: what a wire takes. What cannot be cut (it is
 * not TCP, or its headers make no sense) stays whole.
 */
export function finished(frame: Frame): Frame[] {
  const { bytes, segmentSize } = frame;
  if (segmentSize === 0) return [withChecksums(frame)];
  const layout = layoutOf(bytes);
  if (layout === undefined || layout.protocol !== Protocol.TCP || layout.end < layout.transport + 20)
    return [withChecksums({ ...frame, segmentSize: 0 })];
  const { version, network, transport, end } = layout;
  const payload = transport + (bytes[transport + 12]! >> 4) * 4;
  if (payload < transport + 20 || end - payload <= segmentSize) return [withChecksums({ ...frame, segmentSize: 0 })];
  const frames: Frame[] = [];
  const sequence = u32(bytes, transport + 4);
  const flags = bytes[transport + 13]!;
  const identification = u16(bytes, network + 4);
  // A guest's segment size decides how many pieces there are: none is so small that a frame becomes a flood.
  const size = Math.max(segmentSize, MIN_SEGMENT);
  for (let at = payload, n = 0; at < end; at += size, n++) {
    const length = Math.min(size, end - at);
    const piece = new Uint8Array(payload + length);
    piece.set(bytes.subarray(0, payload));
    piece.set(bytes.subarray(at, at + length), payload);
    if (version === 4) {
      setU16(piece, network + 2, payload + length - network);
      setU16(piece, network + 4, (identification + n) & 0xffff);
    } else setU16(piece, network + 4, payload + length - transport);
    setU32(piece, transport + 4, (sequence + at - payload) >>> 0);
    const last = at + length === end;
    piece[transport + 13] = flags & (n === 0 ? 0xff : ~Flag.CWR) & (last ? 0xff : ~(Flag.FIN | Flag.PSH));
    putChecksums(piece, { ...layout, end: payload + length });
    frames.push({ bytes: piece, segmentSize: 0, checksum: 'complete' });
  }
  return frames;
}

/** Bytes of payload below which no segment is cut, whatever the frame says; IPv4's smallest maximum (RFC 879) less options. */
export const MIN_SEGMENT = 500;
