import { describe, expect, it } from 'vitest';
import { libc } from './libc.ts';
import { nodeServices } from './services.ts';

const MIB = 2 ** 20;

describe('memory given back to the host', () => {
  const memory = new WebAssembly.Memory({ initial: 128 * 16, maximum: 65536, shared: true });
  const buffer = memory.buffer as unknown as SharedArrayBuffer;
  const bytes = new Uint8Array(buffer);

  it.skipIf(libc() === undefined)('is gone from this process, and zeroes when it is read (needs node:ffi)', () => {
    bytes.fill(7, 0, 128 * MIB);
    const before = process.memoryUsage.rss();
    expect(nodeServices.discardMemory(buffer, 16 * MIB, 96 * MIB)).toBe(true);
    expect(before - process.memoryUsage.rss()).toBeGreaterThan(80 * MIB);
    expect([bytes[16 * MIB - 1], bytes[16 * MIB], bytes[112 * MIB - 1], bytes[112 * MIB]]).toEqual([7, 0, 0, 7]);
    bytes[20 * MIB] = 1;
    expect(bytes[20 * MIB]).toBe(1);
  });

  it('is whole pages within the buffer', () => {
    expect(nodeServices.discardMemory(buffer, 1, 4096)).toBe(false);
    if (libc() !== undefined) expect(() => nodeServices.discardMemory(buffer, 127 * MIB, 2 * MIB)).toThrow(RangeError);
  });
});
