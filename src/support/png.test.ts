import { inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { encodePng } from './png.ts';

describe('PNG', () => {
  it('has its chunks, and rows without filter', async () => {
    const rgb = Uint8Array.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 1, 2, 3]);
    const png = Buffer.from(await encodePng(2, 2, rgb));
    expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n');
    expect(png.subarray(12, 16).toString()).toBe('IHDR');
    expect([png.readUInt32BE(16), png.readUInt32BE(20), png[24], png[25]]).toEqual([2, 2, 8, 2]);
    // The CRC of an empty IEND, as every PNG has it.
    expect(png.subarray(-12).toString('hex')).toBe('0000000049454e44ae426082');
    const data = png.subarray(41, 41 + png.readUInt32BE(33));
    expect([...inflateSync(data)]).toEqual([0, 255, 0, 0, 0, 255, 0, 0, 0, 0, 255, 1, 2, 3]);
  });
  it('refuses what is no image', async () => {
    await expect(encodePng(2, 2, new Uint8Array(3))).rejects.toThrow(RangeError);
  });
});
