/**
 * The spoofing guard: a frame of an adapter carries the adapter's own MAC address, in ARP too, and an IPv4 address that the
 * adapter may have. With it go Hyper-V's DHCP guard and router guard: an adapter is no DHCP server and no IPv6 router.
 */
import { ETHERNET_HEADER, EtherType, macAt, Protocol, u16, u32 } from './ethernet.ts';

export interface GuardRules {
  readonly mac: number;
  /** Whether the adapter may call the IPv4 address its own. */
  mayUse(address: number): boolean;
  /** There is a DHCP server, and it is not an adapter's. */
  readonly dhcpGuard: boolean;
}

export type Objection = 'mac' | 'address' | 'dhcp' | 'router';

const DHCP_SERVER = 67;
const ROUTER_ADVERTISEMENT = 134;
const REDIRECT = 137;

/** Why the frame may not pass; undefined: it may. */
export function objectionTo(bytes: Uint8Array, rules: GuardRules): Objection | undefined {
  if (macAt(bytes, 6) !== rules.mac) return 'mac';
  const at = ETHERNET_HEADER;
  switch (u16(bytes, 12)) {
    case EtherType.ARP: {
      if (bytes.length < at + 28) return 'mac';
      if (macAt(bytes, at + 8) !== rules.mac) return 'mac';
      const sender = u32(bytes, at + 14);
      return sender === 0 || rules.mayUse(sender) ? undefined : 'address';
    }
    case EtherType.IPV4: {
      if (bytes.length < at + 20) return 'address';
      const source = u32(bytes, at + 12);
      const transport = at + (bytes[at]! & 15) * 4;
      const first = (u16(bytes, at + 6) & 0x1fff) === 0;
      const udp = bytes[at + 9] === Protocol.UDP && first && bytes.length >= transport + 4;
      if (rules.dhcpGuard && udp && u16(bytes, transport) === DHCP_SERVER) return 'dhcp';
      // Without an address there is DHCP, and IGMP's reports (RFC 4541) that nobody here wants.
      if (source === 0) return udp && u16(bytes, transport + 2) === DHCP_SERVER ? undefined : 'address';
      return rules.mayUse(source) ? undefined : 'address';
    }
    case EtherType.IPV6: {
      const type = bytes[at + 6] === Protocol.ICMPV6 ? bytes[at + 40] : undefined;
      return type === ROUTER_ADVERTISEMENT || type === REDIRECT ? 'router' : undefined;
    }
    default:
      return undefined;
  }
}
