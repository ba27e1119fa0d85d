/**
 * Debian's own network driver and its sockets to the host, in one boot: hv_netvsc on the NAT network, hv_sock without any. What
 * takes longer is in network.long.test.ts.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { InspectNode } from '../../src/contracts/partition.ts';
import type { GuestStream } from '../../src/contracts/sockets.ts';
import { CONFIGURE, fetched, freePort, networkGuest, serve, sha256 } from './network.fixture.ts';
import { eventually, Shell } from './shell.fixture.ts';

const guest = await networkGuest();
const reason = typeof guest === 'string' ? `: skipped, ${guest}` : '';
const MIB = 2 ** 20;
const EXPECTED =
  /PCI: Fatal: No config space access function found|PCI: System does not support PCI|hrtimer: interrupt took/;

async function textOf(stream: GuestStream): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const bytes of stream) parts.push(bytes);
  return Buffer.concat(parts).toString();
}

describe.skipIf(typeof guest === 'string')(`a guest's network and sockets${reason}`, { timeout: 240_000 }, () => {
  if (typeof guest === 'string') return;
  const content = randomBytes(8 * MIB);
  const folder = mkdtempSync(join(tmpdir(), 'viridian-network-'));
  const capture = join(folder, 'capture.pcap');
  let shell: Shell;
  let server: Awaited<ReturnType<typeof serve>>;
  let published: number;
  beforeAll(async () => {
    server = await serve(content);
    published = await freePort();
    shell = await Shell.start({
      ...guest,
      append: 'console=ttyS0 quiet',
      nics: [
        {
          network: 'nat',
          mac: '00-15-5D-01-02-03',
          hostAccess: [{ protocol: 'tcp', port: server.port }],
          forwards: [{ protocol: 'tcp', hostPort: published, guestPort: 80 }],
          capture,
        },
      ],
    });
    await shell.command(CONFIGURE);
  }, 240_000);
  afterAll(async () => {
    await shell.partition[Symbol.asyncDispose]();
    server.close();
    rmSync(folder, { recursive: true });
  });
  const adapter = async (name: string): Promise<InspectNode> => {
    const { vmbus } = await shell.partition.inspect();
    return ((vmbus as InspectNode).devices as InspectNode)[name] as InspectNode;
  };

  it('have their address, and reach the gateway', async () => {
    expect(await shell.command('cat /sys/class/net/eth0/address')).toBe('00:15:5d:01:02:03\n');
    expect(await shell.command('ifconfig eth0')).toContain('inet addr:172.30.0.10');
    expect(await shell.command('ping -c 3 -i 0.2 172.30.0.1')).toContain('3 packets received, 0% packet loss');
    expect(await adapter('nic0')).toMatchObject({ version: '6.1', link: 'up', malformed: 0 });
  });

  it('fetch from the host, and serve it, intact', async () => {
    expect(await shell.command(`wget -q -O - http://172.30.0.1:${server.port}/ | sha256sum`)).toBe(
      `${sha256(content)}  -\n`,
    );
    await shell.command(
      'mkdir /tmp/www; dd if=/dev/urandom of=/tmp/www/file bs=1M count=8 2>/dev/null; httpd -p 80 -h /tmp/www',
    );
    const { sum, size } = await fetched(published, '/file');
    expect(size).toBe(8 * MIB);
    expect(await shell.command('sha256sum < /tmp/www/file')).toBe(`${sum}  -\n`);
    // Large segments left the guest whole.
    const { sentFrames } = await adapter('nic0');
    expect(Number(sentFrames)).toBeLessThan((8 * MIB) / 1460);
  });

  it('are captured', () => {
    expect(existsSync(capture)).toBe(true);
    expect(readFileSync(capture).readUInt32LE(0)).toBe(0xa1b2_3c4d);
  });

  it('see the cable pulled, and put back', async () => {
    shell.partition.setLink('nic0', false);
    await eventually(async () => (await shell.command('cat /sys/class/net/eth0/carrier')) === '0\n');
    shell.partition.setLink('nic0', true);
    await eventually(async () => (await shell.command('cat /sys/class/net/eth0/carrier')) === '1\n');
    expect(() => shell.partition.setLink('nic7', true)).toThrow('no network adapter called nic7');
  });

  it('get adapters while they run, and lose them', async () => {
    const name = await shell.partition.attachNic({ network: 'private', mac: '00-15-5D-01-02-04' });
    expect(name).toBe('nic1');
    await eventually(
      async () => (await shell.command('cat /sys/class/net/eth1/address 2>&1')) === '00:15:5d:01:02:04\n',
    );
    shell.partition.detachNic(name);
    await eventually(async () => (await shell.command('ls /sys/class/net')) === 'eth0  lo\n');
    await expect(shell.partition.attachNic({ network: 'nat', mac: 'nonsense' })).rejects.toMatchObject({
      code: 'invalid',
    });
  });

  it('take connections from the host, and make them', async () => {
    const { partition } = shell;
    await shell.command('(vsock listen 5000 cat &); sleep 0.2');
    const stream = await partition.connect(5000);
    const data = randomBytes(2 * MIB);
    const writing = (async () => {
      for (let at = 0; at < data.length; at += 65536) await stream.write(data.subarray(at, at + 65536));
      stream.end();
    })();
    const parts: Uint8Array[] = [];
    for await (const bytes of stream) parts.push(bytes);
    await writing;
    expect(Buffer.compare(Buffer.concat(parts), data)).toBe(0);
    expect(await stream.closed).toBe('ended');
    await expect(partition.connect(5001, { timeout: 300 })).rejects.toMatchObject({ code: 'timeout' });

    const listener = partition.listen(7000, (accepted) => {
      void textOf(accepted).then(async (text) => {
        await accepted.write(Buffer.from(`${text.length} bytes\n`));
        accepted.end();
      });
    });
    expect(await shell.command('dd if=/dev/zero bs=64k count=40 2>/dev/null | vsock connect 7000')).toBe(
      '2621440 bytes\n',
    );
    listener.close();
    await eventually(async () =>
      Object.keys(((await partition.inspect()).vmbus as InspectNode).devices as object).every(
        (name) => !name.startsWith('hvsocket'),
      ),
    );
  });

  it('go on after a save, connections excepted', async () => {
    const stream = await shell.partition.connect(5000);
    await stream.write(Buffer.from('a'));
    await stream.read();
    await shell.partition.pause();
    const restore = await shell.partition.save();
    shell.partition.turnOff();
    expect(await stream.closed).toBe('cut');
    await shell.partition.stopped;
    shell = await Shell.start({
      restore,
      nics: [{ network: 'nat', mac: '00-15-5D-01-02-03', hostAccess: [{ protocol: 'tcp', port: server.port }] }],
    });
    expect(await shell.command(`wget -q -O - http://172.30.0.1:${server.port}/ | sha256sum`)).toBe(
      `${sha256(content)}  -\n`,
    );
    const again = await shell.partition.connect(5000);
    await again.write(Buffer.from('hello'));
    again.end();
    expect(await textOf(again)).toBe('hello');
    const lines = (await shell.command("dmesg -r | grep -E '^<[0-4]>'")).trim().split('\n');
    expect(lines.filter((line) => !EXPECTED.test(line))).toEqual([]);
  });
});
