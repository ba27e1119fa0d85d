/** IPv4 packets: RFC 791. */
import { headerChecksumHolds, putHeaderChecksum } from '../checksum.ts';
import { ETHERNET_HEADER, EtherType, setMac, setU16, setU32, u16, u32 } from '../ethernet.ts';

export const IP_HEADER = 20;
/** The largest payload of an IPv4 packet without options. */
export const MAX_PAYLOAD = 0xffff - IP_HEADER;
const TTL = 64;

const MORE_FRAGMENTS = 0x2000;
const DONT_FRAGMENT = 0x4000;

export interface Packet {
  readonly source: number;
  readonly destination: number;
  readonly protocol: number;
  readonly identification: number;
  /** Bytes. */
  readonly fragmentOffset: number;
  readonly moreFragments: boolean;
  readonly dontFragment: boolean;
  /** The header's place in `bytes`, and where the payload begins and ends. */
  readonly bytes: Uint8Array;
  readonly header: number;
  readonly payload: number;
  readonly end: number;
}

/** Undefined when the header makes no sense, or, with `verify`, its checksum is wrong. */
export function parsePacket(bytes: Uint8Array, header: number, verify: boolean): Packet | undefined {
  if (bytes.length < header + IP_HEADER || bytes[header]! >> 4 !== 4) return undefined;
  const headerLength = (bytes[header]! & 15) * 4;
  const end = header + u16(bytes, header + 2);
  if (headerLength < IP_HEADER || end < header + headerLength || end > bytes.length) return undefined;
  if (verify && !headerChecksumHolds(bytes, header, headerLength)) return undefined;
  const fragment = u16(bytes, header + 6);
  return {
    source: u32(bytes, header + 12),
    destination: u32(bytes, header + 16),
    protocol: bytes[header + 9]!,
    identification: u16(bytes, header + 4),
    fragmentOffset: (fragment & 0x1fff) * 8,
    moreFragments: (fragment & MORE_FRAGMENTS) !== 0,
    dontFragment: (fragment & DONT_FRAGMENT) !== 0,
    bytes,
    header,
    payload: header + headerLength,
    end,
  };
}

export interface Addresses {
  readonly destinationMac: number;
  readonly sourceMac: number;
  readonly source: number;
  readonly destination: number;
}

/** Puts Ethernet and IPv4 headers at the beginning of a frame. `fragment`: offset in units of 8 bytes, and flags. */
export function putHeaders(
  frame: Uint8Array,
  { destinationMac, sourceMac, source, destination }: Addresses,
  protocol: number,
  identification: number,
  fragment = DONT_FRAGMENT,
): void {
  setMac(frame, 0, destinationMac);
  setMac(frame, 6, sourceMac);
  setU16(frame, 12, EtherType.IPV4);
  const at = ETHERNET_HEADER;
  frame[at] = 0x45;
  frame[at + 1] = 0;
  setU16(frame, at + 2, frame.length - at);
  setU16(frame, at + 4, identification);
  setU16(frame, at + 6, fragment);
  frame[at + 8] = TTL;
  frame[at + 9] = protocol;
  setU32(frame, at + 12, source);
  setU32(frame, at + 16, destination);
  putHeaderChecksum(frame, at);
}

/** Frames for a payload: one, or as many fragments as the MTU makes of it. */
export function packetFrames(
  addresses: Addresses,
  protocol: number,
  identification: number,
  payload: Uint8Array,
  mtu: number,
): Uint8Array[] {
  const most = (mtu - IP_HEADER) & ~7;
  const frames: Uint8Array[] = [];
  const whole = payload.length <= mtu - IP_HEADER;
  for (let at = 0; at === 0 || at < payload.length; at += most) {
    const part = whole ? payload : payload.subarray(at, at + most);
    const frame = new Uint8Array(ETHERNET_HEADER + IP_HEADER + part.length);
    frame.set(part, ETHERNET_HEADER + IP_HEADER);
    const more = !whole && at + most < payload.length;
    putHeaders(frame, addresses, protocol, identification, whole ? 0 : (at >> 3) | (more ? MORE_FRAGMENTS : 0));
    frames.push(frame);
    if (whole) break;
  }
  return frames;
}
