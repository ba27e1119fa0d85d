/**
 * Virtual switches between VMs, with two real guests (Debian's kernel, hv_netvsc, busybox) in processes of their own, through the
 * command: who reaches whom, what a guest that lies gets, adapters that come and go, and processes that are killed.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SwitchDetail } from '../src/contracts/api/resources.ts';
import type { SwitchEvent, SwitchMethods } from '../src/contracts/switches.ts';
import { runCommand } from '../src/host/node/command.ts';
import { RequestLink } from '../src/vmms/worker-link.ts';
import { hypervGuest } from './boot/guest.fixture.ts';
import { fetched, freePort } from './boot/network.fixture.ts';
import { Console, HV, type Managed, managed } from './managed.fixture.ts';

const debian = await hypervGuest();
const reason = typeof debian === 'string' ? debian : undefined;
/** Of every guest on this machine, network or none. */
const EXPECTED =
  /PCI: Fatal: No config space access function found|PCI: System does not support PCI|hrtimer: interrupt took|clocksource:/;
const UDHCPC = [
  `printf '#!/bin/sh\\n[ "$1" = bound ] || exit 0\\nifconfig $interface $ip netmask $subnet\\nroute add default gw $router\\necho nameserver $dns > /etc/resolv.conf\\necho search $domain >> /etc/resolv.conf\\n' > /tmp/dhcp`,
  'chmod +x /tmp/dhcp',
].join('; ');

describe.skipIf(reason !== undefined)(`switches between VMs${reason ? `: skipped, ${reason}` : ''}`, () => {
  if (typeof debian === 'string') return;
  let here: Managed;
  let one: Console;
  let two: Console;
  const show = async (name: string): Promise<SwitchDetail> =>
    JSON.parse(await here.hv('switch', 'show', name, '--json')) as SwitchDetail;
  const port = async (name: string, vm: string) => (await show(name)).ports.find((each) => each.vm === vm)!;
  /** Whether an address answers. */
  const reaches = async (from: Console, address: string, count = 4): Promise<boolean> =>
    (await from.run(`ping -c ${count} -i 0.3 -w 6 ${address} > /dev/null 2>&1 && echo yes || echo no`)) === 'yes';
  const eventually = async (what: () => Promise<boolean>): Promise<void> => {
    const deadline = Date.now() + 120_000;
    while (!(await what())) {
      if (Date.now() > deadline) throw new Error('that has not come about within two minutes');
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  };
  const warnings = async (guest: Console): Promise<string[]> =>
    (await guest.run("dmesg -r | grep -E '^<[0-4]>'")).split('\n').filter((line) => line && !EXPECTED.test(line));

  const control = () =>
    RequestLink.open<SwitchMethods, SwitchEvent>(
      'the switch process',
      join(here.home, 'run/switch/control.sock'),
      () => {},
    );

  beforeAll(async () => {
    here = managed();
    await here.hv('switch', 'create', 'quiet', '--kind', 'Private');
    for (const name of ['one', 'two'])
      await here.hv(
        ...['vm', 'new', name, '--memory', '192M', '--kernel', debian.kernel, '--initrd', debian.initrd],
        ...['--append', 'console=ttyS0 quiet', '--nic', 'quiet'],
      );
    await here.hv('start', 'one', 'two');
    one = await Console.of(here.service, 'one');
    two = await Console.of(here.service, 'two');
    for (const guest of [one, two]) {
      await guest.until('root@viridian:/root# ');
      await guest.run(UDHCPC);
    }
  });
  afterAll(async () => {
    await here.end();
  });

  it('of kind Private: they reach each other, and nothing else', async () => {
    await one.run('ifconfig eth0 192.168.7.1 netmask 255.255.255.0');
    await two.run('ifconfig eth0 192.168.7.2 netmask 255.255.255.0');
    await eventually(async () => await reaches(one, '192.168.7.2'));
    await eventually(async () => await reaches(two, '192.168.7.1'));
    await one.run('route add default gw 192.168.7.254');
    for (const address of ['192.168.7.254', '172.30.0.1', '192.0.2.1'])
      expect(await reaches(one, address, 2)).toBe(false);
    expect(await one.run('udhcpc -n -q -t 3 -T 1 -i eth0 -s /tmp/dhcp > /dev/null 2>&1; echo $?')).toBe('1');
    const { ports, leases } = await show('quiet');
    expect(ports.map(({ vm, link }) => [vm, link])).toEqual([
      ['one', true],
      ['two', true],
    ]);
    expect(leases).toEqual([]);
    // The pool gives each an address of its own, which the guest has.
    const macs = ports.map(({ mac }) => mac);
    expect(new Set(macs).size).toBe(2);
    expect(await one.run('cat /sys/class/net/eth0/address')).toBe(macs[0]);
  });

  it('the guard holds a guest to its MAC address, and to its IP address where that is said', async () => {
    const own = (await port('quiet', 'two')).mac;
    const other = (await port('quiet', 'one')).mac;
    const take = async (mac: string): Promise<void> => {
      await two.run(
        `ifconfig eth0 down; ifconfig eth0 hw ether ${mac}; ifconfig eth0 192.168.7.2 netmask 255.255.255.0 up`,
      );
      expect(await two.run('cat /sys/class/net/eth0/address')).toBe(mac);
    };
    for (const mac of [other, '02:00:00:00:00:99']) {
      await take(mac);
      expect(await reaches(two, '192.168.7.1')).toBe(false);
    }
    expect((await port('quiet', 'two')).dropped.mac).toBeGreaterThan(0);
    await here.hv('nic', 'set', 'two', 'nic0', '--mac-spoofing', 'on');
    await eventually(async () => await reaches(two, '192.168.7.1'));
    // Not another adapter's, even so.
    await take(other);
    expect(await reaches(two, '192.168.7.1')).toBe(false);
    await here.hv('nic', 'set', 'two', 'nic0', '--mac-spoofing', 'off');
    await take(own);
    await eventually(async () => await reaches(two, '192.168.7.1'));

    await here.hv('nic', 'set', 'one', 'nic0', '--address', '192.168.7.1');
    await eventually(async () => await reaches(two, '192.168.7.1'));
    await two.run('ifconfig eth0 192.168.7.7');
    await eventually(async () => await reaches(two, '192.168.7.1'));
    // What is another's, nobody has; who is held to one has no other.
    await one.run('ifconfig eth0 192.168.7.8');
    expect(await reaches(one, '192.168.7.7')).toBe(false);
    await two.run('ifconfig eth0 192.168.7.1');
    expect(await reaches(two, '192.168.7.8')).toBe(false);
    expect((await port('quiet', 'two')).dropped.address).toBeGreaterThan(0);
    expect((await port('quiet', 'one')).dropped.address).toBeGreaterThan(0);
    await one.run('ifconfig eth0 192.168.7.1');
    await two.run('ifconfig eth0 192.168.7.2');
    await eventually(async () => await reaches(two, '192.168.7.1'));
  });

  it('VLANs are networks of their own', async () => {
    await here.hv('nic', 'set', 'one', 'nic0', '--vlan', '20');
    expect(await reaches(two, '192.168.7.1')).toBe(false);
    await here.hv('nic', 'set', 'two', 'nic0', '--vlan', '20');
    await eventually(async () => await reaches(two, '192.168.7.1'));
    await here.hv('nic', 'set', 'one', 'nic0', '--vlan', 'none');
    await here.hv('nic', 'set', 'two', 'nic0', '--vlan', 'none');
    await eventually(async () => await reaches(two, '192.168.7.1'));
  });

  it('a cable is pulled, and plugged in again', async () => {
    await here.hv('nic', 'disconnect', 'two', 'nic0');
    await eventually(async () => (await two.run('cat /sys/class/net/eth0/carrier')) === '0');
    expect(await reaches(one, '192.168.7.2', 2)).toBe(false);
    await here.hv('nic', 'connect', 'two', 'nic0', 'quiet');
    await eventually(async () => (await two.run('cat /sys/class/net/eth0/carrier')) === '1');
    await eventually(async () => await reaches(one, '192.168.7.2'));
  });

  it('adapters come while guests run, have their addresses by DHCP, and names resolve', async () => {
    await here.hv('switch', 'create', 'lan', '--subnet', '192.168.9.0/24');
    for (const [name, guest] of [
      ['one', one],
      ['two', two],
    ] as const) {
      await here.hv('nic', 'add', name, 'lan');
      await eventually(async () => (await guest.run('ls /sys/class/net')).includes('eth1'));
      expect(await guest.run('ifconfig eth1 up; udhcpc -n -q -i eth1 -s /tmp/dhcp > /dev/null 2>&1; echo $?')).toBe(
        '0',
      );
    }
    const { leases } = await show('lan');
    expect(leases).toEqual([
      { owner: 'one/nic1', address: '192.168.9.10', fixed: false },
      { owner: 'two/nic1', address: '192.168.9.11', fixed: false },
    ]);
    expect(await one.run('ifconfig eth1')).toContain('inet addr:192.168.9.10');
    await eventually(async () => await reaches(one, 'two'));
    await eventually(async () => await reaches(two, 'one.viridian.internal'));
    expect(await here.hv('nic', 'ls', 'one')).toContain('192.168.9.10');
    const { text } = JSON.parse(await here.hv('events', '--json', '--last', '1')) as { text: string };
    expect(text).toBe('two has the address 192.168.9.11 (nic1)');
    // Another's address is not to be had here either.
    await two.run('ifconfig eth1 192.168.9.10');
    expect(await reaches(two, '192.168.9.1', 2)).toBe(false);
    await two.run('ifconfig eth1 192.168.9.11');
    await eventually(async () => await reaches(two, '192.168.9.1'));
  });

  it('ports of the host lead to guests, through the service', async () => {
    await one.run(
      'mkdir -p /tmp/www; dd if=/dev/urandom of=/tmp/www/file bs=1M count=4 2>/dev/null; httpd -p 80 -h /tmp/www',
    );
    const published = await freePort();
    await here.hv('nic', 'set', 'one', 'nic1', '-p', `${published}:80`);
    expect((await show('lan')).forwards).toMatchObject([{ vm: 'one', hostPort: published, guestPort: 80 }]);
    const sum = await one.run('sha256sum < /tmp/www/file');
    expect(`${(await fetched(published, '/file')).sum}  -`).toBe(sum);
    expect(await two.run('wget -q -O - http://one/file | sha256sum')).toBe(sum);
    const other = await runCommand(HV, ['nic', 'set', 'two', 'nic1', '-p', `${published}:80`]);
    expect([other.code, other.stderr]).toEqual([1, expect.stringContaining('the port is in use; choose another')]);
    await here.hv('nic', 'set', 'one', 'nic1', '-p', 'none');
    await expect(fetched(published, '/file')).rejects.toThrow('ECONNREFUSED');
  });

  it('bandwidth is limited', async () => {
    await here.hv('nic', 'set', 'one', 'nic1', '--send-limit', '16M');
    const before = performance.now();
    await two.run('wget -q -O /dev/null http://one/file');
    const seconds = (performance.now() - before) / 1000;
    // 4 MiB at 2 MB/s, but for a burst.
    expect(seconds).toBeGreaterThan(1.7);
    await here.hv('nic', 'set', 'one', 'nic1', '--send-limit', 'none');
  });

  it('what passes is captured', async () => {
    const file = join(here.home, 'lan.pcap');
    const capture = runCommand(HV, ['switch', 'capture', 'lan', file, '--vm', 'two', '--seconds', '20']);
    await eventually(async () => existsSync(file) && readFileSync(file).length >= 24);
    await reaches(two, 'one', 2);
    expect((await capture).code).toBe(0);
    const bytes = readFileSync(file);
    expect(bytes.readUInt32LE(0)).toBe(0xa1b2_3c4d);
    // An echo request from two to one.
    const mac = (await port('lan', 'two')).mac.replaceAll(':', '');
    expect(bytes.toString('hex')).toContain(`${mac}0800`);
  });

  it('they go on when the service is killed, and when the switch process is', async () => {
    await one.run('(ping -i 0.2 192.168.7.2 > /tmp/ping 2>&1 &)');
    const { pid } = JSON.parse(await here.hv('service', 'status', '--json')) as { pid: number };
    process.kill(pid, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 2000));
    // The command starts another service, which finds what goes on.
    const before = await show('lan');
    expect(before.ports.map(({ vm, address, link }) => [vm, address, link])).toEqual([
      ['one', '192.168.9.10', true],
      ['two', '192.168.9.11', true],
    ]);
    one = await Console.of(here.service, 'one', false);
    two = await Console.of(here.service, 'two', false);
    await one.run('killall -INT ping; sleep 1');
    const pinged = /(\d+) packets transmitted, (\d+) packets received/.exec(await one.run('tail -n 2 /tmp/ping'));
    const [sent, received] = [Number(pinged?.[1]), Number(pinged?.[2])];
    expect(sent).toBeGreaterThan(10);
    // One may be on its way when it is interrupted.
    expect(sent - received).toBeLessThanOrEqual(1);

    const link = await control();
    const { pid: switchPid } = await link.request('hello', undefined);
    process.kill(switchPid, 'SIGKILL');
    await link.closed;
    await eventually(async () => await reaches(one, '192.168.7.2', 2));
    await eventually(async () => await reaches(two, 'one', 2));
    expect((await show('lan')).leases).toEqual(before.leases);
    expect(await here.hv('events', '--last', '5')).toContain('the switch process has ended, and is started again');
    expect(await two.run('wget -q -O - http://one/file | sha256sum')).toBe(await one.run('sha256sum < /tmp/www/file'));
    expect(await one.run('cat /sys/class/net/eth1/carrier_changes')).toBe(
      await two.run('cat /sys/class/net/eth1/carrier_changes'),
    );
  });

  it('a fork is another machine on the network', async () => {
    await here.hv('checkpoint', 'create', 'one', 'here');
    await here.hv('vm', 'fork', 'one', 'here', 'three');
    await using three = await Console.of(here.service, 'three', false);
    const { mac } = await port('lan', 'three');
    expect(mac).not.toBe((await port('lan', 'one')).mac);
    await eventually(async () => (await three.run('cat /sys/class/net/*/address')).includes(mac));
    const name = (await three.run(`grep -l ${mac} /sys/class/net/*/address`)).split('/')[4]!;
    expect(await three.run(`ifconfig ${name} up; udhcpc -n -q -i ${name} -s /tmp/dhcp > /dev/null 2>&1; echo $?`)).toBe(
      '0',
    );
    expect((await port('lan', 'three')).address).toBe('192.168.9.12');
    await eventually(async () => await reaches(three, 'one'));
    await eventually(async () => await reaches(one, 'three'));
    expect(await warnings(three)).toEqual([]);
    await here.hv('stop', 'three', '--turn-off');
    await here.hv('vm', 'rm', 'three', '--yes');
    await here.hv('checkpoint', 'rm', 'one', 'here', '--yes');
  });

  it('saved and started again, a guest has its address', async () => {
    await here.hv('vm', 'save', 'two');
    await here.hv('start', 'two');
    two = await Console.of(here.service, 'two', false);
    await eventually(async () => await reaches(one, 'two'));
    await eventually(async () => await reaches(two, '192.168.7.1'));
  });

  it('adapters go while guests run, and nobody warns of anything', async () => {
    for (const [name, guest] of [
      ['one', one],
      ['two', two],
    ] as const) {
      await here.hv('nic', 'rm', name, 'nic1');
      await eventually(async () => (await guest.run('ls /sys/class/net')) === 'eth0  lo');
      expect(await warnings(guest)).toEqual([]);
    }
    expect((await show('lan')).ports).toEqual([]);
    await here.hv('switch', 'rm', 'lan');
    await eventually(async () => await reaches(one, '192.168.7.2'));
  });

  it('nothing is left behind', async () => {
    await here.hv('stop', 'one', 'two', '--turn-off');
    const busy = await runCommand(HV, ['switch', 'rm', 'quiet']);
    expect([busy.code, busy.stderr]).toEqual([4, expect.stringContaining('hv nic disconnect')]);
    await here.hv('vm', 'rm', 'one', 'two', '--yes');
    await here.hv('switch', 'rm', 'quiet');
    await here.hv('service', 'stop');
    expect(readdirSync(join(here.home, 'run/w'))).toEqual([]);
    // Nobody listens any more.
    await expect(control()).rejects.toThrow(/ECONNREFUSED|ENOENT/);
  });
});
