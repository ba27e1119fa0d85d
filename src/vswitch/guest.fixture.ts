/** A guest for tests: makes frames, reads frames. Written from the RFCs, without the code that it tests. */

import type { Frame } from './port.ts';
import type { AdapterPort } from './switch.ts';

export const GATEWAY_MAC = [0x02, 0x15, 0x5d, 0, 0, 1];
export const GATEWAY = '172.30.0.1';

export function hex(text: string): number[] {
  return text.split(/[-:]/).map((part) => Number.parseInt(part, 16));
}

export function ip(text: string): number[] {
  return text.split('.').map(Number);
}

export function word(value: number): number[] {
  return [(value >> 8) & 255, value & 255];
}

export function long(value: number): number[] {
  return [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

export function internetChecksum(bytes: readonly number[] | Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  return ~sum & 0xffff;
}

export interface IpFields {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly id?: number;
  /** Offset in bytes. */
  readonly offset?: number;
  readonly more?: boolean;
}

export function ipPacket(fields: IpFields, payload: readonly number[] | Uint8Array): number[] {
  const { source, destination, protocol, id = 7, offset = 0, more = false } = fields;
  const header = [
    ...[0x45, 0],
    ...word(20 + payload.length),
    ...word(id),
    ...word((more ? 0x2000 : 0) | (offset / 8)),
    ...[64, protocol, 0, 0],
    ...ip(source),
    ...ip(destination),
  ];
  header.splice(10, 2, ...word(internetChecksum(header)));
  return [...header, ...payload];
}

export function withPseudoHeader(
  source: string,
  destination: string,
  protocol: number,
  bytes: readonly number[],
): number {
  return internetChecksum([...ip(source), ...ip(destination), 0, protocol, ...word(bytes.length), ...bytes]);
}

export function udpDatagram(
  source: string,
  sourcePort: number,
  destination: string,
  port: number,
  data: readonly number[] | Uint8Array,
): number[] {
  const bytes = [...word(sourcePort), ...word(port), ...word(8 + data.length), 0, 0, ...data];
  bytes.splice(6, 2, ...word(withPseudoHeader(source, destination, 17, bytes) || 0xffff));
  return ipPacket({ source, destination, protocol: 17 }, bytes);
}

export interface TcpFields {
  readonly sourcePort: number;
  readonly port: number;
  readonly sequence: number;
  readonly acknowledgment?: number;
  readonly flags: number;
  readonly window?: number;
  readonly options?: readonly number[];
  readonly data?: readonly number[] | Uint8Array;
}

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const ACK = 16;

export function tcpSegment(source: string, destination: string, fields: TcpFields): number[] {
  const { sourcePort, port, sequence, acknowledgment = 0, flags, window = 0xffff, options = [], data = [] } = fields;
  const bytes = [
    ...word(sourcePort),
    ...word(port),
    ...long(sequence),
    ...long(acknowledgment),
    (5 + options.length / 4) << 4,
    flags,
    ...word(window),
    ...[0, 0, 0, 0],
    ...options,
    ...data,
  ];
  bytes.splice(16, 2, ...word(withPseudoHeader(source, destination, 6, bytes)));
  return ipPacket({ source, destination, protocol: 6 }, bytes);
}

/** A frame that came to the guest, taken apart. */
export interface Seen {
  readonly frame: Frame;
  readonly destination: string;
  readonly type: number;
  readonly ip:
    | { source: string; destination: string; protocol: number; payload: Uint8Array; fragment: number }
    | undefined;
  readonly udp: { sourcePort: number; port: number; data: Uint8Array } | undefined;
  readonly tcp:
    | {
        sourcePort: number;
        port: number;
        sequence: number;
        acknowledgment: number;
        flags: number;
        window: number;
        options: Uint8Array;
        data: Uint8Array;
      }
    | undefined;
}

function dotted(view: DataView, at: number): string {
  return [0, 1, 2, 3].map((i) => view.getUint8(at + i)).join('.');
}

/** Checks what checksums there are as it goes. */
export function see(frame: Frame): Seen {
  const { bytes } = frame;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const destination = [...bytes.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join('-');
  const type = view.getUint16(12);
  const seen = { frame, destination, type, ip: undefined, udp: undefined, tcp: undefined };
  if (type !== 0x800) return seen;
  if (internetChecksum(bytes.subarray(14, 34)) !== 0) throw new Error('the IPv4 header checksum is wrong');
  const end = 14 + view.getUint16(16);
  if (end > bytes.length) throw new Error('the IPv4 packet is longer than its frame');
  const protocol = view.getUint8(23);
  const payload = bytes.subarray(34, end);
  const packet = {
    source: dotted(view, 26),
    destination: dotted(view, 30),
    protocol,
    payload,
    fragment: view.getUint16(20) & 0x3fff,
  };
  const at = 34;
  if (packet.fragment !== 0) return { ...seen, ip: packet };
  if (frame.checksum === 'complete' && (protocol === 17 || protocol === 6)) {
    const sum = withPseudoHeader(packet.source, packet.destination, protocol, [...payload]);
    if (sum !== 0) throw new Error('the transport checksum is wrong');
  }
  if (protocol === 1 && internetChecksum(payload) !== 0) throw new Error('the ICMP checksum is wrong');
  if (protocol === 17) {
    const udp = { sourcePort: view.getUint16(at), port: view.getUint16(at + 2), data: bytes.subarray(at + 8, end) };
    return { ...seen, ip: packet, udp };
  }
  if (protocol !== 6) return { ...seen, ip: packet };
  const headerLength = (view.getUint8(at + 12) >> 4) * 4;
  const tcp = {
    sourcePort: view.getUint16(at),
    port: view.getUint16(at + 2),
    sequence: view.getUint32(at + 4),
    acknowledgment: view.getUint32(at + 8),
    flags: view.getUint8(at + 13),
    window: view.getUint16(at + 14),
    options: bytes.subarray(at + 20, at + headerLength),
    data: bytes.subarray(at + headerLength, end),
  };
  return { ...seen, ip: packet, tcp };
}

export class TestGuest {
  readonly port: AdapterPort;
  readonly mac: number[];
  address: string;
  readonly frames: Seen[] = [];
  /** While false the adapter takes nothing. */
  taking = true;

  constructor(port: AdapterPort, address = '172.30.0.10') {
    this.port = port;
    this.mac = hex(port.mac);
    this.address = address;
    port.onFrame((frame) => {
      if (this.taking) this.frames.push(see(frame));
      return this.taking;
    });
  }

  frame(type: number, payload: readonly number[] | Uint8Array, to: readonly number[] = GATEWAY_MAC): void {
    this.raw([...to, ...this.mac, ...word(type), ...payload]);
  }

  raw(bytes: readonly number[], segmentSize = 0, checksum: Frame['checksum'] = 'complete'): void {
    this.port.send({ bytes: Uint8Array.from(bytes), segmentSize, checksum });
  }

  ip(packet: readonly number[]): void {
    this.frame(0x800, packet);
  }

  udp(sourcePort: number, destination: string, port: number, data: readonly number[] | Uint8Array): void {
    this.ip(udpDatagram(this.address, sourcePort, destination, port, data));
  }

  tcp(destination: string, fields: TcpFields): void {
    this.ip(tcpSegment(this.address, destination, fields));
  }

  /** What came since the last call. */
  take(): Seen[] {
    return this.frames.splice(0);
  }

  arp(
    operation: number,
    senderIp: string,
    targetIp: string,
    senderMac = this.mac,
    to = new Array<number>(6).fill(255),
  ): void {
    const packet = [
      0,
      1,
      8,
      0,
      6,
      4,
      ...word(operation),
      ...senderMac,
      ...ip(senderIp),
      0,
      0,
      0,
      0,
      0,
      0,
      ...ip(targetIp),
    ];
    this.frame(0x806, packet, to);
  }

  /** A DHCP message; `address` is asked for. */
  dhcp(type: number, options: readonly number[] = [], clientAddress = '0.0.0.0'): void {
    const bytes = [
      1,
      1,
      6,
      0,
      ...long(0x1234_5678),
      0,
      0,
      0,
      0,
      ...ip(clientAddress),
      ...new Array<number>(12).fill(0),
    ];
    bytes.push(
      ...this.mac,
      ...new Array<number>(10 + 192).fill(0),
      0x63,
      0x82,
      0x53,
      0x63,
      53,
      1,
      type,
      ...options,
      255,
    );
    const packet = udpDatagram(clientAddress, 68, '255.255.255.255', 67, bytes);
    this.frame(0x800, packet, new Array<number>(6).fill(255));
  }

  /** Gets an address as a client does. */
  configure(): string {
    this.dhcp(1);
    const offer = this.take().find((seen) => seen.udp?.port === 68)!.udp!.data;
    const address = [...offer.subarray(16, 20)];
    this.dhcp(3, [50, 4, ...address, 54, 4, ...ip(GATEWAY)]);
    this.address = address.join('.');
    this.take();
    return this.address;
  }
}
