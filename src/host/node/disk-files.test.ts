import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fileFailureOf } from '../disk-files.ts';
import { MemoryFiles } from '../memory-files.ts';
import { nodeDiskFiles } from './disk-files.ts';
import { libc } from './libc.ts';

const MIB = 2 ** 20;
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each([
  ['files of the host', nodeDiskFiles],
  ['files in memory', new MemoryFiles()],
])('%s', (_, files) => {
  it('are read and written anywhere, by many at a time', async () => {
    const file = await files.open(join(folder, 'a'), { create: 'new' });
    await Promise.all(Array.from({ length: 50 }, (_, i) => file.write(i * 5000, new Uint8Array(5000).fill(i + 1))));
    expect(await file.size()).toBe(250_000);
    const shared = new Uint8Array(new SharedArrayBuffer(6000), 500, 5000);
    expect(await file.read(7 * 5000, shared)).toBe(5000);
    expect(shared.every((byte) => byte === 8)).toBe(true);
    expect(await file.read(249_000, new Uint8Array(5000))).toBe(1000);
    expect(await file.read(300_000, new Uint8Array(10))).toBe(0);
    await file.sync();
    await file.close();
    await expect(files.open(join(folder, 'a'), { create: 'new' })).rejects.toMatchObject({ failure: 'exists' });
  });

  it('are read and written at once where nothing has to be waited for', async () => {
    const file = await files.open(join(folder, 'now'), { create: 'replace' });
    await file.write(0, new Uint8Array(20_000).fill(1));
    const shared = new Uint8Array(new SharedArrayBuffer(20_000));
    const parts = [shared.subarray(100, 4100), shared.subarray(8000, 8512), shared.subarray(5000, 5001)];
    const atOnce = files !== nodeDiskFiles || libc() !== undefined;
    parts.forEach((part, i) => {
      part.fill(i + 5);
    });
    expect(file.writeNow!(300, parts, 4513)).toBe(atOnce);
    for (const part of parts) part.fill(0);
    // A file system may say that it does not know.
    if (file.readNow!(300, parts, 4513)) expect(parts.map((part) => part[0])).toEqual([5, 6, 7]);
    const bytes = new Uint8Array(20_000);
    await file.read(0, bytes);
    const wanted = new Uint8Array(20_000).fill(1);
    if (atOnce) wanted.fill(5, 300, 4300).fill(6, 4300, 4812).fill(7, 4812, 4813);
    expect(Buffer.compare(bytes, wanted)).toBe(0);
    // Memory that the garbage collector may move.
    if (files === nodeDiskFiles) expect(file.readNow!(0, [new Uint8Array(10)], 10)).toBe(false);
    // Not all of it is there.
    expect(file.readNow!(19_000, [shared.subarray(0, 2000)], 2000)).toBe(false);
    await file.close();
  });

  it('have holes, which read as zeroes', async () => {
    const file = await files.open(join(folder, 'b'), { create: 'replace' });
    await file.write(0, new Uint8Array(MIB).fill(7));
    await file.zero(4096 * 3, 4096 * 100, 'free');
    await file.zero(100, 50, 'keep');
    await file.resize(4 * MIB);
    await file.write(3 * MIB, new Uint8Array(4096).fill(9));
    const bytes = new Uint8Array(4 * MIB);
    await file.read(0, bytes);
    const expected = new Uint8Array(4 * MIB)
      .fill(7, 0, MIB)
      .fill(0, 4096 * 3, 4096 * 103)
      .fill(0, 100, 150);
    expected.fill(9, 3 * MIB, 3 * MIB + 4096);
    expect(Buffer.compare(bytes, expected)).toBe(0);
    // All that is not zero is in the data that is told of.
    for (let data = await file.nextData(0); data !== undefined; data = await file.nextData(data.offset + data.length))
      expected.fill(0, data.offset, data.offset + data.length);
    expect(expected.every((byte) => byte === 0)).toBe(true);
    if (files !== nodeDiskFiles || libc() !== undefined) expect(await file.nextData(3 * MIB + 2 ** 19)).toBeUndefined();
    await file.allocate(0, 5 * MIB);
    expect(await file.size()).toBe(5 * MIB);
    await file.resize(10);
    expect(await file.size()).toBe(10);
    await file.close();
  });

  it('have one writer or several readers', async () => {
    const path = join(folder, 'c');
    const writer = await files.open(path, { create: 'replace' });
    for (const write of [false, true])
      await expect(files.open(path, { write })).rejects.toMatchObject({ failure: 'busy' });
    await (await files.open(path, { lock: 'none' })).close();
    await writer.close();
    const readers = [await files.open(path), await files.open(path)];
    await expect(files.open(path, { write: true })).rejects.toMatchObject({ failure: 'busy' });
    for (const reader of readers) await reader.close();
    await (await files.open(path, { write: true })).close();
  });

  it('say why they cannot be had', async () => {
    await expect(files.open(join(folder, 'nowhere'))).rejects.toMatchObject({ failure: 'notFound', code: 'notFound' });
    await expect(files.realPath(join(folder, 'nowhere'))).rejects.toMatchObject({ failure: 'notFound' });
  });
});

describe('files of the host', () => {
  it('are files: no folder, no device, no pipe', async () => {
    for (const path of [folder, '/dev/zero']) {
      const error: unknown = await nodeDiskFiles.open(path).catch((reason: unknown) => reason);
      expect(fileFailureOf(error)).toBe('notAFile');
    }
  });

  it('give space back to the host', { skip: libc() === undefined }, async () => {
    const path = join(folder, 'space');
    const file = await nodeDiskFiles.open(path, { create: 'new' });
    await file.write(0, new Uint8Array(4 * MIB).fill(1));
    await file.sync();
    const before = statSync(path).blocks;
    await file.zero(0, 3 * MIB, 'free');
    await file.sync();
    expect(statSync(path).blocks).toBeLessThan(before / 2);
    await file.close();
  });

  it('are locked against other processes', { skip: libc() === undefined }, async () => {
    const path = join(folder, 'locked');
    const file = await nodeDiskFiles.open(path, { create: 'new' });
    const module = fileURLToPath(new URL('./disk-files.ts', import.meta.url));
    const script = `import { nodeDiskFiles as f } from ${JSON.stringify(module)};
      f.open(process.argv[1], { write: true }).then(() => console.log('open'), (e) => console.log(e.failure));`;
    const other = () => spawnSync(process.execPath, ['--input-type=module', '-e', script, path], { encoding: 'utf8' });
    expect(other().stdout).toBe('busy\n');
    await file.close();
    expect(other()).toMatchObject({ stdout: 'open\n', stderr: '' });
  });

  it('can be without a name, and leave nothing', async () => {
    const inner = join(folder, 'inner');
    mkdirSync(inner);
    const file = await nodeDiskFiles.temporary(join(inner, 'disk'));
    await file.write(MIB, new Uint8Array(10).fill(1));
    expect(readdirSync(inner)).toEqual([]);
    await file.close();
  });

  it('are found behind symbolic links', async () => {
    writeFileSync(join(folder, 'real'), '');
    symlinkSync(join(folder, 'real'), join(folder, 'link'));
    expect(await nodeDiskFiles.realPath(join(folder, 'link'))).toBe(await nodeDiskFiles.realPath(join(folder, 'real')));
    expect(nodeDiskFiles.relative('/a/b', '/a/c/d')).toBe('../c/d');
  });
});
