import { zstdCompressSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { zstdFrameLength } from './zstd-frame.ts';

it('finds the end of frames of every size', () => {
  for (const length of [0, 1, 100, 70_000, 400_000]) {
    for (const fill of [(i: number) => i * i * 31, () => 5]) {
      const frame = zstdCompressSync(Uint8Array.from({ length }, (_, i) => fill(i) >> 3));
      expect(zstdFrameLength(Buffer.concat([Buffer.alloc(3), frame, frame]), 3)).toBe(frame.length);
      for (const cut of [0, 4, 6, frame.length - 1]) expect(() => zstdFrameLength(frame.subarray(0, cut))).toThrow();
    }
  }
});
