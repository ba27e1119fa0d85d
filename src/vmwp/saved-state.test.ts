import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Partition, StopReason } from '../contracts/partition.ts';
import { crc32 } from '../support/codec/crc32.ts';
import { createPartition } from './index.ts';

/** Saved by version 1's first build: see tests/fixtures/make-state.ts. */
const fixture = new Uint8Array(readFileSync(new URL('../../tests/fixtures/state-v1.bin', import.meta.url)));

async function finish(restore: Uint8Array): Promise<{ output: string; reason: StopReason }> {
  await using partition = await createPartition({ restore });
  let output = '';
  partition.console.onData((bytes) => {
    output += new TextDecoder('latin1').decode(bytes);
  });
  partition.start();
  const reason = await partition.stopped;
  return { output, reason };
}

/** The fixture with some bytes changed; with `seal` under a checksum that matches. */
function changed(at: number, bytes: readonly number[], seal = false): Uint8Array {
  const copy = fixture.slice();
  copy.set(bytes, at);
  if (seal) new DataView(copy.buffer).setUint32(20, crc32(copy.subarray(24)), true);
  return copy;
}

describe('a saved state', () => {
  it('of version 1 goes on where it was: memory, general, x87 and SSE registers', async () => {
    expect(await finish(fixture)).toEqual({ output: 'counted\n', reason: { kind: 'exit', code: 43 } });
  });

  it('is the same after it was restored and saved again', async () => {
    const digests = [];
    let state = fixture;
    for (let round = 0; round < 2; round++) {
      await using partition: Partition = await createPartition({ restore: state });
      digests.push(await partition.digest());
      state = new Uint8Array(await partition.save());
    }
    expect(digests[1]).toEqual(digests[0]);
    expect(digests[0]!.instructions).toBe(700_000n);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['empty', fixture.subarray(0, 0), /is not one of Viridian/],
    ['of something else', changed(0, [0x7f]), /is not one of Viridian/],
    [
      'of another version',
      changed(8, [2]),
      /has version 2, and this build reads version 1: use the build that wrote it/,
    ],
    ['cut short', fixture.subarray(0, fixture.length - 1), /is truncated: \d+ bytes, its header says \d+/],
    ['cut in its header', fixture.subarray(0, 100), /is truncated/],
    ['with more behind it', Uint8Array.from([...fixture, 0]), /is damaged: its checksum/],
    ['with a byte changed', changed(fixture.length - 9, [fixture.at(-9)! ^ 4]), /is damaged: its checksum/],
    ['with damage under a matching checksum', changed(30, [0, 0, 0, 0], true), /is damaged/],
  ])('%s is refused', async (_what, bytes, message) => {
    await expect(createPartition({ restore: bytes })).rejects.toMatchObject({
      code: 'badFile',
      message: expect.stringMatching(message),
    });
  });

  it('is of a partition that stands still', async () => {
    await using partition = await createPartition({ restore: fixture });
    partition.start();
    await expect(partition.save()).rejects.toMatchObject({ code: 'wrongState' });
    await partition.stopped;
    await expect(partition.save()).rejects.toMatchObject({ code: 'wrongState' });
    await expect(partition.digest()).rejects.toMatchObject({ code: 'wrongState' });
  });
});
