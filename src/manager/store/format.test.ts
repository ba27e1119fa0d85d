import { describe, expect, it } from 'vitest';
import { bytes, duration, parseSize, plainText } from './format.ts';

it.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1536, '1.5 KiB'],
  [512 * 2 ** 20, '512 MiB'],
  [2 ** 31, '2 GiB'],
  [-1, '0 B'],
])('%i bytes are %s', (count, text) => expect(bytes(count)).toBe(text));

it.each([
  [0, '0 s'],
  [59.9, '59 s'],
  [3600, '1 h'],
  [3725, '1 h 2 min'],
  [90_061, '1 d 1 h'],
])('%d seconds are %s', (seconds, text) => expect(duration(seconds)).toBe(text));

it.each<[string, number | undefined]>([
  ['512', 512 * 2 ** 20],
  ['512M', 512 * 2 ** 20],
  ['2 GiB', 2 ** 31],
  ['1.5g', 1.5 * 2 ** 30],
  ['many', undefined],
  ['', undefined],
])('the size %s', (text, size) => expect(parseSize(text)).toBe(size));

describe("a guest's text", () => {
  it.each([
    ['\u001b[31mred\u001b[0m', 'red'],
    ['\u001b]0;title\u0007after', 'after'],
    ['one\r\ntwo', 'one\ntwo'],
    ['a\u0000b\u0008c\u009bd', 'abcd'],
    // Marks that turn the direction of what is around them.
    ['x\u202egnp.exe\u202c', 'xgnp.exe'],
    ['<img src=x onerror=alert(1)>', '<img src=x onerror=alert(1)>'],
  ])('%j is shown as %j', (text, shown) => expect(plainText(text)).toBe(shown));
});
