/** Chains of disks, and who may be whose parent; formats that are said and not guessed. */
import { beforeEach, describe, expect, it } from 'vitest';
import { MemoryContent, MemoryFiles } from '../host/memory-files.ts';
import { nodeCodecs } from '../host/node/codecs.ts';
import { checkDisk } from './check.ts';
import { compactDisk } from './compact.ts';
import { expectSame, pattern, readAll } from './conformance.fixture.ts';
import { allocatedRanges, convertDisk, isZero, mergeIntoParent } from './copy.ts';
import { createDisk } from './create.ts';
import { diskInfo } from './info.ts';
import { openDisk } from './open.ts';
import { formatOfName, probeFormat } from './probe.ts';
import { qcow2File } from './qcow2/image.fixture.ts';

const MIB = 2 ** 20;
const SIZE = 6 * MIB;
let files: MemoryFiles;
let host: { files: MemoryFiles; codecs: typeof nodeCodecs };
beforeEach(() => {
  files = new MemoryFiles();
  host = { files, codecs: nodeCodecs };
});

function put(path: string, bytes: Uint8Array): void {
  const content = new MemoryContent();
  content.write(0, bytes);
  files.contents.set(path, content);
}

async function write(path: string, format: 'vhdx' | 'vhd' | 'raw', at: number, bytes: Uint8Array): Promise<void> {
  const disk = await openDisk(host, path, { format, write: true });
  await disk.write(at, bytes);
  await disk.close();
}

describe('a disk whose guest writes a header into it', () => {
  it('stays the raw disk that it was attached as', async () => {
    put('/host/secret', pattern(MIB, 1));
    await createDisk(host, '/vm/disk.raw', { format: 'raw', size: SIZE });
    // A qcow2 header with a backing file, as a guest could write it.
    const evil = qcow2File({ size: SIZE, clusters: new Map(), backing: { path: '/host/secret', format: 'raw' } });
    await write('/vm/disk.raw', 'raw', 0, evil.subarray(0, 4096));
    const disk = await openDisk(host, '/vm/disk.raw', { format: 'raw', write: true });
    expect(disk.size).toBe(SIZE);
    const bytes = new Uint8Array(4096);
    await disk.read(0, bytes);
    expectSame(bytes, evil.slice(0, 4096));
    await disk.close();
    // Told that it is qcow2, it is refused: the name of the secret is no permission to read it.
    await expect(openDisk(host, '/vm/disk.raw', { format: 'qcow2' })).rejects.toMatchObject({ code: 'denied' });
  });

  it('is seen for what it is by a probe, which nothing but info asks', async () => {
    const probe = async (bytes: Uint8Array): Promise<string> => {
      put('/probed', bytes);
      const file = await files.open('/probed');
      try {
        return await probeFormat(file);
      } finally {
        await file.close();
      }
    };
    expect(await probe(new Uint8Array(4096))).toBe('raw');
    expect(await probe(qcow2File({ size: SIZE, clusters: new Map() }))).toBe('qcow2');
    for (const format of ['vhdx', 'vhd'] as const) {
      await createDisk(host, `/a.${format}`, { format, size: SIZE });
      const file = await files.open(`/a.${format}`);
      expect(await probeFormat(file)).toBe(format);
      await file.close();
    }
    await createDisk(host, '/fixed', { format: 'vhd', type: 'fixed', size: MIB });
    expect((await diskInfo(host, '/fixed')).format).toBe('vhd');
    const iso = new Uint8Array(20 * 2048);
    iso.set(new TextEncoder().encode('\x01CD001'), 16 * 2048);
    expect(await probe(iso)).toBe('iso');
    await expect(probe(new TextEncoder().encode('KDMV followed by more'))).rejects.toMatchObject({
      trouble: 'unsupported',
    });
    expect(['a.VHDX', 'b.img', 'c.iso', 'd', 'e.qcow2', 'f.avhdx'].map(formatOfName)).toEqual([
      'vhdx',
      'raw',
      'iso',
      undefined,
      'qcow2',
      'vhdx',
    ]);
  });
});

describe('a parent', () => {
  it.each(['vhdx', 'vhd'] as const)('of a %s lies in its folder, below it, or is allowed by name', async (format) => {
    await createDisk(host, '/images/base', { format, size: SIZE });
    await write('/images/base', format, 0, pattern(4096, 1));
    await createDisk(host, '/images/below/base', { format, size: SIZE });
    await createDisk(host, '/images/child', { format, parent: '/images/base' });
    await createDisk(host, '/images/other', { format, parent: '/images/below/base' });
    await createDisk(host, '/machines/child', { format, parent: '/images/base' });
    for (const path of ['/images/child', '/images/other']) await (await openDisk(host, path, { format })).close();
    const far = '/machines/child';
    await expect(openDisk(host, far, { format })).rejects.toMatchObject({ code: 'denied', trouble: 'parent' });
    await expect(openDisk(host, far, { format, allowParent: ['/images/below/base'] })).rejects.toMatchObject({
      code: 'denied',
    });
    const disk = await openDisk(host, far, { format, allowParent: ['/images/base'] });
    const bytes = new Uint8Array(4096);
    await disk.read(0, bytes);
    expectSame(bytes, pattern(4096, 1).slice());
    await disk.close();
    expect((await checkDisk(host, far, format)).sound).toBe(false);
    expect((await checkDisk(host, far, format, { allowParent: ['/images/base'] })).findings).toEqual([]);
  });

  it.each(['vhdx', 'vhd'] as const)(
    'of a %s that is another now is noticed, and one that is missing',
    async (format) => {
      await createDisk(host, '/base', { format, size: SIZE });
      await createDisk(host, '/child', { format, parent: '/base' });
      if (format === 'vhdx') await write('/base', format, 0, pattern(512, 1));
      else await createDisk(host, '/base', { format, size: SIZE, replace: true });
      await expect(openDisk(host, '/child', { format })).rejects.toMatchObject({ trouble: 'parent' });
      await (await openDisk(host, '/child', { format, ignoreLinkage: true })).close();
      await files.remove('/base');
      await expect(openDisk(host, '/child', { format })).rejects.toMatchObject({ code: 'notFound' });
    },
  );

  it('is not the disk itself, and a chain has an end', async () => {
    await createDisk(host, '/a', { format: 'vhdx', size: SIZE });
    await createDisk(host, '/b', { format: 'vhdx', parent: '/a' });
    await files.rename('/b', '/a');
    await expect(openDisk(host, '/a', { format: 'vhdx', ignoreLinkage: true })).rejects.toMatchObject({
      trouble: 'parent',
    });
  });

  it('is locked against writers while a child is open', async () => {
    await createDisk(host, '/base', { format: 'vhdx', size: SIZE });
    await createDisk(host, '/child', { format: 'vhdx', parent: '/base' });
    const child = await openDisk(host, '/child', { format: 'vhdx', write: true });
    await expect(openDisk(host, '/base', { format: 'vhdx', write: true })).rejects.toMatchObject({ failure: 'busy' });
    await expect(openDisk(host, '/child', { format: 'vhdx', write: true })).rejects.toMatchObject({ failure: 'busy' });
    await child.close();
    await (await openDisk(host, '/base', { format: 'vhdx', write: true })).close();
  });
});

describe('merging', () => {
  it.each(['vhdx', 'vhd'] as const)('puts what a %s holds into its parent', async (format) => {
    await createDisk(host, '/base', { format, size: SIZE });
    await write('/base', format, 0, pattern(SIZE, 1));
    await createDisk(host, '/child', { format, parent: '/base', size: SIZE + MIB });
    const child = await openDisk(host, '/child', { format, write: true });
    await child.write(MIB - 512, pattern(2 * MIB, 2));
    await child.discard(4 * MIB, 2 * MIB);
    await child.write(SIZE + 4096, pattern(512, 3));
    const expected = await readAll(child);
    await child.close();
    const merging = await openDisk(host, '/child', { format, writeParent: true });
    await mergeIntoParent(merging);
    await merging.close();
    const base = await openDisk(host, '/base', { format });
    expectSame(await readAll(base), expected);
    await base.close();
    expect((await checkDisk(host, '/base', format)).findings).toEqual([]);
  });
});

describe('compacting', () => {
  it.each(['vhdx', 'vhd'] as const)('makes a %s as small as what it holds', async (format) => {
    await createDisk(host, '/disk', { format, size: 12 * MIB, blockSize: MIB });
    const disk = await openDisk(host, '/disk', { format, write: true });
    await disk.write(0, pattern(12 * MIB, 1));
    await disk.flush();
    // Zeroes that were written, and blocks that were given back.
    await disk.write(2 * MIB, new Uint8Array(5 * MIB));
    await disk.discard(8 * MIB, 2 * MIB);
    const expected = await readAll(disk);
    await disk.close();
    const before = files.contents.get('/disk')!.size;
    await compactDisk(host, '/disk', format);
    expect(before - files.contents.get('/disk')!.size).toBeGreaterThanOrEqual(7 * MIB);
    const again = await openDisk(host, '/disk', { format });
    expectSame(await readAll(again), expected);
    await again.close();
    expect((await checkDisk(host, '/disk', format)).findings).toEqual([]);
  });

  it('leaves a disk the parent that its children know', async () => {
    await createDisk(host, '/base', { format: 'vhdx', size: SIZE, blockSize: MIB });
    await write('/base', 'vhdx', 0, new Uint8Array(SIZE));
    await createDisk(host, '/child', { format: 'vhdx', parent: '/base' });
    await compactDisk(host, '/base', 'vhdx');
    await (await openDisk(host, '/child', { format: 'vhdx' })).close();
  });
});

describe('converting', () => {
  it('leaves no half-written file, and none of another', async () => {
    await createDisk(host, '/from.raw', { format: 'raw', size: SIZE });
    await write('/from.raw', 'raw', 0, pattern(SIZE, 1));
    const conversion = { from: { path: '/from.raw', format: 'raw' }, to: { path: '/to', format: 'vhdx' } } as const;
    const stop = (done: number): void => {
      if (done > 2 * MIB) throw new Error('stop');
    };
    await expect(convertDisk(host, conversion, stop)).rejects.toThrow('stop');
    expect([...files.contents.keys()]).toEqual(['/from.raw']);
    put('/to', new Uint8Array(7));
    await expect(convertDisk(host, conversion)).rejects.toMatchObject({ failure: 'exists' });
    expect(files.contents.get('/to')?.size).toBe(7);
    await convertDisk(host, { ...conversion, to: { ...conversion.to, replace: true } });
    const disk = await openDisk(host, '/to', { format: 'vhdx' });
    expectSame(await readAll(disk), pattern(SIZE, 1).slice());
    await disk.close();
  });

  it('keeps what is empty empty, through a chain', async () => {
    await createDisk(host, '/base', { format: 'vhdx', size: 64 * MIB, blockSize: MIB });
    await write('/base', 'vhdx', 8 * MIB, pattern(4096, 1));
    await createDisk(host, '/child', { format: 'vhdx', parent: '/base' });
    await write('/child', 'vhdx', 16 * MIB, pattern(4096, 2));
    const child = await openDisk(host, '/child', { format: 'vhdx' });
    const ranges: [number, number][] = [];
    for await (const range of allocatedRanges(child)) ranges.push([range.offset, range.length]);
    expect(ranges).toEqual([
      [8 * MIB, MIB],
      [16 * MIB, 4096],
    ]);
    await child.close();
    await convertDisk(host, { from: { path: '/child', format: 'vhdx' }, to: { path: '/flat', format: 'raw' } });
    expect(files.contents.get('/flat')!.pages.size).toBe(2);
  });
});

describe('check', () => {
  it('finds and mends a lost header, a lost region table and a lost footer', async () => {
    await createDisk(host, '/disk', { format: 'vhdx', size: SIZE, blockSize: MIB });
    await write('/disk', 'vhdx', 0, pattern(4096, 1));
    const content = files.contents.get('/disk')!;
    content.write(64 * 1024 + 20, Uint8Array.of(1, 2, 3));
    content.write(256 * 1024 + 20, Uint8Array.of(1, 2, 3));
    const report = await checkDisk(host, '/disk', 'vhdx');
    expect(report.findings.map(({ kind, repairable }) => [kind, repairable])).toEqual([
      ['error', true],
      ['error', true],
    ]);
    const mended = await checkDisk(host, '/disk', 'vhdx', { repair: true });
    expect(mended.findings.every((finding) => finding.repaired === true)).toBe(true);
    expect(mended.sound).toBe(true);
    expect((await checkDisk(host, '/disk', 'vhdx')).findings).toEqual([]);

    await createDisk(host, '/old', { format: 'vhd', size: SIZE });
    await write('/old', 'vhd', 0, pattern(4096, 1));
    const old = files.contents.get('/old')!;
    old.resize(old.size - 100);
    expect((await checkDisk(host, '/old', 'vhd')).sound).toBe(false);
    expect((await checkDisk(host, '/old', 'vhd', { repair: true })).sound).toBe(true);
    const disk = await openDisk(host, '/old', { format: 'vhd' });
    const bytes = new Uint8Array(4096);
    await disk.read(0, bytes);
    expectSame(bytes, pattern(4096, 1).slice());
    await disk.close();
  });

  it('finds blocks that lie over each other or outside the file, which nobody can mend', async () => {
    await createDisk(host, '/disk', { format: 'vhdx', size: SIZE, blockSize: MIB });
    await write('/disk', 'vhdx', 0, pattern(3 * MIB, 1));
    const content = files.contents.get('/disk')!;
    const bat = new BigUint64Array(3);
    content.read(3 * MIB, new Uint8Array(bat.buffer));
    bat[1] = bat[0]!;
    bat[2] = (bat[2]! & 0xfffffn) | (1000n << 20n);
    content.write(3 * MIB, new Uint8Array(bat.buffer));
    const report = await checkDisk(host, '/disk', 'vhdx', { repair: true });
    expect(report.sound).toBe(false);
    expect(report.findings.filter((finding) => finding.kind === 'error')).toHaveLength(2);
    await expect(openDisk(host, '/disk', { format: 'vhdx', write: true })).rejects.toMatchObject({
      trouble: 'corrupt',
    });
  });
});

describe('large disks', () => {
  it('of 64 TiB are made, written at both ends, grown and shrunk in bounded memory', async () => {
    await createDisk(host, '/disk', { format: 'vhdx', size: 2 ** 40, blockSize: 8 * MIB });
    const disk = await openDisk(host, '/disk', { format: 'vhdx', write: true });
    await disk.write(0, pattern(4096, 1));
    await disk.resize(64 * 2 ** 40);
    await disk.write(disk.size - 4096, pattern(4096, 2));
    await disk.close();
    expect((await checkDisk(host, '/disk', 'vhdx')).findings.filter((f) => f.kind === 'error')).toEqual([]);
    const again = await openDisk(host, '/disk', { format: 'vhdx', write: true });
    const bytes = new Uint8Array(4096);
    await again.read(again.size - 4096, bytes);
    expectSame(bytes, pattern(4096, 2).slice());
    await again.resize(2 ** 30);
    await again.resize(2 ** 41);
    await again.read(2 ** 41 - 4096, bytes);
    expect(isZero(bytes)).toBe(true);
    await again.read(0, bytes);
    expectSame(bytes, pattern(4096, 1).slice());
    await again.close();
  });
});
