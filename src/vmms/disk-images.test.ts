import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DiskImage, Job } from '../contracts/api/resources.ts';
import { testHost } from './testing.fixture.ts';

const MIB = 2 ** 20;
const test = await testHost();
const { transport } = test.host;
const { diskFolder } = await transport.call('getHost');

async function ended(job: Job): Promise<Job> {
  return await transport.call('getJob', { params: { job: job.id }, query: { wait: 30 } });
}
async function listed(name: string): Promise<DiskImage | undefined> {
  return (await transport.call('listDisks')).find(({ file }) => file.endsWith(`/${name}`));
}

describe('disk files of the host', () => {
  it('are made, converted and compacted by jobs, and told of', async () => {
    const file = join(diskFolder, 'a.vhdx');
    expect(await ended(await transport.call('createDisk', { body: { file, size: 64 * MIB } }))).toMatchObject({
      state: 'done',
      progress: 1,
    });
    expect(await listed('a.vhdx')).toMatchObject({
      format: 'vhdx',
      type: 'dynamic',
      size: 64 * MIB,
      own: true,
      vms: [],
    });
    const to = join(test.folder, 'b.vhd');
    expect(
      await ended(await transport.call('convertDisk', { body: { from: file, to, type: 'dynamic' } })),
    ).toMatchObject({
      state: 'done',
    });
    expect(await ended(await transport.call('compactDisk', { body: { file: to } }))).toMatchObject({ state: 'done' });
    const kinds = (await transport.call('listEvents')).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind.startsWith('disk.'))).toEqual([
      'disk.created',
      'disk.converted',
      'disk.compacted',
    ]);
  });

  it('a differencing one says what it stands on, which is not deleted then', async () => {
    const parent = join(diskFolder, 'base.vhdx');
    await ended(await transport.call('createDisk', { body: { file: parent, size: 16 * MIB } }));
    const file = join(diskFolder, 'child.vhdx');
    await ended(await transport.call('createDisk', { body: { file, parent } }));
    expect(await listed('child.vhdx')).toMatchObject({ type: 'differencing', size: 16 * MIB, parent });
    await expect(transport.call('deleteDisk', { query: { file: parent } })).rejects.toThrow('stands on it');
    await transport.call('deleteDisk', { query: { file } });
    await transport.call('deleteDisk', { query: { file: parent } });
    expect(existsSync(parent)).toBe(false);
  });

  it('of a VM are listed wherever they lie, and not deleted', async () => {
    const file = join(diskFolder, 'used.vhdx');
    await ended(await transport.call('createDisk', { body: { file, size: 16 * MIB } }));
    const elsewhere = join(test.folder, 'raw.img');
    writeFileSync(elsewhere, Buffer.alloc(MIB));
    await test.vm('web', {
      disks: [
        { slot: 0, file },
        { slot: 1, file: elsewhere, format: 'raw' },
      ],
    });
    expect(await listed('used.vhdx')).toMatchObject({ vms: ['web'], own: true });
    expect(await listed('raw.img')).toMatchObject({ vms: ['web'], own: false, format: 'raw', size: MIB });
    await expect(transport.call('deleteDisk', { query: { file } })).rejects.toThrow('attached to web');
    await expect(transport.call('deleteDisk', { query: { file: elsewhere } })).rejects.toThrow('only disks in');
  });

  it('what cannot be says why, and leaves nothing behind', async () => {
    const file = join(diskFolder, 'twice.vhdx');
    await ended(await transport.call('createDisk', { body: { file, size: 16 * MIB } }));
    const again = await ended(await transport.call('createDisk', { body: { file, size: 16 * MIB } }));
    expect(again).toMatchObject({ state: 'failed', error: { code: 'wrongState' } });
    await expect(transport.call('createDisk', { body: { file: '/x/y.vhdx' } })).rejects.toThrow('needs a size');
    await expect(transport.call('createDisk', { body: { file: '/x/y.qcow2', size: MIB } })).rejects.toThrow(
      'can be read, not written',
    );
    const lost = await ended(
      await transport.call('convertDisk', { body: { from: join(test.folder, 'none'), to: join(diskFolder, 'n.vhd') } }),
    );
    expect(lost).toMatchObject({ state: 'failed', error: { code: 'notFound' } });
    writeFileSync(join(diskFolder, 'broken.vhdx'), 'vhdxfile and then nothing');
    expect((await listed('broken.vhdx'))?.problem).toContain('broken.vhdx');
  });

  it('a conversion that is cancelled leaves no file', async () => {
    const from = join(test.folder, 'large.img');
    // Not zeroes, or there were nothing to copy.
    writeFileSync(from, Buffer.alloc(96 * MIB, 1));
    const to = join(diskFolder, 'large.vhdx');
    const job = await transport.call('convertDisk', { body: { from, to } });
    await transport.call('getJob', { params: { job: job.id }, query: { wait: 30, after: 0 } });
    await transport.call('cancelJob', { params: { job: job.id } });
    expect(await ended(job)).toMatchObject({ state: 'cancelled' });
    expect(readdirSync(diskFolder).filter((name) => name.startsWith('large'))).toEqual([]);
  });
});

it('addresses that the guest says are told, but for those that mean something on one link only', async () => {
  const vm = await test.vm('net');
  await vm.start();
  await expect
    .poll(async () => (await transport.call('getIntegration', { params: { vm: vm.id } })).addresses)
    .toEqual(['10.0.0.10', 'fd00::5']);
});
