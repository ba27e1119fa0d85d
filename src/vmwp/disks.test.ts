import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { DiskEvent } from '../contracts/partition.ts';
import { MemoryFiles } from '../host/memory-files.ts';
import { nodeCodecs } from '../host/node/codecs.ts';
import { createDisk } from '../storage/index.ts';
import { PartitionDisks } from './disks.ts';

const MIB = 2 ** 20;
const QCOW2 = Uint8Array.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]);

describe('the disks of a partition', () => {
  let files = new MemoryFiles();
  let host = { files, codecs: nodeCodecs };
  beforeEach(async () => {
    files = new MemoryFiles();
    host = { files, codecs: nodeCodecs };
    await createDisk(host, '/a.vhdx', { format: 'vhdx', size: 8 * MIB, blockSize: MIB });
    await createDisk(host, '/b.img', { format: 'raw', size: MIB });
    await createDisk(host, '/plain', { format: 'raw', size: MIB });
  });

  /** What a guest does to its raw disk to have it taken for something else. */
  async function forge(path: string): Promise<void> {
    const disks = await PartitionDisks.open(host, { disks: [{ file: path, format: 'raw' }] });
    const sector = new Uint8Array(512);
    sector.set(QCOW2);
    await disks.units[0]!.device!.write(0, sector);
    await disks.close();
  }

  it('have the format of their name where the content agrees, else it has to be given', async () => {
    const disks = await PartitionDisks.open(host, { disks: [{ file: '/a.vhdx' }, { file: '/b.img' }] });
    expect((await disks.save()).map(({ format }) => format)).toEqual(['vhdx', 'raw']);
    await disks.close();
    await expect(PartitionDisks.open(host, { disks: [{ file: '/plain' }] })).rejects.toMatchObject({ code: 'invalid' });
    await forge('/b.img');
    await expect(PartitionDisks.open(host, { disks: [{ file: '/b.img' }] })).rejects.toMatchObject({
      code: 'invalid',
      message: '/b.img: it looks like qcow2, but it is named as raw: give the format',
    });
  });

  it('keep the format that a saved state knows, whatever the guest writes', async () => {
    const disks = await PartitionDisks.open(host, { disks: [{ file: '/b.img' }] });
    const saved = await disks.save();
    await disks.close();
    expect(saved).toEqual([
      { kind: 'disk', controller: 0, lun: 0, file: '/b.img', format: 'raw', size: MIB, writable: true },
    ]);
    await forge('/b.img');
    const again = await PartitionDisks.open(host, { disks: [{ file: '/b.img' }] }, saved);
    expect(await again.save()).toEqual(saved);
    await again.close();
    for (const [given, message] of [
      [[{ file: '/b.img', format: 'qcow2' as const }], /it was attached as raw, and cannot be qcow2 now/],
      [[{ file: '/b.img', readOnly: true }], /was writable when the partition was saved/],
      [[{ file: '/a.vhdx', format: 'raw' as const }], /had 1048576 bytes when the partition was saved/],
      [[], /the saved partition had 1 disk \(\/b.img\): give the same again, not 0/],
    ] as const)
      await expect(PartitionDisks.open(host, { disks: given }, saved)).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringMatching(message),
      });
    // Nothing was left open.
    await (
      await PartitionDisks.open(host, { disks: [{ file: '/b.img', format: 'raw' }, { file: '/a.vhdx' }] })
    ).close();
  });

  it('that are discarded stay as they were, and cannot be saved', async () => {
    const before = files.contents.get('/a.vhdx')!.clone();
    const disks = await PartitionDisks.open(host, { disks: [{ file: '/a.vhdx', discard: true }] });
    const data = new Uint8Array(MIB).fill(7);
    await disks.units[0]!.device!.write(0, data);
    const read = new Uint8Array(MIB);
    await disks.units[0]!.device!.read(0, read);
    expect(read).toEqual(data);
    await expect(disks.save()).rejects.toMatchObject({ code: 'wrongState' });
    await disks.close();
    expect([...files.contents.get('/a.vhdx')!.pages]).toEqual([...before.pages]);
  });

  describe('without room on the host', () => {
    const heard: (string | DiskEvent)[] = [];
    let disks: PartitionDisks;
    const content = () => files.contents.get('/a.vhdx')!;
    beforeEach(async () => {
      heard.length = 0;
      disks = await PartitionDisks.open(host, { disks: [{ file: '/a.vhdx' }] });
      disks.listener = {
        full: () => heard.push('full'),
        room: () => heard.push('room'),
        tell: ({ kind }) => heard.push(`told ${kind}`),
      };
      content().limit = content().pages.size * 4096;
    });

    it('have requests wait and try again, once for all of them', async () => {
      const data = new Uint8Array(MIB).fill(7);
      const writes = Promise.all([0, 1, 2].map((i) => disks.units[0]!.device!.write(i * MIB, data)));
      await vi.waitFor(() => expect(disks.full).toBe(true));
      await expect(disks.save()).rejects.toMatchObject({ code: 'wrongState' });
      disks.retry();
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(heard).toEqual(['full', 'told full']);
      content().limit = Number.POSITIVE_INFINITY;
      disks.retry();
      await writes;
      expect(heard).toEqual(['full', 'told full', 'told room', 'room']);
      expect(disks.full).toBe(false);
      const read = new Uint8Array(MIB);
      await disks.units[0]!.device!.read(2 * MIB, read);
      expect(read).toEqual(data);
      await disks.close();
    });

    it('are closed all the same when the partition stops', async () => {
      const write = disks.units[0]!.device!.write(0, new Uint8Array(MIB).fill(7));
      const failed = expect(write).rejects.toThrow('no space left');
      await vi.waitFor(() => expect(disks.full).toBe(true));
      await disks.close();
      await failed;
      content().limit = Number.POSITIVE_INFINITY;
      await (await PartitionDisks.open(host, { disks: [{ file: '/a.vhdx' }] })).close();
    });
  });
});
