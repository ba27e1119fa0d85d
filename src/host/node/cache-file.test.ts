import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { replaceCacheFile } from './cache-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'viridian-cache-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});

describe('files of the cache', () => {
  it('are whole, whoever writes at the same time', () => {
    // Threads of one process, all at once, each its own letter.
    const script = `
      import { isMainThread, Worker, workerData } from 'node:worker_threads';
      import { replaceCacheFile } from ${JSON.stringify(new URL('cache-file.ts', import.meta.url).href)};
      if (isMainThread) for (const letter of 'abcd') new Worker(new URL(import.meta.url), { workerData: letter });
      else for (let n = 0; n < 50; n++) replaceCacheFile(${JSON.stringify(join(folder, 'it'))}, [Buffer.alloc(100_000, workerData), Buffer.from(workerData)], 4);
    `;
    const file = join(folder, 'writers.mjs');
    writeFileSync(file, script);
    execFileSync(process.execPath, ['--no-warnings', file]);
    rmSync(file);
    expect(readdirSync(folder)).toEqual(['it']);
    const text = readFileSync(join(folder, 'it'), 'latin1');
    expect(text).toBe(text[0]!.repeat(100_001));
  });

  it('do not go because of what a process has left that was killed, and that goes after an hour', () => {
    const left = [1, 2, 3].map((n) => join(folder, `it.4711-0-${n}.new`));
    for (const path of left) writeFileSync(path, '');
    utimesSync(left[0]!, 1, 1);
    for (const name of ['a', 'b', 'c']) replaceCacheFile(join(folder, name), [Uint8Array.of(1)], 3);
    expect(readdirSync(folder).sort()).toEqual(['a', 'b', 'c', 'it.4711-0-2.new', 'it.4711-0-3.new']);
  });
});
