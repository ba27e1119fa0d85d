/** Another parent for a differencing disk, and a power cut while it is given one. */
import { describe, expect, it } from 'vitest';
import { MemoryFiles } from '../host/memory-files.ts';
import { nodeCodecs } from '../host/node/codecs.ts';
import { mergeIntoParent } from './copy.ts';
import { createDisk } from './create.ts';
import { openDisk } from './open.ts';
import { powerCuts, RecordingFile } from './power-cut.fixture.ts';
import { relinkDisk } from './relink.ts';
import type { VhdxDisk } from './vhdx/disk.ts';
import { openImage } from './vhdx/image.ts';
import { relinkVhdx } from './vhdx/relink.ts';

const MIB = 2 ** 20;
const BLOCK = 4096;
const CHAIN = ['/d/a.vhdx', '/d/b.vhdx', '/d/c.vhdx'] as const;

async function chain() {
  const files = new MemoryFiles();
  const host = { files, codecs: nodeCodecs };
  for (const [i, path] of CHAIN.entries()) {
    await createDisk(host, path, { format: 'vhdx', ...(i === 0 ? { size: 4 * MIB } : { parent: CHAIN[i - 1]! }) });
    const disk = await openDisk(host, path, { format: 'vhdx', write: true });
    await disk.write(i * BLOCK, new Uint8Array(BLOCK).fill(i + 1));
    await disk.close();
  }
  /** The first byte of each of the first blocks of the last disk. */
  const content = async (): Promise<number[]> => {
    const disk = await openDisk(host, CHAIN[2], { format: 'vhdx' });
    const bytes = new Uint8Array(4 * BLOCK);
    await disk.read(0, bytes);
    await disk.close();
    return [0, 1, 2, 3].map((block) => bytes[block * BLOCK]!);
  };
  const merge = async (): Promise<void> => {
    const disk = await openDisk(host, CHAIN[1], { format: 'vhdx', writeParent: true, sameData: true });
    await mergeIntoParent(disk);
    await disk.close();
  };
  return { files, host, content, merge };
}

describe('a differencing disk', () => {
  it('has the same content over the parent that its parent was merged into', async () => {
    const { files, host, content, merge } = await chain();
    expect(await content()).toEqual([1, 2, 3, 0]);
    await merge();
    // A merge that keeps the identity changes nothing for those above.
    expect(await content()).toEqual([1, 2, 3, 0]);
    await relinkDisk(host, CHAIN[2], CHAIN[0]);
    files.contents.delete(CHAIN[1]);
    expect(await content()).toEqual([1, 2, 3, 0]);
    await relinkDisk(host, CHAIN[2], CHAIN[0]);
    expect(await content()).toEqual([1, 2, 3, 0]);
  });

  it('has its old or its new parent when the power goes in between', async () => {
    const { files, host, content, merge } = await chain();
    await merge();
    const file = new RecordingFile(files.contents.get(CHAIN[2])!.clone());
    const base = await openDisk(host, CHAIN[0], { format: 'vhdx' });
    const parent = { path: 'a.vhdx', dataWriteGuid: (base as VhdxDisk).dataWriteGuid };
    await base.close();
    await relinkVhdx(await openImage(file, files.random), parent, files.random);
    let seed = 1;
    const dice = (n: number): number => (seed = (seed * 48271) % 0x7fffffff) % n;
    const middle = files.contents.get(CHAIN[1])!;
    const parents = { old: 0, new: 0 };
    for (const { content: left } of powerCuts(file, dice, 8)) {
      files.contents.set(CHAIN[2], left());
      expect(await content()).toEqual([1, 2, 3, 0]);
      files.contents.delete(CHAIN[1]);
      const which = await content().then(
        () => 'new' as const,
        () => 'old' as const,
      );
      parents[which]++;
      files.contents.set(CHAIN[1], middle);
    }
    expect(parents.old).toBeGreaterThan(0);
    expect(parents.new).toBeGreaterThan(0);
  });

  it('is refused a parent that it cannot have', async () => {
    const { host } = await chain();
    await createDisk(host, '/d/large.vhdx', { format: 'vhdx', size: 8 * MIB });
    await expect(relinkDisk(host, '/d/large.vhdx', CHAIN[0])).rejects.toThrow('is no differencing disk');
    await expect(relinkDisk(host, CHAIN[2], '/d/large.vhdx')).rejects.toThrow('is larger than');
  });
});
