/**
 * Debian's own Hyper-V drivers on our VMBus: one boot with hv_vmbus, hv_utils, hyperv-keyboard, hid-hyperv and the others
 * loaded, through the library.
 */
import { createHash } from 'node:crypto';
import { inflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryDisk } from '../../src/vsp/storvsp/memory-disk.fixture.ts';
import { hypervGuest } from './guest.fixture.ts';
import { eventually, PROMPT, Shell } from './shell.fixture.ts';

const debian = await hypervGuest();
const reason = typeof debian === 'string' ? `: skipped, ${debian}` : '';
const MIB = 2 ** 20;
/** What a machine without PCI says, as Hyper-V's do; and what is due to a host that was busy with something else. */
const EXPECTED =
  /PCI: Fatal: No config space access function found|PCI: System does not support PCI|hrtimer: interrupt took/;

describe.skipIf(typeof debian === 'string')(`Debian's Hyper-V drivers${reason}`, { timeout: 180_000 }, () => {
  if (typeof debian === 'string') return;
  const { kernel, initrd } = debian;
  let shell: Shell;
  const disk = new MemoryDisk(16 * MIB);
  beforeAll(async () => {
    shell = await Shell.start({ kernel, initrd, append: 'console=tty0 console=ttyS0 quiet', disks: [disk] });
    await shell.until(PROMPT);
  }, 180_000);
  afterAll(async () => {
    await shell.partition[Symbol.asyncDispose]();
  });

  it('speak VMBus 5.3, and have nothing to warn of', async () => {
    expect(await shell.command('dmesg')).toContain('hv_vmbus: Vmbus version:5.3');
    const lines = (await shell.command("dmesg -r | grep -E '^<[0-4]>'")).trim().split('\n');
    expect(lines.filter((line) => !EXPECTED.test(line))).toEqual([]);
  });

  it('are bound to every device', async () => {
    const shown = await shell.command(
      'for d in /sys/bus/vmbus/devices/*; do echo $(cat $d/class_id) $(basename $(readlink $d/driver)); done',
    );
    const drivers = new Map(
      shown
        .trim()
        .split('\n')
        .map((line) => line.split(' ') as [string, string]),
    );
    expect(Object.fromEntries(drivers)).toEqual({
      '{0e0b6031-5213-4934-818b-38d90ced39db}': 'hv_utils',
      '{9527e630-d0ae-497b-adce-e80ab0175caf}': 'hv_utils',
      '{57164f39-9115-4e78-ab55-382f3bd5422d}': 'hv_utils',
      '{a9a0f4e7-5a45-4d96-b827-8a841e8c03e6}': 'hv_utils',
      '{35fa2e29-ea23-4236-96ae-3a6ebacba440}': 'hv_utils',
      '{34d14be3-dee4-41c8-9ae7-6b174977c192}': 'hv_utils',
      '{f912ad6d-2b17-48ea-bd65-f927a61c7684}': 'hyperv_keyboard',
      '{cfa8b69e-5b4a-4cc0-b98b-8ba1a1f3f95a}': 'hid_hyperv',
      '{da0a7802-e377-4aac-8e77-0558eb1073f8}': 'hyperv_fb',
      '{525074dc-8985-46e2-8057-a307dc18a502}': 'hv_balloon',
      '{ba6163d9-04a1-4d29-b605-72e2ffb1dc7f}': 'hv_storvsc',
    });
    const tree = JSON.stringify((await shell.partition.inspect()).vmbus, (_key, value: unknown) =>
      typeof value === 'bigint' ? value.toString() : value,
    );
    expect(tree).toContain('"version":"5.3"');
    expect(tree).toContain('"malformed":0,"unexpected":0,"refused":0,"dropped":0,"defects":0');
  });

  it('take keys and the mouse', async () => {
    const { keyboard, mouse } = shell.partition;
    await eventually(() => keyboard!.ready && mouse!.ready);
    // A key event is 24 bytes: time, type, code, value. KEY_H is 35.
    const device = await shell.command(
      "grep -A5 'AT Translated Set 2' /proc/bus/input/devices | sed -n 's/.*\\(event[0-9]*\\).*/\\1/p'",
    );
    expect(device).toMatch(/^event\d+\n$/);
    const events = shell.command(`dd if=/dev/input/${device.trim()} bs=24 count=3 2>/dev/null | od -An -tu2 -v -w24`);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(keyboard!.type('h')).toBe('');
    expect(await events).toMatch(/ 1 +35 +1 +0\n/);
    const pointer = await shell.command(
      "grep -A5 'Microsoft Vmbus HID-compliant Mouse' /proc/bus/input/devices | sed -n 's/.*\\(event[0-9]*\\).*/\\1/p'",
    );
    const moved = shell.command(`dd if=/dev/input/${pointer.trim()} bs=24 count=3 2>/dev/null | od -An -tu2 -v -w24`);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(mouse!.move({ x: 0.25, y: 1 })).toBe(true);
    // EV_ABS, ABS_X and ABS_Y.
    const shown = await moved;
    expect(shown).toMatch(/ 3 +0 +8192 +0\n/);
    expect(shown).toMatch(/ 3 +1 +32767 +0\n/);
  });

  it('show their console', async () => {
    /** Width, height, and how many bytes of the picture are not black. */
    const look = async (): Promise<[number, number, number]> => {
      const png = Buffer.from((await shell.partition.screenshot())!);
      const data = png.subarray(41, 41 + png.readUInt32BE(33));
      return [png.readUInt32BE(16), png.readUInt32BE(20), inflateSync(data).filter((byte) => byte !== 0).length];
    };
    await eventually(async () => (await shell.partition.screenshot()) !== undefined);
    await shell.command('printf "\\033c\\033[?25l" > /dev/tty0; sleep 0.3');
    const [width, height, before] = await look();
    expect([width, height]).toEqual([1024, 768]);
    await shell.command('echo "Hello, screen" > /dev/tty0; sleep 0.3');
    await eventually(async () => (await look())[2] > before + 500);
  });

  it('answer the heartbeat and set the clock', async () => {
    await eventually(() => shell.partition.integration.heartbeat() === 'OK');
    // The kernel's log is not told of it; a clock that was set wrong comes back.
    await shell.command('date -s 2020-01-01');
    shell.partition.integration.synchronizeTime();
    await eventually(async () => (await shell.command('date +%Y')) === `${new Date().getFullYear()}\n`);
  });

  it('give memory back, and take it again', async () => {
    const memory = shell.partition.memory!;
    await eventually(() => memory.ready);
    const free = async (): Promise<number> =>
      Number((await shell.command("awk '/MemTotal/ { print $2 }' /proc/meminfo")).trim()) * 1024;
    const before = await free();
    memory.setTarget(384 * MIB);
    await eventually(() => memory.status().assigned === 384 * MIB);
    expect(before - (await free())).toBe(128 * MIB);
    memory.setTarget(512 * MIB);
    await eventually(() => memory.status().assigned === 512 * MIB);
    await eventually(async () => (await free()) === before);
  });

  it('keep data on a disk', async () => {
    await eventually(async () => (await shell.command('ls /dev/sda 2>&1')) === '/dev/sda\n');
    // Through the block device to the medium, a file system on it too.
    await shell.command('mke2fs /dev/sda >/dev/null 2>&1; mkdir -p /mnt; mount -t ext2 /dev/sda /mnt');
    await shell.command('dd if=/dev/urandom of=/mnt/file bs=64k count=64 2>/dev/null; sync; umount /mnt; sync');
    const sum = await shell.command('md5sum < /dev/sda');
    expect(sum).toBe(`${createHash('md5').update(disk.bytes).digest('hex')}  -\n`);
    expect(disk.bytes.subarray(0x438, 0x43a)).toEqual(Uint8Array.of(0x53, 0xef));
  });

  it('say so where a daemon is missing', async () => {
    await expect(shell.partition.integration.getValue('auto', 'OSName')).rejects.toMatchObject({ code: 'wrongState' });
  });

  it('go on after a pause, and in a partition that was saved and restored', async () => {
    const { partition } = shell;
    await partition.pause();
    const first = await partition.digest();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await partition.digest()).toEqual(first);
    const saved = await partition.save();
    await partition[Symbol.asyncDispose]();
    shell = await Shell.start({ restore: saved, disks: [disk] });
    await eventually(() => shell.partition.integration.heartbeat() === 'OK');
    expect(await shell.command('cat /sys/bus/vmbus/devices/*/state | sort | uniq -c')).toMatch(/^ *11 3\n$/);
    expect(shell.partition.keyboard!.ready).toBe(true);
  });

  it('restart the guest, and shut it down', async () => {
    await shell.partition.shutdown({ restart: true });
    await shell.until("A busybox shell on Debian's kernel");
    await shell.until(PROMPT);
    await shell.partition.shutdown();
    expect(await shell.partition.stopped).toEqual({ kind: 'powerOff' });
  });
});
