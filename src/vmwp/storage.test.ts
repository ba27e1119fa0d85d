import { beforeEach, describe, expect, it } from 'vitest';
import type { PartitionStorage } from '../contracts/partition.ts';
import { MemoryFiles } from '../host/memory-files.ts';
import { nodeCodecs } from '../host/node/codecs.ts';
import { createDisk } from '../storage/index.ts';
import { TestBus } from '../vmbus/guest.fixture.ts';
import { MemoryDisk } from '../vsp/storvsp/memory-disk.fixture.ts';
import { diskRecordOf, PartitionDisks } from './disks.ts';
import { ScsiControllers } from './scsi-controllers.ts';
import { partitionStorage } from './storage.ts';

const MIB = 2 ** 20;

describe('storage of a partition', () => {
  let files = new MemoryFiles();
  let host = { files, codecs: nodeCodecs };
  let disks: PartitionDisks;
  let bus: TestBus;
  let storage: PartitionStorage;
  let stopped = false;
  beforeEach(async () => {
    files = new MemoryFiles();
    host = { files, codecs: nodeCodecs };
    await createDisk(host, '/a.vhdx', { format: 'vhdx', size: 8 * MIB, blockSize: MIB });
    await createDisk(host, '/b.img', { format: 'raw', size: MIB });
    await createDisk(host, '/c.iso', { format: 'raw', size: MIB });
    stopped = false;
    disks = await PartitionDisks.open(host, { disks: [{ file: '/a.vhdx', lun: 1 }], dvds: [{}] });
    bus = new TestBus();
    const scsi = new ScsiControllers(bus.bus, disks, { memory: bus.memory, processors: 1, tell: () => undefined });
    storage = partitionStorage(disks, scsi, () => stopped);
  });

  it('is where it says, or at the first LUN that is free', async () => {
    expect(storage.list().map(({ kind, controller, lun }) => [kind, controller, lun])).toEqual([
      ['dvd', 0, 0],
      ['disk', 0, 1],
    ]);
    expect(await storage.attachDisk({ file: '/b.img' })).toEqual({ controller: 0, lun: 2 });
    expect(await storage.attachDisk(new MemoryDisk(4096), { controller: 3, lun: 63 })).toEqual({
      controller: 3,
      lun: 63,
    });
    expect(await storage.attachDvdDrive({ file: '/c.iso', controller: 3 })).toEqual({ controller: 3, lun: 0 });
    expect(storage.list().at(-2)).toEqual({
      controller: 3,
      lun: 0,
      kind: 'dvd',
      file: '/c.iso',
      format: 'iso',
      size: MIB,
      writable: false,
    });
    // A controller is offered with its first unit.
    expect(Object.keys(bus.bus.inspect().devices as object)).toEqual(['scsi', 'scsi3']);
  });

  it('is given back: a file that is detached can be opened again', async () => {
    const place = await storage.attachDisk({ file: '/b.img' });
    await expect(files.open('/b.img', { write: true })).rejects.toMatchObject({ failure: 'busy' });
    await storage.detachDisk(place);
    await (await files.open('/b.img', { write: true })).close();
    await storage.insertDvd({ controller: 0, lun: 0 }, '/c.iso');
    await expect(files.open('/c.iso', { write: true })).rejects.toMatchObject({ failure: 'busy' });
    await storage.ejectDvd({ controller: 0, lun: 0 });
    await (await files.open('/c.iso', { write: true })).close();
  });

  it('grows, and does not shrink', async () => {
    const place = { controller: 0, lun: 1 };
    await storage.resizeDisk(place, 16 * MIB);
    expect(storage.list()[1]).toMatchObject({ size: 16 * MIB });
    await expect(storage.resizeDisk(place, MIB)).rejects.toMatchObject({ code: 'invalid' });
    await expect(storage.resizeDisk(place, Number.NaN)).rejects.toMatchObject({ code: 'invalid' });
    await expect(storage.resizeDisk(place, 16 * MIB + 7)).rejects.toMatchObject({ code: 'invalid' });
    const own = new MemoryDisk(4096);
    const there = await storage.attachDisk(own);
    await expect(storage.resizeDisk(there, 8192)).rejects.toMatchObject({ code: 'invalid' });
    own.bytes = new Uint8Array(8192);
    await storage.resizeDisk(there, 8192);
    await storage.attachDisk({ file: '/b.img', readOnly: true, lun: 9 });
    await expect(storage.resizeDisk({ controller: 0, lun: 9 }, 2 * MIB)).rejects.toMatchObject({ code: 'denied' });
  });

  it('says what cannot be', async () => {
    const nothing = { controller: 1, lun: 1 };
    for (const [attempt, code] of [
      [() => storage.attachDisk({ file: '/b.img', lun: 1 }), 'wrongState'],
      [() => storage.attachDisk({ file: '/b.img' }, { lun: 64 }), 'invalid'],
      [() => storage.attachDisk({ file: '/b.img', controller: -1 }), 'invalid'],
      [() => storage.attachDisk({ file: '/none.img' }), 'notFound'],
      [() => storage.attachDisk({ file: '/a.vhdx' }), 'wrongState'],
      [() => storage.detachDisk(nothing), 'notFound'],
      [() => storage.detachDisk({ controller: 0, lun: 0 }), 'notFound'],
      [() => storage.insertDvd({ controller: 0, lun: 1 }, '/c.iso'), 'notFound'],
      [() => storage.insertDvd({ controller: 0, lun: 0 }, '/a.vhdx'), 'badFile'],
      [() => storage.detachDvdDrive(nothing), 'notFound'],
      [() => partitionStorage(disks, undefined, () => false).ejectDvd(nothing), 'wrongState'],
    ] as const)
      await expect(attempt()).rejects.toMatchObject({ code });
    // What failed has left nothing behind.
    expect(storage.list().length).toBe(2);
    stopped = true;
    await expect(storage.attachDisk({ file: '/b.img' })).rejects.toMatchObject({ code: 'wrongState' });
  });

  it('changes in the order of the calls', async () => {
    const places = await Promise.all([
      storage.attachDisk({ file: '/b.img' }),
      storage.attachDvdDrive(),
      storage.detachDisk({ controller: 0, lun: 1 }),
      storage.attachDisk(new MemoryDisk(4096)),
    ]);
    expect(places.map((place) => place?.lun)).toEqual([2, 3, undefined, 1]);
  });

  it('is the same again for a saved state, by kind and in order', async () => {
    await storage.attachDisk({ file: '/b.img' }, { controller: 2, lun: 5 });
    await storage.insertDvd({ controller: 0, lun: 0 }, '/c.iso');
    const saved = await disks.save();
    await disks.close();
    const given = { disks: [{ file: '/a.vhdx' }, { file: '/b.img' }], dvds: [{ file: '/c.iso' }] };
    const again = await PartitionDisks.open(host, given, saved);
    expect(again.units.map(({ place }) => place)).toEqual(disks.units.map(({ place }) => place));
    expect(await again.save()).toEqual(saved);
    await again.close();
    for (const [other, message] of [
      [{ ...given, dvds: [{}] }, /\/c.iso had 1048576 bytes when the partition was saved, and has 0 now/],
      [{ ...given, dvds: [] }, /had 1 DVD drive \(\/c.iso\): give the same again, not 0/],
      [{ ...given, dvds: [{ file: '/c.iso', lun: 3 }] }, /was at controller 0, LUN 0 when the partition was saved/],
    ] as const)
      await expect(PartitionDisks.open(host, other, saved)).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringMatching(message),
      });
  });

  it('was disks in order in states of before', () => {
    const old = { file: '/b.img', format: 'raw', size: MIB, writable: true };
    expect(diskRecordOf(old, 4)).toEqual({ ...old, kind: 'disk', controller: 0, lun: 4 });
    for (const wrong of [null, 7, {}, { ...old, lun: 64 }, { ...old, kind: 'tape' }, { ...old, format: null }])
      expect(diskRecordOf(wrong, 0)).toBeUndefined();
  });
});
