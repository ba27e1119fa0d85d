import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { findCommand } from '../host/node/command.ts';
import { readTar, type TarEntry, tarEnd, tarHeader, tarPadding } from './tar.ts';

const folder = mkdtempSync(join(tmpdir(), 'viridian-tar-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const tar = findCommand('tar');
const reason = tar === undefined ? ': skipped, there is no tar' : '';
const LONG = `${'folder-of-a-long-name/'.repeat(10)}ä file`;

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}
async function read(bytes: Uint8Array, size = 700): Promise<{ entry: TarEntry; text: string }[]> {
  const all: { entry: TarEntry; text: string }[] = [];
  for await (const { entry, content } of readTar(pieces(bytes, size))) {
    const parts: Uint8Array[] = [];
    for await (const part of content) parts.push(part);
    all.push({ entry, text: Buffer.concat(parts).toString() });
  }
  return all;
}

describe('a tar archive', () => {
  it('comes back as it was written, in pieces of any size', async () => {
    const content = Buffer.from('x'.repeat(1000));
    const common = { mode: 0o640, modified: 1_700_000_000, size: 0 };
    const bytes = Buffer.concat([
      tarHeader({ ...common, path: 'a/', kind: 'folder', mode: 0o755 }),
      tarHeader({ ...common, path: LONG, kind: 'file', size: content.length }),
      content,
      tarPadding(content.length),
      tarHeader({ ...common, path: 'l', kind: 'symlink', target: LONG }),
      tarEnd(),
    ]);
    for (const size of [1, 512, 5000]) {
      const found = await read(bytes, size);
      expect(found.map(({ entry: { path, kind, mode, target } }) => [path, kind, mode, target])).toEqual([
        ['a/', 'folder', 0o755, undefined],
        [LONG, 'file', 0o640, undefined],
        ['l', 'symlink', 0o640, LONG],
      ]);
      expect(found[1]).toMatchObject({ text: content.toString(), entry: { modified: 1_700_000_000 } });
    }
  });

  it.skipIf(tar === undefined)(`is one to GNU tar, and its archives are read${reason}`, async () => {
    const size = 12_345;
    const ours = Buffer.concat([
      tarHeader({ path: LONG, kind: 'file', mode: 0o600, modified: 1, size }),
      Buffer.alloc(size, 'y'),
      tarPadding(size),
      tarHeader({ path: 'link', kind: 'symlink', mode: 0o777, modified: 1, size: 0, target: '../elsewhere' }),
      tarEnd(),
    ]);
    const extracted = spawnSync('tar', ['-x', '-C', folder], { input: ours, encoding: 'utf8' });
    expect([extracted.status, extracted.stderr]).toEqual([0, '']);
    for (const format of ['gnu', 'pax', 'ustar']) {
      const made = spawnSync('tar', ['-c', `--format=${format}`, '-C', folder, '.']);
      const found = await read(made.stdout);
      expect(found.find(({ entry }) => entry.path === `./${LONG}`)).toMatchObject({
        entry: { kind: 'file', mode: 0o600, modified: 1, size },
        text: 'y'.repeat(size),
      });
      expect(found.find(({ entry }) => entry.path === './link')?.entry).toMatchObject({ target: '../elsewhere' });
    }
  });

  it.each([
    ['nothing of the kind', Buffer.alloc(1024, 'a'), 'no tar archive'],
    ['one without an end', tarHeader({ path: 'a', kind: 'file', mode: 0, modified: 0, size: 9 }), 'ends too early'],
    ['nothing', Buffer.alloc(0), 'ends too early'],
  ])('is refused when it is %s', async (_, bytes, message) => {
    await expect(read(bytes)).rejects.toThrow(message);
  });
});
