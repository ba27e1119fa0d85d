import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
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

type Header = Record<string, unknown>;

/** The fixture with another header, in order and under a checksum that matches. */
function forged(change: (header: Header) => unknown): Uint8Array {
  const bodyAt = 24 + new DataView(fixture.buffer, fixture.byteOffset).getUint32(12, true);
  const header = JSON.parse(new TextDecoder().decode(zstdDecompressSync(fixture.subarray(24, bodyAt)))) as Header;
  const text = zstdCompressSync(new TextEncoder().encode(JSON.stringify(change(header))));
  const out = Uint8Array.from([...fixture.subarray(0, 24), ...text, ...fixture.subarray(bodyAt)]);
  const view = new DataView(out.buffer);
  view.setUint32(12, text.length, true);
  view.setUint32(20, crc32(out.subarray(24)), true);
  return out;
}

describe('a saved state', () => {
  it('of version 1 goes on where it was: memory, general, x87 and SSE registers', async () => {
    expect(await finish(fixture)).toEqual({ output: 'counted\n', reason: { kind: 'exit', code: 43 } });
  });

  it('of version 2 goes on where it was', async () => {
    const second = new Uint8Array(readFileSync(new URL('../../tests/fixtures/state-v2.bin', import.meta.url)));
    expect(await finish(second)).toEqual({ output: 'counted\n', reason: { kind: 'exit', code: 43 } });
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
      changed(8, [4]),
      /has version 4, and this build reads versions 1 to 3: use the build that wrote it/,
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

  it('with a header as it was is taken', async () => {
    await using partition = await createPartition({ restore: forged((header) => header) });
    expect((await partition.digest()).instructions).toBe(700_000n);
  });

  it.each<[string, (header: Header) => unknown, string]>([
    ['a header of null', () => null, 'header'],
    ['a header that is a list', () => [], 'header'],
    ['an empty header', () => ({}), 'configuration'],
    ['no time', (header) => ({ ...header, time: 5 }), 'time'],
    ['a struct of null', (header) => ({ ...header, structs: { a: null } }), 'platform state'],
    ['a struct without fields', (header) => ({ ...header, structs: { a: {} } }), 'platform state'],
    ['no plan', (header) => ({ ...header, plan: undefined }), 'boot plan'],
    ['an empty plan', (header) => ({ ...header, plan: {} }), 'boot plan'],
    ['an empty entry', (header) => ({ ...header, plan: { entry: {} } }), 'rip'],
    ['no pages', (header) => ({ ...header, pages: null }), 'list of pages'],
    ['a page that is text', (header) => ({ ...header, pages: ['0'] }), 'list of pages'],
    ['a page twice', (header) => ({ ...header, pages: [4096, 4096] }), 'list of pages'],
    ['a page outside memory', (header) => ({ ...header, pages: [2 ** 40] }), 'list of pages'],
    ['a segment of null', (header) => ({ ...header, segments: [null] }), 'boot image'],
  ])('with %s is refused', async (_what, change, part) => {
    await expect(createPartition({ restore: forged(change) })).rejects.toMatchObject({
      code: 'badFile',
      message: `the saved state is damaged: its ${part} makes no sense`,
    });
  });

  it('is named where it is a file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
    try {
      const path = join(folder, 'state');
      writeFileSync(path, changed(30, [0, 0, 0, 0], true));
      await expect(createPartition({ restore: path })).rejects.toMatchObject({
        code: 'badFile',
        message: `${path}: the saved state is damaged: its header cannot be read`,
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
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
