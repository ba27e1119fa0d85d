/** Address resolution for IPv4 over Ethernet: RFC 826. */
import { BROADCAST, ETHERNET_HEADER, EtherType, macAt, setMac, setU16, setU32, u16, u32 } from '../ethernet.ts';

export const ARP_LENGTH = 28;
/** Hardware type 1, protocol 0800h, lengths 6 and 4. */
const ETHERNET = 1;

export const ArpOperation = { REQUEST: 1, REPLY: 2 } as const;

export interface Arp {
  readonly operation: number;
  readonly senderMac: number;
  readonly senderIp: number;
  readonly targetMac: number;
  readonly targetIp: number;
}

/** Undefined when it is not about IPv4 over Ethernet. */
export function parseArp(bytes: Uint8Array, at = ETHERNET_HEADER): Arp | undefined {
  if (bytes.length < at + ARP_LENGTH) return undefined;
  if (u16(bytes, at) !== ETHERNET || u16(bytes, at + 2) !== EtherType.IPV4 || u16(bytes, at + 4) !== 0x0604)
    return undefined;
  return {
    operation: u16(bytes, at + 6),
    senderMac: macAt(bytes, at + 8),
    senderIp: u32(bytes, at + 14),
    targetMac: macAt(bytes, at + 18),
    targetIp: u32(bytes, at + 24),
  };
}

export function arpFrame({ operation, senderMac, senderIp, targetMac, targetIp }: Arp): Uint8Array {
  const frame = new Uint8Array(ETHERNET_HEADER + ARP_LENGTH);
  setMac(frame, 0, operation === ArpOperation.REQUEST ? BROADCAST : targetMac);
  setMac(frame, 6, senderMac);
  setU16(frame, 12, EtherType.ARP);
  const at = ETHERNET_HEADER;
  setU16(frame, at, ETHERNET);
  setU16(frame, at + 2, EtherType.IPV4);
  setU16(frame, at + 4, 0x0604);
  setU16(frame, at + 6, operation);
  setMac(frame, at + 8, senderMac);
  setU32(frame, at + 14, senderIp);
  setMac(frame, at + 18, operation === ArpOperation.REQUEST ? 0 : targetMac);
  setU32(frame, at + 24, targetIp);
  return frame;
}
