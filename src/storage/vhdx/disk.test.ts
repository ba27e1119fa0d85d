/** Cuts of the power that random sessions rarely find, one by one. */
import { describe, expect, it } from 'vitest';
import { MemoryContent, MemoryFile, MemoryFiles } from '../../host/memory-files.ts';
import { expectSame, pattern, readAll } from '../conformance.fixture.ts';
import { powerCuts, RecordingFile } from '../power-cut.fixture.ts';
import { createVhdx } from './create.ts';
import { VhdxDisk } from './disk.ts';
import { BlockState, MIB } from './protocol.ts';

const { random } = new MemoryFiles();
const SIZE = 4 * MIB;

async function newDisk(size = SIZE): Promise<MemoryContent> {
  const content = new MemoryContent();
  await createVhdx(new MemoryFile('/disk', content), { size, type: 'dynamic', blockSize: MIB }, random);
  return content;
}

const openContent = (content: MemoryContent) => VhdxDisk.open(new MemoryFile('/disk', content), { random });

/** Everything that can be left at any point of the session. */
function* remains(file: RecordingFile): Generator<MemoryContent> {
  let seed = 1;
  const dice = (n: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  for (const cut of powerCuts(file, dice, 10)) yield cut.content();
}

describe('the place of a discarded block', () => {
  it('is given to nobody before the discard is durable', async () => {
    const content = await newDisk();
    const first = await openContent(content);
    await first.write(0, pattern(2 * MIB, 1));
    await first.close();
    const file = new RecordingFile(content);
    const disk = await VhdxDisk.open(file, { random });
    await disk.discard(0, 2 * MIB);
    await disk.write(2 * MIB, pattern(2 * MIB, 2));
    for (const left of remains(file)) {
      const again = await openContent(left);
      const bytes = new Uint8Array(2 * MIB);
      await again.read(0, bytes);
      // Nothing was flushed: the blocks are there, or they are zeroes. They are never the other blocks' data.
      for (const at of [0, MIB]) {
        const block = bytes.subarray(at, at + MIB);
        if (block.some((byte) => byte !== 0)) expectSame(block, pattern(2 * MIB, 1).subarray(at, at + MIB));
      }
      await again.close();
    }
  });

  it('is made zero for its next owner, though the power went before the host had taken it back', async () => {
    const content = await newDisk();
    const first = await openContent(content);
    await first.write(0, pattern(MIB, 1));
    await first.close();
    const file = new RecordingFile(content);
    const disk = await VhdxDisk.open(file, { random });
    await disk.discard(0, MIB);
    await disk.flush();
    for (const left of remains(file)) {
      const again = await openContent(left);
      const expected = await readAll(again);
      await again.write(3 * MIB + 4096, pattern(512, 2));
      expected.set(pattern(512, 2), 3 * MIB + 4096);
      expectSame(await readAll(again), expected);
      await again.close();
    }
  });
});

describe('a differencing disk', () => {
  it('does not believe the bits of a block that had no place', async () => {
    const below = await newDisk();
    const base = await openContent(below);
    await base.write(0, pattern(SIZE, 1));
    const parent = { path: 'base', dataWriteGuid: base.dataWriteGuid };
    await base.close();
    const content = new MemoryContent();
    const options = { size: SIZE, type: 'differencing', blockSize: MIB, parent } as const;
    await createVhdx(new MemoryFile('/child', content), options, random);
    const open = async () =>
      VhdxDisk.open(new MemoryFile('/child', content), { random, parent: await openContent(below) });
    const first = await open();
    await first.write(MIB, pattern(4096, 2));
    await first.close();
    // As if the page of the table had been lost, and the bitmap's had not.
    const entry = new Uint8Array(8);
    content.read(3 * MIB + 8, entry);
    expect(entry[0]! & 7).toBe(BlockState.partiallyPresent);
    content.write(3 * MIB + 8, new Uint8Array(8));
    const again = await open();
    await again.write(MIB + 65536, pattern(512, 3));
    const expected = pattern(SIZE, 1).slice();
    expected.set(pattern(512, 3), MIB + 65536);
    expectSame(await readAll(again), expected);
    await again.close();
  });
});
