/**
 * The generation ID as Debian's stock kernel sees it: its driver (drivers/virt/vmgenid.c), which the cloud kernel is built without,
 * has the random number generator seeded again in a partition that was saved and restored.
 */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cachedFiles, kernelPackageOf } from '../../src/cli/quickstart/debian.ts';
import { buildInitramfs } from '../../src/cli/quickstart/initramfs.ts';
import { runCommand } from '../../src/host/node/command.ts';
import { cacheFolder } from '../../src/host/node/folders.ts';
import { debianRoot } from '../perf/packages.ts';
import { debianGuest } from './guest.fixture.ts';
import { Shell } from './shell.fixture.ts';

/** The kernel's file, or the reason why there is none here. */
async function stockKernel(): Promise<{ readonly path: string } | string> {
  try {
    const cloud = await debianGuest();
    if (typeof cloud === 'string') return cloud;
    const { stdout } = await runCommand('apt-cache', ['depends', 'linux-image-amd64'], {});
    const name = kernelPackageOf(stdout);
    if (name === undefined) return "Debian's package sources have no linux-image-amd64";
    const cache = join(cacheFolder(), 'stock-kernel');
    mkdirSync(cache, { recursive: true });
    const { folders } = await debianRoot(cache, [name]);
    for (const folder of folders.filter((each) => each.includes('linux-image')))
      for (const file of readdirSync(join(folder, 'boot')))
        if (file.startsWith('vmlinuz')) return { path: join(folder, 'boot', file) };
    return `${name} has no kernel`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const kernel = await stockKernel();
const reason = typeof kernel === 'string' ? `: skipped, ${kernel}` : '';

describe.skipIf(typeof kernel === 'string')(`Debian's stock kernel${reason}`, () => {
  it('knows that it was restored', async () => {
    if (typeof kernel === 'string') return;
    const busybox = readFileSync(cachedFiles(cacheFolder())!.busybox.path);
    let saved: Uint8Array;
    {
      await using shell = await Shell.start({
        kernel: kernel.path,
        initrd: buildInitramfs({ busybox }),
        append: 'console=ttyS0 quiet',
      });
      expect(await shell.command('ls /sys/bus/acpi/drivers/vmgenid')).toMatch(/_GEN_COUNTER/);
      expect(await shell.command('dmesg')).not.toContain('due to virtual machine fork');
      await shell.partition.pause();
      saved = await shell.partition.save();
    }
    await using shell = await Shell.start({ restore: saved });
    await shell.eventually('dmesg | tail -3', /random: crng reseeded due to virtual machine fork/);
  });
});
