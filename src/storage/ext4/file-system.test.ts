import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findCommand } from '../../host/node/command.ts';
import { Ext4 } from './file-system.ts';
import { Bench, deviceOf, pattern, sha256, withoutTools } from './image.fixture.ts';

const MIB = 2 ** 20;
const NAME = 'disk';

async function open(bytes: Uint8Array, sector = 512, offset = 0): Promise<Ext4> {
  const device = deviceOf(bytes, sector);
  const system = await Ext4.open({ device, offset, size: device.size - offset, name: NAME });
  if (system === undefined) throw new Error('no ext4');
  return system;
}

describe.skipIf(withoutTools !== undefined)(`ext4${withoutTools ? `: skipped, ${withoutTools}` : ''}`, () => {
  const names = Array.from({ length: 3000 }, (_, i) => `a-file-with-a-rather-long-name-${i}`);
  const large = pattern(5 * MIB + 123);

  /** The same tree in each variety of file system. */
  function tree(): Bench {
    const bench = new Bench();
    bench.file('boot/large', large);
    bench.file('empty', '');
    bench.file('short', 'forty bytes or so, to lie in the inode');
    bench.file('longer', 'x'.repeat(100));
    bench.link('link', 'boot/large');
    bench.link('absolute', '/boot/large');
    bench.link('up', 'boot/../boot/../../boot/large');
    bench.link('far', `${'boot/../'.repeat(12)}boot/large`);
    bench.link('loop', 'loop');
    bench.link('one', 'two');
    bench.link('two', '/one');
    bench.link('nowhere', '/not/there');
    for (const name of names.slice(0, 400)) bench.file(`many/${name}`, name);
    return bench;
  }

  it.each<[string, readonly string[], number]>([
    ['ext4, as Debian makes it', ['-t', 'ext4'], 512],
    ['ext4 with sectors of 4096 bytes', ['-t', 'ext4'], 4096],
    ['ext4 with blocks of 1 KiB', ['-t', 'ext4', '-b', '1024'], 512],
    ['ext4 with blocks of 1 KiB and sectors of 4096 bytes', ['-t', 'ext4', '-b', '1024'], 4096],
    ['ext4 without 64 bits and checksums', ['-t', 'ext4', '-O', '^64bit,^metadata_csum'], 512],
    ['ext4 with data in inodes', ['-t', 'ext4', '-O', 'inline_data', '-I', '512'], 512],
    ['ext4 with meta block groups', ['-t', 'ext4', '-b', '1024', '-O', 'meta_bg,^resize_inode', '-g', '1024'], 512],
    ['ext4 with a seed of its own for checksums', ['-t', 'ext4', '-O', 'metadata_csum_seed'], 512],
    ['ext4 with clusters', ['-t', 'ext4', '-O', 'bigalloc', '-C', '16384'], 512],
    ['ext3', ['-t', 'ext3', '-b', '1024'], 512],
    ['ext2', ['-t', 'ext2', '-b', '1024'], 512],
  ])('is read as it was written: %s', async (_, args, sector) => {
    using bench = tree();
    bench.make('48M', ...args, '-L', 'a-label');
    const system = await open(bench.bytes(), sector);
    const status = execFileSync(findCommand('debugfs')!, ['-R', 'stats', bench.image], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    expect(system.uuid).toBe(/UUID:\s+(\S+)/.exec(status)![1]);
    expect(system.label).toBe('a-label');
    expect(system.unclean).toBe(false);
    for (const path of ['/boot/large', 'link', '/absolute', '/up', '/far', 'boot/../link']) {
      expect(await system.status(path), path).toMatchObject({ path: '/boot/large', kind: 'file', size: large.length });
      expect(sha256(await system.readFile(path, 8 * MIB)), path).toBe(sha256(large));
    }
    for (const path of ['empty', 'short', 'longer', `many/${names[399]}`])
      expect(Buffer.from(await system.readFile(path, 1000)), path).toEqual(readFileSync(join(bench.tree, path)));
    expect((await system.list('/many')).sort()).toEqual(names.slice(0, 400).sort());
    for (const path of ['/loop', '/one', '/nowhere', '/none', '/empty/none', '/many/none'])
      expect(await system.status(path), path).toBeUndefined();
    expect(await system.list('/none')).toEqual([]);
    await expect(system.readFile('/none', 10)).rejects.toMatchObject({ code: 'notFound' });
    await expect(system.readFile('/boot', 10)).rejects.toThrow('disk: /boot: not a file');
    await expect(system.readFile('/boot/large', MIB)).rejects.toThrow('/boot/large has 5243003 bytes, more than');
  });

  it('has holes as zeroes, and what was reserved but never written', async () => {
    using bench = new Bench();
    bench.file('first', 'x');
    bench.make('16M', '-t', 'ext4');
    const holes = new Uint8Array(3 * MIB);
    holes.set(pattern(5000), 0);
    holes.set(pattern(70_000, 7), 2 * MIB);
    writeFileSync(join(bench.folder, 'holes'), holes);
    bench.debugfs(`write ${join(bench.folder, 'holes')} holes`, 'fallocate holes 10 20');
    const system = await open(bench.bytes());
    expect(sha256(await system.readFile('holes', 4 * MIB))).toBe(sha256(holes));
  });

  it('is found in a partition too, and only where it is', async () => {
    using bench = new Bench();
    bench.file('here', 'yes');
    bench.make('4M', '-t', 'ext4');
    const disk = new Uint8Array(6 * MIB);
    disk.set(bench.bytes(), MIB);
    const system = await open(disk, 512, MIB);
    expect(new TextDecoder().decode(await system.readFile('here', 10))).toBe('yes');
    const device = deviceOf(disk);
    expect(await Ext4.open({ device, offset: 0, size: device.size, name: NAME })).toBeUndefined();
    expect(await Ext4.open({ device, offset: 0, size: 512, name: NAME })).toBeUndefined();
    await expect(Ext4.open({ device, offset: MIB, size: 2 * MIB, name: NAME })).rejects.toThrow(
      /^disk: damaged file system: it says that it has 4096 blocks of 1024 bytes, more than its place on the disk$/,
    );
  });

  it('that was not unmounted is seen with what its journal holds', async () => {
    using bench = new Bench();
    bench.file('boot/old', pattern(9000));
    bench.make('16M', '-t', 'ext4');
    const before = bench.bytes();
    // The blocks that differ after a change go into the journal of the file system as it was before.
    const added = pattern(20_000, 3);
    writeFileSync(join(bench.folder, 'new'), added);
    bench.debugfs(`write ${join(bench.folder, 'new')} boot/new`, 'rm boot/old');
    const after = bench.bytes();
    const size = new DataView(before.buffer, before.byteOffset).getUint32(1024 + 24, true);
    const blockSize = 1024 << size;
    const changed: number[] = [];
    for (let at = 0; at < before.length; at += blockSize)
      if (sha256(before.subarray(at, at + blockSize)) !== sha256(after.subarray(at, at + blockSize)))
        changed.push(at / blockSize);
    const blocks = join(bench.folder, 'blocks');
    writeFileSync(blocks, Buffer.concat(changed.map((n) => after.subarray(n * blockSize, (n + 1) * blockSize))));
    writeFileSync(bench.image, before);
    bench.debugfs('jo', `jw -b ${changed.join(',')} ${blocks}`, 'jc');

    const system = await open(bench.bytes());
    expect(system.unclean).toBe(true);
    expect(await system.list('/boot')).toEqual(['new']);
    expect(sha256(await system.readFile('/boot/new', MIB))).toBe(sha256(added));

    // A later transaction may say that a block in an earlier one is not to be replayed.
    writeFileSync(bench.image, before);
    bench.debugfs('jo', `jw -b ${changed.join(',')} ${blocks}`, `jw -r ${changed.join(',')}`, 'jc');
    const revoked = await open(bench.bytes());
    expect(await revoked.list('/boot')).toEqual(['old']);
  });

  it('that is damaged is told from one that is not', async () => {
    using bench = new Bench();
    bench.file('file', 'content');
    bench.make('8M', '-t', 'ext4', '-b', '4096');
    const sound = bench.bytes();
    const changed = (at: number, value: number): Uint8Array => {
      const bytes = Uint8Array.from(sound);
      bytes[at] = value;
      return bytes;
    };
    await expect(open(changed(1024 + 120, 1))).rejects.toThrow("disk: damaged file system: the superblock's checksum");
    // The root's inode is the second of the first table.
    const descriptor = new DataView(sound.buffer, sound.byteOffset + 4096);
    const root = descriptor.getUint32(8, true) * 4096 + 256;
    const system = await open(changed(root + 4, 0x77));
    await expect(system.status('/file')).rejects.toThrow('disk: damaged file system: the checksum of inode 2 is wrong');
    await expect(open(changed(1024 + 96 + 2, 0xff))).rejects.toThrow(
      /^disk: its ext4 has features that are not known here \(0x[0-9a-f]+\)$/,
    );
  });
});
