/** The power goes at every point of a session: what was flushed is there, and the file is sound. */
import { describe, expect, it } from 'vitest';
import { type DiskFiles, fileFailureOf } from '../host/disk-files.ts';
import { type MemoryContent, MemoryFile, MemoryFiles } from '../host/memory-files.ts';
import { nodeCodecs } from '../host/node/codecs.ts';
import { readAll } from './conformance.fixture.ts';
import { createDisk, type NewDisk } from './create.ts';
import type { Disk } from './disk.ts';
import { Findings } from './findings.ts';
import { openDisk } from './open.ts';
import { type Dice, powerCuts, RecordingFile } from './power-cut.fixture.ts';
import { checkVhd } from './vhd/check.ts';
import { checkVhdx } from './vhdx/check.ts';

const MIB = 2 ** 20;
const SECTOR = 512;
const SIZE = 3 * MIB + 64 * 1024;
const SECTORS = SIZE / SECTOR;

function diceOf(seed: number): Dice {
  let x = seed + 1;
  return (n) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return Math.floor((x / 2 ** 32) * n);
  };
}

/** A sector says which write it comes from. 0 is zeroes. */
function sectors(id: number, count: number): Uint8Array {
  return new Uint8Array(new Uint32Array((count * SECTOR) / 4).fill(id).buffer);
}

/** What each sector holds, or -1 where it is torn: sectors are never, so their ends tell. */
function idsOf(bytes: Uint8Array): Int32Array {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const perSector = SECTOR / 4;
  return Int32Array.from({ length: bytes.length / SECTOR }, (_, sector) => {
    const id = words[sector * perSector]!;
    return id === words[sector * perSector + perSector - 1] ? id : -1;
  });
}

interface Change {
  /** Operations of the file when it was asked for. */
  readonly at: number;
  readonly sector: number;
  readonly count: number;
  readonly id: number;
}

interface Flush {
  /** Operations of the file when it was done. */
  readonly done: number;
  /** What was there when it was asked for, and how many changes had been made. */
  readonly content: Int32Array;
  readonly changes: number;
}

interface Session {
  readonly file: RecordingFile;
  readonly changes: readonly Change[];
  readonly flushes: readonly Flush[];
}

/** Writes and flushes as a guest makes them: bursts in flight together, small and large, some discarded. */
async function play(disk: Disk, file: RecordingFile, initial: Int32Array, dice: Dice, steps: number): Promise<Session> {
  const content = initial.slice();
  const changes: Change[] = [];
  const flushes: Flush[] = [{ done: 0, content: content.slice(), changes: 0 }];
  let id = 1000;
  for (let step = 0; step < steps; step++) {
    if (dice(3) === 0) {
      const before = { content: content.slice(), changes: changes.length };
      await disk.flush();
      flushes.push({ ...before, done: file.operations.length });
      continue;
    }
    // Whole blocks go, and others take their place.
    if (dice(4) === 0) {
      for (let block = 0; block < 3; block++) {
        if (dice(3) === 0) continue;
        changes.push({ at: file.operations.length, sector: block * 2048, count: 2048, id: 0 });
        content.fill(0, block * 2048, (block + 1) * 2048);
        await disk.discard(block * MIB, MIB);
      }
      if (dice(2) === 0) {
        const before = { content: content.slice(), changes: changes.length };
        await disk.flush();
        flushes.push({ ...before, done: file.operations.length });
      }
    }
    // Of a burst no two overlap: nobody could say which comes first.
    const burst: Promise<void>[] = [];
    const stripes = 1 + dice(4);
    const stripe = Math.floor(SECTORS / stripes);
    for (let i = 0; i < stripes; i++) {
      const whole = dice(5) === 0;
      const sector = i * stripe + (whole ? 0 : dice(stripe));
      const count = whole ? stripe : 1 + dice(Math.min(dice(3) === 0 ? stripe : 40, (i + 1) * stripe - sector));
      const discard = dice(4) === 0;
      const next = discard ? 0 : ++id;
      changes.push({ at: file.operations.length, sector, count, id: next });
      content.fill(next, sector, sector + count);
      if (discard) burst.push(disk.discard(sector * SECTOR, count * SECTOR));
      else burst.push(disk.write(sector * SECTOR, sectors(next, count)));
    }
    // Now and then a flush comes in the middle: it promises nothing about these.
    if (dice(4) === 0) burst.push(disk.flush());
    await Promise.all(burst);
  }
  return { file, changes, flushes };
}

/** Why the content after a cut at `point` cannot be, or undefined. */
function contradiction(session: Session, point: number, got: Int32Array): string | undefined {
  const flush = session.flushes.findLast((each) => each.done <= point)!;
  const since = session.changes.slice(flush.changes).filter((change) => change.at <= point);
  for (let sector = 0; sector < SECTORS; sector++) {
    const id = got[sector]!;
    if (id === flush.content[sector]) continue;
    if (since.some((c) => c.id === id && sector >= c.sector && sector < c.sector + c.count)) continue;
    return `sector ${sector} holds ${id}, flushed was ${flush.content[sector]}`;
  }
  return undefined;
}

/** More of it: POWER_CUT_SEEDS=100:50 plays fifty sessions from seed 100 on. */
const [FIRST, COUNT] = (process.env.POWER_CUT_SEEDS ?? '0:1').split(':').map(Number) as [number, number];

const FORMATS: [string, NewDisk, boolean][] = [
  ['dynamic VHDX', { format: 'vhdx', blockSize: MIB }, false],
  ['fixed VHDX', { format: 'vhdx', blockSize: MIB, type: 'fixed' }, false],
  ['differencing VHDX', { format: 'vhdx', blockSize: MIB }, true],
  ['dynamic VHD', { format: 'vhd', blockSize: MIB / 2 }, false],
  ['differencing VHD', { format: 'vhd', blockSize: MIB / 2 }, true],
  ['raw', { format: 'raw' }, false],
];

/** A folder whose file /disk is the one given. */
function folderWith(files: MemoryFiles, file: RecordingFile): DiskFiles {
  return new Proxy(files, {
    get: (target, name) => {
      if (name !== 'open') {
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      }
      return async (path: string, options: object) => (path === '/disk' ? file : target.open(path, options));
    },
  });
}

async function prepare(wanted: NewDisk, child: boolean): Promise<{ files: MemoryFiles; initial: Int32Array }> {
  const files = new MemoryFiles();
  const host = { files, codecs: nodeCodecs };
  const initial = new Int32Array(SECTORS);
  if (child) {
    await createDisk(host, '/base', { format: wanted.format, size: SIZE });
    const base = await openDisk(host, '/base', { format: wanted.format, write: true });
    for (const [sector, count] of [
      [10, 600],
      [3000, 64],
      [6000, 200],
    ] as const) {
      await base.write(sector * SECTOR, sectors(7, count));
      initial.fill(7, sector, sector + count);
    }
    await base.close();
  }
  await createDisk(host, '/disk', { ...wanted, size: SIZE, ...(child ? { parent: '/base' } : {}) });
  return { files, initial };
}

async function expectSound(format: NewDisk['format'], content: MemoryContent, where: string): Promise<void> {
  const findings = new Findings();
  const file = new MemoryFile('/disk', content, false);
  if (format === 'vhdx') await checkVhdx(file, findings);
  if (format === 'vhd') await checkVhd(file, findings);
  // A VHD's end is where a power cut may leave half a block; the copy of the footer is for that.
  const errors = findings.list.filter((each) => each.kind === 'error' && !(format === 'vhd' && each.repairable));
  expect(errors, where).toEqual([]);
}

async function cutEverywhere(wanted: NewDisk, child: boolean, seed: number, steps: number, variants: number) {
  const dice = diceOf(seed);
  const { files, initial } = await prepare(wanted, child);
  const file = new RecordingFile(files.contents.get('/disk')!);
  const { format } = wanted;
  const disk = await openDisk({ files: folderWith(files, file), codecs: nodeCodecs }, '/disk', { format, write: true });
  const session = await play(disk, file, initial, dice, steps);
  await disk.close();
  let cuts = 0;
  for (const { point, content } of powerCuts(file, dice, variants)) {
    const where = `seed ${seed}, cut ${cuts} after ${point} of ${file.operations.length} operations`;
    const left = content();
    await expectSound(format, left.clone(), where);
    files.contents.set('/disk', left);
    const host = { files, codecs: nodeCodecs };
    // Read-only first, which sees the log without replaying it; then to write, which replays it.
    for (const write of cuts % 3 === 0 ? [false, true] : [true]) {
      const again = await openDisk(host, '/disk', { format, write });
      const problem = contradiction(session, point, idsOf(await readAll(again)));
      if (problem !== undefined) expect.fail(`${where}: ${problem}`);
      if (write && cuts % 7 === 0) {
        await again.write(0, sectors(99, 2048));
        await again.flush();
      }
      await again.close();
    }
    await expectSound(format, left, `${where}, mended`);
    cuts++;
  }
  return cuts;
}

describe('a power cut at every point of a session', () => {
  it.each(FORMATS)('leaves a %s sound, with all that was flushed', async (_, wanted, child) => {
    let cuts = 0;
    for (let seed = FIRST; seed < FIRST + COUNT; seed++) cuts += await cutEverywhere(wanted, child, seed, 10, 5);
    expect(cuts).toBeGreaterThan(50);
  });
});

describe('a full host disk', () => {
  it.each(FORMATS)('fails writes to a %s and nothing else, until there is room again', async (_, wanted, child) => {
    const { files, initial } = await prepare(wanted, child);
    const host = { files, codecs: nodeCodecs };
    const content = files.contents.get('/disk')!;
    const disk = await openDisk(host, '/disk', { format: wanted.format, write: true });
    await disk.write(4096, sectors(50, 16));
    await disk.flush();
    const used = content.pages.size * 4096;
    content.limit = used + 256 * 1024;
    const expected = initial.slice().fill(50, 8, 24);
    const failed: number[] = [];
    for (let i = 0; i < 24; i++) {
      const sector = 128 + i * 256;
      try {
        await disk.write(sector * SECTOR, sectors(100 + i, 200));
        expected.fill(100 + i, sector, sector + 200);
      } catch (error) {
        expect(fileFailureOf(error)).toBe('outOfSpace');
        failed.push(i);
      }
    }
    expect(failed.length).toBeGreaterThan(3);
    await disk.flush().catch((error: unknown) => expect(fileFailureOf(error)).toBe('outOfSpace'));
    // What a failed write leaves is old or new; everything else is as it was.
    const ids = idsOf(await readAll(disk));
    for (let i = 0; i < SECTORS; i++)
      if (!failed.some((each) => i >= 128 + each * 256 && i < 128 + each * 256 + 200)) expect(ids[i]).toBe(expected[i]);
    content.limit = Number.POSITIVE_INFINITY;
    for (const i of failed) {
      const sector = 128 + i * 256;
      await disk.write(sector * SECTOR, sectors(100 + i, 200));
      expected.fill(100 + i, sector, sector + 200);
    }
    await disk.flush();
    await disk.close();
    await expectSound(wanted.format, content, 'after it');
    const again = await openDisk(host, '/disk', { format: wanted.format });
    expect(idsOf(await readAll(again))).toEqual(expected);
    await again.close();
  });
});
