/** Translations that outlive a run: what is found again, what is not, and that it does the same. */
import { describe, expect, it } from 'vitest';
import { assembled, barePlan, CODE, MEMORY } from '../../../tests/fixtures/bare.ts';
import { SteppedMachine } from '../../vmwp/stepped-machine.ts';
import { compileInterpreter } from '../interpreter/interpreter.ts';
import { SiteKind } from './code.ts';
import { fill, type KeptRegion, KeptRegions, keptKey, keptKeys } from './kept.ts';

const PAGE = 4096;
const CODE_BYTES = [0x48, 0xff, 0xc0, 0xeb, 0xfb];
const ENTRY = 0x120;

function region(more: Partial<KeptRegion> = {}): KeptRegion {
  return {
    vp: 0x100_0000,
    mode: 49,
    entry: ENTRY,
    grouped: true,
    from: ENTRY,
    code: Uint8Array.from(CODE_BYTES),
    size: 2,
    blocks: [ENTRY],
    body: Uint8Array.from({ length: 33 }, (_, i) => i),
    hints: [5, 8],
    sites: [
      { kind: SiteKind.HELPER, at: 1, value: 1 },
      { kind: SiteKind.RECORD, at: 4, value: 0 },
    ],
    names: ['plain_load', 'find_region'],
    ...more,
  };
}
function pageWith(bytes: readonly number[], at = ENTRY): Uint8Array {
  const page = new Uint8Array(2 * PAGE);
  page.set(bytes, at);
  return page;
}
/** As another run would have them. */
function again(kept: KeptRegions): KeptRegions {
  return new KeptRegions(kept.encode());
}

describe('kept regions', () => {
  const page = pageWith(CODE_BYTES);
  const find = (kept: KeptRegions, { bytes = page, vp = 0x100_0000, mode = 49, grouped = true } = {}) =>
    kept.find(bytes, ENTRY, mode, vp, grouped);

  it('come back from a file as they were', () => {
    const kept = new KeptRegions();
    kept.add(region(), page);
    const found = find(again(kept));
    expect({ ...found, code: [...found!.code], body: [...found!.body] }).toEqual({
      ...region(),
      code: CODE_BYTES,
      body: [...region().body],
    });
  });

  it('are found for their own code, mode, processor and way of making accesses only', () => {
    const kept = new KeptRegions();
    kept.add(region(), page);
    const other = pageWith([...CODE_BYTES.slice(0, 4), 0xfa]);
    expect(find(kept)).toBeDefined();
    expect(find(kept, { bytes: other })).toBeUndefined();
    expect(find(kept, { mode: 48 })).toBeUndefined();
    expect(find(kept, { vp: 0x200_0000 })).toBeUndefined();
    expect(find(kept, { grouped: false })).toBeUndefined();
  });

  it('are found only where the second page is there that they reach into', () => {
    const kept = new KeptRegions();
    const at = PAGE - 2;
    const far = pageWith(CODE_BYTES, at);
    kept.add(region({ entry: at, from: at }), far);
    expect(kept.find(far, at, 49, 0x100_0000, true)).toBeDefined();
    expect(kept.find(far.subarray(0, PAGE), at, 49, 0x100_0000, true)).toBeUndefined();
  });

  it('are one for the same code, the newest', () => {
    const kept = new KeptRegions();
    kept.add(region(), page);
    kept.add(region({ size: 7 }), page);
    expect(find(kept)?.size).toBe(7);
    expect([...keptKeys(kept.encode()!)]).toEqual([keptKey(page, ENTRY, 49)]);
    expect(find(kept)?.size).toBe(7);
  });

  it('are written when there is something new, those first that were used', () => {
    const kept = new KeptRegions();
    const pages = [1, 2, 3].map((n) => pageWith([0xb8, n, 0, 0, 0]));
    for (const each of pages) kept.add(region({ code: each.slice(ENTRY, ENTRY + 5) }), each);
    expect(kept.encode()).toBeDefined();
    expect(kept.encode()).toBeUndefined();
    const second = again(new KeptRegions());
    expect(second.encode()).toBeUndefined();
    for (const each of pages) kept.add(region({ code: each.slice(ENTRY, ENTRY + 5) }), each);
    const all = kept.encode()!;
    // Room for half of them in the next file.
    const third = new KeptRegions(all, all.length / 2);
    expect(third.find(pages[2]!, ENTRY, 49, 0x100_0000, true)).toBeDefined();
    third.add(region(), page);
    const fewer = new KeptRegions(third.encode());
    expect(find(fewer)).toBeDefined();
    expect(fewer.find(pages[2]!, ENTRY, 49, 0x100_0000, true)).toBeDefined();
    expect(pages.filter((each) => fewer.find(each, ENTRY, 49, 0x100_0000, true))).toHaveLength(1);
  });

  it('are so many and no more', () => {
    const kept = new KeptRegions(undefined, 1000);
    const pages = Array.from({ length: 100 }, (_, n) => pageWith([0xb8, n, 0, 0, 0]));
    for (const each of pages) kept.add(region({ code: each.slice(ENTRY, ENTRY + 5) }), each);
    const found = pages.filter((each) => find(kept, { bytes: each }));
    expect(found.length).toBeGreaterThan(5);
    expect(found.length).toBeLessThan(30);
    expect(found).toEqual(pages.slice(0, found.length));
  });

  it.each([
    ['an empty file', new Uint8Array()],
    ['another file', Uint8Array.from({ length: 64 }, (_, i) => i)],
  ])('are none in %s', (_name, file) => {
    expect(keptKeys(file).size).toBe(0);
    expect(find(new KeptRegions(file))).toBeUndefined();
  });

  it('are none in a file whose lengths do not fit together, wherever that is', () => {
    const kept = new KeptRegions();
    kept.add(region(), page);
    const file = kept.encode()!;
    const words = new Int32Array(file.buffer);
    for (const at of [1, 9, 10, 11, 12, 13, 14])
      for (const value of [-1, 0x7fff_ffff, 100]) {
        const damaged = words.slice();
        damaged[at] = value;
        const other = new KeptRegions(new Uint8Array(damaged.buffer));
        expect(find(other), `word ${at}: ${value}`).toBeUndefined();
      }
    expect(find(new KeptRegions(file.subarray(0, -4)))).toBeUndefined();
  });

  it('are filled in with what is of this run, in numbers of a fixed length', () => {
    const sites = [
      { kind: SiteKind.HELPER, at: 0, value: 0 },
      { kind: SiteKind.RECORD, at: 2, value: 0 },
      { kind: SiteKind.NEXT_GPA, at: 7, value: 0 },
      { kind: SiteKind.CALLED_RECORD, at: 12, value: (9 << 16) | 0x123 },
      { kind: SiteKind.CALLED_BLOCK, at: 17, value: (9 << 16) | 0x123 },
    ];
    const kept = region({ body: new Uint8Array(20), sites });
    const asked: unknown[] = [];
    const filling = {
      helper: (name: string) => (name === 'plain_load' ? 300 : 0),
      record: 0xf000_0020,
      nextGpa: 0x1000,
      called: (value: number) => {
        asked.push([value & 0xffff, value >>> 16]);
        return { record: 64, blockAt: 8191 };
      },
    };
    expect([...fill(kept, filling)]).toEqual([
      ...[0xac, 0x02],
      ...[0xa0, 0x80, 0x80, 0x80, 0x7f],
      ...[0x80, 0xa0, 0x80, 0x80, 0x00],
      ...[0xc0, 0x80, 0x80, 0x80, 0x00],
      ...[0xff, 0x3f],
      0,
    ]);
    expect(asked).toEqual([
      [0x123, 9],
      [0x123, 9],
    ]);
  });
});

// Over two pages, with accesses near each other, and CPUID, which the interpreter's function does.
// biome-ignore format: a listing
const LOOP = assembled([
  ['start: add r8, 1',     '49 83 c0 01'],
  ['mov [rsi], r8',        '4c 89 06'],
  ['mov [rsi+8], rbx',     '48 89 5e 08'],
  ['mov eax, r8d',         '44 89 c0'],
  ['cpuid',                '0f a2'],
  ['add rdi, [rsi]',       '48 03 3e'],
  ['jmp start',            'eb eb'],
]);
const START = PAGE - 10;

describe('a machine with the translations of another one', () => {
  const interpreter = compileInterpreter();
  /** The code stands at another physical address, and other code has been decoded before it. */
  const machineOf = (kept: KeptRegions | undefined, moved = 0) => {
    const machine = new SteppedMachine({
      memory: MEMORY,
      plan: barePlan(LOOP, CODE + START + moved),
      interpreter,
      translated: kept !== undefined,
      hotAfter: 2000,
      kept,
    });
    machine.vp.gpr[6] = 0x30_0000n;
    return machine;
  };
  /** What was asked for is put in place where a run begins. Nothing is hot yet after the first one. */
  const run = (machine: SteppedMachine): void => {
    for (const to of [5_000n, 20_000n, 40_000n]) machine.runTo(to);
  };
  const state = ({ vp, machine }: SteppedMachine) => ({
    gpr: [...vp.gpr],
    rip: vp.rip,
    stored: machine.memory.read(0x30_0000, 16),
  });

  it.each([
    ['where it was', 0],
    ['elsewhere', 4 * PAGE],
  ])('does the same with them, early, %s', (_where, moved) => {
    const kept = new KeptRegions();
    const first = machineOf(kept);
    run(first);
    expect(first.vp.regionsMade).toBeGreaterThan(0n);
    expect(first.vp.regionsKept).toBe(0n);

    const second = machineOf(again(kept), moved);
    run(second);
    const plain = machineOf(undefined, moved);
    run(plain);
    expect(second.vp.regionsKept).toBeGreaterThan(0n);
    expect(second.vp.regionInstructions).toBeGreaterThan(first.vp.regionInstructions);
    expect(state(second)).toEqual(state(plain));
  });

  it('does not use them for code that is another one by now', () => {
    const kept = new KeptRegions();
    run(machineOf(kept));
    const [second, plain] = [machineOf(again(kept)), machineOf(undefined)];
    for (const machine of [second, plain]) {
      // The last byte of ADD R8.
      machine.machine.memory.write(CODE + START + 3, Uint8Array.of(3));
      run(machine);
    }
    expect(second.vp.regionsMade).toBeGreaterThan(second.vp.regionsKept);
    expect(state(second)).toEqual(state(plain));
  });
});
