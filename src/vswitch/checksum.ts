/** The Internet checksum (RFC 1071), and the sums over pseudo headers that TCP and UDP add to it. */
import { Protocol, setU16, u16, u32 } from './ethernet.ts';

/**
 * Adds 16-bit big-endian words to a sum; an odd byte at the end counts as the high half. The result is below 2^53 for
 * anything that fits a frame: `finish` folds it.
 */
export function add(sum: number, bytes: Uint8Array, from: number, to: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = from;
  // Words of 32 bits: a carry out of the low half goes where folding would put it.
  for (const end = to - 15; at < end; at += 16)
    sum += view.getUint32(at) + view.getUint32(at + 4) + view.getUint32(at + 8) + view.getUint32(at + 12);
  for (const end = to - 1; at < end; at += 2) sum += view.getUint16(at);
  return at < to ? sum + bytes[at]! * 256 : sum;
}

/** The complement of the folded sum, as it stands in a header. */
export function finish(sum: number): number {
  let folded = (sum % 0x1_0000_0000) + Math.floor(sum / 0x1_0000_0000);
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}

/** The pseudo header of an IPv4 packet's TCP or UDP (RFC 9293, section 3.1). */
export function pseudoHeader(source: number, destination: number, protocol: number, length: number): number {
  return source + destination + protocol + length;
}

/** Puts the header checksum of the IPv4 header at `at`. */
export function putHeaderChecksum(bytes: Uint8Array, at: number, headerLength = 20): void {
  setU16(bytes, at + 10, 0);
  setU16(bytes, at + 10, finish(add(0, bytes, at, at + headerLength)));
}

export function headerChecksumHolds(bytes: Uint8Array, at: number, headerLength: number): boolean {
  return finish(add(0, bytes, at, at + headerLength)) === 0;
}

/** Offset of the checksum in a TCP or UDP header; undefined for other protocols. */
export function checksumField(protocol: number): number | undefined {
  return protocol === Protocol.TCP ? 16 : protocol === Protocol.UDP ? 6 : undefined;
}

/** Puts the checksum of the TCP segment or UDP datagram from `from` to `to`, given the pseudo header's sum. */
export function putTransportChecksum(
  bytes: Uint8Array,
  from: number,
  to: number,
  protocol: number,
  pseudo: number,
): void {
  const field = checksumField(protocol);
  if (field === undefined || to - from < field + 2) return;
  setU16(bytes, from + field, 0);
  const sum = finish(add(pseudo, bytes, from, to));
  // A UDP checksum of zero says that there is none.
  setU16(bytes, from + field, sum === 0 && protocol === Protocol.UDP ? 0xffff : sum);
}

/** The sum of an IPv6 pseudo header without its length and protocol: the addresses of the header at `at`. */
export function addressesOfIpv6(bytes: Uint8Array, at: number): number {
  let sum = 0;
  for (let i = 8; i < 40; i += 4) sum += u32(bytes, at + i);
  return sum;
}

/** The same of an IPv4 header. */
export function addressesOfIpv4(bytes: Uint8Array, at: number): number {
  return u32(bytes, at + 12) + u32(bytes, at + 16);
}

/** Whether a checksum of TCP or UDP holds. A UDP datagram without one counts as right. */
export function transportChecksumHolds(
  bytes: Uint8Array,
  from: number,
  to: number,
  protocol: number,
  pseudo: number,
): boolean {
  if (protocol === Protocol.UDP && u16(bytes, from + 6) === 0) return true;
  return finish(add(pseudo, bytes, from, to)) === 0;
}
