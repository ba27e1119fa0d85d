/**
 * Scan codes of set 1 by the names that the W3C gives keys (UI Events KeyboardEvent code Values); 0xE0xx have the prefix
 * E0. And how a text is typed on a US keyboard.
 */

function row(first: number, names: string): [string, number][] {
  return names.split(' ').map((name, i) => [name, first + i]);
}

export const SCAN_CODES: ReadonlyMap<string, number> = new Map<string, number>([
  ['Escape', 0x01],
  ...row(0x02, 'Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal Backspace Tab'),
  ...row(0x10, 'KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight Enter ControlLeft'),
  ...row(0x1e, 'KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backquote ShiftLeft Backslash'),
  ...row(
    0x2c,
    'KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash ShiftRight NumpadMultiply AltLeft Space CapsLock',
  ),
  ...row(0x3b, 'F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NumLock ScrollLock'),
  ...row(
    0x47,
    'Numpad7 Numpad8 Numpad9 NumpadSubtract Numpad4 Numpad5 Numpad6 NumpadAdd Numpad1 Numpad2 Numpad3 Numpad0',
  ),
  ['NumpadDecimal', 0x53],
  ['IntlBackslash', 0x56],
  ['F11', 0x57],
  ['F12', 0x58],
  ['NumpadEnter', 0xe01c],
  ['ControlRight', 0xe01d],
  ['NumpadDivide', 0xe035],
  ['PrintScreen', 0xe037],
  ['AltRight', 0xe038],
  ['Home', 0xe047],
  ['ArrowUp', 0xe048],
  ['PageUp', 0xe049],
  ['ArrowLeft', 0xe04b],
  ['ArrowRight', 0xe04d],
  ['End', 0xe04f],
  ['ArrowDown', 0xe050],
  ['PageDown', 0xe051],
  ['Insert', 0xe052],
  ['Delete', 0xe053],
  ['MetaLeft', 0xe05b],
  ['MetaRight', 0xe05c],
  ['ContextMenu', 0xe05d],
]);

/** Characters of the keys without and with Shift, in the order of the names. */
const TYPED: readonly (readonly [names: string, plain: string, shifted: string])[] = [
  ['Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal', '1234567890-=', '!@#$%^&*()_+'],
  ['BracketLeft BracketRight Semicolon Quote Backquote Backslash Comma Period Slash', "[];'`\\,./", '{}:"~|<>?'],
  ['Space Tab Enter', ' \t\n', ''],
  ['Escape Backspace', '\x1b\b', ''],
];

export interface Stroke {
  readonly code: string;
  readonly shift: boolean;
}

function strokes(): Map<string, Stroke> {
  const map = new Map<string, Stroke>();
  for (const letter of 'abcdefghijklmnopqrstuvwxyz') {
    const code = `Key${letter.toUpperCase()}`;
    map.set(letter, { code, shift: false });
    map.set(letter.toUpperCase(), { code, shift: true });
  }
  for (const [names, plain, shifted] of TYPED)
    names.split(' ').forEach((code, i) => {
      map.set(plain.charAt(i), { code, shift: false });
      if (i < shifted.length) map.set(shifted.charAt(i), { code, shift: true });
    });
  return map;
}

/** By character; others cannot be typed on this keyboard. */
export const STROKES: ReadonlyMap<string, Stroke> = strokes();
