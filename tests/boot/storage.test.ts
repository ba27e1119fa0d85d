/**
 * Disks and DVDs that come, go and change under Debian's own hv_storvsc, through the library: what the guest sees of each.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { findCommand } from '../../src/host/node/command.ts';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { checkDisk, convertDisk, createDisk } from '../../src/storage/index.ts';
import { hypervGuest } from './guest.fixture.ts';
import { isoImage } from './iso.fixture.ts';
import { NOT_FOR_DISKS, Shell, withoutModules } from './shell.fixture.ts';

const debian = await hypervGuest();
const reason = typeof debian === 'string' ? `: skipped, ${debian}` : '';
const host = { files: nodeDiskFiles, codecs: nodeCodecs };
const MIB = 2 ** 20;

/** Debian has them in /usr/sbin, which is not on every user's path. */
const [mke2fs, fsck] = ['mke2fs', 'fsck.ext4'].map((name) => findCommand(name));

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe.skipIf(typeof debian === 'string')(`storage that changes${reason}`, { timeout: 180_000 }, () => {
  if (typeof debian === 'string') return;
  const { kernel, folder } = debian;
  const path = (name: string): string => join(folder, name);
  const [first, second] = [randomBytes(300_000), randomBytes(3000)];
  let shell: Shell;
  /** The name of a block device by its controller's number in the order of appearance, and LUN. */
  const device = (host: number, lun: number): string => `$(ls /sys/bus/scsi/devices/${host}:0:0:${lun}/block)`;

  beforeAll(async () => {
    writeFileSync(path('first.iso'), isoImage('FILE.BIN;1', first));
    writeFileSync(path('second.iso'), isoImage('FILE.BIN;1', second));
    await createDisk(host, path('a.vhdx'), { format: 'vhdx', size: 32 * MIB, blockSize: MIB });
    await createDisk(host, path('b.img'), { format: 'raw', size: 16 * MIB });
    if (mke2fs && fsck) {
      execFileSync(mke2fs, ['-q', '-t', 'ext4', '-F', path('ext4.raw'), '64M']);
      await convertDisk(host, {
        from: { path: path('ext4.raw'), format: 'raw' },
        to: { path: path('ext4.vhdx'), format: 'vhdx', blockSize: MIB },
      });
    }
    shell = await Shell.start({
      kernel,
      initrd: withoutModules(debian.initrd, NOT_FOR_DISKS),
      append: 'console=ttyS0 quiet',
      disks: [{ file: path('a.vhdx') }, ...(mke2fs && fsck ? [{ file: path('ext4.vhdx'), lun: 3 }] : [])],
      dvds: [{ file: path('first.iso'), lun: 7 }],
    });
  }, 180_000);
  afterAll(async () => {
    await shell[Symbol.asyncDispose]();
  });

  it('reads a DVD, and another one after it', async () => {
    const { storage } = shell.partition;
    await shell.eventually(`ls /sys/bus/scsi/devices/0:0:0:7/block`, 'sr0\n');
    expect(await shell.command('cat /sys/bus/scsi/devices/0:0:0:7/model; blockdev --getro /dev/sr0')).toBe(
      'Virtual DVD-ROM \n1\n',
    );
    const read = 'mkdir -p /dvd; mount -t iso9660 -o ro /dev/sr0 /dvd && sha256sum < /dvd/file.bin; umount /dvd';
    expect(await shell.command(read)).toBe(`${sha256(first)}  -\n`);
    await storage.insertDvd({ controller: 0, lun: 7 }, path('second.iso'));
    expect(await shell.command(read)).toBe(`${sha256(second)}  -\n`);
    expect(await shell.command('blockdev --getsize64 /dev/sr0')).toBe(`${statSync(path('second.iso')).size}\n`);
    await storage.ejectDvd({ controller: 0, lun: 7 });
    expect(await shell.command('dd if=/dev/sr0 of=/dev/null count=1 2>&1')).toContain('No medium found');
    expect(storage.list().find(({ kind }) => kind === 'dvd')).toMatchObject({ file: undefined, size: 0 });
  });

  it('sees a disk grow while it is in use', async () => {
    const { storage } = shell.partition;
    expect(await shell.command(`cat /sys/block/${device(0, 0)}/size`)).toBe(`${(32 * MIB) / 512}\n`);
    await storage.resizeDisk({ controller: 0, lun: 0 }, 48 * MIB);
    await shell.eventually(`cat /sys/block/${device(0, 0)}/size`, `${(48 * MIB) / 512}\n`);
    const at = `/dev/${device(0, 0)} bs=1M seek=40 count=2`;
    expect(await shell.command(`dd if=/dev/urandom of=${at} conv=fsync 2>/dev/null && echo "written"`)).toBe(
      'written\n',
    );
    await expect(storage.resizeDisk({ controller: 0, lun: 0 }, MIB)).rejects.toMatchObject({ code: 'invalid' });
  });

  it('gets a disk and a controller while it runs, and loses them again', async () => {
    const { storage } = shell.partition;
    await expect(storage.attachDisk({ file: path('b.img'), lun: 7 })).rejects.toMatchObject({ code: 'wrongState' });
    await expect(storage.attachDisk({ file: path('b.img'), lun: 64 })).rejects.toMatchObject({ code: 'invalid' });
    for (const place of [
      { controller: 0, lun: 5 },
      { controller: 2, lun: 1 },
    ]) {
      expect(await storage.attachDisk({ file: path('b.img') }, place)).toEqual(place);
      // Linux counts controllers as they come.
      const scsi = place.controller === 0 ? 0 : 1;
      await shell.eventually(`ls /sys/bus/scsi/devices/${scsi}:0:0:${place.lun}/block 2>/dev/null | wc -l`, '1\n');
      const name = await shell.command(`echo ${device(scsi, place.lun)}`);
      const [written] = (
        await shell.command(
          `dd if=/dev/urandom of=/tmp/x bs=64k count=20 2>/dev/null; dd if=/tmp/x of=/dev/${name.trim()} bs=64k conv=fsync 2>/dev/null; sha256sum < /tmp/x`,
        )
      ).split(' ');
      await storage.detachDisk(place);
      await shell.eventually(`[ -e /sys/block/${name.trim()} ] || echo "gone"`, 'gone\n');
      const file = await nodeDiskFiles.open(path('b.img'));
      const bytes = new Uint8Array(20 * 65536);
      await file.read(0, bytes);
      await file.close();
      expect(sha256(bytes)).toBe(written);
    }
    await expect(storage.detachDisk({ controller: 2, lun: 1 })).rejects.toMatchObject({ code: 'notFound' });
    await expect(storage.detachDisk({ controller: 0, lun: 7 })).rejects.toMatchObject({ code: 'notFound' });
  });

  it('gives space back by UNMAP and by WRITE SAME', async () => {
    const { storage } = shell.partition;
    await storage.attachDisk({ file: path('b.img'), lun: 9 });
    const block = '/sys/bus/scsi/devices/0:0:0:9/block';
    await shell.eventually(`ls ${block} 2>/dev/null | wc -l`, '1\n');
    const disk = `/dev/$(ls ${block})`;
    const used = (): number => statSync(path('b.img')).blocks * 512;
    for (const way of ['unmap', 'writesame_16']) {
      await shell.command(`echo ${way} > /sys/bus/scsi/devices/0:0:0:9/scsi_disk/0:0:0:9/provisioning_mode`);
      await shell.command(
        `tr '\\0' x < /dev/zero | dd of=${disk} bs=1M count=8 iflag=fullblock conv=fsync 2>/dev/null`,
      );
      expect(used()).toBeGreaterThanOrEqual(8 * MIB);
      expect(
        await shell.command(`blkdiscard ${disk} && dd if=${disk} bs=1M count=8 2>/dev/null | tr -d '\\0' | wc -c`),
      ).toBe('0\n');
      expect(used()).toBe(0);
    }
    await storage.detachDisk({ controller: 0, lun: 9 });
  });

  it('gives the guest nothing to warn of', async () => {
    // The driver asks units whether they are there with a time limit of 4 ms, which a busy host does not keep.
    const shown = await shell.command(
      "dmesg -r | grep -E '^<[0-3]>' | grep -v 'timing out command, waited 0s' | grep -iE 'scsi|sd |sr |storvsc|vmbus'",
    );
    expect(shown).toBe('');
  });

  it.skipIf(!mke2fs || !fsck)('has a sound file system after the host has shut the guest down', async () => {
    const { partition } = shell;
    await shell.command(
      `mkdir /a; mount -t ext4 /dev/${device(0, 3)} /a && seq 20000 > /a/numbers && cp /a/numbers /a/more`,
    );
    await partition.shutdown();
    expect(await partition.stopped).toEqual({ kind: 'powerOff' });
    await expect(partition.storage.detachDisk({ controller: 0, lun: 0 })).rejects.toMatchObject({ code: 'wrongState' });
    expect((await checkDisk(host, path('ext4.vhdx'), 'vhdx')).findings).toEqual([]);
    const to = { path: path('after.raw'), format: 'raw' as const };
    await convertDisk(host, { from: { path: path('ext4.vhdx'), format: 'vhdx' }, to });
    expect(spawnSync(fsck!, ['-fn', to.path]).status).toBe(0);
  });
});
