/** Saved states as files: written while a partition runs, put in RAM's place, refused when they are damaged. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { assembled, barePlan } from '../../tests/fixtures/bare.ts';
import type { PartitionDigest } from '../contracts/partition.ts';
import { nodeDiskFiles } from '../host/node/disk-files.ts';
import { nodeServices } from '../host/node/services.ts';
import { compileInterpreter } from '../hypervisor/interpreter/generate.ts';
import { createPartition } from './index.ts';
import { takeThreads } from './processor-threads.ts';
import { MEMORY_AT } from './state-file.ts';
import { VmWorker } from './worker.ts';

const MIB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Rewrites 8 MiB, a word with each step, for ever. */
// biome-ignore format: a listing
const WRITER = assembled([
  ['mov edi, 0x800000',    'bf 00 00 80 00'],
  ['mov ecx, 0x100000',    'b9 00 00 10 00'],
  ['again: inc rax',       '48 ff c0'],
  ['mov [rdi], rax',       '48 89 07'],
  ['add rdi, 8',           '48 83 c7 08'],
  ['dec ecx',              'ff c9'],
  ['jnz again',            '75 f2'],
  ['jmp from the start',   'eb e6'],
]);

async function writer(): Promise<VmWorker> {
  const worker = new VmWorker({
    config: { memory: 64 * MIB, processors: 1, virtualTime: false, testDevice: false, vmbus: false },
    plan: barePlan(WRITER),
    onReboot: 'stop',
    instructionLimit: undefined,
    trace: undefined,
    threads: takeThreads(1),
    interpreter: compileInterpreter(),
    translatorEntry: new URL('translator-thread.ts', import.meta.url),
    engine: 'translator',
    host: nodeServices,
    files: nodeDiskFiles,
  });
  await worker.prepare();
  worker.start();
  while (worker.stats().instructions < 10_000_000n) await new Promise((resolve) => setTimeout(resolve, 5));
  return worker;
}

async function digestOf(restore: string | Uint8Array, restoreUnread = false): Promise<PartitionDigest> {
  await using partition = await createPartition({ restore, restoreUnread });
  return await partition.digest();
}

describe('a state that is saved while the guest runs', () => {
  it('is that of the moment when it was taken, twice', async () => {
    await using worker = await writer();
    for (const name of ['first', 'second']) {
      const file = join(folder, name);
      const progress: number[] = [];
      const saving = worker.saveTo(file, { onProgress: (fraction) => progress.push(fraction) });
      expect(() => worker.saveTo(join(folder, 'other'))).toThrow('is being saved already');
      await saving.ready;
      const before = worker.stats().instructions;
      await new Promise((resolve) => setTimeout(resolve, 30));
      await worker.pause();
      expect(worker.stats().instructions).toBeGreaterThan(before);
      await saving.take();
      const digest = await worker.digest();
      worker.resume();
      const result = await saving.finish();
      expect(result.rounds).toBeGreaterThan(0);
      expect(result.putAside).toBeGreaterThan(0);
      expect(result.bytes).toBeGreaterThan(8 * MIB);
      expect(progress).toEqual(progress.toSorted((a, b) => a - b));
      // Zero pages take no room.
      const { size, blocks } = statSync(file);
      expect(size).toBeGreaterThan(64 * MIB);
      expect(blocks * 512).toBeLessThan(16 * MIB);
      expect(await digestOf(file)).toEqual(digest);
      expect(await digestOf(file, true)).toEqual(digest);
    }
    expect(readdirSync(folder).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  it('leaves nothing when it is cancelled, or has no room', async () => {
    await using worker = await writer();
    const file = join(folder, 'cancelled');
    const saving = worker.saveTo(file);
    const refused = expect(saving.ready).rejects.toThrow('cancelled');
    await saving.cancel();
    await refused;
    const nowhere = worker.saveTo(join(folder, 'no', 'where'));
    await expect(nowhere.ready).rejects.toMatchObject({ code: 'notFound' });
    const running = worker.saveTo(file);
    await expect(running.take()).rejects.toMatchObject({ code: 'wrongState' });
    await running.cancel();
    await expect(running.finish()).rejects.toMatchObject({ code: 'wrongState' });
    expect(readdirSync(folder).filter((name) => name.startsWith('cancelled'))).toEqual([]);
  });
});

describe('a file', () => {
  const fixture = new Uint8Array(
    zstdDecompressSync(readFileSync(new URL('../../tests/fixtures/state-v3.bin.zst', import.meta.url))),
  );
  const file = join(folder, 'file');

  function changed(change: (bytes: Uint8Array) => Uint8Array | undefined): string {
    const bytes = fixture.slice();
    writeFileSync(file, change(bytes) ?? bytes);
    return file;
  }
  function withByte(bytes: Uint8Array, at: number, byte: number): undefined {
    bytes[at] = byte;
  }
  /** The first page that is not zero. */
  const stored = MEMORY_AT + fixture.subarray(MEMORY_AT).findIndex((byte) => byte !== 0);

  const headerAt = MEMORY_AT + Number(new DataView(fixture.buffer).getBigUint64(24, true));
  /** The last page of RAM that is zero. */
  const empty = MEMORY_AT + 2 * MIB - 4096;

  it('of version 3 goes on where it was', async () => {
    for (const restore of [fixture, changed(() => undefined)]) {
      await using partition = await createPartition({ restore });
      let output = '';
      partition.console.onData((bytes) => {
        output += new TextDecoder('latin1').decode(bytes);
      });
      partition.start();
      expect(await partition.stopped).toEqual({ kind: 'exit', code: 43 });
      expect(output).toBe('counted\n');
    }
  });

  it('that is in use stays as it was, and its name may go', async () => {
    const path = changed(() => undefined);
    await using partition = await createPartition({ restore: path });
    partition.start();
    await partition.stopped;
    expect(new Uint8Array(readFileSync(path))).toEqual(fixture);
    await using other = await createPartition({ restore: path });
    rmSync(path);
    other.start();
    expect((await other.stopped).kind).toBe('exit');
    expect(existsSync(path)).toBe(false);
  });

  it.each<[string, (bytes: Uint8Array) => Uint8Array | undefined, RegExp]>([
    ['cut off', (bytes) => bytes.subarray(0, -1), /is truncated: \d+ bytes, its header says \d+/],
    ['cut in its prefix', (bytes) => bytes.subarray(0, 30), /is truncated: 30 bytes/],
    ['with more behind it', (bytes) => Uint8Array.from([...bytes, 0]), /is damaged: its length/],
    [
      'of a later version',
      (bytes) => withByte(bytes, 8, 4),
      /has version 4, and this build reads versions 1 to 3: use the build that wrote it/,
    ],
    ['with another length', (bytes) => withByte(bytes, 26, 9), /is damaged: its checksum/],
    ['with a byte of its header changed', (bytes) => void (bytes[headerAt + 5]! ^= 1), /is damaged: /],
    ['with a byte of its end changed', (bytes) => void (bytes[bytes.length - 1]! ^= 1), /is damaged: its boot image/],
    ['with a byte of memory changed', (bytes) => void (bytes[stored]! ^= 1), /is damaged: page \d+ of its memory/],
    [
      'with a page of memory gone',
      (bytes) => void bytes.fill(0, stored - (stored % 4096), stored - (stored % 4096) + 4096),
      /is damaged: page \d+ of its memory/,
    ],
    ['with something where nothing was', (bytes) => void (bytes[empty]! ^= 1), /is damaged: page 511 of its memory/],
  ])('%s is refused', async (_what, change, message) => {
    const path = changed(change);
    await expect(createPartition({ restore: path })).rejects.toMatchObject({
      code: 'badFile',
      message: expect.stringMatching(message),
    });
    await expect(createPartition({ restore: path })).rejects.toThrow(path);
  });
});
