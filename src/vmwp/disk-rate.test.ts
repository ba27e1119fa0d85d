import { expect, it, vi } from 'vitest';
import { MemoryFiles } from '../host/memory-files.ts';
import { nodeCodecs } from '../host/node/codecs.ts';
import { createDisk } from '../storage/index.ts';
import { DiskRate } from './disk-rate.ts';
import { PartitionDisks } from './disks.ts';

it('lets a burst through, and what comes after it at its rate, one after the other', async () => {
  vi.useFakeTimers();
  try {
    // 50 ms of it are a burst: 512 KiB.
    const rate = new DiskRate(10 * 2 ** 20);
    const started = performance.now();
    const done: [number, number][] = [];
    const all = Array.from({ length: 41 }, (_, i) =>
      rate.wait(2 ** 19).then(() => done.push([i, performance.now() - started])),
    );
    // A request that could go at once does not overtake those that wait.
    expect(rate.take(1)).toBe(false);
    await vi.advanceTimersByTimeAsync(10_000);
    await Promise.all(all);
    expect(done.map(([i]) => i)).toEqual(Array.from({ length: 41 }, (_, i) => i));
    // 41 halves of a MiB, of which two go at once: the rest takes 1.95 s.
    expect(done[1]![1]).toBeLessThan(60);
    expect(done.at(-1)![1]).toBeGreaterThan(1850);
    expect(done.at(-1)![1]).toBeLessThan(2100);
  } finally {
    vi.useRealTimers();
  }
});

it('holds for all disks of a partition together', async () => {
  const files = new MemoryFiles();
  const host = { files, codecs: nodeCodecs };
  for (const path of ['/a.img', '/b.img']) await createDisk(host, path, { format: 'raw', size: 2 ** 22 });
  const disks = await PartitionDisks.open(host, {
    disks: ['/a.img', '/b.img'].map((file) => ({ file, format: 'raw' as const })),
    storageMaximum: 4 * 2 ** 20,
  });
  const [a, b] = disks.devices;
  expect(a!.readNow!(0, [new Uint8Array(512)])).toBe(false);
  const started = performance.now();
  await Promise.all([a, b].map((disk) => disk!.write(0, new Uint8Array(2 ** 21))));
  // 4 MiB at 4 MiB a second; a request that begins within the burst goes whole.
  await a!.read(0, new Uint8Array(512));
  expect(performance.now() - started).toBeGreaterThan(700);
  await disks.close();
});
