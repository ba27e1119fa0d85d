/** Translations that outlive a run: what is found again, what is not, and that it does the same. */
import { describe, expect, it } from 'vitest';
import { assembled, barePlan, CODE, MEMORY } from '../../../tests/fixtures/bare.ts';
import { SteppedMachine } from '../../vmwp/stepped-machine.ts';
import { compileInterpreter } from '../interpreter/generate.ts';
import {
  type Encoded,
  filled,
  type KeptFile,
  type KeptOptions,
  type KeptRegion,
  KeptRegions,
  keptKey,
  SiteKind,
} from './kept.ts';

const PAGE = 4096;
const CODE_BYTES = [0x48, 0xff, 0xc0, 0xeb, 0xfb];
const ENTRY = 0x120;
const VP = 0x100_0000;

function region(more: Partial<KeptRegion> = {}): KeptRegion {
  return {
    vp: VP,
    mode: 49,
    entry: ENTRY,
    grouped: true,
    from: ENTRY,
    code: Uint8Array.from(CODE_BYTES),
    size: 2,
    blocks: [ENTRY],
    index: 3,
    firstSite: 7,
    sites: [
      { kind: SiteKind.RECORD, value: 0 },
      { kind: SiteKind.CALLED_RECORD, value: (9 << 16) | 0x123 },
    ],
    ...more,
  };
}
function pageWith(bytes: readonly number[], at = ENTRY): Uint8Array {
  const page = new Uint8Array(2 * PAGE);
  page.set(bytes, at);
  return page;
}
/** A module that has nothing but a name. */
function moduleBytes(name: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 0, 3, 1, 0x6e, name]);
}
function nameOf(module: WebAssembly.Module | undefined): number | undefined {
  const [section] = module ? WebAssembly.Module.customSections(module, 'n') : [];
  return section && new Uint8Array(section)[0];
}
function add(kept: KeptRegions, regions: readonly KeptRegion[], page: Uint8Array, name = 1): number {
  const bytes = moduleBytes(name);
  return kept.add(
    new WebAssembly.Module(bytes),
    bytes,
    regions.map((each) => ({ region: each, page })),
  );
}
function fileOf({ index, parts }: Encoded): KeptFile {
  const whole = new Uint8Array(parts.flatMap((part) => [...part]));
  return { index, read: (at, length) => whole.slice(at, at + length) };
}
/** As another run would have them. */
function again(kept: KeptRegions, options: KeptOptions = {}): KeptRegions {
  const encoded = kept.encode();
  return new KeptRegions({ ...options, file: encoded && fileOf(encoded) });
}

describe('kept regions', () => {
  const page = pageWith(CODE_BYTES);
  const find = (kept: KeptRegions, { bytes = page, vp = VP, mode = 49, grouped = true } = {}) =>
    kept.find({ page: bytes, entry: ENTRY, mode, vp, grouped }, (found) => found);
  /** Each in a module of its own. */
  const severalPages = (count: number) => Array.from({ length: count }, (_, n) => pageWith([0xb8, n + 1, 0, 0, 0]));
  const codeOf = (bytes: Uint8Array): KeptRegion => region({ code: bytes.slice(ENTRY, ENTRY + 5) });

  it('come back from a file as they were, with their modules', () => {
    const kept = new KeptRegions();
    add(kept, [region(), region({ mode: 50, index: 4, firstSite: 9, sites: [] })], page, 5);
    const other = again(kept);
    const found = find(other)!;
    expect({ ...found.region, code: [...found.region.code] }).toEqual({ ...region(), code: CODE_BYTES });
    expect(nameOf(other.module(found.id))).toBe(5);
    expect(other.length(found.id)).toBe(moduleBytes(5).length);
    const second = find(other, { mode: 50 })!;
    expect(second.id).toBe(found.id);
    expect(second.region).toMatchObject({ index: 4, firstSite: 9, sites: [] });
    expect(other.has(keptKey(page, ENTRY, 49))).toBe(true);
    expect(other.has(keptKey(page, ENTRY, 51))).toBe(false);
  });

  it('of a thread that takes over have other numbers than what the one before had, and what that has used is used', () => {
    const [used, unused] = severalPages(2) as [Uint8Array, Uint8Array];
    const before = new KeptRegions();
    add(before, [codeOf(used)], used, 1);
    const old = again(before);
    add(old, [codeOf(unused)], unused, 2);
    const file = fileOf(old.encode()!);
    const second = new KeptRegions({ file, before: { modules: 10, bytes: 700 } });
    expect(second.given).toEqual({ modules: 12, bytes: 700 });
    expect(find(second, { bytes: unused })?.id).toBe(10);
    expect(nameOf(second.module(10))).toBe(2);
    // Numbers of the thread before.
    second.use(0);
    second.use(1);
    expect(add(second, [region()], page, 3)).toBe(12);
    expect(second.given).toEqual({ modules: 13, bytes: 700 + moduleBytes(3).length });
    // Those first that were used.
    const third = again(second);
    expect([unused, page, used].map((bytes) => find(third, { bytes })?.id)).toEqual([0, 1, 2]);
  });

  it('are found for their own code, mode, processor and way of making accesses only', () => {
    const kept = new KeptRegions();
    add(kept, [region()], page);
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
    add(kept, [region({ entry: at, from: at })], far);
    const wanted = { entry: at, mode: 49, vp: VP, grouped: true };
    expect(kept.find({ page: far, ...wanted }, (found) => found)).toBeDefined();
    expect(kept.find({ page: far.subarray(0, PAGE), ...wanted }, (found) => found)).toBeUndefined();
  });

  it('are, of the same code, the newest first, in another run too, and one after the other', () => {
    const kept = new KeptRegions();
    add(kept, [region()], page);
    add(kept, [region({ size: 7 })], page);
    const sizes = (all: KeptRegions): number[] => {
      const found: number[] = [];
      all.find({ page, entry: ENTRY, mode: 49, vp: VP, grouped: true }, (each) => void found.push(each.region.size));
      return found;
    };
    expect(sizes(kept)).toEqual([7, 2]);
    const other = again(kept);
    expect(sizes(other)).toEqual([2, 7]);
    // The one that is used is the first in the next run, and the other one is dropped, for it is never found.
    other.use(1);
    add(other, [region({ mode: 50 })], page);
    const third = again(other);
    expect(sizes(third)).toEqual([7]);
    expect(find(third, { mode: 50 })).toBeDefined();
  });

  it('are written when there is something new, those modules first that were used', () => {
    const kept = new KeptRegions();
    const pages = severalPages(3);
    for (const [n, each] of pages.entries()) add(kept, [codeOf(each)], each, n);
    const encoded = kept.encode()!;
    expect(kept.encode()).toBeUndefined();
    const all = fileOf(encoded);
    const unchanged = new KeptRegions({ file: all });
    expect(unchanged.encode()).toBeUndefined();
    // Room for two of four.
    const most = ((encoded.index.length + 3 * moduleBytes(0).length) * 2.5) / 3;
    const second = new KeptRegions({ file: all, most });
    second.use(2);
    add(second, [region()], page, 9);
    const fewer = again(second);
    expect(nameOf(fewer.module(find(fewer)!.id))).toBe(9);
    expect(nameOf(fewer.module(find(fewer, { bytes: pages[2]! })!.id))).toBe(2);
    expect(pages.filter((each) => find(fewer, { bytes: each }))).toHaveLength(1);
  });

  it('are so many and no more', () => {
    const kept = new KeptRegions({ most: 1000 });
    const pages = severalPages(100);
    const numbers = pages.map((each) => add(kept, [codeOf(each)], each));
    const found = pages.filter((each) => find(kept, { bytes: each }));
    expect(found.length).toBeGreaterThan(5);
    expect(found.length).toBeLessThan(30);
    expect(found).toEqual(pages.slice(0, found.length));
    expect(numbers.slice(found.length).every((number) => number < 0)).toBe(true);
  });

  it.each([
    ['an empty index', new Uint8Array()],
    ['another file', Uint8Array.from({ length: 64 }, (_, i) => i)],
  ])('are none in %s', (_name, index) => {
    expect(find(new KeptRegions({ file: { index, read: () => undefined } }))).toBeUndefined();
  });

  it('are none in a file whose lengths do not fit together, wherever that is', () => {
    const kept = new KeptRegions();
    add(kept, [region()], page);
    const { index } = kept.encode()!;
    const words = new Int32Array(index.buffer);
    const read = () => undefined;
    expect(find(new KeptRegions({ file: { index, read } }))).toBeDefined();
    for (const at of [1, 2, 3, 4, 6, 16, 17, 18])
      for (const value of [-1, 0x7fff_ffff, 100]) {
        if ((at === 3 || at === 4) && value > 0) continue;
        const damaged = words.slice();
        damaged[at] = value;
        const other = new KeptRegions({ file: { index: new Uint8Array(damaged.buffer), read } });
        expect(find(other), `word ${at}: ${value}`).toBeUndefined();
      }
    expect(find(new KeptRegions({ file: { index: index.subarray(0, -4), read } }))).toBeUndefined();
  });

  it('are not found any more where their module is not what it was', () => {
    const kept = new KeptRegions();
    add(kept, [region()], page);
    const { index } = kept.encode()!;
    for (const bytes of [undefined, Uint8Array.of(1, 2, 3)]) {
      const other = new KeptRegions({ file: { index, read: () => bytes } });
      expect(other.module(find(other)!.id)).toBeUndefined();
      expect(find(other)).toBeUndefined();
    }
  });

  it('have the machine code with them that there is, and that is used', () => {
    const made = new Map<WebAssembly.Module, number>();
    const code: KeptOptions['code'] = {
      of: (module) => (nameOf(module) === 1 ? Uint8Array.of(7, 8, 9) : undefined),
      module: (bytes, its) => {
        const module = new WebAssembly.Module(bytes);
        made.set(module, its[0]!);
        return module;
      },
    };
    const kept = new KeptRegions({ code });
    const [first, second] = severalPages(2) as [Uint8Array, Uint8Array];
    add(kept, [codeOf(first)], first, 1);
    add(kept, [codeOf(second)], second, 2);
    const other = again(kept, { code });
    const [with7, without] = [first, second].map((bytes) => other.module(find(other, { bytes })!.id)!);
    expect(made.get(with7!)).toBe(7);
    expect(made.has(without!)).toBe(false);
    expect([nameOf(with7), nameOf(without)]).toEqual([1, 2]);
    // Those without are work to have.
    expect(other.expected()).toEqual([find(other, { bytes: first })!.id]);
    const unused = again(other, { code });
    expect(unused.expected()).toEqual([]);
  });

  it('are written again when V8 has optimized more of them', () => {
    let length = 100;
    const code = {
      of: () => new Uint8Array(length),
      module: (bytes: Uint8Array<ArrayBuffer>) => new WebAssembly.Module(bytes),
    };
    const kept = new KeptRegions({ code });
    add(kept, [region()], page);
    const file = fileOf(kept.encode()!);
    const other = new KeptRegions({ code, file });
    other.module(find(other)!.id);
    expect(other.encode()).toBeUndefined();
    const third = new KeptRegions({ code, file });
    third.module(find(third)!.id);
    third.use(find(third)!.id);
    length = 200;
    expect(third.encode()?.parts.map((part) => part.length)).toEqual([moduleBytes(1).length, 200]);
  });

  it('have numbers of this run for their sites', () => {
    const called = (9 << 16) | 0x123;
    const sites = [
      { kind: SiteKind.RECORD, value: 0 },
      { kind: SiteKind.NEXT_GPA, value: 0 },
      { kind: SiteKind.CALLED_RECORD, value: called },
      { kind: SiteKind.CALLED_BLOCK, value: called },
    ];
    const asked: number[] = [];
    const numbers = filled(sites, {
      record: 0xf000_0020,
      nextGpa: 0x1000,
      called: (value) => {
        asked.push(value);
        return { record: 64, blockAt: 8191 };
      },
    });
    expect(numbers).toEqual([0xf000_0020 | 0, 0x1000, 64, 8191]);
    expect(asked).toEqual([called, called]);
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
  /** With a byte that stands for machine code, so that modules are expected to be used. */
  const code: KeptOptions['code'] = { of: () => Uint8Array.of(1), module: (bytes) => new WebAssembly.Module(bytes) };
  /** The modules that are in a file, before anybody asks for them. */
  const known = (kept: KeptRegions) => ({
    known: kept.expected().map((id) => ({ id, module: kept.module(id)!, bytes: kept.length(id) })),
    last: true,
  });
  /** The code stands at another physical address, and other code has been decoded before it. */
  const machineOf = (kept: KeptRegions | undefined, moved = 0, ahead = false) => {
    const machine = new SteppedMachine({
      memory: MEMORY,
      plan: barePlan(LOOP, CODE + START + moved),
      interpreter,
      translated: kept !== undefined,
      hotAfter: 2000,
      kept,
      known: kept && ahead ? known(kept) : undefined,
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
    ['asked for, where it was', 0, false],
    ['asked for, elsewhere', 4 * PAGE, false],
    ['known before, where it was', 0, true],
    ['known before, elsewhere', 4 * PAGE, true],
  ])('does the same with them, early, %s', (_where, moved, ahead) => {
    const kept = new KeptRegions({ code });
    const first = machineOf(kept);
    run(first);
    expect(first.vp.regionsMade).toBeGreaterThan(0n);
    expect(first.vp.regionsKept).toBe(0n);

    const second = machineOf(again(kept, { code }), moved, ahead);
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

  it('uses an instance again for code that comes again', () => {
    const kept = new KeptRegions();
    const machine = machineOf(kept);
    let until = 0n;
    const go = (): void => {
      for (let part = 0; part < 3; part++) machine.runTo((until += 20_000n));
    };
    go();
    const made: bigint[] = [];
    for (let round = 0; round < 12; round++) {
      // The last byte of ADD R8: one and another in turn.
      machine.machine.memory.write(CODE + START + 3, Uint8Array.of(round % 2 === 0 ? 3 : 1));
      machine.engine.blocks.written(CODE + START + 3, 1);
      go();
      made.push(machine.vp.modulesMade);
    }
    expect(machine.vp.regionsKept).toBeGreaterThan(8n);
    expect(made.at(-1)).toBe(made[2]);
  });
});
