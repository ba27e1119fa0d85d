import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findCommand } from '../../host/node/command.ts';
import { deviceOf } from '../ext4/image.fixture.ts';
import { GPT_TAIL, writeGpt } from './gpt.ts';
import { readPartitions } from './partitions.ts';
import { PartitionType } from './protocol.ts';

const MIB = 2 ** 20;
const sfdisk = findCommand('sfdisk');
const DISK = '0f0e0d0c-0b0a-4908-8706-050403020100';
const PART = '00112233-4455-4677-8899-aabbccddeeff';

function withFile<T>(size: number, work: (path: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'viridian-partitions-'));
  try {
    const path = join(folder, 'disk');
    writeFileSync(path, '');
    truncateSync(path, size);
    return work(path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe('a partition table', () => {
  const root = { offset: MIB, size: 14 * MIB, type: PartitionType.linuxRootX64, id: PART, name: 'röt' };

  it.each([512, 4096])('of ours is read again, by its second copy too; sectors of %d bytes', async (sector) => {
    const device = deviceOf(new Uint8Array(16 * MIB), sector);
    await writeGpt(device, DISK, [root]);
    const expected = [{ ...root, number: 1 }];
    expect(await readPartitions(device)).toEqual(expected);
    await device.write(sector, new Uint8Array(sector));
    expect(await readPartitions(device)).toEqual(expected);
    await device.write(device.size - sector, new Uint8Array(sector));
    expect(await readPartitions(device)).toEqual([]);
  });

  it('must have its partitions between its two copies', async () => {
    const device = deviceOf(new Uint8Array(16 * MIB));
    await expect(writeGpt(device, DISK, [{ ...root, size: 15 * MIB }])).rejects.toThrow('partition 1 does not fit');
    await expect(writeGpt(device, DISK, [{ ...root, offset: 512 }])).rejects.toThrow('partition 1 does not fit');
    await writeGpt(device, DISK, [{ ...root, size: 15 * MIB - GPT_TAIL }]);
  });

  it('is missing where there is none', async () => {
    expect(await readPartitions(deviceOf(new Uint8Array(MIB)))).toEqual([]);
    expect(await readPartitions(deviceOf(new Uint8Array(0)))).toEqual([]);
  });

  describe.skipIf(sfdisk === undefined)(`beside sfdisk${sfdisk ? '' : ': skipped, sfdisk not found'}`, () => {
    it('of ours is sound', async () => {
      const bytes = new Uint8Array(16 * MIB);
      const device = deviceOf(bytes);
      await writeGpt(device, DISK, [root]);
      const image = new Uint8Array(device.size);
      await device.read(0, image);
      withFile(0, (path) => {
        writeFileSync(path, image);
        const { stdout, stderr } = spawnSync(sfdisk!, ['--verify', path], { encoding: 'utf8' });
        expect(`${stdout}${stderr}`).toMatch(/No errors detected/);
        const { partitiontable } = JSON.parse(execFileSync(sfdisk!, ['--json', path], { encoding: 'utf8' }));
        expect(partitiontable).toMatchObject({ label: 'gpt', id: DISK.toUpperCase(), firstlba: 34, lastlba: 32734 });
        expect(partitiontable.partitions).toMatchObject([
          { start: 2048, size: 28672, type: root.type.toUpperCase(), uuid: PART.toUpperCase(), name: 'röt' },
        ]);
      });
    });

    it.each([
      ['gpt', 'label: gpt\nstart=2048, size=4096, name=first\nstart=8192, size=2048\n'],
      [
        'dos',
        'label: dos\nlabel-id: 0x12345678\nstart=2048, size=4096, type=83\nstart=8192, size=20000, type=5\nstart=10240, size=2048, type=83\nstart=14336, size=2048, type=82\n',
      ],
    ])('of its own is read: %s', async (_, script) => {
      const { bytes, table } = withFile(16 * MIB, (path) => {
        execFileSync(sfdisk!, ['--quiet', path], { input: script });
        const listed = JSON.parse(execFileSync(sfdisk!, ['--json', path], { encoding: 'utf8' })).partitiontable;
        return { bytes: readFileSync(path), table: listed };
      });
      const found = await readPartitions(deviceOf(bytes));
      const partitions = table.partitions as {
        node: string;
        start: number;
        size: number;
        type: string;
        uuid?: string;
      }[];
      const expected = partitions
        .filter(({ type }) => type !== '5')
        .map(({ node, start, size, type, uuid }) => {
          const number = Number(/(\d+)$/.exec(node)![1]);
          const id = uuid?.toLowerCase() ?? `12345678-${number.toString(16).padStart(2, '0')}`;
          return { number, offset: start * 512, size: size * 512, type: type.toLowerCase(), id };
        });
      expect(found.map(({ name: _name, ...rest }) => rest)).toEqual(expected);
    });
  });
});
