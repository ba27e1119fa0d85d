/** A kernel of ours in an ext4 file system in a VHDX: `hv run --disk` finds it there, and says which. */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { Bench, withoutTools } from '../../src/storage/ext4/image.fixture.ts';
import { convertDisk } from '../../src/storage/index.ts';
import { buildKernel, isInstalled } from '../kernel/build.ts';
import { Guest } from './guest.fixture.ts';

const reason = withoutTools ?? (isInstalled('nasm') ? undefined : 'nasm not found');

describe.skipIf(reason !== undefined)(`a kernel in a disk${reason ? `: skipped, ${reason}` : ''}`, () => {
  if (reason !== undefined) return;
  const bench = new Bench();
  const disk = join(bench.folder, 'disk.vhdx');
  const empty = join(bench.folder, 'empty.vhdx');
  const host = { files: nodeDiskFiles, codecs: nodeCodecs };
  const image = async (to: string): Promise<void> => {
    bench.make('8M', '-t', 'ext4', '-U', '01234567-89ab-4def-8123-456789abcdef');
    await convertDisk(host, { from: { path: bench.image, format: 'raw' }, to: { path: to, format: 'vhdx' } });
  };
  beforeAll(async () => {
    bench.file('etc/os-release', 'ID=none\n');
    await image(empty);
    // It ends with the last number of its command line, times two and one.
    bench.file('boot/vmlinuz-1.2', buildKernel('exit-code/exit-code.asm'));
    await image(disk);
    return () => bench[Symbol.dispose]();
  });

  it('is booted, with the command line that finds its root and what is added to it', async () => {
    const guest = new Guest('--disk', `${disk},discard`, '--test-device', '--append', 'code 21', '--timeout', '60');
    const { code, stderr } = await guest.exit;
    expect(stderr).toBe(`hv: ${disk}: booting /boot/vmlinuz-1.2, 'root=/dev/sda ro console=ttyS0 code 21'\n`);
    expect(code).toBe((21 << 1) | 1);
  });

  it('may be in any of several disks', async () => {
    const guest = new Guest('--disk', empty, '--disk', disk, '--test-device', '--append', 'code 3');
    expect((await guest.exit).code).toBe(7);
  });

  it('that is missing is one line', async () => {
    expect(await new Guest('--disk', empty).exit).toEqual({
      code: 3,
      stdout: '',
      stderr: `hv: ${empty}: no kernel in /boot of its file system: give --kernel FILE\n`,
    });
  });
});
