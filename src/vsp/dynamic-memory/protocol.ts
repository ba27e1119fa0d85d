/**
 * Dynamic memory, as in Linux's drivers/hv/hv_balloon.c: bare messages {u16 type, u16 size, u32 id, body}. The guest speaks
 * first. A range of pages is 40 bits of first page and 24 bits of count.
 */
export const DYNAMIC_MEMORY_TYPE = '525074dc-8985-46e2-8057-a307dc18a502';
export const DYNAMIC_MEMORY_INSTANCE = '1eccfd72-4b41-45ef-b73a-4a6e44c12924';

export const MemoryMessage = {
  /** Guest: {u32 version, u32 is it the last}. Host: {u64, bit 0: accepted}. */
  VERSION_REQUEST: 1,
  VERSION_RESPONSE: 2,
  /** Guest: {u64 capabilities, u64 least pages, u64 highest page}. Host: {u64, bit 0: accepted}. */
  CAPABILITIES_REPORT: 3,
  CAPABILITIES_RESPONSE: 4,
  /** Guest, every second: {u64 available, u64 committed, ...}, in pages. */
  STATUS_REPORT: 5,
  /** Host: {u32 pages, u32}. Guest, perhaps in parts: {u32, u32 count << 1 | more follow, ranges}. */
  BALLOON_REQUEST: 6,
  BALLOON_RESPONSE: 7,
  /** Host, perhaps in parts: {u32 bit 0: more follow, u32 count, ranges}. Guest, to the last of them: nothing. */
  UNBALLOON_REQUEST: 8,
  UNBALLOON_RESPONSE: 9,
  /** Host: {range}. Guest: {u32 pages that it has taken, u32 result}. */
  HOT_ADD_REQUEST: 10,
  HOT_ADD_RESPONSE: 11,
} as const;
export const HEADER = 8;

/** Those of Windows 10 and Windows 8: major << 16 | minor. */
export const VERSIONS: readonly number[] = [0x20000, 0x10000];
export const ACCEPTED = 1;

export const Request = { VALUE: HEADER, SIZE: HEADER + 8 } as const;
/** Bit 1: memory can be added; bits 5:2: what addresses and sizes are to be multiples of, as a power of two of MiB. */
export const Capabilities = { VALUE: HEADER, HOT_ADD: 2, ALIGNMENT_SHIFT: 2, ALIGNMENT_MASK: 15 } as const;
export const HotAddResponse = { PAGES: HEADER, SIZE: HEADER + 8 } as const;
export const StatusReport = { AVAILABLE: HEADER, COMMITTED: HEADER + 8, SIZE: HEADER + 40 } as const;
export const BalloonResponse = { COUNT: HEADER + 4, RANGES: HEADER + 8, SIZE: HEADER + 8 } as const;
export const RANGE_SIZE = 8;
/** Ranges in one request, well below what a guest's buffer of a page holds. */
export const RANGES_PER_REQUEST = 250;
