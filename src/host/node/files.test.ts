import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readInput } from './files.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('readInput', () => {
  it('reads files and pipes whole', async () => {
    const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => i * 3);
    const [plain, pipe] = [join(folder, 'plain'), join(folder, 'pipe')];
    writeFileSync(plain, bytes);
    expect(Buffer.from(await readInput('kernel', plain)).equals(bytes)).toBe(true);
    spawnSync('mkfifo', [pipe]);
    const [got] = await Promise.all([readInput('kernel', pipe), writeFile(pipe, bytes)]);
    expect(Buffer.from(got).equals(bytes)).toBe(true);
    expect((await readInput('kernel', '/proc/self/status')).length).toBeGreaterThan(0);
  });

  it('refuses what is not a file, is empty or is too large', async () => {
    const [empty, huge] = [join(folder, 'empty'), join(folder, 'huge')];
    writeFileSync(empty, '');
    writeFileSync(huge, '');
    truncateSync(huge, 2 ** 32 + 1);
    for (const [path, problem] of [
      ['/dev/zero', 'is not a file'],
      [folder, 'is a folder, not a file'],
      [empty, 'the file is empty'],
      [huge, 'is larger than 4 GiB'],
    ] as const) {
      const message = `kernel ${path}: ${problem}`;
      await expect(readInput('kernel', path)).rejects.toMatchObject({ code: 'badFile', message });
    }
  });
});
