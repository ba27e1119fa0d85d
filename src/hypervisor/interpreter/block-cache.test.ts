/** Blocks without a processor: which of them a store drops, and what the code map and the page map are told. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  BLOCK_TABLE,
  BLOCK_TABLE_ENTRIES,
  CODE_MAP,
  CODE_MAP_GRANULE,
  PAGE,
  PAGE_MAP,
  PageFlag,
  RECORDS,
  RECORDS_SIZE,
  ramBase,
  VP_STATE,
  vpArea,
} from '../memory/layout.ts';
import { Mode, VpState } from '../vp/state.ts';
import { forms } from '../x86/table.ts';
import { BlockCache, WARM } from './block-cache.ts';
import { HandlerTable } from './handlers.ts';
import { Handler, RECORD } from './record.ts';
import type { Stretch } from './record-room.ts';

const PAGES = 8;
const RAM = ramBase(1);
const MODE = Mode.LONG64 | Mode.LONG | Mode.PROTECTED;
const HOT = 100;
const NOP = 0x90;
const RET = 0xc3;
/** MOV EAX, imm32: five bytes. */
const MOV = 0xb8;

const handlers = new HandlerTable(forms);
const buffer = new SharedArrayBuffer(RAM + PAGES * PAGE);
const bytes = new Uint8Array(buffer);
const words = new Int32Array(buffer);
const vp = VpState.view(buffer, vpArea(0) + VP_STATE);

let held: Set<number>;
/** Guest-physical address of the page behind, for an instruction that crosses. */
let behind: number | undefined;
let cache: BlockCache;

beforeEach(() => {
  bytes.fill(NOP, RAM);
  words.fill(0, PAGE_MAP >> 2, (PAGE_MAP >> 2) + PAGES + 1);
  for (let n = 0; n < PAGES; n++) words[(PAGE_MAP >> 2) + n] = (RAM + n * PAGE) | PageFlag.PRESENT | PageFlag.WRITABLE;
  bytes.fill(0, CODE_MAP, CODE_MAP + 64);
  words.fill(0, (vpArea(0) + BLOCK_TABLE) >> 2, (vpArea(0) + BLOCK_TABLE + BLOCK_TABLE_ENTRIES * 16) >> 2);
  held = new Set();
  behind = undefined;
  vp.mode = MODE;
  vp.codeMapExact = 1;
  cache = new BlockCache(buffer, vpArea(0), handlers, {
    vp,
    translateCode: () => behind,
    protectPage: (page) => held.add(page),
    releasePage: (page) => held.delete(page),
    releaseAll: () => held.clear(),
    flushed: () => undefined,
  });
  cache.hotAfter = HOT;
});

function put(gpa: number, ...code: number[]): void {
  bytes.set(code, RAM + gpa);
}
/** Makes the block at an address, as if its linear address were the same. */
function block(gpa: number): number {
  return cache.decode(BigInt(gpa), gpa);
}
function handler(record: number): number {
  return (words[record >> 2] as number) & 0xffff;
}
function isDropped(record: number): boolean {
  return handler(record) === Handler.REFETCH;
}
/** Granules that the code map says hold code. */
function granules(): number[] {
  const found: number[] = [];
  for (let n = 0; n < (PAGES * PAGE) / CODE_MAP_GRANULE; n++)
    if (((bytes[CODE_MAP + (n >> 3)] as number) >> (n & 7)) & 1) found.push(n);
  return found;
}

describe('a store', () => {
  it('drops the blocks whose bytes it touches, and no other', () => {
    put(0x103, RET);
    put(0x203, RET);
    const [first, inner, second] = [block(0x100), block(0x102), block(0x200)];
    expect(cache.size).toBe(3);
    expect(cache.written(0x104, 0xfc)).toBe(false);
    expect(cache.written(0x101, 1)).toBe(true);
    expect([first, inner, second].map(isDropped)).toEqual([true, false, false]);
    expect(cache.written(0x103, 0x100)).toBe(true);
    expect([inner, second].map(isDropped)).toEqual([true, true]);
    expect([cache.size, held.size]).toEqual([0, 0]);
  });

  it('leaves the code map and the page as they have to be', () => {
    put(0x13f, RET);
    put(0x203, RET);
    block(0x100);
    block(0x200);
    expect(granules()).toEqual([4, 8]);
    expect([...held]).toEqual([0]);
    cache.written(0x120, 4);
    expect(granules()).toEqual([8]);
    expect([...held]).toEqual([0]);
    cache.written(0x203, 1);
    expect(granules()).toEqual([]);
    expect([...held]).toEqual([]);
  });

  it('of a whole page drops all of its blocks, which are made anew from the new bytes', () => {
    const old = Array.from({ length: 40 }, (_, n) => block(0x1000 + n * 16));
    expect(cache.written(0x1000, PAGE)).toBe(true);
    expect(old.every(isDropped)).toBe(true);
    put(0x1000, RET);
    const made = block(0x1000);
    // ENTER, RET, and where it goes on.
    expect([0, 2].map((n) => handler(made + n * RECORD))).toEqual([Handler.ENTER, Handler.CONTINUE]);
    expect(cache.codeOf(made)).toMatchObject({ gpa: 0x1000, offset: 0, mode: MODE, host: RAM + 0x1000 });
    expect(cache.codeOf(old[3] as number)).toBeUndefined();
  });

  it('drops the regions made from the bytes that it touches', () => {
    put(0x103, RET);
    const released: number[] = [];
    cache.released = (place) => released.push(place);
    const record = block(0x100);
    cache.install(
      record,
      7,
      [
        { from: 0x100, to: 0x104 },
        { from: 0x1010, to: 0x1020 },
      ],
      [],
    );
    expect(handler(record)).toBe(Handler.REGION);
    cache.written(0x1020, 8);
    expect(released).toEqual([]);
    cache.written(0x101f, 1);
    expect([released, handler(record)]).toEqual([[7], Handler.ENTER]);
    cache.install(record, 8, [{ from: 0x100, to: 0x104 }], []);
    cache.written(0x103, 1);
    expect([released, handler(record)]).toEqual([[7, 8], Handler.REFETCH]);
  });
});

describe('when there is no room for another block', () => {
  /** Blocks at other addresses each time, until records are used again. */
  const fill = (): void => {
    const { epoch } = cache;
    for (let gpa = PAGE; cache.epoch === epoch; gpa += 4) block(gpa);
  };

  it('those go that were hardly executed; what is translated stays, and what that calls, and what is warm', () => {
    vp.blocksFlushed = 0n;
    const released: number[] = [];
    cache.released = (place) => released.push(place);
    put(0x108, RET);
    put(0x208, RET);
    put(0x308, RET);
    const [region, called, warm, cold, inner] = [0x100, 0x200, 0x300, 0x400, 0x104].map(block) as [
      number,
      number,
      number,
      number,
      number,
    ];
    cache.install(region, 9, [{ from: 0x100, to: 0x208 }], [called]);
    words[(warm >> 2) + 4] = HOT - WARM;
    const { epoch } = cache;
    fill();
    expect([region, called, warm].map(handler)).toEqual([Handler.REGION, Handler.ENTER, Handler.ENTER]);
    // The block that was made last is where the cold one was.
    expect([isDropped(inner), cache.codeOf(cold)?.gpa === 0, cache.size]).toEqual([true, false, 4]);
    expect([released, vp.blocksFlushed, cache.epoch]).toEqual([[], 0n, epoch + 1]);
    // The region goes with what it calls.
    cache.written(0x200, 1);
    expect([released, handler(region)]).toEqual([[9], Handler.ENTER]);
  });
});

describe('a processor that has time', () => {
  it('gives back the records of what was hardly executed, and fills that room again from the bottom', () => {
    put(0x108, RET);
    put(0x208, RET);
    put(0x308, RET);
    const [region, called, warm] = [0x100, 0x200, 0x300].map(block) as [number, number, number];
    cache.install(region, 9, [{ from: 0x100, to: 0x208 }], [called]);
    words[(warm >> 2) + 4] = HOT - WARM;
    const cold = Array.from({ length: 40 }, (_, n) => block(2 * PAGE + n * 0x40));
    expect(held.has(2 * PAGE)).toBe(true);
    const { epoch } = cache;
    const free: Stretch[] = [];
    cache.tidy((stretch) => free.push(stretch));
    expect([region, called, warm].map(handler)).toEqual([Handler.REGION, Handler.ENTER, Handler.ENTER]);
    expect(cold.every(isDropped)).toBe(true);
    expect([cache.size, cache.epoch, held.has(2 * PAGE)]).toEqual([3, epoch + 1, false]);
    const isFree = (record: number): boolean => free.some(({ from, to }) => record >= from && record < to);
    expect([region, called, warm].some(isFree)).toBe(false);
    expect(cold.every(isFree)).toBe(true);
    expect(Math.max(...free.map(({ to }) => to))).toBe(vpArea(0) + RECORDS + RECORDS_SIZE);
    for (const { from, to } of free) bytes.fill(0, from, to);
    expect(cache.entered(warm)).toBe(WARM);
    expect(block(3 * PAGE)).toBe(Math.min(...free.map(({ from }) => from)));
    expect([cache.codeOf(warm)?.offset, handler(region)]).toEqual([0x300, Handler.REGION]);
  });
});

describe('a block that other runs knew', () => {
  it('is hot soon, and cold all the same while it has hardly been executed', () => {
    cache.isKept = (_page, offset) => offset < 0x200;
    const [seldom, often] = [block(0x100), block(0x180)];
    const left = words[(seldom >> 2) + 4] as number;
    expect(left).toBeLessThan(HOT);
    words[(often >> 2) + 4] = left - WARM;
    cache.tidy(() => undefined);
    expect([isDropped(seldom), isDropped(often)]).toEqual([true, false]);
  });
});

describe('an instruction in two pages', () => {
  const at = 2 * PAGE - 3;
  beforeEach(() => {
    put(at, MOV);
    behind = 4 * PAGE;
  });

  it('leaves no page protected when it goes', () => {
    block(at);
    expect([...held]).toEqual([PAGE, 4 * PAGE]);
    cache.tidy(() => undefined);
    expect([cache.size, cache.pages, [...held]]).toEqual([0, 0, []]);
  });

  it('is one block in both, found again as long as the same page is behind', () => {
    const record = block(at);
    expect([cache.size, [...held]]).toEqual([2, [PAGE, 4 * PAGE]]);
    expect(block(at)).toBe(record);
    behind = 5 * PAGE;
    const other = block(at);
    expect(other).not.toBe(record);
    expect(isDropped(record)).toBe(true);
    expect([cache.size, cache.pageOf(4 * PAGE)]).toEqual([2, undefined]);
    expect(cache.pageOf(5 * PAGE)).toMatchObject({ host: RAM + 5 * PAGE });
  });

  it.each([
    ['the first', at + 1],
    ['the second', 4 * PAGE + 1],
  ])('is dropped by a store to %s', (_which, gpa) => {
    const record = block(at);
    expect(cache.written(gpa, 1)).toBe(true);
    expect([isDropped(record), cache.size]).toEqual([true, 0]);
  });

  it('is dropped once where both pages are the same', () => {
    behind = PAGE;
    const before = vp.blocksInvalidated;
    const record = block(at);
    expect(cache.size).toBe(2);
    cache.written(PAGE, PAGE);
    expect([isDropped(record), cache.size, vp.blocksInvalidated - before]).toEqual([true, 0, 1n]);
  });

  it('is not kept where the second page is no memory', () => {
    behind = undefined;
    expect(block(at) & 1).toBe(1);
    expect(cache.size).toBe(0);
  });
});

describe('what the translator asks', () => {
  it('is told the blocks of a page in one mode, and how often each was entered', () => {
    const [first, second] = [block(0x100), block(0x180)];
    vp.mode = MODE | Mode.USER;
    const user = block(0x100);
    expect(user).not.toBe(first);
    words[(first >> 2) + 4] = HOT - 9;
    expect([...cache.blocksOf(0, MODE, new Set([second]), PAGE)]).toEqual([
      ...[PAGE + 0x100, first, (second - first) / RECORD, 9],
      ...[PAGE + 0x180, second, (user - second) / RECORD, -1],
    ]);
    cache.cool(0, MODE, [0x100]);
    expect(cache.entered(first)).toBe(0);
  });
});
