/**
 * The synthetic mouse, as in Linux's drivers/hid/hid-hyperv.c: pipe header {u32 1, u32 size}, then {u32 type, u32 size,
 * body}. After the version the host describes the device as USB HID does (HID 1.11); its reports are absolute positions.
 */
export const MOUSE_TYPE = 'cfa8b69e-5b4a-4cc0-b98b-8ba1a1f3f95a';
export const MOUSE_INSTANCE = '58f75a6d-d949-4320-99e1-a2a2576d581c';

export const PIPE_DATA = 1;
export const PIPE_HEADER = 8;
export const MESSAGE_HEADER = 8;
export const MouseMessage = {
  /** Guest: {u32 version}. */
  PROTOCOL_REQUEST: 0,
  /** Host: {u32 version, u8 approved}. */
  PROTOCOL_RESPONSE: 1,
  /** Host: {information, HID descriptor, report descriptor}. */
  INITIAL_DEVICE_INFO: 2,
  /** Guest. */
  INITIAL_DEVICE_INFO_ACK: 3,
  /** Host: a report. */
  INPUT_REPORT: 4,
} as const;
export const MOUSE_VERSION = 0x20000;
export const RESPONSE_SIZE = 5;

/** {u32 size, u16 vendor, u16 product, u16 version, 22 bytes}. */
export const DEVICE_INFO = { SIZE: 32, VENDOR: 0x045e, PRODUCT: 0x0621, VERSION: 1 } as const;
/** HID 1.11, section 6.2.1, and the types of both descriptors. */
export const HID_DESCRIPTOR_SIZE = 9;
export const HID = { DESCRIPTOR: 0x21, REPORT: 0x22, VERSION: 0x0111 } as const;

/** Five buttons, X and Y from 0 to 32767, a wheel: {u8 buttons, u16 x, u16 y, i8 wheel}. */
export const REPORT_DESCRIPTOR = Uint8Array.from([
  0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, 0x05, 0x09, 0x19, 0x01, 0x29, 0x05, 0x15, 0x00, 0x25,
  0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x03, 0x81, 0x03, 0x05, 0x01, 0x09, 0x30, 0x09, 0x31,
  0x15, 0x00, 0x26, 0xff, 0x7f, 0x75, 0x10, 0x95, 0x02, 0x81, 0x02, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x75, 0x08,
  0x95, 0x01, 0x81, 0x06, 0xc0, 0xc0,
]);
export const REPORT_SIZE = 6;
export const LARGEST_POSITION = 32767;
export const BUTTONS = 5;
