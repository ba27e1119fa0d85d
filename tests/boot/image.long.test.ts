/**
 * A Debian disk as a user makes and starts it: `hv image create debian`, `hv run --disk`, and as a virtual machine of the service.
 * Minutes, a network and apt are needed: `npm run test:long`.
 */
import { createHash, randomBytes } from 'node:crypto';
import { resolve4 } from 'node:dns/promises';
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { findCommand } from '../../src/host/node/command.ts';
import { Guest } from './guest.fixture.ts';
import {
  complaints,
  damage,
  HV,
  logIn,
  makeImage,
  missing,
  run,
  running,
  stepper,
  type TestImage,
} from './image.fixture.ts';
import { freePort, serve, sha256 } from './network.fixture.ts';

const MIB = 2 ** 20;
/** For a guest that boots on a busy machine. */
const PATIENCE = 3_600_000;

/** That a test which fails leaves no guest behind, which would hold the disk. */
function started(...args: readonly string[]): Guest {
  const guest = new Guest(...args);
  onTestFinished(async () => {
    guest.kill();
    await guest.exit;
  });
  return guest;
}

/** SHA-256 of all that a port of this host gives. */
function received(port: number): Promise<{ readonly sum: string; readonly size: number }> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256');
    let size = 0;
    connect(port, '127.0.0.1')
      .on('data', (bytes) => {
        hash.update(bytes);
        size += bytes.length;
      })
      .on('end', () => resolve({ sum: hash.digest('hex'), size }))
      .on('error', reject);
  });
}

describe.skipIf(missing.length > 0)(
  `a Debian image${missing.length > 0 ? `: skipped, ${missing.join()} not found` : ''}`,
  { timeout: PATIENCE },
  () => {
    let image: TestImage;
    const step = stepper();
    beforeAll(async () => {
      step('the image is made');
      image = await makeImage();
    }, PATIENCE);
    afterAll(() => image?.dispose());

    it('boots to its login prompt from the disk alone, in order, with a network; and takes a new kernel at a restart', async () => {
      const content = randomBytes(100 * MIB);
      const server = await serve(content);
      const [sshPort, webPort] = [await freePort(), await freePort()];
      const network = ['--nic', `nat,host=${server.port}`, '-p', `${sshPort}:22`, '-p', `${webPort}:8000`];
      const guest = started('--disk', image.file, '--disk', image.seed, '--memory', '1G', ...network);
      const root = (command: string): Promise<string> => guest.command(`sudo sh -c '${command}'`);
      step('boots to its login prompt');
      await logIn(guest);
      await guest.says('booting /boot/vmlinuz-');
      step('has nothing to complain of');
      expect(await complaints(root)).toBe('');
      expect(await guest.command('systemd-detect-virt')).toBe('microsoft\n');
      for (const daemon of ['kvp', 'vss', 'fcopy'])
        expect(await guest.command(`systemctl is-active hv-${daemon}-daemon`), daemon).toBe('active\n');
      expect(await guest.command('cat ~/.ssh/authorized_keys')).toBe(`${image.publicKey}\n`);
      expect(await guest.command('grep -rhE "^(URIs|deb )" /etc/apt/sources.list* | sort')).toBe(
        'URIs: http://deb.debian.org/debian\nURIs: http://security.debian.org/debian-security\n',
      );
      step('its process is stopped for half a minute');
      guest.signal('SIGSTOP');
      await setTimeout(30_000);
      guest.signal('SIGCONT');
      expect(await complaints(root)).toBe('');
      step('mounts the seed, by its label and its real names');
      await root('mkdir /seed; mount -o ro LABEL=CIDATA /seed');
      expect(await guest.command('ls /seed')).toBe('meta-data  user-data\n');
      expect(await guest.command('head -1 /seed/user-data')).toBe('#cloud-config\n');
      await root('umount /seed');

      step('has an address by DHCP; finds names of this network and of the world');
      const address = (await guest.command('ip -4 -br address show eth0')).trim();
      expect(address).toMatch(/^eth0 +UP +172\.30\.0\.1\d\/24/);
      const own = /172\.[\d.]+/.exec(address)![0];
      expect(await guest.command('getent hosts guest.viridian.internal')).toMatch(new RegExp(`^${own} `));
      expect(await guest.command('getent ahostsv4 host.viridian.internal | head -1')).toMatch(/^172\.30\.0\.1 /);
      const known = await resolve4('deb.debian.org').catch((): string[] => []);
      const seen = await guest.command('getent ahostsv4 deb.debian.org | cut -d" " -f1 | sort -u');
      if (known.length === 0) console.log("the host's own resolver knows no deb.debian.org: not compared");
      else
        expect(
          seen
            .trim()
            .split('\n')
            .some((each) => known.includes(each)),
          `${seen}: ${known.join()}`,
        ).toBe(true);

      step('fetches 100 MiB');
      expect(
        await guest.command(
          `curl -s -o /var/tmp/file http://host.viridian.internal:${server.port}/; sha256sum < /var/tmp/file`,
        ),
      ).toBe(`${sha256(content)}  -\n`);
      step('gives 100 MiB');
      const give = `perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 1, LocalPort => 8000); print "ready\\n"; $c = $s->accept; open F, "/var/tmp/file"; print $c $b while sysread F, $b, 65536'`;
      guest.type(`${give}\n`);
      await guest.until('\nready');
      expect(await received(webPort)).toEqual({ sum: sha256(content), size: content.length });
      server.close();
      step('takes a session of ssh');
      const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'BatchMode=yes'];
      const ssh = ['-p', String(sshPort), '-i', image.key, ...options.flatMap((each) => ['-o', each]), 'me@127.0.0.1'];
      expect(await running('ssh', [...ssh, 'whoami; hostname; exit 3'])).toEqual({
        status: 3,
        stdout: 'me\nbox\n',
        stderr: '',
      });

      step('is given a kernel, as installing one does');
      await guest.command(
        'v=$(uname -r); for f in vmlinuz initrd.img; do sudo cp /boot/$f-$v /boot/$f-$v-new; sudo ln -sfn boot/$f-$v-new /$f; done',
      );
      expect(await complaints(root)).toBe('');
      step('restarts with it');
      guest.type('sudo reboot\n');
      await guest.says('-cloud-amd64-new with /boot/initrd.img-');
      await logIn(guest);
      step('powers off');
      guest.type('sudo poweroff\n');
      expect((await guest.exit).code).toBe(0);
      step('its disk is checked');
      expect(await damage(image)).toBe('');
    });

    it('is started with a kernel that was not yet checkpointed when the machine was turned off', async () => {
      step('boots to a shell');
      const guest = started('--disk', `${image.file},discard`, '--memory', '1G', '--append', 'init=/bin/sh');
      await guest.until('# ');
      // The disk by its name: nobody has made the links to it by UUID that fstab asks for.
      const made =
        'mount -o remount,rw /dev/sda1 / && cp /boot/vmlinuz-*-amd64 /boot/vmlinuz-99 && ln -sfn boot/vmlinuz-99 /vmlinuz && sync && echo made';
      expect(await guest.command(made)).toMatch(/^made$/m);
      guest.type('mount -t proc p /proc; echo b > /proc/sysrq-trigger\n');
      step('restarts with a kernel of the journal');
      await guest.says('booting /boot/vmlinuz-99');
      await guest.says('was not unmounted');
    });

    it('is a machine of the service without a network: hv exec, hv cp, hv ssh, and shut down from the host', async () => {
      const home = { VIRIDIAN_HOME: join(image.folder, 'home') };
      mkdirSync(home.VIRIDIAN_HOME);
      const hv = (args: readonly string[], input?: Uint8Array | string) =>
        running(HV, args, { environment: home, ...(input === undefined ? {} : { input }) });
      const root = async (command: string): Promise<string> =>
        (await hv(['exec', 'box', '--', 'sh', '-c', command])).stdout;
      try {
        step('starts as a machine of the service');
        const made = await hv(['vm', 'new', 'box', '--memory', '1G', '--disk', image.file, '--start']);
        expect(made.status, made.stderr).toBe(0);
        expect(await hv(['exec', '--timeout', '3000', 'box', '--', 'true'])).toEqual({
          status: 0,
          stdout: '',
          stderr: '',
        });
        expect(await complaints(root)).toBe('');
        expect((await root('ls /sys/class/net')).trim()).toBe('lo');

        step('hv exec: streams, arguments and exit codes');
        const data = randomBytes(3 * MIB);
        const script = 'sha256sum; echo "$1" >&2; exit 7';
        expect(await hv(['exec', 'box', 'sh', '-c', script, 'sh', 'a b'], data)).toEqual({
          status: 7,
          stdout: `${sha256(data)}  -\n`,
          stderr: 'a b\n',
        });
        expect((await hv(['exec', '-w', '/etc', '-e', 'A=b', 'box', 'sh', '-c', 'pwd; echo $A; id -un'])).stdout).toBe(
          '/etc\nb\nroot\n',
        );
        expect((await hv(['exec', 'box', 'sh', '-c', 'kill -9 $$'])).status).toBe(137);
        expect((await hv(['exec', 'box', '/no/such'])).status).toBe(127);
        if (findCommand('script') !== undefined) {
          const inside = `stty rows 31 cols 97; '${HV}' exec box -- sh -c 'tty; stty size; exit 5'`;
          const terminal = await running('script', ['-qec', inside, '/dev/null'], { environment: home });
          expect(terminal.stdout).toMatch(/\/dev\/pts\/\d+\r+\n31 97\r+\n/);
          expect(terminal.status).toBe(5);
        }

        step('hv cp: files and folders there and back');
        const tree = join(image.folder, 'tree');
        mkdirSync(join(tree, 'sub/empty'), { recursive: true });
        writeFileSync(join(tree, 'large'), data);
        writeFileSync(join(tree, 'sub/program'), '#!/bin/sh\n');
        chmodSync(join(tree, 'sub/program'), 0o751);
        chmodSync(join(tree, 'large'), 0o640);
        symlinkSync('sub/program', join(tree, 'link'));
        expect(await hv(['cp', tree, 'box:/srv'])).toMatchObject({ status: 0 });
        expect(
          await root(
            'cd /srv/tree; stat -c "%a %n" large sub/program; readlink link; ls -d sub/empty; sha256sum < large',
          ),
        ).toBe(`640 large\n751 sub/program\nsub/program\nsub/empty\n${sha256(data)}  -\n`);
        const back = join(image.folder, 'back');
        expect(await hv(['cp', 'box:/srv/tree', back])).toMatchObject({ status: 0 });
        expect(sha256(readFileSync(join(back, 'large')))).toBe(sha256(data));
        expect(statSync(join(back, 'sub/program')).mode & 0o7777).toBe(0o751);
        const copied = { status: 0, stdout: '', stderr: expect.stringMatching(/^hv: done: copy .*\n$/) as string };
        expect(await hv(['cp', join(tree, 'large'), 'box:/srv/one'])).toEqual(copied);
        expect(await hv(['cp', 'box:/srv/one', join(back, 'one')])).toEqual(copied);
        expect(readFileSync(join(back, 'one')).equals(data)).toBe(true);
        expect(await hv(['cp', join(tree, 'large'), 'box:/srv/one'])).toMatchObject({ status: 4 });

        step('hv ssh');
        const ssh = await hv(['ssh', '-i', image.key, 'me@box', 'whoami; cat; exit 9'], 'typed');
        expect(ssh).toEqual({ status: 9, stdout: 'me\ntyped', stderr: '' });

        expect(await complaints(root)).toBe('');
        step('is shut down from the host');
        const stopped = await hv(['stop', 'box']);
        expect(stopped.status, stopped.stderr).toBe(0);
        expect((await hv(['vm', 'show', 'box', '--json'])).stdout).toContain('"Off"');
        expect(await damage(image)).toBe('');
      } finally {
        run(HV, ['vm', 'stop', 'box', '--turn-off'], home);
        run(HV, ['service', 'stop'], home);
      }
    });
  },
);
