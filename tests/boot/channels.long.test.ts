/** A guest with two processors has a channel of a SCSI controller for each, and data go through both. */
import { expect, it } from 'vitest';
import { MemoryDisk } from '../../src/vsp/storvsp/memory-disk.fixture.ts';
import { hypervGuest } from './guest.fixture.ts';
import { NOT_FOR_DISKS, Shell, withoutModules } from './shell.fixture.ts';

const debian = await hypervGuest();
const reason = typeof debian === 'string' ? `: skipped, ${debian}` : '';
const MIB = 2 ** 20;

it.skipIf(typeof debian === 'string')(`storvsc has sub-channels${reason}`, { timeout: 600_000 }, async () => {
  if (typeof debian === 'string') return;
  await using shell = await Shell.start({
    kernel: debian.kernel,
    initrd: withoutModules(debian.initrd, NOT_FOR_DISKS),
    append: 'console=ttyS0 quiet',
    processors: 2,
    disks: [new MemoryDisk(16 * MIB)],
  });
  expect(await shell.command('ls /sys/bus/vmbus/drivers/hv_storvsc/*-*/channels | wc -l')).toBe('2\n');
  // Requests go through the channel of the processor that makes them.
  for (const mask of [1, 2])
    expect(
      await shell.command(`taskset ${mask} dd if=/dev/sda of=/dev/null bs=64k count=40 iflag=direct 2>&1 | head -1`),
    ).toBe('40+0 records in\n');
  const { channels } = (await shell.partition.inspect()).vmbus as unknown as {
    channels: Readonly<Record<string, { readonly device: string; readonly received: number }>>;
  };
  const received = Object.values(channels).flatMap((channel) => (channel.device === 'scsi' ? [channel.received] : []));
  expect(received.length).toBe(2);
  expect(Math.min(...received)).toBeGreaterThanOrEqual(40);
  expect(await shell.command("dmesg -r | grep -E '^<[0-3]>' | grep -iE 'scsi|sd |storvsc|vmbus'")).toBe('');
});
