/**
 * VMBus in numbers: versions, channel messages with their layouts, ring buffers, packets. There is no public
 * specification of the whole; the names are those of Linux's include/linux/hyperv.h and of Microsoft's open sources.
 * Nothing here acts. All integers are little-endian; a page has 4096 bytes.
 */

export const PAGE_SIZE = 4096;

/** Protocol versions, newest first: major << 16 | minor. Older ones (0.13, 1.1) signal without event flags. */
export const VERSIONS = {
  '5.3': 0x50003,
  '5.2': 0x50002,
  '5.1': 0x50001,
  '5.0': 0x50000,
  '4.1': 0x40001,
  '4.0': 0x40000,
  '3.0': 0x30000,
  '2.4': 0x20004,
} as const;
export type VersionName = keyof typeof VERSIONS;
export const VERSION_NAMES = Object.keys(VERSIONS) as readonly VersionName[];
/** From here on a contact names its SINT, and the response a connection for all later messages. */
export const VERSION_WITH_CONNECTION_ID = VERSIONS['5.0'];
/** From here on a channel's target processor can be changed, */
export const VERSION_WITH_MODIFY = VERSIONS['4.1'];
/** and from here on the host answers that. */
export const VERSION_WITH_MODIFY_RESPONSE = VERSIONS['5.3'];

export function versionText(version: number): string {
  return `${version >>> 16}.${version & 0xffff}`;
}

/** Connections that the guest posts messages to; before version 5.0 it knows only the first. */
export const MESSAGE_CONNECTION = 1;
export const MESSAGE_CONNECTION_MULTIPLEXED = 4;
/** SynIC message type of every channel message. */
export const MESSAGE_TYPE_CHANNEL = 1;
export const MESSAGE_MAXIMUM = 240;
/** The SINT of guests that do not name one. */
export const DEFAULT_SINT = 2;
export const SINT_COUNT = 16;
/** The connection that signals a channel: this | relid, which puts the SINT where Hyper-V has it. */
export const EVENT_CONNECTION = 0x2000;

/** Channels have relids from 1 on; 0 is the bus itself. The relid is the channel's event flag too. */
export const RELID_COUNT = 2048;

export const MessageType = {
  OFFER_CHANNEL: 1,
  RESCIND_CHANNEL_OFFER: 2,
  REQUEST_OFFERS: 3,
  ALL_OFFERS_DELIVERED: 4,
  OPEN_CHANNEL: 5,
  OPEN_CHANNEL_RESULT: 6,
  CLOSE_CHANNEL: 7,
  GPADL_HEADER: 8,
  GPADL_BODY: 9,
  GPADL_CREATED: 10,
  GPADL_TEARDOWN: 11,
  GPADL_TORNDOWN: 12,
  RELID_RELEASED: 13,
  INITIATE_CONTACT: 14,
  VERSION_RESPONSE: 15,
  UNLOAD: 16,
  UNLOAD_RESPONSE: 17,
  TL_CONNECT_REQUEST: 21,
  MODIFY_CHANNEL: 22,
  MODIFY_CHANNEL_RESPONSE: 24,
} as const;

/** Every message begins with its type and a word of zero. */
export const MESSAGE_HEADER = 8;

/** Offsets in the guest's messages, and their least sizes. */
export const InitiateContact = { VERSION: 8, TARGET_VP: 12, SINT: 16, VTL: 17, SIZE: 40 } as const;
export const OpenChannel = {
  RELID: 8,
  OPEN_ID: 12,
  RING_GPADL: 16,
  TARGET_VP: 20,
  DOWNSTREAM_PAGE: 24,
  USER_DATA: 28,
  SIZE: 148,
} as const;
export const RelidMessage = { RELID: 8, SIZE: 12 } as const;
export const GpadlHeader = { RELID: 8, GPADL: 12, RANGE_BYTES: 16, RANGE_COUNT: 18, RANGES: 20, SIZE: 28 } as const;
export const GpadlBody = { NUMBER: 8, GPADL: 12, PFNS: 16, SIZE: 16 } as const;
export const GpadlTeardown = { RELID: 8, GPADL: 12, SIZE: 16 } as const;
export const ModifyChannel = { RELID: 8, TARGET_VP: 12, SIZE: 16 } as const;
export const TlConnectRequest = { ENDPOINT: 8, SERVICE: 24, SIZE: 40 } as const;

/** Offsets in OFFER_CHANNEL. */
export const Offer = {
  TYPE: 8,
  INSTANCE: 24,
  FLAGS: 56,
  MMIO_MEGABYTES: 58,
  USER_DATA: 60,
  USER_DATA_SIZE: 120,
  SUB_CHANNEL: 180,
  RELID: 184,
  MONITOR_ID: 188,
  MONITOR_ALLOCATED: 189,
  DEDICATED_INTERRUPT: 190,
  CONNECTION: 192,
  SIZE: 196,
} as const;
/** There is no monitor page: a guest that had one would only set a bit in it, for somebody to poll. */
export const NO_MONITOR = 0xff;
export const OfferFlag = { ENUMERATE: 0x1, NAMED_PIPE: 0x10, TLNPI_PROVIDER: 0x2000 } as const;
/** First word of the user data of a pipe's offer. */
export const PIPE_MODE_MESSAGE = 4;

/** What a result says that is no success: NTSTATUS values. */
export const ChannelStatus = {
  SUCCESS: 0,
  INVALID_PARAMETER: 0xc000000d,
  INSUFFICIENT_RESOURCES: 0xc000009a,
  NOT_FOUND: 0xc0000225,
  DEVICE_BUSY: 0x80000011,
} as const;

/** The control page of a ring: u32 fields. */
export const RingField = {
  WRITE_INDEX: 0,
  READ_INDEX: 4,
  INTERRUPT_MASK: 8,
  PENDING_SEND_SIZE: 12,
  FEATURES: 64,
} as const;
/** Data follow the control page; every packet is followed by its own offset in the ring, which its length does not count. */
export const RING_DATA = PAGE_SIZE;
export const PACKET_HEADER = 16;
export const PACKET_TRAILER = 8;

export const PacketType = {
  DATA_IN_BAND: 6,
  DATA_TRANSFER_PAGES: 7,
  DATA_GPA_DIRECT: 9,
  COMPLETION: 11,
} as const;
export const PacketFlag = { COMPLETION_REQUESTED: 1 } as const;
