import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { filesIn } from '../host/node/program.ts';
import { customizeScript, essentialScript, mirrorsOf, PUBLIC_MIRROR, publicKeys } from './debian.ts';
import { agentFiles } from './node/agent.ts';
import { createDebianImage } from './node/debian.ts';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3cVfDqsEG8UVkYz5g1p2u5nXo5GZ0x3T2vJmVb1kqD me@host';
const folder = mkdtempSync(join(tmpdir(), 'viridian-images-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('public keys', () => {
  it('are lines as ssh-keygen writes them, with options too', () => {
    expect(publicKeys(`# mine\n${KEY}\n\nfrom="10.0.0.1" ${KEY}\n`, 'k.pub')).toEqual([KEY, `from="10.0.0.1" ${KEY}`]);
  });
  it.each([
    ['-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n', 'k is a private key: give the public one, which ends in .pub'],
    ['', 'k has no public key as ssh-keygen writes them'],
    ['hello world', 'k has no public key as ssh-keygen writes them'],
  ])('are nothing else', (text, message) => {
    expect(() => publicKeys(text, 'k')).toThrow(message);
  });
});

describe('the mirror', () => {
  it("is where the host's apt gets Debian's packages", () => {
    const targets = [
      'http://other.example/deb/|stable|Other|Other',
      'http://mirror.example/debian/|bookworm|Debian|Debian',
      'http://mirror.example/security/|bookworm-security|Debian|Debian-Security',
    ].join('\n');
    expect(mirrorsOf(targets)).toEqual({
      main: 'http://mirror.example/debian',
      security: 'http://mirror.example/security',
    });
    expect(mirrorsOf('')).toEqual({ main: undefined, security: undefined });
  });
});

describe('the recipe', () => {
  const recipe = {
    hostname: 'box',
    rootUuid: '01234567-89ab-4def-8123-456789abcdef',
    machineId: '0'.repeat(32),
    timezone: 'Europe/Berlin',
    locale: 'C.UTF-8',
  };
  it('lets a key alone use sudo without a password, and a password with one', () => {
    const byKey = customizeScript({ ...recipe, user: { name: 'me', passwordHash: undefined, keys: [KEY] } });
    expect(byKey).toContain('me ALL=(ALL:ALL) NOPASSWD: ALL');
    expect(byKey).toContain(`authorized_keys" <<'END_OF_FILE'\n${KEY}\nEND_OF_FILE\n`);
    const byPassword = customizeScript({ ...recipe, user: { name: 'me', passwordHash: '$6$a$b', keys: [] } });
    expect(byPassword).toContain("--password '$6$a$b' me");
    expect(byPassword).not.toContain('NOPASSWD');
  });
  it('leaves nothing of the place where it was built, and names the public mirror', () => {
    const script = customizeScript({ ...recipe, user: { name: 'me', passwordHash: undefined, keys: [KEY] } });
    expect(script).toContain(
      'rm -f "$1/etc/apt/sources.list" "$1"/etc/apt/sources.list.d/*.list "$1/etc/apt/apt.conf.d/99mmdebstrap"',
    );
    expect(script).toContain(`URIs: ${PUBLIC_MIRROR}\n`);
  });
  it('has the drivers of both machines in the initial RAM disk', () => {
    expect(essentialScript()).toMatch(/hv_vmbus,hv_storvsc,sd_mod,virtio_pci,virtio_blk,crc32c_generic,ext4/);
  });
});

describe('the agent', () => {
  it('is programs and units where they belong; sockets have their module loaded and are enabled', () => {
    const agent = join(folder, 'agent');
    mkdirSync(agent);
    for (const name of ['README.md', 'viridian-exec', 'viridian-exec.socket', 'viridian-exec@.service'])
      writeFileSync(join(agent, name), `${name}\n`);
    const { files, sockets } = agentFiles(filesIn(agent));
    rmSync(agent, { recursive: true });
    expect(sockets).toEqual(['viridian-exec.socket']);
    expect([...files.keys()]).toEqual([
      'usr/lib/viridian/viridian-exec',
      'etc/systemd/system/viridian-exec.socket',
      'etc/systemd/system/viridian-exec.socket.d/module.conf',
      'etc/systemd/system/viridian-exec@.service',
    ]);
    expect(files.get('usr/lib/viridian/viridian-exec')).toEqual({ text: 'viridian-exec\n', mode: '755' });
    expect(agentFiles(filesIn(join(folder, 'none'))).files.size).toBe(0);
  });
});

describe('an image', () => {
  const file = join(folder, 'disk.vhdx');
  it.each([
    [{}, 'nobody could log in: give a password or a public key'],
    [{ password: '' }, 'an empty password opens no session: give another'],
    [{ password: 'a', user: 'root' }, 'the user cannot be root: it is one who may use sudo'],
    [{ password: 'a', user: 'A b' }, "user 'A b' is not possible: it is letters a to z"],
    [{ password: 'a', hostname: '-x' }, "hostname '-x' is not possible"],
    [{ password: 'a', hostname: "x'; reboot" }, 'is not possible'],
    [{ password: 'a', timezone: '../../etc' }, "timezone '../../etc' is not possible"],
    [{ password: 'a', include: ['a;b'] }, "package 'a;b' is not possible: it is a package's name"],
    [{ password: 'a', size: 2 ** 20 }, 'a Debian image has at least 1 GiB, and whole mebibytes'],
    [{ password: 'a', file: join(folder, 'none/disk.vhdx') }, 'no such folder'],
  ])('is refused with one line: %j', async (options, message) => {
    await expect(createDebianImage({ file, ...options })).rejects.toThrow(message);
    expect(readdirSync(folder)).toEqual([]);
  });
  it('does not replace a file unless asked to', async () => {
    const there = join(folder, 'there.vhdx');
    writeFileSync(there, '');
    await expect(createDebianImage({ file: there, password: 'a' })).rejects.toMatchObject({ code: 'wrongState' });
    rmSync(there);
  });
});
