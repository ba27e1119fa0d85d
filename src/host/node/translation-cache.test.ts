import { execFileSync } from 'node:child_process';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { translationCache } from './translation-cache.ts';

const folder = mkdtempSync(join(tmpdir(), 'viridian-translations-'));
const kernel = new Uint8Array(1000).fill(7);
const cacheOf = async (bytes = kernel, build = 'b1') => (await translationCache(bytes, { folder, build }))!;

afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});

describe('translations on disk', () => {
  const bytes = Uint8Array.from({ length: 4096 }, (_, i) => i);

  it('come back, in memory that threads share, for nobody else to read', async () => {
    await (await cacheOf()).write(bytes);
    const read = await (await cacheOf()).read();
    expect([...(read ?? [])]).toEqual([...bytes]);
    expect(read?.buffer).toBeInstanceOf(SharedArrayBuffer);
    const [name] = readdirSync(folder);
    expect(statSync(join(folder, name!)).mode & 0o777).toBe(0o600);
  });

  it('are of one build and one kernel', async () => {
    await (await cacheOf()).write(bytes);
    expect(await (await cacheOf(kernel, 'b2')).read()).toBeUndefined();
    expect(await (await cacheOf(new Uint8Array(1000))).read()).toBeUndefined();
    expect(await (await cacheOf(new Uint8Array(1001).fill(7))).read()).toBeUndefined();
  });

  it.each([
    ['cut off', (whole: Buffer) => whole.subarray(0, -100)],
    ['empty', () => Buffer.alloc(0)],
    ['changed', (whole: Buffer) => Buffer.concat([Buffer.of(whole[0]! ^ 1), whole.subarray(1)])],
  ])('are not there when the file is %s', async (_how, damage) => {
    await (await cacheOf()).write(bytes);
    const path = join(folder, readdirSync(folder)[0]!);
    writeFileSync(path, damage(readFileSync(path)));
    expect(await (await cacheOf()).read()).toBeUndefined();
  });

  it('are of the last eight kernels', async () => {
    for (let n = 0; n < 10; n++) {
      await (await cacheOf(new Uint8Array(n + 1))).write(bytes);
      // One second after the other.
      for (const name of readdirSync(folder).filter((each) => each.endsWith(`-${(n + 1).toString(16)}`)))
        utimesSync(join(folder, name), n + 1, n + 1);
    }
    await (await cacheOf(new Uint8Array(20))).write(bytes);
    expect(readdirSync(folder)).toHaveLength(8);
    expect(await (await cacheOf(new Uint8Array(20))).read()).toBeDefined();
    expect(await (await cacheOf(new Uint8Array(1))).read()).toBeUndefined();
  });

  it('are not there where a pipe or a huge file has their name', async () => {
    await (await cacheOf()).write(bytes);
    const path = join(folder, readdirSync(folder)[0]!);
    rmSync(path);
    execFileSync('mkfifo', [path]);
    expect(await (await cacheOf()).read()).toBeUndefined();
    rmSync(path);
    writeFileSync(path, '');
    truncateSync(path, 2 ** 33);
    expect(await (await cacheOf()).read()).toBeUndefined();
  });

  it('are no error where there is no room for a folder', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    expect(await translationCache(kernel, { folder: join(file, 'below'), build: 'b' })).toBeUndefined();
  });
});
