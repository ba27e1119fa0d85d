import { describe, expect, it } from 'vitest';
import { ConsoleKeys } from './console-keys.ts';

describe('ConsoleKeys', () => {
  it.each<[string, string, string[]]>([
    ['ls\r\x03\x04', 'ls\r\x03\x04', []],
    ['a\x1dqb', 'ab', ['leave']],
    ['\x1d\x1d', '\x1d', []],
    ['\x1di\x1d?', '', ['inspect', 'help']],
    ['\x1dsa\x1dp\x1dr', 'a', ['screenshot', 'pause', 'resume']],
    ['\x1dz', '', ['help']],
  ])('%j', (typed, guest, actions) => {
    const bytes = Uint8Array.from(typed, (letter) => letter.charCodeAt(0));
    const expected = { guest: Uint8Array.from(guest, (letter) => letter.charCodeAt(0)), actions };
    expect(new ConsoleKeys().feed(bytes)).toEqual(expected);

    // The same typed key by key.
    const keys = new ConsoleKeys();
    const parts = [...bytes].map((byte) => keys.feed(Uint8Array.of(byte)));
    expect(parts.flatMap((part) => [...part.guest])).toEqual([...expected.guest]);
    expect(parts.flatMap((part) => part.actions)).toEqual(actions);
  });
});
