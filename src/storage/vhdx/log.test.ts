import { describe, expect, it } from 'vitest';
import { MemoryContent, MemoryFile } from '../../host/memory-files.ts';
import { encodeLogEntry, LogScan, LogWriter } from './log.ts';
import { LOG_SECTOR } from './protocol.ts';

const GUID = new Uint8Array(16).fill(3);
const page = (fill: number) => ({ offset: fill * LOG_SECTOR, bytes: new Uint8Array(LOG_SECTOR).fill(fill) });

function log(content: MemoryContent, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  content.read(0, bytes);
  return bytes;
}

describe('the log', () => {
  it('is found again at every turn of the ring, newest entry first', async () => {
    const content = new MemoryContent();
    const size = 9 * LOG_SECTOR;
    content.resize(size);
    const writer = new LogWriter(new MemoryFile('/log', content), 0, size, GUID);
    for (let n = 1; n <= 60; n++) {
      // One to three pages: entries lie across the ring's end in every way.
      const pages = Array.from({ length: 1 + (n % 3) }, (_, i) => page(n + i));
      await writer.append(pages, 0, 0);
      const sequence = new LogScan(log(content, size), GUID).activeSequence();
      expect(sequence?.map((entry) => entry.sequence)).toEqual([BigInt(n)]);
      expect(sequence?.[0]?.updates.map(({ offset, bytes }) => ({ offset, bytes }))).toEqual(pages);
    }
    expect(
      new LogScan(
        log(content, size),
        GUID.map((byte) => byte + 1),
      ).activeSequence(),
    ).toBeUndefined();
  });

  it('takes a sequence of several entries from its tail on, or not at all', () => {
    const size = 16 * LOG_SECTOR;
    const bytes = new Uint8Array(size);
    const put = (at: number, sequence: bigint, tail: number): void => {
      const fields = { tail: tail * LOG_SECTOR, sequence, flushedFileOffset: 0, lastFileOffset: 0 };
      bytes.set(encodeLogEntry(fields, GUID, [page(Number(sequence))]), at * LOG_SECTOR);
    };
    put(0, 4n, 0);
    put(2, 5n, 2);
    put(4, 6n, 2);
    put(6, 7n, 2);
    const scan = () => new LogScan(bytes.slice(), GUID).activeSequence()?.map((entry) => entry.sequence);
    expect(scan()).toEqual([5n, 6n, 7n]);
    // Torn: the newest does not count.
    bytes[7 * LOG_SECTOR + 100]! ^= 1;
    expect(scan()).toEqual([5n, 6n]);
    // Its tail is gone: neither does the one before, and an older whole sequence is what there is.
    bytes[3 * LOG_SECTOR + 100]! ^= 1;
    expect(scan()).toEqual([4n]);
    bytes[LOG_SECTOR + 100]! ^= 1;
    expect(scan()).toBeUndefined();
  });

  it('takes the newest of several sequences, wherever it lies', () => {
    for (const [older, newer] of [
      [0, 8],
      [8, 0],
    ] as const) {
      const bytes = new Uint8Array(16 * LOG_SECTOR);
      for (const [at, sequence] of [
        [older, 4n],
        [newer, 9n],
      ] as const) {
        const fields = { tail: at * LOG_SECTOR, sequence, flushedFileOffset: 0, lastFileOffset: 0 };
        bytes.set(encodeLogEntry(fields, GUID, [page(1)]), at * LOG_SECTOR);
      }
      expect(new LogScan(bytes, GUID).activeSequence()?.map((entry) => entry.sequence)).toEqual([9n]);
    }
  });

  it('takes bounded time over entries that claim the whole ring', () => {
    const bytes = new Uint8Array(2 ** 20);
    const entry = encodeLogEntry({ tail: 0, sequence: 1n, flushedFileOffset: 0, lastFileOffset: 0 }, GUID, []);
    new DataView(entry.buffer).setUint32(8, bytes.length, true);
    for (let at = 0; at < bytes.length; at += LOG_SECTOR) bytes.set(entry, at);
    const start = performance.now();
    expect(new LogScan(bytes, GUID).activeSequence()).toBeUndefined();
    expect(performance.now() - start).toBeLessThan(2000);
  });
});
