/**
 * The synthetic network adapter's own messages (NVSP), as in Linux's drivers/net/hyperv/hyperv_net.h: 40 bytes, {u32 type,
 * body}. What is inside of message 107 is RNDIS, see rndis.ts.
 */
export const NETWORK_TYPE = 'f8615163-df3e-46c5-913f-f2d2f965ed0e';

export const NVSP_VERSIONS = {
  '6.1': 0x60001,
  '6': 0x60000,
  '5': 0x50000,
  '4': 0x40000,
  '2': 0x30002,
  '1': 2,
} as const;

export const NvspMessage = {
  INIT: 1,
  INIT_COMPLETE: 2,
  SEND_NDIS_VERSION: 100,
  SEND_RECEIVE_BUFFER: 101,
  SEND_RECEIVE_BUFFER_COMPLETE: 102,
  REVOKE_RECEIVE_BUFFER: 103,
  SEND_SEND_BUFFER: 104,
  SEND_SEND_BUFFER_COMPLETE: 105,
  REVOKE_SEND_BUFFER: 106,
  SEND_RNDIS_PACKET: 107,
  SEND_RNDIS_PACKET_COMPLETE: 108,
  SEND_NDIS_CONFIG: 125,
  SWITCH_DATA_PATH: 129,
  SUBCHANNEL: 133,
} as const;

/** Guests demand that the answer to INIT has them all. */
export const NVSP_SIZE = 40;
export const NvspStatus = { NONE: 0, SUCCESS: 1, FAIL: 2, INVALID_RNDIS_PACKET: 5 } as const;

/** Offsets of u32 fields, each in its own kind of message. */
export const NvspField = {
  TYPE: 0,
  /** INIT. */
  MINIMUM_VERSION: 4,
  MAXIMUM_VERSION: 8,
  /** SEND_NDIS_CONFIG. */
  MTU: 4,
  CAPABILITIES: 12,
  /** SEND_RECEIVE_BUFFER, SEND_SEND_BUFFER; the id is a u16. */
  GPADL: 4,
  BUFFER_ID: 8,
  /** SEND_RNDIS_PACKET: 0 data, 1 control; a section of the send buffer or NO_SECTION, and the bytes in it. */
  CHANNEL_TYPE: 4,
  SECTION: 8,
  SECTION_SIZE: 12,
  /** SUBCHANNEL: 1 allocates so many. */
  OPERATION: 4,
  COUNT: 8,
} as const;
export const NvspCapability = { VMQ: 1, SRIOV: 4, IEEE_8021Q: 8, TEAMING: 0x20, RSC: 0x80 } as const;
export const SUBCHANNEL_ALLOCATE = 1;
export const ChannelType = { DATA: 0, CONTROL: 1 } as const;
export const NO_SECTION = 0xffff_ffff;
/** Pieces of memory that one packet may be in: a number of Windows's, which guests do not look at. */
export const MAXIMUM_MDL_CHAIN = 34;

/** Bytes of the guest's send buffer for one message: a frame of the usual size, or several small ones. */
export const SEND_SECTION = 6144;
/**
 * Bytes of the guest's receive buffer for one message. Large ones have room for several segments of a TCP stream at once;
 * Linux sets as much aside for each of 64 channels that it could have.
 */
export const RECEIVE_SECTION = 16384;
/** Of a buffer larger than Linux ever asks for. */
export const MAXIMUM_SECTIONS = 4096;
/** A TCP segment of 64 KiB with all its headers. */
export const MAXIMUM_MESSAGE = 0x1_1000;
