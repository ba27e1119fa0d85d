import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type TarEntry, tarEnd, tarHeader, tarPadding } from '../../../support/tar.ts';
import { packFolder, unpackFolder } from './folders.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viridian-folders-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const none = () => ({ files: 0, bytes: 0 });
const silent = (): void => undefined;

type Made = Partial<TarEntry> & { readonly path: string; readonly kind: 'file' | 'folder' | 'symlink' | 'hardlink' };
async function* archive(...entries: readonly (Made & { readonly text?: string })[]): AsyncGenerator<Uint8Array> {
  for (const { text = '', ...entry } of entries) {
    const content = Buffer.from(text);
    yield await Promise.resolve(tarHeader({ mode: 0o644, modified: 5, size: content.length, ...entry }));
    yield content;
    yield tarPadding(content.length);
  }
  yield tarEnd();
}
function unpack(source: AsyncIterable<Uint8Array>, overwrite = false): Promise<void> {
  const to = join(folder, 'to');
  mkdirSync(to, { recursive: true });
  return unpackFolder(source, to, { overwrite, copied: none(), leftOut: silent });
}

describe('a folder', () => {
  it('is copied with permissions, times, links and empty folders', async () => {
    const from = join(folder, 'from');
    mkdirSync(join(from, 'sub/empty'), { recursive: true });
    writeFileSync(join(from, 'sub/file'), 'content');
    chmodSync(join(from, 'sub/file'), 0o4751);
    utimesSync(join(from, 'sub/file'), 1000, 2000);
    symlinkSync('../nowhere', join(from, 'link'));
    linkSync(join(from, 'sub/file'), join(from, 'same'));
    chmodSync(join(from, 'sub'), 0o500);
    const copied = none();
    await unpack(packFolder(from, copied, silent));
    chmodSync(join(from, 'sub'), 0o700);
    const to = join(folder, 'to');
    expect(copied).toEqual({ files: 3, bytes: 14 });
    expect(readdirSync(to).sort()).toEqual(['link', 'same', 'sub']);
    expect(readdirSync(join(to, 'sub')).sort()).toEqual(['empty', 'file']);
    expect(statSync(join(to, 'sub')).mode & 0o7777).toBe(0o500);
    const file = statSync(join(to, 'sub/file'));
    // It does not run with more rights than it was copied with.
    expect([file.mode & 0o7777, file.mtimeMs]).toEqual([0o751, 2_000_000]);
    expect(readlinkSync(join(to, 'link'))).toBe('../nowhere');
    chmodSync(join(to, 'sub'), 0o700);
  });

  it('replaces what is there only when told to', async () => {
    await unpack(archive({ path: './a', kind: 'file', text: 'one' }));
    await expect(unpack(archive({ path: './a', kind: 'file', text: 'two' }))).rejects.toMatchObject({
      code: 'wrongState',
    });
    expect(readFileSync(join(folder, 'to/a'), 'utf8')).toBe('one');
    await unpack(archive({ path: './a', kind: 'file', text: 'two' }), true);
    expect(readFileSync(join(folder, 'to/a'), 'utf8')).toBe('two');
  });

  const outside = { kind: 'file', text: 'bad' } as const;
  it.each([
    ['by a name that goes up', [{ path: 'a/../../out', ...outside }]],
    ['by a name from the root', [{ path: '/tmp/out', ...outside }]],
    ['by a link to a file outside', [{ path: 'a', kind: 'hardlink', target: '../out' }]],
    [
      'through a file in the place of a folder',
      [
        { path: 'a', ...outside },
        { path: 'a/b', ...outside },
      ],
    ],
  ] as const)('does not get out of its folder %s', async (_, entries) => {
    await expect(unpack(archive(...entries))).rejects.toThrow(/outside|is no folder/);
    expect(readdirSync(folder)).toEqual(['to']);
  });

  it('does not get out through a link of its own, or one that is there', async () => {
    mkdirSync(join(folder, 'out'));
    const link = { path: 'a', kind: 'symlink', target: '../out' } as const;
    await expect(unpack(archive(link, { path: 'a/b', ...outside }))).rejects.toThrow();
    symlinkSync('../out', join(folder, 'to/c'));
    await expect(unpack(archive({ path: 'c/b', ...outside }))).rejects.toThrow(/is no folder/);
    symlinkSync('../out/d', join(folder, 'to/d'));
    await unpack(archive({ path: 'd', ...outside }), true);
    expect(existsSync(join(folder, 'out/d'))).toBe(false);
    expect(readdirSync(join(folder, 'out'))).toEqual([]);
  });
});
