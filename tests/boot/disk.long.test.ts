/**
 * Disks in files under Debian's own hv_storvsc and ext4, through `hv run`: what the guest wrote is there, a file system
 * made on the host is sound after it, and a host without room, a killed process or a guest that means harm change that
 * in nothing.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { findCommand } from '../../src/host/node/command.ts';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { checkDisk, convertDisk, createDisk } from '../../src/storage/index.ts';
import { Guest, hypervGuest } from './guest.fixture.ts';
import { NOT_FOR_DISKS, withoutModules } from './shell.fixture.ts';

const debian = await hypervGuest();
const missing = ['mke2fs', 'fsck.ext4', 'debugfs', 'prlimit'].filter((name) => tool(name) === undefined);
const reason = typeof debian === 'string' ? debian : missing.length > 0 ? `${missing.join(', ')} not found` : undefined;
const host = { files: nodeDiskFiles, codecs: nodeCodecs };
const MIB = 2 ** 20;

/** Debian has them in /usr/sbin, which is not on every user's path. */
function tool(name: string): string | undefined {
  return findCommand(name) ?? ['/usr/sbin', '/sbin'].map((folder) => join(folder, name)).find(exists);
}
function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe.skipIf(reason !== undefined)(
  `a disk in a file${reason ? `: skipped, ${reason}` : ''}`,
  { timeout: 600_000 },
  () => {
    if (typeof debian === 'string') return;
    const { kernel, folder } = debian;
    const initrd = join(folder, 'initrd-for-disks');
    const path = (name: string): string => join(folder, name);
    const boot = (...args: string[]): Guest =>
      new Guest('--kernel', kernel, '--initrd', initrd, '--append', 'console=ttyS0 quiet', ...args);
    /** Waits for the shell. The kernel finds disks in its own time, side by side: their names come in any order. */
    const ready = async (guest: Guest): Promise<void> => {
      await guest.shell();
      await guest.command(
        'disk() { while d=/dev/$(ls /sys/bus/scsi/devices/*:0:0:$1/block 2>/dev/null); [ ! -b $d ]; do usleep 20000; done; echo $d; }',
      );
    };
    /** The VHDX as a raw image. */
    const raw = async (name: string): Promise<string> => {
      const to = path(`${name}.raw`);
      const options = {
        from: { path: path(name), format: 'vhdx' as const },
        to: { path: to, format: 'raw' as const, replace: true },
      };
      await convertDisk(host, options);
      return to;
    };
    const fsck = (image: string, how: string): number | null => spawnSync(tool('fsck.ext4')!, [how, image]).status;
    const content = (image: string, file: string): string =>
      sha256(
        execFileSync(tool('debugfs')!, ['-R', `cat ${file}`, image], {
          maxBuffer: 64 * MIB,
          stdio: ['ignore', 'pipe', 'ignore'],
        }),
      );

    const fromHost = randomBytes(300_000);
    beforeAll(async () => {
      writeFileSync(initrd, withoutModules(debian.initrd, NOT_FOR_DISKS));
      mkdirSync(path('tree'));
      writeFileSync(path('tree/from-host'), fromHost);
      execFileSync(tool('mke2fs')!, ['-q', '-t', 'ext4', '-F', '-d', path('tree'), path('image.raw'), '64M']);
      await convertDisk(host, {
        from: { path: path('image.raw'), format: 'raw' },
        to: { path: path('disk.vhdx'), format: 'vhdx', blockSize: MIB },
      });
      copyFileSync(path('disk.vhdx'), path('same.vhdx'));
      await createDisk(host, path('plain.img'), { format: 'raw', size: 4 * MIB });
    });

    it('keeps what the guest writes, through a restart; a discarded one stays as it was, and a raw one raw', async () => {
      const before = sha256(readFileSync(path('same.vhdx')));
      const guest = boot(
        '--disk',
        path('disk.vhdx'),
        '--disk',
        `${path('same.vhdx')},discard`,
        '--disk',
        path('plain.img'),
      );
      await ready(guest);
      await guest.command('mkdir /a /b; mount -t ext4 $(disk 0) /a && mount -t ext4 $(disk 1) /b');
      expect(await guest.command('sha256sum < /a/from-host')).toBe(`${sha256(fromHost)}  -\n`);
      await guest.command(
        'dd if=/dev/urandom of=/a/random bs=64k count=80 2>/dev/null; seq 20000 > /a/numbers; cp /a/random /b',
      );
      const [random] = (await guest.command('sha256sum < /a/random; sha256sum < /b/random')).split('  -\n');
      // A qcow2 of version 3 with a file of the host's behind it.
      await guest.command(
        "printf 'QFI\\373\\0\\0\\0\\003\\0\\0\\0\\0\\0\\0\\0\\150\\0\\0\\0\\013/etc/passwd' > $(disk 2)",
      );
      await guest.command('umount /a /b; sync');
      guest.type('reboot -f\n');
      await guest.until('A busybox shell');
      await ready(guest);
      expect(await guest.command('head -c 3 $(disk 2); blockdev --getsize64 $(disk 2)')).toBe(`QFI${4 * MIB}\n`);
      expect(await guest.command('mkdir /b; mount -t ext4 $(disk 1) /b; ls /b; umount /b')).toContain('random');
      guest.type('poweroff -f\n');
      expect(await guest.exit).toMatchObject({ code: 0, stderr: '' });

      expect((await checkDisk(host, path('disk.vhdx'), 'vhdx')).findings).toEqual([]);
      const image = await raw('disk.vhdx');
      expect(fsck(image, '-fn')).toBe(0);
      expect(content(image, 'random')).toBe(random);
      expect(content(image, 'from-host')).toBe(sha256(fromHost));
      const numbers = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join('');
      expect(content(image, 'numbers')).toBe(sha256(Buffer.from(numbers)));
      expect(sha256(readFileSync(path('same.vhdx')))).toBe(before);
      // What the guest wrote there is not believed the next time either.
      const refused = await boot('--disk', path('plain.img')).exit;
      expect(refused).toMatchObject({ code: 2, stdout: '' });
      expect(refused.stderr).toMatch(
        /^hv: .*plain\.img: it looks like qcow2, but it is named as raw: give the format[^\n]*\n$/,
      );
    });

    it('waits for room on the host, and is sound after a kill', async () => {
      const guest = boot('--disk', path('disk.vhdx'));
      await ready(guest);
      await guest.command('mkdir /a; mount -t ext4 $(disk 0) /a');
      // From here on the file cannot grow.
      const limit = (bytes: number | 'unlimited'): void => {
        execFileSync(tool('prlimit')!, ['--pid', `${guest.pid}`, `--fsize=${bytes}:unlimited`]);
      };
      limit(statSync(path('disk.vhdx')).size);
      guest.type('dd if=/dev/urandom of=/a/large bs=64k count=320 2>/dev/null; sync; echo "re""ady"\n');
      await guest.says('hv: paused: ');
      limit('unlimited');
      guest.signal('SIGCONT');
      await guest.says('the guest goes on');
      await guest.until('ready');
      const large = (await guest.command('sha256sum < /a/large')).slice(0, 64);
      expect(await guest.command("dmesg -r | grep -E '^<[0-3]>'")).not.toMatch(/sda|ext4/i);
      guest.type(
        'i=0; while true; do i=$((i+1)); dd if=/a/large of=/a/$((i%50)) bs=16k skip=$i count=$((i%20)) 2>/dev/null; echo "at" $i; [ $((i%20)) -gt 0 ] || sync; done\n',
      );
      await guest.until('at 90');
      guest.kill();
      await guest.exit;

      const report = await checkDisk(host, path('disk.vhdx'), 'vhdx');
      expect(report).toMatchObject({ sound: true });
      const image = await raw('disk.vhdx');
      // The guest's own journal is replayed; then there is nothing left to mend.
      expect(fsck(image, '-fy')).toBeLessThanOrEqual(1);
      expect(fsck(image, '-fn')).toBe(0);
      expect(content(image, 'large')).toBe(large);
    });
  },
);
