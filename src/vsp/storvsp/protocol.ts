/**
 * The synthetic SCSI controller, as in Linux's drivers/scsi/storvsc_drv.c: packets of 64 bytes {u32 operation, u32 flags, u32
 * status, 52 bytes}, answered by completions of the same 64. Data are where the packet's page ranges say.
 */
export const SCSI_TYPE = 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f';

export const Operation = {
  COMPLETE_IO: 1,
  EXECUTE_SRB: 3,
  RESET_LUN: 4,
  RESET_ADAPTER: 5,
  RESET_BUS: 6,
  BEGIN_INITIALIZATION: 7,
  END_INITIALIZATION: 8,
  QUERY_PROTOCOL_VERSION: 9,
  QUERY_PROPERTIES: 10,
  ENUMERATE_BUS: 11,
  CREATE_SUB_CHANNELS: 13,
} as const;

export const PACKET_SIZE = 64;
export const Field = {
  OPERATION: 0,
  FLAGS: 4,
  STATUS: 8,
  BODY: 12,
  /** QUERY_PROTOCOL_VERSION: u16. */
  VERSION: 12,
  /** QUERY_PROPERTIES: u16 sub-channels, u32 flags, u32 the longest transfer. */
  SUB_CHANNELS: 16,
  CHANNEL_FLAGS: 20,
  MAXIMUM_TRANSFER: 24,
  /** CREATE_SUB_CHANNELS: u16. */
  SUB_CHANNEL_COUNT: 12,
  /** EXECUTE_SRB. */
  SRB_STATUS: 14,
  SCSI_STATUS: 15,
  PORT: 16,
  PATH: 17,
  TARGET: 18,
  LUN: 19,
  CDB_LENGTH: 20,
  SENSE_LENGTH: 21,
  DATA_IN: 22,
  TRANSFER_LENGTH: 24,
  /** The command, and in the answer the sense data. */
  CDB: 28,
} as const;
export const CDB_SIZE = 16;
/** QUERY_PROPERTIES: requests may come through sub-channels. */
export const MULTI_CHANNEL = 1;

export const VERSIONS: readonly number[] = [0x0602, 0x0600, 0x0501];
export const MAXIMUM_TRANSFER = 0x40000;
export const DataIn = { WRITE: 0, READ: 1, NONE: 2 } as const;
/** NTSTATUS of a packet. */
export const PacketStatus = { SUCCESS: 0, INVALID_PARAMETER: 0xc000000d, REVISION_MISMATCH: 0xc0000059 } as const;
export const SrbStatus = {
  SUCCESS: 1,
  ERROR: 4,
  INVALID_REQUEST: 6,
  DATA_OVERRUN: 0x12,
  INVALID_LUN: 0x20,
  AUTOSENSE_VALID: 0x80,
} as const;
export const ScsiStatus = { GOOD: 0, CHECK_CONDITION: 2 } as const;

/** SCSI commands (SPC-4, SBC-3, MMC-6). */
export const Scsi = {
  TEST_UNIT_READY: 0x00,
  REQUEST_SENSE: 0x03,
  READ_6: 0x08,
  WRITE_6: 0x0a,
  INQUIRY: 0x12,
  MODE_SENSE_6: 0x1a,
  START_STOP_UNIT: 0x1b,
  PREVENT_ALLOW: 0x1e,
  READ_CAPACITY_10: 0x25,
  READ_10: 0x28,
  WRITE_10: 0x2a,
  VERIFY_10: 0x2f,
  SYNCHRONIZE_CACHE_10: 0x35,
  WRITE_SAME_10: 0x41,
  UNMAP: 0x42,
  READ_TOC: 0x43,
  GET_CONFIGURATION: 0x46,
  GET_EVENT_STATUS: 0x4a,
  READ_DISC_INFORMATION: 0x51,
  MODE_SENSE_10: 0x5a,
  READ_16: 0x88,
  WRITE_16: 0x8a,
  VERIFY_16: 0x8f,
  SYNCHRONIZE_CACHE_16: 0x91,
  WRITE_SAME_16: 0x93,
  SERVICE_ACTION_IN_16: 0x9e,
  REPORT_LUNS: 0xa0,
  READ_12: 0xa8,
  WRITE_12: 0xaa,
} as const;
export const READ_CAPACITY_16_ACTION = 0x10;

/** [sense key, additional code, qualifier]. */
export const Sense = {
  NONE: [0, 0, 0],
  NO_MEDIUM: [2, 0x3a, 0],
  NOT_READABLE: [3, 0x11, 0],
  NOT_WRITABLE: [3, 0x0c, 0],
  INVALID_COMMAND: [5, 0x20, 0],
  OUT_OF_RANGE: [5, 0x21, 0],
  INVALID_FIELD: [5, 0x24, 0],
  REMOVAL_PREVENTED: [5, 0x53, 2],
  MEDIUM_CHANGED: [6, 0x28, 0],
  CAPACITY_CHANGED: [6, 0x2a, 9],
  WRITE_PROTECTED: [7, 0x27, 0],
} as const satisfies Record<string, readonly [number, number, number]>;
export type SenseCode = readonly [key: number, code: number, qualifier: number];
