import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compareVersions, findBootFiles } from './boot-files.ts';
import { Bench, deviceOf, pattern, sha256, withoutTools } from './ext4/image.fixture.ts';
import { GPT_TAIL, writeGpt } from './partitions/gpt.ts';
import { PartitionType } from './partitions/protocol.ts';

const MIB = 2 ** 20;
const kernel = pattern(100_000, 5);
const initrd = pattern(200_000, 6);

describe('versions of kernels', () => {
  it.each([
    ['vmlinuz-6.1.0-9-amd64', 'vmlinuz-6.1.0-10-amd64'],
    ['vmlinuz-5.10.0-1-amd64', 'vmlinuz-6.1.0-1-amd64'],
    ['vmlinuz-6.1-rc3', 'vmlinuz-6.1'],
    ['vmlinuz-6.1~rc3-amd64', 'vmlinuz-6.1-amd64'],
    ['vmlinuz-6.1', 'vmlinuz-6.1.1'],
    ['vmlinuz-6.1.0-9', 'vmlinuz-6.1.0-9-2'],
    ['vmlinuz-99999999999999999998', 'vmlinuz-99999999999999999999'],
  ])('%s is before %s', (older, newer) => {
    expect(compareVersions(older, newer)).toBeLessThan(0);
    expect(compareVersions(newer, older)).toBeGreaterThan(0);
    expect(compareVersions(older, older)).toBe(0);
  });
});

describe.skipIf(withoutTools !== undefined)(
  `what a disk boots${withoutTools ? `: skipped, ${withoutTools}` : ''}`,
  () => {
    /** A root file system with the files of /boot that are named. */
    function system(fill: (bench: Bench) => void): Uint8Array {
      using bench = new Bench();
      bench.file('etc/os-release', 'ID=debian\n');
      fill(bench);
      bench.make('4M', '-t', 'ext4', '-U', '01234567-89ab-4def-8123-456789abcdef');
      return bench.bytes();
    }
    const find = (bytes: Uint8Array) => findBootFiles(deviceOf(bytes), 'disk');

    it("is what Debian's links say, with the initial RAM disk of that version", async () => {
      const found = await find(
        system((bench) => {
          bench.file('boot/vmlinuz-6.1.0-9-amd64', kernel);
          bench.file('boot/initrd.img-6.1.0-9-amd64', initrd);
          bench.file('boot/vmlinuz-6.1.0-10-amd64', 'newer');
          bench.link('vmlinuz', 'boot/vmlinuz-6.1.0-9-amd64');
        }),
      );
      expect(found).toMatchObject({
        kernel: { path: '/boot/vmlinuz-6.1.0-9-amd64' },
        initrd: { path: '/boot/initrd.img-6.1.0-9-amd64' },
        rootParameters: 'root=UUID=01234567-89ab-4def-8123-456789abcdef ro',
        partition: 0,
        unclean: false,
      });
      expect(sha256(found.kernel.bytes)).toBe(sha256(kernel));
      expect(sha256(found.initrd!.bytes)).toBe(sha256(initrd));
    });

    it("has the system's own parameters, without what is known better", async () => {
      const parametersOf = async (text: string) =>
        (
          await find(
            system((bench) => {
              bench.file('boot/vmlinuz-1', kernel);
              bench.file('etc/kernel/cmdline', text);
            }),
          )
        ).parameters;
      expect(await parametersOf('root=UUID=x ro quiet\n cryptomgr.notests BOOT_IMAGE=y\n')).toBe(
        'quiet cryptomgr.notests',
      );
      expect(await parametersOf('quiet \0\x1b[31m loud')).toBe('quiet loud');
      expect(await parametersOf('quiet '.repeat(1000))).toBe('');
    });

    it.each<[string, readonly string[], string, string | undefined]>([
      [
        'the newest',
        ['vmlinuz-6.1.0-9-amd64', 'vmlinuz-6.1.0-10-amd64', 'initrd.img-6.1.0-10-amd64'],
        'vmlinuz-6.1.0-10-amd64',
        'initrd.img-6.1.0-10-amd64',
      ],
      [
        "Fedora's",
        ['vmlinuz-6.5.6-300.fc39.x86_64', 'initramfs-6.5.6-300.fc39.x86_64.img', 'vmlinuz-0-rescue-abc'],
        'vmlinuz-6.5.6-300.fc39.x86_64',
        'initramfs-6.5.6-300.fc39.x86_64.img',
      ],
      ["Alpine's", ['vmlinuz-virt', 'initramfs-virt'], 'vmlinuz-virt', 'initramfs-virt'],
      [
        'one that replaced another',
        ['vmlinuz-6.1', 'vmlinuz-6.2.old', 'vmlinuz-6.2.dpkg-new'],
        'vmlinuz-6.1',
        undefined,
      ],
    ])('is %s', async (_, names, wanted, ram) => {
      const found = await find(
        system((bench) => {
          for (const name of names) bench.file(`boot/${name}`, kernel);
          bench.link('vmlinuz', 'boot/gone');
        }),
      );
      expect(found.kernel.path).toBe(`/boot/${wanted}`);
      expect(found.initrd?.path).toBe(ram === undefined ? undefined : `/boot/${ram}`);
    });

    it('lies in a partition, and on a file system of its own for /boot', async () => {
      using bench = new Bench();
      bench.file('vmlinuz-6.1', kernel);
      bench.make('4M', '-t', 'ext4');
      const disk = new Uint8Array(16 * MIB + GPT_TAIL);
      const device = deviceOf(disk);
      const part = (offset: number, n: number) => ({
        offset,
        size: 4 * MIB,
        type: PartitionType.linuxRootX64,
        id: `6c7b5d0e-0f00-4a00-8a00-00000000000${n}`,
        name: `part ${n}`,
      });
      await device.write(MIB, bench.bytes());
      await device.write(
        6 * MIB,
        system(() => {}),
      );
      await writeGpt(device, part(0, 9).id, [part(MIB, 1), part(6 * MIB, 2)]);
      expect(await findBootFiles(device, 'disk')).toMatchObject({
        kernel: { path: '/vmlinuz-6.1' },
        initrd: undefined,
        rootParameters: 'root=PARTUUID=6c7b5d0e-0f00-4a00-8a00-000000000002 ro',
        partition: 2,
      });
    });

    it.each<[string, () => Uint8Array, RegExp]>([
      [
        'an empty disk',
        () => new Uint8Array(MIB),
        /^disk: no ext4 file system that can be read, where its kernel would be looked for: give --kernel FILE$/,
      ],
      ['no kernel', () => system(() => {}), /^disk: no kernel in \/boot of its file system: give --kernel FILE$/],
      [
        'another file system',
        () => Uint8Array.from(Buffer.concat([Buffer.from('XFSB'), Buffer.alloc(MIB)])),
        /^disk: no ext4 [^\n]*\(the disk is XFS\): give --kernel FILE$/,
      ],
      [
        'a damaged one',
        () => system(() => {}).map((byte, at) => (at === 1024 + 120 ? byte ^ 1 : byte)),
        /\(disk: damaged file system: the superblock's checksum is wrong\)/,
      ],
    ])('is missing: %s', async (_, make, message) => {
      await expect(find(make())).rejects.toMatchObject({ code: 'notFound', message: expect.stringMatching(message) });
    });

    it('is read again where a file system in use says so', async () => {
      using bench = new Bench();
      bench.file('etc/os-release', 'ID=debian\n');
      bench.file('boot/vmlinuz-6.1', kernel);
      bench.make('8M', '-t', 'ext4');
      writeFileSync(`${bench.folder}/block`, bench.bytes().subarray(1024, 2048));
      bench.debugfs('jo', `jw -b 1 ${bench.folder}/block`, 'jc');
      expect(await find(bench.bytes())).toMatchObject({ unclean: true, kernel: { path: '/boot/vmlinuz-6.1' } });
    });
  },
);
