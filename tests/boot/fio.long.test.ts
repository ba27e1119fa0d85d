/** Debian's fio in a guest writes at random, 32 requests in flight, and reads back what it wrote: no sector is wrong. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { checkDisk, createDisk } from '../../src/storage/index.ts';
import { type FioGuest, fioGuest } from '../perf/fio.ts';
import { Guest } from './guest.fixture.ts';

const MIB = 2 ** 20;
const host = { files: nodeDiskFiles, codecs: nodeCodecs };

/** Twice over the same places; the second time every block has one in the file. */
const JOBS = `[global]
ioengine=libaio
direct=1
filename=/dev/disk
rw=randwrite
bs=4k
iodepth=32
size=48m
verify=crc32c
verify_fatal=1
[first]
stonewall
[second]
stonewall
randseed=7
`;

async function prepared(): Promise<FioGuest | string> {
  try {
    return await fioGuest(JOBS);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const fio = await prepared();
const reason = typeof fio === 'string' ? `: skipped, ${fio}` : '';
const folder = mkdtempSync(join(tmpdir(), 'viridian-fio-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(typeof fio === 'string')(`fio --verify${reason}`, () => {
  if (typeof fio === 'string') return;
  it.each([
    ['a dynamic VHDX', 'disk.vhdx', 'vhdx'],
    ['a raw image', 'disk.img', 'raw'],
  ] as const)('finds no error on %s', { timeout: 600_000 }, async (_what, name, format) => {
    const disk = join(folder, name);
    const initrd = join(folder, 'initrd');
    writeFileSync(initrd, fio.initrd);
    await createDisk(host, disk, { format, size: 64 * MIB, ...(format === 'vhdx' ? { blockSize: MIB } : {}) });
    const guest = new Guest(
      ...['--kernel', fio.kernel, '--initrd', initrd, '--append', 'console=ttyS0 quiet'],
      ...['--disk', disk],
    );
    const { code, stdout } = await guest.exit;
    expect(code).toBe(0);
    // Terse lines: version, fio's, job, group, error; KiB read from field 6, written from 47.
    const lines = [...stdout.matchAll(/^FIO (3;fio-.*)\r$/gm)].map(([, line]) => line!.split(';'));
    expect(lines.map(([, , job, , error]) => [job, error])).toEqual([
      ['first', '0'],
      ['second', '0'],
    ]);
    for (const fields of lines) expect([Number(fields[5]), Number(fields[46])]).toEqual([48 * 1024, 48 * 1024]);
    expect(stdout).toContain('FIO exit 0');
    if (format === 'vhdx') expect((await checkDisk(host, disk, 'vhdx')).findings).toEqual([]);
  });
});
