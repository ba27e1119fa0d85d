import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  fstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { partReader, translationCache, writeTranslations } from './translation-cache.ts';

const folder = mkdtempSync(join(tmpdir(), 'viridian-translations-'));
const kernel = new Uint8Array(1000).fill(7);
const index = Uint8Array.from({ length: 4096 }, (_, i) => i);
const parts = [Uint8Array.of(1, 2, 3), new Uint8Array(), new Uint8Array(70_000).fill(9)];

const opened: { close(): void }[] = [];
async function open(bytes = kernel, build = 'b1') {
  const cache = (await translationCache(bytes, { folder, build }))!;
  opened.push(cache);
  return cache;
}
async function write(bytes = kernel): Promise<string> {
  const { path } = await open(bytes);
  writeTranslations(path, index, parts);
  return path;
}

afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});
afterEach(() => {
  for (const cache of opened.splice(0)) cache.close();
});

describe('translations on disk', () => {
  it('come back, the index in memory that threads share, for nobody else to read', async () => {
    const path = await write();
    const { stored } = await open();
    expect([...stored!.index]).toEqual([...index]);
    expect(stored!.index.buffer).toBeInstanceOf(SharedArrayBuffer);
    // As another thread gets it.
    const read = partReader(structuredClone(stored!));
    expect([read(0, 3), read(3, 70_000)]).toEqual([parts[0], parts[2]]);
    expect([read(1, 2), read(0, 4), read(80_000, 3)]).toEqual([undefined, undefined, undefined]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('can be had as they are now, written meanwhile', async () => {
    const cache = await open();
    expect(cache.stored).toBeUndefined();
    cache.reopen();
    expect(cache.stored).toBeUndefined();
    await write();
    cache.reopen();
    const { fd } = cache.stored!;
    writeTranslations(cache.path, index.subarray(0, 8), parts);
    expect(cache.stored!.index.length).toBe(4096);
    cache.reopen();
    expect(cache.stored!.index.length).toBe(8);
    cache.close();
    expect(cache.stored).toBeUndefined();
    expect(() => fstatSync(fd)).toThrow('EBADF');
  });

  it('are of one build and one kernel', async () => {
    await write();
    expect((await open(kernel, 'b2')).stored).toBeUndefined();
    expect((await open(new Uint8Array(1000))).stored).toBeUndefined();
    expect((await open(new Uint8Array(1001).fill(7))).stored).toBeUndefined();
    expect((await open()).stored).toBeDefined();
  });

  it.each([
    ['cut off', (whole: Buffer) => whole.subarray(0, 2000)],
    ['empty', () => Buffer.alloc(0)],
    [
      'of another length',
      (whole: Buffer) => Buffer.concat([whole.subarray(0, 4), Buffer.alloc(4, 0x7c), whole.subarray(8)]),
    ],
    [
      'changed',
      (whole: Buffer) => Buffer.concat([whole.subarray(0, 100), Buffer.of(whole[100]! ^ 1), whole.subarray(101)]),
    ],
  ])('are not there when the file is %s', async (_how, damage) => {
    const path = await write();
    writeFileSync(path, damage(readFileSync(path)));
    expect((await open()).stored).toBeUndefined();
  });

  it('lack the part that was changed or cut off', async () => {
    const path = await write();
    const whole = readFileSync(path);
    whole[whole.length - 70_003]! ^= 1;
    writeFileSync(path, whole.subarray(0, -1));
    const read = partReader((await open()).stored!);
    expect([read(0, 3), read(3, 70_000)]).toEqual([undefined, undefined]);
  });

  it.each([
    ['a link', (path: string) => renameSync(path, `${path}.x`) ?? symlinkSync(`${path}.x`, path)],
    ['writable for others', (path: string) => chmodSync(path, 0o622)],
    ['in a folder that others may write to', () => chmodSync(folder, 0o777)],
  ])('are not there when the file is %s', async (_what, change) => {
    const path = await write();
    change(path);
    expect((await open()).stored).toBeUndefined();
    chmodSync(folder, 0o700);
  });

  it('can be read on by who has opened them when others are written', async () => {
    await write();
    const read = partReader((await open()).stored!);
    writeTranslations((await open()).path, index.subarray(4), [new Uint8Array(5)]);
    expect(read(0, 3)).toEqual(parts[0]);
    expect((await open()).stored!.index.length).toBe(index.length - 4);
  });

  it('are of the last eight kernels', async () => {
    for (let n = 0; n < 10; n++) {
      const path = await write(new Uint8Array(n + 1));
      // One second after the other.
      utimesSync(path, n + 1, n + 1);
    }
    await write(new Uint8Array(20));
    expect(readdirSync(folder)).toHaveLength(8);
    expect((await open(new Uint8Array(20))).stored).toBeDefined();
    expect((await open(new Uint8Array(1))).stored).toBeUndefined();
  });

  it('are not there where a pipe or a huge file has their name', async () => {
    const path = await write();
    rmSync(path);
    execFileSync('mkfifo', [path]);
    expect((await open()).stored).toBeUndefined();
    rmSync(path);
    writeFileSync(path, '');
    truncateSync(path, 2 ** 33);
    expect((await open()).stored).toBeUndefined();
  });

  it('are no error where there is no room for a folder', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    expect(await translationCache(kernel, { folder: join(file, 'below'), build: 'b' })).toBeUndefined();
    writeTranslations(join(file, 'below', 'it'), index, parts);
    expect(readdirSync(folder)).toEqual(['file']);
  });
});
