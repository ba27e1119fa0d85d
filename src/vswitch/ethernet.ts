/**
 * Ethernet headers, and addresses as numbers: a MAC address has 48 bits, an IPv4 address 32. IEEE 802.3, 802.1Q; RFC 791.
 */

export const ETHERNET_HEADER = 14;
/** Destination and source with the longest payload that a frame may have: 64 KiB less one, and a VLAN tag. */
export const MAX_FRAME = ETHERNET_HEADER + 4 + 0xffff;
export const BROADCAST = 0xffff_ffff_ffff;

export const EtherType = { IPV4: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd } as const;
export const Protocol = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58 } as const;

export function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function u32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function setU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function macAt(bytes: Uint8Array, at: number): number {
  return u16(bytes, at) * 0x1_0000_0000 + u32(bytes, at + 2);
}

export function setMac(bytes: Uint8Array, at: number, mac: number): void {
  setU16(bytes, at, Math.floor(mac / 0x1_0000_0000));
  setU32(bytes, at + 2, mac >>> 0);
}

/** Broadcast is a group address too. */
export function isGroup(mac: number): boolean {
  return (Math.floor(mac / 0x100_0000_0000) & 1) === 1;
}

/** As Hyper-V writes them: `00-15-5D-01-02-03`. */
export function macText(mac: number): string {
  const digits = mac.toString(16).toUpperCase().padStart(12, '0');
  return digits.match(/../g)!.join('-');
}

/** With hyphens, colons, or nothing between the bytes. Undefined when it is none, or a group address, or zero. */
export function parseMac(text: string): number | undefined {
  if (!/^[0-9a-f]{2}([-:]?)(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i.test(text)) return undefined;
  const mac = Number.parseInt(text.replace(/[-:]/g, ''), 16);
  return mac === 0 || isGroup(mac) ? undefined : mac;
}

export function ipText(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** Four decimal numbers without leading zeroes. */
export function parseIp(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  let address = 0;
  for (let i = 1; i <= 4; i++) {
    const part = match[i]!;
    if (Number(part) > 255 || (part.length > 1 && part.startsWith('0'))) return undefined;
    address = address * 256 + Number(part);
  }
  return address;
}

/** A network in CIDR notation. */
export interface Cidr {
  readonly network: number;
  readonly prefix: number;
}

/** `10.0.0.0/8`; an address alone is a network of one. Bits of the host's part are dropped. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', prefix = '32', ...rest] = text.split('/');
  const ip = parseIp(address);
  if (ip === undefined || rest.length > 0 || !/^\d{1,2}$/.test(prefix) || Number(prefix) > 32) return undefined;
  return { network: (ip & maskOf(Number(prefix))) >>> 0, prefix: Number(prefix) };
}

export function maskOf(prefix: number): number {
  return prefix === 0 ? 0 : (0xffff_ffff << (32 - prefix)) >>> 0;
}

export function inNetwork(address: number, { network, prefix }: Cidr): boolean {
  return (address & maskOf(prefix)) >>> 0 === network;
}
