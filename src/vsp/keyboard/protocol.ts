/**
 * The synthetic keyboard, as in Linux's drivers/input/serio/hyperv-keyboard.c: bare messages of u32 type and a body. The
 * guest speaks first. Keys are scan codes of set 1, as an AT keyboard's controller hands them over.
 */
export const KEYBOARD_TYPE = 'f912ad6d-2b17-48ea-bd65-f927a61c7684';
export const KEYBOARD_INSTANCE = 'd34b2567-b9b6-42b9-8778-0a4ec0b955bf';

export const KeyboardMessage = {
  /** Guest: {u32 version}. */
  PROTOCOL_REQUEST: 1,
  /** Host: {u32, bit 0: accepted}. */
  PROTOCOL_RESPONSE: 2,
  /** Host: {u16 code, u16, u32 info}. */
  EVENT: 3,
  /** Guest: {u16 lights, u16}. */
  LED_INDICATORS: 4,
} as const;
export const KEYBOARD_VERSION = 0x10000;
export const ACCEPTED = 1;
export const KeyInfo = { UNICODE: 1, BREAK: 2, E0: 4, E1: 8 } as const;
/** Lights. */
export const Led = { SCROLL_LOCK: 1, NUM_LOCK: 2, CAPS_LOCK: 4 } as const;
