import { expect, it } from 'vitest';
import { formatSize, parseSize } from './sizes.ts';

it('reads sizes as people write them', () => {
  for (const [text, size] of [
    ['512', 512],
    ['1K', 1024],
    ['1.5G', 1.5 * 2 ** 30],
    ['2 TiB', 2 ** 41],
    ['64mb', 2 ** 26],
  ] as const)
    expect(parseSize('--size', text)).toBe(size);
  for (const text of ['', '0', '-1', '1X', 'G', '0.3', '1e9', '99999999T'])
    expect(() => parseSize('--size', text)).toThrow('--size must be a size');
});

it('writes them so that they can be read', () => {
  expect([0, 512, 1024, 1536, 2 ** 30, 1.5 * 2 ** 40].map(formatSize)).toEqual([
    '0 bytes',
    '512 bytes',
    '1 KiB',
    '1.50 KiB',
    '1 GiB',
    '1.50 TiB',
  ]);
});
