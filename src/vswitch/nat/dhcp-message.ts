/** DHCP messages: RFC 2131, section 2, with options of RFC 2132. */
import { macAt, setMac, setU16, setU32, u16, u32 } from '../ethernet.ts';

const OPTIONS_AT = 240;
const MAGIC = 0x6382_5363;
/** RFC 2131: what every client takes. */
const LEAST_LENGTH = 300;
const ETHERNET = 1;
const BROADCAST_FLAG = 0x8000;

export const DhcpPort = { SERVER: 67, CLIENT: 68 } as const;
export const BootOperation = { REQUEST: 1, REPLY: 2 } as const;
export const MessageType = {
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
  INFORM: 8,
} as const;
export const DhcpOption = {
  PAD: 0,
  SUBNET_MASK: 1,
  ROUTER: 3,
  NAME_SERVER: 6,
  HOST_NAME: 12,
  DOMAIN_NAME: 15,
  MTU: 26,
  BROADCAST_ADDRESS: 28,
  REQUESTED_ADDRESS: 50,
  LEASE_TIME: 51,
  OVERLOAD: 52,
  MESSAGE_TYPE: 53,
  SERVER_IDENTIFIER: 54,
  PARAMETER_LIST: 55,
  RENEWAL_TIME: 58,
  REBINDING_TIME: 59,
  CLIENT_IDENTIFIER: 61,
  DOMAIN_SEARCH: 119,
  END: 255,
} as const;

export interface DhcpRequest {
  readonly type: number;
  readonly transaction: number;
  readonly seconds: number;
  readonly broadcast: boolean;
  /** The client's address, when it has one. */
  readonly clientAddress: number;
  readonly clientMac: number;
  readonly requestedAddress: number | undefined;
  readonly serverIdentifier: number | undefined;
  readonly parameters: Uint8Array;
}

/** Undefined for what is no request of an Ethernet client. */
export function parseDhcp(bytes: Uint8Array): DhcpRequest | undefined {
  if (bytes.length < OPTIONS_AT || bytes[0] !== BootOperation.REQUEST) return undefined;
  if (bytes[1] !== ETHERNET || bytes[2] !== 6 || u32(bytes, 236) !== MAGIC) return undefined;
  const options = optionsOf(bytes.subarray(OPTIONS_AT));
  const type = options.get(DhcpOption.MESSAGE_TYPE);
  if (type?.length !== 1) return undefined;
  const address = (option: number): number | undefined => {
    const value = options.get(option);
    return value?.length === 4 ? u32(value, 0) : undefined;
  };
  return {
    type: type[0]!,
    transaction: u32(bytes, 4),
    seconds: u16(bytes, 8),
    broadcast: (u16(bytes, 10) & BROADCAST_FLAG) !== 0,
    clientAddress: u32(bytes, 12),
    clientMac: macAt(bytes, 28),
    requestedAddress: address(DhcpOption.REQUESTED_ADDRESS),
    serverIdentifier: address(DhcpOption.SERVER_IDENTIFIER),
    parameters: options.get(DhcpOption.PARAMETER_LIST) ?? new Uint8Array(),
  };
}

/** Up to the end, or to the first that is cut off. Of an option that stands there twice, the first counts. */
export function optionsOf(bytes: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes[at]!;
    if (kind === DhcpOption.END) break;
    if (kind === DhcpOption.PAD) {
      at++;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || at + 2 + length > bytes.length) break;
    if (!options.has(kind)) options.set(kind, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}

export interface DhcpReply {
  readonly type: number;
  readonly request: DhcpRequest;
  /** What the client is to have; 0: nothing is said about it. */
  readonly address: number;
  readonly server: number;
  readonly options: readonly (readonly [option: number, value: Uint8Array])[];
}

export function dhcpReply({ type, request, address, server, options }: DhcpReply): Uint8Array {
  const all: (readonly [number, Uint8Array])[] = [
    [DhcpOption.MESSAGE_TYPE, Uint8Array.of(type)],
    [DhcpOption.SERVER_IDENTIFIER, addressBytes(server)],
    ...options,
  ];
  const length = all.reduce((sum, [, value]) => sum + 2 + value.length, OPTIONS_AT + 1);
  const bytes = new Uint8Array(Math.max(LEAST_LENGTH, length));
  bytes.set([BootOperation.REPLY, ETHERNET, 6]);
  setU32(bytes, 4, request.transaction);
  setU16(bytes, 10, request.broadcast ? BROADCAST_FLAG : 0);
  setU32(bytes, 12, type === MessageType.NAK ? 0 : request.clientAddress);
  setU32(bytes, 16, address);
  setU32(bytes, 20, type === MessageType.NAK ? 0 : server);
  setMac(bytes, 28, request.clientMac);
  setU32(bytes, 236, MAGIC);
  let at = OPTIONS_AT;
  for (const [option, value] of all) {
    bytes.set([option, value.length], at);
    bytes.set(value, at + 2);
    at += 2 + value.length;
  }
  bytes[at] = DhcpOption.END;
  return bytes;
}

export function addressBytes(address: number): Uint8Array {
  const bytes = new Uint8Array(4);
  setU32(bytes, 0, address);
  return bytes;
}

export function wordBytes(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value);
}
