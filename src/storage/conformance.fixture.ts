/** What every disk has to do, whatever its format: one suite, run by each (conformance.test.ts) against a plain model. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allocatedRanges, isZero } from './copy.ts';
import type { Disk } from './disk.ts';

export interface DiskUnderTest {
  /** Opens the same disk again after it was closed. */
  open(): Promise<Disk>;
  /** What a new one holds. */
  readonly initial: Uint8Array;
  readonly resizable: boolean;
  /** A throw-away disk: opened again it is as it was. */
  readonly keepsNothing?: boolean;
}

export interface Conformance {
  readonly name: string;
  /** Makes a new disk of this size. */
  create(size: number): Promise<DiskUnderTest>;
  readonly sector: number;
  readonly runs?: number;
  /** Read-only formats: why the writing part is left out. */
  readonly readOnly?: string;
}

/** Three blocks of 1 MiB and a piece: ranges cross blocks, and the last block is not whole. */
export const SIZE = 3 * 2 ** 20 + 96 * 4096;

type Action =
  | {
      readonly do: 'write' | 'zero' | 'discard' | 'read';
      readonly at: number;
      readonly length: number;
      readonly seed: number;
    }
  | { readonly do: 'flush' }
  | { readonly do: 'reopen' }
  | { readonly do: 'together'; readonly stripes: number; readonly seed: number }
  | { readonly do: 'resize'; readonly sectors: number };

/** More of it: CONFORMANCE_RUNS=20 plays twenty times as many scripts. */
const TIMES = Number(process.env.CONFORMANCE_RUNS ?? '1');

const NOISE = 2 ** 24;
let noise: Uint8Array | undefined;

/** Bytes that depend on the seed, never zero. Not to be written to. */
export function pattern(length: number, seed: number): Uint8Array {
  if (noise === undefined) {
    noise = new Uint8Array(NOISE);
    for (let i = 0, x = 1; i < NOISE; i++) {
      x = (Math.imul(x, 1103515245) + 12345) | 0;
      noise[i] = (x >>> 16) | 1;
    }
  }
  const at = Math.imul(seed + 1, 0x9e3779b1) >>> 10;
  return noise.subarray(at % (NOISE - length), (at % (NOISE - length)) + length);
}

function actions(sectors: number, resizable: boolean): fc.Arbitrary<Action[]> {
  // Small ranges, whole blocks and everything between; many at block edges.
  const at = fc.oneof(
    fc.nat({ max: sectors - 1 }),
    fc.nat({ max: 3 }).map((block) => Math.floor((block * sectors) / 3.375)),
  );
  const length = fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: sectors }));
  const range = (what: 'write' | 'zero' | 'discard' | 'read'): fc.Arbitrary<Action> =>
    fc.record({ do: fc.constant(what), at, length, seed: fc.nat({ max: 1e6 }) });
  return fc.array(
    fc.oneof(
      { weight: 6, arbitrary: range('write') },
      { weight: 2, arbitrary: range('zero') },
      { weight: 3, arbitrary: range('discard') },
      { weight: 3, arbitrary: range('read') },
      { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('flush' as const, 'reopen' as const) }) },
      {
        weight: 2,
        arbitrary: fc.record({
          do: fc.constant('together' as const),
          stripes: fc.integer({ min: 2, max: 24 }),
          seed: fc.nat(),
        }),
      },
      ...(resizable
        ? [
            {
              weight: 1,
              arbitrary: fc.record({
                do: fc.constant('resize' as const),
                sectors: fc.integer({ min: 1, max: sectors * 2 }),
              }),
            },
          ]
        : []),
    ),
    { minLength: 1, maxLength: 14 },
  );
}

export async function readAll(disk: Disk): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.size);
  await disk.read(0, bytes);
  return bytes;
}

/** Without printing megabytes. */
export function expectSame(got: Uint8Array, wanted: Uint8Array): void {
  expect(got.length).toBe(wanted.length);
  if (Buffer.compare(got, wanted) === 0) return;
  const at = got.findIndex((byte, i) => byte !== wanted[i]);
  expect.fail(`byte ${at} is ${got[at]}, not ${wanted[at]}`);
}

/** The same bytes as three buffers, some of them empty. */
function parts(bytes: Uint8Array, seed: number): readonly Uint8Array[] {
  const [first, second] = [seed % 700, 700 + (seed % 5000)];
  return [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
}

async function play(test: Conformance, script: readonly Action[]): Promise<void> {
  const under = await test.create(SIZE);
  let disk = await under.open();
  let model = under.initial.slice();
  try {
    for (const action of script) {
      if ('at' in action) {
        const offset = Math.min(action.at * test.sector, model.length - test.sector);
        const length = Math.min(action.length * test.sector, model.length - offset);
        if (action.do === 'write') {
          const bytes = pattern(length, action.seed);
          if (!disk.writeNow?.(offset, parts(bytes, action.seed))) await disk.write(offset, bytes);
          model.set(bytes, offset);
        } else if (action.do === 'read') {
          const bytes = new Uint8Array(length).fill(0xee);
          if (!disk.readNow?.(offset, parts(bytes, action.seed))) await disk.read(offset, bytes);
          expectSame(bytes, model.subarray(offset, offset + length));
        } else {
          await (action.do === 'zero' ? disk.writeZeroes(offset, length) : disk.discard(offset, length));
          model.fill(0, offset, offset + length);
        }
      } else if (action.do === 'flush') await disk.flush();
      else if (action.do === 'reopen') {
        await disk.close();
        disk = await under.open();
        if (under.keepsNothing === true) model = under.initial.slice();
      } else if (action.do === 'together') {
        // Writes, discards and flushes in flight at the same time, on neighbouring ranges.
        const stripe = Math.max(test.sector, Math.floor(model.length / action.stripes / test.sector) * test.sector);
        const work: Promise<void>[] = [];
        for (let i = 0; (i + 1) * stripe <= model.length; i++) {
          const kind = (action.seed + i * 7) % 5;
          const target = model.subarray(i * stripe, (i + 1) * stripe);
          if (kind < 3) {
            const bytes = pattern(stripe, action.seed + i);
            target.set(bytes);
            const now = kind === 2 && disk.writeNow?.(i * stripe, parts(bytes, action.seed));
            if (!now) work.push(disk.write(i * stripe, bytes));
          } else if (kind === 3) {
            target.fill(0);
            work.push(disk.discard(i * stripe, stripe));
          } else work.push(disk.flush());
        }
        await Promise.all(work);
      } else if (action.do === 'resize') {
        const size = action.sectors * test.sector;
        await disk.resize(size);
        const next = new Uint8Array(size);
        next.set(model.subarray(0, size));
        model = next;
      }
    }
    expectSame(await readAll(disk), model);
    for await (const range of allocatedRanges(disk)) model.fill(0, range.offset, range.offset + range.length);
    expect(isZero(model), 'all that is not zero is allocated').toBe(true);
  } finally {
    await disk.close();
  }
}

export function conformance(test: Conformance): void {
  describe(test.name, () => {
    it('holds what a plain array would hold', { skip: test.readOnly !== undefined }, async () => {
      const { resizable } = await test.create(SIZE);
      await fc.assert(
        fc.asyncProperty(actions(SIZE / test.sector, resizable), (script) => play(test, script)),
        { numRuns: (test.runs ?? 25) * TIMES },
      );
    });

    it('reads into shared memory, in place', async () => {
      const under = await test.create(SIZE);
      const disk = await under.open();
      const shared = new Uint8Array(new SharedArrayBuffer(3 * test.sector)).fill(7);
      await disk.read(test.sector, shared.subarray(test.sector, 2 * test.sector));
      expect(shared[0]).toBe(7);
      expect(shared.at(-1)).toBe(7);
      expectSame(shared.slice(test.sector, 2 * test.sector), under.initial.slice(test.sector, 2 * test.sector));
      await disk.close();
    });

    it('refuses what is not on the disk, not whole sectors, or closed', async () => {
      const disk = await (await test.create(SIZE)).open();
      const sector = new Uint8Array(test.sector);
      for (const offset of [-test.sector, disk.size, disk.size + test.sector, 1, 2 ** 60, Number.NaN, 0.5])
        await expect(disk.read(offset, sector)).rejects.toMatchObject({ trouble: 'range' });
      await expect(disk.read(0, new Uint8Array(7))).rejects.toMatchObject({ trouble: 'range' });
      await disk.close();
      await disk.close();
      await expect(disk.read(0, sector)).rejects.toMatchObject({ trouble: 'closed' });
    });
  });
}
