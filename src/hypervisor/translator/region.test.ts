import { describe, expect, it } from 'vitest';
import { Mode } from '../vp/state.ts';
import { Decoder } from '../x86/decoder.ts';
import { forms } from '../x86/table.ts';
import { findRegion, type Region, type RegionOptions } from './region.ts';

const decoder = new Decoder(forms);
const PAGE = 4096;
/** Nobody looks at them here. */
const FACTS = {
  translatable: true,
  access: undefined,
  leavesBeside: false,
  writes: [],
  needsAll: false,
  reads: 0,
  passes: 0,
  condition: -1,
  sets: false,
  conditional: false,
  asks: false,
};
const MODE = Mode.LONG64 | Mode.LONG | Mode.PROTECTED;

/** Code at offsets of two pages; what is between is INT3. */
function find(code: Readonly<Record<number, string>>, entry: number, more: Partial<RegionOptions> = {}) {
  const page = new Uint8Array(2 * PAGE).fill(0xcc);
  for (const [at, bytes] of Object.entries(code))
    page.set(
      bytes.split(' ').map((b) => Number.parseInt(b, 16)),
      Number(at),
    );
  const region = findRegion({
    decoder,
    page,
    entry,
    mode: MODE,
    classify: ({ form }) => (form.mnemonic === 'INT3' ? 'none' : FACTS),
    executed: () => true,
    isEntry: () => false,
    ...more,
  });
  return region;
}
function shape(region: Region | undefined) {
  return [...(region?.blocks.values() ?? [])]
    .sort((a, b) => a.at - b.at)
    .map(({ at, end, ending, successors }) => ({ at, end, ending, successors }));
}

// dec ecx; jnz -4; ret
const LOOP = 'ff c9 75 fc c3';
// test eax,eax; jz +3; inc eax; ret; (3:) dec eax; ret
const CHOICE = '85 c0 74 03 ff c0 c3 ff c8 c3';

describe('the region at a block', () => {
  it('is a loop, and what follows it', () => {
    expect(shape(find({ 16: LOOP }, 16))).toEqual([
      { at: 16, end: 20, ending: 'branch', successors: [16, 20] },
      { at: 20, end: 21, ending: 'leave', successors: [] },
    ]);
  });

  it('goes both ways behind a branch, the taken one only where control has gone', () => {
    expect(shape(find({ 0: CHOICE }, 0)).map(({ at }) => at)).toEqual([0, 4, 7]);
    const asked: number[] = [];
    const region = find({ 0: CHOICE }, 0, {
      executed: (at) => {
        asked.push(at);
        return false;
      },
    });
    expect(asked).toEqual([7]);
    expect(shape(region).map(({ at }) => at)).toEqual([0, 4]);
    expect(region?.blocks.get(0)).toMatchObject({ ending: 'branch', target: 7, successors: [4] });
  });

  it('ends where another region begins, and jumps there', () => {
    // nop; nop; dec ecx...: the loop is another region's.
    const region = find({ 0: `90 90 ${LOOP}` }, 0, { isEntry: (at) => at === 2 });
    expect(shape(region)).toEqual([{ at: 0, end: 2, ending: 'jump', successors: [] }]);
    expect(region?.blocks.get(0)?.target).toBe(2);
    // Its own entry may be one.
    expect(shape(find({ 0: LOOP }, 0, { isEntry: (at) => at === 0 }))).toHaveLength(2);
  });

  it('goes on behind a call, not into it', () => {
    // call +100; ret
    expect(shape(find({ 8: 'e8 64 00 00 00 c3' }, 8))).toEqual([
      { at: 8, end: 13, ending: 'call', successors: [13] },
      { at: 13, end: 14, ending: 'leave', successors: [] },
    ]);
  });

  it('stops in front of what cannot be translated', () => {
    expect(find({}, 0)).toBeUndefined();
    expect(shape(find({ 0: '90 90 cc' }, 0))).toEqual([{ at: 0, end: 2, ending: 'jump', successors: [] }]);
  });

  it('marks what the interpreter executes for it', () => {
    const region = find({ 0: '90 f4 90 c3' }, 0, {
      classify: ({ form }) => (form.mnemonic === 'HLT' ? 'outline' : FACTS),
    });
    expect(region?.blocks.get(0)?.instructions.map(({ facts }) => facts)).toEqual([FACTS, undefined]);
  });

  it('reaches into the page behind, whose code is blocks of its own', () => {
    // Ends with the page: inc eax; inc eax | dec ecx; jnz to the second inc.
    const region = find({ [PAGE - 4]: 'ff c0 ff c0 ff c9 75 fa c3' }, PAGE - 4);
    expect(shape(region).map(({ at }) => at)).toEqual([PAGE - 4, PAGE - 2, PAGE, PAGE + 4]);
    expect([...(region?.blocks.values() ?? [])].filter(({ far }) => far).map(({ at }) => at)).toEqual([PAGE, PAGE + 4]);
    expect(region).toMatchObject({ from: PAGE - 4, to: PAGE + 5 });
  });

  it('has an instruction in both pages as the first of a block that is far', () => {
    // add eax, imm32 from three bytes before the page's end.
    const region = find({ [PAGE - 5]: '90 90 81 c0 01 02 03 04 c3' }, PAGE - 5);
    expect(shape(region)).toEqual([
      { at: PAGE - 5, end: PAGE - 3, ending: 'fall', successors: [PAGE - 3] },
      { at: PAGE - 3, end: PAGE + 4, ending: 'leave', successors: [] },
    ]);
    expect(region?.blocks.get(PAGE - 3)?.far).toBe(true);
    expect(region?.blocks.get(PAGE - 5)?.far).toBe(false);
  });

  it('is bounded', () => {
    // Jumps to the next instruction, for ever: eb 00.
    const region = find({ 0: Array.from({ length: 2000 }, () => 'eb 00').join(' ') }, 0);
    expect(region?.size).toBeLessThanOrEqual(250);
    expect(region?.blocks.size).toBeLessThanOrEqual(61);
  });
});
