/**
 * The synthetic video device (synthvid), as in Linux's drivers/video/fbdev/hyperv_fb.c: pipe header {u32 1, u32 size},
 * then {u32 type, u32 size with this header, body}. The guest speaks first. It places the frame buffer itself, in the
 * bus's window of memory-mapped I/O, and says where.
 */
export const VIDEO_TYPE = 'da0a7802-e377-4aac-8e77-0558eb1073f8';
export const VIDEO_INSTANCE = '5620e0c7-8062-4dce-aeb7-520c7ef76171';

export const PIPE_DATA = 1;
export const PIPE_HEADER = 8;
export const MESSAGE_HEADER = 8;
/** Of the body, behind both headers. */
export const BODY = PIPE_HEADER + MESSAGE_HEADER;

export const VideoMessage = {
  /** Guest: {u32 version}. Host: {u32 version, u8 accepted, u8 outputs}. */
  VERSION_REQUEST: 1,
  VERSION_RESPONSE: 2,
  /** Guest: {u64 context, u8 given, u64 address}. Host: {u64 context}. */
  VRAM_LOCATION: 3,
  VRAM_LOCATION_ACK: 4,
  /** Guest: {u64 context, u8 outputs, {u8 active, u32 offset, u8 depth, u32 width, u32 height, u32 pitch}}. */
  SITUATION_UPDATE: 5,
  SITUATION_UPDATE_ACK: 6,
  POINTER_POSITION: 7,
  POINTER_SHAPE: 8,
  /** Host: {u8 dirt, u8 position, u8 shape, u8 situation}: what it wants to be told. */
  FEATURE_CHANGE: 9,
  /** Guest: {u8 output, u8 count, {i32 x1, y1, x2, y2}...}. */
  DIRT: 10,
  /** Guest: {u8 most}. Host: {EDID 128, u8 count, u8 default, u8 standard, {u16 width, u16 height}...}. */
  RESOLUTION_REQUEST: 13,
  RESOLUTION_RESPONSE: 14,
} as const;

/** 3.5 and 3.2: minor << 16 | major. */
export const VIDEO_VERSIONS: readonly number[] = [0x50003, 0x20003];
export const OUTPUTS = 1;

export const VramLocation = { CONTEXT: BODY, GIVEN: BODY + 8, ADDRESS: BODY + 9, SIZE: BODY + 17 } as const;
export const Situation = {
  CONTEXT: BODY,
  OUTPUTS: BODY + 8,
  ACTIVE: BODY + 9,
  OFFSET: BODY + 10,
  DEPTH: BODY + 14,
  WIDTH: BODY + 15,
  HEIGHT: BODY + 19,
  PITCH: BODY + 23,
  SIZE: BODY + 27,
} as const;

/** Of each rectangle in DIRT. */
export const DIRT_RECTANGLE = 16;

export const EDID_SIZE = 128;
/** Resolutions offered, the default first. Each fits the frame buffer at 32 bits. */
export const RESOLUTIONS: readonly (readonly [width: number, height: number])[] = [
  [1024, 768],
  [640, 480],
  [800, 600],
  [1280, 720],
  [1280, 1024],
  [1600, 900],
  [1920, 1080],
];
export const VRAM_MEGABYTES = 8;
