/**
 * Remote NDIS messages ([MS-RNDIS]) and the NDIS objects in them (NDIS 6.30), in numbers. A message is {u32 type, u32
 * length, body}; offsets within a body count from the body's beginning. Nothing here acts.
 */
export const RndisMessage = {
  PACKET: 1,
  INITIALIZE: 2,
  HALT: 3,
  QUERY: 4,
  SET: 5,
  RESET: 6,
  INDICATE: 7,
  KEEPALIVE: 8,
} as const;
/** An answer is its question with this bit. */
export const COMPLETE = 0x8000_0000;
export const RNDIS_HEADER = 8;

export const RndisStatus = {
  SUCCESS: 0,
  FAILURE: 0xc000_0001,
  INVALID_DATA: 0xc001_0015,
  NOT_SUPPORTED: 0xc000_00bb,
  MEDIA_CONNECT: 0x4001_000b,
  MEDIA_DISCONNECT: 0x4001_000c,
} as const;

/** Offsets in a PACKET message; its body's fields count from RNDIS_HEADER. */
export const PacketField = {
  DATA_OFFSET: 8,
  DATA_LENGTH: 12,
  INFO_OFFSET: 28,
  INFO_LENGTH: 32,
  SIZE: 44,
} as const;
/** Offsets in QUERY and SET: {u32 id, u32 OID, u32 length, u32 offset, u32 0}. */
export const RequestField = { ID: 8, OID: 12, LENGTH: 16, OFFSET: 20, SIZE: 28 } as const;

/** Types of per-packet information: {u32 size, u32 type, u32 offset of the value}. */
export const PacketInfo = {
  CHECKSUM: 0,
  LARGE_SEND: 2,
  IEEE_8021Q: 6,
  /** Bit 31 is "internal": {u8 version, u8 flags, u16 id}. */
  FRAGMENT: 0x8000_0001,
} as const;
export const PACKET_INFO_HEADER = 12;
export const PACKET_INFO_SIZE = 16;

/** What the sender of a packet wants to be computed. */
export const TransmitChecksum = { IPV4: 1, IPV6: 2, TCP: 4, UDP: 8, IP_HEADER: 0x10 } as const;
/** What the receiver of a packet need not compute, and what in it was not computed. */
export const ReceiveChecksum = {
  TCP_SUCCEEDED: 8,
  UDP_SUCCEEDED: 0x10,
  IP_SUCCEEDED: 0x20,
  TCP_VALUE_INVALID: 0x80,
  IP_VALUE_INVALID: 0x100,
} as const;
/** LARGE_SEND (LSOv2): bytes of TCP payload for each segment. */
export const LARGE_SEND_MSS = 0xf_ffff;
/** FRAGMENT: parts of one frame in several messages of one packet. */
export const Fragment = { VERSION: 1, PART: 1, FIRST: 2, LAST: 4 } as const;

export const Oid = {
  GEN_SUPPORTED_LIST: 0x0001_0101,
  GEN_HARDWARE_STATUS: 0x0001_0102,
  GEN_MEDIA_SUPPORTED: 0x0001_0103,
  GEN_MEDIA_IN_USE: 0x0001_0104,
  GEN_MAXIMUM_FRAME_SIZE: 0x0001_0106,
  GEN_LINK_SPEED: 0x0001_0107,
  GEN_TRANSMIT_BLOCK_SIZE: 0x0001_010a,
  GEN_RECEIVE_BLOCK_SIZE: 0x0001_010b,
  GEN_VENDOR_ID: 0x0001_010c,
  GEN_CURRENT_PACKET_FILTER: 0x0001_010e,
  GEN_MAXIMUM_TOTAL_SIZE: 0x0001_0111,
  GEN_MEDIA_CONNECT_STATUS: 0x0001_0114,
  GEN_RECEIVE_SCALE_CAPABILITIES: 0x0001_0203,
  GEN_RECEIVE_SCALE_PARAMETERS: 0x0001_0204,
  GEN_FRIENDLY_NAME: 0x0002_0216,
  GEN_RNDIS_CONFIG_PARAMETER: 0x0001_021b,
  ETHERNET_PERMANENT_ADDRESS: 0x0101_0101,
  ETHERNET_CURRENT_ADDRESS: 0x0101_0102,
  ETHERNET_MULTICAST_LIST: 0x0101_0103,
  ETHERNET_MAXIMUM_LIST_SIZE: 0x0101_0104,
  TCP_OFFLOAD_PARAMETERS: 0xfc01_020c,
  TCP_OFFLOAD_HARDWARE_CAPABILITIES: 0xfc01_020d,
} as const;

/** 10 Gbit/s, in units of 100 bit/s. */
export const LINK_SPEED = 100_000_000;
/** Packet filters: which frames the adapter hands to its system. */
export const PacketFilter = { DIRECTED: 1, MULTICAST: 2, ALL_MULTICAST: 4, BROADCAST: 8, PROMISCUOUS: 0x20 } as const;

export const ObjectType = { DEFAULT: 0x80, RSS_CAPABILITIES: 0x88, RSS_PARAMETERS: 0x89, OFFLOAD: 0xa7 } as const;
/** NDIS_OFFLOAD: its size by version of NDIS (6.0, 6.1, 6.30), and the offsets of u32 fields. */
export const OFFLOAD_SIZES = [112, 144, 156] as const;
export const OffloadField = {
  CHECKSUM_IP4_SEND_ENCAPSULATION: 4,
  CHECKSUM_IP4_SEND: 8,
  CHECKSUM_IP4_RECEIVE_ENCAPSULATION: 12,
  CHECKSUM_IP4_RECEIVE: 16,
  CHECKSUM_IP6_SEND_ENCAPSULATION: 20,
  CHECKSUM_IP6_SEND: 24,
  CHECKSUM_IP6_RECEIVE_ENCAPSULATION: 28,
  CHECKSUM_IP6_RECEIVE: 32,
  LSO2_IP4_ENCAPSULATION: 80,
  LSO2_IP4_MAXIMUM: 84,
  LSO2_IP4_SEGMENTS: 88,
  LSO2_IP6_ENCAPSULATION: 92,
  LSO2_IP6_MAXIMUM: 96,
  LSO2_IP6_SEGMENTS: 100,
  LSO2_IP6_OPTIONS: 104,
  /** Two bytes: IPv4, IPv6. */
  RSC: 144,
} as const;
export const ENCAPSULATION_8023 = 2;
/** Options, TCP, UDP and the IPv4 header; options, TCP, UDP and extension headers. */
export const CHECKSUM_IP4_ALL = 0x155;
export const CHECKSUM_IP6_ALL = 0x55;
export const LSO2_IP6_OPTIONS_ALL = 5;
/** Ethernet, IP and TCP headers with their options come on top; the IP length has 16 bits. */
export const LSO2_MAXIMUM = 0xffff - 120;

/** NDIS_OFFLOAD_PARAMETERS: offsets of the bytes that say whether large received frames are wanted. */
export const OffloadParameter = { RSC_IP4: 22, RSC_IP6: 23 } as const;
export const RscSetting = { NO_CHANGE: 0, DISABLED: 1, ENABLED: 2 } as const;

/** NDIS_RECEIVE_SCALE_CAPABILITIES: {type, revision, u16 size, u32 flags, u32 messages, u32 queues, u16 table}. */
export const RSS_CAPABILITIES_SIZE = 18;
/** Toeplitz, over the addresses and ports of TCP in IPv4 and IPv6. */
export const RSS_CAPABILITIES_FLAGS = 0x0300_0301;
export const RSS_TABLE_ENTRIES = 128;
/** NDIS_RECEIVE_SCALE_PARAMETERS. */
export const RssField = { FLAGS: 4, TABLE_SIZE: 12, TABLE_OFFSET: 16, SIZE: 24 } as const;
export const RSS_DISABLE = 0x10;
/** OID_GEN_RNDIS_CONFIG_PARAMETER: u32 offset and length of a name, type, offset and length of a value; UTF-16. */
export const CONFIG_PARAMETER_HEADER = 20;
export const NETWORK_ADDRESS = 'NetworkAddress';
