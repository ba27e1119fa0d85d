/**
 * Debian's own Hyper-V drivers on our VMBus: one boot with hv_vmbus, hv_utils, hyperv-keyboard, hid-hyperv and the others
 * loaded, through the library.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isViridianError } from '../../src/contracts/errors.ts';
import type { InspectNode } from '../../src/contracts/partition.ts';
import { GENERATION_ID } from '../../src/firmware/memory-map.ts';
import { libc } from '../../src/host/node/libc.ts';
import { MemoryDisk } from '../../src/vsp/storvsp/memory-disk.fixture.ts';
import { hypervDaemons } from './daemons.fixture.ts';
import { hypervGuest } from './guest.fixture.ts';
import { CHARACTERS, Font, type Picture, pictureOf } from './screen.fixture.ts';
import { Shell } from './shell.fixture.ts';

const debian = await hypervGuest();
const daemons = await hypervDaemons();
const reason = typeof debian === 'string' ? `: skipped, ${debian}` : '';
const MIB = 2 ** 20;
const MEMORY = { memory: 512 * MIB, memoryMinimum: 256 * MIB, memoryMaximum: 768 * MIB };
/** What a machine without PCI says, as Hyper-V's do; and what is due to a host that was busy with something else. */
const EXPECTED =
  /PCI: Fatal: No config space access function found|PCI: System does not support PCI|hrtimer: interrupt took/;

async function repeatedly(until: Promise<unknown>, act: () => void): Promise<void> {
  const timer = setInterval(act, 300);
  act();
  await until.finally(() => {
    clearInterval(timer);
  });
}

async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 50));
}

describe.skipIf(typeof debian === 'string')(`Debian's Hyper-V drivers${reason}`, { timeout: 300_000 }, () => {
  if (typeof debian === 'string') return;
  const { kernel } = debian;
  const extra = typeof daemons === 'string' ? [] : [daemons];
  const initrd = Buffer.concat([readFileSync(debian.initrd), ...extra]);
  let shell: Shell;
  const disk = new MemoryDisk(16 * MIB);
  beforeAll(async () => {
    shell = await Shell.start({ kernel, initrd, append: 'console=tty0 console=ttyS0 quiet', disks: [disk], ...MEMORY });
  }, 300_000);
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
    const events = shell.command(`dd if=/dev/input/${device.trim()} bs=24 count=6 2>/dev/null | od -An -tu2 -v -w24`);
    // Until somebody reads them, events are lost. Six are a key down and up, in either order, or two positions.
    await repeatedly(events, () => {
      expect(keyboard!.type('h')).toBe('');
    });
    expect(await events).toMatch(/ 1 +35 +1 +0\n/);
    const pointer = await shell.command(
      "grep -A5 'Microsoft Vmbus HID-compliant Mouse' /proc/bus/input/devices | sed -n 's/.*\\(event[0-9]*\\).*/\\1/p'",
    );
    const moved = shell.command(`dd if=/dev/input/${pointer.trim()} bs=24 count=6 2>/dev/null | od -An -tu2 -v -w24`);
    let there = false;
    await repeatedly(moved, () => {
      // A position that does not change is no event.
      there = !there;
      expect(mouse!.move(there ? { x: 0.25, y: 1 } : { x: 0, y: 0 })).toBe(true);
    });
    // EV_ABS, ABS_X and ABS_Y.
    const shown = await moved;
    expect(shown).toMatch(/ 3 +0 +8192 +0\n/);
    expect(shown).toMatch(/ 3 +1 +32767 +0\n/);
  });

  it('have a console with a keyboard and a screen', async () => {
    const { partition } = shell;
    const look = async (): Promise<Picture> => pictureOf((await partition.screenshot())!);
    await eventually(async () => (await partition.screenshot()) !== undefined);
    const octal = CHARACTERS.map((each) => `\\${each.charCodeAt(0).toString(8)}`).join('');
    await shell.command(`printf '\\033c\\033[?25l${octal}' > /dev/tty1`);
    let font: Font | undefined;
    await eventually(async () => {
      const picture = await look();
      expect([picture.width, picture.height]).toEqual([1024, 768]);
      try {
        font = new Font(picture);
      } catch {
        return false;
      }
      return true;
    });
    // A shell on the virtual terminal, which nobody but the keyboard types to.
    await shell.command("printf '\\033c' > /dev/tty1; (setsid sh -c 'exec sh -i < /dev/tty1 > /dev/tty1 2>&1' &)");
    const shown = async (): Promise<string> => font!.read(await look()).join('\n');
    await eventually(async () => /^root@viridian:/m.test(await shown()));
    // What was typed before there was a shell is its first line.
    partition.keyboard!.type('\n');
    await eventually(async () => /not found/.test(await shown()));
    expect(partition.keyboard!.type('echo "Hello, $((6*7))!" | tee /tmp/typed\n')).toBe('');
    await eventually(async () => /^Hello, 42!$/m.test(await shown()));
    expect(await shown()).toMatch(/^root@viridian:\/root# echo "Hello, \$\(\(6\*7\)\)!" \| tee \/tmp\/typed$/m);
    expect(await shell.command('cat /tmp/typed')).toBe('Hello, 42!\n');
    partition.keyboard!.type('exit\n');
  });

  it('answer the heartbeat and set the clock', async () => {
    await eventually(() => shell.partition.integration.heartbeat() === 'OK');
    // The kernel's log is not told of it; a clock that was set wrong comes back.
    await shell.command('date -s 2020-01-01');
    shell.partition.integration.synchronizeTime();
    await eventually(async () => (await shell.command('date +%Y')) === `${new Date().getFullYear()}\n`);
  });

  it('give memory back, take it again, and more of it', async () => {
    const memory = shell.partition.memory!;
    await eventually(() => memory.ready);
    memory.setTarget(512 * MIB);
    await eventually(() => memory.status().assigned === 512 * MIB);
    const total = async (): Promise<number> =>
      Number((await shell.command("awk '/MemTotal/ { print $2 }' /proc/meminfo")).trim()) * 1024;
    const before = await total();
    // All of it has been used.
    await shell.command('dd if=/dev/zero of=/tmp/used bs=1M count=220 2>/dev/null; rm /tmp/used');
    const resident = process.memoryUsage.rss();
    memory.setTarget(256 * MIB);
    await eventually(() => memory.status().assigned === 256 * MIB);
    expect(before - (await total())).toBe(256 * MIB);
    if (libc() !== undefined) {
      expect(memory.status().returned).toBe(256 * MIB);
      expect(resident - process.memoryUsage.rss()).toBeGreaterThan(100 * MIB);
    }
    memory.setTarget(512 * MIB);
    await eventually(() => memory.status().assigned === 512 * MIB);
    await eventually(async () => (await total()) === before);
    memory.setTarget(768 * MIB);
    await eventually(() => memory.status().assigned === 768 * MIB);
    await eventually(async () => (await total()) > before + 250 * MIB);
    await shell.command('dd if=/dev/zero of=/dev/shm/big bs=1M count=300 2>/dev/null; rm /dev/shm/big');
    expect(await shell.command("dmesg -r | grep -E '^<[0-4]>' | tail -n +4")).not.toMatch(/memory|balloon/i);
  });

  it('have what they need', async () => {
    const memory = shell.partition.memory!;
    memory.setTarget(undefined);
    // Linux's driver says nothing of its needs in the first 45 seconds, if not told otherwise.
    await shell.command('echo 0 > /sys/module/hv_balloon/parameters/pressure_report_delay');
    // The guest does nothing: it needs no more than the minimum.
    await eventually(() => memory.status().assigned === 256 * MIB);
    expect(memory.status()).toMatchObject({ target: 256 * MIB, minimum: 256 * MIB, maximum: 768 * MIB });
    await shell.command('dd if=/dev/zero of=/tmp/held bs=1M count=150 2>/dev/null');
    await eventually(() => memory.status().assigned > 300 * MIB);
    await shell.command('rm /tmp/held');
    await eventually(() => memory.status().assigned === 256 * MIB);
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

  describe.skipIf(typeof daemons === 'string')(
    `with Debian's hyperv-daemons${typeof daemons === 'string' ? `: skipped, ${daemons}` : ''}`,
    () => {
      it('exchange data', async () => {
        const { integration } = shell.partition;
        for (const name of ['kvp', 'vss', 'fcopy'])
          await shell.command(`(hv_${name}_daemon -n > /tmp/${name}.log 2>&1 &)`);
        let values: ReadonlyMap<string, string> | undefined;
        // The driver holds the negotiation back until there is a daemon.
        await eventually(async () => {
          values = await integration.values('auto').catch(() => undefined);
          return values !== undefined;
        });
        expect(values!.get('OSName')).toBe('Linux');
        expect(values!.get('OSBuildNumber')).toBe((await shell.command('uname -r')).trim());
        expect(await integration.addresses()).toEqual([]);
        await integration.setValue('external', 'Greeting', 'Gr\u00fc\u00dfe');
        expect(await shell.command("tr -d '\\0' < /var/lib/hyperv/.kvp_pool_0")).toBe(
          new TextDecoder('latin1').decode(Buffer.from('GreetingGr\u00fc\u00dfe')),
        );
        // A record is 512 bytes of key and 2048 of value.
        await shell.command(
          '(printf Answer; head -c 506 /dev/zero; printf 42; head -c 2046 /dev/zero) > /var/lib/hyperv/.kvp_pool_1',
        );
        expect(await integration.getValue('guest', 'Answer')).toBe('42');
        expect(await integration.deleteValue('external', 'Greeting')).toBe(true);
        expect(await shell.command("tr -d '\\0' < /var/lib/hyperv/.kvp_pool_0")).toBe('');
      });

      it('write files', async () => {
        const { integration } = shell.partition;
        const bytes = randomBytes(200_001);
        await eventually(async () => {
          const copied = integration.copyFile('/tmp/deep/down/file', bytes, { createFolders: true });
          return await copied.then(
            () => true,
            (error: unknown) => !isViridianError(error) || error.code !== 'wrongState',
          );
        });
        const sum = createHash('sha256').update(bytes).digest('hex');
        expect(await shell.command('sha256sum /tmp/deep/down/file')).toBe(`${sum}  /tmp/deep/down/file\n`);
        await expect(integration.copyFile('/tmp/deep/down/file', bytes)).rejects.toMatchObject({ code: 'failure' });
      });

      it('freeze file systems and thaw them', async () => {
        const { integration } = shell.partition;
        await shell.command('mount -t ext4 /dev/sda /mnt; echo 1 > /mnt/first; sync');
        await integration.freeze();
        await shell.command("(sh -c 'echo 2 > /mnt/second; echo > /tmp/written' &); sleep 0.5");
        const frozen = createHash('md5').update(disk.bytes).digest('hex');
        await shell.command('sleep 0.5');
        expect(await shell.command('ls /tmp/written 2>/dev/null')).toBe('');
        expect(createHash('md5').update(disk.bytes).digest('hex')).toBe(frozen);
        await integration.thaw();
        await eventually(async () => (await shell.command('ls /tmp/written 2>/dev/null')) === '/tmp/written\n');
        await shell.command('umount /mnt');
      });
    },
  );

  it('go on after a pause, and in a partition that was saved and restored', async () => {
    const { partition } = shell;
    const rightTime = async (): Promise<void> => {
      await eventually(async () => (await shell.command('date +%Y')) === `${new Date().getFullYear()}\n`);
      await shell.command('date -s 2020-01-01');
    };
    await shell.command('date -s 2020-01-01');
    await partition.pause();
    partition.resume();
    await rightTime();
    await partition.pause();
    const first = await partition.digest();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await partition.digest()).toEqual(first);
    const saved = await partition.save();
    const { devices: before } = await partition.inspect();
    await partition[Symbol.asyncDispose]();
    shell = await Shell.start({ restore: saved, disks: [disk] });
    await rightTime();
    // What its ACPI device is told; the driver is in kernels that are not made for the cloud (generation.long.test.ts).
    await eventually(async () => / 1 .*enabled/.test(await shell.command('cat /sys/firmware/acpi/interrupts/gpe00')));
    const { id } = ((await shell.partition.inspect()).devices as InspectNode)['generation-id'] as InspectNode;
    expect(id).not.toBe(((before as InspectNode)['generation-id'] as InspectNode).id);
    const shownId = await shell.command(
      `dd if=/dev/mem bs=16 skip=${GENERATION_ID.first / 16} count=1 2>/dev/null | od -An -tx1`,
    );
    expect(shownId.replaceAll(/\s/g, '').slice(16)).toBe((id as string).slice(19).replace('-', ''));
    await eventually(() => shell.partition.integration.heartbeat() === 'OK');
    expect(await shell.command('cat /sys/bus/vmbus/devices/*/state | sort | uniq -c')).toMatch(/^ *11 3\n$/);
    expect(shell.partition.keyboard!.ready).toBe(true);
  });

  it('restart the guest, and shut it down', async () => {
    await shell.partition.shutdown({ restart: true });
    await shell.until("A busybox shell on Debian's kernel");
    await shell.until('root@viridian:/root# ');
    await shell.partition.shutdown();
    expect(await shell.partition.stopped).toEqual({ kind: 'powerOff' });
  });
});
