/**
 * A Debian disk as a user makes and starts it: `hv image create debian`, `hv run --disk`. Minutes, a network and apt are
 * needed: `npm run test:long`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { findCommand } from '../../src/host/node/command.ts';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { checkDisk, convertDisk } from '../../src/storage/index.ts';
import { Guest } from './guest.fixture.ts';

const HV = fileURLToPath(new URL('../../bin/hv', import.meta.url));
const host = { files: nodeDiskFiles, codecs: nodeCodecs };
const folder = mkdtempSync(join(tmpdir(), 'viridian-image-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const image = join(folder, 'debian.vhdx');
const seed = join(folder, 'seed.iso');
const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3cVfDqsEG8UVkYz5g1p2u5nXo5GZ0x3T2vJmVb1kqD me@host';
const PASSWORD = 'a-password';

/** What Debian's kernel has to say on a machine without PCI, and on a host that is busy. */
const EXPECTED =
  /PCI: Fatal: No config space access function found|PCI: System does not support PCI|hrtimer: interrupt took/;

const missing = ['apt-get', 'perl', 'mke2fs'].filter((name) => findCommand(name) === undefined);
describe.skipIf(missing.length > 0)(
  `a Debian image${missing.length > 0 ? `: skipped, ${missing.join()} not found` : ''}`,
  { timeout: 1_800_000 },
  () => {
    beforeAll(() => {
      writeFileSync(join(folder, 'key.pub'), `${KEY}\n`);
      writeFileSync(join(folder, 'password'), `${PASSWORD}\n`);
      const login = ['--user', 'me', '--password-file', join(folder, 'password'), '--ssh-key', join(folder, 'key.pub')];
      const made = spawnSync(HV, ['image', 'create', 'debian', image, ...login, '--hostname', 'box', '--json'], {
        encoding: 'utf8',
      });
      expect(made.stderr).toMatch(/hv: making the file system/);
      expect(made.status, made.stderr).toBe(0);
      expect(JSON.parse(made.stdout)).toMatchObject({ file: image, user: 'me', hostname: 'box', size: 4 * 2 ** 30 });
      expect(spawnSync(HV, ['image', 'seed', seed, ...login]).status).toBe(0);
    }, 1_800_000);

    it('boots to its login prompt from the disk alone, in order, and takes a new kernel at a restart', async () => {
      const guest = new Guest('--disk', image, '--disk', seed, '--memory', '1G');
      const logIn = async (): Promise<void> => {
        await guest.until('box login: ');
        guest.type('me\n');
        await guest.until('Password: ');
        guest.type(`${PASSWORD}\n`);
        await guest.until('me@box:~$ ');
        await guest.command('export TERM=dumb SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat; stty cols 500');
        await guest.command(`echo ${PASSWORD} | sudo -S true`);
      };
      await logIn();
      await guest.says('booting /boot/vmlinuz-');
      expect(await guest.command('systemctl is-system-running --wait')).toContain('running');
      expect(await guest.command('systemctl --failed --plain --no-legend')).toBe('');
      const warnings = (await guest.command('sudo dmesg --level=emerg,alert,crit,err,warn --notime')).split('\n');
      expect(warnings.filter((line) => line !== '' && !EXPECTED.test(line))).toEqual([]);
      expect(await guest.command('systemd-detect-virt')).toBe('microsoft\n');
      for (const daemon of ['kvp', 'vss', 'fcopy'])
        expect(await guest.command(`systemctl is-active hv-${daemon}-daemon`), daemon).toBe('active\n');
      expect(await guest.command('cat ~/.ssh/authorized_keys')).toBe(`${KEY}\n`);
      expect(await guest.command('grep -rhE "^(URIs|deb )" /etc/apt/sources.list* | sort')).toBe(
        'URIs: http://deb.debian.org/debian\nURIs: http://security.debian.org/debian-security\n',
      );
      // The seed, by its label and its real names.
      await guest.command('sudo mkdir /seed; sudo mount -o ro LABEL=CIDATA /seed');
      expect(await guest.command('ls /seed')).toBe('meta-data  user-data\n');
      expect(await guest.command('head -1 /seed/user-data')).toBe('#cloud-config\n');

      // What installing a kernel does.
      await guest.command(
        'v=$(uname -r); for f in vmlinuz initrd.img; do sudo cp /boot/$f-$v /boot/$f-$v-new; sudo ln -sfn boot/$f-$v-new /$f; done',
      );
      guest.type('sudo reboot\n');
      await guest.says('-cloud-amd64-new with /boot/initrd.img-');
      await logIn();
      guest.type('sudo poweroff\n');
      expect((await guest.exit).code).toBe(0);

      expect((await checkDisk(host, image, 'vhdx')).findings).toEqual([]);
      const raw = join(folder, 'disk.raw');
      await convertDisk(host, { from: { path: image, format: 'vhdx' }, to: { path: raw, format: 'raw' } });
      const fsck = spawnSync(findCommand('fsck.ext4') ?? 'fsck.ext4', ['-fn', `${raw}?offset=${2 ** 20}`], {
        encoding: 'utf8',
      });
      expect(fsck.status, fsck.stdout).toBe(0);
    });

    it('is started with a kernel that was not yet checkpointed when the machine was turned off', async () => {
      const guest = new Guest('--disk', `${image},discard`, '--memory', '1G', '--append', 'init=/bin/sh');
      await guest.until('# ');
      await guest.command(
        'mount -o remount,rw /; cp /boot/vmlinuz-*-new /boot/vmlinuz-99; ln -sfn boot/vmlinuz-99 /vmlinuz; sync',
      );
      guest.type('echo b > /proc/sysrq-trigger; mount -t proc p /proc; echo b > /proc/sysrq-trigger\n');
      await guest.says('booting /boot/vmlinuz-99');
      await guest.says('was not unmounted');
      guest.kill();
      await guest.exit;
    });
  },
);
